"""Group H, generation of images by convolutions: Glow against the Jacobian of its formulas in torch, CycleGAN by torch's."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from lectures import Row, every, example
from test_lectures_generative import surprise_by_jacobian

# ---- Glow


def normed(p, at, x, back=False):
    shift, scale = p[f"{at}shift"][:, None, None], p[f"{at}log_scale"].exp()[:, None, None]
    return x / scale - shift if back else (x + shift) * scale


def factored(p, at):
    """P L (U + diag s), of which the signs and the order stay."""
    lower = p[f"{at}lower"].tril(-1) + torch.eye(len(p[f"{at}lower"]))
    upper = p[f"{at}upper"].triu(1) + torch.diag(p[f"{at}direction"] * p[f"{at}log_s"].exp())
    return (lower @ upper)[p[f"{at}order"].long()]


def mixed(w, x):
    return torch.einsum("oc,bcij->boij", w, x)


def coupled(p, at, x, back=False):
    h = F.relu(F.conv2d(x[:, :2], p[f"{at}inner.kernel"], p[f"{at}inner.bias"], padding=1))
    s, t = F.conv2d(h, p[f"{at}outer.kernel"], p[f"{at}outer.bias"], padding=1).split(2, 1)
    s = torch.tanh(s)
    return torch.cat([x[:, :2], (x[:, 2:] - t) * (-s).exp() if back else x[:, 2:] * s.exp() + t], 1)


def codes(p, x):
    x = normed(p, "norm0.", x)
    for at in ("steps.0.", "steps.1."):
        x = coupled(p, f"{at}couple.", mixed(factored(p, f"{at}mix."), normed(p, f"{at}norm1.", x)))
    return x


def images(p, z):
    for at in ("steps.1.", "steps.0."):
        z = mixed(torch.linalg.inv(factored(p, f"{at}mix.")), coupled(p, f"{at}couple.", z, back=True))
        z = normed(p, f"{at}norm1.", z, back=True)
    return normed(p, "norm0.", z, back=True)


def plain_matrix(d):
    w = d.net["weight"]
    volume = 6 * torch.linalg.slogdet(w).logabsdet
    return (d.c * mixed(w, d.x)).sum() + volume + (d.c * mixed(torch.linalg.inv(w), d.x)).sum()


def first_batch(d):
    """What a batch normalisation makes of the batch, with ε beside the deviation."""
    variance, mean = torch.var_mean(d.x, (0, 2, 3), correction=0, keepdim=True)
    return (((d.x - mean) / (variance.sqrt() + 1e-6)) ** 3).sum()


def pixels(d):
    y = F.pixel_unshuffle(((16 * d.image + d.u) / 17 - 0.5)[:, None], 2)
    return (d.c * y).sum() + (d.image.mean() + math.log(17)) / math.log(2)


# ---- CycleGAN


def convolved(p, at, x, **how):
    return F.conv2d(x, p[f"{at}kernel"], p[f"{at}bias"], **how)


def translator(p, x):
    x = F.relu(convolved(p, "read.", x, padding="same"))
    for at in ("blocks.0.", "blocks.1."):
        h = F.relu(F.instance_norm(convolved(p, f"{at}first.", x, padding=1)))
        x = x + F.instance_norm(convolved(p, f"{at}second.", h, padding=1))
    return torch.tanh(convolved(p, "write.", x, padding="same"))


def critic(p, x):
    x = F.leaky_relu(convolved(p, "first.", x, stride=2, padding=1), 0.2)
    x = F.leaky_relu(F.instance_norm(convolved(p, "second.", x, stride=2, padding=1)), 0.2)
    return convolved(p, "last.", x, padding=1)


def away(score, target):
    return F.mse_loss(score, torch.full_like(score, target))


def translated(d):
    ab, ba = (lambda x, p=p: translator(p, x) for p in (d.ab, d.ba))
    fool = away(critic(d.critic_b, ab(d.a)), 1) + away(critic(d.critic_a, ba(d.b)), 1)
    back = F.l1_loss(ba(ab(d.a)), d.a) + F.l1_loss(ab(ba(d.b)), d.b)
    same = F.l1_loss(ab(d.b), d.b) + F.l1_loss(ba(d.a), d.a)
    judged = (away(critic(d.critic_a, d.a), 1) + away(critic(d.critic_a, ba(d.b)), 0)) / 2
    return fool + 5 * back + 0.5 * same + judged


GLOW, CYCLE = "generative/glow.lee", "generative/cyclegan.lee"
LIKELY = every(
    example("likely", lambda d: surprise_by_jacobian(lambda x: codes(d.net, x), d.x)),
    example("there_and_back", lambda d: (d.c * images(d.net, d.z)).sum()),
)
ROWS = (
    Row("H9", GLOW, "ActNorm", every(LIKELY, example("first_batch", first_batch))),
    Row("H9", GLOW, "fitted", example("first_batch", first_batch)),
    Row("H9", GLOW, "Invertible", example("plain_matrix", plain_matrix)),
    Row("H9", GLOW, "InvertibleLU", LIKELY),
    Row("H9", GLOW, "ChannelCoupling", LIKELY),
    Row("H9", GLOW, "Step", LIKELY),
    Row("H9", GLOW, "Glow", LIKELY),
    Row("H9", GLOW, "likelihood", LIKELY),
    Row("H9", GLOW, "squeezed", example("pixels", pixels)),
    Row("H9", GLOW, "continuous", example("pixels", pixels)),
    Row("H9", GLOW, "bits", example("pixels", pixels)),
    Row("H23", CYCLE, "standard", example("by_itself", lambda d: (F.instance_norm(d.x) ** 3).sum())),
    Row("H23", CYCLE, "Residual", example("translated", translated)),
    Row("H23", CYCLE, "Translator", example("translated", translated)),
    Row("H23", CYCLE, "Critic", example("translated", translated)),
    Row("H23", CYCLE, "towards", example("translated", translated)),
    Row("H23", CYCLE, "translators", example("translated", translated)),
    Row("H23", CYCLE, "judged", example("translated", translated)),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
