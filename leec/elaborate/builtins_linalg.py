"""Primitives of linear algebra whose results have names; all others are rows that can be called as they stand."""

from __future__ import annotations

from leec.elaborate.builtins import whole_arrays
from leec.elaborate.context import Context
from leec.elaborate.primitives import builtin
from leec.elaborate.values import Record
from leec.ops import TABLE


@builtin("lu")
def _lu(ctx: Context, given) -> Record:
    """`lu(a)`: the fields `order`, `lower` and `upper`, with a = (lower @ upper)[order]; no gradient passes."""
    return Record(("order", "lower", "upper"), whole_arrays(TABLE["lu"])(ctx, given))
