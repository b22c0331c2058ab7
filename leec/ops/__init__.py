"""The operations of the IR: importing this package fills the table, a file a family."""

from leec.ops import composites, composites_conv, contract, control, elementwise, index, points, random, reduce, shape  # noqa: F401
from leec.ops.table import TABLE, Op

__all__ = ["TABLE", "Op"]
