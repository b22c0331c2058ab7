"""Rows of the lectures: which declaration of `specs` stands for a system, and the check against its reference.

A check gets the compiled spec and fails where a value differs. Mutants are specs that a check must refuse: the
declaration replaced by the notes' literal form, a constant or a returned value scaled by 1.01. What a parameter or a
state is drawn from at first, and what sizes are required, is no part of what a system computes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from against import Draws, Spec, agree

from leec.diagnostics import Source
from leec.syntax import nodes
from leec.syntax.parse import parse

SPECS = Path(__file__).parents[1] / "specs"
PRINTED = "AsPrinted"
HEADS = "def|loss|metric|model|optimizer|train"


@dataclass(frozen=True)
class Row:
    """One system. `printed` says that the declaration has a variant with that suffix, checked by a row of its own.

    `probe` is text after the spec, for what only the check needs. `spare` are constants that cannot matter, each
    with the reason.
    """

    id: str
    file: str
    declaration: str
    check: Callable[[Spec], None]
    probe: str = ""
    spare: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        return (SPECS / self.file).read_text(encoding="utf-8") + self.probe

    @property
    def spec(self) -> Spec:
        return compiled(self.text, self.file.rpartition("/")[2])


@cache
def compiled(text: str, name: str) -> Spec:
    """One compilation serves all rows of a file."""
    return Spec(text, name)


def example(name: str, reference: Callable[[Draws], torch.Tensor], tolerance: float = 1e-10) -> Callable[[Spec], None]:
    """The check that an example has the value and the gradients of a reference."""
    return lambda spec: spec.hold(name, reference, tolerance)


def every(*checks: Callable[[Spec], None]) -> Callable[[Spec], None]:
    def check(spec: Spec) -> None:
        for one in checks:
            one(spec)

    return check


def begins(example: str, **values: float) -> Callable[[Spec], None]:
    """The check that parameters, `net_gamma` for `net.gamma`, begin with a number in every entry."""

    def check(spec: Spec) -> None:
        draws = spec.draws(example)
        for name, value in values.items():
            agree(name, draws[name.replace("_", ".", 1)], np.full_like(draws[name.replace("_", ".", 1)], value))

    return check


# ---- mutants


def mutants(row: Row) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What was changed, and texts of the spec with that change; a second one for where the first cannot matter.

    Held against whole numbers only, a whole number that is 1.01 times as large is no other: it is then one more.
    """
    text = row.text
    plain = row.declaration.removesuffix(PRINTED)
    if all(re.search(rf"\b{name}\(", text) for name in (plain, plain + PRINTED)):
        yield "replaced by its other form", (exchanged(text, plain),)
    spare = {constant for constant, _ in row.spare}
    for start, end, what in stretches(text, row.declaration):
        old = text[start:end]
        if old not in spare:
            new = [f"(1.01 * ({old}))"] + ([str(int(old) + 1)] if old.isdecimal() else [])
            yield what, tuple(text[:start] + n + text[end:] for n in new)


def exchanged(text: str, name: str) -> str:
    """The declaration and its variant under each other's names."""
    other = {name: f"{name}{PRINTED}", f"{name}{PRINTED}": name}
    return re.sub(rf"^({HEADS}) ({name}(?:{PRINTED})?)\(", lambda m: f"{m[1]} {other[m[2]]}(", text, flags=re.M)


def stretches(text: str, name: str) -> Iterator[tuple[int, int, str]]:
    """The constants of a declaration but 0, and what its functions compute last; what steps of a `train` made is no such."""
    spec, _ = parse(Source("spec.lee", text))
    item = next(i for i in spec.items if getattr(getattr(i, "name", None), "id", None) == name)
    for node in walk(item):
        if isinstance(node, nodes.Number) and node.value != 0:
            yield node.span.start, node.span.end, f"line {node.span.line}: {node.span.text} scaled"
        trained = getattr(item, "kind", "") == "train" and isinstance(getattr(node, "value", None), nodes.Name)
        if isinstance(node, nodes.Return) and not isinstance(node.value, (nodes.Tuple, type(None))) and not trained:
            yield node.value.span.start, node.value.span.end, f"line {node.span.line}: the returned value scaled"


def walk(node: object) -> Iterator[nodes.Node]:
    if isinstance(node, tuple):
        for item in node:
            yield from walk(item)
    elif isinstance(node, nodes.Node) and not isinstance(node, nodes.Require):
        yield node
        for field in node._fields:
            if not (isinstance(node, nodes.ParamDecl | nodes.StateDecl) and field == "prior"):
                yield from walk(getattr(node, field))
