"""The documents show what there is: excerpts stand in their files, commands and links lead somewhere, README's Python runs."""

from __future__ import annotations

from pathlib import Path

import documents
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from leec.cli.app import COMMANDS, app

NAMES = ("README.md", "docs/design.md", "docs/language.md", "docs/tutorial.md")
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
    assert documents.links(name) == []


def test_python_of_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["new", "mlp", "--lesson", "mlp"]).exit_code == 0
    (block,) = [f.text for f in documents.fences(TEXTS["README.md"]) if f.kind == "python" and "leec.load" in f.text]
    names = {"images": np.zeros((5, 64), np.float32)}
    exec(compile(block, "README.md", "exec"), names)
    assert names["labels"].shape == (5,)
    assert set(load_file("mlp.safetensors")) == set(names["net"].tensors())
