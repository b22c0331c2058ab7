"""Connectionist temporal classification (inventory F13): an input becomes a shorter output, unaligned.

Every position says a class or nothing, the blank. The probability of a label sequence is summed over every alignment
that collapses to it: repeats are dropped first, blanks then.

Made from specs/recurrent/ctc.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/recurrent/ctc.lee
"""

from __future__ import annotations

import functools
import math

import numpy as np

FLOAT = np.float32


class Model:
    """What every model has: named arrays in declaration order, the trainable ones side by side in one vector.

    `members` names arrays and submodels (a list of submodels goes by one name), `states` what no gradient changes.
    """

    members: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    renamed: dict[str, str] = {}  # members whose name is taken

    def __call__(self, *inputs, **options):
        return self.forward(*inputs, **options)

    def parts(self):
        """(name, member) of arrays and submodels; the elements of a list are `layers.0`, `layers.1`, .."""
        for name in self.members:
            member = getattr(self, self.renamed.get(name, name))
            if isinstance(member, list):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(member))
            else:
                yield name, member

    def tensors(self):
        """Every array by its path in the spec, such as "conv1.kernel"; they are the model's own."""
        found = {}
        for name, part in self.parts():
            if isinstance(part, Model):
                found |= {f"{name}.{path}": array for path, array in part.tensors().items()}
            else:
                found[name] = part
        return found

    def load_tensors(self, arrays):
        """Copy arrays in by path. Raises ValueError where names or shapes differ."""
        own = self.tensors()
        if own.keys() != arrays.keys():
            raise ValueError(f"{type(self).__name__} has other tensors: {sorted(own.keys() ^ arrays.keys())}")
        for path, array in own.items():
            if array.shape != np.shape(arrays[path]):
                raise ValueError(f"{path} is {array.shape} here and {np.shape(arrays[path])} there")
            array[...] = arrays[path]

    def lay_out(self, vector=None):
        """Move all parameters into one vector; the arrays become views of it, those of submodels too."""
        sizes = [part.parameters.size if isinstance(part, Model) else part.size for _, part in self.trained()]
        self.parameters = np.empty(sum(sizes), FLOAT) if vector is None else vector
        stop = 0
        for (name, part), size in zip(self.trained(), sizes, strict=True):
            start, stop = stop, stop + size
            if isinstance(part, Model):
                part.lay_out(self.parameters[start:stop])
            else:
                view = self.parameters[start:stop].reshape(part.shape)
                view[...] = part
                setattr(self, self.renamed.get(name, name), view)

    def trained(self):
        return [(name, part) for name, part in self.parts() if name not in self.states]

    def shapes(self):
        """Of the parameters, in their order."""
        found = (part.shapes() if isinstance(part, Model) else [part.shape] for _, part in self.trained())
        return [shape for shapes in found for shape in shapes]

    def flat(self, gradient):
        """A gradient, nested dicts of arrays by member, as one vector beside `parameters`; what is missing is 0."""
        vector, stop = np.zeros_like(self.parameters), 0
        for name, part in self.trained():
            is_model = isinstance(part, Model)
            start, stop = stop, stop + (part.parameters.size if is_model else part.size)
            if name in gradient:
                vector[start:stop] = part.flat(gradient[name]) if is_model else gradient[name].ravel()
        return vector

    def copy(self):
        """The same model with arrays of its own."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for name in self.members:
            attribute = self.renamed.get(name, name)
            member = getattr(self, attribute)
            setattr(twin, attribute, [part.copy() for part in member] if isinstance(member, list) else member.copy())
        twin.lay_out()
        return twin

    def at(self, tensors):
        """A copy at another point of parameter space: nested dicts of arrays by member, as gradients are."""
        twin = self.copy()
        twin.move_to(tensors)
        return twin

    def move_to(self, tensors):
        for name, part in self.parts():
            if name in tensors and isinstance(part, Model):
                part.move_to(tensors[name])
            elif name in tensors:
                part[...] = tensors[name]


def packed(*outputs, **inputs):
    """For a function that sees the axes of `..` as one: it takes, and gives back, any number of axes there.

    `inputs` has for an argument the place of that axis and its rank, `outputs` the place in every result.
    """

    def decorate(function):
        names = function.__code__.co_varnames

        @functools.wraps(function)
        def outer(*args, **options):
            given = {**dict(zip(names, args, strict=False)), **options}
            if all(name not in given or given[name].ndim == rank for name, (_, rank) in inputs.items()):
                return function(*args, **options)
            axes = None
            for name, (first, rank) in inputs.items():
                x = given[name]
                last = first + x.ndim - rank + 1
                if last < first or axes not in (None, x.shape[first:last]):
                    raise ValueError(f"{function.__qualname__}: {name} has the shape {tuple(x.shape)}")
                axes = x.shape[first:last]
                given[name] = x.reshape(*x.shape[:first], math.prod(axes), *x.shape[last:])
            results = function(**given)
            several = results if isinstance(results, tuple) else (results,)
            whole = tuple(
                y if place is None else y.reshape(*y.shape[:place], *axes, *y.shape[place + 1 :])
                for y, place in zip(several, outputs, strict=True)
            )
            return whole if isinstance(results, tuple) else whole[0]

        return outer

    return decorate


def ctc(logits, target, frames, lengths, blank=0):
    """`frames` and `lengths` are the true lengths of input and target.

    logits [n, time, classes], target int[n, length], frames int[n], lengths int[n] -> []
    """
    n, time, classes = logits.shape
    length = target.shape[1]
    logp = log_softmax(logits, (2,))  # [n, time, classes]  prelude.lee:127
    u = np.arange(2 * length + 1)  # int[2 * length + 1]  ctc.lee:15
    minimum = np.minimum(np.maximum(u // 2, 0), length - 1)  # int[2 * length + 1]
    label = np.where(u % 2 == 1, target.transpose((1, 0))[minimum].T, blank)  # int[n, 2 * length + 1]
    minimum_2 = np.minimum(np.maximum(u + -2, 0), 2 * length)  # int[2 * length + 1]  ctc.lee:16
    ne_2 = label != label.transpose((1, 0))[minimum_2].T  # bool[n, 2 * length + 1]
    jump = np.where(u >= 3, (label != blank) & ne_2, False)  # bool[n, 2 * length + 1]
    minimum_5 = np.minimum(np.maximum(np.arange(n), 0), n - 1)  # int[n]  ctc.lee:17
    minimum_4 = np.minimum(np.maximum(label, 0), classes - 1)  # int[n, 2 * length + 1]
    gather_3 = logp[minimum_5[:, None], min(0, time - 1), minimum_4]  # [n, 2 * length + 1]
    alpha = np.where(u <= 1, gather_3, -np.inf)  # [n, 2 * length + 1]
    # ctc.lee:18
    for t in range(1, time):
        alpha = ctc_step(alpha, logp[:, t], jump, label, frames, length, t)
    mul = 2 * lengths  # int[n]  ctc.lee:24
    minimum_6 = np.minimum(np.maximum(mul - 1, 0), 2 * length)  # int[n]
    select = np.where(lengths > 0, alpha[minimum_5, minimum_6], -np.inf)  # [n]
    total = np.logaddexp(alpha[np.arange(n), inside(mul)], select)  # [n]
    return -total.mean()  # ctc.lee:25


def ctc_saved(logits, target, frames, lengths, blank=0):
    """As ctc, and what its gradient needs."""
    n, time, classes = logits.shape
    length = target.shape[1]
    logp = log_softmax(logits, (2,))  # [n, time, classes]  prelude.lee:127
    u = np.arange(2 * length + 1)  # int[2 * length + 1]  ctc.lee:15
    minimum = np.minimum(np.maximum(u // 2, 0), length - 1)  # int[2 * length + 1]
    label = np.where(u % 2 == 1, target.transpose((1, 0))[minimum].T, blank)  # int[n, 2 * length + 1]
    minimum_2 = np.minimum(np.maximum(u + -2, 0), 2 * length)  # int[2 * length + 1]  ctc.lee:16
    ne_2 = label != label.transpose((1, 0))[minimum_2].T  # bool[n, 2 * length + 1]
    jump = np.where(u >= 3, (label != blank) & ne_2, False)  # bool[n, 2 * length + 1]
    le = u <= 1  # bool[2 * length + 1]  ctc.lee:17
    minimum_4 = np.minimum(np.maximum(label, 0), classes - 1)  # int[n, 2 * length + 1]
    minimum_5 = np.minimum(np.maximum(np.arange(n), 0), n - 1)  # int[n]
    alpha = np.where(le, logp[minimum_5[:, None], min(0, time - 1), minimum_4], -np.inf)  # [n, 2 * length + 1]
    saved_ctc_step = [None] * (time - 1)  # ctc.lee:18
    for t in range(1, time):
        alpha, saved_ctc_step[t - 1] = ctc_step_saved(alpha, logp[:, t], jump, label, frames, length, t)
    mul = 2 * lengths  # int[n]  ctc.lee:24
    gather_4 = alpha[np.arange(n), inside(mul)]  # [n]
    gt = lengths > 0  # bool[n]
    minimum_6 = np.minimum(np.maximum(mul - 1, 0), 2 * length)  # int[n]
    select = np.where(gt, alpha[minimum_5, minimum_6], -np.inf)  # [n]
    total = np.logaddexp(gather_4, select)  # [n]
    saved = logp, label, jump, le, minimum_4, minimum_5, saved_ctc_step, mul, gather_4, gt, minimum_6, select, total
    return -total.mean(), saved  # ctc.lee:25


def ctc_backward(saved, length, d_y):
    """From d_y to the gradient by logits."""
    logp, label, jump, le, minimum_4, minimum_5, saved_ctc_step, mul, gather_4, gt, minimum_6, select, total = saved
    n, time, classes = logp.shape
    # gradient of return -mean(total)   ctc.lee:25
    neg = -(d_y / n)
    # gradient of total[b] = logaddexp(alpha[b, 2 * lengths[b]], where(lengths[b] > 0, alpha[b,..   ctc.lee:24
    gt_2 = total > -np.inf  # bool[n]
    sub = gather_4 - select  # [n]
    sigmoid = np.exp(np.minimum(sub, 0)) / (1 + np.exp(-np.abs(sub)))  # [n]
    sub_2 = select - gather_4  # [n]
    sigmoid_2 = np.exp(np.minimum(sub_2, 0)) / (1 + np.exp(-np.abs(sub_2)))  # [n]
    d_gather_5 = masked(neg * masked(sigmoid_2, gt_2), gt)  # [n]
    d_alpha_4_2 = scatter_add(d_gather_5, (minimum_5, minimum_6), (n, 2 * length + 1))  # [n, 2 * length + 1]
    d_gather_4 = neg * masked(sigmoid, gt_2)  # [n]
    # gradient of alpha[b, u in states] = where(u <= 1, logp[b, 0, label[b, u]], -inf)   ctc.lee:17
    b = np.arange(n)  # int[n]
    # gradient of for t in 1..time - 1:   ctc.lee:18
    d_alpha_4 = d_alpha_4_2 + scatter_add(d_gather_4, (b, mul), (n, 2 * length + 1))  # [n, 2 * length + 1]
    d_logp_4 = np.empty((n, time - 1, classes), dtype=FLOAT)  # [n, time - 1, classes]
    for t in reversed(range(1, time)):
        d_alpha_4, d_logp_4[:, t - 1] = ctc_step_backward(
            saved_ctc_step[t - 1], jump, label, classes, length, d_alpha_4
        )
    # [n, time, classes]
    d_logp_2 = unslice(d_logp_4, (n, time, classes), (slice(0, n), slice(1, time), slice(0, classes)))
    # gradient of alpha[b, u in states] = where(u <= 1, logp[b, 0, label[b, u]], -inf)   ctc.lee:17
    d_gather_3 = masked(d_alpha_4, le)  # [n, 2 * length + 1]
    reshape = minimum_5[:, None]  # int[n, 1]
    minimum = min(0, time - 1)
    d_logp_3 = scatter_add(d_gather_3, (reshape, minimum, minimum_4), (n, time, classes))  # [n, time, classes]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_logp = d_logp_2 + d_logp_3  # [n, time, classes]
    d_logits = d_logp - np.exp(logp) * d_logp.sum(axis=2, keepdims=True)  # [n, time, classes]
    return d_logits  # [n, time, classes]


def ctc_step(alpha, logp_t, jump, label, frames, length, t):
    """alpha [n, 2 * length + 1], logp_t [n, classes], jump bool[n, 2 * length + 1], label int[n, 2 * length + 1],
    frames int[n] -> [n, 2 * length + 1]
    """
    n = alpha.shape[0]
    u_6 = np.arange(2 * length + 1)  # int[2 * length + 1]  ctc.lee:20
    minimum = np.minimum(np.maximum(u_6 + -1, 0), 2 * length)  # int[2 * length + 1]
    next_ = np.where(u_6 >= 1, alpha.transpose((1, 0))[minimum].T, -np.inf)  # [n, 2 * length + 1]
    minimum_2 = np.minimum(np.maximum(u_6 + -2, 0), 2 * length)  # int[2 * length + 1]  ctc.lee:21
    skip = np.where(jump, alpha.transpose((1, 0))[minimum_2].T, -np.inf)  # [n, 2 * length + 1]
    logaddexp_2 = np.logaddexp(np.logaddexp(alpha, next_), skip)  # [n, 2 * length + 1]  ctc.lee:22
    arrived = logaddexp_2 + logp_t[np.arange(n)[:, None], inside(label)]  # [n, 2 * length + 1]
    alpha_3 = np.where((t < frames)[:, None], arrived, alpha)  # [n, 2 * length + 1]  ctc.lee:23
    return alpha_3  # [n, 2 * length + 1]


def ctc_step_saved(alpha, logp_t, jump, label, frames, length, t):
    """As ctc_step, and what its gradient needs."""
    n = alpha.shape[0]
    u_6 = np.arange(2 * length + 1)  # int[2 * length + 1]  ctc.lee:20
    ge = u_6 >= 1  # bool[2 * length + 1]
    minimum = np.minimum(np.maximum(u_6 + -1, 0), 2 * length)  # int[2 * length + 1]
    next_ = np.where(ge, alpha.transpose((1, 0))[minimum].T, -np.inf)  # [n, 2 * length + 1]
    minimum_2 = np.minimum(np.maximum(u_6 + -2, 0), 2 * length)  # int[2 * length + 1]  ctc.lee:21
    skip = np.where(jump, alpha.transpose((1, 0))[minimum_2].T, -np.inf)  # [n, 2 * length + 1]
    logaddexp = np.logaddexp(alpha, next_)  # [n, 2 * length + 1]  ctc.lee:22
    logaddexp_2 = np.logaddexp(logaddexp, skip)  # [n, 2 * length + 1]
    arrived = logaddexp_2 + logp_t[np.arange(n)[:, None], inside(label)]  # [n, 2 * length + 1]
    reshape_2 = (t < frames)[:, None]  # bool[n, 1]  ctc.lee:23
    alpha_3 = np.where(reshape_2, arrived, alpha)  # [n, 2 * length + 1]
    saved = ge, minimum, next_, minimum_2, skip, logaddexp, logaddexp_2, reshape_2, alpha
    return alpha_3, saved


def ctc_step_backward(saved, jump, label, classes, length, d_alpha_3):
    """From d_alpha_3 to the gradients by alpha and logp_t."""
    ge, minimum, next_, minimum_2, skip, logaddexp, logaddexp_2, reshape_2, alpha = saved
    n = next_.shape[0]
    # gradient of alpha[b, u] = where(t < frames[b], arrived[b, u], alpha[b, u])   ctc.lee:23
    d_arrived = masked(d_alpha_3, reshape_2)  # [n, 2 * length + 1]
    # gradient of arrived[b, u] = logaddexp(stay[b, u], next[b, u], skip[b, u]) + logp[b, t, la..   ctc.lee:22
    reshape = np.arange(n)[:, None]  # int[n, 1]
    gt = logaddexp_2 > -np.inf  # bool[n, 2 * length + 1]
    sub = logaddexp - skip  # [n, 2 * length + 1]
    sigmoid = np.exp(np.minimum(sub, 0)) / (1 + np.exp(-np.abs(sub)))  # [n, 2 * length + 1]
    mul = d_alpha_3 * masked(sigmoid, gt)  # [n, 2 * length + 1]
    sub_2 = skip - logaddexp  # [n, 2 * length + 1]
    sigmoid_2 = np.exp(np.minimum(sub_2, 0)) / (1 + np.exp(-np.abs(sub_2)))  # [n, 2 * length + 1]
    gt_2 = logaddexp > -np.inf  # bool[n, 2 * length + 1]
    sub_3 = alpha - next_  # [n, 2 * length + 1]
    sigmoid_3 = np.exp(np.minimum(sub_3, 0)) / (1 + np.exp(-np.abs(sub_3)))  # [n, 2 * length + 1]
    sub_4 = next_ - alpha  # [n, 2 * length + 1]
    sigmoid_4 = np.exp(np.minimum(sub_4, 0)) / (1 + np.exp(-np.abs(sub_4)))  # [n, 2 * length + 1]
    # gradient of skip[b, u in states] = where(jump[b, u], alpha[b, u - 2], -inf)   ctc.lee:21
    masked_5 = masked(d_alpha_3 * masked(sigmoid_2, gt), jump)  # [n, 2 * length + 1]
    d_gather_2 = masked(masked_5, reshape_2).T  # [2 * length + 1, n]
    d_alpha_5 = scatter_add(d_gather_2, (minimum_2,), (n, 2 * length + 1), (1,))  # [n, 2 * length + 1]
    # gradient of next[b, u in states] = where(u >= 1, alpha[b, u - 1], -inf)   ctc.lee:20
    d_transpose = masked(masked(mul * masked(sigmoid_4, gt_2), ge), reshape_2)  # [n, 2 * length + 1]
    d_alpha_6 = scatter_add(d_transpose.T, (minimum,), (n, 2 * length + 1), (1,))  # [n, 2 * length + 1]
    # gradient of arrived[b, u] = logaddexp(stay[b, u], next[b, u], skip[b, u]) + logp[b, t, la..   ctc.lee:22
    d_alpha_4 = masked(mul * masked(sigmoid_3, gt_2), reshape_2)  # [n, 2 * length + 1]
    # gradient of next[b, u in states] = where(u >= 1, alpha[b, u - 1], -inf)   ctc.lee:20
    d_alpha = np.where(reshape_2, 0, d_alpha_3) + d_alpha_4 + d_alpha_5 + d_alpha_6  # [n, 2 * length + 1]
    return d_alpha, scatter_add(d_arrived, (reshape, label), (n, classes))


def greedy(logits, frames, blank=0):
    """The best path without repeats and blanks. The result is ragged: padded labels and their numbers.

    logits [n, time, classes], frames int[n] -> int[n, time], int[n]
    """
    time = logits.shape[1]
    best = logits.argmax(axis=2)  # int[n, time]  ctc.lee:30
    minimum = np.minimum(np.maximum(np.arange(time) + -1, 0), time - 1)  # int[time]  ctc.lee:31
    ne_2 = best != best.transpose((1, 0))[minimum].T  # bool[n, time]
    logical_and = (np.arange(time) < frames[:, None]) & (best != blank)  # bool[n, time]
    keep = logical_and & np.where(np.arange(time) > 0, ne_2, True)  # bool[n, time]
    kept, sum_ = compact(best, keep, fill=blank)  # ctc.lee:32
    return kept, sum_


class Recogniser(Model):
    """A class, or the blank, for every frame."""

    members = ("rnn", "head")

    def __init__(self, inputs, hidden, classes, *, key=(0, 0)):
        self.inputs, self.hidden, self.classes = inputs, hidden, classes
        self.rnn = LSTM(inputs, hidden, key=fold(key, SITES["rnn"]))  # ctc.lee:37
        self.head = Linear(hidden, classes + 1, key=fold(key, SITES["head"]))  # ctc.lee:38
        self.lay_out()

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, classes + 1]"""
        n, time, _ = x.shape
        head_out = self.head(self.rnn(x).reshape(n * time, self.hidden))  # [n * time, classes + 1]  ctc.lee:41
        return head_out.reshape(n, time, self.classes + 1)  # [n, time, classes + 1]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        out, saved_rnn = self.rnn.forward_saved(x)  # ctc.lee:41
        reshape = out.reshape(n * time, self.hidden)  # [n * time, hidden]
        return self.head(reshape).reshape(n, time, self.classes + 1), (saved_rnn, reshape)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        saved_rnn, reshape = saved
        n, time, _ = x.shape
        # gradient of return head(rnn(x))   ctc.lee:41
        d_head, d_reshape = self.head.forward_backward(reshape, d_y.reshape(n * time, self.classes + 1))
        d_out = d_reshape.reshape(n, time, self.hidden)  # [n, time, hidden]
        d_rnn, d_x = self.rnn.forward_backward(x, saved_rnn, d_out)
        return {"rnn": d_rnn, "head": d_head}, d_x


def example_aligned(key):
    logits = 2 * normal(fold(key, SITES["logits"]), (12, 9, 6), FLOAT)  # [12, 9, 6]  ctc.lee:45
    target = randint(fold(key, SITES["target"]), (12, 3), 1, 6)  # int[12, 3]  ctc.lee:46
    frames = randint(fold(key, SITES["frames"]), (12,), 7, 10)  # int[12]  ctc.lee:47
    lengths = randint(fold(key, SITES["lengths"]), (12,), 0, 4)  # int[12]  ctc.lee:48
    value, saved_ctc = ctc_saved(logits, target, frames, lengths)  # ctc.lee:49
    return value, ctc_backward(saved_ctc, 3, FLOAT(1.0))


def example_repeated(key):
    logits = normal(fold(key, SITES["logits"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  ctc.lee:53
    target = np.ones((2, 3), dtype=np.int64)  # int[2, 3]  ctc.lee:54
    frames = np.full(2, 5, dtype=np.int64)  # int[2]  ctc.lee:55
    lengths = np.full(2, 3, dtype=np.int64)  # int[2]  ctc.lee:56
    value, saved_ctc = ctc_saved(logits, target, frames, lengths)  # ctc.lee:57
    return value, ctc_backward(saved_ctc, 3, FLOAT(1.0))


def example_recognised(key):
    net = Recogniser(3, 4, 5, key=fold(key, SITES["net"]))  # ctc.lee:61
    x = normal(fold(key, SITES["x"]), (2, 7, 3), FLOAT)  # [2, 7, 3]  ctc.lee:62
    target = randint(fold(key, SITES["target"]), (2, 3), 1, 6)  # int[2, 3]  ctc.lee:63
    frames = randint(fold(key, SITES["frames"]), (2,), 6, 8)  # int[2]  ctc.lee:64
    lengths = randint(fold(key, SITES["lengths"]), (2,), 1, 3)  # int[2]  ctc.lee:65
    reshape_2, saved_net = net.forward_saved(x)  # ctc.lee:66
    value, saved_ctc = ctc_saved(reshape_2, target, frames, lengths)
    d_net, d_x = net.forward_backward(x, saved_net, ctc_backward(saved_ctc, 3, FLOAT(1.0)))
    return value, net.at(d_net), d_x


def example_decoded(key):
    logits = normal(fold(key, SITES["logits"]), (4, 9, 3), FLOAT)  # [4, 9, 3]  ctc.lee:70
    frames = randint(fold(key, SITES["frames"]), (4,), 5, 10)  # int[4]  ctc.lee:71
    value, value_1 = greedy(logits, frames)  # ctc.lee:72
    return value, value_1


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


class Linear(Model):
    """x W + b"""

    members = ("w", "b")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        self.inputs, self.outputs = inputs, outputs
        div, div_2 = fan_in_uniform(inputs)  # nn.lee:15
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]
        uniform_2 = uniform(fold(key, SITES["b"]), (outputs,), FLOAT)  # [outputs]  nn.lee:17
        self.w = div + (div_2 - div) * uniform_  # [inputs, outputs]  nn.lee:15
        self.b = div + (div_2 - div) * uniform_2  # [outputs]  nn.lee:17
        self.lay_out()

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., inputs] -> [.., outputs]"""
        return x @ self.w + self.b  # [rows, outputs]  nn.lee:21

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_x = d_y @ self.w.T  # [rows, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_x


class LSTMCell(Model):
    """c ← f c + i g, h ← o tanh(c), one step: gates i, f, g, o in this order (Hochreiter & Schmidhuber 1997)."""

    members = ("w", "u", "b")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # nn.lee:245
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, 4 * hidden), FLOAT)  # [inputs, 4 * hidden]
        uniform_2 = uniform(fold(key, SITES["u"]), (hidden, 4 * hidden), FLOAT)  # [hidden, 4 * hidden]  nn.lee:246
        uniform_3 = uniform(fold(key, SITES["b"]), (4 * hidden,), FLOAT)  # [4 * hidden]  nn.lee:247
        self.w = div + (div_2 - div) * uniform_  # [inputs, 4 * hidden]  nn.lee:245
        self.u = div + (div_2 - div) * uniform_2  # [hidden, 4 * hidden]  nn.lee:246
        self.b = div + (div_2 - div) * uniform_3  # [4 * hidden]  nn.lee:247
        self.lay_out()

    def forward(self, x, h, c):
        """x [n, inputs], h [n, hidden], c [n, hidden] -> [n, hidden], [n, hidden]"""
        n = x.shape[0]
        z = (x @ self.w + h @ self.u + self.b).reshape(n, 4, self.hidden)  # [n, 4, hidden]  nn.lee:250
        entry = z[:, 1]  # [n, hidden]  nn.lee:251
        sigmoid = np.exp(np.minimum(entry, 0)) / (1 + np.exp(-np.abs(entry)))  # [n, hidden]  prelude.lee:36
        entry_2 = z[:, 0]  # [n, hidden]  nn.lee:251
        sigmoid_2 = np.exp(np.minimum(entry_2, 0)) / (1 + np.exp(-np.abs(entry_2)))  # [n, hidden]  prelude.lee:36
        memory = sigmoid * c + sigmoid_2 * np.tanh(z[:, 2])  # [n, hidden]  nn.lee:251
        entry_4 = z[:, 3]  # [n, hidden]  nn.lee:252
        sigmoid_3 = np.exp(np.minimum(entry_4, 0)) / (1 + np.exp(-np.abs(entry_4)))  # [n, hidden]  prelude.lee:36
        return sigmoid_3 * np.tanh(memory), memory  # nn.lee:252

    def forward_saved(self, x, h, c):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        z = (x @ self.w + h @ self.u + self.b).reshape(n, 4, self.hidden)  # [n, 4, hidden]  nn.lee:250
        entry = z[:, 1]  # [n, hidden]  nn.lee:251
        sigmoid = np.exp(np.minimum(entry, 0)) / (1 + np.exp(-np.abs(entry)))  # [n, hidden]  prelude.lee:36
        entry_2 = z[:, 0]  # [n, hidden]  nn.lee:251
        sigmoid_2 = np.exp(np.minimum(entry_2, 0)) / (1 + np.exp(-np.abs(entry_2)))  # [n, hidden]  prelude.lee:36
        tanh = np.tanh(z[:, 2])  # [n, hidden]  nn.lee:251
        memory = sigmoid * c + sigmoid_2 * tanh  # [n, hidden]
        entry_4 = z[:, 3]  # [n, hidden]  nn.lee:252
        sigmoid_3 = np.exp(np.minimum(entry_4, 0)) / (1 + np.exp(-np.abs(entry_4)))  # [n, hidden]  prelude.lee:36
        tanh_memory = np.tanh(memory)  # [n, hidden]  nn.lee:252
        return sigmoid_3 * tanh_memory, memory, (sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory)

    def forward_backward(self, x, h, c, saved, d_y, d_memory):
        """From d_y and d_memory to the gradients by the parameters, x, h and c."""
        sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory = saved
        n = x.shape[0]
        # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
        d_memory_2 = d_memory + d_y * sigmoid_3 * (1 - tanh_memory**2)  # [n, hidden]
        d_c = d_memory_2 * sigmoid  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_reshape_2 = d_memory_2 * tanh * (sigmoid_2 * (1 - sigmoid_2))  # [n, hidden]
        d_reshape_4 = d_y * tanh_memory * (sigmoid_3 * (1 - sigmoid_3))  # [n, hidden]
        d_reshape = d_memory_2 * c * (sigmoid * (1 - sigmoid))  # [n, hidden]
        # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
        d_reshape_3 = d_memory_2 * sigmoid_2 * (1 - tanh**2)  # [n, hidden]
        # gradient of z = reshape(x @ w + h @ u + b, [n, 4, hidden])   nn.lee:250
        d_z = np.stack((d_reshape_2, d_reshape, d_reshape_3, d_reshape_4), axis=1)  # [n, 4, hidden]
        d_add_2 = d_z.reshape(n, 4 * self.hidden)  # [n, 4 * hidden]
        d_b = d_add_2.sum(axis=0)  # [4 * hidden]
        d_h = d_add_2 @ self.u.T  # [n, hidden]
        d_u = h.T @ d_add_2  # [hidden, 4 * hidden]
        d_x = d_add_2 @ self.w.T  # [n, inputs]
        d_w = x.T @ d_add_2  # [inputs, 4 * hidden]
        return {"w": d_w, "u": d_u, "b": d_b}, d_x, d_h, d_c


class LSTM(Model):
    """LSTMCell at every position, from states of 0."""

    members = ("cell",)

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        self.inputs, self.hidden = inputs, hidden
        self.cell = LSTMCell(inputs, hidden, key=fold(key, SITES["cell"]))  # nn.lee:293
        self.lay_out()

    def forward_step(self, c, h, x_t):
        """c [n, hidden], h [n, hidden], x_t [n, inputs] -> [n, hidden], [n, hidden], [n, hidden]"""
        h_3, c_3 = self.cell(x_t, h, c)  # nn.lee:299
        return c_3, h_3, h_3

    def forward_step_saved(self, c, h, x_t):
        """As forward_step, and what its gradient needs."""
        h_3, c_3, saved_cell = self.cell.forward_saved(x_t, h, c)  # nn.lee:299
        return c_3, h_3, h_3, (saved_cell, c, h)

    def forward_step_backward(self, saved, x_t, d_c_3, d_h_3, d_out, d_self):
        """From d_c_3, d_h_3, d_out and d_self to the gradients by c, h, the parameters, x_t and cell.b."""
        saved_cell, c, h = saved
        # gradient of h, c = cell(x[:, t], h, c)   nn.lee:299
        d_h_3_2 = d_h_3 + d_out  # [n, hidden]
        d_cell, d_x_t, d_h, d_c = self.cell.forward_backward(x_t, h, c, saved_cell, d_h_3_2, d_c_3)
        return (
            d_c,
            d_h,
            {"cell": {"w": d_self["cell"]["w"] + d_cell["w"], "u": d_self["cell"]["u"] + d_cell["u"]}},
            d_x_t,
            d_cell["b"],
        )

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, hidden]"""
        n, time, _ = x.shape
        h = np.zeros((n, self.hidden), dtype=FLOAT)  # [n, hidden]  nn.lee:296
        c = h  # nn.lee:298
        h_ = h
        out = np.empty((n, time, self.hidden), dtype=FLOAT)  # [n, time, hidden]
        for t in range(time):
            c, h_, out[:, t] = self.forward_step(c, h_, x[:, t])
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        h = np.zeros((n, self.hidden), dtype=FLOAT)  # [n, hidden]  nn.lee:296
        c = h  # nn.lee:298
        h_ = h
        out = np.empty((n, time, self.hidden), dtype=FLOAT)  # [n, time, hidden]
        saved_forward_step = [None] * time
        for t in range(time):
            c, h_, out[:, t], saved_forward_step[t] = self.forward_step_saved(c, h_, x[:, t])
        return out, saved_forward_step

    def forward_backward(self, x, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   nn.lee:298
        d_c = np.zeros((n, self.hidden), dtype=FLOAT)  # [n, hidden]
        d_c_3 = d_c
        d_h_3 = d_c
        d_self = {
            "cell": {
                "w": np.zeros((self.inputs, 4 * self.hidden), dtype=FLOAT),
                "u": np.zeros((self.hidden, 4 * self.hidden), dtype=FLOAT),
            }
        }
        d_x = np.empty((n, time, self.inputs), dtype=FLOAT)  # [n, time, inputs]
        d_cell_b_rows = np.empty((4 * self.hidden, time), dtype=FLOAT)  # [4 * hidden, time]
        for t in reversed(range(time)):
            d_c_3, d_h_3, d_self, d_x[:, t], d_cell_b_rows[:, t] = self.forward_step_backward(
                saved_forward_step[t], x[:, t], d_c_3, d_h_3, d_out[:, t], d_self
            )
        d_cell_b = d_cell_b_rows.sum(axis=1)  # [4 * hidden]
        return {"cell": {"w": d_self["cell"]["w"], "u": d_self["cell"]["u"], "b": d_cell_b}}, d_x


def compact(x, keep, fill=0):
    """The entries that `keep` says, in order, moved to the front of an axis; behind them `fill`. And how many they are.

    x int[x_0, x_1], keep bool[x_0, keep_1] -> int[x_0, keep_1], int[x_0]
    """
    order = np.argsort((~keep).astype(np.int64), axis=1, kind="stable")  # int[x_0, keep_1]  prelude.lee:194
    take_along = np.take_along_axis(keep, order, 1)  # bool[x_0, keep_1]  prelude.lee:195
    kept = np.where(take_along, np.take_along_axis(x, order, 1), fill)  # int[x_0, keep_1]
    return kept, keep.astype(np.int64).sum(axis=1)  # prelude.lee:196


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "cell": 0x3FB231439DC63663,
    "frames": 0x10F440C718F6E104,
    "head": 0xBD7890018BD219D5,
    "lengths": 0xDE00C8960E49C03F,
    "logits": 0x6401BAFDFDAAFED5,
    "net": 0xF087C76970C91612,
    "rnn": 0x68FB173A756887E4,
    "target": 0x41DEDA04111F843F,
    "u": 0x08D267E10C593806,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
}


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=axes, keepdims=True)
    return e / np.where(total == 0, 1, total)


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    shifted = x - np.where(np.isneginf(top), 0, top)
    total = np.exp(shifted).sum(axis=axes, keepdims=True)
    return shifted - np.log(np.where(total == 0, 1, total))


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = np.zeros(dims, x.dtype)
    whole[slices] = x
    return whole


def inside(i):
    """Positions that never wrap. Raises IndexError for a negative one; NumPy itself does for one too large."""
    if np.min(i, initial=0) < 0:
        raise IndexError(f"position {np.min(i)} lies before the first entry")
    return i


def fronted(x, axes=None):
    """A view of x with some axes in front (None: as they are)."""
    return x if axes is None else np.moveaxis(x, axes, range(len(axes)))


def scatter(combine, x, v, index, axes=None):
    """A copy of x with v combined (by np.maximum, say) into positions of some axes (the first ones), one after another."""
    whole = x.copy()
    combine.at(fronted(whole, axes), index, v)
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    return scatter(np.add, np.zeros(dims, v.dtype), v, index, axes)


def masked(x, c, out=None):
    """x where c holds, else 0: its bits times 1 or 0. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return np.multiply(x.view(word), c, out=None if out is None else out.view(word)).view(x.dtype)


MASK = 0xFFFFFFFF


Key = tuple[int, int]


def philox(key, counter):
    """Four random words for a counter of four words: ten rounds of products that swap their halves.

    The words of the counter are Python integers or uint64 arrays below 2**32, those of the key integers.
    """
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (p1 >> 32) ^ x1 ^ k0, p1 & MASK, (p0 >> 32) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def fold(key: Key, word: int) -> Key:
    """The key that belongs to a word of 64 bits (a site, a round of a loop) under a key.

    It is the first half of the block that starts with the word; the last word of its counter, 0xF01D, is 0 in
    every block that `bits` reads, so folding and drawing never meet.
    """
    word = int(word)  # a NumPy integer would wrap
    return philox(key, (word & MASK, word >> 32 & MASK, 0, 0xF01D))[:2]


def bits(key: Key, n: int) -> np.ndarray:
    """n random words, uint32[n], all four words of a block used; at most 2**34 from one key."""
    words = np.empty((-(-n // 4), 4), np.uint32)
    for start in range(0, len(words), 8192):  # a stretch that stays in the cache
        part = words[start : start + 8192]
        blocks = np.arange(start, start + len(part), dtype=np.uint64)
        for column, word in enumerate(philox(key, (blocks, 0, 0, 0))):
            part[:, column] = word
    return words.ravel()[:n]


def uniform(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Uniform numbers in [0, 1): multiples of 2**-24, so that float32 and float64 hold the same ones."""
    return (bits(key, math.prod(shape)) >> 8).reshape(shape).astype(dtype) * 2.0**-24


def normal(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2) >> 8).reshape(-1, 2).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    return pairs.ravel()[:n].reshape(shape).astype(dtype)


def randint(key: Key, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape)).reshape(shape).astype(np.uint64)
    return (words * np.uint64(high - low) >> 32).astype(np.int64) + low
