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


def softmax(x, axes):
    """exp(x) over its sum, along any axes; where x is -inf all along, it is 0 and so is its gradient."""
    empty = torch.isneginf(x.amax(dim=axes, keepdim=True))
    safe = torch.where(empty, 0.0, x)
    shares = torch.exp(safe - torch.logsumexp(safe, dim=axes, keepdim=True))
    return torch.where(empty, 0.0, shares)


def log_softmax(x, axes):
    """log(softmax(x)), along any axes; where x is -inf all along, it stays so."""
    empty = torch.isneginf(x.amax(dim=axes, keepdim=True))
    safe = torch.where(empty, 0.0, x)
    return torch.where(empty, x, safe - torch.logsumexp(safe, dim=axes, keepdim=True))
