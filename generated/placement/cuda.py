"""Where a transformer's layer normalises (inventory D10): behind each sum with the residual, or before each branch.

Made from specs/normalisation/placement.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/normalisation/placement.lee
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


class Attention(Model):
    """Every position asks (q), offers (k) and gives (v); shares of all positions are mixed, in several heads."""

    members = ("ask", "offer", "give", "mix")

    def __init__(self, d, heads, *, key=(0, 0)):
        super().__init__()
        self.d, self.heads = d, heads
        if d % heads != 0:
            raise ValueError(f"placement.lee:8: d % heads == 0 must hold: d = {d}, heads = {heads}")
        self.ask = Linear(d, d, key=fold(key, SITES["ask"]))  # placement.lee:9
        self.offer = Linear(d, d, key=fold(key, SITES["offer"]))  # placement.lee:10
        self.give = Linear(d, d, key=fold(key, SITES["give"]))  # placement.lee:11
        self.mix = Linear(d, d, key=fold(key, SITES["mix"]))  # placement.lee:12

    def forward(self, x):
        """x [n, t, d] -> [n, t, d]"""
        n, t, _ = x.shape
        x_flat = x.reshape(n * t, self.d)  # [n * t, d]  placement.lee:15
        q = self.ask(x_flat).reshape(n, t, self.heads, self.d // self.heads)  # [n, t, heads, d // heads]
        # [n, t, heads, d // heads]  placement.lee:16
        k = self.offer(x_flat).reshape(n, t, self.heads, self.d // self.heads)
        # [n, t, heads, d // heads]  placement.lee:17
        v = self.give(x_flat).reshape(n, t, self.heads, self.d // self.heads)
        contract = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1)  # [n, heads, t, t]  placement.lee:18
        score = contract / math.sqrt(self.d // self.heads)  # [n, heads, t, t]
        share = torch.softmax(score, dim=3)  # [n, heads, t, t]  prelude.lee:122
        mixed = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, t, heads, d // heads]  placement.lee:20
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
        contract = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1)  # [n, heads, t, t]  placement.lee:18
        score = contract / math.sqrt(self.d // self.heads)  # [n, heads, t, t]
        share = torch.softmax(score, dim=3)  # [n, heads, t, t]  prelude.lee:122
        mixed = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, t, heads, d // heads]  placement.lee:20
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
        transpose = d_mixed.permute(0, 2, 1, 3)  # [n, heads, t, d // heads]
        d_share = transpose @ v.permute(0, 2, 3, 1)  # [n, heads, t, t]
        d_v = (share.mT @ transpose).permute(0, 2, 1, 3)  # [n, t, heads, d // heads]
        # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
        d_score = share * (d_share - (d_share * share).sum(dim=3, keepdim=True))  # [n, heads, t, t]
        # gradient of score[r, h, i, j] = sum[u](q[r, i, h, u] * k[r, j, h, u]) / sqrt(d // heads)   placement.lee:18
        d_contract = d_score / math.sqrt(self.d // self.heads)  # [n, heads, t, t]
        d_q = (d_contract @ k.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, t, heads, d // heads]
        d_k = (d_contract.mT @ q.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, t, heads, d // heads]
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
        super().__init__()
        self.d, self.heads, self.hidden = d, heads, hidden
        self.attention = Attention(d, heads, key=fold(key, SITES["attention"]))  # placement.lee:26
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # placement.lee:27
        self.down = Linear(hidden, d, key=fold(key, SITES["down"]))  # placement.lee:28
        self.norm1 = LayerNorm(d)  # placement.lee:29
        self.norm2 = LayerNorm(d)  # placement.lee:30

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
        super().__init__()
        self.d, self.heads, self.hidden = d, heads, hidden
        self.attention = Attention(d, heads, key=fold(key, SITES["attention"]))  # placement.lee:26
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # placement.lee:27
        self.down = Linear(hidden, d, key=fold(key, SITES["down"]))  # placement.lee:28
        self.norm1 = LayerNorm(d)  # placement.lee:29
        self.norm2 = LayerNorm(d)  # placement.lee:30

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


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return torch.relu(x)  # [x_0, x_1, x_2]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1, x_2]
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


def move_keys(found, old, new):
    """Rename a key, or all below a path."""
    for key in [k for k in found if k == old or k.startswith(f"{old}.")]:
        found[new + key[len(old) :]] = found.pop(key)
