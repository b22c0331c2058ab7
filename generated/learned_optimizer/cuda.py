"""Learning to learn by gradient descent: the update rule is an LSTM, one cell for all weights (inventory P5).

Every weight has a memory of its own. The rule is learned through the steps that it takes (Andrychowicz et al. 2016).

Made from specs/meta/learned_optimizer.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/meta/learned_optimizer.lee
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


class ShapedOptimizer(Optimizer):
    """An optimizer with states of shapes of their own, or with models that take part in its rule.

    `shapes` has the states that are not like the parameters, `models` names the models.
    """

    models: tuple[str, ...] = ()

    def shapes(self, count):
        return {}

    def count(self):
        if self.rates is None:  # a model can be called, too
            found = {name: value for name, value in self.__dict__.items() if callable(value)}
            self.rates = {name: rate for name, rate in found.items() if name not in self.models}
        super().count()

    def make_states(self, θ):
        """Raises ValueError for parameters of another size."""
        shapes = self.shapes(θ.numel())
        for name, start in self.starts.items():
            shape = shapes.get(name, tuple(θ.shape))
            state = getattr(self, name, None)
            if state is None or state.device != θ.device or state.dtype != θ.dtype:
                setattr(self, name, θ.new_full(shape, start) if state is None else state.to(θ))
            elif tuple(state.shape) != shape:
                raise ValueError(f"{type(self).__name__} has moved other parameters than these {θ.numel()}")

    def tensors(self):
        """The count, the states that there are by now, and the models' tensors by path."""
        held = {f"{m}.{path}": x for m in self.models for path, x in getattr(self, m).tensors().items()}
        return {**super().tensors(), **held}

    def load_tensors(self, tensors):
        super().load_tensors(tensors)
        for m in self.models:
            getattr(self, m).load_tensors({p: tensors[f"{m}.{p}"] for p in getattr(self, m).tensors()})

    def copy(self):
        twin = super().copy()
        twin.__dict__.update({m: getattr(self, m).copy() for m in self.models})
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


class Rule(Model):
    """Rule(hidden, p, scale)"""

    members = ("cell", "out")

    def __init__(self, hidden=20, p=1e1, scale=0.1, *, key=(0, 0)):
        super().__init__()
        self.hidden, self.p, self.scale = hidden, p, scale
        self.cell = LSTMCell(2, hidden, key=fold(key, SITES["cell"]))  # learned_optimizer.lee:11
        self.out = Linear(hidden, 1, key=fold(key, SITES["out"]))  # learned_optimizer.lee:12

    def forward(self, g, h, c):
        """Large slopes enter as logarithm and sign, small ones scaled up.

        g [w], h [w, hidden], c [w, hidden] -> [w], [w, hidden], [w, hidden]
        """
        w = g.shape[0]
        big = torch.abs(g) >= math.exp(-self.p)  # bool[w]  learned_optimizer.lee:16
        guard = torch.where(big, g, g.detach())  # [w]
        # [w]  learned_optimizer.lee:17
        size = torch.where(big, torch.log(torch.abs(guard).clamp(min=1e-30)) / self.p, -1)
        mul = math.exp(self.p) * torch.where(~big, g, g.detach())  # [w]  learned_optimizer.lee:18
        direction = torch.where(big, torch.sign(guard), mul)  # [w]
        h_2, c_2 = self.cell(torch.stack((size, direction), dim=1), h, c)  # learned_optimizer.lee:19
        return self.scale * self.out(h_2).reshape(w), h_2, c_2  # learned_optimizer.lee:20

    def forward_saved(self, g, h, c):
        """As forward, and what its gradient needs."""
        w = g.shape[0]
        abs_2 = torch.abs(g)  # [w]  learned_optimizer.lee:16
        big = abs_2 >= math.exp(-self.p)  # bool[w]
        maximum = abs_2.clamp(min=1e-30)  # [w]  learned_optimizer.lee:17
        size = torch.where(big, torch.log(maximum) / self.p, -1)  # [w]
        direction = torch.where(big, torch.sign(g), math.exp(self.p) * g)  # [w]  learned_optimizer.lee:18
        concat = torch.stack((size, direction), dim=1)  # [w, 2]  learned_optimizer.lee:19
        h_2, c_2, saved_cell = self.cell.forward_saved(concat, h, c)
        # learned_optimizer.lee:20
        return self.scale * self.out(h_2).reshape(w), h_2, c_2, (concat, saved_cell, big, abs_2, maximum)

    def forward_backward(self, h, c, saved, h_2, d_y, d_h_2, d_c_2):
        """From d_y, d_h_2 and d_c_2 to the gradients by the parameters, h and c."""
        concat, saved_cell, _, _, _ = saved
        # gradient of return scale * out(h)[:, 0], h, c   learned_optimizer.lee:20
        d_out, d_h_2_3 = self.out.forward_backward(h_2, (d_y * self.scale)[:, None])
        # gradient of h, c = cell(stack(size, direction, axis = 1), h, c)   learned_optimizer.lee:19
        d_h_2_2 = d_h_2 + d_h_2_3  # [w, hidden]
        d_cell, d_h, d_c = self.cell.forward_backward(concat, h, c, saved_cell, d_h_2_2, d_c_2)
        return {"cell": d_cell, "out": d_out}, d_h, d_c

    def forward_backward_2(self, g, h, c, saved, h_2, d_y):
        """From d_y to the gradients by the parameters and g."""
        concat, saved_cell, big, abs_2, maximum = saved
        # gradient of return scale * out(h)[:, 0], h, c   learned_optimizer.lee:20
        d_out, d_h_2 = self.out.forward_backward(h_2, (d_y * self.scale)[:, None])
        # gradient of h, c = cell(stack(size, direction, axis = 1), h, c)   learned_optimizer.lee:19
        d_cell, d_concat = self.cell.forward_backward_2(concat, h, c, saved_cell, d_h_2)
        d_direction = d_concat[:, 1]  # [w]
        d_size = d_concat[:, 0]  # [w]
        # gradient of size = where(big, log(max(abs(g), 1e-30)) / p, -1)   learned_optimizer.lee:17
        mul_2 = d_size / self.p / maximum * torch.sign(g)  # [w]
        select_3 = torch.where(abs_2 >= 1e-30, torch.where(big, mul_2, 0), 0)  # [w]
        select = torch.where(big, 0, d_direction * math.exp(self.p))  # [w]
        d_g = select + torch.where(big, select_3, 0)  # [w]
        return {"cell": d_cell, "out": d_out}, d_g


class Learned(ShapedOptimizer):
    """A rule that was learned, at work on any net."""

    starts = {"h": 0.0, "c": 0.0}
    models = ("rule",)

    def __init__(self, rule):
        self.rule = rule

    def shapes(self, count):
        """Of the states, for so many parameters."""
        return {"h": (count, self.rule.hidden), "c": (count, self.rule.hidden)}

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        step, h_next, c_next = self.rule(g, self.h, self.c)  # learned_optimizer.lee:29
        θ.add_(step)  # [count]  learned_optimizer.lee:32
        self.h.copy_(h_next)  # [count, rule.hidden]  learned_optimizer.lee:29
        self.c.copy_(c_next)  # [count, rule.hidden]


def quadratic(θ, a, b):
    """‖a θ - b‖²

    θ [d], a [d, d], b [d] -> []
    """
    sub = a @ θ - b  # [d]  learned_optimizer.lee:40
    return (sub**2).sum()


def quadratic_saved(θ, a, b):
    """As quadratic, and what its gradient needs."""
    sub = a @ θ - b  # [d]  learned_optimizer.lee:40
    return (sub**2).sum(), sub


def quadratic_backward(a, sub, d_y):
    """From d_y to the gradient by θ."""
    # gradient of return sum((a @ θ - b) ** 2)   learned_optimizer.lee:40
    d_θ = 2 * d_y * sub @ a  # [d]
    return d_θ  # [d]


def quadratic_backward_2(θ, a, sub, d_y):
    """From d_y to the gradients by θ, a and b."""
    # gradient of return sum((a @ θ - b) ** 2)   learned_optimizer.lee:40
    d_sub = 2 * d_y * sub  # [d]
    d_b = -d_sub  # [d]
    d_a = d_sub[:, None] * θ  # [d, d]
    d_θ = d_sub @ a  # [d]
    return d_θ, d_a, d_b


class Point(Model):
    """What a task moves."""

    members = ("θ",)

    def __init__(self, d, *, key=(0, 0)):
        super().__init__()
        self.d = d
        self.θ = torch.nn.Parameter(normal(fold(key, SITES["θ"]), (d,), FLOAT))  # [d]  learned_optimizer.lee:45

    def forward(self, a, b):
        """a [d, d], b [d] -> []"""
        return quadratic(self.θ, a, b)  # learned_optimizer.lee:48


def unroll_saved(rule, θ, h, c, a, b, steps):
    """As unroll, and what its gradient needs."""
    total = torch.zeros((), dtype=FLOAT, device=θ.device)  # learned_optimizer.lee:54
    saved_unroll_step = [None] * steps
    for s in range(steps):
        c, h, total, θ, saved_unroll_step[s] = unroll_step_saved(rule, c, h, total, θ, a, b)
    sum_, saved_quadratic = quadratic_saved(θ, a, b)  # learned_optimizer.lee:60
    return total + sum_, θ, h, c, (saved_unroll_step, saved_quadratic)


def unroll_backward(rule, a, θ_4, saved, steps, d_add):
    """From d_add to the gradients by rule, θ, h, c, a and b."""
    saved_unroll_step, saved_quadratic = saved
    d = a.shape[0]
    # gradient of return total + quadratic(θ, a, b), θ, h, c   learned_optimizer.lee:60
    d_θ_4, d_a_2, d_b_2 = quadratic_backward_2(θ_4, a, saved_quadratic, d_add)
    # gradient of for s in steps:   learned_optimizer.lee:54
    d_c_2 = torch.zeros((d, rule.hidden), dtype=FLOAT, device=a.device)  # [d, rule.hidden]
    d_rule_cell_w_2 = torch.zeros((2, 4 * rule.hidden), dtype=FLOAT, device=a.device)  # [2, 4 * rule.hidden]
    # [rule.hidden, 4 * rule.hidden]
    d_rule_cell_u_2 = torch.zeros((rule.hidden, 4 * rule.hidden), dtype=FLOAT, device=a.device)
    d_a_later = torch.zeros((d, d), dtype=FLOAT, device=a.device)  # [d, d]
    d_c_3 = d_c_2
    d_h_3 = d_c_2
    d_total_2 = d_add
    d_rule = {
        "cell": {"w": d_rule_cell_w_2, "u": d_rule_cell_u_2},
        "out": {"w": torch.zeros((rule.hidden, 1), dtype=FLOAT, device=a.device)},
    }
    d_rule_cell_b_rows = [None] * steps
    d_rule_out_b_rows = [None] * steps
    d_b_rows = [None] * steps
    for s in reversed(range(steps)):
        d_c_3, d_h_3, d_total_2, d_θ_4, d_rule, d_a_later, d_rule_cell_b_rows[s], d_rule_out_b_rows[s], d_b_rows[s] = (
            unroll_step_backward(rule, saved_unroll_step[s], a, d_c_3, d_h_3, d_total_2, d_θ_4, d_rule, d_a_later)
        )
    d_rule_cell_b_rows = (
        torch.stack(d_rule_cell_b_rows, 0)
        if d_rule_cell_b_rows
        else torch.zeros((steps, 4 * rule.hidden), dtype=FLOAT, device=a.device)
    )
    d_rule_out_b_rows = (
        torch.stack(d_rule_out_b_rows, 0)
        if d_rule_out_b_rows
        else torch.zeros((steps, 1), dtype=FLOAT, device=a.device)
    )
    d_b_rows = torch.stack(d_b_rows, 0) if d_b_rows else torch.zeros((steps, d), dtype=FLOAT, device=a.device)
    d_rule_cell_b = d_rule_cell_b_rows.sum(dim=0)  # [4 * rule.hidden]
    d_rule_out_b = d_rule_out_b_rows.sum(dim=0)  # [1]
    d_a = d_a_2 + d_a_later  # [d, d]
    d_b = d_b_2 + d_b_rows.sum(dim=0)  # [d]
    return (
        {
            "cell": {"w": d_rule["cell"]["w"], "u": d_rule["cell"]["u"], "b": d_rule_cell_b},
            "out": {"w": d_rule["out"]["w"], "b": d_rule_out_b},
        },
        d_θ_4,
        d_h_3,
        d_c_3,
        d_a,
        d_b,
    )


def unroll_step_saved(rule, c, h, total, θ, a, b):
    """As unroll_step, and what its gradient needs."""
    loss, saved_quadratic = quadratic_saved(θ, a, b)  # learned_optimizer.lee:55
    total_2 = total + loss  # learned_optimizer.lee:56
    d_loss = torch.ones((), dtype=FLOAT, device=c.device)  # learned_optimizer.lee:57
    g = stop(quadratic_backward(a, saved_quadratic, d_loss))  # [d]
    step, h_3, c_3, saved_rule = rule.forward_saved(g, h, c)  # learned_optimizer.lee:58
    θ_3 = θ + step  # [d]  learned_optimizer.lee:59
    return c_3, h_3, total_2, θ_3, (saved_quadratic, saved_rule, c, h, θ, h_3)


def unroll_step_backward(rule, saved, a, d_c_3, d_h_3, d_total_2, d_θ_3, d_rule, d_a):
    """From d_c_3, d_h_3, d_total_2, d_θ_3, d_rule and d_a to the gradients by c, h, total, θ, rule, a, rule.cell.b, rule.out.b and b."""
    saved_quadratic, saved_rule, c, h, θ, h_3 = saved
    # gradient of step, h, c = rule(g, h, c)   learned_optimizer.lee:58
    d_rule_, d_h, d_c = rule.forward_backward(h, c, saved_rule, h_3, d_θ_3, d_h_3, d_c_3)
    # gradient of loss = quadratic(θ, a, b)   learned_optimizer.lee:55
    d_θ_2, d_a_, d_b = quadratic_backward_2(θ, a, saved_quadratic, d_total_2)
    d_θ = d_θ_3 + d_θ_2  # [d]
    return (
        d_c,
        d_h,
        d_total_2,
        d_θ,
        {
            "cell": {"w": d_rule["cell"]["w"] + d_rule_["cell"]["w"], "u": d_rule["cell"]["u"] + d_rule_["cell"]["u"]},
            "out": {"w": d_rule["out"]["w"] + d_rule_["out"]["w"]},
        },
        d_a + d_a_,
        d_rule_["cell"]["b"],
        d_rule_["out"]["b"],
        d_b,
    )


def unroll_step_saved_in_step(rule, c, h, total, θ, a, b):
    """As unroll_step, and what its gradient needs."""
    d = c.shape[0]
    sub = a @ θ - b  # [d]  learned_optimizer.lee:40
    loss = (sub**2).sum()
    total_2 = total + loss  # learned_optimizer.lee:56
    g = 2 * sub @ a  # [d]  learned_optimizer.lee:40
    abs_ = torch.abs(g)  # [d]  learned_optimizer.lee:16
    big = abs_ >= math.exp(-rule.p)  # bool[d]
    div = torch.log(abs_.clamp(min=1e-30)) / rule.p  # [d]  learned_optimizer.lee:17
    direction = torch.where(big, torch.sign(g), math.exp(rule.p) * g)  # [d]  learned_optimizer.lee:18
    concat = torch.stack((torch.where(big, div, -1), direction), dim=1)  # [d, 2]  learned_optimizer.lee:19
    add_2 = concat @ rule.cell.w + h @ rule.cell.u + rule.cell.b  # [d, 4 * rule.hidden]  nn.lee:250
    z = add_2.reshape(d, 4, rule.hidden)  # [d, 4, rule.hidden]
    sigmoid = torch.sigmoid(z[:, 1])  # [d, rule.hidden]  prelude.lee:36
    sigmoid_2 = torch.sigmoid(z[:, 0])  # [d, rule.hidden]
    tanh = torch.tanh(z[:, 2])  # [d, rule.hidden]  nn.lee:251
    c_3 = sigmoid * c + sigmoid_2 * tanh  # [d, rule.hidden]
    sigmoid_3 = torch.sigmoid(z[:, 3])  # [d, rule.hidden]  prelude.lee:36
    tanh_memory = torch.tanh(c_3)  # [d, rule.hidden]  nn.lee:252
    h_3 = sigmoid_3 * tanh_memory  # [d, rule.hidden]
    step = rule.scale * torch.addmm(rule.out.b, h_3, rule.out.w).reshape(d)  # [d]  learned_optimizer.lee:20
    θ_3 = θ + step  # [d]  learned_optimizer.lee:59
    saved = sub, concat, sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory, c, h, θ, h_3
    return c_3, h_3, total_2, θ_3, saved


def unroll_step_backward_2_in_step(rule, saved, a, d_c_3, d_h_3, d_total_2, d_θ_3, d_rule):
    """From d_c_3, d_h_3, d_total_2, d_θ_3 and d_rule to the gradients by c, h, total, θ, rule, rule.cell.b and rule.out.b."""
    sub, concat, sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory, c, h, _, h_3 = saved
    d = sub.shape[0]
    # gradient of return scale * out(h)[:, 0], h, c   learned_optimizer.lee:20
    d_out_out = (d_θ_3 * rule.scale)[:, None]  # [d, 1]
    # gradient of return x @ w + b   nn.lee:21
    d_rule_out_b = d_out_out.sum(dim=0)  # [1]
    d_rule_out_w = h_3.T @ d_out_out  # [rule.hidden, 1]
    # gradient of h, c = cell(stack(size, direction, axis = 1), h, c)   learned_optimizer.lee:19
    d_h_2_2 = d_h_3 + d_out_out @ rule.out.w.T  # [d, rule.hidden]
    # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
    d_memory_2 = d_c_3 + d_h_2_2 * sigmoid_3 * (1 - tanh_memory * tanh_memory)  # [d, rule.hidden]
    d_c = d_memory_2 * sigmoid  # [d, rule.hidden]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_reshape_4 = d_h_2_2 * tanh_memory * sigmoid_3 * (1 - sigmoid_3)  # [d, rule.hidden]
    d_reshape_2 = d_memory_2 * tanh * sigmoid_2 * (1 - sigmoid_2)  # [d, rule.hidden]
    # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
    d_reshape_3 = d_memory_2 * sigmoid_2 * (1 - tanh * tanh)  # [d, rule.hidden]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_reshape = d_memory_2 * c * sigmoid * (1 - sigmoid)  # [d, rule.hidden]
    # gradient of z = reshape(x @ w + h @ u + b, [n, 4, hidden])   nn.lee:250
    d_z = torch.stack((d_reshape_2, d_reshape, d_reshape_3, d_reshape_4), dim=1)  # [d, 4, rule.hidden]
    d_add_2 = d_z.reshape(d, 4 * rule.hidden)  # [d, 4 * rule.hidden]
    d_rule_cell_b = d_add_2.sum(dim=0)  # [4 * rule.hidden]
    d_h = d_add_2 @ rule.cell.u.T  # [d, rule.hidden]
    d_rule_cell_u = h.T @ d_add_2  # [rule.hidden, 4 * rule.hidden]
    d_rule_cell_w = concat.T @ d_add_2  # [2, 4 * rule.hidden]
    # gradient of loss = quadratic(θ, a, b)   learned_optimizer.lee:55
    d_θ = d_θ_3 + 2 * d_total_2 * sub @ a  # [d]
    # gradient of step, h, c = rule(g, h, c)   learned_optimizer.lee:58
    return (
        d_c,
        d_h,
        d_total_2,
        d_θ,
        {
            "cell": {"w": d_rule["cell"]["w"] + d_rule_cell_w, "u": d_rule["cell"]["u"] + d_rule_cell_u},
            "out": {"w": d_rule["out"]["w"] + d_rule_out_w},
        },
        d_rule_cell_b,
        d_rule_out_b,
    )


@torch.no_grad()
def learned(rounds=400, d=10, length=100, segment=20, hidden=20, tasks=20, *, run=None):
    """Truncated back-propagation through `segment` steps at a time; then the rule at work on tasks never met."""
    from leec.runtime.run import Run

    run = run or Run("learned", backend="torch")
    rule = Rule(hidden=hidden, key=run.key("rule")).to(run.session.place.device)  # learned_optimizer.lee:68
    opt = Adam(lr=3e-3)  # learned_optimizer.lee:69
    step = LearnedStep(rule, opt)
    for round_ in run.loop("round", 1, rounds, opt=opt, rule=rule):
        a, b, θ, h, c = learned_a_b_θ_h_c(d, hidden, key=run.key("learned"))  # learned_optimizer.lee:71
        c, h, θ = run.restore("part", c=c, h=h, θ=θ)
        for part in run.loop("part", 0, length // segment - 1, opt=opt, rule=rule):
            c, h, θ, loss = step(θ, h, c, a, b, segment)  # learned_optimizer.lee:77
            run.step(loss)
            run.keep("part", c=c, h=h, θ=θ)
    left = 0.0  # learned_optimizer.lee:79
    a, b, left = run.restore("task", a=a, b=b, left=left)
    for task in run.loop("task", 1, tasks):
        a, b = learned_a_b(d, key=run.key("learned"))  # learned_optimizer.lee:81
        point = Point(d=d, key=run.key("point")).to(run.session.place.device)  # learned_optimizer.lee:83
        own = Learned(rule=rule.copy())  # learned_optimizer.lee:84
        step_ = LearnedStep2(point, own)
        for step_2 in run.loop("step", 1, length, own=own, point=point):
            run.step(step_(a, b))  # learned_optimizer.lee:86
        left = learned_left(left, point, a, b, tasks)  # learned_optimizer.lee:87
        run.keep("task", a=a, b=b, left=left)
    run.report(left=left)  # learned_optimizer.lee:88
    return rule


def learned_a_b_θ_h_c(d, hidden, key):
    a = normal(fold(key, SITES["a"]), (d, d), FLOAT)  # [d, d]  learned_optimizer.lee:71
    b = normal(fold(key, SITES["b"]), (d,), FLOAT)  # [d]  learned_optimizer.lee:72
    θ = normal(fold(key, SITES["θ"]), (d,), FLOAT)  # [d]  learned_optimizer.lee:73
    h = torch.zeros((d, hidden), dtype=FLOAT)  # [d, hidden]  learned_optimizer.lee:74
    return a, b, θ, h, h


class LearnedStep(TrainStep):
    """One step of learned for rule, opt: call it with a batch."""

    moved = (("opt", ("rule",)),)
    counted = ("opt",)
    read = ("rule.cell.w", "rule.cell.u", "rule.cell.b", "rule.out.w", "rule.out.b")
    spare = (None,)

    def __init__(self, rule, opt):
        self.rule, self.opt = rule, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, θ, h, c, a, b, segment, t):
        cell_w, cell_u, cell_b, out_w, out_b = self.tensors
        d_cell_w, d_cell_u, d_cell_b, d_out_w, d_out_b = self.gradients
        d = θ.shape[0]
        hidden = h.shape[1]
        total = torch.zeros((), dtype=FLOAT, device=θ.device)  # learned_optimizer.lee:54
        saved_unroll_step = [None] * segment
        for s in range(segment):
            c, h, total, θ, saved_unroll_step[s] = unroll_step_saved_in_step(self.rule, c, h, total, θ, a, b)
        sub = a @ θ - b  # [d]  learned_optimizer.lee:40
        total_ = total + (sub * sub).sum()  # learned_optimizer.lee:60
        d_c = torch.zeros((d, hidden), dtype=FLOAT, device=θ.device)  # [d, hidden]  learned_optimizer.lee:54
        d_rule_cell_u_2 = torch.zeros((hidden, 4 * hidden), dtype=FLOAT, device=θ.device)  # [hidden, 4 * hidden]
        d_total_2 = torch.ones((), dtype=FLOAT, device=θ.device)  # learned_optimizer.lee:78
        d_θ_3 = 2 * sub @ a  # [d]  learned_optimizer.lee:40
        d_c_3 = d_c  # learned_optimizer.lee:54
        d_h_3 = d_c
        d_rule = {
            "cell": {"w": torch.zeros((2, 4 * hidden), dtype=FLOAT, device=θ.device), "u": d_rule_cell_u_2},
            "out": {"w": torch.zeros((hidden, 1), dtype=FLOAT, device=θ.device)},
        }
        d_rule_cell_b_rows = torch.empty((segment, 4 * hidden), dtype=FLOAT, device=θ.device)  # [segment, 4 * hidden]
        d_rule_out_b_rows = torch.empty((segment, 1), dtype=FLOAT, device=θ.device)  # [segment, 1]
        for s_ in reversed(range(segment)):
            d_c_3, d_h_3, d_total_2, d_θ_3, d_rule, d_rule_cell_b_rows[s_], d_rule_out_b_rows[s_] = (
                unroll_step_backward_2_in_step(
                    self.rule, saved_unroll_step[s_], a, d_c_3, d_h_3, d_total_2, d_θ_3, d_rule
                )
            )
        torch.sum(d_rule_cell_b_rows, dim=0, out=d_cell_b)  # [4 * hidden]
        torch.sum(d_rule_out_b_rows, dim=0, out=d_out_b)  # [1]
        d_cell_w.copy_(d_rule["cell"]["w"])  # [2, 4 * hidden]  learned_optimizer.lee:78
        d_cell_u.copy_(d_rule["cell"]["u"])  # [hidden, 4 * hidden]
        d_out_w.copy_(d_rule["out"]["w"])  # [hidden, 1]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ_, g, m, v in self.blocks[0]:
            adam_(θ_, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return c, h, θ, total_  # learned_optimizer.lee:60


def learned_a_b(d, key):
    a = normal(fold(key, SITES["a#2"]), (d, d), FLOAT)  # [d, d]  learned_optimizer.lee:81
    b = normal(fold(key, SITES["b#2"]), (d,), FLOAT)  # [d]  learned_optimizer.lee:82
    return a, b


class LearnedStep2(TrainStep):
    """One step of learned for point, own: call it with a batch."""

    moved = (("own", ("point",)),)
    counted = ()
    read = ("point.θ",)
    spare = (0,)

    def __init__(self, point, own):
        self.point, self.own = point, own
        self.bind()

    def step(self, a, b):
        (θ,) = self.tensors
        (d_θ,) = self.gradients
        sub = a @ θ - b  # [d]  learned_optimizer.lee:40
        torch.mv(a.T, 2 * sub, out=d_θ)  # [d]
        self.vectors[0].moved_by(self.own.update)
        return (sub * sub).sum()


def learned_left(left, point, a, b, tasks):
    """a [d, d], b [d] -> []"""
    left_2 = left + point(a, b) / tasks  # learned_optimizer.lee:87
    return left_2


def example_unrolled(key):
    rule = Rule(hidden=4, key=fold(key, SITES["rule"]))  # learned_optimizer.lee:96
    θ = normal(fold(key, SITES["θ"]), (3,), FLOAT)  # [3]  learned_optimizer.lee:97
    a = normal(fold(key, SITES["a"]), (3, 3), FLOAT)  # [3, 3]  learned_optimizer.lee:98
    b = normal(fold(key, SITES["b"]), (3,), FLOAT)  # [3]  learned_optimizer.lee:99
    h = normal(fold(key, SITES["h"]), (3, 4), FLOAT)  # [3, 4]  learned_optimizer.lee:100
    c = normal(fold(key, SITES["c"]), (3, 4), FLOAT)  # [3, 4]  learned_optimizer.lee:101
    total, θ_after, _, _, saved_unroll = unroll_saved(rule, θ, h, c, a, b, 3)  # learned_optimizer.lee:102
    d_total = torch.ones((), dtype=FLOAT)  # learned_optimizer.lee:103
    # learned_optimizer.lee:102
    d_rule, d_θ, d_h, d_c, d_a, d_b = unroll_backward(rule, a, θ_after, saved_unroll, 3, d_total)
    return total, rule.at(d_rule), d_θ, d_a, d_b, d_h, d_c


def example_small_slopes(key):
    rule = Rule(hidden=4, key=fold(key, SITES["rule"]))  # learned_optimizer.lee:107
    g = 1e-4 * normal(fold(key, SITES["g"]), (5,), FLOAT)  # [5]  learned_optimizer.lee:108
    fill = torch.zeros((5, 4), dtype=FLOAT)  # [5, 4]  learned_optimizer.lee:109
    step, h, _, saved_rule = rule.forward_saved(g, fill, fill)
    d_step = 2 * step  # [5]
    d_rule, d_g = rule.forward_backward_2(g, fill, fill, saved_rule, h, d_step)
    return (step**2).sum(), rule.at(d_rule), d_g


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


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


class LSTMCell(Model):
    """c ← f c + i g, h ← o tanh(c), one step: gates i, f, g, o in this order (Hochreiter & Schmidhuber 1997)."""

    members = ("w", "u", "b")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # nn.lee:245
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, 4 * hidden), FLOAT)  # [inputs, 4 * hidden]
        uniform_2 = uniform(fold(key, SITES["u"]), (hidden, 4 * hidden), FLOAT)  # [hidden, 4 * hidden]  nn.lee:246
        uniform_3 = uniform(fold(key, SITES["b"]), (4 * hidden,), FLOAT)  # [4 * hidden]  nn.lee:247
        self.w = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, 4 * hidden]  nn.lee:245
        self.u = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [hidden, 4 * hidden]  nn.lee:246
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_3)  # [4 * hidden]  nn.lee:247

    def forward(self, x, h, c):
        """x [n, inputs], h [n, hidden], c [n, hidden] -> [n, hidden], [n, hidden]"""
        n = x.shape[0]
        z = (x @ self.w + h @ self.u + self.b).reshape(n, 4, self.hidden)  # [n, 4, hidden]  nn.lee:250
        memory = torch.sigmoid(z[:, 1]) * c + torch.sigmoid(z[:, 0]) * torch.tanh(z[:, 2])  # [n, hidden]  nn.lee:251
        return torch.sigmoid(z[:, 3]) * torch.tanh(memory), memory  # nn.lee:252

    def forward_saved(self, x, h, c):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        z = (x @ self.w + h @ self.u + self.b).reshape(n, 4, self.hidden)  # [n, 4, hidden]  nn.lee:250
        sigmoid = torch.sigmoid(z[:, 1])  # [n, hidden]  prelude.lee:36
        sigmoid_2 = torch.sigmoid(z[:, 0])  # [n, hidden]
        tanh = torch.tanh(z[:, 2])  # [n, hidden]  nn.lee:251
        memory = sigmoid * c + sigmoid_2 * tanh  # [n, hidden]
        sigmoid_3 = torch.sigmoid(z[:, 3])  # [n, hidden]  prelude.lee:36
        tanh_memory = torch.tanh(memory)  # [n, hidden]  nn.lee:252
        return sigmoid_3 * tanh_memory, memory, (sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory)

    def forward_backward(self, x, h, c, saved, d_y, d_memory):
        """From d_y and d_memory to the gradients by the parameters, h and c."""
        sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory = saved
        n = x.shape[0]
        # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
        d_memory_2 = d_memory + d_y * sigmoid_3 * (1 - tanh_memory**2)  # [n, hidden]
        d_c = d_memory_2 * sigmoid  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_reshape_2 = d_memory_2 * tanh * (sigmoid_2 * (1 - sigmoid_2))  # [n, hidden]
        d_reshape_4 = d_y * tanh_memory * (sigmoid_3 * (1 - sigmoid_3))  # [n, hidden]
        d_reshape = d_memory_2 * c * (sigmoid * (1 - sigmoid))  # [n, hidden]
        # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
        d_reshape_3 = d_memory_2 * sigmoid_2 * (1 - tanh**2)  # [n, hidden]
        # gradient of z = reshape(x @ w + h @ u + b, [n, 4, hidden])   nn.lee:250
        d_z = torch.stack((d_reshape_2, d_reshape, d_reshape_3, d_reshape_4), dim=1)  # [n, 4, hidden]
        d_add_2 = d_z.reshape(n, 4 * self.hidden)  # [n, 4 * hidden]
        d_b = d_add_2.sum(dim=0)  # [4 * hidden]
        d_h = d_add_2 @ self.u.T  # [n, hidden]
        d_u = h.T @ d_add_2  # [hidden, 4 * hidden]
        d_w = x.T @ d_add_2  # [inputs, 4 * hidden]
        return {"w": d_w, "u": d_u, "b": d_b}, d_h, d_c

    def forward_backward_2(self, x, h, c, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory = saved
        n = x.shape[0]
        # gradient of return sigmoid(z[:, 3]) * tanh(memory), memory   nn.lee:252
        d_memory = d_y * sigmoid_3 * (1 - tanh_memory**2)  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_reshape_4 = d_y * tanh_memory * (sigmoid_3 * (1 - sigmoid_3))  # [n, hidden]
        d_reshape_2 = d_memory * tanh * (sigmoid_2 * (1 - sigmoid_2))  # [n, hidden]
        d_reshape = d_memory * c * (sigmoid * (1 - sigmoid))  # [n, hidden]
        # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
        d_reshape_3 = d_memory * sigmoid_2 * (1 - tanh**2)  # [n, hidden]
        # gradient of z = reshape(x @ w + h @ u + b, [n, 4, hidden])   nn.lee:250
        d_z = torch.stack((d_reshape_2, d_reshape, d_reshape_3, d_reshape_4), dim=1)  # [n, 4, hidden]
        d_add_2 = d_z.reshape(n, 4 * self.hidden)  # [n, 4 * hidden]
        d_b = d_add_2.sum(dim=0)  # [4 * hidden]
        d_u = h.T @ d_add_2  # [hidden, 4 * hidden]
        d_x = d_add_2 @ self.w.T  # [n, inputs]
        d_w = x.T @ d_add_2  # [inputs, 4 * hidden]
        return {"w": d_w, "u": d_u, "b": d_b}, d_x


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


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "a#2": 0x2E3E65391061D440,
    "b": 0x754F854DE3C27284,
    "b#2": 0x6D197797A1B1B9F0,
    "c": 0x1B2C07CD64633F37,
    "cell": 0x3FB231439DC63663,
    "g": 0xBC30DBAED87C766C,
    "h": 0x30335FE014629146,
    "out": 0x00B417F045D422B4,
    "rule": 0xB4D88ECFC30D4842,
    "u": 0x08D267E10C593806,
    "w": 0x20925082A2286B9E,
    "θ": 0x543291B86F539084,
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
