"""`leec train`: run a procedure of a spec with one of its two programs; metrics, checkpoints and weights in a folder."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

from leec import driver
from leec.api import Loaded, opened
from leec.arguments import data_parameters, fitted, usual_values
from leec.cli.console import Console
from leec.cli.files import beside, read_source
from leec.cli.options import chosen_options, json_option, precision_options
from leec.diagnostics import Diagnostic
from leec.diagnostics.environment import met_running
from leec.diagnostics.running import became_nan
from leec.ir.host import Procedure
from leec.runtime.faults import RuntimeFault


@click.command("train")
@click.argument("path", metavar="SPEC")
@click.argument("procedure", required=False)
@click.option("--backend", type=click.Choice(["numpy", "torch"]), default="numpy", show_default=True)
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:1, with --backend torch.")
@click.option("--epochs", type=int, help="The same as --set epochs=N.")
@click.option("--set", multiple=True, metavar="NAME=VALUE", help="An argument of the procedure: rate=0.1, sizes=8,16.")
@click.option("--data", multiple=True, metavar="[NAME=]FILE", help="A .csv or .npz file, or a bundled source: iris.")
@click.option("--max-steps", type=click.IntRange(1), metavar="N", help="Stop after N steps in all.")
@click.option("--seed", type=int, help="Of every draw; 0 unless given.")
@click.option("--out", metavar="DIR", help="For metrics, checkpoints and weights; runs/SPEC, numbered, unless given.")
@click.option("--resume", is_flag=True, help="Go on with the latest run, or the one in --out.")
@click.option(
    "--save-every",
    type=click.FloatRange(0),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Between checkpoints.",
)
@click.option("--progress", type=click.Choice(["auto", "bar", "plain", "none"]), default="auto", show_default=True)
@click.option("--plot", is_flag=True, help="Draw the reported numbers to metrics.png.")
@precision_options
@json_option
@click.pass_obj
def command(
    console: Console,
    path: str,
    procedure: str | None,
    backend: str,
    device: str,
    epochs: int | None,
    set: tuple[str, ...],
    data: tuple[str, ...],
    max_steps: int | None,
    seed: int | None,
    out: str | None,
    resume: bool,
    save_every: float,
    progress: str,
    plot: bool,
    optimize: str,
    dtype: str,
    recompute: str,
) -> int:
    """Run a train PROCEDURE of SPEC, the last one unless named; Ctrl-C saves, and --resume goes on from there."""
    if plot:
        import_module("matplotlib")  # what is missing is said before the run and not after it
    options = chosen_options(optimize, dtype, backend, recompute)
    options = replace(options, backend="all")  # what is resumed knows no back end
    spec = load(console, path, options)
    chosen = chosen_procedure(spec, procedure)
    name = chosen.name
    folder = Path(out) if out else run_folder(Path("runs") / Path(path).stem, resume)
    settings = [*set, *([f"epochs={epochs}"] if epochs is not None else [])]
    given = chosen_arguments(chosen, settings, data)
    plain = fitting_arguments(chosen, {**(earlier_arguments(folder) if resume else {}), **given})
    spec, arguments = spec.made_for(name, plain)  # a spec of its own where arguments choose code
    style = "none" if console.json or console.quiet else progress
    fresh = not folder.exists()
    run = {"seed": seed, "device": device, "folder": folder, "resume": resume, "max_steps": max_steps}
    run |= {"progress": style, "arguments": plain}
    try:
        with np.errstate(all="ignore"):  # the run stops at a NaN and says more than a warning
            result, history = spec.run(name, backend=backend, run={**run, "every": save_every}, **arguments)
    except KeyboardInterrupt:
        console.remark(f"stopped and saved; go on with: leec train {path} --resume --out {folder}")
        raise
    except RuntimeFault as fault:
        if fault.code != "LEE703":
            if fresh:
                forget_untrained(folder)
            raise
        return console.finish([explained(spec, backend, name, arguments, run, fault)])
    weights = save_weights(spec, result, folder)
    if plot:
        from leec.cli.plot import draw_curves

        draw_curves(history, folder / "metrics.png")
    last = history[-1] if history else {}
    console.result("  ".join(f"{label} {value:.6g}" for label, value in last.items()))
    console.remark("\n".join(afterwards(path, spec, name, backend, folder, weights, plot)))
    facts = {"procedure": name, "folder": str(folder), "weights": weights, "rows": len(history), "last": last}
    return console.finish(result=facts)


def afterwards(
    path: str, spec: Loaded, name: str, backend: str, folder: Path, weights: list[str], plot: bool
) -> list[str]:
    """What was written, and what to try next."""
    plots = f", curves in {folder / 'metrics.png'}" if plot else ""
    lines = [f"metrics in {folder / 'metrics.csv'}{plots}" + (f", weights in {', '.join(weights)}" if weights else "")]
    command = f"leec train {path}" + (f" {name}" if name != spec.procedures[-1] else "")
    if "epochs" in usual_values(spec.procedure(name)):
        lines.append(f"to go on: {command} --resume --out {folder} --epochs N, with more epochs than before")
    if backend == "numpy" and find_spec("torch"):
        lines.append(f"to run the PyTorch program: {command} --backend torch")
    if weights:
        lines.append(f"to use the weights in Python: leec.load({path!r}).restore(net, {weights[0]!r})")
    return lines


def explained(
    spec: Loaded, backend: str, name: str, arguments: dict[str, Any], run: dict[str, Any], fault: RuntimeFault
) -> Diagnostic:
    """A NaN, and the operation and line that it began with, from the run done again since its last checkpoint."""
    from leec.proof.nan import locate_nan

    with TemporaryDirectory() as place:
        again = Path(place) / "again"
        shutil.copytree(run["folder"], again)
        options = {
            **run,
            "folder": again,
            "resume": True,
            "seed": None,
            "progress": "none",
            "every": None,
            "max_steps": None,
        }
        more = {"backend": backend, "dtype": spec.options.dtype, "spec": spec.hash, "arguments": arguments}
        with np.errstate(all="ignore"):
            finding = locate_nan(spec, backend, name, arguments, {**options, **more})
    if finding is None or finding.span is None:
        return met_running(fault.code, fault.name, fault.message, fault.help, dict(fault.data))
    notes = [
        f"{value}: {', '.join(f'{n} {x:.6g}' if isinstance(x, float) else f'{n} {x}' for n, x in facts.items())}"
        for value, facts in finding.sides.items()
    ]
    return became_nan(
        f"{fault.message}; {finding.message}", finding.span, f"`{finding.name}`", notes, fault.help, dict(fault.data)
    )


def load(console: Console, path: str, options: driver.Options) -> Loaded:
    """The spec as both programs, its warnings shown. Raises LeeError."""
    source = read_source(console, path)
    spec = opened(source, beside(console, path), options)
    if not console.json:
        console.show(spec.diagnostics)
    return spec


def chosen_procedure(spec: Loaded, name: str | None) -> Procedure:
    try:
        return spec.procedure(name)
    except LookupError as error:
        raise click.UsageError(str(error)) from None


def chosen_arguments(procedure: Procedure, settings: list[str], data: tuple[str, ...]) -> dict[str, Any]:
    """The values of `--set name=value` and `--data [name=]file`. Raises click.UsageError for what a procedure lacks."""
    usual = usual_values(procedure)
    arguments = {}
    for setting in settings:
        name, sign, text = setting.partition("=")
        if not sign:
            raise click.UsageError(f"{setting!r} sets nothing: write NAME=VALUE")
        arguments[name] = value(text, usual.get(name))
    wanted = data_parameters(procedure)
    for item in data:
        name, sign, place = item.partition("=")
        if not sign and len(wanted) == 1:
            name, place = wanted[0], item
        if name not in wanted:
            ways = f"write {' or '.join(f'{n}=FILE' for n in wanted)}" if wanted else "it takes no data"
            raise click.UsageError(f"--data {item} names no data parameter of {procedure.name}: {ways}")
        arguments[name] = place
    return arguments


def fitting_arguments(procedure: Procedure, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, each of the kind of its default. Raises click.UsageError."""
    try:
        return fitted(procedure, arguments)
    except RuntimeFault as fault:
        missing = fault.data["argument"] not in arguments and "needs" in fault.message
        ways = f"--data {fault.data['argument']}=FILE, a .csv or .npz file" if missing else fault.help
        raise click.UsageError(f"{fault.message}" + (f": {ways}" if ways else "")) from None


def value(text: str, usual: Any = None) -> Any:
    """A text as lee writes values, of the kind of a usual one: numbers, true, false, none, `8, 16` for a tuple."""
    if isinstance(usual, str):
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    if isinstance(usual, tuple):
        items = text.strip().removeprefix("(").removesuffix(")").split(",")
        return tuple(value(item.strip(), usual[0] if usual else None) for item in items if item.strip())
    words = {"true": True, "false": False, "none": None}
    for read in (int, float):
        with suppress(ValueError):
            return read(text)
    return words.get(text.lower(), text)


def run_folder(base: Path, resume: bool) -> Path:
    """The next free folder base, base-2, ..; to resume, the last one that is taken."""
    for n in count(1):
        folder = base if n == 1 else base.with_name(f"{base.name}-{n}")
        if not folder.exists():
            break
        taken = folder
    return taken if resume and base.exists() else folder


def forget_untrained(folder: Path) -> None:
    """Remove the folder of a run that failed before its first row, so that the next one begins anew."""
    metrics = folder / "metrics.csv"
    if not metrics.exists() or not metrics.stat().st_size:
        shutil.rmtree(folder, ignore_errors=True)


def earlier_arguments(folder: Path) -> dict[str, Any]:
    """What the run in a folder was started with; nothing where there is none, which the run itself reports."""
    path = folder / "run.json"
    return json.loads(path.read_text(encoding="utf-8"))["arguments"] if path.exists() else {}


def save_weights(spec: Loaded, result: Any, folder: Path) -> list[str]:
    """Write the weights of the models that a procedure returned, or that it had when it was cut."""
    named = (
        result
        if isinstance(result, dict)
        else dict(enumerate(result, 1)) if isinstance(result, tuple) else {"": result}
    )
    written = []
    for label, model in named.items():
        if hasattr(model, "members"):
            path = folder / f"model{'-' if label else ''}{label}.safetensors"
            spec.save(model, path)
            written.append(str(path))
    return written
