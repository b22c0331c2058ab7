"""Rates that depend on the number of the update (inventory A11), and two optimizers that take them.

A schedule is a function of t; it stands wherever a rate is asked for. All of these rise first.

Made from specs/regression/schedules.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/regression/schedules.lee
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


def ramp(peak, warmup, t):
    """From 0 to the peak, which is where it stays."""
    return peak * float(min(1, t / float(max(warmup, 1))))  # schedules.lee:14


def warmup_linear(peak, warmup, total, t):
    """Up to the peak, down to 0 along a line."""
    minimum = clip((total - t) / float(max(total - warmup, 1)), 0, 1)  # schedules.lee:20
    return ramp(peak, warmup, t) * minimum


def warmup_cosine(peak, warmup, total, t):
    """Up to the peak, down to 0 along half a wave (Loshchilov & Hutter 2017)."""
    div = 3.141592653589793 * (t - warmup) / (total - warmup)  # schedules.lee:27
    wave = 0.5 * peak * (1 + math.cos(div))
    return ramp(peak, warmup, t) if t < warmup else wave  # schedules.lee:28


def warmup_inverse_sqrt(d, warmup, t):
    """The schedule of the Transformer (Vaswani et al. 2017)."""
    minimum = min(math.pow(t, -0.5), t * math.pow(warmup, -1.5))  # schedules.lee:35
    return math.pow(d, -0.5) * minimum


def warmup_steps(peak, warmup, factor, t):
    """Up to the peak, then down by a factor at every milestone."""
    passed = 1 if t >= 100 else 0  # schedules.lee:44
    passed_2 = passed + (1 if t >= 160 else 0)
    return ramp(peak, warmup, t) * math.pow(factor, passed_2)  # schedules.lee:45


def cyclic(low, high, period, t):
    """Up and down again, in straight lines (Smith 2017)."""
    phase = abs(2 * (t % period) / period - 1)  # schedules.lee:52
    return high - (high - low) * phase  # schedules.lee:53


class AdamW(Optimizer):
    """Adam of gradients no longer than `clip`; weights decay beside it, not through it (Loshchilov & Hutter 2019)."""

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0, clip_=torch.inf):
        self.lr, self.beta1, self.beta2 = lr, beta1, beta2
        self.eps, self.weight_decay, self.clip = eps, weight_decay, clip_

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        div = self.clip / (norm_2(g) + 1e-6)  # schedules.lee:63
        g_2 = g * torch.where(1 <= div, 1, div)  # [count]
        # schedules.lee:68
        adamw_(θ, g_2, self.m, self.v, self.lr, self.beta1, self.beta2, self.eps, self.weight_decay, self.t)


class Muon(Optimizer):
    """A rule for each tensor: the momentum of a matrix is made orthogonal (Jordan 2024), other tensors take it plain."""

    starts = {"m": 0.0}

    def __init__(self, lr=0.02, decay=0.95):
        self.lr, self.decay = lr, decay

    def update(self, θ, g, shapes):
        """Move θ along its gradient, in place; `shapes` are those of the tensors in it."""
        self.begin(θ)
        rules = {0: self.update_0d, 1: self.update_1d, 2: self.update_2d, 3: self.update_3d, 4: self.update_4d}
        stop = 0
        for shape in shapes:
            start, stop = stop, stop + math.prod(shape)
            rules[len(shape)](*(v[start:stop].reshape(shape) for v in (θ, g, self.m)))

    def update_0d(self, θ, g, m):
        """Move one tensor of rank 0, in place."""
        m.copy_(self.decay * m + g)  # schedules.lee:76
        θ.sub_(self.lr * m)  # schedules.lee:80

    def update_1d(self, θ, g, m):
        """Move one tensor of rank 1, in place."""
        m.copy_(self.decay * m + g)  # [d0]  schedules.lee:76
        θ.sub_(self.lr * m)  # [d0]  schedules.lee:80

    def update_2d(self, θ, g, m):
        """Move one tensor of rank 2, in place."""
        m.copy_(self.decay * m + g)  # [d0, d1]  schedules.lee:76
        θ.sub_(self.lr * orthogonal_factor(m, 5))  # [d0, d1]  schedules.lee:78

    def update_3d(self, θ, g, m):
        """Move one tensor of rank 3, in place."""
        m.copy_(self.decay * m + g)  # [d0, d1, d2]  schedules.lee:76
        θ.sub_(self.lr * m)  # [d0, d1, d2]  schedules.lee:80

    def update_4d(self, θ, g, m):
        """Move one tensor of rank 4, in place."""
        m.copy_(self.decay * m + g)  # [d0, d1, d2, d3]  schedules.lee:76
        θ.sub_(self.lr * m)  # [d0, d1, d2, d3]  schedules.lee:80


def orthogonal_factor(a, steps):
    """Newton-Schulz iteration towards U Vᵀ of a = U S Vᵀ.

    a [r, c] -> [r, c]
    """
    x = a / norm(a).clamp(min=1e-7)  # [r, c]  schedules.lee:85
    # schedules.lee:86
    for s in range(steps):
        x = orthogonal_factor_step(x)
    return x  # [r, c]


def orthogonal_factor_saved(a, steps):
    """As orthogonal_factor, and what its gradient needs."""
    sqrt_, saved_norm = norm_saved(a)  # schedules.lee:85
    maximum = sqrt_.clamp(min=1e-7)
    x = a / maximum  # [r, c]
    x_ = x  # schedules.lee:86
    saved_orthogonal_factor_step = [None] * steps
    for s in range(steps):
        x_, saved_orthogonal_factor_step[s] = orthogonal_factor_step_saved(x_)
    return x_, (sqrt_, saved_norm, maximum, x, saved_orthogonal_factor_step)


def orthogonal_factor_backward(a, saved, steps, d_x_4):
    """From d_x_4 to the gradient by a."""
    sqrt_, saved_norm, maximum, x, saved_orthogonal_factor_step = saved
    # gradient of for s in steps:   schedules.lee:86
    for s in reversed(range(steps)):
        d_x_4 = orthogonal_factor_step_backward(saved_orthogonal_factor_step[s], d_x_4)
    # gradient of x = a / max(norm(a), 1e-7)   schedules.lee:85
    d_sqrt = torch.where(sqrt_ >= 1e-7, -(d_x_4 * x / maximum).sum(), 0)
    d_a = d_x_4 / maximum + norm_backward(a, saved_norm, sqrt_, d_sqrt)  # [r, c]
    return d_a  # [r, c]


def orthogonal_factor_step(x):
    """x [r, c] -> [r, c]"""
    gram = x @ x.T  # [r, r]  schedules.lee:87
    x_3 = 1.5 * x - 0.5 * gram @ x  # [r, c]  schedules.lee:88
    return x_3  # [r, c]


def orthogonal_factor_step_saved(x):
    """As orthogonal_factor_step, and what its gradient needs."""
    gram = x @ x.T  # [r, r]  schedules.lee:87
    mul_2 = 0.5 * gram  # [r, r]  schedules.lee:88
    x_3 = 1.5 * x - mul_2 @ x  # [r, c]
    return x_3, (mul_2, x)


def orthogonal_factor_step_backward(saved, d_x_3):
    """From d_x_3 to the gradient by x."""
    mul_2, x = saved
    # gradient of x = 1.5 * x - 0.5 * gram @ x   schedules.lee:88
    d_gram = -d_x_3 @ x.T * 0.5  # [r, r]
    # gradient of gram = x @ x.T   schedules.lee:87
    d_x = mul_2.T @ -d_x_3 + d_x_3 * 1.5 + d_gram @ x + d_gram.T @ x  # [r, c]
    return d_x  # [r, c]


def orthogonal_factor_step_in_step(x):
    """x [r, c] -> [r, c]"""
    gram = x @ x.T  # [r, r]  schedules.lee:87
    x_3 = 1.5 * x - 0.5 * gram @ x  # [r, c]  schedules.lee:88
    return x_3  # [r, c]


@torch.no_grad()
def warmed(epochs=10, batch=64, peak=0.01, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("warmed", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net")).to(run.session.place.device)  # schedules.lee:94
    total = epochs * (len(data.train) // batch)  # schedules.lee:95
    opt = AdamW(lr=lambda t: warmup_cosine(peak, 20, total, t), weight_decay=0.01, clip_=1.0)  # schedules.lee:96
    step = WarmedStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True, drop_last=True):
            run.step(step(x, y))  # schedules.lee:99
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # schedules.lee:100
    return net


class WarmedStep(TrainStep):
    """One step of warmed for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay, self.opt.clip)

    def scalars(self):
        return (self.opt.lr, self.opt.t)

    def step(self, x, y, lr, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 64]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [64, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 64]
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        clip_ = self.opt.clip
        g_all = self.vectors[0].gradient
        sum_ = g_all.dot(g_all)
        sqrt_ = torch.sqrt(sum_)
        add = sqrt_ + 1e-6
        div = clip_ / add
        minimum = torch.where(1 <= div, 1, div)
        for θ, g, m, v, s0 in self.blocks[0]:
            torch.mul(g, minimum, out=s0)
            adamw_(θ, s0, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


@torch.no_grad()
def like_transformers(epochs=10, batch=64, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("like_transformers", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net")).to(run.session.place.device)  # schedules.lee:106
    opt = AdamW(lr=lambda t: warmup_inverse_sqrt(512, 20, t))  # schedules.lee:107
    step = LikeTransformersStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # schedules.lee:110
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # schedules.lee:111
    return net


class LikeTransformersStep(TrainStep):
    """One step of like_transformers for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay, self.opt.clip)

    def scalars(self):
        return (self.opt.lr, self.opt.t)

    def step(self, x, y, lr, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 64]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [64, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 64]
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        clip_ = self.opt.clip
        g_all = self.vectors[0].gradient
        sum_ = g_all.dot(g_all)
        sqrt_ = torch.sqrt(sum_)
        add = sqrt_ + 1e-6
        div = clip_ / add
        minimum = torch.where(1 <= div, 1, div)
        for θ, g, m, v, s0 in self.blocks[0]:
            torch.mul(g, minimum, out=s0)
            adamw_(θ, s0, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


@torch.no_grad()
def orthogonal_steps(epochs=10, batch=64, peak=0.05, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("orthogonal_steps", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net")).to(run.session.place.device)  # schedules.lee:117
    total = epochs * (len(data.train) // batch + 1)  # schedules.lee:118
    opt = Muon(lr=lambda t: warmup_linear(peak, 20, total, t))  # schedules.lee:119
    step = OrthogonalStepsStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # schedules.lee:122
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # schedules.lee:123
    return net


class OrthogonalStepsStep(TrainStep):
    """One step of orthogonal_steps for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ()
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
    spare = (0,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def step(self, x, y):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 64]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [64, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 64]
        self.vectors[0].moved_by(self.opt.update, self.vectors[0].shapes)
        return surprise.sum() / count  # losses.lee:148


@torch.no_grad()
def in_steps(epochs=10, batch=64, peak=0.01, *, run=None):
    """Ten times slower after 100 updates, and again after 160."""
    from leec.runtime.run import Run

    run = run or Run("in_steps", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net")).to(run.session.place.device)  # schedules.lee:130
    opt = AdamW(lr=lambda t: warmup_steps(peak, 20, 0.1, t))  # schedules.lee:131
    step = InStepsStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # schedules.lee:134
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # schedules.lee:135
    return net


class InStepsStep(TrainStep):
    """One step of in_steps for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay, self.opt.clip)

    def scalars(self):
        return (self.opt.lr, self.opt.t)

    def step(self, x, y, lr, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 64]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [64, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 64]
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        clip_ = self.opt.clip
        g_all = self.vectors[0].gradient
        sum_ = g_all.dot(g_all)
        sqrt_ = torch.sqrt(sum_)
        add = sqrt_ + 1e-6
        div = clip_ / add
        minimum = torch.where(1 <= div, 1, div)
        for θ, g, m, v, s0 in self.blocks[0]:
            torch.mul(g, minimum, out=s0)
            adamw_(θ, s0, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


@torch.no_grad()
def swinging(epochs=10, batch=64, low=1e-3, high=0.01, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("swinging", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net")).to(run.session.place.device)  # schedules.lee:141
    opt = AdamW(lr=lambda t: cyclic(low, high, 40, t))  # schedules.lee:142
    step = SwingingStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # schedules.lee:145
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # schedules.lee:146
    return net


class SwingingStep(TrainStep):
    """One step of swinging for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay, self.opt.clip)

    def scalars(self):
        return (self.opt.lr, self.opt.t)

    def step(self, x, y, lr, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 64]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [64, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 64]
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        clip_ = self.opt.clip
        g_all = self.vectors[0].gradient
        sum_ = g_all.dot(g_all)
        sqrt_ = torch.sqrt(sum_)
        add = sqrt_ + 1e-6
        div = clip_ / add
        minimum = torch.where(1 <= div, 1, div)
        for θ, g, m, v, s0 in self.blocks[0]:
            torch.mul(g, minimum, out=s0)
            adamw_(θ, s0, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def example_turned(key):
    a = normal(fold(key, SITES["a"]), (4, 6), FLOAT)  # [4, 6]  schedules.lee:151
    c = normal(fold(key, SITES["c"]), (4, 6), FLOAT)  # [4, 6]  schedules.lee:152
    d_c, saved_orthogonal_factor = orthogonal_factor_saved(a, 5)  # schedules.lee:153
    return (c * d_c).sum(), orthogonal_factor_backward(a, saved_orthogonal_factor, 5, c), d_c


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


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


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return torch.relu(x)  # [x_0, x_1]  prelude.lee:61


def clip(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1."""
    return float(min(float(max(x, low)), high))  # prelude.lee:153


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> []
    """
    return sqrt((x**2).sum())  # prelude.lee:163


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum()  # prelude.lee:163
    return sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt_, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_x = 2 * (d_y * 0.5 / torch.where(sum_ > 0, sqrt_, torch.inf)) * x  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def norm_2(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0] -> []
    """
    return sqrt((x**2).sum())  # prelude.lee:163


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
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
