"""Handwritten digits: a small convolutional network (lecture: CNN).

Two convolutions with pooling look at ever larger parts of the image, a linear layer decides.

Made from specs/digits.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/digits.lee
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


class Digits(Model):
    """Digits(side, classes)"""

    members = ("conv1", "norm1", "conv2", "norm2", "head")

    def __init__(self, side=8, classes=10, *, key=(0, 0)):
        self.side, self.classes = side, classes
        self.conv1 = Conv(1, 16, padding=1, key=fold(key, SITES["conv1"]))  # digits.lee:14
        self.norm1 = BatchNorm(16)  # digits.lee:15
        self.conv2 = Conv(16, 32, padding=1, key=fold(key, SITES["conv2"]))  # digits.lee:16
        self.norm2 = BatchNorm(32)  # digits.lee:17
        self.head = Linear(32 * (side // 4) ** 2, classes, key=fold(key, SITES["head"]))  # digits.lee:18
        self.lay_out()

    def forward(self, image, training=False):
        """image [n, 1, side, side] -> [n, classes]"""
        if training:
            return self.forward_training(image)
        n = image.shape[0]
        norm1_out = self.norm1(self.conv1(image).reshape(n, 16, self.side**2))  # [n, 16, side**2]  digits.lee:21
        h = max_pool_(relu(norm1_out.reshape(n, 16, self.side, self.side)))  # [n, 16, side // 2, side // 2]
        # [n, 32, (side // 2)**2]  digits.lee:22
        norm2_out = self.norm2(self.conv2(h).reshape(n, 32, (self.side // 2) ** 2))
        select_2 = relu(norm2_out.reshape(n, 32, self.side // 2, self.side // 2))  # [n, 32, side // 2, side // 2]
        h_2 = max_pool_(select_2)  # [n, 32, side // 4, side // 4]
        return self.head(h_2.reshape(n, 32 * (self.side // 4) ** 2))  # [n, classes]  digits.lee:23

    def forward_training(self, image):
        """image [n, 1, side, side] -> [n, classes]"""
        n = image.shape[0]
        # [n, 16, side**2]  digits.lee:21
        norm1_out = self.norm1(self.conv1(image).reshape(n, 16, self.side**2), training=True)
        h = max_pool_(relu(norm1_out.reshape(n, 16, self.side, self.side)))  # [n, 16, side // 2, side // 2]
        conv2_out_flat = self.conv2(h).reshape(n, 32, (self.side // 2) ** 2)  # [n, 32, (side // 2)**2]  digits.lee:22
        norm2_out = self.norm2(conv2_out_flat, training=True)  # [n, 32, (side // 2)**2]
        select_2 = relu(norm2_out.reshape(n, 32, self.side // 2, self.side // 2))  # [n, 32, side // 2, side // 2]
        h_2 = max_pool_(select_2)  # [n, 32, side // 4, side // 4]
        return self.head(h_2.reshape(n, 32 * (self.side // 4) ** 2))  # [n, classes]  digits.lee:23

    def forward_saved(self, image):
        """As forward, and what its gradient needs."""
        n = image.shape[0]
        conv1_out_flat = self.conv1(image).reshape(n, 16, self.side**2)  # [n, 16, side**2]  digits.lee:21
        norm1_out, saved_norm1 = self.norm1.forward_saved(conv1_out_flat)
        select = relu(norm1_out.reshape(n, 16, self.side, self.side))  # [n, 16, side, side]
        h = max_pool_(select)  # [n, 16, side // 2, side // 2]
        conv2_out_flat = self.conv2(h).reshape(n, 32, (self.side // 2) ** 2)  # [n, 32, (side // 2)**2]  digits.lee:22
        norm2_out, saved_norm2 = self.norm2.forward_saved(conv2_out_flat)
        select_2 = relu(norm2_out.reshape(n, 32, self.side // 2, self.side // 2))  # [n, 32, side // 2, side // 2]
        h_2 = max_pool_(select_2)  # [n, 32, side // 4, side // 4]
        saved = conv1_out_flat, saved_norm1, select, h, conv2_out_flat, saved_norm2, select_2, h_2
        return self.head(h_2.reshape(n, 32 * (self.side // 4) ** 2)), saved  # digits.lee:23

    def forward_backward(self, image, saved, d_y):
        """From d_y to the gradients by the parameters and image."""
        conv1_out_flat, saved_norm1, select, h, conv2_out_flat, saved_norm2, select_2, h_2 = saved
        n = image.shape[0]
        # gradient of return head(flatten(h, from = 1))   digits.lee:23
        d_head, d_reshape_5 = self.head.forward_backward(h_2.reshape(n, 32 * (self.side // 4) ** 2), d_y)
        d_h_2 = d_reshape_5.reshape(n, 32, self.side // 4, self.side // 4)  # [n, 32, side // 4, side // 4]
        # gradient of h = max_pool(relu(norm2(conv2(h))))   digits.lee:22
        # [n, 32, side // 2, side // 2]
        d_reshape_4 = relu_backward(select_2, max_pool_backward(select_2, h_2, 2, d_h_2))
        d_norm2_out = d_reshape_4.reshape(n, 32, (self.side // 2) ** 2)  # [n, 32, (side // 2)**2]
        d_norm2, d_conv2_out_flat = self.norm2.forward_backward(conv2_out_flat, saved_norm2, d_norm2_out)
        d_conv2_out = d_conv2_out_flat.reshape(n, 32, self.side // 2, self.side // 2)  # [n, 32, side // 2, side // 2]
        d_conv2, d_h = self.conv2.forward_backward(h, d_conv2_out)
        # gradient of h = max_pool(relu(norm1(conv1(image))))   digits.lee:21
        d_reshape_2 = relu_backward(select, max_pool_backward(select, h, 2, d_h))  # [n, 16, side, side]
        d_norm1_out = d_reshape_2.reshape(n, 16, self.side**2)  # [n, 16, side**2]
        d_norm1, d_conv1_out_flat = self.norm1.forward_backward(conv1_out_flat, saved_norm1, d_norm1_out)
        d_conv1_out = d_conv1_out_flat.reshape(n, 16, self.side, self.side)  # [n, 16, side, side]
        d_conv1, d_image = self.conv1.forward_backward(image, d_conv1_out)
        return {"conv1": d_conv1, "norm1": d_norm1, "conv2": d_conv2, "norm2": d_norm2, "head": d_head}, d_image

    def forward_backward_parameters(self, image, saved, d_y):
        """From d_y to the gradient by the parameters."""
        conv1_out_flat, saved_norm1, select, h, conv2_out_flat, saved_norm2, select_2, h_2 = saved
        n = image.shape[0]
        # gradient of return head(flatten(h, from = 1))   digits.lee:23
        d_head, d_reshape_5 = self.head.forward_backward(h_2.reshape(n, 32 * (self.side // 4) ** 2), d_y)
        d_h_2 = d_reshape_5.reshape(n, 32, self.side // 4, self.side // 4)  # [n, 32, side // 4, side // 4]
        # gradient of h = max_pool(relu(norm2(conv2(h))))   digits.lee:22
        # [n, 32, side // 2, side // 2]
        d_reshape_4 = relu_backward(select_2, max_pool_backward(select_2, h_2, 2, d_h_2))
        d_norm2_out = d_reshape_4.reshape(n, 32, (self.side // 2) ** 2)  # [n, 32, (side // 2)**2]
        d_norm2, d_conv2_out_flat = self.norm2.forward_backward(conv2_out_flat, saved_norm2, d_norm2_out)
        d_conv2_out = d_conv2_out_flat.reshape(n, 32, self.side // 2, self.side // 2)  # [n, 32, side // 2, side // 2]
        d_conv2, d_h = self.conv2.forward_backward(h, d_conv2_out)
        # gradient of h = max_pool(relu(norm1(conv1(image))))   digits.lee:21
        d_reshape_2 = relu_backward(select, max_pool_backward(select, h, 2, d_h))  # [n, 16, side, side]
        d_norm1_out = d_reshape_2.reshape(n, 16, self.side**2)  # [n, 16, side**2]
        d_norm1, d_conv1_out_flat = self.norm1.forward_backward(conv1_out_flat, saved_norm1, d_norm1_out)
        d_conv1_out = d_conv1_out_flat.reshape(n, 16, self.side, self.side)  # [n, 16, side, side]
        d_conv1 = Conv.forward_backward_parameters(image, 1, 3, 1, 1, d_conv1_out)
        return {"conv1": d_conv1, "norm1": d_norm1, "conv2": d_conv2, "norm2": d_norm2, "head": d_head}


def example_small(key):
    """One gradient of the whole network, on noise."""
    net = Digits(key=fold(key, SITES["net"]))  # digits.lee:28
    image = normal(fold(key, SITES["image"]), (3, 1, 8, 8), FLOAT)  # [3, 1, 8, 8]  digits.lee:29
    label = randint(fold(key, SITES["label"]), (3,), 0, 10)  # int[3]  digits.lee:30
    add, saved_net = net.copy().forward_saved(image)  # digits.lee:31
    d_add = cross_entropy_backward(add, label, FLOAT(1.0))  # [3, 10]
    d_net, d_image = net.forward_backward(image, saved_net, d_add)
    return cross_entropy(add, label), net.at(d_net), d_image


def fit(epochs=12, batch=64, rate=2e-3, *, run=None):
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
    net = Digits(key=run.key("net"))  # digits.lee:36
    opt = Adam(lr=rate)  # digits.lee:37
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for image, label in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_step(net, opt, image, label))  # digits.lee:40
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # digits.lee:41
    return net


def fit_step(net, opt, image, label):
    """One step of fit."""
    add, saved_net = net.forward_saved(image)  # digits.lee:40
    d_add = cross_entropy_backward(add, label, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(image, saved_net, d_add)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add, label)


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

    members = ("kernel",)

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, dilation=1, *, key=(0, 0)):
        self.inputs, self.outputs, self.k = inputs, outputs, k
        self.stride, self.padding, self.dilation = stride, padding, dilation
        div, div_2 = fan_in_uniform(inputs * k**2)  # nn.lee:105
        key_2 = fold(key, SITES["kernel"])
        uniform_ = uniform(key_2, (outputs, inputs, k, k), FLOAT)  # [outputs, inputs, k, k]
        self.kernel = div + (div_2 - div) * uniform_  # [outputs, inputs, k, k]
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, out_h, out_w]"""
        # [n, outputs, out_h, out_w]  nn.lee:110
        y_2 = conv2d(x, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)
        return y_2  # [n, outputs, out_h, out_w]

    def forward_backward(self, x, d_y_2):
        """From d_y_2 to the gradients by the parameters and x."""
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_x, d_kernel = conv2d_backward(x, self.kernel, self.dilation, self.padding, self.stride, d_y_2)
        return {"kernel": d_kernel}, d_x

    @staticmethod
    def forward_backward_parameters(x, dilation, k, padding, stride, d_y_2):
        """From d_y_2 to the gradient by the parameters."""
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_kernel = conv2d_backward_2(x, dilation, k, k, padding, stride, d_y_2)  # [outputs, inputs, k, k]
        return {"kernel": d_kernel}  # [outputs, inputs, k, k]


def max_pool_(x, size=2):
    """The largest entry of each size × size square.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = max_pool(x, (size, size), (size, size), (1, 1))  # [n, c, h // size, w // size]  nn.lee:130
    return y  # [n, c, h // size, w // size]


def max_pool_backward(x, y, size, d_y):
    """From d_y to the gradient by x."""
    # gradient of y[n, c, i in h // size, j in w // size] = max[u in size, v in size](x[n, c, s..   nn.lee:130
    d_x = max_pool_gradient(d_y, x, y, (size, size), (size, size), (1, 1))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


class BatchNorm(Model):
    """(x - μ) / √(σ² + ε) · γ + β, over the batch and all positions (Ioffe & Szegedy 2015).

    Running averages serve when not training; the one of σ² takes the unbiased estimate.
    """

    members = ("gamma", "beta", "mean_", "var_")
    states = ("mean_", "var_")

    def __init__(self, channels, momentum=0.1, eps=1e-5):
        self.channels, self.momentum, self.eps = channels, momentum, eps
        self.gamma = np.ones(channels, dtype=FLOAT)  # [channels]  nn.lee:171
        self.beta = np.zeros(channels, dtype=FLOAT)  # [channels]  nn.lee:172
        self.mean_ = np.zeros(channels, dtype=FLOAT)  # [channels]
        self.var_ = np.ones(channels, dtype=FLOAT)  # [channels]  nn.lee:171
        self.lay_out()

    @packed(2, x=(2, 3))
    def forward(self, x, training=False):
        """x [n, channels, ..] -> [n, channels, ..]"""
        if training:
            return self.forward_training(x)
        mul = self.gamma[:, None] * (x - self.mean_[:, None])  # [n, channels, rows]  nn.lee:186
        div = mul / np.sqrt(self.var_[:, None] + self.eps)  # [n, channels, rows]
        return div + self.beta[:, None]  # [n, channels, rows]

    def forward_training(self, x):
        """x [n, channels, rows] -> [n, channels, rows]"""
        n, _, rows = x.shape
        mu = x.mean(axis=(0, 2))  # [channels]  nn.lee:178
        sub = x - mu[:, None]  # [n, channels, rows]  nn.lee:179
        var = (sub**2).mean(axis=(0, 2))  # [channels]
        self.mean_[...] = (1 - self.momentum) * self.mean_ + self.momentum * mu  # [channels]  nn.lee:181
        div = self.momentum * var * (n * rows) / (n * rows - 1)  # [channels]  nn.lee:182
        self.var_[...] = (1 - self.momentum) * self.var_ + div  # [channels]
        centred = x - x.mean(axis=(0, 2), keepdims=True)  # [n, channels, rows]  nn.lee:186
        add = (centred**2).mean(axis=(0, 2), keepdims=True) + self.eps  # [1, channels, 1]
        mul_8 = centred / np.sqrt(add) * self.gamma[:, None]  # [n, channels, rows]
        return mul_8 + self.beta[:, None]  # [n, channels, rows]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, rows = x.shape
        mu = x.mean(axis=(0, 2))  # [channels]  nn.lee:178
        sub = x - mu[:, None]  # [n, channels, rows]  nn.lee:179
        var = (sub**2).mean(axis=(0, 2))  # [channels]
        self.mean_[...] = (1 - self.momentum) * self.mean_ + self.momentum * mu  # [channels]  nn.lee:181
        div = self.momentum * var * (n * rows) / (n * rows - 1)  # [channels]  nn.lee:182
        self.var_[...] = (1 - self.momentum) * self.var_ + div  # [channels]
        centred = x - x.mean(axis=(0, 2), keepdims=True)  # [n, channels, rows]  nn.lee:186
        add = (centred**2).mean(axis=(0, 2), keepdims=True) + self.eps  # [1, channels, 1]
        normalise = centred / np.sqrt(add)  # [n, channels, rows]
        return normalise * self.gamma[:, None] + self.beta[:, None], normalise

    def forward_backward(self, x, normalise, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return gamma[:, None] * (x - mu[:, None]) / sqrt(var[:, None] + eps) + beta[:..   nn.lee:186
        d_beta = d_y.sum(axis=0).sum(axis=1)  # [channels]
        d_normalise = d_y * self.gamma[:, None]  # [n, channels, rows]
        centred = x - x.mean(axis=(0, 2), keepdims=True)  # [n, channels, rows]
        deviation = np.sqrt((centred**2).mean(axis=(0, 2), keepdims=True) + self.eps)  # [1, channels, 1]
        normal_ = centred / deviation  # [n, channels, rows]
        mean_2 = (d_normalise * normal_).mean(axis=(0, 2), keepdims=True)  # [1, channels, 1]
        sub = d_normalise - d_normalise.mean(axis=(0, 2), keepdims=True)  # [n, channels, rows]
        d_x = (sub - normal_ * mean_2) / deviation  # [n, channels, rows]
        d_gamma = (d_y * normalise).sum(axis=0).sum(axis=1)  # [channels]
        return {"gamma": d_gamma, "beta": d_beta}, d_x


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
    "conv1": 0x8854C97F58980E7B,
    "conv2": 0x12CDF365F51A69AF,
    "head": 0xBD7890018BD219D5,
    "image": 0x86C9701471CF0710,
    "kernel": 0x273FEA903E119357,
    "label": 0x97BB9DAEC28EDB5C,
    "net": 0xF087C76970C91612,
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
