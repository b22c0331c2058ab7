"""Exploration (lecture: reinforcement): an actor that only does what it thinks best never learns that it is wrong.

Three ways to more chance: one action in `eps` by chance, scores divided by a temperature, noise on the parameters. A
table of Q learns to walk along a cliff by Q(s, a) += rate (r + γ max Q(next) - Q(s, a)), Watkins 1989, with each.

Made from specs/reinforcement/exploration.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/exploration.lee
"""

from __future__ import annotations

import functools
import math
import sys

if __name__ == "cuda" and "torch" in sys.modules and not hasattr(sys.modules["torch"], "nn"):
    raise ImportError("torch, which looks for a package named cuda, has found this file beside the script")

import torch  # noqa: E402

FLOAT = torch.float32


class Model(torch.nn.Module):
    """An ordinary module; `members` names its tensors and submodels as the spec does, in declaration order."""

    members: tuple[str, ...] = ()
    renamed: dict[str, str] = {}  # members whose name is taken

    def parts(self):
        """(name, member) of tensors and submodels; the elements of a list are `layers.0`, `layers.1`, .."""
        for name in self.members:
            member = getattr(self, self.renamed.get(name, name))
            if isinstance(member, torch.nn.ModuleList):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(member))
            else:
                yield name, member

    def tensors(self):
        """Every tensor by its path in the spec, such as "conv1.kernel"."""
        found = {}
        for name, part in self.parts():
            if isinstance(part, Model):
                found |= {f"{name}.{path}": tensor for path, tensor in part.tensors().items()}
            else:
                found[name] = part
        return found

    def state_dict(self, *args, prefix="", **options):
        """Keys are the spec's names, also where an attribute has another one."""
        found = super().state_dict(*args, prefix=prefix, **options)
        for name, attribute in self.renamed.items():
            move_keys(found, prefix + attribute, prefix + name)
        return found

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        for name, attribute in self.renamed.items():
            move_keys(state_dict, prefix + name, prefix + attribute)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @torch.no_grad()
    def load_tensors(self, tensors):
        """Copy tensors in by path. Raises ValueError where names or shapes differ."""
        own = self.tensors()
        if own.keys() != tensors.keys():
            raise ValueError(f"{type(self).__name__} has other tensors: {sorted(own.keys() ^ tensors.keys())}")
        for path, tensor in own.items():
            given = torch.as_tensor(tensors[path])
            if tensor.shape != given.shape:
                raise ValueError(f"{path} is {tuple(tensor.shape)} here and {tuple(given.shape)} there")
            tensor.copy_(given)

    def copy(self):
        """The same model with tensors of its own."""
        twin = self.at({})
        for module in twin.modules():
            for name, parameter in module._parameters.items():
                module._parameters[name] = torch.nn.Parameter(parameter.detach().clone())
        return twin

    def at(self, tensors):
        """The model at another point of parameter space: nested dicts of tensors by member replace its own.

        Gradients flow through them. What is not given is shared. Buffers are copied.
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for table in ("_parameters", "_buffers", "_modules"):
            twin.__dict__[table] = dict(self.__dict__[table])
        for name, buffer in twin._buffers.items():
            twin._buffers[name] = buffer.clone()
        for name in self.members:
            attribute = self.renamed.get(name, name)
            member = getattr(self, attribute)
            if isinstance(member, torch.nn.ModuleList):
                parts = (part.at(tensors.get(f"{name}.{i}", {})) for i, part in enumerate(member))
                twin._modules[attribute] = torch.nn.ModuleList(parts)
            elif isinstance(member, Model):
                twin._modules[attribute] = member.at(tensors.get(name, {}))
            elif name in tensors and attribute in twin._buffers:
                twin._buffers[attribute] = tensors[name].clone()
            elif name in tensors:
                twin._parameters.pop(attribute, None)
                twin.__dict__[attribute] = tensors[name]
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


def epsilon_greedy(q, eps):
    """eps is shared out evenly, the rest goes to the best action, the first of several.

    q [n, k] -> [n, k]
    """
    k = q.shape[1]
    best = one_hot(q.argmax(dim=1), k)  # [n, k]  exploration.lee:18
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
    d_mul = torch.cat(
        (
            d_mlp["layers.0"]["w"].reshape(-1),
            d_mlp["layers.0"]["b"],
            d_mlp["layers.1"]["w"].reshape(-1),
            d_mlp["layers.1"]["b"],
        )
    )
    # [policy.sizes_0 * policy.sizes_1 + policy.sizes_1 * policy.sizes_2 + policy.sizes_1 + policy.sizes_2]
    d_noise = d_mul * spread
    return d_mlp, d_noise


def bonus_saved(policy, s):
    """As bonus, and what its gradient needs."""
    add_2, saved_policy = policy.forward_saved(s)  # exploration.lee:34
    softmax_ = softmax(add_2, (1,))  # [n, policy.sizes_2]  prelude.lee:122
    log_softmax_ = torch.log_softmax(add_2, dim=1)  # [n, policy.sizes_2]  prelude.lee:127
    select, saved_share = share_saved(softmax_, log_softmax_)  # exploration.lee:34
    return select.sum(dim=1).mean(), (saved_policy, softmax_, log_softmax_, saved_share)


def bonus_backward(policy, s, saved, d_neg_2):
    """From d_neg_2 to the gradients by policy and s."""
    saved_policy, softmax_, log_softmax_, saved_share = saved
    n = s.shape[0]
    # gradient of return -mean(entropy(categorical(policy(s))))   exploration.lee:34
    d_select = (d_neg_2 / n).expand(n, policy.sizes[2])  # [n, policy.sizes_2]
    d_softmax, d_log_softmax = share_backward(softmax_, log_softmax_, saved_share, d_select)
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax.sum(dim=1, keepdim=True)  # [n, 1]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [n, policy.sizes_2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_add_2_2 = d_log_softmax - torch.exp(log_softmax_) * sum_  # [n, policy.sizes_2]
    # gradient of return -mean(entropy(categorical(policy(s))))   exploration.lee:34
    d_policy, d_s = policy.forward_backward(s, saved_policy, d_add_2_2 + softmax_ * sub)
    return d_policy, d_s


def fading(t, start, until, least):
    """From `start` on a line to `least` at `until`, then no less."""
    return max(least, start + (least - start) * t / until)  # exploration.lee:39


def example_shares(key):
    q = normal(fold(key, SITES["q"]), (4, 3), FLOAT)  # [4, 3]  exploration.lee:43
    c = normal(fold(key, SITES["c"]), (4, 3), FLOAT)  # [4, 3]  exploration.lee:44
    add = epsilon_greedy(q, 0.3)  # [4, 3]  exploration.lee:45
    softmax_ = torch.softmax(q / 0.7, dim=1)  # [4, 3]  prelude.lee:122
    mul_2 = c * softmax_  # [4, 3]  exploration.lee:45
    return (c * add).sum() + mul_2.sum(), softmax_ * (c - mul_2.sum(dim=1, keepdim=True)) / 0.7, softmax_ + add


def example_nearby(key):
    policy = MLP((4, 5, 3), key=fold(key, SITES["policy"]))  # exploration.lee:49
    noise = normal(fold(key, SITES["noise"]), (43,), FLOAT)  # [43]  exploration.lee:50
    s = normal(fold(key, SITES["s"]), (6, 4), FLOAT)  # [6, 4]  exploration.lee:51
    mlp = noisy(policy, noise, 0.5)  # exploration.lee:52
    value, saved_bonus = bonus_saved(mlp, s)
    d_mlp, d_s = bonus_backward(mlp, s, saved_bonus, torch.ones((), dtype=FLOAT))
    d_policy, d_noise = noisy_backward(0.5, d_mlp)
    return value, policy.at(d_policy), d_noise, d_s


def example_less_and_less():
    return fading(30, 0.5, 200, 0.1) + 10 * fading(300, 0.5, 200, 0.1)  # exploration.lee:56


@torch.no_grad()
def q_learning(episodes=400, rate=0.5, gamma=1.0, *, run=None):
    """The ways "chance", "temperature" and "noise", all fading. The shortest way along the cliff is 13 moves, each costs 1.

    Made for way = 'chance': with other values it is another program.
    """
    from leec.runtime.run import Run

    run = run or Run("q_learning", backend="torch")
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
    q = torch.zeros((48, 4), dtype=FLOAT)  # [48, 4]  exploration.lee:61
    return q  # [48, 4]


def q_learning_strength_noise(episode, key):
    strength = fading(episode, 0.5, 300, 0.0)  # exploration.lee:63
    noise = normal(fold(key, SITES["noise"]), (48, 4), FLOAT)  # [48, 4]  exploration.lee:64
    return strength, noise


def q_learning_a(q, s, strength, key):
    """q [48, 4] -> []"""
    value = q[s][None]  # [1, 4]  exploration.lee:70
    chances = epsilon_greedy(value, strength)  # [1, 4]  exploration.lee:71
    categorical_below = softmax(torch.log(chances.reshape(4) + 1e-12), (0,)).cumsum(dim=0)  # [4]  exploration.lee:76
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT, q.device)
    categorical_passed = categorical_u * categorical_below[3:] >= categorical_below  # bool[4]
    a = categorical_passed.to(torch.int64).sum().clamp(max=3)
    return a


def q_learning_q_item(terminated, q, next_, s, a, rate, r, gamma):
    """q [48, 4] -> []"""
    max_ = q[next_].max(0).values  # exploration.lee:78
    after = torch.where(torch.full((), terminated, device=q.device), 0, max_)
    gather_2 = q[s, a]  # exploration.lee:79
    q_item = gather_2 + rate * (r + gamma * after - gather_2)
    return q_item


def share_saved(p, of):
    """As share, and what its gradient needs."""
    gt = p > 0  # bool[p_0, p_1]  distributions.lee:114
    return torch.where(gt, p * of, 0), gt


def share_backward(p, of, gt, d_select):
    """From d_select to the gradients by p and of."""
    # gradient of return where(p > 0, p * of, 0)   distributions.lee:114
    d_p = torch.where(gt, d_select * of, 0)  # [p_0, p_1]
    d_of = torch.where(gt, d_select * p, 0)  # [p_0, p_1]
    return d_p, d_of


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


class Linear(Model):
    """x W + b"""

    members = ("w", "b")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        div, div_2 = fan_in_uniform(inputs)  # nn.lee:15
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]
        uniform_2 = uniform(fold(key, SITES["b"]), (outputs,), FLOAT)  # [outputs]  nn.lee:17
        self.w = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, outputs]  nn.lee:15
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [outputs]  nn.lee:17

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., inputs] -> [.., outputs]"""
        return torch.addmm(self.b, x, self.w)  # [rows, outputs]  nn.lee:21

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(dim=0)  # [outputs]
        d_x = d_y @ self.w.T  # [rows, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_x


class MLP(Model):
    """Linear layers with relu between them: MLP((64, 128, 10)) has one hidden layer of 128."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        super().__init__()
        self.sizes = sizes
        # nn.lee:37
        self.layers = torch.nn.ModuleList(
            [
                Linear(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
                Linear(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
            ]
        )

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
    return torch.relu(x)  # [x_0, x_1]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


@packed(0, index=(0, 1))
def one_hot(index, classes):
    """1 at the place that the index names, 0 elsewhere.

    index int[..] -> [.., classes]
    """
    place = torch.arange(classes, device=index.device)  # int[classes]  prelude.lee:253
    return (index[:, None] == place).to(FLOAT)  # [rows, classes]  prelude.lee:254


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


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    shifted = x - torch.where(empty, 0.0, top)
    return shifted - torch.log(torch.where(empty, 1.0, torch.exp(shifted).sum(dim=axes, keepdim=True)))


def unflatten(x, shapes):
    """The tensors of given shapes that lie one after the other in a vector."""
    parts = x.split([math.prod(shape) for shape in shapes])
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))


MASK = 0xFFFFFFFF


Key = tuple[int, int] | torch.Tensor


Device = torch.device | str | None


def philox(key, counter):
    """Four random words for a counter of four words: ten rounds of products that swap their halves.

    The words are Python integers or int64 tensors below 2**32.
    """
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1 = (p1 >> 32 & MASK) ^ x1 ^ k0, p1 & MASK
        x2, x3 = (p0 >> 32 & MASK) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def fold(key, word):
    """The key that belongs to a word of 64 bits (a site, a round of a loop) under a key.

    It is the first half of the block that starts with the word; the last word of its counter, 0xF01D, is 0 in
    every block that `bits` reads, so folding and drawing never meet.
    """
    return philox(key, (word & MASK, word >> 32 & MASK, 0, 0xF01D))[:2]


def bits(key: Key, n: int, device: Device = None) -> torch.Tensor:
    """n random words, int64[n], all four words of a block used; at most 2**34 from one key."""
    blocks = torch.arange(-(-n // 4), dtype=torch.int64, device=device)
    return torch.stack(philox(key, (blocks, 0, 0, 0)), dim=1).reshape(-1)[:n]


def uniform(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Uniform numbers in [0, 1): multiples of 2**-24, so that float32 and float64 hold the same ones."""
    return (bits(key, math.prod(shape), device) >> 8).reshape(shape).to(dtype) * 2.0**-24


def normal(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2, device) >> 8).reshape(-1, 2).to(torch.float64)
    radius = torch.sqrt(-2.0 * torch.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
    return pairs.reshape(-1)[:n].reshape(shape).to(dtype)


def move_keys(found, old, new):
    """Rename a key, or all below a path."""
    for key in [k for k in found if k == old or k.startswith(f"{old}.")]:
        found[new + key[len(old) :]] = found.pop(key)
