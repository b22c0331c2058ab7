"""Random well-typed specs: all programs of each agree at every level, and gradients pass finite differences.

What was found here once is a spec of its own in tests/agree.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from programs.examined import Seen, examine
from programs.specs import specs

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
