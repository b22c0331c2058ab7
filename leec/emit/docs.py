"""Docstrings of generated code: the spec's own words, which may hold anything and stay inside the quotes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from textwrap import wrap

from leec.dims import Dim
from leec.emit.comments import shape
from leec.emit.unit import Unit
from leec.ir.graph import Function, Parameter, Result


def docstring(words: str) -> list[str]:
    """The lines of a docstring; none for no words. Quotes and backslashes of the text cannot end it."""
    lines = [clean(line) for line in words.strip().splitlines()]
    if not any(lines):
        return []
    margin = min((len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()), default=0)
    lines = [lines[0].strip(), *(line[margin:].rstrip() for line in lines[1:])]
    if lines[-1].endswith('"'):
        lines[-1] += " "
    if len(lines) == 1:
        return [f'"""{lines[0]}"""']
    return [f'"""{lines[0]}', *lines[1:], '"""']


def clean(line: str) -> str:
    """Without what would end a docstring or be an escape in it."""
    return "".join(c if c.isprintable() else " " for c in line).replace("\\", "\\\\").replace('"""', "'''")


def function_doc(unit: Unit, f: Function, short: Callable[[Dim], Dim], packs: bool = False) -> str:
    """The spec's words and the shapes, with `..` where a caller may have any axes; of a derivative what it is of."""
    if f.backward_of:
        given = listing([unit.parameter_name(f, p) for p in f.parameters if p.name.startswith("d_")])
        made = [by(r) for r in f.results if r.name.startswith("d_")]
        return f"From {given} to the gradient{'s' * (len(made) > 1)} by {listing(made)}."
    if any(p.model in unit.module.optimizers for p in f.parameters):
        return f"One step of {f.name.rpartition('_step')[0]}."
    if f.saving:
        return f"As {f.saving.rpartition('.')[2]}, and what its gradient needs."
    sizes = shapes(unit, f, short)
    sizes = re.sub(rf"\b{f.pack}\b", "..", sizes) if packs else sizes
    return f"{f.doc.strip()}\n\n{sizes}".strip()


def listing(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def by(result: Result) -> str:
    return "the parameters" if result.name == "d_self" else result.name[2:]


def shapes(unit: Unit, f: Function, short: Callable[[Dim], Dim]) -> str:
    """`x [n, d], y int[n] -> [n]`, of tensors; nothing where there is none with axes."""
    given = [f"{p.name} {s}" for p in f.parameters if (s := shown(p, short)) and unit.role(f, p) == "value"]
    made = [shown(r, short) or "[]" for r in f.results]
    line = f"{', '.join(given)} -> {', '.join(made)}" if given and made else ""
    return "\n".join(wrap(line, 108))


def shown(part: Parameter | Result, short: Callable[[Dim], Dim]) -> str:
    return shape(part.values[0].type, short) if part.values and part.model is None else part.model or ""
