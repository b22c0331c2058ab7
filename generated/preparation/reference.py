"""What happens to data before a net sees them (inventory B9, B10, B13, B15): scales, batches, sizes, more examples.

Made from specs/generalisation/preparation.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/generalisation/preparation.lee
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


def standardized(x, known):
    """(x - μ) / σ for each feature; μ and σ are those of the examples known in training, also for a test.

    x [n, d], known [m, d] -> [n, d]
    """
    return (x - known.mean(axis=0)) / std(known)  # [n, d]  preparation.lee:15


def standardized_saved(x, known):
    """As standardized, and what its gradient needs."""
    sqrt, saved_std = std_saved(known)  # preparation.lee:15
    return (x - known.mean(axis=0)) / sqrt, (sqrt, saved_std)


def standardized_backward(saved, div, d_y):
    """From d_y to the gradients by x and known."""
    sqrt, saved_std = saved
    m = saved_std[1].shape[0]
    # gradient of return (x - mean(known, axis = 0)) / std(known, axis = 0)   preparation.lee:15
    d_x = d_y / sqrt  # [n, d]
    d_known_2 = std_backward(saved_std, sqrt, 0, -(d_y * div / sqrt).sum(axis=0))  # [m, d]
    d_known = d_known_2 + -d_x.sum(axis=0) / m  # [m, d]
    return d_x, d_known


def standardizedAsPrinted(x, known):
    """One set of notes adds the mean: what was off centre is then twice as far off.

    x [n, d], known [m, d] -> [n, d]
    """
    return (x + known.mean(axis=0)) / std(known)  # [n, d]  preparation.lee:20


def standardizedAsPrinted_saved(x, known):
    """As standardizedAsPrinted, and what its gradient needs."""
    sqrt, saved_std = std_saved(known)  # preparation.lee:20
    return (x + known.mean(axis=0)) / sqrt, (sqrt, saved_std)


def standardizedAsPrinted_backward(saved, div, d_y):
    """From d_y to the gradients by x and known."""
    sqrt, saved_std = saved
    m = saved_std[1].shape[0]
    # gradient of return (x + mean(known, axis = 0)) / std(known, axis = 0)   preparation.lee:20
    d_x = d_y / sqrt  # [n, d]
    d_known_2 = std_backward(saved_std, sqrt, 0, -(d_y * div / sqrt).sum(axis=0))  # [m, d]
    d_known = d_known_2 + d_x.sum(axis=0) / m  # [m, d]
    return d_x, d_known


def bilinear(image, row, column):
    """The image between its pixels, a mixture of the four around each place; 0 outside.

    image [n, c, h, w], row [n, a, b], column [n, a, b] -> [n, c, a, b]
    """
    n, c, h, w = image.shape
    _, a, b = row.shape
    p = np.floor(row).astype(np.int64)  # int[n, a, b]  preparation.lee:28
    q = np.floor(column).astype(np.int64)  # int[n, a, b]  preparation.lee:29
    sub = row - p.astype(FLOAT)  # [n, a, b]  preparation.lee:31
    eq = np.arange(2) == 0  # bool[2]  preparation.lee:42
    sub_3 = column - q.astype(FLOAT)  # [n, a, b]  preparation.lee:31
    reshape_3 = (1 - sub_3)[:, :, :, None]  # [n, a, b, 1]  preparation.lee:42
    add = p[:, :, :, None] + np.arange(2)  # int[n, a, b, 2]  preparation.lee:32
    add_2 = q[:, :, :, None] + np.arange(2)  # int[n, a, b, 2]
    reshape_7 = ((0 <= add) & (add < h))[:, :, :, :, None]  # bool[n, a, b, 2, 1]
    logical_and_2 = reshape_7 & (0 <= add_2)[:, :, :, None]  # bool[n, a, b, 2, 2]
    minimum_3 = np.minimum(np.maximum(np.arange(n), 0), n - 1)  # int[n]  preparation.lee:33
    reshape_11 = np.minimum(np.maximum(add, 0), h - 1)[:, :, :, :, None]  # int[n, a, b, 2, 1]
    reshape_12 = np.minimum(np.maximum(add_2, 0), w - 1)[:, :, :, None]  # int[n, a, b, 1, 2]
    reshape_10 = minimum_3[:, None, None, None, None]  # int[n, 1, 1, 1, 1]
    gather = image.transpose((0, 2, 3, 1))[reshape_10, reshape_11, reshape_12]  # [n, a, b, 2, 2, c]
    reshape_13 = (logical_and_2 & (add_2 < w)[:, :, :, None])[:, None]  # bool[n, 1, a, b, 2, 2]  preparation.lee:32
    select = np.where(eq, (1 - sub)[:, :, :, None], sub[:, :, :, None])  # [n, a, b, 2]  preparation.lee:42
    reshape_15 = np.where(eq, reshape_3, sub_3[:, :, :, None])[:, :, :, None]  # [n, a, b, 1, 2]  preparation.lee:30
    masked_ = masked(gather.transpose(0, 5, 1, 2, 3, 4), reshape_13)  # [n, c, a, b, 2, 2]  preparation.lee:31
    mul = select[:, :, :, :, None] * reshape_15  # [n, a, b, 2, 2]  preparation.lee:30
    reshape_16 = masked_.transpose(0, 2, 3, 1, 4, 5).reshape(n, a, b, c, 4)  # [n, a, b, c, 4]
    contract = reshape_16 @ mul.reshape(n, a, b, 4, 1)  # [n, a, b, c, 1]
    seen = contract.reshape(n, a, b, c).transpose(0, 3, 1, 2)  # [n, c, a, b]
    return seen  # [n, c, a, b]


def bilinear_saved(image, row, column):
    """As bilinear, and what its gradient needs."""
    n, c, h, w = image.shape
    _, a, b = row.shape
    p = np.floor(row).astype(np.int64)  # int[n, a, b]  preparation.lee:28
    q = np.floor(column).astype(np.int64)  # int[n, a, b]  preparation.lee:29
    sub = row - p.astype(FLOAT)  # [n, a, b]  preparation.lee:31
    eq = np.arange(2) == 0  # bool[2]  preparation.lee:42
    select = np.where(eq, (1 - sub)[:, :, :, None], sub[:, :, :, None])  # [n, a, b, 2]
    sub_3 = column - q.astype(FLOAT)  # [n, a, b]  preparation.lee:31
    select_2 = np.where(eq, (1 - sub_3)[:, :, :, None], sub_3[:, :, :, None])  # [n, a, b, 2]  preparation.lee:42
    add = p[:, :, :, None] + np.arange(2)  # int[n, a, b, 2]  preparation.lee:32
    add_2 = q[:, :, :, None] + np.arange(2)  # int[n, a, b, 2]
    reshape_7 = ((0 <= add) & (add < h))[:, :, :, :, None]  # bool[n, a, b, 2, 1]
    logical_and_2 = reshape_7 & (0 <= add_2)[:, :, :, None]  # bool[n, a, b, 2, 2]
    # int[n, 1, 1, 1, 1]  preparation.lee:33
    reshape_10 = np.minimum(np.maximum(np.arange(n), 0), n - 1)[:, None, None, None, None]
    reshape_11 = np.minimum(np.maximum(add, 0), h - 1)[:, :, :, :, None]  # int[n, a, b, 2, 1]
    reshape_12 = np.minimum(np.maximum(add_2, 0), w - 1)[:, :, :, None]  # int[n, a, b, 1, 2]
    gather = image.transpose((0, 2, 3, 1))[reshape_10, reshape_11, reshape_12]  # [n, a, b, 2, 2, c]
    reshape_13 = (logical_and_2 & (add_2 < w)[:, :, :, None])[:, None]  # bool[n, 1, a, b, 2, 2]  preparation.lee:32
    select_3 = masked(gather.transpose(0, 5, 1, 2, 3, 4), reshape_13)  # [n, c, a, b, 2, 2]  preparation.lee:31
    mul = select[:, :, :, :, None] * select_2[:, :, :, None]  # [n, a, b, 2, 2]  preparation.lee:30
    reshape_16 = select_3.transpose(0, 2, 3, 1, 4, 5).reshape(n, a, b, c, 4)  # [n, a, b, c, 4]
    contract = reshape_16 @ mul.reshape(n, a, b, 4, 1)  # [n, a, b, c, 1]
    seen = contract.reshape(n, a, b, c).transpose(0, 3, 1, 2)  # [n, c, a, b]
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
    # gradient of image[r, k, p[r, i, j] + u, q[r, i, j] + v],   preparation.lee:33
    d_gather = masked(d_select_3, reshape_13).transpose(0, 2, 3, 4, 5, 1)  # [n, a, b, 2, 2, c]
    d_image = scatter_add(d_gather, (reshape_10, reshape_11, reshape_12), (n, c, h, w), (0, 2, 3))  # [n, c, h, w]
    return d_image  # [n, c, h, w]


def bilinear_backward_2(saved, h, w, d_seen):
    """From d_seen to the gradients by image, row and column."""
    select, select_2, reshape_10, reshape_11, reshape_12, reshape_13, eq, select_3 = saved
    n, a, b, _ = select.shape
    c = select_3.shape[1]
    # gradient of seen[r, k, i, j] = sum[u in 2, v in 2](   preparation.lee:30
    reshape = select_3.transpose(0, 2, 3, 4, 5, 1).reshape(n, a, b, 4, c)  # [n, a, b, 4, c]
    contract = reshape @ d_seen.transpose(0, 2, 3, 1)[:, :, :, :, None]  # [n, a, b, 4, 1]
    reshape_3 = contract.reshape(n, a, b, 2, 2)  # [n, a, b, 2, 2]
    d_select = (reshape_3 @ select_2[:, :, :, :, None]).reshape(n, a, b, 2)  # [n, a, b, 2]
    reshape_5 = select[:, :, :, :, None]  # [n, a, b, 2, 1]
    d_select_2 = (reshape_3.mT @ reshape_5).reshape(n, a, b, 2)  # [n, a, b, 2]
    reshape_8 = (reshape_5 * select_2[:, :, :, None])[:, None]  # [n, 1, a, b, 2, 2]
    d_select_3 = d_seen[:, :, :, :, None, None] * reshape_8  # [n, c, a, b, 2, 2]
    # gradient of image[r, k, p[r, i, j] + u, q[r, i, j] + v],   preparation.lee:33
    d_gather = masked(d_select_3, reshape_13).transpose(0, 2, 3, 4, 5, 1)  # [n, a, b, 2, 2, c]
    d_image = scatter_add(d_gather, (reshape_10, reshape_11, reshape_12), (n, c, h, w), (0, 2, 3))  # [n, c, h, w]
    # gradient of near(row[r, i, j] - p[r, i, j], u) * near(column[r, i, j] - q[r, i, j], v) * ..   preparation.lee:31
    d_column = np.where(eq, 0, d_select_2).sum(axis=3) - masked(d_select_2, eq).sum(axis=3)  # [n, a, b]
    d_row = np.where(eq, 0, d_select).sum(axis=3) - masked(d_select, eq).sum(axis=3)  # [n, a, b]
    return d_image, d_row, d_column


def resized_saved(image, height, width):
    """As resized, and what its gradient needs."""
    n, _, h, w = image.shape
    sub = (np.arange(height).astype(FLOAT) + 0.5) * h / height - 0.5  # [height]  preparation.lee:47
    reshape = np.minimum(np.maximum(sub, 0), h - 1.0)[:, None]  # [height, 1]
    row = np.broadcast_to(reshape, (n, height, width))  # [n, height, width]
    sub_3 = (np.arange(width).astype(FLOAT) + 0.5) * w / width - 0.5  # [width]  preparation.lee:48
    minimum_2 = np.minimum(np.maximum(sub_3, 0), w - 1.0)  # [width]  prelude.lee:153
    column = np.broadcast_to(minimum_2, (n, height, width))  # [n, height, width]  preparation.lee:48
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
    y = image.transpose(0, 2, 3, 1)  # [n, h, w, c]  preparation.lee:54
    return y.reshape(n, c * h * w)  # [n, c * h * w]  preparation.lee:55


def as_vector_backward(c, h, w, d_y):
    """From d_y to the gradient by image."""
    n = d_y.shape[0]
    # gradient of return flatten(y, from = 1)   preparation.lee:55
    d_y_ = d_y.reshape(n, h, w, c)  # [n, h, w, c]
    # gradient of y[r, i, j, k] = image[r, k, i, j]   preparation.lee:54
    d_image = d_y_.transpose(0, 3, 1, 2)  # [n, c, h, w]
    return d_image  # [n, c, h, w]


def cut_saved(image, top, left, height, width):
    """As cut, and what its gradient needs."""
    n = image.shape[0]
    reshape_4 = (top[:, None] + np.arange(height))[:, :, None]  # int[n, height, 1]  preparation.lee:63
    reshape_5 = (left[:, None] + np.arange(width))[:, None]  # int[n, 1, width]
    reshape_3 = np.arange(n)[:, None, None]  # int[n, 1, 1]
    gather = image.transpose((0, 2, 3, 1))[reshape_3, inside(reshape_4), inside(reshape_5)]  # [n, height, width, c]
    patch = gather.transpose(0, 3, 1, 2)  # [n, c, height, width]
    return patch, (reshape_4, reshape_5)


def cut_backward(saved, h, w, d_patch):
    """From d_patch to the gradient by image."""
    reshape_4, reshape_5 = saved
    n = reshape_4.shape[0]
    c = d_patch.shape[1]
    # gradient of patch[r, k, i in height, j in width] = image[r, k, top[r] + i, left[r] + j]   preparation.lee:63
    d_gather = d_patch.transpose(0, 2, 3, 1)  # [n, height, width, c]
    reshape = np.arange(n)[:, None, None]  # int[n, 1, 1]
    d_image = scatter_add(d_gather, (reshape, reshape_4, reshape_5), (n, c, h, w), (0, 2, 3))  # [n, c, h, w]
    return d_image  # [n, c, h, w]


def turned(image, angle, zoom):
    """Each image turned by its own angle about the middle, and larger by its own factor.

    image [n, c, h, w], angle [n], zoom [n] -> [n, c, h, w]
    """
    _, _, h, w = image.shape
    across = (np.arange(w) * 2 + (1 - w)).astype(FLOAT) / w  # [w]  preparation.lee:69
    down = (np.arange(h) * 2 + (1 - h)).astype(FLOAT) / h  # [h]  preparation.lee:70
    reshape = np.cos(angle)[:, None]  # [n, 1]  preparation.lee:71
    reshape_2 = np.sin(angle)[:, None]  # [n, 1]
    reshape_5 = zoom[:, None, None]  # [n, 1, 1]
    sub = (reshape * across)[:, None] - (reshape_2 * down)[:, :, None]  # [n, h, w]
    column = w / 2 * (sub / reshape_5 + 1) - 0.5  # [n, h, w]
    add_4 = (reshape_2 * across)[:, None] + (reshape * down)[:, :, None]  # [n, h, w]  preparation.lee:72
    row = h / 2 * (add_4 / reshape_5 + 1) - 0.5  # [n, h, w]
    return bilinear(image, row, column)  # [n, c, h, w]  preparation.lee:73


def turned_saved(image, angle, zoom):
    """As turned, and what its gradient needs."""
    _, _, h, w = image.shape
    across = (np.arange(w) * 2 + (1 - w)).astype(FLOAT) / w  # [w]  preparation.lee:69
    down = (np.arange(h) * 2 + (1 - h)).astype(FLOAT) / h  # [h]  preparation.lee:70
    reshape = np.cos(angle)[:, None]  # [n, 1]  preparation.lee:71
    reshape_2 = np.sin(angle)[:, None]  # [n, 1]
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
    sum_ = (d_add_5 * div_3 / reshape).sum(axis=(1, 2), keepdims=True)  # [n, 1, 1]
    # gradient of column[r, i, j] = ((cos(angle[r]) * across[j] - sin(angle[r]) * down[i]) / zo..   preparation.lee:71
    sum_2 = (d_add_3 * div / reshape).sum(axis=(1, 2), keepdims=True)  # [n, 1, 1]
    d_zoom = (-(sum_ + sum_2)).reshape(n)  # [n]
    mul_5 = (-d_sub.sum(axis=2, keepdims=True)).reshape(n, h) * down  # [n, h]
    # gradient of row[r, i, j] = ((sin(angle[r]) * across[j] + cos(angle[r]) * down[i]) / zoom[..   preparation.lee:72
    d_reshape_2_2 = (d_add_4.sum(axis=1) * across).sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of column[r, i, j] = ((cos(angle[r]) * across[j] - sin(angle[r]) * down[i]) / zo..   preparation.lee:71
    d_reshape_2 = d_reshape_2_2 + mul_5.sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of row[r, i, j] = ((sin(angle[r]) * across[j] + cos(angle[r]) * down[i]) / zoom[..   preparation.lee:72
    d_reshape_8 = (d_add_4.sum(axis=2) * down).sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of column[r, i, j] = ((cos(angle[r]) * across[j] - sin(angle[r]) * down[i]) / zo..   preparation.lee:71
    d_reshape_9 = (d_sub.sum(axis=1) * across).sum(axis=1, keepdims=True)  # [n, 1]
    mul_7 = (d_reshape_8 + d_reshape_9).reshape(n) * np.sin(angle)  # [n]
    d_angle = d_reshape_2.reshape(n) * np.cos(angle) - mul_7  # [n]
    return d_image, d_angle, d_zoom


def adversarial(net, x, y, far):
    """Examples moved a little, every feature the way on which the loss grows: hard ones, with the same labels.

    x [n, net.sizes_0], y int[n] -> [n, net.sizes_0]
    """
    add_2, saved_net = net.forward_saved(x)  # preparation.lee:78
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [n, net.sizes_2]
    sign = np.sign(net.forward_backward_input(saved_net, d_add_2))  # [n, net.sizes_0]
    return x + far * sign  # [n, net.sizes_0]


def adversarial_backward_input(d_out):
    """From d_out to the gradient by x."""
    return d_out  # [n, net.sizes_0]


def in_batches(epochs=3, batch=64, rate=0.5, *, run=None):
    """A batch makes one update, all batches once an epoch; every epoch deals the examples out anew.

    With batch = n it is full descent, with batch = 1 stochastic descent.
    """
    from leec.runtime.run import Run

    run = run or Run("in_batches")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Linear(inputs=64, outputs=10, key=run.key("net"))  # preparation.lee:90
    opt = SGD(lr=rate)  # preparation.lee:91
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(in_batches_step(net, opt, x, y))  # preparation.lee:94
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # preparation.lee:95
    return net


def in_batches_step(net, opt, x, y):
    """One step of in_batches."""
    net_out = net(x)  # [batches_n, 10]  preparation.lee:94
    d_net_out = cross_entropy_backward(net_out, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = Linear.forward_backward_parameters(x, d_net_out)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(net_out, y)


def fit(epochs=20, batch=64, most=0.25, rate=3e-3, *, run=None):
    """Digits, each time seen a little turned and in another size."""
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net"))  # preparation.lee:102
    opt = Adam(lr=rate)  # preparation.lee:103
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for image, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_step(net, opt, image, most, y, key=run.key("fit")))  # preparation.lee:106
        run.report(accuracy=accuracy(net(as_vector(data.test.x)), data.test.y))  # preparation.lee:109
    return net


def fit_step(net, opt, image, most, y, key):
    """One step of fit."""
    batches_n = image.shape[0]
    uniform_ = uniform(fold(key, SITES["angle"]), (batches_n,), FLOAT)  # [batches_n]  preparation.lee:106
    angle = 2 * most * uniform_ - most  # [batches_n]
    uniform_2 = uniform(fold(key, SITES["zoom"]), (batches_n,), FLOAT)  # [batches_n]  preparation.lee:107
    zoom = 0.9 + 0.20000000000000007 * uniform_2  # [batches_n]
    reshape = as_vector(turned(image, angle, zoom))  # [batches_n, 64]  preparation.lee:108
    add_2, saved_net = net.forward_saved(reshape)
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(reshape, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


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
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [4, 3]
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

    def forward_backward_input(self, d_y):
        """From d_y to the gradient by x."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_y @ self.w.T  # [rows, inputs]
        return d_x  # [rows, inputs]

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_x = d_y @ self.w.T  # [rows, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_x

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

    def forward_backward_parameters(self, x, x_2, d_y):
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

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g in blocks(parameters, gradient):
            θ -= self.lr * (g + self.weight_decay * θ)  # [count]  optim.lee:11


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


def var(x, ddof=0):
    """Σ (x - mean)² / (n - ddof) over all entries, or along an axis or several.

    x [x_0, x_1] -> [x_1]
    """
    x_0 = x.shape[0]
    sub = x - x.mean(axis=0, keepdims=True)  # [x_0, x_1]  prelude.lee:168
    total = (sub**2).sum(axis=0)  # [x_1]
    return total / (x_0 - ddof)  # [x_1]  prelude.lee:169


def var_saved(x, ddof=0):
    """As var, and what its gradient needs."""
    x_0 = x.shape[0]
    sub = x - x.mean(axis=0, keepdims=True)  # [x_0, x_1]  prelude.lee:168
    total = (sub**2).sum(axis=0)  # [x_1]
    return total / (x_0 - ddof), sub  # prelude.lee:169


def var_backward(sub, ddof, d_y):
    """From d_y to the gradient by x."""
    x_0 = sub.shape[0]
    # gradient of return total / (count(x) // count(total) - ddof)   prelude.lee:169
    d_total = d_y / (x_0 - ddof)  # [x_1]
    # gradient of total = sum((x - mean(x, axis = axis, keepdims = true)) ** 2, axis = axis, ke..   prelude.lee:168
    d_sub_2 = d_total * sub  # [x_0, x_1]
    d_x = 2 * d_sub_2 + (-2 * d_sub_2).sum(axis=0, keepdims=True) / x_0  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def std(x, ddof=0):
    """√var

    x [x_0, x_1] -> [x_1]
    """
    return np.sqrt(var(x, ddof=ddof))  # [x_1]  prelude.lee:174


def std_saved(x, ddof=0):
    """As std, and what its gradient needs."""
    div, saved_var = var_saved(x, ddof=ddof)  # prelude.lee:174
    return np.sqrt(div), (div, saved_var)


def std_backward(saved, sqrt, ddof, d_y):
    """From d_y to the gradient by x."""
    div, saved_var = saved
    # gradient of return sqrt(var(x, axis = axis, ddof = ddof, keepdims = keepdims))   prelude.lee:174
    d_x = var_backward(saved_var, ddof, d_y * 0.5 / np.where(div > 0, sqrt, np.inf))  # [x_0, x_1]
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


def cut(vector, shapes):
    """Views of a vector, one after the other."""
    stop = 0
    for shape in shapes:
        start, stop = stop, stop + int(np.prod(shape))
        yield vector[start:stop].reshape(shape)
