"""What specs with mistakes are told: every file in tests/bad/meaning, with the whole report beside it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from mutations import mutation

from leec import driver
from leec.diagnostics import Source, kinds, names, procedures, shapes, structure
from leec.diagnostics.foreign import INSTEAD, RENAMED
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
    declared = {
        c
        for m in (names, shapes, kinds, structure, procedures)
        for c in re.findall(r'"(LEE\d+)"', Path(m.__file__).read_text())
    }
    assert declared - told == set()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_fixes_mend(path: Path) -> None:
    """After an offered fix the mistake that offered it is gone."""
    text = path.read_text(encoding="utf-8")
    for diagnostic in driver.check(Source(path.name, text)):
        for fix in diagnostic.fixes:
            mended = text
            for edit in sorted(fix.edits, key=lambda e: -e.span.start):
                mended = mended[: edit.span.start] + edit.text + mended[edit.span.end :]
            left = {(d.code, d.message) for d in driver.check(Source(path.name, mended))}
            assert (diagnostic.code, diagnostic.message) not in left, fix.title


CHUNKS = [pytest.param(range(i, i + 100), id=str(i)) for i in range(0, 500, 100)]
CHUNKS += [pytest.param(range(i, i + 500), id=str(i), marks=pytest.mark.slow) for i in range(500, 10_000, 500)]


COUNTED: Counter[str] = Counter()  # codes by the number of mutated specs that are told them


@pytest.mark.parametrize("seeds", CHUNKS)
def test_mutations_are_told(seeds: range) -> None:
    """A mutated spec, elaborated to the end, is told what is wrong; nothing raises."""
    for seed in seeds:
        path, text = mutation(seed)

        def beside(name: str, folder: Path = path.parent) -> Source | None:
            file = folder / f"{name}.lee"
            return Source(file.name, file.read_text(encoding="utf-8")) if file.is_file() else None

        found = driver.check(Source(path.name, text), beside)
        COUNTED.update({diagnostic.code for diagnostic in found})
        for diagnostic in found:
            assert render(diagnostic), f"mutation {seed}"


def test_what_mutations_hit_most_has_a_whole_message_beside_a_file() -> None:
    """The twenty codes of which most mutated specs are told, by the count of the seeds that this process has run."""
    if not COUNTED:
        test_mutations_are_told(range(100))
    reports = [path.read_text(encoding="utf-8") for path in BAD.parent.rglob("*.err")]
    shown = {code for text in reports for code in re.findall(r"error\[(LEE\d+)\]", text)}
    often = [code for code, _ in COUNTED.most_common(20)]
    assert [code for code in often if code not in shown] == []
    assert len(shown) >= 40


def test_foreign_names_lead_to_names_that_exist() -> None:
    def reports(text: str) -> list[str]:
        return [d.code for d in driver.check(Source("foreign.lee", text))]

    for name, here in RENAMED.items():
        assert "LEE101" in reports(f"def f(x: [n]):\n    return {name}(x, 0, 1)\n"), name
        assert "LEE101" not in reports(f"def f(x: [n]):\n    return {here}(x, 0, 1)\n"), here
    for name in INSTEAD.keys() - {"item", "detach", "shape"}:
        assert reports(f"def f(x: [n]):\n    return {name}(x)\n") == ["LEE101"], name
