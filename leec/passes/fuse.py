"""Fusion: entrywise chains and the reductions among them become one equation, `fused`, with a body.

A value joins the group of its readers if all of them are in one, if it runs over entries of the same space or of one
that broadcasts to it, and if the user did not name it; reductions in one group run over the same axes. A group has
one result. Numbers and sizes are written again in each body, so that it stands alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from leec.dims import Dim
from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Parameter, Program, Result, Value
from leec.ops import TABLE
from leec.ops.table import complete

Dims = tuple[Dim, ...]


def fuse(program: Program) -> Program:
    """Groups within what the user named."""
    return program.map(lambda f: grouped(f, through_names=False))


def fuse_through(program: Program) -> Program:
    """Groups as large as they can be: names inside them are lost."""
    return program.map(lambda f: grouped(f, through_names=True))


def fuse_again(program: Program, names: Iterable[str]) -> Program:
    """Groups in some functions that a back end has written in its own terms, where lowering has made more chains."""
    chosen = set(names)
    return program.map(lambda f: grouped(f, through_names=True) if f.name in chosen else f)


@dataclass
class Group:
    """Equations by their positions, the last one first; the space they run over, and the axes of it that they reduce."""

    space: Dims
    axes: frozenset[int] | None = None  # counted from the right, as broadcasting aligns
    members: list[int] = field(default_factory=list)

    def admits(self, e: Equation) -> bool:
        space, axes = space_of(e), reduced_axes(e)
        if not stretches(space, self.space) and not (axes and stretches(self.space, space)):
            return False
        return axes is None or self.axes is None or axes == self.axes

    def add(self, position: int, e: Equation) -> None:
        space, axes = space_of(e), reduced_axes(e)
        self.space = self.space if stretches(space, self.space) else space
        self.axes = self.axes if axes is None else axes
        self.members.append(position)


def grouped(f: Function, through_names: bool) -> Function:
    """The function with its groups as equations of their own, each where its last member stood."""
    groups = [g for g in find_groups(f, through_names) if sum(computes(f.body[i]) for i in g.members) > 1]
    at_end = {g.members[0]: g for g in groups}
    inside = {i for g in groups for i in g.members}
    numbers = {e.result: e for e in f.body if is_number(e)}
    body = [
        fused_equation(f.body, at_end[i], numbers) if i in at_end else e
        for i, e in enumerate(f.body)
        if i in at_end or i not in inside
    ]
    return f.with_body(tuple(body)) if groups else f


def find_groups(f: Function, through_names: bool) -> Iterable[Group]:
    """From the end to the start: an equation meets its readers' group, or begins one."""
    of: dict[int, Group] = {}
    readers: dict[Value, list[int]] = {}
    for position, e in enumerate(f.body):
        for arg in e.args:
            readers.setdefault(arg, []).append(position)
    outputs, groups = set(f.outputs), []
    for position in reversed(range(len(f.body))):
        e = f.body[position]
        if not is_fusable(e):
            continue
        homes = {id(of.get(i)): of.get(i) for i in readers.get(e.result, ())}
        visible = e.result in outputs or (e.result.named and not through_names)
        home = next(iter(homes.values())) if len(homes) == 1 and not visible else None
        if home is None or not home.admits(e):
            if is_relabelling(e):  # a group ends with what computes
                continue
            home = Group(space_of(e))
            groups.append(home)
        home.add(position, e)
        of[position] = home
    return groups


# ---- what may be in a group


def is_fusable(e: Equation) -> bool:
    """Entrywise, a reduction, or a reshape that only adds or drops axes of size 1; of arrays, not of host numbers."""
    row = TABLE[e.op]
    if (
        len(e.results) != 1
        or not e.args
        or e.result.type.host
        or row.effect
        or (e.args[0].type.host and len(e.args) == 1)
    ):
        return False
    return row.elementwise or bool(row.facts.get("reduces")) or is_relabelling(e)


def is_relabelling(e: Equation) -> bool:
    squeezed = [tuple(d for d in v.type.dims if d != 1) for v in (e.args[0], e.results[0])]
    return bool(TABLE[e.op].facts.get("moves")) and "dims" in e.params and squeezed[0] == squeezed[1]


def computes(e: Equation) -> bool:
    return TABLE[e.op].flops != 0


def is_number(e: Equation) -> bool:
    """Written in the program, or a size."""
    return not e.args and len(e.results) == 1 and e.result.type.host and not TABLE[e.op].effect


def space_of(e: Equation) -> Dims:
    """The entries that an equation goes through."""
    return (e.args[0] if TABLE[e.op].facts.get("reduces") else e.result).type.dims


def reduced_axes(e: Equation) -> frozenset[int] | None:
    """Axes counted from the right, None where nothing is reduced."""
    rank = e.args[0].type.rank
    return frozenset(rank - a for a in e.params["axes"]) if TABLE[e.op].facts.get("reduces") else None


def stretches(narrow: Dims, wide: Dims) -> bool:
    """Does one broadcast to the other?"""
    pairs = zip(reversed(narrow), reversed(wide), strict=False)
    return len(narrow) <= len(wide) and all(a == b or a == 1 for a, b in pairs)


# ---- making the equation


def fused_equation(body: tuple[Equation, ...], group: Group, numbers: dict[Value, Equation]) -> Equation:
    """The members in order, with what they read from outside as parameters."""
    members = [body[i] for i in reversed(group.members)]
    own = {e.result for e in members}
    read = dict.fromkeys(a for e in members for a in e.args if a not in own)
    written = [numbers[a] for a in read if a in numbers]
    inputs = {a: replace(a) for a in read if a not in numbers}
    result = members[-1].result
    inner = inputs | {e.result: replace(e.result) for e in (*written, *members)}
    parameters = tuple(Parameter(v.name, (v,)) for v in inputs.values())
    copies = tuple(renamed(e, inner) for e in (*written, *members))
    function = Function("fused", parameters, copies, (Result(result.name, (inner[result],)),), public=False)
    params = complete(TABLE["fused"], {"body": function})
    return Equation("fused", tuple(inputs), params, (result,), members[-1].span)


def renamed(e: Equation, new: dict[Value, Value]) -> Equation:
    return replace(e, args=tuple(new.get(a, a) for a in e.args), results=tuple(new[r] for r in e.results))


# ---- the way back


def ungroup(program: Program) -> Program:
    """The program with the members of every group in its place, for who has no use for groups."""
    return program.map(ungrouped)


def ungrouped(f: Function) -> Function:
    b = Builder(v.name for v in f.values())
    return f.with_body(tuple(e for outer in f.body for e in members_of(outer, b)))


def members_of(e: Equation, names: Builder) -> Iterator[Equation]:
    """The equation; or those of its body, reading and giving what the group reads and gives."""
    if e.op != "fused":
        yield e
        return
    function: Function = e.params["body"]
    new = dict(zip((*function.inputs, *function.outputs), (*e.args, *e.results), strict=True))
    for inner in function.body:
        new |= {r: replace(r, name=names.unique(r.name)) for r in inner.results if r not in new}
        args, results = (tuple(new.get(v, v) for v in values) for values in (inner.args, inner.results))
        yield replace(inner, args=args, results=results)
