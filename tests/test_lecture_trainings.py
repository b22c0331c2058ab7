"""The lectures' systems trained on real data: each reaches the result that is stated here.

By NumPy and by torch in turn, since minutes are all that both would add: that they compute the same is test_agree.py's.

A row of coverage.toml whose status is `trained` stands here; the test part of a data set is the same in every run.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache

import pytest
from lectures import SPECS

import leec


@dataclass(frozen=True)
class Trained:
    """A procedure, the rows of the inventory that it shows, what its last report says at least or at most."""

    rows: str
    file: str
    procedure: str
    report: str
    least: float = float("-inf")
    most: float = float("inf")


TRAINED = (
    Trained("", "linear_regression.lee", "fit", "rmse", most=56),  # diabetes, whose deviation is 77
    Trained("A1 A9", "regression/descent.lee", "fit", "test", most=3100),  # mean squared error; the variance is 5930
    Trained("A15", "regression/models.lee", "fit", "accuracy", least=0.97),  # wine
    Trained("B3", "generalisation/regularisation.lee", "decaying", "rmse", most=58),  # diabetes
    Trained("B4", "generalisation/regularisation.lee", "shrinking", "rmse", most=58),
    Trained("B5", "generalisation/selection.lee", "early_stopping", "test", least=0.94),  # digits
    Trained("B7", "generalisation/selection.lee", "validated", "test", least=0.96),  # breast_cancer
    Trained("", "generalisation/cross_validation.lee", "choose", "test", least=0.94),  # digits
    Trained("B10", "generalisation/preparation.lee", "in_batches", "accuracy", least=0.89),  # digits
    Trained("B13", "generalisation/preparation.lee", "fit", "accuracy", least=0.94),
    Trained("B14", "generalisation/selection.lee", "committee", "together", least=0.93),
    Trained("", "regression/schedules.lee", "warmed", "accuracy", least=0.95),
    Trained("", "regression/schedules.lee", "like_transformers", "accuracy", least=0.95),
    Trained("", "regression/schedules.lee", "orthogonal_steps", "accuracy", least=0.945),
    Trained("", "regression/schedules.lee", "in_steps", "accuracy", least=0.95),
    Trained("", "regression/schedules.lee", "swinging", "accuracy", least=0.95),
    Trained("C5 C6 C11", "activations/activations.lee", "fit", "accuracy", least=0.93),
    Trained("D1 D2 D3", "normalisation/normalisation.lee", "fit", "accuracy", least=0.92),
    Trained("E10", "convolution/cnn.lee", "fit", "accuracy", least=0.96),
    Trained("E11", "convolution/cnn.lee", "fit_without_pooling", "accuracy", least=0.945),
    Trained("H9", "generative/glow.lee", "fit", "bits", most=2.85),  # a pixel of 17 levels; 4.09 if all were alike
    Trained("H23", "generative/cyclegan.lee", "fit", "translated", least=0.9),  # of 0.64 before
    Trained("H11", "generative/adversarial.lee", "gan", "apart", most=1.1),  # 1.77 if every pixel were drawn by itself
    Trained("H15", "generative/adversarial.lee", "wgan", "apart", most=0.9),
    Trained("H16", "generative/adversarial.lee", "wgan_gp", "apart", most=0.9),
    Trained("H17", "generative/adversarial.lee", "sngan", "apart", most=0.9),
    Trained("H21", "generative/adversarial.lee", "by_label", "as_ordered", least=0.95),  # digits; 0.1 by chance
    Trained("", "convolution/from_sums.lee", "fit", "accuracy", least=0.96),
    Trained("", "convolution/unet.lee", "denoise", "left", most=0.31),  # of the noise on digits
    Trained("", "attention/padded.lee", "fit", "accuracy", least=0.65),  # a chapter of four; 0.37 by the largest
    Trained("", "attention/transformer.lee", "translate", "exact", least=0.8),  # whole dates
    Trained("G26", "recurrent/seq2seq.lee", "fit", "exact", least=0.85),
    Trained("I3", "attention/bert.lee", "pretrain", "perplexity", most=85),  # 109 by frequency
    Trained("I9", "attention/bert.lee", "finetune", "exact", least=0.7),  # a third by the sentence alone
    Trained("I23", "attention/gpt.lee", "fit", "perplexity", most=11.5),  # 25.8 by frequency, 11.7 by the letter before
    Trained("I35", "representation/coding.lee", "vector_quantised", "error", most=2.9),  # 4.7 by the mean image
    Trained("", "representation/coding.lee", "vector_quantised", "used", least=18),  # of 32 codes
    Trained("J6", "adversarial/attacks.lee", "by_proxy", "transferred", most=0.2),  # of 0.94 on clean digits
    Trained("J7", "adversarial/attacks.lee", "by_ensemble", "attacked", most=0.1),
    Trained("J14", "adversarial/defence.lee", "hardened", "attacked", least=0.6),
    Trained("K6", "explain/explain.lee", "probed", "high", least=0.93),
    Trained("L1", "transfer/transfer.lee", "fine_tuned", "own", least=0.83),
    Trained("L2", "transfer/transfer.lee", "conservative", "kept", least=0.35),  # of 0 to 4 after learning 5 to 9
    Trained("L3", "transfer/transfer.lee", "layer_transfer", "tuned", least=0.93),
    Trained("L4", "transfer/transfer.lee", "multi_task", "kind", least=0.93),
    Trained("L8", "transfer/domains.lee", "domain_adversarial", "target", least=0.65),  # 0.54 by the source alone
    Trained("L9", "transfer/domains.lee", "max_discrepancy", "target", least=0.81),  # 0.77 by the source alone
    Trained("L12", "transfer/transfer.lee", "self_taught", "accuracy", least=0.77),
    Trained("O1", "compression/pruning.lee", "pruned", "pruned", least=0.92),  # one weight of ten is left
    Trained("O2", "compression/neurons.lee", "prune", "accuracy", least=0.92),  # 83 neurons of 256 are left
    Trained("O3", "compression/pruning.lee", "lottery", "ticket", least=0.94),  # with 10 % of the weights
    Trained("O4", "compression/distillation.lee", "distillation", "ahead", least=0.015),  # of labels alone
    Trained("O5", "compression/distillation.lee", "ensemble", "student", least=0.9),
    Trained("O6", "compression/quantisation.lee", "few_bits", "tuned", least=0.85),  # weights -1, 0 and 1, scaled
    Trained("O7", "compression/quantisation.lee", "by_table", "shared", least=0.93),  # 3 bits a weight
    Trained("O8", "compression/quantisation.lee", "signs", "accuracy", least=0.85),
    Trained("O9", "compression/architecture.lee", "low_rank", "tuned", least=0.93),
    Trained("O10", "compression/architecture.lee", "separable", "accuracy", least=0.89),
    Trained("O11", "compression/dynamic.lee", "exits", "layers", most=2.2),  # of three
    Trained("O12", "compression/dynamic.lee", "widths", "narrow", least=0.84),  # 8 neurons of 64
    Trained("M7", "reinforcement/exploration.lee", "q_learning", "score", least=-13),  # the shortest way
    Trained("M8", "reinforcement/critic.lee", "by_monte_carlo", "gap", most=0.15),  # of values up to 0.43
    Trained("M9", "reinforcement/critic.lee", "by_difference", "gap", most=0.005),
    Trained("M15", "reinforcement/inverse.lee", "inverse", "pupil", least=0.6),  # the best there is: 0.74
    Trained("P3", "meta/maml.lee", "sinusoids", "after", most=1.1),  # of 2.9 before the one step
    Trained("P1 P10", "meta/few_shot.lee", "few_shot", "after", least=0.77),  # 0.59 by the first weights
    Trained("P8", "meta/reweighting.lee", "noisy", "accuracy", least=0.85),  # where half of the labels are drawn
    Trained("P5", "meta/learned_optimizer.lee", "learned", "left", most=1.0),  # of 110 before 100 steps
    Trained("N3 N4", "lifelong/plasticity.lee", "elastic", "first", least=0.9),  # 0.73 without the guard
    Trained("N4", "lifelong/plasticity.lee", "synaptic", "first", least=0.85),
    Trained("N5", "lifelong/gem.lee", "in_turn", "lifelong.kept", least=0.55),  # of tasks that contradict each other
    Trained("P4", "meta/maml.lee", "reptile", "after", most=0.9),  # of 2.7 before eight steps
    Trained("Q1", "unsupervised/mixtures.lee", "of_wine", "accuracy", least=0.97),
    Trained("Q7", "unsupervised/smoothness.lee", "fit", "accuracy", least=0.97),  # 0.80 by the six labels alone
    Trained("Q17", "unsupervised/tsne.lee", "of_digits", "alike", least=0.95),  # 0.68 in the plane of largest variance
    Trained("Q8", "unsupervised/kmeans.lee", "of_flowers", "agreement", least=0.7),  # iris
    Trained("Q8", "unsupervised/kmeans.lee", "of_digits", "agreement", least=0.55),
    Trained("Q9", "unsupervised/hac.lee", "fit", "agreement", least=0.75),  # iris
    Trained("Q13", "unsupervised/pca.lee", "fit", "above", most=1.001),  # of what PCA loses on digits
    Trained("Q14", "unsupervised/neighbours.lee", "unrolled", "mixtures", least=0.9),  # 0.07 in space
    Trained("Q15", "unsupervised/neighbours.lee", "unrolled", "smooth", least=0.95),
    Trained("R5", "classification/logistic.lee", "tumours", "accuracy", least=0.96),  # breast_cancer
    Trained("R6", "classification/logistic.lee", "flowers", "accuracy", least=0.9),  # iris
    Trained("S7", "analysis/experiments.lee", "by_batch_size", "test", least=0.91),  # digits
    Trained("S12 S13", "analysis/experiments.lee", "fat", "test", least=0.93),
    Trained("S14", "analysis/experiments.lee", "mismatched", "same", least=0.93),
    Trained("", "analysis/saddle.lee", "escape", "final", most=0.15),  # of 1.098 at the saddle
)


@cache
def loaded(file: str) -> leec.api.Loaded:
    return leec.load(SPECS / file)


def test_trained_rows_are_recorded() -> None:
    coverage = tomllib.loads((SPECS / "coverage.toml").read_text(encoding="utf-8"))
    recorded = {i for i, entry in coverage.items() if entry["status"] == "trained"}
    assert recorded == {i for t in TRAINED for i in t.rows.split()}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(TRAINED)), ids=lambda i: f"{TRAINED[i].file}:{TRAINED[i].procedure}")
def test_training_reaches_its_result(number: int) -> None:
    trained, backend = TRAINED[number], ("torch", "numpy")[number % 2]
    found = loaded(trained.file).run(trained.procedure, backend=backend)[1][-1][trained.report]
    assert trained.least <= found <= trained.most, f"{trained.report} = {found}"
