"""leec compiles lee, a small declarative language of models and training, to NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["compile", "load", "verify"]


def __getattr__(name: str) -> Any:
    """The Python API, imported when it is first used, so that the command line starts fast."""
    if name == "verify":
        from leec.proof.verify import verify

        return verify
    if name in ("compile", "load"):
        from leec import api

        return getattr(api, name)
    raise AttributeError(f"module 'leec' has no attribute {name!r}")
