"""Options that several commands share, declared once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from leec.cli.console import Console


def answer_json(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_object(Console).form = "json"  # type: ignore[union-attr]


json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=answer_json,
    help="Answer with one JSON document on stdout.",
)


def compile_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is compiled and how: `backend`, `optimize` and `dtype`."""
    for option in (
        click.option("--dtype", type=click.Choice(["f32", "f64", "bf16"]), default="f32", help="The width of a float."),
        click.option(
            "-O",
            "--optimize",
            type=click.Choice(["0", "1", "2"]),
            default="1",
            help="0: as written. 1: the same within rounding, readable. 2: fastest.",
        ),
        click.option("--backend", type=click.Choice(["numpy", "torch", "all"]), default="all"),
    ):
        command = option(command)
    return command
