"""`leec show`: what the compiler made of a spec at any stage, as text."""

from __future__ import annotations

import click

from leec import driver
from leec.cli.console import Console
from leec.cli.files import beside, read_source
from leec.cli.options import chosen_options, compile_options, json_option


@click.command("show")
@click.argument("path", metavar="SPEC")
@click.option("--stage", type=click.Choice(driver.stages()), required=True, help="ast, ir, a pass, numpy or torch.")
@compile_options
@json_option
@click.pass_obj
def command(console: Console, path: str, stage: str, backend: str, optimize: str, dtype: str, recompute: str) -> int:
    """Print the syntax tree, the IR after any pass, or the code of either back end."""
    source = read_source(console, path)
    options = chosen_options(optimize, dtype, backend, recompute)
    try:
        text = driver.show(source, beside(console, path), stage, options)
    except LookupError as error:
        raise click.UsageError(str(error)) from None
    console.result(text)
    return console.finish(result={"stage": stage, "text": text})
