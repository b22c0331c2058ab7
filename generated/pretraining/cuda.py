"""Other ways to learn from text alone (inventory I14, I19, I20): repair it, read it both ways, hide words and spans.

Draws come as arguments: what is drawn at random is for whoever trains, what becomes of it stands here.

Made from specs/attention/pretraining.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/pretraining.lee
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


def deleted(tokens, lengths, drop):
    """What is dropped leaves no gap; behind the new lengths stands 0.

    tokens int[n, time], lengths int[n], drop bool[n, time] -> int[n, time], int[n]
    """
    time = tokens.shape[1]
    t = torch.arange(time, device=tokens.device)  # int[time]  pretraining.lee:15
    kept = (t < lengths[:, None]) & ~drop  # bool[n, time]
    reshape_2 = t[:, None]  # int[time, 1]  pretraining.lee:16
    reshape_3 = kept[:, None]  # bool[n, 1, time]
    place = torch.where(reshape_3 & (t < reshape_2), 1, 0).sum(dim=2)  # int[n, time]
    logical_and_2 = reshape_3 & (place[:, None] == reshape_2)  # bool[n, time, time]  pretraining.lee:17
    left = torch.where(logical_and_2, tokens[:, None], 0).sum(dim=2)  # int[n, time]
    size = torch.where(kept, 1, 0).sum(dim=1)  # int[n]  pretraining.lee:18
    return left, size


def rotated(tokens, lengths, start):
    """Any token may come first; what stood before it comes last.

    tokens int[n, time], lengths int[n], start int[n] -> int[n, time]
    """
    n, time = tokens.shape
    t = torch.arange(time, device=tokens.device)  # int[time]  pretraining.lee:24
    reshape = lengths[:, None]  # int[n, 1]
    maximum = ((t + start[:, None]) % reshape).clamp(min=0)  # int[n, time]
    maximum_2 = torch.arange(n, device=tokens.device).clamp(min=0)  # int[n]
    reshape_3 = maximum_2.clamp(max=n - 1)[:, None]  # int[n, 1]
    gather = tokens[reshape_3, maximum.clamp(max=time - 1)]  # int[n, time]
    y = torch.where(t < reshape, gather, tokens)  # int[n, time]
    return y  # int[n, time]


def permuted(tokens, lengths, order):
    """The tokens in the order of other numbers.

    tokens int[n, time], lengths int[n], order [n, time] -> int[n, time]
    """
    time = tokens.shape[1]
    s = torch.arange(time, device=tokens.device)  # int[time]  pretraining.lee:30
    lt = s < lengths[:, None]  # bool[n, time]
    reshape_4 = lt[:, None]  # bool[n, 1, time]
    logical_and = reshape_4 & (order[:, None] < order[:, :, None])  # bool[n, time, time]
    rank = torch.where(logical_and, 1, 0).sum(dim=2)  # int[n, time]
    logical_and_2 = reshape_4 & (rank[:, None] == s[:, None])  # bool[n, time, time]  pretraining.lee:31
    moved = torch.where(logical_and_2, tokens[:, None], 0).sum(dim=2)  # int[n, time]
    y = torch.where(lt, moved, tokens)  # int[n, time]  pretraining.lee:32
    return y  # int[n, time]


def infilled(tokens, lengths, first, size, blank):
    """A stretch becomes one token, so that how much is missing has to be found out, too.

    tokens int[n, time], lengths int[n], first int[n], size int[n] -> int[n, time], int[n]
    """
    n, time = tokens.shape
    t = torch.arange(time, device=tokens.device)  # int[time]  pretraining.lee:38
    reshape = first[:, None]  # int[n, 1]
    sub = t + size[:, None] - 1  # int[n, time]
    maximum_2 = torch.arange(n, device=tokens.device).clamp(min=0)  # int[n]
    minimum_2 = sub.clamp(max=time - 1).clamp(min=0).clamp(max=time - 1)  # int[n, time]
    gather = tokens[maximum_2.clamp(max=n - 1)[:, None], minimum_2]  # int[n, time]
    select = torch.where(sub < lengths[:, None], gather, 0)  # int[n, time]
    y = torch.where(t < reshape, tokens, torch.where(t == reshape, blank, select))  # int[n, time]
    return y, lengths - size + 1  # pretraining.lee:39


class BothWays(Model):
    """One LSTM reads ahead and says what comes, one reads back and says what was; both states together are the features."""

    members = ("read", "ahead", "back", "head")

    def __init__(self, vocab, d, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d = vocab, d
        self.read = Embedding(vocab, d, key=fold(key, SITES["read"]))  # pretraining.lee:47
        self.ahead = LSTM(d, d, key=fold(key, SITES["ahead"]))  # pretraining.lee:48
        self.back = LSTM(d, d, key=fold(key, SITES["back"]))  # pretraining.lee:49
        self.head = Linear(d, vocab, key=fold(key, SITES["head"]))  # pretraining.lee:50

    def features(self, tokens, lengths):
        """tokens int[n, time], lengths int[n] -> [n, time, 2 * d]"""
        n, time = tokens.shape
        x = self.read(tokens.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  pretraining.lee:53
        there = reversed_within(self.back(reversed_within(x, lengths)), lengths)  # [n, time, d]  pretraining.lee:54
        return torch.cat((self.ahead(x), there), dim=2)  # [n, time, 2 * d]  pretraining.lee:55

    def features_saved(self, tokens, lengths):
        """As features, and what its gradient needs."""
        n, time = tokens.shape
        x = self.read(tokens.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  pretraining.lee:53
        y, saved_reversed_within = reversed_within_saved(x, lengths)  # pretraining.lee:54
        out, saved_back = self.back.forward_saved(y)
        there, saved_reversed_within_ = reversed_within_saved(out, lengths)
        out_2, saved_ahead = self.ahead.forward_saved(x)  # pretraining.lee:55
        saved = x, y, saved_reversed_within, saved_back, saved_reversed_within_, saved_ahead
        return torch.cat((out_2, there), dim=2), saved

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
        d_h = torch.cat((d_reshape.reshape(n, time, self.d), d_slice_2), dim=2)  # [n, time, 2 * d]
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
    add = torch.arange(time - 1, device=tokens.device) + 1  # int[time - 1]  pretraining.lee:67
    each_3 = torch.where(add < lengths[:, None], next_ + last, 0)  # [n, time - 1]
    return each_3.sum() / (lengths.sum() - n).clamp(min=1).to(FLOAT)  # pretraining.lee:68


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
    lt = torch.arange(time - 1, device=tokens.device) + 1 < lengths[:, None]  # bool[n, time - 1]  pretraining.lee:67
    each_3 = torch.where(lt, next_ + last, 0)  # [n, time - 1]
    cast = (lengths.sum() - n).clamp(min=1).to(FLOAT)  # pretraining.lee:68
    return each_3.sum() / cast, (saved_net, reshape, reshape_3, lt, cast)


def both_ways_backward(net, tokens, saved, d_y):
    """From d_y to the gradient by net."""
    saved_net, reshape, reshape_3, lt, cast = saved
    n, time = tokens.shape
    # gradient of each[b, t] = where(t + 1 < lengths[b], next[b, t] + last[b, t], 0)   pretraining.lee:67
    d_last = torch.where(lt, d_y / cast, 0)  # [n, time - 1]
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
    s = torch.arange(time, device=pick.device)  # int[time]  pretraining.lee:76
    first = torch.where(begins[:, None] & (s <= s[:, None]), s, 0).max(2).values  # int[n, time]
    gather = pick[torch.arange(n, device=pick.device)[:, None], first]  # [n, time]  pretraining.lee:77
    chosen = (gather < rate) & (s < lengths[:, None])  # bool[n, time]
    return chosen  # bool[n, time]


class Boundary(Model):
    """A hidden span by the vectors beside it and the place within it alone (Joshi et al. 2020)."""

    members = ("place", "one", "two", "norm1", "norm2", "head")

    def __init__(self, vocab, d, longest, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d, self.longest = vocab, d, longest
        # [longest, d]  pretraining.lee:83
        self.place = torch.nn.Parameter(normal(fold(key, SITES["place"]), (longest, d), FLOAT))
        self.one = Linear(3 * d, d, key=fold(key, SITES["one"]))  # pretraining.lee:84
        self.two = Linear(d, d, key=fold(key, SITES["two"]))  # pretraining.lee:85
        self.norm1 = LayerNorm(d)  # pretraining.lee:86
        self.norm2 = LayerNorm(d)  # pretraining.lee:87
        self.head = Linear(d, vocab, key=fold(key, SITES["head"]))  # pretraining.lee:88

    def forward(self, h, first, last):
        """`first` and `last` belong to the span; a vector stands before it and one behind.

        h [n, time, d], first int[n], last int[n] -> [n, longest, vocab]
        """
        n = h.shape[0]
        b = torch.arange(n, device=h.device)  # int[n]  pretraining.lee:92
        left = h[b, first - 1][:, None].expand(n, self.longest, self.d)  # [n, longest, d]
        right = h[b, last + 1][:, None].expand(n, self.longest, self.d)  # [n, longest, d]  pretraining.lee:93
        where_ = self.place.expand(n, self.longest, self.d)  # [n, longest, d]  pretraining.lee:94
        concat = torch.cat((left, right, where_), dim=2)  # [n, longest, 3 * d]  pretraining.lee:95
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
        b = torch.arange(n, device=h.device)  # int[n]
        left = h[b, sub][:, None].expand(n, self.longest, self.d)  # [n, longest, d]
        add = last + 1  # int[n]  pretraining.lee:93
        right = h[b, add][:, None].expand(n, self.longest, self.d)  # [n, longest, d]
        where_ = self.place.expand(n, self.longest, self.d)  # [n, longest, d]  pretraining.lee:94
        concat = torch.cat((left, right, where_), dim=2)  # [n, longest, 3 * d]  pretraining.lee:95
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
        # gradient of left[b, k in longest, a] = h[b, first[b] - 1, a]   pretraining.lee:92
        b = torch.arange(n, device=sub.device)  # int[n]
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
        d_place = d_where_.sum(dim=0)  # [longest, d]
        # gradient of right[b, k in longest, a] = h[b, last[b] + 1, a]   pretraining.lee:93
        d_h_2 = scatter_add(d_right.sum(dim=1), (b, add), (n, time, self.d))  # [n, time, d]
        # gradient of left[b, k in longest, a] = h[b, first[b] - 1, a]   pretraining.lee:92
        d_h = d_h_2 + scatter_add(d_left.sum(dim=1), (b, sub), (n, time, self.d))  # [n, time, d]
        return {"place": d_place, "one": d_one, "two": d_two, "norm1": d_norm1, "norm2": d_norm2, "head": d_head}, d_h


def boundary(z, tokens, first, last):
    """The cross-entropy of the tokens of the span.

    z [n, longest, vocab], tokens int[n, time], first int[n], last int[n] -> []
    """
    n, longest, vocab = z.shape
    time = tokens.shape[1]
    add = first[:, None] + torch.arange(longest, device=z.device)  # int[n, longest]  pretraining.lee:101
    wanted = tokens[torch.arange(n, device=z.device)[:, None], add.clamp(max=time - 1)]  # int[n, longest]
    # [longest * n]  pretraining.lee:102
    each = cross_entropy(z.reshape(longest * n, vocab), wanted.reshape(longest * n))
    each_2 = each.reshape(n, longest)  # [n, longest]
    inside = torch.where(add <= last[:, None], each_2, 0)  # [n, longest]  pretraining.lee:103
    return inside.sum() / ((last - first).sum() + n).to(FLOAT)  # pretraining.lee:104


def boundary_saved(z, tokens, first, last):
    """As boundary, and what its gradient needs."""
    n, longest, vocab = z.shape
    time = tokens.shape[1]
    add = first[:, None] + torch.arange(longest, device=z.device)  # int[n, longest]  pretraining.lee:101
    wanted = tokens[torch.arange(n, device=z.device)[:, None], add.clamp(max=time - 1)]  # int[n, longest]
    wanted_flat = wanted.reshape(longest * n)  # int[longest * n]  pretraining.lee:102
    each = cross_entropy(z.reshape(longest * n, vocab), wanted_flat)  # [longest * n]
    each_2 = each.reshape(n, longest)  # [n, longest]
    le = add <= last[:, None]  # bool[n, longest]  pretraining.lee:103
    inside = torch.where(le, each_2, 0)  # [n, longest]
    cast = ((last - first).sum() + n).to(FLOAT)  # pretraining.lee:104
    return inside.sum() / cast, (wanted_flat, le, cast)


def boundary_backward(z, saved, d_y):
    """From d_y to the gradient by z."""
    wanted_flat, le, cast = saved
    n, longest, vocab = z.shape
    # gradient of inside[b, k in longest] = where(first[b] + k <= last[b], each[b, k], 0)   pretraining.lee:103
    d_each_2 = torch.where(le, d_y / cast, 0)  # [n, longest]
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
    d_value = torch.ones((), dtype=FLOAT)
    d_net = both_ways_backward(net, tokens, saved_both_ways, d_value)
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
    d_net_out = boundary_backward(net_out, saved_boundary, torch.ones((), dtype=FLOAT))  # [5, 3, 7]
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
    surprise = torch.nn.functional.cross_entropy(z, y, reduction="none")  # [rows]  losses.lee:45
    return reduced(surprise)  # [rows]  losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    k = z.shape[1]
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    d_z = (torch.softmax(z, dim=1) - eq.to(FLOAT)) * d_surprise[:, None]  # [rows, k]
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


class Embedding(Model):
    """A row of a table for each index."""

    members = ("table",)

    def __init__(self, count, d, *, key=(0, 0)):
        super().__init__()
        self.count, self.d = count, d
        self.table = torch.nn.Parameter(normal(fold(key, SITES["table"]), (count, d), FLOAT))  # [count, d]  nn.lee:47

    @packed(0, index=(0, 1))
    def forward(self, index):
        """index int[..] -> [.., d]"""
        return self.table[index]  # [rows, d]  nn.lee:50

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
        super().__init__()
        self.d, self.eps = d, eps
        self.gamma = torch.nn.Parameter(torch.ones(d, dtype=FLOAT))  # [d]  nn.lee:191
        self.beta = torch.nn.Parameter(torch.zeros(d, dtype=FLOAT))  # [d]  nn.lee:192

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., d] -> [.., d]"""
        y = torch.nn.functional.layer_norm(x, (self.d,), self.gamma, self.beta, self.eps)  # [rows, d]  nn.lee:197
        return y  # [rows, d]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        normalise = torch.nn.functional.layer_norm(x, (self.d,), eps=self.eps)  # [rows, d]  nn.lee:197
        return normalise * self.gamma + self.beta, normalise

    def forward_backward(self, x, normalise, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return gamma * (x - mu) / sqrt(var + eps) + beta   nn.lee:197
        d_beta = d_y.sum(dim=0)  # [d]
        d_gamma = (d_y * normalise).sum(dim=0)  # [d]
        d_x = normalise_gradient(d_y * self.gamma, x, (self.d,), self.eps)  # [rows, d]
        return {"gamma": d_gamma, "beta": d_beta}, d_x


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


def reversed_within(x, lengths):
    """The first entries of each row, as many as its length, in the opposite order; 0 behind them.

    x [n, time, d], lengths int[n] -> [n, time, d]
    """
    n, time, _ = x.shape
    t = torch.arange(time, device=x.device)  # int[time]  nn.lee:326
    maximum = ((lengths - 1)[:, None] - t).clamp(min=0)  # int[n, time]
    maximum_2 = torch.arange(n, device=x.device).clamp(min=0)  # int[n]
    reshape_3 = maximum_2.clamp(max=n - 1)[:, None]  # int[n, 1]
    gather = x[reshape_3, maximum.clamp(max=time - 1)]  # [n, time, d]
    y = torch.where((t < lengths[:, None])[:, :, None], gather, 0)  # [n, time, d]
    return y  # [n, time, d]


def reversed_within_saved(x, lengths):
    """As reversed_within, and what its gradient needs."""
    n, time, _ = x.shape
    t = torch.arange(time, device=x.device)  # int[time]  nn.lee:326
    minimum = ((lengths - 1)[:, None] - t).clamp(min=0).clamp(max=time - 1)  # int[n, time]
    maximum_2 = torch.arange(n, device=x.device).clamp(min=0)  # int[n]
    reshape_3 = maximum_2.clamp(max=n - 1)[:, None]  # int[n, 1]
    reshape_4 = (t < lengths[:, None])[:, :, None]  # bool[n, time, 1]
    y = torch.where(reshape_4, x[reshape_3, minimum], 0)  # [n, time, d]
    return y, (minimum, reshape_3, reshape_4)


def reversed_within_backward(saved, d_y):
    """From d_y to the gradient by x."""
    minimum, reshape_3, reshape_4 = saved
    n, time = minimum.shape
    d = d_y.shape[2]
    # gradient of y[r, t in time, j] = where(t < lengths[r], x[r, lengths[r] - 1 - t, j], 0)   nn.lee:326
    d_gather = torch.where(reshape_4, d_y, 0)  # [n, time, d]
    d_x = scatter_add(d_gather, (reshape_3, minimum), (n, time, d))  # [n, time, d]
    return d_x  # [n, time, d]


def gelu(x):
    """x · Φ(x), Φ the normal distribution function; or its form by tanh (Hendrycks & Gimpel 2016).

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return torch.nn.functional.gelu(x)  # [x_0, x_1, x_2]  prelude.lee:113


def gelu_backward(x, d_y):
    """From d_y to the gradient by x."""
    # gradient of return 0.5 * x * (1 + erf(x / sqrt(2)))   prelude.lee:113
    d_x = torch.ops.aten.gelu_backward(d_y, x)  # [x_0, x_1, x_2]
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


def normalise_gradient(g, x, shape, eps):
    """The gradient of `layer_norm(x, shape, eps=eps)` by x."""
    _, mean, rstd = torch.native_layer_norm(x, shape, None, None, eps)
    return torch.ops.aten.native_layer_norm_backward(g, x, shape, mean, rstd, None, None, (True, False, False))[0]


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
