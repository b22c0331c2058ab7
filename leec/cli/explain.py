"""`leec explain`: what a diagnostic code means, with a spec that has the mistake and one that has it not."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

import click

from leec.cli.console import Console
from leec.cli.options import json_option


@cache
def explanations() -> dict[str, dict[str, Any]]:
    """Code -> name, what, and for mistakes in a spec: wrong, right."""
    return tomllib.loads(files("leec.diagnostics").joinpath("explain.toml").read_text(encoding="utf-8"))


@click.command("explain")
@click.argument("code", required=False)
@click.option("--list", "listed", is_flag=True, envvar="LEEC_EXPLAIN_LIST", help="Every code with its name.")
@json_option
@click.pass_obj
def command(console: Console, code: str | None, listed: bool) -> int:
    """Explain a diagnostic by its CODE (LEE201) or name (shape-mismatch)."""
    known = explanations()
    if listed or code is None:
        console.result("\n".join(f"{key}  {entry['name']}" for key, entry in sorted(known.items())))
        return console.finish(result={key: entry["name"] for key, entry in sorted(known.items())})
    key = find(code, known)
    console.result(explanation(key, known[key]))
    return console.finish(result={"code": key, **known[key]})


def find(word: str, known: dict[str, dict[str, Any]]) -> str:
    by_name = {entry["name"]: key for key, entry in known.items()}
    key = by_name.get(word.lower(), word.upper())
    if key in known:
        return key
    near = get_close_matches(word.upper(), known, 3) + get_close_matches(word.lower(), by_name, 3)
    also = f"; did you mean {', '.join(near)}?" if near else "; see leec explain --list"
    raise click.UsageError(f"there is no diagnostic {word!r}{also}")


def explanation(code: str, entry: dict[str, Any]) -> str:
    parts = [f"{code}: {entry['name']}", entry["what"].strip()]
    for word in ("wrong", "right"):
        if word in entry:
            lines = entry[word].strip("\n").splitlines()
            parts.append("\n".join([f"{word}:", *(f"    {line}".rstrip() for line in lines)]))
    return "\n\n".join(parts)
