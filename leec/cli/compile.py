"""`leec compile`: the NumPy reference and the PyTorch code of specs, written to a folder each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from leec import driver
from leec.cli.console import FINDINGS, Console, tally
from leec.cli.files import beside, read_source, specs, write_all
from leec.cli.options import chosen_options, compile_options, json_option
from leec.diagnostics import Diagnostic, LeeError


@click.command("compile")
@click.argument("paths", nargs=-1, required=True, metavar="SPEC...")
@click.option("-o", "--output", default="generated", show_default=True, metavar="DIR", help="One folder a spec in DIR.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file would change.")
@click.option("--stdout", is_flag=True, help="Print the code instead of writing files.")
@compile_options
@json_option
@click.pass_obj
def command(
    console: Console,
    paths: tuple[str, ...],
    output: str,
    check: bool,
    stdout: bool,
    backend: str,
    optimize: str,
    dtype: str,
    recompute: str,
) -> int:
    """Write reference.py (NumPy) and cuda.py (PyTorch) of every spec; nothing is written where one has an error."""
    options = chosen_options(optimize, dtype, backend, recompute)
    texts: dict[Path, str] = {}
    found: list[Diagnostic] = []
    for path in specs(paths):
        try:
            source = read_source(console, path)
            outputs = driver.compile_spec(source, beside(console, path), options)
            found += outputs.diagnostics
            folder = Path(output) / Path(source.path.strip("<>")).stem
            files = {folder / name: text for name, text in outputs.files.items()}
            if files.keys() & texts.keys():
                raise click.UsageError(f"two specs would be written to {folder}; compile them to two folders")
            texts |= files
        except LeeError as error:
            found += error.diagnostics
    if any(d.severity == "error" for d in found):
        console.remark(f"nothing was written: {tally(found)}")
        return console.finish(found)
    if stdout:
        console.result("\n".join(texts.values()))
        return console.finish(found, {str(path): text for path, text in texts.items()})
    return write(console, texts, check, found)


def write(console: Console, texts: Mapping[Path, str], check: bool, found: list[Diagnostic]) -> int:
    """Write what is not there yet, or only say what would be written."""
    changed = {path: text for path, text in texts.items() if not holds(path, text)}
    if not check:
        write_all(changed)
    for path in texts:
        word = ("would write" if check else "wrote") if path in changed else "unchanged"
        console.remark(f"{word} {path}")
    result = {"files": [str(path) for path in texts], "changed": [str(path) for path in changed]}
    code = console.finish(found, result)
    return max(code, FINDINGS * bool(check and changed))


def holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode("utf-8")
