"""Arrays of a procedure that `memory[slot] = s` changes in place: no other variable may be a view of one."""

from __future__ import annotations

from collections.abc import Sequence, Set

from leec.emit.arrays import makes_own
from leec.ir import host
from leec.ir.graph import Function, Value


def stored_into(statements: Sequence[host.Statement]) -> set[str]:
    """The variables that statements store into at a place, at any depth."""
    found: set[str] = set()
    for s in statements:
        found |= {s.target} if isinstance(s, host.Put) else set()
        for inner in ("test", "body", "then", "otherwise"):
            found |= stored_into(getattr(s, inner, ()))
    return found


def to_copy(f: Function, s: host.Compute, stored: Set[str]) -> list[str]:
    """The targets of a call that would share memory with what is stored into."""
    values = [v for r in f.results for v in r.values]
    given = {v: e for p, e in zip((p for p in f.parameters if p.name != "key"), s.arguments) for v in p.values}
    found = []
    for i, (target, value) in enumerate(zip(s.targets, values, strict=False)):
        if target is None or not value.type.rank:
            continue
        seen = views(f, value)
        shared = any(seen & views(f, other) for other in values[:i])
        sources = {e.name for v, e in given.items() if v in seen and isinstance(e, host.Ref)}
        if (target in stored and (shared or sources)) or sources & stored:
            found.append(target)
    return found


def views(f: Function, value: Value) -> set[Value]:
    """A value, and what it may be a view of."""
    found = {value}
    for e in reversed(f.body):
        if found.intersection(e.results) and not makes_own(e):
            found.update(e.args)
    return found
