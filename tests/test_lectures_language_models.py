"""GPT and BERT (inventory G21, I3, I23) against transformers' models, whose random weights the generated modules take."""

from __future__ import annotations

import inspect
from functools import cache

import numpy as np
import pytest
import torch
from against import Spec, agree
from lectures import SPECS, Row

import leec

transformers = pytest.importorskip("transformers")
MODELS = "attention/language_models.lee"
SIZES = ((11, 16, 2, 2, 8), (30, 24, 3, 4, 12), (17, 8, 1, 1, 6))  # vocabulary, d, layers, heads, context


NAMES = ("vocab", "d", "layers", "heads", "context")
PROBES = {
    "GPT": """
example probe:
    net = GPT({0}, {1}, {2}, {3}, {4})
    tokens: int[4, {4}] ~ randint(0, {0})
    lengths: int[4] ~ randint(1, {4})
    return net(tokens), net.padded(tokens, lengths)
""",
    "MaskedLM": """
example probe:
    net = MaskedLM({0}, {1}, {2}, {3}, {4})
    tokens: int[4, {4}] ~ randint(0, {0})
    lengths: int[4] ~ randint(1, {4})
    return net(tokens, tokens % 2, lengths)
""",
}


@cache
def generated(probe: str, sizes: tuple[int, ...]):
    """Both files of the declarations alone, used as an example does: the number of layers chooses their code."""
    text = (SPECS / MODELS).read_text(encoding="utf-8").partition("# ---- examples")[0]
    program = leec.load(text + PROBES[probe].format(*sizes), dtype="f64")
    return {backend: program.backend(backend) for backend in ("numpy", "torch")}


def made(kind: str, sizes: tuple[int, ...], weights: dict[str, torch.Tensor]):
    """Modules of both files with the same weights; a file has a class for every number of layers in use."""
    for backend, array in (("numpy", np.asarray), ("torch", torch.as_tensor)):
        for name, cls in vars(generated(kind, sizes)[backend]).items():
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


def linear(name: str, weight, bias) -> dict[str, torch.Tensor]:
    return {f"{name}.w": weight, f"{name}.b": bias}


def norm(name: str, module) -> dict[str, torch.Tensor]:
    return {f"{name}.gamma": module.weight, f"{name}.beta": module.bias}


def gpt(sizes: tuple[int, ...]):
    """A GPT-2 with weights drawn wide enough to matter, and its weights by the spec's names."""
    vocab, d, layers, heads, context = sizes
    torch.manual_seed(sum(sizes))
    config = transformers.GPT2Config(
        vocab_size=vocab, n_positions=context, n_embd=d, n_layer=layers, n_head=heads, initializer_range=0.3
    )
    net = transformers.GPT2LMHeadModel(config).double().eval()
    body = net.transformer
    weights = {"token.table": body.wte.weight, "position.table": body.wpe.weight} | norm("final", body.ln_f)
    for i, block in enumerate(body.h):
        asks = zip(block.attn.c_attn.weight.detach().split(d, 1), block.attn.c_attn.bias.detach().split(d), strict=True)
        parts = {f"attention.{n}": pair for n, pair in zip(("query", "key", "value"), asks, strict=True)}
        parts |= {"attention.output": (block.attn.c_proj.weight, block.attn.c_proj.bias)}
        parts |= {"up": (block.mlp.c_fc.weight, block.mlp.c_fc.bias)}
        parts |= {"down": (block.mlp.c_proj.weight, block.mlp.c_proj.bias)}
        found = norm("norm1", block.ln_1) | norm("norm2", block.ln_2)
        for name, pair in parts.items():
            found |= linear(name, *pair)
        weights |= {f"blocks.{i}.{k}": v for k, v in found.items()}
    return net, weights


def bert(sizes: tuple[int, ...]):
    vocab, d, layers, heads, context = sizes
    torch.manual_seed(sum(sizes))
    config = transformers.BertConfig(
        vocab_size=vocab, hidden_size=d, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=4 * d,
        max_position_embeddings=context, initializer_range=0.3,
    )  # fmt: skip
    net = transformers.BertForMaskedLM(config).double().eval()
    below, head = net.bert.embeddings, net.cls.predictions
    tables = {"token": below.word_embeddings, "segment": below.token_type_embeddings}
    tables |= {"position": below.position_embeddings}
    weights = {f"encoder.{k}.table": v.weight for k, v in tables.items()} | norm("encoder.norm", below.LayerNorm)
    for i, block in enumerate(net.bert.encoder.layer):
        attention = block.attention
        layers_ = {f"attention.{n}": getattr(attention.self, n) for n in ("query", "key", "value")}
        layers_ |= {"attention.output": attention.output.dense}
        layers_ |= {"up": block.intermediate.dense, "down": block.output.dense}
        found = norm("norm1", attention.output.LayerNorm) | norm("norm2", block.output.LayerNorm)
        for name, module in layers_.items():
            found |= linear(name, module.weight.T, module.bias)
        weights |= {f"encoder.blocks.{i}.{k}": v for k, v in found.items()}
    weights |= linear("change", head.transform.dense.weight.T, head.transform.dense.bias)
    return net, weights | norm("norm", head.transform.LayerNorm) | {"bias": head.bias}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_gpt_is_that_of_transformers(sizes: tuple[int, ...]) -> None:
    theirs, weights = gpt(sizes)
    tokens, lengths, mask = padded(sizes)
    whole = theirs(torch.as_tensor(tokens)).logits
    cut = theirs(torch.as_tensor(tokens), attention_mask=mask.long()).logits
    for net, array in made("GPT", sizes, weights):
        agree("logits", torch.as_tensor(net(array(tokens))).detach(), whole.detach())
        given = torch.as_tensor(net.padded(array(tokens), array(lengths))).detach()
        agree("logits with padding", given[mask], cut[mask].detach())


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_bert_is_that_of_transformers(sizes: tuple[int, ...]) -> None:
    theirs, weights = bert(sizes)
    tokens, lengths, mask = padded(sizes)
    part = (np.arange(tokens.shape[1]) >= lengths[:, None] // 2).astype(np.int64)
    given = [torch.as_tensor(x) for x in (tokens, mask.long(), part)]
    wanted = theirs(given[0], attention_mask=given[1], token_type_ids=given[2]).logits
    for net, array in made("MaskedLM", sizes, weights):
        found = torch.as_tensor(net(array(tokens), array(part), array(lengths))).detach()
        agree("logits", found[mask], wanted[mask].detach())


def continues(name: str):
    """The check that an example writes what transformers' generation writes with the same weights."""

    def check(spec: Spec) -> None:
        theirs, weights = gpt((11, 16, 2, 2, 16))
        draws = spec.draws(name)
        with torch.no_grad():
            for path, tensor in weights.items():
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
    found = np.bincount(spec.draws("often")["words"], minlength=4) / 20000
    assert np.abs(found - share).max() < 0.015


OFTEN = """

example often:
    z[b in 20000, k in 4] = log(where(k == 0, 0.5, where(k == 1, 0.3, where(k == 2, 0.15, 0.05))))
    words = drawn(z)
    return words
"""
ROWS = (
    Row("G15", MODELS, "continued", continues("greedy")),
    Row("G15", MODELS, "continued_with_cache", continues("greedy_with_cache")),
    Row("G21", MODELS, "drawn", noisy, OFTEN),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
