"""Regularisation (inventory B2 to B4, B6): losses and updates that keep weights small, and neurons that stay at home.

Made from specs/generalisation/regularisation.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/generalisation/regularisation.lee
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

    def __init__(self, features, *, key=(0, 0)):
        self.features = features
        self.w = normal(fold(key, SITES["w"]), (features,), FLOAT)  # [features]  regularisation.lee:8
        self.b = FLOAT(0)  # regularisation.lee:9
        self.lay_out()

    def forward(self, x):
        """x [n, features] -> [n]"""
        return self.b + x @ self.w  # [n]  regularisation.lee:12

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return b + x @ w   regularisation.lee:12
        d_b = d_y.sum()
        d_w = d_y @ x  # [features]
        return {"w": d_w, "b": d_b}


def ridge(w, b, x, target, strength=0.1):
    """Σ (ŷ - (b + Σ wᵢ xᵢ))² + λ Σ wᵢ²: small weights make a smooth function; the bias only shifts it, so it is free.

    w [d], x [n, d], target [n] -> []
    """
    sub_2 = target - b - x @ w  # [n]  regularisation.lee:20
    return (sub_2**2).sum() + strength * (w**2).sum()


def ridge_saved(w, b, x, target, strength=0.1):
    """As ridge, and what its gradient needs."""
    sub_2 = target - b - x @ w  # [n]  regularisation.lee:20
    return (sub_2**2).sum() + strength * (w**2).sum(), sub_2


def ridge_backward(w, x, strength, sub_2, d_y):
    """From d_y to the gradients by w, b, x and target."""
    # gradient of return sum((target - b - x @ w) ** 2) + strength * sum(w ** 2)   regularisation.lee:20
    d_target = 2 * d_y * sub_2  # [n]
    d_x = (-d_target)[:, None] * w  # [n, d]
    d_b = (-d_target).sum()
    d_w = 2 * (d_y * strength) * w + -d_target @ x  # [d]
    return d_w, d_b, d_x, d_target


def ridgeAsPrinted(w, b, x, target, strength=0.1):
    """Some notes write λ/2 ‖w‖₂ where its square is meant: with the root, the slope of the penalty is not λ w.

    w [d], x [n, d], target [n] -> []
    """
    sub_2 = target - b - x @ w  # [n]  regularisation.lee:25
    return (sub_2**2).sum() + strength / 2 * np.sqrt((w**2).sum())


def ridgeAsPrinted_saved(w, b, x, target, strength=0.1):
    """As ridgeAsPrinted, and what its gradient needs."""
    sub_2 = target - b - x @ w  # [n]  regularisation.lee:25
    sum_2 = (w**2).sum()
    sqrt = np.sqrt(sum_2)
    return (sub_2**2).sum() + strength / 2 * sqrt, (sub_2, sum_2, sqrt)


def ridgeAsPrinted_backward(w, x, strength, saved, d_y):
    """From d_y to the gradients by w, b, x and target."""
    sub_2, sum_2, sqrt = saved
    # gradient of return sum((target - b - x @ w) ** 2) + strength / 2 * sqrt(sum(w ** 2))   regularisation.lee:25
    select = np.where(sum_2 > 0, sqrt, np.inf)
    d_target = 2 * d_y * sub_2  # [n]
    d_x = (-d_target)[:, None] * w  # [n, d]
    d_b = (-d_target).sum()
    d_w = 2 * (d_y * (strength / 2) * 0.5 / select) * w + -d_target @ x  # [d]
    return d_w, d_b, d_x, d_target


def lasso(w, b, x, target, strength=0.1):
    """Σ (ŷ - (b + Σ wᵢ xᵢ))² + λ Σ |wᵢ|

    w [d], x [n, d], target [n] -> []
    """
    sub_2 = target - b - x @ w  # [n]  regularisation.lee:30
    return (sub_2**2).sum() + strength * np.abs(w).sum()


def lasso_saved(w, b, x, target, strength=0.1):
    """As lasso, and what its gradient needs."""
    sub_2 = target - b - x @ w  # [n]  regularisation.lee:30
    return (sub_2**2).sum() + strength * np.abs(w).sum(), sub_2


def lasso_backward(w, x, strength, sub_2, d_y):
    """From d_y to the gradients by w, b, x and target."""
    # gradient of return sum((target - b - x @ w) ** 2) + strength * sum(abs(w))   regularisation.lee:30
    d_target = 2 * d_y * sub_2  # [n]
    d_x = (-d_target)[:, None] * w  # [n, d]
    d_b = (-d_target).sum()
    d_w = d_y * strength * np.sign(w) + -d_target @ x  # [d]
    return d_w, d_b, d_x, d_target


class WeightDecay(Optimizer):
    """w ← (1 - η λ) w - η ∂L/∂w: for plain descent the same as λ/2 Σ w² in the loss."""

    def __init__(self, lr=0.1, decay=0.05):
        self.lr, self.decay = lr, decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g in blocks(parameters, gradient):
            θ[...] = (1 - self.lr * self.decay) * θ - self.lr * g  # [count]  regularisation.lee:39


class SignDecay(Optimizer):
    """w ← w - η ∂L/∂w - η λ sgn(w): every weight loses the same, however small it is."""

    def __init__(self, lr=0.1, decay=0.05):
        self.lr, self.decay = lr, decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g in blocks(parameters, gradient):
            θ[...] = θ - self.lr * g - self.lr * self.decay * np.sign(θ)  # [count]  regularisation.lee:45


class Dropout(Model):
    """Each neuron is dropped with probability p while training, and the others count 1 / (1 - p) as much."""

    members = ()

    def __init__(self, p=0.4):
        self.p = p
        self.lay_out()

    def forward(self, a, training=False):
        """a [n, d] -> [n, d]"""
        if training:
            return self.forward_training(a)
        return a  # [n, d]

    def forward_training(self, a, key):
        """a [n, d] -> [n, d]"""
        n, d = a.shape
        uniform_ = uniform(fold(key, SITES["keep"]), (n, d), FLOAT)  # [n, d]  regularisation.lee:55
        keep = (uniform_ < 1 - self.p).astype(FLOAT)  # [n, d]
        return a * keep / (1 - self.p)  # [n, d]  regularisation.lee:56

    def forward_saved(self, a, key):
        """As forward, and what its gradient needs."""
        n, d = a.shape
        uniform_ = uniform(fold(key, SITES["keep"]), (n, d), FLOAT)  # [n, d]  regularisation.lee:55
        keep = (uniform_ < 1 - self.p).astype(FLOAT)  # [n, d]
        return a * keep / (1 - self.p), keep  # regularisation.lee:56

    def forward_backward(self, keep, d_y):
        """From d_y to the gradient by a."""
        # gradient of return a * keep / (1 - p)   regularisation.lee:56
        d_a = d_y / (1 - self.p) * keep  # [n, d]
        return d_a  # [n, d]

    @staticmethod
    def forward_eval_backward(d_a):
        """From d_a to the gradient by a."""
        return d_a  # [n, d]


class DropoutAsPrinted(Model):
    """As the notes have it: nothing is scaled while training; when testing, weights are multiplied by 1 - p."""

    members = ()

    def __init__(self, p=0.4):
        self.p = p
        self.lay_out()

    def forward(self, a, training=False):
        """a [n, d] -> [n, d]"""
        if training:
            return self.forward_training(a)
        return a * (1 - self.p)  # [n, d]  regularisation.lee:66

    def forward_training(self, a, key):
        """a [n, d] -> [n, d]"""
        n, d = a.shape
        uniform_ = uniform(fold(key, SITES["keep"]), (n, d), FLOAT)  # [n, d]  regularisation.lee:64
        keep = (uniform_ < 1 - self.p).astype(FLOAT)  # [n, d]
        return a * keep  # [n, d]  regularisation.lee:65

    def forward_saved(self, a, key):
        """As forward, and what its gradient needs."""
        n, d = a.shape
        uniform_ = uniform(fold(key, SITES["keep"]), (n, d), FLOAT)  # [n, d]  regularisation.lee:64
        keep = (uniform_ < 1 - self.p).astype(FLOAT)  # [n, d]
        return a * keep, keep  # regularisation.lee:65

    @staticmethod
    def forward_backward(keep, d_y):
        """From d_y to the gradient by a."""
        # gradient of return a * keep   regularisation.lee:65
        d_a = d_y * keep  # [n, d]
        return d_a  # [n, d]

    def forward_eval_backward(self, d_y):
        """From d_y to the gradient by a."""
        # gradient of return a * (1 - p)   regularisation.lee:66
        d_a = d_y * (1 - self.p)  # [n, d]
        return d_a  # [n, d]


def decaying(epochs=2, batch=64, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("decaying")
    data = run.data("diabetes", standardize=True, test=0.2, fields={"x": ("float", ("n", 10)), "y": ("float", ("n",))})
    net = Linear(features=10, key=run.key("net"))  # regularisation.lee:71
    opt = WeightDecay()  # regularisation.lee:72
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(decaying_step(net, opt, x, y))  # regularisation.lee:75
        run.report(rmse=rmse(net(data.test.x), data.test.y))  # regularisation.lee:76
    return net


def decaying_step(net, opt, x, y):
    """One step of decaying."""
    batches_n = x.shape[0]
    sub = net(x) - y  # [batches_n]  regularisation.lee:75
    d_net = Linear.forward_backward_parameters(x, 2 / batches_n * sub)
    opt.update(net.parameters, net.flat(d_net))
    return (sub**2).mean()


def shrinking(epochs=2, batch=64, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("shrinking")
    data = run.data("diabetes", standardize=True, test=0.2, fields={"x": ("float", ("n", 10)), "y": ("float", ("n",))})
    net = Linear(features=10, key=run.key("net"))  # regularisation.lee:82
    opt = SignDecay()  # regularisation.lee:83
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(shrinking_step(net, opt, x, y))  # regularisation.lee:86
        run.report(rmse=rmse(net(data.test.x), data.test.y))  # regularisation.lee:87
    return net


def shrinking_step(net, opt, x, y):
    """One step of shrinking."""
    batches_n = x.shape[0]
    sub = net(x) - y  # [batches_n]  regularisation.lee:86
    d_net = Linear.forward_backward_parameters(x, 2 / batches_n * sub)
    opt.update(net.parameters, net.flat(d_net))
    return (sub**2).mean()


def example_penalised(key):
    w = normal(fold(key, SITES["w"]), (4,), FLOAT)  # [4]  regularisation.lee:92
    b = normal(fold(key, SITES["b"]), (), FLOAT)  # regularisation.lee:93
    x = normal(fold(key, SITES["x"]), (7, 4), FLOAT)  # [7, 4]  regularisation.lee:94
    target = normal(fold(key, SITES["target"]), (7,), FLOAT)  # [7]  regularisation.lee:95
    value, saved_ridge = ridge_saved(w, b, x, target)  # regularisation.lee:96
    d_w, d_b, d_x, d_target = ridge_backward(w, x, 0.1, saved_ridge, FLOAT(1.0))
    return value, d_w, d_b, d_x, d_target


def example_penalised_as_printed(key):
    w = normal(fold(key, SITES["w"]), (4,), FLOAT)  # [4]  regularisation.lee:100
    b = normal(fold(key, SITES["b"]), (), FLOAT)  # regularisation.lee:101
    x = normal(fold(key, SITES["x"]), (7, 4), FLOAT)  # [7, 4]  regularisation.lee:102
    target = normal(fold(key, SITES["target"]), (7,), FLOAT)  # [7]  regularisation.lee:103
    value, saved_ridgeAsPrinted = ridgeAsPrinted_saved(w, b, x, target)  # regularisation.lee:104
    d_w, d_b, d_x, d_target = ridgeAsPrinted_backward(w, x, 0.1, saved_ridgeAsPrinted, FLOAT(1.0))
    return value, d_w, d_b, d_x, d_target


def example_sparse(key):
    w = normal(fold(key, SITES["w"]), (4,), FLOAT)  # [4]  regularisation.lee:108
    b = normal(fold(key, SITES["b"]), (), FLOAT)  # regularisation.lee:109
    x = normal(fold(key, SITES["x"]), (7, 4), FLOAT)  # [7, 4]  regularisation.lee:110
    target = normal(fold(key, SITES["target"]), (7,), FLOAT)  # [7]  regularisation.lee:111
    value, saved_lasso = lasso_saved(w, b, x, target)  # regularisation.lee:112
    d_w, d_b, d_x, d_target = lasso_backward(w, x, 0.1, saved_lasso, FLOAT(1.0))
    return value, d_w, d_b, d_x, d_target


def example_dropped(key):
    net = Dropout()  # regularisation.lee:116
    a = normal(fold(key, SITES["a"]), (6, 5), FLOAT)  # [6, 5]  regularisation.lee:117
    c = normal(fold(key, SITES["c"]), (6, 5), FLOAT)  # [6, 5]  regularisation.lee:118
    net_out, saved_net = net.forward_saved(a, fold(key, SITES["Dropout.forward"]))  # regularisation.lee:119
    mul_2 = c**2  # [6, 5]
    net_out_2 = net(a)  # [6, 5]
    d_a_2 = Dropout.forward_eval_backward(mul_2)  # [6, 5]
    return (
        (c * net_out).sum() + (mul_2 * net_out_2).sum(),
        d_a_2 + net.forward_backward(saved_net, c),
        2 * (net_out_2 * c) + net_out,
    )


def example_dropped_as_printed(key):
    net = DropoutAsPrinted()  # regularisation.lee:123
    a = normal(fold(key, SITES["a"]), (6, 5), FLOAT)  # [6, 5]  regularisation.lee:124
    c = normal(fold(key, SITES["c"]), (6, 5), FLOAT)  # [6, 5]  regularisation.lee:125
    net_out, saved_net = net.forward_saved(a, fold(key, SITES["DropoutAsPrinted.forward"]))  # regularisation.lee:126
    mul_2 = c**2  # [6, 5]
    net_out_2 = net(a)  # [6, 5]
    d_a_3 = DropoutAsPrinted.forward_backward(saved_net, c)  # [6, 5]
    return (
        (c * net_out).sum() + (mul_2 * net_out_2).sum(),
        net.forward_eval_backward(mul_2) + d_a_3,
        2 * (net_out_2 * c) + net_out,
    )


def rmse(y, target):
    """√(mean (y - target)²)

    y [y_0], target [y_0] -> []
    """
    sub = y - target  # [y_0]  metrics.lee:76
    return np.sqrt((sub**2).mean())


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "Dropout.forward": 0x588A2EB1BD91DE36,
    "DropoutAsPrinted.forward": 0xFC7A7EF826B7172F,
    "a": 0x2F42665B399EF840,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "keep": 0x3642E665ABD3AACD,
    "target": 0x41DEDA04111F843F,
    "w": 0x20925082A2286B9E,
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
