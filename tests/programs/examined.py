"""What a random spec is asked: no diagnostics, one form, and one meaning for all its programs at every level.

Compared are, in float64, value and gradients by the spec as written (torch's autograd on the IR before any pass) and by
emitted files of -O0, -O1 and -O2, of which the back ends take turns. How far two programs may be apart follows from the
spec itself: it is computed twice more with every number rounded to 30 bits, and what that changes says how much of a
rounding arrives at the end. The gradients are held against finite differences along one direction.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from leec import driver
from leec.api import Loaded
from leec.diagnostics import Source
from leec.ir.graph import Equation, Function, Result, Value
from leec.ir.module import Module
from leec.ir.text import parse_program, print_program
from leec.ops import TABLE
from leec.proof.agreement import compare
from leec.proof.autograd import Written
from leec.proof.emitted import at, result_names, to_array
from leec.proof.interpret import bind
from leec.runtime.philox import site_key

Results = list[np.ndarray]
ROUNDING = 1e-9  # of the shaken spec; of the programs it is 1e-16
ALLOWED = 1e-9  # of what a shaken spec says: some functions of the libraries are right to 5e-10 only
STEEP = 1e7  # what arrives of a rounding, in units of the value, from which on nothing can be said
DRAWS = 3  # of a spec that says nothing for the first
LARGE = 1e100  # from which on, and below its reciprocal, products of two may leave the range of floats
STEP = 1e-6
KINK = 1e-5  # slopes on both sides that differ by more are of two formulas
TURNS = ((0, "numpy"), (1, "torch"), (2, "numpy")), ((0, "torch"), (1, "numpy"), (2, "torch"))


@dataclass
class Seen:
    """What happened to the specs so far: how many, how many of them said nothing, why, and the ops they reached."""

    ops: Counter[str] = field(default_factory=Counter)
    what: Counter[str] = field(default_factory=Counter)

    def reach(self, module: Module) -> None:
        for f in module.functions.functions.values():
            self.ops.update(e.op for e in equations(f))


def equations(f: Function):
    """The equations of a function and of the loops in it."""
    for e in f.body:
        yield e
        for inner in e.params.values():
            if isinstance(inner, Function):
                yield from equations(inner)


@dataclass
class Probe(Written):
    """The spec as written, in three ways; made once, as that takes time.

    `shaken` gives every result of arithmetic a relative error of ROUNDING and random sign. `moved` moves some values along
    directions, while what gradients do not see, behind `stop` and `graft`, stays at its first value.
    """

    random: Any = None
    along: Mapping[Value, np.ndarray] = field(default_factory=dict)
    by: float = 0.0
    kept: list[Any] = field(default_factory=list)
    at: int = 0
    moderate: bool = True  # whether no value on the way was as large or as small as that

    def shaken(self, f: Function, given: Mapping[str, Any], seed: int) -> Results:
        self.random = np.random.default_rng(seed)
        found = self.plain(f, given)
        self.random = None
        return found

    def moved(self, f: Function, given: Mapping[str, Any], result: int, by: float) -> float:
        self.by, self.at = by, 0
        return float(self.plain(f, given)[result])

    def plain(self, f: Function, given: Mapping[str, Any]) -> Results:
        return [to_array(x) for x in self.evaluate(f, *bind(f, given))]

    def equation(self, e: Equation, args: list[Any], sizes: Mapping[str, int]) -> tuple:
        if self.along and e.op in ("stop", "graft") and not e.results[0].type.host:
            return (self.hidden(args[0].detach(), args[-1] if e.op == "graft" else None),)
        found = super().equation(e, args, sizes)
        self.moderate = self.moderate and all(map(is_moderate, found))
        if self.along:
            return tuple(self.step(v, x) for v, x in zip(e.results, found, strict=True))
        row = TABLE[e.op]
        moves = row.flops == 0 or "selects" in row.facts or e.op in ("scan", "call")  # entries only change places
        return found if self.random is None or moves else tuple(map(self.rounded, found))

    def rounded(self, x: Any) -> Any:
        """Not of what is whole, which is exact."""
        if not getattr(x, "is_floating_point", bool)():
            return x
        signs = self.torch.as_tensor(self.random.integers(0, 2, tuple(x.shape)) * 2.0 - 1)
        return x * (1 + ROUNDING * signs * (x != x.round()))

    def step(self, v: Value, x: Any) -> Any:
        return x + self.by * self.torch.as_tensor(self.along[v]) if v in self.along else x

    def hidden(self, value: Any, seen: Any) -> Any:
        if self.at == len(self.kept):
            self.kept.append((value, None if seen is None else seen.detach()))
        first, before = self.kept[self.at]
        self.at += 1
        return first if seen is None else first + (seen - before)


def examine(text: str, seen: Seen | None = None, thorough: bool = False) -> list[str]:
    """What is wrong with a spec, nothing if all agree; `thorough` asks also for its form and for all of both files."""
    seen = seen if seen is not None else Seen()
    seen.what["specs"] += 1
    module, diagnostics = driver.elaborate(Source("made.lee", text))
    if diagnostics:
        return [f"{d.code} {d.message} (line {d.span.line})" for d in diagnostics]
    seen.reach(module)
    turn = zlib.crc32(text.encode())
    wrong = malformed(text, module) if thorough or turn % 16 == 0 else []
    programs = sum(TURNS, ()) if thorough else TURNS[turn % 2]
    return wrong + [w for name in module.examples for w in disagreements(module, name, seen, programs)]


def malformed(text: str, module: Module) -> list[str]:
    """A formatted spec is formatted as it is and means the same; the IR is read back from its text as it was."""
    from leec.syntax.format import format_source

    formatted = format_source(Source("made.lee", text))
    if format_source(Source("made.lee", formatted)) != formatted:
        return ["the formatter changes its own result"]
    printed = without_places(print_program(module.functions))
    again, _ = driver.elaborate(Source("made.lee", formatted))
    if without_places(print_program(again.functions)) != printed:
        return ["the formatter changes what the spec means"]
    if without_places(print_program(parse_program(printed))) != printed:
        return ["the IR does not survive its text"]
    return []


def without_places(text: str) -> str:
    return "\n".join(line.partition("   #")[0] for line in text.splitlines())


def disagreements(module: Module, name: str, seen: Seen, programs: Sequence[tuple[int, str]]) -> list[str]:
    """Quantities on which two programs of an example differ by more than rounding explains."""
    f = module.functions.functions[module.examples[name]]
    probe = Probe(module.functions)
    telling = draw(probe, f)
    if telling is None:
        seen.what["not finite"] += 1
        return []
    given, written, scales = telling
    found = {"the spec as written": written}
    loaded = {level: Loaded(module, driver.Options(level, "f64")) for level in (0, 1, 2)}
    for level, backend in programs:
        seen.reach(loaded[level].optimised)
        found[f"{backend} -O{level}"] = results(loaded[level], backend, f.name, given)
    wrong = [
        f"{quantity}: {row.between} differ by {row.error:.3g}, allowed {row.bound:.3g}"
        for i, quantity in enumerate(result_names(f))
        if not (row := compare(quantity, {p: x[i] for p, x in found.items()}, scales[i], ALLOWED)).agrees
    ]
    seen.what["steep"] += is_steep(scales, written)
    return wrong or slopes(probe, f, given, written, scales, seen)


def draw(probe: Probe, f: Function) -> tuple[dict[str, Any], Results, list[float]] | None:
    """Keys with what the spec as written gives for them and how sensitive that is: the first draw that is not steep.

    None where no draw is finite. A spec whose first draw says nothing may go to extremes in the next ones too, where what
    is written is finite and wrong: e^-400 / e^400 is 0.
    """
    found = None
    for seed in range(DRAWS):
        given = {p.name: site_key(seed, f.name) for p in f.parameters}
        probe.moderate = True
        try:
            written = probe.plain(f, given)
        except IndexError:  # at a position that is NaN
            if not seed:
                raise
            continue
        if all(np.isfinite(x).all() for x in written) and (probe.moderate or not seed):
            found = given, written, sensitivity(probe, f, given, written)
            if not is_steep(found[2], written):
                break
    return found


def is_moderate(x: Any) -> bool:
    """Neither large nor, where it is not 0, small."""
    if not getattr(x, "is_floating_point", bool)() or not x.numel():
        return True
    size = x.detach().abs()
    return bool(((size < LARGE) & ((size > 1 / LARGE) | (size == 0))).all())


def is_steep(scales: Sequence[float], results: Results) -> bool:
    """Whether next to nothing can be said of some result."""
    sizes = (max(1.0, float(np.abs(x).max(initial=0.0))) for x in results)
    return any(scale > STEEP * size for scale, size in zip(scales, sizes, strict=True))


def results(loaded: Loaded, backend: str, name: str, given: Mapping[str, Any]) -> Results:
    """What the function of an emitted file returns, flat."""
    f = loaded.optimised.functions.functions[name]
    returned = getattr(loaded.backend(backend), name.replace(".", "_"))(*given.values())
    groups = zip(f.results, returned if len(f.results) > 1 else (returned,), strict=True)
    return [to_array(x) for r, group in groups for x in members(r, group)]


def members(r: Result, group: Any) -> list[Any]:
    """The tensors of a result: of a point by their paths, which is a dict or an object."""
    tensors = group.tensors() if r.paths and not isinstance(group, dict) else group
    return [at(tensors, path) for path in r.paths] if r.paths else [group]


def sensitivity(probe: Probe, f: Function, given: Mapping[str, Any], written: Results) -> list[float]:
    """By how much every result changes for rounding errors of 1, at least by its own size."""
    least = 1e-3 * max(1.0, *(float(np.abs(x).max(initial=0.0)) for x in written))  # what cancels is not 0
    scales = [max(least, float(np.abs(x).max(initial=0.0))) for x in written]
    for seed in (0, 1):
        for i, (x, y) in enumerate(zip(probe.shaken(f, given, seed), written, strict=True)):
            change = float(np.abs(x - y).max(initial=0.0)) / ROUNDING
            scales[i] = max(scales[i], change if np.isfinite(change) else np.inf)
    return scales


def slopes(
    probe: Probe, f: Function, given: Mapping[str, Any], results: Results, scales: list[float], seen: Seen
) -> list[str]:
    """Gradients against finite differences, where the value is smooth enough for those to agree with each other.

    They are off by what the curvature and, of a value that is steep, the rounding of numbers leaves open.
    """
    f = probe.program.functions[f.name]  # as it runs, in parts
    asked = next((e for e in reversed(f.body) if e.op == "grad" and e.results[0] in f.outputs), None)
    if asked is None:
        return []
    random, claims = np.random.default_rng(0), dict(zip(f.outputs, results, strict=True))
    given_by = dict(zip(asked.args[1:], asked.results, strict=True))  # two names of one value have one gradient
    probe.along = along = {v: random.normal(size=claims[g].shape) for v, g in given_by.items()}
    result = f.outputs.index(asked.args[0])
    if is_steep([scales[result]], [results[result]]):
        return []
    middle, *points = (probe.moved(f, given, result, h) for h in (0.0, -STEP, -STEP / 2, STEP / 2, STEP))
    wide, narrow = (points[3] - points[0]) / (2 * STEP), (points[2] - points[1]) / STEP
    left, right = (middle - points[1]) / (STEP / 2), (points[2] - middle) / (STEP / 2)
    terms = [float((claims[g] * along[v]).sum()) for v, g in given_by.items()]
    size = max(1.0, abs(middle), *map(abs, terms), abs(wide))
    if max(abs(wide - narrow), abs(left - right)) > KINK * size:
        seen.what["kinked"] += 1
        return []
    seen.what["finite differences"] += 1
    rounding = 4 * np.finfo(float).eps * scales[result] / STEP
    if abs(sum(terms) - narrow) > 2 * KINK * size + rounding:
        return [f"gradient: {sum(terms)} by the rules, {narrow} by finite differences"]
    return []
