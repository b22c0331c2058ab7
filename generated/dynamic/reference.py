"""As much computation as there is need or time for (inventory O11, O12): nets with exits, and nets of several widths.

Made from specs/compression/dynamic.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/compression/dynamic.lee
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


class Exits(Model):
    """A classifier behind every layer."""

    members = ("layer1", "layer2", "layer3", "exit1", "exit2", "exit3")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        self.d, self.hidden, self.classes = d, hidden, classes
        self.layer1 = Linear(d, hidden, key=fold(key, SITES["layer1"]))  # dynamic.lee:15
        self.layer2 = Linear(hidden, hidden, key=fold(key, SITES["layer2"]))  # dynamic.lee:16
        self.layer3 = Linear(hidden, hidden, key=fold(key, SITES["layer3"]))  # dynamic.lee:17
        self.exit1 = Linear(hidden, classes, key=fold(key, SITES["exit1"]))  # dynamic.lee:18
        self.exit2 = Linear(hidden, classes, key=fold(key, SITES["exit2"]))  # dynamic.lee:19
        self.exit3 = Linear(hidden, classes, key=fold(key, SITES["exit3"]))  # dynamic.lee:20
        self.lay_out()

    def forward(self, x):
        """x [n, d] -> [3, n, classes]"""
        h1 = relu(self.layer1(x))  # [n, hidden]  dynamic.lee:23
        h2 = relu(self.layer2(h1))  # [n, hidden]  dynamic.lee:24
        h3 = relu(self.layer3(h2))  # [n, hidden]  dynamic.lee:25
        return np.stack((self.exit1(h1), self.exit2(h2), self.exit3(h3)))  # [3, n, classes]  dynamic.lee:26

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        h1 = relu(self.layer1(x))  # [n, hidden]  dynamic.lee:23
        h2 = relu(self.layer2(h1))  # [n, hidden]  dynamic.lee:24
        h3 = relu(self.layer3(h2))  # [n, hidden]  dynamic.lee:25
        return np.stack((self.exit1(h1), self.exit2(h2), self.exit3(h3))), (h1, h2, h3)  # dynamic.lee:26

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        h1, h2, h3 = saved
        # gradient of return stack(exit1(h1), exit2(h2), exit3(h3), axis = 0)   dynamic.lee:26
        d_exit3, d_h3 = self.exit3.forward_backward(h3, d_y[2])
        d_exit2, d_h2_2 = self.exit2.forward_backward(h2, d_y[1])
        d_exit1, d_h1_2 = self.exit1.forward_backward(h1, d_y[0])
        # gradient of h3 = relu(layer3(h2))   dynamic.lee:25
        d_layer3, d_h2_3 = self.layer3.forward_backward(h2, relu_backward(h3, d_h3))
        # gradient of h2 = relu(layer2(h1))   dynamic.lee:24
        d_h2 = d_h2_2 + d_h2_3  # [n, hidden]
        d_layer2, d_h1_3 = self.layer2.forward_backward(h1, relu_backward(h2, d_h2))
        # gradient of h1 = relu(layer1(x))   dynamic.lee:23
        d_h1 = d_h1_2 + d_h1_3  # [n, hidden]
        d_layer1, d_x = self.layer1.forward_backward(x, relu_backward(h1, d_h1))
        return {
            "layer1": d_layer1,
            "layer2": d_layer2,
            "layer3": d_layer3,
            "exit1": d_exit1,
            "exit2": d_exit2,
            "exit3": d_exit3,
        }, d_x

    def forward_backward_parameters(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        h1, h2, h3 = saved
        # gradient of return stack(exit1(h1), exit2(h2), exit3(h3), axis = 0)   dynamic.lee:26
        d_exit3, d_h3 = self.exit3.forward_backward(h3, d_y[2])
        d_exit2, d_h2_2 = self.exit2.forward_backward(h2, d_y[1])
        d_exit1, d_h1_2 = self.exit1.forward_backward(h1, d_y[0])
        # gradient of h3 = relu(layer3(h2))   dynamic.lee:25
        d_layer3, d_h2_3 = self.layer3.forward_backward(h2, relu_backward(h3, d_h3))
        # gradient of h2 = relu(layer2(h1))   dynamic.lee:24
        d_h2 = d_h2_2 + d_h2_3  # [n, hidden]
        d_layer2, d_h1_3 = self.layer2.forward_backward(h1, relu_backward(h2, d_h2))
        # gradient of h1 = relu(layer1(x))   dynamic.lee:23
        d_h1 = d_h1_2 + d_h1_3  # [n, hidden]
        d_layer1 = Linear.forward_backward_parameters(x, relu_backward(h1, d_h1))
        return {
            "layer1": d_layer1,
            "layer2": d_layer2,
            "layer3": d_layer3,
            "exit1": d_exit1,
            "exit2": d_exit2,
            "exit3": d_exit3,
        }


def at_every_exit(z, y):
    """All classifiers learn together, which may cost the last one something.

    z [m, n, k], y int[n] -> []
    """
    n = z.shape[1]
    share = log_softmax(z, (2,))  # [m, n, k]  prelude.lee:127
    transpose = share.transpose((1, 2, 0))[np.arange(n), inside(y)].T  # [m, n]  dynamic.lee:32
    return -transpose.mean(axis=1).sum()


def at_every_exit_saved(z, y):
    """As at_every_exit, and what its gradient needs."""
    n = z.shape[1]
    share = log_softmax(z, (2,))  # [m, n, k]  prelude.lee:127
    transpose = share.transpose((1, 2, 0))[np.arange(n), inside(y)].T  # [m, n]  dynamic.lee:32
    return -transpose.mean(axis=1).sum(), share


def at_every_exit_backward(y, share, d_out):
    """From d_out to the gradient by z."""
    n = y.shape[0]
    m, _, k = share.shape
    # gradient of return -sum[e](mean[i](share[e, i, y[i]]))   dynamic.lee:32
    d_gather = np.broadcast_to(-d_out / n, (n, m))  # [n, m]
    d_share = scatter_add(d_gather, (np.arange(n), y), (m, n, k), (1, 2))  # [m, n, k]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_z = d_share - np.exp(share) * d_share.sum(axis=2, keepdims=True)  # [m, n, k]
    return d_z  # [m, n, k]


def first_sure(z, threshold):
    """The first exit whose largest share reaches the threshold; else the last one.

    z [m, n, k] -> int[n]
    """
    m = z.shape[0]
    sure = softmax(z, (2,)).max(axis=2, initial=-np.inf) >= threshold  # bool[m, n]  dynamic.lee:37
    early = np.where(sure, np.arange(m)[:, None], m - 1)  # int[m, n]  dynamic.lee:38
    return early.min(axis=0)  # int[n]  dynamic.lee:39


def answered(z, exit_):
    """The scores of every example at its exit.

    z [m, n, k], exit int[n] -> [n, k]
    """
    n = z.shape[1]
    score = z[inside(exit_), np.arange(n)]  # [n, k]  dynamic.lee:44
    return score  # [n, k]


def answered_backward(exit_, m, d_score):
    """From d_score to the gradient by z."""
    n = exit_.shape[0]
    k = d_score.shape[1]
    # gradient of score[i, c] = z[exit[i], i, c]   dynamic.lee:44
    d_z = scatter_add(d_score, (exit_, np.arange(n)), (m, n, k))  # [m, n, k]
    return d_z  # [m, n, k]


def exits(epochs=10, batch=32, rate=3e-3, threshold=0.9, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("exits")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Exits(d=64, hidden=32, classes=10, key=run.key("net"))  # dynamic.lee:50
    opt = Adam(lr=rate)  # dynamic.lee:51
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(exits_step(net, opt, x, y))  # dynamic.lee:54
    z, y, exit_, early = exits_z_y_exit_early(net, data.test.x, data.test.y, threshold)  # dynamic.lee:55
    reported_first, reported_last, reported_layers = exits_first_last_layers(z, y, exit_)  # dynamic.lee:59
    run.report(first=reported_first, last=reported_last, early=early, layers=reported_layers)  # dynamic.lee:59
    return net


def exits_step(net, opt, x, y):
    """One step of exits."""
    concat, saved_net = net.forward_saved(x)  # dynamic.lee:54
    loss, saved_at_every_exit = at_every_exit_saved(concat, y)
    d_concat = at_every_exit_backward(y, saved_at_every_exit, FLOAT(1.0))  # [3, batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_concat)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def exits_z_y_exit_early(net, data_test_x, data_test_y, threshold):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [3, data_test_n, 10], int[data_test_n],
    int[data_test_n], []
    """
    z = net(data_test_x)  # [3, data_test_n, 10]  dynamic.lee:55
    exit_ = first_sure(z, threshold)  # int[data_test_n]  dynamic.lee:57
    early = accuracy(answered(z, exit_), data_test_y)  # dynamic.lee:58
    return z, data_test_y, exit_, early


def exits_first_last_layers(z, y, exit_):
    """z [3, data_test_n, 10], y int[data_test_n], exit int[data_test_n] -> [], [], []"""
    return accuracy(z[0], y), accuracy(z[2], y), 1 + exit_.astype(FLOAT).mean()  # dynamic.lee:59


class Slimmable(Model):
    """The first neurons are a net by themselves (Yu et al. 2018)."""

    members = ("up", "down")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        self.d, self.hidden, self.classes = d, hidden, classes
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # dynamic.lee:68
        self.down = Linear(hidden, classes, key=fold(key, SITES["down"]))  # dynamic.lee:69
        self.lay_out()

    def forward(self, x, width):
        """x [n, d] -> [n, classes]"""
        h = relu(x @ self.up.w[:, :width] + self.up.b[:width])  # [n, width]  dynamic.lee:72
        return h @ self.down.w[:width] + self.down.b  # [n, classes]  dynamic.lee:73

    def forward_saved(self, x, width):
        """As forward, and what its gradient needs."""
        h = relu(x @ self.up.w[:, :width] + self.up.b[:width])  # [n, width]  dynamic.lee:72
        return h @ self.down.w[:width] + self.down.b, h  # dynamic.lee:73

    def forward_backward(self, x, h, d_y):
        """From d_y to the gradients by the parameters and x."""
        width = h.shape[1]
        # gradient of return h @ down.w[:width] + down.b   dynamic.lee:73
        d_down_b = d_y.sum(axis=0)  # [classes]
        d_h = d_y @ self.down.w[:width].T  # [n, width]
        d_slice_3 = h.T @ d_y  # [width, classes]
        # [hidden, classes]
        d_down_w = unslice(d_slice_3, (self.hidden, self.classes), (slice(0, width), slice(0, self.classes)))
        # gradient of h = relu(x @ up.w[:, :width] + up.b[:width])   dynamic.lee:72
        d_add = relu_backward(h, d_h)  # [n, width]
        d_up_b = unslice(d_add.sum(axis=0), (self.hidden,), (slice(0, width),))  # [hidden]
        d_x = d_add @ self.up.w[:, :width].T  # [n, d]
        d_slice = x.T @ d_add  # [d, width]
        d_up_w = unslice(d_slice, (self.d, self.hidden), (slice(0, self.d), slice(0, width)))  # [d, hidden]
        return {"up": {"w": d_up_w, "b": d_up_b}, "down": {"w": d_down_w, "b": d_down_b}}, d_x

    def forward_backward_parameters(self, x, h, d_y):
        """From d_y to the gradient by the parameters."""
        width = h.shape[1]
        # gradient of return h @ down.w[:width] + down.b   dynamic.lee:73
        d_down_b = d_y.sum(axis=0)  # [classes]
        d_h = d_y @ self.down.w[:width].T  # [n, width]
        d_slice_3 = h.T @ d_y  # [width, classes]
        # [hidden, classes]
        d_down_w = unslice(d_slice_3, (self.hidden, self.classes), (slice(0, width), slice(0, self.classes)))
        # gradient of h = relu(x @ up.w[:, :width] + up.b[:width])   dynamic.lee:72
        d_add = relu_backward(h, d_h)  # [n, width]
        d_up_b = unslice(d_add.sum(axis=0), (self.hidden,), (slice(0, width),))  # [hidden]
        d_slice = x.T @ d_add  # [d, width]
        d_up_w = unslice(d_slice, (self.d, self.hidden), (slice(0, self.d), slice(0, width)))  # [d, hidden]
        return {"up": {"w": d_up_w, "b": d_up_b}, "down": {"w": d_down_w, "b": d_down_b}}


def at_every_width_saved(net, x, y, narrow, middle, wide):
    """As at_every_width, and what its gradient needs."""
    add_2, saved_net = net.forward_saved(x, narrow)  # dynamic.lee:77
    add_2_2, saved_net_ = net.forward_saved(x, middle)
    add_2_3, saved_net_2 = net.forward_saved(x, wide)
    add = cross_entropy(add_2, y) + cross_entropy(add_2_2, y)
    return add + cross_entropy(add_2_3, y), (add_2, saved_net, add_2_2, saved_net_, add_2_3, saved_net_2)


def at_every_width_backward(net, x, y, saved, d_add_3):
    """From d_add_3 to the gradients by net and x."""
    add_2, saved_net, add_2_2, saved_net_, add_2_3, saved_net_2 = saved
    # gradient of return cross_entropy(net(x, narrow), y) + cross_entropy(net(x, middle), y) + ..   dynamic.lee:77
    d_add_2_3 = cross_entropy_backward(add_2_3, y, d_add_3)  # [n, net.classes]
    d_net, d_x_2 = net.forward_backward(x, saved_net_2, d_add_2_3)
    d_add_2_2 = cross_entropy_backward(add_2_2, y, d_add_3)  # [n, net.classes]
    d_net_, d_x_3 = net.forward_backward(x, saved_net_, d_add_2_2)
    d_add_2 = cross_entropy_backward(add_2, y, d_add_3)  # [n, net.classes]
    d_net_2, d_x_4 = net.forward_backward(x, saved_net, d_add_2)
    d_net_up_w = d_net["up"]["w"] + d_net_["up"]["w"] + d_net_2["up"]["w"]  # [net.d, net.hidden]
    d_net_up_b = d_net["up"]["b"] + d_net_["up"]["b"] + d_net_2["up"]["b"]  # [net.hidden]
    d_net_down_w = d_net["down"]["w"] + d_net_["down"]["w"] + d_net_2["down"]["w"]  # [net.hidden, net.classes]
    d_net_down_b = d_net["down"]["b"] + d_net_["down"]["b"] + d_net_2["down"]["b"]  # [net.classes]
    d_x = d_x_2 + d_x_3 + d_x_4  # [n, net.d]
    return {"up": {"w": d_net_up_w, "b": d_net_up_b}, "down": {"w": d_net_down_w, "b": d_net_down_b}}, d_x


def at_every_width_backward_parameters(net, x, y, saved, d_add_3):
    """From d_add_3 to the gradient by net."""
    add_2, saved_net, add_2_2, saved_net_, add_2_3, saved_net_2 = saved
    # gradient of return cross_entropy(net(x, narrow), y) + cross_entropy(net(x, middle), y) + ..   dynamic.lee:77
    d_add_2_3 = cross_entropy_backward(add_2_3, y, d_add_3)  # [n, net.classes]
    d_net = net.forward_backward_parameters(x, saved_net_2, d_add_2_3)
    d_add_2_2 = cross_entropy_backward(add_2_2, y, d_add_3)  # [n, net.classes]
    d_net_ = net.forward_backward_parameters(x, saved_net_, d_add_2_2)
    d_add_2 = cross_entropy_backward(add_2, y, d_add_3)  # [n, net.classes]
    d_net_2 = net.forward_backward_parameters(x, saved_net, d_add_2)
    d_net_up_w = d_net["up"]["w"] + d_net_["up"]["w"] + d_net_2["up"]["w"]  # [net.d, net.hidden]
    d_net_up_b = d_net["up"]["b"] + d_net_["up"]["b"] + d_net_2["up"]["b"]  # [net.hidden]
    d_net_down_w = d_net["down"]["w"] + d_net_["down"]["w"] + d_net_2["down"]["w"]  # [net.hidden, net.classes]
    d_net_down_b = d_net["down"]["b"] + d_net_["down"]["b"] + d_net_2["down"]["b"]  # [net.classes]
    return {"up": {"w": d_net_up_w, "b": d_net_up_b}, "down": {"w": d_net_down_w, "b": d_net_down_b}}


def is_sure(z, threshold):
    """Whether one class has that share.

    z [n, k] -> bool[n]
    """
    return softmax(z, (1,)).max(axis=1, initial=-np.inf) >= threshold  # bool[n]  dynamic.lee:82


def as_needed(narrow, wide, threshold):
    """Easy examples are answered by the narrow net, the others by the wide one.

    narrow [n, k], wide [n, k] -> [n, k]
    """
    return np.where(is_sure(narrow, threshold)[:, None], narrow, wide)  # [n, k]  dynamic.lee:87


def as_needed_saved(narrow, wide, threshold):
    """As as_needed, and what its gradient needs."""
    reshape = is_sure(narrow, threshold)[:, None]  # bool[n, 1]  dynamic.lee:87
    return np.where(reshape, narrow, wide), reshape


def as_needed_backward(reshape, d_y):
    """From d_y to the gradients by narrow and wide."""
    # gradient of return where(is_sure(narrow, threshold)[:, None], narrow, wide)   dynamic.lee:87
    d_narrow = masked(d_y, reshape)  # [n, k]
    d_wide = np.where(reshape, 0, d_y)  # [n, k]
    return d_narrow, d_wide


def widths(epochs=10, batch=32, rate=3e-3, narrow=8, middle=24, wide=64, threshold=0.9, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("widths")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Slimmable(d=64, hidden=wide, classes=10, key=run.key("net"))  # dynamic.lee:92
    opt = Adam(lr=rate)  # dynamic.lee:93
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(widths_step(net, opt, x, y, middle, narrow))  # dynamic.lee:96
    x, y, few, all_, mixed, easy = widths_x_y_few_all_mixed_easy(data.test.x, data.test.y, net, threshold, narrow)
    reported_narrow, reported_middle, reported_wide = widths_narrow_middle_wide(few, y, net, x, all_, middle)
    run.report(narrow=reported_narrow, middle=reported_middle, wide=reported_wide, mixed=mixed, easy=easy)
    return net


def widths_step(net, opt, x, y, middle, narrow):
    """One step of widths."""
    wide = net.up.w.shape[1]
    loss, saved_at_every_width = at_every_width_saved(net, x, y, narrow, middle, wide)  # dynamic.lee:96
    d_loss = FLOAT(1.0)
    d_net = at_every_width_backward_parameters(net, x, y, saved_at_every_width, d_loss)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def widths_x_y_few_all_mixed_easy(data_test_x, data_test_y, net, threshold, narrow):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n],
    [data_test_n, 10], [data_test_n, 10], [], []
    """
    wide = net.up.w.shape[1]
    few = net(data_test_x, narrow)  # [data_test_n, 10]  dynamic.lee:98
    all_ = net(data_test_x, wide)  # [data_test_n, 10]  dynamic.lee:99
    mixed = accuracy(as_needed(few, all_, threshold), data_test_y)  # dynamic.lee:100
    easy = is_sure(few, threshold).astype(FLOAT).mean()  # dynamic.lee:101
    return data_test_x, data_test_y, few, all_, mixed, easy


def widths_narrow_middle_wide(few, y, net, x, all_, middle):
    """few [data_test_n, 10], y int[data_test_n], x [data_test_n, 64], all [data_test_n, 10] -> [], [], []"""
    return accuracy(few, y), accuracy(net(x, middle), y), accuracy(all_, y)  # dynamic.lee:102


def example_left_early(key):
    net = Exits(5, 6, 3, key=fold(key, SITES["net"]))  # dynamic.lee:107
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  dynamic.lee:108
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  dynamic.lee:109
    z, saved_net = net.forward_saved(x)  # dynamic.lee:110
    neg, saved_at_every_exit = at_every_exit_saved(z, y)  # dynamic.lee:111
    min_ = first_sure(z, 0.4)  # int[9]
    score = answered(z, min_)  # [9, 3]
    d_z_3 = at_every_exit_backward(y, saved_at_every_exit, FLOAT(1.0))  # [3, 9, 3]
    d_z = answered_backward(min_, 3, 2 * score) + d_z_3  # [3, 9, 3]  dynamic.lee:110
    d_net, d_x = net.forward_backward(x, saved_net, d_z)
    return neg + (score**2).sum(), net.at(d_net), d_x


def example_slim(key):
    net = Slimmable(5, 7, 3, key=fold(key, SITES["net"]))  # dynamic.lee:115
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  dynamic.lee:116
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  dynamic.lee:117
    c = normal(fold(key, SITES["c"]), (9, 3), FLOAT)  # [9, 3]  dynamic.lee:118
    add_3, saved_at_every_width = at_every_width_saved(net, x, y, 2, 4, 7)  # dynamic.lee:119
    add_2, saved_net = net.forward_saved(x, 2)
    add_2_2, saved_net_ = net.forward_saved(x, 7)
    d_c, saved_as_needed = as_needed_saved(add_2, add_2_2, 0.5)
    d_add_2, d_add_2_2 = as_needed_backward(saved_as_needed, c)
    d_net, d_x_2 = net.forward_backward(x, saved_net_, d_add_2_2)
    d_net_, d_x_3 = net.forward_backward(x, saved_net, d_add_2)
    d_net_2, d_x_4 = at_every_width_backward(net, x, y, saved_at_every_width, FLOAT(1.0))
    d_net_down_w_4 = d_net["down"]["w"] + d_net_["down"]["w"]  # [7, 3]
    d_net_down_b_4 = d_net["down"]["b"] + d_net_["down"]["b"]  # [3]
    return (
        add_3 + (c * d_c).sum(),
        net.at(
            {
                "up": {
                    "w": d_net["up"]["w"] + d_net_["up"]["w"] + d_net_2["up"]["w"],
                    "b": d_net["up"]["b"] + d_net_["up"]["b"] + d_net_2["up"]["b"],
                },
                "down": {"w": d_net_down_w_4 + d_net_2["down"]["w"], "b": d_net_down_b_4 + d_net_2["down"]["b"]},
            }
        ),
        d_x_2 + d_x_3 + d_x_4,
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


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "down": 0x672F5B678D49ED61,
    "exit1": 0x7FBFA976D88DA1E9,
    "exit2": 0xAA24F4D3F11435DF,
    "exit3": 0x0E5DC3326DF079C7,
    "layer1": 0x0EB5AE71E7FB27C4,
    "layer2": 0xDEE4877A8B37689B,
    "layer3": 0xE6E642DC76F6BD5B,
    "net": 0xF087C76970C91612,
    "up": 0xDD49F622B87D879F,
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
