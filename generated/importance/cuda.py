"""Expectations under one policy from draws of another (lecture: reinforcement, off-policy).

E_p[f] = E_q[f p / q]. The weights p / q have mean 1, but where p and q differ few of them carry all: their variance is
E_q[(p / q)²] - 1, which for two normal distributions of deviation 1 whose means lie δ apart is e^(δ²) - 1.

Made from specs/reinforcement/importance.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/importance.lee
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


def reweighted(f, log_p, log_q):
    """The mean of f p / q over draws from q.

    f [n], log_p [n], log_q [n] -> []
    """
    return (f * torch.exp(log_p - log_q)).mean()  # importance.lee:12


def reweighted_saved(f, log_p, log_q):
    """As reweighted, and what its gradient needs."""
    exp = torch.exp(log_p - log_q)  # [n]  importance.lee:12
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
    sub_2 = sub - largest(sub, (0,), False)  # [n]
    mul_2 = 2 * logsumexp(sub_2, 0, False)  # importance.lee:18
    return torch.exp(mul_2 - logsumexp(2 * sub_2, 0, False))


def surrogate_saved(policy, s, a, old, advantage):
    """As surrogate, and what its gradient needs."""
    categorical_score = torch.log_softmax(policy(s), dim=1)  # [n, policy.outputs]  prelude.lee:127
    mean, saved_reweighted = reweighted_saved(advantage, of_class(categorical_score, a), old)  # importance.lee:23
    return -mean, (categorical_score, saved_reweighted)


def surrogate_backward(policy, s, a, advantage, saved, d_neg):
    """From d_neg to the gradients by policy, s, old and advantage."""
    categorical_score, saved_reweighted = saved
    # gradient of return -reweighted(advantage, log_prob(categorical(policy(s)), a), old)   importance.lee:23
    d_advantage, d_found, d_old = reweighted_backward(advantage, saved_reweighted, -d_neg)
    d_categorical_score = of_class_backward(a, policy.outputs, d_found)  # [n, policy.outputs]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_categorical_score.sum(dim=1, keepdim=True)  # [n, 1]
    d_policy_out = d_categorical_score - torch.exp(categorical_score) * sum_  # [n, policy.outputs]
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
    d_mul_3, d_sub_2, d_sub_3 = reweighted_backward(mul, saved_reweighted, torch.ones((), dtype=FLOAT))
    d_x_2 = (d_mul_3 + d_sub_3 / -2) * x  # [50000]
    return value, 2 * (d_sub_2 / -2 * sub) + d_x_2 + d_x_2


def example_worth(key):
    """e^(-δ²) of the draws are left: of N(0, 1), for N(1, 1)."""
    x = normal(fold(key, SITES["x"]), (50000,), FLOAT)  # [50000]  importance.lee:35
    sub = x - 1  # [50000]  importance.lee:36
    sub_4 = -(sub**2) / 2 - 0.9189385332046727 - (-(x**2) / 2 - 0.9189385332046727)  # [50000]  importance.lee:17
    sub_3_2 = sub_4 - sub_4.max(0).values  # [50000]
    mul_3 = 2 * sub_3_2  # [50000]  importance.lee:18
    mul_4 = 2 * logsumexp(sub_3_2, 0, False)
    exp = torch.exp(mul_4 - logsumexp(mul_3, 0, False))
    d_sub_3_2_2 = 2e-5 * exp * 2 * torch.softmax(sub_3_2, dim=0)  # [50000]
    d_sub_3_2 = d_sub_3_2_2 + 2 * (-2e-5 * exp) * softmax(mul_3, (0,))  # [50000]  importance.lee:17
    eq = torch.arange(50000) == sub_4.argmax(dim=0)  # bool[50000]
    d_sub_4 = d_sub_3_2 + torch.where(eq, -d_sub_3_2.sum(), 0)  # [50000]
    return exp / 50000, 2 * (-d_sub_4 / -2 * x) + 2 * (d_sub_4 / -2 * sub)  # importance.lee:36


def example_older_moves(key):
    policy = Linear(4, 3, key=fold(key, SITES["policy"]))  # importance.lee:40
    older = Linear(4, 3, key=fold(key, SITES["older"]))  # importance.lee:41
    s = normal(fold(key, SITES["s"]), (6, 4), FLOAT)  # [6, 4]  importance.lee:42
    a = randint(fold(key, SITES["a"]), (6,), 0, 3)  # int[6]  importance.lee:43
    advantage = normal(fold(key, SITES["advantage"]), (6,), FLOAT)  # [6]  importance.lee:44
    categorical_score = torch.log_softmax(older(s), dim=1)  # [6, 3]  prelude.lee:127
    # importance.lee:45
    value, saved_surrogate = surrogate_saved(policy, s, a, of_class(categorical_score, a), advantage)
    d_value = torch.ones((), dtype=FLOAT)
    d_policy, d_s_2, d_found, d_advantage = surrogate_backward(policy, s, a, advantage, saved_surrogate, d_value)
    d_categorical_score = of_class_backward(a, 3, d_found)  # [6, 3]
    sum_ = d_categorical_score.sum(dim=1, keepdim=True)  # [6, 1]  prelude.lee:127
    d_older_out = d_categorical_score - torch.exp(categorical_score) * sum_  # [6, 3]
    d_older, d_s_3 = older.forward_backward(s, d_older_out)  # importance.lee:45
    return value, policy.at(d_policy), policy.at(d_older), d_s_2 + d_s_3, d_advantage


@packed(0, score=(0, 2), x=(0, 1))
def of_class(score, x):
    """The score of the class that x names.

    score [.., k], x int[..] -> [..]
    """
    rows = score.shape[0]
    found = score[torch.arange(rows, device=score.device), x]  # [rows]  distributions.lee:119
    return found  # [rows]


def of_class_backward(x, k, d_found):
    """From d_found to the gradient by score."""
    rows = x.shape[0]
    # gradient of found[i] = score[i, x[i]]   distributions.lee:119
    d_score = scatter_add(d_found, (torch.arange(rows, device=x.device), x), (rows, k))  # [rows, k]
    return d_score  # [rows, k]


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


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


def largest(x, axes, keepdims=False):
    """The largest entry, -inf of nothing; the gradient goes to the first of equals."""
    for axis in reversed(axes):
        some = x.shape[axis] > 0
        x = x.max(axis, keepdim=keepdims).values if some else x.sum(axis, keepdim=keepdims) - math.inf
    return x


def logsumexp(x, axes, keepdims=False):
    """log(sum(exp(x))); where x is -inf all along, it is so too and the gradient is 0."""
    empty = torch.isneginf(x).all(axes, keepdim=True)
    return torch.logsumexp(torch.where(empty, x.detach(), x), axes, keepdim=keepdims)


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


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


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


def randint(key: Key, shape: tuple[int, ...], low: int, high: int, device: Device = None) -> torch.Tensor:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape), device).reshape(shape)
    return (words * (high - low) >> 32 & MASK) + low


def move_keys(found, old, new):
    """Rename a key, or all below a path."""
    for key in [k for k in found if k == old or k.startswith(f"{old}.")]:
        found[new + key[len(old) :]] = found.pop(key)
