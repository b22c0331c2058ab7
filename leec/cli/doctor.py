"""`leec doctor`: versions, extras and devices of this installation, as a report of a problem needs them."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

import click

from leec import __version__
from leec.cli.console import Console
from leec.cli.options import json_option


@click.command("doctor")
@json_option
@click.pass_obj
def command(console: Console) -> int:
    """Report versions, extras and devices."""
    facts = {
        "leec": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        **{name: installed(name) for name in packages(None)},
    }
    extras = {extra: {name: installed(name) for name in packages(extra)} for extra in ("torch", "data", "plot")}
    extras = {extra: found for extra, found in extras.items() if found}
    devices = torch_devices()
    console.result("\n".join(report(facts, extras, devices)))
    return console.finish(result={**facts, "extras": extras, "devices": devices})


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def packages(extra: str | None) -> list[str]:
    """The packages leec requires, or those that an extra adds, as its own metadata says."""
    try:
        lines = requires("leec") or []
    except PackageNotFoundError:  # run from a checkout that was never installed
        return []
    ours = [line for line in lines if (extra is None and "extra ==" not in line) or f"extra == '{extra}'" in line]
    return [re.match(r"[\w.-]+", line)[0] for line in ours]  # type: ignore[index]


def torch_devices() -> list[str]:
    if not find_spec("torch"):
        return []
    import torch

    gpus = [f"cuda:{n} {torch.cuda.get_device_name(n)}" for n in range(torch.cuda.device_count())]
    return [f"cpu, {torch.get_num_threads()} threads", *gpus]


def report(facts: dict, extras: dict, devices: list[str]) -> list[str]:
    lines = [f"{name:<12} {value or 'missing'}" for name, value in facts.items()]
    for extra, found in extras.items():
        absent = [name for name, there in found.items() if there is None]
        state = f"missing: pip install 'leec[{extra}]'" if absent else ", ".join(f"{n} {v}" for n, v in found.items())
        lines.append(f"{'[' + extra + ']':<12} {state}")
    return [*lines, *(f"{'device':<12} {device}" for device in devices)]
