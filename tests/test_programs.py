"""Random well-typed specs: all programs of each agree at every level, and gradients pass finite differences.

`PYTHONPATH=.:tests python -m programs 500` prints what 500 specs reach of the language and of the op table. What was
found here once is a spec of its own in tests/agree.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from programs.coverage import CONSTRUCTS, reached, report
from programs.examined import Seen, examine
from programs.planted import PLANTS, is_found
from programs.specs import specs

from leec.ops import TABLE

CHUNK, CHUNKS = 100, 50

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
PHASES = [Phase.generate, Phase.shrink]


def hold(number: int, examples: int, thorough: bool = False) -> None:
    """Random specs, always the same ones for a number; nearly all of them must be ones that say something."""
    seen = Seen()

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=QUIET, phases=PHASES)
    @given(specs())
    def agree(text: str) -> None:
        try:
            wrong = examine(text, seen, thorough)
        except Exception as error:
            error.add_note(text)
            raise
        assert not wrong, "\n".join(("", text, *wrong))

    agree()
    print(dict(seen.what))
    assert seen.what["not finite"] + seen.what["steep"] <= 0.1 * seen.what["specs"], seen.what
    assert seen.what["finite differences"] >= 0.6 * seen.what["specs"], seen.what


@pytest.mark.parametrize("part", range(3))
def test_programs_agree(part: int) -> None:
    hold(part, 20)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_many_programs_agree(chunk: int) -> None:
    hold(1000 + chunk, CHUNK)


@pytest.mark.slow
def test_coverage_is_wide() -> None:
    found, seen = reached(150)
    print(report(found, seen))
    assert len(found) >= 0.9 * len(CONSTRUCTS), [c for c in CONSTRUCTS if not found[c]]
    assert sum(op in seen.ops for op in TABLE) >= 0.7 * len(TABLE)


@pytest.mark.slow
def test_planted_bugs_are_found() -> None:
    missed = [name for name, plant in PLANTS.items() if not is_found(plant, 40)]
    print(f"{len(PLANTS) - len(missed)} of {len(PLANTS)} planted bugs found; not: {missed}")
    assert len(PLANTS) >= 20 and len(missed) <= 0.1 * len(PLANTS), missed
