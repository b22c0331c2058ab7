"""What happens to data before a net sees them (inventory B9, B10, B13, B15): scales, batches, sizes, more examples.

Made from specs/generalisation/preparation.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/generalisation/preparation.lee
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


def standardized(x, known):
    """(x - μ) / σ for each feature; μ and σ are those of the examples known in training, also for a test.

    x [n, d], known [m, d] -> [n, d]
    """
    return (x - known.mean(dim=0)) / std(known)  # [n, d]  preparation.lee:15


def standardized_saved(x, known):
    """As standardized, and what its gradient needs."""
    sqrt_, saved_std = std_saved(known)  # preparation.lee:15
    return (x - known.mean(dim=0)) / sqrt_, (sqrt_, saved_std)


def standardized_backward(saved, div, d_y):
    """From d_y to the gradients by x and known."""
    sqrt_, saved_std = saved
    m = saved_std[1].shape[0]
    # gradient of return (x - mean(known, axis = 0)) / std(known, axis = 0)   preparation.lee:15
    d_x = d_y / sqrt_  # [n, d]
    d_known_2 = std_backward(saved_std, sqrt_, 0, -(d_y * div / sqrt_).sum(dim=0))  # [m, d]
    d_known = d_known_2 + -d_x.sum(dim=0) / m  # [m, d]
    return d_x, d_known


def standardizedAsPrinted(x, known):
    """One set of notes adds the mean: what was off centre is then twice as far off.

    x [n, d], known [m, d] -> [n, d]
    """
    return (x + known.mean(dim=0)) / std(known)  # [n, d]  preparation.lee:20


def standardizedAsPrinted_saved(x, known):
    """As standardizedAsPrinted, and what its gradient needs."""
    sqrt_, saved_std = std_saved(known)  # preparation.lee:20
    return (x + known.mean(dim=0)) / sqrt_, (sqrt_, saved_std)


def standardizedAsPrinted_backward(saved, div, d_y):
    """From d_y to the gradients by x and known."""
    sqrt_, saved_std = saved
    m = saved_std[1].shape[0]
    # gradient of return (x + mean(known, axis = 0)) / std(known, axis = 0)   preparation.lee:20
    d_x = d_y / sqrt_  # [n, d]
    d_known_2 = std_backward(saved_std, sqrt_, 0, -(d_y * div / sqrt_).sum(dim=0))  # [m, d]
    d_known = d_known_2 + d_x.sum(dim=0) / m  # [m, d]
    return d_x, d_known


def bilinear(image, row, column):
    """The image between its pixels, a mixture of the four around each place; 0 outside.

    image [n, c, h, w], row [n, a, b], column [n, a, b] -> [n, c, a, b]
    """
    n, c, h, w = image.shape
    _, a, b = row.shape
    p = torch.floor(row).to(torch.int64)  # int[n, a, b]  preparation.lee:28
    q = torch.floor(column).to(torch.int64)  # int[n, a, b]  preparation.lee:29
    sub = row - p.to(FLOAT)  # [n, a, b]  preparation.lee:31
    u_2 = torch.arange(2, device=image.device)  # int[2]  preparation.lee:42
    eq = u_2 == 0  # bool[2]
    reshape = (1 - sub)[:, :, :, None]  # [n, a, b, 1]
    sub_3 = column - q.to(FLOAT)  # [n, a, b]  preparation.lee:31
    reshape_3 = (1 - sub_3)[:, :, :, None]  # [n, a, b, 1]  preparation.lee:42
    add = p[:, :, :, None] + u_2  # int[n, a, b, 2]  preparation.lee:32
    add_2 = q[:, :, :, None] + u_2  # int[n, a, b, 2]
    reshape_7 = ((0 <= add) & (add < h))[:, :, :, :, None]  # bool[n, a, b, 2, 1]
    logical_and_2 = reshape_7 & (0 <= add_2)[:, :, :, None]  # bool[n, a, b, 2, 2]
    maximum_3 = torch.arange(n, device=image.device).clamp(min=0)  # int[n]  preparation.lee:33
    reshape_10 = maximum_3.clamp(max=n - 1)[:, None, None, None, None]  # int[n, 1, 1, 1, 1]
    reshape_11 = add.clamp(min=0).clamp(max=h - 1)[:, :, :, :, None]  # int[n, a, b, 2, 1]
    reshape_12 = add_2.clamp(min=0).clamp(max=w - 1)[:, :, :, None]  # int[n, a, b, 1, 2]
    gather = image.permute((0, 2, 3, 1))[reshape_10, reshape_11, reshape_12]  # [n, a, b, 2, 2, c]
    reshape_13 = (logical_and_2 & (add_2 < w)[:, :, :, None])[:, None]  # bool[n, 1, a, b, 2, 2]  preparation.lee:32
    select = torch.where(eq, reshape, sub[:, :, :, None])  # [n, a, b, 2]  preparation.lee:42
    select_2 = torch.where(eq, reshape_3, sub_3[:, :, :, None])  # [n, a, b, 2]
    select_3 = torch.where(reshape_13, gather.permute(0, 5, 1, 2, 3, 4), 0)  # [n, c, a, b, 2, 2]  preparation.lee:31
    mul = select[:, :, :, :, None] * select_2[:, :, :, None]  # [n, a, b, 2, 2]  preparation.lee:30
    reshape_16 = select_3.permute(0, 2, 3, 1, 4, 5).reshape(n, a, b, c, 4)  # [n, a, b, c, 4]
    contract = reshape_16 @ mul.reshape(n, a, b, 4, 1)  # [n, a, b, c, 1]
    seen = contract.reshape(n, a, b, c).permute(0, 3, 1, 2)  # [n, c, a, b]
    return seen  # [n, c, a, b]


def bilinear_saved(image, row, column):
    """As bilinear, and what its gradient needs."""
    n, c, h, w = image.shape
    _, a, b = row.shape
    p = torch.floor(row).to(torch.int64)  # int[n, a, b]  preparation.lee:28
    q = torch.floor(column).to(torch.int64)  # int[n, a, b]  preparation.lee:29
    sub = row - p.to(FLOAT)  # [n, a, b]  preparation.lee:31
    u_2 = torch.arange(2, device=image.device)  # int[2]  preparation.lee:42
    eq = u_2 == 0  # bool[2]
    select = torch.where(eq, (1 - sub)[:, :, :, None], sub[:, :, :, None])  # [n, a, b, 2]
    sub_3 = column - q.to(FLOAT)  # [n, a, b]  preparation.lee:31
    select_2 = torch.where(eq, (1 - sub_3)[:, :, :, None], sub_3[:, :, :, None])  # [n, a, b, 2]  preparation.lee:42
    add = p[:, :, :, None] + u_2  # int[n, a, b, 2]  preparation.lee:32
    add_2 = q[:, :, :, None] + u_2  # int[n, a, b, 2]
    reshape_7 = ((0 <= add) & (add < h))[:, :, :, :, None]  # bool[n, a, b, 2, 1]
    logical_and_2 = reshape_7 & (0 <= add_2)[:, :, :, None]  # bool[n, a, b, 2, 2]
    maximum_3 = torch.arange(n, device=image.device).clamp(min=0)  # int[n]  preparation.lee:33
    reshape_10 = maximum_3.clamp(max=n - 1)[:, None, None, None, None]  # int[n, 1, 1, 1, 1]
    reshape_11 = add.clamp(min=0).clamp(max=h - 1)[:, :, :, :, None]  # int[n, a, b, 2, 1]
    reshape_12 = add_2.clamp(min=0).clamp(max=w - 1)[:, :, :, None]  # int[n, a, b, 1, 2]
    gather = image.permute((0, 2, 3, 1))[reshape_10, reshape_11, reshape_12]  # [n, a, b, 2, 2, c]
    reshape_13 = (logical_and_2 & (add_2 < w)[:, :, :, None])[:, None]  # bool[n, 1, a, b, 2, 2]  preparation.lee:32
    select_3 = torch.where(reshape_13, gather.permute(0, 5, 1, 2, 3, 4), 0)  # [n, c, a, b, 2, 2]  preparation.lee:31
    mul = select[:, :, :, :, None] * select_2[:, :, :, None]  # [n, a, b, 2, 2]  preparation.lee:30
    reshape_16 = select_3.permute(0, 2, 3, 1, 4, 5).reshape(n, a, b, c, 4)  # [n, a, b, c, 4]
    contract = reshape_16 @ mul.reshape(n, a, b, 4, 1)  # [n, a, b, c, 1]
    seen = contract.reshape(n, a, b, c).permute(0, 3, 1, 2)  # [n, c, a, b]
    saved = select, select_2, reshape_10, reshape_11, reshape_12, reshape_13, eq, select_3
    return seen, saved


def bilinear_backward(saved, h, w, d_seen):
    """From d_seen to the gradient by image."""
    select, select_2, reshape_10, reshape_11, reshape_12, reshape_13, _, _ = saved
    n = select.shape[0]
    c = d_seen.shape[1]
    # gradient of seen[r, k, i, j] = sum[u in 2, v in 2](   preparation.lee:30
    mul = select[:, :, :, :, None] * select_2[:, :, :, None]  # [n, a, b, 2, 2]
    d_select_3 = d_seen[:, :, :, :, None, None] * mul[:, None]  # [n, c, a, b, 2, 2]
    # gradient of near(row[r, i, j] - p[r, i, j], u) * near(column[r, i, j] - q[r, i, j], v) * ..   preparation.lee:31
    d_transpose = torch.where(reshape_13, d_select_3, 0)  # [n, c, a, b, 2, 2]
    # gradient of image[r, k, p[r, i, j] + u, q[r, i, j] + v],   preparation.lee:33
    d_gather = d_transpose.permute(0, 2, 3, 4, 5, 1)  # [n, a, b, 2, 2, c]
    d_image = scatter_add(d_gather, (reshape_10, reshape_11, reshape_12), (n, c, h, w), (0, 2, 3))  # [n, c, h, w]
    return d_image  # [n, c, h, w]


def bilinear_backward_2(saved, h, w, d_seen):
    """From d_seen to the gradients by image, row and column."""
    select, select_2, reshape_10, reshape_11, reshape_12, reshape_13, eq, select_3 = saved
    n, a, b, _ = select.shape
    c = select_3.shape[1]
    # gradient of seen[r, k, i, j] = sum[u in 2, v in 2](   preparation.lee:30
    reshape = select_3.permute(0, 2, 3, 4, 5, 1).reshape(n, a, b, 4, c)  # [n, a, b, 4, c]
    contract = reshape @ d_seen.permute(0, 2, 3, 1)[:, :, :, :, None]  # [n, a, b, 4, 1]
    reshape_3 = contract.reshape(n, a, b, 2, 2)  # [n, a, b, 2, 2]
    d_select = (reshape_3 @ select_2[:, :, :, :, None]).reshape(n, a, b, 2)  # [n, a, b, 2]
    reshape_5 = select[:, :, :, :, None]  # [n, a, b, 2, 1]
    d_select_2 = (reshape_3.mT @ reshape_5).reshape(n, a, b, 2)  # [n, a, b, 2]
    reshape_8 = (reshape_5 * select_2[:, :, :, None])[:, None]  # [n, 1, a, b, 2, 2]
    d_select_3 = d_seen[:, :, :, :, None, None] * reshape_8  # [n, c, a, b, 2, 2]
    # gradient of near(row[r, i, j] - p[r, i, j], u) * near(column[r, i, j] - q[r, i, j], v) * ..   preparation.lee:31
    d_transpose = torch.where(reshape_13, d_select_3, 0)  # [n, c, a, b, 2, 2]
    # gradient of image[r, k, p[r, i, j] + u, q[r, i, j] + v],   preparation.lee:33
    d_gather = d_transpose.permute(0, 2, 3, 4, 5, 1)  # [n, a, b, 2, 2, c]
    d_image = scatter_add(d_gather, (reshape_10, reshape_11, reshape_12), (n, c, h, w), (0, 2, 3))  # [n, c, h, w]
    # gradient of return where(u == 0, 1 - t, t)   preparation.lee:42
    d_sub_3 = torch.where(eq, 0, d_select_2).sum(dim=3)  # [n, a, b]
    # gradient of near(row[r, i, j] - p[r, i, j], u) * near(column[r, i, j] - q[r, i, j], v) * ..   preparation.lee:31
    d_column = d_sub_3 - torch.where(eq, d_select_2, 0).sum(dim=3)  # [n, a, b]
    # gradient of return where(u == 0, 1 - t, t)   preparation.lee:42
    d_sub = torch.where(eq, 0, d_select).sum(dim=3)  # [n, a, b]
    # gradient of near(row[r, i, j] - p[r, i, j], u) * near(column[r, i, j] - q[r, i, j], v) * ..   preparation.lee:31
    d_row = d_sub - torch.where(eq, d_select, 0).sum(dim=3)  # [n, a, b]
    return d_image, d_row, d_column


def resized_saved(image, height, width):
    """As resized, and what its gradient needs."""
    n, _, h, w = image.shape
    add = torch.arange(height, device=image.device).to(FLOAT) + 0.5  # [height]  preparation.lee:47
    minimum = (add * h / height - 0.5).clamp(min=0).clamp(max=h - 1.0)  # [height]  prelude.lee:153
    row = minimum[:, None].expand(n, height, width)  # [n, height, width]  preparation.lee:47
    add_2 = torch.arange(width, device=image.device).to(FLOAT) + 0.5  # [width]  preparation.lee:48
    minimum_2 = (add_2 * w / width - 0.5).clamp(min=0).clamp(max=w - 1.0)  # [width]  prelude.lee:153
    column = minimum_2.expand(n, height, width)  # [n, height, width]  preparation.lee:48
    seen, saved_bilinear = bilinear_saved(image, row, column)  # preparation.lee:49
    return seen, saved_bilinear


def resized_backward(saved_bilinear, h, w, d_seen):
    """From d_seen to the gradient by image."""
    # gradient of return bilinear(image, row, column)   preparation.lee:49
    d_image = bilinear_backward(saved_bilinear, h, w, d_seen)  # [n, c, h, w]
    return d_image  # [n, c, h, w]


def as_vector(image):
    """The tensor of an image in one line: row by row, pixel by pixel, channel by channel.

    image [n, c, h, w] -> [n, c * h * w]
    """
    n, c, h, w = image.shape
    y = image.permute(0, 2, 3, 1)  # [n, h, w, c]  preparation.lee:54
    return y.reshape(n, c * h * w)  # [n, c * h * w]  preparation.lee:55


def as_vector_backward(c, h, w, d_y):
    """From d_y to the gradient by image."""
    n = d_y.shape[0]
    # gradient of return flatten(y, from = 1)   preparation.lee:55
    d_y_ = d_y.reshape(n, h, w, c)  # [n, h, w, c]
    # gradient of y[r, i, j, k] = image[r, k, i, j]   preparation.lee:54
    d_image = d_y_.permute(0, 3, 1, 2)  # [n, c, h, w]
    return d_image  # [n, c, h, w]


def cut_saved(image, top, left, height, width):
    """As cut, and what its gradient needs."""
    n = image.shape[0]
    # int[n, height, 1]  preparation.lee:63
    reshape_4 = (top[:, None] + torch.arange(height, device=image.device))[:, :, None]
    reshape_5 = (left[:, None] + torch.arange(width, device=image.device))[:, None]  # int[n, 1, width]
    reshape_3 = torch.arange(n, device=image.device)[:, None, None]  # int[n, 1, 1]
    gather = image.permute((0, 2, 3, 1))[reshape_3, reshape_4, reshape_5]  # [n, height, width, c]
    patch = gather.permute(0, 3, 1, 2)  # [n, c, height, width]
    return patch, (reshape_4, reshape_5)


def cut_backward(saved, h, w, d_patch):
    """From d_patch to the gradient by image."""
    reshape_4, reshape_5 = saved
    n = reshape_4.shape[0]
    c = d_patch.shape[1]
    # gradient of patch[r, k, i in height, j in width] = image[r, k, top[r] + i, left[r] + j]   preparation.lee:63
    reshape = torch.arange(n, device=reshape_4.device)[:, None, None]  # int[n, 1, 1]
    d_gather = d_patch.permute(0, 2, 3, 1)  # [n, height, width, c]
    d_image = scatter_add(d_gather, (reshape, reshape_4, reshape_5), (n, c, h, w), (0, 2, 3))  # [n, c, h, w]
    return d_image  # [n, c, h, w]


def turned(image, angle, zoom):
    """Each image turned by its own angle about the middle, and larger by its own factor.

    image [n, c, h, w], angle [n], zoom [n] -> [n, c, h, w]
    """
    _, _, h, w = image.shape
    add = torch.arange(w, device=image.device) * 2 + (1 - w)  # int[w]  preparation.lee:69
    across = add.to(FLOAT) / w  # [w]
    add_2 = torch.arange(h, device=image.device) * 2 + (1 - h)  # int[h]  preparation.lee:70
    down = add_2.to(FLOAT) / h  # [h]
    reshape = torch.cos(angle)[:, None]  # [n, 1]  preparation.lee:71
    reshape_2 = torch.sin(angle)[:, None]  # [n, 1]
    reshape_5 = zoom[:, None, None]  # [n, 1, 1]
    sub = (reshape * across)[:, None] - (reshape_2 * down)[:, :, None]  # [n, h, w]
    column = w / 2 * (sub / reshape_5 + 1) - 0.5  # [n, h, w]
    add_4 = (reshape_2 * across)[:, None] + (reshape * down)[:, :, None]  # [n, h, w]  preparation.lee:72
    row = h / 2 * (add_4 / reshape_5 + 1) - 0.5  # [n, h, w]
    return bilinear(image, row, column)  # [n, c, h, w]  preparation.lee:73


def turned_saved(image, angle, zoom):
    """As turned, and what its gradient needs."""
    _, _, h, w = image.shape
    add = torch.arange(w, device=image.device) * 2 + (1 - w)  # int[w]  preparation.lee:69
    across = add.to(FLOAT) / w  # [w]
    add_2 = torch.arange(h, device=image.device) * 2 + (1 - h)  # int[h]  preparation.lee:70
    down = add_2.to(FLOAT) / h  # [h]
    reshape = torch.cos(angle)[:, None]  # [n, 1]  preparation.lee:71
    reshape_2 = torch.sin(angle)[:, None]  # [n, 1]
    reshape_5 = zoom[:, None, None]  # [n, 1, 1]
    div = ((reshape * across)[:, None] - (reshape_2 * down)[:, :, None]) / reshape_5  # [n, h, w]
    column = w / 2 * (div + 1) - 0.5  # [n, h, w]
    div_3 = ((reshape_2 * across)[:, None] + (reshape * down)[:, :, None]) / reshape_5  # [n, h, w]  preparation.lee:72
    row = h / 2 * (div_3 + 1) - 0.5  # [n, h, w]
    seen, saved_bilinear = bilinear_saved(image, row, column)  # preparation.lee:73
    return seen, (across, down, div, div_3, saved_bilinear)


def turned_backward(angle, zoom, saved, d_y):
    """From d_y to the gradients by image, angle and zoom."""
    across, down, div, div_3, saved_bilinear = saved
    n = angle.shape[0]
    w = across.shape[0]
    h = down.shape[0]
    # gradient of column[r, i, j] = ((cos(angle[r]) * across[j] - sin(angle[r]) * down[i]) / zo..   preparation.lee:71
    reshape = zoom[:, None, None]  # [n, 1, 1]
    # gradient of return bilinear(image, row, column)   preparation.lee:73
    d_image, d_row, d_column = bilinear_backward_2(saved_bilinear, h, w, d_y)
    # gradient of row[r, i, j] = ((sin(angle[r]) * across[j] + cos(angle[r]) * down[i]) / zoom[..   preparation.lee:72
    d_add_5 = d_row * (h / 2)  # [n, h, w]
    d_add_4 = d_add_5 / reshape  # [n, h, w]
    # gradient of column[r, i, j] = ((cos(angle[r]) * across[j] - sin(angle[r]) * down[i]) / zo..   preparation.lee:71
    d_add_3 = d_column * (w / 2)  # [n, h, w]
    d_sub = d_add_3 / reshape  # [n, h, w]
    # gradient of row[r, i, j] = ((sin(angle[r]) * across[j] + cos(angle[r]) * down[i]) / zoom[..   preparation.lee:72
    sum_ = (d_add_5 * div_3 / reshape).sum(dim=(1, 2), keepdim=True)  # [n, 1, 1]
    # gradient of column[r, i, j] = ((cos(angle[r]) * across[j] - sin(angle[r]) * down[i]) / zo..   preparation.lee:71
    sum_2 = (d_add_3 * div / reshape).sum(dim=(1, 2), keepdim=True)  # [n, 1, 1]
    d_zoom = (-(sum_ + sum_2)).reshape(n)  # [n]
    mul_5 = (-d_sub.sum(dim=2, keepdim=True)).reshape(n, h) * down  # [n, h]
    # gradient of row[r, i, j] = ((sin(angle[r]) * across[j] + cos(angle[r]) * down[i]) / zoom[..   preparation.lee:72
    d_reshape_2_2 = (d_add_4.sum(dim=1) * across).sum(dim=1, keepdim=True)  # [n, 1]
    # gradient of column[r, i, j] = ((cos(angle[r]) * across[j] - sin(angle[r]) * down[i]) / zo..   preparation.lee:71
    d_sin_angle = (d_reshape_2_2 + mul_5.sum(dim=1, keepdim=True)).reshape(n)  # [n]
    # gradient of row[r, i, j] = ((sin(angle[r]) * across[j] + cos(angle[r]) * down[i]) / zoom[..   preparation.lee:72
    d_reshape_8 = (d_add_4.sum(dim=2) * down).sum(dim=1, keepdim=True)  # [n, 1]
    # gradient of column[r, i, j] = ((cos(angle[r]) * across[j] - sin(angle[r]) * down[i]) / zo..   preparation.lee:71
    d_reshape_9 = (d_sub.sum(dim=1) * across).sum(dim=1, keepdim=True)  # [n, 1]
    mul_7 = (d_reshape_8 + d_reshape_9).reshape(n) * torch.sin(angle)  # [n]
    d_angle = d_sin_angle * torch.cos(angle) - mul_7  # [n]
    return d_image, d_angle, d_zoom


def adversarial(net, x, y, far):
    """Examples moved a little, every feature the way on which the loss grows: hard ones, with the same labels.

    x [n, net.sizes_0], y int[n] -> [n, net.sizes_0]
    """
    add_2, saved_net = net.forward_saved(x)  # preparation.lee:78
    d_mean = torch.ones((), dtype=FLOAT, device=x.device)
    d_add_2 = cross_entropy_backward(add_2, y, d_mean)  # [n, net.sizes_2]
    sign = torch.sign(net.forward_backward_input(saved_net, d_add_2))  # [n, net.sizes_0]
    return x + far * sign  # [n, net.sizes_0]


def adversarial_backward_input(d_out):
    """From d_out to the gradient by x."""
    return d_out  # [n, net.sizes_0]


@torch.no_grad()
def in_batches(epochs=3, batch=64, rate=0.5, *, run=None):
    """A batch makes one update, all batches once an epoch; every epoch deals the examples out anew.

    With batch = n it is full descent, with batch = 1 stochastic descent.
    """
    from leec.runtime.run import Run

    run = run or Run("in_batches", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Linear(inputs=64, outputs=10, key=run.key("net")).to(run.session.place.device)  # preparation.lee:90
    opt = SGD(lr=rate)  # preparation.lee:91
    step = InBatchesStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # preparation.lee:94
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # preparation.lee:95
    return net


class InBatchesStep(TrainStep):
    """One step of in_batches for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.w", "net.b")
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.weight_decay)

    def step(self, x, y):
        w, b = self.tensors
        d_w, d_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        net_out = torch.addmm(b, x, w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(net_out, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_net_out = (torch.softmax(net_out, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_net_out, dim=0, out=d_b)  # [10]  nn.lee:21
        torch.mm(x.T, d_net_out, out=d_w)  # [64, 10]
        lr = self.opt.lr
        weight_decay = self.opt.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return surprise.sum() / count  # losses.lee:148


@torch.no_grad()
def fit(epochs=20, batch=64, most=0.25, rate=3e-3, *, run=None):
    """Digits, each time seen a little turned and in another size."""
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net")).to(run.session.place.device)  # preparation.lee:102
    opt = Adam(lr=rate)  # preparation.lee:103
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for image, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(image, most, y, run.key("fit")))  # preparation.lee:106
        run.report(accuracy=accuracy(net(as_vector(data.test.x)), data.test.y))  # preparation.lee:109
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

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

    def step(self, image, most, y, key, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = image.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        key_2 = fold(key, SITES["angle"])  # preparation.lee:106
        angle = 2 * most * uniform(key_2, (batches_n,), FLOAT, image.device) - most  # [batches_n]
        key_3 = fold(key, SITES["zoom"])  # preparation.lee:107
        uniform_2 = uniform(key_3, (batches_n,), FLOAT, image.device)  # [batches_n]
        zoom = 0.9 + 0.20000000000000007 * uniform_2  # [batches_n]
        across = (torch.arange(8, device=image.device) * 2 + -7).to(FLOAT) / 8  # [8]  preparation.lee:69
        mul_3_2 = torch.cos(angle)[:, None] * across  # [batches_n, 8]  preparation.lee:71
        mul_4_2 = torch.sin(angle)[:, None] * across  # [batches_n, 8]
        reshape_4 = zoom[:, None, None]  # [batches_n, 1, 1]
        add_2 = (mul_3_2[:, None] - mul_4_2[:, :, None]) / reshape_4 + 1  # [batches_n, 8, 8]
        column = 8 / 2 * add_2 - 0.5  # [batches_n, 8, 8]
        add_4 = (mul_4_2[:, None] + mul_3_2[:, :, None]) / reshape_4 + 1  # [batches_n, 8, 8]  preparation.lee:72
        row = 8 / 2 * add_4 - 0.5  # [batches_n, 8, 8]
        p = torch.floor(row).to(torch.int64)  # int[batches_n, 8, 8]  preparation.lee:28
        q = torch.floor(column).to(torch.int64)  # int[batches_n, 8, 8]  preparation.lee:29
        sub_2 = row - p.to(FLOAT)  # [batches_n, 8, 8]  preparation.lee:31
        u_2 = torch.arange(2, device=image.device)  # int[2]  preparation.lee:42
        eq = u_2 == 0  # bool[2]
        reshape_7 = (1 - sub_2)[:, :, :, None]  # [batches_n, 8, 8, 1]
        sub_3 = column - q.to(FLOAT)  # [batches_n, 8, 8]  preparation.lee:31
        reshape_3_2 = (1 - sub_3)[:, :, :, None]  # [batches_n, 8, 8, 1]  preparation.lee:42
        add_5 = p[:, :, :, None] + u_2  # int[batches_n, 8, 8, 2]  preparation.lee:32
        add_2_2_2 = q[:, :, :, None] + u_2  # int[batches_n, 8, 8, 2]
        reshape_7_2 = ((0 <= add_5) & (add_5 < 8))[:, :, :, :, None]  # bool[batches_n, 8, 8, 2, 1]
        logical_and_2 = reshape_7_2 & (0 <= add_2_2_2)[:, :, :, None]  # bool[batches_n, 8, 8, 2, 2]
        maximum_3 = torch.arange(batches_n, device=image.device).clamp(min=0)  # int[batches_n]  preparation.lee:33
        minimum_3 = maximum_3.clamp(max=batches_n - 1)  # int[batches_n]
        reshape_11 = add_2_2_2.clamp(min=0).clamp(max=7)[:, :, :, None]  # int[batches_n, 8, 8, 1, 2]
        reshape_10 = add_5.clamp(min=0).clamp(max=7)[:, :, :, :, None]  # int[batches_n, 8, 8, 2, 1]
        reshape_9 = minimum_3[:, None, None, None, None]  # int[batches_n, 1, 1, 1, 1]
        gather = image.permute((0, 2, 3, 1))[reshape_9, reshape_10, reshape_11]  # [batches_n, 8, 8, 2, 2, 1]
        # bool[batches_n, 1, 8, 8, 2, 2]  preparation.lee:32
        reshape_12 = (logical_and_2 & (add_2_2_2 < 8)[:, :, :, None])[:, None]
        select = torch.where(eq, reshape_7, sub_2[:, :, :, None])  # [batches_n, 8, 8, 2]  preparation.lee:42
        select_2 = torch.where(eq, reshape_3_2, sub_3[:, :, :, None])  # [batches_n, 8, 8, 2]
        masked_ = masked(gather.permute(0, 5, 1, 2, 3, 4), reshape_12)  # [batches_n, 1, 8, 8, 2, 2]  preparation.lee:31
        transpose_2 = masked_.permute(0, 2, 3, 1, 4, 5)  # [batches_n, 8, 8, 1, 2, 2]  preparation.lee:54
        mul_7 = select[:, :, :, :, None] * select_2[:, :, :, None]  # [batches_n, 8, 8, 2, 2]
        reshape_15 = transpose_2.reshape(batches_n, 8, 8, 1, 4)  # [batches_n, 8, 8, 1, 4]
        contract = reshape_15 @ mul_7.reshape(batches_n, 8, 8, 4, 1)  # [batches_n, 8, 8, 1, 1]
        reshape_17 = contract.reshape(batches_n, 8, 8, 1).reshape(batches_n, 64)  # [batches_n, 64]  preparation.lee:55
        x_2 = torch.relu(torch.addmm(layers_0_b, reshape_17, layers_0_w))  # [batches_n, 64]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        eq_2 = torch.arange(10, device=image.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq_2.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [64, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(reshape_17.T, d_add, out=d_layers_0_w)  # [64, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def example_scaled(key):
    x = 1 + normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  preparation.lee:114
    known = 1 + 2 * normal(fold(key, SITES["known"]), (9, 3), FLOAT)  # [9, 3]  preparation.lee:115
    c = normal(fold(key, SITES["c"]), (5, 3), FLOAT)  # [5, 3]  preparation.lee:116
    d_c, saved_standardized = standardized_saved(x, known)  # preparation.lee:117
    d_x, d_known = standardized_backward(saved_standardized, d_c, c)
    return (c * d_c).sum(), d_x, d_known, d_c


def example_scaled_as_printed(key):
    x = 1 + normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  preparation.lee:121
    known = 1 + 2 * normal(fold(key, SITES["known"]), (9, 3), FLOAT)  # [9, 3]  preparation.lee:122
    c = normal(fold(key, SITES["c"]), (5, 3), FLOAT)  # [5, 3]  preparation.lee:123
    d_c, saved_standardizedAsPrinted = standardizedAsPrinted_saved(x, known)  # preparation.lee:124
    d_x, d_known = standardizedAsPrinted_backward(saved_standardizedAsPrinted, d_c, c)
    return (c * d_c).sum(), d_x, d_known, d_c


def example_smaller(key):
    image = normal(fold(key, SITES["image"]), (2, 3, 7, 9), FLOAT)  # [2, 3, 7, 9]  preparation.lee:128
    c = normal(fold(key, SITES["c"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  preparation.lee:129
    d_c, saved_resized = resized_saved(image, 4, 5)  # preparation.lee:130
    return (c * d_c).sum(), resized_backward(saved_resized, 7, 9, c), d_c


def example_larger(key):
    image = normal(fold(key, SITES["image"]), (2, 3, 5, 4), FLOAT)  # [2, 3, 5, 4]  preparation.lee:134
    c = normal(fold(key, SITES["c"]), (2, 3, 8, 9), FLOAT)  # [2, 3, 8, 9]  preparation.lee:135
    d_c, saved_resized = resized_saved(image, 8, 9)  # preparation.lee:136
    return (c * d_c).sum(), resized_backward(saved_resized, 5, 4, c), d_c


def example_in_a_line(key):
    image = normal(fold(key, SITES["image"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  preparation.lee:140
    c = normal(fold(key, SITES["c"]), (2, 60), FLOAT)  # [2, 60]  preparation.lee:141
    d_c = as_vector(image)  # [2, 60]  preparation.lee:142
    return (c * d_c).sum(), as_vector_backward(3, 4, 5, c), d_c


def example_patches(key):
    image = normal(fold(key, SITES["image"]), (3, 2, 6, 7), FLOAT)  # [3, 2, 6, 7]  preparation.lee:146
    top = randint(fold(key, SITES["top"]), (3,), 0, 3)  # int[3]  preparation.lee:147
    left = randint(fold(key, SITES["left"]), (3,), 0, 4)  # int[3]  preparation.lee:148
    c = normal(fold(key, SITES["c"]), (3, 2, 4, 4), FLOAT)  # [3, 2, 4, 4]  preparation.lee:149
    d_c, saved_cut = cut_saved(image, top, left, 4, 4)  # preparation.lee:150
    return (c * d_c).sum(), cut_backward(saved_cut, 6, 7, c), d_c


def example_views(key):
    image = normal(fold(key, SITES["image"]), (4, 2, 6, 5), FLOAT)  # [4, 2, 6, 5]  preparation.lee:154
    angle = -1 + 2 * uniform(fold(key, SITES["angle"]), (4,), FLOAT)  # [4]  preparation.lee:155
    zoom = 0.7 + 0.7 * uniform(fold(key, SITES["zoom"]), (4,), FLOAT)  # [4]  preparation.lee:156
    c = normal(fold(key, SITES["c"]), (4, 2, 6, 5), FLOAT)  # [4, 2, 6, 5]  preparation.lee:157
    d_c, saved_turned = turned_saved(image, angle, zoom)  # preparation.lee:158
    d_image, d_angle, d_zoom = turned_backward(angle, zoom, saved_turned, c)
    return (c * d_c).sum(), d_image, d_angle, d_zoom, d_c


def example_hard_ones(key):
    net = MLP((6, 5, 3), key=fold(key, SITES["net"]))  # preparation.lee:162
    x = normal(fold(key, SITES["x"]), (4, 6), FLOAT)  # [4, 6]  preparation.lee:163
    y = randint(fold(key, SITES["y"]), (4,), 0, 3)  # int[4]  preparation.lee:164
    add = adversarial(net, x, y, 0.1)  # [4, 6]  preparation.lee:165
    add_2, saved_net = net.forward_saved(add)
    d_add_2 = cross_entropy_backward(add_2, y, torch.ones((), dtype=FLOAT))  # [4, 3]
    d_net, d_add = net.forward_backward(add, saved_net, d_add_2)
    return cross_entropy(add_2, y), net.at(d_net), adversarial_backward_input(d_add)


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

    def forward_backward_input(self, d_y):
        """From d_y to the gradient by x."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_y @ self.w.T  # [rows, inputs]
        return d_x  # [rows, inputs]

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

    def forward_backward_input(self, x_2, d_y):
        """From d_y to the gradient by x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_x_2 = self.layers[1].forward_backward_input(d_y)  # [x_0, sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x = self.layers[0].forward_backward_input(relu_backward(x_2, d_x_2))  # [x_0, sizes_0]
        return d_x  # [x_0, sizes_0]

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


def var(x, ddof=0):
    """Σ (x - mean)² / (n - ddof) over all entries, or along an axis or several.

    x [x_0, x_1] -> [x_1]
    """
    x_0 = x.shape[0]
    sub = x - x.mean(dim=0, keepdim=True)  # [x_0, x_1]  prelude.lee:168
    total = (sub**2).sum(dim=0)  # [x_1]
    return total / (x_0 - ddof)  # [x_1]  prelude.lee:169


def var_saved(x, ddof=0):
    """As var, and what its gradient needs."""
    x_0 = x.shape[0]
    sub = x - x.mean(dim=0, keepdim=True)  # [x_0, x_1]  prelude.lee:168
    total = (sub**2).sum(dim=0)  # [x_1]
    return total / (x_0 - ddof), sub  # prelude.lee:169


def var_backward(sub, ddof, d_y):
    """From d_y to the gradient by x."""
    x_0 = sub.shape[0]
    # gradient of return total / (count(x) // count(total) - ddof)   prelude.lee:169
    d_total = d_y / (x_0 - ddof)  # [x_1]
    # gradient of total = sum((x - mean(x, axis = axis, keepdims = true)) ** 2, axis = axis, ke..   prelude.lee:168
    d_sub_2 = d_total * sub  # [x_0, x_1]
    d_x = 2 * d_sub_2 + (-2 * d_sub_2).sum(dim=0, keepdim=True) / x_0  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def std(x, ddof=0):
    """√var

    x [x_0, x_1] -> [x_1]
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
    d_x = var_backward(saved_var, ddof, d_div)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "angle": 0x68F11B556CAA1DF3,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "image": 0x86C9701471CF0710,
    "known": 0x64655861A3D40AB2,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "left": 0x83117FE5BEB11A36,
    "net": 0xF087C76970C91612,
    "top": 0x512FF83F1FDC59E6,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
    "zoom": 0x24D4051DA9BC1D95,
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
