"""The functions that generated code uses and every generated module carries: their source text, and what they need.

Nothing is imported: the sources are files of leec, read as text, and cut at their top-level definitions.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

FILES = {
    "numpy": (
        "ops/support_numpy.py",
        "ops/support_windows_numpy.py",
        "ops/support_linalg_numpy.py",
        "runtime/draws_numpy.py",
        "emit/parts/numpy_models.py",
        "emit/parts/numpy_steps.py",
    ),
    "torch": (
        "ops/support_torch.py",
        "ops/support_adam_torch.py",
        "ops/support_linalg_torch.py",
        "runtime/draws_torch.py",
        "emit/parts/torch_models.py",
        "emit/parts/torch_steps.py",
    ),
}


CONSTANTS = ("FLOAT", "DEVICE")  # every generated module has its own


@dataclass(frozen=True)
class Definition:
    name: str
    text: str
    uses: frozenset[str]


@cache
def library(column: str) -> Mapping[str, Definition]:
    """The definitions of a back end by name, in the order of their files."""
    found: dict[str, Definition] = {}
    for name in FILES[column]:
        path = resources.files("leec").joinpath(name)
        if path.is_file():
            found |= {d.name: d for d in definitions(path.read_text(encoding="utf-8"))}
    return found


def definitions(source: str) -> Iterable[Definition]:
    """Functions, classes and constants of a file, with the names that each takes from elsewhere."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        names -= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        text = re.sub(r"  # noqa: \w+$", "", segment(lines, node), flags=re.MULTILINE)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield Definition(node.name, text, frozenset(names))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id not in CONSTANTS:
                yield Definition(target.id, text, frozenset(names))


def segment(lines: Sequence[str], node: ast.stmt) -> str:
    """The text of a top-level statement, decorators too, without a comment behind it."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
    *whole, last = lines[first - 1 : node.end_lineno]
    return "\n".join([*whole, last.encode()[: node.end_col_offset].decode()])


def needed(column: str, names: Iterable[str]) -> list[Definition]:
    """The definitions under these names and all that they use, in the order of the library."""
    here, wanted, queue = library(column), set(), list(names)
    while queue:
        name = queue.pop()
        if name in here and name not in wanted:
            wanted.add(name)
            queue += here[name].uses
    return [d for d in here.values() if d.name in wanted]
