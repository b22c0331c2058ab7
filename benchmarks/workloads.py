"""What is measured: specs with their sizes, a batch for each, and the start that all implementations share.

A step is forward, loss, backward, update, and the loss as a number. Batches stay the same from step to step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

SPECS = Path(__file__).parent / "specs"
KEY = (7, 1)  # of the initial weights
Step = Callable[[], float]
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Workload:
    """`spec` is a file of specs/, `batch` the number of examples."""

    name: str
    spec: str
    batch: int
    optimizer: str = "Adam"
    rate: float = 1e-3

    def text(self) -> str:
        return (SPECS / f"{self.spec}.lee").read_text(encoding="utf-8")

    def network(self, module: ModuleType) -> Any:
        """The model, made by the class of a generated module."""
        raise NotImplementedError

    def arrays(self, random: np.random.Generator) -> tuple[np.ndarray, ...]:
        """A batch in the order of the fields of the data."""
        raise NotImplementedError


@dataclass(frozen=True)
class Mlp(Workload):
    """Linear layers with an activation between them; the last is followed by the loss."""

    sizes: tuple[int, ...] = ()
    activation: str = "relu"
    loss: str = "cross_entropy"

    def text(self) -> str:
        """The spec with these sizes and this activation in place of its own."""
        text = super().text()
        if self.spec != "mlp":
            return text
        for old, new in {
            "784, 256, 128, 10": ", ".join(map(str, self.sizes)),
            "[n, 784]": f"[n, {self.sizes[0]}]",
            "relu(": f"{self.activation}(",
        }.items():
            assert old in text
            text = text.replace(old, new)
        return text

    def network(self, module: ModuleType) -> Any:
        name = "Linear" if len(self.sizes) == 2 else "Net"
        return getattr(module, name)(*self.sizes, key=KEY)

    def arrays(self, random: np.random.Generator) -> tuple[np.ndarray, ...]:
        x = random.standard_normal((self.batch, self.sizes[0]), np.float32)
        if self.loss == "cross_entropy":
            return x, random.integers(0, self.sizes[-1], self.batch)
        return x, random.standard_normal((self.batch, self.sizes[-1]), np.float32)


@dataclass(frozen=True)
class LeNet(Workload):
    def network(self, module: ModuleType) -> Any:
        return module.LeNet(10, key=KEY)

    def arrays(self, random: np.random.Generator) -> tuple[np.ndarray, ...]:
        return random.standard_normal((self.batch, 1, 28, 28), np.float32), random.integers(0, 10, self.batch)


@dataclass(frozen=True)
class Vae(Workload):
    def network(self, module: ModuleType) -> Any:
        return module.VAE(784, 400, 20, key=KEY)

    def arrays(self, random: np.random.Generator) -> tuple[np.ndarray, ...]:
        x, noise = random.random((self.batch, 784), np.float32), random.standard_normal((self.batch, 20), np.float32)
        return x, noise


MLP64 = Mlp("mlp64", "mlp", 64, sizes=(784, 256, 128, 10))
WORKLOADS = (
    Mlp("linreg", "linreg", 64, "SGD", 1e-2, (13, 1), loss="mse"),
    Mlp("toy", "toy", 32, sizes=(2, 16, 1), activation="tanh", loss="mse"),
    MLP64,
    replace(MLP64, name="mlp512", batch=512),
    Vae("vae", "vae", 128),
    LeNet("lenet", "lenet", 64),
)
# The ratios must not hang on the numbers: other sizes, other activations, the same products and updates.
VARIANTS = (
    MLP64,
    replace(MLP64, name="wider", sizes=(800, 320, 96, 12)),
    replace(MLP64, name="narrower", sizes=(640, 250, 130, 7)),
    replace(MLP64, name="tanh", activation="tanh"),
    replace(MLP64, name="sigmoid", activation="sigmoid"),
)
