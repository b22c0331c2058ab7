"""Points in parameter space: many tensors as one flat vector and back, in declaration order, row-major (R32)."""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.table import REQUIRED, Op, declare, example
from leec.types import TensorType


def _total(types) -> Dim:
    total = Dim.of(0)
    for t in types:
        total = total + t.size
    return total


def _flatten_column(call: str, method: str):
    """Vectors are flat already, and of one tensor nothing is put together."""

    def column(types, params):
        parts = [f"x{i}" if t.rank == 1 and len(types) > 1 else f"x{i}.{method}" for i, t in enumerate(types)]
        return parts[0] if len(parts) == 1 else call.format(", ".join(parts))

    return column


def _unflatten_column(types, params):
    shapes = params["shapes"]
    return ("x.reshape(shape)", {"shape": shapes[0]}) if len(shapes) == 1 else "unflatten(x, shapes)"


declare(Op("flatten", ("*xs",), "all entries of many tensors, one after the other",
           lambda *xs: TensorType(xs[0].dtype, (_total(xs),)),
           lambda b, g, out, *xs: b.unflatten(g, shapes=tuple(x.type.dims for x in xs)),
           _flatten_column("np.concatenate(({}))", "ravel()"), _flatten_column("torch.cat(({}))", "reshape(-1)"),
           operands="same",
           flops=0, facts={"points": True},
           examples=(example("float[a, b]", "float[]", "float[3]"), example("float[a]"))))  # fmt: skip
declare(Op("unflatten", ("x",), "the tensors that `flatten` put together, by their dims",
           lambda x, shapes: tuple(TensorType(x.dtype, dims) for dims in shapes),
           lambda b, g, out, x, shapes: (b.flatten(*g),),
           _unflatten_column, _unflatten_column, params={"shapes": REQUIRED}, flops=0, facts={"points": True},
           examples=(example("float[a * b + 4]", shapes=(("a", "b"), (), ("3",))),
                     example("float[a]", shapes=(("a", "1"),)))))  # fmt: skip
