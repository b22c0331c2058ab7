"""What specs with mistakes are told: every file in tests/bad/meaning, with the whole report beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from leec import driver
from leec.diagnostics import Source, kinds, names, shapes, structure
from leec.diagnostics.render import render

BAD = Path(__file__).parent / "bad" / "meaning"
FILES = sorted(BAD.glob("*.lee"))


def report(path: Path) -> str:
    """All diagnostics of a file as a terminal shows them."""
    found = driver.check(Source(path.name, path.read_text(encoding="utf-8")))
    return "\n\n".join(render(d) for d in found) + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_report(path: Path, golden) -> None:
    text = report(path)
    assert "error[" in text, f"{path.name} has no mistake"
    golden(path.with_suffix(".err"), text)


def test_every_error_of_these_families_has_a_file() -> None:
    told = {code for path in FILES for code in re.findall(r"LEE\d+", report(path))}
    declared = {c for m in (names, shapes, kinds, structure) for c in re.findall(r'"(LEE\d+)"', Path(m.__file__).read_text())}
    assert declared - told == set()
