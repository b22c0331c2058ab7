"""Builder: `b.mul(x, y)` appends an equation whose type the op's row infers and whose name is unique.

Gradient rules, elaboration and passes all write IR through it, so no equation exists that its row did not type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from leec.diagnostics import Span
from leec.dims import Dim
from leec.ir.graph import Equation, Value
from leec.ops.table import JOINED, TABLE, Op, check_operands, complete, joined_dtype, operand_kinds
from leec.types import FLOATS, TensorType, host


class Builder:
    def __init__(self, taken: Iterable[str] = ()):
        self.equations: list[Equation] = []
        self.names: set[str] = set(taken)
        self.numbers: dict[str, int] = {}  # the last number given to a hint, so that names cost the same however many
        self.span: Span | None = None

    def unique(self, hint: str) -> str:
        """The hint, or the hint with the first free number."""
        name, number = hint, self.numbers.get(hint, 1)
        while name in self.names:
            number += 1
            name = f"{hint}_{number}"
        self.numbers[hint] = number
        self.names.add(name)
        return name

    def value(self, hint: str, type: TensorType, named: bool = False) -> Value:
        return Value(self.unique(hint), type, self.span, named)

    def emit(self, op: str, args: tuple[Value, ...], params: dict | None = None, hint: str | None = None):
        """Append `op(args, params)`; gives its result, or the tuple of them where the row has several."""
        row = TABLE[op]
        params = complete(row, params or {})
        args = self.joined(row, args)
        check_operands(row, tuple(a.type for a in args))
        types = row.type(*(a.type for a in args), **params)
        many = isinstance(types, tuple)
        results = tuple(self.value(hint or op, t) for t in (types if many else (types,)))
        self.equations.append(Equation(op, args, params, results, self.span))
        return results if many else results[0]

    def joined(self, row: Op, args: tuple[Value, ...]) -> tuple[Value, ...]:
        """Operands that must have one dtype: integers among floats are cast (R17), as NumPy would make them float64."""
        wanted = joined_dtype(row, tuple(a.type for a in args))
        if wanted not in FLOATS:
            return args
        kinds = operand_kinds(row, len(args))
        return tuple(
            (
                self.emit("cast", (a,), {"dtype": wanted})
                if kind in JOINED and not a.type.host and a.type.dtype not in (wanted, "bool")
                else a
            )
            for a, kind in zip(args, kinds, strict=True)
        )

    def __getattr__(self, op: str) -> Callable:
        if op.startswith("__"):
            raise AttributeError(op)

        def apply(*args, hint: str | None = None, **params):
            return self.emit(op, tuple(map(self.lift, args)), params, hint)

        return apply

    def lift(self, value: Value | Dim | int | float | bool) -> Value:
        """Numbers become constants of the host, dims become sizes."""
        if isinstance(value, Value):
            return value
        if isinstance(value, Dim):
            return self.size(value) if value.constant is None else self.lift(value.constant)
        dtype = "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "float"
        return self.emit("const", (), {"value": value, "type": host(dtype)})

    def size(self, dim: Dim) -> Value:
        return self.emit("size", (), {"dim": dim})

    def sum_to(self, g: Value, dims: tuple[Dim, ...]) -> Value:
        """The cotangent of an operand that was broadcast from `dims`: summed over the axes that stretched."""
        if g.type.dims == dims:
            return g
        missing = g.type.rank - len(dims)
        stretched = [i for i, d in enumerate(dims) if d == 1 and g.type.dims[missing + i] != 1]
        if missing:
            g = self.sum(g, axes=tuple(range(missing)))
        return self.sum(g, axes=tuple(stretched), keepdims=True) if stretched else g
