"""Linear algebra on the last axes, all others being batch axes: inverse, solutions of systems, log of |det|."""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.contract import Contraction
from leec.ops.table import Op, declare, example
from leec.types import ShapeMismatch, TensorType


def _square(a: TensorType) -> None:
    if a.rank < 2 or a.dims[-1] != a.dims[-2]:
        raise ShapeMismatch(f"{a} has no square matrices in its last two axes", a.dims[-2:] if a.rank > 1 else None)


def transposed(b, a):
    """Every matrix of a stack transposed."""
    r = a.type.rank
    return b.transpose(a, perm=(*range(r - 2), r - 1, r - 2))


def product(b, x, y):
    """x @ y for two stacks of matrices with the same batch axes."""
    batch = tuple(f"batch{i}" for i in range(x.type.rank - 2))
    names = (*batch, "row", "inner", "column")
    pick = lambda *last: tuple(map(Dim.of, (*batch, *last)))  # noqa: E731
    sizes = (*x.type.dims, y.type.dims[-1])
    dims = (*x.type.dims[:-1], y.type.dims[-1])
    spec = Contraction(
        (pick("row", "inner"), pick("inner", "column")),
        pick("row", "column"),
        tuple(zip(names, sizes, strict=True)),
        dims,
    )
    return b.contract(x, y, spec=spec)


def _inv_type(a: TensorType) -> TensorType:
    _square(a)
    return a


def _inv_gradient(b, g, out, a):
    """-A^-T G A^-T"""
    turned = transposed(b, out)
    return (b.neg(product(b, product(b, turned, g), turned)),)


def _solve_type(a: TensorType, y: TensorType) -> TensorType:
    """Vectors where y has one axis less than a, matrices where it has as many (decision 36)."""
    _square(a)
    if y.rank not in (a.rank, a.rank - 1) or y.dims[: a.rank - 1] != a.dims[:-1]:
        raise ShapeMismatch(
            f"{y} is no right side for {a}", (y.dims[min(y.rank, a.rank - 1) - 1], a.dims[-1]) if y.rank else None
        )
    return y


def _solve_gradient(b, g, out, a, y):
    d_y = b.solve(transposed(b, a), g)
    column = (lambda v: b.reshape(v, dims=(*v.type.dims, Dim.of(1)))) if y.type.rank < a.type.rank else (lambda v: v)
    return b.neg(product(b, column(d_y), transposed(b, column(out)))), d_y


def _solve_numpy(types, params):
    """NumPy takes what is not one vector for matrices."""
    stacked = types[1].rank < types[0].rank and types[0].rank > 2
    return "np.linalg.solve(a, y[..., None])[..., 0]" if stacked else "np.linalg.solve(a, y)"


def _solve_torch(types, params):
    return (
        "torch.linalg.solve(a, y[..., None])[..., 0]" if types[1].rank < types[0].rank else "torch.linalg.solve(a, y)"
    )


def _logabsdet_type(a: TensorType) -> TensorType:
    _square(a)
    return a.with_dims(*a.dims[:-2])


def _logabsdet_gradient(b, g, out, a):
    turned = transposed(b, b.inv(a))
    spread = b.reshape(g, dims=(*g.type.dims, Dim.of(1), Dim.of(1)))
    return (b.mul(spread, turned),)


THREE = {"a": [[2.0, -0.5, 0.3], [0.4, -1.5, 0.2], [-0.3, 0.6, 1.8]]}  # far from singular
TWO = {"a": [[[1.5, 0.4], [-0.2, 2.0]], [[-1.2, 0.3], [0.5, 1.7]]]}
ONE_MATRIX, TWO_MATRICES = example("float[3, 3]", within=THREE), example("float[2, 2, 2]", within=TWO)

# fmt: off
declare(Op("inv", ("a",), "inverse of matrices", _inv_type, _inv_gradient, "np.linalg.inv(a)", "torch.linalg.inv(a)",
           operands="float", surface="inv", flops=10, examples=(ONE_MATRIX, TWO_MATRICES), equation="a^{-1}"))
declare(Op("solve", ("a", "y"), "x with a x = y, for vectors or matrices y", _solve_type, _solve_gradient,
           _solve_numpy, _solve_torch, operands="float", surface="solve", flops=5, equation="a^{-1} y",
           examples=(example("float[3, 3]", "float[3]", within=THREE),
                     example("float[3, 3]", "float[3, b]", within=THREE),
                     example("float[2, 2, 2]", "float[2, 2]", within=TWO),
                     example("float[2, 2, 2]", "float[2, 2, b]", within=TWO))))
declare(Op("logabsdet", ("a",), "logarithm of the absolute value of the determinant", _logabsdet_type,
           _logabsdet_gradient,
           "np.linalg.slogdet(a)[1]", "torch.linalg.slogdet(a)[1]", operands="float", surface="logabsdet", flops=5,
           examples=(ONE_MATRIX, TWO_MATRICES), equation=r"\log \lvert \det a \rvert"))
# fmt: on
