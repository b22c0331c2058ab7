"""Which model to keep (inventory B1, B5, B7, B8, B11, B12, B14): error by flexibility, validation, search, committees.

Made from specs/generalisation/selection.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/generalisation/selection.lee
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


def polynomials_saved(x, at, y):
    """As polynomials, and what its gradient needs."""
    n = x.shape[0]
    m = at.shape[0]
    squares = dot(np.ones(n, dtype=FLOAT), np.ones(n, dtype=FLOAT))  # selection.lee:20
    div = dot(np.ones(n, dtype=FLOAT), y) / squares  # selection.lee:24
    a = dot(x, np.ones(n, dtype=FLOAT)) / squares  # selection.lee:26
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
    broadcast = np.broadcast_to(div, (1, m))  # [1, m]  selection.lee:31
    concat = np.concatenate((broadcast, fit_3[None], fit_4[None], fit_5[None], fit_6[None]), axis=0)  # [5, m]
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
    d_sum = (d_concat[:1].sum() + d_fit_3.sum()) / squares
    d_x_9 = d_sub_5 + d_mul_12 * p_3 + d_sub_3 + d_mul_6 * p_2 + d_sub  # [n]
    # gradient of a = dot(x * p, p) / dot(p, p)   selection.lee:26
    d_x_5 = dot_backward_2(np.ones(n, dtype=FLOAT), d_a / squares)  # [n]
    # gradient of fit = fit + dot(p, y) / dot(p, p) * p_at   selection.lee:24
    d_x = d_x_9 + d_mul_2 * p + d_p + d_x_5  # [n]
    d_at = d_sub_6 + d_sub_4 + d_sub_2 + d_p_at_2  # [m]
    d_y_6 = dot_backward_3(np.ones(n, dtype=FLOAT), d_sum)  # [n]
    d_y = d_y_2 + d_y_3 + d_y_4 + d_y_5 + d_y_6  # [n]
    return d_x, d_at, d_y


def error_by_degree_saved(x, y, at, target):
    """As error_by_degree, and what its gradient needs."""
    concat, saved_polynomials = polynomials_saved(x, x, y)  # selection.lee:36
    sub = concat - y  # [5, n]
    known = (sub**2).mean(axis=1)  # [5]
    concat_2, saved_polynomials_ = polynomials_saved(x, at, y)  # selection.lee:37
    sub_2 = concat_2 - target  # [5, m]
    unknown = (sub_2**2).mean(axis=1)  # [5]
    return known, unknown, (saved_polynomials, sub, saved_polynomials_, sub_2)


def error_by_degree_backward(x, y, saved, d_known, d_unknown):
    """From d_known and d_unknown to the gradients by x, y, at and target."""
    saved_polynomials, sub, saved_polynomials_, sub_2 = saved
    n = x.shape[0]
    m = sub_2.shape[1]
    # gradient of unknown = mean((polynomials(x, at, y, largest) - target) ** 2, axis = 1)   selection.lee:37
    d_sub_2_2 = (d_unknown / m)[:, None] * sub_2  # [5, m]
    d_target = (-2 * d_sub_2_2).sum(axis=0)  # [m]
    d_x_2, d_at, d_y_2 = polynomials_backward(x, y, saved_polynomials_, 2 * d_sub_2_2)
    # gradient of known = mean((polynomials(x, x, y, largest) - y) ** 2, axis = 1)   selection.lee:36
    d_sub_3 = (d_known / n)[:, None] * sub  # [5, n]
    d_x_3, d_x_4, d_y_4 = polynomials_backward(x, y, saved_polynomials, 2 * d_sub_3)
    d_x = d_x_2 + d_x_3 + d_x_4  # [n]
    d_y = d_y_2 + (-2 * d_sub_3).sum(axis=0) + d_y_4  # [n]
    return d_x, d_y, d_at, d_target


def variance_ratio_saved(x, y, classes):
    """As variance_ratio, and what its gradient needs."""
    n = x.shape[0]
    member_ = one_hot(y, classes)  # [n, classes]  selection.lee:46
    size = member_.sum(axis=0)  # [classes]  selection.lee:47
    centre = member_.T @ x / size[:, None]  # [classes, d]  selection.lee:48
    sub = centre.T - x.mean(axis=0)[:, None]  # [d, classes]  selection.lee:49
    between = sub**2 @ size  # [d]
    sub_2 = x.T - centre.T @ member_.T  # [d, n]  selection.lee:50
    inside_ = (sub_2**2).sum(axis=1)  # [d]
    div_2 = inside_ / (n - classes)  # [d]  selection.lee:51
    return between / (classes - 1) / div_2, (member_, size, sub, sub_2, div_2)


def variance_ratio_backward(saved, div_3, d_div_3):
    """From d_div_3 to the gradient by x."""
    member_, size, sub, sub_2, div_2 = saved
    n, classes = member_.shape
    # gradient of return between / (classes - 1) / (inside / (n - classes))   selection.lee:51
    d_inside = -(d_div_3 * div_3 / div_2) / (n - classes)  # [d]
    d_between = d_div_3 / div_2 / (classes - 1)  # [d]
    # gradient of inside[j] = sum[i]((x[i, j] - sum[c](member[i, c] * centre[c, j])) ** 2)   selection.lee:50
    d_sub_2_2 = d_inside[:, None] * sub_2  # [d, n]
    # gradient of between[j] = sum[c](size[c] * (centre[c, j] - mean(x, axis = 0)[j]) ** 2)   selection.lee:49
    d_sub_3 = d_between[:, None] * size * sub  # [d, classes]
    # gradient of centre[c, j] = sum[i](member[i, c] * x[i, j]) / size[c]   selection.lee:48
    d_centre = member_.T @ (-2 * d_sub_2_2).T + (2 * d_sub_3).T  # [classes, d]
    d_x_5 = (2 * d_sub_2_2).T + (-2 * d_sub_3).sum(axis=1) / n  # [n, d]
    d_x = d_x_5 + member_ @ (d_centre / size[:, None])  # [n, d]
    return d_x  # [n, d]


def most_telling_saved(x, score, keep):
    """As most_telling, and what its gradient needs."""
    slice_ = np.argsort(-score, axis=0, kind="stable")[:keep]  # int[keep]  selection.lee:56
    kept = x.transpose((1, 0))[inside(slice_)].T  # [n, keep]  selection.lee:57
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
        self.features, self.width, self.rounds, self.classes = features, width, rounds, classes
        self.first = Linear(features, width, key=fold(key, SITES["first"]))  # selection.lee:63
        self.again = Linear(width, width, key=fold(key, SITES["again"]))  # selection.lee:64
        self.last = Linear(width, classes, key=fold(key, SITES["last"]))  # selection.lee:65
        self.lay_out()

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
        d_self = {"again": {"w": np.zeros((self.width, self.width), dtype=FLOAT)}}
        d_again_b_rows = np.empty((self.rounds, self.width), dtype=FLOAT)  # [rounds, width]
        for step in reversed(range(self.rounds)):
            d_h_4, d_self, d_again_b_rows[step] = self.forward_step_backward(saved_forward_step[step], d_h_4, d_self)
        d_again_b = d_again_b_rows.sum(axis=0)  # [width]
        # gradient of h = relu(first(x))   selection.lee:68
        d_first, d_x = self.first.forward_backward(x, relu_backward(h, d_h_4))
        return {"first": d_first, "again": {"w": d_self["again"]["w"], "b": d_again_b}, "last": d_last}, d_x


class Committee(Model):
    """Nets that differ in their first weights; the probabilities of all are averaged."""

    members = ("members",)
    renamed = {"members": "members_"}

    def __init__(self, sizes, *, key=(0, 0)):
        self.sizes = sizes
        # selection.lee:79
        self.members_ = [
            MLP((sizes[0], sizes[1], sizes[2]), key=fold(key, SITES["members.0"])),
            MLP((sizes[0], sizes[1], sizes[2]), key=fold(key, SITES["members.1"])),
            MLP((sizes[0], sizes[1], sizes[2]), key=fold(key, SITES["members.2"])),
        ]
        self.lay_out()

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
        sum_ = (d_total_3 * softmax_2).sum(axis=1, keepdims=True)  # [x_0, 1]
        d_add_2_3 = softmax_2 * (d_total_3 - sum_)  # [x_0, sizes_2]
        # gradient of total = total + softmax(net(x), axis = 1)   selection.lee:84
        d_members__2_, d_x_2 = self.members_[2].forward_backward(x, saved_members__2_, d_add_2_3)
        # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
        sum_2 = (d_total_3 * softmax_).sum(axis=1, keepdims=True)  # [x_0, 1]
        d_add_2_2 = softmax_ * (d_total_3 - sum_2)  # [x_0, sizes_2]
        # gradient of total = total + softmax(net(x), axis = 1)   selection.lee:84
        d_members__1_, d_x_3 = self.members_[1].forward_backward(x, saved_members__1_, d_add_2_2)
        # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
        sub_3 = d_total_3 - (d_total_3 * total).sum(axis=1, keepdims=True)  # [x_0, sizes_2]
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


def loss_of_each_backward_parameters(committee_, x, y, saved, d_total_3):
    """From d_total_3 to the gradient by committee."""
    add_2, saved_committee__members__0_, add_2_2, saved_committee__members__1_, add_2_3, saved_committee__members__2_ = saved
    # gradient of total = total + cross_entropy(net(x), y)   selection.lee:92
    d_add_2_3 = cross_entropy_backward(add_2_3, y, d_total_3)  # [x_0, committee.sizes_2]
    d_committee__members__2_ = committee_.members_[2].forward_backward_parameters(
        x, saved_committee__members__2_, d_add_2_3
    )
    d_add_2_2 = cross_entropy_backward(add_2_2, y, d_total_3)  # [x_0, committee.sizes_2]
    d_committee__members__1_ = committee_.members_[1].forward_backward_parameters(
        x, saved_committee__members__1_, d_add_2_2
    )
    d_add_2 = cross_entropy_backward(add_2, y, d_total_3)  # [x_0, committee.sizes_2]
    d_committee__members__0_ = committee_.members_[0].forward_backward_parameters(
        x, saved_committee__members__0_, d_add_2
    )
    return {
        "members.0": d_committee__members__0_,
        "members.1": d_committee__members__1_,
        "members.2": d_committee__members__2_,
    }


class Scores(Model):
    """A score for each class, at first 0."""

    members = ("w", "b")

    def __init__(self, features, classes):
        self.features, self.classes = features, classes
        self.w = np.zeros((features, classes), dtype=FLOAT)  # [features, classes]  selection.lee:101
        self.b = np.zeros(classes, dtype=FLOAT)  # [classes]  selection.lee:102
        self.lay_out()

    def forward(self, x):
        """x [n, features] -> [n, classes]"""
        return x @ self.w + self.b  # [n, classes]  selection.lee:105

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   selection.lee:105
        d_b = d_y.sum(axis=0)  # [classes]
        d_w = x.T @ d_y  # [features, classes]
        return {"w": d_w, "b": d_b}


def early_stopping(epochs=60, batch=64, patience=3, rate=0.5, *, run=None):
    """Ends when the validation loss has not fallen for some epochs, and gives back the net that had the lowest."""
    from leec.runtime.run import Run

    run = run or Run("early_stopping")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    known, unknown = run.split("known", data.train, 0.2)  # selection.lee:111
    net = MLP(sizes=(64, 32, 10), key=run.key("net"))  # selection.lee:112
    opt = SGD(lr=rate)  # selection.lee:113
    best = net.copy()  # selection.lee:114
    lowest = np.inf  # selection.lee:115
    waited = 0  # selection.lee:116
    best, lowest, waited = run.restore("epoch", best=best, lowest=lowest, waited=waited)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", known, batch, shuffle=True):
            run.step(early_stopping_step(net, opt, x, y))  # selection.lee:119
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


def early_stopping_step(net, opt, x, y):
    """One step of early_stopping."""
    add_2, saved_net = net.forward_saved(x)  # selection.lee:119
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def early_stopping_valid(net, unknown_x, unknown_y):
    """unknown_x [unknown_n, 64], unknown_y int[unknown_n] -> []"""
    valid = cross_entropy(net(unknown_x), unknown_y)  # selection.lee:120
    return valid


def validated(steps=60, part=0.25, rate=0.5, *, run=None):
    """The rate whose net has the lowest validation loss; the test part is touched once, at the end."""
    from leec.runtime.run import Run

    run = run or Run("validated")
    data = run.data(
        "breast_cancer", standardize=True, test=0.25, fields={"x": ("float", ("n", 30)), "y": ("int", ("n",))}
    )
    known, valid = run.split("known", data.train, part)  # selection.lee:137
    best = Scores(features=30, classes=2)  # selection.lee:138
    lowest = np.inf  # selection.lee:139
    best, lowest = run.restore("factor", best=best, lowest=lowest)
    for factor in run.loop("factor", 1, 4):
        net = Scores(features=30, classes=2)  # selection.lee:141
        opt = SGD(lr=rate * factor)  # selection.lee:142
        for step in run.loop("step", 1, steps, net=net, opt=opt):
            run.step(validated_step(net, opt, known.x, known.y))  # selection.lee:144
        loss = validated_loss(net, valid.x, valid.y)  # selection.lee:145
        run.report(loss=loss)  # selection.lee:146
        if loss < lowest:
            best = net.copy()  # selection.lee:148
            lowest = loss  # selection.lee:149
        run.keep("factor", best=best, lowest=lowest)
    run.report(test=accuracy(best(data.test.x), data.test.y))  # selection.lee:150
    return best


def validated_step(net, opt, known_x, known_y):
    """One step of validated."""
    net_out = net(known_x)  # [known_n, 2]  selection.lee:144
    d_net_out = cross_entropy_backward(net_out, known_y, FLOAT(1.0))  # [known_n, 2]
    d_net = Scores.forward_backward_parameters(known_x, d_net_out)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(net_out, known_y)


def validated_loss(net, valid_x, valid_y):
    """valid_x [valid_n, 30], valid_y int[valid_n] -> []"""
    loss = cross_entropy(net(valid_x), valid_y)  # selection.lee:145
    return loss


def cross_validated(data, parts=5, steps=60, rate=1.0, *, run=None):
    """Each part validates once. The decay with the lowest mean loss is then used on all training data."""
    from leec.runtime.run import Run

    run = run or Run("cross_validated")
    data = run.accept("data", data, fields={"x": ("float", ("n", "d")), "y": ("int", ("n",))})  # selection.lee:154
    winner = 0.0  # selection.lee:156
    lowest = np.inf  # selection.lee:157
    lowest, winner = run.restore("choice", lowest=lowest, winner=winner)
    for choice in run.loop("choice", 0, 3):
        decay = 0.01 * choice  # selection.lee:159
        total = 0.0  # selection.lee:160
        folds = run.folds("folds", data.train, k=parts)  # selection.lee:161
        (total,) = run.restore("fold", total=total)
        for known, valid in run.each("fold", folds):
            net = Scores(features=data.train.x.shape[1], classes=3)  # selection.lee:162
            opt = SGD(lr=rate)  # selection.lee:163
            for step in run.loop("step", 1, steps, net=net, opt=opt):
                run.step(cross_validated_step(net, opt, known.x, known.y, decay))  # selection.lee:165
            total = cross_validated_total(total, net, valid.x, valid.y)  # selection.lee:166
            run.keep("fold", total=total)
        run.report(score=total / parts)  # selection.lee:167
        if total < lowest:
            lowest = total  # selection.lee:169
            winner = decay  # selection.lee:170
        run.keep("choice", lowest=lowest, winner=winner)
    net = Scores(features=data.train.x.shape[1], classes=3)  # selection.lee:171
    opt = SGD(lr=rate)  # selection.lee:172
    for step in run.loop("step_2", 1, steps, net=net, opt=opt):
        run.step(cross_validated_step_2(net, opt, data.train.x, data.train.y, winner))  # selection.lee:174
    return net


def cross_validated_step(net, opt, known_x, known_y, decay):
    """One step of cross_validated."""
    net_out = net(known_x)  # [known_n, 3]  selection.lee:165
    mean = cross_entropy(net_out, known_y)
    d_net_out = cross_entropy_backward(net_out, known_y, FLOAT(1.0))  # [known_n, 3]
    d_net = Scores.forward_backward_parameters(known_x, d_net_out)
    loss = mean + decay * (net.w * net.w).sum()
    d_w = 2 * (decay * net.w) + d_net["w"]  # [d, 3]
    opt.update(net.parameters, net.flat({"w": d_w, "b": d_net["b"]}))
    return loss


def cross_validated_total(total, net, valid_x, valid_y):
    """valid_x [valid_n, d], valid_y int[valid_n] -> []"""
    total_2 = total + cross_entropy(net(valid_x), valid_y)  # selection.lee:166
    return total_2


def cross_validated_step_2(net, opt, data_train_x, data_train_y, winner):
    """One step of cross_validated."""
    net_out = net(data_train_x)  # [data_train_n, 3]  selection.lee:174
    mean = cross_entropy(net_out, data_train_y)
    d_net_out = cross_entropy_backward(net_out, data_train_y, FLOAT(1.0))  # [data_train_n, 3]
    d_net = Scores.forward_backward_parameters(data_train_x, d_net_out)
    loss = mean + winner * (net.w * net.w).sum()
    d_w = 2 * (winner * net.w) + d_net["w"]  # [d, 3]
    opt.update(net.parameters, net.flat({"w": d_w, "b": d_net["b"]}))
    return loss


def rates(steps=20, *, run=None):
    """Too large a rate diverges, too small a rate crawls: the loss after every update, for several rates."""
    from leec.runtime.run import Run

    run = run or Run("rates")
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
    w = np.zeros(10, dtype=FLOAT)  # [10]  selection.lee:184
    return w  # [10]


def rates_w_2(w, rate, x, y):
    """w [10], x [data_train_n, 10], y [data_train_n] -> [10]"""
    _, saved_mse = mse_saved(x @ w, y)  # selection.lee:186
    w_2 = w - rate * (mse_backward(saved_mse, FLOAT(1.0)) @ x)  # [10]
    return w_2  # [10]


def committee(epochs=10, batch=64, rate=0.3, *, run=None):
    """Nets from different first weights, each trained by itself; together they are wrong less often."""
    from leec.runtime.run import Run

    run = run or Run("committee")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Committee(sizes=(64, 12, 10), key=run.key("net"))  # selection.lee:193
    opt = SGD(lr=rate)  # selection.lee:194
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(committee_step(net, opt, x, y))  # selection.lee:197
        reported_alone, reported_together = committee_alone_together(net, data.test.x, data.test.y)  # selection.lee:198
        run.report(alone=reported_alone, together=reported_together)  # selection.lee:198
    return net


def committee_step(net, opt, x, y):
    """One step of committee."""
    loss, saved_loss_of_each = loss_of_each_saved(net, x, y)  # selection.lee:197
    d_net = loss_of_each_backward_parameters(net, x, y, saved_loss_of_each, FLOAT(1.0))
    opt.update(net.parameters, net.flat(d_net))
    return loss


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
    d_unknown_2 = np.ones(5, dtype=FLOAT)  # [5]  selection.lee:211
    # selection.lee:210
    d_x, d_y, d_at, d_target = error_by_degree_backward(x, y, saved_error_by_degree, d_unknown_2, d_unknown_2)
    return known_2.sum() + unknown_2.sum(), d_x, d_y, d_at, d_target


def example_told_apart(key):
    x = normal(fold(key, SITES["x"]), (20, 4), FLOAT)  # [20, 4]  selection.lee:215
    y = randint(fold(key, SITES["y"]), (20,), 0, 3)  # int[20]  selection.lee:216
    div_3, saved_variance_ratio = variance_ratio_saved(x, y, 3)  # selection.lee:217
    d_div_3 = np.ones(4, dtype=FLOAT)  # [4]
    d_x = variance_ratio_backward(saved_variance_ratio, div_3, d_div_3)  # [20, 4]
    return div_3.sum(), d_x


def example_kept(key):
    x = normal(fold(key, SITES["x"]), (6, 5), FLOAT)  # [6, 5]  selection.lee:221
    score = 9 * uniform(fold(key, SITES["score"]), (5,), FLOAT)  # [5]  selection.lee:222
    c = normal(fold(key, SITES["c"]), (6, 3), FLOAT)  # [6, 3]  selection.lee:223
    d_c, saved_most_telling = most_telling_saved(x, score, 3)  # selection.lee:224
    return (c * d_c).sum(), most_telling_backward(saved_most_telling, 5, c), np.zeros(5, dtype=FLOAT), d_c


def example_shared(key):
    net = Shared(4, 5, 3, 3, key=fold(key, SITES["net"]))  # selection.lee:228
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  selection.lee:229
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  selection.lee:230
    add_3, saved_net = net.forward_saved(x)  # selection.lee:231
    d_add_3 = cross_entropy_backward(add_3, y, FLOAT(1.0))  # [9, 3]
    d_net, d_x = net.forward_backward(x, saved_net, d_add_3)
    return cross_entropy(add_3, y), net.at(d_net), d_x


def example_vote(key):
    net = Committee((4, 5, 3), key=fold(key, SITES["net"]))  # selection.lee:235
    x = normal(fold(key, SITES["x"]), (6, 4), FLOAT)  # [6, 4]  selection.lee:236
    y = randint(fold(key, SITES["y"]), (6,), 0, 3)  # int[6]  selection.lee:237
    c = normal(fold(key, SITES["c"]), (6, 3), FLOAT)  # [6, 3]  selection.lee:238
    d_c, saved_net = net.forward_saved(x)  # selection.lee:239
    total_3, saved_loss_of_each = loss_of_each_saved(net, x, y)
    d_net, d_x_2 = loss_of_each_backward(net, x, y, saved_loss_of_each, FLOAT(1.0))
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
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced(surprise)  # losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot_ = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot_) * d_surprise[:, None]  # [rows, k]
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
    place = np.arange(classes)  # int[classes]  prelude.lee:253
    return (index[:, None] == place).astype(FLOAT)  # [rows, classes]  prelude.lee:254


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


def member(holder, path):
    """The model or tensor at a path such as `net.layers.0.w`."""
    for step in path.split("."):
        holder = (
            holder[int(step)] if step.isdigit() else getattr(holder, getattr(holder, "renamed", {}).get(step, step))
        )
    return holder
