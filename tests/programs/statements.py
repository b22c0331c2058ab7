"""Statements of a body: bindings, branches, draws, stores, positions, gradients, linear algebra."""

from __future__ import annotations

from programs import forms
from programs.loops import Loops
from programs.scope import Name, Scope


class Statements(Loops):
    """One statement more, which adds to what the scope knows."""

    def statement(self, s: Scope) -> None:
        kinds = [
            self.binding, self.entries, self.recurrence, self.decision, self.positions, self.scatter, self.stored,
            self.integers, self.branch, self.unrolled, self.algebra, self.gradient, self.entries, self.recurrence,
        ]  # fmt: skip
        if "float" in s.root.asks:
            kinds += [self.drawn, self.scored, self.goes_on]
        if not self.narrow:
            kinds += [self.window]
        self.pick(kinds)(s)

    def binding(self, s: Scope) -> None:
        name, dims = self.fresh(), self.dims(s)
        s.say(f"{name} = {self.tensor(s, dims, 3)}")
        s.add(Name(name, dims))

    def decision(self, s: Scope) -> None:
        name, dims = self.fresh("c"), self.dims(s)
        s.say(f"{name} = {self.condition(s, dims, 1)}")
        s.add(Name(name, dims, "bool"))

    def positions(self, s: Scope) -> None:
        name, dims, below = self.fresh("a"), self.dims(s, 1, 2), self.pick(s.sizes)
        s.say(f"{name} = {self.places(s, dims, below)}")
        s.add(Name(name, dims, "int", below))

    def integers(self, s: Scope) -> None:
        name, dims = self.fresh("q"), self.dims(s)
        s.say(f"{name} = {self.whole(s, dims, 2)}")
        s.add(Name(name, dims, "int"))

    def stored(self, s: Scope) -> None:
        """A value of which a part is written anew."""
        dims, name = self.dims(s, 1, 2), self.fresh()
        s.say(f"{name} = {self.tensor(s, dims, 1)}")
        place = self.pick(("0", "-1", ":1", "a"))
        if place == "a":
            place = self.places(s, (), dims[0])
        rest = dims[1:] if place != ":1" else ()
        where = ", ".join((place, *(":" for _ in dims[1:])))
        s.say(f"{name}[{where}] {self.pick(('=', '+='))} {self.tensor(s, rest, 1)}")
        s.add(Name(name, dims))

    def branch(self, s: Scope) -> None:
        """`if` on a number of the run."""
        name, dims = self.fresh(), self.dims(s)
        s.say(f"{name} = {self.tensor(s, dims, 1)}")
        s.say(f"if {self.condition(s, (), 1)}:")
        taken = s.inner(Name(name, dims))
        taken.say(f"{name} = {self.pick(forms.UPDATES).format(self.tensor(taken, dims, 1), name)}")
        s.lines += taken.lines
        if self.often():
            s.say("else:")
            s.say(f"    {name} = {self.pick(forms.SMOOTH).format(name)}")
        s.add(Name(name, dims))

    def drawn(self, s: Scope) -> None:
        """A draw that depends on what was computed."""
        name, dims = self.fresh("z"), self.dims(s, 1, 2)
        if self.seldom(4):
            size = self.pick(s.sizes)
            s.say(f"{name}: int[{', '.join(dims)}] ~ categorical({self.tensor(s, (*dims, size), 1)})")
            s.add(Name(name, dims, "int", size))
        elif self.seldom(5):
            s.say(f"{name}: bool[{', '.join(dims)}] ~ bernoulli(sigmoid({self.tensor(s, dims, 1)}))")
            s.add(Name(name, dims, "bool"))
        else:
            family = self.pick(forms.DRAWN).format(self.tensor(s, dims, 1), self.tensor(s, dims, 1))
            s.say(f"{name}: [{', '.join(dims)}] ~ {family}")
            s.add(Name(name, dims))

    def scored(self, s: Scope) -> None:
        """A distribution as a value."""
        p, name, dims = self.fresh("p"), self.fresh(), self.dims(s, 1, 2)
        s.say(f"{p} = {self.pick(forms.DRAWN[:4:2]).format(self.tensor(s, dims, 1), self.tensor(s, dims, 1))}")
        how = ("log_prob({0}, {1})", "({1} + entropy({0}))", "log_prob({0}, {1}) * {1}", "kl({0}, normal({1}, 1.3))")
        how = self.pick(how[: 3 if "laplace" in s.lines[-1] else 4])
        s.say(f"{name} = {how.format(p, self.source(s, dims))}")
        s.add(Name(name, dims))

    def gradient(self, s: Scope) -> None:
        """The gradient of a number by a value; what comes after may be differentiated once more."""
        floats = [n for n in s.names if n.dtype == "float" and n.text.isidentifier()]
        if not floats:
            return self.binding(s)
        v, name = self.pick(floats), self.fresh("g")
        inside = Scope(s.sizes, names=[v], lines=s.lines, read=s.read, indent=s.indent)
        own = self.pick(forms.TOTALS).format(f"({self.tensor(inside, v.dims, 2)})")
        also = self.pick(forms.TOTALS).format(v.text)
        s.say(f"{name} = grad({own} + {also} * {self.tensor(s, (), 1)}, {v.text})")
        s.use(v)
        s.add(Name(name, v.dims))

    def algebra(self, s: Scope) -> None:
        """Linear algebra of a matrix that is positive definite."""
        n, k, a = self.pick(s.sizes), self.pick(s.sizes), self.fresh("m")
        x, name = self.source(s, (k, n)), self.fresh()
        s.say(f"{a} = 0.3 * {x}.T @ {x} + 0.7 * eye({n})")
        dims, form = self.pick((((n, n), forms.OF_MATRIX), ((n,), forms.OF_VECTOR), ((), forms.OF_NUMBER)))
        s.say(f"{name} = {self.pick(form).format(a, self.tensor(s, (n,), 1) if len(dims) == 1 else '')}")
        s.read.add(a)
        s.add(Name(name, dims))
