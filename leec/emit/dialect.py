"""What differs between NumPy and PyTorch in emitted code, beyond the columns of the op table."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from functools import lru_cache

from leec.emit.layout import text


@lru_cache(maxsize=4096)
def parse(text: str) -> ast.expr:
    """The tree of an expression; trees are shared and never changed."""
    return ast.parse(text, mode="eval").body


@dataclass(frozen=True)
class Dialect:
    """`column` is the column of the op table; dtypes are expressions over the module's constant FLOAT."""

    column: str
    library: str
    dtypes: dict[str, str]
    widths: dict[str, str]  # of `--dtype`, what FLOAT is
    copy: str  # the method that gives an array of its own
    infinity: str
    modules: bool = False  # models are modules of the library, which know whether they are training
    autograd: bool = False  # the library follows what is computed, unless told not to
    in_place: bool = False  # groups and single operations write over arrays that nobody reads any more

    def dtype(self, name: str) -> ast.expr:
        return parse(self.dtypes[name])

    def stored(self, target: ast.expr, value: ast.expr) -> str:
        """A statement that writes a value into an array; `x -= d` where the value is x - d."""
        here, torch = text(target), self.library == "torch"
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add | ast.Sub) and text(value.left) == here:
            method, sign = ("add_", "+") if isinstance(value.op, ast.Add) else ("sub_", "-")
            return f"{here}.{method}({text(value.right)})" if torch else f"{here} {sign}= {text(value.right)}"
        return f"{here}.copy_({text(value)})" if torch else f"{here}[...] = {text(value)}"

    def copied(self, array: ast.expr) -> ast.expr:
        return ast.Call(ast.Attribute(array, self.copy), [], [])


NUMPY = Dialect(
    "numpy",
    "np",
    {"float": "FLOAT", "f32": "np.float32", "f64": "np.float64", "int": "np.int64", "bool": "np.bool_"},
    {"f32": "np.float32", "f64": "np.float64"},
    copy="copy",
    infinity="np.inf",
)
NUMPY_IN_PLACE = replace(NUMPY, in_place=True)
TORCH = Dialect(
    "torch",
    "torch",
    {
        "float": "FLOAT",
        "f32": "torch.float32",
        "f64": "torch.float64",
        "bf16": "torch.bfloat16",
        "int": "torch.int64",
        "bool": "torch.bool",
    },
    {"f32": "torch.float32", "f64": "torch.float64", "bf16": "torch.bfloat16"},
    copy="clone",
    infinity="torch.inf",
    modules=True,
    autograd=True,
)
STEP = replace(TORCH, column="torch_step", autograd=False)  # where gradients are written out
HOST = replace(NUMPY, column="host")
