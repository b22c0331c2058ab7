"""Experiments on training (inventory S7, S9, S12 to S14): batches, spread, depth, and data from elsewhere.

Made from specs/analysis/experiments.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/analysis/experiments.lee
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


def sharpness(net, x, y, rounds):
    """The largest eigenvalue of the Hessian, by power iteration: H v is the slope of ∇L · v, v held fast.

    x [n, net.sizes_0], y int[n] -> []
    """
    add_2, saved_net = net.forward_saved(x)  # experiments.lee:15
    d_mean = torch.ones((), dtype=FLOAT, device=x.device)
    d_add_2 = cross_entropy_backward(add_2, y, d_mean)  # [n, net.sizes_2]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    slope = net.at({"layers.0": d_net["layers.0"], "layers.1": d_net["layers.1"]})
    v = stop(slope)  # experiments.lee:16
    value = torch.zeros((), dtype=FLOAT, device=x.device)  # experiments.lee:18
    v_layers_0_w = v.layers[0].w
    v_layers_0_b = v.layers[0].b
    v_layers_1_w = v.layers[1].w
    v_layers_1_b = v.layers[1].b
    for k in range(rounds):
        v_layers_0_w, v_layers_0_b, v_layers_1_w, v_layers_1_b, value = sharpness_step(
            net,
            v_layers_0_w,
            v_layers_0_b,
            v_layers_1_w,
            v_layers_1_b,
            value,
            slope.layers[0].w,
            slope.layers[0].b,
            slope.layers[1].w,
            slope.layers[1].b,
            x,
            y,
        )
    return value


def sharpness_step(
    net,
    v_layers_0_w,
    v_layers_0_b,
    v_layers_1_w,
    v_layers_1_b,
    value,
    slope_layers_0_w,
    slope_layers_0_b,
    slope_layers_1_w,
    slope_layers_1_b,
    x,
    y,
):
    """v.layers.0.w [net.sizes_0, net.sizes_1], v.layers.0.b [net.sizes_1], v.layers.1.w [net.sizes_1,
    net.sizes_2], v.layers.1.b [net.sizes_2], slope.layers.0.w [net.sizes_0, net.sizes_1], slope.layers.0.b
    [net.sizes_1], slope.layers.1.w [net.sizes_1, net.sizes_2], slope.layers.1.b [net.sizes_2], x [n,
    net.sizes_0], y int[n] -> [net.sizes_0, net.sizes_1], [net.sizes_1], [net.sizes_1, net.sizes_2],
    [net.sizes_2], []
    """
    add = (v_layers_0_w**2).sum() + (v_layers_0_b**2).sum()
    sqrt_ = sqrt(add + (v_layers_1_w**2).sum() + (v_layers_1_b**2).sum())  # experiments.lee:19
    v_layers_0_w_3 = v_layers_0_w / sqrt_  # [net.sizes_0, net.sizes_1]
    v_layers_0_b_3 = v_layers_0_b / sqrt_  # [net.sizes_1]
    v_layers_1_w_3 = v_layers_1_w / sqrt_  # [net.sizes_1, net.sizes_2]
    v_layers_1_b_3 = v_layers_1_b / sqrt_  # [net.sizes_2]
    add_2_2, saved_net = net.forward_saved(x)  # experiments.lee:15
    d_mean_2 = torch.ones((), dtype=FLOAT, device=v_layers_0_w.device)
    d_add_2_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2_2, y, d_mean_2)
    _, saved_net_ = net.forward_backward_parameters_saved(x, saved_net, d_add_2_2)
    d_net, d_x_2, d_d_add_2_2 = net.forward_backward_parameters_backward(
        x,
        saved_net,
        d_add_2_2,
        saved_net_,
        {
            "layers.0": {"w": v_layers_0_w_3, "b": v_layers_0_b_3},
            "layers.1": {"w": v_layers_1_w_3, "b": v_layers_1_b_3},
        },
    )
    d_add_2_2_2 = cross_entropy_backward_backward(saved_cross_entropy_backward, d_d_add_2_2)  # [n, net.sizes_2]
    d_net_ = net.forward_saved_backward_parameters(x, saved_net, d_add_2_2_2, d_x_2)
    w_3 = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    # experiments.lee:20
    curved = stop(net.at({"layers.0": d_net_["layers.0"], "layers.1": {"w": w_3, "b": d_net_["layers.1"]["b"]}}))
    sum_5 = (v_layers_0_w_3 * curved.layers[0].w).sum()
    add_4 = sum_5 + (v_layers_0_b_3 * curved.layers[0].b).sum()
    add_5 = add_4 + (v_layers_1_w_3 * curved.layers[1].w).sum()
    value_2 = add_5 + (v_layers_1_b_3 * curved.layers[1].b).sum()
    return curved.layers[0].w, curved.layers[0].b, curved.layers[1].w, curved.layers[1].b, value_2


@torch.no_grad()
def by_batch_size(batch=16, epochs=5, rate=0.2, *, run=None):
    """Small batches are noisy and end in flat places, large ones rather in sharp places."""
    from leec.runtime.run import Run

    run = run or Run("by_batch_size", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 12, 10), key=run.key("net")).to(run.session.place.device)  # experiments.lee:29
    opt = SGD(lr=rate)  # experiments.lee:30
    step = ByBatchSizeStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # experiments.lee:33
        reported_test, reported_sharpness = by_batch_size_test_sharpness(
            net, data.test.x, data.test.y, data.train.x, data.train.y
        )
        run.report(test=reported_test, sharpness=reported_sharpness)  # experiments.lee:34
    return net


class ByBatchSizeStep(TrainStep):
    """One step of by_batch_size for net, opt: call it with a batch."""

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
        return (self.opt.lr, self.opt.weight_decay)

    def step(self, x, y):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 12]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [12, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 12]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [12]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 12]
        lr = self.opt.lr
        weight_decay = self.opt.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return surprise.sum() / count  # losses.lee:148


def by_batch_size_test_sharpness(net, data_test_x, data_test_y, data_train_x, data_train_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n], data_train_x [data_train_n, 64], data_train_y
    int[data_train_n] -> [], []
    """
    return accuracy(net(data_test_x), data_test_y), sharpness(net, data_train_x, data_train_y, 5)  # experiments.lee:34


def parabola(x, y, at):
    """The best parabola through each of several data sets with the same x, at other places.

    x [n], y [sets, n], at [m] -> [sets, m]
    """
    n = x.shape[0]
    x_mean = x.mean()  # experiments.lee:43
    first = x - x_mean  # [n]
    first_at = at - x_mean  # [m]  experiments.lee:44
    sum_2 = dot(first, first)  # experiments.lee:45
    a = dot(x * first, first) / sum_2
    b = sum_2 / n  # experiments.lee:46
    second = (x - a) * first - b  # [n]  experiments.lee:47
    second_at = (at - a) * first_at - b  # [m]  experiments.lee:48
    constant = y.mean(dim=1)  # [sets]  experiments.lee:49
    add = constant[:, None] + (y @ first / sum_2)[:, None] * first_at  # [sets, m]  experiments.lee:50
    mul_5 = (y @ second / dot(second, second))[:, None] * second_at  # [sets, m]
    return add + mul_5  # [sets, m]


def parabola_saved(x, y, at):
    """As parabola, and what its gradient needs."""
    n = x.shape[0]
    x_mean = x.mean()  # experiments.lee:43
    first = x - x_mean  # [n]
    first_at = at - x_mean  # [m]  experiments.lee:44
    mul = x * first  # [n]  experiments.lee:45
    sum_2 = dot(first, first)
    a = dot(mul, first) / sum_2
    b = sum_2 / n  # experiments.lee:46
    sub = x - a  # [n]  experiments.lee:47
    second = sub * first - b  # [n]
    sub_2 = at - a  # [m]  experiments.lee:48
    second_at = sub_2 * first_at - b  # [m]
    constant = y.mean(dim=1)  # [sets]  experiments.lee:49
    div = y @ first / sum_2  # [sets]  experiments.lee:50
    sum_5 = dot(second, second)  # experiments.lee:51
    div_2 = y @ second / sum_5  # [sets]
    add = constant[:, None] + div[:, None] * first_at  # [sets, m]  experiments.lee:50
    saved = first, first_at, mul, sum_2, a, sub, second, sub_2, second_at, div, sum_5, div_2
    return add + div_2[:, None] * second_at, saved


def parabola_backward(x, y, saved, d_out):
    """From d_out to the gradients by x, y and at."""
    first, first_at, mul, sum_2, a, sub, second, sub_2, second_at, div, sum_5, div_2 = saved
    n = x.shape[0]
    # gradient of return constant[:, None] + (y @ first / dot(first, first))[:, None] * first_a..   experiments.lee:50
    d_second_at = (d_out * div_2[:, None]).sum(dim=0)  # [m]
    d_div_2 = (d_out * second_at).sum(dim=1)  # [sets]
    # gradient of y @ second / dot(second, second)   experiments.lee:51
    d_contract_2 = d_div_2 / sum_5  # [sets]
    d_second_2, d_second_3 = dot_backward(second, second, -(d_div_2 * div_2 / sum_5).sum())
    # gradient of return constant[:, None] + (y @ first / dot(first, first))[:, None] * first_a..   experiments.lee:50
    d_div = (d_out * first_at).sum(dim=1)  # [sets]
    d_contract = d_div / sum_2  # [sets]
    d_constant = d_out.sum(dim=1)  # [sets]
    # gradient of second_at = (at - a) * first_at - b   experiments.lee:48
    d_sub_2 = d_second_at * first_at  # [m]
    # gradient of second = (x - a) * first - b   experiments.lee:47
    d_second = d_second_2 + d_second_3 + d_contract_2 @ y  # [n]
    d_sub = d_second * first  # [n]
    # gradient of b = dot(first, first) / n   experiments.lee:46
    d_b = -(d_second_at.sum() + d_second.sum())
    # gradient of a = dot(x * first, first) / dot(first, first)   experiments.lee:45
    d_a = -(d_sub_2.sum() + d_sub.sum())
    d_sum_2 = d_b / n - (d_div * div / sum_2).sum() - d_a * a / sum_2
    d_first_4, d_first_5 = dot_backward(first, first, d_sum_2)
    d_mul, d_first_6 = dot_backward(mul, first, d_a / sum_2)
    # gradient of first_at = at - mean(x)   experiments.lee:44
    d_first_at = (d_out * div[:, None]).sum(dim=0) + d_second_at * sub_2  # [m]
    # gradient of first = x - mean(x)   experiments.lee:43
    d_first_10 = d_contract @ y + d_second * sub + d_first_4 + d_first_5  # [n]
    d_first = d_first_10 + d_first_6 + d_mul * x  # [n]
    d_x = d_sub + d_mul * first + d_first - (d_first_at.sum() + d_first.sum()) / n  # [n]
    d_y_5 = d_contract_2[:, None] * second + d_contract[:, None] * first  # [sets, n]
    d_y = d_y_5 + (d_constant / n)[:, None]  # [sets, n]
    d_at = d_sub_2 + d_first_at  # [m]
    return d_x, d_y, d_at


def bias_and_variance(fits, ideal):
    """How far the mean of all fits is from the ideal, and how far the fits are from their mean, both squared.

    fits [sets, m], ideal [m] -> [], []
    """
    middle = fits.mean(dim=0)  # [m]  experiments.lee:57
    sub = middle - ideal  # [m]  experiments.lee:58
    sub_2 = fits - middle  # [sets, m]
    return (sub**2).mean(), (sub_2**2).mean()


def bias_and_variance_saved(fits, ideal):
    """As bias_and_variance, and what its gradient needs."""
    middle = fits.mean(dim=0)  # [m]  experiments.lee:57
    sub = middle - ideal  # [m]  experiments.lee:58
    sub_2 = fits - middle  # [sets, m]
    return (sub**2).mean(), (sub_2**2).mean(), (sub, sub_2)


def bias_and_variance_backward(saved, d_mean, d_mean_2):
    """From d_mean and d_mean_2 to the gradients by fits and ideal."""
    sub, sub_2 = saved
    m = sub.shape[0]
    sets = sub_2.shape[0]
    # gradient of return mean((middle - ideal) ** 2), mean((fits - middle) ** 2)   experiments.lee:58
    d_sub_2 = 2 * (d_mean_2 / (m * sets)) * sub_2  # [sets, m]
    d_sub = 2 * (d_mean / m) * sub  # [m]
    d_ideal = -d_sub  # [m]
    # gradient of middle = mean(fits, axis = 0)   experiments.lee:57
    d_middle = d_sub - d_sub_2.sum(dim=0)  # [m]
    d_fits = d_sub_2 + d_middle / sets  # [sets, m]
    return d_fits, d_ideal


def parameters(net):
    """How many numbers a net has to learn."""
    add = 1.0 * (net.sizes[0] * net.sizes[1]) + 1.0 * net.sizes[1]
    add_2 = add + 1.0 * (net.sizes[1] * net.sizes[2])
    add_4 = add_2 + 1.0 * net.sizes[2]
    y = torch.full((), add_4, dtype=FLOAT, device=net.layers[0].w.device)
    return y


@torch.no_grad()
def fat(epochs=10, batch=64, rate=0.3, *, run=None):
    """One wide layer: 2410 parameters."""
    from leec.runtime.run import Run

    run = run or Run("fat", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 32, 10), key=run.key("net")).to(run.session.place.device)  # experiments.lee:72
    opt = SGD(lr=rate)  # experiments.lee:73
    step = FatStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # experiments.lee:76
        reported_train, reported_test = fat_train_test(net, data.train.x, data.train.y, data.test.x, data.test.y)
        run.report(train=reported_train, test=reported_test)  # experiments.lee:77
    return net


class FatStep(TrainStep):
    """One step of fat for net, opt: call it with a batch."""

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
        return (self.opt.lr, self.opt.weight_decay)

    def step(self, x, y):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 32]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [32, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 32]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [32]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 32]
        lr = self.opt.lr
        weight_decay = self.opt.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return surprise.sum() / count  # losses.lee:148


def fat_train_test(net, data_train_x, data_train_y, data_test_x, data_test_y):
    """data_train_x [data_train_n, 64], data_train_y int[data_train_n], data_test_x [data_test_n, 64], data_test_y
    int[data_test_n] -> [], []
    """
    return cross_entropy(net(data_train_x), data_train_y), accuracy(net(data_test_x), data_test_y)  # experiments.lee:77


@torch.no_grad()
def thin(epochs=10, batch=64, rate=0.3, *, run=None):
    """Three narrow layers with about as many, 2426. A larger loss on what it was trained with is no overfitting."""
    from leec.runtime.run import Run

    run = run or Run("thin", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP_2(sizes=(64, 24, 18, 14, 10), key=run.key("net")).to(run.session.place.device)  # experiments.lee:84
    opt = SGD(lr=rate)  # experiments.lee:85
    step = ThinStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # experiments.lee:88
        reported_train, reported_test = thin_train_test(net, data.train.x, data.train.y, data.test.x, data.test.y)
        run.report(train=reported_train, test=reported_test)  # experiments.lee:89
    return net


class ThinStep(TrainStep):
    """One step of thin for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.layers.0.w",
        "net.layers.0.b",
        "net.layers.1.w",
        "net.layers.1.b",
        "net.layers.2.w",
        "net.layers.2.b",
        "net.layers.3.w",
        "net.layers.3.b",
    )
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.weight_decay)

    def step(self, x, y):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_2_w, layers_2_b, layers_3_w = self.tensors[:7]
        (layers_3_b,) = self.tensors[7:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b, d_layers_2_w, d_layers_2_b = self.gradients[:6]
        d_layers_3_w, d_layers_3_b = self.gradients[6:]
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 24]  prelude.lee:61
        x_3 = torch.relu(torch.addmm(layers_1_b, x_2, layers_1_w))  # [batches_n, 18]
        x_4 = torch.relu(torch.addmm(layers_2_b, x_3, layers_2_w))  # [batches_n, 14]
        affine_4 = torch.addmm(layers_3_b, x_4, layers_3_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_4, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_4 = (torch.softmax(affine_4, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_4, dim=0, out=d_layers_3_b)  # [10]  nn.lee:21
        torch.mm(x_4.T, d_add_4, out=d_layers_3_w)  # [14, 10]
        d_add_3 = torch.ops.aten.threshold_backward(d_add_4 @ layers_3_w.T, x_4, 0)  # [batches_n, 14]  prelude.lee:61
        torch.sum(d_add_3, dim=0, out=d_layers_2_b)  # [14]  nn.lee:21
        torch.mm(x_3.T, d_add_3, out=d_layers_2_w)  # [18, 14]
        d_add_2 = torch.ops.aten.threshold_backward(d_add_3 @ layers_2_w.T, x_3, 0)  # [batches_n, 18]  prelude.lee:61
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [18]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [24, 18]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 24]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [24]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 24]
        lr = self.opt.lr
        weight_decay = self.opt.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return surprise.sum() / count  # losses.lee:148


def thin_train_test(net, data_train_x, data_train_y, data_test_x, data_test_y):
    """data_train_x [data_train_n, 64], data_train_y int[data_train_n], data_test_x [data_test_n, 64], data_test_y
    int[data_test_n] -> [], []
    """
    return cross_entropy(net(data_train_x), data_train_y), accuracy(net(data_test_x), data_test_y)  # experiments.lee:89


def mirrored(image):
    """Left and right exchanged.

    image [n, c, h, w] -> [n, c, h, w]
    """
    y = torch.flip(image, (3,))  # [n, c, h, w]  experiments.lee:98
    return y  # [n, c, h, w]


def mirrored_backward(d_y):
    """From d_y to the gradient by image."""
    # gradient of y[r, k, i, j in w] = image[r, k, i, w - 1 - j]   experiments.lee:98
    d_image = torch.flip(d_y, (3,))  # [n, c, h, w]
    return d_image  # [n, c, h, w]


@torch.no_grad()
def mismatched(epochs=10, batch=64, rate=0.3, noise=0.3, *, run=None):
    """What was learned on clean digits fails on noisy and on mirrored ones, however little it overfits."""
    from leec.runtime.run import Run

    run = run or Run("mismatched", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 32, 10), key=run.key("net")).to(run.session.place.device)  # experiments.lee:105
    opt = SGD(lr=rate)  # experiments.lee:106
    step = MismatchedStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for image, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(image, y))  # experiments.lee:109
    other = mismatched_other(data.test.x, noise, key=run.key("mismatched"))  # experiments.lee:110
    reported_same, reported_noisy, reported_mirrored = mismatched_same_noisy_mirrored(
        net, data.test.x, data.test.y, other
    )
    run.report(same=reported_same, noisy=reported_noisy, mirrored=reported_mirrored)  # experiments.lee:111
    return net


class MismatchedStep(TrainStep):
    """One step of mismatched for net, opt: call it with a batch."""

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
        return (self.opt.lr, self.opt.weight_decay)

    def step(self, image, y):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = image.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        image_flat = image.reshape(batches_n, 64)  # [batches_n, 64]  experiments.lee:109
        x_2 = torch.relu(torch.addmm(layers_0_b, image_flat, layers_0_w))  # [batches_n, 32]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=image.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [32, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 32]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [32]  nn.lee:21
        torch.mm(image_flat.T, d_add, out=d_layers_0_w)  # [64, 32]
        lr = self.opt.lr
        weight_decay = self.opt.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return surprise.sum() / count  # losses.lee:148


def mismatched_other(data_test_x, noise, key):
    """data_test_x [data_test_n, 1, 8, 8] -> [data_test_n, 1, 8, 8]"""
    data_test_n = data_test_x.shape[0]
    key_2 = fold(key, SITES["other"])  # experiments.lee:110
    normal_ = normal(key_2, (data_test_n, 1, 8, 8), FLOAT, data_test_x.device)  # [data_test_n, 1, 8, 8]
    other = noise * normal_  # [data_test_n, 1, 8, 8]
    return other  # [data_test_n, 1, 8, 8]


def mismatched_same_noisy_mirrored(net, data_test_x, data_test_y, other):
    """data_test_x [data_test_n, 1, 8, 8], data_test_y int[data_test_n], other [data_test_n, 1, 8, 8] -> [], [], []"""
    data_test_n = data_test_x.shape[0]
    same = accuracy(net(data_test_x.reshape(data_test_n, 64)), data_test_y)  # experiments.lee:111
    noisy = accuracy(net((data_test_x + other).reshape(data_test_n, 64)), data_test_y)
    mirrored_ = accuracy(net(mirrored(data_test_x).reshape(data_test_n, 64)), data_test_y)  # experiments.lee:114
    return same, noisy, mirrored_


def example_sharp(key):
    net = MLP((4, 3, 3), key=fold(key, SITES["net"]))  # experiments.lee:119
    x = normal(fold(key, SITES["x"]), (8, 4), FLOAT)  # [8, 4]  experiments.lee:120
    y = randint(fold(key, SITES["y"]), (8,), 0, 3)  # int[8]  experiments.lee:121
    return cross_entropy(net(x), y), sharpness(net, x, y, 3)  # experiments.lee:122


def example_spread(key):
    x = normal(fold(key, SITES["x"]), (7,), FLOAT)  # [7]  experiments.lee:126
    y = normal(fold(key, SITES["y"]), (4, 7), FLOAT)  # [4, 7]  experiments.lee:127
    at = normal(fold(key, SITES["at"]), (5,), FLOAT)  # [5]  experiments.lee:128
    ideal = normal(fold(key, SITES["ideal"]), (5,), FLOAT)  # [5]  experiments.lee:129
    add_2, saved_parabola = parabola_saved(x, y, at)  # experiments.lee:130
    bias, variance, saved_bias_and_variance = bias_and_variance_saved(add_2, ideal)
    d_variance = torch.full((), 2.0, dtype=FLOAT)  # experiments.lee:131
    d_bias = torch.ones((), dtype=FLOAT)
    d_add_2, d_ideal = bias_and_variance_backward(saved_bias_and_variance, d_bias, d_variance)  # experiments.lee:130
    d_x, d_y, d_at = parabola_backward(x, y, saved_parabola, d_add_2)
    return bias + 2 * variance, d_x, d_y, d_at, d_ideal


def example_counted(key):
    net = MLP((4, 3, 3), key=fold(key, SITES["net"]))  # experiments.lee:135
    b = torch.zeros(3, dtype=FLOAT)  # [3]  experiments.lee:136
    return parameters(net), net.at(
        {
            "layers.0": {"w": torch.zeros((4, 3), dtype=FLOAT), "b": b},
            "layers.1": {"w": torch.zeros((3, 3), dtype=FLOAT), "b": b},
        }
    )


def example_turned_round(key):
    image = normal(fold(key, SITES["image"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  experiments.lee:140
    c = normal(fold(key, SITES["c"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  experiments.lee:141
    d_c = mirrored(image)  # [2, 3, 4, 5]  experiments.lee:142
    return (c * d_c).sum(), mirrored_backward(c), d_c


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


def cross_entropy_backward_saved(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    softmax_ = torch.softmax(z, dim=1)  # [rows, k]
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    reshape_2 = d_surprise[:, None]  # [rows, 1]
    d_z = (softmax_ - eq.to(FLOAT)) * reshape_2  # [rows, k]
    return d_z, (softmax_, reshape_2)


def cross_entropy_backward_backward(saved, d_d_z):
    """From d_d_z to the gradient by z."""
    softmax_, reshape_2 = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_sub = d_d_z * reshape_2  # [rows, k]
    d_z = softmax_ * (d_sub - (d_sub * softmax_).sum(dim=1, keepdim=True))  # [rows, k]
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

    def forward_backward_backward(self, x, d_add, d_d_self, d_d_x):
        """From d_add, d_d_self and d_d_x to the gradients by the parameters, x and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_add @ d_d_self["w"].T  # [rows, inputs]
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        d_d_add = x @ d_d_self["w"] + d_d_x @ self.w + d_d_self["b"]  # [rows, outputs]
        return {"w": d_w}, d_x, d_d_add

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(dim=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}

    @staticmethod
    def forward_backward_parameters_backward(x, d_d_self):
        """From d_d_self to the gradient by d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_add = torch.addmm(d_d_self["b"], x, d_d_self["w"])  # [rows, outputs]
        return d_d_add  # [rows, outputs]


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

    def forward_backward_parameters_saved(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add, saved_relu_backward = relu_backward_saved(x_2, d_x_2)
        d_layers_0 = Linear.forward_backward_parameters(x, d_add)
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}, saved_relu_backward

    def forward_backward_parameters_backward(self, x, x_2, d_add_2, saved_relu_backward, d_d_self):
        """From d_add_2 and d_d_self to the gradients by the parameters, x_2 and d_add_2."""
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_add = Linear.forward_backward_parameters_backward(x, d_d_self["layers.0"])  # [x_0, sizes_1]
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2, d_d_add_2 = self.layers[1].forward_backward_backward(
            x_2, d_add_2, d_d_self["layers.1"], d_d_x_2
        )
        return {"layers.1": d_layers_1_}, d_x_2, d_d_add_2

    def forward_saved_backward_parameters(self, x, x_2, d_y, d_x_2):
        """From d_y and d_x_2 to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2_3 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_2_2 = d_x_2 + d_x_2_3  # [x_0, sizes_1]
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


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
                Linear(sizes[3], sizes[4], key=fold(key, SITES["layers.3"])),
            ]
        )

    def forward(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_4]"""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        x_3 = relu(self.layers[1](x_2))  # [x_0, sizes_2]
        x_4 = relu(self.layers[2](x_3))  # [x_0, sizes_3]
        return self.layers[3](x_4)  # [x_0, sizes_4]  nn.lee:42


class SGD(Optimizer):
    """θ ← θ - η (g + λ θ)"""

    def __init__(self, lr=0.01, weight_decay=0.0):
        self.lr, self.weight_decay = lr, weight_decay

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        θ.sub_(self.lr * (g + self.weight_decay * θ))  # [count]  optim.lee:11


def stop(x):
    """x, through which no gradient flows."""
    # prelude.lee:18
    return x.at(
        {
            "layers.0": {"w": x.layers[0].w.detach(), "b": x.layers[0].b.detach()},
            "layers.1": {"w": x.layers[1].w.detach(), "b": x.layers[1].b.detach()},
        }
    )


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


def relu_backward_saved(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    gt = select > 0  # bool[x_0, x_1]
    d_x = torch.where(gt, d_y, 0)  # [x_0, x_1]
    return d_x, gt


def relu_backward_backward(gt, d_d_x):
    """From d_d_x to the gradient by d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_select = torch.where(gt, d_d_x, 0)  # [x_0, x_1]
    return d_d_select  # [x_0, x_1]


def dot(x, y):
    """Σ xᵢ yᵢ over all entries.

    x [x_0], y [x_0] -> []
    """
    return (x * y).sum()  # prelude.lee:158


def dot_backward(x, y, d_out):
    """From d_out to the gradients by x and y."""
    # gradient of return sum(x * y)   prelude.lee:158
    d_x = d_out * y  # [x_0]
    d_y = d_out * x  # [x_0]
    return d_x, d_y


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "at": 0xDB48EBEF0A7E0AB1,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "ideal": 0xCB215D3486A74B39,
    "image": 0x86C9701471CF0710,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "layers.2": 0xA380C36DF3DD4243,
    "layers.3": 0x4FB19B7CE8399B01,
    "net": 0xF087C76970C91612,
    "other": 0xAF93053850CE50D6,
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
