"""Resuming: a run that was interrupted, anywhere and any number of times, ends bit-equal to one that was not.

Run as a script, this file trains: `python test_runtime_resume.py FOLDER ROUNDS`; the tests kill such processes.
"""

import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from interrupts import heeding

from leec.runtime.draws_numpy import fold, normal, uniform
from leec.runtime.faults import RuntimeFault
from leec.runtime.files import PARTIAL, read_tensors, write_tensors
from leec.runtime.resume import Marks
from leec.runtime.run import Run

# ---- a small program as a compiler would write it: a net with a running mean, Adam, dropout, early stopping


class Net:
    def __init__(self, key, hidden=16):
        self.w = normal(fold(key, 1), (2, hidden), np.float32)
        self.v = normal(fold(key, 2), (hidden,), np.float32) * np.float32(0.3)
        self.mean = np.zeros(hidden, np.float32)

    def tensors(self):
        return {"w": self.w, "v": self.v, "mean": self.mean}

    def load_tensors(self, tensors):
        self.w, self.v, self.mean = tensors["w"], tensors["v"], tensors["mean"]

    def copy(self):
        twin = object.__new__(Net)
        twin.load_tensors({name: tensor.copy() for name, tensor in self.tensors().items()})
        return twin

    def loss(self, x, y):
        return np.mean((np.tanh(x @ self.w - self.mean) @ self.v - y) ** 2)


class Adam:
    """Its state takes form at the first step."""

    def __init__(self, lr):
        self.lr, self.t, self.moments = lr, 0, {}

    def tensors(self):
        return {"t": self.t, **self.moments}

    def load_tensors(self, tensors):
        self.t = tensors["t"]
        self.moments = {name: tensor for name, tensor in tensors.items() if name != "t"}

    def update(self, net, gradients):
        self.t += 1
        for name, g in gradients.items():
            m = self.moments[f"m.{name}"] = 0.9 * self.moments.get(f"m.{name}", 0 * g) + 0.1 * g
            s = self.moments[f"s.{name}"] = 0.999 * self.moments.get(f"s.{name}", 0 * g) + 0.001 * g * g
            rate = self.lr * math.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
            setattr(net, name, getattr(net, name) - np.float32(rate) * m / (np.sqrt(s) + np.float32(1e-8)))


def step(net, opt, x, y, key):
    """One step of mean squared error through dropout and a batch mean, which the running mean follows."""
    a = x @ net.w
    mean = a.mean(axis=0)
    net.mean = np.float32(0.9) * net.mean + np.float32(0.1) * mean
    h = np.tanh(a - mean)
    mask = (uniform(key, h.shape, np.float32) < 0.8) / np.float32(0.8)
    error = (h * mask) @ net.v - y
    d_a = np.outer(error, net.v) * mask * (1 - h * h)
    d_a = d_a - d_a.mean(axis=0)
    opt.update(net, {"w": 2 / len(x) * (x.T @ d_a), "v": 2 / len(x) * ((h * mask).T @ error)})
    return np.mean(error * error)


def fit(rounds, run, stop=lambda place: None):
    """Train, then tune the best net in a second loop until it no longer improves. `stop` is called with each place."""
    data = run.data("two_moons", n=60, test=0.25, fields={"x": ("float", ("n", 2)), "y": ("int", ("n",))})
    x_test, y_test = data.test.x, data.test.y.astype(np.float32)
    net, opt = Net(run.key("net")), Adam(1e-2)
    best, lowest = run.restore("epoch", best=net.copy(), lowest=math.inf)
    for epoch in run.loop("epoch", 1, rounds, net=net, opt=opt):
        for x, y in run.batches("epoch.batches", data.train, 20, shuffle=True):
            run.step(step(net, opt, x, y, run.key("dropout")))
            stop(("epoch", epoch))
        valid = net.loss(x_test, y_test)
        run.report(valid=valid)
        if valid < lowest:
            best, lowest = net.copy(), valid
        run.keep("epoch", best=best, lowest=lowest)
    run.report({"lowest[0]": lowest})
    tuned, slow = best.copy(), Adam(1e-4)
    before = lowest
    (before,) = run.restore("tune", before=before)
    for i in run.loop("tune", 0, None, tuned=tuned, slow=slow):
        stop(("tune", i))
        run.step(step(tuned, slow, data.train.x, data.train.y, run.key("dropout")), "tuning")
        run.report(now=tuned.loss(x_test, y_test))
        if i >= rounds // 2 or before < 0:
            break
        before = min(before, tuned.loss(x_test, y_test))
        run.keep("tune", before=before)
    run.report({"lowest[1]": before})
    return {**tuned.tensors(), "t": np.array(opt.t), **{f"slow.{k}": np.asarray(v) for k, v in slow.tensors().items()}}


def main(folder, rounds, every):
    resume = (folder / "run.json").exists()
    with Run("fit", folder=folder, resume=resume, every=every, progress="none", seed=11) as run:
        write_tensors(folder / "final.safetensors", fit(rounds, run))


# ---- processes that are killed


def script(folder, rounds, every):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, __file__, str(folder), str(rounds), str(every)]
    return subprocess.Popen(command, env=environment, preexec_fn=heeding)


def newest(folder):
    """The number of the newest checkpoint."""
    found = [int(p.name) for p in (folder / "checkpoints").glob("[0-9]*")]
    return max(found, default=0)


def kill_after(process, folder, checkpoints, delay):
    """Kill a process when it has written this many more checkpoints, and a little later."""
    target = newest(folder) + checkpoints
    while newest(folder) < target and process.poll() is None:
        time.sleep(0.0005)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    return process.wait()


def results(folder):
    return {name: (folder / name).read_bytes() for name in ("final.safetensors", "metrics.csv", "metrics.jsonl")}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_twenty_kills_leave_no_trace(tmp_path):
    """Each process writes a checkpoint at every head; kills go on until three have fallen into the writing of one.

    A run that came to its end before that is followed by another one.
    """
    rounds, chance = 1000, random.Random(5)
    assert script(tmp_path / "whole", rounds, 1e9).wait() == 0
    folders, kills, inside = [tmp_path / "killed"], 0, 0
    while kills < 20 or inside < 3:
        process = script(folders[-1], rounds, 0.0)
        ended = kill_after(process, folders[-1], chance.randrange(40), chance.random() * 0.004)
        assert ended in (0, -signal.SIGKILL)
        kills += ended != 0
        written = (folders[-1] / "checkpoints").glob(PARTIAL + "*")
        inside += any(not p.name.startswith(PARTIAL + "old") for p in written)
        folders += [tmp_path / f"killed {len(folders)}"] if ended == 0 else []
    for folder in folders:
        assert script(folder, rounds, 0.0).wait() == 0
        assert results(folder) == results(tmp_path / "whole")


@pytest.mark.skipif(os.name == "nt", reason="a signal cannot be sent to one process there")
def test_a_real_ctrl_c_saves_first(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert script(whole, 300, 1e9).wait() == 0
    process = script(parts, 300, 1e9)
    while not (parts / "metrics.csv").exists() or (parts / "metrics.csv").stat().st_size < 500:
        time.sleep(0.0005)
    process.send_signal(signal.SIGINT)
    assert process.wait() == -signal.SIGINT and newest(parts) == 1
    assert script(parts, 300, 1e9).wait() == 0
    assert results(parts) == results(whole)


# ---- Ctrl-C at chosen places, in this process


def interrupt_at(wanted):
    def stop(place):
        if place == wanted:
            raise KeyboardInterrupt

    return stop


def run_fit(folder=None, stop=lambda place: None, rounds=8, program=fit, **options):
    """The end state and the rows of a run; None for the state if it was interrupted."""
    try:
        with Run("fit", folder=folder, progress="none", seed=11, **options) as run:
            state = program(rounds, run, stop)
    except KeyboardInterrupt:
        state = None
    return state, run.history


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


@pytest.fixture
def every_head(monkeypatch):
    """Mark every head, however long that takes."""
    monkeypatch.setattr("leec.runtime.resume.PAUSE", 0.0)
    monkeypatch.setattr("leec.runtime.resume.SHARE", math.inf)


PLACES = [("epoch", 1), ("epoch", 5), ("epoch", 8), ("tune", 0), ("tune", 3), ("tune", 4)]


@pytest.mark.parametrize("pause", [0.0, 1e9])
@pytest.mark.parametrize("place", PLACES)
def test_ctrl_c_saves_and_goes_on_bit_equal(tmp_path, monkeypatch, place, pause):
    """Marked at every head, or at the first of a loop only: what was lost is done again."""
    monkeypatch.setattr("leec.runtime.resume.PAUSE", pause)
    monkeypatch.setattr("leec.runtime.resume.SHARE", math.inf)
    state, rows = run_fit(tmp_path / "whole")
    stopped, _ = run_fit(tmp_path / "parts", interrupt_at(place))
    assert stopped is None and newest(tmp_path / "parts") == 1
    again, rows_again = run_fit(tmp_path / "parts", resume=True)
    assert same(state, again) and rows == rows_again
    for name in ("metrics.csv", "metrics.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_interrupted_at_every_place_one_after_the_other(tmp_path, every_head):
    state, rows = run_fit()
    for i, place in enumerate(PLACES):
        assert run_fit(tmp_path, interrupt_at(place), resume=i > 0)[0] is None
    again, rows_again = run_fit(tmp_path, resume=True)
    assert same(state, again) and rows == rows_again


def test_a_finished_run_resumes_to_its_end(tmp_path):
    state, rows = run_fit(tmp_path)
    again, rows_again = run_fit(tmp_path, resume=True)
    assert same(state, again) and rows == rows_again


def test_more_rounds_go_on_where_it_ended(tmp_path):
    def one_loop(rounds, run, stop):
        net, opt, data = Net(run.key("net")), Adam(1e-2), run.data("two_moons", n=60).train
        for epoch in run.loop("epoch", 1, rounds, net=net, opt=opt):
            stop(epoch)
            step(net, opt, data.x, data.y, run.key("dropout"))
        return net.tensors()

    seen = []
    state, _ = run_fit(rounds=12, program=one_loop)
    run_fit(tmp_path, rounds=8, program=one_loop)
    again, _ = run_fit(tmp_path, seen.append, rounds=12, program=one_loop, resume=True)
    assert same(state, again) and seen == [9, 10, 11, 12]


def test_time_between_checkpoints_can_be_chosen(tmp_path):
    written = {}

    def stop(place):
        written[place] = newest(tmp_path / "often"), newest(tmp_path / "rarely")

    run_fit(tmp_path / "often", stop, every=0.0)
    assert [written["epoch", i][0] for i in range(1, 9)] == list(range(1, 9))
    run_fit(tmp_path / "rarely", stop)
    assert all(rarely == 0 for _, rarely in written.values())  # none in the first 20 seconds
    assert newest(tmp_path / "rarely") == 1  # but at the end


def test_rounds_between_checkpoints_can_be_chosen(tmp_path):
    seen = {}

    def stop(place):
        seen[place] = newest(tmp_path)

    with Run("fit", folder=tmp_path, progress="none", rounds=3) as run:
        fit(8, run, stop)
    assert [seen["epoch", i] for i in range(1, 9)] == [0, 0, 0, 1, 1, 1, 2, 2]


# ---- loops within loops


def nested(rounds, run, stop):
    """A net for each task: two loops inside each round of the outer one, what they find is carried from task to task."""
    found, total = [], np.float64(0)
    found, total = run.restore("task", found=found, total=total)
    for task in run.each("task", ["a", "b", "c"]):
        net, opt = Net(run.key("net")), Adam(1e-2)
        data = run.data("two_moons", n=40, seed=ord(task)).train
        for epoch in run.loop("epoch", 1, rounds, net=net, opt=opt):
            stop((task, "epoch", epoch))
            run.step(step(net, opt, data.x, data.y, run.key("dropout")))
            if epoch % 2:
                run.report(loss=net.loss(data.x, data.y))
        gentle = Adam(1e-4)
        (low,) = run.restore("more", low=math.inf)
        for i in run.loop("more", 1, rounds, net=net, gentle=gentle):
            stop((task, "more", i))
            run.step(step(net, gentle, data.x, data.y, run.key("dropout")))
            low = min(low, float(net.loss(data.x, data.y)))
            if i == rounds - 1 and task == "b":
                break
            run.keep("more", low=low)
        found, total = [*found, net.w], total + low
        run.report({f"low[{task}]": low})
        run.keep("task", found=found, total=total)
    return {"total": np.asarray(total), "found": np.stack(found), "last": net.v}


@pytest.mark.parametrize("task", "abc")
@pytest.mark.parametrize("place", [("epoch", 1), ("epoch", 3), ("more", 1), ("more", 3)])
def test_loops_within_loops_go_on_where_they_were(tmp_path, every_head, task, place):
    state, rows = run_fit(program=nested, rounds=4)
    run_fit(tmp_path, interrupt_at((task, *place)), program=nested, rounds=4)
    seen = []
    again, rows_again = run_fit(tmp_path, seen.append, program=nested, rounds=4, resume=True)
    assert same(state, again) and rows == rows_again
    assert seen[0] in ((task, *place), (task, "epoch", 5)), "what was done already is not done again"


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("program", [nested, fit])
def test_marks_at_any_heads_lead_to_the_same_end(tmp_path, monkeypatch, program, seed):
    """Marks are taken when time allows; here by chance, with interruptions by chance until the run is through."""
    chance = random.Random(seed)
    monkeypatch.setattr(Marks, "wants", lambda marks: chance.random() < 0.3)
    state, rows = run_fit(program=program, rounds=5)
    again, interruptions = None, 0
    while again is None:
        left = chance.randrange(40)

        def stop(place):
            nonlocal left
            left -= 1
            if not left:
                raise KeyboardInterrupt

        again, rows_again = run_fit(tmp_path, stop, program=program, rounds=5, resume=interruptions > 0)
        interruptions += again is None
    assert same(state, again) and rows == rows_again


def test_a_loop_that_comes_by_in_another_round_is_not_mistaken(tmp_path, every_head):
    """Only a program that does not repeat itself can do this; it is told so, and not resumed wrongly."""
    rounds_with_an_inner_loop = {2}

    def program(rounds, run, stop):
        net = Net(run.key("net"))
        for i in run.loop("outer", 1, 3, net=net):
            if i in rounds_with_an_inner_loop:
                for j in run.loop("inner", 1, 3, net=net):
                    stop((i, j))

    run_fit(tmp_path, interrupt_at((2, 2)), program=program)
    rounds_with_an_inner_loop = {3}
    with pytest.raises(RuntimeFault, match="LEE724"):
        run_fit(tmp_path, program=program, resume=True)


def test_a_loop_that_lists_nothing_is_done_again(tmp_path, every_head):
    seen = []

    def program(rounds, run, stop):
        net, opt, data = Net(run.key("net")), Adam(1e-2), run.data("two_moons", n=40).train
        for i in run.loop("silent", 1, rounds):
            seen.append(("silent", i))
            step(net, opt, data.x, data.y, run.key("dropout"))
        for i in run.loop("listed", 1, rounds, net=net, opt=opt):
            seen.append(("listed", i))
            stop(i)
            step(net, opt, data.x, data.y, run.key("dropout"))
        return net.tensors()

    state, _ = run_fit(program=program, rounds=3)
    run_fit(tmp_path, interrupt_at(3), program=program, rounds=3)
    seen.clear()
    again, _ = run_fit(tmp_path, program=program, rounds=3, resume=True)
    assert same(state, again)
    assert seen == [("silent", 1), ("silent", 2), ("silent", 3), ("listed", 3)]


def test_a_called_procedure_is_done_again_from_its_start(tmp_path, every_head):

    def program(rounds, run, stop):
        state = {}
        (state,) = run.restore("part", state=state)
        for i in run.loop("part", 1, 3):
            state = {**state, f"n{i}": fit(rounds, run.call("fit"), lambda place, i=i: stop((i, place)))["w"]}
            run.keep("part", state=state)
        return state

    state, rows = run_fit(program=program, rounds=3)
    run_fit(tmp_path, interrupt_at((2, ("tune", 1))), program=program, rounds=3)
    again, rows_again = run_fit(tmp_path, program=program, rounds=3, resume=True)
    assert same(state, again) and rows == rows_again


# ---- the other back end


def torch_program(rounds, run, stop):
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Linear):
        def tensors(self):
            return dict(self.state_dict())

        def load_tensors(self, tensors):
            self.load_state_dict(tensors)

    data = run.data("two_moons", n=60).train
    net = Model(2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.3, -0.2]]))
        net.bias.zero_()
    (total,) = run.restore("epoch", total=torch.zeros((), dtype=torch.float64))
    for epoch in run.loop("epoch", 1, rounds, net=net):
        stop(epoch)
        for x, y in run.batches("batches", data, 16, shuffle=True):
            loss = torch.mean((net(x)[:, 0] - y) ** 2)
            for p, g in zip(net.parameters(), torch.autograd.grad(loss, list(net.parameters())), strict=True):
                p.data -= 0.1 * g
            run.step(loss)
            total = total + loss.detach()
        run.report(total=total)
        run.keep("epoch", total=total)
    return {name: tensor.numpy() for name, tensor in net.tensors().items()} | {"total": total.numpy()}


def test_torch_goes_on_bit_equal(tmp_path, every_head):
    pytest.importorskip("torch")
    state, rows = run_fit(program=torch_program, backend="torch", rounds=5)
    run_fit(tmp_path, interrupt_at(4), program=torch_program, backend="torch", rounds=5)
    again, rows_again = run_fit(tmp_path, program=torch_program, backend="torch", rounds=5, resume=True)
    assert same(state, again) and rows == rows_again


# ---- what does not fit


def test_a_folder_holds_one_run(tmp_path):
    run_fit(tmp_path / "a")
    with pytest.raises(RuntimeFault, match=r"LEE721"):
        run_fit(tmp_path / "a")
    with pytest.raises(RuntimeFault, match=r"LEE720") as absent:
        run_fit(tmp_path / "b", resume=True)
    assert absent.value.status == 4


@pytest.mark.parametrize("what, value", [("spec", "other"), ("dtype", "f64"), ("seed", 12)])
def test_another_program_is_not_resumed(tmp_path, what, value):
    first = {"spec": "one", "dtype": "f32", "seed": 11}
    with Run("fit", folder=tmp_path, progress="none", **first):
        pass
    with pytest.raises(RuntimeFault, match=f"LEE722.*another {what}: {first[what]}, and now {value}"):
        Run("fit", folder=tmp_path, resume=True, **(first | {what: value}))
    with Run("fit", folder=tmp_path, resume=True, progress="none", **(first | {"seed": None})) as run:
        assert run.session.seed == 11


def test_a_run_that_never_comes_back_to_its_loop(tmp_path):
    run_fit(tmp_path, interrupt_at(("epoch", 2)))
    with pytest.raises(RuntimeFault, match=r"LEE724.*`fit/epoch`"):
        run_fit(tmp_path, resume=True, program=lambda rounds, run, stop: {})


@pytest.mark.parametrize("every", [1, 50])
def test_a_nan_keeps_the_state_before_it(tmp_path, every_head, every):
    def program(rounds, run, stop):
        run.session.watch.every = every
        net = Net(run.key("net"))
        for i in run.loop("epoch", 1, rounds, net=net):
            stop(i)
            net.w = net.w * np.float32(math.nan if i == 5 else 1.5)
            run.step(net.w.sum())

    with pytest.raises(RuntimeFault, match=r"LEE703.*at step 5"):
        run_fit(tmp_path, program=program)
    [stored] = (tmp_path / "checkpoints").glob("*/state.safetensors")
    assert all(np.isfinite(t).all() for t in read_tensors(stored).values())
    seen = []
    with pytest.raises(RuntimeFault, match=r"LEE703.*at step 5"):
        run_fit(tmp_path, seen.append, program=program, resume=True)
    assert seen == [5]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
