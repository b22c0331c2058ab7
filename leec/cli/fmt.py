"""`leec fmt`: specs in their one form. The order and meaning of what stands there never change."""

from __future__ import annotations

from pathlib import Path

import click

from leec.cli.check import difference
from leec.cli.console import FINDINGS, OK, Console
from leec.cli.files import STDIN, read_source, specs, write_all
from leec.cli.options import json_option
from leec.diagnostics import Diagnostic, LeeError
from leec.syntax.format import format_source


@click.command("fmt")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...|-")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file would change.")
@click.option("--diff", is_flag=True, help="Write nothing; print what would change.")
@click.option("--stdin-filename", default="<stdin>", help="The name under which stdin appears in messages.")
@json_option
@click.pass_obj
def command(console: Console, paths: tuple[str, ...], check: bool, diff: bool, stdin_filename: str) -> int:
    """Format specs in place; - formats stdin to stdout. A file with syntax errors is left as it is."""
    changed: list[str] = []
    found: list[Diagnostic] = []
    texts: dict[Path, str] = {}
    for path in specs(paths):
        try:
            source = read_source(console, path, stdin_filename)
            text = format_source(source)
        except LeeError as error:
            found += error.diagnostics
            continue
        if text != source.text:
            changed.append(source.path)
        if diff:
            console.result(difference(source, text))
        elif path == STDIN and not check:
            console.result(text)
        elif text != source.text and not check:
            texts[Path(path)] = text
    write_all(texts)
    for path in changed:
        console.remark(f"{'would format' if check or diff else 'formatted'} {path}")
    code = console.finish(found, {"changed": changed})
    return max(code, FINDINGS if (check or diff) and changed else OK)
