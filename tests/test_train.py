"""Training through the command line: runs that are cut, killed and resumed, NaN with its place, weights in both back ends."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import load_file

import leec
from leec.cli.app import app
from leec.runtime.files import PARTIAL

SPECS = Path(__file__).parent / "specs"
BATCHNORM = str(SPECS / "batchnorm.lee")  # Adam, and state in the model
DIVERGES = SPECS / "diverges.lee"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*args: str) -> Result:
    return CliRunner().invoke(app, ["train", *args], catch_exceptions=False)


def files_of(folder: str) -> dict[str, bytes]:
    return {name: (Path(folder) / name).read_bytes() for name in ("model.safetensors", "metrics.csv", "metrics.jsonl")}


# ---- what a run gives


def test_a_run_ends_with_its_last_row_and_what_to_try_next() -> None:
    result = train(BATCHNORM, "--epochs", "2", "--out", "run")
    assert result.exit_code == 0 and result.stdout.startswith("epoch 2  loss ")
    assert "metrics in run/metrics.csv, weights in run/model.safetensors" in result.stderr
    assert f"to go on: leec train {BATCHNORM} --resume --out run --epochs N" in result.stderr
    assert f"to run the PyTorch program: leec train {BATCHNORM} --backend torch" in result.stderr


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_cut_run_goes_on_bit_equal(backend: str) -> None:
    options = (BATCHNORM, "--epochs", "6", "--backend", backend, "--progress", "none")
    assert train(*options, "--out", "whole").exit_code == 0
    cut = train(*options, "--out", "parts", "--max-steps", "20", "--json")
    assert cut.exit_code == 0
    weights = json.loads(cut.stdout)["result"]["weights"]
    assert weights == ["parts/model-net.safetensors"], "what the loops changed, as nothing was returned"
    assert "last.w" in load_file(weights[0])
    assert len(Path("parts/metrics.jsonl").read_text().splitlines()) == 20 // 8
    assert train(*options, "--out", "parts", "--resume").exit_code == 0
    assert files_of("parts") == files_of("whole")


def test_curves_are_drawn() -> None:
    pytest.importorskip("matplotlib")
    assert train(BATCHNORM, "--epochs", "3", "--out", "run", "--plot").exit_code == 0
    assert Path("run/metrics.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("package", "extra", "option"), [("matplotlib", "plot", "--plot"), ("torch", "torch", "--backend=torch")]
)
def test_without_a_package_nothing_is_begun(
    monkeypatch: pytest.MonkeyPatch, package: str, extra: str, option: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = train(BATCHNORM, "--epochs", "1", option)
    assert result.exit_code == 4 and f"pip install 'leec[{extra}]'" in result.stderr
    assert not Path("runs").exists() or not list(Path("runs").rglob("metrics.csv"))


FROM_FILE = str(SPECS / "from_file.lee")  # its data is an argument


@pytest.fixture
def data() -> str:
    """A file of data that is an argument on the command line."""
    draw = np.random.default_rng(0)
    np.savez("data.npz", x=draw.normal(size=(60, 4)), y=draw.integers(0, 3, 60))
    return "data=data.npz"


def test_data_comes_from_a_file_that_a_resumed_run_finds_again(data: str) -> None:
    assert train(FROM_FILE, "--data", data, "--epochs", "5", "--out", "whole").exit_code == 0
    assert train(FROM_FILE, "--data", data, "--epochs", "5", "--out", "parts", "--max-steps", "10").exit_code == 0
    assert json.loads(Path("parts/run.json").read_text())["arguments"] == {"data": "data.npz", "epochs": 5}
    assert train(FROM_FILE, "--resume", "--out", "parts").exit_code == 0
    assert files_of("parts") == files_of("whole")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([], "`fit` needs `data`, which has no default: --data data=FILE"),
        (["--data", "nothing.txt"], "`data` is data, and `nothing.txt` is none"),
        (["--data", "flowers=nothing.npz"], "names no data parameter of fit: write data=FILE"),
        (["--set", "data=nothing.npz"], "there is no file nothing.npz"),
    ],
)
def test_data_that_is_not_there(settings: list[str], message: str) -> None:
    result = train(FROM_FILE, *settings)
    assert result.exit_code in (1, 2, 4) and message in result.stderr
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("hidden=16.5", "`hidden` of `fit` takes a whole number, not 16.5"),
        ("rate=high", "`rate` of `fit` takes a number, not 'high'"),
        ("rate=true", "`rate` of `fit` takes a number, not True"),
        ("hiden=3", "`fit` takes no argument `hiden`: did you mean `hidden`?"),
    ],
)
def test_arguments_are_checked_before_anything_runs(setting: str, message: str) -> None:
    result = train(BATCHNORM, "--set", setting)
    assert result.exit_code == 2 and message in result.stderr
    assert not Path("runs").exists()


# ---- NaN


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_nan_is_traced_to_its_operation_and_line(backend: str) -> None:
    result = train(str(DIVERGES), "--backend", backend, "--json", "--out", "run")
    assert result.exit_code == 1
    [found] = json.loads(result.stdout)["diagnostics"]
    line = next(i for i, text in enumerate(DIVERGES.read_text("utf-8").splitlines(), 1) if "log(scaled)" in text)
    assert (found["code"], found["line"]) == ("LEE703", line)
    assert found["message"].startswith("`loss` became NaN at step ") and found["message"].endswith(
        "the first NaN comes from `log`"
    )
    assert any(note.startswith("scaled: shape 64") and "min -" in note for note in found["notes"])
    assert not list(Path("run").glob("again*")) and (Path("run") / "checkpoints").exists()


def test_the_warnings_of_numpy_do_not_reach_the_terminal() -> None:
    command = [sys.executable, "-m", "leec", "train", str(DIVERGES), "--progress", "none"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 1 and done.stderr.startswith("error[LEE703] not-a-number")


# ---- weights


@pytest.mark.parametrize(("first", "second"), [("numpy", "torch"), ("torch", "numpy")])
def test_weights_of_either_back_end_load_in_the_other(first: str, second: str) -> None:
    spec = leec.load(BATCHNORM)
    net = spec.fit(backend=first, epochs=2, hidden=7)
    spec.save(net, "net.safetensors")
    other = spec.restore(spec.backend(second).Net(4, 7, 3, key=(5, 6)), "net.safetensors")
    x = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    here, there = spec.predict(net, x), spec.predict(other, x)
    assert here.shape == (9, 3) and np.allclose(here, there, rtol=0, atol=1e-5)
    assert set(load_file("net.safetensors")) == {
        "first.w", "first.b", "norm.gamma", "norm.beta", "norm.mean_", "norm.var_", "last.w", "last.b",
    }  # fmt: skip
    with pytest.raises(leec.RuntimeFault, match=r"first\.w is \(4, 8\) here and \(4, 7\) there"):
        spec.restore(spec.backend(second).Net(4, 8, 3), "net.safetensors")


# ---- kills


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def process(folder: str, data: str, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "leec", "--quiet", "train", FROM_FILE, "--data", data, "--set", "batch=60"]
    command += ["--epochs", "1000", "--out", folder, *more]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)


def newest(folder: str) -> int:
    return max((int(p.name) for p in (Path(folder) / "checkpoints").glob("[0-9]*")), default=0)


def half_written(folder: str) -> bool:
    """Whether a checkpoint is being written, or was when its process was killed."""
    return any((Path(folder) / "checkpoints").glob(f"{PARTIAL}[0-9]*"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_twenty_kills_leave_no_trace(data: str) -> None:
    """The real command, killed 20 times: some checkpoints on, then after any time or in the writing of the next one."""
    assert process("whole", data).wait() == 0
    chance, inside = random.Random(3), 0
    for kill in range(20):
        begun = (Path("killed") / "run.json").exists()
        running = process("killed", data, "--save-every", "0", *(["--resume"] if begun else []))
        target = newest("killed") + chance.randrange(1, 20)
        while newest("killed") < target and running.poll() is None:
            time.sleep(0.0005)
        if kill % 2:
            while not half_written("killed") and running.poll() is None:
                pass
        else:
            time.sleep(chance.random() * 0.01)
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL, "the run was through before it could be killed"
        inside += half_written("killed")
    assert inside >= 3, "too few kills fell into the writing of a checkpoint"
    assert process("killed", data, "--resume").wait() == 0
    assert files_of("killed") == files_of("whole")


NESTED = """
from std.data import iris
from std.nn import Linear
from std.losses import cross_entropy
from std.optim import SGD


model Reader(inner: Linear, k):
    out = Linear(inner.outputs, k)

    def forward(x: [n, d]):
        return out(tanh(inner(x)))


train fit(steps = 3):
    rows = iris().train
    net = Reader(Linear(4, 8), 3)
    opt = SGD(lr = 0.1)
    for step in 1..steps:
        minimize mean(cross_entropy(net(rows.x), rows.y)) over net with opt
    report count = len(rows.y)
    return net
"""


def test_models_and_data_may_be_made_where_they_are_used() -> None:
    """Each becomes a variable that is called after what it is for."""
    spec = leec.load(NESTED)
    assert spec.run("fit")[1][-1]["count"] == 120
    for backend in ("numpy", "torch"):
        assert "    net_linear = Linear(" in spec.text(backend) and "rows_iris = run.data(" in spec.text(backend)
