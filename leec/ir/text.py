"""The text of the IR: `print_function` and `parse_function` are inverses, and so are those of programs.

Every binder has its type; `let` marks a name that the user gave; params are always written, except those that
repeat the types of the results. Comments say the lines of the spec; they and the spans are lost in parsing.
Grammar: grammar/ir.lark.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache

import lark

from leec.diagnostics import InternalError, Span
from leec.dims import Dim
from leec.ir.graph import Check, Equation, Function, Parameter, Program, Result, Value
from leec.ops import TABLE
from leec.ops.contract import Contraction
from leec.ops.shape import Slices
from leec.ops.table import complete
from leec.syntax.grammar import load
from leec.types import TensorType, host

REPEATED = {"type": lambda types: types[0], "results": lambda types: types}  # params that say what the binders say

# ---- print


def print_program(program: Program) -> str:
    """The functions in their order, a blank line between two."""
    return "\n".join(print_function(f) + "\n" for f in program.functions.values())


def print_function(f: Function) -> str:
    """The text of a function, without a last line break. Raises InternalError for a param that has no text."""
    head = f"{'' if f.public else 'private '}fn {f.name}("
    body = "".join(f"  {line}\n".replace("\n  \n", "\n\n") for line in _lines(f))
    traits = "".join(f" {word} {name}" for word, name in _traits(f).items() if name)
    traits += " again" * f.again
    tail = f"){traits}{' ' + _text(f.doc) if f.doc else ''} {{\n{body}}}"
    shown = [_parameter(p) for p in f.parameters]
    line = ", ".join(shown)
    if len(head) + len(line) > 110:
        line = "\n" + "".join(f"    {p},\n" for p in shown)
    return head + line + tail


def _traits(f: Function) -> dict[str, str | None]:
    return {"of": f.owner, "pack": f.pack, "saving": f.saving, "backward": f.backward_of}


def _lines(f: Function) -> Iterable[str]:
    for num, den, rest in f.facts.remainders:
        yield f"require {num.as_factor()} % {den.as_factor()} == {rest}"
    for left, right in f.facts.equal_pairs:
        yield f"require {left} == {right}"
    for check in f.checks:
        yield f"check {check.left} {check.relation} {check.right} {_text(check.message)}{_place(check.span)}"
    for equation in f.body:
        yield print_equation(equation)
    for before, after in f.state:
        yield f"state {before.name} -> {after.name}"
    shown = [*map(_result, f.results)]
    own = len(shown) - f.saves
    saved = f"save {', '.join(shown[own:])}" if f.saves else ""
    yield " ".join(filter(None, ("return", ", ".join(shown[:own]), saved)))


def print_equation(equation: Equation) -> str:
    """`let z: float[n, d] = add(t, b)   # file.lee:7`; a function among the params takes several lines."""
    types = tuple(r.type for r in equation.results)
    binders = ", ".join(f"{'let ' if r.named else ''}{r.name}: {r.type}" for r in equation.results)
    shown = {k: v for k, v in equation.params.items() if not (k in REPEATED and types and v == REPEATED[k](types))}
    inside = ", ".join((*(a.name for a in equation.args), *(f"{k}={print_param(v)}" for k, v in shown.items())))
    return f"{binders}{' = ' if binders else ''}{equation.op}({inside}){_place(equation.span)}"


def print_param(value: object) -> str:
    """A param as text that shows its kind: `2` is a number, `{2}` a size, `[n, 2]` sizes, `(0, 1)` numbers."""
    match value:
        case None | bool():
            return {None: "None", True: "true", False: "false"}[value]
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else f"{value:+}"
        case str():
            return _text(value)
        case Dim():
            return str(value) if value.constant is None else f"{{{value}}}"
        case TensorType():
            return str(value)
        case Contraction():
            return f"{{{str(value).rstrip()}}}"
        case Function():
            return print_function(value).replace("\n", "\n  ")
        case tuple():
            return _sequence(value)
    raise InternalError(f"a param of type {type(value).__name__} has no text: {value!r}")


def _sequence(value: tuple) -> str:
    if isinstance(value, Slices):
        return f"[{', '.join(':'.join(map(str, s if s[2] != 1 else s[:2])) for s in value) or ':'}]"
    if value and all(isinstance(v, Dim) for v in value):
        return f"[{', '.join(map(str, value))}]"
    if value and all(isinstance(v, tuple) and len(v) == 2 and _is_binding(*v) for v in value):
        return f"{{{', '.join(f'{name}: {dim}' for name, dim in value)}}}"
    return f"({', '.join(map(print_param, value))}{',' if len(value) == 1 else ''})"


def _is_binding(name: object, dim: object) -> bool:
    return isinstance(name, str) and isinstance(dim, Dim)


def _parameter(p: Parameter) -> str:
    default = "" if p.default is None else f" = {print_param(p.default)}"
    if p.static:
        return f"{p.name}: static{'' if p.static == p.name else ' ' + p.static}{default}"
    if not p.model and not p.paths and len(p.values) == 1:
        return f"{_binder(p.values[0], p.name)}{default}"
    leaves = ", ".join(_binder(v, path) for v, path in zip(p.values, p.paths, strict=True))
    return f"{p.name}: {p.model or ''}{{{leaves}}}{default}"


def _binder(value: Value, path: str) -> str:
    return f"{value.name}{'' if value.name == path else ' = ' + path}: {value.type}"


def _result(r: Result) -> str:
    if not r.model and not r.paths and len(r.values) == 1:
        name = r.values[0].name
        return name if name == r.name else f"{r.name} = {name}"
    members = ", ".join(f"{path} = {v.name}" for v, path in zip(r.values, r.paths, strict=True))
    return f"{r.name}: {r.model or ''}{{{members}}}"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _place(span: Span | None) -> str:
    if span is None:
        return ""
    return f"   # {span.source.path.rpartition('/')[2]}:{span.line}".replace("\n", " ")


# ---- parse


def parse_program(text: str) -> Program:
    """The program that `print_program` printed. Raises ValueError for any other text."""
    return Program({f.name: f for f in _read(text, "program")})


def parse_function(text: str) -> Function:
    """The function that `print_function` printed. Raises ValueError for any other text."""
    return _read(text, "function")


@cache
def _parser() -> lark.Lark:
    return load("ir.lark", start=["program", "function"], maybe_placeholders=True)


def _read(text: str, start: str):
    try:
        return _Reader().transform(_parser().parse(text, start=start))
    except lark.UnexpectedInput as error:
        raise ValueError(f"line {error.line}, column {error.column}: {error}") from error
    except lark.exceptions.VisitError as error:
        raise ValueError(str(error.orig_exc)) from error.orig_exc


@lark.v_args(inline=True)
class _Reader(lark.Transformer):
    """Dims, types and params become themselves, bottom up; statements stay trees, which `function` reads in order."""

    NAME, LET, INT, FLOAT, STRING = map(staticmethod, (str, str, int, float, json.loads))
    PATH = STATIC = PRIVATE = NAME
    symbol = integer = staticmethod(Dim.of)
    neg, add, sub, mul = map(staticmethod, (operator.neg, operator.add, operator.sub, operator.mul))
    floordiv, pow = map(staticmethod, (operator.floordiv, operator.pow))
    size = string = constant = staticmethod(lambda value: value)
    items = sizes = operands = ranges = range = binding = staticmethod(lambda *items: items)
    program = parameters = leaves = leaf = binders = returns = items

    def CONSTANT(self, token: str) -> bool | None:
        return {"true": True, "false": False, "None": None}[token]

    def number(self, dim: Dim) -> Dim | int:
        return dim if dim.constant is None else dim.constant

    def decimal(self, value: float) -> float:
        return value

    def tensor_type(self, dtype: str, dims: tuple[Dim, ...]) -> TensorType:
        return TensorType(dtype, dims)

    def host_type(self, word: str, dtype: str) -> TensorType:
        if word != "host":
            raise ValueError(f"not a type: {word} {dtype}")
        return host(dtype)

    def slice(self, start: Dim, stop: Dim, step: Dim | None) -> tuple[Dim, Dim, Dim]:
        return start, stop, Dim.of(1) if step is None else step

    def slices(self, *stretches: tuple[Dim, Dim, Dim]) -> Slices:
        return Slices(stretches)

    def contraction(self, operands, result, dims, ranges) -> Contraction:
        return Contraction(operands, result, ranges, dims)

    def static(self, name: str, _: str, symbol: str | None, default: object) -> Parameter:
        return Parameter(name, static=symbol or name, default=default)

    def tensor(self, value: str, name: str | None, type: TensorType, default: object) -> Parameter:
        return Parameter(name or value, (Value(value, type, named=True),), default=default)

    def group(self, name: str, model: str | None, leaves: tuple, default: object) -> Parameter:
        values = tuple(Value(value, type, named=True) for value, _, type in leaves)
        return Parameter(name, values, model, tuple(path or value for value, path, _ in leaves), default=default)

    def function(self, private, name, parameters, owner, pack, saving, backward, again, doc, *statements) -> Function:
        traits = {
            "owner": owner, "pack": pack, "saving": saving, "backward_of": backward, "again": again is not None
        }  # fmt: skip
        f = Function(name, parameters, (), (), doc=doc or "", public=private is None, **traits)
        scope = {v.name: v for v in f.inputs}
        for statement in statements:
            f = _with_statement(f, statement, scope)
        return f


def _with_statement(f: Function, statement: lark.Tree, scope: dict[str, Value]) -> Function:
    """The function with one more statement; `scope` gains what it binds."""
    match statement.data, statement.children:
        case "remainder", (num, den, rest):
            return replace(f, facts=f.facts.with_remainder(num, den, rest.constant))
        case "equality", (left, right):
            return replace(f, facts=f.facts.with_equal(left, right))
        case "check", (left, relation, right, message):
            return replace(f, checks=(*f.checks, Check(left, right, message, None, str(relation.children[0]))))
        case "state", (before, after):
            return replace(f, state=(*f.state, (_bound(scope, before), _bound(scope, after))))
        case "equation", (binders, op, *arguments):
            equation = _equation(binders, op, arguments, scope)
            scope |= {r.name: r for r in equation.results}
            return f.with_body((*f.body, equation))
        case "ending", (own, saved):
            results = tuple(_read_result(r, scope) for r in (*(own or ()), *(saved or ())))
            return replace(f, results=results, saves=len(saved or ()))
    raise InternalError(f"the grammar of the IR has a statement {statement.data} that nothing reads")


def _equation(binders: tuple | None, op: str, arguments: list, scope: Mapping[str, Value]) -> Equation:
    results = tuple(Value(name, type, named=let is not None) for let, name, type in (b.children for b in binders or ()))
    params = dict(a.children for a in arguments if isinstance(a, lark.Tree))
    if op in TABLE:
        types = tuple(r.type for r in results)
        repeated = {k: REPEATED[k](types) for k in REPEATED if k in TABLE[op].params and types}
        params = complete(TABLE[op], {**repeated, **params})
    args = tuple(_bound(scope, a) for a in arguments if isinstance(a, str))
    return Equation(op, args, params, results)


def _read_result(tree: lark.Tree, scope: Mapping[str, Value]) -> Result:
    if tree.data == "result":
        name, value = tree.children
        return Result(name, (_bound(scope, value or name),))
    name, model, *members = tree.children
    pairs = [m.children for m in members]
    return Result(name, tuple(_bound(scope, value) for _, value in pairs), model, tuple(path for path, _ in pairs))


def _bound(scope: Mapping[str, Value], name: str) -> Value:
    if name not in scope:
        raise ValueError(f"{name} has no value here")
    return scope[name]
