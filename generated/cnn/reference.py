"""Networks of convolutions (inventory E10 to E15): classifiers of images, spectrograms, and two special layers.

Made from specs/convolution/cnn.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/convolution/cnn.lee
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


class Classifier(Model):
    """(Convolution, pooling) twice, flatten, full layer, softmax."""

    members = ("conv1", "conv2", "head")

    def __init__(self, side=8, channels=1, classes=10, width=8, *, key=(0, 0)):
        self.side, self.channels, self.classes, self.width = side, channels, classes, width
        self.conv1 = Conv(channels, width, padding=1, key=fold(key, SITES["conv1"]))  # cnn.lee:12
        self.conv2 = Conv(width, 2 * width, padding=1, key=fold(key, SITES["conv2"]))  # cnn.lee:13
        self.head = Linear(2 * (side // 4) ** 2 * width, classes, key=fold(key, SITES["head"]))  # cnn.lee:14
        self.lay_out()

    def forward(self, image):
        """image [n, channels, side, side] -> [n, classes]"""
        n = image.shape[0]
        h = relu(max_pool_(self.conv1(image)))  # [n, width, side // 2, side // 2]  cnn.lee:17
        h_2 = relu(max_pool_(self.conv2(h)))  # [n, 2 * width, side // 4, side // 4]  cnn.lee:18
        out = self.head(h_2.reshape(n, 2 * (self.side // 4) ** 2 * self.width))  # [n, classes]  cnn.lee:19
        return out  # [n, classes]

    def forward_saved(self, image):
        """As forward, and what its gradient needs."""
        n = image.shape[0]
        conv1_out = self.conv1(image)  # [n, width, side, side]  cnn.lee:17
        y = max_pool_(conv1_out)  # [n, width, side // 2, side // 2]
        h = relu(y)  # [n, width, side // 2, side // 2]
        conv2_out = self.conv2(h)  # [n, 2 * width, side // 2, side // 2]  cnn.lee:18
        y_2 = max_pool_(conv2_out)  # [n, 2 * width, side // 4, side // 4]
        h_2 = relu(y_2)  # [n, 2 * width, side // 4, side // 4]
        add_3 = self.head(h_2.reshape(n, 2 * (self.side // 4) ** 2 * self.width))  # [n, classes]  cnn.lee:19
        return add_3, (conv1_out, y, h, conv2_out, y_2, h_2)

    def forward_backward(self, image, saved, d_y):
        """From d_y to the gradients by the parameters and image."""
        conv1_out, y, h, conv2_out, y_2, h_2 = saved
        n = image.shape[0]
        # gradient of return head(flatten(h, from = 1))   cnn.lee:19
        reshape = h_2.reshape(n, 2 * (self.side // 4) ** 2 * self.width)  # [n, 2 * (side // 4)**2 * width]
        d_head, d_reshape = self.head.forward_backward(reshape, d_y)
        # [n, 2 * width, side // 4, side // 4]
        d_h_2 = d_reshape.reshape(n, 2 * self.width, self.side // 4, self.side // 4)
        # gradient of h = relu(max_pool(conv2(h)))   cnn.lee:18
        # [n, 2 * width, side // 2, side // 2]
        d_conv2_out = max_pool_backward(conv2_out, y_2, 2, relu_backward(h_2, d_h_2))
        d_conv2, d_h = self.conv2.forward_backward(h, d_conv2_out)
        # gradient of h = relu(max_pool(conv1(image)))   cnn.lee:17
        d_conv1_out = max_pool_backward(conv1_out, y, 2, relu_backward(h, d_h))  # [n, width, side, side]
        d_conv1, d_image = self.conv1.forward_backward(image, d_conv1_out)
        return {"conv1": d_conv1, "conv2": d_conv2, "head": d_head}, d_image

    def forward_backward_parameters(self, image, saved, d_y):
        """From d_y to the gradient by the parameters."""
        conv1_out, y, h, conv2_out, y_2, h_2 = saved
        n = image.shape[0]
        # gradient of return head(flatten(h, from = 1))   cnn.lee:19
        reshape = h_2.reshape(n, 2 * (self.side // 4) ** 2 * self.width)  # [n, 2 * (side // 4)**2 * width]
        d_head, d_reshape = self.head.forward_backward(reshape, d_y)
        # [n, 2 * width, side // 4, side // 4]
        d_h_2 = d_reshape.reshape(n, 2 * self.width, self.side // 4, self.side // 4)
        # gradient of h = relu(max_pool(conv2(h)))   cnn.lee:18
        # [n, 2 * width, side // 2, side // 2]
        d_conv2_out = max_pool_backward(conv2_out, y_2, 2, relu_backward(h_2, d_h_2))
        d_conv2, d_h = self.conv2.forward_backward(h, d_conv2_out)
        # gradient of h = relu(max_pool(conv1(image)))   cnn.lee:17
        d_conv1_out = max_pool_backward(conv1_out, y, 2, relu_backward(h, d_h))  # [n, width, side, side]
        d_conv1 = Conv.forward_backward_parameters(image, 1, 3, 1, 1, d_conv1_out)
        return {"conv1": d_conv1, "conv2": d_conv2, "head": d_head}


class AllConvolutional(Model):
    """A stride of 2 takes the place of every pooling."""

    members = ("conv1", "conv2", "head")

    def __init__(self, side=8, channels=1, classes=10, width=8, *, key=(0, 0)):
        self.side, self.channels, self.classes, self.width = side, channels, classes, width
        self.conv1 = Conv(channels, width, stride=2, padding=1, key=fold(key, SITES["conv1"]))  # cnn.lee:24
        self.conv2 = Conv(width, 2 * width, stride=2, padding=1, key=fold(key, SITES["conv2"]))  # cnn.lee:25
        self.head = Linear(2 * ((side + 3) // 4) ** 2 * width, classes, key=fold(key, SITES["head"]))  # cnn.lee:26
        self.lay_out()

    def forward(self, image):
        """image [n, channels, side, side] -> [n, classes]"""
        n = image.shape[0]
        if (
            2 * ((self.side + 3) // 4) ** 2 * self.width
            != 2 * ((self.side - 1) // 4) ** 2 * self.width + 4 * ((self.side - 1) // 4) * self.width + 2 * self.width
        ):
            raise ValueError(
                f"2 * ((side + 3) // 4)**2 * width = {2 * ((self.side + 3) // 4) ** 2 * self.width} "
                f"must equal 2 * ((side - 1) // 4)**2 * width + 4 * ((side - 1) // 4) * width + 2 * width = {2 * ((self.side - 1) // 4) ** 2 * self.width + 4 * ((self.side - 1) // 4) * self.width + 2 * self.width}"
            )
        h = relu(self.conv1(image))  # [n, width, (side - 1) // 2 + 1, (side - 1) // 2 + 1]  cnn.lee:29
        h_2 = relu(self.conv2(h))  # [n, 2 * width, (side - 1) // 4 + 1, (side - 1) // 4 + 1]  cnn.lee:30
        return self.head(h_2.reshape(n, -1))  # [n, classes]  cnn.lee:31

    def forward_saved(self, image):
        """As forward, and what its gradient needs."""
        n = image.shape[0]
        if (
            2 * ((self.side + 3) // 4) ** 2 * self.width
            != 2 * ((self.side - 1) // 4) ** 2 * self.width + 4 * ((self.side - 1) // 4) * self.width + 2 * self.width
        ):
            raise ValueError(
                f"2 * ((side + 3) // 4)**2 * width = {2 * ((self.side + 3) // 4) ** 2 * self.width} "
                f"must equal 2 * ((side - 1) // 4)**2 * width + 4 * ((side - 1) // 4) * width + 2 * width = {2 * ((self.side - 1) // 4) ** 2 * self.width + 4 * ((self.side - 1) // 4) * self.width + 2 * self.width}"
            )
        h = relu(self.conv1(image))  # [n, width, (side - 1) // 2 + 1, (side - 1) // 2 + 1]  cnn.lee:29
        h_2 = relu(self.conv2(h))  # [n, 2 * width, (side - 1) // 4 + 1, (side - 1) // 4 + 1]  cnn.lee:30
        return self.head(h_2.reshape(n, -1)), (h, h_2)  # cnn.lee:31

    def forward_backward(self, image, saved, d_y):
        """From d_y to the gradients by the parameters and image."""
        h, h_2 = saved
        n = image.shape[0]
        # gradient of return head(flatten(h, from = 1))   cnn.lee:31
        d_head, d_reshape = self.head.forward_backward(h_2.reshape(n, -1), d_y)
        # [n, 2 * width, (side - 1) // 4 + 1, (side - 1) // 4 + 1]
        d_h_2 = d_reshape.reshape(n, 2 * self.width, (self.side - 1) // 4 + 1, (self.side - 1) // 4 + 1)
        # gradient of h = relu(conv2(h))   cnn.lee:30
        d_conv2, d_h = self.conv2.forward_backward(h, relu_backward(h_2, d_h_2))
        # gradient of h = relu(conv1(image))   cnn.lee:29
        d_conv1, d_image = self.conv1.forward_backward(image, relu_backward(h, d_h))
        return {"conv1": d_conv1, "conv2": d_conv2, "head": d_head}, d_image

    def forward_backward_parameters(self, image, saved, d_y):
        """From d_y to the gradient by the parameters."""
        h, h_2 = saved
        n = image.shape[0]
        # gradient of return head(flatten(h, from = 1))   cnn.lee:31
        d_head, d_reshape = self.head.forward_backward(h_2.reshape(n, -1), d_y)
        # [n, 2 * width, (side - 1) // 4 + 1, (side - 1) // 4 + 1]
        d_h_2 = d_reshape.reshape(n, 2 * self.width, (self.side - 1) // 4 + 1, (self.side - 1) // 4 + 1)
        # gradient of h = relu(conv2(h))   cnn.lee:30
        d_conv2, d_h = self.conv2.forward_backward(h, relu_backward(h_2, d_h_2))
        # gradient of h = relu(conv1(image))   cnn.lee:29
        d_conv1 = Conv.forward_backward_parameters(image, 1, 3, 1, 2, relu_backward(h, d_h))
        return {"conv1": d_conv1, "conv2": d_conv2, "head": d_head}


class Residual(Model):
    """x + f(x), two convolutions being f (He et al. 2015)."""

    members = ("conv1", "conv2")

    def __init__(self, channels, *, key=(0, 0)):
        self.channels = channels
        self.conv1 = Conv(channels, channels, padding=1, key=fold(key, SITES["conv1"]))  # cnn.lee:36
        self.conv2 = Conv(channels, channels, padding=1, key=fold(key, SITES["conv2"]))  # cnn.lee:37
        self.lay_out()

    def forward(self, x):
        """x [n, channels, h, w] -> [n, channels, h, w]"""
        return relu(x + self.conv2(relu(self.conv1(x))))  # [n, channels, h, w]  cnn.lee:40

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        select = relu(self.conv1(x))  # [n, channels, h, w]  cnn.lee:40
        return relu(x + self.conv2(select)), select

    def forward_backward(self, x, select, select_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return relu(x + conv2(relu(conv1(x))))   cnn.lee:40
        d_add_3 = relu_backward(select_2, d_y)  # [n, channels, h, w]
        d_conv2, d_select = self.conv2.forward_backward(select, d_add_3)
        d_conv1, d_x_2 = self.conv1.forward_backward(x, relu_backward(select, d_select))
        d_x = d_add_3 + d_x_2  # [n, channels, h, w]
        return {"conv1": d_conv1, "conv2": d_conv2}, d_x


def spectrogram(sound, window_, hop):
    """The power of each frequency in windows of a sound, faded at both ends by sin²(π u / window).

    sound [n, time] -> [n, window // 2 + 1, out_time]
    """
    cast = np.arange(window_).astype(FLOAT)  # [window]  cnn.lee:45
    sin = np.sin(3.141592653589793 * cast / window_)  # [window]
    fade = sin**2  # [window]
    frame = window(sound, 1, window_, hop, 1) * fade  # [n, out_time, window]  cnn.lee:46
    cast_2 = np.arange(window_ // 2 + 1).astype(FLOAT)  # [window // 2 + 1]  cnn.lee:47
    div_2 = (6.283185307179586 * cast_2)[:, None] * cast / window_  # [window // 2 + 1, window]
    real = np.cos(div_2) @ frame.mT  # [n, window // 2 + 1, out_time]
    imaginary = np.sin(div_2) @ frame.mT  # [n, window // 2 + 1, out_time]  cnn.lee:48
    fade_sum = fade.sum()  # cnn.lee:49
    return (real**2 + imaginary**2) / fade_sum**2  # [n, window // 2 + 1, out_time]


def spectrogram_saved(sound, window_, hop):
    """As spectrogram, and what its gradient needs."""
    cast = np.arange(window_).astype(FLOAT)  # [window]  cnn.lee:45
    sin = np.sin(3.141592653589793 * cast / window_)  # [window]
    fade = sin**2  # [window]
    frame = window(sound, 1, window_, hop, 1) * fade  # [n, out_time, window]  cnn.lee:46
    cast_2 = np.arange(window_ // 2 + 1).astype(FLOAT)  # [window // 2 + 1]  cnn.lee:47
    div_2 = (6.283185307179586 * cast_2)[:, None] * cast / window_  # [window // 2 + 1, window]
    cos = np.cos(div_2)  # [window // 2 + 1, window]
    real = cos @ frame.mT  # [n, window // 2 + 1, out_time]
    sin_2 = np.sin(div_2)  # [window // 2 + 1, window]  cnn.lee:48
    imaginary = sin_2 @ frame.mT  # [n, window // 2 + 1, out_time]
    fade_sum = fade.sum()  # cnn.lee:49
    mul_6 = fade_sum**2
    return (real**2 + imaginary**2) / mul_6, (fade, cos, real, sin_2, imaginary, mul_6)


def spectrogram_backward(saved, hop, time, d_y):
    """From d_y to the gradient by sound."""
    fade, cos, real, sin_2, imaginary, mul_6 = saved
    # gradient of return (real ** 2 + imaginary ** 2) / sum(fade) ** 2   cnn.lee:49
    d_add = d_y / mul_6  # [n, window // 2 + 1, out_window]
    # gradient of imaginary[r, f in window // 2 + 1, t] = sum[u](frame[r, t, u] * sin(2 * pi * ..   cnn.lee:48
    d_imaginary = 2 * (d_add * imaginary)  # [n, window // 2 + 1, out_window]
    # gradient of real[r, f in window // 2 + 1, t] = sum[u](frame[r, t, u] * cos(2 * pi * f * u..   cnn.lee:47
    d_real = 2 * (d_add * real)  # [n, window // 2 + 1, out_window]
    # gradient of frame[r, t, u] = sound[r, hop*t + u] * fade[u]   cnn.lee:46
    d_frame = d_imaginary.mT @ sin_2 + d_real.mT @ cos  # [n, out_window, window]
    d_sound = unwindow(d_frame * fade, 1, time, hop, 1)  # [n, time]
    return d_sound  # [n, time]


class SpeechNet(Model):
    """Filters that see all of a short time and move along the frequencies of a spectrogram."""

    members = ("kernel", "head")

    def __init__(self, window_, hop, filters, k, classes, *, key=(0, 0)):
        self.window, self.hop, self.filters, self.k, self.classes = window_, hop, filters, k, classes
        if window_ % 2 != 0:
            raise ValueError(f"cnn.lee:54: window % 2 == 0 must hold: window = {window_}")
        # [filters, k]  cnn.lee:55
        self.kernel = 1 / math.sqrt(k) * normal(fold(key, SITES["kernel"]), (filters, k), FLOAT)
        self.head = Linear(filters, classes, key=fold(key, SITES["head"]))  # cnn.lee:56
        self.lay_out()

    def forward(self, sound):
        """sound [n, time] -> [n, classes]"""
        n, time = sound.shape
        out_time = (time - self.window) // self.hop + 1
        power = np.log(spectrogram(sound, self.window, self.hop) + 1e-3)  # [n, window // 2 + 1, out_time]  cnn.lee:59
        reshape = power.mT.reshape(-1, 1, self.window // 2 + 1)  # [n * out_time, 1, window // 2 + 1]  cnn.lee:60
        transpose_2 = window(reshape, 2, self.k, 1, 1).mT  # [n * out_time, 1, k, window // 2 + 2 - k]
        # [n * out_time, k, window // 2 + 2 - k]
        columns = transpose_2.reshape(-1, self.k, self.window // 2 + 2 - self.k)
        contract = self.kernel @ columns  # [n * out_time, filters, window // 2 + 2 - k]
        # [n, out_time, filters, window // 2 + 2 - k]
        reshape_2 = contract.reshape(n, out_time, self.filters, self.window // 2 + 2 - self.k)
        score = reshape_2.transpose(0, 2, 3, 1)  # [n, filters, window // 2 + 2 - k, out_time]
        y = self.head(relu(score).max(axis=2, initial=-np.inf).mean(axis=2))  # [n, classes]  cnn.lee:63
        return y  # [n, classes]

    def forward_saved(self, sound):
        """As forward, and what its gradient needs."""
        n, time = sound.shape
        out_time = (time - self.window) // self.hop + 1
        div_4, saved_spectrogram = spectrogram_saved(sound, self.window, self.hop)  # cnn.lee:59
        add = div_4 + 1e-3  # [n, window // 2 + 1, out_time]
        power = np.log(add)  # [n, window // 2 + 1, out_time]
        reshape = power.mT.reshape(-1, 1, self.window // 2 + 1)  # [n * out_time, 1, window // 2 + 1]  cnn.lee:60
        transpose_2 = window(reshape, 2, self.k, 1, 1).mT  # [n * out_time, 1, k, window // 2 + 2 - k]
        # [n * out_time, k, window // 2 + 2 - k]
        columns = transpose_2.reshape(-1, self.k, self.window // 2 + 2 - self.k)
        contract = self.kernel @ columns  # [n * out_time, filters, window // 2 + 2 - k]
        # [n, out_time, filters, window // 2 + 2 - k]
        reshape_2 = contract.reshape(n, out_time, self.filters, self.window // 2 + 2 - self.k)
        score = reshape_2.transpose(0, 2, 3, 1)  # [n, filters, window // 2 + 2 - k, out_time]
        select = relu(score)  # [n, filters, window // 2 + 2 - k, out_time]  cnn.lee:63
        mean = select.max(axis=2, initial=-np.inf).mean(axis=2)  # [n, filters]
        return self.head(mean), (saved_spectrogram, add, reshape, select, mean)

    def forward_backward(self, saved, time, d_y):
        """From d_y to the gradients by the parameters and sound."""
        saved_spectrogram, add, reshape, select, mean = saved
        n, _, out_window = add.shape
        # gradient of return head(mean(max(relu(score), axis = 2), axis = 2))   cnn.lee:63
        d_head, d_mean = self.head.forward_backward(mean, d_y)
        reshape_2 = (d_mean / out_window)[:, :, None]  # [n, filters, 1]
        iota = np.arange(self.window // 2 + 2 - self.k)[None, None, None, :]  # int[1, 1, 1, window // 2 + 2 - k]
        d_max = np.broadcast_to(reshape_2, (n, self.filters, out_window))  # [n, filters, out_window]
        eq = iota == select.mT.argmax(axis=3)[:, :, :, None]  # bool[n, filters, out_window, window // 2 + 2 - k]
        # [n, filters, window // 2 + 2 - k, out_window]
        d_score = relu_backward(select, masked(d_max[:, :, :, None], eq).mT)
        # gradient of score[r, o, i in window // 2 + 2 - k, t in (time - window) // hop + 1] = sum[u](   cnn.lee:60
        d_reshape_3 = d_score.transpose(0, 3, 1, 2)  # [n, out_window, filters, window // 2 + 2 - k]
        # [n * out_window, filters, window // 2 + 2 - k]
        d_conv = d_reshape_3.reshape(-1, self.filters, self.window // 2 + 2 - self.k)
        transpose_2 = (self.kernel.T @ d_conv)[:, None].mT  # [n * out_window, 1, window // 2 + 2 - k, k]
        transpose_3 = window(reshape, 2, self.k, 1, 1).mT  # [n * out_window, 1, k, window // 2 + 2 - k]
        # [n * out_window, k, window // 2 + 2 - k]
        columns = transpose_3.reshape(-1, self.k, self.window // 2 + 2 - self.k)
        d_kernel = (d_conv @ columns.mT)[:, :, None].sum(axis=0).reshape(self.filters, self.k)  # [filters, k]
        d_reshape = unwindow(transpose_2, 2, self.window // 2 + 1, 1, 1)  # [n * out_window, 1, window // 2 + 1]
        d_power = d_reshape.reshape(n, out_window, self.window // 2 + 1).mT  # [n, window // 2 + 1, out_window]
        # gradient of power = log(spectrogram(sound, window, hop) + 1e-3)   cnn.lee:59
        d_sound = spectrogram_backward(saved_spectrogram, self.hop, time, d_power / add)  # [n, time]
        return {"kernel": d_kernel, "head": d_head}, d_sound


def affine_sample(image, theta):
    """The image seen through an affine map of its coordinates, which go from -1 to 1: bilinear, 0 outside.

    image [n, c, h, w], theta [n, 2, 3] -> [n, c, h, w]
    """
    n, c, h, w = image.shape
    cast = (np.arange(w) * 2 + (1 - w)).astype(FLOAT)  # [w]  cnn.lee:68
    cast_2 = (np.arange(h) * 2 + (1 - h)).astype(FLOAT)  # [h]
    reshape_4 = (theta[:, 0, 1][:, None] * cast_2 / h)[:, :, None]  # [n, h, 1]
    add_3 = (theta[:, 0, 0][:, None] * cast / w)[:, None] + reshape_4  # [n, h, w]
    across = add_3 + theta[:, 0, 2][:, None, None]  # [n, h, w]
    reshape_9 = (theta[:, 1, 1][:, None] * cast_2 / h)[:, :, None]  # [n, h, 1]  cnn.lee:69
    add_4 = (theta[:, 1, 0][:, None] * cast / w)[:, None] + reshape_9  # [n, h, w]
    down = add_4 + theta[:, 1, 2][:, None, None]  # [n, h, w]
    column = ((across + 1) * w - 1) / 2  # [n, h, w]  cnn.lee:70
    row = ((down + 1) * h - 1) / 2  # [n, h, w]  cnn.lee:71
    p = np.floor(row).astype(np.int64)  # int[n, h, w]  cnn.lee:72
    q = np.floor(column).astype(np.int64)  # int[n, h, w]  cnn.lee:73
    sub_3 = row - p.astype(FLOAT)  # [n, h, w]  cnn.lee:75
    eq = np.arange(2) == 0  # bool[2]  cnn.lee:86
    reshape_11 = (1 - sub_3)[:, :, :, None]  # [n, h, w, 1]
    sub_5 = column - q.astype(FLOAT)  # [n, h, w]  cnn.lee:75
    reshape_13 = (1 - sub_5)[:, :, :, None]  # [n, h, w, 1]  cnn.lee:86
    add_7 = p[:, :, :, None] + np.arange(2)  # int[n, h, w, 2]  cnn.lee:76
    add_8 = q[:, :, :, None] + np.arange(2)  # int[n, h, w, 2]
    reshape_17 = ((0 <= add_7) & (add_7 < h))[:, :, :, :, None]  # bool[n, h, w, 2, 1]
    logical_and_2 = reshape_17 & (0 <= add_8)[:, :, :, None]  # bool[n, h, w, 2, 2]
    minimum_3 = np.minimum(np.maximum(np.arange(n), 0), n - 1)  # int[n]  cnn.lee:77
    reshape_21 = np.minimum(np.maximum(add_7, 0), h - 1)[:, :, :, :, None]  # int[n, h, w, 2, 1]
    reshape_22 = np.minimum(np.maximum(add_8, 0), w - 1)[:, :, :, None]  # int[n, h, w, 1, 2]
    reshape_20 = minimum_3[:, None, None, None, None]  # int[n, 1, 1, 1, 1]
    gather = image.transpose((0, 2, 3, 1))[reshape_20, reshape_21, reshape_22]  # [n, h, w, 2, 2, c]
    reshape_23 = (logical_and_2 & (add_8 < w)[:, :, :, None])[:, None]  # bool[n, 1, h, w, 2, 2]  cnn.lee:76
    select = np.where(eq, reshape_11, sub_3[:, :, :, None])  # [n, h, w, 2]  cnn.lee:86
    select_2 = np.where(eq, reshape_13, sub_5[:, :, :, None])  # [n, h, w, 2]
    masked_ = masked(gather.transpose(0, 5, 1, 2, 3, 4), reshape_23)  # [n, c, h, w, 2, 2]  cnn.lee:75
    mul_9 = select[:, :, :, :, None] * select_2[:, :, :, None]  # [n, h, w, 2, 2]  cnn.lee:74
    reshape_26 = masked_.transpose(0, 2, 3, 1, 4, 5).reshape(n, h, w, c, 4)  # [n, h, w, c, 4]
    contract = reshape_26 @ mul_9.reshape(n, h, w, 4, 1)  # [n, h, w, c, 1]
    seen = contract.reshape(n, h, w, c).transpose(0, 3, 1, 2)  # [n, c, h, w]
    return seen  # [n, c, h, w]


def affine_sample_saved(image, theta):
    """As affine_sample, and what its gradient needs."""
    n, c, h, w = image.shape
    cast = (np.arange(w) * 2 + (1 - w)).astype(FLOAT)  # [w]  cnn.lee:68
    cast_2 = (np.arange(h) * 2 + (1 - h)).astype(FLOAT)  # [h]
    reshape_4 = (theta[:, 0, 1][:, None] * cast_2 / h)[:, :, None]  # [n, h, 1]
    add_3 = (theta[:, 0, 0][:, None] * cast / w)[:, None] + reshape_4  # [n, h, w]
    across = add_3 + theta[:, 0, 2][:, None, None]  # [n, h, w]
    reshape_9 = (theta[:, 1, 1][:, None] * cast_2 / h)[:, :, None]  # [n, h, 1]  cnn.lee:69
    add_4 = (theta[:, 1, 0][:, None] * cast / w)[:, None] + reshape_9  # [n, h, w]
    down = add_4 + theta[:, 1, 2][:, None, None]  # [n, h, w]
    column = ((across + 1) * w - 1) / 2  # [n, h, w]  cnn.lee:70
    row = ((down + 1) * h - 1) / 2  # [n, h, w]  cnn.lee:71
    p = np.floor(row).astype(np.int64)  # int[n, h, w]  cnn.lee:72
    q = np.floor(column).astype(np.int64)  # int[n, h, w]  cnn.lee:73
    sub_3 = row - p.astype(FLOAT)  # [n, h, w]  cnn.lee:75
    eq = np.arange(2) == 0  # bool[2]  cnn.lee:86
    select = np.where(eq, (1 - sub_3)[:, :, :, None], sub_3[:, :, :, None])  # [n, h, w, 2]
    sub_5 = column - q.astype(FLOAT)  # [n, h, w]  cnn.lee:75
    select_2 = np.where(eq, (1 - sub_5)[:, :, :, None], sub_5[:, :, :, None])  # [n, h, w, 2]  cnn.lee:86
    add_7 = p[:, :, :, None] + np.arange(2)  # int[n, h, w, 2]  cnn.lee:76
    add_8 = q[:, :, :, None] + np.arange(2)  # int[n, h, w, 2]
    reshape_17 = ((0 <= add_7) & (add_7 < h))[:, :, :, :, None]  # bool[n, h, w, 2, 1]
    logical_and_2 = reshape_17 & (0 <= add_8)[:, :, :, None]  # bool[n, h, w, 2, 2]
    # int[n, 1, 1, 1, 1]  cnn.lee:77
    reshape_20 = np.minimum(np.maximum(np.arange(n), 0), n - 1)[:, None, None, None, None]
    reshape_21 = np.minimum(np.maximum(add_7, 0), h - 1)[:, :, :, :, None]  # int[n, h, w, 2, 1]
    reshape_22 = np.minimum(np.maximum(add_8, 0), w - 1)[:, :, :, None]  # int[n, h, w, 1, 2]
    gather = image.transpose((0, 2, 3, 1))[reshape_20, reshape_21, reshape_22]  # [n, h, w, 2, 2, c]
    reshape_23 = (logical_and_2 & (add_8 < w)[:, :, :, None])[:, None]  # bool[n, 1, h, w, 2, 2]  cnn.lee:76
    select_3 = masked(gather.transpose(0, 5, 1, 2, 3, 4), reshape_23)  # [n, c, h, w, 2, 2]  cnn.lee:75
    mul_9 = select[:, :, :, :, None] * select_2[:, :, :, None]  # [n, h, w, 2, 2]  cnn.lee:74
    reshape_26 = select_3.transpose(0, 2, 3, 1, 4, 5).reshape(n, h, w, c, 4)  # [n, h, w, c, 4]
    contract = reshape_26 @ mul_9.reshape(n, h, w, 4, 1)  # [n, h, w, c, 1]
    seen = contract.reshape(n, h, w, c).transpose(0, 3, 1, 2)  # [n, c, h, w]
    saved = cast, cast_2, eq, select, select_2, reshape_20, reshape_21, reshape_22, reshape_23, select_3
    return seen, saved


def affine_sample_backward(saved, d_seen):
    """From d_seen to the gradients by image and theta."""
    cast, cast_2, eq, select, select_2, reshape_20, reshape_21, reshape_22, reshape_23, select_3 = saved
    w = cast.shape[0]
    h = cast_2.shape[0]
    n = select.shape[0]
    c = select_3.shape[1]
    # gradient of seen[r, a, i, j] = sum[u in 2, v in 2](   cnn.lee:74
    reshape = select_3.transpose(0, 2, 3, 4, 5, 1).reshape(n, h, w, 4, c)  # [n, h, w, 4, c]
    contract = reshape @ d_seen.transpose(0, 2, 3, 1)[:, :, :, :, None]  # [n, h, w, 4, 1]
    reshape_3 = contract.reshape(n, h, w, 2, 2)  # [n, h, w, 2, 2]
    d_select = (reshape_3 @ select_2[:, :, :, :, None]).reshape(n, h, w, 2)  # [n, h, w, 2]
    reshape_5 = select[:, :, :, :, None]  # [n, h, w, 2, 1]
    d_select_2 = (reshape_3.mT @ reshape_5).reshape(n, h, w, 2)  # [n, h, w, 2]
    reshape_8 = (reshape_5 * select_2[:, :, :, None])[:, None]  # [n, 1, h, w, 2, 2]
    d_select_3 = d_seen[:, :, :, :, None, None] * reshape_8  # [n, c, h, w, 2, 2]
    # gradient of image[r, a, p[r, i, j] + u, q[r, i, j] + v],   cnn.lee:77
    d_gather = masked(d_select_3, reshape_23).transpose(0, 2, 3, 4, 5, 1)  # [n, h, w, 2, 2, c]
    d_image = scatter_add(d_gather, (reshape_20, reshape_21, reshape_22), (n, c, h, w), (0, 2, 3))  # [n, c, h, w]
    # gradient of near(row[r, i, j] - p[r, i, j], u) * near(column[r, i, j] - q[r, i, j], v) * ..   cnn.lee:75
    d_column = np.where(eq, 0, d_select_2).sum(axis=3) - masked(d_select_2, eq).sum(axis=3)  # [n, h, w]
    d_row = np.where(eq, 0, d_select).sum(axis=3) - masked(d_select, eq).sum(axis=3)  # [n, h, w]
    # gradient of row = ((down + 1) * h - 1) / 2   cnn.lee:71
    d_down = d_row / 2 * h  # [n, h, w]
    # gradient of column = ((across + 1) * w - 1) / 2   cnn.lee:70
    d_across = d_column / 2 * w  # [n, h, w]
    # gradient of down[r, i in h, j in w] = theta[r, 1, 0] * (2*j + 1 - w) / w + theta[r, 1, 1]..   cnn.lee:69
    reshape_9 = d_down.sum(axis=(1, 2))[:, None, None]  # [n, 1, 1]
    d_theta_2 = unslice(reshape_9, (n, 2, 3), (slice(0, n), slice(1, 2), slice(2, 3)))  # [n, 2, 3]
    reshape_10 = (d_down.sum(axis=2) / h * cast_2).sum(axis=1)[:, None, None]  # [n, 1, 1]
    d_theta_3 = unslice(reshape_10, (n, 2, 3), (slice(0, n), slice(1, 2), slice(1, 2)))  # [n, 2, 3]
    reshape_11 = (d_down.sum(axis=1) / w * cast).sum(axis=1)[:, None, None]  # [n, 1, 1]
    d_theta_4 = unslice(reshape_11, (n, 2, 3), (slice(0, n), slice(1, 2), slice(0, 1)))  # [n, 2, 3]
    # gradient of across[r, i in h, j in w] = theta[r, 0, 0] * (2*j + 1 - w) / w + theta[r, 0, ..   cnn.lee:68
    reshape_12 = d_across.sum(axis=(1, 2))[:, None, None]  # [n, 1, 1]
    d_theta_5 = unslice(reshape_12, (n, 2, 3), (slice(0, n), slice(0, 1), slice(2, 3)))  # [n, 2, 3]
    d_contract_2 = (d_across.sum(axis=2) / h * cast_2).sum(axis=1)  # [n]
    reshape_13 = d_contract_2[:, None, None]  # [n, 1, 1]
    d_theta_6 = unslice(reshape_13, (n, 2, 3), (slice(0, n), slice(0, 1), slice(1, 2)))  # [n, 2, 3]
    reshape_14 = (d_across.sum(axis=1) / w * cast).sum(axis=1)[:, None, None]  # [n, 1, 1]
    d_theta_7 = unslice(reshape_14, (n, 2, 3), (slice(0, n), slice(0, 1), slice(0, 1)))  # [n, 2, 3]
    d_theta = d_theta_2 + d_theta_3 + d_theta_4 + d_theta_5 + d_theta_6 + d_theta_7  # [n, 2, 3]
    return d_image, d_theta


class SpatialTransformer(Model):
    """A net looks at the image and says through which affine map it should be seen; at first through none."""

    members = ("look", "w", "b")

    def __init__(self, side, hidden, *, key=(0, 0)):
        self.side, self.hidden = side, hidden
        self.look = Linear(side**2, hidden, key=fold(key, SITES["look"]))  # cnn.lee:91
        self.w = np.zeros((hidden, 6), dtype=FLOAT)  # [hidden, 6]  cnn.lee:92
        self.b = np.zeros((2, 3), dtype=FLOAT)  # [2, 3]  cnn.lee:93
        self.lay_out()

    def forward(self, image):
        """image [n, 1, side, side] -> [n, 1, side, side]"""
        n = image.shape[0]
        h = np.tanh(self.look(image.reshape(n, self.side**2)))  # [n, hidden]  cnn.lee:96
        identity = np.where(np.arange(2)[:, None] == np.arange(3), FLOAT(1.0), 0.0)  # [2, 3]  cnn.lee:97
        theta = (h @ self.w).reshape(n, 2, 3) + self.b + identity  # [n, 2, 3]  cnn.lee:98
        return affine_sample(image, theta)  # [n, 1, side, side]  cnn.lee:99

    def forward_saved(self, image):
        """As forward, and what its gradient needs."""
        n = image.shape[0]
        h = np.tanh(self.look(image.reshape(n, self.side**2)))  # [n, hidden]  cnn.lee:96
        identity = np.where(np.arange(2)[:, None] == np.arange(3), FLOAT(1.0), 0.0)  # [2, 3]  cnn.lee:97
        theta = (h @ self.w).reshape(n, 2, 3) + self.b + identity  # [n, 2, 3]  cnn.lee:98
        seen, saved_affine_sample = affine_sample_saved(image, theta)  # cnn.lee:99
        return seen, (h, saved_affine_sample)

    def forward_backward(self, image, saved, d_y):
        """From d_y to the gradients by the parameters and image."""
        h, saved_affine_sample = saved
        n = image.shape[0]
        # gradient of return affine_sample(image, theta)   cnn.lee:99
        d_image_2, d_theta = affine_sample_backward(saved_affine_sample, d_y)
        # gradient of theta = reshape(h @ w, [n, 2, 3]) + b + identity   cnn.lee:98
        d_b = d_theta.sum(axis=0)  # [2, 3]
        d_contract = d_theta.reshape(n, 6)  # [n, 6]
        d_h = d_contract @ self.w.T  # [n, hidden]
        d_w = h.T @ d_contract  # [hidden, 6]
        # gradient of h = tanh(look(flatten(image, from = 1)))   cnn.lee:96
        d_look, d_image_flat = self.look.forward_backward(image.reshape(n, self.side**2), d_h * (1 - h**2))
        d_image = d_image_2 + d_image_flat.reshape(n, 1, self.side, self.side)  # [n, 1, side, side]
        return {"look": d_look, "w": d_w, "b": d_b}, d_image


def fit(epochs=12, batch=32, rate=0.01, *, run=None):
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
    net = Classifier(key=run.key("net"))  # cnn.lee:104
    opt = Adam(lr=rate)  # cnn.lee:105
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for image, label in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_step(net, opt, image, label))  # cnn.lee:108
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # cnn.lee:109
    return net


def fit_step(net, opt, image, label):
    """One step of fit."""
    add_3, saved_net = net.forward_saved(image)  # cnn.lee:108
    d_add_3 = cross_entropy_backward(add_3, label, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(image, saved_net, d_add_3)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_3, label)


def fit_without_pooling(epochs=12, batch=32, rate=0.01, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("fit_without_pooling")
    data = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    net = AllConvolutional(key=run.key("net"))  # cnn.lee:115
    opt = Adam(lr=rate)  # cnn.lee:116
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for image, label in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_without_pooling_step(net, opt, image, label))  # cnn.lee:119
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # cnn.lee:120
    return net


def fit_without_pooling_step(net, opt, image, label):
    """One step of fit_without_pooling."""
    add_3, saved_net = net.forward_saved(image)  # cnn.lee:119
    d_add_3 = cross_entropy_backward(add_3, label, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(image, saved_net, d_add_3)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_3, label)


def example_classified(key):
    net = Classifier(width=3, key=fold(key, SITES["net"]))  # cnn.lee:125
    image = uniform(fold(key, SITES["image"]), (4, 1, 8, 8), FLOAT)  # [4, 1, 8, 8]  cnn.lee:126
    label = randint(fold(key, SITES["label"]), (4,), 0, 10)  # int[4]  cnn.lee:127
    add_3, saved_net = net.forward_saved(image)  # cnn.lee:128
    d_add_3 = cross_entropy_backward(add_3, label, FLOAT(1.0))  # [4, 10]
    d_net, d_image = net.forward_backward(image, saved_net, d_add_3)
    return cross_entropy(add_3, label), net.at(d_net), d_image


def example_strided(key):
    net = AllConvolutional(width=3, key=fold(key, SITES["net"]))  # cnn.lee:132
    image = uniform(fold(key, SITES["image"]), (4, 1, 8, 8), FLOAT)  # [4, 1, 8, 8]  cnn.lee:133
    label = randint(fold(key, SITES["label"]), (4,), 0, 10)  # int[4]  cnn.lee:134
    add_3, saved_net = net.forward_saved(image)  # cnn.lee:135
    d_add_3 = cross_entropy_backward(add_3, label, FLOAT(1.0))  # [4, 10]
    d_net, d_image = net.forward_backward(image, saved_net, d_add_3)
    return cross_entropy(add_3, label), net.at(d_net), d_image


def example_residual(key):
    net = Residual(3, key=fold(key, SITES["net"]))  # cnn.lee:139
    x = normal(fold(key, SITES["x"]), (2, 3, 5, 4), FLOAT)  # [2, 3, 5, 4]  cnn.lee:140
    select_2, saved_net = net.forward_saved(x)  # cnn.lee:141
    d_net, d_x = net.forward_backward(x, saved_net, select_2, 2 * select_2)
    return (select_2**2).sum(), net.at(d_net), d_x


def example_heard(key):
    net = SpeechNet(8, 3, 4, 2, 3, key=fold(key, SITES["net"]))  # cnn.lee:145
    sound = normal(fold(key, SITES["sound"]), (2, 30), FLOAT)  # [2, 30]  cnn.lee:146
    label = randint(fold(key, SITES["label"]), (2,), 0, 3)  # int[2]  cnn.lee:147
    net_out, saved_net = net.forward_saved(sound)  # cnn.lee:148
    d_net_out = cross_entropy_backward(net_out, label, FLOAT(1.0))  # [2, 3]
    d_net, d_sound = net.forward_backward(saved_net, 30, d_net_out)
    return cross_entropy(net_out, label), net.at(d_net), d_sound


def example_turned(key):
    image = normal(fold(key, SITES["image"]), (2, 3, 5, 6), FLOAT)  # [2, 3, 5, 6]  cnn.lee:152
    theta = 0.8 * normal(fold(key, SITES["theta"]), (2, 2, 3), FLOAT)  # [2, 2, 3]  cnn.lee:153
    c = normal(fold(key, SITES["c"]), (2, 3, 5, 6), FLOAT)  # [2, 3, 5, 6]  cnn.lee:154
    d_c, saved_affine_sample = affine_sample_saved(image, theta)  # cnn.lee:155
    d_image, d_theta = affine_sample_backward(saved_affine_sample, c)
    return (c * d_c).sum(), d_image, d_theta, d_c


def example_straightened(key):
    net = SpatialTransformer(5, 4, key=fold(key, SITES["net"]))  # cnn.lee:159
    image = normal(fold(key, SITES["image"]), (2, 1, 5, 5), FLOAT)  # [2, 1, 5, 5]  cnn.lee:160
    c = normal(fold(key, SITES["c"]), (2, 1, 5, 5), FLOAT)  # [2, 1, 5, 5]  cnn.lee:161
    d_c, saved_net = net.forward_saved(image)  # cnn.lee:162
    d_net, d_image = net.forward_backward(image, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_image, d_c


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
    "bias": 0x7246FEB96AC500B4,
    "c": 0x1B2C07CD64633F37,
    "conv1": 0x8854C97F58980E7B,
    "conv2": 0x12CDF365F51A69AF,
    "head": 0xBD7890018BD219D5,
    "image": 0x86C9701471CF0710,
    "kernel": 0x273FEA903E119357,
    "label": 0x97BB9DAEC28EDB5C,
    "look": 0x853CB03314ECF54E,
    "net": 0xF087C76970C91612,
    "sound": 0x037F62FE3081EEDF,
    "theta": 0x115FA7C62CFFA83E,
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


def unwindow(x, axis, size, stride=1, dilation=1, out=None):
    """The sum of overlapping windows: x[.., i, u, ..] is added to entry i * stride + u * dilation of `size`."""
    return unwindows(x, (axis,), (size,), (stride,), (dilation,), out)


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
