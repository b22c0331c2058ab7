"""Examples: a function of a key, and a second one that also gives every gradient of its value."""

from __future__ import annotations

from dataclasses import replace

from leec.diagnostics import LeeError, structure
from leec.elaborate.context import Context, Session
from leec.elaborate.gradients import reaches
from leec.elaborate.modules import SpecModule
from leec.elaborate.statements import run_block
from leec.elaborate.values import Instance, leaves_of
from leec.ir.graph import Function, Parameter, Result, Value
from leec.ir.module import Requirements
from leec.syntax import nodes


def elaborate_example(session: Session, home: SpecModule, item: nodes.Example) -> str:
    """`example.NAME`: results are the value, then the gradient of every parameter and float draw where it is a scalar."""
    ctx = Context(session, home, "example", training=True)
    returned = run_block(ctx, item.body)
    if returned is None:
        raise LeeError(structure.no_return(item.name.span, item.name.id))
    values = tuple(leaves_of(returned.value))
    results = [Result(f"value_{i}" if i else "value", (v,)) for i, v in enumerate(values)]
    if len(values) == 1 and values[0].type.rank == 0 and values[0].type.is_float:
        results += gradients(ctx, values[0], returned.span)
    parameters = (Parameter("key", (ctx.key,)),) if ctx.key else ()
    name = f"example.{item.name.id}"
    session.functions[name] = Function(
        name, parameters, tuple(ctx.builder.equations), tuple(results), (), ctx.facts, tuple(ctx.checks), item.doc or "", item.span,
    )  # fmt: skip
    session.examples[item.name.id] = name
    if ctx.requirements:
        session.requirements[item.name.id] = requirements(ctx, session.functions[name])
    return name


def requirements(ctx: Context, f: Function) -> Requirements:
    """The conditions that the example requires of its run, to be tested with it."""
    conditions = [ctx.builder.lift(v) if isinstance(v, bool) else v for v, _ in ctx.requirements]
    results = tuple(Result(f"holds_{i}", (v,)) for i, v in enumerate(conditions))
    asked = replace(f, name=f"{f.name}.requires", results=results, body=tuple(ctx.builder.equations), public=False)
    return Requirements(asked, tuple(span for _, span in ctx.requirements))


def gradients(ctx: Context, value: Value, span) -> list[Result]:
    """One result a model or float array that the value depends on."""
    results = []
    sources = {n: list(sources_of(ctx, v)) for n, v in ctx.names.items()}
    kept = {n: vs for n, vs in sources.items() if vs and reaches(ctx, value, {v for _, v in vs})}
    every = [v for vs in kept.values() for _, v in vs]
    if not every:
        return []
    with ctx.at(span):
        found = iter(ctx.rename_results(ctx.builder.grad(value, *every), [f"d_{v.name}" for v in every]))
    for name, pairs in kept.items():
        paths = tuple(p for p, _ in pairs)
        model = ctx.names[name].spec.name if isinstance(ctx.names[name], Instance) else None
        results.append(Result(f"d_{name}", tuple(next(found) for _ in pairs), model, paths if model else ()))
    return results


def sources_of(ctx: Context, value: object):
    """What verify differentiates by: parameters of models, and arrays drawn in the example."""
    if isinstance(value, Instance) and not value.is_vector:
        yield from ((p, v) for p, v in value.parameters() if v.type.is_float)  # a mask has none
    elif isinstance(value, Value) and value.type.is_float and not value.type.host and value in ctx.drawn:
        yield "", value
