"""Gradient descent on a line (inventory A2 to A4, A11): full batches, single examples, and rates that change.

Made from specs/regression/descent.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/regression/descent.lee
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


class GradientDescent(Optimizer):
    """θ ← θ - η g"""

    def __init__(self, lr=0.1):
        self.lr = lr

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g in blocks(parameters, gradient):
            θ -= self.lr * g  # [count]  descent.lee:11


def decayed(rate, clock, t):
    """η / √(k + 1), k counting updates; with `clock` the number of batches, k counts epochs."""
    return rate / math.sqrt((t - 1) // clock + 1)  # descent.lee:17


def warmed(peak, warmup, t):
    """Up to the peak along a line in `warmup` updates, then down as 1 / √t."""
    return peak * min(t / warmup, math.sqrt(warmup / t))  # descent.lee:24


class Linear(Model):
    """Linear(features)"""

    members = ("w", "b")

    def __init__(self, features):
        self.features = features
        self.w = np.zeros(features, dtype=FLOAT)  # [features]  descent.lee:29
        self.b = FLOAT(0)  # descent.lee:30
        self.lay_out()

    def forward(self, x):
        """x [n, features] -> [n]"""
        return x @ self.w + self.b  # [n]  descent.lee:33

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   descent.lee:33
        d_b = d_y.sum()
        d_w = d_y @ x  # [features]
        return {"w": d_w, "b": d_b}


def descend(data, steps=40, rate=0.1, *, run=None):
    """Full batches: one update an epoch."""
    from leec.runtime.run import Run

    run = run or Run("descend")
    data = run.accept("data", data, fields={"x": ("float", ("n", "d")), "y": ("float", ("n",))})  # descent.lee:36
    net = Linear(features=data.train.x.shape[1])  # descent.lee:38
    opt = GradientDescent(lr=rate)  # descent.lee:39
    for step in run.loop("step", 1, steps, net=net, opt=opt):
        run.step(descend_step(net, opt, data.train.x, data.train.y))  # descent.lee:41
        run.report(loss=mse(net(data.train.x), data.train.y))  # descent.lee:42
    return net


def descend_step(net, opt, data_train_x, data_train_y):
    """One step of descend."""
    loss, saved_mse = mse_saved(net(data_train_x), data_train_y)  # descent.lee:41
    d_net_out = mse_backward(saved_mse, FLOAT(1.0))  # [data_train_n]
    d_net = Linear.forward_backward_parameters(data_train_x, d_net_out)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def stochastic(data, epochs=2, rate=0.01, *, run=None):
    """One example at a time: as many updates an epoch as there are examples."""
    from leec.runtime.run import Run

    run = run or Run("stochastic")
    data = run.accept("data", data, fields={"x": ("float", ("n", "d")), "y": ("float", ("n",))})  # descent.lee:46
    net = Linear(features=data.train.x.shape[1])  # descent.lee:48
    opt = GradientDescent(lr=rate)  # descent.lee:49
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, 1):
            run.step(stochastic_step(net, opt, x, y))  # descent.lee:52
    return net


def stochastic_step(net, opt, x, y):
    """One step of stochastic."""
    loss, saved_mse = mse_saved(net(x), y)  # descent.lee:52
    d_net = Linear.forward_backward_parameters(x, mse_backward(saved_mse, FLOAT(1.0)))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def slowing(data, steps=40, rate=0.1, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("slowing")
    data = run.accept("data", data, fields={"x": ("float", ("n", "d")), "y": ("float", ("n",))})  # descent.lee:56
    net = Linear(features=data.train.x.shape[1])  # descent.lee:57
    opt = GradientDescent(lr=lambda t: decayed(rate, 1, t))  # descent.lee:58
    for step in run.loop("step", 1, steps, net=net, opt=opt):
        run.step(slowing_step(net, opt, data.train.x, data.train.y))  # descent.lee:60
    return net


def slowing_step(net, opt, data_train_x, data_train_y):
    """One step of slowing."""
    loss, saved_mse = mse_saved(net(data_train_x), data_train_y)  # descent.lee:60
    d_net_out = mse_backward(saved_mse, FLOAT(1.0))  # [data_train_n]
    d_net = Linear.forward_backward_parameters(data_train_x, d_net_out)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def slowing_by_epoch(data, epochs=5, batch=100, clock=5, rate=0.1, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("slowing_by_epoch")
    data = run.accept("data", data, fields={"x": ("float", ("n", "d")), "y": ("float", ("n",))})  # descent.lee:64
    net = Linear(features=data.train.x.shape[1])  # descent.lee:65
    opt = GradientDescent(lr=lambda t: decayed(rate, clock, t))  # descent.lee:66
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch):
            run.step(slowing_by_epoch_step(net, opt, x, y))  # descent.lee:69
    return net


def slowing_by_epoch_step(net, opt, x, y):
    """One step of slowing_by_epoch."""
    loss, saved_mse = mse_saved(net(x), y)  # descent.lee:69
    d_net = Linear.forward_backward_parameters(x, mse_backward(saved_mse, FLOAT(1.0)))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def warming(data, steps=40, rate=0.1, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("warming")
    data = run.accept("data", data, fields={"x": ("float", ("n", "d")), "y": ("float", ("n",))})  # descent.lee:73
    net = Linear(features=data.train.x.shape[1])  # descent.lee:74
    opt = GradientDescent(lr=lambda t: warmed(rate, 10, t))  # descent.lee:75
    for step in run.loop("step", 1, steps, net=net, opt=opt):
        run.step(warming_step(net, opt, data.train.x, data.train.y))  # descent.lee:77
    return net


def warming_step(net, opt, data_train_x, data_train_y):
    """One step of warming."""
    loss, saved_mse = mse_saved(net(data_train_x), data_train_y)  # descent.lee:77
    d_net_out = mse_backward(saved_mse, FLOAT(1.0))  # [data_train_n]
    d_net = Linear.forward_backward_parameters(data_train_x, d_net_out)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def fit(epochs=100, rate=2.0, *, run=None):
    """Progression of diabetes in a year, from ten measurements."""
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data("diabetes", standardize=True, test=0.2, fields={"x": ("float", ("n", 10)), "y": ("float", ("n",))})
    net = Linear(features=10)  # descent.lee:84
    opt = Adam(lr=rate)  # descent.lee:85
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, 64, shuffle=True):
            run.step(fit_step(net, opt, x, y))  # descent.lee:88
        reported_train, reported_test = fit_train_test(net, data.train.x, data.train.y, data.test.x, data.test.y)
        run.report(train=reported_train, test=reported_test)  # descent.lee:89
    return net


def fit_step(net, opt, x, y):
    """One step of fit."""
    loss, saved_mse = mse_saved(net(x), y)  # descent.lee:88
    d_net = Linear.forward_backward_parameters(x, mse_backward(saved_mse, FLOAT(1.0)))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def fit_train_test(net, data_train_x, data_train_y, data_test_x, data_test_y):
    """data_train_x [data_train_n, 10], data_train_y [data_train_n], data_test_x [data_test_n, 10], data_test_y
    [data_test_n] -> [], []
    """
    return mse(net(data_train_x), data_train_y), mse(net(data_test_x), data_test_y)  # descent.lee:89


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


# ---- what the code above uses


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)
