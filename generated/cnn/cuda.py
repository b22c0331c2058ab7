"""Networks of convolutions (inventory E10 to E15): classifiers of images, spectrograms, and two special layers.

Made from specs/convolution/cnn.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/convolution/cnn.lee
"""

from __future__ import annotations

import functools
import math
import sys
import weakref

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
            state = getattr(self, name, None)
            if state is None or state.device != θ.device or state.dtype != θ.dtype:
                setattr(self, name, torch.full_like(θ, start) if state is None else state.to(θ))
            elif state.shape != θ.shape:
                raise ValueError(f"{type(self).__name__} has moved {state.numel()} parameters, not {θ.numel()}")

    def tensors(self):
        """The count and the states that there are by now."""
        return {"t": self.t, **{name: getattr(self, name) for name in self.starts if hasattr(self, name)}}

    def load_tensors(self, tensors):
        """Go on from another's count and states; states that are there are filled, so that steps find them."""
        self.t = int(tensors["t"])
        for name in self.starts.keys() & tensors.keys():
            if hasattr(self, name):
                getattr(self, name).copy_(torch.as_tensor(tensors[name]))
            else:
                setattr(self, name, torch.as_tensor(tensors[name]).clone())

    def copy(self):
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for name in self.starts:
            if hasattr(self, name):
                setattr(twin, name, getattr(self, name).clone())
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


class TrainStep:
    """A training step as one function over flat vectors, without autograd; generated subclasses say which.

    `moved` pairs the attribute of an optimizer with the paths of the models that it moves, for every update; `counted`
    are the optimizers whose rule stands in the step; `read` names the tensors that the step reads. Everything that it
    touches keeps its address from call to call. On a GPU a step is captured as one CUDA graph for every shape of batch.
    """

    moved: tuple[tuple[str, tuple[str, ...]], ...] = ()
    counted: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    spare: tuple[int | None, ...] = ()  # arrays that an update computes in; None: in none, so it takes no blocks
    waits = False  # for what the device has computed, as `while` does: such a step has no graph
    GRAPHS = 8  # shapes of batches that have a graph; others run without
    BLOCK = 1 << 16  # entries of a vector that an update takes at a time on a CPU, so that they stay in its cache

    def scalars(self):
        """Numbers that differ from step to step."""
        return ()

    def constants(self):
        """Numbers that are written into a graph."""
        return ()

    def numbers(self, *sizes):
        """Numbers that depend on sizes alone."""
        return ()

    def held(self, *sizes):
        """`numbers` as tensors without axes: products with these are faster than with Python numbers."""
        if sizes not in self.known:
            if len(self.known) > 8 * self.GRAPHS:
                self.known.clear()
            self.known[sizes] = [torch.tensor(x, dtype=self.vectors[0].gradient.dtype) for x in self.numbers(*sizes)]
        return self.known[sizes]

    def bind(self):
        """Lay the parameters out and take views of all that the step reads and writes."""
        wanted = [[find_member(self, path) for path in models] for _, models in self.moved]
        for _ in range(len(wanted)):  # laying out one may move another that shares parameters with it
            self.vectors = [Vector.part_of(models, i) for i, models in enumerate(wanted)]
        slots = [find_slot(self, path) for path in self.read]
        self.tensors = tuple(table[name].detach() for table, name in slots)
        self.gradients = tuple(view for vector in self.vectors for view in vector.gradients)
        self.optimizers = [getattr(self, name) for name, _ in self.moved]
        for optimizer, vector in zip(self.optimizers, self.vectors, strict=True):
            optimizer.make_states(vector.values)
        self.states = [[getattr(o, name) for name in o.starts] for o in self.optimizers]
        moved = [slot for vector in self.vectors for slot in vector.slots]
        self.slots = [*moved, *(s for s in slots if not any(s[0] is t and s[1] == name for t, name in moved))]
        self.addresses = [table[name].data_ptr() for table, name in self.slots]
        self.owners = [(o.__dict__, name) for o in self.optimizers for name in o.starts]
        self.owned = [id(table[name]) for table, name in self.owners]
        self.blocks = [self.blocks_of(i) for i in range(len(self.moved))]
        self.graphs, self.known = {}, {}
        rules = len(self.counted) == len(self.moved)
        self.captured = self.vectors[0].gradient.is_cuda and rules and not self.waits
        self.quiet = torch.inference_mode()

    def blocks_of(self, i):
        """(θ, g, states, spare arrays) of one update, cut to blocks; none for an optimizer's own method."""
        if self.moved[i][0] not in self.counted:
            return []
        vector, start, blocks = self.vectors[i], 0, []
        largest = max(map(len, vector.pieces), default=0)
        whole = vector.gradient.is_cuda or self.spare[i] is None
        step = max(1, largest if whole else min(largest, self.BLOCK))
        spare = [vector.gradient.new_empty(step) for _ in range(self.spare[i] or 0)]
        for piece in vector.pieces:
            beside = [t[start : start + len(piece)] for t in (vector.gradient, *self.states[i])]
            start += len(piece)
            blocks += [
                (*(t[a : a + step] for t in (piece, *beside)), *(s[: len(piece) - a] for s in spare))
                for a in range(0, len(piece), step)
            ]
        return blocks

    def holds(self):
        """Whether the views are still those of the models and optimizers."""
        here = self.addresses == [table[name].data_ptr() for table, name in self.slots]
        return here and self.owned == [id(table[name]) for table, name in self.owners]

    def __call__(self, *batch):
        if not self.holds():
            self.bind()
        for name in self.counted:
            getattr(self, name).count()
        with self.quiet:
            if self.captured:
                return self.replayed(batch)
            return self.step(*batch, *self.scalars())

    # ---- on a GPU

    def replayed(self, batch):
        key = (*map(kind, batch), self.constants())
        if key not in self.graphs and len(self.graphs) >= self.GRAPHS:
            return self.step(*batch, *self.scalars())
        if key not in self.graphs:
            self.graphs[key] = Graph(self, batch)
        return self.graphs[key](batch, self.scalars())

    def written(self):
        """All tensors that a step writes into and that outlive it."""
        vectors = [piece for vector in self.vectors for piece in vector.pieces]
        return [*vectors, *self.tensors, *(s for states in self.states for s in states)]


class Classifier(Model):
    """(Convolution, pooling) twice, flatten, full layer, softmax."""

    members = ("conv1", "conv2", "head")

    def __init__(self, side=8, channels=1, classes=10, width=8, *, key=(0, 0)):
        super().__init__()
        self.side, self.channels, self.classes, self.width = side, channels, classes, width
        self.conv1 = Conv(channels, width, padding=1, key=fold(key, SITES["conv1"]))  # cnn.lee:12
        self.conv2 = Conv(width, 2 * width, padding=1, key=fold(key, SITES["conv2"]))  # cnn.lee:13
        self.head = Linear(2 * (side // 4) ** 2 * width, classes, key=fold(key, SITES["head"]))  # cnn.lee:14

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


class AllConvolutional(Model):
    """A stride of 2 takes the place of every pooling."""

    members = ("conv1", "conv2", "head")

    def __init__(self, side=8, channels=1, classes=10, width=8, *, key=(0, 0)):
        super().__init__()
        self.side, self.channels, self.classes, self.width = side, channels, classes, width
        self.conv1 = Conv(channels, width, stride=2, padding=1, key=fold(key, SITES["conv1"]))  # cnn.lee:24
        self.conv2 = Conv(width, 2 * width, stride=2, padding=1, key=fold(key, SITES["conv2"]))  # cnn.lee:25
        self.head = Linear(2 * ((side + 3) // 4) ** 2 * width, classes, key=fold(key, SITES["head"]))  # cnn.lee:26

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


class Residual(Model):
    """x + f(x), two convolutions being f (He et al. 2015)."""

    members = ("conv1", "conv2")

    def __init__(self, channels, *, key=(0, 0)):
        super().__init__()
        self.channels = channels
        self.conv1 = Conv(channels, channels, padding=1, key=fold(key, SITES["conv1"]))  # cnn.lee:36
        self.conv2 = Conv(channels, channels, padding=1, key=fold(key, SITES["conv2"]))  # cnn.lee:37

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


def spectrogram(sound, window, hop):
    """The power of each frequency in windows of a sound, faded at both ends by sin²(π u / window).

    sound [n, time] -> [n, window // 2 + 1, out_time]
    """
    cast = torch.arange(window, device=sound.device).to(FLOAT)  # [window]  cnn.lee:45
    sin = torch.sin(3.141592653589793 * cast / window)  # [window]
    fade = sin**2  # [window]
    frame = sound.unfold(1, window, hop) * fade  # [n, out_time, window]  cnn.lee:46
    cast_2 = torch.arange(window // 2 + 1, device=sound.device).to(FLOAT)  # [window // 2 + 1]  cnn.lee:47
    div_2 = (6.283185307179586 * cast_2)[:, None] * cast / window  # [window // 2 + 1, window]
    real = torch.cos(div_2) @ frame.mT  # [n, window // 2 + 1, out_time]
    imaginary = torch.sin(div_2) @ frame.mT  # [n, window // 2 + 1, out_time]  cnn.lee:48
    fade_sum = fade.sum()  # cnn.lee:49
    return (real**2 + imaginary**2) / fade_sum**2  # [n, window // 2 + 1, out_time]


def spectrogram_saved(sound, window, hop):
    """As spectrogram, and what its gradient needs."""
    cast = torch.arange(window, device=sound.device).to(FLOAT)  # [window]  cnn.lee:45
    sin = torch.sin(3.141592653589793 * cast / window)  # [window]
    fade = sin**2  # [window]
    frame = sound.unfold(1, window, hop) * fade  # [n, out_time, window]  cnn.lee:46
    cast_2 = torch.arange(window // 2 + 1, device=sound.device).to(FLOAT)  # [window // 2 + 1]  cnn.lee:47
    div_2 = (6.283185307179586 * cast_2)[:, None] * cast / window  # [window // 2 + 1, window]
    cos = torch.cos(div_2)  # [window // 2 + 1, window]
    real = cos @ frame.mT  # [n, window // 2 + 1, out_time]
    sin_2 = torch.sin(div_2)  # [window // 2 + 1, window]  cnn.lee:48
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

    def __init__(self, window, hop, filters, k, classes, *, key=(0, 0)):
        super().__init__()
        self.window, self.hop, self.filters, self.k, self.classes = window, hop, filters, k, classes
        if window % 2 != 0:
            raise ValueError(f"cnn.lee:54: window % 2 == 0 must hold: window = {window}")
        # [filters, k]  cnn.lee:55
        self.kernel = torch.nn.Parameter(1 / math.sqrt(k) * normal(fold(key, SITES["kernel"]), (filters, k), FLOAT))
        self.head = Linear(filters, classes, key=fold(key, SITES["head"]))  # cnn.lee:56

    def forward(self, sound):
        """sound [n, time] -> [n, classes]"""
        n, time = sound.shape
        out_time = (time - self.window) // self.hop + 1
        # [n, window // 2 + 1, out_time]  cnn.lee:59
        power = torch.log(spectrogram(sound, self.window, self.hop) + 1e-3)
        reshape = power.mT.reshape(-1, 1, self.window // 2 + 1)  # [n * out_time, 1, window // 2 + 1]  cnn.lee:60
        conv = torch.nn.functional.conv1d(reshape, self.kernel[:, None])  # [n * out_time, filters, window // 2 + 2 - k]
        # [n, out_time, filters, window // 2 + 2 - k]
        reshape_3 = conv.reshape(n, out_time, self.filters, self.window // 2 + 2 - self.k)
        score = reshape_3.permute(0, 2, 3, 1)  # [n, filters, window // 2 + 2 - k, out_time]
        return self.head(largest(relu(score), (2,), False).mean(dim=2))  # [n, classes]  cnn.lee:63

    def forward_saved(self, sound):
        """As forward, and what its gradient needs."""
        n, time = sound.shape
        out_time = (time - self.window) // self.hop + 1
        div_4, saved_spectrogram = spectrogram_saved(sound, self.window, self.hop)  # cnn.lee:59
        add = div_4 + 1e-3  # [n, window // 2 + 1, out_time]
        power = torch.log(add)  # [n, window // 2 + 1, out_time]
        reshape = power.mT.reshape(-1, 1, self.window // 2 + 1)  # [n * out_time, 1, window // 2 + 1]  cnn.lee:60
        conv = torch.nn.functional.conv1d(reshape, self.kernel[:, None])  # [n * out_time, filters, window // 2 + 2 - k]
        # [n, out_time, filters, window // 2 + 2 - k]
        reshape_3 = conv.reshape(n, out_time, self.filters, self.window // 2 + 2 - self.k)
        score = reshape_3.permute(0, 2, 3, 1)  # [n, filters, window // 2 + 2 - k, out_time]
        select = relu(score)  # [n, filters, window // 2 + 2 - k, out_time]  cnn.lee:63
        mean = largest(select, (2,), False).mean(dim=2)  # [n, filters]
        return self.head(mean), (saved_spectrogram, add, reshape, select, mean)

    def forward_backward(self, saved, time, d_y):
        """From d_y to the gradients by the parameters and sound."""
        saved_spectrogram, add, reshape, select, mean = saved
        n, _, out_window = add.shape
        # gradient of return head(mean(max(relu(score), axis = 2), axis = 2))   cnn.lee:63
        d_head, d_mean = self.head.forward_backward(mean, d_y)
        reshape_3 = (d_mean / out_window)[:, :, None]  # [n, filters, 1]
        # int[1, 1, 1, window // 2 + 2 - k]
        iota = torch.arange(self.window // 2 + 2 - self.k, device=add.device)[None, None, None, :]
        reshape_5 = reshape_3.expand(n, self.filters, out_window)[:, :, :, None]  # [n, filters, out_window, 1]
        eq = iota == select.mT.argmax(dim=3)[:, :, :, None]  # bool[n, filters, out_window, window // 2 + 2 - k]
        # [n, filters, window // 2 + 2 - k, out_window]
        d_score = relu_backward(select, torch.where(eq, reshape_5, 0).mT)
        # gradient of score[r, o, i in window // 2 + 2 - k, t in (time - window) // hop + 1] = sum[u](   cnn.lee:60
        d_reshape_3 = d_score.permute(0, 3, 1, 2)  # [n, out_window, filters, window // 2 + 2 - k]
        # [n * out_window, filters, window // 2 + 2 - k]
        d_conv = d_reshape_3.reshape(-1, self.filters, self.window // 2 + 2 - self.k)
        reshape_2 = self.kernel[:, None]  # [filters, 1, k]
        d_reshape_2 = torch.nn.grad.conv1d_weight(reshape, (self.filters, 1, self.k), d_conv)  # [filters, 1, k]
        d_kernel = d_reshape_2.reshape(self.filters, self.k)  # [filters, k]
        d_reshape = torch.nn.functional.conv_transpose1d(d_conv, reshape_2)  # [n * out_window, 1, window // 2 + 1]
        d_power = d_reshape.reshape(n, out_window, self.window // 2 + 1).mT  # [n, window // 2 + 1, out_window]
        # gradient of power = log(spectrogram(sound, window, hop) + 1e-3)   cnn.lee:59
        d_sound = spectrogram_backward(saved_spectrogram, self.hop, time, d_power / add)  # [n, time]
        return {"kernel": d_kernel, "head": d_head}, d_sound


def affine_sample(image, theta):
    """The image seen through an affine map of its coordinates, which go from -1 to 1: bilinear, 0 outside.

    image [n, c, h, w], theta [n, 2, 3] -> [n, c, h, w]
    """
    n, c, h, w = image.shape
    cast = (torch.arange(w, device=image.device) * 2 + (1 - w)).to(FLOAT)  # [w]  cnn.lee:68
    cast_2 = (torch.arange(h, device=image.device) * 2 + (1 - h)).to(FLOAT)  # [h]
    reshape_4 = (theta[:, 0, 1][:, None] * cast_2 / h)[:, :, None]  # [n, h, 1]
    add_3 = (theta[:, 0, 0][:, None] * cast / w)[:, None] + reshape_4  # [n, h, w]
    across = add_3 + theta[:, 0, 2][:, None, None]  # [n, h, w]
    reshape_9 = (theta[:, 1, 1][:, None] * cast_2 / h)[:, :, None]  # [n, h, 1]  cnn.lee:69
    add_4 = (theta[:, 1, 0][:, None] * cast / w)[:, None] + reshape_9  # [n, h, w]
    down = add_4 + theta[:, 1, 2][:, None, None]  # [n, h, w]
    column = ((across + 1) * w - 1) / 2  # [n, h, w]  cnn.lee:70
    row = ((down + 1) * h - 1) / 2  # [n, h, w]  cnn.lee:71
    p = torch.floor(row).to(torch.int64)  # int[n, h, w]  cnn.lee:72
    q = torch.floor(column).to(torch.int64)  # int[n, h, w]  cnn.lee:73
    sub_3 = row - p.to(FLOAT)  # [n, h, w]  cnn.lee:75
    u_2 = torch.arange(2, device=image.device)  # int[2]  cnn.lee:86
    eq = u_2 == 0  # bool[2]
    reshape_11 = (1 - sub_3)[:, :, :, None]  # [n, h, w, 1]
    sub_5 = column - q.to(FLOAT)  # [n, h, w]  cnn.lee:75
    reshape_13 = (1 - sub_5)[:, :, :, None]  # [n, h, w, 1]  cnn.lee:86
    add_7 = p[:, :, :, None] + u_2  # int[n, h, w, 2]  cnn.lee:76
    add_8 = q[:, :, :, None] + u_2  # int[n, h, w, 2]
    reshape_17 = ((0 <= add_7) & (add_7 < h))[:, :, :, :, None]  # bool[n, h, w, 2, 1]
    logical_and_2 = reshape_17 & (0 <= add_8)[:, :, :, None]  # bool[n, h, w, 2, 2]
    maximum_3 = torch.arange(n, device=image.device).clamp(min=0)  # int[n]  cnn.lee:77
    reshape_20 = maximum_3.clamp(max=n - 1)[:, None, None, None, None]  # int[n, 1, 1, 1, 1]
    reshape_21 = add_7.clamp(min=0).clamp(max=h - 1)[:, :, :, :, None]  # int[n, h, w, 2, 1]
    reshape_22 = add_8.clamp(min=0).clamp(max=w - 1)[:, :, :, None]  # int[n, h, w, 1, 2]
    gather = image.permute((0, 2, 3, 1))[reshape_20, reshape_21, reshape_22]  # [n, h, w, 2, 2, c]
    reshape_23 = (logical_and_2 & (add_8 < w)[:, :, :, None])[:, None]  # bool[n, 1, h, w, 2, 2]  cnn.lee:76
    select = torch.where(eq, reshape_11, sub_3[:, :, :, None])  # [n, h, w, 2]  cnn.lee:86
    select_2 = torch.where(eq, reshape_13, sub_5[:, :, :, None])  # [n, h, w, 2]
    select_3 = torch.where(reshape_23, gather.permute(0, 5, 1, 2, 3, 4), 0)  # [n, c, h, w, 2, 2]  cnn.lee:75
    mul_9 = select[:, :, :, :, None] * select_2[:, :, :, None]  # [n, h, w, 2, 2]  cnn.lee:74
    reshape_26 = select_3.permute(0, 2, 3, 1, 4, 5).reshape(n, h, w, c, 4)  # [n, h, w, c, 4]
    contract = reshape_26 @ mul_9.reshape(n, h, w, 4, 1)  # [n, h, w, c, 1]
    seen = contract.reshape(n, h, w, c).permute(0, 3, 1, 2)  # [n, c, h, w]
    return seen  # [n, c, h, w]


def affine_sample_saved(image, theta):
    """As affine_sample, and what its gradient needs."""
    n, c, h, w = image.shape
    cast = (torch.arange(w, device=image.device) * 2 + (1 - w)).to(FLOAT)  # [w]  cnn.lee:68
    cast_2 = (torch.arange(h, device=image.device) * 2 + (1 - h)).to(FLOAT)  # [h]
    reshape_4 = (theta[:, 0, 1][:, None] * cast_2 / h)[:, :, None]  # [n, h, 1]
    add_3 = (theta[:, 0, 0][:, None] * cast / w)[:, None] + reshape_4  # [n, h, w]
    across = add_3 + theta[:, 0, 2][:, None, None]  # [n, h, w]
    reshape_9 = (theta[:, 1, 1][:, None] * cast_2 / h)[:, :, None]  # [n, h, 1]  cnn.lee:69
    add_4 = (theta[:, 1, 0][:, None] * cast / w)[:, None] + reshape_9  # [n, h, w]
    down = add_4 + theta[:, 1, 2][:, None, None]  # [n, h, w]
    column = ((across + 1) * w - 1) / 2  # [n, h, w]  cnn.lee:70
    row = ((down + 1) * h - 1) / 2  # [n, h, w]  cnn.lee:71
    p = torch.floor(row).to(torch.int64)  # int[n, h, w]  cnn.lee:72
    q = torch.floor(column).to(torch.int64)  # int[n, h, w]  cnn.lee:73
    sub_3 = row - p.to(FLOAT)  # [n, h, w]  cnn.lee:75
    u_2 = torch.arange(2, device=image.device)  # int[2]  cnn.lee:86
    eq = u_2 == 0  # bool[2]
    select = torch.where(eq, (1 - sub_3)[:, :, :, None], sub_3[:, :, :, None])  # [n, h, w, 2]
    sub_5 = column - q.to(FLOAT)  # [n, h, w]  cnn.lee:75
    select_2 = torch.where(eq, (1 - sub_5)[:, :, :, None], sub_5[:, :, :, None])  # [n, h, w, 2]  cnn.lee:86
    add_7 = p[:, :, :, None] + u_2  # int[n, h, w, 2]  cnn.lee:76
    add_8 = q[:, :, :, None] + u_2  # int[n, h, w, 2]
    reshape_17 = ((0 <= add_7) & (add_7 < h))[:, :, :, :, None]  # bool[n, h, w, 2, 1]
    logical_and_2 = reshape_17 & (0 <= add_8)[:, :, :, None]  # bool[n, h, w, 2, 2]
    maximum_3 = torch.arange(n, device=image.device).clamp(min=0)  # int[n]  cnn.lee:77
    reshape_20 = maximum_3.clamp(max=n - 1)[:, None, None, None, None]  # int[n, 1, 1, 1, 1]
    reshape_21 = add_7.clamp(min=0).clamp(max=h - 1)[:, :, :, :, None]  # int[n, h, w, 2, 1]
    reshape_22 = add_8.clamp(min=0).clamp(max=w - 1)[:, :, :, None]  # int[n, h, w, 1, 2]
    gather = image.permute((0, 2, 3, 1))[reshape_20, reshape_21, reshape_22]  # [n, h, w, 2, 2, c]
    reshape_23 = (logical_and_2 & (add_8 < w)[:, :, :, None])[:, None]  # bool[n, 1, h, w, 2, 2]  cnn.lee:76
    select_3 = torch.where(reshape_23, gather.permute(0, 5, 1, 2, 3, 4), 0)  # [n, c, h, w, 2, 2]  cnn.lee:75
    mul_9 = select[:, :, :, :, None] * select_2[:, :, :, None]  # [n, h, w, 2, 2]  cnn.lee:74
    reshape_26 = select_3.permute(0, 2, 3, 1, 4, 5).reshape(n, h, w, c, 4)  # [n, h, w, c, 4]
    contract = reshape_26 @ mul_9.reshape(n, h, w, 4, 1)  # [n, h, w, c, 1]
    seen = contract.reshape(n, h, w, c).permute(0, 3, 1, 2)  # [n, c, h, w]
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
    reshape = select_3.permute(0, 2, 3, 4, 5, 1).reshape(n, h, w, 4, c)  # [n, h, w, 4, c]
    contract = reshape @ d_seen.permute(0, 2, 3, 1)[:, :, :, :, None]  # [n, h, w, 4, 1]
    reshape_3 = contract.reshape(n, h, w, 2, 2)  # [n, h, w, 2, 2]
    d_select = (reshape_3 @ select_2[:, :, :, :, None]).reshape(n, h, w, 2)  # [n, h, w, 2]
    reshape_5 = select[:, :, :, :, None]  # [n, h, w, 2, 1]
    d_select_2 = (reshape_3.mT @ reshape_5).reshape(n, h, w, 2)  # [n, h, w, 2]
    reshape_8 = (reshape_5 * select_2[:, :, :, None])[:, None]  # [n, 1, h, w, 2, 2]
    d_select_3 = d_seen[:, :, :, :, None, None] * reshape_8  # [n, c, h, w, 2, 2]
    # gradient of near(row[r, i, j] - p[r, i, j], u) * near(column[r, i, j] - q[r, i, j], v) * ..   cnn.lee:75
    d_transpose = torch.where(reshape_23, d_select_3, 0)  # [n, c, h, w, 2, 2]
    # gradient of image[r, a, p[r, i, j] + u, q[r, i, j] + v],   cnn.lee:77
    d_gather = d_transpose.permute(0, 2, 3, 4, 5, 1)  # [n, h, w, 2, 2, c]
    d_image = scatter_add(d_gather, (reshape_20, reshape_21, reshape_22), (n, c, h, w), (0, 2, 3))  # [n, c, h, w]
    # gradient of return where(u == 0, 1 - t, t)   cnn.lee:86
    d_sub_5 = torch.where(eq, 0, d_select_2).sum(dim=3)  # [n, h, w]
    # gradient of near(row[r, i, j] - p[r, i, j], u) * near(column[r, i, j] - q[r, i, j], v) * ..   cnn.lee:75
    d_column = d_sub_5 - torch.where(eq, d_select_2, 0).sum(dim=3)  # [n, h, w]
    # gradient of return where(u == 0, 1 - t, t)   cnn.lee:86
    d_sub_3 = torch.where(eq, 0, d_select).sum(dim=3)  # [n, h, w]
    # gradient of near(row[r, i, j] - p[r, i, j], u) * near(column[r, i, j] - q[r, i, j], v) * ..   cnn.lee:75
    d_row = d_sub_3 - torch.where(eq, d_select, 0).sum(dim=3)  # [n, h, w]
    # gradient of row = ((down + 1) * h - 1) / 2   cnn.lee:71
    d_down = d_row / 2 * h  # [n, h, w]
    # gradient of column = ((across + 1) * w - 1) / 2   cnn.lee:70
    d_across = d_column / 2 * w  # [n, h, w]
    # gradient of down[r, i in h, j in w] = theta[r, 1, 0] * (2*j + 1 - w) / w + theta[r, 1, 1]..   cnn.lee:69
    reshape_9 = d_down.sum(dim=(1, 2))[:, None, None]  # [n, 1, 1]
    d_theta_2 = unslice(reshape_9, (n, 2, 3), (slice(0, n), slice(1, 2), slice(2, 3)))  # [n, 2, 3]
    reshape_10 = (d_down.sum(dim=2) / h * cast_2).sum(dim=1)[:, None, None]  # [n, 1, 1]
    d_theta_3 = unslice(reshape_10, (n, 2, 3), (slice(0, n), slice(1, 2), slice(1, 2)))  # [n, 2, 3]
    reshape_11 = (d_down.sum(dim=1) / w * cast).sum(dim=1)[:, None, None]  # [n, 1, 1]
    d_theta_4 = unslice(reshape_11, (n, 2, 3), (slice(0, n), slice(1, 2), slice(0, 1)))  # [n, 2, 3]
    # gradient of across[r, i in h, j in w] = theta[r, 0, 0] * (2*j + 1 - w) / w + theta[r, 0, ..   cnn.lee:68
    reshape_12 = d_across.sum(dim=(1, 2))[:, None, None]  # [n, 1, 1]
    d_theta_5 = unslice(reshape_12, (n, 2, 3), (slice(0, n), slice(0, 1), slice(2, 3)))  # [n, 2, 3]
    reshape_13 = (d_across.sum(dim=2) / h * cast_2).sum(dim=1)[:, None, None]  # [n, 1, 1]
    d_theta_6 = unslice(reshape_13, (n, 2, 3), (slice(0, n), slice(0, 1), slice(1, 2)))  # [n, 2, 3]
    reshape_14 = (d_across.sum(dim=1) / w * cast).sum(dim=1)[:, None, None]  # [n, 1, 1]
    d_theta_7 = unslice(reshape_14, (n, 2, 3), (slice(0, n), slice(0, 1), slice(0, 1)))  # [n, 2, 3]
    d_theta = d_theta_2 + d_theta_3 + d_theta_4 + d_theta_5 + d_theta_6 + d_theta_7  # [n, 2, 3]
    return d_image, d_theta


class SpatialTransformer(Model):
    """A net looks at the image and says through which affine map it should be seen; at first through none."""

    members = ("look", "w", "b")

    def __init__(self, side, hidden, *, key=(0, 0)):
        super().__init__()
        self.side, self.hidden = side, hidden
        self.look = Linear(side**2, hidden, key=fold(key, SITES["look"]))  # cnn.lee:91
        self.w = torch.nn.Parameter(torch.zeros((hidden, 6), dtype=FLOAT))  # [hidden, 6]  cnn.lee:92
        self.b = torch.nn.Parameter(torch.zeros((2, 3), dtype=FLOAT))  # [2, 3]  cnn.lee:93

    def forward(self, image):
        """image [n, 1, side, side] -> [n, 1, side, side]"""
        n = image.shape[0]
        h = torch.tanh(self.look(image.reshape(n, self.side**2)))  # [n, hidden]  cnn.lee:96
        reshape = torch.arange(2, device=image.device)[:, None]  # int[2, 1]  cnn.lee:97
        eq = reshape == torch.arange(3, device=image.device)  # bool[2, 3]
        identity = torch.where(eq, torch.full((), 1.0, dtype=FLOAT, device=image.device), 0.0)  # [2, 3]
        theta = (h @ self.w).reshape(n, 2, 3) + self.b + identity  # [n, 2, 3]  cnn.lee:98
        return affine_sample(image, theta)  # [n, 1, side, side]  cnn.lee:99

    def forward_saved(self, image):
        """As forward, and what its gradient needs."""
        n = image.shape[0]
        h = torch.tanh(self.look(image.reshape(n, self.side**2)))  # [n, hidden]  cnn.lee:96
        reshape = torch.arange(2, device=image.device)[:, None]  # int[2, 1]  cnn.lee:97
        eq = reshape == torch.arange(3, device=image.device)  # bool[2, 3]
        identity = torch.where(eq, torch.full((), 1.0, dtype=FLOAT, device=image.device), 0.0)  # [2, 3]
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
        d_b = d_theta.sum(dim=0)  # [2, 3]
        d_contract = d_theta.reshape(n, 6)  # [n, 6]
        d_h = d_contract @ self.w.T  # [n, hidden]
        d_w = h.T @ d_contract  # [hidden, 6]
        # gradient of h = tanh(look(flatten(image, from = 1)))   cnn.lee:96
        d_look, d_image_flat = self.look.forward_backward(image.reshape(n, self.side**2), d_h * (1 - h**2))
        d_image = d_image_2 + d_image_flat.reshape(n, 1, self.side, self.side)  # [n, 1, side, side]
        return {"look": d_look, "w": d_w, "b": d_b}, d_image


@torch.no_grad()
def fit(epochs=12, batch=32, rate=0.01, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    net = Classifier(key=run.key("net")).to(run.session.place.device)  # cnn.lee:104
    opt = Adam(lr=rate)  # cnn.lee:105
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for image, label in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(image, label))  # cnn.lee:108
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # cnn.lee:109
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.conv1.kernel", "net.conv1.bias", "net.conv2.kernel", "net.conv2.bias", "net.head.w", "net.head.b")
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, image, label, t):
        conv1_kernel, conv1_bias, conv2_kernel, conv2_bias, head_w, head_b = self.tensors
        d_conv1_kernel, d_conv1_bias, d_conv2_kernel, d_conv2_bias, d_head_w, d_head_b = self.gradients
        batches_n = image.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        # [batches_n, 8, 8, 8]  nn.lee:112
        conv1_out = torch.nn.functional.conv2d(image, conv1_kernel, conv1_bias, padding=1)
        y = max_pool(conv1_out, (2, 2), (2, 2), (1, 1), (0, 0))  # [batches_n, 8, 4, 4]  nn.lee:130
        h = torch.relu(y)  # [batches_n, 8, 4, 4]  prelude.lee:61
        # [batches_n, 16, 4, 4]  nn.lee:112
        conv2_out = torch.nn.functional.conv2d(h, conv2_kernel, conv2_bias, padding=1)
        y_2 = max_pool(conv2_out, (2, 2), (2, 2), (1, 1), (0, 0))  # [batches_n, 16, 2, 2]  nn.lee:130
        h_2 = torch.relu(y_2)  # [batches_n, 16, 2, 2]  prelude.lee:61
        reshape = h_2.reshape(batches_n, 64)  # [batches_n, 64]  cnn.lee:19
        affine = torch.addmm(head_b, reshape, head_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine, label, reduction="none")  # [batches_n]  losses.lee:45
        iota = torch.arange(10, device=image.device)[None, :]  # int[1, 10]
        one_hot = (iota == label[:, None]).to(FLOAT)  # [batches_n, 10]
        d_add_3 = (torch.softmax(affine, dim=1) - one_hot) * scale  # [batches_n, 10]
        torch.sum(d_add_3, dim=0, out=d_head_b)  # [10]  nn.lee:21
        torch.mm(reshape.T, d_add_3, out=d_head_w)  # [64, 10]
        d_h_2 = (d_add_3 @ head_w.T).reshape(batches_n, 16, 2, 2)  # [batches_n, 16, 2, 2]  cnn.lee:19
        d_y_2 = torch.ops.aten.threshold_backward(d_h_2, h_2, 0)  # [batches_n, 16, 2, 2]  prelude.lee:61
        # [batches_n, 16, 4, 4]  nn.lee:130
        d_conv2_out = max_pool_gradient(d_y_2, conv2_out, y_2, (2, 2), (2, 2), (1, 1), (0, 0))
        torch.sum(d_conv2_out, dim=(0, 2, 3), out=d_conv2_bias)  # [16]  nn.lee:112
        # [batches_n, 8, 4, 4]  nn.lee:83
        d_h = torch.nn.functional.conv_transpose2d(d_conv2_out, conv2_kernel, padding=1)
        d_conv2_kernel.copy_(torch.nn.grad.conv2d_weight(h, (16, 8, 3, 3), d_conv2_out, padding=1))  # [16, 8, 3, 3]
        d_y = torch.ops.aten.threshold_backward(d_h, h, 0)  # [batches_n, 8, 4, 4]  prelude.lee:61
        # [batches_n, 8, 8, 8]  nn.lee:130
        d_conv1_out = max_pool_gradient(d_y, conv1_out, y, (2, 2), (2, 2), (1, 1), (0, 0))
        torch.sum(d_conv1_out, dim=(0, 2, 3), out=d_conv1_bias)  # [8]  nn.lee:112
        # [8, 1, 3, 3]  nn.lee:83
        d_conv1_kernel.copy_(torch.nn.grad.conv2d_weight(image, (8, 1, 3, 3), d_conv1_out, padding=1))
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


@torch.no_grad()
def fit_without_pooling(epochs=12, batch=32, rate=0.01, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("fit_without_pooling", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    net = AllConvolutional(key=run.key("net")).to(run.session.place.device)  # cnn.lee:115
    opt = Adam(lr=rate)  # cnn.lee:116
    step = FitWithoutPoolingStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for image, label in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(image, label))  # cnn.lee:119
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # cnn.lee:120
    return net


class FitWithoutPoolingStep(TrainStep):
    """One step of fit_without_pooling for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.conv1.kernel", "net.conv1.bias", "net.conv2.kernel", "net.conv2.bias", "net.head.w", "net.head.b")
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, image, label, t):
        conv1_kernel, conv1_bias, conv2_kernel, conv2_bias, head_w, head_b = self.tensors
        d_conv1_kernel, d_conv1_bias, d_conv2_kernel, d_conv2_bias, d_head_w, d_head_b = self.gradients
        batches_n = image.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        # [batches_n, 8, 4, 4]  nn.lee:112
        conv1_out = torch.nn.functional.conv2d(image, conv1_kernel, conv1_bias, stride=2, padding=1)
        h = torch.relu(conv1_out)  # [batches_n, 8, 4, 4]  prelude.lee:61
        # [batches_n, 16, 2, 2]  nn.lee:112
        conv2_out = torch.nn.functional.conv2d(h, conv2_kernel, conv2_bias, stride=2, padding=1)
        h_2 = torch.relu(conv2_out)  # [batches_n, 16, 2, 2]  prelude.lee:61
        reshape = h_2.reshape(batches_n, 64)  # [batches_n, 64]  cnn.lee:31
        affine = torch.addmm(head_b, reshape, head_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine, label, reduction="none")  # [batches_n]  losses.lee:45
        iota = torch.arange(10, device=image.device)[None, :]  # int[1, 10]
        one_hot = (iota == label[:, None]).to(FLOAT)  # [batches_n, 10]
        d_add_3 = (torch.softmax(affine, dim=1) - one_hot) * scale  # [batches_n, 10]
        torch.sum(d_add_3, dim=0, out=d_head_b)  # [10]  nn.lee:21
        torch.mm(reshape.T, d_add_3, out=d_head_w)  # [64, 10]
        d_h_2 = (d_add_3 @ head_w.T).reshape(batches_n, 16, 2, 2)  # [batches_n, 16, 2, 2]  cnn.lee:31
        d_conv2_out = torch.ops.aten.threshold_backward(d_h_2, h_2, 0)  # [batches_n, 16, 2, 2]  prelude.lee:61
        torch.sum(d_conv2_out, dim=(0, 2, 3), out=d_conv2_bias)  # [16]  nn.lee:112
        # [batches_n, 8, 4, 4]  nn.lee:83
        d_h = torch.nn.functional.conv_transpose2d(d_conv2_out, conv2_kernel, stride=2, padding=1, output_padding=1)
        # [16, 8, 3, 3]
        d_conv2_kernel.copy_(torch.nn.grad.conv2d_weight(h, (16, 8, 3, 3), d_conv2_out, stride=2, padding=1))
        d_conv1_out = torch.ops.aten.threshold_backward(d_h, h, 0)  # [batches_n, 8, 4, 4]  prelude.lee:61
        torch.sum(d_conv1_out, dim=(0, 2, 3), out=d_conv1_bias)  # [8]  nn.lee:112
        # [8, 1, 3, 3]  nn.lee:83
        d_conv1_kernel.copy_(torch.nn.grad.conv2d_weight(image, (8, 1, 3, 3), d_conv1_out, stride=2, padding=1))
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def example_classified(key):
    net = Classifier(width=3, key=fold(key, SITES["net"]))  # cnn.lee:125
    image = uniform(fold(key, SITES["image"]), (4, 1, 8, 8), FLOAT)  # [4, 1, 8, 8]  cnn.lee:126
    label = randint(fold(key, SITES["label"]), (4,), 0, 10)  # int[4]  cnn.lee:127
    add_3, saved_net = net.forward_saved(image)  # cnn.lee:128
    d_add_3 = cross_entropy_backward(add_3, label, torch.ones((), dtype=FLOAT))  # [4, 10]
    d_net, d_image = net.forward_backward(image, saved_net, d_add_3)
    return cross_entropy(add_3, label), net.at(d_net), d_image


def example_strided(key):
    net = AllConvolutional(width=3, key=fold(key, SITES["net"]))  # cnn.lee:132
    image = uniform(fold(key, SITES["image"]), (4, 1, 8, 8), FLOAT)  # [4, 1, 8, 8]  cnn.lee:133
    label = randint(fold(key, SITES["label"]), (4,), 0, 10)  # int[4]  cnn.lee:134
    add_3, saved_net = net.forward_saved(image)  # cnn.lee:135
    d_add_3 = cross_entropy_backward(add_3, label, torch.ones((), dtype=FLOAT))  # [4, 10]
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
    d_net_out = cross_entropy_backward(net_out, label, torch.ones((), dtype=FLOAT))  # [2, 3]
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
    surprise = torch.nn.functional.cross_entropy(z, y, reduction="none")  # [rows]  losses.lee:45
    return reduced(surprise)  # losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    d_z = (torch.softmax(z, dim=1) - eq.to(FLOAT)) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_backward(each_0, d_y):
    """From d_y to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = (d_y / each_0).expand(each_0)  # [each_0]
    return d_each  # [each_0]


@packed(None, z=(0, 2), y=(0, 1))
def accuracy(z, y):
    """The share of rows whose largest score is at the right class.

    z [.., k], y int[..] -> []
    """
    return (z.argmax(dim=1) == y).to(FLOAT).mean()  # metrics.lee:9


class Linear(Model):
    """x W + b"""

    members = ("w", "b")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        div, div_2 = fan_in_uniform(inputs)  # nn.lee:15
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]
        uniform_2 = uniform(fold(key, SITES["b"]), (outputs,), FLOAT)  # [outputs]  nn.lee:17
        self.w = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, outputs]  nn.lee:15
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [outputs]  nn.lee:17

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., inputs] -> [.., outputs]"""
        return torch.addmm(self.b, x, self.w)  # [rows, outputs]  nn.lee:21

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(dim=0)  # [outputs]
        d_x = d_y @ self.w.T  # [rows, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_x


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


def max_pool_(x, size=2):
    """The largest entry of each size × size square.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = torch.nn.functional.max_pool2d(x, size)  # [n, c, h // size, w // size]  nn.lee:130
    return y  # [n, c, h // size, w // size]


def max_pool_backward(x, y, size, d_y):
    """From d_y to the gradient by x."""
    # gradient of y[n, c, i in h // size, j in w // size] = max[u in size, v in size](x[n, c, s..   nn.lee:130
    d_x = max_pool_gradient(d_y, x, y, (size, size), (size, size), (1, 1), (0, 0))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


class Adam(Optimizer):
    """m, v: averages of g and g², each over its bias; θ ← θ - η m̂ / (√v̂ + ε) (Kingma & Ba 2015).

    `weight_decay` adds λ θ to the gradient; AdamW keeps it apart.
    """

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
        self.lr, self.beta1, self.beta2, self.eps, self.weight_decay = lr, beta1, beta2, eps, weight_decay

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        # optim.lee:79
        adam_(θ, g, self.m, self.v, self.lr, self.beta1, self.beta2, self.eps, self.weight_decay, self.t)


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


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = x.new_zeros(dims)
    whole[slices] = x
    return whole


def unwindow(x, axis, size, stride=1, dilation=1):
    """The sum of overlapping windows: x[.., i, u, ..] is added to entry i * stride + u * dilation of `size`."""
    count, width = x.shape[axis : axis + 2]
    whole = x.new_zeros((*x.shape[:axis], size, *x.shape[axis + 2 :]))
    before = (slice(None),) * axis
    for u in range(width):
        start = u * dilation
        whole[(*before, slice(start, start + count * stride, stride))] += x[(*before, slice(None), u)]
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


def window_entries(x, size, stride, dilation):
    """For every offset within a window along the last axes, the entries of x there, one a window: a strided view."""
    parts = [[]]
    for d, k, s, e in zip(x.shape[x.ndim - len(size) :], size, stride, dilation, strict=True):
        last = (d - e * (k - 1) - 1) // s * s  # where the last window begins
        parts = [[*part, slice(e * u, e * u + last + 1, s)] for part in parts for u in range(k)]
    for part in parts:
        yield x[(..., *part)]


def max_pool(x, size, stride, dilation, padding):
    """The largest entry of every window along the last axes; on a CPU strided views are faster than the library."""
    if x.is_cuda:
        pool = getattr(torch.nn.functional, f"max_pool{len(size)}d")
        return pool(x, size, stride, padding, dilation)
    around = [p for q in reversed(padding) for p in (q, q)]
    x = torch.nn.functional.pad(x, around, value=-math.inf) if any(around) else x
    first, *others = window_entries(x, size, stride, dilation)
    y = torch.maximum(first, others[0]) if others else first.clone()
    for entries in others[1:]:
        torch.maximum(y, entries, out=y)
    return y


def max_pool_gradient(g, x, y, size, stride, dilation, padding):
    """g at the first entry of its window that is the largest, row by row; entries of several windows add up."""
    around = [p for q in reversed(padding) for p in (q, q)]
    wide = torch.nn.functional.pad(x, around, value=-math.inf) if any(around) else x
    how, overlap = (size, stride, dilation), any(e * (k - 1) >= s for k, s, e in zip(size, stride, dilation))
    d_x, waiting = torch.zeros_like(wide), torch.ones_like(y, dtype=torch.bool)
    last = math.prod(size) - 1  # takes what no other took
    windows = zip(window_entries(wide, *how), window_entries(d_x, *how), strict=True)
    for k, (entries, d_entries) in enumerate(windows):
        first = waiting if k == last else (entries == y).logical_and_(waiting)
        waiting = waiting.logical_xor(first)
        d_entries.add_(masked(g, first)) if overlap else d_entries.copy_(masked(g, first))
    return torch.nn.functional.pad(d_x, [-p for p in around]) if any(around) else d_x


def masked(x, c):
    """x where c holds, else 0. On a CPU by its bits, which takes a tenth of a choice entry by entry."""
    if x.is_cuda or torch.is_grad_enabled():
        return torch.where(c, x, 0.0)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.view(bits).bitwise_and(c.to(bits).neg_()).view(x.dtype)


def adam_(x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """A step of Adam in place; `t` is a number, or a tensor on the device. One kernel where the library has it."""
    kernel = fused("_fused_adam_", x, lr)
    if kernel is None:
        adamw_(x, g + decay * x, m, v, lr, beta1, beta2, eps, 0.0, t)
    else:
        fused_adam(kernel, x, g, m, v, lr, beta1, beta2, eps, decay, t)


def adamw_(x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """A step of AdamW in place; `t` is a number, or a tensor on the device. One kernel where the library has it."""
    kernel = fused("_fused_adamw_", x, lr)
    if kernel is not None:
        fused_adam(kernel, x, g, m, v, lr, beta1, beta2, eps, decay, t)
        return
    m.lerp_(g, 1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    x.mul_(1 - lr * decay)
    x.sub_(m / ((v / (1 - beta2**t)).sqrt_() + eps) * (lr / (1 - beta1**t)))


def fused(name, x, lr):
    """A kernel of the library; None where it has none as exact as x: a rate that is a tensor it takes in float32."""
    rounds = isinstance(lr, torch.Tensor) and x.dtype == torch.float64
    return None if rounds else getattr(torch, name, None)


def fused_adam(kernel, x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """A step by a kernel of the library, which wants lists of tensors, and the count as a tensor."""
    step = t.float() if isinstance(t, torch.Tensor) else torch.scalar_tensor(t, device=x.device)
    lr = lr.float() if isinstance(lr, torch.Tensor) else lr
    how = {"amsgrad": False, "maximize": False}
    kernel([x], [g], [m], [v], [], [step], lr=lr, beta1=beta1, beta2=beta2, weight_decay=decay, eps=eps, **how)


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


def randint(key: Key, shape: tuple[int, ...], low: int, high: int, device: Device = None) -> torch.Tensor:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape), device).reshape(shape)
    return (words * (high - low) >> 32 & MASK) + low


def move_keys(found, old, new):
    """Rename a key, or all below a path."""
    for key in [k for k in found if k == old or k.startswith(f"{old}.")]:
        found[new + key[len(old) :]] = found.pop(key)


class Vector:
    """Parameters side by side in one tensor; they become views of `values`.

    Moving or casting a model severs them silently, so parts are asked whether they hold before every step.
    """

    def __init__(self, slots):
        self.owners = [(weakref.ref(module), name) for module, name in slots]
        self.positions = {slot: i for i, slot in enumerate(self.owners)}
        self.parts = {}
        with torch.no_grad():
            parameters = [module._parameters[name] for module, name in slots]
            self.values = torch.cat([p.reshape(-1) for p in parameters])
            self.sizes = [p.numel() for p in parameters]
            for (module, name), p, part in zip(slots, parameters, self.values.split(self.sizes), strict=True):
                p.data = part.view(p.shape)
                HOMES.setdefault(module, {})[name] = self

    @staticmethod
    def part_of(models, use=0):
        """The parameters of these models where they stand side by side for all steps; `use` counts those in a step.

        What shares parameters shares a vector: it is laid out anew when a step moves more than what stood there.
        """
        slots = [slot for model in models for slot in parameter_slots(model)]
        homes = list(dict.fromkeys(HOMES.get(module, {}).get(name) for module, name in slots))
        if len(homes) != 1 or homes[0] is None or not homes[0].part(slots, use).holds():
            homes = [Vector(side_by_side(slots, [home for home in homes if home is not None]))]
        return homes[0].part(slots, use)

    def part(self, slots, use):
        positions = tuple(self.positions[weakref.ref(module), name] for module, name in slots)
        if (positions, use) not in self.parts:
            self.parts[positions, use] = Part(self, slots, positions)
        return self.parts[positions, use]


HOMES: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def side_by_side(slots, homes):
    """The slots in their order, among those that share a vector with them: what was together stays so if it can."""
    known = [(ref(), name) for home in homes for ref, name in home.owners if ref() is not None]
    if set(known) <= set(slots):
        return slots
    before = slots[: next(i for i, slot in enumerate(slots) if slot in known)]
    return [*before, *known, *(slot for slot in slots if slot not in known and slot not in before)]


class Part:
    """The parameters that one update moves, as pieces of a vector, with a gradient of their own."""

    def __init__(self, vector, slots, positions):
        starts = [sum(vector.sizes[:i]) for i in positions]
        sizes = [vector.sizes[i] for i in positions]
        bounds = []
        for start, size in zip(starts, sizes, strict=True):
            if bounds and bounds[-1][1] == start:
                bounds[-1][1] += size
            else:
                bounds.append([start, start + size])
        self.pieces = [vector.values[start:stop] for start, stop in bounds]
        self.slots = [(module._parameters, name) for module, name in slots]
        parameters = [table[name] for table, name in self.slots]
        self.shapes = [tuple(p.shape) for p in parameters]
        self.addresses = [p.data_ptr() for p in parameters]
        self.gradient = vector.values.new_zeros(sum(sizes))
        self.gradients = [part.view(p.shape) for part, p in zip(self.gradient.split(sizes), parameters, strict=True)]

    @property
    def values(self):
        """All parameters in one tensor: themselves if they stand together, else copies."""
        return self.pieces[0] if len(self.pieces) == 1 else torch.cat(self.pieces)

    def moved_by(self, update, *more):
        """Let a rule move the whole vector at once."""
        values = self.values
        update(values, self.gradient, *more)
        if len(self.pieces) > 1:
            for piece, moved in zip(self.pieces, values.split([len(p) for p in self.pieces]), strict=True):
                piece.copy_(moved)

    def holds(self):
        return self.addresses == [table[name].data_ptr() for table, name in self.slots]


def parameter_slots(model):
    """Where the parameters of a model are kept: (module, name), in declaration order."""
    for name in model.members:
        attribute = model.renamed.get(name, name)
        if attribute in model._parameters:
            yield model, attribute
        elif attribute in model._modules:
            member = model._modules[attribute]
            for part in member if isinstance(member, torch.nn.ModuleList) else [member]:
                yield from parameter_slots(part)


def find_slot(step, path):
    """(table, name) of the tensor at a path such as `net.layers.0.w`."""
    owner, _, last = path.rpartition(".")
    module = find_member(step, owner)
    name = module.renamed.get(last, last)
    return (module._parameters if name in module._parameters else module._buffers), name


def find_member(step, path):
    """The model at a path such as `net.layers.0`."""
    module = step
    for name in path.split("."):
        module = (
            module[int(name)] if name.isdigit() else getattr(module, getattr(module, "renamed", {}).get(name, name))
        )
    return module


def kind(x):
    """What a graph depends on: of tensors the shape, nothing of the keys of draws, sizes themselves."""
    return (x.shape, x.dtype) if isinstance(x, torch.Tensor) else "key" if isinstance(x, tuple) else x


class Graph:
    """One captured step: batches, keys and numbers are put into tensors of fixed address, then everything is replayed.

    Numbers are filled in by kernels, since a copy from the host would wait for the device.
    """

    def __init__(self, step, batch):
        self.device = step.vectors[0].gradient.device
        self.batch = [self.hold(x) for x in batch]
        self.numbers = [torch.tensor(x, dtype=torch.float64, device=self.device) for x in step.scalars()]
        before = [(tensor, tensor.clone()) for tensor in step.written()]
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):  # libraries choose their algorithms before anything is captured
            for _ in range(3):
                step.step(*self.batch, *self.numbers)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = step.step(*self.batch, *self.numbers)
        for tensor, value in before:
            tensor.copy_(value)

    def hold(self, x):
        if isinstance(x, tuple):
            return torch.tensor(x, dtype=torch.int64, device=self.device)
        return x.clone() if isinstance(x, torch.Tensor) else x

    def __call__(self, batch, numbers):
        for held, x in zip(self.batch, batch, strict=True):
            if isinstance(x, torch.Tensor):
                held.copy_(x, non_blocking=True)
            elif isinstance(x, tuple):
                for word, value in zip(held.unbind(), x, strict=True):
                    word.fill_(value)
        for held, x in zip(self.numbers, numbers, strict=True):
            held.fill_(x)
        self.graph.replay()
        return own_copy(self.result)


def own_copy(result):
    """What a step returns, if anything, before the next replay writes over it."""
    return result.clone() if isinstance(result, torch.Tensor) else result and tuple(map(own_copy, result))
