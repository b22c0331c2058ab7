"""From a compiled spec to the two files that people read and run: NumPy and PyTorch."""

from leec.emit.reference import emit_reference

__all__ = ["emit_reference"]
