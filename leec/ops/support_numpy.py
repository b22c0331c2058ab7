"""Functions that NumPy columns call, for what is no single expression.

The emitter pastes their source into generated modules: each stands on NumPy, `math` and others of this file alone.
"""

import math

import numpy as np

# ---- sums of exponentials


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


# ---- special functions


def polynomial(x, *coefficients):
    """The polynomial with these coefficients, the highest power first."""
    total = coefficients[0]
    for c in coefficients[1:]:
        total = total * x + c
    return total


def erf(x):
    """Error function, by the rational approximations of Sun's fdlibm (s_erf.c)."""
    a, s = np.abs(x), x * x
    p = polynomial(
        s,
        *(-2.37630166566501626084e-05, -5.77027029648944159157e-03, -2.84817495755985104766e-02),
        *(-3.25042107247001499370e-01, 1.28379167095512558561e-01),
    )
    q = polynomial(
        s,
        *(-3.96022827877536812320e-06, 1.32494738004321644526e-04, 5.08130628187576562776e-03),
        *(6.50222499887672944485e-02, 3.97917223959155352819e-01, 1.0),
    )
    return np.where(a < 0.84375, x + x * (p / q), np.sign(x) * (1 - erfc_tail(np.maximum(a, 0.84375))))


def erfc(x):
    """1 - erf(x), to full relative precision where it is small."""
    tail = erfc_tail(np.maximum(np.abs(x), 0.84375))
    return np.where(np.abs(x) < 0.84375, 1 - erf(np.clip(x, -0.84375, 0.84375)), np.where(x > 0, tail, 2 - tail))


def erfc_tail(x):
    """erfc for x of at least 0.84375: near 1 a quotient of polynomials, beyond with exp(-x * x) split in two."""
    s = x - 1
    p = polynomial(
        s,
        *(-2.16637559486879084300e-03, 3.54783043256182359371e-02, -1.10894694282396677476e-01),
        *(3.18346619901161753674e-01, -3.72207876035701323847e-01, 4.14856118683748331666e-01),
        -2.36211856075265944077e-03,
    )
    q = polynomial(
        s,
        *(1.19844998467991074170e-02, 1.36370839120290507362e-02, 1.26171219808761642112e-01),
        *(7.18286544141962662868e-02, 5.40397917702171048937e-01, 1.06420880400844228286e-01, 1.0),
    )
    near = 1 - 8.45062911510467529297e-01 - p / q
    x = np.minimum(x, 28)  # beyond it is 0
    s = 1 / (x * x)
    r = polynomial(
        s,
        *(-9.81432934416914548592e00, -8.12874355063065934246e01, -1.84605092906711035994e02),
        *(-1.62396669462573470355e02, -6.23753324503260060396e01, -1.05586262253232909814e01),
        *(-6.93858572707181764372e-01, -9.86494403484714822705e-03),
    ) / polynomial(
        s,
        *(-6.04244152148580987438e-02, 6.57024977031928170135e00, 1.08635005541779435134e02),
        *(4.29008140027567833386e02, 6.45387271733267880336e02, 4.34565877475229228821e02),
        *(1.37657754143519042600e02, 1.96512716674392571292e01, 1.0),
    )
    far = polynomial(
        s,
        *(-4.83519191608651397019e02, -1.02509513161107724954e03, -6.37566443368389627722e02),
        *(-1.60636384855821916062e02, -1.77579549177547519889e01, -7.99283237680523006574e-01),
        -9.86494292470009928597e-03,
    ) / polynomial(
        s,
        *(-2.24409524465858183362e01, 4.74528541206955367215e02, 2.55305040643316442583e03),
        *(3.19985821950859553908e03, 1.53672958608443695994e03, 3.25792512996573918826e02),
        *(3.03380607434824582924e01, 1.0),
    )
    top = x.astype(np.float32).astype(x.dtype)  # its square is exact
    power = np.exp(-top * top - 0.5625) * np.exp((top - x) * (top + x) + np.where(x < 1 / 0.35, r, far))
    return np.where(x < 1.25, near, power / x)


def erfinv(x):
    """Inverse of erf: a guess by Winitzki's formula, then steps of Halley's rule; near 1 by erfc, which stays precise."""
    a = np.abs(x)
    inner = np.minimum(a, 1 - np.finfo(x.dtype).epsneg)
    s = np.log((1 - inner) * (1 + inner))
    t = 2 / (0.147 * np.pi) + s / 2
    y = np.sqrt(np.sqrt(t * t - s / 0.147) - t)
    for _ in range(3):
        missed = np.where(inner < 0.5, erf(y) - inner, (1 - inner) - erfc(y))
        step = missed * (0.5 * math.sqrt(math.pi)) * np.exp(y * y)
        y = y - step / (1 + y * step)
    return np.sign(x) * np.where(a < 1, y, np.inf)


def lgamma(x):
    """Logarithm of |gamma(x)|, infinite at 0, -1, -2, .."""
    poles = [math.inf if v <= 0 and v % 1 == 0 else math.lgamma(v) for v in np.ravel(x).tolist()]
    return np.array(poles, x.dtype).reshape(x.shape)


def digamma(x):
    """Derivative of lgamma: reflected below 1/2, moved up by 8, then a series (Abramowitz and Stegun 6.3.18)."""
    y = np.where(x < 0.5, 1 - x, x)
    below = sum(1 / (y + k) for k in range(8))
    y = y + 8
    s = 1 / (y * y)
    series = polynomial(s, -1 / 12, 691 / 32760, -1 / 132, 1 / 240, -1 / 252, 1 / 120, -1 / 12) * s
    above = np.log(y) - 0.5 / y + series - below
    mirrored = above - np.pi / np.tan(np.pi * np.where(x < 0.5, x, 0.25))
    return np.where(x < 0.5, np.where((x < 0) & (x % 1 == 0), np.nan, mirrored), above)


def polygamma(n, x):
    """n-th derivative of digamma for positive x: n! times a Hurwitz zeta sum by Euler and Maclaurin."""
    s, y = n + 1, x + 12
    total = sum((x + k) ** -s for k in range(12)) + y**-n / n + 0.5 * y**-s
    term, bernoulli = s * y ** (-s - 1) / 2, (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)
    for j, b in enumerate(bernoulli, 1):
        total = total + b * term
        term = term * (s + 2 * j - 1) * (s + 2 * j) / ((2 * j + 1) * (2 * j + 2)) / (y * y)
    return (-1) ** (n + 1) * math.factorial(n) * total


# ---- places


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = np.zeros(dims, x.dtype)
    whole[slices] = x
    return whole


def unflatten(x, shapes):
    """The arrays of given shapes that lie one after the other in a vector."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return tuple(part.reshape(shape) for part, shape in zip(np.split(x, ends[:-1]), shapes, strict=True))


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


def scatter_set(x, v, index, axes=None):
    """A copy of x with v written at positions of some axes (the first ones)."""
    whole = x.copy()
    fronted(whole, axes)[index] = v
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    return scatter(np.add, np.zeros(dims, v.dtype), v, index, axes)


# ---- running results


def cumulate(combine, x, axis, reverse=False, exclusive=False):
    """Running sum (np.add) or product (np.multiply); from the end if `reverse`, of the entries before if `exclusive`."""
    x = np.flip(x, axis) if reverse else x
    if exclusive:
        x = np.roll(x, 1, axis)
        np.moveaxis(x, axis, 0)[:1] = combine.identity
    total = combine.accumulate(x, axis)
    return np.flip(total, axis) if reverse else total


def recurrence(x, y, axis, reverse=False):
    """h with h[t] = x[t] * h[t - 1] + y[t] along an axis, in the other direction if `reverse`."""
    h = np.empty_like(y)
    rows, factors, terms = (np.moveaxis(v, axis, 0)[:: -1 if reverse else 1] for v in (h, x, y))
    total = 0.0
    for t in range(len(rows)):
        rows[t] = total = factors[t] * total + terms[t]
    return h


def masked(x, c, out=None):
    """x where c holds, else 0: its bits times 1 or 0. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return np.multiply(x.view(word), c, out=None if out is None else out.view(word)).view(x.dtype)


def adam(x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """x, m and v after a step of Adam (Kingma & Ba 2015); decay * x is added to g."""
    return adamw(x, g + decay * x, m, v, lr, beta1, beta2, eps, 0.0, t)


def adamw(x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """x, m and v after a step of Adam with decay of x apart from g (Loshchilov & Hutter 2019)."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    step = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return x - lr * (step + decay * x), m, v
