"""The prelude's activations and arithmetic against torch: values and gradients, also at kinks and far out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Spec, agree

ACTIVATIONS = {
    "sigmoid(x)": torch.sigmoid,
    "log_sigmoid(x)": F.logsigmoid,
    "softplus(x)": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "hard_sigmoid(x)": lambda x: F.relu6(x + 3) / 6,  # the slope of F.hardsigmoid is 1/6 in float32
    "hard_tanh(x)": F.hardtanh,
    "hard_tanh(x, -0.5, 2)": lambda x: F.hardtanh(x, -0.5, 2.0),
    "relu(x)": F.relu,
    "relu6(3 * x)": lambda x: F.relu6(3 * x),
    "leaky_relu(x)": F.leaky_relu,
    "leaky_relu(x, 0.2)": lambda x: F.leaky_relu(x, 0.2),
    "elu(x)": F.elu,
    "elu(x, 1.5)": lambda x: F.elu(x, 1.5),
    "celu(x, 0.5)": lambda x: F.celu(x, 0.5),
    "selu(x)": F.selu,
    "silu(x)": F.silu,
    "hard_swish(x)": lambda x: x * F.relu6(x + 3) / 6,
    "mish(x)": F.mish,
    "softsign(x)": F.softsign,
    "gelu(x)": F.gelu,
    "gelu(x, approximate = true)": lambda x: F.gelu(x, approximate="tanh"),
    "tanh(x)": torch.tanh,
    "glu(x)": F.glu,
    "softmax(x, axis = 1)": lambda x: F.softmax(x, 1),
    "softmax(x, axis = 0)": lambda x: F.softmax(x, 0),
    "log_softmax(x, axis = -1)": lambda x: F.log_softmax(x, -1),
    "softmax(x, axis = 1, mask = c > -1)": None,
}

ARITHMETIC = {
    "clip(x, -0.5, 1)": lambda x: x.clamp(-0.5, 1),
    "square(x)": torch.square,
    "norm(x)": torch.linalg.norm,
    "norm(x, axis = 1)": lambda x: torch.linalg.norm(x, dim=1),
    "dot(x, x + 1)": lambda x: (x * (x + 1)).sum(),
    "var(x)": lambda x: x.var(correction=0),
    "var(x, axis = 0)": lambda x: x.var(0, correction=0),
    "var(x, axis = 1, ddof = 1, keepdims = true)": lambda x: x.var(1, keepdim=True),
    "std(x, ddof = 1)": lambda x: x.std(),
    "std(x, axis = 0)": lambda x: x.std(0, correction=0),
    "std(x, axis = (0, 1), ddof = 1)": lambda x: x.std((0, 1)),
    "spread(x)": lambda x: x.std(0, correction=0),
    "outer(x[0], x[1])": lambda x: torch.outer(x[0], x[1]),
    "diag(x[0])": lambda x: torch.diag(x[0]),
    "diagonal(x @ x.T)": lambda x: torch.diagonal(x @ x.T),
    "trace(x @ x.T)": lambda x: torch.trace(x @ x.T),
    "(x.T @ x) * eye(6)": lambda x: (x.T @ x) * torch.eye(6),
    "stop(x) * x": lambda x: x.detach() * x,
    "straight_through(sign(x), x) * x": lambda x: (torch.sign(x) + x - x.detach()) * x,
    "x * pi": lambda x: x * torch.pi,
}
CASES = {**ACTIVATIONS, **ARITHMETIC}


def example(name: str, text: str) -> str:
    return f"""
example {name}:
    x: [4, 6] ~ normal(0, 2)
    c: [4, 6] ~ normal(0, 1)
    y = {text}
    return sum(y * cos(y)) + sum(x * c)
"""


SPREAD = """
def spread(x: [n, d]) -> [d]:
    return std(x, over = n)
"""
SPEC = Spec(SPREAD + "".join(example(f"e{i}", text) for i, text in enumerate(CASES)))


@pytest.mark.parametrize("number", range(len(CASES)), ids=list(CASES))
def test_against_torch(number: int) -> None:
    function = list(CASES.values())[number]

    def reference(d):
        if function is None:  # the mask
            y = F.softmax(torch.where(d.c > -1, d.x, -torch.inf), 1)
        else:
            y = function(d.x)
        return (y * torch.cos(y)).sum() + (d.x * d.c).sum()

    SPEC.hold(f"e{number}", reference)


def test_reversed_gradient() -> None:
    spec = Spec("example e:\n    x: [3] ~ normal(0, 1)\n    return sum(reverse_gradient(x, 0.5) ** 2)\n")
    draws, results = spec.draws("e"), spec.results("e")
    agree("value", results["value"], (draws["x"] ** 2).sum())
    agree("gradient", results["d_x"], -0.5 * 2 * draws["x"])


DELICATE = {  # at a kink or where the plain formula overflows: value, slope
    "relu(x)": ([0.0], [0.0], [0.0]),
    "norm(x)": ([0.0, 0.0], 0.0, [0.0, 0.0]),
    "clip(x, -1, 1)": ([-1.0, 1.0], [-1.0, 1.0], [1.0, 1.0]),
    "sigmoid(x)": ([-1e4, 1e4], [0.0, 1.0], [0.0, 0.0]),
    "softplus(x)": ([-1e4, 1e4], [0.0, 1e4], [0.0, 1.0]),
    "log_sigmoid(x)": ([-1e4, 1e4], [-1e4, 0.0], [1.0, 0.0]),
    "softmax(x, axis = 0)": ([1e4, -1e4], [1.0, 0.0], [0.0, 0.0]),
    "log_softmax(x, axis = 0)": ([1e4, -1e4], [0.0, -2e4], [-1.0, 1.0]),
    "gelu(x)": ([-1e4, 1e4], [0.0, 1e4], [0.0, 1.0]),
    "silu(x)": ([-1e4, 1e4], [0.0, 1e4], [0.0, 1.0]),
    "softmax(x, axis = 0, mask = x < 0)": ([1.0, 2.0], [0.0, 0.0], [0.0, 0.0]),
}


@pytest.mark.parametrize("text", DELICATE)
@pytest.mark.parametrize("column", ["numpy", "torch"])
def test_delicate_points(text: str, column: str) -> None:
    from leec.proof.interpret import run

    point, value, slope = DELICATE[text]
    spec = Spec(f"def f(x: [n]):\n    y = {text}\n    return y, grad(sum(y), x)\n")
    found = list(run(spec.program(1), "f", {"x": np.array(point)}, column=column, float_dtype="f32").values())
    agree(f"{text} in {column}", found[0], value, 1e-6)
    agree(f"slope of {text} in {column}", found[1], slope, 1e-6)
