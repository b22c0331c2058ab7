"""Linear algebra on the last axes, all others being batch axes: inverse, systems, determinants, triangles."""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.matrices import (
    ONE_MATRIX,
    THREE,
    TWO,
    TWO_MATRICES,
    matrices,
    product,
    right_side,
    spread,
    square,
    square_type,
    transposed,
)  # fmt: skip
from leec.ops.table import Op, border, declare, example
from leec.types import TensorType

# ---- triangles


def _triangle_type(a: TensorType, k: int) -> TensorType:
    matrices(a)
    return a


def _triangle(name: str, doc: str, word: str) -> None:
    declare(Op(name, ("a",), f"matrices with 0 {doc} their diagonal number k", _triangle_type,
               lambda b, g, out, a, k: (b.emit(name, (g,), {"k": k}),),
               lambda types, params: f"np.{name}(a, k)" if params["k"] else f"np.{name}(a)",
               lambda types, params: f"torch.{name}(a, k)" if params["k"] else f"torch.{name}(a)",
               params={"k": 0}, operands="number", surface=name, flops=0, equation=rf"\operatorname{{{word}}} a",
               examples=(example("float[a, b]", k=0), example("float[2, a, a]", k=-1), example("int[b, b]", k=1))))  # fmt: skip


_triangle("tril", "above", "lower")
_triangle("triu", "below", "upper")

# ---- inverse and systems


def _inv_gradient(b, g, out, a):
    """-A^-T G A^-T"""
    turned = transposed(b, out)
    return (b.neg(product(b, product(b, turned, g), turned)),)


def _outer_gradient(b, d_y, out, a, y):
    """-d_y x^T, the cotangent of the matrix in a x = y."""
    column = (lambda v: spread(b, v, columns=True)) if y.type.rank < a.type.rank else (lambda v: v)
    return b.neg(product(b, column(d_y), transposed(b, column(out))))


def _solve_gradient(b, g, out, a, y):
    d_y = b.solve(transposed(b, a), g)
    return _outer_gradient(b, d_y, out, a, y), d_y


def _of_vectors(types) -> bool:
    return types[1].rank < types[0].rank


def _solve_numpy(types, params):
    """NumPy takes what is not one vector for matrices."""
    stacked = _of_vectors(types) and types[0].rank > 2
    return "np.linalg.solve(a, y[..., None])[..., 0]" if stacked else "np.linalg.solve(a, y)"


def _solve_torch(function: str):
    """torch takes a stack of vectors for matrices, too. `_ex` does not wait for the device to say that all went well."""

    def column(types, params):
        return function.format("y[..., None]") + "[..., 0]" if _of_vectors(types) else function.format("y")

    return column


def _triangular_gradient(b, g, out, a, y, lower):
    d_y = b.solve_triangular(transposed(b, a), g, lower=not lower)
    return b.emit("tril" if lower else "triu", (_outer_gradient(b, d_y, out, a, y),)), d_y


def _triangular_numpy(types, params):
    """NumPy has no substitution of its own; without the other triangle its elimination has nothing to do."""
    triangle = "np.tril(a)" if params["lower"] else "np.triu(a)"
    stacked = _of_vectors(types) and types[0].rank > 2
    return f"np.linalg.solve({triangle}, {'y[..., None])[..., 0]' if stacked else 'y)'}"


def _triangular_torch(types, params):
    return _solve_torch(f"torch.linalg.solve_triangular(a, {{}}, upper={not params['lower']})")(types, params)


def _systems(**params) -> tuple:
    return (example("float[3, 3]", "float[3]", within=THREE, **params),
            example("float[3, 3]", "float[3, b]", within=THREE, **params),
            example("float[2, 2, 2]", "float[2, 2]", within=TWO, **params),
            example("float[2, 2, 2]", "float[2, 2, b]", within=TWO, **params))  # fmt: skip


# ---- determinants


def _number_type(a: TensorType) -> TensorType:
    square(a)
    return a.with_dims(*a.dims[:-2])


def _signed_type(a: TensorType) -> tuple[TensorType, TensorType]:
    return (_number_type(a),) * 2


def _logabsdet_gradient(b, g, out, a):
    return (b.mul(spread(b, g, rows=True, columns=True), transposed(b, b.inv(a))),)


def _slogdet_gradient(b, g, out, a):
    """The sign has no derivative."""
    return (None,) if g[1] is None else _logabsdet_gradient(b, g[1], out[1], a)


def _det_gradient(b, g, out, a):
    return (b.mul(spread(b, g, rows=True, columns=True), b.cofactor(a)),)


def _places(b, n: Dim, rank: int) -> list:
    """0, 1, .. along each of some axes, the others being 1."""
    return [b.iota(dims=tuple(n if i == k else Dim.of(1) for i in range(rank)), axis=k) for k in range(rank)]


def _pairs(b, s):
    """Of numbers the products of all but two, at [i, j] without those two; 0 where i is j."""
    n, last = s.type.dims[-1], s.type.rank - 1
    i, j, k = _places(b, n, 3)
    left_out = b.logical_or(b.eq(k, i), b.eq(k, j))
    rows = b.reshape(s, dims=(*s.type.dims[:-1], Dim.of(1), Dim.of(1), n))
    return b.select(b.eq(*_places(b, n, 2)), 0.0, b.prod(b.select(left_out, 1.0, rows), axes=(last + 2,)))


def _cofactor_gradient(b, g, out, a):
    """In the basis of the singular vectors, from the products of all singular values but two."""
    n, axes = a.type.dims[-1], (a.type.rank - 1,)
    u, s, v = b.svd(a)
    pairs, same = _pairs(b, s), b.eq(*_places(b, n, 2))
    turned = product(b, product(b, transposed(b, u), g), v)
    own = b.sum(b.select(same, turned, 0.0), axes=axes)
    kept = b.sum(b.mul(pairs, spread(b, own, rows=True)), axes=axes)
    inner = b.sub(b.select(same, spread(b, kept, rows=True), 0.0), b.mul(transposed(b, turned), pairs))
    sign = b.sign(b.det(product(b, u, transposed(b, v))))
    found = product(b, product(b, u, inner), transposed(b, v))
    return (b.mul(spread(b, sign, rows=True, columns=True), found),)


SINGULAR = [[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 1.0, 3.0]]

# fmt: off
declare(Op("inv", ("a",), "inverse of matrices", square_type, _inv_gradient, "np.linalg.inv(a)", "torch.linalg.inv(a)",
           torch_step="torch.linalg.inv_ex(a).inverse", operands="float", surface="inv", flops=10,
           examples=(ONE_MATRIX, TWO_MATRICES), equation="a^{-1}"))
declare(Op("solve", ("a", "y"), "x with a x = y, for vectors or matrices y", right_side, _solve_gradient,
           _solve_numpy, _solve_torch("torch.linalg.solve(a, {})"),
           torch_step=_solve_torch("torch.linalg.solve_ex(a, {}).result"), operands="float", surface="solve", flops=5,
           equation="a^{-1} y", examples=_systems()))
declare(Op("solve_triangular", ("a", "y"), "x with a x = y, of a the lower triangle alone, or the upper one",
           right_side, _triangular_gradient, _triangular_numpy, _triangular_torch, params={"lower": True},
           operands="float", surface="solve_triangular", flops=3, equation=r"a^{-1} y", examples=(*_systems(), *_systems(lower=False))))
declare(Op("logabsdet", ("a",), "logarithm of the absolute value of the determinant", _number_type,
           _logabsdet_gradient,
           "np.linalg.slogdet(a)[1]", "torch.linalg.slogdet(a)[1]", operands="float", surface="logabsdet", flops=5,
           examples=(ONE_MATRIX, TWO_MATRICES), equation=r"\log \lvert \det a \rvert"))
declare(Op("slogdet", ("a",), "sign of the determinant and logarithm of its absolute value", _signed_type,
           _slogdet_gradient, "np.linalg.slogdet(a)", "torch.linalg.slogdet(a)", operands="float", surface="slogdet",
           facts={"partial": True}, flops=5, examples=(ONE_MATRIX, TWO_MATRICES),
           equation=r"\operatorname{sign} \det a, \log \lvert \det a \rvert"))
declare(Op("det", ("a",), "determinant; of singular matrices too the gradient is the matrix of cofactors", _number_type,
           _det_gradient, "np.linalg.det(a)", "det(a)", torch_step="torch.linalg.det(a)", operands="float", surface="det",
           flops=5, examples=(ONE_MATRIX, TWO_MATRICES), equation=r"\det a",
           borders=(border(SINGULAR, value=0.0, gradients=([[12.0, -6.0, 2.0], [-6.0, 3.0, -1.0], [0.0, 0.0, 0.0]],)),
                    border([[0.0, 0.0], [0.0, 0.0]], value=0.0, gradients=([[0.0, 0.0], [0.0, 0.0]],)))))
declare(Op("cofactor", ("a",), "matrix of cofactors: det(a) times the transposed inverse, where there is one",
           square_type, _cofactor_gradient, "cofactor(a)", "cofactor(a)", operands="float", facts={"waits": True}, flops=30,
           examples=(ONE_MATRIX, TWO_MATRICES), equation=r"\det(a) a^{-\top}",
           borders=(border(SINGULAR, value=[[12.0, -6.0, 2.0], [-6.0, 3.0, -1.0], [0.0, 0.0, 0.0]]),)))
# fmt: on
