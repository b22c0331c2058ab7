"""Sequences of different lengths, padded to one (lecture: self-attention): what lies behind an end has no say.

`lengths` are the true ones; a sequence may be empty, and then gives 0.

Made from specs/attention/padding.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/padding.lee
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


def inside(lengths, time):
    """Which places are no padding.

    lengths int[n] -> bool[n, time]
    """
    inside_ = torch.arange(time, device=lengths.device) < lengths[:, None]  # bool[n, time]  padding.lee:11
    return inside_  # bool[n, time]


def attend(q, k, v, lengths):
    """softmax(q kᵀ / √d) v, each head by itself, over the places that are no padding.

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], lengths int[n] -> [n, m, heads,
    size]
    """
    size = q.shape[3]
    time = k.shape[1]
    score = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  padding.lee:22
    reshape = inside(lengths, time)[:, None, None]  # bool[n, 1, 1, time]  padding.lee:23
    weight = softmax(torch.where(reshape, score, -torch.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (weight @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, m, heads, size]  padding.lee:24
    return mixed  # [n, m, heads, size]


def attend_saved(q, k, v, lengths):
    """As attend, and what its gradient needs."""
    size = q.shape[3]
    time = k.shape[1]
    score = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  padding.lee:22
    reshape = inside(lengths, time)[:, None, None]  # bool[n, 1, 1, time]  padding.lee:23
    weight = softmax(torch.where(reshape, score, -torch.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (weight @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, m, heads, size]  padding.lee:24
    return mixed, (reshape, weight)


def attend_backward(q, k, v, saved, d_mixed):
    """From d_mixed to the gradients by q, k and v."""
    reshape, weight = saved
    size = q.shape[3]
    # gradient of mixed[b, i, g, a] = sum[j](weight[b, g, i, j] * v[b, j, g, a])   padding.lee:24
    transpose = d_mixed.permute(0, 2, 1, 3)  # [n, heads, m, size]
    d_weight = transpose @ v.permute(0, 2, 3, 1)  # [n, heads, m, time]
    d_v = (weight.mT @ transpose).permute(0, 2, 1, 3)  # [n, time, heads, size]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_weight - (d_weight * weight).sum(dim=3, keepdim=True)  # [n, heads, m, time]
    # gradient of score[b, g, i, j] = sum[a](q[b, i, g, a] * k[b, j, g, a]) / sqrt(size)   padding.lee:22
    d_contract = torch.where(reshape, weight * sub / math.sqrt(size), 0)  # [n, heads, m, time]
    d_q = (d_contract @ k.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, m, heads, size]
    d_k = (d_contract.mT @ q.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, time, heads, size]
    return d_q, d_k, d_v


def mean_pool(x, lengths):
    """The mean over each true length.

    x [n, time, d], lengths int[n] -> [n, d]
    """
    time = x.shape[1]
    lt = torch.arange(time, device=x.device) < lengths[:, None]  # bool[n, time]  padding.lee:30
    sum_ = torch.where(lt[:, None], x.mT, 0).sum(dim=2)  # [n, d]
    pooled = sum_ / lengths.clamp(min=1)[:, None].to(FLOAT)  # [n, d]
    return pooled  # [n, d]


def mean_pool_saved(x, lengths):
    """As mean_pool, and what its gradient needs."""
    time = x.shape[1]
    reshape_2 = (torch.arange(time, device=x.device) < lengths[:, None])[:, None]  # bool[n, 1, time]  padding.lee:30
    cast = lengths.clamp(min=1)[:, None].to(FLOAT)  # [n, 1]
    pooled = torch.where(reshape_2, x.mT, 0).sum(dim=2) / cast  # [n, d]
    return pooled, (reshape_2, cast)


def mean_pool_backward(saved, d_pooled):
    """From d_pooled to the gradient by x."""
    reshape_2, cast = saved
    # gradient of pooled[b, a] = sum[t in lengths[b]](x[b, t, a]) / max(lengths[b], 1)   padding.lee:30
    d_x = torch.where(reshape_2, (d_pooled / cast)[:, :, None], 0).mT  # [n, time, d]
    return d_x  # [n, time, d]


def last_state(x, lengths):
    """The row at each true end.

    x [n, time, d], lengths int[n] -> [n, d]
    """
    n, time, _ = x.shape
    maximum_2 = torch.arange(n, device=x.device).clamp(min=0)  # int[n]  padding.lee:36
    minimum = (lengths - 1).clamp(min=0).clamp(max=time - 1)  # int[n]
    gather = x[maximum_2.clamp(max=n - 1), minimum]  # [n, d]
    last = torch.where((lengths > 0)[:, None], gather, 0)  # [n, d]
    return last  # [n, d]


def last_state_saved(x, lengths):
    """As last_state, and what its gradient needs."""
    n, time, _ = x.shape
    minimum = (lengths - 1).clamp(min=0).clamp(max=time - 1)  # int[n]  padding.lee:36
    minimum_2 = torch.arange(n, device=x.device).clamp(min=0).clamp(max=n - 1)  # int[n]
    reshape = (lengths > 0)[:, None]  # bool[n, 1]
    last = torch.where(reshape, x[minimum_2, minimum], 0)  # [n, d]
    return last, (minimum, minimum_2, reshape)


def last_state_backward(saved, time, d_last):
    """From d_last to the gradient by x."""
    minimum, minimum_2, reshape = saved
    n = minimum.shape[0]
    d = d_last.shape[1]
    # gradient of last[b, a] = where(lengths[b] > 0, x[b, lengths[b] - 1, a], 0)   padding.lee:36
    d_gather = torch.where(reshape, d_last, 0)  # [n, d]
    d_x = scatter_add(d_gather, (minimum_2, minimum), (n, time, d))  # [n, time, d]
    return d_x  # [n, time, d]


class PaddedAttention(Model):
    """Every place of one sequence asks those of another."""

    members = ("query", "key", "value", "output")

    def __init__(self, d, heads, *, key=(0, 0)):
        super().__init__()
        self.d, self.heads = d, heads
        self.size = d // heads
        if d % heads != 0:
            raise ValueError(f"padding.lee:42: d % heads == 0 must hold: d = {d}, heads = {heads}")
        self.query = Linear(d, d, key=fold(key, SITES["query"]))  # padding.lee:44
        self.key = Linear(d, d, key=fold(key, SITES["key"]))  # padding.lee:45
        self.value = Linear(d, d, key=fold(key, SITES["value"]))  # padding.lee:46
        self.output = Linear(d, d, key=fold(key, SITES["output"]))  # padding.lee:47

    def forward(self, x, memory, lengths):
        """x [n, m, d], memory [n, time, d], lengths int[n] -> [n, m, d]"""
        n, m, _ = x.shape
        time = memory.shape[1]
        query_out = self.query(x.reshape(m * n, self.d))  # [m * n, d]  padding.lee:50
        q = query_out.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        memory_flat = memory.reshape(n * time, self.d)  # [n * time, d]  padding.lee:51
        k = self.key(memory_flat).reshape(n, time, self.heads, self.d // self.heads)  # [n, time, heads, d // heads]
        # [n, time, heads, d // heads]  padding.lee:52
        v = self.value(memory_flat).reshape(n, time, self.heads, self.d // self.heads)
        output_out = self.output(attend(q, k, v, lengths).reshape(m * n, self.d))  # [m * n, d]  padding.lee:53
        return output_out.reshape(n, m, self.d)  # [n, m, d]

    def forward_saved(self, x, memory, lengths):
        """As forward, and what its gradient needs."""
        n, m, _ = x.shape
        time = memory.shape[1]
        query_out = self.query(x.reshape(m * n, self.d))  # [m * n, d]  padding.lee:50
        q = query_out.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        memory_flat = memory.reshape(n * time, self.d)  # [n * time, d]  padding.lee:51
        k = self.key(memory_flat).reshape(n, time, self.heads, self.d // self.heads)  # [n, time, heads, d // heads]
        # [n, time, heads, d // heads]  padding.lee:52
        v = self.value(memory_flat).reshape(n, time, self.heads, self.d // self.heads)
        mixed, saved_attend = attend_saved(q, k, v, lengths)  # padding.lee:53
        reshape_3 = mixed.reshape(m * n, self.d)  # [m * n, d]
        return self.output(reshape_3).reshape(n, m, self.d), (q, k, v, saved_attend, reshape_3)

    def forward_backward(self, x, memory, saved, d_y):
        """From d_y to the gradients by the parameters, x and memory."""
        q, k, v, saved_attend, reshape_3 = saved
        n, m, _ = x.shape
        time = memory.shape[1]
        # gradient of k = reshape(key(memory), [n, time, heads, size])   padding.lee:51
        memory_flat = memory.reshape(n * time, self.d)  # [n * time, d]
        # gradient of return output(reshape(attend(q, k, v, lengths), [n, m, d]))   padding.lee:53
        d_output, d_reshape_3 = self.output.forward_backward(reshape_3, d_y.reshape(m * n, self.d))
        d_mixed = d_reshape_3.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        d_q, d_k, d_v = attend_backward(q, k, v, saved_attend, d_mixed)
        # gradient of v = reshape(value(memory), [n, time, heads, size])   padding.lee:52
        d_value, d_memory_flat_2 = self.value.forward_backward(memory_flat, d_v.reshape(n * time, self.d))
        # gradient of k = reshape(key(memory), [n, time, heads, size])   padding.lee:51
        d_key, d_memory_flat_3 = self.key.forward_backward(memory_flat, d_k.reshape(n * time, self.d))
        d_memory = (d_memory_flat_2 + d_memory_flat_3).reshape(n, time, self.d)  # [n, time, d]
        # gradient of q = reshape(query(x), [n, m, heads, size])   padding.lee:50
        d_query_out = d_q.reshape(m * n, self.d)  # [m * n, d]
        d_query, d_x_flat = self.query.forward_backward(x.reshape(m * n, self.d), d_query_out)
        d_x = d_x_flat.reshape(n, m, self.d)  # [n, m, d]
        return {"query": d_query, "key": d_key, "value": d_value, "output": d_output}, d_x, d_memory


def example_asked(key):
    net = PaddedAttention(6, 2, key=fold(key, SITES["net"]))  # padding.lee:57
    x = normal(fold(key, SITES["x"]), (3, 4, 6), FLOAT)  # [3, 4, 6]  padding.lee:58
    memory = normal(fold(key, SITES["memory"]), (3, 5, 6), FLOAT)  # [3, 5, 6]  padding.lee:59
    lengths = torch.tensor((5, 2, 1), dtype=torch.int64)  # int[3]  padding.lee:60
    c = normal(fold(key, SITES["c"]), (3, 4, 6), FLOAT)  # [3, 4, 6]  padding.lee:61
    d_c, saved_net = net.forward_saved(x, memory, lengths)  # padding.lee:62
    d_net, d_x, d_memory = net.forward_backward(x, memory, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_memory, d_c


def example_nobody_there(key):
    q = normal(fold(key, SITES["q"]), (1, 4, 2, 3), FLOAT)  # [1, 4, 2, 3]  padding.lee:66
    k = normal(fold(key, SITES["k"]), (1, 5, 2, 3), FLOAT)  # [1, 5, 2, 3]  padding.lee:67
    v = normal(fold(key, SITES["v"]), (1, 5, 2, 3), FLOAT)  # [1, 5, 2, 3]  padding.lee:68
    return attend(q, k, v, torch.tensor((0,), dtype=torch.int64))  # [1, 4, 2, 3]  padding.lee:69


def example_pooled(key):
    x = normal(fold(key, SITES["x"]), (3, 5, 4), FLOAT)  # [3, 5, 4]  padding.lee:73
    lengths = torch.tensor((5, 2, 0), dtype=torch.int64)  # int[3]  padding.lee:74
    c = normal(fold(key, SITES["c"]), (3, 4), FLOAT)  # [3, 4]  padding.lee:75
    pooled, saved_mean_pool = mean_pool_saved(x, lengths)  # padding.lee:76
    last, saved_last_state = last_state_saved(x, lengths)
    mul_2 = last**2  # [3, 4]
    d_x_2 = last_state_backward(saved_last_state, 5, 2 * (c * last))  # [3, 5, 4]
    return (c * pooled).sum() + (c * mul_2).sum(), d_x_2 + mean_pool_backward(saved_mean_pool, c), mul_2 + pooled


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


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "k": 0x63D485F95FCB52AC,
    "key": 0xF54CA9C3ADCC7CCE,
    "memory": 0xE8A0B2FC89DDFBBA,
    "net": 0xF087C76970C91612,
    "output": 0x02DE2253159F1835,
    "q": 0x3514BD29FB70352B,
    "query": 0x0368BD6C66AB1F7B,
    "v": 0x9DF7DC769517EBA3,
    "value": 0x196B9BE45174F330,
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


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


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


def move_keys(found, old, new):
    """Rename a key, or all below a path."""
    for key in [k for k in found if k == old or k.startswith(f"{old}.")]:
        found[new + key[len(old) :]] = found.pop(key)
