"""Exploration (lecture: reinforcement): an actor that only does what it thinks best never learns that it is wrong.

Three ways to more chance: one action in `eps` by chance, scores divided by a temperature, noise on the parameters. A
table of Q learns to walk along a cliff by Q(s, a) += rate (r + γ max Q(next) - Q(s, a)), Watkins 1989, with each.

Made from specs/reinforcement/exploration.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/exploration.lee
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


def epsilon_greedy(q, eps):
    """eps is shared out evenly, the rest goes to the best action, the first of several.

    q [n, k] -> [n, k]
    """
    k = q.shape[1]
    best = one_hot(q.argmax(axis=1), k)  # [n, k]  exploration.lee:18
    return eps / k + (1 - eps) * best  # [n, k]  exploration.lee:19


def noisy(policy, noise, spread):
    """The policy at a place nearby: all actions of an episode err alike (Plappert et al. 2018).

    noise [policy.sizes_0 * policy.sizes_1 + policy.sizes_1 * policy.sizes_2 + policy.sizes_1 + policy.sizes_2]
    -> MLP
    """
    # [policy.sizes_0 * policy.sizes_1 + policy.sizes_1 * policy.sizes_2 + policy.sizes_1 + policy.sizes_2]  exploration.lee:29
    mul = spread * noise
    unflatten_, unflatten_2, unflatten_3, unflatten_4 = unflatten(
        mul,
        (
            (policy.sizes[0], policy.sizes[1]),
            (policy.sizes[1],),
            (policy.sizes[1], policy.sizes[2]),
            (policy.sizes[2],),
        ),
    )
    return policy.at(
        {
            "layers.0": {"w": policy.layers[0].w + unflatten_, "b": policy.layers[0].b + unflatten_2},
            "layers.1": {"w": policy.layers[1].w + unflatten_3, "b": policy.layers[1].b + unflatten_4},
        }
    )


def noisy_backward(spread, d_mlp):
    """From d_mlp to the gradients by policy and noise."""
    # gradient of return policy + unflatten(spread * noise, like = policy)   exploration.lee:29
    # [policy.sizes_0 * policy.sizes_1 + policy.sizes_1 * policy.sizes_2 + policy.sizes_1 + policy.sizes_2]
    d_mul = np.concatenate(
        (d_mlp["layers.0"]["w"].ravel(), d_mlp["layers.0"]["b"], d_mlp["layers.1"]["w"].ravel(), d_mlp["layers.1"]["b"])
    )
    # [policy.sizes_0 * policy.sizes_1 + policy.sizes_1 * policy.sizes_2 + policy.sizes_1 + policy.sizes_2]
    d_noise = d_mul * spread
    return d_mlp, d_noise


def bonus_saved(policy, s):
    """As bonus, and what its gradient needs."""
    add_2, saved_policy = policy.forward_saved(s)  # exploration.lee:34
    softmax_ = softmax(add_2, (1,))  # [n, policy.sizes_2]  prelude.lee:122
    log_softmax_ = log_softmax(add_2, (1,))  # [n, policy.sizes_2]  prelude.lee:127
    select, saved_share = share_saved(softmax_, log_softmax_)  # exploration.lee:34
    return select.sum(axis=1).mean(), (saved_policy, softmax_, log_softmax_, saved_share)


def bonus_backward(policy, s, saved, d_neg_2):
    """From d_neg_2 to the gradients by policy and s."""
    saved_policy, softmax_, log_softmax_, saved_share = saved
    n = s.shape[0]
    # gradient of return -mean(entropy(categorical(policy(s))))   exploration.lee:34
    d_select = np.broadcast_to(d_neg_2 / n, (n, policy.sizes[2]))  # [n, policy.sizes_2]
    d_softmax, d_log_softmax = share_backward(softmax_, log_softmax_, saved_share, d_select)
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax.sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sum_2 = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_add_2_2 = d_log_softmax - np.exp(log_softmax_) * sum_  # [n, policy.sizes_2]
    # gradient of return -mean(entropy(categorical(policy(s))))   exploration.lee:34
    d_add_2 = d_add_2_2 + softmax_ * (d_softmax - sum_2)  # [n, policy.sizes_2]
    d_policy, d_s = policy.forward_backward(s, saved_policy, d_add_2)
    return d_policy, d_s


def fading(t, start, until, least):
    """From `start` on a line to `least` at `until`, then no less."""
    return max(least, start + (least - start) * t / until)  # exploration.lee:39


def example_shares(key):
    q = normal(fold(key, SITES["q"]), (4, 3), FLOAT)  # [4, 3]  exploration.lee:43
    c = normal(fold(key, SITES["c"]), (4, 3), FLOAT)  # [4, 3]  exploration.lee:44
    add = epsilon_greedy(q, 0.3)  # [4, 3]  exploration.lee:45
    softmax_ = softmax(q / 0.7, (1,))  # [4, 3]  prelude.lee:122
    mul_2 = c * softmax_  # [4, 3]  exploration.lee:45
    return (c * add).sum() + mul_2.sum(), softmax_ * (c - mul_2.sum(axis=1, keepdims=True)) / 0.7, softmax_ + add


def example_nearby(key):
    policy = MLP((4, 5, 3), key=fold(key, SITES["policy"]))  # exploration.lee:49
    noise = normal(fold(key, SITES["noise"]), (43,), FLOAT)  # [43]  exploration.lee:50
    s = normal(fold(key, SITES["s"]), (6, 4), FLOAT)  # [6, 4]  exploration.lee:51
    mlp = noisy(policy, noise, 0.5)  # exploration.lee:52
    value, saved_bonus = bonus_saved(mlp, s)
    d_mlp, d_s = bonus_backward(mlp, s, saved_bonus, FLOAT(1.0))
    d_policy, d_noise = noisy_backward(0.5, d_mlp)
    return value, policy.at(d_policy), d_noise, d_s


def example_less_and_less():
    return fading(30, 0.5, 200, 0.1) + 10 * fading(300, 0.5, 200, 0.1)  # exploration.lee:56


def q_learning(episodes=400, rate=0.5, gamma=1.0, *, run=None):
    """The ways "chance", "temperature" and "noise", all fading. The shortest way along the cliff is 13 moves, each costs 1.

    Made for way = 'chance': with other values it is another program.
    """
    from leec.runtime.run import Run

    run = run or Run("q_learning")
    cliff = run.environment("CliffWalking-v1", observation=("int", (), 0, 47), action=("int", (), 0, 3))
    q = q_learning_q()  # exploration.lee:61
    (q,) = run.restore("episode", q=q)
    for episode in run.loop("episode", 1, episodes, cliff=cliff):
        strength, noise = q_learning_strength_noise(episode, key=run.key("q_learning"))  # exploration.lee:63
        s = cliff.reset(run.key("s"))  # exploration.lee:65
        score = 0.0  # exploration.lee:66
        moves = 0  # exploration.lee:67
        done = False  # exploration.lee:68
        while run.again("while", not done):
            a = q_learning_a(q, s, strength, key=run.key("q_learning"))  # exploration.lee:70
            next_, r, terminated, _ = cliff.step(a)  # exploration.lee:77
            q_item = q_learning_q_item(terminated, q, next_, s, a, rate, r, gamma)  # exploration.lee:78
            q[s, a] = q_item  # exploration.lee:79
            score = score + r  # exploration.lee:80
            moves = moves + 1  # exploration.lee:81
            s = next_  # exploration.lee:82
            done = terminated or moves >= 500  # exploration.lee:83
        run.report(score=score)  # exploration.lee:84
        run.keep("episode", q=q)
    return q


def q_learning_q():
    q = np.zeros((48, 4), dtype=FLOAT)  # [48, 4]  exploration.lee:61
    return q  # [48, 4]


def q_learning_strength_noise(episode, key):
    strength = fading(episode, 0.5, 300, 0.0)  # exploration.lee:63
    noise = normal(fold(key, SITES["noise"]), (48, 4), FLOAT)  # [48, 4]  exploration.lee:64
    return strength, noise


def q_learning_a(q, s, strength, key):
    """q [48, 4] -> []"""
    value = q[inside(s)][None]  # [1, 4]  exploration.lee:70
    chances = epsilon_greedy(value, strength)  # [1, 4]  exploration.lee:71
    categorical_below = np.cumsum(softmax(np.log(chances.reshape(4) + 1e-12), (0,)), axis=0)  # [4]  exploration.lee:76
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT)
    categorical_passed = categorical_u * categorical_below[3:] >= categorical_below  # bool[4]
    a = np.minimum(categorical_passed.astype(np.int64).sum(), 3)
    return a


def q_learning_q_item(terminated, q, next_, s, a, rate, r, gamma):
    """q [48, 4] -> []"""
    after = np.where(terminated, 0, q[inside(next_)].max())  # exploration.lee:78
    gather_2 = q[inside(s), inside(a)]  # exploration.lee:79
    q_item = gather_2 + rate * (r + gamma * after - gather_2)
    return q_item


def share_saved(p, of):
    """As share, and what its gradient needs."""
    gt = p > 0  # bool[p_0, p_1]  distributions.lee:114
    return masked(p * of, gt), gt


def share_backward(p, of, gt, d_select):
    """From d_select to the gradients by p and of."""
    # gradient of return where(p > 0, p * of, 0)   distributions.lee:114
    d_p = masked(d_select * of, gt)  # [p_0, p_1]
    d_of = masked(d_select * p, gt)  # [p_0, p_1]
    return d_p, d_of


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

    def forward_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x


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


@packed(0, index=(0, 1))
def one_hot(index, classes):
    """1 at the place that the index names, 0 elsewhere.

    index int[..] -> [.., classes]
    """
    place = np.arange(classes)  # int[classes]  prelude.lee:253
    return (index[:, None] == place).astype(FLOAT)  # [rows, classes]  prelude.lee:254


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "noise": 0x370359298C8860E5,
    "policy": 0x1B4CD66C6FC3ACDF,
    "q": 0x3514BD29FB70352B,
    "s": 0xDE6ECFAAC38449E6,
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


def unflatten(x, shapes):
    """The arrays of given shapes that lie one after the other in a vector."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return tuple(part.reshape(shape) for part, shape in zip(np.split(x, ends[:-1]), shapes, strict=True))


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
