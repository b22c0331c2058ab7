"""Contractions for tests: a program of one, its arguments, and its result entry by entry."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from leec.ir.graph import Program
from leec.ir.text import parse_program
from leec.ir.verify import verify_program
from leec.ops.contract import Contraction

SIZES = {"n": 3, "c": 2, "h": 9, "w": 8, "o": 4, "k": 3, "s": 2, "q": 2}


def program_of(spec: Contraction, dims: str, dtype: str = "float") -> Program:
    """A function f of operands x0, x1, .. and all sizes, with the contraction as its result y."""
    operands = [f"x{i}: {dtype}[{d if d != '-' else ''}]" for i, d in enumerate(dims.split())]
    head = ", ".join((*operands, *(f"{s}: static" for s in SIZES)))
    args = ", ".join(f"x{i}" for i in range(len(operands)))
    type_ = f"{dtype}[{', '.join(map(str, spec.dims))}]"
    program = parse_program(f"fn f({head}) {{ y: {type_} = contract({args}, spec={{{str(spec).rstrip()}}}) return y }}")
    verify_program(program)
    return program


def arguments_of(program: Program, dtype: str = "float") -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [tuple(d.evaluate(SIZES) for d in v.type.dims) for v in program.functions["f"].inputs]
    return [rng.integers(-3, 4, s) if dtype == "int" else rng.standard_normal(s) for s in shapes]


def by_definition(spec: Contraction, xs: list[np.ndarray], sizes: Mapping[str, int] = SIZES) -> np.ndarray:
    """The contraction entry by entry."""
    found = np.zeros([d.evaluate(sizes) for d in spec.dims])
    names, ranges = [n for n, _ in spec.ranges], [range(d.evaluate(sizes)) for _, d in spec.ranges]
    for position in itertools.product(*ranges):
        at = {**sizes, **dict(zip(names, position, strict=True))}
        entries = [x[tuple(d.evaluate(at) for d in s)] for x, s in zip(xs, spec.operands, strict=True)]
        found[tuple(d.evaluate(at) for d in spec.result)] += np.prod(entries)
    return found
