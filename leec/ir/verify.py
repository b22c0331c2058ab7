"""The verifier: what every function of the IR must fulfil, checked after every pass that changed it.

Names are unique and bound before use, params are those of the row, result types are those of its rule, calls fit
their callee, outputs exist. `verify_function` returns nothing or raises InternalError.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from weakref import WeakSet

from leec.diagnostics import InternalError
from leec.dims import Facts
from leec.ir.graph import Equation, Function, Program, Value, callees
from leec.ir.loops import Recurrence
from leec.ir.text import print_equation
from leec.ops import TABLE, Op
from leec.ops.table import check_operands
from leec.types import TensorType

SOUND: WeakSet[Equation] = WeakSet()  # those that were seen to fit their row whatever the facts: none ever changes


def verify_program(program: Program, after: str = "", before: Program | None = None) -> None:
    """Every function, in order; a callee must stand before its callers, as recursion does not exist in the IR.

    What is the same in a program that was verified `before`, and calls only such, is not looked at again.
    """
    seen: dict[str, Function] = {}
    known = before.functions if before else {}
    changed: set[str] = set()
    for f in program.functions.values():
        if known.get(f.name) is not f or any(name in changed or name not in seen for name in callees(f)):
            verify_function(f, Program(seen), after)
            changed |= {f.name} if signature(f) != signature(known.get(f.name)) else set()
        seen[f.name] = f


def signature(f: Function | None) -> object:
    """What callers see of a function."""
    return f and (tuple(v.type for v in f.inputs), tuple(v.type for v in f.outputs))


def verify_function(f: Function, program: Program | None = None, after: str = "") -> None:
    """Raises InternalError that names the function, the pass `after` which it is broken, the equation and the fault.

    Calls are checked against their callees where a program is given.
    """
    for equation, fault in _faults(f, program):
        where = f"{f.name}{' after ' + after if after else ''}"
        raise InternalError(f"{where}: {fault}" + (f"\n  in  {_shown(equation)}" if equation else ""))


def _faults(f: Function, program: Program | None) -> Iterator[tuple[Equation | None, str]]:
    facts = f.facts
    for check in f.checks:
        facts = facts.with_equal(check.left, check.right) if check.relation == "==" else facts
    for fault in _signature_faults(f):
        yield None, fault
    bound, names = set(f.inputs), {v.name for v in f.inputs}
    for equation in f.body:
        for fault in _equation_faults(equation, bound, facts, program):
            yield equation, fault
        for value in equation.results:
            if value.name in names:
                yield equation, f"{value.name} is bound twice"
            names.add(value.name)
            bound.add(value)
    for value in f.outputs:
        if value not in bound:
            yield None, f"the output {value.name} is never computed"


def _signature_faults(f: Function) -> Iterator[str]:
    for name, count in Counter(v.name for v in f.inputs).items():
        if count > 1:
            yield f"{name} is bound twice"
    for part in (*f.parameters, *f.results):
        grouped = part.model is not None or part.paths
        if len(part.paths) != len(part.values) if grouped else len(part.values) > 1:
            yield f"{part.name} has {len(part.values)} values and {len(part.paths)} paths"
    for p in f.parameters:
        if p.static and p.values:
            yield f"{p.name} is static and has a value"
    for before, after in f.state:
        if before not in f.inputs:
            yield f"the state {before.name} is not an input"
        if before.type != after.type:
            yield f"the state {before.name} is {before.type} and becomes {after.type}"


def _equation_faults(equation: Equation, bound: set[Value], facts: Facts, program: Program | None) -> Iterator[str]:
    for arg in equation.args:
        if arg not in bound:
            yield f"{arg.name} is read before it is computed"
    row = TABLE.get(equation.op)
    if row is None:
        yield f"there is no op {equation.op}"
        return
    yield from _row_faults(row, equation, facts)
    if "callee" in row.params and program is not None:
        yield from _call_faults(equation, facts, program)
    for body in equation.params.values():
        if isinstance(body, Function):
            yield from (f"{body.name}: {fault}" for _, fault in _faults(body, program))


def _row_faults(row: Op, equation: Equation, facts: Facts) -> Iterator[str]:
    if equation in SOUND:
        return
    if equation.params.keys() != row.params.keys():
        yield f"its params are {sorted(equation.params)}, not {sorted(row.params)}"
        return
    count = sum(not name.startswith("*") for name in row.args)
    if len(equation.args) != count and not (len(equation.args) > count and len(row.args) > count):
        yield f"it has {len(equation.args)} arguments, not {', '.join(row.args) or 'none'}"
        return
    try:
        args = tuple(a.type for a in equation.args)
        check_operands(row, args)
        types = row.type(*args, **equation.params)
    except Exception as error:  # a rule may fail in any way on arguments that no rule made
        yield f"its type rule refuses: {error}"
        return
    found = tuple(r.type for r in equation.results)
    if found == (types if isinstance(types, tuple) else (types,)):
        SOUND.add(equation)
    yield from _differences("result", found, types, facts)


def _call_faults(equation: Equation, facts: Facts, program: Program) -> Iterator[str]:
    callee = program.functions.get(equation.params["callee"])
    if callee is None:
        yield f"there is no function {equation.params['callee']} before this one"
        return
    binding = dict(equation.params["dims"])
    here = {t: t.substitute(binding) for t in {v.type for v in (*callee.inputs, *callee.outputs)}}
    args, results = (tuple(v.type for v in values) for values in (equation.args, equation.results))
    if equation.op == "scan":
        args, results = tuple(Recurrence(equation).inside()), tuple(Recurrence(equation).given())
    yield from _differences("argument", args, tuple(here[v.type] for v in callee.inputs), facts)
    yield from _differences("result", results, tuple(here[v.type] for v in callee.outputs), facts)


def _differences(
    kind: str, found: tuple[TensorType, ...], wanted: TensorType | tuple[TensorType, ...], facts: Facts
) -> Iterator[str]:
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    if len(found) != len(wanted):
        yield f"it has {len(found)} {kind}s, not {len(wanted)}"
        return
    for position, (is_, should) in enumerate(zip(found, wanted, strict=True)):
        if not _equal(is_, should, facts):
            yield f"{kind} {position} is {is_}, not {should}"


def _equal(a: TensorType, b: TensorType, facts: Facts) -> bool:
    """One type, as far as algebra and the function's facts and entry checks tell."""
    if a == b:
        return True
    same_kind = (a.dtype, a.host, a.rank) == (b.dtype, b.host, b.rank)
    return same_kind and all(facts.equal(d, e) for d, e in zip(a.dims, b.dims, strict=True))


def _shown(equation: Equation) -> str:
    try:
        return print_equation(equation)
    except Exception:  # what is broken may have no text
        return f"{equation.op}({', '.join(a.name for a in equation.args)})"
