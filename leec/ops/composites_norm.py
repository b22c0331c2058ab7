"""Composites over rows: normalisation to mean 0 and variance 1, with or without scale and shift, and cross-entropy.

`eps` is a number of the host, as hyperparameters are. torch has one function where the axes are the last ones; NumPy
runs the equations.
"""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.bodies import body_gradient
from leec.ops.laws import Law
from leec.ops.reduce import count
from leec.ops.table import REQUIRED, Op, declare, example
from leec.types import ShapeMismatch, TensorType

# ---- normalisation


def _normalise_type(*types: TensorType, axes: tuple[int, ...]) -> TensorType:
    return types[0]


def _layer_norm_type(x: TensorType, gamma: TensorType, beta: TensorType, eps: TensorType) -> TensorType:
    for t in (gamma, beta):
        if t.dims != x.dims[x.rank - t.rank :]:
            raise ShapeMismatch(f"{t} does not lie along the last axes of {x}")
    return x


def _statistics(b, x, eps, axes):
    """x less its mean, and one over its standard deviation."""
    centred = b.sub(x, b.mean(x, axes=axes, keepdims=True, hint="mean"), hint="centred")
    variance = b.mean(b.mul(centred, centred), axes=axes, keepdims=True, hint="variance")
    return centred, b.sqrt(b.add(variance, eps), hint="deviation")


def _normalise_body(b, x, eps, axes):
    centred, deviation = _statistics(b, x, eps, axes)
    return b.div(centred, deviation)


def _normalise_gradient(b, g, out, x, eps, axes):
    return b.normalise_gradient(g, x, eps, axes=axes), None


def _normalise_gradient_body(b, g, x, eps, axes):
    """(g - mean(g) - y mean(g y)) / deviation, where y is x normalised"""
    centred, deviation = _statistics(b, x, eps, axes)
    y = b.div(centred, deviation, hint="normal")
    along = b.mul(y, b.mean(b.mul(g, y), axes=axes, keepdims=True))
    return b.div(b.sub(b.sub(g, b.mean(g, axes=axes, keepdims=True)), along), deviation)


def _layer_norm_axes(x, gamma) -> tuple[int, ...]:
    return tuple(range(x.type.rank - gamma.type.rank, x.type.rank))


def _layer_norm_body(b, x, gamma, beta, eps):
    return b.add(b.mul(b.normalise(x, eps, axes=_layer_norm_axes(x, gamma), hint="normal"), gamma), beta)


def _layer_norm_gradient(b, g, out, x, gamma, beta, eps):
    axes = _layer_norm_axes(x, gamma)
    normal = b.normalise(x, eps, axes=axes, hint="normal")
    d_x = b.normalise_gradient(b.mul(g, gamma), x, eps, axes=axes)
    return d_x, b.sum_to(b.mul(g, normal), gamma.type.dims), b.sum_to(g, beta.type.dims), None


def _with_scale_and_shift(b, scaled, beta):
    """One function of torch for a normalisation that nothing else reads, scaled and shifted."""
    product = b.producer(scaled)
    alone = product is not None and product.op == "mul" and not b.uses[scaled]
    for y, gamma in (product.args, product.args[::-1]) if alone else ():
        e = b.producer(y)
        if e is None or e.op != "normalise" or b.uses[y] > 1 or gamma.type.host or not gamma.type.rank:
            continue
        x, eps = e.args
        along = gamma.type.dims == beta.type.dims == x.type.dims[x.type.rank - gamma.type.rank :]
        if along and e.params["axes"] == _layer_norm_axes(x, gamma):
            return b.layer_norm(x, gamma, beta, eps)
    return None


# ---- finding it


def _origin(b, v):
    """The equation of a value, behind reshapes that only add or drop axes of size 1."""
    long = lambda x: [d for d in x.type.dims if d != 1]  # noqa: E731
    e = b.producer(v)
    while e is not None and e.op == "reshape" and long(e.args[0]) == long(e.result):
        e = b.producer(e.args[0])
    return e


def _mean_of(b, m):
    """What m is the mean of, and over which axes; a sum divided by the number of its terms is a mean too."""
    e = _origin(b, m)
    if e is None or e.op == "mean":
        return e and (e.args[0], e.params["axes"])
    total, size = (_origin(b, e.args[0]), b.producer(e.args[1])) if e.op == "div" else (None, None)
    if total is None or total.op != "sum" or size is None:
        return None
    number = size.params.get("dim", b.constant(e.args[1]))
    return (total.args[0], total.params["axes"]) if number == count(total.args[0].type, total.params["axes"]) else None


def _lies_along(v, dims: tuple[Dim, ...], axes: tuple[int, ...]) -> bool:
    """Has v the given dims, of size 1 along the axes? Leading axes of size 1 may be missing."""
    single = tuple(Dim.of(1) if i in axes else d for i, d in enumerate(dims))
    missing = len(dims) - v.type.rank
    return missing >= 0 and single[missing:] == v.type.dims and all(d == 1 for d in single[:missing])


def _deviation_of(b, s):
    """The x, axes, eps and centred x of a standard deviation sqrt(mean((x - mean(x))²) + eps)."""
    root = _origin(b, s)
    return _variance_of(b, s, root.args[0]) if root is not None and root.op == "sqrt" else None


def _variance_of(b, s, total):
    """The same of what stands under the root, where s lies along x."""
    e = _origin(b, total)
    for variance, eps in (e.args, e.args[::-1]) if e is not None and e.op == "add" else ():
        found = _mean_of(b, variance) if eps.type.host else None
        product = b.producer(found[0]) if found else None
        if product is None or product.op != "mul" or product.args[0] is not product.args[1]:
            continue
        centred, axes = product.args[0], found[1]
        difference = b.producer(centred)
        if difference is None or difference.op != "sub":
            continue
        x, mean = difference.args
        fits = centred.type == x.type and _lies_along(mean, x.type.dims, axes) and _lies_along(s, x.type.dims, axes)
        if fits and _mean_of(b, mean) == (x, axes):
            return x, axes, eps, centred
    return None


def _normalised(b, factor, found):
    """A product with the centred x among its factors, once divided by the deviation."""
    if found is None:
        return None
    x, axes, eps, centred = found
    e = b.producer(factor)
    if factor is centred:
        return b.normalise(x, eps, axes=axes)
    if e is None or e.op != "mul" or centred not in e.args:
        return None
    other = e.args[1] if e.args[0] is centred else e.args[0]
    return b.mul(b.normalise(x, eps, axes=axes), other)


def _recognise_product(b, x, y):
    """(x - mean) * (1 / deviation), or times a power of the variance"""
    e = _origin(b, y)
    if e is not None and e.op == "power" and b.constant(e.args[1]) == -0.5:
        return _normalised(b, x, _variance_of(b, y, e.args[0]))
    root = _origin(b, e.args[1]) if e is not None and e.op == "div" and b.constant(e.args[0]) == 1 else None
    return _normalised(b, x, _variance_of(b, y, root.args[0])) if root is not None and root.op == "sqrt" else None


# ---- cross-entropy


def _cross_entropy_type(z: TensorType, y: TensorType, proven) -> TensorType:
    if z.rank != 2 or z.dims[:1] != y.dims:
        raise ShapeMismatch(f"scores {z} for labels {y}")
    return z.with_dims(*y.dims)


def _cross_entropy_body(b, z, y, proven):
    rows, inside = b.iota(dims=z.type.dims[:1], axis=0), (0, *(k + 1 for k in proven))
    return b.neg(b.gather(b.log_softmax(z, axes=(1,), masked=False), rows, y, axes=(0, 1), proven=inside))


def _cross_entropy_gradient(b, g, out, z, y, proven):
    """g (softmax(z) - 1 where the label is)"""
    n, k = z.type.dims
    share = b.softmax(z, axes=(1,), masked=False)
    column = lambda v: b.reshape(v, dims=(n, Dim.of(1)))  # noqa: E731
    is_label = b.eq(b.iota(dims=(Dim.of(1), k), axis=1), column(y))
    return b.mul(b.sub(share, b.cast(is_label, dtype=z.type.dtype, hint="one_hot")), column(g)), None


def _recognise_label(b, z, i, y, p):
    """log_softmax(z) at the label of every row"""
    found = _recognise_cross_entropy(b, z, z, i, y, p)
    return found and b.neg(found)


def _recognise_cross_entropy(b, z, s, i, y, p):
    """logsumexp(z) - z at the label of every row"""
    rows = b.producer(i)
    along = rows is not None and rows.op == "iota" and rows.params["dims"] == z.type.dims[:1]
    fits = along and z is s and z.type.rank == 2 and y.type.dims == z.type.dims[:1]
    return b.cross_entropy(z, y, proven=tuple(k - 1 for k in p if k)) if fits else None


# ---- torch


def _is_last(x: TensorType, axes: tuple[int, ...]) -> bool:
    return axes == tuple(range(x.rank - len(axes), x.rank))


def _unless_last(body):
    """The equations, where the library has no function for the axes."""
    return lambda b, *args, axes: None if _is_last(args[-2].type, axes) else body(b, *args, axes=axes)


def _over_last(text: str):
    return lambda types, params: (text, {"shape": types[-2].dims[-len(params["axes"]) :]})


def _layer_norm_torch(types, params):
    return "torch.nn.functional.layer_norm(x, shape, gamma, beta, eps)", {"shape": types[1].dims}


TORCH = ("torch", "torch_step")
NORMALISE = (
    Law("div(x, s)", lambda b, x, s: _normalised(b, x, _deviation_of(b, s))),
    Law("mul(x, y)", _recognise_product),
)
SCALED = (Law("add(scaled, beta)", _with_scale_and_shift),)
LABELLED = (
    Law("gather(log_softmax(z, axes=(1,), masked=False), i, y, axes=(0, 1), proven=p)", _recognise_label),
    Law(
        "sub(logsumexp(z, axes=(1,), keepdims=False), gather(s, i, y, axes=(0, 1), proven=p))", _recognise_cross_entropy
    ),
)
SMALL = {"eps": (1e-3, 1e-2)}

declare(Op("normalise", ("x", "eps"), "x less its mean over its standard deviation, along axes",
           _normalise_type, _normalise_gradient, "", _over_last("torch.nn.functional.layer_norm(x, shape, eps=eps)"),
           params={"axes": REQUIRED}, operands="float", flops=8,
           examples=(example("float[a, c]", "host float", axes=(1,), within=SMALL),
                     example("float[a, b, c]", "host float", axes=(1, 2), within=SMALL),
                     example("float[a, b, c]", "host float", axes=(0, 2), within=SMALL)),
           facts={"body": _normalise_body, "patterns": NORMALISE,
                  "lowering": dict.fromkeys(TORCH, _unless_last(_normalise_body))},
           equation=r"\frac{x - \bar{x}}{\sqrt{\operatorname{var} x + \varepsilon}}"))  # fmt: skip
declare(Op("normalise_gradient", ("g", "x", "eps"), "the gradient of normalise by x", _normalise_type,
           body_gradient(_normalise_gradient_body), "", _over_last("normalise_gradient(g, x, shape, eps)"),
           params={"axes": REQUIRED}, operands="float", flops=12,
           examples=(example("float[a, c]", "float[a, c]", "host float", axes=(1,), within=SMALL),
                     example("float[b, c, a]", "float[b, c, a]", "host float", axes=(0, 1), within=SMALL)),
           facts={"body": _normalise_gradient_body, "support": ("normalise_gradient",),
                  "lowering": dict.fromkeys(TORCH, _unless_last(_normalise_gradient_body))},
           equation=r"(g - \bar{g} - y \, \overline{g y}) / \sqrt{\operatorname{var} x + \varepsilon}"))  # fmt: skip
declare(Op("layer_norm", ("x", "gamma", "beta", "eps"), "normalise along the last axes, scaled and shifted",
           _layer_norm_type, _layer_norm_gradient, "", _layer_norm_torch, operands="float", flops=10,
           examples=(example("float[a, c]", "float[c]", "float[c]", "host float", within=SMALL),
                     example("float[a, b, c]", "float[b, c]", "float[b, c]", "host float", within=SMALL)),
           facts={"body": _layer_norm_body, "idioms": dict.fromkeys(TORCH, SCALED)},
           equation=r"\gamma \frac{x - \bar{x}}{\sqrt{\operatorname{var} x + \varepsilon}} + \beta"))  # fmt: skip
declare(Op("cross_entropy", ("z", "y"), "-log softmax(z) at the label of every row",
           _cross_entropy_type, _cross_entropy_gradient, "",
           "torch.nn.functional.cross_entropy(z, y, reduction='none')", params={"proven": ()},
           operands=("float", "int"), flops=6,
           examples=(example("float[b, 4]", "int[b]", within={"y": (0, 3)}),
                     example("float[1, 2]", "int[1]", within={"y": (0, 1)}, proven=(0,))),
           facts={"body": _cross_entropy_body, "patterns": LABELLED},
           equation=r"-\log \operatorname{softmax}(z)_y"))  # fmt: skip
