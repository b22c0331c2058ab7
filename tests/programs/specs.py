"""Whole specs: a few items and an `example` that reads all of them and returns a number."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from programs import forms
from programs.blocks import Blocks
from programs.scope import Name, Scope

DATA = {"float": "normal(0, 1)", "int": "randint(0, {0})", "bool": "bernoulli(0.4)"}


class Specs(Blocks):
    """`spec` makes the text of one spec."""

    def spec(self) -> str:
        for _ in range(self.choose(4)):
            self.pick((self.function, self.function, self.model, self.nested, self.pack, self.untyped))()
        self.example()
        return "\n\n\n".join(self.items) + "\n"

    def example(self) -> None:
        sizes = tuple(dict.fromkeys(self.pick(("3", "2", "4", "5", "1" if self.narrow else "6")) for _ in range(3)))
        s = Scope(sizes, asks=("float", "int", "bool"), bound=sizes)
        self.supply(s, self.dims(s, 1, 2))
        for _ in range(1 + self.choose(4)):
            self.statement(s)
        for callee in self.callees:
            if "\n".join((*self.items, *s.lines)).count(f"{callee.name}(") < 2:
                self.call(s, callee)
        total = self.total(s)
        draws = [f"    {n.text}: {n.type} ~ {DATA[n.dtype].format(n.below)}" for n in s.given]
        self.item("example made:", *draws, *s.lines, f"    return {total}")

    def total(self, s: Scope) -> str:
        """A number of all that nothing has read."""
        return " + ".join(self.number(n) for n in s.unread()) or self.tensor(s, (), 2)

    def number(self, n: Name) -> str:
        if n.dtype != "float":
            inner = n.text if n.dtype == "int" else f"float({n.text})"
            return f"0.1 * {'mean' if n.dims else 'float'}({inner})"
        form = forms.TOTALS if n.dims else ("sin({0})", "{0} ** 2", "{0}")
        return self.pick(form).format(n.text)


def made(choose: Callable[[int], int]) -> str:
    return Specs(choose).spec()


@st.composite
def specs(draw) -> str:
    """Specs as hypothesis draws and shrinks them."""
    return made(lambda n: draw(st.integers(0, n - 1)) if n > 1 else 0)
