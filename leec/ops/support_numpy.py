"""Functions that NumPy columns call, for what is no single expression; a row names them in its fact `support`.

The emitter pastes their source into generated modules: each stands on NumPy, `math` and others of this file alone.
"""

import math

import numpy as np


def logsumexp(x, axes, keepdims=False):
    """log(sum(exp(x))), shifted by the maximum; of nothing, or of -inf alone, it is -inf."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top
    return total if keepdims else total.squeeze(axes)


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = np.zeros(dims, x.dtype)
    whole[slices] = x
    return whole


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=axes, keepdims=True)
    return e / np.where(total == 0, 1, total)


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    shifted = x - np.where(np.isneginf(top), 0, top)
    total = np.exp(shifted).sum(axis=axes, keepdims=True)
    return shifted - np.log(np.where(total == 0, 1, total))
