"""U-Net of any depth (Ronneberger et al. 2015): down to coarse images and up again, past the fine ones on each level.

A model holds the next level, which is the same with twice the channels, or nothing at the bottom; on the way down a def
keeps what it met in a tuple that grows.

Made from specs/convolution/unet.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/convolution/unet.lee
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


class UNet(Model):
    """What comes out has `width` channels and the size of what goes in, which is even at every level but the last."""

    members = ("first", "second")

    def __init__(self, inputs, width, *, key=(0, 0)):
        self.inputs, self.width = inputs, width
        self.first = Conv(inputs, width, padding=1, key=fold(key, SITES["first"]))  # unet.lee:15
        self.second = Conv(width, width, padding=1, key=fold(key, SITES["second"]))  # unet.lee:16
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, width, h, w]"""
        x_2 = relu(self.second(relu(self.first(x))))  # [n, width, h, w]  unet.lee:23
        return x_2  # [n, width, h, w]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        select = relu(self.first(x))  # [n, width, h, w]  unet.lee:23
        x_2 = relu(self.second(select))  # [n, width, h, w]
        return x_2, select

    def forward_backward(self, x, select, x_2, d_x_2):
        """From d_x_2 to the gradients by the parameters and x."""
        # gradient of x = relu(second(relu(first(x))))   unet.lee:23
        d_second, d_select = self.second.forward_backward(select, relu_backward(x_2, d_x_2))
        d_first, d_x = self.first.forward_backward(x, relu_backward(select, d_select))
        return {"first": d_first, "second": d_second}, d_x


class UNet_3(Model):
    """What comes out has `width` channels and the size of what goes in, which is even at every level but the last."""

    members = ("first", "second", "below", "up", "merged")

    def __init__(self, inputs, width, *, key=(0, 0)):
        self.inputs, self.width = inputs, width
        self.first = Conv(inputs, width, padding=1, key=fold(key, SITES["first"]))  # unet.lee:15
        self.second = Conv(width, width, padding=1, key=fold(key, SITES["second"]))  # unet.lee:16
        self.below = UNet(width, 2 * width, key=fold(key, SITES["below"]))  # unet.lee:18
        self.up = ConvTranspose(2 * width, width, k=2, stride=2, key=fold(key, SITES["up"]))  # unet.lee:19
        self.merged = Conv(2 * width, width, padding=1, key=fold(key, SITES["merged"]))  # unet.lee:20
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, width, h, w]"""
        n, _, h, w = x.shape
        if h % 2 != 0:
            raise ValueError(f"unet.lee:25: h % 2 == 0 must hold: h = {h}")
        if w % 2 != 0:
            raise ValueError(f"unet.lee:25: w % 2 == 0 must hold: w = {w}")
        x_2 = relu(self.second(relu(self.first(x))))  # [n, width, h, w]  unet.lee:23
        up_out = self.up(self.below(avg_pool_(x_2)))  # [n, width, 2 * (h // 2), 2 * (w // 2)]  unet.lee:26
        reshape = up_out.reshape(n, self.width, h, w)  # [n, width, h, w]
        x_3 = relu(self.merged(np.concatenate((x_2, reshape), axis=1)))  # [n, width, h, w]
        return x_3  # [n, width, h, w]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, h, w = x.shape
        if h % 2 != 0:
            raise ValueError(f"unet.lee:25: h % 2 == 0 must hold: h = {h}")
        if w % 2 != 0:
            raise ValueError(f"unet.lee:25: w % 2 == 0 must hold: w = {w}")
        select = relu(self.first(x))  # [n, width, h, w]  unet.lee:23
        x_2 = relu(self.second(select))  # [n, width, h, w]
        y = avg_pool_(x_2)  # [n, width, h // 2, w // 2]  unet.lee:26
        x_2_2, saved_below = self.below.forward_saved(y)
        concat = np.concatenate((x_2, self.up(x_2_2).reshape(n, self.width, h, w)), axis=1)  # [n, 2 * width, h, w]
        x_3 = relu(self.merged(concat))  # [n, width, h, w]
        return x_3, (select, x_2, y, x_2_2, saved_below, concat)

    def forward_backward(self, x, saved, x_3, d_x_3):
        """From d_x_3 to the gradients by the parameters and x."""
        select, x_2, y, x_2_2, saved_below, concat = saved
        n, _, h, w = x.shape
        # gradient of x = relu(merged(concat(x, up(below(avg_pool(x))), axis = 1)))   unet.lee:26
        d_merged, d_concat = self.merged.forward_backward(concat, relu_backward(x_3, d_x_3))
        d_reshape = d_concat[:, self.width :]  # [n, width, h, w]
        # [n, width, 2 * (h // 2), 2 * (w // 2)]
        d_up_out = d_reshape.reshape(n, self.width, 2 * (h // 2), 2 * (w // 2))
        d_up, d_x_2_2 = self.up.forward_backward(x_2_2, d_up_out)
        d_below, d_y = self.below.forward_backward(y, saved_below, x_2_2, d_x_2_2)
        # gradient of x = relu(second(relu(first(x))))   unet.lee:23
        d_x_2 = d_concat[:, : self.width] + avg_pool_backward(h, 2, w, d_y)  # [n, width, h, w]
        d_second, d_select = self.second.forward_backward(select, relu_backward(x_2, d_x_2))
        d_first, d_x = self.first.forward_backward(x, relu_backward(select, d_select))
        return {"first": d_first, "second": d_second, "below": d_below, "up": d_up, "merged": d_merged}, d_x


class UNet_2(Model):
    """What comes out has `width` channels and the size of what goes in, which is even at every level but the last."""

    members = ("first", "second", "below", "up", "merged")

    def __init__(self, inputs, width, *, key=(0, 0)):
        self.inputs, self.width = inputs, width
        self.first = Conv(inputs, width, padding=1, key=fold(key, SITES["first"]))  # unet.lee:15
        self.second = Conv(width, width, padding=1, key=fold(key, SITES["second"]))  # unet.lee:16
        self.below = UNet_3(width, 2 * width, key=fold(key, SITES["below"]))  # unet.lee:18
        self.up = ConvTranspose(2 * width, width, k=2, stride=2, key=fold(key, SITES["up"]))  # unet.lee:19
        self.merged = Conv(2 * width, width, padding=1, key=fold(key, SITES["merged"]))  # unet.lee:20
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, width, h, w]"""
        n, _, h, w = x.shape
        if h % 2 != 0:
            raise ValueError(f"unet.lee:25: h % 2 == 0 must hold: h = {h}")
        if w % 2 != 0:
            raise ValueError(f"unet.lee:25: w % 2 == 0 must hold: w = {w}")
        x_2 = relu(self.second(relu(self.first(x))))  # [n, width, h, w]  unet.lee:23
        up_out = self.up(self.below(avg_pool_(x_2)))  # [n, width, 2 * (h // 2), 2 * (w // 2)]  unet.lee:26
        reshape = up_out.reshape(n, self.width, h, w)  # [n, width, h, w]
        x_4 = relu(self.merged(np.concatenate((x_2, reshape), axis=1)))  # [n, width, h, w]
        return x_4  # [n, width, h, w]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, h, w = x.shape
        if h % 2 != 0:
            raise ValueError(f"unet.lee:25: h % 2 == 0 must hold: h = {h}")
        if w % 2 != 0:
            raise ValueError(f"unet.lee:25: w % 2 == 0 must hold: w = {w}")
        select = relu(self.first(x))  # [n, width, h, w]  unet.lee:23
        x_2 = relu(self.second(select))  # [n, width, h, w]
        y = avg_pool_(x_2)  # [n, width, h // 2, w // 2]  unet.lee:26
        x_3, saved_below = self.below.forward_saved(y)
        concat = np.concatenate((x_2, self.up(x_3).reshape(n, self.width, h, w)), axis=1)  # [n, 2 * width, h, w]
        x_4 = relu(self.merged(concat))  # [n, width, h, w]
        return x_4, (select, x_2, y, x_3, saved_below, concat)

    def forward_backward(self, x, saved, x_4, d_x_4):
        """From d_x_4 to the gradients by the parameters and x."""
        select, x_2, y, x_3, saved_below, concat = saved
        n, _, h, w = x.shape
        # gradient of x = relu(merged(concat(x, up(below(avg_pool(x))), axis = 1)))   unet.lee:26
        d_merged, d_concat = self.merged.forward_backward(concat, relu_backward(x_4, d_x_4))
        d_reshape = d_concat[:, self.width :]  # [n, width, h, w]
        # [n, width, 2 * (h // 2), 2 * (w // 2)]
        d_up_out = d_reshape.reshape(n, self.width, 2 * (h // 2), 2 * (w // 2))
        d_up, d_x_3 = self.up.forward_backward(x_3, d_up_out)
        d_below, d_y = self.below.forward_backward(y, saved_below, x_3, d_x_3)
        # gradient of x = relu(second(relu(first(x))))   unet.lee:23
        d_x_2 = d_concat[:, : self.width] + avg_pool_backward(h, 2, w, d_y)  # [n, width, h, w]
        d_second, d_select = self.second.forward_backward(select, relu_backward(x_2, d_x_2))
        d_first, d_x = self.first.forward_backward(x, relu_backward(select, d_select))
        return {"first": d_first, "second": d_second, "below": d_below, "up": d_up, "merged": d_merged}, d_x

    def forward_backward_parameters(self, x, saved, x_4, d_x_4):
        """From d_x_4 to the gradient by the parameters."""
        select, x_2, y, x_3, saved_below, concat = saved
        n, _, h, w = x.shape
        # gradient of x = relu(merged(concat(x, up(below(avg_pool(x))), axis = 1)))   unet.lee:26
        d_merged, d_concat = self.merged.forward_backward(concat, relu_backward(x_4, d_x_4))
        d_reshape = d_concat[:, self.width :]  # [n, width, h, w]
        # [n, width, 2 * (h // 2), 2 * (w // 2)]
        d_up_out = d_reshape.reshape(n, self.width, 2 * (h // 2), 2 * (w // 2))
        d_up, d_x_3 = self.up.forward_backward(x_3, d_up_out)
        d_below, d_y = self.below.forward_backward(y, saved_below, x_3, d_x_3)
        # gradient of x = relu(second(relu(first(x))))   unet.lee:23
        d_x_2 = d_concat[:, : self.width] + avg_pool_backward(h, 2, w, d_y)  # [n, width, h, w]
        d_second, d_select = self.second.forward_backward(select, relu_backward(x_2, d_x_2))
        d_first_out = relu_backward(select, d_select)  # [n, width, h, w]
        d_first = Conv.forward_backward_parameters(x, 1, 3, 1, 1, d_first_out)
        return {"first": d_first, "second": d_second, "below": d_below, "up": d_up, "merged": d_merged}


class Denoiser(Model):
    """What is left of an image when the noise that the net sees is taken away."""

    members = ("net", "write")

    def __init__(self, width, *, key=(0, 0)):
        self.width = width
        self.net = UNet(1, width, key=fold(key, SITES["net"]))  # unet.lee:32
        self.write = Conv(width, 1, k=1, key=fold(key, SITES["write"]))  # unet.lee:33
        self.lay_out()

    def forward(self, x):
        """x [n, 1, h, w] -> [n, 1, h, w]"""
        return x - self.write(self.net(x))  # [n, 1, h, w]  unet.lee:36

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2, saved_net = self.net.forward_saved(x)  # unet.lee:36
        return x - self.write(x_2), (x_2, saved_net)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_2, saved_net = saved
        # gradient of return x - write(net(x))   unet.lee:36
        d_write, d_x_2 = self.write.forward_backward(x_2, -d_y)
        d_net, d_x_3 = self.net.forward_backward(x, saved_net, x_2, d_x_2)
        d_x = d_y + d_x_3  # [n, 1, h, w]
        return {"net": d_net, "write": d_write}, d_x


class Denoiser_2(Model):
    """What is left of an image when the noise that the net sees is taken away."""

    members = ("net", "write")

    def __init__(self, width, *, key=(0, 0)):
        self.width = width
        self.net = UNet_2(1, width, key=fold(key, SITES["net"]))  # unet.lee:32
        self.write = Conv(width, 1, k=1, key=fold(key, SITES["write"]))  # unet.lee:33
        self.lay_out()

    def forward(self, x):
        """x [n, 1, h, w] -> [n, 1, h, w]"""
        return x - self.write(self.net(x))  # [n, 1, h, w]  unet.lee:36

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_4, saved_net = self.net.forward_saved(x)  # unet.lee:36
        return x - self.write(x_4), (x_4, saved_net)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_4, saved_net = saved
        # gradient of return x - write(net(x))   unet.lee:36
        d_write, d_x_4 = self.write.forward_backward(x_4, -d_y)
        d_net, d_x_2 = self.net.forward_backward(x, saved_net, x_4, d_x_4)
        d_x = d_y + d_x_2  # [n, 1, h, w]
        return {"net": d_net, "write": d_write}, d_x

    def forward_backward_parameters(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x_4, saved_net = saved
        # gradient of return x - write(net(x))   unet.lee:36
        d_write, d_x_4 = self.write.forward_backward(x_4, -d_y)
        d_net = self.net.forward_backward_parameters(x, saved_net, x_4, d_x_4)
        return {"net": d_net, "write": d_write}


def pyramid(x):
    """The image and its coarser forms.

    x [n, c, h, w] -> [n, c, h, w]
    """
    return x  # [n, c, h, w]


def pyramid_backward(d_x):
    """From d_x to the gradient by x."""
    return d_x  # [n, c, h, w]


def pyramid_2(x):
    """The image and its coarser forms.

    x [n, c, h, w] -> [n, c, h, w], [n, c, h // 2, w // 2], [n, c, h // 4, w // 4]
    """
    x_2 = avg_pool_(x)  # [n, c, h // 2, w // 2]  unet.lee:43
    x_3 = avg_pool_(x_2)  # [n, c, h // 4, w // 4]
    return x, x_2, x_3


def pyramid_2_backward(d_x, d_x_2, d_x_3):
    """From d_x, d_x_2 and d_x_3 to the gradient by x."""
    _, _, h, w = d_x.shape
    # gradient of x = avg_pool(x)   unet.lee:43
    d_x_2_2 = d_x_2 + avg_pool_backward(h // 2, 2, w // 2, d_x_3)  # [n, c, h // 2, w // 2]
    d_x_4 = d_x + avg_pool_backward(h, 2, w, d_x_2_2)  # [n, c, h, w]
    return d_x_4  # [n, c, h, w]


def at_all_scales_saved(x, target):
    """As at_all_scales, and what its gradient needs."""
    b = pyramid(target)  # [n, c, h, w]  unet.lee:51
    sub = pyramid(x) - b  # [n, c, h, w]  unet.lee:52
    total = (sub**2).mean()
    return total, sub


def at_all_scales_backward(sub, d_total):
    """From d_total to the gradients by x and target."""
    n, c, h, w = sub.shape
    # gradient of total = total + mean((a - b) ** 2)   unet.lee:52
    d_sub = 2 * (d_total / (c * h * n * w)) * sub  # [n, c, h, w]
    d_b = -d_sub  # [n, c, h, w]
    # gradient of for a, b in zip(pyramid(x, levels), pyramid(target, levels)):   unet.lee:51
    d_target = pyramid_backward(d_b)  # [n, c, h, w]
    d_x = pyramid_backward(d_sub)  # [n, c, h, w]
    return d_x, d_target


def at_all_scales_2_saved(x, target):
    """As at_all_scales_2, and what its gradient needs."""
    x_2, x_2_2, x_3 = pyramid_2(x)  # unet.lee:51
    b, x_2_3, x_3_2 = pyramid_2(target)
    sub = x_2 - b  # [n, c, h, w]  unet.lee:52
    total = (sub**2).mean()
    sub_2 = x_2_2 - x_2_3  # [n, c, h // 2, w // 2]
    total_2 = total + (sub_2**2).mean()
    sub_3 = x_3 - x_3_2  # [n, c, h // 4, w // 4]
    total_3 = total_2 + (sub_3**2).mean()
    return total_3, (sub, sub_2, sub_3)


def at_all_scales_2_backward(saved, d_total_3):
    """From d_total_3 to the gradients by x and target."""
    sub, sub_2, sub_3 = saved
    n, c, h, w = sub.shape
    # gradient of total = total + mean((a - b) ** 2)   unet.lee:52
    d_sub_3 = 2 * (d_total_3 / (c * (h // 4) * n * (w // 4))) * sub_3  # [n, c, h // 4, w // 4]
    d_sub_2 = 2 * (d_total_3 / (c * (h // 2) * n * (w // 2))) * sub_2  # [n, c, h // 2, w // 2]
    d_sub = 2 * (d_total_3 / (c * h * n * w)) * sub  # [n, c, h, w]
    d_b = -d_sub  # [n, c, h, w]
    # gradient of for a, b in zip(pyramid(x, levels), pyramid(target, levels)):   unet.lee:51
    d_target = pyramid_2_backward(d_b, -d_sub_2, -d_sub_3)  # [n, c, h, w]
    d_x = pyramid_2_backward(d_sub, d_sub_2, d_sub_3)  # [n, c, h, w]
    return d_x, d_target


def at_all_scales_2_backward_2(saved, d_total_3):
    """From d_total_3 to the gradient by x."""
    sub, sub_2, sub_3 = saved
    n, c, h, w = sub.shape
    # gradient of total = total + mean((a - b) ** 2)   unet.lee:52
    d_sub_2 = 2 * (d_total_3 / (c * (h // 2) * n * (w // 2))) * sub_2  # [n, c, h // 2, w // 2]
    d_sub_3 = 2 * (d_total_3 / (c * (h // 4) * n * (w // 4))) * sub_3  # [n, c, h // 4, w // 4]
    d_sub = 2 * (d_total_3 / (c * h * n * w)) * sub  # [n, c, h, w]
    # gradient of for a, b in zip(pyramid(x, levels), pyramid(target, levels)):   unet.lee:51
    d_x = pyramid_2_backward(d_sub, d_sub_2, d_sub_3)  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def denoise(epochs=12, batch=32, width=8, noise=0.3, rate=3e-3, *, run=None):
    """Digits without the noise on them; `left` is the share of the squared error that is still there.

    Made for levels = 3: with other values it is another program.
    """
    from leec.runtime.run import Run

    run = run or Run("denoise")
    data = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    net = Denoiser_2(width=width, key=run.key("net"))  # unet.lee:59
    opt = Adam(lr=rate)  # unet.lee:60
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, __ in run.batches("batches", data.train, batch, shuffle=True):
            run.step(denoise_step(net, opt, x, noise, key=run.key("denoise")))  # unet.lee:63
    x, e = denoise_x_e(data.test.x, noise, key=run.key("denoise"))  # unet.lee:65
    run.report(left=denoise_left(net, x, e))  # unet.lee:67
    return net


def denoise_step(net, opt, x, noise, key):
    """One step of denoise."""
    batches_n = x.shape[0]
    e = noise * normal(fold(key, SITES["e"]), (batches_n, 1, 8, 8), FLOAT)  # [batches_n, 1, 8, 8]  unet.lee:63
    add = x + e  # [batches_n, 1, 8, 8]  unet.lee:64
    sub, saved_net = net.forward_saved(add)
    loss, saved_at_all_scales_2 = at_all_scales_2_saved(sub, x)
    d_sub = at_all_scales_2_backward_2(saved_at_all_scales_2, FLOAT(1.0))  # [batches_n, 1, 8, 8]
    d_net = net.forward_backward_parameters(add, saved_net, d_sub)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def denoise_x_e(data_test_x, noise, key):
    """data_test_x [data_test_n, 1, 8, 8] -> [data_test_n, 1, 8, 8], [data_test_n, 1, 8, 8]"""
    data_test_n = data_test_x.shape[0]
    key_2 = fold(key, SITES["e#2"])  # unet.lee:66
    e = noise * normal(key_2, (data_test_n, 1, 8, 8), FLOAT)  # [data_test_n, 1, 8, 8]
    return data_test_x, e


def denoise_left(net, x, e):
    """x [data_test_n, 1, 8, 8], e [data_test_n, 1, 8, 8] -> []"""
    sub_2 = net(x + e) - x  # [data_test_n, 1, 8, 8]  unet.lee:67
    return (sub_2**2).mean() / (e**2).mean()


def example_shallow(key):
    net = Denoiser(2, key=fold(key, SITES["net"]))  # unet.lee:72
    x = normal(fold(key, SITES["x"]), (2, 1, 5, 3), FLOAT)  # [2, 1, 5, 3]  unet.lee:73
    y = normal(fold(key, SITES["y"]), (2, 1, 5, 3), FLOAT)  # [2, 1, 5, 3]  unet.lee:74
    sub, saved_net = net.forward_saved(x)  # unet.lee:75
    value, saved_at_all_scales = at_all_scales_saved(sub, y)
    d_sub, d_y = at_all_scales_backward(saved_at_all_scales, FLOAT(1.0))
    d_net, d_x = net.forward_backward(x, saved_net, d_sub)
    return value, net.at(d_net), d_x, d_y


def example_deep(key):
    net = Denoiser_2(2, key=fold(key, SITES["net"]))  # unet.lee:79
    x = normal(fold(key, SITES["x"]), (2, 1, 8, 4), FLOAT)  # [2, 1, 8, 4]  unet.lee:80
    y = normal(fold(key, SITES["y"]), (2, 1, 8, 4), FLOAT)  # [2, 1, 8, 4]  unet.lee:81
    sub, saved_net = net.forward_saved(x)  # unet.lee:82
    value, saved_at_all_scales_2 = at_all_scales_2_saved(sub, y)
    d_sub, d_y = at_all_scales_2_backward(saved_at_all_scales_2, FLOAT(1.0))
    d_net, d_x = net.forward_backward(x, saved_net, d_sub)
    return value, net.at(d_net), d_x, d_y


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


def conv_transpose2d(x, kernel, stride=1, padding=0):
    """Every entry adds a kernel to the result, stride apart; `padding` rows and columns are cut off at each side.

    x [n, c, h, w], kernel [c, o, kh, kw] -> [n, o, h * stride + kh - 2 * padding - stride, stride * w + kw - 2
    * padding - stride]
    """
    n, c, h, w = x.shape
    _, o, kh, kw = kernel.shape
    contract = kernel.reshape(c, kh * kw * o).T @ x.reshape(n, c, h * w)  # [n, kh * kw * o, h * w]  nn.lee:90
    reshape_3 = contract.reshape(n, o, kh, kw, h, w)  # [n, o, kh, kw, h, w]
    transpose = reshape_3.transpose(0, 1, 4, 2, 5, 3)  # [n, o, h, kh, w, kw]
    # [n, o, h * stride + kh - stride, stride * w + kw - stride]
    y_2 = unwindows(transpose, (2, 4), (h * stride + kh - stride, stride * w + kw - stride), (stride, stride), (1, 1))
    # [n, o, h * stride + kh - 2 * padding - stride, stride * w + kw - 2 * padding - stride]  nn.lee:91
    y = y_2[:, :, padding : h * stride + kh - padding - stride, padding : stride * w + kw - padding - stride]
    return y  # [n, o, h * stride + kh - 2 * padding - stride, stride * w + kw - 2 * padding - stride]


def conv_transpose2d_backward(x, kernel, padding, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    n, c, h, w = x.shape
    _, o, kh, kw = kernel.shape
    # gradient of return y[:, :, padding : stride*(h - 1) + kh - padding, padding : stride*(w -..   nn.lee:91
    # [n, o, h * stride + kh - stride, stride * w + kw - stride]
    d_y_2 = unslice(
        d_y,
        (n, o, h * stride + kh - stride, stride * w + kw - stride),
        (
            slice(0, n),
            slice(0, o),
            slice(padding, h * stride + kh - padding - stride),
            slice(padding, stride * w + kw - padding - stride),
        ),
    )
    # gradient of y[n, o, stride*i + u, stride*j + v] += sum[c](x[n, c, i, j] * kernel[c, o, u,..   nn.lee:90
    windows_2 = window(window(d_y_2, 3, kw, stride, 1), 2, kh, stride, 1)  # [n, o, h, kh, w, kw]
    columns = windows_2.transpose(0, 1, 3, 5, 2, 4).reshape(n, kh * kw * o, h * w)  # [n, kh * kw * o, h * w]
    d_x = (kernel.reshape(c, kh * kw * o) @ columns).reshape(n, c, h, w)  # [n, c, h, w]
    contract_2 = x.reshape(n, c, h * w) @ columns.mT  # [n, c, kh * kw * o]
    d_kernel = contract_2.reshape(n, c, o, kh, kw).sum(axis=0)  # [c, o, kh, kw]
    return d_x, d_kernel


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


class ConvTranspose(Model):
    """The transpose of Conv: it spreads what Conv would gather."""

    members = ("kernel", "bias")

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, *, key=(0, 0)):
        self.inputs, self.outputs, self.k, self.stride, self.padding = inputs, outputs, k, stride, padding
        div, div_2 = fan_in_uniform(k**2 * outputs)  # nn.lee:118
        key_2 = fold(key, SITES["kernel"])
        uniform_ = uniform(key_2, (inputs, outputs, k, k), FLOAT)  # [inputs, outputs, k, k]
        uniform_2 = uniform(fold(key, SITES["bias"]), (outputs,), FLOAT)  # [outputs]  nn.lee:119
        self.kernel = div + (div_2 - div) * uniform_  # [inputs, outputs, k, k]  nn.lee:118
        self.bias = div + (div_2 - div) * uniform_2  # [outputs]  nn.lee:119
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, h * stride + k - 2 * padding - stride, stride * w + k - 2 * padding -
        stride]
        """
        # [n, outputs, h * stride + k - 2 * padding - stride, stride * w + k - 2 * padding - stride]  nn.lee:122
        slice_ = conv_transpose2d(x, self.kernel, stride=self.stride, padding=self.padding)
        # [n, outputs, h * stride + k - 2 * padding - stride, stride * w + k - 2 * padding - stride]
        return slice_ + self.bias[:, None, None]

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return conv_transpose2d(x, kernel, stride, padding) + bias[:, None, None]   nn.lee:122
        d_bias = d_y.sum(axis=0).sum(axis=(1, 2))  # [outputs]
        d_x, d_kernel = conv_transpose2d_backward(x, self.kernel, self.padding, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x


def avg_pool_(x, size=2):
    """The mean of each size × size square.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = avg_pool(x, (size, size), (size, size))  # [n, c, h // size, w // size]  nn.lee:136
    return y  # [n, c, h // size, w // size]


def avg_pool_backward(h, size, w, d_y):
    """From d_y to the gradient by x."""
    n, c, _, _ = d_y.shape
    # gradient of y[n, c, i in h // size, j in w // size] = mean[u in size, v in size](x[n, c, ..   nn.lee:136
    reshape = (d_y / size**2)[:, :, :, None, :, None]  # [n, c, h // size, 1, w // size, 1]
    # [n, c, h // size, size, w // size, size]
    broadcast = np.broadcast_to(reshape, (n, c, h // size, size, w // size, size))
    d_x = unwindows(broadcast, (2, 4), (h, w), (size, size), (1, 1))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


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
    "below": 0x2CE6CF983376FDE2,
    "bias": 0x7246FEB96AC500B4,
    "e": 0x4F1D2FB024A5D810,
    "e#2": 0xD06E1C06430B8AD6,
    "first": 0xA31DFC4F51C2A8A2,
    "kernel": 0x273FEA903E119357,
    "merged": 0x04D809AE5F27A855,
    "net": 0xF087C76970C91612,
    "second": 0xF4C52D43B87F6485,
    "up": 0xDD49F622B87D879F,
    "write": 0x931A160AFD5D0A8C,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
}


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = np.zeros(dims, x.dtype)
    whole[slices] = x
    return whole


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


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)


def cut(vector, shapes):
    """Views of a vector, one after the other."""
    stop = 0
    for shape in shapes:
        start, stop = stop, stop + int(np.prod(shape))
        yield vector[start:stop].reshape(shape)
