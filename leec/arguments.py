"""The arguments of a `train` as a caller gives them: names, usual values and kinds, checked before anything runs.

Numbers are passed to the compiled procedure; what chooses code (bools, texts, tuples) asks for another compilation.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, Signature
from numbers import Integral, Real
from typing import Any

from leec.dims import Dim
from leec.ir.host import Accept, Bundle, Literal, Operation, Procedure
from leec.runtime import faults

GIVEN = Parameter.empty  # in the place of a usual value: the caller has to give one


def signature(procedure: Procedure) -> Signature:
    """What a procedure takes, with usual values as Python writes them."""
    usual = usual_values(procedure)
    return Signature([Parameter(n, Parameter.KEYWORD_ONLY, default=value) for n, value in usual.items()])


def usual_values(procedure: Procedure) -> dict[str, Any]:
    """Every argument with its default; GIVEN for what has none."""
    numbers = {n: GIVEN if default is None else plain(default) for n, default in procedure.parameters}
    return {**numbers, **procedure.structural}


def plain(expression: object) -> Any:
    """The value of a default: literals, their negatives, tuples of them."""
    match expression:
        case Literal(value=Dim() as dim):
            return dim.constant
        case Literal(value=value):
            return value
        case Operation(op="-", args=(Literal(value=value),)):
            return -value
        case Bundle(items=items):
            return tuple(map(plain, items))
    return expression


def data_parameters(procedure: Procedure) -> list[str]:
    """The parameters that are data: those whose fields are held against a declaration."""
    return [s.target for s in procedure.body if isinstance(s, Accept)]


def fitted(procedure: Procedure, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, each of the kind of its usual value. Raises LEE712 for a name or a value that does not fit."""
    usual = usual_values(procedure)
    for name in arguments:
        if name not in usual:
            raise faults.unknown_argument(procedure.name, name, usual)
    if lost := [n for n, value in usual.items() if value is GIVEN and n not in arguments]:
        is_data = lost[0] in data_parameters(procedure)
        raise faults.missing_argument(procedure.name, lost[0], is_data)
    return {n: fitting(procedure.name, n, usual[n], value) for n, value in arguments.items()}


def fitting(procedure: str, name: str, usual: Any, value: Any) -> Any:
    """A value as the kind of a usual one. Raises LEE712."""
    if usual is GIVEN or usual is None:
        return value
    for kind, words, accepted in KINDS:
        if isinstance(usual, kind):
            if not accepted(value):
                raise faults.wrong_argument(procedure, name, words, value)
            break
    if isinstance(usual, tuple):
        like = usual[0] if usual else None
        return tuple(fitting(procedure, name, like, item) for item in value)
    return type(usual)(value)


def is_whole(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and value == value // 1


KINDS = (  # of usual values, the first that fits: what is said, and what is accepted
    (bool, "true or false", lambda v: isinstance(v, bool) or type(v).__name__ == "bool_"),
    (Integral, "a whole number", is_whole),
    (Real, "a number", lambda v: isinstance(v, Real) and not isinstance(v, bool)),
    (str, "a text", lambda v: isinstance(v, str)),
    (tuple, "a tuple", lambda v: isinstance(v, tuple | list)),
)


def divided(procedure: Procedure, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the compiled procedure takes, and what asks for another compilation."""
    compiled = procedure.structural
    passed = {n: v for n, v in arguments.items() if n not in compiled}
    other = {
        n: v for n, v in arguments.items() if n in compiled and (v != compiled[n] or type(v) is not type(compiled[n]))
    }
    return passed, other
