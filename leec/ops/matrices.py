"""What the rows of linear algebra share: shapes of matrices in the last two axes, and their algebra as equations."""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.contract import Contraction
from leec.ops.table import example
from leec.types import ShapeMismatch, TensorType

# ---- shapes


def matrices(a: TensorType) -> None:
    """Raises ShapeMismatch for what has no last two axes."""
    if a.rank < 2:
        raise ShapeMismatch(f"{a.shown} is no matrix, nor a stack of matrices")


def square(a: TensorType) -> None:
    """Raises ShapeMismatch for what has no square matrices in its last two axes."""
    matrices(a)
    if a.dims[-1] != a.dims[-2]:
        rows, columns = a.dims[-2:]
        raise ShapeMismatch(f"{a.shown} has no square matrices: {rows} rows, {columns} columns", (rows, columns))


def square_type(a: TensorType, **params) -> TensorType:
    """The type of what is made of square matrices and has their form."""
    square(a)
    return a


def right_side(a: TensorType, y: TensorType, **params) -> TensorType:
    """Vectors where y has one axis less than a, matrices where it has as many (decision 36)."""
    square(a)
    if y.rank not in (a.rank, a.rank - 1):
        raise ShapeMismatch(
            f"{y.shown} is no right side for {a.shown}: {a.rank - 1} axes are vectors, {a.rank} matrices"
        )
    for mine, other in zip(y.dims, a.dims[:-1]):
        if mine != other:
            raise ShapeMismatch(f"{y.shown} is no right side for {a.shown}: {mine} is not {other}", (mine, other))
    return y


# ---- algebra


def transposed(b, a):
    """Every matrix of a stack transposed."""
    r = a.type.rank
    return b.transpose(a, perm=(*range(r - 2), r - 1, r - 2))


def product(b, x, y):
    """x @ y for two stacks of matrices with the same batch axes."""
    taken = frozenset().union(*(d.symbols for d in (*x.type.dims, *y.type.dims)))
    free = (n for n in ("row", "inner", "column", *(f"batch{i}" for i in range(99))) if n not in taken)
    row, inner, column, *batch = (Dim.of(next(free)) for _ in range(x.type.rank + 1))
    names = (*batch, row, inner, column)
    sizes = (*x.type.dims, y.type.dims[-1])
    ranges = tuple((n.symbol, d) for n, d in zip(names, sizes, strict=True))
    spec = Contraction(
        ((*batch, row, inner), (*batch, inner, column)),
        (*batch, row, column),
        ranges,
        (*x.type.dims[:-1], y.type.dims[-1]),
    )
    return b.contract(x, y, spec=spec)


def symmetric(b, a):
    """The symmetric part of matrices."""
    return b.mul(b.add(a, transposed(b, a)), 0.5)


def spread(b, x, *, rows: bool = False, columns: bool = False):
    """Numbers or vectors beside matrices: with new axes of size 1 for their rows, their columns, or both."""
    dims = x.type.dims
    if rows and columns:
        return b.reshape(x, dims=(*dims, Dim.of(1), Dim.of(1)))
    return b.reshape(x, dims=(*dims[:-1], Dim.of(1), dims[-1]) if rows else (*dims, Dim.of(1)))


# ---- arguments to test with

THREE = {"a": [[2.0, -0.5, 0.3], [0.4, -1.5, 0.2], [-0.3, 0.6, 1.8]]}  # far from singular
TWO = {"a": [[[1.5, 0.4], [-0.2, 2.0]], [[-1.2, 0.3], [0.5, 1.7]]]}
ONE_MATRIX, TWO_MATRICES = example("float[3, 3]", within=THREE), example("float[2, 2, 2]", within=TWO)
POSITIVE = {"a": [[2.0, -0.5, 0.3], [-0.4, 1.5, 0.2], [0.3, 0.1, 1.8]]}  # so is their symmetric part
POSITIVES = {"a": [[[1.5, 0.4], [-0.2, 2.0]], [[1.2, 0.3], [0.5, 1.7]]]}
