"""Other ways to pre-train (inventory I14, I19, I20) against lists of Python and torch's layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Draws, Spec, agree
from lectures import Row, every, example
from test_lectures_recurrent import layer, of_cell

PRETRAINING = "attention/pretraining.lee"


def rows_are(name: str, wanted):
    """The check that each row of an example is what a function of Python's lists makes of it, and its length."""

    def check(spec: Spec) -> None:
        d = spec.draws(name)
        for column in ("numpy", "torch"):
            tokens, *lengths = (np.asarray(v) for v in spec.results(name, 1, column).values())
            for b, n in enumerate(d["lengths"]):
                found = wanted(d, b, list(d["tokens"][b][:n]))
                behind = d["tokens"][b][n:] if not lengths else [0] * (9 - len(found))
                assert tokens[b].tolist() == [*found, *behind]
                assert not lengths or lengths[0][b] == len(found)

    return check


def without(d, b, row):
    return [t for t, u in zip(row, d["u"][b], strict=False) if not u < 0.3]


def turned(d, b, row):
    start = d["start"][b] % len(row)
    return row[start:] + row[:start]


def by_order(d, b, row):
    return [t for _, t in sorted(zip(d["order"][b], row, strict=False))]


def with_a_blank(d, b, row):
    return [*row[: d["first"][b]], 20, *row[d["first"][b] + d["size"][b] :]]


def pieces(spec: Spec) -> None:
    """The first token of each word decides, one row after the other."""
    d = spec.draws("pieces")
    for column in ("numpy", "torch"):
        chosen = np.asarray(spec.results("pieces", 1, column)["value"])
        for b, n in enumerate(d["lengths"]):
            first = 0
            for t in range(30):
                first = t if d["u"][b, t] < 0.5 else first
                assert chosen[b, t] == (d["pick"][b, first] < 0.15 and t < n)


def ahead_and_back(d):
    """Row by row, cut at its length and turned round for the second LSTM."""
    total, count = 0.0, 0
    for row, n in zip(d.tokens, d.lengths, strict=True):
        row = row[:n]
        for words, cell in ((row, d.net.ahead.cell), (row.flip(0), d.net.back.cell)):
            h = layer(torch.nn.LSTM, d.net["read.table"][words][None], *of_cell(cell), hidden=4)[0]
            z = h @ d.net["head.w"] + d.net["head.b"]
            total = total + F.cross_entropy(z[:-1], words[1:], reduction="sum")
        count += int(n) - 1
    return total / max(count, 1)


def beside(d):
    """Span by span; LayerNorm and linear layers of torch."""

    def branch(z, number, name):
        z = F.gelu(z @ d.net[f"{name}.w"] + d.net[f"{name}.b"])
        return F.layer_norm(z, (4,), d.net[f"norm{number}.gamma"], d.net[f"norm{number}.beta"])

    total, count = 0.0, 0
    for h, tokens, first, more in zip(d.h, d.tokens, d.first, d.more, strict=True):
        for k in range(int(more) + 1):
            z = branch(torch.cat((h[first - 1], h[first + more + 1], d.net.place[k])), 1, "one")
            z = branch(z, 2, "two") @ d.net["head.w"] + d.net["head.b"]
            total, count = total + F.cross_entropy(z, tokens[first + k]), count + 1
    return total / count


def one_pair(spec: Spec) -> None:
    """Two words in all: one follows, one is before."""
    d = Draws(
        {k: torch.as_tensor(v) for k, v in spec.draws("ahead_and_back").items()}
        | {"lengths": torch.tensor([1, 2, 1, 1])}
    )
    given = {"net": {k[4:]: d[k] for k in d if k.startswith("net.")}, "tokens": d.tokens, "lengths": d.lengths}
    given = {k: {n: w.numpy() for n, w in v.items()} if k == "net" else v.numpy() for k, v in given.items()}
    for column in ("numpy", "torch"):
        agree("one pair", spec.value("both_ways", column, **given), ahead_and_back(d).detach())


ROWS = (
    Row("I14", PRETRAINING, "deleted", rows_are("dropped", without)),
    Row("I14", PRETRAINING, "rotated", rows_are("turned", turned)),
    Row("I14", PRETRAINING, "permuted", rows_are("mixed", by_order)),
    Row("I14", PRETRAINING, "infilled", rows_are("filled", with_a_blank)),
    Row("I19", PRETRAINING, "BothWays", example("ahead_and_back", ahead_and_back)),
    Row("I19", PRETRAINING, "both_ways", every(example("ahead_and_back", ahead_and_back), one_pair)),
    Row("I20", PRETRAINING, "whole_words", pieces),
    Row("I20", PRETRAINING, "Boundary", example("beside", beside)),
    Row("I20", PRETRAINING, "boundary", example("beside", beside)),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
