"""A procedure for some steps through every program, from the same parameters, batches and draws.

Both files run it themselves. Autograd and the spec as written take the steps that the NumPy file took, with their own
models and optimizers: what an object is given at first, it is given there too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from leec.ir.graph import Function
from leec.proof.agreement import AFTER_STEPS, TOLERANCES, compare
from leec.proof.autograd import Through, Written
from leec.proof.emitted import to_array
from leec.proof.examples import Pair
from leec.proof.exempt import Still, moved, over_all, still
from leec.proof.failures import running
from leec.proof.record import Call, Recording, record
from leec.proof.report import MODULE, NUMPY, TORCH, WRITTEN, Section, Worst
from leec.proof.scale import Measured

AS_WRITTEN = 3  # calls that the spec as written takes part in: naive formulas are slow, and their gradients show it


@dataclass
class Follower:
    """Takes recorded steps with tensors of its own."""

    pair: Pair
    machine: Written
    tensors: dict[int, dict[str, Any]] = field(default_factory=dict)  # by the object of the NumPy file
    losses: list[float] = field(default_factory=list)
    gradients: list[np.ndarray] = field(default_factory=list)  # a vector a call

    def follow(self, call: Call) -> None:
        f = self.pair.spec.module.functions.functions[call.f.name]
        for p in f.parameters:
            if p.model is not None:
                self.meet(call, p.name, p.model)
        homes = {v: (p.name, path) for p in f.parameters for v, path in zip(p.values, p.paths, strict=False)}
        values = [
            x if v.type.host else self.own(call, homes.get(v), x) for v, x in zip(f.inputs, call.values, strict=True)
        ]
        self.machine.directions.clear()
        found = self.machine.evaluate(f, values, call.sizes)
        self.gradients.append(joined(self.machine.directions))
        names = [r.name for r in f.results for _ in r.values]
        self.losses += [float(x) for name, x in zip(names, found, strict=False) if name.partition("_")[0] == "loss"]
        for (before, _), after in zip(f.state, found[len(names) :], strict=True):
            name, path = homes[before]
            self.tensors[id(call.objects[name])][path] = after

    def meet(self, call: Call, name: str, model: str) -> None:
        """An object that comes by for the first time begins with what the NumPy file has then."""
        found = call.objects[name]
        if id(found) in self.tensors:
            return
        self.tensors[id(found)] = {}
        if isinstance(self.machine, Through):
            for twin in self.pair.torch.models_like(model, found):
                self.machine.know(twin)

    def own(self, call: Call, home: tuple[str, str] | None, x: Any) -> Any:
        if home is None or id(call.objects.get(home[0])) not in self.tensors:
            return x
        return self.tensors[id(call.objects[home[0]])].setdefault(home[1], x)

    def final(self, recording: Recording) -> dict[str, Any]:
        names = {id(found): name for name, found in recording.objects.items()}
        return {f"{names[i]}.{path}": to_array(x) for i, own in self.tensors.items() for path, x in own.items()}


def joined(vectors: Sequence[Any]) -> np.ndarray:
    arrays = [np.ravel(to_array(v)) for v in vectors]
    return np.concatenate(arrays) if arrays else np.zeros(0)


@dataclass
class Steps:
    """What every program made of a procedure."""

    pair: Pair
    recordings: dict[str, Recording]
    followers: dict[str, Follower]
    scales: list[list[Measured]]  # of the outputs of every call
    gradient_scales: list[np.ndarray]  # of the gradients of every call

    @property
    def calls(self) -> list[Call]:
        return self.recordings[NUMPY].calls

    @cached_property
    def stills(self) -> list[dict[str, Still]]:
        """For every call what of its inputs was moved by a gradient that is zero up to rounding."""
        limit = TOLERANCES[self.pair.dtype]
        pairs = zip(self.calls, self.gradient_scales, strict=True)
        return [still(self.pair, call, joined(call.gradients), scale, limit) for call, scale in pairs]

    @cached_property
    def exempt(self) -> dict[str, np.ndarray]:
        """The same of variables over all calls."""
        names = {id(x): name for name, x in self.recordings[NUMPY].objects.items()}
        return over_all(self.calls, self.stills, names)


def run_steps(pair: Pair, procedure: str, steps: int, seed: int, arguments: Mapping[str, Any] | None = None) -> Steps:
    recordings = {}
    for program, emitted in ((NUMPY, pair.numpy), (TORCH, pair.torch)):
        with running(program, emitted.module):
            recordings[program] = record(emitted, procedure, steps, seed, arguments=arguments)
    followers = {MODULE: Follower(pair, pair.through())}
    if pair.dtype == "f64":
        followers[WRITTEN] = Follower(pair, pair.written())
    measuring = [measure(pair, call) for call in recordings[NUMPY].calls]
    for k, call in enumerate(recordings[NUMPY].calls):
        for program, follower in followers.items():
            if program != WRITTEN or k < AS_WRITTEN:
                with running(program, pair.torch.module):
                    follower.follow(call)
    return Steps(pair, recordings, followers, [m for m, _ in measuring], [g for _, g in measuring])


def measure(pair: Pair, call: Call) -> tuple[list[Measured], np.ndarray]:
    """Scales of what a call gives, and of the gradients that its updates get."""
    scales, directions = pair.scales(), []

    def watch(f: Function, e: Any, args: Sequence[Measured]) -> None:
        if e.params.get("callee") in pair.rules:
            directions.append(args[1].scale)

    scales.watch = watch
    return scales.measure(call.f, call.values, call.sizes), joined(directions)


# ---- comparison


def train_section(made: Steps, procedure: str, seed: int) -> Section:
    """Losses, gradients, final tensors, reported rows."""
    rows = Worst()
    for compared in (compare_initial, compare_losses, compare_gradients, compare_final, compare_reports):
        compared(made, rows)
    first = made.recordings[NUMPY]
    return Section("train", procedure, made.pair.dtype, seed, list(rows), steps=first.steps)


def compare_initial(made: Steps, rows: Worst) -> None:
    first, second = (made.recordings[p].initial for p in (NUMPY, TORCH))
    for name in (name for name in first if name in second):
        for path in (path for path in first[name] if path in second[name]):
            values = {NUMPY: first[name][path], TORCH: second[name][path]}
            row = compare("initial values", values, 0.0, TOLERANCES[made.pair.dtype])
            rows.add(row)


def compare_losses(made: Steps, rows: Worst) -> None:
    losses = {program: [x for _, x in r.losses] for program, r in made.recordings.items()}
    losses |= {program: follower.losses for program, follower in made.followers.items()}
    count = len(losses[NUMPY])
    scales = [
        m.scale
        for call, found in zip(made.calls, made.scales, strict=True)
        for name, m in zip((r.name for r in call.f.results for _ in r.values), found, strict=False)
        if name.partition("_")[0] == "loss"
    ]
    if len(losses[TORCH]) != count or not count:
        if count:
            rows.add(compare("number of steps", {p: len(losses[p]) for p in (NUMPY, TORCH)}, 0.0, 0.0))
        return
    for k in range(count):
        values = {program: np.float64(found[k]) for program, found in losses.items() if k < len(found)}
        scale = float(scales[k]) if k < len(scales) else 0.0
        rows.add(compare("loss", values, scale, tolerance(made, k)))


def tolerance(made: Steps, step: int) -> float:
    return (AFTER_STEPS if step else TOLERANCES)[made.pair.dtype]


def compare_gradients(made: Steps, rows: Worst) -> None:
    """Those of every call, split into the tensors that were moved."""
    torch = per_call(made)
    for k, call in enumerate(made.calls):
        values = {NUMPY: joined(call.gradients), TORCH: torch[k]}
        values |= {program: f.gradients[k] for program, f in made.followers.items() if k < len(f.gradients)}
        stop = 0
        for part in moved(made.pair, call):
            start, stop = stop, stop + part.size
            parts = {program: g[start:stop] for program, g in values.items() if g is not None}
            scale = float(made.gradient_scales[k][start:stop].max(initial=0.0))
            rows.add(compare(f"d_{part.name}", parts, scale, tolerance(made, k)))


def per_call(made: Steps) -> list[np.ndarray | None]:
    """The gradients of the torch steps, a vector a call; None where they cannot be told apart."""
    rest, found = list(made.recordings[TORCH].gradients), []
    for call in made.calls:
        own = [rest.pop(0) if rest else None for _ in call.gradients]
        fits = all(g is not None and g.size == h.size for g, h in zip(own, call.gradients, strict=True))
        found.append(joined(own) if fits else None)
    return found


def compare_final(made: Steps, rows: Worst) -> None:
    """Every tensor of every object after the last step."""
    final = {program: r.final() for program, r in made.recordings.items()}
    whole = {program: f for program, f in made.followers.items() if len(f.gradients) == len(made.calls)}
    final |= {program: follower.final(made.recordings[NUMPY]) for program, follower in whole.items()}
    exempt, scales = made.exempt, final_scales(made)
    for name, x in final[NUMPY].items():
        values = {program: np.reshape(found[name], np.shape(x)) for program, found in final.items() if name in found}
        if len(values) > 1:
            rows.add(compare(name, values, scales.get(name, 0.0), AFTER_STEPS[made.pair.dtype], exempt.get(name)))


def final_scales(made: Steps) -> dict[str, float]:
    """Of the tensors that the last call of each function changed."""
    found: dict[str, float] = {}
    variables = {id(x): name for name, x in made.recordings[NUMPY].objects.items()}
    for call, outputs in zip(made.calls, made.scales, strict=True):
        after = outputs[len(outputs) - len(call.f.state) :]
        homes = {v: (p.name, path) for p in call.f.parameters for v, path in zip(p.values, p.paths, strict=False)}
        for (before, _), m in zip(call.f.state, after, strict=True):
            name, path = homes[before]
            found[f"{variables[id(call.objects[name])]}.{path}"] = float(np.max(m.scale, initial=0.0))
    return found


def compare_reports(made: Steps, rows: Worst) -> None:
    """Reported numbers, which have no scale of their own: they count as at least 1."""
    reported = [made.recordings[p].rows for p in (NUMPY, TORCH)]
    for first, second in zip(*reported, strict=False):
        for label in (label for label in first if label in second):
            values = {NUMPY: first[label], TORCH: second[label]}
            rows.add(compare(f"reported {label}", values, 1.0, AFTER_STEPS[made.pair.dtype]))
