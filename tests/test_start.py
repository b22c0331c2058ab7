"""What makes the start of the compiler quick keeps its meaning: light records, a library that is read by the piece."""

from __future__ import annotations

import sys
from importlib import resources

import pytest

from leec import driver
from leec.diagnostics import Source, Span
from leec.elaborate.modules import std_source
from leec.immutable import Immutable
from leec.syntax import nodes
from leec.syntax.outline import Outline
from leec.syntax.parse import parse

LIBRARY = sorted(
    path.name.removesuffix(".lee") for path in resources.files("leec.std").iterdir() if path.name.endswith(".lee")
)


@pytest.mark.parametrize("module", LIBRARY)
def test_the_library_by_the_piece_is_the_library(module: str) -> None:
    source = std_source(f"std.{module}")
    spec, diagnostics = parse(source)
    outline = Outline(source)
    assert not diagnostics
    assert tuple(outline[name] for name in outline) == tuple(i for i in spec.items if not isinstance(i, nodes.Import))
    assert outline.imports == tuple(i for i in spec.items if isinstance(i, nodes.Import))


def test_an_outline_reads_what_is_asked_for_only() -> None:
    outline = Outline(
        Source(
            "a.lee",
            '"""Names at\nthe margin."""\n\ndata = 3\n\n\ndef f(x):\n    return ((\n\n\nloss g(x):\n    return x\n',
        )
    )
    assert list(outline) == ["data", "f", "g"]
    assert outline["data"].value.value == 3
    assert outline["g"].kind == "loss"


class Point(Immutable):
    x: int
    y: int = 0


class Marked(Point):
    color: str


class Named(Immutable, kw_only=True):
    name: str = ""


class Place(Named):
    at: Point


def test_records_are_made_by_position_and_by_name() -> None:
    assert Point(1) == Point(1, 0) == Point(x=1, y=0)
    assert Marked(1, 2, "red") == Marked(1, color="red", y=2)
    assert Place(Point(1), name="here") == Place(at=Point(1), name="here") != Place(Point(1))
    assert repr(Place(Point(1))) == "Place(at=Point(x=1, y=0), name='')"
    match Place(Point(3, 4)):
        case Place(Point(x, y), name=""):
            assert (x, y) == (3, 4)
        case _:
            pytest.fail("positions match fields")


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1, 2, 3), {}), ((1,), {"x": 2}), ((1,), {"z": 2}), ((), {"y": 1})]
)
def test_records_refuse_what_is_missing_or_too_much(values: tuple, named: dict) -> None:
    with pytest.raises(TypeError, match="Point has the fields x, y"):
        Point(*values, **named)


def test_records_are_values() -> None:
    point = Point(1, 2)
    assert len({point, Point(1, 2), Point(y=2, x=1), Point(2, 1)}) == 2
    assert point != Marked(1, 2, "red") and point != (1, 2)
    with pytest.raises(AttributeError, match="never changed"):
        point.x = 2
    with pytest.raises(AttributeError, match="never changed"):
        del point.x
    name = nodes.Name("a", span=Span(Source("a", "a"), 0, 1))
    assert hash(name) == hash(nodes.Name(span=name.span, id="a"))


def deep(calls: int) -> Source:
    heads = (f"def f{i}(x: [n]) -> [n]:\n    return tanh(f{i - 1}(x)) + {i}\n" for i in range(1, calls))
    return Source("deep.lee", "\n\n".join(["def f0(x: [n]) -> [n]:\n    return exp(x)\n", *heads]))


def test_calls_may_nest_deeply() -> None:
    before = sys.getrecursionlimit()
    text = "example e:\n    x: [3] ~ normal(0, 1)\n    return sum(f299(x))\n"
    module, diagnostics = driver.elaborate(Source("deep.lee", f"{text}\n\n{deep(300).text}"))
    assert not diagnostics
    assert len(module.functions.functions) == 301
    assert sys.getrecursionlimit() == before
