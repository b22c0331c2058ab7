"""`leec train`: run a procedure of a spec with one of its two programs; metrics, checkpoints and weights in a folder."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import click

from leec import driver
from leec.api import Loaded
from leec.cli.console import Console
from leec.cli.files import beside, read_source
from leec.cli.options import chosen_options, json_option, precision_options
from leec.diagnostics import LeeError
from leec.ir.host import Procedure


@click.command("train")
@click.argument("path", metavar="SPEC")
@click.option("--procedure", metavar="NAME", help="Which procedure; the last one of the spec unless named.")
@click.option("--backend", type=click.Choice(["numpy", "torch"]), default="numpy", show_default=True)
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:1, with --backend torch.")
@click.option("--epochs", type=int, help="The same as --set epochs=N.")
@click.option("--set", multiple=True, metavar="NAME=VALUE", help="An argument of the procedure.")
@click.option("--seed", type=int, help="Of every draw; 0 unless given.")
@click.option("--out", metavar="DIR", help="For metrics, checkpoints and weights; runs/SPEC, numbered, unless given.")
@click.option("--resume", is_flag=True, help="Go on with the latest run, or the one in --out.")
@click.option("--progress", type=click.Choice(["auto", "bar", "plain", "none"]), default="auto", show_default=True)
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
    seed: int | None,
    out: str | None,
    resume: bool,
    progress: str,
    optimize: str,
    dtype: str,
) -> int:
    """Run a training procedure of SPEC; Ctrl-C saves, and --resume goes on from there."""
    options = replace(chosen_options(optimize, dtype, backend), backend="all")  # what is resumed knows no back end
    spec = load(console, path, options)
    name = procedure or last_procedure(spec, path)
    folder = Path(out) if out else run_folder(Path("runs") / Path(path).stem, resume)
    settings = [*set, *([f"epochs={epochs}"] if epochs is not None else [])]
    arguments = {
        **(earlier_arguments(folder) if resume else {}),
        **chosen_arguments(spec.module.procedures, name, settings),
    }
    style = "none" if console.json or console.quiet else progress
    run = {"seed": seed, "device": device, "folder": folder, "resume": resume, "progress": style}
    try:
        result, history = spec.run(name, backend=backend, run=run, **arguments)
    except KeyboardInterrupt:
        console.remark(f"stopped and saved; go on with: leec train {path} --resume --out {folder}")
        raise
    weights = save_weights(spec, result, folder)
    last = history[-1] if history else {}
    console.result("  ".join(f"{label} {value:.6g}" for label, value in last.items()))
    console.remark(f"metrics in {folder / 'metrics.csv'}" + (f", weights in {weights}" if weights else ""))
    facts = {"procedure": name, "folder": str(folder), "weights": weights, "rows": len(history), "last": last}
    return console.finish(result=facts)


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
    known = [parameter for parameter, _ in procedures[name].parameters]
    arguments = {}
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign or key not in known:
            raise click.UsageError(f"{setting!r} sets no argument of {name}; it has {', '.join(known) or 'none'}")
        arguments[key] = value(text)
    return arguments


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


def save_weights(spec: Loaded, result: Any, folder: Path) -> str | None:
    """Write the weights of the model that a procedure returned, if it returned one."""
    if not (hasattr(result, "tensors") or hasattr(result, "state_dict")):
        return None
    path = folder / "model.safetensors"
    spec.save(result, path)
    return str(path)
