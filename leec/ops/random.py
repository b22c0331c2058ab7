"""Random draws: functions of a key alone. Keys are host values; a draw's key is folded from where it stands (R24).

The columns call `fold`, `uniform`, .. of leec/runtime/draws_numpy.py and draws_torch.py, which give equal numbers.
"""

from __future__ import annotations

from hashlib import blake2b

from leec.ops.table import REQUIRED, Op, declare, example
from leec.types import TensorType, host


def site_word(site: str) -> int:
    """The 64-bit word of a site, as in leec/runtime/philox.py: BLAKE2b of its text, 8 bytes, little-endian."""
    return int.from_bytes(blake2b(site.encode(), digest_size=8).digest(), "little")


def _fold_site(types, params):
    return "fold(key, word)", {"word": site_word(params["site"])}


KEY = ("host key",)

# fmt: off
declare(Op("fold_key", ("key",), "the key of a place in the program",
           lambda key, site: host("key"), None, "", "", _fold_site,
           params={"site": REQUIRED}, operands="key", flops=0,
           examples=(example(*KEY, site="mlp.w"), example(*KEY, site="mlp.b"))))
declare(Op("fold_count", ("key", "n"), "the key of one round of a loop",
           lambda key, n: host("key"), None, "", "", "fold(key, n)", operands=("key", "int"), flops=0,
           examples=(example("host key", "host int", within={"n": (0, 9)}),)))


def _draw(name: str, doc: str, dtype: str, numpy: str, torch: str,
          args=("key",), operands="key", types=KEY, **more) -> None:
    declare(Op(name, args, doc, lambda *given, dims: TensorType(dtype, tuple(dims)), None, numpy, torch,
               params={"dims": REQUIRED}, operands=operands, flops=10,
               examples=tuple(example(*types, dims=dims, **more) for dims in (("a", "b"), ("7",), ()))))


_draw("uniform", "numbers in [0, 1), all alike", "float",
      "uniform(key, dims, FLOAT)", "uniform(key, dims, FLOAT, DEVICE)")
_draw("normal", "standard normal numbers", "float",
      "normal(key, dims, FLOAT)", "normal(key, dims, FLOAT, DEVICE)")
_draw("randint", "integers in [low, high), all alike", "int",
      "randint(key, dims, low, high)", "randint(key, dims, low, high, DEVICE)",
      ("key", "low", "high"), ("key", "int", "int"), (*KEY, "host int", "host int"),
      within={"low": (-3, 0), "high": (1, 5)})
# fmt: on
