"""Layers against torch.nn.functional: the value and the gradients of the input and of every parameter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Spec, agree

LAYERS = {  # what is built and applied; the dims of x; the same with torch
    "Linear(5, 4)": ("3, 5", lambda x, p: F.linear(x, p.w.T, p.b)),
    "Linear(5, 4) ": ("2, 3, 5", lambda x, p: F.linear(x, p.w.T, p.b)),
    "Linear(5, 4, bias = false)": ("3, 5", lambda x, p: F.linear(x, p.w.T)),
    "MLP((5, 6, 7, 2))": ("3, 5", lambda x, p: mlp(x, p, 3)),
    "MLP((5, 2))": ("3, 5", lambda x, p: mlp(x, p, 1)),
    "PReLU(5)": ("3, 5, 4", lambda x, p: F.prelu(x, p.slope)),
    "Conv1d(2, 4)": ("3, 2, 9", lambda x, p: F.conv1d(x, p.kernel, p.bias)),
    "Conv1d(2, 4, k = 2, stride = 2, padding = 3, dilation = 2)": (
        "3, 2, 9",
        lambda x, p: F.conv1d(x, p.kernel, p.bias, 2, 3, 2),
    ),
    "Conv(2, 4)": ("3, 2, 7, 6", lambda x, p: F.conv2d(x, p.kernel, p.bias)),
    "Conv(2, 4, k = 2, stride = 2, padding = 1)": ("3, 2, 7, 6", lambda x, p: F.conv2d(x, p.kernel, p.bias, 2, 1)),
    "Conv(2, 4, k = 3, stride = 3, padding = 2, dilation = 2)": (
        "3, 2, 9, 8",
        lambda x, p: F.conv2d(x, p.kernel, p.bias, 3, 2, 2),
    ),
    "ConvTranspose(2, 4)": ("3, 2, 4, 5", lambda x, p: F.conv_transpose2d(x, p.kernel, p.bias)),
    "ConvTranspose(2, 4, k = 4, stride = 2, padding = 1)": (
        "3, 2, 4, 5",
        lambda x, p: F.conv_transpose2d(x, p.kernel, p.bias, 2, 1),
    ),
    "MaxPool(2)": ("3, 2, 7, 6", lambda x, p: F.max_pool2d(x, 2)),
    "MaxPool(3)": ("3, 2, 7, 6", lambda x, p: F.max_pool2d(x, 3)),
    "AvgPool(2)": ("3, 2, 7, 6", lambda x, p: F.avg_pool2d(x, 2)),
    "Flatten()": ("3, 2, 4", lambda x, p: x.flatten(1)),
    "BatchNorm(4)": ("3, 4, 5, 6", lambda x, p: F.batch_norm(x, None, None, p.gamma, p.beta, True)),
    "BatchNorm(4) ": ("7, 4", lambda x, p: F.batch_norm(x, None, None, p.gamma, p.beta, True)),
    "BatchNorm(4)  ": ("3, 4, 5", lambda x, p: F.batch_norm(x, None, None, p.gamma, p.beta, True)),
    "LayerNorm(6)": ("3, 2, 6", lambda x, p: F.layer_norm(x, (6,), p.gamma, p.beta)),
    "RMSNorm(6)": ("3, 2, 6", lambda x, p: F.rms_norm(x, (6,), p.gamma, 1e-6)),
    "GroupNorm(2, 4)": ("3, 4, 5, 6", lambda x, p: F.group_norm(x, 2, p.gamma, p.beta)),
    "InstanceNorm(4)": ("3, 4, 5, 6", lambda x, p: F.instance_norm(x)),
    "global_avg_pool": ("3, 4, 5, 6", lambda x, p: F.adaptive_avg_pool2d(x, 1).flatten(1)),
}
NAMES = sorted({text.split("(")[0] for text in LAYERS} | {"Embedding", "Bilinear", "Dropout"})
IMPORT = f"from std.nn import {', '.join(NAMES)}\n"


def mlp(x, p, count):
    for i in range(count):
        x = F.linear(x, p[f"layers.{i}.w"].T, p[f"layers.{i}.b"])
        x = F.relu(x) if i < count - 1 else x
    return x


def example(number: int, text: str, dims: str) -> str:
    apply = f"net = {text}\n    y = net(x)" if "(" in text else f"y = {text}(x)"
    return f"\nexample e{number}:\n    x: [{dims}] ~ normal(0, 1)\n    {apply}\n    return sum(y * cos(y))\n"


SPEC = Spec(IMPORT + "".join(example(i, text, dims) for i, (text, (dims, _)) in enumerate(LAYERS.items())))


@pytest.mark.parametrize("number", range(len(LAYERS)), ids=list(LAYERS))
def test_layer(number: int) -> None:
    _, function = list(LAYERS.values())[number]

    def reference(d):
        y = function(d.x, getattr(d, "net", None) if any(k.startswith("net.") for k in d) else None)
        return (y * torch.cos(y)).sum()

    SPEC.hold(f"e{number}", reference)


OTHERS = Spec(IMPORT + """
example embedding:
    index: int[3, 2] ~ randint(0, 5)
    net = Embedding(5, 4)
    c: [3, 2, 4] ~ normal(0, 1)
    return sum(c * net(index) ** 2)

example bilinear:
    x: [3, 5] ~ normal(0, 1)
    z: [3, 4] ~ normal(0, 1)
    net = Bilinear(5, 4, 2)
    return sum(net(x, z) ** 2)

example twice:
    a: [5, 3, 4] ~ normal(0, 1)
    b: [6, 3, 2] ~ normal(1, 2)
    c: [3] ~ normal(0, 1)
    net = BatchNorm(3, momentum = 0.3)
    y = sum(net(a) ** 3) + sum(net(b) ** 3)
    z = net(a, training = false)
    return y + sum(z ** 3) + sum(c * net.mean_) + sum(c * net.var_)

model Stack(count):
    norms = [BatchNorm(3, momentum = 0.3) for i in count]

    def forward(x: [n, 3]) -> [n, 3]:
        for norm in norms:
            x = 2 * norm(norm(x))
        return x

    def together(x: [n, 3]) -> [n, 3]:
        first, second = [norm(x) for norm in norms]
        return first + second

example stacked:
    net = Stack(2)
    x: [6, 3] ~ normal(1, 2)
    y = net(x) + net.together(x)
    return sum(y ** 3) + sum(net.norms[0].mean_) + sum(net.norms[1].var_)

example dropout:
    x: [200, 50] ~ normal(3, 1)
    drop = Dropout(0.3)
    y = drop(x)
    return sum(y * cos(y))

example dropped:
    x: [200, 50] ~ normal(3, 1)
    drop = Dropout(0.3)
    return drop(x), drop(x), drop(x, training = false)
""")


def test_embedding() -> None:
    OTHERS.hold("embedding", lambda d: (d.c * F.embedding(d.index, d["net.table"]) ** 2).sum())


def test_bilinear() -> None:
    OTHERS.hold("bilinear", lambda d: (F.bilinear(d.x, d.z, d.net.w, d.net.b) ** 2).sum())


def test_running_statistics() -> None:
    def reference(d):
        net = torch.nn.BatchNorm1d(3, momentum=0.3, affine=False, dtype=torch.float64)
        scale = lambda y: y * d.net.gamma[:, None] + d.net.beta[:, None]  # noqa: E731
        y = (scale(net(d.a)) ** 3).sum() + (scale(net(d.b)) ** 3).sum()
        z = scale(net.eval()(d.a))
        return y + (z**3).sum() + (d.c * net.running_mean).sum() + (d.c * net.running_var).sum()

    OTHERS.hold("twice", reference)


def test_state_of_layers_in_a_list() -> None:
    """Calls in a loop and in a comprehension move the running averages of the list's own layers."""

    def reference(d):
        norms = [torch.nn.BatchNorm1d(3, momentum=0.3, affine=False, dtype=torch.float64) for _ in range(2)]
        apply = lambda i, x: norms[i](x) * d.net[f"norms.{i}.gamma"] + d.net[f"norms.{i}.beta"]  # noqa: E731
        x = d.x
        for i in range(2):
            x = 2 * apply(i, apply(i, x))
        y = x + apply(0, d.x) + apply(1, d.x)
        return (y**3).sum() + norms[0].running_mean.sum() + norms[1].running_var.sum()

    OTHERS.hold("stacked", reference)


def test_dropout() -> None:
    """Kept entries are scaled by 1 / (1 - p), about p are dropped, every call drops others, and none out of training."""
    first, second, plain = OTHERS.results("dropped").values()
    x = OTHERS.draws("dropped")["x"]
    agree("out of training", plain, x)
    kept = first != 0
    agree("scaled", first[kept], x[kept] / 0.7)
    assert abs(kept.mean() - 0.7) < 4 * np.sqrt(0.21 / x.size)
    assert not np.array_equal(kept, second != 0)


def test_gradient_through_dropout() -> None:
    results = OTHERS.results("dropout")
    x = OTHERS.draws("dropout")["x"]
    kept = results["d_x"] != 0
    y = x / 0.7
    agree("slope", results["d_x"], np.where(kept, (np.cos(y) - y * np.sin(y)) / 0.7, 0))
    agree("value", results["value"], np.where(kept, y * np.cos(y), 0).sum())


BOUNDS = {  # what a layer begins with, as torch.nn: a bound of each parameter
    "Linear(50, 40)": {"w": 1 / np.sqrt(50), "b": 1 / np.sqrt(50)},
    "Conv(20, 30, k = 5)": {"kernel": 1 / np.sqrt(20 * 25), "bias": 1 / np.sqrt(20 * 25)},
    "ConvTranspose(20, 30, k = 5)": {"kernel": 1 / np.sqrt(30 * 25), "bias": 1 / np.sqrt(30 * 25)},
}


@pytest.mark.parametrize("text", BOUNDS)
def test_beginning(text: str) -> None:
    x = "x: [2, 50]" if text.startswith("Linear") else "x: [1, 20, 6, 6]"
    spec = Spec(f"{IMPORT}\nexample e:\n    {x} ~ normal(0, 1)\n    net = {text}\n    return sum(net(x))\n")
    draws = spec.draws("e")
    for path, bound in BOUNDS[text].items():
        w = draws[f"net.{path}"]
        assert np.abs(w).max() <= bound and np.abs(w).max() > 0.8 * bound
        assert abs(w.var() - bound**2 / 3) < 5 * bound**2 / np.sqrt(w.size) + 1e-12
