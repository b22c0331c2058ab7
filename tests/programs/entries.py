"""Definitions by entries: reductions by index, guards, gathers, windows, scatters."""

from __future__ import annotations

from programs import forms
from programs.scope import Dims, Name, Scope, half, less
from programs.tensors import Tensors

Indices = dict[str, str]  # the size that each index runs below


class Entries(Tensors):
    """Statements `y[i in n] = ..` and what stands at their right."""

    def entries(self, s: Scope) -> None:
        name, dims = self.fresh("y"), self.dims(s, 1, 3)
        indices = {self.fresh("i"): d for d in dims}
        body = self.entry(s, indices, 3)
        shown = ", ".join(f"{i} in {d}" for i, d in indices.items())
        s.say(f"{name}[{shown}] = {body}")
        s.add(Name(name, dims))

    def entry(self, s: Scope, indices: Indices, depth: int) -> str:
        if depth <= 0:
            return self.leaf(s, indices, depth)
        ways = (self.leaf, self.two, self.one, self.index_reduction, self.index_reduction, self.guarded, self.by_index)
        return self.pick(ways)(s, indices, depth)

    def leaf(self, s: Scope, indices: Indices, depth: int) -> str:
        """An entry of a known array, or of one more."""
        known = [n for n in s.floats() if not n.dims or set(n.dims) & set(indices.values())] or s.floats()
        dims = tuple(self.pick(list(indices.values())) for _ in range(1 + self.choose(2)))
        if (not known or self.seldom(6)) and s.has_room(dims):
            known = [self.supply(s, dims)]
        if not known:
            return self.pick(("0.7", "1.3"))
        return self.at(s, known[-1 - self.choose(len(known))], indices, depth)

    def at(self, s: Scope, n: Name, indices: Indices, depth: int, first: str = "") -> str:
        places = [first] * bool(first) + [self.subscript(s, indices, d, depth) for d in n.dims[bool(first) :]]
        return f"{s.use(n)}[{', '.join(places)}]" if places else s.use(n)

    def subscript(self, s: Scope, indices: Indices, d: str, depth: int) -> str:
        same = [i for i, size in indices.items() if size == d]
        places = [n for n in s.known() if n.dtype == "int" and n.below == d] if depth > -2 else []
        found = self.pick([*same, *same, *same, *(f"{d} - 1 - {i}" for i in same), *places, *places, "0"])
        return self.at(s, found, indices, depth - 1) if isinstance(found, Name) else found

    def two(self, s: Scope, indices: Indices, depth: int) -> str:
        form = self.pick((*forms.JOINED, "({0} * {1})", "({0} * {1})"))
        return form.format(self.entry(s, indices, depth - 1), self.entry(s, indices, depth - 1))

    def one(self, s: Scope, indices: Indices, depth: int) -> str:
        form = self.pick(self.pick((forms.SMOOTH, forms.SMOOTH, forms.KINKED)))
        return form.format(self.entry(s, indices, depth - 1))

    def index_reduction(self, s: Scope, indices: Indices, depth: int) -> str:
        index, size, how = self.fresh("j"), self.pick(s.sizes), self.pick(forms.INDEX_REDUCTIONS)
        inside = {**indices, index: size}
        body = self.entry(s, inside, depth - 1)
        if self.seldom(5) and len(indices) == 1:
            (i,) = indices
            body = f"where({index} <= {i}, {body}, 0)"
        if self.often(3) and index not in body:
            body = f"{body} * {self.reading(s, index, inside)}"
        return f"{how}[{index} in {size}]({body})"

    def reading(self, s: Scope, index: str, indices: Indices) -> str:
        """An entry that depends on this index."""
        known = [n for n in s.floats() if n.dims[:1] == (indices[index],)]
        if known:
            return self.at(s, self.pick(known), indices, 0, index)
        if s.has_room((indices[index],)):
            return self.at(s, self.supply(s, (indices[index],)), indices, 0, index)
        return f"(0.2 * {index} + 0.3)"

    def guarded(self, s: Scope, indices: Indices, depth: int) -> str:
        """An entry that is outside the array where the guard is false."""
        known = [(n, i) for n in s.floats() for i, d in indices.items() if n.dims[:1] == (d,)]
        if not known:
            return self.leaf(s, indices, depth)
        n, i = self.pick(known)
        guards = ((f"{i} > 0", f"{i} - 1"), (f"{i} + 1 < {n.dims[0]}", f"{i} + 1"), (f"{i} >= 2", f"{i} - 2"))
        guard, place = self.pick(guards)
        taken = self.pick(("{0}", "{0} * {0}", "sin({0})")).format(self.at(s, n, indices, depth, place))
        return f"where({guard}, {taken}, {self.entry(s, indices, depth - 1)})"

    def by_index(self, s: Scope, indices: Indices, depth: int) -> str:
        i, j = self.pick(list(indices)), self.pick(list(indices))
        condition = self.pick((f"{i} > 0", f"{i} % 2 == 0", f"{i} == {j}", f"{i} <= {j}"))
        return f"where({condition}, {self.entry(s, indices, depth - 1)}, {self.entry(s, indices, depth - 1)})"

    # ---- windows and scatters

    def window(self, s: Scope) -> None:
        """Overlapping or apart, by a filter or by the largest; brought back to the size that it had."""
        n, y, z, i, u = self.pick(s.sizes), self.fresh("y"), self.fresh("y"), self.fresh("i"), self.fresh("u")
        dims = (n, *self.dims(s, 0, 1))
        x = self.source(s, dims)
        rest = [self.fresh("i") for _ in dims[1:]]
        heads, tails = [f"{r} in {d}" for r, d in zip(rest, dims[1:])], "".join(f", {r}" for r in rest)
        step, count = self.pick((("", less(n, 1)), ("2*", half(n))))
        how, weight = self.pick(("sum", "max", "mean")), self.pick(
            ("", f" * (0.5 + 0.3 * {u})", f" * sin({x}[0{', 0' * len(rest)}])")
        )
        s.say(f"{y}[{', '.join([f'{i} in {count}', *heads])}] = {how}[{u} in 2]({x}[{step}{i} + {u}{tails}]{weight})")
        place = f"{i} - 1" if not step else f"{i} // 2"
        inside = f"{i} > 0" if not step else f"{i} // 2 < {count}"
        s.say(
            f"{z}[{', '.join([f'{i} in {n}', *heads])}] = where({inside}, {y}[{place}{tails}], 0.5 * {x}[{i}{tails}])"
        )
        s.add(Name(z, dims))

    def scatter(self, s: Scope) -> None:
        name, below, over = self.fresh("u"), self.pick(s.sizes), self.pick(s.sizes)
        s.say(f"{name}: [{below}] = {self.pick(('0', '0.3'))}")
        places, index = self.places(s, (over,), below), self.fresh("i")
        if not places.isidentifier():
            at = self.fresh("a")
            s.say(f"{at} = {places}")
            places = at
        body = f"{self.source(s, (over,))}[{index}] * {self.entry(s, {index: over}, 1)}"
        s.say(f"{name}[{places}[{index}]] += {body}")
        s.add(Name(name, (below,)))

    def source(self, s: Scope, dims: Dims) -> str:
        """The name of an array of these dims."""
        known = s.of(dims)
        if known:
            return s.use(self.pick(known))
        if s.has_room(dims):
            return s.use(self.supply(s, dims))
        name = self.fresh()
        s.say(f"{name} = {self.tensor(s, dims, 1)}")
        return s.use(s.add(Name(name, dims)))
