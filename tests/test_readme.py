"""README and the design show what there is: every excerpt stands in its file, every command is one of leec's."""

from __future__ import annotations

from pathlib import Path

import documents
import pytest

from leec.cli.app import COMMANDS

NAMES = ("README.md", "docs/design.md", "docs/language.md")
TEXTS = {name: documents.document(name) for name in NAMES}
EXCERPTS = [(path, text) for shown in TEXTS.values() for path, text in documents.excerpts(shown)]


@pytest.mark.parametrize(("path", "text"), EXCERPTS, ids=[p for p, _ in EXCERPTS])
def test_excerpt(path: str, text: str) -> None:
    assert text in documents.document(path)


def test_there_are_excerpts_of_a_spec_and_of_both_programs() -> None:
    assert {Path(p).name for p, _ in EXCERPTS} >= {"linear_regression.lee", "reference.py", "cuda.py"}


def test_commands_exist() -> None:
    assert documents.commands(TEXTS["README.md"])
    assert {c for text in TEXTS.values() for c in documents.commands(text)} <= set(COMMANDS)


@pytest.mark.parametrize("name", NAMES)
def test_paths_and_links_lead_somewhere(name: str) -> None:
    for path in documents.paths(TEXTS[name]):
        assert (documents.ROOT / path).exists(), path
    assert documents.links(name, TEXTS[name]) == []
