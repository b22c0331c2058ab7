"""Few labels and many examples without (inventory Q5 to Q7): what is linked in a dense region has the same label.

Made from specs/unsupervised/smoothness.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/unsupervised/smoothness.lee
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


def graph(x, k=10, width=0.1):
    """Each example and its k nearest are linked, the more the nearer: exp(-|xᵢ - xⱼ|² / width²).

    x [n, d] -> [n, n]
    """
    n = x.shape[0]
    i = torch.arange(n, device=x.device)  # int[n]  smoothness.lee:10
    reshape = i[:, None]  # int[n, 1]
    eq = reshape == i  # bool[n, n]
    sub = x[:, None] - x  # [n, n, d]
    guard = torch.where((~eq)[:, :, None], sub, sub.detach())  # [n, n, d]
    square = torch.where(eq, torch.inf, (guard**2).sum(dim=2))  # [n, n]
    near = torch.argsort(square, dim=1, stable=True)[:, :k]  # int[n, k]  smoothness.lee:11
    linked = (near[:, None] == reshape).any(dim=2)  # bool[n, n]  smoothness.lee:12
    logical_or = linked | linked.T  # bool[n, n]  smoothness.lee:13
    guard_2 = torch.where(logical_or, -square, (-square).detach())  # [n, n]
    w = torch.where(logical_or, torch.exp(guard_2 / math.pow(width, 2)), 0)  # [n, n]
    return w  # [n, n]


def graph_saved(x, k=10, width=0.1):
    """As graph, and what its gradient needs."""
    n = x.shape[0]
    i = torch.arange(n, device=x.device)  # int[n]  smoothness.lee:10
    reshape = i[:, None]  # int[n, 1]
    eq = reshape == i  # bool[n, n]
    guard = x[:, None] - x  # [n, n, d]
    square = torch.where(eq, torch.inf, (guard**2).sum(dim=2))  # [n, n]
    near = torch.argsort(square, dim=1, stable=True)[:, :k]  # int[n, k]  smoothness.lee:11
    linked = (near[:, None] == reshape).any(dim=2)  # bool[n, n]  smoothness.lee:12
    logical_or = linked | linked.T  # bool[n, n]  smoothness.lee:13
    exp = torch.exp(-square / math.pow(width, 2))  # [n, n]
    w = torch.where(logical_or, exp, 0)  # [n, n]
    return w, (eq, guard, logical_or, exp)


def graph_backward(width, saved, d_w):
    """From d_w to the gradient by x."""
    eq, guard, logical_or, exp = saved
    # gradient of square[i, j] = where(i == j, inf, sum[a]((x[i, a] - x[j, a]) ** 2))   smoothness.lee:10
    reshape = (~eq)[:, :, None]  # bool[n, n, 1]
    select = torch.where(eq, 0, -(d_w * exp / math.pow(width, 2)))  # [n, n]
    d_guard_2 = torch.where(logical_or, select, 0)[:, :, None] * guard  # [n, n, d]
    d_x_2 = torch.where(reshape, -2 * d_guard_2, 0).sum(dim=0)  # [n, d]
    d_x = d_x_2 + torch.where(reshape, 2 * d_guard_2, 0).sum(dim=1)  # [n, d]
    return d_x  # [n, d]


def spread(w, marked, y, classes):
    """Known labels stay; every other example is the weighted mean of those it is linked to (Zhu et al. 2003).

    w [n, n], marked int[m], y int[m] -> [n, classes]
    """
    n = w.shape[0]
    i = torch.arange(n, device=w.device)  # int[n]  smoothness.lee:22
    reshape = i[:, None]  # int[n, 1]
    eq = marked == reshape  # bool[n, m]
    is_marked = eq.any(dim=1)  # bool[n]
    eq_2 = y == torch.arange(classes, device=w.device)[:, None]  # bool[classes, m]  smoothness.lee:23
    known = (eq[:, None] & eq_2).to(FLOAT).sum(dim=2)  # [n, classes]
    degree = w.sum(dim=1)  # [n]  smoothness.lee:24
    reshape_4 = torch.where(is_marked, 1, degree)[:, None]  # [n, 1]  smoothness.lee:25
    system = (reshape == i).to(FLOAT) * reshape_4 - torch.where(is_marked[:, None], 0, w)  # [n, n]
    return torch.linalg.solve(system, known)  # [n, classes]  smoothness.lee:26


def spread_saved(w, marked, y, classes):
    """As spread, and what its gradient needs."""
    n = w.shape[0]
    i = torch.arange(n, device=w.device)  # int[n]  smoothness.lee:22
    reshape = i[:, None]  # int[n, 1]
    eq = marked == reshape  # bool[n, m]
    is_marked = eq.any(dim=1)  # bool[n]
    eq_2 = y == torch.arange(classes, device=w.device)[:, None]  # bool[classes, m]  smoothness.lee:23
    known = (eq[:, None] & eq_2).to(FLOAT).sum(dim=2)  # [n, classes]
    degree = w.sum(dim=1)  # [n]  smoothness.lee:24
    cast_2 = (reshape == i).to(FLOAT)  # [n, n]  smoothness.lee:25
    mul = cast_2 * torch.where(is_marked, 1, degree)[:, None]  # [n, n]
    system = mul - torch.where(is_marked[:, None], 0, w)  # [n, n]
    return torch.linalg.solve(system, known), (is_marked, cast_2, system)  # smoothness.lee:26


def spread_backward(saved, solve, d_out):
    """From d_out to the gradient by w."""
    is_marked, cast_2, system = saved
    # gradient of return solve(system, known)   smoothness.lee:26
    contract = torch.linalg.solve(system.T, d_out) @ solve.T  # [n, n]
    d_system = -contract  # [n, n]
    # gradient of system[i, j] = float(i == j) * where(is_marked[i], 1, degree[i]) - where(is_m..   smoothness.lee:25
    d_degree = torch.where(is_marked, 0, (d_system * cast_2).sum(dim=1))  # [n]
    # gradient of degree[i] = sum[j](w[i, j])   smoothness.lee:24
    d_w = torch.where(is_marked[:, None], 0, contract) + d_degree[:, None]  # [n, n]
    return d_w  # [n, n]


def laplacian(w):
    """L = D - W.

    w [n, n] -> [n, n]
    """
    return diag(w.sum(dim=1)) - w  # [n, n]  smoothness.lee:34


def laplacian_saved(w):
    """As laplacian, and what its gradient needs."""
    matrix, saved_diag = diag_saved(w.sum(dim=1))  # smoothness.lee:34
    return matrix - w, saved_diag


def laplacian_backward(saved_diag, d_y):
    """From d_y to the gradient by w."""
    # gradient of return diag(sum(w, axis = 1)) - w   smoothness.lee:34
    d_w = diag_backward(saved_diag, d_y)[:, None] - d_y  # [n, n]
    return d_w  # [n, n]


def roughness(w, p):
    """S = Σ_c p_cᵀ L p_c = ½ Σ wᵢⱼ |pᵢ - pⱼ|²: small if what is linked is alike.

    w [n, n], p [n, k] -> []
    """
    return (p * (laplacian(w) @ p)).sum()  # smoothness.lee:39


def roughness_saved(w, p):
    """As roughness, and what its gradient needs."""
    sub, saved_laplacian = laplacian_saved(w)  # smoothness.lee:39
    contract = sub @ p  # [n, k]
    return (p * contract).sum(), (sub, saved_laplacian, contract)


def roughness_backward(p, saved, d_y):
    """From d_y to the gradients by w and p."""
    sub, saved_laplacian, contract = saved
    # gradient of return sum(p * (laplacian(w) @ p))   smoothness.lee:39
    d_contract = d_y * p  # [n, k]
    d_w = laplacian_backward(saved_laplacian, d_contract @ p.T)  # [n, n]
    d_p = d_y * contract + sub.T @ d_contract  # [n, k]
    return d_w, d_p


def smooth_saved(net, x, w, marked, y, strength):
    """As smooth, and what its gradient needs."""
    n = x.shape[0]
    add_2, saved_net = net.forward_saved(x)  # smoothness.lee:44
    softmax_ = softmax(add_2, (1,))  # [n, net.sizes_2]  prelude.lee:122
    z = torch.log_softmax(add_2, dim=1)  # [n, net.sizes_2]  prelude.lee:127
    supervised = -z[marked, y].mean()  # smoothness.lee:45
    sum_, saved_roughness = roughness_saved(w, softmax_)  # smoothness.lee:46
    return supervised + strength * sum_ / n, (saved_net, softmax_, z, saved_roughness)


def smooth_backward(net, x, marked, y, strength, saved, d_add):
    """From d_add to the gradients by net, x and w."""
    saved_net, softmax_, z, saved_roughness = saved
    n = x.shape[0]
    m = marked.shape[0]
    # gradient of return supervised + strength * roughness(w, exp(z)) / n   smoothness.lee:46
    d_w, d_softmax = roughness_backward(softmax_, saved_roughness, d_add / n * strength)
    # gradient of supervised = -mean[i](z[marked[i], y[i]])   smoothness.lee:45
    d_z = scatter_add((-(d_add / m)).expand(m), (marked, y), (n, net.sizes[2]))  # [n, net.sizes_2]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub_2 = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [n, net.sizes_2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_add_2_2 = d_z - torch.exp(z) * d_z.sum(dim=1, keepdim=True)  # [n, net.sizes_2]
    # gradient of z = log_softmax(net(x), axis = 1)   smoothness.lee:44
    d_net, d_x = net.forward_backward(x, saved_net, d_add_2_2 + softmax_ * sub_2)
    return d_net, d_x, d_w


@torch.no_grad()
def fit(epochs=500, rate=0.01, strength=1e2, *, run=None):
    """Two half moons and three labels in each; the same net by the labels alone for comparison."""
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
    data = run.data(
        "two_moons",
        n=400,
        noise=0.1,
        labelled=6,
        seed=0,
        standardize=False,
        test=0.0,
        fields={"x": ("float", ("n", 2)), "y": ("int", ("n",)), "marked": ("int", (6,))},
    )
    known, w = fit_known_w(data.y, data.marked, data.x)  # smoothness.lee:52
    net = MLP_2(sizes=(2, 64, 64, 2), key=run.key("net")).to(run.session.place.device)  # smoothness.lee:54
    opt = Adam(lr=rate)  # smoothness.lee:55
    alone = net.copy()  # smoothness.lee:56
    opt_alone = Adam(lr=rate)  # smoothness.lee:57
    step = FitStep(net, alone, opt, opt_alone)
    for epoch in run.loop("epoch", 1, epochs, alone=alone, net=net, opt=opt, opt_alone=opt_alone):
        loss, loss_1 = step(data.x, w, data.marked, known, strength)  # smoothness.lee:59
        run.step(loss)
        run.step(loss_1, "loss_1")
    flowed, by_net, by_labels = fit_flowed_by_net_by_labels(w, data.marked, known, data.y, net, data.x, alone)
    run.report(accuracy=by_net, flowed=flowed, by_labels=by_labels)  # smoothness.lee:64
    return net


def fit_known_w(data_y, data_marked, data_x):
    """data_y int[data_train_n], data_marked int[6], data_x [data_train_n, 2] -> int[6], [data_train_n,
    data_train_n]
    """
    known = data_y[data_marked]  # int[6]  smoothness.lee:52
    w_2 = graph(data_x)  # [data_train_n, data_train_n]  smoothness.lee:53
    return known, w_2


class FitStep(TrainStep):
    """One step of fit for net, alone, opt, opt_alone: call it with a batch."""

    moved = (("opt", ("net",)), ("opt_alone", ("alone",)))
    counted = ("opt", "opt_alone")
    read = (
        "net.layers.0.w",
        "net.layers.0.b",
        "net.layers.1.w",
        "net.layers.1.b",
        "net.layers.2.w",
        "net.layers.2.b",
        "alone.layers.0.w",
        "alone.layers.0.b",
        "alone.layers.1.w",
        "alone.layers.1.b",
        "alone.layers.2.w",
        "alone.layers.2.b",
    )
    spare = (None, None)

    def __init__(self, net, alone, opt, opt_alone):
        self.net, self.alone, self.opt, self.opt_alone = net, alone, opt, opt_alone
        self.bind()

    def numbers(self, data_train_n):
        return (data_train_n, 0.0 / data_train_n)

    def constants(self):
        return (
            self.opt.lr,
            self.opt.beta1,
            self.opt.beta2,
            self.opt.eps,
            self.opt.weight_decay,
            self.opt_alone.lr,
            self.opt_alone.beta1,
            self.opt_alone.beta2,
            self.opt_alone.eps,
            self.opt_alone.weight_decay,
        )

    def scalars(self):
        return (self.opt.t, self.opt_alone.t)

    def step(self, data_x, w, data_marked, known, strength, t, t_):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_2_w, layers_2_b, layers_0_w_ = self.tensors[:7]
        layers_0_b_, layers_1_w_, layers_1_b_, layers_2_w_, layers_2_b_ = self.tensors[7:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b, d_layers_2_w, d_layers_2_b = self.gradients[:6]
        d_layers_0_w_, d_layers_0_b_, d_layers_1_w_, d_layers_1_b_, d_layers_2_w_ = self.gradients[6:11]
        (d_layers_2_b_,) = self.gradients[11:]
        data_train_n = data_x.shape[0]
        count, scale = self.held(data_train_n)  # data_train_n, 0.0 / data_train_n
        x_2 = torch.relu(torch.addmm(layers_0_b, data_x, layers_0_w))  # [data_train_n, 64]  prelude.lee:61
        x_3 = torch.relu(torch.addmm(layers_1_b, x_2, layers_1_w))  # [data_train_n, 64]
        affine = torch.addmm(layers_2_b, x_3, layers_2_w)  # [data_train_n, 2]  nn.lee:21
        softmax_ = softmax(affine, (1,))  # [data_train_n, 2]  prelude.lee:122
        z = torch.log_softmax(affine, dim=1)  # [data_train_n, 2]  prelude.lee:127
        i = torch.arange(data_train_n, device=data_x.device)  # int[data_train_n]  prelude.lee:230
        sub = masked(w.sum(dim=1, keepdim=True), i[:, None] == i) - w  # [data_train_n, data_train_n]  smoothness.lee:34
        contract = sub @ softmax_  # [data_train_n, 2]  smoothness.lee:39
        div_2 = strength * (softmax_ * contract).sum() / count  # smoothness.lee:46
        d_p_3 = sub.T @ (strength / data_train_n * softmax_)  # [data_train_n, 2]  smoothness.lee:39
        d_softmax = strength / data_train_n * contract + d_p_3  # [data_train_n, 2]
        neg = -(1.0 / 6)  # smoothness.lee:45
        d_gather = torch.full((6,), neg, dtype=FLOAT, device=data_x.device)  # [6]
        d_z = scatter_add(d_gather, (data_marked, known), (data_train_n, 2))  # [data_train_n, 2]
        sum_4 = d_z.sum(dim=1, keepdim=True)  # [data_train_n, 1]  prelude.lee:127
        sub_2_2 = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [data_train_n, 2]  prelude.lee:122
        d_add_3 = d_z - torch.exp(z) * sum_4 + softmax_ * sub_2_2  # [data_train_n, 2]  smoothness.lee:44
        torch.sum(d_add_3, dim=0, out=d_layers_2_b)  # [2]  nn.lee:21
        torch.mm(x_3.T, d_add_3, out=d_layers_2_w)  # [64, 2]
        # [data_train_n, 64]  prelude.lee:61
        d_loss_1 = torch.ops.aten.threshold_backward(d_add_3 @ layers_2_w.T, x_3, 0)
        torch.sum(d_loss_1, dim=0, out=d_layers_1_b)  # [64]  nn.lee:21
        torch.mm(x_2.T, d_loss_1, out=d_layers_1_w)  # [64, 64]
        # [data_train_n, 64]  prelude.lee:61
        d_add_4 = torch.ops.aten.threshold_backward(d_loss_1 @ layers_1_w.T, x_2, 0)
        torch.sum(d_add_4, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(data_x.T, d_add_4, out=d_layers_0_w)  # [2, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        x_2_2 = torch.relu(torch.addmm(layers_0_b_, data_x, layers_0_w_))  # [data_train_n, 64]  prelude.lee:61
        x_3_2 = torch.relu(torch.addmm(layers_1_b_, x_2_2, layers_1_w_))  # [data_train_n, 64]
        add_3_2 = torch.addmm(layers_2_b_, x_3_2, layers_2_w_)  # [data_train_n, 2]  nn.lee:21
        softmax_2 = softmax(add_3_2, (1,))  # [data_train_n, 2]  prelude.lee:122
        z_2 = torch.log_softmax(add_3_2, dim=1)  # [data_train_n, 2]  prelude.lee:127
        contract_2 = sub @ softmax_2  # [data_train_n, 2]  smoothness.lee:39
        div_6 = 0 * (softmax_2 * contract_2).sum() / count  # smoothness.lee:46
        d_softmax_2 = scale * contract_2 + sub.T @ (scale * softmax_2)  # [data_train_n, 2]  smoothness.lee:39
        sum_2_3 = (d_softmax_2 * softmax_2).sum(dim=1, keepdim=True)  # [data_train_n, 1]  prelude.lee:122
        # [data_train_n, 2]  smoothness.lee:44
        d_add_3_4 = d_z - torch.exp(z_2) * sum_4 + softmax_2 * (d_softmax_2 - sum_2_3)
        torch.sum(d_add_3_4, dim=0, out=d_layers_2_b_)  # [2]  nn.lee:21
        torch.mm(x_3_2.T, d_add_3_4, out=d_layers_2_w_)  # [64, 2]
        # [data_train_n, 64]  prelude.lee:61
        d_add_2_2 = torch.ops.aten.threshold_backward(d_add_3_4 @ layers_2_w_.T, x_3_2, 0)
        torch.sum(d_add_2_2, dim=0, out=d_layers_1_b_)  # [64]  nn.lee:21
        torch.mm(x_2_2.T, d_add_2_2, out=d_layers_1_w_)  # [64, 64]
        # [data_train_n, 64]  prelude.lee:61
        d_add_4_2 = torch.ops.aten.threshold_backward(d_add_2_2 @ layers_1_w_.T, x_2_2, 0)
        torch.sum(d_add_4_2, dim=0, out=d_layers_0_b_)  # [64]  nn.lee:21
        torch.mm(data_x.T, d_add_4_2, out=d_layers_0_w_)  # [2, 64]
        lr = self.opt_alone.lr
        beta1 = self.opt_alone.beta1
        beta2 = self.opt_alone.beta2
        eps = self.opt_alone.eps
        weight_decay = self.opt_alone.weight_decay
        for θ, g, m, v in self.blocks[1]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t_)
        return div_2 - z[data_marked, known].sum() / 6, div_6 - z_2[data_marked, known].sum() / 6  # smoothness.lee:46


def fit_flowed_by_net_by_labels(w, data_marked, known, data_y, net, data_x, alone):
    """w [data_train_n, data_train_n], data_marked int[6], known int[6], data_y int[data_train_n], data_x
    [data_train_n, 2] -> [], [], []
    """
    eq = spread(w, data_marked, known, 2).argmax(dim=1) == data_y  # bool[data_train_n]  smoothness.lee:61
    flowed = eq.to(FLOAT).mean()
    by_net = (net(data_x).argmax(dim=1) == data_y).to(FLOAT).mean()  # smoothness.lee:62
    by_labels = (alone(data_x).argmax(dim=1) == data_y).to(FLOAT).mean()  # smoothness.lee:63
    return flowed, by_net, by_labels


def example_linked(key):
    x = 0.1 * normal(fold(key, SITES["x"]), (24, 2), FLOAT)  # [24, 2]  smoothness.lee:69
    c = normal(fold(key, SITES["c"]), (24, 24), FLOAT)  # [24, 24]  smoothness.lee:70
    d_c, saved_graph = graph_saved(x)  # smoothness.lee:71
    return (c * d_c).sum(), graph_backward(0.1, saved_graph, c), d_c


def example_flowing(key):
    x = normal(fold(key, SITES["x"]), (12, 2), FLOAT)  # [12, 2]  smoothness.lee:75
    fill_2 = torch.full((1,), True, dtype=torch.bool)  # bool[1]  smoothness.lee:77
    fill = torch.full((1,), 5, dtype=torch.int64)  # int[1]
    unslice_ = unslice(fill_2, (3,), (slice(1, 2),))  # bool[3]
    marked_2 = torch.where(unslice_, unslice(fill, (3,), (slice(1, 2),)), 0)  # int[3]
    fill_3 = torch.full((1,), 7, dtype=torch.int64)  # int[1]  smoothness.lee:78
    unslice_3 = unslice(fill_2, (3,), (slice(2, 3),))  # bool[3]
    marked_3 = torch.where(unslice_3, unslice(fill_3, (3,), (slice(2, 3),)), marked_2)  # int[3]
    y = randint(fold(key, SITES["y"]), (3,), 0, 2)  # int[3]  smoothness.lee:79
    c = normal(fold(key, SITES["c"]), (12, 2), FLOAT)  # [12, 2]  smoothness.lee:80
    w, saved_graph = graph_saved(x, k=5, width=2.0)  # smoothness.lee:81
    d_c, saved_spread = spread_saved(w, marked_3, y, 2)
    d_x = graph_backward(2.0, saved_graph, spread_backward(saved_spread, d_c, c))  # [12, 2]
    return (c * d_c).sum(), d_x, d_c


def example_uneven(key):
    net = MLP((2, 4, 3), key=fold(key, SITES["net"]))  # smoothness.lee:85
    x = normal(fold(key, SITES["x"]), (12, 2), FLOAT)  # [12, 2]  smoothness.lee:86
    y = randint(fold(key, SITES["y"]), (3,), 0, 3)  # int[3]  smoothness.lee:87
    p = normal(fold(key, SITES["p"]), (12, 3), FLOAT)  # [12, 3]  smoothness.lee:88
    w_2, saved_graph = graph_saved(x, k=3, width=0.8)  # smoothness.lee:89
    add, saved_smooth = smooth_saved(net, x, w_2, torch.arange(3), y, 0.7)  # smoothness.lee:90
    sum_, saved_roughness = roughness_saved(w_2, p)
    d_value = torch.ones((), dtype=FLOAT)
    d_w_2_2, d_p = roughness_backward(p, saved_roughness, d_value)
    d_net, d_x_2, d_w_2_3 = smooth_backward(net, x, torch.arange(3), y, 0.7, saved_smooth, d_value)
    d_w_2 = d_w_2_2 + d_w_2_3  # [12, 12]  smoothness.lee:89
    return add + sum_, net.at(d_net), d_x_2 + graph_backward(0.8, saved_graph, d_w_2), d_p


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


class MLP_2(Model):
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
                Linear(sizes[2], sizes[3], key=fold(key, SITES["layers.2"])),
            ]
        )

    def forward(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_3]"""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        x_3 = relu(self.layers[1](x_2))  # [x_0, sizes_2]
        return self.layers[2](x_3)  # [x_0, sizes_3]  nn.lee:42


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


def diag(x):
    """The matrix with the vector x on its diagonal and 0 elsewhere; of a matrix its diagonal.

    x [x_0] -> [x_0, x_0]
    """
    x_0 = x.shape[0]
    i = torch.arange(x_0, device=x.device)  # int[x_0]  prelude.lee:230
    matrix = torch.where(i[:, None] == i, x[:, None], 0)  # [x_0, x_0]
    return matrix  # [x_0, x_0]


def diag_saved(x):
    """As diag, and what its gradient needs."""
    x_0 = x.shape[0]
    i = torch.arange(x_0, device=x.device)  # int[x_0]  prelude.lee:230
    eq = i[:, None] == i  # bool[x_0, x_0]
    matrix = torch.where(eq, x[:, None], 0)  # [x_0, x_0]
    return matrix, eq


def diag_backward(eq, d_matrix):
    """From d_matrix to the gradient by x."""
    # gradient of matrix[i in size(x), j in size(x)] = where(i == j, x[i], 0)   prelude.lee:230
    d_x = torch.where(eq, d_matrix, 0).sum(dim=1)  # [x_0]
    return d_x  # [x_0]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "layers.2": 0xA380C36DF3DD4243,
    "net": 0xF087C76970C91612,
    "p": 0x1F69F389BDD5720D,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
}


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


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
