"""One position of an axis, and arrays put together along a new one: what slices and reshapes say in two steps.

Back ends alone have these rows (the fact `idioms`): passes see slices, reshapes and concats.
"""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.bodies import body_gradient
from leec.ops.laws import Law
from leec.ops.shape import MOVES, Slices
from leec.ops.table import REQUIRED, Op, declare, example
from leec.types import TensorType

BACK_ENDS = ("numpy", "torch", "torch_step")


def _kept(dims: tuple[Dim, ...], dropped: tuple[int, ...]) -> tuple[Dim, ...]:
    return tuple(d for i, d in enumerate(dims) if i not in dropped)


def _entry_type(x: TensorType, slices: Slices, dropped: tuple[int, ...]) -> TensorType:
    return x.with_dims(*_kept(slices.dims, dropped))


def _entry_body(b, x, slices, dropped):
    part = b.slice(x, slices=slices)
    return b.reshape(part, dims=_kept(part.type.dims, dropped))


def _entry_column(types, params):
    """x[:, t]; the last position of an axis is -1."""

    def item(i: int, start: Dim, stop: Dim, step: Dim):
        last = start + 1 == types[0].dims[i] and start.constant is None
        return (Dim.of(-1) if last else start) if i in params["dropped"] else (start, stop, step)

    return "x[where]", {"where": Slices(item(i, *s) for i, s in enumerate(params["slices"]))}


def _one_position(b, x, s: Slices, d):
    """Where the reshape after a slice only drops axes that the slice left one entry of."""
    dropped, left = [], list(d)
    for i, (dim, whole) in enumerate(zip(s.dims, x.type.dims, strict=True)):
        if left and left[0] == dim and (dim != 1 or whole == 1):
            left.pop(0)
        elif dim == 1:
            dropped.append(i)
        else:
            return None
    return None if left or not dropped else b.entry(x, slices=s, dropped=tuple(dropped))


_ROW = Slices([(Dim.of(1), Dim.of(2), Dim.of(1)), (Dim.of(0), Dim.of("b"), Dim.of(1))])
_COLUMN = Slices([(Dim.of(0), Dim.of("a"), Dim.of(2)), (Dim.of("b") - 1, Dim.of("b"), Dim.of(1))])
PLACES = (Law("reshape(slice(x, slices=s), dims=d)", _one_position),)

declare(Op("entry", ("x",), "entries of a slice, without the axes of which it leaves one position", _entry_type,
           body_gradient(_entry_body), _entry_column, _entry_column,
           params={"slices": REQUIRED, "dropped": REQUIRED}, flops=0,
           examples=(example("float[3, b]", slices=_ROW, dropped=(0,)),
                     example("int[a, b]", slices=_COLUMN, dropped=(1,))),
           facts={**MOVES, "body": _entry_body, "idioms": dict.fromkeys(BACK_ENDS, PLACES)}))  # fmt: skip

# ---- several along a new axis


def _stack_type(*types: TensorType, axis: int) -> TensorType:
    dims = types[0].dims
    return types[0].with_dims(*dims[:axis], Dim.of(len(types)), *dims[axis:])


def _stack_body(b, *xs, axis):
    ones = [b.reshape(x, dims=(*x.type.dims[:axis], Dim.of(1), *x.type.dims[axis:])) for x in xs]
    return b.concat(*ones, axis=axis)


def _stack_column(text: str):
    """The first axis is the default."""
    return lambda types, params: text if params["axis"] else f"{text.partition(',')[0]})"


def _along_a_new_axis(b, xs, a):
    """Arrays that were given an axis of size 1 to be put together along it."""
    made = [b.producer(x) for x in xs]
    found = [e.args[0] for e in made if e is not None and e.op == "reshape"]
    same = {x.type.dims for x in found} == {_kept(xs[0].type.dims, (a,))}
    return b.stack(*found, axis=a) if len(found) == len(xs) > 1 and same else None


STACKS = (Law("concat(*xs, axis=a)", _along_a_new_axis),)

declare(Op("stack", ("*xs",), "side by side along a new axis", _stack_type, body_gradient(_stack_body),
           _stack_column("np.stack(xs, axis=axis)"), _stack_column("torch.stack(xs, dim=axis)"), params={"axis": REQUIRED}, operands="same", flops=0,
           examples=(example("float[a, b]", "float[a, b]", axis=0), example("int[a]", "int[a]", "int[a]", axis=1)),
           facts={"body": _stack_body, "idioms": dict.fromkeys(BACK_ENDS, STACKS)}))  # fmt: skip
