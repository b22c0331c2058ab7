"""What a run leaves behind: metrics, checkpoints, values as plain data, and what it shows while it goes."""

import csv
import io
import json
import math
import os
import pathlib
import shutil
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import safetensors.numpy

from leec.runtime import checkpoint, files, state
from leec.runtime.backend import NumpyBackend, backend, to_numpy
from leec.runtime.faults import RuntimeFault
from leec.runtime.metrics import Metrics
from leec.runtime.progress import Bar, Lines, Silent, progress
from leec.runtime.run import Run

# ---- metrics


def read(folder):
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    return table, [json.loads(line) for line in lines[:-1]]


def test_both_files_hold_the_rows(tmp_path):
    metrics = Metrics(tmp_path)
    metrics.write({"epoch": 1, "loss[2]": 0.1})
    metrics.write({"epoch": 2, "loss[2]": math.nan, "精度, \u2028": True})  # a column that comes later, and odd labels
    metrics.write({"epoch": 3, "loss[2]": -math.inf})
    table, rows = read(tmp_path)
    assert table == [
        ["epoch", "loss[2]", "精度, \u2028"],
        ["1", "0.1", ""],
        ["2", "nan", "True"],
        ["3", "-inf", ""],
    ]
    assert rows == [
        {"epoch": 1, "loss[2]": 0.1},
        {"epoch": 2, "loss[2]": "NaN", "精度, \u2028": True},
        {"epoch": 3, "loss[2]": "-Infinity"},
    ]


def test_going_back_to_a_count_of_rows(tmp_path):
    metrics = Metrics(tmp_path)
    for i in range(5):
        metrics.write({"epoch": i, "loss": i / 3} | ({"late": 1.0} if i == 3 else {}))
    metrics.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 5, "lo')  # a kill in the middle of a row
    again = Metrics(tmp_path, keep=2)
    assert read(tmp_path)[0] == [["epoch", "loss"], ["0", "0.0"], ["1", "0.3333333333333333"]]
    again.write({"epoch": 2, "other": 1})
    assert read(tmp_path)[0][0] == ["epoch", "loss", "other"] and read(tmp_path)[0][-1] == ["2", "", "1"]
    assert [row["epoch"] for row in again.rows] == [0, 1, 2]
    again.close()
    with pytest.raises(RuntimeFault, match="has 3 rows, fewer than the 4"):
        Metrics(tmp_path, keep=4)


def test_words_for_what_json_cannot_hold_come_back_as_numbers(tmp_path):
    metrics = Metrics(tmp_path)
    metrics.write({"a": math.inf, "b": math.nan})
    metrics.close()
    [row] = Metrics(tmp_path, keep=1).rows
    assert row["a"] == math.inf and math.isnan(row["b"])


# ---- values as plain data

Point = namedtuple("Point", "x y")


@dataclass
class Record:
    hidden: int
    score: float


class Net:
    def __init__(self, w):
        self.w, self.t = w, 0

    def tensors(self):
        return {"layer.w": self.w, "t": self.t}

    def load_tensors(self, tensors):
        self.w, self.t = tensors["layer.w"], tensors["t"]


def there_and_back(value, like, place=None):
    tensors = {}
    node = json.loads(json.dumps(state.encode(value, "v", tensors), allow_nan=False))
    return state.decode(node, like, "v", tensors, place or NumpyBackend())


@pytest.mark.parametrize("value", [None, True, 3, 0.1, -0.0, math.inf, "text", (), (1, [2.0, "a"]), {"a": (1, None)}])
def test_plain_values_come_back(value):
    back = there_and_back(value, None)
    assert back == value and type(back) is type(value)
    assert math.isnan(there_and_back(math.nan, 0.0))


def test_arrays_come_back_bit_for_bit():
    for array in (
        np.float32(0.1),
        np.float64(math.inf),
        np.arange(6).reshape(2, 3).T,
        np.array(True),
        np.zeros((0, 2)),
    ):
        back = there_and_back(array, None)
        assert type(back) is type(array) and back.dtype == array.dtype and np.array_equal(back, array)


def test_arrays_are_copied_when_they_are_encoded():
    array, tensors = np.zeros(3), {}
    state.encode(array, "v", tensors)
    array += 1
    assert tensors["v"].tolist() == [0, 0, 0]


def test_records_come_back_as_their_own_kind():
    for value, like in [(Point(1, np.ones(2)), Point(0, 0)), (Record(3, math.inf), Record(0, 0.0))]:
        back = there_and_back(value, like)
        assert type(back) is type(value) and str(back) == str(value)
    with pytest.raises(RuntimeFault, match=r"LEE726.*fields hidden, score"):
        there_and_back(Record(1, 2.0), Point(0, 0))


def test_models_are_filled_in_place():
    before, here = Net(np.arange(3.0)), Net(np.zeros(3))
    before.t = 7
    back = there_and_back([before, {"best": before}], [here, {"best": Net(np.zeros(3))}])
    assert back[0] is here and here.w.tolist() == [0, 1, 2] and here.t == 7 and back[1]["best"].t == 7
    with pytest.raises(RuntimeFault, match=r"LEE726.*a model of the same structure"):
        there_and_back([before], [])


def test_what_cannot_be_kept_is_named():
    with pytest.raises(RuntimeFault, match=r"`v.0.f` is a function"):
        there_and_back([{"f": test_what_cannot_be_kept_is_named}], None)


def test_tensors_come_back_in_their_width():
    torch = pytest.importorskip("torch")
    place = backend("torch", "bf16")
    for tensor in (
        torch.arange(5).to(torch.bfloat16) / 3,
        torch.tensor(0.1, dtype=torch.float64),
        torch.tensor([True]),
    ):
        tensors = {}
        node = state.encode(tensor, "v", tensors)
        back = state.decode(node, None, "v", {name: to_numpy(t) for name, t in tensors.items()}, place)
        assert back.dtype == tensor.dtype and torch.equal(back, tensor)


# ---- checkpoints

TENSORS = {"0/net.w": np.arange(6.0).reshape(2, 3), "0/t": np.array(3), "empty": np.zeros((0,), np.float32)}


def test_a_checkpoint_comes_back_and_two_are_kept(tmp_path):
    folder = tmp_path / "checkpoints"
    assert checkpoint.load(folder) is None
    for i in range(4):
        checkpoint.save(folder, {**TENSORS, "i": np.array(i)}, {"round": i})
    assert sorted(os.listdir(folder)) == ["000003", "000004"]
    tensors, facts = checkpoint.load(folder)
    assert facts == {"round": 3} and tensors["i"] == 3
    assert all(np.array_equal(tensors[k], v) and tensors[k].dtype == v.dtype for k, v in TENSORS.items())


def test_no_tensors_are_fine(tmp_path):
    checkpoint.save(tmp_path, {}, {"a": 1})
    assert checkpoint.load(tmp_path) == ({}, {"a": 1})


class Killed(BaseException):
    """Stands for the end of the process: nothing after it runs."""


class Fuse:
    """Lets a number of calls through, and kills at the next."""

    def __init__(self, calls):
        self.calls = calls

    def on(self, function):
        def call(*args, **kwargs):
            if self.calls == 0:
                raise Killed
            self.calls -= 1
            return function(*args, **kwargs)

        return call


TOUCHING = [  # every call by which a checkpoint touches the disk
    (pathlib.Path, "mkdir"),
    (safetensors.numpy, "save_file"),
    (pathlib.Path, "write_text"),
    (os, "fsync"),
    (pathlib.Path, "rename"),
    (shutil, "rmtree"),
]


def save_until(folder, moment, monkeypatch):
    """Save a third checkpoint, killed before a call; what can then be loaded, or "finished"."""
    fuse = Fuse(moment)
    with monkeypatch.context() as patch:
        for owner, name in TOUCHING:
            patch.setattr(owner, name, fuse.on(getattr(owner, name)))
        try:
            checkpoint.save(folder, {"i": np.array(2)}, {"i": 2})
            return "finished"
        except Killed:
            pass
    tensors, facts = checkpoint.load(folder)
    assert tensors["i"] == facts["i"]
    return facts["i"]


def test_a_kill_at_any_call_leaves_the_old_or_the_new(tmp_path, monkeypatch):
    outcomes = []
    while "finished" not in outcomes:
        folder = tmp_path / str(len(outcomes))
        for i in range(2):
            checkpoint.save(folder, {"i": np.array(i)}, {"i": i})
        outcomes.append(save_until(folder, len(outcomes), monkeypatch))
        checkpoint.sweep(folder)
        checkpoint.save(folder, {"i": np.array(3)}, {"i": 3})
        assert checkpoint.load(folder)[1] == {"i": 3} and len(os.listdir(folder)) == 2
    old, new = outcomes.count(1), outcomes.count(2)
    assert outcomes == [1] * old + [2] * new + ["finished"]  # once the new one is there it stays
    assert old >= 6 and new >= 2


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    for i in range(2):
        checkpoint.save(tmp_path, {"i": np.arange(100)}, {"i": i})
    newest = tmp_path / "000002" / checkpoint.TENSORS
    newest.write_bytes(newest.read_bytes()[:-8])
    assert checkpoint.load(tmp_path)[1] == {"i": 0}
    (tmp_path / "000001" / checkpoint.FACTS).write_text("{")
    with pytest.raises(RuntimeFault, match="LEE723"):
        checkpoint.load(tmp_path)


def test_a_file_is_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    files.write_tensors(path, {"w": np.ones((2, 2)).T})
    assert files.read_tensors(path)["w"].shape == (2, 2)

    def killed(descriptor):
        raise Killed

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(Killed):
        files.write_tensors(path, {"w": np.zeros(5)})
    assert files.read_tensors(path)["w"].shape == (2, 2)


# ---- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_style_follows_the_stream():
    assert type(progress("auto", io.StringIO())) is Lines
    assert type(progress("auto", Terminal())) is Bar
    assert type(progress("none")) is Silent


def train(stream, style, monkeypatch):
    monkeypatch.setattr("sys.stderr", stream)
    run = Run("fit", progress=style)
    for epoch in run.loop("epoch", 1, 3):
        for i in run.each("batches", range(4)):
            run.step(float(i))
            monkeypatch.setattr(run.session, "looked", 0.0)  # look at every step
        run.report({"loss[2]": epoch / 8, "count": epoch})
    run.report({"final[a, b]": 1.0})
    return stream.getvalue()


def test_a_line_for_each_outer_round(monkeypatch):
    assert train(io.StringIO(), "auto", monkeypatch).splitlines() == [
        "epoch 1/3  loss 1.5  loss[2] 0.125  count 1",
        "epoch 2/3  loss 1.5  loss[2] 0.25  count 2",
        "epoch 3/3  loss 1.5  loss[2] 0.375  count 3",
        "final[a, b] 1",
    ]


def test_rounds_of_one_step_do_not_flood(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    run = Run("fit")
    for i in run.loop("step", 1, 49):
        run.step(float(i))
    assert stream.getvalue() == ""


def test_a_bar_shows_labels_as_they_are(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    text = train(Terminal(), "auto", monkeypatch)
    assert "epoch 3/3" in text and "loss[2] 0.375" in text and "final[a, b] 1" in text and "━" in text


def test_how_much_is_behind_counts_the_loops_inside(monkeypatch):
    run, seen = Run("fit", progress="none"), []
    for _ in run.loop("epoch", 1, 2):
        for _ in run.each("batches", range(4)):
            seen.append(run.session.done())
    assert seen == [i / 8 for i in range(8)] and run.session.done() is None
