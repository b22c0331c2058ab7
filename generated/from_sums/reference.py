"""A convolutional network with nothing taken for granted (lecture: CNN): convolution is written as its sum.

The compiler sees that the sum over a window is a convolution and calls the library's; the NumPy reference shows the
same sum as windows and one matrix product.

Made from specs/convolution/from_sums.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/convolution/from_sums.lee
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


def conv2d(x, kernel, stride=1, padding=0):
    """Each filter, over all channels, against every window.

    x [n, c, h, w], kernel [o, c, k, k] -> [n, o, out_h, out_w]
    """
    n, _, _, w = x.shape
    o, c, k, _ = kernel.shape
    out_w = (2 * padding + w - k) // stride + 1
    # [n, c, h + 2 * padding, 2 * padding + w]  from_sums.lee:23
    pad = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=0.0)
    windows_2 = window(window(pad, 3, k, stride, 1), 2, k, stride, 1)  # [n, c, out_h, k, out_w, k]
    transpose = windows_2.transpose(0, 1, 3, 5, 2, 4)  # [n, c, k, k, out_h, out_w]
    columns = transpose.reshape(n, c * k**2, -1)  # [n, c * k**2, out_h * out_w]
    y = (kernel.reshape(o, c * k**2) @ columns).reshape(n, o, -1, out_w)  # [n, o, out_h, out_w]
    return y  # [n, o, out_h, out_w]


def conv2d_backward(x, kernel, padding, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    n, _, h, w = x.shape
    o, c, k, _ = kernel.shape
    out_w = d_y.shape[3]
    # gradient of y[n, o, i, j] = sum[c, u, v](padded[n, c, stride*i + u, stride*j + v] * kerne..   from_sums.lee:23
    reshape_2 = d_y.reshape(n, o, -1)  # [n, o, out_h * out_w]
    contract = kernel.reshape(o, c * k**2).T @ reshape_2  # [n, c * k**2, out_h * out_w]
    reshape_3 = contract.reshape(n, c, k, k, -1, out_w)  # [n, c, k, k, out_h, out_w]
    transpose = reshape_3.transpose(0, 1, 4, 2, 5, 3)  # [n, c, out_h, k, out_w, k]
    # [n, c, h + 2 * padding, 2 * padding + w]
    unwindows_ = unwindows(transpose, (2, 4), (h + 2 * padding, 2 * padding + w), (stride, stride), (1, 1))
    d_x = unwindows_[:, :, padding : h + padding, padding : padding + w]  # [n, c, h, w]
    # [n, c, h + 2 * padding, 2 * padding + w]
    pad = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=0.0)
    windows_2 = window(window(pad, 3, k, stride, 1), 2, k, stride, 1)  # [n, c, out_h, k, out_w, k]
    transpose_2 = windows_2.transpose(0, 1, 3, 5, 2, 4)  # [n, c, k, k, out_h, out_w]
    contract_2 = reshape_2 @ transpose_2.reshape(n, c * k**2, -1).mT  # [n, o, c * k**2]
    d_kernel = contract_2.reshape(n, o, c, k, k).sum(axis=0)  # [o, c, k, k]
    return d_x, d_kernel


def conv2d_backward_2(x, k, padding, stride, d_y):
    """From d_y to the gradient by kernel."""
    n, c, _, _ = x.shape
    o = d_y.shape[1]
    # gradient of y[n, o, i, j] = sum[c, u, v](padded[n, c, stride*i + u, stride*j + v] * kerne..   from_sums.lee:23
    # [n, c, h + 2 * padding, 2 * padding + w]
    pad = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=0.0)
    windows_2 = window(window(pad, 3, k, stride, 1), 2, k, stride, 1)  # [n, c, out_h, k, out_w, k]
    transpose = windows_2.transpose(0, 1, 3, 5, 2, 4)  # [n, c, k, k, out_h, out_w]
    columns = transpose.reshape(n, c * k**2, -1)  # [n, c * k**2, out_h * out_w]
    d_kernel = (d_y.reshape(n, o, -1) @ columns.mT).reshape(n, o, c, k, k).sum(axis=0)  # [o, c, k, k]
    return d_kernel  # [o, c, k, k]


def conv_transpose2d(x, kernel, stride=2):
    """The other way round: every entry adds its share of the filter to a window.

    x [n, c, h, w], kernel [c, o, k, k] -> [n, o, h * stride + k - stride, stride * w + k - stride]
    """
    n, c, h, w = x.shape
    _, o, k, _ = kernel.shape
    contract = kernel.reshape(c, k**2 * o).T @ x.reshape(n, c, h * w)  # [n, k**2 * o, h * w]  from_sums.lee:34
    reshape_3 = contract.reshape(n, o, k, k, h, w)  # [n, o, k, k, h, w]
    transpose = reshape_3.transpose(0, 1, 4, 2, 5, 3)  # [n, o, h, k, w, k]
    # [n, o, h * stride + k - stride, stride * w + k - stride]
    y_2 = unwindows(transpose, (2, 4), (h * stride + k - stride, stride * w + k - stride), (stride, stride), (1, 1))
    return y_2  # [n, o, h * stride + k - stride, stride * w + k - stride]


def conv_transpose2d_backward(x, kernel, stride, d_y_2):
    """From d_y_2 to the gradients by x and kernel."""
    n, _, h, w = x.shape
    c, o, k, _ = kernel.shape
    # gradient of y[n, o, stride*i + u, stride*j + v] += sum[c](x[n, c, i, j] * kernel[c, o, u,..   from_sums.lee:34
    windows_2 = window(window(d_y_2, 3, k, stride, 1), 2, k, stride, 1)  # [n, o, h, k, w, k]
    columns = windows_2.transpose(0, 1, 3, 5, 2, 4).reshape(n, k**2 * o, h * w)  # [n, k**2 * o, h * w]
    d_x = (kernel.reshape(c, k**2 * o) @ columns).reshape(n, c, h, w)  # [n, c, h, w]
    d_kernel = (x.reshape(n, c, h * w) @ columns.mT).reshape(n, c, o, k, k).sum(axis=0)  # [c, o, k, k]
    return d_x, d_kernel


def max_pool_(x, size=2):
    """The largest of each block.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = max_pool(x, (size, size), (size, size), (1, 1))  # [n, c, h // size, w // size]  from_sums.lee:40
    return y  # [n, c, h // size, w // size]


def max_pool_backward(x, y, size, d_y):
    """From d_y to the gradient by x."""
    # gradient of y[n, c, i in h // size, j in w // size] = max[u in size, v in size](x[n, c, s..   from_sums.lee:40
    d_x = max_pool_gradient(d_y, x, y, (size, size), (size, size), (1, 1))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


class Conv(Model):
    """Conv(inputs, outputs, k, stride, padding)"""

    members = ("kernel", "bias")

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, *, key=(0, 0)):
        self.inputs, self.outputs, self.k, self.stride, self.padding = inputs, outputs, k, stride, padding
        mul, mul_2 = kaiming_uniform(inputs * k**2)  # from_sums.lee:45
        key_2 = fold(key, SITES["kernel"])
        uniform_ = uniform(key_2, (outputs, inputs, k, k), FLOAT)  # [outputs, inputs, k, k]
        self.kernel = mul + (mul_2 - mul) * uniform_  # [outputs, inputs, k, k]
        self.bias = np.zeros(outputs, dtype=FLOAT)  # [outputs]  from_sums.lee:46
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, out_h, out_w]"""
        # [n, outputs, out_h, out_w]  from_sums.lee:49
        y = conv2d(x, self.kernel, stride=self.stride, padding=self.padding)
        return y + self.bias[:, None, None]  # [n, outputs, out_h, out_w]

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return conv2d(x, kernel, stride, padding) + bias[:, None, None]   from_sums.lee:49
        d_bias = d_y.sum(axis=0).sum(axis=(1, 2))  # [outputs]
        d_x, d_kernel = conv2d_backward(x, self.kernel, self.padding, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x

    @staticmethod
    def forward_backward_parameters(x, k, padding, stride, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return conv2d(x, kernel, stride, padding) + bias[:, None, None]   from_sums.lee:49
        d_bias = d_y.sum(axis=0).sum(axis=(1, 2))  # [outputs]
        d_kernel = conv2d_backward_2(x, k, padding, stride, d_y)  # [outputs, inputs, k, k]
        return {"kernel": d_kernel, "bias": d_bias}


class BatchNorm(Model):
    """Every channel with the mean and deviation of its batch; later with those that training saw (Ioffe, Szegedy 2015)."""

    members = ("gamma", "beta", "mean_", "var_")
    states = ("mean_", "var_")

    def __init__(self, channels, momentum=0.1, eps=1e-5):
        self.channels, self.momentum, self.eps = channels, momentum, eps
        self.gamma = np.ones(channels, dtype=FLOAT)  # [channels]  from_sums.lee:54
        self.beta = np.zeros(channels, dtype=FLOAT)  # [channels]  from_sums.lee:55
        self.mean_ = np.zeros(channels, dtype=FLOAT)  # [channels]
        self.var_ = np.ones(channels, dtype=FLOAT)  # [channels]  from_sums.lee:54
        self.lay_out()

    def forward(self, x, training=False):
        """x [n, channels, h, w] -> [n, channels, h, w]"""
        if training:
            return self.forward_training(x)
        sqrt = np.sqrt(self.var_[:, None, None] + self.eps)  # [channels, 1, 1]  from_sums.lee:68
        z = (x - self.mean_[:, None, None]) / sqrt  # [n, channels, h, w]
        return self.gamma[:, None, None] * z + self.beta[:, None, None]  # [n, channels, h, w]  from_sums.lee:69

    def forward_training(self, x):
        """x [n, channels, h, w] -> [n, channels, h, w]"""
        n, _, h, w = x.shape
        mu = x.mean(axis=(0, 2, 3))  # [channels]  from_sums.lee:61
        sub = x - mu[:, None, None]  # [n, channels, h, w]  from_sums.lee:62
        var = (sub**2).mean(axis=(0, 2, 3))  # [channels]
        self.mean_[...] = (1 - self.momentum) * self.mean_ + self.momentum * mu  # [channels]  from_sums.lee:63
        div = self.momentum * var * (h * n * w) / (h * n * w - 1)  # [channels]  from_sums.lee:64
        self.var_[...] = (1 - self.momentum) * self.var_ + div  # [channels]
        centred = x - x.mean(axis=(0, 2, 3), keepdims=True)  # [n, channels, h, w]  from_sums.lee:68
        add = (centred**2).mean(axis=(0, 2, 3), keepdims=True) + self.eps  # [1, channels, 1, 1]
        z = centred / np.sqrt(add)  # [n, channels, h, w]
        return self.gamma[:, None, None] * z + self.beta[:, None, None]  # [n, channels, h, w]  from_sums.lee:69

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, h, w = x.shape
        mu = x.mean(axis=(0, 2, 3))  # [channels]  from_sums.lee:61
        sub = x - mu[:, None, None]  # [n, channels, h, w]  from_sums.lee:62
        var = (sub**2).mean(axis=(0, 2, 3))  # [channels]
        self.mean_[...] = (1 - self.momentum) * self.mean_ + self.momentum * mu  # [channels]  from_sums.lee:63
        div = self.momentum * var * (h * n * w) / (h * n * w - 1)  # [channels]  from_sums.lee:64
        self.var_[...] = (1 - self.momentum) * self.var_ + div  # [channels]
        centred = x - x.mean(axis=(0, 2, 3), keepdims=True)  # [n, channels, h, w]  from_sums.lee:68
        add = (centred**2).mean(axis=(0, 2, 3), keepdims=True) + self.eps  # [1, channels, 1, 1]
        z = centred / np.sqrt(add)  # [n, channels, h, w]
        return self.gamma[:, None, None] * z + self.beta[:, None, None], z  # from_sums.lee:69

    def forward_backward(self, x, z, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return gamma[:, None, None] * z + beta[:, None, None]   from_sums.lee:69
        d_beta = d_y.sum(axis=0).sum(axis=(1, 2))  # [channels]
        d_z = d_y * self.gamma[:, None, None]  # [n, channels, h, w]
        d_gamma = (d_y * z).sum(axis=0).sum(axis=(1, 2))  # [channels]
        # gradient of z = (x - mu[:, None, None]) / sqrt(var[:, None, None] + eps)   from_sums.lee:68
        centred = x - x.mean(axis=(0, 2, 3), keepdims=True)  # [n, channels, h, w]
        deviation = np.sqrt((centred**2).mean(axis=(0, 2, 3), keepdims=True) + self.eps)  # [1, channels, 1, 1]
        normal_ = centred / deviation  # [n, channels, h, w]
        mean_2 = (d_z * normal_).mean(axis=(0, 2, 3), keepdims=True)  # [1, channels, 1, 1]
        sub = d_z - d_z.mean(axis=(0, 2, 3), keepdims=True)  # [n, channels, h, w]
        d_x = (sub - normal_ * mean_2) / deviation  # [n, channels, h, w]
        return {"gamma": d_gamma, "beta": d_beta}, d_x

    def forward_eval_saved(self, x):
        """As forward_eval, and what its gradient needs."""
        sqrt = np.sqrt(self.var_[:, None, None] + self.eps)  # [channels, 1, 1]  from_sums.lee:68
        z = (x - self.mean_[:, None, None]) / sqrt  # [n, channels, h, w]
        return self.gamma[:, None, None] * z + self.beta[:, None, None], (sqrt, z)  # from_sums.lee:69

    def forward_eval_backward(self, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        sqrt, z = saved
        # gradient of return gamma[:, None, None] * z + beta[:, None, None]   from_sums.lee:69
        d_beta = d_y.sum(axis=0).sum(axis=(1, 2))  # [channels]
        d_z = d_y * self.gamma[:, None, None]  # [n, channels, h, w]
        d_gamma = (d_y * z).sum(axis=0).sum(axis=(1, 2))  # [channels]
        # gradient of z = (x - mu[:, None, None]) / sqrt(var[:, None, None] + eps)   from_sums.lee:68
        d_x = d_z / sqrt  # [n, channels, h, w]
        return {"gamma": d_gamma, "beta": d_beta}, d_x


class DigitNet(Model):
    """Two convolutions with pooling see ever larger parts of the image; a linear layer decides."""

    members = ("conv1", "norm1", "conv2", "head")

    def __init__(self, side=8, classes=10, *, key=(0, 0)):
        self.side, self.classes = side, classes
        self.conv1 = Conv(1, 16, padding=1, key=fold(key, SITES["conv1"]))  # from_sums.lee:74
        self.norm1 = BatchNorm(16)  # from_sums.lee:75
        self.conv2 = Conv(16, 32, padding=1, key=fold(key, SITES["conv2"]))  # from_sums.lee:76
        self.head = Linear(32 * (side // 4) ** 2, classes, key=fold(key, SITES["head"]))  # from_sums.lee:77
        self.lay_out()

    def forward(self, image, training=False):
        """image [n, 1, side, side] -> [n, classes]"""
        if training:
            return self.forward_training(image)
        n = image.shape[0]
        h = max_pool_(relu(self.norm1(self.conv1(image))))  # [n, 16, side // 2, side // 2]  from_sums.lee:80
        h_2 = max_pool_(relu(self.conv2(h)))  # [n, 32, side // 4, side // 4]  from_sums.lee:81
        return self.head(h_2.reshape(n, 32 * (self.side // 4) ** 2))  # [n, classes]  from_sums.lee:82

    def forward_training(self, image):
        """image [n, 1, side, side] -> [n, classes]"""
        n = image.shape[0]
        norm1_out = self.norm1(self.conv1(image), training=True)  # [n, 16, side, side]  from_sums.lee:80
        h = max_pool_(relu(norm1_out))  # [n, 16, side // 2, side // 2]
        h_2 = max_pool_(relu(self.conv2(h)))  # [n, 32, side // 4, side // 4]  from_sums.lee:81
        return self.head(h_2.reshape(n, 32 * (self.side // 4) ** 2))  # [n, classes]  from_sums.lee:82

    def forward_saved(self, image):
        """As forward, and what its gradient needs."""
        n = image.shape[0]
        conv1_out = self.conv1(image)  # [n, 16, side, side]  from_sums.lee:80
        norm1_out, saved_norm1 = self.norm1.forward_saved(conv1_out)
        select = relu(norm1_out)  # [n, 16, side, side]
        h = max_pool_(select)  # [n, 16, side // 2, side // 2]
        select_2 = relu(self.conv2(h))  # [n, 32, side // 2, side // 2]  from_sums.lee:81
        h_2 = max_pool_(select_2)  # [n, 32, side // 4, side // 4]
        # from_sums.lee:82
        return self.head(h_2.reshape(n, 32 * (self.side // 4) ** 2)), (conv1_out, saved_norm1, select, h, select_2, h_2)

    def forward_backward(self, image, saved, d_y):
        """From d_y to the gradients by the parameters and image."""
        conv1_out, saved_norm1, select, h, select_2, h_2 = saved
        n = image.shape[0]
        # gradient of return head(flatten(h, from = 1))   from_sums.lee:82
        d_head, d_reshape = self.head.forward_backward(h_2.reshape(n, 32 * (self.side // 4) ** 2), d_y)
        d_h_2 = d_reshape.reshape(n, 32, self.side // 4, self.side // 4)  # [n, 32, side // 4, side // 4]
        # gradient of h = max_pool(relu(conv2(h)))   from_sums.lee:81
        # [n, 32, side // 2, side // 2]
        d_conv2_out = relu_backward(select_2, max_pool_backward(select_2, h_2, 2, d_h_2))
        d_conv2, d_h = self.conv2.forward_backward(h, d_conv2_out)
        # gradient of h = max_pool(relu(norm1(conv1(image))))   from_sums.lee:80
        d_norm1_out = relu_backward(select, max_pool_backward(select, h, 2, d_h))  # [n, 16, side, side]
        d_norm1, d_conv1_out = self.norm1.forward_backward(conv1_out, saved_norm1, d_norm1_out)
        d_conv1, d_image = self.conv1.forward_backward(image, d_conv1_out)
        return {"conv1": d_conv1, "norm1": d_norm1, "conv2": d_conv2, "head": d_head}, d_image

    def forward_backward_parameters(self, image, saved, d_y):
        """From d_y to the gradient by the parameters."""
        conv1_out, saved_norm1, select, h, select_2, h_2 = saved
        n = image.shape[0]
        # gradient of return head(flatten(h, from = 1))   from_sums.lee:82
        d_head, d_reshape = self.head.forward_backward(h_2.reshape(n, 32 * (self.side // 4) ** 2), d_y)
        d_h_2 = d_reshape.reshape(n, 32, self.side // 4, self.side // 4)  # [n, 32, side // 4, side // 4]
        # gradient of h = max_pool(relu(conv2(h)))   from_sums.lee:81
        # [n, 32, side // 2, side // 2]
        d_conv2_out = relu_backward(select_2, max_pool_backward(select_2, h_2, 2, d_h_2))
        d_conv2, d_h = self.conv2.forward_backward(h, d_conv2_out)
        # gradient of h = max_pool(relu(norm1(conv1(image))))   from_sums.lee:80
        d_norm1_out = relu_backward(select, max_pool_backward(select, h, 2, d_h))  # [n, 16, side, side]
        d_norm1, d_conv1_out = self.norm1.forward_backward(conv1_out, saved_norm1, d_norm1_out)
        d_conv1 = Conv.forward_backward_parameters(image, 3, 1, 1, d_conv1_out)
        return {"conv1": d_conv1, "norm1": d_norm1, "conv2": d_conv2, "head": d_head}


def fit(epochs=10, batch=64, rate=2e-3, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    net = DigitNet(key=run.key("net"))  # from_sums.lee:87
    opt = Adam(lr=rate)  # from_sums.lee:88
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for image, label in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_step(net, opt, image, label))  # from_sums.lee:91
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # from_sums.lee:92
    return net


def fit_step(net, opt, image, label):
    """One step of fit."""
    add_3, saved_net = net.forward_saved(image)  # from_sums.lee:91
    d_add_3 = cross_entropy_backward(add_3, label, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(image, saved_net, d_add_3)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_3, label)


def example_digit(key):
    net = DigitNet(key=fold(key, SITES["net"]))  # from_sums.lee:97
    image = uniform(fold(key, SITES["image"]), (3, 1, 8, 8), FLOAT)  # [3, 1, 8, 8]  from_sums.lee:98
    label = randint(fold(key, SITES["label"]), (3,), 0, 10)  # int[3]  from_sums.lee:99
    add_3, saved_net = net.copy().forward_saved(image)  # from_sums.lee:100
    d_add_3 = cross_entropy_backward(add_3, label, FLOAT(1.0))  # [3, 10]
    d_net, d_image = net.forward_backward(image, saved_net, d_add_3)
    return cross_entropy(add_3, label), net.at(d_net), d_image


def example_spread_again(key):
    """A window and its transpose: the sizes go back to where they were."""
    x = normal(fold(key, SITES["x"]), (2, 3, 7, 9), FLOAT)  # [2, 3, 7, 9]  from_sums.lee:105
    kernel = normal(fold(key, SITES["kernel"]), (4, 3, 3, 3), FLOAT)  # [4, 3, 3, 3]  from_sums.lee:106
    y_2 = conv2d(x, kernel, stride=2)  # [2, 4, 3, 4]  from_sums.lee:107
    back = conv_transpose2d(y_2, kernel)  # [2, 3, 7, 9]  from_sums.lee:108
    d_back = 2 * back  # [2, 3, 7, 9]
    d_y_2, d_kernel_2 = conv_transpose2d_backward(y_2, kernel, 2, d_back)
    d_x, d_kernel_3 = conv2d_backward(x, kernel, 0, 2, d_y_2)  # from_sums.lee:107
    return (back**2).sum(), d_x, d_kernel_2 + d_kernel_3


def example_averages(key):
    """Out of training, with the averages it begins with."""
    norm1 = BatchNorm(3)  # from_sums.lee:115
    x = 1 + 2 * normal(fold(key, SITES["x"]), (4, 3, 5, 2), FLOAT)  # [4, 3, 5, 2]  from_sums.lee:116
    c = normal(fold(key, SITES["c"]), (4, 3, 5, 2), FLOAT)  # [4, 3, 5, 2]  from_sums.lee:117
    norm1_out, saved_norm1 = norm1.forward_saved(x)  # from_sums.lee:118
    norm1_out_2, saved_norm1_ = norm1.forward_eval_saved(x)
    mul_3 = norm1_out_2**2  # [4, 3, 5, 2]
    d_norm1, d_x_2 = norm1.forward_eval_backward(saved_norm1_, 2 * (c * norm1_out_2))
    d_norm1_, d_x_3 = norm1.forward_backward(x, saved_norm1, c)
    return (
        (c * norm1_out).sum() + (c * mul_3).sum(),
        norm1.at({"gamma": d_norm1["gamma"] + d_norm1_["gamma"], "beta": d_norm1["beta"] + d_norm1_["beta"]}),
        d_x_2 + d_x_3,
        mul_3 + norm1_out,
    )


def kaiming_uniform(fan_in, gain=1.0):
    """Uniform in ± gain √(3 / fan_in), of variance gain² / fan_in (He et al. 2015); gain √2 goes with relu."""
    mul_2 = math.sqrt(3 / fan_in) * gain  # init.lee:12
    return -mul_2, mul_2


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
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "conv1": 0x8854C97F58980E7B,
    "conv2": 0x12CDF365F51A69AF,
    "head": 0xBD7890018BD219D5,
    "image": 0x86C9701471CF0710,
    "kernel": 0x273FEA903E119357,
    "label": 0x97BB9DAEC28EDB5C,
    "net": 0xF087C76970C91612,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
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
