"""The cost of compiling grows with the spec and not faster: held by counting the lines of Python that run.

Lines are counted by function, so that one whose work grows with the square of the spec is seen in a small one. Times
are `python -m benchmarks --part compiler`'s; which packages a start imports is held in test_house.py and test_cli.py.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType

import pytest

from benchmarks.compiler import (
    many_functions,
    many_layers,
    many_models,
    many_statements,
    nested_calls,
    nested_models,
)
from leec import driver
from leec.diagnostics import Source


def lines_run(task: Callable[[], object]) -> Counter[str]:
    """How many lines each function of the compiler ran, comprehensions with the function they stand in."""
    counts: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _: object):
        code = frame.f_code
        if "leec" not in code.co_filename:
            return None
        name = f"{code.co_filename.rpartition('leec/')[2]} {code.co_qualname.partition('.<')[0]}"

        def count(_frame: FrameType, event: str, _: object):
            counts[name] += event == "line"
            return count

        return count

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        task()
    finally:
        sys.settrace(before)
    return counts


def work(text: str) -> Counter[str]:
    def compiled() -> None:
        assert not driver.compile_spec(Source("growing.lee", text)).diagnostics

    return lines_run(compiled)


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """What is done once in a process: imports, tables of rules, parsed columns."""
    work(many_models(1) + "\n\n" + nested_calls(3))


def growing(small: Counter[str], large: Counter[str], factor: float) -> dict[str, tuple[int, int]]:
    """The functions that run more than `factor` times as many lines in the large spec; a trace of all does not count."""
    trace = large.total() / 100
    return {f: (small[f], n) for f, n in large.items() if n > trace and n > factor * small[f]}


@pytest.mark.parametrize(
    ("make", "size"), [(many_functions, 100), (many_statements, 20), (many_layers, 20), (many_models, 5)]
)
def test_twice_the_spec_is_twice_the_work_of_every_function(make: Callable[[int], str], size: int) -> None:
    small, large = work(make(size)), work(make(2 * size))
    assert growing(small, large, 2.4) == {}
    assert large.total() < 2.1 * small.total()


def test_elaborating_calls_within_each_other_is_linear() -> None:
    small, large = (lines_run(lambda n=n: driver.check(Source("growing.lee", nested_calls(n)))) for n in (20, 40))
    assert growing(small, large, 2.4) == {}


@pytest.mark.parametrize(("make", "size"), [(nested_calls, 20), (nested_models, 4)])
def test_what_is_nested_is_linear_but_for_lists(make: Callable[[int], str], size: int) -> None:
    """Each level lists what all below it save, or hold: some lines of Python an entry, a square of the depth."""
    small, large = work(make(size)), work(make(2 * size))
    assert growing(small, large, 4.4) == {}
    assert large.total() < 2.2 * small.total()


def test_a_square_is_noticed() -> None:
    import leec.emit.hostblocks as module

    small, large = (lines_run(lambda n=n: [module.called([]) for _ in range(n * n)]) for n in (20, 40))
    assert list(growing(small, large, 2.4)) == ["emit/hostblocks.py called"]


def test_calls_may_nest_hundreds_deep() -> None:
    """A spec may nest a thousand; every stage goes down a level by several calls of Python's own."""
    outputs = driver.compile_spec(Source("deep.lee", nested_calls(300)))
    assert "def f299_backward(" in outputs.files["reference.py"]
