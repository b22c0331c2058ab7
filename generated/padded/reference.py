"""Attention over sequences of different lengths, padded to one: what stands behind a length is seen by nobody.

The mask makes shares of 0 there; what is summed, averaged or picked out goes up to the length.

Made from specs/attention/padded.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/padded.lee
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


class Optimizer:
    """What every optimizer has: the number `t` of updates so far, and states like the parameters.

    `starts` says with what the entries of a state begin.
    """

    starts: dict[str, float] = {}
    t = 0
    rates: dict | None = None  # hyperparameters that are functions of the count

    def count(self):
        """Count an update; hyperparameters that are functions of the count get their values for it."""
        if self.rates is None:
            self.rates = {name: value for name, value in self.__dict__.items() if callable(value)}
        self.t += 1
        for name, rate in self.rates.items():
            setattr(self, name, rate(self.t))

    def begin(self, θ):
        """Count an update; the first one makes the states."""
        self.count()
        self.make_states(θ)

    def make_states(self, θ):
        """Raises ValueError for parameters of another size."""
        for name, start in self.starts.items():
            if not hasattr(self, name):
                setattr(self, name, np.full_like(θ, start))
            if getattr(self, name).shape != θ.shape:
                raise ValueError(f"{type(self).__name__} has moved {getattr(self, name).size} parameters, not {θ.size}")

    def tensors(self):
        """The count and the states that there are by now."""
        return {"t": self.t, **{name: getattr(self, name) for name in self.starts if hasattr(self, name)}}

    def load_tensors(self, arrays):
        """Go on from another's count and states."""
        self.t = int(arrays["t"])
        for name in self.starts.keys() & arrays.keys():
            setattr(self, name, np.array(arrays[name], FLOAT))

    def copy(self):
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.load_tensors(self.tensors())
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


def inside_(lengths, time):
    """True before each length.

    lengths int[n] -> bool[n, time]
    """
    before = np.arange(time) < lengths[:, None]  # bool[n, time]  padded.lee:15
    return before  # bool[n, time]


def attend(q, k, v, lengths):
    """Shares softmax(q k / √size) of the values before each length, in several heads.

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], lengths int[n] -> [n, m, heads,
    size]
    """
    size = q.shape[3]
    time = k.shape[1]
    score = q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  padded.lee:26
    reshape = inside_(lengths, time)[:, None, None]  # bool[n, 1, 1, time]  padded.lee:27
    share = softmax(np.where(reshape, score, -np.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, m, heads, size]  padded.lee:28
    return mixed  # [n, m, heads, size]


def attend_saved(q, k, v, lengths):
    """As attend, and what its gradient needs."""
    size = q.shape[3]
    time = k.shape[1]
    score = q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  padded.lee:26
    reshape = inside_(lengths, time)[:, None, None]  # bool[n, 1, 1, time]  padded.lee:27
    share = softmax(np.where(reshape, score, -np.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, m, heads, size]  padded.lee:28
    return mixed, (reshape, share)


def attend_backward(q, k, v, saved, d_mixed):
    """From d_mixed to the gradients by q, k and v."""
    reshape, share = saved
    size = q.shape[3]
    # gradient of mixed[b, i, g, a] = sum[j](share[b, g, i, j] * v[b, j, g, a])   padded.lee:28
    transpose = d_mixed.transpose(0, 2, 1, 3)  # [n, heads, m, size]
    d_share = transpose @ v.transpose(0, 2, 3, 1)  # [n, heads, m, time]
    d_v = (share.mT @ transpose).transpose(0, 2, 1, 3)  # [n, time, heads, size]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_share - (d_share * share).sum(axis=3, keepdims=True)  # [n, heads, m, time]
    # gradient of score[b, g, i, j] = sum[a](q[b, i, g, a] * k[b, j, g, a]) / sqrt(size)   padded.lee:26
    d_contract = masked(share * sub / math.sqrt(size), reshape)  # [n, heads, m, time]
    d_q = (d_contract @ k.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, m, heads, size]
    d_k = (d_contract.mT @ q.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, time, heads, size]
    return d_q, d_k, d_v


def mean_pool(x, lengths):
    """The mean of the vectors before each length; 0 where there are none.

    x [n, time, d], lengths int[n] -> [n, d]
    """
    time = x.shape[1]
    masked_ = masked(x.mT, (np.arange(time) < lengths[:, None])[:, None])  # [n, d, time]  padded.lee:34
    pooled = masked_.sum(axis=2) / np.maximum(lengths, 1)[:, None].astype(FLOAT)  # [n, d]
    return pooled  # [n, d]


def mean_pool_saved(x, lengths):
    """As mean_pool, and what its gradient needs."""
    time = x.shape[1]
    reshape_2 = (np.arange(time) < lengths[:, None])[:, None]  # bool[n, 1, time]  padded.lee:34
    cast = np.maximum(lengths, 1)[:, None].astype(FLOAT)  # [n, 1]
    pooled = masked(x.mT, reshape_2).sum(axis=2) / cast  # [n, d]
    return pooled, (reshape_2, cast)


def mean_pool_backward(saved, d_pooled):
    """From d_pooled to the gradient by x."""
    reshape_2, cast = saved
    # gradient of pooled[b, a] = sum[t in lengths[b]](x[b, t, a]) / max(lengths[b], 1)   padded.lee:34
    d_x = masked((d_pooled / cast)[:, :, None], reshape_2).mT  # [n, time, d]
    return d_x  # [n, time, d]


def last_state(x, lengths):
    """The vector right before each length; 0 where there is none.

    x [n, time, d], lengths int[n] -> [n, d]
    """
    n, time, _ = x.shape
    minimum = np.minimum(np.maximum(lengths - 1, 0), time - 1)  # int[n]  padded.lee:40
    gather = x[np.minimum(np.maximum(np.arange(n), 0), n - 1), minimum]  # [n, d]
    last = masked(gather, (lengths > 0)[:, None])  # [n, d]
    return last  # [n, d]


def last_state_saved(x, lengths):
    """As last_state, and what its gradient needs."""
    n, time, _ = x.shape
    minimum = np.minimum(np.maximum(lengths - 1, 0), time - 1)  # int[n]  padded.lee:40
    minimum_2 = np.minimum(np.maximum(np.arange(n), 0), n - 1)  # int[n]
    reshape = (lengths > 0)[:, None]  # bool[n, 1]
    last = masked(x[minimum_2, minimum], reshape)  # [n, d]
    return last, (minimum, minimum_2, reshape)


def last_state_backward(saved, time, d_last):
    """From d_last to the gradient by x."""
    minimum, minimum_2, reshape = saved
    n = minimum.shape[0]
    d = d_last.shape[1]
    # gradient of last[b, a] = where(lengths[b] > 0, x[b, lengths[b] - 1, a], 0)   padded.lee:40
    d_x = scatter_add(masked(d_last, reshape), (minimum_2, minimum), (n, time, d))  # [n, time, d]
    return d_x  # [n, time, d]


class PaddedAttention(Model):
    """Positions of x attend to those of `memory` that are before its lengths."""

    members = ("query", "key", "value", "output")

    def __init__(self, d, heads, *, key=(0, 0)):
        self.d, self.heads = d, heads
        self.size = d // heads
        if d % heads != 0:
            raise ValueError(f"padded.lee:46: d % heads == 0 must hold: d = {d}, heads = {heads}")
        self.query = Linear(d, d, key=fold(key, SITES["query"]))  # padded.lee:48
        self.key = Linear(d, d, key=fold(key, SITES["key"]))  # padded.lee:49
        self.value = Linear(d, d, key=fold(key, SITES["value"]))  # padded.lee:50
        self.output = Linear(d, d, key=fold(key, SITES["output"]))  # padded.lee:51
        self.lay_out()

    def forward(self, x, memory, lengths):
        """x [n, m, d], memory [n, time, d], lengths int[n] -> [n, m, d]"""
        n, m, _ = x.shape
        time = memory.shape[1]
        query_out = self.query(x.reshape(m * n, self.d))  # [m * n, d]  padded.lee:54
        q = query_out.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        memory_flat = memory.reshape(n * time, self.d)  # [n * time, d]  padded.lee:55
        k = self.key(memory_flat).reshape(n, time, self.heads, self.d // self.heads)  # [n, time, heads, d // heads]
        # [n, time, heads, d // heads]  padded.lee:56
        v = self.value(memory_flat).reshape(n, time, self.heads, self.d // self.heads)
        output_out = self.output(attend(q, k, v, lengths).reshape(m * n, self.d))  # [m * n, d]  padded.lee:57
        return output_out.reshape(n, m, self.d)  # [n, m, d]

    def forward_saved(self, x, memory, lengths):
        """As forward, and what its gradient needs."""
        n, m, _ = x.shape
        time = memory.shape[1]
        query_out = self.query(x.reshape(m * n, self.d))  # [m * n, d]  padded.lee:54
        q = query_out.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        memory_flat = memory.reshape(n * time, self.d)  # [n * time, d]  padded.lee:55
        k = self.key(memory_flat).reshape(n, time, self.heads, self.d // self.heads)  # [n, time, heads, d // heads]
        # [n, time, heads, d // heads]  padded.lee:56
        v = self.value(memory_flat).reshape(n, time, self.heads, self.d // self.heads)
        mixed, saved_attend = attend_saved(q, k, v, lengths)  # padded.lee:57
        reshape_3 = mixed.reshape(m * n, self.d)  # [m * n, d]
        return self.output(reshape_3).reshape(n, m, self.d), (q, k, v, saved_attend, reshape_3)

    def forward_backward(self, x, memory, saved, d_y):
        """From d_y to the gradients by the parameters, x and memory."""
        q, k, v, saved_attend, reshape_3 = saved
        n, m, _ = x.shape
        time = memory.shape[1]
        # gradient of k = reshape(key(memory), [n, time, heads, size])   padded.lee:55
        memory_flat = memory.reshape(n * time, self.d)  # [n * time, d]
        # gradient of return output(reshape(attend(q, k, v, lengths), [n, m, d]))   padded.lee:57
        d_output, d_reshape_3 = self.output.forward_backward(reshape_3, d_y.reshape(m * n, self.d))
        d_mixed = d_reshape_3.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        d_q, d_k, d_v = attend_backward(q, k, v, saved_attend, d_mixed)
        # gradient of v = reshape(value(memory), [n, time, heads, size])   padded.lee:56
        d_value, d_memory_flat_2 = self.value.forward_backward(memory_flat, d_v.reshape(n * time, self.d))
        # gradient of k = reshape(key(memory), [n, time, heads, size])   padded.lee:55
        d_key, d_memory_flat_3 = self.key.forward_backward(memory_flat, d_k.reshape(n * time, self.d))
        d_memory = (d_memory_flat_2 + d_memory_flat_3).reshape(n, time, self.d)  # [n, time, d]
        # gradient of q = reshape(query(x), [n, m, heads, size])   padded.lee:54
        d_query_out = d_q.reshape(m * n, self.d)  # [m * n, d]
        d_query, d_x_flat = self.query.forward_backward(x.reshape(m * n, self.d), d_query_out)
        d_x = d_x_flat.reshape(n, m, self.d)  # [n, m, d]
        return {"query": d_query, "key": d_key, "value": d_value, "output": d_output}, d_x, d_memory


class Reader(Model):
    """A class of a sentence: every word looks at the others, then the mean of all."""

    members = ("read", "attention", "head")

    def __init__(self, vocab, d, heads, classes, *, key=(0, 0)):
        self.vocab, self.d, self.heads, self.classes = vocab, d, heads, classes
        self.read = Embedding(vocab, d, key=fold(key, SITES["read"]))  # padded.lee:62
        self.attention = PaddedAttention(d, heads, key=fold(key, SITES["attention"]))  # padded.lee:63
        self.head = Linear(d, classes, key=fold(key, SITES["head"]))  # padded.lee:64
        self.lay_out()

    def forward(self, tokens, lengths):
        """tokens int[n, time], lengths int[n] -> [n, classes]"""
        n, time = tokens.shape
        x = self.read(tokens.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  padded.lee:67
        y = self.head(mean_pool(x + self.attention(x, x, lengths), lengths))  # [n, classes]  padded.lee:68
        return y  # [n, classes]

    def forward_saved(self, tokens, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        x = self.read(tokens.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  padded.lee:67
        reshape_12, saved_attention = self.attention.forward_saved(x, x, lengths)  # padded.lee:68
        pooled, saved_mean_pool = mean_pool_saved(x + reshape_12, lengths)
        return self.head(pooled), (x, saved_attention, pooled, saved_mean_pool)

    def forward_backward(self, tokens, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x, saved_attention, pooled, saved_mean_pool = saved
        n, time = tokens.shape
        # gradient of return head(mean_pool(x + attention(x, x, lengths), lengths))   padded.lee:68
        d_head, d_pooled = self.head.forward_backward(pooled, d_y)
        d_add = mean_pool_backward(saved_mean_pool, d_pooled)  # [n, time, d]
        d_attention, d_x_2, d_x_3 = self.attention.forward_backward(x, x, saved_attention, d_add)
        # gradient of x = read(tokens)   padded.lee:67
        d_x = d_add + d_x_2 + d_x_3  # [n, time, d]
        d_read_out = d_x.reshape(n * time, self.d)  # [n * time, d]
        d_read = Embedding.forward_backward(tokens.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "attention": d_attention, "head": d_head}


def fit(epochs=8, batch=16, rate=3e-3, *, run=None):
    """From which of four chapters on Python a sentence is."""
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data(
        "sentences",
        corpus="topics",
        classes=4,
        context=24,
        most=500,
        valid=0.0,
        test=0.2,
        seed=0,
        fields={"tokens": ("int", ("n", 24)), "lengths": ("int", ("n",)), "y": ("int", ("n",))},
    )
    net = Reader(vocab=data.vocab, d=32, heads=4, classes=4, key=run.key("net"))  # padded.lee:77
    opt = Adam(lr=rate)  # padded.lee:78
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for tokens, lengths, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_step(net, opt, tokens, lengths, y))  # padded.lee:81
        run.report(accuracy=fit_accuracy(net, data.test.tokens, data.test.lengths, data.test.y))  # padded.lee:82
    return net


def fit_step(net, opt, tokens, lengths, y):
    """One step of fit."""
    add_2, saved_net = net.forward_saved(tokens, lengths)  # padded.lee:81
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 4]
    d_net = net.forward_backward(tokens, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def fit_accuracy(net, data_test_tokens, data_test_lengths, data_test_y):
    """data_test_tokens int[data_test_n, 24], data_test_lengths int[data_test_n], data_test_y int[data_test_n] ->
    []
    """
    accuracy_ = accuracy(net(data_test_tokens, data_test_lengths), data_test_y)  # padded.lee:82
    return accuracy_


def example_attended(key):
    net = PaddedAttention(6, 2, key=fold(key, SITES["net"]))  # padded.lee:90
    x = normal(fold(key, SITES["x"]), (4, 3, 6), FLOAT)  # [4, 3, 6]  padded.lee:91
    memory = normal(fold(key, SITES["memory"]), (4, 5, 6), FLOAT)  # [4, 5, 6]  padded.lee:92
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 6)  # int[4]  padded.lee:93
    c = normal(fold(key, SITES["c"]), (4, 3, 6), FLOAT)  # [4, 3, 6]  padded.lee:94
    d_c, saved_net = net.forward_saved(x, memory, lengths)  # padded.lee:95
    d_net, d_x, d_memory = net.forward_backward(x, memory, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_memory, d_c


def example_nothing_there(key):
    """A length of 0: all shares are 0, and so are the mean and the last state."""
    q = normal(fold(key, SITES["q"]), (2, 3, 2, 4), FLOAT)  # [2, 3, 2, 4]  padded.lee:100
    k = normal(fold(key, SITES["k"]), (2, 5, 2, 4), FLOAT)  # [2, 5, 2, 4]  padded.lee:101
    v = normal(fold(key, SITES["v"]), (2, 5, 2, 4), FLOAT)  # [2, 5, 2, 4]  padded.lee:102
    x = normal(fold(key, SITES["x"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  padded.lee:103
    lengths = np.zeros(2, dtype=np.int64)  # int[2]  padded.lee:104
    mixed, saved_attend = attend_saved(q, k, v, lengths)  # padded.lee:105
    pooled, saved_mean_pool = mean_pool_saved(x, lengths)
    last, saved_last_state = last_state_saved(x, lengths)
    d_last = np.ones((2, 3), dtype=FLOAT)  # [2, 3]
    d_q, d_k, d_v = attend_backward(q, k, v, saved_attend, np.ones((2, 3, 2, 4), dtype=FLOAT))
    d_x_2 = last_state_backward(saved_last_state, 5, d_last)  # [2, 5, 3]
    return mixed.sum() + pooled.sum() + last.sum(), d_q, d_k, d_v, d_x_2 + mean_pool_backward(saved_mean_pool, d_last)


def example_pooled(key):
    x = normal(fold(key, SITES["x"]), (4, 5, 3), FLOAT)  # [4, 5, 3]  padded.lee:109
    lengths = randint(fold(key, SITES["lengths"]), (4,), 0, 6)  # int[4]  padded.lee:110
    c = normal(fold(key, SITES["c"]), (4, 3), FLOAT)  # [4, 3]  padded.lee:111
    d_c, saved_mean_pool = mean_pool_saved(x, lengths)  # padded.lee:112
    return (c * d_c).sum(), mean_pool_backward(saved_mean_pool, c), d_c


def example_last(key):
    x = normal(fold(key, SITES["x"]), (4, 5, 3), FLOAT)  # [4, 5, 3]  padded.lee:116
    lengths = randint(fold(key, SITES["lengths"]), (4,), 0, 6)  # int[4]  padded.lee:117
    c = normal(fold(key, SITES["c"]), (4, 3), FLOAT)  # [4, 3]  padded.lee:118
    d_c, saved_last_state = last_state_saved(x, lengths)  # padded.lee:119
    return (c * d_c).sum(), last_state_backward(saved_last_state, 5, c), d_c


def example_read(key):
    net = Reader(7, 6, 2, 3, key=fold(key, SITES["net"]))  # padded.lee:123
    tokens = randint(fold(key, SITES["tokens"]), (4, 5), 0, 7)  # int[4, 5]  padded.lee:124
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 6)  # int[4]  padded.lee:125
    y = randint(fold(key, SITES["y"]), (4,), 0, 3)  # int[4]  padded.lee:126
    add_2, saved_net = net.forward_saved(tokens, lengths)  # padded.lee:127
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [4, 3]
    d_net = net.forward_backward(tokens, saved_net, d_add_2)
    return cross_entropy(add_2, y), net.at(d_net)


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced(surprise)  # losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_backward(each_0, d_y):
    """From d_y to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = np.broadcast_to(d_y / each_0, (each_0,))  # [each_0]
    return d_each  # [each_0]


@packed(None, z=(0, 2), y=(0, 1))
def accuracy(z, y):
    """The share of rows whose largest score is at the right class.

    z [.., k], y int[..] -> []
    """
    return (z.argmax(axis=1) == y).astype(FLOAT).mean()  # metrics.lee:9


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


class Embedding(Model):
    """A row of a table for each index."""

    members = ("table",)

    def __init__(self, count, d, *, key=(0, 0)):
        self.count, self.d = count, d
        self.table = normal(fold(key, SITES["table"]), (count, d), FLOAT)  # [count, d]  nn.lee:47
        self.lay_out()

    @packed(0, index=(0, 1))
    def forward(self, index):
        """index int[..] -> [.., d]"""
        return self.table[inside(index)]  # [rows, d]  nn.lee:50

    @staticmethod
    def forward_backward(index, count, d_y):
        """From d_y to the gradient by the parameters."""
        d = d_y.shape[1]
        # gradient of return table[index]   nn.lee:50
        d_table = scatter_add(d_y, (index,), (count, d))  # [count, d]
        return {"table": d_table}  # [count, d]


class Adam(Optimizer):
    """m, v: averages of g and g², each over its bias; θ ← θ - η m̂ / (√v̂ + ε) (Kingma & Ba 2015).

    `weight_decay` adds λ θ to the gradient; AdamW keeps it apart.
    """

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
        self.lr, self.beta1, self.beta2, self.eps, self.weight_decay = lr, beta1, beta2, eps, weight_decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, m, v in blocks(parameters, gradient, self.m, self.v):
            g_2 = g + self.weight_decay * θ  # [count]  optim.lee:74
            m[...] = self.beta1 * m + (1 - self.beta1) * g_2  # [count]  optim.lee:75
            v[...] = self.beta2 * v + (1 - self.beta2) * g_2**2  # [count]  optim.lee:76
            m_hat = m / (1 - math.pow(self.beta1, self.t))  # [count]  optim.lee:77
            v_hat = v / (1 - math.pow(self.beta2, self.t))  # [count]  optim.lee:78
            θ -= self.lr * m_hat / (np.sqrt(v_hat) + self.eps)  # [count]  optim.lee:79


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "attention": 0x9C3F13C526941895,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "head": 0xBD7890018BD219D5,
    "k": 0x63D485F95FCB52AC,
    "key": 0xF54CA9C3ADCC7CCE,
    "lengths": 0xDE00C8960E49C03F,
    "memory": 0xE8A0B2FC89DDFBBA,
    "net": 0xF087C76970C91612,
    "output": 0x02DE2253159F1835,
    "q": 0x3514BD29FB70352B,
    "query": 0x0368BD6C66AB1F7B,
    "read": 0xCF660812E3283339,
    "table": 0x4F51E0D95EBC91EB,
    "tokens": 0x0C6CD902DB662605,
    "v": 0x9DF7DC769517EBA3,
    "value": 0x196B9BE45174F330,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
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


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)
