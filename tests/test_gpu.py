"""What a GPU asks of generated code, on a machine that has none: pretended.py plays the GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretended import GPU, HOST, Graph, a_gpu, memory
from test_ops import ROWS, TABLE, Case, examples, the_op

import leec
from leec.ir.graph import Program
from leec.proof.emitted import Emitted
from leec.proof.interpret import Interpreter
from leec.proof.record import Recording, record
from leec.proof.standin import StandIn, takes_data

ROOT = Path(__file__).parents[1]
SPECS = {path.stem: path for path in sorted((ROOT / "specs").rglob("*.lee"))}
SHORT = {"epochs": 1, "batch": 512}  # arguments, where a procedure has them
STEPS = 4

# ---- the pretended GPU itself


def captured(step: Callable[..., Any], *args: Any) -> tuple[torch.cuda.CUDAGraph, Any]:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = step(*args)
    return graph, made


def test_tensors_know_their_side() -> None:
    with a_gpu():
        here, there = torch.ones(3), torch.ones(3, device=GPU)
        assert (here.device, there.device) == (HOST, GPU) and there.is_cuda and not here.is_cuda
        assert (there[1:] * 2.0).device == GPU and torch.zeros_like(there).device == GPU
        assert (there * torch.tensor(2.0)).device == GPU and here.to(GPU).device == GPU and there.cpu().device == HOST
        assert torch.nn.Linear(3, 2).to(GPU).weight.device == GPU
    assert torch.ones(3, device=GPU).device == HOST


@pytest.mark.parametrize(
    "mixed",
    [
        lambda here, there: here + there,
        lambda here, there: torch.stack([there[0], here[0]]),
        lambda here, there: there[torch.tensor([0, 2])],
        lambda here, there: there.add_(here),
        lambda here, there: here[0].add_(there[0]),
    ],
)
def test_operations_take_tensors_of_one_side(mixed: Callable[..., Any]) -> None:
    with a_gpu(), pytest.raises(AssertionError, match="of the GPU and of the host"):
        mixed(torch.ones(3), torch.ones(3, device=GPU))


@pytest.mark.parametrize(
    "step",
    [
        lambda x: x * x.sum().item(),
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x[x > 0],
        lambda x: x * torch.tensor([1.0, 2.0, 3.0], device=x.device),
        lambda x: x.clone().copy_(torch.ones(3)),
        lambda x: torch.linalg.eigh(x[:, None] * x)[0],
        lambda x: torch.linalg.inv(torch.eye(3, device=x.device) + x),
    ],
)
def test_what_waits_or_copies_from_the_host_is_not_captured(step: Callable[..., Any]) -> None:
    with a_gpu(), torch.inference_mode(), pytest.raises(AssertionError, match="while a graph is captured"):
        captured(step, torch.ones(3, device=GPU))


def test_a_replay_reads_tensors_and_no_python() -> None:
    rate = [2.0]
    with a_gpu(), torch.inference_mode():
        x, total = torch.ones(3, device=GPU), torch.zeros(3, device=GPU)
        graph, made = captured(lambda x: total.add_(x.reshape(3, 1)[:, 0] * rate[0]).clone(), x)
        rate[0] = 5.0
        x.fill_(10.0)
        graph.replay()
        assert made.tolist() == total.tolist() == [22.0] * 3


# ---- rows of the table


@pytest.mark.parametrize("name", ROWS)
def test_a_row_can_be_captured(name: str) -> None:
    """In a step, from tensors of the GPU; of the rows that say that they wait, the graph finds that they do."""
    row = TABLE[name]
    for e in examples(row):
        case = Case(row, e)
        ready = Interpreter(Program({"f": the_op(case)}), "torch_step", device=GPU)
        names = [v.name for v in case.inputs]
        with a_gpu(), torch.inference_mode():
            given = [ready.array(x, v.type) for x, v in zip(case.values, case.inputs, strict=True)]
            run = lambda: ready.run("f", dict(zip(names, given, strict=True)) | case.sizes)  # noqa: B023, E731
            wanted = run()  # what is brought to the GPU once, is brought
            if row.facts.get("waits"):
                with pytest.raises(AssertionError, match="waits while a graph is captured"):
                    captured(run)
                continue
            graph, found = captured(run)
            inputs = {memory(x) for x in given if isinstance(x, torch.Tensor)}
            for x in found.values():
                if isinstance(x, torch.Tensor) and memory(x) not in inputs:
                    x.untyped_storage().fill_(0)  # which the replay computes again
            graph.replay()
            assert all(np.array_equal(found[r], wanted[r], equal_nan=True) for r in wanted)


# ---- procedures of the specs


@cache
def emitted(stem: str, level: int) -> Emitted:
    return Emitted(leec.load(SPECS[stem], level=level, dtype="f64"), "torch")


def run(stem: str, name: str, device: str, level: int) -> Recording:
    program = emitted(stem, level)
    procedure = program.spec.module.procedures[name]
    given = {n: StandIn(0) for n in takes_data(procedure)}
    given |= {n: SHORT[n] for n, default in procedure.parameters if n in SHORT and default is not None}
    return record(program, name, STEPS, arguments=given, device=device)


def same(what: str, left: object, right: object, tolerance: float) -> None:
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    scale = np.abs(right[np.isfinite(right)]).max(initial=1.0)
    np.testing.assert_allclose(left, right, rtol=0, atol=tolerance * scale, err_msg=what)


def agree(stem: str, name: str, level: int = 1) -> Recording:
    """A run on the GPU does what it does on the processor."""
    left = run(stem, name, "cpu", level)
    with a_gpu():
        right = run(stem, name, "cuda", level)
        found = right.final()
    same("loss", [x for _, x in right.losses], [x for _, x in left.losses], 1e-9)
    assert len(right.rows) == len(left.rows)
    for row, wanted in zip(right.rows, left.rows, strict=True):
        assert row.keys() == wanted.keys()
        for label, x in wanted.items():
            same(label, row[label], x, 1e-9)
    for path, x in left.final().items():
        same(path, found[path], x, 1e-6)  # Adam makes steps of a gradient that is all rounding
    return right


REPLAYED = (
    *("linear_regression.fit", "digits.fit", "schedules.warmed", "gem.in_turn", "dqn.dqn", "maml.sinusoids"),
    "adversarial.wgan_gp",
)
NOT_CAPTURED = (
    "distributions.believe",  # a `while` waits
    "schedules.orthogonal_steps",  # the optimizer's rule is a method
    "selection.rates",  # solves equations and makes no steps
)


@pytest.mark.parametrize("procedure", REPLAYED)
def test_every_step_is_a_replay(procedure: str) -> None:
    found = agree(*procedure.split("."))
    assert Graph.replays == found.begun > 0


@pytest.mark.slow
@pytest.mark.parametrize("procedure", REPLAYED)
def test_groups_of_operations_are_captured(procedure: str) -> None:
    found = agree(*procedure.split("."), level=2)
    assert Graph.replays == found.begun > 0


@pytest.mark.parametrize("procedure", NOT_CAPTURED)
def test_some_steps_have_no_graph(procedure: str) -> None:
    agree(*procedure.split("."))
    assert Graph.replays == 0


def procedures() -> list:
    found = [(stem, leec.load(path).module.procedures) for stem, path in SPECS.items()]
    return [
        f"{stem}.{name}"
        for stem, known in found
        for name, p in known.items()
        if all(default is not None or n in takes_data(p) for n, default in p.parameters)
        and f"{stem}.{name}" not in REPLAYED + NOT_CAPTURED
    ]


@pytest.mark.slow
@pytest.mark.parametrize("procedure", procedures())
def test_a_procedure_runs_on_a_gpu(procedure: str) -> None:
    agree(*procedure.split("."))


def test_a_run_goes_on_and_its_model_predicts(tmp_path: Path) -> None:
    spec = leec.load(SPECS["digits"])
    images = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)
    with a_gpu():
        start = lambda **more: {"device": "cuda", "progress": "none", **more}  # noqa: E731
        whole = spec.fit(backend="torch", epochs=2, run=start())
        cut = start(folder=tmp_path / "run", max_steps=30, rounds=1)
        spec.run("fit", backend="torch", epochs=2, run=cut)
        again = spec.fit(backend="torch", epochs=2, run=start(folder=tmp_path / "run", resume=True))
        wanted, found = spec.weights(whole), spec.weights(again)
        assert all(np.array_equal(found[path], x) for path, x in wanted.items())
        assert np.array_equal(spec.predict(whole, images), spec.predict(again, images))
