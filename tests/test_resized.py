"""Models of other sizes than the one that they were computed from: as variables of a procedure, after a resumption, and
where the host cannot know what their constructor takes."""

from __future__ import annotations

import numpy as np
import pytest
from lectures import SPECS
from trainings import BACKENDS, loaded, quiet

from leec import driver
from leec.diagnostics import Source
from leec.diagnostics.render import render

PRUNING = (SPECS / "compression/neurons.lee").read_text(encoding="utf-8")
ARGUMENTS = {"rounds": 3, "hidden": 20, "epochs": 2}  # 2 epochs are 46 steps

DOUBLED = """from std.nn import Linear
from std.data import batches, diabetes
from std.optim import SGD
from std.losses import mse


model Net(d, hidden):
    up = Linear(d, hidden)
    down = Linear(hidden, 1)

    def forward(x: [n, d]) -> [n]:
        return down(tanh(up(x)))[:, 0]


def doubled(net: Net) -> Net:
    twin = Net(net.d, 2 * net.hidden)
    twin.up.w = concat(net.up.w, net.up.w, axis = 1)
    twin.up.b = concat(net.up.b, net.up.b, axis = 0)
    twin.down.w = concat(net.down.w, net.down.w, axis = 0) / 2
    twin.down.b = net.down.b
    return twin


train grow(steps = 3):
    data = diabetes(standardize = true)
    net = Net(10, 2)
    before = net
    for step in 1..steps:
        before = net
        net = doubled(net)
    x = data.train.x
    report hidden = net.hidden, was = before.hidden, away = max(abs(net(x) - before(x)))
    return net
"""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cut", [60, 95])
def test_a_run_resumes_with_the_sizes_that_it_had(backend: str, cut: int, tmp_path) -> None:
    program = loaded(PRUNING)
    train = program.backend(backend).prune
    with quiet("prune", backend) as run:
        whole = train(**ARGUMENTS, run=run)
    with quiet("prune", backend, folder=tmp_path / "run", rounds=1, max_steps=cut) as run:
        train(**ARGUMENTS, run=run)
    with quiet("prune", backend, folder=tmp_path / "run", rounds=1, resume=True) as run:
        resumed = train(**ARGUMENTS, run=run)
    assert resumed.hidden == 9
    for path, right in program.weights(whole).items():
        assert np.array_equal(program.weights(resumed)[path], right), path


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_grows_and_what_it_grew_from_stays(backend: str) -> None:
    with quiet("grow", backend) as run:
        loaded(DOUBLED).backend(backend).grow(run=run)
    (found,) = run.history
    assert (found["hidden"], found["was"]) == (16, 8) and found["away"] < 1e-12


def test_numbers_that_the_host_cannot_know_are_refused() -> None:
    """The object is made before the run that computes it, and `slope` would have to be given."""
    text = DOUBLED.replace("model Net(d, hidden):", "model Net(d, hidden, slope = 1.0):")
    found = [d for d in driver.elaborate(Source("spec.lee", text))[1] if d.severity == "error"]
    assert [d.code for d in found] == ["LEE699"], "\n".join(map(render, found))
