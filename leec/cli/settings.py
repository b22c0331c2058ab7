"""Project defaults: `leec.toml`, or the table `[tool.leec]` of `pyproject.toml`, nearest above the working folder.

A table a command, its keys the long options: `[compile]` with `output = "build"`. An unknown key is an error.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

Settings = dict[str, dict[str, Any]]


def load_settings(ctx: click.Context, chosen: str | None) -> Settings:
    """Command -> option -> value. Raises click.UsageError for what is not one."""
    path = Path(chosen) if chosen else nearest(Path.cwd())
    if path is None:
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path}: {error}") from None
    tables = found.get("tool", {}).get("leec", {}) if path.name == "pyproject.toml" else found
    return {command: defaults(ctx, path, command, table) for command, table in tables.items()}


def nearest(folder: Path) -> Path | None:
    for place in (folder, *folder.parents):
        for file in (place / "leec.toml", place / "pyproject.toml"):
            if file.is_file():
                return file
    return None


def defaults(ctx: click.Context, path: Path, name: str, table: Any) -> dict[str, Any]:
    """The table with the parameter names of its command."""
    group = ctx.command
    command = group.get_command(ctx, name) if isinstance(group, click.Group) else None
    if command is None or not isinstance(table, dict):
        raise click.UsageError(f"{path}: there is no command {name!r} with settings")
    options = {
        option.lstrip("-"): param.name
        for param in command.params
        if isinstance(param, click.Option)
        for option in param.opts
        if option.startswith("--")
    }
    for key in table:
        if key not in options:
            raise click.UsageError(f"{path}: [{name}] has no setting {key!r}; it has {', '.join(sorted(options))}")
    return {str(options[key]): value for key, value in table.items()}
