"""Defences (inventory J10 to J14): what is done to an input before the net sees it, and training that expects attacks.

Made from specs/adversarial/defence.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/adversarial/defence.lee
"""

from __future__ import annotations

import functools
import math

import numpy as np

FLOAT = np.float32


class Model:
    """What every model has: named arrays in declaration order, the trainable ones side by side in one vector.

    `members` names arrays and submodels (a list of submodels goes by one name), `states` what no gradient changes.
    """

    members: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    renamed: dict[str, str] = {}  # members whose name is taken

    def __call__(self, *inputs, **options):
        return self.forward(*inputs, **options)

    def parts(self):
        """(name, member) of arrays and submodels; the elements of a list are `layers.0`, `layers.1`, .."""
        for name in self.members:
            member = getattr(self, self.renamed.get(name, name))
            if isinstance(member, list):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(member))
            else:
                yield name, member

    def tensors(self):
        """Every array by its path in the spec, such as "conv1.kernel"; they are the model's own."""
        found = {}
        for name, part in self.parts():
            if isinstance(part, Model):
                found |= {f"{name}.{path}": array for path, array in part.tensors().items()}
            else:
                found[name] = part
        return found

    def load_tensors(self, arrays):
        """Copy arrays in by path. Raises ValueError where names or shapes differ."""
        own = self.tensors()
        if own.keys() != arrays.keys():
            raise ValueError(f"{type(self).__name__} has other tensors: {sorted(own.keys() ^ arrays.keys())}")
        for path, array in own.items():
            if array.shape != np.shape(arrays[path]):
                raise ValueError(f"{path} is {array.shape} here and {np.shape(arrays[path])} there")
            array[...] = arrays[path]

    def lay_out(self, vector=None):
        """Move all parameters into one vector; the arrays become views of it, those of submodels too."""
        sizes = [part.parameters.size if isinstance(part, Model) else part.size for _, part in self.trained()]
        self.parameters = np.empty(sum(sizes), FLOAT) if vector is None else vector
        stop = 0
        for (name, part), size in zip(self.trained(), sizes, strict=True):
            start, stop = stop, stop + size
            if isinstance(part, Model):
                part.lay_out(self.parameters[start:stop])
            else:
                view = self.parameters[start:stop].reshape(part.shape)
                view[...] = part
                setattr(self, self.renamed.get(name, name), view)

    def trained(self):
        return [(name, part) for name, part in self.parts() if name not in self.states]

    def shapes(self):
        """Of the parameters, in their order."""
        found = (part.shapes() if isinstance(part, Model) else [part.shape] for _, part in self.trained())
        return [shape for shapes in found for shape in shapes]

    def flat(self, gradient):
        """A gradient, nested dicts of arrays by member, as one vector beside `parameters`; what is missing is 0."""
        vector, stop = np.zeros_like(self.parameters), 0
        for name, part in self.trained():
            is_model = isinstance(part, Model)
            start, stop = stop, stop + (part.parameters.size if is_model else part.size)
            if name in gradient:
                vector[start:stop] = part.flat(gradient[name]) if is_model else gradient[name].ravel()
        return vector

    def copy(self):
        """The same model with arrays of its own."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for name in self.members:
            attribute = self.renamed.get(name, name)
            member = getattr(self, attribute)
            setattr(twin, attribute, [part.copy() for part in member] if isinstance(member, list) else member.copy())
        twin.lay_out()
        return twin

    def at(self, tensors):
        """A copy at another point of parameter space: nested dicts of arrays by member, as gradients are."""
        twin = self.copy()
        twin.move_to(tensors)
        return twin

    def move_to(self, tensors):
        for name, part in self.parts():
            if name in tensors and isinstance(part, Model):
                part.move_to(tensors[name])
            elif name in tensors:
                part[...] = tensors[name]


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
            if not hasattr(self, name):
                setattr(self, name, np.full_like(θ, start))
            if getattr(self, name).shape != θ.shape:
                raise ValueError(f"{type(self).__name__} has moved {getattr(self, name).size} parameters, not {θ.size}")

    def tensors(self):
        """The count and the states that there are by now."""
        return {"t": self.t, **{name: getattr(self, name) for name in self.starts if hasattr(self, name)}}

    def load_tensors(self, arrays):
        """Go on from another's count and states."""
        self.t = int(arrays["t"])
        for name in self.starts.keys() & arrays.keys():
            setattr(self, name, np.array(arrays[name], FLOAT))

    def copy(self):
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.load_tensors(self.tensors())
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


def smoothed(x, size=3):
    """The mean of size × size pixels around each; the border is repeated outwards.

    x [n, h, w] -> [n, h, w]
    """
    _, h, w = x.shape
    maximum = np.maximum(np.arange(h + 2 * (size // 2)) - size // 2, 0)  # int[h + 2 * (size // 2)]  defence.lee:15
    gather = x.transpose((1, 0, 2))[np.minimum(maximum, h - 1)]  # [h + 2 * (size // 2), n, w]
    maximum_2 = np.maximum(np.arange(w + 2 * (size // 2)) - size // 2, 0)  # int[w + 2 * (size // 2)]
    minimum_2 = np.minimum(maximum_2, w - 1)  # int[w + 2 * (size // 2)]
    # [w + 2 * (size // 2), n, h + 2 * (size // 2)]
    gather_2 = gather.transpose(1, 0, 2).transpose((2, 0, 1))[minimum_2]
    transpose_2 = gather_2.transpose(1, 2, 0)  # [n, h + 2 * (size // 2), w + 2 * (size // 2)]  defence.lee:16
    slice_ = transpose_2[:, : h + size - 1, : size + w - 1]  # [n, h + size - 1, size + w - 1]
    y = avg_pool(slice_, (size, size), (1, 1))  # [n, h, w]
    return y  # [n, h, w]


def smoothed_saved(x, size=3):
    """As smoothed, and what its gradient needs."""
    _, h, w = x.shape
    # int[h + 2 * (size // 2)]  defence.lee:15
    minimum = np.minimum(np.maximum(np.arange(h + 2 * (size // 2)) - size // 2, 0), h - 1)
    minimum_2 = np.minimum(np.maximum(np.arange(w + 2 * (size // 2)) - size // 2, 0), w - 1)  # int[w + 2 * (size // 2)]
    transpose = x.transpose((1, 0, 2))[minimum].transpose(1, 0, 2)  # [n, h + 2 * (size // 2), w]
    # [n, h + 2 * (size // 2), w + 2 * (size // 2)]  defence.lee:16
    transpose_2 = transpose.transpose((2, 0, 1))[minimum_2].transpose(1, 2, 0)
    slice_ = transpose_2[:, : h + size - 1, : size + w - 1]  # [n, h + size - 1, size + w - 1]
    y = avg_pool(slice_, (size, size), (1, 1))  # [n, h, w]
    return y, (minimum, minimum_2)


def smoothed_backward(saved, size, d_y):
    """From d_y to the gradient by x."""
    minimum, minimum_2 = saved
    n, h, w = d_y.shape
    # gradient of y[r, i in h, j in w] = mean[u in size, v in size](around[r, i + u, j + v])   defence.lee:16
    reshape = (d_y / size**2)[:, :, None, :, None]  # [n, h, 1, w, 1]
    broadcast = np.broadcast_to(reshape, (n, h, size, w, size))  # [n, h, size, w, size]
    # [n, h + size - 1, size + w - 1]
    d_slice = unwindows(broadcast, (1, 3), (h + size - 1, size + w - 1), (1, 1), (1, 1))
    # [n, h + 2 * (size // 2), w + 2 * (size // 2)]
    d_transpose_2 = unslice(
        d_slice,
        (n, h + 2 * (size // 2), w + 2 * (size // 2)),
        (slice(0, n), slice(0, h + size - 1), slice(0, size + w - 1)),
    )
    d_gather_2 = d_transpose_2.transpose(2, 0, 1)  # [w + 2 * (size // 2), n, h + 2 * (size // 2)]
    # gradient of around = pad(x, (0, size // 2, size // 2), mode = "edge")   defence.lee:15
    # [n, h + 2 * (size // 2), w]
    d_transpose = scatter_add(d_gather_2, (minimum_2,), (n, h + 2 * (size // 2), w), (2,))
    d_x = scatter_add(d_transpose.transpose(1, 0, 2), (minimum,), (n, h, w), (1,))  # [n, h, w]
    return d_x  # [n, h, w]


def smoothed_backward_backward(minimum, minimum_2, size, d_d_x):
    """From d_d_x to the gradient by d_y."""
    _, h, w = d_d_x.shape
    # gradient of around = pad(x, (0, size // 2, size // 2), mode = "edge")   defence.lee:15
    d_d_transpose = d_d_x.transpose((1, 0, 2))[minimum].transpose(1, 0, 2)  # [n, h + 2 * (size // 2), w]
    d_d_gather_2 = d_d_transpose.transpose((2, 0, 1))[minimum_2]  # [w + 2 * (size // 2), n, h + 2 * (size // 2)]
    # gradient of y[r, i in h, j in w] = mean[u in size, v in size](around[r, i + u, j + v])   defence.lee:16
    d_d_transpose_2 = d_d_gather_2.transpose(1, 2, 0)  # [n, h + 2 * (size // 2), w + 2 * (size // 2)]
    d_d_slice = d_d_transpose_2[:, : h + size - 1, : size + w - 1]  # [n, h + size - 1, size + w - 1]
    d_d_y = avg_pool(d_d_slice, (size, size), (1, 1))  # [n, h, w]
    return d_d_y  # [n, h, w]


def resized_saved(x, rows, columns):
    """As resized, and what its gradient needs."""
    n, h, w = x.shape
    sub = (np.arange(rows).astype(FLOAT) + 0.5) * h / rows - 0.5  # [rows]  defence.lee:23
    reshape = np.minimum(np.maximum(sub, 0), h - 1)[:, None]  # [rows, 1]  defence.lee:30
    maximum_2 = np.maximum(0, 1 - np.abs(reshape - np.arange(h).astype(FLOAT)))  # [rows, h]
    sub_4 = (np.arange(columns).astype(FLOAT) + 0.5) * w / columns - 0.5  # [columns]  defence.lee:23
    reshape_2 = np.minimum(np.maximum(sub_4, 0), w - 1)[:, None]  # [columns, 1]  defence.lee:30
    maximum_4 = np.maximum(0, 1 - np.abs(reshape_2 - np.arange(w).astype(FLOAT)))  # [columns, w]
    contract = maximum_2 @ x.transpose(1, 0, 2).reshape(h, n * w)  # [rows, n * w]  defence.lee:22
    transpose_2 = contract.reshape(rows, n, w).transpose(1, 0, 2)  # [n, rows, w]
    y = (transpose_2.reshape(n * rows, w) @ maximum_4.T).reshape(n, rows, columns)  # [n, rows, columns]
    return y, (maximum_2, maximum_4)


def resized_backward(saved, d_y):
    """From d_y to the gradient by x."""
    maximum_2, maximum_4 = saved
    rows, h = maximum_2.shape
    columns, w = maximum_4.shape
    n = d_y.shape[0]
    # gradient of y[r, i in rows, j in columns] = sum[a in h, b in w](   defence.lee:22
    reshape = d_y.transpose(1, 0, 2).reshape(rows, columns * n)  # [rows, columns * n]
    reshape_2 = (maximum_2.T @ reshape).reshape(h, n, columns)  # [h, n, columns]
    reshape_3 = reshape_2.transpose(1, 0, 2).reshape(h * n, columns)  # [h * n, columns]
    d_x = (reshape_3 @ maximum_4).reshape(n, h, w)  # [n, h, w]
    return d_x  # [n, h, w]


def placed_saved(x, side, top, left):
    """As placed, and what its gradient needs."""
    _, h, w = x.shape
    logical_and = (top <= np.arange(side)) & (np.arange(side) < top + h)  # bool[side]  defence.lee:36
    logical_and_2 = logical_and[:, None] & (left <= np.arange(side))  # bool[side, side]
    logical_and_3 = logical_and_2 & (np.arange(side) < left + w)  # bool[side, side]
    minimum_2 = np.minimum(np.maximum(np.arange(side) - left, 0), w - 1)  # int[side]
    reshape_2 = np.minimum(np.maximum(np.arange(side) - top, 0), h - 1)[:, None]  # int[side, 1]
    gather = x.transpose((1, 2, 0))[reshape_2, minimum_2]  # [side, side, n]
    y = masked(gather.transpose(2, 0, 1), logical_and_3)  # [n, side, side]  defence.lee:35
    return y, (logical_and_3, minimum_2, reshape_2)


def placed_backward(saved, h, w, d_y):
    """From d_y to the gradient by x."""
    logical_and_3, minimum_2, reshape_2 = saved
    n = d_y.shape[0]
    # gradient of top <= i and i < top + h and left <= j and j < left + w, x[r, i - top, j - le..   defence.lee:36
    d_gather = masked(d_y, logical_and_3).transpose(1, 2, 0)  # [side, side, n]
    d_x = scatter_add(d_gather, (reshape_2, minimum_2), (n, h, w), (1, 2))  # [n, h, w]
    return d_x  # [n, h, w]


def at_random_saved(x, rows, side, key):
    """As at_random, and what its gradient needs."""
    if rows > side:
        raise ValueError(f"defence.lee:43: rows <= side must hold: rows = {rows}, side = {side}")
    top = randint(fold(key, SITES["top"]), (), 0, side + 1 - rows)  # defence.lee:44
    left = randint(fold(key, SITES["left"]), (), 0, side + 1 - rows)  # defence.lee:45
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
    div = np.where(np.arange(size) == 0, 1, 2).astype(FLOAT) / size  # [size]  defence.lee:51
    reshape = (3.141592653589793 * np.arange(size).astype(FLOAT))[:, None]  # [size, 1]
    mul_3 = reshape * (np.arange(size) * 2 + 1).astype(FLOAT)  # [size, size]
    table = np.sqrt(div)[:, None] * np.cos(mul_3 / (2 * size))  # [size, size]
    return table  # [size, size]


def compressed(x, step=0.3):
    """As JPEG has it: the coefficients of cosines are rounded to multiples of a step, small ones vanish.

    x [n, size, size] -> [n, size, size]
    """
    size = x.shape[1]
    c = cosines(size)  # [size, size]  defence.lee:57
    return c.T @ (np.round(c @ x @ c.T / step) * step) @ c  # [n, size, size]  defence.lee:58


def squeezed(x, levels=4.0):
    """Few grey levels (Xu et al. 2018).

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return np.round(x * (levels - 1)) / (levels - 1)  # [x_0, x_1, x_2]  defence.lee:63


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
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [n, net.sizes_2]
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
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, y, FLOAT(1.0))
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
    d_sub_2 = np.zeros((n, h, w), dtype=FLOAT)  # [n, h, w]
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
    add = x + rate * np.sign(slope_through(net, x, y))  # [n, h, w]  defence.lee:83
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
    d_sub_2 = np.zeros((n, net_sizes_0), dtype=FLOAT)  # [n, net.sizes_0]
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
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [n, net.sizes_2]
    slope = net.forward_backward_input(saved_net, d_add_2)  # [n, net.sizes_0]
    x_3 = clip_2(x + rate * np.sign(slope), sub, add_3)  # [n, net.sizes_0]  defence.lee:94
    return x_3  # [n, net.sizes_0]


def attacked_step_saved(net, x, y, rate, sub, add_3):
    """As attacked_step, and what its gradient needs."""
    add_2, saved_net = net.forward_saved(x)  # defence.lee:93
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [n, net.sizes_2]
    slope = net.forward_backward_input(saved_net, d_add_2)  # [n, net.sizes_0]
    add = x + rate * np.sign(slope)  # [n, net.sizes_0]  defence.lee:94
    x_3, saved_clip_2 = clip_2_saved(add, sub, add_3)
    return x_3, (add, saved_clip_2)


def attacked_step_backward_input(sub, add_3, saved, d_x_3, d_sub, d_add_3):
    """From d_x_3, d_sub and d_add_3 to the gradients by x, sub and add_3."""
    add, saved_clip_2 = saved
    # gradient of x = clip(x + rate * sign(slope), before - reach, before + reach)   defence.lee:94
    d_x, d_sub_, d_add_3_ = clip_2_backward(add, sub, add_3, saved_clip_2, d_x_3)
    return d_x, d_sub + d_sub_, d_add_3 + d_add_3_


def hardened(epochs=15, batch=64, rate=3e-3, reach=0.1, *, run=None):
    """Of every batch also its attack on the net as it is now, with the right labels; again and again."""
    from leec.runtime.run import Run

    run = run or Run("hardened")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net"))  # defence.lee:101
    opt = Adam(lr=rate)  # defence.lee:102
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(hardened_step(net, opt, x, y, reach))  # defence.lee:105
    x, y = hardened_x_y(data.test.x, data.test.y)  # defence.lee:107
    reported_clean, reported_attacked = hardened_clean_attacked(net, x, y, reach)  # defence.lee:108
    run.report(clean=reported_clean, attacked=reported_attacked)  # defence.lee:108
    return net


def hardened_step(net, opt, x, y, reach):
    """One step of hardened."""
    found = attacked(net, x, y, reach=reach)  # [batches_n, 64]  defence.lee:105
    add_2, saved_net = net.forward_saved(x)  # defence.lee:106
    add_2_2, saved_net_ = net.forward_saved(found)
    d_add_2_2 = cross_entropy_backward(add_2_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(found, saved_net_, d_add_2_2)
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net_ = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(
        net.parameters,
        net.flat(
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
    )
    return cross_entropy(add_2, y) + cross_entropy(add_2_2, y)


def hardened_x_y(data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n]"""
    return data_test_x, data_test_y


def hardened_clean_attacked(net, x, y, reach):
    """x [data_test_n, 64], y int[data_test_n] -> [], []"""
    return accuracy(net(x), y), accuracy(net(attacked(net, x, y, reach=reach)), y)  # defence.lee:108


def unprotected(epochs=15, batch=64, rate=3e-3, reach=0.1, *, run=None):
    """For comparison: the same net, trained on clean digits alone, under attacks that know the filter or do not."""
    from leec.runtime.run import Run

    run = run or Run("unprotected")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net"))  # defence.lee:115
    opt = Adam(lr=rate)  # defence.lee:116
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(unprotected_step(net, opt, x, y))  # defence.lee:119
    x, y = unprotected_x_y(data.test.x, data.test.y)  # defence.lee:120
    reported_clean, reported_attacked = unprotected_clean_attacked(net, x, y, reach)  # defence.lee:121
    run.report(clean=reported_clean, attacked=reported_attacked)  # defence.lee:121
    return net


def unprotected_step(net, opt, x, y):
    """One step of unprotected."""
    add_2, saved_net = net.forward_saved(x)  # defence.lee:119
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


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
    return (contract_4**2).sum() + squeezed(x).sum(), np.zeros((3, 6, 6), dtype=FLOAT)


def example_restored(key):
    coder = MLP((6, 3, 6), key=fold(key, SITES["coder"]))  # defence.lee:150
    net = MLP((6, 5, 4), key=fold(key, SITES["net"]))  # defence.lee:151
    x = uniform(fold(key, SITES["x"]), (7, 6), FLOAT)  # [7, 6]  defence.lee:152
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  defence.lee:153
    reshape, saved_rebuilt = rebuilt_saved(coder, x)  # defence.lee:154
    add_2, saved_net = net.forward_saved(reshape)
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [7, 4]
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
                "layers.0": {"w": np.zeros((5, 6), dtype=FLOAT), "b": np.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": np.zeros((6, 4), dtype=FLOAT), "b": np.zeros(4, dtype=FLOAT)},
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
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced(surprise)  # losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def cross_entropy_backward_saved(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    softmax_ = softmax(z, (1,))  # [rows, k]
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    reshape_2 = d_surprise[:, None]  # [rows, 1]
    d_z = (softmax_ - one_hot) * reshape_2  # [rows, k]
    return d_z, (softmax_, reshape_2)


def cross_entropy_backward_backward(saved, d_d_z):
    """From d_d_z to the gradient by z."""
    softmax_, reshape_2 = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_sub = d_d_z * reshape_2  # [rows, k]
    d_z = softmax_ * (d_sub - (d_sub * softmax_).sum(axis=1, keepdims=True))  # [rows, k]
    return d_z  # [rows, k]


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_backward(each_0, d_y):
    """From d_y to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = np.broadcast_to(d_y / each_0, (each_0,))  # [each_0]
    return d_each  # [each_0]


@packed(None, z=(0, 2), y=(0, 1))
def accuracy(z, y):
    """The share of rows whose largest score is at the right class.

    z [.., k], y int[..] -> []
    """
    return (z.argmax(axis=1) == y).astype(FLOAT).mean()  # metrics.lee:9


class Linear(Model):
    """x W + b"""

    members = ("w", "b")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        self.inputs, self.outputs = inputs, outputs
        div, div_2 = fan_in_uniform(inputs)  # nn.lee:15
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]
        uniform_2 = uniform(fold(key, SITES["b"]), (outputs,), FLOAT)  # [outputs]  nn.lee:17
        self.w = div + (div_2 - div) * uniform_  # [inputs, outputs]  nn.lee:15
        self.b = div + (div_2 - div) * uniform_2  # [outputs]  nn.lee:17
        self.lay_out()

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., inputs] -> [.., outputs]"""
        return x @ self.w + self.b  # [rows, outputs]  nn.lee:21

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
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
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}


class MLP(Model):
    """Linear layers with relu between them: MLP((64, 128, 10)) has one hidden layer of 128."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        self.sizes = sizes
        # nn.lee:37
        self.layers = [
            Linear(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
            Linear(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
        ]
        self.lay_out()

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

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


class Adam(Optimizer):
    """m, v: averages of g and g², each over its bias; θ ← θ - η m̂ / (√v̂ + ε) (Kingma & Ba 2015).

    `weight_decay` adds λ θ to the gradient; AdamW keeps it apart.
    """

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
        self.lr, self.beta1, self.beta2, self.eps, self.weight_decay = lr, beta1, beta2, eps, weight_decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, m, v in blocks(parameters, gradient, self.m, self.v):
            g_2 = g + self.weight_decay * θ  # [count]  optim.lee:74
            m[...] = self.beta1 * m + (1 - self.beta1) * g_2  # [count]  optim.lee:75
            v[...] = self.beta2 * v + (1 - self.beta2) * g_2**2  # [count]  optim.lee:76
            m_hat = m / (1 - math.pow(self.beta1, self.t))  # [count]  optim.lee:77
            v_hat = v / (1 - math.pow(self.beta2, self.t))  # [count]  optim.lee:78
            θ -= self.lr * m_hat / (np.sqrt(v_hat) + self.eps)  # [count]  optim.lee:79


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return np.maximum(x, 0)  # [x_0, x_1]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def relu_backward_saved(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    gt = select > 0  # bool[x_0, x_1]
    d_x = masked(d_y, gt)  # [x_0, x_1]
    return d_x, gt


def relu_backward_backward(gt, d_d_x):
    """From d_d_x to the gradient by d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_select = masked(d_d_x, gt)  # [x_0, x_1]
    return d_d_select  # [x_0, x_1]


def clip_saved(x, low, high):
    """As clip, and what its gradient needs."""
    maximum = np.maximum(x, low)  # [x_0, x_1, x_2]  prelude.lee:153
    return np.minimum(maximum, high), maximum


def clip_backward(x, low, high, maximum, d_minimum):
    """From d_minimum to the gradients by x, low and high."""
    # gradient of return min(max(x, low), high)   prelude.lee:153
    le = maximum <= high  # bool[x_0, x_1, x_2]
    d_high = np.where(le, 0, d_minimum)  # [x_0, x_1, x_2]
    ge = x >= low  # bool[x_0, x_1, x_2]
    d_x = masked(masked(d_minimum, ge), le)  # [x_0, x_1, x_2]
    d_low = masked(np.where(ge, 0, d_minimum), le)  # [x_0, x_1, x_2]
    return d_x, d_low, d_high


def clip_2(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1.

    x [x_0, x_1], low [x_0, x_1], high [x_0, x_1] -> [x_0, x_1]
    """
    return np.minimum(np.maximum(x, low), high)  # [x_0, x_1]  prelude.lee:153


def clip_2_saved(x, low, high):
    """As clip_2, and what its gradient needs."""
    maximum = np.maximum(x, low)  # [x_0, x_1]  prelude.lee:153
    return np.minimum(maximum, high), maximum


def clip_2_backward(x, low, high, maximum, d_y):
    """From d_y to the gradients by x, low and high."""
    # gradient of return min(max(x, low), high)   prelude.lee:153
    le = maximum <= high  # bool[x_0, x_1]
    d_high = np.where(le, 0, d_y)  # [x_0, x_1]
    ge = x >= low  # bool[x_0, x_1]
    d_x = masked(masked(d_y, ge), le)  # [x_0, x_1]
    d_low = masked(np.where(ge, 0, d_y), le)  # [x_0, x_1]
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


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=axes, keepdims=True)
    return e / np.where(total == 0, 1, total)


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    shifted = x - np.where(np.isneginf(top), 0, top)
    total = np.exp(shifted).sum(axis=axes, keepdims=True)
    return shifted - np.log(np.where(total == 0, 1, total))


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = np.zeros(dims, x.dtype)
    whole[slices] = x
    return whole


def inside(i):
    """Positions that never wrap. Raises IndexError for a negative one; NumPy itself does for one too large."""
    if np.min(i, initial=0) < 0:
        raise IndexError(f"position {np.min(i)} lies before the first entry")
    return i


def fronted(x, axes=None):
    """A view of x with some axes in front (None: as they are)."""
    return x if axes is None else np.moveaxis(x, axes, range(len(axes)))


def scatter(combine, x, v, index, axes=None):
    """A copy of x with v combined (by np.maximum, say) into positions of some axes (the first ones), one after another."""
    whole = x.copy()
    combine.at(fronted(whole, axes), index, v)
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    return scatter(np.add, np.zeros(dims, v.dtype), v, index, axes)


def masked(x, c, out=None):
    """x where c holds, else 0: its bits times 1 or 0. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return np.multiply(x.view(word), c, out=None if out is None else out.view(word)).view(x.dtype)


def unwindows(x, axes, sizes, strides, dilations, out=None):
    """The same along several axes, counted before any is folded, in increasing order."""
    widths = [x.shape[axis + 1] for axis in axes]
    shape = list(x.shape)
    for axis, size in zip(reversed(axes), reversed(sizes), strict=True):
        shape[axis : axis + 2] = [size]
    whole = np.empty(shape, x.dtype) if out is None else out
    whole.fill(0)
    for offsets in np.ndindex(*widths):
        source, target = [slice(None)] * x.ndim, [slice(None)] * whole.ndim
        for i, (axis, u, stride, dilation) in enumerate(zip(axes, offsets, strides, dilations, strict=True)):
            start = u * dilation
            source[axis + 1], target[axis - i] = u, slice(start, start + x.shape[axis] * stride, stride)
        whole[tuple(target)] += x[tuple(source)]
    return whole


def window_entries(x, size, stride, dilation):
    """For every offset within a window along the last axes, the entries of x there, one a window: a strided view."""
    parts = [[]]
    for d, k, s, e in zip(x.shape[x.ndim - len(size) :], size, stride, dilation, strict=True):
        last = (d - e * (k - 1) - 1) // s * s  # where the last window begins
        parts = [[*part, slice(e * u, e * u + last + 1, s)] for part in parts for u in range(k)]
    for part in parts:
        yield x[(..., *part)]


def avg_pool(x, size, stride, out=None):
    """The mean of every window along the last axes."""
    first, *others = window_entries(x, size, stride, [1] * len(size))
    y = np.empty(first.shape, x.dtype) if out is None else out
    np.copyto(y, first)
    for entries in others:
        y += entries
    y /= math.prod(size)
    return y


MASK = 0xFFFFFFFF


Key = tuple[int, int]


def philox(key, counter):
    """Four random words for a counter of four words: ten rounds of products that swap their halves.

    The words of the counter are Python integers or uint64 arrays below 2**32, those of the key integers.
    """
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (p1 >> 32) ^ x1 ^ k0, p1 & MASK, (p0 >> 32) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def fold(key: Key, word: int) -> Key:
    """The key that belongs to a word of 64 bits (a site, a round of a loop) under a key.

    It is the first half of the block that starts with the word; the last word of its counter, 0xF01D, is 0 in
    every block that `bits` reads, so folding and drawing never meet.
    """
    word = int(word)  # a NumPy integer would wrap
    return philox(key, (word & MASK, word >> 32 & MASK, 0, 0xF01D))[:2]


def bits(key: Key, n: int) -> np.ndarray:
    """n random words, uint32[n], all four words of a block used; at most 2**34 from one key."""
    words = np.empty((-(-n // 4), 4), np.uint32)
    for start in range(0, len(words), 8192):  # a stretch that stays in the cache
        part = words[start : start + 8192]
        blocks = np.arange(start, start + len(part), dtype=np.uint64)
        for column, word in enumerate(philox(key, (blocks, 0, 0, 0))):
            part[:, column] = word
    return words.ravel()[:n]


def uniform(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Uniform numbers in [0, 1): multiples of 2**-24, so that float32 and float64 hold the same ones."""
    return (bits(key, math.prod(shape)) >> 8).reshape(shape).astype(dtype) * 2.0**-24


def normal(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2) >> 8).reshape(-1, 2).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    return pairs.ravel()[:n].reshape(shape).astype(dtype)


def randint(key: Key, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape)).reshape(shape).astype(np.uint64)
    return (words * np.uint64(high - low) >> 32).astype(np.int64) + low


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)
