"""Activations that libraries have as one function, with gradients that are one function too.

Choosing entry by entry between x and 0 costs NumPy ten times a product with the mask, since no branch can be foretold;
`masked` works on bits instead, which is as fast as a product and takes what is infinite beside the mask to 0 (R39).
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt

from leec.ops.bodies import body_gradient
from leec.ops.laws import Law
from leec.ops.polynomials import Algebra, is_close, monomial, nearby, over, times
from leec.ops.table import Op, declare, elementwise_type, example, unary
from leec.types import TensorType

# ---- relu and what is masked


def _masks(b, c, x):
    return b.masked(x, c) if x.type.is_float and not x.type.host and not c.type.host else None


def _gates(b, x, g):
    return b.relu_gradient(g, x) if g.type == x.type and not g.type.host else None


unary("relu", "x where it is positive, else 0", lambda b, g, out, x: b.select(b.gt(out, 0.0), g, 0.0),
      "np.maximum(x, 0)", "torch.relu(x)", "max(x, 0.0)", surface=None,
      facts={"body": lambda b, x: b.select(b.gt(x, 0.0), x, 0.0),
             "patterns": (Law("select(gt(x, 0), x, 0)", "relu(x)"), Law("select(lt(0, x), x, 0)", "relu(x)"),
                          Law("select(le(x, 0), 0, x)", "relu(x)"), Law("select(ge(0, x), 0, x)", "relu(x)"))},
      equation=r"\max(x, 0)")  # fmt: skip
declare(Op("relu_gradient", ("g", "x"), "g where x is positive, else 0", elementwise_type,
           lambda b, g, out, h, x: (b.sum_to(b.select(b.gt(x, 0.0), g, 0.0), h.type.dims), None),
           "masked(g, x > 0)", "torch.where(x > 0, g, 0.0)", torch_step="torch.ops.aten.threshold_backward(g, x, 0)",
           elementwise=True, operands="float",
           examples=(example("float[a, b]", "float[a, b]"), example("float[]", "float[]")),
           facts={"body": lambda b, g, x: b.select(b.gt(x, 0.0), g, 0.0), "support": ("masked",),
                  "idioms": {"torch_step": (Law("select(gt(x, 0), g, 0)", _gates),)}},
           equation=r"g \cdot [x > 0]"))  # fmt: skip
declare(Op("masked", ("x", "c"), "x where c holds, else 0", lambda x, c: elementwise_type(x, c).with_dtype(x.dtype),
           lambda b, g, out, x, c: (b.sum_to(b.select(c, g, 0.0), x.type.dims), None),
           "masked(x, c)", "torch.where(c, x, 0.0)", torch_step="masked(x, c)", elementwise=True, operands=("float", "bool"),
           examples=(example("float[a, b]", "bool[a, b]"), example("float[b]", "bool[a, 1]"),
                     example("float[]", "bool[a]")),
           facts={"body": lambda b, x, c: b.select(c, x, 0.0), "support": ("masked",),
                  "idioms": dict.fromkeys(("numpy", "torch_step"), (Law("select(c, x, 0)", _masks),))},
           equation=r"x \cdot [c]"))  # fmt: skip

# ---- activations whose slope is known by their value: one call in steps of torch


def _slopes(row: Callable) -> Callable:
    """The call, where nothing is stretched."""
    return lambda b, g, y: row(b, g, y) if g.type == y.type and not g.type.host and g.type.rank else None


def _by_value(name: str, doc: str, body: Callable, law: Law, numpy: str, equation: str) -> Op:
    return declare(Op(f"{name}_gradient", ("g", "y"), doc, elementwise_type, body_gradient(body), numpy, numpy,
                      torch_step=f"torch.ops.aten.{name}_backward(g, y)", elementwise=True, operands="float", flops=3,
                      examples=(example("float[a, b]", "float[a, b]"),),
                      facts={"body": body, "idioms": {"torch_step": (law,)}}, equation=equation))  # fmt: skip


_by_value("tanh", "g times the slope of tanh where its value is y",
          lambda b, g, y: b.mul(g, b.sub(1.0, b.mul(y, y))),
          Law("mul(g, sub(1, mul(y, y)))", _slopes(lambda b, g, y: b.tanh_gradient(g, y))),
          "g * (1 - y * y)", r"g (1 - y^2)")  # fmt: skip
_by_value("sigmoid", "g times the slope of the logistic function where its value is y",
          lambda b, g, y: b.mul(g, b.mul(y, b.sub(1.0, y))),
          Law("mul(g, mul(y, sub(1, y)))", _slopes(lambda b, g, y: b.sigmoid_gradient(g, y))),
          "g * y * (1 - y)", r"g y (1 - y)")  # fmt: skip

# ---- gelu


ROOT, CUBE = sqrt(2 / pi), 0.044715  # of the form by tanh (Hendrycks & Gimpel 2016, section 2)


def _gelu_body(b, x, approximate: bool):
    return b.mul(b.mul(x, 0.5), b.add(_centred_share(b, x, approximate), 1.0))


def _centred_share(b, x, approximate: bool):
    """2 Φ(x) - 1"""
    if not approximate:
        return b.erf(b.div(x, sqrt(2)))
    return b.tanh(b.mul(b.add(x, b.mul(b.mul(b.mul(x, x), x), CUBE)), ROOT))


def _gelu_gradient_body(b, g, x, approximate: bool):
    """g (Φ(x) + x φ(x)); by tanh φ is half the derivative of tanh(u)."""
    share = b.mul(b.add(_centred_share(b, x, approximate), 1.0), 0.5, hint="share")
    if approximate:
        t = _centred_share(b, x, approximate)
        slope = b.mul(b.add(b.mul(b.mul(x, x), 3 * CUBE), 1.0), ROOT / 2)
        density = b.mul(b.sub(1.0, b.mul(t, t)), slope, hint="density")
    else:
        density = b.mul(b.exp(b.mul(b.mul(x, x), -0.5)), 1 / sqrt(2 * pi), hint="density")
    return b.mul(g, b.add(share, b.mul(x, density)))


def _recognise_gelu(combine):
    """z (1 + t) / 2 where t is erf(z / √2), or tanh of a cubic in z, however the products are written."""

    def right(b, x, y):
        parts = nearby(b.producer, (x, y))
        for t in parts:
            inner = b.producer(t)
            for z in parts if inner is not None and inner.op in CUBICS else ():
                algebra = Algebra(b.producer, (z, t))
                cubic = {monomial(*(z,) * power): factor for power, factor in CUBICS[inner.op].items()}
                if not is_close(algebra.of(inner.args[0]), cubic):  # nearly always, and far cheaper to see
                    continue
                if is_close(combine(algebra.of(x), algebra.of(y)), {monomial(z): 0.5, monomial(z, t): 0.5}):
                    return b.gelu(z, approximate=inner.op == "tanh")
        return None

    return right


CUBICS = {"erf": {1: 1 / sqrt(2)}, "tanh": {1: ROOT, 3: CUBE * ROOT}}  # factors by power


def _library(name: str, *args: str):
    """The call, which wants arrays: a number of the host is one of the shape of the last argument."""

    def column(types, params):
        options = ", approximate='tanh'" if params["approximate"] else ""
        given = (f"torch.full_like({args[-1]}, {a})" if t.host else a for a, t in zip(args, types, strict=True))
        return f"torch.{name}({', '.join(given)}{options})"

    return column


def _gelu_type(*types: TensorType, approximate: bool) -> TensorType:
    return elementwise_type(*types)


def _gelu_gradient(b, g, out, x, approximate: bool):
    return (b.gelu_gradient(g, x, approximate=approximate),)


FORM = {"approximate": False}
GELU = (Law("mul(x, y)", _recognise_gelu(times)), Law("div(x, y)", _recognise_gelu(over)))
declare(Op("gelu", ("x",), "x Φ(x), Φ the distribution function of the normal; or its form by tanh",
           _gelu_type, _gelu_gradient,
           "", _library("nn.functional.gelu", "x"), params=FORM, operands="float", elementwise=True, flops=16,
           examples=(example("float[a, b]"), example("float[a]", approximate=True)),
           facts={"body": _gelu_body, "patterns": GELU},
           equation=r"x \, \Phi(x)"))  # fmt: skip
declare(Op("gelu_gradient", ("g", "x"), "the gradient of gelu", _gelu_type, body_gradient(_gelu_gradient_body),
           "", _library("ops.aten.gelu_backward", "g", "x"), params=FORM, operands="float", elementwise=True, flops=24,
           examples=(example("float[a, b]", "float[a, b]"), example("float[a]", "float[a]", approximate=True)),
           facts={"body": _gelu_gradient_body}, equation=r"g (\Phi(x) + x \, \phi(x))"))  # fmt: skip
