"""Records declared by their annotations, as dataclasses are: never changed, compared by value.

A frozen dataclass writes and compiles six methods for every class, half a millisecond of each start of the compiler.
Here all classes share them, so that the hundred kinds of nodes of both languages cost nothing to declare.
"""

from __future__ import annotations

from inspect import get_annotations
from typing import Any, NoReturn, dataclass_transform


@dataclass_transform(frozen_default=True)
class Immutable:
    """Subclasses add fields; those of a class with `kw_only` are given by name. Values of the class are defaults."""

    __match_args__: tuple[str, ...] = ()
    _fields: tuple[str, ...] = ()  # in order; those that are given by name only are last
    _known: frozenset[str] = frozenset()

    def __init_subclass__(cls, kw_only: bool = False) -> None:
        own = tuple(get_annotations(cls))
        named = cls._fields[len(cls.__match_args__) :]
        cls.__match_args__ = cls.__match_args__ + (() if kw_only else own)  # type: ignore[misc]
        cls._fields = cls.__match_args__ + named + (own if kw_only else ())
        cls._known = frozenset(cls._fields)

    def __init__(self, *values: Any, **named: Any) -> None:
        given = dict(zip(self.__match_args__, values), **named)  # counted below
        if len(given) != len(values) + len(named) or given.keys() != self._known:
            given = self._completed(given, len(values) + len(named))
        self.__dict__.update(given)

    @classmethod
    def _completed(cls, given: dict[str, Any], count: int) -> dict[str, Any]:
        """With defaults. Raises TypeError where a field has no value, two, or a name that is none."""
        wrong = [name for name in cls._fields if name not in given and not hasattr(cls, name)]
        if len(given) != count or wrong or given.keys() - cls._known:
            raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}, not {count} values {list(given)}")
        return {name: given[name] if name in given else getattr(cls, name) for name in cls._fields}

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is never changed: its {name} neither")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is never changed: its {name} neither")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *map(self.__dict__.__getitem__, self._fields)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"
