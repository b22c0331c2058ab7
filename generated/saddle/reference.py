"""Is a critical point a minimum or a saddle (inventory S1, S3)? If a saddle, which way is down?

Where the slope is 0, the eigenvalues of the Hessian say it: one below 0, and along its vector the loss falls.

Made from specs/analysis/saddle.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/analysis/saddle.lee
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


class Twice(Model):
    """Two linear layers: with all weights 0 none of them has a slope, and yet it is no minimum."""

    members = ("first", "second")

    def __init__(self, inputs, hidden, outputs, *, key=(0, 0)):
        self.inputs, self.hidden, self.outputs = inputs, hidden, outputs
        self.first = Linear_2(inputs, hidden, key=fold(key, SITES["first"]))  # saddle.lee:15
        self.second = Linear(hidden, outputs, key=fold(key, SITES["second"]))  # saddle.lee:16
        self.lay_out()

    def forward(self, x):
        """x [n, inputs] -> [n, outputs]"""
        return self.second(self.first(x))  # [n, outputs]  saddle.lee:19

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        first_out = self.first(x)  # [n, hidden]  saddle.lee:19
        return self.second(first_out), first_out

    def forward_backward(self, x, first_out, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return second(first(x))   saddle.lee:19
        d_second, d_first_out = self.second.forward_backward(first_out, d_y)
        d_first, d_x = self.first.forward_backward(x, d_first_out)
        return {"first": d_first, "second": d_second}, d_x

    def forward_backward_parameters(self, x, first_out, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return second(first(x))   saddle.lee:19
        d_second, d_first_out = self.second.forward_backward(first_out, d_y)
        d_first = Linear_2.forward_backward_parameters(x, d_first_out)
        return {"first": d_first, "second": d_second}

    def forward_backward_parameters_backward(self, x, first_out, d_add, d_d_self):
        """From d_add and d_d_self to the gradients by the parameters, first_out and d_add."""
        # gradient of return second(first(x))   saddle.lee:19
        d_d_first_out = Linear_2.forward_backward_parameters_backward(x, d_d_self["first"])  # [n, hidden]
        d_second, d_first_out, d_d_add = self.second.forward_backward_backward(
            first_out, d_add, d_d_self["second"], d_d_first_out
        )
        return {"second": d_second}, d_first_out, d_d_add

    def forward_saved_backward_parameters(self, x, first_out, d_add, d_first_out):
        """From d_add and d_first_out to the gradient by the parameters."""
        # gradient of return second(first(x))   saddle.lee:19
        d_second, d_first_out_3 = self.second.forward_backward(first_out, d_add)
        d_first = Linear_2.forward_backward_parameters(x, d_first_out + d_first_out_3)
        return {"first": d_first, "second": d_second}


def inspect(net, x, y, step=0.1, slack=1e-3, *, run=None):
    """At a saddle, a step along the eigenvector of the least eigenvalue, to the side that is lower."""
    from leec.runtime.run import Run

    run = run or Run("inspect")
    net = net.copy()  # saddle.lee:22
    g = net.copy()  # saddle.lee:25
    error, values, vectors, negative = inspect_error_g_values_vectors_negative(net, x, y, slack, g)  # saddle.lee:24
    reported_slope, reported_ratio = inspect_slope_ratio(g, values, slack)  # saddle.lee:29
    run.report(error=error, slope=reported_slope, negative=negative, ratio=reported_ratio)  # saddle.lee:29
    condition = inspect_condition(g, slack, negative)  # saddle.lee:30
    if condition:
        there = net.copy()  # saddle.lee:32
        back = net.copy()  # saddle.lee:33
        inspect_there_back(vectors, net, step, there, back)  # saddle.lee:31
        reported_there, reported_back = inspect_there_back_2(there, x, y, back)  # saddle.lee:34
        run.report(there=reported_there, back=reported_back)  # saddle.lee:34
        condition_2 = inspect_condition_2(there, x, y, back)  # saddle.lee:35
        if condition_2:
            inspect_net(net, there)  # saddle.lee:36
        else:
            inspect_net_2(net, back)  # saddle.lee:38
    return net


def inspect_error_g_values_vectors_negative(net, x, y, slack, g):
    """x [x_n, 4], y int[y_n] -> [], [24], [24, 24], []"""
    x_n = x.shape[0]
    y_n = y.shape[0]
    if x_n != y_n:
        raise ValueError(f"saddle.lee:24: x_n = {x_n} must equal y_n = {y_n}")
    add, saved_net = net.forward_saved(x)  # saddle.lee:24
    reshape = y.reshape(x_n)  # int[x_n]
    error = cross_entropy(add, reshape)
    d_add = cross_entropy_backward(add, reshape, FLOAT(1.0))  # [x_n, 3]
    d_net = net.forward_backward_parameters(x, saved_net, d_add)
    rows = np.empty((24, 24), dtype=FLOAT)  # [24, 24]  saddle.lee:26
    for row in range(24):
        rows[row] = run_step(net, x, reshape, row)
    values, vectors = eigh(rows)  # saddle.lee:27
    negative = (values < -slack).astype(np.int64).sum()  # saddle.lee:28
    g.first.w[...] = d_net["first"]["w"]  # [4, 3]  saddle.lee:25
    g.second.w[...] = d_net["second"]["w"]  # [3, 3]
    g.second.b[...] = d_net["second"]["b"]  # [3]
    return error, values, vectors, negative  # saddle.lee:28


def run_step(net, x, reshape, row):
    """x [x_n, 4], reshape int[x_n] -> [24]"""
    add_2, saved_net = net.forward_saved(x)  # saddle.lee:24
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, reshape, FLOAT(1.0))
    d_flatten = masked(np.ones(24, dtype=FLOAT), np.arange(24) == row)  # [24]  saddle.lee:26
    d_w_4, d_w_3_2, d_b_2 = unflatten(d_flatten, ((4, 3), (3, 3), (3,)))
    # saddle.lee:24
    d_net, d_first_out, d_d_add_2 = net.forward_backward_parameters_backward(
        x, saved_net, d_add_2, {"first": {"w": d_w_4}, "second": {"w": d_w_3_2, "b": d_b_2}}
    )
    d_add_2_2 = cross_entropy_backward_backward(saved_cross_entropy_backward, d_d_add_2)  # [x_n, 3]
    d_net_ = net.forward_saved_backward_parameters(x, saved_net, d_add_2_2, d_first_out)
    w_6 = d_net["second"]["w"] + d_net_["second"]["w"]  # [3, 3]
    rows = np.concatenate((d_net_["first"]["w"].ravel(), w_6.ravel(), d_net_["second"]["b"]))  # [24]  saddle.lee:26
    return rows  # [24]


def inspect_slope_ratio(g, values, slack):
    """values [24] -> [], []"""
    return norm_2(g), (values > slack).astype(FLOAT).mean()  # saddle.lee:29


def inspect_condition(g, slack, negative):
    condition = (norm_2(g) < slack) & (negative > 0)  # saddle.lee:30
    return condition


def inspect_there_back(vectors, net, step, there, back):
    way_first_w, way_second_w, way_second_b = unflatten(vectors[:, 0], ((4, 3), (3, 3), (3,)))  # saddle.lee:31
    mul = step * way_first_w  # [4, 3]  saddle.lee:32
    mul_2 = step * way_second_w  # [3, 3]
    mul_3 = step * way_second_b  # [3]
    there.first.w[...] = net.first.w + mul  # [4, 3]
    there.second.w[...] = net.second.w + mul_2  # [3, 3]
    there.second.b[...] = net.second.b + mul_3  # [3]
    back.first.w[...] = net.first.w - mul  # [4, 3]  saddle.lee:33
    back.second.w[...] = net.second.w - mul_2  # [3, 3]
    back.second.b[...] = net.second.b - mul_3  # [3]


def inspect_there_back_2(there, x, y, back):
    """x [x_n, 4], y int[y_n] -> [], []"""
    x_n = x.shape[0]
    y_n = y.shape[0]
    if x_n != y_n:
        raise ValueError(f"saddle.lee:34: x_n = {x_n} must equal y_n = {y_n}")
    reshape = y.reshape(x_n)  # int[x_n]  saddle.lee:34
    return cross_entropy(there(x), reshape), cross_entropy(back(x), reshape)


def inspect_condition_2(there, x, y, back):
    """x [x_n, 4], y int[y_n] -> []"""
    x_n = x.shape[0]
    y_n = y.shape[0]
    if x_n != y_n:
        raise ValueError(f"saddle.lee:35: x_n = {x_n} must equal y_n = {y_n}")
    reshape = y.reshape(x_n)  # int[x_n]  saddle.lee:35
    condition_2 = cross_entropy(there(x), reshape) < cross_entropy(back(x), reshape)
    return condition_2


def inspect_net(net, there):
    net.first.w[...] = there.first.w  # [4, 3]
    net.second.w[...] = there.second.w  # [3, 3]
    net.second.b[...] = there.second.b  # [3]


def inspect_net_2(net, back):
    net.first.w[...] = back.first.w  # [4, 3]
    net.second.w[...] = back.second.w  # [3, 3]
    net.second.b[...] = back.second.b  # [3]


def escape(steps=200, rate=0.5, *, run=None):
    """From weights that are all 0, where descent stands still for ever, over the edge and down."""
    from leec.runtime.run import Run

    run = run or Run("escape")
    data = run.data("iris", standardize=True, test=0.2, fields={"x": ("float", ("n", 4)), "y": ("int", ("n",))})
    net = Twice(inputs=4, hidden=3, outputs=3, key=run.key("net"))  # saddle.lee:45
    opt = SGD(lr=rate)  # saddle.lee:46
    escape_net(net)  # saddle.lee:47
    for step in run.loop("step", 1, steps, net=net, opt=opt):
        run.step(escape_step(net, opt, data.train.x, data.train.y))  # saddle.lee:49
    stuck = escape_stuck(net, data.train.x, data.train.y)  # saddle.lee:50
    net = inspect(net=net, x=data.train.x, y=data.train.y, run=run.call("inspect"))  # saddle.lee:51
    for step in run.loop("step_2", 1, steps, net=net, opt=opt):
        run.step(escape_step_2(net, opt, data.train.x, data.train.y))  # saddle.lee:53
    final = escape_final(net, data.train.x, data.train.y)  # saddle.lee:54
    run.report(stuck=stuck, final=final, accuracy=accuracy(net(data.test.x), data.test.y))  # saddle.lee:55
    return net


def escape_net(net):
    net.first.w[...] = 0 * net.first.w  # [4, 3]  saddle.lee:47
    net.second.w[...] = 0 * net.second.w  # [3, 3]
    net.second.b[...] = 0 * net.second.b  # [3]


def escape_step(net, opt, data_train_x, data_train_y):
    """One step of escape."""
    add, saved_net = net.forward_saved(data_train_x)  # saddle.lee:49
    d_add = cross_entropy_backward(add, data_train_y, FLOAT(1.0))  # [data_train_n, 3]
    d_net = net.forward_backward_parameters(data_train_x, saved_net, d_add)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add, data_train_y)


def escape_stuck(net, data_train_x, data_train_y):
    """data_train_x [data_train_n, 4], data_train_y int[data_train_n] -> []"""
    stuck = cross_entropy(net(data_train_x), data_train_y)  # saddle.lee:50
    return stuck


def escape_step_2(net, opt, data_train_x, data_train_y):
    """One step of escape."""
    add, saved_net = net.forward_saved(data_train_x)  # saddle.lee:53
    d_add = cross_entropy_backward(add, data_train_y, FLOAT(1.0))  # [data_train_n, 3]
    d_net = net.forward_backward_parameters(data_train_x, saved_net, d_add)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add, data_train_y)


def escape_final(net, data_train_x, data_train_y):
    """data_train_x [data_train_n, 4], data_train_y int[data_train_n] -> []"""
    final = cross_entropy(net(data_train_x), data_train_y)  # saddle.lee:54
    return final


def sharpest_saved(net, x, y, key, steps=50):
    """As sharpest, and what its gradient needs."""
    key_2 = fold(key, SITES["v"])  # saddle.lee:61
    # [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2]
    normal_ = normal(
        key_2, (net.sizes[0] * net.sizes[1] + net.sizes[1] * net.sizes[2] + net.sizes[1] + net.sizes[2],), FLOAT
    )
    unflatten_, unflatten_2, unflatten_3, unflatten_4 = unflatten(
        normal_, ((net.sizes[0], net.sizes[1]), (net.sizes[1],), (net.sizes[1], net.sizes[2]), (net.sizes[2],))
    )
    saved_sharpest_step = [None] * steps  # saddle.lee:62
    for s in range(steps):
        unflatten_, unflatten_2, unflatten_3, unflatten_4, saved_sharpest_step[s] = sharpest_step_saved(
            net, unflatten_, unflatten_2, unflatten_3, unflatten_4, x, y
        )
    v = net.at({"layers.0": {"w": unflatten_, "b": unflatten_2}, "layers.1": {"w": unflatten_3, "b": unflatten_4}})
    sqrt_2, saved_norm = norm_saved(v)  # saddle.lee:66
    return sqrt_2, (v, saved_sharpest_step, saved_norm)


def sharpest_backward(net, x, saved, sqrt_2, steps, d_sqrt_2):
    """From d_add_2_rows, d_slope_layers_0_w_rows, d_slope_layers_1_w_rows, d_d_x_2_rows, d_add_2_2_rows, d_sub_rows, d_add_rows and d_sqrt_2 to the gradients by net and x."""
    v, saved_sharpest_step, saved_norm = saved
    n = x.shape[0]
    # gradient of return norm(v)   saddle.lee:66
    d_v = norm_backward(v, saved_norm, sqrt_2, d_sqrt_2)
    # gradient of for s in steps:   saddle.lee:62
    d_x_later = np.zeros((n, net.sizes[0]), dtype=FLOAT)  # [n, net.sizes_0]
    d_v_layers_0_w_3 = d_v["layers.0"]["w"]
    d_v_layers_0_b_3 = d_v["layers.0"]["b"]
    d_v_layers_1_w_3 = d_v["layers.1"]["w"]
    d_v_layers_1_b_3 = d_v["layers.1"]["b"]
    d_net = {
        "layers.0": {"w": np.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT)},
        "layers.1": {"w": np.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT)},
    }
    d_net_layers_0_b_rows = np.empty((steps, net.sizes[1]), dtype=FLOAT)  # [steps, net.sizes_1]
    d_net_layers_1_b_rows = np.empty((steps, net.sizes[2]), dtype=FLOAT)  # [steps, net.sizes_2]
    for s in reversed(range(steps)):
        (
            d_v_layers_0_w_3,
            d_v_layers_0_b_3,
            d_v_layers_1_w_3,
            d_v_layers_1_b_3,
            d_net,
            d_x_later,
            d_net_layers_0_b_rows[s],
            d_net_layers_1_b_rows[s],
        ) = sharpest_step_backward(
            net,
            x,
            saved_sharpest_step[s],
            d_v_layers_0_w_3,
            d_v_layers_0_b_3,
            d_v_layers_1_w_3,
            d_v_layers_1_b_3,
            d_net,
            d_x_later,
        )
    d_net_layers_0_b = d_net_layers_0_b_rows.sum(axis=0)  # [net.sizes_1]
    d_net_layers_1_b = d_net_layers_1_b_rows.sum(axis=0)  # [net.sizes_2]
    return {
        "layers.0": {"w": d_net["layers.0"]["w"], "b": d_net_layers_0_b},
        "layers.1": {"w": d_net["layers.1"]["w"], "b": d_net_layers_1_b},
    }, d_x_later


def sharpest_step_saved(net, v_layers_0_w, v_layers_0_b, v_layers_1_w, v_layers_1_b, x, y):
    """As sharpest_step, and what its gradient needs."""
    v = net.at({"layers.0": {"w": v_layers_0_w, "b": v_layers_0_b}, "layers.1": {"w": v_layers_1_w, "b": v_layers_1_b}})
    sqrt = norm(v)  # saddle.lee:63
    add_2, saved_net = net.forward_saved(x)  # saddle.lee:64
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, y, FLOAT(1.0))
    _, saved_net_ = net.forward_backward_parameters_saved(x, saved_net, d_add_2)
    v_layers_0_w_2 = v_layers_0_w / sqrt  # [net.sizes_0, net.sizes_1]  saddle.lee:63
    v_layers_0_b_2 = v_layers_0_b / sqrt  # [net.sizes_1]
    v_layers_1_w_2 = v_layers_1_w / sqrt  # [net.sizes_1, net.sizes_2]
    v_layers_1_b_2 = v_layers_1_b / sqrt  # [net.sizes_2]
    # saddle.lee:65
    mlp = stop(
        net.at(
            {
                "layers.0": {"w": v_layers_0_w_2, "b": v_layers_0_b_2},
                "layers.1": {"w": v_layers_1_w_2, "b": v_layers_1_b_2},
            }
        )
    )
    d_slope = dot_backward(mlp, net.sizes[0], net.sizes[1], net.sizes[2], FLOAT(1.0))
    # saddle.lee:64
    d_net, d_x_2, d_d_add_2, saved_net_2 = net.forward_backward_parameters_backward_saved(
        x, saved_net, d_add_2, saved_net_, d_slope
    )
    d_add_2_2, saved_cross_entropy_backward_backward = cross_entropy_backward_backward_saved(
        saved_cross_entropy_backward, d_d_add_2
    )
    d_net_, saved_net_3 = net.forward_saved_backward_parameters_saved(x, saved_net, d_add_2_2, d_x_2)
    saved = (
        saved_net,
        d_add_2,
        saved_cross_entropy_backward,
        saved_net_,
        d_slope["layers.0"]["w"],
        d_slope["layers.1"]["w"],
        saved_net_2,
        d_add_2_2,
        saved_cross_entropy_backward_backward,
        saved_net_3,
    )
    return (
        d_net_["layers.0"]["w"],
        d_net_["layers.0"]["b"],
        d_net["layers.1"]["w"] + d_net_["layers.1"]["w"],
        d_net_["layers.1"]["b"],
        saved,
    )


def sharpest_step_backward(
    net, x, saved, d_v_layers_0_w_3, d_v_layers_0_b_3, d_v_layers_1_w_3, d_v_layers_1_b_3, d_net, d_x
):
    """From d_add_2, d_slope_layers_0_w, d_slope_layers_1_w, d_d_x_2, d_add_2_2, d_sub, d_add, d_v_layers_0_w_3, d_v_layers_0_b_3, d_v_layers_1_w_3, d_v_layers_1_b_3, d_net and d_x to the gradients by v.layers.0.w, v.layers.0.b, v.layers.1.w, v.layers.1.b, net, x, net.layers.0.b and net.layers.1.b."""
    saved_net, d_add_2, saved_cross_entropy_backward, saved_net_, d_slope_layers_0_w, d_slope_layers_1_w, saved_net_2, d_add_2_2, saved_cross_entropy_backward_backward, saved_net_3 = saved
    # gradient of slope = grad(cross_entropy(net(x), y), net)   saddle.lee:64
    d_net_, d_x_3, d_x_2_2, d_d_add_2_2, d_d_x_2_2 = net.forward_saved_backward_parameters_backward(
        x,
        saved_net,
        d_add_2_2,
        saved_net_3,
        {
            "layers.0": {"w": d_v_layers_0_w_3, "b": d_v_layers_0_b_3},
            "layers.1": {"w": d_v_layers_1_w_3, "b": d_v_layers_1_b_3},
        },
    )
    d_softmax, d_d_d_add_2 = cross_entropy_backward_backward_backward(
        saved_cross_entropy_backward[0],
        saved_cross_entropy_backward[1],
        saved_cross_entropy_backward_backward,
        d_d_add_2_2,
    )
    d_net_2, d_x_4, d_x_2_3, d_d_add_2 = net.forward_backward_parameters_backward_backward(
        {"layers.0": {"w": d_slope_layers_0_w}, "layers.1": {"w": d_slope_layers_1_w}},
        d_add_2,
        saved_net_,
        saved_net_2,
        {"layers.1": {"w": d_v_layers_1_w_3}},
        d_d_x_2_2,
        d_d_d_add_2,
    )
    # [n, net.sizes_2]
    d_add_2_3 = cross_entropy_backward_saved_backward(saved_cross_entropy_backward, d_d_add_2, d_softmax)
    d_x_2 = d_x_2_2 + d_x_2_3  # [n, net.sizes_1]
    d_net_3, d_x_5 = net.forward_saved_backward(x, saved_net, d_add_2_3, d_x_2)
    d_net_layers_1_w_5 = d_net_["layers.1"]["w"] + d_net_2["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w = d_net_layers_1_w_5 + d_net_3["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_v_layers_0_w = np.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT)  # [net.sizes_0, net.sizes_1]
    d_v_layers_0_b = np.zeros(net.sizes[1], dtype=FLOAT)  # [net.sizes_1]
    d_v_layers_1_w = np.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT)  # [net.sizes_1, net.sizes_2]
    d_v_layers_1_b = np.zeros(net.sizes[2], dtype=FLOAT)  # [net.sizes_2]
    d_x_ = d_x_3 + d_x_4 + d_x_5  # [n, net.sizes_0]
    return (
        d_v_layers_0_w,
        d_v_layers_0_b,
        d_v_layers_1_w,
        d_v_layers_1_b,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_3["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_layers_1_w},
        },
        d_x + d_x_,
        d_net_3["layers.0"]["b"],
        d_net_3["layers.1"]["b"],
    )


def example_sharp(key):
    net = MLP((3, 4, 3), key=fold(key, SITES["net"]))  # saddle.lee:70
    x = normal(fold(key, SITES["x"]), (8, 3), FLOAT)  # [8, 3]  saddle.lee:71
    y = randint(fold(key, SITES["y"]), (8,), 0, 3)  # int[8]  saddle.lee:72
    value, saved_sharpest = sharpest_saved(net, x, y, fold(key, SITES["sharpest"]), steps=5)  # saddle.lee:73
    d_net, d_x = sharpest_backward(net, x, saved_sharpest, value, 5, FLOAT(1.0))
    return value, net.at(d_net), d_x


def example_standing_still(key):
    net = Twice(3, 2, 3, key=fold(key, SITES["net"]))  # saddle.lee:77
    x = normal(fold(key, SITES["x"]), (8, 3), FLOAT)  # [8, 3]  saddle.lee:78
    y = randint(fold(key, SITES["y"]), (8,), 0, 3)  # int[8]  saddle.lee:79
    add, saved_net = net.forward_saved(x)  # saddle.lee:80
    d_add = cross_entropy_backward(add, y, FLOAT(1.0))  # [8, 3]
    d_net, d_x = net.forward_backward(x, saved_net, d_add)
    return cross_entropy(add, y), net.at(d_net), d_x


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


def cross_entropy_backward_backward_saved(saved, d_d_z):
    """From d_d_z to the gradients by z and sub."""
    softmax_, reshape_2 = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_sub = d_d_z * reshape_2  # [rows, k]
    sub = d_sub - (d_sub * softmax_).sum(axis=1, keepdims=True)  # [rows, k]
    d_z = softmax_ * sub  # [rows, k]
    return d_z, (d_sub, sub)


def cross_entropy_backward_backward_backward(softmax_, reshape_2, saved, d_d_z_2):
    """From d_sub and d_d_z_2 to the gradients by softmax and d_d_z."""
    d_sub, sub = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_sub_2 = d_d_z_2 * softmax_  # [rows, k]
    d_sum = -d_sub_2.sum(axis=1, keepdims=True)  # [rows, 1]
    d_d_d_z = (d_sub_2 + d_sum * softmax_) * reshape_2  # [rows, k]
    return d_d_z_2 * sub + d_sum * d_sub, d_d_d_z


def cross_entropy_backward_saved_backward(saved, d_d_z, d_softmax):
    """From d_d_z and d_softmax to the gradient by z."""
    softmax_, reshape_2 = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_softmax_2 = d_softmax + d_d_z * reshape_2  # [rows, k]
    sum_ = (d_softmax_2 * softmax_).sum(axis=1, keepdims=True)  # [rows, 1]
    d_z = softmax_ * (d_softmax_2 - sum_)  # [rows, k]
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

    def forward_backward_backward(self, x, d_add, d_d_self, d_d_x):
        """From d_add, d_d_self and d_d_x to the gradients by the parameters, x and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_add @ d_d_self["w"].T  # [rows, inputs]
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        d_d_add = x @ d_d_self["w"] + d_d_x @ self.w + d_d_self["b"]  # [rows, outputs]
        return {"w": d_w}, d_x, d_d_add

    def forward_backward_backward_backward(self, d_d_self, d_add, d_d_x, d_d_self_, d_d_x_2, d_d_d_add):
        """From d_d_self, d_add, d_d_x, d_d_self, d_d_x_2 and d_d_d_add to the gradients by the parameters, x, d_add and d_d_x."""
        # gradient of return x @ w + b   nn.lee:21
        d_w = d_d_x.T @ d_d_d_add  # [inputs, outputs]
        d_x = d_d_d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_add = d_d_x @ d_d_self_["w"] + d_d_x_2 @ d_d_self["w"]  # [rows, outputs]
        d_d_d_x = d_add @ d_d_self_["w"].T + d_d_d_add @ self.w.T  # [rows, inputs]
        return {"w": d_w}, d_x, d_d_add, d_d_d_x

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}

    @staticmethod
    def forward_backward_parameters_backward(x, d_d_self):
        """From d_d_self to the gradient by d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_add = x @ d_d_self["w"] + d_d_self["b"]  # [rows, outputs]
        return d_d_add  # [rows, outputs]

    @staticmethod
    def forward_backward_parameters_backward_backward_input(d_d_self, d_d_d_add):
        """From d_d_self and d_d_d_add to the gradient by x."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_d_d_add @ d_d_self["w"].T  # [rows, inputs]
        return d_x  # [rows, inputs]

    @staticmethod
    def forward_backward_parameters_backward_2(x, d_add, d_d_self):
        """From d_add and d_d_self to the gradients by x and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_add = x @ d_d_self["w"] + d_d_self["b"]  # [rows, outputs]
        return d_x, d_d_add


class Linear_2(Model):
    """x W + b"""

    members = ("w",)

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        self.inputs, self.outputs = inputs, outputs
        div, div_2 = fan_in_uniform(inputs)  # nn.lee:15
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]
        self.w = div + (div_2 - div) * uniform_  # [inputs, outputs]
        self.lay_out()

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., inputs] -> [.., outputs]"""
        return x @ self.w  # [rows, outputs]  nn.lee:22

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w   nn.lee:22
        d_x = d_y @ self.w.T  # [rows, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w}, d_x

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w   nn.lee:22
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w}  # [inputs, outputs]

    @staticmethod
    def forward_backward_parameters_backward(x, d_d_self):
        """From d_d_self to the gradient by d_contract."""
        # gradient of return x @ w   nn.lee:22
        d_d_contract = x @ d_d_self["w"]  # [rows, outputs]
        return d_d_contract  # [rows, outputs]


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

    def forward_backward_parameters_saved(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add, saved_relu_backward = relu_backward_saved(x_2, d_x_2)
        d_layers_0 = Linear.forward_backward_parameters(x, d_add)
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}, saved_relu_backward

    def forward_backward_parameters_backward_saved(self, x, x_2, d_add_2, saved_relu_backward, d_d_self):
        """From d_add_2 and d_d_self to the gradients by the parameters, x_2, d_add_2 and d_x_2."""
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_add = Linear.forward_backward_parameters_backward(x, d_d_self["layers.0"])  # [x_0, sizes_1]
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2, d_d_add_2 = self.layers[1].forward_backward_backward(
            x_2, d_add_2, d_d_self["layers.1"], d_d_x_2
        )
        return {"layers.1": d_layers_1_}, d_x_2, d_d_add_2, d_d_x_2

    def forward_backward_parameters_backward_backward(
        self, d_d_self, d_add_2, gt, d_d_x_2, d_d_self_, d_d_x_2_2, d_d_d_add_2
    ):
        """From d_d_self, d_add_2, d_d_x_2, d_d_self, d_d_x_2_2 and d_d_d_add_2 to the gradients by the parameters, x, x_2 and d_add_2."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2, d_d_add_2, d_d_d_x_2 = self.layers[1].forward_backward_backward_backward(
            d_d_self["layers.1"], d_add_2, d_d_x_2, d_d_self_["layers.1"], d_d_x_2_2, d_d_d_add_2
        )
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_d_add = relu_backward_backward_backward(gt, d_d_d_x_2)  # [x_0, sizes_1]
        # [x_0, sizes_0]
        d_x = Linear.forward_backward_parameters_backward_backward_input(d_d_self["layers.0"], d_d_d_add)
        return {"layers.1": d_layers_1_}, d_x, d_x_2, d_d_add_2

    def forward_saved_backward_parameters_saved(self, x, x_2, d_y, d_x_2):
        """From d_y and d_x_2 to the gradients by the parameters and add."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2_3 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_2_2 = d_x_2 + d_x_2_3  # [x_0, sizes_1]
        d_add, saved_relu_backward = relu_backward_saved(x_2, d_x_2_2)
        d_layers_0 = Linear.forward_backward_parameters(x, d_add)
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}, (d_add, saved_relu_backward)

    def forward_saved_backward_parameters_backward(self, x, x_2, d_add_2, saved, d_d_self):
        """From d_add_2, d_add and d_d_self to the gradients by the parameters, x, x_2, d_add_2 and d_x_2."""
        d_add, saved_relu_backward = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x, d_d_add = Linear.forward_backward_parameters_backward_2(x, d_add, d_d_self["layers.0"])
        d_d_x_2_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2, d_d_add_2 = self.layers[1].forward_backward_backward(
            x_2, d_add_2, d_d_self["layers.1"], d_d_x_2_2
        )
        return {"layers.1": d_layers_1_}, d_x, d_x_2, d_d_add_2, d_d_x_2_2

    def forward_saved_backward(self, x, x_2, d_y, d_x_2):
        """From d_y and d_x_2 to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2_3 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_2_2 = d_x_2 + d_x_2_3  # [x_0, sizes_1]
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x


class SGD(Optimizer):
    """θ ← θ - η (g + λ θ)"""

    def __init__(self, lr=0.01, weight_decay=0.0):
        self.lr, self.weight_decay = lr, weight_decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g in blocks(parameters, gradient):
            θ -= self.lr * (g + self.weight_decay * θ)  # [count]  optim.lee:11


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


def relu_backward_backward_backward(gt, d_d_d_select):
    """From d_d_d_select to the gradient by d_d_x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_d_x = masked(d_d_d_select, gt)  # [x_0, x_1]
    return d_d_d_x  # [x_0, x_1]


def dot_backward(y, x_sizes_0, x_sizes_1, x_sizes_2, d_add_3):
    """From d_add_3 to the gradient by x."""
    # gradient of return sum(x * y)   prelude.lee:158
    d_x_layers_1_b = d_add_3 * y.layers[1].b.reshape(x_sizes_2)  # [x.sizes_2]
    d_x_layers_1_w = d_add_3 * y.layers[1].w.reshape(x_sizes_1, x_sizes_2)  # [x.sizes_1, x.sizes_2]
    d_x_layers_0_b = d_add_3 * y.layers[0].b.reshape(x_sizes_1)  # [x.sizes_1]
    d_x_layers_0_w = d_add_3 * y.layers[0].w.reshape(x_sizes_0, x_sizes_1)  # [x.sizes_0, x.sizes_1]
    return {
        "layers.0": {"w": d_x_layers_0_w, "b": d_x_layers_0_b},
        "layers.1": {"w": d_x_layers_1_w, "b": d_x_layers_1_b},
    }


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0."""
    sum_ = (x.layers[0].w * x.layers[0].w).sum()
    add = sum_ + (x.layers[0].b * x.layers[0].b).sum()
    add_2 = add + (x.layers[1].w * x.layers[1].w).sum()
    return np.sqrt(add_2 + (x.layers[1].b * x.layers[1].b).sum())  # prelude.lee:163


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x.layers[0].w * x.layers[0].w).sum()
    add = sum_ + (x.layers[0].b * x.layers[0].b).sum()
    add_2 = add + (x.layers[1].w * x.layers[1].w).sum()
    add_3 = add_2 + (x.layers[1].b * x.layers[1].b).sum()
    return np.sqrt(add_3), add_3  # prelude.lee:163


def norm_backward(x, add_3, sqrt, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    mul_2 = 2 * (d_y * 0.5 / np.where(add_3 > 0, sqrt, np.inf))
    d_x_layers_0_w = mul_2 * x.layers[0].w  # [x.sizes_0, x.sizes_1]
    d_x_layers_0_b = mul_2 * x.layers[0].b  # [x.sizes_1]
    d_x_layers_1_w = mul_2 * x.layers[1].w  # [x.sizes_1, x.sizes_2]
    d_x_layers_1_b = mul_2 * x.layers[1].b  # [x.sizes_2]
    return {
        "layers.0": {"w": d_x_layers_0_w, "b": d_x_layers_0_b},
        "layers.1": {"w": d_x_layers_1_w, "b": d_x_layers_1_b},
    }


def norm_2(x):
    """√(Σ xᵢ²); at 0 the gradient is 0."""
    sum_2 = (x.second.w * x.second.w).sum()
    add = (x.first.w * x.first.w).sum() + sum_2
    return np.sqrt(add + (x.second.b * x.second.b).sum())  # prelude.lee:163


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "first": 0xA31DFC4F51C2A8A2,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "second": 0xF4C52D43B87F6485,
    "sharpest": 0xAF45E0D0F75C482F,
    "v": 0x9DF7DC769517EBA3,
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


def unflatten(x, shapes):
    """The arrays of given shapes that lie one after the other in a vector."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return tuple(part.reshape(shape) for part, shape in zip(np.split(x, ends[:-1]), shapes, strict=True))


def inside(i):
    """Positions that never wrap. Raises IndexError for a negative one; NumPy itself does for one too large."""
    if np.min(i, initial=0) < 0:
        raise IndexError(f"position {np.min(i)} lies before the first entry")
    return i


def masked(x, c, out=None):
    """x where c holds, else 0: its bits times 1 or 0. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return np.multiply(x.view(word), c, out=None if out is None else out.view(word)).view(x.dtype)


def symmetric_part(a):
    """The symmetric part of matrices."""
    return (a + a.mT) / 2


def signs_of_columns(vectors):
    """1 or -1 for every column, that its largest entry becomes positive; of nearly equal sizes the first counts."""
    size = np.abs(vectors)
    first = np.argmax(size >= 0.999 * size.max(axis=-2, keepdims=True), axis=-2)
    largest = np.take_along_axis(vectors, first[..., None, :], axis=-2)
    return np.where(largest < 0, -1, 1).astype(vectors.dtype)


def eigh(a):
    """Eigenvalues of the symmetric part, ascending, and the unit vectors as columns."""
    values, vectors = np.linalg.eigh(symmetric_part(a))
    return values, vectors * signs_of_columns(vectors)


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
