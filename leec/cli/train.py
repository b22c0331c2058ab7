"""`leec train`: run a procedure of a spec with one of its two programs; metrics, checkpoints and weights in a folder."""

from __future__ import annotations

import json
import shutil
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
from leec.api import Loaded
from leec.cli.console import Console
from leec.cli.files import beside, read_source
from leec.cli.options import chosen_options, json_option, precision_options
from leec.diagnostics import Diagnostic, LeeError
from leec.diagnostics.environment import met_running
from leec.diagnostics.running import became_nan
from leec.ir.host import Literal, Operation, Procedure
from leec.runtime import sources
from leec.runtime.faults import RuntimeFault

FILES = (".csv", ".npz")  # of data that an argument names


@click.command("train")
@click.argument("path", metavar="SPEC")
@click.argument("procedure", required=False)
@click.option("--backend", type=click.Choice(["numpy", "torch"]), default="numpy", show_default=True)
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:1, with --backend torch.")
@click.option("--epochs", type=int, help="The same as --set epochs=N.")
@click.option("--set", multiple=True, metavar="NAME=VALUE", help="An argument of the procedure.")
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
    max_steps: int | None,
    seed: int | None,
    out: str | None,
    resume: bool,
    save_every: float,
    progress: str,
    plot: bool,
    optimize: str,
    dtype: str,
) -> int:
    """Run a train PROCEDURE of SPEC, the last one unless named; Ctrl-C saves, and --resume goes on from there."""
    if plot:
        import_module("matplotlib")  # what is missing is said before the run and not after it
    options = replace(chosen_options(optimize, dtype, backend), backend="all")  # what is resumed knows no back end
    spec = load(console, path, options)
    name = procedure or last_procedure(spec, path)
    folder = Path(out) if out else run_folder(Path("runs") / Path(path).stem, resume)
    settings = [*set, *([f"epochs={epochs}"] if epochs is not None else [])]
    chosen = chosen_arguments(spec.module.procedures, name, settings)
    plain = {**(earlier_arguments(folder) if resume else {}), **chosen}
    arguments = with_data(spec.module.procedures[name], plain)
    style = "none" if console.json or console.quiet else progress
    run = {
        "seed": seed,
        "device": device,
        "folder": folder,
        "resume": resume,
        "progress": style,
        "max_steps": max_steps,
        "arguments": plain,
    }
    try:
        with np.errstate(all="ignore"):  # the run stops at a NaN and says more than a warning
            result, history = spec.run(name, backend=backend, run={**run, "every": save_every}, **arguments)
    except KeyboardInterrupt:
        console.remark(f"stopped and saved; go on with: leec train {path} --resume --out {folder}")
        raise
    except RuntimeFault as fault:
        if fault.code != "LEE703":
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
    if "epochs" in dict(spec.module.procedures[name].parameters):
        lines.append(f"to go on: {command} --resume --out {folder} --epochs N, with more epochs than before")
    if backend == "numpy" and find_spec("torch"):
        lines.append(f"to run the PyTorch program: {command} --backend torch")
    if weights:
        lines.append(f"to use the weights: leec.load({path!r}).restore(model, {weights[0]!r})")
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
    module, diagnostics = driver.elaborate(source, beside(console, path))
    if driver.has_errors(diagnostics):
        raise LeeError(*diagnostics)
    if not console.json:
        console.show(diagnostics)
    return Loaded(module, options)


def last_procedure(spec: Loaded, path: str) -> str:
    if not spec.procedures:
        raise click.UsageError(f"{path} has no train procedure")
    return spec.procedures[-1]


def chosen_arguments(procedures: dict[str, Procedure], name: str, settings: list[str]) -> dict[str, Any]:
    """The values of `name=value`, checked against the parameters of a procedure. Raises click.UsageError."""
    if name not in procedures:
        raise click.UsageError(f"there is no procedure {name!r}; there is {', '.join(procedures) or 'none'}")
    known = dict(procedures[name].parameters)
    arguments = {}
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign or key not in known:
            raise click.UsageError(f"{setting!r} sets no argument of {name}; it has {', '.join(known) or 'none'}")
        arguments[key] = fitting(setting, value(text), known[key])
    return arguments


def fitting(setting: str, given: Any, default: object) -> Any:
    """A value of the kind that a parameter has by its default. Raises click.UsageError.

    Only numbers can be set: what else a parameter stands for has chosen code already.
    """
    if default is None and isinstance(given, str) and Path(given).suffix in FILES:
        return given
    usual = usual_value(default)
    is_number = isinstance(usual, int | float) and not isinstance(usual, bool)
    if not is_number and not (isinstance(usual, bool | str) and given == usual):
        what = (
            "data comes from a .csv or .npz file" if default is None else "only numbers can be set; change its default"
        )
        raise click.UsageError(f"{setting!r}: {what}")
    if is_number and (
        isinstance(given, bool | str) or given is None or (isinstance(usual, int) and given != int(given))
    ):
        raise click.UsageError(f"{setting!r}: it takes {'a whole number' if isinstance(usual, int) else 'a number'}")
    return type(usual)(given)


def usual_value(default: object) -> Any:
    match default:
        case Literal(value=value):
            return value
        case Operation(op="-", args=(Literal(value=value),)):
            return -value
    return default


def with_data(procedure: Procedure, plain: dict[str, Any]) -> dict[str, Any]:
    """The arguments with files read. Raises click.UsageError where one is missing that has no default."""
    if lost := [n for n, default in procedure.parameters if default is None and n not in plain]:
        raise click.UsageError(f"{procedure.name} needs `{lost[0]}`: --set {lost[0]}=FILE, a .csv or .npz file")
    given = dict(procedure.parameters)
    return {n: sources.load(Path(x).suffix[1:], x) if given[n] is None else x for n, x in plain.items()}


def value(text: str) -> Any:
    """A number, true, false or none as lee writes them; any other text is itself."""
    words = {"true": True, "false": False, "none": None}
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            pass
    return words.get(text.lower(), text)


def run_folder(base: Path, resume: bool) -> Path:
    """The next free folder base, base-2, ..; to resume, the last one that is taken."""
    for n in count(1):
        folder = base if n == 1 else base.with_name(f"{base.name}-{n}")
        if not folder.exists():
            break
        taken = folder
    return taken if resume and base.exists() else folder


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
