"""Parsing: the samples, the shape and the spans of the syntax, and what broken files are told.

Every file of tests/bad/syntax has one kind of mistake; the whole report stands beside it. Mutations of the
samples never raise, and whatever does not parse is reported.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leec.diagnostics import Diagnostic, Source
from leec.diagnostics.fixes import apply_fixes
from leec.diagnostics.render import render
from leec.syntax import nodes as n
from leec.syntax.build import ROWS
from leec.syntax.diagnose import mistakes
from leec.syntax.grammar import parse_tree, parser
from leec.syntax.parse import parse
from leec.syntax.tokens import scan

HERE = Path(__file__).parent
SAMPLES = sorted((HERE / "samples").rglob("*.lee"))
BAD = sorted((HERE / "bad" / "syntax").glob("*.lee"))


def read(text: str) -> n.Spec:
    """The syntax of a text without mistakes."""
    spec, found = parse(Source("x.lee", text))
    assert not found, "\n".join(map(render, found))
    return spec


def told(text: str) -> tuple[Diagnostic, ...]:
    return parse(Source("x.lee", text))[1]


def inside(value: object) -> Iterator[n.Node]:
    if isinstance(value, n.Node):
        yield value
        for name in value.__match_args__:
            yield from inside(getattr(value, name))
    elif isinstance(value, tuple):
        for part in value:
            yield from inside(part)


def brief(value: object) -> str:
    """A node as one line, so that a test can show text and syntax together."""
    match value:
        case n.Name() | n.Attribute() | n.Number() | n.String() | n.Bool():
            return value.span.text
        case n.Node():
            parts = (brief(getattr(value, name)) for name in value.__match_args__)
            return f"{type(value).__name__}({', '.join(parts)})"
        case tuple():
            return f"[{', '.join(map(brief, value))}]"
    return str(value)


# ---- what parses


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_parses_and_every_span_is_right(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    spec = read(text)
    assert spec.items and spec.doc
    for node in inside(spec.items):
        covered = node.span.text
        assert covered and covered == covered.strip(), node
        if isinstance(node, n.Name):
            assert covered == node.id
        if isinstance(
            node, n.Function | n.Model | n.Optimizer | n.Distribution | n.For | n.While | n.If | n.MemberIf | n.Example
        ):
            assert covered.endswith(":") and "\n" not in covered
    for item in spec.items:
        heads = [node.span for node in inside(item) if node.span.start < item.span.start]
        assert not heads, "nothing in an item stands before it"


def test_the_samples_use_every_node_but_those_shown_below() -> None:
    used = {type(node) for path in SAMPLES for node in inside(read(path.read_text(encoding="utf-8")).items)}
    every = {kind for kind in vars(n).values() if isinstance(kind, type) and issubclass(kind, n.Node)}
    assert every - used == {n.Node, n.Constant, n.Distribution, n.Evaluate, n.MemberIf, n.Ternary}


EXPRESSIONS = {
    "a + b * c": "Binary(+, a, Binary(*, b, c))",
    "(a + b) * c": "Binary(*, Binary(+, a, b), c)",
    "-x ** 2": "Unary(-, Binary(**, x, 2))",
    "2 ** -x": "Binary(**, 2, Unary(-, x))",
    "-3": "-3",
    "-inf": "Unary(-, inf)",
    "not a or b and c": "Logic(or, [Unary(not, a), Logic(and, [b, c])])",
    "a < b <= c": "Compare(a, [[<, b], [<=, c]])",
    "m is None": "Compare(m, [[is, Nothing()]])",
    "m is not None": "Compare(m, [[is not, Nothing()]])",
    "a if c else b if d else e": "Ternary(a, c, Ternary(b, d, e))",
    "1..n - 1": "Range(1, Binary(-, n, 1))",
    "f(x, k = 3)": "Call(f, [x], [[k, 3]])",
    "sum[k, j in n](x[k])": "Call(Subscript(sum, [k, IndexIn(j, n)]), [Subscript(x, [k])], [])",
    "x[1:, ::2, .., None]": "Subscript(x, [Slice(1, None, None), Slice(None, None, 2), Ellipsis(), Nothing()])",
    "int[]": "Subscript(int, [])",
    "[n, d, ..]": "List([n, d, Ellipsis()])",
    "()": "Tuple([])",
    "(a,)": "Tuple([a])",
    "(a = 1, b = [])": "Record([[a, 1], [b, List([])]], False)",
    "(x: [n, 64], y: int[n])": "Record([[x, List([n, 64])], [y, Subscript(int, [n])]], True)",
    "[f(x) for x, _ in xs if x]": "Comprehension(Call(f, [x], []), Tuple([x, _]), xs, x)",
    'a.b.c("t")': 'Call(a.b.c, ["t"], [])',
}


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expressions(text: str) -> None:
    constant = read(f"x = {text}\n").items[0]
    assert brief(constant.value) == EXPRESSIONS[text]
    if not isinstance(constant.value, n.Binary):  # whose parentheses belong to it
        assert constant.value.span.text == text


STATEMENTS = {
    "a, b = f()": "Assign(Tuple([a, b]), Call(f, [], []))",
    "x[i, :] = a, b": "Assign(Subscript(x, [i, Slice(None, None, None)]), Tuple([a, b]))",
    "x <- x - 1": "Store(x, Binary(-, x, 1))",
    "y[s*i] += e": "Augment(Subscript(y, [Binary(*, s, i)]), +, e)",
    "h: [n] = 0": "Declare(h, List([n]), 0)",
    "h: [n]": "Declare(h, List([n]), None)",
    "e: [n] ~ p": "Draw(e, List([n]), p)",
    "e ~ p": "Draw(e, None, p)",
    "return": "Return(None)",
    "return a, b": "Return(Tuple([a, b]))",
    "break": "Break()",
    "require n > 0": "Require(Compare(n, [[>, 0]]))",
    "minimize e over a, b.c with o": "Minimize(e, [a, b.c], [o], False)",
    "maximize -e over a with o, p": "Minimize(Unary(-, e), [a], [o, p], True)",
    "update a with o along -g": "Update(a, o, Unary(-, g))",
    "report a, b[k] = c": "Report([[a, None], [Subscript(b, [k]), c]])",
    "append (s, a) to path": "Append(Tuple([s, a]), path)",
    "print(x)": "Evaluate(Call(print, [x], []))",
    "report = 3": "Assign(report, 3)",
    "update(x, 1)": "Evaluate(Call(update, [x, 1], []))",
    "state = data[over]": "Assign(state, Subscript(data, [over]))",
}


@pytest.mark.parametrize("text", STATEMENTS)
def test_statements(text: str) -> None:
    body = read(f"train f():\n    {text}\n    return\n").items[0].body
    assert brief(body[0]) == STATEMENTS[text]
    assert body[0].span.text == text


DECLARATIONS = {
    "from a.b import c, d as e": "Import([a, b], [[c, None], [d, e]])",
    "limit: [] = 3": "Constant(limit, List([]), 3)",
    'data d = csv("x")': 'External(data, d, Call(csv, ["x"], []), None, [])',
    "env e = g():\n    o: [4]\n    a: int[] in 0..1": (
        "External(env, e, Call(g, [], []), None, "
        "[Field(o, List([4]), None), Field(a, Subscript(int, []), Range(0, 1))])"
    ),
    'def f(x: [n], k = 3) -> [n]:\n    """Doc.\n    More."""\n    return x': (
        "Function(def, f, [Param(x, List([n]), None), Param(k, None, 3)], List([n]), Doc.\nMore., [Return(x)])"
    ),
    "example e:\n    for i in n:\n        break\n    while a:\n        break": (
        "Example(e, None, [For(i, n, [Break()]), While(a, [Break()])])"
    ),
    "def f():\n    if a:\n        break\n    elif b:\n        break\n    else:\n        return": (
        "Function(def, f, [], None, None, [If([[a, [Break()]], [b, [Break()]]], [Return(None)])])"
    ),
    "model M(d):\n    param w: [d] = 0\n    state s: [] ~ p\n    l: [d] = 1\n    sub = A(d)\n    require d > 0": (
        "Model(M, [Param(d, None, None)], None, [ParamDecl(w, List([d]), 0, None), StateDecl(s, List([]), None, "
        "None, p), Local(l, List([d]), 1, None), Member(sub, Call(A, [d], [])), Require(Compare(d, [[>, 0]]))])"
    ),
    "model M:\n    if a:\n        b = 1\n    elif c:\n        b = 2\n    else:\n        b = 3": (
        "Model(M, [], None, [MemberIf(a, [Member(b, 1)], [MemberIf(c, [Member(b, 2)], [Member(b, 3)])])])"
    ),
    "optimizer O:\n    state m like θ = 0\n    def update(θ, g, t):\n        θ <- g": (
        "Optimizer(O, [], None, [StateDecl(m, None, θ, 0, None), Function(def, update, [Param(θ, None, None), "
        "Param(g, None, None), Param(t, None, None)], None, None, [Store(θ, g)])])"
    ),
    "distribution P(m: [..] = 0) -> [..]:\n    def sample(dims):\n        return m": (
        "Distribution(P, [Param(m, List([Ellipsis()]), 0)], List([Ellipsis()]), None, "
        "[Function(def, sample, [Param(dims, None, None)], None, None, [Return(m)])])"
    ),
}


@pytest.mark.parametrize("text", DECLARATIONS)
def test_declarations(text: str) -> None:
    assert brief(read(text).items[0]) == DECLARATIONS[text]


@pytest.mark.parametrize(
    ("text", "value"), [("10_000", 10_000), ("1e-3", 1e-3), ("2.50", 2.5), ("0", 0), ("9223372036854775807", 2**63 - 1)]
)
def test_numbers(text: str, value: float) -> None:
    found = read(f"x = {text}").items[0].value.value
    assert (found, type(found)) == (value, type(value))


def test_texts_have_four_escapes_and_docstrings_none() -> None:
    assert read(r'x = "a\n\t\"\\b"').items[0].value.value == 'a\n\t"\\b'
    assert read('"""\n    \\frac{a}{b}\n      deeper\n"""\n').doc == "\\frac{a}{b}\n  deeper"


def test_names_are_normalised_as_in_python() -> None:
    ｘ = read("ﬁt = 3").items[0].name  # the ligature of f and i
    assert (ｘ.id, ｘ.span.text) == ("fit", "ﬁt")


@pytest.mark.parametrize(
    "text", ["", "\n", "# remark", '"""Doc."""', "\ufeffx = 3", "x = 3\r\ny = 4\r\n", "x = 3  # end"]
)
def test_edges_of_a_file(text: str) -> None:
    spec = read(text)
    assert [item.span.text for item in spec.items] == [line for line in ("x = 3", "y = 4") if line in text]


def test_comments_and_blank_lines_may_stand_anywhere() -> None:
    read("# a\n\ndef f(  # b\n    x,  # c\n    # d\n\n    y\n):  # e\n# f\n\n    # g\n    return x  # h\n        # i\n")


def test_every_rule_of_the_grammar_has_a_row() -> None:
    made = {rule.alias or rule.options.template_source or rule.origin.name for rule in parser().rules}
    inlined = {rule.origin.name for rule in parser().rules if rule.options.expand1 or rule.origin.name.startswith("_")}
    assert made - inlined - set(ROWS) == set()
    assert set(ROWS) - made == set()


# ---- what does not


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_what_a_broken_file_is_told(path: Path, golden: Callable[[Path, str], None]) -> None:
    found = parse(Source(path.name, path.read_bytes().decode("utf-8")))[1]
    golden(path.with_suffix(".err"), "\n\n".join(map(render, found)) + "\n")
    assert len({(d.code, d.name) for d in found}) == 1, "a file shows one kind of mistake"


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_fixes_repair_what_they_are_offered_for(path: Path) -> None:
    source = Source(path.name, path.read_bytes().decode("utf-8"))
    found = parse(source)[1]
    offered = [d for d in found if d.fixes]
    text, count = apply_fixes(source, offered, unsafe=True)
    assert count == len(offered)
    left = parse(Source(path.name, text))[1]
    assert len(left) == len(found) - count, "\n\n".join(map(render, left))


def test_every_error_has_a_file() -> None:
    constructed = {
        line.split('"')[1]
        for module in ("lexical", "syntax")
        for line in (HERE.parent / "leec" / "diagnostics" / f"{module}.py").read_text(encoding="utf-8").splitlines()
        if '"LEE' in line
    }
    assert len(constructed) >= 40
    shown = {d.code for path in BAD for d in parse(Source(path.name, path.read_bytes().decode("utf-8")))[1]}
    assert shown == constructed


ADVICE = [
    pytest.param(text, entry["message"], id=f"{entry['message'][:40]}-{number}")
    for kind in ("word", "example")
    for entry in mistakes()[kind]
    for number, text in enumerate(entry["broken"])
]


@pytest.mark.parametrize(("text", "message"), ADVICE)
def test_every_known_mistake_gets_its_advice_and_nothing_else(text: str, message: str) -> None:
    assert [d.message for d in told(text)] == [message]


def test_independent_mistakes_are_all_told_once_and_in_order() -> None:
    text = """\
from std.nn import Linear

model Net(d):
    param w: [d]
    enc = Linear(d, d

    def forward(self, x: [n, d]):
        if x = 3:
            y = x @ w
        else if x == 4:
            y = 3
        for i in 3: y = 3
        z = x +
        return y z

def good(x):
    return x

import numpy as np
x = 3 = 4
train fit（）:
    minimize a with b
    return x²
"""
    found = told(text)
    assert [(d.span.line, d.name) for d in found] == [
        (4, "malformed"),
        (5, "unclosed-bracket"),
        (7, "self-parameter"),
        (8, "assignment-in-condition"),
        (10, "foreign-construct"),
        (12, "one-line-block"),
        (13, "missing-operand"),
        (14, "missing-separator"),
        (19, "foreign-construct"),
        (20, "malformed"),
        (21, "full-width-punctuation"),
        (22, "malformed"),
        (23, "not-a-name"),
    ]
    assert [item.name.id for item in parse(Source("x.lee", text))[0].items[1:]] == ["good"]


def test_good_items_of_a_broken_file_have_their_places() -> None:
    text = "x = ]\n\ndef f(a):\n    return a  # ²\n"
    spec, found = parse(Source("x.lee", text))
    assert [d.name for d in found] == ["unmatched-bracket"]
    assert [node.span.text for node in inside(spec.items)] == ["def f(a):", "f", "a", "a", "return a", "a"]


def test_depth_is_limited_and_length_is_not() -> None:
    assert read("x = " + " + ".join(["1"] * 150)).items
    assert read("x = [" + ", ".join(["1"] * 5000) + "]").items
    for deep in ("(" * 500 + "1" + ")" * 500, "-" * 500 + "x", "not " * 500 + "x", "x" + "[0]" * 500):
        assert read_or_deep(f"x = {deep}\n") in ([], ["nested-too-deeply"])
    assert read_or_deep("x = " + "-(" * 3000 + "x" + ")" * 3000) == ["nested-too-deeply"]


def read_or_deep(text: str) -> list[str]:
    return [d.name for d in told(text)]


# ---- mutations

LETTERS = [*"()[]{}:=,.+-*/<>~@#\"' \n\t0123456789abcxyzθ，（）：²^!&|;$\\?\r\x00\ufeff"]


def mutated(text: str, r: random.Random) -> str:
    """One character or token deleted, inserted, replaced or swapped."""
    if r.random() < 0.5:
        i = r.randrange(len(text))
        letter = r.choice(LETTERS)
        swapped = text[i + 1 : i + 2] + text[i : i + 1] + text[i + 2 :]
        return text[:i] + r.choice([text[i + 1 :], letter + text[i:], letter + text[i + 1 :], swapped])
    pieces = list(scan(text))
    piece, other = r.choice(pieces), r.choice(pieces)
    before, after = text[: piece.start], text[piece.end :]
    return before + r.choice([after, other.text + after, other.text + piece.text + after])


@cache
def sample_texts() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in SAMPLES]


def parses(text: str) -> bool:
    try:
        parse_tree(text + "\n")
    except Exception:  # of Lark, whose kinds are no concern here
        return False
    return True


@pytest.mark.parametrize("seeds", [range(500), pytest.param(range(500, 10_000), marks=pytest.mark.slow)], ids=len)
def test_mutations_never_raise_and_are_told_once(seeds: range) -> None:
    counts = {0: 0, 1: 0}
    for seed in seeds:
        r = random.Random(seed)
        text = mutated(r.choice(sample_texts()), r)
        found = told(text)
        assert [render(d) for d in found] or parses(text.removeprefix("\ufeff")), f"mutation {seed} is told nothing"
        counts[len(found)] = counts.get(len(found), 0) + 1
    assert counts[1] > 0.4 * len(seeds), "most mutations break something"
    assert sum(count for reports, count in counts.items() if reports > 1) < 0.01 * len(seeds), "one mistake, one report"


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.sampled_from([*LETTERS, *"def_if_else:_    _for i in _model _return _->".split("_"), '"""']), max_size=60
    )
)
def test_no_text_raises(parts: list[str]) -> None:
    text = "".join(parts)
    spec, found = parse(Source("x.lee", text))
    assert spec.items is not None and all(map(render, found))


# ---- time, and the kept parser


def test_the_parser_is_kept_between_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    make = parser.__wrapped__
    make()
    (kept,) = (path for path in tmp_path.rglob("*") if path.is_file())
    before = kept.stat().st_mtime_ns
    assert make().parse("x = 3\n").children and kept.stat().st_mtime_ns == before, "read, not made again"
    for damage in (b"", kept.read_bytes()[:1000], b"not a parser"):
        kept.write_bytes(damage)
        assert make().parse("x = 3\n").children
        assert kept.stat().st_size > 10_000, "a damaged one is replaced"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]


def test_a_home_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert parser.__wrapped__().parse("x = 3\n").children


@pytest.mark.slow
def test_reading_is_linear_in_the_length_of_a_file() -> None:
    body = sample_texts()[0].split('"""', 2)[2]

    def seconds(copies: int) -> float:
        start = time.perf_counter()
        parse(Source("x.lee", body * copies))
        return time.perf_counter() - start

    assert min(seconds(16) for _ in range(2)) < 6 * min(seconds(4) for _ in range(3))


@pytest.mark.slow  # a time: only on a machine with nothing else to do
def test_checking_the_largest_sample_is_fast() -> None:
    """0.4 s from process start is the promise; half of it is for the rest of `leec check`."""
    largest = max(SAMPLES, key=lambda path: path.stat().st_size)
    code = (
        "import time; start = time.perf_counter()\n"
        "from leec.syntax.parse import parse; from leec.diagnostics import Source\n"
        f"parse(Source('x', open({str(largest)!r}, encoding='utf-8').read()))\n"
        "print(time.perf_counter() - start)"
    )
    seconds = [float(subprocess.check_output([sys.executable, "-c", code], text=True)) for _ in range(3)]
    assert min(seconds) < 0.2
