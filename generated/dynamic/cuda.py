"""As much computation as there is need or time for (inventory O11, O12): nets with exits, and nets of several widths.

Made from specs/compression/dynamic.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/compression/dynamic.lee
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


class Exits(Model):
    """A classifier behind every layer."""

    members = ("layer1", "layer2", "layer3", "exit1", "exit2", "exit3")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden, self.classes = d, hidden, classes
        self.layer1 = Linear(d, hidden, key=fold(key, SITES["layer1"]))  # dynamic.lee:15
        self.layer2 = Linear(hidden, hidden, key=fold(key, SITES["layer2"]))  # dynamic.lee:16
        self.layer3 = Linear(hidden, hidden, key=fold(key, SITES["layer3"]))  # dynamic.lee:17
        self.exit1 = Linear(hidden, classes, key=fold(key, SITES["exit1"]))  # dynamic.lee:18
        self.exit2 = Linear(hidden, classes, key=fold(key, SITES["exit2"]))  # dynamic.lee:19
        self.exit3 = Linear(hidden, classes, key=fold(key, SITES["exit3"]))  # dynamic.lee:20

    def forward(self, x):
        """x [n, d] -> [3, n, classes]"""
        h1 = relu(self.layer1(x))  # [n, hidden]  dynamic.lee:23
        h2 = relu(self.layer2(h1))  # [n, hidden]  dynamic.lee:24
        h3 = relu(self.layer3(h2))  # [n, hidden]  dynamic.lee:25
        exit1_out = self.exit1(h1)  # [n, classes]  dynamic.lee:26
        return torch.stack((exit1_out, self.exit2(h2), self.exit3(h3)))  # [3, n, classes]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        h1 = relu(self.layer1(x))  # [n, hidden]  dynamic.lee:23
        h2 = relu(self.layer2(h1))  # [n, hidden]  dynamic.lee:24
        h3 = relu(self.layer3(h2))  # [n, hidden]  dynamic.lee:25
        exit1_out = self.exit1(h1)  # [n, classes]  dynamic.lee:26
        return torch.stack((exit1_out, self.exit2(h2), self.exit3(h3))), (h1, h2, h3)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        h1, h2, h3 = saved
        # gradient of return stack(exit1(h1), exit2(h2), exit3(h3), axis = 0)   dynamic.lee:26
        d_exit3, d_h3 = self.exit3.forward_backward(h3, d_y[2])
        d_exit2, d_h2_2 = self.exit2.forward_backward(h2, d_y[1])
        d_exit1, d_h1_2 = self.exit1.forward_backward(h1, d_y[0])
        # gradient of h3 = relu(layer3(h2))   dynamic.lee:25
        d_layer3, d_h2_3 = self.layer3.forward_backward(h2, relu_backward(h3, d_h3))
        # gradient of h2 = relu(layer2(h1))   dynamic.lee:24
        d_h2 = d_h2_2 + d_h2_3  # [n, hidden]
        d_layer2, d_h1_3 = self.layer2.forward_backward(h1, relu_backward(h2, d_h2))
        # gradient of h1 = relu(layer1(x))   dynamic.lee:23
        d_h1 = d_h1_2 + d_h1_3  # [n, hidden]
        d_layer1, d_x = self.layer1.forward_backward(x, relu_backward(h1, d_h1))
        return {
            "layer1": d_layer1,
            "layer2": d_layer2,
            "layer3": d_layer3,
            "exit1": d_exit1,
            "exit2": d_exit2,
            "exit3": d_exit3,
        }, d_x


def at_every_exit(z, y):
    """All classifiers learn together, which may cost the last one something.

    z [m, n, k], y int[n] -> []
    """
    n = z.shape[1]
    share = torch.log_softmax(z, dim=2)  # [m, n, k]  prelude.lee:127
    i = torch.arange(n, device=z.device)  # int[n]  dynamic.lee:32
    return -share.permute((1, 2, 0))[i, y].T.mean(dim=1).sum()


def at_every_exit_saved(z, y):
    """As at_every_exit, and what its gradient needs."""
    n = z.shape[1]
    share = torch.log_softmax(z, dim=2)  # [m, n, k]  prelude.lee:127
    i = torch.arange(n, device=z.device)  # int[n]  dynamic.lee:32
    return -share.permute((1, 2, 0))[i, y].T.mean(dim=1).sum(), share


def at_every_exit_backward(y, share, d_out):
    """From d_out to the gradient by z."""
    n = y.shape[0]
    m, _, k = share.shape
    # gradient of return -sum[e](mean[i](share[e, i, y[i]]))   dynamic.lee:32
    i = torch.arange(n, device=y.device)  # int[n]
    d_share = scatter_add((-d_out / n).expand(n, m), (i, y), (m, n, k), (1, 2))  # [m, n, k]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_z = d_share - torch.exp(share) * d_share.sum(dim=2, keepdim=True)  # [m, n, k]
    return d_z  # [m, n, k]


def first_sure(z, threshold):
    """The first exit whose largest share reaches the threshold; else the last one.

    z [m, n, k] -> int[n]
    """
    m = z.shape[0]
    sure = largest(softmax(z, (2,)), (2,), False) >= threshold  # bool[m, n]  dynamic.lee:37
    early = torch.where(sure, torch.arange(m, device=z.device)[:, None], m - 1)  # int[m, n]  dynamic.lee:38
    return early.min(0).values  # int[n]  dynamic.lee:39


def answered(z, exit_):
    """The scores of every example at its exit.

    z [m, n, k], exit int[n] -> [n, k]
    """
    n = z.shape[1]
    score = z[exit_, torch.arange(n, device=z.device)]  # [n, k]  dynamic.lee:44
    return score  # [n, k]


def answered_backward(exit_, m, d_score):
    """From d_score to the gradient by z."""
    n = exit_.shape[0]
    k = d_score.shape[1]
    # gradient of score[i, c] = z[exit[i], i, c]   dynamic.lee:44
    i = torch.arange(n, device=exit_.device)  # int[n]
    d_z = scatter_add(d_score, (exit_, i), (m, n, k))  # [m, n, k]
    return d_z  # [m, n, k]


@torch.no_grad()
def exits(epochs=10, batch=32, rate=3e-3, threshold=0.9, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("exits", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Exits(d=64, hidden=32, classes=10, key=run.key("net")).to(run.session.place.device)  # dynamic.lee:50
    opt = Adam(lr=rate)  # dynamic.lee:51
    step = ExitsStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # dynamic.lee:54
    z, y, exit_, early = exits_z_y_exit_early(net, data.test.x, data.test.y, threshold)  # dynamic.lee:55
    reported_first, reported_last, reported_layers = exits_first_last_layers(z, y, exit_)  # dynamic.lee:59
    run.report(first=reported_first, last=reported_last, early=early, layers=reported_layers)  # dynamic.lee:59
    return net


class ExitsStep(TrainStep):
    """One step of exits for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.layer1.w",
        "net.layer1.b",
        "net.layer2.w",
        "net.layer2.b",
        "net.layer3.w",
        "net.layer3.b",
        "net.exit1.w",
        "net.exit1.b",
        "net.exit2.w",
        "net.exit2.b",
        "net.exit3.w",
        "net.exit3.b",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, y, t):
        layer1_w, layer1_b, layer2_w, layer2_b, layer3_w, layer3_b, exit1_w, exit1_b = self.tensors[:8]
        exit2_w, exit2_b, exit3_w, exit3_b = self.tensors[8:]
        d_layer1_w, d_layer1_b, d_layer2_w, d_layer2_b, d_layer3_w, d_layer3_b, d_exit1_w = self.gradients[:7]
        d_exit1_b, d_exit2_w, d_exit2_b, d_exit3_w, d_exit3_b = self.gradients[7:]
        batches_n = x.shape[0]
        h1 = torch.relu(torch.addmm(layer1_b, x, layer1_w))  # [batches_n, 32]  prelude.lee:61
        h2 = torch.relu(torch.addmm(layer2_b, h1, layer2_w))  # [batches_n, 32]
        h3 = torch.relu(torch.addmm(layer3_b, h2, layer3_w))  # [batches_n, 32]
        exit1_out = torch.addmm(exit1_b, h1, exit1_w)  # [batches_n, 10]  nn.lee:21
        exit2_out = torch.addmm(exit2_b, h2, exit2_w)  # [batches_n, 10]
        exit3_out = torch.addmm(exit3_b, h3, exit3_w)  # [batches_n, 10]
        # [3, batches_n, 10]  prelude.lee:127
        share = torch.log_softmax(torch.stack((exit1_out, exit2_out, exit3_out)), dim=2)
        i = torch.arange(batches_n, device=x.device)  # int[batches_n]  dynamic.lee:32
        div = -1.0 / batches_n
        d_gather = torch.full((batches_n, 3), div, dtype=FLOAT, device=x.device)  # [batches_n, 3]
        d_share = scatter_add(d_gather, (i, y), (3, batches_n, 10), (1, 2))  # [3, batches_n, 10]
        d_concat = d_share - torch.exp(share) * d_share.sum(dim=2, keepdim=True)  # [3, batches_n, 10]  prelude.lee:127
        torch.sum(d_concat[2], dim=0, out=d_exit3_b)  # [10]  nn.lee:21
        torch.mm(h3.T, d_concat[2], out=d_exit3_w)  # [32, 10]
        torch.sum(d_concat[1], dim=0, out=d_exit2_b)  # [10]
        torch.mm(h2.T, d_concat[1], out=d_exit2_w)  # [32, 10]
        torch.sum(d_concat[0], dim=0, out=d_exit1_b)  # [10]
        torch.mm(h1.T, d_concat[0], out=d_exit1_w)  # [32, 10]
        # [batches_n, 32]  prelude.lee:61
        d_layer3_out = torch.ops.aten.threshold_backward(d_concat[2] @ exit3_w.T, h3, 0)
        torch.sum(d_layer3_out, dim=0, out=d_layer3_b)  # [32]  nn.lee:21
        torch.mm(h2.T, d_layer3_out, out=d_layer3_w)  # [32, 32]
        d_h2 = d_concat[1] @ exit2_w.T + d_layer3_out @ layer3_w.T  # [batches_n, 32]  dynamic.lee:24
        d_layer2_out = torch.ops.aten.threshold_backward(d_h2, h2, 0)  # [batches_n, 32]  prelude.lee:61
        torch.sum(d_layer2_out, dim=0, out=d_layer2_b)  # [32]  nn.lee:21
        torch.mm(h1.T, d_layer2_out, out=d_layer2_w)  # [32, 32]
        d_h1 = d_concat[0] @ exit1_w.T + d_layer2_out @ layer2_w.T  # [batches_n, 32]  dynamic.lee:23
        d_layer1_out = torch.ops.aten.threshold_backward(d_h1, h1, 0)  # [batches_n, 32]  prelude.lee:61
        torch.sum(d_layer1_out, dim=0, out=d_layer1_b)  # [32]  nn.lee:21
        torch.mm(x.T, d_layer1_out, out=d_layer1_w)  # [64, 32]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return -share.permute((1, 2, 0))[i, y].T.mean(dim=1).sum()  # dynamic.lee:32


def exits_z_y_exit_early(net, data_test_x, data_test_y, threshold):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [3, data_test_n, 10], int[data_test_n],
    int[data_test_n], []
    """
    z = net(data_test_x)  # [3, data_test_n, 10]  dynamic.lee:55
    exit_ = first_sure(z, threshold)  # int[data_test_n]  dynamic.lee:57
    early = accuracy(answered(z, exit_), data_test_y)  # dynamic.lee:58
    return z, data_test_y, exit_, early


def exits_first_last_layers(z, y, exit_):
    """z [3, data_test_n, 10], y int[data_test_n], exit int[data_test_n] -> [], [], []"""
    return accuracy(z[0], y), accuracy(z[2], y), 1 + exit_.to(FLOAT).mean()  # dynamic.lee:59


class Slimmable(Model):
    """The first neurons are a net by themselves (Yu et al. 2018)."""

    members = ("up", "down")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden, self.classes = d, hidden, classes
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # dynamic.lee:68
        self.down = Linear(hidden, classes, key=fold(key, SITES["down"]))  # dynamic.lee:69

    def forward(self, x, width):
        """x [n, d] -> [n, classes]"""
        h = relu(torch.addmm(self.up.b[:width], x, self.up.w[:, :width]))  # [n, width]  dynamic.lee:72
        return torch.addmm(self.down.b, h, self.down.w[:width])  # [n, classes]  dynamic.lee:73

    def forward_saved(self, x, width):
        """As forward, and what its gradient needs."""
        h = relu(torch.addmm(self.up.b[:width], x, self.up.w[:, :width]))  # [n, width]  dynamic.lee:72
        return torch.addmm(self.down.b, h, self.down.w[:width]), h  # dynamic.lee:73

    def forward_backward(self, x, h, d_y):
        """From d_y to the gradients by the parameters and x."""
        width = h.shape[1]
        # gradient of return h @ down.w[:width] + down.b   dynamic.lee:73
        d_down_b = d_y.sum(dim=0)  # [classes]
        d_h = d_y @ self.down.w[:width].T  # [n, width]
        d_slice_3 = h.T @ d_y  # [width, classes]
        # [hidden, classes]
        d_down_w = unslice(d_slice_3, (self.hidden, self.classes), (slice(0, width), slice(0, self.classes)))
        # gradient of h = relu(x @ up.w[:, :width] + up.b[:width])   dynamic.lee:72
        d_add = relu_backward(h, d_h)  # [n, width]
        d_up_b = unslice(d_add.sum(dim=0), (self.hidden,), (slice(0, width),))  # [hidden]
        d_x = d_add @ self.up.w[:, :width].T  # [n, d]
        d_slice = x.T @ d_add  # [d, width]
        d_up_w = unslice(d_slice, (self.d, self.hidden), (slice(0, self.d), slice(0, width)))  # [d, hidden]
        return {"up": {"w": d_up_w, "b": d_up_b}, "down": {"w": d_down_w, "b": d_down_b}}, d_x


def at_every_width_saved(net, x, y, narrow, middle, wide):
    """As at_every_width, and what its gradient needs."""
    add_2, saved_net = net.forward_saved(x, narrow)  # dynamic.lee:77
    add_2_2, saved_net_ = net.forward_saved(x, middle)
    add_2_3, saved_net_2 = net.forward_saved(x, wide)
    add = cross_entropy(add_2, y) + cross_entropy(add_2_2, y)
    return add + cross_entropy(add_2_3, y), (add_2, saved_net, add_2_2, saved_net_, add_2_3, saved_net_2)


def at_every_width_backward(net, x, y, saved, d_add_3):
    """From d_add_3 to the gradients by net and x."""
    add_2, saved_net, add_2_2, saved_net_, add_2_3, saved_net_2 = saved
    # gradient of return cross_entropy(net(x, narrow), y) + cross_entropy(net(x, middle), y) + ..   dynamic.lee:77
    d_add_2_3 = cross_entropy_backward(add_2_3, y, d_add_3)  # [n, net.classes]
    d_net, d_x_2 = net.forward_backward(x, saved_net_2, d_add_2_3)
    d_add_2_2 = cross_entropy_backward(add_2_2, y, d_add_3)  # [n, net.classes]
    d_net_, d_x_3 = net.forward_backward(x, saved_net_, d_add_2_2)
    d_add_2 = cross_entropy_backward(add_2, y, d_add_3)  # [n, net.classes]
    d_net_2, d_x_4 = net.forward_backward(x, saved_net, d_add_2)
    d_net_up_w = d_net["up"]["w"] + d_net_["up"]["w"] + d_net_2["up"]["w"]  # [net.d, net.hidden]
    d_net_up_b = d_net["up"]["b"] + d_net_["up"]["b"] + d_net_2["up"]["b"]  # [net.hidden]
    d_net_down_w = d_net["down"]["w"] + d_net_["down"]["w"] + d_net_2["down"]["w"]  # [net.hidden, net.classes]
    d_net_down_b = d_net["down"]["b"] + d_net_["down"]["b"] + d_net_2["down"]["b"]  # [net.classes]
    d_x = d_x_2 + d_x_3 + d_x_4  # [n, net.d]
    return {"up": {"w": d_net_up_w, "b": d_net_up_b}, "down": {"w": d_net_down_w, "b": d_net_down_b}}, d_x


def is_sure(z, threshold):
    """Whether one class has that share.

    z [n, k] -> bool[n]
    """
    return largest(softmax(z, (1,)), (1,), False) >= threshold  # bool[n]  dynamic.lee:82


def as_needed(narrow, wide, threshold):
    """Easy examples are answered by the narrow net, the others by the wide one.

    narrow [n, k], wide [n, k] -> [n, k]
    """
    reshape = is_sure(narrow, threshold)[:, None]  # bool[n, 1]  dynamic.lee:87
    return torch.where(reshape, narrow, wide)  # [n, k]


def as_needed_saved(narrow, wide, threshold):
    """As as_needed, and what its gradient needs."""
    reshape = is_sure(narrow, threshold)[:, None]  # bool[n, 1]  dynamic.lee:87
    return torch.where(reshape, narrow, wide), reshape


def as_needed_backward(reshape, d_y):
    """From d_y to the gradients by narrow and wide."""
    # gradient of return where(is_sure(narrow, threshold)[:, None], narrow, wide)   dynamic.lee:87
    d_narrow = torch.where(reshape, d_y, 0)  # [n, k]
    d_wide = torch.where(reshape, 0, d_y)  # [n, k]
    return d_narrow, d_wide


@torch.no_grad()
def widths(epochs=10, batch=32, rate=3e-3, narrow=8, middle=24, wide=64, threshold=0.9, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("widths", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Slimmable(d=64, hidden=wide, classes=10, key=run.key("net")).to(run.session.place.device)  # dynamic.lee:92
    opt = Adam(lr=rate)  # dynamic.lee:93
    step = WidthsStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y, middle, narrow))  # dynamic.lee:96
    x, y, few, all_, mixed, easy = widths_x_y_few_all_mixed_easy(data.test.x, data.test.y, net, threshold, narrow)
    reported_narrow, reported_middle, reported_wide = widths_narrow_middle_wide(few, y, net, x, all_, middle)
    run.report(narrow=reported_narrow, middle=reported_middle, wide=reported_wide, mixed=mixed, easy=easy)
    return net


class WidthsStep(TrainStep):
    """One step of widths for net, opt: call it with a batch."""

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

    def step(self, x, y, middle, narrow, t):
        up_w, up_b, down_w, down_b = self.tensors
        d_up_w, d_up_b, d_down_w, d_down_b = self.gradients
        batches_n = x.shape[0]
        wide = self.net.up.w.shape[1]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        h_3 = torch.relu(torch.addmm(up_b[:narrow], x, up_w[:, :narrow]))  # [batches_n, narrow]  prelude.lee:61
        slice_3 = down_w[:narrow]  # [narrow, 10]  dynamic.lee:73
        affine_2 = torch.addmm(down_b, h_3, slice_3)  # [batches_n, 10]
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        h_2 = torch.relu(torch.addmm(up_b[:middle], x, up_w[:, :middle]))  # [batches_n, middle]  prelude.lee:61
        slice_3_2 = down_w[:middle]  # [middle, 10]  dynamic.lee:73
        add_2_2 = torch.addmm(down_b, h_2, slice_3_2)  # [batches_n, 10]
        surprise_2 = torch.nn.functional.cross_entropy(add_2_2, y, reduction="none")  # [batches_n]  losses.lee:45
        h = torch.relu(torch.addmm(up_b, x, up_w))  # [batches_n, wide]  prelude.lee:61
        add_2_3 = torch.addmm(down_b, h, down_w)  # [batches_n, 10]  dynamic.lee:73
        surprise_3 = torch.nn.functional.cross_entropy(add_2_3, y, reduction="none")  # [batches_n]  losses.lee:45
        add = surprise.sum() / count + surprise_2.sum() / count  # dynamic.lee:77
        one_hot = (torch.arange(10, device=x.device)[None, :] == y[:, None]).to(FLOAT)  # [batches_n, 10]  losses.lee:45
        d_add_2_3 = (torch.softmax(add_2_3, dim=1) - one_hot) * scale  # [batches_n, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2_3 @ down_w.T, h, 0)  # [batches_n, wide]  prelude.lee:61
        d_add_2_2 = (torch.softmax(add_2_2, dim=1) - one_hot) * scale  # [batches_n, 10]  losses.lee:45
        d_slice_3_2 = h_2.T @ d_add_2_2  # [middle, 10]  dynamic.lee:73
        d_net_down_w_3 = unslice(d_slice_3_2, (wide, 10), (slice(0, middle), slice(0, 10)))  # [wide, 10]
        # [batches_n, middle]  prelude.lee:61
        d_add_4 = torch.ops.aten.threshold_backward(d_add_2_2 @ slice_3_2.T, h_2, 0)
        d_slice_4 = x.T @ d_add_4  # [64, middle]  dynamic.lee:72
        d_net_up_w_3 = unslice(d_slice_4, (64, wide), (slice(0, 64), slice(0, middle)))  # [64, wide]
        d_add_2 = (torch.softmax(affine_2, dim=1) - one_hot) * scale  # [batches_n, 10]  losses.lee:45
        d_slice_3_3 = h_3.T @ d_add_2  # [narrow, 10]  dynamic.lee:73
        d_net_down_w_4 = unslice(d_slice_3_3, (wide, 10), (slice(0, narrow), slice(0, 10)))  # [wide, 10]
        d_add_5 = torch.ops.aten.threshold_backward(d_add_2 @ slice_3.T, h_3, 0)  # [batches_n, narrow]  prelude.lee:61
        d_slice_5 = x.T @ d_add_5  # [64, narrow]  dynamic.lee:72
        d_net_up_w_4 = unslice(d_slice_5, (64, wide), (slice(0, 64), slice(0, narrow)))  # [64, wide]
        torch.mm(x.T, d_add, out=d_up_w)  # [64, wide]  dynamic.lee:77
        d_up_w.add_(d_net_up_w_3)  # [64, wide]
        d_up_w.add_(d_net_up_w_4)  # [64, wide]
        d_net_up_b_3 = unslice(d_add_4.sum(dim=0), (wide,), (slice(0, middle),))  # [wide]  dynamic.lee:72
        d_net_up_b_4 = unslice(d_add_5.sum(dim=0), (wide,), (slice(0, narrow),))  # [wide]
        torch.sum(d_add, dim=0, out=d_up_b)  # [wide]  dynamic.lee:77
        d_up_b.add_(d_net_up_b_3)  # [wide]
        d_up_b.add_(d_net_up_b_4)  # [wide]
        torch.mm(h.T, d_add_2_3, out=d_down_w)  # [wide, 10]
        d_down_w.add_(d_net_down_w_3)  # [wide, 10]
        d_down_w.add_(d_net_down_w_4)  # [wide, 10]
        d_net_down_b_5 = d_add_2_3.sum(dim=0) + d_add_2_2.sum(dim=0)  # [10]
        torch.add(d_net_down_b_5, d_add_2.sum(dim=0), out=d_down_b)  # [10]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return add + surprise_3.sum() / count


def widths_x_y_few_all_mixed_easy(data_test_x, data_test_y, net, threshold, narrow):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n],
    [data_test_n, 10], [data_test_n, 10], [], []
    """
    wide = net.up.w.shape[1]
    few = net(data_test_x, narrow)  # [data_test_n, 10]  dynamic.lee:98
    all_ = net(data_test_x, wide)  # [data_test_n, 10]  dynamic.lee:99
    mixed = accuracy(as_needed(few, all_, threshold), data_test_y)  # dynamic.lee:100
    easy = is_sure(few, threshold).to(FLOAT).mean()  # dynamic.lee:101
    return data_test_x, data_test_y, few, all_, mixed, easy


def widths_narrow_middle_wide(few, y, net, x, all_, middle):
    """few [data_test_n, 10], y int[data_test_n], x [data_test_n, 64], all [data_test_n, 10] -> [], [], []"""
    return accuracy(few, y), accuracy(net(x, middle), y), accuracy(all_, y)  # dynamic.lee:102


def example_left_early(key):
    net = Exits(5, 6, 3, key=fold(key, SITES["net"]))  # dynamic.lee:107
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  dynamic.lee:108
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  dynamic.lee:109
    z, saved_net = net.forward_saved(x)  # dynamic.lee:110
    neg, saved_at_every_exit = at_every_exit_saved(z, y)  # dynamic.lee:111
    min_ = first_sure(z, 0.4)  # int[9]
    score = answered(z, min_)  # [9, 3]
    d_z_3 = at_every_exit_backward(y, saved_at_every_exit, torch.ones((), dtype=FLOAT))  # [3, 9, 3]
    d_z = answered_backward(min_, 3, 2 * score) + d_z_3  # [3, 9, 3]  dynamic.lee:110
    d_net, d_x = net.forward_backward(x, saved_net, d_z)
    return neg + (score**2).sum(), net.at(d_net), d_x


def example_slim(key):
    net = Slimmable(5, 7, 3, key=fold(key, SITES["net"]))  # dynamic.lee:115
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  dynamic.lee:116
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  dynamic.lee:117
    c = normal(fold(key, SITES["c"]), (9, 3), FLOAT)  # [9, 3]  dynamic.lee:118
    add_3, saved_at_every_width = at_every_width_saved(net, x, y, 2, 4, 7)  # dynamic.lee:119
    add_2, saved_net = net.forward_saved(x, 2)
    add_2_2, saved_net_ = net.forward_saved(x, 7)
    d_c, saved_as_needed = as_needed_saved(add_2, add_2_2, 0.5)
    d_add_2, d_add_2_2 = as_needed_backward(saved_as_needed, c)
    d_net, d_x_2 = net.forward_backward(x, saved_net_, d_add_2_2)
    d_net_, d_x_3 = net.forward_backward(x, saved_net, d_add_2)
    d_value = torch.ones((), dtype=FLOAT)
    d_net_2, d_x_4 = at_every_width_backward(net, x, y, saved_at_every_width, d_value)
    d_net_down_w_4 = d_net["down"]["w"] + d_net_["down"]["w"]  # [7, 3]
    d_net_down_b_4 = d_net["down"]["b"] + d_net_["down"]["b"]  # [3]
    return (
        add_3 + (c * d_c).sum(),
        net.at(
            {
                "up": {
                    "w": d_net["up"]["w"] + d_net_["up"]["w"] + d_net_2["up"]["w"],
                    "b": d_net["up"]["b"] + d_net_["up"]["b"] + d_net_2["up"]["b"],
                },
                "down": {"w": d_net_down_w_4 + d_net_2["down"]["w"], "b": d_net_down_b_4 + d_net_2["down"]["b"]},
            }
        ),
        d_x_2 + d_x_3 + d_x_4,
        d_c,
    )


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

    x [x_0, x_1] -> [x_0, x_1]
    """
    return torch.relu(x)  # [x_0, x_1]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "down": 0x672F5B678D49ED61,
    "exit1": 0x7FBFA976D88DA1E9,
    "exit2": 0xAA24F4D3F11435DF,
    "exit3": 0x0E5DC3326DF079C7,
    "layer1": 0x0EB5AE71E7FB27C4,
    "layer2": 0xDEE4877A8B37689B,
    "layer3": 0xE6E642DC76F6BD5B,
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


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    shifted = x - torch.where(empty, 0.0, top)
    return shifted - torch.log(torch.where(empty, 1.0, torch.exp(shifted).sum(dim=axes, keepdim=True)))


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = x.new_zeros(dims)
    whole[slices] = x
    return whole


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
