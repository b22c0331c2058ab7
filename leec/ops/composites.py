"""Composites: operations that are made of others and have better gradients and implementations than their parts.

`facts["body"]` builds the primitive form, which defines the meaning; `facts["delicate"]` are cases (arguments, value,
gradients of the sum of the value) where the primitive form would overflow or is not defined (R34, decision 54).
"""

from __future__ import annotations

from math import inf

from leec.ops.table import REQUIRED, Op, binary, declare, unary
from leec.types import TensorType

# ---- logistic functions

unary("sigmoid", "logistic function 1 / (1 + exp(-x))", lambda b, g, out, x: b.mul(g, b.mul(out, b.sub(1.0, out))),
      "np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))", "torch.sigmoid(x)", flops=4, surface=None,
      facts={"body": lambda b, x: b.div(1.0, b.add(1.0, b.exp(b.neg(x)))),
             "delicate": (([-1e4, 0.0, 1e4],), [0.0, 0.5, 1.0], ([0.0, 0.25, 0.0],))},
      equation=r"\sigma(x)")  # fmt: skip
unary("softplus", "log(1 + exp(x))", lambda b, g, out, x: b.mul(g, b.sigmoid(x)),
      "np.logaddexp(x, 0)", "torch.nn.functional.softplus(x, threshold=40.0)", flops=4, surface=None,
      facts={"body": lambda b, x: b.log(b.add(1.0, b.exp(x))),
             "delicate": (([-1e4, -inf, 1e4],), [0.0, 0.0, 1e4], ([0.0, 0.0, 1.0],))},
      equation=r"\log(1 + e^{x})")  # fmt: skip
unary("log_sigmoid", "log of the logistic function", lambda b, g, out, x: b.mul(g, b.sigmoid(b.neg(x))),
      "-np.logaddexp(-x, 0)", "torch.nn.functional.logsigmoid(x)", flops=4, surface=None,
      facts={"body": lambda b, x: b.neg(b.log(b.add(1.0, b.exp(b.neg(x))))),
             "delicate": (([-1e4, 1e4],), [-1e4, 0.0], ([1.0, 0.0],))},
      equation=r"\log \sigma(x)")  # fmt: skip


def _weight(b, x, out):
    """exp(x - out), the share of x in a log of sums; 0 where everything is -inf (R34)."""
    return b.exp(b.sub(x, b.select(b.gt(out, -inf), out, 0.0)))


def _logaddexp_torch(types, params):
    """torch wants two tensors."""
    shown = [f"torch.as_tensor({n}, dtype={o}.dtype, device=DEVICE)" if t.host else n for n, o, t in zip("xy", "yx", types)]
    return f"torch.logaddexp({', '.join(shown)})"


binary("logaddexp", "log(exp(x) + exp(y))", lambda b, g, out, x, y: (b.mul(g, _weight(b, x, out)), b.mul(g, _weight(b, y, out))),
       "np.logaddexp(x, y)", _logaddexp_torch, commutative=True, flops=5,
       facts={"body": lambda b, x, y: b.log(b.add(b.exp(x), b.exp(y))),
              "delicate": (([-inf, 1e4, -inf], [-inf, 1e4, 0.0]), [-inf, 1e4 + 0.6931471805599453, 0.0], ([0.0, 0.5, 0.0], [0.0, 0.5, 1.0]))},
       equation=r"\log(e^{x} + e^{y})")  # fmt: skip

# ---- softmax over axes


def _softmax_type(x: TensorType, axes: tuple[int, ...]) -> TensorType:
    return x


def _log_softmax_body(b, x, axes):
    """x - logsumexp(x); what is -inf all along stays so."""
    spread = b.logsumexp(x, axes=axes, keepdims=True)
    return b.sub(x, b.select(b.gt(spread, -inf), spread, 0.0))


def _softmax_gradient(b, g, out, x, axes):
    return (b.mul(out, b.sub(g, b.sum(b.mul(g, out), axes=axes, keepdims=True))),)


def _log_softmax_gradient(b, g, out, x, axes):
    return (b.sub(g, b.mul(b.exp(out), b.sum(g, axes=axes, keepdims=True))),)


declare(Op("softmax", ("x",), "exp(x) over its sum along axes; a row that is all -inf gives 0 (decision 54)", _softmax_type, _softmax_gradient,
           "softmax(x, axes)", "softmax(x, axes)", params={"axes": REQUIRED}, flops=5,
           facts={"body": lambda b, x, axes: b.exp(_log_softmax_body(b, x, axes)), "support": ("softmax",),
                  "delicate": (([-inf, -inf],), [0.0, 0.0], ([0.0, 0.0],))},
           equation=r"\operatorname{softmax} x"))  # fmt: skip
declare(Op("log_softmax", ("x",), "log of softmax, shifted by the maximum", _softmax_type, _log_softmax_gradient,
           "log_softmax(x, axes)", "log_softmax(x, axes)", params={"axes": REQUIRED}, flops=5,
           facts={"body": _log_softmax_body, "support": ("log_softmax",),
                  "delicate": (([0.0, -1e4],), [0.0, -1e4], ([-1.0, 1.0],))},
           equation=r"\log \operatorname{softmax} x"))  # fmt: skip
