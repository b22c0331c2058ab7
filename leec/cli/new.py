"""`leec new`: a spec to begin with, from one of the lessons that come with leec."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from leec.cli.console import Console
from leec.cli.files import write_all
from leec.cli.options import json_option

LESSONS = files("leec.cli").joinpath("lessons")


def lessons() -> dict[str, str]:
    """Lesson -> text of its spec."""
    found = sorted(LESSONS.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".lee"): file.read_text(encoding="utf-8") for file in found}


def title(text: str) -> str:
    """The first line of a spec's docstring."""
    return text.split('"""', 2)[1].strip().splitlines()[0]


@click.command("new")
@click.argument("name", required=False)
@click.option(
    "--lesson", type=click.Choice(list(lessons())), default="mlp", show_default=True, help="What to begin with."
)
@click.option("--list", "listed", is_flag=True, envvar="LEEC_NEW_LIST", help="The lessons.")
@json_option
@click.pass_obj
def command(console: Console, name: str | None, lesson: str, listed: bool) -> int:
    """Write NAME.lee, a small spec that checks, compiles and trains."""
    if listed:
        titles = {key: title(text) for key, text in lessons().items()}
        console.result("\n".join(f"{key:<10} {line}" for key, line in titles.items()))
        return console.finish(result={"lessons": titles})
    if name is None:
        raise click.UsageError("Missing argument 'NAME'.")
    path = Path(name if name.endswith(".lee") else f"{name}.lee")
    if path.exists():
        raise click.UsageError(f"{path} exists already")
    write_all({path: lessons()[lesson]})
    console.result(str(path))
    console.remark(f"next: leec check {path}, then leec train {path}")
    return console.finish(result={"file": str(path), "lesson": lesson})
