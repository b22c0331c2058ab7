"""Highlighting: every terminal has a class, Pygments and the parser agree on the samples, the editors' file is current."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pygments.token import Error, Name, String, Whitespace, string_to_tokentype

from leec.syntax.format import tokens_of
from leec.syntax.grammar import parser
from leec.syntax.highlight import CLASSES, LeeLexer, textmate_grammar, textmate_rules

HERE = Path(__file__).parent
SAMPLES = sorted((HERE / "samples").rglob("*.lee"))
CLASS_OF = {name: token for names, token, _ in CLASSES.values() for name in names.split()}


def test_every_terminal_has_a_class() -> None:
    listed = [name for names, _, _ in CLASSES.values() for name in names.split()]
    assert sorted(listed) == sorted(t.name for t in parser().terminals)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_pygments_sees_what_the_parser_sees(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = list(LeeLexer(stripnl=False).get_tokens_unprocessed(text))
    assert "".join(part for _, _, part in found) == text
    kinds = {start: kind for start, kind, part in found if part}
    assert Error not in kinds.values()
    for token in tokens_of(text + "\n"):
        if token.type not in ("_NL", "_INDENT", "_DEDENT"):
            kind, wanted = kinds[token.start_pos], string_to_tokentype(CLASS_OF[token.type])
            assert kind in wanted, f"line {token.line}: {token.type} {token}"


def test_a_word_of_the_language_may_be_a_name_elsewhere() -> None:
    text = "def f(over, with):\n    state = g(over = over, from = 1)\n    return data.to + state\n"
    found = list(LeeLexer().get_tokens_unprocessed(text))
    for word in ("over", "with", "state", "data", "to", "from"):
        assert {kind for _, kind, part in found if part == word} == {Name}
    assert [part for _, kind, part in found if kind is Name.Function] == ["f"]


def test_broken_text_is_highlighted_too() -> None:
    found = list(LeeLexer().get_tokens_unprocessed('x = "open\ny = ？ """doc\n'))
    assert {kind for _, kind, _ in found} >= {Name, Error} and String.Doc not in {kind for _, kind, _ in found}
    assert all(part.isspace() for _, kind, part in found if kind is Whitespace and part)


def test_the_grammar_for_editors_is_current(golden: Callable[[Path, str], None]) -> None:
    golden(HERE.parent / "editors" / "lee.tmLanguage.json", textmate_grammar())


def test_the_grammar_for_editors_has_readable_patterns() -> None:
    assert json.loads(textmate_grammar())["patterns"] == list(textmate_rules())
    covered = set()
    for rule in textmate_rules():
        for key in ("match", "begin", "end"):
            if key in rule:
                pattern = re.compile(rule[key])
                assert not pattern.match(""), "a pattern that takes nothing would never end"
        covered |= {str(entry["name"]) for entry in rule.get("captures", {}).values()} | {rule.get("name", "")}
    assert {f"{scope}.lee" for _, _, scope in CLASSES.values() if scope} <= covered
