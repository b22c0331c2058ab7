"""Elementary and special functions. Delicate points follow R34; sources of formulas are in the support functions."""

from __future__ import annotations

import math

from leec.ops.table import REQUIRED, binary, bool_type, border, example, float_type, unary

WIDE = {"flops": 4}  # what a polynomial approximation costs, roughly

# fmt: off

# ---- exponentials, logarithms, roots

unary("exp", "exponential", lambda b, g, out, x: b.mul(g, out),
      "np.exp(x)", "torch.exp(x)", "math.exp(x)", **WIDE, equation="e^{x}")
unary("expm1", "exp(x) - 1, precise near 0", lambda b, g, out, x: b.mul(g, b.add(out, 1.0)),
      "np.expm1(x)", "torch.expm1(x)", "math.expm1(x)", **WIDE, equation="e^{x} - 1")
unary("log", "natural logarithm", lambda b, g, out, x: b.div(g, x),
      "np.log(x)", "torch.log(x)", "math.log(x)", **WIDE, domain=(0.3, 3.0), equation=r"\log x")
unary("log1p", "log(1 + x), precise near 0", lambda b, g, out, x: b.div(g, b.add(x, 1.0)),
      "np.log1p(x)", "torch.log1p(x)", "math.log1p(x)", **WIDE, domain=(-0.5, 2.0), equation=r"\log(1 + x)")
unary("sqrt", "square root; at 0 the gradient is 0 (R34)",
      lambda b, g, out, x: b.div(b.mul(g, 0.5), b.select(b.gt(x, 0.0), out, math.inf)),
      "np.sqrt(x)", "sqrt(x)", "math.sqrt(x)", torch_step="torch.sqrt(x)", domain=(0.2, 3.0), equation=r"\sqrt{x}",
      borders=(border([0.0, 4.0], value=[0.0, 2.0], gradients=([0.0, 0.25],)),))

# ---- circle and hyperbola

unary("sin", "sine", lambda b, g, out, x: b.mul(g, b.cos(x)),
      "np.sin(x)", "torch.sin(x)", "math.sin(x)", **WIDE, equation=r"\sin x")
unary("cos", "cosine", lambda b, g, out, x: b.neg(b.mul(g, b.sin(x))),
      "np.cos(x)", "torch.cos(x)", "math.cos(x)", **WIDE, equation=r"\cos x")
unary("tan", "tangent", lambda b, g, out, x: b.mul(g, b.add(b.mul(out, out), 1.0)),
      "np.tan(x)", "torch.tan(x)", "math.tan(x)", **WIDE, domain=(-1.2, 1.2), equation=r"\tan x")
unary("sinh", "hyperbolic sine", lambda b, g, out, x: b.mul(g, b.cosh(x)),
      "np.sinh(x)", "torch.sinh(x)", "math.sinh(x)", **WIDE, equation=r"\sinh x")
unary("cosh", "hyperbolic cosine", lambda b, g, out, x: b.mul(g, b.sinh(x)),
      "np.cosh(x)", "torch.cosh(x)", "math.cosh(x)", **WIDE, equation=r"\cosh x")
unary("tanh", "hyperbolic tangent", lambda b, g, out, x: b.mul(g, b.sub(1.0, b.mul(out, out))),
      "np.tanh(x)", "torch.tanh(x)", "math.tanh(x)", **WIDE, equation=r"\tanh x")


def _one_minus_square(b, x):
    """(1 - x)(1 + x), which keeps its digits near 1."""
    return b.mul(b.sub(1.0, x), b.add(x, 1.0))


unary("asin", "inverse of sine", lambda b, g, out, x: b.div(g, b.sqrt(_one_minus_square(b, x))),
      "np.arcsin(x)", "torch.asin(x)", "math.asin(x)", **WIDE, domain=(-0.9, 0.9), equation=r"\arcsin x")
unary("acos", "inverse of cosine", lambda b, g, out, x: b.neg(b.div(g, b.sqrt(_one_minus_square(b, x)))),
      "np.arccos(x)", "torch.acos(x)", "math.acos(x)", **WIDE, domain=(-0.9, 0.9), equation=r"\arccos x")
unary("atan", "inverse of tangent", lambda b, g, out, x: b.div(g, b.add(b.mul(x, x), 1.0)),
      "np.arctan(x)", "torch.atan(x)", "math.atan(x)", **WIDE, equation=r"\arctan x")
unary("asinh", "inverse of hyperbolic sine", lambda b, g, out, x: b.div(g, b.sqrt(b.add(b.mul(x, x), 1.0))),
      "np.arcsinh(x)", "torch.asinh(x)", "math.asinh(x)", **WIDE,
      borders=(border([1e30, -1e30, 1e-30], value=[69.77069997038132, -69.77069997038132, 1e-30]),),
      equation=r"\operatorname{arsinh} x")
unary("acosh", "inverse of hyperbolic cosine",
      lambda b, g, out, x: b.div(g, b.mul(b.sqrt(b.sub(x, 1.0)), b.sqrt(b.add(x, 1.0)))),
      "np.arccosh(x)", "torch.acosh(x)", "math.acosh(x)", **WIDE, domain=(1.2, 4.0),
      borders=(border([1.0, 1e30], value=[0.0, 69.77069997038132]),), equation=r"\operatorname{arcosh} x")
unary("atanh", "inverse of hyperbolic tangent", lambda b, g, out, x: b.div(g, _one_minus_square(b, x)),
      "np.arctanh(x)", "torch.atanh(x)", "math.atanh(x)", **WIDE, domain=(-0.9, 0.9),
      equation=r"\operatorname{artanh} x")


def _angle_part(other: int, sign: int):
    """y / (x^2 + y^2) for x, -x / (x^2 + y^2) for y; 0 at the origin."""
    def rule(b, g, out, x, y):
        square = b.add(b.mul(x, x), b.mul(y, y))
        part = b.div(b.mul(g, (x, y)[other]), b.select(b.eq(square, 0.0), math.inf, square))
        return part if sign > 0 else b.neg(part)

    return rule


def _atan2_torch(types, params):
    """torch wants two tensors."""
    x, y = (f"torch.full((), {n}, dtype=dtype, device=DEVICE)" if t.host else n for n,
            t in zip("xy", types, strict=True))
    return f"torch.atan2({x}, {y})", {"dtype": next((t.dtype for t in types if not t.host), "float")}


binary("atan2", "angle of the point (y, x), from -pi to pi; at the origin the gradient is 0",
       (_angle_part(1, 1), _angle_part(0, -1)), "np.arctan2(x, y)", _atan2_torch, "math.atan2(x, y)",
       type=float_type, operands="float", surface="atan2", **WIDE,
       borders=(border([0.0, 1.0, -1.0], [0.0, 0.0, -1.0], value=[0.0, math.pi / 2, -0.75 * math.pi],
                       gradients=([0.0, 0.0, -0.5], [0.0, -1.0, 0.5])),), equation=r"\operatorname{atan2}(x, y)")

# ---- special functions

unary("erf", "error function", lambda b, g, out, x: b.mul(g, b.mul(b.exp(b.neg(b.mul(x, x))), 2 / math.sqrt(math.pi))),
      "erf(x)", "torch.erf(x)", "math.erf(x)", flops=20,
      borders=(border([0.0, 1e-20, 6.0, -math.inf], value=[0.0, 1.1283791670955126e-20, 1.0, -1.0]),),
      equation=r"\operatorname{erf} x")
unary("erfc", "1 - erf(x), precise where that is near 0",
      lambda b, g, out, x: b.mul(g, b.mul(b.exp(b.neg(b.mul(x, x))), -2 / math.sqrt(math.pi))),
      "erfc(x)", "torch.erfc(x)", "math.erfc(x)", flops=20, equation=r"\operatorname{erfc} x")
unary("erfinv", "the number whose erf is x, infinite at -1 and 1",
      lambda b, g, out, x: b.mul(g, b.mul(b.exp(b.mul(out, out)), math.sqrt(math.pi) / 2)),
      "erfinv(x)", "torch.erfinv(x)", flops=80, domain=(-0.95, 0.95),
      borders=(border([-1.0, 0.0, 1.0], value=[-math.inf, 0.0, math.inf]),), equation=r"\operatorname{erf}^{-1} x")
unary("lgamma", "logarithm of the absolute value of the gamma function", lambda b, g, out, x: b.mul(g, b.digamma(x)),
      "lgamma(x)", "torch.lgamma(x)", "math.lgamma(x)", flops=20,
      borders=(border([0.0, -1.0, -2.5, 1e5], value=[math.inf, math.inf, -0.05624371649767457, 1051287.7089736566]),),
      domain=(0.3, 5.0), equation=r"\log \lvert \Gamma(x) \rvert")


def _polygamma_torch(types, params):
    """torch.polygamma itself has only nine digits for n = 1."""
    n = params["n"]
    return "scale * torch.special.zeta(s, x)", {"scale": (-1) ** (n + 1) * math.factorial(n), "s": n + 1}


unary("digamma", "derivative of lgamma", lambda b, g, out, x: b.mul(g, b.polygamma(x, n=1)),
      "digamma(x)", "torch.digamma(x)", flops=20, domain=(0.3, 5.0), equation=r"\psi(x)")
unary("polygamma", "n-th derivative of digamma, n at least 1; x is positive",
      lambda b, g, out, x, n: b.mul(g, b.polygamma(x, n=n + 1)), "polygamma(n, x)", _polygamma_torch, flops=40,
      domain=(0.3, 5.0), equation=r"\psi^{(n)}(x)",
      type=lambda x, n: float_type(x), params={"n": REQUIRED}, surface=None,
      examples=(example("float[a]", n=1), example("float[a, b]", n=2)))

# ---- what a float is

unary("isnan", "is it not a number", None, "np.isnan(x)", "torch.isnan(x)", "math.isnan(x)", type=bool_type,
      borders=(border([math.nan, math.inf, 1.0], value=[True, False, False]),),
      equation=r"x \ne x")
unary("isinf", "is it infinite", None, "np.isinf(x)", "torch.isinf(x)", "math.isinf(x)", type=bool_type,
      borders=(border([math.nan, -math.inf, 1.0], value=[False, True, False]),),
      equation=r"\lvert x \rvert = \infty")
