"""Moving entries in one step, whatever way they came: a reshape of a reshape is one reshape."""

from __future__ import annotations

from leec.dims import Dim


def reshaped(b, x, dims: tuple[Dim, ...], hint: str | None = None):
    """x under other dims; itself where it has them. `b` is a builder that knows where values come from."""
    before = b.producer(x)
    x = before.args[0] if before is not None and before.op == "reshape" else x
    return x if x.type.dims == dims else b.reshape(x, dims=dims, hint=hint)
