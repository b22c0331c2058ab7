"""From the equations of an elaborated round to a function of its own and one `scan` over it.

What the round reads from outside becomes an argument: a tensor of a model stays with its model, so that generated code
passes the object; a row is read by position; everything else is the same in every round.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from leec.dims import Dim
from leec.elaborate.context import Context
from leec.elaborate.rounds import Collected, Loop
from leec.elaborate.values import Instance
from leec.ir.graph import Equation, Function, Parameter, Result, Value, rename
from leec.ir.loops import CARRY, CONST, ROW, STATE, with_axis
from leec.ir.symbols import readable, symbols_of
from leec.ops.table import TABLE, complete


@dataclass
class Carried:
    """The carries before the loop, as a round gets them, and as it leaves them.

    `places` has the variable and, of a tensor of a model, its path; `states` are positions of those that are states.
    """

    places: list[tuple[str, str]] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    starts: list[Value] = field(default_factory=list)
    heads: list[Value] = field(default_factory=list)
    ends: list[Value] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [f"{name}.{path}" if path else name for name, path in self.places]

    @property
    def plain(self) -> list[int]:
        return [k for k in range(len(self.heads)) if k not in self.states]


@dataclass
class Inputs:
    """The parameters of a round; what stands outside for every value of them, with its role; and by what is read inside."""

    parameters: list[Parameter]
    outside: dict[Value, tuple[Value, str]]
    inner: dict[Value, Value]

    def order(self, carries: list[int], carried: Carried) -> list[int]:
        """Some carries in the order of the parameters."""
        values = [v for p in self.parameters for v in p.values]
        return sorted(carries, key=lambda k: values.index(self.inner[carried.heads[k]]))


def write_scan(ctx: Context, loop: Loop, carried: Carried, reverse: bool, span) -> tuple[list[Value], dict]:
    """Replace the equations since the loop's mark by a `scan`. Gives the last carries, and by name the arrays of rows
    with the axes that outer loops have yet to collect."""
    body = ctx.builder.equations[loop.mark :]
    del ctx.builder.equations[loop.mark :]
    rows = loop.collected
    made = {r for e in body for r in e.results}
    outputs = [*carried.ends, *(r.value for r in rows.values())]
    free = dict.fromkeys(v for v in (*(a for e in body for a in e.args), *outputs) if v not in made)
    inputs = inputs_of(ctx, loop, carried, list(free))
    body = [rename(e, inputs.inner) for e in body]
    order = inputs.order(carried.plain, carried), inputs.order(carried.states, carried)
    f = round_function(ctx, loop, inputs, body, carried, order, span)
    out_axes = tuple(axis_of(r, loop) for r in rows.values())
    arrays = [with_axis(r.value.type, a, loop.length) for r, a in zip(rows.values(), out_axes)]
    types = [*(carried.heads[k].type for k in order[0]), *arrays, *(carried.heads[k].type for k in order[1])]
    names = [*(carried.names[k] for k in order[0]), *rows, *(carried.names[k] for k in order[1])]
    results = tuple(Value(ctx.builder.unique(n), t, span, True) for n, t in zip(names, types))
    args, roles = zip(*(inputs.outside[v] for v in f.inputs)) if f.inputs else ((), ())
    places = {new: (axis, start) for (_, axis, start), new in loop.rows.items()}
    read = [places[v] for v in f.inputs if v in places]
    params = {
        "callee": f.name, "dims": tuple((s, Dim.of(s)) for s in sorted(symbols_of(f) - {loop.symbol})), "roles": roles,
        "length": loop.length, "first": loop.first, "counter": loop.symbol, "reverse": reverse,
        "going": order[0].index(max(order[0])) if loop.length is None else None,  # the last one carried
        "axes": tuple(a for a, _ in read), "starts": tuple(s for _, s in read), "out_axes": out_axes, "results": tuple(types),
    }  # fmt: skip
    ctx.builder.equations.append(Equation("scan", args, complete(TABLE["scan"], params), results, span))
    finals = dict(zip((*order[0], *order[1]), (*results[: len(order[0])], *results[len(order[0]) + len(rows) :])))
    collected = zip(rows.items(), results[len(order[0]) :])
    return [finals[k] for k in range(len(finals))], {n: (v, without_loop(r, v, loop)) for (n, r), v in collected}


def axis_of(rows: Collected, loop: Loop) -> int:
    """The axis of the collected array that counts the rounds of this loop, outer loops' axes not there yet."""
    outer = [axis for axis, symbol in rows.axes if symbol != loop.symbol]
    (own,) = (axis for axis, symbol in rows.axes if symbol == loop.symbol)
    return own - sum(axis < own for axis in outer)


def without_loop(rows: Collected, array: Value, loop: Loop) -> Collected:
    return Collected(array, tuple((a, s) for a, s in rows.axes if s != loop.symbol), rows.span)


def inputs_of(ctx: Context, loop: Loop, carried: Carried, free: list[Value]) -> Inputs:
    """The parameters: models first, then carries, rows, and what else is read."""
    inputs = Inputs([], {}, {})
    inner = {h: Value(n, h.type, h.span, True) for h, n in zip(carried.heads, carried.names)}
    for k, (value, start) in enumerate(zip(carried.heads, carried.starts)):
        inputs.outside[inner[value]] = (start, STATE if k in carried.states else CARRY)
    rows = {inner: outer for (outer, _, _), inner in loop.rows.items() if inner in free}
    inputs.outside |= {row: (array, ROW) for row, array in rows.items()}
    taken = set(carried.names)
    for v in free:
        inner.setdefault(
            v,
            v if v in rows else Value(v.name if v.name not in taken else f"{v.name}_outside", v.type, v.span, v.named),
        )
        inputs.outside.setdefault(inner[v], (v, CONST))
    grouped: set[Value] = set()
    for name, model in models_of(ctx, carried):
        pairs = [(p, v) for p, v in model.leaves.items() if v in inner and v not in grouped]
        grouped |= {v for _, v in pairs}
        if pairs:
            values = tuple(inner[v] for _, v in pairs)
            inputs.parameters.append(Parameter(name, values, model.spec.name, tuple(p for p, _ in pairs)))
    rest = [v for v in (*carried.heads, *rows, *inner) if v not in grouped]
    inputs.parameters += [Parameter(inner[v].name, (inner[v],)) for v in dict.fromkeys(rest)]
    inputs.inner = inner
    return inputs


def models_of(ctx: Context, carried: Carried) -> list[tuple[str, Instance]]:
    """The model variables of a round, `self` first; carried tensors are those that it gets."""
    found = []
    for name, model in ctx.names.items():
        if isinstance(model, Instance) and not model.is_vector:
            heads = {path: h for (n, path), h in zip(carried.places, carried.heads) if n == name}
            found.append((name, model.with_leaves({**model.leaves, **heads})))
    return sorted(found, key=lambda pair: pair[0] != "self")


def round_function(ctx: Context, loop: Loop, inputs: Inputs, body: list, carried: Carried, order, span) -> Function:
    """`forward_step`: from the carries and rows of a round to the next carries, the rows to collect, and new states."""
    inner = lambda v: inputs.inner.get(v, v)  # noqa: E731
    ends = {inner(h): inner(e) for h, e in zip(carried.heads, carried.ends)}
    rows = [Result(name, (inner(r.value),)) for name, r in loop.collected.items()]
    results = [*carried_results(inputs, [inner(carried.heads[k]) for k in order[0]], ends), *rows]
    states = tuple((inner(carried.heads[k]), ends[inner(carried.heads[k])]) for k in order[1])
    unknown = symbols_of((body, [v for r in results for v in r.values])) - readable(inputs.parameters)
    parameters = [*inputs.parameters, *(Parameter(s, static=s) for s in sorted(unknown))]
    named = tuple(replace(r, name=n) for r, n in zip(results, distinct([r.name for r in results])))
    base = f"{ctx.owner}.{ctx.title}_step" if ctx.owner else f"{ctx.title}_step"
    name = ctx.session.unique(base, ctx.session.functions)
    f = Function(name, tuple(parameters), tuple(body), named, states, ctx.facts, (), "", span, ctx.owner, public=False)
    ctx.session.functions[name] = f
    ctx.made_functions.append(name)
    return f


def carried_results(inputs: Inputs, heads: list[Value], ends: dict[Value, Value]):
    """One result a carry; a model that is carried as a whole stays together."""
    for p in inputs.parameters:
        if p.model is not None and all(v in heads for v in p.values):
            yield Result(p.name, tuple(ends[v] for v in p.values), p.model, p.paths)
        else:
            yield from (Result(ends[v].name, (ends[v],)) for v in p.values if v in heads)


def distinct(names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        number, free = 2, name
        while free in found:
            free, number = f"{name}_{number}", number + 1
        found.append(free)
    return found
