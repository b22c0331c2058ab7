"""Models of the first lectures (inventory A1, A13 to A15): a line, sums of steps, layers, and how errors go back.

Made from specs/regression/models.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/regression/models.lee
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


class Linear(Model):
    """y = b + Σ wᵢ xᵢ"""

    members = ("w", "b")

    def __init__(self, features):
        self.features = features
        self.w = np.zeros(features, dtype=FLOAT)  # [features]  models.lee:11
        self.b = FLOAT(0)  # models.lee:12
        self.lay_out()

    def forward(self, x):
        """x [n, features] -> [n]"""
        return self.b + x @ self.w  # [n]  models.lee:15

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return b + x @ w   models.lee:15
        d_b = d_y.sum()
        d_x = d_y[:, None] * self.w  # [n, features]
        d_w = d_y @ x  # [features]
        return {"w": d_w, "b": d_b}, d_x


class SigmoidSum(Model):
    """y = a + Σᵢ cᵢ σ(bᵢ + Σⱼ wᵢⱼ xⱼ): a constant and soft steps fit any curve."""

    members = ("w", "b", "c", "a")

    def __init__(self, features, pieces, *, key=(0, 0)):
        self.features, self.pieces = features, pieces
        self.w = normal(fold(key, SITES["w"]), (features, pieces), FLOAT)  # [features, pieces]  models.lee:20
        self.b = normal(fold(key, SITES["b"]), (pieces,), FLOAT)  # [pieces]  models.lee:21
        self.c = normal(fold(key, SITES["c"]), (pieces,), FLOAT)  # [pieces]  models.lee:22
        self.a = FLOAT(0)  # models.lee:23
        self.lay_out()

    def forward(self, x):
        """x [n, features] -> [n]"""
        add = x @ self.w + self.b  # [n, pieces]  models.lee:26
        sigmoid = np.exp(np.minimum(add, 0)) / (1 + np.exp(-np.abs(add)))  # [n, pieces]  prelude.lee:36
        return self.a + sigmoid @ self.c  # [n]  models.lee:26

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        add = x @ self.w + self.b  # [n, pieces]  models.lee:26
        sigmoid = np.exp(np.minimum(add, 0)) / (1 + np.exp(-np.abs(add)))  # [n, pieces]  prelude.lee:36
        return self.a + sigmoid @ self.c, sigmoid  # models.lee:26

    def forward_backward(self, x, sigmoid, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return a + sigmoid(x @ w + b) @ c   models.lee:26
        d_a = d_y.sum()
        d_c = d_y @ sigmoid  # [pieces]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_add = d_y[:, None] * self.c * (sigmoid * (1 - sigmoid))  # [n, pieces]
        # gradient of return a + sigmoid(x @ w + b) @ c   models.lee:26
        d_b = d_add.sum(axis=0)  # [pieces]
        d_x = d_add @ self.w.T  # [n, features]
        d_w = x.T @ d_add  # [features, pieces]
        return {"w": d_w, "b": d_b, "c": d_c, "a": d_a}, d_x


class ReluSum(Model):
    """The same with rectified lines; two of them make a hard step."""

    members = ("w", "b", "c", "a")

    def __init__(self, features, pieces, *, key=(0, 0)):
        self.features, self.pieces = features, pieces
        self.w = normal(fold(key, SITES["w"]), (features, pieces), FLOAT)  # [features, pieces]  models.lee:31
        self.b = normal(fold(key, SITES["b"]), (pieces,), FLOAT)  # [pieces]  models.lee:32
        self.c = normal(fold(key, SITES["c"]), (pieces,), FLOAT)  # [pieces]  models.lee:33
        self.a = FLOAT(0)  # models.lee:34
        self.lay_out()

    def forward(self, x):
        """x [n, features] -> [n]"""
        return self.a + relu(x @ self.w + self.b) @ self.c  # [n]  models.lee:37

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        select = relu(x @ self.w + self.b)  # [n, pieces]  models.lee:37
        return self.a + select @ self.c, select

    def forward_backward(self, x, select, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return a + relu(x @ w + b) @ c   models.lee:37
        d_a = d_y.sum()
        d_c = d_y @ select  # [pieces]
        d_add = relu_backward(select, d_y[:, None] * self.c)  # [n, pieces]
        d_b = d_add.sum(axis=0)  # [pieces]
        d_x = d_add @ self.w.T  # [n, features]
        d_w = x.T @ d_add  # [features, pieces]
        return {"w": d_w, "b": d_b, "c": d_c, "a": d_a}, d_x


class Layer(Model):
    """W a + b: every neuron sees every output of the layer before."""

    members = ("w", "b")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        self.inputs, self.outputs = inputs, outputs
        normal_ = normal(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]  models.lee:42
        self.w = 1 / math.sqrt(inputs) * normal_  # [inputs, outputs]
        self.b = np.zeros(outputs, dtype=FLOAT)  # [outputs]  models.lee:43
        self.lay_out()

    def forward(self, a):
        """a [n, inputs] -> [n, outputs]"""
        return a @ self.w + self.b  # [n, outputs]  models.lee:46

    def forward_backward(self, a, d_y):
        """From d_y to the gradients by the parameters and a."""
        # gradient of return a @ w + b   models.lee:46
        d_b = d_y.sum(axis=0)  # [outputs]
        d_a = d_y @ self.w.T  # [n, inputs]
        d_w = a.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_a

    @staticmethod
    def forward_backward_parameters(a, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return a @ w + b   models.lee:46
        d_b = d_y.sum(axis=0)  # [outputs]
        d_w = a.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}


class FullyConnected(Model):
    """Layers with σ between them: a = σ(W a + b); the last one gives scores."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        self.sizes = sizes
        # models.lee:51
        self.layers = [
            Layer(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
            Layer(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
            Layer(sizes[2], sizes[3], key=fold(key, SITES["layers.2"])),
        ]
        self.lay_out()

    def forward(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_3]"""
        add = self.layers[0](x)  # [x_0, sizes_1]  models.lee:55
        x_2 = np.exp(np.minimum(add, 0)) / (1 + np.exp(-np.abs(add)))  # [x_0, sizes_1]  prelude.lee:36
        add_2 = self.layers[1](x_2)  # [x_0, sizes_2]  models.lee:55
        x_3 = np.exp(np.minimum(add_2, 0)) / (1 + np.exp(-np.abs(add_2)))  # [x_0, sizes_2]  prelude.lee:36
        return self.layers[2](x_3)  # [x_0, sizes_3]  models.lee:56

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        add = self.layers[0](x)  # [x_0, sizes_1]  models.lee:55
        x_2 = np.exp(np.minimum(add, 0)) / (1 + np.exp(-np.abs(add)))  # [x_0, sizes_1]  prelude.lee:36
        add_2 = self.layers[1](x_2)  # [x_0, sizes_2]  models.lee:55
        x_3 = np.exp(np.minimum(add_2, 0)) / (1 + np.exp(-np.abs(add_2)))  # [x_0, sizes_2]  prelude.lee:36
        return self.layers[2](x_3), (x_2, x_3)  # models.lee:56

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   models.lee:56
        d_layers_2_, d_x_3 = self.layers[2].forward_backward(x_3, d_y)
        # gradient of x = sigmoid(layer(x))   models.lee:55
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_x_3 * (x_3 * (1 - x_3)))
        d_layers_0_, d_x = self.layers[0].forward_backward(x, d_x_2 * (x_2 * (1 - x_2)))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_, "layers.2": d_layers_2_}, d_x


class FullyConnected_2(Model):
    """Layers with σ between them: a = σ(W a + b); the last one gives scores."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        self.sizes = sizes
        # models.lee:51
        self.layers = [
            Layer(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
            Layer(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
        ]
        self.lay_out()

    def forward(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_2]"""
        add = self.layers[0](x)  # [x_0, sizes_1]  models.lee:55
        x_2 = np.exp(np.minimum(add, 0)) / (1 + np.exp(-np.abs(add)))  # [x_0, sizes_1]  prelude.lee:36
        return self.layers[1](x_2)  # [x_0, sizes_2]  models.lee:56

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        add = self.layers[0](x)  # [x_0, sizes_1]  models.lee:55
        x_2 = np.exp(np.minimum(add, 0)) / (1 + np.exp(-np.abs(add)))  # [x_0, sizes_1]  prelude.lee:36
        return self.layers[1](x_2), x_2  # models.lee:56

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   models.lee:56
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = sigmoid(layer(x))   models.lee:55
        d_layers_0 = Layer.forward_backward_parameters(x, d_x_2 * (x_2 * (1 - x_2)))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


class TwoLayers(Model):
    """TwoLayers(features, hidden)"""

    members = ("w1", "b1", "w2", "b2")

    def __init__(self, features, hidden, *, key=(0, 0)):
        self.features, self.hidden = features, hidden
        self.w1 = normal(fold(key, SITES["w1"]), (features, hidden), FLOAT)  # [features, hidden]  models.lee:60
        self.b1 = np.zeros(hidden, dtype=FLOAT)  # [hidden]  models.lee:61
        self.w2 = normal(fold(key, SITES["w2"]), (hidden,), FLOAT)  # [hidden]  models.lee:62
        self.b2 = FLOAT(0)  # models.lee:63
        self.lay_out()


def back_propagation(net, x, y):
    """Forward, every layer keeps its input; backward, ∂C/∂z = σ'(z) Σ w ∂C/∂z of the layer above.

    x [n, net.features], y [n] -> [], [net.features, net.hidden], [net.hidden], [net.hidden], []
    """
    add = x @ net.w1 + net.b1  # [n, net.hidden]  models.lee:68
    a1 = np.exp(np.minimum(add, 0)) / (1 + np.exp(-np.abs(add)))  # [n, net.hidden]  prelude.lee:36
    add_2 = a1 @ net.w2 + net.b2  # [n]  models.lee:69
    a2 = np.exp(np.minimum(add_2, 0)) / (1 + np.exp(-np.abs(add_2)))  # [n]  prelude.lee:36
    sub = a2 - y  # [n]  models.lee:70
    cost = 0.5 * (sub**2).sum()
    d_z2 = a2 * (1 - a2) * sub  # [n]  models.lee:71
    d_z1 = a1 * (1 - a1) * net.w2 * d_z2[:, None]  # [n, net.hidden]  models.lee:72
    return cost, x.T @ d_z1, d_z1.sum(axis=0), d_z2 @ a1, d_z2.sum()  # models.lee:73


def fit(epochs=60, batch=32, *, run=None):
    """Three kinds of wine, from 13 measurements."""
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data("wine", standardize=True, test=0.25, fields={"x": ("float", ("n", 13)), "y": ("int", ("n",))})
    net = FullyConnected_2(sizes=(13, 16, 3), key=run.key("net"))  # models.lee:79
    opt = Adam(lr=0.02)  # models.lee:80
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_step(net, opt, x, y))  # models.lee:83
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # models.lee:84
    return net


def fit_step(net, opt, x, y):
    """One step of fit."""
    add_2, saved_net = net.forward_saved(x)  # models.lee:83
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 3]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def example_line(key):
    net = Linear(4)  # models.lee:89
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  models.lee:90
    y = normal(fold(key, SITES["y"]), (9,), FLOAT)  # [9]  models.lee:91
    sub = net(x) - y  # [9]  models.lee:92
    d_net, d_x = net.forward_backward(x, 0.2222222222222222 * sub)
    return (sub**2).mean(), net.at(d_net), d_x, -0.2222222222222222 * sub


def example_steps(key):
    net = SigmoidSum(4, 5, key=fold(key, SITES["net"]))  # models.lee:96
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  models.lee:97
    net_out, saved_net = net.forward_saved(x)  # models.lee:98
    d_net, d_x = net.forward_backward(x, saved_net, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_lines(key):
    net = ReluSum(4, 5, key=fold(key, SITES["net"]))  # models.lee:102
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  models.lee:103
    net_out, saved_net = net.forward_saved(x)  # models.lee:104
    d_net, d_x = net.forward_backward(x, saved_net, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_classes(key):
    net = FullyConnected((4, 6, 5, 3), key=fold(key, SITES["net"]))  # models.lee:108
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  models.lee:109
    label = randint(fold(key, SITES["label"]), (9,), 0, 3)  # int[9]  models.lee:110
    add_3, saved_net = net.forward_saved(x)  # models.lee:111
    d_add_3 = cross_entropy_backward(add_3, label, FLOAT(1.0))  # [9, 3]
    d_net, d_x = net.forward_backward(x, saved_net, d_add_3)
    return cross_entropy(add_3, label), net.at(d_net), d_x


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
    "label": 0x97BB9DAEC28EDB5C,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "layers.2": 0xA380C36DF3DD4243,
    "net": 0xF087C76970C91612,
    "w": 0x20925082A2286B9E,
    "w1": 0xB8398C5E8A843CF2,
    "w2": 0xD2AB21D399353084,
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
