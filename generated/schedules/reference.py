"""Rates that depend on the number of the update (inventory A11), and two optimizers that take them.

A schedule is a function of t; it stands wherever a rate is asked for. All of these rise first.

Made from specs/regression/schedules.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/regression/schedules.lee
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


def ramp(peak, warmup, t):
    """From 0 to the peak, which is where it stays."""
    return peak * float(min(1, t / float(max(warmup, 1))))  # schedules.lee:14


def warmup_linear(peak, warmup, total, t):
    """Up to the peak, down to 0 along a line."""
    minimum = clip((total - t) / float(max(total - warmup, 1)), 0, 1)  # schedules.lee:20
    return ramp(peak, warmup, t) * minimum


def warmup_cosine(peak, warmup, total, t):
    """Up to the peak, down to 0 along half a wave (Loshchilov & Hutter 2017)."""
    div = 3.141592653589793 * (t - warmup) / (total - warmup)  # schedules.lee:27
    wave = 0.5 * peak * (1 + math.cos(div))
    return ramp(peak, warmup, t) if t < warmup else wave  # schedules.lee:28


def warmup_inverse_sqrt(d, warmup, t):
    """The schedule of the Transformer (Vaswani et al. 2017)."""
    minimum = min(math.pow(t, -0.5), t * math.pow(warmup, -1.5))  # schedules.lee:35
    return math.pow(d, -0.5) * minimum


def warmup_steps(peak, warmup, factor, t):
    """Up to the peak, then down by a factor at every milestone."""
    passed = 1 if t >= 100 else 0  # schedules.lee:44
    passed_2 = passed + (1 if t >= 160 else 0)
    return ramp(peak, warmup, t) * math.pow(factor, passed_2)  # schedules.lee:45


def cyclic(low, high, period, t):
    """Up and down again, in straight lines (Smith 2017)."""
    phase = abs(2 * (t % period) / period - 1)  # schedules.lee:52
    return high - (high - low) * phase  # schedules.lee:53


class AdamW(Optimizer):
    """Adam of gradients no longer than `clip`; weights decay beside it, not through it (Loshchilov & Hutter 2019)."""

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0, clip_=np.inf):
        self.lr, self.beta1, self.beta2 = lr, beta1, beta2
        self.eps, self.weight_decay, self.clip = eps, weight_decay, clip_

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        g_2 = g * np.minimum(1, self.clip / (norm_2(g) + 1e-6))  # [count]  schedules.lee:63
        self.m[...] = self.beta1 * self.m + (1 - self.beta1) * g_2  # [count]  schedules.lee:64
        self.v[...] = self.beta2 * self.v + (1 - self.beta2) * g_2**2  # [count]  schedules.lee:65
        m_hat = self.m / (1 - math.pow(self.beta1, self.t))  # [count]  schedules.lee:66
        v_hat = self.v / (1 - math.pow(self.beta2, self.t))  # [count]  schedules.lee:67
        add_3 = m_hat / (np.sqrt(v_hat) + self.eps) + self.weight_decay * θ  # [count]  schedules.lee:68
        θ -= self.lr * add_3  # [count]


class Muon(Optimizer):
    """A rule for each tensor: the momentum of a matrix is made orthogonal (Jordan 2024), other tensors take it plain."""

    starts = {"m": 0.0}

    def __init__(self, lr=0.02, decay=0.95):
        self.lr, self.decay = lr, decay

    def update(self, θ, g, shapes):
        """Move θ along its gradient, in place; `shapes` are those of the tensors in it."""
        self.begin(θ)
        rules = {1: self.update_1d, 2: self.update_2d}
        stop = 0
        for shape in shapes:
            start, stop = stop, stop + math.prod(shape)
            rules[len(shape)](*(v[start:stop].reshape(shape) for v in (θ, g, self.m)))

    def update_1d(self, θ, g, m):
        """Move one tensor of rank 1, in place."""
        m[...] = self.decay * m + g  # [d0]  schedules.lee:76
        θ -= self.lr * m  # [d0]  schedules.lee:80

    def update_2d(self, θ, g, m):
        """Move one tensor of rank 2, in place."""
        m[...] = self.decay * m + g  # [d0, d1]  schedules.lee:76
        θ -= self.lr * orthogonal_factor(m, 5)  # [d0, d1]  schedules.lee:78


def orthogonal_factor(a, steps):
    """Newton-Schulz iteration towards U Vᵀ of a = U S Vᵀ.

    a [r, c] -> [r, c]
    """
    x = a / np.maximum(norm(a), 1e-7)  # [r, c]  schedules.lee:85
    # schedules.lee:86
    for s in range(steps):
        x = orthogonal_factor_step(x)
    return x  # [r, c]


def orthogonal_factor_saved(a, steps):
    """As orthogonal_factor, and what its gradient needs."""
    sqrt, saved_norm = norm_saved(a)  # schedules.lee:85
    maximum = np.maximum(sqrt, 1e-7)
    x = a / maximum  # [r, c]
    x_ = x  # schedules.lee:86
    saved_orthogonal_factor_step = [None] * steps
    for s in range(steps):
        x_, saved_orthogonal_factor_step[s] = orthogonal_factor_step_saved(x_)
    return x_, (sqrt, saved_norm, maximum, x, saved_orthogonal_factor_step)


def orthogonal_factor_backward(a, saved, steps, d_x_4):
    """From d_x_4 to the gradient by a."""
    sqrt, saved_norm, maximum, x, saved_orthogonal_factor_step = saved
    # gradient of for s in steps:   schedules.lee:86
    for s in reversed(range(steps)):
        d_x_4 = orthogonal_factor_step_backward(saved_orthogonal_factor_step[s], d_x_4)
    # gradient of x = a / max(norm(a), 1e-7)   schedules.lee:85
    d_sqrt = masked(-(d_x_4 * x / maximum).sum(), sqrt >= 1e-7)
    d_a = d_x_4 / maximum + norm_backward(a, saved_norm, sqrt, d_sqrt)  # [r, c]
    return d_a  # [r, c]


def orthogonal_factor_step(x):
    """x [r, c] -> [r, c]"""
    gram = x @ x.T  # [r, r]  schedules.lee:87
    x_3 = 1.5 * x - 0.5 * gram @ x  # [r, c]  schedules.lee:88
    return x_3  # [r, c]


def orthogonal_factor_step_saved(x):
    """As orthogonal_factor_step, and what its gradient needs."""
    gram = x @ x.T  # [r, r]  schedules.lee:87
    mul_2 = 0.5 * gram  # [r, r]  schedules.lee:88
    x_3 = 1.5 * x - mul_2 @ x  # [r, c]
    return x_3, (mul_2, x)


def orthogonal_factor_step_backward(saved, d_x_3):
    """From d_x_3 to the gradient by x."""
    mul_2, x = saved
    # gradient of x = 1.5 * x - 0.5 * gram @ x   schedules.lee:88
    d_gram = -d_x_3 @ x.T * 0.5  # [r, r]
    # gradient of gram = x @ x.T   schedules.lee:87
    d_x = mul_2.T @ -d_x_3 + d_x_3 * 1.5 + d_gram @ x + d_gram.T @ x  # [r, c]
    return d_x  # [r, c]


def warmed(epochs=10, batch=64, peak=0.01, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("warmed")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net"))  # schedules.lee:94
    total = epochs * (len(data.train) // batch)  # schedules.lee:95
    opt = AdamW(lr=lambda t: warmup_cosine(peak, 20, total, t), weight_decay=0.01, clip_=1.0)  # schedules.lee:96
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True, drop_last=True):
            run.step(warmed_step(net, opt, x, y))  # schedules.lee:99
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # schedules.lee:100
    return net


def warmed_step(net, opt, x, y):
    """One step of warmed."""
    add_2, saved_net = net.forward_saved(x)  # schedules.lee:99
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def like_transformers(epochs=10, batch=64, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("like_transformers")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net"))  # schedules.lee:106
    opt = AdamW(lr=lambda t: warmup_inverse_sqrt(512, 20, t))  # schedules.lee:107
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(like_transformers_step(net, opt, x, y))  # schedules.lee:110
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # schedules.lee:111
    return net


def like_transformers_step(net, opt, x, y):
    """One step of like_transformers."""
    add_2, saved_net = net.forward_saved(x)  # schedules.lee:110
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def orthogonal_steps(epochs=10, batch=64, peak=0.05, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("orthogonal_steps")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net"))  # schedules.lee:117
    total = epochs * (len(data.train) // batch + 1)  # schedules.lee:118
    opt = Muon(lr=lambda t: warmup_linear(peak, 20, total, t))  # schedules.lee:119
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(orthogonal_steps_step(net, opt, x, y))  # schedules.lee:122
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # schedules.lee:123
    return net


def orthogonal_steps_step(net, opt, x, y):
    """One step of orthogonal_steps."""
    add_2, saved_net = net.forward_saved(x)  # schedules.lee:122
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net), net.shapes())
    return cross_entropy(add_2, y)


def in_steps(epochs=10, batch=64, peak=0.01, *, run=None):
    """Ten times slower after 100 updates, and again after 160."""
    from leec.runtime.run import Run

    run = run or Run("in_steps")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net"))  # schedules.lee:130
    opt = AdamW(lr=lambda t: warmup_steps(peak, 20, 0.1, t))  # schedules.lee:131
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(in_steps_step(net, opt, x, y))  # schedules.lee:134
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # schedules.lee:135
    return net


def in_steps_step(net, opt, x, y):
    """One step of in_steps."""
    add_2, saved_net = net.forward_saved(x)  # schedules.lee:134
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def swinging(epochs=10, batch=64, low=1e-3, high=0.01, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("swinging")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 10), key=run.key("net"))  # schedules.lee:141
    opt = AdamW(lr=lambda t: cyclic(low, high, 40, t))  # schedules.lee:142
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(swinging_step(net, opt, x, y))  # schedules.lee:145
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # schedules.lee:146
    return net


def swinging_step(net, opt, x, y):
    """One step of swinging."""
    add_2, saved_net = net.forward_saved(x)  # schedules.lee:145
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def example_turned(key):
    a = normal(fold(key, SITES["a"]), (4, 6), FLOAT)  # [4, 6]  schedules.lee:151
    c = normal(fold(key, SITES["c"]), (4, 6), FLOAT)  # [4, 6]  schedules.lee:152
    d_c, saved_orthogonal_factor = orthogonal_factor_saved(a, 5)  # schedules.lee:153
    return (c * d_c).sum(), orthogonal_factor_backward(a, saved_orthogonal_factor, 5, c), d_c


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

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


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


def clip(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1."""
    return float(min(float(max(x, low)), high))  # prelude.lee:153


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> []
    """
    return np.sqrt((x**2).sum())  # prelude.lee:163


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum()  # prelude.lee:163
    return np.sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_x = 2 * (d_y * 0.5 / np.where(sum_ > 0, sqrt, np.inf)) * x  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def norm_2(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0] -> []
    """
    return np.sqrt((x**2).sum())  # prelude.lee:163


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "w": 0x20925082A2286B9E,
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
