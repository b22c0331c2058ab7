"""Lists, places, `while` and environments of a `train`, as they run: values are values, draws differ, runs resume."""

from __future__ import annotations

import numpy as np
import pytest
from lectures import SPECS
from trainings import BACKENDS, loaded, quiet

from leec.runtime.backend import backend
from leec.runtime.environments import Environment
from leec.runtime.faults import RuntimeFault
from leec.runtime.records import Record, stack

pytest.importorskip("gymnasium")
NUMPY = backend("numpy", "f64")
CARTPOLE = {"observation": ("float", (4,)), "action": ("int", (), 0, 1)}

VALUES = """
train places(n = 3):
    memory: [n, 2] = 0
    twin: [n, 2] = 0
    before = memory
    x: [2] ~ normal(0, 1)
    memory[1] = x
    x = x * 0
    report kept = sum(abs(before)), twin = sum(abs(twin)), stored = sum(abs(memory)), zero = sum(x)

train lists(n = 4):
    path = []
    i = 0
    while i < n:
        u: [] ~ uniform(0, 1)
        append (number = i, draw = u) to path
        i = i + 1
    shorter = path
    append (number = 9, draw = 0.5) to path
    b = stack(path)
    total = 0
    for p in shorter:
        total = total + p.number
    squares = stack([p.draw ** 2 for p in path])
    report length = len(path), other = len(shorter), last = path[4].number, total, spread = std(b.draw), squares = sum(squares)

train best(steps = 5):
    lowest = 9
    for step in 1..steps:
        if step % 2 == 0:
            lowest = lowest - 0.5
    report lowest
"""


def reported(text: str, procedure: str, backend: str, **arguments: object) -> dict[str, float]:
    with quiet(procedure, backend) as run:
        getattr(loaded(text).backend(backend), procedure)(**arguments, run=run)
    return run.reported


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_that_are_stored_into_are_their_own(backend: str) -> None:
    found = reported(VALUES, "places", backend)
    assert found["kept"] == found["twin"] == found["zero"] == 0 and found["stored"] > 0.1


@pytest.mark.parametrize("backend", BACKENDS)
def test_lists_are_values_and_rounds_draw_different_numbers(backend: str) -> None:
    found = reported(VALUES, "lists", backend)
    assert (found["length"], found["other"], found["last"], found["total"]) == (5, 4, 9, 6)
    assert found["spread"] > 0.05 and found["squares"] > 0.25


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_number_that_becomes_a_fraction_was_one(backend: str) -> None:
    assert reported(VALUES, "best", backend) == {"lowest": 8.0}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_resumes_in_the_middle_of_an_episode(backend: str, tmp_path) -> None:
    program = loaded((SPECS / "reinforcement/dqn.lee").read_text(encoding="utf-8"))
    train, arguments = program.backend(backend).dqn, {"steps": 90, "capacity": 32, "batch": 8, "warmup": 10}
    with quiet("dqn", backend) as run:
        whole = train(**arguments, run=run)
    with quiet("dqn", backend, folder=tmp_path / "run", rounds=7, max_steps=40) as run:
        train(**arguments, run=run)
    with quiet("dqn", backend, folder=tmp_path / "run", rounds=7, resume=True) as run:
        resumed = train(**arguments, run=run)
    for path, right in program.weights(whole).items():
        assert np.array_equal(program.weights(resumed)[path], right), path


# ---- what can go wrong


@pytest.mark.parametrize(
    ("name", "declared", "code"),
    [
        ("NoSuchWorld-v1", CARTPOLE, "LEE730"),
        ("CartPole-v1", {**CARTPOLE, "observation": ("float", (5,))}, "LEE731"),
        ("CartPole-v1", {**CARTPOLE, "action": ("float", ())}, "LEE731"),
        ("CartPole-v1", {**CARTPOLE, "action": ("int", (), 0, 2)}, "LEE731"),
    ],
)
def test_environments_are_held_against_their_declaration(name: str, declared: dict, code: str) -> None:
    with pytest.raises(RuntimeFault, match=code):
        Environment(name, NUMPY, **declared)


def test_an_action_outside_of_the_range_is_refused() -> None:
    world = Environment("CartPole-v1", NUMPY, **CARTPOLE)
    world.reset((1, 2))
    with pytest.raises(RuntimeFault, match=r"LEE732 .* takes an action in 0\.\.1, not 2"):
        world.step(np.int64(2))


def test_what_cannot_be_stacked_is_told() -> None:
    assert stack([Record(a=1, b=np.zeros(2)), Record(a=2, b=np.ones(2))], NUMPY).b.tolist() == [[0, 0], [1, 1]]
    with pytest.raises(RuntimeFault, match="LEE733"):
        stack([], NUMPY)
    with pytest.raises(RuntimeFault, match=r"LEE734 .* element 1 is \[3\] and element 0 is \[2\]"):
        stack([np.zeros(2), np.zeros(3)], NUMPY)
