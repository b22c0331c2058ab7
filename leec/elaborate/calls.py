"""Calls of defs and methods: arguments are bound, the callee is specialised by their structure and memoised (decision 5).

The callee keeps rigid dims of its own; sizes never enter the key. State of model arguments comes back with the results.
"""

from __future__ import annotations

from dataclasses import dataclass

from leec.diagnostics import Diagnostic, LeeError, Span, kinds, names, shapes, structure
from leec.dims import Dim
from leec.elaborate import arithmetic, distributions, specialise
from leec.elaborate.branches import within_branch
from leec.elaborate.callers import calling
from leec.elaborate.context import Context
from leec.elaborate.entries import is_indexed
from leec.elaborate.packs import flatten_packs, restore_pack
from leec.elaborate.primitives import by_axis
from leec.elaborate.requirements import meet
from leec.elaborate.signature import match_type
from leec.elaborate.values import (
    BuiltinValue,
    ClassValue,
    DistributionMethod,
    FamilyValue,
    FunctionValue,
    Instance,
    MethodValue,
    describe,
    leaves_of,
    rebuild,
)  # fmt: skip
from leec.ir.graph import Function, Value
from leec.syntax import nodes
from leec.types import TensorType


@dataclass
class Arguments:
    """What a call was given: values with the expressions they came from."""

    positional: list[object]
    keywords: dict[str, object]
    node: nodes.Call

    @property
    def span(self) -> Span:
        return self.node.span

    def span_of(self, key: int | str) -> Span:
        if isinstance(key, int):
            return self.node.args[key].span
        return next(e.span for n, e in self.node.keywords if n.id == key)


def call(ctx: Context, target: object, node: nodes.Call) -> object:
    """`target(..)`"""
    if isinstance(target, BuiltinValue) and getattr(target.apply, "reads_nodes", False):
        return target.apply(ctx, node)
    target = callable_instance(target, node) if isinstance(target, Instance) else target
    arguments = evaluate_arguments(ctx, node)
    if isinstance(target, MethodValue):
        target = as_it_is_now(ctx, target)
    if (found := distributions.answer(ctx, target, arguments)) is not None:
        return found[0]
    match target:
        case BuiltinValue():
            return target.apply(ctx, arguments)
        case FunctionValue() | MethodValue():
            return call_function(ctx, target, within_branch(ctx, by_axis(target, arguments)))
        case ClassValue(declaration=nodes.Model()):
            from leec.elaborate.models import construct

            return construct(ctx, target, arguments)
        case FamilyValue():
            return distributions.distribution(ctx, target, arguments)
        case DistributionMethod():
            return distributions.call_method(ctx, target, arguments)
    raise LeeError(names.not_callable(node.function.span, describe(target)))


def as_it_is_now(ctx: Context, method: MethodValue) -> MethodValue:
    """The model with the state that its arguments left: in `norm(norm(x))` the inner call comes first."""
    from leec.elaborate.members import at_place

    place = method.instance.place
    root = ctx.names.get(place.root) if place else None
    return MethodValue(at_place(root, place.path), method.declaration) if isinstance(root, Instance) else method


def callable_instance(instance: Instance, node: nodes.Call) -> MethodValue:
    """A model is called through its `forward`; a vector is no model (R28)."""
    forward = instance.spec.methods.get("forward")
    if instance.is_vector or forward is None:
        raise LeeError(names.not_callable(node.function.span, describe(instance)))
    return MethodValue(instance, forward)


def evaluate_arguments(ctx: Context, node: nodes.Call) -> Arguments:
    from leec.elaborate.expressions import evaluate

    positional = [evaluate(ctx, a) for a in node.args]
    return Arguments(positional, {n.id: evaluate(ctx, e) for n, e in node.keywords}, node)


def bind(
    name: str, params: tuple[nodes.Param, ...], given: Arguments, declared: Span
) -> dict[str, tuple[object, Span]]:
    """Parameter names with values and where they stand; missing ones are left out. Raises LeeError for misfits."""
    if len(given.positional) > len(params):
        wanted = [p.name.id for p in params]
        raise LeeError(names.too_many(given.span, name, wanted, len(given.positional), declared))
    bound = {p.name.id: (v, a.span) for p, v, a in zip(params, given.positional, given.node.args)}
    known = [p.name.id for p in params]
    for keyword, _ in given.node.keywords:
        if keyword.id not in known:
            raise LeeError(names.unknown_keyword(keyword, name, known))
        if keyword.id in bound:
            raise LeeError(names.argument_count(keyword.span, name, f"is given `{keyword.id}` twice", declared))
        bound[keyword.id] = (given.keywords[keyword.id], given.span_of(keyword.id))
    missing = [p.name.id for p in params if p.name.id not in bound and p.default is None]
    if missing:
        raise LeeError(
            names.argument_count(given.span, name, f"also needs {', '.join(f'`{m}`' for m in missing)}", declared)
        )
    return bound


def with_defaults(
    ctx: Context, home, params: tuple[nodes.Param, ...], bound: dict, captured: dict | None = None
) -> dict[str, tuple[object, Span]]:
    """The arguments with the declaration's defaults, evaluated where it stands; in the order of the parameters."""
    from leec.elaborate.expressions import evaluate

    full = {}
    for param in params:
        if param.name.id in bound:
            full[param.name.id] = bound[param.name.id]
        else:
            inner = Context(ctx.session, home, "default")
            inner.names = dict(captured or {})
            full[param.name.id] = (evaluate(inner, param.default), param.default.span)
    return full


def call_function(ctx: Context, target: FunctionValue | MethodValue, given: Arguments) -> object:
    """Specialise the callee for these arguments and emit the call."""
    declaration = target.declaration
    home = target.home if isinstance(target, FunctionValue) else target.instance.spec.home
    training = ctx.training and declaration.kind != "metric"
    override = given.keywords.get("training")
    if override is not None and "training" not in {p.name.id for p in declaration.params}:
        if not isinstance(override, bool):
            raise LeeError(structure.needs_static(given.span_of("training"), "`training`"))
        training = override
        keywords = tuple((n, e) for n, e in given.node.keywords if n.id != "training")
        node = nodes.Call(given.node.function, given.node.args, keywords, span=given.node.span)
        given = Arguments(given.positional, {k: v for k, v in given.keywords.items() if k != "training"}, node)
    bound = bind(declaration.name.id, declaration.params, given, declaration.name.span)
    captured = target.captured if isinstance(target, FunctionValue) else {}
    with calling(ctx.session, declaration.name.id, given.span):
        return call_bound(ctx, target, home, training, override, bound, captured, given)


def call_bound(ctx: Context, target, home, training: bool, override, bound: dict, captured, given: Arguments) -> object:
    declaration = target.declaration
    full = with_defaults(ctx, home, declaration.params, bound, captured)
    if any(is_indexed(v) for v, _ in full.values()):
        from leec.elaborate.entrywise import in_place

        return in_place(ctx, target, home, {n: v for n, (v, _) in full.items()}, given)
    full, packs = flatten_packs(ctx, declaration, {n: (v, given.span) for n, v in captured.items()} | full)
    specialised = specialise.specialise(ctx, target, home, full, training, given.span)
    if specialised.reads_training:
        ctx.reads_training |= override is None
    return emit_call(ctx, specialised, target, full, packs, given.span)


# ---- the call itself


def emit_call(ctx: Context, specialised, target: object, full: dict, packs, span: Span) -> object:
    """The `call` equation, its results in the shape of what the callee returns, and state written back."""
    function: Function = specialised.function
    if isinstance(target, MethodValue):
        full = {"self": (target.instance, span), **full}
    binding: dict[str, Dim] = {}
    args: list[Value] = []
    for parameter in function.parameters:
        if parameter.name == "key":
            args.append(ctx.draw_key(shown_name(target), span))  # which no other use of it changes
            continue
        value, where = full[parameter.name] if parameter.name in full else (part(full, parameter.name), span)
        args += bind_argument(ctx, function, parameter, value, where, binding, shown_name(target))
    meet(ctx, function, binding, span)
    results = tuple(v.type.substitute(binding) for v in function.outputs)
    known = tuple(sorted((k, v) for k, v in binding.items()))
    with ctx.at(span):
        values = (
            ctx.builder.call(*args, callee=function.name, dims=known, results=results, hint=None) if results else ()
        )
        values = ctx.rename_results(values, [v.name for v in function.outputs])
    returned = dict(zip((v for r in function.results for v in r.values), values))
    positions = specialised.pack_positions
    give = lambda v: restore_pack(ctx, returned[v], positions.get(v), packs, span)  # noqa: E731
    answer = rebuild(specialised.template, give, lambda d: d.substitute(binding))
    write_state(ctx, function, full, values[len(returned) :])
    return answer


def part(full: dict, name: str) -> object:
    """The item of a tuple argument that a parameter such as `sizes_0` carries; None where a call gives none such."""
    if name in full:
        return full[name][0]
    head, _, position = name.rpartition("_")
    whole = part(full, head)
    items = whole if isinstance(whole, tuple) else getattr(whole, "items", ())
    return items[int(position)] if int(position) < len(items) else None


def bind_argument(
    ctx: Context, function: Function, parameter, value: object, span: Span, binding: dict[str, Dim], name: str = ""
) -> list[Value]:
    """The values of one argument, in order; its shapes bind the callee's symbols. Errors call the function `name`."""
    if parameter.static is not None:
        binding[parameter.static] = Dim.of(value) if not isinstance(value, Dim) else value
        return []
    if isinstance(value, Instance):
        bind_hypers(function, parameter, value, binding)
    given = list(leaves_of(value)) or [value]
    args = []
    for wanted, found in zip(parameter.values, given):
        with ctx.at(span):
            found = ctx.builder.lift(found)
        problem = None if wanted.type.host else match_type(wanted.type, found.type, binding, ctx)
        if problem:
            raise LeeError(misfit(name or function.name, parameter.name, wanted, found, span, binding, problem))
        if wanted.type.dtype != found.type.dtype and not wanted.type.host:
            if wanted.type.is_float and found.type.dtype == "int" or found.type.host:
                found = ctx.builder.cast(found, dtype=wanted.type.dtype)
            else:
                raise LeeError(
                    kinds.argument_dtype(
                        span, name or function.name, parameter.name, found.type.shown, wanted.type.dtype, wanted.span
                    )
                )
        args.append(found if wanted.type.host else under_names(ctx, found, wanted.type, binding, span))
    return args


def misfit(
    name: str, parameter: str, wanted: Value, found: Value, span: Span, binding: dict[str, Dim], problem: str
) -> Diagnostic:
    """A shape that contradicts a declared type; where none is declared, the one that other arguments ask for."""
    if wanted.span is not None and wanted.span.text == parameter:
        asked = wanted.type.substitute(binding).shown
        return shapes.argument_shape(span, name, parameter, found.type.shown, asked, wanted.span)
    return shapes.argument_shape(span, name, parameter, found.type.shown, wanted.type.shown, wanted.span, problem)


def shown_name(target: object) -> str:
    """A function or a method as the spec calls it."""
    owner = f"{target.instance.spec.declaration.name.id}." if isinstance(target, MethodValue) else ""
    return f"{owner}{target.declaration.name.id}"


def under_names(ctx: Context, found: Value, wanted: TensorType, binding: dict[str, Dim], span: Span) -> Value:
    """The argument with the callee's dims for its own, where they are equal by a fact or a check but not by algebra."""
    if any(d.symbols - binding.keys() for d in wanted.dims):
        return found
    with ctx.at(span):
        return arithmetic.coerce(ctx, found, wanted.substitute(binding).dims)


def bind_hypers(function: Function, parameter, instance: Instance, binding: dict[str, Dim]) -> None:
    """The callee's names for the sizes of a model argument: `side` in a method, `net.side` elsewhere."""
    from leec.elaborate.members import hyper_symbols

    prefix = "" if parameter.name == "self" else f"{parameter.name}."
    binding.update((prefix + symbol, dim) for symbol, dim in hyper_symbols(instance))


def write_state(ctx: Context, function: Function, full: dict, after: tuple[Value, ...]) -> None:
    """New state goes back to the variables that were passed (R9, decision 2)."""
    place_of = {v: (p.name, path) for p in function.parameters for v, path in zip(p.values, p.paths)}
    changes: dict[str, dict[str, Value]] = {}
    for (before, _), value in zip(function.state, after):
        name, path = place_of[before]
        changes.setdefault(name, {})[path] = value
    for name, leaves in changes.items():
        instance = full[name][0]
        ctx.write_back(instance.place, leaves)
