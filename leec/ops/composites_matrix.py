"""The matrix product with a bias as one function: an idiom of torch alone, as NumPy has none."""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.bodies import body_gradient
from leec.ops.contract import Contraction, matrix_form
from leec.ops.laws import Law
from leec.ops.table import Op, declare, example
from leec.types import ShapeMismatch, TensorType


def _affine_type(x: TensorType, w: TensorType, c: TensorType, transposed: bool) -> TensorType:
    columns, inner = w.dims if transposed else w.dims[::-1]
    if x.dims[-1] != inner or c.dims != (columns,):
        raise ShapeMismatch(f"{x} times {w} plus {c}")
    return x.with_dims(*x.dims[:-1], columns)


def _affine_body(b, x, w, c, transposed: bool):
    sizes = (*x.type.dims, *w.type.dims)
    taken = frozenset().union(*(d.symbols for d in sizes))
    names = [n for n in (f"i{k}" for k in range(len(sizes) + len(taken))) if n not in taken]
    rows = tuple(map(Dim.of, names[: x.type.rank]))
    column = Dim.of(names[x.type.rank])
    matrix = (column, rows[-1]) if transposed else (rows[-1], column)
    columns = w.type.dims[0 if transposed else 1]
    ranges = (*zip(names[: x.type.rank], x.type.dims, strict=True), (column.symbol, columns))
    spec = Contraction((rows, matrix), (*rows[:-1], column), ranges, (*x.type.dims[:-1], columns))
    return b.add(b.contract(x, w, spec=spec), c)


def _affine_torch(types, params):
    turned = params["transposed"]
    if types[0].rank == 2:
        return "torch.addmm(c, x, w.T)" if turned else "torch.addmm(c, x, w)"
    return "torch.nn.functional.linear(x, w, c)" if turned else "torch.nn.functional.linear(x, w.T, c)"


def _recognise_affine(b, y, c):
    """A product of matrices that nothing else reads, plus a vector along its last axis."""
    e = b.producer(y)
    spec = e.params.get("spec") if e is not None else None
    if not isinstance(spec, Contraction) or len(e.args) != 2 or b.uses[y] or not y.type.is_float:
        return None
    form = matrix_form(spec)
    x, w = e.args if form in ("x @ x1", "x @ x1.T") else e.args[::-1]
    fits = form in ("x @ x1", "x @ x1.T", "x1 @ x", "x1 @ x.T") and w.type.rank == 2 and x.type.rank > 1
    if not fits or c.type.host or c.type.dims != y.type.dims[-1:] or x.type.dims[:-1] != y.type.dims[:-1]:
        return None
    return b.affine(x, w, c, transposed=form.endswith(".T"))


FORM = {"transposed": False}
BIASED = (Law("add(y, c)", _recognise_affine),)
declare(Op("affine", ("x", "w", "c"), "x @ w + c, or x @ w.T + c", _affine_type, body_gradient(_affine_body),
           "", _affine_torch, params=FORM, operands="float", flops=2,
           examples=(example("float[a, b]", "float[b, c]", "float[c]"),
                     example("float[a, 2, b]", "float[b, c]", "float[c]"),
                     example("float[a, b]", "float[c, b]", "float[c]", transposed=True),
                     example("float[a, 2, b]", "float[c, b]", "float[c]", transposed=True)),
           facts={"body": _affine_body, "idioms": dict.fromkeys(("torch", "torch_step"), BIASED)},
           equation=r"x w + c"))  # fmt: skip
