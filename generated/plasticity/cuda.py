"""Selective plasticity: parameters that mattered for the task before resist change (inventory N3, N4).

Made from specs/lifelong/plasticity.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/lifelong/plasticity.lee
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


def guarded_saved(net, old, guard, x, y, strength=1.0):
    """As guarded, and what its gradient needs."""
    if net.sizes[0] != old.sizes[0]:
        raise ValueError(f"plasticity.lee:12: net.sizes_0 = {net.sizes[0]} must equal old.sizes_0 = {old.sizes[0]}")
    if net.sizes[1] != old.sizes[1]:
        raise ValueError(f"plasticity.lee:12: net.sizes_1 = {net.sizes[1]} must equal old.sizes_1 = {old.sizes[1]}")
    if net.sizes[2] != old.sizes[2]:
        raise ValueError(f"plasticity.lee:12: net.sizes_2 = {net.sizes[2]} must equal old.sizes_2 = {old.sizes[2]}")
    if guard.sizes[0] != net.sizes[0]:
        raise ValueError(
            f"plasticity.lee:12: guard.sizes_0 = {guard.sizes[0]} " f"must equal net.sizes_0 = {net.sizes[0]}"
        )
    if guard.sizes[1] != net.sizes[1]:
        raise ValueError(
            f"plasticity.lee:12: guard.sizes_1 = {guard.sizes[1]} " f"must equal net.sizes_1 = {net.sizes[1]}"
        )
    if guard.sizes[2] != net.sizes[2]:
        raise ValueError(
            f"plasticity.lee:12: guard.sizes_2 = {guard.sizes[2]} " f"must equal net.sizes_2 = {net.sizes[2]}"
        )
    add_2, saved_net = net.forward_saved(x)  # plasticity.lee:12
    sub = net.layers[0].w - old.layers[0].w.reshape(net.sizes[0], net.sizes[1])  # [net.sizes_0, net.sizes_1]
    sub_2 = net.layers[0].b - old.layers[0].b.reshape(net.sizes[1])  # [net.sizes_1]
    sub_3 = net.layers[1].w - old.layers[1].w.reshape(net.sizes[1], net.sizes[2])  # [net.sizes_1, net.sizes_2]
    sub_4 = net.layers[1].b - old.layers[1].b.reshape(net.sizes[2])  # [net.sizes_2]
    reshape_5 = (sub**2).reshape(guard.sizes[0], guard.sizes[1])  # [guard.sizes_0, guard.sizes_1]
    reshape_6 = (sub_2**2).reshape(guard.sizes[1])  # [guard.sizes_1]
    reshape_7 = (sub_3**2).reshape(guard.sizes[1], guard.sizes[2])  # [guard.sizes_1, guard.sizes_2]
    reshape_8 = (sub_4**2).reshape(guard.sizes[2])  # [guard.sizes_2]
    sum_ = (guard.layers[0].w * reshape_5).sum()
    add = sum_ + (guard.layers[0].b * reshape_6).sum()
    add_3 = add + (guard.layers[1].w * reshape_7).sum()
    mul_9 = strength * (add_3 + (guard.layers[1].b * reshape_8).sum())
    saved = add_2, saved_net, sub, sub_2, sub_3, sub_4, reshape_5, reshape_6, reshape_7, reshape_8
    return cross_entropy(add_2, y) + mul_9, saved


def guarded_backward(net, guard, x, y, strength, saved, old_sizes_0, old_sizes_1, old_sizes_2, d_add_5):
    """From d_add_5 to the gradients by net, old, guard and x."""
    add_2, saved_net, sub, sub_2, sub_3, sub_4, reshape_5, reshape_6, reshape_7, reshape_8 = saved
    # gradient of return cross_entropy(net(x), y) + strength * sum(guard * (net - old) ** 2)   plasticity.lee:12
    d_add_4 = d_add_5 * strength
    d_guard_layers_1_b = d_add_4 * reshape_8  # [guard.sizes_2]
    d_guard_layers_1_w = d_add_4 * reshape_7  # [guard.sizes_1, guard.sizes_2]
    d_reshape_7 = d_add_4 * guard.layers[1].w  # [guard.sizes_1, guard.sizes_2]
    d_guard_layers_0_b = d_add_4 * reshape_6  # [guard.sizes_1]
    d_guard_layers_0_w = d_add_4 * reshape_5  # [guard.sizes_0, guard.sizes_1]
    d_reshape_5 = d_add_4 * guard.layers[0].w  # [guard.sizes_0, guard.sizes_1]
    d_sub_4_2 = (d_add_4 * guard.layers[1].b).reshape(net.sizes[2]) * sub_4  # [net.sizes_2]
    d_sub_3_2 = d_reshape_7.reshape(net.sizes[1], net.sizes[2]) * sub_3  # [net.sizes_1, net.sizes_2]
    d_sub_2_2 = (d_add_4 * guard.layers[0].b).reshape(net.sizes[1]) * sub_2  # [net.sizes_1]
    d_sub_5 = d_reshape_5.reshape(net.sizes[0], net.sizes[1]) * sub  # [net.sizes_0, net.sizes_1]
    d_old_layers_1_b = (-2 * d_sub_4_2).reshape(old_sizes_2)  # [old.sizes_2]
    d_old_layers_1_w = (-2 * d_sub_3_2).reshape(old_sizes_1, old_sizes_2)  # [old.sizes_1, old.sizes_2]
    d_old_layers_0_b = (-2 * d_sub_2_2).reshape(old_sizes_1)  # [old.sizes_1]
    d_old_layers_0_w = (-2 * d_sub_5).reshape(old_sizes_0, old_sizes_1)  # [old.sizes_0, old.sizes_1]
    d_add_2 = cross_entropy_backward(add_2, y, d_add_5)  # [n, net.sizes_2]
    d_net, d_x = net.forward_backward(x, saved_net, d_add_2)
    d_net_layers_0_w = 2 * d_sub_5 + d_net["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = 2 * d_sub_2_2 + d_net["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w = 2 * d_sub_3_2 + d_net["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_b = 2 * d_sub_4_2 + d_net["layers.1"]["b"]  # [net.sizes_2]
    return (
        {
            "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
            "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
        },
        {
            "layers.0": {"w": d_old_layers_0_w, "b": d_old_layers_0_b},
            "layers.1": {"w": d_old_layers_1_w, "b": d_old_layers_1_b},
        },
        {
            "layers.0": {"w": d_guard_layers_0_w, "b": d_guard_layers_0_b},
            "layers.1": {"w": d_guard_layers_1_w, "b": d_guard_layers_1_b},
        },
        d_x,
    )


def fisher(net, x, y):
    """EWC (Kirkpatrick et al. 2017): the mean over examples of the squared slope.

    x [n, net.sizes_0], y int[n] -> MLP
    """
    n = x.shape[0]
    # [net.sizes_0, net.sizes_1]  plasticity.lee:20
    fill = torch.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=x.device)
    fill_3 = torch.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=x.device)  # [net.sizes_1, net.sizes_2]
    total_layers_0_b = torch.zeros(net.sizes[1], dtype=FLOAT, device=x.device)  # [net.sizes_1]
    total_layers_1_b = torch.zeros(net.sizes[2], dtype=FLOAT, device=x.device)  # [net.sizes_2]
    for i in range(n):
        fill, total_layers_0_b, fill_3, total_layers_1_b = fisher_step(
            net, fill, total_layers_0_b, fill_3, total_layers_1_b, x[i], y[i]
        )
    return net.at(
        {
            "layers.0": {"w": fill / n, "b": total_layers_0_b / n},
            "layers.1": {"w": fill_3 / n, "b": total_layers_1_b / n},
        }
    )


def fisher_step(net, total_layers_0_w, total_layers_0_b, total_layers_1_w, total_layers_1_b, x_i, y_i):
    """total.layers.0.w [net.sizes_0, net.sizes_1], total.layers.0.b [net.sizes_1], total.layers.1.w [net.sizes_1,
    net.sizes_2], total.layers.1.b [net.sizes_2], x_i [net.sizes_0] -> [net.sizes_0, net.sizes_1],
    [net.sizes_1], [net.sizes_1, net.sizes_2], [net.sizes_2]
    """
    reshape_4, saved_net = net.forward_2_saved(x_i)  # plasticity.lee:20
    d_mean = torch.ones((), dtype=FLOAT, device=total_layers_0_w.device)
    d_reshape = cross_entropy_backward(reshape_4[None], y_i[None], d_mean)  # [1, net.sizes_2]
    d_reshape_4 = d_reshape.reshape(net.sizes[2])  # [net.sizes_2]
    d_net = net.forward_2_backward_parameters(x_i, saved_net, d_reshape_4)
    mul = d_net["layers.0"]["w"] * d_net["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    mul_2 = d_net["layers.0"]["b"] * d_net["layers.0"]["b"]  # [net.sizes_1]
    mul_3 = d_net["layers.1"]["w"] * d_net["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    mul_4 = d_net["layers.1"]["b"] * d_net["layers.1"]["b"]  # [net.sizes_2]
    return total_layers_0_w + mul, total_layers_0_b + mul_2, total_layers_1_w + mul_3, total_layers_1_b + mul_4


def sensitivity(net, x):
    """MAS (Aljundi et al. 2018): how much the square length of the answers moves with θᵢ, which needs no labels.

    x [n, net.sizes_0] -> MLP
    """
    n = x.shape[0]
    # [net.sizes_0, net.sizes_1]  plasticity.lee:25
    fill = torch.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=x.device)
    fill_3 = torch.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=x.device)  # [net.sizes_1, net.sizes_2]
    total_layers_0_b = torch.zeros(net.sizes[1], dtype=FLOAT, device=x.device)  # [net.sizes_1]
    total_layers_1_b = torch.zeros(net.sizes[2], dtype=FLOAT, device=x.device)  # [net.sizes_2]
    for i in range(n):
        fill, total_layers_0_b, fill_3, total_layers_1_b = sensitivity_step(
            net, fill, total_layers_0_b, fill_3, total_layers_1_b, x[i]
        )
    return net.at(
        {
            "layers.0": {"w": fill / n, "b": total_layers_0_b / n},
            "layers.1": {"w": fill_3 / n, "b": total_layers_1_b / n},
        }
    )


def sensitivity_step(net, total_layers_0_w, total_layers_0_b, total_layers_1_w, total_layers_1_b, x_i):
    """total.layers.0.w [net.sizes_0, net.sizes_1], total.layers.0.b [net.sizes_1], total.layers.1.w [net.sizes_1,
    net.sizes_2], total.layers.1.b [net.sizes_2], x_i [net.sizes_0] -> [net.sizes_0, net.sizes_1],
    [net.sizes_1], [net.sizes_1, net.sizes_2], [net.sizes_2]
    """
    reshape_4, saved_net = net.forward_2_saved(x_i)  # plasticity.lee:25
    d_net = net.forward_2_backward_parameters(x_i, saved_net, 2 * reshape_4)
    return (
        total_layers_0_w + torch.abs(d_net["layers.0"]["w"]),
        total_layers_0_b + torch.abs(d_net["layers.0"]["b"]),
        total_layers_1_w + torch.abs(d_net["layers.1"]["w"]),
        total_layers_1_b + torch.abs(d_net["layers.1"]["b"]),
    )


def path_integral(path, net, start, damping=0.1):
    """SI (Zenke et al. 2017): by how much θᵢ lowered the loss on its way, over the square of how far it went."""
    if net.sizes[0] != start.sizes[0]:
        raise ValueError(
            f"plasticity.lee:30: net.sizes_0 = {net.sizes[0]} " f"must equal start.sizes_0 = {start.sizes[0]}"
        )
    if net.sizes[1] != start.sizes[1]:
        raise ValueError(
            f"plasticity.lee:30: net.sizes_1 = {net.sizes[1]} " f"must equal start.sizes_1 = {start.sizes[1]}"
        )
    if net.sizes[2] != start.sizes[2]:
        raise ValueError(
            f"plasticity.lee:30: net.sizes_2 = {net.sizes[2]} " f"must equal start.sizes_2 = {start.sizes[2]}"
        )
    if path.sizes[0] != net.sizes[0]:
        raise ValueError(f"plasticity.lee:30: path.sizes_0 = {path.sizes[0]} must equal net.sizes_0 = {net.sizes[0]}")
    if path.sizes[1] != net.sizes[1]:
        raise ValueError(f"plasticity.lee:30: path.sizes_1 = {path.sizes[1]} must equal net.sizes_1 = {net.sizes[1]}")
    if path.sizes[2] != net.sizes[2]:
        raise ValueError(f"plasticity.lee:30: path.sizes_2 = {path.sizes[2]} must equal net.sizes_2 = {net.sizes[2]}")
    # [net.sizes_0, net.sizes_1]  plasticity.lee:30
    sub = net.layers[0].w - start.layers[0].w.reshape(net.sizes[0], net.sizes[1])
    sub_2 = net.layers[0].b - start.layers[0].b.reshape(net.sizes[1])  # [net.sizes_1]
    sub_3 = net.layers[1].w - start.layers[1].w.reshape(net.sizes[1], net.sizes[2])  # [net.sizes_1, net.sizes_2]
    sub_4 = net.layers[1].b - start.layers[1].b.reshape(net.sizes[2])  # [net.sizes_2]
    reshape_5 = (sub**2 + damping).reshape(path.sizes[0], path.sizes[1])  # [path.sizes_0, path.sizes_1]
    reshape_6 = (sub_2**2 + damping).reshape(path.sizes[1])  # [path.sizes_1]
    reshape_7 = (sub_3**2 + damping).reshape(path.sizes[1], path.sizes[2])  # [path.sizes_1, path.sizes_2]
    reshape_8 = (sub_4**2 + damping).reshape(path.sizes[2])  # [path.sizes_2]
    return path.at(
        {
            "layers.0": {
                "w": path.layers[0].w.clamp(min=0) / reshape_5,
                "b": path.layers[0].b.clamp(min=0) / reshape_6,
            },
            "layers.1": {
                "w": path.layers[1].w.clamp(min=0) / reshape_7,
                "b": path.layers[1].b.clamp(min=0) / reshape_8,
            },
        }
    )


def path_integral_2(path, net, start, damping=0.1):
    """SI (Zenke et al. 2017): by how much θᵢ lowered the loss on its way, over the square of how far it went."""
    if net.sizes[0] != start.sizes[0]:
        raise ValueError(
            f"plasticity.lee:30: net.sizes_0 = {net.sizes[0]} " f"must equal start.sizes_0 = {start.sizes[0]}"
        )
    if net.sizes[1] != start.sizes[1]:
        raise ValueError(
            f"plasticity.lee:30: net.sizes_1 = {net.sizes[1]} " f"must equal start.sizes_1 = {start.sizes[1]}"
        )
    if net.sizes[2] != start.sizes[2]:
        raise ValueError(
            f"plasticity.lee:30: net.sizes_2 = {net.sizes[2]} " f"must equal start.sizes_2 = {start.sizes[2]}"
        )
    if path.sizes[0] != net.sizes[0]:
        raise ValueError(f"plasticity.lee:30: path.sizes_0 = {path.sizes[0]} must equal net.sizes_0 = {net.sizes[0]}")
    if path.sizes[1] != net.sizes[1]:
        raise ValueError(f"plasticity.lee:30: path.sizes_1 = {path.sizes[1]} must equal net.sizes_1 = {net.sizes[1]}")
    if path.sizes[2] != net.sizes[2]:
        raise ValueError(f"plasticity.lee:30: path.sizes_2 = {path.sizes[2]} must equal net.sizes_2 = {net.sizes[2]}")
    # [net.sizes_0, net.sizes_1]  plasticity.lee:30
    sub = net.layers[0].w - start.layers[0].w.reshape(net.sizes[0], net.sizes[1])
    sub_2 = net.layers[0].b - start.layers[0].b.reshape(net.sizes[1])  # [net.sizes_1]
    sub_3 = net.layers[1].w - start.layers[1].w.reshape(net.sizes[1], net.sizes[2])  # [net.sizes_1, net.sizes_2]
    sub_4 = net.layers[1].b - start.layers[1].b.reshape(net.sizes[2])  # [net.sizes_2]
    reshape_5 = (sub**2 + damping).reshape(path.sizes[0], path.sizes[1])  # [path.sizes_0, path.sizes_1]
    reshape_6 = (sub_2**2 + damping).reshape(path.sizes[1])  # [path.sizes_1]
    reshape_7 = (sub_3**2 + damping).reshape(path.sizes[1], path.sizes[2])  # [path.sizes_1, path.sizes_2]
    reshape_8 = (sub_4**2 + damping).reshape(path.sizes[2])  # [path.sizes_2]
    return path.at(
        {
            "layers.0": {
                "w": path.layers[0].w.clamp(min=0) / reshape_5,
                "b": path.layers[0].b.clamp(min=0) / reshape_6,
            },
            "layers.1": {
                "w": path.layers[1].w.clamp(min=0) / reshape_7,
                "b": path.layers[1].b.clamp(min=0) / reshape_8,
            },
        }
    )


def example_held(key):
    net = MLP((5, 6, 3), key=fold(key, SITES["net"]))  # plasticity.lee:34
    old = MLP((5, 6, 3), key=fold(key, SITES["old"]))  # plasticity.lee:35
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  plasticity.lee:36
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  plasticity.lee:37
    mul = old.layers[0].w * old.layers[0].w  # [5, 6]  plasticity.lee:38
    mul_2 = old.layers[0].b * old.layers[0].b  # [6]
    mul_3 = old.layers[1].w * old.layers[1].w  # [6, 3]
    mul_4 = old.layers[1].b * old.layers[1].b  # [3]
    mlp = net.at({"layers.0": {"w": mul, "b": mul_2}, "layers.1": {"w": mul_3, "b": mul_4}})
    value, saved_guarded = guarded_saved(net, old, mlp, x, y)
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_old, d_mlp, d_x = guarded_backward(net, mlp, x, y, 1.0, saved_guarded, 5, 6, 3, d_value)
    d_old_layers_1_b_2 = d_mlp["layers.1"]["b"] * old.layers[1].b  # [3]
    d_old_layers_1_w_2 = d_mlp["layers.1"]["w"] * old.layers[1].w  # [6, 3]
    d_old_layers_0_b_2 = d_mlp["layers.0"]["b"] * old.layers[0].b  # [6]
    d_old_layers_0_w_2 = d_mlp["layers.0"]["w"] * old.layers[0].w  # [5, 6]
    d_old_layers_0_w_4 = d_old["layers.0"]["w"] + d_old_layers_0_w_2  # [5, 6]
    d_old_layers_0_b_4 = d_old["layers.0"]["b"] + d_old_layers_0_b_2  # [6]
    d_old_layers_1_w_4 = d_old["layers.1"]["w"] + d_old_layers_1_w_2  # [6, 3]
    d_old_layers_1_b_4 = d_old["layers.1"]["b"] + d_old_layers_1_b_2  # [3]
    return (
        value,
        net.at(d_net),
        net.at(
            {
                "layers.0": {
                    "w": d_old_layers_0_w_4 + d_old_layers_0_w_2,
                    "b": d_old_layers_0_b_4 + d_old_layers_0_b_2,
                },
                "layers.1": {
                    "w": d_old_layers_1_w_4 + d_old_layers_1_w_2,
                    "b": d_old_layers_1_b_4 + d_old_layers_1_b_2,
                },
            }
        ),
        d_x,
    )


def example_worth(key):
    net = MLP((5, 6, 3), key=fold(key, SITES["net"]))  # plasticity.lee:42
    start = MLP((5, 6, 3), key=fold(key, SITES["start"]))  # plasticity.lee:43
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  plasticity.lee:44
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  plasticity.lee:45
    mlp = fisher(net, x, y)  # plasticity.lee:46
    # [57]
    value = torch.cat((mlp.layers[0].w.reshape(-1), mlp.layers[0].b, mlp.layers[1].w.reshape(-1), mlp.layers[1].b))
    mlp_ = sensitivity(net, x)
    # [57]
    value_1 = torch.cat(
        (mlp_.layers[0].w.reshape(-1), mlp_.layers[0].b, mlp_.layers[1].w.reshape(-1), mlp_.layers[1].b)
    )
    mul = net.layers[0].w * start.layers[0].w  # [5, 6]
    mul_2 = net.layers[0].b * start.layers[0].b  # [6]
    mul_3 = net.layers[1].w * start.layers[1].w  # [6, 3]
    mul_4 = net.layers[1].b * start.layers[1].b  # [3]
    mlp_2 = path_integral(
        net.at({"layers.0": {"w": mul, "b": mul_2}, "layers.1": {"w": mul_3, "b": mul_4}}), net, start
    )
    # [57]
    value_2 = torch.cat(
        (mlp_2.layers[0].w.reshape(-1), mlp_2.layers[0].b, mlp_2.layers[1].w.reshape(-1), mlp_2.layers[1].b)
    )
    return value, value_1, value_2


@torch.no_grad()
def elastic(strength=1e2, epochs=5, batch=32, rate=3e-3, *, run=None):
    """`by` says what guards the first task: fisher, sensitivity, or nothing for no guard at all.

    Made for by = 'fisher': with other values it is another program.
    """
    from leec.runtime.run import Run

    run = run or Run("elastic", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    order = elastic_order(key=run.key("elastic"))  # plasticity.lee:55
    net = MLP(sizes=(64, 64, 10), key=run.key("net")).to(run.session.place.device)  # plasticity.lee:57
    opt = Adam(lr=rate)  # plasticity.lee:58
    step = ElasticStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # plasticity.lee:61
    old = net.copy()  # plasticity.lee:62
    guard = net.copy()  # plasticity.lee:64
    elastic_guard(net, data.train.x, data.train.y, guard)  # plasticity.lee:64
    own = Adam(lr=rate)  # plasticity.lee:67
    step_ = ElasticStep2(net, old, guard, own)
    for epoch in run.loop("epoch_2", 1, epochs, guard=guard, net=net, old=old, own=own):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(step_(x, order, y, strength))  # plasticity.lee:70
    z, other = elastic_z_other(net, data.test.x, order)  # plasticity.lee:71
    reported_first, reported_second = elastic_first_second(z, data.test.y, other)  # plasticity.lee:73
    run.report(first=reported_first, second=reported_second)  # plasticity.lee:73
    return net


def elastic_order(key):
    place = uniform(fold(key, SITES["place"]), (64,), FLOAT)  # [64]  plasticity.lee:55
    order = torch.argsort(place, dim=0, stable=True)  # int[64]  plasticity.lee:56
    return order  # int[64]


class ElasticStep(TrainStep):
    """One step of elastic for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
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
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def elastic_guard(net, data_train_x, data_train_y, guard):
    guard_ = fisher(net, data_train_x, data_train_y)  # plasticity.lee:64
    with torch.no_grad():
        guard.layers[0].w.copy_(guard_.layers[0].w)  # [64, 64]
        guard.layers[0].b.copy_(guard_.layers[0].b)  # [64]
        guard.layers[1].w.copy_(guard_.layers[1].w)  # [64, 10]
        guard.layers[1].b.copy_(guard_.layers[1].b)  # [10]


class ElasticStep2(TrainStep):
    """One step of elastic for net, old, guard, own: call it with a batch."""

    moved = (("own", ("net",)),)
    counted = ("own",)
    read = (
        "net.layers.0.w",
        "net.layers.0.b",
        "net.layers.1.w",
        "net.layers.1.b",
        "old.layers.0.w",
        "old.layers.0.b",
        "old.layers.1.w",
        "old.layers.1.b",
        "guard.layers.0.w",
        "guard.layers.0.b",
        "guard.layers.1.w",
        "guard.layers.1.b",
    )
    spare = (None,)

    def __init__(self, net, old, guard, own):
        self.net, self.old, self.guard, self.own = net, old, guard, own
        self.bind()

    def numbers(self, batches_2_n):
        return (batches_2_n, 1.0 / batches_2_n)

    def constants(self):
        return (self.own.lr, self.own.beta1, self.own.beta2, self.own.eps, self.own.weight_decay)

    def scalars(self):
        return (self.own.t,)

    def step(self, x, order, y, strength, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_0_w_, layers_0_b_ = self.tensors[:6]
        layers_1_w_, layers_1_b_, layers_0_w_2, layers_0_b_2, layers_1_w_2, layers_1_b_2 = self.tensors[6:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_2_n = x.shape[0]
        count, scale = self.held(batches_2_n)  # batches_2_n, 1.0 / batches_2_n
        gather = x.permute((1, 0))[order]  # [64, batches_2_n]  plasticity.lee:70
        x_2 = torch.relu(torch.addmm(layers_0_b, gather.T, layers_0_w))  # [batches_2_n, 64]  prelude.lee:61
        affine = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_2_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine, y, reduction="none")  # [batches_2_n]  losses.lee:45
        sub = layers_0_w - layers_0_w_  # [64, 64]  plasticity.lee:12
        sub_2 = layers_0_b - layers_0_b_  # [64]
        sub_3 = layers_1_w - layers_1_w_  # [64, 10]
        sub_4 = layers_1_b - layers_1_b_  # [10]
        sum_3 = (layers_0_b_2 * (sub_2 * sub_2)).sum()
        add_2 = (layers_0_w_2 * (sub * sub)).sum() + sum_3
        add_3 = add_2 + (layers_1_w_2 * (sub_3 * sub_3)).sum()
        mul_9 = strength * (add_3 + (layers_1_b_2 * (sub_4 * sub_4)).sum())
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_2_n, 10]  losses.lee:45
        d_add_2 = (torch.softmax(affine, dim=1) - eq.to(FLOAT)) * scale  # [batches_2_n, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_2_n, 64]  prelude.lee:61
        torch.mul(layers_0_w_2, strength, out=d_layers_0_w)  # [64, 64]  plasticity.lee:12
        d_layers_0_w.mul_(sub)  # [64, 64]
        d_layers_0_w.mul_(2)  # [64, 64]
        d_layers_0_w.add_(gather @ d_add)  # [64, 64]
        torch.mul(layers_0_b_2, strength, out=d_layers_0_b)  # [64]
        d_layers_0_b.mul_(sub_2)  # [64]
        d_layers_0_b.mul_(2)  # [64]
        d_layers_0_b.add_(d_add.sum(dim=0))  # [64]
        torch.mul(layers_1_w_2, strength, out=d_layers_1_w)  # [64, 10]
        d_layers_1_w.mul_(sub_3)  # [64, 10]
        d_layers_1_w.mul_(2)  # [64, 10]
        d_layers_1_w.add_(x_2.T @ d_add_2)  # [64, 10]
        torch.mul(layers_1_b_2, strength, out=d_layers_1_b)  # [10]
        d_layers_1_b.mul_(sub_4)  # [10]
        d_layers_1_b.mul_(2)  # [10]
        d_layers_1_b.add_(d_add_2.sum(dim=0))  # [10]
        lr = self.own.lr
        beta1 = self.own.beta1
        beta2 = self.own.beta2
        eps = self.own.eps
        weight_decay = self.own.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count + mul_9


def elastic_z_other(net, data_test_x, order):
    """data_test_x [data_test_n, 64], order int[64] -> [data_test_n, 10], [data_test_n, 10]"""
    z = net(data_test_x)  # [data_test_n, 10]  plasticity.lee:71
    other = net(data_test_x.permute((1, 0))[order].T)  # [data_test_n, 10]  plasticity.lee:72
    return z, other


def elastic_first_second(z, data_test_y, other):
    """z [data_test_n, 10], data_test_y int[data_test_n], other [data_test_n, 10] -> [], []"""
    return accuracy(z, data_test_y), accuracy(other, data_test_y)  # plasticity.lee:73


@torch.no_grad()
def synaptic(strength=2.0, epochs=5, batch=32, rate=3e-3, *, run=None):
    """The path that θ takes through the first task is measured step by step."""
    from leec.runtime.run import Run

    run = run or Run("synaptic", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    order = synaptic_order(key=run.key("synaptic"))  # plasticity.lee:80
    net = MLP(sizes=(64, 64, 10), key=run.key("net")).to(run.session.place.device)  # plasticity.lee:82
    start = net.copy()  # plasticity.lee:83
    path = net.copy()  # plasticity.lee:84
    synaptic_path(net, path)  # plasticity.lee:84
    opt = Adam(lr=rate)  # plasticity.lee:85
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt, path=path):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            before = net.copy()  # plasticity.lee:88
            step = SynapticStep(net, path, before, opt)
            step(x, y)  # plasticity.lee:89
    old = net.copy()  # plasticity.lee:92
    guard = net.copy()  # plasticity.lee:93
    synaptic_guard(path, net, start, guard)  # plasticity.lee:93
    own = Adam(lr=rate)  # plasticity.lee:94
    step_ = SynapticStep2(net, old, guard, own)
    for epoch in run.loop("epoch_2", 1, epochs, guard=guard, net=net, old=old, own=own):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(step_(x, order, y, strength))  # plasticity.lee:97
    z, other = synaptic_z_other(net, data.test.x, order)  # plasticity.lee:98
    reported_first, reported_second = synaptic_first_second(z, data.test.y, other)  # plasticity.lee:100
    run.report(first=reported_first, second=reported_second)  # plasticity.lee:100
    return net


def synaptic_order(key):
    place = uniform(fold(key, SITES["place"]), (64,), FLOAT)  # [64]  plasticity.lee:80
    order = torch.argsort(place, dim=0, stable=True)  # int[64]  plasticity.lee:81
    return order  # int[64]


def synaptic_path(net, path):
    with torch.no_grad():
        path.layers[0].w.copy_(torch.zeros((64, 64), dtype=FLOAT, device=net.layers[0].w.device))  # [64, 64]
        path.layers[0].b.copy_(torch.zeros(64, dtype=FLOAT, device=net.layers[0].w.device))  # [64]
        path.layers[1].w.copy_(torch.zeros((64, 10), dtype=FLOAT, device=net.layers[0].w.device))  # [64, 10]
        path.layers[1].b.copy_(torch.zeros(10, dtype=FLOAT, device=net.layers[0].w.device))  # [10]


class SynapticStep(TrainStep):
    """One step of synaptic for net, path, before, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.layers.0.w",
        "net.layers.0.b",
        "net.layers.1.w",
        "net.layers.1.b",
        "path.layers.0.w",
        "path.layers.0.b",
        "path.layers.1.w",
        "path.layers.1.b",
        "before.layers.0.w",
        "before.layers.0.b",
        "before.layers.1.w",
        "before.layers.1.b",
    )
    spare = (None,)

    def __init__(self, net, path, before, opt):
        self.net, self.path, self.before, self.opt = net, path, before, opt
        self.bind()

    def numbers(self, batches_n):
        return (1.0 / batches_n,)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, y, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_0_w_, layers_0_b_ = self.tensors[:6]
        layers_1_w_, layers_1_b_, layers_0_w_2, layers_0_b_2, layers_1_w_2, layers_1_b_2 = self.tensors[6:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        (scale,) = self.held(batches_n)  # 1.0 / batches_n
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 64]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]  losses.lee:45
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [64, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        layers_0_w_.add_(d_layers_0_w * (layers_0_w_2 - layers_0_w))  # [64, 64]  plasticity.lee:91
        layers_0_b_.add_(d_layers_0_b * (layers_0_b_2 - layers_0_b))  # [64]
        layers_1_w_.add_(d_layers_1_w * (layers_1_w_2 - layers_1_w))  # [64, 10]
        layers_1_b_.add_(d_layers_1_b * (layers_1_b_2 - layers_1_b))  # [10]


def synaptic_guard(path, net, start, guard):
    guard_ = path_integral_2(path, net, start)  # plasticity.lee:93
    with torch.no_grad():
        guard.layers[0].w.copy_(guard_.layers[0].w)  # [64, 64]
        guard.layers[0].b.copy_(guard_.layers[0].b)  # [64]
        guard.layers[1].w.copy_(guard_.layers[1].w)  # [64, 10]
        guard.layers[1].b.copy_(guard_.layers[1].b)  # [10]


class SynapticStep2(TrainStep):
    """One step of synaptic for net, old, guard, own: call it with a batch."""

    moved = (("own", ("net",)),)
    counted = ("own",)
    read = (
        "net.layers.0.w",
        "net.layers.0.b",
        "net.layers.1.w",
        "net.layers.1.b",
        "old.layers.0.w",
        "old.layers.0.b",
        "old.layers.1.w",
        "old.layers.1.b",
        "guard.layers.0.w",
        "guard.layers.0.b",
        "guard.layers.1.w",
        "guard.layers.1.b",
    )
    spare = (None,)

    def __init__(self, net, old, guard, own):
        self.net, self.old, self.guard, self.own = net, old, guard, own
        self.bind()

    def numbers(self, batches_2_n):
        return (batches_2_n, 1.0 / batches_2_n)

    def constants(self):
        return (self.own.lr, self.own.beta1, self.own.beta2, self.own.eps, self.own.weight_decay)

    def scalars(self):
        return (self.own.t,)

    def step(self, x, order, y, strength, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_0_w_, layers_0_b_ = self.tensors[:6]
        layers_1_w_, layers_1_b_, layers_0_w_2, layers_0_b_2, layers_1_w_2, layers_1_b_2 = self.tensors[6:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_2_n = x.shape[0]
        count, scale = self.held(batches_2_n)  # batches_2_n, 1.0 / batches_2_n
        gather = x.permute((1, 0))[order]  # [64, batches_2_n]  plasticity.lee:97
        x_2 = torch.relu(torch.addmm(layers_0_b, gather.T, layers_0_w))  # [batches_2_n, 64]  prelude.lee:61
        affine = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_2_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine, y, reduction="none")  # [batches_2_n]  losses.lee:45
        sub = layers_0_w - layers_0_w_  # [64, 64]  plasticity.lee:12
        sub_2 = layers_0_b - layers_0_b_  # [64]
        sub_3 = layers_1_w - layers_1_w_  # [64, 10]
        sub_4 = layers_1_b - layers_1_b_  # [10]
        sum_3 = (layers_0_b_2 * (sub_2 * sub_2)).sum()
        add_2 = (layers_0_w_2 * (sub * sub)).sum() + sum_3
        add_3 = add_2 + (layers_1_w_2 * (sub_3 * sub_3)).sum()
        mul_9 = strength * (add_3 + (layers_1_b_2 * (sub_4 * sub_4)).sum())
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_2_n, 10]  losses.lee:45
        d_add_2 = (torch.softmax(affine, dim=1) - eq.to(FLOAT)) * scale  # [batches_2_n, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_2_n, 64]  prelude.lee:61
        torch.mul(layers_0_w_2, strength, out=d_layers_0_w)  # [64, 64]  plasticity.lee:12
        d_layers_0_w.mul_(sub)  # [64, 64]
        d_layers_0_w.mul_(2)  # [64, 64]
        d_layers_0_w.add_(gather @ d_add)  # [64, 64]
        torch.mul(layers_0_b_2, strength, out=d_layers_0_b)  # [64]
        d_layers_0_b.mul_(sub_2)  # [64]
        d_layers_0_b.mul_(2)  # [64]
        d_layers_0_b.add_(d_add.sum(dim=0))  # [64]
        torch.mul(layers_1_w_2, strength, out=d_layers_1_w)  # [64, 10]
        d_layers_1_w.mul_(sub_3)  # [64, 10]
        d_layers_1_w.mul_(2)  # [64, 10]
        d_layers_1_w.add_(x_2.T @ d_add_2)  # [64, 10]
        torch.mul(layers_1_b_2, strength, out=d_layers_1_b)  # [10]
        d_layers_1_b.mul_(sub_4)  # [10]
        d_layers_1_b.mul_(2)  # [10]
        d_layers_1_b.add_(d_add_2.sum(dim=0))  # [10]
        lr = self.own.lr
        beta1 = self.own.beta1
        beta2 = self.own.beta2
        eps = self.own.eps
        weight_decay = self.own.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count + mul_9


def synaptic_z_other(net, data_test_x, order):
    """data_test_x [data_test_n, 64], order int[64] -> [data_test_n, 10], [data_test_n, 10]"""
    z = net(data_test_x)  # [data_test_n, 10]  plasticity.lee:98
    other = net(data_test_x.permute((1, 0))[order].T)  # [data_test_n, 10]  plasticity.lee:99
    return z, other


def synaptic_first_second(z, data_test_y, other):
    """z [data_test_n, 10], data_test_y int[data_test_n], other [data_test_n, 10] -> [], []"""
    return accuracy(z, data_test_y), accuracy(other, data_test_y)  # plasticity.lee:100


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

    def forward_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x

    def forward_2(self, x):
        """x [sizes_0] -> [sizes_2]"""
        x_2 = relu_2(self.layers[0](x[None]).reshape(self.sizes[1]))  # [sizes_1]  nn.lee:41
        return self.layers[1](x_2[None]).reshape(self.sizes[2])  # [sizes_2]  nn.lee:42

    def forward_2_saved(self, x):
        """As forward_2, and what its gradient needs."""
        x_2 = relu_2(self.layers[0](x[None]).reshape(self.sizes[1]))  # [sizes_1]  nn.lee:41
        return self.layers[1](x_2[None]).reshape(self.sizes[2]), x_2  # nn.lee:42

    def forward_2_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_reshape_3 = self.layers[1].forward_backward(x_2[None], d_y[None])
        d_x_2 = d_reshape_3.reshape(self.sizes[1])  # [sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add = relu_2_backward(x_2, d_x_2)[None]  # [1, sizes_1]
        d_layers_0 = Linear.forward_backward_parameters(x[None], d_add)
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


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

    x [x_0] -> [x_0]
    """
    return torch.relu(x)  # [x_0]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0]
    return d_x  # [x_0]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "old": 0xD32075DD9DBB96F8,
    "place": 0x49621941663E417B,
    "start": 0xF7091535421F26A0,
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
