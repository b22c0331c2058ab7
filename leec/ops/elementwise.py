"""Elementwise operations: arithmetic, elementary functions, comparison, selection. Delicate points follow R34."""

from __future__ import annotations

from leec.ops.table import Op, REQUIRED, binary, bool_type, declare, elementwise_type, float_type, unary
from leec.types import ShapeMismatch, TensorType, join_dtypes, broadcast

# ---- arithmetic

binary("add", "sum", lambda b, g, out, x, y: (g, g), "x + y", "x + y", "x + y", commutative=True, identity=0, facts={"linear": True}, equation="x + y")
binary("sub", "difference", lambda b, g, out, x, y: (g, b.neg(g)), "x - y", "x - y", "x - y", identity=0, facts={"linear": True}, equation="x - y")
binary("mul", "product", lambda b, g, out, x, y: (b.mul(g, y), b.mul(g, x)), "x * y", "x * y", "x * y", commutative=True, identity=1, absorbing=0, equation=r"x \cdot y")
binary("div", "quotient, always a float", lambda b, g, out, x, y: (b.div(g, y), b.neg(b.div(b.mul(g, out), y))), "x / y", "x / y", "x / y", type=float_type, operands="float", identity=1, domain=(0.5, 2.0), equation=r"\frac{x}{y}")
binary("floordiv", "quotient rounded down", lambda b, g, out, x, y: (None, None), "x // y", "x // y", "x // y", domain=(1.0, 5.0), equation=r"\lfloor x / y \rfloor")
binary("mod", "remainder with the sign of y", lambda b, g, out, x, y: (g, b.neg(b.mul(g, b.floordiv(x, y)))), "x % y", "x % y", "x % y", domain=(1.0, 5.0), equation=r"x \bmod y")
binary("maximum", "the larger; at a tie the first argument takes the gradient (R34)",
       lambda b, g, out, x, y: (b.select(b.ge(x, y), g, 0.0), b.select(b.ge(x, y), 0.0, g)), "np.maximum(x, y)", "torch.maximum(x, y)", "max(x, y)", commutative=True, equation=r"\max(x, y)")
binary("minimum", "the smaller; at a tie the first argument takes the gradient (R34)",
       lambda b, g, out, x, y: (b.select(b.le(x, y), g, 0.0), b.select(b.le(x, y), 0.0, g)), "np.minimum(x, y)", "torch.minimum(x, y)", "min(x, y)", commutative=True, equation=r"\min(x, y)")
unary("neg", "negative", lambda b, g, out, x: b.neg(g), "-x", "-x", "-x", type=elementwise_type, operands="number", surface=None, equation="-x")


def _power_gradient(b, g, out, x, y):
    """d_y is 0 where x is 0, whatever log says there (R34)."""
    d_x = b.mul(g, b.mul(y, b.power(x, b.sub(y, 1.0))))
    if y.type.host:
        return d_x, None
    safe = b.select(b.gt(x, 0.0), x, 1.0)
    return d_x, b.mul(b.mul(g, out), b.log(safe))


binary("power", "x to the power y", _power_gradient, "x ** y", "x ** y", "x ** y", identity=1, domain=(0.5, 2.0), equation="x^{y}")

# ---- elementary functions

unary("exp", "exponential", lambda b, g, out, x: b.mul(g, out), "np.exp(x)", "torch.exp(x)", "math.exp(x)", equation="e^{x}")
unary("log", "natural logarithm", lambda b, g, out, x: b.div(g, x), "np.log(x)", "torch.log(x)", "math.log(x)", domain=(0.3, 3.0), equation=r"\log x")
unary("log1p", "log(1 + x), precise near 0", lambda b, g, out, x: b.div(g, b.add(x, 1.0)), "np.log1p(x)", "torch.log1p(x)", "math.log1p(x)", domain=(-0.5, 2.0), equation=r"\log(1 + x)")
unary("expm1", "exp(x) - 1, precise near 0", lambda b, g, out, x: b.mul(g, b.add(out, 1.0)), "np.expm1(x)", "torch.expm1(x)", "math.expm1(x)", equation="e^{x} - 1")
unary("sqrt", "square root; at 0 the gradient is 0 (R34)",
      lambda b, g, out, x: b.select(b.gt(x, 0.0), b.div(g, b.mul(2.0, b.select(b.gt(x, 0.0), out, 1.0))), 0.0),
      "np.sqrt(x)", "torch.sqrt(x)", "math.sqrt(x)", domain=(0.2, 3.0), equation=r"\sqrt{x}")
unary("tanh", "hyperbolic tangent", lambda b, g, out, x: b.mul(g, b.sub(1.0, b.mul(out, out))), "np.tanh(x)", "torch.tanh(x)", "math.tanh(x)", equation=r"\tanh x")
unary("sin", "sine", lambda b, g, out, x: b.mul(g, b.cos(x)), "np.sin(x)", "torch.sin(x)", "math.sin(x)", equation=r"\sin x")
unary("cos", "cosine", lambda b, g, out, x: b.neg(b.mul(g, b.sin(x))), "np.cos(x)", "torch.cos(x)", "math.cos(x)", equation=r"\cos x")
unary("abs", "absolute value; at 0 the gradient is 0 (R34)", lambda b, g, out, x: b.mul(g, b.sign(x)), "np.abs(x)", "torch.abs(x)", "abs(x)", type=elementwise_type, operands="number", equation=r"\lvert x \rvert")
unary("sign", "-1, 0 or 1", lambda b, g, out, x: None, "np.sign(x)", "torch.sign(x)", "(x > 0) - (x < 0)", type=elementwise_type, operands="number", equation=r"\operatorname{sign} x")
unary("floor", "rounded down", lambda b, g, out, x: None, "np.floor(x)", "torch.floor(x)", "math.floor(x)", equation=r"\lfloor x \rfloor")
unary("round", "rounded to the nearest, halves to even", lambda b, g, out, x: None, "np.round(x)", "torch.round(x)", "round(x)", equation=r"\operatorname{round} x")

# ---- comparison and logic

for _name, _sign, _doc in (("lt", "<", "less"), ("le", "<=", "less or equal"), ("gt", ">", "greater"), ("ge", ">=", "greater or equal"), ("eq", "==", "equal"), ("ne", "!=", "not equal")):
    binary(_name, _doc, None, f"x {_sign} y", f"x {_sign} y", f"x {_sign} y", type=bool_type, operands="same" if _name in ("eq", "ne") else "number", commutative=_name in ("eq", "ne"), equation=f"x {_sign} y")
binary("logical_and", "both", None, "x & y", "x & y", "x and y", type=bool_type, commutative=True, operands="bool", equation=r"x \land y")
binary("logical_or", "one or both", None, "x | y", "x | y", "x or y", type=bool_type, commutative=True, operands="bool", equation=r"x \lor y")
unary("logical_not", "not", None, "~x", "~x", "not x", type=bool_type, surface=None, operands="bool", equation=r"\lnot x")


# ---- selection


def _select_type(c: TensorType, x: TensorType, y: TensorType) -> TensorType:
    if c.dtype != "bool":
        raise ShapeMismatch(f"the condition is {c.dtype}, not bool")
    return TensorType(join_dtypes(x, y), broadcast(c, x, y), c.host and x.host and y.host)


def _select_gradient(b, g, out, c, x, y):
    """Exactly 0 through the branch not taken (decision 10)."""
    return None, b.sum_to(b.select(c, g, 0.0), x.type.dims), b.sum_to(b.select(c, 0.0, g), y.type.dims)


declare(Op("select", ("c", "x", "y"), "x where c, else y", _select_type, _select_gradient,
           "np.where(c, x, y)", "torch.where(c, x, y)", "(x if c else y)", elementwise=True, surface="where", facts={"selects": 1},
           equation=r"\begin{cases} x & c \\ y & \text{else} \end{cases}"))  # fmt: skip


declare(Op("guard", ("x", "c"), "x, whose cotangent is 0 where c is false: for operands inside a branch not taken (R3)",
           lambda x, c: TensorType(x.dtype, broadcast(x, c)), lambda b, g, out, x, c: (b.sum_to(b.select(c, g, 0.0), x.type.dims), None),
           lambda types, params: "x" if types[0].rank >= types[1].rank else "np.broadcast_arrays(x, c)[0]",
           lambda types, params: "x" if types[0].rank >= types[1].rank else "torch.broadcast_tensors(x, c)[0]",
           elementwise=True, equation="x"))  # fmt: skip


def _graft_type(x: TensorType, y: TensorType) -> TensorType:
    if x.dims != y.dims:
        raise ShapeMismatch("graft needs two values of one shape")
    return x


declare(Op("graft", ("x", "y"), "the value of x with the derivative of y (R7)", _graft_type,
           lambda b, g, out, x, y: (None, g), "x", "x", "x", elementwise=True, surface="graft", equation="x"))  # fmt: skip


# ---- conversion

declare(Op("cast", ("x",), "x in another dtype; float to int truncates", lambda x, dtype: x.with_dtype(dtype),
           lambda b, g, out, x, dtype: (b.cast(g, dtype=x.type.dtype) if x.type.is_float and out.type.is_float else None,),
           lambda types, params: "np.asarray(x, dtype)" if types[0].host else "x.astype(dtype)",
           lambda types, params: "torch.as_tensor(x, dtype=dtype, device=DEVICE)" if types[0].host else "x.to(dtype)", None, params={"dtype": REQUIRED}, elementwise=True, facts={"uniform": True}, equation="x"))  # fmt: skip


# ---- constants

declare(Op("const", (), "a number written in the program", lambda value, type: type, None, "value", "value", "value",
           params={"value": REQUIRED, "type": REQUIRED}, flops=0))  # fmt: skip
declare(Op("size", (), "the value of a dim", lambda dim: TensorType("int", (), True), None, "dim", "dim", "dim",
           params={"dim": REQUIRED}, flops=0))  # fmt: skip
