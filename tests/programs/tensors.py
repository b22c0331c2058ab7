"""Whole arrays of floats and truths: every text has the dims that were asked for."""

from __future__ import annotations

from collections.abc import Callable

from programs import forms
from programs.scope import Choices, Dims, Name, Scope, filled

Way = Callable[[Scope, Dims, int], str]


def marks(dims: Dims, place: int, mark: str, others: str = ":") -> str:
    """A subscript with one mark at a place."""
    return ", ".join(mark if i == place else others for i in range(len(dims)))


class Tensors(Choices):
    """Expressions over whole arrays; `depth` bounds how far they nest."""

    def tensor(self, s: Scope, dims: Dims, depth: int) -> str:
        return self.pick(self.ways(dims))(s, dims, depth) if depth > 0 else self.atom(s, dims, 0)

    def ways(self, dims: Dims) -> list[Way]:
        found = [self.atom, self.changed, self.changed, self.joined, self.joined, self.chosen, self.reduced]
        if dims:
            found += [self.along, self.spread, self.taken, self.counted]
        if len(dims) in (1, 2):
            found += [self.product, self.product]
        if len(dims) >= 2:
            found += [self.turned]
        return found

    # ---- what is known

    def atom(self, s: Scope, dims: Dims, depth: int) -> str:
        known = s.of(dims)
        if known and not self.seldom(8):
            return s.use(known[-1 - self.choose(len(known))])
        options = [text for n in s.floats() for text in derived(n, dims)]
        if options and self.often(3):
            return self.from_other(s, dims)
        if s.has_room(dims):
            return s.use(self.supply(s, dims))
        return self.from_other(s, dims) if options else f"(0.4 + {filled(dims)})" if dims else "0.7"

    def from_other(self, s: Scope, dims: Dims) -> str:
        """An array of other dims, spread, summed, cut or turned."""
        options = [(n, text) for n in s.floats() for text in derived(n, dims)]
        name, text = self.pick(options)
        s.use(name)
        return text

    # ---- entry by entry

    def changed(self, s: Scope, dims: Dims, depth: int) -> str:
        kinds = (forms.SMOOTH, forms.SMOOTH, forms.SMOOTH, forms.KINKED, forms.KINKED, forms.ALTERED)
        return self.put(s, self.pick(self.pick(kinds)), dims, self.tensor(s, dims, depth - 1))

    def joined(self, s: Scope, dims: Dims, depth: int) -> str:
        left, right = self.tensor(s, dims, depth - 1), self.tensor(s, dims, depth - 1)
        return self.put(s, self.pick(forms.JOINED), dims, left, right)

    def put(self, s: Scope, form: str, dims: Dims, *operands: str, axis: int = 0) -> str:
        """A form of operands; what stands in it twice gets a name."""
        twice = [form.count(f"{{{i}}}") > 1 for i in range(len(operands))]
        short = [self.named(s, x, dims) if more else x for x, more in zip(operands, twice, strict=True)]
        return form.format(*short, axis)

    def named(self, s: Scope, text: str, dims: Dims) -> str:
        """The name of a longer expression."""
        if len(text) <= 20:
            return text
        name = s.add(Name(self.fresh("e"), dims))
        s.say(f"{name.text} = {text}")
        return s.use(name)

    def chosen(self, s: Scope, dims: Dims, depth: int) -> str:
        taken, left = self.tensor(s, dims, depth - 1), self.tensor(s, dims, depth - 1)
        return f"where({self.condition(s, dims, depth - 1)}, {taken}, {left})"

    def counted(self, s: Scope, dims: Dims, depth: int) -> str:
        """Integers among floats."""
        return f"(0.3 * float({self.whole(s, dims, 1)}) + {self.tensor(s, dims, depth - 1)})"

    # ---- along axes

    def reduced(self, s: Scope, dims: Dims, depth: int) -> str:
        if len(dims) > 2:
            return self.atom(s, dims, depth)
        place, size = self.choose(len(dims) + 1), self.pick(s.sizes)
        wide = (*dims[:place], size, *dims[place:])
        inner, how = self.tensor(s, wide, depth - 1), self.pick(forms.REDUCTIONS)
        if how in ("norm", "std"):  # away from 0, where their slope is none
            inner = f"{inner} + 0.1 * float(arange({size}))[{marks(wide, place, ':', 'None')}]"
        if how in ("sum", "mean", "max", "min", "prod") and wide.count(size) == 1 and not size.isdigit():
            return f"{how}({inner}, over = {size})"
        return f"{how}({inner}, axis = {place - len(wide) * self.choose(2)})"

    def along(self, s: Scope, dims: Dims, depth: int) -> str:
        return self.put(s, self.pick(forms.ALONG), dims, self.tensor(s, dims, depth - 1), axis=self.choose(len(dims)))

    def spread(self, s: Scope, dims: Dims, depth: int) -> str:
        """One operand lacks an axis, or has 1 there."""
        place = self.choose(len(dims))
        less = dims[:place] + dims[place + 1 :]
        small = self.named(s, self.tensor(s, less, depth - 1), less)
        seen = f"({small})[{marks(dims, place, 'None')}]" if len(dims) > 1 else small
        other = self.named(s, self.tensor(s, dims, depth - 1), dims)
        return self.pick(forms.JOINED).format(*((seen, other) if self.often() else (other, seen)))

    def taken(self, s: Scope, dims: Dims, depth: int) -> str:
        """Rows at computed places."""
        size = self.pick(s.sizes)
        rows = self.tensor(s, (size, *dims[1:]), depth - 1)
        return f"take({rows}, {self.places(s, dims[:1], size)}, axis = 0)"

    def product(self, s: Scope, dims: Dims, depth: int) -> str:
        k = self.pick(s.sizes)
        if len(dims) == 2:
            left, right = (dims[0], k), (k, dims[1])
        else:
            left, right = ((dims[0], k), (k,)) if self.often() else ((k,), (k, dims[0]))
        return f"({self.tensor(s, left, depth - 1)} @ {self.tensor(s, right, depth - 1)})"

    def turned(self, s: Scope, dims: Dims, depth: int) -> str:
        if len(dims) == 2:
            return f"({self.tensor(s, dims[::-1], depth - 1)}).T"
        first, second = self.tensor(s, dims[1:], depth - 1), self.tensor(s, dims[1:], depth - 1)
        if dims[0] == "2":
            return f"stack({first}, {second}, axis = 0)"
        return f"(({first})[None] * {self.tensor(s, dims, depth - 1)})"

    # ---- truths, and integers from floats

    def condition(self, s: Scope, dims: Dims, depth: int) -> str:
        known = s.of(dims, "bool")
        if known and not self.seldom(3):
            return s.use(self.pick(known))
        if self.seldom(6) and s.has_room(dims, "bool"):
            return s.use(self.supply(s, dims, "bool"))
        if self.seldom(4):
            form = self.pick(forms.WHOLE_CONDITIONS)
            return form.format(self.whole(s, dims, 1), self.whole(s, dims, 0))
        if self.seldom(6) and len(dims) < 2:
            inner = self.condition(s, (*dims, self.pick(s.sizes)), depth - 1)
            return f"{self.pick(('any', 'all'))}({inner}, axis = -1)"
        left, right = self.tensor(s, dims, depth - 1), self.tensor(s, dims, depth - 1)
        return self.put(s, self.pick(forms.CONDITIONS), dims, left, right)

    def whole(self, s: Scope, dims: Dims, depth: int) -> str:
        """Small integers."""
        known = s.of(dims, "int")
        if depth <= 0 and known and self.often():
            return s.use(self.pick(known))
        if depth <= 0:
            return f"int(floor(3 * sin({self.tensor(s, dims, 0)})))"
        kind = self.choose(4 if dims else 2)
        if kind == 0:
            return self.pick(forms.WHOLE).format(self.whole(s, dims, depth - 1))
        if kind == 1:
            return self.pick(forms.WHOLES).format(self.whole(s, dims, depth - 1), self.whole(s, dims, depth - 1))
        if kind == 2:
            return self.pick(forms.WHOLE_ALONG).format(self.whole(s, dims, depth - 1), self.choose(len(dims)))
        how = self.pick(
            ("sum({0}, axis = -1)", "max({0}, axis = -1)", "sum({0} > 0, axis = -1)", "prod({0}, axis = -1)")
        )
        return how.format(self.whole(s, (*dims, self.pick(s.sizes)), depth - 1))

    def places(self, s: Scope, dims: Dims, below: str) -> str:
        """Positions below a size, known, given, or computed from floats."""
        known = [n for n in s.of(dims, "int") if n.below == below]
        if known and self.often(3):
            return s.use(self.pick(known))
        if self.often() and s.has_room(dims, "int"):
            return s.use(self.supply(s, dims, "int", below))
        if self.often() or not dims:
            return f"int(floor({below} * sigmoid(sin({self.tensor(s, dims, 1)}))))"
        if len(dims) == 1 and self.often():
            return f"arange({dims[0]}) % {below}"
        how = self.pick(("argmax", "argmin"))
        return f"{how}({self.tensor(s, (*dims, below), 1)}, axis = -1)"


def derived(n: Name, dims: Dims) -> list[str]:
    """Arrays of these dims that one step makes of a known one."""
    text, rank = n.text, len(n.dims)
    found = []
    if rank < len(dims) and n.dims == dims[len(dims) - rank :]:
        found.append(f"({text} + {filled(dims)})")
    if rank == len(dims) == 2 and n.dims == dims[::-1]:
        found.append(f"{text}.T")
    for place in range(rank):
        if n.dims[:place] + n.dims[place + 1 :] == dims:
            found.append(f"sum({text}, axis = {place})")
            found.append(f"{text}[{marks(n.dims, place, '0')}]")
            found.append(f"{text}[{marks(n.dims, place, '-1')}]")
    if not dims and rank:
        found += [f"{how}({text})" for how in ("mean", "sum", "max", "min", "norm")]
    return found
