"""Group N, lifelong learning, against SciPy; what is kept of earlier tasks, on clouds of points."""

from __future__ import annotations

import numpy as np
import pytest
from against import Spec, agree
from lectures import SPECS, Row
from scipy.optimize import nnls
from trainings import loaded, quiet

GEM = "lifelong/gem.lee"
RNG = np.random.default_rng(3)


def nearest(spec: Spec) -> None:
    """z = g + v past, where v ≥ 0 is the least-squares solution of the dual; nothing moves what points nowhere against."""
    g = RNG.normal(size=6)
    for past in (RNG.normal(size=(2, 6)), np.outer([1.0, 2.0], g)):
        v, _ = nnls(past.T, -g)
        expected = g + v @ past
        for column in ("numpy", "torch"):
            agree(
                f"project in {column}",
                spec.value("project", column, g=g, past=past, steps=3000, margin=0.0),
                expected,
                1e-6,
            )


ROWS = (Row("N5", GEM, "project", nearest),)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_agrees_with_its_reference(row: Row) -> None:
    row.check(row.spec)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ("numpy", "torch"))
def test_what_was_learned_first_is_not_forgotten(backend: str) -> None:
    """Three tasks in turn that contradict each other in places: the mean over all of them at the end."""
    program = loaded((SPECS / GEM).read_text(encoding="utf-8"))
    found = []
    for kept in (64, 1):
        with quiet("in_turn", backend) as run:
            program.backend(backend).in_turn(kept=kept, run=run)
        found.append(np.mean([v for row in run.history for label, v in row.items() if "accuracy" in label]))
    assert found[0] >= 0.55 and found[0] > found[1] + 0.1, found
