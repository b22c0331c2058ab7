"""Procedures of a spec held against loops written by hand in torch: same data, same batches, same first weights.

A loop is a generator of the weights by path after every step; what it draws comes from the same keys. Both generated
files run in float64.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice
from types import ModuleType

import torch
import torch.nn.functional as F
from against import Draws, Spec, agree

import leec
from leec.runtime.run import Run

torch.set_num_threads(1)  # arrays are small, and threads of several tests would wait for each other
BACKENDS = ("numpy", "torch")
Weights = dict[str, torch.Tensor]
Loop = Callable[[Run, ModuleType], Iterator[Weights]]


@cache
def loaded(text: str) -> leec.api.Loaded:
    return leec.load(text, dtype="f64")


def quiet(procedure: str, backend: str = "numpy", **options: object) -> Run:
    return Run(procedure, backend=backend, dtype="f64", progress="none", **options)


def trains(
    procedure: str,
    loop: Loop,
    steps: int = 3,
    variable: str = "net",
    tolerance: float = 1e-9,
    players: int = 1,
    **arguments: object,
) -> Callable[[Spec], None]:
    """The check that a model has the weights of a loop by hand after some steps of a procedure.

    A step of the loop may hold several updates, one of each player.
    """

    def check(spec: Spec) -> None:
        program = loaded(spec.text)
        *_, expected = islice(loop(quiet(procedure), program.numpy), steps)
        for backend in BACKENDS:
            with quiet(procedure, backend, max_steps=steps * players) as run:
                getattr(program.backend(backend), procedure)(**arguments, run=run)
            assert run.session.cut, f"{procedure} ended before step {steps}"
            same(
                f"{procedure} in {backend} after {steps} steps",
                program.weights(run.session.cut[variable]),
                expected,
                tolerance,
            )

    return check


def ends(procedure: str, loop: Loop, tolerance: float = 1e-8, **arguments: object) -> Callable[[Spec], None]:
    """The check that a whole procedure returns the model of a loop by hand, which ends by itself."""

    def check(spec: Spec) -> None:
        program = loaded(spec.text)
        *_, expected = loop(quiet(procedure), program.numpy)
        for backend in BACKENDS:
            net = program.fit(procedure, backend=backend, **arguments)
            same(f"{procedure} in {backend}", program.weights(net), expected, tolerance)

    return check


def tells(
    procedure: str, told: Callable[..., Mapping[str, float]], tolerance: float = 1e-9, **arguments: object
) -> Callable[[Spec], None]:
    """The check of what a procedure reports last: told(run, NumPy program, weights of each model that it returned)."""

    def check(spec: Spec) -> None:
        program = loaded(spec.text)
        for backend in BACKENDS:
            result, reports = program.run(procedure, backend=backend, **arguments)
            models = result if isinstance(result, tuple) else (result,)
            weights = [{path: torch.tensor(w) for path, w in program.weights(m).items()} for m in models]
            given = {name: value for row in reports for name, value in row.items()}
            for name, right in told(quiet(procedure), program.numpy, *weights).items():
                agree(f"{procedure} in {backend} reports {name}", given[name], float(right), tolerance)

    return check


def share(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """How many rows are called right."""
    return (z.argmax(1) == y).double().mean()


def held_back(run: Run) -> tuple[torch.Tensor, ...]:
    """The digits that most procedures judge by."""
    return tuple(map(torch.tensor, run.data("digits", shape=(64,), test=0.3).test.fields.values()))


def same(what: str, given: Mapping[str, object], expected: Weights, tolerance: float) -> None:
    assert given.keys() == expected.keys(), what
    for path, right in expected.items():
        agree(f"{what}: {path}", given[path], right.detach(), tolerance)


# ---- loops


def begin(run: Run, models: ModuleType, name: str, site: str = "net", **hypers: object) -> Weights:
    """The first weights of a model, as the procedure draws them."""
    cls = getattr(models, name)
    key = {"key": run.key(site)} if "key" in inspect.signature(cls.__init__).parameters else {}
    return {path: torch.tensor(value).requires_grad_() for path, value in cls(**hypers, **key).tensors().items()}


def perceptron(p: Mapping[str, torch.Tensor], x: torch.Tensor, depth: int = 2, at: str = "") -> torch.Tensor:
    """std's MLP of some layers, its weights below a path."""
    for i in range(depth):
        z = x @ p[f"{at}layers.{i}.w"] + p[f"{at}layers.{i}.b"]
        x = F.relu(z)
    return z


def rounds(
    run: Run, part: object, batch: int | None, epochs: int | None = None, loop: str = ""
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Shuffled batches of epoch after epoch; without a size, all rows again and again. A second loop is "_2"."""
    for _ in run.loop(f"epoch{loop}", 1, epochs):
        for fields in (
            run.batches(f"batches{loop}", part, batch, shuffle=True) if batch else [tuple(part.fields.values())]
        ):
            yield tuple(map(torch.as_tensor, fields))


def descent(
    model: str,
    hypers: Mapping[str, object],
    cost: Callable[..., torch.Tensor],
    optimizer: Callable[[list[torch.Tensor]], object],
    source: str,
    batch: int | None = None,
    epochs: int | None = None,
    **options: object,
) -> Loop:
    """The usual loop: cost(weights, x, y) of every batch made smaller by an optimizer of torch."""

    def loop(run: Run, models: ModuleType) -> Iterator[Weights]:
        weights = begin(run, models, model, **hypers)
        rule = optimizer(list(weights.values()))
        for fields in rounds(run, run.data(source, **options).train, batch, epochs):
            for w in weights.values():
                w.grad = None
            cost(Draws(weights), *fields).backward()
            rule.step()
            yield weights

    return loop
