"""Definition by entries (R1-R5): expressions over index variables become whole-array equations.

Inside such a definition a value that depends on indices is an Entry: an array with one affine subscript an axis.
Nothing is computed for a subscript until arithmetic needs the array aligned; a sum of products never needs it and
becomes one `contract`.
"""

from __future__ import annotations

from dataclasses import dataclass

from leec.diagnostics import LeeError, Span, kinds, shapes
from leec.dims import Dim, Quotient
from leec.elaborate.context import Context
from leec.elaborate.values import describe
from leec.ir.graph import Check, Value
from leec.ops.contract import Contraction


def symbol(index: str) -> str:
    """The symbol of an index variable inside affine expressions: no size is called so."""
    return "@" + index


@dataclass(frozen=True)
class Entry:
    """`value[subscripts]`, a number for every setting of the indices that occur in the subscripts."""

    value: Value
    subscripts: tuple[Dim, ...]

    @property
    def type(self):
        return self.value.type


@dataclass(frozen=True)
class Position:
    """An affine expression of index variables that is still an integer, not yet an array."""

    dim: Dim


def is_indexed(value: object) -> bool:
    return isinstance(value, (Entry, Position))


def used_indices(ctx: Context, *values: object) -> list[str]:
    """The index variables that some values depend on, outermost first."""
    found: set[str] = set()
    for value in values:
        dims = value.subscripts if isinstance(value, Entry) else (value.dim,) if isinstance(value, Position) else ()
        for dim in dims:
            found |= dim.symbols
    return [n for n in ctx.indices.ranges if symbol(n) in found]


def position_value(ctx: Context, dim: Dim, span: Span) -> Entry | Value:
    """An affine expression as an array of integers."""
    total: Entry | Value | None = None
    rest = dim
    for name in [n for n in ctx.indices.ranges if symbol(n) in dim.symbols]:
        if name in ctx.indices.shadowed:
            raise LeeError(shapes.index_as_number(span, name))
        coefficient = _coefficient(dim, symbol(name))
        rest = rest - coefficient * Dim.of(symbol(name))
        with ctx.at(span):
            counts = ctx.builder.iota(dims=(ctx.indices.ranges[name],), axis=0, hint=name)
        term = Entry(counts, (Dim.of(symbol(name)),))
        term = term if coefficient == 1 else apply_entries(ctx, "mul", "*", (term, coefficient), span, (span, span))
        total = term if total is None else apply_entries(ctx, "add", "+", (total, term), span, (span, span))
    return total if rest == 0 else apply_entries(ctx, "add", "+", (total, rest), span, (span, span))


def _coefficient(dim: Dim, name: str) -> Dim:
    """The factor of a symbol in a polynomial that is linear in it."""
    return dim.substitute({name: Dim.of(1)}) - dim.substitute({name: Dim.of(0)})


def is_affine(dim: Dim, names: list[str]) -> bool:
    """Linear in the index symbols, with coefficients that hold none."""
    marks = {symbol(n) for n in names}
    rest = dim
    for mark in marks & dim.symbols:
        coefficient = _coefficient(dim, mark)
        if coefficient.symbols & marks:
            return False
        rest = rest - coefficient * Dim.of(mark)
    return not rest.symbols & marks


def write_contraction(ctx: Context, operands: list[tuple[Dim, ...]], result: list[str], dims: tuple[Dim, ...] | None = None,
                      subscripts: tuple[Dim, ...] | None = None) -> Contraction:  # fmt: skip
    """A Contraction over the index variables that occur, under their own names wherever those are free."""
    every = [*operands, subscripts or tuple(Dim.of(symbol(n)) for n in result)]
    used = [n for n in ctx.indices.ranges if any(symbol(n) in d.symbols for s in every for d in s)]
    sizes = {s for subs in every for d in subs for s in d.symbols if not s.startswith("@")}
    names: dict[str, Dim] = {}
    for name in used:
        free, number = name, 2
        while free in sizes or any(free == d.symbol for d in names.values()):
            free, number = f"{name}_{number}", number + 1
        names[symbol(name)] = Dim.of(free)
    change = lambda ds: tuple(d.substitute(names) for d in ds)  # noqa: E731
    ranges = tuple((names[symbol(n)].symbol, ctx.indices.ranges[n]) for n in used)
    return Contraction(
        tuple(map(change, operands)), change(every[-1]), ranges, dims or tuple(ctx.indices.ranges[n] for n in result)
    )


def plain(ctx: Context, entry: Entry, names: list[str], span: Span) -> Value:
    """The entry as an array whose axes are exactly these index variables, all of which it may miss: those become 1."""
    have = [n for n in names if any(symbol(n) in s.symbols for s in entry.subscripts)]
    value = entry.value
    part = any(ctx.equal(ctx.indices.ranges[n], d) is not True for n, d in zip(have, value.type.dims))
    if part or entry.subscripts != tuple(Dim.of(symbol(n)) for n in have):
        value = _reorder(ctx, entry, have, span)
    if len(have) == len(names):
        return value
    wanted = tuple(ctx.indices.ranges[n] if n in have else Dim.of(1) for n in names)
    while wanted and wanted[0] == 1 and len(wanted) > len(have):
        wanted = wanted[1:]
    with ctx.at(span):
        return value if value.type.dims == wanted else ctx.builder.reshape(value, dims=wanted)


def _reorder(ctx: Context, entry: Entry, have: list[str], span: Span) -> Value:
    """A permutation as a transpose; windows, strides and diagonals as a contraction of one operand."""
    bare = [s.symbol for s in entry.subscripts]
    fits = all(v == ctx.indices.ranges.get(b[1:]) for b, v in zip(bare, entry.value.type.dims) if b)
    with ctx.at(span):
        if (
            fits
            and sorted(filter(None, bare)) == sorted(symbol(n) for n in have)
            and len(bare) == len(have)
            and None not in bare
        ):
            return ctx.builder.transpose(entry.value, perm=tuple(bare.index(symbol(n)) for n in have))
        return ctx.builder.contract(entry.value, spec=write_contraction(ctx, [entry.subscripts], have))


def apply_entries(
    ctx: Context, row: str, shown: str, operands: tuple, span: Span, spans: tuple[Span, ...]
) -> Entry | Value:
    """An elementwise op entry by entry: operands aligned over all the indices that any of them uses."""
    from leec.elaborate.arithmetic import OPERATIONS, as_value

    made = [position_value(ctx, v.dim, s) if isinstance(v, Position) else v for v, s in zip(operands, spans)]
    names = used_indices(ctx, *made)
    values = []
    for value, where in zip(made, spans):
        if isinstance(value, Entry):
            values.append(plain(ctx, value, names, where))
            continue
        number = as_value(ctx, value, where)
        if number.type.rank:
            raise LeeError(shapes.wrong_rank(where, "an entry", describe(number), "a number: write its subscripts"))
        values.append(number)
    if row in OPERATIONS.values() and any(v.type.dtype == "bool" for v in values):
        raise LeeError(kinds.bool_arithmetic(span, shown))
    with ctx.at(span):
        result = ctx.builder.emit(row, tuple(values))
        full = tuple(ctx.indices.ranges[n] for n in names)
        if result.type.dims != full and names:  # an operand of size 1 cannot stand for an index
            result = ctx.builder.broadcast(result, dims=full)
    return Entry(result, tuple(Dim.of(symbol(n)) for n in names)) if names else result


def read(ctx: Context, value: Value, items: list[object], spans: list[Span], span: Span) -> Entry | Value:
    """`value[items]`: affine subscripts are kept, computed ones gather (R3: clamped inside a guard)."""
    names = list(ctx.indices.ranges)
    if len(items) != value.type.rank:
        raise LeeError(shapes.too_many_subscripts(span, len(items), value.type.shown))
    dims = [i.dim if isinstance(i, Position) else i if isinstance(i, Dim) else None for i in items]
    whole = [
        d is not None and is_affine(d, names) and not (ctx.indices.guarded and _may_leave(ctx, d, s))
        for d, s in zip(dims, value.type.dims)
    ]
    for d, s, w, where in zip(dims, value.type.dims, whole, spans):
        if w and not ctx.indices.guarded:
            verify_reach(ctx, d, s, where)
    if all(whole):
        return Entry(
            value,
            tuple(
                d if not (d.constant is not None and d.constant < 0) else s + d for d, s in zip(dims, value.type.dims)
            ),
        )
    return gather(ctx, value, items, whole, spans, span)


def _may_leave(ctx: Context, dim: Dim, size: Dim) -> bool:
    """Not provably inside: anything but an index that runs over just this axis."""
    name = (dim.symbol or "")[1:]
    return ctx.indices.ranges.get(name) != size


def verify_reach(ctx: Context, subscript: Dim, size: Dim, span: Span) -> None:
    """Subscripts that leave the axis whatever the sizes are an error; where sizes decide, entry checks."""
    first = last = subscript
    for name, range_ in ctx.indices.ranges.items():
        step = _coefficient(subscript, symbol(name)).constant
        start, end = (range_ - 1, Dim.of(0)) if step is not None and step < 0 else (Dim.of(0), range_ - 1)
        first, last = first.substitute({symbol(name): start}), last.substitute({symbol(name): end})
    over = ctx.facts.normal(last - size)
    if (over.constant is not None and over.constant >= 0) or (subscript.constant is None and (first.constant or 0) < 0):
        raise LeeError(shapes.outside(span, f"`{span.text}`", str(size)))
    is_open = over.constant is None and last.symbols - size.symbols and over.symbols <= ctx.rigid
    has_floor = any(isinstance(atom, Quotient) for monomial, _ in over.terms for atom, _ in monomial)
    if is_open and not has_floor:  # a range that was solved for has one, and fits by construction
        reach = Check(last + 1, size, f"{span.text} < {size}", span, "<=")
        known = {(c.left, c.relation, c.right) for c in ctx.checks}
        ctx.checks += [reach] if (reach.left, reach.relation, reach.right) not in known else []


def _is_inside(ctx: Context, item: object, size: Dim) -> bool:
    return isinstance(item, Position) and not _may_leave(ctx, item.dim, size)


def gather(ctx: Context, value: Value, items: list[object], whole: list[bool], spans: list[Span], span: Span) -> Entry:
    """Axes whose subscripts are computed are read through integer arrays; those that share an index with one, too."""
    made = {
        k: _index_array(ctx, i, s, value.type.dims[k]) for k, (i, s, w) in enumerate(zip(items, spans, whole)) if not w
    }
    shared = set(used_indices(ctx, *made.values()))
    for k, item in enumerate(items):
        if k not in made and isinstance(item, Position) and shared & set(used_indices(ctx, item)):
            made[k] = _index_array(ctx, item, spans[k], value.type.dims[k])
    names = used_indices(ctx, *made.values())
    axes = tuple(sorted(made))
    arrays = [plain(ctx, made[k], names, spans[k]) if isinstance(made[k], Entry) else made[k] for k in axes]
    proven = tuple(
        n for n, k in enumerate(axes) if ctx.indices.guarded or _is_inside(ctx, items[k], value.type.dims[k])
    )
    with ctx.at(span):
        if max(a.type.rank for a in arrays) < len(names):  # a first index with the range 1 stands in none of them
            arrays[0] = ctx.builder.broadcast(arrays[0], dims=tuple(ctx.indices.ranges[n] for n in names))
        found = ctx.builder.gather(value, *arrays, axes=axes, proven=proven)
    rest = tuple(
        items[k].dim if isinstance(items[k], Position) else Dim.of(items[k]) for k in range(len(items)) if k not in made
    )
    return Entry(found, (*(Dim.of(symbol(n)) for n in names), *rest))


def _index_array(ctx: Context, item: object, span: Span, size: Dim) -> Entry | Value:
    from leec.elaborate.arithmetic import as_value

    array = position_value(ctx, item.dim, span) if isinstance(item, Position) else item
    array = array if isinstance(array, Entry) else as_value(ctx, array, span)
    if array.type.dtype != "int":
        raise LeeError(kinds.needs_int(span, "a subscript", array.type.shown))
    if not ctx.indices.guarded:
        return array
    low = apply_entries(ctx, "maximum", "max", (array, Dim.of(0)), span, (span, span))
    return apply_entries(ctx, "minimum", "min", (low, size - 1), span, (span, span))
