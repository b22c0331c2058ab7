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
from itertools import repeat
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
    for node, what, forms in changes(text, row.declaration):
        start, end = node.span.start, node.span.end
        if text[start:end] not in spare:
            yield what, tuple(text[:start] + form + text[end:] for form in forms)


def exchanged(text: str, name: str) -> str:
    """The declaration and its variant under each other's names."""
    other = {name: f"{name}{PRINTED}", f"{name}{PRINTED}": name}
    return re.sub(rf"^({HEADS}) ({name}(?:{PRINTED})?)\(", lambda m: f"{m[1]} {other[m[2]]}(", text, flags=re.M)


def changes(text: str, name: str) -> Iterator[tuple[nodes.Node, str, tuple[str, ...]]]:
    """What is changed in a declaration, in words, and what stands there then.

    The constants but 0, and what its functions compute last; what steps of a `train` made is no such.
    """
    spec, _ = parse(Source("spec.lee", text))
    declared = next(i for i in spec.items if getattr(getattr(i, "name", None), "id", None) == name)
    trained = getattr(declared, "kind", "") == "train"
    promised = getattr(declared, "returns", None)
    for node in walk(declared):
        line = f"line {node.span.line}"
        match node:
            case nodes.Number(value=value) if value != 0:
                constant = node.span.text
                more = [str(int(constant) + 1)] if constant.isdecimal() else []
                yield node, f"{line}: {constant} scaled", (f"(1.01 * ({constant}))", *more)
            case nodes.Return(value=value) if value is not None:
                types = promised.items if isinstance(promised, nodes.Tuple) else repeat(promised)
                for item, kind in zip(value.items if isinstance(value, nodes.Tuple) else (value,), types):
                    if not (trained and isinstance(item, nodes.Name)):
                        how, form = other_value(kind)
                        yield item, f"{line}: the returned value {item.span.text} {how}", (form.format(item.span.text),)


def other_value(promised: nodes.Expr | None) -> tuple[str, str]:
    """What becomes of a returned value, in words and as text, by the type that a declaration promises."""
    text = promised.span.text if promised else ""
    if text.startswith("bool"):
        return "negated", "(not ({}))"
    return ("one more", "(1 + ({}))") if text.startswith("int") else ("scaled", "(1.01 * ({}))")


def walk(node: object) -> Iterator[nodes.Node]:
    if isinstance(node, tuple):
        for item in node:
            yield from walk(item)
    elif isinstance(node, nodes.Node) and not isinstance(node, nodes.Require):
        yield node
        for field in node._fields:
            if not (isinstance(node, nodes.ParamDecl | nodes.StateDecl) and field == "prior"):
                yield from walk(getattr(node, field))
