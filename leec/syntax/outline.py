"""The declarations of a text without mistakes, each parsed when it is first asked for.

A spec uses a few lines of a library of thousands, so the library is read so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise

from lark.utils import TextSlice

from leec.diagnostics import Source
from leec.syntax import nodes
from leec.syntax.build import build
from leec.syntax.grammar import parse_tree

DOCSTRING = re.compile(r'\s*""".*?"""', re.DOTALL)
MARGIN = re.compile(r"^[^\W\d]", re.MULTILINE)  # a declaration begins at the left margin, and nothing else does
IMPORT = re.compile(r"from[ \t]")
KINDS = r"def|loss|metric|model|optimizer|distribution|train|example|data|env"
NAMED = re.compile(rf"(?:(?:{KINDS})[ \t]+(?=[^\W\d]))?(\w+)")


class Outline(Mapping[str, nodes.Item]):
    """Declarations by name. Raises what the parser raises where one has a mistake."""

    def __init__(self, source: Source):
        self.source, self.text = source, source.text + "\n"
        docstring = DOCSTRING.match(self.text)
        starts = [m.start() for m in MARGIN.finditer(self.text, docstring.end() if docstring else 0)]
        self.stretches: dict[str, tuple[int, int]] = {}
        self.import_stretches: list[tuple[int, int]] = []
        self.parsed: dict[str, nodes.Item] = {}
        for start, end in pairwise([*starts, len(self.text)]):
            if IMPORT.match(self.text, start):
                self.import_stretches.append((start, end))
            elif named := NAMED.match(self.text, start):
                self.stretches[named[1]] = start, end

    def __getitem__(self, name: str) -> nodes.Item:
        if name not in self.parsed:
            self.parsed[name] = self.item(*self.stretches[name])
        return self.parsed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.stretches)

    def __len__(self) -> int:
        return len(self.stretches)

    def __contains__(self, name: object) -> bool:
        return name in self.stretches

    @cached_property
    def imports(self) -> tuple[nodes.Import, ...]:
        found = (self.item(*stretch) for stretch in self.import_stretches)
        return tuple(item for item in found if isinstance(item, nodes.Import))

    def item(self, start: int, end: int) -> nodes.Item:
        (_, items), _ = build(parse_tree(TextSlice(self.text, start, end)), self.source)
        return items[0]
