"""Layers that are small by design (inventory O9, O10): a narrow layer in between, and convolution channel by channel.

Made from specs/compression/architecture.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/compression/architecture.lee
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


def factors(w, k):
    """The two matrices of rank k whose product is nearest to w.

    w [m, n] -> [m, k], [k, n]
    """
    u, s, v = svd(no_wider(w))  # architecture.lee:15
    return u[:, :k] * s[:k], v[:, :k].T  # architecture.lee:16


def factors_saved(w, k):
    """As factors, and what its gradient needs."""
    u, s, v = svd(no_wider(w))  # architecture.lee:15
    return u[:, :k] * s[:k], v[:, :k].T, (u, s, v)  # architecture.lee:16


def factors_backward(saved, d_mul, d_transpose):
    """From d_mul and d_transpose to the gradient by w."""
    u, s, v = saved
    m, n = u.shape
    k = d_mul.shape[1]
    # gradient of return u[:, :k] * s[:k], v[:, :k].T   architecture.lee:16
    d_v = unslice(d_transpose.T, (n, n), (slice(0, n), slice(0, k)))  # [n, n]
    d_s = unslice((d_mul * u[:, :k]).sum(dim=0), (n,), (slice(0, k),))  # [n]
    d_u = unslice(d_mul * s[:k], (m, n), (slice(0, m), slice(0, k)))  # [m, n]
    # gradient of u, s, v = svd(w)   architecture.lee:15
    reshape = s[:, None]  # [n, 1]
    contract = u.T @ d_u  # [n, n]
    max_ = largest(torch.abs(s), (0,), False)
    reciprocal_2 = reciprocal_or_zero(s - reshape, max_)  # [n, n]
    mul_3 = reciprocal_2 * reciprocal_or_zero(s + reshape, max_)  # [n, n]
    reciprocal_3 = reciprocal_or_zero(s, max_[None, None])  # [1, n]
    contract_3 = v.T @ d_v  # [n, n]
    mul_8 = reshape * (mul_3 * (contract_3 - contract_3.T))  # [n, n]
    contract_4 = u @ (mul_3 * (contract - contract.T) * s + mul_8)  # [m, n]
    d_w = (u * d_s + (d_u - u @ contract) * reciprocal_3 + contract_4) @ v.T  # [m, n]
    return d_w  # [m, n]


class Wide(Model):
    """Wide(d, hidden, classes)"""

    members = ("up", "down")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden, self.classes = d, hidden, classes
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # architecture.lee:20
        self.down = Linear(hidden, classes, key=fold(key, SITES["down"]))  # architecture.lee:21

    def forward(self, x):
        """x [n, d] -> [n, classes]"""
        return self.down(relu(self.up(x)))  # [n, classes]  architecture.lee:24


class Narrow(Model):
    """A layer of K neurons in between: (d + hidden) K weights take the place of d · hidden."""

    members = ("u", "v", "b", "down")

    def __init__(self, d, k, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.d, self.k, self.hidden, self.classes = d, k, hidden, classes
        # [d, k]  architecture.lee:29
        self.u = torch.nn.Parameter(1 / math.sqrt(d) * normal(fold(key, SITES["u"]), (d, k), FLOAT))
        # [k, hidden]  architecture.lee:30
        self.v = torch.nn.Parameter(1 / math.sqrt(k) * normal(fold(key, SITES["v"]), (k, hidden), FLOAT))
        self.b = torch.nn.Parameter(torch.zeros(hidden, dtype=FLOAT))  # [hidden]  architecture.lee:31
        self.down = Linear(hidden, classes, key=fold(key, SITES["down"]))  # architecture.lee:32

    def forward(self, x):
        """x [n, d] -> [n, classes]"""
        return self.down(relu(torch.addmm(self.b, x @ self.u, self.v)))  # [n, classes]  architecture.lee:35

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        contract = x @ self.u  # [n, k]  architecture.lee:35
        select = relu(torch.addmm(self.b, contract, self.v))  # [n, hidden]
        return self.down(select), (contract, select)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        contract, select = saved
        # gradient of return down(relu(x @ u @ v + b))   architecture.lee:35
        d_down, d_select = self.down.forward_backward(select, d_y)
        d_add = relu_backward(select, d_select)  # [n, hidden]
        d_b = d_add.sum(dim=0)  # [hidden]
        d_contract = d_add @ self.v.T  # [n, k]
        d_v = contract.T @ d_add  # [k, hidden]
        d_x = d_contract @ self.u.T  # [n, d]
        d_u = x.T @ d_contract  # [d, k]
        return {"u": d_u, "v": d_v, "b": d_b, "down": d_down}, d_x


def narrowed(net, k, key):
    """The net whose first layer has rank k."""
    u, v = factors(net.up.w, k)  # architecture.lee:41
    return Narrow(net.d, k, net.hidden, net.classes).at(
        {"u": u, "v": v, "b": net.up.b, "down": {"w": net.down.w, "b": net.down.b}}
    )


def narrowed_saved(net, k, key):
    """As narrowed, and what its gradient needs."""
    u, v, saved_factors = factors_saved(net.up.w, k)  # architecture.lee:41
    return (
        Narrow(net.d, k, net.hidden, net.classes).at(
            {"u": u, "v": v, "b": net.up.b, "down": {"w": net.down.w, "b": net.down.b}}
        ),
        saved_factors,
    )


def narrowed_backward(saved_factors, d_narrow):
    """From d_narrow to the gradient by net."""
    # gradient of u, v = factors(net.up.w, k)   architecture.lee:41
    d_net_up_w = factors_backward(saved_factors, d_narrow["u"], d_narrow["v"])  # [net.d, net.hidden]
    return {"up": {"w": d_net_up_w, "b": d_narrow["b"]}, "down": d_narrow["down"]}


@torch.no_grad()
def low_rank(epochs=8, more=4, batch=32, rate=3e-3, k=6, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("low_rank", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Wide(d=64, hidden=64, classes=10, key=run.key("net")).to(run.session.place.device)  # architecture.lee:51
    opt = Adam(lr=rate)  # architecture.lee:52
    step = LowRankStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # architecture.lee:55
    small = Narrow(d=64, k=k, hidden=64, classes=10, key=run.key("small")).to(run.session.place.device)
    x, y = low_rank_small_x_y(net, data.test.x, data.test.y, small, key=run.key("low_rank"))  # architecture.lee:56
    reported_whole, reported_cut, reported_left = low_rank_whole_cut_left(net, x, y, small)  # architecture.lee:58
    run.report(whole=reported_whole, cut=reported_cut, left=reported_left)  # architecture.lee:58
    own = Adam(lr=rate)  # architecture.lee:59
    step_ = LowRankStep2(small, own)
    for epoch in run.loop("epoch_2", 1, more, own=own, small=small):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(step_(x, y))  # architecture.lee:62
    run.report(tuned=accuracy(small(data.test.x), data.test.y))  # architecture.lee:63
    return small


class LowRankStep(TrainStep):
    """One step of low_rank for net, opt: call it with a batch."""

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


def low_rank_small_x_y(net, data_test_x, data_test_y, small, key):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n]"""
    k = small.u.shape[1]
    small_ = narrowed(net, k, fold(key, SITES["small"]))  # architecture.lee:56
    with torch.no_grad():
        small.u.copy_(small_.u)  # [64, k]
        small.v.copy_(small_.v)  # [k, 64]
        small.b.copy_(small_.b)  # [64]
        small.down.w.copy_(small_.down.w)  # [64, 10]
        small.down.b.copy_(small_.down.b)  # [10]
    return data_test_x, data_test_y


def low_rank_whole_cut_left(net, x, y, small):
    """x [data_test_n, 64], y int[data_test_n] -> [], [], []"""
    k = small.u.shape[1]
    return accuracy(net(x), y), accuracy(small(x), y), (128 * k + 714) / 4810  # architecture.lee:58


class LowRankStep2(TrainStep):
    """One step of low_rank for small, own: call it with a batch."""

    moved = (("own", ("small",)),)
    counted = ("own",)
    read = ("small.u", "small.v", "small.b", "small.down.w", "small.down.b")
    spare = (None,)

    def __init__(self, small, own):
        self.small, self.own = small, own
        self.bind()

    def numbers(self, batches_2_n):
        return (batches_2_n, 1.0 / batches_2_n)

    def constants(self):
        return (self.own.lr, self.own.beta1, self.own.beta2, self.own.eps, self.own.weight_decay)

    def scalars(self):
        return (self.own.t,)

    def step(self, x, y, t):
        u, v, b, down_w, down_b = self.tensors
        d_u, d_v, d_b, d_down_w, d_down_b = self.gradients
        batches_2_n = x.shape[0]
        count, scale = self.held(batches_2_n)  # batches_2_n, 1.0 / batches_2_n
        contract = x @ u  # [batches_2_n, k]  architecture.lee:35
        select = torch.relu(torch.addmm(b, contract, v))  # [batches_2_n, 64]  prelude.lee:61
        small_out = torch.addmm(down_b, select, down_w)  # [batches_2_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(small_out, y, reduction="none")  # [batches_2_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_2_n, 10]
        d_small_out = (torch.softmax(small_out, dim=1) - eq.to(FLOAT)) * scale  # [batches_2_n, 10]
        torch.sum(d_small_out, dim=0, out=d_down_b)  # [10]  nn.lee:21
        torch.mm(select.T, d_small_out, out=d_down_w)  # [64, 10]
        # [batches_2_n, 64]  prelude.lee:61
        d_add = torch.ops.aten.threshold_backward(d_small_out @ down_w.T, select, 0)
        torch.sum(d_add, dim=0, out=d_b)  # [64]  architecture.lee:35
        torch.mm(contract.T, d_add, out=d_v)  # [k, 64]
        torch.mm(x.T, d_add @ v.T, out=d_u)  # [64, k]
        lr = self.own.lr
        beta1 = self.own.beta1
        beta2 = self.own.beta2
        eps = self.own.eps
        weight_decay = self.own.weight_decay
        for θ, g, m, v_ in self.blocks[0]:
            adam_(θ, g, m, v_, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def depthwise(x, kernel):
    """Every channel has a filter of its own, and none sees another channel.

    x [n, c, h, w], kernel [c, k, k] -> [n, c, h, w]
    """
    _, c, h, w = x.shape
    k = kernel.shape[1]
    # [n, c, h + 2 * (k // 2), w + 2 * (k // 2)]  architecture.lee:72
    padded = torch.nn.functional.pad(x, (k // 2, k // 2, k // 2, k // 2, 0, 0, 0, 0), value=0.0)
    slice_ = padded[:, :, : h + k - 1, : k + w - 1]  # [n, c, h + k - 1, k + w - 1]  architecture.lee:73
    y = torch.nn.functional.conv2d(slice_, kernel[:, None], groups=c)  # [n, c, h, w]
    return y  # [n, c, h, w]


def depthwise_saved(x, kernel):
    """As depthwise, and what its gradient needs."""
    _, c, h, w = x.shape
    k = kernel.shape[1]
    # [n, c, h + 2 * (k // 2), w + 2 * (k // 2)]  architecture.lee:72
    padded = torch.nn.functional.pad(x, (k // 2, k // 2, k // 2, k // 2, 0, 0, 0, 0), value=0.0)
    slice_ = padded[:, :, : h + k - 1, : k + w - 1]  # [n, c, h + k - 1, k + w - 1]  architecture.lee:73
    y = torch.nn.functional.conv2d(slice_, kernel[:, None], groups=c)  # [n, c, h, w]
    return y, slice_


def depthwise_backward(kernel, slice_, d_y):
    """From d_y to the gradients by x and kernel."""
    c, k, _ = kernel.shape
    n = slice_.shape[0]
    _, _, h, w = d_y.shape
    # gradient of y[n, c, i in h, j in w] = sum[a in k, b in k](padded[n, c, i + a, j + b] * ke..   architecture.lee:73
    reshape = kernel[:, None]  # [c, 1, k, k]
    d_reshape = torch.nn.grad.conv2d_weight(slice_, (c, 1, k, k), d_y, groups=c)  # [c, 1, k, k]
    d_slice = torch.nn.functional.conv_transpose2d(d_y, reshape, groups=c)  # [n, c, h + k - 1, k + w - 1]
    # [n, c, h + 2 * (k // 2), w + 2 * (k // 2)]
    d_padded = unslice(
        d_slice,
        (n, c, h + 2 * (k // 2), w + 2 * (k // 2)),
        (slice(0, n), slice(0, c), slice(0, h + k - 1), slice(0, k + w - 1)),
    )
    d_kernel = d_reshape.reshape(c, k, k)  # [c, k, k]
    # gradient of padded = pad(x, (0, 0, k // 2, k // 2))   architecture.lee:72
    d_x = d_padded[:, :, k // 2 : h + k // 2, k // 2 : w + k // 2]  # [n, c, h, w]
    return d_x, d_kernel


def pointwise(x, weight):
    """1 × 1: channels are mixed, and no pixel sees another pixel.

    x [n, c, h, w], weight [c, o] -> [n, o, h, w]
    """
    n, c, h, w = x.shape
    o = weight.shape[1]
    y = (weight.T @ x.reshape(n, c, h * w)).reshape(n, o, h, w)  # [n, o, h, w]  architecture.lee:79
    return y  # [n, o, h, w]


def pointwise_backward(x, weight, d_y):
    """From d_y to the gradients by x and weight."""
    n, c, h, w = x.shape
    o = weight.shape[1]
    # gradient of y[n, o, i, j] = sum[c](x[n, c, i, j] * weight[c, o])   architecture.lee:79
    reshape = d_y.reshape(n, o, h * w)  # [n, o, h * w]
    d_x = (weight @ reshape).reshape(n, c, h, w)  # [n, c, h, w]
    d_weight = (x.reshape(n, c, h * w) @ reshape.mT).sum(dim=0)  # [c, o]
    return d_x, d_weight


class Separable(Model):
    """k² c + c o weights take the place of k² c o."""

    members = ("kernel", "weight", "bias")

    def __init__(self, inputs, outputs, k=3, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs, self.k = inputs, outputs, k
        uniform_ = uniform(fold(key, SITES["kernel"]), (inputs, k, k), FLOAT)  # [inputs, k, k]  architecture.lee:85
        key_3 = fold(key, SITES["weight"])  # architecture.lee:86
        sub_2 = 1 / math.sqrt(inputs) - -1 / math.sqrt(inputs)
        self.kernel = torch.nn.Parameter(-1 / k + (1 / k - -1 / k) * uniform_)  # [inputs, k, k]  architecture.lee:85
        # [inputs, outputs]  architecture.lee:86
        self.weight = torch.nn.Parameter(-1 / math.sqrt(inputs) + sub_2 * uniform(key_3, (inputs, outputs), FLOAT))
        self.bias = torch.nn.Parameter(torch.zeros(outputs, dtype=FLOAT))  # [outputs]  architecture.lee:87

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, h, w]"""
        y_2 = pointwise(depthwise(x, self.kernel), self.weight)  # [n, outputs, h, w]  architecture.lee:90
        return y_2 + self.bias[:, None, None]  # [n, outputs, h, w]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        y, saved_depthwise = depthwise_saved(x, self.kernel)  # architecture.lee:90
        return pointwise(y, self.weight) + self.bias[:, None, None], (y, saved_depthwise)

    def forward_backward(self, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        y, saved_depthwise = saved
        # gradient of return pointwise(depthwise(x, kernel), weight) + bias[:, None, None]   architecture.lee:90
        d_bias = d_y.sum(dim=0).sum(dim=(1, 2))  # [outputs]
        d_y_, d_weight = pointwise_backward(y, self.weight, d_y)
        d_x, d_kernel = depthwise_backward(self.kernel, saved_depthwise, d_y_)
        return {"kernel": d_kernel, "weight": d_weight, "bias": d_bias}, d_x


class Classifier(Model):
    """Classifier(width, classes)"""

    members = ("conv1", "conv2", "head")

    def __init__(self, width=16, classes=10, *, key=(0, 0)):
        super().__init__()
        self.width, self.classes = width, classes
        self.conv1 = Separable(1, width, key=fold(key, SITES["conv1"]))  # architecture.lee:94
        self.conv2 = Separable(width, 2 * width, key=fold(key, SITES["conv2"]))  # architecture.lee:95
        self.head = Linear(8 * width, classes, key=fold(key, SITES["head"]))  # architecture.lee:96

    def forward(self, image):
        """image [n, 1, 8, 8] -> [n, classes]"""
        n = image.shape[0]
        h = relu_2(max_pool_(self.conv1(image)))  # [n, width, 4, 4]  architecture.lee:99
        h_2 = relu_2(max_pool_(self.conv2(h)))  # [n, 2 * width, 2, 2]  architecture.lee:100
        return self.head(h_2.reshape(n, 8 * self.width))  # [n, classes]  architecture.lee:101


@torch.no_grad()
def separable(epochs=8, batch=32, rate=5e-3, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("separable", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    net = Classifier(key=run.key("net")).to(run.session.place.device)  # architecture.lee:106
    opt = Adam(lr=rate)  # architecture.lee:107
    step = SeparableStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # architecture.lee:110
    reported_accuracy, reported_weights = separable_accuracy_weights(net, data.test.x, data.test.y)
    run.report(accuracy=reported_accuracy, weights=reported_weights)  # architecture.lee:111
    return net


class SeparableStep(TrainStep):
    """One step of separable for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.conv1.kernel",
        "net.conv1.weight",
        "net.conv1.bias",
        "net.conv2.kernel",
        "net.conv2.weight",
        "net.conv2.bias",
        "net.head.w",
        "net.head.b",
    )
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
        conv1_kernel, conv1_weight, conv1_bias, conv2_kernel, conv2_weight, conv2_bias = self.tensors[:6]
        head_w, head_b = self.tensors[6:]
        d_conv1_kernel, d_conv1_weight, d_conv1_bias, d_conv2_kernel, d_conv2_weight = self.gradients[:5]
        d_conv2_bias, d_head_w, d_head_b = self.gradients[5:]
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        reshape = conv1_kernel.reshape(1, 1, 3, 3)  # [1, 1, 3, 3]  architecture.lee:73
        # [batches_n, 1, 64]  architecture.lee:79
        reshape_2 = torch.nn.functional.conv2d(x, reshape, padding=1).reshape(batches_n, 1, 64)
        y_2_2_2 = (conv1_weight.T @ reshape_2).reshape(batches_n, 16, 8, 8)  # [batches_n, 16, 8, 8]
        conv1_out = y_2_2_2 + conv1_bias[:, None, None]  # [batches_n, 16, 8, 8]  architecture.lee:90
        y_2 = max_pool(conv1_out, (2, 2), (2, 2), (1, 1), (0, 0))  # [batches_n, 16, 4, 4]  nn.lee:130
        h = torch.relu(y_2)  # [batches_n, 16, 4, 4]  prelude.lee:61
        reshape_2_2 = conv2_kernel[:, None]  # [16, 1, 3, 3]  architecture.lee:73
        y_3 = torch.nn.functional.conv2d(h, reshape_2_2, padding=1, groups=16)  # [batches_n, 16, 4, 4]
        reshape_4 = y_3.reshape(batches_n, 16, 16)  # [batches_n, 16, 16]  architecture.lee:79
        y_2_3 = (conv2_weight.T @ reshape_4).reshape(batches_n, 32, 4, 4)  # [batches_n, 32, 4, 4]
        conv2_out = y_2_3 + conv2_bias[:, None, None]  # [batches_n, 32, 4, 4]  architecture.lee:90
        y_2_2 = max_pool(conv2_out, (2, 2), (2, 2), (1, 1), (0, 0))  # [batches_n, 32, 2, 2]  nn.lee:130
        h_2 = torch.relu(y_2_2)  # [batches_n, 32, 2, 2]  prelude.lee:61
        reshape_6 = h_2.reshape(batches_n, 128)  # [batches_n, 128]  architecture.lee:101
        affine = torch.addmm(head_b, reshape_6, head_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_3 = (torch.softmax(affine, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_3, dim=0, out=d_head_b)  # [10]  nn.lee:21
        torch.mm(reshape_6.T, d_add_3, out=d_head_w)  # [128, 10]
        d_h_2 = (d_add_3 @ head_w.T).reshape(batches_n, 32, 2, 2)  # [batches_n, 32, 2, 2]  architecture.lee:101
        d_y_2 = torch.ops.aten.threshold_backward(d_h_2, h_2, 0)  # [batches_n, 32, 2, 2]  prelude.lee:61
        # [batches_n, 32, 4, 4]  nn.lee:130
        d_conv2_out = max_pool_gradient(d_y_2, conv2_out, y_2_2, (2, 2), (2, 2), (1, 1), (0, 0))
        torch.sum(d_conv2_out, dim=(0, 2, 3), out=d_conv2_bias)  # [32]  architecture.lee:90
        reshape_8 = d_conv2_out.reshape(batches_n, 32, 16)  # [batches_n, 32, 16]  architecture.lee:79
        d_y_3 = (conv2_weight @ reshape_8).reshape(batches_n, 16, 4, 4)  # [batches_n, 16, 4, 4]
        torch.sum(reshape_4 @ reshape_8.mT, dim=0, out=d_conv2_weight)  # [16, 32]
        # [16, 1, 3, 3]  architecture.lee:73
        d_reshape_2 = torch.nn.grad.conv2d_weight(h, (16, 1, 3, 3), d_y_3, padding=1, groups=16)
        d_conv2_kernel.copy_(d_reshape_2.reshape(16, 3, 3))  # [16, 3, 3]
        # [batches_n, 16, 4, 4]  architecture.lee:72
        d_h = torch.nn.functional.conv_transpose2d(d_y_3, reshape_2_2, padding=1, groups=16)
        d_y = torch.ops.aten.threshold_backward(d_h, h, 0)  # [batches_n, 16, 4, 4]  prelude.lee:61
        # [batches_n, 16, 8, 8]  nn.lee:130
        d_conv1_out = max_pool_gradient(d_y, conv1_out, y_2, (2, 2), (2, 2), (1, 1), (0, 0))
        torch.sum(d_conv1_out, dim=(0, 2, 3), out=d_conv1_bias)  # [16]  architecture.lee:90
        reshape_9 = d_conv1_out.reshape(batches_n, 16, 64)  # [batches_n, 16, 64]  architecture.lee:79
        torch.sum(reshape_2 @ reshape_9.mT, dim=0, out=d_conv1_weight)  # [1, 16]
        d_y_4 = (conv1_weight @ reshape_9).reshape(batches_n, 1, 8, 8)  # [batches_n, 1, 8, 8]
        # [1, 1, 3, 3]  architecture.lee:73
        d_reshape_3 = torch.nn.grad.conv2d_weight(x, (1, 1, 3, 3), d_y_4, padding=1)
        d_conv1_kernel.copy_(d_reshape_3.reshape(1, 3, 3))  # [1, 3, 3]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def separable_accuracy_weights(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 1, 8, 8], data_test_y int[data_test_n] -> [], []"""
    return accuracy(net(data_test_x), data_test_y), 2019  # architecture.lee:111


def example_cut_down(key):
    net = Wide(7, 5, 3, key=fold(key, SITES["net"]))  # architecture.lee:116
    x = normal(fold(key, SITES["x"]), (9, 7), FLOAT)  # [9, 7]  architecture.lee:117
    c = normal(fold(key, SITES["c"]), (9, 3), FLOAT)  # [9, 3]  architecture.lee:118
    narrow, saved_narrowed = narrowed_saved(net, 3, fold(key, SITES["narrowed"]))  # architecture.lee:119
    d_c, saved_narrow = narrow.forward_saved(x)
    d_narrow, d_x = narrow.forward_backward(x, saved_narrow, c)
    d_net = narrowed_backward(saved_narrowed, d_narrow)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_narrow(key):
    net = Narrow(5, 2, 7, 3, key=fold(key, SITES["net"]))  # architecture.lee:123
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  architecture.lee:124
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  architecture.lee:125
    net_out, saved_net = net.forward_saved(x)  # architecture.lee:126
    d_net_out = cross_entropy_backward(net_out, y, torch.ones((), dtype=FLOAT))  # [9, 3]
    d_net, d_x = net.forward_backward(x, saved_net, d_net_out)
    return cross_entropy(net_out, y), net.at(d_net), d_x


def example_separated(key):
    net = Separable(3, 4, key=fold(key, SITES["net"]))  # architecture.lee:130
    x = normal(fold(key, SITES["x"]), (2, 3, 5, 6), FLOAT)  # [2, 3, 5, 6]  architecture.lee:131
    c = normal(fold(key, SITES["c"]), (2, 4, 5, 6), FLOAT)  # [2, 4, 5, 6]  architecture.lee:132
    d_c, saved_net = net.forward_saved(x)  # architecture.lee:133
    d_net, d_x = net.forward_backward(saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


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


def max_pool_(x, size=2):
    """The largest entry of each size × size square.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = torch.nn.functional.max_pool2d(x, size)  # [n, c, h // size, w // size]  nn.lee:130
    return y  # [n, c, h // size, w // size]


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


def relu_2(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    return torch.relu(x)  # [x_0, x_1, x_2, x_3]  prelude.lee:61


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "conv1": 0x8854C97F58980E7B,
    "conv2": 0x12CDF365F51A69AF,
    "down": 0x672F5B678D49ED61,
    "head": 0xBD7890018BD219D5,
    "kernel": 0x273FEA903E119357,
    "narrowed": 0x3B08CC4CD0350C90,
    "net": 0xF087C76970C91612,
    "small": 0x430EAE656157EF30,
    "u": 0x08D267E10C593806,
    "up": 0xDD49F622B87D879F,
    "v": 0x9DF7DC769517EBA3,
    "w": 0x20925082A2286B9E,
    "weight": 0x84E02E3EDC717246,
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


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = x.new_zeros(dims)
    whole[slices] = x
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


def reciprocal_or_zero(x, scale):
    """1 / x, and 0 where x is no more than the rounding errors of numbers as large as `scale`."""
    far = x.abs() > 100 * torch.finfo(x.dtype).eps * scale
    return torch.where(far, 1 / torch.where(far, x, 1.0), 0.0)


def signs_of_columns(vectors):
    """1 or -1 for every column, that its largest entry becomes positive; of nearly equal sizes the first counts."""
    size = vectors.abs()
    near = size >= 0.999 * size.amax(dim=-2, keepdim=True)
    largest = torch.take_along_dim(vectors, near.int().argmax(dim=-2, keepdim=True), -2)
    return torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)


def inverse_gaps(values):
    """1 / (values[j] - values[i]), and 0 where both are equal up to rounding."""
    scale = values.abs().amax(dim=-1)[..., None, None]
    return reciprocal_or_zero(values[..., None, :] - values[..., :, None], scale)


class Svd(torch.autograd.Function):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""

    @staticmethod
    def forward(ctx, a):
        u, s, vt = torch.linalg.svd(a, full_matrices=False)
        sign = signs_of_columns(u)
        u, v = u * sign, vt.mT * sign
        ctx.save_for_backward(u, s, v)
        return u, s, v

    @staticmethod
    def backward(ctx, d_u, d_s, d_v):
        u, s, v = ctx.saved_tensors
        scale = s.amax(dim=-1)[..., None, None]
        gaps = inverse_gaps(s) * reciprocal_or_zero(s[..., None, :] + s[..., :, None], scale)
        turn_u, turn_v = u.mT @ d_u, v.mT @ d_v
        inner = gaps * (turn_u - turn_u.mT) * s[..., None, :] + s[..., :, None] * gaps * (turn_v - turn_v.mT)
        inverse = reciprocal_or_zero(s[..., None, :], scale)
        left = u @ inner + u * d_s[..., None, :] + (d_u - u @ turn_u) * inverse
        return left @ v.mT + u * inverse @ (d_v - v @ turn_v).mT


def svd(a):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""
    return Svd.apply(a)


def no_wider(a):
    """a itself. Raises ValueError where it has more columns than rows."""
    if a.shape[-2] < a.shape[-1]:
        raise ValueError(f"a matrix of {a.shape[-2]} rows and {a.shape[-1]} columns: factorise its transpose")
    return a


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
