"""The tutorial as a new user does it: every file written, every command run, every output compared.

Numbers may differ in their last digits from one machine to another; words may not.
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import documents
import pytest
from click.testing import CliRunner

from leec.cli.app import app

FENCES = documents.fences(documents.document("docs/tutorial.md"))
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])")
NEAR = 0.05  # a share of what is shown; rounding errors of verify are below a tenth of it


def words(line: str) -> str:
    return " ".join(re.sub(r"─+", "─", NUMBER.sub("#", line)).split())


def alike(shown: str, line: str) -> bool:
    """The same words, and numbers that are near."""
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(line), strict=False)
    return words(shown) == words(line) and all(
        float(a) == pytest.approx(float(b), rel=NEAR, abs=NEAR / 10) for a, b in pairs
    )


def verify_output(shown: list[str], lines: list[str]) -> None:
    """Line by line; `...` stands for any lines."""
    if not shown or not lines:
        assert shown in ([], ["..."]) and (not lines or shown), f"{lines} is not shown, or {shown} is not printed"
    elif shown[0] == "...":
        found = next((i for i, line in enumerate(lines) if shown[1:] and alike(shown[1], line)), len(lines))
        verify_output(shown[1:], lines[found:])
    else:
        assert alike(shown[0], lines[0]), f"{shown[0]!r} is shown, {lines[0]!r} is printed"
        verify_output(shown[1:], lines[1:])


def run_console(text: str) -> None:
    """A session: lines with `$` are commands, the others what they print."""
    for entry in re.split(r"^\$ leec ", text, flags=re.MULTILINE)[1:]:
        command, *shown = entry.splitlines()
        verify_output(shown, CliRunner().invoke(app, command.split()).output.splitlines())


def change(path: Path, text: str) -> None:
    """A diff of one place: the lines with `-` are there once, and become those with `+`."""
    before, after = ("".join(re.findall(rf"^\{sign}(.*\n?)", text, re.MULTILINE)) for sign in "-+")
    old = path.read_text(encoding="utf-8")
    assert old.count(before) == 1, before
    path.write_text(old.replace(before, after), encoding="utf-8")


def run_python(text: str, shown: str) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "tutorial", "exec"), {})
    verify_output(shown.splitlines(), printed.getvalue().splitlines())


def test_the_tutorial_is_true_from_beginning_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for fence, following in zip(FENCES, [*FENCES[1:], None], strict=True):
        match fence.kind:
            case "console":
                run_console(fence.text)
            case "lee":
                Path(fence.file).write_text(fence.text, encoding="utf-8")
            case "diff":
                change(Path(fence.file), fence.text)
            case "python" if fence.file:
                assert fence.text in Path(fence.file).read_text(encoding="utf-8")
            case "python":
                run_python(fence.text, following.text)
            case kind:
                assert kind == "text"


def test_the_tutorial_has_every_kind_of_step() -> None:
    assert {f.kind for f in FENCES} == {"console", "lee", "diff", "python", "text"}
    assert documents.commands(documents.document("docs/tutorial.md")) >= {"new", "check", "compile", "verify", "train"}


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["loss 0.5"], ["loss 0.9"]),
        (["a", "..."], ["b"]),
        (["a"], ["a", "b"]),
        (["a", "..", "c"], ["a", "c"]),
        (["...", "c"], ["a", "b"]),
    ],
)
def test_other_output_is_refused(shown: list[str], printed: list[str]) -> None:
    with pytest.raises(AssertionError):
        verify_output(shown, printed)
