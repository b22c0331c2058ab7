"""Specs on which all programs must agree, at every level: those in tests/agree, each for one thing that went wrong once.

The specs of the lectures are verified as users do it, which takes minutes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import leec
from leec.proof.report import Report

CASES = sorted(Path(__file__).parent.glob("agree/*.lee"))
SPECS = sorted((Path(__file__).parents[1] / "specs").rglob("*.lee"))


def failures(report: Report) -> list[tuple]:
    return [(s.name, s.dtype, s.failures, s.finding) for s in report.sections if not s.agrees]


@pytest.mark.parametrize("level", (0, 1, 2))
@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_programs_agree_at_every_level(path: Path, level: int) -> None:
    report = leec.verify(path, optimize=level, dtypes=("f64",), steps=4)
    assert report.sections and not failures(report)


@pytest.mark.slow
@pytest.mark.parametrize("plan", ({}, {"optimize": 2, "dtypes": ("f64",), "steps": 5}), ids=("as_users", "fastest"))
@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_programs_of_the_lectures_agree(path: Path, plan: dict) -> None:
    report = leec.verify(path, **plan)
    assert report.sections and not failures(report)
