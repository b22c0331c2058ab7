"""PyTorch statements that put an expression into an array that exists: `torch.mm(x.T, d_z, out=d_w)`, `m.mul_(decay)`.

An expression is computed from the inside out, its first operand in the target itself. Sums of products take one pass:
`addcmul_`, `addcdiv_`, `add_` with `alpha`, where the factor is a number of the host.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

from leec.emit.layout import text

FUNCTIONS = {
    ast.Add: "torch.add",
    ast.Sub: "torch.sub",
    ast.Mult: "torch.mul",
    ast.Div: "torch.div",
    ast.Pow: "torch.pow",
}
SYMMETRIC = (ast.Add, ast.Mult)
# Functions of the library that take `out` and have a form that works in place.
UNARY = frozenset("exp expm1 log log1p sqrt tanh sin cos abs sign floor round sigmoid".split())
BINARY = frozenset("maximum minimum".split())


@dataclass
class InPlace:
    """Writes statements.

    `is_number` knows what is a number of the host, `is_scalar` also those that a graph takes as tensors; `fits` what has
    the shape of the target, `rank` how many axes; `register` gives a spare array of that shape, or nothing.
    """

    is_number: Callable[[ast.expr], bool]
    is_scalar: Callable[[ast.expr], bool]
    fits: Callable[[ast.expr], bool]
    rank: Callable[[ast.expr], int | None]
    register: Callable[[], ast.expr | None]
    lines: list[str]

    def into(self, tree: ast.expr, target: ast.expr) -> None:
        """Make the target hold the value of the expression."""
        if text(tree) == text(target):
            return
        if isinstance(tree, ast.BinOp) and type(tree.op) in (*FUNCTIONS, ast.MatMult):
            self.binary(tree, target)
        elif isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            self.apply("torch.neg", self.source(tree.operand, target), [], target)
        elif (name := library_call(tree)) and name in UNARY | BINARY and not tree.keywords:
            first, *others = tree.args
            self.apply(f"torch.{name}", *self.operands(first, others, target), target)
        elif keyword_sum(tree):
            call = ast.Call(
                ast.Attribute(ast.Name("torch"), tree.func.attr), [tree.func.value], [*tree.keywords, out(target)]
            )
            self.lines.append(text(call))
        else:
            self.lines.append(f"{text(target)}.copy_({text(tree)})")

    # ---- operators

    def binary(self, tree: ast.BinOp, target: ast.expr) -> None:
        left, op, right = tree.left, tree.op, tree.right
        if isinstance(op, SYMMETRIC) and (self.is_scalar(left) or text(right) == text(target) or not self.starts(left)):
            left, right = right, left
        if isinstance(op, ast.MatMult):
            self.product(tree, target)
        elif self.is_scalar(left):
            self.from_number(left, op, right, target)
        elif isinstance(op, ast.Add | ast.Sub) and not self.is_scalar(right):
            self.sum(left, right, isinstance(op, ast.Sub), target)
        else:
            source, others = self.operands(left, [right], target)
            self.apply(FUNCTIONS[type(op)], source, others, target)

    def product(self, tree: ast.BinOp, target: ast.expr) -> None:
        """Matrix times matrix or vector; of others the library makes an array of its own."""
        left, right = tree.left, tree.right
        ranks = self.rank(left), self.rank(right)
        forms = {
            (2, 2): ("mm", [left, right]),
            (2, 1): ("mv", [left, right]),
            (1, 2): ("mv", [transposed(right), left]),
        }
        if ranks in forms:
            name, arguments = forms[ranks]
            self.lines.append(text(ast.Call(ast.Attribute(ast.Name("torch"), name), arguments, [out(target)])))
        else:
            self.lines.append(f"{text(target)}.copy_({text(tree)})")

    def from_number(self, number: ast.expr, op: ast.operator, right: ast.expr, target: ast.expr) -> None:
        """number - x, number / x, number ** x: the library wants an array first."""
        if isinstance(op, ast.Sub):
            self.apply("torch.neg", self.source(right, target), [], target)
            self.apply("torch.add", target, [number], target)
        elif isinstance(op, ast.Div):
            self.apply("torch.reciprocal", self.source(right, target), [], target)
            self.apply("torch.mul", target, [number], target)
        else:
            self.lines.append(f"{text(target)}.copy_({text(ast.BinOp(number, op, right))})")

    def sum(self, left: ast.expr, right: ast.expr, minus: bool, target: ast.expr) -> None:
        """left + factor * product / quotient, in one pass where the library has it."""
        number, above, below = self.factors(right)
        form = {(1, 0): "torch.add", (2, 0): "torch.addcmul", (1, 1): "torch.addcdiv"}.get((len(above), len(below)))
        if form is None or any(map(self.is_scalar, (*above, *below))):
            number, above, below, form = None, [right], [], "torch.add"
        arrays = [self.settled(a, target) for a in (*above, *below)]
        source = self.source(left, target)
        if form == "torch.add":
            scale = [ast.keyword("alpha", number)] if number else []
            self.apply("torch.sub" if minus else "torch.add", source, arrays, target, scale)
        else:
            number = ast.UnaryOp(ast.USub(), number or ast.Constant(1)) if minus else number
            self.apply(form, source, arrays, target, [ast.keyword("value", number)] if number else [])

    def factors(self, tree: ast.expr) -> tuple[ast.expr | None, list[ast.expr], list[ast.expr]]:
        """An expression as number * (product of arrays) / (product of arrays)."""
        if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult | ast.Div):
            if self.is_number(tree.right) or (isinstance(tree.op, ast.Mult) and self.is_number(tree.left)):
                number, inside = (tree.right, tree.left) if self.is_number(tree.right) else (tree.left, tree.right)
                factor, above, below = self.factors(inside)
                if isinstance(tree.op, ast.Div):
                    return ast.BinOp(factor or ast.Constant(1), ast.Div(), number), above, below
                return (ast.BinOp(factor, ast.Mult(), number) if factor else number), above, below
            factor, above, below = self.factors(tree.left)
            if isinstance(tree.op, ast.Div):
                return factor, above, [*below, tree.right]
            other, more, under = self.factors(tree.right)
            both = ast.BinOp(factor, ast.Mult(), other) if factor and other else factor or other
            return both, [*above, *more], [*below, *under]
        return None, [tree], []

    # ---- operands

    def starts(self, tree: ast.expr) -> bool:
        """Whether a computation can begin with an operand: it is an array that the target has room for."""
        return is_place(tree) or self.fits(tree)

    def operands(self, left: ast.expr, others: list[ast.expr], target: ast.expr) -> tuple[ast.expr, list[ast.expr]]:
        """The other operands first, since the first one may overwrite the target that they read."""
        settled = [o if self.is_scalar(o) else self.settled(o, target) for o in others]
        return self.source(left, target), settled

    def source(self, tree: ast.expr, target: ast.expr) -> ast.expr:
        """Where the first operand stands: where it is already, or in the target, if it has its shape."""
        if is_place(tree) or not self.fits(tree):
            return tree
        self.into(tree, target)
        return target

    def settled(self, tree: ast.expr, target: ast.expr) -> ast.expr:
        """Another operand: where it is, in a spare array, or as an expression that makes an array of its own."""
        if is_place(tree) and text(tree) != text(target):
            return tree
        if is_place(tree):
            return self.kept(tree)
        spare = self.register() if self.fits(tree) else None
        if spare is None:
            return tree
        self.into(tree, spare)
        return spare

    def kept(self, tree: ast.expr) -> ast.expr:
        """What the target holds now, which it will not hold any more when it is read."""
        spare = self.register()
        if spare is None:
            return ast.Call(ast.Attribute(tree, "clone"), [], [])
        self.lines.append(f"{text(spare)}.copy_({text(tree)})")
        return spare

    def apply(
        self,
        name: str,
        source: ast.expr,
        others: list[ast.expr],
        target: ast.expr,
        options: list[ast.keyword] | None = None,
    ) -> None:
        """target.add_(others), or torch.add(source, others, out=target)"""
        keywords = options or []
        method = name.removeprefix("torch.")
        if text(source) == text(target) and method not in BINARY:
            call = ast.Call(ast.Attribute(target, f"{method}_"), others, keywords)
        else:
            call = ast.Call(ast.Name(name), [source, *others], [*keywords, out(target)])
        self.lines.append(text(call))


def transposed(tree: ast.expr) -> ast.expr:
    """x.T, and x of x.T."""
    return tree.value if isinstance(tree, ast.Attribute) and tree.attr == "T" else ast.Attribute(tree, "T")


def out(target: ast.expr) -> ast.keyword:
    return ast.keyword("out", target)


def is_place(tree: ast.expr) -> bool:
    """An array that has a name, or a view of one by attributes (`w.T`)."""
    while isinstance(tree, ast.Attribute):
        tree = tree.value
    return isinstance(tree, ast.Name)


def library_call(tree: ast.expr) -> str | None:
    """The name of a function of torch that is called."""
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute):
        owner = tree.func.value
        return tree.func.attr if isinstance(owner, ast.Name) and owner.id == "torch" else None
    return None


def keyword_sum(tree: ast.expr) -> bool:
    """x.sum(dim=..): a reduction over given axes, which takes `out`."""
    is_call = isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute) and not tree.args
    return is_call and library_call(tree) is None and any(k.arg == "dim" for k in tree.keywords)
