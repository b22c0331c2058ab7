"""Optimizers step by step against torch.optim over a run of changing gradients; schedules against torch's."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import torch
from against import Spec, agree, torch_path

from leec.proof.interpret import run

STEPS = 12
OPTIM = Spec((resources.files("leec.std") / "optim.lee").read_text(encoding="utf-8"), "optim.lee")
RULES = {  # an optimizer with its hyperparameters: the same in torch
    "SGD(lr = 0.1)": lambda p: torch.optim.SGD(p, 0.1),
    "SGD(lr = 0.1, weight_decay = 0.3)": lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.3),
    "Momentum(lr = 0.1, decay = 0.8)": lambda p: torch.optim.SGD(p, 0.1, momentum=0.8),
    "Momentum(lr = 0.1, weight_decay = 0.3)": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.3),
    "Nesterov(lr = 0.1, weight_decay = 0.3)": lambda p: torch.optim.SGD(
        p, 0.1, momentum=0.9, weight_decay=0.3, nesterov=True
    ),
    "Adagrad(lr = 0.1, weight_decay = 0.2)": lambda p: torch.optim.Adagrad(p, 0.1, weight_decay=0.2),
    "Adadelta()": lambda p: torch.optim.Adadelta(p),
    "RMSProp()": lambda p: torch.optim.RMSprop(p),
    "RMSProp(lr = 0.1, alpha = 0.8, weight_decay = 0.2)": lambda p: torch.optim.RMSprop(
        p, 0.1, alpha=0.8, weight_decay=0.2
    ),
    "Adam()": lambda p: torch.optim.Adam(p),
    "Adam(lr = 0.1, beta1 = 0.7, beta2 = 0.9, eps = 0.01, weight_decay = 0.2)": lambda p: torch.optim.Adam(
        p, 0.1, (0.7, 0.9), 0.01, weight_decay=0.2
    ),
    "AdamW()": lambda p: torch.optim.AdamW(p),
    "AdamW(lr = 0.1, weight_decay = 0.2)": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.2),
    "AdamW(clip = 1.0, lr = 0.1)": lambda p: Clipped(p, 1.0, torch.optim.AdamW(p, 0.1)),
    "AMSGrad(lr = 0.1)": lambda p: torch.optim.Adam(p, 0.1, amsgrad=True),
    "Adamax(lr = 0.1)": lambda p: torch.optim.Adamax(p, 0.1),
}


class Clipped:
    """A step after torch's clipping of the norm."""

    def __init__(self, parameters, bound: float, inner):
        self.parameters, self.bound, self.inner = parameters, bound, inner

    def step(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters, self.bound)
        self.inner.step()


def gradients(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(STEPS, *shape))


def read(text: str) -> tuple[str, dict[str, float]]:
    """`Adam(lr = 0.1)` as a name and keywords."""
    name, _, rest = text.rstrip(")").partition("(")
    return name, {k.strip(): float(v) for k, _, v in (part.partition("=") for part in rest.split(",") if part)}


@pytest.mark.parametrize("column", ["numpy", "torch"])
@pytest.mark.parametrize("text", RULES)
def test_against_torch(text: str, column: str) -> None:
    name, hypers = read(text)
    start, slopes = np.linspace(-2, 2, 7), gradients((7,))
    for t, (a, b) in enumerate(
        zip(OPTIM.path(name, start, slopes, column, **hypers), torch_path(RULES[text], start, slopes), strict=True), 1
    ):
        agree(f"{text} at step {t}", a, b, 1e-12)


def test_lion() -> None:
    """The update of the paper, written out (Chen et al. 2023, algorithm 2)."""
    start, slopes = np.linspace(-2, 2, 7), gradients((7,))
    θ, m = start, np.zeros(7)
    for given, g in zip(OPTIM.path("Lion", start, slopes, lr=0.1, weight_decay=0.2), slopes, strict=True):
        θ = θ - 0.1 * (np.sign(0.9 * m + 0.1 * g) + 0.2 * θ)
        m = 0.99 * m + 0.01 * g
        agree("Lion", given, θ, 1e-12)


@pytest.mark.parametrize("shape", [(4, 3), (3, 5), (3,), ()])
def test_muon(shape: tuple[int, ...]) -> None:
    """Matrices as torch.optim.Muon, whose iteration is widened from bfloat16; other tensors by momentum."""
    start, slopes = np.random.default_rng(1).normal(size=shape), gradients(shape)
    given = OPTIM.path("Muon", start, slopes, lr=0.1, weight_decay=0.2)
    for a, b in zip(given, muon(start, slopes), strict=True):
        agree("Muon", a, b, 1e-12)
    if len(shape) == 2:
        library = torch_path(lambda p: torch.optim.Muon(p, lr=0.1, weight_decay=0.2, momentum=0.95), start, slopes)
        for a, b in zip(given, library, strict=True):
            agree("Muon of torch, in bfloat16", a, b, 0.05)


def muon(start: np.ndarray, slopes: np.ndarray) -> list[np.ndarray]:
    """The algorithm of torch.optim._muon in float64."""
    θ, m, path = start, np.zeros_like(start), []
    for g in slopes:
        m = m + (g - m) * (1 - 0.95)
        step = g + (m - g) * 0.95
        if θ.ndim == 2:
            tall = step.shape[0] > step.shape[1]
            x = step.T if tall else step
            x = x / max(np.linalg.norm(x), 1e-7)
            for _ in range(5):
                gram = x @ x.T
                x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
            step = np.sqrt(max(1, θ.shape[0] / θ.shape[1])) * (x.T if tall else x)
        θ = θ * (1 - 0.1 * 0.2) - 0.1 * step
        path.append(θ)
    return path


# ---- schedules


def with_torch(make, rate: float):
    """The rates of a scheduler of torch over 40 updates."""
    θ = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([θ], rate)
    scheduler, rates = make(optimizer), []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


LR = torch.optim.lr_scheduler
SCHEDULES = {  # a schedule at t: the same with torch
    "constant(0.3)": lambda: with_torch(lambda o: LR.ConstantLR(o, factor=1.0), 0.3),
    "step_decay(0.3, 7, 0.5)": lambda: with_torch(lambda o: LR.StepLR(o, 7, 0.5), 0.3),
    "exponential_decay(0.3, 0.9)": lambda: with_torch(lambda o: LR.ExponentialLR(o, 0.9), 0.3),
    "polynomial_decay(0.3, 25, 2.0)": lambda: with_torch(lambda o: LR.PolynomialLR(o, 25, 2.0), 0.3),
    "inverse_sqrt(0.3)": lambda: with_torch(lambda o: LR.LambdaLR(o, lambda e: (e + 1) ** -0.5), 0.3),
    "cosine(0.3, 39, 0.1)": lambda: with_torch(lambda o: LR.CosineAnnealingLR(o, 39, 0.1), 0.3),
    "warmup_linear(0.3, 10, 50)": lambda: with_torch(
        lambda o: LR.LambdaLR(o, lambda e: (e + 1) / 10 if e < 9 else (49 - e) / 40), 0.3
    ),
    "warmup_cosine(0.3, 10, 50)": lambda: with_torch(
        lambda o: LR.SequentialLR(o, [LR.LinearLR(o, 0.1, 1.0, 9), LR.CosineAnnealingLR(o, 40)], [9]), 0.3
    ),
    "noam(16, 12, 2.0)": lambda: with_torch(
        lambda o: LR.LambdaLR(o, lambda e: 16**-0.5 * min((e + 1) ** -0.5, (e + 1) * 12**-1.5)), 2.0
    ),
    "cyclic(0.1, 0.3, 8)": lambda: with_torch(lambda o: LR.CyclicLR(o, 0.1, 0.3, 8, cycle_momentum=False), 0.3),
}
NAMES = ", ".join(sorted({text.split("(")[0] for text in SCHEDULES}))
TRAIN = """
train use{number}(data: (x: [n], y: [n])):
    net = Mean()
    opt = SGD(lr = {schedule})
    for x, y in batches(data.train, 8):
        minimize mse(net(x), y) over net with opt
    return net
"""
RATES = Spec(
    f"from std.schedules import {NAMES}\nfrom std.optim import SGD\nfrom std.losses import mse\nfrom std.data import batches\n"
    + "\n\nmodel Mean():\n    param m: [] = 0\n\n    def forward(x: [n]) -> [n]:\n        return m + 0 * x\n"
    + "".join(TRAIN.format(number=i, schedule=text) for i, text in enumerate(SCHEDULES))
)


@pytest.mark.parametrize("text", SCHEDULES)
def test_schedule(text: str) -> None:
    name, _, rest = text.rstrip(")").partition("(")
    function = RATES.module.functions.functions[name]
    numbers = dict(zip((p.name for p in function.parameters), (float(v) for v in rest.split(","))))
    given = [next(iter(run(RATES.module.functions, name, {**numbers, "t": t}).values())) for t in range(1, 41)]
    agree(text, given, SCHEDULES[text](), 1e-12)
