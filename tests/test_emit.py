"""The generated files: what they compute, how they read, and that a spec cannot smuggle code into them.

tests/emit/nets.lee is compiled once; its NumPy file, its torch modules under autograd and its torch steps must agree.
"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import black
import numpy as np
import pytest

import leec
from leec import driver
from leec.diagnostics import Source
from leec.emit import emit_cuda, emit_reference
from leec.emit.docs import docstring
from leec.emit.layout import number, quoted, text
from leec.emit.names import Names
from leec.emit.splitting import fit, split

torch = pytest.importorskip("torch")
NETS = Path(__file__).parent / "emit" / "nets.lee"
OPTIONS = driver.Options()


def compiled(source: str, path: str = "spec.lee"):
    module, diagnostics = driver.elaborate(Source(path, source))
    assert not [d.message for d in diagnostics if d.severity == "error"]
    return driver.optimise(module, OPTIONS)


def texts(source: str, path: str = "spec.lee") -> tuple[str, str]:
    module = compiled(source, path)
    return emit_reference(module, OPTIONS), emit_cuda(module, OPTIONS)


def load(code: str, folder: Path, name: str) -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files() -> tuple[str, str]:
    return texts(NETS.read_text(encoding="utf-8"), "nets.lee")


@pytest.fixture
def generated(files, tmp_path) -> tuple[ModuleType, ModuleType]:
    """Both modules in 64 bits."""
    numpy, cuda = load(files[0], tmp_path, "made_reference"), load(files[1], tmp_path, "made_cuda")
    numpy.FLOAT, cuda.FLOAT = np.float64, torch.float64
    return numpy, cuda


def nets(generated) -> tuple:
    """The same net in both, with numbers in every tensor."""
    numpy, cuda = generated
    net, twin = numpy.Net(4, 3, 2, key=(1, 2)), cuda.Net(4, 3, 2, key=(1, 2))
    net.parameters += np.random.default_rng(0).normal(size=net.parameters.shape)
    twin.load_tensors(net.tensors())
    return net, twin


def data(n: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, 4)), rng.normal(size=(n, 2))


def close(a, b, tolerance: float = 1e-12) -> None:
    a, b = (np.asarray(v.detach() if isinstance(v, torch.Tensor) else v) for v in (a, b))
    assert a.shape == b.shape
    assert np.abs(a - b).max(initial=0) <= tolerance * max(1.0, np.abs(b).max(initial=0))


# ---- how they read


def test_black_leaves_the_files_alone(files) -> None:
    mode = black.Mode(line_length=120, target_versions={black.TargetVersion.PY311})
    for code in files:
        assert black.format_str(code, mode=mode) == code


def test_bytes_are_determined(files) -> None:
    assert texts(NETS.read_text(encoding="utf-8"), "nets.lee") == files


def test_no_folder_of_the_machine_gets_into_a_file() -> None:
    code, _ = texts("def f(x: [n]):\n    return x\n", "/home/someone/specs/f.lee")
    assert "someone" not in code
    assert "leec compile f.lee" in code


def test_the_mathematics_imports_only_its_library(files) -> None:
    for code, library in zip(files, ({"numpy", "math"}, {"torch", "math", "sys", "weakref"}), strict=True):
        top = [n for n in ast.parse(code).body if isinstance(n, ast.Import | ast.ImportFrom)]
        found = {a.name for n in top if isinstance(n, ast.Import) for a in n.names} - {"annotations"}
        assert found <= library
        assert {n.module for n in top if isinstance(n, ast.ImportFrom)} == {"__future__"}


@pytest.mark.parametrize(
    "code", ["import cuda", "import torch, cuda", "import runpy; runpy.run_path('cuda.py', run_name='__main__')"]
)
def test_a_script_beside_the_file_can_import_it_and_torch(files, tmp_path, code: str) -> None:
    """torch looks for a package named cuda, and finds the file where it stands beside the script."""
    (tmp_path / "cuda.py").write_text(files[1], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import torch; torch.ones(1)"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_step_of_the_reference_reads_like_the_lecture(files) -> None:
    assert """
def fit_step(net, line, opt, other, x, y):
    \"\"\"One step of fit.\"\"\"
    loss, saved_squares = squares_saved(net, x, y[:, None] / 100)""" in files[0]
    assert "    opt.update(net.parameters, net.flat(d_net))\n" in files[0]
    assert "        d_w = x.T @ d_add  # [d, o]\n" in files[0]
    assert "        # gradient of z = tanh(x @ w + b)   nets.lee:" in files[0]


def test_ruff_finds_nothing(files, tmp_path) -> None:
    for name, code in zip(("reference.py", "cuda.py"), files, strict=True):
        (tmp_path / name).write_text(code, encoding="utf-8")
    rules = ["--select", "E,F,W,B,I", "--ignore", "E741,B905,B007", "--line-length", "120", "--isolated"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rules, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


# ---- what they compute


def test_the_reference_gradient_is_the_finite_difference(generated) -> None:
    numpy, _ = generated
    net, _ = nets(generated)
    x, y = data()
    _, saved = numpy.squares_saved(net.copy(), x, y)
    gradient = net.flat(numpy.squares_backward_parameters(net, x, saved, 1.0))
    for i in range(net.parameters.size):
        sides = []
        for step in (1e-6, -1e-6):
            moved = net.copy()
            moved.parameters[i] += step
            sides.append(float(numpy.squares(moved, x, y)))
        close((sides[0] - sides[1]) / 2e-6, gradient[i], 1e-7)


def test_autograd_through_the_modules_gives_the_same_gradient(generated) -> None:
    numpy, cuda = generated
    net, twin = nets(generated)
    x, y = data()
    _, saved = numpy.squares_saved(net.copy(), x, y)
    gradient = net.flat(numpy.squares_backward_parameters(net, x, saved, 1.0))
    loss = cuda.squares(twin.train(), torch.tensor(x), torch.tensor(y))
    loss.backward()
    found = [t.grad.reshape(-1) for t in twin.tensors().values() if isinstance(t, torch.nn.Parameter)]
    close(torch.cat(found), gradient)


def test_evaluation_and_training_differ_and_agree_with_torch(generated) -> None:
    net, twin = nets(generated)
    x, _ = data()
    close(twin.eval()(torch.tensor(x)), net(x))
    close(twin.train()(torch.tensor(x)), net(x, training=True))
    close(twin.norm.mean_, net.norm.mean_)
    assert abs(net.norm.mean_).max() > 0


def test_examples_agree(generated) -> None:
    numpy, cuda = generated
    for a, b in zip(numpy.example_both((3, 4)), cuda.example_both((3, 4)), strict=True):
        if hasattr(a, "tensors"):
            for path, tensor in a.tensors().items():
                close(b.tensors()[path], tensor)
        else:
            close(b, a)


def run_steps(generated, name: str, objects: tuple, count: int) -> None:
    """A step of both back ends, side by side: losses, parameters, states of models and optimizers."""
    numpy, cuda = generated
    here, there = [], []
    for kind, *arguments in objects:
        a, b = getattr(numpy, kind)(*arguments), getattr(cuda, kind)(*arguments)
        if hasattr(a, "parameters"):
            a.parameters += np.random.default_rng(len(here)).normal(size=a.parameters.shape)
            b.load_tensors(a.tensors())
        here, there = [*here, a], [*there, b]
    step = getattr(cuda, "".join(p.capitalize() for p in name.split("_")))(*there)
    rng = np.random.default_rng(5)
    for _ in range(count):
        x, y = rng.normal(size=(9, 10)), 100 * rng.normal(size=9)
        expected = getattr(numpy, name)(*here, x, y)
        found = step(torch.tensor(x), torch.tensor(y))
        for a, b in zip(np.atleast_1d(expected), found if isinstance(found, tuple) else (found,), strict=True):
            close(b, a)
    for a, b in zip(here, there, strict=True):
        assert list(a.tensors()) == list(b.tensors())
        for path, tensor in a.tensors().items():
            close(b.tensors()[path], tensor, 1e-10)


STEPS = {
    "fit_step": (("Net", 10, 6, 1), ("Line", 10), ("Momentum", 0.01), ("Adam", 0.1)),
    "together_step": (("Line", 10), ("Line", 10), ("SGD", 0.01)),
    "by_signs_step": (("Net", 10, 4, 1), ("Signs",)),
    "scheduled_step": (("Line", 10), ("Adam", lambda t: 0.1 * 0.5 ** (t // 2))),
}


@pytest.mark.parametrize("name", STEPS)
def test_twenty_steps_agree(generated, name: str) -> None:
    run_steps(generated, name, STEPS[name], 20)


@pytest.mark.parametrize("procedure", ["fit", "together", "by_signs", "scheduled"])
def test_procedures_run_on_both_back_ends(files, tmp_path, procedure: str) -> None:
    from leec.runtime.run import Run

    rows = []
    for code, backend in zip(files, ("numpy", "torch"), strict=True):
        module = load(code, tmp_path, f"made_{backend}")
        with Run(procedure, backend=backend, progress="none") as run:
            result = getattr(module, procedure)(run=run)
            rows.append(
                (
                    run.history,
                    {k: np.asarray(v.detach() if backend == "torch" else v) for k, v in result.tensors().items()},
                )
            )
    (history, tensors), (other_history, other_tensors) = rows
    assert len(history) == len(other_history)
    for path, tensor in tensors.items():
        np.testing.assert_allclose(other_tensors[path], tensor, rtol=1e-3, atol=1e-4)
    for row, other in zip(history, other_history, strict=True):
        assert row.keys() == other.keys()
        np.testing.assert_allclose(list(other.values()), list(row.values()), rtol=1e-3)


# ---- weights and states


def test_weights_go_by_the_names_of_the_spec(generated) -> None:
    numpy, cuda = generated
    assert list(numpy.Net(2, 3, 1).tensors()) == list(cuda.Net(2, 3, 1).tensors())
    assert set(cuda.Net(2, 3, 1).state_dict()) == set(cuda.Net(2, 3, 1).tensors())
    line, other = cuda.Line(3), cuda.Line(3)
    torch.nn.init.normal_(line.train_)
    assert set(line.state_dict()) == {"w", "train"}
    other.load_state_dict(line.state_dict())
    assert torch.equal(other.train_, line.train_)
    with pytest.raises(ValueError, match="has other tensors"):
        numpy.Line(3).load_tensors({"w": np.zeros(3)})
    with pytest.raises(ValueError, match="w is"):
        numpy.Line(3).load_tensors({"w": np.zeros(4), "train": np.zeros(())})


def test_every_array_of_the_reference_is_a_view_of_one_vector(generated) -> None:
    net, _ = nets(generated)
    net.parameters[...] = np.arange(net.parameters.size)
    flat = np.concatenate(
        [
            net.norm.gamma,
            net.norm.beta,
            *(a.ravel() for layer in net.layers for a in (layer.w, layer.b)),
            net.out.ravel(),
        ]
    )
    assert (flat == net.parameters).all()
    twin = net.copy()
    twin.parameters[...] = 0
    assert net.out.any() and not twin.out.any()


# ---- the step keeps its buffers


def fresh_step(cuda):
    net, line, opt, other = cuda.Net(10, 6, 1), cuda.Line(10), cuda.Momentum(0.01), cuda.Adam(0.1)
    return (
        cuda.FitStep(net, line, opt, other),
        net,
        torch.randn(9, 10, dtype=cuda.FLOAT),
        torch.randn(9, dtype=cuda.FLOAT),
    )


def test_addresses_stay(generated) -> None:
    step, net, x, y = fresh_step(generated[1])
    step(x, y)
    before = [p.data_ptr() for p in net.parameters()], [s.data_ptr() for states in step.states for s in states]
    for _ in range(3):
        step(x, y)
    assert before == (
        [p.data_ptr() for p in net.parameters()],
        [s.data_ptr() for states in step.states for s in states],
    )


def test_a_step_allocates_nothing_of_the_size_of_the_parameters(files, tmp_path) -> None:
    """A wide net and a batch of one: whatever is as large as a weight matrix would stand out."""
    cuda = load(files[1], tmp_path, "made_wide")
    net, line = cuda.Net(10, 400, 1), cuda.Line(10)
    step = cuda.FitStep(net, line, cuda.Momentum(0.01), cuda.Adam(0.1))
    x, y = torch.randn(1, 10), torch.randn(1)
    for _ in range(3):
        step(x, y)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step(x, y)
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert 0 < largest < 400 * 400 * 4 / 2


def test_severed_views_are_bound_again(generated) -> None:
    cuda = generated[1]
    step, net, x, y = fresh_step(cuda)
    step(x, y)
    net.load_state_dict({k: v.clone() for k, v in net.state_dict().items()}, assign=True)
    before = net.out.clone()
    step(x, y)
    assert not torch.equal(net.out, before)
    assert net.out.data_ptr() == dict(net.tensors())["out"].data_ptr()


def test_no_autograd_and_no_synchronisation_in_a_step(files) -> None:
    steps = [n for n in ast.parse(files[1]).body if isinstance(n, ast.ClassDef) and n.name.endswith("Step")]
    assert {s.name for s in steps} == {"TrainStep", "FitStep", "TogetherStep", "BySignsStep", "ScheduledStep"}
    for cls in steps:
        names = {n.attr for n in ast.walk(cls) if isinstance(n, ast.Attribute)}
        assert not names & {"backward", "item", "cpu", "numpy", "tolist", "requires_grad_", "synchronize"}


# ---- names, text, layout


HOSTILE = '''"""A title with \\"\\"\\" quotes \\\\ and {braces} and \\u2028"""


model lambda_(d):
    """x\\"""; import os; os.abort() #"""
    param np: [d] = 1
    param train: [d] = 1

    def forward(self_: [n, d], torch: [n, d]) -> [n, d]:
        FLOAT = self_ * np + torch * train  # """ closes nothing
        math = FLOAT + 1
        return math


def del_(class_: [n], is_: [n]):
    """{0} %s \\\\N{DASH} \\'\\'\\' \\"\\"\\""""
    σ = class_ + is_
    return σ * σ
'''


def test_names_and_docstrings_cannot_become_code(tmp_path) -> None:
    source = HOSTILE.replace('\\"\\"\\"', "'''").replace('x\\"""', "x'''")
    numpy, cuda = texts(source, "a\nb.lee")
    for code in (numpy, cuda):
        tree = ast.parse(code)
        assert not any(isinstance(n, ast.Attribute) and n.attr == "abort" for n in ast.walk(tree))
    module, other = load(numpy, tmp_path, "hostile_numpy"), load(cuda, tmp_path, "hostile_cuda")
    net, twin = module.lambda_(3), other.lambda_(3)
    x = np.ones((2, 3), np.float32)
    close(twin(torch.tensor(x), torch.tensor(x)), net(x, x))
    assert set(twin.state_dict()) == {"np", "train"}


@pytest.mark.parametrize(
    "words", ['"""', 'ends with "', "\\", "a\\", '""""', "x\n    y\n  z", "tab\there", "\u2028 nul \x00"]
)
def test_a_docstring_stays_a_docstring(words: str) -> None:
    code = "\n".join(["def f():", *(f"    {line}" for line in docstring(words)), "    return 1"])
    function = ast.parse(code).body[0]
    assert len(function.body) == 2 and isinstance(ast.get_docstring(function), str)


@pytest.mark.parametrize("value", ["", '"', "'", "\"'", "\\", "a\nb", "\u2028", "é中", "{x}", "\x00", '"""'])
def test_a_quoted_string_is_itself(value: str) -> None:
    assert ast.literal_eval(quoted(value)) == value
    assert "\n" not in quoted(value)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-3, 1e-5, 1.5e-7, 123456.75, 1e22, 0.001, 2.5, 1 / 3])
def test_a_number_is_itself(value: float) -> None:
    assert float(number(value)) == value


def test_renaming_is_injective() -> None:
    names = Names({"mse"})
    wanted = ["lambda", "lambda_", "np", "a.b", "a_b", "σ", "mse", "self", "x", "x", "for", "1a"]
    given = [names.of(i, w) for i, w in enumerate(wanted)]
    assert len(set(given)) == len(given)
    assert all(g.isidentifier() for g in given)
    assert given[5] == "σ" and given[8] == "x"


EXPRESSIONS = """x[i] ** 2; -x ** 2; (-x) ** 2; 2 ** -x; a - (b - c); a / (b * c); not (a and b); (a < b) == c; x[:n, n + 1:]; x[: self.n]
x[a : b + 1 : 2]; x[:, None]; a @ (b @ c); (a if b else c) + 1; f(*x, a=1); {'a': 1, 'b': (2,)}; a ** b ** c; ~(a == b); x[::n]
lr * -1; x.T ** 2; a - -b; (a, b)[0]; [a, b]; x[()]; a < b < c; (a or b) and c; x[-1:]; x[f(a):]; a % b * c; -(a + b)"""


@pytest.mark.parametrize("source", [e.strip() for e in EXPRESSIONS.replace("\n", ";").split(";")])
def test_expressions_keep_their_meaning_and_look_like_black(source: str) -> None:
    tree = ast.parse(source, mode="eval")
    line = text(tree.body)
    assert ast.dump(ast.parse(line, mode="eval")) == ast.dump(tree)
    assert black.format_str(line, mode=black.Mode(line_length=120)) == line + "\n"


LONG = ", ".join(f"argument_{i}" for i in range(20))
SHORTER = ", ".join(f"argument_{i}" for i in range(9))
STATEMENTS = {
    "call": f"loss = function({LONG})",
    "call of a method": f'a, b = self.layers.function({SHORTER}, [x, (y, z)], key=")", other={{"(": 1}})',
    "call on one line": f"result = self.function_with_a_long_name({SHORTER})",
    "definition": f"def function(self, {LONG}): ...",
    "loop": f"for x, y in run.batches({LONG}):",
    "loop over a sum": f"for x in {' + '.join(f'argument_{i}' for i in range(20))}:",
    "call of an element's method": f'a, b = self.layers[1].function({SHORTER}, d_net["w"])',
    "return": f"return function({LONG})",
    "return of names": f"return {LONG}",
    "names": f"saved = {LONG}",
    "names that fit in parentheses": f"saved = {SHORTER[:114]}",
    "tuple": f"names = ({LONG})",
    "list": f"names = [{LONG}]",
    "dict": f"return {{{', '.join(f'{i}: {i}' for i in range(30))}}}",
    "sum": f"loss = {' + '.join(f'argument_{i}' for i in range(20))}",
    "sum in a call": f"loss = function({' + '.join(f'argument_{i}' for i in range(20))}, 1)",
    "call of a call": f"loss = function({LONG})({LONG})",
    "subscript": f"x = y[{LONG}]",
    "comparison": f"if function({LONG}) != other({LONG}):\n    raise ValueError(1)",
}


@pytest.mark.parametrize("kind", STATEMENTS)
@pytest.mark.parametrize("indent", [0, 4, 8])
def test_long_statements_are_split_as_black_does(kind: str, indent: int) -> None:
    statement, mode = STATEMENTS[kind], black.Mode(line_length=120 - indent)
    body = "\n    pass" if statement.endswith(":") else ""
    assert fit(statement, indent) + body == black.format_str(statement + body, mode=mode).rstrip("\n")


def test_calls_and_literals_need_no_black() -> None:
    harder = {"loop over a sum", "sum", "sum in a call", "call of a call", "subscript", "comparison"}
    assert [kind for kind, statement in STATEMENTS.items() if not split(statement, 120)] == [
        *filter(harder.__contains__, STATEMENTS)
    ]


def test_a_check_at_entry_names_the_line_and_both_sizes(tmp_path) -> None:
    source = "def both(x: [n], y: [m]):\n    return concat(x, x) + concat(y, y, y)\n"
    numpy, cuda = texts(source)
    for code, array in ((numpy, np.ones), (cuda, torch.ones)):
        module = load(code, tmp_path, "checked")
        assert module.both(array(3), array(2)).shape == (6,)
        with pytest.raises(ValueError, match=r"spec.lee:2: 2 \* n = 6 must equal 3 \* m = 9"):
            module.both(array(3), array(3))


def test_a_long_check_is_split_inside_its_block() -> None:
    n, m = ("a_size_with_quite_a_long_name_" * 2 + end for end in "xy")
    source = f"def both(x: [{n}], y: [{m}]):\n    return concat(x, x) + concat(y, y, y)\n"
    for code in texts(source):
        (function,) = [f for f in ast.parse(code).body if isinstance(f, ast.FunctionDef) and f.name == "both"]
        assert any(isinstance(s, ast.If) and isinstance(s.body[0], ast.Raise) for s in function.body)
        assert black.format_str(code, mode=black.Mode(line_length=120)) == code


ALIKE = """
model Scale(d):
    param w: [d] = 1

    def forward(x: [n, d]) -> [n, d]:
        return x * w

model Twice(d):
    first = Scale(d)
    second = Scale(d)

    def forward(x: [n, d]) -> [n, d]:
        return second(first(x))

example e:
    net = Twice(3)
    x: [2, 3] ~ normal(0, 1)
    return sum(net(x))
"""


def test_members_that_are_made_alike_are_two_objects() -> None:
    net = leec.load(ALIKE).numpy.Twice(3)
    assert net.first is not net.second and set(net.tensors()) == {"first.w", "second.w"}
