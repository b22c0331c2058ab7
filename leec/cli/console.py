"""What a command says and how it ends: results on stdout, diagnostics on stderr, or one JSON document.

A command collects diagnostics and ends with `finish`, which gives the exit code. With `--json` nothing
but the one document reaches stdout.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from leec.diagnostics import Diagnostic, Source

OK, FINDINGS, USAGE, DISAGREE, ABSENT, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 4, 70, 130
MACHINE = ("json", "jsonl", "sarif")  # forms of which stdout holds one document
EXITS = {"LEE811": USAGE, "LEE813": USAGE, "LEE814": INTERRUPTED, "LEE901": INTERNAL}


class Console:
    """One run of a command: how it speaks, and the sources it has read (for the report of a failure)."""

    def __init__(self, color: str = "auto", quiet: bool = False, verbose: bool = False):
        self.color, self.quiet, self.verbose = color, quiet, verbose
        self.form = "full"
        self.file: Path | None = None  # for what is left to say, in place of the terminal
        self.sources: list[Source] = []

    @property
    def json(self) -> bool:
        return self.form == "json"

    @property
    def machine(self) -> bool:
        """Whether stdout holds one document for a program, and nothing else."""
        return self.form in MACHINE

    def document(self, found: Sequence[Diagnostic], result: Any) -> str:
        from leec.diagnostics import json, sarif

        if self.form == "sarif":
            return json.dumps(sarif.log(found))
        return json.lines(found) if self.form == "jsonl" else json.dumps(json.envelope(found, result))

    def result(self, text: str) -> None:
        """What the command was asked for."""
        if not self.machine and text:
            click.echo(text, nl=not text.endswith("\n"), color=False)

    def remark(self, text: str) -> None:
        """What is good to know and not asked for."""
        if not self.machine and not self.quiet:
            click.echo(text, err=True)

    def finish(
        self, diagnostics: Iterable[Diagnostic] = (), result: Any = None, strict: bool = False, code: int | None = None
    ) -> int:
        """Say everything that is left to say; the exit code follows from the diagnostics unless it is given."""
        found = list(diagnostics)
        if self.file is not None:
            self.write(found, result)
        elif self.machine:
            click.echo(self.document(found, result), nl=self.form != "jsonl")
        else:
            self.show(found)
        return exit_code(found, strict) if code is None else code

    def write(self, found: Sequence[Diagnostic], result: Any) -> None:
        """The diagnostics in their form, into the file. Raises LeeError where it cannot be written."""
        from leec.cli.files import write_all
        from leec.diagnostics.json import github

        path, self.file = self.file, None  # a failure to write is told on the terminal
        told = [github(d) if self.form == "github" else self.report(d, plain=True) for d in found]
        text = self.document(found, result) if self.machine else ("\n" * (1 + (self.form == "full"))).join(told)
        write_all({path: text if not text or text.endswith("\n") else text + "\n"})

    def show(self, diagnostics: Sequence[Diagnostic]) -> None:
        shown = [d for d in diagnostics if d.severity == "error" or not self.quiet]
        for nth, d in enumerate(shown):
            if self.form == "github":
                from leec.diagnostics.json import github

                click.echo(github(d))
                continue
            click.echo("\n" * (nth > 0 and self.form == "full") + self.report(d), err=True, color=self.colored)

    def report(self, d: Diagnostic, plain: bool = False) -> str:
        from leec.diagnostics.render import render, render_concise

        if self.form == "concise":
            return render_concise(d)
        return render(d) if plain else render(d, self.colored, self.width)

    @property
    def colored(self) -> bool:
        if self.color != "auto":
            return self.color == "always"
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return not plain and sys.stderr.isatty()

    @property
    def width(self) -> int | None:
        """The cells of a line on a terminal; a log keeps its lines whole."""
        return shutil.get_terminal_size().columns if sys.stderr.isatty() else None


def exit_code(diagnostics: Sequence[Diagnostic], strict: bool = False) -> int:
    errors = [d for d in diagnostics if d.severity == "error" or (strict and d.severity == "warning")]
    return max((EXITS.get(d.code, FINDINGS) for d in errors), default=OK)


def tally(diagnostics: Sequence[Diagnostic]) -> str:
    """`2 errors, 1 warning`, or `nothing to report`."""
    counts = Counter(d.severity for d in diagnostics)
    said = [f"{n} {word}{'s' * (n > 1)}" for word in ("error", "warning", "note") if (n := counts[word])]
    return ", ".join(said) or "nothing to report"
