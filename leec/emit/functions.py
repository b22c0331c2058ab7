"""One function of the IR as one Python function or method: signature, docstring, checks, statements, return."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

from leec.dims import Dim, Quotient
from leec.emit.calls import Caller
from leec.emit.comments import place
from leec.emit.dialect import Dialect
from leec.emit.docs import docstring, function_doc
from leec.emit.expressions import dim_tree
from leec.emit.groups import joined
from leec.emit.layout import text, unparenthesised
from leec.emit.loops import LoopWriter
from leec.emit.names import Names
from leec.emit.planned import PlannedBody
from leec.emit.signatures import Signature
from leec.emit.splitting import fit
from leec.emit.statements import Body
from leec.emit.unit import Entry, Unit
from leec.emit.updates import Updates
from leec.ir.graph import Check, Function, Result, Value
from leec.ops import TABLE

INDENT = "    "
OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}  # what raises


@dataclass
class Emitter:
    """Writes one function; `text` gives its lines without the indent of the class it stands in."""

    unit: Unit
    f: Function
    name: str
    training: str = ""  # the function that this one hands on to in training
    evaluation: str = ""  # or, of a module, out of training
    outermost: bool = False  # what a user calls: it takes the axes of `..` one by one
    indent: int = field(default=2 * len(INDENT), kw_only=True)  # of the body

    def __post_init__(self) -> None:
        self.names = Names(self.unit.names.taken)
        self.signature = self.signed()
        self.groups = self.signature.groups
        self.body = self.new_body(
            self.f, self.dialect(), self.names, self.signature.sizes(), self.groups, bool(self.f.backward_of)
        )
        self.body.values |= self.signature.values
        self.caller = Caller(self.unit, self.body)
        self.returned: ast.expr | None = None

    def dialect(self) -> Dialect:
        return self.unit.dialect

    def signed(self) -> Signature:
        return Signature(self.unit, self.f, self.names)

    def new_body(self, *arguments) -> Body:
        return PlannedBody(*arguments) if self.dialect().in_place else Body(*arguments)

    # ---- the parts

    def statements(self) -> list[str]:
        """Everything after the docstring."""
        updates = Updates(self.caller, self.f)
        self.body.skipped = updates.covered
        self.caller.hints = updates.names()
        for equation in self.f.body:
            if equation in updates.covered:
                updates.emit(equation)
            elif equation.op == "scan":
                LoopWriter(self.caller, equation).write()
            elif is_call(equation.op):
                self.caller.call(equation)
            else:
                self.body.equation(equation)
        self.leave()
        checks = self.checks()  # before the sizes are listed: they mention some
        return [*self.handed_on(), *self.signature.unpacked, *self.body.sizes.lines(), *checks, *self.written()]

    def written(self) -> list[str]:
        return [line for item in self.body.lines for line in item.written(self.indent)]

    def leave(self) -> None:
        """State into its place, results to the caller."""
        states = [(b, a) for b, a in self.f.state if a not in self.body.in_place]
        self.body.settle(frozenset(b for b, _ in states), but=[a for _, a in states])
        extras = self.unit.extras(self.f)
        results = self.f.results[: len(self.f.results) - len(extras)]
        trees = [self.result(r) for r in results] + ([self.saved(extras)] if extras else [])
        self.write_states(states)
        if trees:
            values = tuple(v for r in results for v in r.values)
            span = next((e.span for e in reversed(self.f.body) if set(e.results) & set(values)), None)
            if extras and len(unparenthesised(trees[-1])) > 60:
                self.body.line(f"saved = {unparenthesised(trees[-1])}", (), None)
                trees[-1] = ast.Name("saved")
            tree = ast.Tuple(trees) if len(trees) > 1 else trees[0]
            self.returned = tree
            self.body.line(f"return {unparenthesised(tree)}", values if len(trees) == 1 else (), span)

    def write_states(self, states: list[tuple[Value, Value]]) -> None:
        """One after the other; what reads a state that an earlier one writes over is computed before."""
        for i, (_, after) in enumerate(states):
            if self.body.reads(after) & {before for before, _ in states[:i]}:
                self.body.write_out(after)
        inside = self.body.dialect.autograd and bool(states)
        if inside:
            self.body.line("with torch.no_grad():", (), None)
        for before, after in states:
            self.body.store(self.body.read(before), self.body.read(after), after, INDENT if inside else "")

    def result(self, r: Result) -> ast.expr:
        if r.model is None:
            return self.body.read(r.values[0])
        unread = r.name.startswith("d_") and self.caller.in_scope(r.model, {}) is None  # the model itself
        if self.f.backward_of or unread:
            return self.caller.gradient(r.values, r.paths)
        return self.caller.model_value(r)

    def saved(self, extras: Mapping[str, Value]) -> ast.expr:
        """What the backward needs; what a call saved goes in whole."""
        entries: dict[object, Entry] = {}
        inside: dict[str, tuple[object, str]] = {}
        listed: dict[str, tuple[str, ...]] = {}
        for name, value in extras.items():
            where = self.groups.places.get(value)
            group = where.group if where and text(where.group.root) != "self" else None
            if group and group.kind in ("tuple", "rows", "model"):
                entries.setdefault(group, Entry(text(group.root), group.callee, group.kind, group.model))
                inside[name] = where.group, where.path
                listed[name] = where.group.rounds(where.path)
            else:
                entries[value] = Entry(value.name)
                inside[name] = value, ""
        self.unit.bundles[self.f.name] = tuple(entries.values())
        order = {key: str(i) if len(entries) > 1 else "" for i, key in enumerate(entries)}  # one entry needs no step
        places = {name: joined(order[key], path) for name, (key, path) in inside.items()}
        self.unit.saved[self.f.name] = places
        steps = {name: order[key] for name, (key, _) in inside.items()}
        self.unit.listed[self.f.name] = {
            places[name]: tuple(joined(steps[name], part) for part in parts) for name, parts in listed.items()
        }
        trees = [self.body.read(key) if isinstance(key, Value) else key.root for key in entries]
        return trees[0] if len(trees) == 1 else ast.Tuple(trees)

    # ---- checks

    def checks(self) -> list[str]:
        return [line for c in self.f.checks for line in self.check(c)]

    def check(self, c: Check) -> list[str]:
        left, right = (text(self.size_tree(d)) for d in (c.left, c.right))
        raised = f"raise ValueError({' '.join(self.message(c))})"
        condition = f"{left} {OPPOSITE[c.relation]} {right}"
        return fit(f"if {condition}:\n{INDENT}{raised}", self.indent).splitlines()

    def size_tree(self, dim: Dim) -> ast.expr:
        """A size as arithmetic; `d % m` where the algebra has d - m * (d // m)."""
        whole = (a for m, _ in dim.terms for a, _ in m if isinstance(a, Quotient) and a.num % a.den == dim)
        if (quotient := next(whole, None)) is None:
            return dim_tree(dim, self.body.sizes)
        return ast.BinOp(self.size_tree(quotient.num), ast.Mod(), dim_tree(quotient.den, self.body.sizes))

    def message(self, c: Check) -> list[str]:
        """The line of the spec, what must hold, and both sizes; in pieces where it is long."""
        where = f"{place(c.span)}: " if c.span else ""
        left, right = (self.side(d) for d in (c.left, c.right))
        if c.message != f"{c.left} must equal {c.right}":
            known = ", ".join(self.side(Dim.of(s)) for s in sorted(c.left.symbols | c.right.symbols))
            where = escaped(f"{where}{c.message} must hold: ")
            return [f'f"{where}"', f'f"{known}"'] if len(where) > 60 else [f'f"{where}{known}"']
        pieces = [escaped(where) + left, f"must equal {right}"]
        whole = " ".join(pieces)
        if len(whole) <= 90:
            return [f'f"{whole}"']
        return [f'f"{pieces[0]} "', f'f"{pieces[1]}"']

    def side(self, dim: Dim) -> str:
        """`2 * n = {2 * n}`"""
        if dim.constant is not None:
            return str(dim)
        return escaped(f"{dim} = ") + f"{{{text(dim_tree(dim, self.body.sizes))}}}"

    # ---- the whole

    def parameters(self) -> list[str]:
        return [*self.signature.parameters, *(["training=False"] if self.training else [])]

    def handed_on(self) -> list[str]:
        if not self.training and not self.evaluation:
            return []
        owner, names = "", [p.partition("=")[0] for p in self.signature.parameters]
        if names[:1] == ["self"]:
            owner = f"{names.pop(0)}."
        test, other = ("training", self.training) if self.training else ("not self.training", self.evaluation)
        return [f"if {test}:", f"{INDENT}return {owner}{other}({', '.join(names)})"]

    def text(self, indent: int = 0) -> str:
        """The definition, without the indent of the class that it stands in."""
        self.indent = indent + len(INDENT)
        doc = function_doc(self.unit, self.f, self.body.sizes.short, self.packs)
        lines = [*docstring(doc), *(self.statements() or ["pass"])]
        above = ["@staticmethod"] if self.unit.owner(self.f) and "self" not in self.parameters() else []
        return definition(self.name, self.parameters(), lines, indent, [*above, *self.packed()])

    @property
    def packs(self) -> bool:
        return self.outermost and self.f.public and self.f.pack is not None

    def packed(self) -> list[str]:
        """`@packed(0, x=(0, 2))`: where in results and arguments the axes of `..` stand."""
        if not self.packs:
            return []
        pack = Dim.of(self.f.pack)
        plain = [p for p in self.f.parameters if self.unit.role(self.f, p) == "value" and pack in p.values[0].type.dims]
        types = [(self.unit.parameter_name(self.f, p), p.values[0].type) for p in plain]
        inputs = [f"{name}=({t.dims.index(pack)}, {t.rank})" for name, t in types]
        outputs = [r.values[0].type.dims for r in self.f.results if r.model is None]
        places = [str(dims.index(pack) if pack in dims else None) for dims in outputs]
        return [f"@packed({', '.join([*places, *inputs])})"]


def definition(
    name: str, parameters: list[str], body: list[str], indent: int = 0, above: list[str] | None = None
) -> str:
    head = fit(f"def {name}({', '.join(parameters)}): ...", indent)
    head = head[: head.rindex("...")].rstrip()
    return "\n".join([*(above or []), head, *(INDENT + line if line else "" for line in body)])


def escaped(message: str) -> str:
    """Text inside a double-quoted f-string."""
    return quoted_body(message).replace("{", "{{").replace("}", "}}")


def quoted_body(message: str) -> str:
    special = {'"': '\\"', "\\": "\\\\"}
    return "".join(special.get(c) or (c if c.isprintable() else repr(c)[1:-1]) for c in message)


def is_call(op: str) -> bool:
    return "callee" in TABLE[op].params
