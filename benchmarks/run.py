"""Steps of all implementations of a workload, timed against each other in one process and printed as ratios.

Everyone starts from the same weights, and the first four losses must agree. Every workload has a process of its own,
so that none runs in what another one left behind.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import leec
from benchmarks import compiler, peers_numpy, peers_torch
from benchmarks.timing import interleaved, ratios
from benchmarks.workloads import VARIANTS, WORKLOADS, Mlp, Step, Tensors, Workload

BASE = "torch eager"
PLAIN = "NumPy straightforward"
NUMPY, TORCH = "leec NumPy", "leec torch"
# How many times faster than eager torch the step in torch is to be, and than straightforward NumPy that in NumPy.
GOALS = {
    TORCH: {"linreg": 6.0, "toy": 8.0, "mlp64": 1.8, "mlp512": 1.2, "lenet": 1.2},
    NUMPY: {"linreg": 1.0, "toy": 1.0, "mlp64": 1.0, "mlp512": 1.0, "vae": 1.0, "lenet": 2.0},
}
AGREE = 1e-4  # relative, of the losses
CONSOLE = Console(width=120, markup=False, highlight=False)


def generated(workload: Workload, module: ModuleType, tensors: Tensors, batch: Sequence[object]) -> Step:
    """The step of a generated module: a class in PyTorch and where it is planned, else a function."""
    net = workload.network(module)
    net.load_tensors(tensors)
    optimizer = getattr(module, workload.optimizer)(lr=workload.rate)
    made = getattr(module, "FitStep", None)
    step = made(net, optimizer) if made else partial(module.fit_step, net, optimizer)
    return lambda: float(step(*batch))


def implementations(workload: Workload, level: int, compiled: bool) -> dict[str, Step]:
    spec = leec.load(workload.text(), level=level)
    start = dict(workload.network(spec.numpy).tensors())
    tensors = {name: array.copy() for name, array in start.items()}
    arrays = workload.arrays(np.random.default_rng(0))
    steps: dict[str, Step] = {PLAIN: peers_numpy.straightforward(workload, tensors, *arrays)}
    if isinstance(workload, Mlp):
        steps["NumPy planned"] = peers_numpy.planned(workload, tensors, *arrays)
    steps[BASE] = peers_torch.eager(workload, tensors, *arrays)
    steps["torch fused"] = peers_torch.eager(workload, tensors, *arrays, fused=True)
    if compiled:
        steps["torch.compile"] = peers_torch.eager(workload, tensors, *arrays, fused=True, compiled=True)
    steps[NUMPY] = generated(workload, spec.numpy, tensors, arrays)
    steps[TORCH] = generated(workload, spec.torch, tensors, [torch.as_tensor(a) for a in arrays])
    return steps


def require_equal_losses(workload: Workload, steps: dict[str, Step]) -> None:
    """Raises AssertionError naming who differs from straightforward NumPy in one of the first four steps."""
    losses = {name: [step() for _ in range(4)] for name, step in steps.items()}
    for name, found in losses.items():
        error = max(abs(a - b) / abs(b) for a, b in zip(found, losses[PLAIN], strict=True))
        assert error <= AGREE, f"{workload.name}: losses of {name} are {found}, not {losses[PLAIN]}"


def measure(workload: Workload, level: int, rounds: int, compiled: bool) -> dict[str, dict[str, float]]:
    """For every implementation, how many times faster it is than eager torch and than straightforward NumPy."""
    torch.set_num_threads(1)
    steps = implementations(workload, level, compiled)
    require_equal_losses(workload, steps)
    times = interleaved(steps, rounds)
    against = {"eager": ratios(times, BASE), "plain": ratios(times, PLAIN)}
    return {
        name: {
            key: round(value, 3)
            for base, found in against.items()
            for key, value in zip((base, f"{base}_low", f"{base}_high"), found[name], strict=True)
        }
        for name in steps
    }


def by_name(measured: Callable[[Workload], dict], workloads: Sequence[Workload]) -> dict[str, dict]:
    """What is measured of each workload, one after the other, each in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as process:
        return dict(zip((w.name for w in workloads), process.map(measured, workloads), strict=True))


def show(title: str, results: dict[str, dict[str, dict[str, float]]], key: str) -> None:
    """A table of ratios: a line an implementation, a column a workload."""
    table = Table("", *results, title=title, title_justify="left", box=None)
    for name in dict.fromkeys(n for found in results.values() for n in found):
        table.add_row(name, *(cell(found, name, key, GOALS.get(name, {}).get(w)) for w, found in results.items()))
    CONSOLE.print(table)
    CONSOLE.print()


def cell(found: dict[str, dict[str, float]], name: str, key: str, goal: float | None) -> str:
    if name not in found:
        return "-"
    own = goal is not None and key == ("eager" if name == TORCH else "plain")
    return f"{found[name][key]:.2f}" + (f" (goal {goal:g})" if own else "")


def environment() -> dict[str, str]:
    versions = {package.__name__: package.__version__ for package in (leec, np, torch)}
    return {"python": platform.python_version(), "device": processor(), **versions, "threads": "1"}


def processor() -> str:
    """The model that the system names, else the architecture."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@click.command(help=__doc__)
@click.option("--only", default="", help="Names of workloads, with commas between them.")
@click.option("--part", type=click.Choice(["all", "steps", "variants", "compiler"]), default="all")
@click.option("--level", type=click.Choice(["1", "2"]), default="2", help="Of optimisation, for every generated step.")
@click.option("--rounds", default=15, show_default=True)
@click.option("--compiled", is_flag=True, help="Also torch.compile, which takes minutes.")
@click.option("--json", "path", type=click.Path(path_type=Path), default=Path("build/benchmarks.json"))
def main(only: str, part: str, level: str, rounds: int, compiled: bool, path: Path) -> None:
    chosen = set(filter(None, only.split(",")))
    timed: Callable[[Workload], dict] = partial(measure, level=int(level), rounds=rounds, compiled=compiled)
    found: dict[str, object] = {"environment": environment(), "level": int(level)}
    if part in ("all", "steps"):
        found["steps"] = results = by_name(timed, [w for w in WORKLOADS if not chosen or w.name in chosen])
        show("Times faster than torch eager with its default Adam", results, "eager")
        show("Times faster than straightforward NumPy", results, "plain")
    if part in ("all", "variants"):
        found["variants"] = results = by_name(timed, [w for w in VARIANTS if not chosen or w.name in chosen])
        show("mlp64 with other sizes and activations, times faster than torch eager", results, "eager")
    if part in ("all", "compiler"):
        found["compiler"] = compiler.report(CONSOLE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
