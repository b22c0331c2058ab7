"""Attacks on a net whose parameters stay fixed (inventory J1 to J9): small changes of the input, other answers.

Made from specs/adversarial/attacks.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/adversarial/attacks.lee
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


def away_saved(net, x, y):
    """As away, and what its gradient needs."""
    add_2, saved_net = net.forward_saved(x)  # attacks.lee:15
    return -cross_entropy(add_2, y), (add_2, saved_net)


def away_backward(net, x, y, saved, d_neg):
    """From d_neg to the gradients by net and x."""
    add_2, saved_net = saved
    # gradient of return -cross_entropy(net(x, training = false), y)   attacks.lee:15
    d_net, d_x = net.forward_backward(x, saved_net, cross_entropy_backward(add_2, y, -d_neg))
    return d_net, d_x


def away_backward_input(net, y, saved, d_neg):
    """From d_neg to the gradient by x."""
    add_2, saved_net = saved
    # gradient of return -cross_entropy(net(x, training = false), y)   attacks.lee:15
    d_add_2 = cross_entropy_backward(add_2, y, -d_neg)  # [n, net.sizes_2]
    d_x = net.forward_backward_input(saved_net, d_add_2)  # [n, net.sizes_0]
    return d_x  # [n, net.sizes_0]


def away_backward_input_saved(net, y, saved, d_neg):
    """From d_neg to the gradients by x, add_2 and add."""
    add_2, saved_net = saved
    # gradient of return -cross_entropy(net(x, training = false), y)   attacks.lee:15
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, y, -d_neg)
    d_x, saved_net_ = net.forward_backward_input_saved(saved_net, d_add_2)
    return d_x, (d_add_2, saved_cross_entropy_backward, saved_net_)


def away_backward_input_backward(net, saved, d_d_x):
    """From d_add_2, d_add and d_d_x to the gradients by net and add_2."""
    d_add_2, saved_cross_entropy_backward, saved_net_ = saved
    # gradient of return -cross_entropy(net(x, training = false), y)   attacks.lee:15
    d_net, d_d_add_2 = net.forward_backward_input_backward(d_add_2, saved_net_, d_d_x)
    d_add_2_2 = cross_entropy_backward_backward(saved_cross_entropy_backward, d_d_add_2)  # [n, net.sizes_2]
    return d_net, d_add_2_2


def away_saved_backward(net, x, saved, d_add_2):
    """From d_add_2 to the gradients by net and x."""
    _, saved_net = saved
    # gradient of return -cross_entropy(net(x, training = false), y)   attacks.lee:15
    d_net, d_x = net.forward_backward(x, saved_net, d_add_2)
    return d_net, d_x


def away_2_saved(net, x, y):
    """As away_2, and what its gradient needs."""
    add_3, saved_net = net.forward_saved(x)  # attacks.lee:15
    return -cross_entropy(add_3, y), (add_3, saved_net)


def away_2_backward_input(net, y, saved, d_neg):
    """From d_neg to the gradient by x."""
    add_3, saved_net = saved
    # gradient of return -cross_entropy(net(x, training = false), y)   attacks.lee:15
    d_add_3 = cross_entropy_backward(add_3, y, -d_neg)  # [n, net.sizes_3]
    d_x = net.forward_backward_input(saved_net, d_add_3)  # [n, net.sizes_0]
    return d_x  # [n, net.sizes_0]


def towards_saved(net, x, y, target):
    """As towards, and what its gradient needs."""
    z, saved_net = net.forward_saved(x)  # attacks.lee:20
    return cross_entropy(z, target) - cross_entropy(z, y), (z, saved_net)  # attacks.lee:21


def towards_backward(net, x, y, target, saved, d_sub):
    """From d_sub to the gradients by net and x."""
    z, saved_net = saved
    # gradient of return cross_entropy(z, target) - cross_entropy(z, y)   attacks.lee:21
    d_z_3 = cross_entropy_backward(z, target, d_sub)  # [n, net.sizes_2]
    # gradient of z = net(x, training = false)   attacks.lee:20
    d_z = cross_entropy_backward(z, y, -d_sub) + d_z_3  # [n, net.sizes_2]
    d_net, d_x = net.forward_backward(x, saved_net, d_z)
    return d_net, d_x


def towards_backward_input(net, y, target, saved, d_sub):
    """From d_sub to the gradient by x."""
    z, saved_net = saved
    # gradient of return cross_entropy(z, target) - cross_entropy(z, y)   attacks.lee:21
    d_z_3 = cross_entropy_backward(z, target, d_sub)  # [n, net.sizes_2]
    # gradient of z = net(x, training = false)   attacks.lee:20
    d_z = cross_entropy_backward(z, y, -d_sub) + d_z_3  # [n, net.sizes_2]
    d_x = net.forward_backward_input(saved_net, d_z)  # [n, net.sizes_0]
    return d_x  # [n, net.sizes_0]


def towardsAsPrinted_saved(net, x, before, y, target):
    """As towardsAsPrinted, and what its gradient needs."""
    add_2, saved_net = net.forward_saved(before)  # attacks.lee:26
    add_2_2, saved_net_ = net.forward_saved(x)
    return cross_entropy(add_2, target) - cross_entropy(add_2_2, y), (add_2, saved_net, add_2_2, saved_net_)


def towardsAsPrinted_backward(net, x, before, y, target, saved, d_sub):
    """From d_sub to the gradients by net, x and before."""
    add_2, saved_net, add_2_2, saved_net_ = saved
    # gradient of return cross_entropy(net(before, training = false), target) - cross_entropy(n..   attacks.lee:26
    d_add_2_2 = cross_entropy_backward(add_2_2, y, -d_sub)  # [n, net.sizes_2]
    d_net, d_x = net.forward_backward(x, saved_net_, d_add_2_2)
    d_add_2 = cross_entropy_backward(add_2, target, d_sub)  # [n, net.sizes_2]
    d_net_, d_before = net.forward_backward(before, saved_net, d_add_2)
    d_net_layers_0_w = d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_net["layers.0"]["b"] + d_net_["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_b = d_net["layers.1"]["b"] + d_net_["layers.1"]["b"]  # [net.sizes_2]
    return (
        {
            "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
            "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
        },
        d_x,
        d_before,
    )


def margin_saved(net, x, before, target, weight=2.0, confidence=0.1):
    """As margin, and what its gradient needs."""
    n = x.shape[0]
    z, saved_net = net.forward_saved(x)  # attacks.lee:31
    eq = np.arange(net.sizes[2]) == target[:, None]  # bool[n, net.sizes_2]  attacks.lee:32
    other = np.where(eq, -np.inf, z)  # [n, net.sizes_2]
    gap = other.max(axis=1, initial=-np.inf) - z[np.arange(n), inside(target)]  # [n]  attacks.lee:33
    sub = x - before  # [n, net.sizes_0]  attacks.lee:34
    add = (sub**2).sum(axis=1) + weight * np.maximum(gap, -confidence)  # [n]
    return add.mean(), (saved_net, eq, other, gap, sub)


def margin_backward(net, x, target, weight, confidence, saved, d_mean):
    """From d_mean to the gradients by net, x and before."""
    saved_net, eq, other, gap, sub = saved
    n = x.shape[0]
    # gradient of return mean(sum((x - before) ** 2, axis = 1) + weight * max(gap, -confidence))   attacks.lee:34
    div = d_mean / n
    mul = div * weight
    ge = gap >= -confidence  # bool[n]
    d_gap = masked(mul, ge)  # [n]
    d_sub = 2 * div * sub  # [n, net.sizes_0]
    d_before = -d_sub  # [n, net.sizes_0]
    # gradient of gap[i] = max[j](other[i, j]) - z[i, target[i]]   attacks.lee:33
    d_gather = masked(-mul, ge)  # [n]
    i = np.arange(n)  # int[n]
    iota = np.arange(net.sizes[2])[None, :]  # int[1, net.sizes_2]
    eq_2 = iota == other.argmax(axis=1)[:, None]  # bool[n, net.sizes_2]
    d_z_2 = scatter_add(d_gather, (i, target), (n, net.sizes[2]))  # [n, net.sizes_2]
    # gradient of z = net(x, training = false)   attacks.lee:31
    d_z = d_z_2 + masked(np.where(eq, 0, d_gap[:, None]), eq_2)  # [n, net.sizes_2]
    d_net, d_x_2 = net.forward_backward(x, saved_net, d_z)
    d_x = d_sub + d_x_2  # [n, net.sizes_0]
    return d_net, d_x, d_before


def margin_backward_input_saved(net, target, weight, confidence, saved, d_mean):
    """From d_mean to the gradients by x, mul, z and add_2."""
    saved_net, eq, other, gap, sub = saved
    n = target.shape[0]
    # gradient of return mean(sum((x - before) ** 2, axis = 1) + weight * max(gap, -confidence))   attacks.lee:34
    div = d_mean / n
    mul = div * weight
    ge = gap >= -confidence  # bool[n]
    d_gap = masked(mul, ge)  # [n]
    # gradient of gap[i] = max[j](other[i, j]) - z[i, target[i]]   attacks.lee:33
    d_gather = masked(-mul, ge)  # [n]
    i = np.arange(n)  # int[n]
    iota = np.arange(net.sizes[2])[None, :]  # int[1, net.sizes_2]
    eq_2 = iota == other.argmax(axis=1)[:, None]  # bool[n, net.sizes_2]
    d_z_2 = scatter_add(d_gather, (i, target), (n, net.sizes[2]))  # [n, net.sizes_2]
    # gradient of z = net(x, training = false)   attacks.lee:31
    d_z = d_z_2 + masked(np.where(eq, 0, d_gap[:, None]), eq_2)  # [n, net.sizes_2]
    d_x_2, saved_net_ = net.forward_backward_input_saved(saved_net, d_z)
    d_x = 2 * div * sub + d_x_2  # [n, net.sizes_0]
    return d_x, (np.broadcast_to(div, (n, net.sizes[0])), d_z, saved_net_)


def margin_backward_input_backward(net, saved, d_d_x):
    """From d_mul, d_z, d_add_2 and d_d_x to the gradients by net and sub."""
    d_mul, d_z, saved_net_ = saved
    # gradient of z = net(x, training = false)   attacks.lee:31
    d_net = net.forward_backward_input_backward_parameters(d_z, saved_net_, d_d_x)
    # gradient of return mean(sum((x - before) ** 2, axis = 1) + weight * max(gap, -confidence))   attacks.lee:34
    return d_net, 2 * (d_d_x * d_mul)


def margin_saved_backward_input(d_sub):
    """From d_sub to the gradients by x and before."""
    # gradient of return mean(sum((x - before) ** 2, axis = 1) + weight * max(gap, -confidence))   attacks.lee:34
    d_before = -d_sub  # [n, net.sizes_0]
    return d_sub, d_before


def distance(x, before):
    """‖x - x⁰‖₂

    x [n, d], before [n, d] -> [n]
    """
    return norm(x - before)  # [n]  attacks.lee:42


def distance_saved(x, before):
    """As distance, and what its gradient needs."""
    sub = x - before  # [n, d]  attacks.lee:42
    sqrt, saved_norm = norm_saved(sub)
    return sqrt, (sub, saved_norm)


def distance_backward(saved, sqrt, d_y):
    """From d_y to the gradients by x and before."""
    sub, saved_norm = saved
    # gradient of return norm(x - before, axis = 1)   attacks.lee:42
    d_x = norm_backward(sub, saved_norm, sqrt, d_y)  # [n, d]
    d_before = -d_x  # [n, d]
    return d_x, d_before


def distanceAsPrinted(x, before):
    """The notes leave out the root.

    x [n, d], before [n, d] -> [n]
    """
    sub = x - before  # [n, d]  attacks.lee:47
    return (sub**2).sum(axis=1)  # [n]


def distanceAsPrinted_saved(x, before):
    """As distanceAsPrinted, and what its gradient needs."""
    sub = x - before  # [n, d]  attacks.lee:47
    return (sub**2).sum(axis=1), sub


def distanceAsPrinted_backward(sub, d_y):
    """From d_y to the gradients by x and before."""
    # gradient of return sum((x - before) ** 2, axis = 1)   attacks.lee:47
    d_x = 2 * (d_y[:, None] * sub)  # [n, d]
    d_before = -d_x  # [n, d]
    return d_x, d_before


def largest(x, before):
    """‖x - x⁰‖∞, nearer to what eyes notice.

    x [n, d], before [n, d] -> [n]
    """
    return np.abs(x - before).max(axis=1, initial=-np.inf)  # [n]  attacks.lee:52


def largest_saved(x, before):
    """As largest, and what its gradient needs."""
    sub = x - before  # [n, d]  attacks.lee:52
    abs_ = np.abs(sub)  # [n, d]
    return abs_.max(axis=1, initial=-np.inf), (sub, abs_)


def largest_backward(saved, d_y):
    """From d_y to the gradients by x and before."""
    sub, abs_ = saved
    d = sub.shape[1]
    # gradient of return max(abs(x - before), axis = 1)   attacks.lee:52
    eq = np.arange(d)[None, :] == abs_.argmax(axis=1)[:, None]  # bool[n, d]
    mul = d_y[:, None] * np.sign(sub)  # [n, d]
    d_x = masked(mul, eq)  # [n, d]
    d_before = masked(-mul, eq)  # [n, d]
    return d_x, d_before


def into_box(x, before, reach):
    """The nearest point whose every entry is within reach.

    x [n, d], before [n, d] -> [n, d]
    """
    return clip(x, before - reach, before + reach)  # [n, d]  attacks.lee:57


def into_box_saved(x, before, reach):
    """As into_box, and what its gradient needs."""
    sub = before - reach  # [n, d]  attacks.lee:57
    add = before + reach  # [n, d]
    minimum, saved_clip = clip_saved(x, sub, add)
    return minimum, (sub, add, saved_clip)


def into_box_backward(x, saved, d_y):
    """From d_y to the gradients by x and before."""
    sub, add, saved_clip = saved
    # gradient of return clip(x, before - reach, before + reach)   attacks.lee:57
    d_x, d_sub, d_add = clip_backward(x, sub, add, saved_clip, d_y)
    d_before = d_add + d_sub  # [n, d]
    return d_x, d_before


def into_ball_saved(x, before, reach):
    """As into_ball, and what its gradient needs."""
    away = x - before  # [n, d]  attacks.lee:62
    sqrt, saved_norm = norm_saved(away)  # attacks.lee:63
    add = sqrt + 1e-12  # [n]
    div = reach / add  # [n]
    reshape = np.minimum(1, div)[:, None]  # [n, 1]
    return before + away * reshape, (away, sqrt, saved_norm, add, div, reshape)


def into_ball_backward(saved, d_add_2):
    """From d_add_2 to the gradients by x and before."""
    away, sqrt, saved_norm, add, div, reshape = saved
    # gradient of return before + away * min(1, reach / (norm(away, axis = 1) + 1e-12))[:, None]   attacks.lee:63
    neg = -((d_add_2 * away).sum(axis=1) * div / add)  # [n]
    d_away_3 = norm_backward(away, saved_norm, sqrt, np.where(1 <= div, 0, neg))  # [n, d]
    # gradient of away = x - before   attacks.lee:62
    d_away = d_add_2 * reshape + d_away_3  # [n, d]
    d_before = d_add_2 - d_away  # [n, d]
    return d_away, d_before


def fgsm(net, x, y, reach=0.1):
    """One step to the corner of the box: x + ε sign ∂e/∂x (Goodfellow et al. 2015).

    x [n, net.sizes_0], y int[n] -> [n, net.sizes_0]
    """
    _, saved_away = away_saved(net, x, y)  # attacks.lee:71
    sign = np.sign(away_backward_input(net, y, saved_away, FLOAT(1.0)))  # [n, net.sizes_0]
    return x - reach * sign  # [n, net.sizes_0]


def fgsm_backward_input(d_out):
    """From d_out to the gradient by x."""
    return d_out  # [n, net.sizes_0]


def pgd_saved(net, x, y, reach=0.1, rate=0.03, steps=5):
    """As pgd, and what its gradient needs."""
    x_ = x  # attacks.lee:77
    saved_pgd_step = [None] * steps
    for k in range(steps):
        x_, saved_pgd_step[k] = pgd_step_saved(net, x_, y, rate, x, reach)
    return x_, saved_pgd_step


def pgd_backward_input(saved_pgd_step, net_sizes_1, net_sizes_2, steps, d_x_4):
    """From d_x_4 to the gradient by x."""
    n, net_sizes_0 = d_x_4.shape
    # gradient of for k in steps:   attacks.lee:77
    d_x_outside_later = np.zeros((n, net_sizes_0), dtype=FLOAT)  # [n, net.sizes_0]
    for k in reversed(range(steps)):
        d_x_4, d_x_outside_later = pgd_step_backward_input(saved_pgd_step[k], d_x_4, d_x_outside_later)
    d_x = d_x_4 + d_x_outside_later  # [n, net.sizes_0]
    return d_x  # [n, net.sizes_0]


def pgd_2(net, x, y, reach=0.1, rate=0.03, steps=5):
    """Steps along the signs of the slope, each followed by a repair: back into the box (Madry et al. 2018).

    x [n, net.sizes_0], y int[n] -> [n, net.sizes_0]
    """
    x_ = x  # attacks.lee:77
    for k in range(steps):
        x_ = pgd_step_2(net, x_, y, rate, x, reach)
    return x_  # [n, net.sizes_0]


def pgd_step_saved(net, x, y, rate, x_outside, reach):
    """As pgd_step, and what its gradient needs."""
    _, saved_away = away_saved(net, x, y)  # attacks.lee:78
    sign = np.sign(away_backward_input(net, y, saved_away, FLOAT(1.0)))  # [n, net.sizes_0]
    sub = x - rate * sign  # [n, net.sizes_0]
    x_3, saved_into_box = into_box_saved(sub, x_outside, reach)
    return x_3, (sub, saved_into_box)


def pgd_step_backward_input(saved, d_x_3, d_x_outside):
    """From d_x_3 and d_x_outside to the gradients by x and x_outside."""
    sub, saved_into_box = saved
    # gradient of x = into_box(x - rate * sign(grad(away(net, x, y), x)), before, reach)   attacks.lee:78
    d_x, d_x_outside_ = into_box_backward(sub, saved_into_box, d_x_3)
    return d_x, d_x_outside + d_x_outside_


def pgd_step_2(net, x, y, rate, x_outside, reach):
    """x [n, net.sizes_0], y int[n], x_outside [n, net.sizes_0] -> [n, net.sizes_0]"""
    _, saved_away_2 = away_2_saved(net, x, y)  # attacks.lee:78
    d_x_2 = away_2_backward_input(net, y, saved_away_2, FLOAT(1.0))  # [n, net.sizes_0]
    x_3 = into_box(x - rate * np.sign(d_x_2), x_outside, reach)  # [n, net.sizes_0]
    return x_3  # [n, net.sizes_0]


def pgd_in_ball_saved(net, x, y, reach=0.3, rate=0.1, steps=4):
    """As pgd_in_ball, and what its gradient needs."""
    x_ = x  # attacks.lee:85
    saved_pgd_in_ball_step = [None] * steps
    for k in range(steps):
        x_, saved_pgd_in_ball_step[k] = pgd_in_ball_step_saved(net, x_, y, rate, x, reach)
    return x_, saved_pgd_in_ball_step


def pgd_in_ball_backward(net, rate, saved_pgd_in_ball_step, steps, d_x_4):
    """From d_add_2_rows, d_add_rows and d_x_4 to the gradients by net and x."""
    n = d_x_4.shape[0]
    # gradient of for k in steps:   attacks.lee:85
    d_x_outside_later = np.zeros((n, net.sizes[0]), dtype=FLOAT)  # [n, net.sizes_0]
    d_net = {
        "layers.0": {"w": np.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT)},
        "layers.1": {"w": np.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT)},
    }
    d_net_layers_0_b_rows = np.empty((steps, net.sizes[1]), dtype=FLOAT)  # [steps, net.sizes_1]
    d_net_layers_1_b_rows = np.empty((steps, net.sizes[2]), dtype=FLOAT)  # [steps, net.sizes_2]
    for k in reversed(range(steps)):
        d_x_4, d_net, d_x_outside_later, d_net_layers_0_b_rows[k], d_net_layers_1_b_rows[k] = pgd_in_ball_step_backward(
            net, saved_pgd_in_ball_step[k], rate, d_x_4, d_net, d_x_outside_later
        )
    d_net_layers_0_b = d_net_layers_0_b_rows.sum(axis=0)  # [net.sizes_1]
    d_net_layers_1_b = d_net_layers_1_b_rows.sum(axis=0)  # [net.sizes_2]
    d_x = d_x_4 + d_x_outside_later  # [n, net.sizes_0]
    return {
        "layers.0": {"w": d_net["layers.0"]["w"], "b": d_net_layers_0_b},
        "layers.1": {"w": d_net["layers.1"]["w"], "b": d_net_layers_1_b},
    }, d_x


def pgd_in_ball_step_saved(net, x, y, rate, x_outside, reach):
    """As pgd_in_ball_step, and what its gradient needs."""
    _, saved_away = away_saved(net, x, y)  # attacks.lee:86
    slope, saved_away_backward_input = away_backward_input_saved(net, y, saved_away, FLOAT(1.0))
    sqrt, saved_norm = norm_saved(slope)  # attacks.lee:87
    div = rate * slope / sqrt[:, None]  # [n, net.sizes_0]
    x_3, saved_into_ball = into_ball_saved(x - div, x_outside, reach)
    saved = saved_away, slope, saved_away_backward_input, sqrt, saved_norm, div, saved_into_ball, x
    return x_3, saved


def pgd_in_ball_step_backward(net, saved, rate, d_x_3, d_net, d_x_outside):
    """From d_add_2, d_add, d_x_3, d_net and d_x_outside to the gradients by x, net, x_outside, net.layers.0.b and net.layers.1.b."""
    saved_away, slope, saved_away_backward_input, sqrt, saved_norm, div, saved_into_ball, x = saved
    n = slope.shape[0]
    # gradient of x = into_ball(x - rate * slope / norm(slope, axis = 1)[:, None], before, reach)   attacks.lee:87
    reshape = sqrt[:, None]  # [n, 1]
    d_sub, d_x_outside_ = into_ball_backward(saved_into_ball, d_x_3)
    d_reshape = -(-d_sub * div / reshape).sum(axis=1, keepdims=True)  # [n, 1]
    d_slope_2 = norm_backward(slope, saved_norm, sqrt, d_reshape.reshape(n))  # [n, net.sizes_0]
    # gradient of slope = grad(away(net, x, y), x)   attacks.lee:86
    d_slope = d_slope_2 + -d_sub / reshape * rate  # [n, net.sizes_0]
    d_net_, d_add_2_2 = away_backward_input_backward(net, saved_away_backward_input, d_slope)
    d_net_2, d_x_2 = away_saved_backward(net, x, saved_away, d_add_2_2)
    d_net_layers_0_w = d_net_["layers.0"]["w"] + d_net_2["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_1_w = d_net_["layers.1"]["w"] + d_net_2["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_x = d_sub + d_x_2  # [n, net.sizes_0]
    # gradient of x = into_ball(x - rate * slope / norm(slope, axis = 1)[:, None], before, reach)   attacks.lee:87
    return (
        d_x,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_layers_0_w},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_layers_1_w},
        },
        d_x_outside + d_x_outside_,
        d_net_2["layers.0"]["b"],
        d_net_2["layers.1"]["b"],
    )


def pgd_towards_saved(net, x, y, target, reach=0.3, rate=0.1, steps=4):
    """As pgd_towards, and what its gradient needs."""
    x_ = x  # attacks.lee:94
    saved_pgd_towards_step = [None] * steps
    for k in range(steps):
        x_, saved_pgd_towards_step[k] = pgd_towards_step_saved(net, x_, y, target, rate, x, reach)
    return x_, saved_pgd_towards_step


def pgd_towards_backward_input(saved_pgd_towards_step, net_sizes_1, net_sizes_2, steps, d_x_4):
    """From d_x_4 to the gradient by x."""
    n, net_sizes_0 = d_x_4.shape
    # gradient of for k in steps:   attacks.lee:94
    d_x_outside_later = np.zeros((n, net_sizes_0), dtype=FLOAT)  # [n, net.sizes_0]
    for k in reversed(range(steps)):
        d_x_4, d_x_outside_later = pgd_towards_step_backward_input(saved_pgd_towards_step[k], d_x_4, d_x_outside_later)
    d_x = d_x_4 + d_x_outside_later  # [n, net.sizes_0]
    return d_x  # [n, net.sizes_0]


def pgd_towards_step_saved(net, x, y, target, rate, x_outside, reach):
    """As pgd_towards_step, and what its gradient needs."""
    _, saved_towards = towards_saved(net, x, y, target)  # attacks.lee:95
    d_x_2 = towards_backward_input(net, y, target, saved_towards, FLOAT(1.0))  # [n, net.sizes_0]
    sub_2 = x - rate * np.sign(d_x_2)  # [n, net.sizes_0]
    x_3, saved_into_box = into_box_saved(sub_2, x_outside, reach)
    return x_3, (sub_2, saved_into_box)


def pgd_towards_step_backward_input(saved, d_x_3, d_x_outside):
    """From d_x_3 and d_x_outside to the gradients by x and x_outside."""
    sub_2, saved_into_box = saved
    # gradient of x = into_box(x - rate * sign(grad(towards(net, x, y, target), x)), before, re..   attacks.lee:95
    d_x, d_x_outside_ = into_box_backward(sub_2, saved_into_box, d_x_3)
    return d_x, d_x_outside + d_x_outside_


def carlini_wagner_saved(net, x, target, rate=0.1, steps=4):
    """As carlini_wagner, and what its gradient needs."""
    sub = 1 - x  # [n, net.sizes_0]  attacks.lee:102
    div = x / sub  # [n, net.sizes_0]
    w = np.log(div)  # [n, net.sizes_0]
    saved_carlini_wagner_step = [None] * steps  # attacks.lee:103
    for k in range(steps):
        w, saved_carlini_wagner_step[k] = carlini_wagner_step_saved(net, w, x, target, rate)
    return np.exp(np.minimum(w, 0)) / (1 + np.exp(-np.abs(w))), (sub, div, saved_carlini_wagner_step)  # prelude.lee:36


def carlini_wagner_backward(net, rate, saved, div_3, steps, d_div_3):
    """From d_sigmoid_w_rows, d_mul_rows, d_z_rows, d_add_2_rows and d_div_3 to the gradients by net and x."""
    sub, div, saved_carlini_wagner_step = saved
    n = sub.shape[0]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_w_4 = d_div_3 * (div_3 * (1 - div_3))  # [n, net.sizes_0]
    # gradient of for k in steps:   attacks.lee:103
    d_x_later = np.zeros((n, net.sizes[0]), dtype=FLOAT)  # [n, net.sizes_0]
    d_net = {
        "layers.0": {"w": np.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT)},
        "layers.1": {"w": np.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT)},
    }
    for k in reversed(range(steps)):
        d_w_4, d_net, d_x_later = carlini_wagner_step_backward(
            net, rate, saved_carlini_wagner_step[k], d_w_4, d_net, d_x_later
        )
    # gradient of w = log(x / (1 - x))   attacks.lee:102
    d_div = d_w_4 / div  # [n, net.sizes_0]
    d_x = d_x_later + d_div / sub + d_div * div / sub  # [n, net.sizes_0]
    return d_net, d_x


def carlini_wagner_step_saved(net, w, x, target, rate):
    """As carlini_wagner_step, and what its gradient needs."""
    sigmoid_w = np.exp(np.minimum(w, 0)) / (1 + np.exp(-np.abs(w)))  # [n, net.sizes_0]  prelude.lee:36
    _, saved_margin = margin_saved(net, sigmoid_w, x, target)  # attacks.lee:104
    d_sigmoid_w, saved_margin_backward_input = margin_backward_input_saved(
        net, target, 2.0, 0.1, saved_margin, FLOAT(1.0)
    )
    sub_2 = 1 - sigmoid_w  # [n, net.sizes_0]  prelude.lee:36
    mul_2 = sigmoid_w * sub_2  # [n, net.sizes_0]
    w_3 = w - rate * (d_sigmoid_w * mul_2)  # [n, net.sizes_0]  attacks.lee:104
    saved = sigmoid_w, d_sigmoid_w, saved_margin_backward_input, sub_2, mul_2
    return w_3, saved


def carlini_wagner_step_backward(net, rate, saved, d_w_3, d_net, d_x):
    """From d_sigmoid_w, d_mul, d_z, d_add_2, d_w_3, d_net and d_x to the gradients by w, net and x."""
    sigmoid_w, d_sigmoid_w, saved_margin_backward_input, sub_2, mul_2 = saved
    # gradient of w = w - rate * grad(margin(net, sigmoid(w), before, target), w)   attacks.lee:104
    d_d_w_2 = -(rate * d_w_3)  # [n, net.sizes_0]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_mul_2_2 = d_d_w_2 * d_sigmoid_w  # [n, net.sizes_0]
    d_d_sigmoid_w = d_d_w_2 * mul_2  # [n, net.sizes_0]
    # gradient of w = w - rate * grad(margin(net, sigmoid(w), before, target), w)   attacks.lee:104
    d_net_, d_sub = margin_backward_input_backward(net, saved_margin_backward_input, d_d_sigmoid_w)
    d_sigmoid_w_5, d_x_ = margin_saved_backward_input(d_sub)
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_sigmoid_w_2 = d_mul_2_2 * sub_2 - d_mul_2_2 * sigmoid_w + d_sigmoid_w_5  # [n, net.sizes_0]
    d_w = d_w_3 + d_sigmoid_w_2 * (sigmoid_w * (1 - sigmoid_w))  # [n, net.sizes_0]
    # gradient of w = w - rate * grad(margin(net, sigmoid(w), before, target), w)   attacks.lee:104
    return (
        d_w,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]},
        },
        d_x + d_x_,
    )


def by_proxy(epochs=8, batch=32, rate=3e-3, reach=0.2, *, run=None):
    """Nobody tells the victim's parameters: another net, trained on the same data, is attacked in its place."""
    from leec.runtime.run import Run

    run = run or Run("by_proxy")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    victim = MLP(sizes=(64, 32, 10), key=run.key("victim"))  # attacks.lee:114
    proxy = MLP_2(sizes=(64, 24, 24, 10), key=run.key("proxy"))  # attacks.lee:115
    opt_victim = Adam(lr=rate)  # attacks.lee:116
    opt_proxy = Adam(lr=rate)  # attacks.lee:117
    for epoch in run.loop("epoch", 1, epochs, opt_proxy=opt_proxy, opt_victim=opt_victim, proxy=proxy, victim=victim):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            loss, loss_1 = by_proxy_step(victim, proxy, opt_victim, opt_proxy, x, y)  # attacks.lee:120
            run.step(loss)
            run.step(loss_1, "loss_1")
    x, y, found = by_proxy_x_y_found(data.test.x, data.test.y, proxy, reach)  # attacks.lee:122
    reported_clean, reported_transferred = by_proxy_clean_transferred(victim, x, y, found)  # attacks.lee:124
    run.report(clean=reported_clean, transferred=reported_transferred)  # attacks.lee:124
    return victim, proxy


def by_proxy_step(victim, proxy, opt_victim, opt_proxy, x, y):
    """One step of by_proxy."""
    add_2, saved_victim = victim.forward_saved(x)  # attacks.lee:120
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_victim = victim.forward_backward_parameters(x, saved_victim, d_add_2)
    opt_victim.update(victim.parameters, victim.flat(d_victim))
    add_3, saved_proxy = proxy.forward_saved(x)  # attacks.lee:121
    d_add_3 = cross_entropy_backward(add_3, y, FLOAT(1.0))  # [batches_n, 10]
    d_proxy = proxy.forward_backward_parameters(x, saved_proxy, d_add_3)
    opt_proxy.update(proxy.parameters, proxy.flat(d_proxy))
    return cross_entropy(add_2, y), cross_entropy(add_3, y)


def by_proxy_x_y_found(data_test_x, data_test_y, proxy, reach):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n],
    [data_test_n, 64]
    """
    found = pgd_2(proxy, data_test_x, data_test_y, reach=reach, rate=reach / 4)  # [data_test_n, 64]  attacks.lee:123
    return data_test_x, data_test_y, found


def by_proxy_clean_transferred(victim, x, y, found):
    """x [data_test_n, 64], y int[data_test_n], found [data_test_n, 64] -> [], []"""
    return accuracy(victim(x), y), accuracy(victim(found), y)  # attacks.lee:124


class Crowd(Model):
    """Crowd(features, hidden, classes)"""

    members = ("nets",)

    def __init__(self, features, hidden, classes, *, key=(0, 0)):
        self.features, self.hidden, self.classes = features, hidden, classes
        # attacks.lee:129
        self.nets = [
            MLP((features, hidden, classes), key=fold(key, SITES["nets.0"])),
            MLP((features, hidden, classes), key=fold(key, SITES["nets.1"])),
            MLP((features, hidden, classes), key=fold(key, SITES["nets.2"])),
        ]
        self.lay_out()


class Crowd_2(Model):
    """Crowd_2(features, hidden, classes)"""

    members = ("nets",)

    def __init__(self, features, hidden, classes, *, key=(0, 0)):
        self.features, self.hidden, self.classes = features, hidden, classes
        # attacks.lee:129
        self.nets = [
            MLP((features, hidden, classes), key=fold(key, SITES["nets.0"])),
            MLP((features, hidden, classes), key=fold(key, SITES["nets.1"])),
            MLP((features, hidden, classes), key=fold(key, SITES["nets.2"])),
            MLP((features, hidden, classes), key=fold(key, SITES["nets.3"])),
            MLP((features, hidden, classes), key=fold(key, SITES["nets.4"])),
        ]
        self.lay_out()


def away_from_others_saved(crowd, x, y, left_out):
    """As away_from_others, and what its gradient needs."""
    neg, saved_away = away_saved(crowd.nets[0], x, y)  # attacks.lee:136
    total = np.where(0 == left_out, 0, neg)
    neg_2, saved_away_ = away_saved(crowd.nets[1], x, y)
    total_2 = total + np.where(1 == left_out, 0, neg_2)
    neg_3, saved_away_2 = away_saved(crowd.nets[2], x, y)
    total_3 = total_2 + np.where(2 == left_out, 0, neg_3)
    return total_3 / 2, (saved_away, saved_away_, saved_away_2)  # attacks.lee:137


def away_from_others_backward_input(crowd, y, saved, left_out, d_div):
    """From d_div to the gradient by x."""
    saved_away, saved_away_, saved_away_2 = saved
    # gradient of return total / (crowd.count - 1)   attacks.lee:137
    d_total_3 = d_div / 2
    # gradient of total = total + where(k == left_out, 0, away(crowd.nets[k], x, y))   attacks.lee:136
    d_neg_3 = np.where(2 == left_out, 0, d_total_3)
    d_guard_3 = away_backward_input(crowd.nets[2], y, saved_away_2, d_neg_3)  # [n, crowd.features]
    d_neg_2 = np.where(1 == left_out, 0, d_total_3)
    d_guard_2 = away_backward_input(crowd.nets[1], y, saved_away_, d_neg_2)  # [n, crowd.features]
    d_neg = np.where(0 == left_out, 0, d_total_3)
    d_guard = away_backward_input(crowd.nets[0], y, saved_away, d_neg)  # [n, crowd.features]
    d_x_2 = np.where(2 == left_out, 0, d_guard_3)  # [n, crowd.features]
    d_x_5 = d_x_2 + np.where(1 == left_out, 0, d_guard_2)  # [n, crowd.features]
    d_x = d_x_5 + np.where(0 == left_out, 0, d_guard)  # [n, crowd.features]
    return d_x  # [n, crowd.features]


def away_from_others_backward(crowd, x, y, saved, left_out, d_div):
    """From d_div to the gradients by crowd and x."""
    saved_away, saved_away_, saved_away_2 = saved
    # gradient of return total / (crowd.count - 1)   attacks.lee:137
    d_total_3 = d_div / 2
    # gradient of total = total + where(k == left_out, 0, away(crowd.nets[k], x, y))   attacks.lee:136
    d_neg_3 = np.where(2 == left_out, 0, d_total_3)
    d_crowd_nets_2_, d_guard_3 = away_backward(crowd.nets[2], x, y, saved_away_2, d_neg_3)
    d_neg_2 = np.where(1 == left_out, 0, d_total_3)
    d_crowd_nets_1_, d_guard_2 = away_backward(crowd.nets[1], x, y, saved_away_, d_neg_2)
    d_neg = np.where(0 == left_out, 0, d_total_3)
    d_crowd_nets_0_, d_guard = away_backward(crowd.nets[0], x, y, saved_away, d_neg)
    d_x_2 = np.where(2 == left_out, 0, d_guard_3)  # [n, crowd.features]
    d_x_5 = d_x_2 + np.where(1 == left_out, 0, d_guard_2)  # [n, crowd.features]
    d_x = d_x_5 + np.where(0 == left_out, 0, d_guard)  # [n, crowd.features]
    return {"nets.0": d_crowd_nets_0_, "nets.1": d_crowd_nets_1_, "nets.2": d_crowd_nets_2_}, d_x


def away_from_others_2_saved(crowd, x, y, left_out):
    """As away_from_others_2, and what its gradient needs."""
    neg, saved_away = away_saved(crowd.nets[0], x, y)  # attacks.lee:136
    total = np.where(0 == left_out, 0, neg)
    neg_2, saved_away_ = away_saved(crowd.nets[1], x, y)
    total_2 = total + np.where(1 == left_out, 0, neg_2)
    neg_3, saved_away_2 = away_saved(crowd.nets[2], x, y)
    total_3 = total_2 + np.where(2 == left_out, 0, neg_3)
    neg_4, saved_away_3 = away_saved(crowd.nets[3], x, y)
    total_4 = total_3 + np.where(3 == left_out, 0, neg_4)
    neg_5, saved_away_4 = away_saved(crowd.nets[4], x, y)
    total_5 = total_4 + np.where(4 == left_out, 0, neg_5)
    saved = saved_away, saved_away_, saved_away_2, saved_away_3, saved_away_4
    return total_5 / 4, saved  # attacks.lee:137


def away_from_others_2_backward_input(crowd, y, saved, left_out, d_div):
    """From d_div to the gradient by x."""
    saved_away, saved_away_, saved_away_2, saved_away_3, saved_away_4 = saved
    # gradient of return total / (crowd.count - 1)   attacks.lee:137
    d_total_5 = d_div / 4
    # gradient of total = total + where(k == left_out, 0, away(crowd.nets[k], x, y))   attacks.lee:136
    d_neg_5 = np.where(4 == left_out, 0, d_total_5)
    d_guard_5 = away_backward_input(crowd.nets[4], y, saved_away_4, d_neg_5)  # [n, crowd.features]
    d_neg_4 = np.where(3 == left_out, 0, d_total_5)
    d_guard_4 = away_backward_input(crowd.nets[3], y, saved_away_3, d_neg_4)  # [n, crowd.features]
    d_neg_3 = np.where(2 == left_out, 0, d_total_5)
    d_guard_3 = away_backward_input(crowd.nets[2], y, saved_away_2, d_neg_3)  # [n, crowd.features]
    d_neg_2 = np.where(1 == left_out, 0, d_total_5)
    d_guard_2 = away_backward_input(crowd.nets[1], y, saved_away_, d_neg_2)  # [n, crowd.features]
    d_neg = np.where(0 == left_out, 0, d_total_5)
    d_guard = away_backward_input(crowd.nets[0], y, saved_away, d_neg)  # [n, crowd.features]
    d_x_2 = np.where(4 == left_out, 0, d_guard_5)  # [n, crowd.features]
    d_x_7 = d_x_2 + np.where(3 == left_out, 0, d_guard_4)  # [n, crowd.features]
    d_x_8 = d_x_7 + np.where(2 == left_out, 0, d_guard_3)  # [n, crowd.features]
    d_x_9 = d_x_8 + np.where(1 == left_out, 0, d_guard_2)  # [n, crowd.features]
    d_x = d_x_9 + np.where(0 == left_out, 0, d_guard)  # [n, crowd.features]
    return d_x  # [n, crowd.features]


def ensemble_attack(crowd, x, y, left_out, reach=0.1):
    """x [n, crowd.features], y int[n] -> [n, crowd.features]"""
    _, saved_away_from_others = away_from_others_saved(crowd, x, y, left_out)  # attacks.lee:141
    d_div = FLOAT(1.0)
    d_x = away_from_others_backward_input(crowd, y, saved_away_from_others, left_out, d_div)  # [n, crowd.features]
    return x - reach * np.sign(d_x)  # [n, crowd.features]


def ensemble_attack_backward_input(d_out):
    """From d_out to the gradient by x."""
    return d_out  # [n, crowd.features]


def ensemble_attack_2(crowd, x, y, left_out, reach=0.1):
    """x [n, crowd.features], y int[n] -> [n, crowd.features]"""
    _, saved_away_from_others_2 = away_from_others_2_saved(crowd, x, y, left_out)  # attacks.lee:141
    d_div = FLOAT(1.0)
    d_x = away_from_others_2_backward_input(crowd, y, saved_away_from_others_2, left_out, d_div)  # [n, crowd.features]
    return x - reach * np.sign(d_x)  # [n, crowd.features]


def by_ensemble(epochs=4, batch=32, rate=5e-3, reach=0.2, *, run=None):
    """The last row of the table of the lecture: all but one attacked, the one left out tested.

    Made for count = 5: with other values it is another program.
    """
    from leec.runtime.run import Run

    run = run or Run("by_ensemble")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    crowd = Crowd_2(features=64, hidden=24, classes=10, key=run.key("crowd"))  # attacks.lee:147
    opt = Adam(lr=rate)  # attacks.lee:148
    for epoch in run.loop("epoch", 1, epochs, crowd=crowd, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(by_ensemble_step(crowd, opt, x, y))  # attacks.lee:151
    x, y, found = by_ensemble_x_y_found(data.test.x, data.test.y, crowd, reach)  # attacks.lee:152
    reported_clean, reported_attacked = by_ensemble_clean_attacked(crowd, x, y, found)  # attacks.lee:154
    run.report(clean=reported_clean, attacked=reported_attacked)  # attacks.lee:154
    return crowd


def by_ensemble_step(crowd, opt, x, y):
    """One step of by_ensemble."""
    loss, saved_of_all = of_all_saved(crowd, x, y)  # attacks.lee:151
    d_crowd = of_all_backward_parameters(crowd, x, y, saved_of_all, FLOAT(1.0))
    opt.update(crowd.parameters, crowd.flat(d_crowd))
    return loss


def by_ensemble_x_y_found(data_test_x, data_test_y, crowd, reach):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n],
    [data_test_n, 64]
    """
    found = ensemble_attack_2(crowd, data_test_x, data_test_y, 0, reach=reach)  # [data_test_n, 64]  attacks.lee:153
    return data_test_x, data_test_y, found


def by_ensemble_clean_attacked(crowd, x, y, found):
    """x [data_test_n, 64], y int[data_test_n], found [data_test_n, 64] -> [], []"""
    return accuracy(crowd.nets[0](x), y), accuracy(crowd.nets[0](found), y)  # attacks.lee:154


def of_all_saved(crowd, x, y):
    """As of_all, and what its gradient needs."""
    add_2, saved_crowd_nets_0_ = crowd.nets[0].forward_saved(x)  # attacks.lee:161
    total = cross_entropy(add_2, y)
    add_2_2, saved_crowd_nets_1_ = crowd.nets[1].forward_saved(x)
    total_2 = total + cross_entropy(add_2_2, y)
    add_2_3, saved_crowd_nets_2_ = crowd.nets[2].forward_saved(x)
    total_3 = total_2 + cross_entropy(add_2_3, y)
    add_2_4, saved_crowd_nets_3_ = crowd.nets[3].forward_saved(x)
    total_4 = total_3 + cross_entropy(add_2_4, y)
    add_2_5, saved_crowd_nets_4_ = crowd.nets[4].forward_saved(x)
    total_5 = total_4 + cross_entropy(add_2_5, y)
    saved = (
        add_2,
        saved_crowd_nets_0_,
        add_2_2,
        saved_crowd_nets_1_,
        add_2_3,
        saved_crowd_nets_2_,
        add_2_4,
        saved_crowd_nets_3_,
        add_2_5,
        saved_crowd_nets_4_,
    )
    return total_5, saved


def of_all_backward_parameters(crowd, x, y, saved, d_total_5):
    """From d_total_5 to the gradient by crowd."""
    add_2, saved_crowd_nets_0_, add_2_2, saved_crowd_nets_1_, add_2_3, saved_crowd_nets_2_, add_2_4, saved_crowd_nets_3_, add_2_5, saved_crowd_nets_4_ = saved
    # gradient of total = total + cross_entropy(crowd.nets[k](x), y)   attacks.lee:161
    d_add_2_5 = cross_entropy_backward(add_2_5, y, d_total_5)  # [n, crowd.classes]
    d_crowd_nets_4_ = crowd.nets[4].forward_backward_parameters(x, saved_crowd_nets_4_, d_add_2_5)
    d_add_2_4 = cross_entropy_backward(add_2_4, y, d_total_5)  # [n, crowd.classes]
    d_crowd_nets_3_ = crowd.nets[3].forward_backward_parameters(x, saved_crowd_nets_3_, d_add_2_4)
    d_add_2_3 = cross_entropy_backward(add_2_3, y, d_total_5)  # [n, crowd.classes]
    d_crowd_nets_2_ = crowd.nets[2].forward_backward_parameters(x, saved_crowd_nets_2_, d_add_2_3)
    d_add_2_2 = cross_entropy_backward(add_2_2, y, d_total_5)  # [n, crowd.classes]
    d_crowd_nets_1_ = crowd.nets[1].forward_backward_parameters(x, saved_crowd_nets_1_, d_add_2_2)
    d_add_2 = cross_entropy_backward(add_2, y, d_total_5)  # [n, crowd.classes]
    d_crowd_nets_0_ = crowd.nets[0].forward_backward_parameters(x, saved_crowd_nets_0_, d_add_2)
    return {
        "nets.0": d_crowd_nets_0_,
        "nets.1": d_crowd_nets_1_,
        "nets.2": d_crowd_nets_2_,
        "nets.3": d_crowd_nets_3_,
        "nets.4": d_crowd_nets_4_,
    }


def painted(image, pixel):
    """Copies of an image, in each of which one pixel, at a share of all places, has another value.

    image [d], pixel [p, 2] -> [p, d]
    """
    d = image.shape[0]
    reshape = np.floor(pixel[:, 0] * d).astype(np.int64)[:, None]  # int[p, 1]  attacks.lee:170
    reshape_2 = pixel.transpose((1, 0))[1][:, None]  # [p, 1]
    made = np.where(reshape == np.arange(d), reshape_2, image)  # [p, d]
    return made  # [p, d]


def painted_saved(image, pixel):
    """As painted, and what its gradient needs."""
    d = image.shape[0]
    eq = np.floor(pixel[:, 0] * d).astype(np.int64)[:, None] == np.arange(d)  # bool[p, d]  attacks.lee:170
    made = np.where(eq, pixel.transpose((1, 0))[1][:, None], image)  # [p, d]
    return made, eq


def painted_backward(eq, d_made):
    """From d_made to the gradients by image and pixel."""
    p = eq.shape[0]
    # gradient of made[c, i] = where(int(floor(pixel[c, 0] * d)) == i, pixel[c, 1], image[i])   attacks.lee:170
    d_image = np.where(eq, 0, d_made).sum(axis=0)  # [d]
    d_pixel = scatter_add(masked(d_made, eq).sum(axis=1), (1,), (p, 2), (1,))  # [p, 2]
    return d_image, d_pixel


def share_of_saved(net, image, label, pixel):
    """As share_of, and what its gradient needs."""
    made, saved_painted = painted_saved(image, pixel)  # attacks.lee:176
    add_2, saved_net = net.forward_saved(made)
    softmax_ = softmax(add_2, (1,))  # [p, net.sizes_2]  prelude.lee:122
    return softmax_.transpose((1, 0))[inside(label)], (made, saved_painted, saved_net, softmax_)  # attacks.lee:176


def share_of_backward(net, label, saved, d_transpose):
    """From d_transpose to the gradients by net, image and pixel."""
    made, saved_painted, saved_net, softmax_ = saved
    p = made.shape[0]
    # gradient of return softmax(net(painted(image, pixel), training = false), axis = 1)[:, label]   attacks.lee:176
    d_softmax = scatter_add(d_transpose, (label,), (p, net.sizes[2]), (1,))  # [p, net.sizes_2]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sum_ = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [p, 1]
    # gradient of return softmax(net(painted(image, pixel), training = false), axis = 1)[:, label]   attacks.lee:176
    d_net, d_made = net.forward_backward(made, saved_net, softmax_ * (d_softmax - sum_))
    d_image, d_pixel = painted_backward(saved_painted, d_made)
    return d_net, d_image, d_pixel


def evolved_saved(net, image, label, start, picks, force=0.5):
    """As evolved, and what its gradient needs."""
    rounds = picks.shape[0]
    score, saved_share_of = share_of_saved(net, image, label, start)  # attacks.lee:182
    pixel = start  # attacks.lee:183
    saved_evolved_step = [None] * rounds
    for t in range(rounds):
        pixel, score, saved_evolved_step[t] = evolved_step_saved(net, pixel, score, picks[t], force, image, label)
    return pixel, score, (saved_share_of, saved_evolved_step)


def evolved_backward(net, label, picks, force, saved, d_pixel_3, d_score_4):
    """From d_pixel_3 and d_score_4 to the gradients by net, image and start."""
    saved_share_of, saved_evolved_step = saved
    rounds = picks.shape[0]
    # gradient of for t in rounds:   attacks.lee:183
    d_net = {
        "layers.0": {"w": np.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT)},
        "layers.1": {"w": np.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT)},
    }
    d_net_layers_0_b_rows = np.empty((rounds, net.sizes[1]), dtype=FLOAT)  # [rounds, net.sizes_1]
    d_net_layers_1_b_rows = np.empty((rounds, net.sizes[2]), dtype=FLOAT)  # [rounds, net.sizes_2]
    d_image_rows = np.empty((rounds, net.sizes[0]), dtype=FLOAT)  # [rounds, net.sizes_0]
    for t in reversed(range(rounds)):
        d_pixel_3, d_score_4, d_net, d_net_layers_0_b_rows[t], d_net_layers_1_b_rows[t], d_image_rows[t] = (
            evolved_step_backward(net, saved_evolved_step[t], picks[t], force, label, d_pixel_3, d_score_4, d_net)
        )
    # gradient of score = share_of(net, image, label, pixel)   attacks.lee:182
    d_net_, d_image_3, d_start_3 = share_of_backward(net, label, saved_share_of, d_score_4)
    d_net_layers_0_w = d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_net_layers_0_b_rows.sum(axis=0) + d_net_["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_b = d_net_layers_1_b_rows.sum(axis=0) + d_net_["layers.1"]["b"]  # [net.sizes_2]
    d_image = d_image_rows.sum(axis=0) + d_image_3  # [net.sizes_0]
    d_start = d_pixel_3 + d_start_3  # [p, 2]
    return (
        {
            "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
            "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
        },
        d_image,
        d_start,
    )


def evolved_step_saved(net, pixel, score, picks_t, force, image, label):
    """As evolved_step, and what its gradient needs."""
    sub = pixel[inside(picks_t[:, 1])] - pixel[inside(picks_t[:, 2])]  # [p, 2]  attacks.lee:184
    child = pixel[inside(picks_t[:, 0])] + force * sub  # [p, 2]
    child_2, saved_clip_2 = clip_2_saved(child, 0, 0.999)  # attacks.lee:185
    found, saved_share_of = share_of_saved(net, image, label, child_2)  # attacks.lee:186
    reshape_4 = (found < score)[:, None]  # bool[p, 1]  attacks.lee:187
    pixel_2 = np.where(reshape_4, child_2, pixel)  # [p, 2]
    score_3 = np.minimum(found, score)  # [p]  attacks.lee:188
    return pixel_2, score_3, (child, saved_clip_2, found, saved_share_of, reshape_4, score)


def evolved_step_backward(net, saved, picks_t, force, label, d_pixel_2, d_score_3, d_net):
    """From d_pixel_2, d_score_3 and d_net to the gradients by pixel, score, net, net.layers.0.b, net.layers.1.b and image."""
    child, saved_clip_2, found, saved_share_of, reshape_4, score = saved
    p = child.shape[0]
    # gradient of score = min(found, score)   attacks.lee:188
    le = found <= score  # bool[p]
    d_found = masked(d_score_3, le)  # [p]
    d_score = np.where(le, 0, d_score_3)  # [p]
    # gradient of found = share_of(net, image, label, child)   attacks.lee:186
    d_net_, d_image, d_child_2_3 = share_of_backward(net, label, saved_share_of, d_found)
    # gradient of child = clip(child, 0, 0.999)   attacks.lee:185
    d_child_2 = masked(d_pixel_2, reshape_4) + d_child_2_3  # [p, 2]
    d_child = clip_2_backward(child, 0.999, saved_clip_2, 0, d_child_2)  # [p, 2]
    # gradient of child = pixel[picks[t, :, 0]] + force * (pixel[picks[t, :, 1]] - pixel[picks[..   attacks.lee:184
    d_sub = d_child * force  # [p, 2]
    d_pixel_4 = scatter_add(-d_sub, (picks_t[:, 2],), (p, 2))  # [p, 2]
    d_pixel_7 = np.where(reshape_4, 0, d_pixel_2) + d_pixel_4  # [p, 2]
    d_pixel_8 = d_pixel_7 + scatter_add(d_sub, (picks_t[:, 1],), (p, 2))  # [p, 2]
    d_pixel = d_pixel_8 + scatter_add(d_child, (picks_t[:, 0],), (p, 2))  # [p, 2]
    # gradient of found = share_of(net, image, label, child)   attacks.lee:186
    return (
        d_pixel,
        d_score,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]},
        },
        d_net_["layers.0"]["b"],
        d_net_["layers.1"]["b"],
        d_image,
    )


def universal(net, x, y, reach=0.2, rate=0.03, steps=4):
    """One change for all inputs (Moosavi-Dezfooli et al. 2017), found by steps on the mean of their losses.

    x [n, net.sizes_0], y int[n] -> [net.sizes_0]
    """
    change = np.zeros(net.sizes[0], dtype=FLOAT)  # [net.sizes_0]  attacks.lee:194
    # attacks.lee:195
    for k in range(steps):
        change = universal_step(net, change, x, y, rate, reach)
    return change  # [net.sizes_0]


def universal_step(net, change, x, y, rate, reach):
    """change [net.sizes_0], x [n, net.sizes_0], y int[n] -> [net.sizes_0]"""
    _, saved_away = away_saved(net, x + change, y)  # attacks.lee:196
    d_add = away_backward_input(net, y, saved_away, FLOAT(1.0))  # [n, net.sizes_0]
    change_3 = clip_3(change - rate * np.sign(d_add.sum(axis=0)), -reach, reach)  # [net.sizes_0]
    return change_3  # [net.sizes_0]


def reprogrammed_saved(net, frame, x, y):
    """As reprogrammed, and what its gradient needs."""
    side = frame.shape[0]
    n, small, _ = x.shape
    if net.sizes[0] != side**2:
        raise ValueError(f"net.sizes_0 = {net.sizes[0]} must equal side**2 = {side**2}")
    tanh_frame = np.tanh(frame)  # [side, side]  attacks.lee:203
    le = (side - small) // 2 <= np.arange(side)  # bool[side]  attacks.lee:204
    lt = np.arange(side) < small + (side - small) // 2  # bool[side]
    logical_and_3 = (le & lt)[:, None] & le & lt  # bool[side, side]
    maximum = np.maximum(np.arange(side) + -((side - small) // 2), 0)  # int[side]
    minimum = np.minimum(maximum, small - 1)  # int[side]
    gather = x.transpose((1, 2, 0))[minimum[:, None], minimum]  # [side, side, n]
    seen = tanh_frame + masked(gather.transpose(2, 0, 1), logical_and_3)  # [n, side, side]  attacks.lee:203
    seen_flat = seen.reshape(n, net.sizes[0])  # [n, net.sizes_0]  attacks.lee:206
    add_2_2, saved_net = net.forward_saved(seen_flat)
    saved = tanh_frame, logical_and_3, minimum, seen_flat, add_2_2, saved_net
    return cross_entropy(add_2_2, y), saved


def reprogrammed_backward(net, y, saved, small, d_mean):
    """From d_mean to the gradients by net, frame and x."""
    tanh_frame, logical_and_3, minimum, seen_flat, add_2_2, saved_net = saved
    n = y.shape[0]
    side = tanh_frame.shape[0]
    # gradient of return cross_entropy(net(reshape(seen, [n, side * side]), training = false), y)   attacks.lee:206
    d_add_2_2 = cross_entropy_backward(add_2_2, y, d_mean)  # [n, net.sizes_2]
    d_net, d_seen_flat = net.forward_backward(seen_flat, saved_net, d_add_2_2)
    d_seen = d_seen_flat.reshape(n, side, side)  # [n, side, side]
    # gradient of gap <= i and i < gap + small and gap <= j and j < gap + small, x[r, i - gap, ..   attacks.lee:204
    d_gather = masked(d_seen, logical_and_3).transpose(1, 2, 0)  # [side, side, n]
    reshape = minimum[:, None]  # int[side, 1]
    d_x = scatter_add(d_gather, (reshape, minimum), (n, small, small), (1, 2))  # [n, small, small]
    # gradient of seen[r, i, j] = tanh(frame[i, j]) + where(   attacks.lee:203
    d_frame = d_seen.sum(axis=0) * (1 - tanh_frame**2)  # [side, side]
    return d_net, d_frame, d_x


def poisoned_saved(x, y, chosen, target):
    """As poisoned, and what its gradient needs."""
    _, h, w = x.shape
    # bool[n, h, w]  attacks.lee:211
    logical_and_2 = (chosen[:, None] & (np.arange(h) < 2))[:, :, None] & (np.arange(w) < 2)
    bright = np.where(logical_and_2, 1, x)  # [n, h, w]
    label = np.where(chosen, target, y)  # int[n]  attacks.lee:212
    return bright, label, logical_and_2


def poisoned_backward(logical_and_2, d_bright):
    """From d_bright to the gradient by x."""
    # gradient of bright[r, i, j] = where(chosen[r] and i < 2 and j < 2, 1.0, x[r, i, j])   attacks.lee:211
    d_x = np.where(logical_and_2, 0, d_bright)  # [n, h, w]
    return d_x  # [n, h, w]


def example_untargeted(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:220
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:221
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:222
    value, saved_away = away_saved(net, x, y)  # attacks.lee:223
    d_net, d_x = away_backward(net, x, y, saved_away, FLOAT(1.0))
    return value, net.at(d_net), d_x


def example_targeted(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:227
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:228
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:229
    target = randint(fold(key, SITES["target"]), (7,), 0, 4)  # int[7]  attacks.lee:230
    value, saved_towards = towards_saved(net, x, y, target)  # attacks.lee:231
    d_net, d_x = towards_backward(net, x, y, target, saved_towards, FLOAT(1.0))
    return value, net.at(d_net), d_x


def example_targeted_as_printed(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:235
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:236
    before = normal(fold(key, SITES["before"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:237
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:238
    target = randint(fold(key, SITES["target"]), (7,), 0, 4)  # int[7]  attacks.lee:239
    value, saved_towardsAsPrinted = towardsAsPrinted_saved(net, x, before, y, target)  # attacks.lee:240
    d_value = FLOAT(1.0)
    d_net, d_x, d_before = towardsAsPrinted_backward(net, x, before, y, target, saved_towardsAsPrinted, d_value)
    return value, net.at(d_net), d_x, d_before


def example_with_margin(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:244
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:245
    before = normal(fold(key, SITES["before"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:246
    target = randint(fold(key, SITES["target"]), (7,), 0, 4)  # int[7]  attacks.lee:247
    value, saved_margin = margin_saved(net, x, before, target)  # attacks.lee:248
    d_net, d_x, d_before = margin_backward(net, x, target, 2.0, 0.1, saved_margin, FLOAT(1.0))
    return value, net.at(d_net), d_x, d_before


def example_far(key):
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:252
    before = normal(fold(key, SITES["before"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:253
    sqrt, saved_distance = distance_saved(x, before)  # attacks.lee:254
    max_, saved_largest = largest_saved(x, before)
    sum_, saved_distanceAsPrinted = distanceAsPrinted_saved(x, before)
    d_sum = np.full(7, 3.0, dtype=FLOAT)  # [7]
    d_x_2, d_before_2 = distanceAsPrinted_backward(saved_distanceAsPrinted, d_sum)
    d_x_3, d_before_3 = largest_backward(saved_largest, np.full(7, 2.0, dtype=FLOAT))
    d_x_4, d_before_4 = distance_backward(saved_distance, sqrt, np.ones(7, dtype=FLOAT))
    return (sqrt + 2 * max_ + 3 * sum_).sum(), d_x_2 + d_x_3 + d_x_4, d_before_2 + d_before_3 + d_before_4


def example_repaired(key):
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:258
    before = normal(fold(key, SITES["before"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:259
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:260
    minimum, saved_into_box = into_box_saved(x, before, 0.7)  # attacks.lee:261
    mul_2 = c**2  # [7, 5]
    add_2, saved_into_ball = into_ball_saved(x, before, 2.5)
    d_x_2, d_before_2 = into_ball_backward(saved_into_ball, mul_2)
    d_x_3, d_before_3 = into_box_backward(x, saved_into_box, c)
    return (c * minimum + mul_2 * add_2).sum(), d_x_2 + d_x_3, d_before_2 + d_before_3, 2 * (add_2 * c) + minimum


def example_one_step(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:265
    x = 0.1 + 0.8 * uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:266
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:267
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:268
    d_c = fgsm(net, x, y)  # [7, 5]  attacks.lee:269
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": np.zeros((5, 6), dtype=FLOAT), "b": np.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": np.zeros((6, 4), dtype=FLOAT), "b": np.zeros(4, dtype=FLOAT)},
            }
        ),
        fgsm_backward_input(c),
        d_c,
    )


def example_by_signs(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:273
    x = 0.1 + 0.8 * uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:274
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:275
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:276
    d_c, saved_pgd = pgd_saved(net, x, y)  # attacks.lee:277
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": np.zeros((5, 6), dtype=FLOAT), "b": np.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": np.zeros((6, 4), dtype=FLOAT), "b": np.zeros(4, dtype=FLOAT)},
            }
        ),
        pgd_backward_input(saved_pgd, 6, 4, 5, c),
        d_c,
    )


def example_by_slope(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:281
    x = 0.1 + 0.8 * uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:282
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:283
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:284
    d_c, saved_pgd_in_ball = pgd_in_ball_saved(net, x, y)  # attacks.lee:285
    d_net, d_x = pgd_in_ball_backward(net, 0.1, saved_pgd_in_ball, 4, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_to_target(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:289
    x = 0.1 + 0.8 * uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:290
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:291
    target = randint(fold(key, SITES["target"]), (7,), 0, 4)  # int[7]  attacks.lee:292
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:293
    d_c, saved_pgd_towards = pgd_towards_saved(net, x, y, target)  # attacks.lee:294
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": np.zeros((5, 6), dtype=FLOAT), "b": np.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": np.zeros((6, 4), dtype=FLOAT), "b": np.zeros(4, dtype=FLOAT)},
            }
        ),
        pgd_towards_backward_input(saved_pgd_towards, 6, 4, 4, c),
        d_c,
    )


def example_by_margin(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:298
    x = 0.1 + 0.8 * uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:299
    target = randint(fold(key, SITES["target"]), (7,), 0, 4)  # int[7]  attacks.lee:300
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:301
    d_c, saved_carlini_wagner = carlini_wagner_saved(net, x, target)  # attacks.lee:302
    d_net, d_x = carlini_wagner_backward(net, 0.1, saved_carlini_wagner, d_c, 4, c)
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": d_net["layers.0"]["w"], "b": np.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": d_net["layers.1"]["w"], "b": np.zeros(4, dtype=FLOAT)},
            }
        ),
        d_x,
        d_c,
    )


def example_in_common(key):
    crowd = Crowd(5, 6, 4, key=fold(key, SITES["crowd"]))  # attacks.lee:306
    x = 0.1 + 0.8 * uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:307
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:308
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:309
    div, saved_away_from_others = away_from_others_saved(crowd, x, y, 1)  # attacks.lee:310
    d_c = ensemble_attack(crowd, x, y, 1)  # [7, 5]
    d_value = FLOAT(1.0)
    d_crowd, d_x_3 = away_from_others_backward(crowd, x, y, saved_away_from_others, 1, d_value)
    return div + (c * d_c).sum(), crowd.at(d_crowd), ensemble_attack_backward_input(c) + d_x_3, d_c


def example_one_pixel(key):
    net = MLP((12, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:314
    image = uniform(fold(key, SITES["image"]), (12,), FLOAT)  # [12]  attacks.lee:315
    label = randint(fold(key, SITES["label"]), (), 0, 4)  # attacks.lee:316
    start = uniform(fold(key, SITES["start"]), (8, 2), FLOAT)  # [8, 2]  attacks.lee:317
    picks = randint(fold(key, SITES["picks"]), (5, 8, 3), 0, 8)  # int[5, 8, 3]  attacks.lee:318
    pixel, score, saved_evolved = evolved_saved(net, image, label, start, picks)  # attacks.lee:319
    d_pixel = np.ones((8, 2), dtype=FLOAT)  # [8, 2]  attacks.lee:320
    d_score = np.ones(8, dtype=FLOAT)  # [8]
    # attacks.lee:319
    d_net, d_image, d_start = evolved_backward(net, label, picks, 0.5, saved_evolved, d_pixel, d_score)
    return score.sum() + pixel.sum(), net.at(d_net), d_image, d_start


def example_one_for_all(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:324
    x = uniform(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  attacks.lee:325
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:326
    c = normal(fold(key, SITES["c"]), (5,), FLOAT)  # [5]  attacks.lee:327
    change_4 = universal(net, x, y)  # [5]  attacks.lee:328
    change_4_2 = universal(net, x, y, steps=8)  # [5]
    return (
        (c * change_4).sum() + (c**2 * change_4_2).sum(),
        net.at(
            {
                "layers.0": {"w": np.zeros((5, 6), dtype=FLOAT), "b": np.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": np.zeros((6, 4), dtype=FLOAT), "b": np.zeros(4, dtype=FLOAT)},
            }
        ),
        np.zeros((7, 5), dtype=FLOAT),
        2 * (change_4_2 * c) + change_4,
    )


def example_framed(key):
    net = MLP((36, 6, 4), key=fold(key, SITES["net"]))  # attacks.lee:332
    frame = normal(fold(key, SITES["frame"]), (6, 6), FLOAT)  # [6, 6]  attacks.lee:333
    x = uniform(fold(key, SITES["x"]), (7, 4, 4), FLOAT)  # [7, 4, 4]  attacks.lee:334
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:335
    value, saved_reprogrammed = reprogrammed_saved(net, frame, x, y)  # attacks.lee:336
    d_net, d_frame, d_x = reprogrammed_backward(net, y, saved_reprogrammed, 4, FLOAT(1.0))
    return value, net.at(d_net), d_frame, d_x


def example_with_backdoor(key):
    x = uniform(fold(key, SITES["x"]), (7, 4, 5), FLOAT)  # [7, 4, 5]  attacks.lee:340
    y = randint(fold(key, SITES["y"]), (7,), 0, 4)  # int[7]  attacks.lee:341
    chosen = uniform(fold(key, SITES["chosen"]), (7,), FLOAT) < 0.5  # bool[7]  attacks.lee:342
    bright_2, label_2, saved_poisoned = poisoned_saved(x, y, chosen, 2)  # attacks.lee:343
    d_bright_2 = 2 * bright_2  # [7, 4, 5]
    return (bright_2**2).sum() + label_2.sum().astype(FLOAT), poisoned_backward(saved_poisoned, d_bright_2)


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
    def forward_backward_input_backward_parameters(d_add, d_d_x):
        """From d_add and d_d_x to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        return {"w": d_w}  # [inputs, outputs]

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

    def forward_backward_input_backward_parameters(self, d_add_2, saved, d_d_x):
        """From d_add_2, d_add and d_d_x to the gradient by the parameters."""
        d_add, saved_relu_backward = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_d_add = self.layers[0].forward_backward_input_backward(d_add, d_d_x)
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1 = Linear.forward_backward_input_backward_parameters(d_add_2, d_d_x_2)
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1}

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


class MLP_2(Model):
    """Linear layers with relu between them: MLP((64, 128, 10)) has one hidden layer of 128."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        self.sizes = sizes
        # nn.lee:37
        self.layers = [
            Linear(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
            Linear(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
            Linear(sizes[2], sizes[3], key=fold(key, SITES["layers.2"])),
        ]
        self.lay_out()

    def forward(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_3]"""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        x_3 = relu(self.layers[1](x_2))  # [x_0, sizes_2]
        return self.layers[2](x_3)  # [x_0, sizes_3]  nn.lee:42

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        x_3 = relu(self.layers[1](x_2))  # [x_0, sizes_2]
        return self.layers[2](x_3), (x_2, x_3)  # nn.lee:42

    def forward_backward_parameters(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_2_, d_x_3 = self.layers[2].forward_backward(x_3, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, relu_backward(x_3, d_x_3))
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_, "layers.2": d_layers_2_}

    def forward_backward_input(self, saved, d_y):
        """From d_y to the gradient by x."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   nn.lee:42
        d_x_3 = self.layers[2].forward_backward_input(d_y)  # [x_0, sizes_2]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_2 = self.layers[1].forward_backward_input(relu_backward(x_3, d_x_3))  # [x_0, sizes_1]
        d_x = self.layers[0].forward_backward_input(relu_backward(x_2, d_x_2))  # [x_0, sizes_0]
        return d_x  # [x_0, sizes_0]


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


def clip(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1.

    x [x_0, x_1], low [x_0, x_1], high [x_0, x_1] -> [x_0, x_1]
    """
    return np.minimum(np.maximum(x, low), high)  # [x_0, x_1]  prelude.lee:153


def clip_saved(x, low, high):
    """As clip, and what its gradient needs."""
    maximum = np.maximum(x, low)  # [x_0, x_1]  prelude.lee:153
    return np.minimum(maximum, high), maximum


def clip_backward(x, low, high, maximum, d_y):
    """From d_y to the gradients by x, low and high."""
    # gradient of return min(max(x, low), high)   prelude.lee:153
    le = maximum <= high  # bool[x_0, x_1]
    d_high = np.where(le, 0, d_y)  # [x_0, x_1]
    ge = x >= low  # bool[x_0, x_1]
    d_x = masked(masked(d_y, ge), le)  # [x_0, x_1]
    d_low = masked(np.where(ge, 0, d_y), le)  # [x_0, x_1]
    return d_x, d_low, d_high


def clip_2_saved(x, low, high):
    """As clip_2, and what its gradient needs."""
    maximum = np.maximum(x, low)  # [x_0, x_1]  prelude.lee:153
    return np.minimum(maximum, high), maximum


def clip_2_backward(x, high, maximum, low, d_minimum):
    """From d_minimum to the gradient by x."""
    # gradient of return min(max(x, low), high)   prelude.lee:153
    d_x = masked(masked(d_minimum, x >= low), maximum <= high)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def clip_3(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1.

    x [x_0] -> [x_0]
    """
    return np.minimum(np.maximum(x, low), high)  # [x_0]  prelude.lee:153


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> [x_0]
    """
    return np.sqrt((x**2).sum(axis=1))  # [x_0]  prelude.lee:163


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum(axis=1)  # [x_0]  prelude.lee:163
    return np.sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_x = 2 * ((d_y * 0.5 / np.where(sum_ > 0, sqrt, np.inf))[:, None] * x)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "before": 0x8C4AF9AB8D642890,
    "c": 0x1B2C07CD64633F37,
    "chosen": 0xC4D55F00B27CC97D,
    "crowd": 0x89772076ECE075CD,
    "frame": 0x1F09AD1F595E1C3A,
    "image": 0x86C9701471CF0710,
    "label": 0x97BB9DAEC28EDB5C,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "layers.2": 0xA380C36DF3DD4243,
    "net": 0xF087C76970C91612,
    "nets.0": 0xA53D18912274714E,
    "nets.1": 0xA31C7D53FDE4971E,
    "nets.2": 0xC67E891906E3E336,
    "nets.3": 0xC9D50AA0D987548B,
    "nets.4": 0x980642A24CBD9249,
    "picks": 0x729E5240CDC8AA95,
    "start": 0xF7091535421F26A0,
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
