"""The one form of a spec: what the samples look like, what is kept, and that nothing but blanks ever changes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leec.diagnostics import InternalError, LeeError, Source
from leec.syntax import format as formatting
from leec.syntax.format import content, format_source, verify_same
from leec.syntax.tokens import scan

HERE = Path(__file__).parent
SAMPLES = sorted((HERE / "samples").rglob("*.lee"))
TEXTS = [path.read_text(encoding="utf-8") for path in SAMPLES]


def formatted(text: str) -> str:
    return format_source(Source("x.lee", text))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_samples_have_the_form_but_for_lines_that_are_too_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    before, after = text.splitlines(), formatted(text).splitlines()
    assert [line for line in before if len(line) <= 120] == [line for line in after if line in before]
    assert max(map(len, after)) <= 120
    if max(map(len, before)) <= 120:
        assert after == before


LINES = {
    "x=a+b *c": "x = a + b * c",
    "x = 2*k+ 1": "x = 2*k + 1",
    "x = (a)* (b)": "x = (a) * (b)",
    "x = s*(h - 1)": "x = s*(h - 1)",
    "x = - y**- 2": "x = -y ** -2",
    "x = not(a)": "x = not (a)",
    "x=f (a , k=3) [0] . T": "x = f(a, k = 3)[0].T",
    "x = 1 .. n-1": "x = 1..n - 1",
    "x = a[i+1:, :n, : -1, a . b:, :, 1 : 2]": "x = a[i + 1 :, :n, :-1, a.b:, :, 1:2]",
    "x = a[ ::2, n//2 ::2, .. ,None ]": "x = a[::2, n // 2 :: 2, .., None]",
    "x: [ n ,..]=0": "x: [n, ..] = 0",
    "x:int [ n ]~p": "x: int[n] ~ p",
    "x<- x if a<-b else y": "x <- x if a < -b else y",
    "x = [ f(y)for y in ys if y ]": "x = [f(y) for y in ys if y]",
    "x = (a = 1,b=[ ])": "x = (a = 1, b = [])",
    "x = (a , )": "x = (a,)",
    "x[ i ]+=-1": "x[i] += -1",
    "a,b=f( )": "a, b = f()",
    "return[a]": "return [a]",
    "minimize  -e over a,b with o": "minimize -e over a, b with o",
    "update a with o along-g": "update a with o along -g",
    "report  a ,b [k]=c": "report a, b[k] = c",
    "append  (a,b)to c": "append (a, b) to c",
    'print ( "a  b" )': 'print("a  b")',
    "x = 3   # why": "x = 3  # why",
    "x = 3#why": "x = 3  #why",
}


@pytest.mark.parametrize("text", LINES)
def test_blanks_in_a_line(text: str) -> None:
    assert formatted(f"def f():\n    {text}\n") == f"def f():\n    {LINES[text]}\n"


def test_a_word_before_a_sign_stays_a_name() -> None:
    """`minimize -e` begins a statement; `minimize-e` is a difference, and stays one."""
    assert formatted("def f(minimize, e):\n    return minimize-e\n").splitlines()[1] == "    return minimize - e"


FILES = {
    "two blank lines around what has a body": (
        '"""Doc."""\nfrom a import b\nfrom c import d\n\n\n\nx = 3\ndef f():\n\n    return 3\nmodel M:\n    w = 3\n',
        '"""Doc."""\n\nfrom a import b\nfrom c import d\n\nx = 3\n\n\ndef f():\n    return 3\n\n\nmodel M:\n    w = 3\n',
    ),
    "one around methods, at most one elsewhere": (
        "model M:\n    a = 1\n\n\n    b = 2\n    def f():\n        x = 1\n\n\n        return x\n    c = 3\n",
        "model M:\n    a = 1\n\n    b = 2\n\n    def f():\n        x = 1\n\n        return x\n\n    c = 3\n",
    ),
    "four blanks a level, and docstrings move along": (
        'def f():\n  """A.\n\n    B.\n  """\n  if a:\n     return 3\n  return 4\n',
        'def f():\n    """A.\n\n      B.\n    """\n    if a:\n        return 3\n    return 4\n',
    ),
    "comments keep their place": (
        "# a\n\n# b\ndef f(): # c\n # d\n  x = 3 # e\n\n  # f\n  if x: # g\n    return x\n    # h\n  # i\n# j\n\ny = 3\n# k\n",
        "# a\n\n# b\ndef f():  # c\n    # d\n    x = 3  # e\n\n    # f\n    if x:  # g\n        return x\n        # h\n    # i\n\n\n"
        "# j\n\n\ny = 3\n# k\n",
    ),
    "comments in brackets break the line": (
        "x = f(a, # one\n  b,\n  # two\n  [c, d],\n  # three\n)\n",
        "x = f(\n    a,  # one\n    b,\n    # two\n    [c, d],\n    # three\n)\n",
    ),
    "a comment within an item": ("x = (a + # one\n  b)\n", "x = (\n    a +  # one\n        b\n)\n"),
    "a comma behind the last of several items breaks the line": ("x = f(a, b,)\n", "x = f(\n    a,\n    b,\n)\n"),
    "other line breaks in brackets go": ("x = f(\n  a,\n  b\n)\n", "x = f(a, b)\n"),
    "line ends stay those of the file": ("x = 3\r\n\r\n\r\n\r\ny=4\r\n", "x = 3\r\n\r\ny = 4\r\n"),
    "the mark at the beginning goes": ("\ufeffx=3", "x = 3\n"),
    "nothing stays nothing": ("\n\n", ""),
    "a comment stays a comment": ("# a  \n\n", "# a\n"),
}


@pytest.mark.parametrize("name", FILES)
def test_lines_of_a_file(name: str) -> None:
    text, wanted = FILES[name]
    assert formatted(text) == wanted
    assert formatted(wanted) == wanted


A = "a" * 40
LONG = {
    f"x = f({A}, {A}, {A})": f"x = f(\n    {A},\n    {A},\n    {A}\n)",
    f"x: [{A}] = f({A}) + g({A}, {A[:9]})": f"x: [{A}] = f({A}) + g(\n    {A},\n    {A[:9]}\n)",
    f"x = [f({A}, {A}, {A}), {A}]": f"x = [\n    f(\n        {A},\n        {A},\n        {A}\n    ),\n    {A}\n]",
    f"x = {A} + {A} + {A} + {A}": f"x = {A} + {A} + {A} + {A}",
}


@pytest.mark.parametrize("text", LONG)
def test_lines_that_are_too_long(text: str) -> None:
    assert formatted(text + "\n") == LONG[text] + "\n"


def test_a_long_head_breaks_its_parameters_first() -> None:
    assert formatted(f"def f({A}: [n], {A}b = 3) -> ({A}, [n], [n]):\n    return 3\n") == (
        f"def f(\n    {A}: [n],\n    {A}b = 3\n) -> ({A}, [n], [n]):\n    return 3\n"
    )


def test_a_file_with_mistakes_is_not_formatted() -> None:
    with pytest.raises(LeeError) as raised:
        formatted("x = (\ny = 1.\n")
    assert [d.name for d in raised.value.diagnostics] == ["unclosed-bracket", "malformed-number"]


def test_a_formatter_that_changes_tokens_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("x = 4\n", "x = 3\ny = 3\n", "x = 3  # more\n"):
        with pytest.raises(InternalError):
            verify_same("x = 3\n\n", other)
    monkeypatch.setattr(formatting, "lines_of", lambda words, indent: ["x = 3"])
    with pytest.raises(InternalError):
        formatted("x = 30\n")


# ---- only blanks change


def reblanked(text: str, r: random.Random) -> str:
    """The text with other indentation, blanks, blank lines and, in brackets, line breaks."""
    step, depth, parts = r.choice((1, 2, 3, 8)), 0, []
    pieces = list(scan(text))
    for i, piece in enumerate(pieces):
        beside = {other.text for other in (pieces[i - 1 : i] + pieces[i + 1 : i + 2])}
        at_margin = i == 0 or pieces[i - 1].kind == "newline"
        depth += (piece.text in ("(", "[")) - (piece.text in (")", "]"))
        if piece.kind == "blank" and depth == 0 and at_margin:
            parts.append(" " * (len(piece.text) // 4 * step))
        elif piece.kind == "blank" and "*" not in beside:
            parts.append(r.choice([" ", "   ", "\n\n  "] if depth else [" ", "    "]))
        elif piece.text == ",":
            parts.append(r.choice([",", " ,", ", "]))
        elif piece.kind == "newline" and depth == 0:
            parts.append(r.choice(["\n", "  \n"]))
        else:
            parts.append(piece.text)
    return "".join(parts)


def dense(text: str) -> list[str]:
    """The lines, without those in docstrings that have lost their indentation."""
    return ["".join(line.split()) if '"""' in text else line for line in text.splitlines() if line.strip()]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(TEXTS), st.integers(0, 2**32))
def test_the_form_does_not_depend_on_blanks(text: str, seed: int) -> None:
    changed = reblanked(text, random.Random(seed))
    assert content(changed + "\n") == content(text + "\n"), "the change itself is only of blanks"
    once = formatted(changed)
    assert dense(once) == dense(formatted(text))
    assert formatted(once) == once
