"""Steps in PyTorch that work in place, and whose groups are functions of their own: on a GPU each is one kernel.

A function is called after the value that it computes. Whether a group becomes one is decided by the costs in costs.toml;
one whose result has a place already, a gradient that an update reads, stays among the statements that write there.
"""

from __future__ import annotations

import ast
import builtins
import re
import tomllib
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import ClassVar

from leec.dims import Dim
from leec.emit.arrays import makes_own
from leec.emit.comments import place, shape, source_line
from leec.emit.docs import docstring
from leec.emit.functions import INDENT
from leec.emit.held import StepBody
from leec.emit.inplace import library_call
from leec.emit.layout import text, unparenthesised
from leec.emit.names import identifier
from leec.emit.splitting import fit
from leec.emit.statements import Body
from leec.emit.steps import StepEmitter
from leec.emit.support import CONSTANTS, library
from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Value
from leec.ops import TABLE
from leec.passes.fuse import computes, members_of

Dims = tuple[Dim, ...]
METHODS = {ast.Add: "add_", ast.Sub: "sub_", ast.Mult: "mul_", ast.Div: "div_"}
SYMMETRIC = (ast.Add, ast.Mult)
PRODUCTS = frozenset("addmm mm bmm".split())
UNARY = frozenset("exp expm1 log log1p sqrt tanh sin cos abs sign floor round sigmoid relu square neg".split())


@cache
def fewest_operations() -> int:
    """In a group that becomes a function."""
    costs = resources.files("leec").joinpath("emit/costs.toml").read_text(encoding="utf-8")
    return tomllib.loads(costs)["group"]["fewest_operations"]


class InPlaceBody(StepBody):
    """An operation writes over its operand where that is an array that nothing else has."""

    settled: frozenset[Dims] = frozenset()  # shapes of what is written where it belongs, which is better still

    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        self.own: dict[int, tuple[ast.expr, Value]] = {}  # trees that make an array, by identity

    def built(self, equation: Equation) -> ast.expr:
        tree, value = super().built(equation), equation.results[0]
        is_new = makes_own(equation) or library_call(tree) in PRODUCTS
        if value.type.host or value in self.plain or not is_new or value.type.dims in self.settled:
            return tree
        if TABLE[equation.op].elementwise:
            tree = self.overwriting(tree, value)
        if makes_array(tree):
            self.own[id(tree)] = tree, value
        return tree

    def overwriting(self, tree: ast.expr, value: Value) -> ast.expr:
        """(a * b).add_(c) for a * b + c, torch.mul(a, b).exp_() for exp(a * b)."""
        if isinstance(tree, ast.BinOp) and type(tree.op) in METHODS:
            pairs = [(tree.left, tree.right)] + [(tree.right, tree.left)] * isinstance(tree.op, SYMMETRIC)
            for mine, other in pairs:
                if self.is_own(mine, value):
                    return ast.Call(ast.Attribute(mine, METHODS[type(tree.op)]), [other], [])
        if library_call(tree) in UNARY and len(tree.args) == 1 and not tree.keywords:
            if self.is_own(tree.args[0], value):
                return ast.Call(ast.Attribute(tree.args[0], f"{tree.func.attr}_"), [], [])
        return tree

    def is_own(self, tree: ast.expr, value: Value) -> bool:
        """An array that was made for one reader, of the shape and dtype of the result."""
        known = self.own.get(id(tree))
        return known is not None and known[1].type == value.type and self.readers[known[1]] == 1


def makes_array(tree: ast.expr) -> bool:
    """Arithmetic, and functions of the library and what works in place; other methods may give what they are given."""
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute):
        return tree.func.attr.endswith("_") or text(tree.func).startswith("torch.")
    return isinstance(tree, ast.BinOp)


class GroupedBody(InPlaceBody):
    """A body that asks for the call of a group."""

    call: Callable[[Equation], ast.expr]

    def tree(self, equation: Equation) -> ast.expr:
        return self.call(equation) if equation.op == "fused" else super().tree(equation)


class GroupedStep(StepEmitter):
    """Writes one step class, behind the functions of its groups."""

    groups: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.f = with_large_groups(self.f)
        self.functions: list[str] = []
        super().__post_init__()
        self.body.settled = frozenset(leaf.type.dims for move in self.moves for leaf in move.leaves)
        self.body.call = self.group

    def new_body(self, *arguments) -> Body:
        return GroupedBody(*arguments)

    def class_text(self, name: str) -> str:
        made = super().class_text(name)
        return "\n\n\n".join([*self.functions, made])

    # ---- one group

    def group(self, equation: Equation) -> ast.expr:
        """The call of the function of a group, which is written here."""
        f: Function = equation.params["body"]
        inside, given = self.inside(equation)
        for e in f.body:
            inside.equation(e)
        result = inside.read(f.outputs[0])
        inside.line(f"return {unparenthesised(result)}", (), None)
        code, members = without_self("\n".join(line.code for line in inside.lines), self.names.fresh)
        arrays = [text(t) for v, t in inside.values.items() if v in f.inputs and v.type.rank and not v.type.host]
        parameters = sorted(free_names(code), key=lambda n: n not in arrays)  # arrays first: they know their device
        value = equation.result
        name = self.unit.names.fresh(f"{self.f.name}_{identifier(self.body.called.get(value.name, value.name))}")
        self.functions.append(self.function_text(name, parameters, code, equation))
        given |= {new: ast.parse(chain, mode="eval").body for chain, new in members.items()}
        return ast.Call(ast.Name(name), [given.get(p, ast.Name(p)) for p in parameters], [])

    def inside(self, equation: Equation) -> tuple[InPlaceBody, dict[str, ast.expr]]:
        """The body of a group over the names of the step, and what its own parameters are given."""
        f: Function = equation.params["body"]
        body = InPlaceBody(f, self.dialect(), self.names, self.body.sizes, self.body.groups)
        body.held, body.settled = self.body.held, self.body.settled
        given: dict[str, ast.expr] = {}
        for inner, outer in zip(f.inputs, equation.args, strict=True):
            tree = self.body.read(outer)
            if not isinstance(tree, ast.Name) and not self.body.is_number(tree):
                name = self.names.fresh(inner.name)
                given[name] = tree
                tree = ast.Name(name)
            elif self.body.is_number(tree) and not inner.type.host:
                body.plain.add(inner)
            body.values[inner] = tree
        return body, given

    def function_text(self, name: str, parameters: list[str], code: str, equation: Equation) -> str:
        shown = f"{equation.result.name} {shape(equation.result.type, self.body.sizes.short)}".strip()
        words = docstring(f"{shown}: {source_line(equation.span)}   {place(equation.span)}" if equation.span else shown)
        lines = [*words, *(line for part in code.splitlines() for line in fit(part, len(INDENT)).splitlines())]
        head = fit(f"def {name}({', '.join(parameters)}): pass", 0).replace(": pass", ":")
        return "\n".join(["@one_kernel", head, *(INDENT + line for line in lines)])


def with_large_groups(f: Function) -> Function:
    """The function with the members of a group in its place where it is small, or what it gives has a place already."""
    b = Builder(v.name for v in f.values())
    settled = {a for e in f.body if "points" in TABLE[e.op].facts or "callee" in e.params for a in e.args}

    def is_small(e: Equation) -> bool:
        count = sum(computes(x) and any(a.type.rank for a in x.args) for x in e.params["body"].body)
        has_array = any(a.type.rank and not a.type.host for a in e.args)
        return count < fewest_operations() or not has_array or e.result in settled

    bodies = (members_of(e, b) if e.op == "fused" and is_small(e) else (e,) for e in f.body)
    return f.with_body(tuple(e for members in bodies for e in members))


def free_names(code: str) -> list[str]:
    """Names that the code reads and does not give values to, in their order."""
    names = [n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Name)]
    bound = {n.id for n in names if isinstance(n.ctx, ast.Store)}
    known = {*bound, *CONSTANTS, *library("torch"), *dir(builtins), "torch", "math"}
    found = sorted(names, key=lambda n: (n.lineno, n.col_offset))
    return list(dict.fromkeys(n.id for n in found if n.id not in known))


def without_self(code: str, fresh) -> tuple[str, dict[str, str]]:
    """The code with names in the place of attributes of the step, and which is for which."""
    found = sorted(set(re.findall(r"\bself(?:\.\w+|\[\d+\])+", code)), key=len, reverse=True)
    names = {chain: fresh(chain.rpartition(".")[2]) for chain in found}
    for chain, name in names.items():
        code = re.sub(rf"{re.escape(chain)}\b", name, code)
    return code, names
