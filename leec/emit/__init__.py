"""From a compiled spec to the two files that people read and run: NumPy and PyTorch."""

from leec.emit.cuda import emit_cuda
from leec.emit.reference import emit_reference

__all__ = ["emit_cuda", "emit_reference"]
