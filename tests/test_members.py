"""Assigning a member of a model (R8): a layer of another model takes its place, value and gradients as in torch."""

from __future__ import annotations

import pytest
import torch
from against import Draws, Spec, agree

TEXT = """
from std.nn import Linear

model Two(d, hidden):
    first = Linear(d, hidden)
    second = Linear(hidden, 2)

    def forward(x: [n, d]) -> [n, 2]:
        return second(tanh(first(x)))

def with_layer(source: Two, net: Two) -> Two:
    net.first = source.first
    return net

example changed:
    source = Two(3, 4)
    net = Two(3, 4)
    x: [5, 3] ~ normal(0, 1)
    return sum(with_layer(source, net)(x) ** 2) + sum(net(x))

example here:
    source = Two(3, 4)
    net = Two(3, 4)
    x: [5, 3] ~ normal(0, 1)
    net.second = source.second
    net.first.b = 0
    return sum(net(x) ** 2)
"""


def two(x, first, second):
    return torch.tanh(x @ first.w + first.b) @ second.w + second.b


def test_a_layer_of_another_model_takes_the_place_of_the_own_one() -> None:
    """Only in the model of the function: the caller's keeps its own."""
    Spec(TEXT).hold(
        "changed",
        lambda d: (two(d.x, d.source.first, d.net.second) ** 2).sum() + two(d.x, d.net.first, d.net.second).sum(),
    )


def test_a_tensor_may_be_assigned_within_a_member() -> None:
    spec = Spec(TEXT)
    d = Draws({k: torch.as_tensor(v) for k, v in spec.draws("here").items() if k == "x" or "." in k})
    hidden = torch.tanh(d.x @ d.net.first.w)
    for column in ("numpy", "torch"):
        given = spec.results("here", column=column)["value"]
        agree(column, given, ((hidden @ d.source.second.w + d.source.second.b) ** 2).sum())


@pytest.mark.parametrize(
    ("line", "told"),
    [("net.first = source.second", "LEE201"), ("net.first = x", "LEE604"), ("net.first.w = source.second.w", "LEE201")],
)
def test_what_does_not_fit_is_told(line: str, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        assert Spec(TEXT.replace("net.second = source.second", line)).module
