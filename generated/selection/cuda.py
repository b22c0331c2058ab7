"""Which model to keep (inventory B1, B5, B7, B8, B11, B12, B14): error by flexibility, validation, search, committees.

Made from specs/generalisation/selection.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/generalisation/selection.lee
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


def polynomials_saved(x, at, y):
    """As polynomials, and what its gradient needs."""
    n = x.shape[0]
    m = at.shape[0]
    fill = torch.ones(n, dtype=FLOAT, device=x.device)  # [n]  selection.lee:18
    squares = dot(fill, fill)  # selection.lee:20
    div = dot(fill, y) / squares  # selection.lee:24
    a = dot(x, fill) / squares  # selection.lee:26
    p = x - a  # [n]  selection.lee:29
    p_at_2 = at - a  # [m]  selection.lee:30
    squares_3 = dot(p, p)  # selection.lee:24
    div_2 = dot(p, y) / squares_3
    fit_3 = div + div_2 * p_at_2  # [m]
    mul_2 = x * p  # [n]  selection.lee:26
    a_2 = dot(mul_2, p) / squares_3
    b = squares_3 / squares  # selection.lee:27
    sub = x - a_2  # [n]  selection.lee:29
    p_2 = sub * p - b  # [n]
    sub_2 = at - a_2  # [m]  selection.lee:30
    p_at_3 = sub_2 * p_at_2 - b  # [m]
    squares_4 = dot(p_2, p_2)  # selection.lee:24
    div_3 = dot(p_2, y) / squares_4
    fit_4 = fit_3 + div_3 * p_at_3  # [m]
    mul_6 = x * p_2  # [n]  selection.lee:26
    a_3 = dot(mul_6, p_2) / squares_4
    b_2 = squares_4 / squares_3  # selection.lee:27
    sub_3 = x - a_3  # [n]  selection.lee:29
    p_3 = sub_3 * p_2 - b_2 * p  # [n]
    sub_4 = at - a_3  # [m]  selection.lee:30
    p_at_4 = sub_4 * p_at_3 - b_2 * p_at_2  # [m]
    squares_5 = dot(p_3, p_3)  # selection.lee:24
    div_4 = dot(p_3, y) / squares_5
    fit_5 = fit_4 + div_4 * p_at_4  # [m]
    mul_12 = x * p_3  # [n]  selection.lee:26
    a_4 = dot(mul_12, p_3) / squares_5
    b_3 = squares_5 / squares_4  # selection.lee:27
    sub_5 = x - a_4  # [n]  selection.lee:29
    p_4 = sub_5 * p_3 - b_3 * p_2  # [n]
    sub_6 = at - a_4  # [m]  selection.lee:30
    p_at_5 = sub_6 * p_at_4 - b_3 * p_at_3  # [m]
    squares_6 = dot(p_4, p_4)  # selection.lee:24
    div_5 = dot(p_4, y) / squares_6
    fit_6 = fit_5 + div_5 * p_at_5  # [m]
    broadcast = div.expand(1, m)  # [1, m]  selection.lee:31
    concat = torch.cat((broadcast, fit_3[None], fit_4[None], fit_5[None], fit_6[None]), dim=0)  # [5, m]
    saved = (
        squares,
        p,
        p_at_2,
        squares_3,
        div_2,
        mul_2,
        a_2,
        sub,
        p_2,
        sub_2,
        p_at_3,
        squares_4,
        div_3,
        mul_6,
        a_3,
        b_2,
        sub_3,
        p_3,
        sub_4,
        p_at_4,
        squares_5,
        div_4,
        mul_12,
        a_4,
        b_3,
        sub_5,
        p_4,
        sub_6,
        p_at_5,
        squares_6,
        div_5,
    )
    return concat, saved


def polynomials_backward(x, y, saved, d_concat):
    """From d_concat to the gradients by x, at and y."""
    squares, p, p_at_2, squares_3, div_2, mul_2, a_2, sub, p_2, sub_2, p_at_3, squares_4, div_3, mul_6, a_3, b_2, sub_3, p_3, sub_4, p_at_4, squares_5, div_4, mul_12, a_4, b_3, sub_5, p_4, sub_6, p_at_5, squares_6, div_5 = saved
    n = x.shape[0]
    # gradient of p, p_at = ones([n]), ones([m])   selection.lee:18
    fill = torch.ones(n, dtype=FLOAT, device=x.device)  # [n]
    # gradient of return stack(fits)   selection.lee:31
    d_fit_6 = d_concat[4]  # [m]
    # gradient of fit = fit + dot(p, y) / dot(p, p) * p_at   selection.lee:24
    d_p_at_5 = d_fit_6 * div_5  # [m]
    d_div_5 = (d_fit_6 * p_at_5).sum()
    d_squares_6 = -(d_div_5 * div_5 / squares_6)
    d_p_4_2, d_p_4_3 = dot_backward(p_4, p_4, d_squares_6)
    d_p_4_4, d_y_2 = dot_backward(p_4, y, d_div_5 / squares_6)
    # gradient of p_at, before_at = (at - a) * p_at - b * before_at, p_at   selection.lee:30
    d_sub_6 = d_p_at_5 * p_at_4  # [m]
    # gradient of p, before = (x - a) * p - b * before, p   selection.lee:29
    d_p_4 = d_p_4_2 + d_p_4_3 + d_p_4_4  # [n]
    d_sub_5 = d_p_4 * p_3  # [n]
    # gradient of b = dot(p, p) / squares if degree > 0 else 0.0   selection.lee:27
    d_b_3 = (-d_p_at_5 * p_at_3).sum() + (-d_p_4 * p_2).sum()
    # gradient of a = dot(x * p, p) / dot(p, p)   selection.lee:26
    d_a_4 = -(d_sub_6.sum() + d_sub_5.sum())
    d_mul_12, d_p_3_3 = dot_backward(mul_12, p_3, d_a_4 / squares_5)
    # gradient of fit = fit + dot(p, y) / dot(p, p) * p_at   selection.lee:24
    d_fit_5 = d_concat[3] + d_fit_6  # [m]
    d_div_4 = (d_fit_5 * p_at_4).sum()
    d_squares_5 = d_b_3 / squares_4 - d_a_4 * a_4 / squares_5 - d_div_4 * div_4 / squares_5
    d_p_3_5, d_p_3_6 = dot_backward(p_3, p_3, d_squares_5)
    d_p_3_7, d_y_3 = dot_backward(p_3, y, d_div_4 / squares_5)
    # gradient of p_at, before_at = (at - a) * p_at - b * before_at, p_at   selection.lee:30
    d_p_at_4 = d_p_at_5 * sub_6 + d_fit_5 * div_4  # [m]
    d_sub_4 = d_p_at_4 * p_at_3  # [m]
    # gradient of p, before = (x - a) * p - b * before, p   selection.lee:29
    d_p_3 = d_p_4 * sub_5 + d_p_3_3 + d_mul_12 * x + d_p_3_5 + d_p_3_6 + d_p_3_7  # [n]
    d_sub_3 = d_p_3 * p_2  # [n]
    # gradient of b = dot(p, p) / squares if degree > 0 else 0.0   selection.lee:27
    d_b_2 = (-d_p_at_4 * p_at_2).sum() + (-d_p_3 * p).sum()
    # gradient of a = dot(x * p, p) / dot(p, p)   selection.lee:26
    d_a_3 = -(d_sub_4.sum() + d_sub_3.sum())
    d_mul_6, d_p_2_4 = dot_backward(mul_6, p_2, d_a_3 / squares_4)
    # gradient of fit = fit + dot(p, y) / dot(p, p) * p_at   selection.lee:24
    d_fit_4 = d_concat[2] + d_fit_5  # [m]
    d_div_3 = (d_fit_4 * p_at_3).sum()
    d_squares_4_6 = d_b_2 / squares_3 - d_b_3 * b_3 / squares_4
    d_squares_4 = d_squares_4_6 - d_a_3 * a_3 / squares_4 - d_div_3 * div_3 / squares_4
    d_p_2_6, d_p_2_7 = dot_backward(p_2, p_2, d_squares_4)
    d_p_2_8, d_y_4 = dot_backward(p_2, y, d_div_3 / squares_4)
    # gradient of p_at, before_at = (at - a) * p_at - b * before_at, p_at   selection.lee:30
    d_p_at_3 = -d_p_at_5 * b_3 + d_p_at_4 * sub_4 + d_fit_4 * div_3  # [m]
    d_sub_2 = d_p_at_3 * p_at_2  # [m]
    # gradient of p, before = (x - a) * p - b * before, p   selection.lee:29
    d_p_2_11 = -d_p_4 * b_3 + d_p_3 * sub_3 + d_p_2_4 + d_mul_6 * x  # [n]
    d_p_2 = d_p_2_11 + d_p_2_6 + d_p_2_7 + d_p_2_8  # [n]
    d_sub = d_p_2 * p  # [n]
    # gradient of b = dot(p, p) / squares if degree > 0 else 0.0   selection.lee:27
    d_b = -(d_p_at_3.sum() + d_p_2.sum())
    # gradient of a = dot(x * p, p) / dot(p, p)   selection.lee:26
    d_a_2 = -(d_sub_2.sum() + d_sub.sum())
    d_mul_2, d_p_7 = dot_backward(mul_2, p, d_a_2 / squares_3)
    # gradient of fit = fit + dot(p, y) / dot(p, p) * p_at   selection.lee:24
    d_fit_3 = d_concat[1] + d_fit_4  # [m]
    d_div_2 = (d_fit_3 * p_at_2).sum()
    d_squares_3_6 = d_b / squares - d_b_2 * b_2 / squares_3
    d_squares_3 = d_squares_3_6 - d_a_2 * a_2 / squares_3 - d_div_2 * div_2 / squares_3
    d_p_9, d_p_10 = dot_backward(p, p, d_squares_3)
    d_p_11, d_y_5 = dot_backward(p, y, d_div_2 / squares_3)
    # gradient of p_at, before_at = (at - a) * p_at - b * before_at, p_at   selection.lee:30
    d_p_at_2 = -d_p_at_4 * b_2 + d_p_at_3 * sub_2 + d_fit_3 * div_2  # [m]
    # gradient of p, before = (x - a) * p - b * before, p   selection.lee:29
    d_p_15 = -d_p_3 * b_2 + d_p_2 * sub + d_p_7 + d_mul_2 * x + d_p_9  # [n]
    d_p = d_p_15 + d_p_10 + d_p_11  # [n]
    # gradient of a = dot(x * p, p) / dot(p, p)   selection.lee:26
    d_a = -(d_p_at_2.sum() + d_p.sum())
    # gradient of fit = fit + dot(p, y) / dot(p, p) * p_at   selection.lee:24
    d_y_6 = dot_backward_3(fill, (d_concat[:1].sum() + d_fit_3.sum()) / squares)  # [n]
    d_x_9 = d_sub_5 + d_mul_12 * p_3 + d_sub_3 + d_mul_6 * p_2 + d_sub  # [n]
    d_x = d_x_9 + d_mul_2 * p + d_p + dot_backward_2(fill, d_a / squares)  # [n]
    d_at = d_sub_6 + d_sub_4 + d_sub_2 + d_p_at_2  # [m]
    d_y = d_y_2 + d_y_3 + d_y_4 + d_y_5 + d_y_6  # [n]
    return d_x, d_at, d_y


def error_by_degree_saved(x, y, at, target):
    """As error_by_degree, and what its gradient needs."""
    concat, saved_polynomials = polynomials_saved(x, x, y)  # selection.lee:36
    sub = concat - y  # [5, n]
    known = (sub**2).mean(dim=1)  # [5]
    concat_2, saved_polynomials_ = polynomials_saved(x, at, y)  # selection.lee:37
    sub_2 = concat_2 - target  # [5, m]
    unknown = (sub_2**2).mean(dim=1)  # [5]
    return known, unknown, (saved_polynomials, sub, saved_polynomials_, sub_2)


def error_by_degree_backward(x, y, saved, d_known, d_unknown):
    """From d_known and d_unknown to the gradients by x, y, at and target."""
    saved_polynomials, sub, saved_polynomials_, sub_2 = saved
    n = x.shape[0]
    m = sub_2.shape[1]
    # gradient of unknown = mean((polynomials(x, at, y, largest) - target) ** 2, axis = 1)   selection.lee:37
    d_sub_2_2 = (d_unknown / m)[:, None] * sub_2  # [5, m]
    d_target = (-2 * d_sub_2_2).sum(dim=0)  # [m]
    d_x_2, d_at, d_y_2 = polynomials_backward(x, y, saved_polynomials_, 2 * d_sub_2_2)
    # gradient of known = mean((polynomials(x, x, y, largest) - y) ** 2, axis = 1)   selection.lee:36
    d_sub_3 = (d_known / n)[:, None] * sub  # [5, n]
    d_x_3, d_x_4, d_y_4 = polynomials_backward(x, y, saved_polynomials, 2 * d_sub_3)
    d_x = d_x_2 + d_x_3 + d_x_4  # [n]
    d_y = d_y_2 + (-2 * d_sub_3).sum(dim=0) + d_y_4  # [n]
    return d_x, d_y, d_at, d_target


def variance_ratio_saved(x, y, classes):
    """As variance_ratio, and what its gradient needs."""
    n = x.shape[0]
    member = one_hot(y, classes)  # [n, classes]  selection.lee:46
    size = member.sum(dim=0)  # [classes]  selection.lee:47
    centre = member.T @ x / size[:, None]  # [classes, d]  selection.lee:48
    sub = centre.T - x.mean(dim=0)[:, None]  # [d, classes]  selection.lee:49
    between = sub**2 @ size  # [d]
    sub_2 = x.T - centre.T @ member.T  # [d, n]  selection.lee:50
    inside = (sub_2**2).sum(dim=1)  # [d]
    div_2 = inside / (n - classes)  # [d]  selection.lee:51
    return between / (classes - 1) / div_2, (member, size, sub, sub_2, div_2)


def variance_ratio_backward(saved, div_3, d_div_3):
    """From d_div_3 to the gradient by x."""
    member, size, sub, sub_2, div_2 = saved
    n, classes = member.shape
    # gradient of return between / (classes - 1) / (inside / (n - classes))   selection.lee:51
    d_inside = -(d_div_3 * div_3 / div_2) / (n - classes)  # [d]
    d_between = d_div_3 / div_2 / (classes - 1)  # [d]
    # gradient of inside[j] = sum[i]((x[i, j] - sum[c](member[i, c] * centre[c, j])) ** 2)   selection.lee:50
    d_sub_2_2 = d_inside[:, None] * sub_2  # [d, n]
    # gradient of between[j] = sum[c](size[c] * (centre[c, j] - mean(x, axis = 0)[j]) ** 2)   selection.lee:49
    d_sub_3 = d_between[:, None] * size * sub  # [d, classes]
    # gradient of centre[c, j] = sum[i](member[i, c] * x[i, j]) / size[c]   selection.lee:48
    d_centre = member.T @ (-2 * d_sub_2_2).T + (2 * d_sub_3).T  # [classes, d]
    d_x_5 = (2 * d_sub_2_2).T + (-2 * d_sub_3).sum(dim=1) / n  # [n, d]
    d_x = d_x_5 + member @ (d_centre / size[:, None])  # [n, d]
    return d_x  # [n, d]


def most_telling_saved(x, score, keep):
    """As most_telling, and what its gradient needs."""
    slice_ = torch.argsort(score, dim=0, descending=True, stable=True)[:keep]  # int[keep]  selection.lee:56
    kept = x.permute((1, 0))[slice_].T  # [n, keep]  selection.lee:57
    return kept, slice_


def most_telling_backward(slice_, d, d_kept):
    """From d_kept to the gradient by x."""
    n = d_kept.shape[0]
    # gradient of kept[i, j in keep] = x[i, place[j]]   selection.lee:57
    d_x = scatter_add(d_kept.T, (slice_,), (n, d), (1,))  # [n, d]
    return d_x  # [n, d]


class Shared(Model):
    """One square layer used again and again: as deep as many, with the parameters of one."""

    members = ("first", "again", "last")

    def __init__(self, features, width, rounds, classes, *, key=(0, 0)):
        super().__init__()
        self.features, self.width, self.rounds, self.classes = features, width, rounds, classes
        self.first = Linear(features, width, key=fold(key, SITES["first"]))  # selection.lee:63
        self.again = Linear(width, width, key=fold(key, SITES["again"]))  # selection.lee:64
        self.last = Linear(width, classes, key=fold(key, SITES["last"]))  # selection.lee:65

    def forward_step(self, h):
        """h [n, width] -> [n, width]"""
        h_3 = relu(self.again(h))  # [n, width]  selection.lee:70
        return h_3  # [n, width]

    def forward_step_saved(self, h):
        """As forward_step, and what its gradient needs."""
        h_3 = relu(self.again(h))  # [n, width]  selection.lee:70
        return h_3, (h, h_3)

    def forward_step_backward(self, saved, d_h_3, d_self):
        """From d_h_3 and d_self to the gradients by h, the parameters and again.b."""
        h, h_3 = saved
        # gradient of h = relu(again(h))   selection.lee:70
        d_again, d_h = self.again.forward_backward(h, relu_backward(h_3, d_h_3))
        return d_h, {"again": {"w": d_self["again"]["w"] + d_again["w"]}}, d_again["b"]

    def forward(self, x):
        """x [n, features] -> [n, classes]"""
        h = relu(self.first(x))  # [n, width]  selection.lee:68
        # selection.lee:69
        for step in range(self.rounds):
            h = self.forward_step(h)
        return self.last(h)  # [n, classes]  selection.lee:71

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        h = relu(self.first(x))  # [n, width]  selection.lee:68
        h_ = h  # selection.lee:69
        saved_forward_step = [None] * self.rounds
        for step in range(self.rounds):
            h_, saved_forward_step[step] = self.forward_step_saved(h_)
        return self.last(h_), (h, h_, saved_forward_step)  # selection.lee:71

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        h, h_4, saved_forward_step = saved
        # gradient of return last(h)   selection.lee:71
        d_last, d_h_4 = self.last.forward_backward(h_4, d_y)
        # gradient of for step in rounds:   selection.lee:69
        d_again_w_2 = torch.zeros((self.width, self.width), dtype=FLOAT, device=x.device)  # [width, width]
        d_self = {"again": {"w": d_again_w_2}}
        d_again_b_rows = [None] * self.rounds
        for step in reversed(range(self.rounds)):
            d_h_4, d_self, d_again_b_rows[step] = self.forward_step_backward(saved_forward_step[step], d_h_4, d_self)
        d_again_b_rows = (
            torch.stack(d_again_b_rows, 0)
            if d_again_b_rows
            else torch.zeros((self.rounds, self.width), dtype=FLOAT, device=x.device)
        )
        d_again_b = d_again_b_rows.sum(dim=0)  # [width]
        # gradient of h = relu(first(x))   selection.lee:68
        d_first, d_x = self.first.forward_backward(x, relu_backward(h, d_h_4))
        return {"first": d_first, "again": {"w": d_self["again"]["w"], "b": d_again_b}, "last": d_last}, d_x


class Committee(Model):
    """Nets that differ in their first weights; the probabilities of all are averaged."""

    members = ("members",)
    renamed = {"members": "members_"}

    def __init__(self, sizes, *, key=(0, 0)):
        super().__init__()
        self.sizes = sizes
        # selection.lee:79
        self.members_ = torch.nn.ModuleList(
            [
                MLP((sizes[0], sizes[1], sizes[2]), key=fold(key, SITES["members.0"])),
                MLP((sizes[0], sizes[1], sizes[2]), key=fold(key, SITES["members.1"])),
                MLP((sizes[0], sizes[1], sizes[2]), key=fold(key, SITES["members.2"])),
            ]
        )

    def forward(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_2]"""
        total = softmax(self.members_[0](x), (1,))  # [x_0, sizes_2]  prelude.lee:122
        total_2 = total + softmax(self.members_[1](x), (1,))  # [x_0, sizes_2]  selection.lee:84
        total_3 = total_2 + softmax(self.members_[2](x), (1,))  # [x_0, sizes_2]
        return total_3 / 3  # [x_0, sizes_2]  selection.lee:85

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        add_2, saved_members__0_ = self.members_[0].forward_saved(x)  # selection.lee:84
        total = softmax(add_2, (1,))  # [x_0, sizes_2]  prelude.lee:122
        add_2_2, saved_members__1_ = self.members_[1].forward_saved(x)  # selection.lee:84
        softmax_ = softmax(add_2_2, (1,))  # [x_0, sizes_2]  prelude.lee:122
        total_2 = total + softmax_  # [x_0, sizes_2]  selection.lee:84
        add_2_3, saved_members__2_ = self.members_[2].forward_saved(x)
        softmax_2 = softmax(add_2_3, (1,))  # [x_0, sizes_2]  prelude.lee:122
        total_3 = total_2 + softmax_2  # [x_0, sizes_2]  selection.lee:84
        saved = saved_members__0_, total, saved_members__1_, softmax_, saved_members__2_, softmax_2
        return total_3 / 3, saved  # selection.lee:85

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        saved_members__0_, total, saved_members__1_, softmax_, saved_members__2_, softmax_2 = saved
        # gradient of return total / count   selection.lee:85
        d_total_3 = d_y / 3  # [x_0, sizes_2]
        # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
        sub = d_total_3 - (d_total_3 * softmax_2).sum(dim=1, keepdim=True)  # [x_0, sizes_2]
        # gradient of total = total + softmax(net(x), axis = 1)   selection.lee:84
        d_members__2_, d_x_2 = self.members_[2].forward_backward(x, saved_members__2_, softmax_2 * sub)
        # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
        sub_2 = d_total_3 - (d_total_3 * softmax_).sum(dim=1, keepdim=True)  # [x_0, sizes_2]
        # gradient of total = total + softmax(net(x), axis = 1)   selection.lee:84
        d_members__1_, d_x_3 = self.members_[1].forward_backward(x, saved_members__1_, softmax_ * sub_2)
        # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
        sub_3 = d_total_3 - (d_total_3 * total).sum(dim=1, keepdim=True)  # [x_0, sizes_2]
        # gradient of total = total + softmax(net(x), axis = 1)   selection.lee:84
        d_members__0_, d_x_4 = self.members_[0].forward_backward(x, saved_members__0_, total * sub_3)
        d_x = d_x_2 + d_x_3 + d_x_4  # [x_0, sizes_0]
        return {"members.0": d_members__0_, "members.1": d_members__1_, "members.2": d_members__2_}, d_x


def loss_of_each_saved(committee_, x, y):
    """As loss_of_each, and what its gradient needs."""
    add_2, saved_committee__members__0_ = committee_.members_[0].forward_saved(x)  # selection.lee:92
    total = cross_entropy(add_2, y)
    add_2_2, saved_committee__members__1_ = committee_.members_[1].forward_saved(x)
    total_2 = total + cross_entropy(add_2_2, y)
    add_2_3, saved_committee__members__2_ = committee_.members_[2].forward_saved(x)
    total_3 = total_2 + cross_entropy(add_2_3, y)
    saved = (
        add_2,
        saved_committee__members__0_,
        add_2_2,
        saved_committee__members__1_,
        add_2_3,
        saved_committee__members__2_,
    )
    return total_3, saved


def loss_of_each_backward(committee_, x, y, saved, d_total_3):
    """From d_total_3 to the gradients by committee and x."""
    add_2, saved_committee__members__0_, add_2_2, saved_committee__members__1_, add_2_3, saved_committee__members__2_ = saved
    # gradient of total = total + cross_entropy(net(x), y)   selection.lee:92
    d_add_2_3 = cross_entropy_backward(add_2_3, y, d_total_3)  # [x_0, committee.sizes_2]
    d_committee__members__2_, d_x_2 = committee_.members_[2].forward_backward(
        x, saved_committee__members__2_, d_add_2_3
    )
    d_add_2_2 = cross_entropy_backward(add_2_2, y, d_total_3)  # [x_0, committee.sizes_2]
    d_committee__members__1_, d_x_3 = committee_.members_[1].forward_backward(
        x, saved_committee__members__1_, d_add_2_2
    )
    d_add_2 = cross_entropy_backward(add_2, y, d_total_3)  # [x_0, committee.sizes_2]
    d_committee__members__0_, d_x_4 = committee_.members_[0].forward_backward(x, saved_committee__members__0_, d_add_2)
    d_x = d_x_2 + d_x_3 + d_x_4  # [x_0, committee.sizes_0]
    return {
        "members.0": d_committee__members__0_,
        "members.1": d_committee__members__1_,
        "members.2": d_committee__members__2_,
    }, d_x


class Scores(Model):
    """A score for each class, at first 0."""

    members = ("w", "b")

    def __init__(self, features, classes):
        super().__init__()
        self.features, self.classes = features, classes
        # [features, classes]  selection.lee:101
        self.w = torch.nn.Parameter(torch.zeros((features, classes), dtype=FLOAT))
        self.b = torch.nn.Parameter(torch.zeros(classes, dtype=FLOAT))  # [classes]  selection.lee:102

    def forward(self, x):
        """x [n, features] -> [n, classes]"""
        return torch.addmm(self.b, x, self.w)  # [n, classes]  selection.lee:105


@torch.no_grad()
def early_stopping(epochs=60, batch=64, patience=3, rate=0.5, *, run=None):
    """Ends when the validation loss has not fallen for some epochs, and gives back the net that had the lowest."""
    from leec.runtime.run import Run

    run = run or Run("early_stopping", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    known, unknown = run.split("known", data.train, 0.2)  # selection.lee:111
    net = MLP(sizes=(64, 32, 10), key=run.key("net")).to(run.session.place.device)  # selection.lee:112
    opt = SGD(lr=rate)  # selection.lee:113
    step = EarlyStoppingStep(net, opt)
    best = net.copy()  # selection.lee:114
    lowest = torch.inf  # selection.lee:115
    waited = 0  # selection.lee:116
    best, lowest, waited = run.restore("epoch", best=best, lowest=lowest, waited=waited)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", known, batch, shuffle=True):
            run.step(step(x, y))  # selection.lee:119
        valid = early_stopping_valid(net, unknown.x, unknown.y)  # selection.lee:120
        run.report(valid=valid)  # selection.lee:121
        if valid < lowest:
            best = net.copy()  # selection.lee:123
            lowest = valid  # selection.lee:124
            waited = 0  # selection.lee:125
        else:
            waited = waited + 1  # selection.lee:127
            if waited >= patience:
                break
        run.keep("epoch", best=best, lowest=lowest, waited=waited)
    run.report(test=accuracy(best(data.test.x), data.test.y))  # selection.lee:130
    return best


class EarlyStoppingStep(TrainStep):
    """One step of early_stopping for net, opt: call it with a batch."""

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


def early_stopping_valid(net, unknown_x, unknown_y):
    """unknown_x [unknown_n, 64], unknown_y int[unknown_n] -> []"""
    valid = cross_entropy(net(unknown_x), unknown_y)  # selection.lee:120
    return valid


@torch.no_grad()
def validated(steps=60, part=0.25, rate=0.5, *, run=None):
    """The rate whose net has the lowest validation loss; the test part is touched once, at the end."""
    from leec.runtime.run import Run

    run = run or Run("validated", backend="torch")
    data = run.data(
        "breast_cancer", standardize=True, test=0.25, fields={"x": ("float", ("n", 30)), "y": ("int", ("n",))}
    )
    known, valid = run.split("known", data.train, part)  # selection.lee:137
    best = Scores(features=30, classes=2).to(run.session.place.device)  # selection.lee:138
    lowest = torch.inf  # selection.lee:139
    best, lowest = run.restore("factor", best=best, lowest=lowest)
    for factor in run.loop("factor", 1, 4):
        net = Scores(features=30, classes=2).to(run.session.place.device)  # selection.lee:141
        opt = SGD(lr=rate * factor)  # selection.lee:142
        step = ValidatedStep(net, opt)
        for step_ in run.loop("step", 1, steps, net=net, opt=opt):
            run.step(step(known.x, known.y))  # selection.lee:144
        loss = validated_loss(net, valid.x, valid.y)  # selection.lee:145
        run.report(loss=loss)  # selection.lee:146
        if loss < lowest:
            best = net.copy()  # selection.lee:148
            lowest = loss  # selection.lee:149
        run.keep("factor", best=best, lowest=lowest)
    run.report(test=accuracy(best(data.test.x), data.test.y))  # selection.lee:150
    return best


class ValidatedStep(TrainStep):
    """One step of validated for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.w", "net.b")
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, known_n):
        return (known_n, 1.0 / known_n)

    def constants(self):
        return (self.opt.lr, self.opt.weight_decay)

    def step(self, known_x, known_y):
        w, b = self.tensors
        d_w, d_b = self.gradients
        known_n = known_x.shape[0]
        count, scale = self.held(known_n)  # known_n, 1.0 / known_n
        net_out = torch.addmm(b, known_x, w)  # [known_n, 2]  selection.lee:105
        surprise = torch.nn.functional.cross_entropy(net_out, known_y, reduction="none")  # [known_n]  losses.lee:45
        iota = torch.arange(2, device=known_x.device)[None, :]  # int[1, 2]
        one_hot_ = (iota == known_y[:, None]).to(FLOAT)  # [known_n, 2]
        d_net_out = (torch.softmax(net_out, dim=1) - one_hot_) * scale  # [known_n, 2]
        torch.sum(d_net_out, dim=0, out=d_b)  # [2]  selection.lee:105
        torch.mm(known_x.T, d_net_out, out=d_w)  # [30, 2]
        lr = self.opt.lr
        weight_decay = self.opt.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return surprise.sum() / count  # losses.lee:148


def validated_loss(net, valid_x, valid_y):
    """valid_x [valid_n, 30], valid_y int[valid_n] -> []"""
    loss = cross_entropy(net(valid_x), valid_y)  # selection.lee:145
    return loss


@torch.no_grad()
def cross_validated(data, parts=5, steps=60, rate=1.0, *, run=None):
    """Each part validates once. The decay with the lowest mean loss is then used on all training data."""
    from leec.runtime.run import Run

    run = run or Run("cross_validated", backend="torch")
    data = run.accept("data", data, fields={"x": ("float", ("n", "d")), "y": ("int", ("n",))})  # selection.lee:154
    winner = 0.0  # selection.lee:156
    lowest = torch.inf  # selection.lee:157
    lowest, winner = run.restore("choice", lowest=lowest, winner=winner)
    for choice in run.loop("choice", 0, 3):
        decay = 0.01 * choice  # selection.lee:159
        total = 0.0  # selection.lee:160
        folds = run.folds("folds", data.train, k=parts)  # selection.lee:161
        (total,) = run.restore("fold", total=total)
        for known, valid in run.each("fold", folds):
            net = Scores(features=data.train.x.shape[1], classes=3).to(run.session.place.device)  # selection.lee:162
            opt = SGD(lr=rate)  # selection.lee:163
            step = CrossValidatedStep(net, opt)
            for step_ in run.loop("step", 1, steps, net=net, opt=opt):
                run.step(step(known.x, known.y, decay))  # selection.lee:165
            total = cross_validated_total(total, net, valid.x, valid.y)  # selection.lee:166
            run.keep("fold", total=total)
        run.report(score=total / parts)  # selection.lee:167
        if total < lowest:
            lowest = total  # selection.lee:169
            winner = decay  # selection.lee:170
        run.keep("choice", lowest=lowest, winner=winner)
    net = Scores(features=data.train.x.shape[1], classes=3).to(run.session.place.device)  # selection.lee:171
    opt = SGD(lr=rate)  # selection.lee:172
    step = CrossValidatedStep(net, opt)
    step_2 = CrossValidatedStep2(net, opt)
    for step_ in run.loop("step_2", 1, steps, net=net, opt=opt):
        run.step(step_2(data.train.x, data.train.y, winner))  # selection.lee:174
    return net


class CrossValidatedStep(TrainStep):
    """One step of cross_validated for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.w", "net.b")
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, known_n):
        return (known_n, 1.0 / known_n)

    def constants(self):
        return (self.opt.lr, self.opt.weight_decay)

    def step(self, known_x, known_y, decay):
        w, b = self.tensors
        d_w, d_b = self.gradients
        known_n = known_x.shape[0]
        count, scale = self.held(known_n)  # known_n, 1.0 / known_n
        net_out = torch.addmm(b, known_x, w)  # [known_n, 3]  selection.lee:105
        surprise = torch.nn.functional.cross_entropy(net_out, known_y, reduction="none")  # [known_n]  losses.lee:45
        iota = torch.arange(3, device=known_x.device)[None, :]  # int[1, 3]
        one_hot_ = (iota == known_y[:, None]).to(FLOAT)  # [known_n, 3]
        d_net_out = (torch.softmax(net_out, dim=1) - one_hot_) * scale  # [known_n, 3]
        torch.sum(d_net_out, dim=0, out=d_b)  # [3]  selection.lee:105
        torch.mul(w, decay, out=d_w)  # [d, 3]  selection.lee:165
        d_w.mul_(2)  # [d, 3]
        d_w.add_(known_x.T @ d_net_out)  # [d, 3]
        loss = surprise.sum() / count + decay * (w * w).sum()
        lr = self.opt.lr
        weight_decay = self.opt.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return loss


def cross_validated_total(total, net, valid_x, valid_y):
    """valid_x [valid_n, d], valid_y int[valid_n] -> []"""
    total_2 = total + cross_entropy(net(valid_x), valid_y)  # selection.lee:166
    return total_2


class CrossValidatedStep2(TrainStep):
    """One step of cross_validated for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.w", "net.b")
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, data_train_n):
        return (data_train_n, 1.0 / data_train_n)

    def constants(self):
        return (self.opt.lr, self.opt.weight_decay)

    def step(self, data_train_x, data_train_y, winner):
        w, b = self.tensors
        d_w, d_b = self.gradients
        data_train_n = data_train_x.shape[0]
        count, scale = self.held(data_train_n)  # data_train_n, 1.0 / data_train_n
        net_out = torch.addmm(b, data_train_x, w)  # [data_train_n, 3]  selection.lee:105
        # [data_train_n]  losses.lee:45
        surprise = torch.nn.functional.cross_entropy(net_out, data_train_y, reduction="none")
        iota = torch.arange(3, device=data_train_x.device)[None, :]  # int[1, 3]
        one_hot_ = (iota == data_train_y[:, None]).to(FLOAT)  # [data_train_n, 3]
        d_net_out = (torch.softmax(net_out, dim=1) - one_hot_) * scale  # [data_train_n, 3]
        torch.sum(d_net_out, dim=0, out=d_b)  # [3]  selection.lee:105
        torch.mul(w, winner, out=d_w)  # [d, 3]  selection.lee:174
        d_w.mul_(2)  # [d, 3]
        d_w.add_(data_train_x.T @ d_net_out)  # [d, 3]
        loss = surprise.sum() / count + winner * (w * w).sum()
        lr = self.opt.lr
        weight_decay = self.opt.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return loss


@torch.no_grad()
def rates(steps=20, *, run=None):
    """Too large a rate diverges, too small a rate crawls: the loss after every update, for several rates."""
    from leec.runtime.run import Run

    run = run or Run("rates", backend="torch")
    data = run.data("diabetes", standardize=True, test=0, fields={"x": ("float", ("n", 10)), "y": ("float", ("n",))})
    x, y = rates_x_y(data.train.x, data.train.y)  # selection.lee:181
    run.restore("rate")
    for rate in run.each("rate", (0.3, 0.1, 0.01, 1e-3)):
        w = rates_w()  # selection.lee:184
        for step in run.loop("step", 1, steps):
            w = rates_w_2(w, rate, x, y)  # selection.lee:186
            run.report(loss=mse(x @ w, y))  # selection.lee:187


def rates_x_y(data_train_x, data_train_y):
    """data_train_x [data_train_n, 10], data_train_y [data_train_n] -> [data_train_n, 10], [data_train_n]"""
    y = data_train_y - data_train_y.mean()  # [data_train_n]  selection.lee:182
    return data_train_x, y


def rates_w():
    w = torch.zeros(10, dtype=FLOAT)  # [10]  selection.lee:184
    return w  # [10]


def rates_w_2(w, rate, x, y):
    """w [10], x [data_train_n, 10], y [data_train_n] -> [10]"""
    _, saved_mse = mse_saved(x @ w, y)  # selection.lee:186
    d_contract = mse_backward(saved_mse, torch.ones((), dtype=FLOAT, device=w.device))  # [data_train_n]
    w_2 = w - rate * (d_contract @ x)  # [10]
    return w_2  # [10]


@torch.no_grad()
def committee(epochs=10, batch=64, rate=0.3, *, run=None):
    """Nets from different first weights, each trained by itself; together they are wrong less often."""
    from leec.runtime.run import Run

    run = run or Run("committee", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Committee(sizes=(64, 12, 10), key=run.key("net")).to(run.session.place.device)  # selection.lee:193
    opt = SGD(lr=rate)  # selection.lee:194
    step = CommitteeStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # selection.lee:197
        reported_alone, reported_together = committee_alone_together(net, data.test.x, data.test.y)  # selection.lee:198
        run.report(alone=reported_alone, together=reported_together)  # selection.lee:198
    return net


class CommitteeStep(TrainStep):
    """One step of committee for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.members.0.layers.0.w",
        "net.members.0.layers.0.b",
        "net.members.0.layers.1.w",
        "net.members.0.layers.1.b",
        "net.members.1.layers.0.w",
        "net.members.1.layers.0.b",
        "net.members.1.layers.1.w",
        "net.members.1.layers.1.b",
        "net.members.2.layers.0.w",
        "net.members.2.layers.0.b",
        "net.members.2.layers.1.w",
        "net.members.2.layers.1.b",
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
        members_0_layers_0_w, members_0_layers_0_b, members_0_layers_1_w = self.tensors[:3]
        members_0_layers_1_b, members_1_layers_0_w, members_1_layers_0_b = self.tensors[3:6]
        members_1_layers_1_w, members_1_layers_1_b, members_2_layers_0_w = self.tensors[6:9]
        members_2_layers_0_b, members_2_layers_1_w, members_2_layers_1_b = self.tensors[9:]
        d_members_0_layers_0_w, d_members_0_layers_0_b, d_members_0_layers_1_w = self.gradients[:3]
        d_members_0_layers_1_b, d_members_1_layers_0_w, d_members_1_layers_0_b = self.gradients[3:6]
        d_members_1_layers_1_w, d_members_1_layers_1_b, d_members_2_layers_0_w = self.gradients[6:9]
        d_members_2_layers_0_b, d_members_2_layers_1_w, d_members_2_layers_1_b = self.gradients[9:]
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        # [batches_n, 12]  prelude.lee:61
        x_2_3 = torch.relu(torch.addmm(members_0_layers_0_b, x, members_0_layers_0_w))
        affine_2 = torch.addmm(members_0_layers_1_b, x_2_3, members_0_layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        # [batches_n, 12]  prelude.lee:61
        x_2_2 = torch.relu(torch.addmm(members_1_layers_0_b, x, members_1_layers_0_w))
        add_2_2 = torch.addmm(members_1_layers_1_b, x_2_2, members_1_layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise_2 = torch.nn.functional.cross_entropy(add_2_2, y, reduction="none")  # [batches_n]  losses.lee:45
        x_2 = torch.relu(torch.addmm(members_2_layers_0_b, x, members_2_layers_0_w))  # [batches_n, 12]  prelude.lee:61
        add_2_3 = torch.addmm(members_2_layers_1_b, x_2, members_2_layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise_3 = torch.nn.functional.cross_entropy(add_2_3, y, reduction="none")  # [batches_n]  losses.lee:45
        total_2 = surprise.sum() / count + surprise_2.sum() / count  # selection.lee:92
        # [batches_n, 10]  losses.lee:45
        one_hot_ = (torch.arange(10, device=x.device)[None, :] == y[:, None]).to(FLOAT)
        d_add_2_3 = (torch.softmax(add_2_3, dim=1) - one_hot_) * scale  # [batches_n, 10]
        torch.sum(d_add_2_3, dim=0, out=d_members_2_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2_3, out=d_members_2_layers_1_w)  # [12, 10]
        d_x_2 = d_add_2_3 @ members_2_layers_1_w.T  # [batches_n, 12]
        d_add = torch.ops.aten.threshold_backward(d_x_2, x_2, 0)  # [batches_n, 12]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_members_2_layers_0_b)  # [12]  nn.lee:21
        torch.mm(x.T, d_add, out=d_members_2_layers_0_w)  # [64, 12]
        d_add_2_2 = (torch.softmax(add_2_2, dim=1) - one_hot_) * scale  # [batches_n, 10]  losses.lee:45
        torch.sum(d_add_2_2, dim=0, out=d_members_1_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2_2.T, d_add_2_2, out=d_members_1_layers_1_w)  # [12, 10]
        d_x_2_2 = d_add_2_2 @ members_1_layers_1_w.T  # [batches_n, 12]
        d_add_3 = torch.ops.aten.threshold_backward(d_x_2_2, x_2_2, 0)  # [batches_n, 12]  prelude.lee:61
        torch.sum(d_add_3, dim=0, out=d_members_1_layers_0_b)  # [12]  nn.lee:21
        torch.mm(x.T, d_add_3, out=d_members_1_layers_0_w)  # [64, 12]
        d_add_2 = (torch.softmax(affine_2, dim=1) - one_hot_) * scale  # [batches_n, 10]  losses.lee:45
        torch.sum(d_add_2, dim=0, out=d_members_0_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2_3.T, d_add_2, out=d_members_0_layers_1_w)  # [12, 10]
        d_x_2_3 = d_add_2 @ members_0_layers_1_w.T  # [batches_n, 12]
        d_add_4 = torch.ops.aten.threshold_backward(d_x_2_3, x_2_3, 0)  # [batches_n, 12]  prelude.lee:61
        torch.sum(d_add_4, dim=0, out=d_members_0_layers_0_b)  # [12]  nn.lee:21
        torch.mm(x.T, d_add_4, out=d_members_0_layers_0_w)  # [64, 12]
        lr = self.opt.lr
        weight_decay = self.opt.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return total_2 + surprise_3.sum() / count  # selection.lee:92


def committee_alone_together(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [], []"""
    # selection.lee:201
    return accuracy(net.members_[0](data_test_x), data_test_y), accuracy(net(data_test_x), data_test_y)


def example_curve(key):
    x = normal(fold(key, SITES["x"]), (12,), FLOAT)  # [12]  selection.lee:206
    y = normal(fold(key, SITES["y"]), (12,), FLOAT)  # [12]  selection.lee:207
    at = normal(fold(key, SITES["at"]), (5,), FLOAT)  # [5]  selection.lee:208
    target = normal(fold(key, SITES["target"]), (5,), FLOAT)  # [5]  selection.lee:209
    known_2, unknown_2, saved_error_by_degree = error_by_degree_saved(x, y, at, target)  # selection.lee:210
    d_unknown_2 = torch.ones(5, dtype=FLOAT)  # [5]  selection.lee:211
    # selection.lee:210
    d_x, d_y, d_at, d_target = error_by_degree_backward(x, y, saved_error_by_degree, d_unknown_2, d_unknown_2)
    return known_2.sum() + unknown_2.sum(), d_x, d_y, d_at, d_target


def example_told_apart(key):
    x = normal(fold(key, SITES["x"]), (20, 4), FLOAT)  # [20, 4]  selection.lee:215
    y = randint(fold(key, SITES["y"]), (20,), 0, 3)  # int[20]  selection.lee:216
    div_3, saved_variance_ratio = variance_ratio_saved(x, y, 3)  # selection.lee:217
    d_div_3 = torch.ones(4, dtype=FLOAT)  # [4]
    d_x = variance_ratio_backward(saved_variance_ratio, div_3, d_div_3)  # [20, 4]
    return div_3.sum(), d_x


def example_kept(key):
    x = normal(fold(key, SITES["x"]), (6, 5), FLOAT)  # [6, 5]  selection.lee:221
    score = 9 * uniform(fold(key, SITES["score"]), (5,), FLOAT)  # [5]  selection.lee:222
    c = normal(fold(key, SITES["c"]), (6, 3), FLOAT)  # [6, 3]  selection.lee:223
    d_c, saved_most_telling = most_telling_saved(x, score, 3)  # selection.lee:224
    return (c * d_c).sum(), most_telling_backward(saved_most_telling, 5, c), torch.zeros(5, dtype=FLOAT), d_c


def example_shared(key):
    net = Shared(4, 5, 3, 3, key=fold(key, SITES["net"]))  # selection.lee:228
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  selection.lee:229
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  selection.lee:230
    add_3, saved_net = net.forward_saved(x)  # selection.lee:231
    d_add_3 = cross_entropy_backward(add_3, y, torch.ones((), dtype=FLOAT))  # [9, 3]
    d_net, d_x = net.forward_backward(x, saved_net, d_add_3)
    return cross_entropy(add_3, y), net.at(d_net), d_x


def example_vote(key):
    net = Committee((4, 5, 3), key=fold(key, SITES["net"]))  # selection.lee:235
    x = normal(fold(key, SITES["x"]), (6, 4), FLOAT)  # [6, 4]  selection.lee:236
    y = randint(fold(key, SITES["y"]), (6,), 0, 3)  # int[6]  selection.lee:237
    c = normal(fold(key, SITES["c"]), (6, 3), FLOAT)  # [6, 3]  selection.lee:238
    d_c, saved_net = net.forward_saved(x)  # selection.lee:239
    total_3, saved_loss_of_each = loss_of_each_saved(net, x, y)
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x_2 = loss_of_each_backward(net, x, y, saved_loss_of_each, d_value)
    d_net_, d_x_3 = net.forward_backward(x, saved_net, c)
    w = d_net["members.0"]["layers.0"]["w"] + d_net_["members.0"]["layers.0"]["w"]  # [4, 5]
    b = d_net["members.0"]["layers.0"]["b"] + d_net_["members.0"]["layers.0"]["b"]  # [5]
    w_2 = d_net["members.0"]["layers.1"]["w"] + d_net_["members.0"]["layers.1"]["w"]  # [5, 3]
    b_2 = d_net["members.0"]["layers.1"]["b"] + d_net_["members.0"]["layers.1"]["b"]  # [3]
    w_3 = d_net["members.1"]["layers.0"]["w"] + d_net_["members.1"]["layers.0"]["w"]  # [4, 5]
    b_3 = d_net["members.1"]["layers.0"]["b"] + d_net_["members.1"]["layers.0"]["b"]  # [5]
    w_4 = d_net["members.1"]["layers.1"]["w"] + d_net_["members.1"]["layers.1"]["w"]  # [5, 3]
    b_4 = d_net["members.1"]["layers.1"]["b"] + d_net_["members.1"]["layers.1"]["b"]  # [3]
    w_5 = d_net["members.2"]["layers.0"]["w"] + d_net_["members.2"]["layers.0"]["w"]  # [4, 5]
    b_5 = d_net["members.2"]["layers.0"]["b"] + d_net_["members.2"]["layers.0"]["b"]  # [5]
    w_6 = d_net["members.2"]["layers.1"]["w"] + d_net_["members.2"]["layers.1"]["w"]  # [5, 3]
    b_6 = d_net["members.2"]["layers.1"]["b"] + d_net_["members.2"]["layers.1"]["b"]  # [3]
    return (
        (c * d_c).sum() + total_3,
        net.at(
            {
                "members.0": {"layers.0": {"w": w, "b": b}, "layers.1": {"w": w_2, "b": b_2}},
                "members.1": {"layers.0": {"w": w_3, "b": b_3}, "layers.1": {"w": w_4, "b": b_4}},
                "members.2": {"layers.0": {"w": w_5, "b": b_5}, "layers.1": {"w": w_6, "b": b_6}},
            }
        ),
        d_x_2 + d_x_3,
        d_c,
    )


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def mse(y, target):
    """mean (y - target)²

    y [y_0], target [y_0] -> []
    """
    sub = y - target  # [y_0]  losses.lee:13
    return reduced(sub**2)


def mse_saved(y, target):
    """As mse, and what its gradient needs."""
    sub = y - target  # [y_0]  losses.lee:13
    return reduced(sub**2), sub


def mse_backward(sub, d_out):
    """From d_out to the gradient by y."""
    y_0 = sub.shape[0]
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_y = 2 * (reduced_backward(y_0, d_out) * sub)  # [y_0]
    return d_y  # [y_0]


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


def dot_backward_2(y, d_out):
    """From d_out to the gradient by x."""
    # gradient of return sum(x * y)   prelude.lee:158
    d_x = d_out * y  # [x_0]
    return d_x  # [x_0]


def dot_backward_3(x, d_out):
    """From d_out to the gradient by y."""
    # gradient of return sum(x * y)   prelude.lee:158
    d_y = d_out * x  # [x_0]
    return d_y  # [x_0]


@packed(0, index=(0, 1))
def one_hot(index, classes):
    """1 at the place that the index names, 0 elsewhere.

    index int[..] -> [.., classes]
    """
    place = torch.arange(classes, device=index.device)  # int[classes]  prelude.lee:253
    return (index[:, None] == place).to(FLOAT)  # [rows, classes]  prelude.lee:254


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "again": 0xC38127D6CB8E448E,
    "at": 0xDB48EBEF0A7E0AB1,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "first": 0xA31DFC4F51C2A8A2,
    "last": 0x840C26AC856B94B1,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "members.0": 0xA877DDE3A0DA5F48,
    "members.1": 0x723AA2195786C221,
    "members.2": 0xCF8EA32616605B8A,
    "net": 0xF087C76970C91612,
    "score": 0xBB12D0B9107F2826,
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
