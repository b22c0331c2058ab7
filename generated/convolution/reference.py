"""Convolution and its parts (inventory E1 to E9): windows of an image, and what is done with each.

Made from specs/convolution/convolution.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/convolution/convolution.lee
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


def convolution(x, kernel, stride=1):
    """The inner product of each filter with every window, over all channels.

    x [n, c, h, w], kernel [o, c, k, l] -> [n, o, (h - k) // stride + 1, (w - l) // stride + 1]
    """
    n, _, h, w = x.shape
    o, c, k, l = kernel.shape
    # [n, c, (h - k) // stride + 1, k, (w - l) // stride + 1, l]  convolution.lee:10
    windows_2 = window(window(x, 3, l, stride, 1), 2, k, stride, 1)
    transpose = windows_2.transpose(0, 1, 3, 5, 2, 4)  # [n, c, k, l, (h - k) // stride + 1, (w - l) // stride + 1]
    # [n, c * k * l, ((h - k) // stride) * ((w - l) // stride) + (h - k) // stride + (w - l) // stride + 1]
    columns = transpose.reshape(n, c * k * l, -1)
    # [n, o, ((h - k) // stride) * ((w - l) // stride) + (h - k) // stride + (w - l) // stride + 1]
    contract = kernel.reshape(o, c * k * l) @ columns
    # [n, o, (h - k) // stride + 1, (w - l) // stride + 1]
    y = contract.reshape(n, o, (h - k) // stride + 1, (w - l) // stride + 1)
    return y  # [n, o, (h - k) // stride + 1, (w - l) // stride + 1]


def convolution_backward(x, kernel, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    n, _, h, w = x.shape
    o, c, k, l = kernel.shape
    # gradient of y[n, o, i, j] = sum[c, u, v](x[n, c, stride*i + u, stride*j + v] * kernel[o, ..   convolution.lee:10
    # [n, o, ((h - k) // stride) * ((w - l) // stride) + (h - k) // stride + (w - l) // stride + 1]
    reshape_2 = d_y.reshape(n, o, -1)
    # [n, c * k * l, ((h - k) // stride) * ((w - l) // stride) + (h - k) // stride + (w - l) // stride + 1]
    contract = kernel.reshape(o, c * k * l).T @ reshape_2
    # [n, c, k, l, (h - k) // stride + 1, (w - l) // stride + 1]
    reshape_3 = contract.reshape(n, c, k, l, (h - k) // stride + 1, (w - l) // stride + 1)
    transpose = reshape_3.transpose(0, 1, 4, 2, 5, 3)  # [n, c, (h - k) // stride + 1, k, (w - l) // stride + 1, l]
    d_x = unwindows(transpose, (2, 4), (h, w), (stride, stride), (1, 1))  # [n, c, h, w]
    # [n, c, (h - k) // stride + 1, k, (w - l) // stride + 1, l]
    windows_2 = window(window(x, 3, l, stride, 1), 2, k, stride, 1)
    transpose_2 = windows_2.transpose(0, 1, 3, 5, 2, 4)  # [n, c, k, l, (h - k) // stride + 1, (w - l) // stride + 1]
    contract_2 = reshape_2 @ transpose_2.reshape(n, c * k * l, -1).mT  # [n, o, c * k * l]
    d_kernel = contract_2.reshape(n, o, c, k, l).sum(axis=0)  # [o, c, k, l]
    return d_x, d_kernel


def convolution_backward_2(kernel, h, stride, w, d_y):
    """From d_y to the gradient by x."""
    o, c, k, l = kernel.shape
    n = d_y.shape[0]
    # gradient of y[n, o, i, j] = sum[c, u, v](x[n, c, stride*i + u, stride*j + v] * kernel[o, ..   convolution.lee:10
    # [n, c * k * l, ((h - k) // stride) * ((w - l) // stride) + (h - k) // stride + (w - l) // stride + 1]
    contract = kernel.reshape(o, c * k * l).T @ d_y.reshape(n, o, -1)
    # [n, c, k, l, (h - k) // stride + 1, (w - l) // stride + 1]
    reshape_3 = contract.reshape(n, c, k, l, (h - k) // stride + 1, (w - l) // stride + 1)
    transpose = reshape_3.transpose(0, 1, 4, 2, 5, 3)  # [n, c, (h - k) // stride + 1, k, (w - l) // stride + 1, l]
    d_x = unwindows(transpose, (2, 4), (h, w), (stride, stride), (1, 1))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


class Convolution(Model):
    """One channel of the result for every filter."""

    members = ("kernel", "bias")

    def __init__(self, inputs, filters, k=3, stride=1, *, key=(0, 0)):
        self.inputs, self.filters, self.k, self.stride = inputs, filters, k, stride
        key_2 = fold(key, SITES["kernel"])  # convolution.lee:16
        # [filters, inputs, k, k]
        self.kernel = 1 / math.sqrt(inputs * k**2) * normal(key_2, (filters, inputs, k, k), FLOAT)
        self.bias = normal(fold(key, SITES["bias"]), (filters,), FLOAT)  # [filters]  convolution.lee:17
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, filters, (h - k) // stride + 1, (w - k) // stride + 1]"""
        # [n, filters, (h - k) // stride + 1, (w - k) // stride + 1]  convolution.lee:20
        y = convolution(x, self.kernel, stride=self.stride)
        return y + self.bias[:, None, None]  # [n, filters, (h - k) // stride + 1, (w - k) // stride + 1]

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return convolution(x, kernel, stride) + bias[:, None, None]   convolution.lee:20
        d_bias = d_y.sum(axis=0).sum(axis=(1, 2))  # [filters]
        d_x, d_kernel = convolution_backward(x, self.kernel, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x


def volume(m1, m2, window_, stride, filters):
    """The number of entries that c filters make of an m₁ × m₂ image: (⌊(m - n) / s⌋ + 1) a side, and depth c."""
    # convolution.lee:25
    size = (
        (m1 - window_) // stride * ((m2 - window_) // stride) * filters
        + (m1 - window_) // stride * filters
        + (m2 - window_) // stride * filters
        + filters
    )
    return size * 1.0


def volumeAsPrinted(m1, m2, window_, stride, filters):
    """One set of notes has ((m₁ - n) / s) · ((m₂ - n) / s) · n: one too few a side, and the window for the depth."""
    return (m1 - window_) / stride * (m2 - window_) / stride * window_  # convolution.lee:30


def padded_with_zero(x, p):
    """p rows and columns of 0 at every side: with p = (k - 1) / 2 the size stays the same.

    x [n, c, h, w] -> [n, c, h + 2 * p, 2 * p + w]
    """
    # [n, c, h + 2 * p, 2 * p + w]  convolution.lee:35
    y = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=0.0)
    return y  # [n, c, h + 2 * p, 2 * p + w]


def padded_with_zero_backward(h, p, w, d_y):
    """From d_y to the gradient by x."""
    # gradient of return pad(x, (0, 0, p, p))   convolution.lee:35
    d_x = d_y[:, :, p : h + p, p : p + w]  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def padded_with_mean(x, p):
    """The mean of each image's channel around it.

    x [n, c, h, w] -> [n, c, h + 2 * p, 2 * p + w]
    """
    middle = x.mean(axis=(2, 3), keepdims=True)  # [n, c, 1, 1]  convolution.lee:40
    sub = x - middle  # [n, c, h, w]  convolution.lee:41
    pad = np.pad(sub, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=0.0)  # [n, c, h + 2 * p, 2 * p + w]
    return pad + middle  # [n, c, h + 2 * p, 2 * p + w]


def padded_with_mean_backward(h, p, w, d_y):
    """From d_y to the gradient by x."""
    # gradient of return pad(x - middle, (0, 0, p, p)) + middle   convolution.lee:41
    d_sub = d_y[:, :, p : h + p, p : p + w]  # [n, c, h, w]
    # gradient of middle = mean(x, axis = (2, 3), keepdims = true)   convolution.lee:40
    d_middle = d_y.sum(axis=(2, 3), keepdims=True) - d_sub.sum(axis=(2, 3), keepdims=True)  # [n, c, 1, 1]
    d_x = d_sub + d_middle / (h * w)  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def padded_with_edge_saved(x, p):
    """As padded_with_edge, and what its gradient needs."""
    _, _, h, w = x.shape
    minimum_2 = np.minimum(np.maximum(np.arange(2 * p + w) + -p, 0), w - 1)  # int[2 * p + w]  convolution.lee:46
    reshape = np.minimum(np.maximum(np.arange(h + 2 * p) + -p, 0), h - 1)[:, None]  # int[h + 2 * p, 1]
    gather = x.transpose((2, 3, 0, 1))[inside(reshape), inside(minimum_2)]  # [h + 2 * p, 2 * p + w, n, c]
    y = gather.transpose(2, 3, 0, 1)  # [n, c, h + 2 * p, 2 * p + w]
    return y, (minimum_2, reshape)


def padded_with_edge_backward(saved, h, p, w, d_y):
    """From d_y to the gradient by x."""
    minimum_2, reshape = saved
    n, c, _, _ = d_y.shape
    # gradient of y[n, c, i in h + 2*p, j in w + 2*p] = x[n, c, min(max(i - p, 0), h - 1), min(..   convolution.lee:46
    d_gather = d_y.transpose(2, 3, 0, 1)  # [h + 2 * p, 2 * p + w, n, c]
    d_x = scatter_add(d_gather, (reshape, minimum_2), (n, c, h, w), (2, 3))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


class TwoLayers(Model):
    """The filters of the second layer are as deep as the first has filters: 20 and 30 make 30 channels, not 600."""

    members = ("lower", "upper")

    def __init__(self, inputs=1, first=20, second=30, *, key=(0, 0)):
        self.inputs, self.first, self.second = inputs, first, second
        self.lower = Convolution(inputs, first, key=fold(key, SITES["lower"]))  # convolution.lee:52
        self.upper = Convolution(first, second, key=fold(key, SITES["upper"]))  # convolution.lee:53
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, second, h - 4, w - 4]"""
        return self.upper(relu(self.lower(x)))  # [n, second, h - 4, w - 4]  convolution.lee:56

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        select = relu(self.lower(x))  # [n, first, h - 2, w - 2]  convolution.lee:56
        return self.upper(select), select

    def forward_backward(self, x, select, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return upper(relu(lower(x)))   convolution.lee:56
        d_upper, d_select = self.upper.forward_backward(select, d_y)
        d_lower, d_x = self.lower.forward_backward(x, relu_backward(select, d_select))
        return {"lower": d_lower, "upper": d_upper}, d_x


class LocallyConnected(Model):
    """Every place has filters of its own: receptive fields without shared weights."""

    members = ("kernel", "bias")

    def __init__(self, inputs, filters, side, k=3, stride=1, *, key=(0, 0)):
        self.inputs, self.filters, self.side, self.k, self.stride = inputs, filters, side, k, stride
        self.places = (side - k) // stride + 1
        key_2 = fold(key, SITES["kernel"])  # convolution.lee:62
        # [filters, (side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k]
        normal_ = normal(key_2, (filters, (side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k), FLOAT)
        key_3 = fold(key, SITES["bias"])  # convolution.lee:63
        # [filters, (side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k]  convolution.lee:62
        self.kernel = 1 / math.sqrt(inputs * k**2) * normal_
        # [filters, (side - k) // stride + 1, (side - k) // stride + 1]  convolution.lee:63
        self.bias = normal(key_3, (filters, (side - k) // stride + 1, (side - k) // stride + 1), FLOAT)
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, side, side] -> [n, filters, (side - k) // stride + 1, (side - k) // stride + 1]"""
        n = x.shape[0]
        # [n, inputs, side, (side - k) // stride + 1, k]  convolution.lee:66
        windows = window(x, 3, self.k, self.stride, 1)
        # [n, inputs, (side - k) // stride + 1, k, (side - k) // stride + 1, k]
        windows_2 = window(windows, 2, self.k, self.stride, 1)
        # [(side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k, n]
        transpose = windows_2.transpose(2, 4, 1, 3, 5, 0)
        # [(side - k) // stride + 1, (side - k) // stride + 1, inputs * k**2, n]
        columns = transpose.reshape(
            (self.side - self.k) // self.stride + 1, (self.side - self.k) // self.stride + 1, self.inputs * self.k**2, n
        )
        # [(side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k, filters]
        transpose_2 = self.kernel.transpose(1, 2, 3, 4, 5, 0)
        # [(side - k) // stride + 1, (side - k) // stride + 1, inputs * k**2, filters]
        reshape = transpose_2.reshape(
            (self.side - self.k) // self.stride + 1,
            (self.side - self.k) // self.stride + 1,
            self.inputs * self.k**2,
            self.filters,
        )
        # [n, filters, (side - k) // stride + 1, (side - k) // stride + 1]
        y = (columns.mT @ reshape).transpose(2, 3, 0, 1) + self.bias
        return y  # [n, filters, (side - k) // stride + 1, (side - k) // stride + 1]

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        n = x.shape[0]
        # gradient of y[n, o, i, j] = sum[c, u, v](x[n, c, stride*i + u, stride*j + v] * kernel[o, ..   convolution.lee:66
        d_bias = d_y.sum(axis=0)  # [filters, (side - k) // stride + 1, (side - k) // stride + 1]
        # [(side - k) // stride + 1, (side - k) // stride + 1, filters, inputs, k, k]
        transpose_2 = self.kernel.transpose(1, 2, 0, 3, 4, 5)
        # [(side - k) // stride + 1, (side - k) // stride + 1, filters, inputs * k**2]
        reshape = transpose_2.reshape(
            (self.side - self.k) // self.stride + 1,
            (self.side - self.k) // self.stride + 1,
            self.filters,
            self.inputs * self.k**2,
        )
        # [(side - k) // stride + 1, (side - k) // stride + 1, n, inputs * k**2]
        contract = d_y.transpose(2, 3, 0, 1) @ reshape
        # [(side - k) // stride + 1, (side - k) // stride + 1, n, inputs, k, k]
        reshape_2 = contract.reshape(
            (self.side - self.k) // self.stride + 1,
            (self.side - self.k) // self.stride + 1,
            n,
            self.inputs,
            self.k,
            self.k,
        )
        # [n, inputs, (side - k) // stride + 1, k, (side - k) // stride + 1, k]
        transpose_3 = reshape_2.transpose(2, 3, 0, 4, 1, 5)
        # [n, inputs, side, side]
        d_x = unwindows(transpose_3, (2, 4), (self.side, self.side), (self.stride, self.stride), (1, 1))
        windows = window(x, 3, self.k, self.stride, 1)  # [n, inputs, side, (side - k) // stride + 1, k]
        # [n, inputs, (side - k) // stride + 1, k, (side - k) // stride + 1, k]
        windows_2 = window(windows, 2, self.k, self.stride, 1)
        # [(side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k, n]
        transpose_5 = windows_2.transpose(2, 4, 1, 3, 5, 0)
        # [(side - k) // stride + 1, (side - k) // stride + 1, inputs * k**2, n]
        columns = transpose_5.reshape(
            (self.side - self.k) // self.stride + 1, (self.side - self.k) // self.stride + 1, self.inputs * self.k**2, n
        )
        # [(side - k) // stride + 1, (side - k) // stride + 1, filters, inputs * k**2]
        contract_2 = d_y.transpose(2, 3, 1, 0) @ columns.mT
        # [(side - k) // stride + 1, (side - k) // stride + 1, filters, inputs, k, k]
        reshape_3 = contract_2.reshape(
            (self.side - self.k) // self.stride + 1,
            (self.side - self.k) // self.stride + 1,
            self.filters,
            self.inputs,
            self.k,
            self.k,
        )
        # [filters, (side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k]
        d_kernel = reshape_3.transpose(2, 0, 1, 3, 4, 5)
        return {"kernel": d_kernel, "bias": d_bias}, d_x


def as_matrix_saved(kernel, h, w):
    """As as_matrix, and what its gradient needs."""
    _, _, k, l = kernel.shape
    lt = np.arange(h) < (np.arange(h + 1 - k) + k)[:, None]  # bool[h + 1 - k, h]  convolution.lee:73
    logical_and = (np.arange(h + 1 - k)[:, None] <= np.arange(h)) & lt  # bool[h + 1 - k, h]
    reshape_6 = (np.arange(w + 1 - l)[:, None] <= np.arange(w))[:, None]  # bool[w + 1 - l, 1, w]
    lt_2 = np.arange(w) < (np.arange(w + 1 - l) + l)[:, None]  # bool[w + 1 - l, w]
    add_3 = (-np.arange(h + 1 - k))[:, None] + np.arange(h)  # int[h + 1 - k, h]  convolution.lee:74
    add_4 = (-np.arange(w + 1 - l))[:, None] + np.arange(w)  # int[w + 1 - l, w]
    reshape_10 = np.minimum(np.maximum(add_3, 0), k - 1)[:, None, :, None]  # int[h + 1 - k, 1, h, 1]
    reshape_11 = np.minimum(np.maximum(add_4, 0), l - 1)[:, None]  # int[w + 1 - l, 1, w]
    # bool[h + 1 - k, w + 1 - l, 1, h, w]  convolution.lee:73
    reshape_12 = (logical_and[:, None, :, None] & reshape_6 & lt_2[:, None])[:, :, None]
    # [h + 1 - k, w + 1 - l, h, w, o, c]  convolution.lee:74
    gather = kernel.transpose((2, 3, 0, 1))[reshape_10, reshape_11]
    # [o, h + 1 - k, w + 1 - l, c, h, w]  convolution.lee:72
    full = masked(gather.transpose(4, 0, 1, 5, 2, 3), reshape_12)
    return full, (reshape_10, reshape_11, reshape_12)


def as_matrix_backward(saved, k, l, d_full):
    """From d_full to the gradient by kernel."""
    reshape_10, reshape_11, reshape_12 = saved
    o, _, _, c, _, _ = d_full.shape
    # gradient of kernel[f, a, p - i, q - j],   convolution.lee:74
    d_gather = masked(d_full, reshape_12).transpose(1, 2, 4, 5, 0, 3)  # [h + 1 - k, w + 1 - l, h, w, o, c]
    d_kernel = scatter_add(d_gather, (reshape_10, reshape_11), (o, c, k, l), (2, 3))  # [o, c, k, l]
    return d_kernel  # [o, c, k, l]


def fully_connected(x, full):
    """Every entry of the result sees every entry of the image.

    x [n, c, h, w], full [o, i, j, c, h, w] -> [n, o, i, j]
    """
    n, c, h, w = x.shape
    o, i, j, _, _, _ = full.shape
    reshape_2 = full.reshape(i * j * o, c * h * w)  # [i * j * o, c * h * w]  convolution.lee:82
    y = (x.reshape(n, c * h * w) @ reshape_2.T).reshape(n, o, i, j)  # [n, o, i, j]
    return y  # [n, o, i, j]


def fully_connected_backward(x, full, d_y):
    """From d_y to the gradients by x and full."""
    n, c, h, w = x.shape
    o, i, j, _, _, _ = full.shape
    # gradient of y[m, f, p, q] = sum[a, r, s](x[m, a, r, s] * full[f, p, q, a, r, s])   convolution.lee:82
    reshape = d_y.reshape(n, i * j * o)  # [n, i * j * o]
    d_x = (reshape @ full.reshape(i * j * o, c * h * w)).reshape(n, c, h, w)  # [n, c, h, w]
    d_full = (reshape.T @ x.reshape(n, c * h * w)).reshape(o, i, j, c, h, w)  # [o, i, j, c, h, w]
    return d_x, d_full


def receptive_field(x, first, second):
    """The gradient of one result of two layers: what part of the image it depends on.

    x [n, c, h, w], first [a, c, k, k], second [b, a, k, k] -> [n, c, h, w]
    """
    n, _, h, w = x.shape
    b, _, k, _ = second.shape
    d_slice = np.ones((n, b, 1, 1), dtype=FLOAT)  # [n, b, 1, 1]  convolution.lee:89
    # [n, b, h + 2 - 2 * k, w + 2 - 2 * k]
    d_y_3 = unslice(d_slice, (n, b, h + 2 - 2 * k, w + 2 - 2 * k), (slice(0, n), slice(0, b), slice(1, 2), slice(2, 3)))
    # [n, a, h + 1 - k, w + 1 - k]  convolution.lee:88
    d_y = convolution_backward_2(second, h + 1 - k, 1, w + 1 - k, d_y_3)
    return convolution_backward_2(first, h, 1, w, d_y)  # [n, c, h, w]


def max_pool_(x, size=2):
    """The largest of each block.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = max_pool(x, (size, size), (size, size), (1, 1))  # [n, c, h // size, w // size]  convolution.lee:94
    return y  # [n, c, h // size, w // size]


def max_pool_backward(x, y, size, d_y):
    """From d_y to the gradient by x."""
    # gradient of y[n, c, i in h // size, j in w // size] = max[u in size, v in size](x[n, c, s..   convolution.lee:94
    d_x = max_pool_gradient(d_y, x, y, (size, size), (size, size), (1, 1))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def mean_pool(x, size=2):
    """The mean of each block.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = avg_pool(x, (size, size), (size, size))  # [n, c, h // size, w // size]  convolution.lee:100
    return y  # [n, c, h // size, w // size]


def mean_pool_backward(h, size, w, d_y):
    """From d_y to the gradient by x."""
    n, c, _, _ = d_y.shape
    # gradient of y[n, c, i in h // size, j in w // size] = mean[u in size, v in size](x[n, c, ..   convolution.lee:100
    reshape = (d_y / size**2)[:, :, :, None, :, None]  # [n, c, h // size, 1, w // size, 1]
    # [n, c, h // size, size, w // size, size]
    broadcast = np.broadcast_to(reshape, (n, c, h // size, size, w // size, size))
    d_x = unwindows(broadcast, (2, 4), (h, w), (size, size), (1, 1))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def subsampled(x, step=2):
    """Every other row and column is kept.

    x [n, c, h, w] -> [n, c, h // step, w // step]
    """
    _, _, h, w = x.shape
    # [n, c, h // step, w // step]  convolution.lee:106
    y = x[:, :, : h // step * step + 1 - step : step, : step * (w // step) + 1 - step : step]
    return y  # [n, c, h // step, w // step]


def subsampled_backward(h, step, w, d_y):
    """From d_y to the gradient by x."""
    n, c, _, _ = d_y.shape
    # gradient of y[n, c, i in h // step, j in w // step] = x[n, c, step*i, step*j]   convolution.lee:106
    # [n, c, h, w]
    d_x = unslice(
        d_y,
        (n, c, h, w),
        (
            slice(0, n),
            slice(0, c),
            slice(0, h // step * step + 1 - step, step),
            slice(0, step * (w // step) + 1 - step, step),
        ),
    )
    return d_x  # [n, c, h, w]


def flattened(x):
    """Row after row, in each row column after column, in each place channel after channel.

    x [n, c, h, w] -> [n, c * h * w]
    """
    n, c, h, w = x.shape
    y = x.transpose(0, 2, 3, 1)  # [n, h, w, c]  convolution.lee:112
    return y.reshape(n, c * h * w)  # [n, c * h * w]  convolution.lee:113


def flattened_backward(c, h, w, d_y):
    """From d_y to the gradient by x."""
    n = d_y.shape[0]
    # gradient of return reshape(y, [n, h * w * c])   convolution.lee:113
    d_y_ = d_y.reshape(n, h, w, c)  # [n, h, w, c]
    # gradient of y[n, i, j, k] = x[n, k, i, j]   convolution.lee:112
    d_x = d_y_.transpose(0, 3, 1, 2)  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def example_convolved(key):
    net = Convolution(3, 4, stride=2, key=fold(key, SITES["net"]))  # convolution.lee:117
    x = normal(fold(key, SITES["x"]), (2, 3, 9, 8), FLOAT)  # [2, 3, 9, 8]  convolution.lee:118
    net_out = net(x)  # [2, 4, 4, 3]  convolution.lee:119
    d_net, d_x = net.forward_backward(x, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_sizes():
    return volume(28, 28, 3, 1, 10)  # convolution.lee:123


def example_sizes_as_printed():
    return volumeAsPrinted(28, 28, 3, 1, 10)  # convolution.lee:127


def example_zeros_around(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 5, 4), FLOAT)  # [2, 3, 5, 4]  convolution.lee:131
    kernel = normal(fold(key, SITES["kernel"]), (4, 3, 3, 3), FLOAT)  # [4, 3, 3, 3]  convolution.lee:132
    pad = padded_with_zero(x, 1)  # [2, 3, 7, 6]  convolution.lee:133
    y = convolution(pad, kernel)  # [2, 4, 5, 4]
    d_pad, d_kernel = convolution_backward(pad, kernel, 1, 2 * y)
    return (y**2).sum(), padded_with_zero_backward(5, 1, 4, d_pad), d_kernel


def example_mean_around(key):
    x = 2 + normal(fold(key, SITES["x"]), (2, 3, 5, 4), FLOAT)  # [2, 3, 5, 4]  convolution.lee:137
    kernel = normal(fold(key, SITES["kernel"]), (4, 3, 3, 3), FLOAT)  # [4, 3, 3, 3]  convolution.lee:138
    add = padded_with_mean(x, 2)  # [2, 3, 9, 8]  convolution.lee:139
    y = convolution(add, kernel, stride=2)  # [2, 4, 4, 3]
    d_add, d_kernel = convolution_backward(add, kernel, 2, 2 * y)
    return (y**2).sum(), padded_with_mean_backward(5, 2, 4, d_add), d_kernel


def example_edge_around(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 5, 4), FLOAT)  # [2, 3, 5, 4]  convolution.lee:143
    kernel = normal(fold(key, SITES["kernel"]), (4, 3, 3, 3), FLOAT)  # [4, 3, 3, 3]  convolution.lee:144
    y, saved_padded_with_edge = padded_with_edge_saved(x, 2)  # convolution.lee:145
    y_2 = convolution(y, kernel, stride=2)  # [2, 4, 4, 3]
    d_y, d_kernel = convolution_backward(y, kernel, 2, 2 * y_2)
    d_x = padded_with_edge_backward(saved_padded_with_edge, 5, 2, 4, d_y)  # [2, 3, 5, 4]
    return (y_2**2).sum(), d_x, d_kernel


def example_deep(key):
    net = TwoLayers(key=fold(key, SITES["net"]))  # convolution.lee:149
    x = normal(fold(key, SITES["x"]), (2, 1, 8, 8), FLOAT)  # [2, 1, 8, 8]  convolution.lee:150
    add_2, saved_net = net.forward_saved(x)  # convolution.lee:151
    d_net, d_x = net.forward_backward(x, saved_net, 0.0020833333333333333 * add_2)
    return (add_2**2).mean(), net.at(d_net), d_x


def example_local(key):
    net = LocallyConnected(2, 4, 7, stride=2, key=fold(key, SITES["net"]))  # convolution.lee:155
    x = normal(fold(key, SITES["x"]), (3, 2, 7, 7), FLOAT)  # [3, 2, 7, 7]  convolution.lee:156
    net_out = net(x)  # [3, 4, 3, 3]  convolution.lee:157
    d_net, d_x = net.forward_backward(x, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_constrained(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 6, 5), FLOAT)  # [2, 3, 6, 5]  convolution.lee:161
    kernel = normal(fold(key, SITES["kernel"]), (4, 3, 3, 2), FLOAT)  # [4, 3, 3, 2]  convolution.lee:162
    full, saved_as_matrix = as_matrix_saved(kernel, 6, 5)  # convolution.lee:163
    y = fully_connected(x, full)  # [2, 4, 4, 4]
    d_x, d_full = fully_connected_backward(x, full, 2 * y)
    return (y**2).sum(), d_x, as_matrix_backward(saved_as_matrix, 3, 2, d_full)


def example_largest(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 7, 6), FLOAT)  # [2, 3, 7, 6]  convolution.lee:167
    y = max_pool_(x)  # [2, 3, 3, 3]  convolution.lee:168
    return (y**2).sum(), max_pool_backward(x, y, 2, 2 * y)


def example_average(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 7, 6), FLOAT)  # [2, 3, 7, 6]  convolution.lee:172
    y = mean_pool(x)  # [2, 3, 3, 3]  convolution.lee:173
    return (y**2).sum(), mean_pool_backward(7, 2, 6, 2 * y)


def example_sparse(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 8, 6), FLOAT)  # [2, 3, 8, 6]  convolution.lee:177
    y = subsampled(x)  # [2, 3, 4, 3]  convolution.lee:178
    return (y**2).sum(), subsampled_backward(8, 2, 6, 2 * y)


def example_vector(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  convolution.lee:182
    c = normal(fold(key, SITES["c"]), (2, 60), FLOAT)  # [2, 60]  convolution.lee:183
    d_c = flattened(x)  # [2, 60]  convolution.lee:184
    return (c * d_c).sum(), flattened_backward(3, 4, 5, c), d_c


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
    "kernel": 0x273FEA903E119357,
    "lower": 0x7F1D0025FF203118,
    "net": 0xF087C76970C91612,
    "upper": 0x4788846A75166F9F,
    "x": 0x4F586EF96743DF4A,
}


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


def window_entries(x, size, stride, dilation):
    """For every offset within a window along the last axes, the entries of x there, one a window: a strided view."""
    parts = [[]]
    for d, k, s, e in zip(x.shape[x.ndim - len(size) :], size, stride, dilation, strict=True):
        last = (d - e * (k - 1) - 1) // s * s  # where the last window begins
        parts = [[*part, slice(e * u, e * u + last + 1, s)] for part in parts for u in range(k)]
    for part in parts:
        yield x[(..., *part)]


def max_pool(x, size, stride, dilation, out=None):
    """The largest entry of every window along the last axes."""
    first, *others = window_entries(x, size, stride, dilation)
    y = np.empty(first.shape, x.dtype) if out is None else out
    np.copyto(y, first)
    for entries in others:
        np.maximum(y, entries, out=y)
    return y


def max_pool_gradient(g, x, y, size, stride, dilation, out=None):
    """g at the first entry of its window that is the largest, row by row; entries of several windows add up."""
    d_x = np.empty(x.shape, x.dtype) if out is None else out
    d_x.fill(0)
    how = size, stride, dilation
    apart = all(e * (k - 1) < s for k, s, e in zip(*how, strict=True))
    waiting, part = np.ones(y.shape, bool), np.empty(y.shape, y.dtype)
    for entries, d_entries in zip(window_entries(x, *how), window_entries(d_x, *how), strict=True):
        first = entries == y
        first &= waiting
        waiting ^= first
        if apart:
            masked(g, first, out=d_entries)
        else:
            d_entries += masked(g, first, out=part)
    return d_x


def avg_pool(x, size, stride, out=None):
    """The mean of every window along the last axes."""
    first, *others = window_entries(x, size, stride, [1] * len(size))
    y = np.empty(first.shape, x.dtype) if out is None else out
    np.copyto(y, first)
    for entries in others:
        y += entries
    y /= math.prod(size)
    return y


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


def normal(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2) >> 8).reshape(-1, 2).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    return pairs.ravel()[:n].reshape(shape).astype(dtype)
