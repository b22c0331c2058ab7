"""Codes that are learned without labels (inventory I25 to I38): auto-encoders and what is done with their codes.

Made from specs/representation/coding.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/representation/coding.lee
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


class AutoEncoder(Model):
    """AutoEncoder(d, hidden, code)"""

    members = ("encoder", "decoder")

    def __init__(self, d, hidden, code, *, key=(0, 0)):
        self.d, self.hidden, self.code = d, hidden, code
        self.encoder = MLP((d, hidden, code), key=fold(key, SITES["encoder"]))  # coding.lee:13
        self.decoder = MLP((code, hidden, d), key=fold(key, SITES["decoder"]))  # coding.lee:14
        self.lay_out()

    def forward(self, x):
        """x [n, d] -> [n, d]"""
        return self.decoder(self.encoder(x))  # [n, d]  coding.lee:17

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        add_2, saved_encoder = self.encoder.forward_saved(x)  # coding.lee:17
        add_2_2, saved_decoder = self.decoder.forward_saved(add_2)
        return add_2_2, (add_2, saved_encoder, saved_decoder)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        add_2, saved_encoder, saved_decoder = saved
        # gradient of return decoder(encoder(x))   coding.lee:17
        d_decoder, d_add_2 = self.decoder.forward_backward(add_2, saved_decoder, d_y)
        d_encoder, d_x = self.encoder.forward_backward(x, saved_encoder, d_add_2)
        return {"encoder": d_encoder, "decoder": d_decoder}, d_x

    def forward_backward_parameters(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        add_2, saved_encoder, saved_decoder = saved
        # gradient of return decoder(encoder(x))   coding.lee:17
        d_decoder, d_add_2 = self.decoder.forward_backward(add_2, saved_decoder, d_y)
        d_encoder = self.encoder.forward_backward_parameters(x, saved_encoder, d_add_2)
        return {"encoder": d_encoder, "decoder": d_decoder}


def reconstruction(net, x):
    """x [n, net.d] -> []"""
    sub = net(x) - x  # [n, net.d]  coding.lee:21
    return (sub**2).sum(axis=1).mean()


def reconstruction_saved(net, x):
    """As reconstruction, and what its gradient needs."""
    add_2_2, saved_net = net.forward_saved(x)  # coding.lee:21
    sub = add_2_2 - x  # [n, net.d]
    return (sub**2).sum(axis=1).mean(), (saved_net, sub)


def reconstruction_backward(net, x, saved, d_y):
    """From d_y to the gradients by net and x."""
    saved_net, sub = saved
    n = x.shape[0]
    # gradient of return mean(sum((net(x) - x) ** 2, axis = 1))   coding.lee:21
    d_sub = 2 * (d_y / n) * sub  # [n, net.d]
    d_net, d_x_3 = net.forward_backward(x, saved_net, d_sub)
    d_x = d_x_3 - d_sub  # [n, net.d]
    return d_net, d_x


def reconstruction_backward_parameters(net, x, saved, d_y):
    """From d_y to the gradient by net."""
    saved_net, sub = saved
    n = x.shape[0]
    # gradient of return mean(sum((net(x) - x) ** 2, axis = 1))   coding.lee:21
    d_net = net.forward_backward_parameters(x, saved_net, 2 * (d_y / n) * sub)
    return d_net


def reconstruction_2_saved(net, x):
    """As reconstruction_2, and what its gradient needs."""
    net_out, saved_net = net.forward_saved(x)  # coding.lee:21
    sub = net_out - x  # [n, net.d]
    return (sub**2).sum(axis=1).mean(), (saved_net, sub)


def reconstruction_2_backward(net, x, saved, d_mean):
    """From d_mean to the gradients by net and x."""
    saved_net, sub = saved
    n = x.shape[0]
    # gradient of return mean(sum((net(x) - x) ** 2, axis = 1))   coding.lee:21
    d_sub = 2 * (d_mean / n) * sub  # [n, net.d]
    d_net, d_x_3 = net.forward_backward(x, saved_net, d_sub)
    d_x = d_x_3 - d_sub  # [n, net.d]
    return d_net, d_x


def denoising_saved(net, x, noise):
    """As denoising, and what its gradient needs."""
    add = x + noise  # [n, net.d]  coding.lee:26
    add_2_2, saved_net = net.forward_saved(add)
    sub = add_2_2 - x  # [n, net.d]
    return (sub**2).sum(axis=1).mean(), (add, saved_net, sub)


def denoising_backward(net, saved, d_mean):
    """From d_mean to the gradients by net, x and noise."""
    add, saved_net, sub = saved
    n = add.shape[0]
    # gradient of return mean(sum((net(x + noise) - x) ** 2, axis = 1))   coding.lee:26
    d_sub = 2 * (d_mean / n) * sub  # [n, net.d]
    d_net, d_noise = net.forward_backward(add, saved_net, d_sub)
    d_x = d_noise - d_sub  # [n, net.d]
    return d_net, d_x, d_noise


def fit(epochs=12, batch=64, rate=3e-3, *, run=None):
    """The code of 8 numbers is what is sent; the report is what decoding loses."""
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = AutoEncoder(d=64, hidden=48, code=8, key=run.key("net"))  # coding.lee:32
    opt = Adam(lr=rate)  # coding.lee:33
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_step(net, opt, x))  # coding.lee:36
    run.report(lost=reconstruction(net, data.test.x))  # coding.lee:37
    return net


def fit_step(net, opt, x):
    """One step of fit."""
    loss, saved_reconstruction = reconstruction_saved(net, x)  # coding.lee:36
    d_net = reconstruction_backward_parameters(net, x, saved_reconstruction, FLOAT(1.0))
    opt.update(net.parameters, net.flat(d_net))
    return loss


class Tied(Model):
    """Linear both ways with one matrix: its best error is that of PCA."""

    members = ("w",)

    def __init__(self, d, code, *, key=(0, 0)):
        self.d, self.code = d, code
        self.w = 0.3 * normal(fold(key, SITES["w"]), (d, code), FLOAT)  # [d, code]  coding.lee:43
        self.lay_out()

    def forward(self, x):
        """x [n, d] -> [n, d]"""
        return x @ self.w @ self.w.T  # [n, d]  coding.lee:46

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        contract = x @ self.w  # [n, code]  coding.lee:46
        return contract @ self.w.T, contract

    def forward_backward(self, x, contract, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w @ w.T   coding.lee:46
        d_contract = d_y @ self.w  # [n, code]
        d_x = d_contract @ self.w.T  # [n, d]
        d_w = d_y.T @ contract + x.T @ d_contract  # [d, code]
        return {"w": d_w}, d_x


def pooled(x, size=2):
    """The largest of each square, and which of them it was.

    x [n, c, h, w] -> [n, c, h // size, w // size], int[n, c, h // size, w // size]
    """
    _, _, h, w = x.shape
    reshape = (np.arange(h // size) * size)[:, None]  # int[h // size, 1]  coding.lee:54
    reshape_2 = (np.arange(w // size) * size)[:, None]  # int[w // size, 1]
    reshape_3 = (reshape + np.arange(size**2) // size)[:, None]  # int[h // size, 1, size**2]
    add_2 = reshape_2 + np.arange(size**2) % size  # int[w // size, size**2]
    gather = x.transpose((2, 3, 0, 1))[inside(reshape_3), inside(add_2)]  # [h // size, w // size, size**2, n, c]
    square = gather.transpose(3, 4, 0, 1, 2)  # [n, c, h // size, w // size, size**2]
    return square.max(axis=4, initial=-np.inf), square.argmax(axis=4)  # coding.lee:55


def pooled_saved(x, size=2):
    """As pooled, and what its gradient needs."""
    _, _, h, w = x.shape
    reshape = (np.arange(h // size) * size)[:, None]  # int[h // size, 1]  coding.lee:54
    add_2 = (np.arange(w // size) * size)[:, None] + np.arange(size**2) % size  # int[w // size, size**2]
    reshape_3 = (reshape + np.arange(size**2) // size)[:, None]  # int[h // size, 1, size**2]
    gather = x.transpose((2, 3, 0, 1))[inside(reshape_3), inside(add_2)]  # [h // size, w // size, size**2, n, c]
    square = gather.transpose(3, 4, 0, 1, 2)  # [n, c, h // size, w // size, size**2]
    return square.max(axis=4, initial=-np.inf), square.argmax(axis=4), (add_2, reshape_3, square)  # coding.lee:55


def pooled_backward(saved, h, size, w, d_max):
    """From d_max to the gradient by x."""
    add_2, reshape_3, square = saved
    n, c, _, _, _ = square.shape
    # gradient of return max(square, axis = 4), argmax(square, axis = 4)   coding.lee:55
    iota = np.arange(size**2)[None, None, None, None, :]  # int[1, 1, 1, 1, size**2]
    eq = iota == square.argmax(axis=4)[:, :, :, :, None]  # bool[n, c, h // size, w // size, size**2]
    d_square = masked(d_max[:, :, :, :, None], eq)  # [n, c, h // size, w // size, size**2]
    # gradient of square[r, k, i in h // size, j in w // size, u in size * size] = x[r, k, size..   coding.lee:54
    d_gather = d_square.transpose(2, 3, 4, 0, 1)  # [h // size, w // size, size**2, n, c]
    d_x = scatter_add(d_gather, (reshape_3, add_2), (n, c, h, w), (2, 3))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def unpooled(y, place, size=2):
    """Every value back at its place, 0 elsewhere.

    y [n, c, h, w], place int[n, c, h, w] -> [n, c, h * size, size * w]
    """
    _, _, h, w = y.shape
    floordiv = np.arange(h * size) // size  # int[h * size]  coding.lee:61
    floordiv_2 = np.arange(size * w) // size  # int[size * w]
    reshape = floordiv[:, None]  # int[h * size, 1]
    gather = place.transpose((2, 3, 0, 1))[inside(reshape), inside(floordiv_2)]  # int[h * size, size * w, n, c]
    reshape_2 = (np.arange(h * size) % size * size)[:, None]  # int[h * size, 1]
    add = reshape_2 + np.arange(size * w) % size  # int[h * size, size * w]
    reshape_3 = np.minimum(np.maximum(floordiv, 0), h - 1)[:, None]  # int[h * size, 1]
    minimum_2 = np.minimum(np.maximum(floordiv_2, 0), w - 1)  # int[size * w]
    gather_2 = y.transpose((2, 3, 0, 1))[reshape_3, minimum_2]  # [h * size, size * w, n, c]
    # [n, c, h * size, size * w]  coding.lee:60
    x = masked(gather_2.transpose(2, 3, 0, 1), gather.transpose(2, 3, 0, 1) == add)
    return x  # [n, c, h * size, size * w]


def unpooled_saved(y, place, size=2):
    """As unpooled, and what its gradient needs."""
    _, _, h, w = y.shape
    floordiv = np.arange(h * size) // size  # int[h * size]  coding.lee:61
    floordiv_2 = np.arange(size * w) // size  # int[size * w]
    reshape = floordiv[:, None]  # int[h * size, 1]
    gather = place.transpose((2, 3, 0, 1))[inside(reshape), inside(floordiv_2)]  # int[h * size, size * w, n, c]
    reshape_2 = (np.arange(h * size) % size * size)[:, None]  # int[h * size, 1]
    eq = gather.transpose(2, 3, 0, 1) == reshape_2 + np.arange(size * w) % size  # bool[n, c, h * size, size * w]
    minimum_2 = np.minimum(np.maximum(floordiv_2, 0), w - 1)  # int[size * w]
    reshape_3 = np.minimum(np.maximum(floordiv, 0), h - 1)[:, None]  # int[h * size, 1]
    gather_2 = y.transpose((2, 3, 0, 1))[reshape_3, minimum_2]  # [h * size, size * w, n, c]
    x = masked(gather_2.transpose(2, 3, 0, 1), eq)  # [n, c, h * size, size * w]  coding.lee:60
    return x, (eq, minimum_2, reshape_3)


def unpooled_backward(saved, h, size, w, d_x):
    """From d_x to the gradient by y."""
    eq, minimum_2, reshape_3 = saved
    n, c, _, _ = eq.shape
    # gradient of place[r, k, a // size, b // size] == (a % size) * size + b % size, y[r, k, a ..   coding.lee:61
    d_gather_2 = masked(d_x, eq).transpose(2, 3, 0, 1)  # [h * size, size * w, n, c]
    d_y = scatter_add(d_gather_2, (reshape_3, minimum_2), (n, c, h, w), (2, 3))  # [n, c, h, w]
    return d_y  # [n, c, h, w]


def copied(y, size=2):
    """Every value over its whole square.

    y [n, c, h, w] -> [n, c, h * size, size * w]
    """
    _, _, h, w = y.shape
    reshape = (np.arange(h * size) // size)[:, None]  # int[h * size, 1]  coding.lee:68
    floordiv_2 = np.arange(size * w) // size  # int[size * w]
    gather = y.transpose((2, 3, 0, 1))[inside(reshape), inside(floordiv_2)]  # [h * size, size * w, n, c]
    x = gather.transpose(2, 3, 0, 1)  # [n, c, h * size, size * w]
    return x  # [n, c, h * size, size * w]


def copied_saved(y, size=2):
    """As copied, and what its gradient needs."""
    _, _, h, w = y.shape
    floordiv_2 = np.arange(size * w) // size  # int[size * w]  coding.lee:68
    reshape = (np.arange(h * size) // size)[:, None]  # int[h * size, 1]
    gather = y.transpose((2, 3, 0, 1))[inside(reshape), inside(floordiv_2)]  # [h * size, size * w, n, c]
    x = gather.transpose(2, 3, 0, 1)  # [n, c, h * size, size * w]
    return x, (floordiv_2, reshape)


def copied_backward(saved, h, size, w, d_x):
    """From d_x to the gradient by y."""
    floordiv_2, reshape = saved
    n, c, _, _ = d_x.shape
    # gradient of x[r, k, a in h * size, b in w * size] = y[r, k, a // size, b // size]   coding.lee:68
    d_gather = d_x.transpose(2, 3, 0, 1)  # [h * size, size * w, n, c]
    d_y = scatter_add(d_gather, (reshape, floordiv_2), (n, c, h, w), (2, 3))  # [n, c, h, w]
    return d_y  # [n, c, h, w]


def deconvolved(x, kernel):
    """A convolution after padding, with the kernel turned round.

    x [n, c, h, w], kernel [c, o, k, k] -> [n, o, h + k - 1, k + w - 1]
    """
    n, _, h, w = x.shape
    c, o, k, _ = kernel.shape
    # [n, c, h + 2 * k - 2, 2 * k + w - 2]  coding.lee:74
    around = np.pad(x, ((0, 0), (0, 0), (k - 1, k - 1), (k - 1, k - 1)), constant_values=0.0)
    transpose = np.flip(kernel, (2, 3)).transpose(1, 0, 2, 3)  # [o, c, k, k]  coding.lee:75
    windows_2 = window(window(around, 3, k, 1, 1), 2, k, 1, 1)  # [n, c, h + k - 1, k, k + w - 1, k]
    transpose_2 = windows_2.transpose(0, 1, 3, 5, 2, 4)  # [n, c, k, k, h + k - 1, k + w - 1]
    columns = transpose_2.reshape(n, c * k**2, -1)  # [n, c * k**2, h * k + h * w + k * w + k**2 + 1 - h - 2 * k - w]
    contract = transpose.reshape(o, c * k**2) @ columns  # [n, o, h * k + h * w + k * w + k**2 + 1 - h - 2 * k - w]
    y = contract.reshape(n, o, h + k - 1, k + w - 1)  # [n, o, h + k - 1, k + w - 1]
    return y  # [n, o, h + k - 1, k + w - 1]


def deconvolved_saved(x, kernel):
    """As deconvolved, and what its gradient needs."""
    n, _, h, w = x.shape
    c, o, k, _ = kernel.shape
    # [n, c, h + 2 * k - 2, 2 * k + w - 2]  coding.lee:74
    around = np.pad(x, ((0, 0), (0, 0), (k - 1, k - 1), (k - 1, k - 1)), constant_values=0.0)
    transpose = np.flip(kernel, (2, 3)).transpose(1, 0, 2, 3)  # [o, c, k, k]  coding.lee:75
    windows_2 = window(window(around, 3, k, 1, 1), 2, k, 1, 1)  # [n, c, h + k - 1, k, k + w - 1, k]
    transpose_2 = windows_2.transpose(0, 1, 3, 5, 2, 4)  # [n, c, k, k, h + k - 1, k + w - 1]
    columns = transpose_2.reshape(n, c * k**2, -1)  # [n, c * k**2, h * k + h * w + k * w + k**2 + 1 - h - 2 * k - w]
    contract = transpose.reshape(o, c * k**2) @ columns  # [n, o, h * k + h * w + k * w + k**2 + 1 - h - 2 * k - w]
    y = contract.reshape(n, o, h + k - 1, k + w - 1)  # [n, o, h + k - 1, k + w - 1]
    return y, around


def deconvolved_backward(kernel, around, h, w, d_y):
    """From d_y to the gradients by x and kernel."""
    c, o, k, _ = kernel.shape
    n = around.shape[0]
    # gradient of y[r, f, i in h + k - 1, j in w + k - 1] = sum[m, u in k, v in k](   coding.lee:75
    transpose = np.flip(kernel, (2, 3)).transpose(0, 2, 3, 1)  # [c, k, k, o]
    reshape_2 = d_y.reshape(n, o, -1)  # [n, o, h * k + h * w + k * w + k**2 + 1 - h - 2 * k - w]
    # [n, c * k**2, h * k + h * w + k * w + k**2 + 1 - h - 2 * k - w]
    contract = transpose.reshape(c * k**2, o) @ reshape_2
    reshape_3 = contract.reshape(n, c, k, k, h + k - 1, k + w - 1)  # [n, c, k, k, h + k - 1, k + w - 1]
    transpose_2 = reshape_3.transpose(0, 1, 4, 2, 5, 3)  # [n, c, h + k - 1, k, k + w - 1, k]
    # [n, c, h + 2 * k - 2, 2 * k + w - 2]
    d_around = unwindows(transpose_2, (2, 4), (h + 2 * k - 2, 2 * k + w - 2), (1, 1), (1, 1))
    windows_2 = window(window(around, 3, k, 1, 1), 2, k, 1, 1)  # [n, c, h + k - 1, k, k + w - 1, k]
    transpose_3 = windows_2.transpose(1, 0, 3, 5, 2, 4)  # [c, n, k, k, h + k - 1, k + w - 1]
    contract_2 = reshape_2 @ transpose_3.reshape(c, n, k**2, -1).mT  # [c, n, o, k**2]
    d_kernel = np.flip(contract_2.reshape(c, n, o, k, k).sum(axis=1), (2, 3))  # [c, o, k, k]
    # gradient of around = pad(x, (0, 0, k - 1, k - 1))   coding.lee:74
    d_x = d_around[:, :, k - 1 : h + k - 1, k - 1 : k + w - 1]  # [n, c, h, w]
    return d_x, d_kernel


def layer_wise(epochs=5, batch=64, rate=3e-3, *, run=None):
    """The first layer by an auto-encoder, the second by one of the first's codes; then all of it with labels."""
    from leec.runtime.run import Run

    run = run or Run("layer_wise")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    one = Linear(inputs=64, outputs=32, key=run.key("one"))  # coding.lee:87
    back = Linear(inputs=32, outputs=64, key=run.key("back"))  # coding.lee:88
    opt = Adam(lr=rate)  # coding.lee:89
    for epoch in run.loop("epoch", 1, epochs, back=back, one=one, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(layer_wise_step(one, back, opt, x))  # coding.lee:92
    two = Linear(inputs=32, outputs=16, key=run.key("two"))  # coding.lee:93
    again = Linear(inputs=16, outputs=32, key=run.key("again"))  # coding.lee:94
    opt_two = Adam(lr=rate)  # coding.lee:95
    for epoch in run.loop("epoch_2", 1, epochs, again=again, opt_two=opt_two, two=two):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(layer_wise_step_2(one, two, again, opt_two, x))  # coding.lee:98
    head = Linear(inputs=16, outputs=10, key=run.key("head"))  # coding.lee:100
    opt_all = Adam(lr=rate)  # coding.lee:101
    for epoch in run.loop("epoch_3", 1, epochs, head=head, one=one, opt_all=opt_all, two=two):
        for x, y in run.batches("batches_3", data.train, batch, shuffle=True):
            run.step(layer_wise_step_3(one, two, head, opt_all, x, y))  # coding.lee:104
    return one


def layer_wise_step(one, back, opt, x):
    """One step of layer_wise."""
    select = relu(one(x))  # [batches_n, 32]  coding.lee:92
    loss, saved_mse = mse_saved(back(select), x)
    d_back, d_select = back.forward_backward(select, mse_backward(saved_mse, FLOAT(1.0)))
    d_one = Linear.forward_backward_parameters(x, relu_backward(select, d_select))
    update_together(opt, (one, d_one), (back, d_back))
    return loss


def layer_wise_step_2(one, two, again, opt_two, x):
    """One step of layer_wise."""
    h = relu(one(x))  # [batches_2_n, 32]  coding.lee:98
    select = relu(two(h))  # [batches_2_n, 16]  coding.lee:99
    loss, saved_mse = mse_saved(again(select), h)
    d_again, d_select = again.forward_backward(select, mse_backward(saved_mse, FLOAT(1.0)))
    d_two = Linear.forward_backward_parameters(h, relu_backward(select, d_select))
    update_together(opt_two, (two, d_two), (again, d_again))
    return loss


def layer_wise_step_3(one, two, head, opt_all, x, y):
    """One step of layer_wise."""
    select = relu(one(x))  # [batches_3_n, 32]  coding.lee:104
    select_2 = relu(two(select))  # [batches_3_n, 16]
    head_out = head(select_2)  # [batches_3_n, 10]
    d_head_out = cross_entropy_backward(head_out, y, FLOAT(1.0))  # [batches_3_n, 10]
    d_head, d_select_2 = head.forward_backward(select_2, d_head_out)
    d_two, d_select = two.forward_backward(select, relu_backward(select_2, d_select_2))
    d_one = Linear.forward_backward_parameters(x, relu_backward(select, d_select))
    update_together(opt_all, (one, d_one), (two, d_two), (head, d_head))
    return cross_entropy(head_out, y)


class Matching(Model):
    """Are an image and a code of one another?"""

    members = ("encoder", "judge")

    def __init__(self, d, code, hidden, *, key=(0, 0)):
        self.d, self.code, self.hidden = d, code, hidden
        self.encoder = Linear(d, code, key=fold(key, SITES["encoder"]))  # coding.lee:113
        self.judge = MLP((code + d, hidden, 1), key=fold(key, SITES["judge"]))  # coding.lee:114
        self.lay_out()

    def score(self, x, z):
        """x [n, d], z [n, code] -> [n]"""
        n = x.shape[0]
        return self.judge(np.concatenate((x, z), axis=1)).reshape(n)  # [n]  coding.lee:117

    def score_saved(self, x, z):
        """As score, and what its gradient needs."""
        n = x.shape[0]
        concat = np.concatenate((x, z), axis=1)  # [n, code + d]  coding.lee:117
        add_2, saved_judge = self.judge.forward_saved(concat)
        return add_2.reshape(n), (concat, saved_judge)

    def score_backward(self, saved, d_y):
        """From d_y to the gradients by the parameters, x and z."""
        concat, saved_judge = saved
        # gradient of return judge(concat(x, z, axis = 1))[:, 0]   coding.lee:117
        d_judge, d_concat = self.judge.forward_backward(concat, saved_judge, d_y[:, None])
        d_x = d_concat[:, : self.d]  # [n, d]
        d_z = d_concat[:, self.d :]  # [n, code]
        return {"judge": d_judge}, d_x, d_z


def matched(net, x, other):
    """Its own code towards 1, that of another image towards 0; encoder and judge both make this small.

    x [n, net.d], other [n, net.d] -> []
    """
    z = net.encoder(x)  # [n, net.code]  coding.lee:122
    reshape = net.score(x, z)  # [n]  coding.lee:123
    log_sigmoid = np.minimum(reshape, 0) - np.log1p(np.exp(-np.abs(reshape)))  # [n]
    neg = -net.score(other, z)  # [n]  prelude.lee:36
    mean_2 = (np.minimum(neg, 0) - np.log1p(np.exp(-np.abs(neg)))).mean()  # coding.lee:123
    return -(log_sigmoid.mean() + mean_2)


def matched_saved(net, x, other):
    """As matched, and what its gradient needs."""
    z = net.encoder(x)  # [n, net.code]  coding.lee:122
    reshape, saved_net = net.score_saved(x, z)  # coding.lee:123
    log_sigmoid = np.minimum(reshape, 0) - np.log1p(np.exp(-np.abs(reshape)))  # [n]
    reshape_2, saved_net_ = net.score_saved(other, z)
    log_sigmoid_2 = np.minimum(-reshape_2, 0) - np.log1p(np.exp(-np.abs(-reshape_2)))  # [n]
    return -(log_sigmoid.mean() + log_sigmoid_2.mean()), (reshape, saved_net, saved_net_, -reshape_2)


def matched_backward(net, x, saved, d_y):
    """From d_y to the gradients by net, x and other."""
    reshape, saved_net, saved_net_, neg = saved
    n = x.shape[0]
    # gradient of return mean(-log(sigmoid(net.score(x, z)))) + mean(-log(1 - sigmoid(net.score..   coding.lee:123
    neg_2 = -(d_y / n)
    sigmoid = np.exp(np.minimum(-neg, 0)) / (1 + np.exp(-np.abs(-neg)))  # [n]
    d_net, d_other, d_z_2 = net.score_backward(saved_net_, -(neg_2 * sigmoid))
    sigmoid_2 = np.exp(np.minimum(-reshape, 0)) / (1 + np.exp(-np.abs(-reshape)))  # [n]
    d_net_, d_x_2, d_z_3 = net.score_backward(saved_net, neg_2 * sigmoid_2)
    # gradient of z = net.encoder(x)   coding.lee:122
    d_z = d_z_2 + d_z_3  # [n, net.code]
    d_net_encoder, d_x_3 = net.encoder.forward_backward(x, d_z)
    # [net.code + net.d, net.hidden]
    d_net_judge_layers_0_w = d_net["judge"]["layers.0"]["w"] + d_net_["judge"]["layers.0"]["w"]
    d_net_judge_layers_0_b = d_net["judge"]["layers.0"]["b"] + d_net_["judge"]["layers.0"]["b"]  # [net.hidden]
    d_net_judge_layers_1_w = d_net["judge"]["layers.1"]["w"] + d_net_["judge"]["layers.1"]["w"]  # [net.hidden, 1]
    d_net_judge_layers_1_b = d_net["judge"]["layers.1"]["b"] + d_net_["judge"]["layers.1"]["b"]  # [1]
    d_x = d_x_2 + d_x_3  # [n, net.d]
    return (
        {
            "encoder": d_net_encoder,
            "judge": {
                "layers.0": {"w": d_net_judge_layers_0_w, "b": d_net_judge_layers_0_b},
                "layers.1": {"w": d_net_judge_layers_1_w, "b": d_net_judge_layers_1_b},
            },
        },
        d_x,
        d_other,
    )


def normalised(h):
    """Instance normalisation takes the speaker out: mean and spread go.

    h [n, d] -> [n, d]
    """
    centred = h - h.mean(axis=1, keepdims=True)  # [n, d]  coding.lee:132
    deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)  # [n, 1]
    return centred / deviation  # [n, d]


def normalised_backward(h, d_y):
    """From d_y to the gradient by h."""
    # gradient of return centred / sqrt(mean(centred ** 2, axis = 1) + 1e-5)[:, None]   coding.lee:132
    centred = h - h.mean(axis=1, keepdims=True)  # [n, d]
    deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)  # [n, 1]
    normal_ = centred / deviation  # [n, d]
    mul_3 = normal_ * (d_y * normal_).mean(axis=1, keepdims=True)  # [n, d]
    d_h = (d_y - d_y.mean(axis=1, keepdims=True) - mul_3) / deviation  # [n, d]
    return d_h  # [n, d]


def exchanged_saved(content, style, decoder, a, b):
    """As exchanged, and what its gradient needs."""
    n = a.shape[0]
    if style.sizes[0] != content.sizes[0]:
        raise ValueError(f"style.sizes_0 = {style.sizes[0]} must equal content.sizes_0 = {content.sizes[0]}")
    if decoder.sizes[0] != content.sizes[2] + style.sizes[2]:
        raise ValueError(
            f"decoder.sizes_0 = {decoder.sizes[0]} "
            f"must equal content.sizes_2 + style.sizes_2 = {content.sizes[2] + style.sizes[2]}"
        )
    if content.sizes[0] != decoder.sizes[2]:
        raise ValueError(
            f"coding.lee:137: content.sizes_0 = {content.sizes[0]} " f"must equal decoder.sizes_2 = {decoder.sizes[2]}"
        )
    add_2, saved_content = content.forward_saved(a)  # coding.lee:137
    add_2_2, saved_style = style.forward_saved(b.reshape(n, style.sizes[0]))
    concat = np.concatenate((normalised(add_2), add_2_2), axis=1)  # [n, content.sizes_2 + style.sizes_2]
    reshape_2 = concat.reshape(n, decoder.sizes[0])  # [n, decoder.sizes_0]
    add_2_3, saved_decoder = decoder.forward_saved(reshape_2)
    return add_2_3.reshape(n, content.sizes[0]), (add_2, saved_content, saved_style, reshape_2, saved_decoder)


def exchanged_backward(content, style, decoder, a, b, saved, d_reshape_3):
    """From d_reshape_3 to the gradients by content, style, decoder, a and b."""
    add_2, saved_content, saved_style, reshape_2, saved_decoder = saved
    n = a.shape[0]
    d_add_2_3 = d_reshape_3.reshape(n, decoder.sizes[2])  # [n, decoder.sizes_2]
    # gradient of return decoder(concat(normalised(content(a)), style(b), axis = 1))   coding.lee:137
    d_decoder, d_reshape_2 = decoder.forward_backward(reshape_2, saved_decoder, d_add_2_3)
    d_concat = d_reshape_2.reshape(n, -1)  # [n, content.sizes_2 + style.sizes_2]
    d_add_2_2 = d_concat[:, content.sizes[2] :]  # [n, style.sizes_2]
    d_style, d_reshape = style.forward_backward(b.reshape(n, style.sizes[0]), saved_style, d_add_2_2)
    d_b = d_reshape.reshape(n, content.sizes[0])  # [n, content.sizes_0]
    d_add_2 = normalised_backward(add_2, d_concat[:, : content.sizes[2]])  # [n, content.sizes_2]
    d_content, d_a = content.forward_backward(a, saved_content, d_add_2)
    return d_content, d_style, d_decoder, d_a, d_b


def disentangled_saved(content, style, decoder, speaker, x, who, weight=0.5):
    """As disentangled, and what its gradient needs."""
    n = x.shape[0]
    if speaker.inputs != content.sizes[2]:
        raise ValueError(f"speaker.inputs = {speaker.inputs} must equal content.sizes_2 = {content.sizes[2]}")
    z, saved_content = content.forward_saved(x)  # coding.lee:142
    reshape = reverse_gradient(z, strength=weight).reshape(n, speaker.inputs)  # [n, speaker.inputs]  coding.lee:143
    guess = speaker(reshape)  # [n, speaker.outputs]
    reshape_3, saved_exchanged = exchanged_saved(content, style, decoder, x, x)  # coding.lee:144
    sub = reshape_3 - x  # [n, content.sizes_0]
    return (sub**2).mean() + cross_entropy(guess, who), (saved_content, reshape, guess, saved_exchanged, sub)


def disentangled_backward(content, style, decoder, speaker, x, who, weight, saved, d_add):
    """From d_add to the gradients by content, style, decoder, speaker and x."""
    saved_content, reshape, guess, saved_exchanged, sub = saved
    n = x.shape[0]
    # gradient of return mean((exchanged(content, style, decoder, x, x) - x) ** 2) + cross_entr..   coding.lee:144
    d_guess = cross_entropy_backward(guess, who, d_add)  # [n, speaker.outputs]
    d_sub = 2 * (d_add / (content.sizes[0] * n)) * sub  # [n, content.sizes_0]
    d_content, d_style, d_decoder, d_x_3, d_x_4 = exchanged_backward(
        content, style, decoder, x, x, saved_exchanged, d_sub
    )
    # gradient of guess = speaker(reverse_gradient(z, weight))   coding.lee:143
    d_speaker, d_reshape = speaker.forward_backward(reshape, d_guess)
    d_z = reverse_gradient_backward(weight, d_reshape.reshape(n, content.sizes[2]))  # [n, content.sizes_2]
    # gradient of z = content(x)   coding.lee:142
    d_content_, d_x_5 = content.forward_backward(x, saved_content, d_z)
    # [content.sizes_0, content.sizes_1]
    d_content_layers_0_w = d_content["layers.0"]["w"] + d_content_["layers.0"]["w"]
    d_content_layers_0_b = d_content["layers.0"]["b"] + d_content_["layers.0"]["b"]  # [content.sizes_1]
    # [content.sizes_1, content.sizes_2]
    d_content_layers_1_w = d_content["layers.1"]["w"] + d_content_["layers.1"]["w"]
    d_content_layers_1_b = d_content["layers.1"]["b"] + d_content_["layers.1"]["b"]  # [content.sizes_2]
    d_x = d_x_3 - d_sub + d_x_4 + d_x_5  # [n, content.sizes_0]
    return (
        {
            "layers.0": {"w": d_content_layers_0_w, "b": d_content_layers_0_b},
            "layers.1": {"w": d_content_layers_1_w, "b": d_content_layers_1_b},
        },
        d_style,
        d_decoder,
        d_speaker,
        d_x,
    )


def one_of(z):
    """One-hot forward; the slope is that of the softmax.

    z [n, k] -> [n, k]
    """
    k = z.shape[1]
    y = straight_through(one_hot(z.argmax(axis=1), k), softmax(z, (1,)))  # [n, k]  coding.lee:152
    return y  # [n, k]


def one_of_saved(z):
    """As one_of, and what its gradient needs."""
    k = z.shape[1]
    softmax_ = softmax(z, (1,))  # [n, k]  prelude.lee:122
    return straight_through(one_hot(z.argmax(axis=1), k), softmax_), softmax_  # coding.lee:152


def one_of_backward(softmax_, d_y):
    """From d_y to the gradient by z."""
    # gradient of return straight_through(one_hot(argmax(z, axis = 1), k), softmax(z, axis = 1))   coding.lee:152
    d_softmax = straight_through_backward(d_y)  # [n, k]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sum_ = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [n, 1]
    d_z = softmax_ * (d_softmax - sum_)  # [n, k]
    return d_z  # [n, k]


def binary(z):
    """0 or 1 forward; the slope is that of σ.

    z [n, k] -> [n, k]
    """
    sigmoid_z = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))  # [n, k]  prelude.lee:36
    return straight_through((z > 0).astype(FLOAT), sigmoid_z)  # [n, k]  coding.lee:157


def binary_saved(z):
    """As binary, and what its gradient needs."""
    sigmoid_z = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))  # [n, k]  prelude.lee:36
    return straight_through((z > 0).astype(FLOAT), sigmoid_z), sigmoid_z  # coding.lee:157


def binary_backward(sigmoid_z, d_y):
    """From d_y to the gradient by z."""
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_z = straight_through_backward(d_y) * (sigmoid_z * (1 - sigmoid_z))  # [n, k]
    return d_z  # [n, k]


class Codebook(Model):
    """The nearest of some vectors; the slope goes straight through."""

    members = ("code",)

    def __init__(self, codes, d, *, key=(0, 0)):
        self.codes, self.d = codes, d
        uniform_ = uniform(fold(key, SITES["code"]), (codes, d), FLOAT)  # [codes, d]  coding.lee:162
        self.code = -1 / codes + (1 / codes - -1 / codes) * uniform_  # [codes, d]
        self.lay_out()

    def forward(self, z):
        """z [n, d] -> [n, d], [n, d], int[n]"""
        sub = z[:, None] - self.code  # [n, codes, d]  coding.lee:165
        away = (sub**2).sum(axis=2)  # [n, codes]
        index = away.argmin(axis=1)  # int[n]  coding.lee:166
        e = self.code[inside(index)]  # [n, d]  coding.lee:167
        return straight_through(e, z), e, index  # coding.lee:168

    @staticmethod
    def forward_backward(index, codes, d_y, d_e):
        """From d_y and d_e to the gradients by the parameters and z."""
        d = d_y.shape[1]
        # gradient of return straight_through(e, z), e, index   coding.lee:168
        d_z = straight_through_backward(d_y)  # [n, d]
        # gradient of e = code[index]   coding.lee:167
        d_code = scatter_add(d_e, (index,), (codes, d))  # [codes, d]
        return {"code": d_code}, d_z


class VQVAE(Model):
    """The code of an image is a vector of a book (van den Oord et al. 2017)."""

    members = ("encoder", "book", "decoder")

    def __init__(self, d, hidden, latent, codes, *, key=(0, 0)):
        self.d, self.hidden, self.latent, self.codes = d, hidden, latent, codes
        self.encoder = MLP((d, hidden, latent), key=fold(key, SITES["encoder"]))  # coding.lee:173
        self.book = Codebook(codes, latent, key=fold(key, SITES["book"]))  # coding.lee:174
        self.decoder = MLP((latent, hidden, d), key=fold(key, SITES["decoder"]))  # coding.lee:175
        self.lay_out()

    def forward(self, x):
        """x [n, d] -> [n, d], [n, latent], [n, latent], int[n]"""
        z = self.encoder(x)  # [n, latent]  coding.lee:178
        q, e_2, index_2 = self.book(z)  # coding.lee:179
        return self.decoder(q), z, e_2, index_2  # coding.lee:180

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        z, saved_encoder = self.encoder.forward_saved(x)  # coding.lee:178
        q, e_2, index_2 = self.book(z)  # coding.lee:179
        add_2, saved_decoder = self.decoder.forward_saved(q)  # coding.lee:180
        return add_2, z, e_2, index_2, (saved_encoder, q, saved_decoder)

    def forward_backward(self, x, saved, index_2, d_y, d_z, d_e_2):
        """From d_y, d_z and d_e_2 to the gradients by the parameters and x."""
        saved_encoder, q, saved_decoder = saved
        # gradient of return decoder(q), z, e, index   coding.lee:180
        d_decoder, d_q = self.decoder.forward_backward(q, saved_decoder, d_y)
        # gradient of q, e, index = book(z)   coding.lee:179
        d_book, d_z_3 = Codebook.forward_backward(index_2, self.codes, d_q, d_e_2)
        # gradient of z = encoder(x)   coding.lee:178
        d_z_2 = d_z + d_z_3  # [n, latent]
        d_encoder, d_x = self.encoder.forward_backward(x, saved_encoder, d_z_2)
        return {"encoder": d_encoder, "book": d_book, "decoder": d_decoder}, d_x

    def forward_backward_parameters(self, x, saved, index_2, d_y, d_z, d_e_2):
        """From d_y, d_z and d_e_2 to the gradient by the parameters."""
        saved_encoder, q, saved_decoder = saved
        # gradient of return decoder(q), z, e, index   coding.lee:180
        d_decoder, d_q = self.decoder.forward_backward(q, saved_decoder, d_y)
        # gradient of q, e, index = book(z)   coding.lee:179
        d_book, d_z_3 = Codebook.forward_backward(index_2, self.codes, d_q, d_e_2)
        # gradient of z = encoder(x)   coding.lee:178
        d_z_2 = d_z + d_z_3  # [n, latent]
        d_encoder = self.encoder.forward_backward_parameters(x, saved_encoder, d_z_2)
        return {"encoder": d_encoder, "book": d_book, "decoder": d_decoder}


def vq(net, x, commitment=0.25):
    """Reconstruction, the book towards the codes, the codes towards the book.

    x [n, net.d] -> []
    """
    y, z_2, e, _ = net(x)  # coding.lee:185
    sub = y - x  # [n, net.d]  coding.lee:186
    sub_2 = stop(z_2) - e  # [n, net.latent]
    sub_3 = z_2 - stop(e)  # [n, net.latent]
    add = (sub**2).mean() + (sub_2**2).mean()
    return add + commitment * (sub_3**2).mean()


def vq_saved(net, x, commitment=0.25):
    """As vq, and what its gradient needs."""
    y, z_2, e, index_2, saved_net = net.forward_saved(x)  # coding.lee:185
    sub = y - x  # [n, net.d]  coding.lee:186
    sub_2 = stop(z_2) - e  # [n, net.latent]
    sub_3 = z_2 - stop(e)  # [n, net.latent]
    add = (sub**2).mean() + (sub_2**2).mean()
    return add + commitment * (sub_3**2).mean(), (index_2, saved_net, sub, sub_2, sub_3)


def vq_backward(net, x, commitment, saved, d_y):
    """From d_y to the gradients by net and x."""
    index_2, saved_net, sub, sub_2, sub_3 = saved
    n = x.shape[0]
    # gradient of return mean((y - x) ** 2) + mean((stop(z) - e) ** 2) + commitment * mean((z -..   coding.lee:186
    d_z_2 = 2 * (d_y * commitment / (n * net.latent)) * sub_3  # [n, net.latent]
    d_e = -2 * (d_y / (n * net.latent)) * sub_2  # [n, net.latent]
    d_y_ = 2 * (d_y / (n * net.d)) * sub  # [n, net.d]
    # gradient of y, z, e, _ = net(x)   coding.lee:185
    d_net, d_x_3 = net.forward_backward(x, saved_net, index_2, d_y_, d_z_2, d_e)
    d_x = d_x_3 - d_y_  # [n, net.d]
    return d_net, d_x


def vq_backward_parameters(net, x, commitment, saved, d_y):
    """From d_y to the gradient by net."""
    index_2, saved_net, sub, sub_2, sub_3 = saved
    n = x.shape[0]
    # gradient of return mean((y - x) ** 2) + mean((stop(z) - e) ** 2) + commitment * mean((z -..   coding.lee:186
    d_z_2 = 2 * (d_y * commitment / (n * net.latent)) * sub_3  # [n, net.latent]
    d_e = -2 * (d_y / (n * net.latent)) * sub_2  # [n, net.latent]
    d_y_ = 2 * (d_y / (n * net.d)) * sub  # [n, net.d]
    # gradient of y, z, e, _ = net(x)   coding.lee:185
    d_net = net.forward_backward_parameters(x, saved_net, index_2, d_y_, d_z_2, d_e)
    return d_net


def perplexity(index, codes):
    """How many codes are in use: e to the entropy of their shares.

    index int[n] -> []
    """
    p = (index == np.arange(codes)[:, None]).astype(FLOAT).mean(axis=1)  # [codes]  coding.lee:191
    return np.exp(-masked(p * np.log(p), p > 0).sum())  # coding.lee:192


def vector_quantised(epochs=15, batch=64, rate=3e-3, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("vector_quantised")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = VQVAE(d=64, hidden=48, latent=4, codes=32, key=run.key("net"))  # coding.lee:197
    opt = Adam(lr=rate)  # coding.lee:198
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(vector_quantised_step(net, opt, x))  # coding.lee:201
    index, y = vector_quantised_index_y(net, data.test.x)  # coding.lee:202
    reported_error, reported_used = vector_quantised_error_used(y, data.test.x, index)  # coding.lee:203
    run.report(error=reported_error, used=reported_used)  # coding.lee:203
    return net


def vector_quantised_step(net, opt, x):
    """One step of vector_quantised."""
    loss, saved_vq = vq_saved(net, x)  # coding.lee:201
    d_net = vq_backward_parameters(net, x, 0.25, saved_vq, FLOAT(1.0))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def vector_quantised_index_y(net, data_test_x):
    """data_test_x [data_test_n, 64] -> int[data_test_n], [data_test_n, 64]"""
    y, _, _, index = net(data_test_x)  # coding.lee:202
    return index, y


def vector_quantised_error_used(y, data_test_x, index):
    """y [data_test_n, 64], data_test_x [data_test_n, 64], index int[data_test_n] -> [], []"""
    sub = y - data_test_x  # [data_test_n, 64]  coding.lee:203
    return (sub**2).sum(axis=1).mean(), perplexity(index, 32)


def oddness(net, x):
    """An auto-encoder of normal data rebuilds what is odd badly.

    x [n, net.d] -> [n]
    """
    sub = net(x) - x  # [n, net.d]  coding.lee:212
    return (sub**2).sum(axis=1)  # [n]


def oddness_saved(net, x):
    """As oddness, and what its gradient needs."""
    add_2_2, saved_net = net.forward_saved(x)  # coding.lee:212
    sub = add_2_2 - x  # [n, net.d]
    return (sub**2).sum(axis=1), (saved_net, sub)


def oddness_backward_parameters(net, x, saved, d_y):
    """From d_y to the gradient by net."""
    saved_net, sub = saved
    # gradient of return sum((net(x) - x) ** 2, axis = 1)   coding.lee:212
    d_net = net.forward_backward_parameters(x, saved_net, 2 * (d_y[:, None] * sub))
    return d_net


def area_under_curve(score, odd):
    """How often something odd scores above something normal.

    score [n], odd bool[n] -> []
    """
    reshape_2 = score[:, None]  # [n, 1]  coding.lee:217
    mul = 0.5 * (reshape_2 == score).astype(FLOAT)  # [n, n]
    above = masked((reshape_2 > score).astype(FLOAT) + mul, odd[:, None] & ~odd)  # [n, n]
    mul_2 = odd.astype(FLOAT).sum() * (~odd).astype(FLOAT).sum()  # coding.lee:218
    return above.sum() / mul_2


def without_fours(epochs=12, batch=64, rate=3e-3, *, run=None):
    """Trained on all digits but 4; the fours of the test are to be odd."""
    from leec.runtime.run import Run

    run = run or Run("without_fours")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = AutoEncoder(d=64, hidden=48, code=8, key=run.key("net"))  # coding.lee:224
    opt = Adam(lr=rate)  # coding.lee:225
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(without_fours_step(net, opt, y, x))  # coding.lee:228
    run.report(found=without_fours_found(net, data.test.x, data.test.y))  # coding.lee:229
    return net


def without_fours_step(net, opt, y, x):
    """One step of without_fours."""
    cast = (y != 4).astype(FLOAT)  # [batches_n]  coding.lee:228
    sum_, saved_oddness = oddness_saved(net, x)
    d_net = oddness_backward_parameters(net, x, saved_oddness, 0.015625 * cast)
    opt.update(net.parameters, net.flat(d_net))
    return (cast * sum_).sum() / 64


def without_fours_found(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> []"""
    found = area_under_curve(oddness(net, data_test_x), data_test_y == 4)  # coding.lee:229
    return found


def continuous_bag(table, out, around, word):
    """CBOW: the mean vector of the words around tells the word between them (Mikolov et al. 2013).

    table [words, d], out [words, d], around int[n, c], word int[n] -> []
    """
    y = cross_entropy(table[inside(around)].mean(axis=1) @ out.T, word)  # coding.lee:238
    return y


def continuous_bag_saved(table, out, around, word):
    """As continuous_bag, and what its gradient needs."""
    mean = table[inside(around)].mean(axis=1)  # [n, d]  coding.lee:238
    contract = mean @ out.T  # [n, words]
    return cross_entropy(contract, word), (mean, contract)


def continuous_bag_backward(out, around, word, saved, d_y):
    """From d_y to the gradients by table and out."""
    mean, contract = saved
    words, d = out.shape
    n, c = around.shape
    # gradient of return cross_entropy(mean(table[around], axis = 1) @ out.T, word)   coding.lee:238
    d_contract = cross_entropy_backward(contract, word, d_y)  # [n, words]
    d_out = d_contract.T @ mean  # [words, d]
    d_gather = np.broadcast_to((d_contract @ out / c)[:, None], (n, c, d))  # [n, c, d]
    d_table = scatter_add(d_gather, (around,), (words, d))  # [words, d]
    return d_table, d_out


def skip_gram(table, out, word, near):
    """The word tells one near it.

    table [words, d], out [words, d], word int[n], near int[n] -> []
    """
    return cross_entropy(table[inside(word)] @ out.T, near)  # coding.lee:243


def skip_gram_saved(table, out, word, near):
    """As skip_gram, and what its gradient needs."""
    gather = table[inside(word)]  # [n, d]  coding.lee:243
    contract = gather @ out.T  # [n, words]
    return cross_entropy(contract, near), (gather, contract)


def skip_gram_backward(out, word, near, saved, d_y):
    """From d_y to the gradients by table and out."""
    gather, contract = saved
    words, d = out.shape
    # gradient of return cross_entropy(table[word] @ out.T, near)   coding.lee:243
    d_contract = cross_entropy_backward(contract, near, d_y)  # [n, words]
    d_out = d_contract.T @ gather  # [words, d]
    d_table = scatter_add(d_contract @ out, (word,), (words, d))  # [words, d]
    return d_table, d_out


def analogy(table, a, b, c):
    """a is to b as c is to whom? The word whose vector lies nearest to b - a + c by angle, none of the three.

    table [words, d] -> []
    """
    words = table.shape[0]
    wanted = table[inside(b)] - table[inside(a)] + table[inside(c)]  # [d]  coding.lee:248
    likeness = table @ wanted / (norm(table) * norm_2(wanted))  # [words]  coding.lee:249
    logical_or = (np.arange(words) == a) | (np.arange(words) == b)  # bool[words]  coding.lee:250
    free = np.where(logical_or | (np.arange(words) == c), -np.inf, likeness)  # [words]
    return free.argmax(axis=0)  # coding.lee:251


def analogy_2(table, a, b, c):
    """a is to b as c is to whom? The word whose vector lies nearest to b - a + c by angle, none of the three.

    table [words, d] -> []
    """
    words = table.shape[0]
    wanted = table[inside(b)] - table[inside(a)] + table[inside(c)]  # [d]  coding.lee:248
    likeness = table @ wanted / (norm(table) * norm_2(wanted))  # [words]  coding.lee:249
    logical_or = (np.arange(words) == a) | (np.arange(words) == b)  # bool[words]  coding.lee:250
    free = np.where(logical_or | (np.arange(words) == c), -np.inf, likeness)  # [words]
    return free.argmax(axis=0)  # coding.lee:251


def glove(v, u, b, e, count, top=1e2):
    """V(w_i)·V(w_j) ≈ log N_ij, rare pairs counting less (Pennington et al. 2014).

    v [words, d], u [words, d], b [words], e [words], count [words, words] -> []
    """
    fit_ = v @ u.T + b[:, None] + e - np.log(np.maximum(count, 1))  # [words, words]  coding.lee:256
    weight = masked(np.minimum(1, (count / top) ** 0.75), count > 0)  # [words, words]  coding.lee:257
    return (weight * fit_**2).sum()  # coding.lee:258


def glove_saved(v, u, b, e, count, top=1e2):
    """As glove, and what its gradient needs."""
    fit_ = v @ u.T + b[:, None] + e - np.log(np.maximum(count, 1))  # [words, words]  coding.lee:256
    weight = masked(np.minimum(1, (count / top) ** 0.75), count > 0)  # [words, words]  coding.lee:257
    return (weight * fit_**2).sum(), (fit_, weight)  # coding.lee:258


def glove_backward(v, u, saved, d_y):
    """From d_y to the gradients by v, u, b and e."""
    fit_, weight = saved
    # gradient of fit[i, j] = sum[k](v[i, k] * u[j, k]) + b[i] + e[j] - log(max(count[i, j], 1))   coding.lee:256
    d_fit = 2 * (d_y * weight * fit_)  # [words, words]
    d_e = d_fit.sum(axis=0)  # [words]
    d_b = d_fit.sum(axis=1)  # [words]
    d_v = d_fit @ u  # [words, d]
    d_u = d_fit.T @ v  # [words, d]
    return d_v, d_u, d_b, d_e


def gloveAsPrinted(v, u, count):
    """The notes' form: no biases, no weights.

    v [words, d], u [words, d], count [words, words] -> []
    """
    sub = v @ u.T - np.log(count)  # [words, words]  coding.lee:263
    return (sub**2).sum()


def gloveAsPrinted_saved(v, u, count):
    """As gloveAsPrinted, and what its gradient needs."""
    sub = v @ u.T - np.log(count)  # [words, words]  coding.lee:263
    return (sub**2).sum(), sub


def gloveAsPrinted_backward(v, u, count, sub, d_y):
    """From d_y to the gradients by v, u and count."""
    # gradient of return sum((v @ u.T - log(count)) ** 2)   coding.lee:263
    d_sub = 2 * d_y * sub  # [words, words]
    d_count = -(d_sub / count)  # [words, words]
    d_v = d_sub @ u  # [words, d]
    d_u = d_sub.T @ v  # [words, d]
    return d_v, d_u, d_count


def weighted_layers(h, score):
    """Σ w_l h_l, the weights learned: how important each layer is.

    h [layers, n, d], score [layers] -> [n, d]
    """
    layers, n, d = h.shape
    share = softmax(score, (0,))  # [layers]  prelude.lee:122
    mix = (share @ h.reshape(layers, d * n)).reshape(n, d)  # [n, d]  coding.lee:272
    return mix  # [n, d]


def weighted_layers_saved(h, score):
    """As weighted_layers, and what its gradient needs."""
    layers, n, d = h.shape
    share = softmax(score, (0,))  # [layers]  prelude.lee:122
    mix = (share @ h.reshape(layers, d * n)).reshape(n, d)  # [n, d]  coding.lee:272
    return mix, share


def weighted_layers_backward(h, share, d_mix):
    """From d_mix to the gradients by h and score."""
    layers, n, d = h.shape
    # gradient of mix[i, k] = sum[l](share[l] * h[l, i, k])   coding.lee:272
    d_share = h.reshape(layers, d * n) @ d_mix.reshape(d * n)  # [layers]
    d_h = share[:, None, None] * d_mix  # [layers, n, d]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    d_score = share * (d_share - (d_share * share).sum(axis=0, keepdims=True))  # [layers]
    return d_h, d_score


class Adapter(Model):
    """A bottleneck that is trained inside a model that is not (Houlsby et al. 2019); it begins as no change at all."""

    members = ("down", "up")

    def __init__(self, d, small, *, key=(0, 0)):
        self.d, self.small = d, small
        self.down = Linear(d, small, key=fold(key, SITES["down"]))  # coding.lee:278
        self.up = np.zeros((small, d), dtype=FLOAT)  # [small, d]  coding.lee:279
        self.lay_out()

    def forward(self, x):
        """x [n, d] -> [n, d]"""
        return x + relu(self.down(x)) @ self.up  # [n, d]  coding.lee:282

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        select = relu(self.down(x))  # [n, small]  coding.lee:282
        return x + select @ self.up, select

    def forward_backward_parameters(self, x, select, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x + relu(down(x)) @ up   coding.lee:282
        d_up = select.T @ d_y  # [small, d]
        d_down_out = relu_backward(select, d_y @ self.up.T)  # [n, small]
        d_down = Linear.forward_backward_parameters(x, d_down_out)
        return {"down": d_down, "up": d_up}


def adapted(frozen, adapter, head, x, y):
    """x [n, frozen.inputs], y int[n] -> []"""
    n = x.shape[0]
    if adapter.d != frozen.outputs:
        raise ValueError(f"adapter.d = {adapter.d} must equal frozen.outputs = {frozen.outputs}")
    if head.inputs != adapter.d:
        raise ValueError(f"head.inputs = {head.inputs} must equal adapter.d = {adapter.d}")
    h = stop(relu(frozen(x)))  # [n, frozen.outputs]  coding.lee:286
    head_out = head(adapter(h.reshape(n, adapter.d)).reshape(n, head.inputs))  # [n, head.outputs]  coding.lee:287
    return cross_entropy(head_out, y)


def adapted_saved(frozen, adapter, head, x, y):
    """As adapted, and what its gradient needs."""
    n = x.shape[0]
    if adapter.d != frozen.outputs:
        raise ValueError(f"adapter.d = {adapter.d} must equal frozen.outputs = {frozen.outputs}")
    if head.inputs != adapter.d:
        raise ValueError(f"head.inputs = {head.inputs} must equal adapter.d = {adapter.d}")
    h = stop(relu(frozen(x)))  # [n, frozen.outputs]  coding.lee:286
    reshape = h.reshape(n, adapter.d)  # [n, adapter.d]  coding.lee:287
    add_2, saved_adapter = adapter.forward_saved(reshape)
    reshape_2 = add_2.reshape(n, head.inputs)  # [n, head.inputs]
    head_out = head(reshape_2)  # [n, head.outputs]
    return cross_entropy(head_out, y), (reshape, saved_adapter, reshape_2, head_out)


def adapted_backward_parameters(adapter, head, y, saved, d_out):
    """From d_out to the gradients by adapter and head."""
    reshape, saved_adapter, reshape_2, head_out = saved
    n = y.shape[0]
    # gradient of return cross_entropy(head(adapter(h)), y)   coding.lee:287
    d_head, d_reshape_2 = head.forward_backward(reshape_2, cross_entropy_backward(head_out, y, d_out))
    d_add_2 = d_reshape_2.reshape(n, adapter.d)  # [n, adapter.d]
    d_adapter = adapter.forward_backward_parameters(reshape, saved_adapter, d_add_2)
    return d_adapter, d_head


def average_score(scores):
    """GLUE: the mean over tasks.

    scores [tasks] -> []
    """
    return scores.mean()  # coding.lee:292


def neighbours(a, b):
    """A sentence is to be likest the one that follows it, among all of the batch (Logeswaran & Lee 2018).

    a [n, d], b [n, d] -> []
    """
    n = a.shape[0]
    return cross_entropy(a @ b.T, np.arange(n))  # coding.lee:297


def neighbours_saved(a, b):
    """As neighbours, and what its gradient needs."""
    n = a.shape[0]
    contract = a @ b.T  # [n, n]  coding.lee:297
    return cross_entropy(contract, np.arange(n)), contract


def neighbours_backward(a, b, contract, d_y):
    """From d_y to the gradients by a and b."""
    n = a.shape[0]
    # gradient of return cross_entropy(a @ b.T, arange(n))   coding.lee:297
    d_contract = cross_entropy_backward(contract, np.arange(n), d_y)  # [n, n]
    d_a = d_contract @ b  # [n, d]
    d_b = d_contract.T @ a  # [n, d]
    return d_a, d_b


def example_rebuilt(key):
    net = AutoEncoder(5, 6, 2, key=fold(key, SITES["net"]))  # coding.lee:301
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:302
    noise = normal(fold(key, SITES["noise"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:303
    mean, saved_reconstruction = reconstruction_saved(net, x)  # coding.lee:304
    mean_2, saved_denoising = denoising_saved(net, x, noise)
    d_net, d_x_2, d_noise = denoising_backward(net, saved_denoising, FLOAT(2.0))
    d_net_, d_x_3 = reconstruction_backward(net, x, saved_reconstruction, FLOAT(1.0))
    w = d_net["encoder"]["layers.0"]["w"] + d_net_["encoder"]["layers.0"]["w"]  # [5, 6]
    b = d_net["encoder"]["layers.0"]["b"] + d_net_["encoder"]["layers.0"]["b"]  # [6]
    w_2 = d_net["encoder"]["layers.1"]["w"] + d_net_["encoder"]["layers.1"]["w"]  # [6, 2]
    b_2 = d_net["encoder"]["layers.1"]["b"] + d_net_["encoder"]["layers.1"]["b"]  # [2]
    w_3 = d_net["decoder"]["layers.0"]["w"] + d_net_["decoder"]["layers.0"]["w"]  # [2, 6]
    b_3 = d_net["decoder"]["layers.0"]["b"] + d_net_["decoder"]["layers.0"]["b"]  # [6]
    w_4 = d_net["decoder"]["layers.1"]["w"] + d_net_["decoder"]["layers.1"]["w"]  # [6, 5]
    b_4 = d_net["decoder"]["layers.1"]["b"] + d_net_["decoder"]["layers.1"]["b"]  # [5]
    return (
        mean + 2 * mean_2,
        net.at(
            {
                "encoder": {"layers.0": {"w": w, "b": b}, "layers.1": {"w": w_2, "b": b_2}},
                "decoder": {"layers.0": {"w": w_3, "b": b_3}, "layers.1": {"w": w_4, "b": b_4}},
            }
        ),
        d_x_2 + d_x_3,
        d_noise,
    )


def example_rebuilt_by_line(key):
    net = Tied(5, 2, key=fold(key, SITES["net"]))  # coding.lee:308
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:309
    value, saved_reconstruction_2 = reconstruction_2_saved(net, x)  # coding.lee:310
    d_net, d_x = reconstruction_2_backward(net, x, saved_reconstruction_2, FLOAT(1.0))
    return value, net.at(d_net), d_x


def example_back_in_place(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 4, 6), FLOAT)  # [2, 3, 4, 6]  coding.lee:314
    c = normal(fold(key, SITES["c"]), (2, 3, 4, 6), FLOAT)  # [2, 3, 4, 6]  coding.lee:315
    y, place, saved_pooled = pooled_saved(x)  # coding.lee:316
    x_2, saved_unpooled = unpooled_saved(y, place)  # coding.lee:317
    mul_2 = c**2  # [2, 3, 4, 6]
    x_3, saved_copied = copied_saved(y)
    d_y_2 = copied_backward(saved_copied, 2, 2, 3, mul_2)  # [2, 3, 2, 3]
    d_y = d_y_2 + unpooled_backward(saved_unpooled, 2, 2, 3, c)  # [2, 3, 2, 3]  coding.lee:316
    return (c * x_2).sum() + (mul_2 * x_3).sum(), pooled_backward(saved_pooled, 4, 2, 6, d_y), 2 * (x_3 * c) + x_2


def example_spread_out(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  coding.lee:321
    kernel = normal(fold(key, SITES["kernel"]), (3, 2, 3, 3), FLOAT)  # [3, 2, 3, 3]  coding.lee:322
    y, saved_deconvolved = deconvolved_saved(x, kernel)  # coding.lee:323
    d_x, d_kernel = deconvolved_backward(kernel, saved_deconvolved, 4, 5, 2 * y)
    return (y**2).sum(), d_x, d_kernel


def example_belongs(key):
    net = Matching(5, 2, 6, key=fold(key, SITES["net"]))  # coding.lee:327
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:328
    other = normal(fold(key, SITES["other"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:329
    value, saved_matched = matched_saved(net, x, other)  # coding.lee:330
    d_net, d_x, d_other = matched_backward(net, x, saved_matched, FLOAT(1.0))
    return value, net.at(d_net), d_x, d_other


def example_in_parts(key):
    content = MLP((5, 6, 4), key=fold(key, SITES["content"]))  # coding.lee:334
    style = MLP((5, 6, 2), key=fold(key, SITES["style"]))  # coding.lee:335
    decoder = MLP((6, 6, 5), key=fold(key, SITES["decoder"]))  # coding.lee:336
    speaker = Linear(4, 3, key=fold(key, SITES["speaker"]))  # coding.lee:337
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:338
    who = randint(fold(key, SITES["who"]), (7,), 0, 3)  # int[7]  coding.lee:339
    value, saved_disentangled = disentangled_saved(content, style, decoder, speaker, x, who)  # coding.lee:340
    d_value = FLOAT(1.0)
    d_content, d_style, d_decoder, d_speaker, d_x = disentangled_backward(
        content, style, decoder, speaker, x, who, 0.5, saved_disentangled, d_value
    )
    return value, content.at(d_content), style.at(d_style), decoder.at(d_decoder), speaker.at(d_speaker), d_x


def example_in_bits(key):
    z = normal(fold(key, SITES["z"]), (7, 4), FLOAT)  # [7, 4]  coding.lee:344
    c = normal(fold(key, SITES["c"]), (7, 4), FLOAT)  # [7, 4]  coding.lee:345
    graft, saved_one_of = one_of_saved(z)  # coding.lee:346
    mul_2 = c**2  # [7, 4]
    graft_2, saved_binary = binary_saved(z)
    d_z_2 = binary_backward(saved_binary, mul_2)  # [7, 4]
    return (
        (c * graft).sum() + (mul_2 * graft_2).sum(),
        d_z_2 + one_of_backward(saved_one_of, c),
        2 * (graft_2 * c) + graft,
    )


def example_quantised(key):
    net = VQVAE(5, 6, 3, 4, key=fold(key, SITES["net"]))  # coding.lee:350
    x = 2 * normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  coding.lee:351
    value, saved_vq = vq_saved(net, x)  # coding.lee:352
    d_net, d_x = vq_backward(net, x, 0.25, saved_vq, FLOAT(1.0))
    return value, net.at(d_net), d_x


def example_of_words(key):
    table = normal(fold(key, SITES["table"]), (6, 3), FLOAT)  # [6, 3]  coding.lee:356
    out = normal(fold(key, SITES["out"]), (6, 3), FLOAT)  # [6, 3]  coding.lee:357
    around = randint(fold(key, SITES["around"]), (5, 4), 0, 6)  # int[5, 4]  coding.lee:358
    word = randint(fold(key, SITES["word"]), (5,), 0, 6)  # int[5]  coding.lee:359
    near = randint(fold(key, SITES["near"]), (5,), 0, 6)  # int[5]  coding.lee:360
    mean_2, saved_continuous_bag = continuous_bag_saved(table, out, around, word)  # coding.lee:361
    mean, saved_skip_gram = skip_gram_saved(table, out, word, near)
    d_table_2, d_out_2 = skip_gram_backward(out, word, near, saved_skip_gram, FLOAT(2.0))
    d_table_3, d_out_3 = continuous_bag_backward(out, around, word, saved_continuous_bag, FLOAT(1.0))
    return mean_2 + 2 * mean, d_table_2 + d_table_3, d_out_2 + d_out_3


def example_counted(key):
    v = normal(fold(key, SITES["v"]), (4, 3), FLOAT)  # [4, 3]  coding.lee:365
    u = normal(fold(key, SITES["u"]), (4, 3), FLOAT)  # [4, 3]  coding.lee:366
    b = normal(fold(key, SITES["b"]), (4,), FLOAT)  # [4]  coding.lee:367
    e = normal(fold(key, SITES["e"]), (4,), FLOAT)  # [4]  coding.lee:368
    draw = randint(fold(key, SITES["draw"]), (4, 4), 0, 6)  # int[4, 4]  coding.lee:369
    cast_draw = draw.astype(FLOAT)  # [4, 4]  coding.lee:370
    count = cast_draw**2 * cast_draw  # [4, 4]
    value, saved_glove = glove_saved(v, u, b, e, count)  # coding.lee:371
    d_v, d_u, d_b, d_e = glove_backward(v, u, saved_glove, FLOAT(1.0))
    return value, d_v, d_u, d_b, d_e


def example_counted_as_printed(key):
    v = normal(fold(key, SITES["v"]), (4, 3), FLOAT)  # [4, 3]  coding.lee:375
    u = normal(fold(key, SITES["u"]), (4, 3), FLOAT)  # [4, 3]  coding.lee:376
    count = 1 + 8 * uniform(fold(key, SITES["count"]), (4, 4), FLOAT)  # [4, 4]  coding.lee:377
    value, saved_gloveAsPrinted = gloveAsPrinted_saved(v, u, count)  # coding.lee:378
    d_v, d_u, d_count = gloveAsPrinted_backward(v, u, count, saved_gloveAsPrinted, FLOAT(1.0))
    return value, d_v, d_u, d_count


def example_mixed_layers(key):
    h = normal(fold(key, SITES["h"]), (3, 5, 4), FLOAT)  # [3, 5, 4]  coding.lee:382
    score = normal(fold(key, SITES["score"]), (3,), FLOAT)  # [3]  coding.lee:383
    c = normal(fold(key, SITES["c"]), (5, 4), FLOAT)  # [5, 4]  coding.lee:384
    d_c, saved_weighted_layers = weighted_layers_saved(h, score)  # coding.lee:385
    d_h, d_score = weighted_layers_backward(h, saved_weighted_layers, c)
    return (c * d_c).sum(), d_h, d_score, d_c


def example_with_adapter(key):
    frozen = Linear(5, 6, key=fold(key, SITES["frozen"]))  # coding.lee:389
    adapter = Adapter(6, 2, key=fold(key, SITES["adapter"]))  # coding.lee:390
    head = Linear(6, 3, key=fold(key, SITES["head"]))  # coding.lee:391
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:392
    y = randint(fold(key, SITES["y"]), (7,), 0, 3)  # int[7]  coding.lee:393
    value, saved_adapted = adapted_saved(frozen, adapter, head, x, y)  # coding.lee:394
    d_adapter, d_head = adapted_backward_parameters(adapter, head, y, saved_adapted, FLOAT(1.0))
    return (
        value,
        frozen.at({"w": np.zeros((5, 6), dtype=FLOAT), "b": np.zeros(6, dtype=FLOAT)}),
        adapter.at(d_adapter),
        head.at(d_head),
        np.zeros((7, 5), dtype=FLOAT),
    )


def example_in_order(key):
    a = normal(fold(key, SITES["a"]), (5, 3), FLOAT)  # [5, 3]  coding.lee:398
    b = normal(fold(key, SITES["b"]), (5, 3), FLOAT)  # [5, 3]  coding.lee:399
    value, saved_neighbours = neighbours_saved(a, b)  # coding.lee:400
    d_a, d_b = neighbours_backward(a, b, saved_neighbours, FLOAT(1.0))
    return value, d_a, d_b


def example_judged(key):
    score = normal(fold(key, SITES["score"]), (8,), FLOAT)  # [8]  coding.lee:404
    odd = uniform(fold(key, SITES["odd"]), (8,), FLOAT) < 0.5  # bool[8]  coding.lee:405
    index = randint(fold(key, SITES["index"]), (8,), 0, 5)  # int[8]  coding.lee:406
    table = normal(fold(key, SITES["table"]), (6, 3), FLOAT)  # [6, 3]  coding.lee:407
    # coding.lee:408
    return area_under_curve(score, odd), perplexity(index, 5), analogy(table, 0, 1, 2), average_score(score)


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def mse_saved(y, target):
    """As mse, and what its gradient needs."""
    sub = y - target  # [y_0, y_1]  losses.lee:13
    return reduced_2(sub**2), sub


def mse_backward(sub, d_mean):
    """From d_mean to the gradient by y."""
    y_0, y_1 = sub.shape
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_y = 2 * (reduced_2_backward(y_0, y_1, d_mean) * sub)  # [y_0, y_1]
    return d_y  # [y_0, y_1]


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
    one_hot_ = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot_) * d_surprise[:, None]  # [rows, k]
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


def reduced_2(each):
    """The mean of all, or each by itself.

    each [each_0, each_1] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_2_backward(each_0, each_1, d_y):
    """From d_y to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = np.broadcast_to(d_y / (each_0 * each_1), (each_0, each_1))  # [each_0, each_1]
    return d_each  # [each_0, each_1]


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

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}


class MLP(Model):
    """Linear layers with relu between them: MLP((64, 128, 10)) has one hidden layer of 128."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        self.sizes = sizes
        # nn.lee:37
        self.layers = [
            Linear(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
            Linear(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
        ]
        self.lay_out()

    def forward(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_2]"""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2)  # [x_0, sizes_2]  nn.lee:42

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2), x_2  # nn.lee:42

    def forward_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


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


def stop(x):
    """x, through which no gradient flows.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x  # [x_0, x_1]


def straight_through(hard, soft):
    """The value of `hard` with the gradient of `soft` (Bengio et al. 2013).

    hard [hard_0, hard_1], soft [hard_0, hard_1] -> [hard_0, hard_1]
    """
    return hard  # [hard_0, hard_1]


def straight_through_backward(d_graft):
    """From d_graft to the gradient by soft."""
    return d_graft  # [hard_0, hard_1]


def reverse_gradient(x, strength=1.0):
    """x, whose gradient comes back multiplied by -strength (Ganin & Lempitsky 2015).

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x  # [x_0, x_1]


def reverse_gradient_backward(strength, d_graft):
    """From d_graft to the gradient by x."""
    # gradient of return graft(x, -strength * x)   prelude.lee:28
    d_x = d_graft * -strength  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return np.maximum(x, 0)  # [x_0, x_1]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> [x_0]
    """
    return np.sqrt((x**2).sum(axis=1))  # [x_0]  prelude.lee:163


def norm_2(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0] -> []
    """
    return np.sqrt((x**2).sum())  # prelude.lee:163


@packed(0, index=(0, 1))
def one_hot(index, classes):
    """1 at the place that the index names, 0 elsewhere.

    index int[..] -> [.., classes]
    """
    place = np.arange(classes)  # int[classes]  prelude.lee:253
    return (index[:, None] == place).astype(FLOAT)  # [rows, classes]  prelude.lee:254


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "adapter": 0x705A9419793EE6A8,
    "around": 0xCA218E0873604B37,
    "b": 0x754F854DE3C27284,
    "book": 0x3513AC389F951365,
    "c": 0x1B2C07CD64633F37,
    "code": 0x3E07E7F942BE430F,
    "content": 0xA3AB977412994AB1,
    "count": 0x4C0115B3A40C3D0F,
    "decoder": 0x461F1F218D809D1B,
    "down": 0x672F5B678D49ED61,
    "draw": 0x6DE1B78C5AC48669,
    "e": 0x4F1D2FB024A5D810,
    "encoder": 0x651C9E989B434403,
    "frozen": 0x7C6E9D9C62911993,
    "h": 0x30335FE014629146,
    "head": 0xBD7890018BD219D5,
    "index": 0xB4E3D649B5070459,
    "judge": 0x984177D58232D409,
    "kernel": 0x273FEA903E119357,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "near": 0xFD10F617D27419E5,
    "net": 0xF087C76970C91612,
    "noise": 0x370359298C8860E5,
    "odd": 0xAD22AC680BE1D052,
    "other": 0xAF93053850CE50D6,
    "out": 0x00B417F045D422B4,
    "score": 0xBB12D0B9107F2826,
    "speaker": 0x0D704B918DA850D8,
    "style": 0x6D52B799F11BF204,
    "table": 0x4F51E0D95EBC91EB,
    "u": 0x08D267E10C593806,
    "v": 0x9DF7DC769517EBA3,
    "w": 0x20925082A2286B9E,
    "who": 0x87AFB21DF00C42EA,
    "word": 0x958EC7D727CFA44A,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
    "z": 0x3041FD28A7B04184,
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


def randint(key: Key, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape)).reshape(shape).astype(np.uint64)
    return (words * np.uint64(high - low) >> 32).astype(np.int64) + low


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)


def update_together(optimizer, *pairs, each=False):
    """One update of several models, given with their gradients, as one vector; `each` for a rule of single tensors."""
    θ = np.concatenate([model.parameters for model, _ in pairs])
    shapes = [[shape for model, _ in pairs for shape in model.shapes()]] if each else []
    optimizer.update(θ, np.concatenate([model.flat(gradient) for model, gradient in pairs]), *shapes)
    stop = 0
    for model, _ in pairs:
        start, stop = stop, stop + model.parameters.size
        model.parameters[...] = θ[start:stop]
