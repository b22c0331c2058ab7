"""The Python API: generated classes as people call them, weights in and out, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import leec
from leec.runtime.faults import RuntimeFault

LAYERS = """from std.losses import cross_entropy
from std.nn import BatchNorm, Linear


model Net(d, k):
    param scale: [] = 2
    first = Linear(d, k)

    def forward(x: [.., d]) -> [.., k]:
        return scale * first(x)


def sums(x: [.., d], y: [n, .., d]) -> ([..], [n, ..]):
    return sum(x, axis = -1), sum(y, axis = -1)


model Normed(d):
    norm = BatchNorm(d)

    def forward(x: [n, d, t]):
        return norm(x)


loss score(x: [n, d], y: int[n]):
    return cross_entropy(x, y)
"""


@pytest.fixture(scope="module")
def spec() -> leec.api.Loaded:
    return leec.load(LAYERS)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)


# ---- the axes of `..`


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 1, 3, 4), (0, 3, 4)])
def test_a_layer_takes_any_axes_where_the_spec_says_so(spec: leec.api.Loaded, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    here, there = spec.numpy.Linear(4, 5), spec.torch.Linear(4, 5)
    wanted = x @ here.w + here.b
    assert wanted.shape == (*shape[:-1], 5)
    there.load_tensors(here.tensors())
    np.testing.assert_allclose(here(x), wanted, rtol=1e-6)
    np.testing.assert_allclose(spec.predict(there, x), wanted, rtol=0, atol=1e-6)


def test_axes_in_the_middle_and_of_several_arguments(spec: leec.api.Loaded, x: np.ndarray) -> None:
    y = np.ones((7, 2, 3, 4), np.float32)
    for module, array in ((spec.numpy, np.asarray), (spec.torch, torch.as_tensor)):
        first, second = module.sums(array(x), array(y))
        assert (tuple(first.shape), tuple(second.shape)) == ((2, 3), (7, 2, 3))
        with pytest.raises(ValueError, match=r"sums: y has the shape \(7, 3, 2, 4\)"):
            module.sums(array(x), array(y.swapaxes(1, 2)))
        with pytest.raises(ValueError, match=r"Linear.forward: x has the shape \(\)"):
            module.Linear(4, 5)(array(np.float32(3)))
    image = np.random.default_rng(2).normal(size=(3, 4, 5, 6)).astype(np.float32)
    normed = torch.nn.BatchNorm2d(4)(torch.tensor(image)).detach().numpy()
    np.testing.assert_allclose(spec.torch.BatchNorm(4)(torch.tensor(image)).detach(), normed, atol=1e-5)
    assert spec.numpy.BatchNorm(4)(image).shape == image.shape


def test_gradients_flow_through_any_axes(spec: leec.api.Loaded, x: np.ndarray) -> None:
    net = spec.torch.Net(4, 5)
    net(torch.tensor(x)).sum().backward()
    np.testing.assert_allclose(net.first.w.grad, 2 * np.repeat(x.sum((0, 1))[:, None], 5, axis=1), rtol=1e-5)


# ---- predict, weights


def test_predict_takes_the_width_of_the_model_and_leaves_its_mode(spec: leec.api.Loaded, x: np.ndarray) -> None:
    for module in (spec.numpy, spec.torch):
        found = spec.predict(module.Net(4, 5), x.astype(np.float64))
        assert isinstance(found, np.ndarray) and found.dtype == np.float32
    net = spec.torch.Normed(3)
    before = net.norm.mean_.clone()
    spec.predict(net, x)
    assert net.training and torch.equal(net.norm.mean_, before)


@pytest.mark.parametrize("backends", [("numpy", "torch"), ("torch", "numpy")])
def test_weights_of_one_back_end_load_in_the_other(
    spec: leec.api.Loaded, x: np.ndarray, tmp_path: Path, backends: tuple[str, str]
) -> None:
    one, other = (spec.backend(b) for b in backends)
    net = one.Net(4, 5, key=(1, 2))
    spec.save(net, tmp_path / "net.safetensors")
    twin = spec.restore(other.Net(4, 5), tmp_path / "net.safetensors")
    np.testing.assert_allclose(spec.predict(twin, x), spec.predict(net, x), atol=1e-6)
    assert {p: t.shape for p, t in spec.weights(twin).items()} == {"scale": (), "first.w": (4, 5), "first.b": (5,)}


def test_weights_that_are_none_say_so(spec: leec.api.Loaded, tmp_path: Path) -> None:
    net, path = spec.numpy.Net(4, 5), tmp_path / "net.safetensors"
    with pytest.raises(RuntimeFault, match="LEE709 absent-file"):
        spec.restore(net, path)
    path.write_text("weights")
    with pytest.raises(RuntimeFault, match=r"LEE708 bad-file: .* holds no weights of this model"):
        spec.restore(net, path)
    spec.save(spec.numpy.Net(4, 6), path)
    with pytest.raises(RuntimeFault, match=r"first\.w is \(4, 5\) here and \(4, 6\) there"):
        spec.restore(net, path)
    spec.save(spec.numpy.Linear(4, 5), path)
    with pytest.raises(RuntimeFault, match="Net has other tensors"):
        spec.restore(net, path)


# ---- compile, load, verify


@pytest.mark.parametrize("entry", [leec.compile, leec.load, leec.verify])
def test_mistakes_of_a_spec_are_raised_as_diagnostics(entry) -> None:
    with pytest.raises(leec.LeeError) as caught:
        entry("def f(x: [n]):\n    return x + z\n\n\ndef g(x: [n]):\n    return y\n")
    assert [(d.code, d.span.line) for d in caught.value.diagnostics] == [("LEE101", 2), ("LEE101", 6)]
    assert "nothing here is called `z`" in str(caught.value) and "nothing here is called `y`" in str(caught.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.lee"):
        leec.load("nothing.lee")


def test_compile_gives_files_and_warnings(spec: leec.api.Loaded) -> None:
    found = leec.compile(LAYERS)
    assert set(found.files) == {"reference.py", "cuda.py"} and found.diagnostics == ()
    assert found.files["reference.py"] == spec.text("numpy")


def test_a_procedure_whose_name_python_has_taken() -> None:
    text = Path(leec.__file__).parent.joinpath("cli/lessons/linreg.lee").read_text(encoding="utf-8")
    spec = leec.load(text.replace("train fit(", "train lambda("))
    assert spec.fit("lambda", epochs=1).w.shape == (10,)


def test_a_requirement_that_only_a_run_can_test_names_the_line_and_the_sizes() -> None:
    spec = leec.load(
        "model Heads(d, heads):\n    require d % heads == 0 and d > 2\n    param w: [heads, d // heads] = 0\n\n\n"
        "train fit(d = 8):\n    net = Heads(d, 4)\n    return net\n"
    )
    assert spec.fit().w.shape == (4, 2)
    with pytest.raises(RuntimeFault, match=r"LEE714 .*<text>:2: d % heads == 0 must hold: d = 6, heads = 4"):
        spec.fit(d=6)
    for module in (spec.numpy, spec.torch):
        with pytest.raises(ValueError, match="d > 2 must hold: d = 0"):
            module.Heads(0, 4)


def test_a_position_outside_its_array_names_the_line() -> None:
    spec = leec.load(
        "from std.data import iris\n\n\ndef pick(x: [n, d], k: int[n]) -> [n]:\n    y[i] = x[i, k[i]]\n    return y\n\n\n"
        "train fit(shift = 3):\n    data = iris()\n    for round in 1..2:\n"
        "        report first = mean(pick(data.train.x, data.train.y + shift))\n"
    )
    for backend in ("numpy", "torch"):
        with pytest.raises(RuntimeFault, match=r"LEE714 failed-check: .*:5: index 5 is out of bounds"):
            spec.fit(backend=backend)
