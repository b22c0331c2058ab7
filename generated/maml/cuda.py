"""A start from which few steps on few examples go far: MAML, its first-order form, Reptile (inventory P3, P4).

A net is a point of its parameter space, so what a task makes of it, φ - ε ∇l(φ), is a net again.

Made from specs/meta/maml.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/meta/maml.lee
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


def waves(k, shots, key):
    """k tasks, each to learn h sin(x + p) from `shots` points and to be tested at as many others."""
    height = 0.1 + 4.9 * uniform(fold(key, SITES["height"]), (k,), FLOAT)  # [k]  maml.lee:16
    phase = 3.141592653589793 * uniform(fold(key, SITES["phase"]), (k,), FLOAT)  # [k]  maml.lee:17
    x = -5 + 10 * uniform(fold(key, SITES["x"]), (k, shots, 1), FLOAT)  # [k, shots, 1]  maml.lee:18
    xq = -5 + 10 * uniform(fold(key, SITES["xq"]), (k, shots, 1), FLOAT)  # [k, shots, 1]  maml.lee:19
    reshape = height[:, None, None]  # [k, 1, 1]  maml.lee:20
    reshape_2 = phase[:, None, None]  # [k, 1, 1]
    y = reshape * torch.sin(x + reshape_2)  # [k, shots, 1]
    yq = reshape * torch.sin(xq + reshape_2)  # [k, shots, 1]  maml.lee:21
    return x, y, xq, yq


def adapted(net, x, y, rate=0.01, steps=1):
    """Some steps of gradient descent on the examples of a task.

    x [n, net.sizes_0], y [n, net.sizes_3] -> MLP
    """
    net_ = net  # maml.lee:27
    for s in range(steps):
        net_ = adapted_step(net_, x, y, rate)
    return net_.copy()


def adapted_saved(net, x, y, rate=0.01, steps=1):
    """As adapted, and what its gradient needs."""
    net_ = net  # maml.lee:27
    saved_adapted_step = [None] * steps
    for s in range(steps):
        net_, saved_adapted_step[s] = adapted_step_saved(net_, x, y, rate)
    return net_.copy(), saved_adapted_step


def adapted_backward(x, rate, saved_adapted_step, steps, d_mlp):
    """From d_add_3_rows, d_mul_rows, d_add_2_rows, d_add_rows and d_mlp to the gradients by net, x and y."""
    n, net_sizes_0 = x.shape
    net_sizes_3 = d_mlp["layers.2"]["w"].shape[1]
    # gradient of for s in steps:   maml.lee:27
    d_x_later = torch.zeros((n, net_sizes_0), dtype=FLOAT, device=x.device)  # [n, net.sizes_0]
    d_y_later = torch.zeros((n, net_sizes_3), dtype=FLOAT, device=x.device)  # [n, net.sizes_3]
    d_net = d_mlp
    for s in reversed(range(steps)):
        d_net, d_x_later, d_y_later = adapted_step_backward(saved_adapted_step[s], x, rate, d_net, d_x_later, d_y_later)
    return d_net, d_x_later, d_y_later


def adapted_step(net, x, y, rate):
    """x [n, net.sizes_0], y [n, net.sizes_3] -> MLP"""
    add_3, saved_net = net.forward_saved(x)  # maml.lee:28
    _, saved_mse = mse_saved(add_3, y)
    d_add_3 = mse_backward(saved_mse, torch.ones((), dtype=FLOAT, device=x.device))  # [n, net.sizes_3]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_3)
    return net.at(
        {
            "layers.0": {
                "w": net.layers[0].w - rate * d_net["layers.0"]["w"],
                "b": net.layers[0].b - rate * d_net["layers.0"]["b"],
            },
            "layers.1": {
                "w": net.layers[1].w - rate * d_net["layers.1"]["w"],
                "b": net.layers[1].b - rate * d_net["layers.1"]["b"],
            },
            "layers.2": {
                "w": net.layers[2].w - rate * d_net["layers.2"]["w"],
                "b": net.layers[2].b - rate * d_net["layers.2"]["b"],
            },
        }
    )


def adapted_step_saved(net, x, y, rate):
    """As adapted_step, and what its gradient needs."""
    add_3, saved_net = net.forward_saved(x)  # maml.lee:28
    _, saved_mse = mse_saved(add_3, y)
    d_add_3, saved_mse_backward = mse_backward_saved(saved_mse, torch.ones((), dtype=FLOAT, device=x.device))
    d_net, saved_net_ = net.forward_backward_parameters_saved(x, saved_net, d_add_3)
    return net.at(
        {
            "layers.0": {
                "w": net.layers[0].w - rate * d_net["layers.0"]["w"],
                "b": net.layers[0].b - rate * d_net["layers.0"]["b"],
            },
            "layers.1": {
                "w": net.layers[1].w - rate * d_net["layers.1"]["w"],
                "b": net.layers[1].b - rate * d_net["layers.1"]["b"],
            },
            "layers.2": {
                "w": net.layers[2].w - rate * d_net["layers.2"]["w"],
                "b": net.layers[2].b - rate * d_net["layers.2"]["b"],
            },
        }
    ), (saved_net, d_add_3, saved_mse_backward, saved_net_, net)


def adapted_step_backward(saved, x, rate, d_net, d_x, d_y):
    """From d_add_3, d_mul, d_add_2, d_add, d_net, d_x and d_y to the gradients by net, x and y."""
    saved_net, d_add_3, saved_mse_backward, saved_net_, net = saved
    # gradient of net = net - rate * grad(mse(net(x), y), net)   maml.lee:28
    d_w_2 = -(rate * d_net["layers.0"]["w"])  # [net.sizes_0, net.sizes_1]
    d_b_2 = -(rate * d_net["layers.0"]["b"])  # [net.sizes_1]
    d_w_2_2 = -(rate * d_net["layers.1"]["w"])  # [net.sizes_1, net.sizes_2]
    d_b_2_2 = -(rate * d_net["layers.1"]["b"])  # [net.sizes_2]
    d_w_2_3 = -(rate * d_net["layers.2"]["w"])  # [net.sizes_2, net.sizes_3]
    d_b_2_3 = -(rate * d_net["layers.2"]["b"])  # [net.sizes_3]
    d_net_, d_x_4, d_x_2, d_x_3, d_d_add_3 = net.forward_backward_parameters_backward(
        x,
        saved_net[0],
        saved_net[1],
        d_add_3,
        saved_net_,
        {
            "layers.0": {"w": d_w_2, "b": d_b_2},
            "layers.1": {"w": d_w_2_2, "b": d_b_2_2},
            "layers.2": {"w": d_w_2_3, "b": d_b_2_3},
        },
    )
    d_add_3_2, d_y_ = mse_saved_backward(mse_backward_backward(saved_mse_backward, d_d_add_3))
    d_net_2, d_x_5 = net.forward_saved_backward(x, saved_net, d_add_3_2, d_x_2, d_x_3)
    d_net_layers_0_w = d_net["layers.0"]["w"] + d_net_2["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_net["layers.0"]["b"] + d_net_2["layers.0"]["b"]  # [net.sizes_1]
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"] + d_net_2["layers.1"]["w"]
    d_net_layers_1_b = d_net["layers.1"]["b"] + d_net_2["layers.1"]["b"]  # [net.sizes_2]
    # [net.sizes_2, net.sizes_3]
    d_net_layers_2_w = d_net["layers.2"]["w"] + d_net_["layers.2"]["w"] + d_net_2["layers.2"]["w"]
    d_net_layers_2_b = d_net["layers.2"]["b"] + d_net_2["layers.2"]["b"]  # [net.sizes_3]
    d_x_ = d_x_4 + d_x_5  # [n, net.sizes_0]
    return (
        {
            "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
            "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
            "layers.2": {"w": d_net_layers_2_w, "b": d_net_layers_2_b},
        },
        d_x + d_x_,
        d_y + d_y_,
    )


def adapted_step_saved_in_step(net, x, y, rate):
    """As adapted_step, and what its gradient needs."""
    n = x.shape[0]
    x_2 = torch.relu(torch.addmm(net.layers[0].b, x, net.layers[0].w))  # [n, net.sizes_1]  prelude.lee:61
    x_3 = torch.relu(torch.addmm(net.layers[1].b, x_2, net.layers[1].w))  # [n, net.sizes_2]
    div = 1.0 / (n * net.sizes[3])  # losses.lee:148
    d_mul = torch.full((n, net.sizes[3]), div, dtype=FLOAT, device=x.device)  # [n, net.sizes_3]
    sub = torch.addmm(net.layers[2].b, x_3, net.layers[2].w) - y  # [n, net.sizes_3]  losses.lee:13
    d_add_3 = 2 / (n * net.sizes[3]) * sub  # [n, net.sizes_3]
    d_add_2 = torch.where(x_3 > 0, d_add_3 @ net.layers[2].w.T, 0.0)  # [n, net.sizes_2]  prelude.lee:61
    d_add = torch.where(x_2 > 0, d_add_2 @ net.layers[1].w.T, 0.0)  # [n, net.sizes_1]
    saved = x_2, x_3, d_add_3, d_mul, d_add_2, x_3 > 0, d_add, x_2 > 0, net
    # maml.lee:28
    return (
        net.at(
            {
                "layers.0": {
                    "w": net.layers[0].w - rate * (x.T @ d_add),
                    "b": net.layers[0].b - rate * d_add.sum(dim=0),
                },
                "layers.1": {
                    "w": net.layers[1].w - rate * (x_2.T @ d_add_2),
                    "b": net.layers[1].b - rate * d_add_2.sum(dim=0),
                },
                "layers.2": {
                    "w": net.layers[2].w - rate * (x_3.T @ d_add_3),
                    "b": net.layers[2].b - rate * d_add_3.sum(dim=0),
                },
            }
        ),
        saved,
    )


def adapted_step_backward_parameters_in_step(saved, x, rate, d_net):
    """From d_add_3, d_mul, d_add_2 and d_net to the gradient by net."""
    x_2, x_3, d_add_3, d_mul, d_add_2, gt_2, _, gt, net = saved
    # gradient of net = net - rate * grad(mse(net(x), y), net)   maml.lee:28
    d_w_2_3 = -(rate * d_net["layers.2"]["w"])  # [net.sizes_2, net.sizes_3]
    d_w_2_2 = -(rate * d_net["layers.1"]["w"])  # [net.sizes_1, net.sizes_2]
    # gradient of return x @ w + b   nn.lee:21
    d_d_add_2_2 = x @ -(rate * d_net["layers.0"]["w"])  # [n, net.sizes_1]
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_x_2 = torch.where(gt, d_d_add_2_2 - rate * d_net["layers.0"]["b"], 0.0)  # [n, net.sizes_1]
    # gradient of return x @ w + b   nn.lee:21
    d_x_2 = d_add_2 @ d_w_2_2.T  # [n, net.sizes_1]
    d_d_add_5 = x_2 @ d_w_2_2 + d_d_x_2 @ net.layers[1].w  # [n, net.sizes_2]
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_x_3 = torch.where(gt_2, d_d_add_5 - rate * d_net["layers.1"]["b"], 0.0)  # [n, net.sizes_2]
    # gradient of return x @ w + b   nn.lee:21
    d_x_3 = d_add_3 @ d_w_2_3.T  # [n, net.sizes_2]
    d_d_add_5_2 = x_3 @ d_w_2_3 + d_d_x_3 @ net.layers[2].w  # [n, net.sizes_3]
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_sub = 2 * ((d_d_add_5_2 - rate * d_net["layers.2"]["b"]) * d_mul)  # [n, net.sizes_3]
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_add_2_2 = torch.where(x_3 > 0, d_x_3 + d_sub @ net.layers[2].w.T, 0.0)  # [n, net.sizes_2]
    d_add = torch.where(x_2 > 0, d_x_2 + d_add_2_2 @ net.layers[1].w.T, 0.0)  # [n, net.sizes_1]
    # gradient of net = net - rate * grad(mse(net(x), y), net)   maml.lee:28
    d_net_layers_0_w = d_net["layers.0"]["w"] + x.T @ d_add  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_net["layers.0"]["b"] + d_add.sum(dim=0)  # [net.sizes_1]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_d_x_2.T @ d_add_2 + x_2.T @ d_add_2_2  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_b = d_net["layers.1"]["b"] + d_add_2_2.sum(dim=0)  # [net.sizes_2]
    d_net_layers_2_w = d_net["layers.2"]["w"] + d_d_x_3.T @ d_add_3 + x_3.T @ d_sub  # [net.sizes_2, net.sizes_3]
    d_net_layers_2_b = d_net["layers.2"]["b"] + d_sub.sum(dim=0)  # [net.sizes_3]
    return {
        "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
        "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
        "layers.2": {"w": d_net_layers_2_w, "b": d_net_layers_2_b},
    }


def maml(net, x, y, xq, yq, rate=0.01, steps=1):
    """L(φ) = mean l(θ), θ = φ - ε ∇l(φ): the gradient passes through the steps that each task takes (Finn et al. 2017).

    x [k, n, net.sizes_0], y [k, n, net.sizes_3], xq [k, m, net.sizes_0], yq [k, m, net.sizes_3] -> []
    """
    k = x.shape[0]
    total = torch.zeros((), dtype=FLOAT, device=x.device)  # maml.lee:38
    for i in range(k):
        total = maml_step(net, total, x[i], y[i], xq[i], yq[i], rate, steps)
    return total / k  # maml.lee:41


def maml_saved(net, x, y, xq, yq, rate=0.01, steps=1):
    """As maml, and what its gradient needs."""
    k = x.shape[0]
    total = torch.zeros((), dtype=FLOAT, device=x.device)  # maml.lee:38
    saved_maml_step = [None] * k
    for i in range(k):
        total, saved_maml_step[i] = maml_step_saved(net, total, x[i], y[i], xq[i], yq[i], rate, steps)
    return total / k, saved_maml_step  # maml.lee:41


def maml_backward(x, xq, rate, saved_maml_step, net_sizes_1, net_sizes_2, net_sizes_3, steps, d_out):
    """From d_add_3_rows_rows, d_mul_rows_rows, d_add_2_rows_rows, d_add_rows_rows and d_out to the gradients by net, x, y, xq and yq."""
    k, n, net_sizes_0 = x.shape
    m = xq.shape[1]
    # gradient of return total / k   maml.lee:41
    d_total_3 = d_out / k
    # gradient of for i in k:   maml.lee:38
    # [net.sizes_0, net.sizes_1]
    d_net_layers_0_w_2 = torch.zeros((net_sizes_0, net_sizes_1), dtype=FLOAT, device=x.device)
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w_2 = torch.zeros((net_sizes_1, net_sizes_2), dtype=FLOAT, device=x.device)
    # [net.sizes_2, net.sizes_3]
    d_net_layers_2_w_2 = torch.zeros((net_sizes_2, net_sizes_3), dtype=FLOAT, device=x.device)
    d_net = {
        "layers.0": {"w": d_net_layers_0_w_2},
        "layers.1": {"w": d_net_layers_1_w_2},
        "layers.2": {"w": d_net_layers_2_w_2},
    }
    d_x = [None] * k
    d_y = [None] * k
    d_xq = [None] * k
    d_yq = [None] * k
    d_net_layers_0_b_rows = [None] * k
    d_net_layers_1_b_rows = [None] * k
    d_net_layers_2_b_rows = [None] * k
    for i in reversed(range(k)):
        (
            d_total_3,
            d_net,
            d_x[i],
            d_y[i],
            d_xq[i],
            d_yq[i],
            d_net_layers_0_b_rows[i],
            d_net_layers_1_b_rows[i],
            d_net_layers_2_b_rows[i],
        ) = maml_step_backward(x[i], xq[i], rate, saved_maml_step[i], steps, d_total_3, d_net)
    d_x = torch.stack(d_x, 0) if d_x else torch.zeros((k, n, net_sizes_0), dtype=FLOAT, device=x.device)
    d_y = torch.stack(d_y, 0) if d_y else torch.zeros((k, n, net_sizes_3), dtype=FLOAT, device=x.device)
    d_xq = torch.stack(d_xq, 0) if d_xq else torch.zeros((k, m, net_sizes_0), dtype=FLOAT, device=x.device)
    d_yq = torch.stack(d_yq, 0) if d_yq else torch.zeros((k, m, net_sizes_3), dtype=FLOAT, device=x.device)
    d_net_layers_0_b_rows = (
        torch.stack(d_net_layers_0_b_rows, 0)
        if d_net_layers_0_b_rows
        else torch.zeros((k, net_sizes_1), dtype=FLOAT, device=x.device)
    )
    d_net_layers_1_b_rows = (
        torch.stack(d_net_layers_1_b_rows, 0)
        if d_net_layers_1_b_rows
        else torch.zeros((k, net_sizes_2), dtype=FLOAT, device=x.device)
    )
    d_net_layers_2_b_rows = (
        torch.stack(d_net_layers_2_b_rows, 0)
        if d_net_layers_2_b_rows
        else torch.zeros((k, net_sizes_3), dtype=FLOAT, device=x.device)
    )
    d_net_layers_0_b = d_net_layers_0_b_rows.sum(dim=0)  # [net.sizes_1]
    d_net_layers_1_b = d_net_layers_1_b_rows.sum(dim=0)  # [net.sizes_2]
    d_net_layers_2_b = d_net_layers_2_b_rows.sum(dim=0)  # [net.sizes_3]
    return (
        {
            "layers.0": {"w": d_net["layers.0"]["w"], "b": d_net_layers_0_b},
            "layers.1": {"w": d_net["layers.1"]["w"], "b": d_net_layers_1_b},
            "layers.2": {"w": d_net["layers.2"]["w"], "b": d_net_layers_2_b},
        },
        d_x,
        d_y,
        d_xq,
        d_yq,
    )


def maml_step(net, total, x_i, y_i, xq_i, yq_i, rate, steps):
    """x_i [n, net.sizes_0], y_i [n, net.sizes_3], xq_i [m, net.sizes_0], yq_i [m, net.sizes_3] -> []"""
    θ = adapted(net, x_i, y_i, rate=rate, steps=steps)  # maml.lee:39
    total_2 = total + mse(θ(xq_i), yq_i)  # maml.lee:40
    return total_2


def maml_step_saved(net, total, x_i, y_i, xq_i, yq_i, rate, steps):
    """As maml_step, and what its gradient needs."""
    θ, saved_adapted = adapted_saved(net, x_i, y_i, rate=rate, steps=steps)  # maml.lee:39
    add_3, saved_θ = θ.forward_saved(xq_i)  # maml.lee:40
    mean, saved_mse = mse_saved(add_3, yq_i)
    total_2 = total + mean
    return total_2, (θ, saved_adapted, saved_θ, saved_mse)


def maml_step_backward(x_i, xq_i, rate, saved, steps, d_total_2, d_net):
    """From d_add_3_rows, d_mul_rows, d_add_2_rows, d_add_rows, d_total_2 and d_net to the gradients by total, net, x_i, y_i, xq_i, yq_i, net.layers.0.b, net.layers.1.b and net.layers.2.b."""
    θ, saved_adapted, saved_θ, saved_mse = saved
    # gradient of total = total + mse(θ(xq[i]), yq[i])   maml.lee:40
    d_add_3, d_yq_i = mse_backward_2(saved_mse, d_total_2)
    d_θ, d_xq_i = θ.forward_backward(xq_i, saved_θ, d_add_3)
    # gradient of θ = adapted(net, x[i], y[i], rate, steps)   maml.lee:39
    d_net_, d_x_i, d_y_i = adapted_backward(x_i, rate, saved_adapted, steps, d_θ)
    return (
        d_total_2,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]},
            "layers.2": {"w": d_net["layers.2"]["w"] + d_net_["layers.2"]["w"]},
        },
        d_x_i,
        d_y_i,
        d_xq_i,
        d_yq_i,
        d_net_["layers.0"]["b"],
        d_net_["layers.1"]["b"],
        d_net_["layers.2"]["b"],
    )


def maml_step_saved_in_step(net, total, x_i, y_i, xq_i, yq_i, rate, steps):
    """As maml_step, and what its gradient needs."""
    m = xq_i.shape[0]
    net_ = net  # maml.lee:27
    saved_adapted_step = [None] * steps
    for s in range(steps):
        net_, saved_adapted_step[s] = adapted_step_saved_in_step(net_, x_i, y_i, rate)
    x_2 = torch.relu(torch.addmm(net_.layers[0].b, xq_i, net_.layers[0].w))  # [m, net.sizes_1]  prelude.lee:61
    x_3 = torch.relu(torch.addmm(net_.layers[1].b, x_2, net_.layers[1].w))  # [m, net.sizes_2]
    sub = torch.addmm(net_.layers[2].b, x_3, net_.layers[2].w) - yq_i  # [m, net.sizes_3]  losses.lee:13
    total_2 = total + (sub**2).sum() / (m * net.sizes[3])  # maml.lee:40
    return total_2, (net_, saved_adapted_step, x_2, x_3, sub)


def maml_step_backward_2_in_step(x_i, xq_i, rate, saved, steps, d_total_2, d_net):
    """From d_add_3_rows, d_mul_rows, d_add_2_rows, d_total_2 and d_net to the gradients by total, net, net.layers.0.b, net.layers.1.b and net.layers.2.b."""
    net_, saved_adapted_step, x_2, x_3, sub = saved
    m = xq_i.shape[0]
    net_sizes_3 = sub.shape[1]
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_add_3 = 2 * (d_total_2 / (m * net_sizes_3)) * sub  # [m, net.sizes_3]
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_add_2 = torch.where(x_3 > 0, d_add_3 @ net_.layers[2].w.T, 0.0)  # [m, net.sizes_2]
    d_add = torch.where(x_2 > 0, d_add_2 @ net_.layers[1].w.T, 0.0)  # [m, net.sizes_1]
    # gradient of for s in steps:   maml.lee:27
    d_net_ = {
        "layers.0": {"w": xq_i.T @ d_add, "b": d_add.sum(dim=0)},
        "layers.1": {"w": x_2.T @ d_add_2, "b": d_add_2.sum(dim=0)},
        "layers.2": {"w": x_3.T @ d_add_3, "b": d_add_3.sum(dim=0)},
    }
    for s in reversed(range(steps)):
        d_net_ = adapted_step_backward_parameters_in_step(saved_adapted_step[s], x_i, rate, d_net_)
    # gradient of θ = adapted(net, x[i], y[i], rate, steps)   maml.lee:39
    return (
        d_total_2,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]},
            "layers.2": {"w": d_net["layers.2"]["w"] + d_net_["layers.2"]["w"]},
        },
        d_net_["layers.0"]["b"],
        d_net_["layers.1"]["b"],
        d_net_["layers.2"]["b"],
    )


def first_order_saved(net, x, y, xq, yq, rate=0.01):
    """As first_order, and what its gradient needs."""
    k = x.shape[0]
    total = torch.zeros((), dtype=FLOAT, device=x.device)  # maml.lee:47
    saved_first_order_step = [None] * k
    for i in range(k):
        total, saved_first_order_step[i] = first_order_step_saved(net, total, x[i], y[i], xq[i], yq[i], rate)
    return total / k, saved_first_order_step  # maml.lee:50


def first_order_backward(xq, saved_first_order_step, n, net_sizes_1, net_sizes_2, net_sizes_3, d_div):
    """From d_div to the gradients by net, xq and yq."""
    k, m, net_sizes_0 = xq.shape
    # gradient of return total / k   maml.lee:50
    d_total_3 = d_div / k
    # gradient of for i in k:   maml.lee:47
    # [net.sizes_0, net.sizes_1]
    d_net_layers_0_w_2 = torch.zeros((net_sizes_0, net_sizes_1), dtype=FLOAT, device=xq.device)
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w_2 = torch.zeros((net_sizes_1, net_sizes_2), dtype=FLOAT, device=xq.device)
    # [net.sizes_2, net.sizes_3]
    d_net_layers_2_w_2 = torch.zeros((net_sizes_2, net_sizes_3), dtype=FLOAT, device=xq.device)
    d_net = {
        "layers.0": {"w": d_net_layers_0_w_2},
        "layers.1": {"w": d_net_layers_1_w_2},
        "layers.2": {"w": d_net_layers_2_w_2},
    }
    d_xq = [None] * k
    d_yq = [None] * k
    d_net_layers_0_b_rows = [None] * k
    d_net_layers_1_b_rows = [None] * k
    d_net_layers_2_b_rows = [None] * k
    for i in reversed(range(k)):
        (
            d_total_3,
            d_net,
            d_xq[i],
            d_yq[i],
            d_net_layers_0_b_rows[i],
            d_net_layers_1_b_rows[i],
            d_net_layers_2_b_rows[i],
        ) = first_order_step_backward(xq[i], saved_first_order_step[i], d_total_3, d_net)
    d_xq = torch.stack(d_xq, 0) if d_xq else torch.zeros((k, m, net_sizes_0), dtype=FLOAT, device=xq.device)
    d_yq = torch.stack(d_yq, 0) if d_yq else torch.zeros((k, m, net_sizes_3), dtype=FLOAT, device=xq.device)
    d_net_layers_0_b_rows = (
        torch.stack(d_net_layers_0_b_rows, 0)
        if d_net_layers_0_b_rows
        else torch.zeros((k, net_sizes_1), dtype=FLOAT, device=xq.device)
    )
    d_net_layers_1_b_rows = (
        torch.stack(d_net_layers_1_b_rows, 0)
        if d_net_layers_1_b_rows
        else torch.zeros((k, net_sizes_2), dtype=FLOAT, device=xq.device)
    )
    d_net_layers_2_b_rows = (
        torch.stack(d_net_layers_2_b_rows, 0)
        if d_net_layers_2_b_rows
        else torch.zeros((k, net_sizes_3), dtype=FLOAT, device=xq.device)
    )
    d_net_layers_0_b = d_net_layers_0_b_rows.sum(dim=0)  # [net.sizes_1]
    d_net_layers_1_b = d_net_layers_1_b_rows.sum(dim=0)  # [net.sizes_2]
    d_net_layers_2_b = d_net_layers_2_b_rows.sum(dim=0)  # [net.sizes_3]
    return (
        {
            "layers.0": {"w": d_net["layers.0"]["w"], "b": d_net_layers_0_b},
            "layers.1": {"w": d_net["layers.1"]["w"], "b": d_net_layers_1_b},
            "layers.2": {"w": d_net["layers.2"]["w"], "b": d_net_layers_2_b},
        },
        d_xq,
        d_yq,
    )


def first_order_step_saved(net, total, x_i, y_i, xq_i, yq_i, rate):
    """As first_order_step, and what its gradient needs."""
    add_3, saved_net = net.forward_saved(x_i)  # maml.lee:48
    _, saved_mse = mse_saved(add_3, y_i)
    d_add_3 = mse_backward(saved_mse, torch.ones((), dtype=FLOAT, device=total.device))  # [n, net.sizes_3]
    d_net = net.forward_backward_parameters(x_i, saved_net, d_add_3)
    mlp = stop(net.at({"layers.0": d_net["layers.0"], "layers.1": d_net["layers.1"], "layers.2": d_net["layers.2"]}))
    θ_layers_0_w = net.layers[0].w - rate * mlp.layers[0].w  # [net.sizes_0, net.sizes_1]
    θ_layers_1_w = net.layers[1].w - rate * mlp.layers[1].w  # [net.sizes_1, net.sizes_2]
    θ_layers_2_w = net.layers[2].w - rate * mlp.layers[2].w  # [net.sizes_2, net.sizes_3]
    θ = net.at(
        {
            "layers.0": {"w": θ_layers_0_w, "b": net.layers[0].b - rate * mlp.layers[0].b},
            "layers.1": {"w": θ_layers_1_w, "b": net.layers[1].b - rate * mlp.layers[1].b},
            "layers.2": {"w": θ_layers_2_w, "b": net.layers[2].b - rate * mlp.layers[2].b},
        }
    )
    add_3_2, saved_θ = θ.forward_saved(xq_i)  # maml.lee:49
    mean_2, saved_mse_ = mse_saved(add_3_2, yq_i)
    total_2 = total + mean_2
    return total_2, (θ, saved_θ, saved_mse_)


def first_order_step_backward(xq_i, saved, d_total_2, d_net):
    """From d_total_2 and d_net to the gradients by total, net, xq_i, yq_i, net.layers.0.b, net.layers.1.b and net.layers.2.b."""
    θ, saved_θ, saved_mse_ = saved
    # gradient of total = total + mse(θ(xq[i]), yq[i])   maml.lee:49
    d_add_3_2, d_yq_i = mse_backward_2(saved_mse_, d_total_2)
    d_θ, d_xq_i = θ.forward_backward(xq_i, saved_θ, d_add_3_2)
    return (
        d_total_2,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_θ["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_θ["layers.1"]["w"]},
            "layers.2": {"w": d_net["layers.2"]["w"] + d_θ["layers.2"]["w"]},
        },
        d_xq_i,
        d_yq_i,
        d_θ["layers.0"]["b"],
        d_θ["layers.1"]["b"],
        d_θ["layers.2"]["b"],
    )


def first_order_step_saved_in_step(net, total, x_i, y_i, xq_i, yq_i, rate):
    """As first_order_step, and what its gradient needs."""
    n = x_i.shape[0]
    m = xq_i.shape[0]
    x_2 = torch.relu(torch.addmm(net.layers[0].b, x_i, net.layers[0].w))  # [n, net.sizes_1]  prelude.lee:61
    x_3 = torch.relu(torch.addmm(net.layers[1].b, x_2, net.layers[1].w))  # [n, net.sizes_2]
    sub = torch.addmm(net.layers[2].b, x_3, net.layers[2].w) - y_i  # [n, net.sizes_3]  losses.lee:13
    d_add_3 = 2 / (n * net.sizes[3]) * sub  # [n, net.sizes_3]
    d_add_2 = torch.where(x_3 > 0, d_add_3 @ net.layers[2].w.T, 0.0)  # [n, net.sizes_2]  prelude.lee:61
    d_add = torch.where(x_2 > 0, d_add_2 @ net.layers[1].w.T, 0.0)  # [n, net.sizes_1]
    θ_layers_0_w = net.layers[0].w - rate * (x_i.T @ d_add)  # [net.sizes_0, net.sizes_1]  maml.lee:48
    θ_layers_1_w = net.layers[1].w - rate * (x_2.T @ d_add_2)  # [net.sizes_1, net.sizes_2]
    θ_layers_2_w = net.layers[2].w - rate * (x_3.T @ d_add_3)  # [net.sizes_2, net.sizes_3]
    θ_layers_0_b = net.layers[0].b - rate * d_add.sum(dim=0)  # [net.sizes_1]
    x_2_2 = torch.relu(torch.addmm(θ_layers_0_b, xq_i, θ_layers_0_w))  # [m, net.sizes_1]  prelude.lee:61
    θ_layers_1_b = net.layers[1].b - rate * d_add_2.sum(dim=0)  # [net.sizes_2]  maml.lee:48
    x_3_2 = torch.relu(torch.addmm(θ_layers_1_b, x_2_2, θ_layers_1_w))  # [m, net.sizes_2]  prelude.lee:61
    θ_layers_2_b = net.layers[2].b - rate * d_add_3.sum(dim=0)  # [net.sizes_3]  maml.lee:48
    sub_2 = torch.addmm(θ_layers_2_b, x_3_2, θ_layers_2_w) - yq_i  # [m, net.sizes_3]  losses.lee:13
    total_2 = total + (sub_2**2).sum() / (m * net.sizes[3])  # maml.lee:49
    saved = θ_layers_0_w, θ_layers_1_w, θ_layers_2_w, x_2_2, x_3_2, sub_2
    return total_2, saved


def first_order_step_backward_2_in_step(xq_i, saved, d_total_2, d_net):
    """From d_total_2 and d_net to the gradients by total, net, net.layers.0.b, net.layers.1.b and net.layers.2.b."""
    _, θ_layers_1_w, θ_layers_2_w, x_2_2, x_3_2, sub_2 = saved
    m = xq_i.shape[0]
    net_sizes_3 = θ_layers_2_w.shape[1]
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_add_3_2 = 2 * (d_total_2 / (m * net_sizes_3)) * sub_2  # [m, net.sizes_3]
    # gradient of return x @ w + b   nn.lee:21
    d_net_layers_2_b = d_add_3_2.sum(dim=0)  # [net.sizes_3]
    d_net_layers_2_w = x_3_2.T @ d_add_3_2  # [net.sizes_2, net.sizes_3]
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_add_2 = torch.where(x_3_2 > 0, d_add_3_2 @ θ_layers_2_w.T, 0.0)  # [m, net.sizes_2]
    # gradient of return x @ w + b   nn.lee:21
    d_net_layers_1_b = d_add_2.sum(dim=0)  # [net.sizes_2]
    d_net_layers_1_w = x_2_2.T @ d_add_2  # [net.sizes_1, net.sizes_2]
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_add = torch.where(x_2_2 > 0, d_add_2 @ θ_layers_1_w.T, 0.0)  # [m, net.sizes_1]
    # gradient of return x @ w + b   nn.lee:21
    d_net_layers_0_b = d_add.sum(dim=0)  # [net.sizes_1]
    d_net_layers_0_w = xq_i.T @ d_add  # [net.sizes_0, net.sizes_1]
    # gradient of total = total + mse(θ(xq[i]), yq[i])   maml.lee:49
    return (
        d_total_2,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_layers_0_w},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_layers_1_w},
            "layers.2": {"w": d_net["layers.2"]["w"] + d_net_layers_2_w},
        },
        d_net_layers_0_b,
        d_net_layers_1_b,
        d_net_layers_2_b,
    )


@torch.no_grad()
def sinusoids(rounds=2000, k=4, shots=10, rate=0.01, *, run=None):
    """What one step on ten points leaves of the error on tasks never met."""
    from leec.runtime.run import Run

    run = run or Run("sinusoids", backend="torch")
    net = MLP(sizes=(1, 40, 40, 1), key=run.key("net")).to(run.session.place.device)  # maml.lee:58
    opt = Adam(lr=2e-3)  # maml.lee:59
    step = SinusoidsStep(net, opt)
    for round_ in run.loop("round", 1, rounds, net=net, opt=opt):
        run.step(step(rate, k, shots, run.key("sinusoids")))  # maml.lee:61
    x, xq, y, yq = sinusoids_x_xq_y_yq(shots, key=run.key("sinusoids"))  # maml.lee:63
    reported_before, reported_after = sinusoids_before_after(net, x, y, xq, yq, rate)  # maml.lee:64
    run.report(before=reported_before, after=reported_after)  # maml.lee:64
    return net


class SinusoidsStep(TrainStep):
    """One step of sinusoids for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b", "net.layers.2.w", "net.layers.2.b")
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, rate, k, shots, key, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_2_w, layers_2_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b, d_layers_2_w, d_layers_2_b = self.gradients
        key_2 = fold(key, SITES["waves"])  # maml.lee:61
        key_2_2 = fold(key_2, SITES["height"])  # maml.lee:16
        uniform_ = uniform(key_2_2, (k,), FLOAT, self.net.layers[0].w.device)  # [k]
        key_3 = fold(key_2, SITES["phase"])  # maml.lee:17
        uniform_2 = uniform(key_3, (k,), FLOAT, self.net.layers[0].w.device)  # [k]
        key_4 = fold(key_2, SITES["x"])  # maml.lee:18
        uniform_3 = uniform(key_4, (k, shots, 1), FLOAT, self.net.layers[0].w.device)  # [k, shots, 1]
        x_2 = -5 + 10 * uniform_3  # [k, shots, 1]
        key_5 = fold(key_2, SITES["xq"])  # maml.lee:19
        uniform_4 = uniform(key_5, (k, shots, 1), FLOAT, self.net.layers[0].w.device)  # [k, shots, 1]
        xq_2 = -5 + 10 * uniform_4  # [k, shots, 1]
        reshape = (0.1 + 4.9 * uniform_)[:, None, None]  # [k, 1, 1]  maml.lee:20
        reshape_2 = (3.141592653589793 * uniform_2)[:, None, None]  # [k, 1, 1]
        y_2 = reshape * torch.sin(x_2 + reshape_2)  # [k, shots, 1]
        yq_2 = reshape * torch.sin(xq_2 + reshape_2)  # [k, shots, 1]  maml.lee:21
        fill = torch.zeros((), dtype=FLOAT, device=self.net.layers[0].w.device)  # maml.lee:38
        saved_maml_step = [None] * k
        for i in range(k):
            fill, saved_maml_step[i] = maml_step_saved_in_step(
                self.net, fill, x_2[i], y_2[i], xq_2[i], yq_2[i], rate, 1
            )
        div_2 = 1.0 / k  # maml.lee:41
        d_total_3 = torch.full((), div_2, dtype=FLOAT, device=self.net.layers[0].w.device)
        # [1, 40]  maml.lee:38
        d_net_layers_0_w_2 = torch.zeros((1, 40), dtype=FLOAT, device=self.net.layers[0].w.device)
        d_net_layers_1_w_2 = torch.zeros((40, 40), dtype=FLOAT, device=self.net.layers[0].w.device)  # [40, 40]
        d_net_layers_2_w_2 = torch.zeros((40, 1), dtype=FLOAT, device=self.net.layers[0].w.device)  # [40, 1]
        d_net = {
            "layers.0": {"w": d_net_layers_0_w_2},
            "layers.1": {"w": d_net_layers_1_w_2},
            "layers.2": {"w": d_net_layers_2_w_2},
        }
        d_net_layers_0_b_rows = torch.empty((k, 40), dtype=FLOAT, device=self.net.layers[0].w.device)  # [k, 40]
        d_net_layers_1_b_rows = torch.empty((k, 40), dtype=FLOAT, device=self.net.layers[0].w.device)  # [k, 40]
        d_net_layers_2_b_rows = torch.empty((k, 1), dtype=FLOAT, device=self.net.layers[0].w.device)  # [k, 1]
        for i_ in reversed(range(k)):
            d_total_3, d_net, d_net_layers_0_b_rows[i_], d_net_layers_1_b_rows[i_], d_net_layers_2_b_rows[i_] = (
                maml_step_backward_2_in_step(x_2[i_], xq_2[i_], rate, saved_maml_step[i_], 1, d_total_3, d_net)
            )
        torch.sum(d_net_layers_0_b_rows, dim=0, out=d_layers_0_b)  # [40]
        torch.sum(d_net_layers_1_b_rows, dim=0, out=d_layers_1_b)  # [40]
        torch.sum(d_net_layers_2_b_rows, dim=0, out=d_layers_2_b)  # [1]
        d_layers_0_w.copy_(d_net["layers.0"]["w"])  # [1, 40]  maml.lee:62
        d_layers_1_w.copy_(d_net["layers.1"]["w"])  # [40, 40]
        d_layers_2_w.copy_(d_net["layers.2"]["w"])  # [40, 1]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return fill / k  # maml.lee:41


def sinusoids_x_xq_y_yq(shots, key):
    x_2, y_2, xq_2, yq_2 = waves(100, shots, fold(key, SITES["waves#2"]))  # maml.lee:63
    return x_2, xq_2, y_2, yq_2


def sinusoids_before_after(net, x, y, xq, yq, rate):
    """x [100, shots, 1], y [100, shots, 1], xq [100, shots, 1], yq [100, shots, 1] -> [], []"""
    return maml(net, x, y, xq, yq, rate=0.0), maml(net, x, y, xq, yq, rate=rate)  # maml.lee:64


@torch.no_grad()
def sinusoids_first_order(rounds=2000, k=4, shots=10, rate=0.01, *, run=None):
    """The same without second derivatives."""
    from leec.runtime.run import Run

    run = run or Run("sinusoids_first_order", backend="torch")
    net = MLP(sizes=(1, 40, 40, 1), key=run.key("net")).to(run.session.place.device)  # maml.lee:70
    opt = Adam(lr=2e-3)  # maml.lee:71
    step = SinusoidsFirstOrderStep(net, opt)
    for round_ in run.loop("round", 1, rounds, net=net, opt=opt):
        run.step(step(rate, k, shots, run.key("sinusoids_first_order")))  # maml.lee:73
    x, xq, y, yq = sinusoids_first_order_x_xq_y_yq(shots, key=run.key("sinusoids_first_order"))  # maml.lee:75
    reported_before, reported_after = sinusoids_first_order_before_after(net, x, y, xq, yq, rate)  # maml.lee:76
    run.report(before=reported_before, after=reported_after)  # maml.lee:76
    return net


class SinusoidsFirstOrderStep(TrainStep):
    """One step of sinusoids_first_order for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b", "net.layers.2.w", "net.layers.2.b")
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, rate, k, shots, key, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_2_w, layers_2_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b, d_layers_2_w, d_layers_2_b = self.gradients
        key_2 = fold(key, SITES["waves"])  # maml.lee:73
        key_2_2 = fold(key_2, SITES["height"])  # maml.lee:16
        uniform_ = uniform(key_2_2, (k,), FLOAT, self.net.layers[0].w.device)  # [k]
        key_3 = fold(key_2, SITES["phase"])  # maml.lee:17
        uniform_2 = uniform(key_3, (k,), FLOAT, self.net.layers[0].w.device)  # [k]
        key_4 = fold(key_2, SITES["x"])  # maml.lee:18
        uniform_3 = uniform(key_4, (k, shots, 1), FLOAT, self.net.layers[0].w.device)  # [k, shots, 1]
        x_2 = -5 + 10 * uniform_3  # [k, shots, 1]
        key_5 = fold(key_2, SITES["xq"])  # maml.lee:19
        uniform_4 = uniform(key_5, (k, shots, 1), FLOAT, self.net.layers[0].w.device)  # [k, shots, 1]
        xq_2 = -5 + 10 * uniform_4  # [k, shots, 1]
        reshape = (0.1 + 4.9 * uniform_)[:, None, None]  # [k, 1, 1]  maml.lee:20
        reshape_2 = (3.141592653589793 * uniform_2)[:, None, None]  # [k, 1, 1]
        y_2 = reshape * torch.sin(x_2 + reshape_2)  # [k, shots, 1]
        yq_2 = reshape * torch.sin(xq_2 + reshape_2)  # [k, shots, 1]  maml.lee:21
        fill = torch.zeros((), dtype=FLOAT, device=self.net.layers[0].w.device)  # maml.lee:47
        saved_first_order_step = [None] * k
        for i in range(k):
            fill, saved_first_order_step[i] = first_order_step_saved_in_step(
                self.net, fill, x_2[i], y_2[i], xq_2[i], yq_2[i], rate
            )
        div_2 = 1.0 / k  # maml.lee:50
        d_total_3 = torch.full((), div_2, dtype=FLOAT, device=self.net.layers[0].w.device)
        # [1, 40]  maml.lee:47
        d_net_layers_0_w_2 = torch.zeros((1, 40), dtype=FLOAT, device=self.net.layers[0].w.device)
        d_net_layers_1_w_2 = torch.zeros((40, 40), dtype=FLOAT, device=self.net.layers[0].w.device)  # [40, 40]
        d_net_layers_2_w_2 = torch.zeros((40, 1), dtype=FLOAT, device=self.net.layers[0].w.device)  # [40, 1]
        d_net = {
            "layers.0": {"w": d_net_layers_0_w_2},
            "layers.1": {"w": d_net_layers_1_w_2},
            "layers.2": {"w": d_net_layers_2_w_2},
        }
        d_net_layers_0_b_rows = torch.empty((k, 40), dtype=FLOAT, device=self.net.layers[0].w.device)  # [k, 40]
        d_net_layers_1_b_rows = torch.empty((k, 40), dtype=FLOAT, device=self.net.layers[0].w.device)  # [k, 40]
        d_net_layers_2_b_rows = torch.empty((k, 1), dtype=FLOAT, device=self.net.layers[0].w.device)  # [k, 1]
        for i_ in reversed(range(k)):
            d_total_3, d_net, d_net_layers_0_b_rows[i_], d_net_layers_1_b_rows[i_], d_net_layers_2_b_rows[i_] = (
                first_order_step_backward_2_in_step(xq_2[i_], saved_first_order_step[i_], d_total_3, d_net)
            )
        torch.sum(d_net_layers_0_b_rows, dim=0, out=d_layers_0_b)  # [40]
        torch.sum(d_net_layers_1_b_rows, dim=0, out=d_layers_1_b)  # [40]
        torch.sum(d_net_layers_2_b_rows, dim=0, out=d_layers_2_b)  # [1]
        d_layers_0_w.copy_(d_net["layers.0"]["w"])  # [1, 40]  maml.lee:74
        d_layers_1_w.copy_(d_net["layers.1"]["w"])  # [40, 40]
        d_layers_2_w.copy_(d_net["layers.2"]["w"])  # [40, 1]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return fill / k  # maml.lee:50


def sinusoids_first_order_x_xq_y_yq(shots, key):
    x_2, y_2, xq_2, yq_2 = waves(100, shots, fold(key, SITES["waves#2"]))  # maml.lee:75
    return x_2, xq_2, y_2, yq_2


def sinusoids_first_order_before_after(net, x, y, xq, yq, rate):
    """x [100, shots, 1], y [100, shots, 1], xq [100, shots, 1], yq [100, shots, 1] -> [], []"""
    return maml(net, x, y, xq, yq, rate=0.0), maml(net, x, y, xq, yq, rate=rate)  # maml.lee:76


@torch.no_grad()
def reptile(rounds=4000, shots=10, rate=0.02, steps=8, outer=0.1, *, run=None):
    """φ ← φ + ε (θ - φ): the start moves towards where the steps of a task lead (Nichol et al. 2018)."""
    from leec.runtime.run import Run

    run = run or Run("reptile", backend="torch")
    net = MLP(sizes=(1, 40, 40, 1), key=run.key("net")).to(run.session.place.device)  # maml.lee:82
    for round_ in run.loop("round", 1, rounds, net=net):
        reptile_net(net, rate, outer, shots, steps, key=run.key("reptile"))  # maml.lee:84
    x, xq, y, yq = reptile_x_xq_y_yq(shots, key=run.key("reptile"))  # maml.lee:87
    reported_before, reported_after = reptile_before_after(net, x, y, xq, yq, rate, steps)  # maml.lee:88
    run.report(before=reported_before, after=reported_after)  # maml.lee:88
    return net


def reptile_net(net, rate, outer, shots, steps, key):
    x_2, y_2, _, _ = waves(1, shots, fold(key, SITES["waves"]))  # maml.lee:84
    reshape = x_2.reshape(shots, 1)  # [shots, 1]  maml.lee:85
    θ = adapted(net, reshape, y_2.reshape(shots, 1), rate=rate, steps=steps)
    with torch.no_grad():
        net.layers[0].w.add_(outer * (θ.layers[0].w - net.layers[0].w))  # [1, 40]  maml.lee:86
        net.layers[0].b.add_(outer * (θ.layers[0].b - net.layers[0].b))  # [40]
        net.layers[1].w.add_(outer * (θ.layers[1].w - net.layers[1].w))  # [40, 40]
        net.layers[1].b.add_(outer * (θ.layers[1].b - net.layers[1].b))  # [40]
        net.layers[2].w.add_(outer * (θ.layers[2].w - net.layers[2].w))  # [40, 1]
        net.layers[2].b.add_(outer * (θ.layers[2].b - net.layers[2].b))  # [1]


def reptile_x_xq_y_yq(shots, key):
    x_2, y_2, xq_2, yq_2 = waves(100, shots, fold(key, SITES["waves#2"]))  # maml.lee:87
    return x_2, xq_2, y_2, yq_2


def reptile_before_after(net, x, y, xq, yq, rate, steps):
    """x [100, shots, 1], y [100, shots, 1], xq [100, shots, 1], yq [100, shots, 1] -> [], []"""
    return maml(net, x, y, xq, yq, rate=0.0), maml(net, x, y, xq, yq, rate=rate, steps=steps)  # maml.lee:88


def example_one_step(key):
    net = MLP((1, 4, 4, 1), key=fold(key, SITES["net"]))  # maml.lee:96
    x = normal(fold(key, SITES["x"]), (2, 3, 1), FLOAT)  # [2, 3, 1]  maml.lee:97
    y = normal(fold(key, SITES["y"]), (2, 3, 1), FLOAT)  # [2, 3, 1]  maml.lee:98
    xq = normal(fold(key, SITES["xq"]), (2, 5, 1), FLOAT)  # [2, 5, 1]  maml.lee:99
    yq = normal(fold(key, SITES["yq"]), (2, 5, 1), FLOAT)  # [2, 5, 1]  maml.lee:100
    value, saved_maml = maml_saved(net, x, y, xq, yq)  # maml.lee:101
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x, d_y, d_xq, d_yq = maml_backward(x, xq, 0.01, saved_maml, 4, 4, 1, 1, d_value)
    return value, net.at(d_net), d_x, d_y, d_xq, d_yq


def example_three_steps(key):
    net = MLP((1, 4, 4, 1), key=fold(key, SITES["net"]))  # maml.lee:105
    x = normal(fold(key, SITES["x"]), (2, 3, 1), FLOAT)  # [2, 3, 1]  maml.lee:106
    y = normal(fold(key, SITES["y"]), (2, 3, 1), FLOAT)  # [2, 3, 1]  maml.lee:107
    xq = normal(fold(key, SITES["xq"]), (2, 5, 1), FLOAT)  # [2, 5, 1]  maml.lee:108
    yq = normal(fold(key, SITES["yq"]), (2, 5, 1), FLOAT)  # [2, 5, 1]  maml.lee:109
    value, saved_maml = maml_saved(net, x, y, xq, yq, rate=0.1, steps=3)  # maml.lee:110
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x, d_y, d_xq, d_yq = maml_backward(x, xq, 0.1, saved_maml, 4, 4, 1, 3, d_value)
    return value, net.at(d_net), d_x, d_y, d_xq, d_yq


def example_without_second_derivatives(key):
    net = MLP((1, 4, 4, 1), key=fold(key, SITES["net"]))  # maml.lee:114
    x = normal(fold(key, SITES["x"]), (2, 3, 1), FLOAT)  # [2, 3, 1]  maml.lee:115
    y = normal(fold(key, SITES["y"]), (2, 3, 1), FLOAT)  # [2, 3, 1]  maml.lee:116
    xq = normal(fold(key, SITES["xq"]), (2, 5, 1), FLOAT)  # [2, 5, 1]  maml.lee:117
    yq = normal(fold(key, SITES["yq"]), (2, 5, 1), FLOAT)  # [2, 5, 1]  maml.lee:118
    value, saved_first_order = first_order_saved(net, x, y, xq, yq)  # maml.lee:119
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_xq, d_yq = first_order_backward(xq, saved_first_order, 3, 4, 4, 1, d_value)
    d_x = torch.zeros((2, 3, 1), dtype=FLOAT)  # [2, 3, 1]
    return value, net.at(d_net), d_x, d_x, d_xq, d_yq


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def mse(y, target):
    """mean (y - target)²

    y [y_0, y_1], target [y_0, y_1] -> []
    """
    sub = y - target  # [y_0, y_1]  losses.lee:13
    return reduced(sub**2)


def mse_saved(y, target):
    """As mse, and what its gradient needs."""
    sub = y - target  # [y_0, y_1]  losses.lee:13
    return reduced(sub**2), sub


def mse_backward(sub, d_out):
    """From d_out to the gradient by y."""
    y_0, y_1 = sub.shape
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_y = 2 * (reduced_backward(y_0, y_1, d_out) * sub)  # [y_0, y_1]
    return d_y  # [y_0, y_1]


def mse_backward_saved(sub, d_out):
    """From d_out to the gradients by y and mul."""
    y_0, y_1 = sub.shape
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_mul = reduced_backward(y_0, y_1, d_out)  # [y_0, y_1]
    d_y = 2 * (d_mul * sub)  # [y_0, y_1]
    return d_y, d_mul


def mse_backward_backward(d_mul, d_d_y):
    """From d_mul and d_d_y to the gradient by sub."""
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    return 2 * (d_d_y * d_mul)  # [y_0, y_1]


def mse_backward_2(sub, d_out):
    """From d_out to the gradients by y and target."""
    y_0, y_1 = sub.shape
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_y = 2 * (reduced_backward(y_0, y_1, d_out) * sub)  # [y_0, y_1]
    d_target = -d_y  # [y_0, y_1]
    return d_y, d_target


def mse_saved_backward(d_sub):
    """From d_sub to the gradients by y and target."""
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_target = -d_sub  # [y_0, y_1]
    return d_sub, d_target


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0, each_1] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_backward(each_0, each_1, d_y):
    """From d_y to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = (d_y / (each_0 * each_1)).expand(each_0, each_1)  # [each_0, each_1]
    return d_each  # [each_0, each_1]


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
    def forward_backward_parameters_backward(x, d_add, d_d_self):
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

    def forward_backward_parameters(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_2_, d_x_3 = self.layers[2].forward_backward(x_3, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, relu_backward(x_3, d_x_3))
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_, "layers.2": d_layers_2_}

    def forward_backward_parameters_saved(self, x, saved, d_y):
        """From d_y to the gradients by the parameters, add_2 and add."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_2_, d_x_3 = self.layers[2].forward_backward(x_3, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add_2, saved_relu_backward = relu_backward_saved(x_3, d_x_3)
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_add_2)
        d_add, saved_relu_backward_ = relu_backward_saved(x_2, d_x_2)
        d_layers_0 = Linear.forward_backward_parameters(x, d_add)
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_, "layers.2": d_layers_2_}, (
            d_add_2,
            saved_relu_backward,
            d_add,
            saved_relu_backward_,
        )

    def forward_backward_parameters_backward(self, x, x_2, x_3, d_add_3, saved, d_d_self):
        """From d_add_3, d_add_2, d_add and d_d_self to the gradients by the parameters, x, x_2, x_3 and d_add_3."""
        d_add_2, saved_relu_backward, d_add, saved_relu_backward_ = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x, d_d_add = Linear.forward_backward_parameters_backward(x, d_add, d_d_self["layers.0"])
        d_d_x_2 = relu_backward_backward(saved_relu_backward_, d_d_add)  # [x_0, sizes_1]
        d_layers_1_, d_x_2, d_d_add_2 = self.layers[1].forward_backward_backward(
            x_2, d_add_2, d_d_self["layers.1"], d_d_x_2
        )
        d_d_x_3 = relu_backward_backward(saved_relu_backward, d_d_add_2)  # [x_0, sizes_2]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_2_, d_x_3, d_d_add_3 = self.layers[2].forward_backward_backward(
            x_3, d_add_3, d_d_self["layers.2"], d_d_x_3
        )
        return {"layers.1": d_layers_1_, "layers.2": d_layers_2_}, d_x, d_x_2, d_x_3, d_d_add_3

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_2_, d_x_3 = self.layers[2].forward_backward(x_3, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, relu_backward(x_3, d_x_3))
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_, "layers.2": d_layers_2_}, d_x

    def forward_saved_backward(self, x, saved, d_y, d_x_2, d_x_3):
        """From d_y, d_x_2 and d_x_3 to the gradients by the parameters and x."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_2_, d_x_3_3 = self.layers[2].forward_backward(x_3, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_3_2 = d_x_3 + d_x_3_3  # [x_0, sizes_2]
        d_layers_1_, d_x_2_3 = self.layers[1].forward_backward(x_2, relu_backward(x_3, d_x_3_2))
        d_x_2_2 = d_x_2 + d_x_2_3  # [x_0, sizes_1]
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_, "layers.2": d_layers_2_}, d_x


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
    """x, through which no gradient flows."""
    # prelude.lee:18
    return x.at(
        {
            "layers.0": {"w": x.layers[0].w.detach(), "b": x.layers[0].b.detach()},
            "layers.1": {"w": x.layers[1].w.detach(), "b": x.layers[1].b.detach()},
            "layers.2": {"w": x.layers[2].w.detach(), "b": x.layers[2].b.detach()},
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


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "height": 0xE9B3E26F5E5B60D2,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "layers.2": 0xA380C36DF3DD4243,
    "net": 0xF087C76970C91612,
    "phase": 0x6E5F3F2B4A3AE449,
    "w": 0x20925082A2286B9E,
    "waves": 0x4E533FAC2E5E42B3,
    "waves#2": 0x9F705E32ABAC9197,
    "x": 0x4F586EF96743DF4A,
    "xq": 0x67AAA7006A5CA0EE,
    "y": 0x5FA69583C58CA30F,
    "yq": 0x76AA16112774E493,
}


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


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
