"""Distributions as values, and drawing from them through counter keys (R24, R26, decision 21)."""

from __future__ import annotations

from leec.diagnostics import LeeError, Span, structure
from leec.dims import Dim
from leec.elaborate import arithmetic
from leec.elaborate.context import Context
from leec.elaborate.values import Distribution
from leec.ir.graph import Value
from leec.types import TensorType

PARAMETERS = {"normal": ("mean", "scale"), "uniform": ("low", "high"), "randint": ("low", "high"), "bernoulli": ("p",)}


def sample(ctx: Context, prior: Distribution, type_: TensorType, span: Span) -> Value:
    """A tensor of the declared type drawn from the distribution; each draw has a key of its own."""
    key = ctx.draw_key(prior.family, span)
    with ctx.at(span):
        return _SAMPLE[prior.family](ctx, key, prior.parameters, type_, span)


def _scaled(ctx: Context, base: Value, scale: object, shift: object, span: Span) -> Value:
    spans = (span, span)
    scaled = base if _is(scale, 1) else arithmetic.binary(ctx, "*", base, scale, span, spans)
    return scaled if _is(shift, 0) else arithmetic.binary(ctx, "+", shift, scaled, span, spans)


def _is(value: object, number: int) -> bool:
    return isinstance(value, (float, Dim)) and value == number


def _normal(ctx: Context, key: Value, parameters, type_: TensorType, span: Span) -> Value:
    return _scaled(ctx, ctx.builder.normal(key, dims=type_.dims), parameters["scale"], parameters["mean"], span)


def _uniform(ctx: Context, key: Value, parameters, type_: TensorType, span: Span) -> Value:
    width = arithmetic.binary(ctx, "-", parameters["high"], parameters["low"], span, (span, span))
    return _scaled(ctx, ctx.builder.uniform(key, dims=type_.dims), width, parameters["low"], span)


def _randint(ctx: Context, key: Value, parameters, type_: TensorType, span: Span) -> Value:
    if type_.dtype != "int":
        raise LeeError(structure.wrong_kind(span, "a distribution over integers", "an `int[..]` on the left"))
    return ctx.builder.randint(key, parameters["low"], parameters["high"], dims=type_.dims)


def _bernoulli(ctx: Context, key: Value, parameters, type_: TensorType, span: Span) -> Value:
    below = arithmetic.binary(ctx, "<", ctx.builder.uniform(key, dims=type_.dims), parameters["p"], span, (span, span))
    return below if type_.dtype == "bool" else ctx.builder.cast(below, dtype=type_.dtype)


_SAMPLE = {"normal": _normal, "uniform": _uniform, "randint": _randint, "bernoulli": _bernoulli}
