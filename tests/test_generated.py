"""`generated/` is the golden record: every spec compiles to just the bytes that are committed there.

`pytest --bless` writes them; a file that no spec stands behind fails.
"""

from __future__ import annotations

import ast
import sys
from contextlib import chdir
from functools import cache
from pathlib import Path

import pytest

import leec

ROOT = Path(__file__).parents[1]
GENERATED = ROOT / "generated"
SPECS = sorted((ROOT / "specs").rglob("*.lee"))


@cache
def compiled(path: Path) -> dict[str, str]:
    """Compiled where README's commands run, so that headers name the spec as those do."""
    with chdir(ROOT):
        return dict(leec.compile(path.relative_to(ROOT)).files)


def folder(path: Path) -> Path:
    return GENERATED / path.stem


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_files_are_current(path: Path, golden) -> None:
    for name, text in compiled(path).items():
        golden(folder(path) / name, text)


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_math_imports_the_library_alone(path: Path) -> None:
    allowed = {"reference.py": {*sys.stdlib_module_names, "numpy"}, "cuda.py": {*sys.stdlib_module_names, "torch"}}
    for name, text in compiled(path).items():
        found = {
            n.names[0].name if isinstance(n, ast.Import) else n.module
            for n in ast.parse(text).body
            if isinstance(n, ast.Import | ast.ImportFrom)
        }
        assert {f.partition(".")[0] for f in found} <= allowed[name]


def test_every_file_has_its_spec() -> None:
    files = {p.relative_to(GENERATED) for p in GENERATED.rglob("*.py")}
    assert files == {Path(p.stem) / name for p in SPECS for name in ("reference.py", "cuda.py")}


def test_names_of_specs_are_unique() -> None:
    assert len({p.stem for p in SPECS}) == len(SPECS)
