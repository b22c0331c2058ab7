"""Composites: operations that are made of others and have better gradients and implementations than their parts.

`facts["body"]` builds the primitive form, which defines the meaning; `facts["delicate"]` are cases (arguments, value,
gradients of the sum of the value) where the primitive form would overflow or is not defined (R34, decision 54).
"""

from __future__ import annotations

from math import inf

from leec.ops.table import REQUIRED, Op, binary, declare, example, float_type, unary
from leec.types import TensorType

# ---- logistic functions

unary("sigmoid", "logistic function 1 / (1 + exp(-x))", lambda b, g, out, x: b.mul(g, b.mul(out, b.sub(1.0, out))),
      "np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))", "torch.sigmoid(x)", flops=4, surface=None,
      facts={"body": lambda b, x: b.div(1.0, b.add(1.0, b.exp(b.neg(x)))),
             "delicate": (([-1e4, 0.0, 1e4],), [0.0, 0.5, 1.0], ([0.0, 0.25, 0.0],))},
      equation=r"\sigma(x)")  # fmt: skip
unary("softplus", "log(1 + exp(x))", lambda b, g, out, x: b.mul(g, b.sigmoid(x)),
      "np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))", "torch.nn.functional.softplus(x, threshold=40.0)", flops=4, surface=None,
      facts={"body": lambda b, x: b.log(b.add(1.0, b.exp(x))),
             "delicate": (([-1e4, -inf, 1e4],), [0.0, 0.0, 1e4], ([0.0, 0.0, 1.0],))},
      equation=r"\log(1 + e^{x})")  # fmt: skip
unary("log_sigmoid", "log of the logistic function", lambda b, g, out, x: b.mul(g, b.sigmoid(b.neg(x))),
      "np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))", "torch.nn.functional.logsigmoid(x)", flops=4, surface=None,
      facts={"body": lambda b, x: b.neg(b.log(b.add(1.0, b.exp(b.neg(x))))),
             "delicate": (([-1e4, 1e4],), [-1e4, 0.0], ([1.0, 0.0],))},
      equation=r"\log \sigma(x)")  # fmt: skip


def _share(b, x, y, out):
    """exp(x - out) without the rounding of out; 0 where both are -inf (R34)."""
    return b.select(b.gt(out, -inf), b.sigmoid(b.sub(x, y)), 0.0)


def _logaddexp_torch(function: str):
    def column(types, params):
        """torch wants two tensors."""
        shown = [
            f"torch.full((), {n}, dtype={o}.dtype, device=DEVICE)" if t.host else n
            for n, o, t in zip("xy", "yx", types, strict=False)
        ]
        return f"{function}({', '.join(shown)})"

    return column


binary("logaddexp", "log(exp(x) + exp(y))",
       (lambda b, g, out, x, y: b.mul(g, _share(b, x, y, out)), lambda b, g, out, x, y: b.mul(g, _share(b, y, x, out))),
       "np.logaddexp(x, y)", _logaddexp_torch("logaddexp"), torch_step=_logaddexp_torch("torch.logaddexp"), operands="float", type=float_type, commutative=True, flops=5, domain=(-5.0, 5.0),
       facts={"body": lambda b, x, y: b.log(b.add(b.exp(x), b.exp(y))), "support": ("logaddexp",),
              "delicate": (([-inf, 1e4, -inf], [-inf, 1e4, 0.0]), [-inf, 1e4 + 0.6931471805599453, 0.0], ([0.0, 0.5, 0.0], [0.0, 0.5, 1.0]))},
       equation=r"\log(e^{x} + e^{y})")  # fmt: skip

# ---- softmax over axes; `masked` says that a row may be -inf all along, which the libraries make NaN

SOFTMAX = {"axes": REQUIRED, "masked": True}


def _softmax_type(x: TensorType, axes: tuple[int, ...], masked: bool) -> TensorType:
    return x


def _log_softmax_body(b, x, axes, masked):
    """x - logsumexp(x); what is -inf all along stays so."""
    spread = b.logsumexp(x, axes=axes, keepdims=True)
    return b.sub(x, b.select(b.eq(spread, -inf), 0.0, spread) if masked else spread)


def _softmax_gradient(b, g, out, x, axes, masked):
    return (b.mul(out, b.sub(g, b.sum(b.mul(g, out), axes=axes, keepdims=True))),)


def _log_softmax_gradient(b, g, out, x, axes, masked):
    return (b.sub(g, b.mul(b.exp(out), b.sum(g, axes=axes, keepdims=True))),)


def _along_one_axis(name: str):
    """The library's function, where it has one: along one axis that is never -inf all along."""

    def column(types, params):
        alone = len(params["axes"]) == 1 and not params["masked"]
        return (f"torch.{name}(x, dim=axis)", {"axis": params["axes"][0]}) if alone else f"{name}(x, axes)"

    return column


declare(Op("softmax", ("x",), "exp(x) over its sum along axes; a row that is all -inf gives 0 (decision 54)", _softmax_type, _softmax_gradient,
           "softmax(x, axes)", _along_one_axis("softmax"), params=SOFTMAX, operands="float", flops=5,
           examples=(example("float[n, k]", axes=(1,)), example("float[n, k]", axes=(0, 1), masked=False)),
           facts={"body": lambda b, x, **p: b.exp(_log_softmax_body(b, x, **p)), "support": ("softmax",),
                  "delicate": (([-inf, -inf],), [0.0, 0.0], ([0.0, 0.0],))},
           equation=r"\operatorname{softmax} x"))  # fmt: skip
declare(Op("log_softmax", ("x",), "log of softmax, shifted by the maximum", _softmax_type, _log_softmax_gradient,
           "log_softmax(x, axes)", _along_one_axis("log_softmax"), params=SOFTMAX, operands="float", flops=5,
           examples=(example("float[n, k]", axes=(1,)), example("float[n, k]", axes=(0, 1), masked=False)),
           facts={"body": _log_softmax_body, "support": ("log_softmax",),
                  "delicate": (([0.0, -1e4],), [0.0, -1e4], ([-1.0, 1.0],))},
           equation=r"\log \operatorname{softmax} x"))  # fmt: skip
