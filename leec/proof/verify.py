"""Verification of a spec: every example and every procedure, by every program, first in float64.

Both generated files, autograd through the modules and the spec as written get the same keys, and so the same
parameters, batches and draws. Where they part, the first thing to blame is looked for and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from leec.proof.agreement import AFTER_STEPS, TOLERANCES, compare
from leec.proof.condition import allowing, blown_up, together
from leec.proof.emitted import Spec
from leec.proof.examples import Loader, Pair, unmet, verify_example
from leec.proof.failures import ProgramFailed, failed
from leec.proof.locate import example_case, locate, step_case
from leec.proof.report import Finding, Report, Section, Worst
from leec.proof.standin import ROWS, StandIn, takes_data
from leec.proof.steps import Steps, compare_initial, run_steps, train_section

LEVELS = ("forward", "grad", "step")
Told = Callable[[Section], None]


@dataclass(frozen=True)
class Plan:
    """What to verify: up to a level, for some seeds and widths, procedures for so many steps.

    `arguments` are those of procedures, by name, for parameters that have no default or a costly one.
    """

    level: str = "step"
    seeds: int = 1
    steps: int = 20
    dtypes: tuple[str, ...] = ("f64", "f32")
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def verify(
    path: str, compiled: Callable[[str], Spec], load: Loader, plan: Plan = Plan(), told: Told | None = None
) -> Report:
    """Verify a spec that `compiled` gives for a width; `load` makes a module of a text; `told` hears of each section."""
    report = Report(path)
    for dtype in plan.dtypes:
        pair = Pair(compiled(dtype), load)
        for section in sections(pair, plan):
            report.sections.append(section)
            if told is not None:
                told(section)
    return report


def sections(pair: Pair, plan: Plan) -> Iterable[Section]:
    module = pair.spec.module
    for seed in range(plan.seeds):
        tasks = [("example", name, blamed_example) for name in module.examples]
        tasks += [("train", name, blamed_train) for name in module.procedures if plan.level == "step"]
        for kind, name, blamed in tasks:
            try:
                yield blamed(pair, name, seed, plan)
            except ProgramFailed as failure:
                yield failed(Section(kind, name, pair.dtype, seed), failure, module.source)


def blamed_example(pair: Pair, example: str, seed: int, plan: Plan) -> Section:
    section = verify_example(pair, example, seed, plan.level)
    section.finding = unmet(pair, example, seed)
    if not section.agrees and section.finding is None:
        allowing(pair, section, seed)
    if not section.agrees and section.finding is None:
        section.finding = locate(example_case(pair, example, seed), TOLERANCES[pair.dtype])
    return section


def blamed_train(pair: Pair, name: str, seed: int, plan: Plan) -> Section:
    procedure, given = pair.spec.module.procedures[name], dict(plan.arguments.get(name, {}))
    drawn = {n: StandIn(seed) for n in takes_data(procedure) if n not in given}
    lost = [n for n, default in procedure.parameters if default is None and n not in {**given, **drawn}]
    if lost:
        section = Section("train", name, pair.dtype, seed)
        section.notes.append(f"not run: it needs {', '.join(f'`{n}`' for n in lost)}")
        return section
    given |= drawn
    made = run_steps(pair, name, plan.steps, seed, given)
    section = train_section(made, name, seed)
    section.notes += [f"`{n}` was drawn, {ROWS} rows of the types that are declared" for n in drawn]
    if not section.agrees:
        blame_step(made, section, lambda: blown_up(made, section, plan.steps, given))
    return section


def blame_step(made: Steps, section: Section, grown: Callable[[], bool]) -> None:
    """The first step at which programs part from the same inputs.

    If none does, the procedures hand different things to it, or rounding has been blown up: by a rule, where some
    entry was exempt and every other tensor may follow it from then on; or by the steps themselves, where `grown`.
    """
    tolerance = AFTER_STEPS[made.pair.dtype]
    for k, call in enumerate(made.calls):
        case = step_case(made.pair, call, made.stills[k])
        if not together(case, call, made.gradient_scales[k], tolerance):
            section.finding, section.call = locate(case, tolerance), call
            section.notes.append(f"the programs part at step {k + 1} of `{call.f.name}`")
            return
    if any(mask.any() for mask in made.exempt.values()) and begin_alike(made):
        section.by_steps = True
        section.notes.append("from the same inputs every step agrees: what differs follows entries that are exempt")
        return
    if grown():
        section.by_steps = True
        section.notes.append(
            "from the same inputs every step agrees: what differs moves as far where the first values are rounded otherwise"
        )
        return
    message = "every step agrees from the same inputs, so the procedures differ in what they hand to it"
    section.finding = Finding("procedure", section.name, message, section.name)


def begin_alike(made: Steps) -> bool:
    """Whether both files begin with the same parameters, and their first steps have the same loss."""
    rows = Worst()
    compare_initial(made, rows)
    losses = {program: recording.losses[0][1] for program, recording in made.recordings.items()}
    rows.add(compare("loss", losses, 1.0, TOLERANCES[made.pair.dtype]))
    return all(row.agrees for row in rows)
