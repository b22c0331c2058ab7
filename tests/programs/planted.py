"""Bugs of a compiler, planted one at a time: wrong columns and gradients of ops, passes that do too much, emitters that mix things up.

A plant is a function of pytest's MonkeyPatch. What elaboration makes of a text is the meaning of all programs, so that
no comparison of programs finds a mistake there; gradients against finite differences and types of results do.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

import pytest

from leec.emit import operations
from leec.emit.arrays import Arrays
from leec.emit.loops import LoopWriter
from leec.emit.statements import Body
from leec.ops import TABLE
from leec.passes.differentiate.adjoint import Sweep
from leec.passes.sameness import identity
from programs.examined import examine
from programs.specs import made

Plant = Callable[[pytest.MonkeyPatch], None]


def row(name: str, **changed: object) -> Plant:
    """A row of the op table with other columns or facts."""
    return lambda patch: patch.setitem(TABLE, name, replace(TABLE[name], **changed))


def method(place: type, name: str, changed: Callable) -> Plant:
    """A method that is given the one that was there."""
    before = getattr(place, name)
    return lambda patch: patch.setattr(place, name, lambda *args, **options: changed(before, *args, **options))


def gradient(name: str, change: Callable) -> Plant:
    """The cotangents of an op's arguments, changed."""
    rule = TABLE[name].vjp
    return row(name, vjp=lambda b, g, out, *args, **params: change(b, rule(b, g, out, *args, **params)))


def doubled(name: str) -> Plant:
    def change(b, found):
        first, *rest = found
        return (None if first is None else b.mul(first, 2.0), *rest)

    return gradient(name, change)


def negated(name: str, place: int) -> Plant:
    def change(b, found):
        return tuple(b.neg(x) if i == place and x is not None else x for i, x in enumerate(found))

    return gradient(name, change)


def without_params(patch: pytest.MonkeyPatch) -> None:
    """Two operations of the same arguments are one, whatever their params."""
    keep = ("const", "size", "fill", "iota", "call", "scan", "fold_key", "cast", "broadcast", "reshape")
    blind = lambda e: identity(e) if e.op in keep else identity(e)[:2]  # noqa: E731
    for module in ("leec.passes.rewrite", "leec.passes.cse"):
        patch.setattr(import_module(module), "identity", blind)


def last_alone(before: Callable, self: Sweep, value: object, part: object) -> None:
    self.parts.pop(value, None)
    before(self, value, part)


def too_early(before: Callable, self: Arrays, args: object, trees: object) -> None:
    """An array counts as free one reader before its last."""
    before(self, args, trees)
    self.free += [s for s in self.slots if self.waiting[s] == 1 and s not in self.free and s not in self.mentions]


PLANTS: dict[str, Plant] = {
    "tanh in NumPy is off by a millionth": row("tanh", numpy="np.tanh(x) * (1 + 1e-6)"),
    "the logistic function in torch is off": row("sigmoid", torch="torch.sigmoid(x) + 1e-7", torch_step=None),
    "minimum in NumPy is maximum": row("minimum", numpy="np.maximum(x, y)"),
    "floor in torch truncates": row("floor", torch="torch.trunc(x)"),
    "exp in NumPy is rounded to float32": row("exp", numpy="np.exp(x).astype(np.float32).astype(x.dtype)"),
    "a difference in NumPy has its operands exchanged": row("sub", numpy="y - x"),
    "the gradient of a product by the wrong factor": gradient("mul", lambda b, found: found[::-1]),
    "the gradient of a divisor has the wrong sign": negated("div", 1),
    "the gradient of sin is doubled": doubled("sin"),
    "the gradient of atan2 by x has the wrong sign": negated("atan2", 1),
    "the gradient of a contraction is doubled": doubled("contract"),
    "the gradient of gather is doubled": doubled("gather"),
    "the gradient of cumsum is doubled": doubled("cumsum"),
    "the gradient of sort is doubled": doubled("sort"),
    "the gradient of logsumexp is doubled": doubled("logsumexp"),
    "the gradient of a choice goes to the other branch": gradient("select", lambda b, x: (x[0], x[2], x[1])),
    "a gradient flows through stop": row("stop", vjp=lambda b, g, out, x: (g,)),
    "a graft has the derivative of its value": row("graft", vjp=lambda b, g, out, x, y: (g, None)),
    "equal operations of other params are one": without_params,
    "subtraction commutes": row("sub", commutative=True),
    "a value that is read twice gets its last cotangent alone": method(Sweep, "give", last_alone),
    "loops in reverse run forwards in files": method(
        LoopWriter, "range", lambda before, self: before(self).replace("reversed(", "(")
    ),
    "new states are not stored": method(
        Body, "store", lambda before, self, target, tree, *rest: before(self, target, target, *rest)
    ),
    "a difference is written over its second operand": lambda patch: patch.setattr(
        operations, "SYMMETRIC", (*operations.SYMMETRIC, "np.subtract")
    ),
    "an array is written over before its last reader": method(Arrays, "begin", too_early),
}


def is_found(plant: Plant, specs: int) -> bool:
    """Whether one of the first so many specs says that something is wrong."""
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        for number in range(specs):
            try:
                if examine(made(random.Random(number).randrange)):
                    return True
            except Exception:
                return True
    return False
