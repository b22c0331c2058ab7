"""The operations of the IR: importing this package fills the table, a file a family."""

from leec.ops import (  # noqa: F401
    arithmetic,
    composites,
    composites_activation,
    composites_adam,
    composites_conv,
    composites_matrix,
    composites_norm,
    composites_pool,
    contract,
    control,
    cumulate,
    factorisations,
    functions,
    index,
    linalg,
    logic,
    order,
    places,
    points,
    random,
    reduce,
    shape,
    windows,
)
from leec.ops.table import TABLE, Op

__all__ = ["TABLE", "Op"]
