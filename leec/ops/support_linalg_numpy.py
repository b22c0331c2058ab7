"""Factorisations of matrices that NumPy columns call, for stacks of them; signs are fixed (R25).

The emitter pastes their source into generated modules: each stands on NumPy and others of the support files alone.
"""

import numpy as np


def reciprocal_or_zero(x, scale):
    """1 / x, and 0 where x is no more than the rounding errors of numbers as large as `scale`."""
    far = np.abs(x) > 100 * np.finfo(x.dtype).eps * scale
    return np.where(far, 1 / np.where(far, x, 1), 0)


def symmetric_part(a):
    """The symmetric part of matrices."""
    return (a + a.mT) / 2


def signs_of_columns(vectors):
    """1 or -1 for every column, that its largest entry becomes positive; of nearly equal sizes the first counts."""
    size = np.abs(vectors)
    first = np.argmax(size >= 0.999 * size.max(axis=-2, keepdims=True), axis=-2)
    largest = np.take_along_axis(vectors, first[..., None, :], axis=-2)
    return np.where(largest < 0, -1, 1).astype(vectors.dtype)


def eigh(a):
    """Eigenvalues of the symmetric part, ascending, and the unit vectors as columns."""
    values, vectors = np.linalg.eigh(symmetric_part(a))
    return values, vectors * signs_of_columns(vectors)


def svd(a):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    sign = signs_of_columns(u)
    return u * sign, s, vt.mT * sign


def no_wider(a):
    """a itself. Raises ValueError where it has more columns than rows."""
    if a.shape[-2] < a.shape[-1]:
        raise ValueError(f"a matrix of {a.shape[-2]} rows and {a.shape[-1]} columns: factorise its transpose")
    return a


def qr(a):
    """q with orthonormal columns and r, upper triangular, with a = q @ r; the diagonal of r is never negative."""
    q, r = np.linalg.qr(a)
    sign = np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1, 1).astype(a.dtype)
    return q * sign[..., None, :], r * sign[..., :, None]


def lu(a):
    """order, lower, upper with a = (lower @ upper)[order]: elimination, of every column the largest entry is the pivot."""
    a = a.copy()
    n = a.shape[-1]
    rows = np.broadcast_to(np.arange(n), a.shape[:-1]).copy()
    for k in range(n):
        pivot = k + np.abs(a[..., k:, k]).argmax(axis=-1)
        swap = np.broadcast_to(np.arange(n), rows.shape).copy()
        np.put_along_axis(swap, pivot[..., None], k, axis=-1)
        swap[..., k] = pivot
        a = np.take_along_axis(a, swap[..., None], axis=-2)
        rows = np.take_along_axis(rows, swap, axis=-1)
        top = a[..., k, k]
        a[..., k + 1 :, k] /= np.where(top == 0, 1, top)[..., None]
        a[..., k + 1 :, k + 1 :] -= a[..., k + 1 :, k, None] * a[..., k, None, k + 1 :]
    return rows.argsort(axis=-1), np.tril(a, -1) + np.eye(n, dtype=a.dtype), np.triu(a)


def cofactor(a):
    """The derivative of det(a) by a, also where a is singular: from its singular values, all but one multiplied."""
    u, s, vt = np.linalg.svd(a)
    others = np.where(np.eye(s.shape[-1], dtype=bool), 1, s[..., None, :]).prod(axis=-1)
    sign = np.sign(np.linalg.det(u @ vt))[..., None, None]
    return sign * (u * others[..., None, :]) @ vt


def matrix_sqrt(a):
    """The root of the symmetric part, which has no negative eigenvalues but for rounding."""
    values, vectors = np.linalg.eigh(symmetric_part(a))
    return vectors * np.sqrt(np.maximum(values, 0))[..., None, :] @ vectors.mT


def lyapunov(a, y):
    """x with a @ x + x @ a = y, where a is the symmetric part; where eigenvalues of a cancel, x has no share."""
    values, vectors = np.linalg.eigh(symmetric_part(a))
    sums = values[..., :, None] + values[..., None, :]
    scale = np.abs(values).max(axis=-1)[..., None, None]
    return vectors @ (vectors.mT @ y @ vectors * reciprocal_or_zero(sums, scale)) @ vectors.mT
