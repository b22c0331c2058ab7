"""A convolutional net that plays Go (inventory E12): the board is an image, the next move a class.

A board holds 1 for the player's own stones, -1 for the other's, 0 where nothing stands.

Made from specs/convolution/go.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/convolution/go.lee
"""

from __future__ import annotations

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


def beside(x):
    """The sum over the four neighbours of each point.

    x [n, s, s] -> [n, s, s]
    """
    n, s, _ = x.shape
    cross = np.array(((0.0, 1.0, 0.0), (1.0, 0.0, 1.0), (0.0, 1.0, 0.0)), FLOAT)  # [3, 3]  go.lee:14
    y = conv2d(x[:, None], cross[None, None], padding=1)  # [n, 1, s, s]  go.lee:15
    return y.reshape(n, s, s)  # [n, s, s]


def alive(stones, empty, reach):
    """The stones whose group touches an empty point: life spreads from stone to stone, `reach` points far.

    stones [n, s, s], empty [n, s, s] -> [n, s, s]
    """
    living = stones * (beside(empty) > 0).astype(FLOAT)  # [n, s, s]  go.lee:20
    # go.lee:21
    for step in range(reach):
        living = alive_step(living, stones)
    return living  # [n, s, s]


def alive_step(living, stones):
    """living [n, s, s], stones [n, s, s] -> [n, s, s]"""
    living_3 = stones * (living + beside(living) > 0).astype(FLOAT)  # [n, s, s]  go.lee:22
    return living_3  # [n, s, s]


def legal(board, reach):
    """1 where the player may put a stone: the point is empty, and the stone takes others or its own group lives.

    board [n, s, s] -> [n, s, s]
    """
    n, s, _ = board.shape
    add = (np.arange(s) * s)[:, None] + np.arange(s)  # int[s, s]  go.lee:28
    select = np.where(add == np.arange(s**2)[:, None, None], FLOAT(1.0), 0.0)  # [s**2, s, s]
    put = np.broadcast_to(select, (n, s**2, s, s))  # [n, s**2, s, s]
    after = np.where(select > 0, 1, board[:, None])  # [n, s**2, s, s]  go.lee:29
    placed = after.reshape(n * s**2, s, s)  # [n * s**2, s, s]  go.lee:30
    cast = (placed < 0).astype(FLOAT)  # [n * s**2, s, s]  go.lee:31
    empty = (placed == 0).astype(FLOAT)  # [n * s**2, s, s]
    taken = (cast - alive(cast, empty, reach)).sum(axis=(1, 2))  # [n * s**2]  go.lee:32
    living_4_2 = alive((placed > 0).astype(FLOAT), empty, reach)  # [n * s**2, s, s]  go.lee:33
    lives = (put.reshape(n * s**2, s, s) * living_4_2).sum(axis=(1, 2))  # [n * s**2]
    reshape_4 = (taken + lives > 0).astype(FLOAT).reshape(n, s, s)  # [n, s, s]  go.lee:34
    return (board == 0).astype(FLOAT) * reshape_4  # [n, s, s]


class Player(Model):
    """Without pooling, which would lose where a stone stands; moves that the rules forbid are never chosen."""

    members = ("conv1", "conv2", "move")

    def __init__(self, side, width=8, *, key=(0, 0)):
        self.side, self.width = side, width
        self.conv1 = Conv(3, width, padding=1, key=fold(key, SITES["conv1"]))  # go.lee:42
        self.conv2 = Conv(width, width, padding=1, key=fold(key, SITES["conv2"]))  # go.lee:43
        self.move = Conv(width, 1, k=1, key=fold(key, SITES["move"]))  # go.lee:44
        self.lay_out()

    def forward(self, board):
        """board [n, side, side] -> [n, side**2]"""
        n = board.shape[0]
        cast_3 = (board == 0).astype(FLOAT)  # [n, side, side]  go.lee:47
        cast = (board > 0).astype(FLOAT)  # [n, side, side]
        planes = np.stack((cast, (board < 0).astype(FLOAT), cast_3), axis=1)  # [n, 3, side, side]
        h = relu(self.conv2(relu(self.conv1(planes))))  # [n, width, side, side]  go.lee:48
        return self.move(h).reshape(n, self.side**2)  # [n, side**2]  go.lee:49

    def forward_saved(self, board):
        """As forward, and what its gradient needs."""
        n = board.shape[0]
        cast_3 = (board == 0).astype(FLOAT)  # [n, side, side]  go.lee:47
        cast = (board > 0).astype(FLOAT)  # [n, side, side]
        planes = np.stack((cast, (board < 0).astype(FLOAT), cast_3), axis=1)  # [n, 3, side, side]
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
    log_softmax_ = log_softmax(np.where(gt, net(board), -np.inf), (1,))  # [n, net.side**2]  go.lee:55
    surprise = -log_softmax_[np.arange(n), inside(move)]  # [n]
    return surprise.mean()  # go.lee:56


def imitation_saved(net, board, allowed, move):
    """As imitation, and what its gradient needs."""
    n = board.shape[0]
    reshape_4, saved_net = net.forward_saved(board)  # go.lee:54
    gt = allowed.reshape(n, net.side**2) > 0  # bool[n, net.side**2]
    log_softmax_ = log_softmax(np.where(gt, reshape_4, -np.inf), (1,))  # [n, net.side**2]  go.lee:55
    surprise = -log_softmax_[np.arange(n), inside(move)]  # [n]
    return surprise.mean(), (saved_net, gt, log_softmax_)  # go.lee:56


def imitation_backward_parameters(net, move, saved, d_y):
    """From d_y to the gradient by net."""
    saved_net, gt, log_softmax_ = saved
    n = move.shape[0]
    # gradient of surprise[i] = -log(share[i, move[i]])   go.lee:55
    d_gather = np.broadcast_to(-(d_y / n), (n,))  # [n]
    d_log_softmax = scatter_add(d_gather, (np.arange(n), move), (n, net.side**2))  # [n, net.side**2]
    sum_ = d_log_softmax.sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of z = where(mask, x, -inf)   prelude.lee:120
    d_reshape_4 = masked(d_log_softmax - np.exp(log_softmax_) * sum_, gt)  # [n, net.side**2]
    # gradient of share = softmax(net(board), axis = 1, mask = flatten(allowed, from = 1) > 0)   go.lee:54
    d_net = net.forward_backward_parameters(saved_net, d_reshape_4)
    return d_net


def example_played(key):
    net = Player(5, width=4, key=fold(key, SITES["net"]))  # go.lee:60
    draw = -1.5 + 3 * uniform(fold(key, SITES["draw"]), (6, 5, 5), FLOAT)  # [6, 5, 5]  go.lee:61
    board = np.where(draw > 0.5, 1, np.where(draw < -0.5, FLOAT(-1.0), 0.0))  # [6, 5, 5]  go.lee:62
    c = normal(fold(key, SITES["c"]), (6, 25), FLOAT)  # [6, 25]  go.lee:63
    d_c, saved_net = net.forward_saved(board)  # go.lee:64
    d_net = net.forward_backward_parameters(saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_c


def example_judged(key):
    net = Player(5, width=4, key=fold(key, SITES["net"]))  # go.lee:68
    draw = -1.5 + 3 * uniform(fold(key, SITES["draw"]), (6, 5, 5), FLOAT)  # [6, 5, 5]  go.lee:69
    board = np.where(draw > 0.5, 1, np.where(draw < -0.5, FLOAT(-1.0), 0.0))  # [6, 5, 5]  go.lee:70
    allowed = legal(board, 25)  # [6, 5, 5]  go.lee:71
    move = allowed.reshape(6, 25).argmax(axis=1)  # int[6]  go.lee:72
    value, saved_imitation = imitation_saved(net, board, allowed, move)  # go.lee:73
    d_net = imitation_backward_parameters(net, move, saved_imitation, FLOAT(1.0))
    return value, net.at(d_net)


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def conv2d(x, kernel, stride=1, padding=0, dilation=1):
    """yₙₒᵢⱼ = Σ xₙ,c,sᵢ₊ᵤ,sⱼ₊ᵥ Kₒcᵤᵥ

    x [n, c, h, w], kernel [o, c, kh, kw] -> [n, o, out_h, out_w]
    """
    n, _, _, w = x.shape
    o, c, kh, kw = kernel.shape
    out_w = (dilation + 2 * padding + w - dilation * kw - 1) // stride + 1
    # [n, c, h + 2 * padding, 2 * padding + w]  nn.lee:83
    pad = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=0.0)
    windows = window(pad, 3, kw, stride, dilation)  # [n, c, h + 2 * padding, out_w, kw]
    windows_2 = window(windows, 2, kh, stride, dilation)  # [n, c, out_h, kh, out_w, kw]
    transpose = windows_2.transpose(0, 1, 3, 5, 2, 4)  # [n, c, kh, kw, out_h, out_w]
    columns = transpose.reshape(n, c * kh * kw, -1)  # [n, c * kh * kw, out_h * out_w]
    y = (kernel.reshape(o, c * kh * kw) @ columns).reshape(n, o, -1, out_w)  # [n, o, out_h, out_w]
    return y  # [n, o, out_h, out_w]


def conv2d_backward(x, kernel, dilation, padding, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    n, _, h, w = x.shape
    o, c, kh, kw = kernel.shape
    out_w = d_y.shape[3]
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    reshape_2 = d_y.reshape(n, o, -1)  # [n, o, out_h * out_w]
    contract = kernel.reshape(o, c * kh * kw).T @ reshape_2  # [n, c * kh * kw, out_h * out_w]
    reshape_3 = contract.reshape(n, c, kh, kw, -1, out_w)  # [n, c, kh, kw, out_h, out_w]
    transpose = reshape_3.transpose(0, 1, 4, 2, 5, 3)  # [n, c, out_h, kh, out_w, kw]
    # [n, c, h + 2 * padding, 2 * padding + w]
    unwindows_ = unwindows(
        transpose, (2, 4), (h + 2 * padding, 2 * padding + w), (stride, stride), (dilation, dilation)
    )
    d_x = unwindows_[:, :, padding : h + padding, padding : padding + w]  # [n, c, h, w]
    # [n, c, h + 2 * padding, 2 * padding + w]
    pad = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=0.0)
    windows = window(pad, 3, kw, stride, dilation)  # [n, c, h + 2 * padding, out_w, kw]
    windows_2 = window(windows, 2, kh, stride, dilation)  # [n, c, out_h, kh, out_w, kw]
    transpose_2 = windows_2.transpose(0, 1, 3, 5, 2, 4)  # [n, c, kh, kw, out_h, out_w]
    contract_2 = reshape_2 @ transpose_2.reshape(n, c * kh * kw, -1).mT  # [n, o, c * kh * kw]
    d_kernel = contract_2.reshape(n, o, c, kh, kw).sum(axis=0)  # [o, c, kh, kw]
    return d_x, d_kernel


def conv2d_backward_2(x, dilation, kh, kw, padding, stride, d_y):
    """From d_y to the gradient by kernel."""
    n, c, _, _ = x.shape
    o = d_y.shape[1]
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    # [n, c, h + 2 * padding, 2 * padding + w]
    pad = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=0.0)
    windows = window(pad, 3, kw, stride, dilation)  # [n, c, h + 2 * padding, out_w, kw]
    windows_2 = window(windows, 2, kh, stride, dilation)  # [n, c, out_h, kh, out_w, kw]
    transpose = windows_2.transpose(0, 1, 3, 5, 2, 4)  # [n, c, kh, kw, out_h, out_w]
    columns = transpose.reshape(n, c * kh * kw, -1)  # [n, c * kh * kw, out_h * out_w]
    contract = d_y.reshape(n, o, -1) @ columns.mT  # [n, o, c * kh * kw]
    d_kernel = contract.reshape(n, o, c, kh, kw).sum(axis=0)  # [o, c, kh, kw]
    return d_kernel  # [o, c, kh, kw]


class Conv(Model):
    """Convolution of images with k × k windows; before a normalisation it needs no bias."""

    members = ("kernel", "bias")

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, dilation=1, *, key=(0, 0)):
        self.inputs, self.outputs, self.k = inputs, outputs, k
        self.stride, self.padding, self.dilation = stride, padding, dilation
        div, div_2 = fan_in_uniform(inputs * k**2)  # nn.lee:105
        key_2 = fold(key, SITES["kernel"])
        uniform_ = uniform(key_2, (outputs, inputs, k, k), FLOAT)  # [outputs, inputs, k, k]
        uniform_2 = uniform(fold(key, SITES["bias"]), (outputs,), FLOAT)  # [outputs]  nn.lee:107
        self.kernel = div + (div_2 - div) * uniform_  # [outputs, inputs, k, k]  nn.lee:105
        self.bias = div + (div_2 - div) * uniform_2  # [outputs]  nn.lee:107
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, out_h, out_w]"""
        # [n, outputs, out_h, out_w]  nn.lee:110
        y_2 = conv2d(x, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)
        return y_2 + self.bias[:, None, None]  # [n, outputs, out_h, out_w]  nn.lee:112

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return y + bias[:, None, None]   nn.lee:112
        d_bias = d_y.sum(axis=0).sum(axis=(1, 2))  # [outputs]
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_x, d_kernel = conv2d_backward(x, self.kernel, self.dilation, self.padding, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x

    @staticmethod
    def forward_backward_parameters(x, dilation, k, padding, stride, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return y + bias[:, None, None]   nn.lee:112
        d_bias = d_y.sum(axis=0).sum(axis=(1, 2))  # [outputs]
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_kernel = conv2d_backward_2(x, dilation, k, k, padding, stride, d_y)  # [outputs, inputs, k, k]
        return {"kernel": d_kernel, "bias": d_bias}


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    return np.maximum(x, 0)  # [x_0, x_1, x_2, x_3]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1, x_2, x_3]
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


def window(x, axis, size, stride=1, dilation=1):
    """A view of windows along an axis: entry (i, u) is i * stride + u * dilation, as many i as fit."""
    count = (x.shape[axis] - (size - 1) * dilation - 1) // stride + 1
    shape = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    step = x.strides[axis]
    strides = (*x.strides[:axis], step * stride, step * dilation, *x.strides[axis + 1 :])
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)


def unwindows(x, axes, sizes, strides, dilations, out=None):
    """The same along several axes, counted before any is folded, in increasing order."""
    widths = [x.shape[axis + 1] for axis in axes]
    shape = list(x.shape)
    for axis, size in zip(reversed(axes), reversed(sizes), strict=True):
        shape[axis : axis + 2] = [size]
    whole = np.empty(shape, x.dtype) if out is None else out
    whole.fill(0)
    for offsets in np.ndindex(*widths):
        source, target = [slice(None)] * x.ndim, [slice(None)] * whole.ndim
        for i, (axis, u, stride, dilation) in enumerate(zip(axes, offsets, strides, dilations, strict=True)):
            start = u * dilation
            source[axis + 1], target[axis - i] = u, slice(start, start + x.shape[axis] * stride, stride)
        whole[tuple(target)] += x[tuple(source)]
    return whole


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
