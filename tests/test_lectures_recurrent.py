"""Recurrent networks (inventory group F) against torch.nn's layers with the same weights, and loops by hand in torch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Draws, agree
from lectures import Row, begins, every, example
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

CELLS, NETWORKS = "recurrent/cells.lee", "recurrent/networks.lee"
CTC, PAIRS = "recurrent/ctc.lee", "recurrent/seq2seq.lee"
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


# ---- fewer labels than positions


def labelled(logits, target, frames, lengths):
    each = F.ctc_loss(logits.log_softmax(2).transpose(0, 1), target, frames, lengths, reduction="none")
    return each.mean()


def all_paths(spec) -> None:
    """The loss by enumeration of every path that collapses to the target."""
    logits, target = RNG.normal(size=(1, 5, 3)), [1, 1, 2]
    p = torch.tensor(logits[0]).softmax(1).numpy()
    paths = [s for s in itertools.product(range(3), repeat=5) if [k for k, _ in itertools.groupby(s) if k] == target]
    total = sum(np.prod(p[range(5), s]) for s in paths)
    given = {"logits": logits, "target": np.array([target]), "frames": np.array([5]), "lengths": np.array([3])}
    assert len(paths) > 1
    for column in ("numpy", "torch"):
        agree("all paths", spec.value("ctc", column, **given), -np.log(total))


def best_paths(spec) -> None:
    logits, frames = RNG.normal(size=(6, 9, 3)), np.array([9, 8, 7, 5, 1, 9])
    for column in ("numpy", "torch"):
        kept, counts = spec.call("greedy", column, logits=logits, frames=frames).values()
        for row, z, n, given in zip(kept, logits, frames, counts, strict=True):
            wanted = [k for k, _ in itertools.groupby(z[:n].argmax(1)) if k]
            assert np.asarray(row)[: int(given)].tolist() == wanted and not np.asarray(row)[int(given) :].any()


GREEDY = """

def found(logits: [n, time, classes], frames: int[n]):
    return greedy(logits, frames)
"""


def recognised(d):
    h = layer(torch.nn.LSTM, d.x, *of_cell(d.net.rnn.cell), hidden=4)
    return labelled(h @ d.net["head.w"] + d.net["head.b"], d.target, d.frames, d.lengths)


# ---- from one sequence to another


def gru_step(cell, x, h):
    """One step of torch's GRU cell with the weights of std's."""
    behind = torch.cat([torch.zeros(2 * len(cell.u), dtype=torch.float64), cell.c])
    return torch.gru_cell(x, h, cell.w.T, cell.u.T, cell.b, behind)


def encoded(p, x, lengths):
    """The states behind the last words, one row after the other."""
    rows = []
    for words, n in zip(x, lengths, strict=True):
        h = torch.zeros(1, len(p.rnn.cell.u), dtype=torch.float64)
        for word in words[:n]:
            h = gru_step(p.rnn.cell, p["read.table"][word][None], h)
        rows.append(h)
    return torch.cat(rows)


def decoded(p, state, y, own=None, beside=False):
    """Scores of all steps: fed with the true words, or with its own where `own` says so."""
    h, word, rows = state, torch.ones(len(y), dtype=torch.int64), []
    for t in range(y.shape[1]):
        x = p["write.table"][word]
        h = gru_step(p.cell, torch.cat([x, state], 1) if beside else x, h)
        rows.append(h @ p["head.w"] + p["head.b"])
        word = y[:, t] if own is None else torch.where(own[:, t] > 0, rows[-1].argmax(1), y[:, t])
    return torch.stack(rows, 1)


def handed_over(d):
    return inside(decoded(d.net, encoded(d.encoder, d.x, d.lengths), d.y), d.y, d.y_lengths)


def through_the_interface(d):
    state = encoded(d.net.encoder, d.x, d.lengths)
    return inside(decoded(d.net.decoder, state, d.y, beside=True), d.y, d.y_lengths)


def stacked(d):
    """The very layer of the notes, GRU(8, 16, num_layers = 2)."""
    x, weights = d.net["read.table"][d.x], {}
    gru = torch.nn.GRU(8, 16, 2).double()
    for k, cell in enumerate((d.net.lower.cell, d.net.upper.cell)):
        behind = torch.cat([torch.zeros(32, dtype=torch.float64), cell.c])
        weights |= {f"weight_ih_l{k}": cell.w.T, f"weight_hh_l{k}": cell.u.T}
        weights |= {f"bias_ih_l{k}": cell.b, f"bias_hh_l{k}": behind}
    output, state = functional_call(gru, weights, (x.transpose(0, 1),))
    assert output.shape == (7, 4, 16) and state.shape == (2, 4, 16)
    return (d.a * output).sum() + (d.b * state).sum()


def looked(p, h, memory, lengths):
    score = torch.einsum("ba,bta->bt", h @ p["attention.match.w"] + p["attention.match.b"], memory)
    share = score.masked_fill(torch.arange(memory.shape[1]) >= lengths[:, None], -torch.inf).softmax(1)
    return torch.einsum("bt,bta->ba", share, memory)


def attentive(p, x, lengths, y, own=None):
    """Teacher forcing, or its own words where there is no y."""
    memory = layer(torch.nn.LSTM, p["read.table"][x], *of_cell(p.encoder.cell), hidden=4)
    h = c = context = torch.zeros(len(x), 4, dtype=torch.float64)
    word, rows = torch.ones(len(x), dtype=torch.int64), []
    for t in range(8 if y is None else y.shape[1]):
        h, c = torch.lstm_cell(torch.cat([p["write.table"][word], context], 1), (h, c), *of_cell(p.cell))
        context = looked(p, h, memory, lengths)
        rows.append(torch.cat([h, context], 1) @ p["head.w"] + p["head.b"])
        word = rows[-1].argmax(1) if y is None else y[:, t]
        word = word if own is None else torch.where(own[t], rows[-1].argmax(1), word)
    return torch.stack(rows, 1)


def attended(d):
    return inside(attentive(d.net, d.x, d.lengths, d.y), d.y, d.y_lengths)


def translated(spec) -> None:
    d = Draws({k: torch.as_tensor(v) for k, v in spec.draws("translated").items()})
    words = attentive(d.net, d.x, d.lengths, None).argmax(2)
    ended = (words == 0).cumsum(1) - (words == 0).long() > 0
    assert ended.any() and not ended.all()
    for column in ("numpy", "torch"):
        agree("words", spec.results("translated", 1, column)["value"], words.masked_fill(ended, 0))


def shares(spec) -> None:
    """The share of own words grows and then stays, and so often they are drawn."""
    agree("share", [float(spec.value("shares", epoch=np.float64(e))) for e in (1, 5, 10, 20)], [0.05, 0.25, 0.5, 0.5])
    own = spec.draws("often")["own"]
    assert set(np.unique(own)) == {0.0, 1.0} and abs(own.mean() - 0.3) < 0.01


SHARES = """

def shares(epoch: []) -> []:
    return share(epoch, 20)


example often:
    own = own_words(200, 200, 0.3)
    return sum(own)
"""


def now_and_then(d):
    return (d.c * decoded(d.net, d.state, d.y, d.own)).sum()


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
    Row("F13", CTC, "ctc", every(example("aligned", lambda d: labelled(d.logits, d.target, d.frames, d.lengths)), all_paths)),
    Row("F13", CTC, "greedy", best_paths, GREEDY),
    Row("F13", CTC, "Recogniser", example("recognised", recognised)),
    Row("F14", NETWORKS, "Tagger", example("tagged", tagged)),
    Row("F14", NETWORKS, "tagging", example("tagged", tagged)),
    Row("F15", NETWORKS, "WindowTagger", example("by_window", by_window)),
    Row("F16", PAIRS, "Encoder", example("handed_over", handed_over)),
    Row("F16", PAIRS, "Decoder", example("handed_over", handed_over)),
    Row("F16", PAIRS, "translation", example("handed_over", handed_over)),
    Row("F17", PAIRS, "ContextDecoder", example("through_the_interface", through_the_interface)),
    Row("F18", PAIRS, "StackedEncoder", example("stacked", stacked)),
    Row("F19", PAIRS, "EncoderDecoder", example("through_the_interface", through_the_interface)),
    Row("F20", PAIRS, "decoded", every(example("taught", weighted(lambda d: decoded(d.net, d.state, d.y))), example("free", weighted(lambda d: decoded(d.net, d.state, d.y, torch.ones(3, 5)))))),
    Row("F21", PAIRS, "own_words", every(example("now_and_then", now_and_then), shares), SHARES),
    Row("F21", PAIRS, "share", every(example("now_and_then", now_and_then), shares), SHARES),
    Row("F22", NETWORKS, "LanguageModel", example("next", next_token)),
    Row("F22", NETWORKS, "next_token", example("next", next_token)),
    Row("F22", NETWORKS, "perplexity", example("hesitates", lambda d: next_token(d).exp())),
    Row("F23", NETWORKS, "frames", example("framed", lambda d: (d.c * d.sound.unfold(1, 8, 5)).sum())),
    Row("F23", NETWORKS, "atoms", example("molecule", weighted(lambda d: F.one_hot(d.symbols, 4).double()))),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
