"""A diagnostic as people and machines see it: alignment by cells, several labels, JSON and GitHub forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.cells import cell_len

from leec.diagnostics import Diagnostic, Edit, Fix, Label, Source, Span
from leec.diagnostics.json import dumps, envelope, github, lsp_range
from leec.diagnostics.render import render, render_concise

MLP = Source(
    "mlp.lee",
    "def f(x):\n    input x = flatten(img)\n\n    param W1: f32[512, H]\n\n\n    h = relu(x @ W1 + b1)\n    loss = sum(\n",
)


def span(source: Source, part: str, nth: int = 0) -> Span:
    """The nth place where the part stands in the source."""
    start = -1
    for _ in range(nth + 1):
        start = source.text.index(part, start + 1)
    return Span(source, start, start + len(part))


def mistake(primary: Label, *related: Label, **more) -> Diagnostic:
    return Diagnostic("LEE201", "shape-mismatch", more.pop("message", "dims differ"), primary, related, **more)


SHAPES = mistake(
    Label(span(MLP, "x @ W1"), "x: f32[B, 784]   W1: f32[512, H]"),
    Label(span(MLP, "x", 1), "784 comes from here"),
    Label(span(MLP, "512"), "512 is written here"),
    message="`x @ W1` needs the last dim of `x` to equal the first dim of `W1`",
    notes=("the batch is any size",),
    helps=("declare `W1: f32[784, H]`",),
    fixes=(Fix("make W1 f32[784, H]", (Edit(span(MLP, "512"), "784"),), safe=True),),
)


def test_the_whole_report() -> None:
    assert render(SHAPES) == """\
error[LEE201] shape-mismatch: `x @ W1` needs the last dim of `x` to equal the first dim of `W1`
  --> mlp.lee:7:14
 7 |     h = relu(x @ W1 + b1)
   |              ^^^^^^ x: f32[B, 784]   W1: f32[512, H]
 2 |     input x = flatten(img)
   |           - 784 comes from here
 4 |     param W1: f32[512, H]
   |                   --- 512 is written here
   = note: the batch is any size
   = help: declare `W1: f32[784, H]`
   = fix available: make W1 f32[784, H] (safe)   run: leec check --fix mlp.lee"""


def test_labels_of_one_line_share_its_excerpt_and_other_files_are_named() -> None:
    other = Source("std/nn.lee", "\n" * 99 + "def mul(a, b):\n")
    report = render(
        mistake(
            Label(span(MLP, "relu"), "one"), Label(span(MLP, "W1", 1), "two\nthree"), Label(span(other, "mul"), "four")
        )
    )
    assert report.splitlines()[1:] == [
        "   --> mlp.lee:7:9",
        "  7 |     h = relu(x @ W1 + b1)",
        "    |         ^^^^ one",
        "    |                  -- two",
        "    |                     three",
        "   ::: std/nn.lee:100:5",
        "100 | def mul(a, b):",
        "    |     --- four",
    ]


CELLS = [
    ("h = 損失（a，b）", "（", "wide parenthesis"),
    ("h = 損失（a，b）", "，", "wide comma"),
    ("損失 = x", "失", "ideograph"),
    ("e\u0301 = wrong", "wrong", "after a combining accent"),
    ("e\u0301 = 1", "\u0301", "the accent itself"),
    ("θ̂ = ∇L", "∇L", "mathematics"),
    ("\tx = wrong", "wrong", "after a tab"),
    ("# 👩‍💻\u202e x", "x", "after an emoji and a direction override"),
]


@pytest.mark.parametrize(("line", "part", "case"), CELLS, ids=[case for _, _, case in CELLS])
def test_carets_stand_under_what_they_mark(line: str, part: str, case: str) -> None:
    source = Source("a.lee", f"first\n{line}\nlast")
    shown, carets = render(mistake(Label(span(source, part)))).splitlines()[2:]
    marked = "e\u0301" if part == "\u0301" else part  # an accent is marked with its letter
    before = cell_len(shown[: shown.rindex(marked)])
    assert cell_len(carets) == before + cell_len(marked)
    assert carets == "   |" + " " * (before - 4) + "^" * cell_len(marked)


def test_wide_text_as_seen_on_a_terminal() -> None:
    source = Source("a.lee", "中文 = 損失（甲，b）\n")
    report = render(mistake(Label(span(source, "，"), "full-width"), Label(span(source, "損失"), "here")))
    assert report.splitlines()[2:] == [
        " 1 | 中文 = 損失（甲，b）",
        "   |                ^^ full-width",
        "   |        ---- here",
    ]


def test_a_long_stretch_is_cut_to_its_first_line() -> None:
    whole = render(mistake(Label(Span(MLP, 0, len(MLP.text)), "all of it")))
    assert whole.splitlines()[2:] == [" 1 | def f(x):", "   | ^^^^^^^^^ all of it"]


@pytest.mark.parametrize(("text", "line"), [("a = (\n", 2), ("a = (", 1), ("\n\n", 3), ("a\r\n", 2)])
def test_the_end_of_a_file_can_be_marked(text: str, line: int) -> None:
    source = Source("a.lee", text)
    report = render(mistake(Label(Span(source, len(text), len(text)), "more expected"))).splitlines()
    column = len(text) - text.rfind("\n") - 1
    assert report[1] == f"  --> a.lee:{line}:{column + 1}"
    assert report[-1] == "   | " + " " * column + "^ more expected"


def test_a_line_break_is_marked_behind_its_line() -> None:
    source = Source("a.lee", "ab\r\ncd\r\n")
    assert render(mistake(Label(Span(source, 3, 4)))).splitlines()[2:] == [" 1 | ab", "   |   ^"]


def test_a_source_without_text_is_only_named() -> None:
    report = render(mistake(Label(Span(Source("gone.lee", ""), 0, 0)), message="cannot be read"))
    assert report == "error[LEE201] shape-mismatch: cannot be read\n  --> gone.lee"


def test_nothing_of_a_spec_reaches_the_terminal_as_a_control_character() -> None:
    text = "x\x1b[2J\x07\u202e\u2028\x9b = [batch, time] [bold]y[/bold] :smile:"
    source = Source("a\x1b[0m.lee", text)
    for color in (False, True):
        report = render(mistake(Label(Span(source, 0, 1), text), message=text, notes=(text,), helps=(text,)), color)
        ours = report.replace("\x1b[", "").replace("\n", "") if color else report.replace("\n", "")
        assert ours.isprintable()
        assert report.count("[batch, time] [bold]y[/bold] :smile:") == 5
        assert report.count("<U+001B>[2J") == 5
        assert "\x1b[2J" not in report


def test_colors_change_nothing_but_colors() -> None:
    import re

    colored = render(SHAPES, color=True)
    assert "\x1b[1;31m" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render(SHAPES)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_width_wraps_sentences_and_cuts_lines_around_the_mark(width: int) -> None:
    source = Source("a.lee", "a = " + "損失 + " * 20 + "wrong" + " + b" * 40)
    long = mistake(Label(span(source, "wrong"), "this"), notes=("words " * 30 + "end",))
    report = render(long, width=width).splitlines()
    first = next(i for i, line in enumerate(report) if line.startswith(" 1 |"))
    excerpt, carets = report[first : first + 2]
    assert all(cell_len(line) <= width for line in report)
    assert excerpt[5:].startswith("...") and excerpt.endswith("...")
    at = carets.index("^^^^^ this")
    assert cell_len(excerpt[: excerpt.index("wrong")]) == at
    assert " ".join(" ".join(report).split()).endswith("words end")


def test_concise_form() -> None:
    assert render_concise(SHAPES) == (
        "mlp.lee:7:14: error[LEE201] shape-mismatch: "
        "`x @ W1` needs the last dim of `x` to equal the first dim of `W1`"
    )


def test_json_envelope(golden) -> None:
    warning = Diagnostic("LEE501", "unused", "never read", Label(span(MLP, "b1")), severity="warning")
    document = dumps(envelope([SHAPES, warning], result={"files": ["損失.py"]}))
    assert json.loads(document)["summary"] == {"errors": 1, "warnings": 1, "fixable": 1}
    golden(Path(__file__).parent / "golden" / "envelope.json", document + "\n")


def test_the_envelope_has_the_same_form_when_nothing_is_wrong() -> None:
    full, empty = envelope([SHAPES]), envelope([])
    assert list(full) == list(empty)
    assert empty["summary"] == {"errors": 0, "warnings": 0, "fixable": 0} and empty["diagnostics"] == []


def test_ranges_count_utf16_units_from_zero() -> None:
    source = Source("a.lee", "中\n𝒙é = y\n")
    assert lsp_range(span(source, "y")) == {"start": {"line": 1, "character": 6}, "end": {"line": 1, "character": 7}}
    assert lsp_range(Span(source, 0, len(source.text))) == {
        "start": {"line": 0, "character": 0},
        "end": {"line": 2, "character": 0},
    }


def test_json_survives_any_text() -> None:
    source = Source("a.lee", "x \ud800 = 1\n")
    broken = mistake(Label(span(source, "=")), message="near \ud800")
    document = dumps(envelope([broken]))
    assert json.loads(document.encode())["diagnostics"][0]["range"]["start"] == {"line": 0, "character": 4}


def test_github_annotation() -> None:
    assert github(SHAPES) == (
        "::error file=mlp.lee,line=7,endLine=7,col=14,endColumn=20,title=LEE201 shape-mismatch::"
        "`x @ W1` needs the last dim of `x` to equal the first dim of `W1`%0Ax: f32[B, 784]   W1: f32[512, H]"
        "%0Athe batch is any size%0Adeclare `W1: f32[784, H]`"
    )
    odd = Source("a,b:c%.lee", "x = (\n\n")
    assert github(mistake(Label(Span(odd, 4, 6)), severity="note")) == (
        "::notice file=a%2Cb%3Ac%25.lee,line=1,endLine=2,title=LEE201 shape-mismatch::dims differ"
    )
