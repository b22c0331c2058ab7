"""Reading the emission columns: the Python expression of a row for given types and params, parsed once.

Both who prints code and who runs the IR go through here, so that what is tested is what is written.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache

from leec.diagnostics import InternalError
from leec.ops.table import Op
from leec.types import TensorType

COLUMNS = ("numpy", "torch", "torch_step", "host")


@cache
def parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def expression(
    row: Op, column: str, types: tuple[TensorType, ...], params: Mapping[str, object]
) -> tuple[ast.expr, Mapping[str, object]]:
    """The tree over argument and parameter names, and the params it may mention. Raises InternalError without one."""
    entry = getattr(row, column) or (row.torch if column == "torch_step" else "")
    if not entry:
        raise InternalError(f"{row.name} has no {column} column")
    found = entry(types, params) if callable(entry) else entry
    text, more = found if isinstance(found, tuple) else (found, {})
    return parsed(text), {**params, **more}


def bind_arguments(row: Op, args: tuple) -> dict[str, object]:
    """Argument names with what stands for them; a starred name takes the rest as a tuple, also as x2, x3, .."""
    bound: dict[str, object] = {}
    for position, name in enumerate(row.args):
        if name.startswith("*"):
            bound[name[1:]] = tuple(args[position:])
            bound |= {f"x{i}": a for i, a in enumerate(args) if i >= position}
        elif position < len(args):
            bound[name] = args[position]
    return bound


def chosen_column(column: str, types: tuple[TensorType, ...], result: TensorType) -> str:
    """Host numbers are computed by Python whichever back end runs."""
    return "host" if result.host else column
