"""The lectures as a whole: the record of what is verified, and whether each row's check would notice a change."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from against import Spec
from lectures import SPECS, Row, mutants

from leec.diagnostics import LeeError

GROUPS = sorted(path.stem for path in Path(__file__).parent.glob("test_lectures_*.py"))
SYSTEMS = 312  # in the inventory of the lectures
COVERAGE = tomllib.loads((SPECS / "coverage.toml").read_text(encoding="utf-8"))


def rows(group: str) -> tuple[Row, ...]:
    return importlib.import_module(group).ROWS


def survives(row: Row, texts: tuple[str, ...]) -> bool | None:
    """Does a mutant pass the row's check in all its forms? None where one is no program."""
    return next((found for found in (passes(row, text) for text in texts) if not found), True)


def passes(row: Row, text: str) -> bool | None:
    """Does the row's check accept a text? None where it is no program."""
    try:
        spec = Spec(text, row.file)
        assert spec.program(1)
    except (AssertionError, LeeError):
        return None
    try:
        row.check(spec)
    except Exception:  # also a check that cannot go on: without the mutation it can
        return False
    return True


def test_every_row_is_recorded() -> None:
    """coverage.toml names the declarations and the test of every row, and nothing else."""
    found: dict[str, dict] = {}
    for group in GROUPS:
        for row in rows(group):
            entry = found.setdefault(row.id, {"declarations": [], "test": f"tests/{group}.py"})
            declared = f"{row.file}:{row.declaration}"
            entry["declarations"] += [declared] if declared not in entry["declarations"] else []
    recorded = {i: {k: entry[k] for k in ("declarations", "test")} for i, entry in COVERAGE.items()}
    assert recorded == found
    assert {entry["status"] for entry in COVERAGE.values()} <= {"verified", "trained"}


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_mutants_are_refused(group: str, record_property: Callable[[str, object], None]) -> None:
    """A row's check fails for the notes' variant, and for a constant or a result that is 1.01 times as large."""
    survivors, refused, without = [], 0, []
    for row in rows(group):
        changed = list(mutants(row))
        outcomes = [survives(row, texts) for _, texts in changed]
        if False not in outcomes:  # counts and indices alone: they are one more
            outcomes += [passes(row, texts[-1]) and None for _, texts in changed if len(texts) > 1]
        survivors += [f"{row.id} {row.declaration}, {what}" for (what, _), passed in zip(changed, outcomes) if passed]
        refused += outcomes.count(False)
        without += [] if False in outcomes else [f"{row.id} {row.declaration}"]
    record_property("mutants", (group, refused, refused + len(survivors)))
    record_property("rows verified", f"{len(COVERAGE)} of {SYSTEMS}")
    assert not survivors, "\n".join(survivors)
    assert not without, f"nothing to change in {without}"
