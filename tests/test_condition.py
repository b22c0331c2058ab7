"""A procedure that blows rounding up agrees step by step, and a mistake in it is found all the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import leec
from leec.ops import TABLE
from leec.proof.condition import Nudge, finite

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
    assert set(np.round(moved)) <= {-2, -1, 1, 2} and len(set(np.sign(moved))) == 2
    assert Nudge(0)(x).dtype == np.float32 and Nudge(0)(np.float64(1.0)) in (1 + 2**-52, 1 - 2**-52)
    assert all(np.array_equal(Nudge(1)(kept), kept) for kept in (3, np.arange(3), np.zeros(2), np.array([np.inf])))


HILBERT = """
example hilbert:
    x: [9] ~ normal(0, 1)
    h[i, j in 9] = x[i] * 0 + 1 / (i + j + 1)
    return solve(h, x)
"""


def test_the_bound_of_an_example_is_as_wide_as_rounding_makes_it() -> None:
    """The condition of this matrix is 5e11: float32 has no digit of the solution."""
    for section in leec.verify(HILBERT).sections:
        assert section.agrees and "where operations round otherwise" in section.notes[0]


def test_a_wrong_example_is_no_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    column = TABLE["div"].torch
    monkeypatch.setitem(TABLE, "div", replace(TABLE["div"], torch=f"({column}) * 1.001"))
    [section] = leec.verify(HILBERT.replace("solve(h, x)", "h @ x"), dtypes=("f32",)).sections
    assert not section.agrees


def test_what_rounding_makes_infinite_excuses_nothing() -> None:
    assert [finite(far) for far in (0.5, np.inf, np.nan)] == [0.5, 0.0, 0.0]
