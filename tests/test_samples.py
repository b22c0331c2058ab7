"""The samples of the language are specs of the project: each of their declarations and procedures has its counterpart.

A counterpart has the same kind and a better name, or the same; what a procedure learns stands in TRAINED or RESULTS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from lectures import SPECS, walk
from test_lecture_trainings import TRAINED
from test_lectures_reinforcement import RESULTS

from leec.diagnostics import Source
from leec.syntax import nodes
from leec.syntax.parse import parse

SAMPLES = Path(__file__).parent / "samples"
PRELUDE = Path(__file__).parents[1] / "leec/std/prelude.lee"  # what a sample still writes by hand may stand there
Declared = nodes.Function | nodes.Model | nodes.Optimizer


@dataclass(frozen=True)
class Sample:
    """A sample, the specs that say the same, and what is called otherwise there."""

    name: str
    specs: tuple[str, ...]
    renamed: dict[str, str] = field(default_factory=dict)

    def counterpart(self, name: str) -> str:
        return self.renamed.get(name, name)


COVERED = (
    Sample("cnn", ("convolution/from_sums.lee",)),
    Sample("linear_regression", ("linear_regression.lee",)),
    Sample("lstm", ("recurrent/cells.lee", "recurrent/networks.lee"), {"Bidirectional": "BidirectionalLSTM"}),
    Sample(
        "procedures",
        (
            "adversarial/attacks.lee",
            "meta/maml.lee",
            "lifelong/plasticity.lee",
            "compression/pruning.lee",
            "unsupervised/kmeans.lee",
            "reinforcement/policy_gradient.lee",
        ),
        {"fgsm": "pgd", "lifelong": "elastic", "lottery_ticket": "lottery"},
    ),
    Sample("vae_gan_flow", ("generative/likelihood.lee", "generative/adversarial.lee"), {"wgan": "wgan_gp"}),
    Sample("transformer", ("attention/attention.lee", "attention/gpt.lee")),
    Sample("optimizers", ("regression/optimizers.lee", "regression/schedules.lee"), {"Adagrad": "AdagradSum"}),
    Sample("stress/beam", ("attention/decoding.lee",)),
    Sample("stress/bert", ("attention/bert.lee",)),
    Sample("stress/cross_validation", ("generalisation/cross_validation.lee",)),
    Sample("stress/ctc", ("recurrent/ctc.lee",)),
    Sample("stress/cyclegan", ("generative/cyclegan.lee",), {"adversarial": "towards"}),
    Sample("stress/dann", ("transfer/domains.lee",), {"fit": "domain_adversarial"}),
    Sample("stress/dqn", ("reinforcement/dqn.lee",)),
    Sample("stress/gem", ("lifelong/gem.lee",)),
    Sample("stress/glow", ("generative/glow.lee",), {"Coupling": "ChannelCoupling"}),
    Sample("stress/gmm", ("unsupervised/mixtures.lee",)),
    Sample("stress/hac", ("unsupervised/hac.lee",), {"agglomerate": "agglomerated"}),
    Sample("stress/learned_optimizer", ("meta/learned_optimizer.lee",), {"meta": "learned"}),
    Sample("stress/lime", ("explain/explain.lee",), {"explain": "lime"}),
    Sample("stress/lle", ("unsupervised/neighbours.lee",)),
    Sample("stress/masked_attention", ("attention/padding.lee",), {"mask": "inside"}),
    Sample("stress/neuron_pruning", ("compression/neurons.lee",), {"shrink": "shrunk"}),
    Sample("stress/ppo", ("reinforcement/ppo.lee",)),
    Sample("stress/saddle", ("analysis/saddle.lee",)),
    Sample("stress/schedules", ("regression/schedules.lee",)),
    Sample("stress/seq2seq", ("recurrent/seq2seq.lee",)),
    Sample("stress/smoothness", ("unsupervised/smoothness.lee",)),
    Sample("stress/spectral_norm", ("generative/adversarial.lee",), {"Critic": "SpectralCritic"}),
    Sample(
        "stress/tsne",
        ("unsupervised/tsne.lee",),
        {
            "conditional": "chances",
            "entropy": "doubt",
            "calibrate": "calibrated",
        },
    ),
    Sample("stress/vqvae", ("representation/coding.lee",), {"fit": "vector_quantised"}),
)


@cache
def items(path: Path) -> tuple[nodes.Item, ...]:
    return parse(Source(path.name, path.read_text(encoding="utf-8")))[0].items


def declared(path: Path) -> dict[str, Declared]:
    return {i.name.id: i for i in items(path) if isinstance(i, Declared)}


def kind(item: Declared) -> str:
    return item.kind if isinstance(item, nodes.Function) else type(item).__name__


def names(item: nodes.Node) -> set[str]:
    return {node.id for node in walk(item) if isinstance(node, nodes.Name)}


def specs(sample: Sample) -> dict[str, tuple[str, Declared]]:
    """What the specs of a sample declare, each with the file that it stands in."""
    return {name: (file, item) for file in sample.specs for name, item in declared(SPECS / file).items()}


def procedures(file: str, name: str) -> Iterator[tuple[str, str]]:
    """A procedure and those beside it that call it."""
    yield file, name
    for other, item in declared(SPECS / file).items():
        if kind(item) == "train" and other != name and name in names(item):
            yield from procedures(file, other)


@pytest.mark.parametrize("sample", COVERED, ids=lambda s: s.name)
def test_declarations_have_counterparts(sample: Sample) -> None:
    wanted = {sample.counterpart(n): kind(i) for n, i in declared(SAMPLES / f"{sample.name}.lee").items()}
    found = {n: kind(i) for n, (_, i) in specs(sample).items()} | {n: kind(i) for n, i in declared(PRELUDE).items()}
    assert wanted == {name: found.get(name) for name in wanted}


@pytest.mark.parametrize("sample", COVERED, ids=lambda s: s.name)
def test_procedures_reach_a_stated_result(sample: Sample) -> None:
    stated, there = {(t.file, t.procedure) for t in TRAINED} | {(file, name) for file, name, _ in RESULTS}, specs(
        sample
    )
    for name, item in declared(SAMPLES / f"{sample.name}.lee").items():
        if kind(item) == "train":
            file, _ = there[sample.counterpart(name)]
            assert stated & set(procedures(file, sample.counterpart(name))), f"{file}: {name}"


@pytest.mark.parametrize("file", sorted({file for s in COVERED for file in s.specs}))
def test_specs_have_examples(file: str) -> None:
    assert any(isinstance(i, nodes.Example) for i in items(SPECS / file))
