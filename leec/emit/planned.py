"""The body of a function whose values have arrays: groups and single operations as chains of statements in place.

A group is written as one: its inner values fold into each other, and what is read twice has a name. Every other value
has a statement of its own, so that its arguments are free after it; views fold into their readers.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence

from leec.emit.arrays import NONE, Arrays, Slot, leaving, makes_own
from leec.emit.expressions import argument_uses, dim_tree
from leec.emit.layout import text, unparenthesised
from leec.emit.statements import FOLDED, Body, Line, is_atom
from leec.emit.ufuncs import Ufuncs
from leec.emit.values import plain_numbers
from leec.ir.graph import Equation, Function, Value
from leec.ops import TABLE

HEADING = 108  # columns of the formula above a group
Statement = tuple[Value, str | None, ast.expr]  # a value, its variable, its expression


class PlannedBody(Body):
    """`planned` arrays are there before the function begins and after it ends; what a caller gets is in none of them."""

    def __init__(self, *arguments, planned: bool = False):
        super().__init__(*arguments)
        self.arrays = Arrays(self.names, planned)
        self.arrays.unread.update(self.readers)
        self.leaving = leaving(self.f) if planned else set()
        self.scattered: set[Value] = set()  # views whose entries do not lie side by side
        self.constants: list[tuple[str, ast.expr]] = []  # arrays that are made of sizes alone
        self.made: set[Value] = set()
        self.fixed = made_of_sizes(self.f) if planned else set()
        self.ufuncs = Ufuncs(
            self.arrays, self.type_of, self.is_number, self.rank, lambda code: self.lines.append(Line(code))
        )

    # ---- equations

    def equation(self, equation: Equation, target: ast.expr | None = None) -> None:
        """One equation: a number to fold, a constant, or statements that give a value, in the target if there is one."""
        value = equation.results[0]
        if value.type.host or value in self.plain or len(equation.results) > 1 or not self.readers[value]:
            super().equation(equation)
            self.others(equation)
        elif self.is_constant(equation) and target is None:
            self.constant(equation)
        else:
            self.value(equation, target)

    def others(self, equation: Equation) -> None:
        """The results of what has several may be views of its arguments."""
        self.arrays.begin(equation.args, [])
        slots = self.arrays.of(equation.args)
        for r in equation.results:
            if r in self.values and not r.type.host:
                self.arrays.hold(r, slots, text(self.values[r]))
        self.arrays.end()

    def is_constant(self, equation: Equation) -> bool:
        value, known = equation.result, all(a.type.host or a in self.made for a in equation.args)
        fits = value.type.rank > 0 and equation.op != "fused" and value not in self.leaving
        return value in self.fixed and known and fits

    def constant(self, equation: Equation) -> None:
        """What depends on sizes alone is made with the arrays."""
        value = equation.result
        tree = self.tree(equation)
        self.consume(equation.args)
        self.target(value)
        self.made.add(value)
        self.constants.append((text(self.values[value]), tree))

    def value(self, equation: Equation, target: ast.expr | None) -> None:
        statements = self.group(equation) if equation.op == "fused" else []
        value, shown = equation.result, len(self.lines)
        tree = self.values[equation.params["body"].outputs[0]] if equation.op == "fused" else self.tree(equation)
        self.consume(equation.args)
        self.types[id(tree)] = tree, value.type
        trees, formula = [*(t for _, _, t in statements), tree], text(tree)
        self.arrays.begin(equation.args, trees)
        for position, (inner, name, inner_tree) in enumerate(statements):
            self.member(inner, name, inner_tree, trees[position + 1 :])
        if target is not None:
            self.ufuncs.into(tree, target)
            self.values[value] = target
        else:
            self.single(equation, tree)
        self.arrays.end()
        if len(self.lines) > shown:
            last = self.lines[-1]
            self.lines[-1] = self.made_line(last.code, (value,), equation.span)
            if len(self.lines) > shown + 1 and equation.op == "fused":
                self.lines[shown].above = heading(text(self.values[value]), formula)

    def single(self, equation: Equation, tree: ast.expr) -> None:
        """The last statement of a value: in an array of the function, as a view, or as an expression of its own."""
        value = equation.result
        if self.is_view(equation, tree):
            self.view(equation, tree)
            return
        copied = self.side_by_side(equation) if self.copies(equation) and value not in self.leaving else None
        if copied is not None:
            self.values[value] = ast.Name(copied.name)
            self.arrays.hold(value, frozenset([copied]), copied.name)
            return
        name = text(self.target(value))
        slot = self.ufuncs.compute(tree, name) if value not in self.leaving else None
        if slot is None:
            self.lines.append(Line(f"{name} = {unparenthesised(self.ufuncs.inline(tree))}"))
        slots = frozenset([slot]) if slot else NONE if makes_own(equation) else self.arrays.of(equation.args)
        self.arrays.hold(value, slots, name)

    # ---- groups

    def group(self, equation: Equation) -> list[Statement]:
        """What the group computes before its result; the expression of that stays in `values`."""
        f: Function = equation.params["body"]
        for inner, outer in zip(f.inputs, equation.args, strict=True):
            self.values[inner] = self.read(outer)
        self.plain |= plain_numbers(f)
        uses = Counter(a for e in f.body for a in e.args)
        again = {e.args[i] for e in f.body for i, n in argument_uses(e, self.dialect).items() if n > 1}
        statements: list[Statement] = []
        for e in f.body:
            tree = self.built(e)
            self.values[e.result] = tree
            self.types[id(tree)] = tree, e.result.type
            number = e.result.type.host or e.result in self.plain
            if number:
                self.numbers[id(tree)] = tree
            elif (uses[e.result] > 1 or e.result in again) and not is_place(tree) and e.result is not f.outputs[0]:
                name = self.names.of(e.result, e.result.name)
                statements.append((e.result, name, tree))
                self.values[e.result] = variable = ast.Name(name)
                self.types[id(variable)] = variable, e.result.type
        return statements

    def member(self, value: Value, name: str, tree: ast.expr, later: Sequence[ast.expr]) -> None:
        """A value that the rest of its group reads twice."""
        times = sum(isinstance(n, ast.Name) and n.id == name for t in later for n in ast.walk(t))
        slot = self.ufuncs.compute(tree, name)
        if slot is None:
            made = self.ufuncs.inline(tree)
            self.lines.append(Line(f"{name} = {unparenthesised(made)}"))
            for seen in self.arrays.passing(made):  # it may be a view of them
                self.arrays.keep(name, seen, times)
            self.arrays.release([made])
        else:
            self.arrays.keep(name, slot, times)

    # ---- views

    def is_view(self, equation: Equation, tree: ast.expr) -> bool:
        moves = TABLE[equation.op].facts.get("moves") and not self.copies(equation)
        return is_place(tree) or bool(moves and isinstance(tree, ast.Call | ast.Attribute | ast.Subscript))

    def copies(self, equation: Equation) -> bool:
        """Whether a reshape must put entries side by side."""
        return keeps_order(equation) and equation.args[0] in self.scattered

    def view(self, equation: Equation, tree: ast.expr) -> None:
        value = equation.result
        if not keeps_order(equation) and not is_place(tree):
            self.scattered.add(value)
        self.values[value] = tree
        slots = self.arrays.of(equation.args)
        if is_place(tree) or (self.readers[value] == 1 and len(text(tree)) <= FOLDED and value not in self.stored):
            self.arrays.hold(value, slots)
            return
        self.lines.append(Line(f"{text(self.target(value))} = {text(tree)}"))
        self.arrays.hold(value, slots, text(self.values[value]))

    def side_by_side(self, equation: Equation) -> Slot | None:
        """A copy into an array, seen with the dims that the entries have before."""
        if not self.arrays.planned:
            return None
        slot = self.arrays.take(equation.result.type)
        source, dims = self.read(equation.args[0]), equation.args[0].type.dims
        target = ast.Call(ast.Attribute(ast.Name(slot.name), "reshape"), [dim_tree(d, self.sizes) for d in dims], [])
        self.lines.append(Line(f"np.copyto({text(target)}, {text(source)})"))
        return slot


def keeps_order(equation: Equation) -> bool:
    """A reshape: all entries, one after the other."""
    return bool(TABLE[equation.op].facts.get("moves")) and "dims" in equation.params


def heading(name: str, formula: str) -> str:
    """What a group computes, above its statements."""
    line = f"# {name} = {formula}"
    return line if len(line) <= HEADING else f"{line[: HEADING - 2]}.."


def is_place(tree: ast.expr) -> bool:
    """An array that stands somewhere: nothing is computed."""
    return is_atom(tree) and not isinstance(tree, ast.UnaryOp)


def made_of_sizes(f: Function) -> set[Value]:
    """The values that are computed from sizes and written numbers alone, and are the same at every call."""
    found: set[Value] = set()
    for e in f.body:
        alone = not TABLE[e.op].effect and e.op != "fused"  # a group is no expression
        if alone and all(a in found for a in e.args):
            found.update(e.results)
    return found
