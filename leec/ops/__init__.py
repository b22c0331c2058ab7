"""The operations of the IR: importing this package fills the table, a file a family."""

from leec.ops import composites, contract, control, elementwise, points, reduce, shape  # noqa: F401
from leec.ops.table import TABLE, Op

__all__ = ["TABLE", "Op"]
