"""Names of the spec as Python identifiers: one renaming a scope, never two names to one identifier (decision 24).

Greek letters and accents stay, keywords and names that the module needs get an underscore, paths lose their dots.
"""

from __future__ import annotations

import builtins
import keyword
import unicodedata
from collections.abc import Iterable

BUILTINS = {name for name in vars(builtins) if not name.startswith("_")}
LIBRARIES = {"np", "torch", "math", "self", "FLOAT", "DEVICE", "annotations"}


class Names:
    """An injective renaming. What is reserved is taken from the start."""

    def __init__(self, reserved: Iterable[str] = ()):
        self.taken = {*reserved, *LIBRARIES, *keyword.kwlist, *keyword.softkwlist}
        self.given: dict[object, str] = {}

    def of(self, key: object, wanted: str) -> str:
        """The identifier that belongs to a key, made from the wanted name when it is first asked for."""
        if key not in self.given:
            self.given[key] = self.fresh(wanted)
        return self.given[key]

    def fresh(self, wanted: str) -> str:
        """An identifier that nothing else has: the wanted one, with an underscore or a number where it is taken."""
        base = identifier(wanted)
        name = base if base not in self.taken else f"{base}_"
        number = 2
        while name in self.taken:
            name, number = f"{base}_{number}", number + 1
        self.taken.add(name)
        return name


def identifier(name: str) -> str:
    """The nearest Python identifier, not yet unique."""
    text = "".join(c if c.isalnum() or c == "_" or unicodedata.combining(c) else "_" for c in name)
    text = unicodedata.normalize("NFKC", text)
    return text if text.isidentifier() else f"_{text}" if f"_{text}".isidentifier() else "value"
