"""Attention and transformers (inventory group G) against torch, transformers, and exhaustive search."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Spec, agree
from lectures import SPECS, Row, compiled, every, example
from test_lectures_recurrent import PAIRS, attended, translated

ATTENTION = "attention/attention.lee"
RNG = np.random.default_rng(8)


def weighted(reference):
    """The examples' value: every output counts with a weight of its own."""
    return lambda d: (d.c * reference(d)).sum()


def self_attention(d, x=None):
    x, p = d.x if x is None else x, d.net
    return F.scaled_dot_product_attention(x @ p["ask.w"], x @ p["offer.w"], x @ p["give.w"], scale=1.0)


def heads(d, memory=None, mask=None):
    """torch's layer with the same weights, whose rows are our columns."""
    p, memory = d.net, d.x if memory is None else memory
    stacked = torch.cat([p["ask.w"], p["offer.w"], p["give.w"]], 1).T
    return F.multi_head_attention_forward(
        d.x.transpose(0, 1), memory.transpose(0, 1), memory.transpose(0, 1), 6, 2, stacked, None, None, None, False, 0.0,
        p["mix.w"].T, None, attn_mask=None if mask is None else ~mask, need_weights=False,
    )[0].transpose(0, 1)  # fmt: skip


def band(time, reach):
    place = torch.arange(time)
    return (place[:, None] - place).abs() <= reach


def masked(d):
    allowed = (d.edge > 0) | torch.eye(5, dtype=torch.bool)
    return d.score.masked_fill(~allowed, -torch.inf).softmax(2) @ d.v


def masked_as_printed(d):
    allowed = (d.edge > 0) | torch.eye(5, dtype=torch.bool)
    return (d.score * allowed).softmax(2) @ d.v


def waves(d):
    angle = np.arange(5)[:, None] / np.power(10000, 2 * (np.arange(6) // 2) / 6)
    return d.x + torch.tensor(np.where(np.arange(6) % 2 == 0, np.sin(angle), np.cos(angle)))


def linear(d):
    """The shares written out, position by position."""
    share = (F.elu(d.q) + 1) @ (F.elu(d.k) + 1).transpose(1, 2)
    return share / share.sum(2, keepdim=True) @ d.v


def few(d):
    mask = band(7, 1)
    mask[0], mask[:, 0] = True, True
    return heads(d, mask=mask)


def pointed(d):
    gate = d.gate[:, None]
    return (gate * d.z.softmax(1)).scatter_add(1, d.tokens, (1 - gate) * d.s.softmax(1))


def penalty(d):
    away = 1 - np.exp(-((np.arange(4)[:, None] / 4 - np.arange(5) / 5) ** 2) / (2 * 0.2**2))
    return (d.s.softmax(2) * torch.tensor(away)).mean()


ROWS = (
    Row("G1", ATTENTION, "SelfAttention", example("self_attention", weighted(self_attention))),
    Row("G2", ATTENTION, "additive", example("by_sums", weighted(lambda d: torch.tanh(d.q[:, :, None] + d.k[:, None]) @ d.w))),
    Row("G3", ATTENTION, "rectified", example("without_softmax", weighted(lambda d: F.relu(d.score) @ d.v))),
    Row("G4", ATTENTION, "MultiHead", example("heads", weighted(heads))),
    Row("G5", ATTENTION, "positioned", example("waves", weighted(waves))),
    Row("G5", ATTENTION, "LearnedPosition", example("learned", weighted(lambda d: d.x + d.net.table[:5]))),
    Row("G6", ATTENTION, "truncated", example("near", weighted(lambda d: heads(d, mask=band(7, 2))))),
    Row("G7", ATTENTION, "masked", example("graph", weighted(masked))),
    Row("G7", ATTENTION, "maskedAsPrinted", example("graph_as_printed", weighted(masked_as_printed))),
    Row("G8", ATTENTION, "pixels", example("image", weighted(lambda d: self_attention(d, d.image.permute(0, 2, 3, 1).flatten(1, 2))))),
    Row("G8", ATTENTION, "convolved", example("windows", weighted(lambda d: F.conv2d(d.image, d.kernel)))),
    Row("G9", ATTENTION, "linear_attention", example("linear", weighted(linear))),
    Row("G9", ATTENTION, "local_and_global", example("few", weighted(few))),
    Row("G12", ATTENTION, "causal", example("backwards_only", weighted(lambda d: heads(d, mask=torch.ones(5, 5).tril() > 0)))),
    Row("G13", ATTENTION, "MultiHead", example("across", weighted(lambda d: heads(d, d.memory)))),
    Row("G26", PAIRS, "Attention", example("attended", attended)),
    Row("G26", PAIRS, "Translator", every(example("attended", attended), translated)),
    Row("G18", ATTENTION, "copied", example("pointed", weighted(pointed))),
    Row("G19", ATTENTION, "guided", example("left_to_right", penalty)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)


# ---- padding


def behind(lengths, time):
    return torch.arange(time) >= lengths[:, None]


def padded_heads(d):
    """torch's layer, told which places are padding."""
    p, names = d.net, ("query", "key", "value")
    weight, bias = (torch.cat([p[f"{n}.{kind}"] for n in names], -1) for kind in "wb")
    memory, lengths = d.memory.transpose(0, 1), torch.tensor([5, 2, 1])
    y, _ = F.multi_head_attention_forward(
        d.x.transpose(0, 1), memory, memory, 6, 2, weight.T, bias, None, None, False, 0.0, p["output.w"].T, p["output.b"],
        key_padding_mask=behind(lengths, 5), need_weights=False,
    )  # fmt: skip
    return (d.c * y.transpose(0, 1)).sum()


def pooled(d):
    """Sequence by sequence."""
    means = torch.stack([d.x[0].mean(0), d.x[1, :2].mean(0), torch.zeros(4)])
    last = torch.stack([d.x[0, 4], d.x[1, 1], torch.zeros(4)])
    return (d.c * means).sum() + (d.c * last**2).sum()


PADDED = {"asked": padded_heads, "pooled": pooled}


@pytest.mark.parametrize("name", PADDED)
def test_padding_has_no_say(name: str) -> None:
    padding().hold(name, PADDED[name])


def test_nobody_to_ask_gives_zeros() -> None:
    for column in ("numpy", "torch"):
        agree(column, padding().results("nobody_there", column=column)["value"], np.zeros((1, 4, 2, 3)))


def padding() -> Spec:
    return compiled((SPECS / "attention/padding.lee").read_text(encoding="utf-8"), "padding.lee")
