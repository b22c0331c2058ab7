"""Model classes: the constructor from the IR function `Name.init`, then the methods, each with its gradient behind it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cached_property

from leec.dims import Dim
from leec.emit.expressions import dim_tree
from leec.emit.functions import Emitter, is_call
from leec.emit.groups import Group, attribute
from leec.emit.layout import text
from leec.emit.signatures import ConstructorSignature, Signature
from leec.emit.statements import Body, Line
from leec.ir.graph import Equation, Value
from leec.ir.module import Leaf, ModelClass, Submodel


def member_names(model: ModelClass) -> list[str]:
    """Arrays and submodels in declaration order; a list of submodels is one member."""
    tensors = [leaf.path for leaf in model.leaves if leaf.kind != "hyper"]
    return list(dict.fromkeys(path.partition(".")[0] for path in (*tensors, *(p.path for p in submodels(model)))))


def submodels(model: ModelClass) -> list[Submodel]:
    return [m for m in model.members if isinstance(m, Submodel)]


@dataclass
class Constructor(Emitter):
    """`__init__`: hyperparameters, then every member as the spec declares it."""

    model: ModelClass = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.caller.width = 100  # members are worth a long line
        (result,) = self.f.results
        self.leaves = dict(zip(result.paths, result.values, strict=True))
        self.paths = {value: path for path, value in self.leaves.items()}
        self.lists: dict[str, list[ast.expr]] = {}
        self.assigned: dict[str, Line] = {}
        given = {h.name for h in self.model.hypers}
        self.own = [m for m in self.model.members if isinstance(m, Leaf) and m.path not in given]
        self.body.stored |= {self.leaves[leaf.path] for leaf in self.own}

    def new_body(self, *arguments) -> Body:
        return Body(*arguments)

    def signed(self) -> Signature:
        return ConstructorSignature(self.unit, self.f, self.names)

    def statements(self) -> list[str]:
        for equation in self.f.body:
            if self.makes_member(equation):
                self.construct(equation)
            elif is_call(equation.op):
                self.caller.call(equation)
            else:
                self.body.equation(equation)
        self.finish()
        order = [*member_names(self.model), *self.assigned]
        self.body.lines += [self.assigned[name] for name in dict.fromkeys(order) if name in self.assigned]
        opening = ["super().__init__()"] if self.unit.dialect.modules else []
        closing = [] if self.unit.dialect.modules else ["self.lay_out()"]
        return [*opening, *self.hypers(), *self.checks(), *self.written(), *closing]

    def stored(self, leaf: Leaf, tree: ast.expr) -> str:
        """The statement that makes a tensor a member."""
        target = text(own(leaf.path))
        if self.unit.dialect.modules and leaf.kind == "param":
            return f"{target} = torch.nn.Parameter({text(tree)})"
        if self.unit.dialect.modules and leaf.kind == "state":
            return f'self.register_buffer("{attribute(leaf.path)}", {text(tree)})'
        return f"{target} = {text(tree)}"

    def hypers(self) -> list[str]:
        """`self.d, self.hidden = d, hidden`, and the sizes that the spec names."""
        pairs = [(text(own(h.name)), self.names.of(h.name, h.name)) for h in self.model.hypers]
        statics = [f"{text(own(n))} = {text(dim_tree(d, self.body.sizes))}" for n, d in self.model.statics]
        return [*assignments(pairs), *statics]

    # ---- members

    def makes_member(self, equation: Equation) -> bool:
        """Whether it is a constructor of what becomes a member, and not of what another constructor is given."""
        made = is_call(equation.op) and equation.params["callee"].endswith(".init")
        return made and equation.results[0] in self.paths

    def construct(self, equation: Equation) -> None:
        """A submodel; its tensors are members of what is assigned."""
        callee = self.unit.functions[equation.params["callee"]]
        (result,) = callee.results
        path = self.member_path(equation.results[0], result.paths[0])
        tree, _ = self.caller.call_tree(equation, callee)
        target = Group(ast.Name("self"), "model", 0).part(path)
        self.body.groups.enter(Group(target, "model", len(result.paths), result.model), equation.results, result.paths)
        self.assign(path, tree, equation)

    def member_path(self, value: Value, path: str) -> str:
        return self.paths[value].removesuffix(f".{path}")

    def assign(self, path: str, tree: ast.expr, equation: Equation | None) -> None:
        """A member, or an element of a list, which is assigned once it is complete."""
        name, _, position = path.partition(".")
        span = equation.span if equation else None
        if position:
            items = self.lists.setdefault(name, [])
            items.append(tree)
            if len(items) < sum(m.path.startswith(f"{name}.") for m in submodels(self.model)):
                return
            tree = ast.List(items)
            if self.unit.dialect.modules:
                tree = ast.Call(ast.Name("torch.nn.ModuleList"), [tree], [])
        self.assigned[name] = self.body.made_line(f"{text(own(name))} = {text(tree)}", (), span)
        if self.reads_members:
            self.body.lines.append(self.assigned.pop(name))

    @cached_property
    def reads_members(self) -> bool:
        """Whether something is computed from tensors of a submodel: then it must be there already."""
        made = {r for e in self.f.body if is_call(e.op) for r in e.results}
        return any(made.intersection(e.args) for e in self.f.body)

    def finish(self) -> None:
        """Arrays, and submodels that no equation made: those without tensors."""
        for leaf in self.own:
            value = self.leaves[leaf.path]
            tree = self.body.read(value)
            if isinstance(tree, ast.Name | ast.Attribute) and not value.type.host:
                tree = self.unit.dialect.copied(tree)
            self.assigned[leaf.path] = self.body.made_line(self.stored(leaf, tree), (value,), value.span)
        made = {m.path for m in submodels(self.model) if any(p.startswith(f"{m.path}.") for p in self.leaves)}
        for m in submodels(self.model):
            if m.path not in made:
                arguments = [
                    ast.keyword(self.unit.argument_name(name), self.constant(v)) for name, v in m.arguments.items()
                ]
                self.assign(m.path, ast.Call(ast.Name(self.unit.class_name(m.model)), [], arguments), None)

    def constant(self, value: object) -> ast.expr:
        return dim_tree(value, self.body.sizes) if isinstance(value, Dim) else ast.Constant(value)


def assignments(pairs: list[tuple[str, str]]) -> list[str]:
    """`self.d, self.hidden = d, hidden`, in several lines where they are many."""
    line = f"{', '.join(left for left, _ in pairs)} = {', '.join(right for _, right in pairs)}"
    if len(line) <= 100 or len(pairs) == 1:
        return [line] if pairs else []
    middle = (len(pairs) + 1) // 2
    return [*assignments(pairs[:middle]), *assignments(pairs[middle:])]


def own(name: str) -> ast.expr:
    return ast.Attribute(ast.Name("self"), attribute(name))
