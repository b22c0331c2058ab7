"""Functions that torch columns call, for what is no single expression; a row names them in its fact `support`.

The emitter pastes their source into generated modules: each stands on torch, `math` and others of this file alone.
Autograd through them gives the gradients of the rows, at ties and borders too (R34).
"""

import math

import torch


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = x.new_zeros(dims)
    whole[slices] = x
    return whole
