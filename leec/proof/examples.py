"""One example through every program: the NumPy file, the torch functions, autograd through the modules, the spec as written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from leec import passes
from leec.ir.graph import Function, Program
from leec.passes import BEFORE_GRADIENTS
from leec.proof.agreement import TOLERANCES, compare
from leec.proof.autograd import Through, Written
from leec.proof.emitted import Emitted, Spec, result_names, to_array
from leec.proof.failures import running
from leec.proof.interpret import bind
from leec.proof.report import MODULE, NUMPY, TORCH, WRITTEN, Finding, Section
from leec.proof.scale import Scales
from leec.runtime.philox import site_key

Results = dict[str, list[np.ndarray]]  # by program
Loader = Callable[[str, str], ModuleType]  # a text and a name as a module


class Pair:
    """Both files of a spec at one width, ready to be called."""

    def __init__(self, spec: Spec, load: Loader):
        self.spec, self.dtype, self.load = spec, spec.options.dtype, load
        self.numpy, self.torch = Emitted(spec, "numpy"), Emitted(spec, "torch")
        self.rules = frozenset(rules_of(spec))

    def written(self) -> Written:
        """The spec as written, ready for another function; there is one, as making it takes time."""
        self.as_written.directions.clear()
        return self.as_written

    def through(self) -> Through:
        """Autograd through the torch file, ready for another function; it knows no objects yet."""
        self.through_file.directions.clear()
        self.through_file.known.clear()
        return self.through_file

    def scales(self) -> Scales:
        self.measuring.watch = None
        return self.measuring

    @cached_property
    def as_written(self) -> Written:
        return Written(self.spec.module.functions, float_dtype=self.dtype, rules=self.rules)

    @cached_property
    def through_file(self) -> Through:
        return Through(self.stable, float_dtype=self.dtype, rules=self.rules, emitted=self.torch)

    @cached_property
    def stable(self) -> Program:
        """The spec after the passes before differentiation: what the file has only in its steps, computed as they do."""
        options = self.spec.options
        only = BEFORE_GRADIENTS if options.level else ()
        return passes.run(self.spec.module.functions, options.level, None, only, options.recognise, options.recompute)

    @cached_property
    def measuring(self) -> Scales:
        return Scales(self.spec.optimised.functions, rules=self.rules)


def rules_of(spec: Spec) -> set[str]:
    """The functions that are updates of optimizers."""
    optimizers = spec.module.optimizers.values()
    return {name for o in optimizers for name in (o.update, *o.update_each.values()) if name}


def verify_example(pair: Pair, example: str, seed: int, level: str) -> Section:
    """Value and gradients of an example by every program."""
    section = Section("example", example, pair.dtype, seed)
    f, given = example_inputs(pair, example, seed)
    results = run_example(pair, f.name, given)
    scales = pair.scales().measure(f, *bind(f, given))
    for i, quantity in enumerate(result_names(f)):
        if level == "forward" and quantity.startswith("d_"):
            continue
        values = {program: found[i] for program, found in results.items()}
        if unusable(values):
            section.notes.append(f"{quantity}: the formula as written is not finite here, so it is not compared with")
            del values[WRITTEN]
        section.rows.append(
            compare(quantity, values, float(np.max(scales[i].scale, initial=0.0)), TOLERANCES[pair.dtype])
        )
    return section


def example_inputs(pair: Pair, example: str, seed: int) -> tuple[Function, dict[str, Any]]:
    """The function of an example, and its key if it draws."""
    name = pair.spec.module.examples[example]
    f = pair.spec.optimised.functions.functions[name]
    return f, {p.name: site_key(seed, name) for p in f.parameters}


def unmet(pair: Pair, example: str, seed: int) -> Finding | None:
    """The first requirement of an example that does not hold in its run."""
    asked = pair.spec.module.requirements.get(example)
    if asked is None:
        return None
    _, given = example_inputs(pair, example, seed)
    values, sizes = bind(asked.function, given)
    program = pair.spec.module.functions.adding(asked.function)
    held = Written(program, float_dtype=pair.dtype, rules=pair.rules).evaluate(asked.function, values, sizes)
    for span, holds in zip(asked.spans, held, strict=True):
        if not to_array(holds).all():
            return Finding("requirement", example, f"`{span.text}` does not hold in this run", example, span=span)
    return None


def unusable(values: Mapping[str, np.ndarray]) -> bool:
    """Whether the formula as written overflows where the programs do not, which stable forms are for."""
    written = values.get(WRITTEN)
    return (
        written is not None
        and not np.all(np.isfinite(written))
        and all(np.all(np.isfinite(x)) for program, x in values.items() if program != WRITTEN)
    )


def run_example(pair: Pair, name: str, given: Mapping[str, Any]) -> Results:
    """The results of every program, flat and in order."""
    f = pair.spec.module.functions.functions[name]
    values, sizes = bind(f, given)
    found = {}
    for program, emitted in ((NUMPY, pair.numpy), (TORCH, pair.torch)):
        there = emitted.function(name)
        assert there is not None
        with running(program, emitted.module):
            found[program] = emitted.call(there, given)
    with running(MODULE, pair.torch.module):
        found[MODULE] = pair.through().evaluate(f, values, sizes)
    if pair.dtype == "f64":  # narrower, a naive formula overflows where the programs need not
        found[WRITTEN] = pair.written().evaluate(f, values, sizes)
    return {program: [to_array(x) for x in results] for program, results in found.items()}
