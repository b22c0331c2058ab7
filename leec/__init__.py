"""leec compiles lee, a small declarative language of models and training, to NumPy and PyTorch.

    leec.compile("digits.lee").files["reference.py"]
    net = leec.load("digits.lee").fit(epochs=3)

A spec with mistakes raises LeeError, which has the diagnostics; what a run meets is a RuntimeFault.

Importing this package is free: what these functions need is imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leec.api import compile, load, verify
    from leec.diagnostics import LeeError
    from leec.runtime.faults import RuntimeFault

__version__ = "0.1.0"
PLACES = {
    "compile": "leec.api",
    "load": "leec.api",
    "verify": "leec.api",
    "LeeError": "leec.diagnostics",
    "RuntimeFault": "leec.runtime.faults",
}
__all__ = ["LeeError", "RuntimeFault", "compile", "load", "verify"]


def __getattr__(name: str) -> Any:
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module 'leec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
