"""Python expression trees as text in the style of black: the fewest parentheses, double quotes, `x**2` hugged.

`text` gives one line, `fit` a statement that black leaves alone. black itself is imported only for a statement
that is too long for a line, and its answer is kept.
"""

from __future__ import annotations

import ast

WIDTH = 120
ATOM, POWER, SIGN, NOT, TERNARY = 15, 13, 12, 4, 1
BINARY = {
    ast.BitOr: ("|", 6),
    ast.BitXor: ("^", 7),
    ast.BitAnd: ("&", 8),
    ast.LShift: ("<<", 9),
    ast.RShift: (">>", 9),
    ast.Add: ("+", 10),
    ast.Sub: ("-", 10),
    ast.Mult: ("*", 11),
    ast.MatMult: ("@", 11),
    ast.Div: ("/", 11),
    ast.FloorDiv: ("//", 11),
    ast.Mod: ("%", 11),
    ast.Pow: ("**", POWER),
}
COMPARISON, COMPARED = 5, {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}
UNARY = {ast.USub: ("-", SIGN), ast.Invert: ("~", SIGN), ast.Not: ("not ", NOT)}
LOGIC = {ast.Or: (" or ", 2), ast.And: (" and ", 3)}


def text(node: ast.expr) -> str:
    """The expression on one line."""
    return write(node, 0)


def write(node: ast.expr, outer: int) -> str:
    """The expression where operators of strength `outer` and more bind around it."""
    line, strength = WRITERS[type(node)](node)
    return f"({line})" if strength < outer else line


def _binary(node: ast.BinOp) -> tuple[str, int]:
    sign, strength = BINARY[type(node.op)]
    if isinstance(node.op, ast.Pow):
        after = node.right
        while isinstance(after, ast.BinOp) and isinstance(after.op, ast.Pow):
            after = after.left
        hugs = _is_simple(node.left) and not isinstance(node.left, ast.UnaryOp) and _is_simple(after)
        gap = "" if hugs else " "
        return f"{write(node.left, POWER + 1)}{gap}**{gap}{write(node.right, SIGN)}", strength
    return f"{write(node.left, strength)} {sign} {write(node.right, strength + 1)}", strength


def _is_simple(node: ast.expr) -> bool:
    """What black lets touch `**`: a name with attributes or a number, also with a sign."""
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and _is_simple(node.operand)
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name | ast.Constant)


def _unary(node: ast.UnaryOp) -> tuple[str, int]:
    sign, strength = UNARY[type(node.op)]
    power = isinstance(node.operand, ast.BinOp) and isinstance(node.operand.op, ast.Pow)
    return sign + write(node.operand, ATOM if power else strength), strength


def _logic(node: ast.BoolOp) -> tuple[str, int]:
    word, strength = LOGIC[type(node.op)]
    return word.join(write(v, strength + 1) for v in node.values), strength


def _compare(node: ast.Compare) -> tuple[str, int]:
    pieces = [write(node.left, COMPARISON + 1)]
    for op, right in zip(node.ops, node.comparators, strict=True):
        pieces += [COMPARED[type(op)], write(right, COMPARISON + 1)]
    return " ".join(pieces), COMPARISON


def _ternary(node: ast.IfExp) -> tuple[str, int]:
    return f"{write(node.body, 2)} if {write(node.test, 2)} else {write(node.orelse, TERNARY)}", TERNARY


def _call(node: ast.Call) -> tuple[str, int]:
    arguments = [text(a) for a in node.args]
    arguments += [f"{k.arg}={text(k.value)}" if k.arg else f"**{text(k.value)}" for k in node.keywords]
    return f"{write(node.func, ATOM)}({', '.join(arguments)})", ATOM


def _attribute(node: ast.Attribute) -> tuple[str, int]:
    number = isinstance(node.value, ast.Constant) and isinstance(node.value.value, int | float)
    owner = f"({text(node.value)})" if number else write(node.value, ATOM)
    return f"{owner}.{node.attr}", ATOM


def _subscript(node: ast.Subscript) -> tuple[str, int]:
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) and node.slice.elts else [node.slice]
    inner = ", ".join(_slice(i) if isinstance(i, ast.Slice) else text(i) for i in items)
    return f"{write(node.value, ATOM)}[{inner}]", ATOM


def _slice(node: ast.Slice) -> str:
    """Colons like the operator that binds least: with blanks where a bound is more than a name or a number."""
    bounds = [node.lower, node.upper, *([node.step] if node.step else [])]
    gap = " " if any(isinstance(n, COMPLEX) for b in bounds if b for n in ast.walk(b)) else ""
    line = text(bounds[0]) if bounds[0] else ""
    for bound in bounds[1:]:
        line += (gap if line and not line.endswith(":") else "") + ":" + (gap + text(bound) if bound else "")
    return line


COMPLEX = (ast.BinOp, ast.Attribute, ast.Call, ast.Subscript, ast.IfExp, ast.Compare, ast.BoolOp)


def _constant(node: ast.Constant) -> tuple[str, int]:
    value = node.value
    if isinstance(value, str):
        return quoted(value), ATOM
    if isinstance(value, float):
        return number(value), ATOM if value >= 0 else SIGN
    return repr(value), SIGN if isinstance(value, int) and value < 0 else ATOM


def number(value: float) -> str:
    """The shortest text of a float: 1e-3, and not 0.001."""
    plain = repr(value)
    mantissa, _, exponent = (plain if "e" in plain else f"{value:e}").partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").removesuffix(".")
    short = f"{mantissa}e{int(exponent)}"
    return short if (float(short) == value and len(short) < len(plain)) or "e" in plain else plain


def quoted(value: str) -> str:
    """A string literal that holds exactly these characters, on one line of printable ones; quotes as black has them."""
    quote = "'" if value.count('"') > value.count("'") else '"'
    special = {quote: "\\" + quote, "\\": "\\\\"}
    return quote + "".join(special.get(c) or (c if c.isprintable() else repr(c)[1:-1]) for c in value) + quote


def _tuple(node: ast.Tuple) -> tuple[str, int]:
    inner = ", ".join(map(text, node.elts))
    return f"({inner},)" if len(node.elts) == 1 else f"({inner})", ATOM


def _dict(node: ast.Dict) -> tuple[str, int]:
    pairs = zip(node.keys, node.values, strict=True)
    return "{" + ", ".join(f"{text(k)}: {text(v)}" if k else f"**{text(v)}" for k, v in pairs) + "}", ATOM


def _list_of(node: ast.ListComp) -> tuple[str, int]:
    loops = [f"for {text(g.target)} in {write(g.iter, TERNARY + 1)}" for g in node.generators]
    return f"[{text(node.elt)} {' '.join(loops)}]", ATOM


WRITERS = {
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _logic,
    ast.Compare: _compare,
    ast.IfExp: _ternary,
    ast.Call: _call,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.Constant: _constant,
    ast.Tuple: _tuple,
    ast.Dict: _dict,
    ast.Name: lambda node: (node.id, ATOM),
    ast.Lambda: lambda node: (f"lambda {', '.join(a.arg for a in node.args.args)}: {text(node.body)}", 0),
    ast.ListComp: _list_of,
    ast.List: lambda node: (f"[{', '.join(map(text, node.elts))}]", ATOM),
    ast.Starred: lambda node: (f"*{write(node.value, 6)}", ATOM),
}


def unparenthesised(tree: ast.expr) -> str:
    """Tuples need no parentheses around `=` and `return`."""
    if isinstance(tree, ast.Tuple) and len(tree.elts) > 1:
        return text(tree)[1:-1]
    return text(tree)
