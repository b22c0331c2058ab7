"""Glow (inventory H9; Kingma & Dhariwal 2018): normalisation, an invertible mixing of channels, and affine coupling.

Every layer gives its result and log |det J|, J being its Jacobian; every layer has its inverse.

Made from specs/generative/glow.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/generative/glow.lee
"""

from __future__ import annotations

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


class ActNorm(Model):
    """(x + shift) · e^log_scale, one pair of numbers a channel."""

    members = ("shift", "log_scale")

    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.shift = torch.nn.Parameter(torch.zeros(channels, dtype=FLOAT))  # [channels]  glow.lee:14
        self.log_scale = torch.nn.Parameter(torch.zeros(channels, dtype=FLOAT))  # [channels]

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], []"""
        _, _, rows, cols = x.shape
        # [n, channels, rows, cols]  glow.lee:18
        y = (x + self.shift[:, None, None]) * torch.exp(self.log_scale)[:, None, None]
        return y, cols * rows * self.log_scale.sum()  # glow.lee:19

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        _, _, rows, cols = x.shape
        add = x + self.shift[:, None, None]  # [n, channels, rows, cols]  glow.lee:18
        exp_log_scale = torch.exp(self.log_scale)  # [channels]
        y = add * exp_log_scale[:, None, None]  # [n, channels, rows, cols]
        return y, cols * rows * self.log_scale.sum(), (add, exp_log_scale)  # glow.lee:19

    @staticmethod
    def forward_backward(saved, d_y, d_y_):
        """From d_y and d_y to the gradients by the parameters and x."""
        add, exp_log_scale = saved
        _, _, rows, cols = add.shape
        # gradient of y = (x + shift[:, None, None]) * exp(log_scale)[:, None, None]   glow.lee:18
        d_x = d_y * exp_log_scale[:, None, None]  # [n, channels, rows, cols]
        d_shift = d_x.sum(dim=0).sum(dim=(1, 2))  # [channels]
        d_log_scale_3 = (d_y * add).sum(dim=0).sum(dim=(1, 2)) * exp_log_scale  # [channels]
        d_log_scale = d_y_ * (cols * rows) + d_log_scale_3  # [channels]
        return {"shift": d_shift, "log_scale": d_log_scale}, d_x

    @staticmethod
    def forward_backward_2(saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        add, exp_log_scale = saved
        # gradient of y = (x + shift[:, None, None]) * exp(log_scale)[:, None, None]   glow.lee:18
        d_x = d_y * exp_log_scale[:, None, None]  # [n, channels, rows, cols]
        d_log_scale = (d_y * add).sum(dim=0).sum(dim=(1, 2)) * exp_log_scale  # [channels]
        d_shift = d_x.sum(dim=0).sum(dim=(1, 2))  # [channels]
        return {"shift": d_shift, "log_scale": d_log_scale}, d_x

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        mul = y * torch.exp(-self.log_scale)[:, None, None]  # [n, channels, rows, cols]  glow.lee:22
        return mul - self.shift[:, None, None]  # [n, channels, rows, cols]

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        exp = torch.exp(-self.log_scale)  # [channels]  glow.lee:22
        return y * exp[:, None, None] - self.shift[:, None, None], exp

    @staticmethod
    def inverse_backward(y, exp, d_out):
        """From d_out to the gradients by the parameters and y."""
        channels = y.shape[1]
        # gradient of return y * exp(-log_scale)[:, None, None] - shift[:, None, None]   glow.lee:22
        d_shift = (-d_out.sum(dim=0).sum(dim=(1, 2), keepdim=True)).reshape(channels)  # [channels]
        d_y = d_out * exp[:, None, None]  # [n, channels, rows, cols]
        d_log_scale = -((d_out * y).sum(dim=0).sum(dim=(1, 2)) * exp)  # [channels]
        return {"shift": d_shift, "log_scale": d_log_scale}, d_y


def fitted(layer, x):
    """With it the first batch comes out with mean 0 and variance 1.

    x [n, layer.channels, rows, cols] -> ActNorm
    """
    return layer.at({"shift": -x.mean(dim=(0, 2, 3)), "log_scale": -torch.log(std(x) + 1e-6)})  # glow.lee:28


def fitted_saved(layer, x):
    """As fitted, and what its gradient needs."""
    sqrt_, saved_std = std_saved(x)  # glow.lee:28
    add = sqrt_ + 1e-6  # [layer.channels]
    return layer.at({"shift": -x.mean(dim=(0, 2, 3)), "log_scale": -torch.log(add)}), (sqrt_, saved_std, add)


def fitted_backward_input(saved, d_actnorm):
    """From d_actnorm to the gradient by x."""
    sqrt_, saved_std, add = saved
    n, _, rows, cols = saved_std[1].shape
    # gradient of layer.log_scale = -log(std(x, over = (n, rows, cols)) + 1e-6)   glow.lee:28
    d_x_2 = std_backward(saved_std, sqrt_, 0, -(d_actnorm["log_scale"] / add))  # [n, layer.channels, rows, cols]
    # gradient of layer.shift = -mean(x, over = (n, rows, cols))   glow.lee:27
    div_3 = -d_actnorm["shift"] / (cols * n * rows)  # [layer.channels]
    d_x = d_x_2 + div_3[None, :, None, None]  # [n, layer.channels, rows, cols]
    return d_x  # [n, layer.channels, rows, cols]


class Invertible(Model):
    """A matrix for the channels of each pixel, at first a rotation."""

    members = ("weight",)

    def __init__(self, channels, *, key=(0, 0)):
        super().__init__()
        self.channels = channels
        key_2 = fold(key, SITES["weight"])  # glow.lee:34
        weight, _ = qr(normal(key_2, (channels, channels), FLOAT))
        self.weight = torch.nn.Parameter(weight.clone())  # [channels, channels]

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], []"""
        n, _, rows, cols = x.shape
        contract = self.weight @ x.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:37
        y = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        _, log_abs = torch.linalg.slogdet(self.weight)  # glow.lee:38
        return y, cols * rows * log_abs  # glow.lee:39

    def forward_backward(self, x, d_y, d_y_):
        """From d_y and d_y to the gradients by the parameters and x."""
        n, _, rows, cols = x.shape
        # gradient of return y, rows * cols * log_abs   glow.lee:39
        d_log_abs = d_y_ * (cols * rows)
        # gradient of y[b, o, i, j] = sum[c](weight[o, c] * x[b, c, i, j])   glow.lee:37
        reshape = d_y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]
        contract = reshape @ x.reshape(n, self.channels, cols * rows).mT  # [n, channels, channels]
        d_x = (self.weight.T @ reshape).reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        d_weight = d_log_abs * torch.linalg.inv(self.weight).T + contract.sum(dim=0)  # [channels, channels]
        return {"weight": d_weight}, d_x

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        n, _, rows, cols = y.shape
        back = torch.linalg.inv(self.weight)  # [channels, channels]  glow.lee:42
        contract = back @ y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:43
        x = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return x  # [n, channels, rows, cols]

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        n, _, rows, cols = y.shape
        back = torch.linalg.inv(self.weight)  # [channels, channels]  glow.lee:42
        contract = back @ y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:43
        x = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return x, back

    @staticmethod
    def inverse_backward(y, back, d_x):
        """From d_x to the gradients by the parameters and y."""
        n, channels, rows, cols = y.shape
        # gradient of x[b, o, i, j] = sum[c](back[o, c] * y[b, c, i, j])   glow.lee:43
        reshape = d_x.reshape(n, channels, cols * rows)  # [n, channels, cols * rows]
        d_back = (reshape @ y.reshape(n, channels, cols * rows).mT).sum(dim=0)  # [channels, channels]
        d_y = (back.T @ reshape).reshape(n, channels, rows, cols)  # [n, channels, rows, cols]
        # gradient of back = inv(weight)   glow.lee:42
        d_weight = -(back.T @ d_back @ back.T)  # [channels, channels]
        return {"weight": d_weight}, d_y


class InvertibleLU(Model):
    """The same matrix as P L (U + diag s): its determinant is the product of s."""

    members = ("order", "direction", "lower", "upper", "log_s")

    def __init__(self, channels, *, key=(0, 0)):
        super().__init__()
        self.channels = channels
        key_2 = fold(key, SITES["start"])  # glow.lee:49
        start, _ = qr(normal(key_2, (channels, channels), FLOAT))
        order, lu_2, lu_3 = lu(start)  # glow.lee:50
        entries = diag(lu_3)  # [channels]  glow.lee:52
        self.register_buffer("order", order.clone())  # int[channels]  glow.lee:51
        self.register_buffer("direction", torch.sign(entries))  # [channels]  glow.lee:52
        self.lower = torch.nn.Parameter(lu_2.clone())  # [channels, channels]  glow.lee:50
        self.upper = torch.nn.Parameter(lu_3.clone())  # [channels, channels]
        self.log_s = torch.nn.Parameter(torch.log(torch.abs(entries)))  # [channels]  glow.lee:55

    def weight(self):
        i = torch.arange(self.channels, device=self.order.device)  # int[channels]  glow.lee:58
        reshape = i[:, None]  # int[channels, 1]
        eq = reshape == i  # bool[channels, channels]
        l = torch.where(reshape > i, self.lower, eq.to(FLOAT))  # [channels, channels]
        lt = reshape < i  # bool[channels, channels]  glow.lee:59
        logical_and = ~lt & eq  # bool[channels, channels]
        reshape_2 = self.log_s[:, None]  # [channels, 1]
        guard = torch.where(logical_and, reshape_2, reshape_2.detach())  # [channels, channels]
        reshape_3 = self.direction[:, None]  # [channels, 1]
        guard_2 = torch.where(logical_and, reshape_3, reshape_3.detach())  # [channels, channels]
        u = torch.where(lt, self.upper, torch.where(eq, guard_2 * torch.exp(guard), 0))  # [channels, channels]
        return (l @ u)[self.order]  # [channels, channels]  glow.lee:60

    def weight_saved(self):
        """As weight, and what its gradient needs."""
        i = torch.arange(self.channels, device=self.order.device)  # int[channels]  glow.lee:58
        reshape = i[:, None]  # int[channels, 1]
        gt = reshape > i  # bool[channels, channels]
        eq = reshape == i  # bool[channels, channels]
        l = torch.where(gt, self.lower, eq.to(FLOAT))  # [channels, channels]
        lt = reshape < i  # bool[channels, channels]  glow.lee:59
        exp_2 = torch.exp(self.log_s[:, None])  # [channels, 1]
        select = torch.where(eq, self.direction[:, None] * exp_2, 0)  # [channels, channels]
        u = torch.where(lt, self.upper, select)  # [channels, channels]
        saved = gt, eq, l, lt, ~lt & eq, exp_2.expand(self.channels, self.channels), u
        return (l @ u)[self.order], saved  # glow.lee:60

    def weight_backward(self, saved, d_y):
        """From d_y to the gradient by the parameters."""
        gt, eq, l, lt, logical_and, exp, u = saved
        # gradient of return (l @ u)[order]   glow.lee:60
        d_contract = scatter_add(d_y, (self.order,), (self.channels, self.channels))  # [channels, channels]
        d_l = d_contract @ u.T  # [channels, channels]
        d_u = l.T @ d_contract  # [channels, channels]
        # gradient of u[i, j] = where(i < j, upper[i, j], where(i == j, direction[i] * exp(log_s[i]..   glow.lee:59
        d_upper = torch.where(lt, d_u, 0)  # [channels, channels]
        mul_2 = d_u * self.direction[:, None] * exp  # [channels, channels]
        select_2 = torch.where(eq, torch.where(logical_and, mul_2, 0), 0)  # [channels, channels]
        d_log_s = torch.where(lt, 0, select_2).sum(dim=1)  # [channels]
        # gradient of l[i, j] = where(i > j, lower[i, j], float(i == j))   glow.lee:58
        d_lower = torch.where(gt, d_l, 0)  # [channels, channels]
        return {"lower": d_lower, "upper": d_upper, "log_s": d_log_s}

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], []"""
        n, _, rows, cols = x.shape
        a = self.weight()  # [channels, channels]  glow.lee:63
        contract = a @ x.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:64
        y = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return y, cols * rows * self.log_s.sum()  # glow.lee:65

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, rows, cols = x.shape
        a, saved_self = self.weight_saved()  # glow.lee:63
        contract = a @ x.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:64
        y = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return y, cols * rows * self.log_s.sum(), (a, saved_self)  # glow.lee:65

    def forward_backward(self, x, saved, d_y, d_y_):
        """From d_y and d_y to the gradients by the parameters and x."""
        a, saved_self = saved
        n, _, rows, cols = x.shape
        # gradient of y[b, o, i, j] = sum[c](a[o, c] * x[b, c, i, j])   glow.lee:64
        reshape = d_y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]
        d_a = (reshape @ x.reshape(n, self.channels, cols * rows).mT).sum(dim=0)  # [channels, channels]
        d_x = (a.T @ reshape).reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        # gradient of a = weight()   glow.lee:63
        d_invertiblelu = self.weight_backward(saved_self, d_a)
        d_log_s = d_y_ * (cols * rows) + d_invertiblelu["log_s"]  # [channels]
        return {"lower": d_invertiblelu["lower"], "upper": d_invertiblelu["upper"], "log_s": d_log_s}, d_x

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        n, _, rows, cols = y.shape
        back = torch.linalg.inv(self.weight())  # [channels, channels]  glow.lee:68
        contract = back @ y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:69
        x = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return x  # [n, channels, rows, cols]

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        n, _, rows, cols = y.shape
        gather, saved_self = self.weight_saved()  # glow.lee:68
        back = torch.linalg.inv(gather)  # [channels, channels]
        contract = back @ y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:69
        x = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return x, (saved_self, back)

    def inverse_backward(self, y, saved, d_x):
        """From d_x to the gradients by the parameters and y."""
        saved_self, back = saved
        n, _, rows, cols = y.shape
        # gradient of x[b, o, i, j] = sum[c](back[o, c] * y[b, c, i, j])   glow.lee:69
        reshape = d_x.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]
        d_back = (reshape @ y.reshape(n, self.channels, cols * rows).mT).sum(dim=0)  # [channels, channels]
        d_y = (back.T @ reshape).reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        # gradient of back = inv(weight())   glow.lee:68
        d_invertiblelu = self.weight_backward(saved_self, -(back.T @ d_back @ back.T))
        return d_invertiblelu, d_y


class ChannelCoupling(Model):
    """Half of the channels says how the other half is scaled and shifted."""

    members = ("inner", "outer")

    def __init__(self, channels, hidden=64, *, key=(0, 0)):
        super().__init__()
        self.channels, self.hidden = channels, hidden
        if channels % 2 != 0:
            raise ValueError(f"glow.lee:75: channels % 2 == 0 must hold: channels = {channels}")
        self.inner = Conv(channels // 2, hidden, padding=1, key=fold(key, SITES["inner"]))  # glow.lee:76
        self.outer = Conv(hidden, channels, padding=1, key=fold(key, SITES["outer"]))  # glow.lee:77

    def change(self, a):
        """a [n, channels // 2, rows, cols] -> [n, channels // 2, rows, cols], [n, channels - channels // 2, rows,
        cols]
        """
        h = self.outer(relu(self.inner(a)))  # [n, channels, rows, cols]  glow.lee:80
        return torch.tanh(h[:, : self.channels // 2]), h[:, self.channels // 2 :]  # glow.lee:81

    def change_saved(self, a):
        """As change, and what its gradient needs."""
        select = relu(self.inner(a))  # [n, hidden, rows, cols]  glow.lee:80
        h = self.outer(select)  # [n, channels, rows, cols]
        return torch.tanh(h[:, : self.channels // 2]), h[:, self.channels // 2 :], select  # glow.lee:81

    def change_backward(self, a, select, tanh, d_tanh, d_slice_2):
        """From d_tanh and d_slice_2 to the gradients by the parameters and a."""
        # gradient of h = outer(relu(inner(a)))   glow.lee:80
        d_h = torch.cat((d_tanh * (1 - tanh**2), d_slice_2), dim=1)  # [n, channels, rows, cols]
        d_outer, d_select = self.outer.forward_backward(select, d_h)
        d_inner, d_a = self.inner.forward_backward(a, relu_backward(select, d_select))
        return {"inner": d_inner, "outer": d_outer}, d_a

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], [n]"""
        n, _, rows, cols = x.shape
        a = x[:, : self.channels // 2]  # [n, channels // 2, rows, cols]  glow.lee:84
        s, t = self.change(a)  # glow.lee:85
        exp_s = torch.exp(s)  # [n, channels // 2, rows, cols]  glow.lee:86
        # [n, channels - channels // 2, rows, cols]
        reshape = exp_s.reshape(n, self.channels - self.channels // 2, rows, cols)
        add = x[:, self.channels // 2 :] * reshape + t  # [n, channels - channels // 2, rows, cols]
        return torch.cat((a, add), dim=1), s.sum(dim=(1, 2, 3))

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, rows, cols = x.shape
        a = x[:, : self.channels // 2]  # [n, channels // 2, rows, cols]  glow.lee:84
        s, t, saved_self = self.change_saved(a)  # glow.lee:85
        exp_s = torch.exp(s)  # [n, channels // 2, rows, cols]  glow.lee:86
        # [n, channels - channels // 2, rows, cols]
        reshape = exp_s.reshape(n, self.channels - self.channels // 2, rows, cols)
        add = x[:, self.channels // 2 :] * reshape + t  # [n, channels - channels // 2, rows, cols]
        return torch.cat((a, add), dim=1), s.sum(dim=(1, 2, 3)), (s, saved_self, exp_s)

    def forward_backward(self, x, saved, d_concat, d_sum):
        """From d_concat and d_sum to the gradients by the parameters and x."""
        s, saved_self, exp_s = saved
        n, _, rows, cols = x.shape
        # gradient of a = x[:, : channels // 2]   glow.lee:84
        a = x[:, : self.channels // 2]  # [n, channels // 2, rows, cols]
        # [n, channels - channels // 2, rows, cols]
        reshape = exp_s.reshape(n, self.channels - self.channels // 2, rows, cols)
        # gradient of return concat(a, x[:, channels // 2 :] * exp(s) + t, axis = 1), sum(s, axis =..   glow.lee:86
        d_t = d_concat[:, self.channels // 2 :]  # [n, channels - channels // 2, rows, cols]
        d_reshape = d_t * x[:, self.channels // 2 :]  # [n, channels - channels // 2, rows, cols]
        d_s_3 = d_reshape.reshape(n, self.channels // 2, rows, cols) * exp_s  # [n, channels // 2, rows, cols]
        # gradient of s, t = change(a)   glow.lee:85
        d_s = d_sum[:, None, None, None] + d_s_3  # [n, channels // 2, rows, cols]
        d_channelcoupling, d_a_3 = self.change_backward(a, saved_self, s, d_s, d_t)
        # gradient of a = x[:, : channels // 2]   glow.lee:84
        d_a = d_concat[:, : self.channels // 2] + d_a_3  # [n, channels // 2, rows, cols]
        d_x = torch.cat((d_a, d_t * reshape), dim=1)  # [n, channels, rows, cols]
        return d_channelcoupling, d_x

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        n, _, rows, cols = y.shape
        a = y[:, : self.channels // 2]  # [n, channels // 2, rows, cols]  glow.lee:89
        s, t = self.change(a)  # glow.lee:90
        exp = torch.exp(-s)  # [n, channels // 2, rows, cols]  glow.lee:91
        # [n, channels - channels // 2, rows, cols]
        reshape = exp.reshape(n, self.channels - self.channels // 2, rows, cols)
        mul = (y[:, self.channels // 2 :] - t) * reshape  # [n, channels - channels // 2, rows, cols]
        return torch.cat((a, mul), dim=1)  # [n, channels, rows, cols]

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        n, _, rows, cols = y.shape
        a = y[:, : self.channels // 2]  # [n, channels // 2, rows, cols]  glow.lee:89
        s, t, saved_self = self.change_saved(a)  # glow.lee:90
        sub = y[:, self.channels // 2 :] - t  # [n, channels - channels // 2, rows, cols]  glow.lee:91
        exp = torch.exp(-s)  # [n, channels // 2, rows, cols]
        # [n, channels - channels // 2, rows, cols]
        reshape = exp.reshape(n, self.channels - self.channels // 2, rows, cols)
        return torch.cat((a, sub * reshape), dim=1), (s, saved_self, sub, exp)

    def inverse_backward(self, y, saved, d_out):
        """From d_out to the gradients by the parameters and y."""
        s, saved_self, sub, exp = saved
        n, _, rows, cols = y.shape
        # gradient of a = y[:, : channels // 2]   glow.lee:89
        a = y[:, : self.channels // 2]  # [n, channels // 2, rows, cols]
        # [n, channels - channels // 2, rows, cols]
        reshape = exp.reshape(n, self.channels - self.channels // 2, rows, cols)
        # gradient of return concat(a, (y[:, channels // 2 :] - t) * exp(-s), axis = 1)   glow.lee:91
        d_mul = d_out[:, self.channels // 2 :]  # [n, channels - channels // 2, rows, cols]
        d_sub = d_mul * reshape  # [n, channels - channels // 2, rows, cols]
        d_exp = (d_mul * sub).reshape(n, self.channels // 2, rows, cols)  # [n, channels // 2, rows, cols]
        d_s = -(d_exp * exp)  # [n, channels // 2, rows, cols]
        d_t = -d_sub  # [n, channels - channels // 2, rows, cols]
        # gradient of s, t = change(a)   glow.lee:90
        d_channelcoupling, d_a_3 = self.change_backward(a, saved_self, s, d_s, d_t)
        # gradient of a = y[:, : channels // 2]   glow.lee:89
        d_a = d_out[:, : self.channels // 2] + d_a_3  # [n, channels // 2, rows, cols]
        d_y = torch.cat((d_a, d_sub), dim=1)  # [n, channels, rows, cols]
        return d_channelcoupling, d_y


class Step(Model):
    """Step(channels, hidden)"""

    members = ("norm1", "mix", "couple")

    def __init__(self, channels, hidden=64, *, key=(0, 0)):
        super().__init__()
        self.channels, self.hidden = channels, hidden
        self.norm1 = ActNorm(channels)  # glow.lee:95
        self.mix = InvertibleLU(channels, key=fold(key, SITES["mix"]))  # glow.lee:96
        self.couple = ChannelCoupling(channels, hidden=hidden, key=fold(key, SITES["couple"]))  # glow.lee:97

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], [n]"""
        x_2, one = self.norm1(x)  # glow.lee:100
        x_3, two = self.mix(x_2)  # glow.lee:101
        x_4, three = self.couple(x_3)  # glow.lee:102
        return x_4, one + two + three  # glow.lee:103

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2, one, saved_norm1 = self.norm1.forward_saved(x)  # glow.lee:100
        x_3, two, saved_mix = self.mix.forward_saved(x_2)  # glow.lee:101
        x_4, three, saved_couple = self.couple.forward_saved(x_3)  # glow.lee:102
        return x_4, one + two + three, (x_2, saved_norm1, x_3, saved_mix, saved_couple)  # glow.lee:103

    def forward_backward(self, saved, d_x_4, d_y):
        """From d_x_4 and d_y to the gradients by the parameters and x."""
        x_2, saved_norm1, x_3, saved_mix, saved_couple = saved
        # gradient of return x, one + two + three   glow.lee:103
        d_two = d_y.sum()
        # gradient of x, three = couple(x)   glow.lee:102
        d_couple, d_x_3 = self.couple.forward_backward(x_3, saved_couple, d_x_4, d_y)
        # gradient of x, two = mix(x)   glow.lee:101
        d_mix, d_x_2 = self.mix.forward_backward(x_2, saved_mix, d_x_3, d_two)
        # gradient of x, one = norm1(x)   glow.lee:100
        d_norm1, d_x = ActNorm.forward_backward(saved_norm1, d_x_2, d_two)
        return {"norm1": d_norm1, "mix": d_mix, "couple": d_couple}, d_x

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        return self.norm1.inverse(self.mix.inverse(self.couple.inverse(y)))  # [n, channels, rows, cols]  glow.lee:106

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        concat, saved_couple = self.couple.inverse_saved(y)  # glow.lee:106
        mix_out, saved_mix = self.mix.inverse_saved(concat)
        sub, saved_norm1 = self.norm1.inverse_saved(mix_out)
        return sub, (concat, saved_couple, mix_out, saved_mix, saved_norm1)

    def inverse_backward(self, y, saved, d_out):
        """From d_out to the gradients by the parameters and y."""
        concat, saved_couple, mix_out, saved_mix, saved_norm1 = saved
        # gradient of return norm1.inverse(mix.inverse(couple.inverse(y)))   glow.lee:106
        d_norm1, d_mix_out = ActNorm.inverse_backward(mix_out, saved_norm1, d_out)
        d_mix, d_concat = self.mix.inverse_backward(concat, saved_mix, d_mix_out)
        d_couple, d_y = self.couple.inverse_backward(y, saved_couple, d_concat)
        return {"norm1": d_norm1, "mix": d_mix, "couple": d_couple}, d_y


class Glow_2(Model):
    """Glow_2(channels, hidden)"""

    members = ("norm0", "steps")

    def __init__(self, channels, hidden=32, *, key=(0, 0)):
        super().__init__()
        self.channels, self.hidden = channels, hidden
        self.norm0 = ActNorm(channels)  # glow.lee:110
        # glow.lee:111
        self.steps = torch.nn.ModuleList(
            [
                Step(channels, hidden=hidden, key=fold(key, SITES["steps.0"])),
                Step(channels, hidden=hidden, key=fold(key, SITES["steps.1"])),
            ]
        )

    def forward(self, x):
        """From images to codes, and log |det J| for each.

        x [n, channels, rows, cols] -> [n, channels, rows, cols], [n]
        """
        x_2, first = self.norm0(x)  # glow.lee:115
        x_3, more = self.steps[0](x_2)  # glow.lee:118
        total_2 = first + more  # [n]  glow.lee:119
        x_5, more_2 = self.steps[1](x_3)  # glow.lee:118
        total_3 = total_2 + more_2  # [n]  glow.lee:119
        return x_5, total_3

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2, first, saved_norm0 = self.norm0.forward_saved(x)  # glow.lee:115
        x_3, more, saved_steps_0_ = self.steps[0].forward_saved(x_2)  # glow.lee:118
        total_2 = first + more  # [n]  glow.lee:119
        x_5, more_2, saved_steps_1_ = self.steps[1].forward_saved(x_3)  # glow.lee:118
        total_3 = total_2 + more_2  # [n]  glow.lee:119
        return x_5, total_3, (saved_norm0, saved_steps_0_, saved_steps_1_)

    def forward_backward(self, saved, d_x_5, d_total_3):
        """From d_x_5 and d_total_3 to the gradients by the parameters and x."""
        saved_norm0, saved_steps_0_, saved_steps_1_ = saved
        # gradient of x, more = step(x)   glow.lee:118
        d_steps_1_, d_x_3 = self.steps[1].forward_backward(saved_steps_1_, d_x_5, d_total_3)
        # gradient of total = total + more   glow.lee:119
        d_first = d_total_3.sum()
        # gradient of x, more = step(x)   glow.lee:118
        d_steps_0_, d_x_2 = self.steps[0].forward_backward(saved_steps_0_, d_x_3, d_total_3)
        # gradient of x, first = norm0(x)   glow.lee:115
        d_norm0, d_x = ActNorm.forward_backward(saved_norm0, d_x_2, d_first)
        return {"norm0": d_norm0, "steps.0": d_steps_0_, "steps.1": d_steps_1_}, d_x

    def inverse(self, z):
        """From codes to images.

        z [n, channels, rows, cols] -> [n, channels, rows, cols]
        """
        z_2 = self.steps[1].inverse(z)  # [n, channels, rows, cols]  glow.lee:125
        z_3 = self.steps[0].inverse(z_2)  # [n, channels, rows, cols]
        return self.norm0.inverse(z_3)  # [n, channels, rows, cols]  glow.lee:126

    def inverse_saved(self, z):
        """As inverse, and what its gradient needs."""
        z_2, saved_steps_1_ = self.steps[1].inverse_saved(z)  # glow.lee:125
        z_3, saved_steps_0_ = self.steps[0].inverse_saved(z_2)
        sub, saved_norm0 = self.norm0.inverse_saved(z_3)  # glow.lee:126
        return sub, (z_2, saved_steps_1_, z_3, saved_steps_0_, saved_norm0)

    def inverse_backward(self, z, saved, d_y):
        """From d_y to the gradients by the parameters and z."""
        z_2, saved_steps_1_, z_3, saved_steps_0_, saved_norm0 = saved
        # gradient of return norm0.inverse(z)   glow.lee:126
        d_norm0, d_z_3 = ActNorm.inverse_backward(z_3, saved_norm0, d_y)
        # gradient of z = step.inverse(z)   glow.lee:125
        d_steps_0_, d_z_2 = self.steps[0].inverse_backward(z_2, saved_steps_0_, d_z_3)
        d_steps_1_, d_z = self.steps[1].inverse_backward(z, saved_steps_1_, d_z_2)
        return {"norm0": d_norm0, "steps.0": d_steps_0_, "steps.1": d_steps_1_}, d_z


class Glow_3(Model):
    """Glow_3(channels, hidden)"""

    members = ("norm0", "steps")

    def __init__(self, channels, hidden=32, *, key=(0, 0)):
        super().__init__()
        self.channels, self.hidden = channels, hidden
        self.norm0 = ActNorm(channels)  # glow.lee:110
        # glow.lee:111
        self.steps = torch.nn.ModuleList(
            [
                Step(channels, hidden=hidden, key=fold(key, SITES["steps.0"])),
                Step(channels, hidden=hidden, key=fold(key, SITES["steps.1"])),
                Step(channels, hidden=hidden, key=fold(key, SITES["steps.2"])),
                Step(channels, hidden=hidden, key=fold(key, SITES["steps.3"])),
            ]
        )

    def forward(self, x):
        """From images to codes, and log |det J| for each.

        x [n, channels, rows, cols] -> [n, channels, rows, cols], [n]
        """
        x_2, first = self.norm0(x)  # glow.lee:115
        x_3, more = self.steps[0](x_2)  # glow.lee:118
        total_2 = first + more  # [n]  glow.lee:119
        x_5, more_2 = self.steps[1](x_3)  # glow.lee:118
        total_3 = total_2 + more_2  # [n]  glow.lee:119
        x_6, more_3 = self.steps[2](x_5)  # glow.lee:118
        total_4 = total_3 + more_3  # [n]  glow.lee:119
        x_7, more_4 = self.steps[3](x_6)  # glow.lee:118
        total_5 = total_4 + more_4  # [n]  glow.lee:119
        return x_7, total_5

    def inverse(self, z):
        """From codes to images.

        z [n, channels, rows, cols] -> [n, channels, rows, cols]
        """
        z_2 = self.steps[3].inverse(z)  # [n, channels, rows, cols]  glow.lee:125
        z_3 = self.steps[2].inverse(z_2)  # [n, channels, rows, cols]
        z_4 = self.steps[1].inverse(z_3)  # [n, channels, rows, cols]
        z_5 = self.steps[0].inverse(z_4)  # [n, channels, rows, cols]
        return self.norm0.inverse(z_5)  # [n, channels, rows, cols]  glow.lee:126


def likelihood_saved(net, x):
    """As likelihood, and what its gradient needs."""
    _, _, rows, cols = x.shape
    z, log_det, saved_net = net.forward_saved(x)  # glow.lee:131
    prior = -0.5 * (z**2 + 1.8378770664093453).sum(dim=(1, 2, 3))  # [n]  glow.lee:132
    return -((prior + log_det).mean() / (cols * net.channels * rows)), (z, saved_net)  # glow.lee:133


def likelihood_backward(net, saved, d_div):
    """From d_div to the gradients by net and x."""
    z, saved_net = saved
    n, _, rows, cols = z.shape
    # gradient of return -mean(prior + log_det) / (c * rows * cols)   glow.lee:133
    neg = -(d_div / (cols * net.channels * rows) / n)
    d_prior = neg.expand(n)  # [n]
    # gradient of z, log_det = net(x)   glow.lee:131
    d_z = 2 * (neg * -0.5) * z  # [n, net.channels, rows, cols]
    d_net, d_x = net.forward_backward(saved_net, d_z, d_prior)
    return d_net, d_x


def likelihood_2(net, x):
    """-log p(x) for each number of an image, under a normal distribution of codes.

    x [n, net.channels, rows, cols] -> []
    """
    _, _, rows, cols = x.shape
    z, log_det = net(x)  # glow.lee:131
    prior = -0.5 * (z**2 + 1.8378770664093453).sum(dim=(1, 2, 3))  # [n]  glow.lee:132
    return -((prior + log_det).mean() / (cols * net.channels * rows))  # glow.lee:133


def squeezed(image):
    """Blocks of 2 × 2 pixels become channels.

    image [n, side, side] -> [n, 4, side // 2, side // 2]
    """
    side = image.shape[1]
    if side % 2 != 0:
        raise ValueError(f"glow.lee:138: side % 2 == 0 must hold: side = {side}")
    k = torch.arange(4, device=image.device)  # int[4]  glow.lee:139
    mul = torch.arange(side // 2, device=image.device) * 2  # int[side // 2]
    reshape_3 = (mul + (k // 2)[:, None])[:, :, None]  # int[4, side // 2, 1]
    reshape_4 = (mul + (k % 2)[:, None])[:, None]  # int[4, 1, side // 2]
    y = image.permute((1, 2, 0))[reshape_3, reshape_4].permute(3, 0, 1, 2)  # [n, 4, side // 2, side // 2]
    return y  # [n, 4, side // 2, side // 2]


def squeezed_saved(image):
    """As squeezed, and what its gradient needs."""
    side = image.shape[1]
    if side % 2 != 0:
        raise ValueError(f"glow.lee:138: side % 2 == 0 must hold: side = {side}")
    k = torch.arange(4, device=image.device)  # int[4]  glow.lee:139
    mul = torch.arange(side // 2, device=image.device) * 2  # int[side // 2]
    reshape_3 = (mul + (k // 2)[:, None])[:, :, None]  # int[4, side // 2, 1]
    reshape_4 = (mul + (k % 2)[:, None])[:, None]  # int[4, 1, side // 2]
    y = image.permute((1, 2, 0))[reshape_3, reshape_4].permute(3, 0, 1, 2)  # [n, 4, side // 2, side // 2]
    return y, (reshape_3, reshape_4)


def squeezed_backward(saved, side, d_y):
    """From d_y to the gradient by image."""
    reshape_3, reshape_4 = saved
    n = d_y.shape[0]
    # gradient of y[b, k in 4, i in side // 2, j in side // 2] = image[b, 2*i + k // 2, 2*j + k..   glow.lee:139
    d_gather = d_y.permute(1, 2, 3, 0)  # [4, side // 2, side // 2, n]
    d_image = scatter_add(d_gather, (reshape_3, reshape_4), (n, side, side), (1, 2))  # [n, side, side]
    return d_image  # [n, side, side]


def continuous(x, u):
    """Of 17 grey levels, spread by uniform noise, numbers around 0: a density of these bounds the chance of a level.

    x [x_0, x_1, x_2], u [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return (16 * x + u) / 17 - 0.5  # [x_0, x_1, x_2]  glow.lee:145


def continuous_backward(d_y):
    """From d_y to the gradients by x and u."""
    # gradient of return (16 * x + u) / 17 - 0.5   glow.lee:145
    d_u = d_y / 17  # [x_0, x_1, x_2]
    d_x = d_u * 16  # [x_0, x_1, x_2]
    return d_x, d_u


def bits_(nats):
    """log₂ for each pixel, of 17 levels that `continuous` made 1/17 apart: 4.09 if all of them were alike."""
    return nats / 0.6931471805599453 + 4.08746284125034  # glow.lee:150


def bits_backward(d_y):
    """From d_y to the gradient by nats."""
    # gradient of return nats / log(2) + log(17) / log(2)   glow.lee:150
    d_nats = d_y / 0.6931471805599453
    return d_nats


@torch.no_grad()
def fit(epochs=12, batch=64, rate=3e-3, *, run=None):
    """Digits, in bits a pixel."""
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 8, 8)), "y": ("int", ("n",))},
    )
    net = Glow_3(channels=4, key=run.key("net")).to(run.session.place.device)  # glow.lee:156
    fit_net(data.train.x, net, key=run.key("fit"))  # glow.lee:157
    opt = Adam(lr=rate)  # glow.lee:159
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, __ in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, run.key("fit")))  # glow.lee:162
        y, z = fit_y_z(data.test.x, net, key=run.key("fit"))  # glow.lee:164
        reported_bits, reported_astray = fit_bits_astray(net, y, z)  # glow.lee:167
        run.report(bits=reported_bits, astray=reported_astray)  # glow.lee:167
    return net


def fit_net(data_train_x, net, key):
    data_train_n = data_train_x.shape[0]
    key_2 = fold(key, SITES["u"])  # glow.lee:157
    u = uniform(key_2, (data_train_n, 8, 8), FLOAT, data_train_x.device)  # [data_train_n, 8, 8]
    actnorm = fitted(net.norm0, squeezed(continuous(data_train_x, u)))  # glow.lee:158
    with torch.no_grad():
        net.norm0.shift.copy_(actnorm.shift)  # [4]
        net.norm0.log_scale.copy_(actnorm.log_scale)  # [4]


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.norm0.shift",
        "net.norm0.log_scale",
        "net.steps.0.norm1.shift",
        "net.steps.0.norm1.log_scale",
        "net.steps.0.mix.order",
        "net.steps.0.mix.direction",
        "net.steps.0.mix.lower",
        "net.steps.0.mix.upper",
        "net.steps.0.mix.log_s",
        "net.steps.0.couple.inner.kernel",
        "net.steps.0.couple.inner.bias",
        "net.steps.0.couple.outer.kernel",
        "net.steps.0.couple.outer.bias",
        "net.steps.1.norm1.shift",
        "net.steps.1.norm1.log_scale",
        "net.steps.1.mix.order",
        "net.steps.1.mix.direction",
        "net.steps.1.mix.lower",
        "net.steps.1.mix.upper",
        "net.steps.1.mix.log_s",
        "net.steps.1.couple.inner.kernel",
        "net.steps.1.couple.inner.bias",
        "net.steps.1.couple.outer.kernel",
        "net.steps.1.couple.outer.bias",
        "net.steps.2.norm1.shift",
        "net.steps.2.norm1.log_scale",
        "net.steps.2.mix.order",
        "net.steps.2.mix.direction",
        "net.steps.2.mix.lower",
        "net.steps.2.mix.upper",
        "net.steps.2.mix.log_s",
        "net.steps.2.couple.inner.kernel",
        "net.steps.2.couple.inner.bias",
        "net.steps.2.couple.outer.kernel",
        "net.steps.2.couple.outer.bias",
        "net.steps.3.norm1.shift",
        "net.steps.3.norm1.log_scale",
        "net.steps.3.mix.order",
        "net.steps.3.mix.direction",
        "net.steps.3.mix.lower",
        "net.steps.3.mix.upper",
        "net.steps.3.mix.log_s",
        "net.steps.3.couple.inner.kernel",
        "net.steps.3.couple.inner.bias",
        "net.steps.3.couple.outer.kernel",
        "net.steps.3.couple.outer.bias",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 2 * (-(1.0 / 64 / batches_n) * -0.5), 1.0 / 64 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, key, t):
        norm0_shift, norm0_log_scale, steps_0_norm1_shift, steps_0_norm1_log_scale = self.tensors[:4]
        steps_0_mix_order, steps_0_mix_direction, steps_0_mix_lower, steps_0_mix_upper = self.tensors[4:8]
        steps_0_mix_log_s, steps_0_couple_inner_kernel, steps_0_couple_inner_bias = self.tensors[8:11]
        steps_0_couple_outer_kernel, steps_0_couple_outer_bias, steps_1_norm1_shift = self.tensors[11:14]
        steps_1_norm1_log_scale, steps_1_mix_order, steps_1_mix_direction, steps_1_mix_lower = self.tensors[14:18]
        steps_1_mix_upper, steps_1_mix_log_s, steps_1_couple_inner_kernel = self.tensors[18:21]
        steps_1_couple_inner_bias, steps_1_couple_outer_kernel, steps_1_couple_outer_bias = self.tensors[21:24]
        steps_2_norm1_shift, steps_2_norm1_log_scale, steps_2_mix_order = self.tensors[24:27]
        steps_2_mix_direction, steps_2_mix_lower, steps_2_mix_upper, steps_2_mix_log_s = self.tensors[27:31]
        steps_2_couple_inner_kernel, steps_2_couple_inner_bias, steps_2_couple_outer_kernel = self.tensors[31:34]
        steps_2_couple_outer_bias, steps_3_norm1_shift, steps_3_norm1_log_scale = self.tensors[34:37]
        steps_3_mix_order, steps_3_mix_direction, steps_3_mix_lower, steps_3_mix_upper = self.tensors[37:41]
        steps_3_mix_log_s, steps_3_couple_inner_kernel, steps_3_couple_inner_bias = self.tensors[41:44]
        steps_3_couple_outer_kernel, steps_3_couple_outer_bias = self.tensors[44:]
        d_norm0_shift, d_norm0_log_scale, d_steps_0_norm1_shift, d_steps_0_norm1_log_scale = self.gradients[:4]
        d_steps_0_mix_lower, d_steps_0_mix_upper, d_steps_0_mix_log_s = self.gradients[4:7]
        d_steps_0_couple_inner_kernel, d_steps_0_couple_inner_bias = self.gradients[7:9]
        d_steps_0_couple_outer_kernel, d_steps_0_couple_outer_bias, d_steps_1_norm1_shift = self.gradients[9:12]
        d_steps_1_norm1_log_scale, d_steps_1_mix_lower, d_steps_1_mix_upper = self.gradients[12:15]
        d_steps_1_mix_log_s, d_steps_1_couple_inner_kernel, d_steps_1_couple_inner_bias = self.gradients[15:18]
        d_steps_1_couple_outer_kernel, d_steps_1_couple_outer_bias, d_steps_2_norm1_shift = self.gradients[18:21]
        d_steps_2_norm1_log_scale, d_steps_2_mix_lower, d_steps_2_mix_upper = self.gradients[21:24]
        d_steps_2_mix_log_s, d_steps_2_couple_inner_kernel, d_steps_2_couple_inner_bias = self.gradients[24:27]
        d_steps_2_couple_outer_kernel, d_steps_2_couple_outer_bias, d_steps_3_norm1_shift = self.gradients[27:30]
        d_steps_3_norm1_log_scale, d_steps_3_mix_lower, d_steps_3_mix_upper = self.gradients[30:33]
        d_steps_3_mix_log_s, d_steps_3_couple_inner_kernel, d_steps_3_couple_inner_bias = self.gradients[33:36]
        d_steps_3_couple_outer_kernel, d_steps_3_couple_outer_bias = self.gradients[36:]
        batches_n = x.shape[0]
        count, scale, scale_ = self.held(batches_n)
        u = uniform(fold(key, SITES["u#2"]), (batches_n, 8, 8), FLOAT, x.device)  # [batches_n, 8, 8]  glow.lee:162
        k = torch.arange(4, device=x.device)  # int[4]  glow.lee:139
        mul_2 = k * 2  # int[4]
        reshape_3 = (mul_2 + (k // 2)[:, None])[:, :, None]  # int[4, 4, 1]
        reshape_4 = (mul_2 + (k % 2)[:, None])[:, None]  # int[4, 1, 4]
        sub = (16 * x + u) / 17 - 0.5  # [batches_n, 8, 8]  glow.lee:145
        gather = sub.permute((1, 2, 0))[reshape_3, reshape_4]  # [4, 4, 4, batches_n]  glow.lee:139
        add_3 = gather.permute(3, 0, 1, 2) + norm0_shift[:, None, None]  # [batches_n, 4, 4, 4]  glow.lee:18
        exp_log_scale_5 = torch.exp(norm0_log_scale)  # [4]
        reshape_2_2 = exp_log_scale_5[:, None, None]  # [4, 1, 1]
        add_3_4 = add_3 * reshape_2_2 + steps_0_norm1_shift[:, None, None]  # [batches_n, 4, 4, 4]
        exp_log_scale_4 = torch.exp(steps_0_norm1_log_scale)  # [4]
        reshape_2_2_2 = exp_log_scale_4[:, None, None]  # [4, 1, 1]
        x_2_5 = add_3_4 * reshape_2_2_2  # [batches_n, 4, 4, 4]
        reshape_3_2_2 = k[:, None]  # int[4, 1]  glow.lee:58
        gt = reshape_3_2_2 > k  # bool[4, 4]
        eq = reshape_3_2_2 == k  # bool[4, 4]
        cast = eq.to(FLOAT)  # [4, 4]
        l_4 = torch.where(gt, steps_0_mix_lower, cast)  # [4, 4]
        lt = reshape_3_2_2 < k  # bool[4, 4]  glow.lee:59
        logical_and = ~lt & eq  # bool[4, 4]
        exp_2_2 = torch.exp(steps_0_mix_log_s[:, None])  # [4, 1]
        reshape_3_2_2_2 = steps_0_mix_direction[:, None]  # [4, 1]
        u_4 = torch.where(lt, steps_0_mix_upper, masked(reshape_3_2_2_2 * exp_2_2, eq))  # [4, 4]
        a_4 = (l_4 @ u_4)[steps_0_mix_order]  # [4, 4]  glow.lee:60
        reshape_6 = x_2_5.reshape(batches_n, 4, 16)  # [batches_n, 4, 16]  glow.lee:64
        x_3_5 = (a_4 @ reshape_6).reshape(batches_n, 4, 4, 4)  # [batches_n, 4, 4, 4]
        a_2_2 = x_3_5[:, :2]  # [batches_n, 2, 4, 4]  glow.lee:84
        # [batches_n, 32, 4, 4]  nn.lee:112
        inner_out = torch.nn.functional.conv2d(a_2_2, steps_0_couple_inner_kernel, steps_0_couple_inner_bias, padding=1)
        select_4 = torch.relu(inner_out)  # [batches_n, 32, 4, 4]  prelude.lee:61
        # [batches_n, 4, 4, 4]  nn.lee:112
        h = torch.nn.functional.conv2d(select_4, steps_0_couple_outer_kernel, steps_0_couple_outer_bias, padding=1)
        s_4 = torch.tanh(h[:, :2])  # [batches_n, 2, 4, 4]  glow.lee:81
        slice_2 = x_3_5[:, 2:]  # [batches_n, 2, 4, 4]  glow.lee:86
        exp_s_4 = torch.exp(s_4)  # [batches_n, 2, 4, 4]
        one = 16 * steps_0_norm1_log_scale.sum()  # glow.lee:19
        more = one + 16 * steps_0_mix_log_s.sum() + s_4.sum(dim=(1, 2, 3))  # [batches_n]  glow.lee:103
        x_3 = torch.cat((a_2_2, slice_2 * exp_s_4 + h[:, 2:]), dim=1)  # [batches_n, 4, 4, 4]  glow.lee:86
        add_3_3 = x_3 + steps_1_norm1_shift[:, None, None]  # [batches_n, 4, 4, 4]  glow.lee:18
        exp_log_scale_3 = torch.exp(steps_1_norm1_log_scale)  # [4]
        reshape_2_4 = exp_log_scale_3[:, None, None]  # [4, 1, 1]
        x_2_4 = add_3_3 * reshape_2_4  # [batches_n, 4, 4, 4]
        l_3 = torch.where(gt, steps_1_mix_lower, cast)  # [4, 4]  glow.lee:58
        exp_2_3 = torch.exp(steps_1_mix_log_s[:, None])  # [4, 1]  glow.lee:59
        reshape_3_2_3 = steps_1_mix_direction[:, None]  # [4, 1]
        u_3 = torch.where(lt, steps_1_mix_upper, masked(reshape_3_2_3 * exp_2_3, eq))  # [4, 4]
        a_3 = (l_3 @ u_3)[steps_1_mix_order]  # [4, 4]  glow.lee:60
        reshape_7 = x_2_4.reshape(batches_n, 4, 16)  # [batches_n, 4, 16]  glow.lee:64
        x_3_4 = (a_3 @ reshape_7).reshape(batches_n, 4, 4, 4)  # [batches_n, 4, 4, 4]
        a_2_3 = x_3_4[:, :2]  # [batches_n, 2, 4, 4]  glow.lee:84
        # [batches_n, 32, 4, 4]  nn.lee:112
        inner_out_2 = torch.nn.functional.conv2d(
            a_2_3, steps_1_couple_inner_kernel, steps_1_couple_inner_bias, padding=1
        )
        select_3 = torch.relu(inner_out_2)  # [batches_n, 32, 4, 4]  prelude.lee:61
        # [batches_n, 4, 4, 4]  nn.lee:112
        h_2 = torch.nn.functional.conv2d(select_3, steps_1_couple_outer_kernel, steps_1_couple_outer_bias, padding=1)
        s_3 = torch.tanh(h_2[:, :2])  # [batches_n, 2, 4, 4]  glow.lee:81
        slice_3 = x_3_4[:, 2:]  # [batches_n, 2, 4, 4]  glow.lee:86
        exp_s_3 = torch.exp(s_3)  # [batches_n, 2, 4, 4]
        one_2 = 16 * steps_1_norm1_log_scale.sum()  # glow.lee:19
        add_5 = one_2 + 16 * steps_1_mix_log_s.sum()  # glow.lee:103
        total_2 = 16 * norm0_log_scale.sum() + more  # [batches_n]  glow.lee:119
        x_5 = torch.cat((a_2_3, slice_3 * exp_s_3 + h_2[:, 2:]), dim=1)  # [batches_n, 4, 4, 4]  glow.lee:86
        add_3_2 = x_5 + steps_2_norm1_shift[:, None, None]  # [batches_n, 4, 4, 4]  glow.lee:18
        exp_log_scale_2 = torch.exp(steps_2_norm1_log_scale)  # [4]
        reshape_2_5 = exp_log_scale_2[:, None, None]  # [4, 1, 1]
        x_2_3 = add_3_2 * reshape_2_5  # [batches_n, 4, 4, 4]
        l_2 = torch.where(gt, steps_2_mix_lower, cast)  # [4, 4]  glow.lee:58
        exp_2_4 = torch.exp(steps_2_mix_log_s[:, None])  # [4, 1]  glow.lee:59
        reshape_3_2_4 = steps_2_mix_direction[:, None]  # [4, 1]
        u_2 = torch.where(lt, steps_2_mix_upper, masked(reshape_3_2_4 * exp_2_4, eq))  # [4, 4]
        a_2 = (l_2 @ u_2)[steps_2_mix_order]  # [4, 4]  glow.lee:60
        reshape_9 = x_2_3.reshape(batches_n, 4, 16)  # [batches_n, 4, 16]  glow.lee:64
        x_3_3 = (a_2 @ reshape_9).reshape(batches_n, 4, 4, 4)  # [batches_n, 4, 4, 4]
        a_2_4 = x_3_3[:, :2]  # [batches_n, 2, 4, 4]  glow.lee:84
        # [batches_n, 32, 4, 4]  nn.lee:112
        inner_out_3 = torch.nn.functional.conv2d(
            a_2_4, steps_2_couple_inner_kernel, steps_2_couple_inner_bias, padding=1
        )
        select_2 = torch.relu(inner_out_3)  # [batches_n, 32, 4, 4]  prelude.lee:61
        # [batches_n, 4, 4, 4]  nn.lee:112
        h_3 = torch.nn.functional.conv2d(select_2, steps_2_couple_outer_kernel, steps_2_couple_outer_bias, padding=1)
        s_2 = torch.tanh(h_3[:, :2])  # [batches_n, 2, 4, 4]  glow.lee:81
        slice_4 = x_3_3[:, 2:]  # [batches_n, 2, 4, 4]  glow.lee:86
        exp_s_2 = torch.exp(s_2)  # [batches_n, 2, 4, 4]
        one_3 = 16 * steps_2_norm1_log_scale.sum()  # glow.lee:19
        add_6 = one_3 + 16 * steps_2_mix_log_s.sum()  # glow.lee:103
        total_3 = total_2 + (add_5 + s_3.sum(dim=(1, 2, 3)))  # [batches_n]  glow.lee:119
        x_6 = torch.cat((a_2_4, slice_4 * exp_s_2 + h_3[:, 2:]), dim=1)  # [batches_n, 4, 4, 4]  glow.lee:86
        add_3_5 = x_6 + steps_3_norm1_shift[:, None, None]  # [batches_n, 4, 4, 4]  glow.lee:18
        exp_log_scale = torch.exp(steps_3_norm1_log_scale)  # [4]
        reshape_2_6 = exp_log_scale[:, None, None]  # [4, 1, 1]
        x_2_2 = add_3_5 * reshape_2_6  # [batches_n, 4, 4, 4]
        l = torch.where(gt, steps_3_mix_lower, cast)  # [4, 4]  glow.lee:58
        exp_2_5 = torch.exp(steps_3_mix_log_s[:, None])  # [4, 1]  glow.lee:59
        reshape_3_2_5 = steps_3_mix_direction[:, None]  # [4, 1]
        u_5 = torch.where(lt, steps_3_mix_upper, masked(reshape_3_2_5 * exp_2_5, eq))  # [4, 4]
        a = (l @ u_5)[steps_3_mix_order]  # [4, 4]  glow.lee:60
        reshape_11 = x_2_2.reshape(batches_n, 4, 16)  # [batches_n, 4, 16]  glow.lee:64
        x_3_2 = (a @ reshape_11).reshape(batches_n, 4, 4, 4)  # [batches_n, 4, 4, 4]
        a_2_5 = x_3_2[:, :2]  # [batches_n, 2, 4, 4]  glow.lee:84
        # [batches_n, 32, 4, 4]  nn.lee:112
        inner_out_4 = torch.nn.functional.conv2d(
            a_2_5, steps_3_couple_inner_kernel, steps_3_couple_inner_bias, padding=1
        )
        select = torch.relu(inner_out_4)  # [batches_n, 32, 4, 4]  prelude.lee:61
        # [batches_n, 4, 4, 4]  nn.lee:112
        h_4 = torch.nn.functional.conv2d(select, steps_3_couple_outer_kernel, steps_3_couple_outer_bias, padding=1)
        s = torch.tanh(h_4[:, :2])  # [batches_n, 2, 4, 4]  glow.lee:81
        slice_5 = x_3_2[:, 2:]  # [batches_n, 2, 4, 4]  glow.lee:86
        exp_s = torch.exp(s)  # [batches_n, 2, 4, 4]
        z = torch.cat((a_2_5, slice_5 * exp_s + h_4[:, 2:]), dim=1)  # [batches_n, 4, 4, 4]
        one_4 = 16 * steps_3_norm1_log_scale.sum()  # glow.lee:19
        more_4 = one_4 + 16 * steps_3_mix_log_s.sum() + s.sum(dim=(1, 2, 3))  # [batches_n]  glow.lee:103
        prior = -0.5 * (z * z + 1.8378770664093453).sum(dim=(1, 2, 3))  # [batches_n]  glow.lee:132
        log_det = total_3 + (add_6 + s_2.sum(dim=(1, 2, 3))) + more_4  # [batches_n]  glow.lee:119
        d_z = scale * z  # [batches_n, 4, 4, 4]  glow.lee:131
        d_t = d_z[:, 2:]  # [batches_n, 2, 4, 4]  glow.lee:86
        d_s = d_t * slice_5 * exp_s - scale_  # [batches_n, 2, 4, 4]  glow.lee:85
        d_h = torch.cat((torch.ops.aten.tanh_backward(d_s, s), d_t), dim=1)  # [batches_n, 4, 4, 4]  glow.lee:80
        torch.sum(d_h, dim=(0, 2, 3), out=d_steps_3_couple_outer_bias)  # [4]  nn.lee:112
        # [batches_n, 32, 4, 4]  nn.lee:83
        d_select = torch.nn.functional.conv_transpose2d(d_h, steps_3_couple_outer_kernel, padding=1)
        # [4, 32, 3, 3]
        d_steps_3_couple_outer_kernel.copy_(torch.nn.grad.conv2d_weight(select, (4, 32, 3, 3), d_h, padding=1))
        d_inner_out = torch.ops.aten.threshold_backward(d_select, select, 0)  # [batches_n, 32, 4, 4]  prelude.lee:61
        torch.sum(d_inner_out, dim=(0, 2, 3), out=d_steps_3_couple_inner_bias)  # [32]  nn.lee:112
        # [batches_n, 2, 4, 4]  nn.lee:83
        d_a_3 = torch.nn.functional.conv_transpose2d(d_inner_out, steps_3_couple_inner_kernel, padding=1)
        # [32, 2, 3, 3]
        d_steps_3_couple_inner_kernel.copy_(torch.nn.grad.conv2d_weight(a_2_5, (32, 2, 3, 3), d_inner_out, padding=1))
        mul_10 = -(1.0 / 64 / batches_n) * batches_n * 16  # glow.lee:65
        d_x_3_2 = torch.cat((d_z[:, :2] + d_a_3, d_t * exp_s), dim=1)  # [batches_n, 4, 4, 4]  glow.lee:84
        reshape_12 = d_x_3_2.reshape(batches_n, 4, 16)  # [batches_n, 4, 16]  glow.lee:64
        d_x_2_2 = (a.T @ reshape_12).reshape(batches_n, 4, 4, 4)  # [batches_n, 4, 4, 4]
        d_a_4 = (reshape_12 @ reshape_11.mT).sum(dim=0)  # [4, 4]
        d_contract = scatter_add(d_a_4, (steps_3_mix_order,), (4, 4))  # [4, 4]  glow.lee:60
        d_u = l.T @ d_contract  # [4, 4]
        d_steps_3_mix_upper.copy_(masked(d_u, lt))  # [4, 4]  glow.lee:59
        select_2_2_2 = masked(d_u * reshape_3_2_5 * exp_2_5, logical_and)  # [4, 4]
        d_steps_3_mix_lower.copy_(masked(d_contract @ u_5.T, gt))  # [4, 4]  glow.lee:58
        d_log_s_3_2 = torch.where(lt, 0, masked(select_2_2_2, eq)).sum(dim=1)  # [4]  glow.lee:59
        torch.add(d_log_s_3_2, mul_10, out=d_steps_3_mix_log_s)  # [4]  glow.lee:63
        d_x_6 = d_x_2_2 * reshape_2_6  # [batches_n, 4, 4, 4]  glow.lee:18
        torch.sum(d_x_6, dim=(0, 2, 3), out=d_steps_3_norm1_shift)  # [4]
        d_log_scale_3_2 = (d_x_2_2 * add_3_5).sum(dim=(0, 2, 3)) * exp_log_scale  # [4]
        torch.add(d_log_scale_3_2, mul_10, out=d_steps_3_norm1_log_scale)  # [4]
        d_t_2 = d_x_6[:, 2:]  # [batches_n, 2, 4, 4]  glow.lee:86
        d_s_2 = d_t_2 * slice_4 * exp_s_2 - scale_  # [batches_n, 2, 4, 4]  glow.lee:85
        d_h_2 = torch.cat((torch.ops.aten.tanh_backward(d_s_2, s_2), d_t_2), dim=1)  # [batches_n, 4, 4, 4]  glow.lee:80
        torch.sum(d_h_2, dim=(0, 2, 3), out=d_steps_2_couple_outer_bias)  # [4]  nn.lee:112
        # [batches_n, 32, 4, 4]  nn.lee:83
        d_select_2 = torch.nn.functional.conv_transpose2d(d_h_2, steps_2_couple_outer_kernel, padding=1)
        # [4, 32, 3, 3]
        d_steps_2_couple_outer_kernel.copy_(torch.nn.grad.conv2d_weight(select_2, (4, 32, 3, 3), d_h_2, padding=1))
        # [batches_n, 32, 4, 4]  prelude.lee:61
        d_inner_out_2 = torch.ops.aten.threshold_backward(d_select_2, select_2, 0)
        torch.sum(d_inner_out_2, dim=(0, 2, 3), out=d_steps_2_couple_inner_bias)  # [32]  nn.lee:112
        # [batches_n, 2, 4, 4]  nn.lee:83
        d_a_3_2 = torch.nn.functional.conv_transpose2d(d_inner_out_2, steps_2_couple_inner_kernel, padding=1)
        # [32, 2, 3, 3]
        d_steps_2_couple_inner_kernel.copy_(torch.nn.grad.conv2d_weight(a_2_4, (32, 2, 3, 3), d_inner_out_2, padding=1))
        d_x_3_3 = torch.cat((d_x_6[:, :2] + d_a_3_2, d_t_2 * exp_s_2), dim=1)  # [batches_n, 4, 4, 4]  glow.lee:84
        reshape_13 = d_x_3_3.reshape(batches_n, 4, 16)  # [batches_n, 4, 16]  glow.lee:64
        d_x_2_3 = (a_2.T @ reshape_13).reshape(batches_n, 4, 4, 4)  # [batches_n, 4, 4, 4]
        d_a_4_2 = (reshape_13 @ reshape_9.mT).sum(dim=0)  # [4, 4]
        d_contract_2 = scatter_add(d_a_4_2, (steps_2_mix_order,), (4, 4))  # [4, 4]  glow.lee:60
        d_u_2 = l_2.T @ d_contract_2  # [4, 4]
        d_steps_2_mix_upper.copy_(masked(d_u_2, lt))  # [4, 4]  glow.lee:59
        select_2_3_2 = masked(d_u_2 * reshape_3_2_4 * exp_2_4, logical_and)  # [4, 4]
        d_steps_2_mix_lower.copy_(masked(d_contract_2 @ u_2.T, gt))  # [4, 4]  glow.lee:58
        d_log_s_3_2_2 = torch.where(lt, 0, masked(select_2_3_2, eq)).sum(dim=1)  # [4]  glow.lee:59
        torch.add(d_log_s_3_2_2, mul_10, out=d_steps_2_mix_log_s)  # [4]  glow.lee:63
        d_x_5 = d_x_2_3 * reshape_2_5  # [batches_n, 4, 4, 4]  glow.lee:18
        torch.sum(d_x_5, dim=(0, 2, 3), out=d_steps_2_norm1_shift)  # [4]
        d_log_scale_3_2_2 = (d_x_2_3 * add_3_2).sum(dim=(0, 2, 3)) * exp_log_scale_2  # [4]
        torch.add(d_log_scale_3_2_2, mul_10, out=d_steps_2_norm1_log_scale)  # [4]
        d_t_3 = d_x_5[:, 2:]  # [batches_n, 2, 4, 4]  glow.lee:86
        d_s_4 = d_t_3 * slice_3 * exp_s_3 - scale_  # [batches_n, 2, 4, 4]  glow.lee:85
        d_h_3 = torch.cat((torch.ops.aten.tanh_backward(d_s_4, s_3), d_t_3), dim=1)  # [batches_n, 4, 4, 4]  glow.lee:80
        torch.sum(d_h_3, dim=(0, 2, 3), out=d_steps_1_couple_outer_bias)  # [4]  nn.lee:112
        # [batches_n, 32, 4, 4]  nn.lee:83
        d_select_3 = torch.nn.functional.conv_transpose2d(d_h_3, steps_1_couple_outer_kernel, padding=1)
        # [4, 32, 3, 3]
        d_steps_1_couple_outer_kernel.copy_(torch.nn.grad.conv2d_weight(select_3, (4, 32, 3, 3), d_h_3, padding=1))
        # [batches_n, 32, 4, 4]  prelude.lee:61
        d_inner_out_3 = torch.ops.aten.threshold_backward(d_select_3, select_3, 0)
        torch.sum(d_inner_out_3, dim=(0, 2, 3), out=d_steps_1_couple_inner_bias)  # [32]  nn.lee:112
        # [batches_n, 2, 4, 4]  nn.lee:83
        d_a_3_3 = torch.nn.functional.conv_transpose2d(d_inner_out_3, steps_1_couple_inner_kernel, padding=1)
        # [32, 2, 3, 3]
        d_steps_1_couple_inner_kernel.copy_(torch.nn.grad.conv2d_weight(a_2_3, (32, 2, 3, 3), d_inner_out_3, padding=1))
        d_x_3_4 = torch.cat((d_x_5[:, :2] + d_a_3_3, d_t_3 * exp_s_3), dim=1)  # [batches_n, 4, 4, 4]  glow.lee:84
        reshape_14 = d_x_3_4.reshape(batches_n, 4, 16)  # [batches_n, 4, 16]  glow.lee:64
        d_x_2_4 = (a_3.T @ reshape_14).reshape(batches_n, 4, 4, 4)  # [batches_n, 4, 4, 4]
        d_a_4_3 = (reshape_14 @ reshape_7.mT).sum(dim=0)  # [4, 4]
        d_contract_3 = scatter_add(d_a_4_3, (steps_1_mix_order,), (4, 4))  # [4, 4]  glow.lee:60
        d_u_3 = l_3.T @ d_contract_3  # [4, 4]
        d_steps_1_mix_upper.copy_(masked(d_u_3, lt))  # [4, 4]  glow.lee:59
        select_2_4_2 = masked(d_u_3 * reshape_3_2_3 * exp_2_3, logical_and)  # [4, 4]
        d_steps_1_mix_lower.copy_(masked(d_contract_3 @ u_3.T, gt))  # [4, 4]  glow.lee:58
        d_log_s_3_3 = torch.where(lt, 0, masked(select_2_4_2, eq)).sum(dim=1)  # [4]  glow.lee:59
        torch.add(d_log_s_3_3, mul_10, out=d_steps_1_mix_log_s)  # [4]  glow.lee:63
        d_x_3 = d_x_2_4 * reshape_2_4  # [batches_n, 4, 4, 4]  glow.lee:18
        torch.sum(d_x_3, dim=(0, 2, 3), out=d_steps_1_norm1_shift)  # [4]
        d_log_scale_3_3 = (d_x_2_4 * add_3_3).sum(dim=(0, 2, 3)) * exp_log_scale_3  # [4]
        torch.add(d_log_scale_3_3, mul_10, out=d_steps_1_norm1_log_scale)  # [4]
        d_t_4 = d_x_3[:, 2:]  # [batches_n, 2, 4, 4]  glow.lee:86
        d_s_5 = d_t_4 * slice_2 * exp_s_4 - scale_  # [batches_n, 2, 4, 4]  glow.lee:85
        d_h_4 = torch.cat((torch.ops.aten.tanh_backward(d_s_5, s_4), d_t_4), dim=1)  # [batches_n, 4, 4, 4]  glow.lee:80
        torch.sum(d_h_4, dim=(0, 2, 3), out=d_steps_0_couple_outer_bias)  # [4]  nn.lee:112
        # [batches_n, 32, 4, 4]  nn.lee:83
        d_select_4 = torch.nn.functional.conv_transpose2d(d_h_4, steps_0_couple_outer_kernel, padding=1)
        # [4, 32, 3, 3]
        d_steps_0_couple_outer_kernel.copy_(torch.nn.grad.conv2d_weight(select_4, (4, 32, 3, 3), d_h_4, padding=1))
        # [batches_n, 32, 4, 4]  prelude.lee:61
        d_inner_out_4 = torch.ops.aten.threshold_backward(d_select_4, select_4, 0)
        torch.sum(d_inner_out_4, dim=(0, 2, 3), out=d_steps_0_couple_inner_bias)  # [32]  nn.lee:112
        # [batches_n, 2, 4, 4]  nn.lee:83
        d_a_3_4 = torch.nn.functional.conv_transpose2d(d_inner_out_4, steps_0_couple_inner_kernel, padding=1)
        # [32, 2, 3, 3]
        d_steps_0_couple_inner_kernel.copy_(torch.nn.grad.conv2d_weight(a_2_2, (32, 2, 3, 3), d_inner_out_4, padding=1))
        d_x_3_5 = torch.cat((d_x_3[:, :2] + d_a_3_4, d_t_4 * exp_s_4), dim=1)  # [batches_n, 4, 4, 4]  glow.lee:84
        reshape_15 = d_x_3_5.reshape(batches_n, 4, 16)  # [batches_n, 4, 16]  glow.lee:64
        d_x_2_5 = (a_4.T @ reshape_15).reshape(batches_n, 4, 4, 4)  # [batches_n, 4, 4, 4]
        d_a_4_4 = (reshape_15 @ reshape_6.mT).sum(dim=0)  # [4, 4]
        d_contract_4 = scatter_add(d_a_4_4, (steps_0_mix_order,), (4, 4))  # [4, 4]  glow.lee:60
        d_u_4 = l_4.T @ d_contract_4  # [4, 4]
        d_steps_0_mix_upper.copy_(masked(d_u_4, lt))  # [4, 4]  glow.lee:59
        select_2_5_2 = masked(d_u_4 * reshape_3_2_2_2 * exp_2_2, logical_and)  # [4, 4]
        d_steps_0_mix_lower.copy_(masked(d_contract_4 @ u_4.T, gt))  # [4, 4]  glow.lee:58
        d_log_s_3_4 = torch.where(lt, 0, masked(select_2_5_2, eq)).sum(dim=1)  # [4]  glow.lee:59
        torch.add(d_log_s_3_4, mul_10, out=d_steps_0_mix_log_s)  # [4]  glow.lee:63
        d_x_2 = d_x_2_5 * reshape_2_2_2  # [batches_n, 4, 4, 4]  glow.lee:18
        torch.sum(d_x_2, dim=(0, 2, 3), out=d_steps_0_norm1_shift)  # [4]
        d_log_scale_3_4 = (d_x_2_5 * add_3_4).sum(dim=(0, 2, 3)) * exp_log_scale_4  # [4]
        torch.add(d_log_scale_3_4, mul_10, out=d_steps_0_norm1_log_scale)  # [4]
        torch.sum(d_x_2 * reshape_2_2, dim=(0, 2, 3), out=d_norm0_shift)  # [4]
        d_log_scale_3_5 = (d_x_2 * add_3).sum(dim=(0, 2, 3)) * exp_log_scale_5  # [4]
        torch.add(d_log_scale_3_5, mul_10, out=d_norm0_log_scale)  # [4]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return -((prior + log_det).sum() / count / 64)  # glow.lee:133


def fit_y_z(data_test_x, net, key):
    """data_test_x [data_test_n, 8, 8] -> [data_test_n, 4, 4, 4], [data_test_n, 4, 4, 4]"""
    data_test_n = data_test_x.shape[0]
    key_2 = fold(key, SITES["u#3"])  # glow.lee:164
    u = uniform(key_2, (data_test_n, 8, 8), FLOAT, data_test_x.device)  # [data_test_n, 8, 8]
    y_2 = squeezed(continuous(data_test_x, u))  # [data_test_n, 4, 4, 4]  glow.lee:165
    z, _ = net(y_2)  # glow.lee:166
    return y_2, z


def fit_bits_astray(net, y, z):
    """y [data_test_n, 4, 4, 4], z [data_test_n, 4, 4, 4] -> [], []"""
    return bits_(likelihood_2(net, y)), largest(torch.abs(net.inverse(z) - y), (0, 1, 2, 3), False)  # glow.lee:167


def example_likely(key):
    net = Glow_2(4, hidden=5, key=fold(key, SITES["net"]))  # glow.lee:172
    x = normal(fold(key, SITES["x"]), (3, 4, 2, 3), FLOAT)  # [3, 4, 2, 3]  glow.lee:173
    value, saved_likelihood = likelihood_saved(net, x)  # glow.lee:174
    d_net, d_x = likelihood_backward(net, saved_likelihood, torch.ones((), dtype=FLOAT))
    return value, net.at(d_net), d_x


def example_there_and_back(key):
    net = Glow_2(4, hidden=5, key=fold(key, SITES["net"]))  # glow.lee:178
    z = normal(fold(key, SITES["z"]), (3, 4, 2, 3), FLOAT)  # [3, 4, 2, 3]  glow.lee:179
    c = normal(fold(key, SITES["c"]), (3, 4, 2, 3), FLOAT)  # [3, 4, 2, 3]  glow.lee:180
    x, saved_net = net.inverse_saved(z)  # glow.lee:181
    d_net, d_z = net.inverse_backward(z, saved_net, c)
    return (c * x).sum(), net.at(d_net), d_z, x


def example_plain_matrix(key):
    net = Invertible(4, key=fold(key, SITES["net"]))  # glow.lee:188
    x = normal(fold(key, SITES["x"]), (3, 4, 2, 3), FLOAT)  # [3, 4, 2, 3]  glow.lee:189
    c = normal(fold(key, SITES["c"]), (3, 4, 2, 3), FLOAT)  # [3, 4, 2, 3]  glow.lee:190
    y_2, log_det = net(x)  # glow.lee:191
    net_out, saved_net = net.inverse_saved(x)  # glow.lee:192
    d_net, d_x_2 = Invertible.inverse_backward(x, saved_net, c)
    d_net_, d_x_3 = net.forward_backward(x, c, torch.ones((), dtype=FLOAT))  # glow.lee:191
    return (
        (c * y_2).sum() + log_det + (c * net_out).sum(),
        net.at({"weight": d_net["weight"] + d_net_["weight"]}),
        d_x_2 + d_x_3,
        net_out + y_2,
    )


def example_first_batch(key):
    layer = ActNorm(4)  # glow.lee:196
    x = 2 + 3 * normal(fold(key, SITES["x"]), (3, 4, 2, 3), FLOAT)  # [3, 4, 2, 3]  glow.lee:197
    actnorm, saved_fitted = fitted_saved(layer, x)  # glow.lee:198
    y_2, _, saved_actnorm = actnorm.forward_saved(x)
    mul_3 = y_2**2  # [3, 4, 2, 3]  glow.lee:200
    d_y_2 = 2 * mul_3 + mul_3  # [3, 4, 2, 3]  glow.lee:198
    d_actnorm, d_x_2 = ActNorm.forward_backward_2(saved_actnorm, d_y_2)
    shift = torch.zeros(4, dtype=FLOAT)  # [4]
    return (
        (mul_3 * y_2).sum(),
        layer.at({"shift": shift, "log_scale": shift}),
        d_x_2 + fitted_backward_input(saved_fitted, d_actnorm),
    )


def example_pixels(key):
    image = uniform(fold(key, SITES["image"]), (2, 4, 4), FLOAT)  # [2, 4, 4]  glow.lee:204
    u = uniform(fold(key, SITES["u"]), (2, 4, 4), FLOAT)  # [2, 4, 4]  glow.lee:205
    c = normal(fold(key, SITES["c"]), (2, 4, 2, 2), FLOAT)  # [2, 4, 2, 2]  glow.lee:206
    d_c, saved_squeezed = squeezed_saved(continuous(image, u))  # glow.lee:207
    d_image_3, d_u = continuous_backward(squeezed_backward(saved_squeezed, 4, c))
    return (c * d_c).sum() + bits_(image.mean()), bits_backward(torch.ones((), dtype=FLOAT)) / 32 + d_image_3, d_u, d_c


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def conv2d(x, kernel, stride=1, padding=0, dilation=1):
    """yₙₒᵢⱼ = Σ xₙ,c,sᵢ₊ᵤ,sⱼ₊ᵥ Kₒcᵤᵥ

    x [n, c, h, w], kernel [o, c, kh, kw] -> [n, o, out_h, out_w]
    """
    # [n, o, out_h, out_w]  nn.lee:83
    y = torch.nn.functional.conv2d(x, kernel, stride=stride, padding=padding, dilation=dilation)
    return y  # [n, o, out_h, out_w]


def conv2d_backward(x, kernel, dilation, padding, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    _, c, h, w = x.shape
    o, _, kh, kw = kernel.shape
    _, _, out_h, out_w = d_y.shape
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    # [n, c, h, w]
    d_x = torch.nn.functional.conv_transpose2d(
        d_y,
        kernel,
        stride=stride,
        padding=padding,
        output_padding=(
            dilation + h + 2 * padding + stride - dilation * kh - out_h * stride - 1,
            dilation + 2 * padding + stride + w - dilation * kw - out_w * stride - 1,
        ),
        dilation=dilation,
    )
    # [o, c, kh, kw]
    d_kernel = torch.nn.grad.conv2d_weight(x, (o, c, kh, kw), d_y, stride=stride, padding=padding, dilation=dilation)
    return d_x, d_kernel


class Conv(Model):
    """Convolution of images with k × k windows; before a normalisation it needs no bias."""

    members = ("kernel", "bias")

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, dilation=1, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs, self.k = inputs, outputs, k
        self.stride, self.padding, self.dilation = stride, padding, dilation
        div, div_2 = fan_in_uniform(inputs * k**2)  # nn.lee:105
        key_2 = fold(key, SITES["kernel"])
        uniform_ = uniform(key_2, (outputs, inputs, k, k), FLOAT)  # [outputs, inputs, k, k]
        uniform_2 = uniform(fold(key, SITES["bias"]), (outputs,), FLOAT)  # [outputs]  nn.lee:107
        self.kernel = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [outputs, inputs, k, k]  nn.lee:105
        self.bias = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [outputs]  nn.lee:107

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, out_h, out_w]"""
        # [n, outputs, out_h, out_w]  nn.lee:110
        y_2 = conv2d(x, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)
        return y_2 + self.bias[:, None, None]  # [n, outputs, out_h, out_w]  nn.lee:112

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return y + bias[:, None, None]   nn.lee:112
        d_bias = d_y.sum(dim=0).sum(dim=(1, 2))  # [outputs]
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_x, d_kernel = conv2d_backward(x, self.kernel, self.dilation, self.padding, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x


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

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    return torch.relu(x)  # [x_0, x_1, x_2, x_3]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


def var(x, ddof=0):
    """Σ (x - mean)² / (n - ddof) over all entries, or along an axis or several.

    x [x_0, x_1, x_2, x_3] -> [x_1]
    """
    x_0, _, x_2, x_3 = x.shape
    sub = x - x.mean(dim=(0, 2, 3), keepdim=True)  # [x_0, x_1, x_2, x_3]  prelude.lee:168
    total = (sub**2).sum(dim=(0, 2, 3))  # [x_1]
    return total / (x_0 * x_2 * x_3 - ddof)  # [x_1]  prelude.lee:169


def var_saved(x, ddof=0):
    """As var, and what its gradient needs."""
    x_0, _, x_2, x_3 = x.shape
    sub = x - x.mean(dim=(0, 2, 3), keepdim=True)  # [x_0, x_1, x_2, x_3]  prelude.lee:168
    total = (sub**2).sum(dim=(0, 2, 3))  # [x_1]
    return total / (x_0 * x_2 * x_3 - ddof), sub  # prelude.lee:169


def var_backward(sub, ddof, d_y):
    """From d_y to the gradient by x."""
    x_0, _, x_2, x_3 = sub.shape
    # gradient of return total / (count(x) // count(total) - ddof)   prelude.lee:169
    d_total = d_y / (x_0 * x_2 * x_3 - ddof)  # [x_1]
    # gradient of total = sum((x - mean(x, axis = axis, keepdims = true)) ** 2, axis = axis, ke..   prelude.lee:168
    d_sub_2 = d_total[None, :, None, None] * sub  # [x_0, x_1, x_2, x_3]
    d_x_mean = (-2 * d_sub_2).sum(dim=(0, 2, 3), keepdim=True)  # [1, x_1, 1, 1]
    d_x = 2 * d_sub_2 + d_x_mean / (x_0 * x_2 * x_3)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


def std(x, ddof=0):
    """√var

    x [x_0, x_1, x_2, x_3] -> [x_1]
    """
    return sqrt(var(x, ddof=ddof))  # [x_1]  prelude.lee:174


def std_saved(x, ddof=0):
    """As std, and what its gradient needs."""
    div, saved_var = var_saved(x, ddof=ddof)  # prelude.lee:174
    return sqrt(div), (div, saved_var)


def std_backward(saved, sqrt_, ddof, d_y):
    """From d_y to the gradient by x."""
    div, saved_var = saved
    # gradient of return sqrt(var(x, axis = axis, ddof = ddof, keepdims = keepdims))   prelude.lee:174
    d_div = d_y * 0.5 / torch.where(div > 0, sqrt_, torch.inf)  # [x_1]
    d_x = var_backward(saved_var, ddof, d_div)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


def diag(x):
    """The matrix with the vector x on its diagonal and 0 elsewhere; of a matrix its diagonal.

    x [x_0, x_0] -> [x_0]
    """
    return diagonal(x)  # [x_0]  prelude.lee:229


def diagonal(x):
    """The diagonal of a matrix.

    x [n, n] -> [n]
    """
    entries = torch.einsum("ii->i", x)  # [n]  prelude.lee:236
    return entries  # [n]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "bias": 0x7246FEB96AC500B4,
    "c": 0x1B2C07CD64633F37,
    "couple": 0x65E21FC424F0070A,
    "image": 0x86C9701471CF0710,
    "inner": 0xB0FF036CB99EC5F6,
    "kernel": 0x273FEA903E119357,
    "mix": 0x8568467C7E8A80DF,
    "net": 0xF087C76970C91612,
    "outer": 0x6AC5915904F79757,
    "start": 0xF7091535421F26A0,
    "steps.0": 0x823CA8CB76A41289,
    "steps.1": 0xAB44851C77898841,
    "steps.2": 0x3F39FB4796730F8A,
    "steps.3": 0x2B34ADC0F4BE6D84,
    "u": 0x08D267E10C593806,
    "u#2": 0xE9EDBA96EE81FF58,
    "u#3": 0x3BA7B40DC1585ACD,
    "weight": 0x84E02E3EDC717246,
    "x": 0x4F586EF96743DF4A,
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


def reciprocal_or_zero(x, scale):
    """1 / x, and 0 where x is no more than the rounding errors of numbers as large as `scale`."""
    far = x.abs() > 100 * torch.finfo(x.dtype).eps * scale
    return torch.where(far, 1 / torch.where(far, x, 1.0), 0.0)


def signs_of_columns(vectors):
    """1 or -1 for every column, that its largest entry becomes positive; of nearly equal sizes the first counts."""
    size = vectors.abs()
    near = size >= 0.999 * size.amax(dim=-2, keepdim=True)
    largest = torch.take_along_dim(vectors, near.int().argmax(dim=-2, keepdim=True), -2)
    return torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)


def inverse_gaps(values):
    """1 / (values[j] - values[i]), and 0 where both are equal up to rounding."""
    scale = values.abs().amax(dim=-1)[..., None, None]
    return reciprocal_or_zero(values[..., None, :] - values[..., :, None], scale)


class Svd(torch.autograd.Function):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""

    @staticmethod
    def forward(ctx, a):
        u, s, vt = torch.linalg.svd(a, full_matrices=False)
        sign = signs_of_columns(u)
        u, v = u * sign, vt.mT * sign
        ctx.save_for_backward(u, s, v)
        return u, s, v

    @staticmethod
    def backward(ctx, d_u, d_s, d_v):
        u, s, v = ctx.saved_tensors
        scale = s.amax(dim=-1)[..., None, None]
        gaps = inverse_gaps(s) * reciprocal_or_zero(s[..., None, :] + s[..., :, None], scale)
        turn_u, turn_v = u.mT @ d_u, v.mT @ d_v
        inner = gaps * (turn_u - turn_u.mT) * s[..., None, :] + s[..., :, None] * gaps * (turn_v - turn_v.mT)
        inverse = reciprocal_or_zero(s[..., None, :], scale)
        left = u @ inner + u * d_s[..., None, :] + (d_u - u @ turn_u) * inverse
        return left @ v.mT + u * inverse @ (d_v - v @ turn_v).mT


def svd(a):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""
    return Svd.apply(a)


def qr(a):
    """q with orthonormal columns and r, upper triangular, with a = q @ r; the diagonal of r is never negative."""
    q, r = torch.linalg.qr(a)
    sign = torch.where(torch.diagonal(r.detach(), dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(a.dtype)
    return q * sign[..., None, :], r * sign[..., :, None]


def lu(a):
    """order, lower, upper with a = (lower @ upper)[order]: elimination, of every column the largest entry is the pivot."""
    place, lower, upper = torch.linalg.lu(a.detach())
    return place.argmax(dim=-1), lower, upper


def cofactor(a):
    """The derivative of det(a) by a, also where a is singular: from its singular values, all but one multiplied."""
    u, s, v = svd(a)
    one = torch.eye(s.shape[-1], dtype=torch.bool, device=a.device)
    others = torch.where(one, 1.0, s[..., None, :]).prod(dim=-1)
    sign = torch.sign(torch.linalg.det((u @ v.mT).detach()))[..., None, None]
    return sign * (u * others[..., None, :]) @ v.mT


class Det(torch.autograd.Function):
    """The determinant, which has a derivative where a is singular, too."""

    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return torch.linalg.det(a)

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g[..., None, None] * cofactor(a)


def det(a):
    """The determinant, which has a derivative where a is singular, too."""
    return Det.apply(a)


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
