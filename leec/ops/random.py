"""Random draws from counter keys (decision 21): the same words on every back end, whatever else the program draws.

The functions that the columns call are those of leec/runtime/draws_numpy.py and draws_torch.py. A key is a host value.
"""

from __future__ import annotations

from hashlib import blake2b

from leec.ops.table import REQUIRED, Op, declare
from leec.types import TensorType, host


def site_word(site: str) -> int:
    """The 64-bit word of a site: BLAKE2b of its text, 8 bytes, little-endian."""
    return int.from_bytes(blake2b(site.encode(), digest_size=8).digest(), "little")


def _fold(types, params):
    return "fold(key, word)", {"word": site_word(params["site"])}


def _draw(name: str, doc: str, dtype: str, columns: tuple[str, str], args: tuple[str, ...] = ("key",), **facts) -> None:
    declare(Op(name, args, doc, lambda *types, dims: TensorType(dtype, dims), None, *columns,
               params={"dims": REQUIRED}, flops=10, effect="draw", facts={"support": (name,), **facts}))  # fmt: skip


declare(Op("fold_key", ("key",), "the key of a draw at a site", lambda key, site: host("key"), None, _fold, _fold, _fold,
           params={"site": REQUIRED}, flops=0, facts={"support": ("fold",)}))  # fmt: skip
_draw("uniform", "uniform numbers in [0, 1), multiples of 2**-24", "float",
      ("uniform(key, dims, FLOAT)", "uniform(key, dims, FLOAT, DEVICE)"))  # fmt: skip
_draw("normal", "standard normal numbers (Box and Muller 1958)", "float",
      ("normal(key, dims, FLOAT)", "normal(key, dims, FLOAT, DEVICE)"))  # fmt: skip
_draw("randint", "integers from low up to, not including, high", "int",
      ("randint(key, dims, low, high)", "randint(key, dims, low, high, DEVICE)"), ("key", "low", "high"))  # fmt: skip
