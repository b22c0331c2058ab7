"""Windows and pooling that NumPy columns call: views where nothing is computed, `out` where an array may be given.

The emitter pastes their source into generated modules: each stands on NumPy and others of the support files alone.
"""

import math

import numpy as np

from leec.ops.support_numpy import masked


def window(x, axis, size, stride=1, dilation=1):
    """A view of windows along an axis: entry (i, u) is i * stride + u * dilation, as many i as fit."""
    count = (x.shape[axis] - (size - 1) * dilation - 1) // stride + 1
    shape = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    step = x.strides[axis]
    strides = (*x.strides[:axis], step * stride, step * dilation, *x.strides[axis + 1 :])
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)


def unwindow(x, axis, size, stride=1, dilation=1, out=None):
    """The sum of overlapping windows: x[.., i, u, ..] is added to entry i * stride + u * dilation of `size`."""
    return unwindows(x, (axis,), (size,), (stride,), (dilation,), out)


def unwindows(x, axes, sizes, strides, dilations, out=None):
    """The same along several axes, counted before any is folded, in increasing order."""
    widths = [x.shape[axis + 1] for axis in axes]
    shape = list(x.shape)
    for axis, size in zip(reversed(axes), reversed(sizes), strict=True):
        shape[axis : axis + 2] = [size]
    whole = np.empty(shape, x.dtype) if out is None else out
    whole.fill(0)
    for offsets in np.ndindex(*widths):
        source, target = [slice(None)] * x.ndim, [slice(None)] * whole.ndim
        for i, (axis, u, stride, dilation) in enumerate(zip(axes, offsets, strides, dilations, strict=True)):
            start = u * dilation
            source[axis + 1], target[axis - i] = u, slice(start, start + x.shape[axis] * stride, stride)
        whole[tuple(target)] += x[tuple(source)]
    return whole


def window_entries(x, size, stride, dilation):
    """For every offset within a window along the last axes, the entries of x there, one a window: a strided view."""
    parts = [[]]
    for d, k, s, e in zip(x.shape[x.ndim - len(size) :], size, stride, dilation, strict=True):
        last = (d - e * (k - 1) - 1) // s * s  # where the last window begins
        parts = [[*part, slice(e * u, e * u + last + 1, s)] for part in parts for u in range(k)]
    for part in parts:
        yield x[(..., *part)]


def max_pool(x, size, stride, dilation, out=None):
    """The largest entry of every window along the last axes."""
    first, *others = window_entries(x, size, stride, dilation)
    y = np.empty(first.shape, x.dtype) if out is None else out
    np.copyto(y, first)
    for entries in others:
        np.maximum(y, entries, out=y)
    return y


def max_pool_gradient(g, x, y, size, stride, dilation, out=None):
    """g at the first entry of its window that is the largest, row by row; entries of several windows add up."""
    d_x = np.empty(x.shape, x.dtype) if out is None else out
    d_x.fill(0)
    how = size, stride, dilation
    apart = all(e * (k - 1) < s for k, s, e in zip(*how, strict=True))
    waiting, part = np.ones(y.shape, bool), np.empty(y.shape, y.dtype)
    for entries, d_entries in zip(window_entries(x, *how), window_entries(d_x, *how), strict=True):
        first = entries == y
        first &= waiting
        waiting ^= first
        if apart:
            masked(g, first, out=d_entries)
        else:
            d_entries += masked(g, first, out=part)
    return d_x


def avg_pool(x, size, stride, out=None):
    """The mean of every window along the last axes."""
    first, *others = window_entries(x, size, stride, [1] * len(size))
    y = np.empty(first.shape, x.dtype) if out is None else out
    np.copyto(y, first)
    for entries in others:
        y += entries
    y /= math.prod(size)
    return y
