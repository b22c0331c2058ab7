"""What a program knows at a line: names by dims and type, the lines so far, the data that it may still ask for.

Data are supplied on demand: an example draws one more array, a def gets one more parameter, a model one more `param`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

T = TypeVar("T")
Dims = tuple[str, ...]
MOST_GIVEN = 5  # data of a scope, so that what is computed outweighs what is given


@dataclass(frozen=True)
class Name:
    """An expression with its dims and dtype; of positions also the size that they stay below."""

    text: str
    dims: Dims
    dtype: str = "float"
    below: str = ""

    @property
    def type(self) -> str:
        return f"{'' if self.dtype == 'float' else self.dtype}[{', '.join(self.dims)}]"


@dataclass
class Scope:
    """The inside of an example, a def, a method or a loop; `outer` is what surrounds a loop.

    `asks` are the dtypes that more data may have, `bound` the sizes that they may have; none where nothing is given.
    """

    sizes: Dims
    asks: Dims = ()
    bound: Dims = ()
    outer: Scope | None = None
    names: list[Name] = field(default_factory=list)
    given: list[Name] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    indent: int = 1
    differentiable: bool = True

    def inner(self, *names: Name) -> Scope:
        return Scope(self.sizes, outer=self, names=list(names), read=self.read, indent=self.indent + 1)

    @property
    def root(self) -> Scope:
        return self.outer.root if self.outer else self

    def known(self) -> Iterator[Name]:
        if self.outer:
            yield from self.outer.known()
        yield from self.names

    def floats(self) -> list[Name]:
        return [n for n in self.known() if n.dtype == "float"]

    def of(self, dims: Dims, dtype: str = "float") -> list[Name]:
        return [n for n in self.known() if n.dims == dims and n.dtype == dtype]

    def say(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    def add(self, name: Name) -> Name:
        self.names.append(name)
        return name

    def use(self, name: Name) -> str:
        self.read.add(name.text.partition("[")[0])
        return name.text

    def unread(self) -> list[Name]:
        return [n for n in self.names if n.text not in self.read and n.text.isidentifier()]

    def has_room(self, dims: Dims, dtype: str = "float") -> bool:
        """Whether one more array of these dims can be given."""
        root = self.root
        return dtype in root.asks and set(dims) <= {*root.bound} and len(root.given) < MOST_GIVEN


class Choices:
    """All choices are made here. `choose(n)` gives a number below n, the simplest being 0."""

    def __init__(self, choose: Callable[[int], int]):
        self.choose = choose
        self.ids = count(1)
        self.narrow = self.seldom(4)  # whether sizes may be 1, where no window fits

    def pick(self, options: Sequence[T]) -> T:
        return options[self.choose(len(options))]

    def often(self, of: int = 2) -> bool:
        return self.choose(of) != 0

    def seldom(self, of: int = 4) -> bool:
        return self.choose(of) == of - 1

    def fresh(self, stem: str = "v") -> str:
        return f"{stem}{next(self.ids)}"

    def dims(self, s: Scope, least: int = 0, most: int = 2) -> Dims:
        ranks = [r for r in (1, 2, 1, 2, 0, 3) if least <= r <= most]
        return tuple(self.pick(s.sizes) for _ in range(self.pick(ranks)))

    def supply(self, s: Scope, dims: Dims, dtype: str = "float", below: str = "") -> Name:
        """One more array for the outermost scope."""
        root = s.root
        name = Name(self.fresh({"float": "x", "int": "a", "bool": "c"}[dtype]), dims, dtype, below)
        root.given.append(name)
        return root.add(name)


def less(size: str, by: int) -> str:
    return str(int(size) - by) if size.isdigit() else f"{size} - {by}"


def half(size: str) -> str:
    return str(int(size) // 2) if size.isdigit() else f"{size} // 2"


def filled(dims: Dims, value: str = "zeros") -> str:
    return f"{value}([{', '.join(dims)}])"
