"""The IR: a Program of Functions; a Function is a list of equations in single assignment.

Everything is immutable. A value is known by its identity; its name is unique in its function and is the user's
wherever the user gave one. Models are flattened to their tensors; a Function's parameters remember how they group.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from leec.diagnostics import Span
from leec.dims import Dim, Facts
from leec.types import TensorType


@dataclass(frozen=True, eq=False)
class Value:
    name: str
    type: TensorType
    span: Span | None = None
    named: bool = False  # by the user: stays a statement of its own in generated code

    def __repr__(self) -> str:
        return f"{self.name}: {self.type}"


@dataclass(frozen=True, eq=False)
class Equation:
    """results = op(args, params). What the params mean is written in the op's row."""

    op: str
    args: tuple[Value, ...]
    params: Mapping[str, object]
    results: tuple[Value, ...]
    span: Span | None = None

    @property
    def result(self) -> Value:
        (value,) = self.results
        return value


@dataclass(frozen=True, eq=False)
class Parameter:
    """An argument as the spec's signature says: one tensor, or a model with its tensors in order.

    `model` names the model class; `paths` are the paths of its leaves, parallel to `values`.
    `static` is the rigid symbol of a shape integer, which has no value. `default` is a number, or None.
    """

    name: str
    values: tuple[Value, ...] = ()
    model: str | None = None
    paths: tuple[str, ...] = ()
    static: str | None = None
    default: object = None


@dataclass(frozen=True, eq=False)
class Result:
    """What a function returns under one name: a tensor, or the tensors of a model (its gradient, its new state)."""

    name: str
    values: tuple[Value, ...]
    model: str | None = None
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Function:
    """`state` pairs a leaf of a parameter with the value that it has afterwards (R9).

    `pack` is the size that stands for the axes of `..`, which a caller outside sees one by one (decision 46). The last
    `saves` results are what a backward reads, not what the spec returns. `saving` names the function that this one is
    but for what it saves, `backward_of` the one that the cotangents of this one belong to. A backward of one to be done
    `again` computes what it reads from the arguments alone.
    """

    name: str
    parameters: tuple[Parameter, ...]
    body: tuple[Equation, ...]
    results: tuple[Result, ...]
    state: tuple[tuple[Value, Value], ...] = ()
    facts: Facts = Facts()
    checks: tuple[Check, ...] = ()
    doc: str = ""
    span: Span | None = None
    owner: str | None = None  # the model whose method this is
    public: bool = True
    pack: str | None = None
    saves: int = 0
    saving: str | None = None
    backward_of: str | None = None
    again: bool = False

    @cached_property
    def inputs(self) -> tuple[Value, ...]:
        return tuple(v for p in self.parameters for v in p.values)

    @cached_property
    def outputs(self) -> tuple[Value, ...]:
        return (*(v for r in self.results for v in r.values), *(after for _, after in self.state))

    def with_body(self, body: tuple[Equation, ...]) -> Function:
        return replace(self, body=body)

    def values(self) -> Iterator[Value]:
        yield from self.inputs
        for equation in self.body:
            yield from equation.results


RELATIONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}  # of sizes


@dataclass(frozen=True)
class Check:
    """What must hold of sizes and only a run can decide, tested at entry: `left relation right`."""

    left: Dim
    right: Dim
    message: str
    span: Span | None = None
    relation: str = "=="

    def holds(self, facts: Facts = Facts()) -> bool | None:
        """Whether it does; None where only the sizes can tell."""
        difference = facts.normal(self.left - self.right).constant
        return None if difference is None else RELATIONS[self.relation](difference, 0)

    def substitute(self, binding: Mapping[str, Dim]) -> Check:
        return replace(self, left=self.left.substitute(binding), right=self.right.substitute(binding))


@dataclass(frozen=True)
class Program:
    """Functions by name, in order of definition: a callee stands before its callers."""

    functions: Mapping[str, Function] = field(default_factory=dict)

    @cached_property
    def saving_forms(self) -> Mapping[str, Function]:
        """By the name of a function its form that saves what a backward reads."""
        return {f.saving: f for f in self.functions.values() if f.saving}

    def forward_of(self, f: Function) -> Function | None:
        """The saving form that a backward belongs to; None where nothing is saved, and of what is no backward."""
        base = self.functions.get(f.backward_of or "")
        return base if base and base.saving else self.saving_forms.get(f.backward_of or "")

    def map(self, change) -> Program:
        """The program with `change` applied to every function."""
        return Program({name: change(f) for name, f in self.functions.items()})

    def adding(self, *functions: Function) -> Program:
        return Program({**self.functions, **{f.name: f for f in functions}})


def callees(f: Function) -> Iterator[str]:
    """The functions that a function calls, also from within functions among params."""
    for equation in f.body:
        if "callee" in equation.params:
            yield equation.params["callee"]
        for param in equation.params.values():
            if isinstance(param, Function):
                yield from callees(param)


def rename(equation: Equation, of: Mapping[Value, Value]) -> Equation:
    """The equation reading other values."""
    if not any(a in of for a in equation.args):
        return equation
    return replace(equation, args=tuple(of.get(a, a) for a in equation.args))
