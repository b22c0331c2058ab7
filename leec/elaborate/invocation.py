"""Procedures as wholes: arguments that a declaration stands for, calls by other procedures, and their memo."""

from __future__ import annotations

from collections.abc import Mapping

from leec.diagnostics import LeeError, Span, names, structure
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.callers import entering
from leec.elaborate.context import Context, NeedStructural, Session
from leec.elaborate.descriptions import joined
from leec.elaborate.modules import SpecModule
from leec.elaborate.structural import compiled_for, from_python, known_numbers
from leec.elaborate.values import FunctionValue, ListValue
from leec.ir import host
from leec.syntax import nodes

OBJECTS = (
    hv.HostData, hv.HostSplit, hv.HostModel, hv.HostTensor, hv.HostOptimizer, hv.HostList, hv.HostTuple,
)  # fmt: skip
UNKNOWN = object()  # of a parameter: neither a type nor a default says what it is


def declared_arguments(
    session: Session, home: SpecModule, item: nodes.Function, chosen: Mapping[str, object]
) -> dict[str, object] | None:
    """A host value for every parameter; None where neither a type nor a default says what it is.

    `chosen` are values for parameters that choose code, in place of their defaults.
    """
    found: dict[str, object] = {}
    for param in item.params:
        value = declared(session, home, item, param, chosen)
        if value is UNKNOWN:
            return None
        found[param.name.id] = value
    return found


def declared(
    session: Session, home: SpecModule, item: nodes.Function, param: nodes.Param, chosen: Mapping[str, object] = {}
) -> object:
    """What a parameter is by its type or its default; UNKNOWN where it has neither."""
    from leec.elaborate.expressions import evaluate

    name = param.name.id
    if isinstance(param.type, nodes.Record):
        return hv.HostData(host.Ref(name), {"": param.type})
    if isinstance(param.type, nodes.Name):
        return model_parameter(session, home, param) or UNKNOWN
    if param.default is None:
        return UNKNOWN
    usual = evaluate(Context(session, home, "default"), param.default)
    value = from_python(chosen[name]) if name in chosen else usual
    if isinstance(value, Dim):
        return value if name in known_numbers(session, item) else Dim.of(name)
    return inner(name, value)


def model_parameter(session: Session, home: SpecModule, param: nodes.Param) -> hv.HostModel | None:
    """`net: Digits`: any model of the class."""
    from leec.elaborate.generic import Unknown, generic_instance
    from leec.elaborate.scope import global_value
    from leec.elaborate.values import ClassValue

    ctx = Context(session, home, "host")
    found = global_value(ctx, param.type.id)
    if not found or not isinstance(found[0], ClassValue):
        return None
    try:
        instance = generic_instance(ctx, found[0])
    except Unknown:
        return None
    return hv.HostModel(host.Ref(param.name.id), instance.spec, instance.hypers)


def elaborate_body(
    session: Session, home: SpecModule, item: nodes.Function, given: dict[str, object], name: str | None = None
):
    """The procedure for these arguments, entered in the session under a name of its own."""
    from leec.elaborate.procedures import ProcedureElaborator, Signature

    elaborator = ProcedureElaborator(session, home, item)
    elaborator.name = name or item.name.id
    for parameter, value in given.items():
        elaborator.variables[parameter] = entered(elaborator, parameter, value)
    own_copies(elaborator, item)
    entry, body = elaborator.block, elaborator.statements(item.body)
    elaborator.settle()
    body = (*(statement for statement, _ in elaborator.environments.values()), *entry, *body)
    structural = compiled_for(given)
    parameters = tuple(p for p in parameters_of(session, home, item) if p[0] not in structural)
    procedure = host.Procedure(
        elaborator.name, parameters, elaborator.symbols, body, item.doc or "", item.span, structural
    )
    session.procedures[elaborator.name] = procedure
    return Signature(procedure, elaborator.returned)


def own_copies(elaborator, item: nodes.Function) -> None:
    """An argument changed inside is not changed outside (R8)."""
    from leec.elaborate.look import changed_names

    changed = set().union(*map(changed_names, item.body))
    for name in (p.name.id for p in item.params if p.name.id in changed):
        if isinstance(elaborator.variables.get(name), (hv.HostList, hv.HostModel, hv.HostOptimizer)):
            elaborator.block.append(host.Assign(name, host.Ref(name), snapshot=True, span=item.span))


def entered(elaborator, name: str, value: object) -> object:
    """Data parameters get their splits, whose sizes are symbols of the procedure."""
    from leec.elaborate.sources import bind_free, field_type, part

    if isinstance(value, hv.HostData) and "" in value.splits:
        home = Context(elaborator.session, elaborator.home, "source")
        record = value.splits[""]
        free: dict[str, Dim] = {}
        for field, type_ in record.fields:
            free |= bind_free(elaborator, home, host.Ref(name, ("train", field.id)), type_)
        types = {n.id: field_type(home, nodes.Field(n, t, None, span=n.span)) for n, t in record.fields}
        written = {d.symbol: Dim.of(n) for n, d in free.items()}
        elaborator.block.append(
            host.Accept(name, tuple((f, t.substitute(written)) for f, t in types.items()), span=record.span)
        )
        return hv.HostData(
            host.Ref(name),
            {s: part(elaborator, host.Ref(name, (s,)), types, f"{name}_{s}") for s in ("train", "valid", "test")},
        )
    if isinstance(value, OBJECTS):
        elaborator.bind(name, value, frozenset())
        return elaborator.variables[name]
    return value


def parameters_of(session: Session, home: SpecModule, item: nodes.Function) -> tuple[tuple[str, object], ...]:
    """Names with the defaults that Python will show."""
    from leec.elaborate.expressions import evaluate

    ctx = Context(session, home, "default")
    return tuple((p.name.id, None if p.default is None else default_of(evaluate(ctx, p.default))) for p in item.params)


def default_of(value: object) -> host.HostExpr:
    match value:
        case Dim():
            return host.Literal(value.constant)
        case ListValue(items=items) | tuple(items):
            return host.Bundle(tuple(map(default_of, items)))
    return host.Literal(value if isinstance(value, bool | float | str) else None)


def invoke(caller, target, node: nodes.Call):
    """A call by another procedure: the callee for these arguments, and the arguments as host expressions."""
    from leec.elaborate.hostexpr import host_arguments

    item: nodes.Function = target.declaration
    given, exprs = call_arguments(caller, item, node, host_arguments)
    full: dict[str, object] = {}
    arguments = []
    for position, param in enumerate(item.params):
        name = param.name.id
        key = position if position < len(node.args) else name
        if key in exprs:
            full[name] = inner(name, given[key])
            arguments.append((name, exprs[key]))
            if name in known_numbers(caller.session, item):
                full[name] = known_number(given[key], node.span)
        else:
            full[name] = declared(caller.session, target.home, item, param)
            if full[name] is UNKNOWN:
                raise LeeError(names.argument_count(node.span, item.name.id, f"also needs `{name}`", item.name.span))
    known = {p.name.id for p in item.params}
    for keyword, _ in node.keywords:
        if keyword.id not in known:
            raise LeeError(names.unknown_keyword(keyword, item.name.id, sorted(known)))
    memo = ("procedure", id(item), tuple((n, kind_of(v)) for n, v in full.items()))
    session = caller.session
    if memo not in session.memo:
        name = session.unique(item.name.id, session.procedures)
        with entering(session, memo, item.name.id, node.span):
            session.memo[memo] = elaborate_body(session, target.home, item, full, name)
    signature = session.memo[memo]
    return signature, tuple((n, e) for n, e in arguments if n not in signature.procedure.structural)


def known_number(value: object, span: Span) -> Dim:
    """An integer that chooses code in the procedure that is called; the caller has to know it too."""
    if not isinstance(value, Dim):
        raise LeeError(structure.needs_static(span, "this number, which chooses code,"))
    if value.constant is None:
        raise NeedStructural(sorted(value.symbols)[0], span)
    return value


def is_schedule(caller, node: nodes.Expr) -> bool:
    """`warmup_cosine(3e-4, 100, steps)`: a call that gives a function of t."""
    from leec.elaborate.look import look

    found = look(caller, node.function) if isinstance(node, nodes.Call) else None
    return isinstance(found, FunctionValue) and any(isinstance(s, nodes.Function) for s in found.declaration.body)


def objects(caller, node: nodes.List) -> tuple[hv.HostList, host.HostExpr]:
    """`[first, second]`: data, models or arrays as a list."""
    from leec.elaborate.look import look

    found = [look(caller, i) for i in node.items]
    element = None
    for value, item in zip(found, node.items):
        element = joined(caller, element, value, item.span)
    expr = host.ListOf(tuple(v.expr for v in found))
    return hv.HostList(expr, element), expr


def call_arguments(caller, item: nodes.Function, node: nodes.Call, host_arguments) -> tuple[dict, dict]:
    """Values and expressions by position or name; data and models are passed as the objects they are."""
    from leec.elaborate.hostexpr import is_host
    from leec.elaborate.lists import brought
    from leec.elaborate.look import look

    values: dict = {}
    exprs: dict = {}
    every = [*enumerate(node.args), *((n.id, e) for n, e in node.keywords)]
    for key, argument in every:
        found = look(caller, argument) if isinstance(argument, (nodes.Name, nodes.Attribute)) else None
        if isinstance(found, OBJECTS):
            values[key], exprs[key] = found, found.expr
            continue
        if isinstance(argument, nodes.List) and all(isinstance(look(caller, i), OBJECTS) for i in argument.items):
            values[key], exprs[key] = objects(caller, argument)
            continue
        if found is None and not is_host(caller, argument) and not is_schedule(caller, argument):
            hint = item.params[key].name.id if isinstance(key, int) and key < len(item.params) else str(key)
            values[key], exprs[key] = brought(caller, argument, hint)
            continue
        single = nodes.Call(node.function, (argument,), (), span=node.span)
        given, own = host_arguments(caller, single)
        values[key], exprs[key] = given.positional[0], own[0]
    return values, exprs


def inner(name: str, value: object) -> object:
    """An argument as the callee's variable."""
    from dataclasses import replace

    match value:
        case Dim():
            return Dim.of(name)
        case float():
            return hv.HostNumber(host.Ref(name), "float")
        case hv.HostNumber(dtype=dtype):
            return Dim.of(name) if dtype == "int" else hv.HostNumber(host.Ref(name), dtype)
        case hv.HostSplit():
            return replace(value, expr=host.Ref(name))
        case hv.HostData(splits=splits):
            own = {s: replace(v, expr=host.Ref(name, (s,))) for s, v in splits.items()}
            return replace(value, expr=host.Ref(name), splits=own)
        case hv.HostModel() | hv.HostTensor() | hv.HostOptimizer() | hv.HostList() | hv.HostTuple():
            return replace(value, expr=host.Ref(name))
        case ListValue():
            return value.items
    return value


def kind_of(value: object) -> object:
    """What of an argument a procedure's code may depend on."""
    match value:
        case hv.HostModel(spec=spec) | hv.HostOptimizer(spec=spec):
            return spec.name
        case hv.HostSplit(fields=fields):
            return tuple((n, t.dtype, t.rank, t.dims[1:]) for n, t in fields.items())
        case hv.HostData(splits=splits, fields=fields, numbers=numbers):
            return (tuple((s, kind_of(v)) for s, v in splits.items()), tuple(fields), tuple(numbers))
        case hv.HostTensor(type=type_):
            return (type_.dtype, tuple(d.constant for d in type_.dims))
        case hv.HostList(element=element):
            return ("list", kind_of(element))
        case hv.HostTuple(items=items, names=names):
            return (names, *map(kind_of, items))
        case Dim():
            return "int" if value.constant is None else ("int", value.constant)
        case hv.HostNumber(dtype=dtype):
            return dtype
    return value
