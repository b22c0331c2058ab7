"""Characters that people type for others: by an input method, from a formula, from a web page."""

from __future__ import annotations

# Full-width forms of ASCII, and the punctuation of Chinese, Japanese and Korean text.
WIDE = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
WIDE |= dict(zip("。、「」【】〔〕《》〈〉～—·", ".,[][][]<><>~-*", strict=True))

# What stands in formulas, and how it is written here.
SYMBOLS = {
    "×": "*",
    "⋅": "*",
    "∙": "*",
    "∗": "*",
    "÷": "/",
    "∕": "/",
    "−": "-",
    "–": "-",
    "≤": "<=",
    "⩽": "<=",
    "≥": ">=",
    "⩾": ">=",
    "≠": "!=",
    "≈": "==",
    "←": "<-",
    "→": "->",
    "∈": "in",
    "∧": "and",
    "∨": "or",
    "¬": "not ",
    "∞": "inf",
    "…": "..",
    "⊙": "*",
    "∘": "*",
}

# Symbols of formulas that are functions here.
ADVICE = {
    "√": "`sqrt(x)`",
    "∑": "`sum[i](..)`",
    "∏": "`prod[i](..)`",
    "∂": "`grad(E, v)`",
    "∇": "`grad(E, v)`",
    "∫": "`mean[i](..)` over draws or a grid",
    "‖": "`norm(x)`",
    "∥": "`norm(x)`",
    "⊤": "`x.T`",
    "′": "a name of its own, such as `x_next`",
    "'": "`x.T` where a transpose is meant, and a name of its own where another value is",
}

# Characters that cannot be seen, and what is meant by them.
INVISIBLE = dict.fromkeys("\u00a0\u2002\u2003\u2009\u200a\u202f\u3000\v\f", " ")
INVISIBLE |= dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f", "")

# Punctuation of other languages.
HELP = {
    "{": "there are no sets and dictionaries: a record is written `(a = 1, b = 2)`, a list `[a, b]`",
    "}": "there are no sets and dictionaries: a record is written `(a = 1, b = 2)`, a list `[a, b]`",
    "?": "a choice is written `a if condition else b`, or `where(condition, a, b)` for each entry",
    "$": "names are written without it",
    "`": 'names are written without quotes, text between double quotes: "',
    "\\": "a line goes on while a bracket is open; a solution of a x = b is `solve(a, b)`",
}
