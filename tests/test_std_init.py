"""Initial values: the spread and the bounds of a large draw are those of torch.nn.init."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from against import Spec
from torch.nn import init

CASES = {  # a distribution for a matrix of 300 outputs by 400 inputs: the same in torch
    "kaiming_uniform(400)": lambda w: init.kaiming_uniform_(w, nonlinearity="linear"),
    "kaiming_uniform(400, gain = sqrt(2))": lambda w: init.kaiming_uniform_(w, nonlinearity="relu"),
    "kaiming_normal(400)": lambda w: init.kaiming_normal_(w, nonlinearity="linear"),
    "kaiming_normal(400, gain = sqrt(2))": lambda w: init.kaiming_normal_(w, nonlinearity="relu"),
    "xavier_uniform(400, 300)": init.xavier_uniform_,
    "xavier_uniform(400, 300, gain = 5 / 3)": lambda w: init.xavier_uniform_(w, init.calculate_gain("tanh")),
    "xavier_normal(400, 300)": init.xavier_normal_,
    "lecun_normal(400)": lambda w: init.kaiming_normal_(w, nonlinearity="linear"),
    "orthogonal(gain = 2)": lambda w: init.orthogonal_(w, 2),
    "fan_in_uniform(400)": lambda w: init.kaiming_uniform_(w, a=5**0.5),
}
NAMES = ", ".join(sorted({text.split("(")[0] for text in CASES}))
SPEC = Spec(
    f"from std.init import {NAMES}\n"
    + "".join(f"\nexample e{i}:\n    w: [300, 400] ~ {text}\n    return sum(w)\n" for i, text in enumerate(CASES))
)


@pytest.mark.parametrize("number", range(len(CASES)), ids=list(CASES))
def test_spread(number: int) -> None:
    given = SPEC.draws(f"e{number}")["w"]
    wanted = list(CASES.values())[number](torch.empty(300, 400, dtype=torch.float64)).numpy()
    assert abs(given.mean()) < 5 * wanted.std() / np.sqrt(given.size)
    assert abs(given.std() / wanted.std() - 1) < 0.012
    assert abs(np.quantile(np.abs(given), 0.99) / np.quantile(np.abs(wanted), 0.99) - 1) < 0.03
    if "uniform" in list(CASES)[number]:
        assert abs(np.abs(given).max() / np.abs(wanted).max() - 1) < 1e-3
