"""What random specs reach: constructs of the language by their text, ops of the table by the equations of all levels."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable

from leec.ops import TABLE
from programs.examined import Seen, examine
from programs.specs import made

CONSTRUCTS = {
    "def": r"^def f", "untyped def": r"^def g", "pack": r"\[\.\., ", "several results": r"^    v\d+, v\d+ = ", "model": r"^model M",
    "model of models": r"^model N", "loop over models": r"for cell in", "zip": r"in zip\(", "state": r"^ +s\d+ <- ",
    "mode": r"training = false", "point": r"^    net\d+ = .*net", "gradient": r"= grad\(", "recurrence": r"for t\d+ in",
    "backwards": r"in reversed\(\d|in reversed\(\w\)", "range": r"in 1\.\.", "break": r"break$", "rows": r"r\d+\[t\d+\] =",
    "nested loop": r"^        for t\d+", "while": r"^ +while ", "unrolled loop": r"^ +for e\d+ in \(", "branch": r"^ +if .*:$",
    "otherwise": r"else:$", "entries": r"^ +y\d+\[i\d+ in", "reduction by index": r"(sum|mean|max|min|prod|logsumexp)\[j",
    "guard": r"where\(i\d+ (>|\+ 1 <)", "gather": r"\[a\d+\[", "scatter": r"^ +u\d+\[a\d+\[i\d+\]\] \+=", "window": r"\[u\d+ in 2\]",
    "strided window": r"\[2\*i", "from the end": r"- 1 - i\d+", "store": r"^ +v\d+\[(0|-1|:1|a|int).*\] \+?=", "over": r"over = ",
    "axis": r"axis = ", "where": r"where\(", "draw": r"^ +z\d+: \[", "discrete draw": r"^ +z\d+: (int|bool)\[", "log_prob": r"log_prob\(",
    "int": r"^ +q\d+ = ", "bool": r"^ +c\d+ = ", "bool parameter": r": bool\[", "take": r"take\(", "product": r" @ ", "linear algebra": r"\* eye\(",
    "altered gradient": r"stop\(|graft\(|straight_through\(|reverse_gradient\(",
}  # fmt: skip


def constructs(text: str) -> Iterable[str]:
    return (name for name, form in CONSTRUCTS.items() if re.search(form, text, re.MULTILINE))


def reached(specs: int) -> tuple[Counter[str], Seen]:
    """The constructs by the number of specs that have them, and what happened to the specs. Raises for a wrong one."""
    found, seen = Counter(), Seen()
    for number in range(specs):
        text = made(random.Random(number).randrange)
        found.update(constructs(text))
        wrong = examine(text, seen)
        assert not wrong, f"{text}\n{wrong}"
    return found, seen


def report(found: Counter[str], seen: Seen) -> str:
    ops = [op for op in TABLE if op in seen.ops]
    lines = [
        f"{seen.what['specs']} specs: " + ", ".join(f"{n} {what}" for what, n in sorted(seen.what.items())),
        f"{len(found)} of {len(CONSTRUCTS)} constructs: " + ", ".join(f"{c} {found[c]}" for c in CONSTRUCTS),
        f"{len(ops)} of {len(TABLE)} ops; not: " + ", ".join(op for op in TABLE if op not in seen.ops),
    ]
    return "\n".join(lines)
