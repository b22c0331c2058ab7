"""Every law holds: its left side is written with random operands and params, and what it becomes has the same values.

A law that is wrong fails here under its own text, and so does one that never applies.
"""

from __future__ import annotations

import ast
import math
import random

import numpy as np
import pytest

from leec.dims import Dim
from leec.ir.build import Builder
from leec.ir.graph import Function, Parameter, Program, Result, Value
from leec.ops import TABLE
from leec.ops.contract import Contraction
from leec.ops.laws import LAWS, RELEASE, Law
from leec.ops.laws_shape import SHAPE_LAWS
from leec.ops.shape import Slices
from leec.ops.stable import STABLE, UNMASKED
from leec.passes.patterns import Name, Node, Number, compiled, parse_pattern, rules
from leec.passes.rewrite import rewrite
from leec.proof.interpret import run
from leec.types import TensorType, host, tensor

EVERY = [*LAWS, *SHAPE_LAWS, *STABLE, UNMASKED, *RELEASE]
N, K, ONE = Dim.of("n"), Dim.of("k"), Dim.of(1)
SIZES = {"n": 4, "k": 3}
TYPES = [
    tensor(*t) for t in (("float", N, K), ("float", N, K), ("float", K), ("float", N, ONE), ("float",), ("float", N, N))
]
OTHERS = [tensor("bool", N, K), tensor("int", N, K), tensor("float", 1, K)]
TRIES, WANTED = 4000, 6


class Writer:
    """One instance of a pattern: what its names stand for is drawn, equal names the same."""

    def __init__(self, rng: random.Random):
        self.rng, self.b = rng, Builder()
        self.inputs: list[Value] = []
        self.values: dict[str, Value] = {}
        self.params: dict[str, object] = {}

    def input(self, type: TensorType) -> Value:
        self.inputs.append(Value(self.b.unique("x"), type))
        return self.inputs[-1]

    def value(self, pattern: Name | Number | Node) -> Value:
        match pattern:
            case Number(number=number):
                return self.b.lift(number)
            case Name(name=name, host=is_host):
                if name not in self.values:
                    written = is_host or self.rng.random() < 0.1
                    self.values[name] = self.number() if written else self.operand()
                return self.values[name]
        args = tuple(map(self.value, pattern.args)) if not self.takes_any(pattern) else self.operands(pattern)
        row = TABLE[pattern.op]
        wanted = {key: self.param(key, row.name, args, given) for key, given in pattern.params}
        missing = {key: self.draw(key, row.name, args) for key, v in row.params.items() if key not in wanted}
        return self.b.emit(pattern.op, args, {**missing, **wanted})

    def operand(self) -> Value:
        """An input; or something positive that is made of one."""
        x = self.input(self.rng.choice(TYPES + OTHERS))
        if not x.type.is_float or self.rng.random() < 0.6:
            return x
        forms = [self.b.exp, self.b.sigmoid, lambda x: self.b.neg(self.b.sigmoid(x))]
        if x.type.rank == 2:
            forms += [
                lambda x: self.b.sum(self.b.exp(x), axes=(1,), keepdims=True),
                lambda x: self.b.softmax(x, axes=(1,)),
            ]
        return self.rng.choice(forms)(x)

    def number(self) -> Value:
        return self.b.lift(self.rng.choice([2.0, 0.5, -3.0, 2, 3, 1.0, True, -math.inf]))

    def takes_any(self, pattern: Node) -> bool:
        return len(pattern.args) == 1 and isinstance(pattern.args[0], Name) and pattern.args[0].rest

    def operands(self, pattern: Node) -> tuple[Value, ...]:
        """For what takes any number; some are transposed or repeat, as laws about them look for that."""
        count = self.rng.choice([1, 2]) if pattern.op == "concat" else 2
        found = []
        for _ in range(count):
            x = self.input(tensor("float", N, K))
            if pattern.op == "contract" and self.rng.random() < 0.7:
                x = self.rng.choice([self.transposed, self.repeated])()
            found.append(x)
        return tuple(found)

    def transposed(self) -> Value:
        return self.b.transpose(self.input(tensor("float", K, N)), perm=(1, 0))

    def repeated(self) -> Value:
        return self.b.broadcast(self.input(self.rng.choice(TYPES[2:5])), dims=(N, K))

    def param(self, key: str, op: str, args: tuple[Value, ...], given: object) -> object:
        if not isinstance(given, Name):
            return given
        if given.name not in self.params:
            self.params[given.name] = self.draw(key, op, args)
        return self.params[given.name]

    def draw(self, key: str, op: str, args: tuple[Value, ...]) -> object:
        """A param of a row, not always one that fits the operands."""
        dims = args[0].type.dims if args else (N, K)
        pick, rank = self.rng.choice, len(dims)
        drawn = {
            "axes": lambda: tuple(a for a in range(rank) if self.rng.random() < 0.6),
            "keepdims": lambda: pick([True, False]),
            "masked": lambda: True,
            "perm": lambda: tuple(self.rng.sample(range(rank), rank)),
            "dim": lambda: pick([N, K, N * K]),
            "dtype": lambda: pick(["float", "int", "bool"]),
            "type": lambda: host(pick(["float", "int"])),
            "value": lambda: pick([2.0, 0.5, 4.0]),
            "axis": lambda: pick([0, 1]),
            "slices": lambda: Slices(self.stretch(d) for d in dims),
            "widths": lambda: tuple(pick([(Dim.of(1), Dim.of(2)), (Dim.of(0), Dim.of(0))]) for _ in dims),
            "spec": lambda: self.spec(args),
            "dims": lambda: self.dims(op, dims),
        }
        return drawn[key]()

    def stretch(self, d: Dim) -> tuple[Dim, Dim, Dim]:
        whole = (Dim.of(0), d, ONE)
        part = (Dim.of(1), d, self.rng.choice([ONE, Dim.of(2)]))
        return self.rng.choice([whole, part, (Dim.of(0), N, ONE), (N, N + N, ONE)])

    def dims(self, op: str, dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
        if op == "unslice":
            return self.rng.choice([dims, tuple(d + 2 for d in dims), (N, K)])
        squeezed = tuple(d for d in dims if d != 1)
        spread = [(N, K), (N, N, K), (ONE, *dims), (ONE, N, K), dims]
        flat = [(N * K,), squeezed, (*squeezed, ONE), (*squeezed[:1], ONE), (*squeezed[:-1], ONE, *squeezed[-1:])]
        return self.rng.choice(spread + (flat if op == "reshape" else []))

    def spec(self, args: tuple[Value, ...]) -> Contraction:
        names = [Dim.of(c) for c in "ij"]
        own = tuple(tuple(names[: a.type.rank]) for a in args)
        sizes = dict(zip("ij", args[0].type.dims, strict=False))
        used = names[: max(len(o) for o in own)]
        result = tuple(self.rng.sample(used, self.rng.randrange(len(used) + 1)))
        ranges = tuple((str(s), sizes[str(s)]) for s in used)
        return Contraction(own, result, ranges, tuple(sizes[str(s)] for s in result))


def instance(law: Law, rng: random.Random) -> Function | None:
    """The left side as a function, if what was drawn fits together."""
    w = Writer(rng)
    try:
        out = w.value(parse_pattern(ast.parse(law.left, mode="eval").body))
    except Exception:  # of a type rule, in whatever way it refuses operands that were only drawn
        return None
    if out.type.host:
        out = w.b.fill(out, dims=(N,), dtype="float" if out.type.dtype == "float" else out.type.dtype)
    parameters = tuple(
        Parameter(v.name, (v,)) for v in (*w.inputs, Value("n_0", tensor("float", N)), Value("k_0", tensor("float", K)))
    )
    return Function("f", parameters, tuple(w.b.equations), (Result("y", (out,)),))


def outcome(f: Function) -> np.ndarray | None:
    """The numbers, if what was drawn can be run."""
    try:
        return numbers(f)
    except Exception:  # in whatever way it fails: an empty slice, a reduction of a host number
        return None


def numbers(f: Function) -> np.ndarray:
    rng = np.random.default_rng(3)
    inputs = {}
    for v in f.inputs:
        shape = tuple(d.evaluate(SIZES) for d in v.type.dims)
        drawn = rng.uniform(-1.5, 1.5, shape) if v.type.is_float else rng.integers(0, 2, shape)
        inputs[v.name] = drawn.astype(bool) if v.type.dtype == "bool" else drawn
    return np.asarray(run(Program({"f": f}), "f", inputs)["y"], dtype=np.float64)


@pytest.mark.parametrize("law", EVERY, ids=lambda law: law.left)
def test_law(law: Law) -> None:
    rng, alone, applied = random.Random(0), rules([law]), 0
    for _ in range(TRIES):
        before = instance(law, rng)
        after = before and rewrite(before, alone)
        if before is None or (len(after.body) == len(before.body) and shown(after) == shown(before)):
            continue
        old = outcome(before)
        if old is None:
            continue
        new = numbers(after)
        finite = np.isfinite(old)
        assert np.isfinite(new[finite]).all()
        np.testing.assert_allclose(new[finite], old[finite], rtol=1e-9, atol=1e-12)
        applied += 1
        if applied == WANTED:
            return
    assert applied, "the law never applied"


def shown(f: Function) -> list[tuple]:
    return [(e.op, [a.name for a in e.args], str(e.params)) for e in f.body]


def test_a_wrong_law_is_found() -> None:
    for left, right in (
        ("sub(x, once(neg(y)))", "sub(x, y)"),
        ("mean(x, axes=a, keepdims=k)", "max(x, axes=a, keepdims=k)"),
    ):
        with pytest.raises(AssertionError):
            test_law(Law(left, right))


def test_a_pattern_names_ops_that_exist() -> None:
    with pytest.raises(ValueError, match="not a pattern"):
        compiled(Law("nothing(x)", "x"))
