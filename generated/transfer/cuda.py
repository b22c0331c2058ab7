"""What was learned on other data or for other tasks serves this one (inventory L1 to L6, L12).

Made from specs/transfer/transfer.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/transfer/transfer.lee
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


def among(z, y, chosen):
    """Cross-entropy of the chosen examples.

    z [n, k], y int[n], chosen bool[n] -> []
    """
    sum_ = (chosen.to(FLOAT) * cross_entropy(z, y)).sum()  # transfer.lee:12
    return sum_ / chosen.to(torch.int64).sum().to(FLOAT)


def accuracy_among(z, y, chosen):
    """The share of the chosen examples that are called right.

    z [n, k], y int[n], chosen bool[n] -> []
    """
    sum_ = (chosen & (z.argmax(dim=1) == y)).to(torch.int64).sum()  # transfer.lee:17
    return sum_.to(FLOAT) / chosen.to(torch.int64).sum().to(FLOAT)


@torch.no_grad()
def fine_tuned(epochs=6, more=3, batch=32, rate=3e-3, small=0.05, *, run=None):
    """Learned on 0 to 4, then trained further on 5 to 9."""
    from leec.runtime.run import Run

    run = run or Run("fine_tuned", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 32, 10), key=run.key("net")).to(run.session.place.device)  # transfer.lee:26
    opt = Adam(lr=rate)  # transfer.lee:27
    step = FineTunedStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # transfer.lee:30
    own = SGD(lr=small)  # transfer.lee:31
    step_ = FineTunedStep2(net, own)
    for epoch in run.loop("epoch_2", 1, more, net=net, own=own):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(step_(x, y))  # transfer.lee:34
    run.report(own=fine_tuned_own(net, data.test.x, data.test.y))  # transfer.lee:35
    return net


class FineTunedStep(TrainStep):
    """One step of fine_tuned for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, y, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 32]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        lt = y < 5  # bool[batches_n]  transfer.lee:30
        cast_chosen = lt.to(FLOAT)  # [batches_n]  transfer.lee:12
        each = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        cast = lt.to(torch.int64).sum().to(FLOAT)  # transfer.lee:12
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]  losses.lee:45
        sub = torch.softmax(affine_2, dim=1) - eq.to(FLOAT)  # [batches_n, 10]
        d_add_2 = sub * (1 / cast * cast_chosen)[:, None]  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [32, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 32]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [32]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 32]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (cast_chosen * each).sum() / cast  # transfer.lee:12


class FineTunedStep2(TrainStep):
    """One step of fine_tuned for net, own: call it with a batch."""

    moved = (("own", ("net",)),)
    counted = ("own",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
    spare = (1,)

    def __init__(self, net, own):
        self.net, self.own = net, own
        self.bind()

    def constants(self):
        return (self.own.lr, self.own.weight_decay)

    def step(self, x, y):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_2_n, 32]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_2_n, 10]  nn.lee:21
        ge = y >= 5  # bool[batches_2_n]  transfer.lee:34
        cast_chosen = ge.to(FLOAT)  # [batches_2_n]  transfer.lee:12
        each = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_2_n]  losses.lee:45
        cast = ge.to(torch.int64).sum().to(FLOAT)  # transfer.lee:12
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_2_n, 10]  losses.lee:45
        sub = torch.softmax(affine_2, dim=1) - eq.to(FLOAT)  # [batches_2_n, 10]
        d_add_2 = sub * (1 / cast * cast_chosen)[:, None]  # [batches_2_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [32, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_2_n, 32]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [32]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 32]
        lr = self.own.lr
        weight_decay = self.own.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return (cast_chosen * each).sum() / cast  # transfer.lee:12


def fine_tuned_own(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> []"""
    own = accuracy_among(net(data_test_x), data_test_y, data_test_y >= 5)  # transfer.lee:35
    return own


def near_source_saved(net, source, x, y, weight=0.01):
    """As near_source, and what its gradient needs."""
    if net.sizes[0] != source.sizes[0]:
        raise ValueError(
            f"transfer.lee:44: net.sizes_0 = {net.sizes[0]} " f"must equal source.sizes_0 = {source.sizes[0]}"
        )
    if net.sizes[1] != source.sizes[1]:
        raise ValueError(
            f"transfer.lee:44: net.sizes_1 = {net.sizes[1]} " f"must equal source.sizes_1 = {source.sizes[1]}"
        )
    if net.sizes[2] != source.sizes[2]:
        raise ValueError(
            f"transfer.lee:44: net.sizes_2 = {net.sizes[2]} " f"must equal source.sizes_2 = {source.sizes[2]}"
        )
    add_2, saved_net = net.forward_saved(x)  # transfer.lee:44
    sub = net.layers[0].w - source.layers[0].w.reshape(net.sizes[0], net.sizes[1])  # [net.sizes_0, net.sizes_1]
    sub_2 = net.layers[0].b - source.layers[0].b.reshape(net.sizes[1])  # [net.sizes_1]
    sub_3 = net.layers[1].w - source.layers[1].w.reshape(net.sizes[1], net.sizes[2])  # [net.sizes_1, net.sizes_2]
    sub_4 = net.layers[1].b - source.layers[1].b.reshape(net.sizes[2])  # [net.sizes_2]
    add_3 = (sub**2).sum() + (sub_2**2).sum() + (sub_3**2).sum()
    mul_5 = weight * (add_3 + (sub_4**2).sum())
    return cross_entropy_2(add_2, y) + mul_5, (add_2, saved_net, sub, sub_2, sub_3, sub_4)


def near_source_backward(net, x, y, weight, saved, source_sizes_0, source_sizes_1, source_sizes_2, d_add_5):
    """From d_add_5 to the gradients by net, source and x."""
    add_2, saved_net, sub, sub_2, sub_3, sub_4 = saved
    # gradient of return cross_entropy(net(x), y) + weight * sum((net - source) ** 2)   transfer.lee:44
    mul = 2 * (d_add_5 * weight)
    d_sub_4 = mul * sub_4  # [net.sizes_2]
    d_source_layers_1_b = (-d_sub_4).reshape(source_sizes_2)  # [source.sizes_2]
    d_sub_3 = mul * sub_3  # [net.sizes_1, net.sizes_2]
    d_source_layers_1_w = (-d_sub_3).reshape(source_sizes_1, source_sizes_2)  # [source.sizes_1, source.sizes_2]
    d_sub_2 = mul * sub_2  # [net.sizes_1]
    d_source_layers_0_b = (-d_sub_2).reshape(source_sizes_1)  # [source.sizes_1]
    d_sub = mul * sub  # [net.sizes_0, net.sizes_1]
    d_source_layers_0_w = (-d_sub).reshape(source_sizes_0, source_sizes_1)  # [source.sizes_0, source.sizes_1]
    d_add_2 = cross_entropy_2_backward(add_2, y, d_add_5)  # [n, net.sizes_2]
    d_net, d_x = net.forward_backward(x, saved_net, d_add_2)
    d_net_layers_0_w = d_sub + d_net["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_sub_2 + d_net["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w = d_sub_3 + d_net["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_b = d_sub_4 + d_net["layers.1"]["b"]  # [net.sizes_2]
    return (
        {
            "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
            "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
        },
        {
            "layers.0": {"w": d_source_layers_0_w, "b": d_source_layers_0_b},
            "layers.1": {"w": d_source_layers_1_w, "b": d_source_layers_1_b},
        },
        d_x,
    )


def like_source_saved(net, source, x, y, weight=0.5):
    """As like_source, and what its gradient needs."""
    n = x.shape[0]
    if source.sizes[0] != net.sizes[0]:
        raise ValueError(f"source.sizes_0 = {source.sizes[0]} must equal net.sizes_0 = {net.sizes[0]}")
    if net.sizes[2] != source.sizes[2]:
        raise ValueError(f"net.sizes_2 = {net.sizes[2]} must equal source.sizes_2 = {source.sizes[2]}")
    z, saved_net = net.forward_saved(x)  # transfer.lee:49
    log_softmax_ = torch.log_softmax(z, dim=1)  # [n, net.sizes_2]  prelude.lee:127
    softmax_ = softmax(stop(source(x.reshape(n, source.sizes[0]))), (1,))  # [n, source.sizes_2]  prelude.lee:122
    reshape_2 = softmax_.reshape(n, net.sizes[2])  # [n, net.sizes_2]  transfer.lee:50
    mean_2, saved_kl = kl_saved(log_softmax_, reshape_2)
    return cross_entropy_2(z, y) + weight * mean_2, (z, saved_net, log_softmax_, reshape_2, saved_kl)


def like_source_backward(net, x, y, weight, saved, d_add):
    """From d_add to the gradients by net and x."""
    z, saved_net, log_softmax_, reshape_2, saved_kl = saved
    # gradient of return cross_entropy(z, y) + weight * kl(log_softmax(z, axis = 1), softmax(st..   transfer.lee:50
    d_log_softmax = kl_backward(reshape_2, saved_kl, d_add * weight)  # [n, net.sizes_2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax.sum(dim=1, keepdim=True)  # [n, 1]
    d_z_2 = d_log_softmax - torch.exp(log_softmax_) * sum_  # [n, net.sizes_2]
    # gradient of z = net(x)   transfer.lee:49
    d_z = d_z_2 + cross_entropy_2_backward(z, y, d_add)  # [n, net.sizes_2]
    d_net, d_x = net.forward_backward(x, saved_net, d_z)
    return d_net, d_x


@torch.no_grad()
def conservative(epochs=6, more=3, batch=32, rate=3e-3, small=0.05, weight=0.1, *, run=None):
    """Held near the source, the net learns 5 to 9 and keeps more of 0 to 4."""
    from leec.runtime.run import Run

    run = run or Run("conservative", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 32, 10), key=run.key("net")).to(run.session.place.device)  # transfer.lee:56
    opt = Adam(lr=rate)  # transfer.lee:57
    step = ConservativeStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # transfer.lee:60
    source = net.copy()  # transfer.lee:61
    own = SGD(lr=small)  # transfer.lee:62
    step_ = ConservativeStep2(net, source, own)
    for epoch in run.loop("epoch_2", 1, more, net=net, own=own, source=source):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(step_(x, y, weight))  # transfer.lee:65
    z, y = conservative_z_y(net, data.test.x, data.test.y)  # transfer.lee:66
    reported_own, reported_kept = conservative_own_kept(z, y)  # transfer.lee:68
    run.report(own=reported_own, kept=reported_kept)  # transfer.lee:68
    return net


class ConservativeStep(TrainStep):
    """One step of conservative for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, y, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 32]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        lt = y < 5  # bool[batches_n]  transfer.lee:60
        cast_chosen = lt.to(FLOAT)  # [batches_n]  transfer.lee:12
        each = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        cast = lt.to(torch.int64).sum().to(FLOAT)  # transfer.lee:12
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]  losses.lee:45
        sub = torch.softmax(affine_2, dim=1) - eq.to(FLOAT)  # [batches_n, 10]
        d_add_2 = sub * (1 / cast * cast_chosen)[:, None]  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [32, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 32]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [32]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 32]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (cast_chosen * each).sum() / cast  # transfer.lee:12


class ConservativeStep2(TrainStep):
    """One step of conservative for net, source, own: call it with a batch."""

    moved = (("own", ("net",)),)
    counted = ("own",)
    read = (
        "net.layers.0.w",
        "net.layers.0.b",
        "net.layers.1.w",
        "net.layers.1.b",
        "source.layers.0.w",
        "source.layers.0.b",
        "source.layers.1.w",
        "source.layers.1.b",
    )
    spare = (1,)

    def __init__(self, net, source, own):
        self.net, self.source, self.own = net, source, own
        self.bind()

    def constants(self):
        return (self.own.lr, self.own.weight_decay)

    def step(self, x, y, weight):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_0_w_, layers_0_b_ = self.tensors[:6]
        layers_1_w_, layers_1_b_ = self.tensors[6:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_2_n, 32]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_2_n, 10]  nn.lee:21
        ge = y >= 5  # bool[batches_2_n]  transfer.lee:65
        cast_chosen = ge.to(FLOAT)  # [batches_2_n]  transfer.lee:12
        each = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_2_n]  losses.lee:45
        cast = ge.to(torch.int64).sum().to(FLOAT)  # transfer.lee:12
        sub = layers_0_w - layers_0_w_  # [64, 32]  transfer.lee:65
        sub_2 = layers_0_b - layers_0_b_  # [32]
        sub_3 = layers_1_w - layers_1_w_  # [32, 10]
        sub_4 = layers_1_b - layers_1_b_  # [10]
        add = (sub * sub).sum() + (sub_2 * sub_2).sum()
        add_3 = add + (sub_3 * sub_3).sum() + (sub_4 * sub_4).sum()
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_2_n, 10]  losses.lee:45
        sub_5 = torch.softmax(affine_2, dim=1) - eq.to(FLOAT)  # [batches_2_n, 10]
        d_add_2 = sub_5 * (1 / cast * cast_chosen)[:, None]  # [batches_2_n, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_2_n, 32]  prelude.lee:61
        torch.mul(sub, weight, out=d_layers_0_w)  # [64, 32]  transfer.lee:65
        d_layers_0_w.mul_(2)  # [64, 32]
        d_layers_0_w.add_(x.T @ d_add)  # [64, 32]
        torch.mul(sub_2, weight, out=d_layers_0_b)  # [32]
        d_layers_0_b.mul_(2)  # [32]
        d_layers_0_b.add_(d_add.sum(dim=0))  # [32]
        torch.mul(sub_3, weight, out=d_layers_1_w)  # [32, 10]
        d_layers_1_w.mul_(2)  # [32, 10]
        d_layers_1_w.add_(x_2.T @ d_add_2)  # [32, 10]
        torch.mul(sub_4, weight, out=d_layers_1_b)  # [10]
        d_layers_1_b.mul_(2)  # [10]
        d_layers_1_b.add_(d_add_2.sum(dim=0))  # [10]
        lr = self.own.lr
        weight_decay = self.own.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return (cast_chosen * each).sum() / cast + weight * add_3


def conservative_z_y(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 10], int[data_test_n]"""
    z = net(data_test_x)  # [data_test_n, 10]  transfer.lee:66
    return z, data_test_y


def conservative_own_kept(z, y):
    """z [data_test_n, 10], y int[data_test_n] -> [], []"""
    return accuracy_among(z, y, y >= 5), accuracy_among(z, y, y < 5)  # transfer.lee:68


class Parts(Model):
    """Parts(d, hidden, classes)"""

    members = ("features", "head")

    def __init__(self, d=64, hidden=32, classes=10, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden, self.classes = d, hidden, classes
        self.features = Linear(d, hidden, key=fold(key, SITES["features"]))  # transfer.lee:76
        self.head = Linear(hidden, classes, key=fold(key, SITES["head"]))  # transfer.lee:77

    def forward(self, x):
        """x [n, d] -> [n, classes]"""
        return self.head(relu(self.features(x)))  # [n, classes]  transfer.lee:80


@torch.no_grad()
def layer_transfer(epochs=6, batch=32, rate=3e-3, *, run=None):
    """The first layer is copied, the last one learned; then all of it."""
    from leec.runtime.run import Run

    run = run or Run("layer_transfer", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    source = Parts(key=run.key("source")).to(run.session.place.device)  # transfer.lee:86
    opt = Adam(lr=rate)  # transfer.lee:87
    step = LayerTransferStep(source, opt)
    for epoch in run.loop("epoch", 1, epochs, opt=opt, source=source):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # transfer.lee:90
    net = Parts(key=run.key("net")).to(run.session.place.device)  # transfer.lee:91
    layer_transfer_net(source, net)  # transfer.lee:92
    own = Adam(lr=rate)  # transfer.lee:93
    step_ = LayerTransferStep2(net, own)
    for epoch in run.loop("epoch_2", 1, epochs, net=net, own=own):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(step_(x, y))  # transfer.lee:96
    run.report(copied=layer_transfer_copied(net, data.test.x, data.test.y))  # transfer.lee:97
    whole = Adam(lr=rate)  # transfer.lee:98
    step_2 = LayerTransferStep3(net, whole)
    for epoch in run.loop("epoch_3", 1, epochs, net=net, whole=whole):
        for x, y in run.batches("batches_3", data.train, batch, shuffle=True):
            run.step(step_2(x, y))  # transfer.lee:101
    run.report(tuned=layer_transfer_tuned(net, data.test.x, data.test.y))  # transfer.lee:102
    return net


class LayerTransferStep(TrainStep):
    """One step of layer_transfer for source, opt: call it with a batch."""

    moved = (("opt", ("source",)),)
    counted = ("opt",)
    read = ("source.features.w", "source.features.b", "source.head.w", "source.head.b")
    spare = (None,)

    def __init__(self, source, opt):
        self.source, self.opt = source, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, y, t):
        features_w, features_b, head_w, head_b = self.tensors
        d_features_w, d_features_b, d_head_w, d_head_b = self.gradients
        select = torch.relu(torch.addmm(features_b, x, features_w))  # [batches_n, 32]  prelude.lee:61
        affine = torch.addmm(head_b, select, head_w)  # [batches_n, 10]  nn.lee:21
        lt = y < 5  # bool[batches_n]  transfer.lee:90
        cast_chosen = lt.to(FLOAT)  # [batches_n]  transfer.lee:12
        each = torch.nn.functional.cross_entropy(affine, y, reduction="none")  # [batches_n]  losses.lee:45
        cast = lt.to(torch.int64).sum().to(FLOAT)  # transfer.lee:12
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]  losses.lee:45
        sub = torch.softmax(affine, dim=1) - eq.to(FLOAT)  # [batches_n, 10]
        d_add_2 = sub * (1 / cast * cast_chosen)[:, None]  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_head_b)  # [10]  nn.lee:21
        torch.mm(select.T, d_add_2, out=d_head_w)  # [32, 10]
        # [batches_n, 32]  prelude.lee:61
        d_features_out = torch.ops.aten.threshold_backward(d_add_2 @ head_w.T, select, 0)
        torch.sum(d_features_out, dim=0, out=d_features_b)  # [32]  nn.lee:21
        torch.mm(x.T, d_features_out, out=d_features_w)  # [64, 32]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (cast_chosen * each).sum() / cast  # transfer.lee:12


def layer_transfer_net(source, net):
    with torch.no_grad():
        net.features.w.copy_(source.features.w)  # [64, 32]
        net.features.b.copy_(source.features.b)  # [32]


class LayerTransferStep2(TrainStep):
    """One step of layer_transfer for net, own: call it with a batch."""

    moved = (("own", ("net.head",)),)
    counted = ("own",)
    read = ("net.features.w", "net.features.b", "net.head.w", "net.head.b")
    spare = (None,)

    def __init__(self, net, own):
        self.net, self.own = net, own
        self.bind()

    def constants(self):
        return (self.own.lr, self.own.beta1, self.own.beta2, self.own.eps, self.own.weight_decay)

    def scalars(self):
        return (self.own.t,)

    def step(self, x, y, t):
        features_w, features_b, head_w, head_b = self.tensors
        d_head_w, d_head_b = self.gradients
        select = torch.relu(torch.addmm(features_b, x, features_w))  # [batches_2_n, 32]  prelude.lee:61
        affine = torch.addmm(head_b, select, head_w)  # [batches_2_n, 10]  nn.lee:21
        ge = y >= 5  # bool[batches_2_n]  transfer.lee:96
        cast_chosen = ge.to(FLOAT)  # [batches_2_n]  transfer.lee:12
        each = torch.nn.functional.cross_entropy(affine, y, reduction="none")  # [batches_2_n]  losses.lee:45
        cast = ge.to(torch.int64).sum().to(FLOAT)  # transfer.lee:12
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_2_n, 10]  losses.lee:45
        sub = torch.softmax(affine, dim=1) - eq.to(FLOAT)  # [batches_2_n, 10]
        d_add_2 = sub * (1 / cast * cast_chosen)[:, None]  # [batches_2_n, 10]
        torch.sum(d_add_2, dim=0, out=d_head_b)  # [10]  nn.lee:21
        torch.mm(select.T, d_add_2, out=d_head_w)  # [32, 10]
        lr = self.own.lr
        beta1 = self.own.beta1
        beta2 = self.own.beta2
        eps = self.own.eps
        weight_decay = self.own.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (cast_chosen * each).sum() / cast  # transfer.lee:12


def layer_transfer_copied(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> []"""
    copied = accuracy_among(net(data_test_x), data_test_y, data_test_y >= 5)  # transfer.lee:97
    return copied


class LayerTransferStep3(TrainStep):
    """One step of layer_transfer for net, whole: call it with a batch."""

    moved = (("whole", ("net",)),)
    counted = ("whole",)
    read = ("net.features.w", "net.features.b", "net.head.w", "net.head.b")
    spare = (None,)

    def __init__(self, net, whole):
        self.net, self.whole = net, whole
        self.bind()

    def constants(self):
        return (self.whole.lr, self.whole.beta1, self.whole.beta2, self.whole.eps, self.whole.weight_decay)

    def scalars(self):
        return (self.whole.t,)

    def step(self, x, y, t):
        features_w, features_b, head_w, head_b = self.tensors
        d_features_w, d_features_b, d_head_w, d_head_b = self.gradients
        select = torch.relu(torch.addmm(features_b, x, features_w))  # [batches_3_n, 32]  prelude.lee:61
        affine = torch.addmm(head_b, select, head_w)  # [batches_3_n, 10]  nn.lee:21
        ge = y >= 5  # bool[batches_3_n]  transfer.lee:101
        cast_chosen = ge.to(FLOAT)  # [batches_3_n]  transfer.lee:12
        each = torch.nn.functional.cross_entropy(affine, y, reduction="none")  # [batches_3_n]  losses.lee:45
        cast = ge.to(torch.int64).sum().to(FLOAT)  # transfer.lee:12
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_3_n, 10]  losses.lee:45
        sub = torch.softmax(affine, dim=1) - eq.to(FLOAT)  # [batches_3_n, 10]
        d_add_2 = sub * (1 / cast * cast_chosen)[:, None]  # [batches_3_n, 10]
        torch.sum(d_add_2, dim=0, out=d_head_b)  # [10]  nn.lee:21
        torch.mm(select.T, d_add_2, out=d_head_w)  # [32, 10]
        # [batches_3_n, 32]  prelude.lee:61
        d_features_out = torch.ops.aten.threshold_backward(d_add_2 @ head_w.T, select, 0)
        torch.sum(d_features_out, dim=0, out=d_features_b)  # [32]  nn.lee:21
        torch.mm(x.T, d_features_out, out=d_features_w)  # [64, 32]
        lr = self.whole.lr
        beta1 = self.whole.beta1
        beta2 = self.whole.beta2
        eps = self.whole.eps
        weight_decay = self.whole.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (cast_chosen * each).sum() / cast  # transfer.lee:12


def layer_transfer_tuned(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> []"""
    tuned = accuracy_among(net(data_test_x), data_test_y, data_test_y >= 5)  # transfer.lee:102
    return tuned


class MultiTask(Model):
    """A trunk that tasks share, and a head for each."""

    members = ("trunk", "kind", "parity")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden, self.classes = d, hidden, classes
        self.trunk = Linear(d, hidden, key=fold(key, SITES["trunk"]))  # transfer.lee:111
        self.kind = Linear(hidden, classes, key=fold(key, SITES["kind"]))  # transfer.lee:112
        self.parity = Linear(hidden, 2, key=fold(key, SITES["parity"]))  # transfer.lee:113

    def forward(self, x):
        """x [n, d] -> [n, classes], [n, 2]"""
        h = relu(self.trunk(x))  # [n, hidden]  transfer.lee:116
        return self.kind(h), self.parity(h)  # transfer.lee:117

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        h = relu(self.trunk(x))  # [n, hidden]  transfer.lee:116
        return self.kind(h), self.parity(h), h  # transfer.lee:117

    def forward_backward(self, x, h, d_add_2, d_add_3):
        """From d_add_2 and d_add_3 to the gradients by the parameters and x."""
        # gradient of return kind(h), parity(h)   transfer.lee:117
        d_parity, d_h_2 = self.parity.forward_backward(h, d_add_3)
        d_kind, d_h_3 = self.kind.forward_backward(h, d_add_2)
        # gradient of h = relu(trunk(x))   transfer.lee:116
        d_h = d_h_2 + d_h_3  # [n, hidden]
        d_trunk, d_x = self.trunk.forward_backward(x, relu_backward(h, d_h))
        return {"trunk": d_trunk, "kind": d_kind, "parity": d_parity}, d_x


def both_tasks(net, x, y, weight=0.5):
    """Which digit it is, and whether it is odd.

    x [n, net.d], y int[n] -> []
    """
    kind_, parity = net(x)  # transfer.lee:122
    mul = weight * cross_entropy_2(parity, y % 2)  # transfer.lee:123
    return cross_entropy_2(kind_, y) + mul


def both_tasks_saved(net, x, y, weight=0.5):
    """As both_tasks, and what its gradient needs."""
    kind_, parity, saved_net = net.forward_saved(x)  # transfer.lee:122
    mod = y % 2  # int[n]  transfer.lee:123
    mul = weight * cross_entropy_2(parity, mod)
    return cross_entropy_2(kind_, y) + mul, (kind_, parity, saved_net, mod)


def both_tasks_backward(net, x, y, weight, saved, d_out):
    """From d_out to the gradients by net and x."""
    kind_, parity, saved_net, mod = saved
    # gradient of return cross_entropy(kind, y) + weight * cross_entropy(parity, y % 2)   transfer.lee:123
    d_parity = cross_entropy_2_backward(parity, mod, d_out * weight)  # [n, 2]
    d_kind = cross_entropy_2_backward(kind_, y, d_out)  # [n, net.classes]
    # gradient of kind, parity = net(x)   transfer.lee:122
    d_net, d_x = net.forward_backward(x, saved_net, d_kind, d_parity)
    return d_net, d_x


@torch.no_grad()
def multi_task(epochs=10, batch=32, rate=3e-3, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("multi_task", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MultiTask(d=64, hidden=32, classes=10, key=run.key("net")).to(run.session.place.device)  # transfer.lee:128
    opt = Adam(lr=rate)  # transfer.lee:129
    step = MultiTaskStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # transfer.lee:132
    kind_, parity = multi_task_kind_parity(net, data.test.x)  # transfer.lee:133
    reported_kind, reported_parity = multi_task_kind_parity_2(kind_, data.test.y, parity)  # transfer.lee:134
    run.report(kind=reported_kind, parity=reported_parity)  # transfer.lee:134
    return net


class MultiTaskStep(TrainStep):
    """One step of multi_task for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.trunk.w", "net.trunk.b", "net.kind.w", "net.kind.b", "net.parity.w", "net.parity.b")
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 0.5 / batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, y, t):
        trunk_w, trunk_b, kind_w, kind_b, parity_w, parity_b = self.tensors
        d_trunk_w, d_trunk_b, d_kind_w, d_kind_b, d_parity_w, d_parity_b = self.gradients
        batches_n = x.shape[0]
        count, scale, scale_ = self.held(batches_n)  # batches_n, 0.5 / batches_n, 1.0 / batches_n
        h = torch.relu(torch.addmm(trunk_b, x, trunk_w))  # [batches_n, 32]  prelude.lee:61
        kind_ = torch.addmm(kind_b, h, kind_w)  # [batches_n, 10]  nn.lee:21
        parity = torch.addmm(parity_b, h, parity_w)  # [batches_n, 2]
        surprise = torch.nn.functional.cross_entropy(kind_, y, reduction="none")  # [batches_n]  losses.lee:45
        mod = y % 2  # int[batches_n]  transfer.lee:123
        surprise_2 = torch.nn.functional.cross_entropy(parity, mod, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(2, device=x.device)[None, :] == mod[:, None]  # bool[batches_n, 2]
        d_parity = (torch.softmax(parity, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 2]
        eq_2 = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_kind = (torch.softmax(kind_, dim=1) - eq_2.to(FLOAT)) * scale_  # [batches_n, 10]
        torch.sum(d_parity, dim=0, out=d_parity_b)  # [2]  nn.lee:21
        torch.mm(h.T, d_parity, out=d_parity_w)  # [32, 2]
        torch.sum(d_kind, dim=0, out=d_kind_b)  # [10]
        torch.mm(h.T, d_kind, out=d_kind_w)  # [32, 10]
        d_h = d_parity @ parity_w.T + d_kind @ kind_w.T  # [batches_n, 32]  transfer.lee:116
        d_trunk_out = torch.ops.aten.threshold_backward(d_h, h, 0)  # [batches_n, 32]  prelude.lee:61
        torch.sum(d_trunk_out, dim=0, out=d_trunk_b)  # [32]  nn.lee:21
        torch.mm(x.T, d_trunk_out, out=d_trunk_w)  # [64, 32]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count + 0.5 * (surprise_2.sum() / count)  # transfer.lee:123


def multi_task_kind_parity(net, data_test_x):
    """data_test_x [data_test_n, 64] -> [data_test_n, 10], [data_test_n, 2]"""
    kind_, parity = net(data_test_x)  # transfer.lee:133
    return kind_, parity


def multi_task_kind_parity_2(kind_, data_test_y, parity):
    """kind [data_test_n, 10], data_test_y int[data_test_n], parity [data_test_n, 2] -> [], []"""
    return accuracy(kind_, data_test_y), accuracy(parity, data_test_y % 2)  # transfer.lee:134


def of_attributes(z, y, table):
    """Every attribute of the class is a question of yes or no.

    z [n, a], y int[n], table [k, a] -> []
    """
    wanted = table[y]  # [n, a]  transfer.lee:143
    mul_2 = (1 - wanted) * torch.nn.functional.logsigmoid(-z)  # [n, a]  transfer.lee:144
    add = wanted * torch.nn.functional.logsigmoid(z) + mul_2  # [n, a]
    return -add.sum(dim=1).mean()


def by_attributes(z, table):
    """The class whose attributes are nearest, seen or not.

    z [n, a], table [k, a] -> int[n]
    """
    sub = torch.sigmoid(z)[:, None] - table  # [n, k, a]  transfer.lee:149
    away = (sub**2).sum(dim=2)  # [n, k]
    return away.argmin(dim=1)  # int[n]  transfer.lee:150


def in_one_space(f, g, y, margin=0.5):
    """max(0, k - f(x)·g(y) + max over other classes of f(x)·g(y')): alike, and by a margin more than any other.

    f [n, d], g [k, d], y int[n] -> []
    """
    n = f.shape[0]
    k = g.shape[0]
    likeness = f @ g.T  # [n, k]  transfer.lee:155
    eq = torch.arange(k, device=f.device) == y[:, None]  # bool[n, k]  transfer.lee:156
    other = torch.where(eq, -torch.inf, likeness)  # [n, k]
    sub = margin - likeness[torch.arange(n, device=f.device), y]  # [n]  transfer.lee:157
    add = sub + largest(other, (1,), False)  # [n]
    return torch.where(0 >= add, 0, add).mean()


def in_one_space_saved(f, g, y, margin=0.5):
    """As in_one_space, and what its gradient needs."""
    n = f.shape[0]
    k = g.shape[0]
    likeness = f @ g.T  # [n, k]  transfer.lee:155
    eq = torch.arange(k, device=f.device) == y[:, None]  # bool[n, k]  transfer.lee:156
    other = torch.where(eq, -torch.inf, likeness)  # [n, k]
    sub = margin - likeness[torch.arange(n, device=f.device), y]  # [n]  transfer.lee:157
    add = sub + largest(other, (1,), False)  # [n]
    return torch.where(0 >= add, 0, add).mean(), (eq, other, add)


def in_one_space_backward(f, g, y, saved, d_out):
    """From d_out to the gradients by f and g."""
    eq, other, add = saved
    n = f.shape[0]
    k = g.shape[0]
    # gradient of return mean[i](max(0, margin - likeness[i, y[i]] + max[c](other[i, c])))   transfer.lee:157
    div = d_out / n
    ge = 0 >= add  # bool[n]
    iota = torch.arange(k, device=f.device)[None, :]  # int[1, k]
    i = torch.arange(n, device=f.device)  # int[n]
    # gradient of other[i, c] = where(c == y[i], -inf, likeness[i, c])   transfer.lee:156
    select = torch.where(eq, 0, torch.where(ge, 0, div)[:, None])  # [n, k]
    d_likeness_3 = torch.where(iota == other.argmax(dim=1)[:, None], select, 0)  # [n, k]
    # gradient of likeness = f @ g.T   transfer.lee:155
    d_likeness = scatter_add(torch.where(ge, 0, -div), (i, y), (n, k)) + d_likeness_3  # [n, k]
    d_f = d_likeness @ g  # [n, d]
    d_g = d_likeness.T @ f  # [k, d]
    return d_f, d_g


def in_one_spaceAsPrinted(f, g, y):
    """The first form of the notes, ‖f(x) - g(y)‖², lets f and g be 0.

    f [n, d], g [k, d], y int[n] -> []
    """
    sub = f - g[y]  # [n, d]  transfer.lee:162
    return (sub**2).sum(dim=1).mean()


def in_one_spaceAsPrinted_saved(f, g, y):
    """As in_one_spaceAsPrinted, and what its gradient needs."""
    sub = f - g[y]  # [n, d]  transfer.lee:162
    return (sub**2).sum(dim=1).mean(), sub


def in_one_spaceAsPrinted_backward(y, sub, k, d_out):
    """From d_out to the gradients by f and g."""
    n = y.shape[0]
    d = sub.shape[1]
    # gradient of return mean(sum((f - g[y]) ** 2, axis = 1))   transfer.lee:162
    d_f = 2 * (d_out / n) * sub  # [n, d]
    d_g = scatter_add(-d_f, (y,), (k, d))  # [k, d]
    return d_f, d_g


def convex_mix(z, words, unseen, most=2):
    """ConSE (Norouzi et al. 2014): the mean of the words of the likeliest classes, and the unseen word nearest by angle.

    z [n, k], words [k, d], unseen [m, d] -> int[n]
    """
    p = softmax(z, (1,))  # [n, k]  prelude.lee:122
    rank_of = (p[:, None] > p[:, :, None]).to(FLOAT).sum(dim=2)  # [n, k]  transfer.lee:168
    share = torch.where(rank_of < most, p, 0)  # [n, k]  transfer.lee:169
    mix = share @ words / share.sum(dim=1, keepdim=True)  # [n, d]  transfer.lee:170
    div = mix @ unseen.T / (norm(mix)[:, None] * norm(unseen))  # [n, m]  transfer.lee:171
    return div.argmax(dim=1)  # int[n]


@torch.no_grad()
def self_taught(epochs=10, batch=32, rate=3e-3, few=100, *, run=None):
    """Features from unlabelled digits by an auto-encoder, then a classifier of their codes from a hundred labels."""
    from leec.runtime.run import Run

    run = run or Run("self_taught", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    encoder = Linear(inputs=64, outputs=24, key=run.key("encoder")).to(run.session.place.device)  # transfer.lee:180
    decoder = Linear(inputs=24, outputs=64, key=run.key("decoder")).to(run.session.place.device)  # transfer.lee:181
    opt = Adam(lr=rate)  # transfer.lee:182
    step = SelfTaughtStep(encoder, decoder, opt)
    for epoch in run.loop("epoch", 1, epochs, decoder=decoder, encoder=encoder, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x))  # transfer.lee:185
    head = Linear(inputs=24, outputs=10, key=run.key("head")).to(run.session.place.device)  # transfer.lee:186
    own = Adam(lr=rate)  # transfer.lee:187
    step_ = SelfTaughtStep2(head, own)
    x, y = self_taught_x_y(encoder, data.train.x, data.train.y, few)  # transfer.lee:188
    for step_2 in run.loop("step", 1, 300, head=head, own=own):
        run.step(step_(x, y))  # transfer.lee:191
    run.report(accuracy=accuracy(head(relu(encoder(data.test.x))), data.test.y))  # transfer.lee:192
    return head


class SelfTaughtStep(TrainStep):
    """One step of self_taught for encoder, decoder, opt: call it with a batch."""

    moved = (("opt", ("encoder", "decoder")),)
    counted = ("opt",)
    read = ("encoder.w", "encoder.b", "decoder.w", "decoder.b")
    spare = (None,)

    def __init__(self, encoder, decoder, opt):
        self.encoder, self.decoder, self.opt = encoder, decoder, opt
        self.bind()

    def numbers(self, batches_n):
        return (64 * batches_n, 2 / (64 * batches_n))

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, t):
        w, b, w_, b_ = self.tensors
        d_w, d_b, d_w_, d_b_ = self.gradients
        batches_n = x.shape[0]
        scale, scale_ = self.held(batches_n)  # 64 * batches_n, 2 / (64 * batches_n)
        select = torch.relu(torch.addmm(b, x, w))  # [batches_n, 24]  prelude.lee:61
        sub = torch.addmm(b_, select, w_) - x  # [batches_n, 64]  losses.lee:13
        d_decoder_out = scale_ * sub  # [batches_n, 64]
        torch.sum(d_decoder_out, dim=0, out=d_b_)  # [64]  nn.lee:21
        torch.mm(select.T, d_decoder_out, out=d_w_)  # [24, 64]
        # [batches_n, 24]  prelude.lee:61
        d_encoder_out = torch.ops.aten.threshold_backward(d_decoder_out @ w_.T, select, 0)
        torch.sum(d_encoder_out, dim=0, out=d_b)  # [24]  nn.lee:21
        torch.mm(x.T, d_encoder_out, out=d_w)  # [64, 24]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (sub * sub).sum() / scale  # losses.lee:148


def self_taught_x_y(encoder, data_train_x, data_train_y, few):
    """data_train_x [data_train_n, 64], data_train_y int[data_train_n] -> [few, 24], int[few]"""
    x = relu(encoder(data_train_x[:few]))  # [few, 24]  transfer.lee:188
    y = data_train_y[:few]  # int[few]  transfer.lee:189
    return x, y


class SelfTaughtStep2(TrainStep):
    """One step of self_taught for head, own: call it with a batch."""

    moved = (("own", ("head",)),)
    counted = ("own",)
    read = ("head.w", "head.b")
    spare = (None,)

    def __init__(self, head, own):
        self.head, self.own = head, own
        self.bind()

    def numbers(self, few):
        return (few, 1.0 / few)

    def constants(self):
        return (self.own.lr, self.own.beta1, self.own.beta2, self.own.eps, self.own.weight_decay)

    def scalars(self):
        return (self.own.t,)

    def step(self, x, y, t):
        w, b = self.tensors
        d_w, d_b = self.gradients
        few = x.shape[0]
        count, scale = self.held(few)  # few, 1.0 / few
        head_out = torch.addmm(b, x, w)  # [few, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(head_out, y, reduction="none")  # [few]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[few, 10]
        d_head_out = (torch.softmax(head_out, dim=1) - eq.to(FLOAT)) * scale  # [few, 10]
        torch.sum(d_head_out, dim=0, out=d_b)  # [10]  nn.lee:21
        torch.mm(x.T, d_head_out, out=d_w)  # [24, 10]
        lr = self.own.lr
        beta1 = self.own.beta1
        beta2 = self.own.beta2
        eps = self.own.eps
        weight_decay = self.own.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def example_some_classes(key):
    z = normal(fold(key, SITES["z"]), (9, 4), FLOAT)  # [9, 4]  transfer.lee:200
    y = randint(fold(key, SITES["y"]), (9,), 0, 4)  # int[9]  transfer.lee:201
    gt = y > 0  # bool[9]  transfer.lee:202
    return among(z, y, gt), accuracy_among(z, y, gt)


def example_kept_near(key):
    net = MLP((5, 6, 3), key=fold(key, SITES["net"]))  # transfer.lee:206
    source = MLP((5, 6, 3), key=fold(key, SITES["source"]))  # transfer.lee:207
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  transfer.lee:208
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  transfer.lee:209
    value, saved_near_source = near_source_saved(net, source, x, y)  # transfer.lee:210
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_source, d_x = near_source_backward(net, x, y, 0.01, saved_near_source, 5, 6, 3, d_value)
    return value, net.at(d_net), net.at(d_source), d_x


def example_kept_alike(key):
    net = MLP((5, 6, 3), key=fold(key, SITES["net"]))  # transfer.lee:214
    source = MLP((5, 6, 3), key=fold(key, SITES["source"]))  # transfer.lee:215
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  transfer.lee:216
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  transfer.lee:217
    value, saved_like_source = like_source_saved(net, source, x, y)  # transfer.lee:218
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x = like_source_backward(net, x, y, 0.5, saved_like_source, d_value)
    return (
        value,
        net.at(d_net),
        net.at(
            {
                "layers.0": {"w": torch.zeros((5, 6), dtype=FLOAT), "b": torch.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": torch.zeros((6, 3), dtype=FLOAT), "b": torch.zeros(3, dtype=FLOAT)},
            }
        ),
        d_x,
    )


def example_two_tasks(key):
    net = MultiTask(5, 6, 3, key=fold(key, SITES["net"]))  # transfer.lee:222
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  transfer.lee:223
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  transfer.lee:224
    value, saved_both_tasks = both_tasks_saved(net, x, y)  # transfer.lee:225
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x = both_tasks_backward(net, x, y, 0.5, saved_both_tasks, d_value)
    return value, net.at(d_net), d_x


def example_described(key):
    z = normal(fold(key, SITES["z"]), (9, 5), FLOAT)  # [9, 5]  transfer.lee:229
    y = randint(fold(key, SITES["y"]), (9,), 0, 4)  # int[9]  transfer.lee:230
    table = (uniform(fold(key, SITES["table"]), (4, 5), FLOAT) < 0.5).to(FLOAT)  # [4, 5]  transfer.lee:231
    return of_attributes(z, y, table), by_attributes(z, table)  # transfer.lee:232


def example_embedded(key):
    f = normal(fold(key, SITES["f"]), (9, 5), FLOAT)  # [9, 5]  transfer.lee:236
    g = normal(fold(key, SITES["g"]), (4, 5), FLOAT)  # [4, 5]  transfer.lee:237
    y = randint(fold(key, SITES["y"]), (9,), 0, 4)  # int[9]  transfer.lee:238
    value, saved_in_one_space = in_one_space_saved(f, g, y)  # transfer.lee:239
    d_value = torch.ones((), dtype=FLOAT)
    d_f, d_g = in_one_space_backward(f, g, y, saved_in_one_space, d_value)
    return value, d_f, d_g


def example_embedded_as_printed(key):
    f = normal(fold(key, SITES["f"]), (9, 5), FLOAT)  # [9, 5]  transfer.lee:243
    g = normal(fold(key, SITES["g"]), (4, 5), FLOAT)  # [4, 5]  transfer.lee:244
    y = randint(fold(key, SITES["y"]), (9,), 0, 4)  # int[9]  transfer.lee:245
    value, saved_in_one_spaceAsPrinted = in_one_spaceAsPrinted_saved(f, g, y)  # transfer.lee:246
    d_value = torch.ones((), dtype=FLOAT)
    d_f, d_g = in_one_spaceAsPrinted_backward(y, saved_in_one_spaceAsPrinted, 4, d_value)
    return value, d_f, d_g


def example_mixed(key):
    z = normal(fold(key, SITES["z"]), (9, 4), FLOAT)  # [9, 4]  transfer.lee:250
    words = normal(fold(key, SITES["words"]), (4, 5), FLOAT)  # [4, 5]  transfer.lee:251
    unseen = normal(fold(key, SITES["unseen"]), (3, 5), FLOAT)  # [3, 5]  transfer.lee:252
    return convex_mix(z, words, unseen)  # int[9]  transfer.lee:253


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


@packed(0, z=(0, 2), y=(0, 1))
def cross_entropy(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> [..]
    """
    surprise = torch.nn.functional.cross_entropy(z, y, reduction="none")  # [rows]  losses.lee:45
    return reduced(surprise)  # [rows]  losses.lee:46


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy_2(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    surprise = torch.nn.functional.cross_entropy(z, y, reduction="none")  # [rows]  losses.lee:45
    return reduced_2(surprise)  # losses.lee:46


def cross_entropy_2_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_2_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    d_z = (torch.softmax(z, dim=1) - eq.to(FLOAT)) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def kl_saved(log_q, p):
    """As kl, and what its gradient needs."""
    gt = p > 0  # bool[p_0, p_1]  losses.lee:99
    share = torch.where(gt, p * (torch.log(torch.where(gt, p, 1)) - log_q), 0)  # [p_0, p_1]
    return reduced_2(share.sum(dim=1)), gt  # losses.lee:100


def kl_backward(p, gt, d_mean):
    """From d_mean to the gradient by log_q."""
    p_0 = p.shape[0]
    # gradient of share = where(p > 0, p * (log(where(p > 0, p, 1)) - log_q), 0)   losses.lee:99
    d_log_q = torch.where(gt, -(reduced_2_backward(p_0, d_mean)[:, None] * p), 0)  # [p_0, p_1]
    return d_log_q  # [p_0, p_1]


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> [each_0]
    """
    return each  # [each_0]


def reduced_2(each):
    """The mean of all, or each by itself.

    each [each_0] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_2_backward(each_0, d_y):
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


class MLP(Model):
    """Linear layers with relu between them: MLP((64, 128, 10)) has one hidden layer of 128."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        super().__init__()
        self.sizes = sizes
        # nn.lee:37
        self.layers = torch.nn.ModuleList(
            [
                Linear(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
                Linear(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
            ]
        )

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


class SGD(Optimizer):
    """θ ← θ - η (g + λ θ)"""

    def __init__(self, lr=0.01, weight_decay=0.0):
        self.lr, self.weight_decay = lr, weight_decay

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        θ.sub_(self.lr * (g + self.weight_decay * θ))  # [count]  optim.lee:11


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


def stop(x):
    """x, through which no gradient flows.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x.detach()  # [x_0, x_1]  prelude.lee:18


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


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> [x_0]
    """
    return sqrt((x**2).sum(dim=1))  # [x_0]  prelude.lee:163


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "f": 0xDB8E39B68F0C962E,
    "features": 0x68EC62D07E1EEF3E,
    "g": 0xBC30DBAED87C766C,
    "head": 0xBD7890018BD219D5,
    "kind": 0x59F77F5C0BDD245A,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "parity": 0x768AC4F8095D28C7,
    "source": 0x32059B96193B42A7,
    "table": 0x4F51E0D95EBC91EB,
    "trunk": 0xFF2A513D7D15F4C6,
    "unseen": 0x73DAEA400DC50011,
    "w": 0x20925082A2286B9E,
    "words": 0x00F658E1AEE31D49,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
    "z": 0x3041FD28A7B04184,
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
