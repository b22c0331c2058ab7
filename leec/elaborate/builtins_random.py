"""Primitives that draw: all other distributions are made of these, in lee (`std/distributions.lee`)."""

from __future__ import annotations

from leec.diagnostics import LeeError, names
from leec.elaborate.context import Context
from leec.elaborate.primitives import Reader, builtin
from leec.ir.graph import Value


@builtin("standard_uniform")
def _uniform(ctx: Context, given) -> Value:
    """`standard_uniform(dims)`: numbers in [0, 1), all alike."""
    dims = dims_of(Reader(ctx, given, "standard_uniform", ("dims",)))
    key = ctx.draw_key("standard_uniform", given.span)
    with ctx.at(given.span):
        return ctx.builder.uniform(key, dims=dims)


@builtin("standard_normal")
def _normal(ctx: Context, given) -> Value:
    """`standard_normal(dims)`: normal numbers of mean 0 and variance 1."""
    dims = dims_of(Reader(ctx, given, "standard_normal", ("dims",)))
    key = ctx.draw_key("standard_normal", given.span)
    with ctx.at(given.span):
        return ctx.builder.normal(key, dims=dims)


@builtin("standard_integers")
def _integers(ctx: Context, given) -> Value:
    """`standard_integers(low, high, dims)`: integers in [low, high), all alike."""
    reader = Reader(ctx, given, "standard_integers", ("low", "high", "dims"))
    dims = dims_of(reader)
    key = ctx.draw_key("standard_integers", given.span)
    with ctx.at(given.span):
        return ctx.builder.randint(key, reader.get("low"), reader.get("high"), dims=dims)


def dims_of(reader: Reader) -> tuple:
    if not reader.has("dims"):
        raise LeeError(names.argument_count(reader.span, reader.name, "also needs `dims`"))
    return reader.dims("dims")
