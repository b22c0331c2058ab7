"""A generated file as a module of this process, and what a check that fails in it says about the spec."""

from __future__ import annotations

import builtins
import linecache
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from leec.runtime import faults


@contextmanager
def checked(module: ModuleType) -> Iterator[None]:
    """A check that fails in a generated file, and a position outside an array there, name the line of the spec."""
    try:
        yield
    except (ValueError, IndexError) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        if frame.filename != module.__file__:
            raise
        place = re.search(r"#.*?(\S+:\d+)$", linecache.getline(frame.filename, frame.lineno or 0).rstrip())
        raise faults.failed_check(place.group(1) if place else "", str(error)) from error


def execute(text: str, name: str) -> ModuleType:
    """Run a generated file as a module; tracebacks show its lines."""
    file = f"<{name}>"
    module = ModuleType(name)
    module.__file__ = file
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    sys.modules[name] = module
    exec(builtins.compile(text, file, "exec"), module.__dict__)
    return module
