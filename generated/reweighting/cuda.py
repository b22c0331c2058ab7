"""What an example is worth: its weight in the loss comes from clean examples (inventory P8).

Made from specs/meta/reweighting.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/meta/reweighting.lee
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


def weights(net, x, y, clean, labels, rate=0.1):
    """How much a step on example i lowers the loss of the clean ones, over the sum of all (Ren et al. 2018).

    θ = φ - ε ∇ Σ wᵢ lᵢ is a function of the weights, which begin at 0; those that would do harm stay there.

    x [n, net.sizes_0], y int[n], clean [m, net.sizes_0], labels int[m] -> [n]
    """
    n = x.shape[0]
    w = torch.zeros(n, dtype=FLOAT, device=x.device)  # [n]  reweighting.lee:15
    add_2, saved_net = net.forward_saved(x)  # reweighting.lee:16
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, y, w)
    d_net, saved_net_ = net.forward_backward_parameters_saved(x, saved_net, d_add_2)
    θ_layers_1_w = net.layers[1].w - rate * d_net["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    θ = net.at(
        {
            "layers.0": {
                "w": net.layers[0].w - rate * d_net["layers.0"]["w"],
                "b": net.layers[0].b - rate * d_net["layers.0"]["b"],
            },
            "layers.1": {"w": θ_layers_1_w, "b": net.layers[1].b - rate * d_net["layers.1"]["b"]},
        }
    )
    add_2_2, saved_θ = θ.forward_saved(clean)  # reweighting.lee:17
    d_sum = torch.ones((), dtype=FLOAT, device=x.device)  # reweighting.lee:16
    d_add_2_2 = cross_entropy_2_backward(add_2_2, labels, d_sum)  # [m, net.sizes_2]  reweighting.lee:17
    d_θ = θ.forward_backward_parameters(clean, saved_θ, d_add_2_2)
    d_w_2 = -(rate * d_θ["layers.0"]["w"])  # [net.sizes_0, net.sizes_1]  reweighting.lee:16
    d_b = -(rate * d_θ["layers.0"]["b"])  # [net.sizes_1]
    d_w_3 = -(rate * d_θ["layers.1"]["w"])  # [net.sizes_1, net.sizes_2]
    d_b_2 = -(rate * d_θ["layers.1"]["b"])  # [net.sizes_2]
    # [n, net.sizes_2]
    d_d_add_2 = net.forward_backward_parameters_backward_input(
        x, saved_net, saved_net_, {"layers.0": {"w": d_w_2, "b": d_b}, "layers.1": {"w": d_w_3, "b": d_b_2}}
    )
    d_d_each = cross_entropy_backward_backward(saved_cross_entropy_backward, d_d_add_2)  # [n]
    help_ = (-d_d_each).clamp(min=0)  # [n]  reweighting.lee:17
    return help_ / help_.sum().clamp(min=1e-12)  # [n]  reweighting.lee:18


def weights_saved(net, x, y, clean, labels, rate=0.1):
    """As weights, and what its gradient needs."""
    n = x.shape[0]
    w = torch.zeros(n, dtype=FLOAT, device=x.device)  # [n]  reweighting.lee:15
    add_2, saved_net = net.forward_saved(x)  # reweighting.lee:16
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, y, w)
    d_net, saved_net_ = net.forward_backward_parameters_saved(x, saved_net, d_add_2)
    θ_layers_0_w = net.layers[0].w - rate * d_net["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    θ_layers_1_w = net.layers[1].w - rate * d_net["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    θ = net.at(
        {
            "layers.0": {"w": θ_layers_0_w, "b": net.layers[0].b - rate * d_net["layers.0"]["b"]},
            "layers.1": {"w": θ_layers_1_w, "b": net.layers[1].b - rate * d_net["layers.1"]["b"]},
        }
    )
    add_2_2, saved_θ = θ.forward_saved(clean)  # reweighting.lee:17
    d_sum = torch.ones((), dtype=FLOAT, device=x.device)  # reweighting.lee:16
    # reweighting.lee:17
    d_add_2_2, saved_cross_entropy_2_backward = cross_entropy_2_backward_saved(add_2_2, labels, d_sum)
    d_θ, saved_θ_ = θ.forward_backward_parameters_saved(clean, saved_θ, d_add_2_2)
    d_w_3 = -(rate * d_θ["layers.1"]["w"])  # [net.sizes_1, net.sizes_2]  reweighting.lee:16
    d_w_2 = -(rate * d_θ["layers.0"]["w"])  # [net.sizes_0, net.sizes_1]
    d_b = -(rate * d_θ["layers.0"]["b"])  # [net.sizes_1]
    d_b_2 = -(rate * d_θ["layers.1"]["b"])  # [net.sizes_2]
    d_d_add_2, saved_net_2 = net.forward_backward_parameters_backward_input_saved(
        x, saved_net, saved_net_, {"layers.0": {"w": d_w_2, "b": d_b}, "layers.1": {"w": d_w_3, "b": d_b_2}}
    )
    d_d_each = cross_entropy_backward_backward(saved_cross_entropy_backward, d_d_add_2)  # [n]
    help_ = (-d_d_each).clamp(min=0)  # [n]  reweighting.lee:17
    help_sum = help_.sum()  # reweighting.lee:18
    maximum = help_sum.clamp(min=1e-12)
    saved = (
        saved_net,
        d_add_2,
        saved_cross_entropy_backward,
        saved_net_,
        θ,
        saved_θ,
        d_add_2_2,
        saved_cross_entropy_2_backward,
        saved_θ_,
        d_w_3,
        d_w_2,
        d_d_add_2,
        saved_net_2,
        -d_d_each,
        help_sum,
        maximum,
    )
    return help_ / maximum, saved


def weights_backward(net, x, clean, rate, saved, div, d_out):
    """From d_add_2, d_add_3, d_add_2_2, d_add, d_w_3, d_w_2, d_d_add_2, d_d_x_2 and d_out to the gradients by net, x and clean."""
    saved_net, d_add_2, saved_cross_entropy_backward, saved_net_, θ, saved_θ, d_add_2_2, saved_cross_entropy_2_backward, saved_θ_, d_w_3, d_w_2, d_d_add_2, saved_net_2, neg, help_sum, maximum = saved
    # gradient of return help / max(sum(help), 1e-12)   reweighting.lee:18
    d_maximum = -(d_out * div / maximum).sum()
    # gradient of help = max(-grad(cross_entropy(θ(clean), labels), w), 0)   reweighting.lee:17
    d_help = d_out / maximum + torch.where(help_sum >= 1e-12, d_maximum, 0)  # [n]
    # gradient of θ = net - rate * grad(sum(w * cross_entropy(net(x), y, reduce = false)), net)   reweighting.lee:16
    d_d_d_each = torch.where(neg >= 0, -d_help, 0)  # [n]
    d_sub, d_d_d_add_2 = cross_entropy_backward_backward_backward(
        saved_cross_entropy_backward[0], d_d_add_2, d_d_d_each
    )
    d_net, d_x_3, d_x_2_3, d_d_d_self = net.forward_backward_parameters_backward_input_backward(
        {"layers.0": {"w": d_w_2}, "layers.1": {"w": d_w_3}}, x, saved_net, saved_net_[0], saved_net_2, d_d_d_add_2
    )
    d_d_θ_layers_0_w = -(d_d_d_self["layers.0"]["w"] * rate)  # [net.sizes_0, net.sizes_1]
    d_d_θ_layers_0_b = -(d_d_d_self["layers.0"]["b"] * rate)  # [net.sizes_1]
    d_d_θ_layers_1_w = -(d_d_d_self["layers.1"]["w"] * rate)  # [net.sizes_1, net.sizes_2]
    d_d_θ_layers_1_b = -(d_d_d_self["layers.1"]["b"] * rate)  # [net.sizes_2]
    # gradient of help = max(-grad(cross_entropy(θ(clean), labels), w), 0)   reweighting.lee:17
    d_θ, d_clean_2, d_x_2_2, d_d_add_2_2 = θ.forward_backward_parameters_backward(
        clean,
        saved_θ,
        d_add_2_2,
        saved_θ_,
        {
            "layers.0": {"w": d_d_θ_layers_0_w, "b": d_d_θ_layers_0_b},
            "layers.1": {"w": d_d_θ_layers_1_w, "b": d_d_θ_layers_1_b},
        },
    )
    d_add_2_2_2 = cross_entropy_2_backward_backward(saved_cross_entropy_2_backward, d_d_add_2_2)  # [m, net.sizes_2]
    d_θ_, d_clean_3 = θ.forward_saved_backward(clean, saved_θ, d_add_2_2_2, d_x_2_2)
    # gradient of θ = net - rate * grad(sum(w * cross_entropy(net(x), y, reduce = false)), net)   reweighting.lee:16
    d_θ_layers_1_w = d_θ["layers.1"]["w"] + d_θ_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_w_2_2 = -(rate * d_θ_["layers.0"]["w"])  # [net.sizes_0, net.sizes_1]
    d_b = -(rate * d_θ_["layers.0"]["b"])  # [net.sizes_1]
    d_b_2 = -(rate * d_θ_["layers.1"]["b"])  # [net.sizes_2]
    d_w_3_2 = -(rate * d_θ_layers_1_w)  # [net.sizes_1, net.sizes_2]
    d_net_, d_x_4, d_x_2_4, d_d_add_2_3 = net.forward_backward_parameters_backward(
        x,
        saved_net,
        d_add_2,
        saved_net_,
        {"layers.0": {"w": d_w_2_2, "b": d_b}, "layers.1": {"w": d_w_3_2, "b": d_b_2}},
    )
    # [n, net.sizes_2]
    d_add_2_3 = cross_entropy_backward_saved_backward(saved_cross_entropy_backward, d_d_add_2_3, d_sub)
    d_x_2 = d_x_2_3 + d_x_2_4  # [n, net.sizes_1]
    d_net_2, d_x_5 = net.forward_saved_backward(x, saved_net, d_add_2_3, d_x_2)
    d_net_layers_0_w = d_θ_["layers.0"]["w"] + d_net_2["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_θ_["layers.0"]["b"] + d_net_2["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w_5 = d_net["layers.1"]["w"] + d_θ_layers_1_w  # [net.sizes_1, net.sizes_2]
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w = d_net_layers_1_w_5 + d_net_["layers.1"]["w"] + d_net_2["layers.1"]["w"]
    d_net_layers_1_b = d_θ_["layers.1"]["b"] + d_net_2["layers.1"]["b"]  # [net.sizes_2]
    d_x = d_x_3 + d_x_4 + d_x_5  # [n, net.sizes_0]
    d_clean = d_clean_2 + d_clean_3  # [m, net.sizes_0]
    return (
        {
            "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
            "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
        },
        d_x,
        d_clean,
    )


def reweighted_saved(net, x, y, clean, labels):
    """As reweighted, and what its gradient needs."""
    graft_ = stop(weights(net, x, y, clean, labels))  # [n]  reweighting.lee:23
    add_2, saved_net = net.forward_saved(x)
    return (graft_ * cross_entropy(add_2, y)).sum(), (graft_, add_2, saved_net)


def reweighted_backward(net, x, y, saved, d_sum):
    """From d_sum to the gradients by net and x."""
    graft_, add_2, saved_net = saved
    # gradient of return sum(stop(weights(net, x, y, clean, labels)) * cross_entropy(net(x), y,..   reweighting.lee:23
    d_add_2 = cross_entropy_backward(add_2, y, d_sum * graft_)  # [n, net.sizes_2]
    d_net, d_x = net.forward_backward(x, saved_net, d_add_2)
    return d_net, d_x


def with_noise(y, share, key):
    """A share of the labels is drawn at random.

    y int[n] -> int[n]
    """
    n = y.shape[0]
    wrong = uniform(fold(key, SITES["wrong"]), (n,), FLOAT, y.device)  # [n]  reweighting.lee:28
    other = randint(fold(key, SITES["other"]), (n,), 0, 10, y.device)  # int[n]  reweighting.lee:29
    return torch.where(wrong < share, other, y)  # int[n]  reweighting.lee:30


@torch.no_grad()
def noisy(share=0.5, steps=300, batch=100, few=100, rate=1e-3, *, run=None):
    """Half of the labels are drawn at random; a hundred are known to be right. Without `trust` all count alike.

    Made for trust = True: with other values it is another program.
    """
    from leec.runtime.run import Run

    run = run or Run("noisy", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    clean, labels, x, y = noisy_clean_labels_x_y(data.train.x, data.train.y, share, few, key=run.key("noisy"))
    net = MLP(sizes=(64, 64, 10), key=run.key("net")).to(run.session.place.device)  # reweighting.lee:40
    opt = Adam(lr=rate)  # reweighting.lee:41
    step = NoisyStep(net, opt)
    for step_ in run.loop("step", 1, steps, net=net, opt=opt):
        run.step(step(y, x, clean, labels, batch, data.train.x.shape[0], run.key("noisy")))  # reweighting.lee:43
    run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # reweighting.lee:48
    return net


def noisy_clean_labels_x_y(data_train_x, data_train_y, share, few, key):
    """data_train_x [data_train_n, 64], data_train_y int[data_train_n] -> [few, 64], int[few], [data_train_n - few,
    64], int[data_train_n - few]
    """
    clean = data_train_x[:few]  # [few, 64]  reweighting.lee:36
    labels = data_train_y[:few]  # int[few]  reweighting.lee:37
    x = data_train_x[few:]  # [data_train_n - few, 64]  reweighting.lee:38
    y = with_noise(data_train_y[few:], share, fold(key, SITES["y"]))  # int[data_train_n - few]  reweighting.lee:39
    return clean, labels, x, y


class NoisyStep(TrainStep):
    """One step of noisy for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, few):
        return (1.0 / few,)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, y, x, clean, labels, batch, data_train_n, key, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        few = clean.shape[0]
        (scale,) = self.held(few)  # 1.0 / few
        # int[batch]  reweighting.lee:43
        rows = randint(fold(key, SITES["rows"]), (batch,), 0, data_train_n - few, y.device)
        gather = x[rows]  # [batch, 64]  reweighting.lee:45
        gather_2 = y[rows]  # int[batch]
        x_2 = torch.relu(torch.addmm(layers_0_b, gather, layers_0_w))  # [batch, 64]  prelude.lee:61
        add_2_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batch, 10]  nn.lee:21
        iota = torch.arange(10, device=y.device)[None, :]  # int[1, 10]  losses.lee:45
        sub = torch.softmax(add_2_2, dim=1) - (iota == gather_2[:, None]).to(FLOAT)  # [batch, 10]
        d_add_2 = sub * 0  # [batch, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batch, 64]  prelude.lee:61
        θ_layers_1_w = layers_1_w - 0.1 * (x_2.T @ d_add_2)  # [64, 10]  reweighting.lee:16
        θ_layers_0_w = layers_0_w - 0.1 * (gather.T @ d_add)  # [64, 64]
        θ_layers_0_b = layers_0_b - 0.1 * d_add.sum(dim=0)  # [64]
        x_2_2_2 = torch.relu(torch.addmm(θ_layers_0_b, clean, θ_layers_0_w))  # [few, 64]  prelude.lee:61
        θ_layers_1_b = layers_1_b - 0.1 * d_add_2.sum(dim=0)  # [10]  reweighting.lee:16
        add_2_2_2 = torch.addmm(θ_layers_1_b, x_2_2_2, θ_layers_1_w)  # [few, 10]  nn.lee:21
        one_hot_2 = (iota == labels[:, None]).to(FLOAT)  # [few, 10]  losses.lee:45
        d_add_2_2 = (torch.softmax(add_2_2_2, dim=1) - one_hot_2) * scale  # [few, 10]
        d_add_3 = torch.ops.aten.threshold_backward(d_add_2_2 @ θ_layers_1_w.T, x_2_2_2, 0)  # [few, 64]  prelude.lee:61
        d_w_2_2 = -0.1 * (clean.T @ d_add_3)  # [64, 64]  reweighting.lee:16
        d_d_add = torch.addmm(-0.1 * d_add_3.sum(dim=0), gather, d_w_2_2)  # [batch, 64]  nn.lee:21
        d_d_x_2 = torch.ops.aten.threshold_backward(d_d_add, x_2, 0)  # [batch, 64]  prelude.lee:61
        d_d_add_2_3 = x_2 @ (-0.1 * (x_2_2_2.T @ d_add_2_2))  # [batch, 10]  nn.lee:21
        d_d_add_5 = d_d_add_2_3 + d_d_x_2 @ layers_1_w  # [batch, 10]
        d_d_each = ((d_d_add_5 + -0.1 * d_add_2_2.sum(dim=0)) * sub).sum(dim=1)  # [batch]  losses.lee:45
        help_ = (-d_d_each).clamp(min=0)  # [batch]  reweighting.lee:17
        graft_ = help_ / help_.sum().clamp(min=1e-12)  # [batch]  reweighting.lee:18
        each = torch.nn.functional.cross_entropy(add_2_2, gather_2, reduction="none")  # [batch]  losses.lee:45
        d_add_2_3 = sub * graft_[:, None]  # [batch, 10]
        torch.sum(d_add_2_3, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2_3, out=d_layers_1_w)  # [64, 10]
        d_add_4 = torch.ops.aten.threshold_backward(d_add_2_3 @ layers_1_w.T, x_2, 0)  # [batch, 64]  prelude.lee:61
        torch.sum(d_add_4, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(gather.T, d_add_4, out=d_layers_0_w)  # [64, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (graft_ * each).sum()  # reweighting.lee:23


def example_worth(key):
    net = MLP((3, 4, 2), key=fold(key, SITES["net"]))  # reweighting.lee:53
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  reweighting.lee:54
    y = randint(fold(key, SITES["y"]), (5,), 0, 2)  # int[5]  reweighting.lee:55
    clean = normal(fold(key, SITES["clean"]), (4, 3), FLOAT)  # [4, 3]  reweighting.lee:56
    labels = randint(fold(key, SITES["labels"]), (4,), 0, 2)  # int[4]  reweighting.lee:57
    c = normal(fold(key, SITES["c"]), (5,), FLOAT)  # [5]  reweighting.lee:58
    d_c, saved_weights = weights_saved(net, x, y, clean, labels)  # reweighting.lee:59
    d_net, d_x, d_clean = weights_backward(net, x, clean, 0.1, saved_weights, d_c, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_clean, d_c


def example_weighed(key):
    net = MLP((3, 4, 2), key=fold(key, SITES["net"]))  # reweighting.lee:63
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  reweighting.lee:64
    y = randint(fold(key, SITES["y"]), (5,), 0, 2)  # int[5]  reweighting.lee:65
    clean = normal(fold(key, SITES["clean"]), (4, 3), FLOAT)  # [4, 3]  reweighting.lee:66
    labels = randint(fold(key, SITES["labels"]), (4,), 0, 2)  # int[4]  reweighting.lee:67
    value, saved_reweighted = reweighted_saved(net, x, y, clean, labels)  # reweighting.lee:68
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x = reweighted_backward(net, x, y, saved_reweighted, d_value)
    return value, net.at(d_net), d_x, torch.zeros((4, 3), dtype=FLOAT)


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


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    k = z.shape[1]
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    d_z = (torch.softmax(z, dim=1) - eq.to(FLOAT)) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def cross_entropy_backward_saved(z, y, d_out):
    """From d_out to the gradient by z."""
    k = z.shape[1]
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    softmax_ = torch.softmax(z, dim=1)  # [rows, k]
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    sub = softmax_ - eq.to(FLOAT)  # [rows, k]
    reshape_2 = d_surprise[:, None]  # [rows, 1]
    d_z = sub * reshape_2  # [rows, k]
    return d_z, (sub, softmax_, reshape_2)


def cross_entropy_backward_backward(saved, d_d_z):
    """From d_d_z to the gradient by d_each."""
    sub, _, _ = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_d_surprise = (d_d_z * sub).sum(dim=1)  # [rows]
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_d_each = reduced_backward_backward(d_d_surprise)  # [rows]
    return d_d_each  # [rows]


def cross_entropy_backward_backward_backward(sub, d_d_z, d_d_d_each):
    """From d_d_z and d_d_d_each to the gradients by sub and d_d_z."""
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_d_d_surprise = reduced_backward_backward_backward(d_d_d_each)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_d_reshape_2 = d_d_d_surprise[:, None]  # [rows, 1]
    d_d_d_z = d_d_reshape_2 * sub  # [rows, k]
    return d_d_reshape_2 * d_d_z, d_d_d_z


def cross_entropy_backward_saved_backward(saved, d_d_z, d_sub):
    """From d_d_z and d_sub to the gradient by z."""
    _, softmax_, reshape_2 = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_sub_2 = d_sub + d_d_z * reshape_2  # [rows, k]
    d_z = softmax_ * (d_sub_2 - (d_sub_2 * softmax_).sum(dim=1, keepdim=True))  # [rows, k]
    return d_z  # [rows, k]


def cross_entropy_2_backward(z, y, d_mean):
    """From d_mean to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_2_backward(rows, d_mean)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    d_z = (torch.softmax(z, dim=1) - eq.to(FLOAT)) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def cross_entropy_2_backward_saved(z, y, d_mean):
    """From d_mean to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_2_backward(rows, d_mean)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    softmax_ = torch.softmax(z, dim=1)  # [rows, k]
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    reshape_2 = d_surprise[:, None]  # [rows, 1]
    d_z = (softmax_ - eq.to(FLOAT)) * reshape_2  # [rows, k]
    return d_z, (softmax_, reshape_2)


def cross_entropy_2_backward_backward(saved, d_d_z):
    """From d_d_z to the gradient by z."""
    softmax_, reshape_2 = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_sub = d_d_z * reshape_2  # [rows, k]
    d_z = softmax_ * (d_sub - (d_sub * softmax_).sum(dim=1, keepdim=True))  # [rows, k]
    return d_z  # [rows, k]


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> [each_0]
    """
    return each  # [each_0]


def reduced_backward(d_each):
    """From d_each to the gradient by each."""
    return d_each  # [each_0]


def reduced_backward_backward(d_d_each):
    """From d_d_each to the gradient by d_each."""
    return d_d_each  # [each_0]


def reduced_backward_backward_backward(d_d_d_each):
    """From d_d_d_each to the gradient by d_d_each."""
    return d_d_d_each  # [each_0]


def reduced_2_backward(each_0, d_mean):
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

    def forward_backward_backward_input(self, x, d_d_self, d_d_x):
        """From d_d_self and d_d_x to the gradient by d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_add = x @ d_d_self["w"] + d_d_x @ self.w + d_d_self["b"]  # [rows, outputs]
        return d_d_add  # [rows, outputs]

    def forward_backward_backward_input_backward(self, d_d_self, x, d_d_x, d_d_d_add):
        """From d_d_self, d_d_x and d_d_d_add to the gradients by the parameters, x, d_d_self and d_d_x."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_d_b = d_d_d_add.sum(dim=0)  # [outputs]
        d_d_d_x = d_d_d_add @ self.w.T  # [rows, inputs]
        d_w = d_d_x.T @ d_d_d_add  # [inputs, outputs]
        d_x = d_d_d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_d_w = x.T @ d_d_d_add  # [inputs, outputs]
        return {"w": d_w}, d_x, {"w": d_d_d_w, "b": d_d_d_b}, d_d_d_x

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

    @staticmethod
    def forward_backward_parameters_backward_backward(d_d_self, x, d_d_d_add):
        """From d_d_self and d_d_d_add to the gradients by x and d_d_self."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_d_b = d_d_d_add.sum(dim=0)  # [outputs]
        d_x = d_d_d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_d_w = x.T @ d_d_d_add  # [inputs, outputs]
        return d_x, {"w": d_d_d_w, "b": d_d_d_b}

    @staticmethod
    def forward_backward_parameters_backward_2(x, d_add, d_d_self):
        """From d_add and d_d_self to the gradients by x and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_add = torch.addmm(d_d_self["b"], x, d_d_self["w"])  # [rows, outputs]
        return d_x, d_d_add


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
        """From d_y to the gradients by the parameters and add."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add, saved_relu_backward = relu_backward_saved(x_2, d_x_2)
        d_layers_0 = Linear.forward_backward_parameters(x, d_add)
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}, (saved_relu_backward, d_add)

    def forward_backward_parameters_backward_input(self, x, x_2, saved, d_d_self):
        """From d_d_self to the gradient by d_add_2."""
        saved_relu_backward, _ = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_add = Linear.forward_backward_parameters_backward(x, d_d_self["layers.0"])  # [x_0, sizes_1]
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_d_add_2 = self.layers[1].forward_backward_backward_input(x_2, d_d_self["layers.1"], d_d_x_2)  # [x_0, sizes_2]
        return d_d_add_2  # [x_0, sizes_2]

    def forward_backward_parameters_backward_input_saved(self, x, x_2, saved, d_d_self):
        """From d_d_self to the gradients by d_add_2 and d_x_2."""
        saved_relu_backward, _ = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_add = Linear.forward_backward_parameters_backward(x, d_d_self["layers.0"])  # [x_0, sizes_1]
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_d_add_2 = self.layers[1].forward_backward_backward_input(x_2, d_d_self["layers.1"], d_d_x_2)  # [x_0, sizes_2]
        return d_d_add_2, d_d_x_2

    def forward_backward_parameters_backward_input_backward(self, d_d_self, x, x_2, gt, d_d_x_2, d_d_d_add_2):
        """From d_d_self, d_d_x_2 and d_d_d_add_2 to the gradients by the parameters, x, x_2 and d_d_self."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2, d_d_d_layers_1, d_d_d_x_2 = self.layers[1].forward_backward_backward_input_backward(
            d_d_self["layers.1"], x_2, d_d_x_2, d_d_d_add_2
        )
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_d_add = relu_backward_backward_backward(gt, d_d_d_x_2)  # [x_0, sizes_1]
        d_x, d_d_d_layers_0 = Linear.forward_backward_parameters_backward_backward(d_d_self["layers.0"], x, d_d_d_add)
        return {"layers.1": d_layers_1_}, d_x, d_x_2, {"layers.0": d_d_d_layers_0, "layers.1": d_d_d_layers_1}

    def forward_backward_parameters_backward(self, x, x_2, d_add_2, saved, d_d_self):
        """From d_add_2, d_add and d_d_self to the gradients by the parameters, x, x_2 and d_add_2."""
        saved_relu_backward, d_add = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x, d_d_add = Linear.forward_backward_parameters_backward_2(x, d_add, d_d_self["layers.0"])
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2, d_d_add_2 = self.layers[1].forward_backward_backward(
            x_2, d_add_2, d_d_self["layers.1"], d_d_x_2
        )
        return {"layers.1": d_layers_1_}, d_x, d_x_2, d_d_add_2

    def forward_saved_backward(self, x, x_2, d_y, d_x_2):
        """From d_y and d_x_2 to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2_3 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_2_2 = d_x_2 + d_x_2_3  # [x_0, sizes_1]
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x

    def forward_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x


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

    x [x_0] -> [x_0]
    """
    return x.detach()  # [x_0]  prelude.lee:18


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


def relu_backward_backward_backward(gt, d_d_d_select):
    """From d_d_d_select to the gradient by d_d_x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_d_x = torch.where(gt, d_d_d_select, 0)  # [x_0, x_1]
    return d_d_d_x  # [x_0, x_1]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "clean": 0xB97F249A6305C035,
    "labels": 0xA180C7DE21361E13,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "other": 0xAF93053850CE50D6,
    "rows": 0x7157F64E97D70F72,
    "w": 0x20925082A2286B9E,
    "wrong": 0x041D713E9C50EE2C,
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
