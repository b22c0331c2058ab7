"""What differs between NumPy and PyTorch in emitted code, beyond the columns of the op table."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache


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
    store: str  # a statement that writes `value` into the array `target`
    infinity: str
    modules: bool = False  # models are modules of the library, which know whether they are training

    def dtype(self, name: str) -> ast.expr:
        return parse(self.dtypes[name])

    def copied(self, array: ast.expr) -> ast.expr:
        return ast.Call(ast.Attribute(array, self.copy), [], [])


NUMPY = Dialect(
    "numpy",
    "np",
    {"float": "FLOAT", "f32": "np.float32", "f64": "np.float64", "int": "np.int64", "bool": "np.bool_"},
    {"f32": "np.float32", "f64": "np.float64"},
    copy="copy",
    store="{target}[...] = {value}",
    infinity="np.inf",
)
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
    store="{target}.copy_({value})",
    infinity="torch.inf",
    modules=True,
)
