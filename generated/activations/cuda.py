"""Activations: what a neuron makes of its weighted sum (inventory C1 to C8).

Steps that are soft or hard, ramps that never saturate, and softmax, which makes shares of scores.

Made from specs/activations/activations.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/activations/activations.lee
"""

from __future__ import annotations

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

        Gradients flow through them. What is not given is shared, but for buffers, which are copied.
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
            elif name in tensors:
                twin._parameters.pop(attribute, None)
                twin._buffers.pop(attribute, None)
                twin.__dict__[attribute] = tensors[name]
        return twin


def soft_step_saved(x, height, bias, weight):
    """As soft_step, and what its gradient needs."""
    sigmoid = torch.sigmoid(bias + weight * x)  # [x_0]  activations.lee:9
    return height * sigmoid, sigmoid  # activations.lee:14


def soft_step_backward(sigmoid, height, weight, d_mul_2):
    """From d_mul_2 to the gradient by x."""
    # gradient of return height * sigmoid(bias + weight * x)   activations.lee:14
    d_x = d_mul_2 * height * (sigmoid * (1.0 - sigmoid)) * weight  # [x_0]
    return d_x  # [x_0]


def hard_sigmoid_saved(x):
    """As hard_sigmoid, and what its gradient needs."""
    add = x / 6 + 0.5  # [x_0]  activations.lee:19
    maximum = add.clamp(min=0)  # [x_0]
    return maximum.clamp(max=1), (add, maximum)


def hard_sigmoid_backward(saved, d_minimum):
    """From d_minimum to the gradient by x."""
    add, maximum = saved
    # gradient of return min(max(x / 6 + 1 / 2, 0), 1)   activations.lee:19
    d_x = torch.where(maximum <= 1, torch.where(add >= 0, d_minimum / 6, 0.0), 0.0)  # [x_0]
    return d_x  # [x_0]


def hard_step_saved(x, start, end, height):
    """As hard_step, and what its gradient needs."""
    slope = height / (end - start)  # activations.lee:24
    sub = x - start  # [x_0]  activations.lee:25
    sub_2 = x - end  # [x_0]
    return slope * relu(sub) - slope * relu(sub_2), (sub, sub_2)


def hard_step_backward(saved, end, height, start, d_sub_3):
    """From d_sub_3 to the gradient by x."""
    sub, sub_2 = saved
    # gradient of slope = height / (end - start)   activations.lee:24
    slope = height / (end - start)
    # gradient of return slope * relu(x - start) - slope * relu(x - end)   activations.lee:25
    mul = slope * d_sub_3  # [x_0]
    d_x = relu_backward(sub_2, -mul) + relu_backward(sub, mul)  # [x_0]
    return d_x  # [x_0]


def relu(x):
    """max(0, x)

    x [x_0] -> [x_0]
    """
    return torch.where(0 >= x, 0, x)  # [x_0]  activations.lee:30


def relu_backward(x, d_y):
    """From d_y to the gradient by x."""
    # gradient of return max(0, x)   activations.lee:30
    d_x = torch.where(0 >= x, 0.0, d_y)  # [x_0]
    return d_x  # [x_0]


def leaky_relu_saved(x):
    """As leaky_relu, and what its gradient needs."""
    gt = x > 0  # bool[x_0]  activations.lee:35
    return torch.where(gt, x, x / 100), gt


def leaky_relu_backward(gt, d_select):
    """From d_select to the gradient by x."""
    d_x = torch.where(gt, d_select, 0.0) + torch.where(gt, 0.0, d_select / 100)  # [x_0]
    return d_x  # [x_0]


class ParametricReLU(Model):
    """Leaky ReLU whose slope α is learned, one for each channel."""

    members = ("alpha",)

    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.alpha = torch.nn.Parameter(torch.full((channels,), 0.25, dtype=FLOAT))  # [channels]  activations.lee:40

    def forward(self, x):
        """x [n, channels] -> [n, channels]"""
        gt = x > 0  # bool[n, channels]  activations.lee:43
        guard = torch.where(~gt, self.alpha, self.alpha.detach())  # [n, channels]
        return torch.where(gt, x, guard * torch.where(~gt, x, x.detach()))  # [n, channels]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        gt = x > 0  # bool[n, channels]  activations.lee:43
        return torch.where(gt, x, self.alpha * x), gt

    def forward_backward(self, x, gt, d_y):
        """From d_y to the gradients by the parameters and x."""
        d_alpha = torch.where(gt, 0.0, d_y * x).sum(dim=0)  # [channels]
        d_x = torch.where(gt, d_y, 0.0) + torch.where(gt, 0.0, d_y * self.alpha)  # [n, channels]
        return {"alpha": d_alpha}, d_x


class Maxout(Model):
    """Each unit is the largest of several sums: a learned convex function; with a piece of 0 it is ReLU."""

    members = ("w", "b")

    def __init__(self, inputs, units, pieces=2, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.units, self.pieces = inputs, units, pieces
        key_2 = fold(key, SITES["w"])  # activations.lee:48
        # [units, pieces, inputs]
        self.w = torch.nn.Parameter(normal(key_2, (units, pieces, inputs), FLOAT) * (1 / math.sqrt(inputs)))
        # [units, pieces]  activations.lee:49
        self.b = torch.nn.Parameter(normal(fold(key, SITES["b"]), (units, pieces), FLOAT))

    def forward(self, x):
        """x [n, inputs] -> [n, units]"""
        n = x.shape[0]
        # [n, pieces * units]  activations.lee:52
        contract = x @ self.w.reshape(self.pieces * self.units, self.inputs).T
        z = contract.reshape(n, self.units, self.pieces) + self.b  # [n, units, pieces]
        return largest(z, (2,), False)  # [n, units]  activations.lee:53

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        # [n, pieces * units]  activations.lee:52
        contract = x @ self.w.reshape(self.pieces * self.units, self.inputs).T
        z = contract.reshape(n, self.units, self.pieces) + self.b  # [n, units, pieces]
        return largest(z, (2,), False), z  # activations.lee:53

    def forward_backward(self, x, z, d_y):
        """From d_y to the gradients by the parameters and x."""
        n = x.shape[0]
        # gradient of return max(z, axis = 2)   activations.lee:53
        iota = torch.arange(self.pieces, device=x.device)[None, None, :]  # int[1, 1, pieces]
        d_z = torch.where(iota == z.argmax(dim=2)[:, :, None], d_y[:, :, None], 0.0)  # [n, units, pieces]
        # gradient of z[n, u, p] = sum[i](x[n, i] * w[u, p, i]) + b[u, p]   activations.lee:52
        d_b = d_z.sum(dim=0)  # [units, pieces]
        reshape_3 = d_z.reshape(n, self.pieces * self.units)  # [n, pieces * units]
        d_x = reshape_3 @ self.w.reshape(self.pieces * self.units, self.inputs)  # [n, inputs]
        d_w = (reshape_3.T @ x).reshape(self.units, self.pieces, self.inputs)  # [units, pieces, inputs]
        return {"w": d_w, "b": d_b}, d_x


def softmax_(z):
    """yᵢ = e^zᵢ / Σⱼ e^zⱼ

    z [n, k] -> [n, k]
    """
    share = softmax(z, (1,))  # [n, k]  activations.lee:58
    return share  # [n, k]


def softmaxAsPrinted(z):
    """One set of notes sums over the wrong index, e^zᵢ / Σⱼ e^zᵢ, which is 1 / k whatever z.

    z [n, k] -> [n, k]
    """
    k = z.shape[1]
    exp = torch.exp(z)  # [n, k]  activations.lee:64
    share = exp / (exp * k)  # [n, k]
    return share  # [n, k]


def softmaxAsPrinted_saved(z):
    """As softmaxAsPrinted, and what its gradient needs."""
    k = z.shape[1]
    exp = torch.exp(z)  # [n, k]  activations.lee:64
    mul = exp * k  # [n, k]
    share = exp / mul  # [n, k]
    return share, (exp, mul)


def softmaxAsPrinted_backward(saved, share, d_share):
    """From d_share to the gradient by z."""
    exp, mul = saved
    k = exp.shape[1]
    # gradient of share[n, i] = exp(z[n, i]) / sum[j in k](exp(z[n, i]))   activations.lee:64
    d_z = (d_share / mul - k * (d_share * share / mul)) * exp  # [n, k]
    return d_z  # [n, k]


def tanh_saved(x):
    """As tanh, and what its gradient needs."""
    sigmoid = torch.sigmoid(2 * x)  # [x_0]  activations.lee:9
    return 2 * sigmoid - 1, sigmoid  # activations.lee:70


def tanh_backward(sigmoid, d_sub):
    """From d_sub to the gradient by x."""
    # gradient of return 1 / (1 + exp(-x))   activations.lee:9
    d_x = d_sub * 2 * (sigmoid * (1.0 - sigmoid)) * 2  # [x_0]
    return d_x  # [x_0]


def example_steps(key):
    x = normal(fold(key, SITES["x"]), (50,), FLOAT) * 2  # [50]  activations.lee:74
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:75
    sigmoid = torch.sigmoid(x)  # [50]  activations.lee:9
    mul_3 = c * c  # [50]  activations.lee:76
    mul_2, saved_soft_step = soft_step_saved(x, 3, 1, 2)
    d_x_2 = soft_step_backward(saved_soft_step, 3, 2, mul_3)  # [50]
    # activations.lee:9
    return (
        (c * sigmoid).sum() + (mul_3 * mul_2).sum(),
        d_x_2 + c * (sigmoid * (1.0 - sigmoid)),
        2 * (mul_2 * c) + sigmoid,
    )


def example_ramps(key):
    x = normal(fold(key, SITES["x"]), (50,), FLOAT) * 3  # [50]  activations.lee:80
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:81
    minimum, saved_hard_sigmoid = hard_sigmoid_saved(x)  # activations.lee:82
    mul_2 = c * c  # [50]
    sub_3, saved_hard_step = hard_step_saved(x, -1, 2, 5)
    d_x_2 = hard_step_backward(saved_hard_step, 2, 5, -1, mul_2)  # [50]
    return (
        (c * minimum).sum() + (mul_2 * sub_3).sum(),
        d_x_2 + hard_sigmoid_backward(saved_hard_sigmoid, c),
        2 * (sub_3 * c) + minimum,
    )


def example_rectified(key):
    x = normal(fold(key, SITES["x"]), (50,), FLOAT)  # [50]  activations.lee:86
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:87
    d_c = relu(x)  # [50]  activations.lee:88
    return (c * d_c).sum(), relu_backward(x, c), d_c


def example_leaky(key):
    x = normal(fold(key, SITES["x"]), (50,), FLOAT)  # [50]  activations.lee:92
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:93
    d_c, saved_leaky_relu = leaky_relu_saved(x)  # activations.lee:94
    return (c * d_c).sum(), leaky_relu_backward(saved_leaky_relu, c), d_c


def example_learned_slope(key):
    net = ParametricReLU(4)  # activations.lee:98
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  activations.lee:99
    select, saved_net = net.forward_saved(x)  # activations.lee:100
    d_net, d_x = net.forward_backward(x, saved_net, 2 * select)
    return (select * select).sum(), net.at(d_net), d_x


def example_largest_piece(key):
    net = Maxout(5, 3, pieces=4, key=fold(key, SITES["net"]))  # activations.lee:104
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  activations.lee:105
    max_, saved_net = net.forward_saved(x)  # activations.lee:106
    d_net, d_x = net.forward_backward(x, saved_net, 2 * max_)
    return (max_ * max_).sum(), net.at(d_net), d_x


def example_shares(key):
    z = normal(fold(key, SITES["z"]), (9, 5), FLOAT) * 2  # [9, 5]  activations.lee:110
    c = normal(fold(key, SITES["c"]), (9, 5), FLOAT)  # [9, 5]  activations.lee:111
    d_c = torch.softmax(z, dim=1)  # [9, 5]  activations.lee:58
    mul = c * d_c  # [9, 5]  activations.lee:112
    return mul.sum(), d_c * (c - mul.sum(dim=1, keepdim=True)), d_c  # activations.lee:58


def example_shares_as_printed(key):
    z = normal(fold(key, SITES["z"]), (9, 5), FLOAT) * 2  # [9, 5]  activations.lee:116
    c = normal(fold(key, SITES["c"]), (9, 5), FLOAT)  # [9, 5]  activations.lee:117
    d_c, saved_softmaxAsPrinted = softmaxAsPrinted_saved(z)  # activations.lee:118
    return (c * d_c).sum(), softmaxAsPrinted_backward(saved_softmaxAsPrinted, d_c, c), d_c


def example_hyperbolic(key):
    x = normal(fold(key, SITES["x"]), (50,), FLOAT) * 2  # [50]  activations.lee:122
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:123
    d_c, saved_tanh = tanh_saved(x)  # activations.lee:124
    return (c * d_c).sum(), tanh_backward(saved_tanh, c), d_c


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "net": 0xF087C76970C91612,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "z": 0x3041FD28A7B04184,
}


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


def largest(x, axes, keepdims=False):
    """The largest entry, -inf of nothing; the gradient goes to the first of equals."""
    for axis in reversed(axes):
        some = x.shape[axis] > 0
        x = x.max(axis, keepdim=keepdims).values if some else x.sum(axis, keepdim=keepdims) - math.inf
    return x


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


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
