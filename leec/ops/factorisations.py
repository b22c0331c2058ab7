"""Factorisations of matrices in the last two axes, with signs fixed on both back ends (R25), and roots of matrices.

Of a matrix that should be symmetric the symmetric part is taken, so that derivatives are symmetric too. Where
eigenvalues are equal up to rounding, their vectors have no derivative and get none.
"""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.matrices import (
    ONE_MATRIX,
    POSITIVE,
    POSITIVES,
    TWO_MATRICES,
    matrices,
    product,
    spread,
    square,
    square_type,
    symmetric,
    transposed,
)  # fmt: skip
from leec.ops.table import Op, border, declare, elementwise_type, example, summed_back
from leec.types import ShapeMismatch, TensorType

PARTIAL = {"partial": True}  # a rule gets None for what no gradient comes back of
WAITS = {"waits": True}  # on a GPU the host asks whether the routine converged
POSITIVE_ONES = (example("float[3, 3]", within=POSITIVE), example("float[2, 2, 2]", within=POSITIVES))

# ---- divisions by what may be 0


def _reciprocal_gradient(b, g, out, x, scale):
    """-g / x^2; the scale only decides what counts as 0."""
    return *summed_back(b, (lambda: b.neg(b.mul(g, b.mul(out, out))),), (x,)), None


declare(Op("reciprocal", ("x", "scale"), "1 / x, and 0 where x is no more than rounding errors of numbers like `scale`",
           lambda x, scale: elementwise_type(x, scale), _reciprocal_gradient,
           "reciprocal_or_zero(x, scale)", "reciprocal_or_zero(x, scale)", operands="float", elementwise=True, domain=(0.5, 2.0),
           facts={"cotangents": lambda g, x, scale: (-g / x**2, None)},
           examples=(example("float[a, b]", "float[a, b]"), example("float[a, b, b]", "float[a, 1, 1]")),
           borders=(border([0.0, 1e-17, 0.5], [1.0, 1.0, 1.0], value=[0.0, 0.0, 2.0],
                           gradients=([0.0, 0.0, -4.0], None)),), equation=r"\frac{1}{x}"))  # fmt: skip


def total(b, x, y):
    """The sum, of which either part may be missing."""
    return x if y is None else y if x is None else b.add(x, y)


def largest(b, x):
    """The largest size in the last axis, as a matrix of one entry."""
    return spread(b, b.max(b.abs(x), axes=(x.type.rank - 1,)), rows=True, columns=True)


def inverse_gaps(b, x):
    """1 / (x[j] - x[i]) at [i, j], 0 where both are equal."""
    return b.reciprocal(b.sub(spread(b, x, rows=True), spread(b, x, columns=True)), largest(b, x))


# ---- Cholesky


def _cholesky_gradient(b, g, out, a):
    """L^-T P L^-1, P the lower triangle of L^T G with half of its diagonal; then the symmetric part (Murray 2016)."""
    turned = transposed(b, out)
    inner = product(b, turned, g)
    half = b.mul(b.add(b.tril(inner), b.tril(inner, k=-1)), 0.5)
    left = b.solve_triangular(turned, half, lower=False)
    return (symmetric(b, transposed(b, b.solve_triangular(turned, transposed(b, left), lower=False))),)


# ---- QR


def _qr_type(a: TensorType) -> tuple[TensorType, TensorType]:
    matrices(a)
    if _is_wide(a):
        raise ShapeMismatch(f"{a.shown} has more columns than rows: take `qr` of its transpose")
    columns = a.dims[-1]
    return a, a.with_dims(*a.dims[:-2], columns, columns)


def _is_wide(a: TensorType) -> bool:
    return (excess(a).constant or 0) < 0


def excess(a: TensorType) -> Dim:
    """How many more rows than columns."""
    return a.dims[-2] - a.dims[-1]


def _qr_gradient(b, g, out, a):
    """(G_q + q M) r^-T, M symmetric with the lower triangle of r G_r^T - G_q^T q (Walter, Lehmann and Lamour 2012)."""
    (g_q, g_r), (q, r) = g, out
    turned = None if g_q is None else b.neg(product(b, transposed(b, g_q), q))
    inner = total(b, None if g_r is None else product(b, r, transposed(b, g_r)), turned)
    mirrored = b.add(b.tril(inner), transposed(b, b.tril(inner, k=-1)))
    left = total(b, g_q, product(b, q, mirrored))
    return (transposed(b, b.solve_triangular(r, transposed(b, left), lower=False)),)


def _tall(function: str):
    """What only a run can decide is looked at there."""

    def column(types, params):
        known = excess(types[0]).constant is not None
        return f"{function}(a)" if known else f"{function}(no_wider(a))"

    return column


# ---- eigenvalues


def _eigh_type(a: TensorType) -> tuple[TensorType, TensorType]:
    square(a)
    return a.with_dims(*a.dims[:-1]), a


def _eigh_gradient(b, g, out, a):
    """V (diag(g) + F * (V^T G)) V^T with F[i, j] = 1 / (w[j] - w[i]), then the symmetric part (Giles 2008)."""
    (g_values, g_vectors), (values, vectors) = g, out
    left = None if g_values is None else b.mul(vectors, spread(b, g_values, rows=True))
    if g_vectors is not None:
        inner = b.mul(inverse_gaps(b, values), product(b, transposed(b, vectors), g_vectors))
        left = total(b, left, product(b, vectors, inner))
    return (symmetric(b, product(b, left, transposed(b, vectors))),)


# ---- singular values


def _svd_type(a: TensorType) -> tuple[TensorType, ...]:
    """As many singular values as columns; as rows, where there are known to be less of them."""
    matrices(a)
    batch, (rows, columns) = a.dims[:-2], a.dims[-2:]
    k = rows if _is_wide(a) else columns
    return a.with_dims(*batch, rows, k), a.with_dims(*batch, k), a.with_dims(*batch, columns, k)


def _svd_gradient(b, g, out, a):
    """Townsend (2016), equation 11; of a matrix with more rows than columns the part of G that u does not span, too."""
    (g_u, g_s, g_v), (u, s, v) = g, out
    row, column, more = spread(b, s, rows=True), spread(b, s, columns=True), excess(a.type)
    inner = None
    left = None if g_s is None else b.mul(u, spread(b, g_s, rows=True))
    right = None
    if g_u is not None:
        turn = product(b, transposed(b, u), g_u)
        inner = b.mul(_turning(b, s, turn), row)
        if more != 0 and not _is_wide(a.type):
            outside = b.sub(g_u, product(b, u, turn))
            left = total(b, left, b.mul(outside, b.reciprocal(row, largest(b, s))))
    if g_v is not None:
        turn = product(b, transposed(b, v), g_v)
        inner = total(b, inner, b.mul(column, _turning(b, s, turn)))
        if _is_wide(a.type):
            outside = b.sub(g_v, product(b, v, turn))
            right = product(b, b.mul(u, b.reciprocal(row, largest(b, s))), transposed(b, outside))
    left = total(b, left, None if inner is None else product(b, u, inner))
    return (total(b, product(b, left, transposed(b, v)), right),)


def _turning(b, s, turn):
    """By how much singular vectors turn; s[j]^2 - s[i]^2 as a product, which keeps small ones apart."""
    sums = b.reciprocal(b.add(spread(b, s, rows=True), spread(b, s, columns=True)), largest(b, s))
    return b.mul(b.mul(inverse_gaps(b, s), sums), b.sub(turn, transposed(b, turn)))


# ---- LU


def _lu_type(a: TensorType) -> tuple[TensorType, ...]:
    square(a)
    return a.with_dims(*a.dims[:-1]).with_dtype("int"), a, a


# ---- roots


def _lyapunov_type(a: TensorType, y: TensorType) -> TensorType:
    square(a)
    if a.dims != y.dims:
        raise ShapeMismatch(f"{y.shown} is not {a.shown}")
    return y


def _lyapunov_gradient(b, g, out, a, y):
    """The equation is its own adjoint."""
    d_y = b.lyapunov(a, g)
    both = b.add(product(b, d_y, transposed(b, out)), product(b, transposed(b, out), d_y))
    return b.neg(symmetric(b, both)), d_y


# fmt: off
declare(Op("cholesky", ("a",), "lower triangular factor of positive definite matrices, its diagonal positive",
           square_type, _cholesky_gradient, "np.linalg.cholesky(symmetric_part(a))", "torch.linalg.cholesky(symmetric_part(a))",
           torch_step="torch.linalg.cholesky_ex(symmetric_part(a)).L", operands="float", surface="cholesky", flops=3,
           examples=POSITIVE_ONES, equation=r"\operatorname{chol} a"))
declare(Op("qr", ("a",), "q with orthonormal columns and upper triangular r, q r = a; no entry on the diagonal of r is negative",
           _qr_type, _qr_gradient, _tall("qr"), _tall("qr"), operands="float", surface="qr", facts=PARTIAL, flops=10,
           examples=(ONE_MATRIX, TWO_MATRICES, example("float[3, 2]"), example("float[a, c, b]")), equation="q r = a"))
declare(Op("eigh", ("a",), "eigenvalues of symmetric matrices, ascending, and unit eigenvectors as columns, their largest entries positive",
           _eigh_type, _eigh_gradient, "eigh(a)", "eigh(a)", operands="float", surface="eigh", facts=PARTIAL | WAITS, flops=20,
           examples=(ONE_MATRIX, TWO_MATRICES), equation=r"v \operatorname{diag}(w) v^{\top} = a"))
declare(Op("svd", ("a",), "u, s, v with a = u diag(s) v^T: singular values, the largest first, and vectors as columns, the largest entries of u positive",
           _svd_type, _svd_gradient, _tall("svd"), _tall("svd"), operands="float", surface="svd", facts=PARTIAL | WAITS, flops=30,
           examples=(ONE_MATRIX, TWO_MATRICES, example("float[3, 2]"), example("float[2, 3]"),
                     example("float[a, c, b]")), equation=r"u \operatorname{diag}(s) v^{\top} = a"))
declare(Op("lu", ("a",), "order, lower and upper with a = (lower upper)[order]; no gradient passes", _lu_type, None,
           "lu(a)", "lu(a)", operands="float", surface="lu", flops=3,
           examples=(ONE_MATRIX, TWO_MATRICES), equation=r"\ell u = p a"))
declare(Op("matrix_sqrt", ("a",), "symmetric square root of symmetric matrices without negative eigenvalues", square_type,
           lambda b, g, out, a: (b.lyapunov(out, symmetric(b, g)),), "matrix_sqrt(a)", "matrix_sqrt(a)", operands="float",
           surface="matrix_sqrt", facts=WAITS, flops=20, examples=POSITIVE_ONES, equation="a^{1/2}",
           borders=(border([[4.0, 0.0], [0.0, 4.0]], value=[[2.0, 0.0], [0.0, 2.0]],
                           gradients=([[0.25, 0.25], [0.25, 0.25]],)),
                    border([[4.0, 0.0], [0.0, 0.0]], value=[[2.0, 0.0], [0.0, 0.0]],
                           gradients=([[0.25, 0.5], [0.5, 0.0]],)))))
declare(Op("lyapunov", ("a", "y"), "x with a x + x a = y, a symmetric; where two eigenvalues of a cancel, x has no share",
           _lyapunov_type, _lyapunov_gradient, "lyapunov(a, y)", "lyapunov(a, y)", operands="float", surface="lyapunov",
           facts=WAITS, flops=20, examples=(example("float[3, 3]", "float[3, 3]", within=POSITIVE),
                               example("float[2, 2, 2]", "float[2, 2, 2]", within=POSITIVES)), equation="a x + x a = y"))
# fmt: on
