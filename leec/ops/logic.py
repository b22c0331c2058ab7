"""Comparison, choice, conversion, constants; and `graft`, `stop` and `guard`, which change only what the gradient is.

These three have the fact `alters`.
"""

from __future__ import annotations

import math

from leec.ops.table import REQUIRED, Op, binary, bool_type, border, chosen, declare, example, summed_back, unary
from leec.types import ShapeMismatch, TensorType, broadcast, join_dtypes

# ---- comparison

COMPARISONS = (
    ("lt", "<", "less", r"x < y"),
    ("le", "<=", "less or equal", r"x \le y"),
    ("gt", ">", "greater", r"x > y"),
    ("ge", ">=", "greater or equal", r"x \ge y"),
    ("eq", "==", "equal", r"x = y"),
    ("ne", "!=", "not equal", r"x \ne y"),
)
for _name, _sign, _doc, _equation in COMPARISONS:
    _even = _name in ("eq", "ne")
    _text = f"x {_sign} y"
    binary(_name, _doc, None, _text, _text, _text, type=bool_type, operands="same" if _even else "number",
           commutative=_even, equation=_equation)  # fmt: skip

# fmt: off
binary("logical_and", "both", None, "x & y", "x & y", "x and y", type=bool_type, operands="bool", commutative=True,
       identity=True, absorbing=False, equation=r"x \land y")
binary("logical_or", "one or both", None, "x | y", "x | y", "x or y", type=bool_type, operands="bool", commutative=True,
       identity=False, absorbing=True, equation=r"x \lor y")
unary("logical_not", "not", None, "~x", "~x", "not x", type=bool_type, operands="bool", surface=None,
      equation=r"\lnot x")
# fmt: on

# ---- choice


def _select_type(c: TensorType, x: TensorType, y: TensorType) -> TensorType:
    return TensorType(join_dtypes(x, y), broadcast(c, x, y), c.host and x.host and y.host)


def _select_gradient(b, g, out, c, x, y):
    """Exactly 0 through the branch not taken (decision 10)."""
    rules = (lambda: b.select(c, g, 0.0), lambda: b.select(c, 0.0, g))
    return None, *summed_back(b, rules, (x, y))


def _select_numpy(types, params):
    """Of two Python numbers np.where would make float64."""
    _, x, y = types
    if x.host and y.host and x.is_float | y.is_float:
        return "np.where(c, dtype(x), y)", {"dtype": join_dtypes(x, y)}
    return "np.where(c, x, y)"


def _condition(c: TensorType) -> str:
    return "torch.full((), c, device=DEVICE)" if c.host else "c"


def _select_torch(types, params):
    """The condition must be a tensor, and of two numbers one, or torch would make its default float of them."""
    c, x, y = types
    condition = _condition(c)
    if x.host and y.host and x.is_float | y.is_float:
        return f"torch.where({condition}, torch.full((), x, dtype=dtype, device=DEVICE), y)", {
            "dtype": join_dtypes(x, y)
        }
    return f"torch.where({condition}, x, y)"


declare(Op("select", ("c", "x", "y"), "x where c, else y", _select_type, _select_gradient,
           _select_numpy, _select_torch, chosen("x if c else y"), operands=("bool", "same", "same"), elementwise=True,
           surface="where", facts={"selects": 1},
           borders=(border([True, False], [1.0, math.nan], [math.inf, 2.0], value=[1.0, 2.0],
                           gradients=(None, [1.0, 0.0], [0.0, 1.0])),),
           examples=(example("bool[a, b]", "float[a, b]", "float[a, b]"),
                     example("bool[a, 1]", "float[b]", "float[a, 1]"),
                     example("bool[a]", "float[]", "host float"), example("bool[a]", "host float", "float[a]"),
                     example("bool[a]", "host float", "host float"), example("bool[a]", "host float", "host int"),
                     example("bool[a]", "int[a]", "host int"), example("bool[a]", "bool[a]", "bool[a]"),
                     example("bool[a]", "host bool", "host bool"), example("bool[]", "float[]", "float[a]"),
                     example("host bool", "float[a]", "float[a]"), example("host bool", "host float", "float[a]"),
                     example("host bool", "host float", "host float")),
           equation=r"\begin{cases} x & c \\ y & \text{else} \end{cases}"))  # fmt: skip


# ---- what changes the gradient alone


def _graft_type(x: TensorType, y: TensorType) -> TensorType:
    if x.dims != y.dims or x.dtype != y.dtype:
        raise ShapeMismatch(f"graft needs two values of one type, not {x} and {y}")
    return x


declare(Op("graft", ("x", "y"), "the value of x with the derivative of y (R7)", _graft_type,
           lambda b, g, out, x, y: (None, g), "x", "graft(x, y)", "x", torch_step="x", elementwise=True,
           surface="graft",
           facts={"linear": True, "alters": True, "cotangents": lambda g, x, y: (0 * g, g)},
           examples=(example("float[a]", "float[a]"), example("host float", "host float")), equation="x"))  # fmt: skip
declare(Op("stop", ("x",), "x, through which no gradient flows", lambda x: x, lambda b, g, out, x: (None,),
           "x", "x.detach()", "x", torch_step="x", elementwise=True,
           facts={"linear": True, "alters": True, "cotangents": lambda g, x: (0 * g,)},
           examples=(example("float[a]"), example("float[]"), example("host float")), equation="x"))  # fmt: skip


def _guard_column(broadcast_arrays: str, filled: str):
    """A number of the host has no cotangent, but what reads the result wants an array."""

    def column(types, params):
        x, c = types
        if x.host:
            return filled.format("()" if c.host else "c.shape"), {"dtype": x.dtype}
        return "x" if x.dims == broadcast(*types) else f"{broadcast_arrays}(x, c)[0]"

    return column


_GUARD_STEP = _guard_column("torch.broadcast_tensors", "torch.full({}, x, dtype=dtype, device=DEVICE)")


def _guard_torch(types, params):
    return _GUARD_STEP(types, params) if types[0].host else f"torch.where({_condition(types[1])}, x, x.detach())"


declare(Op("guard", ("x", "c"), "x, whose cotangent is 0 where c is false: for operands inside a branch not taken (R3)",
           lambda x, c: TensorType(x.dtype, broadcast(x, c)),
           lambda b, g, out, x, c: (b.sum_to(b.select(c, g, 0.0), x.type.dims), None),
           _guard_column("np.broadcast_arrays", "np.full({}, x, dtype)"), _guard_torch, torch_step=_GUARD_STEP, operands=("any", "bool"), elementwise=True,
           facts={"linear": True, "alters": True, "cotangents": lambda g, x, c: (g * c, None)},
           examples=(example("float[a, b]", "bool[a, b]"), example("float[b]", "bool[a, b]"),
                     example("float[1, b]", "bool[a, 1]"), example("float[b]", "host bool"),
                     example("host float", "bool[a]"), example("host float", "host bool")), equation="x"))  # fmt: skip

# ---- conversion

_HOST_CASTS = {"int": "int(x)", "bool": "bool(x)"}
_CASTS = (
    *(example(f"{a}[a]", dtype=b) for a in ("float", "int", "bool") for b in ("float", "f32", "f64", "int", "bool")),
    *(example("host float", dtype="int"), example("host int", dtype="float"), example("float[]", dtype="f32")),
)


def _cast_gradient(b, g, out, x, dtype):
    return (b.cast(g, dtype=x.type.dtype) if x.type.is_float and out.type.is_float else None,)


declare(Op("cast", ("x",), "x in another dtype; float to int truncates", lambda x, dtype: x.with_dtype(dtype),
           _cast_gradient, "x.astype(dtype)", "x.to(dtype)",
           lambda types, params: _HOST_CASTS.get(params["dtype"], "float(x)"), params={"dtype": REQUIRED},
           elementwise=True, facts={"uniform": True, "linear": True}, examples=_CASTS, equation="x"))  # fmt: skip

declare(Op("keep", ("x",), "x in memory of its own: for who reads it when the state that it was is written over",
           lambda x: x, lambda b, g, out, x: (g,), "x.copy()", "x.clone()",
           facts={"linear": True, "copies": True}, examples=(example("float[a]"), example("int[a, b]")),
       equation="x"))  # fmt: skip

# ---- constants


def _const_column(array: str):
    return lambda types, params: "value" if params["type"].host else (array, {"dtype": params["type"].dtype})


declare(Op("const", (), "a number, or an array of numbers, written in the program", lambda value, type: type, None,
           _const_column("np.array(value, dtype)"), _const_column("torch.tensor(value, dtype=dtype, device=DEVICE)"),
           "value", torch_step=_const_column("constant_array(value, dtype, device=DEVICE)"), params={"value": REQUIRED, "type": REQUIRED}, flops=0,
           examples=(example(value=2.5, type="host float"), example(value=((1, 2, 3), (4, 5, 6)), type="int[2, 3]"),
                     example(value=(0.5, 1.5), type="float[2]"), example(value=True, type="host bool"))))  # fmt: skip
declare(Op("size", (), "the value of a dim", lambda dim: TensorType("int", (), True), None, "", "", "dim",
           params={"dim": REQUIRED}, flops=0, examples=(example(dim="2 * a + b"),)))  # fmt: skip
