"""A whole spec: every declaration is elaborated, by use first and then for all sizes, and assembled into a Module."""

from __future__ import annotations

from collections.abc import Mapping

from leec.diagnostics import LeeError, structure
from leec.elaborate import (  # noqa: F401  (all but the last enter primitives)
    builtins_linalg,
    builtins_places,
    builtins_random,
    builtins_shape,
    gradients,
    jacobians,
    specialise,
    tensor_literals,
)
from leec.elaborate.annotations import verify_annotations
from leec.elaborate.assemble import assemble
from leec.elaborate.builtins import enter_rows
from leec.elaborate.context import Context, NeedStructural, Restart, Session
from leec.elaborate.examples import elaborate_example
from leec.elaborate.generic import Unknown, generic_instance, stand_in, stand_ins
from leec.elaborate.modules import Library, SpecModule
from leec.elaborate.optimizers import optimizer_spec
from leec.elaborate.procedures import elaborate_procedure
from leec.elaborate.values import ClassValue, FunctionValue, MethodValue
from leec.ir.module import Module
from leec.syntax import nodes

enter_rows()


def elaborate_spec(
    library: Library, home: SpecModule, given: Mapping[str, Mapping[str, object]] = {}
) -> tuple[Module, list]:
    """The Module of a parsed spec with all diagnostics. With errors among them the Module is incomplete.

    `given` are values for arguments of its procedures that choose code, in place of their defaults.
    """
    home.verify_imports()
    structural: dict = {}
    learned: dict = {}
    while True:
        session = Session(library, structural=structural, learned=learned, given=given)
        try:
            public = elaborate_items(session, home)
        except Restart:
            continue
        every = {(d.code, d.span.source.path, d.span.start): d for d in (*library.diagnostics, *session.diagnostics)}
        return assemble(session, home, public), list(every.values())


def elaborate_items(session: Session, home: SpecModule) -> list[str]:
    """Every declaration, those that use others first; the names that a user may call."""
    order = (nodes.Constant, nodes.Example, nodes.Function, nodes.Model, nodes.Optimizer)
    public: list[str] = []
    for kind in order:
        for item in home.spec.items:
            if isinstance(item, kind):
                verify_annotations(session, home, item)
                attempt(session, home, item, public)
    return public


def attempt(session: Session, home: SpecModule, item: nodes.Item, public: list[str]) -> None:
    """One declaration; its mistakes are kept and the next goes on."""
    try:
        match item:
            case nodes.Constant():
                from leec.elaborate.scope import global_value

                global_value(Context(session, home, "constant"), item.name.id)
            case nodes.Example():
                elaborate_example(session, home, item)
            case nodes.Function(kind="train"):
                elaborate_procedure(session, home, item)
            case nodes.Function():
                generic_function(session, home, item, public)
            case nodes.Model():
                generic_model(session, home, item)
            case nodes.Optimizer():
                ctx = Context(session, home, "generic")
                models = {p.name.id: stand_in(ctx, p) for p in item.params if p.type is not None}
                optimizer_spec(session, ClassValue(item, home), models)
    except Unknown:
        pass
    except NeedStructural as need:
        session.report(LeeError(structure.not_built(need.span, "code that depends on a size which only a run knows")))
    except LeeError as error:
        session.report(error)


def generic_function(session: Session, home: SpecModule, item: nodes.Function, public: list[str]) -> None:
    ctx = Context(session, home, "generic", training=item.kind == "loss")
    full = stand_ins(ctx, item.params)
    target = FunctionValue(item, home)
    found = specialise.specialise(ctx, target, home, full, ctx.training, item.name.span)
    public.append(found.function.name)


def generic_model(session: Session, home: SpecModule, item: nodes.Model) -> None:
    """Every method for all sizes, in training and out of it where that matters."""
    ctx = Context(session, home, "generic")
    instance = generic_instance(ctx, ClassValue(item, home))
    for method in instance.spec.methods.values():
        for training in (True, False):
            inner = Context(session, home, "generic", training)
            inner.names["self"] = instance  # whose sizes the types of parameters may mention
            try:
                full = stand_ins(inner, method.params)
                specialise.specialise(inner, MethodValue(instance, method), home, full, training, method.name.span)
            except Unknown:
                break
