"""Reverse mode through a `scan`: a scan the other way round, over the backward of the round (R15).

The forward collects what that backward reads (every carry as its round got it, and what the round saves), so nothing is
computed twice. Cotangents of carries are carried back; those of rows are rows; those of what is the same in every round
are summed up on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from leec.diagnostics import LeeError, structure
from leec.dims import Dim
from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Parameter, Result, Value
from leec.ir.loops import CARRY, CONST, ROW, STATE, Recurrence, with_axis
from leec.ops.shape import Slices
from leec.passes.differentiate.activity import Ways
from leec.passes.differentiate.adjoint import Cotangents, Sweep
from leec.passes.differentiate.backward import Backward, make_backward

if TYPE_CHECKING:
    from leec.passes.differentiate.calls import Derivation


START = Dim.of(0)


def ways_of_scan(loop: Recurrence, d: Derivation) -> Ways:
    """For every result the arguments that its cotangent flows to, round after round."""
    carries, count = loop.carries, len(loop.equation.results) - len(loop.states)
    flows = (
        tuple(sorted(reached_inputs(d, carries, [k]) | ({carries[k]} if k < len(carries) else set())))
        for k in range(count)
    )
    return (*flows, *[()] * len(loop.states))  # new states are stored stopped (R9)


def reached_inputs(d: Derivation, carries: Sequence[int], slots: Iterable[int]) -> set[int]:
    """The inputs of a round that cotangents of some slots flow to, through carries too."""
    waiting, seen, reached = list(slots), set(), set()
    while waiting:
        slot = waiting.pop()
        if slot in seen:
            continue
        seen.add(slot)
        found = set(d.inputs_of(d.slots[slot]))
        reached |= found
        waiting += [carries.index(i) for i in found if i in carries]
    return reached


def through_scan(sweep: Sweep, scan: Equation, cotangents: Cotangents) -> Cotangents:
    """The cotangents of the arguments of a `scan`."""
    loop = Recurrence(scan)
    if loop.length is None:
        raise LeeError(structure.gradient_of_while(scan.span))
    d = sweep.derivatives.of(loop.callee)
    inputs, slots = active_parts(sweep, loop, d, cotangents)
    if not slots:
        return [None] * len(scan.args)
    backward = summing_backward(d, loop, inputs, slots)
    save_what_is_not_collected(d, loop, backward)
    scan = collecting(d, scan, sweep.scope.names)
    sweep.replace(scan)
    return write_backward_scan(sweep, loop, Recurrence(scan), d, backward, (inputs, slots), cotangents)


def active_parts(
    sweep: Sweep, loop: Recurrence, d: Derivation, cotangents: Cotangents
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The inputs of a round that get a cotangent, and the slots that have one."""
    carries, flows = loop.carries, [set(d.inputs_of(v)) for v in d.slots]
    active = {i for i, a in enumerate(loop.equation.args) if a in sweep.active and loop.roles[i] != STATE}
    growing = True
    while growing:
        more = {c for k, c in enumerate(carries) if c not in active and flows[k] & active}
        active |= more
        growing = bool(more)
    slots = {k for k, c in enumerate(cotangents[: len(flows)]) if c is not None and flows[k] & active}
    while True:
        reached = {i for k in slots for i in flows[k] if i in active}
        more = {k for k, c in enumerate(carries) if c in reached} - slots
        if not more:
            break
        slots |= more
    held = {carries[k] for k in slots if k < len(carries)}
    return tuple(sorted(reached | held)), tuple(sorted(slots))


# ---- the backward of a round


def summing_backward(d: Derivation, loop: Recurrence, inputs: tuple[int, ...], slots: tuple[int, ...]) -> Backward:
    """The backward of the round, to which the sums so far of what later rounds gave are added; made once."""
    constant = tuple(i for i in inputs if loop.roles[i] == CONST)
    key = (inputs, slots, constant)
    if key not in d.backwards:
        plain = make_backward(d, inputs, slots)
        order = [i for k, i in enumerate(loop.carries) if k in slots and i in inputs]
        made = with_sums(plain.function, d.function, inputs, constant, order)
        d.backwards[key] = Backward(made, plain.reads)
        d.derivatives.functions[made.name] = made
    return d.backwards[key]


def with_sums(
    f: Function, primal: Function, inputs: tuple[int, ...], constant: tuple[int, ...], carried: list[int]
) -> Function:
    """Outputs: cotangents of carries, sums, rows. The sums so far come in under the names of the parameters."""
    outputs = dict(zip(inputs, f.outputs, strict=True))
    body, b = f.body, Builder(v.name for v in f.values())
    parameters, results = [], []
    position = {v: i for i, v in enumerate(primal.inputs)}
    for p in primal.parameters:
        members = [(v, path) for v, path in zip(p.values, p.paths or [""] * len(p.values)) if position[v] in constant]
        if not members:
            continue
        paths = tuple(path for _, path in members) if p.paths else ()
        before, after = [], []
        for v, path in members:
            name = f"d_{p.name}.{path}" if path else f"d_{p.name}"
            part = outputs[position[v]]
            before.append(Value(b.unique(f"{name}_later"), part.type, part.span, True))
            b.span = part.span
            after.append(b.add(before[-1], part, hint=f"{name}_sum"))
        taken = any(q.name == f"d_{p.name}" for q in f.parameters)  # where a round saved a gradient of its own
        parameters.append(Parameter(f"d_{p.name}{'_later' * taken}", tuple(before), p.model, paths))
        results.append(Result(f"d_{p.name}", tuple(after), p.model, paths))
    first = list(carried_results(primal, carried, outputs))
    rows = [i for i in inputs if i not in constant and i not in carried]
    last = [Result(f"d_{primal.inputs[i].name}", (outputs[i],)) for i in rows]
    return replace(
        f,
        parameters=(*f.parameters, *parameters),
        body=(*body, *b.equations),
        results=(*first, *results, *last),
    )


def carried_results(primal: Function, carried: list[int], outputs: Mapping[int, Value]) -> Iterator[Result]:
    """The cotangents of carries, those of a model together; carried inputs stand in the order of the parameters."""
    position = {v: i for i, v in enumerate(primal.inputs)}
    for p in primal.parameters:
        found = [(position[v], path) for v, path in zip(p.values, p.paths or p.values) if position[v] in carried]
        if p.model is not None and found:
            yield Result(f"d_{p.name}", tuple(outputs[i] for i, _ in found), p.model, tuple(path for _, path in found))
        else:
            yield from (Result(f"d_{primal.inputs[i].name}", (outputs[i],)) for i, _ in found)


def save_what_is_not_collected(d: Derivation, loop: Recurrence, backward: Backward) -> None:
    """What the backward reads of carries, before and after a round, becomes rows too."""
    saved = set(d.saved)
    collected = {d.results[k] for k in range(len(loop.carries), len(d.results))}
    heads = {d.function.inputs[i] for i in (*loop.carries, *loop.states)}
    finals = set(d.results[: len(loop.carries)])
    for value in backward.reads:
        if (value in heads or value in finals) and value not in saved | collected:
            d.save(value)
            saved.add(value)


def collecting(d: Derivation, scan: Equation, names: Builder) -> Equation:
    """The scan with all saved values among the rows that it collects; the results that it had stay what they were."""
    loop, first = Recurrence(scan), len(d.results)
    binding = dict(scan.params["dims"])
    end = len(scan.results) - len(loop.states)
    new = d.saved[end - first :]
    if not new:
        return scan
    types = (with_axis(v.type.substitute(binding), 0, loop.length) for v in new)
    rows = [Value(names.unique(f"{v.name}_rows"), t, scan.span, False) for v, t in zip(new, types)]
    d.derivatives.listed.update(rows)
    results = (*scan.results[:end], *rows, *scan.results[end:])
    params = {
        **scan.params, "callee": d.saved_name, "results": tuple(r.type for r in results),
        "out_axes": (*scan.params["out_axes"], *[0] * len(new)),
    }  # fmt: skip
    return replace(scan, params=params, results=results)


# ---- the scan backwards


def write_backward_scan(
    sweep: Sweep,
    loop: Recurrence,
    forward: Recurrence,
    d: Derivation,
    backward: Backward,
    parts,
    cotangents: Cotangents,
) -> Cotangents:
    inputs, slots = parts
    b, scan, f = sweep.builder, loop.equation, backward.function
    where = standing_rows(forward, d)
    args, roles, axes, starts = [], [], [], []

    def give(value: Value, role: str, axis: int = 0, start: Dim = START) -> None:
        args.append(value)
        roles.append(role)
        if role == ROW:
            axes.append(axis)
            starts.append(start)

    for value in backward.reads:
        give(*where[value])
    for k in slots:
        if k < len(loop.carries):
            give(cotangents[k] or b.zeros(loop.finals[k].type, f"d_{d.function.inputs[loop.carries[k]].name}"), CARRY)
        else:
            give(cotangents[k], ROW, loop.collected[k - len(loop.carries)][1])
    constant = [i for i in inputs if loop.roles[i] == CONST]
    for i in constant:
        give(b.zeros(scan.args[i].type, f"d_{scan.args[i].name}"), CARRY)
    carried = [i for k, i in enumerate(loop.carries) if k in slots]
    rows = [i for i in inputs if i not in constant and i not in carried]
    out = [*carried, *constant, *rows]
    types = [
        with_axis(t, loop.rows[i][0], loop.length) if i in rows else t for i, t in zip(out, inner_types(loop, out))
    ]
    results = tuple(Value(f"d_{scan.args[i].name}", t, scan.span) for i, t in zip(out, types))
    params = {
        **scan.params, "callee": f.name, "roles": tuple(roles), "axes": tuple(axes), "starts": tuple(starts),
        "reverse": not scan.params["reverse"], "results": tuple(types), "out_axes": tuple(loop.rows[i][0] for i in rows),
    }  # fmt: skip
    b.equations.append(Equation("scan", tuple(args), params, results, scan.span))
    found = dict(zip(out, results))
    return [whole(b, loop, i, found[i]) if i in found else None for i in range(len(scan.args))]


def inner_types(loop: Recurrence, positions: list[int]):
    types = list(loop.inside())
    return [types[i] for i in positions]


def whole(b: Builder, loop: Recurrence, i: int, found: Value) -> Value:
    """The cotangent of a row's array: zeros at positions that no round read."""
    arg = loop.equation.args[i]
    if found.type.dims == arg.type.dims:
        return found
    axis, start = loop.rows[i]
    slices = Slices.whole(arg.type.dims).at(axis, start, start + loop.length)
    return b.unslice(found, slices=slices, dims=arg.type.dims)


def standing_rows(forward: Recurrence, d: Derivation) -> dict[Value, tuple]:
    """Where a value of the round stands outside: the same in every round, or a row of an array."""
    scan, f = forward.equation, d.function
    where = {v: (a, CONST) for v, a, role in zip(f.inputs, scan.args, forward.roles) if role == CONST}
    where |= {f.inputs[i]: (scan.args[i], ROW, *place) for i, place in forward.rows.items()}
    for value, (array, axis) in zip(d.slots[len(forward.carries) :], forward.collected):
        where.setdefault(value, (array, ROW, axis))
    return where
