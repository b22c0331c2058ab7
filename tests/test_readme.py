"""README shows what there is: every excerpt stands in its file, and every command is one of leec's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXCERPTS = re.findall(r"<!-- (\S+) -->\n```\w*\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("path", "text"), EXCERPTS, ids=[p for p, _ in EXCERPTS])
def test_excerpt(path: str, text: str) -> None:
    assert text in (ROOT / path).read_text(encoding="utf-8")


def test_there_are_excerpts_of_a_spec_and_of_both_programs() -> None:
    assert {Path(p).name for p, _ in EXCERPTS} >= {"linear_regression.lee", "reference.py", "cuda.py"}


def test_commands_exist() -> None:
    from leec.cli.app import COMMANDS

    blocks = re.findall(r"^```\w*\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    shown = {c for block in blocks for c in re.findall(r"^leec (\w+)", block, re.MULTILINE)}
    assert shown and shown <= set(COMMANDS)


def test_paths_exist() -> None:
    for path in re.findall(r"`((?:leec|tests|specs|docs)/[\w./]+)`", README):
        assert (ROOT / path).exists(), path
