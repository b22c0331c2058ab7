"""Activations: what a neuron makes of its weighted sum (inventory C1 to C8).

Steps that are soft or hard, ramps that never saturate, and softmax, which makes shares of scores.

Made from specs/activations/activations.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/activations/activations.lee
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


def soft_step_saved(x, height, bias, weight):
    """As soft_step, and what its gradient needs."""
    add = bias + weight * x  # [x_0]  activations.lee:20
    sigmoid = np.exp(np.minimum(add, 0)) / (1 + np.exp(-np.abs(add)))  # [x_0]  activations.lee:15
    return height * sigmoid, sigmoid  # activations.lee:20


def soft_step_backward(sigmoid, height, weight, d_mul_2):
    """From d_mul_2 to the gradient by x."""
    # gradient of return height * sigmoid(bias + weight * x)   activations.lee:20
    d_x = d_mul_2 * height * (sigmoid * (1 - sigmoid)) * weight  # [x_0]
    return d_x  # [x_0]


def hard_sigmoid_saved(x):
    """As hard_sigmoid, and what its gradient needs."""
    add = x / 6 + 0.5  # [x_0]  activations.lee:25
    maximum = np.maximum(add, 0)  # [x_0]
    return np.minimum(maximum, 1), (add, maximum)


def hard_sigmoid_backward(saved, d_minimum):
    """From d_minimum to the gradient by x."""
    add, maximum = saved
    # gradient of return min(max(x / 6 + 1 / 2, 0), 1)   activations.lee:25
    d_x = masked(masked(d_minimum / 6, add >= 0), maximum <= 1)  # [x_0]
    return d_x  # [x_0]


def hard_step_saved(x, start, end, height):
    """As hard_step, and what its gradient needs."""
    slope = height / (end - start)  # activations.lee:30
    sub = x - start  # [x_0]  activations.lee:31
    sub_2 = x - end  # [x_0]
    return slope * relu(sub) - slope * relu(sub_2), (sub, sub_2)


def hard_step_backward(saved, end, height, start, d_sub_3):
    """From d_sub_3 to the gradient by x."""
    sub, sub_2 = saved
    # gradient of slope = height / (end - start)   activations.lee:30
    slope = height / (end - start)
    # gradient of return slope * relu(x - start) - slope * relu(x - end)   activations.lee:31
    mul = slope * d_sub_3  # [x_0]
    d_x = relu_backward(sub_2, -mul) + relu_backward(sub, mul)  # [x_0]
    return d_x  # [x_0]


def relu(x):
    """max(0, x)

    x [x_0] -> [x_0]
    """
    return np.maximum(0, x)  # [x_0]  activations.lee:36


def relu_backward(x, d_y):
    """From d_y to the gradient by x."""
    # gradient of return max(0, x)   activations.lee:36
    d_x = np.where(0 >= x, 0, d_y)  # [x_0]
    return d_x  # [x_0]


def leaky_relu_saved(x):
    """As leaky_relu, and what its gradient needs."""
    gt = x > 0  # bool[x_0]  activations.lee:41
    return np.where(gt, x, x / 100), gt


def leaky_relu_backward(gt, d_select):
    """From d_select to the gradient by x."""
    d_x = masked(d_select, gt) + np.where(gt, 0, d_select / 100)  # [x_0]
    return d_x  # [x_0]


class ParametricReLU(Model):
    """Leaky ReLU whose slope α is learned, one for each channel."""

    members = ("alpha",)

    def __init__(self, channels):
        self.channels = channels
        self.alpha = np.full(channels, 0.25, dtype=FLOAT)  # [channels]  activations.lee:46
        self.lay_out()

    def forward(self, x):
        """x [n, channels] -> [n, channels]"""
        return np.where(x > 0, x, self.alpha * x)  # [n, channels]  activations.lee:49

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        gt = x > 0  # bool[n, channels]  activations.lee:49
        return np.where(gt, x, self.alpha * x), gt

    def forward_backward(self, x, gt, d_y):
        """From d_y to the gradients by the parameters and x."""
        d_alpha = np.where(gt, 0, d_y * x).sum(axis=0)  # [channels]
        d_x = masked(d_y, gt) + np.where(gt, 0, d_y * self.alpha)  # [n, channels]
        return {"alpha": d_alpha}, d_x


class Maxout(Model):
    """Each unit is the largest of several sums: a learned convex function; with a piece of 0 it is ReLU."""

    members = ("w", "b")

    def __init__(self, inputs, units, pieces=2, *, key=(0, 0)):
        self.inputs, self.units, self.pieces = inputs, units, pieces
        key_2 = fold(key, SITES["w"])  # activations.lee:54
        self.w = 1 / math.sqrt(inputs) * normal(key_2, (units, pieces, inputs), FLOAT)  # [units, pieces, inputs]
        self.b = normal(fold(key, SITES["b"]), (units, pieces), FLOAT)  # [units, pieces]  activations.lee:55
        self.lay_out()

    def forward(self, x):
        """x [n, inputs] -> [n, units]"""
        n = x.shape[0]
        # [n, pieces * units]  activations.lee:58
        contract = x @ self.w.reshape(self.pieces * self.units, self.inputs).T
        z = contract.reshape(n, self.units, self.pieces) + self.b  # [n, units, pieces]
        return z.max(axis=2, initial=-np.inf)  # [n, units]  activations.lee:59

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        # [n, pieces * units]  activations.lee:58
        contract = x @ self.w.reshape(self.pieces * self.units, self.inputs).T
        z = contract.reshape(n, self.units, self.pieces) + self.b  # [n, units, pieces]
        return z.max(axis=2, initial=-np.inf), z  # activations.lee:59

    def forward_backward(self, x, z, d_y):
        """From d_y to the gradients by the parameters and x."""
        n = x.shape[0]
        # gradient of return max(z, axis = 2)   activations.lee:59
        iota = np.arange(self.pieces)[None, None, :]  # int[1, 1, pieces]
        d_z = masked(d_y[:, :, None], iota == z.argmax(axis=2)[:, :, None])  # [n, units, pieces]
        # gradient of z[n, u, p] = sum[i](x[n, i] * w[u, p, i]) + b[u, p]   activations.lee:58
        d_b = d_z.sum(axis=0)  # [units, pieces]
        reshape_3 = d_z.reshape(n, self.pieces * self.units)  # [n, pieces * units]
        d_x = reshape_3 @ self.w.reshape(self.pieces * self.units, self.inputs)  # [n, inputs]
        d_w = (reshape_3.T @ x).reshape(self.units, self.pieces, self.inputs)  # [units, pieces, inputs]
        return {"w": d_w, "b": d_b}, d_x

    @staticmethod
    def forward_backward_parameters(x, z, d_y):
        """From d_y to the gradient by the parameters."""
        inputs = x.shape[1]
        n, units, pieces = z.shape
        # gradient of return max(z, axis = 2)   activations.lee:59
        iota = np.arange(pieces)[None, None, :]  # int[1, 1, pieces]
        d_z = masked(d_y[:, :, None], iota == z.argmax(axis=2)[:, :, None])  # [n, units, pieces]
        # gradient of z[n, u, p] = sum[i](x[n, i] * w[u, p, i]) + b[u, p]   activations.lee:58
        d_b = d_z.sum(axis=0)  # [units, pieces]
        d_w = (d_z.reshape(n, pieces * units).T @ x).reshape(units, pieces, inputs)  # [units, pieces, inputs]
        return {"w": d_w, "b": d_b}


def softmax_(z):
    """yᵢ = e^zᵢ / Σⱼ e^zⱼ

    z [n, k] -> [n, k]
    """
    share = softmax(z, (1,))  # [n, k]  activations.lee:64
    return share  # [n, k]


def softmaxAsPrinted(z):
    """One set of notes sums over the wrong index, e^zᵢ / Σⱼ e^zᵢ, which is 1 / k whatever z.

    z [n, k] -> [n, k]
    """
    k = z.shape[1]
    exp_z = np.exp(z)  # [n, k]  activations.lee:70
    share = exp_z / (exp_z * k)  # [n, k]
    return share  # [n, k]


def softmaxAsPrinted_saved(z):
    """As softmaxAsPrinted, and what its gradient needs."""
    k = z.shape[1]
    exp_z = np.exp(z)  # [n, k]  activations.lee:70
    mul = exp_z * k  # [n, k]
    share = exp_z / mul  # [n, k]
    return share, (exp_z, mul)


def softmaxAsPrinted_backward(saved, share, d_share):
    """From d_share to the gradient by z."""
    exp_z, mul = saved
    k = exp_z.shape[1]
    # gradient of share[n, i] = exp(z[n, i]) / sum[j in k](exp(z[n, i]))   activations.lee:70
    d_z = (d_share / mul - k * (d_share * share / mul)) * exp_z  # [n, k]
    return d_z  # [n, k]


def tanh_saved(x):
    """As tanh, and what its gradient needs."""
    mul = 2 * x  # [x_0]  activations.lee:15
    sigmoid = np.exp(np.minimum(mul, 0)) / (1 + np.exp(-np.abs(mul)))  # [x_0]
    return 2 * sigmoid - 1, sigmoid  # activations.lee:76


def tanh_backward(sigmoid, d_sub):
    """From d_sub to the gradient by x."""
    # gradient of return 1 / (1 + exp(-x))   activations.lee:15
    d_x = d_sub * 2 * (sigmoid * (1 - sigmoid)) * 2  # [x_0]
    return d_x  # [x_0]


class Learned(Model):
    """A net whose activations are learned too."""

    members = ("first", "second", "ramp", "last")

    def __init__(self, hidden, *, key=(0, 0)):
        self.hidden = hidden
        self.first = Maxout(64, hidden, key=fold(key, SITES["first"]))  # activations.lee:81
        self.second = Linear(hidden, hidden, key=fold(key, SITES["second"]))  # activations.lee:82
        self.ramp = ParametricReLU(hidden)  # activations.lee:83
        self.last = Linear(hidden, 10, key=fold(key, SITES["last"]))  # activations.lee:84
        self.lay_out()

    def forward(self, x):
        """x [n, 64] -> [n, 10]"""
        return self.last(self.ramp(self.second(self.first(x))))  # [n, 10]  activations.lee:87

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        first_out, saved_first = self.first.forward_saved(x)  # activations.lee:87
        second_out = self.second(first_out)  # [n, hidden]
        ramp_out, saved_ramp = self.ramp.forward_saved(second_out)
        return self.last(ramp_out), (first_out, saved_first, second_out, ramp_out, saved_ramp)

    def forward_backward_parameters(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        first_out, saved_first, second_out, ramp_out, saved_ramp = saved
        # gradient of return last(ramp(second(first(x))))   activations.lee:87
        d_last, d_ramp_out = self.last.forward_backward(ramp_out, d_y)
        d_ramp, d_second_out = self.ramp.forward_backward(second_out, saved_ramp, d_ramp_out)
        d_second, d_first_out = self.second.forward_backward(first_out, d_second_out)
        d_first = Maxout.forward_backward_parameters(x, saved_first, d_first_out)
        return {"first": d_first, "second": d_second, "ramp": d_ramp, "last": d_last}


def fit(epochs=20, batch=64, rate=0.1, *, run=None):
    """Digits."""
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Learned(hidden=24, key=run.key("net"))  # activations.lee:93
    opt = SGD(lr=rate)  # activations.lee:94
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_step(net, opt, x, y))  # activations.lee:97
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # activations.lee:98
    return net


def fit_step(net, opt, x, y):
    """One step of fit."""
    add_2, saved_net = net.forward_saved(x)  # activations.lee:97
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def example_steps(key):
    x = 2 * normal(fold(key, SITES["x"]), (50,), FLOAT)  # [50]  activations.lee:103
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:104
    sigmoid_x = np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))  # [50]  activations.lee:15
    mul_2 = c**2  # [50]  activations.lee:105
    mul_2_2, saved_soft_step = soft_step_saved(x, 3, 1, 2)
    d_x_2 = soft_step_backward(saved_soft_step, 3, 2, mul_2)  # [50]
    # activations.lee:15
    return (
        (c * sigmoid_x).sum() + (mul_2 * mul_2_2).sum(),
        d_x_2 + c * (sigmoid_x * (1 - sigmoid_x)),
        2 * (mul_2_2 * c) + sigmoid_x,
    )


def example_ramps(key):
    x = 3 * normal(fold(key, SITES["x"]), (50,), FLOAT)  # [50]  activations.lee:109
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:110
    minimum, saved_hard_sigmoid = hard_sigmoid_saved(x)  # activations.lee:111
    mul_2 = c**2  # [50]
    sub_3, saved_hard_step = hard_step_saved(x, -1, 2, 5)
    d_x_2 = hard_step_backward(saved_hard_step, 2, 5, -1, mul_2)  # [50]
    return (
        (c * minimum).sum() + (mul_2 * sub_3).sum(),
        d_x_2 + hard_sigmoid_backward(saved_hard_sigmoid, c),
        2 * (sub_3 * c) + minimum,
    )


def example_rectified(key):
    x = normal(fold(key, SITES["x"]), (50,), FLOAT)  # [50]  activations.lee:115
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:116
    d_c = relu(x)  # [50]  activations.lee:117
    return (c * d_c).sum(), relu_backward(x, c), d_c


def example_leaky(key):
    x = normal(fold(key, SITES["x"]), (50,), FLOAT)  # [50]  activations.lee:121
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:122
    d_c, saved_leaky_relu = leaky_relu_saved(x)  # activations.lee:123
    return (c * d_c).sum(), leaky_relu_backward(saved_leaky_relu, c), d_c


def example_learned_slope(key):
    net = ParametricReLU(4)  # activations.lee:127
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  activations.lee:128
    net_out, saved_net = net.forward_saved(x)  # activations.lee:129
    d_net, d_x = net.forward_backward(x, saved_net, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_largest_piece(key):
    net = Maxout(5, 3, pieces=4, key=fold(key, SITES["net"]))  # activations.lee:133
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  activations.lee:134
    net_out, saved_net = net.forward_saved(x)  # activations.lee:135
    d_net, d_x = net.forward_backward(x, saved_net, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_shares(key):
    z = 2 * normal(fold(key, SITES["z"]), (9, 5), FLOAT)  # [9, 5]  activations.lee:139
    c = normal(fold(key, SITES["c"]), (9, 5), FLOAT)  # [9, 5]  activations.lee:140
    d_c = softmax(z, (1,))  # [9, 5]  activations.lee:64
    mul = c * d_c  # [9, 5]  activations.lee:141
    return mul.sum(), d_c * (c - mul.sum(axis=1, keepdims=True)), d_c  # activations.lee:64


def example_shares_as_printed(key):
    z = 2 * normal(fold(key, SITES["z"]), (9, 5), FLOAT)  # [9, 5]  activations.lee:145
    c = normal(fold(key, SITES["c"]), (9, 5), FLOAT)  # [9, 5]  activations.lee:146
    d_c, saved_softmaxAsPrinted = softmaxAsPrinted_saved(z)  # activations.lee:147
    return (c * d_c).sum(), softmaxAsPrinted_backward(saved_softmaxAsPrinted, d_c, c), d_c


def example_hyperbolic(key):
    x = 2 * normal(fold(key, SITES["x"]), (50,), FLOAT)  # [50]  activations.lee:151
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:152
    d_c, saved_tanh = tanh_saved(x)  # activations.lee:153
    return (c * d_c).sum(), tanh_backward(saved_tanh, c), d_c


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


class SGD(Optimizer):
    """θ ← θ - η (g + λ θ)"""

    def __init__(self, lr=0.01, weight_decay=0.0):
        self.lr, self.weight_decay = lr, weight_decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g in blocks(parameters, gradient):
            θ -= self.lr * (g + self.weight_decay * θ)  # [count]  optim.lee:11


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "first": 0xA31DFC4F51C2A8A2,
    "last": 0x840C26AC856B94B1,
    "net": 0xF087C76970C91612,
    "second": 0xF4C52D43B87F6485,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "z": 0x3041FD28A7B04184,
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


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)
