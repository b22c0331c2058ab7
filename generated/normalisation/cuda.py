"""Normalisation (inventory D1 to D9): values of mean 0 and variance 1, over a batch, an example, a channel or a weight.

Made from specs/normalisation/normalisation.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/normalisation/normalisation.lee
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


def batch_norm(z, gamma, beta, eps=1e-5):
    """γ ⊙ (z - μ) / σ + β, entry by entry; gradients flow through μ and σ too.

    z [n, d], gamma [d], beta [d] -> [n, d]
    """
    centred = z - z.mean(dim=0, keepdim=True)  # [n, d]  normalisation.lee:17
    div = centred / sqrt((centred**2).mean(dim=0, keepdim=True) + eps)  # [n, d]
    return div * gamma + beta  # [n, d]


def batch_norm_saved(z, gamma, beta, eps=1e-5):
    """As batch_norm, and what its gradient needs."""
    centred = z - z.mean(dim=0, keepdim=True)  # [n, d]  normalisation.lee:17
    normalise = centred / sqrt((centred**2).mean(dim=0, keepdim=True) + eps)  # [n, d]
    return normalise * gamma + beta, normalise


def batch_norm_backward(z, gamma, eps, normalise, d_y):
    """From d_y to the gradients by z, gamma and beta."""
    # gradient of return gamma * (z - mu) / sqrt(variance + eps) + beta   normalisation.lee:17
    d_beta = d_y.sum(dim=0)  # [d]
    d_normalise = d_y * gamma  # [n, d]
    d_gamma = (d_y * normalise).sum(dim=0)  # [d]
    centred = z - z.mean(dim=0, keepdim=True)  # [n, d]
    deviation = sqrt((centred**2).mean(dim=0, keepdim=True) + eps)  # [1, d]
    normal_ = centred / deviation  # [n, d]
    mul_4 = normal_ * (d_normalise * normal_).mean(dim=0, keepdim=True)  # [n, d]
    d_z = (d_normalise - d_normalise.mean(dim=0, keepdim=True) - mul_4) / deviation  # [n, d]
    return d_z, d_gamma, d_beta


def batch_normAsPrinted(z, gamma, beta, eps=1e-5):
    """One set of notes takes the inner product with γ, one number for an example, where entries should be scaled.

    z [n, d], gamma [d], beta [d] -> [n, d]
    """
    centred = z - z.mean(dim=0, keepdim=True)  # [n, d]  normalisation.lee:24
    scaled = centred / sqrt((centred**2).mean(dim=0, keepdim=True) + eps) @ gamma  # [n]
    return scaled[:, None] + beta  # [n, d]  normalisation.lee:25


def batch_normAsPrinted_saved(z, gamma, beta, eps=1e-5):
    """As batch_normAsPrinted, and what its gradient needs."""
    centred = z - z.mean(dim=0, keepdim=True)  # [n, d]  normalisation.lee:24
    normalise = centred / sqrt((centred**2).mean(dim=0, keepdim=True) + eps)  # [n, d]
    scaled = normalise @ gamma  # [n]
    return scaled[:, None] + beta, normalise  # normalisation.lee:25


def batch_normAsPrinted_backward(z, gamma, eps, normalise, d_y):
    """From d_y to the gradients by z, gamma and beta."""
    # gradient of return scaled[:, None] + beta   normalisation.lee:25
    d_beta = d_y.sum(dim=0)  # [d]
    d_scaled = d_y.sum(dim=1)  # [n]
    # gradient of scaled = ((z - mu) / sqrt(variance + eps)) @ gamma   normalisation.lee:24
    d_normalise = d_scaled[:, None] * gamma  # [n, d]
    d_gamma = d_scaled @ normalise  # [d]
    centred = z - z.mean(dim=0, keepdim=True)  # [n, d]
    deviation = sqrt((centred**2).mean(dim=0, keepdim=True) + eps)  # [1, d]
    normal_ = centred / deviation  # [n, d]
    mul_3 = normal_ * (d_normalise * normal_).mean(dim=0, keepdim=True)  # [n, d]
    d_z = (d_normalise - d_normalise.mean(dim=0, keepdim=True) - mul_3) / deviation  # [n, d]
    return d_z, d_gamma, d_beta


class BatchNorm(Model):
    """When testing there may be no batch: running averages of μ and σ² serve, each new batch weighing 0.1."""

    members = ("gamma", "beta", "mean_", "var_")

    def __init__(self, d, momentum=0.1, eps=1e-5):
        super().__init__()
        self.d, self.momentum, self.eps = d, momentum, eps
        self.gamma = torch.nn.Parameter(torch.ones(d, dtype=FLOAT))  # [d]  normalisation.lee:30
        self.beta = torch.nn.Parameter(torch.zeros(d, dtype=FLOAT))  # [d]  normalisation.lee:31
        self.register_buffer("mean_", torch.zeros(d, dtype=FLOAT))  # [d]
        self.register_buffer("var_", torch.ones(d, dtype=FLOAT))  # [d]  normalisation.lee:30

    def forward(self, z):
        """z [n, d] -> [n, d]"""
        if not self.training:
            return self.forward_eval(z)
        n = z.shape[0]
        mu = z.mean(dim=0)  # [d]  normalisation.lee:37
        sub = z - mu  # [n, d]  normalisation.lee:38
        variance = (sub**2).mean(dim=0)  # [d]
        with torch.no_grad():
            self.mean_.copy_((1 - self.momentum) * self.mean_ + self.momentum * mu)  # [d]  normalisation.lee:39
            # [d]  normalisation.lee:40
            self.var_.copy_((1 - self.momentum) * self.var_ + self.momentum * variance * n / (n - 1))
        return batch_norm(z, self.gamma, self.beta, eps=self.eps)  # [n, d]  normalisation.lee:41

    def forward_eval(self, z):
        """z [n, d] -> [n, d]"""
        div = self.gamma * (z - self.mean_) / sqrt(self.var_ + self.eps)  # [n, d]  normalisation.lee:42
        return div + self.beta  # [n, d]

    def forward_saved(self, z):
        """As forward, and what its gradient needs."""
        n = z.shape[0]
        mu = z.mean(dim=0)  # [d]  normalisation.lee:37
        sub = z - mu  # [n, d]  normalisation.lee:38
        variance = (sub**2).mean(dim=0)  # [d]
        add_2_2, saved_batch_norm = batch_norm_saved(z, self.gamma, self.beta, eps=self.eps)  # normalisation.lee:41
        with torch.no_grad():
            self.mean_.copy_((1 - self.momentum) * self.mean_ + self.momentum * mu)  # [d]  normalisation.lee:39
            # [d]  normalisation.lee:40
            self.var_.copy_((1 - self.momentum) * self.var_ + self.momentum * variance * n / (n - 1))
        return add_2_2, saved_batch_norm  # normalisation.lee:41

    def forward_backward(self, z, saved_batch_norm, d_y):
        """From d_y to the gradients by the parameters and z."""
        # gradient of return batch_norm(z, gamma, beta, eps)   normalisation.lee:41
        d_z, d_gamma, d_beta = batch_norm_backward(z, self.gamma, self.eps, saved_batch_norm, d_y)
        return {"gamma": d_gamma, "beta": d_beta}, d_z

    def forward_eval_saved(self, z):
        """As forward_eval, and what its gradient needs."""
        sub = z - self.mean_  # [n, d]  normalisation.lee:42
        sqrt_ = sqrt(self.var_ + self.eps)  # [d]
        return self.gamma * sub / sqrt_ + self.beta, (sub, sqrt_)

    def forward_eval_backward(self, saved, d_y):
        """From d_y to the gradients by the parameters and z."""
        sub, sqrt_ = saved
        # gradient of return gamma * (z - mean_) / sqrt(var_ + eps) + beta   normalisation.lee:42
        d_beta = d_y.sum(dim=0)  # [d]
        d_mul = d_y / sqrt_  # [n, d]
        d_z = d_mul * self.gamma  # [n, d]
        d_gamma = (d_mul * sub).sum(dim=0)  # [d]
        return {"gamma": d_gamma, "beta": d_beta}, d_z


class BatchNormAsPrinted(Model):
    """The notes write μ̄ ← p μ̄ + (1 - p) μ with the same p = 0.1: the new batch weighs 0.9."""

    members = ("gamma", "beta", "mean_", "var_")

    def __init__(self, d, momentum=0.1, eps=1e-5):
        super().__init__()
        self.d, self.momentum, self.eps = d, momentum, eps
        self.gamma = torch.nn.Parameter(torch.ones(d, dtype=FLOAT))  # [d]  normalisation.lee:47
        self.beta = torch.nn.Parameter(torch.zeros(d, dtype=FLOAT))  # [d]  normalisation.lee:48
        self.register_buffer("mean_", torch.zeros(d, dtype=FLOAT))  # [d]
        self.register_buffer("var_", torch.ones(d, dtype=FLOAT))  # [d]  normalisation.lee:47

    def forward(self, z):
        """z [n, d] -> [n, d]"""
        if not self.training:
            return self.forward_eval(z)
        mu = z.mean(dim=0)  # [d]  normalisation.lee:54
        sub = z - mu  # [n, d]  normalisation.lee:55
        variance = (sub**2).mean(dim=0)  # [d]
        with torch.no_grad():
            self.mean_.copy_(self.momentum * self.mean_ + (1 - self.momentum) * mu)  # [d]  normalisation.lee:56
            self.var_.copy_(self.momentum * self.var_ + (1 - self.momentum) * variance)  # [d]  normalisation.lee:57
        return batch_norm(z, self.gamma, self.beta, eps=self.eps)  # [n, d]  normalisation.lee:58

    def forward_eval(self, z):
        """z [n, d] -> [n, d]"""
        div = self.gamma * (z - self.mean_) / sqrt(self.var_ + self.eps)  # [n, d]  normalisation.lee:59
        return div + self.beta  # [n, d]

    def forward_saved(self, z):
        """As forward, and what its gradient needs."""
        mu = z.mean(dim=0)  # [d]  normalisation.lee:54
        sub = z - mu  # [n, d]  normalisation.lee:55
        variance = (sub**2).mean(dim=0)  # [d]
        add_2_2, saved_batch_norm = batch_norm_saved(z, self.gamma, self.beta, eps=self.eps)  # normalisation.lee:58
        with torch.no_grad():
            self.mean_.copy_(self.momentum * self.mean_ + (1 - self.momentum) * mu)  # [d]  normalisation.lee:56
            self.var_.copy_(self.momentum * self.var_ + (1 - self.momentum) * variance)  # [d]  normalisation.lee:57
        return add_2_2, saved_batch_norm  # normalisation.lee:58

    def forward_backward(self, z, saved_batch_norm, d_y):
        """From d_y to the gradients by the parameters and z."""
        # gradient of return batch_norm(z, gamma, beta, eps)   normalisation.lee:58
        d_z, d_gamma, d_beta = batch_norm_backward(z, self.gamma, self.eps, saved_batch_norm, d_y)
        return {"gamma": d_gamma, "beta": d_beta}, d_z

    def forward_eval_saved(self, z):
        """As forward_eval, and what its gradient needs."""
        sub = z - self.mean_  # [n, d]  normalisation.lee:59
        sqrt_ = sqrt(self.var_ + self.eps)  # [d]
        return self.gamma * sub / sqrt_ + self.beta, (sub, sqrt_)

    def forward_eval_backward(self, saved, d_y):
        """From d_y to the gradients by the parameters and z."""
        sub, sqrt_ = saved
        # gradient of return gamma * (z - mean_) / sqrt(var_ + eps) + beta   normalisation.lee:59
        d_beta = d_y.sum(dim=0)  # [d]
        d_mul = d_y / sqrt_  # [n, d]
        d_z = d_mul * self.gamma  # [n, d]
        d_gamma = (d_mul * sub).sum(dim=0)  # [d]
        return {"gamma": d_gamma, "beta": d_beta}, d_z


class Normalised(Model):
    """A layer that normalises its sums z before the activation, or its outputs a after it."""

    members = ("w", "norm")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        normal_ = normal(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]  normalisation.lee:64
        self.w = torch.nn.Parameter(1 / math.sqrt(inputs) * normal_)  # [inputs, outputs]  normalisation.lee:64
        self.norm = BatchNorm(outputs)  # normalisation.lee:65

    def forward(self, x):
        """x [n, inputs] -> [n, outputs]"""
        if not self.training:
            return self.forward_eval(x)
        norm_out = self.norm(x @ self.w)  # [n, outputs]  normalisation.lee:69
        return torch.sigmoid(norm_out)  # [n, outputs]  prelude.lee:36

    def forward_eval(self, x):
        """x [n, inputs] -> [n, outputs]"""
        return torch.sigmoid(self.norm.forward_eval(x @ self.w))  # [n, outputs]  prelude.lee:36

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        contract = x @ self.w  # [n, outputs]  normalisation.lee:69
        norm_out, saved_norm = self.norm.forward_saved(contract)
        return torch.sigmoid(norm_out), (contract, saved_norm)  # prelude.lee:36

    def forward_backward(self, x, saved, div, d_y):
        """From d_y to the gradients by the parameters and x."""
        contract, saved_norm = saved
        # gradient of return sigmoid(norm(x @ w))   normalisation.lee:69
        d_norm, d_contract = self.norm.forward_backward(contract, saved_norm, d_y * (div * (1 - div)))
        d_x = d_contract @ self.w.T  # [n, inputs]
        d_w = x.T @ d_contract  # [inputs, outputs]
        return {"w": d_w, "norm": d_norm}, d_x


class Normalised_2(Model):
    """A layer that normalises its sums z before the activation, or its outputs a after it."""

    members = ("w", "norm")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        normal_ = normal(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]  normalisation.lee:64
        self.w = torch.nn.Parameter(1 / math.sqrt(inputs) * normal_)  # [inputs, outputs]  normalisation.lee:64
        self.norm = BatchNorm(outputs)  # normalisation.lee:65

    def forward(self, x):
        """x [n, inputs] -> [n, outputs]"""
        y = self.norm(torch.sigmoid(x @ self.w))  # [n, outputs]  normalisation.lee:70
        return y  # [n, outputs]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        sigmoid = torch.sigmoid(x @ self.w)  # [n, outputs]  prelude.lee:36
        add_2_2, saved_norm = self.norm.forward_saved(sigmoid)  # normalisation.lee:70
        return add_2_2, (sigmoid, saved_norm)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        sigmoid, saved_norm = saved
        # gradient of return norm(sigmoid(x @ w))   normalisation.lee:70
        d_norm, d_sigmoid = self.norm.forward_backward(sigmoid, saved_norm, d_y)
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_contract = d_sigmoid * (sigmoid * (1 - sigmoid))  # [n, outputs]
        # gradient of return norm(sigmoid(x @ w))   normalisation.lee:70
        d_x = d_contract @ self.w.T  # [n, inputs]
        d_w = x.T @ d_contract  # [inputs, outputs]
        return {"w": d_w, "norm": d_norm}, d_x


class BatchRenorm(Model):
    """x̂ = (x - μ) / σ · r + s, where r and s, seen as constants, lead from the batch to the running averages.

    r = σ / σ̄ within [1 / r_max, r_max], s = (μ - μ̄) / σ̄ within ± d_max (Ioffe 2017).
    """

    members = ("gamma", "beta", "mean_", "std_")

    def __init__(self, d, momentum=0.01, r_max=3, d_max=5, eps=1e-5):
        super().__init__()
        self.d, self.momentum, self.r_max, self.d_max, self.eps = d, momentum, r_max, d_max, eps
        self.gamma = torch.nn.Parameter(torch.ones(d, dtype=FLOAT))  # [d]  normalisation.lee:78
        self.beta = torch.nn.Parameter(torch.zeros(d, dtype=FLOAT))  # [d]  normalisation.lee:79
        self.register_buffer("mean_", torch.zeros(d, dtype=FLOAT))  # [d]
        self.register_buffer("std_", torch.ones(d, dtype=FLOAT))  # [d]  normalisation.lee:78

    def forward(self, x):
        """x [n, d] -> [n, d]"""
        if not self.training:
            return self.forward_eval(x)
        mu = x.mean(dim=0)  # [d]  normalisation.lee:85
        sub = x - mu  # [n, d]  normalisation.lee:86
        sigma = sqrt((sub**2).mean(dim=0) + self.eps)  # [d]
        r = stop(clip(sigma / self.std_, 1 / self.r_max, self.r_max))  # [d]  normalisation.lee:87
        sub_2 = mu - self.mean_  # [d]  normalisation.lee:88
        s = stop(clip_2(sub_2 / self.std_, -self.d_max, self.d_max))  # [d]
        centred = x - x.mean(dim=0, keepdim=True)  # [n, d]  normalisation.lee:91
        deviation = sqrt((centred**2).mean(dim=0, keepdim=True) + self.eps)  # [1, d]
        with torch.no_grad():
            self.mean_.add_(self.momentum * sub_2)  # [d]  normalisation.lee:89
            self.std_.add_(self.momentum * (sigma - self.std_))  # [d]  normalisation.lee:90
        return self.gamma * (centred / deviation * r + s) + self.beta  # [n, d]  normalisation.lee:91

    def forward_eval(self, x):
        """x [n, d] -> [n, d]"""
        return self.gamma * (x - self.mean_) / self.std_ + self.beta  # [n, d]  normalisation.lee:92

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        mu = x.mean(dim=0)  # [d]  normalisation.lee:85
        sub = x - mu  # [n, d]  normalisation.lee:86
        sigma = sqrt((sub**2).mean(dim=0) + self.eps)  # [d]
        r = stop(clip(sigma / self.std_, 1 / self.r_max, self.r_max))  # [d]  normalisation.lee:87
        sub_2 = mu - self.mean_  # [d]  normalisation.lee:88
        s = stop(clip_2(sub_2 / self.std_, -self.d_max, self.d_max))  # [d]
        centred = x - x.mean(dim=0, keepdim=True)  # [n, d]  normalisation.lee:91
        deviation = sqrt((centred**2).mean(dim=0, keepdim=True) + self.eps)  # [1, d]
        add_4 = centred / deviation * r + s  # [n, d]
        with torch.no_grad():
            self.mean_.add_(self.momentum * sub_2)  # [d]  normalisation.lee:89
            self.std_.add_(self.momentum * (sigma - self.std_))  # [d]  normalisation.lee:90
        return self.gamma * add_4 + self.beta, (r, add_4)  # normalisation.lee:91

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        r, add_4 = saved
        # gradient of return gamma * ((x - mu) / sigma * r + s) + beta   normalisation.lee:91
        d_beta = d_y.sum(dim=0)  # [d]
        d_gamma = (d_y * add_4).sum(dim=0)  # [d]
        d_normalise = d_y * self.gamma * r  # [n, d]
        centred = x - x.mean(dim=0, keepdim=True)  # [n, d]
        deviation = sqrt((centred**2).mean(dim=0, keepdim=True) + self.eps)  # [1, d]
        normal_ = centred / deviation  # [n, d]
        mul_4 = normal_ * (d_normalise * normal_).mean(dim=0, keepdim=True)  # [n, d]
        d_x = (d_normalise - d_normalise.mean(dim=0, keepdim=True) - mul_4) / deviation  # [n, d]
        return {"gamma": d_gamma, "beta": d_beta}, d_x

    def forward_eval_saved(self, x):
        """As forward_eval, and what its gradient needs."""
        sub = x - self.mean_  # [n, d]  normalisation.lee:92
        return self.gamma * sub / self.std_ + self.beta, sub

    def forward_eval_backward(self, sub, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return gamma * (x - mean_) / std_ + beta   normalisation.lee:92
        d_beta = d_y.sum(dim=0)  # [d]
        d_mul = d_y / self.std_  # [n, d]
        d_x = d_mul * self.gamma  # [n, d]
        d_gamma = (d_mul * sub).sum(dim=0)  # [d]
        return {"gamma": d_gamma, "beta": d_beta}, d_x


class LayerNorm(Model):
    """Mean and variance over the dimensions of one example, with a scale and a shift for each."""

    members = ("gamma", "beta")

    def __init__(self, d, eps=1e-5):
        super().__init__()
        self.d, self.eps = d, eps
        self.gamma = torch.nn.Parameter(torch.ones(d, dtype=FLOAT))  # [d]  normalisation.lee:100
        self.beta = torch.nn.Parameter(torch.zeros(d, dtype=FLOAT))  # [d]  normalisation.lee:101

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., d] -> [.., d]"""
        return self.gamma * standard(x, self.eps) + self.beta  # [rows, d]  normalisation.lee:104

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        div = standard(x, self.eps)  # [rows, d]  normalisation.lee:104
        return self.gamma * div + self.beta, div

    def forward_backward(self, x, div, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return gamma * standard(x, eps) + beta   normalisation.lee:104
        d_beta = d_y.sum(dim=0)  # [d]
        d_gamma = (d_y * div).sum(dim=0)  # [d]
        d_x = standard_backward(x, self.eps, d_y * self.gamma)  # [rows, d]
        return {"gamma": d_gamma, "beta": d_beta}, d_x


class LayerNormAsPrinted(Model):
    """One set of notes says that layer normalisation has no scale and no shift."""

    members = ()

    def __init__(self, d, eps=1e-5):
        super().__init__()
        self.d, self.eps = d, eps

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., d] -> [.., d]"""
        return standard(x, self.eps)  # [rows, d]  normalisation.lee:110

    def forward_backward(self, x, d_y):
        """From d_y to the gradient by x."""
        # gradient of return standard(x, eps)   normalisation.lee:110
        d_x = standard_backward(x, self.eps, d_y)  # [rows, d]
        return d_x  # [rows, d]


def standard(x, eps):
    """Rows of mean 0 and variance 1.

    x [n, d] -> [n, d]
    """
    d = x.shape[1]
    return torch.nn.functional.layer_norm(x, (d,), eps=eps)  # [n, d]  normalisation.lee:117


def standard_backward(x, eps, d_y):
    """From d_y to the gradient by x."""
    d = x.shape[1]
    # gradient of return (x - mu) / sqrt(variance + eps)   normalisation.lee:117
    d_x = normalise_gradient(d_y, x, (d,), eps)  # [n, d]
    return d_x  # [n, d]


class InstanceNorm(Model):
    """Every channel of every example over its positions."""

    members = ()

    def __init__(self, channels, eps=1e-5):
        super().__init__()
        self.channels, self.eps = channels, eps

    def forward(self, x):
        """x [n, channels, h, w] -> [n, channels, h, w]"""
        n, _, h, w = x.shape
        rows = x.reshape(self.channels * n, h * w)  # [channels * n, h * w]  normalisation.lee:123
        return standard(rows, self.eps).reshape(n, self.channels, h, w)  # [n, channels, h, w]  normalisation.lee:124

    def forward_backward(self, x, d_y):
        """From d_y to the gradient by x."""
        n, _, h, w = x.shape
        # gradient of rows = reshape(x, [n * channels, h * w])   normalisation.lee:123
        rows = x.reshape(self.channels * n, h * w)  # [channels * n, h * w]
        # gradient of return reshape(standard(rows, eps), [n, channels, h, w])   normalisation.lee:124
        d_rows = standard_backward(rows, self.eps, d_y.reshape(self.channels * n, h * w))  # [channels * n, h * w]
        # gradient of rows = reshape(x, [n * channels, h * w])   normalisation.lee:123
        d_x = d_rows.reshape(n, self.channels, h, w)  # [n, channels, h, w]
        return d_x  # [n, channels, h, w]


class GroupNorm(Model):
    """Every group of channels of every example, over the group and its positions."""

    members = ("gamma", "beta")

    def __init__(self, groups, channels, eps=1e-5):
        super().__init__()
        self.groups, self.channels, self.eps = groups, channels, eps
        if channels % groups != 0:
            raise ValueError(
                f"normalisation.lee:129: channels % groups == 0 must hold: channels = {channels}, groups = {groups}"
            )
        self.gamma = torch.nn.Parameter(torch.ones(channels, dtype=FLOAT))  # [channels]  normalisation.lee:130
        self.beta = torch.nn.Parameter(torch.zeros(channels, dtype=FLOAT))  # [channels]  normalisation.lee:131

    def forward(self, x):
        """x [n, channels, h, w] -> [n, channels, h, w]"""
        n, _, h, w = x.shape
        # [groups * n, (channels // groups) * h * w]  normalisation.lee:134
        rows = x.reshape(self.groups * n, self.channels // self.groups * h * w)
        z = standard(rows, self.eps).reshape(n, self.channels, h, w)  # [n, channels, h, w]  normalisation.lee:135
        return self.gamma[:, None, None] * z + self.beta[:, None, None]  # [n, channels, h, w]  normalisation.lee:136

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, h, w = x.shape
        # [groups * n, (channels // groups) * h * w]  normalisation.lee:134
        rows = x.reshape(self.groups * n, self.channels // self.groups * h * w)
        z = standard(rows, self.eps).reshape(n, self.channels, h, w)  # [n, channels, h, w]  normalisation.lee:135
        return self.gamma[:, None, None] * z + self.beta[:, None, None], z  # normalisation.lee:136

    def forward_backward(self, x, z, d_y):
        """From d_y to the gradients by the parameters and x."""
        n, _, h, w = x.shape
        # gradient of rows = reshape(x, [n * groups, channels // groups * h * w])   normalisation.lee:134
        # [groups * n, (channels // groups) * h * w]
        rows = x.reshape(self.groups * n, self.channels // self.groups * h * w)
        # gradient of return gamma[:, None, None] * z + beta[:, None, None]   normalisation.lee:136
        d_beta = d_y.sum(dim=0).sum(dim=(1, 2))  # [channels]
        d_z = d_y * self.gamma[:, None, None]  # [n, channels, h, w]
        d_gamma = (d_y * z).sum(dim=0).sum(dim=(1, 2))  # [channels]
        # gradient of z = reshape(standard(rows, eps), [n, channels, h, w])   normalisation.lee:135
        # [groups * n, (channels // groups) * h * w]
        d_div = d_z.reshape(self.groups * n, self.channels // self.groups * h * w)
        d_rows = standard_backward(rows, self.eps, d_div)  # [groups * n, (channels // groups) * h * w]
        # gradient of rows = reshape(x, [n * groups, channels // groups * h * w])   normalisation.lee:134
        d_x = d_rows.reshape(n, self.channels, h, w)  # [n, channels, h, w]
        return {"gamma": d_gamma, "beta": d_beta}, d_x


class WeightNorm(Model):
    """w = g v / ‖v‖ for each output: length and direction are learned apart (Salimans & Kingma 2016)."""

    members = ("v", "g", "b")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        normal_ = normal(fold(key, SITES["v"]), (inputs, outputs), FLOAT)  # [inputs, outputs]  normalisation.lee:144
        self.v = torch.nn.Parameter(1 / math.sqrt(inputs) * normal_)  # [inputs, outputs]
        self.g = torch.nn.Parameter(torch.ones(outputs, dtype=FLOAT))  # [outputs]  normalisation.lee:145
        self.b = torch.nn.Parameter(torch.zeros(outputs, dtype=FLOAT))  # [outputs]  normalisation.lee:146

    def forward(self, x):
        """x [n, inputs] -> [n, outputs]"""
        return torch.addmm(self.b, x, self.g * self.v / norm(self.v))  # [n, outputs]  normalisation.lee:149

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        sqrt_, saved_norm = norm_saved(self.v)  # normalisation.lee:149
        div = self.g * self.v / sqrt_  # [inputs, outputs]
        return torch.addmm(self.b, x, div), (sqrt_, saved_norm, div)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        sqrt_, saved_norm, div = saved
        # gradient of return x @ (g * v / norm(v, axis = 0)) + b   normalisation.lee:149
        d_b = d_y.sum(dim=0)  # [outputs]
        d_x = d_y @ div.T  # [n, inputs]
        d_div = x.T @ d_y  # [inputs, outputs]
        d_mul = d_div / sqrt_  # [inputs, outputs]
        d_v_2 = norm_backward(self.v, saved_norm, sqrt_, -(d_div * div / sqrt_).sum(dim=0))  # [inputs, outputs]
        d_g = (d_mul * self.v).sum(dim=0)  # [outputs]
        d_v = d_v_2 + d_mul * self.g  # [inputs, outputs]
        return {"v": d_v, "g": d_g, "b": d_b}, d_x


def largest_singular(w, steps):
    """σ_max(w), by power iteration; its gradient is that of uᵀ w v.

    w [r, c] -> []
    """
    r = w.shape[0]
    u = unit(torch.ones(r, dtype=FLOAT, device=w.device))  # [r]  normalisation.lee:154
    v = unit(u @ w)  # [c]  normalisation.lee:155
    u_ = u  # normalisation.lee:156
    for s in range(steps):
        u_, v = largest_singular_step(u_, v, w)
    return stop(u_) @ w @ stop(v)  # normalisation.lee:159


def largest_singular_saved(w, steps):
    """As largest_singular, and what its gradient needs."""
    r = w.shape[0]
    u = unit(torch.ones(r, dtype=FLOAT, device=w.device))  # [r]  normalisation.lee:154
    v = unit(u @ w)  # [c]  normalisation.lee:155
    u_ = u  # normalisation.lee:156
    for s in range(steps):
        u_, v = largest_singular_step(u_, v, w)
    graft_ = stop(u_)  # [r]  normalisation.lee:159
    graft_2 = stop(v)  # [c]
    return graft_ @ w @ graft_2, (graft_, graft_2)


def largest_singular_backward(saved, d_y):
    """From d_y to the gradient by w."""
    graft_, graft_2 = saved
    # gradient of return stop(u) @ w @ stop(v)   normalisation.lee:159
    d_w = graft_[:, None] * (d_y * graft_2)  # [r, c]
    return d_w  # [r, c]


def largest_singular_step(u, v, w):
    """u [r], v [c], w [r, c] -> [r], [c]"""
    u_3 = unit(w @ v)  # [r]  normalisation.lee:157
    v_3 = unit(u_3 @ w)  # [c]  normalisation.lee:158
    return u_3, v_3


def unit(x):
    """x at length 1.

    x [n] -> [n]
    """
    return x / norm_2(x)  # [n]  normalisation.lee:164


def spectral(w, x, y, strength=0.1):
    """The cited paper adds λ/2 σ_max(W)² to the loss (Yoshida & Miyato 2017).

    w [d, k], x [n, d], y [n, k] -> []
    """
    sub = x @ w - y  # [n, k]  normalisation.lee:169
    contract_5 = largest_singular(w, 60)
    return (sub**2).mean() + strength / 2 * contract_5**2


def spectral_saved(w, x, y, strength=0.1):
    """As spectral, and what its gradient needs."""
    sub = x @ w - y  # [n, k]  normalisation.lee:169
    contract_5, saved_largest_singular = largest_singular_saved(w, 60)
    return (sub**2).mean() + strength / 2 * contract_5**2, (sub, contract_5, saved_largest_singular)


def spectral_backward(w, x, strength, saved, d_out):
    """From d_out to the gradients by w, x and y."""
    sub, contract_5, saved_largest_singular = saved
    k = w.shape[1]
    n = x.shape[0]
    # gradient of return mean((x @ w - y) ** 2) + strength / 2 * largest_singular(w, 60) ** 2   normalisation.lee:169
    d_contract_5 = 2 * (d_out * (strength / 2) * contract_5)
    d_w_2 = largest_singular_backward(saved_largest_singular, d_contract_5)  # [d, k]
    d_sub = 2 * (d_out / (k * n)) * sub  # [n, k]
    d_y = -d_sub  # [n, k]
    d_x = d_sub @ w.T  # [n, d]
    d_w = d_w_2 + x.T @ d_sub  # [d, k]
    return d_w, d_x, d_y


def spectralAsPrinted(w, x, y, strength=0.1):
    """What the printed name means elsewhere: W / σ_max(W) takes the place of W, and nothing is added.

    w [d, k], x [n, d], y [n, k] -> []
    """
    sub = x @ w / largest_singular(w, 60) - y  # [n, k]  normalisation.lee:174
    return (sub**2).mean()


def spectralAsPrinted_saved(w, x, y, strength=0.1):
    """As spectralAsPrinted, and what its gradient needs."""
    contract_5, saved_largest_singular = largest_singular_saved(w, 60)  # normalisation.lee:174
    div = x @ w / contract_5  # [n, k]
    sub = div - y  # [n, k]
    return (sub**2).mean(), (contract_5, saved_largest_singular, div, sub)


def spectralAsPrinted_backward(w, x, saved, d_out):
    """From d_out to the gradients by w, x and y."""
    contract_5, saved_largest_singular, div, sub = saved
    k = w.shape[1]
    n = x.shape[0]
    # gradient of return mean((x @ w / largest_singular(w, 60) - y) ** 2)   normalisation.lee:174
    d_sub = 2 * (d_out / (k * n)) * sub  # [n, k]
    d_y = -d_sub  # [n, k]
    d_contract = d_sub / contract_5  # [n, k]
    d_contract_5 = -(d_sub * div / contract_5).sum()
    d_w_2 = largest_singular_backward(saved_largest_singular, d_contract_5)  # [d, k]
    d_x = d_contract @ w.T  # [n, d]
    d_w = d_w_2 + x.T @ d_contract  # [d, k]
    return d_w, d_x, d_y


class Network(Model):
    """Two normalised layers of σ, which otherwise would hardly learn at such a rate."""

    members = ("first", "second", "last")

    def __init__(self, hidden, *, key=(0, 0)):
        super().__init__()
        self.hidden = hidden
        self.first = Normalised(64, hidden, key=fold(key, SITES["first"]))  # normalisation.lee:179
        self.second = Normalised(hidden, hidden, key=fold(key, SITES["second"]))  # normalisation.lee:180
        self.last = Linear(hidden, 10, key=fold(key, SITES["last"]))  # normalisation.lee:181

    def forward(self, x):
        """x [n, 64] -> [n, 10]"""
        if not self.training:
            return self.forward_eval(x)
        first_out = self.first(x)  # [n, hidden]  normalisation.lee:184
        second_out = self.second(first_out)  # [n, hidden]
        return self.last(second_out)  # [n, 10]

    def forward_eval(self, x):
        """x [n, 64] -> [n, 10]"""
        y = self.last(self.second.forward_eval(self.first.forward_eval(x)))  # [n, 10]  normalisation.lee:184
        return y  # [n, 10]


@torch.no_grad()
def fit(epochs=8, batch=64, rate=0.5, *, run=None):
    """Digits; the running averages serve in the test."""
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Network(hidden=32, key=run.key("net")).to(run.session.place.device)  # normalisation.lee:190
    opt = SGD(lr=rate)  # normalisation.lee:191
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # normalisation.lee:194
        run.report(accuracy=accuracy(net.forward_eval(data.test.x), data.test.y))  # normalisation.lee:195
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.first.w",
        "net.first.norm.gamma",
        "net.first.norm.beta",
        "net.first.norm.mean_",
        "net.first.norm.var_",
        "net.second.w",
        "net.second.norm.gamma",
        "net.second.norm.beta",
        "net.second.norm.mean_",
        "net.second.norm.var_",
        "net.last.w",
        "net.last.b",
    )
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, batches_n - 1, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.weight_decay)

    def step(self, x, y):
        first_w, first_norm_gamma, first_norm_beta, first_norm_mean_, first_norm_var_ = self.tensors[:5]
        second_w, second_norm_gamma, second_norm_beta, second_norm_mean_, second_norm_var_ = self.tensors[5:10]
        last_w, last_b = self.tensors[10:]
        d_first_w, d_first_norm_gamma, d_first_norm_beta, d_second_w, d_second_norm_gamma = self.gradients[:5]
        d_second_norm_beta, d_last_w, d_last_b = self.gradients[5:]
        batches_n = x.shape[0]
        count, scale, scale_ = self.held(batches_n)  # batches_n, batches_n - 1, 1.0 / batches_n
        contract = x @ first_w  # [batches_n, 32]  normalisation.lee:69
        mu = contract.mean(dim=0)  # [32]  normalisation.lee:37
        sub = contract - mu  # [batches_n, 32]  normalisation.lee:38
        sub_2 = 1 - self.net.first.norm.momentum  # normalisation.lee:39
        first_norm_mean_.copy_(sub_2 * first_norm_mean_ + self.net.first.norm.momentum * mu)  # [32]
        mul_5 = self.net.first.norm.momentum * (sub * sub).mean(dim=0)  # [32]  normalisation.lee:40
        first_norm_var_.copy_(sub_2 * first_norm_var_ + mul_5 * count / scale)  # [32]
        centred = contract - contract.mean(dim=0, keepdim=True)  # [batches_n, 32]  normalisation.lee:17
        variance_3 = (centred * centred).mean(dim=0, keepdim=True)  # [1, 32]
        deviation = torch.sqrt(variance_3 + self.net.first.norm.eps)  # [1, 32]
        div_2 = centred / deviation  # [batches_n, 32]
        first_out = torch.sigmoid(div_2 * first_norm_gamma + first_norm_beta)  # [batches_n, 32]  prelude.lee:36
        contract_2 = first_out @ second_w  # [batches_n, 32]  normalisation.lee:69
        mu_2 = contract_2.mean(dim=0)  # [32]  normalisation.lee:37
        sub_3 = contract_2 - mu_2  # [batches_n, 32]  normalisation.lee:38
        sub_2_2 = 1 - self.net.second.norm.momentum  # normalisation.lee:39
        second_norm_mean_.copy_(sub_2_2 * second_norm_mean_ + self.net.second.norm.momentum * mu_2)  # [32]
        mul_5_2 = self.net.second.norm.momentum * (sub_3 * sub_3).mean(dim=0)  # [32]  normalisation.lee:40
        second_norm_var_.copy_(sub_2_2 * second_norm_var_ + mul_5_2 * count / scale)  # [32]
        centred_2 = contract_2 - contract_2.mean(dim=0, keepdim=True)  # [batches_n, 32]  normalisation.lee:17
        variance_4 = (centred_2 * centred_2).mean(dim=0, keepdim=True)  # [1, 32]
        deviation_2 = torch.sqrt(variance_4 + self.net.second.norm.eps)  # [1, 32]
        div_3 = centred_2 / deviation_2  # [batches_n, 32]
        second_out = torch.sigmoid(div_3 * second_norm_gamma + second_norm_beta)  # [batches_n, 32]  prelude.lee:36
        affine = torch.addmm(last_b, second_out, last_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add = (torch.softmax(affine, dim=1) - eq.to(FLOAT)) * scale_  # [batches_n, 10]
        torch.sum(d_add, dim=0, out=d_last_b)  # [10]  nn.lee:21
        torch.mm(second_out.T, d_add, out=d_last_w)  # [32, 10]
        d_norm_out = torch.ops.aten.sigmoid_backward(d_add @ last_w.T, second_out)  # [batches_n, 32]  prelude.lee:36
        torch.sum(d_norm_out, dim=0, out=d_second_norm_beta)  # [32]  normalisation.lee:17
        d_normalise = d_norm_out * second_norm_gamma  # [batches_n, 32]
        torch.sum(d_norm_out * div_3, dim=0, out=d_second_norm_gamma)  # [32]
        mul_12 = div_3 * (d_normalise * div_3).mean(dim=0, keepdim=True)  # [batches_n, 32]
        d_contract = (d_normalise - d_normalise.mean(dim=0, keepdim=True) - mul_12) / deviation_2  # [batches_n, 32]
        torch.mm(first_out.T, d_contract, out=d_second_w)  # [32, 32]  normalisation.lee:69
        # [batches_n, 32]  prelude.lee:36
        d_norm_out_2 = torch.ops.aten.sigmoid_backward(d_contract @ second_w.T, first_out)
        torch.sum(d_norm_out_2, dim=0, out=d_first_norm_beta)  # [32]  normalisation.lee:17
        d_normalise_2 = d_norm_out_2 * first_norm_gamma  # [batches_n, 32]
        torch.sum(d_norm_out_2 * div_2, dim=0, out=d_first_norm_gamma)  # [32]
        mul_14 = div_2 * (d_normalise_2 * div_2).mean(dim=0, keepdim=True)  # [batches_n, 32]
        sub_7 = d_normalise_2 - d_normalise_2.mean(dim=0, keepdim=True)  # [batches_n, 32]
        torch.mm(x.T, (sub_7 - mul_14) / deviation, out=d_first_w)  # [64, 32]  normalisation.lee:69
        lr = self.opt.lr
        weight_decay = self.opt.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return surprise.sum() / count  # losses.lee:148


def example_batch(key):
    z = 1 + 0.1 * normal(fold(key, SITES["z"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:200
    gamma = 1 + normal(fold(key, SITES["gamma"]), (5,), FLOAT)  # [5]  normalisation.lee:201
    beta = normal(fold(key, SITES["beta"]), (5,), FLOAT)  # [5]  normalisation.lee:202
    c = normal(fold(key, SITES["c"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:203
    d_c, saved_batch_norm = batch_norm_saved(z, gamma, beta)  # normalisation.lee:204
    d_z, d_gamma, d_beta = batch_norm_backward(z, gamma, 1e-5, saved_batch_norm, c)
    return (c * d_c).sum(), d_z, d_gamma, d_beta, d_c


def example_batch_as_printed(key):
    z = 1 + 0.1 * normal(fold(key, SITES["z"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:208
    gamma = 1 + normal(fold(key, SITES["gamma"]), (5,), FLOAT)  # [5]  normalisation.lee:209
    beta = normal(fold(key, SITES["beta"]), (5,), FLOAT)  # [5]  normalisation.lee:210
    c = normal(fold(key, SITES["c"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:211
    d_c, saved_batch_normAsPrinted = batch_normAsPrinted_saved(z, gamma, beta)  # normalisation.lee:212
    d_z, d_gamma, d_beta = batch_normAsPrinted_backward(z, gamma, 1e-5, saved_batch_normAsPrinted, c)
    return (c * d_c).sum(), d_z, d_gamma, d_beta, d_c


def example_running(key):
    net = BatchNorm(5)  # normalisation.lee:216
    a = 1 + 0.1 * normal(fold(key, SITES["a"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:217
    b = 2 + 0.2 * normal(fold(key, SITES["b"]), (6, 5), FLOAT)  # [6, 5]  normalisation.lee:218
    c = normal(fold(key, SITES["c"]), (6, 5), FLOAT)  # [6, 5]  normalisation.lee:219
    net_out, saved_net = net.forward_saved(a)  # normalisation.lee:220
    mul_3 = net_out**2  # [8, 5]
    first = (mul_3 * net_out).sum()
    net_out_2, saved_net_ = net.forward_saved(b)  # normalisation.lee:221
    mul_5 = net_out_2**2  # [6, 5]
    second = (mul_5 * net_out_2).sum()
    net_out_3, saved_net_2 = net.forward_eval_saved(b)  # normalisation.lee:222
    d_c = net_out_3**2  # [6, 5]
    d_net, d_b_2 = net.forward_eval_backward(saved_net_2, 2 * (c * net_out_3))
    d_net_, d_b_3 = net.forward_backward(b, saved_net_, 2 * mul_5 + mul_5)  # normalisation.lee:221
    d_net_2, d_a = net.forward_backward(a, saved_net, 2 * mul_3 + mul_3)  # normalisation.lee:220
    return (
        first + second + (c * d_c).sum(),
        net.at(
            {
                "gamma": d_net["gamma"] + d_net_["gamma"] + d_net_2["gamma"],
                "beta": d_net["beta"] + d_net_["beta"] + d_net_2["beta"],
            }
        ),
        d_a,
        d_b_2 + d_b_3,
        d_c,
    )


def example_running_as_printed(key):
    net = BatchNormAsPrinted(5)  # normalisation.lee:226
    a = 1 + 0.1 * normal(fold(key, SITES["a"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:227
    b = 2 + 0.2 * normal(fold(key, SITES["b"]), (6, 5), FLOAT)  # [6, 5]  normalisation.lee:228
    c = normal(fold(key, SITES["c"]), (6, 5), FLOAT)  # [6, 5]  normalisation.lee:229
    net_out, saved_net = net.forward_saved(a)  # normalisation.lee:230
    mul_3 = net_out**2  # [8, 5]
    first = (mul_3 * net_out).sum()
    net_out_2, saved_net_ = net.forward_saved(b)  # normalisation.lee:231
    mul_5 = net_out_2**2  # [6, 5]
    second = (mul_5 * net_out_2).sum()
    net_out_3, saved_net_2 = net.forward_eval_saved(b)  # normalisation.lee:232
    d_c = net_out_3**2  # [6, 5]
    d_net, d_b_2 = net.forward_eval_backward(saved_net_2, 2 * (c * net_out_3))
    d_net_, d_b_3 = net.forward_backward(b, saved_net_, 2 * mul_5 + mul_5)  # normalisation.lee:231
    d_net_2, d_a = net.forward_backward(a, saved_net, 2 * mul_3 + mul_3)  # normalisation.lee:230
    return (
        first + second + (c * d_c).sum(),
        net.at(
            {
                "gamma": d_net["gamma"] + d_net_["gamma"] + d_net_2["gamma"],
                "beta": d_net["beta"] + d_net_["beta"] + d_net_2["beta"],
            }
        ),
        d_a,
        d_b_2 + d_b_3,
        d_c,
    )


def example_before_activation(key):
    net = Normalised(4, 5, key=fold(key, SITES["net"]))  # normalisation.lee:236
    x = normal(fold(key, SITES["x"]), (8, 4), FLOAT)  # [8, 4]  normalisation.lee:237
    c = normal(fold(key, SITES["c"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:238
    d_c, saved_net = net.copy().forward_saved(x)  # normalisation.lee:239
    d_net, d_x = net.forward_backward(x, saved_net, d_c, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_after_activation(key):
    net = Normalised_2(4, 5, key=fold(key, SITES["net"]))  # normalisation.lee:243
    x = normal(fold(key, SITES["x"]), (8, 4), FLOAT)  # [8, 4]  normalisation.lee:244
    c = normal(fold(key, SITES["c"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:245
    d_c, saved_net = net.copy().forward_saved(x)  # normalisation.lee:246
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_renormalised(key):
    net = BatchRenorm(5)  # normalisation.lee:250
    a = 1 + 0.1 * normal(fold(key, SITES["a"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:251
    b = 7 + 5 * normal(fold(key, SITES["b"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:252
    c = normal(fold(key, SITES["c"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:253
    net_out, saved_net = net.forward_saved(a)  # normalisation.lee:254
    first = (c * net_out).sum()
    net_out_2, saved_net_ = net.forward_saved(b)  # normalisation.lee:255
    second = (c * net_out_2).sum()
    net_out_3, saved_net_2 = net.forward_eval_saved(a)  # normalisation.lee:256
    d_net, d_a_2 = net.forward_eval_backward(saved_net_2, c)
    d_net_, d_b = net.forward_backward(b, saved_net_, c)  # normalisation.lee:255
    d_net_2, d_a_3 = net.forward_backward(a, saved_net, c)  # normalisation.lee:254
    return (
        first + second + (c * net_out_3).sum(),
        net.at(
            {
                "gamma": d_net["gamma"] + d_net_["gamma"] + d_net_2["gamma"],
                "beta": d_net["beta"] + d_net_["beta"] + d_net_2["beta"],
            }
        ),
        d_a_2 + d_a_3,
        d_b,
        net_out_3 + net_out_2 + net_out,
    )


def example_layer(key):
    net = LayerNorm(5)  # normalisation.lee:260
    x = 1 + 0.1 * normal(fold(key, SITES["x"]), (2, 3, 5), FLOAT)  # [2, 3, 5]  normalisation.lee:261
    c = normal(fold(key, SITES["c"]), (2, 3, 5), FLOAT)  # [2, 3, 5]  normalisation.lee:262
    x_flat = x.reshape(6, 5)  # [6, 5]  normalisation.lee:263
    net_out, saved_net = net.forward_saved(x_flat)
    d_c = net_out.reshape(2, 3, 5)  # [2, 3, 5]
    d_net, d_x_flat = net.forward_backward(x_flat, saved_net, c.reshape(6, 5))
    return (c * d_c).sum(), net.at(d_net), d_x_flat.reshape(2, 3, 5), d_c


def example_layer_as_printed(key):
    net = LayerNormAsPrinted(5)  # normalisation.lee:267
    x = 1 + 0.1 * normal(fold(key, SITES["x"]), (2, 3, 5), FLOAT)  # [2, 3, 5]  normalisation.lee:268
    c = normal(fold(key, SITES["c"]), (2, 3, 5), FLOAT)  # [2, 3, 5]  normalisation.lee:269
    x_flat = x.reshape(6, 5)  # [6, 5]  normalisation.lee:270
    d_c = net(x_flat).reshape(2, 3, 5)  # [2, 3, 5]
    d_x_flat = net.forward_backward(x_flat, c.reshape(6, 5))  # [6, 5]
    return (c * d_c).sum(), d_x_flat.reshape(2, 3, 5), d_c


def example_instance(key):
    net = InstanceNorm(3)  # normalisation.lee:274
    x = 1 + 0.1 * normal(fold(key, SITES["x"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  normalisation.lee:275
    c = normal(fold(key, SITES["c"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  normalisation.lee:276
    d_c = net(x)  # [2, 3, 4, 5]  normalisation.lee:277
    return (c * d_c).sum(), net.forward_backward(x, c), d_c


def example_group(key):
    net = GroupNorm(2, 6)  # normalisation.lee:281
    x = 1 + 0.1 * normal(fold(key, SITES["x"]), (2, 6, 4, 5), FLOAT)  # [2, 6, 4, 5]  normalisation.lee:282
    c = normal(fold(key, SITES["c"]), (2, 6, 4, 5), FLOAT)  # [2, 6, 4, 5]  normalisation.lee:283
    d_c, saved_net = net.forward_saved(x)  # normalisation.lee:284
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_weight(key):
    net = WeightNorm(4, 5, key=fold(key, SITES["net"]))  # normalisation.lee:288
    x = normal(fold(key, SITES["x"]), (8, 4), FLOAT)  # [8, 4]  normalisation.lee:289
    net_out, saved_net = net.forward_saved(x)  # normalisation.lee:290
    d_net, d_x = net.forward_backward(x, saved_net, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_spectrum(key):
    w = normal(fold(key, SITES["w"]), (4, 3), FLOAT)  # [4, 3]  normalisation.lee:294
    x = normal(fold(key, SITES["x"]), (8, 4), FLOAT)  # [8, 4]  normalisation.lee:295
    y = normal(fold(key, SITES["y"]), (8, 3), FLOAT)  # [8, 3]  normalisation.lee:296
    value, saved_spectral = spectral_saved(w, x, y)  # normalisation.lee:297
    d_w, d_x, d_y = spectral_backward(w, x, 0.1, saved_spectral, torch.ones((), dtype=FLOAT))
    return value, d_w, d_x, d_y


def example_spectrum_as_printed(key):
    w = normal(fold(key, SITES["w"]), (4, 3), FLOAT)  # [4, 3]  normalisation.lee:301
    x = normal(fold(key, SITES["x"]), (8, 4), FLOAT)  # [8, 4]  normalisation.lee:302
    y = normal(fold(key, SITES["y"]), (8, 3), FLOAT)  # [8, 3]  normalisation.lee:303
    value, saved_spectralAsPrinted = spectralAsPrinted_saved(w, x, y)  # normalisation.lee:304
    d_value = torch.ones((), dtype=FLOAT)
    d_w, d_x, d_y = spectralAsPrinted_backward(w, x, saved_spectralAsPrinted, d_value)
    return value, d_w, d_x, d_y


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


class SGD(Optimizer):
    """θ ← θ - η (g + λ θ)"""

    def __init__(self, lr=0.01, weight_decay=0.0):
        self.lr, self.weight_decay = lr, weight_decay

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        θ.sub_(self.lr * (g + self.weight_decay * θ))  # [count]  optim.lee:11


def stop(x):
    """x, through which no gradient flows.

    x [x_0] -> [x_0]
    """
    return x.detach()  # [x_0]  prelude.lee:18


def clip(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1.

    x [x_0] -> [x_0]
    """
    return x.clamp(min=low).clamp(max=high)  # [x_0]  prelude.lee:153


def clip_2(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1.

    x [x_0] -> [x_0]
    """
    return x.clamp(min=low).clamp(max=high)  # [x_0]  prelude.lee:153


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> [x_1]
    """
    return sqrt((x**2).sum(dim=0))  # [x_1]  prelude.lee:163


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum(dim=0)  # [x_1]  prelude.lee:163
    return sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt_, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_x = 2 * (d_y * 0.5 / torch.where(sum_ > 0, sqrt_, torch.inf) * x)  # [x_0, x_1]
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
    "beta": 0xAE2E3FAC884C4C13,
    "c": 0x1B2C07CD64633F37,
    "first": 0xA31DFC4F51C2A8A2,
    "gamma": 0xF588132ED85947F8,
    "last": 0x840C26AC856B94B1,
    "net": 0xF087C76970C91612,
    "second": 0xF4C52D43B87F6485,
    "v": 0x9DF7DC769517EBA3,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
    "z": 0x3041FD28A7B04184,
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


def normalise_gradient(g, x, shape, eps):
    """The gradient of `layer_norm(x, shape, eps=eps)` by x."""
    _, mean, rstd = torch.native_layer_norm(x, shape, None, None, eps)
    return torch.ops.aten.native_layer_norm_backward(g, x, shape, mean, rstd, None, None, (True, False, False))[0]


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
