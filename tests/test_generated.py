"""`generated/` is the golden record: every spec compiles to just the bytes that are committed there.

Committed is -O1, and -O2 of three specs, in a folder below. `pytest --bless` writes them; a file that no spec stands
behind fails.
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
FASTEST = ("linear_regression", "digits", "optimizers")  # at -O2 too: a small step, convolutions, rules of all kinds
RECORDED = [pytest.param(p, 1, id=p.stem) for p in SPECS]
RECORDED += [pytest.param(p, 2, id=f"{p.stem}-O2") for p in SPECS if p.stem in FASTEST]


@cache
def compiled(path: Path, level: int) -> dict[str, str]:
    """Compiled where README's commands run, so that headers name the spec as those do."""
    with chdir(ROOT):
        return dict(leec.compile(path.relative_to(ROOT), level=level).files)


def folder(path: Path, level: int) -> Path:
    return GENERATED / path.stem if level == 1 else GENERATED / path.stem / f"O{level}"


@pytest.mark.parametrize(("path", "level"), RECORDED)
def test_files_are_current(path: Path, level: int, golden) -> None:
    for name, text in compiled(path, level).items():
        golden(folder(path, level) / name, text)


@pytest.mark.parametrize(("path", "level"), RECORDED)
def test_math_imports_the_library_alone(path: Path, level: int) -> None:
    allowed = {"reference.py": {*sys.stdlib_module_names, "numpy"}, "cuda.py": {*sys.stdlib_module_names, "torch"}}
    for name, text in compiled(path, level).items():
        found = {
            n.names[0].name if isinstance(n, ast.Import) else n.module
            for n in ast.parse(text).body
            if isinstance(n, ast.Import | ast.ImportFrom)
        }
        assert {f.partition(".")[0] for f in found} <= allowed[name]


def test_every_file_has_its_spec() -> None:
    files = set(GENERATED.rglob("*.py"))
    assert files == {folder(*case.values) / name for case in RECORDED for name in ("reference.py", "cuda.py")}


def test_names_of_specs_are_unique() -> None:
    assert len({p.stem for p in SPECS}) == len(SPECS)
