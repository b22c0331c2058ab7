"""The Transformer and decoding (inventory G10-G17, G20-G25) against torch's layers, and searches written by hand."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Draws, agree
from lectures import Row, every, example
from test_lectures_recurrent import layer, of_cell
from torch.func import functional_call

TRANSFORMER, DECODING = "attention/transformer.lee", "attention/decoding.lee"


def std_attention(p):
    """The weights of std's layer as torch.nn.MultiheadAttention has them."""
    names = ("query", "key", "value")
    return {
        "in_proj_weight": torch.cat([p[f"{n}.w"].T for n in names]),
        "in_proj_bias": torch.cat([p[f"{n}.b"] for n in names]),
        "out_proj.weight": p["output.w"].T,
        "out_proj.bias": p["output.b"],
    }


def torch_layer(p, decoder=False):
    found = {f"self_attn.{k}": v for k, v in std_attention(p.attention).items()}
    found |= {f"multihead_attn.{k}": v for k, v in std_attention(p.cross).items()} if decoder else {}
    for number, name in ((1, "up"), (2, "down")):
        found |= {f"linear{number}.weight": p[f"{name}.w"].T, f"linear{number}.bias": p[f"{name}.b"]}
    for number in (1, 2, 3) if decoder else (1, 2):
        found |= {f"norm{number}.weight": p[f"norm{number}.gamma"], f"norm{number}.bias": p[f"norm{number}.beta"]}
    return found


def behind(time, lengths):
    return torch.arange(time) >= lengths[:, None]


def encoder_layer(p, x, lengths):
    d, hidden = p["up.w"].shape
    layer = torch.nn.TransformerEncoderLayer(d, 2, hidden, 0.0, batch_first=True).double()
    return functional_call(layer, torch_layer(p), (x,), {"src_key_padding_mask": behind(x.shape[1], lengths)})


def decoder_layer(p, y, memory, lengths):
    d, hidden = p["up.w"].shape
    layer = torch.nn.TransformerDecoderLayer(d, 2, hidden, 0.0, batch_first=True).double()
    masks = {"tgt_mask": torch.ones(y.shape[1], y.shape[1]).triu(1) > 0}
    masks["memory_key_padding_mask"] = behind(memory.shape[1], lengths)
    return functional_call(layer, torch_layer(p, decoder=True), (y, memory), masks)


def wave(time, d):
    angle = np.arange(time)[:, None] / np.power(10000, 2 * (np.arange(d) // 2) / d)
    return torch.tensor(np.where(np.arange(d) % 2 == 0, np.sin(angle), np.cos(angle)))


def encoded(p, x, lengths):
    d = p["read.table"].shape[1]
    h = d**0.5 * p["read.table"][x] + wave(x.shape[1], d)
    for number in range(len({k.split(".")[1] for k in p if k.startswith("blocks.")})):
        h = encoder_layer(getattr(p.blocks, str(number)), h, lengths)
    return h


def decoded(p, memory, lengths, y):
    d = p["write.table"].shape[1]
    h = d**0.5 * p["write.table"][y] + wave(y.shape[1], d)
    for number in range(len({k.split(".")[1] for k in p if k.startswith("blocks.")})):
        h = decoder_layer(getattr(p.blocks, str(number)), h, memory, lengths)
    return h @ p["head.w"] + p["head.b"]


def translation(d):
    before = torch.cat([torch.ones(3, 1, dtype=torch.int64), d.y[:, :-1]], 1)
    z = decoded(d.net, encoded(d.net.encoder, d.x, d.lengths), d.lengths, before)
    return F.cross_entropy(z.transpose(1, 2), d.y.masked_fill(behind(4, d.sizes), -100), ignore_index=-100)


def word_by_word(spec) -> None:
    """Each row by itself, cut behind its last word."""
    d = Draws({k: torch.as_tensor(v) for k, v in spec.draws("word_by_word").items()})
    rows = []
    for x, n in zip(d.x, d.lengths, strict=True):
        n, y = n[None], [1]
        memory = encoded(d.net.encoder, x[None], n)
        while len(y) <= 20 and y[-1] != 2:
            y.append(int(decoded(d.net, memory, n, torch.tensor([y]))[0, -1].argmax()))
        rows.append((y[1:] + [2] * 20)[:20])
    assert any(2 in r[:-1] for r in rows) or len({tuple(r) for r in rows}) > 1
    for column in ("numpy", "torch"):
        agree("words", spec.results("word_by_word", 1, column)["value"], rows)


def averaged(h, lengths):
    inside = ~behind(h.shape[1], lengths)[:, :, None]
    return (h * inside).sum(1) / lengths[:, None]


def at_once(d):
    p = d.net
    memory = encoded(p.encoder, d.x, d.lengths)
    look = torch.nn.MultiheadAttention(8, 2, batch_first=True).double()
    h, mask = p.place.expand(3, 4, 8), {"key_padding_mask": behind(5, d.lengths), "need_weights": False}
    h = h + functional_call(look, std_attention(getattr(p.cross, "0")), (h, memory, memory), mask)[0]
    z = encoder_layer(getattr(p.blocks, "0"), h, d.sizes) @ p["head.w"] + p["head.b"]
    words = F.cross_entropy(z.transpose(1, 2), d.y.masked_fill(behind(4, d.sizes), -100), ignore_index=-100)
    return words + F.cross_entropy(averaged(memory, d.lengths) @ p["size.w"] + p["size.b"], d.sizes - 1)


def read_by(encoder):
    def reference(d):
        h = encoder(d.net.encoder, d.x, d.lengths)
        return F.cross_entropy(averaged(h, d.lengths) @ d.net["head.w"] + d.net["head.b"], d.y)

    return reference


def recurrent(p, x, lengths):
    return layer(torch.nn.LSTM, p["read.table"][x], *of_cell(p.rnn.cell), hidden=6)


def convolutional(p, x, lengths):
    h = p["read.table"][x] * ~behind(x.shape[1], lengths)[:, :, None]
    return F.relu(F.conv1d(h.transpose(1, 2), p["conv.kernel"], p["conv.bias"], padding=1)).transpose(1, 2)


# ---- words from a model


def continuations(table, start, steps):
    """Every continuation by its words, with its log-probability and its length; 0 ends it."""
    found = {}
    for words in itertools.product(range(len(table)), repeat=steps):
        ended = words.index(0) + 1 if 0 in words else steps
        score = sum(table[a, b] for a, b in itertools.pairwise((start, *words[:ended])))
        found[words[:ended] + (0,) * (steps - ended)] = (score, ended)
    return found


def exhaustive(spec) -> None:
    """With as many beams as there are continuations nothing is lost."""
    d = spec.draws("exhaustive")
    found = continuations(torch.tensor(d["net.next"]).log_softmax(1).numpy(), int(d["prompt"][0]), 3)
    best = sorted(found, key=lambda w: -found[w][0] / (1 + found[w][1]) ** 0.6)
    for column in ("numpy", "torch"):
        tokens, score = spec.results("exhaustive", 1, column).values()
        assert [tuple(r) for r in np.asarray(tokens)[: len(best), 1:].tolist()] == best
        agree("scores", np.asarray(score)[: len(best)], [found[w][0] for w in best])


def beams(table, prompt, steps, count):
    """The best continuations, in lists: padded words and log-probabilities."""
    logp, found = torch.tensor(table).log_softmax(1).numpy(), [(tuple(prompt.tolist()), 0.0)]
    for _ in range(steps):
        done = [b for b in found if len(b[0]) > len(prompt) and b[0][-1] == 0]
        going = [b for b in found if b not in done]
        more = [((*w, v), s + logp[w[-1], v]) for w, s in going for v in range(len(table))]
        found = sorted(done + more, key=lambda b: -b[1])[:count]
    found.sort(key=lambda b: -b[1] / len(b[0]) ** 0.6)
    return [list(w) + [0] * (len(prompt) + steps - len(w)) for w, _ in found], [s for _, s in found]


def narrow(spec) -> None:
    """Two beams, and as many as there are if nobody says how many."""
    d = spec.draws("searched")
    for column in ("numpy", "torch"):
        tokens, score = spec.results("searched", 1, column).values()
        words, wanted = beams(d["net.next"], d["prompt"], 5, 2)
        assert np.asarray(tokens).tolist() == words
        agree("scores", score, wanted)
        tokens, score = spec.call("search", column, net={"next": CLOSE}, prompt=np.array([1])).values()
        words, wanted = beams(CLOSE, np.array([1]), 3, 4)
        assert words[:2] == [[1, 0, 0, 0], [1, 2, 0, 0]]
        assert np.asarray(tokens).tolist() == words
        agree("scores", score, wanted)


def close() -> np.ndarray:
    """log P(b | a) with which "1 0" is barely better than "1 2 0", for words of other lengths."""
    ends = 0.4
    goes_on = ends ** (1.5**0.601) / 0.9
    after_one = [ends, 0.3 * (1 - ends - goes_on), goes_on, 0.7 * (1 - ends - goes_on)]
    return np.log([[0.25] * 4, after_one, [0.9, 0.05, 0.03, 0.02], [0.1, 0.2, 0.3, 0.4]])


CLOSE = close()
SEARCH = """

def search(net: Bigram, prompt: int[time]):
    return beam_search(net, prompt, 3)


example probe:
    net = Bigram(4)
    prompt: int[1] ~ randint(1, 4)
    return search(net, prompt)
"""


def grams(row, n):
    return Counter(tuple(row[i : i + n]) for i in range(len(row) - n + 1))


def bleu(name: str):
    """The check of the measure of the paper, counted with dictionaries."""

    def check(spec) -> None:
        d = spec.draws(name)
        given, wanted = (
            [list(row[:n]) for row, n in zip(d[part], d[f"{part}_lengths"], strict=True)]
            for part in ("given", "wanted")
        )
        logs = 0.0
        for n in (1, 2, 3, 4):
            pairs = [(grams(a, n), grams(b, n)) for a, b in zip(given, wanted, strict=True)]
            logs += np.log(sum((a & b).total() for a, b in pairs) / sum(a.total() for a, _ in pairs)) / 4
        c, r = sum(map(len, given)), sum(map(len, wanted))
        for column in ("numpy", "torch"):
            agree("bleu", spec.results(name, 1, column)["value"], min(1, np.exp(1 - r / c)) * np.exp(logs))

    return check


LONGER = """

example longer:
    given: int[6, 9] ~ randint(0, 2)
    wanted: int[6, 9] ~ randint(0, 2)
    given_lengths: int[6] ~ randint(8, 10)
    wanted_lengths: int[6] ~ randint(5, 8)
    return bleu(given, wanted, given_lengths, wanted_lengths)
"""
BLEU = every(bleu("compared"), bleu("longer"))


def rewarded(d):
    logp = d.net.z.log_softmax(1)[torch.arange(2), d.words].sum(1)
    return -((d.reward.detach() - 0.3) * logp).mean()


def exact(d):
    """The value of the estimate, with the gradient of the expected reward."""
    logp = d.net.z.log_softmax(1)[torch.arange(2), d.words].sum(1)
    reward = d.reward.detach()
    value, wanted = -(logp.exp() * reward * logp).sum(), -(logp.exp() * reward).sum()
    return value.detach() + wanted - wanted.detach()


TRANSLATES = every(example("translated", translation), word_by_word)
ROWS = (
    Row("G10", TRANSFORMER, "EncoderLayer", example("layer", lambda d: (d.c * encoder_layer(d.net, d.x, d.lengths)).sum())),
    Row("G10", TRANSFORMER, "Encoder", example("read_by_attention", read_by(encoded))),
    Row("G11", TRANSFORMER, "Reader", every(*(example(f"read_by_{name}", read_by(f)) for name, f in (("attention", encoded), ("recurrence", recurrent), ("convolution", convolutional))))),
    Row("G11", TRANSFORMER, "Recurrent", example("read_by_recurrence", read_by(recurrent))),
    Row("G11", TRANSFORMER, "Convolutional", example("read_by_convolution", read_by(convolutional))),
    Row("G14", TRANSFORMER, "DecoderLayer", example("decoder_layer", lambda d: (d.c * decoder_layer(d.net, d.y, d.memory, d.lengths)).sum())),
    Row("G14", TRANSFORMER, "Transformer", TRANSLATES),
    Row("G15", TRANSFORMER, "Transformer", TRANSLATES),
    Row("G16", TRANSFORMER, "AllAtOnce", example("at_once", at_once)),
    Row("G16", TRANSFORMER, "all_at_once", example("at_once", at_once)),
    Row("G17", TRANSFORMER, "per_word", example("translated", translation)),
    Row("G20", DECODING, "beam_search", every(exhaustive, narrow), SEARCH),
    Row("G22", DECODING, "bleu", BLEU, LONGER),
    Row("G22", DECODING, "matches", BLEU, LONGER),
    Row("G23", DECODING, "surrogate", every(example("rewarded", rewarded), example("exact", exact))),
    Row("G23", DECODING, "Policy", every(example("rewarded", rewarded), example("exact", exact))),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
