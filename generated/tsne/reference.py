"""t-SNE (inventory Q17): neighbours in space stay neighbours in the plane (van der Maaten & Hinton 2008).

Made from specs/unsupervised/tsne.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/unsupervised/tsne.lee
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


def squares(x):
    """x [n, d] -> [n, n]"""
    sub = x[:, None] - x  # [n, n, d]  tsne.lee:10
    square = (sub**2).sum(axis=2)  # [n, n]
    return square  # [n, n]


def squares_saved(x):
    """As squares, and what its gradient needs."""
    sub = x[:, None] - x  # [n, n, d]  tsne.lee:10
    square = (sub**2).sum(axis=2)  # [n, n]
    return square, sub


def squares_backward(sub, d_square):
    """From d_square to the gradient by x."""
    # gradient of square[i, j] = sum[a]((x[i, a] - x[j, a]) ** 2)   tsne.lee:10
    d_sub_2 = d_square[:, :, None] * sub  # [n, n, d]
    d_x = (-2 * d_sub_2).sum(axis=0) + (2 * d_sub_2).sum(axis=1)  # [n, d]
    return d_x  # [n, d]


def chances(square, precision):
    """P(j | i) ∝ exp(-precisionᵢ |xᵢ - xⱼ|²): whom i would take for a neighbour, never itself.

    square [n, n], precision [n] -> [n, n]
    """
    n = square.shape[0]
    eq = np.arange(n)[:, None] == np.arange(n)  # bool[n, n]  tsne.lee:16
    logit = np.where(eq, -np.inf, -(precision[:, None] * square))  # [n, n]
    return softmax(logit, (1,))  # [n, n]  prelude.lee:122


def doubt(p):
    """The entropy of each row.

    p [n, m] -> [n]
    """
    return -masked(p * np.log(p), p > 0).sum(axis=1)  # [n]  tsne.lee:22


def calibrated(square, perplexity, rounds=60):
    """By bisection every example gets so wide a Gaussian that the entropy of its neighbours is log(perplexity).

    square [n, n] -> [n, n]
    """
    n = square.shape[0]
    low = np.zeros(n, dtype=FLOAT)  # [n]  tsne.lee:27
    high = np.full(n, np.inf, dtype=FLOAT)  # [n]  tsne.lee:28
    precision = np.ones(n, dtype=FLOAT)  # [n]  tsne.lee:29
    # tsne.lee:30
    for r in range(rounds):
        high, low, precision = calibrated_step(high, low, precision, perplexity, -square)
    eq = np.arange(n)[:, None] == np.arange(n)  # bool[n, n]  tsne.lee:16
    logit = np.where(eq, -np.inf, -square * precision[:, None])  # [n, n]
    return softmax(logit, (1,))  # [n, n]  prelude.lee:122


def calibrated_saved(square, perplexity, rounds=60):
    """As calibrated, and what its gradient needs."""
    n = square.shape[0]
    low = np.zeros(n, dtype=FLOAT)  # [n]  tsne.lee:27
    high = np.full(n, np.inf, dtype=FLOAT)  # [n]  tsne.lee:28
    precision = np.ones(n, dtype=FLOAT)  # [n]  tsne.lee:29
    # tsne.lee:30
    for r in range(rounds):
        high, low, precision = calibrated_step(high, low, precision, perplexity, -square)
    eq = np.arange(n)[:, None] == np.arange(n)  # bool[n, n]  tsne.lee:16
    reshape_2 = precision[:, None]  # [n, 1]
    # prelude.lee:122
    return softmax(np.where(eq, -np.inf, -square * reshape_2), (1,)), (eq, np.broadcast_to(reshape_2, (n, n)))


def calibrated_backward(saved, div_3, d_y):
    """From d_y to the gradient by square."""
    eq, guard_2 = saved
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    d_logit = div_3 * (d_y - (d_y * div_3).sum(axis=1, keepdims=True))  # [n, n]
    # gradient of logit[i, j] = where(i == j, -inf, -square[i, j] * precision[i])   tsne.lee:16
    d_square = np.where(eq, 0, -(d_logit * guard_2))  # [n, n]
    return d_square  # [n, n]


def calibrated_step(high, low, precision, perplexity, neg_2_2):
    """high [n], low [n], precision [n], neg_2_2 [n, n] -> [n], [n], [n]"""
    n = high.shape[0]
    eq = np.arange(n)[:, None] == np.arange(n)  # bool[n, n]  tsne.lee:16
    logit = np.where(eq, -np.inf, neg_2_2 * precision[:, None])  # [n, n]
    softmax_ = softmax(logit, (1,))  # [n, n]  prelude.lee:122
    masked_ = masked(softmax_ * log_softmax(logit, (1,)), softmax_ > 0)  # [n, n]  tsne.lee:22
    wide = -masked_.sum(axis=1) > math.log(perplexity)  # bool[n]  tsne.lee:31
    low_3 = np.where(wide, precision, low)  # [n]  tsne.lee:32
    high_3 = np.where(wide, high, precision)  # [n]  tsne.lee:33
    precision_3 = np.where(high_3 == np.inf, 10 * precision, (low_3 + high_3) / 2)  # [n]  tsne.lee:34
    return high_3, low_3, precision_3


def pairs(x, perplexity):
    """The chance of a pair, the mean of both ways; all together are 1.

    x [n, d] -> [n, n]
    """
    n = x.shape[0]
    p = calibrated(squares(x), perplexity)  # [n, n]  tsne.lee:40
    return (p + p.T) / (2 * n)  # [n, n]  tsne.lee:41


def pairs_saved(x, perplexity):
    """As pairs, and what its gradient needs."""
    n = x.shape[0]
    square, saved_squares = squares_saved(x)  # tsne.lee:40
    p, saved_calibrated = calibrated_saved(square, perplexity)
    return (p + p.T) / (2 * n), (saved_squares, p, saved_calibrated)  # tsne.lee:41


def pairs_backward(saved, d_y):
    """From d_y to the gradient by x."""
    saved_squares, p, saved_calibrated = saved
    n = p.shape[0]
    # gradient of return (p + p.T) / (2 * n)   tsne.lee:41
    d_add = d_y / (2 * n)  # [n, n]
    # gradient of p = calibrated(squares(x), perplexity)   tsne.lee:40
    d_p = d_add + d_add.T  # [n, n]
    d_square = calibrated_backward(saved_calibrated, p, d_p)  # [n, n]
    d_x = squares_backward(saved_squares, d_square)  # [n, d]
    return d_x  # [n, d]


def divergence(p, z):
    """KL(p ‖ q), q = near / Σ near with near = 1 / (1 + |zᵢ - zⱼ|²).

    Σ p log near and log Σ near stand apart, so that where p is enlarged pairs pull more and do not push more.

    p [n, n], z [n, k] -> []
    """
    n = p.shape[0]
    sub = z[:, None] - z  # [n, n, k]  tsne.lee:52
    eq = np.arange(n)[:, None] == np.arange(n)  # bool[n, n]
    near = np.where(eq, 0, 1 / (1 + (sub**2).sum(axis=2)))  # [n, n]
    sum_2 = masked(p * np.log(p / near), p > 0).sum()  # tsne.lee:53
    return sum_2 + np.log(near.sum())


def divergence_saved(p, z):
    """As divergence, and what its gradient needs."""
    n = p.shape[0]
    eq = np.arange(n)[:, None] == np.arange(n)  # bool[n, n]  tsne.lee:52
    guard = z[:, None] - z  # [n, n, k]
    guard_2 = 1 + (guard**2).sum(axis=2)  # [n, n]
    div = 1 / guard_2  # [n, n]
    near = np.where(eq, 0, div)  # [n, n]
    gt = p > 0  # bool[n, n]  tsne.lee:53
    div_2 = p / near  # [n, n]
    near_sum = near.sum()
    return masked(p * np.log(div_2), gt).sum() + np.log(near_sum), (eq, guard, guard_2, div, gt, near, div_2, near_sum)


def divergence_backward(p, saved, d_y):
    """From d_y to the gradient by z."""
    eq, guard, guard_2, div, gt, near, div_2, near_sum = saved
    # gradient of near[i, j] = where(i == j, 0, 1 / (1 + sum[a]((z[i, a] - z[j, a]) ** 2)))   tsne.lee:52
    reshape = (~eq)[:, :, None]  # bool[n, n, 1]
    d_near = d_y / near_sum + masked(-(d_y * p / div_2 * div_2 / near), gt)  # [n, n]
    d_guard_2 = np.where(eq, 0, -(d_near * div / guard_2))[:, :, None] * guard  # [n, n, k]
    d_z_2 = masked(-2 * d_guard_2, reshape).sum(axis=0)  # [n, k]
    d_z = d_z_2 + masked(2 * d_guard_2, reshape).sum(axis=1)  # [n, k]
    return d_z  # [n, k]


def divergenceAsPrinted(p, z):
    """near = 1 / (1 + |zᵢ - zⱼ|), the distance not squared.

    p [n, n], z [n, k] -> []
    """
    n = p.shape[0]
    sub = z[:, None] - z  # [n, n, k]  tsne.lee:58
    div = 1 / (1 + np.sqrt((sub**2).sum(axis=2)))  # [n, n]
    near = np.where(np.arange(n)[:, None] == np.arange(n), 0, div)  # [n, n]
    sum_2 = masked(p * np.log(p / near), p > 0).sum()  # tsne.lee:59
    return sum_2 + np.log(near.sum())


def divergenceAsPrinted_saved(p, z):
    """As divergenceAsPrinted, and what its gradient needs."""
    n = p.shape[0]
    eq = np.arange(n)[:, None] == np.arange(n)  # bool[n, n]  tsne.lee:58
    guard = z[:, None] - z  # [n, n, k]
    guard_2 = (guard**2).sum(axis=2)  # [n, n]
    sqrt = np.sqrt(guard_2)  # [n, n]
    add = 1 + sqrt  # [n, n]
    div = 1 / add  # [n, n]
    near = np.where(eq, 0, div)  # [n, n]
    gt = p > 0  # bool[n, n]  tsne.lee:59
    div_2 = p / near  # [n, n]
    near_sum = near.sum()
    saved = eq, guard, guard_2, sqrt, add, div, gt, near, div_2, near_sum
    return masked(p * np.log(div_2), gt).sum() + np.log(near_sum), saved


def divergenceAsPrinted_backward(p, saved, d_y):
    """From d_y to the gradient by z."""
    eq, guard, guard_2, sqrt, add, div, gt, near, div_2, near_sum = saved
    # gradient of near[i, j] = where(i == j, 0, 1 / (1 + sqrt(sum[a]((z[i, a] - z[j, a]) ** 2))))   tsne.lee:58
    reshape = (~eq)[:, :, None]  # bool[n, n, 1]
    d_near = d_y / near_sum + masked(-(d_y * p / div_2 * div_2 / near), gt)  # [n, n]
    select = np.where(guard_2 > 0, sqrt, np.inf)  # [n, n]
    select_2 = np.where(eq, 0, -0.5 * (d_near * div / add) / select)  # [n, n]
    d_guard_2 = select_2[:, :, None] * guard  # [n, n, k]
    d_z_2 = masked(-2 * d_guard_2, reshape).sum(axis=0)  # [n, k]
    d_z = d_z_2 + masked(2 * d_guard_2, reshape).sum(axis=1)  # [n, k]
    return d_z  # [n, k]


def gained(gain, velocity, g):
    """More where the slope keeps its direction, less where it turns (Jacobs 1988).

    gain [g_0, g_1], velocity [g_0, g_1], g [g_0, g_1] -> [g_0, g_1]
    """
    select = np.where(g * velocity < 0, gain + 0.2, gain * 0.8)  # [g_0, g_1]  tsne.lee:64
    return np.maximum(select, 0.01)  # [g_0, g_1]


def gained_2(gain, velocity, g):
    """More where the slope keeps its direction, less where it turns (Jacobs 1988).

    gain [g_0], velocity [g_0], g [g_0] -> [g_0]
    """
    select = np.where(g * velocity < 0, gain + 0.2, gain * 0.8)  # [g_0]  tsne.lee:64
    return np.maximum(select, 0.01)  # [g_0]


def switched(before, after, turn):
    """One number up to step `turn`, another from then on."""
    return before, after


def switched_2(before, after, turn, s):
    """One number up to step `turn`, another from then on."""
    return before if s <= turn else after  # tsne.lee:70


def at(turn, before, after, s):
    return before if s <= turn else after  # tsne.lee:70


def tsne(x, start, perplexity, steps, rate, early):
    """The whole way in one piece; `of_digits` goes it step by step. In `early` steps pairs pull twelve times as much.

    x [n, d], start [n, k] -> [n, k]
    """
    n = x.shape[0]
    k = start.shape[1]
    p = pairs(x, perplexity)  # [n, n]  tsne.lee:76
    before, after = switched(12.0, 1.0, early)  # tsne.lee:77
    before_2, after_2 = switched(0.5, 0.8, early)  # tsne.lee:78
    velocity = np.zeros((n, k), dtype=FLOAT)  # [n, k]
    gain = np.ones((n, k), dtype=FLOAT)  # [n, k]
    # tsne.lee:82
    for s in range(1, steps + 1):
        gain, velocity, start = tsne_step(gain, velocity, start, before, after, p, before_2, after_2, rate, early, s)
    return start  # [n, k]


def tsne_step(gain, velocity, z, before, after, p, before_2, after_2, rate, early, s):
    """gain [n, k], velocity [n, k], z [n, k], p [n, n] -> [n, k], [n, k], [n, k]"""
    mul = at(early, before, after, s) * p  # [n, n]  tsne.lee:83
    _, saved_divergence = divergence_saved(mul, z)
    g = divergence_backward(mul, saved_divergence, FLOAT(1.0))  # [n, k]
    gain_3 = gained(gain, velocity, g)  # [n, k]  tsne.lee:84
    velocity_3 = at(early, before_2, after_2, s) * velocity - rate * gain_3 * g  # [n, k]  tsne.lee:85
    z_2 = z + velocity_3  # [n, k]  tsne.lee:86
    z_3 = z_2 - z_2.mean(axis=0)  # [n, k]  tsne.lee:87
    return gain_3, velocity_3, z_3


class Map(Model):
    """A place for every example."""

    members = ("z",)

    def __init__(self, n, k, *, key=(0, 0)):
        self.n, self.k = n, k
        self.z = 1e-4 * normal(fold(key, SITES["z"]), (n, k), FLOAT)  # [n, k]  tsne.lee:93
        self.lay_out()


class Gained(Optimizer):
    """Momentum, and a rate of its own for every number."""

    starts = {"velocity": 0.0, "gain": 1.0}

    def __init__(self, lr, momentum):
        self.lr, self.momentum = lr, momentum

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, velocity, gain in blocks(parameters, gradient, self.velocity, self.gain):
            gain[...] = gained_2(gain, velocity, g)  # [count]  tsne.lee:102
            velocity[...] = self.momentum * velocity - self.lr * gain * g  # [count]  tsne.lee:103
            θ += velocity  # [count]  tsne.lee:104


def ranks(x):
    """How many examples lie nearer to i than j does; i itself comes last.

    x [n, d] -> int[n, n]
    """
    n = x.shape[0]
    away = np.where(np.arange(n)[:, None] == np.arange(n), np.inf, squares(x))  # [n, n]  tsne.lee:112
    argsort = np.argsort(away, axis=1, kind="stable")  # int[n, n]  tsne.lee:113
    return np.argsort(argsort, axis=1, kind="stable")  # int[n, n]


def trustworthiness(x, z, nearest=5):
    """1 if whoever is among the nearest on the map is so in space; lost by how far away it was (Venna & Kaski 2001).

    x [n, d], z [n, k] -> []
    """
    n = x.shape[0]
    in_space = ranks(x)  # int[n, n]  tsne.lee:118
    on_map = ranks(z)  # int[n, n]  tsne.lee:119
    maximum = np.maximum(in_space - nearest + 1, 0)  # int[n, n]  tsne.lee:120
    false_friends = np.where(on_map < nearest, maximum, 0).sum()
    size_2 = 2 * n**2 * nearest - 3 * n * nearest**2 - n * nearest  # tsne.lee:121
    return 1 - (2 * false_friends).astype(FLOAT) / size_2


def alike(z, y):
    """How often the nearest example has the same label.

    z [n, k], y int[n] -> []
    """
    n = z.shape[0]
    away = np.where(np.arange(n)[:, None] == np.arange(n), np.inf, squares(z))  # [n, n]  tsne.lee:126
    return (y[inside(away.argmin(axis=1))] == y).astype(FLOAT).mean()  # tsne.lee:127


def principal(x, k):
    """The plane of the largest variance, for comparison.

    x [n, d] -> [n, k]
    """
    d = x.shape[1]
    centred = x - x.mean(axis=0)  # [n, d]  tsne.lee:132
    _, vectors = eigh(centred.T @ centred)  # tsne.lee:133
    return centred @ vectors[:, d - k :]  # [n, k]  tsne.lee:134


def of_digits(n=400, perplexity=3e1, steps=500, rate=2e2, early=250, *, run=None):
    """A map without labels; afterwards they tell whether neighbours on it are the same digit."""
    from leec.runtime.run import Run

    run = run or Run("of_digits")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    x, y, p = of_digits_x_y_p(data.x, data.y, perplexity, n)  # tsne.lee:140
    map_ = Map(n=n, k=2, key=run.key("map"))  # tsne.lee:143
    opt = Gained(lr=rate, momentum=lambda s: switched_2(0.5, 0.8, early, s))  # tsne.lee:144
    pull_0, pull_1 = of_digits_pull(early)  # tsne.lee:145
    for s in run.loop("s", 1, steps, map=map_, opt=opt):
        run.step(of_digits_step(map_, opt, pull_0, pull_1, p, early, s))  # tsne.lee:147
    reported_trusted, reported_alike, reported_of_plane = of_digits_trusted_alike_of_plane(x, map_, y)  # tsne.lee:149
    run.report(trusted=reported_trusted, alike=reported_alike, of_plane=reported_of_plane)  # tsne.lee:149
    return map_


def of_digits_x_y_p(data_x, data_y, perplexity, n):
    """data_x [data_train_n, 64], data_y int[data_train_n] -> [n, 64], int[n], [n, n]"""
    x = data_x[:n]  # [n, 64]  tsne.lee:140
    y = data_y[:n]  # int[n]  tsne.lee:141
    p = pairs(x, perplexity)  # [n, n]  tsne.lee:142
    return x, y, p


def of_digits_pull(early):
    pull_0, pull_1 = switched(12.0, 1.0, early)  # tsne.lee:145
    return pull_0, pull_1


def of_digits_step(map_, opt, pull_before, pull_after, p, early, s):
    """One step of of_digits."""
    mul = at(early, pull_before, pull_after, s) * p  # [n, n]  tsne.lee:147
    loss, saved_divergence = divergence_saved(mul, map_.z)
    opt.update(map_.parameters, map_.flat({"z": divergence_backward(mul, saved_divergence, FLOAT(1.0))}))
    map_.z -= map_.z.mean(axis=0)  # [n, 2]  tsne.lee:148
    return loss  # tsne.lee:147


def of_digits_trusted_alike_of_plane(x, map_, y):
    """x [n, 64], y int[n] -> [], [], []"""
    return trustworthiness(x, map_.z), alike(map_.z, y), alike(principal(x, 2), y)  # tsne.lee:149


def example_near(key):
    x = normal(fold(key, SITES["x"]), (12, 3), FLOAT)  # [12, 3]  tsne.lee:154
    c = normal(fold(key, SITES["c"]), (12, 12), FLOAT)  # [12, 12]  tsne.lee:155
    d_c, saved_pairs = pairs_saved(x, 4.0)  # tsne.lee:156
    return (c * d_c).sum(), pairs_backward(saved_pairs, c), d_c


def example_apart(key):
    x = normal(fold(key, SITES["x"]), (12, 3), FLOAT)  # [12, 3]  tsne.lee:160
    z = normal(fold(key, SITES["z"]), (12, 2), FLOAT)  # [12, 2]  tsne.lee:161
    p = stop(pairs(x, 4.0))  # [12, 12]  tsne.lee:162
    add_2, saved_divergence = divergence_saved(p, z)  # tsne.lee:163
    mul = 3 * p  # [12, 12]
    add_2_2, saved_divergence_ = divergence_saved(mul, z)
    d_z_2 = divergence_backward(mul, saved_divergence_, FLOAT(2.0))  # [12, 2]
    return (
        add_2 + 2 * add_2_2,
        np.zeros((12, 3), dtype=FLOAT),
        d_z_2 + divergence_backward(p, saved_divergence, FLOAT(1.0)),
    )


def example_apart_as_printed(key):
    x = normal(fold(key, SITES["x"]), (12, 3), FLOAT)  # [12, 3]  tsne.lee:167
    z = normal(fold(key, SITES["z"]), (12, 2), FLOAT)  # [12, 2]  tsne.lee:168
    mul = 3 * stop(pairs(x, 4.0))  # [12, 12]  tsne.lee:169
    value, saved_divergenceAsPrinted = divergenceAsPrinted_saved(mul, z)
    d_z = divergenceAsPrinted_backward(mul, saved_divergenceAsPrinted, FLOAT(1.0))  # [12, 2]
    return value, np.zeros((12, 3), dtype=FLOAT), d_z


def example_mapped(key):
    x = normal(fold(key, SITES["x"]), (12, 3), FLOAT)  # [12, 3]  tsne.lee:173
    start = 0.1 * normal(fold(key, SITES["start"]), (12, 2), FLOAT)  # [12, 2]  tsne.lee:174
    return tsne(x, start, 4.0, 6, 2.0, 3)  # [12, 2]  tsne.lee:175


def example_true_to_space(key):
    x = normal(fold(key, SITES["x"]), (20, 3), FLOAT)  # [20, 3]  tsne.lee:179
    z = normal(fold(key, SITES["z"]), (20, 2), FLOAT)  # [20, 2]  tsne.lee:180
    y = randint(fold(key, SITES["y"]), (20,), 0, 3)  # int[20]  tsne.lee:181
    contract_2 = principal(x, 2)  # [20, 2]  tsne.lee:182
    return trustworthiness(x, z), alike(z, y), contract_2**2


def stop(x):
    """x, through which no gradient flows.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x  # [x_0, x_1]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "c": 0x1B2C07CD64633F37,
    "start": 0xF7091535421F26A0,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
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
