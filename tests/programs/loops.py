"""Recurrences: over a size, a range, backwards, nested, broken off, with collected rows; and `while` in forward code."""

from __future__ import annotations

from programs import forms
from programs.entries import Entries
from programs.scope import Name, Scope, less


class Loops(Entries):
    """Loops with a carried value; `statement` says what else may stand inside."""

    def recurrence(self, s: Scope) -> None:
        carried, dims, n = self.fresh("s"), self.dims(s, 0, 2), self.pick(s.sizes)
        s.say(f"{carried} = {self.tensor(s, dims, 1)}")
        t, way = self.fresh("t"), self.pick((n, f"reversed({n})", f"1..{less(n, 1)}", "3"))
        s.say(f"for {t} in {way}:")
        inside = s.inner(Name(carried, dims))
        if way != "3":
            rows = [x for x in s.known() if x.dims[:1] == (n,)]
            inside.names += [Name(f"{x.text}[{t}]", x.dims[1:], x.dtype, x.below) for x in rows]
        broken = self.seldom(4)
        if broken:
            inside.say(f"if {self.condition(inside, (), 1)}:")
            inside.say("    break")
        self.body(inside)
        update = self.pick(forms.UPDATES).format(self.tensor(inside, dims, 2), carried)
        inside.say(f"{carried} = {update}")
        row = self.row(inside, t, n) if way in (n, f"reversed({n})") and not broken and self.often() else None
        s.lines += inside.lines
        s.add(Name(carried, dims))
        if row:
            s.add(row)

    def body(self, inside: Scope) -> None:
        for _ in range(self.choose(3)):
            deeper = self.recurrence if inside.indent < 3 else self.binding
            self.pick((self.binding, self.binding, self.entries, self.stored, deeper))(inside)

    def row(self, inside: Scope, t: str, n: str) -> Name:
        """What is collected in each round."""
        rows, dims = self.fresh("r"), self.dims(inside, 0, 1)
        inside.say(f"{rows}[{t}] = {self.tensor(inside, dims, 2)}")
        return Name(rows, (n, *dims))

    def unrolled(self, s: Scope) -> None:
        """A loop over a literal list, which is written out."""
        dims, carried, item = self.dims(s, 0, 2), self.fresh("s"), self.fresh("e")
        items = ", ".join(self.tensor(s, dims, 1) for _ in range(2 + self.choose(2)))
        s.say(f"{carried} = {self.tensor(s, dims, 1)}")
        s.say(f"for {item} in ({items}):")
        inside = s.inner(Name(item, dims), Name(carried, dims))
        update = self.pick(forms.UPDATES[:3]).format(f"({self.tensor(inside, dims, 1)} + {item})", carried)
        inside.say(f"{carried} = {update}")
        s.lines += inside.lines
        s.add(Name(carried, dims))

    def goes_on(self, s: Scope) -> None:
        """A `while`, of integers or of floats that nothing is differentiated through."""
        name, limit = self.fresh("q"), self.pick(("20", "7", "50"))
        if self.often():
            s.say(f"{name} = {self.pick(('1', '3'))} + abs({self.whole(s, (), 0)})")
            s.say(f"while {name} < {limit}:")
            s.say(
                f"    {name} = {self.pick(('2 * {0} + 1', '{0} * {0} + 2', 'where({0} % 2 == 0, 3 * {0}, {0} + 3)')).format(name)}"
            )
            s.add(Name(name, (), "int"))
            return
        s.say(f"{name} = abs(stop({self.tensor(s, (), 1)}))")
        s.say(f"while {name} < {limit}.3:")
        s.say(
            f"    {name} = {self.pick(('1.7 * {0} + 0.3', '{0} * {0} + 1', '{0} + 4.1 * sin({0}) ** 2 + 1')).format(name)}"
        )
        s.add(Name(f"log1p({name})", ()))
        s.read.add(name)
