"""`leec verify`: both programs of a spec on the same parameters, batches and draws, every quantity against its bound."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import click

from leec import __version__, driver
from leec.api import Loaded, execute
from leec.cli.console import DISAGREE, OK, Console
from leec.cli.files import beside, read_source, write_all
from leec.cli.options import json_option, recompute_option
from leec.diagnostics import Diagnostic, LeeError
from leec.diagnostics.running import programs_disagree, requirement_fails
from leec.proof.agreement import AFTER_STEPS, TOLERANCES, Row
from leec.proof.examples import Pair
from leec.proof.report import Report, Section, finding_dict
from leec.proof.verify import LEVELS, Plan, verify

WIDTHS = {"f64": "float64", "f32": "float32"}
SHOWN = 4  # quantities that a diagnostic lists


@click.command("verify")
@click.argument("path", metavar="SPEC")
@click.option(
    "--level", type=click.Choice(LEVELS), default="step", show_default=True, help="Values, gradients too, or steps too."
)
@click.option("--steps", type=click.IntRange(1), default=20, show_default=True, help="Of every train procedure.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="How many sets of draws.")
@click.option("--dtype", multiple=True, type=click.Choice(list(WIDTHS)), default=tuple(WIDTHS), help="Widths; both.")
@click.option("-O", "--optimize", type=click.Choice(["0", "1", "2"]), default="1", show_default=True)
@recompute_option
@click.option("--certificate", metavar="FILE", help="Write the evidence as JSON.")
@click.option("--repro", metavar="DIR", help="Write a disagreement as files that stand alone.")
@json_option
@click.pass_obj
def command(
    console: Console,
    path: str,
    level: str,
    steps: int,
    seeds: int,
    dtype: tuple[str, ...],
    optimize: str,
    recompute: str,
    certificate: str | None,
    repro: str | None,
) -> int:
    """Compare the NumPy file, the torch step, autograd through the modules and SPEC as written.

    Every example with every gradient, and every train procedure for some steps, in float64 and then in float32.
    """
    source = read_source(console, path)
    module, diagnostics = driver.elaborate(source, beside(console, path))
    if driver.has_errors(diagnostics):
        raise LeeError(*diagnostics)
    specs = {d: Loaded(module, driver.Options(int(optimize), d, recompute=recompute)) for d in dtype}
    plan = Plan(level, seeds, steps, dtype)
    report = verify(
        source.path, specs.__getitem__, execute, plan, lambda section: console.result(section_text(section) + "\n")
    )
    if certificate:
        write_all({Path(certificate): json.dumps(evidence(report, specs), indent=1, ensure_ascii=False) + "\n"})
    found = [*diagnostics, *disagreements(report)]
    if repro and not report.ok:
        write_repro(Path(repro), specs, report)
        console.remark(f"wrote {Path(repro) / 'repro.py'}")
    code = console.finish(found, report.to_dict(), code=OK if report.ok else DISAGREE)
    if report.ok:
        console.remark(tally(report))
    return code


# ---- what is shown


def section_text(section: Section) -> str:
    """A heading, a row a quantity, and notes."""
    from rich import box
    from rich.console import Console as Rich
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name, justify in (
        ("quantity", "left"),
        ("shape", "left"),
        ("largest error", "right"),
        ("bound", "right"),
        ("", "left"),
    ):
        table.add_column(Text(name), justify=justify)  # type: ignore[arg-type]
    for row in section.rows:
        cells = (row.quantity, shape(row), f"{row.error:.1e}", f"{row.bound:.1e}", verdict(row, section.by_steps))
        table.add_row(*map(Text, cells))
    out = StringIO()
    rich = Rich(file=out, width=120, color_system=None, markup=False, highlight=False)
    rich.print(Text(heading(section)))
    if section.rows:
        rich.print(table)
    for note in section.notes:
        rich.print(Text(f"note: {note}"))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def heading(s: Section) -> str:
    steps = f", {s.steps} steps" if s.steps else ""
    bounds = f"tolerance {TOLERANCES[s.dtype]:g}"
    if s.steps and AFTER_STEPS[s.dtype] != TOLERANCES[s.dtype]:
        bounds += f", {AFTER_STEPS[s.dtype]:g} after the first step"
    return f"{s.kind} {s.name}: {WIDTHS[s.dtype]}, seed {s.seed}{steps}, {bounds}"


def shape(row: Row) -> str:
    return f"[{', '.join(map(str, row.shape))}]"


def verdict(row: Row, by_steps: bool) -> str:
    if not row.agrees and by_steps:
        return "agree step by step"
    if not row.agrees:
        return f"DISAGREE: {' and '.join(row.between)}"
    return f"agree, {row.exempt} exempt" if row.exempt else "agree"


def tally(report: Report) -> str:
    rows = sum(len(s.rows) for s in report.sections)
    kinds = [len({s.name for s in report.sections if s.kind == kind}) for kind in ("example", "train")]
    if not rows:
        return "there was nothing to verify: the spec has no example and no train procedure that runs by itself"
    counts = [f"{n} {kind}{'s' * (n > 1)}" for n, kind in zip(kinds, ("example", "train procedure"), strict=True) if n]
    return f"all programs agree: {', '.join(counts)}, {rows} quantities"


# ---- disagreements


def disagreements(report: Report) -> list[Diagnostic]:
    """One for each thing to blame, however many sections it shows in."""
    found: dict[Any, Diagnostic] = {}
    for s in report.sections:
        if s.agrees:
            continue
        f = s.finding
        blamed = (f.kind, f.name, str(f.span)) if f else (s.kind, s.name)
        if blamed not in found:
            message = f.message if f else "programs part, though every operation, pass and file agrees on its own"
            label = f"in `{f.function}`" if f and f.function else ""
            data = {"section": heading(s), **({"finding": finding_dict(f)} if f else {})}
            if f and f.kind == "requirement":
                found[blamed] = requirement_fails(f.span, label, [heading(s)], data)
                continue
            found[blamed] = programs_disagree(report.path, message, f.span if f else None, label, remarks(s), data)
    return list(found.values())


def remarks(s: Section) -> list[str]:
    """The quantities that differ, and the statistics of the two sides."""
    rows = [f"{r.quantity} differs by {r.error:.3g}, allowed is {r.bound:.3g}" for r in s.failures[:SHOWN]]
    more = [f"and {len(s.failures) - SHOWN} more quantities"] if len(s.failures) > SHOWN else []
    f = s.finding
    equation = [f"{f.kind}: {f.equation}"] if f and f.equation else []
    sides = [
        f"{side}: {', '.join(f'{n} {v:.6g}' if isinstance(v, float) else f'{n} {v}' for n, v in facts.items())}"
        for side, facts in (f.sides if f else {}).items()
    ]
    return [*equation, *sides, f"{heading(s)}: {'; '.join([*rows, *more])}"]


def evidence(report: Report, specs: dict[str, Loaded]) -> dict[str, Any]:
    """The report with what it was made by and of."""
    packages = {name: version(name) for name in ("numpy", "torch")}
    made = {"leec": __version__, "python": platform.python_version(), **packages, "platform": platform.platform()}
    return {"versions": made, "hashes": {d: spec.hash for d, spec in specs.items()}, **report.to_dict()}


def write_repro(folder: Path, specs: dict[str, Loaded], report: Report) -> None:
    """The first disagreement as files; a requirement that fails is no disagreement."""
    from leec.proof.repro import repro_files

    section = next((s for s in report.sections if s.finding and s.finding.kind != "requirement"), None)
    if section is None:
        return
    write_all({folder / name: text for name, text in repro_files(Pair(specs[section.dtype], execute), section).items()})
