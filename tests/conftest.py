"""What every test may use: the golden record; what a run shares out and tells at its end.

`golden(path, text)` compares a text with a committed file, byte for byte. `pytest --bless` writes the
file instead; the reviewer reads the diff of the repository.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import pytest

SPREAD = (  # minutes each: not all in one process
    "test_mutants_are_refused", "test_training_reaches_its_result", "test_programs_of_the_lectures_agree",
    "test_many_programs_agree", "test_planted_bugs_are_found", "test_a_broken_row_is_seen_and_named",
)  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """By file, so that a spec is compiled once, but the longest tests by group of the lectures and by spec."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            test, _, case = nodeid.partition("[")
            return f"{test}[{case.partition(':')[0]}" if test.endswith(SPREAD) else super()._split_scope(nodeid)

    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many mutants the rows of the lectures refused, whichever process ran them."""
    ended = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    told = [dict(report.user_properties) for report in ended if report.user_properties]
    groups = sorted(tuple(properties["mutants"]) for properties in told if "mutants" in properties)
    if groups:
        terminalreporter.section("mutants refused, by group of the lectures")
        for group, refused, total in groups:
            terminalreporter.line(f"{group}: {refused} of {total}")
        refused, total = (sum(column) for column in list(zip(*groups))[1:])
        verified = next(properties["rows verified"] for properties in told if "rows verified" in properties)
        terminalreporter.line(f"mutants refused: {refused} of {total}; rows verified: {verified}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write golden files instead of comparing with them")


def difference(path: Path, expected: str, actual: str) -> str:
    """A unified diff from the committed text to the new one; line breaks and their absence stay visible."""
    lines = [text.splitlines(keepends=True) for text in (expected, actual)]
    marked = [line if line.endswith("\n") else line + "\n\\ no line break\n" for line in difflib.unified_diff(*lines)]
    body = "".join(marked[2:]) or "(the texts differ only in the form of their line breaks)\n"
    return f"{path} is not what was made now (accept with: pytest --bless)\n{body}"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """A function (path, text) that fails unless the file holds exactly the text."""
    bless = request.config.getoption("--bless")

    def check(path: Path, text: str) -> None:
        actual = text.encode()
        if bless:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(actual)
            return
        if not path.exists():
            pytest.fail(f"{path} does not exist yet (write it with: pytest --bless)", pytrace=False)
        expected = path.read_bytes()
        if actual != expected:
            pytest.fail(difference(path, expected.decode(errors="replace"), text), pytrace=False)

    return check
