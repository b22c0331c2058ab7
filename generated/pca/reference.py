"""Principal components (inventory Q11 to Q13): most variance, least error, and what a linear auto-encoder can reach.

Made from specs/unsupervised/pca.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/unsupervised/pca.lee
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


def directions_saved(x, k):
    """As directions, and what its gradient needs."""
    n, d = x.shape
    centred = x - x.mean(axis=0)  # [n, d]  pca.lee:9
    values, vectors = eigh(centred.T @ centred / n)  # pca.lee:10
    w = np.flip(vectors[:, d - k :], (1,)).T  # [k, d]  pca.lee:11
    return w, (centred, values, vectors)


def directions_backward(saved, d_w):
    """From d_w to the gradient by x."""
    centred, values, vectors = saved
    n, d = centred.shape
    k = d_w.shape[0]
    # gradient of w[i in k, j] = vectors[j, d - 1 - i]   pca.lee:11
    d_vectors = unslice(np.flip(d_w.T, (1,)), (d, d), (slice(0, d), slice(d - k, d)))  # [d, d]
    # gradient of values, vectors = eigh(centred.T @ centred / n)   pca.lee:10
    max_ = np.abs(values).max(initial=-np.inf)
    reciprocal = reciprocal_or_zero(values - values[:, None], max_)  # [d, d]
    contract_3 = vectors @ (reciprocal * (vectors.T @ d_vectors)) @ vectors.T  # [d, d]
    d_contract = (contract_3 + contract_3.T) * 0.5 / n  # [d, d]
    # gradient of centred = x - mean(x, axis = 0)   pca.lee:9
    d_centred = centred @ d_contract.T + centred @ d_contract  # [n, d]
    d_x = d_centred + -d_centred.sum(axis=0) / n  # [n, d]
    return d_x  # [n, d]


def projected_saved(x, k):
    """As projected, and what its gradient needs."""
    sub = x - x.mean(axis=0)  # [n, d]  pca.lee:17
    w, saved_directions = directions_saved(x, k)
    return sub @ w.T, (sub, w, saved_directions)


def projected_backward(saved, d_contract):
    """From d_contract to the gradient by x."""
    sub, w, saved_directions = saved
    n = sub.shape[0]
    # gradient of return (x - mean(x, axis = 0)) @ directions(x, k).T   pca.lee:17
    d_sub = d_contract @ w  # [n, d]
    d_x_2 = directions_backward(saved_directions, d_contract.T @ sub)  # [n, d]
    d_x = d_x_2 + d_sub + -d_sub.sum(axis=0) / n  # [n, d]
    return d_x  # [n, d]


def reconstructed(x, k):
    """The matrix of rank k that is nearest to the centred x: its largest singular values.

    x [n, d] -> [n, d]
    """
    centre = x.mean(axis=0)  # [d]  pca.lee:22
    u, s, v = svd(no_wider(x - centre))  # pca.lee:23
    return centre + u[:, :k] * s[:k] @ v[:, :k].T  # [n, d]  pca.lee:24


def reconstructed_saved(x, k):
    """As reconstructed, and what its gradient needs."""
    centre = x.mean(axis=0)  # [d]  pca.lee:22
    u, s, v = svd(no_wider(x - centre))  # pca.lee:23
    mul = u[:, :k] * s[:k]  # [n, k]  pca.lee:24
    return centre + mul @ v[:, :k].T, (u, s, v, mul)


def reconstructed_backward(saved, d_y):
    """From d_y to the gradient by x."""
    u, s, v, mul = saved
    n, d = u.shape
    k = mul.shape[1]
    # gradient of return centre + (u[:, :k] * s[:k]) @ v[:, :k].T   pca.lee:24
    d_mul = d_y @ v[:, :k]  # [n, k]
    d_v = unslice(d_y.T @ mul, (d, d), (slice(0, d), slice(0, k)))  # [d, d]
    d_s = unslice((d_mul * u[:, :k]).sum(axis=0), (d,), (slice(0, k),))  # [d]
    d_u = unslice(d_mul * s[:k], (n, d), (slice(0, n), slice(0, k)))  # [n, d]
    # gradient of u, s, v = svd(x - centre)   pca.lee:23
    reshape = s[:, None]  # [d, 1]
    contract = u.T @ d_u  # [d, d]
    max_ = np.abs(s).max(initial=-np.inf)
    reciprocal_2 = reciprocal_or_zero(s - reshape, max_)  # [d, d]
    mul_4 = reciprocal_2 * reciprocal_or_zero(s + reshape, max_)  # [d, d]
    reciprocal_3 = reciprocal_or_zero(s, max_[None, None])  # [1, d]
    contract_3 = v.T @ d_v  # [d, d]
    mul_9 = reshape * (mul_4 * (contract_3 - contract_3.T))  # [d, d]
    contract_4 = u @ (mul_4 * (contract - contract.T) * s + mul_9)  # [n, d]
    d_sub = (u * d_s + (d_u - u @ contract) * reciprocal_3 + contract_4) @ v.T  # [n, d]
    # gradient of centre = mean(x, axis = 0)   pca.lee:22
    d_centre = d_y.sum(axis=0) - d_sub.sum(axis=0)  # [d]
    d_x = d_sub + d_centre / n  # [n, d]
    return d_x  # [n, d]


def error(x, again):
    """Mean over examples of |x - x̂|².

    x [n, d], again [n, d] -> []
    """
    sub = x - again  # [n, d]  pca.lee:29
    return (sub**2).sum(axis=1).mean()


def error_saved(x, again):
    """As error, and what its gradient needs."""
    sub = x - again  # [n, d]  pca.lee:29
    return (sub**2).sum(axis=1).mean(), sub


def error_backward(sub, d_y):
    """From d_y to the gradients by x and again."""
    n = sub.shape[0]
    # gradient of return mean(sum((x - again) ** 2, axis = 1))   pca.lee:29
    d_x = 2 * (d_y / n) * sub  # [n, d]
    d_again = -d_x  # [n, d]
    return d_x, d_again


def error_backward_2(sub, d_y):
    """From d_y to the gradient by again."""
    n = sub.shape[0]
    # gradient of return mean(sum((x - again) ** 2, axis = 1))   pca.lee:29
    d_again = -2 * (d_y / n) * sub  # [n, d]
    return d_again  # [n, d]


class AutoEncoder(Model):
    """One linear layer each way, without biases."""

    members = ("encode", "decode")

    def __init__(self, d, k, *, key=(0, 0)):
        self.d, self.k = d, k
        self.encode = 0.1 * normal(fold(key, SITES["encode"]), (d, k), FLOAT)  # [d, k]  pca.lee:34
        self.decode = 0.1 * normal(fold(key, SITES["decode"]), (k, d), FLOAT)  # [k, d]  pca.lee:35
        self.lay_out()

    def forward(self, x):
        """x [n, d] -> [n, d]"""
        return x @ self.encode @ self.decode  # [n, d]  pca.lee:38

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        contract = x @ self.encode  # [n, k]  pca.lee:38
        return contract @ self.decode, contract

    def forward_backward(self, x, contract, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ encode @ decode   pca.lee:38
        d_contract = d_y @ self.decode.T  # [n, k]
        d_decode = contract.T @ d_y  # [k, d]
        d_x = d_contract @ self.encode.T  # [n, d]
        d_encode = x.T @ d_contract  # [d, k]
        return {"encode": d_encode, "decode": d_decode}, d_x

    def forward_backward_parameters(self, x, contract, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ encode @ decode   pca.lee:38
        d_decode = contract.T @ d_y  # [k, d]
        d_encode = x.T @ (d_y @ self.decode.T)  # [d, k]
        return {"encode": d_encode, "decode": d_decode}


def fit(k=10, epochs=400, rate=0.01, *, run=None):
    """Descent comes to what PCA loses, and to no less; `above` is the ratio of the two."""
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    x = fit_x(data.x)  # pca.lee:44
    net = AutoEncoder(d=64, k=k, key=run.key("net"))  # pca.lee:45
    opt = Adam(lr=rate)  # pca.lee:46
    least = fit_least(x, k)  # pca.lee:47
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        run.step(fit_step(net, opt, x))  # pca.lee:49
    run.report(above=fit_above(x, net, least))  # pca.lee:50
    return net


def fit_x(data_x):
    """data_x [data_train_n, 64] -> [data_train_n, 64]"""
    x = data_x - data_x.mean(axis=0)  # [data_train_n, 64]  pca.lee:44
    return x  # [data_train_n, 64]


def fit_least(x, k):
    """x [data_train_n, 64] -> []"""
    least = error(x, reconstructed(x, k))  # pca.lee:47
    return least


def fit_step(net, opt, x):
    """One step of fit."""
    net_out, saved_net = net.forward_saved(x)  # pca.lee:49
    loss, saved_error = error_saved(x, net_out)
    d_net_out = error_backward_2(saved_error, FLOAT(1.0))  # [data_train_n, 64]
    d_net = net.forward_backward_parameters(x, saved_net, d_net_out)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def fit_above(x, net, least):
    """x [data_train_n, 64] -> []"""
    return error(x, net(x)) / least  # pca.lee:50


def example_most_variance(key):
    x = normal(fold(key, SITES["x"]), (7, 4), FLOAT)  # [7, 4]  pca.lee:55
    c = normal(fold(key, SITES["c"]), (7, 2), FLOAT)  # [7, 2]  pca.lee:56
    contract, saved_projected = projected_saved(x, 2)  # pca.lee:57
    d_c = contract**2  # [7, 2]
    return (c * d_c).sum(), projected_backward(saved_projected, 2 * (c * contract)), d_c


def example_least_error(key):
    x = normal(fold(key, SITES["x"]), (7, 4), FLOAT)  # [7, 4]  pca.lee:61
    add, saved_reconstructed = reconstructed_saved(x, 2)  # pca.lee:62
    value, saved_error = error_saved(x, add)
    d_x_2, d_add = error_backward(saved_error, FLOAT(1.0))
    return value, d_x_2 + reconstructed_backward(saved_reconstructed, d_add)


def example_linear(key):
    net = AutoEncoder(5, 2, key=fold(key, SITES["net"]))  # pca.lee:66
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  pca.lee:67
    net_out, saved_net = net.forward_saved(x)  # pca.lee:68
    value, saved_error = error_saved(x, net_out)
    d_x_2, d_net_out = error_backward(saved_error, FLOAT(1.0))
    d_net, d_x_3 = net.forward_backward(x, saved_net, d_net_out)
    return value, net.at(d_net), d_x_2 + d_x_3


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


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "c": 0x1B2C07CD64633F37,
    "decode": 0x1DE14A18F907859C,
    "encode": 0x02200C5BFBA1E63B,
    "net": 0xF087C76970C91612,
    "x": 0x4F586EF96743DF4A,
}


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = np.zeros(dims, x.dtype)
    whole[slices] = x
    return whole


def reciprocal_or_zero(x, scale):
    """1 / x, and 0 where x is no more than the rounding errors of numbers as large as `scale`."""
    far = np.abs(x) > 100 * np.finfo(x.dtype).eps * scale
    return np.where(far, 1 / np.where(far, x, 1), 0)


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


def svd(a):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    sign = signs_of_columns(u)
    return u * sign, s, vt.mT * sign


def no_wider(a):
    """a itself. Raises ValueError where it has more columns than rows."""
    if a.shape[-2] < a.shape[-1]:
        raise ValueError(f"a matrix of {a.shape[-2]} rows and {a.shape[-1]} columns: factorise its transpose")
    return a


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
