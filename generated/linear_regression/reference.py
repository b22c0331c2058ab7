"""Regression (lecture 1). Find y = b + w·x that predicts a number.

Step 1 is a set of functions, step 2 the loss that says how bad one of them
is, step 3 gradient descent, which finds the best.

Made from specs/linear_regression.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/linear_regression.lee
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


class Linear(Model):
    """Linear(features)"""

    members = ("w", "b")

    def __init__(self, features):
        self.features = features
        self.w = np.zeros(features, dtype=FLOAT)  # [features]  linear_regression.lee:12
        self.b = FLOAT(0)  # linear_regression.lee:13
        self.lay_out()

    def forward(self, x):
        """x [n, features] -> [n]"""
        return self.b + x @ self.w  # [n]  linear_regression.lee:16

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return b + x @ w   linear_regression.lee:16
        d_b = d_y.sum()
        d_x = d_y[:, None] * self.w  # [n, features]
        d_w = d_y @ x  # [features]
        return {"w": d_w, "b": d_b}, d_x

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return b + x @ w   linear_regression.lee:16
        d_b = d_y.sum()
        d_w = d_y @ x  # [features]
        return {"w": d_w, "b": d_b}


def mse(y, target):
    """y [n], target [n] -> []"""
    sub = target - y  # [n]  linear_regression.lee:20
    return (sub**2).mean()


def mse_saved(y, target):
    """As mse, and what its gradient needs."""
    sub = target - y  # [n]  linear_regression.lee:20
    return (sub**2).mean(), sub


def mse_backward(sub, d_out):
    """From d_out to the gradients by y and target."""
    n = sub.shape[0]
    # gradient of return mean((target - y) ** 2)   linear_regression.lee:20
    d_target = 2 * (d_out / n) * sub  # [n]
    d_y = -d_target  # [n]
    return d_y, d_target


def mse_backward_2(sub, d_out):
    """From d_out to the gradient by y."""
    n = sub.shape[0]
    # gradient of return mean((target - y) ** 2)   linear_regression.lee:20
    d_y = -2 * (d_out / n) * sub  # [n]
    return d_y  # [n]


def ridge(net, x, target, strength=0.01):
    """The weights are penalised; the bias only shifts the line, so it is not.

    x [n, net.features], target [n] -> []
    """
    return mse(net(x), target) + strength * (net.w * net.w).sum()  # linear_regression.lee:25


def ridge_saved(net, x, target, strength=0.01):
    """As ridge, and what its gradient needs."""
    mean, saved_mse = mse_saved(net(x), target)  # linear_regression.lee:25
    return mean + strength * (net.w * net.w).sum(), saved_mse


def ridge_backward(net, x, strength, saved_mse, d_y):
    """From d_y to the gradients by net, x and target."""
    # gradient of return mse(net(x), target) + strength * sum(net.w ** 2)   linear_regression.lee:25
    d_net_out, d_target = mse_backward(saved_mse, d_y)
    d_net, d_x = net.forward_backward(x, d_net_out)
    d_net_w = 2 * (d_y * strength) * net.w + d_net["w"]  # [net.features]
    return {"w": d_net_w, "b": d_net["b"]}, d_x, d_target


def ridge_backward_parameters(net, x, strength, saved_mse, d_y):
    """From d_y to the gradient by net."""
    # gradient of return mse(net(x), target) + strength * sum(net.w ** 2)   linear_regression.lee:25
    d_net = Linear.forward_backward_parameters(x, mse_backward_2(saved_mse, d_y))
    d_net_w = 2 * (d_y * strength) * net.w + d_net["w"]  # [net.features]
    return {"w": d_net_w, "b": d_net["b"]}


class GradientDescent(Optimizer):
    """GradientDescent(lr)"""

    def __init__(self, lr=0.1):
        self.lr = lr

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g in blocks(parameters, gradient):
            θ -= self.lr * g  # [count]  linear_regression.lee:30


def example_noise(key):
    net = Linear(3)  # linear_regression.lee:34
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  linear_regression.lee:35
    target = normal(fold(key, SITES["target"]), (5,), FLOAT)  # [5]  linear_regression.lee:36
    value, saved_ridge = ridge_saved(net, x, target)  # linear_regression.lee:37
    d_net, d_x, d_target = ridge_backward(net, x, 0.01, saved_ridge, FLOAT(1.0))
    return value, net.at(d_net), d_x, d_target


def fit(epochs=200, batch=64, rate=0.1, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data("diabetes", standardize=True, test=0.2, fields={"x": ("float", ("n", 10)), "y": ("float", ("n",))})
    net = Linear(features=10)  # linear_regression.lee:42
    opt = GradientDescent(lr=rate)  # linear_regression.lee:43
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_step(net, opt, x, y))  # linear_regression.lee:46
        run.report(rmse=rmse(net(data.test.x), data.test.y))  # linear_regression.lee:47
    return net


def fit_step(net, opt, x, y):
    """One step of fit."""
    loss, saved_ridge = ridge_saved(net, x, y)  # linear_regression.lee:46
    d_net = ridge_backward_parameters(net, x, 0.01, saved_ridge, FLOAT(1.0))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def rmse(y, target):
    """√(mean (y - target)²)

    y [y_0], target [y_0] -> []
    """
    sub = y - target  # [y_0]  metrics.lee:76
    return np.sqrt((sub**2).mean())


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "target": 0x41DEDA04111F843F,
    "x": 0x4F586EF96743DF4A,
}


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


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)
