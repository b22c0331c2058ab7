"""What parses and is a mistake all the same: one function a kind of mistake, by class of node."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from leec.diagnostics import Diagnostic
from leec.syntax import nodes as n

DEEPEST = 200  # levels of nesting; what walks the tree later may recurse

CHECKS: dict[type, tuple[Callable[[n.Node], Iterator[Diagnostic]], ...]] = {}
