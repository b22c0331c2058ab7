"""Steps as one writes them in PyTorch: a module, autograd, an optimizer of the library."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.workloads import LeNet, Mlp, Step, Tensors, Vae, Workload

Loss = Callable[..., torch.Tensor]
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


@singledispatch
def model_and_loss(workload: Workload) -> tuple[nn.Module, Loss]:
    """A module, and a function of it and a batch."""
    raise NotImplementedError(workload)


@model_and_loss.register
def _(workload: Mlp) -> tuple[nn.Module, Loss]:
    layers: list[nn.Module] = []
    for inputs, outputs in zip(workload.sizes[:-1], workload.sizes[1:], strict=True):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[workload.activation]()]
    criterion = F.cross_entropy if workload.loss == "cross_entropy" else F.mse_loss
    return nn.Sequential(*layers[:-1]), lambda net, x, y: criterion(net(x), y)


@model_and_loss.register
def _(workload: LeNet) -> tuple[nn.Module, Loss]:
    net = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    return net, lambda net, x, y: F.cross_entropy(net(x), y)


class VaeModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.read, self.mean_of, self.log_variance_of = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
        self.spread, self.write = nn.Linear(20, 400), nn.Linear(400, 784)

    def forward(self, x, noise):
        h = F.relu(self.read(x))
        mu, s = self.mean_of(h), self.log_variance_of(h)
        z = mu + torch.exp(0.5 * s) * noise
        return self.write(F.relu(self.spread(z))), mu, s


def elbo(net: nn.Module, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    image, mu, s = net(x, noise)
    seen = F.binary_cross_entropy_with_logits(image, x, reduction="sum")
    return (seen - 0.5 * torch.sum(1 + s - mu.pow(2) - s.exp())) / len(x)


@model_and_loss.register
def _(workload: Vae) -> tuple[nn.Module, Loss]:
    return VaeModule(), elbo


def load(net: nn.Module, tensors: Tensors) -> None:
    """Weights in declaration order; those of linear layers are the other way round here."""
    values = iter(tensors.values())
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                weight, bias = torch.as_tensor(next(values)), torch.as_tensor(next(values))
                module.weight.copy_(weight.T if isinstance(module, nn.Linear) else weight)
                module.bias.copy_(bias)


def eager(
    workload: Workload, tensors: Tensors, *batch: np.ndarray, fused: bool = False, compiled: bool = False
) -> Step:
    net, loss_of = model_and_loss(workload)
    load(net, tensors)
    inputs = [torch.as_tensor(a) for a in batch]
    optimizer = getattr(torch.optim, workload.optimizer)(net.parameters(), lr=workload.rate, fused=fused or None)
    compute = torch.compile(loss_of) if compiled else loss_of

    def step() -> float:
        optimizer.zero_grad()
        loss = compute(net, *inputs)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
