"""What a composite has from its body alone: a gradient, for rows that give none of their own (decision 20)."""

from __future__ import annotations

from collections.abc import Callable

from leec.ops.table import TABLE


def cotangents(b, build: Callable, args: tuple, g) -> tuple:
    """Those of the arguments of `build(b, *args)`, for that of its one result; None where no gradient passes.

    The equations are made apart and only those that the answer reads are written with `b`, forward ones too.
    """
    from leec.ir.build import Builder  # here, as it imports the table

    apart = Builder()
    out = build(apart, *args)
    parts = {out: g}
    for equation in reversed(list(apart.equations)):
        row = TABLE[equation.op]
        if equation.result in parts and row.vjp:
            found = row.vjp(apart, parts[equation.result], equation.result, *equation.args, **equation.params)
            for arg, part in zip(equation.args, found, strict=True):
                if part is not None:
                    parts[arg] = apart.add(parts[arg], part) if arg in parts else part
    return _written(b, apart.equations, tuple(parts.get(x) for x in args))


def _written(b, equations: list, values: tuple) -> tuple:
    """Some values of another builder, their equations written with this one."""
    needed = {v for v in values if v is not None}
    for equation in reversed(equations):
        if not needed.isdisjoint(equation.results):
            needed.update(equation.args)
    here: dict = {}
    for equation in equations:
        if not needed.isdisjoint(equation.results):
            args = (here.get(a, a) for a in equation.args)
            here[equation.result] = getattr(b, equation.op)(*args, **equation.params)
    return tuple(here.get(v, v) for v in values)


def body_gradient(build: Callable) -> Callable:
    """The gradient rule of a row whose body is `build`."""
    return lambda b, g, out, *args, **params: cotangents(b, lambda b, *xs: build(b, *xs, **params), args, g)
