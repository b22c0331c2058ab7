"""A convolutional network with nothing taken for granted (lecture: CNN): convolution is written as its sum.

The compiler sees that the sum over a window is a convolution and calls the library's; the NumPy reference shows the
same sum as windows and one matrix product.

Made from specs/convolution/from_sums.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/convolution/from_sums.lee
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


def conv2d(x, kernel, stride=1, padding=0):
    """Each filter, over all channels, against every window.

    x [n, c, h, w], kernel [o, c, k, k] -> [n, o, out_h, out_w]
    """
    y = torch.nn.functional.conv2d(x, kernel, stride=stride, padding=padding)  # [n, o, out_h, out_w]  from_sums.lee:23
    return y  # [n, o, out_h, out_w]


def conv2d_backward(x, kernel, padding, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    _, c, h, w = x.shape
    o, _, k, _ = kernel.shape
    _, _, out_h, out_w = d_y.shape
    # gradient of y[n, o, i, j] = sum[c, u, v](padded[n, c, stride*i + u, stride*j + v] * kerne..   from_sums.lee:23
    # [n, c, h, w]
    d_x = torch.nn.functional.conv_transpose2d(
        d_y,
        kernel,
        stride=stride,
        padding=padding,
        output_padding=(h + 2 * padding + stride - out_h * stride - k, 2 * padding + stride + w - out_w * stride - k),
    )
    d_kernel = torch.nn.grad.conv2d_weight(x, (o, c, k, k), d_y, stride=stride, padding=padding)  # [o, c, k, k]
    return d_x, d_kernel


def conv_transpose2d(x, kernel, stride=2):
    """The other way round: every entry adds its share of the filter to a window.

    x [n, c, h, w], kernel [c, o, k, k] -> [n, o, h * stride + k - stride, stride * w + k - stride]
    """
    # [n, o, h * stride + k - stride, stride * w + k - stride]  from_sums.lee:34
    y_2 = torch.nn.functional.conv_transpose2d(x, kernel, stride=stride)
    return y_2  # [n, o, h * stride + k - stride, stride * w + k - stride]


def conv_transpose2d_backward(x, kernel, stride, d_y_2):
    """From d_y_2 to the gradients by x and kernel."""
    c = x.shape[1]
    _, o, k, _ = kernel.shape
    # gradient of y[n, o, stride*i + u, stride*j + v] += sum[c](x[n, c, i, j] * kernel[c, o, u,..   from_sums.lee:34
    d_x = torch.nn.functional.conv2d(d_y_2, kernel, stride=stride)  # [n, c, h, w]
    d_kernel = torch.nn.grad.conv2d_weight(d_y_2, (c, o, k, k), x, stride=stride)  # [c, o, k, k]
    return d_x, d_kernel


def max_pool_(x, size=2):
    """The largest of each block.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = torch.nn.functional.max_pool2d(x, size)  # [n, c, h // size, w // size]  from_sums.lee:40
    return y  # [n, c, h // size, w // size]


def max_pool_backward(x, y, size, d_y):
    """From d_y to the gradient by x."""
    # gradient of y[n, c, i in h // size, j in w // size] = max[u in size, v in size](x[n, c, s..   from_sums.lee:40
    d_x = max_pool_gradient(d_y, x, y, (size, size), (size, size), (1, 1), (0, 0))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


class Conv(Model):
    """Conv(inputs, outputs, k, stride, padding)"""

    members = ("kernel", "bias")

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs, self.k, self.stride, self.padding = inputs, outputs, k, stride, padding
        mul, mul_2 = kaiming_uniform(inputs * k**2)  # from_sums.lee:45
        key_2 = fold(key, SITES["kernel"])
        uniform_ = uniform(key_2, (outputs, inputs, k, k), FLOAT)  # [outputs, inputs, k, k]
        self.kernel = torch.nn.Parameter(mul + (mul_2 - mul) * uniform_)  # [outputs, inputs, k, k]
        self.bias = torch.nn.Parameter(torch.zeros(outputs, dtype=FLOAT))  # [outputs]  from_sums.lee:46

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, out_h, out_w]"""
        # [n, outputs, out_h, out_w]  from_sums.lee:49
        y = conv2d(x, self.kernel, stride=self.stride, padding=self.padding)
        return y + self.bias[:, None, None]  # [n, outputs, out_h, out_w]

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return conv2d(x, kernel, stride, padding) + bias[:, None, None]   from_sums.lee:49
        d_bias = d_y.sum(dim=0).sum(dim=(1, 2))  # [outputs]
        d_x, d_kernel = conv2d_backward(x, self.kernel, self.padding, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x


class BatchNorm(Model):
    """Every channel with the mean and deviation of its batch; later with those that training saw (Ioffe, Szegedy 2015)."""

    members = ("gamma", "beta", "mean_", "var_")

    def __init__(self, channels, momentum=0.1, eps=1e-5):
        super().__init__()
        self.channels, self.momentum, self.eps = channels, momentum, eps
        self.gamma = torch.nn.Parameter(torch.ones(channels, dtype=FLOAT))  # [channels]  from_sums.lee:54
        self.beta = torch.nn.Parameter(torch.zeros(channels, dtype=FLOAT))  # [channels]  from_sums.lee:55
        self.register_buffer("mean_", torch.zeros(channels, dtype=FLOAT))  # [channels]
        self.register_buffer("var_", torch.ones(channels, dtype=FLOAT))  # [channels]  from_sums.lee:54

    def forward(self, x):
        """x [n, channels, h, w] -> [n, channels, h, w]"""
        if not self.training:
            return self.forward_eval(x)
        n, _, h, w = x.shape
        mu = x.mean(dim=(0, 2, 3))  # [channels]  from_sums.lee:61
        sub = x - mu[:, None, None]  # [n, channels, h, w]  from_sums.lee:62
        var = (sub**2).mean(dim=(0, 2, 3))  # [channels]
        div = self.momentum * var * (h * n * w) / (h * n * w - 1)  # [channels]  from_sums.lee:64
        centred = x - x.mean(dim=(0, 2, 3), keepdim=True)  # [n, channels, h, w]  from_sums.lee:68
        add = (centred**2).mean(dim=(0, 2, 3), keepdim=True) + self.eps  # [1, channels, 1, 1]
        z = centred / sqrt(add)  # [n, channels, h, w]
        with torch.no_grad():
            self.mean_.copy_((1 - self.momentum) * self.mean_ + self.momentum * mu)  # [channels]  from_sums.lee:63
            self.var_.copy_((1 - self.momentum) * self.var_ + div)  # [channels]  from_sums.lee:64
        return self.gamma[:, None, None] * z + self.beta[:, None, None]  # [n, channels, h, w]  from_sums.lee:69

    def forward_eval(self, x):
        """x [n, channels, h, w] -> [n, channels, h, w]"""
        # [n, channels, h, w]  from_sums.lee:68
        z = (x - self.mean_[:, None, None]) / sqrt(self.var_[:, None, None] + self.eps)
        return self.gamma[:, None, None] * z + self.beta[:, None, None]  # [n, channels, h, w]  from_sums.lee:69

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, h, w = x.shape
        mu = x.mean(dim=(0, 2, 3))  # [channels]  from_sums.lee:61
        sub = x - mu[:, None, None]  # [n, channels, h, w]  from_sums.lee:62
        var = (sub**2).mean(dim=(0, 2, 3))  # [channels]
        div = self.momentum * var * (h * n * w) / (h * n * w - 1)  # [channels]  from_sums.lee:64
        centred = x - x.mean(dim=(0, 2, 3), keepdim=True)  # [n, channels, h, w]  from_sums.lee:68
        add = (centred**2).mean(dim=(0, 2, 3), keepdim=True) + self.eps  # [1, channels, 1, 1]
        z = centred / sqrt(add)  # [n, channels, h, w]
        with torch.no_grad():
            self.mean_.copy_((1 - self.momentum) * self.mean_ + self.momentum * mu)  # [channels]  from_sums.lee:63
            self.var_.copy_((1 - self.momentum) * self.var_ + div)  # [channels]  from_sums.lee:64
        return self.gamma[:, None, None] * z + self.beta[:, None, None], z  # from_sums.lee:69

    def forward_backward(self, x, z, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return gamma[:, None, None] * z + beta[:, None, None]   from_sums.lee:69
        d_beta = d_y.sum(dim=0).sum(dim=(1, 2))  # [channels]
        d_z = d_y * self.gamma[:, None, None]  # [n, channels, h, w]
        d_gamma = (d_y * z).sum(dim=0).sum(dim=(1, 2))  # [channels]
        # gradient of z = (x - mu[:, None, None]) / sqrt(var[:, None, None] + eps)   from_sums.lee:68
        centred = x - x.mean(dim=(0, 2, 3), keepdim=True)  # [n, channels, h, w]
        deviation = sqrt((centred**2).mean(dim=(0, 2, 3), keepdim=True) + self.eps)  # [1, channels, 1, 1]
        normal_ = centred / deviation  # [n, channels, h, w]
        mul_4 = normal_ * (d_z * normal_).mean(dim=(0, 2, 3), keepdim=True)  # [n, channels, h, w]
        d_x = (d_z - d_z.mean(dim=(0, 2, 3), keepdim=True) - mul_4) / deviation  # [n, channels, h, w]
        return {"gamma": d_gamma, "beta": d_beta}, d_x

    def forward_eval_saved(self, x):
        """As forward_eval, and what its gradient needs."""
        sqrt_ = sqrt(self.var_[:, None, None] + self.eps)  # [channels, 1, 1]  from_sums.lee:68
        z = (x - self.mean_[:, None, None]) / sqrt_  # [n, channels, h, w]
        return self.gamma[:, None, None] * z + self.beta[:, None, None], (sqrt_, z)  # from_sums.lee:69

    def forward_eval_backward(self, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        sqrt_, z = saved
        # gradient of return gamma[:, None, None] * z + beta[:, None, None]   from_sums.lee:69
        d_beta = d_y.sum(dim=0).sum(dim=(1, 2))  # [channels]
        d_z = d_y * self.gamma[:, None, None]  # [n, channels, h, w]
        d_gamma = (d_y * z).sum(dim=0).sum(dim=(1, 2))  # [channels]
        # gradient of z = (x - mu[:, None, None]) / sqrt(var[:, None, None] + eps)   from_sums.lee:68
        d_x = d_z / sqrt_  # [n, channels, h, w]
        return {"gamma": d_gamma, "beta": d_beta}, d_x


class DigitNet(Model):
    """Two convolutions with pooling see ever larger parts of the image; a linear layer decides."""

    members = ("conv1", "norm1", "conv2", "head")

    def __init__(self, side=8, classes=10, *, key=(0, 0)):
        super().__init__()
        self.side, self.classes = side, classes
        self.conv1 = Conv(1, 16, padding=1, key=fold(key, SITES["conv1"]))  # from_sums.lee:74
        self.norm1 = BatchNorm(16)  # from_sums.lee:75
        self.conv2 = Conv(16, 32, padding=1, key=fold(key, SITES["conv2"]))  # from_sums.lee:76
        self.head = Linear(32 * (side // 4) ** 2, classes, key=fold(key, SITES["head"]))  # from_sums.lee:77

    def forward(self, image):
        """image [n, 1, side, side] -> [n, classes]"""
        if not self.training:
            return self.forward_eval(image)
        n = image.shape[0]
        norm1_out = self.norm1(self.conv1(image))  # [n, 16, side, side]  from_sums.lee:80
        h = max_pool_(relu(norm1_out))  # [n, 16, side // 2, side // 2]
        h_2 = max_pool_(relu(self.conv2(h)))  # [n, 32, side // 4, side // 4]  from_sums.lee:81
        return self.head(h_2.reshape(n, 32 * (self.side // 4) ** 2))  # [n, classes]  from_sums.lee:82

    def forward_eval(self, image):
        """image [n, 1, side, side] -> [n, classes]"""
        n = image.shape[0]
        # [n, 16, side // 2, side // 2]  from_sums.lee:80
        h = max_pool_(relu(self.norm1.forward_eval(self.conv1(image))))
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


@torch.no_grad()
def fit(epochs=10, batch=64, rate=2e-3, *, run=None):
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
    net = DigitNet(key=run.key("net")).to(run.session.place.device)  # from_sums.lee:87
    opt = Adam(lr=rate)  # from_sums.lee:88
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for image, label in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(image, label))  # from_sums.lee:91
        run.report(accuracy=accuracy(net.forward_eval(data.test.x), data.test.y))  # from_sums.lee:92
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.conv1.kernel",
        "net.conv1.bias",
        "net.norm1.gamma",
        "net.norm1.beta",
        "net.norm1.mean_",
        "net.norm1.var_",
        "net.conv2.kernel",
        "net.conv2.bias",
        "net.head.w",
        "net.head.b",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (64 * batches_n, 64 * batches_n - 1, batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, image, label, t):
        conv1_kernel, conv1_bias, norm1_gamma, norm1_beta, norm1_mean_, norm1_var_ = self.tensors[:6]
        conv2_kernel, conv2_bias, head_w, head_b = self.tensors[6:]
        d_conv1_kernel, d_conv1_bias, d_norm1_gamma, d_norm1_beta, d_conv2_kernel = self.gradients[:5]
        d_conv2_bias, d_head_w, d_head_b = self.gradients[5:]
        batches_n = image.shape[0]
        scale, scale_, count, scale_2 = self.held(batches_n)
        # [batches_n, 16, 8, 8]  from_sums.lee:49
        conv1_out = torch.nn.functional.conv2d(image, conv1_kernel, conv1_bias, padding=1)
        mu = conv1_out.mean(dim=(0, 2, 3))  # [16]  from_sums.lee:61
        sub = conv1_out - mu[:, None, None]  # [batches_n, 16, 8, 8]  from_sums.lee:62
        sub_2 = 1 - self.net.norm1.momentum  # from_sums.lee:63
        norm1_mean_.copy_(sub_2 * norm1_mean_ + self.net.norm1.momentum * mu)  # [16]
        mul_5 = self.net.norm1.momentum * (sub * sub).mean(dim=(0, 2, 3))  # [16]  from_sums.lee:64
        norm1_var_.copy_(sub_2 * norm1_var_ + mul_5 * scale / scale_)  # [16]
        centred = conv1_out - conv1_out.mean(dim=(0, 2, 3), keepdim=True)  # [batches_n, 16, 8, 8]  from_sums.lee:68
        variance = (centred * centred).mean(dim=(0, 2, 3), keepdim=True)  # [1, 16, 1, 1]
        deviation = torch.sqrt(variance + self.net.norm1.eps)  # [1, 16, 1, 1]
        z = centred / deviation  # [batches_n, 16, 8, 8]
        reshape_2_2 = norm1_gamma[:, None, None]  # [16, 1, 1]  from_sums.lee:69
        norm1_out = reshape_2_2 * z + norm1_beta[:, None, None]  # [batches_n, 16, 8, 8]
        max_pool_2 = max_pool(norm1_out, (2, 2), (2, 2), (1, 1), (0, 0))  # [batches_n, 16, 4, 4]  from_sums.lee:40
        h = torch.relu(max_pool_2)  # [batches_n, 16, 4, 4]
        # [batches_n, 32, 4, 4]  from_sums.lee:49
        conv2_out = torch.nn.functional.conv2d(h, conv2_kernel, conv2_bias, padding=1)
        max_pool_2_ = max_pool(conv2_out, (2, 2), (2, 2), (1, 1), (0, 0))  # [batches_n, 32, 2, 2]  from_sums.lee:40
        h_2 = torch.relu(max_pool_2_)  # [batches_n, 32, 2, 2]
        reshape_2 = h_2.reshape(batches_n, 128)  # [batches_n, 128]  from_sums.lee:82
        affine = torch.addmm(head_b, reshape_2, head_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine, label, reduction="none")  # [batches_n]  losses.lee:45
        iota = torch.arange(10, device=image.device)[None, :]  # int[1, 10]
        one_hot = (iota == label[:, None]).to(FLOAT)  # [batches_n, 10]
        d_add_3 = (torch.softmax(affine, dim=1) - one_hot) * scale_2  # [batches_n, 10]
        torch.sum(d_add_3, dim=0, out=d_head_b)  # [10]  nn.lee:21
        torch.mm(reshape_2.T, d_add_3, out=d_head_w)  # [128, 10]
        d_h_2 = (d_add_3 @ head_w.T).reshape(batches_n, 32, 2, 2)  # [batches_n, 32, 2, 2]  from_sums.lee:82
        relu_gradient = torch.ops.aten.threshold_backward(d_h_2, h_2, 0)  # [batches_n, 32, 2, 2]  prelude.lee:61
        # [batches_n, 32, 4, 4]
        d_conv2_out = max_pool_gradient(relu_gradient, conv2_out, max_pool_2_, (2, 2), (2, 2), (1, 1), (0, 0))
        torch.sum(d_conv2_out, dim=(0, 2, 3), out=d_conv2_bias)  # [32]  from_sums.lee:49
        # [batches_n, 16, 4, 4]  from_sums.lee:23
        d_h = torch.nn.functional.conv_transpose2d(d_conv2_out, conv2_kernel, padding=1)
        d_conv2_kernel.copy_(torch.nn.grad.conv2d_weight(h, (32, 16, 3, 3), d_conv2_out, padding=1))  # [32, 16, 3, 3]
        relu_gradient_2 = torch.ops.aten.threshold_backward(d_h, h, 0)  # [batches_n, 16, 4, 4]  prelude.lee:61
        # [batches_n, 16, 8, 8]
        d_norm1_out = max_pool_gradient(relu_gradient_2, norm1_out, max_pool_2, (2, 2), (2, 2), (1, 1), (0, 0))
        torch.sum(d_norm1_out, dim=(0, 2, 3), out=d_norm1_beta)  # [16]  from_sums.lee:69
        d_z = d_norm1_out * reshape_2_2  # [batches_n, 16, 8, 8]
        torch.sum(d_norm1_out * z, dim=(0, 2, 3), out=d_norm1_gamma)  # [16]
        mul_11 = z * (d_z * z).mean(dim=(0, 2, 3), keepdim=True)  # [batches_n, 16, 8, 8]  from_sums.lee:68
        d_conv1_out = (d_z - d_z.mean(dim=(0, 2, 3), keepdim=True) - mul_11) / deviation  # [batches_n, 16, 8, 8]
        torch.sum(d_conv1_out, dim=(0, 2, 3), out=d_conv1_bias)  # [16]  from_sums.lee:49
        # [16, 1, 3, 3]  from_sums.lee:23
        d_conv1_kernel.copy_(torch.nn.grad.conv2d_weight(image, (16, 1, 3, 3), d_conv1_out, padding=1))
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def example_digit(key):
    net = DigitNet(key=fold(key, SITES["net"]))  # from_sums.lee:97
    image = uniform(fold(key, SITES["image"]), (3, 1, 8, 8), FLOAT)  # [3, 1, 8, 8]  from_sums.lee:98
    label = randint(fold(key, SITES["label"]), (3,), 0, 10)  # int[3]  from_sums.lee:99
    add_3, saved_net = net.copy().forward_saved(image)  # from_sums.lee:100
    d_add_3 = cross_entropy_backward(add_3, label, torch.ones((), dtype=FLOAT))  # [3, 10]
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
