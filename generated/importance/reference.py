"""Expectations under one policy from draws of another (lecture: reinforcement, off-policy).

E_p[f] = E_q[f p / q]. The weights p / q have mean 1, but where p and q differ few of them carry all: their variance is
E_q[(p / q)²] - 1, which for two normal distributions of deviation 1 whose means lie δ apart is e^(δ²) - 1.

Made from specs/reinforcement/importance.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/importance.lee
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


def reweighted(f, log_p, log_q):
    """The mean of f p / q over draws from q.

    f [n], log_p [n], log_q [n] -> []
    """
    return (f * np.exp(log_p - log_q)).mean()  # importance.lee:12


def reweighted_saved(f, log_p, log_q):
    """As reweighted, and what its gradient needs."""
    exp = np.exp(log_p - log_q)  # [n]  importance.lee:12
    return (f * exp).mean(), exp


def reweighted_backward(f, exp, d_y):
    """From d_y to the gradients by f, log_p and log_q."""
    n = f.shape[0]
    # gradient of return mean(f * exp(log_p - log_q))   importance.lee:12
    div = d_y / n
    d_f = div * exp  # [n]
    d_log_p = div * f * exp  # [n]
    d_log_q = -d_log_p  # [n]
    return d_f, d_log_p, d_log_q


def effective(log_p, log_q):
    """How many draws from p these draws from q are worth: (Σ w)² / Σ w².

    log_p [n], log_q [n] -> []
    """
    sub = log_p - log_q  # [n]  importance.lee:17
    sub_2 = sub - sub.max(initial=-np.inf)  # [n]
    return np.exp(2 * logsumexp(sub_2, 0) - logsumexp(2 * sub_2, 0))  # importance.lee:18


def surrogate_saved(policy, s, a, old, advantage):
    """As surrogate, and what its gradient needs."""
    categorical_score = log_softmax(policy(s), (1,))  # [n, policy.outputs]  prelude.lee:127
    mean, saved_reweighted = reweighted_saved(advantage, of_class(categorical_score, a), old)  # importance.lee:23
    return -mean, (categorical_score, saved_reweighted)


def surrogate_backward(policy, s, a, advantage, saved, d_neg):
    """From d_neg to the gradients by policy, s, old and advantage."""
    categorical_score, saved_reweighted = saved
    # gradient of return -reweighted(advantage, log_prob(categorical(policy(s)), a), old)   importance.lee:23
    d_advantage, d_found, d_old = reweighted_backward(advantage, saved_reweighted, -d_neg)
    d_categorical_score = of_class_backward(a, policy.outputs, d_found)  # [n, policy.outputs]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_categorical_score.sum(axis=1, keepdims=True)  # [n, 1]
    d_policy_out = d_categorical_score - np.exp(categorical_score) * sum_  # [n, policy.outputs]
    # gradient of return -reweighted(advantage, log_prob(categorical(policy(s)), a), old)   importance.lee:23
    d_policy, d_s = policy.forward_backward(s, d_policy_out)
    return d_policy, d_s, d_old, d_advantage


def example_two_bells(key):
    """E[x²] of N(1, 1) is 2; the draws are those of N(0, 1)."""
    x = normal(fold(key, SITES["x"]), (50000,), FLOAT)  # [50000]  importance.lee:29
    mul = x**2  # [50000]  importance.lee:30
    sub = x - 1  # [50000]
    sub_2 = -(sub**2) / 2 - 0.9189385332046727  # [50000]
    value, saved_reweighted = reweighted_saved(mul, sub_2, -mul / 2 - 0.9189385332046727)
    d_mul_3, d_sub_2, d_sub_3 = reweighted_backward(mul, saved_reweighted, FLOAT(1.0))
    d_x_2 = (d_mul_3 + d_sub_3 / -2) * x  # [50000]
    return value, 2 * (d_sub_2 / -2 * sub) + d_x_2 + d_x_2


def example_worth(key):
    """e^(-δ²) of the draws are left: of N(0, 1), for N(1, 1)."""
    x = normal(fold(key, SITES["x"]), (50000,), FLOAT)  # [50000]  importance.lee:35
    sub = x - 1  # [50000]  importance.lee:36
    sub_4 = -(sub**2) / 2 - 0.9189385332046727 - (-(x**2) / 2 - 0.9189385332046727)  # [50000]  importance.lee:17
    sub_3_2 = sub_4 - sub_4.max()  # [50000]
    mul_3 = 2 * sub_3_2  # [50000]  importance.lee:18
    exp = np.exp(2 * logsumexp(sub_3_2, 0) - logsumexp(mul_3, 0))
    d_sub_3_2_3 = 2 * (-2e-5 * exp) * softmax(mul_3, (0,))  # [50000]
    d_sub_3_2 = 2e-5 * exp * 2 * softmax(sub_3_2, (0,)) + d_sub_3_2_3  # [50000]  importance.lee:17
    eq = np.arange(50000) == sub_4.argmax(axis=0)  # bool[50000]
    d_sub_4 = d_sub_3_2 + masked(-d_sub_3_2.sum(), eq)  # [50000]
    return exp / 50000, 2 * (-d_sub_4 / -2 * x) + 2 * (d_sub_4 / -2 * sub)  # importance.lee:36


def example_older_moves(key):
    policy = Linear(4, 3, key=fold(key, SITES["policy"]))  # importance.lee:40
    older = Linear(4, 3, key=fold(key, SITES["older"]))  # importance.lee:41
    s = normal(fold(key, SITES["s"]), (6, 4), FLOAT)  # [6, 4]  importance.lee:42
    a = randint(fold(key, SITES["a"]), (6,), 0, 3)  # int[6]  importance.lee:43
    advantage = normal(fold(key, SITES["advantage"]), (6,), FLOAT)  # [6]  importance.lee:44
    categorical_score = log_softmax(older(s), (1,))  # [6, 3]  prelude.lee:127
    # importance.lee:45
    value, saved_surrogate = surrogate_saved(policy, s, a, of_class(categorical_score, a), advantage)
    d_policy, d_s_2, d_found, d_advantage = surrogate_backward(policy, s, a, advantage, saved_surrogate, FLOAT(1.0))
    d_categorical_score = of_class_backward(a, 3, d_found)  # [6, 3]
    sum_ = d_categorical_score.sum(axis=1, keepdims=True)  # [6, 1]  prelude.lee:127
    d_older_out = d_categorical_score - np.exp(categorical_score) * sum_  # [6, 3]
    d_older, d_s_3 = older.forward_backward(s, d_older_out)  # importance.lee:45
    return value, policy.at(d_policy), policy.at(d_older), d_s_2 + d_s_3, d_advantage


@packed(0, score=(0, 2), x=(0, 1))
def of_class(score, x):
    """The score of the class that x names.

    score [.., k], x int[..] -> [..]
    """
    rows = score.shape[0]
    found = score[np.arange(rows), inside(x)]  # [rows]  distributions.lee:119
    return found  # [rows]


def of_class_backward(x, k, d_found):
    """From d_found to the gradient by score."""
    rows = x.shape[0]
    # gradient of found[i] = score[i, x[i]]   distributions.lee:119
    d_score = scatter_add(d_found, (np.arange(rows), x), (rows, k))  # [rows, k]
    return d_score  # [rows, k]


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


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


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "advantage": 0x59CE0E8B7E2FB719,
    "b": 0x754F854DE3C27284,
    "older": 0x737E884B3A603E36,
    "policy": 0x1B4CD66C6FC3ACDF,
    "s": 0xDE6ECFAAC38449E6,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
}


def logsumexp(x, axes, keepdims=False):
    """log(sum(exp(x))), shifted by the maximum; of nothing, or of -inf alone, it is -inf."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top
    return total if keepdims else total.squeeze(axes)


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
