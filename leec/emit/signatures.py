"""How a function begins: its parameters in Python, and where its body finds values and sizes."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from leec.emit.expressions import constant_tree
from leec.emit.groups import Group, Groups
from leec.emit.layout import text
from leec.emit.names import Names
from leec.emit.sizes import Sizes
from leec.emit.unit import Entry, Unit, saved_names
from leec.ir.graph import Function, Parameter, Value


@dataclass
class Signature:
    """Parameters as text, and what they stand for."""

    unit: Unit
    f: Function
    names: Names
    groups: Groups = field(default_factory=Groups)
    parameters: list[str] = field(default_factory=list)
    values: dict[Value, ast.expr] = field(default_factory=dict)
    known: dict[str, ast.expr] = field(default_factory=dict)  # sizes
    unpacked: list[str] = field(default_factory=list)  # statements that take a tuple apart
    items: list[str] = field(default_factory=list)  # the variables of what the forward saved

    def __post_init__(self) -> None:
        if self.unit.has_self(self.f):
            self.parameters.append("self")
        for p in self.unit.ordered(self.f):
            getattr(self, f"enter_{self.unit.role(self.f, p)}")(p)

    # ---- parameters by role

    def enter_self(self, p: Parameter) -> None:
        self.enter_object(p, Group(ast.Name("self"), "model", len(p.values), p.model), "")

    def enter_model(self, p: Parameter) -> None:
        self.enter_object(p, Group(self.add(p), "model", len(p.values), p.model), f"{p.name}.")

    def enter_object(self, p: Parameter, group: Group, prefix: str) -> None:
        """Tensors of a model, and the sizes that it has as attributes."""
        self.groups.enter(group, p.values, p.paths)
        self.known |= {prefix + symbol: group.part(path) for symbol, path in self.unit.hypers(p.model).items()}

    def enter_hyper(self, p: Parameter) -> None:
        """The object that has it is a parameter too."""

    def enter_static(self, p: Parameter) -> None:
        self.known[p.static] = self.add(p)

    def enter_value(self, p: Parameter) -> None:
        self.values[p.values[0]] = self.add(p)

    def enter_dict(self, p: Parameter) -> None:
        self.groups.enter(Group(self.add(p), "dict", len(p.values), p.model), p.values, p.paths)

    def add(self, p: Parameter) -> ast.expr:
        name = self.names.of(p, self.unit.parameter_name(self.f, p))
        default = "" if p.default is None else f"={text(constant_tree(p.default, self.unit.dialect))}"
        self.parameters.append(name + default)
        return ast.Name(name)

    # ---- what the forward saved

    def enter_saved(self, _: Parameter) -> None:
        """All of it is one parameter, entered with its first value and taken apart by a first statement."""
        if self.items:
            return
        forward = self.unit.forward_of(self.f)
        entries = self.unit.entries(forward)
        kept = [p for p in self.f.parameters if self.unit.role(self.f, p) == "saved"]
        read = {name: v for p in kept for name, v in zip(saved_names(p), p.values, strict=True)}
        inside: list[dict[Value, str]] = [{} for _ in entries]  # what is read of every item, with its place there
        for name, place in self.unit.places(forward).items():
            if name in read:
                index, _, within = place.partition(".") if len(entries) > 1 else ("0", "", place)
                inside[int(index)][read[name]] = within
        self.items = [self.item(*pair) for pair in zip(entries, inside, strict=True)]
        self.parameters.append(self.items[0] if len(self.items) == 1 else self.names.fresh("saved"))
        if len(self.items) > 1:
            self.unpacked.append(f"{', '.join(self.items)} = {self.parameters[-1]}")

    def item(self, entry: Entry, inside: dict[Value, str]) -> str:
        """The variable of one item, `_` where nothing of it is read."""
        name = self.names.fresh(entry.name) if inside else "_"
        if entry.callee or entry.model:
            size = len(self.unit.places(self.unit.functions[entry.callee])) if entry.callee else 0
            lists = self.unit.listed[entry.callee] if entry.callee else {}
            group = Group(ast.Name(name), entry.kind, size, entry.model, entry.callee, lists)
            self.groups.enter(group, list(inside), list(inside.values()))
            self.known |= {f"{entry.name}.{s}": group.part(at) for s, at in self.unit.hypers(entry.model).items()}
        else:
            self.values |= dict.fromkeys(inside, ast.Name(name))
        return name

    # ---- sizes

    def sizes(self) -> Sizes:
        """Sizes by name: plain arguments show them first, then members of models."""
        plain = {v: (lambda t=t: t) for v, t in self.values.items() if not v.type.host}
        held = {
            v: (lambda place=place: place.group.part(place.path))
            for v, place in self.groups.places.items()
            if not v.type.host and not place.group.rounds(place.path)  # lists show no sizes
        }
        return Sizes(
            self.known, {**plain, **held}, self.names, dict.fromkeys(d for v in self.f.values() for d in v.type.dims)
        )


@dataclass
class ConstructorSignature(Signature):
    """Of `__init__`: hyperparameters as the spec declares them, then the key of the draws by its name."""

    def __post_init__(self) -> None:
        model = self.unit.module.models[self.unit.owner(self.f)]
        self.parameters.append("self")
        for h in model.hypers:
            default = f"={text(constant_tree(h.default, self.unit.dialect))}" if h.has_default else ""
            self.parameters.append(self.names.of(h.name, self.unit.argument_name(h.name)) + default)
        for p in self.f.parameters:
            self.enter(p, self.unit.hypers(model.name))

    def enter(self, p: Parameter, sizes: dict[str, str]) -> None:
        if p.static:
            name, _, rest = sizes[p.static].partition(".")
            root = Group(ast.Name(self.names.of(name, name)), "tuple", 0)
            self.known[p.static] = root.part(rest)
        elif p.model is not None:
            self.enter_object(p, Group(ast.Name(self.names.of(p.name, p.name)), "model", 0, p.model), f"{p.name}.")
        else:
            if p.name == "key":
                self.parameters += ["*", "key=(0, 0)"]
            self.values[p.values[0]] = ast.Name(self.names.of(p.name, p.name))
