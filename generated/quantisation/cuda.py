"""Weights that take fewer bits (inventory O6 to O8): on a grid, from a small table of means, or by their sign alone.

Made from specs/compression/quantisation.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/compression/quantisation.lee
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


@packed(0, w=(0, 1))
def on_grid(w, bits_):
    """The nearest of 2^bits - 1 multiples of one step, 0 in the middle; gradients pass as if nothing were rounded.

    w [..] -> [..]
    """
    levels = math.pow(2, bits_ - 1) - 1  # quantisation.lee:15
    step = largest(torch.abs(w), (0,), False) / levels  # quantisation.lee:16
    return straight_through(step * torch.round(w / step), w)  # [rows]  quantisation.lee:17


def on_grid_backward(d_y):
    """From d_y to the gradient by w."""
    # gradient of return straight_through(step * round(w / step), w)   quantisation.lee:17
    d_w = straight_through_backward(d_y)  # [rows]
    return d_w  # [rows]


class Rounded(Model):
    """Two layers whose weights are on a grid wherever they are used; what is learned has all its digits."""

    members = ("up", "down")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden, self.classes = d, hidden, classes
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # quantisation.lee:22
        self.down = Linear(hidden, classes, key=fold(key, SITES["down"]))  # quantisation.lee:23

    def forward(self, x, bits_):
        """x [n, d] -> [n, classes]"""
        graft_ = on_grid(self.up.w.reshape(self.d * self.hidden), bits_)  # [d * hidden]  quantisation.lee:26
        reshape_2 = graft_.reshape(self.d, self.hidden)  # [d, hidden]
        h = relu(torch.addmm(self.up.b, x, reshape_2))  # [n, hidden]
        # [classes * hidden]  quantisation.lee:27
        graft_2 = on_grid(self.down.w.reshape(self.classes * self.hidden), bits_)
        reshape_4 = graft_2.reshape(self.hidden, self.classes)  # [hidden, classes]
        return torch.addmm(self.down.b, h, reshape_4)  # [n, classes]

    def forward_saved(self, x, bits_):
        """As forward, and what its gradient needs."""
        graft_ = on_grid(self.up.w.reshape(self.d * self.hidden), bits_)  # [d * hidden]  quantisation.lee:26
        reshape_2 = graft_.reshape(self.d, self.hidden)  # [d, hidden]
        h = relu(torch.addmm(self.up.b, x, reshape_2))  # [n, hidden]
        # [classes * hidden]  quantisation.lee:27
        graft_2 = on_grid(self.down.w.reshape(self.classes * self.hidden), bits_)
        reshape_4 = graft_2.reshape(self.hidden, self.classes)  # [hidden, classes]
        return torch.addmm(self.down.b, h, reshape_4), (reshape_2, h, reshape_4)

    @staticmethod
    def forward_backward(x, saved, bits_, d_y):
        """From d_y to the gradients by the parameters and x."""
        reshape_2, h, reshape_4 = saved
        d = x.shape[1]
        hidden, classes = reshape_4.shape
        # gradient of return h @ on_grid(down.w, bits) + down.b   quantisation.lee:27
        d_down_b = d_y.sum(dim=0)  # [classes]
        d_h = d_y @ reshape_4.T  # [n, hidden]
        d_reshape_3 = on_grid_backward((h.T @ d_y).reshape(classes * hidden))  # [classes * hidden]
        d_down_w = d_reshape_3.reshape(hidden, classes)  # [hidden, classes]
        # gradient of h = relu(x @ on_grid(up.w, bits) + up.b)   quantisation.lee:26
        d_add = relu_backward(h, d_h)  # [n, hidden]
        d_up_b = d_add.sum(dim=0)  # [hidden]
        d_x = d_add @ reshape_2.T  # [n, d]
        d_up_w = on_grid_backward((x.T @ d_add).reshape(d * hidden)).reshape(d, hidden)  # [d, hidden]
        return {"up": {"w": d_up_w, "b": d_up_b}, "down": {"w": d_down_w, "b": d_down_b}}, d_x


@torch.no_grad()
def few_bits(epochs=8, more=4, batch=32, rate=3e-3, bits_=2, ample=16, *, run=None):
    """Rounded after training, and then trained to be rounded."""
    from leec.runtime.run import Run

    run = run or Run("few_bits", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Rounded(d=64, hidden=64, classes=10, key=run.key("net")).to(run.session.place.device)  # quantisation.lee:33
    opt = Adam(lr=rate)  # quantisation.lee:34
    step = FewBitsStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y, ample))  # quantisation.lee:37
    x, y = few_bits_x_y(data.test.x, data.test.y)  # quantisation.lee:38
    reported_whole, reported_rounded = few_bits_whole_rounded(net, x, y, ample, bits_)  # quantisation.lee:39
    run.report(whole=reported_whole, rounded=reported_rounded)  # quantisation.lee:39
    own = Adam(lr=rate)  # quantisation.lee:40
    step_ = FewBitsStep2(net, own)
    for epoch in run.loop("epoch_2", 1, more, net=net, own=own):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(step_(x, y, bits_))  # quantisation.lee:43
    run.report(tuned=accuracy(net(data.test.x, bits_), data.test.y))  # quantisation.lee:44
    return net


class FewBitsStep(TrainStep):
    """One step of few_bits for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.up.w", "net.up.b", "net.down.w", "net.down.b")
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

    def step(self, x, y, ample, t):
        up_w, up_b, down_w, down_b = self.tensors
        d_up_w, d_up_b, d_down_w, d_down_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        reshape = up_w.reshape(4096)  # [4096]  quantisation.lee:26
        levels = math.pow(2, ample - 1) - 1  # quantisation.lee:15
        step = torch.abs(reshape).amax() / levels  # quantisation.lee:16
        reshape_2 = (step * torch.round(reshape / step)).reshape(64, 64)  # [64, 64]  quantisation.lee:26
        h = torch.relu(torch.addmm(up_b, x, reshape_2))  # [batches_n, 64]  prelude.lee:61
        reshape_3 = down_w.reshape(640)  # [640]  quantisation.lee:27
        step_2 = torch.abs(reshape_3).amax() / levels  # quantisation.lee:16
        reshape_4 = (step_2 * torch.round(reshape_3 / step_2)).reshape(64, 10)  # [64, 10]  quantisation.lee:27
        affine_2 = torch.addmm(down_b, h, reshape_4)  # [batches_n, 10]
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_down_b)  # [10]  quantisation.lee:27
        torch.mm(h.T, d_add_2, out=d_down_w)  # [64, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ reshape_4.T, h, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_up_b)  # [64]  quantisation.lee:26
        torch.mm(x.T, d_add, out=d_up_w)  # [64, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def few_bits_x_y(data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n]"""
    return data_test_x, data_test_y


def few_bits_whole_rounded(net, x, y, ample, bits_):
    """x [data_test_n, 64], y int[data_test_n] -> [], []"""
    return accuracy(net(x, ample), y), accuracy(net(x, bits_), y)  # quantisation.lee:39


class FewBitsStep2(TrainStep):
    """One step of few_bits for net, own: call it with a batch."""

    moved = (("own", ("net",)),)
    counted = ("own",)
    read = ("net.up.w", "net.up.b", "net.down.w", "net.down.b")
    spare = (None,)

    def __init__(self, net, own):
        self.net, self.own = net, own
        self.bind()

    def numbers(self, batches_2_n):
        return (batches_2_n, 1.0 / batches_2_n)

    def constants(self):
        return (self.own.lr, self.own.beta1, self.own.beta2, self.own.eps, self.own.weight_decay)

    def scalars(self):
        return (self.own.t,)

    def step(self, x, y, bits_, t):
        up_w, up_b, down_w, down_b = self.tensors
        d_up_w, d_up_b, d_down_w, d_down_b = self.gradients
        batches_2_n = x.shape[0]
        count, scale = self.held(batches_2_n)  # batches_2_n, 1.0 / batches_2_n
        reshape = up_w.reshape(4096)  # [4096]  quantisation.lee:26
        levels = math.pow(2, bits_ - 1) - 1  # quantisation.lee:15
        step = torch.abs(reshape).amax() / levels  # quantisation.lee:16
        reshape_2 = (step * torch.round(reshape / step)).reshape(64, 64)  # [64, 64]  quantisation.lee:26
        h = torch.relu(torch.addmm(up_b, x, reshape_2))  # [batches_2_n, 64]  prelude.lee:61
        reshape_3 = down_w.reshape(640)  # [640]  quantisation.lee:27
        step_2 = torch.abs(reshape_3).amax() / levels  # quantisation.lee:16
        reshape_4 = (step_2 * torch.round(reshape_3 / step_2)).reshape(64, 10)  # [64, 10]  quantisation.lee:27
        affine_2 = torch.addmm(down_b, h, reshape_4)  # [batches_2_n, 10]
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_2_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_2_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_2_n, 10]
        torch.sum(d_add_2, dim=0, out=d_down_b)  # [10]  quantisation.lee:27
        torch.mm(h.T, d_add_2, out=d_down_w)  # [64, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ reshape_4.T, h, 0)  # [batches_2_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_up_b)  # [64]  quantisation.lee:26
        torch.mm(x.T, d_add, out=d_up_w)  # [64, 64]
        lr = self.own.lr
        beta1 = self.own.beta1
        beta2 = self.own.beta2
        eps = self.own.eps
        weight_decay = self.own.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def nearest(w, table):
    """Which entry of the table is closest to each number.

    w [n], table [k] -> int[n]
    """
    sub = w[:, None] - table  # [n, k]  quantisation.lee:53
    away = sub**2  # [n, k]
    return away.argmin(dim=1)  # int[n]  quantisation.lee:54


def clustered(w, k, rounds=30):
    """k-means: a table that begins evenly between the extremes and becomes the means, and the entry for each number.

    w [n] -> [k], int[n]
    """
    w_min = smallest(w, (0,), False)  # quantisation.lee:59
    cast = torch.arange(k, device=w.device).to(FLOAT)  # [k]
    table = w_min + (largest(w, (0,), False) - w_min) * cast / (k - 1)  # [k]
    # quantisation.lee:60
    for round_ in range(rounds):
        table = clustered_step(table, w)
    return table, nearest(w, table)  # quantisation.lee:65


def clustered_saved(w, k, rounds=30):
    """As clustered, and what its gradient needs."""
    w_min = smallest(w, (0,), False)  # quantisation.lee:59
    cast = torch.arange(k, device=w.device).to(FLOAT)  # [k]
    table = w_min + (largest(w, (0,), False) - w_min) * cast / (k - 1)  # [k]
    saved_clustered_step = [None] * rounds  # quantisation.lee:60
    for round_ in range(rounds):
        table, saved_clustered_step[round_] = clustered_step_saved(table, w)
    return table, nearest(w, table), (cast, saved_clustered_step)  # quantisation.lee:65


def clustered_backward(w, saved, rounds, d_table_4):
    """From d_table_4 to the gradient by w."""
    cast, saved_clustered_step = saved
    n = w.shape[0]
    k = cast.shape[0]
    # gradient of for round in rounds:   quantisation.lee:60
    d_w_rows = [None] * rounds
    for round_ in reversed(range(rounds)):
        d_table_4, d_w_rows[round_] = clustered_step_backward(saved_clustered_step[round_], d_table_4)
    d_w_rows = torch.stack(d_w_rows, 0) if d_w_rows else torch.zeros((rounds, n), dtype=FLOAT, device=w.device)
    # gradient of table[c in k] = min(w) + (max(w) - min(w)) * c / (k - 1)   quantisation.lee:59
    d_sub = (d_table_4 / (k - 1) * cast).sum()
    iota = torch.arange(n, device=w.device)  # int[n]
    eq_2 = iota == w.argmin(dim=0)  # bool[n]
    d_w_3 = torch.where(iota == w.argmax(dim=0), d_sub, 0)  # [n]
    d_w = d_w_rows.sum(dim=0) + d_w_3 + torch.where(eq_2, d_table_4.sum() - d_sub, 0)  # [n]
    return d_w  # [n]


def clustered_step(table, w):
    """table [k], w [n] -> [k]"""
    k = table.shape[0]
    index = nearest(w, table)  # int[n]  quantisation.lee:61
    eq = index == torch.arange(k, device=table.device)[:, None]  # bool[k, n]  quantisation.lee:62
    size_2 = eq.to(FLOAT).sum(dim=1)  # [k]
    total = torch.where(eq, w, 0).sum(dim=1)  # [k]  quantisation.lee:63
    gt = size_2 > 0  # bool[k]  quantisation.lee:64
    maximum = torch.where(gt, size_2, size_2.detach()).clamp(min=1)  # [k]
    table_3 = torch.where(gt, torch.where(gt, total, total.detach()) / maximum, table)  # [k]
    return table_3  # [k]


def clustered_step_saved(table, w):
    """As clustered_step, and what its gradient needs."""
    k = table.shape[0]
    index = nearest(w, table)  # int[n]  quantisation.lee:61
    eq = index == torch.arange(k, device=table.device)[:, None]  # bool[k, n]  quantisation.lee:62
    size_2 = eq.to(FLOAT).sum(dim=1)  # [k]
    total = torch.where(eq, w, 0).sum(dim=1)  # [k]  quantisation.lee:63
    gt = size_2 > 0  # bool[k]  quantisation.lee:64
    maximum = size_2.clamp(min=1)  # [k]
    table_3 = torch.where(gt, total / maximum, table)  # [k]
    return table_3, (eq, gt, maximum)


def clustered_step_backward(saved, d_table_3):
    """From d_table_3 to the gradients by table and w."""
    eq, gt, maximum = saved
    # gradient of table = where(size > 0, total / max(size, 1), table)   quantisation.lee:64
    d_table = torch.where(gt, 0, d_table_3)  # [k]
    d_total = torch.where(gt, d_table_3 / maximum, 0)  # [k]
    # gradient of total[c in k] = sum[i](where(index[i] == c, w[i], 0))   quantisation.lee:63
    d_w = torch.where(eq, d_total[:, None], 0).sum(dim=0)  # [n]
    return d_table, d_w


def code_length(index, k):
    """Σ -p log₂ p, the bits that an entry of the table takes at least; Huffman's code takes less than one more.

    index int[n] -> []
    """
    eq = index == torch.arange(k, device=index.device)[:, None]  # bool[k, n]  quantisation.lee:70
    share = eq.to(FLOAT).mean(dim=1)  # [k]
    gt = share > 0  # bool[k]  quantisation.lee:71
    log = torch.log(torch.where(gt, share, share.detach()))  # [k]
    mul = torch.where(gt, -share, (-share).detach()) * log  # [k]
    return torch.where(gt, mul / 0.6931471805599453, 0).sum()


class Net(Model):
    """Net(d, hidden, classes)"""

    members = ("up", "down")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden, self.classes = d, hidden, classes
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # quantisation.lee:75
        self.down = Linear(hidden, classes, key=fold(key, SITES["down"]))  # quantisation.lee:76

    def forward(self, x):
        """x [n, d] -> [n, classes]"""
        return self.down(relu(self.up(x)))  # [n, classes]  quantisation.lee:79

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        select = relu(self.up(x))  # [n, hidden]  quantisation.lee:79
        return self.down(select), select

    def forward_backward(self, x, select, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return down(relu(up(x)))   quantisation.lee:79
        d_down, d_select = self.down.forward_backward(select, d_y)
        d_up, d_x = self.up.forward_backward(x, relu_backward(select, d_select))
        return {"up": d_up, "down": d_down}, d_x


def from_tables(net, k):
    """Every weight becomes the mean of its cluster, layer by layer; biases stay."""
    table, index = clustered(net.up.w.reshape(net.d * net.hidden), k)  # quantisation.lee:84
    table_2, index_2 = clustered(net.down.w.reshape(net.classes * net.hidden), k)  # quantisation.lee:86
    # quantisation.lee:87
    return net.at(
        {
            "up": {"w": table[index].reshape(net.d, net.hidden), "b": net.up.b},
            "down": {"w": table_2[index_2].reshape(net.hidden, net.classes), "b": net.down.b},
        }
    )


def from_tables_saved(net, k):
    """As from_tables, and what its gradient needs."""
    table, index, saved_clustered = clustered_saved(net.up.w.reshape(net.d * net.hidden), k)  # quantisation.lee:84
    # quantisation.lee:86
    table_2, index_2, saved_clustered_ = clustered_saved(net.down.w.reshape(net.classes * net.hidden), k)
    # quantisation.lee:87
    return net.at(
        {
            "up": {"w": table[index].reshape(net.d, net.hidden), "b": net.up.b},
            "down": {"w": table_2[index_2].reshape(net.hidden, net.classes), "b": net.down.b},
        }
    ), (index, saved_clustered, index_2, saved_clustered_)


def from_tables_backward(net, saved, d_net):
    """From d_net to the gradient by net."""
    index, saved_clustered, index_2, saved_clustered_ = saved
    k = saved_clustered[0].shape[0]
    # gradient of net.down.w = reshape(table[index], net.down.w.dims)   quantisation.lee:87
    d_gather_2 = d_net["down"]["w"].reshape(net.classes * net.hidden)  # [net.classes * net.hidden]
    d_table_2 = scatter_add(d_gather_2, (index_2,), (k,))  # [k]
    # gradient of table, index = clustered(flatten(net.down.w), k)   quantisation.lee:86
    reshape_2 = net.down.w.reshape(net.classes * net.hidden)  # [net.classes * net.hidden]
    d_reshape_3 = clustered_backward(reshape_2, saved_clustered_, 30, d_table_2)  # [net.classes * net.hidden]
    d_net_down_w = d_reshape_3.reshape(net.hidden, net.classes)  # [net.hidden, net.classes]
    # gradient of net.up.w = reshape(table[index], net.up.w.dims)   quantisation.lee:85
    d_table = scatter_add(d_net["up"]["w"].reshape(net.d * net.hidden), (index,), (k,))  # [k]
    # gradient of table, index = clustered(flatten(net.up.w), k)   quantisation.lee:84
    reshape = net.up.w.reshape(net.d * net.hidden)  # [net.d * net.hidden]
    d_reshape = clustered_backward(reshape, saved_clustered, 30, d_table)  # [net.d * net.hidden]
    d_net_up_w = d_reshape.reshape(net.d, net.hidden)  # [net.d, net.hidden]
    return {"up": {"w": d_net_up_w, "b": d_net["up"]["b"]}, "down": {"w": d_net_down_w, "b": d_net["down"]["b"]}}


@torch.no_grad()
def by_table(epochs=8, batch=32, rate=3e-3, k=8, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("by_table", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Net(d=64, hidden=64, classes=10, key=run.key("net")).to(run.session.place.device)  # quantisation.lee:93
    opt = Adam(lr=rate)  # quantisation.lee:94
    step = ByTableStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # quantisation.lee:97
    small = net.copy()  # quantisation.lee:98
    x, y, index = by_table_small_x_y_index(net, data.test.x, data.test.y, small, k)  # quantisation.lee:98
    reported_whole, reported_shared, reported_bits = by_table_whole_shared_bits(net, x, y, small, index, k)
    run.report(whole=reported_whole, shared=reported_shared, bits=reported_bits)  # quantisation.lee:101
    return small


class ByTableStep(TrainStep):
    """One step of by_table for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.up.w", "net.up.b", "net.down.w", "net.down.b")
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

    def step(self, x, y, t):
        up_w, up_b, down_w, down_b = self.tensors
        d_up_w, d_up_b, d_down_w, d_down_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        select = torch.relu(torch.addmm(up_b, x, up_w))  # [batches_n, 64]  prelude.lee:61
        affine = torch.addmm(down_b, select, down_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_down_b)  # [10]  nn.lee:21
        torch.mm(select.T, d_add_2, out=d_down_w)  # [64, 10]
        d_up_out = torch.ops.aten.threshold_backward(d_add_2 @ down_w.T, select, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_up_out, dim=0, out=d_up_b)  # [64]  nn.lee:21
        torch.mm(x.T, d_up_out, out=d_up_w)  # [64, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def by_table_small_x_y_index(net, data_test_x, data_test_y, small, k):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n],
    int[4096]
    """
    small_ = from_tables(net, k)  # quantisation.lee:98
    _, index = clustered(net.up.w.reshape(4096), k)  # quantisation.lee:100
    with torch.no_grad():
        small.up.w.copy_(small_.up.w)  # [64, 64]  quantisation.lee:98
        small.up.b.copy_(small_.up.b)  # [64]
        small.down.w.copy_(small_.down.w)  # [64, 10]
        small.down.b.copy_(small_.down.b)  # [10]
    return data_test_x, data_test_y, index  # quantisation.lee:100


def by_table_whole_shared_bits(net, x, y, small, index, k):
    """x [data_test_n, 64], y int[data_test_n], index int[4096] -> [], [], []"""
    return accuracy(net(x), y), accuracy(small(x), y), code_length(index, k)  # quantisation.lee:101


@packed(0, w=(0, 1))
def binary(w):
    """1 or -1; the gradient by what was chosen moves what was chosen from (Courbariaux et al. 2015).

    w [..] -> [..]
    """
    ge = w >= 0  # bool[rows]  quantisation.lee:110
    select = torch.where(ge, torch.full((), 1.0, dtype=FLOAT, device=w.device), -1.0)  # [rows]
    return straight_through(select, w)  # [rows]


def binary_backward(d_y):
    """From d_y to the gradient by w."""
    # gradient of return straight_through(where(w >= 0, 1.0, -1.0), w)   quantisation.lee:110
    d_w = straight_through_backward(d_y)  # [rows]
    return d_w  # [rows]


class Binary(Model):
    """Two layers of weights 1 and -1; what is between them is scaled by how much is added up."""

    members = ("up", "down", "a", "b")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden, self.classes = d, hidden, classes
        # [hidden, classes]  quantisation.lee:116
        uniform_2 = uniform(fold(key, SITES["down"]), (hidden, classes), FLOAT)
        # [d, hidden]  quantisation.lee:115
        self.up = torch.nn.Parameter(-1 + 2 * uniform(fold(key, SITES["up"]), (d, hidden), FLOAT))
        self.down = torch.nn.Parameter(-1 + 2 * uniform_2)  # [hidden, classes]  quantisation.lee:116
        self.a = torch.nn.Parameter(torch.zeros(hidden, dtype=FLOAT))  # [hidden]  quantisation.lee:117
        self.b = torch.nn.Parameter(torch.zeros(classes, dtype=FLOAT))  # [classes]  quantisation.lee:118

    def forward(self, x):
        """x [n, d] -> [n, classes]"""
        graft_ = binary(self.up.reshape(self.d * self.hidden))  # [d * hidden]  quantisation.lee:121
        div = x @ graft_.reshape(self.d, self.hidden) / math.sqrt(self.d)  # [n, hidden]
        h = relu(div + self.a)  # [n, hidden]
        graft_2 = binary(self.down.reshape(self.classes * self.hidden))  # [classes * hidden]  quantisation.lee:122
        contract_2 = h @ graft_2.reshape(self.hidden, self.classes)  # [n, classes]
        return contract_2 / math.sqrt(self.hidden) + self.b  # [n, classes]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        # [d, hidden]  quantisation.lee:121
        reshape_2 = binary(self.up.reshape(self.d * self.hidden)).reshape(self.d, self.hidden)
        h = relu(x @ reshape_2 / math.sqrt(self.d) + self.a)  # [n, hidden]
        graft_2 = binary(self.down.reshape(self.classes * self.hidden))  # [classes * hidden]  quantisation.lee:122
        reshape_4 = graft_2.reshape(self.hidden, self.classes)  # [hidden, classes]
        return h @ reshape_4 / math.sqrt(self.hidden) + self.b, (reshape_2, h, reshape_4)

    @staticmethod
    def forward_backward(x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        reshape_2, h, reshape_4 = saved
        d = x.shape[1]
        hidden = reshape_2.shape[1]
        classes = reshape_4.shape[1]
        # gradient of return h @ binary(down) / sqrt(hidden) + b   quantisation.lee:122
        d_b = d_y.sum(dim=0)  # [classes]
        d_contract_2 = d_y / math.sqrt(hidden)  # [n, classes]
        d_h = d_contract_2 @ reshape_4.T  # [n, hidden]
        d_down_flat = binary_backward((h.T @ d_contract_2).reshape(classes * hidden))  # [classes * hidden]
        d_down = d_down_flat.reshape(hidden, classes)  # [hidden, classes]
        # gradient of h = relu(x @ binary(up) / sqrt(d) + a)   quantisation.lee:121
        d_add = relu_backward(h, d_h)  # [n, hidden]
        d_a = d_add.sum(dim=0)  # [hidden]
        d_contract = d_add / math.sqrt(d)  # [n, hidden]
        d_x = d_contract @ reshape_2.T  # [n, d]
        d_up = binary_backward((x.T @ d_contract).reshape(d * hidden)).reshape(d, hidden)  # [d, hidden]
        return {"up": d_up, "down": d_down, "a": d_a, "b": d_b}, d_x


class Kept(Optimizer):
    """Descent inside [-1, 1]: beyond, a weight could never change its sign again."""

    def __init__(self, lr=0.1):
        self.lr = lr

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        θ.copy_(clip(θ - self.lr * g, -1, 1))  # [count]  quantisation.lee:128


@torch.no_grad()
def signs(hidden=128, epochs=25, batch=32, rate=2.0, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("signs", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Binary(d=64, hidden=hidden, classes=10, key=run.key("net")).to(run.session.place.device)
    opt = Kept(lr=rate)  # quantisation.lee:134
    step = SignsStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # quantisation.lee:137
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # quantisation.lee:138
    return net


class SignsStep(TrainStep):
    """One step of signs for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.up", "net.down", "net.a", "net.b")
    spare = (0,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr,)

    def step(self, x, y):
        up, down, a, b = self.tensors
        d_up, d_down, d_a, d_b = self.gradients
        batches_n = x.shape[0]
        hidden = self.net.up.shape[1]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        ge = up.reshape(64 * hidden) >= 0  # bool[64 * hidden]  quantisation.lee:110
        graft_ = torch.where(ge, torch.full((), 1.0, dtype=FLOAT, device=x.device), -1.0)  # [64 * hidden]
        h = torch.relu(x @ graft_.reshape(64, hidden) / math.sqrt(64) + a)  # [batches_n, hidden]  prelude.lee:61
        ge_2 = down.reshape(10 * hidden) >= 0  # bool[10 * hidden]  quantisation.lee:110
        graft_2 = torch.where(ge_2, torch.full((), 1.0, dtype=FLOAT, device=x.device), -1.0)  # [10 * hidden]
        reshape_2 = graft_2.reshape(hidden, 10)  # [hidden, 10]  quantisation.lee:122
        net_out = h @ reshape_2 / math.sqrt(hidden) + b  # [batches_n, 10]
        surprise = torch.nn.functional.cross_entropy(net_out, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_net_out = (torch.softmax(net_out, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_net_out, dim=0, out=d_b)  # [10]  quantisation.lee:122
        d_contract_2 = d_net_out / math.sqrt(hidden)  # [batches_n, 10]
        torch.mm(h.T, d_contract_2, out=d_down)  # [hidden, 10]
        # [batches_n, hidden]  prelude.lee:61
        d_add = torch.ops.aten.threshold_backward(d_contract_2 @ reshape_2.T, h, 0)
        torch.sum(d_add, dim=0, out=d_a)  # [hidden]  quantisation.lee:121
        torch.mm(x.T, d_add / math.sqrt(64), out=d_up)  # [64, hidden]
        lr = self.opt.lr
        for θ, g in self.blocks[0]:
            θ.copy_((θ - lr * g).clamp(min=-1).clamp(max=1))
        return surprise.sum() / count  # losses.lee:148


def example_rounded(key):
    w = normal(fold(key, SITES["w"]), (5, 6), FLOAT)  # [5, 6]  quantisation.lee:143
    c = normal(fold(key, SITES["c"]), (5, 6), FLOAT)  # [5, 6]  quantisation.lee:144
    reshape = on_grid(w.reshape(30), 3).reshape(5, 6)  # [5, 6]  quantisation.lee:145
    d_c = reshape**2  # [5, 6]
    d_w_flat = on_grid_backward((2 * (c * reshape)).reshape(30))  # [30]
    return (c * d_c).sum(), d_w_flat.reshape(5, 6), d_c


def example_used_rounded(key):
    net = Rounded(4, 6, 3, key=fold(key, SITES["net"]))  # quantisation.lee:149
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  quantisation.lee:150
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  quantisation.lee:151
    add_2, saved_net = net.forward_saved(x, 3)  # quantisation.lee:152
    d_add_2 = cross_entropy_backward(add_2, y, torch.ones((), dtype=FLOAT))  # [9, 3]
    d_rounded, d_x = Rounded.forward_backward(x, saved_net, 3, d_add_2)
    return cross_entropy(add_2, y), net.at(d_rounded), d_x


def example_tabled(key):
    net = Net(4, 6, 3, key=fold(key, SITES["net"]))  # quantisation.lee:156
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  quantisation.lee:157
    net_, saved_from_tables = from_tables_saved(net, 4)  # quantisation.lee:158
    add_2, saved_net_ = net_.forward_saved(x)
    d_net_, d_x = net_.forward_backward(x, saved_net_, 2 * add_2)
    d_net = from_tables_backward(net, saved_from_tables, d_net_)
    return (add_2**2).sum(), net.at(d_net), d_x


def example_counted(key):
    w = normal(fold(key, SITES["w"]), (40,), FLOAT)  # [40]  quantisation.lee:162
    table, index = clustered(w, 4)  # quantisation.lee:163
    return (table**2).sum(), code_length(index, 4)  # quantisation.lee:164


def example_signed(key):
    net = Binary(4, 6, 3, key=fold(key, SITES["net"]))  # quantisation.lee:168
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  quantisation.lee:169
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  quantisation.lee:170
    net_out, saved_net = net.forward_saved(x)  # quantisation.lee:171
    d_net_out = cross_entropy_backward(net_out, y, torch.ones((), dtype=FLOAT))  # [9, 3]
    d_binary, d_x = Binary.forward_backward(x, saved_net, d_net_out)
    return cross_entropy(net_out, y), net.at(d_binary), d_x


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


def straight_through(hard, soft):
    """The value of `hard` with the gradient of `soft` (Bengio et al. 2013).

    hard [hard_0], soft [hard_0] -> [hard_0]
    """
    return graft(hard, soft)  # [hard_0]  prelude.lee:23


def straight_through_backward(d_y):
    """From d_y to the gradient by soft."""
    return d_y  # [hard_0]


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return torch.relu(x)  # [x_0, x_1]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def clip(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1.

    x [x_0] -> [x_0]
    """
    return x.clamp(min=low).clamp(max=high)  # [x_0]  prelude.lee:153


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "down": 0x672F5B678D49ED61,
    "net": 0xF087C76970C91612,
    "up": 0xDD49F622B87D879F,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
}


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


class Graft(torch.autograd.Function):
    """The value of x with the derivative of y."""

    @staticmethod
    def forward(ctx, x, y):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return None, g if ctx.needs_input_grad[1] else None


def graft(x, y):
    """The value of x with the derivative of y."""
    return Graft.apply(x, y)


def largest(x, axes, keepdims=False):
    """The largest entry, -inf of nothing; the gradient goes to the first of equals."""
    for axis in reversed(axes):
        some = x.shape[axis] > 0
        x = x.max(axis, keepdim=keepdims).values if some else x.sum(axis, keepdim=keepdims) - math.inf
    return x


def smallest(x, axes, keepdims=False):
    """The smallest entry, inf of nothing; the gradient goes to the first of equals."""
    return -largest(-x, axes, keepdims)


def amax(x, axes, keepdims=False):
    """The largest entry, -inf of nothing."""
    some = all(x.shape[axis] for axis in axes)
    return x.amax(axes, keepdim=keepdims) if some else x.sum(axes, keepdim=keepdims) - math.inf


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


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
