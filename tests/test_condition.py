"""A procedure that blows rounding up agrees step by step, and a mistake in it is found all the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import leec
from leec.ops import TABLE
from leec.proof.condition import Nudge

CHAOTIC = """
from std.optim import SGD


model Chaos(d):
    param w: [d, d] ~ normal(0, 3)

    def forward(h: [d]):
        for t in 1..3:
            h = sin(h @ w)
        return sum(h * h), h


train fit(d = 8, steps = 20):
    net = Chaos(d)
    opt = SGD(lr = 1e-9)
    h: [d] ~ normal(0, 1)
    for step in 1..steps:
        error, h = net(h)
        minimize error over net with opt
    return net
"""


def test_what_one_rounding_moves_as_far_agrees_step_by_step() -> None:
    for section in leec.verify(CHAOTIC).sections:
        assert section.by_steps and {"loss", "d_net.w"} <= {row.quantity for row in section.failures}
        assert "rounded otherwise" in section.notes[-1]


@pytest.mark.parametrize("dtype", ["f64", "f32"])
def test_a_mistake_in_a_chaotic_step_is_no_rounding(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    rule = TABLE["sin"].vjp
    monkeypatch.setitem(
        TABLE, "sin", replace(TABLE["sin"], vjp=lambda b, g, out, x: (b.mul(*rule(b, g, out, x), 1.01),))
    )
    [section] = leec.verify(CHAOTIC, dtypes=(dtype,)).sections
    assert not section.agrees and (section.finding.kind, section.finding.name) == ("gradient rule", "sin")


def test_a_nudge_is_one_rounding_up_or_down_and_nothing_else() -> None:
    x = np.linspace(1, 2, 50, endpoint=False, dtype=np.float32)
    moved = (Nudge(0)(x) - x) / np.finfo(np.float32).eps
    assert set(np.round(moved)) == {-1, 1, 2, -2} or set(np.round(moved)) <= {-2, -1, 1, 2}
    assert Nudge(0)(x).dtype == np.float32 and Nudge(0)(np.float64(1.0)) in (1 + 2**-52, 1 - 2**-52)
    kept = {"t": 3, "n": np.arange(3), "zero": np.zeros(2)}
    assert all(np.array_equal(kept[path], x) for path, x in Nudge(1).all(kept).items())
