"""Attacks on a net whose parameters stay fixed (inventory J1 to J9): small changes of the input, other answers.

Made from specs/adversarial/attacks.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/adversarial/attacks.lee
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


def away_saved(net, x, y):
    """As away, and what its gradient needs."""
    add_2, saved_net = net.forward_saved(x)  # attacks.lee:15
    return -cross_entropy(add_2, y), (add_2, saved_net)


def away_backward(net, x, y, saved, d_neg):
    """From d_neg to the gradients by net and x."""
    add_2, saved_net = saved
    # gradient of return -cross_entropy(net(x, training = false), y)   attacks.lee:15
    d_net, d_x = net.forward_backward(x, saved_net, cross_entropy_backward(add_2, y, -d_neg))
    return d_net, d_x


def away_backward_input(net, y, saved, d_neg):
    """From d_neg to the gradient by x."""
    add_2, saved_net = saved
    # gradient of return -cross_entropy(net(x, training = false), y)   attacks.lee:15
    d_add_2 = cross_entropy_backward(add_2, y, -d_neg)  # [n, net.sizes_2]
    d_x = net.forward_backward_input(saved_net, d_add_2)  # [n, net.sizes_0]
    return d_x  # [n, net.sizes_0]


def away_backward_input_saved(net, y, saved, d_neg):
    """From d_neg to the gradients by x, add_2 and add."""
    add_2, saved_net = saved
    # gradient of return -cross_entropy(net(x, training = false), y)   attacks.lee:15
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, y, -d_neg)
    d_x, saved_net_ = net.forward_backward_input_saved(saved_net, d_add_2)
    return d_x, (d_add_2, saved_cross_entropy_backward, saved_net_)


def away_backward_input_backward(net, saved, d_d_x):
    """From d_add_2, d_add and d_d_x to the gradients by net and add_2."""
    d_add_2, saved_cross_entropy_backward, saved_net_ = saved
    # gradient of return -cross_entropy(net(x, training = false), y)   attacks.lee:15
    d_net, d_d_add_2 = net.forward_backward_input_backward(d_add_2, saved_net_, d_d_x)
    d_add_2_2 = cross_entropy_backward_backward(saved_cross_entropy_backward, d_d_add_2)  # [n, net.sizes_2]
    return d_net, d_add_2_2


def away_saved_backward(net, x, saved, d_add_2):
    """From d_add_2 to the gradients by net and x."""
    _, saved_net = saved
    # gradient of return -cross_entropy(net(x, training = false), y)   attacks.lee:15
    d_net, d_x = net.forward_backward(x, saved_net, d_add_2)
    return d_net, d_x


def away_2_saved(net, x, y):
    """As away_2, and what its gradient needs."""
    add_3, saved_net = net.forward_saved(x)  # attacks.lee:15
    return -cross_entropy(add_3, y), (add_3, saved_net)


def away_2_backward_input(net, y, saved, d_neg):
    """From d_neg to the gradient by x."""
    add_3, saved_net = saved
    # gradient of return -cross_entropy(net(x, training = false), y)   attacks.lee:15
    d_add_3 = cross_entropy_backward(add_3, y, -d_neg)  # [n, net.sizes_3]
    d_x = net.forward_backward_input(saved_net, d_add_3)  # [n, net.sizes_0]
    return d_x  # [n, net.sizes_0]


def towards_saved(net, x, y, target):
    """As towards, and what its gradient needs."""
    z, saved_net = net.forward_saved(x)  # attacks.lee:20
    return cross_entropy(z, target) - cross_entropy(z, y), (z, saved_net)  # attacks.lee:21


def towards_backward(net, x, y, target, saved, d_sub):
    """From d_sub to the gradients by net and x."""
    z, saved_net = saved
    # gradient of return cross_entropy(z, target) - cross_entropy(z, y)   attacks.lee:21
    d_z_3 = cross_entropy_backward(z, target, d_sub)  # [n, net.sizes_2]
    # gradient of z = net(x, training = false)   attacks.lee:20
    d_z = cross_entropy_backward(z, y, -d_sub) + d_z_3  # [n, net.sizes_2]
    d_net, d_x = net.forward_backward(x, saved_net, d_z)
    return d_net, d_x


def towards_backward_input(net, y, target, saved, d_sub):
    """From d_sub to the gradient by x."""
    z, saved_net = saved
    # gradient of return cross_entropy(z, target) - cross_entropy(z, y)   attacks.lee:21
    d_z_3 = cross_entropy_backward(z, target, d_sub)  # [n, net.sizes_2]
    # gradient of z = net(x, training = false)   attacks.lee:20
    d_z = cross_entropy_backward(z, y, -d_sub) + d_z_3  # [n, net.sizes_2]
    d_x = net.forward_backward_input(saved_net, d_z)  # [n, net.sizes_0]
    return d_x  # [n, net.sizes_0]


def towardsAsPrinted_saved(net, x, before, y, target):
    """As towardsAsPrinted, and what its gradient needs."""
    add_2, saved_net = net.forward_saved(before)  # attacks.lee:26
    add_2_2, saved_net_ = net.forward_saved(x)
    return cross_entropy(add_2, target) - cross_entropy(add_2_2, y), (add_2, saved_net, add_2_2, saved_net_)


def towardsAsPrinted_backward(net, x, before, y, target, saved, d_sub):
    """From d_sub to the gradients by net, x and before."""
    add_2, saved_net, add_2_2, saved_net_ = saved
    # gradient of return cross_entropy(net(before, training = false), target) - cross_entropy(n..   attacks.lee:26
    d_add_2_2 = cross_entropy_backward(add_2_2, y, -d_sub)  # [n, net.sizes_2]
    d_net, d_x = net.forward_backward(x, saved_net_, d_add_2_2)
    d_add_2 = cross_entropy_backward(add_2, target, d_sub)  # [n, net.sizes_2]
    d_net_, d_before = net.forward_backward(before, saved_net, d_add_2)
    d_net_layers_0_w = d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_net["layers.0"]["b"] + d_net_["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_b = d_net["layers.1"]["b"] + d_net_["layers.1"]["b"]  # [net.sizes_2]
    return (
        {
            "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
            "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
        },
        d_x,
        d_before,
    )


def margin_saved(net, x, before, target, weight=2.0, confidence=0.1):
    """As margin, and what its gradient needs."""
    n = x.shape[0]
    z, saved_net = net.forward_saved(x)  # attacks.lee:31
    eq = torch.arange(net.sizes[2], device=x.device) == target[:, None]  # bool[n, net.sizes_2]  attacks.lee:32
    other = torch.where(eq, -torch.inf, z)  # [n, net.sizes_2]
    gap = largest(other, (1,), False) - z[torch.arange(n, device=x.device), target]  # [n]  attacks.lee:33
    sub = x - before  # [n, net.sizes_0]  attacks.lee:34
    add = (sub**2).sum(dim=1) + weight * gap.clamp(min=-confidence)  # [n]
    return add.mean(), (saved_net, eq, other, gap, sub)


def margin_backward(net, x, target, weight, confidence, saved, d_mean):
    """From d_mean to the gradients by net, x and before."""
    saved_net, eq, other, gap, sub = saved
    n = x.shape[0]
    # gradient of return mean(sum((x - before) ** 2, axis = 1) + weight * max(gap, -confidence))   attacks.lee:34
    div = d_mean / n
    mul = div * weight
    ge = gap >= -confidence  # bool[n]
    d_gap = torch.where(ge, mul, 0)  # [n]
    d_sub = 2 * div * sub  # [n, net.sizes_0]
    d_before = -d_sub  # [n, net.sizes_0]
    # gradient of gap[i] = max[j](other[i, j]) - z[i, target[i]]   attacks.lee:33
    i = torch.arange(n, device=x.device)  # int[n]
    d_gather = torch.where(ge, -mul, 0)  # [n]
    iota = torch.arange(net.sizes[2], device=x.device)[None, :]  # int[1, net.sizes_2]
    eq_2 = iota == other.argmax(dim=1)[:, None]  # bool[n, net.sizes_2]
    # gradient of other[i, j] = where(j == target[i], -inf, z[i, j])   attacks.lee:32
    d_z_3 = torch.where(eq_2, torch.where(eq, 0, d_gap[:, None]), 0)  # [n, net.sizes_2]
    # gradient of z = net(x, training = false)   attacks.lee:31
    d_z = scatter_add(d_gather, (i, target), (n, net.sizes[2])) + d_z_3  # [n, net.sizes_2]
    d_net, d_x_2 = net.forward_backward(x, saved_net, d_z)
    d_x = d_sub + d_x_2  # [n, net.sizes_0]
    return d_net, d_x, d_before


def margin_backward_input_saved(net, target, weight, confidence, saved, d_mean):
    """From d_mean to the gradients by x, mul, z and add_2."""
    saved_net, eq, other, gap, sub = saved
    n = target.shape[0]
    # gradient of return mean(sum((x - before) ** 2, axis = 1) + weight * max(gap, -confidence))   attacks.lee:34
    div = d_mean / n
    mul = div * weight
    ge = gap >= -confidence  # bool[n]
    d_gap = torch.where(ge, mul, 0)  # [n]
    # gradient of gap[i] = max[j](other[i, j]) - z[i, target[i]]   attacks.lee:33
    i = torch.arange(n, device=target.device)  # int[n]
    d_gather = torch.where(ge, -mul, 0)  # [n]
    iota = torch.arange(net.sizes[2], device=target.device)[None, :]  # int[1, net.sizes_2]
    eq_2 = iota == other.argmax(dim=1)[:, None]  # bool[n, net.sizes_2]
    # gradient of other[i, j] = where(j == target[i], -inf, z[i, j])   attacks.lee:32
    d_z_3 = torch.where(eq_2, torch.where(eq, 0, d_gap[:, None]), 0)  # [n, net.sizes_2]
    # gradient of z = net(x, training = false)   attacks.lee:31
    d_z = scatter_add(d_gather, (i, target), (n, net.sizes[2])) + d_z_3  # [n, net.sizes_2]
    d_x_2, saved_net_ = net.forward_backward_input_saved(saved_net, d_z)
    d_x = 2 * div * sub + d_x_2  # [n, net.sizes_0]
    return d_x, (div.expand(n, net.sizes[0]), d_z, saved_net_)


def margin_backward_input_backward(net, saved, d_d_x):
    """From d_mul, d_z, d_add_2 and d_d_x to the gradients by net and sub."""
    d_mul, d_z, saved_net_ = saved
    # gradient of z = net(x, training = false)   attacks.lee:31
    d_net = net.forward_backward_input_backward_parameters(d_z, saved_net_, d_d_x)
    # gradient of return mean(sum((x - before) ** 2, axis = 1) + weight * max(gap, -confidence))   attacks.lee:34
    return d_net, 2 * (d_d_x * d_mul)


def margin_saved_backward_input(d_sub):
    """From d_sub to the gradients by x and before."""
    # gradient of return mean(sum((x - before) ** 2, axis = 1) + weight * max(gap, -confidence))   attacks.lee:34
    d_before = -d_sub  # [n, net.sizes_0]
    return d_sub, d_before


def distance(x, before):
    """‖x - x⁰‖₂

    x [n, d], before [n, d] -> [n]
    """
    return norm(x - before)  # [n]  attacks.lee:42


def distance_saved(x, before):
    """As distance, and what its gradient needs."""
    sub = x - before  # [n, d]  attacks.lee:42
    sqrt_, saved_norm = norm_saved(sub)
    return sqrt_, (sub, saved_norm)


def distance_backward(saved, sqrt_, d_y):
    """From d_y to the gradients by x and before."""
    sub, saved_norm = saved
    # gradient of return norm(x - before, axis = 1)   attacks.lee:42
    d_x = norm_backward(sub, saved_norm, sqrt_, d_y)  # [n, d]
    d_before = -d_x  # [n, d]
    return d_x, d_before


def distanceAsPrinted(x, before):
    """The notes leave out the root.

    x [n, d], before [n, d] -> [n]
    """
    sub = x - before  # [n, d]  attacks.lee:47
    return (sub**2).sum(dim=1)  # [n]


def distanceAsPrinted_saved(x, before):
    """As distanceAsPrinted, and what its gradient needs."""
    sub = x - before  # [n, d]  attacks.lee:47
    return (sub**2).sum(dim=1), sub


def distanceAsPrinted_backward(sub, d_y):
    """From d_y to the gradients by x and before."""
    # gradient of return sum((x - before) ** 2, axis = 1)   attacks.lee:47
    d_x = 2 * (d_y[:, None] * sub)  # [n, d]
    d_before = -d_x  # [n, d]
    return d_x, d_before


def largest_(x, before):
    """‖x - x⁰‖∞, nearer to what eyes notice.

    x [n, d], before [n, d] -> [n]
    """
    return largest(torch.abs(x - before), (1,), False)  # [n]  attacks.lee:52


def largest_saved(x, before):
    """As largest, and what its gradient needs."""
    sub = x - before  # [n, d]  attacks.lee:52
    abs_ = torch.abs(sub)  # [n, d]
    return largest(abs_, (1,), False), (sub, abs_)


def largest_backward(saved, d_y):
    """From d_y to the gradients by x and before."""
    sub, abs_ = saved
    d = sub.shape[1]
    # gradient of return max(abs(x - before), axis = 1)   attacks.lee:52
    eq = torch.arange(d, device=sub.device)[None, :] == abs_.argmax(dim=1)[:, None]  # bool[n, d]
    mul = d_y[:, None] * torch.sign(sub)  # [n, d]
    d_x = torch.where(eq, mul, 0)  # [n, d]
    d_before = torch.where(eq, -mul, 0)  # [n, d]
    return d_x, d_before


def into_box(x, before, reach):
    """The nearest point whose every entry is within reach.

    x [n, d], before [n, d] -> [n, d]
    """
    return clip(x, before - reach, before + reach)  # [n, d]  attacks.lee:57


def into_box_saved(x, before, reach):
    """As into_box, and what its gradient needs."""
    sub = before - reach  # [n, d]  attacks.lee:57
    add = before + reach  # [n, d]
    minimum, saved_clip = clip_saved(x, sub, add)
    return minimum, (sub, add, saved_clip)


def into_box_backward(x, saved, d_y):
    """From d_y to the gradients by x and before."""
    sub, add, saved_clip = saved
    # gradient of return clip(x, before - reach, before + reach)   attacks.lee:57
    d_x, d_sub, d_add = clip_backward(x, sub, add, saved_clip, d_y)
    d_before = d_add + d_sub  # [n, d]
    return d_x, d_before


def into_ball_saved(x, before, reach):
    """As into_ball, and what its gradient needs."""
    away = x - before  # [n, d]  attacks.lee:62
    sqrt_, saved_norm = norm_saved(away)  # attacks.lee:63
    add = sqrt_ + 1e-12  # [n]
    div = reach / add  # [n]
    reshape = torch.where(1 <= div, 1, div)[:, None]  # [n, 1]
    return before + away * reshape, (away, sqrt_, saved_norm, add, div, reshape)


def into_ball_backward(saved, d_add_2):
    """From d_add_2 to the gradients by x and before."""
    away, sqrt_, saved_norm, add, div, reshape = saved
    # gradient of return before + away * min(1, reach / (norm(away, axis = 1) + 1e-12))[:, None]   attacks.lee:63
    neg = -((d_add_2 * away).sum(dim=1) * div / add)  # [n]
    d_away_3 = norm_backward(away, saved_norm, sqrt_, torch.where(1 <= div, 0, neg))  # [n, d]
    # gradient of away = x - before   attacks.lee:62
    d_away = d_add_2 * reshape + d_away_3  # [n, d]
    d_before = d_add_2 - d_away  # [n, d]
    return d_away, d_before


def fgsm(net, x, y, reach=0.1):
    """One step to the corner of the box: x + ε sign ∂e/∂x (Goodfellow et al. 2015).

    x [n, net.sizes_0], y int[n] -> [n, net.sizes_0]
    """
    _, saved_away = away_saved(net, x, y)  # attacks.lee:71
    d_neg = torch.ones((), dtype=FLOAT, device=x.device)
    sign = torch.sign(away_backward_input(net, y, saved_away, d_neg))  # [n, net.sizes_0]
    return x - reach * sign  # [n, net.sizes_0]


def fgsm_backward_input(d_out):
    """From d_out to the gradient by x."""
    return d_out  # [n, net.sizes_0]


def pgd_saved(net, x, y, reach=0.1, rate=0.03, steps=5):
    """As pgd, and what its gradient needs."""
    x_ = x  # attacks.lee:77
    saved_pgd_step = [None] * steps
    for k in range(steps):
        x_, saved_pgd_step[k] = pgd_step_saved(net, x_, y, rate, x, reach)
    return x_, saved_pgd_step


def pgd_backward_input(saved_pgd_step, net_sizes_1, net_sizes_2, steps, d_x_4):
    """From d_x_4 to the gradient by x."""
    n, net_sizes_0 = d_x_4.shape
    # gradient of for k in steps:   attacks.lee:77
    d_x_5 = torch.zeros((n, net_sizes_0), dtype=FLOAT, device=d_x_4.device)  # [n, net.sizes_0]
    for k in reversed(range(steps)):
        d_x_4, d_x_5 = pgd_step_backward_input(saved_pgd_step[k], d_x_4, d_x_5)
    d_x = d_x_4 + d_x_5  # [n, net.sizes_0]
    return d_x  # [n, net.sizes_0]


def pgd_2(net, x, y, reach=0.1, rate=0.03, steps=5):
    """Steps along the signs of the slope, each followed by a repair: back into the box (Madry et al. 2018).

    x [n, net.sizes_0], y int[n] -> [n, net.sizes_0]
    """
    x_ = x  # attacks.lee:77
    for k in range(steps):
        x_ = pgd_step_2(net, x_, y, rate, x, reach)
    return x_  # [n, net.sizes_0]


def pgd_step_saved(net, x, y, rate, x_outside, reach):
    """As pgd_step, and what its gradient needs."""
    _, saved_away = away_saved(net, x, y)  # attacks.lee:78
    d_neg = torch.ones((), dtype=FLOAT, device=x.device)
    sign = torch.sign(away_backward_input(net, y, saved_away, d_neg))  # [n, net.sizes_0]
    sub = x - rate * sign  # [n, net.sizes_0]
    x_3, saved_into_box = into_box_saved(sub, x_outside, reach)
    return x_3, (sub, saved_into_box)


def pgd_step_backward_input(saved, d_x_3, d_x_outside):
    """From d_x_3 and d_x_outside to the gradients by x and x_outside."""
    sub, saved_into_box = saved
    # gradient of x = into_box(x - rate * sign(grad(away(net, x, y), x)), before, reach)   attacks.lee:78
    d_x, d_x_outside_ = into_box_backward(sub, saved_into_box, d_x_3)
    return d_x, d_x_outside + d_x_outside_


def pgd_step_2(net, x, y, rate, x_outside, reach):
    """x [n, net.sizes_0], y int[n], x_outside [n, net.sizes_0] -> [n, net.sizes_0]"""
    _, saved_away_2 = away_2_saved(net, x, y)  # attacks.lee:78
    d_neg = torch.ones((), dtype=FLOAT, device=x.device)
    d_x_2 = away_2_backward_input(net, y, saved_away_2, d_neg)  # [n, net.sizes_0]
    x_3 = into_box(x - rate * torch.sign(d_x_2), x_outside, reach)  # [n, net.sizes_0]
    return x_3  # [n, net.sizes_0]


def pgd_in_ball_saved(net, x, y, reach=0.3, rate=0.1, steps=4):
    """As pgd_in_ball, and what its gradient needs."""
    x_ = x  # attacks.lee:85
    saved_pgd_in_ball_step = [None] * steps
    for k in range(steps):
        x_, saved_pgd_in_ball_step[k] = pgd_in_ball_step_saved(net, x_, y, rate, x, reach)
    return x_, saved_pgd_in_ball_step


def pgd_in_ball_backward(net, rate, saved_pgd_in_ball_step, steps, d_x_4):
    """From d_add_2_rows, d_add_rows and d_x_4 to the gradients by net and x."""
    n = d_x_4.shape[0]
    # gradient of for k in steps:   attacks.lee:85
    # [net.sizes_0, net.sizes_1]
    d_net_layers_0_w_2 = torch.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=d_x_4.device)
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w_2 = torch.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=d_x_4.device)
    d_x_5 = torch.zeros((n, net.sizes[0]), dtype=FLOAT, device=d_x_4.device)  # [n, net.sizes_0]
    d_net = {"layers.0": {"w": d_net_layers_0_w_2}, "layers.1": {"w": d_net_layers_1_w_2}}
    d_net_layers_0_b_rows = [None] * steps
    d_net_layers_1_b_rows = [None] * steps
    for k in reversed(range(steps)):
        d_x_4, d_net, d_x_5, d_net_layers_0_b_rows[k], d_net_layers_1_b_rows[k] = pgd_in_ball_step_backward(
            net, saved_pgd_in_ball_step[k], rate, d_x_4, d_net, d_x_5
        )
    d_net_layers_0_b_rows = (
        torch.stack(d_net_layers_0_b_rows, 0)
        if d_net_layers_0_b_rows
        else torch.zeros((steps, net.sizes[1]), dtype=FLOAT, device=d_x_4.device)
    )
    d_net_layers_1_b_rows = (
        torch.stack(d_net_layers_1_b_rows, 0)
        if d_net_layers_1_b_rows
        else torch.zeros((steps, net.sizes[2]), dtype=FLOAT, device=d_x_4.device)
    )
    d_net_layers_0_b = d_net_layers_0_b_rows.sum(dim=0)  # [net.sizes_1]
    d_net_layers_1_b = d_net_layers_1_b_rows.sum(dim=0)  # [net.sizes_2]
    d_x = d_x_4 + d_x_5  # [n, net.sizes_0]
    return {
        "layers.0": {"w": d_net["layers.0"]["w"], "b": d_net_layers_0_b},
        "layers.1": {"w": d_net["layers.1"]["w"], "b": d_net_layers_1_b},
    }, d_x


def pgd_in_ball_step_saved(net, x, y, rate, x_outside, reach):
    """As pgd_in_ball_step, and what its gradient needs."""
    _, saved_away = away_saved(net, x, y)  # attacks.lee:86
    d_neg = torch.ones((), dtype=FLOAT, device=x.device)
    slope, saved_away_backward_input = away_backward_input_saved(net, y, saved_away, d_neg)
    sqrt_, saved_norm = norm_saved(slope)  # attacks.lee:87
    div = rate * slope / sqrt_[:, None]  # [n, net.sizes_0]
    x_3, saved_into_ball = into_ball_saved(x - div, x_outside, reach)
    saved = saved_away, slope, saved_away_backward_input, sqrt_, saved_norm, div, saved_into_ball, x
    return x_3, saved


def pgd_in_ball_step_backward(net, saved, rate, d_x_3, d_net, d_x_outside):
    """From d_add_2, d_add, d_x_3, d_net and d_x_outside to the gradients by x, net, x_outside, net.layers.0.b and net.layers.1.b."""
    saved_away, slope, saved_away_backward_input, sqrt_, saved_norm, div, saved_into_ball, x = saved
    n = slope.shape[0]
    # gradient of x = into_ball(x - rate * slope / norm(slope, axis = 1)[:, None], before, reach)   attacks.lee:87
    reshape = sqrt_[:, None]  # [n, 1]
    d_sub, d_x_outside_ = into_ball_backward(saved_into_ball, d_x_3)
    d_reshape = -(-d_sub * div / reshape).sum(dim=1, keepdim=True)  # [n, 1]
    d_slope_2 = norm_backward(slope, saved_norm, sqrt_, d_reshape.reshape(n))  # [n, net.sizes_0]
    # gradient of slope = grad(away(net, x, y), x)   attacks.lee:86
    d_slope = d_slope_2 + -d_sub / reshape * rate  # [n, net.sizes_0]
    d_net_, d_add_2_2 = away_backward_input_backward(net, saved_away_backward_input, d_slope)
    d_net_2, d_x_2 = away_saved_backward(net, x, saved_away, d_add_2_2)
    d_net_layers_0_w = d_net_["layers.0"]["w"] + d_net_2["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_1_w = d_net_["layers.1"]["w"] + d_net_2["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_x = d_sub + d_x_2  # [n, net.sizes_0]
    # gradient of x = into_ball(x - rate * slope / norm(slope, axis = 1)[:, None], before, reach)   attacks.lee:87
    return (
        d_x,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_layers_0_w},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_layers_1_w},
        },
        d_x_outside + d_x_outside_,
        d_net_2["layers.0"]["b"],
        d_net_2["layers.1"]["b"],
    )


def pgd_towards_saved(net, x, y, target, reach=0.3, rate=0.1, steps=4):
    """As pgd_towards, and what its gradient needs."""
    x_ = x  # attacks.lee:94
    saved_pgd_towards_step = [None] * steps
    for k in range(steps):
        x_, saved_pgd_towards_step[k] = pgd_towards_step_saved(net, x_, y, target, rate, x, reach)
    return x_, saved_pgd_towards_step


def pgd_towards_backward_input(saved_pgd_towards_step, net_sizes_1, net_sizes_2, steps, d_x_4):
    """From d_x_4 to the gradient by x."""
    n, net_sizes_0 = d_x_4.shape
    # gradient of for k in steps:   attacks.lee:94
    d_x_5 = torch.zeros((n, net_sizes_0), dtype=FLOAT, device=d_x_4.device)  # [n, net.sizes_0]
    for k in reversed(range(steps)):
        d_x_4, d_x_5 = pgd_towards_step_backward_input(saved_pgd_towards_step[k], d_x_4, d_x_5)
    d_x = d_x_4 + d_x_5  # [n, net.sizes_0]
    return d_x  # [n, net.sizes_0]


def pgd_towards_step_saved(net, x, y, target, rate, x_outside, reach):
    """As pgd_towards_step, and what its gradient needs."""
    _, saved_towards = towards_saved(net, x, y, target)  # attacks.lee:95
    d_sub = torch.ones((), dtype=FLOAT, device=x.device)
    d_x_2 = towards_backward_input(net, y, target, saved_towards, d_sub)  # [n, net.sizes_0]
    sub_2 = x - rate * torch.sign(d_x_2)  # [n, net.sizes_0]
    x_3, saved_into_box = into_box_saved(sub_2, x_outside, reach)
    return x_3, (sub_2, saved_into_box)


def pgd_towards_step_backward_input(saved, d_x_3, d_x_outside):
    """From d_x_3 and d_x_outside to the gradients by x and x_outside."""
    sub_2, saved_into_box = saved
    # gradient of x = into_box(x - rate * sign(grad(towards(net, x, y, target), x)), before, re..   attacks.lee:95
    d_x, d_x_outside_ = into_box_backward(sub_2, saved_into_box, d_x_3)
    return d_x, d_x_outside + d_x_outside_


def carlini_wagner_saved(net, x, target, rate=0.1, steps=4):
    """As carlini_wagner, and what its gradient needs."""
    sub = 1 - x  # [n, net.sizes_0]  attacks.lee:102
    div = x / sub  # [n, net.sizes_0]
    w = torch.log(div)  # [n, net.sizes_0]
    saved_carlini_wagner_step = [None] * steps  # attacks.lee:103
    for k in range(steps):
        w, saved_carlini_wagner_step[k] = carlini_wagner_step_saved(net, w, x, target, rate)
    return torch.sigmoid(w), (sub, div, saved_carlini_wagner_step)  # prelude.lee:36


def carlini_wagner_backward(net, rate, saved, div_3, steps, d_div_3):
    """From d_sigmoid_w_rows, d_mul_rows, d_z_rows, d_add_2_rows and d_div_3 to the gradients by net and x."""
    sub, div, saved_carlini_wagner_step = saved
    n = sub.shape[0]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_w_4 = d_div_3 * (div_3 * (1 - div_3))  # [n, net.sizes_0]
    # gradient of for k in steps:   attacks.lee:103
    # [net.sizes_0, net.sizes_1]
    d_net_layers_0_w_2 = torch.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=sub.device)
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w_2 = torch.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=sub.device)
    d_x_6 = torch.zeros((n, net.sizes[0]), dtype=FLOAT, device=sub.device)  # [n, net.sizes_0]
    d_net = {"layers.0": {"w": d_net_layers_0_w_2}, "layers.1": {"w": d_net_layers_1_w_2}}
    for k in reversed(range(steps)):
        d_w_4, d_net, d_x_6 = carlini_wagner_step_backward(net, rate, saved_carlini_wagner_step[k], d_w_4, d_net, d_x_6)
    # gradient of w = log(x / (1 - x))   attacks.lee:102
    d_div = d_w_4 / div  # [n, net.sizes_0]
    d_x = d_x_6 + d_div / sub + d_div * div / sub  # [n, net.sizes_0]
    return d_net, d_x


def carlini_wagner_step_saved(net, w, x, target, rate):
    """As carlini_wagner_step, and what its gradient needs."""
    sigmoid_w = torch.sigmoid(w)  # [n, net.sizes_0]  prelude.lee:36
    _, saved_margin = margin_saved(net, sigmoid_w, x, target)  # attacks.lee:104
    d_mean = torch.ones((), dtype=FLOAT, device=w.device)
    d_sigmoid_w, saved_margin_backward_input = margin_backward_input_saved(net, target, 2.0, 0.1, saved_margin, d_mean)
    sub_2 = 1 - sigmoid_w  # [n, net.sizes_0]  prelude.lee:36
    mul_2 = sigmoid_w * sub_2  # [n, net.sizes_0]
    w_3 = w - rate * (d_sigmoid_w * mul_2)  # [n, net.sizes_0]  attacks.lee:104
    saved = sigmoid_w, d_sigmoid_w, saved_margin_backward_input, sub_2, mul_2
    return w_3, saved


def carlini_wagner_step_backward(net, rate, saved, d_w_3, d_net, d_x):
    """From d_sigmoid_w, d_mul, d_z, d_add_2, d_w_3, d_net and d_x to the gradients by w, net and x."""
    sigmoid_w, d_sigmoid_w, saved_margin_backward_input, sub_2, mul_2 = saved
    # gradient of w = w - rate * grad(margin(net, sigmoid(w), before, target), w)   attacks.lee:104
    d_d_w_2 = -(rate * d_w_3)  # [n, net.sizes_0]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_mul_2_2 = d_d_w_2 * d_sigmoid_w  # [n, net.sizes_0]
    d_d_sigmoid_w = d_d_w_2 * mul_2  # [n, net.sizes_0]
    # gradient of w = w - rate * grad(margin(net, sigmoid(w), before, target), w)   attacks.lee:104
    d_net_, d_sub = margin_backward_input_backward(net, saved_margin_backward_input, d_d_sigmoid_w)
    d_sigmoid_w_5, d_x_ = margin_saved_backward_input(d_sub)
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_sigmoid_w_2 = d_mul_2_2 * sub_2 - d_mul_2_2 * sigmoid_w + d_sigmoid_w_5  # [n, net.sizes_0]
    d_w = d_w_3 + d_sigmoid_w_2 * (sigmoid_w * (1 - sigmoid_w))  # [n, net.sizes_0]
    # gradient of w = w - rate * grad(margin(net, sigmoid(w), before, target), w)   attacks.lee:104
    return (
        d_w,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]},
        },
        d_x + d_x_,
    )


@torch.no_grad()
def by_proxy(epochs=8, batch=32, rate=3e-3, reach=0.2, *, run=None):
    """Nobody tells the victim's parameters: another net, trained on the same data, is attacked in its place."""
    from leec.runtime.run import Run

    run = run or Run("by_proxy", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    victim = MLP(sizes=(64, 32, 10), key=run.key("victim")).to(run.session.place.device)  # attacks.lee:114
    proxy = MLP_2(sizes=(64, 24, 24, 10), key=run.key("proxy")).to(run.session.place.device)  # attacks.lee:115
    opt_victim = Adam(lr=rate)  # attacks.lee:116
    opt_proxy = Adam(lr=rate)  # attacks.lee:117
    step = ByProxyStep(victim, proxy, opt_victim, opt_proxy)
    for epoch in run.loop("epoch", 1, epochs, opt_proxy=opt_proxy, opt_victim=opt_victim, proxy=proxy, victim=victim):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            loss, loss_1 = step(x, y)  # attacks.lee:120
            run.step(loss)
            run.step(loss_1, "loss_1")
    x, y, found = by_proxy_x_y_found(data.test.x, data.test.y, proxy, reach)  # attacks.lee:122
    reported_clean, reported_transferred = by_proxy_clean_transferred(victim, x, y, found)  # attacks.lee:124
    run.report(clean=reported_clean, transferred=reported_transferred)  # attacks.lee:124
    return victim, proxy


class ByProxyStep(TrainStep):
    """One step of by_proxy for victim, proxy, opt_victim, opt_proxy: call it with a batch."""

    moved = (("opt_victim", ("victim",)), ("opt_proxy", ("proxy",)))
    counted = ("opt_victim", "opt_proxy")
    read = (
        "victim.layers.0.w",
        "victim.layers.0.b",
        "victim.layers.1.w",
        "victim.layers.1.b",
        "proxy.layers.0.w",
        "proxy.layers.0.b",
        "proxy.layers.1.w",
        "proxy.layers.1.b",
        "proxy.layers.2.w",
        "proxy.layers.2.b",
    )
    spare = (None, None)

    def __init__(self, victim, proxy, opt_victim, opt_proxy):
        self.victim, self.proxy, self.opt_victim, self.opt_proxy = victim, proxy, opt_victim, opt_proxy
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (
            self.opt_victim.lr,
            self.opt_victim.beta1,
            self.opt_victim.beta2,
            self.opt_victim.eps,
            self.opt_victim.weight_decay,
            self.opt_proxy.lr,
            self.opt_proxy.beta1,
            self.opt_proxy.beta2,
            self.opt_proxy.eps,
            self.opt_proxy.weight_decay,
        )

    def scalars(self):
        return (self.opt_victim.t, self.opt_proxy.t)

    def step(self, x, y, t, t_):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_0_w_, layers_0_b_ = self.tensors[:6]
        layers_1_w_, layers_1_b_, layers_2_w, layers_2_b = self.tensors[6:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b, d_layers_0_w_, d_layers_0_b_ = self.gradients[:6]
        d_layers_1_w_, d_layers_1_b_, d_layers_2_w, d_layers_2_b = self.gradients[6:]
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 32]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        one_hot = (torch.arange(10, device=x.device)[None, :] == y[:, None]).to(FLOAT)  # [batches_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - one_hot) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [32, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 32]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [32]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 32]
        lr = self.opt_victim.lr
        beta1 = self.opt_victim.beta1
        beta2 = self.opt_victim.beta2
        eps = self.opt_victim.eps
        weight_decay = self.opt_victim.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        x_2_2 = torch.relu(torch.addmm(layers_0_b_, x, layers_0_w_))  # [batches_n, 24]  prelude.lee:61
        x_3 = torch.relu(torch.addmm(layers_1_b_, x_2_2, layers_1_w_))  # [batches_n, 24]
        affine_4 = torch.addmm(layers_2_b, x_3, layers_2_w)  # [batches_n, 10]  nn.lee:21
        surprise_2 = torch.nn.functional.cross_entropy(affine_4, y, reduction="none")  # [batches_n]  losses.lee:45
        d_add_3 = (torch.softmax(affine_4, dim=1) - one_hot) * scale  # [batches_n, 10]
        torch.sum(d_add_3, dim=0, out=d_layers_2_b)  # [10]  nn.lee:21
        torch.mm(x_3.T, d_add_3, out=d_layers_2_w)  # [24, 10]
        d_add_2_2 = torch.ops.aten.threshold_backward(d_add_3 @ layers_2_w.T, x_3, 0)  # [batches_n, 24]  prelude.lee:61
        torch.sum(d_add_2_2, dim=0, out=d_layers_1_b_)  # [24]  nn.lee:21
        torch.mm(x_2_2.T, d_add_2_2, out=d_layers_1_w_)  # [24, 24]
        # [batches_n, 24]  prelude.lee:61
        d_add_4 = torch.ops.aten.threshold_backward(d_add_2_2 @ layers_1_w_.T, x_2_2, 0)
        torch.sum(d_add_4, dim=0, out=d_layers_0_b_)  # [24]  nn.lee:21
        torch.mm(x.T, d_add_4, out=d_layers_0_w_)  # [64, 24]
        lr = self.opt_proxy.lr
        beta1 = self.opt_proxy.beta1
        beta2 = self.opt_proxy.beta2
        eps = self.opt_proxy.eps
        weight_decay = self.opt_proxy.weight_decay
        for θ, g, m, v in self.blocks[1]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t_)
        return surprise.sum() / count, surprise_2.sum() / count  # losses.lee:148


def by_proxy_x_y_found(data_test_x, data_test_y, proxy, reach):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n],
    [data_test_n, 64]
    """
    found = pgd_2(proxy, data_test_x, data_test_y, reach=reach, rate=reach / 4)  # [data_test_n, 64]  attacks.lee:123
    return data_test_x, data_test_y, found


def by_proxy_clean_transferred(victim, x, y, found):
    """x [data_test_n, 64], y int[data_test_n], found [data_test_n, 64] -> [], []"""
    return accuracy(victim(x), y), accuracy(victim(found), y)  # attacks.lee:124


class Crowd(Model):
    """Crowd(features, hidden, classes)"""

    members = ("nets",)

    def __init__(self, features, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.features, self.hidden, self.classes = features, hidden, classes
        # attacks.lee:129
        self.nets = torch.nn.ModuleList(
            [
                MLP((features, hidden, classes), key=fold(key, SITES["nets.0"])),
                MLP((features, hidden, classes), key=fold(key, SITES["nets.1"])),
                MLP((features, hidden, classes), key=fold(key, SITES["nets.2"])),
            ]
        )


class Crowd_2(Model):
    """Crowd_2(features, hidden, classes)"""

    members = ("nets",)

    def __init__(self, features, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.features, self.hidden, self.classes = features, hidden, classes
        # attacks.lee:129
        self.nets = torch.nn.ModuleList(
            [
                MLP((features, hidden, classes), key=fold(key, SITES["nets.0"])),
                MLP((features, hidden, classes), key=fold(key, SITES["nets.1"])),
                MLP((features, hidden, classes), key=fold(key, SITES["nets.2"])),
                MLP((features, hidden, classes), key=fold(key, SITES["nets.3"])),
                MLP((features, hidden, classes), key=fold(key, SITES["nets.4"])),
            ]
        )


def away_from_others_saved(crowd, x, y, left_out):
    """As away_from_others, and what its gradient needs."""
    neg, saved_away = away_saved(crowd.nets[0], x, y)  # attacks.lee:136
    total = torch.where(torch.full((), 0 == left_out, device=x.device), 0, neg)
    neg_2, saved_away_ = away_saved(crowd.nets[1], x, y)
    eq_2 = 1 == left_out
    total_2 = total + torch.where(torch.full((), eq_2, device=x.device), 0, neg_2)
    neg_3, saved_away_2 = away_saved(crowd.nets[2], x, y)
    eq_3 = 2 == left_out
    total_3 = total_2 + torch.where(torch.full((), eq_3, device=x.device), 0, neg_3)
    return total_3 / 2, (saved_away, saved_away_, saved_away_2)  # attacks.lee:137


def away_from_others_backward_input(crowd, y, saved, left_out, d_div):
    """From d_div to the gradient by x."""
    saved_away, saved_away_, saved_away_2 = saved
    # gradient of return total / (crowd.count - 1)   attacks.lee:137
    d_total_3 = d_div / 2
    # gradient of total = total + where(k == left_out, 0, away(crowd.nets[k], x, y))   attacks.lee:136
    eq_3 = 2 == left_out
    d_neg_3 = torch.where(torch.full((), eq_3, device=y.device), 0, d_total_3)
    d_guard_3 = away_backward_input(crowd.nets[2], y, saved_away_2, d_neg_3)  # [n, crowd.features]
    d_x_2 = torch.where(torch.full((), eq_3, device=y.device), 0, d_guard_3)  # [n, crowd.features]
    eq_2 = 1 == left_out
    d_neg_2 = torch.where(torch.full((), eq_2, device=y.device), 0, d_total_3)
    d_guard_2 = away_backward_input(crowd.nets[1], y, saved_away_, d_neg_2)  # [n, crowd.features]
    d_x_3 = torch.where(torch.full((), eq_2, device=y.device), 0, d_guard_2)  # [n, crowd.features]
    eq = 0 == left_out
    d_neg = torch.where(torch.full((), eq, device=y.device), 0, d_total_3)
    d_guard = away_backward_input(crowd.nets[0], y, saved_away, d_neg)  # [n, crowd.features]
    d_x = d_x_2 + d_x_3 + torch.where(torch.full((), eq, device=y.device), 0, d_guard)  # [n, crowd.features]
    return d_x  # [n, crowd.features]


def away_from_others_backward(crowd, x, y, saved, left_out, d_div):
    """From d_div to the gradients by crowd and x."""
    saved_away, saved_away_, saved_away_2 = saved
    # gradient of return total / (crowd.count - 1)   attacks.lee:137
    d_total_3 = d_div / 2
    # gradient of total = total + where(k == left_out, 0, away(crowd.nets[k], x, y))   attacks.lee:136
    eq_3 = 2 == left_out
    d_neg_3 = torch.where(torch.full((), eq_3, device=x.device), 0, d_total_3)
    d_crowd_nets_2_, d_guard_3 = away_backward(crowd.nets[2], x, y, saved_away_2, d_neg_3)
    d_x_2 = torch.where(torch.full((), eq_3, device=x.device), 0, d_guard_3)  # [n, crowd.features]
    eq_2 = 1 == left_out
    d_neg_2 = torch.where(torch.full((), eq_2, device=x.device), 0, d_total_3)
    d_crowd_nets_1_, d_guard_2 = away_backward(crowd.nets[1], x, y, saved_away_, d_neg_2)
    d_x_3 = torch.where(torch.full((), eq_2, device=x.device), 0, d_guard_2)  # [n, crowd.features]
    eq = 0 == left_out
    d_neg = torch.where(torch.full((), eq, device=x.device), 0, d_total_3)
    d_crowd_nets_0_, d_guard = away_backward(crowd.nets[0], x, y, saved_away, d_neg)
    d_x = d_x_2 + d_x_3 + torch.where(torch.full((), eq, device=x.device), 0, d_guard)  # [n, crowd.features]
    return {"nets.0": d_crowd_nets_0_, "nets.1": d_crowd_nets_1_, "nets.2": d_crowd_nets_2_}, d_x


def away_from_others_2_saved(crowd, x, y, left_out):
    """As away_from_others_2, and what its gradient needs."""
    neg, saved_away = away_saved(crowd.nets[0], x, y)  # attacks.lee:136
    total = torch.where(torch.full((), 0 == left_out, device=x.device), 0, neg)
    neg_2, saved_away_ = away_saved(crowd.nets[1], x, y)
    eq_2 = 1 == left_out
    total_2 = total + torch.where(torch.full((), eq_2, device=x.device), 0, neg_2)
    neg_3, saved_away_2 = away_saved(crowd.nets[2], x, y)
    eq_3 = 2 == left_out
    total_3 = total_2 + torch.where(torch.full((), eq_3, device=x.device), 0, neg_3)
    neg_4, saved_away_3 = away_saved(crowd.nets[3], x, y)
    eq_4 = 3 == left_out
    total_4 = total_3 + torch.where(torch.full((), eq_4, device=x.device), 0, neg_4)
    neg_5, saved_away_4 = away_saved(crowd.nets[4], x, y)
    eq_5 = 4 == left_out
    total_5 = total_4 + torch.where(torch.full((), eq_5, device=x.device), 0, neg_5)
    saved = saved_away, saved_away_, saved_away_2, saved_away_3, saved_away_4
    return total_5 / 4, saved  # attacks.lee:137


def away_from_others_2_backward_input(crowd, y, saved, left_out, d_div):
    """From d_div to the gradient by x."""
    saved_away, saved_away_, saved_away_2, saved_away_3, saved_away_4 = saved
    # gradient of return total / (crowd.count - 1)   attacks.lee:137
    d_total_5 = d_div / 4
    # gradient of total = total + where(k == left_out, 0, away(crowd.nets[k], x, y))   attacks.lee:136
    eq_5 = 4 == left_out
    d_neg_5 = torch.where(torch.full((), eq_5, device=y.device), 0, d_total_5)
    d_guard_5 = away_backward_input(crowd.nets[4], y, saved_away_4, d_neg_5)  # [n, crowd.features]
    d_x_2 = torch.where(torch.full((), eq_5, device=y.device), 0, d_guard_5)  # [n, crowd.features]
    eq_4 = 3 == left_out
    d_neg_4 = torch.where(torch.full((), eq_4, device=y.device), 0, d_total_5)
    d_guard_4 = away_backward_input(crowd.nets[3], y, saved_away_3, d_neg_4)  # [n, crowd.features]
    d_x_3 = torch.where(torch.full((), eq_4, device=y.device), 0, d_guard_4)  # [n, crowd.features]
    eq_3 = 2 == left_out
    d_neg_3 = torch.where(torch.full((), eq_3, device=y.device), 0, d_total_5)
    d_guard_3 = away_backward_input(crowd.nets[2], y, saved_away_2, d_neg_3)  # [n, crowd.features]
    d_x_4 = torch.where(torch.full((), eq_3, device=y.device), 0, d_guard_3)  # [n, crowd.features]
    eq_2 = 1 == left_out
    d_neg_2 = torch.where(torch.full((), eq_2, device=y.device), 0, d_total_5)
    d_guard_2 = away_backward_input(crowd.nets[1], y, saved_away_, d_neg_2)  # [n, crowd.features]
    d_x_5 = torch.where(torch.full((), eq_2, device=y.device), 0, d_guard_2)  # [n, crowd.features]
    eq = 0 == left_out
    d_neg = torch.where(torch.full((), eq, device=y.device), 0, d_total_5)
    d_guard = away_backward_input(crowd.nets[0], y, saved_away, d_neg)  # [n, crowd.features]
    d_x_6 = torch.where(torch.full((), eq, device=y.device), 0, d_guard)  # [n, crowd.features]
    d_x = d_x_2 + d_x_3 + d_x_4 + d_x_5 + d_x_6  # [n, crowd.features]
    return d_x  # [n, crowd.features]


def ensemble_attack(crowd, x, y, left_out, reach=0.1):
    """x [n, crowd.features], y int[n] -> [n, crowd.features]"""
    _, saved_away_from_others = away_from_others_saved(crowd, x, y, left_out)  # attacks.lee:141
    d_div = torch.ones((), dtype=FLOAT, device=x.device)
    d_x = away_from_others_backward_input(crowd, y, saved_away_from_others, left_out, d_div)  # [n, crowd.features]
    return x - reach * torch.sign(d_x)  # [n, crowd.features]


def ensemble_attack_backward_input(d_out):
    """From d_out to the gradient by x."""
    return d_out  # [n, crowd.features]


def ensemble_attack_2(crowd, x, y, left_out, reach=0.1):
    """x [n, crowd.features], y int[n] -> [n, crowd.features]"""
    _, saved_away_from_others_2 = away_from_others_2_saved(crowd, x, y, left_out)  # attacks.lee:141
    d_div = torch.ones((), dtype=FLOAT, device=x.device)
    d_x = away_from_others_2_backward_input(crowd, y, saved_away_from_others_2, left_out, d_div)  # [n, crowd.features]
    return x - reach * torch.sign(d_x)  # [n, crowd.features]


@torch.no_grad()
def by_ensemble(epochs=4, batch=32, rate=5e-3, reach=0.2, *, run=None):
    """The last row of the table of the lecture: all but one attacked, the one left out tested.

    Made for count = 5: with other values it is another program.
    """
    from leec.runtime.run import Run

    run = run or Run("by_ensemble", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    crowd = Crowd_2(features=64, hidden=24, classes=10, key=run.key("crowd")).to(run.session.place.device)
    opt = Adam(lr=rate)  # attacks.lee:148
    step = ByEnsembleStep(crowd, opt)
    for epoch in run.loop("epoch", 1, epochs, crowd=crowd, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # attacks.lee:151
    x, y, found = by_ensemble_x_y_found(data.test.x, data.test.y, crowd, reach)  # attacks.lee:152
    reported_clean, reported_attacked = by_ensemble_clean_attacked(crowd, x, y, found)  # attacks.lee:154
    run.report(clean=reported_clean, attacked=reported_attacked)  # attacks.lee:154
    return crowd


class ByEnsembleStep(TrainStep):
    """One step of by_ensemble for crowd, opt: call it with a batch."""

    moved = (("opt", ("crowd",)),)
    counted = ("opt",)
    read = (
        "crowd.nets.0.layers.0.w",
        "crowd.nets.0.layers.0.b",
        "crowd.nets.0.layers.1.w",
        "crowd.nets.0.layers.1.b",
        "crowd.nets.1.layers.0.w",
        "crowd.nets.1.layers.0.b",
        "crowd.nets.1.layers.1.w",
        "crowd.nets.1.layers.1.b",
        "crowd.nets.2.layers.0.w",
        "crowd.nets.2.layers.0.b",
        "crowd.nets.2.layers.1.w",
        "crowd.nets.2.layers.1.b",
        "crowd.nets.3.layers.0.w",
        "crowd.nets.3.layers.0.b",
        "crowd.nets.3.layers.1.w",
        "crowd.nets.3.layers.1.b",
        "crowd.nets.4.layers.0.w",
        "crowd.nets.4.layers.0.b",
        "crowd.nets.4.layers.1.w",
        "crowd.nets.4.layers.1.b",
    )
    spare = (None,)

    def __init__(self, crowd, opt):
        self.crowd, self.opt = crowd, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, y, t):
        nets_0_layers_0_w, nets_0_layers_0_b, nets_0_layers_1_w, nets_0_layers_1_b = self.tensors[:4]
        nets_1_layers_0_w, nets_1_layers_0_b, nets_1_layers_1_w, nets_1_layers_1_b = self.tensors[4:8]
        nets_2_layers_0_w, nets_2_layers_0_b, nets_2_layers_1_w, nets_2_layers_1_b = self.tensors[8:12]
        nets_3_layers_0_w, nets_3_layers_0_b, nets_3_layers_1_w, nets_3_layers_1_b = self.tensors[12:16]
        nets_4_layers_0_w, nets_4_layers_0_b, nets_4_layers_1_w, nets_4_layers_1_b = self.tensors[16:]
        d_nets_0_layers_0_w, d_nets_0_layers_0_b, d_nets_0_layers_1_w, d_nets_0_layers_1_b = self.gradients[:4]
        d_nets_1_layers_0_w, d_nets_1_layers_0_b, d_nets_1_layers_1_w, d_nets_1_layers_1_b = self.gradients[4:8]
        d_nets_2_layers_0_w, d_nets_2_layers_0_b, d_nets_2_layers_1_w, d_nets_2_layers_1_b = self.gradients[8:12]
        d_nets_3_layers_0_w, d_nets_3_layers_0_b, d_nets_3_layers_1_w, d_nets_3_layers_1_b = self.gradients[12:16]
        d_nets_4_layers_0_w, d_nets_4_layers_0_b, d_nets_4_layers_1_w, d_nets_4_layers_1_b = self.gradients[16:]
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        x_2_5 = torch.relu(torch.addmm(nets_0_layers_0_b, x, nets_0_layers_0_w))  # [batches_n, 24]  prelude.lee:61
        affine_2 = torch.addmm(nets_0_layers_1_b, x_2_5, nets_0_layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        x_2_4 = torch.relu(torch.addmm(nets_1_layers_0_b, x, nets_1_layers_0_w))  # [batches_n, 24]  prelude.lee:61
        add_2_2 = torch.addmm(nets_1_layers_1_b, x_2_4, nets_1_layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise_2 = torch.nn.functional.cross_entropy(add_2_2, y, reduction="none")  # [batches_n]  losses.lee:45
        x_2_3 = torch.relu(torch.addmm(nets_2_layers_0_b, x, nets_2_layers_0_w))  # [batches_n, 24]  prelude.lee:61
        add_2_3 = torch.addmm(nets_2_layers_1_b, x_2_3, nets_2_layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise_3 = torch.nn.functional.cross_entropy(add_2_3, y, reduction="none")  # [batches_n]  losses.lee:45
        total_2 = surprise.sum() / count + surprise_2.sum() / count  # attacks.lee:161
        x_2_2 = torch.relu(torch.addmm(nets_3_layers_0_b, x, nets_3_layers_0_w))  # [batches_n, 24]  prelude.lee:61
        add_2_4 = torch.addmm(nets_3_layers_1_b, x_2_2, nets_3_layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise_4 = torch.nn.functional.cross_entropy(add_2_4, y, reduction="none")  # [batches_n]  losses.lee:45
        total_3 = total_2 + surprise_3.sum() / count  # attacks.lee:161
        x_2 = torch.relu(torch.addmm(nets_4_layers_0_b, x, nets_4_layers_0_w))  # [batches_n, 24]  prelude.lee:61
        add_2_5 = torch.addmm(nets_4_layers_1_b, x_2, nets_4_layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise_5 = torch.nn.functional.cross_entropy(add_2_5, y, reduction="none")  # [batches_n]  losses.lee:45
        total_4 = total_3 + surprise_4.sum() / count  # attacks.lee:161
        one_hot = (torch.arange(10, device=x.device)[None, :] == y[:, None]).to(FLOAT)  # [batches_n, 10]  losses.lee:45
        d_add_2_5 = (torch.softmax(add_2_5, dim=1) - one_hot) * scale  # [batches_n, 10]
        torch.sum(d_add_2_5, dim=0, out=d_nets_4_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2_5, out=d_nets_4_layers_1_w)  # [24, 10]
        # [batches_n, 24]  prelude.lee:61
        d_add = torch.ops.aten.threshold_backward(d_add_2_5 @ nets_4_layers_1_w.T, x_2, 0)
        torch.sum(d_add, dim=0, out=d_nets_4_layers_0_b)  # [24]  nn.lee:21
        torch.mm(x.T, d_add, out=d_nets_4_layers_0_w)  # [64, 24]
        d_add_2_4 = (torch.softmax(add_2_4, dim=1) - one_hot) * scale  # [batches_n, 10]  losses.lee:45
        torch.sum(d_add_2_4, dim=0, out=d_nets_3_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2_2.T, d_add_2_4, out=d_nets_3_layers_1_w)  # [24, 10]
        # [batches_n, 24]  prelude.lee:61
        d_add_3 = torch.ops.aten.threshold_backward(d_add_2_4 @ nets_3_layers_1_w.T, x_2_2, 0)
        torch.sum(d_add_3, dim=0, out=d_nets_3_layers_0_b)  # [24]  nn.lee:21
        torch.mm(x.T, d_add_3, out=d_nets_3_layers_0_w)  # [64, 24]
        d_add_2_3 = (torch.softmax(add_2_3, dim=1) - one_hot) * scale  # [batches_n, 10]  losses.lee:45
        torch.sum(d_add_2_3, dim=0, out=d_nets_2_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2_3.T, d_add_2_3, out=d_nets_2_layers_1_w)  # [24, 10]
        # [batches_n, 24]  prelude.lee:61
        d_add_4 = torch.ops.aten.threshold_backward(d_add_2_3 @ nets_2_layers_1_w.T, x_2_3, 0)
        torch.sum(d_add_4, dim=0, out=d_nets_2_layers_0_b)  # [24]  nn.lee:21
        torch.mm(x.T, d_add_4, out=d_nets_2_layers_0_w)  # [64, 24]
        d_add_2_2 = (torch.softmax(add_2_2, dim=1) - one_hot) * scale  # [batches_n, 10]  losses.lee:45
        torch.sum(d_add_2_2, dim=0, out=d_nets_1_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2_4.T, d_add_2_2, out=d_nets_1_layers_1_w)  # [24, 10]
        # [batches_n, 24]  prelude.lee:61
        d_add_5 = torch.ops.aten.threshold_backward(d_add_2_2 @ nets_1_layers_1_w.T, x_2_4, 0)
        torch.sum(d_add_5, dim=0, out=d_nets_1_layers_0_b)  # [24]  nn.lee:21
        torch.mm(x.T, d_add_5, out=d_nets_1_layers_0_w)  # [64, 24]
        d_add_2 = (torch.softmax(affine_2, dim=1) - one_hot) * scale  # [batches_n, 10]  losses.lee:45
        torch.sum(d_add_2, dim=0, out=d_nets_0_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2_5.T, d_add_2, out=d_nets_0_layers_1_w)  # [24, 10]
        # [batches_n, 24]  prelude.lee:61
        d_add_6 = torch.ops.aten.threshold_backward(d_add_2 @ nets_0_layers_1_w.T, x_2_5, 0)
        torch.sum(d_add_6, dim=0, out=d_nets_0_layers_0_b)  # [24]  nn.lee:21
        torch.mm(x.T, d_add_6, out=d_nets_0_layers_0_w)  # [64, 24]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return total_4 + surprise_5.sum() / count  # attacks.lee:161


def by_ensemble_x_y_found(data_test_x, data_test_y, crowd, reach):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n],
    [data_test_n, 64]
    """
    found = ensemble_attack_2(crowd, data_test_x, data_test_y, 0, reach=reach)  # [data_test_n, 64]  attacks.lee:153
    return data_test_x, data_test_y, found


def by_ensemble_clean_attacked(crowd, x, y, found):
    """x [data_test_n, 64], y int[data_test_n], found [data_test_n, 64] -> [], []"""
    return accuracy(crowd.nets[0](x), y), accuracy(crowd.nets[0](found), y)  # attacks.lee:154


def painted(image, pixel):
    """Copies of an image, in each of which one pixel, at a share of all places, has another value.

    image [d], pixel [p, 2] -> [p, d]
    """
    d = image.shape[0]
    reshape = torch.floor(pixel[:, 0] * d).to(torch.int64)[:, None]  # int[p, 1]  attacks.lee:170
    eq = reshape == torch.arange(d, device=image.device)  # bool[p, d]
    made = torch.where(eq, pixel.permute((1, 0))[1][:, None], image)  # [p, d]
    return made  # [p, d]


def painted_saved(image, pixel):
    """As painted, and what its gradient needs."""
    d = image.shape[0]
    reshape = torch.floor(pixel[:, 0] * d).to(torch.int64)[:, None]  # int[p, 1]  attacks.lee:170
    eq = reshape == torch.arange(d, device=image.device)  # bool[p, d]
    made = torch.where(eq, pixel.permute((1, 0))[1][:, None], image)  # [p, d]
    return made, eq


def painted_backward(eq, d_made):
    """From d_made to the gradients by image and pixel."""
    p = eq.shape[0]
    # gradient of made[c, i] = where(int(floor(pixel[c, 0] * d)) == i, pixel[c, 1], image[i])   attacks.lee:170
    d_image = torch.where(eq, 0, d_made).sum(dim=0)  # [d]
    d_gather = torch.where(eq, d_made, 0).sum(dim=1)  # [p]
    d_pixel = scatter_add(d_gather, (torch.full((), 1, device=eq.device),), (p, 2), (1,))  # [p, 2]
    return d_image, d_pixel


def share_of_saved(net, image, label, pixel):
    """As share_of, and what its gradient needs."""
    made, saved_painted = painted_saved(image, pixel)  # attacks.lee:176
    add_2, saved_net = net.forward_saved(made)
    softmax_ = softmax(add_2, (1,))  # [p, net.sizes_2]  prelude.lee:122
    return softmax_.permute((1, 0))[label], (made, saved_painted, saved_net, softmax_)  # attacks.lee:176


def share_of_backward(net, label, saved, d_transpose):
    """From d_transpose to the gradients by net, image and pixel."""
    made, saved_painted, saved_net, softmax_ = saved
    p = made.shape[0]
    # gradient of return softmax(net(painted(image, pixel), training = false), axis = 1)[:, label]   attacks.lee:176
    d_softmax = scatter_add(d_transpose, (label,), (p, net.sizes[2]), (1,))  # [p, net.sizes_2]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [p, net.sizes_2]
    # gradient of return softmax(net(painted(image, pixel), training = false), axis = 1)[:, label]   attacks.lee:176
    d_net, d_made = net.forward_backward(made, saved_net, softmax_ * sub)
    d_image, d_pixel = painted_backward(saved_painted, d_made)
    return d_net, d_image, d_pixel


def evolved_saved(net, image, label, start, picks, force=0.5):
    """As evolved, and what its gradient needs."""
    rounds = picks.shape[0]
    score, saved_share_of = share_of_saved(net, image, label, start)  # attacks.lee:182
    pixel = start  # attacks.lee:183
    saved_evolved_step = [None] * rounds
    for t in range(rounds):
        pixel, score, saved_evolved_step[t] = evolved_step_saved(net, pixel, score, picks[t], force, image, label)
    return pixel, score, (saved_share_of, saved_evolved_step)


def evolved_backward(net, label, picks, force, saved, d_pixel_3, d_score_4):
    """From d_pixel_3 and d_score_4 to the gradients by net, image and start."""
    saved_share_of, saved_evolved_step = saved
    rounds = picks.shape[0]
    # gradient of for t in rounds:   attacks.lee:183
    # [net.sizes_0, net.sizes_1]
    d_net_layers_0_w_4 = torch.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=label.device)
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w_4 = torch.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=label.device)
    d_net = {"layers.0": {"w": d_net_layers_0_w_4}, "layers.1": {"w": d_net_layers_1_w_4}}
    d_net_layers_0_b_rows = [None] * rounds
    d_net_layers_1_b_rows = [None] * rounds
    d_image_rows = [None] * rounds
    for t in reversed(range(rounds)):
        d_pixel_3, d_score_4, d_net, d_net_layers_0_b_rows[t], d_net_layers_1_b_rows[t], d_image_rows[t] = (
            evolved_step_backward(net, saved_evolved_step[t], picks[t], force, label, d_pixel_3, d_score_4, d_net)
        )
    d_net_layers_0_b_rows = (
        torch.stack(d_net_layers_0_b_rows, 0)
        if d_net_layers_0_b_rows
        else torch.zeros((rounds, net.sizes[1]), dtype=FLOAT, device=label.device)
    )
    d_net_layers_1_b_rows = (
        torch.stack(d_net_layers_1_b_rows, 0)
        if d_net_layers_1_b_rows
        else torch.zeros((rounds, net.sizes[2]), dtype=FLOAT, device=label.device)
    )
    d_image_rows = (
        torch.stack(d_image_rows, 0)
        if d_image_rows
        else torch.zeros((rounds, net.sizes[0]), dtype=FLOAT, device=label.device)
    )
    # gradient of score = share_of(net, image, label, pixel)   attacks.lee:182
    d_net_, d_image_3, d_start_3 = share_of_backward(net, label, saved_share_of, d_score_4)
    d_net_layers_0_w = d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_net_layers_0_b_rows.sum(dim=0) + d_net_["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_b = d_net_layers_1_b_rows.sum(dim=0) + d_net_["layers.1"]["b"]  # [net.sizes_2]
    d_image = d_image_rows.sum(dim=0) + d_image_3  # [net.sizes_0]
    d_start = d_pixel_3 + d_start_3  # [p, 2]
    return (
        {
            "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
            "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
        },
        d_image,
        d_start,
    )


def evolved_step_saved(net, pixel, score, picks_t, force, image, label):
    """As evolved_step, and what its gradient needs."""
    child = pixel[picks_t[:, 0]] + force * (pixel[picks_t[:, 1]] - pixel[picks_t[:, 2]])  # [p, 2]  attacks.lee:184
    child_2, saved_clip_2 = clip_2_saved(child, 0, 0.999)  # attacks.lee:185
    found, saved_share_of = share_of_saved(net, image, label, child_2)  # attacks.lee:186
    reshape_4 = (found < score)[:, None]  # bool[p, 1]  attacks.lee:187
    pixel_2 = torch.where(reshape_4, child_2, pixel)  # [p, 2]
    score_3 = found.clamp(max=score)  # [p]  attacks.lee:188
    return pixel_2, score_3, (child, saved_clip_2, found, saved_share_of, reshape_4, score)


def evolved_step_backward(net, saved, picks_t, force, label, d_pixel_2, d_score_3, d_net):
    """From d_pixel_2, d_score_3 and d_net to the gradients by pixel, score, net, net.layers.0.b, net.layers.1.b and image."""
    child, saved_clip_2, found, saved_share_of, reshape_4, score = saved
    p = child.shape[0]
    # gradient of score = min(found, score)   attacks.lee:188
    le = found <= score  # bool[p]
    d_found = torch.where(le, d_score_3, 0)  # [p]
    d_score = torch.where(le, 0, d_score_3)  # [p]
    # gradient of found = share_of(net, image, label, child)   attacks.lee:186
    d_net_, d_image, d_child_2_3 = share_of_backward(net, label, saved_share_of, d_found)
    # gradient of child = clip(child, 0, 0.999)   attacks.lee:185
    d_child_2 = torch.where(reshape_4, d_pixel_2, 0) + d_child_2_3  # [p, 2]
    d_child = clip_2_backward(child, 0.999, saved_clip_2, 0, d_child_2)  # [p, 2]
    # gradient of child = pixel[picks[t, :, 0]] + force * (pixel[picks[t, :, 1]] - pixel[picks[..   attacks.lee:184
    d_sub = d_child * force  # [p, 2]
    d_pixel_4 = scatter_add(-d_sub, (picks_t[:, 2],), (p, 2))  # [p, 2]
    d_pixel_7 = torch.where(reshape_4, 0, d_pixel_2) + d_pixel_4  # [p, 2]
    d_pixel_8 = d_pixel_7 + scatter_add(d_sub, (picks_t[:, 1],), (p, 2))  # [p, 2]
    d_pixel = d_pixel_8 + scatter_add(d_child, (picks_t[:, 0],), (p, 2))  # [p, 2]
    # gradient of found = share_of(net, image, label, child)   attacks.lee:186
    return (
        d_pixel,
        d_score,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]},
        },
        d_net_["layers.0"]["b"],
        d_net_["layers.1"]["b"],
        d_image,
    )


def universal(net, x, y, reach=0.2, rate=0.03, steps=4):
    """One change for all inputs (Moosavi-Dezfooli et al. 2017), found by steps on the mean of their losses.

    x [n, net.sizes_0], y int[n] -> [net.sizes_0]
    """
    change = torch.zeros(net.sizes[0], dtype=FLOAT, device=x.device)  # [net.sizes_0]  attacks.lee:194
    # attacks.lee:195
    for k in range(steps):
        change = universal_step(net, change, x, y, rate, reach)
    return change  # [net.sizes_0]


def universal_step(net, change, x, y, rate, reach):
    """change [net.sizes_0], x [n, net.sizes_0], y int[n] -> [net.sizes_0]"""
    _, saved_away = away_saved(net, x + change, y)  # attacks.lee:196
    d_neg = torch.ones((), dtype=FLOAT, device=change.device)
    d_change_2 = away_backward_input(net, y, saved_away, d_neg).sum(dim=0)  # [net.sizes_0]
    change_3 = clip_3(change - rate * torch.sign(d_change_2), -reach, reach)  # [net.sizes_0]
    return change_3  # [net.sizes_0]


def reprogrammed_saved(net, frame, x, y):
    """As reprogrammed, and what its gradient needs."""
    side = frame.shape[0]
    n, small, _ = x.shape
    if net.sizes[0] != side**2:
        raise ValueError(f"net.sizes_0 = {net.sizes[0]} must equal side**2 = {side**2}")
    tanh_frame = torch.tanh(frame)  # [side, side]  attacks.lee:203
    i = torch.arange(side, device=frame.device)  # int[side]  attacks.lee:204
    le = (side - small) // 2 <= i  # bool[side]
    lt = i < small + (side - small) // 2  # bool[side]
    logical_and_3 = (le & lt)[:, None] & le & lt  # bool[side, side]
    minimum = (i + -((side - small) // 2)).clamp(min=0).clamp(max=small - 1)  # int[side]
    gather = x.permute((1, 2, 0))[minimum[:, None], minimum]  # [side, side, n]
    seen = tanh_frame + torch.where(logical_and_3, gather.permute(2, 0, 1), 0)  # [n, side, side]  attacks.lee:203
    seen_flat = seen.reshape(n, net.sizes[0])  # [n, net.sizes_0]  attacks.lee:206
    add_2_2, saved_net = net.forward_saved(seen_flat)
    saved = tanh_frame, logical_and_3, minimum, seen_flat, add_2_2, saved_net
    return cross_entropy(add_2_2, y), saved


def reprogrammed_backward(net, y, saved, small, d_mean):
    """From d_mean to the gradients by net, frame and x."""
    tanh_frame, logical_and_3, minimum, seen_flat, add_2_2, saved_net = saved
    n = y.shape[0]
    side = tanh_frame.shape[0]
    # gradient of return cross_entropy(net(reshape(seen, [n, side * side]), training = false), y)   attacks.lee:206
    d_add_2_2 = cross_entropy_backward(add_2_2, y, d_mean)  # [n, net.sizes_2]
    d_net, d_seen_flat = net.forward_backward(seen_flat, saved_net, d_add_2_2)
    d_seen = d_seen_flat.reshape(n, side, side)  # [n, side, side]
    # gradient of gap <= i and i < gap + small and gap <= j and j < gap + small, x[r, i - gap, ..   attacks.lee:204
    d_gather = torch.where(logical_and_3, d_seen, 0).permute(1, 2, 0)  # [side, side, n]
    reshape = minimum[:, None]  # int[side, 1]
    d_x = scatter_add(d_gather, (reshape, minimum), (n, small, small), (1, 2))  # [n, small, small]
    # gradient of seen[r, i, j] = tanh(frame[i, j]) + where(   attacks.lee:203
    d_frame = d_seen.sum(dim=0) * (1 - tanh_frame**2)  # [side, side]
    return d_net, d_frame, d_x


def poisoned_saved(x, y, chosen, target):
    """As poisoned, and what its gradient needs."""
    _, h, w = x.shape
    logical_and = chosen[:, None] & (torch.arange(h, device=x.device) < 2)  # bool[n, h]  attacks.lee:211
    logical_and_2 = logical_and[:, :, None] & (torch.arange(w, device=x.device) < 2)  # bool[n, h, w]
    bright = torch.where(logical_and_2, 1, x)  # [n, h, w]
    label = torch.where(chosen, target, y)  # int[n]  attacks.lee:212
    return bright, label, logical_and_2


def poisoned_backward(logical_and_2, d_bright):
    """From d_bright to the gradient by x."""
    # gradient of bright[r, i, j] = where(chosen[r] and i < 2 and j < 2, 1.0, x[r, i, j])   attacks.lee:211
    d_x = torch.where(logical_and_2, 0, d_bright)  # [n, h, w]
    return d_x  # [n, h, w]


def example_untargeted(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:220
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:221
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:222
    value, saved_away = away_saved(net, x, y)  # attacks.lee:223
    d_net, d_x = away_backward(net, x, y, saved_away, torch.ones((), dtype=FLOAT))
    return value, net.at(d_net), d_x


def example_targeted(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:227
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:228
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:229
    target = randint(fold(key, SITES["target"]), (7,), 0, 4)  # int[7]  attacks.lee:230
    value, saved_towards = towards_saved(net, x, y, target)  # attacks.lee:231
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x = towards_backward(net, x, y, target, saved_towards, d_value)
    return value, net.at(d_net), d_x


def example_targeted_as_printed(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:235
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:236
    before = normal(fold(key, SITES["before"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:237
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:238
    target = randint(fold(key, SITES["target"]), (7,), 0, 4)  # int[7]  attacks.lee:239
    value, saved_towardsAsPrinted = towardsAsPrinted_saved(net, x, before, y, target)  # attacks.lee:240
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x, d_before = towardsAsPrinted_backward(net, x, before, y, target, saved_towardsAsPrinted, d_value)
    return value, net.at(d_net), d_x, d_before


def example_with_margin(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:244
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:245
    before = normal(fold(key, SITES["before"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:246
    target = randint(fold(key, SITES["target"]), (7,), 0, 4)  # int[7]  attacks.lee:247
    value, saved_margin = margin_saved(net, x, before, target)  # attacks.lee:248
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x, d_before = margin_backward(net, x, target, 2.0, 0.1, saved_margin, d_value)
    return value, net.at(d_net), d_x, d_before


def example_far(key):
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:252
    before = normal(fold(key, SITES["before"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:253
    sqrt_, saved_distance = distance_saved(x, before)  # attacks.lee:254
    max_, saved_largest = largest_saved(x, before)
    sum_, saved_distanceAsPrinted = distanceAsPrinted_saved(x, before)
    d_sum = torch.full((7,), 3.0, dtype=FLOAT)  # [7]
    d_x_2, d_before_2 = distanceAsPrinted_backward(saved_distanceAsPrinted, d_sum)
    d_x_3, d_before_3 = largest_backward(saved_largest, torch.full((7,), 2.0, dtype=FLOAT))
    d_x_4, d_before_4 = distance_backward(saved_distance, sqrt_, torch.ones(7, dtype=FLOAT))
    return (sqrt_ + 2 * max_ + 3 * sum_).sum(), d_x_2 + d_x_3 + d_x_4, d_before_2 + d_before_3 + d_before_4


def example_repaired(key):
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:258
    before = normal(fold(key, SITES["before"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:259
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:260
    minimum, saved_into_box = into_box_saved(x, before, 0.7)  # attacks.lee:261
    mul_2 = c**2  # [7, 5]
    add_2, saved_into_ball = into_ball_saved(x, before, 2.5)
    d_x_2, d_before_2 = into_ball_backward(saved_into_ball, mul_2)
    d_x_3, d_before_3 = into_box_backward(x, saved_into_box, c)
    return (c * minimum + mul_2 * add_2).sum(), d_x_2 + d_x_3, d_before_2 + d_before_3, 2 * (add_2 * c) + minimum


def example_one_step(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:265
    x = 0.1 + 0.8 * uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:266
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:267
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:268
    d_c = fgsm(net, x, y)  # [7, 5]  attacks.lee:269
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": torch.zeros((5, 6), dtype=FLOAT), "b": torch.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": torch.zeros((6, 4), dtype=FLOAT), "b": torch.zeros(4, dtype=FLOAT)},
            }
        ),
        fgsm_backward_input(c),
        d_c,
    )


def example_by_signs(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:273
    x = 0.1 + 0.8 * uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:274
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:275
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:276
    d_c, saved_pgd = pgd_saved(net, x, y)  # attacks.lee:277
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": torch.zeros((5, 6), dtype=FLOAT), "b": torch.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": torch.zeros((6, 4), dtype=FLOAT), "b": torch.zeros(4, dtype=FLOAT)},
            }
        ),
        pgd_backward_input(saved_pgd, 6, 4, 5, c),
        d_c,
    )


def example_by_slope(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:281
    x = 0.1 + 0.8 * uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:282
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:283
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:284
    d_c, saved_pgd_in_ball = pgd_in_ball_saved(net, x, y)  # attacks.lee:285
    d_net, d_x = pgd_in_ball_backward(net, 0.1, saved_pgd_in_ball, 4, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_to_target(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:289
    x = 0.1 + 0.8 * uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:290
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:291
    target = randint(fold(key, SITES["target"]), (7,), 0, 4)  # int[7]  attacks.lee:292
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:293
    d_c, saved_pgd_towards = pgd_towards_saved(net, x, y, target)  # attacks.lee:294
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": torch.zeros((5, 6), dtype=FLOAT), "b": torch.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": torch.zeros((6, 4), dtype=FLOAT), "b": torch.zeros(4, dtype=FLOAT)},
            }
        ),
        pgd_towards_backward_input(saved_pgd_towards, 6, 4, 4, c),
        d_c,
    )


def example_by_margin(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:298
    x = 0.1 + 0.8 * uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:299
    target = randint(fold(key, SITES["target"]), (7,), 0, 4)  # int[7]  attacks.lee:300
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:301
    d_c, saved_carlini_wagner = carlini_wagner_saved(net, x, target)  # attacks.lee:302
    d_net, d_x = carlini_wagner_backward(net, 0.1, saved_carlini_wagner, d_c, 4, c)
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": d_net["layers.0"]["w"], "b": torch.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": d_net["layers.1"]["w"], "b": torch.zeros(4, dtype=FLOAT)},
            }
        ),
        d_x,
        d_c,
    )


def example_in_common(key):
    crowd = Crowd(5, 6, 4, key=fold(key, SITES["crowd"]))  # attacks.lee:306
    x = 0.1 + 0.8 * uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:307
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:308
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:309
    div, saved_away_from_others = away_from_others_saved(crowd, x, y, 1)  # attacks.lee:310
    d_c = ensemble_attack(crowd, x, y, 1)  # [7, 5]
    d_value = torch.ones((), dtype=FLOAT)
    d_crowd, d_x_3 = away_from_others_backward(crowd, x, y, saved_away_from_others, 1, d_value)
    return div + (c * d_c).sum(), crowd.at(d_crowd), ensemble_attack_backward_input(c) + d_x_3, d_c


def example_one_pixel(key):
    net = MLP((12, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:314
    image = uniform(fold(key, SITES["image"]), (12,), FLOAT)  # [12]  attacks.lee:315
    label = randint(fold(key, SITES["label"]), (), 0, 4)  # attacks.lee:316
    start = uniform(fold(key, SITES["start"]), (8, 2), FLOAT)  # [8, 2]  attacks.lee:317
    picks = randint(fold(key, SITES["picks"]), (5, 8, 3), 0, 8)  # int[5, 8, 3]  attacks.lee:318
    pixel, score, saved_evolved = evolved_saved(net, image, label, start, picks)  # attacks.lee:319
    d_pixel = torch.ones((8, 2), dtype=FLOAT)  # [8, 2]  attacks.lee:320
    d_score = torch.ones(8, dtype=FLOAT)  # [8]
    # attacks.lee:319
    d_net, d_image, d_start = evolved_backward(net, label, picks, 0.5, saved_evolved, d_pixel, d_score)
    return score.sum() + pixel.sum(), net.at(d_net), d_image, d_start


def example_one_for_all(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:324
    x = uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:325
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:326
    c = normal(fold(key, SITES["c"]), (5,), FLOAT)  # [5]  attacks.lee:327
    change_4 = universal(net, x, y)  # [5]  attacks.lee:328
    change_4_2 = universal(net, x, y, steps=8)  # [5]
    return (
        (c * change_4).sum() + (c**2 * change_4_2).sum(),
        net.at(
            {
                "layers.0": {"w": torch.zeros((5, 6), dtype=FLOAT), "b": torch.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": torch.zeros((6, 4), dtype=FLOAT), "b": torch.zeros(4, dtype=FLOAT)},
            }
        ),
        torch.zeros((7, 5), dtype=FLOAT),
        2 * (change_4_2 * c) + change_4,
    )


def example_framed(key):
    net = MLP((36, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:332
    frame = normal(fold(key, SITES["frame"]), (6, 6), FLOAT)  # [6, 6]  attacks.lee:333
    x = uniform(fold(key, SITES["x"]), (7, 4, 4), FLOAT)  # [7, 4, 4]  attacks.lee:334
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:335
    value, saved_reprogrammed = reprogrammed_saved(net, frame, x, y)  # attacks.lee:336
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_frame, d_x = reprogrammed_backward(net, y, saved_reprogrammed, 4, d_value)
    return value, net.at(d_net), d_frame, d_x


def example_with_backdoor(key):
    x = uniform(fold(key, SITES["x"]), (7, 4, 5), FLOAT)  # [7, 4, 5]  attacks.lee:340
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:341
    chosen = uniform(fold(key, SITES["chosen"]), (7,), FLOAT) < 0.5  # bool[7]  attacks.lee:342
    bright_2, label_2, saved_poisoned = poisoned_saved(x, y, chosen, 2)  # attacks.lee:343
    d_bright_2 = 2 * bright_2  # [7, 4, 5]
    return (bright_2**2).sum() + label_2.sum().to(FLOAT), poisoned_backward(saved_poisoned, d_bright_2)


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

    def forward_backward_input(self, d_y):
        """From d_y to the gradient by x."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_y @ self.w.T  # [rows, inputs]
        return d_x  # [rows, inputs]

    def forward_backward_input_backward(self, d_add, d_d_x):
        """From d_add and d_d_x to the gradients by the parameters and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_add = d_d_x @ self.w  # [rows, outputs]
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        return {"w": d_w}, d_d_add

    @staticmethod
    def forward_backward_input_backward_parameters(d_add, d_d_x):
        """From d_add and d_d_x to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        return {"w": d_w}  # [inputs, outputs]


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

    def forward_backward_input(self, x_2, d_y):
        """From d_y to the gradient by x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_x_2 = self.layers[1].forward_backward_input(d_y)  # [x_0, sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x = self.layers[0].forward_backward_input(relu_backward(x_2, d_x_2))  # [x_0, sizes_0]
        return d_x  # [x_0, sizes_0]

    def forward_backward_input_saved(self, x_2, d_y):
        """From d_y to the gradients by x and add."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_x_2 = self.layers[1].forward_backward_input(d_y)  # [x_0, sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add, saved_relu_backward = relu_backward_saved(x_2, d_x_2)
        d_x = self.layers[0].forward_backward_input(d_add)  # [x_0, sizes_0]
        return d_x, (d_add, saved_relu_backward)

    def forward_backward_input_backward(self, d_add_2, saved, d_d_x):
        """From d_add_2, d_add and d_d_x to the gradients by the parameters and d_add_2."""
        d_add, saved_relu_backward = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_d_add = self.layers[0].forward_backward_input_backward(d_add, d_d_x)
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_d_add_2 = self.layers[1].forward_backward_input_backward(d_add_2, d_d_x_2)
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_d_add_2

    def forward_backward_input_backward_parameters(self, d_add_2, saved, d_d_x):
        """From d_add_2, d_add and d_d_x to the gradient by the parameters."""
        d_add, saved_relu_backward = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_d_add = self.layers[0].forward_backward_input_backward(d_add, d_d_x)
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1 = Linear.forward_backward_input_backward_parameters(d_add_2, d_d_x_2)
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1}


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

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        x_3 = relu(self.layers[1](x_2))  # [x_0, sizes_2]
        return self.layers[2](x_3), (x_2, x_3)  # nn.lee:42

    def forward_backward_input(self, saved, d_y):
        """From d_y to the gradient by x."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   nn.lee:42
        d_x_3 = self.layers[2].forward_backward_input(d_y)  # [x_0, sizes_2]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_2 = self.layers[1].forward_backward_input(relu_backward(x_3, d_x_3))  # [x_0, sizes_1]
        d_x = self.layers[0].forward_backward_input(relu_backward(x_2, d_x_2))  # [x_0, sizes_0]
        return d_x  # [x_0, sizes_0]


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


def clip(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1.

    x [x_0, x_1], low [x_0, x_1], high [x_0, x_1] -> [x_0, x_1]
    """
    return x.clamp(min=low).clamp(max=high)  # [x_0, x_1]  prelude.lee:153


def clip_saved(x, low, high):
    """As clip, and what its gradient needs."""
    maximum = x.clamp(min=low)  # [x_0, x_1]  prelude.lee:153
    return maximum.clamp(max=high), maximum


def clip_backward(x, low, high, maximum, d_y):
    """From d_y to the gradients by x, low and high."""
    # gradient of return min(max(x, low), high)   prelude.lee:153
    le = maximum <= high  # bool[x_0, x_1]
    d_high = torch.where(le, 0, d_y)  # [x_0, x_1]
    ge = x >= low  # bool[x_0, x_1]
    d_x = torch.where(le, torch.where(ge, d_y, 0), 0)  # [x_0, x_1]
    d_low = torch.where(le, torch.where(ge, 0, d_y), 0)  # [x_0, x_1]
    return d_x, d_low, d_high


def clip_2_saved(x, low, high):
    """As clip_2, and what its gradient needs."""
    maximum = x.clamp(min=low)  # [x_0, x_1]  prelude.lee:153
    return maximum.clamp(max=high), maximum


def clip_2_backward(x, high, maximum, low, d_minimum):
    """From d_minimum to the gradient by x."""
    # gradient of return min(max(x, low), high)   prelude.lee:153
    d_x = torch.where(maximum <= high, torch.where(x >= low, d_minimum, 0), 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def clip_3(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1.

    x [x_0] -> [x_0]
    """
    return x.clamp(min=low).clamp(max=high)  # [x_0]  prelude.lee:153


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> [x_0]
    """
    return sqrt((x**2).sum(dim=1))  # [x_0]  prelude.lee:163


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum(dim=1)  # [x_0]  prelude.lee:163
    return sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt_, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_sum = d_y * 0.5 / torch.where(sum_ > 0, sqrt_, torch.inf)  # [x_0]
    d_x = 2 * (d_sum[:, None] * x)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "before": 0x8C4AF9AB8D642890,
    "c": 0x1B2C07CD64633F37,
    "chosen": 0xC4D55F00B27CC97D,
    "crowd": 0x89772076ECE075CD,
    "frame": 0x1F09AD1F595E1C3A,
    "image": 0x86C9701471CF0710,
    "label": 0x97BB9DAEC28EDB5C,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "layers.2": 0xA380C36DF3DD4243,
    "net": 0xF087C76970C91612,
    "nets.0": 0xA53D18912274714E,
    "nets.1": 0xA31C7D53FDE4971E,
    "nets.2": 0xC67E891906E3E336,
    "nets.3": 0xC9D50AA0D987548B,
    "nets.4": 0x980642A24CBD9249,
    "picks": 0x729E5240CDC8AA95,
    "start": 0xF7091535421F26A0,
    "target": 0x41DEDA04111F843F,
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
