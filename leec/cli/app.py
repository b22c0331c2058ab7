"""The command `leec`: global options, the table of commands, and the border where every failure ends.

A command's module is imported only when it runs. Whatever happens, the exit code says what it was and
`--json` gets one document.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

import click

from leec import __version__
from leec.cli.console import ABSENT, INTERNAL, MACHINE, Console
from leec.cli.settings import load_settings
from leec.diagnostics import Diagnostic, LeeError
from leec.diagnostics.environment import interrupted, met_running, missing_package, wrong_usage

COMMANDS = {
    "new": "Begin a spec from a lesson.",
    "check": "Report every mistake in specs.",
    "fmt": "Format specs.",
    "compile": "Write the NumPy and PyTorch programs of specs.",
    "show": "Print what the compiler made of a spec at any stage.",
    "train": "Run a training procedure.",
    "verify": "Run both programs and compare all that they compute.",
    "explain": "Explain a diagnostic code.",
    "doctor": "Report the installation.",
}
EXTRAS = {"torch": "torch", "sklearn": "data", "matplotlib": "plot"}


class Commands(click.Group):
    """Commands by name from the table; failures to exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return import_module(f"leec.cli.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        speak_utf8()
        console = Console()
        console.form = wanted_form(given)
        options |= {"standalone_mode": False, "obj": console, "prog_name": "leec"}
        sys.exit(self.guarded(given, console, options))

    def guarded(self, args: list[str], console: Console, options: dict[str, Any]) -> int:
        """Run a command; whatever it raises becomes diagnostics and a code."""
        try:
            return super().main(args, **options) or 0
        except click.UsageError as error:
            return console.finish([usage_error(error, console)])
        except click.ClickException as error:
            return console.finish([wrong_usage(error.format_message())])
        except (click.Abort, KeyboardInterrupt):
            return console.finish([interrupted()])
        except LeeError as error:
            return console.finish(error.diagnostics)
        except Exception as error:
            diagnostic, code = failure(error, args, console)
            return console.finish([diagnostic], code=code)


def usage_error(error: click.UsageError, console: Console) -> Diagnostic:
    """What is wrong with a command line; its help beside it where nothing was asked for."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        if not console.machine:
            click.echo(error.format_message() + "\n", err=True)
        return wrong_usage("no command is given" if error.ctx and error.ctx.parent is None else "no argument is given")
    if error.ctx and not console.machine:
        click.echo(error.ctx.get_usage(), err=True)
    return wrong_usage(error.format_message(), f"{error.ctx.command_path} --help" if error.ctx else "")


def failure(error: Exception, args: list[str], console: Console) -> tuple[Diagnostic, int]:
    """What a running program met, an absent package that is one of the extras, or a mistake of ours."""
    from leec.runtime.faults import RuntimeFault

    if isinstance(error, RuntimeFault):
        path = console.sources[0].path if console.sources else "leec"
        return met_running(path, error.code, error.name, error.message, error.help, error.data), error.status
    package = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in EXTRAS:
        return missing_package(EXTRAS[package], package), ABSENT
    from leec.cli.crash import report_crash

    return report_crash(error, args, console), INTERNAL


def wanted_form(args: list[str]) -> str:
    """The form of the answer, known even when the command line as a whole cannot be understood."""
    options = args[: args.index("--")] if "--" in args else args
    command = next((word for word in options if word in COMMANDS), "").upper()
    switched = os.environ.get(f"LEEC_{command}_JSON", "").lower() in ("1", "true", "yes", "on")
    chosen = [b for a, b in pairwise(options) if a == "--output-format"]
    chosen += [word.partition("=")[2] for word in options if word.startswith("--output-format=")]
    if "--json" in options or switched:
        return "json"
    return chosen[-1] if chosen and chosen[-1] in MACHINE else "full"


def speak_utf8() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError):  # a stream put in place by a host program
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


@click.group(
    cls=Commands,
    context_settings={"auto_envvar_prefix": "LEEC", "help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="When to use colors.")
@click.option("-q", "--quiet", is_flag=True, help="Only errors and results.")
@click.option("-v", "--verbose", is_flag=True, help="Also a traceback when leec itself fails.")
@click.option("--config", type=click.Path(dir_okay=False), help="Project defaults; else the nearest leec.toml.")
@click.version_option(__version__, prog_name="leec", message="%(prog)s %(version)s")
@click.pass_context
def app(ctx: click.Context, color: str, quiet: bool, verbose: bool, config: str | None) -> None:
    """Compile lee, a small language of models and training, to NumPy and PyTorch.

    Every long option can be set in the environment: LEEC_COLOR, LEEC_COMPILE_OUTPUT, and so on.
    """
    console: Console = ctx.obj
    console.color, console.quiet, console.verbose = color, quiet, verbose
    ctx.default_map = load_settings(ctx, config)
