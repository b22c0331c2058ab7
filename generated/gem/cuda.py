"""Gradient episodic memory: no step may raise the loss on a remembered task (lecture: lifelong; Lopez-Paz, Ranzato 2017).

A few rows of every task are kept. A gradient that points against that of a memory is moved as little as possible, until
it does not.

Made from specs/lifelong/gem.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/lifelong/gem.lee
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


def project(g, past, steps=100, margin=0.0):
    """min |z - g|² with past @ z >= 0, by projected gradient on the dual.

    g [p], past [k, p] -> [p]
    """
    k = past.shape[0]
    gram = past @ past.T  # [k, k]  gem.lee:16
    inner = past @ g  # [k]  gem.lee:17
    rate = 1 / (norm(gram) + 1e-12)  # gem.lee:18
    v = torch.full((k,), margin, dtype=FLOAT, device=g.device)  # [k]  gem.lee:19
    # gem.lee:20
    for s in range(steps):
        v = project_step(v, gram, inner, rate, margin)
    return torch.where((inner >= 0).all(), g, g + v @ past)  # [p]  gem.lee:22


def project_saved(g, past, steps=100, margin=0.0):
    """As project, and what its gradient needs."""
    k = past.shape[0]
    gram = past @ past.T  # [k, k]  gem.lee:16
    inner = past @ g  # [k]  gem.lee:17
    sqrt_, saved_norm = norm_saved(gram)  # gem.lee:18
    add = sqrt_ + 1e-12
    rate = 1 / add
    v = torch.full((k,), margin, dtype=FLOAT, device=g.device)  # [k]  gem.lee:19
    saved_project_step = [None] * steps  # gem.lee:20
    for s in range(steps):
        v, saved_project_step[s] = project_step_saved(v, gram, inner, rate, margin)
    all_ = (inner >= 0).all()  # gem.lee:22
    saved = gram, sqrt_, saved_norm, add, rate, v, saved_project_step, all_
    return torch.where(all_, g, g + v @ past), saved


def project_backward(g, past, margin, saved, steps, d_y):
    """From d_y to the gradients by g and past."""
    gram, sqrt_, saved_norm, add, rate, v_4, saved_project_step, all_ = saved
    k = past.shape[0]
    # gradient of return where(all(inner >= 0), g, g + v @ past)   gem.lee:22
    d_add_2 = torch.where(all_, 0, d_y)  # [p]
    d_v_4 = past @ d_add_2  # [k]
    # gradient of for s in steps:   gem.lee:20
    d_inner_rows = [None] * steps
    v_rows_2 = [None] * steps
    d_rate_rows = [None] * steps
    for s in reversed(range(steps)):
        d_v_4, d_inner_rows[s], v_rows_2[s], d_rate_rows[s] = project_step_backward(
            saved_project_step[s], gram, rate, margin, d_v_4
        )
    d_inner_rows = (
        torch.stack(d_inner_rows, 0) if d_inner_rows else torch.zeros((steps, k), dtype=FLOAT, device=g.device)
    )
    v_rows_2 = torch.stack(v_rows_2, 0) if v_rows_2 else torch.zeros((steps, k), dtype=FLOAT, device=g.device)
    d_rate_rows = torch.stack(d_rate_rows, 0) if d_rate_rows else torch.zeros((steps,), dtype=FLOAT, device=g.device)
    d_inner = d_inner_rows.sum(dim=0)  # [k]
    d_rate = d_rate_rows.sum()
    # gradient of rate = 1 / (norm(gram) + 1e-12)   gem.lee:18
    d_gram_3 = norm_backward(gram, saved_norm, sqrt_, -(d_rate * rate / add))  # [k, k]
    # gradient of gram = past @ past.T   gem.lee:16
    d_gram = d_inner_rows.T @ v_rows_2 + d_gram_3  # [k, k]
    d_g = torch.where(all_, d_y, 0) + d_add_2 + d_inner @ past  # [p]
    d_past_6 = v_4[:, None] * d_add_2 + d_inner[:, None] * g  # [k, p]
    d_past = d_past_6 + d_gram @ past + d_gram.T @ past  # [k, p]
    return d_g, d_past


def project_step(v, gram, inner, rate, margin):
    """v [k], gram [k, k], inner [k] -> [k]"""
    v_3 = (v - rate * (gram @ v + inner)).clamp(min=margin)  # [k]  gem.lee:21
    return v_3  # [k]


def project_step_saved(v, gram, inner, rate, margin):
    """As project_step, and what its gradient needs."""
    add = gram @ v + inner  # [k]  gem.lee:21
    sub = v - rate * add  # [k]
    v_3 = sub.clamp(min=margin)  # [k]
    return v_3, (add, sub, v)


def project_step_backward(saved, gram, rate, margin, d_v_3):
    """From d_v_3 to the gradients by v, inner and rate."""
    add, sub, v = saved
    # gradient of v = max(v - rate * (gram @ v + inner), margin)   gem.lee:21
    ge = sub >= margin  # bool[k]
    d_rate = torch.where(ge, -d_v_3 * add, 0).sum()
    d_inner = torch.where(ge, -d_v_3 * rate, 0)  # [k]
    d_v = torch.where(ge, d_v_3, 0) + d_inner @ gram  # [k]
    return d_v, d_inner, v, d_rate


def example_against_the_past(key):
    g = normal(fold(key, SITES["g"]), (6,), FLOAT)  # [6]  gem.lee:26
    past = normal(fold(key, SITES["past"]), (2, 6), FLOAT)  # [2, 6]  gem.lee:27
    select, saved_project = project_saved(g, past)  # gem.lee:28
    d_g, d_past = project_backward(g, past, 0.0, saved_project, 100, 2 * select)
    return (select**2).sum(), d_g, d_past


@torch.no_grad()
def lifelong(tasks, kept=64, batch=32, epochs=5, rate=0.1, *, run=None):
    """One task after the other; what is learned of each is reported for all of them at the end."""
    from leec.runtime.run import Run

    run = run or Run("lifelong", backend="torch")
    net = MLP(sizes=(3, 64, 5), key=run.key("net")).to(run.session.place.device)  # gem.lee:33
    opt = SGD(lr=rate)  # gem.lee:34
    step = LifelongStep(net, opt)
    memory = []  # gem.lee:35
    (memory,) = run.restore("task", memory=memory)
    for task in run.each("task", tasks, net=net, opt=opt):
        for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
            for x, y in run.batches("batches", task.train, batch, shuffle=True):
                g = lifelong_g(net, x, y)  # gem.lee:39
                if len(memory) > 0:
                    past_each = []  # gem.lee:41
                    for m in run.each("m", memory):
                        past_each_item = lifelong_past_each_item(net, m.x, m.y)  # gem.lee:41
                        past_each.append(past_each_item)  # gem.lee:41
                    past = run.stack(past_each)  # gem.lee:41
                    g = lifelong_g_2(g, past)  # gem.lee:42
                step(g)  # gem.lee:43
        memory_item = run.sample("memory_item_2", task.train, kept)  # gem.lee:44
        memory.append(memory_item)  # gem.lee:44
        run.keep("task", memory=memory)
    total = 0.0  # gem.lee:45
    (total,) = run.restore("k", total=total)
    for k in run.loop("k", 0, len(tasks) - 1):
        right = lifelong_right(net, tasks[k].test.x, tasks[k].test.y)  # gem.lee:47
        run.report({f"accuracy[{k}]": right})  # gem.lee:48
        total = total + right  # gem.lee:49
        run.keep("k", total=total)
    run.report(kept=total / len(tasks))  # gem.lee:50
    return net


def lifelong_g(net, x, y):
    """x [batches_n, 3], y int[batches_n] -> [581]"""
    add_2, saved_net = net.forward_saved(x)  # gem.lee:39
    d_mean = torch.ones((), dtype=FLOAT, device=x.device)
    d_add_2 = cross_entropy_backward(add_2, y, d_mean)  # [batches_n, 5]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    # [581]
    g = torch.cat(
        (
            d_net["layers.0"]["w"].reshape(-1),
            d_net["layers.0"]["b"],
            d_net["layers.1"]["w"].reshape(-1),
            d_net["layers.1"]["b"],
        )
    )
    return g  # [581]


def lifelong_past_each_item(net, m_x, m_y):
    """m_x [kept, 3], m_y int[kept] -> [581]"""
    add_2, saved_net = net.forward_saved(m_x)  # gem.lee:41
    d_mean = torch.ones((), dtype=FLOAT, device=m_x.device)
    d_add_2 = cross_entropy_backward(add_2, m_y, d_mean)  # [kept, 5]
    d_net = net.forward_backward_parameters(m_x, saved_net, d_add_2)
    # [581]
    past_each_item = torch.cat(
        (
            d_net["layers.0"]["w"].reshape(-1),
            d_net["layers.0"]["b"],
            d_net["layers.1"]["w"].reshape(-1),
            d_net["layers.1"]["b"],
        )
    )
    return past_each_item  # [581]


def lifelong_g_2(g, past):
    """g [581], past [past_n, 581] -> [581]"""
    g_2 = project(g, past)  # [581]  gem.lee:42
    return g_2  # [581]


class LifelongStep(TrainStep):
    """One step of lifelong for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.weight_decay)

    def step(self, g):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        unflatten_, unflatten_2, unflatten_3, unflatten_4 = unflatten(g, ((3, 64), (64,), (64, 5), (5,)))  # gem.lee:43
        d_layers_0_w.copy_(unflatten_)  # [3, 64]
        d_layers_0_b.copy_(unflatten_2)  # [64]
        d_layers_1_w.copy_(unflatten_3)  # [64, 5]
        d_layers_1_b.copy_(unflatten_4)  # [5]
        lr = self.opt.lr
        weight_decay = self.opt.weight_decay
        for θ, g_, s0 in self.blocks[0]:
            g__ = torch.add(g_, θ, alpha=weight_decay, out=s0) if weight_decay else g_
            θ.sub_(g__, alpha=lr)


def lifelong_right(net, tasks_item_test_x, tasks_item_test_y):
    """tasks_item_test_x [tasks_n_3, 3], tasks_item_test_y int[tasks_n_3] -> []"""
    right = accuracy(net(tasks_item_test_x), tasks_item_test_y)  # gem.lee:47
    return right


@torch.no_grad()
def in_turn(epochs=5, kept=64, *, run=None):
    """Three sets of clouds with the same names for other places."""
    from leec.runtime.run import Run

    run = run or Run("in_turn", backend="torch")
    first = run.data(
        "blobs",
        n=600,
        classes=5,
        features=3,
        spread=3.0,
        seed=1,
        standardize=True,
        test=0.2,
        fields={"x": ("float", ("n", 3)), "y": ("int", ("n",))},
    )
    second = run.data(
        "blobs",
        n=600,
        classes=5,
        features=3,
        spread=3.0,
        seed=2,
        standardize=True,
        test=0.2,
        fields={"x": ("float", ("n", 3)), "y": ("int", ("n",))},
    )
    third = run.data(
        "blobs",
        n=600,
        classes=5,
        features=3,
        spread=3.0,
        seed=3,
        standardize=True,
        test=0.2,
        fields={"x": ("float", ("n", 3)), "y": ("int", ("n",))},
    )
    net = lifelong(tasks=[first, second, third], kept=kept, batch=32, epochs=epochs, run=run.call("lifelong"))
    return net


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def cross_entropy_backward(z, y, d_mean):
    """From d_mean to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_mean)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    d_z = (torch.softmax(z, dim=1) - eq.to(FLOAT)) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def reduced_backward(each_0, d_mean):
    """From d_mean to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = (d_mean / each_0).expand(each_0)  # [each_0]
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

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(dim=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}


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

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


class SGD(Optimizer):
    """θ ← θ - η (g + λ θ)"""

    def __init__(self, lr=0.01, weight_decay=0.0):
        self.lr, self.weight_decay = lr, weight_decay

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        θ.sub_(self.lr * (g + self.weight_decay * θ))  # [count]  optim.lee:11


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


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "g": 0xBC30DBAED87C766C,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "past": 0xE8C08E8A8E7D4FE6,
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


def unflatten(x, shapes):
    """The tensors of given shapes that lie one after the other in a vector."""
    parts = x.split([math.prod(shape) for shape in shapes])
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))


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
