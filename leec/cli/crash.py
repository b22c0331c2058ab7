"""When leec itself fails: a folder with all that is needed to see the failure again."""

from __future__ import annotations

import platform
import shlex
import tempfile
import traceback
from pathlib import Path

import click

from leec import __version__
from leec.cli.console import Console
from leec.diagnostics import Diagnostic
from leec.diagnostics.environment import internal_error


def report_crash(error: Exception, args: list[str], console: Console) -> Diagnostic:
    """The diagnostic of a failure, its bundle written. What cannot be written is left out."""
    trace = "".join(traceback.format_exception(error))
    if console.verbose:
        click.echo(trace, err=True)
    path = console.sources[-1].path if console.sources else "leec"
    failure = traceback.format_exception_only(error)[-1].strip()
    return internal_error(path, failure, write_bundle(trace, args, console))


def write_bundle(trace: str, args: list[str], console: Console) -> str | None:
    try:
        folder = Path(tempfile.mkdtemp(prefix="leec-failure-"))
        command = (
            f"leec {shlex.join(args)}\nleec {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        )
        (folder / "command.txt").write_text(command, encoding="utf-8")
        (folder / "traceback.txt").write_text(trace, encoding="utf-8")
        for nth, source in enumerate(console.sources):
            name = Path(source.path).name if Path(source.path).suffix == ".lee" else "stdin.lee"
            (folder / f"{nth}-{name}").write_text(source.text, encoding="utf-8", errors="surrogatepass")
        return str(folder)
    except OSError:
        return None
