"""GPT and BERT (inventory G15, G21, I3, I4, I6-I9, I23) against transformers' models, with the same weights."""

from __future__ import annotations

import inspect
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Draws, Spec, agree
from lectures import SPECS, Row, every, example
from torch.func import functional_call

import leec

transformers = pytest.importorskip("transformers")
GPT, BERT = "attention/gpt.lee", "attention/bert.lee"
SIZES = ((17, 8, 1, 1, 6), (11, 16, 2, 2, 8), (30, 24, 3, 4, 12))  # vocabulary, d, layers, heads, context
FIRST, *OTHERS = SIZES
CONFIGURATIONS = [FIRST, *(pytest.param(sizes, marks=pytest.mark.slow) for sizes in OTHERS)]
NAMES = ("vocab", "d", "layers", "heads", "context")
PROBES = {
    GPT: """
example probe:
    net = GPT({0}, {1}, {2}, {3}, {4})
    tokens: int[4, {4}] ~ randint(0, {0})
    lengths: int[4] ~ randint(1, {4})
    return net(tokens), net.padded(tokens, lengths)
""",
    BERT: """
example probe:
    net = MaskedLM({0}, {1}, {2}, {3}, {4})
    tokens: int[4, {4}] ~ randint(0, {0})
    lengths: int[4] ~ randint(1, {4})
    return net(tokens, tokens % 2, lengths), net.encoder(tokens, tokens % 2, lengths)
""",
}


@cache
def generated(file: str, sizes: tuple[int, ...]):
    """Both files of the declarations alone, used as an example does: the number of layers chooses their code."""
    text = (SPECS / file).read_text(encoding="utf-8").partition("# ---- training")[0]
    program = leec.load(text + PROBES[file].format(*sizes), dtype="f64")
    return {backend: program.backend(backend) for backend in ("numpy", "torch")}


def made(file: str, kind: str, sizes: tuple[int, ...], weights: dict[str, torch.Tensor]):
    """Modules of both files with the same weights; a file has a class for every number of layers in use."""
    for backend, array in (("numpy", np.asarray), ("torch", torch.as_tensor)):
        for name, cls in vars(generated(file, sizes)[backend]).items():
            if not name.startswith(kind):
                continue
            known = inspect.signature(cls.__init__).parameters
            net = cls(**{n: v for n, v in zip(NAMES, sizes, strict=True) if n in known})
            if net.tensors().keys() == weights.keys():
                net.load_tensors({k: v.detach().numpy() for k, v in weights.items()})
                yield net, array
                break
        else:
            raise AssertionError(f"no {kind} of {sizes} in {backend}")


def padded(sizes: tuple[int, ...], rows: int = 4):
    """Words, true lengths, and the mask that transformers wants."""
    vocab, _, _, _, context = sizes
    rng = np.random.default_rng(sum(sizes))
    tokens, lengths = rng.integers(0, vocab, (rows, context)), rng.integers(1, context + 1, rows)
    return tokens, lengths, torch.as_tensor(np.arange(context) < lengths[:, None])


# ---- transformers' models, and how their weights are called here: a name, transposed if it ends with T


def gpt(sizes: tuple[int, ...]):
    """A GPT-2 with weights drawn wide enough to matter."""
    vocab, d, layers, heads, context = sizes
    torch.manual_seed(sum(sizes))
    config = transformers.GPT2Config(
        vocab_size=vocab, n_positions=context, n_embd=d, n_layer=layers, n_head=heads, initializer_range=0.3
    )
    return transformers.GPT2LMHeadModel(config).double().eval()


def gpt_names(layers: int) -> dict[str, str | tuple[str, ...]]:
    names = {"wte.weight": "token.table", "wpe.weight": "position.table", **norm("ln_f", "final")}
    for i in range(layers):
        here, there = f"h.{i}.", f"blocks.{i}."
        asked = [f"{there}attention.{n}" for n in ("query", "key", "value")]
        names |= {f"{here}attn.c_attn.weight": tuple(f"{a}.w" for a in asked)}
        names |= {f"{here}attn.c_attn.bias": tuple(f"{a}.b" for a in asked)}
        parts = (("attn.c_proj", "attention.output"), ("mlp.c_fc", "up"), ("mlp.c_proj", "down"))
        for a, b in parts:
            names |= {f"{here}{a}.weight": f"{there}{b}.w", f"{here}{a}.bias": f"{there}{b}.b"}
        names |= norm(f"{here}ln_1", f"{there}norm1") | norm(f"{here}ln_2", f"{there}norm2")
    return {f"transformer.{k}": v for k, v in names.items()}


def bert(sizes: tuple[int, ...], kind: str = "BertForMaskedLM", **options: object):
    vocab, d, layers, heads, context = sizes
    torch.manual_seed(sum(sizes))
    config = transformers.BertConfig(
        vocab_size=vocab, hidden_size=d, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=4 * d,
        max_position_embeddings=context, initializer_range=0.3, **options,
    )  # fmt: skip
    return getattr(transformers, kind)(config).double().eval()


def bert_names(layers: int, *heads: tuple[str, str]) -> dict[str, str | tuple[str, ...]]:
    """Of the encoder, and of linear layers on top of it."""
    below = {"word": "token", "token_type": "segment", "position": "position"}
    names = {f"embeddings.{a}_embeddings.weight": f"encoder.{b}.table" for a, b in below.items()}
    names |= norm("embeddings.LayerNorm", "encoder.norm")
    for i in range(layers):
        here, there = f"encoder.layer.{i}.", f"encoder.blocks.{i}."
        parts = [(f"attention.self.{n}", f"attention.{n}") for n in ("query", "key", "value")]
        parts += [
            ("attention.output.dense", "attention.output"),
            ("intermediate.dense", "up"),
            ("output.dense", "down"),
        ]
        for a, b in parts:
            names |= dense(here + a, there + b)
        names |= norm(f"{here}attention.output.LayerNorm", f"{there}norm1")
        names |= norm(f"{here}output.LayerNorm", f"{there}norm2")
    names = {f"bert.{k}": v for k, v in names.items()}
    for a, b in heads:
        names |= dense(a, b)
    return names


def masked_lm_names(layers: int) -> dict[str, str | tuple[str, ...]]:
    head = "cls.predictions."
    names = bert_names(layers, (f"{head}transform.dense", "change")) | norm(f"{head}transform.LayerNorm", "norm")
    return names | {f"{head}bias": "bias"}


def dense(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.weight": f"{ours}.w.T", f"{theirs}.bias": f"{ours}.b"}


def norm(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.weight": f"{ours}.gamma", f"{theirs}.bias": f"{ours}.beta"}


def weights_of(net: torch.nn.Module, names: dict[str, str | tuple[str, ...]]) -> dict[str, torch.Tensor]:
    """The weights of transformers' model under the names of here."""
    theirs, found = dict(net.named_parameters()), {}
    for name, ours in names.items():
        if isinstance(ours, tuple):
            found |= zip(ours, theirs[name].chunk(len(ours), -1), strict=True)
        else:
            found[ours.removesuffix(".T")] = theirs[name].T if ours.endswith(".T") else theirs[name]
    return found


def with_weights(net: torch.nn.Module, names: dict[str, str | tuple[str, ...]], p: Draws, *given, **options):
    """What transformers' model computes with the weights of here."""
    theirs = {}
    for name, ours in names.items():
        if isinstance(ours, tuple):
            theirs[name] = torch.cat([p[o] for o in ours], -1)
        else:
            theirs[name] = p[ours.removesuffix(".T")].T if ours.endswith(".T") else p[ours]
    assert theirs.keys() <= dict(net.named_parameters()).keys()
    return functional_call(net, theirs, given, options)


@pytest.mark.parametrize("sizes", CONFIGURATIONS, ids=str)
def test_gpt_is_that_of_transformers(sizes: tuple[int, ...]) -> None:
    theirs = gpt(sizes)
    tokens, lengths, mask = padded(sizes)
    whole = theirs(torch.as_tensor(tokens)).logits
    cut = theirs(torch.as_tensor(tokens), attention_mask=mask.long()).logits
    for net, array in made(GPT, "GPT", sizes, weights_of(theirs, gpt_names(sizes[2]))):
        agree("logits", torch.as_tensor(net(array(tokens))).detach(), whole.detach())
        given = torch.as_tensor(net.padded(array(tokens), array(lengths))).detach()
        agree("logits with padding", given[mask], cut[mask].detach())


@pytest.mark.parametrize("sizes", CONFIGURATIONS, ids=str)
def test_bert_is_that_of_transformers(sizes: tuple[int, ...]) -> None:
    theirs = bert(sizes)
    tokens, lengths, mask = padded(sizes)
    part = (np.arange(tokens.shape[1]) >= lengths[:, None] // 2).astype(np.int64)
    given = [torch.as_tensor(x) for x in (tokens, mask.long(), part)]
    wanted = theirs(given[0], attention_mask=given[1], token_type_ids=given[2], output_hidden_states=True)
    for net, array in made(BERT, "MaskedLM", sizes, weights_of(theirs, masked_lm_names(sizes[2]))):
        found = torch.as_tensor(net(array(tokens), array(part), array(lengths))).detach()
        agree("logits", found[mask], wanted.logits[mask].detach())
        hidden = torch.as_tensor(net.encoder(array(tokens), array(part), array(lengths))).detach()
        agree("hidden states", hidden[mask], wanted.hidden_states[-1][mask].detach())


# ---- rows


def one_by_one(d):
    """A block of torch's functions that sees all positions before each at once."""

    def normed(x, number: int):
        return F.layer_norm(x, (16,), d.block[f"norm{number}.gamma"], d.block[f"norm{number}.beta"])

    def dense(x, name: str):
        return x @ d.block[f"{name}.w"] + d.block[f"{name}.b"]

    parts = (dense(normed(d.x, 1), f"attention.{n}").unflatten(2, (2, 8)) for n in ("query", "key", "value"))
    mixed = F.scaled_dot_product_attention(*(p.transpose(1, 2) for p in parts), is_causal=True)
    x = d.x + dense(mixed.transpose(1, 2).flatten(2), "attention.output")
    return (d.c * (x + dense(F.gelu(dense(normed(x, 2), "up"), approximate="tanh"), "down"))).sum()


CACHED = """

example one_by_one:
    block = Block(16, 2)
    x: [2, 3, 16] ~ normal(0, 1)
    c: [2, 3, 16] ~ normal(0, 1)
    first, keys, values = block.extend(x[:, 0:1], zeros([2, 3, 16]), zeros([2, 3, 16]), 0)
    second, more_keys, more_values = block.extend(x[:, 1:2], keys, values, 1)
    third, _, _ = block.extend(x[:, 2:3], more_keys, more_values, 2)
    return sum(c * concat(first, second, third, axis = 1))
"""


def next_word(d):
    z = with_weights(gpt((11, 16, 2, 2, 8)), gpt_names(2), d.net, d.tokens[:, :-1]).logits
    return F.cross_entropy(z.transpose(1, 2), d.tokens[:, 1:])


def next_word_of_padded(d):
    """Every word as it stands, those behind the lengths too: they see what is before the length."""
    mask = (torch.arange(6) < d.lengths[:, None]).long()
    z = with_weights(gpt((11, 16, 2, 2, 8)), gpt_names(2), d.net, d.tokens, attention_mask=mask).logits
    return F.cross_entropy(z.transpose(1, 2), d.tokens)


def inside(d):
    return torch.arange(d.tokens.shape[1]) < d.lengths[:, None]


def with_bert(kind: str, names, d, tokens, layers: int = 2, **options: object):
    net = bert((11, 8, layers, 2, 8), kind, **options)
    return with_weights(net, names, d.net, tokens, attention_mask=inside(d).long(), token_type_ids=d.part)


def recovered(d):
    z = with_bert("BertForMaskedLM", masked_lm_names(2), d, d.shown).logits
    return F.cross_entropy(z[d.picked], d.tokens[d.picked], reduction="sum") / max(int(d.picked.sum()), 1)


POOLED = (("bert.pooler.dense", "pool"), ("classifier", "head"))


def classified(d):
    z = with_bert("BertForSequenceClassification", bert_names(2, *POOLED), d, d.tokens, num_labels=3).logits
    return (d.c * z).sum()


def in_order(d):
    names = bert_names(1, POOLED[0], ("cls.seq_relationship", "head"))
    return F.cross_entropy(with_bert("BertForNextSentencePrediction", names, d, d.tokens, layers=1).logits, d.y)


def tagged(d):
    names = bert_names(1, ("classifier", "head"))
    z = with_bert("BertForTokenClassification", names, d, d.tokens, layers=1, num_labels=3).logits
    return F.cross_entropy(z[inside(d)], d.y[inside(d)])


def asked(d):
    out = with_bert("BertForQuestionAnswering", bert_names(2, ("qa_outputs", "ends")), d, d.tokens)
    a, b = (z.masked_fill(~inside(d), -torch.inf) for z in (out.start_logits, out.end_logits))
    return (F.cross_entropy(a, d.first) + F.cross_entropy(b, d.last)) / 2


def hidden(spec: Spec) -> None:
    """Which are chosen, and what becomes of them, one by one."""
    d = spec.draws("covered")
    for column in ("numpy", "torch"):
        seen, chosen = map(np.asarray, spec.results("covered", 1, column).values())
        for (b, t), pick in np.ndenumerate(d["pick"]):
            is_chosen = pick < 0.15 and t < d["lengths"][b]
            ways = 20 if d["kind"][b, t] < 0.8 else d["other"][b, t] if d["kind"][b, t] < 0.9 else d["tokens"][b, t]
            assert chosen[b, t] == is_chosen
            assert seen[b, t] == (ways if is_chosen else d["tokens"][b, t])


def answered(spec: Spec) -> None:
    """All pairs of positions, tried one after the other."""
    d = spec.draws("answered")
    for column in ("numpy", "torch"):
        i, j = map(np.asarray, spec.results("answered", 1, column).values())
        for row, (a, b) in enumerate(zip(d["first"], d["last"], strict=True)):
            pairs = [(x, y) for x in range(20) for y in range(x, min(x + 15, 20))]
            assert (i[row], j[row]) == max(pairs, key=lambda p: a[p[0]] + b[p[1]])


def continues(name: str):
    """The check that an example writes what transformers' generation writes with the same weights."""

    def check(spec: Spec) -> None:
        theirs = gpt((11, 16, 2, 2, 16))
        draws = spec.draws(name)
        with torch.no_grad():
            for path, tensor in weights_of(theirs, gpt_names(2)).items():
                tensor.copy_(torch.as_tensor(draws[f"net.{path}"]))
        prompt, mask = torch.as_tensor(draws["prompt"]), torch.ones(4, 3, dtype=torch.int64)
        options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
        wanted = theirs.generate(prompt, attention_mask=mask, **options)
        assert len({tuple(row[3:].tolist()) for row in wanted}) > 1
        for column in ("numpy", "torch"):
            agree(name, spec.results(name, 1, column)["value"], wanted)

    return check


def noisy(spec: Spec) -> None:
    """As often as softmax says, and without noise when it is cold."""
    share = np.array([0.5, 0.3, 0.15, 0.05])
    found = np.bincount(spec.draws("often")["words"], minlength=4) / 200000
    assert np.abs(found - share).max() < 0.004


OFTEN = """

example often:
    z[b in 200000, k in 4] = log(where(k == 0, 0.5, where(k == 1, 0.3, where(k == 2, 0.15, 0.05))))
    words = drawn(z)
    return words
"""


def faintly(d):
    """Values as small as what keeps LayerNorm from dividing by 0."""
    small = {path: 1e-5 * d.net[path] for path in d.net}
    return (
        1e16
        * (
            d.c
            * with_bert(
                "BertForMaskedLM",
                masked_lm_names(2),
                Draws(
                    {"tokens": d.tokens, "part": d.part, "lengths": d.lengths}
                    | {f"net.{k}": v for k, v in small.items()}
                ),
                d.tokens,
            ).logits
        )[inside(d)].sum()
    )


FAINT = """

example faint:
    net = MaskedLM(11, d = 8, layers = 2, heads = 2, context = 8)
    tokens: int[3, 6] ~ randint(0, 10)
    part: int[3, 6] ~ randint(0, 2)
    lengths: int[3] ~ randint(1, 7)
    c: [3, 6, 11] ~ normal(0, 1)
    logits = (1e-5 * net)(tokens, part, lengths)
    return 1e16 * sum(where(arange(6)[None, :, None] < lengths[:, None, None], c * logits, 0))
"""
HIDDEN = every(example("hidden", recovered), example("faint", faintly, 1e-8))
BEGINS = (("0.02", "what parameters begin with"),)
ROWS = (
    Row("G15", GPT, "continued", continues("greedy")),
    Row("G15", GPT, "continued_with_cache", continues("greedy_with_cache")),
    Row("G21", GPT, "drawn", noisy, OFTEN),
    Row(
        "I23", GPT, "GPT", every(example("next_word", next_word), example("padded", next_word_of_padded)), spare=BEGINS
    ),
    Row("I23", GPT, "Block", every(example("next_word", next_word), example("one_by_one", one_by_one)), CACHED),
    Row("I3", BERT, "MaskedLM", HIDDEN, FAINT),
    Row("I3", BERT, "Bert", HIDDEN, FAINT),
    Row("I3", BERT, "Layer", HIDDEN, FAINT),
    Row("I3", BERT, "recovered", example("hidden", recovered)),
    Row("I3", BERT, "hide", hidden),
    Row("I4", BERT, "follows", example("in_order", in_order)),
    Row("I6", BERT, "Classifier", example("classified", classified)),
    Row("I7", BERT, "Tagger", example("tagged", tagged)),
    Row("I7", BERT, "tagging", example("tagged", tagged)),
    Row("I8", BERT, "Classifier", example("classified", classified)),
    Row("I9", BERT, "Reader", example("asked", asked)),
    Row("I9", BERT, "span", example("asked", asked)),
    Row("I9", BERT, "edge", example("asked", asked)),
    Row("I9", BERT, "best_span", answered),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
