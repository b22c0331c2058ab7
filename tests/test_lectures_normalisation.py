"""Group D, normalisation, against torch; batch renormalisation against its paper's equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import agree
from lectures import Row, begins, every, example
from torch.nn.utils.parametrizations import weight_norm


def torch_batch_norm(p, momentum: float = 0.1, **more):
    """A layer of torch with running averages and the example's scale and shift."""
    net = torch.nn.BatchNorm1d(5, momentum=momentum, dtype=torch.float64, affine=False, **more)
    return lambda z: p.gamma * net(z) + p.beta, net


def running(d):
    apply, net = torch_batch_norm(d.net)
    training = (apply(d.a) ** 3).sum() + (apply(d.b) ** 3).sum()
    net.eval()
    return training + (d.c * apply(d.b) ** 2).sum()


def running_as_printed(d):
    """The averages by the notes' formula, the rest by torch."""
    apply, _ = torch_batch_norm(d.net)
    training = (apply(d.a) ** 3).sum() + (apply(d.b) ** 3).sum()
    μ, v = torch.zeros(5).double(), torch.ones(5).double()
    for z in (d.a, d.b):
        μ, v = 0.1 * μ + 0.9 * z.mean(0), 0.1 * v + 0.9 * z.var(0, correction=0)
    z = (d.b - μ.detach()) / torch.sqrt(v.detach() + 1e-5)
    return training + (d.c * (d.net.gamma * z + d.net.beta) ** 2).sum()


def batch(z, gamma, beta):
    return F.batch_norm(z, None, None, gamma, beta, True)


def batch_as_printed(d):
    z = F.batch_norm(d.z, None, None, None, None, True)
    return (d.c * ((z * d.gamma).sum(1, keepdim=True) + d.beta)).sum()


def placed(d, before: bool):
    w, p = d["net.w"], d.net
    if before:
        y = torch.sigmoid(batch(d.x @ w, p["norm.gamma"], p["norm.beta"]))
    else:
        y = batch(torch.sigmoid(d.x @ w), p["norm.gamma"], p["norm.beta"])
    return (d.c * y).sum()


def renormalised(d):
    """Algorithm 1 of the paper (Ioffe 2017), r_max = 3, d_max = 5, α = 0.01."""
    μ, σ, total = torch.zeros(5).double(), torch.ones(5).double(), 0
    for x in (d.a, d.b):
        μ_b = x.mean(0)
        σ_b = torch.sqrt(((x - μ_b) ** 2).mean(0) + 1e-5)
        r = torch.clip(σ_b / σ, 1 / 3, 3).detach()
        s = torch.clip((μ_b - μ) / σ, -5, 5).detach()
        total = total + (d.c * (d.net.gamma * ((x - μ_b) / σ_b * r + s) + d.net.beta)).sum()
        μ, σ = μ + 0.01 * (μ_b - μ).detach(), σ + 0.01 * (σ_b - σ).detach()
    return total + (d.c * (d.net.gamma * (d.a - μ) / σ + d.net.beta)).sum()


def clipping_is_reached(spec) -> None:
    """Both bounds of r and of d are met in the example, so that neither can be dropped unnoticed."""
    d = spec.draws("renormalised")
    deviation = d["b"].std(0)
    assert (deviation > 3 * 1.1).any() and (d["a"].std(0) < 1 / 3).any() and (np.abs(d["b"].mean(0)) > 5).any()


def weight(d):
    layer = weight_norm(torch.nn.Linear(4, 5, dtype=torch.float64))
    given = {
        "bias": d.net.b,
        "parametrizations.weight.original0": d.net.g[:, None],
        "parametrizations.weight.original1": d.net.v.T,
    }
    return (torch.func.functional_call(layer, given, (d.x,)) ** 2).sum()


def spectral(d):
    top = torch.linalg.matrix_norm(d.w, 2)
    return F.mse_loss(d.x @ d.w, d.y) + 0.05 * top**2


def spectral_as_printed(d):
    return F.mse_loss(d.x @ (d.w / torch.linalg.matrix_norm(d.w, 2)), d.y)


def norm_by_numpy(spec) -> None:
    w = np.diag([3.0, 1.0, 0.5]) @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    x, y = np.zeros((2, 3)), np.zeros((2, 3))
    agree("λ/2 σ²", spec.value("spectral", w=w, x=x, y=y, strength=2.0), np.linalg.norm(w, 2) ** 2)


def transformer(first: bool):
    """torch's layer of a transformer with the example's weights."""

    def reference(d):
        layer = torch.nn.TransformerEncoderLayer(8, 2, 12, 0.0, norm_first=first, batch_first=True, dtype=torch.float64)
        p, parts = d.net, ("ask", "offer", "give")
        given = {
            "self_attn.in_proj_weight": torch.cat([p[f"attention.{k}.w"].T for k in parts]),
            "self_attn.in_proj_bias": torch.cat([p[f"attention.{k}.b"] for k in parts]),
        }
        for name, path in (("self_attn.out_proj", "attention.mix"), ("linear1", "up"), ("linear2", "down")):
            given |= {f"{name}.weight": p[f"{path}.w"].T, f"{name}.bias": p[f"{path}.b"]}
        for name in ("norm1", "norm2"):
            given |= {f"{name}.weight": p[f"{name}.gamma"], f"{name}.bias": p[f"{name}.beta"]}
        return (d.c * torch.func.functional_call(layer, given, (d.x,))).sum()

    return reference


FILE = "normalisation/normalisation.lee"
ROWS = (
    Row("D1", FILE, "batch_norm", example("batch", lambda d: (d.c * batch(d.z, d.gamma, d.beta)).sum())),
    Row("D1", FILE, "batch_normAsPrinted", example("batch_as_printed", batch_as_printed)),
    Row("D2", FILE, "BatchNorm", every(example("running", running), begins("running", net_gamma=1, net_beta=0))),
    Row("D2", FILE, "BatchNormAsPrinted", every(example("running_as_printed", running_as_printed), begins("running_as_printed", net_gamma=1, net_beta=0))),
    Row("D3", FILE, "Normalised", every(example("before_activation", lambda d: placed(d, True)), example("after_activation", lambda d: placed(d, False)))),
    Row("D4", FILE, "BatchRenorm", every(example("renormalised", renormalised), clipping_is_reached, begins("renormalised", net_gamma=1, net_beta=0))),
    Row("D5", FILE, "LayerNorm", every(example("layer", lambda d: (d.c * F.layer_norm(d.x, (5,), d.net.gamma, d.net.beta)).sum()), begins("layer", net_gamma=1, net_beta=0))),
    Row("D5", FILE, "LayerNormAsPrinted", example("layer_as_printed", lambda d: (d.c * F.layer_norm(d.x, (5,))).sum())),
    Row("D6", FILE, "InstanceNorm", example("instance", lambda d: (d.c * F.instance_norm(d.x)).sum())),
    Row("D7", FILE, "GroupNorm", every(example("group", lambda d: (d.c * F.group_norm(d.x, 2, d.net.gamma, d.net.beta)).sum()), begins("group", net_gamma=1, net_beta=0))),
    Row("D8", FILE, "WeightNorm", every(example("weight", weight), begins("weight", net_g=1, net_b=0))),
    Row("D9", FILE, "spectral", every(example("spectrum", spectral, 1e-8), norm_by_numpy)),
    Row("D9", FILE, "spectralAsPrinted", example("spectrum_as_printed", spectral_as_printed, 1e-8), spare=(("0.1", "the printed form adds nothing"),)),
    Row("D10", "normalisation/placement.lee", "Attention", every(example("before", transformer(True)), example("behind", transformer(False)))),
    Row("D10", "normalisation/placement.lee", "Layer", every(example("before", transformer(True)), example("behind", transformer(False)))),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
