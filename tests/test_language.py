"""The reference of the language is true: its specs compile, run and agree, its misuses are told just what it says.

`pytest --bless` writes the reports of the misuses and the lists of the library.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import documents
import library
import pytest

import leec
from leec import driver
from leec.diagnostics import Source
from leec.elaborate.primitives import BUILTINS
from leec.syntax import nodes
from leec.syntax.parse import parse

NAME = "docs/language.md"
TEXT = documents.document(NAME)
MISUSED = [m[1] for m in documents.MISUSE.finditer(TEXT)]
GOOD = [f for f in documents.fences(TEXT) if f.kind == "lee" and f.text not in MISUSED]


@pytest.mark.parametrize("block", GOOD, ids=lambda f: f"line-{f.line}")
def test_an_example_compiles_and_both_programs_agree(block: documents.Fence) -> None:
    assert driver.check(Source("spec.lee", block.text)) == ()
    found = leec.verify(block.text, dtypes=("f64",), steps=2)
    assert found.sections and found.ok, [s for s in found.sections if not s.agrees]


def test_reports_and_lists_are_current(golden) -> None:
    golden(documents.ROOT / NAME, library.listed(documents.told(TEXT)))


def test_every_misuse_is_a_mistake() -> None:
    assert [spec for spec in MISUSED if "error[" not in documents.report(spec)] == []


# ---- the lists


def test_every_module_of_the_library_is_listed() -> None:
    modules = {f"std.{p.stem}" for p in (Path(leec.__file__).parent / "std").glob("*.lee")}
    assert {"operations", *modules} == {m[2] for m in library.MARKED.finditer(TEXT)} | {"std.env"}


def test_calls_name_the_parameters_that_they_read() -> None:
    """A function of the compiler is listed with the parameters that its Reader takes, in their order."""
    found = 0
    for file in (Path(leec.__file__).parent / "elaborate").glob("*.py"):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef) or not decorated(function):
                continue
            shown = library.CALLS.fullmatch(ast.get_docstring(function) or "")
            assert shown, f"{file.name}: the docstring of {function.name} begins with no call"
            calls = re.findall(r"`(\w+)\(([^`]*)\)`", shown[1])
            assert [name for name, _ in calls] == decorated(function)
            for read in readers(function):
                found += 1
                assert {tuple(re.sub(r" = [^,]+", "", p).split(", ")) for _, p in calls} == {read}
    assert found > 10


def decorated(function: ast.FunctionDef) -> list[str]:
    """The names in lee under which a function is entered."""
    calls = [d for d in function.decorator_list if isinstance(d, ast.Call) and getattr(d.func, "id", "") == "builtin"]
    return [a.value for d in calls for a in d.args if isinstance(a, ast.Constant)]


def readers(function: ast.FunctionDef) -> list[tuple[str, ...]]:
    """The parameters that a Reader of the function takes by their places."""
    calls = [n for n in ast.walk(function) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Reader"]
    return [ast.literal_eval(c.args[3]) for c in calls if not c.keywords]


def test_every_name_that_can_be_called_is_listed() -> None:
    names = set(re.findall(r"`(\w+)\(", library.operations()))
    assert names == set(BUILTINS)


# ---- what is shown


def test_every_construct_of_the_syntax_is_shown() -> None:
    kinds = (nodes.Expr, nodes.Stmt, nodes.Members, nodes.Item)
    every = {node for union in kinds for node in get_args(union)}
    shown = {
        type(node) for block in GOOD for item in parse(Source("spec.lee", block.text))[0].items for node in within(item)
    }
    assert {node.__name__ for node in every - shown} == set()


def within(node: object) -> Iterator[nodes.Node]:
    """A node and all that it is made of."""
    if isinstance(node, tuple):
        for part in node:
            yield from within(part)
    elif isinstance(node, nodes.Node):
        yield node
        for name in node.__match_args__:
            yield from within(getattr(node, name))
