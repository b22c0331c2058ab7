"""Specs from disk or stdin, the files beside them, and results written whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE

from leec.cli.console import Console
from leec.diagnostics import LeeError, Source
from leec.diagnostics.environment import unreadable, unwritable

STDIN = "-"


def read_source(console: Console, path: str, stdin_name: str = "<stdin>") -> Source:
    """The text of a file, `-` being stdin. Raises LeeError if it cannot be read as UTF-8."""
    try:
        data = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
        source = Source(stdin_name if path == STDIN else path, data.decode("utf-8-sig"))
    except OSError as error:
        raise LeeError(unreadable(path, error.strerror or str(error))) from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise LeeError(unreadable(path, f"line {line} is not UTF-8 text")) from None
    console.sources.append(source)
    return source


def specs(paths: Iterable[str]) -> Iterator[str]:
    """The named files, and every `.lee` file below a named folder, each once."""
    seen: set[str] = set()
    for path in paths:
        found = sorted(map(str, Path(path).rglob("*.lee"))) if path != STDIN and Path(path).is_dir() else [path]
        for file in found:
            if file not in seen:
                seen.add(file)
                yield file


def beside(console: Console, path: str) -> Callable[[str], Source | None]:
    """What `from NAME import ..` finds: the file NAME.lee in the folder of a spec, or None."""
    folder = Path.cwd() if path == STDIN else Path(path).parent

    def load(module: str) -> Source | None:
        file = folder.joinpath(*module.split(".")).with_suffix(".lee")
        return read_source(console, os.path.normpath(file)) if file.is_file() else None

    return load


def write_all(texts: Mapping[Path, str | bytes]) -> None:
    """Write every file or, where one cannot be written, none. Raises LeeError.

    Each text goes to a new file beside its place first; then all are moved, so no reader sees half of one.
    """
    fresh: dict[Path, Path] = {}
    try:
        for path, text in texts.items():
            place = path.resolve()
            fresh[place] = place.with_name(f".{place.name}.{os.getpid()}")
            stage(fresh[place], place, text)
        for place, staged in fresh.items():
            staged.replace(place)
    except OSError as error:
        raise LeeError(unwritable(str(path), error.strerror or str(error))) from None
    finally:
        for staged in fresh.values():
            with suppress(OSError):
                staged.unlink()


def stage(fresh: Path, place: Path, text: str | bytes) -> None:
    """The text in a new file with the rights of the one it will replace."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    if place.exists():
        fresh.chmod(S_IMODE(place.stat().st_mode))
