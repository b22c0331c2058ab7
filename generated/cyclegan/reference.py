"""CycleGAN with convolutions (inventory H23; Zhu et al. 2017): two translators, there and back again, and two critics.

The domains are digits and pale digits on a bright and noisy ground; nobody says which image belongs to which.

Made from specs/generative/cyclegan.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/generative/cyclegan.lee
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


def standard(x, eps=1e-5):
    """Instance normalisation: every channel of every image by itself.

    x [n, c, h, w] -> [n, c, h, w]
    """
    centred = x - x.mean(axis=(2, 3), keepdims=True)  # [n, c, h, w]  cyclegan.lee:16
    deviation = np.sqrt((centred**2).mean(axis=(2, 3), keepdims=True) + eps)  # [n, c, 1, 1]
    return centred / deviation  # [n, c, h, w]


def standard_backward(x, eps, d_y):
    """From d_y to the gradient by x."""
    # gradient of return centred / sqrt(mean(centred ** 2, over = (h, w)) + eps)[:, :, None, None]   cyclegan.lee:16
    centred = x - x.mean(axis=(2, 3), keepdims=True)  # [n, c, h, w]
    deviation = np.sqrt((centred**2).mean(axis=(2, 3), keepdims=True) + eps)  # [n, c, 1, 1]
    normal_ = centred / deviation  # [n, c, h, w]
    mul_3 = normal_ * (d_y * normal_).mean(axis=(2, 3), keepdims=True)  # [n, c, h, w]
    d_x = (d_y - d_y.mean(axis=(2, 3), keepdims=True) - mul_3) / deviation  # [n, c, h, w]
    return d_x  # [n, c, h, w]


class Residual(Model):
    """Residual(c)"""

    members = ("first", "second")

    def __init__(self, c, *, key=(0, 0)):
        self.c = c
        self.first = Conv(c, c, padding=1, key=fold(key, SITES["first"]))  # cyclegan.lee:20
        self.second = Conv(c, c, padding=1, key=fold(key, SITES["second"]))  # cyclegan.lee:21
        self.lay_out()

    def forward(self, x):
        """x [n, c, h, w] -> [n, c, h, w]"""
        return x + standard(self.second(relu(standard(self.first(x)))))  # [n, c, h, w]  cyclegan.lee:24

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        first_out = self.first(x)  # [n, c, h, w]  cyclegan.lee:24
        select = relu(standard(first_out))  # [n, c, h, w]
        second_out = self.second(select)  # [n, c, h, w]
        return x + standard(second_out), (first_out, select, second_out)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        first_out, select, second_out = saved
        # gradient of return x + standard(second(relu(standard(first(x)))))   cyclegan.lee:24
        d_second_out = standard_backward(second_out, 1e-5, d_y)  # [n, c, h, w]
        d_second, d_select = self.second.forward_backward(select, d_second_out)
        d_first_out = standard_backward(first_out, 1e-5, relu_backward(select, d_select))  # [n, c, h, w]
        d_first, d_x_2 = self.first.forward_backward(x, d_first_out)
        d_x = d_y + d_x_2  # [n, c, h, w]
        return {"first": d_first, "second": d_second}, d_x


class Translator_2(Model):
    """An image of the same size, between -1 and 1."""

    members = ("read", "blocks", "write")

    def __init__(self, channels=1, width=8, k=3, *, key=(0, 0)):
        self.channels, self.width, self.k = channels, width, k
        if k % 2 != 1:
            raise ValueError(f"cyclegan.lee:29: k % 2 == 1 must hold: k = {k}")
        self.read = Conv(channels, width, k=k, padding=k // 2, key=fold(key, SITES["read"]))  # cyclegan.lee:30
        # cyclegan.lee:31
        self.blocks = [
            Residual(width, key=fold(key, SITES["blocks.0"])),
            Residual(width, key=fold(key, SITES["blocks.1"])),
        ]
        self.write = Conv(width, channels, k=k, padding=k // 2, key=fold(key, SITES["write"]))  # cyclegan.lee:32
        self.lay_out()

    def forward(self, x):
        """x [n, channels, h, w] -> [n, channels, h, w]"""
        n, _, h, w = x.shape
        x_2 = relu(self.read(x))  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]  cyclegan.lee:35
        x_3 = self.blocks[0](x_2)  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]  cyclegan.lee:37
        x_4 = self.blocks[1](x_3)  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]
        return np.tanh(self.write(x_4)).reshape(n, self.channels, h, w)  # [n, channels, h, w]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, h, w = x.shape
        x_2 = relu(self.read(x))  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]  cyclegan.lee:35
        x_3, saved_blocks_0_ = self.blocks[0].forward_saved(x_2)  # cyclegan.lee:37
        x_4, saved_blocks_1_ = self.blocks[1].forward_saved(x_3)
        # [n, channels, h + 4 * (k // 2) + 2 - 2 * k, w + 4 * (k // 2) + 2 - 2 * k]  cyclegan.lee:38
        tanh_write_out = np.tanh(self.write(x_4))
        saved = x_2, x_3, saved_blocks_0_, x_4, saved_blocks_1_, tanh_write_out
        return tanh_write_out.reshape(n, self.channels, h, w), saved

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_2, x_3, saved_blocks_0_, x_4, saved_blocks_1_, tanh_write_out = saved
        n, _, h, w = x.shape
        # [n, channels, h + 4 * (k // 2) + 2 - 2 * k, w + 4 * (k // 2) + 2 - 2 * k]
        d_tanh_write_out = d_y.reshape(
            n, self.channels, h + 4 * (self.k // 2) + 2 - 2 * self.k, w + 4 * (self.k // 2) + 2 - 2 * self.k
        )
        # gradient of return tanh(write(x))   cyclegan.lee:38
        d_write, d_x_4 = self.write.forward_backward(x_4, d_tanh_write_out * (1 - tanh_write_out**2))
        # gradient of x = block(x)   cyclegan.lee:37
        d_blocks_1_, d_x_3 = self.blocks[1].forward_backward(x_3, saved_blocks_1_, d_x_4)
        d_blocks_0_, d_x_2 = self.blocks[0].forward_backward(x_2, saved_blocks_0_, d_x_3)
        # gradient of x = relu(read(x))   cyclegan.lee:35
        d_read, d_x = self.read.forward_backward(x, relu_backward(x_2, d_x_2))
        return {"read": d_read, "blocks.0": d_blocks_0_, "blocks.1": d_blocks_1_, "write": d_write}, d_x


class Translator_3(Model):
    """An image of the same size, between -1 and 1."""

    members = ("read", "blocks", "write")

    def __init__(self, channels=1, width=8, k=3, *, key=(0, 0)):
        self.channels, self.width, self.k = channels, width, k
        if k % 2 != 1:
            raise ValueError(f"cyclegan.lee:29: k % 2 == 1 must hold: k = {k}")
        self.read = Conv(channels, width, k=k, padding=k // 2, key=fold(key, SITES["read"]))  # cyclegan.lee:30
        self.blocks = [Residual(width, key=fold(key, SITES["blocks.0"]))]  # cyclegan.lee:31
        self.write = Conv(width, channels, k=k, padding=k // 2, key=fold(key, SITES["write"]))  # cyclegan.lee:32
        self.lay_out()

    def forward(self, x):
        """x [n, channels, h, w] -> [n, channels, h, w]"""
        n, _, h, w = x.shape
        x_2 = relu(self.read(x))  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]  cyclegan.lee:35
        x_3 = self.blocks[0](x_2)  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]  cyclegan.lee:37
        return np.tanh(self.write(x_3)).reshape(n, self.channels, h, w)  # [n, channels, h, w]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, h, w = x.shape
        x_2 = relu(self.read(x))  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]  cyclegan.lee:35
        x_3, saved_blocks_0_ = self.blocks[0].forward_saved(x_2)  # cyclegan.lee:37
        # [n, channels, h + 4 * (k // 2) + 2 - 2 * k, w + 4 * (k // 2) + 2 - 2 * k]  cyclegan.lee:38
        tanh_write_out = np.tanh(self.write(x_3))
        return tanh_write_out.reshape(n, self.channels, h, w), (x_2, x_3, saved_blocks_0_, tanh_write_out)

    def forward_backward_parameters(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x_2, x_3, saved_blocks_0_, tanh_write_out = saved
        n, _, h, w = x.shape
        # [n, channels, h + 4 * (k // 2) + 2 - 2 * k, w + 4 * (k // 2) + 2 - 2 * k]
        d_tanh_write_out = d_y.reshape(
            n, self.channels, h + 4 * (self.k // 2) + 2 - 2 * self.k, w + 4 * (self.k // 2) + 2 - 2 * self.k
        )
        # gradient of return tanh(write(x))   cyclegan.lee:38
        d_write, d_x_3 = self.write.forward_backward(x_3, d_tanh_write_out * (1 - tanh_write_out**2))
        # gradient of x = block(x)   cyclegan.lee:37
        d_blocks_0_, d_x_2 = self.blocks[0].forward_backward(x_2, saved_blocks_0_, d_x_3)
        # gradient of x = relu(read(x))   cyclegan.lee:35
        d_read_out = relu_backward(x_2, d_x_2)  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]
        d_read = Conv.forward_backward_parameters(x, 1, self.k, self.k // 2, 1, d_read_out)
        return {"read": d_read, "blocks.0": d_blocks_0_, "write": d_write}

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_2, x_3, saved_blocks_0_, tanh_write_out = saved
        n, _, h, w = x.shape
        # [n, channels, h + 4 * (k // 2) + 2 - 2 * k, w + 4 * (k // 2) + 2 - 2 * k]
        d_tanh_write_out = d_y.reshape(
            n, self.channels, h + 4 * (self.k // 2) + 2 - 2 * self.k, w + 4 * (self.k // 2) + 2 - 2 * self.k
        )
        # gradient of return tanh(write(x))   cyclegan.lee:38
        d_write, d_x_3 = self.write.forward_backward(x_3, d_tanh_write_out * (1 - tanh_write_out**2))
        # gradient of x = block(x)   cyclegan.lee:37
        d_blocks_0_, d_x_2 = self.blocks[0].forward_backward(x_2, saved_blocks_0_, d_x_3)
        # gradient of x = relu(read(x))   cyclegan.lee:35
        d_read, d_x = self.read.forward_backward(x, relu_backward(x_2, d_x_2))
        return {"read": d_read, "blocks.0": d_blocks_0_, "write": d_write}, d_x


class Critic(Model):
    """A score for every patch of the image."""

    members = ("first", "second", "last")

    def __init__(self, channels=1, width=8, *, key=(0, 0)):
        self.channels, self.width = channels, width
        self.first = Conv(channels, width, k=4, stride=2, padding=1, key=fold(key, SITES["first"]))  # cyclegan.lee:43
        # cyclegan.lee:44
        self.second = Conv(width, 2 * width, k=4, stride=2, padding=1, key=fold(key, SITES["second"]))
        self.last = Conv(2 * width, 1, padding=1, key=fold(key, SITES["last"]))  # cyclegan.lee:45
        self.lay_out()

    def forward(self, x):
        """x [n, channels, h, w] -> [n, h // 4, w // 4]"""
        n, _, h, w = x.shape
        x_2 = leaky_relu(self.first(x), slope=0.2)  # [n, width, h // 2, w // 2]  cyclegan.lee:48
        # [n, 1, h // 4, w // 4]  cyclegan.lee:49
        last_out = self.last(leaky_relu(standard(self.second(x_2)), slope=0.2))
        return last_out.reshape(n, h // 4, w // 4)  # [n, h // 4, w // 4]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, h, w = x.shape
        x_2, saved_leaky_relu = leaky_relu_saved(self.first(x), slope=0.2)  # cyclegan.lee:48
        second_out = self.second(x_2)  # [n, 2 * width, h // 4, w // 4]  cyclegan.lee:49
        select, saved_leaky_relu_ = leaky_relu_saved(standard(second_out), slope=0.2)
        return self.last(select).reshape(n, h // 4, w // 4), (
            x_2,
            saved_leaky_relu,
            second_out,
            select,
            saved_leaky_relu_,
        )

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_2, saved_leaky_relu, second_out, select, saved_leaky_relu_ = saved
        # gradient of return last(leaky_relu(standard(second(x)), 0.2))[:, 0]   cyclegan.lee:49
        d_last, d_select = self.last.forward_backward(select, d_y[:, None])
        d_div = leaky_relu_backward(0.2, saved_leaky_relu_, d_select)  # [n, 2 * width, h // 4, w // 4]
        d_second_out = standard_backward(second_out, 1e-5, d_div)  # [n, 2 * width, h // 4, w // 4]
        d_second, d_x_2 = self.second.forward_backward(x_2, d_second_out)
        # gradient of x = leaky_relu(first(x), 0.2)   cyclegan.lee:48
        d_first_out = leaky_relu_backward(0.2, saved_leaky_relu, d_x_2)  # [n, width, h // 2, w // 2]
        d_first, d_x = self.first.forward_backward(x, d_first_out)
        return {"first": d_first, "second": d_second, "last": d_last}, d_x

    def forward_backward_input(self, saved, h, w, d_y):
        """From d_y to the gradient by x."""
        _, saved_leaky_relu, second_out, _, saved_leaky_relu_ = saved
        # gradient of return last(leaky_relu(standard(second(x)), 0.2))[:, 0]   cyclegan.lee:49
        d_select = self.last.forward_backward_input(h // 4, w // 4, d_y[:, None])  # [n, 2 * width, h // 4, w // 4]
        d_div = leaky_relu_backward(0.2, saved_leaky_relu_, d_select)  # [n, 2 * width, h // 4, w // 4]
        d_second_out = standard_backward(second_out, 1e-5, d_div)  # [n, 2 * width, h // 4, w // 4]
        d_x_2 = self.second.forward_backward_input(h // 2, w // 2, d_second_out)  # [n, width, h // 2, w // 2]
        # gradient of x = leaky_relu(first(x), 0.2)   cyclegan.lee:48
        d_first_out = leaky_relu_backward(0.2, saved_leaky_relu, d_x_2)  # [n, width, h // 2, w // 2]
        d_x = self.first.forward_backward_input(h, w, d_first_out)  # [n, channels, h, w]
        return d_x  # [n, channels, h, w]

    def forward_backward_parameters(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x_2, saved_leaky_relu, second_out, select, saved_leaky_relu_ = saved
        # gradient of return last(leaky_relu(standard(second(x)), 0.2))[:, 0]   cyclegan.lee:49
        d_last, d_select = self.last.forward_backward(select, d_y[:, None])
        d_div = leaky_relu_backward(0.2, saved_leaky_relu_, d_select)  # [n, 2 * width, h // 4, w // 4]
        d_second_out = standard_backward(second_out, 1e-5, d_div)  # [n, 2 * width, h // 4, w // 4]
        d_second, d_x_2 = self.second.forward_backward(x_2, d_second_out)
        # gradient of x = leaky_relu(first(x), 0.2)   cyclegan.lee:48
        d_first_out = leaky_relu_backward(0.2, saved_leaky_relu, d_x_2)  # [n, width, h // 2, w // 2]
        d_first = Conv.forward_backward_parameters(x, 1, 4, 1, 2, d_first_out)
        return {"first": d_first, "second": d_second, "last": d_last}


def towards_saved(score, target):
    """As towards, and what its gradient needs."""
    sub = score - target  # [n, h, w]  cyclegan.lee:54
    return (sub**2).mean(), sub


def towards_backward(sub, d_mean):
    """From d_mean to the gradient by score."""
    n, h, w = sub.shape
    # gradient of return mean((score - target) ** 2)   cyclegan.lee:54
    d_score = 2 * (d_mean / (h * n * w)) * sub  # [n, h, w]
    return d_score  # [n, h, w]


def translators_saved(ab, ba, critic_a, critic_b, a, b, round_trip=5.0, identity=0.5):
    """As translators, and what its gradient needs."""
    n = a.shape[0]
    m, _, h, w = b.shape
    if ba.channels != ab.channels:
        raise ValueError(f"ba.channels = {ba.channels} must equal ab.channels = {ab.channels}")
    if critic_b.channels != ab.channels:
        raise ValueError(f"critic_b.channels = {critic_b.channels} must equal ab.channels = {ab.channels}")
    if critic_a.channels != ba.channels:
        raise ValueError(f"critic_a.channels = {critic_a.channels} must equal ba.channels = {ba.channels}")
    fake_b, saved_ab = ab.forward_saved(a)  # cyclegan.lee:59
    fake_a, saved_ba = ba.forward_saved(b.reshape(m, ba.channels, h, w))  # cyclegan.lee:60
    reshape_2 = fake_b.reshape(n, critic_b.channels, h, w)  # [n, critic_b.channels, h, w]  cyclegan.lee:61
    reshape_4, saved_critic_b = critic_b.forward_saved(reshape_2)
    mean, saved_towards = towards_saved(reshape_4, 1)
    reshape_3 = fake_a.reshape(m, critic_a.channels, h, w)  # [m, critic_a.channels, h, w]
    reshape_6, saved_critic_a = critic_a.forward_saved(reshape_3)
    mean_2, saved_towards_ = towards_saved(reshape_6, 1)
    fool = mean + mean_2
    reshape_5 = fake_b.reshape(n, ba.channels, h, w)  # [n, ba.channels, h, w]  cyclegan.lee:62
    reshape_8, saved_ba_ = ba.forward_saved(reshape_5)
    reshape_7 = a.reshape(n, ba.channels, h, w)  # [n, ba.channels, h, w]
    sub = reshape_8 - reshape_7  # [n, ba.channels, h, w]
    reshape_9 = fake_a.reshape(m, ab.channels, h, w)  # [m, ab.channels, h, w]
    reshape_11, saved_ab_ = ab.forward_saved(reshape_9)
    sub_2 = reshape_11 - b  # [m, ab.channels, h, w]
    back = np.abs(sub).mean() + np.abs(sub_2).mean()
    reshape_12, saved_ab_2 = ab.forward_saved(b)  # cyclegan.lee:63
    sub_3 = reshape_12 - b  # [m, ab.channels, h, w]
    reshape_14, saved_ba_2 = ba.forward_saved(reshape_7)
    sub_4 = reshape_14 - reshape_7  # [n, ba.channels, h, w]
    same = np.abs(sub_3).mean() + np.abs(sub_4).mean()
    saved = (
        saved_ab,
        saved_ba,
        reshape_2,
        saved_critic_b,
        saved_towards,
        reshape_3,
        saved_critic_a,
        saved_towards_,
        reshape_5,
        saved_ba_,
        sub,
        reshape_9,
        saved_ab_,
        sub_2,
        saved_ab_2,
        sub_3,
        saved_ba_2,
        sub_4,
    )
    return fool + round_trip * back + identity * same, saved  # cyclegan.lee:64


def translators_backward(ab, ba, critic_a, critic_b, a, b, round_trip, identity, saved, d_add_2):
    """From d_add_2 to the gradients by ab, ba, critic_a, critic_b, a and b."""
    saved_ab, saved_ba, reshape_2, saved_critic_b, saved_towards, reshape_3, saved_critic_a, saved_towards_, reshape_5, saved_ba_, sub, reshape_9, saved_ab_, sub_2, saved_ab_2, sub_3, saved_ba_2, sub_4 = saved
    n = a.shape[0]
    m, _, h, w = b.shape
    # gradient of return fool + round_trip * back + identity * same   cyclegan.lee:64
    d_same = d_add_2 * identity
    d_back = d_add_2 * round_trip
    # gradient of same = mean(abs(ab(b) - b)) + mean(abs(ba(a) - a))   cyclegan.lee:63
    d_sub_4 = d_same / (ba.channels * h * n * w) * np.sign(sub_4)  # [n, ba.channels, h, w]
    d_ba, d_reshape_7_3 = ba.forward_backward(a.reshape(n, ba.channels, h, w), saved_ba_2, d_sub_4)
    d_sub_3 = d_same / (ab.channels * h * m * w) * np.sign(sub_3)  # [m, ab.channels, h, w]
    d_ab, d_b_3 = ab.forward_backward(b, saved_ab_2, d_sub_3)
    # gradient of back = mean(abs(ba(fake_b) - a)) + mean(abs(ab(fake_a) - b))   cyclegan.lee:62
    d_sub_2 = d_back / (ab.channels * h * m * w) * np.sign(sub_2)  # [m, ab.channels, h, w]
    d_ab_, d_reshape_9 = ab.forward_backward(reshape_9, saved_ab_, d_sub_2)
    d_sub = d_back / (ba.channels * h * n * w) * np.sign(sub)  # [n, ba.channels, h, w]
    d_reshape_7 = d_reshape_7_3 - d_sub_4 - d_sub  # [n, ba.channels, h, w]
    d_ba_, d_reshape_5 = ba.forward_backward(reshape_5, saved_ba_, d_sub)
    # gradient of fool = towards(critic_b(fake_b), 1) + towards(critic_a(fake_a), 1)   cyclegan.lee:61
    d_reshape_6 = towards_backward(saved_towards_, d_add_2)  # [m, h // 4, w // 4]
    d_critic_a, d_reshape_3 = critic_a.forward_backward(reshape_3, saved_critic_a, d_reshape_6)
    d_reshape_4 = towards_backward(saved_towards, d_add_2)  # [n, h // 4, w // 4]
    d_critic_b, d_reshape_2 = critic_b.forward_backward(reshape_2, saved_critic_b, d_reshape_4)
    # gradient of back = mean(abs(ba(fake_b) - a)) + mean(abs(ab(fake_a) - b))   cyclegan.lee:62
    d_fake_a_2 = d_reshape_9.reshape(m, ba.channels, h, w)  # [m, ba.channels, h, w]
    # gradient of fake_a = ba(b)   cyclegan.lee:60
    d_fake_a = d_fake_a_2 + d_reshape_3.reshape(m, ba.channels, h, w)  # [m, ba.channels, h, w]
    d_ba_2, d_reshape = ba.forward_backward(b.reshape(m, ba.channels, h, w), saved_ba, d_fake_a)
    # gradient of back = mean(abs(ba(fake_b) - a)) + mean(abs(ab(fake_a) - b))   cyclegan.lee:62
    d_fake_b_2 = d_reshape_5.reshape(n, ab.channels, h, w)  # [n, ab.channels, h, w]
    # gradient of fake_b = ab(a)   cyclegan.lee:59
    d_fake_b = d_fake_b_2 + d_reshape_2.reshape(n, ab.channels, h, w)  # [n, ab.channels, h, w]
    d_ab_2, d_a_3 = ab.forward_backward(a, saved_ab, d_fake_b)
    # [ab.width, ab.channels, ab.k, ab.k]
    d_ab_read_kernel = d_ab["read"]["kernel"] + d_ab_["read"]["kernel"] + d_ab_2["read"]["kernel"]
    d_ab_read_bias = d_ab["read"]["bias"] + d_ab_["read"]["bias"] + d_ab_2["read"]["bias"]  # [ab.width]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_0_first_kernel_5 = d_ab["blocks.0"]["first"]["kernel"] + d_ab_["blocks.0"]["first"]["kernel"]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_0_first_kernel = d_ab_blocks_0_first_kernel_5 + d_ab_2["blocks.0"]["first"]["kernel"]
    d_ab_blocks_0_first_bias_5 = d_ab["blocks.0"]["first"]["bias"] + d_ab_["blocks.0"]["first"]["bias"]  # [ab.width]
    d_ab_blocks_0_first_bias = d_ab_blocks_0_first_bias_5 + d_ab_2["blocks.0"]["first"]["bias"]  # [ab.width]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_0_second_kernel_5 = d_ab["blocks.0"]["second"]["kernel"] + d_ab_["blocks.0"]["second"]["kernel"]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_0_second_kernel = d_ab_blocks_0_second_kernel_5 + d_ab_2["blocks.0"]["second"]["kernel"]
    d_ab_blocks_0_second_bias_5 = d_ab["blocks.0"]["second"]["bias"] + d_ab_["blocks.0"]["second"]["bias"]  # [ab.width]
    d_ab_blocks_0_second_bias = d_ab_blocks_0_second_bias_5 + d_ab_2["blocks.0"]["second"]["bias"]  # [ab.width]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_1_first_kernel_5 = d_ab["blocks.1"]["first"]["kernel"] + d_ab_["blocks.1"]["first"]["kernel"]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_1_first_kernel = d_ab_blocks_1_first_kernel_5 + d_ab_2["blocks.1"]["first"]["kernel"]
    d_ab_blocks_1_first_bias_5 = d_ab["blocks.1"]["first"]["bias"] + d_ab_["blocks.1"]["first"]["bias"]  # [ab.width]
    d_ab_blocks_1_first_bias = d_ab_blocks_1_first_bias_5 + d_ab_2["blocks.1"]["first"]["bias"]  # [ab.width]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_1_second_kernel_5 = d_ab["blocks.1"]["second"]["kernel"] + d_ab_["blocks.1"]["second"]["kernel"]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_1_second_kernel = d_ab_blocks_1_second_kernel_5 + d_ab_2["blocks.1"]["second"]["kernel"]
    d_ab_blocks_1_second_bias_5 = d_ab["blocks.1"]["second"]["bias"] + d_ab_["blocks.1"]["second"]["bias"]  # [ab.width]
    d_ab_blocks_1_second_bias = d_ab_blocks_1_second_bias_5 + d_ab_2["blocks.1"]["second"]["bias"]  # [ab.width]
    d_ab_write_kernel_5 = d_ab["write"]["kernel"] + d_ab_["write"]["kernel"]  # [ab.channels, ab.width, ab.k, ab.k]
    d_ab_write_kernel = d_ab_write_kernel_5 + d_ab_2["write"]["kernel"]  # [ab.channels, ab.width, ab.k, ab.k]
    d_ab_write_bias = d_ab["write"]["bias"] + d_ab_["write"]["bias"] + d_ab_2["write"]["bias"]  # [ab.channels]
    # [ba.width, ba.channels, ba.k, ba.k]
    d_ba_read_kernel = d_ba["read"]["kernel"] + d_ba_["read"]["kernel"] + d_ba_2["read"]["kernel"]
    d_ba_read_bias = d_ba["read"]["bias"] + d_ba_["read"]["bias"] + d_ba_2["read"]["bias"]  # [ba.width]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_0_first_kernel_5 = d_ba["blocks.0"]["first"]["kernel"] + d_ba_["blocks.0"]["first"]["kernel"]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_0_first_kernel = d_ba_blocks_0_first_kernel_5 + d_ba_2["blocks.0"]["first"]["kernel"]
    d_ba_blocks_0_first_bias_5 = d_ba["blocks.0"]["first"]["bias"] + d_ba_["blocks.0"]["first"]["bias"]  # [ba.width]
    d_ba_blocks_0_first_bias = d_ba_blocks_0_first_bias_5 + d_ba_2["blocks.0"]["first"]["bias"]  # [ba.width]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_0_second_kernel_5 = d_ba["blocks.0"]["second"]["kernel"] + d_ba_["blocks.0"]["second"]["kernel"]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_0_second_kernel = d_ba_blocks_0_second_kernel_5 + d_ba_2["blocks.0"]["second"]["kernel"]
    d_ba_blocks_0_second_bias_5 = d_ba["blocks.0"]["second"]["bias"] + d_ba_["blocks.0"]["second"]["bias"]  # [ba.width]
    d_ba_blocks_0_second_bias = d_ba_blocks_0_second_bias_5 + d_ba_2["blocks.0"]["second"]["bias"]  # [ba.width]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_1_first_kernel_5 = d_ba["blocks.1"]["first"]["kernel"] + d_ba_["blocks.1"]["first"]["kernel"]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_1_first_kernel = d_ba_blocks_1_first_kernel_5 + d_ba_2["blocks.1"]["first"]["kernel"]
    d_ba_blocks_1_first_bias_5 = d_ba["blocks.1"]["first"]["bias"] + d_ba_["blocks.1"]["first"]["bias"]  # [ba.width]
    d_ba_blocks_1_first_bias = d_ba_blocks_1_first_bias_5 + d_ba_2["blocks.1"]["first"]["bias"]  # [ba.width]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_1_second_kernel_5 = d_ba["blocks.1"]["second"]["kernel"] + d_ba_["blocks.1"]["second"]["kernel"]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_1_second_kernel = d_ba_blocks_1_second_kernel_5 + d_ba_2["blocks.1"]["second"]["kernel"]
    d_ba_blocks_1_second_bias_5 = d_ba["blocks.1"]["second"]["bias"] + d_ba_["blocks.1"]["second"]["bias"]  # [ba.width]
    d_ba_blocks_1_second_bias = d_ba_blocks_1_second_bias_5 + d_ba_2["blocks.1"]["second"]["bias"]  # [ba.width]
    d_ba_write_kernel_5 = d_ba["write"]["kernel"] + d_ba_["write"]["kernel"]  # [ba.channels, ba.width, ba.k, ba.k]
    d_ba_write_kernel = d_ba_write_kernel_5 + d_ba_2["write"]["kernel"]  # [ba.channels, ba.width, ba.k, ba.k]
    d_ba_write_bias = d_ba["write"]["bias"] + d_ba_["write"]["bias"] + d_ba_2["write"]["bias"]  # [ba.channels]
    d_a = d_reshape_7.reshape(n, ab.channels, h, w) + d_a_3  # [n, ab.channels, h, w]
    d_b = d_b_3 - d_sub_3 - d_sub_2 + d_reshape.reshape(m, ab.channels, h, w)  # [m, ab.channels, h, w]
    return (
        {
            "read": {"kernel": d_ab_read_kernel, "bias": d_ab_read_bias},
            "blocks.0": {
                "first": {"kernel": d_ab_blocks_0_first_kernel, "bias": d_ab_blocks_0_first_bias},
                "second": {"kernel": d_ab_blocks_0_second_kernel, "bias": d_ab_blocks_0_second_bias},
            },
            "blocks.1": {
                "first": {"kernel": d_ab_blocks_1_first_kernel, "bias": d_ab_blocks_1_first_bias},
                "second": {"kernel": d_ab_blocks_1_second_kernel, "bias": d_ab_blocks_1_second_bias},
            },
            "write": {"kernel": d_ab_write_kernel, "bias": d_ab_write_bias},
        },
        {
            "read": {"kernel": d_ba_read_kernel, "bias": d_ba_read_bias},
            "blocks.0": {
                "first": {"kernel": d_ba_blocks_0_first_kernel, "bias": d_ba_blocks_0_first_bias},
                "second": {"kernel": d_ba_blocks_0_second_kernel, "bias": d_ba_blocks_0_second_bias},
            },
            "blocks.1": {
                "first": {"kernel": d_ba_blocks_1_first_kernel, "bias": d_ba_blocks_1_first_bias},
                "second": {"kernel": d_ba_blocks_1_second_kernel, "bias": d_ba_blocks_1_second_bias},
            },
            "write": {"kernel": d_ba_write_kernel, "bias": d_ba_write_bias},
        },
        d_critic_a,
        d_critic_b,
        d_a,
        d_b,
    )


def translators_2_saved(ab, ba, critic_a, critic_b, a, b, round_trip=5.0, identity=0.5):
    """As translators_2, and what its gradient needs."""
    n = a.shape[0]
    m, _, h, w = b.shape
    if ba.channels != ab.channels:
        raise ValueError(f"ba.channels = {ba.channels} must equal ab.channels = {ab.channels}")
    if critic_b.channels != ab.channels:
        raise ValueError(f"critic_b.channels = {critic_b.channels} must equal ab.channels = {ab.channels}")
    if critic_a.channels != ba.channels:
        raise ValueError(f"critic_a.channels = {critic_a.channels} must equal ba.channels = {ba.channels}")
    fake_b, saved_ab = ab.forward_saved(a)  # cyclegan.lee:59
    fake_a, saved_ba = ba.forward_saved(b.reshape(m, ba.channels, h, w))  # cyclegan.lee:60
    reshape_4, saved_critic_b = critic_b.forward_saved(fake_b.reshape(n, critic_b.channels, h, w))  # cyclegan.lee:61
    mean, saved_towards = towards_saved(reshape_4, 1)
    reshape_6, saved_critic_a = critic_a.forward_saved(fake_a.reshape(m, critic_a.channels, h, w))
    mean_2, saved_towards_ = towards_saved(reshape_6, 1)
    fool = mean + mean_2
    reshape_5 = fake_b.reshape(n, ba.channels, h, w)  # [n, ba.channels, h, w]  cyclegan.lee:62
    reshape_8, saved_ba_ = ba.forward_saved(reshape_5)
    reshape_7 = a.reshape(n, ba.channels, h, w)  # [n, ba.channels, h, w]
    sub = reshape_8 - reshape_7  # [n, ba.channels, h, w]
    reshape_9 = fake_a.reshape(m, ab.channels, h, w)  # [m, ab.channels, h, w]
    reshape_11, saved_ab_ = ab.forward_saved(reshape_9)
    sub_2 = reshape_11 - b  # [m, ab.channels, h, w]
    back = np.abs(sub).mean() + np.abs(sub_2).mean()
    reshape_12, saved_ab_2 = ab.forward_saved(b)  # cyclegan.lee:63
    sub_3 = reshape_12 - b  # [m, ab.channels, h, w]
    reshape_14, saved_ba_2 = ba.forward_saved(reshape_7)
    sub_4 = reshape_14 - reshape_7  # [n, ba.channels, h, w]
    same = np.abs(sub_3).mean() + np.abs(sub_4).mean()
    saved = (
        saved_ab,
        saved_ba,
        saved_critic_b,
        saved_towards,
        saved_critic_a,
        saved_towards_,
        reshape_5,
        saved_ba_,
        sub,
        reshape_9,
        saved_ab_,
        sub_2,
        saved_ab_2,
        sub_3,
        saved_ba_2,
        sub_4,
    )
    return fool + round_trip * back + identity * same, saved  # cyclegan.lee:64


def translators_2_backward_parameters(ab, ba, critic_a, critic_b, a, b, round_trip, identity, saved, d_add_2):
    """From d_add_2 to the gradients by ab and ba."""
    saved_ab, saved_ba, saved_critic_b, saved_towards, saved_critic_a, saved_towards_, reshape_5, saved_ba_, sub, reshape_9, saved_ab_, sub_2, saved_ab_2, sub_3, saved_ba_2, sub_4 = saved
    n = a.shape[0]
    m, _, h, w = b.shape
    # gradient of return fool + round_trip * back + identity * same   cyclegan.lee:64
    d_same = d_add_2 * identity
    d_back = d_add_2 * round_trip
    # gradient of same = mean(abs(ab(b) - b)) + mean(abs(ba(a) - a))   cyclegan.lee:63
    d_sub_4 = d_same / (ba.channels * h * n * w) * np.sign(sub_4)  # [n, ba.channels, h, w]
    reshape_2 = a.reshape(n, ba.channels, h, w)  # [n, ba.channels, h, w]
    d_ba = ba.forward_backward_parameters(reshape_2, saved_ba_2, d_sub_4)
    d_sub_3 = d_same / (ab.channels * h * m * w) * np.sign(sub_3)  # [m, ab.channels, h, w]
    d_ab = ab.forward_backward_parameters(b, saved_ab_2, d_sub_3)
    # gradient of back = mean(abs(ba(fake_b) - a)) + mean(abs(ab(fake_a) - b))   cyclegan.lee:62
    d_sub_2 = d_back / (ab.channels * h * m * w) * np.sign(sub_2)  # [m, ab.channels, h, w]
    d_ab_, d_reshape_9 = ab.forward_backward(reshape_9, saved_ab_, d_sub_2)
    d_sub = d_back / (ba.channels * h * n * w) * np.sign(sub)  # [n, ba.channels, h, w]
    d_ba_, d_reshape_5 = ba.forward_backward(reshape_5, saved_ba_, d_sub)
    # gradient of fool = towards(critic_b(fake_b), 1) + towards(critic_a(fake_a), 1)   cyclegan.lee:61
    d_reshape_6 = towards_backward(saved_towards_, d_add_2)  # [m, h // 4, w // 4]
    d_reshape_3 = critic_a.forward_backward_input(saved_critic_a, h, w, d_reshape_6)  # [m, critic_a.channels, h, w]
    d_reshape_4 = towards_backward(saved_towards, d_add_2)  # [n, h // 4, w // 4]
    d_reshape_2 = critic_b.forward_backward_input(saved_critic_b, h, w, d_reshape_4)  # [n, critic_b.channels, h, w]
    # gradient of back = mean(abs(ba(fake_b) - a)) + mean(abs(ab(fake_a) - b))   cyclegan.lee:62
    d_fake_a_2 = d_reshape_9.reshape(m, ba.channels, h, w)  # [m, ba.channels, h, w]
    # gradient of fake_a = ba(b)   cyclegan.lee:60
    d_fake_a = d_fake_a_2 + d_reshape_3.reshape(m, ba.channels, h, w)  # [m, ba.channels, h, w]
    reshape = b.reshape(m, ba.channels, h, w)  # [m, ba.channels, h, w]
    d_ba_2 = ba.forward_backward_parameters(reshape, saved_ba, d_fake_a)
    # gradient of back = mean(abs(ba(fake_b) - a)) + mean(abs(ab(fake_a) - b))   cyclegan.lee:62
    d_fake_b_2 = d_reshape_5.reshape(n, ab.channels, h, w)  # [n, ab.channels, h, w]
    # gradient of fake_b = ab(a)   cyclegan.lee:59
    d_fake_b = d_fake_b_2 + d_reshape_2.reshape(n, ab.channels, h, w)  # [n, ab.channels, h, w]
    d_ab_2 = ab.forward_backward_parameters(a, saved_ab, d_fake_b)
    # [ab.width, ab.channels, ab.k, ab.k]
    d_ab_read_kernel = d_ab["read"]["kernel"] + d_ab_["read"]["kernel"] + d_ab_2["read"]["kernel"]
    d_ab_read_bias = d_ab["read"]["bias"] + d_ab_["read"]["bias"] + d_ab_2["read"]["bias"]  # [ab.width]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_0_first_kernel_5 = d_ab["blocks.0"]["first"]["kernel"] + d_ab_["blocks.0"]["first"]["kernel"]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_0_first_kernel = d_ab_blocks_0_first_kernel_5 + d_ab_2["blocks.0"]["first"]["kernel"]
    d_ab_blocks_0_first_bias_5 = d_ab["blocks.0"]["first"]["bias"] + d_ab_["blocks.0"]["first"]["bias"]  # [ab.width]
    d_ab_blocks_0_first_bias = d_ab_blocks_0_first_bias_5 + d_ab_2["blocks.0"]["first"]["bias"]  # [ab.width]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_0_second_kernel_5 = d_ab["blocks.0"]["second"]["kernel"] + d_ab_["blocks.0"]["second"]["kernel"]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_0_second_kernel = d_ab_blocks_0_second_kernel_5 + d_ab_2["blocks.0"]["second"]["kernel"]
    d_ab_blocks_0_second_bias_5 = d_ab["blocks.0"]["second"]["bias"] + d_ab_["blocks.0"]["second"]["bias"]  # [ab.width]
    d_ab_blocks_0_second_bias = d_ab_blocks_0_second_bias_5 + d_ab_2["blocks.0"]["second"]["bias"]  # [ab.width]
    d_ab_write_kernel_5 = d_ab["write"]["kernel"] + d_ab_["write"]["kernel"]  # [ab.channels, ab.width, ab.k, ab.k]
    d_ab_write_kernel = d_ab_write_kernel_5 + d_ab_2["write"]["kernel"]  # [ab.channels, ab.width, ab.k, ab.k]
    d_ab_write_bias = d_ab["write"]["bias"] + d_ab_["write"]["bias"] + d_ab_2["write"]["bias"]  # [ab.channels]
    # [ba.width, ba.channels, ba.k, ba.k]
    d_ba_read_kernel = d_ba["read"]["kernel"] + d_ba_["read"]["kernel"] + d_ba_2["read"]["kernel"]
    d_ba_read_bias = d_ba["read"]["bias"] + d_ba_["read"]["bias"] + d_ba_2["read"]["bias"]  # [ba.width]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_0_first_kernel_5 = d_ba["blocks.0"]["first"]["kernel"] + d_ba_["blocks.0"]["first"]["kernel"]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_0_first_kernel = d_ba_blocks_0_first_kernel_5 + d_ba_2["blocks.0"]["first"]["kernel"]
    d_ba_blocks_0_first_bias_5 = d_ba["blocks.0"]["first"]["bias"] + d_ba_["blocks.0"]["first"]["bias"]  # [ba.width]
    d_ba_blocks_0_first_bias = d_ba_blocks_0_first_bias_5 + d_ba_2["blocks.0"]["first"]["bias"]  # [ba.width]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_0_second_kernel_5 = d_ba["blocks.0"]["second"]["kernel"] + d_ba_["blocks.0"]["second"]["kernel"]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_0_second_kernel = d_ba_blocks_0_second_kernel_5 + d_ba_2["blocks.0"]["second"]["kernel"]
    d_ba_blocks_0_second_bias_5 = d_ba["blocks.0"]["second"]["bias"] + d_ba_["blocks.0"]["second"]["bias"]  # [ba.width]
    d_ba_blocks_0_second_bias = d_ba_blocks_0_second_bias_5 + d_ba_2["blocks.0"]["second"]["bias"]  # [ba.width]
    d_ba_write_kernel_5 = d_ba["write"]["kernel"] + d_ba_["write"]["kernel"]  # [ba.channels, ba.width, ba.k, ba.k]
    d_ba_write_kernel = d_ba_write_kernel_5 + d_ba_2["write"]["kernel"]  # [ba.channels, ba.width, ba.k, ba.k]
    d_ba_write_bias = d_ba["write"]["bias"] + d_ba_["write"]["bias"] + d_ba_2["write"]["bias"]  # [ba.channels]
    return {
        "read": {"kernel": d_ab_read_kernel, "bias": d_ab_read_bias},
        "blocks.0": {
            "first": {"kernel": d_ab_blocks_0_first_kernel, "bias": d_ab_blocks_0_first_bias},
            "second": {"kernel": d_ab_blocks_0_second_kernel, "bias": d_ab_blocks_0_second_bias},
        },
        "write": {"kernel": d_ab_write_kernel, "bias": d_ab_write_bias},
    }, {
        "read": {"kernel": d_ba_read_kernel, "bias": d_ba_read_bias},
        "blocks.0": {
            "first": {"kernel": d_ba_blocks_0_first_kernel, "bias": d_ba_blocks_0_first_bias},
            "second": {"kernel": d_ba_blocks_0_second_kernel, "bias": d_ba_blocks_0_second_bias},
        },
        "write": {"kernel": d_ba_write_kernel, "bias": d_ba_write_bias},
    }


def judged_saved(critic, real, fake):
    """As judged, and what its gradient needs."""
    reshape, saved_critic = critic.forward_saved(real)  # cyclegan.lee:68
    mean, saved_towards = towards_saved(reshape, 1)
    reshape_2, saved_critic_ = critic.forward_saved(fake)
    mean_2, saved_towards_ = towards_saved(reshape_2, 0)
    return (mean + mean_2) / 2, (saved_critic, saved_towards, saved_critic_, saved_towards_)


def judged_backward(critic, real, fake, saved, d_div):
    """From d_div to the gradients by critic, real and fake."""
    saved_critic, saved_towards, saved_critic_, saved_towards_ = saved
    # gradient of return (towards(critic(real), 1) + towards(critic(fake), 0)) / 2   cyclegan.lee:68
    d_add = d_div / 2
    d_reshape_2 = towards_backward(saved_towards_, d_add)  # [m, h // 4, w // 4]
    d_critic, d_fake = critic.forward_backward(fake, saved_critic_, d_reshape_2)
    d_reshape = towards_backward(saved_towards, d_add)  # [n, h // 4, w // 4]
    d_critic_, d_real = critic.forward_backward(real, saved_critic, d_reshape)
    # [critic.width, critic.channels, 4, 4]
    d_critic_first_kernel = d_critic["first"]["kernel"] + d_critic_["first"]["kernel"]
    d_critic_first_bias = d_critic["first"]["bias"] + d_critic_["first"]["bias"]  # [critic.width]
    # [2 * critic.width, critic.width, 4, 4]
    d_critic_second_kernel = d_critic["second"]["kernel"] + d_critic_["second"]["kernel"]
    d_critic_second_bias = d_critic["second"]["bias"] + d_critic_["second"]["bias"]  # [2 * critic.width]
    d_critic_last_kernel = d_critic["last"]["kernel"] + d_critic_["last"]["kernel"]  # [1, 2 * critic.width, 3, 3]
    d_critic_last_bias = d_critic["last"]["bias"] + d_critic_["last"]["bias"]  # [1]
    return (
        {
            "first": {"kernel": d_critic_first_kernel, "bias": d_critic_first_bias},
            "second": {"kernel": d_critic_second_kernel, "bias": d_critic_second_bias},
            "last": {"kernel": d_critic_last_kernel, "bias": d_critic_last_bias},
        },
        d_real,
        d_fake,
    )


def judged_backward_parameters(critic, real, fake, saved, d_div):
    """From d_div to the gradient by critic."""
    saved_critic, saved_towards, saved_critic_, saved_towards_ = saved
    # gradient of return (towards(critic(real), 1) + towards(critic(fake), 0)) / 2   cyclegan.lee:68
    d_add = d_div / 2
    d_reshape_2 = towards_backward(saved_towards_, d_add)  # [m, h // 4, w // 4]
    d_critic = critic.forward_backward_parameters(fake, saved_critic_, d_reshape_2)
    d_reshape = towards_backward(saved_towards, d_add)  # [n, h // 4, w // 4]
    d_critic_ = critic.forward_backward_parameters(real, saved_critic, d_reshape)
    # [critic.width, critic.channels, 4, 4]
    d_critic_first_kernel = d_critic["first"]["kernel"] + d_critic_["first"]["kernel"]
    d_critic_first_bias = d_critic["first"]["bias"] + d_critic_["first"]["bias"]  # [critic.width]
    # [2 * critic.width, critic.width, 4, 4]
    d_critic_second_kernel = d_critic["second"]["kernel"] + d_critic_["second"]["kernel"]
    d_critic_second_bias = d_critic["second"]["bias"] + d_critic_["second"]["bias"]  # [2 * critic.width]
    d_critic_last_kernel = d_critic["last"]["kernel"] + d_critic_["last"]["kernel"]  # [1, 2 * critic.width, 3, 3]
    d_critic_last_bias = d_critic["last"]["bias"] + d_critic_["last"]["bias"]  # [1]
    return {
        "first": {"kernel": d_critic_first_kernel, "bias": d_critic_first_bias},
        "second": {"kernel": d_critic_second_kernel, "bias": d_critic_second_bias},
        "last": {"kernel": d_critic_last_kernel, "bias": d_critic_last_bias},
    }


def recall(past, fake, pool, *, run=None):
    """A history of fakes: half of the time an old one is shown instead of the new one."""
    from leec.runtime.run import Run

    run = run or Run("recall")
    past = past.copy()  # cyclegan.lee:71
    if len(past) < pool:
        past.append(fake)  # cyclegan.lee:74
        return fake, past
    condition = recall_condition(key=run.key("recall"))  # cyclegan.lee:76
    if condition:
        return fake, past
    slot = recall_slot(pool, key=run.key("recall"))  # cyclegan.lee:79
    old = past[slot]  # cyclegan.lee:80
    past[slot] = fake  # cyclegan.lee:81
    return old, past


def recall_condition(key):
    coin = uniform(fold(key, SITES["coin"]), (), FLOAT)  # cyclegan.lee:76
    condition = coin < 0.5  # cyclegan.lee:77
    return condition


def recall_slot(pool, key):
    slot = randint(fold(key, SITES["slot"]), (), 0, pool)  # cyclegan.lee:79
    return slot


def fit(epochs=3, batch=32, pool=20, rate=2e-3, *, run=None):
    """A classifier of plain digits is shown noisy ones, and then what becomes of them on their way to the plain ones."""
    from leec.runtime.run import Run

    run = run or Run("fit")
    plain = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    other = run.data(
        "digits",
        domain="noisy",
        shape=(1, 8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    reader = MLP(sizes=(64, 64, 10), key=run.key("reader"))  # cyclegan.lee:89
    opt_r = Adam(lr=3e-3)  # cyclegan.lee:90
    for epoch in run.loop("epoch", 1, 10, opt_r=opt_r, reader=reader):
        for x, y in run.batches("batches", plain.train, 64, shuffle=True):
            run.step(fit_step(reader, opt_r, x, y))  # cyclegan.lee:93
    ab = Translator_3(key=run.key("ab"))  # cyclegan.lee:94
    ba = Translator_3(key=run.key("ba"))  # cyclegan.lee:95
    critic_a = Critic(key=run.key("critic_a"))  # cyclegan.lee:96
    critic_b = Critic(key=run.key("critic_b"))  # cyclegan.lee:97
    opt = Adam(lr=rate, beta1=0.5)  # cyclegan.lee:98
    opt_a = Adam(lr=rate, beta1=0.5)  # cyclegan.lee:99
    opt_b = Adam(lr=rate, beta1=0.5)  # cyclegan.lee:100
    past_a = []  # cyclegan.lee:101
    past_b = []  # cyclegan.lee:102
    past_a, past_b = run.restore("epoch_2", past_a=past_a, past_b=past_b)
    for epoch in run.loop(
        "epoch_2", 1, epochs, ab=ab, ba=ba, critic_a=critic_a, critic_b=critic_b, opt=opt, opt_a=opt_a, opt_b=opt_b
    ):
        past_a, past_b = run.restore("x", past_a=past_a, past_b=past_b)
        for (x, _), (z, _) in run.each(
            "x",
            zip(
                run.stream("batches_2", plain.train, batch, shuffle=True),
                run.stream("batches_3", other.train, batch, shuffle=True),
            ),
            ab=ab,
            ba=ba,
            critic_a=critic_a,
            critic_b=critic_b,
            opt=opt,
            opt_a=opt_a,
            opt_b=opt_b,
        ):
            a, b, loss = fit_step_2(ab, ba, critic_a, critic_b, opt, x, z)  # cyclegan.lee:105
            run.step(loss)
            fake = fit_fake(ba, b)  # cyclegan.lee:108
            old_a, past_a = recall(past=past_a, fake=fake, pool=pool, run=run.call("recall"))  # cyclegan.lee:108
            fake_2 = fit_fake_2(ab, a)  # cyclegan.lee:109
            old_b, past_b = recall(past=past_b, fake=fake_2, pool=pool, run=run.call("recall_2"))  # cyclegan.lee:109
            loss, loss_1 = fit_step_3(critic_a, critic_b, opt_a, opt_b, a, old_a, b, old_b)  # cyclegan.lee:110
            run.step(loss)
            run.step(loss_1, "loss_1")
            run.keep("x", past_a=past_a, past_b=past_b)
        made, untouched, translated = fit_made_untouched_translated(ba, other.test.x, reader, other.test.y)
        run.report(untouched=untouched, translated=translated, gap=fit_gap(made, plain.test.x))  # cyclegan.lee:115
        run.keep("epoch_2", past_a=past_a, past_b=past_b)
    return ab, ba


def fit_step(reader, opt_r, x, y):
    """One step of fit."""
    batches_n = x.shape[0]
    x_flat = x.reshape(batches_n, 64)  # [batches_n, 64]  cyclegan.lee:93
    add_2, saved_reader = reader.forward_saved(x_flat)
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_reader = reader.forward_backward_parameters(x_flat, saved_reader, d_add_2)
    opt_r.update(reader.parameters, reader.flat(d_reader))
    return cross_entropy(add_2, y)


def fit_step_2(ab, ba, critic_a, critic_b, opt, x, z):
    """One step of fit."""
    a = 2 * x - 1  # [x_n, 1, 8, 8]  cyclegan.lee:105
    b = 2 * z - 1  # [z_n, 1, 8, 8]  cyclegan.lee:106
    loss, saved_translators_2 = translators_2_saved(ab, ba, critic_a, critic_b, a, b)  # cyclegan.lee:107
    d_loss = FLOAT(1.0)
    d_ab, d_ba = translators_2_backward_parameters(
        ab, ba, critic_a, critic_b, a, b, 5.0, 0.5, saved_translators_2, d_loss
    )
    update_together(opt, (ab, d_ab), (ba, d_ba))
    return a, b, loss


def fit_fake(ba, b):
    """b [z_n, 1, 8, 8] -> [z_n, 1, 8, 8]"""
    fake = ba(b)  # [z_n, 1, 8, 8]  cyclegan.lee:108
    return fake  # [z_n, 1, 8, 8]


def fit_fake_2(ab, a):
    """a [x_n, 1, 8, 8] -> [x_n, 1, 8, 8]"""
    fake_2 = ab(a)  # [x_n, 1, 8, 8]  cyclegan.lee:109
    return fake_2  # [x_n, 1, 8, 8]


def fit_step_3(critic_a, critic_b, opt_a, opt_b, a, old_a, b, old_b):
    """One step of fit."""
    loss, saved_judged = judged_saved(critic_a, a, old_a)  # cyclegan.lee:110
    d_critic_a = judged_backward_parameters(critic_a, a, old_a, saved_judged, FLOAT(1.0))
    opt_a.update(critic_a.parameters, critic_a.flat(d_critic_a))
    loss_1, saved_judged_ = judged_saved(critic_b, b, old_b)  # cyclegan.lee:111
    d_critic_b = judged_backward_parameters(critic_b, b, old_b, saved_judged_, FLOAT(1.0))
    opt_b.update(critic_b.parameters, critic_b.flat(d_critic_b))
    return loss, loss_1


def fit_made_untouched_translated(ba, other_test_x, reader, other_test_y):
    """other_test_x [other_test_n, 1, 8, 8], other_test_y int[other_test_n] -> [other_test_n, 1, 8, 8], [], []"""
    other_test_n = other_test_x.shape[0]
    made = (ba(2 * other_test_x - 1) + 1) / 2  # [other_test_n, 1, 8, 8]  cyclegan.lee:112
    untouched = accuracy(reader(other_test_x.reshape(other_test_n, 64)), other_test_y)  # cyclegan.lee:113
    translated = accuracy(reader(made.reshape(other_test_n, 64)), other_test_y)  # cyclegan.lee:114
    return made, untouched, translated


def fit_gap(made, plain_test_x):
    """made [other_test_n, 1, 8, 8], plain_test_x [plain_test_n, 1, 8, 8] -> []"""
    other_test_n = made.shape[0]
    plain_test_n = plain_test_x.shape[0]
    if other_test_n != plain_test_n:
        raise ValueError(f"cyclegan.lee:115: other_test_n = {other_test_n} must equal plain_test_n = {plain_test_n}")
    abs_ = np.abs(made - plain_test_x.reshape(other_test_n, 1, 8, 8))  # [other_test_n, 1, 8, 8]  cyclegan.lee:115
    return abs_.mean()


def example_translated(key):
    ab = Translator_2(channels=2, width=4, key=fold(key, SITES["ab"]))  # cyclegan.lee:120
    ba = Translator_2(channels=2, width=4, key=fold(key, SITES["ba"]))  # cyclegan.lee:121
    critic_a = Critic(channels=2, width=3, key=fold(key, SITES["critic_a"]))  # cyclegan.lee:122
    critic_b = Critic(channels=2, width=3, key=fold(key, SITES["critic_b"]))  # cyclegan.lee:123
    a = -1 + 2 * uniform(fold(key, SITES["a"]), (3, 2, 8, 8), FLOAT)  # [3, 2, 8, 8]  cyclegan.lee:124
    b = -1 + 2 * uniform(fold(key, SITES["b"]), (2, 2, 8, 8), FLOAT)  # [2, 2, 8, 8]  cyclegan.lee:125
    add_2, saved_translators = translators_saved(ab, ba, critic_a, critic_b, a, b)  # cyclegan.lee:126
    reshape, saved_ba = ba.forward_saved(b)
    div, saved_judged = judged_saved(critic_a, a, reshape)
    d_critic_a, d_a_2, d_reshape = judged_backward(critic_a, a, reshape, saved_judged, FLOAT(1.0))
    d_ba, d_b_2 = ba.forward_backward(b, saved_ba, d_reshape)
    d_value = FLOAT(1.0)
    d_ab, d_ba_, d_critic_a_, d_critic_b, d_a_3, d_b_3 = translators_backward(
        ab, ba, critic_a, critic_b, a, b, 5.0, 0.5, saved_translators, d_value
    )
    kernel_8 = d_ba["blocks.0"]["first"]["kernel"] + d_ba_["blocks.0"]["first"]["kernel"]  # [4, 4, 3, 3]
    bias_8 = d_ba["blocks.0"]["first"]["bias"] + d_ba_["blocks.0"]["first"]["bias"]  # [4]
    kernel_9 = d_ba["blocks.0"]["second"]["kernel"] + d_ba_["blocks.0"]["second"]["kernel"]  # [4, 4, 3, 3]
    bias_9 = d_ba["blocks.0"]["second"]["bias"] + d_ba_["blocks.0"]["second"]["bias"]  # [4]
    kernel_10 = d_ba["blocks.1"]["first"]["kernel"] + d_ba_["blocks.1"]["first"]["kernel"]  # [4, 4, 3, 3]
    bias_10 = d_ba["blocks.1"]["first"]["bias"] + d_ba_["blocks.1"]["first"]["bias"]  # [4]
    kernel_11 = d_ba["blocks.1"]["second"]["kernel"] + d_ba_["blocks.1"]["second"]["kernel"]  # [4, 4, 3, 3]
    bias_11 = d_ba["blocks.1"]["second"]["bias"] + d_ba_["blocks.1"]["second"]["bias"]  # [4]
    kernel_13 = d_critic_a["first"]["kernel"] + d_critic_a_["first"]["kernel"]  # [3, 2, 4, 4]
    kernel_14 = d_critic_a["second"]["kernel"] + d_critic_a_["second"]["kernel"]  # [6, 3, 4, 4]
    return (
        add_2 + div,
        ab.at(d_ab),
        ab.at(
            {
                "read": {
                    "kernel": d_ba["read"]["kernel"] + d_ba_["read"]["kernel"],
                    "bias": d_ba["read"]["bias"] + d_ba_["read"]["bias"],
                },
                "blocks.0": {
                    "first": {"kernel": kernel_8, "bias": bias_8},
                    "second": {"kernel": kernel_9, "bias": bias_9},
                },
                "blocks.1": {
                    "first": {"kernel": kernel_10, "bias": bias_10},
                    "second": {"kernel": kernel_11, "bias": bias_11},
                },
                "write": {
                    "kernel": d_ba["write"]["kernel"] + d_ba_["write"]["kernel"],
                    "bias": d_ba["write"]["bias"] + d_ba_["write"]["bias"],
                },
            }
        ),
        critic_a.at(
            {
                "first": {"kernel": kernel_13, "bias": d_critic_a["first"]["bias"] + d_critic_a_["first"]["bias"]},
                "second": {"kernel": kernel_14, "bias": d_critic_a["second"]["bias"] + d_critic_a_["second"]["bias"]},
                "last": {
                    "kernel": d_critic_a["last"]["kernel"] + d_critic_a_["last"]["kernel"],
                    "bias": d_critic_a["last"]["bias"] + d_critic_a_["last"]["bias"],
                },
            }
        ),
        critic_a.at(d_critic_b),
        d_a_2 + d_a_3,
        d_b_2 + d_b_3,
    )


def example_by_itself(key):
    """A bright image and a dark one are alike after normalisation, whatever is added and multiplied."""
    x = normal(fold(key, SITES["x"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  cyclegan.lee:131
    div_5 = standard(x)  # [2, 3, 4, 5]  cyclegan.lee:133
    mul = div_5**2  # [2, 3, 4, 5]
    return (mul * div_5).sum(), standard_backward(x, 1e-5, 2 * mul + mul)


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
        x_2 = relu_2(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2)  # [x_0, sizes_2]  nn.lee:42

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = relu_2(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2), x_2  # nn.lee:42

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_2_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


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


def conv2d_backward_3(kernel, dilation, h, padding, stride, w, d_y):
    """From d_y to the gradient by x."""
    o, c, kh, kw = kernel.shape
    n, _, _, out_kw = d_y.shape
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    contract = kernel.reshape(o, c * kh * kw).T @ d_y.reshape(n, o, -1)  # [n, c * kh * kw, out_kh * out_kw]
    reshape_3 = contract.reshape(n, c, kh, kw, -1, out_kw)  # [n, c, kh, kw, out_kh, out_kw]
    transpose = reshape_3.transpose(0, 1, 4, 2, 5, 3)  # [n, c, out_kh, kh, out_kw, kw]
    # [n, c, h + 2 * padding, 2 * padding + w]
    unwindows_ = unwindows(
        transpose, (2, 4), (h + 2 * padding, 2 * padding + w), (stride, stride), (dilation, dilation)
    )
    d_x = unwindows_[:, :, padding : h + padding, padding : padding + w]  # [n, c, h, w]
    return d_x  # [n, c, h, w]


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

    def forward_backward_input(self, h, w, d_y):
        """From d_y to the gradient by x."""
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_x = conv2d_backward_3(self.kernel, self.dilation, h, self.padding, self.stride, w, d_y)  # [n, inputs, h, w]
        return d_x  # [n, inputs, h, w]


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


def relu_2(x):
    """x where it is positive, else 0.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return np.maximum(x, 0)  # [x_0, x_1]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def leaky_relu(x, slope=0.01):
    """x where it is positive, else slope · x.

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    return np.where(x > 0, x, slope * x)  # [x_0, x_1, x_2, x_3]  prelude.lee:71


def leaky_relu_saved(x, slope=0.01):
    """As leaky_relu, and what its gradient needs."""
    gt = x > 0  # bool[x_0, x_1, x_2, x_3]  prelude.lee:71
    return np.where(gt, x, slope * x), gt


def leaky_relu_backward(slope, gt, d_y):
    """From d_y to the gradient by x."""
    d_x = masked(d_y, gt) + np.where(gt, 0, d_y * slope)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "ab": 0x8810DE87F1B5520E,
    "b": 0x754F854DE3C27284,
    "ba": 0x7A6C1A99406B3FEE,
    "bias": 0x7246FEB96AC500B4,
    "blocks.0": 0x6CE3212D64C10C6D,
    "blocks.1": 0xD0D0BD5FB969D595,
    "coin": 0x903D9983BA03DE14,
    "critic_a": 0xFC6312FA098B9E69,
    "critic_b": 0xC45EB2A6FBE2E2BC,
    "first": 0xA31DFC4F51C2A8A2,
    "kernel": 0x273FEA903E119357,
    "last": 0x840C26AC856B94B1,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "read": 0xCF660812E3283339,
    "second": 0xF4C52D43B87F6485,
    "slot": 0xC4625598645E759B,
    "w": 0x20925082A2286B9E,
    "write": 0x931A160AFD5D0A8C,
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
