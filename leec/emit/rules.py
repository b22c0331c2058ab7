"""The rule of an optimizer as the inside of a loop over blocks of flat vectors, every statement in place.

What reduces a whole vector (a norm) is computed before the loop, what depends on the count of updates outside of the
step. A rule that needs a norm of what it has just computed is left to the optimizer's own method.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from typing import ClassVar

from leec.emit.dialect import STEP, Dialect
from leec.emit.expressions import Replace, in_place_tree
from leec.emit.groups import Groups, attribute
from leec.emit.inplace import InPlace
from leec.emit.layout import text
from leec.emit.names import Names
from leec.emit.sizes import Sizes
from leec.emit.statements import Body
from leec.ir.graph import Equation, Function, Value
from leec.ir.module import OptimizerClass
from leec.ops import TABLE


class Everything(Body):
    """A body that folds all that it can: one expression for every value with one reader."""

    def width(self, equation: Equation) -> int:
        return 10**6

    def define(self, value: Value, tree: ast.expr, equation: Equation) -> None:
        self.values[value] = tree
        if value.type.host:
            self.numbers[id(tree)] = tree


@dataclass
class Rule:
    """One use of a rule. `optimizer` is the expression of the object; names are those of the step."""

    f: Function
    optimizer_class: OptimizerClass
    optimizer: ast.expr
    names: Names
    again: frozenset[str] = frozenset()  # names of other loops, free to be used again in this one
    scheduled: frozenset[str] = frozenset()  # hyperparameters that are functions of the count
    scalars: list[tuple[str, ast.expr]] = field(default_factory=list)  # numbers that differ from step to step
    before: list[str] = field(default_factory=list)  # statements before the loop
    inside: list[str] = field(default_factory=list)
    vectors: list[str] = field(default_factory=list)  # names of θ, g and the states in a block
    spare: list[str] = field(default_factory=list)
    hypers: dict[str, str] = field(default_factory=dict)  # local names of hyperparameters
    chosen: dict[str, str] = field(default_factory=dict)  # names for a vector or the spare array of what is added to it
    reduced: list[str] = field(default_factory=list)  # and of what is computed before the loop

    dialect: ClassVar[Dialect] = STEP

    def __post_init__(self) -> None:
        self.whole = self.f.inputs[0].type.dims
        states = [name for name, _ in self.optimizer_class.states]
        by_name = {p.name: p.values[0] for p in self.f.parameters}
        self.inputs = [*self.f.inputs[:2], *(by_name[n] for n in states)]
        self.local = Names(self.names.taken - self.again)
        self.vectors = [self.local.fresh(v.name) for v in self.inputs]
        self.varying = self.depend_on_count()

    def local_names(self) -> frozenset[str]:
        """Those that the loop and what prepares it give values to."""
        whole = [f"{name}_all" for name in self.vectors]
        return frozenset([*self.vectors, *whole, *self.spare, *self.chosen, *self.hypers.values(), *self.reduced])

    # ---- what kind of value

    def is_vector(self, value: Value) -> bool:
        return value.type.dims == self.whole

    def count(self) -> Value:
        given = {h.name for h in self.optimizer_class.hypers}
        return next(p.values[0] for p in self.f.parameters if p.values[0].type.host and p.name not in given)

    def depend_on_count(self) -> set[Value]:
        found = {self.count(), *(p.values[0] for p in self.f.parameters if p.name in self.scheduled)}
        for e in self.f.body:
            if e.results[0].type.host and found.intersection(e.args):
                found |= set(e.results)
        return found

    def is_blockwise(self) -> bool:
        """Reductions read nothing that the rule changes first, so the rest can go block by block."""
        reduced = [e for e in self.f.body if not e.results[0].type.host and not self.is_vector(e.results[0])]
        if any(len(e.results) > 1 and "in_place" not in TABLE[e.op].facts for e in self.f.body):
            return False
        return all(self.from_inputs(a) for e in reduced for a in e.args)

    @property
    def is_one_call(self) -> bool:
        """Whether the library does it all in one pass, for which blocks are no help."""
        return len(self.inside) == 1 and any("in_place" in TABLE[e.op].facts for e in self.f.body)

    def from_inputs(self, value: Value) -> bool:
        after = {a for _, a in self.f.state}
        source = next((e for e in self.f.body if value in e.results), None)
        return source is None or (value not in after and all(map(self.from_inputs, source.args)))

    # ---- statements

    def write(self) -> None:
        """Fill `scalars`, `before` and `inside`."""
        outside = self.body(dict(zip(self.inputs, (ast.Name(f"{n}_all") for n in self.vectors), strict=True)))
        self.outside = outside
        here = self.body(dict(zip(self.inputs, map(ast.Name, self.vectors), strict=True)))
        home = dict(zip(self.inputs, self.vectors, strict=True))
        for e in self.f.body:
            if len(e.results) > 1:
                self.overwrite(here, e, home)
                continue
            value = e.result
            if value in self.varying or value.type.host:
                outside.equation(e)
                here.equation(e)
            elif self.is_vector(value):
                outside.equation(e)
                if not self.term_of_choice(here, e):
                    self.vector_equation(here, e, home)
            else:
                self.reduction(outside, here, e)
        self.finish(here, home)

    def body(self, values: dict[Value, ast.expr]) -> Body:
        names = Names()
        body = Everything(self.f, self.dialect, names, Sizes({}, {}, names), Groups())
        body.values |= values
        for p in self.f.parameters:
            if p.values[0].type.host:
                body.values[p.values[0]] = self.number(p.values[0], p.name)
        return body

    def number(self, value: Value, name: str) -> ast.expr:
        """A hyperparameter under a local name; the count stays where it is, for `scalars` alone."""
        if value is self.count():
            return ast.Attribute(self.optimizer, "t")
        if name in self.scheduled:
            return ast.Attribute(self.optimizer, attribute(name))
        if name not in self.hypers:
            self.hypers[name] = self.local.fresh(name)
        return ast.Name(self.hypers[name])

    def reduction(self, outside: Body, here: Body, e: Equation) -> None:
        """A number made of whole vectors, before the loop."""
        name = self.local.fresh(e.result.name)
        self.reduced.append(name)
        self.before.append(f"{name} = {text(dotted(outside.built(e)))}")
        outside.values[e.result] = here.values[e.result] = ast.Name(name)

    def vector_equation(self, here: Body, e: Equation, home: dict[Value, str]) -> None:
        """Fold what has one reader; else compute into the state it belongs to, or into a spare array."""
        tree = self.with_scalars(here, e)
        value = e.result
        before = next((b for b, a in self.f.state if a is value), None)
        if here.readers[value] == 1 and before is None:
            here.values[value] = tree
            return
        target = home[before] if before is not None and self.is_free(before, e) else self.register()
        self.inplace(here).into(tree, ast.Name(target))
        here.values[value] = ast.Name(target)

    def term_of_choice(self, here: Body, e: Equation) -> bool:
        """g + λ θ where λ is a hyperparameter that is 0 unless someone asks for more: then it costs no pass."""
        is_term = TABLE[e.op].identity == 0 and self.dialect.library == "torch"
        factors = self.factors_by_default_zero(e.args[1]) if is_term else []
        left = here.values.get(e.args[0])
        if not factors or not isinstance(left, ast.Name) or e.result in {a for _, a in self.f.state}:
            return False
        spare, lines = self.register(), []
        replace(self.inplace(here), lines=lines).into(here.built(e), ast.Name(spare))
        name = self.local.fresh(left.id)
        self.chosen[name] = spare
        self.inside.append(f"{name} = {lines[-1]} if {self.hypers[factors[0]]} else {left.id}")
        self.inside[-1:-1] = lines[:-1]
        here.values[e.result] = ast.Name(name)
        return True

    def factors_by_default_zero(self, value: Value) -> list[str]:
        """Hyperparameters that multiply a vector and are 0 by default."""
        product = next((e for e in self.f.body if TABLE[e.op].absorbing == 0 and value in e.results), None)
        zero = {h.name for h in self.optimizer_class.hypers if h.has_default and h.default == 0}
        names = {p.values[0]: p.name for p in self.f.parameters if p.name not in self.scheduled}
        return [names[a] for a in (product.args if product else ()) if names.get(a) in zero]

    def overwrite(self, here: Body, e: Equation, home: dict[Value, str]) -> None:
        """An operation that the library does in place, on the vectors themselves."""
        self.name_scalars(here, e)
        args = []
        for a in e.args:
            tree = here.read(a)
            if not a.type.host and not isinstance(tree, ast.Name):
                spare = ast.Name(self.register())
                self.inplace(here).into(tree, spare)
                tree = here.values[a] = spare
            args.append(tree)
        self.inside.append(text(in_place_tree(e, self.dialect, tuple(args), here.sizes)))
        for i, result in zip(TABLE[e.op].facts["in_place"][1], e.results, strict=True):
            here.values[result] = args[i]

    def with_scalars(self, here: Body, e: Equation) -> ast.expr:
        """The expression, with what depends on the count as arguments of the step."""
        self.name_scalars(here, e)
        return here.built(e)

    def name_scalars(self, here: Body, e: Equation) -> None:
        for a in e.args:
            if a in self.varying:
                known = {text(tree): name for name, tree in self.scalars}
                if isinstance(here.values[a], ast.Name):
                    continue
                tree = self.spelled(self.outside.values[a])  # `here` may have named the count already
                wanted = a.name if a in self.f.inputs else "scale"
                name = known.get(text(tree)) or self.names.fresh(wanted)
                if text(tree) not in known:
                    self.scalars.append((name, tree))
                here.values[a] = ast.Name(name)

    def spelled(self, tree: ast.expr) -> ast.expr:
        """A number with hyperparameters as attributes instead of local names."""
        return Replace({name: ast.Attribute(self.optimizer, hyper) for hyper, name in self.hypers.items()}).visit(tree)

    def is_free(self, before: Value, e: Equation) -> bool:
        """Whether the old state is read by nothing that comes later."""
        later = self.f.body[self.f.body.index(e) + 1 :]
        return not any(before in self.read_through(x) for x in later)

    def read_through(self, e: Equation) -> set[Value]:
        """The inputs that an equation reads, itself or through what folds into it."""
        found: set[Value] = set()
        source = {r: x for x in self.f.body for r in x.results}
        after = {a for _, a in self.f.state}
        queue = list(e.args)
        while queue:
            value = queue.pop()
            found.add(value)
            if value in source and value not in after:
                queue += source[value].args
        return found

    def inplace(self, here: Body) -> InPlace:
        taken = list(self.spare_in_use(here))
        free = [n for n in self.spare if n not in taken]

        def register() -> ast.expr:
            name = free.pop(0) if free else self.register()
            return ast.Name(name)

        return InPlace(
            lambda t: here.is_number(t) and not self.varies(t),
            here.is_number,
            self.fits,
            here.rank,
            register,
            self.inside,
        )

    def varies(self, tree: ast.expr) -> bool:
        names = {name for name, _ in self.scalars}
        return any(isinstance(n, ast.Name) and n.id in names for n in ast.walk(tree))

    def fits(self, tree: ast.expr) -> bool:
        """Everything that mentions a vector is one."""
        arrays = {*self.vectors, *self.spare, *self.chosen}
        return any(isinstance(n, ast.Name) and n.id in arrays for n in ast.walk(tree))

    def spare_in_use(self, here: Body) -> set[str]:
        names = {tree.id for tree in here.values.values() if isinstance(tree, ast.Name)}
        return {*self.chosen.values(), *(n for n in names if n in self.spare)}

    def register(self) -> str:
        self.spare.append(self.local.fresh(f"s{len(self.spare)}"))
        return self.spare[-1]

    def finish(self, here: Body, home: dict[Value, str]) -> None:
        for before, after in self.f.state:
            if text(here.read(after)) != home[before]:
                self.inplace(here).into(here.read(after), ast.Name(home[before]))


def dotted(tree: ast.expr) -> ast.expr:
    """(x * y).sum() of vectors is their product, and needs no array."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args and not node.keywords:
            inner = node.func.value
            if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Mult):
                node.func, node.args = ast.Attribute(inner.left, "dot"), [inner.right]
    return tree
