"""Where the sizes that a function mentions come from: arguments, hyperparameters, or shapes of its inputs.

A size is looked up when it is first mentioned, so a function only unpacks the shapes that it really needs.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, count

from leec.diagnostics import InternalError
from leec.dims import Atom, Dim, Quotient
from leec.emit.dialect import parse
from leec.emit.expressions import Replace
from leec.emit.layout import text
from leec.emit.names import Names
from leec.ir.graph import Value

LONG = 20  # columns of a quotient that gets a name


class Sizes:
    """`known` are symbols with expressions of their own; `arrays` are the inputs to read shapes from, best first.

    Long quotients among the `dims` of a function get names: `out_h` is what a window leaves of h.
    """

    def __init__(
        self,
        known: Mapping[str, ast.expr],
        arrays: Mapping[Value, Callable[[], ast.expr]],
        names: Names,
        dims: Iterable[Dim] = (),
    ):
        self.known, self.arrays, self.names = dict(known), arrays, names
        self.read: dict[Value, dict[int, str]] = {}
        self.shapes = {d.symbol for v in arrays for d in v.type.dims if d.symbol}
        self.long: dict[Quotient, tuple[str, Dim]] = {}  # with a name for what it occurs in
        self.written: dict[str, str] = {}  # names of long sizes, with their lines
        for dim in dims:
            self.enter(dim)

    def enter(self, dim: Dim) -> None:
        """A long quotient, alone or with a number added."""
        if dim.symbol or dim.constant is not None:
            return
        quotients = [a for monomial, _ in dim.terms for a, _ in monomial if isinstance(a, Quotient)]
        if len(quotients) != 1 or quotients[0] in self.long or len(str(quotients[0])) <= LONG:
            return
        rest = dim - of_atom(quotients[0])
        if rest.constant is not None:
            over = [s for s in sorted(quotients[0].num.symbols, key=str) if s in self.shapes]
            main = next((d.symbol for v in self.arrays for d in v.type.dims if d.symbol in over), "rest")
            self.long[quotients[0]] = self.unused(f"out_{main}"), dim

    def unused(self, wanted: str) -> str:
        taken = {name for name, _ in self.long.values()} | self.shapes | self.known.keys()
        return next(n for n in chain([wanted], (f"{wanted}_{i}" for i in count(2))) if n not in taken)

    def short(self, dim: Dim) -> Dim:
        """The size over the names of long ones."""
        for quotient, (name, whole) in self.long.items():
            if not any(a == quotient for monomial, _ in dim.terms for a, _ in monomial):
                continue
            dim = replaced(dim, quotient, Dim.of(name) - (whole - of_atom(quotient)))
        return dim

    def __call__(self, symbol: str) -> ast.expr:
        """The expression of a symbol. Raises InternalError if no input shows its value."""
        if symbol not in self.known:
            whole = next((dim for name, dim in self.long.values() if name == symbol), None)
            shown = self.places(whole or Dim.of(symbol))
            self.known[symbol] = ast.Name(
                self.defined(symbol, whole) if whole and not shown else self.unpacked(symbol, shown)
            )
        return self.known[symbol]

    def defined(self, symbol: str, whole: Dim) -> str:
        name = self.names.fresh(symbol)
        marks = {s: f"symbol_{i}" for i, s in enumerate(sorted(whole.symbols))}
        trees = {mark: self(s) for s, mark in marks.items()}
        self.written[name] = text(Replace(trees).visit(parse(whole.render(marks.__getitem__))))
        return name

    def unpacked(self, symbol: str, places: list[tuple[Value, int]]) -> str:
        """A size off the shape of an array; one that is read already comes first."""
        if not places:
            raise InternalError(f"no input of the function shows the size {symbol}")
        value, axis = min(places, key=lambda place: place[0] not in self.read)
        name = self.names.fresh(symbol)
        self.read.setdefault(value, {})[axis] = name
        return name

    def places(self, dim: Dim) -> list[tuple[Value, int]]:
        return [(v, axis) for v in self.arrays for axis, d in enumerate(v.type.dims) if d == dim]

    def locals(self) -> list[str]:
        """The variables that hold sizes, arguments among them."""
        given = [tree.id for tree in self.known.values() if isinstance(tree, ast.Name)]
        read = [name for axes in self.read.values() for name in axes.values()]
        return list(dict.fromkeys([*read, *self.written, *given]))

    def lines(self) -> list[str]:
        """`n, d = x.shape`, in the order of the inputs, then long sizes."""
        long = [f"{name} = {line}" for name, line in self.written.items()]
        return [*(self.line(value) for value in self.arrays if value in self.read), *long]

    def line(self, value: Value) -> str:
        axes = self.read[value]
        shape = f"{text(self.arrays[value]())}.shape"
        if len(axes) == 1:
            ((axis, name),) = axes.items()
            return f"{name} = {shape}[{axis}]"
        return f"{', '.join(axes.get(axis, '_') for axis in range(value.type.rank))} = {shape}"


def of_atom(atom: Atom) -> Dim:
    return Dim(((((atom, 1),), 1),))


def replaced(dim: Dim, atom: Atom, value: Dim) -> Dim:
    """The dim with an atom written as something else."""
    total = Dim.of(0)
    for monomial, factor in dim.terms:
        product = Dim.of(factor)
        for own, power in monomial:
            product = product * (value if own == atom else of_atom(own)) ** power
        total = total + product
    return total
