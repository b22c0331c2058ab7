"""Regression (lecture 1). Find y = b + w·x that predicts a number.

Step 1 is a set of functions, step 2 the loss that says how bad one of them
is, step 3 gradient descent, which finds the best.

Made from specs/linear_regression.lee by leec 0.1.0. Change that file, not this one, and run: leec compile -O2 specs/linear_regression.lee
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


class TrainStep:
    """A training step as one function that makes no arrays once it has run; generated subclasses say which.

    `moved` pairs the attribute of an optimizer with those of the models that it moves, for every update; `counted` are
    the optimizers whose rule stands in the step, `spare` says how many arrays each rule computes in, and `read` names
    the tensors that the step reads. What a step returns is the caller's own.
    """

    moved: tuple[tuple[str, tuple[str, ...]], ...] = ()
    counted: tuple[str, ...] = ()
    spare: tuple[int, ...] = ()
    read: tuple[str, ...] = ()
    PLANS = 8  # sizes of batches whose arrays are kept
    BLOCK = 1 << 14  # entries of a vector that an update takes at a time, so that they stay in the cache

    def bind(self):
        """Take hold of all that the step reads and writes."""
        self.optimizers = [getattr(self, name) for name, _ in self.moved]
        models = [[member(self, path) for path in paths] for _, paths in self.moved]
        self.vectors = [[model.parameters for model in some] for some in models]
        self.shapes = [[shape for model in some for shape in model.shapes()] for some in models]
        self.gradient = [np.zeros(sum(v.size for v in some), some[0].dtype) for some in self.vectors]
        self.gradients = tuple(
            view for g, shapes in zip(self.gradient, self.shapes, strict=True) for view in cut(g, shapes)
        )
        for optimizer, gradient in zip(self.optimizers, self.gradient, strict=True):
            optimizer.make_states(gradient)
        self.states = [[getattr(o, name) for name in o.starts] for o in self.optimizers]
        self.blocks = [list(self.blocks_of(i)) for i in range(len(self.moved))]
        self.tensors = tuple(member(self, path) for path in self.read)
        paths = [*self.read, *(path for _, some in self.moved for path in some)]
        self.holders = {name: getattr(self, name).parameters for name in {path.partition(".")[0] for path in paths}}
        self.plans = {}

    def blocks_of(self, i):
        """(θ, g, states, spare arrays) of one update, cut to blocks; none for an optimizer's own method."""
        if self.moved[i][0] not in self.counted:
            return
        others, stop = (self.gradient[i], *self.states[i]), 0
        spare = [np.empty(self.BLOCK, others[0].dtype) for _ in range(self.spare[i])]
        for θ in self.vectors[i]:
            start, stop = stop, stop + θ.size
            for a in range(0, θ.size, self.BLOCK):
                b = min(a + self.BLOCK, θ.size)
                yield θ[a:b], *(v[start + a : start + b] for v in others), *(s[: b - a] for s in spare)

    def holds(self):
        """Whether these are still the arrays of the models and optimizers."""
        models = all(getattr(self, name).parameters is vector for name, vector in self.holders.items())
        pairs = zip(self.optimizers, self.states, strict=True)
        return models and all(
            getattr(o, name) is s for o, kept in pairs for name, s in zip(o.starts, kept, strict=True)
        )

    def __call__(self, *batch):
        if not self.holds():
            self.bind()
        for name in self.counted:
            getattr(self, name).count()
        return self.step(*batch)

    def planned(self, *sizes):
        """The arrays for these sizes, made when they are first asked for."""
        if sizes not in self.plans:
            if len(self.plans) >= self.PLANS:
                del self.plans[next(iter(self.plans))]
            self.plans[sizes] = self.plan(*sizes)
        return self.plans[sizes]

    def update(self, i, *shapes):
        """One update by the optimizer's own method, which takes the vectors whole."""
        θ = self.vectors[i][0] if len(self.vectors[i]) == 1 else np.concatenate(self.vectors[i])
        self.optimizers[i].update(θ, self.gradient[i], *shapes)
        if len(self.vectors[i]) > 1:
            for v, part in zip(self.vectors[i], cut(θ, [(v.size,) for v in self.vectors[i]]), strict=True):
                v[...] = part


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
        contract = x @ self.w  # [n]  linear_regression.lee:16
        y = np.add(self.b, contract, out=contract)  # [n]
        return y  # [n]


def mse(y, target):
    """y [n], target [n] -> []"""
    # out = (sub**2).mean()
    sub = target - y
    np.square(sub, out=sub)
    out = sub.mean()  # linear_regression.lee:20
    return out


def ridge(net, x, target, strength=0.01):
    """The weights are penalised; the bias only shifts the line, so it is not.

    x [n, net.features], target [n] -> []
    """
    contract = x @ net.w  # [n]  linear_regression.lee:16
    # mean = (sub**2).mean()
    contract += net.b
    sub = np.subtract(target, contract, out=contract)
    np.square(sub, out=contract)
    mean = contract.mean()  # linear_regression.lee:20
    # y = mean + strength * (net.w * net.w).sum()
    s = net.w * net.w
    y = mean + strength * s.sum()  # linear_regression.lee:25
    return y


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
    contract = x @ net.w  # [5]  linear_regression.lee:16
    # sub = target - (net.b + contract)
    contract += net.b
    sub = np.subtract(target, contract, out=contract)  # [5]  linear_regression.lee:20
    # mean = (sub**2).mean()
    s = sub**2
    mean = s.mean()
    # value = mean + 0.01 * (net.w * net.w).sum()
    s_ = net.w * net.w
    value = mean + 0.01 * s_.sum()  # linear_regression.lee:25
    d_target = np.multiply(2 / 5, sub, out=contract)  # [5]  linear_regression.lee:20
    d_net_out = np.negative(d_target, out=s)  # [5]
    b = d_net_out.sum()  # linear_regression.lee:16
    d_x = d_net_out[:, None] * net.w  # [5, 3]
    d_net_w_4 = np.dot(d_net_out, x, out=s_)  # [3]
    # w = 0.02 * net.w + d_net_w_4
    s_2 = 0.02 * net.w
    w = np.add(s_2, d_net_w_4, out=s_2)  # [3]  linear_regression.lee:25
    return value, net.at({"w": w, "b": b}), d_x, d_target


def fit(epochs=200, batch=64, rate=0.1, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data("diabetes", standardize=True, test=0.2, fields={"x": ("float", ("n", 10)), "y": ("float", ("n",))})
    net = Linear(features=10)  # linear_regression.lee:42
    opt = GradientDescent(lr=rate)  # linear_regression.lee:43
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # linear_regression.lee:46
        run.report(rmse=fit_rmse(net, data.test.x, data.test.y))  # linear_regression.lee:47
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.w", "net.b")
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def plan(self, batches_n):
        """The arrays that a step computes in, for the sizes of its batch."""
        return np.empty((batches_n,), FLOAT), np.empty((batches_n,), FLOAT), np.empty((10,), FLOAT)

    def step(self, x, y):
        w, b = self.tensors
        d_w, d_b = self.gradients
        batches_n = x.shape[0]
        s0, s1, s2 = self.planned(batches_n)
        contract = np.dot(x, w, out=s0)  # [batches_n]  linear_regression.lee:16
        # sub = y - (b + contract)
        np.add(b, contract, out=s0)
        sub = np.subtract(y, s0, out=s0)  # [batches_n]  linear_regression.lee:20
        # mean = (sub**2).mean()
        np.square(sub, out=s1)
        mean = s1.mean()
        # loss = mean + 0.01 * (w**2).sum()
        np.square(w, out=s2)
        loss = mean + 0.01 * s2.sum()  # linear_regression.lee:25
        # d_net_out = -(2 / batches_n * sub)
        np.multiply(2 / batches_n, sub, out=s0)
        d_net_out = np.negative(s0, out=s0)  # [batches_n]  linear_regression.lee:20
        d_b[...] = d_net_out.sum()  # linear_regression.lee:16
        d_net_w_4 = np.dot(d_net_out, x, out=s2)  # [10]
        # d_w = 0.02 * w + d_net_w_4
        np.multiply(0.02, w, out=d_w)
        d_w += d_net_w_4  # [10]  linear_regression.lee:25
        lr = self.opt.lr
        for θ, g, u0 in self.blocks[0]:
            np.multiply(lr, g, out=u0)
            θ -= u0
        return loss


def fit_rmse(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 10], data_test_y [data_test_n] -> []"""
    contract = data_test_x @ net.w  # [data_test_n]  linear_regression.lee:16
    # rmse = np.sqrt((sub**2).mean())
    contract += net.b
    sub = np.subtract(contract, data_test_y, out=contract)
    np.square(sub, out=contract)
    rmse = np.sqrt(contract.mean())  # metrics.lee:76
    return rmse


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


def member(holder, path):
    """The model or tensor at a path such as `net.layers.0.w`."""
    for step in path.split("."):
        holder = (
            holder[int(step)] if step.isdigit() else getattr(holder, getattr(holder, "renamed", {}).get(step, step))
        )
    return holder


def cut(vector, shapes):
    """Views of a vector, one after the other."""
    stop = 0
    for shape in shapes:
        start, stop = stop, stop + int(np.prod(shape))
        yield vector[start:stop].reshape(shape)
