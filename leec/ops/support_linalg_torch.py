"""Factorisations of matrices that torch columns call, for stacks of them; signs are fixed (R25).

The emitter pastes their source into generated modules: each stands on torch and others of the support files alone.
Autograd through them gives the gradients of the rows, where eigenvalues are equal too, and to any order.
"""

import torch


def reciprocal_or_zero(x, scale):
    """1 / x, and 0 where x is no more than the rounding errors of numbers as large as `scale`."""
    far = x.abs() > 100 * torch.finfo(x.dtype).eps * scale
    return torch.where(far, 1 / torch.where(far, x, 1.0), 0.0)


def symmetric_part(a):
    """The symmetric part of matrices."""
    return (a + a.mT) / 2


def signs_of_columns(vectors):
    """1 or -1 for every column, that its largest entry becomes positive; of nearly equal sizes the first counts."""
    size = vectors.abs()
    near = size >= 0.999 * size.amax(dim=-2, keepdim=True)
    largest = torch.take_along_dim(vectors, near.int().argmax(dim=-2, keepdim=True), -2)
    return torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)


def inverse_gaps(values):
    """1 / (values[j] - values[i]), and 0 where both are equal up to rounding."""
    scale = values.abs().amax(dim=-1)[..., None, None]
    return reciprocal_or_zero(values[..., None, :] - values[..., :, None], scale)


class Eigh(torch.autograd.Function):
    """Eigenvalues of the symmetric part, ascending, and the unit vectors as columns."""

    @staticmethod
    def forward(ctx, a):
        values, vectors = torch.linalg.eigh(symmetric_part(a))
        vectors = vectors * signs_of_columns(vectors)
        ctx.save_for_backward(values, vectors)
        return values, vectors

    @staticmethod
    def backward(ctx, d_values, d_vectors):
        values, vectors = ctx.saved_tensors
        inner = inverse_gaps(values) * (vectors.mT @ d_vectors)
        return symmetric_part((vectors * d_values[..., None, :] + vectors @ inner) @ vectors.mT)


def eigh(a):
    """Eigenvalues of the symmetric part, ascending, and the unit vectors as columns."""
    return Eigh.apply(a)


class Svd(torch.autograd.Function):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""

    @staticmethod
    def forward(ctx, a):
        u, s, vt = torch.linalg.svd(a, full_matrices=False)
        sign = signs_of_columns(u)
        u, v = u * sign, vt.mT * sign
        ctx.save_for_backward(u, s, v)
        return u, s, v

    @staticmethod
    def backward(ctx, d_u, d_s, d_v):
        u, s, v = ctx.saved_tensors
        scale = s.amax(dim=-1)[..., None, None]
        gaps = inverse_gaps(s) * reciprocal_or_zero(s[..., None, :] + s[..., :, None], scale)
        turn_u, turn_v = u.mT @ d_u, v.mT @ d_v
        inner = gaps * (turn_u - turn_u.mT) * s[..., None, :] + s[..., :, None] * gaps * (turn_v - turn_v.mT)
        inverse = reciprocal_or_zero(s[..., None, :], scale)
        left = u @ inner + u * d_s[..., None, :] + (d_u - u @ turn_u) * inverse
        return left @ v.mT + u * inverse @ (d_v - v @ turn_v).mT


def svd(a):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""
    return Svd.apply(a)


def no_wider(a):
    """a itself. Raises ValueError where it has more columns than rows."""
    if a.shape[-2] < a.shape[-1]:
        raise ValueError(f"a matrix of {a.shape[-2]} rows and {a.shape[-1]} columns: factorise its transpose")
    return a


def qr(a):
    """q with orthonormal columns and r, upper triangular, with a = q @ r; the diagonal of r is never negative."""
    q, r = torch.linalg.qr(a)
    sign = torch.where(torch.diagonal(r.detach(), dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(a.dtype)
    return q * sign[..., None, :], r * sign[..., :, None]


def lu(a):
    """order, lower, upper with a = (lower @ upper)[order]: elimination, of every column the largest entry is the pivot."""
    place, lower, upper = torch.linalg.lu(a.detach())
    return place.argmax(dim=-1), lower, upper


def cofactor(a):
    """The derivative of det(a) by a, also where a is singular: from its singular values, all but one multiplied."""
    u, s, v = svd(a)
    one = torch.eye(s.shape[-1], dtype=torch.bool, device=a.device)
    others = torch.where(one, 1.0, s[..., None, :]).prod(dim=-1)
    sign = torch.sign(torch.linalg.det((u @ v.mT).detach()))[..., None, None]
    return sign * (u * others[..., None, :]) @ v.mT


class Det(torch.autograd.Function):
    """The determinant, which has a derivative where a is singular, too."""

    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return torch.linalg.det(a)

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g[..., None, None] * cofactor(a)


def det(a):
    """The determinant, which has a derivative where a is singular, too."""
    return Det.apply(a)


class MatrixSqrt(torch.autograd.Function):
    """The root of the symmetric part, which has no negative eigenvalues but for rounding."""

    @staticmethod
    def forward(ctx, a):
        values, vectors = torch.linalg.eigh(symmetric_part(a))
        root = vectors * torch.sqrt(values.clamp(min=0))[..., None, :] @ vectors.mT
        ctx.save_for_backward(root)
        return root

    @staticmethod
    def backward(ctx, d_root):
        (root,) = ctx.saved_tensors
        return lyapunov(root, symmetric_part(d_root))


def matrix_sqrt(a):
    """The root of the symmetric part, which has no negative eigenvalues but for rounding."""
    return MatrixSqrt.apply(a)


class Lyapunov(torch.autograd.Function):
    """x with a @ x + x @ a = y, where a is the symmetric part."""

    @staticmethod
    def forward(ctx, a, y):
        values, vectors = torch.linalg.eigh(symmetric_part(a))
        sums = values[..., :, None] + values[..., None, :]
        scale = values.abs().amax(dim=-1)[..., None, None]
        x = vectors @ (vectors.mT @ y @ vectors * reciprocal_or_zero(sums, scale)) @ vectors.mT
        ctx.save_for_backward(a, x)
        return x

    @staticmethod
    def backward(ctx, d_x):
        a, x = ctx.saved_tensors
        d_y = lyapunov(a, d_x)
        return -symmetric_part(d_y @ x.mT + x.mT @ d_y), d_y


def lyapunov(a, y):
    """x with a @ x + x @ a = y, where a is the symmetric part; where eigenvalues of a cancel, x has no share."""
    return Lyapunov.apply(a, y)
