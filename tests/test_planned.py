"""NumPy at -O2: the same as -O0 on every spec, in arrays that live from call to call and that nobody else ever sees."""

from __future__ import annotations

import re
import tracemalloc
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import leec
from leec.proof.emitted import Emitted, result_names, to_array
from leec.proof.record import Recording, record
from leec.proof.standin import StandIn, takes_data
from leec.runtime.philox import site_key

ROOT = Path(__file__).parents[1]
SPECS = sorted((ROOT / "specs").rglob("*.lee"))
STEPS = 3
TOLERANCE = 1e-9  # relative to the largest entry: of float64, after sums in another order


@cache
def emitted(path: Path, level: int) -> Emitted:
    return Emitted(leec.load(path, level=level, dtype="f64"), "numpy")


def example(path: Path, level: int, name: str) -> dict[str, np.ndarray]:
    """The results of an example, gradients among them."""
    program = emitted(path, level)
    f = program.function(program.spec.module.examples[name])
    found = program.call(f, {p.name: site_key(0, f.name) for p in f.parameters})
    return {n: to_array(x) for n, x in zip(result_names(f), found, strict=True)}


def trained(path: Path, level: int, name: str) -> Recording | None:
    """Some steps of a procedure; None for one that needs more than data."""
    program = emitted(path, level)
    procedure = program.spec.module.procedures[name]
    given = {n: StandIn(0) for n in takes_data(procedure)}
    lost = [n for n, default in procedure.parameters if default is None and n not in given]
    return None if lost else record(program, name, STEPS, arguments=given)


def same(what: str, left: object, right: object, tolerance: float = TOLERANCE) -> None:
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    scale = np.abs(right[np.isfinite(right)]).max(initial=1e-6)
    np.testing.assert_allclose(left, right, rtol=0, atol=tolerance * scale, err_msg=what)


def declared(kind: str) -> list:
    modules = {path: leec.load(path).module for path in SPECS}
    return [pytest.param(p, n, id=f"{p.stem}.{n}") for p, m in modules.items() for n in getattr(m, kind)]


@pytest.mark.parametrize(("path", "name"), declared("examples"))
def test_examples_are_those_of_the_spec_as_written(path: Path, name: str) -> None:
    left, right = example(path, 2, name), example(path, 0, name)
    assert left.keys() == right.keys()
    for quantity, value in right.items():
        if np.isfinite(value).all():  # a formula as written may overflow where a stable one does not
            same(quantity, left[quantity], value)


@pytest.mark.parametrize(("path", "name"), declared("procedures"))
def test_steps_are_those_of_the_spec_as_written(path: Path, name: str) -> None:
    left, right = trained(path, 2, name), trained(path, 0, name)
    if left is None or right is None:
        pytest.skip("needs arguments")
    assert len(left.losses) == len(right.losses)
    for (_, a), (_, b) in zip(left.losses, right.losses, strict=True):
        same("loss", a, b)
    for a, b in zip(left.gradients, right.gradients, strict=True):
        same("gradient", a, b)


# ---- arrays that are planned

KEEPS = """
from std.data import batches
from std.nn import Linear
from std.optim import Adam


train fit(data: (x: [n, 3], y: [n, 2])):
    net = Linear(3, 2)
    opt = Adam(lr = 0.1)
    e, turned, slope = zeros((4, 2)), zeros((2, 4)), zeros((3, 2))
    for x, y in batches(data.train, 4):
        e = net(x) - y
        turned = e.T
        cost = mean(e * e)
        slope = grad(cost, net.w)
        minimize cost over net with opt
    return e, turned, slope
"""


def test_what_a_step_returns_is_the_callers_own() -> None:
    module = leec.load(KEEPS, level=2).numpy
    step = module.FitStep(module.Linear(3, 2), module.Adam(lr=0.1))
    random = np.random.default_rng(0)
    batches = [(random.standard_normal((4, 3), np.float32), random.standard_normal((4, 2), np.float32)) for _ in "ab"]
    kept = [x for x in step(*batches[0]) if np.ndim(x)]
    before = [x.copy() for x in kept]
    assert sorted(x.shape for x in kept) == [(2, 4), (3, 2), (4, 2)]
    again = [x for x in step(*batches[1]) if np.ndim(x)]
    for x, unchanged, new in zip(kept, before, again, strict=True):
        assert (x == unchanged).all() and (x != new).any()


MLP = (ROOT / "benchmarks" / "specs" / "mlp.lee").read_text(encoding="utf-8")


def step_of(text: str, *sizes: int) -> tuple:
    module = leec.load(text, level=2).numpy
    net = module.Net(*sizes)
    return module.FitStep(net, module.Adam()), net


def batch(rows: int, inputs: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(rows)
    return random.standard_normal((rows, inputs)).astype(np.float32), random.integers(0, classes, rows)


def test_a_step_makes_no_large_array_once_it_has_run() -> None:
    step, _ = step_of(MLP, 784, 256, 128, 10)
    x, y = batch(64, 784, 10)
    step(x, y)
    tracemalloc.start()
    step(x, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 256 * 4  # the first hidden layer


def test_batches_of_every_size_have_arrays_and_only_so_many_are_kept() -> None:
    step, _ = step_of(MLP, 784, 256, 128, 10)
    losses = {rows: step(*batch(rows, 784, 10)) for rows in range(1, step.PLANS + 4)}
    assert all(map(np.isfinite, losses.values())) and len(step.plans) == step.PLANS


def test_a_step_follows_a_model_whose_arrays_were_replaced() -> None:
    step, net = step_of(MLP, 784, 256, 128, 10)
    x, y = batch(8, 784, 10)
    before = step(x, y)
    net.lay_out()
    moved = net.parameters.copy()
    assert step(x, y) < before and (net.parameters != moved).any()


def test_groups_run_in_place() -> None:
    text = leec.compile(MLP, level=2, backend="numpy").files["reference.py"]
    first = text.partition("def step(")[2]
    group = re.search(
        r"# (\w+) = np.maximum\((\w+) \+ \w+, 0\)\n +np.add\(\2, \w+, out=(s\d)\)\n +\1 = np.maximum\(\3, 0, out=\3\)",
        first,
    )
    assert group, first


PULLED = """
from std.data import batches
from std.losses import mse
from std.nn import Linear


optimizer Pulled(lr):
    state m like θ = 0

    def update(θ, g, t):
        before = 0.5 * θ
        θ = θ - lr * g
        m = m + before


train fit(data: (x: [n, 3], y: [n, 2])):
    net = Linear(3, 2)
    opt = Pulled(lr = 0.1)
    for x, y in batches(data.train, 4):
        minimize mse(net(x), y) over net with opt
    return net
"""


@pytest.mark.parametrize("level", (1, 2))
def test_rules_go_block_by_block_and_read_parameters_before_they_move(level: int) -> None:
    optimizer = leec.load(PULLED, level=level).numpy.Pulled(lr=0.1)
    size = 2 * 16384 + 5  # several blocks, the last one short
    θ, g = np.arange(size, dtype=np.float32), np.ones(size, np.float32)
    optimizer.update(θ, g)
    np.testing.assert_array_equal(optimizer.m, np.arange(size, dtype=np.float32) / 2)
    np.testing.assert_array_equal(θ, np.arange(size, dtype=np.float32) - np.float32(0.1))
