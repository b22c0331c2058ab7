"""Functions that torch columns call, for what is no single expression.

The emitter pastes their source into generated modules: each stands on torch, Python and others of this file alone.
Autograd through them gives the gradients of the rows, at ties and borders too (R34).
"""

import functools
import math

import torch

# ---- numbers


@functools.cache
def array_on_device(value, dtype, device):
    """An array of numbers, brought to a device once."""
    return torch.tensor(value, dtype=dtype, device=device)


def constant_array(value, dtype, device=None):
    """An array of numbers, a new one for every caller; a graph captures no copy from the host."""
    return array_on_device(value, dtype, device).clone()


# ---- delicate points


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


class Graft(torch.autograd.Function):
    """The value of x with the derivative of y."""

    @staticmethod
    def forward(ctx, x, y):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return None, g if ctx.needs_input_grad[1] else None  # a number of the host has none


def graft(x, y):
    """The value of x with the derivative of y."""
    return Graft.apply(x, y)


# ---- extremes


def largest(x, axes, keepdims=False):
    """The largest entry, -inf of nothing; the gradient goes to the first of equals."""
    for axis in reversed(axes):
        some = x.shape[axis] > 0
        x = x.max(axis, keepdim=keepdims).values if some else x.sum(axis, keepdim=keepdims) - math.inf
    return x


def smallest(x, axes, keepdims=False):
    """The smallest entry, inf of nothing; the gradient goes to the first of equals."""
    return -largest(-x, axes, keepdims)


def amax(x, axes, keepdims=False):
    """The largest entry, -inf of nothing."""
    some = all(x.shape[axis] for axis in axes)
    return x.amax(axes, keepdim=keepdims) if some else x.sum(axes, keepdim=keepdims) - math.inf


def amin(x, axes, keepdims=False):
    """The smallest entry, inf of nothing."""
    some = all(x.shape[axis] for axis in axes)
    return x.amin(axes, keepdim=keepdims) if some else x.sum(axes, keepdim=keepdims) + math.inf


# ---- sums of exponentials


def logsumexp(x, axes, keepdims=False):
    """log(sum(exp(x))); where x is -inf all along, it is so too and the gradient is 0."""
    empty = torch.isneginf(x).all(axes, keepdim=True)
    return torch.logsumexp(torch.where(empty, x.detach(), x), axes, keepdim=keepdims)


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    shifted = x - torch.where(empty, 0.0, top)
    return shifted - torch.log(torch.where(empty, 1.0, torch.exp(shifted).sum(dim=axes, keepdim=True)))


# ---- places


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = x.new_zeros(dims)
    whole[slices] = x
    return whole


def unflatten(x, shapes):
    """The tensors of given shapes that lie one after the other in a vector."""
    parts = x.split([math.prod(shape) for shape in shapes])
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))


def unwindow(x, axis, size, stride=1, dilation=1):
    """The sum of overlapping windows: x[.., i, u, ..] is added to entry i * stride + u * dilation of `size`."""
    count, width = x.shape[axis : axis + 2]
    whole = x.new_zeros((*x.shape[:axis], size, *x.shape[axis + 2 :]))
    before = (slice(None),) * axis
    for u in range(width):
        start = u * dilation
        whole[(*before, slice(start, start + count * stride, stride))] += x[(*before, slice(None), u)]
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


def rows_of(x, v, index, axes):
    """x with the indexed axes as one, the first; v likewise; the row of x that each entry of v meets; the way back."""
    axes = tuple(range(len(index))) if axes is None else axes
    front = x.movedim(axes, tuple(range(len(axes))))
    place = 0
    for i, size in zip(index, front.shape[: len(axes)], strict=True):
        place = place * size + i
    rows = front.reshape(-1, *front.shape[len(axes) :])
    new = v.reshape(-1, *rows.shape[1:])
    place = place.reshape(-1, *[1] * (rows.dim() - 1)).expand_as(new)
    return rows, new, place, lambda y: y.reshape(front.shape).movedim(tuple(range(len(axes))), axes)


def scatter(how, x, v, index, axes=None):
    """x with v combined into positions of some axes (the first ones); `how` as scatter_reduce has it."""
    rows, new, place, back = rows_of(x, v, index, axes)
    return back(rows.scatter_reduce(0, place, new, how))


def scatter_extreme(how, x, v, index, axes=None):
    """As `scatter`, for amax and amin; the gradient goes to x where it stays, else to the first of equals in v."""
    rows, new, place, back = rows_of(x, v, index, axes)
    best = rows.detach().scatter_reduce(0, place, new.detach(), how)
    count = len(new)
    order = torch.arange(count, device=x.device).reshape(-1, *[1] * (new.dim() - 1)).expand_as(new)
    attains = torch.where(new == best.gather(0, place), order, count)
    first = torch.full_like(best, count, dtype=torch.int64).scatter_reduce(0, place, attains, "amin")
    if count:
        rows = torch.where(rows == best, rows, new.gather(0, first.clamp(max=count - 1)))
    return back(rows)


# ---- running results


def cumulate(combine, first, x, axis, reverse=False, exclusive=False):
    """Running sum or product from `first` on; from the end if `reverse`, of the entries before if `exclusive`."""
    x = x.flip(axis) if reverse else x
    if exclusive:
        x = torch.cat((torch.full_like(x.narrow(axis, 0, 1), first), x.narrow(axis, 0, x.shape[axis] - 1)), axis)
    total = combine(x, axis)
    return total.flip(axis) if reverse else total


def recurrence(x, y, axis, reverse=False):
    """h with h[t] = x[t] * h[t - 1] + y[t] along an axis, in the other direction if `reverse`."""
    pairs = list(zip(x.unbind(axis), y.unbind(axis), strict=True))
    total, rows = torch.zeros_like(y.select(axis, 0)), []
    for factor, term in reversed(pairs) if reverse else pairs:
        total = factor * total + term
        rows.append(total)
    return torch.stack(rows[::-1] if reverse else rows, axis)


def window_entries(x, size, stride, dilation):
    """For every offset within a window along the last axes, the entries of x there, one a window: a strided view."""
    parts = [[]]
    for d, k, s, e in zip(x.shape[x.ndim - len(size) :], size, stride, dilation, strict=True):
        last = (d - e * (k - 1) - 1) // s * s  # where the last window begins
        parts = [[*part, slice(e * u, e * u + last + 1, s)] for part in parts for u in range(k)]
    for part in parts:
        yield x[(..., *part)]


def max_pool(x, size, stride, dilation, padding):
    """The largest entry of every window along the last axes; on a CPU strided views are faster than the library."""
    if x.is_cuda:
        pool = getattr(torch.nn.functional, f"max_pool{len(size)}d")
        return pool(x, size, stride, padding, dilation)
    around = [p for q in reversed(padding) for p in (q, q)]
    x = torch.nn.functional.pad(x, around, value=-math.inf) if any(around) else x
    first, *others = window_entries(x, size, stride, dilation)
    y = torch.maximum(first, others[0]) if others else first.clone()
    for entries in others[1:]:
        torch.maximum(y, entries, out=y)
    return y


def max_pool_gradient(g, x, y, size, stride, dilation, padding):
    """g at the first entry of its window that is the largest, row by row; entries of several windows add up."""
    around = [p for q in reversed(padding) for p in (q, q)]
    wide = torch.nn.functional.pad(x, around, value=-math.inf) if any(around) else x
    how, overlap = (size, stride, dilation), any(e * (k - 1) >= s for k, s, e in zip(size, stride, dilation))
    d_x, waiting = torch.zeros_like(wide), torch.ones_like(y, dtype=torch.bool)
    last = math.prod(size) - 1  # takes what no other took
    windows = zip(window_entries(wide, *how), window_entries(d_x, *how), strict=True)
    for k, (entries, d_entries) in enumerate(windows):
        first = waiting if k == last else (entries == y).logical_and_(waiting)
        waiting = waiting.logical_xor(first)
        d_entries.add_(masked(g, first)) if overlap else d_entries.copy_(masked(g, first))
    return torch.nn.functional.pad(d_x, [-p for p in around]) if any(around) else d_x


def masked(x, c):
    """x where c holds, else 0. On a CPU by its bits, which takes a tenth of a choice entry by entry."""
    if x.is_cuda or torch.is_grad_enabled():
        return torch.where(c, x, 0.0)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.view(bits).bitwise_and(c.to(bits).neg_()).view(x.dtype)


def avg_pool_gradient(g, size, stride, padding, dims):
    """An equal share of g to every entry of its window along the last axes."""
    if len(size) == 1:  # the library has none for one axis
        return avg_pool_gradient(g[..., None, :], (1, *size), (1, *stride), (0, *padding), (1, *dims)).squeeze(-2)
    backward = getattr(torch.ops.aten, f"avg_pool{len(size)}d_backward")
    x = g.new_empty((*g.shape[: g.ndim - len(size)], *dims))  # read for its shape only
    return backward(g, x, size, stride, padding, False, True, None)


def logaddexp(x, y):
    """log(exp(x) + exp(y)); where both are -inf the gradients are 0."""
    empty = torch.isneginf(torch.maximum(x, y))
    safe = torch.logaddexp(torch.where(empty, 0.0, x), torch.where(empty, 0.0, y))
    return torch.where(empty, -math.inf, safe)


def normalise_gradient(g, x, shape, eps):
    """The gradient of `layer_norm(x, shape, eps=eps)` by x."""
    _, mean, rstd = torch.native_layer_norm(x, shape, None, None, eps)
    return torch.ops.aten.native_layer_norm_backward(g, x, shape, mean, rstd, None, None, (True, False, False))[0]
