"""Options that several commands share, declared once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from leec.cli.console import Console

if TYPE_CHECKING:
    from leec.driver import Options


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


def precision_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What every compilation is asked: `optimize`, `dtype` and `recompute`."""
    levels = "0: as written. 1: the same within rounding, readable. 2: fastest."
    dtype = click.option(
        "--dtype", type=click.Choice(["f32", "f64", "bf16"]), default="f32", help="The width of a float."
    )
    optimize = click.option("-O", "--optimize", type=click.Choice(["0", "1", "2"]), default="1", help=levels)
    return optimize(dtype(recompute_option(command)))


def recompute_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Memory for time in the gradients of loops (`leec.passes.segments`)."""
    return click.option(
        "--recompute",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        help="Whether gradients of loops compute their rounds again instead of keeping what they read.",
    )(command)


def compile_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is compiled and how: `backend`, and what every compilation is asked."""
    backend = click.option("--backend", type=click.Choice(["numpy", "torch", "all"]), default="all")
    return backend(precision_options(command))


def chosen_options(optimize: str, dtype: str, backend: str, recompute: str) -> Options:
    """The options of the driver. Raises click.UsageError for a width that a back end does not have."""
    if dtype == "bf16" and backend != "torch":
        raise click.UsageError("NumPy does not compute in bf16: use it with --backend torch")
    from leec.driver import Options

    return Options(level=int(optimize), dtype=dtype, backend=backend, recompute=recompute)
