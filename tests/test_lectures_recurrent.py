"""Recurrent networks (inventory group F) against torch.nn's layers with the same weights, and loops by hand in torch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import agree
from lectures import Row, begins, every, example
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

CELLS, NETWORKS = "recurrent/cells.lee", "recurrent/networks.lee"
RNG = np.random.default_rng(7)


def layer(kind: type, x, *weights, lengths=None, **options):
    """What a layer of torch gives with these weights, in the order of its own parameters."""
    net = kind(x.shape[-1], options.pop("hidden"), batch_first=True, **options).double()
    named = dict(zip((n for n, _ in net.named_parameters()), weights, strict=True))
    if lengths is None:
        return functional_call(net, named, (x,))[0]
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(functional_call(net, named, (packed,))[0], True, total_length=x.shape[1])[0]


def of_cell(cell):
    """The weights of a cell of std as torch has them: transposed, and one bias where torch has two."""
    return cell.w.T, cell.u.T, cell.b, torch.zeros_like(cell.b)


def rolled(cell, x, *state):
    """A loop over time: cell(x, *state) gives the output and the new states."""
    rows = []
    for t in range(x.shape[1]):
        y, *state = cell(x[:, t], *state)
        rows.append(y)
    return torch.stack(rows, 1)


def empty(d, hidden=4):
    return torch.zeros(len(d.x), hidden, dtype=torch.float64)


def weighted(reference):
    """The examples' value: every output counts with a weight of its own."""
    return lambda d: (d.c * reference(d)).sum()


def elman(d):
    return layer(torch.nn.RNN, d.x, d.net.wi.T, d.net.wh.T, d.net.b, torch.zeros_like(d.net.b), hidden=4)


def jordan(d):
    p = d.net

    def cell(x, y):
        y = torch.sigmoid(torch.tanh(x @ p.wi + y @ p.wy + p.b) @ p.wo + p.c)
        return y, y

    return rolled(cell, d.x, empty(d, 2))


def lstm(d, bias=None):
    def rows(w):
        return w.transpose(1, 2).flatten(0, 1)

    bias = d.net.b if bias is None else bias
    return layer(torch.nn.LSTM, d.x, rows(d.net.wx), rows(d.net.wh), bias.flatten(), 0 * bias.flatten(), hidden=4)


def remembering(d):
    return lstm(d, torch.stack([getattr(d.net, f"{gate}_bias") for gate in ("input", "forget", "candidate", "output")]))


def peephole(d):
    p = d.net

    def cell(x, h, c):
        i, f, g, o = (x @ p.wx[k] + h @ p.wh[k] + p.b[k] for k in range(4))
        i, f = torch.sigmoid(i + p.peep[0] * c), torch.sigmoid(f + p.peep[1] * c)
        c = f * c + i * torch.tanh(g)
        h = torch.sigmoid(o + p.peep[2] * c) * torch.tanh(c)
        return h, h, c

    return rolled(cell, d.x, empty(d), empty(d))


def coupled(d):
    p = d.net

    def cell(x, h, c):
        i, g, o = (x @ p.wx[k] + h @ p.wh[k] + p.b[k] for k in range(3))
        c = torch.lerp(c, torch.tanh(g), torch.sigmoid(i))
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, h, c

    return rolled(cell, d.x, empty(d), empty(d))


def gru(d):
    p = d.net

    def cell(x, h):
        r, z = (torch.sigmoid(x @ p.w[k] + h @ p.u[k] + p.b[k]) for k in range(2))
        h = torch.lerp(torch.tanh(x @ p.w[2] + (r * h) @ p.u[2] + p.b[2]), h, z)
        return h, h

    return rolled(cell, d.x, empty(d))


def gru_reset_after(d):
    p = d.net
    behind = torch.cat([torch.zeros(8, dtype=torch.float64), p.c])
    rows = [w.transpose(1, 2).flatten(0, 1) for w in (p.w, p.u)]
    return layer(torch.nn.GRU, d.x, *rows, p.b.flatten(), behind, hidden=4)


def by_hand(d):
    """The slope that autograd finds, differentiated once more."""
    h = elman(d)[:, -1]
    (slope,) = torch.autograd.grad(((h - d.target) ** 2).sum(), d.net.wi, create_graph=True)
    return (d.c * slope).sum()


def in_stretches(d):
    p, h, total = d.net, empty(d), 0
    for t in range(7):
        h = h.detach() if t % 3 == 0 else h
        h = torch.tanh(d.x[:, t] @ p.wi + h @ p.wh + p.b)
        total = total + ((h - d.target[:, t]) ** 2).mean()
    return total / 7


# ---- networks


def counted(d):
    """Counts by hand, and what they say of three sequences."""
    table = torch.ones(5, 5, dtype=torch.float64)
    for a, b in itertools.pairwise(d.tokens.tolist()):
        table[a, b] += 1
    table = table / table.sum(1, keepdim=True)
    rows = [d.start[r[0]].log() + sum(table[a, b].log() for a, b in itertools.pairwise(r)) for r in d.probe.tolist()]
    return (d.c * torch.stack(rows)).sum()


def sums_to_one(spec) -> None:
    """The probabilities of all sequences of four letters."""
    start, table = RNG.dirichlet(np.ones(3)), RNG.dirichlet(np.ones(3), 3)
    every = np.array(list(itertools.product(range(3), repeat=4)))
    given = spec.value("log_likelihood", start=start, next=table, tokens=every)
    agree("all together", np.exp(given).sum(), 1.0)


def deep(d):
    return layer(
        torch.nn.RNN, d.x, *of_cell(d.net.first.cell), *of_cell(getattr(d.net.above, "0").cell), hidden=4, num_layers=2
    )


def both(ahead, back, x, lengths):
    hidden = len(ahead.cell.u)
    weights = (*of_cell(ahead.cell), *of_cell(back.cell))
    return layer(torch.nn.LSTM, x, *weights, hidden=hidden, bidirectional=True, lengths=lengths)


def classified(d):
    p, x = d.net, d.net["read.table"][d.tokens]
    state = layer(torch.nn.RNN, x, *of_cell(p.rnn.cell), hidden=4, lengths=d.lengths)
    last = state[torch.arange(4), d.lengths - 1]
    return F.cross_entropy(last @ p["head.w"] + p["head.b"], d.y)


def inside(z, y, lengths):
    """The cross-entropy of the entries before the lengths, put together."""
    return F.cross_entropy(
        torch.cat([row[:n] for row, n in zip(z, lengths, strict=True)]),
        torch.cat([row[:n] for row, n in zip(y, lengths, strict=True)]),
    )


def tagged(d):
    p = d.net
    h = both(p.ahead, p.back, p["read.table"][d.tokens], d.lengths)
    return inside(h @ p["head.w"] + p["head.b"], d.y, d.lengths)


def by_window(d):
    p = d.net
    near = F.pad(d.x, (0, 0, 2, 2)).unfold(1, 5, 1).transpose(2, 3).flatten(2)
    h = F.relu(near @ p["below.w"] + p["below.b"]) @ p["head.w"] + p["head.b"]
    return inside(h, d.y, d.lengths)


def next_token(d):
    p = d.net
    h = layer(torch.nn.LSTM, p["read.table"][d.tokens[:, :-1]], *of_cell(p.rnn.cell), hidden=4)
    return F.cross_entropy((h @ p["head.w"] + p["head.b"]).flatten(0, 1), d.tokens[:, 1:].flatten())


ROWS = (
    Row("F1", NETWORKS, "bigram", example("product", counted)),
    Row("F1", NETWORKS, "log_likelihood", every(example("product", counted), sums_to_one)),
    Row("F2", CELLS, "Elman", example("elman", weighted(elman))),
    Row("F3", CELLS, "Jordan", example("jordan", weighted(jordan))),
    Row("F4", NETWORKS, "DeepRNN", example("deep", weighted(deep))),
    Row("F5", NETWORKS, "BidirectionalLSTM", example("both_directions", weighted(lambda d: both(d.net.ahead, d.net.back, d.x, d.lengths)))),
    Row("F6", CELLS, "LSTM", example("lstm", weighted(lstm))),
    Row("F7", CELLS, "RememberingLSTM", every(example("remembering", weighted(remembering)), begins("remembering", net_input_bias=-1, net_output_bias=-1, net_forget_bias=1, net_candidate_bias=0))),
    Row("F8", CELLS, "PeepholeLSTM", example("peephole", weighted(peephole))),
    Row("F9", CELLS, "GRU", example("gru", weighted(gru))),
    Row("F9", CELLS, "GRUResetAfter", example("gru_reset_after", weighted(gru_reset_after))),
    Row("F10", CELLS, "CoupledLSTM", example("coupled", weighted(coupled))),
    Row("F11", CELLS, "last_slope", example("by_hand", by_hand)),
    Row("F11", CELLS, "truncated", example("in_stretches", in_stretches)),
    Row("F12", NETWORKS, "Classifier", example("classified", classified)),
    Row("F14", NETWORKS, "Tagger", example("tagged", tagged)),
    Row("F14", NETWORKS, "tagging", example("tagged", tagged)),
    Row("F15", NETWORKS, "WindowTagger", example("by_window", by_window)),
    Row("F22", NETWORKS, "LanguageModel", example("next", next_token)),
    Row("F22", NETWORKS, "next_token", example("next", next_token)),
    Row("F22", NETWORKS, "perplexity", example("hesitates", lambda d: next_token(d).exp())),
    Row("F23", NETWORKS, "frames", example("framed", lambda d: (d.c * d.sound.unfold(1, 8, 5)).sum())),
    Row("F23", NETWORKS, "atoms", example("molecule", weighted(lambda d: F.one_hot(d.symbols, 4).double()))),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
