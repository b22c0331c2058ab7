"""Optimizers of the lectures (inventory A5 to A10, A12), each as its update rule.

θ and g are all parameters and their gradient, t the number of the update, from 1. Where the notes print a rule that
differs from the standard one, it stands beside it with the suffix AsPrinted.

Made from specs/regression/optimizers.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/regression/optimizers.lee
"""

from __future__ import annotations

import math
import sys

if __name__ == "cuda" and "torch" in sys.modules and not hasattr(sys.modules["torch"], "nn"):
    raise ImportError("torch, which looks for a package named cuda, has found this file beside the script")

import torch  # noqa: E402

FLOAT = torch.float32


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
            state = getattr(self, name, None)
            if state is None or state.device != θ.device or state.dtype != θ.dtype:
                setattr(self, name, torch.full_like(θ, start) if state is None else state.to(θ))
            elif state.shape != θ.shape:
                raise ValueError(f"{type(self).__name__} has moved {state.numel()} parameters, not {θ.numel()}")

    def tensors(self):
        """The count and the states that there are by now."""
        return {"t": self.t, **{name: getattr(self, name) for name in self.starts if hasattr(self, name)}}

    def load_tensors(self, tensors):
        """Go on from another's count and states; states that are there are filled, so that steps find them."""
        self.t = int(tensors["t"])
        for name in self.starts.keys() & tensors.keys():
            if hasattr(self, name):
                getattr(self, name).copy_(torch.as_tensor(tensors[name]))
            else:
                setattr(self, name, torch.as_tensor(tensors[name]).clone())

    def copy(self):
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for name in self.starts:
            if hasattr(self, name):
                setattr(twin, name, getattr(self, name).clone())
        return twin


class Adagrad(Optimizer):
    """η decays as 1 / √t, and is divided by σ, the root mean square of all gradients so far."""

    starts = {"total": 0.0}

    def __init__(self, lr=0.01):
        self.lr = lr

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.total.add_(g * g)  # [count]  optimizers.lee:15
        sigma = torch.sqrt(self.total / self.t)  # [count]  optimizers.lee:16
        select = torch.where(sigma > 0, g / sigma, 0)  # [count]  optimizers.lee:17
        θ.sub_(self.lr / math.sqrt(self.t) * select)  # [count]


class AdagradSum(Optimizer):
    """The same with both roots of t cancelled: η g / √(Σ g²)."""

    starts = {"total": 0.0}

    def __init__(self, lr=0.01, eps=1e-10):
        self.lr, self.eps = lr, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.total.add_(g * g)  # [count]  optimizers.lee:25
        θ.sub_(self.lr * g / (torch.sqrt(self.total) + self.eps))  # [count]  optimizers.lee:26


class AdagradSumAsPrinted(Optimizer):
    """One set of notes keeps η constant over the root mean square: the rate no longer falls."""

    starts = {"total": 0.0}

    def __init__(self, lr=0.01, eps=1e-10):
        self.lr, self.eps = lr, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.total.add_(g * g)  # [count]  optimizers.lee:34
        θ.sub_(self.lr * g / (torch.sqrt(self.total / self.t) + self.eps))  # [count]  optimizers.lee:35


class AdagradCompoundAsPrinted(Optimizer):
    """Another divides the rate of the update before, ηₜ = ηₜ₋₁ / σₜ with σ = √(Σ g²): it compounds."""

    starts = {"total": 0.0, "shrunk": 1.0}

    def __init__(self, lr=0.01):
        self.lr = lr

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.total.add_(g * g)  # [count]  optimizers.lee:44
        div = self.shrunk / torch.sqrt(self.total)  # [count]  optimizers.lee:45
        self.shrunk.copy_(torch.where(self.total > 0, div, self.shrunk))  # [count]
        θ.sub_(self.lr * self.shrunk * g)  # [count]  optimizers.lee:46


class Momentum(Optimizer):
    """m ← λ m - η g; θ ← θ + m: the last step goes on."""

    starts = {"m": 0.0}

    def __init__(self, lr=0.01, decay=0.9):
        self.lr, self.decay = lr, decay

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.m.copy_(self.decay * self.m - self.lr * g)  # [count]  optimizers.lee:54
        θ.add_(self.m)  # [count]  optimizers.lee:55


class RMSProp(Optimizer):
    """σ² is an average that forgets, and starts at 0."""

    starts = {"v": 0.0}

    def __init__(self, lr=1e-3, alpha=0.99, eps=1e-8):
        self.lr, self.alpha, self.eps = lr, alpha, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.v.copy_(self.alpha * self.v + (1 - self.alpha) * (g * g))  # [count]  optimizers.lee:63
        θ.sub_(self.lr * g / (torch.sqrt(self.v) + self.eps))  # [count]  optimizers.lee:64


class RMSPropAsPrinted(Optimizer):
    """The notes start at the first gradient, σ⁰ = √(g⁰)²: the first step is 1 / √(1 - α) smaller."""

    starts = {"v": 0.0}

    def __init__(self, lr=1e-3, alpha=0.99, eps=1e-8):
        self.lr, self.alpha, self.eps = lr, alpha, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        mul = g * g  # [count]  optimizers.lee:72
        add = self.alpha * self.v + (1 - self.alpha) * mul  # [count]
        self.v.copy_(torch.where(torch.full((), self.t == 1, device=θ.device), mul, add))  # [count]
        θ.sub_(self.lr * g / (torch.sqrt(self.v) + self.eps))  # [count]  optimizers.lee:73


class Adam(Optimizer):
    """RMSProp with momentum, both averages over their bias."""

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        adam_(θ, g, self.m, self.v, self.lr, self.beta1, self.beta2, self.eps, 0.0, self.t)  # optimizers.lee:86


class AdamAsPrinted(Optimizer):
    """One set of notes says RMSProp with Adagrad: the average that forgets, under a rate that decays as 1 / √t."""

    starts = {"v": 0.0}

    def __init__(self, lr=1e-3, alpha=0.999, eps=1e-8):
        self.lr, self.alpha, self.eps = lr, alpha, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.v.copy_(self.alpha * self.v + (1 - self.alpha) * (g * g))  # [count]  optimizers.lee:94
        mul_4 = self.lr / math.sqrt(self.t) * g  # [count]  optimizers.lee:95
        θ.sub_(mul_4 / (torch.sqrt(self.v) + self.eps))  # [count]


class MomentumOverRMS(Optimizer):
    """θ ← θ - η / σ · m, m being a weighted sum of past gradients: Adam without its bias correction."""

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=0.01, decay=0.9, alpha=0.99, eps=1e-8):
        self.lr, self.decay, self.alpha, self.eps = lr, decay, alpha, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.m.copy_(self.decay * self.m + (1 - self.decay) * g)  # [count]  optimizers.lee:104
        self.v.copy_(self.alpha * self.v + (1 - self.alpha) * (g * g))  # [count]  optimizers.lee:105
        θ.sub_(self.lr * self.m / (torch.sqrt(self.v) + self.eps))  # [count]  optimizers.lee:106


class MomentumOverRMSAsPrinted(Optimizer):
    """The same line with the notes' own m, which already points downhill: it climbs."""

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=0.01, decay=0.9, alpha=0.99, eps=1e-8):
        self.lr, self.decay, self.alpha, self.eps = lr, decay, alpha, eps

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.m.copy_(self.decay * self.m - self.lr * g)  # [count]  optimizers.lee:115
        self.v.copy_(self.alpha * self.v + (1 - self.alpha) * (g * g))  # [count]  optimizers.lee:116
        θ.sub_(self.lr * self.m / (torch.sqrt(self.v) + self.eps))  # [count]  optimizers.lee:117


def clipped_saved(g, bound):
    """As clipped, and what its gradient needs."""
    maximum = g.clamp(min=-bound)  # [n]  optimizers.lee:125
    return maximum.clamp(max=bound), maximum


def clipped_backward(g, bound, maximum, d_minimum):
    """From d_minimum to the gradient by g."""
    # gradient of return min(max(g, -bound), bound)   optimizers.lee:125
    d_g = torch.where(maximum <= bound, torch.where(g >= -bound, d_minimum, 0), 0)  # [n]
    return d_g  # [n]


def clippedAsPrinted(g, bound):
    """G = min(G, G_max): large negative entries pass.

    g [n] -> [n]
    """
    return g.clamp(max=bound)  # [n]  optimizers.lee:130


def clippedAsPrinted_backward(g, bound, d_y):
    """From d_y to the gradient by g."""
    # gradient of return min(g, bound)   optimizers.lee:130
    d_g = torch.where(g <= bound, d_y, 0)  # [n]
    return d_g  # [n]


def rescaled_saved(g, bound):
    """As rescaled, and what its gradient needs."""
    sqrt_, saved_norm = norm_saved(g)  # optimizers.lee:135
    add = sqrt_ + 1e-6
    div = bound / add
    minimum = torch.where(1 <= div, 1, div)
    return g * minimum, (sqrt_, saved_norm, add, div, minimum)


def rescaled_backward(g, saved, d_mul):
    """From d_mul to the gradient by g."""
    sqrt_, saved_norm, add, div, minimum = saved
    # gradient of return g * min(1, bound / (norm(g) + 1e-6))   optimizers.lee:135
    d_add = torch.where(1 <= div, 0, -((d_mul * g).sum() * div / add))
    d_g = d_mul * minimum + norm_backward(g, saved_norm, sqrt_, d_add)  # [n]
    return d_g  # [n]


def rescaled_2_saved(g, bound):
    """As rescaled_2, and what its gradient needs."""
    sqrt_, saved_norm = norm_saved(g)  # optimizers.lee:135
    add = sqrt_ + 1e-6
    div = bound / add
    minimum = torch.where(1 <= div, 1, div)
    return g * minimum, (sqrt_, saved_norm, add, div, minimum)


def rescaled_2_backward(g, saved, d_mul):
    """From d_mul to the gradient by g."""
    sqrt_, saved_norm, add, div, minimum = saved
    # gradient of return g * min(1, bound / (norm(g) + 1e-6))   optimizers.lee:135
    d_add = torch.where(1 <= div, 0, -((d_mul * g).sum() * div / add))
    d_g = d_mul * minimum + norm_backward(g, saved_norm, sqrt_, d_add)  # [n]
    return d_g  # [n]


def example_within_bounds(key):
    g = 2 * normal(fold(key, SITES["g"]), (20,), FLOAT)  # [20]  optimizers.lee:139
    c = normal(fold(key, SITES["c"]), (20,), FLOAT)  # [20]  optimizers.lee:140
    d_c, saved_clipped = clipped_saved(g, 1.5)  # optimizers.lee:141
    return (c * d_c).sum(), clipped_backward(g, 1.5, saved_clipped, c), d_c


def example_within_bounds_as_printed(key):
    g = 2 * normal(fold(key, SITES["g"]), (20,), FLOAT)  # [20]  optimizers.lee:145
    c = normal(fold(key, SITES["c"]), (20,), FLOAT)  # [20]  optimizers.lee:146
    d_c = clippedAsPrinted(g, 1.5)  # [20]  optimizers.lee:147
    return (c * d_c).sum(), clippedAsPrinted_backward(g, 1.5, c), d_c


def example_shortened(key):
    g = 2 * normal(fold(key, SITES["g"]), (20,), FLOAT)  # [20]  optimizers.lee:151
    c = normal(fold(key, SITES["c"]), (20,), FLOAT)  # [20]  optimizers.lee:152
    mul_3, saved_rescaled = rescaled_saved(g, 1.5)  # optimizers.lee:153
    mul_5, saved_rescaled_2 = rescaled_2_saved(g, 100)
    d_g_2 = rescaled_2_backward(g, saved_rescaled_2, c)  # [20]
    return (c * mul_3).sum() + (c * mul_5).sum(), d_g_2 + rescaled_backward(g, saved_rescaled, c), mul_5 + mul_3


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum()  # prelude.lee:163
    return sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt_, d_sqrt):
    """From d_sqrt to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_x = 2 * (d_sqrt * 0.5 / torch.where(sum_ > 0, sqrt_, torch.inf)) * x  # [x_0]
    return d_x  # [x_0]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "c": 0x1B2C07CD64633F37,
    "g": 0xBC30DBAED87C766C,
}


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


def adam_(x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """A step of Adam in place; `t` is a number, or a tensor on the device. One kernel where the library has it."""
    kernel = fused("_fused_adam_", x, lr)
    if kernel is None:
        adamw_(x, g + decay * x, m, v, lr, beta1, beta2, eps, 0.0, t)
    else:
        fused_adam(kernel, x, g, m, v, lr, beta1, beta2, eps, decay, t)


def adamw_(x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """A step of AdamW in place; `t` is a number, or a tensor on the device. One kernel where the library has it."""
    kernel = fused("_fused_adamw_", x, lr)
    if kernel is not None:
        fused_adam(kernel, x, g, m, v, lr, beta1, beta2, eps, decay, t)
        return
    m.lerp_(g, 1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    x.mul_(1 - lr * decay)
    x.sub_(m / ((v / (1 - beta2**t)).sqrt_() + eps) * (lr / (1 - beta1**t)))


def fused(name, x, lr):
    """A kernel of the library; None where it has none as exact as x: a rate that is a tensor it takes in float32."""
    rounds = isinstance(lr, torch.Tensor) and x.dtype == torch.float64
    return None if rounds else getattr(torch, name, None)


def fused_adam(kernel, x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """A step by a kernel of the library, which wants lists of tensors, and the count as a tensor."""
    step = t.float() if isinstance(t, torch.Tensor) else torch.scalar_tensor(t, device=x.device)
    lr = lr.float() if isinstance(lr, torch.Tensor) else lr
    how = {"amsgrad": False, "maximize": False}
    kernel([x], [g], [m], [v], [], [step], lr=lr, beta1=beta1, beta2=beta2, weight_decay=decay, eps=eps, **how)


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


def normal(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2, device) >> 8).reshape(-1, 2).to(torch.float64)
    radius = torch.sqrt(-2.0 * torch.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
    return pairs.reshape(-1)[:n].reshape(shape).to(dtype)
