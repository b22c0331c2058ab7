"""Optimizers of the lectures (inventory A2 to A12), each as its update rule.

θ and g are all parameters and their gradient, t the number of the update, from 1. Where the notes print a rule that
differs from the standard one, it stands beside it with the suffix AsPrinted.

Made from specs/regression/optimizers.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/regression/optimizers.lee
"""

from __future__ import annotations

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

    def count(self):
        """Count an update; hyperparameters that are functions of the count get their values for it."""
        if "rates" not in self.__dict__:
            self.rates = {name: value for name, value in self.__dict__.items() if callable(value)}
        self.t += 1
        self.__dict__.update({name: rate(self.t) for name, rate in self.rates.items()})

    def begin(self, θ):
        """Count an update; the first one makes the states. Raises ValueError for parameters of another size."""
        self.count()
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


class GradientDescent(Optimizer):
    """θ ← θ - η g"""

    def __init__(self, lr=0.1):
        self.lr = lr

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        θ -= self.lr * g  # [count]  optimizers.lee:17


def decayed(rate, clock, t):
    """η / √(k + 1), k counting updates; with `clock` the number of batches, k counts epochs."""
    return rate / math.sqrt((t - 1) // clock + 1)  # optimizers.lee:23


def warmed(peak, warmup, t):
    """Up to the peak along a line in `warmup` updates, then down as 1 / √t."""
    return peak * min(t / warmup, math.sqrt(warmup / t))  # optimizers.lee:30


class Adagrad(Optimizer):
    """η decays as 1 / √t, and is divided by σ, the root mean square of all gradients so far."""

    starts = {"total": 0.0}

    def __init__(self, lr=0.01):
        self.lr = lr

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.total += g * g  # [count]  optimizers.lee:42
        sigma = np.sqrt(self.total / self.t)  # [count]  optimizers.lee:43
        θ -= self.lr / math.sqrt(self.t) * masked(g / sigma, sigma > 0)  # [count]  optimizers.lee:44


class AdagradSum(Optimizer):
    """The same with both roots of t cancelled: η g / √(Σ g²)."""

    starts = {"total": 0.0}

    def __init__(self, lr=0.01, eps=1e-10):
        self.lr, self.eps = lr, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.total += g * g  # [count]  optimizers.lee:52
        θ -= self.lr * g / (np.sqrt(self.total) + self.eps)  # [count]  optimizers.lee:53


class AdagradSumAsPrinted(Optimizer):
    """One set of notes keeps η constant over the root mean square: the rate no longer falls."""

    starts = {"total": 0.0}

    def __init__(self, lr=0.01, eps=1e-10):
        self.lr, self.eps = lr, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.total += g * g  # [count]  optimizers.lee:61
        θ -= self.lr * g / (np.sqrt(self.total / self.t) + self.eps)  # [count]  optimizers.lee:62


class AdagradCompoundAsPrinted(Optimizer):
    """Another divides the rate of the update before, ηₜ = ηₜ₋₁ / σₜ with σ = √(Σ g²): it compounds."""

    starts = {"total": 0.0, "shrunk": 1.0}

    def __init__(self, lr=0.01):
        self.lr = lr

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.total += g * g  # [count]  optimizers.lee:71
        # [count]  optimizers.lee:72
        self.shrunk[...] = np.where(self.total > 0, self.shrunk / np.sqrt(self.total), self.shrunk)
        θ -= self.lr * self.shrunk * g  # [count]  optimizers.lee:73


class Momentum(Optimizer):
    """m ← λ m - η g; θ ← θ + m: the last step goes on."""

    starts = {"m": 0.0}

    def __init__(self, lr=0.01, decay=0.9):
        self.lr, self.decay = lr, decay

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.m[...] = self.decay * self.m - self.lr * g  # [count]  optimizers.lee:81
        θ += self.m  # [count]  optimizers.lee:82


class RMSProp(Optimizer):
    """σ² is an average that forgets, and starts at 0."""

    starts = {"v": 0.0}

    def __init__(self, lr=1e-3, alpha=0.99, eps=1e-8):
        self.lr, self.alpha, self.eps = lr, alpha, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.v[...] = self.alpha * self.v + (1 - self.alpha) * (g * g)  # [count]  optimizers.lee:90
        θ -= self.lr * g / (np.sqrt(self.v) + self.eps)  # [count]  optimizers.lee:91


class RMSPropAsPrinted(Optimizer):
    """The notes start at the first gradient, σ⁰ = √(g⁰)²: the first step is 1 / √(1 - α) smaller."""

    starts = {"v": 0.0}

    def __init__(self, lr=1e-3, alpha=0.99, eps=1e-8):
        self.lr, self.alpha, self.eps = lr, alpha, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        mul = g * g  # [count]  optimizers.lee:99
        self.v[...] = np.where(self.t == 1, mul, self.alpha * self.v + (1 - self.alpha) * mul)  # [count]
        θ -= self.lr * g / (np.sqrt(self.v) + self.eps)  # [count]  optimizers.lee:100


class Adam(Optimizer):
    """RMSProp with momentum, both averages over their bias."""

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.m[...] = self.beta1 * self.m + (1 - self.beta1) * g  # [count]  optimizers.lee:109
        self.v[...] = self.beta2 * self.v + (1 - self.beta2) * (g * g)  # [count]  optimizers.lee:110
        m_hat = self.m / (1 - math.pow(self.beta1, self.t))  # [count]  optimizers.lee:111
        v_hat = self.v / (1 - math.pow(self.beta2, self.t))  # [count]  optimizers.lee:112
        θ -= self.lr * m_hat / (np.sqrt(v_hat) + self.eps)  # [count]  optimizers.lee:113


class AdamAsPrinted(Optimizer):
    """One set of notes says RMSProp with Adagrad: the average that forgets, under a rate that decays as 1 / √t."""

    starts = {"v": 0.0}

    def __init__(self, lr=1e-3, alpha=0.999, eps=1e-8):
        self.lr, self.alpha, self.eps = lr, alpha, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.v[...] = self.alpha * self.v + (1 - self.alpha) * (g * g)  # [count]  optimizers.lee:121
        mul_4 = self.lr / math.sqrt(self.t) * g  # [count]  optimizers.lee:122
        θ -= mul_4 / (np.sqrt(self.v) + self.eps)  # [count]


class MomentumOverRMS(Optimizer):
    """θ ← θ - η / σ · m, m being a weighted sum of past gradients: Adam without its bias correction."""

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=0.01, decay=0.9, alpha=0.99, eps=1e-8):
        self.lr, self.decay, self.alpha, self.eps = lr, decay, alpha, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.m[...] = self.decay * self.m + (1 - self.decay) * g  # [count]  optimizers.lee:131
        self.v[...] = self.alpha * self.v + (1 - self.alpha) * (g * g)  # [count]  optimizers.lee:132
        θ -= self.lr * self.m / (np.sqrt(self.v) + self.eps)  # [count]  optimizers.lee:133


class MomentumOverRMSAsPrinted(Optimizer):
    """The same line with the notes' own m, which already points downhill: it climbs."""

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=0.01, decay=0.9, alpha=0.99, eps=1e-8):
        self.lr, self.decay, self.alpha, self.eps = lr, decay, alpha, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.m[...] = self.decay * self.m - self.lr * g  # [count]  optimizers.lee:142
        self.v[...] = self.alpha * self.v + (1 - self.alpha) * (g * g)  # [count]  optimizers.lee:143
        θ -= self.lr * self.m / (np.sqrt(self.v) + self.eps)  # [count]  optimizers.lee:144


def clipped_saved(g, bound):
    """As clipped, and what its gradient needs."""
    maximum = np.maximum(g, -bound)  # [n]  optimizers.lee:152
    return np.minimum(maximum, bound), maximum


def clipped_backward(g, bound, maximum, d_minimum):
    """From d_minimum to the gradient by g."""
    # gradient of return min(max(g, -bound), bound)   optimizers.lee:152
    d_g = masked(masked(d_minimum, g >= -bound), maximum <= bound)  # [n]
    return d_g  # [n]


def clippedAsPrinted(g, bound):
    """G = min(G, G_max): large negative entries pass.

    g [n] -> [n]
    """
    return np.minimum(g, bound)  # [n]  optimizers.lee:157


def clippedAsPrinted_backward(g, bound, d_y):
    """From d_y to the gradient by g."""
    # gradient of return min(g, bound)   optimizers.lee:157
    d_g = masked(d_y, g <= bound)  # [n]
    return d_g  # [n]


def rescaled_saved(g, bound):
    """As rescaled, and what its gradient needs."""
    sqrt, saved_norm = norm_saved(g)  # optimizers.lee:162
    add = sqrt + 1e-6
    div = bound / add
    minimum = np.minimum(1, div)
    return g * minimum, (sqrt, saved_norm, add, div, minimum)


def rescaled_backward(g, saved, d_mul):
    """From d_mul to the gradient by g."""
    sqrt, saved_norm, add, div, minimum = saved
    # gradient of return g * min(1, bound / (norm(g) + 1e-6))   optimizers.lee:162
    d_add = np.where(1 <= div, 0.0, -((d_mul * g).sum() * div / add))
    d_g = d_mul * minimum + norm_backward(g, saved_norm, sqrt, d_add)  # [n]
    return d_g  # [n]


def rescaled_2_saved(g, bound):
    """As rescaled_2, and what its gradient needs."""
    sqrt, saved_norm = norm_saved(g)  # optimizers.lee:162
    add = sqrt + 1e-6
    div = bound / add
    minimum = np.minimum(1, div)
    return g * minimum, (sqrt, saved_norm, add, div, minimum)


def rescaled_2_backward(g, saved, d_mul):
    """From d_mul to the gradient by g."""
    sqrt, saved_norm, add, div, minimum = saved
    # gradient of return g * min(1, bound / (norm(g) + 1e-6))   optimizers.lee:162
    d_add = np.where(1 <= div, 0.0, -((d_mul * g).sum() * div / add))
    d_g = d_mul * minimum + norm_backward(g, saved_norm, sqrt, d_add)  # [n]
    return d_g  # [n]


class Linear(Model):
    """Linear(features)"""

    members = ("w", "b")

    def __init__(self, features):
        self.features = features
        self.w = np.zeros(features, dtype=FLOAT)  # [features]  optimizers.lee:169
        self.b = FLOAT(0)  # optimizers.lee:170
        self.lay_out()

    def forward(self, x):
        """x [n, features] -> [n]"""
        return x @ self.w + self.b  # [n]  optimizers.lee:173

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   optimizers.lee:173
        d_b = d_y.sum()
        d_w = d_y @ x  # [features]
        return {"w": d_w, "b": d_b}


def descend(data, steps=40, rate=0.1, *, run=None):
    """Full batches: one update an epoch."""
    from leec.runtime.run import Run

    run = run or Run("descend")
    data = run.accept("data", data, fields={"x": ("float", ("n", "d")), "y": ("float", ("n",))})  # optimizers.lee:176
    net = Linear(features=data.train.x.shape[1])  # optimizers.lee:178
    opt = GradientDescent(lr=rate)  # optimizers.lee:179
    for step in run.loop("step", 1, steps, net=net, opt=opt):
        run.step(descend_step(net, opt, data.train.x, data.train.y))  # optimizers.lee:181
        run.report(loss=mse(net(data.train.x), data.train.y))  # optimizers.lee:182
    return net


def descend_step(net, opt, data_train_x, data_train_y):
    """One step of descend."""
    loss, saved_mse = mse_saved(net(data_train_x), data_train_y)  # optimizers.lee:181
    d_add = mse_backward(saved_mse, FLOAT(1.0))  # [data_train_n]
    d_net = Linear.forward_backward_parameters(data_train_x, d_add)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def stochastic(data, epochs=2, rate=0.01, *, run=None):
    """One example at a time: as many updates an epoch as there are examples."""
    from leec.runtime.run import Run

    run = run or Run("stochastic")
    data = run.accept("data", data, fields={"x": ("float", ("n", "d")), "y": ("float", ("n",))})  # optimizers.lee:186
    net = Linear(features=data.train.x.shape[1])  # optimizers.lee:188
    opt = GradientDescent(lr=rate)  # optimizers.lee:189
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, 1):
            run.step(stochastic_step(net, opt, x, y))  # optimizers.lee:192
    return net


def stochastic_step(net, opt, x, y):
    """One step of stochastic."""
    loss, saved_mse = mse_saved(net(x), y)  # optimizers.lee:192
    d_net = Linear.forward_backward_parameters(x, mse_backward(saved_mse, FLOAT(1.0)))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def slowing(data, steps=40, rate=0.1, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("slowing")
    data = run.accept("data", data, fields={"x": ("float", ("n", "d")), "y": ("float", ("n",))})  # optimizers.lee:196
    net = Linear(features=data.train.x.shape[1])  # optimizers.lee:197
    opt = GradientDescent(lr=lambda t: decayed(rate, 1, t))  # optimizers.lee:198
    for step in run.loop("step", 1, steps, net=net, opt=opt):
        run.step(slowing_step(net, opt, data.train.x, data.train.y))  # optimizers.lee:200
    return net


def slowing_step(net, opt, data_train_x, data_train_y):
    """One step of slowing."""
    loss, saved_mse = mse_saved(net(data_train_x), data_train_y)  # optimizers.lee:200
    d_add = mse_backward(saved_mse, FLOAT(1.0))  # [data_train_n]
    d_net = Linear.forward_backward_parameters(data_train_x, d_add)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def slowing_by_epoch(data, epochs=5, batch=100, clock=5, rate=0.1, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("slowing_by_epoch")
    data = run.accept("data", data, fields={"x": ("float", ("n", "d")), "y": ("float", ("n",))})  # optimizers.lee:204
    net = Linear(features=data.train.x.shape[1])  # optimizers.lee:205
    opt = GradientDescent(lr=lambda t: decayed(rate, clock, t))  # optimizers.lee:206
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch):
            run.step(slowing_by_epoch_step(net, opt, x, y))  # optimizers.lee:209
    return net


def slowing_by_epoch_step(net, opt, x, y):
    """One step of slowing_by_epoch."""
    loss, saved_mse = mse_saved(net(x), y)  # optimizers.lee:209
    d_net = Linear.forward_backward_parameters(x, mse_backward(saved_mse, FLOAT(1.0)))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def warming(data, steps=40, rate=0.1, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("warming")
    data = run.accept("data", data, fields={"x": ("float", ("n", "d")), "y": ("float", ("n",))})  # optimizers.lee:213
    net = Linear(features=data.train.x.shape[1])  # optimizers.lee:214
    opt = GradientDescent(lr=lambda t: warmed(rate, 10, t))  # optimizers.lee:215
    for step in run.loop("step", 1, steps, net=net, opt=opt):
        run.step(warming_step(net, opt, data.train.x, data.train.y))  # optimizers.lee:217
    return net


def warming_step(net, opt, data_train_x, data_train_y):
    """One step of warming."""
    loss, saved_mse = mse_saved(net(data_train_x), data_train_y)  # optimizers.lee:217
    d_add = mse_backward(saved_mse, FLOAT(1.0))  # [data_train_n]
    d_net = Linear.forward_backward_parameters(data_train_x, d_add)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def fit(epochs=100, rate=0.1, *, run=None):
    """Progression of diabetes in a year, from ten measurements."""
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data("diabetes", standardize=True, test=0.2, fields={"x": ("float", ("n", 10)), "y": ("float", ("n",))})
    net = Linear(features=10)  # optimizers.lee:224
    opt = Adam(lr=rate)  # optimizers.lee:225
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, 64, shuffle=True):
            run.step(fit_step(net, opt, x, y))  # optimizers.lee:228
        reported_train, reported_test = fit_train_test(net, data.train.x, data.train.y, data.test.x, data.test.y)
        run.report(train=reported_train, test=reported_test)  # optimizers.lee:229
    return net


def fit_step(net, opt, x, y):
    """One step of fit."""
    loss, saved_mse = mse_saved(net(x), y)  # optimizers.lee:228
    d_net = Linear.forward_backward_parameters(x, mse_backward(saved_mse, FLOAT(1.0)))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def fit_train_test(net, data_train_x, data_train_y, data_test_x, data_test_y):
    """data_train_x [data_train_n, 10], data_train_y [data_train_n], data_test_x [data_test_n, 10], data_test_y
    [data_test_n] -> [], []
    """
    return mse(net(data_train_x), data_train_y), mse(net(data_test_x), data_test_y)  # optimizers.lee:229


def example_within_bounds(key):
    g = normal(fold(key, SITES["g"]), (20,), FLOAT) * 2  # [20]  optimizers.lee:234
    c = normal(fold(key, SITES["c"]), (20,), FLOAT)  # [20]  optimizers.lee:235
    d_c, saved_clipped = clipped_saved(g, 1.5)  # optimizers.lee:236
    return (c * d_c).sum(), clipped_backward(g, 1.5, saved_clipped, c), d_c


def example_within_bounds_as_printed(key):
    g = normal(fold(key, SITES["g"]), (20,), FLOAT) * 2  # [20]  optimizers.lee:240
    c = normal(fold(key, SITES["c"]), (20,), FLOAT)  # [20]  optimizers.lee:241
    d_c = clippedAsPrinted(g, 1.5)  # [20]  optimizers.lee:242
    return (c * d_c).sum(), clippedAsPrinted_backward(g, 1.5, c), d_c


def example_shortened(key):
    g = normal(fold(key, SITES["g"]), (20,), FLOAT) * 2  # [20]  optimizers.lee:246
    c = normal(fold(key, SITES["c"]), (20,), FLOAT)  # [20]  optimizers.lee:247
    mul, saved_rescaled = rescaled_saved(g, 1.5)  # optimizers.lee:248
    mul_3, saved_rescaled_2 = rescaled_2_saved(g, 100)
    d_g_2 = rescaled_2_backward(g, saved_rescaled_2, c)  # [20]
    return (c * mul).sum() + (c * mul_3).sum(), d_g_2 + rescaled_backward(g, saved_rescaled, c), mul_3 + mul


def mse(y, target):
    """mean (y - target)²

    y [y_0], target [y_0] -> []
    """
    sub = y - target  # [y_0]  losses.lee:13
    return reduced(sub * sub)


def mse_saved(y, target):
    """As mse, and what its gradient needs."""
    sub = y - target  # [y_0]  losses.lee:13
    return reduced(sub * sub), sub


def mse_backward(sub, d_out):
    """From d_out to the gradient by y."""
    y_0 = sub.shape[0]
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_y = 2 * (reduced_backward(y_0, d_out) * sub)  # [y_0]
    return d_y  # [y_0]


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


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x * x).sum()  # prelude.lee:161
    return np.sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt, d_sqrt):
    """From d_sqrt to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:161
    d_x = 2 * (d_sqrt * 0.5 / np.where(sum_ > 0.0, sqrt, np.inf)) * x  # [x_0]
    return d_x  # [x_0]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "c": 0x1B2C07CD64633F37,
    "g": 0xBC30DBAED87C766C,
}


def masked(x, c):
    """x where c holds, else 0: bits of x, or none. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return (x.view(word) & -c.astype(word)).view(x.dtype)


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
