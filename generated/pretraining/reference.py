"""Other ways to learn from text alone (inventory I14, I19, I20): repair it, read it both ways, hide words and spans.

Draws come as arguments: what is drawn at random is for whoever trains, what becomes of it stands here.

Made from specs/attention/pretraining.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/pretraining.lee
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


def deleted(tokens, lengths, drop):
    """What is dropped leaves no gap; behind the new lengths stands 0.

    tokens int[n, time], lengths int[n], drop bool[n, time] -> int[n, time], int[n]
    """
    time = tokens.shape[1]
    kept = (np.arange(time) < lengths[:, None]) & ~drop  # bool[n, time]  pretraining.lee:15
    reshape_2 = np.arange(time)[:, None]  # int[time, 1]  pretraining.lee:16
    reshape_3 = kept[:, None]  # bool[n, 1, time]
    place = np.where(reshape_3 & (np.arange(time) < reshape_2), 1, 0).sum(axis=2)  # int[n, time]
    logical_and_2 = reshape_3 & (place[:, None] == reshape_2)  # bool[n, time, time]  pretraining.lee:17
    left = np.where(logical_and_2, tokens[:, None], 0).sum(axis=2)  # int[n, time]
    size = np.where(kept, 1, 0).sum(axis=1)  # int[n]  pretraining.lee:18
    return left, size


def rotated(tokens, lengths, start):
    """Any token may come first; what stood before it comes last.

    tokens int[n, time], lengths int[n], start int[n] -> int[n, time]
    """
    n, time = tokens.shape
    reshape = lengths[:, None]  # int[n, 1]  pretraining.lee:24
    maximum = np.maximum((np.arange(time) + start[:, None]) % reshape, 0)  # int[n, time]
    reshape_3 = np.minimum(np.maximum(np.arange(n), 0), n - 1)[:, None]  # int[n, 1]
    gather = tokens[reshape_3, np.minimum(maximum, time - 1)]  # int[n, time]
    y = np.where(np.arange(time) < reshape, gather, tokens)  # int[n, time]
    return y  # int[n, time]


def permuted(tokens, lengths, order):
    """The tokens in the order of other numbers.

    tokens int[n, time], lengths int[n], order [n, time] -> int[n, time]
    """
    time = tokens.shape[1]
    lt = np.arange(time) < lengths[:, None]  # bool[n, time]  pretraining.lee:30
    reshape_4 = lt[:, None]  # bool[n, 1, time]
    logical_and = reshape_4 & (order[:, None] < order[:, :, None])  # bool[n, time, time]
    rank = np.where(logical_and, 1, 0).sum(axis=2)  # int[n, time]
    logical_and_2 = reshape_4 & (rank[:, None] == np.arange(time)[:, None])  # bool[n, time, time]  pretraining.lee:31
    moved = np.where(logical_and_2, tokens[:, None], 0).sum(axis=2)  # int[n, time]
    y = np.where(lt, moved, tokens)  # int[n, time]  pretraining.lee:32
    return y  # int[n, time]


def infilled(tokens, lengths, first, size, blank):
    """A stretch becomes one token, so that how much is missing has to be found out, too.

    tokens int[n, time], lengths int[n], first int[n], size int[n] -> int[n, time], int[n]
    """
    n, time = tokens.shape
    reshape = first[:, None]  # int[n, 1]  pretraining.lee:38
    sub = np.arange(time) + size[:, None] - 1  # int[n, time]
    maximum = np.maximum(np.minimum(sub, time - 1), 0)  # int[n, time]
    reshape_4 = np.minimum(np.maximum(np.arange(n), 0), n - 1)[:, None]  # int[n, 1]
    gather = tokens[reshape_4, np.minimum(maximum, time - 1)]  # int[n, time]
    select = np.where(sub < lengths[:, None], gather, 0)  # int[n, time]
    select_2 = np.where(np.arange(time) == reshape, blank, select)  # int[n, time]
    y = np.where(np.arange(time) < reshape, tokens, select_2)  # int[n, time]
    return y, lengths - size + 1  # pretraining.lee:39


class BothWays(Model):
    """One LSTM reads ahead and says what comes, one reads back and says what was; both states together are the features."""

    members = ("read", "ahead", "back", "head")

    def __init__(self, vocab, d, *, key=(0, 0)):
        self.vocab, self.d = vocab, d
        self.read = Embedding(vocab, d, key=fold(key, SITES["read"]))  # pretraining.lee:47
        self.ahead = LSTM(d, d, key=fold(key, SITES["ahead"]))  # pretraining.lee:48
        self.back = LSTM(d, d, key=fold(key, SITES["back"]))  # pretraining.lee:49
        self.head = Linear(d, vocab, key=fold(key, SITES["head"]))  # pretraining.lee:50
        self.lay_out()

    def features(self, tokens, lengths):
        """tokens int[n, time], lengths int[n] -> [n, time, 2 * d]"""
        n, time = tokens.shape
        x = self.read(tokens.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  pretraining.lee:53
        there = reversed_within(self.back(reversed_within(x, lengths)), lengths)  # [n, time, d]  pretraining.lee:54
        return np.concatenate((self.ahead(x), there), axis=2)  # [n, time, 2 * d]  pretraining.lee:55

    def features_saved(self, tokens, lengths):
        """As features, and what its gradient needs."""
        n, time = tokens.shape
        x = self.read(tokens.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  pretraining.lee:53
        y, saved_reversed_within = reversed_within_saved(x, lengths)  # pretraining.lee:54
        out, saved_back = self.back.forward_saved(y)
        there, saved_reversed_within_ = reversed_within_saved(out, lengths)
        out_2, saved_ahead = self.ahead.forward_saved(x)  # pretraining.lee:55
        saved = x, y, saved_reversed_within, saved_back, saved_reversed_within_, saved_ahead
        return np.concatenate((out_2, there), axis=2), saved

    def features_backward(self, tokens, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x, y, saved_reversed_within, saved_back, saved_reversed_within_, saved_ahead = saved
        n, time = tokens.shape
        # gradient of return concat(ahead(x), there, axis = 2)   pretraining.lee:55
        d_there = d_y[:, :, self.d :]  # [n, time, d]
        d_ahead, d_x_2 = self.ahead.forward_backward(x, saved_ahead, d_y[:, :, : self.d])
        # gradient of there = reversed_within(back(reversed_within(x, lengths)), lengths)   pretraining.lee:54
        d_out = reversed_within_backward(saved_reversed_within_, d_there)  # [n, time, d]
        d_back, d_y_ = self.back.forward_backward(y, saved_back, d_out)
        # gradient of x = read(tokens)   pretraining.lee:53
        d_x = d_x_2 + reversed_within_backward(saved_reversed_within, d_y_)  # [n, time, d]
        d_read_out = d_x.reshape(n * time, self.d)  # [n * time, d]
        d_read = Embedding.forward_backward(tokens.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "ahead": d_ahead, "back": d_back}

    def forward(self, tokens, lengths):
        """tokens int[n, time], lengths int[n] -> [n, time, vocab], [n, time, vocab]"""
        n, time = tokens.shape
        h = self.features(tokens, lengths)  # [n, time, 2 * d]  pretraining.lee:58
        head_out = self.head(h[:, :, : self.d].reshape(n * time, self.d))  # [n * time, vocab]  pretraining.lee:59
        head_out_2 = self.head(h[:, :, self.d :].reshape(n * time, self.d))  # [n * time, vocab]
        return head_out.reshape(n, time, self.vocab), head_out_2.reshape(n, time, self.vocab)

    def forward_saved(self, tokens, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        h, saved_self = self.features_saved(tokens, lengths)  # pretraining.lee:58
        reshape = h[:, :, : self.d].reshape(n * time, self.d)  # [n * time, d]  pretraining.lee:59
        reshape_3 = h[:, :, self.d :].reshape(n * time, self.d)  # [n * time, d]
        return (
            self.head(reshape).reshape(n, time, self.vocab),
            self.head(reshape_3).reshape(n, time, self.vocab),
            (saved_self, reshape, reshape_3),
        )

    def forward_backward(self, tokens, saved, d_reshape_2, d_reshape_4):
        """From d_reshape_2 and d_reshape_4 to the gradient by the parameters."""
        saved_self, reshape, reshape_3 = saved
        n, time = tokens.shape
        # gradient of return head(h[:, :, :d]), head(h[:, :, d:])   pretraining.lee:59
        d_head_out_2 = d_reshape_4.reshape(n * time, self.vocab)  # [n * time, vocab]
        d_head, d_reshape_3 = self.head.forward_backward(reshape_3, d_head_out_2)
        d_head_out = d_reshape_2.reshape(n * time, self.vocab)  # [n * time, vocab]
        d_head_, d_reshape = self.head.forward_backward(reshape, d_head_out)
        d_slice_2 = d_reshape_3.reshape(n, time, self.d)  # [n, time, d]
        # gradient of h = features(tokens, lengths)   pretraining.lee:58
        d_h = np.concatenate((d_reshape.reshape(n, time, self.d), d_slice_2), axis=2)  # [n, time, 2 * d]
        d_bothways = self.features_backward(tokens, saved_self, d_h)
        d_head_w = d_head["w"] + d_head_["w"]  # [d, vocab]
        d_head_b = d_head["b"] + d_head_["b"]  # [vocab]
        return {
            "read": d_bothways["read"],
            "ahead": d_bothways["ahead"],
            "back": d_bothways["back"],
            "head": {"w": d_head_w, "b": d_head_b},
        }


def both_ways(net, tokens, lengths):
    """The cross-entropy of what follows by what is before it, and the other way round.

    tokens int[n, time], lengths int[n] -> []
    """
    n, time = tokens.shape
    forth, back = net(tokens, lengths)  # pretraining.lee:64
    reshape = forth[:, : time - 1].reshape(n * time - n, net.vocab)  # [n * time - n, net.vocab]  pretraining.lee:65
    each = cross_entropy(reshape, tokens[:, 1:].reshape(n * time - n))  # [n * time - n]
    next_ = each.reshape(n, time - 1)  # [n, time - 1]
    reshape_3 = back[:, 1:].reshape(n * time - n, net.vocab)  # [n * time - n, net.vocab]  pretraining.lee:66
    each_2 = cross_entropy(reshape_3, tokens[:, : time - 1].reshape(n * time - n))  # [n * time - n]
    last = each_2.reshape(n, time - 1)  # [n, time - 1]
    each_3 = masked(next_ + last, np.arange(time - 1) + 1 < lengths[:, None])  # [n, time - 1]  pretraining.lee:67
    cast = np.maximum(lengths.sum() - n, 1).astype(FLOAT)  # pretraining.lee:68
    return each_3.sum() / cast


def both_ways_saved(net, tokens, lengths):
    """As both_ways, and what its gradient needs."""
    n, time = tokens.shape
    forth, back, saved_net = net.forward_saved(tokens, lengths)  # pretraining.lee:64
    reshape = forth[:, : time - 1].reshape(n * time - n, net.vocab)  # [n * time - n, net.vocab]  pretraining.lee:65
    each = cross_entropy(reshape, tokens[:, 1:].reshape(n * time - n))  # [n * time - n]
    next_ = each.reshape(n, time - 1)  # [n, time - 1]
    reshape_3 = back[:, 1:].reshape(n * time - n, net.vocab)  # [n * time - n, net.vocab]  pretraining.lee:66
    each_2 = cross_entropy(reshape_3, tokens[:, : time - 1].reshape(n * time - n))  # [n * time - n]
    last = each_2.reshape(n, time - 1)  # [n, time - 1]
    lt = np.arange(time - 1) + 1 < lengths[:, None]  # bool[n, time - 1]  pretraining.lee:67
    each_3 = masked(next_ + last, lt)  # [n, time - 1]
    cast = np.maximum(lengths.sum() - n, 1).astype(FLOAT)  # pretraining.lee:68
    return each_3.sum() / cast, (saved_net, reshape, reshape_3, lt, cast)


def both_ways_backward(net, tokens, saved, d_y):
    """From d_y to the gradient by net."""
    saved_net, reshape, reshape_3, lt, cast = saved
    n, time = tokens.shape
    # gradient of each[b, t] = where(t + 1 < lengths[b], next[b, t] + last[b, t], 0)   pretraining.lee:67
    d_last = masked(d_y / cast, lt)  # [n, time - 1]
    # gradient of last = cross_entropy(back[:, 1:], tokens[:, :-1], reduce = false)   pretraining.lee:66
    d_each_2 = d_last.reshape(n * time - n)  # [n * time - n]
    reshape_4 = tokens[:, : time - 1].reshape(n * time - n)  # int[n * time - n]
    d_reshape_3 = cross_entropy_backward(reshape_3, reshape_4, d_each_2)  # [n * time - n, net.vocab]
    d_slice_3 = d_reshape_3.reshape(n, time - 1, net.vocab)  # [n, time - 1, net.vocab]
    # [n, time, net.vocab]
    d_back = unslice(d_slice_3, (n, time, net.vocab), (slice(0, n), slice(1, time), slice(0, net.vocab)))
    # gradient of next = cross_entropy(forth[:, :-1], tokens[:, 1:], reduce = false)   pretraining.lee:65
    reshape_2 = tokens[:, 1:].reshape(n * time - n)  # int[n * time - n]
    d_reshape = cross_entropy_backward(reshape, reshape_2, d_each_2)  # [n * time - n, net.vocab]
    d_slice = d_reshape.reshape(n, time - 1, net.vocab)  # [n, time - 1, net.vocab]
    # [n, time, net.vocab]
    d_forth = unslice(d_slice, (n, time, net.vocab), (slice(0, n), slice(0, time - 1), slice(0, net.vocab)))
    # gradient of forth, back = net(tokens, lengths)   pretraining.lee:64
    d_net = net.forward_backward(tokens, saved_net, d_forth, d_back)
    return d_net


def whole_words(pick, begins, lengths, rate=0.15):
    """A word of several tokens is hidden as a whole: the draw of its first token decides.

    pick [n, time], begins bool[n, time], lengths int[n] -> bool[n, time]
    """
    n, time = pick.shape
    le = np.arange(time) <= np.arange(time)[:, None]  # bool[time, time]  pretraining.lee:76
    first = np.where(begins[:, None] & le, np.arange(time), 0).max(axis=2)  # int[n, time]
    lt = pick[np.arange(n)[:, None], inside(first)] < rate  # bool[n, time]  pretraining.lee:77
    chosen = lt & (np.arange(time) < lengths[:, None])  # bool[n, time]
    return chosen  # bool[n, time]


class Boundary(Model):
    """A hidden span by the vectors beside it and the place within it alone (Joshi et al. 2020)."""

    members = ("place", "one", "two", "norm1", "norm2", "head")

    def __init__(self, vocab, d, longest, *, key=(0, 0)):
        self.vocab, self.d, self.longest = vocab, d, longest
        self.place = normal(fold(key, SITES["place"]), (longest, d), FLOAT)  # [longest, d]  pretraining.lee:83
        self.one = Linear(3 * d, d, key=fold(key, SITES["one"]))  # pretraining.lee:84
        self.two = Linear(d, d, key=fold(key, SITES["two"]))  # pretraining.lee:85
        self.norm1 = LayerNorm(d)  # pretraining.lee:86
        self.norm2 = LayerNorm(d)  # pretraining.lee:87
        self.head = Linear(d, vocab, key=fold(key, SITES["head"]))  # pretraining.lee:88
        self.lay_out()

    def forward(self, h, first, last):
        """`first` and `last` belong to the span; a vector stands before it and one behind.

        h [n, time, d], first int[n], last int[n] -> [n, longest, vocab]
        """
        n = h.shape[0]
        reshape = h[np.arange(n), inside(first - 1)][:, None]  # [n, 1, d]  pretraining.lee:92
        left = np.broadcast_to(reshape, (n, self.longest, self.d))  # [n, longest, d]
        reshape_2 = h[np.arange(n), inside(last + 1)][:, None]  # [n, 1, d]  pretraining.lee:93
        right = np.broadcast_to(reshape_2, (n, self.longest, self.d))  # [n, longest, d]
        where_ = np.broadcast_to(self.place, (n, self.longest, self.d))  # [n, longest, d]  pretraining.lee:94
        concat = np.concatenate((left, right, where_), axis=2)  # [n, longest, 3 * d]  pretraining.lee:95
        one_out = self.one(concat.reshape(self.longest * n, 3 * self.d))  # [longest * n, d]
        mul_2 = gelu(one_out.reshape(n, self.longest, self.d))  # [n, longest, d]
        two_out = self.two(self.norm1(mul_2.reshape(self.longest * n, self.d)))  # [longest * n, d]  pretraining.lee:96
        mul_2_2 = gelu(two_out.reshape(n, self.longest, self.d))  # [n, longest, d]
        head_out = self.head(self.norm2(mul_2_2.reshape(self.longest * n, self.d)))  # [longest * n, vocab]
        return head_out.reshape(n, self.longest, self.vocab)  # [n, longest, vocab]

    def forward_saved(self, h, first, last):
        """As forward, and what its gradient needs."""
        n = h.shape[0]
        sub = first - 1  # int[n]  pretraining.lee:92
        reshape = h[np.arange(n), inside(sub)][:, None]  # [n, 1, d]
        left = np.broadcast_to(reshape, (n, self.longest, self.d))  # [n, longest, d]
        add = last + 1  # int[n]  pretraining.lee:93
        reshape_2 = h[np.arange(n), inside(add)][:, None]  # [n, 1, d]
        right = np.broadcast_to(reshape_2, (n, self.longest, self.d))  # [n, longest, d]
        where_ = np.broadcast_to(self.place, (n, self.longest, self.d))  # [n, longest, d]  pretraining.lee:94
        concat = np.concatenate((left, right, where_), axis=2)  # [n, longest, 3 * d]  pretraining.lee:95
        reshape_3 = concat.reshape(self.longest * n, 3 * self.d)  # [longest * n, 3 * d]
        reshape_4 = self.one(reshape_3).reshape(n, self.longest, self.d)  # [n, longest, d]
        reshape_5 = gelu(reshape_4).reshape(self.longest * n, self.d)  # [longest * n, d]
        norm1_out, saved_norm1 = self.norm1.forward_saved(reshape_5)
        reshape_6 = self.two(norm1_out).reshape(n, self.longest, self.d)  # [n, longest, d]  pretraining.lee:96
        reshape_7 = gelu(reshape_6).reshape(self.longest * n, self.d)  # [longest * n, d]
        norm2_out, saved_norm2 = self.norm2.forward_saved(reshape_7)
        saved = (
            sub,
            add,
            reshape_3,
            reshape_4,
            reshape_5,
            norm1_out,
            saved_norm1,
            reshape_6,
            reshape_7,
            norm2_out,
            saved_norm2,
        )
        return self.head(norm2_out).reshape(n, self.longest, self.vocab), saved

    def forward_backward(self, saved, time, d_y):
        """From d_y to the gradients by the parameters and h."""
        sub, add, reshape_3, reshape_4, reshape_5, norm1_out, saved_norm1, reshape_6, reshape_7, norm2_out, saved_norm2 = saved
        n = sub.shape[0]
        # gradient of return head(norm2(gelu(two(z))))   pretraining.lee:96
        d_head_out = d_y.reshape(self.longest * n, self.vocab)  # [longest * n, vocab]
        d_head, d_norm2_out = self.head.forward_backward(norm2_out, d_head_out)
        d_norm2, d_reshape_7 = self.norm2.forward_backward(reshape_7, saved_norm2, d_norm2_out)
        d_reshape_6 = gelu_backward(reshape_6, d_reshape_7.reshape(n, self.longest, self.d))  # [n, longest, d]
        d_two_out = d_reshape_6.reshape(self.longest * n, self.d)  # [longest * n, d]
        d_two, d_norm1_out = self.two.forward_backward(norm1_out, d_two_out)
        # gradient of z = norm1(gelu(one(concat(left, right, where_, axis = 2))))   pretraining.lee:95
        d_norm1, d_reshape_5 = self.norm1.forward_backward(reshape_5, saved_norm1, d_norm1_out)
        d_reshape_4 = gelu_backward(reshape_4, d_reshape_5.reshape(n, self.longest, self.d))  # [n, longest, d]
        d_one_out = d_reshape_4.reshape(self.longest * n, self.d)  # [longest * n, d]
        d_one, d_reshape_3 = self.one.forward_backward(reshape_3, d_one_out)
        d_concat = d_reshape_3.reshape(n, self.longest, 3 * self.d)  # [n, longest, 3 * d]
        d_left = d_concat[:, :, : self.d]  # [n, longest, d]
        d_right = d_concat[:, :, self.d : 2 * self.d]  # [n, longest, d]
        d_where_ = d_concat[:, :, 2 * self.d :]  # [n, longest, d]
        # gradient of where_[b in n, k in longest, a in d] = 1.0 * place[k, a]   pretraining.lee:94
        d_place = d_where_.sum(axis=0)  # [longest, d]
        # gradient of right[b, k in longest, a] = h[b, last[b] + 1, a]   pretraining.lee:93
        d_gather_2 = d_right.sum(axis=1)  # [n, d]
        # gradient of left[b, k in longest, a] = h[b, first[b] - 1, a]   pretraining.lee:92
        b = np.arange(n)  # int[n]
        d_h_3 = scatter_add(d_left.sum(axis=1), (b, sub), (n, time, self.d))  # [n, time, d]
        d_h = scatter_add(d_gather_2, (b, add), (n, time, self.d)) + d_h_3  # [n, time, d]
        return {"place": d_place, "one": d_one, "two": d_two, "norm1": d_norm1, "norm2": d_norm2, "head": d_head}, d_h


def boundary(z, tokens, first, last):
    """The cross-entropy of the tokens of the span.

    z [n, longest, vocab], tokens int[n, time], first int[n], last int[n] -> []
    """
    n, longest, vocab = z.shape
    time = tokens.shape[1]
    add = first[:, None] + np.arange(longest)  # int[n, longest]  pretraining.lee:101
    wanted = tokens[np.arange(n)[:, None], inside(np.minimum(add, time - 1))]  # int[n, longest]
    # [longest * n]  pretraining.lee:102
    each = cross_entropy(z.reshape(longest * n, vocab), wanted.reshape(longest * n))
    each_2 = each.reshape(n, longest)  # [n, longest]
    inside_ = masked(each_2, add <= last[:, None])  # [n, longest]  pretraining.lee:103
    return inside_.sum() / ((last - first).sum() + n).astype(FLOAT)  # pretraining.lee:104


def boundary_saved(z, tokens, first, last):
    """As boundary, and what its gradient needs."""
    n, longest, vocab = z.shape
    time = tokens.shape[1]
    add = first[:, None] + np.arange(longest)  # int[n, longest]  pretraining.lee:101
    wanted = tokens[np.arange(n)[:, None], inside(np.minimum(add, time - 1))]  # int[n, longest]
    wanted_flat = wanted.reshape(longest * n)  # int[longest * n]  pretraining.lee:102
    each = cross_entropy(z.reshape(longest * n, vocab), wanted_flat)  # [longest * n]
    each_2 = each.reshape(n, longest)  # [n, longest]
    le = add <= last[:, None]  # bool[n, longest]  pretraining.lee:103
    inside_ = masked(each_2, le)  # [n, longest]
    cast = ((last - first).sum() + n).astype(FLOAT)  # pretraining.lee:104
    return inside_.sum() / cast, (wanted_flat, le, cast)


def boundary_backward(z, saved, d_y):
    """From d_y to the gradient by z."""
    wanted_flat, le, cast = saved
    n, longest, vocab = z.shape
    # gradient of inside[b, k in longest] = where(first[b] + k <= last[b], each[b, k], 0)   pretraining.lee:103
    d_each_2 = masked(d_y / cast, le)  # [n, longest]
    # gradient of each = cross_entropy(z, wanted, reduce = false)   pretraining.lee:102
    z_flat = z.reshape(longest * n, vocab)  # [longest * n, vocab]
    d_z_flat = cross_entropy_backward(z_flat, wanted_flat, d_each_2.reshape(longest * n))  # [longest * n, vocab]
    d_z = d_z_flat.reshape(n, longest, vocab)  # [n, longest, vocab]
    return d_z  # [n, longest, vocab]


def example_dropped(key):
    tokens = randint(fold(key, SITES["tokens"]), (6, 9), 1, 20)  # int[6, 9]  pretraining.lee:111
    lengths = randint(fold(key, SITES["lengths"]), (6,), 1, 10)  # int[6]  pretraining.lee:112
    u = uniform(fold(key, SITES["u"]), (6, 9), FLOAT)  # [6, 9]  pretraining.lee:113
    value, value_1 = deleted(tokens, lengths, u < 0.3)  # pretraining.lee:114
    return value, value_1


def example_turned(key):
    tokens = randint(fold(key, SITES["tokens"]), (6, 9), 1, 20)  # int[6, 9]  pretraining.lee:118
    lengths = randint(fold(key, SITES["lengths"]), (6,), 1, 10)  # int[6]  pretraining.lee:119
    start = randint(fold(key, SITES["start"]), (6,), 0, 9)  # int[6]  pretraining.lee:120
    return rotated(tokens, lengths, start)  # int[6, 9]  pretraining.lee:121


def example_mixed(key):
    tokens = randint(fold(key, SITES["tokens"]), (6, 9), 1, 20)  # int[6, 9]  pretraining.lee:125
    lengths = randint(fold(key, SITES["lengths"]), (6,), 1, 10)  # int[6]  pretraining.lee:126
    order = uniform(fold(key, SITES["order"]), (6, 9), FLOAT)  # [6, 9]  pretraining.lee:127
    return permuted(tokens, lengths, order)  # int[6, 9]  pretraining.lee:128


def example_filled(key):
    tokens = randint(fold(key, SITES["tokens"]), (6, 9), 1, 20)  # int[6, 9]  pretraining.lee:132
    lengths = randint(fold(key, SITES["lengths"]), (6,), 6, 10)  # int[6]  pretraining.lee:133
    first = randint(fold(key, SITES["first"]), (6,), 0, 4)  # int[6]  pretraining.lee:134
    size = randint(fold(key, SITES["size"]), (6,), 1, 4)  # int[6]  pretraining.lee:135
    value, value_1 = infilled(tokens, lengths, first, size, 20)  # pretraining.lee:136
    return value, value_1


def example_ahead_and_back(key):
    net = BothWays(7, 4, key=fold(key, SITES["net"]))  # pretraining.lee:140
    tokens = randint(fold(key, SITES["tokens"]), (4, 6), 0, 7)  # int[4, 6]  pretraining.lee:141
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 7)  # int[4]  pretraining.lee:142
    value, saved_both_ways = both_ways_saved(net, tokens, lengths)  # pretraining.lee:143
    d_net = both_ways_backward(net, tokens, saved_both_ways, FLOAT(1.0))
    return value, net.at(d_net)


def example_pieces(key):
    pick = 0.1 + 0.1 * uniform(fold(key, SITES["pick"]), (40, 30), FLOAT)  # [40, 30]  pretraining.lee:147
    u = uniform(fold(key, SITES["u"]), (40, 30), FLOAT)  # [40, 30]  pretraining.lee:148
    lengths = randint(fold(key, SITES["lengths"]), (40,), 1, 31)  # int[40]  pretraining.lee:149
    return whole_words(pick, u < 0.5, lengths)  # bool[40, 30]  pretraining.lee:150


def example_beside(key):
    net = Boundary(7, 4, 3, key=fold(key, SITES["net"]))  # pretraining.lee:154
    h = normal(fold(key, SITES["h"]), (5, 8, 4), FLOAT)  # [5, 8, 4]  pretraining.lee:155
    tokens = randint(fold(key, SITES["tokens"]), (5, 8), 0, 7)  # int[5, 8]  pretraining.lee:156
    first = randint(fold(key, SITES["first"]), (5,), 1, 4)  # int[5]  pretraining.lee:157
    more = randint(fold(key, SITES["more"]), (5,), 0, 3)  # int[5]  pretraining.lee:158
    add = first + more  # int[5]  pretraining.lee:159
    net_out, saved_net = net.forward_saved(h, first, add)
    value, saved_boundary = boundary_saved(net_out, tokens, first, add)
    d_net_out = boundary_backward(net_out, saved_boundary, FLOAT(1.0))  # [5, 3, 7]
    d_net, d_h = net.forward_backward(saved_net, 8, d_net_out)
    return value, net.at(d_net), d_h


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


@packed(0, z=(0, 2), y=(0, 1))
def cross_entropy(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> [..]
    """
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced(surprise)  # [rows]  losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    k = z.shape[1]
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> [each_0]
    """
    return each  # [each_0]


def reduced_backward(d_each):
    """From d_each to the gradient by each."""
    return d_each  # [each_0]


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


class LayerNorm(Model):
    """(x - μ) / √(σ² + ε) · γ + β, over the last axis (Ba et al. 2016)."""

    members = ("gamma", "beta")

    def __init__(self, d, eps=1e-5):
        self.d, self.eps = d, eps
        self.gamma = np.ones(d, dtype=FLOAT)  # [d]  nn.lee:191
        self.beta = np.zeros(d, dtype=FLOAT)  # [d]  nn.lee:192
        self.lay_out()

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., d] -> [.., d]"""
        centred = x - x.mean(axis=1, keepdims=True)  # [rows, d]  nn.lee:197
        deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.eps)  # [rows, 1]
        return centred / deviation * self.gamma + self.beta  # [rows, d]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        centred = x - x.mean(axis=1, keepdims=True)  # [rows, d]  nn.lee:197
        normalise = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.eps)  # [rows, d]
        return normalise * self.gamma + self.beta, normalise

    def forward_backward(self, x, normalise, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return gamma * (x - mu) / sqrt(var + eps) + beta   nn.lee:197
        d_beta = d_y.sum(axis=0)  # [d]
        d_normalise = d_y * self.gamma  # [rows, d]
        d_gamma = (d_y * normalise).sum(axis=0)  # [d]
        centred = x - x.mean(axis=1, keepdims=True)  # [rows, d]
        deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.eps)  # [rows, 1]
        normal_ = centred / deviation  # [rows, d]
        mean_2 = (d_normalise * normal_).mean(axis=1, keepdims=True)  # [rows, 1]
        sub = d_normalise - d_normalise.mean(axis=1, keepdims=True)  # [rows, d]
        d_x = (sub - normal_ * mean_2) / deviation  # [rows, d]
        return {"gamma": d_gamma, "beta": d_beta}, d_x


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


def reversed_within(x, lengths):
    """The first entries of each row, as many as its length, in the opposite order; 0 behind them.

    x [n, time, d], lengths int[n] -> [n, time, d]
    """
    n, time, _ = x.shape
    maximum = np.maximum((lengths - 1)[:, None] - np.arange(time), 0)  # int[n, time]  nn.lee:326
    reshape_3 = np.minimum(np.maximum(np.arange(n), 0), n - 1)[:, None]  # int[n, 1]
    reshape_4 = (np.arange(time) < lengths[:, None])[:, :, None]  # bool[n, time, 1]
    y = masked(x[reshape_3, np.minimum(maximum, time - 1)], reshape_4)  # [n, time, d]
    return y  # [n, time, d]


def reversed_within_saved(x, lengths):
    """As reversed_within, and what its gradient needs."""
    n, time, _ = x.shape
    maximum = np.maximum((lengths - 1)[:, None] - np.arange(time), 0)  # int[n, time]  nn.lee:326
    minimum = np.minimum(maximum, time - 1)  # int[n, time]
    reshape_3 = np.minimum(np.maximum(np.arange(n), 0), n - 1)[:, None]  # int[n, 1]
    reshape_4 = (np.arange(time) < lengths[:, None])[:, :, None]  # bool[n, time, 1]
    y = masked(x[reshape_3, minimum], reshape_4)  # [n, time, d]
    return y, (minimum, reshape_3, reshape_4)


def reversed_within_backward(saved, d_y):
    """From d_y to the gradient by x."""
    minimum, reshape_3, reshape_4 = saved
    n, time = minimum.shape
    d = d_y.shape[2]
    # gradient of y[r, t in time, j] = where(t < lengths[r], x[r, lengths[r] - 1 - t, j], 0)   nn.lee:326
    d_x = scatter_add(masked(d_y, reshape_4), (reshape_3, minimum), (n, time, d))  # [n, time, d]
    return d_x  # [n, time, d]


def gelu(x):
    """x · Φ(x), Φ the normal distribution function; or its form by tanh (Hendrycks & Gimpel 2016).

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return x * 0.5 * (erf(x / 1.4142135623730951) + 1)  # [x_0, x_1, x_2]  prelude.lee:113


def gelu_backward(x, d_y):
    """From d_y to the gradient by x."""
    # gradient of return 0.5 * x * (1 + erf(x / sqrt(2)))   prelude.lee:113
    mul_3 = x * (np.exp(x**2 * -0.5) * 0.3989422804014327)  # [x_0, x_1, x_2]
    d_x = d_y * ((erf(x / 1.4142135623730951) + 1) * 0.5 + mul_3)  # [x_0, x_1, x_2]
    return d_x  # [x_0, x_1, x_2]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "ahead": 0x4F1ACBD9E4312925,
    "b": 0x754F854DE3C27284,
    "back": 0xA268154DB481E555,
    "cell": 0x3FB231439DC63663,
    "first": 0xA31DFC4F51C2A8A2,
    "h": 0x30335FE014629146,
    "head": 0xBD7890018BD219D5,
    "lengths": 0xDE00C8960E49C03F,
    "more": 0xB343FCE3EFEBAAB2,
    "net": 0xF087C76970C91612,
    "one": 0xC915768BAADDF234,
    "order": 0xDD79A144C4631E44,
    "pick": 0x35CADA6132A6B8E7,
    "place": 0x49621941663E417B,
    "read": 0xCF660812E3283339,
    "size": 0x3A6A097DE733342D,
    "start": 0xF7091535421F26A0,
    "table": 0x4F51E0D95EBC91EB,
    "tokens": 0x0C6CD902DB662605,
    "two": 0x03074A796C55EEF5,
    "u": 0x08D267E10C593806,
    "w": 0x20925082A2286B9E,
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


def polynomial(x, *coefficients):
    """The polynomial with these coefficients, the highest power first."""
    total = coefficients[0]
    for c in coefficients[1:]:
        total = total * x + c
    return total


def erf(x):
    """Error function, by the rational approximations of Sun's fdlibm (s_erf.c)."""
    a, s = np.abs(x), x * x
    p = polynomial(
        s,
        *(-2.37630166566501626084e-05, -5.77027029648944159157e-03, -2.84817495755985104766e-02),
        *(-3.25042107247001499370e-01, 1.28379167095512558561e-01),
    )
    q = polynomial(
        s,
        *(-3.96022827877536812320e-06, 1.32494738004321644526e-04, 5.08130628187576562776e-03),
        *(6.50222499887672944485e-02, 3.97917223959155352819e-01, 1.0),
    )
    return np.where(a < 0.84375, x + x * (p / q), np.sign(x) * (1 - erfc_tail(np.maximum(a, 0.84375))))


def erfc_tail(x):
    """erfc for x of at least 0.84375: near 1 a quotient of polynomials, beyond with exp(-x * x) split in two."""
    s = x - 1
    p = polynomial(
        s,
        *(-2.16637559486879084300e-03, 3.54783043256182359371e-02, -1.10894694282396677476e-01),
        *(3.18346619901161753674e-01, -3.72207876035701323847e-01, 4.14856118683748331666e-01),
        -2.36211856075265944077e-03,
    )
    q = polynomial(
        s,
        *(1.19844998467991074170e-02, 1.36370839120290507362e-02, 1.26171219808761642112e-01),
        *(7.18286544141962662868e-02, 5.40397917702171048937e-01, 1.06420880400844228286e-01, 1.0),
    )
    near = 1 - 8.45062911510467529297e-01 - p / q
    x = np.minimum(x, 28)  # beyond it is 0
    s = 1 / (x * x)
    r = polynomial(
        s,
        *(-9.81432934416914548592e00, -8.12874355063065934246e01, -1.84605092906711035994e02),
        *(-1.62396669462573470355e02, -6.23753324503260060396e01, -1.05586262253232909814e01),
        *(-6.93858572707181764372e-01, -9.86494403484714822705e-03),
    ) / polynomial(
        s,
        *(-6.04244152148580987438e-02, 6.57024977031928170135e00, 1.08635005541779435134e02),
        *(4.29008140027567833386e02, 6.45387271733267880336e02, 4.34565877475229228821e02),
        *(1.37657754143519042600e02, 1.96512716674392571292e01, 1.0),
    )
    far = polynomial(
        s,
        *(-4.83519191608651397019e02, -1.02509513161107724954e03, -6.37566443368389627722e02),
        *(-1.60636384855821916062e02, -1.77579549177547519889e01, -7.99283237680523006574e-01),
        -9.86494292470009928597e-03,
    ) / polynomial(
        s,
        *(-2.24409524465858183362e01, 4.74528541206955367215e02, 2.55305040643316442583e03),
        *(3.19985821950859553908e03, 1.53672958608443695994e03, 3.25792512996573918826e02),
        *(3.03380607434824582924e01, 1.0),
    )
    top = x.astype(np.float32).astype(x.dtype)  # its square is exact
    power = np.exp(-top * top - 0.5625) * np.exp((top - x) * (top + x) + np.where(x < 1 / 0.35, r, far))
    return np.where(x < 1.25, near, power / x)


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
