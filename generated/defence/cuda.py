"""Defences (inventory J10 to J14): what is done to an input before the net sees it, and training that expects attacks.

Made from specs/adversarial/defence.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/adversarial/defence.lee
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


def smoothed(x, size=3):
    """The mean of size × size pixels around each; the border is repeated outwards.

    x [n, h, w] -> [n, h, w]
    """
    _, h, w = x.shape
    iota = torch.arange(h + 2 * (size // 2), device=x.device)  # int[h + 2 * (size // 2)]  defence.lee:15
    minimum = (iota - size // 2).clamp(min=0).clamp(max=h - 1)  # int[h + 2 * (size // 2)]
    iota_2 = torch.arange(w + 2 * (size // 2), device=x.device)  # int[w + 2 * (size // 2)]
    minimum_2 = (iota_2 - size // 2).clamp(min=0).clamp(max=w - 1)  # int[w + 2 * (size // 2)]
    transpose = x.permute((1, 0, 2))[minimum].permute(1, 0, 2)  # [n, h + 2 * (size // 2), w]
    # [n, h + 2 * (size // 2), w + 2 * (size // 2)]  defence.lee:16
    transpose_2 = transpose.permute((2, 0, 1))[minimum_2].permute(1, 2, 0)
    slice_ = transpose_2[:, : h + size - 1, : size + w - 1]  # [n, h + size - 1, size + w - 1]
    y = torch.nn.functional.avg_pool2d(slice_, size, stride=1)  # [n, h, w]
    return y  # [n, h, w]


def smoothed_saved(x, size=3):
    """As smoothed, and what its gradient needs."""
    _, h, w = x.shape
    iota = torch.arange(h + 2 * (size // 2), device=x.device)  # int[h + 2 * (size // 2)]  defence.lee:15
    minimum = (iota - size // 2).clamp(min=0).clamp(max=h - 1)  # int[h + 2 * (size // 2)]
    iota_2 = torch.arange(w + 2 * (size // 2), device=x.device)  # int[w + 2 * (size // 2)]
    minimum_2 = (iota_2 - size // 2).clamp(min=0).clamp(max=w - 1)  # int[w + 2 * (size // 2)]
    transpose = x.permute((1, 0, 2))[minimum].permute(1, 0, 2)  # [n, h + 2 * (size // 2), w]
    # [n, h + 2 * (size // 2), w + 2 * (size // 2)]  defence.lee:16
    transpose_2 = transpose.permute((2, 0, 1))[minimum_2].permute(1, 2, 0)
    slice_ = transpose_2[:, : h + size - 1, : size + w - 1]  # [n, h + size - 1, size + w - 1]
    y = torch.nn.functional.avg_pool2d(slice_, size, stride=1)  # [n, h, w]
    return y, (minimum, minimum_2)


def smoothed_backward(saved, size, d_y):
    """From d_y to the gradient by x."""
    minimum, minimum_2 = saved
    n, h, w = d_y.shape
    # gradient of y[r, i in h, j in w] = mean[u in size, v in size](around[r, i + u, j + v])   defence.lee:16
    # [n, h + size - 1, size + w - 1]
    d_slice = avg_pool_gradient(d_y, (size, size), (1, 1), (0, 0), (h + size - 1, size + w - 1))
    # [n, h + 2 * (size // 2), w + 2 * (size // 2)]
    d_transpose_2 = unslice(
        d_slice,
        (n, h + 2 * (size // 2), w + 2 * (size // 2)),
        (slice(0, n), slice(0, h + size - 1), slice(0, size + w - 1)),
    )
    d_gather_2 = d_transpose_2.permute(2, 0, 1)  # [w + 2 * (size // 2), n, h + 2 * (size // 2)]
    # gradient of around = pad(x, (0, size // 2, size // 2), mode = "edge")   defence.lee:15
    # [n, h + 2 * (size // 2), w]
    d_transpose = scatter_add(d_gather_2, (minimum_2,), (n, h + 2 * (size // 2), w), (2,))
    d_x = scatter_add(d_transpose.permute(1, 0, 2), (minimum,), (n, h, w), (1,))  # [n, h, w]
    return d_x  # [n, h, w]


def smoothed_backward_backward(minimum, minimum_2, size, d_d_x):
    """From d_d_x to the gradient by d_y."""
    _, h, w = d_d_x.shape
    # gradient of around = pad(x, (0, size // 2, size // 2), mode = "edge")   defence.lee:15
    d_d_transpose = d_d_x.permute((1, 0, 2))[minimum].permute(1, 0, 2)  # [n, h + 2 * (size // 2), w]
    # gradient of y[r, i in h, j in w] = mean[u in size, v in size](around[r, i + u, j + v])   defence.lee:16
    # [n, h + 2 * (size // 2), w + 2 * (size // 2)]
    d_d_transpose_2 = d_d_transpose.permute((2, 0, 1))[minimum_2].permute(1, 2, 0)
    d_d_slice = d_d_transpose_2[:, : h + size - 1, : size + w - 1]  # [n, h + size - 1, size + w - 1]
    d_d_y = torch.nn.functional.avg_pool2d(d_d_slice, size, stride=1)  # [n, h, w]
    return d_d_y  # [n, h, w]


def resized_saved(x, rows, columns):
    """As resized, and what its gradient needs."""
    n, h, w = x.shape
    mul = (torch.arange(rows, device=x.device).to(FLOAT) + 0.5) * h  # [rows]  defence.lee:23
    reshape = (mul / rows - 0.5).clamp(min=0).clamp(max=h - 1)[:, None]  # [rows, 1]  defence.lee:30
    sub_2 = reshape - torch.arange(h, device=x.device).to(FLOAT)  # [rows, h]
    sub_3 = 1 - torch.abs(sub_2)  # [rows, h]
    maximum_2 = torch.where(0 >= sub_3, 0, sub_3)  # [rows, h]
    mul_2 = (torch.arange(columns, device=x.device).to(FLOAT) + 0.5) * w  # [columns]  defence.lee:23
    minimum_2 = (mul_2 / columns - 0.5).clamp(min=0).clamp(max=w - 1)  # [columns]  prelude.lee:153
    cast_4 = torch.arange(w, device=x.device).to(FLOAT)  # [w]  defence.lee:30
    sub_6 = 1 - torch.abs(minimum_2[:, None] - cast_4)  # [columns, w]
    maximum_4 = torch.where(0 >= sub_6, 0, sub_6)  # [columns, w]
    contract = maximum_2 @ x.permute(1, 0, 2).reshape(h, n * w)  # [rows, n * w]  defence.lee:22
    transpose_2 = contract.reshape(rows, n, w).permute(1, 0, 2)  # [n, rows, w]
    y = (transpose_2.reshape(n * rows, w) @ maximum_4.T).reshape(n, rows, columns)  # [n, rows, columns]
    return y, (maximum_2, maximum_4)


def resized_backward(saved, d_y):
    """From d_y to the gradient by x."""
    maximum_2, maximum_4 = saved
    rows, h = maximum_2.shape
    columns, w = maximum_4.shape
    n = d_y.shape[0]
    # gradient of y[r, i in rows, j in columns] = sum[a in h, b in w](   defence.lee:22
    reshape = d_y.permute(1, 0, 2).reshape(rows, columns * n)  # [rows, columns * n]
    reshape_2 = (maximum_2.T @ reshape).reshape(h, n, columns)  # [h, n, columns]
    reshape_3 = reshape_2.permute(1, 0, 2).reshape(h * n, columns)  # [h * n, columns]
    d_x = (reshape_3 @ maximum_4).reshape(n, h, w)  # [n, h, w]
    return d_x  # [n, h, w]


def placed_saved(x, side, top, left):
    """As placed, and what its gradient needs."""
    _, h, w = x.shape
    i = torch.arange(side, device=x.device)  # int[side]  defence.lee:36
    logical_and_3 = ((top <= i) & (i < top + h))[:, None] & (left <= i) & (i < left + w)  # bool[side, side]
    minimum_2 = (i - left).clamp(min=0).clamp(max=w - 1)  # int[side]
    reshape_2 = (i - top).clamp(min=0).clamp(max=h - 1)[:, None]  # int[side, 1]
    transpose = x.permute((1, 2, 0))[reshape_2, minimum_2].permute(2, 0, 1)  # [n, side, side]
    y = torch.where(logical_and_3, transpose, 0)  # [n, side, side]  defence.lee:35
    return y, (logical_and_3, minimum_2, reshape_2)


def placed_backward(saved, h, w, d_y):
    """From d_y to the gradient by x."""
    logical_and_3, minimum_2, reshape_2 = saved
    n = d_y.shape[0]
    # gradient of top <= i and i < top + h and left <= j and j < left + w, x[r, i - top, j - le..   defence.lee:36
    d_gather = torch.where(logical_and_3, d_y, 0).permute(1, 2, 0)  # [side, side, n]
    d_x = scatter_add(d_gather, (reshape_2, minimum_2), (n, h, w), (1, 2))  # [n, h, w]
    return d_x  # [n, h, w]


def at_random_saved(x, rows, side, key):
    """As at_random, and what its gradient needs."""
    if rows > side:
        raise ValueError(f"defence.lee:43: rows <= side must hold: rows = {rows}, side = {side}")
    top = randint(fold(key, SITES["top"]), (), 0, side + 1 - rows, x.device)  # defence.lee:44
    left = randint(fold(key, SITES["left"]), (), 0, side + 1 - rows, x.device)  # defence.lee:45
    y, saved_resized = resized_saved(x, rows, rows)  # defence.lee:46
    y_2, saved_placed = placed_saved(y, side, top, left)
    return y_2, (saved_resized, saved_placed)


def at_random_backward(saved, d_y_2):
    """From d_y_2 to the gradient by x."""
    saved_resized, saved_placed = saved
    rows = saved_resized[0].shape[0]
    # gradient of return placed(resized(x, rows, rows), side, top, left)   defence.lee:46
    d_y = placed_backward(saved_placed, rows, rows, d_y_2)  # [n, rows, rows]
    d_x = resized_backward(saved_resized, d_y)  # [n, h, w]
    return d_x  # [n, h, w]


def cosines(size):
    """The orthogonal cosine transform: row k is a wave of k half periods."""
    div = torch.where(torch.arange(size) == 0, 1, 2).to(FLOAT) / size  # [size]  defence.lee:51
    reshape = (3.141592653589793 * torch.arange(size).to(FLOAT))[:, None]  # [size, 1]
    mul_3 = reshape * (torch.arange(size) * 2 + 1).to(FLOAT)  # [size, size]
    table = sqrt(div)[:, None] * torch.cos(mul_3 / (2 * size))  # [size, size]
    return table  # [size, size]


def compressed(x, step=0.3):
    """As JPEG has it: the coefficients of cosines are rounded to multiples of a step, small ones vanish.

    x [n, size, size] -> [n, size, size]
    """
    size = x.shape[1]
    c = cosines(size)  # [size, size]  defence.lee:57
    return c.T @ (torch.round(c @ x @ c.T / step) * step) @ c  # [n, size, size]  defence.lee:58


def squeezed(x, levels=4.0):
    """Few grey levels (Xu et al. 2018).

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return torch.round(x * (levels - 1)) / (levels - 1)  # [x_0, x_1, x_2]  defence.lee:63


def rebuilt_saved(coder, x):
    """As rebuilt, and what its gradient needs."""
    n = x.shape[0]
    if coder.sizes[0] != coder.sizes[2]:
        raise ValueError(
            f"defence.lee:68: coder.sizes_0 = {coder.sizes[0]} " f"must equal coder.sizes_2 = {coder.sizes[2]}"
        )
    add_2, saved_coder = coder.forward_saved(x)  # defence.lee:68
    return add_2.reshape(n, coder.sizes[0]), saved_coder


def rebuilt_backward(coder, x, saved_coder, d_reshape):
    """From d_reshape to the gradients by coder and x."""
    n = x.shape[0]
    # gradient of return coder(x, training = false)   defence.lee:68
    d_coder, d_x = coder.forward_backward(x, saved_coder, d_reshape.reshape(n, coder.sizes[2]))
    return d_coder, d_x


def slope_through(net, x, y, size=3):
    """The filter is but one more layer: ∂e/∂x goes through it.

    x [n, h, w], y int[n] -> [n, h, w]
    """
    n, h, w = x.shape
    if net.sizes[0] != h * w:
        raise ValueError(f"net.sizes_0 = {net.sizes[0]} must equal h * w = {h * w}")
    y_2, saved_smoothed = smoothed_saved(x, size=size)  # defence.lee:76
    add_2, saved_net = net.forward_saved(y_2.reshape(n, net.sizes[0]))
    d_mean = torch.ones((), dtype=FLOAT, device=x.device)
    d_add_2 = cross_entropy_backward(add_2, y, d_mean)  # [n, net.sizes_2]
    d_reshape = net.forward_backward_input(saved_net, d_add_2)  # [n, net.sizes_0]
    d_x = smoothed_backward(saved_smoothed, size, d_reshape.reshape(n, h, w))  # [n, h, w]
    return d_x  # [n, h, w]


def slope_through_saved(net, x, y, size=3):
    """As slope_through, and what its gradient needs."""
    n, h, w = x.shape
    if net.sizes[0] != h * w:
        raise ValueError(f"net.sizes_0 = {net.sizes[0]} must equal h * w = {h * w}")
    y_2, saved_smoothed = smoothed_saved(x, size=size)  # defence.lee:76
    reshape = y_2.reshape(n, net.sizes[0])  # [n, net.sizes_0]
    add_2, saved_net = net.forward_saved(reshape)
    d_mean = torch.ones((), dtype=FLOAT, device=x.device)
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, y, d_mean)
    d_reshape, saved_net_ = net.forward_backward_input_saved(saved_net, d_add_2)
    d_x = smoothed_backward(saved_smoothed, size, d_reshape.reshape(n, h, w))  # [n, h, w]
    saved = saved_smoothed, reshape, saved_net, d_add_2, saved_cross_entropy_backward, saved_net_
    return d_x, saved


def slope_through_backward(net, saved, size, d_out):
    """From d_add_2, d_add and d_out to the gradients by net and x."""
    saved_smoothed, reshape, saved_net, d_add_2, saved_cross_entropy_backward, saved_net_ = saved
    n = reshape.shape[0]
    _, h, w = d_out.shape
    # gradient of return grad(cross_entropy(net(flatten(smoothed(x, size), from = 1), training ..   defence.lee:76
    d_d_y_2 = smoothed_backward_backward(saved_smoothed[0], saved_smoothed[1], size, d_out)  # [n, h, w]
    d_d_reshape = d_d_y_2.reshape(n, net.sizes[0])  # [n, net.sizes_0]
    d_net, d_d_add_2 = net.forward_backward_input_backward(d_add_2, saved_net_, d_d_reshape)
    d_add_2_2 = cross_entropy_backward_backward(saved_cross_entropy_backward, d_d_add_2)  # [n, net.sizes_2]
    d_net_, d_reshape = net.forward_backward(reshape, saved_net, d_add_2_2)
    d_x = smoothed_backward(saved_smoothed, size, d_reshape.reshape(n, h, w))  # [n, h, w]
    d_net_layers_0_w = d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    return {
        "layers.0": {"w": d_net_layers_0_w, "b": d_net_["layers.0"]["b"]},
        "layers.1": {"w": d_net_layers_1_w, "b": d_net_["layers.1"]["b"]},
    }, d_x


def adaptive_saved(net, x, y, reach=0.15, rate=0.05, steps=4):
    """As adaptive, and what its gradient needs."""
    sub = x - reach  # [n, h, w]  defence.lee:83
    add = x + reach  # [n, h, w]
    x_ = x  # defence.lee:82
    saved_adaptive_step = [None] * steps
    for k in range(steps):
        x_, saved_adaptive_step[k] = adaptive_step_saved(net, x_, y, rate, sub, add)
    return x_, (sub, add, saved_adaptive_step)


def adaptive_backward_input(saved, net_sizes_0, net_sizes_1, net_sizes_2, steps, d_x_4):
    """From d_x_4 to the gradient by x."""
    sub, add, saved_adaptive_step = saved
    n, h, w = sub.shape
    # gradient of for k in steps:   defence.lee:82
    d_sub_2 = torch.zeros((n, h, w), dtype=FLOAT, device=sub.device)  # [n, h, w]
    d_sub_later = d_sub_2
    d_add_2_later = d_sub_2
    for k in reversed(range(steps)):
        d_x_4, d_sub_later, d_add_2_later = adaptive_step_backward_input(
            sub, add, saved_adaptive_step[k], d_x_4, d_sub_later, d_add_2_later
        )
    # gradient of x = clip(x + rate * sign(slope_through(net, x, y)), before - reach, before + ..   defence.lee:83
    d_x = d_x_4 + d_add_2_later + d_sub_later  # [n, h, w]
    return d_x  # [n, h, w]


def adaptive_step_saved(net, x, y, rate, sub, add_2):
    """As adaptive_step, and what its gradient needs."""
    add = x + rate * torch.sign(slope_through(net, x, y))  # [n, h, w]  defence.lee:83
    x_3, saved_clip = clip_saved(add, sub, add_2)
    return x_3, (add, saved_clip)


def adaptive_step_backward_input(sub, add_2, saved, d_x_3, d_sub, d_add_2):
    """From d_x_3, d_sub and d_add_2 to the gradients by x, sub and add_2."""
    add, saved_clip = saved
    # gradient of x = clip(x + rate * sign(slope_through(net, x, y)), before - reach, before + ..   defence.lee:83
    d_x, d_sub_, d_add_2_ = clip_backward(add, sub, add_2, saved_clip, d_x_3)
    return d_x, d_sub + d_sub_, d_add_2 + d_add_2_


def attacked(net, x, y, reach=0.1, rate=0.04, steps=4):
    """x [n, net.sizes_0], y int[n] -> [n, net.sizes_0]"""
    sub = x - reach  # [n, net.sizes_0]  defence.lee:94
    add = x + reach  # [n, net.sizes_0]
    x_ = x  # defence.lee:92
    for k in range(steps):
        x_ = attacked_step(net, x_, y, rate, sub, add)
    return x_  # [n, net.sizes_0]


def attacked_saved(net, x, y, reach=0.1, rate=0.04, steps=4):
    """As attacked, and what its gradient needs."""
    sub = x - reach  # [n, net.sizes_0]  defence.lee:94
    add = x + reach  # [n, net.sizes_0]
    x_ = x  # defence.lee:92
    saved_attacked_step = [None] * steps
    for k in range(steps):
        x_, saved_attacked_step[k] = attacked_step_saved(net, x_, y, rate, sub, add)
    return x_, (sub, add, saved_attacked_step)


def attacked_backward_input(saved, net_sizes_1, net_sizes_2, steps, d_x_4):
    """From d_x_4 to the gradient by x."""
    sub, add, saved_attacked_step = saved
    n, net_sizes_0 = sub.shape
    # gradient of for k in steps:   defence.lee:92
    d_sub_2 = torch.zeros((n, net_sizes_0), dtype=FLOAT, device=sub.device)  # [n, net.sizes_0]
    d_sub_later = d_sub_2
    d_add_3_later = d_sub_2
    for k in reversed(range(steps)):
        d_x_4, d_sub_later, d_add_3_later = attacked_step_backward_input(
            sub, add, saved_attacked_step[k], d_x_4, d_sub_later, d_add_3_later
        )
    # gradient of x = clip(x + rate * sign(slope), before - reach, before + reach)   defence.lee:94
    d_x = d_x_4 + d_add_3_later + d_sub_later  # [n, net.sizes_0]
    return d_x  # [n, net.sizes_0]


def attacked_step(net, x, y, rate, sub, add_3):
    """x [n, net.sizes_0], y int[n], sub [n, net.sizes_0], add_3 [n, net.sizes_0] -> [n, net.sizes_0]"""
    add_2, saved_net = net.forward_saved(x)  # defence.lee:93
    d_mean = torch.ones((), dtype=FLOAT, device=x.device)
    d_add_2 = cross_entropy_backward(add_2, y, d_mean)  # [n, net.sizes_2]
    slope = net.forward_backward_input(saved_net, d_add_2)  # [n, net.sizes_0]
    x_3 = clip_2(x + rate * torch.sign(slope), sub, add_3)  # [n, net.sizes_0]  defence.lee:94
    return x_3  # [n, net.sizes_0]


def attacked_step_saved(net, x, y, rate, sub, add_3):
    """As attacked_step, and what its gradient needs."""
    add_2, saved_net = net.forward_saved(x)  # defence.lee:93
    d_mean = torch.ones((), dtype=FLOAT, device=x.device)
    d_add_2 = cross_entropy_backward(add_2, y, d_mean)  # [n, net.sizes_2]
    slope = net.forward_backward_input(saved_net, d_add_2)  # [n, net.sizes_0]
    add = x + rate * torch.sign(slope)  # [n, net.sizes_0]  defence.lee:94
    x_3, saved_clip_2 = clip_2_saved(add, sub, add_3)
    return x_3, (add, saved_clip_2)


def attacked_step_backward_input(sub, add_3, saved, d_x_3, d_sub, d_add_3):
    """From d_x_3, d_sub and d_add_3 to the gradients by x, sub and add_3."""
    add, saved_clip_2 = saved
    # gradient of x = clip(x + rate * sign(slope), before - reach, before + reach)   defence.lee:94
    d_x, d_sub_, d_add_3_ = clip_2_backward(add, sub, add_3, saved_clip_2, d_x_3)
    return d_x, d_sub + d_sub_, d_add_3 + d_add_3_


def attacked_step_in_step(net, x, y, rate, sub, add_3):
    """x [n, net.sizes_0], y int[n], sub [n, net.sizes_0], add_3 [n, net.sizes_0] -> [n, net.sizes_0]"""
    n = x.shape[0]
    x_2 = torch.relu(torch.addmm(net.layers[0].b, x, net.layers[0].w))  # [n, net.sizes_1]  prelude.lee:61
    affine_2 = torch.addmm(net.layers[1].b, x_2, net.layers[1].w)  # [n, net.sizes_2]  nn.lee:21
    iota = torch.arange(net.sizes[2], device=x.device)[None, :]  # int[1, net.sizes_2]  losses.lee:45
    softmax_ = torch.softmax(affine_2, dim=1)  # [n, net.sizes_2]
    d_add_2 = (softmax_ - (iota == y[:, None]).to(FLOAT)) * (1.0 / n)  # [n, net.sizes_2]
    slope = torch.where(x_2 > 0, d_add_2 @ net.layers[1].w.T, 0.0) @ net.layers[0].w.T  # [n, net.sizes_0]  nn.lee:21
    x_3 = (x + rate * torch.sign(slope)).clamp(min=sub).clamp(max=add_3)  # [n, net.sizes_0]  prelude.lee:153
    return x_3  # [n, net.sizes_0]


@torch.no_grad()
def hardened(epochs=15, batch=64, rate=3e-3, reach=0.1, *, run=None):
    """Of every batch also its attack on the net as it is now, with the right labels; again and again."""
    from leec.runtime.run import Run

    run = run or Run("hardened", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net")).to(run.session.place.device)  # defence.lee:101
    opt = Adam(lr=rate)  # defence.lee:102
    step = HardenedStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y, reach))  # defence.lee:105
    x, y = hardened_x_y(data.test.x, data.test.y)  # defence.lee:107
    reported_clean, reported_attacked = hardened_clean_attacked(net, x, y, reach)  # defence.lee:108
    run.report(clean=reported_clean, attacked=reported_attacked)  # defence.lee:108
    return net


class HardenedStep(TrainStep):
    """One step of hardened for net, opt: call it with a batch."""

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

    def step(self, x, y, reach, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        sub = x - reach  # [batches_n, 64]  defence.lee:94
        add_2 = x + reach  # [batches_n, 64]
        x_ = x  # defence.lee:92
        for k in range(4):
            x_ = attacked_step_in_step(self.net, x_, y, 0.04, sub, add_2)
        x_2_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 64]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        x_2 = torch.relu(torch.addmm(layers_0_b, x_, layers_0_w))  # [batches_n, 64]  prelude.lee:61
        add_2_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise_2 = torch.nn.functional.cross_entropy(add_2_2, y, reduction="none")  # [batches_n]  losses.lee:45
        one_hot = (torch.arange(10, device=x.device)[None, :] == y[:, None]).to(FLOAT)  # [batches_n, 10]
        d_add_2_2 = (torch.softmax(add_2_2, dim=1) - one_hot) * scale  # [batches_n, 10]
        d_add_3 = torch.ops.aten.threshold_backward(d_add_2_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 64]  prelude.lee:61
        d_add_2 = (torch.softmax(affine_2, dim=1) - one_hot) * scale  # [batches_n, 10]  losses.lee:45
        d_add_4 = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2_2, 0)  # [batches_n, 64]  prelude.lee:61
        torch.mm(x_.T, d_add_3, out=d_layers_0_w)  # [64, 64]  defence.lee:106
        d_layers_0_w.add_(x.T @ d_add_4)  # [64, 64]
        torch.sum(d_add_3, dim=0, out=d_layers_0_b)  # [64]
        d_layers_0_b.add_(d_add_4.sum(dim=0))  # [64]
        torch.mm(x_2.T, d_add_2_2, out=d_layers_1_w)  # [64, 10]
        d_layers_1_w.add_(x_2_2.T @ d_add_2)  # [64, 10]
        torch.sum(d_add_2_2, dim=0, out=d_layers_1_b)  # [10]
        d_layers_1_b.add_(d_add_2.sum(dim=0))  # [10]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count + surprise_2.sum() / count


def hardened_x_y(data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n]"""
    return data_test_x, data_test_y


def hardened_clean_attacked(net, x, y, reach):
    """x [data_test_n, 64], y int[data_test_n] -> [], []"""
    return accuracy(net(x), y), accuracy(net(attacked(net, x, y, reach=reach)), y)  # defence.lee:108


@torch.no_grad()
def unprotected(epochs=15, batch=64, rate=3e-3, reach=0.1, *, run=None):
    """For comparison: the same net, trained on clean digits alone, under attacks that know the filter or do not."""
    from leec.runtime.run import Run

    run = run or Run("unprotected", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net")).to(run.session.place.device)  # defence.lee:115
    opt = Adam(lr=rate)  # defence.lee:116
    step = UnprotectedStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # defence.lee:119
    x, y = unprotected_x_y(data.test.x, data.test.y)  # defence.lee:120
    reported_clean, reported_attacked = unprotected_clean_attacked(net, x, y, reach)  # defence.lee:121
    run.report(clean=reported_clean, attacked=reported_attacked)  # defence.lee:121
    return net


class UnprotectedStep(TrainStep):
    """One step of unprotected for net, opt: call it with a batch."""

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


def unprotected_x_y(data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n]"""
    return data_test_x, data_test_y


def unprotected_clean_attacked(net, x, y, reach):
    """x [data_test_n, 64], y int[data_test_n] -> [], []"""
    return accuracy(net(x), y), accuracy(net(attacked(net, x, y, reach=reach)), y)  # defence.lee:121


def example_blurred(key):
    x = uniform(fold(key, SITES["x"]), (3, 5, 6), FLOAT)  # [3, 5, 6]  defence.lee:126
    c = normal(fold(key, SITES["c"]), (3, 5, 6), FLOAT)  # [3, 5, 6]  defence.lee:127
    d_c, saved_smoothed = smoothed_saved(x)  # defence.lee:128
    return (c * d_c).sum(), smoothed_backward(saved_smoothed, 3, c), d_c


def example_moved(key):
    x = uniform(fold(key, SITES["x"]), (3, 5, 6), FLOAT)  # [3, 5, 6]  defence.lee:132
    top = randint(fold(key, SITES["top"]), (), 0, 4)  # defence.lee:133
    left = randint(fold(key, SITES["left"]), (), 0, 3)  # defence.lee:134
    c = normal(fold(key, SITES["c"]), (3, 12, 12), FLOAT)  # [3, 12, 12]  defence.lee:135
    y, saved_resized = resized_saved(x, 8, 9)  # defence.lee:136
    d_c, saved_placed = placed_saved(y, 12, top, left)
    d_x = resized_backward(saved_resized, placed_backward(saved_placed, 8, 9, c))  # [3, 5, 6]
    return (c * d_c).sum(), d_x, d_c


def example_somewhere(key):
    x = uniform(fold(key, SITES["x"]), (3, 6, 6), FLOAT)  # [3, 6, 6]  defence.lee:140
    y_2, saved_at_random = at_random_saved(x, 5, 8, fold(key, SITES["at_random"]))  # defence.lee:141
    return (y_2**2).sum(), at_random_backward(saved_at_random, 2 * y_2)


def example_rounded(key):
    x = uniform(fold(key, SITES["x"]), (3, 6, 6), FLOAT)  # [3, 6, 6]  defence.lee:145
    contract_4 = compressed(x)  # [3, 6, 6]  defence.lee:146
    return (contract_4**2).sum() + squeezed(x).sum(), torch.zeros((3, 6, 6), dtype=FLOAT)


def example_restored(key):
    coder = MLP((6, 3, 6), key=fold(key, SITES["coder"]))  # defence.lee:150
    net = MLP((6, 5, 4), key=fold(key, SITES["net"]))  # defence.lee:151
    x = uniform(fold(key, SITES["x"]), (7, 6), FLOAT)  # [7, 6]  defence.lee:152
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  defence.lee:153
    reshape, saved_rebuilt = rebuilt_saved(coder, x)  # defence.lee:154
    add_2, saved_net = net.forward_saved(reshape)
    d_add_2 = cross_entropy_backward(add_2, y, torch.ones((), dtype=FLOAT))  # [7, 4]
    d_net, d_reshape = net.forward_backward(reshape, saved_net, d_add_2)
    d_coder, d_x = rebuilt_backward(coder, x, saved_rebuilt, d_reshape)
    return cross_entropy(add_2, y), coder.at(d_coder), net.at(d_net), d_x


def example_through_filter(key):
    net = MLP((20, 6, 4), key=fold(key, SITES["net"]))  # defence.lee:158
    x = uniform(fold(key, SITES["x"]), (3, 4, 5), FLOAT)  # [3, 4, 5]  defence.lee:159
    y = randint(fold(key, SITES["y"]), (3,), 0, 4)  # int[3]  defence.lee:160
    c = normal(fold(key, SITES["c"]), (3, 4, 5), FLOAT)  # [3, 4, 5]  defence.lee:161
    d_x, saved_slope_through = slope_through_saved(net, x, y)  # defence.lee:162
    x_4, saved_adaptive = adaptive_saved(net, x, y)
    d_net, d_x_5 = slope_through_backward(net, saved_slope_through, 3, c)
    d_x_3 = adaptive_backward_input(saved_adaptive, 20, 6, 4, 4, c)  # [3, 4, 5]
    return (c * d_x).sum() + (c * x_4).sum(), net.at(d_net), d_x_3 + d_x_5, x_4 + d_x


def example_harmed(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # defence.lee:166
    x = 0.1 + 0.8 * uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  defence.lee:167
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  defence.lee:168
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  defence.lee:169
    d_c, saved_attacked = attacked_saved(net, x, y)  # defence.lee:170
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": torch.zeros((5, 6), dtype=FLOAT), "b": torch.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": torch.zeros((6, 4), dtype=FLOAT), "b": torch.zeros(4, dtype=FLOAT)},
            }
        ),
        attacked_backward_input(saved_attacked, 6, 4, 4, c),
        d_c,
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


def clip_saved(x, low, high):
    """As clip, and what its gradient needs."""
    maximum = x.clamp(min=low)  # [x_0, x_1, x_2]  prelude.lee:153
    return maximum.clamp(max=high), maximum


def clip_backward(x, low, high, maximum, d_minimum):
    """From d_minimum to the gradients by x, low and high."""
    # gradient of return min(max(x, low), high)   prelude.lee:153
    le = maximum <= high  # bool[x_0, x_1, x_2]
    d_high = torch.where(le, 0, d_minimum)  # [x_0, x_1, x_2]
    ge = x >= low  # bool[x_0, x_1, x_2]
    d_x = torch.where(le, torch.where(ge, d_minimum, 0), 0)  # [x_0, x_1, x_2]
    d_low = torch.where(le, torch.where(ge, 0, d_minimum), 0)  # [x_0, x_1, x_2]
    return d_x, d_low, d_high


def clip_2(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1.

    x [x_0, x_1], low [x_0, x_1], high [x_0, x_1] -> [x_0, x_1]
    """
    return x.clamp(min=low).clamp(max=high)  # [x_0, x_1]  prelude.lee:153


def clip_2_saved(x, low, high):
    """As clip_2, and what its gradient needs."""
    maximum = x.clamp(min=low)  # [x_0, x_1]  prelude.lee:153
    return maximum.clamp(max=high), maximum


def clip_2_backward(x, low, high, maximum, d_y):
    """From d_y to the gradients by x, low and high."""
    # gradient of return min(max(x, low), high)   prelude.lee:153
    le = maximum <= high  # bool[x_0, x_1]
    d_high = torch.where(le, 0, d_y)  # [x_0, x_1]
    ge = x >= low  # bool[x_0, x_1]
    d_x = torch.where(le, torch.where(ge, d_y, 0), 0)  # [x_0, x_1]
    d_low = torch.where(le, torch.where(ge, 0, d_y), 0)  # [x_0, x_1]
    return d_x, d_low, d_high


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "at_random": 0x96B99DF4C4CCD4DC,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "coder": 0x6AC02EF67ED329A4,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "left": 0x83117FE5BEB11A36,
    "net": 0xF087C76970C91612,
    "top": 0x512FF83F1FDC59E6,
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


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = x.new_zeros(dims)
    whole[slices] = x
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


def avg_pool_gradient(g, size, stride, padding, dims):
    """An equal share of g to every entry of its window along the last axes."""
    if len(size) == 1:  # the library has none for one axis
        return avg_pool_gradient(g[..., None, :], (1, *size), (1, *stride), (0, *padding), (1, *dims)).squeeze(-2)
    backward = getattr(torch.ops.aten, f"avg_pool{len(size)}d_backward")
    x = g.new_empty((*g.shape[: g.ndim - len(size)], *dims))  # read for its shape only
    return backward(g, x, size, stride, padding, False, True, None)


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
