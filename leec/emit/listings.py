"""Lists of names and methods that return them, in classes of steps."""

from __future__ import annotations

from collections.abc import Sequence

from leec.emit.functions import INDENT, definition
from leec.emit.rules import Rule
from leec.emit.splitting import fit


def spare(rule: Rule | None) -> str:
    """How many arrays a rule computes in; None where it takes the vectors whole."""
    return "0" if rule is None else "None" if rule.is_one_call else str(len(rule.spare))


def returning(name: str, parts: Sequence[str], given: Sequence[str] = ()) -> str:
    return definition(name, ["self", *given], fit(f"return {items(parts)}", 2 * len(INDENT)).splitlines(), len(INDENT))


def taken(names: list[str], source: str) -> list[str]:
    """`w, b = self.tensors`, some at a time where they are many."""
    if len(", ".join(names)) <= 84:
        left = ", ".join(names) if len(names) > 1 else f"({', '.join(names)},)"
        return [f"{left} = {source}"] if names else []
    lines, start = [], 0
    while start < len(names):
        stop = start + 1
        while stop < len(names) and len(", ".join(names[start : stop + 1])) <= 84:
            stop += 1
        left = ", ".join(names[start:stop]) if stop - start > 1 else f"({names[start]},)"
        bounds = f"{start or ''}:{stop if stop < len(names) else ''}"
        lines.append(f"{left} = {source}[{bounds}]")
        start = stop
    return lines


def quote(name: str) -> str:
    return f'"{name}"'


def items(parts) -> str:
    found = list(parts)
    return f"({found[0]},)" if len(found) == 1 else f"({', '.join(found)})"
