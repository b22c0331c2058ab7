"""The benchmarks measure the same computation everywhere, and what they print follows from what they measured."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from benchmarks import compiler, run, start, timing
from benchmarks.workloads import MLP64, VARIANTS, WORKLOADS, Workload
from leec import driver
from leec.diagnostics import Source

BENCHED = {w.name: w for w in (*WORKLOADS, *VARIANTS)}


@pytest.mark.parametrize("workload", BENCHED.values(), ids=BENCHED)
def test_all_implementations_have_the_same_losses(workload: Workload) -> None:
    steps = run.implementations(workload, level=1, compiled=False)
    assert {run.PLAIN, run.BASE, run.NUMPY, run.TORCH} <= steps.keys()
    run.require_equal_losses(workload, steps)


def test_another_loss_is_noticed() -> None:
    with pytest.raises(AssertionError, match="losses of wrong"):
        run.require_equal_losses(MLP64, {run.PLAIN: lambda: 1.0, "wrong": lambda: 1.001})


@pytest.mark.parametrize("make", [make for make, _ in compiler.GROWING.values()])
def test_growing_specs_have_no_mistake(make) -> None:
    small, large = make(10), make(20)
    assert len(small) < len(large)
    assert not driver.compile_spec(Source("growing.lee", large)).diagnostics


def test_ratios_are_of_medians_and_say_how_they_scatter() -> None:
    times = {"base": [2.0, 4.0, 6.0], "fast": [1.0, 1.0, 4.0]}
    found = timing.ratios(times, "base")
    assert found["base"] == (1.0, 1.0, 1.0)
    ratio, low, high = found["fast"]
    assert (ratio, low, high) == (4.0, 1.5, 4.0)


def test_steps_take_turns() -> None:
    calls: list[str] = []
    work = {name: lambda name=name: calls.append(name) or float(sum(range(2000))) for name in "ab"}
    times = timing.interleaved(work, rounds=3)
    assert {name: len(found) for name, found in times.items()} == {"a": 3, "b": 3}
    turns = "".join(c for c, before in zip(calls, ["", *calls], strict=False) if c != before)
    assert turns.endswith("ababab")


def test_importing_leec_brings_nothing_heavy() -> None:
    assert compiler.imported() == []


def test_a_generated_reference_is_at_its_first_step_at_once() -> None:
    found = start.first_step(runs=1)
    assert found["modules"] == ["__future__", "reference", "unicodedata"]  # and NumPy alone
    assert found["loss"] == pytest.approx(1.00233614)
    assert found["seconds"] < start.GOALS["seconds"]
    assert found["megabytes"] < start.GOALS["megabytes"]
