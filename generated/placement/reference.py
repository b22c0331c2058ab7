"""Where a transformer's layer normalises (inventory D10): behind each sum with the residual, or before each branch.

Made from specs/normalisation/placement.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/normalisation/placement.lee
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


class Attention(Model):
    """Every position asks (q), offers (k) and gives (v); shares of all positions are mixed, in several heads."""

    members = ("ask", "offer", "give", "mix")

    def __init__(self, d, heads, *, key=(0, 0)):
        self.d, self.heads = d, heads
        if d % heads != 0:
            raise ValueError(f"placement.lee:8: d % heads == 0 must hold: d = {d}, heads = {heads}")
        self.ask = Linear(d, d, key=fold(key, SITES["ask"]))  # placement.lee:9
        self.offer = Linear(d, d, key=fold(key, SITES["offer"]))  # placement.lee:10
        self.give = Linear(d, d, key=fold(key, SITES["give"]))  # placement.lee:11
        self.mix = Linear(d, d, key=fold(key, SITES["mix"]))  # placement.lee:12
        self.lay_out()

    def forward(self, x):
        """x [n, t, d] -> [n, t, d]"""
        n, t, _ = x.shape
        x_flat = x.reshape(n * t, self.d)  # [n * t, d]  placement.lee:15
        q = self.ask(x_flat).reshape(n, t, self.heads, self.d // self.heads)  # [n, t, heads, d // heads]
        # [n, t, heads, d // heads]  placement.lee:16
        k = self.offer(x_flat).reshape(n, t, self.heads, self.d // self.heads)
        # [n, t, heads, d // heads]  placement.lee:17
        v = self.give(x_flat).reshape(n, t, self.heads, self.d // self.heads)
        contract = q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1)  # [n, heads, t, t]  placement.lee:18
        score = contract / math.sqrt(self.d // self.heads)  # [n, heads, t, t]
        share = softmax(score, (3,))  # [n, heads, t, t]  prelude.lee:122
        mixed = (share @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, t, heads, d // heads]  placement.lee:20
        return self.mix(mixed.reshape(n * t, self.d)).reshape(n, t, self.d)  # [n, t, d]  placement.lee:21

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, t, _ = x.shape
        x_flat = x.reshape(n * t, self.d)  # [n * t, d]  placement.lee:15
        q = self.ask(x_flat).reshape(n, t, self.heads, self.d // self.heads)  # [n, t, heads, d // heads]
        # [n, t, heads, d // heads]  placement.lee:16
        k = self.offer(x_flat).reshape(n, t, self.heads, self.d // self.heads)
        # [n, t, heads, d // heads]  placement.lee:17
        v = self.give(x_flat).reshape(n, t, self.heads, self.d // self.heads)
        contract = q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1)  # [n, heads, t, t]  placement.lee:18
        score = contract / math.sqrt(self.d // self.heads)  # [n, heads, t, t]
        share = softmax(score, (3,))  # [n, heads, t, t]  prelude.lee:122
        mixed = (share @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, t, heads, d // heads]  placement.lee:20
        mixed_flat = mixed.reshape(n * t, self.d)  # [n * t, d]  placement.lee:21
        return self.mix(mixed_flat).reshape(n, t, self.d), (q, k, v, share, mixed_flat)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        q, k, v, share, mixed_flat = saved
        n, t, _ = x.shape
        # gradient of q = reshape(ask(x), [n, t, heads, d // heads])   placement.lee:15
        x_flat = x.reshape(n * t, self.d)  # [n * t, d]
        # gradient of return mix(reshape(mixed, [n, t, d]))   placement.lee:21
        d_mix, d_mixed_flat = self.mix.forward_backward(mixed_flat, d_y.reshape(n * t, self.d))
        d_mixed = d_mixed_flat.reshape(n, t, self.heads, self.d // self.heads)  # [n, t, heads, d // heads]
        # gradient of mixed[r, i, h, u] = sum[j](share[r, h, i, j] * v[r, j, h, u])   placement.lee:20
        transpose = d_mixed.transpose(0, 2, 1, 3)  # [n, heads, t, d // heads]
        d_share = transpose @ v.transpose(0, 2, 3, 1)  # [n, heads, t, t]
        d_v = (share.mT @ transpose).transpose(0, 2, 1, 3)  # [n, t, heads, d // heads]
        # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
        d_score = share * (d_share - (d_share * share).sum(axis=3, keepdims=True))  # [n, heads, t, t]
        # gradient of score[r, h, i, j] = sum[u](q[r, i, h, u] * k[r, j, h, u]) / sqrt(d // heads)   placement.lee:18
        d_contract = d_score / math.sqrt(self.d // self.heads)  # [n, heads, t, t]
        d_q = (d_contract @ k.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, t, heads, d // heads]
        d_k = (d_contract.mT @ q.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, t, heads, d // heads]
        # gradient of v = reshape(give(x), [n, t, heads, d // heads])   placement.lee:17
        d_give, d_x_flat_2 = self.give.forward_backward(x_flat, d_v.reshape(n * t, self.d))
        # gradient of k = reshape(offer(x), [n, t, heads, d // heads])   placement.lee:16
        d_offer, d_x_flat_3 = self.offer.forward_backward(x_flat, d_k.reshape(n * t, self.d))
        # gradient of q = reshape(ask(x), [n, t, heads, d // heads])   placement.lee:15
        d_ask, d_x_flat_4 = self.ask.forward_backward(x_flat, d_q.reshape(n * t, self.d))
        d_x = (d_x_flat_2 + d_x_flat_3 + d_x_flat_4).reshape(n, t, self.d)  # [n, t, d]
        return {"ask": d_ask, "offer": d_offer, "give": d_give, "mix": d_mix}, d_x


class Layer(Model):
    """With `first`, x + f(norm(x)): the residual goes through unchanged. Without, norm(x + f(x))."""

    members = ("attention", "up", "down", "norm1", "norm2")

    def __init__(self, d, heads, hidden, *, key=(0, 0)):
        self.d, self.heads, self.hidden = d, heads, hidden
        self.attention = Attention(d, heads, key=fold(key, SITES["attention"]))  # placement.lee:26
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # placement.lee:27
        self.down = Linear(hidden, d, key=fold(key, SITES["down"]))  # placement.lee:28
        self.norm1 = LayerNorm(d)  # placement.lee:29
        self.norm2 = LayerNorm(d)  # placement.lee:30
        self.lay_out()

    def forward(self, x):
        """x [n, t, d] -> [n, t, d]"""
        n, t, _ = x.shape
        # [n, t, d]  placement.lee:34
        reshape_12 = self.attention(self.norm1(x.reshape(n * t, self.d)).reshape(n, t, self.d))
        x_2 = x + reshape_12  # [n, t, d]
        up_out = self.up(self.norm2(x_2.reshape(n * t, self.d)))  # [n * t, hidden]  placement.lee:35
        select = relu(up_out.reshape(n, t, self.hidden))  # [n, t, hidden]
        down_out = self.down(select.reshape(n * t, self.hidden))  # [n * t, d]
        return x_2 + down_out.reshape(n, t, self.d)  # [n, t, d]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, t, _ = x.shape
        norm1_out, saved_norm1 = self.norm1.forward_saved(x.reshape(n * t, self.d))  # placement.lee:34
        reshape_2 = norm1_out.reshape(n, t, self.d)  # [n, t, d]
        reshape_12, saved_attention = self.attention.forward_saved(reshape_2)
        x_2 = x + reshape_12  # [n, t, d]
        reshape_3 = x_2.reshape(n * t, self.d)  # [n * t, d]  placement.lee:35
        norm2_out, saved_norm2 = self.norm2.forward_saved(reshape_3)
        select = relu(self.up(norm2_out).reshape(n, t, self.hidden))  # [n, t, hidden]
        down_out = self.down(select.reshape(n * t, self.hidden))  # [n * t, d]
        saved = saved_norm1, reshape_2, saved_attention, reshape_3, norm2_out, saved_norm2, select
        return x_2 + down_out.reshape(n, t, self.d), saved

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        saved_norm1, reshape_2, saved_attention, reshape_3, norm2_out, saved_norm2, select = saved
        n, t, _ = x.shape
        # gradient of return x + down(relu(up(norm2(x))))   placement.lee:35
        reshape = select.reshape(n * t, self.hidden)  # [n * t, hidden]
        d_down, d_reshape_5 = self.down.forward_backward(reshape, d_y.reshape(n * t, self.d))
        d_reshape_4 = relu_backward(select, d_reshape_5.reshape(n, t, self.hidden))  # [n, t, hidden]
        d_up, d_norm2_out = self.up.forward_backward(norm2_out, d_reshape_4.reshape(n * t, self.hidden))
        d_norm2, d_reshape_3 = self.norm2.forward_backward(reshape_3, saved_norm2, d_norm2_out)
        # gradient of x = x + attention(norm1(x))   placement.lee:34
        d_x_2 = d_y + d_reshape_3.reshape(n, t, self.d)  # [n, t, d]
        d_attention, d_reshape_2 = self.attention.forward_backward(reshape_2, saved_attention, d_x_2)
        d_norm1_out = d_reshape_2.reshape(n * t, self.d)  # [n * t, d]
        x_flat = x.reshape(n * t, self.d)  # [n * t, d]
        d_norm1, d_x_flat = self.norm1.forward_backward(x_flat, saved_norm1, d_norm1_out)
        d_x = d_x_2 + d_x_flat.reshape(n, t, self.d)  # [n, t, d]
        return {"attention": d_attention, "up": d_up, "down": d_down, "norm1": d_norm1, "norm2": d_norm2}, d_x


class Layer_2(Model):
    """With `first`, x + f(norm(x)): the residual goes through unchanged. Without, norm(x + f(x))."""

    members = ("attention", "up", "down", "norm1", "norm2")

    def __init__(self, d, heads, hidden, *, key=(0, 0)):
        self.d, self.heads, self.hidden = d, heads, hidden
        self.attention = Attention(d, heads, key=fold(key, SITES["attention"]))  # placement.lee:26
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # placement.lee:27
        self.down = Linear(hidden, d, key=fold(key, SITES["down"]))  # placement.lee:28
        self.norm1 = LayerNorm(d)  # placement.lee:29
        self.norm2 = LayerNorm(d)  # placement.lee:30
        self.lay_out()

    def forward(self, x):
        """x [n, t, d] -> [n, t, d]"""
        n, t, _ = x.shape
        norm1_out = self.norm1((x + self.attention(x)).reshape(n * t, self.d))  # [n * t, d]  placement.lee:36
        x_2 = norm1_out.reshape(n, t, self.d)  # [n, t, d]
        select = relu(self.up(norm1_out).reshape(n, t, self.hidden))  # [n, t, hidden]  placement.lee:37
        down_out = self.down(select.reshape(n * t, self.hidden))  # [n * t, d]
        add_2 = x_2 + down_out.reshape(n, t, self.d)  # [n, t, d]
        norm2_out = self.norm2(add_2.reshape(n * t, self.d))  # [n * t, d]
        return norm2_out.reshape(n, t, self.d)  # [n, t, d]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, t, _ = x.shape
        reshape_12, saved_attention = self.attention.forward_saved(x)  # placement.lee:36
        reshape = (x + reshape_12).reshape(n * t, self.d)  # [n * t, d]
        norm1_out, saved_norm1 = self.norm1.forward_saved(reshape)
        x_2 = norm1_out.reshape(n, t, self.d)  # [n, t, d]
        select = relu(self.up(norm1_out).reshape(n, t, self.hidden))  # [n, t, hidden]  placement.lee:37
        down_out = self.down(select.reshape(n * t, self.hidden))  # [n * t, d]
        reshape_5 = (x_2 + down_out.reshape(n, t, self.d)).reshape(n * t, self.d)  # [n * t, d]
        norm2_out, saved_norm2 = self.norm2.forward_saved(reshape_5)
        saved = saved_attention, reshape, norm1_out, saved_norm1, select, reshape_5, saved_norm2
        return norm2_out.reshape(n, t, self.d), saved

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        saved_attention, reshape, norm1_out, saved_norm1, select, reshape_5, saved_norm2 = saved
        n, t, _ = x.shape
        # gradient of return norm2(x + down(relu(up(x))))   placement.lee:37
        d_norm2_out = d_y.reshape(n * t, self.d)  # [n * t, d]
        d_norm2, d_reshape_5 = self.norm2.forward_backward(reshape_5, saved_norm2, d_norm2_out)
        d_down, d_reshape_3 = self.down.forward_backward(select.reshape(n * t, self.hidden), d_reshape_5)
        d_reshape_2 = relu_backward(select, d_reshape_3.reshape(n, t, self.hidden))  # [n, t, hidden]
        d_up, d_norm1_out_2 = self.up.forward_backward(norm1_out, d_reshape_2.reshape(n * t, self.hidden))
        # gradient of x = norm1(x + attention(x))   placement.lee:36
        d_norm1_out = d_norm1_out_2 + d_reshape_5  # [n * t, d]
        d_norm1, d_reshape = self.norm1.forward_backward(reshape, saved_norm1, d_norm1_out)
        d_add = d_reshape.reshape(n, t, self.d)  # [n, t, d]
        d_attention, d_x_3 = self.attention.forward_backward(x, saved_attention, d_add)
        d_x = d_add + d_x_3  # [n, t, d]
        return {"attention": d_attention, "up": d_up, "down": d_down, "norm1": d_norm1, "norm2": d_norm2}, d_x


def example_before(key):
    net = Layer(8, 2, 12, key=fold(key, SITES["net"]))  # placement.lee:41
    x = normal(fold(key, SITES["x"]), (3, 5, 8), FLOAT)  # [3, 5, 8]  placement.lee:42
    c = normal(fold(key, SITES["c"]), (3, 5, 8), FLOAT)  # [3, 5, 8]  placement.lee:43
    d_c, saved_net = net.forward_saved(x)  # placement.lee:44
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_behind(key):
    net = Layer_2(8, 2, 12, key=fold(key, SITES["net"]))  # placement.lee:48
    x = normal(fold(key, SITES["x"]), (3, 5, 8), FLOAT)  # [3, 5, 8]  placement.lee:49
    c = normal(fold(key, SITES["c"]), (3, 5, 8), FLOAT)  # [3, 5, 8]  placement.lee:50
    d_c, saved_net = net.forward_saved(x)  # placement.lee:51
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


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


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return np.maximum(x, 0)  # [x_0, x_1, x_2]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1, x_2]
    return d_x  # [x_0, x_1, x_2]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "ask": 0xAE5F88760703DE74,
    "attention": 0x9C3F13C526941895,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "down": 0x672F5B678D49ED61,
    "give": 0x393BBA5B40AB5D31,
    "mix": 0x8568467C7E8A80DF,
    "net": 0xF087C76970C91612,
    "offer": 0xC9FF3BA917F47E10,
    "up": 0xDD49F622B87D879F,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
}


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=axes, keepdims=True)
    return e / np.where(total == 0, 1, total)


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
