"""A generated program that does not run: which one, and the line of it and of the spec where it stops."""

from __future__ import annotations

import linecache
import math
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from leec.diagnostics import Source, Span
from leec.proof.agreement import Row
from leec.proof.report import Finding, Section


class ProgramFailed(Exception):
    """An error in what was generated, or in autograd through it."""

    def __init__(self, program: str, error: Exception, line: str):
        super().__init__(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        self.program, self.line = program, line


@contextmanager
def running(program: str, module: ModuleType) -> Iterator[None]:
    """What fails within the lines of a generated module, or within torch, is the program's failure; else it is ours."""
    try:
        yield
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == module.__file__]
        in_torch = type(error) is RuntimeError and "/torch/" in frames[-1].filename.replace("\\", "/")
        if not (own or in_torch) or hasattr(error, "status"):
            raise
        line = linecache.getline(own[-1].filename, own[-1].lineno or 0).strip() if own else ""
        raise ProgramFailed(program, error, line) from error


def failed(section: Section, failure: ProgramFailed, source: Source) -> Section:
    """The section of a program that did not run to its end."""
    section.rows = [Row("runs to its end", (), math.inf, 0.0, (failure.program, failure.program))]
    message = f"{failure.program} does not run: {failure}"
    section.finding = Finding(
        "emitter", failure.program, message, section.name, failure.line, place(failure.line, source)
    )
    return section


def place(line: str, source: Source) -> Span | None:
    """The line of the spec that a comment of generated code names."""
    found = re.search(r"#.*?([^\s/]+\.lee):(\d+)$", line)
    if found is None or not source.path.endswith(found[1]):
        return None
    text = source.line(int(found[2]))
    start = source.line_starts[int(found[2]) - 1]
    return Span(source, start + len(text) - len(text.lstrip()), start + len(text))
