"""Arithmetic, entry by entry: sums and products, powers, quotients, rounding, the larger of two, bits of integers."""

from __future__ import annotations

from math import nan

from leec.ops.table import binary, border, chosen, elementwise_type, float_type, unary

NUMBER = {"type": elementwise_type, "operands": "number"}
INTEGER = {"operands": "int", "domain": (-8, 8)}


def no_gradient(b, g, out, *args):
    """The derivative is 0 wherever it exists."""
    return None


def by_dtype(for_float: str, for_int: str):
    """A host column for an op on floats and on integers."""
    return lambda types, params: for_float if any(t.is_float for t in types) else for_int


# fmt: off

# ---- sums and products

binary("add", "sum", (lambda b, g, out, x, y: g, lambda b, g, out, x, y: g),
       "x + y", "x + y", "x + y", commutative=True, identity=0, facts={"linear": True}, equation="x + y")
binary("sub", "difference", (lambda b, g, out, x, y: g, lambda b, g, out, x, y: b.neg(g)),
       "x - y", "x - y", "x - y", identity=0, facts={"linear": True}, equation="x - y")
binary("mul", "product", (lambda b, g, out, x, y: b.mul(g, y), lambda b, g, out, x, y: b.mul(g, x)),
       "x * y", "x * y", "x * y", commutative=True, identity=1, absorbing=0, equation=r"x \cdot y")
binary("div", "quotient, always a float",
       (lambda b, g, out, x, y: b.div(g, y), lambda b, g, out, x, y: b.neg(b.div(b.mul(g, out), y))),
       "x / y", "x / y", "x / y", type=float_type, operands="float", identity=1, domain=(0.5, 2.0),
       equation=r"\frac{x}{y}")
unary("neg", "negative", lambda b, g, out, x: b.neg(g),
      "-x", "-x", "-x", **NUMBER, surface=None, facts={"linear": True}, equation="-x")

# ---- quotients without rest

def _tensor(types) -> str:
    """x, also where it is a number and autograd wants a tensor."""
    return "torch.full_like(y, x)" if types[0].host else "x"


def _floordiv_torch(types, params):
    """torch has no derivative for `//` of floats, not even 0."""
    if not any(t.is_float for t in types):
        return "x // y"
    return f"torch.div({_tensor(types)}, y, rounding_mode='floor')"


binary("floordiv", "quotient rounded down", (no_gradient, no_gradient),
       "x // y", _floordiv_torch, "x // y", torch_step="x // y", domain=(1.0, 5.0),
       borders=(border([-7, 7, -6], [2, -2, 3], value=[-4, -4, -2]),), equation=r"\lfloor x / y \rfloor")
binary("mod", "remainder with the sign of y",
       (lambda b, g, out, x, y: g, lambda b, g, out, x, y: b.neg(b.mul(g, b.floordiv(x, y)))),
       "x % y", lambda types, params: f"{_tensor(types)} % y", "x % y", torch_step="x % y", domain=(1.0, 5.0),
       borders=(border([-7, 7, -6], [2, -2, 3], value=[1, -1, 0]),), equation=r"x \bmod y")
binary("rem", "remainder with the sign of x",
       (lambda b, g, out, x, y: g, lambda b, g, out, x, y: b.neg(b.mul(g, b.trunc(b.div(x, y))))),
       "np.fmod(x, y)",
       lambda types, params: f"torch.fmod({_tensor(types)}, y)",
       by_dtype("math.fmod(x, y)", "abs(x) % abs(y) * (1 if x > 0 else -1)"),
       domain=(1.0, 5.0), surface="rem", borders=(border([-7, 7, -6], [2, -2, 3], value=[-1, 1, 0]),),
       equation=r"x \operatorname{rem} y")

# ---- the larger of two; at a tie the first argument takes the gradient (R34), as autograd of clamp has it


def _clamp(sign: str, bound: str):
    return lambda types, params: f"torch.where(x {sign} y, x, y)" if types[0].host else f"x.clamp({bound}=y)"


binary("maximum", "the larger; at a tie the first argument takes the gradient (R34)",
       (lambda b, g, out, x, y: b.select(b.ge(x, y), g, 0.0), lambda b, g, out, x, y: b.select(b.ge(x, y), 0.0, g)),
       "np.maximum(x, y)", _clamp(">=", "min"), chosen("max(x, y)"), commutative=True,
       borders=(border([1.0, 2.0, nan], [1.0, 3.0, 0.0], value=[1.0, 3.0, nan]),
                border([1.0, 2.0], [1.0, 3.0], value=[1.0, 3.0], gradients=([1.0, 0.0], [0.0, 1.0]))),
                equation=r"\max(x, y)")
binary("minimum", "the smaller; at a tie the first argument takes the gradient (R34)",
       (lambda b, g, out, x, y: b.select(b.le(x, y), g, 0.0), lambda b, g, out, x, y: b.select(b.le(x, y), 0.0, g)),
       "np.minimum(x, y)", _clamp("<=", "max"), chosen("min(x, y)"), commutative=True,
       borders=(border([1.0, 2.0, 0.0], [1.0, 3.0, nan], value=[1.0, 2.0, nan]),
                border([1.0, 2.0], [1.0, 1.0], value=[1.0, 1.0], gradients=([1.0, 0.0], [0.0, 1.0]))),
                equation=r"\min(x, y)")

# ---- powers


def _power_base(b, g, out, x, y):
    """y x^(y - 1), and 0 for y = 0 also where x is 0."""
    below = b.sub(b.select(b.eq(y, 0.0), 1.0, y), 1.0)
    return b.mul(g, b.mul(y, b.power(x, below)))


def _power_exponent(b, g, out, x, y):
    """x^y log x, and 0 for x = 0 (R34)."""
    return b.mul(g, b.mul(out, b.log(b.select(b.eq(x, 0.0), 1.0, x))))


binary("power", "x to the power y", (_power_base, _power_exponent),
       "x ** y",
       lambda types, params: "torch.pow(x, y)" if types[0].host else "x ** y",
       "math.pow(x, y)", type=float_type, operands="float", identity=1, domain=(0.5, 2.0), flops=4,
       borders=(border([0.0, 0.0, 0.0], [0.0, 1.0, 2.0], value=[1.0, 0.0, 0.0],
                       gradients=([0.0, 1.0, 0.0], [0.0, 0.0, 0.0])),), equation="x^{y}")

# ---- signs and rounding

unary("abs", "absolute value; at 0 the gradient is 0 (R34)", lambda b, g, out, x: b.mul(g, b.sign(x)),
      "np.abs(x)", "torch.abs(x)", "abs(x)", **NUMBER,
      borders=(border([0.0, -2.0], value=[0.0, 2.0], gradients=([0.0, -1.0],)),), equation=r"\lvert x \rvert")
unary("sign", "-1, 0 or 1", no_gradient, "np.sign(x)", "torch.sign(x)",
      by_dtype("float((x > 0) - (x < 0))", "(x > 0) - (x < 0)"), **NUMBER, equation=r"\operatorname{sign} x")
unary("floor", "rounded down", no_gradient, "np.floor(x)", "torch.floor(x)", "float(math.floor(x))",
      equation=r"\lfloor x \rfloor")
unary("ceil", "rounded up", no_gradient, "np.ceil(x)", "torch.ceil(x)", "float(math.ceil(x))",
      equation=r"\lceil x \rceil")
unary("trunc", "rounded towards 0", no_gradient, "np.trunc(x)", "torch.trunc(x)", "float(math.trunc(x))",
      equation=r"\operatorname{trunc} x")
unary("round", "rounded to the nearest, halves to even", no_gradient, "np.round(x)", "torch.round(x)",
      "float(round(x))", borders=(border([0.5, 1.5, 2.5, -1.5], value=[0.0, 2.0, 2.0, -2.0]),),
      equation=r"\operatorname{round} x")

# ---- bits of integers

binary("bit_and", "bits that both have", None, "x & y", "x & y", "x & y", **INTEGER, commutative=True, absorbing=0,
       surface="bit_and", equation=r"x \mathbin{\&} y")
binary("bit_or", "bits that one or both have", None, "x | y", "x | y", "x | y", **INTEGER, commutative=True, identity=0,
       surface="bit_or", equation=r"x \mid y")
binary("bit_xor", "bits that just one has", None, "x ^ y", "x ^ y", "x ^ y", **INTEGER, commutative=True, identity=0,
       surface="bit_xor", equation=r"x \oplus y")
unary("bit_not", "all bits turned over, which is -1 - x", None, "~x", "~x", "~x", type=elementwise_type, **INTEGER,
      equation=r"\mathord{\sim} x")
binary("shift_left", "x times 2 to the power y", None, "x << y", "x << y", "x << y", operands="int", domain=(0, 8),
       identity=0, surface="shift_left", equation=r"x \ll y")
binary("shift_right", "x over 2 to the power y, rounded down", None, "x >> y", "x >> y", "x >> y", operands="int",
       domain=(0, 8), identity=0, surface="shift_right", borders=(border([-5, 5], [1, 1], value=[-3, 2]),),
       equation=r"x \gg y")
