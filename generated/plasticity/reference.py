"""Selective plasticity: parameters that mattered for the task before resist change (inventory N3, N4).

Made from specs/lifelong/plasticity.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/lifelong/plasticity.lee
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


def guarded_saved(net, old, guard, x, y, strength=1.0):
    """As guarded, and what its gradient needs."""
    if net.sizes[0] != old.sizes[0]:
        raise ValueError(f"plasticity.lee:12: net.sizes_0 = {net.sizes[0]} must equal old.sizes_0 = {old.sizes[0]}")
    if net.sizes[1] != old.sizes[1]:
        raise ValueError(f"plasticity.lee:12: net.sizes_1 = {net.sizes[1]} must equal old.sizes_1 = {old.sizes[1]}")
    if net.sizes[2] != old.sizes[2]:
        raise ValueError(f"plasticity.lee:12: net.sizes_2 = {net.sizes[2]} must equal old.sizes_2 = {old.sizes[2]}")
    if guard.sizes[0] != net.sizes[0]:
        raise ValueError(
            f"plasticity.lee:12: guard.sizes_0 = {guard.sizes[0]} " f"must equal net.sizes_0 = {net.sizes[0]}"
        )
    if guard.sizes[1] != net.sizes[1]:
        raise ValueError(
            f"plasticity.lee:12: guard.sizes_1 = {guard.sizes[1]} " f"must equal net.sizes_1 = {net.sizes[1]}"
        )
    if guard.sizes[2] != net.sizes[2]:
        raise ValueError(
            f"plasticity.lee:12: guard.sizes_2 = {guard.sizes[2]} " f"must equal net.sizes_2 = {net.sizes[2]}"
        )
    add_2, saved_net = net.forward_saved(x)  # plasticity.lee:12
    sub = net.layers[0].w - old.layers[0].w.reshape(net.sizes[0], net.sizes[1])  # [net.sizes_0, net.sizes_1]
    sub_2 = net.layers[0].b - old.layers[0].b.reshape(net.sizes[1])  # [net.sizes_1]
    sub_3 = net.layers[1].w - old.layers[1].w.reshape(net.sizes[1], net.sizes[2])  # [net.sizes_1, net.sizes_2]
    sub_4 = net.layers[1].b - old.layers[1].b.reshape(net.sizes[2])  # [net.sizes_2]
    reshape_5 = (sub**2).reshape(guard.sizes[0], guard.sizes[1])  # [guard.sizes_0, guard.sizes_1]
    reshape_6 = (sub_2**2).reshape(guard.sizes[1])  # [guard.sizes_1]
    reshape_7 = (sub_3**2).reshape(guard.sizes[1], guard.sizes[2])  # [guard.sizes_1, guard.sizes_2]
    reshape_8 = (sub_4**2).reshape(guard.sizes[2])  # [guard.sizes_2]
    sum_ = (guard.layers[0].w * reshape_5).sum()
    add = sum_ + (guard.layers[0].b * reshape_6).sum()
    add_3 = add + (guard.layers[1].w * reshape_7).sum()
    mul_9 = strength * (add_3 + (guard.layers[1].b * reshape_8).sum())
    saved = add_2, saved_net, sub, sub_2, sub_3, sub_4, reshape_5, reshape_6, reshape_7, reshape_8
    return cross_entropy(add_2, y) + mul_9, saved


def guarded_backward(net, guard, x, y, strength, saved, old_sizes_0, old_sizes_1, old_sizes_2, d_add_5):
    """From d_add_5 to the gradients by net, old, guard and x."""
    add_2, saved_net, sub, sub_2, sub_3, sub_4, reshape_5, reshape_6, reshape_7, reshape_8 = saved
    # gradient of return cross_entropy(net(x), y) + strength * sum(guard * (net - old) ** 2)   plasticity.lee:12
    d_add_4 = d_add_5 * strength
    d_guard_layers_1_b = d_add_4 * reshape_8  # [guard.sizes_2]
    d_guard_layers_1_w = d_add_4 * reshape_7  # [guard.sizes_1, guard.sizes_2]
    d_reshape_7 = d_add_4 * guard.layers[1].w  # [guard.sizes_1, guard.sizes_2]
    d_guard_layers_0_b = d_add_4 * reshape_6  # [guard.sizes_1]
    d_guard_layers_0_w = d_add_4 * reshape_5  # [guard.sizes_0, guard.sizes_1]
    d_reshape_5 = d_add_4 * guard.layers[0].w  # [guard.sizes_0, guard.sizes_1]
    d_sub_4_2 = (d_add_4 * guard.layers[1].b).reshape(net.sizes[2]) * sub_4  # [net.sizes_2]
    d_sub_3_2 = d_reshape_7.reshape(net.sizes[1], net.sizes[2]) * sub_3  # [net.sizes_1, net.sizes_2]
    d_sub_2_2 = (d_add_4 * guard.layers[0].b).reshape(net.sizes[1]) * sub_2  # [net.sizes_1]
    d_sub_5 = d_reshape_5.reshape(net.sizes[0], net.sizes[1]) * sub  # [net.sizes_0, net.sizes_1]
    d_old_layers_1_b = (-2 * d_sub_4_2).reshape(old_sizes_2)  # [old.sizes_2]
    d_old_layers_1_w = (-2 * d_sub_3_2).reshape(old_sizes_1, old_sizes_2)  # [old.sizes_1, old.sizes_2]
    d_old_layers_0_b = (-2 * d_sub_2_2).reshape(old_sizes_1)  # [old.sizes_1]
    d_old_layers_0_w = (-2 * d_sub_5).reshape(old_sizes_0, old_sizes_1)  # [old.sizes_0, old.sizes_1]
    d_add_2 = cross_entropy_backward(add_2, y, d_add_5)  # [n, net.sizes_2]
    d_net, d_x = net.forward_backward(x, saved_net, d_add_2)
    d_net_layers_0_w = 2 * d_sub_5 + d_net["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = 2 * d_sub_2_2 + d_net["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w = 2 * d_sub_3_2 + d_net["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_b = 2 * d_sub_4_2 + d_net["layers.1"]["b"]  # [net.sizes_2]
    return (
        {
            "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
            "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
        },
        {
            "layers.0": {"w": d_old_layers_0_w, "b": d_old_layers_0_b},
            "layers.1": {"w": d_old_layers_1_w, "b": d_old_layers_1_b},
        },
        {
            "layers.0": {"w": d_guard_layers_0_w, "b": d_guard_layers_0_b},
            "layers.1": {"w": d_guard_layers_1_w, "b": d_guard_layers_1_b},
        },
        d_x,
    )


def guarded_backward_parameters(net, guard, x, y, strength, saved, d_add_5):
    """From d_add_5 to the gradient by net."""
    add_2, saved_net, sub, sub_2, sub_3, sub_4, _, _, _, _ = saved
    # gradient of return cross_entropy(net(x), y) + strength * sum(guard * (net - old) ** 2)   plasticity.lee:12
    d_add_4 = d_add_5 * strength
    d_reshape_7 = d_add_4 * guard.layers[1].w  # [guard.sizes_1, guard.sizes_2]
    d_reshape_5 = d_add_4 * guard.layers[0].w  # [guard.sizes_0, guard.sizes_1]
    d_sub_4_2 = (d_add_4 * guard.layers[1].b).reshape(net.sizes[2]) * sub_4  # [net.sizes_2]
    d_sub_3_2 = d_reshape_7.reshape(net.sizes[1], net.sizes[2]) * sub_3  # [net.sizes_1, net.sizes_2]
    d_sub_2_2 = (d_add_4 * guard.layers[0].b).reshape(net.sizes[1]) * sub_2  # [net.sizes_1]
    d_add_2 = cross_entropy_backward(add_2, y, d_add_5)  # [n, net.sizes_2]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    d_sub = 2 * (d_reshape_5.reshape(net.sizes[0], net.sizes[1]) * sub)  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_w = d_sub + d_net["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = 2 * d_sub_2_2 + d_net["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w = 2 * d_sub_3_2 + d_net["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_b = 2 * d_sub_4_2 + d_net["layers.1"]["b"]  # [net.sizes_2]
    return {
        "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
        "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
    }


def guarded_2_saved(net, old, guard, x, y, strength=1.0):
    """As guarded_2, and what its gradient needs."""
    if net.sizes[0] != old.sizes[0]:
        raise ValueError(f"plasticity.lee:12: net.sizes_0 = {net.sizes[0]} must equal old.sizes_0 = {old.sizes[0]}")
    if net.sizes[1] != old.sizes[1]:
        raise ValueError(f"plasticity.lee:12: net.sizes_1 = {net.sizes[1]} must equal old.sizes_1 = {old.sizes[1]}")
    if net.sizes[2] != old.sizes[2]:
        raise ValueError(f"plasticity.lee:12: net.sizes_2 = {net.sizes[2]} must equal old.sizes_2 = {old.sizes[2]}")
    if guard.sizes[0] != net.sizes[0]:
        raise ValueError(
            f"plasticity.lee:12: guard.sizes_0 = {guard.sizes[0]} " f"must equal net.sizes_0 = {net.sizes[0]}"
        )
    if guard.sizes[1] != net.sizes[1]:
        raise ValueError(
            f"plasticity.lee:12: guard.sizes_1 = {guard.sizes[1]} " f"must equal net.sizes_1 = {net.sizes[1]}"
        )
    if guard.sizes[2] != net.sizes[2]:
        raise ValueError(
            f"plasticity.lee:12: guard.sizes_2 = {guard.sizes[2]} " f"must equal net.sizes_2 = {net.sizes[2]}"
        )
    add_2, saved_net = net.forward_saved(x)  # plasticity.lee:12
    sub = net.layers[0].w - old.layers[0].w.reshape(net.sizes[0], net.sizes[1])  # [net.sizes_0, net.sizes_1]
    sub_2 = net.layers[0].b - old.layers[0].b.reshape(net.sizes[1])  # [net.sizes_1]
    sub_3 = net.layers[1].w - old.layers[1].w.reshape(net.sizes[1], net.sizes[2])  # [net.sizes_1, net.sizes_2]
    sub_4 = net.layers[1].b - old.layers[1].b.reshape(net.sizes[2])  # [net.sizes_2]
    reshape_5 = (sub**2).reshape(guard.sizes[0], guard.sizes[1])  # [guard.sizes_0, guard.sizes_1]
    reshape_7 = (sub_3**2).reshape(guard.sizes[1], guard.sizes[2])  # [guard.sizes_1, guard.sizes_2]
    mul_6 = guard.layers[0].b * (sub_2**2).reshape(guard.sizes[1])  # [guard.sizes_1]
    add = (guard.layers[0].w * reshape_5).sum() + mul_6.sum()
    mul_8 = guard.layers[1].b * (sub_4**2).reshape(guard.sizes[2])  # [guard.sizes_2]
    add_4 = add + (guard.layers[1].w * reshape_7).sum() + mul_8.sum()
    return cross_entropy(add_2, y) + strength * add_4, (add_2, saved_net, sub, sub_2, sub_3, sub_4)


def guarded_2_backward_parameters(net, guard, x, y, strength, saved, d_add_5):
    """From d_add_5 to the gradient by net."""
    add_2, saved_net, sub, sub_2, sub_3, sub_4 = saved
    # gradient of return cross_entropy(net(x), y) + strength * sum(guard * (net - old) ** 2)   plasticity.lee:12
    d_add_4 = d_add_5 * strength
    d_reshape_7 = d_add_4 * guard.layers[1].w  # [guard.sizes_1, guard.sizes_2]
    d_reshape_5 = d_add_4 * guard.layers[0].w  # [guard.sizes_0, guard.sizes_1]
    d_sub_4_2 = (d_add_4 * guard.layers[1].b).reshape(net.sizes[2]) * sub_4  # [net.sizes_2]
    d_sub_3_2 = d_reshape_7.reshape(net.sizes[1], net.sizes[2]) * sub_3  # [net.sizes_1, net.sizes_2]
    d_sub_2_2 = (d_add_4 * guard.layers[0].b).reshape(net.sizes[1]) * sub_2  # [net.sizes_1]
    d_add_2 = cross_entropy_backward(add_2, y, d_add_5)  # [n, net.sizes_2]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    d_sub = 2 * (d_reshape_5.reshape(net.sizes[0], net.sizes[1]) * sub)  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_w = d_sub + d_net["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = 2 * d_sub_2_2 + d_net["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w = 2 * d_sub_3_2 + d_net["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_b = 2 * d_sub_4_2 + d_net["layers.1"]["b"]  # [net.sizes_2]
    return {
        "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
        "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
    }


def fisher(net, x, y):
    """EWC (Kirkpatrick et al. 2017): the mean over examples of the squared slope.

    x [n, net.sizes_0], y int[n] -> MLP
    """
    n = x.shape[0]
    # [net.sizes_0, net.sizes_1]  plasticity.lee:20
    total_layers_0_w = np.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT)
    total_layers_0_b = np.zeros(net.sizes[1], dtype=FLOAT)  # [net.sizes_1]
    total_layers_1_w = np.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT)  # [net.sizes_1, net.sizes_2]
    total_layers_1_b = np.zeros(net.sizes[2], dtype=FLOAT)  # [net.sizes_2]
    for i in range(n):
        total_layers_0_w, total_layers_0_b, total_layers_1_w, total_layers_1_b = fisher_step(
            net, total_layers_0_w, total_layers_0_b, total_layers_1_w, total_layers_1_b, x[i], y[i]
        )
    return net.at(
        {
            "layers.0": {"w": total_layers_0_w / n, "b": total_layers_0_b / n},
            "layers.1": {"w": total_layers_1_w / n, "b": total_layers_1_b / n},
        }
    )


def fisher_step(net, total_layers_0_w, total_layers_0_b, total_layers_1_w, total_layers_1_b, x_i, y_i):
    """total.layers.0.w [net.sizes_0, net.sizes_1], total.layers.0.b [net.sizes_1], total.layers.1.w [net.sizes_1,
    net.sizes_2], total.layers.1.b [net.sizes_2], x_i [net.sizes_0] -> [net.sizes_0, net.sizes_1],
    [net.sizes_1], [net.sizes_1, net.sizes_2], [net.sizes_2]
    """
    reshape_4, saved_net = net.forward_2_saved(x_i)  # plasticity.lee:20
    d_reshape = cross_entropy_backward(reshape_4[None], y_i[None], FLOAT(1.0))  # [1, net.sizes_2]
    d_reshape_4 = d_reshape.reshape(net.sizes[2])  # [net.sizes_2]
    d_net = net.forward_2_backward_parameters(x_i, saved_net, d_reshape_4)
    mul = d_net["layers.0"]["w"] * d_net["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    mul_2 = d_net["layers.0"]["b"] * d_net["layers.0"]["b"]  # [net.sizes_1]
    mul_3 = d_net["layers.1"]["w"] * d_net["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    mul_4 = d_net["layers.1"]["b"] * d_net["layers.1"]["b"]  # [net.sizes_2]
    return total_layers_0_w + mul, total_layers_0_b + mul_2, total_layers_1_w + mul_3, total_layers_1_b + mul_4


def sensitivity(net, x):
    """MAS (Aljundi et al. 2018): how much the square length of the answers moves with θᵢ, which needs no labels.

    x [n, net.sizes_0] -> MLP
    """
    n = x.shape[0]
    # [net.sizes_0, net.sizes_1]  plasticity.lee:25
    total_layers_0_w = np.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT)
    total_layers_0_b = np.zeros(net.sizes[1], dtype=FLOAT)  # [net.sizes_1]
    total_layers_1_w = np.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT)  # [net.sizes_1, net.sizes_2]
    total_layers_1_b = np.zeros(net.sizes[2], dtype=FLOAT)  # [net.sizes_2]
    for i in range(n):
        total_layers_0_w, total_layers_0_b, total_layers_1_w, total_layers_1_b = sensitivity_step(
            net, total_layers_0_w, total_layers_0_b, total_layers_1_w, total_layers_1_b, x[i]
        )
    return net.at(
        {
            "layers.0": {"w": total_layers_0_w / n, "b": total_layers_0_b / n},
            "layers.1": {"w": total_layers_1_w / n, "b": total_layers_1_b / n},
        }
    )


def sensitivity_step(net, total_layers_0_w, total_layers_0_b, total_layers_1_w, total_layers_1_b, x_i):
    """total.layers.0.w [net.sizes_0, net.sizes_1], total.layers.0.b [net.sizes_1], total.layers.1.w [net.sizes_1,
    net.sizes_2], total.layers.1.b [net.sizes_2], x_i [net.sizes_0] -> [net.sizes_0, net.sizes_1],
    [net.sizes_1], [net.sizes_1, net.sizes_2], [net.sizes_2]
    """
    reshape_4, saved_net = net.forward_2_saved(x_i)  # plasticity.lee:25
    d_net = net.forward_2_backward_parameters(x_i, saved_net, 2 * reshape_4)
    return (
        total_layers_0_w + np.abs(d_net["layers.0"]["w"]),
        total_layers_0_b + np.abs(d_net["layers.0"]["b"]),
        total_layers_1_w + np.abs(d_net["layers.1"]["w"]),
        total_layers_1_b + np.abs(d_net["layers.1"]["b"]),
    )


def path_integral(path, net, start, damping=0.1):
    """SI (Zenke et al. 2017): by how much θᵢ lowered the loss on its way, over the square of how far it went."""
    if net.sizes[0] != start.sizes[0]:
        raise ValueError(
            f"plasticity.lee:30: net.sizes_0 = {net.sizes[0]} " f"must equal start.sizes_0 = {start.sizes[0]}"
        )
    if net.sizes[1] != start.sizes[1]:
        raise ValueError(
            f"plasticity.lee:30: net.sizes_1 = {net.sizes[1]} " f"must equal start.sizes_1 = {start.sizes[1]}"
        )
    if net.sizes[2] != start.sizes[2]:
        raise ValueError(
            f"plasticity.lee:30: net.sizes_2 = {net.sizes[2]} " f"must equal start.sizes_2 = {start.sizes[2]}"
        )
    if path.sizes[0] != net.sizes[0]:
        raise ValueError(f"plasticity.lee:30: path.sizes_0 = {path.sizes[0]} must equal net.sizes_0 = {net.sizes[0]}")
    if path.sizes[1] != net.sizes[1]:
        raise ValueError(f"plasticity.lee:30: path.sizes_1 = {path.sizes[1]} must equal net.sizes_1 = {net.sizes[1]}")
    if path.sizes[2] != net.sizes[2]:
        raise ValueError(f"plasticity.lee:30: path.sizes_2 = {path.sizes[2]} must equal net.sizes_2 = {net.sizes[2]}")
    # [net.sizes_0, net.sizes_1]  plasticity.lee:30
    sub = net.layers[0].w - start.layers[0].w.reshape(net.sizes[0], net.sizes[1])
    sub_2 = net.layers[0].b - start.layers[0].b.reshape(net.sizes[1])  # [net.sizes_1]
    sub_3 = net.layers[1].w - start.layers[1].w.reshape(net.sizes[1], net.sizes[2])  # [net.sizes_1, net.sizes_2]
    sub_4 = net.layers[1].b - start.layers[1].b.reshape(net.sizes[2])  # [net.sizes_2]
    reshape_5 = (sub**2 + damping).reshape(path.sizes[0], path.sizes[1])  # [path.sizes_0, path.sizes_1]
    reshape_6 = (sub_2**2 + damping).reshape(path.sizes[1])  # [path.sizes_1]
    reshape_7 = (sub_3**2 + damping).reshape(path.sizes[1], path.sizes[2])  # [path.sizes_1, path.sizes_2]
    reshape_8 = (sub_4**2 + damping).reshape(path.sizes[2])  # [path.sizes_2]
    return path.at(
        {
            "layers.0": {
                "w": np.maximum(path.layers[0].w, 0) / reshape_5,
                "b": np.maximum(path.layers[0].b, 0) / reshape_6,
            },
            "layers.1": {
                "w": np.maximum(path.layers[1].w, 0) / reshape_7,
                "b": np.maximum(path.layers[1].b, 0) / reshape_8,
            },
        }
    )


def path_integral_2(path, net, start, damping=0.1):
    """SI (Zenke et al. 2017): by how much θᵢ lowered the loss on its way, over the square of how far it went."""
    if net.sizes[0] != start.sizes[0]:
        raise ValueError(
            f"plasticity.lee:30: net.sizes_0 = {net.sizes[0]} " f"must equal start.sizes_0 = {start.sizes[0]}"
        )
    if net.sizes[1] != start.sizes[1]:
        raise ValueError(
            f"plasticity.lee:30: net.sizes_1 = {net.sizes[1]} " f"must equal start.sizes_1 = {start.sizes[1]}"
        )
    if net.sizes[2] != start.sizes[2]:
        raise ValueError(
            f"plasticity.lee:30: net.sizes_2 = {net.sizes[2]} " f"must equal start.sizes_2 = {start.sizes[2]}"
        )
    if path.sizes[0] != net.sizes[0]:
        raise ValueError(f"plasticity.lee:30: path.sizes_0 = {path.sizes[0]} must equal net.sizes_0 = {net.sizes[0]}")
    if path.sizes[1] != net.sizes[1]:
        raise ValueError(f"plasticity.lee:30: path.sizes_1 = {path.sizes[1]} must equal net.sizes_1 = {net.sizes[1]}")
    if path.sizes[2] != net.sizes[2]:
        raise ValueError(f"plasticity.lee:30: path.sizes_2 = {path.sizes[2]} must equal net.sizes_2 = {net.sizes[2]}")
    # [net.sizes_0, net.sizes_1]  plasticity.lee:30
    sub = net.layers[0].w - start.layers[0].w.reshape(net.sizes[0], net.sizes[1])
    sub_2 = net.layers[0].b - start.layers[0].b.reshape(net.sizes[1])  # [net.sizes_1]
    sub_3 = net.layers[1].w - start.layers[1].w.reshape(net.sizes[1], net.sizes[2])  # [net.sizes_1, net.sizes_2]
    sub_4 = net.layers[1].b - start.layers[1].b.reshape(net.sizes[2])  # [net.sizes_2]
    reshape_5 = (sub**2 + damping).reshape(path.sizes[0], path.sizes[1])  # [path.sizes_0, path.sizes_1]
    reshape_6 = (sub_2**2 + damping).reshape(path.sizes[1])  # [path.sizes_1]
    reshape_7 = (sub_3**2 + damping).reshape(path.sizes[1], path.sizes[2])  # [path.sizes_1, path.sizes_2]
    reshape_8 = (sub_4**2 + damping).reshape(path.sizes[2])  # [path.sizes_2]
    return path.at(
        {
            "layers.0": {
                "w": np.maximum(path.layers[0].w, 0) / reshape_5,
                "b": np.maximum(path.layers[0].b, 0) / reshape_6,
            },
            "layers.1": {
                "w": np.maximum(path.layers[1].w, 0) / reshape_7,
                "b": np.maximum(path.layers[1].b, 0) / reshape_8,
            },
        }
    )


def example_held(key):
    net = MLP((5, 6, 3), key=fold(key, SITES["net"]))  # plasticity.lee:34
    old = MLP((5, 6, 3), key=fold(key, SITES["old"]))  # plasticity.lee:35
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  plasticity.lee:36
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  plasticity.lee:37
    mul = old.layers[0].w * old.layers[0].w  # [5, 6]  plasticity.lee:38
    mul_2 = old.layers[0].b * old.layers[0].b  # [6]
    mul_3 = old.layers[1].w * old.layers[1].w  # [6, 3]
    mul_4 = old.layers[1].b * old.layers[1].b  # [3]
    mlp = net.at({"layers.0": {"w": mul, "b": mul_2}, "layers.1": {"w": mul_3, "b": mul_4}})
    value, saved_guarded = guarded_saved(net, old, mlp, x, y)
    d_net, d_old, d_mlp, d_x = guarded_backward(net, mlp, x, y, 1.0, saved_guarded, 5, 6, 3, FLOAT(1.0))
    d_old_layers_1_b_2 = d_mlp["layers.1"]["b"] * old.layers[1].b  # [3]
    d_old_layers_1_w_2 = d_mlp["layers.1"]["w"] * old.layers[1].w  # [6, 3]
    d_old_layers_0_b_2 = d_mlp["layers.0"]["b"] * old.layers[0].b  # [6]
    d_old_layers_0_w_2 = d_mlp["layers.0"]["w"] * old.layers[0].w  # [5, 6]
    d_old_layers_0_w_4 = d_old["layers.0"]["w"] + d_old_layers_0_w_2  # [5, 6]
    d_old_layers_0_b_4 = d_old["layers.0"]["b"] + d_old_layers_0_b_2  # [6]
    d_old_layers_1_w_4 = d_old["layers.1"]["w"] + d_old_layers_1_w_2  # [6, 3]
    d_old_layers_1_b_4 = d_old["layers.1"]["b"] + d_old_layers_1_b_2  # [3]
    return (
        value,
        net.at(d_net),
        net.at(
            {
                "layers.0": {
                    "w": d_old_layers_0_w_4 + d_old_layers_0_w_2,
                    "b": d_old_layers_0_b_4 + d_old_layers_0_b_2,
                },
                "layers.1": {
                    "w": d_old_layers_1_w_4 + d_old_layers_1_w_2,
                    "b": d_old_layers_1_b_4 + d_old_layers_1_b_2,
                },
            }
        ),
        d_x,
    )


def example_worth(key):
    net = MLP((5, 6, 3), key=fold(key, SITES["net"]))  # plasticity.lee:42
    start = MLP((5, 6, 3), key=fold(key, SITES["start"]))  # plasticity.lee:43
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  plasticity.lee:44
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  plasticity.lee:45
    mlp = fisher(net, x, y)  # plasticity.lee:46
    value = np.concatenate((mlp.layers[0].w.ravel(), mlp.layers[0].b, mlp.layers[1].w.ravel(), mlp.layers[1].b))  # [57]
    mlp_ = sensitivity(net, x)
    # [57]
    value_1 = np.concatenate((mlp_.layers[0].w.ravel(), mlp_.layers[0].b, mlp_.layers[1].w.ravel(), mlp_.layers[1].b))
    mul = net.layers[0].w * start.layers[0].w  # [5, 6]
    mul_2 = net.layers[0].b * start.layers[0].b  # [6]
    mul_3 = net.layers[1].w * start.layers[1].w  # [6, 3]
    mul_4 = net.layers[1].b * start.layers[1].b  # [3]
    mlp_2 = path_integral(
        net.at({"layers.0": {"w": mul, "b": mul_2}, "layers.1": {"w": mul_3, "b": mul_4}}), net, start
    )
    # [57]
    value_2 = np.concatenate(
        (mlp_2.layers[0].w.ravel(), mlp_2.layers[0].b, mlp_2.layers[1].w.ravel(), mlp_2.layers[1].b)
    )
    return value, value_1, value_2


def elastic(strength=1e2, epochs=5, batch=32, rate=3e-3, *, run=None):
    """`by` says what guards the first task: fisher, sensitivity, or nothing for no guard at all.

    Made for by = 'fisher': with other values it is another program.
    """
    from leec.runtime.run import Run

    run = run or Run("elastic")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    order = elastic_order(key=run.key("elastic"))  # plasticity.lee:55
    net = MLP(sizes=(64, 64, 10), key=run.key("net"))  # plasticity.lee:57
    opt = Adam(lr=rate)  # plasticity.lee:58
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(elastic_step(net, opt, x, y))  # plasticity.lee:61
    old = net.copy()  # plasticity.lee:62
    guard = net.copy()  # plasticity.lee:64
    elastic_guard(net, data.train.x, data.train.y, guard)  # plasticity.lee:64
    own = Adam(lr=rate)  # plasticity.lee:67
    for epoch in run.loop("epoch_2", 1, epochs, guard=guard, net=net, old=old, own=own):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(elastic_step_2(net, old, guard, own, x, order, y, strength))  # plasticity.lee:70
    z, other = elastic_z_other(net, data.test.x, order)  # plasticity.lee:71
    reported_first, reported_second = elastic_first_second(z, data.test.y, other)  # plasticity.lee:73
    run.report(first=reported_first, second=reported_second)  # plasticity.lee:73
    return net


def elastic_order(key):
    place = uniform(fold(key, SITES["place"]), (64,), FLOAT)  # [64]  plasticity.lee:55
    order = np.argsort(place, axis=0, kind="stable")  # int[64]  plasticity.lee:56
    return order  # int[64]


def elastic_step(net, opt, x, y):
    """One step of elastic."""
    add_2, saved_net = net.forward_saved(x)  # plasticity.lee:61
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def elastic_guard(net, data_train_x, data_train_y, guard):
    guard_ = fisher(net, data_train_x, data_train_y)  # plasticity.lee:64
    guard.layers[0].w[...] = guard_.layers[0].w  # [64, 64]
    guard.layers[0].b[...] = guard_.layers[0].b  # [64]
    guard.layers[1].w[...] = guard_.layers[1].w  # [64, 10]
    guard.layers[1].b[...] = guard_.layers[1].b  # [10]


def elastic_step_2(net, old, guard, own, x, order, y, strength):
    """One step of elastic."""
    transpose = x.transpose((1, 0))[inside(order)].T  # [batches_2_n, 64]  plasticity.lee:70
    loss, saved_guarded_2 = guarded_2_saved(net, old, guard, transpose, y, strength=strength)
    d_loss = FLOAT(1.0)
    d_net = guarded_2_backward_parameters(net, guard, transpose, y, strength, saved_guarded_2, d_loss)
    own.update(net.parameters, net.flat(d_net))
    return loss


def elastic_z_other(net, data_test_x, order):
    """data_test_x [data_test_n, 64], order int[64] -> [data_test_n, 10], [data_test_n, 10]"""
    z = net(data_test_x)  # [data_test_n, 10]  plasticity.lee:71
    other = net(data_test_x.transpose((1, 0))[inside(order)].T)  # [data_test_n, 10]  plasticity.lee:72
    return z, other


def elastic_first_second(z, data_test_y, other):
    """z [data_test_n, 10], data_test_y int[data_test_n], other [data_test_n, 10] -> [], []"""
    return accuracy(z, data_test_y), accuracy(other, data_test_y)  # plasticity.lee:73


def synaptic(strength=2.0, epochs=5, batch=32, rate=3e-3, *, run=None):
    """The path that θ takes through the first task is measured step by step."""
    from leec.runtime.run import Run

    run = run or Run("synaptic")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    order = synaptic_order(key=run.key("synaptic"))  # plasticity.lee:80
    net = MLP(sizes=(64, 64, 10), key=run.key("net"))  # plasticity.lee:82
    start = net.copy()  # plasticity.lee:83
    path = net.copy()  # plasticity.lee:84
    synaptic_path(net, path)  # plasticity.lee:84
    opt = Adam(lr=rate)  # plasticity.lee:85
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt, path=path):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            before = net.copy()  # plasticity.lee:88
            synaptic_step(net, path, before, opt, x, y)  # plasticity.lee:89
    old = net.copy()  # plasticity.lee:92
    guard = net.copy()  # plasticity.lee:93
    synaptic_guard(path, net, start, guard)  # plasticity.lee:93
    own = Adam(lr=rate)  # plasticity.lee:94
    for epoch in run.loop("epoch_2", 1, epochs, guard=guard, net=net, old=old, own=own):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(synaptic_step_2(net, old, guard, own, x, order, y, strength))  # plasticity.lee:97
    z, other = synaptic_z_other(net, data.test.x, order)  # plasticity.lee:98
    reported_first, reported_second = synaptic_first_second(z, data.test.y, other)  # plasticity.lee:100
    run.report(first=reported_first, second=reported_second)  # plasticity.lee:100
    return net


def synaptic_order(key):
    place = uniform(fold(key, SITES["place"]), (64,), FLOAT)  # [64]  plasticity.lee:80
    order = np.argsort(place, axis=0, kind="stable")  # int[64]  plasticity.lee:81
    return order  # int[64]


def synaptic_path(net, path):
    path.layers[0].w[...] = np.zeros((64, 64), dtype=FLOAT)  # [64, 64]
    path.layers[0].b[...] = np.zeros(64, dtype=FLOAT)  # [64]
    path.layers[1].w[...] = np.zeros((64, 10), dtype=FLOAT)  # [64, 10]
    path.layers[1].b[...] = np.zeros(10, dtype=FLOAT)  # [10]


def synaptic_step(net, path, before, opt, x, y):
    """One step of synaptic."""
    add_2, saved_net = net.forward_saved(x)  # plasticity.lee:89
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))  # plasticity.lee:90
    sub = before.layers[0].w - net.layers[0].w  # [64, 64]  plasticity.lee:91
    sub_2 = before.layers[0].b - net.layers[0].b  # [64]
    sub_3 = before.layers[1].w - net.layers[1].w  # [64, 10]
    sub_4 = before.layers[1].b - net.layers[1].b  # [10]
    path.layers[0].w += d_net["layers.0"]["w"] * sub  # [64, 64]
    path.layers[0].b += d_net["layers.0"]["b"] * sub_2  # [64]
    path.layers[1].w += d_net["layers.1"]["w"] * sub_3  # [64, 10]
    path.layers[1].b += d_net["layers.1"]["b"] * sub_4  # [10]


def synaptic_guard(path, net, start, guard):
    guard_ = path_integral_2(path, net, start)  # plasticity.lee:93
    guard.layers[0].w[...] = guard_.layers[0].w  # [64, 64]
    guard.layers[0].b[...] = guard_.layers[0].b  # [64]
    guard.layers[1].w[...] = guard_.layers[1].w  # [64, 10]
    guard.layers[1].b[...] = guard_.layers[1].b  # [10]


def synaptic_step_2(net, old, guard, own, x, order, y, strength):
    """One step of synaptic."""
    transpose = x.transpose((1, 0))[inside(order)].T  # [batches_2_n, 64]  plasticity.lee:97
    loss, saved_guarded = guarded_saved(net, old, guard, transpose, y, strength=strength)
    d_loss = FLOAT(1.0)
    d_net = guarded_backward_parameters(net, guard, transpose, y, strength, saved_guarded, d_loss)
    own.update(net.parameters, net.flat(d_net))
    return loss


def synaptic_z_other(net, data_test_x, order):
    """data_test_x [data_test_n, 64], order int[64] -> [data_test_n, 10], [data_test_n, 10]"""
    z = net(data_test_x)  # [data_test_n, 10]  plasticity.lee:98
    other = net(data_test_x.transpose((1, 0))[inside(order)].T)  # [data_test_n, 10]  plasticity.lee:99
    return z, other


def synaptic_first_second(z, data_test_y, other):
    """z [data_test_n, 10], data_test_y int[data_test_n], other [data_test_n, 10] -> [], []"""
    return accuracy(z, data_test_y), accuracy(other, data_test_y)  # plasticity.lee:100


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

    def forward_2(self, x):
        """x [sizes_0] -> [sizes_2]"""
        x_2 = relu_2(self.layers[0](x[None]).reshape(self.sizes[1]))  # [sizes_1]  nn.lee:41
        return self.layers[1](x_2[None]).reshape(self.sizes[2])  # [sizes_2]  nn.lee:42

    def forward_2_saved(self, x):
        """As forward_2, and what its gradient needs."""
        x_2 = relu_2(self.layers[0](x[None]).reshape(self.sizes[1]))  # [sizes_1]  nn.lee:41
        return self.layers[1](x_2[None]).reshape(self.sizes[2]), x_2  # nn.lee:42

    def forward_2_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_reshape_3 = self.layers[1].forward_backward(x_2[None], d_y[None])
        d_x_2 = d_reshape_3.reshape(self.sizes[1])  # [sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add = relu_2_backward(x_2, d_x_2)[None]  # [1, sizes_1]
        d_layers_0 = Linear.forward_backward_parameters(x[None], d_add)
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


def relu_2(x):
    """x where it is positive, else 0.

    x [x_0] -> [x_0]
    """
    return np.maximum(x, 0)  # [x_0]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0]
    return d_x  # [x_0]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "old": 0xD32075DD9DBB96F8,
    "place": 0x49621941663E417B,
    "start": 0xF7091535421F26A0,
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
