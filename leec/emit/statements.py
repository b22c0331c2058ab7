"""The body of a function as statements: named values stand alone, the rest folds into the expression that reads it.

A Body walks the equations once, in order. Folding never repeats work: what is read twice has a name. Statements
that write (state, calls that do) wait for nothing and let nothing that reads their target slip behind them.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from leec.diagnostics import Span
from leec.emit.comments import Provenance
from leec.emit.dialect import HOST, Dialect
from leec.emit.expressions import argument_uses, equation_tree, in_place_tree
from leec.emit.groups import Groups
from leec.emit.idioms import folded, squared, whole, with_bias
from leec.emit.layout import WIDTH, text, unparenthesised
from leec.emit.names import Names
from leec.emit.owned import is_taken
from leec.emit.sizes import Sizes
from leec.emit.splitting import fit
from leec.emit.stacks import stack_of
from leec.emit.values import among_floats, better_names, fills, plain_numbers
from leec.ir.graph import Equation, Function, Value
from leec.ops import TABLE
from leec.types import TensorType

FOLDED = 60  # columns of an expression that folds into another
STATEMENT = 76  # and of one that stands alone


@dataclass
class Line:
    code: str
    comment: str = ""
    above: str | None = None

    def written(self, indent: int) -> list[str]:
        """The comment at the end where it fits, else above."""
        pad = self.code[: len(self.code) - len(self.code.lstrip())]
        lines = [self.above] if self.above else []
        tail = f"  # {self.comment}" if self.comment else ""
        if "\n" not in self.code and indent + len(self.code) + len(tail) <= WIDTH:
            return [*lines, self.code + tail]
        return [*lines, *([pad + tail.strip()] if tail else []), *fit(self.code, indent).splitlines()]


@dataclass
class Folded:
    """An expression that is not written yet."""

    value: Value
    span: Span | None
    reads: frozenset[Value]  # tensors of models that it reads: their state may be written over


class Body:
    """Statements of one function. `values` has the expression of everything computed so far."""

    def __init__(
        self, f: Function, dialect: Dialect, names: Names, sizes: Sizes, groups: Groups, backward: bool = False
    ):
        self.f, self.dialect, self.names, self.sizes, self.groups = f, dialect, names, sizes, groups
        self.values: dict[Value, ast.expr] = {}
        self.numbers: dict[int, ast.expr] = {}  # trees that are numbers of the host
        self.types: dict[int, tuple[ast.expr, TensorType]] = {}  # of the trees of values, by identity
        self.lines: list[Line] = []
        self.folded: dict[Value, Folded] = {}
        self.ready = {} if dialect.autograd else {after: before for before, after in f.state}  # stored once computed
        self.moved = {before for before, _ in f.state}
        self.skipped: Collection[Equation] = ()  # what another statement stands for
        self.in_place: set[Value] = set()  # new state that a callee stored already
        self.provenance = Provenance(backward, sizes.short)
        self.readers = Counter(a for e in f.body for a in e.args) + Counter(f.outputs)
        self.called = better_names(f)
        self.plain = plain_numbers(f)
        self.stored = {after for _, after in f.state if self.readers[after] == 1}  # go where they belong at the end

    # ---- equations

    def equation(self, equation: Equation) -> None:
        """One equation of the table: an expression to fold, or a statement."""
        if not any(self.readers[r] for r in equation.results):
            return
        if self.overwrites(equation):
            self.overwrite(equation)
            return
        tree = self.tree(equation)
        if len(equation.results) > 1:
            targets = ast.Tuple([self.target(r) for r in equation.results])
            self.consume(equation.args)
            self.statement(targets, tree, equation.results, equation.span)
        else:
            self.define(equation.result, tree, equation)

    def tree(self, equation: Equation) -> ast.expr:
        """The expression, with arguments written out before where it would get too long."""
        for position, uses in argument_uses(equation, self.dialect).items():
            if uses > 1:
                self.write_out(equation.args[position])
        tree = self.built(equation)
        while len(text(tree)) > self.width(equation) and self.shorten(equation.args):
            tree = self.built(equation)
        return tree

    def width(self, equation: Equation) -> int:
        """Whole statements may be longer than what folds into others."""
        value = equation.results[0]
        alone = value.named or value in self.stored or self.readers[value] > 1 or len(equation.results) > 1
        return STATEMENT if alone else FOLDED

    def built(self, equation: Equation) -> ast.expr:
        if equation.results[0] in self.plain:
            args = tuple(self.read(a) for a in equation.args)
            return args[0] if fills(equation) else folded(equation_tree(equation, HOST, args, self.sizes))
        args = tuple(self.operand(equation, a) for a in equation.args)
        if among_floats(equation, self.plain):
            args = tuple(whole(t) if a.type.host else t for a, t in zip(equation.args, args))
        tree = equation_tree(equation, self.dialect, args, self.sizes, self.device())
        return with_bias(tree, self.rank) if self.dialect.column == "torch_step" else squared(tree)

    def operand(self, equation: Equation, value: Value) -> ast.expr:
        """How an equation reads a value."""
        return self.read(value)

    def device(self) -> ast.expr | None:
        """Where new tensors go: to the first tensor among the inputs."""
        if self.dialect.library != "torch":
            return None
        given = (array for v, array in self.sizes.arrays.items() if v in self.values or v in self.groups.places)
        first = next(given, None)
        return ast.Attribute(first(), "device") if first else None

    def shorten(self, args: tuple[Value, ...]) -> bool:
        """Give the longest folded argument a statement of its own. False if there is none."""
        candidates = [a for a in args if a in self.folded and not is_atom(self.values[a])]
        if candidates:
            self.write_out(max(candidates, key=lambda a: len(text(self.values[a]))))
        return bool(candidates)

    def define(self, value: Value, tree: ast.expr, equation: Equation) -> None:
        """Keep the expression for its one reader, or make it a statement."""
        once = self.readers[value] == 1 and not is_taken(self.f, equation)
        small = len(text(tree)) <= FOLDED and (once or self.is_repeatable(value, tree, equation))
        self.values[value] = tree
        if value.type.host or value in self.plain:
            self.numbers[id(tree)] = tree
        reads = frozenset().union(*(self.reads(a) for a in equation.args))
        self.consume(equation.args)
        self.folded[value] = Folded(value, equation.span, reads)
        if value in self.ready and self.is_last(self.ready[value], equation):
            self.store_now(self.ready[value], value)
        elif not (small or value in self.stored) or (value.named and value not in self.stored):
            self.write_out(value)

    def is_repeatable(self, value: Value, tree: ast.expr, equation: Equation) -> bool:
        """Numbers, and what is made of nothing, may be written again where they are short or where they are stored."""
        if value.type.host and is_atom(tree):
            return True
        from_nothing = all(a.type.host for a in equation.args) and not TABLE[equation.op].effect
        view = "view" in TABLE[equation.op].facts and is_atom(self.read(equation.args[0]))
        return ((from_nothing or view) and len(text(tree)) <= 24) or (from_nothing and value in self.stored)

    def consume(self, args: tuple[Value, ...]) -> None:
        """What was folded for one reader stands in that reader now."""
        for value in args:
            if self.readers[value] == 1:
                self.folded.pop(value, None)

    def reads(self, value: Value) -> frozenset[Value]:
        if value in self.folded:
            return self.folded[value].reads
        place = self.groups.places.get(value)
        return frozenset([value]) if value in self.moved or (place and place.group.kind == "model") else frozenset()

    # ---- values

    def read(self, value: Value) -> ast.expr:
        """The expression that stands for a value."""
        if value in self.values:
            tree = self.values[value]
        else:
            place = self.groups.places[value]
            tree = stack_of(self, value) if place.group.rounds(place.path) else place.group.part(place.path)
        self.types[id(tree)] = tree, value.type
        if value.type.host or value in self.plain:
            self.numbers[id(tree)] = tree
        return tree

    def is_number(self, tree: ast.expr) -> bool:
        """Whether an expression is arithmetic on numbers of the host."""
        if isinstance(tree, ast.BinOp):
            return (self.is_number(tree.left) and self.is_number(tree.right)) or id(tree) in self.numbers
        if isinstance(tree, ast.UnaryOp):
            return self.is_number(tree.operand)
        return isinstance(tree, ast.Constant) or id(tree) in self.numbers

    def type_of(self, tree: ast.expr) -> TensorType | None:
        """The type of an expression that stands for a value."""
        return self.types[id(tree)][1] if id(tree) in self.types else None

    def rank(self, tree: ast.expr) -> int | None:
        """The number of axes of an expression that stands for a value, or for a transposed one."""
        if known := self.type_of(tree):
            return known.rank
        return self.rank(tree.value) if isinstance(tree, ast.Attribute) and tree.attr == "T" else None

    def write_out(self, value: Value) -> None:
        """Give a folded value a statement of its own, here."""
        if value not in self.folded or (is_atom(self.values[value]) and not value.named):
            return
        folded, tree = self.folded.pop(value), self.values[value]
        self.statement(self.target(value), tree, (value,), folded.span)

    def target(self, value: Value) -> ast.expr:
        """The name that a value gets; `_` if nobody reads it."""
        if not self.readers[value]:
            return ast.Name("_")
        self.values[value] = ast.Name(self.names.of(value, self.called.get(value.name, value.name)))
        return self.values[value]

    def statement(self, target: ast.expr | None, tree: ast.expr, values: tuple[Value, ...], span: Span | None) -> None:
        left = f"{unparenthesised(target)} = " if target else ""
        self.line(f"{left}{unparenthesised(tree)}", values, span)

    def line(self, code: str, values: tuple[Value, ...], span: Span | None) -> None:
        self.lines.append(self.made_line(code, values, span))

    def made_line(self, code: str, values: tuple[Value, ...], span: Span | None) -> Line:
        above = self.provenance.above(span)
        return Line(code, self.provenance.beside(values, span), above)

    # ---- writes

    def overwrites(self, equation: Equation) -> bool:
        """Whether the library can write the results over the states that they follow."""
        if self.dialect.autograd or self.dialect.library != "torch" or "in_place" not in TABLE[equation.op].facts:
            return False
        changed = [equation.args[i] for i in TABLE[equation.op].facts["in_place"][1]]
        pairs = zip(changed, equation.results, strict=True)
        return all(self.ready.get(after) is before and self.is_last(before, equation) for before, after in pairs)

    def overwrite(self, equation: Equation) -> None:
        """One call that changes its arguments."""
        changed = [equation.args[i] for i in TABLE[equation.op].facts["in_place"][1]]
        self.settle(frozenset(changed), but=equation.args)
        tree = in_place_tree(equation, self.dialect, tuple(map(self.read, equation.args)), self.sizes)
        self.consume(equation.args)
        self.statement(None, tree, (), equation.span)
        for before, after in zip(changed, equation.results, strict=True):
            self.values[after] = self.read(before)
            self.in_place.add(after)

    def preserve(self, values: Sequence[Value], equation: Equation) -> None:
        """Copies of tensors that are about to be written over and are read again later."""
        later = self.f.body[self.f.body.index(equation) + 1 :]
        wanted = {a for e in later if e not in self.skipped for a in e.args} | {
            v for r in self.f.results for v in r.values
        }
        for value in values:
            if value in wanted and value in self.groups.places:
                tree = self.dialect.copied(self.read(value))
                del self.groups.places[value]
                self.statement(self.target(value), tree, (value,), None)

    def settle(self, written: frozenset[Value], but: Sequence[Value] = ()) -> None:
        """Write out what still reads tensors that are about to be written over."""
        for value in [v for v, f in self.folded.items() if f.reads & written and v not in but]:
            self.write_out(value)

    def is_last(self, before: Value, equation: Equation) -> bool:
        """Whether the old state is not read after an equation: then the new one may take its place at once."""
        later = self.f.body[self.f.body.index(equation) + 1 :]
        return not any(before in e.args for e in later) and not any(before in r.values for r in self.f.results)

    def store_now(self, before: Value, after: Value) -> None:
        self.settle(frozenset([before]), but=[after])
        self.store(self.read(before), self.values[after], after)
        self.values[after] = self.read(before)
        self.in_place.add(after)

    def store(self, target: ast.expr, tree: ast.expr, after: Value, indent: str = "") -> None:
        """target[...] = tree"""
        folded = self.folded.pop(after, None)
        self.line(indent + self.dialect.stored(target, tree), (after,), folded.span if folded else after.span)


def is_atom(tree: ast.expr) -> bool:
    """What may be written twice: a name with attributes and constant subscripts, or a number."""
    while isinstance(tree, ast.Attribute) or (isinstance(tree, ast.Subscript) and isinstance(tree.slice, ast.Constant)):
        tree = tree.value
    if isinstance(tree, ast.UnaryOp):
        tree = tree.operand
    return isinstance(tree, ast.Name | ast.Constant)
