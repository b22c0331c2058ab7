"""Recognition: composites get their names back, by the patterns that stand beside their rows.

A composite means what its body says, so that with all patterns removed every result is the same within rounding.
`expand` is the way back: bodies, or what a back end runs in their place, where its column has no expression.
"""

from __future__ import annotations

from functools import cache

from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Program, Value
from leec.ops import TABLE
from leec.ops.table import complete
from leec.passes.dce import live
from leec.passes.fuse import ungrouped
from leec.passes.patterns import rules
from leec.passes.rewrite import Rewriter, Rules, rewrite
from leec.passes.windows import lower_equation


@cache
def patterns() -> Rules:
    """The patterns of all rows, in the order of the table."""
    return rules(law for row in TABLE.values() for law in row.facts.get("patterns", ()))


def recognise(program: Program) -> Program:
    return program.map(lambda f: rewrite(f, patterns()))


def expand(program: Program, column: str) -> Program:
    """The program in terms that a back end can run: composites without an expression in its column as their bodies,
    contractions as views and products, groups as their members. To be run last: other passes would put contractions
    together again."""
    return program.map(lambda f: rewrite(with_wholes(ungrouped(f), column), expansion(column)))


def with_wholes(f: Function, column: str) -> Function:
    """With ops of several results in the place of all the equations that make these; `whole` of a row finds them."""
    for row in TABLE.values():
        find = row.facts.get("whole", {}).get(column)
        found = find(f) if find else None
        f = _with_whole(f, row.name, *found) if found else f
    return f


def _with_whole(f: Function, op: str, args: tuple, results: tuple[Value, ...]) -> Function:
    """The op where the first of its results was made, unless something before that reads another one."""
    b = Builder(v.name for v in f.values())
    values = tuple(a if isinstance(a, Value) else a.make(b) for a in args)
    last = next(i for i, e in enumerate(f.body) if results[0] in e.results)
    before = [e for e in f.body[:last] if not set(e.results) & set(results)]
    whole = Equation(op, values, complete(TABLE[op], {}), results, f.body[last].span)
    made = live(f.with_body((*before, *b.equations, whole, *f.body[last + 1 :])))
    early = made.body[: made.body.index(whole)] if whole in made.body else made.body
    return f if any(set(e.args) & set(results) for e in early) else made


@cache
def expansion(column: str) -> Rules:
    """The rules of `expand`. Of a row `lowering` says what a back end runs where that is not the body, `idioms` are
    patterns for one back end alone."""

    def expanded(b: Rewriter, e: Equation) -> Value | None:
        row = TABLE[e.op]
        has_text = getattr(row, column) or (column == "torch_step" and row.torch)
        build = row.facts.get("lowering", {}).get(column, None if has_text else row.facts.get("body"))
        return build(b, *e.args, **e.params) if build else None

    laws = (law for row in TABLE.values() for law in row.facts.get("idioms", {}).get(column, ()))
    return Rules(generic=[expanded, lower_equation]) + rules(laws)
