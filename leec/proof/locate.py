"""Who is to blame for a disagreement: an operation, a gradient rule, a pass, an emitter, or the code of a procedure.

The questions are asked in the order in which programs are made: do the columns of every operation agree, does every
pass keep what a function gives, does each file compute what the IR says that it was made from?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from leec.ir.graph import Equation, Function, Value
from leec.ops import TABLE
from leec.proof.agreement import compare
from leec.proof.autograd import Through, Written
from leec.proof.columns import parting_columns
from leec.proof.emission import FILES, parting_emission, parting_output
from leec.proof.emitted import leaf_names, to_array
from leec.proof.examples import Pair, example_inputs, run_example
from leec.proof.exempt import Still
from leec.proof.interpret import Interpreter, bind
from leec.proof.record import Call
from leec.proof.replay import replay
from leec.proof.report import MODULE, NUMPY, TORCH, WRITTEN, Finding
from leec.proof.stages import parting_stage, same
from leec.proof.walk import statistics


@dataclass
class Case:
    """A function of the spec with inputs on which programs part, and what each of them gives."""

    pair: Pair
    f: Function
    values: Sequence[Any]
    sizes: Mapping[str, int]
    outputs: Mapping[str, Sequence[np.ndarray]]
    known: Sequence[Any] = ()  # modules of the torch file, of the classes of the models among the inputs
    gradients: Mapping[str, Sequence[np.ndarray | None]] = field(default_factory=dict)  # what updates were given
    still: Mapping[str, Still] = field(default_factory=dict)  # of the inputs that were moved

    def scales(self) -> list[float]:
        found = self.pair.scales().measure(self.f, self.values, self.sizes)
        return [
            float(np.max(m.scale, initial=0.0)) if isinstance(m.scale, np.ndarray | np.generic | float) else 0.0
            for m in found
        ]

    def agree(self, a: Sequence[Any], b: Sequence[Any], scales: Sequence[float], tolerance: float) -> bool:
        pairs = zip(map(to_array, a), map(to_array, b), scales, self.exempt(), strict=True)
        return all(compare("", {"a": x, "b": y}, s, tolerance, mask).agrees for x, y, s, mask in pairs)

    def exempt(self) -> list[np.ndarray | None]:
        """For each output the entries that an update moved by a gradient that is zero up to rounding."""
        names = leaf_names(self.f)
        found = [self.still.get(names[before]) for before, _ in self.f.state]
        return [*(None for r in self.f.results for _ in r.values), *(s and s.moved for s in found)]


def example_case(pair: Pair, example: str, seed: int) -> Case:
    f, given = example_inputs(pair, example, seed)
    values, sizes = bind(f, given)
    return Case(pair, f, values, sizes, run_example(pair, f.name, given))


def step_case(pair: Pair, call: Call, still: Mapping[str, Still]) -> Case:
    """One recorded step, run again by both files and by autograd from the same inputs."""
    replayed = {p: replay(emitted, call) for p, emitted in ((NUMPY, pair.numpy), (TORCH, pair.torch))}
    outputs: dict[str, list[np.ndarray]] = {program: r.outputs for program, r in replayed.items()}
    f = pair.spec.module.functions.functions[call.f.name]
    known = [m for p in f.parameters if p.model for m in pair.torch.models_like(p.model, call.objects[p.name])]
    machine = pair.through()
    for made in known:
        machine.know(made)
    machines = {MODULE: machine, **({WRITTEN: pair.written()} if pair.dtype == "f64" else {})}
    outputs |= {p: list(map(to_array, m.evaluate(f, call.values, call.sizes))) for p, m in machines.items()}
    gradients = {program: r.gradients for program, r in replayed.items()}
    gradients |= {p: [to_array(g) for g in m.directions] for p, m in machines.items()}
    return Case(pair, call.f, call.values, call.sizes, outputs, known, gradients, still)


def locate(case: Case, tolerance: float) -> Finding | None:
    """The first thing that parts; None where every part, on its own, agrees."""
    spec, f, values, sizes = case.pair.spec, case.f, case.values, case.sizes
    for program in (spec.optimised.functions, spec.module.functions):
        found = parting_columns(program, f, values, sizes, case.pair.rules, case.pair.dtype)
        if found:
            return found
    scales = case.scales()
    found = parting_stage(spec, f, values, sizes, case.pair.rules, scales)
    if found:
        return found
    for program, emitted in ((NUMPY, case.pair.numpy), (TORCH, case.pair.torch)):
        known, given = interpreted(case, emitted.backend)
        if not case.agree(case.outputs[program], known, scales, tolerance):
            found = parting_emission(spec, f, values, sizes, emitted, case.pair.load)
            return found or seen_outside(case, program, FILES[emitted.backend], known, given)
    truth = case.pair.written().evaluate(f, values, sizes)
    if not case.agree(case.outputs[MODULE], truth, scales, tolerance):
        return parting_module(case)
    return None


def interpreted(case: Case, backend: str) -> tuple[list[Any], list[Any]]:
    """What the optimised IR gives in a column, and the gradients that its updates were given."""
    machine = Interpreter(case.pair.spec.optimised.functions, backend, case.pair.dtype)
    f = machine.program.functions[case.f.name]
    sources = {v: i for i, v in enumerate(gradients_of(f, case.pair.rules))}
    seen: dict[int, Any] = {}

    def observe(g: Function, e: Equation, results: tuple) -> None:
        if g is f:
            seen.update((sources[r], x) for r, x in zip(e.results, results, strict=True) if r in sources)

    machine.observer = observe
    arrays = [machine.array(x, v.type) for x, v in zip(case.values, f.inputs, strict=True)]
    results = machine.call(f, arrays, case.sizes)
    return results, [seen.get(i) for i in range(len(sources))]


def gradients_of(f: Function, rules: frozenset[str]) -> list[Value]:
    """The gradients that the updates of a function are given, a value a tensor."""
    source = {r: e for e in f.body for r in e.results}
    found: list[Value] = []
    for e in f.body:
        if e.params.get("callee") in rules:
            g = source.get(e.args[1])
            found += g.args if g is not None and "callee" not in TABLE[g.op].params else (e.args[1],)
    return found


def seen_outside(case: Case, program: str, file: str, known: Sequence[Any], given: Sequence[Any]) -> Finding:
    """The first wrong value among gradients, results and what was moved."""
    f, rules = case.pair.spec.optimised.functions.functions[case.f.name], case.pair.rules
    found = dict(zip(f.outputs, case.outputs[program], strict=True))
    truth = dict(zip(f.outputs, known, strict=True))
    vectors = case.gradients.get(program, ())
    if vectors and all(g is not None for g in vectors):
        rest = np.concatenate([np.ravel(g) for g in vectors])
        for v, x in zip(gradients_of(f, rules), given, strict=True):
            if x is not None:
                size = to_array(x).size
                found[v], truth[v], rest = rest[:size], x, rest[size:]
    return parting_output(case.pair.spec.optimised.functions, f, rules, found, truth, file)


# ---- the modules


@dataclass
class Checked(Through):
    """`Through`, where every call through the file is compared with the interpreter; `finding` is the first that parts."""

    finding: Finding | None = None

    def apply(self, f: Function, there: Function, args: list[Any], sizes: Mapping[str, int]) -> tuple:
        found = super().apply(f, there, args, sizes)
        if self.finding is None:
            with self.torch.no_grad():
                known = Written(self.program, float_dtype=self.float_dtype, rules=self.rules).call(f, args, sizes)
            sides = [(to_array(x), to_array(y)) for x, y in zip(found, known, strict=True)]
            wrong = [(x, y) for x, y in sides if not same([x], [y], [1.0])]
            if wrong:
                self.finding = module_finding(f, {"module": statistics(wrong[0][0]), "IR": statistics(wrong[0][1])})
        return found


def module_finding(f: Function, sides: Mapping[str, Mapping[str, Any]] | None = None) -> Finding:
    file = FILES["torch"]
    message = f"autograd through `{f.name}` of {file} gives something else than the IR that it was made from"
    return Finding("emitter", file, message, f.name, span=f.span, sides=sides or {})


def parting_module(case: Case) -> Finding:
    f = case.pair.spec.module.functions.functions[case.f.name]
    machine = Checked(
        case.pair.spec.module.functions, float_dtype=case.pair.dtype, rules=case.pair.rules, emitted=case.pair.torch
    )
    for made in case.known:
        machine.know(made)
    machine.evaluate(f, case.values, case.sizes)
    return machine.finding or module_finding(f)
