"""Verification: what agrees, what counts as agreement, and what is named when one thing after the other is broken."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import leec
from leec import passes
from leec.api import Loaded
from leec.cli.app import app
from leec.emit.inplace import InPlace
from leec.emit.procedures import ProcedureEmitter
from leec.emit.statements import Body
from leec.ir.graph import Equation, Program
from leec.ops import TABLE
from leec.proof.agreement import compare
from leec.proof.interpret import bind
from leec.proof.report import Finding, Report
from leec.proof.scale import Scales

SPECS = Path(__file__).parent / "specs"
NAMES = ("tanh_net", "batchnorm", "two_players", "given_models")
TANH, BATCHNORM, PLAYERS, GIVEN = (str(SPECS / f"{name}.lee") for name in NAMES)
LESSONS = sorted((Path(leec.__file__).parent / "cli" / "lessons").glob("*.lee"))


def line_of(spec: str, text: str) -> int:
    return next(i for i, line in enumerate(Path(spec).read_text("utf-8").splitlines(), 1) if text in line)


# ---- what agrees


@pytest.mark.parametrize("spec", [TANH, PLAYERS, GIVEN, *map(str, LESSONS)], ids=lambda path: Path(path).stem)
def test_the_programs_agree(spec: str) -> None:
    report = leec.verify(spec, dtypes=("f64",))
    assert report.ok, [(s.name, s.dtype, s.failures, s.finding) for s in report.sections if not s.agrees]
    assert {s.kind for s in report.sections} == {"example", "train"}
    train = next(s for s in report.sections if s.kind == "train")
    quantities = {row.quantity for row in train.rows}
    assert train.steps == 20 and {"initial values", "loss", "opt.t"} <= quantities
    assert any(q.startswith("d_net.") for q in quantities) and any(q.startswith("net.") for q in quantities)
    assert all(row.error < 1e-3 * row.bound for s in report.sections for row in s.rows if row.bound)


def test_float32_comes_second_and_has_a_bound_of_its_own() -> None:
    report = leec.verify(TANH)
    assert report.ok and [s.dtype for s in report.sections] == ["f64", "f64", "f32", "f32"]
    rows = [{row.quantity: row for row in s.rows} for s in report.sections]
    assert 1e5 < rows[2]["d_net.w"].bound / rows[0]["d_net.w"].bound < 1e7
    assert rows[0]["d_net.w"].error < 1e-12 < rows[2]["d_net.w"].error < 1e-6


def test_a_gradient_that_is_zero_up_to_rounding_is_exempt_and_what_follows_it_goes_by_steps() -> None:
    """Adam divides such a gradient by its own size: the bias before a BatchNorm moves at random, and the mean follows."""
    report = leec.verify(BATCHNORM)
    assert report.ok
    train = {s.dtype: s for s in report.sections if s.kind == "train"}
    for dtype, section in train.items():
        rows = {row.quantity: row for row in section.rows}
        assert rows["net.first.b"].exempt > 0, dtype
        assert {row.quantity for row in section.failures} <= {"net.norm.mean_", "reported accuracy"}
        assert section.by_steps and "every step agrees" in section.notes[0]
    assert {row.quantity for row in train["f64"].rows if row.exempt} <= {"net.first.b", "opt.m", "opt.v"}


def test_levels_and_seeds() -> None:
    def rows(**plan: object) -> list[tuple[str, int, int]]:
        sections = leec.verify(TANH, dtypes=("f64",), **plan).sections
        return [(s.name, s.seed, len(s.rows)) for s in sections]

    assert rows(level="forward") == [("small", 0, 1)]
    assert rows(level="grad", seeds=2) == [("small", 0, 6), ("small", 1, 6)]
    assert [name for name, _, _ in rows(steps=2)] == ["small", "fit"]


def test_a_procedure_that_takes_data_runs_with_what_it_is_given_or_with_drawn_data() -> None:
    spec = str(SPECS / "from_file.lee")
    [drawn] = leec.verify(spec, dtypes=("f64",)).sections
    assert drawn.agrees and drawn.steps == 20 and drawn.notes[0].startswith("`data` was drawn, 48 rows")
    draw = np.random.default_rng(0)
    data = {"x": draw.normal(size=(10, 4)), "y": draw.integers(0, 3, 10)}
    [given] = leec.verify(spec, dtypes=("f64",), arguments={"fit": {"data": data, "epochs": 7}}).sections
    assert given.agrees and given.steps == 7 and not any("drawn" in note for note in given.notes)


NEEDS = """
from std.optim import SGD


model Net():
    param w: [] = 1


train fit(net: Net, epochs = 3):
    opt = SGD(lr = 0.1)
    for epoch in 1..epochs:
        minimize net.w ** 2 over net with opt
    return net
"""


def test_a_procedure_that_needs_what_cannot_be_drawn_is_left_out() -> None:
    [section] = leec.verify(NEEDS, dtypes=("f64",)).sections
    assert section.notes == ["not run: it needs `net`"] and not section.rows


LOWEST = """
from std.optim import SGD


model Net():
    param w: [3] ~ normal(0, 1)


train fit(epochs = 6):
    net = Net()
    opt = SGD(lr = 0.1)
    lowest = inf
    for epoch in 1..epochs:
        minimize sum(net.w ** 2) over net with opt
        error = sum(net.w ** 2)
        if error < lowest:
            lowest = error
    return net
"""


def test_a_number_that_a_procedure_keeps_may_become_a_tensor() -> None:
    [section] = leec.verify(LOWEST, dtypes=("f64",)).sections
    assert section.agrees and section.steps == 6


SCHEDULED = """
from std.optim import SGD


def warming(peak, steps):
    def rate(t):
        return peak * min(1, t / steps)
    return rate


model Net():
    param w: [3] ~ normal(0, 1)


train fit(epochs = 6):
    net = Net()
    opt = SGD(lr = warming(0.1, 4))
    for epoch in 1..epochs:
        minimize sum(net.w ** 2) over net with opt
    return net
"""


def test_rates_that_follow_a_schedule_agree() -> None:
    [section] = leec.verify(SCHEDULED, dtypes=("f64",)).sections
    assert section.agrees and section.steps == 6


ALONG = """
from std.optim import SGD


model Net():
    param w: [3] ~ normal(0, 1)


train fit(epochs = 1000):
    net = Net()
    opt = SGD(lr = 0.1)
    for epoch in 1..epochs:
        update net with opt along grad(sum(net.w ** 2), net)
    return net
"""


def test_steps_without_a_loss_are_counted_too() -> None:
    [section] = leec.verify(ALONG, dtypes=("f64",)).sections
    assert section.agrees and section.steps == 20
    assert {"d_net.w", "net.w", "opt.t"} <= {row.quantity for row in section.rows}


MOVED = """
model Net():
    param w: [3] ~ normal(0, 1)


train fit(rounds = 1000):
    net = Net()
    for round in 1..rounds:
        net <- 0.9 * net
    return net
"""


def test_models_that_no_optimizer_moves_are_moved_as_often() -> None:
    [section] = leec.verify(MOVED, dtypes=("f64",), steps=7).sections
    assert section.agrees and section.steps == 7 and "net.w" in {row.quantity for row in section.rows}


WIDE = """
def softplus_as_written(x: [n]) -> [n]:
    return log(1 + exp(x))


example large:
    x: [4] ~ normal(0, 1000)
    return sum(softplus_as_written(x))
"""


def test_a_formula_that_overflows_as_written_is_not_compared_with() -> None:
    [section] = leec.verify(WIDE, dtypes=("f64",)).sections
    assert section.agrees and any("as written is not finite" in note for note in section.notes)
    assert math.isfinite(section.rows[0].bound)


# ---- what agreement is


def test_the_bound_goes_by_the_largest_entry_or_the_scale() -> None:
    values = {"p": np.array([1.0, 2e3]), "q": np.array([1.0 + 1e-8, 2e3])}
    row = compare("x", values, 0.0, 1e-10)
    assert row.bound == pytest.approx(2e-7) and row.error == pytest.approx(1e-8) and row.agrees
    tiny = {"p": np.array([1e-17]), "q": np.array([-3e-17])}
    assert not compare("x", tiny, 0.0, 1e-10).agrees
    assert compare("x", tiny, 1.0, 1e-10).agrees


def test_the_worst_pair_is_told() -> None:
    row = compare("x", {"a": 1.0, "b": 1.0, "c": 1.5}, 0.0, 1e-10)
    assert set(row.between) & {"c"} and row.error == 0.5 and not row.agrees


def test_integers_are_equal_or_not_and_nan_is_nan() -> None:
    assert compare("n", {"a": np.array([1, 2]), "b": np.array([1, 2])}, 9.0, 1.0).agrees
    assert compare("n", {"a": np.array([1, 2]), "b": np.array([1, 3])}, 9.0, 1.0).error == 1
    odd = np.array([np.nan, np.inf, -np.inf])
    assert compare("x", {"a": odd, "b": odd.copy()}, 0.0, 1e-10).agrees
    assert compare("x", {"a": odd, "b": -odd}, 1.0, 1.0).error == math.inf
    assert compare("x", {"a": odd, "b": np.zeros(3)}, 1.0, 1.0).error == math.inf
    assert compare("x", {"a": np.zeros(3), "b": np.zeros(4)}, 1.0, 1.0).error == math.inf


def test_exempt_entries_are_counted_and_left_out() -> None:
    values = {"a": np.array([1.0, 5.0]), "b": np.array([1.0, 7.0])}
    row = compare("x", values, 0.0, 1e-10, np.array([False, True]))
    assert row.agrees and row.exempt == 1
    assert compare("x", values, 0.0, 1e-10, np.array([True, False])).exempt == 0


CANCELS = """
example cancels:
    x: [6] ~ normal(0, 1)
    y: [6] ~ normal(0, 1)
    centered = x - mean(x)
    return sum(centered) + 0 * sum(y)


example product:
    a: [4, 50] ~ normal(0, 1)
    b: [50, 3] ~ normal(0, 1)
    return -(2 * (a @ b))[1:, :]
"""


def test_a_scale_is_the_sum_of_absolute_terms_of_the_last_sum() -> None:
    spec = leec.load(CANCELS, dtype="f64", level=0)

    def measured(example: str) -> tuple[np.ndarray, np.ndarray]:
        f = spec.optimised.functions.functions[f"example.{example}"]
        found = Scales(spec.optimised.functions).measure(f, *bind(f, {"key": (1, 2)}))
        return np.asarray(found[0].value), np.asarray(found[0].scale)

    value, scale = measured("cancels")
    assert abs(value) < 1e-14 and 0.5 < scale < 20
    value, scale = measured("product")
    a, b = (
        spec.numpy.normal(spec.numpy.fold((1, 2), word(spec, n)), s, np.float64)
        for n, s in (("a", (4, 50)), ("b", (50, 3)))
    )
    assert np.allclose(value, -2 * (a @ b)[1:]) and np.allclose(scale, 2 * (np.abs(a) @ np.abs(b))[1:])


def word(spec: Loaded, site: str) -> int:
    from leec.ops.random import site_word

    return site_word(site)


# ---- one thing after the other broken


@pytest.fixture
def change_row(monkeypatch: pytest.MonkeyPatch) -> Callable:
    return lambda op, **change: monkeypatch.setitem(TABLE, op, replace(TABLE[op], **change))


def findings(spec: str = TANH, **plan: object) -> list[Finding]:
    """What is blamed at float64, for the example and for two steps; every section must find something."""
    report: Report = leec.verify(spec, **{"dtypes": ("f64",), "steps": 2, **plan})
    assert not report.ok
    failed = [s for s in report.sections if not s.agrees]
    assert all(s.finding for s in failed), [s.failures for s in failed]
    return [s.finding for s in failed if s.finding]


TANH_LINE = line_of(TANH, "tanh(x @ w + b)")


@pytest.mark.parametrize("column", ["numpy", "torch", "torch_step"])
def test_a_broken_column_is_named(change_row: Callable, column: str) -> None:
    library = "np" if column == "numpy" else "torch"
    change_row("tanh", **{column: f"{library}.tanh(x) * 1.0001"})
    found = findings()
    assert {(f.kind, f.name) for f in found} == {("operation", "tanh")}
    assert all(f.span and f.span.line == TANH_LINE and f.equation.startswith("tanh: float[") for f in found)
    words = {"numpy": "NumPy column", "torch": "torch column", "torch_step": "torch column of steps"}
    assert all(words[column] in f.sides for f in found)


def test_a_column_of_a_sum_is_told_from_rounding(change_row: Callable) -> None:
    column = TABLE["mean"].torch
    change_row("mean", torch=lambda types, params: (f"{column(types, params)[0]} + 1e-7", column(types, params)[1]))
    found = findings()
    assert all(
        f.kind == "operation" and f.name == "mean" and f.span.line == line_of(TANH, "return mean") for f in found
    )


def test_a_broken_gradient_rule_is_named(change_row: Callable) -> None:
    rule = TABLE["tanh"].vjp
    change_row("tanh", vjp=lambda b, g, out, x: (b.mul(*rule(b, g, out, x), 1.001),))
    found = findings()
    assert {(f.kind, f.name) for f in found} == {("gradient rule", "tanh")}
    assert all(f.span.line == TANH_LINE and "finite differences agree with autograd" in f.message for f in found)


def test_autograd_that_is_wrong_is_not_blamed_on_the_rule(change_row: Callable) -> None:
    """A column may have the right value and a wrong derivative."""
    change_row("tanh", torch="torch.tanh(x).detach() + 0.5 * (x - x.detach())")
    found = findings()
    assert {(f.kind, f.name) for f in found} == {("operation", "tanh")}
    assert all("autograd through the torch column" in f.message for f in found)


def with_changed_op(program: Program, old: str, new: str) -> Program:
    def changed(e: Equation) -> Equation:
        return replace(e, op=new) if e.op == old else e

    return program.map(lambda f: f.with_body(tuple(map(changed, f.body))))


@pytest.mark.parametrize("stage", ["simplify", "simplify_gradients"])
def test_a_broken_pass_is_named(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """A pass that breaks the forward part, and one that comes after differentiation."""
    pipeline = tuple(
        replace(s, change=lambda p, own=s.change: with_changed_op(own(p), "tanh", "sigmoid")) if s.name == stage else s
        for s in passes.PIPELINE
    )
    monkeypatch.setattr(passes, "PIPELINE", pipeline)
    found = findings()
    assert {(f.kind, f.name) for f in found} == {("pass", stage)}
    assert all(f.span.line == TANH_LINE and "sigmoid" in f.equation for f in found)
    assert all(set(f.sides) == {f"before {stage}", f"after {stage}"} for f in found)


@pytest.fixture
def break_emission(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Makes the emitter write one operation wrongly where it writes a column."""

    def broken(op: str, column: str) -> None:
        original = Body.tree

        def tree(body: Body, equation: Equation) -> ast.expr:
            found = original(body, equation)
            if equation.op == op and body.dialect.column == column:
                return ast.BinOp(found, ast.Mult(), ast.Constant(1.0001))
            return found

        monkeypatch.setattr(Body, "tree", tree)

    return broken


def test_the_emitter_of_the_reference_is_named(break_emission: Callable) -> None:
    break_emission("tanh", "numpy")
    found = findings()
    assert len(found) == 2 and {(f.kind, f.name) for f in found} == {("emitter", "reference.py")}
    assert all("`tanh`" in f.message and f.span.line == TANH_LINE for f in found)


def test_the_emitter_of_modules_is_named(break_emission: Callable) -> None:
    """Functions and modules of cuda.py are wrong, its steps are right: in the example both show, in steps autograd."""
    break_emission("tanh", "torch")
    example, steps = findings()
    assert (example.kind, example.name) == (steps.kind, steps.name) == ("emitter", "cuda.py")
    assert "`tanh`" in example.message and example.span.line == TANH_LINE
    assert "autograd through `Net.forward`" in steps.message and steps.span.line == line_of(TANH, "def forward")


def test_the_emitter_of_steps_is_named(break_emission: Callable) -> None:
    break_emission("tanh", "torch_step")
    [found] = findings()
    assert (found.kind, found.name, found.function) == ("emitter", "cuda.py", "fit_step")
    assert "`tanh`" in found.message and found.span.line == TANH_LINE


def test_the_emitter_of_statements_in_place_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the form that an update has in a step is wrong, which no operation shows on its own."""
    original = InPlace.into

    def into(self: InPlace, tree: ast.expr, target: ast.expr) -> None:
        count = len(self.lines)
        original(self, tree, target)
        self.lines[count:] = [line.replace("m.mul_(decay)", "m.mul_(0.5 * decay)") for line in self.lines[count:]]

    monkeypatch.setattr(InPlace, "into", into)
    [found] = findings()
    assert (found.kind, found.name, found.function) == ("emitter", "cuda.py", "Momentum.update")
    assert found.span.line in (line_of(TANH, "m <- decay"), line_of(TANH, "θ <- θ"))


def test_procedures_that_part_are_told_from_steps_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    original = ProcedureEmitter.text

    def text(self: ProcedureEmitter) -> str:
        written = original(self)
        return written.replace("shuffle=True", "shuffle=False") if self.unit.dialect.modules else written

    monkeypatch.setattr(ProcedureEmitter, "text", text)
    [found] = findings()
    assert (found.kind, found.name) == ("procedure", "fit")


def test_a_program_that_does_not_run_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Body.tree

    def tree(body: Body, equation: Equation) -> ast.expr:
        wrong = equation.op == "tanh" and body.dialect.column == "numpy"
        return ast.Name("nowhere") if wrong else original(body, equation)

    monkeypatch.setattr(Body, "tree", tree)
    for found in findings():
        assert (found.kind, found.name) == ("emitter", "NumPy file")
        assert "does not run: NameError: name 'nowhere' is not defined" in found.message
        assert "nowhere" in found.equation and found.span.line == TANH_LINE


def test_an_error_that_only_float32_has_is_found(change_row: Callable) -> None:
    """The rounding of an operation is worse than its width allows."""
    change_row("tanh", torch="torch.where(x == 0, x, torch.tanh(x) + (0.001 if x.dtype == torch.float32 else 0))")
    report = leec.verify(TANH, level="grad")
    assert [s.agrees for s in report.sections] == [True, False]
    assert (report.findings[0].kind, report.findings[0].name) == ("operation", "tanh")


# ---- the command


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def verify(*args: str) -> Result:
    return CliRunner().invoke(app, ["verify", *args], catch_exceptions=False)


def test_agreement_exits_with_0_and_prints_every_number() -> None:
    result = verify(TANH, "--dtype", "f64", "--steps", "3", "--certificate", "evidence.json")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["d_net.w", "[3,", "4]"] in [line[:3] for line in lines] and all("DISAGREE" not in line for line in lines)
    assert "train fit: float64, seed 0, 3 steps, tolerance 1e-10" in result.stdout
    assert "all programs agree: 1 example, 1 train procedure, " in result.stderr
    evidence = json.loads(Path("evidence.json").read_text())
    assert evidence["ok"] and evidence["versions"]["numpy"] == np.__version__ and set(evidence["hashes"]) == {"f64"}
    assert [s["name"] for s in evidence["sections"]] == ["small", "fit"]


def test_disagreement_exits_with_3_and_shows_the_line(change_row: Callable) -> None:
    change_row("tanh", numpy="np.tanh(x) * 1.0001")
    result = verify(TANH, "--dtype", "f64", "--level", "grad")
    assert result.exit_code == 3
    assert "DISAGREE: NumPy file and torch step" in result.stdout
    assert "error[LEE821] programs-disagree: the NumPy column and the torch column of `tanh` differ" in result.stderr
    assert f"tanh_net.lee:{TANH_LINE}:16" in result.stderr and "return tanh(x @ w + b) @ v" in result.stderr
    assert "NumPy column: shape 5x4, dtype float64, min -0." in result.stderr
    answer = json.loads(verify(TANH, "--dtype", "f64", "--level", "grad", "--json").stdout)
    [found] = answer["diagnostics"]
    assert (found["code"], found["line"], found["data"]["finding"]["kind"]) == ("LEE821", TANH_LINE, "operation")
    assert not answer["result"]["ok"]


def ran(folder: str) -> str:
    """What a repro prints where leec is not on the path."""
    code = "import sys; sys.modules['leec'] = None; import runpy; runpy.run_path('repro.py')"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def differences(text: str) -> Iterator[float]:
    for line in text.splitlines():
        yield float(line.partition("largest difference ")[2].partition(",")[0])


def test_the_repro_of_an_operation_holds_this_operation(change_row: Callable) -> None:
    change_row("tanh", numpy="np.tanh(x) * 1.0001")
    assert verify(TANH, "--dtype", "f64", "--level", "grad", "--repro", "repro").exit_code == 3
    reference = Path("repro/reference.py").read_text()
    assert "np.tanh(" in reference and "class Net" not in reference
    [difference] = differences(ran("repro"))
    assert 1e-5 < difference < 1e-4


def test_the_repro_of_an_example_runs_it(break_emission: Callable) -> None:
    break_emission("tanh", "numpy")
    assert verify(TANH, "--dtype", "f64", "--level", "grad", "--repro", "repro").exit_code == 3
    found = list(differences(ran("repro")))
    assert len(found) == 6 and all(1e-7 < d < 1e-1 for d in found)


def test_the_repro_of_a_step_builds_its_models_and_optimizers(break_emission: Callable) -> None:
    break_emission("tanh", "torch_step")
    assert verify(TANH, "--dtype", "f64", "--steps", "2", "--repro", "repro").exit_code == 3
    found = list(differences(ran("repro")))  # the loss, three tensors of the model, the count and the state of the rule
    assert len(found) == 6 and found[4] == 0 and all(1e-9 < d < 1e-1 for i, d in enumerate(found) if i != 4)


def test_what_cannot_be_verified_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("none.lee").write_text("def double(x: [n]) -> [n]:\n    return 2 * x\n")
    empty = verify("none.lee")
    assert empty.exit_code == 0 and "there was nothing to verify" in empty.stderr
    Path("bad.lee").write_text("def double(x: [n]) -> [n]:\n    return 2 * y\n")
    assert verify("bad.lee").exit_code == 1
    monkeypatch.setitem(sys.modules, "torch", None)
    absent = verify(TANH)
    assert absent.exit_code == 4 and "pip install 'leec[torch]'" in absent.stderr


TWO_SIZES = """
from std.nn import MLP


def through(judge, maker, z: [n, k]):
    for t in 2:
        z = z + grad(sum(judge(maker(z))), z)
    return maker(z)


example judged:
    judge = MLP((4, 3, 2))
    maker = MLP((2, 3, 4))
    z: [5, 2] ~ normal(0, 1)
    return sum(through(judge, maker, z) ** 2)
"""


def test_the_gradients_of_two_models_of_a_class_have_the_sizes_of_their_models() -> None:
    report = leec.verify(TWO_SIZES, dtypes=("f64",))
    shapes = {row.quantity: row.shape for row in report.sections[0].rows}
    assert report.ok and shapes["d_judge.layers.0.w"] == (4, 3) and shapes["d_maker.layers.0.w"] == (2, 3)


REQUIRES = """
example fails:
    x: [5] ~ uniform(0, 1)
    require sum(x) < 0
    return sum(x)


example holds:
    x: [5] ~ uniform(0, 1)
    require max(abs(grad(sum(x ** 2), x) - 2 * x)) < 1e-6
    return sum(x)
"""


def test_what_an_example_requires_is_tested() -> None:
    report = leec.verify(REQUIRES, dtypes=("f64",))
    assert not report.ok
    (finding,) = report.findings
    assert (finding.kind, finding.name, finding.span.text) == ("requirement", "fails", "sum(x) < 0")


TWICE = """
def unit(v: [d]) -> [d]:
    return v / norm(v)


model Spectral(inputs, outputs):
    param w: [inputs, outputs] ~ normal(0, 1)
    state right: [outputs] ~ normal(0, 1)

    def forward(x: [n, inputs]) -> [n, outputs]:
        if training:
            right <- unit(unit(stop(w) @ right) @ stop(w))
        left = unit(stop(w) @ stop(right))
        return x @ (w / (left @ w @ stop(right)))


loss both(critic, real: [n, d], fake: [n, d]):
    return mean(critic(real) ** 2) - mean(critic(fake) ** 3)


example judged:
    critic = Spectral(5, 6)
    real: [7, 5] ~ normal(0, 1)
    fake: [7, 5] ~ normal(0, 1)
    return both(critic, real, fake)
"""


def test_what_a_forward_saved_of_a_state_is_its_own_also_through_a_function() -> None:
    assert leec.verify(TWICE, dtypes=("f64",)).ok
