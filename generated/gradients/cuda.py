"""How large gradients are, and where they vanish, burst or are followed (inventory S6, S8, S10, S11, S15).

Made from specs/analysis/gradients.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/analysis/gradients.lee
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


def slope_of_mse(z, target):
    """(σ(z) - y)² hardly slopes where σ is flat, also far from the target.

    z [n], target [n] -> [n]
    """
    sigmoid_z = torch.sigmoid(z)  # [n]  prelude.lee:36
    return 2 * (sigmoid_z - target) * (sigmoid_z * (1 - sigmoid_z))  # [n]


def slope_of_mse_saved(z, target):
    """As slope_of_mse, and what its gradient needs."""
    sigmoid_z = torch.sigmoid(z)  # [n]  prelude.lee:36
    d_sub = 2 * (sigmoid_z - target)  # [n]  gradients.lee:15
    sub_2 = 1 - sigmoid_z  # [n]  prelude.lee:36
    mul_2 = sigmoid_z * sub_2  # [n]
    return d_sub * mul_2, (sigmoid_z, d_sub, sub_2, mul_2)


def slope_of_mse_backward(saved, d_y):
    """From d_sub and d_y to the gradients by z and target."""
    sigmoid_z, d_sub, sub_2, mul_2 = saved
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_d_sub = d_y * mul_2  # [n]
    d_mul_2 = d_y * d_sub  # [n]
    # gradient of return grad(sum((sigmoid(z) - target) ** 2), z)   gradients.lee:15
    d_target = -2 * d_d_sub  # [n]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_sigmoid_z = d_mul_2 * sub_2 - d_mul_2 * sigmoid_z + 2 * d_d_sub  # [n]
    d_z = d_sigmoid_z * (sigmoid_z * (1 - sigmoid_z))  # [n]
    return d_z, d_target


def slope_of_cross_entropy(z, target):
    """-y ln σ(z) - (1 - y) ln (1 - σ(z)) slopes by σ(z) - y, the more the farther.

    z [n], target [n] -> [n]
    """
    add = torch.sigmoid(-z) * target + (target - 1) * torch.sigmoid(z)  # [n]  prelude.lee:36
    return -add  # [n]


def slope_of_cross_entropy_saved(z, target):
    """As slope_of_cross_entropy, and what its gradient needs."""
    n = z.shape[0]
    d_log_sigmoid_2 = target - 1  # [n]  gradients.lee:20
    sigmoid = torch.sigmoid(z)  # [n]
    sigmoid_2 = torch.sigmoid(-z)  # [n]
    saved = torch.full((n,), -1.0, dtype=FLOAT, device=z.device), d_log_sigmoid_2, sigmoid, -target, sigmoid_2
    return -target * sigmoid_2 - d_log_sigmoid_2 * sigmoid, saved  # prelude.lee:36


def slope_of_cross_entropy_backward(saved, d_y):
    """From d_add, d_log_sigmoid_2, d_log_sigmoid_z and d_y to the gradients by z and target."""
    d_add, d_log_sigmoid_2, sigmoid, d_log_sigmoid_z, sigmoid_2 = saved
    # gradient of return grad(-sum(target * log(sigmoid(z)) + (1 - target) * log(1 - sigmoid(z)..   gradients.lee:20
    d_neg_3 = d_y * d_log_sigmoid_z * (sigmoid_2 * (1 - sigmoid_2))  # [n]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_z = -d_y * d_log_sigmoid_2 * (sigmoid * (1 - sigmoid)) - d_neg_3  # [n]
    d_target = d_y * sigmoid_2 * d_add - -d_y * sigmoid * d_add  # [n]
    return d_z, d_target


class Deep_2(Model):
    """Layers of equal width, with σ or ReLU between them."""

    members = ("weights",)

    def __init__(self, width, *, key=(0, 0)):
        super().__init__()
        self.width = width
        # gradients.lee:28
        self.weights = torch.nn.ModuleList(
            [
                Weight(width, key=fold(key, SITES["weights.0"])),
                Weight(width, key=fold(key, SITES["weights.1"])),
                Weight(width, key=fold(key, SITES["weights.2"])),
                Weight(width, key=fold(key, SITES["weights.3"])),
            ]
        )

    def forward(self, x):
        """x [n, width] -> [n, width]"""
        x_2 = torch.sigmoid(self.weights[0](x))  # [n, width]  prelude.lee:36
        x_3 = torch.sigmoid(self.weights[1](x_2))  # [n, width]
        x_4 = torch.sigmoid(self.weights[2](x_3))  # [n, width]
        x_5 = torch.sigmoid(self.weights[3](x_4))  # [n, width]
        return x_5  # [n, width]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = torch.sigmoid(self.weights[0](x))  # [n, width]  prelude.lee:36
        x_3 = torch.sigmoid(self.weights[1](x_2))  # [n, width]
        x_4 = torch.sigmoid(self.weights[2](x_3))  # [n, width]
        x_5 = torch.sigmoid(self.weights[3](x_4))  # [n, width]
        return x_5, (x_2, x_3, x_4)

    def forward_backward_parameters_saved(self, x, saved, x_5, d_x_5):
        """From d_x_5 to the gradients by the parameters, contract_4, x_4, contract_3, x_3, contract_2, x_2 and contract."""
        x_2, x_3, x_4 = saved
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        sub = 1 - x_5  # [n, width]
        mul = x_5 * sub  # [n, width]
        d_contract_4 = d_x_5 * mul  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_3_, d_x_4 = self.weights[3].forward_backward(x_4, d_contract_4)
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        sub_2 = 1 - x_4  # [n, width]
        mul_2 = x_4 * sub_2  # [n, width]
        d_contract_3 = d_x_4 * mul_2  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_2_, d_x_3 = self.weights[2].forward_backward(x_3, d_contract_3)
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        sub_3 = 1 - x_3  # [n, width]
        mul_3 = x_3 * sub_3  # [n, width]
        d_contract_2 = d_x_3 * mul_3  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_1_, d_x_2 = self.weights[1].forward_backward(x_2, d_contract_2)
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        sub_4 = 1 - x_2  # [n, width]
        mul_4 = x_2 * sub_4  # [n, width]
        d_contract = d_x_2 * mul_4  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_0 = Weight.forward_backward_parameters(x, d_contract)
        saved = (
            sub,
            mul,
            d_contract_4,
            d_x_4,
            sub_2,
            mul_2,
            d_contract_3,
            d_x_3,
            sub_3,
            mul_3,
            d_contract_2,
            d_x_2,
            sub_4,
            mul_4,
            d_contract,
        )
        return {
            "weights.0": d_weights_0,
            "weights.1": d_weights_1_,
            "weights.2": d_weights_2_,
            "weights.3": d_weights_3_,
        }, saved

    def forward_backward_parameters_backward(self, x, x_2, x_3, x_4, x_5, d_x_5, saved, d_d_self):
        """From d_x_5, d_contract_4, d_x_4, d_contract_3, d_x_3, d_contract_2, d_x_2, d_contract and d_d_self to the gradients by the parameters, x, x_2, x_3, x_4, x_5 and d_x_5."""
        sub, mul, d_contract_4, d_x_4, sub_2, mul_2, d_contract_3, d_x_3, sub_3, mul_3, d_contract_2, d_x_2, sub_4, mul_4, d_contract = saved
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_x, d_d_contract = Weight.forward_backward_parameters_backward(x, d_contract, d_d_self["weights.0"])
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_d_x_2 = d_d_contract * mul_4  # [n, width]
        d_mul_4 = d_d_contract * d_x_2  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_1_, d_x_2_5, d_d_contract_2 = self.weights[1].forward_backward_backward(
            x_2, d_contract_2, d_d_self["weights.1"], d_d_x_2
        )
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_d_x_3 = d_d_contract_2 * mul_3  # [n, width]
        d_mul_3 = d_d_contract_2 * d_x_3  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_2_, d_x_3_5, d_d_contract_3 = self.weights[2].forward_backward_backward(
            x_3, d_contract_3, d_d_self["weights.2"], d_d_x_3
        )
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_d_x_4 = d_d_contract_3 * mul_2  # [n, width]
        d_mul_2 = d_d_contract_3 * d_x_4  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_3_, d_x_4_5, d_d_contract_4 = self.weights[3].forward_backward_backward(
            x_4, d_contract_4, d_d_self["weights.3"], d_d_x_4
        )
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_d_x_5 = d_d_contract_4 * mul  # [n, width]
        d_mul = d_d_contract_4 * d_x_5  # [n, width]
        d_x_2_2 = d_mul_4 * sub_4 - d_mul_4 * x_2 + d_x_2_5  # [n, width]
        d_x_3_2 = d_mul_3 * sub_3 - d_mul_3 * x_3 + d_x_3_5  # [n, width]
        d_x_4_2 = d_mul_2 * sub_2 - d_mul_2 * x_4 + d_x_4_5  # [n, width]
        d_x_5_2 = d_mul * sub - d_mul * x_5  # [n, width]
        return (
            {"weights.1": d_weights_1_, "weights.2": d_weights_2_, "weights.3": d_weights_3_},
            d_x,
            d_x_2_2,
            d_x_3_2,
            d_x_4_2,
            d_x_5_2,
            d_d_x_5,
        )

    def forward_saved_backward(self, x, saved, x_5, d_x_5, d_x_2, d_x_3, d_x_4):
        """From d_x_5, d_x_2, d_x_3 and d_x_4 to the gradients by the parameters and x."""
        x_2, x_3, x_4 = saved
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_3_, d_x_4_3 = self.weights[3].forward_backward(x_4, d_x_5 * (x_5 * (1 - x_5)))
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_x_4_2 = d_x_4 + d_x_4_3  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_2_, d_x_3_3 = self.weights[2].forward_backward(x_3, d_x_4_2 * (x_4 * (1 - x_4)))
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_x_3_2 = d_x_3 + d_x_3_3  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_1_, d_x_2_3 = self.weights[1].forward_backward(x_2, d_x_3_2 * (x_3 * (1 - x_3)))
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_x_2_2 = d_x_2 + d_x_2_3  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_0_, d_x = self.weights[0].forward_backward(x, d_x_2_2 * (x_2 * (1 - x_2)))
        return {
            "weights.0": d_weights_0_,
            "weights.1": d_weights_1_,
            "weights.2": d_weights_2_,
            "weights.3": d_weights_3_,
        }, d_x


class Deep_3(Model):
    """Layers of equal width, with σ or ReLU between them."""

    members = ("weights",)

    def __init__(self, width, *, key=(0, 0)):
        super().__init__()
        self.width = width
        # gradients.lee:28
        self.weights = torch.nn.ModuleList(
            [
                Weight(width, key=fold(key, SITES["weights.0"])),
                Weight(width, key=fold(key, SITES["weights.1"])),
                Weight(width, key=fold(key, SITES["weights.2"])),
                Weight(width, key=fold(key, SITES["weights.3"])),
            ]
        )

    def forward(self, x):
        """x [n, width] -> [n, width]"""
        x_2 = relu(self.weights[0](x))  # [n, width]  gradients.lee:32
        x_3 = relu(self.weights[1](x_2))  # [n, width]
        x_4 = relu(self.weights[2](x_3))  # [n, width]
        x_5 = relu(self.weights[3](x_4))  # [n, width]
        return x_5  # [n, width]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = relu(self.weights[0](x))  # [n, width]  gradients.lee:32
        x_3 = relu(self.weights[1](x_2))  # [n, width]
        x_4 = relu(self.weights[2](x_3))  # [n, width]
        x_5 = relu(self.weights[3](x_4))  # [n, width]
        return x_5, (x_2, x_3, x_4)

    def forward_backward_parameters_saved(self, x, saved, x_5, d_x_5):
        """From d_x_5 to the gradients by the parameters, contract_4, contract_3, contract_2 and contract."""
        x_2, x_3, x_4 = saved
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_contract_4, saved_relu_backward = relu_backward_saved(x_5, d_x_5)
        d_weights_3_, d_x_4 = self.weights[3].forward_backward(x_4, d_contract_4)
        d_contract_3, saved_relu_backward_ = relu_backward_saved(x_4, d_x_4)
        d_weights_2_, d_x_3 = self.weights[2].forward_backward(x_3, d_contract_3)
        d_contract_2, saved_relu_backward_2 = relu_backward_saved(x_3, d_x_3)
        d_weights_1_, d_x_2 = self.weights[1].forward_backward(x_2, d_contract_2)
        d_contract, saved_relu_backward_3 = relu_backward_saved(x_2, d_x_2)
        d_weights_0 = Weight.forward_backward_parameters(x, d_contract)
        saved = (
            d_contract_4,
            saved_relu_backward,
            d_contract_3,
            saved_relu_backward_,
            d_contract_2,
            saved_relu_backward_2,
            d_contract,
            saved_relu_backward_3,
        )
        return {
            "weights.0": d_weights_0,
            "weights.1": d_weights_1_,
            "weights.2": d_weights_2_,
            "weights.3": d_weights_3_,
        }, saved

    def forward_backward_parameters_backward(self, x, x_2, x_3, x_4, saved, d_d_self):
        """From d_contract_4, d_contract_3, d_contract_2, d_contract and d_d_self to the gradients by the parameters, x, x_2, x_3, x_4 and d_x_5."""
        d_contract_4, saved_relu_backward, d_contract_3, saved_relu_backward_, d_contract_2, saved_relu_backward_2, d_contract, saved_relu_backward_3 = saved
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_x, d_d_contract = Weight.forward_backward_parameters_backward(x, d_contract, d_d_self["weights.0"])
        d_d_x_2 = relu_backward_backward(saved_relu_backward_3, d_d_contract)  # [n, width]
        d_weights_1_, d_x_2, d_d_contract_2 = self.weights[1].forward_backward_backward(
            x_2, d_contract_2, d_d_self["weights.1"], d_d_x_2
        )
        d_d_x_3 = relu_backward_backward(saved_relu_backward_2, d_d_contract_2)  # [n, width]
        d_weights_2_, d_x_3, d_d_contract_3 = self.weights[2].forward_backward_backward(
            x_3, d_contract_3, d_d_self["weights.2"], d_d_x_3
        )
        d_d_x_4 = relu_backward_backward(saved_relu_backward_, d_d_contract_3)  # [n, width]
        d_weights_3_, d_x_4, d_d_contract_4 = self.weights[3].forward_backward_backward(
            x_4, d_contract_4, d_d_self["weights.3"], d_d_x_4
        )
        d_d_x_5 = relu_backward_backward(saved_relu_backward, d_d_contract_4)  # [n, width]
        return (
            {"weights.1": d_weights_1_, "weights.2": d_weights_2_, "weights.3": d_weights_3_},
            d_x,
            d_x_2,
            d_x_3,
            d_x_4,
            d_d_x_5,
        )

    def forward_saved_backward(self, x, saved, x_5, d_x_5, d_x_2, d_x_3, d_x_4):
        """From d_x_5, d_x_2, d_x_3 and d_x_4 to the gradients by the parameters and x."""
        x_2, x_3, x_4 = saved
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_3_, d_x_4_3 = self.weights[3].forward_backward(x_4, relu_backward(x_5, d_x_5))
        d_x_4_2 = d_x_4 + d_x_4_3  # [n, width]
        d_weights_2_, d_x_3_3 = self.weights[2].forward_backward(x_3, relu_backward(x_4, d_x_4_2))
        d_x_3_2 = d_x_3 + d_x_3_3  # [n, width]
        d_weights_1_, d_x_2_3 = self.weights[1].forward_backward(x_2, relu_backward(x_3, d_x_3_2))
        d_x_2_2 = d_x_2 + d_x_2_3  # [n, width]
        d_weights_0_, d_x = self.weights[0].forward_backward(x, relu_backward(x_2, d_x_2_2))
        return {
            "weights.0": d_weights_0_,
            "weights.1": d_weights_1_,
            "weights.2": d_weights_2_,
            "weights.3": d_weights_3_,
        }, d_x


class Weight(Model):
    """Weight(width)"""

    members = ("w",)

    def __init__(self, width, *, key=(0, 0)):
        super().__init__()
        self.width = width
        # [width, width]  gradients.lee:37
        self.w = torch.nn.Parameter(math.sqrt(2 / width) * normal(fold(key, SITES["w"]), (width, width), FLOAT))

    def forward(self, x):
        """x [n, width] -> [n, width]"""
        return x @ self.w  # [n, width]  gradients.lee:40

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w   gradients.lee:40
        d_x = d_y @ self.w.T  # [n, width]
        d_w = x.T @ d_y  # [width, width]
        return {"w": d_w}, d_x

    def forward_backward_backward(self, x, d_contract, d_d_self, d_d_x):
        """From d_contract, d_d_self and d_d_x to the gradients by the parameters, x and d_contract."""
        # gradient of return x @ w   gradients.lee:40
        d_x = d_contract @ d_d_self["w"].T  # [n, width]
        d_w = d_d_x.T @ d_contract  # [width, width]
        d_d_contract = x @ d_d_self["w"] + d_d_x @ self.w  # [n, width]
        return {"w": d_w}, d_x, d_d_contract

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w   gradients.lee:40
        d_w = x.T @ d_y  # [width, width]
        return {"w": d_w}  # [width, width]

    @staticmethod
    def forward_backward_parameters_backward(x, d_contract, d_d_self):
        """From d_contract and d_d_self to the gradients by x and d_contract."""
        # gradient of return x @ w   gradients.lee:40
        d_x = d_contract @ d_d_self["w"].T  # [n, width]
        d_d_contract = x @ d_d_self["w"]  # [n, width]
        return d_x, d_d_contract


def norms_by_layer_saved(net, x):
    """As norms_by_layer, and what its gradient needs."""
    n = x.shape[0]
    x_5, saved_net = net.forward_saved(x)  # gradients.lee:45
    div = 1.0 / (n * net.width)
    d_mul = torch.full((n, net.width), div, dtype=FLOAT, device=x.device)  # [n, net.width]
    d_x_5 = 2 / (n * net.width) * x_5  # [n, net.width]
    d_net, saved_net_ = net.forward_backward_parameters_saved(x, saved_net, x_5, d_x_5)
    sqrt_, saved_norm = norm_saved(d_net["weights.0"]["w"])  # gradients.lee:48
    sqrt_2, saved_norm_ = norm_saved(d_net["weights.1"]["w"])
    sqrt_3, saved_norm_2 = norm_saved(d_net["weights.2"]["w"])
    sqrt_4, saved_norm_3 = norm_saved(d_net["weights.3"]["w"])
    saved = (
        x_5,
        saved_net,
        d_mul,
        d_x_5,
        d_net["weights.0"]["w"],
        d_net["weights.1"]["w"],
        d_net["weights.2"]["w"],
        d_net["weights.3"]["w"],
        saved_net_,
        sqrt_,
        saved_norm,
        sqrt_2,
        saved_norm_,
        sqrt_3,
        saved_norm_2,
        sqrt_4,
        saved_norm_3,
    )
    return torch.stack((sqrt_, sqrt_2, sqrt_3, sqrt_4)), saved  # gradients.lee:49


def norms_by_layer_backward(net, x, saved, d_concat):
    """From d_mul, d_x_5, d_contract_4, d_x_4, d_contract_3, d_x_3, d_contract_2, d_x_2, d_contract and d_concat to the gradients by net and x."""
    x_5, saved_net, d_mul, d_x_5, slope_weights_0_w, slope_weights_1_w, slope_weights_2_w, slope_weights_3_w, saved_net_, sqrt_, saved_norm, sqrt_2, saved_norm_, sqrt_3, saved_norm_2, sqrt_4, saved_norm_3 = saved
    # gradient of found = found + (norm(slope.weights[layer].w),)   gradients.lee:48
    d_slope_weights_3_w = norm_backward(slope_weights_3_w, saved_norm_3, sqrt_4, d_concat[3])  # [net.width, net.width]
    d_slope_weights_2_w = norm_backward(slope_weights_2_w, saved_norm_2, sqrt_3, d_concat[2])  # [net.width, net.width]
    d_slope_weights_1_w = norm_backward(slope_weights_1_w, saved_norm_, sqrt_2, d_concat[1])  # [net.width, net.width]
    d_slope_weights_0_w = norm_backward(slope_weights_0_w, saved_norm, sqrt_, d_concat[0])  # [net.width, net.width]
    # gradient of slope = grad(mean(net(x) ** 2), net)   gradients.lee:45
    d_net, d_x_6, d_x_2_2, d_x_3_2, d_x_4_2, d_x_5_3, d_d_x_5 = net.forward_backward_parameters_backward(
        x,
        saved_net[0],
        saved_net[1],
        saved_net[2],
        x_5,
        d_x_5,
        saved_net_,
        {
            "weights.0": {"w": d_slope_weights_0_w},
            "weights.1": {"w": d_slope_weights_1_w},
            "weights.2": {"w": d_slope_weights_2_w},
            "weights.3": {"w": d_slope_weights_3_w},
        },
    )
    d_x_5_4 = d_d_x_5 * d_mul  # [n, net.width]
    d_x_5_2 = d_x_5_3 + d_x_5_4 + d_x_5_4  # [n, net.width]
    d_net_, d_x_7 = net.forward_saved_backward(x, saved_net, x_5, d_x_5_2, d_x_2_2, d_x_3_2, d_x_4_2)
    d_net_weights_1_w = d_net["weights.1"]["w"] + d_net_["weights.1"]["w"]  # [net.width, net.width]
    d_net_weights_2_w = d_net["weights.2"]["w"] + d_net_["weights.2"]["w"]  # [net.width, net.width]
    d_net_weights_3_w = d_net["weights.3"]["w"] + d_net_["weights.3"]["w"]  # [net.width, net.width]
    d_x = d_x_6 + d_x_7  # [n, net.width]
    return {
        "weights.0": d_net_["weights.0"],
        "weights.1": {"w": d_net_weights_1_w},
        "weights.2": {"w": d_net_weights_2_w},
        "weights.3": {"w": d_net_weights_3_w},
    }, d_x


def norms_by_layer_2_saved(net, x):
    """As norms_by_layer_2, and what its gradient needs."""
    n = x.shape[0]
    x_5, saved_net = net.forward_saved(x)  # gradients.lee:45
    div = 1.0 / (n * net.width)
    d_mul = torch.full((n, net.width), div, dtype=FLOAT, device=x.device)  # [n, net.width]
    d_x_5 = 2 / (n * net.width) * x_5  # [n, net.width]
    d_net, saved_net_ = net.forward_backward_parameters_saved(x, saved_net, x_5, d_x_5)
    sqrt_, saved_norm = norm_saved(d_net["weights.0"]["w"])  # gradients.lee:48
    sqrt_2, saved_norm_ = norm_saved(d_net["weights.1"]["w"])
    sqrt_3, saved_norm_2 = norm_saved(d_net["weights.2"]["w"])
    sqrt_4, saved_norm_3 = norm_saved(d_net["weights.3"]["w"])
    saved = (
        x_5,
        saved_net,
        d_mul,
        d_net["weights.0"]["w"],
        d_net["weights.1"]["w"],
        d_net["weights.2"]["w"],
        d_net["weights.3"]["w"],
        saved_net_,
        sqrt_,
        saved_norm,
        sqrt_2,
        saved_norm_,
        sqrt_3,
        saved_norm_2,
        sqrt_4,
        saved_norm_3,
    )
    return torch.stack((sqrt_, sqrt_2, sqrt_3, sqrt_4)), saved  # gradients.lee:49


def norms_by_layer_2_backward(net, x, saved, d_concat):
    """From d_mul, d_contract_4, d_contract_3, d_contract_2, d_contract and d_concat to the gradients by net and x."""
    x_5, saved_net, d_mul, slope_weights_0_w, slope_weights_1_w, slope_weights_2_w, slope_weights_3_w, saved_net_, sqrt_, saved_norm, sqrt_2, saved_norm_, sqrt_3, saved_norm_2, sqrt_4, saved_norm_3 = saved
    # gradient of found = found + (norm(slope.weights[layer].w),)   gradients.lee:48
    d_slope_weights_3_w = norm_backward(slope_weights_3_w, saved_norm_3, sqrt_4, d_concat[3])  # [net.width, net.width]
    d_slope_weights_2_w = norm_backward(slope_weights_2_w, saved_norm_2, sqrt_3, d_concat[2])  # [net.width, net.width]
    d_slope_weights_1_w = norm_backward(slope_weights_1_w, saved_norm_, sqrt_2, d_concat[1])  # [net.width, net.width]
    d_slope_weights_0_w = norm_backward(slope_weights_0_w, saved_norm, sqrt_, d_concat[0])  # [net.width, net.width]
    # gradient of slope = grad(mean(net(x) ** 2), net)   gradients.lee:45
    d_net, d_x_6, d_x_2, d_x_3, d_x_4, d_d_x_5 = net.forward_backward_parameters_backward(
        x,
        saved_net[0],
        saved_net[1],
        saved_net[2],
        saved_net_,
        {
            "weights.0": {"w": d_slope_weights_0_w},
            "weights.1": {"w": d_slope_weights_1_w},
            "weights.2": {"w": d_slope_weights_2_w},
            "weights.3": {"w": d_slope_weights_3_w},
        },
    )
    d_x_5 = 2 * (d_d_x_5 * d_mul)  # [n, net.width]
    d_net_, d_x_7 = net.forward_saved_backward(x, saved_net, x_5, d_x_5, d_x_2, d_x_3, d_x_4)
    d_net_weights_1_w = d_net["weights.1"]["w"] + d_net_["weights.1"]["w"]  # [net.width, net.width]
    d_net_weights_2_w = d_net["weights.2"]["w"] + d_net_["weights.2"]["w"]  # [net.width, net.width]
    d_net_weights_3_w = d_net["weights.3"]["w"] + d_net_["weights.3"]["w"]  # [net.width, net.width]
    d_x = d_x_6 + d_x_7  # [n, net.width]
    return {
        "weights.0": d_net_["weights.0"],
        "weights.1": {"w": d_net_weights_1_w},
        "weights.2": {"w": d_net_weights_2_w},
        "weights.3": {"w": d_net_weights_3_w},
    }, d_x


def cliff_saved(w, length):
    """As cliff, and what its gradient needs."""
    n = w.shape[0]
    state = torch.ones(n, dtype=FLOAT, device=w.device)  # [n]  gradients.lee:57
    saved_cliff_step = [None] * length  # gradients.lee:58
    for step in range(length):
        state, saved_cliff_step[step] = cliff_step_saved(state, w)
    return state, saved_cliff_step


def cliff_backward_saved(w, saved_cliff_step, length, d_state_4):
    """From d_state_4 to the gradients by w and state_3_rows."""
    n = w.shape[0]
    # gradient of for step in length:   gradients.lee:58
    d_w_rows = [None] * length
    saved_cliff_step_backward = [None] * length
    for step in reversed(range(length)):
        d_state_4, d_w_rows[step], saved_cliff_step_backward[step] = cliff_step_backward_saved(
            saved_cliff_step[step], w, d_state_4
        )
    d_w_rows = torch.stack(d_w_rows, 0) if d_w_rows else torch.zeros((length, n), dtype=FLOAT, device=w.device)
    d_w = d_w_rows.sum(dim=0)  # [n]
    return d_w, saved_cliff_step_backward


def cliff_backward_backward(w, state_rows, saved_cliff_step_backward, length, d_d_w):
    """From d_state_3_rows and d_d_w to the gradients by w and state_rows."""
    n = w.shape[0]
    # gradient of for step in length:   gradients.lee:58
    d_d_state = torch.zeros(n, dtype=FLOAT, device=w.device)  # [n]
    d_state_rows = [None] * length
    d_w_rows = [None] * length
    for step in range(length):
        d_d_state, d_d_w, d_state_rows[step], d_w_rows[step] = cliff_step_backward_backward(
            state_rows[step], w, saved_cliff_step_backward[step], d_d_state, d_d_w
        )
    d_state_rows = (
        torch.stack(d_state_rows, 0) if d_state_rows else torch.zeros((length, n), dtype=FLOAT, device=w.device)
    )
    d_w_rows = torch.stack(d_w_rows, 0) if d_w_rows else torch.zeros((length, n), dtype=FLOAT, device=w.device)
    d_w = d_w_rows.sum(dim=0)  # [n]
    return d_w, d_state_rows


def cliff_saved_backward(w, saved_cliff_step, d_y):
    """From d_y to the gradient by w."""
    n = w.shape[0]
    length = d_y.shape[0]
    # gradient of for step in length:   gradients.lee:58
    d_state_3 = torch.zeros(n, dtype=FLOAT, device=w.device)  # [n]
    d_w_rows = [None] * length
    for step in reversed(range(length)):
        d_state_3, d_w_rows[step] = cliff_step_saved_backward(saved_cliff_step[step], w, d_state_3, d_y[step])
    d_w_rows = torch.stack(d_w_rows, 0) if d_w_rows else torch.zeros((length, n), dtype=FLOAT, device=w.device)
    d_w = d_w_rows.sum(dim=0)  # [n]
    return d_w  # [n]


def cliff_step_saved(state, w):
    """As cliff_step, and what its gradient needs."""
    state_3 = w * state  # [n]  gradients.lee:59
    return state_3, state


def cliff_step_backward_saved(state, w, d_state_3):
    """From d_state_3 to the gradients by state, w and state_3."""
    # gradient of state = w * state   gradients.lee:59
    d_w = d_state_3 * state  # [n]
    d_state = d_state_3 * w  # [n]
    return d_state, d_w, d_state_3


def cliff_step_backward_backward(state, w, d_state_3, d_d_state, d_d_w):
    """From d_state_3, d_d_state and d_d_w to the gradients by d_state_3, d_w_later, state and w."""
    # gradient of state = w * state   gradients.lee:59
    d_w = d_d_state * d_state_3  # [n]
    d_state = d_d_w * d_state_3  # [n]
    d_d_state_3 = d_d_state * w + d_d_w * state  # [n]
    return d_d_state_3, d_d_w, d_state, d_w


def cliff_step_saved_backward(state, w, d_state_3, d_state):
    """From d_state_3 and d_state to the gradients by state and w."""
    # gradient of state = w * state   gradients.lee:59
    d_w = d_state_3 * state  # [n]
    d_state_2 = d_state + d_state_3 * w  # [n]
    return d_state_2, d_w


def slope_of_cliff_saved(w, length):
    """As slope_of_cliff, and what its gradient needs."""
    n = w.shape[0]
    _, saved_cliff = cliff_saved(w, length)  # gradients.lee:65
    d_state_4 = torch.ones(n, dtype=FLOAT, device=w.device)  # [n]
    d_w, saved_cliff_backward = cliff_backward_saved(w, saved_cliff, length, d_state_4)
    return d_w, (saved_cliff, saved_cliff_backward)


def slope_of_cliff_backward(w, saved, length, d_d_w):
    """From d_state_3_rows and d_d_w to the gradient by w."""
    saved_cliff, saved_cliff_backward = saved
    n = w.shape[0]
    # [length, n]
    state_rows = torch.stack(saved_cliff, 0) if saved_cliff else torch.zeros((length, n), dtype=FLOAT, device=w.device)
    # gradient of return grad(sum(cliff(w, length)), w)   gradients.lee:65
    d_w_2, d_state_rows = cliff_backward_backward(w, state_rows, saved_cliff_backward, length, d_d_w)
    d_w = d_w_2 + cliff_saved_backward(w, saved_cliff, d_state_rows)  # [n]
    return d_w  # [n]


def scores_along_saved(net, x, direction, steps):
    """As scores_along, and what its gradient needs."""
    sqrt_, saved_norm_2 = norm_2_saved(direction)  # gradients.lee:73
    div = steps[:, None] * direction / sqrt_  # [k, net.sizes_0]
    add = x + div  # [k, net.sizes_0]
    add_2, saved_net = net.forward_2_saved(add)
    return add_2, (sqrt_, saved_norm_2, div, add, saved_net)


def scores_along_backward(net, direction, steps, saved, d_add_2):
    """From d_add_2 to the gradients by net, x, direction and steps."""
    sqrt_, saved_norm_2, div, add, saved_net = saved
    # gradient of return net(x + steps[:, None] * direction / norm(direction))   gradients.lee:73
    d_net, d_add = net.forward_2_backward(add, saved_net, d_add_2)
    d_x = d_add.sum(dim=0)  # [net.sizes_0]
    d_mul = d_add / sqrt_  # [k, net.sizes_0]
    d_sqrt = -(d_add * div / sqrt_).sum()
    d_steps = (d_mul * direction).sum(dim=1)  # [k]
    d_direction_2 = norm_2_backward(direction, saved_norm_2, sqrt_, d_sqrt)  # [net.sizes_0]
    d_direction = d_direction_2 + (d_mul * steps[:, None]).sum(dim=0)  # [net.sizes_0]
    return d_net, d_x, d_direction, d_steps


def attack_direction_saved(net, x, label):
    """As attack_direction, and what its gradient needs."""
    add_2, saved_net = net.forward_saved(x[None])  # gradients.lee:78
    d_mean = torch.ones((), dtype=FLOAT, device=x.device)
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, label[None], d_mean)
    d_reshape, saved_net_ = net.forward_backward_input_saved(saved_net, d_add_2)
    return d_reshape.reshape(net.sizes[0]), (saved_net, d_add_2, saved_cross_entropy_backward, saved_net_)


def attack_direction_backward(net, x, saved, d_d_x):
    """From d_add_2, d_add and d_d_x to the gradients by net and x."""
    saved_net, d_add_2, saved_cross_entropy_backward, saved_net_ = saved
    # gradient of return grad(cross_entropy(net(x[None, :]), stack((label,))), x)   gradients.lee:78
    d_net, d_d_add_2 = net.forward_backward_input_backward(d_add_2, saved_net_, d_d_x[None])
    d_add_2_2 = cross_entropy_backward_backward(saved_cross_entropy_backward, d_d_add_2)  # [1, net.sizes_2]
    d_net_, d_reshape = net.forward_backward(x[None], saved_net, d_add_2_2)
    d_x = d_reshape.reshape(net.sizes[0])  # [net.sizes_0]
    d_net_layers_0_w = d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    return {
        "layers.0": {"w": d_net_layers_0_w, "b": d_net_["layers.0"]["b"]},
        "layers.1": {"w": d_net_layers_1_w, "b": d_net_["layers.1"]["b"]},
    }, d_x


@torch.no_grad()
def watched(steps=20, rate=0.5, *, run=None):
    """Loss and the size of its gradient: a loss that no longer falls need not have a small gradient."""
    from leec.runtime.run import Run

    run = run or Run("watched", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 16, 10), key=run.key("net")).to(run.session.place.device)  # gradients.lee:87
    opt = SGD(lr=rate)  # gradients.lee:88
    step = WatchedStep(net, opt)
    for step_ in run.loop("step", 1, steps, net=net, opt=opt):
        reported_loss, reported_slope = watched_loss_slope(net, data.train.x, data.train.y)  # gradients.lee:90
        run.report(loss=reported_loss, slope=reported_slope)  # gradients.lee:90
        run.step(step(data.train.x, data.train.y))  # gradients.lee:93
    return net


def watched_loss_slope(net, data_train_x, data_train_y):
    """data_train_x [data_train_n, 64], data_train_y int[data_train_n] -> [], []"""
    add_2, saved_net = net.forward_2_saved(data_train_x)  # gradients.lee:90
    d_loss = torch.ones((), dtype=FLOAT, device=data_train_x.device)  # gradients.lee:91
    d_add_2 = cross_entropy_backward(add_2, data_train_y, d_loss)  # [data_train_n, 10]  gradients.lee:90
    d_net = net.forward_2_backward_parameters(data_train_x, saved_net, d_add_2)
    slope = norm_3(net.at({"layers.0": d_net["layers.0"], "layers.1": d_net["layers.1"]}))
    return cross_entropy(add_2, data_train_y), slope


class WatchedStep(TrainStep):
    """One step of watched for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, data_train_n):
        return (data_train_n, 1.0 / data_train_n)

    def constants(self):
        return (self.opt.lr, self.opt.weight_decay)

    def step(self, data_train_x, data_train_y):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        data_train_n = data_train_x.shape[0]
        count, scale = self.held(data_train_n)  # data_train_n, 1.0 / data_train_n
        x_2 = torch.relu(torch.addmm(layers_0_b, data_train_x, layers_0_w))  # [data_train_n, 16]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [data_train_n, 10]  nn.lee:21
        # [data_train_n]  losses.lee:45
        surprise = torch.nn.functional.cross_entropy(affine_2, data_train_y, reduction="none")
        iota = torch.arange(10, device=data_train_x.device)[None, :]  # int[1, 10]
        one_hot = (iota == data_train_y[:, None]).to(FLOAT)  # [data_train_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - one_hot) * scale  # [data_train_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [16, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [data_train_n, 16]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [16]  nn.lee:21
        torch.mm(data_train_x.T, d_add, out=d_layers_0_w)  # [64, 16]
        lr = self.opt.lr
        weight_decay = self.opt.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return surprise.sum() / count  # losses.lee:148


def example_flat(key):
    z = 4 * normal(fold(key, SITES["z"]), (20,), FLOAT)  # [20]  gradients.lee:98
    target = (uniform(fold(key, SITES["target"]), (20,), FLOAT) < 0.5).to(FLOAT)  # [20]  gradients.lee:99
    d_z, saved_slope_of_mse = slope_of_mse_saved(z, target)  # gradients.lee:100
    d_z_2, saved_slope_of_cross_entropy = slope_of_cross_entropy_saved(z, target)
    d_z_4, d_target_2 = slope_of_cross_entropy_backward(saved_slope_of_cross_entropy, 2 * d_z_2)
    d_z_5, d_target_3 = slope_of_mse_backward(saved_slope_of_mse, 2 * d_z)
    return (d_z**2).sum() + (d_z_2**2).sum(), d_z_4 + d_z_5, d_target_2 + d_target_3


def example_saturated(key):
    net = Deep_2(5, key=fold(key, SITES["net"]))  # gradients.lee:104
    x = normal(fold(key, SITES["x"]), (6, 5), FLOAT)  # [6, 5]  gradients.lee:105
    concat, saved_norms_by_layer = norms_by_layer_saved(net, x)  # gradients.lee:106
    d_net, d_x = norms_by_layer_backward(net, x, saved_norms_by_layer, 2 * concat)
    return (concat**2).sum(), net.at(d_net), d_x


def example_rectified(key):
    net = Deep_3(5, key=fold(key, SITES["net"]))  # gradients.lee:110
    x = normal(fold(key, SITES["x"]), (6, 5), FLOAT)  # [6, 5]  gradients.lee:111
    concat, saved_norms_by_layer_2 = norms_by_layer_2_saved(net, x)  # gradients.lee:112
    d_net, d_x = norms_by_layer_2_backward(net, x, saved_norms_by_layer_2, 2 * concat)
    return (concat**2).sum(), net.at(d_net), d_x


def example_wall(key):
    w = 0.9 + 0.12 * uniform(fold(key, SITES["w"]), (5,), FLOAT)  # [5]  gradients.lee:116
    d_w, saved_slope_of_cliff = slope_of_cliff_saved(w, 100)  # gradients.lee:117
    d_d_w = torch.ones(5, dtype=FLOAT)  # [5]
    return d_w.sum(), slope_of_cliff_backward(w, saved_slope_of_cliff, 100, d_d_w)


def example_moved(key):
    net = MLP((6, 5, 3), key=fold(key, SITES["net"]))  # gradients.lee:121
    x = normal(fold(key, SITES["x"]), (6,), FLOAT)  # [6]  gradients.lee:122
    label = randint(fold(key, SITES["label"]), (), 0, 3)  # gradients.lee:123
    steps = 2 * uniform(fold(key, SITES["steps"]), (4,), FLOAT)  # [4]  gradients.lee:124
    direction, saved_attack_direction = attack_direction_saved(net, x, label)  # gradients.lee:125
    add_2, saved_scores_along = scores_along_saved(net, x, direction, steps)  # gradients.lee:126
    d_net, d_x_2, d_direction_4, d_steps = scores_along_backward(net, direction, steps, saved_scores_along, 2 * add_2)
    d_direction = 2 * direction + d_direction_4  # [6]  gradients.lee:125
    d_net_, d_x_3 = attack_direction_backward(net, x, saved_attack_direction, d_direction)
    return (
        (add_2**2).sum() + (direction**2).sum(),
        net.at(
            {
                "layers.0": {
                    "w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"],
                    "b": d_net["layers.0"]["b"] + d_net_["layers.0"]["b"],
                },
                "layers.1": {
                    "w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"],
                    "b": d_net["layers.1"]["b"] + d_net_["layers.1"]["b"],
                },
            }
        ),
        d_x_2 + d_x_3,
        d_steps,
    )


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
        """x [1, sizes_0] -> [1, sizes_2]"""
        x_2 = relu_2(self.layers[0](x))  # [1, sizes_1]  nn.lee:41
        return self.layers[1](x_2)  # [1, sizes_2]  nn.lee:42

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = relu_2(self.layers[0](x))  # [1, sizes_1]  nn.lee:41
        return self.layers[1](x_2), x_2  # nn.lee:42

    def forward_backward_input_saved(self, x_2, d_y):
        """From d_y to the gradients by x and add."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_x_2 = self.layers[1].forward_backward_input(d_y)  # [1, sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add, saved_relu_2_backward = relu_2_backward_saved(x_2, d_x_2)
        d_x = self.layers[0].forward_backward_input(d_add)  # [1, sizes_0]
        return d_x, (d_add, saved_relu_2_backward)

    def forward_backward_input_backward(self, d_add_2, saved, d_d_x):
        """From d_add_2, d_add and d_d_x to the gradients by the parameters and d_add_2."""
        d_add, saved_relu_2_backward = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_d_add = self.layers[0].forward_backward_input_backward(d_add, d_d_x)
        d_d_x_2 = relu_2_backward_backward(saved_relu_2_backward, d_d_add)  # [1, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_d_add_2 = self.layers[1].forward_backward_input_backward(d_add_2, d_d_x_2)
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_d_add_2

    def forward_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_2_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x

    def forward_2(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_2]"""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2)  # [x_0, sizes_2]  nn.lee:42

    def forward_2_saved(self, x):
        """As forward_2, and what its gradient needs."""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2), x_2  # nn.lee:42

    def forward_2_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x

    def forward_2_backward_parameters(self, x, x_2, d_y):
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


def relu_2(x):
    """x where it is positive, else 0.

    x [1, x_1] -> [1, x_1]
    """
    return torch.relu(x)  # [1, x_1]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [1, x_1]
    return d_x  # [1, x_1]


def relu_2_backward_saved(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    gt = select > 0  # bool[1, x_1]
    d_x = torch.where(gt, d_y, 0)  # [1, x_1]
    return d_x, gt


def relu_2_backward_backward(gt, d_d_x):
    """From d_d_x to the gradient by d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_select = torch.where(gt, d_d_x, 0)  # [1, x_1]
    return d_d_select  # [1, x_1]


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum()  # prelude.lee:163
    return sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt_, d_sqrt):
    """From d_sqrt to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_x = 2 * (d_sqrt * 0.5 / torch.where(sum_ > 0, sqrt_, torch.inf)) * x  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def norm_2_saved(x):
    """As norm_2, and what its gradient needs."""
    sum_ = (x**2).sum()  # prelude.lee:163
    return sqrt(sum_), sum_


def norm_2_backward(x, sum_, sqrt_, d_sqrt):
    """From d_sqrt to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_x = 2 * (d_sqrt * 0.5 / torch.where(sum_ > 0, sqrt_, torch.inf)) * x  # [x_0]
    return d_x  # [x_0]


def norm_3(x):
    """√(Σ xᵢ²); at 0 the gradient is 0."""
    sum_ = (x.layers[0].w * x.layers[0].w).sum()
    add = sum_ + (x.layers[0].b * x.layers[0].b).sum()
    add_2 = add + (x.layers[1].w * x.layers[1].w).sum()
    return sqrt(add_2 + (x.layers[1].b * x.layers[1].b).sum())  # prelude.lee:163


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "label": 0x97BB9DAEC28EDB5C,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "steps": 0x8BBEE750046E0E58,
    "target": 0x41DEDA04111F843F,
    "w": 0x20925082A2286B9E,
    "weights.0": 0x6683546EE3C5C3C4,
    "weights.1": 0x391CCEC1F7A07B87,
    "weights.2": 0xAC25F9AD2D699B04,
    "weights.3": 0x1C399F14F1C6CEFB,
    "x": 0x4F586EF96743DF4A,
    "z": 0x3041FD28A7B04184,
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
