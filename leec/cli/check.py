"""`leec check`: every independent mistake of specs, and the repair of those that can be repaired."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import unified_diff
from pathlib import Path

import click

from leec import driver
from leec.cli.console import FINDINGS, OK, Console, tally
from leec.cli.files import beside, read_source, specs, write_all
from leec.cli.options import json_option
from leec.diagnostics import Diagnostic, LeeError, Source
from leec.diagnostics.fixes import apply_fixes

ROUNDS = 20  # a fix may uncover what the next round repairs; more than this is a circle


def set_form(ctx: click.Context, param: click.Parameter, value: str) -> None:
    if value != "full":
        ctx.obj.form = value


def set_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    ctx.obj.file = value


@click.command("check")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--fix", is_flag=True, help="Apply the safe fixes.")
@click.option("--unsafe-fixes", is_flag=True, help="With --fix or --diff: also those that may change the meaning.")
@click.option("--diff", is_flag=True, help="Print what --fix would change; write nothing.")
@click.option("--select", multiple=True, metavar="CODE", help="Only codes that begin so, such as LEE2.")
@click.option("--ignore", multiple=True, metavar="CODE", help="Leave out codes that begin so.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever was found.")
@click.option(
    "--output-format",
    type=click.Choice(["full", "concise", "json", "jsonl", "github", "sarif"]),
    default="full",
    expose_value=False,
    callback=set_form,
    help="How diagnostics are written.",
)
@click.option(
    "--output-file",
    type=click.Path(dir_okay=False, path_type=Path),
    expose_value=False,
    callback=set_file,
    help="Write the diagnostics there.",
)
@json_option
@click.pass_obj
def command(
    console: Console,
    paths: tuple[str, ...],
    fix: bool,
    unsafe_fixes: bool,
    diff: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    strict: bool,
    exit_zero: bool,
) -> int:
    """Report every mistake of the specs; PATH is a file, a folder, or - for stdin."""
    found: list[Diagnostic] = []
    fixed: dict[str, int] = {}
    files = list(specs(paths))
    for path in files:
        try:
            source = read_source(console, path)
            diagnostics = driver.check(source, beside(console, path))
            if fix or diff:
                repaired, diagnostics, fixed[path] = repair(console, source, diagnostics, unsafe_fixes)
                deliver(console, source, repaired, diff)
        except LeeError as error:
            diagnostics = error.diagnostics
        found += (d for d in diagnostics if chosen(d.code, select, ignore))
    if fix and any(fixed.values()):
        console.remark("".join(f"{path}: {n} fixed\n" for path, n in fixed.items() if n).rstrip())
    code = console.finish(found, {"files": files, "fixed": fixed}, strict)
    console.remark(f"{len(files)} file{'s' * (len(files) != 1)}: {tally(found)}")
    return OK if exit_zero else max(code, FINDINGS * (diff and any(fixed.values())))


def chosen(code: str, select: Iterable[str], ignore: Iterable[str]) -> bool:
    """Errors of the environment cannot be left out: they say that nothing was checked."""
    wanted = not select or any(map(code.startswith, select))
    return (wanted and not any(map(code.startswith, ignore))) or code.startswith(("LEE8", "LEE9"))


def repair(
    console: Console, source: Source, diagnostics: tuple[Diagnostic, ...], unsafe: bool
) -> tuple[Source, tuple[Diagnostic, ...], int]:
    """Apply fixes until none is offered; the last source, what is left to report, and the number of fixes."""
    total = 0
    for _ in range(ROUNDS):
        text, count = apply_fixes(source, diagnostics, unsafe)
        if not count:
            break
        total += count
        source = Source(source.path, text)
        diagnostics = driver.check(source, beside(console, source.path))
    return source, diagnostics, total


def deliver(console: Console, before: Source, after: Source, diff: bool) -> None:
    """Show the difference, or put the repaired text where the spec came from."""
    if diff:
        console.result(difference(before, after.text))
    elif before.path == "<stdin>":
        console.result(after.text)
    elif after.text != before.text:
        write_all({Path(before.path): after.text})


def difference(before: Source, text: str) -> str:
    lines = before.text.splitlines(keepends=True), text.splitlines(keepends=True)
    return "".join(unified_diff(*lines, before.path, before.path))
