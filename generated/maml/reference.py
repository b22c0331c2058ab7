"""A start from which few steps on few examples go far: MAML, its first-order form, Reptile (inventory P3, P4).

A net is a point of its parameter space, so what a task makes of it, φ - ε ∇l(φ), is a net again.

Made from specs/meta/maml.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/meta/maml.lee
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


def waves(k, shots, key):
    """k tasks, each to learn h sin(x + p) from `shots` points and to be tested at as many others."""
    height = 0.1 + 4.9 * uniform(fold(key, SITES["height"]), (k,), FLOAT)  # [k]  maml.lee:16
    phase = 3.141592653589793 * uniform(fold(key, SITES["phase"]), (k,), FLOAT)  # [k]  maml.lee:17
    x = -5 + 10 * uniform(fold(key, SITES["x"]), (k, shots, 1), FLOAT)  # [k, shots, 1]  maml.lee:18
    xq = -5 + 10 * uniform(fold(key, SITES["xq"]), (k, shots, 1), FLOAT)  # [k, shots, 1]  maml.lee:19
    reshape = height[:, None, None]  # [k, 1, 1]  maml.lee:20
    reshape_2 = phase[:, None, None]  # [k, 1, 1]
    y = reshape * np.sin(x + reshape_2)  # [k, shots, 1]
    yq = reshape * np.sin(xq + reshape_2)  # [k, shots, 1]  maml.lee:21
    return x, y, xq, yq


def adapted(net, x, y, rate=0.01, steps=1):
    """Some steps of gradient descent on the examples of a task.

    x [n, net.sizes_0], y [n, net.sizes_3] -> MLP
    """
    net_ = net  # maml.lee:27
    for s in range(steps):
        net_ = adapted_step(net_, x, y, rate)
    return net_.copy()


def adapted_saved(net, x, y, rate=0.01, steps=1):
    """As adapted, and what its gradient needs."""
    net_ = net  # maml.lee:27
    saved_adapted_step = [None] * steps
    for s in range(steps):
        net_, saved_adapted_step[s] = adapted_step_saved(net_, x, y, rate)
    return net_.copy(), saved_adapted_step


def adapted_backward(x, rate, saved_adapted_step, steps, d_mlp):
    """From d_add_3_rows, d_mul_rows, d_add_2_rows, d_add_rows and d_mlp to the gradients by net, x and y."""
    n, net_sizes_0 = x.shape
    net_sizes_3 = d_mlp["layers.2"]["w"].shape[1]
    # gradient of for s in steps:   maml.lee:27
    d_x_later = np.zeros((n, net_sizes_0), dtype=FLOAT)  # [n, net.sizes_0]
    d_y_later = np.zeros((n, net_sizes_3), dtype=FLOAT)  # [n, net.sizes_3]
    d_net = d_mlp
    for s in reversed(range(steps)):
        d_net, d_x_later, d_y_later = adapted_step_backward(saved_adapted_step[s], x, rate, d_net, d_x_later, d_y_later)
    return d_net, d_x_later, d_y_later


def adapted_backward_parameters(x, rate, saved_adapted_step, steps, d_mlp):
    """From d_add_3_rows, d_mul_rows, d_add_2_rows and d_mlp to the gradient by net."""
    # gradient of for s in steps:   maml.lee:27
    d_net = d_mlp
    for s in reversed(range(steps)):
        d_net = adapted_step_backward_parameters(saved_adapted_step[s], x, rate, d_net)
    return d_net


def adapted_step(net, x, y, rate):
    """x [n, net.sizes_0], y [n, net.sizes_3] -> MLP"""
    add_3, saved_net = net.forward_saved(x)  # maml.lee:28
    _, saved_mse = mse_saved(add_3, y)
    d_add_3 = mse_backward(saved_mse, FLOAT(1.0))  # [n, net.sizes_3]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_3)
    return net.at(
        {
            "layers.0": {
                "w": net.layers[0].w - rate * d_net["layers.0"]["w"],
                "b": net.layers[0].b - rate * d_net["layers.0"]["b"],
            },
            "layers.1": {
                "w": net.layers[1].w - rate * d_net["layers.1"]["w"],
                "b": net.layers[1].b - rate * d_net["layers.1"]["b"],
            },
            "layers.2": {
                "w": net.layers[2].w - rate * d_net["layers.2"]["w"],
                "b": net.layers[2].b - rate * d_net["layers.2"]["b"],
            },
        }
    )


def adapted_step_saved(net, x, y, rate):
    """As adapted_step, and what its gradient needs."""
    add_3, saved_net = net.forward_saved(x)  # maml.lee:28
    _, saved_mse = mse_saved(add_3, y)
    d_add_3, saved_mse_backward = mse_backward_saved(saved_mse, FLOAT(1.0))
    d_net, saved_net_ = net.forward_backward_parameters_saved(x, saved_net, d_add_3)
    return net.at(
        {
            "layers.0": {
                "w": net.layers[0].w - rate * d_net["layers.0"]["w"],
                "b": net.layers[0].b - rate * d_net["layers.0"]["b"],
            },
            "layers.1": {
                "w": net.layers[1].w - rate * d_net["layers.1"]["w"],
                "b": net.layers[1].b - rate * d_net["layers.1"]["b"],
            },
            "layers.2": {
                "w": net.layers[2].w - rate * d_net["layers.2"]["w"],
                "b": net.layers[2].b - rate * d_net["layers.2"]["b"],
            },
        }
    ), (saved_net, d_add_3, saved_mse_backward, saved_net_, net)


def adapted_step_backward(saved, x, rate, d_net, d_x, d_y):
    """From d_add_3, d_mul, d_add_2, d_add, d_net, d_x and d_y to the gradients by net, x and y."""
    saved_net, d_add_3, saved_mse_backward, saved_net_, net = saved
    # gradient of net = net - rate * grad(mse(net(x), y), net)   maml.lee:28
    d_w_2 = -(rate * d_net["layers.0"]["w"])  # [net.sizes_0, net.sizes_1]
    d_b_2 = -(rate * d_net["layers.0"]["b"])  # [net.sizes_1]
    d_w_2_2 = -(rate * d_net["layers.1"]["w"])  # [net.sizes_1, net.sizes_2]
    d_b_2_2 = -(rate * d_net["layers.1"]["b"])  # [net.sizes_2]
    d_w_2_3 = -(rate * d_net["layers.2"]["w"])  # [net.sizes_2, net.sizes_3]
    d_b_2_3 = -(rate * d_net["layers.2"]["b"])  # [net.sizes_3]
    d_net_, d_x_4, d_x_2, d_x_3, d_d_add_3 = net.forward_backward_parameters_backward(
        x,
        saved_net[0],
        saved_net[1],
        d_add_3,
        saved_net_,
        {
            "layers.0": {"w": d_w_2, "b": d_b_2},
            "layers.1": {"w": d_w_2_2, "b": d_b_2_2},
            "layers.2": {"w": d_w_2_3, "b": d_b_2_3},
        },
    )
    d_add_3_2, d_y_ = mse_saved_backward(mse_backward_backward(saved_mse_backward, d_d_add_3))
    d_net_2, d_x_5 = net.forward_saved_backward(x, saved_net, d_add_3_2, d_x_2, d_x_3)
    d_net_layers_0_w = d_net["layers.0"]["w"] + d_net_2["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_net["layers.0"]["b"] + d_net_2["layers.0"]["b"]  # [net.sizes_1]
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"] + d_net_2["layers.1"]["w"]
    d_net_layers_1_b = d_net["layers.1"]["b"] + d_net_2["layers.1"]["b"]  # [net.sizes_2]
    # [net.sizes_2, net.sizes_3]
    d_net_layers_2_w = d_net["layers.2"]["w"] + d_net_["layers.2"]["w"] + d_net_2["layers.2"]["w"]
    d_net_layers_2_b = d_net["layers.2"]["b"] + d_net_2["layers.2"]["b"]  # [net.sizes_3]
    d_x_ = d_x_4 + d_x_5  # [n, net.sizes_0]
    return (
        {
            "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
            "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
            "layers.2": {"w": d_net_layers_2_w, "b": d_net_layers_2_b},
        },
        d_x + d_x_,
        d_y + d_y_,
    )


def adapted_step_backward_parameters(saved, x, rate, d_net):
    """From d_add_3, d_mul, d_add_2 and d_net to the gradient by net."""
    saved_net, d_add_3, saved_mse_backward, saved_net_, net = saved
    # gradient of net = net - rate * grad(mse(net(x), y), net)   maml.lee:28
    d_w_2 = -(rate * d_net["layers.0"]["w"])  # [net.sizes_0, net.sizes_1]
    d_b_2 = -(rate * d_net["layers.0"]["b"])  # [net.sizes_1]
    d_w_2_2 = -(rate * d_net["layers.1"]["w"])  # [net.sizes_1, net.sizes_2]
    d_b_2_2 = -(rate * d_net["layers.1"]["b"])  # [net.sizes_2]
    d_w_2_3 = -(rate * d_net["layers.2"]["w"])  # [net.sizes_2, net.sizes_3]
    d_b_2_3 = -(rate * d_net["layers.2"]["b"])  # [net.sizes_3]
    d_net_, d_x_2, d_x_3, d_d_add_3 = net.forward_backward_parameters_backward_2(
        x,
        saved_net[0],
        saved_net[1],
        d_add_3,
        saved_net_,
        {
            "layers.0": {"w": d_w_2, "b": d_b_2},
            "layers.1": {"w": d_w_2_2, "b": d_b_2_2},
            "layers.2": {"w": d_w_2_3, "b": d_b_2_3},
        },
    )
    d_add_3_2 = mse_saved_backward_2(mse_backward_backward(saved_mse_backward, d_d_add_3))  # [n, net.sizes_3]
    d_net_2 = net.forward_saved_backward_parameters(x, saved_net, d_add_3_2, d_x_2, d_x_3)
    d_net_layers_0_w = d_net["layers.0"]["w"] + d_net_2["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_net["layers.0"]["b"] + d_net_2["layers.0"]["b"]  # [net.sizes_1]
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"] + d_net_2["layers.1"]["w"]
    d_net_layers_1_b = d_net["layers.1"]["b"] + d_net_2["layers.1"]["b"]  # [net.sizes_2]
    # [net.sizes_2, net.sizes_3]
    d_net_layers_2_w = d_net["layers.2"]["w"] + d_net_["layers.2"]["w"] + d_net_2["layers.2"]["w"]
    d_net_layers_2_b = d_net["layers.2"]["b"] + d_net_2["layers.2"]["b"]  # [net.sizes_3]
    return {
        "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
        "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
        "layers.2": {"w": d_net_layers_2_w, "b": d_net_layers_2_b},
    }


def maml(net, x, y, xq, yq, rate=0.01, steps=1):
    """L(φ) = mean l(θ), θ = φ - ε ∇l(φ): the gradient passes through the steps that each task takes (Finn et al. 2017).

    x [k, n, net.sizes_0], y [k, n, net.sizes_3], xq [k, m, net.sizes_0], yq [k, m, net.sizes_3] -> []
    """
    k = x.shape[0]
    total = FLOAT(0)  # maml.lee:38
    for i in range(k):
        total = maml_step(net, total, x[i], y[i], xq[i], yq[i], rate, steps)
    return total / k  # maml.lee:41


def maml_saved(net, x, y, xq, yq, rate=0.01, steps=1):
    """As maml, and what its gradient needs."""
    k = x.shape[0]
    total = FLOAT(0)  # maml.lee:38
    saved_maml_step = [None] * k
    for i in range(k):
        total, saved_maml_step[i] = maml_step_saved(net, total, x[i], y[i], xq[i], yq[i], rate, steps)
    return total / k, saved_maml_step  # maml.lee:41


def maml_backward(x, xq, rate, saved_maml_step, net_sizes_1, net_sizes_2, net_sizes_3, steps, d_out):
    """From d_add_3_rows_rows, d_mul_rows_rows, d_add_2_rows_rows, d_add_rows_rows and d_out to the gradients by net, x, y, xq and yq."""
    k, n, net_sizes_0 = x.shape
    m = xq.shape[1]
    # gradient of return total / k   maml.lee:41
    d_total_3 = d_out / k
    # gradient of for i in k:   maml.lee:38
    d_net = {
        "layers.0": {"w": np.zeros((net_sizes_0, net_sizes_1), dtype=FLOAT)},
        "layers.1": {"w": np.zeros((net_sizes_1, net_sizes_2), dtype=FLOAT)},
        "layers.2": {"w": np.zeros((net_sizes_2, net_sizes_3), dtype=FLOAT)},
    }
    d_x = np.empty((k, n, net_sizes_0), dtype=FLOAT)  # [k, n, net.sizes_0]
    d_y = np.empty((k, n, net_sizes_3), dtype=FLOAT)  # [k, n, net.sizes_3]
    d_xq = np.empty((k, m, net_sizes_0), dtype=FLOAT)  # [k, m, net.sizes_0]
    d_yq = np.empty((k, m, net_sizes_3), dtype=FLOAT)  # [k, m, net.sizes_3]
    d_net_layers_0_b_rows = np.empty((k, net_sizes_1), dtype=FLOAT)  # [k, net.sizes_1]
    d_net_layers_1_b_rows = np.empty((k, net_sizes_2), dtype=FLOAT)  # [k, net.sizes_2]
    d_net_layers_2_b_rows = np.empty((k, net_sizes_3), dtype=FLOAT)  # [k, net.sizes_3]
    for i in reversed(range(k)):
        (
            d_total_3,
            d_net,
            d_x[i],
            d_y[i],
            d_xq[i],
            d_yq[i],
            d_net_layers_0_b_rows[i],
            d_net_layers_1_b_rows[i],
            d_net_layers_2_b_rows[i],
        ) = maml_step_backward(x[i], xq[i], rate, saved_maml_step[i], steps, d_total_3, d_net)
    d_net_layers_0_b = d_net_layers_0_b_rows.sum(axis=0)  # [net.sizes_1]
    d_net_layers_1_b = d_net_layers_1_b_rows.sum(axis=0)  # [net.sizes_2]
    d_net_layers_2_b = d_net_layers_2_b_rows.sum(axis=0)  # [net.sizes_3]
    return (
        {
            "layers.0": {"w": d_net["layers.0"]["w"], "b": d_net_layers_0_b},
            "layers.1": {"w": d_net["layers.1"]["w"], "b": d_net_layers_1_b},
            "layers.2": {"w": d_net["layers.2"]["w"], "b": d_net_layers_2_b},
        },
        d_x,
        d_y,
        d_xq,
        d_yq,
    )


def maml_backward_parameters(x, xq, rate, saved_maml_step, net_sizes_1, net_sizes_2, net_sizes_3, steps, d_out):
    """From d_add_3_rows_rows, d_mul_rows_rows, d_add_2_rows_rows and d_out to the gradient by net."""
    k, _, net_sizes_0 = x.shape
    # gradient of return total / k   maml.lee:41
    d_total_3 = d_out / k
    # gradient of for i in k:   maml.lee:38
    d_net = {
        "layers.0": {"w": np.zeros((net_sizes_0, net_sizes_1), dtype=FLOAT)},
        "layers.1": {"w": np.zeros((net_sizes_1, net_sizes_2), dtype=FLOAT)},
        "layers.2": {"w": np.zeros((net_sizes_2, net_sizes_3), dtype=FLOAT)},
    }
    d_net_layers_0_b_rows = np.empty((k, net_sizes_1), dtype=FLOAT)  # [k, net.sizes_1]
    d_net_layers_1_b_rows = np.empty((k, net_sizes_2), dtype=FLOAT)  # [k, net.sizes_2]
    d_net_layers_2_b_rows = np.empty((k, net_sizes_3), dtype=FLOAT)  # [k, net.sizes_3]
    for i in reversed(range(k)):
        d_total_3, d_net, d_net_layers_0_b_rows[i], d_net_layers_1_b_rows[i], d_net_layers_2_b_rows[i] = (
            maml_step_backward_2(x[i], xq[i], rate, saved_maml_step[i], steps, d_total_3, d_net)
        )
    d_net_layers_0_b = d_net_layers_0_b_rows.sum(axis=0)  # [net.sizes_1]
    d_net_layers_1_b = d_net_layers_1_b_rows.sum(axis=0)  # [net.sizes_2]
    d_net_layers_2_b = d_net_layers_2_b_rows.sum(axis=0)  # [net.sizes_3]
    return {
        "layers.0": {"w": d_net["layers.0"]["w"], "b": d_net_layers_0_b},
        "layers.1": {"w": d_net["layers.1"]["w"], "b": d_net_layers_1_b},
        "layers.2": {"w": d_net["layers.2"]["w"], "b": d_net_layers_2_b},
    }


def maml_step(net, total, x_i, y_i, xq_i, yq_i, rate, steps):
    """x_i [n, net.sizes_0], y_i [n, net.sizes_3], xq_i [m, net.sizes_0], yq_i [m, net.sizes_3] -> []"""
    θ = adapted(net, x_i, y_i, rate=rate, steps=steps)  # maml.lee:39
    total_2 = total + mse(θ(xq_i), yq_i)  # maml.lee:40
    return total_2


def maml_step_saved(net, total, x_i, y_i, xq_i, yq_i, rate, steps):
    """As maml_step, and what its gradient needs."""
    θ, saved_adapted = adapted_saved(net, x_i, y_i, rate=rate, steps=steps)  # maml.lee:39
    add_3, saved_θ = θ.forward_saved(xq_i)  # maml.lee:40
    mean, saved_mse = mse_saved(add_3, yq_i)
    total_2 = total + mean
    return total_2, (θ, saved_adapted, saved_θ, saved_mse)


def maml_step_backward(x_i, xq_i, rate, saved, steps, d_total_2, d_net):
    """From d_add_3_rows, d_mul_rows, d_add_2_rows, d_add_rows, d_total_2 and d_net to the gradients by total, net, x_i, y_i, xq_i, yq_i, net.layers.0.b, net.layers.1.b and net.layers.2.b."""
    θ, saved_adapted, saved_θ, saved_mse = saved
    # gradient of total = total + mse(θ(xq[i]), yq[i])   maml.lee:40
    d_add_3, d_yq_i = mse_backward_2(saved_mse, d_total_2)
    d_θ, d_xq_i = θ.forward_backward(xq_i, saved_θ, d_add_3)
    # gradient of θ = adapted(net, x[i], y[i], rate, steps)   maml.lee:39
    d_net_, d_x_i, d_y_i = adapted_backward(x_i, rate, saved_adapted, steps, d_θ)
    return (
        d_total_2,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]},
            "layers.2": {"w": d_net["layers.2"]["w"] + d_net_["layers.2"]["w"]},
        },
        d_x_i,
        d_y_i,
        d_xq_i,
        d_yq_i,
        d_net_["layers.0"]["b"],
        d_net_["layers.1"]["b"],
        d_net_["layers.2"]["b"],
    )


def maml_step_backward_2(x_i, xq_i, rate, saved, steps, d_total_2, d_net):
    """From d_add_3_rows, d_mul_rows, d_add_2_rows, d_total_2 and d_net to the gradients by total, net, net.layers.0.b, net.layers.1.b and net.layers.2.b."""
    θ, saved_adapted, saved_θ, saved_mse = saved
    # gradient of total = total + mse(θ(xq[i]), yq[i])   maml.lee:40
    d_add_3 = mse_backward(saved_mse, d_total_2)  # [m, net.sizes_3]
    d_θ = θ.forward_backward_parameters(xq_i, saved_θ, d_add_3)
    # gradient of θ = adapted(net, x[i], y[i], rate, steps)   maml.lee:39
    d_net_ = adapted_backward_parameters(x_i, rate, saved_adapted, steps, d_θ)
    return (
        d_total_2,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]},
            "layers.2": {"w": d_net["layers.2"]["w"] + d_net_["layers.2"]["w"]},
        },
        d_net_["layers.0"]["b"],
        d_net_["layers.1"]["b"],
        d_net_["layers.2"]["b"],
    )


def first_order_saved(net, x, y, xq, yq, rate=0.01):
    """As first_order, and what its gradient needs."""
    k = x.shape[0]
    total = FLOAT(0)  # maml.lee:47
    saved_first_order_step = [None] * k
    for i in range(k):
        total, saved_first_order_step[i] = first_order_step_saved(net, total, x[i], y[i], xq[i], yq[i], rate)
    return total / k, saved_first_order_step  # maml.lee:50


def first_order_backward(xq, saved_first_order_step, n, net_sizes_1, net_sizes_2, net_sizes_3, d_div):
    """From d_div to the gradients by net, xq and yq."""
    k, m, net_sizes_0 = xq.shape
    # gradient of return total / k   maml.lee:50
    d_total_3 = d_div / k
    # gradient of for i in k:   maml.lee:47
    d_net = {
        "layers.0": {"w": np.zeros((net_sizes_0, net_sizes_1), dtype=FLOAT)},
        "layers.1": {"w": np.zeros((net_sizes_1, net_sizes_2), dtype=FLOAT)},
        "layers.2": {"w": np.zeros((net_sizes_2, net_sizes_3), dtype=FLOAT)},
    }
    d_xq = np.empty((k, m, net_sizes_0), dtype=FLOAT)  # [k, m, net.sizes_0]
    d_yq = np.empty((k, m, net_sizes_3), dtype=FLOAT)  # [k, m, net.sizes_3]
    d_net_layers_0_b_rows = np.empty((k, net_sizes_1), dtype=FLOAT)  # [k, net.sizes_1]
    d_net_layers_1_b_rows = np.empty((k, net_sizes_2), dtype=FLOAT)  # [k, net.sizes_2]
    d_net_layers_2_b_rows = np.empty((k, net_sizes_3), dtype=FLOAT)  # [k, net.sizes_3]
    for i in reversed(range(k)):
        (
            d_total_3,
            d_net,
            d_xq[i],
            d_yq[i],
            d_net_layers_0_b_rows[i],
            d_net_layers_1_b_rows[i],
            d_net_layers_2_b_rows[i],
        ) = first_order_step_backward(xq[i], saved_first_order_step[i], d_total_3, d_net)
    d_net_layers_0_b = d_net_layers_0_b_rows.sum(axis=0)  # [net.sizes_1]
    d_net_layers_1_b = d_net_layers_1_b_rows.sum(axis=0)  # [net.sizes_2]
    d_net_layers_2_b = d_net_layers_2_b_rows.sum(axis=0)  # [net.sizes_3]
    return (
        {
            "layers.0": {"w": d_net["layers.0"]["w"], "b": d_net_layers_0_b},
            "layers.1": {"w": d_net["layers.1"]["w"], "b": d_net_layers_1_b},
            "layers.2": {"w": d_net["layers.2"]["w"], "b": d_net_layers_2_b},
        },
        d_xq,
        d_yq,
    )


def first_order_backward_parameters(xq, saved_first_order_step, n, net_sizes_1, net_sizes_2, net_sizes_3, d_div):
    """From d_div to the gradient by net."""
    k, _, net_sizes_0 = xq.shape
    # gradient of return total / k   maml.lee:50
    d_total_3 = d_div / k
    # gradient of for i in k:   maml.lee:47
    d_net = {
        "layers.0": {"w": np.zeros((net_sizes_0, net_sizes_1), dtype=FLOAT)},
        "layers.1": {"w": np.zeros((net_sizes_1, net_sizes_2), dtype=FLOAT)},
        "layers.2": {"w": np.zeros((net_sizes_2, net_sizes_3), dtype=FLOAT)},
    }
    d_net_layers_0_b_rows = np.empty((k, net_sizes_1), dtype=FLOAT)  # [k, net.sizes_1]
    d_net_layers_1_b_rows = np.empty((k, net_sizes_2), dtype=FLOAT)  # [k, net.sizes_2]
    d_net_layers_2_b_rows = np.empty((k, net_sizes_3), dtype=FLOAT)  # [k, net.sizes_3]
    for i in reversed(range(k)):
        d_total_3, d_net, d_net_layers_0_b_rows[i], d_net_layers_1_b_rows[i], d_net_layers_2_b_rows[i] = (
            first_order_step_backward_2(xq[i], saved_first_order_step[i], d_total_3, d_net)
        )
    d_net_layers_0_b = d_net_layers_0_b_rows.sum(axis=0)  # [net.sizes_1]
    d_net_layers_1_b = d_net_layers_1_b_rows.sum(axis=0)  # [net.sizes_2]
    d_net_layers_2_b = d_net_layers_2_b_rows.sum(axis=0)  # [net.sizes_3]
    return {
        "layers.0": {"w": d_net["layers.0"]["w"], "b": d_net_layers_0_b},
        "layers.1": {"w": d_net["layers.1"]["w"], "b": d_net_layers_1_b},
        "layers.2": {"w": d_net["layers.2"]["w"], "b": d_net_layers_2_b},
    }


def first_order_step_saved(net, total, x_i, y_i, xq_i, yq_i, rate):
    """As first_order_step, and what its gradient needs."""
    add_3, saved_net = net.forward_saved(x_i)  # maml.lee:48
    _, saved_mse = mse_saved(add_3, y_i)
    d_add_3 = mse_backward(saved_mse, FLOAT(1.0))  # [n, net.sizes_3]
    d_net = net.forward_backward_parameters(x_i, saved_net, d_add_3)
    mlp = stop(net.at({"layers.0": d_net["layers.0"], "layers.1": d_net["layers.1"], "layers.2": d_net["layers.2"]}))
    θ_layers_0_w = net.layers[0].w - rate * mlp.layers[0].w  # [net.sizes_0, net.sizes_1]
    θ_layers_1_w = net.layers[1].w - rate * mlp.layers[1].w  # [net.sizes_1, net.sizes_2]
    θ_layers_2_w = net.layers[2].w - rate * mlp.layers[2].w  # [net.sizes_2, net.sizes_3]
    θ = net.at(
        {
            "layers.0": {"w": θ_layers_0_w, "b": net.layers[0].b - rate * mlp.layers[0].b},
            "layers.1": {"w": θ_layers_1_w, "b": net.layers[1].b - rate * mlp.layers[1].b},
            "layers.2": {"w": θ_layers_2_w, "b": net.layers[2].b - rate * mlp.layers[2].b},
        }
    )
    add_3_2, saved_θ = θ.forward_saved(xq_i)  # maml.lee:49
    mean_2, saved_mse_ = mse_saved(add_3_2, yq_i)
    total_2 = total + mean_2
    return total_2, (θ, saved_θ, saved_mse_)


def first_order_step_backward(xq_i, saved, d_total_2, d_net):
    """From d_total_2 and d_net to the gradients by total, net, xq_i, yq_i, net.layers.0.b, net.layers.1.b and net.layers.2.b."""
    θ, saved_θ, saved_mse_ = saved
    # gradient of total = total + mse(θ(xq[i]), yq[i])   maml.lee:49
    d_add_3_2, d_yq_i = mse_backward_2(saved_mse_, d_total_2)
    d_θ, d_xq_i = θ.forward_backward(xq_i, saved_θ, d_add_3_2)
    return (
        d_total_2,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_θ["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_θ["layers.1"]["w"]},
            "layers.2": {"w": d_net["layers.2"]["w"] + d_θ["layers.2"]["w"]},
        },
        d_xq_i,
        d_yq_i,
        d_θ["layers.0"]["b"],
        d_θ["layers.1"]["b"],
        d_θ["layers.2"]["b"],
    )


def first_order_step_backward_2(xq_i, saved, d_total_2, d_net):
    """From d_total_2 and d_net to the gradients by total, net, net.layers.0.b, net.layers.1.b and net.layers.2.b."""
    θ, saved_θ, saved_mse_ = saved
    # gradient of total = total + mse(θ(xq[i]), yq[i])   maml.lee:49
    d_add_3_2 = mse_backward(saved_mse_, d_total_2)  # [m, net.sizes_3]
    d_θ = θ.forward_backward_parameters(xq_i, saved_θ, d_add_3_2)
    return (
        d_total_2,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_θ["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_θ["layers.1"]["w"]},
            "layers.2": {"w": d_net["layers.2"]["w"] + d_θ["layers.2"]["w"]},
        },
        d_θ["layers.0"]["b"],
        d_θ["layers.1"]["b"],
        d_θ["layers.2"]["b"],
    )


def sinusoids(rounds=2000, k=4, shots=10, rate=0.01, *, run=None):
    """What one step on ten points leaves of the error on tasks never met."""
    from leec.runtime.run import Run

    run = run or Run("sinusoids")
    net = MLP(sizes=(1, 40, 40, 1), key=run.key("net"))  # maml.lee:58
    opt = Adam(lr=2e-3)  # maml.lee:59
    for round_ in run.loop("round", 1, rounds, net=net, opt=opt):
        run.step(sinusoids_step(net, opt, rate, k, shots, key=run.key("sinusoids")))  # maml.lee:61
    x, xq, y, yq = sinusoids_x_xq_y_yq(shots, key=run.key("sinusoids"))  # maml.lee:63
    reported_before, reported_after = sinusoids_before_after(net, x, y, xq, yq, rate)  # maml.lee:64
    run.report(before=reported_before, after=reported_after)  # maml.lee:64
    return net


def sinusoids_step(net, opt, rate, k, shots, key):
    """One step of sinusoids."""
    x_2, y_2, xq_2, yq_2 = waves(k, shots, fold(key, SITES["waves"]))  # maml.lee:61
    loss, saved_maml = maml_saved(net, x_2, y_2, xq_2, yq_2, rate=rate)  # maml.lee:62
    d_loss = FLOAT(1.0)
    d_net = maml_backward_parameters(x_2, xq_2, rate, saved_maml, 40, 40, 1, 1, d_loss)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def sinusoids_x_xq_y_yq(shots, key):
    x_2, y_2, xq_2, yq_2 = waves(100, shots, fold(key, SITES["waves#2"]))  # maml.lee:63
    return x_2, xq_2, y_2, yq_2


def sinusoids_before_after(net, x, y, xq, yq, rate):
    """x [100, shots, 1], y [100, shots, 1], xq [100, shots, 1], yq [100, shots, 1] -> [], []"""
    return maml(net, x, y, xq, yq, rate=0.0), maml(net, x, y, xq, yq, rate=rate)  # maml.lee:64


def sinusoids_first_order(rounds=2000, k=4, shots=10, rate=0.01, *, run=None):
    """The same without second derivatives."""
    from leec.runtime.run import Run

    run = run or Run("sinusoids_first_order")
    net = MLP(sizes=(1, 40, 40, 1), key=run.key("net"))  # maml.lee:70
    opt = Adam(lr=2e-3)  # maml.lee:71
    for round_ in run.loop("round", 1, rounds, net=net, opt=opt):
        run.step(sinusoids_first_order_step(net, opt, rate, k, shots, key=run.key("sinusoids_first_order")))
    x, xq, y, yq = sinusoids_first_order_x_xq_y_yq(shots, key=run.key("sinusoids_first_order"))  # maml.lee:75
    reported_before, reported_after = sinusoids_first_order_before_after(net, x, y, xq, yq, rate)  # maml.lee:76
    run.report(before=reported_before, after=reported_after)  # maml.lee:76
    return net


def sinusoids_first_order_step(net, opt, rate, k, shots, key):
    """One step of sinusoids_first_order."""
    x_2, y_2, xq_2, yq_2 = waves(k, shots, fold(key, SITES["waves"]))  # maml.lee:73
    loss, saved_first_order = first_order_saved(net, x_2, y_2, xq_2, yq_2, rate=rate)  # maml.lee:74
    d_loss = FLOAT(1.0)
    d_net = first_order_backward_parameters(xq_2, saved_first_order, shots, 40, 40, 1, d_loss)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def sinusoids_first_order_x_xq_y_yq(shots, key):
    x_2, y_2, xq_2, yq_2 = waves(100, shots, fold(key, SITES["waves#2"]))  # maml.lee:75
    return x_2, xq_2, y_2, yq_2


def sinusoids_first_order_before_after(net, x, y, xq, yq, rate):
    """x [100, shots, 1], y [100, shots, 1], xq [100, shots, 1], yq [100, shots, 1] -> [], []"""
    return maml(net, x, y, xq, yq, rate=0.0), maml(net, x, y, xq, yq, rate=rate)  # maml.lee:76


def reptile(rounds=4000, shots=10, rate=0.02, steps=8, outer=0.1, *, run=None):
    """φ ← φ + ε (θ - φ): the start moves towards where the steps of a task lead (Nichol et al. 2018)."""
    from leec.runtime.run import Run

    run = run or Run("reptile")
    net = MLP(sizes=(1, 40, 40, 1), key=run.key("net"))  # maml.lee:82
    for round_ in run.loop("round", 1, rounds, net=net):
        reptile_net(net, rate, outer, shots, steps, key=run.key("reptile"))  # maml.lee:84
    x, xq, y, yq = reptile_x_xq_y_yq(shots, key=run.key("reptile"))  # maml.lee:87
    reported_before, reported_after = reptile_before_after(net, x, y, xq, yq, rate, steps)  # maml.lee:88
    run.report(before=reported_before, after=reported_after)  # maml.lee:88
    return net


def reptile_net(net, rate, outer, shots, steps, key):
    x_2, y_2, _, _ = waves(1, shots, fold(key, SITES["waves"]))  # maml.lee:84
    reshape = x_2.reshape(shots, 1)  # [shots, 1]  maml.lee:85
    θ = adapted(net, reshape, y_2.reshape(shots, 1), rate=rate, steps=steps)
    net.layers[0].w += outer * (θ.layers[0].w - net.layers[0].w)  # [1, 40]  maml.lee:86
    net.layers[0].b += outer * (θ.layers[0].b - net.layers[0].b)  # [40]
    net.layers[1].w += outer * (θ.layers[1].w - net.layers[1].w)  # [40, 40]
    net.layers[1].b += outer * (θ.layers[1].b - net.layers[1].b)  # [40]
    net.layers[2].w += outer * (θ.layers[2].w - net.layers[2].w)  # [40, 1]
    net.layers[2].b += outer * (θ.layers[2].b - net.layers[2].b)  # [1]


def reptile_x_xq_y_yq(shots, key):
    x_2, y_2, xq_2, yq_2 = waves(100, shots, fold(key, SITES["waves#2"]))  # maml.lee:87
    return x_2, xq_2, y_2, yq_2


def reptile_before_after(net, x, y, xq, yq, rate, steps):
    """x [100, shots, 1], y [100, shots, 1], xq [100, shots, 1], yq [100, shots, 1] -> [], []"""
    return maml(net, x, y, xq, yq, rate=0.0), maml(net, x, y, xq, yq, rate=rate, steps=steps)  # maml.lee:88


def example_one_step(key):
    net = MLP((1, 4, 4, 1), key=fold(key, SITES["net"]))  # maml.lee:96
    x = normal(fold(key, SITES["x"]), (2, 3, 1), FLOAT)  # [2, 3, 1]  maml.lee:97
    y = normal(fold(key, SITES["y"]), (2, 3, 1), FLOAT)  # [2, 3, 1]  maml.lee:98
    xq = normal(fold(key, SITES["xq"]), (2, 5, 1), FLOAT)  # [2, 5, 1]  maml.lee:99
    yq = normal(fold(key, SITES["yq"]), (2, 5, 1), FLOAT)  # [2, 5, 1]  maml.lee:100
    value, saved_maml = maml_saved(net, x, y, xq, yq)  # maml.lee:101
    d_net, d_x, d_y, d_xq, d_yq = maml_backward(x, xq, 0.01, saved_maml, 4, 4, 1, 1, FLOAT(1.0))
    return value, net.at(d_net), d_x, d_y, d_xq, d_yq


def example_three_steps(key):
    net = MLP((1, 4, 4, 1), key=fold(key, SITES["net"]))  # maml.lee:105
    x = normal(fold(key, SITES["x"]), (2, 3, 1), FLOAT)  # [2, 3, 1]  maml.lee:106
    y = normal(fold(key, SITES["y"]), (2, 3, 1), FLOAT)  # [2, 3, 1]  maml.lee:107
    xq = normal(fold(key, SITES["xq"]), (2, 5, 1), FLOAT)  # [2, 5, 1]  maml.lee:108
    yq = normal(fold(key, SITES["yq"]), (2, 5, 1), FLOAT)  # [2, 5, 1]  maml.lee:109
    value, saved_maml = maml_saved(net, x, y, xq, yq, rate=0.1, steps=3)  # maml.lee:110
    d_net, d_x, d_y, d_xq, d_yq = maml_backward(x, xq, 0.1, saved_maml, 4, 4, 1, 3, FLOAT(1.0))
    return value, net.at(d_net), d_x, d_y, d_xq, d_yq


def example_without_second_derivatives(key):
    net = MLP((1, 4, 4, 1), key=fold(key, SITES["net"]))  # maml.lee:114
    x = normal(fold(key, SITES["x"]), (2, 3, 1), FLOAT)  # [2, 3, 1]  maml.lee:115
    y = normal(fold(key, SITES["y"]), (2, 3, 1), FLOAT)  # [2, 3, 1]  maml.lee:116
    xq = normal(fold(key, SITES["xq"]), (2, 5, 1), FLOAT)  # [2, 5, 1]  maml.lee:117
    yq = normal(fold(key, SITES["yq"]), (2, 5, 1), FLOAT)  # [2, 5, 1]  maml.lee:118
    value, saved_first_order = first_order_saved(net, x, y, xq, yq)  # maml.lee:119
    d_net, d_xq, d_yq = first_order_backward(xq, saved_first_order, 3, 4, 4, 1, FLOAT(1.0))
    d_x = np.zeros((2, 3, 1), dtype=FLOAT)  # [2, 3, 1]
    return value, net.at(d_net), d_x, d_x, d_xq, d_yq


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def mse(y, target):
    """mean (y - target)²

    y [y_0, y_1], target [y_0, y_1] -> []
    """
    sub = y - target  # [y_0, y_1]  losses.lee:13
    return reduced(sub**2)


def mse_saved(y, target):
    """As mse, and what its gradient needs."""
    sub = y - target  # [y_0, y_1]  losses.lee:13
    return reduced(sub**2), sub


def mse_backward(sub, d_out):
    """From d_out to the gradient by y."""
    y_0, y_1 = sub.shape
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_y = 2 * (reduced_backward(y_0, y_1, d_out) * sub)  # [y_0, y_1]
    return d_y  # [y_0, y_1]


def mse_backward_saved(sub, d_out):
    """From d_out to the gradients by y and mul."""
    y_0, y_1 = sub.shape
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_mul = reduced_backward(y_0, y_1, d_out)  # [y_0, y_1]
    d_y = 2 * (d_mul * sub)  # [y_0, y_1]
    return d_y, d_mul


def mse_backward_backward(d_mul, d_d_y):
    """From d_mul and d_d_y to the gradient by sub."""
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    return 2 * (d_d_y * d_mul)  # [y_0, y_1]


def mse_backward_2(sub, d_out):
    """From d_out to the gradients by y and target."""
    y_0, y_1 = sub.shape
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_y = 2 * (reduced_backward(y_0, y_1, d_out) * sub)  # [y_0, y_1]
    d_target = -d_y  # [y_0, y_1]
    return d_y, d_target


def mse_saved_backward(d_sub):
    """From d_sub to the gradients by y and target."""
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_target = -d_sub  # [y_0, y_1]
    return d_sub, d_target


def mse_saved_backward_2(d_sub):
    """From d_sub to the gradient by y."""
    return d_sub  # [y_0, y_1]


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0, each_1] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_backward(each_0, each_1, d_y):
    """From d_y to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = np.broadcast_to(d_y / (each_0 * each_1), (each_0, each_1))  # [each_0, each_1]
    return d_each  # [each_0, each_1]


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

    def forward_backward_backward(self, x, d_add, d_d_self, d_d_x):
        """From d_add, d_d_self and d_d_x to the gradients by the parameters, x and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_add @ d_d_self["w"].T  # [rows, inputs]
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        d_d_add = x @ d_d_self["w"] + d_d_x @ self.w + d_d_self["b"]  # [rows, outputs]
        return {"w": d_w}, d_x, d_d_add

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}

    @staticmethod
    def forward_backward_parameters_backward(x, d_add, d_d_self):
        """From d_add and d_d_self to the gradients by x and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_add = x @ d_d_self["w"] + d_d_self["b"]  # [rows, outputs]
        return d_x, d_d_add

    @staticmethod
    def forward_backward_parameters_backward_2(x, d_d_self):
        """From d_d_self to the gradient by d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_add = x @ d_d_self["w"] + d_d_self["b"]  # [rows, outputs]
        return d_d_add  # [rows, outputs]


class MLP(Model):
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

    def forward_backward_parameters_saved(self, x, saved, d_y):
        """From d_y to the gradients by the parameters, add_2 and add."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_2_, d_x_3 = self.layers[2].forward_backward(x_3, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add_2, saved_relu_backward = relu_backward_saved(x_3, d_x_3)
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_add_2)
        d_add, saved_relu_backward_ = relu_backward_saved(x_2, d_x_2)
        d_layers_0 = Linear.forward_backward_parameters(x, d_add)
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_, "layers.2": d_layers_2_}, (
            d_add_2,
            saved_relu_backward,
            d_add,
            saved_relu_backward_,
        )

    def forward_backward_parameters_backward(self, x, x_2, x_3, d_add_3, saved, d_d_self):
        """From d_add_3, d_add_2, d_add and d_d_self to the gradients by the parameters, x, x_2, x_3 and d_add_3."""
        d_add_2, saved_relu_backward, d_add, saved_relu_backward_ = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x, d_d_add = Linear.forward_backward_parameters_backward(x, d_add, d_d_self["layers.0"])
        d_d_x_2 = relu_backward_backward(saved_relu_backward_, d_d_add)  # [x_0, sizes_1]
        d_layers_1_, d_x_2, d_d_add_2 = self.layers[1].forward_backward_backward(
            x_2, d_add_2, d_d_self["layers.1"], d_d_x_2
        )
        d_d_x_3 = relu_backward_backward(saved_relu_backward, d_d_add_2)  # [x_0, sizes_2]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_2_, d_x_3, d_d_add_3 = self.layers[2].forward_backward_backward(
            x_3, d_add_3, d_d_self["layers.2"], d_d_x_3
        )
        return {"layers.1": d_layers_1_, "layers.2": d_layers_2_}, d_x, d_x_2, d_x_3, d_d_add_3

    def forward_backward_parameters_backward_2(self, x, x_2, x_3, d_add_3, saved, d_d_self):
        """From d_add_3, d_add_2 and d_d_self to the gradients by the parameters, x_2, x_3 and d_add_3."""
        d_add_2, saved_relu_backward, _, saved_relu_backward_ = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_add = Linear.forward_backward_parameters_backward_2(x, d_d_self["layers.0"])  # [x_0, sizes_1]
        d_d_x_2 = relu_backward_backward(saved_relu_backward_, d_d_add)  # [x_0, sizes_1]
        d_layers_1_, d_x_2, d_d_add_2 = self.layers[1].forward_backward_backward(
            x_2, d_add_2, d_d_self["layers.1"], d_d_x_2
        )
        d_d_x_3 = relu_backward_backward(saved_relu_backward, d_d_add_2)  # [x_0, sizes_2]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_2_, d_x_3, d_d_add_3 = self.layers[2].forward_backward_backward(
            x_3, d_add_3, d_d_self["layers.2"], d_d_x_3
        )
        return {"layers.1": d_layers_1_, "layers.2": d_layers_2_}, d_x_2, d_x_3, d_d_add_3

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_2_, d_x_3 = self.layers[2].forward_backward(x_3, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, relu_backward(x_3, d_x_3))
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_, "layers.2": d_layers_2_}, d_x

    def forward_saved_backward(self, x, saved, d_y, d_x_2, d_x_3):
        """From d_y, d_x_2 and d_x_3 to the gradients by the parameters and x."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_2_, d_x_3_3 = self.layers[2].forward_backward(x_3, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_3_2 = d_x_3 + d_x_3_3  # [x_0, sizes_2]
        d_layers_1_, d_x_2_3 = self.layers[1].forward_backward(x_2, relu_backward(x_3, d_x_3_2))
        d_x_2_2 = d_x_2 + d_x_2_3  # [x_0, sizes_1]
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_, "layers.2": d_layers_2_}, d_x

    def forward_saved_backward_parameters(self, x, saved, d_y, d_x_2, d_x_3):
        """From d_y, d_x_2 and d_x_3 to the gradient by the parameters."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_2_, d_x_3_3 = self.layers[2].forward_backward(x_3, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_3_2 = d_x_3 + d_x_3_3  # [x_0, sizes_2]
        d_layers_1_, d_x_2_3 = self.layers[1].forward_backward(x_2, relu_backward(x_3, d_x_3_2))
        d_x_2_2 = d_x_2 + d_x_2_3  # [x_0, sizes_1]
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_, "layers.2": d_layers_2_}


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


def stop(x):
    """x, through which no gradient flows."""
    return x.copy()


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


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "height": 0xE9B3E26F5E5B60D2,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "layers.2": 0xA380C36DF3DD4243,
    "net": 0xF087C76970C91612,
    "phase": 0x6E5F3F2B4A3AE449,
    "w": 0x20925082A2286B9E,
    "waves": 0x4E533FAC2E5E42B3,
    "waves#2": 0x9F705E32ABAC9197,
    "x": 0x4F586EF96743DF4A,
    "xq": 0x67AAA7006A5CA0EE,
    "y": 0x5FA69583C58CA30F,
    "yq": 0x76AA16112774E493,
}


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


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)
