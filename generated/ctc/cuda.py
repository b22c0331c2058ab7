"""Connectionist temporal classification (inventory F13): an input becomes a shorter output, unaligned.

Every position says a class or nothing, the blank. The probability of a label sequence is summed over every alignment
that collapses to it: repeats are dropped first, blanks then.

Made from specs/recurrent/ctc.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/recurrent/ctc.lee
"""

from __future__ import annotations

import functools
import math
import sys

if __name__ == "cuda" and "torch" in sys.modules and not hasattr(sys.modules["torch"], "nn"):
    raise ImportError("torch, which looks for a package named cuda, has found this file beside the script")

import torch  # noqa: E402

FLOAT = torch.float32


class Model(torch.nn.Module):
    """An ordinary module; `members` names its tensors and submodels as the spec does, in declaration order."""

    members: tuple[str, ...] = ()
    renamed: dict[str, str] = {}  # members whose name is taken

    def parts(self):
        """(name, member) of tensors and submodels; the elements of a list are `layers.0`, `layers.1`, .."""
        for name in self.members:
            member = getattr(self, self.renamed.get(name, name))
            if isinstance(member, torch.nn.ModuleList):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(member))
            else:
                yield name, member

    def tensors(self):
        """Every tensor by its path in the spec, such as "conv1.kernel"."""
        found = {}
        for name, part in self.parts():
            if isinstance(part, Model):
                found |= {f"{name}.{path}": tensor for path, tensor in part.tensors().items()}
            else:
                found[name] = part
        return found

    def state_dict(self, *args, prefix="", **options):
        """Keys are the spec's names, also where an attribute has another one."""
        found = super().state_dict(*args, prefix=prefix, **options)
        for name, attribute in self.renamed.items():
            move_keys(found, prefix + attribute, prefix + name)
        return found

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        for name, attribute in self.renamed.items():
            move_keys(state_dict, prefix + name, prefix + attribute)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @torch.no_grad()
    def load_tensors(self, tensors):
        """Copy tensors in by path. Raises ValueError where names or shapes differ."""
        own = self.tensors()
        if own.keys() != tensors.keys():
            raise ValueError(f"{type(self).__name__} has other tensors: {sorted(own.keys() ^ tensors.keys())}")
        for path, tensor in own.items():
            given = torch.as_tensor(tensors[path])
            if tensor.shape != given.shape:
                raise ValueError(f"{path} is {tuple(tensor.shape)} here and {tuple(given.shape)} there")
            tensor.copy_(given)

    def copy(self):
        """The same model with tensors of its own."""
        twin = self.at({})
        for module in twin.modules():
            for name, parameter in module._parameters.items():
                module._parameters[name] = torch.nn.Parameter(parameter.detach().clone())
        return twin

    def at(self, tensors):
        """The model at another point of parameter space: nested dicts of tensors by member replace its own.

        Gradients flow through them. What is not given is shared. Buffers are copied.
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for table in ("_parameters", "_buffers", "_modules"):
            twin.__dict__[table] = dict(self.__dict__[table])
        for name, buffer in twin._buffers.items():
            twin._buffers[name] = buffer.clone()
        for name in self.members:
            attribute = self.renamed.get(name, name)
            member = getattr(self, attribute)
            if isinstance(member, torch.nn.ModuleList):
                parts = (part.at(tensors.get(f"{name}.{i}", {})) for i, part in enumerate(member))
                twin._modules[attribute] = torch.nn.ModuleList(parts)
            elif isinstance(member, Model):
                twin._modules[attribute] = member.at(tensors.get(name, {}))
            elif name in tensors and attribute in twin._buffers:
                twin._buffers[attribute] = tensors[name].clone()
            elif name in tensors:
                twin._parameters.pop(attribute, None)
                twin.__dict__[attribute] = tensors[name]
        return twin


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
    logp = torch.log_softmax(logits, dim=2)  # [n, time, classes]  prelude.lee:127
    u = torch.arange(2 * length + 1, device=logits.device)  # int[2 * length + 1]  ctc.lee:15
    minimum = (u // 2).clamp(min=0).clamp(max=length - 1)  # int[2 * length + 1]
    label = torch.where(u % 2 == 1, target.permute((1, 0))[minimum].T, blank)  # int[n, 2 * length + 1]
    minimum_2 = (u + -2).clamp(min=0).clamp(max=2 * length)  # int[2 * length + 1]  ctc.lee:16
    ne_2 = label != label.permute((1, 0))[minimum_2].T  # bool[n, 2 * length + 1]
    jump = torch.where(u >= 3, (label != blank) & ne_2, False)  # bool[n, 2 * length + 1]
    b = torch.arange(n, device=logits.device)  # int[n]  ctc.lee:17
    minimum_5 = b.clamp(min=0).clamp(max=n - 1)  # int[n]
    minimum_4 = label.clamp(min=0).clamp(max=classes - 1)  # int[n, 2 * length + 1]
    gather_3 = logp[minimum_5[:, None], min(0, time - 1), minimum_4]  # [n, 2 * length + 1]
    alpha = torch.where(u <= 1, gather_3, -torch.inf)  # [n, 2 * length + 1]
    # ctc.lee:18
    for t in range(1, time):
        alpha = ctc_step(alpha, logp[:, t], jump, label, frames, length, t)
    mul = 2 * lengths  # int[n]  ctc.lee:24
    minimum_6 = (mul - 1).clamp(min=0).clamp(max=2 * length)  # int[n]
    gather_5 = alpha[minimum_5, minimum_6]  # [n]
    total = logaddexp(alpha[b, mul], torch.where(lengths > 0, gather_5, -torch.inf))  # [n]
    return -total.mean()  # ctc.lee:25


def ctc_saved(logits, target, frames, lengths, blank=0):
    """As ctc, and what its gradient needs."""
    n, time, classes = logits.shape
    length = target.shape[1]
    logp = torch.log_softmax(logits, dim=2)  # [n, time, classes]  prelude.lee:127
    u = torch.arange(2 * length + 1, device=logits.device)  # int[2 * length + 1]  ctc.lee:15
    minimum = (u // 2).clamp(min=0).clamp(max=length - 1)  # int[2 * length + 1]
    label = torch.where(u % 2 == 1, target.permute((1, 0))[minimum].T, blank)  # int[n, 2 * length + 1]
    minimum_2 = (u + -2).clamp(min=0).clamp(max=2 * length)  # int[2 * length + 1]  ctc.lee:16
    ne_2 = label != label.permute((1, 0))[minimum_2].T  # bool[n, 2 * length + 1]
    jump = torch.where(u >= 3, (label != blank) & ne_2, False)  # bool[n, 2 * length + 1]
    le = u <= 1  # bool[2 * length + 1]  ctc.lee:17
    minimum_4 = label.clamp(min=0).clamp(max=classes - 1)  # int[n, 2 * length + 1]
    b = torch.arange(n, device=logits.device)  # int[n]
    minimum_5 = b.clamp(min=0).clamp(max=n - 1)  # int[n]
    gather_3 = logp[minimum_5[:, None], min(0, time - 1), minimum_4]  # [n, 2 * length + 1]
    alpha = torch.where(le, gather_3, -torch.inf)  # [n, 2 * length + 1]
    saved_ctc_step = [None] * (time - 1)  # ctc.lee:18
    for t in range(1, time):
        alpha, saved_ctc_step[t - 1] = ctc_step_saved(alpha, logp[:, t], jump, label, frames, length, t)
    mul = 2 * lengths  # int[n]  ctc.lee:24
    gather_4 = alpha[b, mul]  # [n]
    gt = lengths > 0  # bool[n]
    minimum_6 = (mul - 1).clamp(min=0).clamp(max=2 * length)  # int[n]
    select = torch.where(gt, alpha[minimum_5, minimum_6], -torch.inf)  # [n]
    total = logaddexp(gather_4, select)  # [n]
    saved = logp, label, jump, le, minimum_4, minimum_5, saved_ctc_step, mul, gather_4, gt, minimum_6, select, total
    return -total.mean(), saved  # ctc.lee:25


def ctc_backward(saved, length, d_y):
    """From d_y to the gradient by logits."""
    logp, label, jump, le, minimum_4, minimum_5, saved_ctc_step, mul, gather_4, gt, minimum_6, select, total = saved
    n, time, classes = logp.shape
    # gradient of return -mean(total)   ctc.lee:25
    neg = -(d_y / n)
    # gradient of total[b] = logaddexp(alpha[b, 2 * lengths[b]], where(lengths[b] > 0, alpha[b,..   ctc.lee:24
    gt_2 = total > -torch.inf  # bool[n]
    d_select = neg * torch.where(gt_2, torch.sigmoid(select - gather_4), 0)  # [n]
    d_gather_5 = torch.where(gt, d_select, 0)  # [n]
    d_alpha_4_2 = scatter_add(d_gather_5, (minimum_5, minimum_6), (n, 2 * length + 1))  # [n, 2 * length + 1]
    d_gather_4 = neg * torch.where(gt_2, torch.sigmoid(gather_4 - select), 0)  # [n]
    # gradient of alpha[b, u in states] = where(u <= 1, logp[b, 0, label[b, u]], -inf)   ctc.lee:17
    b = torch.arange(n, device=logp.device)  # int[n]
    # gradient of for t in 1..time - 1:   ctc.lee:18
    d_alpha_4 = d_alpha_4_2 + scatter_add(d_gather_4, (b, mul), (n, 2 * length + 1))  # [n, 2 * length + 1]
    d_logp_4 = [None] * (time - 1)
    for t in reversed(range(1, time)):
        d_alpha_4, d_logp_4[t - 1] = ctc_step_backward(saved_ctc_step[t - 1], jump, label, classes, length, d_alpha_4)
    d_logp_4 = (
        torch.stack(d_logp_4, 1) if d_logp_4 else torch.zeros((n, time - 1, classes), dtype=FLOAT, device=logp.device)
    )
    # [n, time, classes]
    d_logp_2 = unslice(d_logp_4, (n, time, classes), (slice(0, n), slice(1, time), slice(0, classes)))
    # gradient of alpha[b, u in states] = where(u <= 1, logp[b, 0, label[b, u]], -inf)   ctc.lee:17
    d_gather_3 = torch.where(le, d_alpha_4, 0)  # [n, 2 * length + 1]
    reshape = minimum_5[:, None]  # int[n, 1]
    minimum = min(0, time - 1)
    # [n, time, classes]
    d_logp_3 = scatter_add(
        d_gather_3, (reshape, torch.full((), minimum, device=logp.device), minimum_4), (n, time, classes)
    )
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_logp = d_logp_2 + d_logp_3  # [n, time, classes]
    d_logits = d_logp - torch.exp(logp) * d_logp.sum(dim=2, keepdim=True)  # [n, time, classes]
    return d_logits  # [n, time, classes]


def ctc_step(alpha, logp_t, jump, label, frames, length, t):
    """alpha [n, 2 * length + 1], logp_t [n, classes], jump bool[n, 2 * length + 1], label int[n, 2 * length + 1],
    frames int[n] -> [n, 2 * length + 1]
    """
    n = alpha.shape[0]
    u_6 = torch.arange(2 * length + 1, device=alpha.device)  # int[2 * length + 1]  ctc.lee:20
    minimum = (u_6 + -1).clamp(min=0).clamp(max=2 * length)  # int[2 * length + 1]
    next_ = torch.where(u_6 >= 1, alpha.permute((1, 0))[minimum].T, -torch.inf)  # [n, 2 * length + 1]
    minimum_2 = (u_6 + -2).clamp(min=0).clamp(max=2 * length)  # int[2 * length + 1]  ctc.lee:21
    skip = torch.where(jump, alpha.permute((1, 0))[minimum_2].T, -torch.inf)  # [n, 2 * length + 1]
    gather_3 = logp_t[torch.arange(n, device=alpha.device)[:, None], label]  # [n, 2 * length + 1]  ctc.lee:22
    arrived = logaddexp(logaddexp(alpha, next_), skip) + gather_3  # [n, 2 * length + 1]
    alpha_3 = torch.where((t < frames)[:, None], arrived, alpha)  # [n, 2 * length + 1]  ctc.lee:23
    return alpha_3  # [n, 2 * length + 1]


def ctc_step_saved(alpha, logp_t, jump, label, frames, length, t):
    """As ctc_step, and what its gradient needs."""
    n = alpha.shape[0]
    u_6 = torch.arange(2 * length + 1, device=alpha.device)  # int[2 * length + 1]  ctc.lee:20
    ge = u_6 >= 1  # bool[2 * length + 1]
    minimum = (u_6 + -1).clamp(min=0).clamp(max=2 * length)  # int[2 * length + 1]
    next_ = torch.where(ge, alpha.permute((1, 0))[minimum].T, -torch.inf)  # [n, 2 * length + 1]
    minimum_2 = (u_6 + -2).clamp(min=0).clamp(max=2 * length)  # int[2 * length + 1]  ctc.lee:21
    skip = torch.where(jump, alpha.permute((1, 0))[minimum_2].T, -torch.inf)  # [n, 2 * length + 1]
    logaddexp_ = logaddexp(alpha, next_)  # [n, 2 * length + 1]  ctc.lee:22
    logaddexp_2 = logaddexp(logaddexp_, skip)  # [n, 2 * length + 1]
    arrived = logaddexp_2 + logp_t[torch.arange(n, device=alpha.device)[:, None], label]  # [n, 2 * length + 1]
    reshape_2 = (t < frames)[:, None]  # bool[n, 1]  ctc.lee:23
    alpha_3 = torch.where(reshape_2, arrived, alpha)  # [n, 2 * length + 1]
    saved = ge, minimum, next_, minimum_2, skip, logaddexp_, logaddexp_2, reshape_2, alpha
    return alpha_3, saved


def ctc_step_backward(saved, jump, label, classes, length, d_alpha_3):
    """From d_alpha_3 to the gradients by alpha and logp_t."""
    ge, minimum, next_, minimum_2, skip, logaddexp_, logaddexp_2, reshape_2, alpha = saved
    n = next_.shape[0]
    # gradient of alpha[b, u] = where(t < frames[b], arrived[b, u], alpha[b, u])   ctc.lee:23
    d_arrived = torch.where(reshape_2, d_alpha_3, 0)  # [n, 2 * length + 1]
    # gradient of arrived[b, u] = logaddexp(stay[b, u], next[b, u], skip[b, u]) + logp[b, t, la..   ctc.lee:22
    reshape = torch.arange(n, device=ge.device)[:, None]  # int[n, 1]
    gt = logaddexp_2 > -torch.inf  # bool[n, 2 * length + 1]
    mul = d_alpha_3 * torch.where(gt, torch.sigmoid(logaddexp_ - skip), 0)  # [n, 2 * length + 1]
    select_2 = torch.where(gt, torch.sigmoid(skip - logaddexp_), 0)  # [n, 2 * length + 1]
    gt_2 = logaddexp_ > -torch.inf  # bool[n, 2 * length + 1]
    mul_3 = mul * torch.where(gt_2, torch.sigmoid(alpha - next_), 0)  # [n, 2 * length + 1]
    # gradient of skip[b, u in states] = where(jump[b, u], alpha[b, u - 2], -inf)   ctc.lee:21
    select_5 = torch.where(jump, d_alpha_3 * select_2, 0)  # [n, 2 * length + 1]
    d_gather_2 = torch.where(reshape_2, select_5, 0).T  # [2 * length + 1, n]
    d_alpha_5 = scatter_add(d_gather_2, (minimum_2,), (n, 2 * length + 1), (1,))  # [n, 2 * length + 1]
    # gradient of arrived[b, u] = logaddexp(stay[b, u], next[b, u], skip[b, u]) + logp[b, t, la..   ctc.lee:22
    mul_4 = mul * torch.where(gt_2, torch.sigmoid(next_ - alpha), 0)  # [n, 2 * length + 1]
    # gradient of next[b, u in states] = where(u >= 1, alpha[b, u - 1], -inf)   ctc.lee:20
    d_gather = torch.where(reshape_2, torch.where(ge, mul_4, 0), 0).T  # [2 * length + 1, n]
    # gradient of alpha[b, u] = where(t < frames[b], arrived[b, u], alpha[b, u])   ctc.lee:23
    d_alpha_2 = torch.where(reshape_2, 0, d_alpha_3)  # [n, 2 * length + 1]
    # gradient of next[b, u in states] = where(u >= 1, alpha[b, u - 1], -inf)   ctc.lee:20
    d_alpha_6 = scatter_add(d_gather, (minimum,), (n, 2 * length + 1), (1,))  # [n, 2 * length + 1]
    d_alpha = d_alpha_2 + torch.where(reshape_2, mul_3, 0) + d_alpha_5 + d_alpha_6  # [n, 2 * length + 1]
    return d_alpha, scatter_add(d_arrived, (reshape, label), (n, classes))


def greedy(logits, frames, blank=0):
    """The best path without repeats and blanks. The result is ragged: padded labels and their numbers.

    logits [n, time, classes], frames int[n] -> int[n, time], int[n]
    """
    time = logits.shape[1]
    best = logits.argmax(dim=2)  # int[n, time]  ctc.lee:30
    t = torch.arange(time, device=logits.device)  # int[time]  ctc.lee:31
    minimum = (t + -1).clamp(min=0).clamp(max=time - 1)  # int[time]
    ne_2 = best != best.permute((1, 0))[minimum].T  # bool[n, time]
    keep = (t < frames[:, None]) & (best != blank) & torch.where(t > 0, ne_2, True)  # bool[n, time]
    kept, sum_ = compact(best, keep, fill=blank)  # ctc.lee:32
    return kept, sum_


class Recogniser(Model):
    """A class, or the blank, for every frame."""

    members = ("rnn", "head")

    def __init__(self, inputs, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden, self.classes = inputs, hidden, classes
        self.rnn = LSTM(inputs, hidden, key=fold(key, SITES["rnn"]))  # ctc.lee:37
        self.head = Linear(hidden, classes + 1, key=fold(key, SITES["head"]))  # ctc.lee:38

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
    return value, ctc_backward(saved_ctc, 3, torch.ones((), dtype=FLOAT))


def example_repeated(key):
    logits = normal(fold(key, SITES["logits"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  ctc.lee:53
    target = torch.ones((2, 3), dtype=torch.int64)  # int[2, 3]  ctc.lee:54
    frames = torch.full((2,), 5, dtype=torch.int64)  # int[2]  ctc.lee:55
    lengths = torch.full((2,), 3, dtype=torch.int64)  # int[2]  ctc.lee:56
    value, saved_ctc = ctc_saved(logits, target, frames, lengths)  # ctc.lee:57
    return value, ctc_backward(saved_ctc, 3, torch.ones((), dtype=FLOAT))


def example_recognised(key):
    net = Recogniser(3, 4, 5, key=fold(key, SITES["net"]))  # ctc.lee:61
    x = normal(fold(key, SITES["x"]), (2, 7, 3), FLOAT)  # [2, 7, 3]  ctc.lee:62
    target = randint(fold(key, SITES["target"]), (2, 3), 1, 6)  # int[2, 3]  ctc.lee:63
    frames = randint(fold(key, SITES["frames"]), (2,), 6, 8)  # int[2]  ctc.lee:64
    lengths = randint(fold(key, SITES["lengths"]), (2,), 1, 3)  # int[2]  ctc.lee:65
    reshape_2, saved_net = net.forward_saved(x)  # ctc.lee:66
    value, saved_ctc = ctc_saved(reshape_2, target, frames, lengths)
    d_reshape_2 = ctc_backward(saved_ctc, 3, torch.ones((), dtype=FLOAT))  # [2, 7, 6]
    d_net, d_x = net.forward_backward(x, saved_net, d_reshape_2)
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
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        div, div_2 = fan_in_uniform(inputs)  # nn.lee:15
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]
        uniform_2 = uniform(fold(key, SITES["b"]), (outputs,), FLOAT)  # [outputs]  nn.lee:17
        self.w = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, outputs]  nn.lee:15
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [outputs]  nn.lee:17

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., inputs] -> [.., outputs]"""
        return torch.addmm(self.b, x, self.w)  # [rows, outputs]  nn.lee:21

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(dim=0)  # [outputs]
        d_x = d_y @ self.w.T  # [rows, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_x


class LSTMCell(Model):
    """c ← f c + i g, h ← o tanh(c), one step: gates i, f, g, o in this order (Hochreiter & Schmidhuber 1997)."""

    members = ("w", "u", "b")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # nn.lee:245
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, 4 * hidden), FLOAT)  # [inputs, 4 * hidden]
        uniform_2 = uniform(fold(key, SITES["u"]), (hidden, 4 * hidden), FLOAT)  # [hidden, 4 * hidden]  nn.lee:246
        uniform_3 = uniform(fold(key, SITES["b"]), (4 * hidden,), FLOAT)  # [4 * hidden]  nn.lee:247
        self.w = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, 4 * hidden]  nn.lee:245
        self.u = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [hidden, 4 * hidden]  nn.lee:246
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_3)  # [4 * hidden]  nn.lee:247

    def forward(self, x, h, c):
        """x [n, inputs], h [n, hidden], c [n, hidden] -> [n, hidden], [n, hidden]"""
        n = x.shape[0]
        z = (x @ self.w + h @ self.u + self.b).reshape(n, 4, self.hidden)  # [n, 4, hidden]  nn.lee:250
        memory = torch.sigmoid(z[:, 1]) * c + torch.sigmoid(z[:, 0]) * torch.tanh(z[:, 2])  # [n, hidden]  nn.lee:251
        return torch.sigmoid(z[:, 3]) * torch.tanh(memory), memory  # nn.lee:252

    def forward_saved(self, x, h, c):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        z = (x @ self.w + h @ self.u + self.b).reshape(n, 4, self.hidden)  # [n, 4, hidden]  nn.lee:250
        sigmoid = torch.sigmoid(z[:, 1])  # [n, hidden]  prelude.lee:36
        sigmoid_2 = torch.sigmoid(z[:, 0])  # [n, hidden]
        tanh = torch.tanh(z[:, 2])  # [n, hidden]  nn.lee:251
        memory = sigmoid * c + sigmoid_2 * tanh  # [n, hidden]
        sigmoid_3 = torch.sigmoid(z[:, 3])  # [n, hidden]  prelude.lee:36
        tanh_memory = torch.tanh(memory)  # [n, hidden]  nn.lee:252
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
        d_z = torch.stack((d_reshape_2, d_reshape, d_reshape_3, d_reshape_4), dim=1)  # [n, 4, hidden]
        d_add_2 = d_z.reshape(n, 4 * self.hidden)  # [n, 4 * hidden]
        d_b = d_add_2.sum(dim=0)  # [4 * hidden]
        d_h = d_add_2 @ self.u.T  # [n, hidden]
        d_u = h.T @ d_add_2  # [hidden, 4 * hidden]
        d_x = d_add_2 @ self.w.T  # [n, inputs]
        d_w = x.T @ d_add_2  # [inputs, 4 * hidden]
        return {"w": d_w, "u": d_u, "b": d_b}, d_x, d_h, d_c


class LSTM(Model):
    """LSTMCell at every position, from states of 0."""

    members = ("cell",)

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        self.cell = LSTMCell(inputs, hidden, key=fold(key, SITES["cell"]))  # nn.lee:293

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
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  nn.lee:296
        c = h  # nn.lee:298
        h_ = h
        out = [None] * time
        for t in range(time):
            c, h_, out[t] = self.forward_step(c, h_, x[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  nn.lee:296
        c = h  # nn.lee:298
        h_ = h
        out = [None] * time
        saved_forward_step = [None] * time
        for t in range(time):
            c, h_, out[t], saved_forward_step[t] = self.forward_step_saved(c, h_, x[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out, saved_forward_step

    def forward_backward(self, x, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   nn.lee:298
        d_c = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]
        d_cell_w_2 = torch.zeros((self.inputs, 4 * self.hidden), dtype=FLOAT, device=x.device)  # [inputs, 4 * hidden]
        d_cell_u_2 = torch.zeros((self.hidden, 4 * self.hidden), dtype=FLOAT, device=x.device)  # [hidden, 4 * hidden]
        d_c_3 = d_c
        d_h_3 = d_c
        d_self = {"cell": {"w": d_cell_w_2, "u": d_cell_u_2}}
        d_x = [None] * time
        d_cell_b_rows = [None] * time
        for t in reversed(range(time)):
            d_c_3, d_h_3, d_self, d_x[t], d_cell_b_rows[t] = self.forward_step_backward(
                saved_forward_step[t], x[:, t], d_c_3, d_h_3, d_out[:, t], d_self
            )
        d_x = torch.stack(d_x, 1) if d_x else torch.zeros((n, time, self.inputs), dtype=FLOAT, device=x.device)
        d_cell_b_rows = (
            torch.stack(d_cell_b_rows, 1)
            if d_cell_b_rows
            else torch.zeros((4 * self.hidden, time), dtype=FLOAT, device=x.device)
        )
        d_cell_b = d_cell_b_rows.sum(dim=1)  # [4 * hidden]
        return {"cell": {"w": d_self["cell"]["w"], "u": d_self["cell"]["u"], "b": d_cell_b}}, d_x


def compact(x, keep, fill=0):
    """The entries that `keep` says, in order, moved to the front of an axis; behind them `fill`. And how many they are.

    x int[x_0, x_1], keep bool[x_0, keep_1] -> int[x_0, keep_1], int[x_0]
    """
    order = torch.argsort((~keep).to(torch.int64), dim=1, stable=True)  # int[x_0, keep_1]  prelude.lee:194
    take_along = torch.take_along_dim(keep, order, 1)  # bool[x_0, keep_1]  prelude.lee:195
    kept = torch.where(take_along, torch.take_along_dim(x, order, 1), fill)  # int[x_0, keep_1]
    return kept, keep.to(torch.int64).sum(dim=1)  # prelude.lee:196


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


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    shifted = x - torch.where(empty, 0.0, top)
    return shifted - torch.log(torch.where(empty, 1.0, torch.exp(shifted).sum(dim=axes, keepdim=True)))


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = x.new_zeros(dims)
    whole[slices] = x
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


def logaddexp(x, y):
    """log(exp(x) + exp(y)); where both are -inf the gradients are 0."""
    empty = torch.isneginf(torch.maximum(x, y))
    safe = torch.logaddexp(torch.where(empty, 0.0, x), torch.where(empty, 0.0, y))
    return torch.where(empty, -math.inf, safe)


MASK = 0xFFFFFFFF


Key = tuple[int, int] | torch.Tensor


Device = torch.device | str | None


def philox(key, counter):
    """Four random words for a counter of four words: ten rounds of products that swap their halves.

    The words are Python integers or int64 tensors below 2**32.
    """
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1 = (p1 >> 32 & MASK) ^ x1 ^ k0, p1 & MASK
        x2, x3 = (p0 >> 32 & MASK) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def fold(key, word):
    """The key that belongs to a word of 64 bits (a site, a round of a loop) under a key.

    It is the first half of the block that starts with the word; the last word of its counter, 0xF01D, is 0 in
    every block that `bits` reads, so folding and drawing never meet.
    """
    return philox(key, (word & MASK, word >> 32 & MASK, 0, 0xF01D))[:2]


def bits(key: Key, n: int, device: Device = None) -> torch.Tensor:
    """n random words, int64[n], all four words of a block used; at most 2**34 from one key."""
    blocks = torch.arange(-(-n // 4), dtype=torch.int64, device=device)
    return torch.stack(philox(key, (blocks, 0, 0, 0)), dim=1).reshape(-1)[:n]


def uniform(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Uniform numbers in [0, 1): multiples of 2**-24, so that float32 and float64 hold the same ones."""
    return (bits(key, math.prod(shape), device) >> 8).reshape(shape).to(dtype) * 2.0**-24


def normal(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2, device) >> 8).reshape(-1, 2).to(torch.float64)
    radius = torch.sqrt(-2.0 * torch.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
    return pairs.reshape(-1)[:n].reshape(shape).to(dtype)


def randint(key: Key, shape: tuple[int, ...], low: int, high: int, device: Device = None) -> torch.Tensor:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape), device).reshape(shape)
    return (words * (high - low) >> 32 & MASK) + low


def move_keys(found, old, new):
    """Rename a key, or all below a path."""
    for key in [k for k in found if k == old or k.startswith(f"{old}.")]:
        found[new + key[len(old) :]] = found.pop(key)
