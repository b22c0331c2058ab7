"""Examples of a spec held against an independent reference: value and every gradient, in both back ends, in float64.

`Spec(text)` compiles once. `hold(example, reference)` runs the example as written and optimised, through NumPy and
torch; the reference is a function of the example's own draws and models, whose gradients torch's autograd takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from leec import driver
from leec.api import Loaded
from leec.diagnostics import Source
from leec.diagnostics.render import render
from leec.ir.graph import Program, Result
from leec.passes.windows import lower_windows
from leec.proof.interpret import run

KEY = (20, 26)
TOLERANCE = 1e-9  # of float64, where sums are taken in another order


class Draws(Mapping):
    """What an example drew, by name: `d.x` an array, `d.net` the arrays of a model by path."""

    def __init__(self, found: dict[str, torch.Tensor]):
        self.found = found

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __getattr__(self, name: str):
        if name in self.found:
            return self.found[name]
        inside = {k[len(name) + 1 :]: v for k, v in self.found.items() if k.startswith(f"{name}.")}
        if not inside:
            raise AttributeError(name)
        return Draws(inside)


@dataclass(frozen=True)
class Spec:
    """A spec and its programs: as written, and optimised."""

    text: str
    name: str = "spec.lee"
    recompute: str = "auto"

    @cached_property
    def module(self):
        module, found = driver.elaborate(Source(self.name, self.text))
        errors = [render(d) for d in found if d.severity == "error"]
        assert not errors, "\n".join(errors)
        return module

    def program(self, level: int) -> Program:
        return self._programs.setdefault(level, self._make(level))

    @cached_property
    def _programs(self) -> dict[int, Program]:
        return {}

    def _make(self, level: int) -> Program:
        if level in self._programs:
            return self._programs[level]
        return driver.optimise(self.module, driver.Options(level=level, recompute=self.recompute)).functions.map(
            lower_windows
        )

    def results(self, example: str, level: int = 1, column: str = "numpy", observer=None) -> dict[str, object]:
        name = self.module.examples[example]
        program = self.program(level)
        key = {"key": KEY} if any(p.name == "key" for p in program.functions[name].parameters) else {}
        return run(program, name, key, column=column, observer=observer)

    def draws(self, example: str) -> dict[str, np.ndarray]:
        """Every value that the example, as written, gave a name."""
        name, found = self.module.examples[example], {}

        def observe(function, equation, values) -> None:
            if function.name == name:
                found.update(zip((v.name for v in equation.results), values))

        self.results(example, level=0, observer=observe)
        return found

    def call(self, function: str, column: str = "numpy", level: int = 1, /, **arguments: object) -> dict[str, object]:
        """The results of a def by name."""
        return run(self.program(level), function, arguments, column=column)

    def value(self, function: str, column: str = "numpy", level: int = 1, /, **arguments: object):
        """The first result of a def."""
        return next(iter(self.call(function, column, level, **arguments).values()))

    def fit(self, procedure: str, backend: str = "numpy", **arguments: object) -> dict[str, np.ndarray]:
        """The tensors of the model that a procedure returns, by path."""
        return self.loaded.weights(self.loaded.fit(procedure, backend=backend, **arguments))

    def reports(self, procedure: str, backend: str = "numpy", **arguments: object) -> list[dict[str, float]]:
        """What a procedure reported, round by round."""
        return self.loaded.run(procedure, backend=backend, **arguments)[1]

    @cached_property
    def loaded(self) -> Loaded:
        return Loaded(self.module, driver.Options(dtype="f64"))

    def path(
        self, optimizer: str, start: np.ndarray, slopes: np.ndarray, column: str = "numpy", **hypers: object
    ) -> list[np.ndarray]:
        """The parameters after every step of an optimizer; a hyperparameter may be a function of t."""
        cls = self.module.optimizers[optimizer]
        update = cls.update or cls.update_each[start.ndim]
        state = {"θ": start} | {s: np.full_like(start, cls.starts[s]) for s, _ in cls.states}
        path = []
        for t, g in enumerate(slopes, 1):
            now = {k: v(t) if callable(v) else v for k, v in hypers.items()}
            state |= run(self.program(1), update, {**state, "g": g, "t": t, **now}, column=column)
            path.append(np.asarray(state["θ"]))
        return path

    def hold(self, example: str, reference: Callable[[Draws], torch.Tensor], tolerance: float = TOLERANCE) -> None:
        """Fail where the value or a gradient of the example is not that of the reference."""
        results = self.module.functions.functions[self.module.examples[example]].results
        wanted = dict(leaves(results))
        found = {
            k: torch.as_tensor(np.array(v))
            for k, v in self.draws(example).items()
            if isinstance(v, (np.ndarray, np.generic))
        }
        draws = Draws({k: v.requires_grad_() if k in wanted else v for k, v in found.items()})
        value = reference(draws)
        expected = {"value": value.detach()}
        if wanted:
            slopes = torch.autograd.grad(value, [draws[k] for k in wanted], allow_unused=True)
            expected |= {
                name: torch.zeros_like(draws[k]) if s is None else s for (k, name), s in zip(wanted.items(), slopes)
            }
        for level, column in ((0, "numpy"), (1, "numpy"), (1, "torch")):
            given = flat(self.results(example, level, column))
            for name, right in expected.items():
                agree(f"{example}: {name} at -O{level} in {column}", given[name], right, tolerance)


def leaves(results: tuple[Result, ...]) -> Iterator[tuple[str, str]]:
    """The variable that each gradient belongs to, and the gradient's own name."""
    for r in results:
        if r.name.startswith("d_"):
            for path in r.paths or ("",):
                dotted = f".{path}" if path else ""
                yield r.name[2:] + dotted, r.name + dotted


def flat(results: dict[str, object]) -> dict[str, object]:
    """Gradients of models by path."""
    found = {}
    for name, value in results.items():
        found |= {f"{name}.{p}": v for p, v in value.items()} if isinstance(value, dict) else {name: value}
    return found


def agree(what: str, given: object, expected: object, tolerance: float = TOLERANCE) -> None:
    """Equal within a tolerance of the largest entry (and of 1, below which rounding is absolute)."""
    a, b = np.asarray(given, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert a.shape == b.shape, f"{what}: {a.shape} is not {b.shape}"
    assert np.isfinite(b).all(), f"{what}: the reference is not finite"
    worst = np.abs(a - b).max(initial=0.0)
    bound = tolerance * max(1.0, np.abs(b).max(initial=0.0))
    assert worst <= bound, f"{what}: off by {worst:.3e}, allowed {bound:.3e}\n{a}\n{b}"


def torch_path(make: Callable, start: np.ndarray, slopes: np.ndarray) -> list[np.ndarray]:
    """The parameters after every step of an optimizer of torch."""
    θ = torch.tensor(start, requires_grad=True)
    optimizer, path = make([θ]), []
    for g in slopes:
        θ.grad = torch.tensor(g)
        optimizer.step()
        path.append(θ.detach().numpy().copy())
    return path
