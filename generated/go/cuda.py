"""A convolutional net that plays Go (inventory E12): the board is an image, the next move a class.

A board holds 1 for the player's own stones, -1 for the other's, 0 where nothing stands.

Made from specs/convolution/go.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/convolution/go.lee
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


def beside(x):
    """The sum over the four neighbours of each point.

    x [n, s, s] -> [n, s, s]
    """
    n, s, _ = x.shape
    # [3, 3]  go.lee:14
    cross = torch.tensor(((0.0, 1.0, 0.0), (1.0, 0.0, 1.0), (0.0, 1.0, 0.0)), dtype=FLOAT, device=x.device)
    y = conv2d(x[:, None], cross[None, None], padding=1)  # [n, 1, s, s]  go.lee:15
    return y.reshape(n, s, s)  # [n, s, s]


def alive(stones, empty, reach):
    """The stones whose group touches an empty point: life spreads from stone to stone, `reach` points far.

    stones [n, s, s], empty [n, s, s] -> [n, s, s]
    """
    living = stones * (beside(empty) > 0).to(FLOAT)  # [n, s, s]  go.lee:20
    # go.lee:21
    for step in range(reach):
        living = alive_step(living, stones)
    return living  # [n, s, s]


def alive_step(living, stones):
    """living [n, s, s], stones [n, s, s] -> [n, s, s]"""
    living_3 = stones * (living + beside(living) > 0).to(FLOAT)  # [n, s, s]  go.lee:22
    return living_3  # [n, s, s]


def legal(board, reach):
    """1 where the player may put a stone: the point is empty, and the stone takes others or its own group lives.

    board [n, s, s] -> [n, s, s]
    """
    n, s, _ = board.shape
    i = torch.arange(s, device=board.device)  # int[s]  go.lee:28
    reshape_2 = torch.arange(s**2, device=board.device)[:, None, None]  # int[s**2, 1, 1]
    eq = (i * s)[:, None] + i == reshape_2  # bool[s**2, s, s]
    select = torch.where(eq, torch.full((), 1.0, dtype=FLOAT, device=board.device), 0.0)  # [s**2, s, s]
    put = select.expand(n, s**2, s, s)  # [n, s**2, s, s]
    after = torch.where(select > 0, 1, board[:, None])  # [n, s**2, s, s]  go.lee:29
    placed = after.reshape(n * s**2, s, s)  # [n * s**2, s, s]  go.lee:30
    cast = (placed < 0).to(FLOAT)  # [n * s**2, s, s]  go.lee:31
    empty = (placed == 0).to(FLOAT)  # [n * s**2, s, s]
    taken = (cast - alive(cast, empty, reach)).sum(dim=(1, 2))  # [n * s**2]  go.lee:32
    living_4_2 = alive((placed > 0).to(FLOAT), empty, reach)  # [n * s**2, s, s]  go.lee:33
    lives = (put.reshape(n * s**2, s, s) * living_4_2).sum(dim=(1, 2))  # [n * s**2]
    reshape_4 = (taken + lives > 0).to(FLOAT).reshape(n, s, s)  # [n, s, s]  go.lee:34
    return (board == 0).to(FLOAT) * reshape_4  # [n, s, s]


class Player(Model):
    """Without pooling, which would lose where a stone stands; moves that the rules forbid are never chosen."""

    members = ("conv1", "conv2", "move")

    def __init__(self, side, width=8, *, key=(0, 0)):
        super().__init__()
        self.side, self.width = side, width
        self.conv1 = Conv(3, width, padding=1, key=fold(key, SITES["conv1"]))  # go.lee:42
        self.conv2 = Conv(width, width, padding=1, key=fold(key, SITES["conv2"]))  # go.lee:43
        self.move = Conv(width, 1, k=1, key=fold(key, SITES["move"]))  # go.lee:44

    def forward(self, board):
        """board [n, side, side] -> [n, side**2]"""
        n = board.shape[0]
        cast_3 = (board == 0).to(FLOAT)  # [n, side, side]  go.lee:47
        planes = torch.stack(((board > 0).to(FLOAT), (board < 0).to(FLOAT), cast_3), dim=1)  # [n, 3, side, side]
        h = relu(self.conv2(relu(self.conv1(planes))))  # [n, width, side, side]  go.lee:48
        return self.move(h).reshape(n, self.side**2)  # [n, side**2]  go.lee:49

    def forward_saved(self, board):
        """As forward, and what its gradient needs."""
        n = board.shape[0]
        cast_3 = (board == 0).to(FLOAT)  # [n, side, side]  go.lee:47
        planes = torch.stack(((board > 0).to(FLOAT), (board < 0).to(FLOAT), cast_3), dim=1)  # [n, 3, side, side]
        select = relu(self.conv1(planes))  # [n, width, side, side]  go.lee:48
        h = relu(self.conv2(select))  # [n, width, side, side]
        return self.move(h).reshape(n, self.side**2), (planes, select, h)  # go.lee:49

    def forward_backward_parameters(self, saved, d_y):
        """From d_y to the gradient by the parameters."""
        planes, select, h = saved
        n = planes.shape[0]
        # gradient of return flatten(move(h), from = 1)   go.lee:49
        d_move, d_h = self.move.forward_backward(h, d_y.reshape(n, 1, self.side, self.side))
        # gradient of h = relu(conv2(relu(conv1(planes))))   go.lee:48
        d_conv2, d_select = self.conv2.forward_backward(select, relu_backward(h, d_h))
        d_conv1_out = relu_backward(select, d_select)  # [n, width, side, side]
        d_conv1 = Conv.forward_backward_parameters(planes, 1, 3, 1, 1, d_conv1_out)
        return {"conv1": d_conv1, "conv2": d_conv2, "move": d_move}


def imitation(net, board, allowed, move):
    """Cross-entropy with the move that was played, among those that are allowed.

    board [n, net.side, net.side], allowed [n, net.side, net.side], move int[n] -> []
    """
    n = board.shape[0]
    gt = allowed.reshape(n, net.side**2) > 0  # bool[n, net.side**2]  go.lee:54
    log_softmax_ = log_softmax(torch.where(gt, net(board), -torch.inf), (1,))  # [n, net.side**2]  go.lee:55
    surprise = -log_softmax_[torch.arange(n, device=board.device), move]  # [n]
    return surprise.mean()  # go.lee:56


def imitation_saved(net, board, allowed, move):
    """As imitation, and what its gradient needs."""
    n = board.shape[0]
    reshape_4, saved_net = net.forward_saved(board)  # go.lee:54
    gt = allowed.reshape(n, net.side**2) > 0  # bool[n, net.side**2]
    log_softmax_ = log_softmax(torch.where(gt, reshape_4, -torch.inf), (1,))  # [n, net.side**2]  go.lee:55
    surprise = -log_softmax_[torch.arange(n, device=board.device), move]  # [n]
    return surprise.mean(), (saved_net, gt, log_softmax_)  # go.lee:56


def imitation_backward_parameters(net, move, saved, d_y):
    """From d_y to the gradient by net."""
    saved_net, gt, log_softmax_ = saved
    n = move.shape[0]
    # gradient of surprise[i] = -log(share[i, move[i]])   go.lee:55
    i = torch.arange(n, device=move.device)  # int[n]
    d_log_softmax = scatter_add((-(d_y / n)).expand(n), (i, move), (n, net.side**2))  # [n, net.side**2]
    sum_ = d_log_softmax.sum(dim=1, keepdim=True)  # [n, 1]
    d_z = d_log_softmax - torch.exp(log_softmax_) * sum_  # [n, net.side**2]
    # gradient of share = softmax(net(board), axis = 1, mask = flatten(allowed, from = 1) > 0)   go.lee:54
    d_net = net.forward_backward_parameters(saved_net, torch.where(gt, d_z, 0))
    return d_net


def example_played(key):
    net = Player(5, width=4, key=fold(key, SITES["net"]))  # go.lee:60
    draw = -1.5 + 3 * uniform(fold(key, SITES["draw"]), (6, 5, 5), FLOAT)  # [6, 5, 5]  go.lee:61
    lt = draw < -0.5  # bool[6, 5, 5]  go.lee:62
    select = torch.where(lt, torch.full((), -1.0, dtype=FLOAT), 0.0)  # [6, 5, 5]
    board = torch.where(draw > 0.5, 1, select)  # [6, 5, 5]
    c = normal(fold(key, SITES["c"]), (6, 25), FLOAT)  # [6, 25]  go.lee:63
    d_c, saved_net = net.forward_saved(board)  # go.lee:64
    d_net = net.forward_backward_parameters(saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_c


def example_judged(key):
    net = Player(5, width=4, key=fold(key, SITES["net"]))  # go.lee:68
    draw = -1.5 + 3 * uniform(fold(key, SITES["draw"]), (6, 5, 5), FLOAT)  # [6, 5, 5]  go.lee:69
    lt = draw < -0.5  # bool[6, 5, 5]  go.lee:70
    select = torch.where(lt, torch.full((), -1.0, dtype=FLOAT), 0.0)  # [6, 5, 5]
    board = torch.where(draw > 0.5, 1, select)  # [6, 5, 5]
    allowed = legal(board, 25)  # [6, 5, 5]  go.lee:71
    move = allowed.reshape(6, 25).argmax(dim=1)  # int[6]  go.lee:72
    value, saved_imitation = imitation_saved(net, board, allowed, move)  # go.lee:73
    d_value = torch.ones((), dtype=FLOAT)
    d_net = imitation_backward_parameters(net, move, saved_imitation, d_value)
    return value, net.at(d_net)


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def conv2d(x, kernel, stride=1, padding=0, dilation=1):
    """yₙₒᵢⱼ = Σ xₙ,c,sᵢ₊ᵤ,sⱼ₊ᵥ Kₒcᵤᵥ

    x [n, c, h, w], kernel [o, c, kh, kw] -> [n, o, out_h, out_w]
    """
    # [n, o, out_h, out_w]  nn.lee:83
    y = torch.nn.functional.conv2d(x, kernel, stride=stride, padding=padding, dilation=dilation)
    return y  # [n, o, out_h, out_w]


def conv2d_backward(x, kernel, dilation, padding, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    _, c, h, w = x.shape
    o, _, kh, kw = kernel.shape
    _, _, out_h, out_w = d_y.shape
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    # [n, c, h, w]
    d_x = torch.nn.functional.conv_transpose2d(
        d_y,
        kernel,
        stride=stride,
        padding=padding,
        output_padding=(
            dilation + h + 2 * padding + stride - dilation * kh - out_h * stride - 1,
            dilation + 2 * padding + stride + w - dilation * kw - out_w * stride - 1,
        ),
        dilation=dilation,
    )
    # [o, c, kh, kw]
    d_kernel = torch.nn.grad.conv2d_weight(x, (o, c, kh, kw), d_y, stride=stride, padding=padding, dilation=dilation)
    return d_x, d_kernel


def conv2d_backward_2(x, dilation, kh, kw, padding, stride, d_y):
    """From d_y to the gradient by kernel."""
    c = x.shape[1]
    o = d_y.shape[1]
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    # [o, c, kh, kw]
    d_kernel = torch.nn.grad.conv2d_weight(x, (o, c, kh, kw), d_y, stride=stride, padding=padding, dilation=dilation)
    return d_kernel  # [o, c, kh, kw]


class Conv(Model):
    """Convolution of images with k × k windows; before a normalisation it needs no bias."""

    members = ("kernel", "bias")

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, dilation=1, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs, self.k = inputs, outputs, k
        self.stride, self.padding, self.dilation = stride, padding, dilation
        div, div_2 = fan_in_uniform(inputs * k**2)  # nn.lee:105
        key_2 = fold(key, SITES["kernel"])
        uniform_ = uniform(key_2, (outputs, inputs, k, k), FLOAT)  # [outputs, inputs, k, k]
        uniform_2 = uniform(fold(key, SITES["bias"]), (outputs,), FLOAT)  # [outputs]  nn.lee:107
        self.kernel = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [outputs, inputs, k, k]  nn.lee:105
        self.bias = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [outputs]  nn.lee:107

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, out_h, out_w]"""
        # [n, outputs, out_h, out_w]  nn.lee:110
        y_2 = conv2d(x, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)
        return y_2 + self.bias[:, None, None]  # [n, outputs, out_h, out_w]  nn.lee:112

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return y + bias[:, None, None]   nn.lee:112
        d_bias = d_y.sum(dim=0).sum(dim=(1, 2))  # [outputs]
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_x, d_kernel = conv2d_backward(x, self.kernel, self.dilation, self.padding, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x

    @staticmethod
    def forward_backward_parameters(x, dilation, k, padding, stride, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return y + bias[:, None, None]   nn.lee:112
        d_bias = d_y.sum(dim=0).sum(dim=(1, 2))  # [outputs]
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_kernel = conv2d_backward_2(x, dilation, k, k, padding, stride, d_y)  # [outputs, inputs, k, k]
        return {"kernel": d_kernel, "bias": d_bias}


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    return torch.relu(x)  # [x_0, x_1, x_2, x_3]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "bias": 0x7246FEB96AC500B4,
    "c": 0x1B2C07CD64633F37,
    "conv1": 0x8854C97F58980E7B,
    "conv2": 0x12CDF365F51A69AF,
    "draw": 0x6DE1B78C5AC48669,
    "kernel": 0x273FEA903E119357,
    "move": 0x730748A8297BF486,
    "net": 0xF087C76970C91612,
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
