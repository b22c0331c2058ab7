"""Handwritten digits: a small convolutional network (lecture: CNN).

Two convolutions with pooling look at ever larger parts of the image, a linear layer decides.

Made from specs/digits.lee by leec 0.1.0. Change that file, not this one, and run: leec compile -O2 specs/digits.lee
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


def one_kernel(function):
    """A group of operations on arrays; on a GPU they are one kernel, which torch.compile makes at the first call."""
    made = []

    @functools.wraps(function)
    def call(*arrays):
        if not arrays[0].is_cuda:
            return function(*arrays)
        if not made:
            made.append(torch.compile(function))
        return made[0](*arrays)

    return call


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


class Digits(Model):
    """Digits(side, classes)"""

    members = ("conv1", "norm1", "conv2", "norm2", "head")

    def __init__(self, side=8, classes=10, *, key=(0, 0)):
        super().__init__()
        self.side, self.classes = side, classes
        self.conv1 = Conv(1, 16, padding=1, key=fold(key, SITES["conv1"]))  # digits.lee:14
        self.norm1 = BatchNorm(16)  # digits.lee:15
        self.conv2 = Conv(16, 32, padding=1, key=fold(key, SITES["conv2"]))  # digits.lee:16
        self.norm2 = BatchNorm(32)  # digits.lee:17
        self.head = Linear(32 * (side // 4) ** 2, classes, key=fold(key, SITES["head"]))  # digits.lee:18

    def forward(self, image):
        """image [n, 1, side, side] -> [n, classes]"""
        if not self.training:
            return self.forward_eval(image)
        n = image.shape[0]
        norm1_out = self.norm1(self.conv1(image).reshape(n, 16, self.side**2))  # [n, 16, side**2]  digits.lee:21
        h = max_pool_(relu(norm1_out.reshape(n, 16, self.side, self.side)))  # [n, 16, side // 2, side // 2]
        # [n, 32, (side // 2)**2]  digits.lee:22
        norm2_out = self.norm2(self.conv2(h).reshape(n, 32, (self.side // 2) ** 2))
        select_2 = relu(norm2_out.reshape(n, 32, self.side // 2, self.side // 2))  # [n, 32, side // 2, side // 2]
        h_2 = max_pool_(select_2)  # [n, 32, side // 4, side // 4]
        return self.head(h_2.reshape(n, 32 * (self.side // 4) ** 2))  # [n, classes]  digits.lee:23

    def forward_eval(self, image):
        """image [n, 1, side, side] -> [n, classes]"""
        n = image.shape[0]
        # [n, 16, side**2]  digits.lee:21
        norm1_out = self.norm1.forward_eval(self.conv1(image).reshape(n, 16, self.side**2))
        h = max_pool_(relu(norm1_out.reshape(n, 16, self.side, self.side)))  # [n, 16, side // 2, side // 2]
        # [n, 32, (side // 2)**2]  digits.lee:22
        norm2_out = self.norm2.forward_eval(self.conv2(h).reshape(n, 32, (self.side // 2) ** 2))
        select_2 = relu(norm2_out.reshape(n, 32, self.side // 2, self.side // 2))  # [n, 32, side // 2, side // 2]
        h_2 = max_pool_(select_2)  # [n, 32, side // 4, side // 4]
        return self.head(h_2.reshape(n, 32 * (self.side // 4) ** 2))  # [n, classes]  digits.lee:23


def example_small(key):
    """One gradient of the whole network, on noise."""
    net = Digits(key=fold(key, SITES["net"]))  # digits.lee:28
    image = normal(fold(key, SITES["image"]), (3, 1, 8, 8), FLOAT)  # [3, 1, 8, 8]  digits.lee:29
    label = randint(fold(key, SITES["label"]), (3,), 0, 10)  # int[3]  digits.lee:30
    conv1_out = torch.nn.functional.conv2d(image, net.conv1.kernel, padding=1)  # [3, 16, 8, 8]  nn.lee:83
    conv1_out_flat = conv1_out.reshape(3, 16, 64)  # [3, 16, 64]  digits.lee:21
    reshape_2_2 = net.norm1.gamma[:, None]  # [16, 1]  nn.lee:186
    centred = conv1_out_flat - conv1_out_flat.mean(dim=(0, 2), keepdim=True)  # [3, 16, 64]
    deviation = sqrt((centred**2).mean(dim=(0, 2), keepdim=True) + net.norm1.eps)  # [1, 16, 1]
    div = centred / deviation  # [3, 16, 64]
    norm1_out = div * reshape_2_2 + net.norm1.beta[:, None]  # [3, 16, 64]
    select = torch.relu(norm1_out.reshape(3, 16, 8, 8))  # [3, 16, 8, 8]  prelude.lee:61
    h = torch.nn.functional.max_pool2d(select, 2)  # [3, 16, 4, 4]  nn.lee:130
    conv2_out = torch.nn.functional.conv2d(h, net.conv2.kernel, padding=1)  # [3, 32, 4, 4]  nn.lee:83
    conv2_out_flat = conv2_out.reshape(3, 32, 16)  # [3, 32, 16]  digits.lee:22
    reshape_2_3 = net.norm2.gamma[:, None]  # [32, 1]  nn.lee:186
    centred_2 = conv2_out_flat - conv2_out_flat.mean(dim=(0, 2), keepdim=True)  # [3, 32, 16]
    variance_2 = (centred_2**2).mean(dim=(0, 2), keepdim=True)  # [1, 32, 1]
    deviation_2 = sqrt(variance_2 + net.norm2.eps)  # [1, 32, 1]
    div_2 = centred_2 / deviation_2  # [3, 32, 16]
    norm2_out = div_2 * reshape_2_3 + net.norm2.beta[:, None]  # [3, 32, 16]
    select_2 = torch.relu(norm2_out.reshape(3, 32, 4, 4))  # [3, 32, 4, 4]  prelude.lee:61
    h_2 = torch.nn.functional.max_pool2d(select_2, 2)  # [3, 32, 2, 2]  nn.lee:130
    reshape_3 = h_2.reshape(3, 128)  # [3, 128]  digits.lee:23
    affine = torch.addmm(net.head.b, reshape_3, net.head.w)  # [3, 10]  nn.lee:21
    cross_entropy = torch.nn.functional.cross_entropy(affine, label, reduction="none")  # [3]  losses.lee:45
    one_hot = (torch.arange(10)[None, :] == label[:, None]).to(FLOAT)  # [3, 10]
    d_add = (torch.softmax(affine, dim=1) - one_hot) * (1.0 / 3)  # [3, 10]
    d_h_2 = (d_add @ net.head.w.T).reshape(3, 32, 2, 2)  # [3, 32, 2, 2]  digits.lee:23
    d_select_2 = max_pool_gradient(d_h_2, select_2, h_2, (2, 2), (2, 2), (1, 1), (0, 0))  # [3, 32, 4, 4]  nn.lee:130
    d_norm2_out = torch.where(select_2 > 0, d_select_2, 0).reshape(3, 32, 16)  # [3, 32, 16]  digits.lee:22
    d_normalise = d_norm2_out * reshape_2_3  # [3, 32, 16]  nn.lee:186
    mul_6 = div_2 * (d_normalise * div_2).mean(dim=(0, 2), keepdim=True)  # [3, 32, 16]
    sub_2 = d_normalise - d_normalise.mean(dim=(0, 2), keepdim=True)  # [3, 32, 16]
    d_conv2_out = ((sub_2 - mul_6) / deviation_2).reshape(3, 32, 4, 4)  # [3, 32, 4, 4]  digits.lee:22
    d_h = torch.nn.functional.conv_transpose2d(d_conv2_out, net.conv2.kernel, padding=1)  # [3, 16, 4, 4]  nn.lee:83
    kernel_2 = torch.nn.grad.conv2d_weight(h, (32, 16, 3, 3), d_conv2_out, padding=1)  # [32, 16, 3, 3]
    d_select = max_pool_gradient(d_h, select, h, (2, 2), (2, 2), (1, 1), (0, 0))  # [3, 16, 8, 8]  nn.lee:130
    d_norm1_out = torch.where(select > 0, d_select, 0).reshape(3, 16, 64)  # [3, 16, 64]  digits.lee:21
    d_normalise_2 = d_norm1_out * reshape_2_2  # [3, 16, 64]  nn.lee:186
    sub_4 = d_normalise_2 - d_normalise_2.mean(dim=(0, 2), keepdim=True)  # [3, 16, 64]
    mul_8 = div * (d_normalise_2 * div).mean(dim=(0, 2), keepdim=True)  # [3, 16, 64]
    d_conv1_out = ((sub_4 - mul_8) / deviation).reshape(3, 16, 8, 8)  # [3, 16, 8, 8]  digits.lee:21
    d_image = torch.nn.functional.conv_transpose2d(d_conv1_out, net.conv1.kernel, padding=1)  # [3, 1, 8, 8]  nn.lee:83
    kernel = torch.nn.grad.conv2d_weight(image, (16, 1, 3, 3), d_conv1_out, padding=1)  # [16, 1, 3, 3]
    return (
        cross_entropy.mean(),
        net.at(
            {
                "conv1": {"kernel": kernel},
                "norm1": {
                    "gamma": (d_norm1_out * div).sum(dim=0).sum(dim=1),
                    "beta": d_norm1_out.sum(dim=0).sum(dim=1),
                },
                "conv2": {"kernel": kernel_2},
                "norm2": {
                    "gamma": (d_norm2_out * div_2).sum(dim=0).sum(dim=1),
                    "beta": d_norm2_out.sum(dim=0).sum(dim=1),
                },
                "head": {"w": reshape_3.T @ d_add, "b": d_add.sum(dim=0)},
            }
        ),
        d_image,
    )


@torch.no_grad()
def fit(epochs=12, batch=64, rate=2e-3, *, run=None):
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
    net = Digits(key=run.key("net")).to(run.session.place.device)  # digits.lee:36
    opt = Adam(lr=rate)  # digits.lee:37
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for image, label in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(image, label))  # digits.lee:40
        run.report(accuracy=fit_accuracy(net, data.test.x, data.test.y))  # digits.lee:41
    return net


@one_kernel
def fit_step_var(conv1_out_flat, mu):
    """var [16]: var = mean((x - mu[:, None]) ** 2, axis = (0, 2))   nn.lee:179"""
    sub = conv1_out_flat - mu[:, None]
    return (sub * sub).mean(dim=(0, 2))


@one_kernel
def fit_step_mean__2(norm1_mean_, mu, sub_2, momentum):
    """mean__2 [16]: mean_ <- (1 - momentum) * mean_ + momentum * mu   nn.lee:181"""
    return sub_2 * norm1_mean_ + momentum * mu


@one_kernel
def fit_step_var__2(var, norm1_var_, momentum_, scale, scale_, sub_2):
    """var__2 [16]: var_ <- (1 - momentum) * var_ + momentum * var * m / (m - 1)   nn.lee:182"""
    div = momentum_ * var * scale / scale_
    return sub_2 * norm1_var_ + div


@one_kernel
def fit_step_deviation(centred, eps):
    """deviation [1, 16, 1]: return gamma[:, None] * (x - mu[:, None]) / sqrt(var[:, None] + eps) + beta[:..   nn.lee:186"""
    variance = (centred * centred).mean(dim=(0, 2), keepdim=True)
    return (variance + eps).sqrt_()


@one_kernel
def fit_step_var_2(conv2_out_flat, mu_2):
    """var_2 [32]: var = mean((x - mu[:, None]) ** 2, axis = (0, 2))   nn.lee:179"""
    sub_3 = conv2_out_flat - mu_2[:, None]
    return (sub_3 * sub_3).mean(dim=(0, 2))


@one_kernel
def fit_step_mean__2_2(norm2_mean_, mu_2, sub_2_2, momentum_2):
    """mean__2_2 [32]: mean_ <- (1 - momentum) * mean_ + momentum * mu   nn.lee:181"""
    return sub_2_2 * norm2_mean_ + momentum_2 * mu_2


@one_kernel
def fit_step_var__2_2(var_2, norm2_var_, momentum_3, scale_2, scale_3, sub_2_2):
    """var__2_2 [32]: var_ <- (1 - momentum) * var_ + momentum * var * m / (m - 1)   nn.lee:182"""
    div_3 = momentum_3 * var_2 * scale_2 / scale_3
    return sub_2_2 * norm2_var_ + div_3


@one_kernel
def fit_step_deviation_2(centred_2, eps_):
    """deviation_2 [1, 32, 1]: return gamma[:, None] * (x - mu[:, None]) / sqrt(var[:, None] + eps) + beta[:..   nn.lee:186"""
    variance_2 = (centred_2 * centred_2).mean(dim=(0, 2), keepdim=True)
    return (variance_2 + eps_).sqrt_()


@one_kernel
def fit_step_d_add(softmax_, iota, label, scale_4):
    """d_add [batches_n, 10]: surprise[i] = -share[i, y[i]]   losses.lee:45"""
    sub_4 = softmax_ - (iota == label[:, None]).to(FLOAT)
    return sub_4 * scale_4


@one_kernel
def fit_step_d_conv2_out_flat(d_norm2_out, reshape_2_3, div_4, deviation_2):
    """d_conv2_out_flat [batches_n, 32, 16]: return gamma[:, None] * (x - mu[:, None]) / sqrt(var[:, None] + eps) + beta[:..   nn.lee:186"""
    d_normalise = d_norm2_out * reshape_2_3
    mul_10 = div_4 * (d_normalise * div_4).mean(dim=(0, 2), keepdim=True)
    sub_5 = d_normalise - d_normalise.mean(dim=(0, 2), keepdim=True)
    return (sub_5 - mul_10).div_(deviation_2)


@one_kernel
def fit_step_d_conv1_out_flat(d_norm1_out, reshape_2_2, div_2, deviation):
    """d_conv1_out_flat [batches_n, 16, 64]: return gamma[:, None] * (x - mu[:, None]) / sqrt(var[:, None] + eps) + beta[:..   nn.lee:186"""
    d_normalise_2 = d_norm1_out * reshape_2_2
    mean_6 = (d_normalise_2 * div_2).mean(dim=(0, 2), keepdim=True)
    sub_7 = d_normalise_2 - d_normalise_2.mean(dim=(0, 2), keepdim=True)
    return (sub_7 - div_2 * mean_6).div_(deviation)


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.conv1.kernel",
        "net.norm1.gamma",
        "net.norm1.beta",
        "net.norm1.mean_",
        "net.norm1.var_",
        "net.conv2.kernel",
        "net.norm2.gamma",
        "net.norm2.beta",
        "net.norm2.mean_",
        "net.norm2.var_",
        "net.head.w",
        "net.head.b",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (64 * batches_n, 64 * batches_n - 1, 16 * batches_n, 16 * batches_n - 1, batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, image, label, t):
        conv1_kernel, norm1_gamma, norm1_beta, norm1_mean_, norm1_var_, conv2_kernel = self.tensors[:6]
        norm2_gamma, norm2_beta, norm2_mean_, norm2_var_, head_w, head_b = self.tensors[6:]
        d_conv1_kernel, d_norm1_gamma, d_norm1_beta, d_conv2_kernel, d_norm2_gamma = self.gradients[:5]
        d_norm2_beta, d_head_w, d_head_b = self.gradients[5:]
        batches_n = image.shape[0]
        scale, scale_, scale_2, scale_3, count, scale_4 = self.held(batches_n)
        conv1_out = torch.nn.functional.conv2d(image, conv1_kernel, padding=1)  # [batches_n, 16, 8, 8]  nn.lee:83
        conv1_out_flat = conv1_out.reshape(batches_n, 16, 64)  # [batches_n, 16, 64]  digits.lee:21
        mu = conv1_out_flat.mean(dim=(0, 2))  # [16]  nn.lee:178
        sub_2 = 1 - self.net.norm1.momentum  # nn.lee:181
        norm1_mean_.copy_(fit_step_mean__2(norm1_mean_, mu, sub_2, self.net.norm1.momentum))  # [16]
        # [16]  nn.lee:182
        norm1_var_.copy_(
            fit_step_var__2(fit_step_var(conv1_out_flat, mu), norm1_var_, self.net.norm1.momentum, scale, scale_, sub_2)
        )
        reshape_2_2 = norm1_gamma[:, None]  # [16, 1]  nn.lee:186
        centred = conv1_out_flat - conv1_out_flat.mean(dim=(0, 2), keepdim=True)  # [batches_n, 16, 64]
        deviation = fit_step_deviation(centred, self.net.norm1.eps)  # [1, 16, 1]
        div_2 = centred / deviation  # [batches_n, 16, 64]
        # [batches_n, 16, 8, 8]  digits.lee:21
        reshape_2 = (div_2 * reshape_2_2).add_(norm1_beta[:, None]).reshape(batches_n, 16, 8, 8)
        max_pool_2 = max_pool(reshape_2, (2, 2), (2, 2), (1, 1), (0, 0))  # [batches_n, 16, 4, 4]  nn.lee:130
        h = torch.relu(max_pool_2)  # [batches_n, 16, 4, 4]
        conv2_out = torch.nn.functional.conv2d(h, conv2_kernel, padding=1)  # [batches_n, 32, 4, 4]  nn.lee:83
        conv2_out_flat = conv2_out.reshape(batches_n, 32, 16)  # [batches_n, 32, 16]  digits.lee:22
        mu_2 = conv2_out_flat.mean(dim=(0, 2))  # [32]  nn.lee:178
        sub_2_2 = 1 - self.net.norm2.momentum  # nn.lee:181
        norm2_mean_.copy_(fit_step_mean__2_2(norm2_mean_, mu_2, sub_2_2, self.net.norm2.momentum))  # [32]
        # [32]  nn.lee:182
        norm2_var_.copy_(
            fit_step_var__2_2(
                fit_step_var_2(conv2_out_flat, mu_2), norm2_var_, self.net.norm2.momentum, scale_2, scale_3, sub_2_2
            )
        )
        reshape_2_3 = norm2_gamma[:, None]  # [32, 1]  nn.lee:186
        centred_2 = conv2_out_flat - conv2_out_flat.mean(dim=(0, 2), keepdim=True)  # [batches_n, 32, 16]
        deviation_2 = fit_step_deviation_2(centred_2, self.net.norm2.eps)  # [1, 32, 1]
        div_4 = centred_2 / deviation_2  # [batches_n, 32, 16]
        # [batches_n, 32, 4, 4]  digits.lee:22
        reshape_4 = (div_4 * reshape_2_3).add_(norm2_beta[:, None]).reshape(batches_n, 32, 4, 4)
        max_pool_2_ = max_pool(reshape_4, (2, 2), (2, 2), (1, 1), (0, 0))  # [batches_n, 32, 2, 2]  nn.lee:130
        h_2 = torch.relu(max_pool_2_)  # [batches_n, 32, 2, 2]
        reshape_5 = h_2.reshape(batches_n, 128)  # [batches_n, 128]  digits.lee:23
        affine = torch.addmm(head_b, reshape_5, head_w)  # [batches_n, 10]  nn.lee:21
        cross_entropy = torch.nn.functional.cross_entropy(affine, label, reduction="none")  # [batches_n]  losses.lee:45
        # [batches_n, 10]
        d_add = fit_step_d_add(
            torch.softmax(affine, dim=1), torch.arange(10, device=image.device)[None, :], label, scale_4
        )
        torch.sum(d_add, dim=0, out=d_head_b)  # [10]  nn.lee:21
        torch.mm(reshape_5.T, d_add, out=d_head_w)  # [128, 10]
        d_h_2 = (d_add @ head_w.T).reshape(batches_n, 32, 2, 2)  # [batches_n, 32, 2, 2]  digits.lee:23
        relu_gradient = torch.ops.aten.threshold_backward(d_h_2, h_2, 0)  # [batches_n, 32, 2, 2]  prelude.lee:61
        # [batches_n, 32, 4, 4]
        d_reshape_4 = max_pool_gradient(relu_gradient, reshape_4, max_pool_2_, (2, 2), (2, 2), (1, 1), (0, 0))
        d_norm2_out = d_reshape_4.reshape(batches_n, 32, 16)  # [batches_n, 32, 16]  digits.lee:22
        torch.sum(d_norm2_out, dim=(0, 2), out=d_norm2_beta)  # [32]  nn.lee:186
        # [batches_n, 32, 16]
        d_conv2_out_flat = fit_step_d_conv2_out_flat(d_norm2_out, reshape_2_3, div_4, deviation_2)
        torch.sum((d_norm2_out * div_4).sum(dim=0), dim=1, out=d_norm2_gamma)  # [32]
        d_conv2_out = d_conv2_out_flat.reshape(batches_n, 32, 4, 4)  # [batches_n, 32, 4, 4]  digits.lee:22
        # [batches_n, 16, 4, 4]  nn.lee:83
        d_h = torch.nn.functional.conv_transpose2d(d_conv2_out, conv2_kernel, padding=1)
        d_conv2_kernel.copy_(torch.nn.grad.conv2d_weight(h, (32, 16, 3, 3), d_conv2_out, padding=1))  # [32, 16, 3, 3]
        relu_gradient_2 = torch.ops.aten.threshold_backward(d_h, h, 0)  # [batches_n, 16, 4, 4]  prelude.lee:61
        # [batches_n, 16, 8, 8]
        d_reshape_2 = max_pool_gradient(relu_gradient_2, reshape_2, max_pool_2, (2, 2), (2, 2), (1, 1), (0, 0))
        d_norm1_out = d_reshape_2.reshape(batches_n, 16, 64)  # [batches_n, 16, 64]  digits.lee:21
        torch.sum(d_norm1_out, dim=(0, 2), out=d_norm1_beta)  # [16]  nn.lee:186
        d_conv1_out_flat = fit_step_d_conv1_out_flat(d_norm1_out, reshape_2_2, div_2, deviation)  # [batches_n, 16, 64]
        torch.sum((d_norm1_out * div_2).sum(dim=0), dim=1, out=d_norm1_gamma)  # [16]
        d_conv1_out = d_conv1_out_flat.reshape(batches_n, 16, 8, 8)  # [batches_n, 16, 8, 8]  digits.lee:21
        # [16, 1, 3, 3]  nn.lee:83
        d_conv1_kernel.copy_(torch.nn.grad.conv2d_weight(image, (16, 1, 3, 3), d_conv1_out, padding=1))
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps_2 = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps_2, weight_decay, t)
        return cross_entropy.sum() / count  # losses.lee:148


def fit_accuracy(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 1, 8, 8], data_test_y int[data_test_n] -> []"""
    data_test_n = data_test_x.shape[0]
    # [data_test_n, 16, 8, 8]  nn.lee:83
    conv1_out = torch.nn.functional.conv2d(data_test_x, net.conv1.kernel, padding=1)
    conv1_out_flat = conv1_out.reshape(data_test_n, 16, 64)  # [data_test_n, 16, 64]  digits.lee:21
    sub = conv1_out_flat - net.norm1.mean_[:, None]  # [data_test_n, 16, 64]  nn.lee:186
    sqrt_ = sqrt(net.norm1.var_[:, None] + net.norm1.eps)  # [16, 1]
    div = net.norm1.gamma[:, None] * sub / sqrt_  # [data_test_n, 16, 64]
    norm1_out = div + net.norm1.beta[:, None]  # [data_test_n, 16, 64]
    select = torch.relu(norm1_out.reshape(data_test_n, 16, 8, 8))  # [data_test_n, 16, 8, 8]  prelude.lee:61
    h = torch.nn.functional.max_pool2d(select, 2)  # [data_test_n, 16, 4, 4]  nn.lee:130
    conv2_out = torch.nn.functional.conv2d(h, net.conv2.kernel, padding=1)  # [data_test_n, 32, 4, 4]  nn.lee:83
    conv2_out_flat = conv2_out.reshape(data_test_n, 32, 16)  # [data_test_n, 32, 16]  digits.lee:22
    sub_2 = conv2_out_flat - net.norm2.mean_[:, None]  # [data_test_n, 32, 16]  nn.lee:186
    sqrt_2 = sqrt(net.norm2.var_[:, None] + net.norm2.eps)  # [32, 1]
    div_2 = net.norm2.gamma[:, None] * sub_2 / sqrt_2  # [data_test_n, 32, 16]
    norm2_out = div_2 + net.norm2.beta[:, None]  # [data_test_n, 32, 16]
    select_2 = torch.relu(norm2_out.reshape(data_test_n, 32, 4, 4))  # [data_test_n, 32, 4, 4]  prelude.lee:61
    h_2 = torch.nn.functional.max_pool2d(select_2, 2)  # [data_test_n, 32, 2, 2]  nn.lee:130
    reshape_5 = h_2.reshape(data_test_n, 128)  # [data_test_n, 128]  digits.lee:23
    argmax = torch.addmm(net.head.b, reshape_5, net.head.w).argmax(dim=1)  # int[data_test_n]  metrics.lee:9
    return (argmax == data_test_y).to(FLOAT).mean()


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


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


def conv2d(x, kernel, stride=1, padding=0, dilation=1):
    """yₙₒᵢⱼ = Σ xₙ,c,sᵢ₊ᵤ,sⱼ₊ᵥ Kₒcᵤᵥ

    x [n, c, h, w], kernel [o, c, kh, kw] -> [n, o, out_h, out_w]
    """
    # [n, o, out_h, out_w]  nn.lee:83
    y = torch.nn.functional.conv2d(x, kernel, stride=stride, padding=padding, dilation=dilation)
    return y  # [n, o, out_h, out_w]


class Conv(Model):
    """Convolution of images with k × k windows; before a normalisation it needs no bias."""

    members = ("kernel",)

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, dilation=1, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs, self.k = inputs, outputs, k
        self.stride, self.padding, self.dilation = stride, padding, dilation
        div, div_2 = fan_in_uniform(inputs * k**2)  # nn.lee:105
        key_2 = fold(key, SITES["kernel"])
        uniform_ = uniform(key_2, (outputs, inputs, k, k), FLOAT)  # [outputs, inputs, k, k]
        self.kernel = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [outputs, inputs, k, k]

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, out_h, out_w]"""
        # [n, outputs, out_h, out_w]  nn.lee:110
        y_2 = conv2d(x, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)
        return y_2  # [n, outputs, out_h, out_w]


def max_pool_(x, size=2):
    """The largest entry of each size × size square.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = torch.nn.functional.max_pool2d(x, size)  # [n, c, h // size, w // size]  nn.lee:130
    return y  # [n, c, h // size, w // size]


class BatchNorm(Model):
    """(x - μ) / √(σ² + ε) · γ + β, over the batch and all positions (Ioffe & Szegedy 2015).

    Running averages serve when not training; the one of σ² takes the unbiased estimate.
    """

    members = ("gamma", "beta", "mean_", "var_")

    def __init__(self, channels, momentum=0.1, eps=1e-5):
        super().__init__()
        self.channels, self.momentum, self.eps = channels, momentum, eps
        self.gamma = torch.nn.Parameter(torch.ones(channels, dtype=FLOAT))  # [channels]  nn.lee:171
        self.beta = torch.nn.Parameter(torch.zeros(channels, dtype=FLOAT))  # [channels]  nn.lee:172
        self.register_buffer("mean_", torch.zeros(channels, dtype=FLOAT))  # [channels]
        self.register_buffer("var_", torch.ones(channels, dtype=FLOAT))  # [channels]  nn.lee:171

    @packed(2, x=(2, 3))
    def forward(self, x):
        """x [n, channels, ..] -> [n, channels, ..]"""
        if not self.training:
            return self.forward_eval(x)
        n, _, rows = x.shape
        mu = x.mean(dim=(0, 2))  # [channels]  nn.lee:178
        sub = x - mu[:, None]  # [n, channels, rows]  nn.lee:179
        var = (sub**2).mean(dim=(0, 2))  # [channels]
        div = self.momentum * var * (n * rows) / (n * rows - 1)  # [channels]  nn.lee:182
        centred = x - x.mean(dim=(0, 2), keepdim=True)  # [n, channels, rows]  nn.lee:186
        deviation = sqrt((centred**2).mean(dim=(0, 2), keepdim=True) + self.eps)  # [1, channels, 1]
        mul_8 = centred / deviation * self.gamma[:, None]  # [n, channels, rows]
        with torch.no_grad():
            self.mean_.copy_((1 - self.momentum) * self.mean_ + self.momentum * mu)  # [channels]  nn.lee:181
            self.var_.copy_((1 - self.momentum) * self.var_ + div)  # [channels]  nn.lee:182
        return mul_8 + self.beta[:, None]  # [n, channels, rows]  nn.lee:186

    def forward_eval(self, x):
        """x [n, channels, rows] -> [n, channels, rows]"""
        mul = self.gamma[:, None] * (x - self.mean_[:, None])  # [n, channels, rows]  nn.lee:186
        div = mul / sqrt(self.var_[:, None] + self.eps)  # [n, channels, rows]
        return div + self.beta[:, None]  # [n, channels, rows]


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
