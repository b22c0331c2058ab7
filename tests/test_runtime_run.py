"""Run: keys by site, loops, reports, losses, and what a procedure that is called sees."""

import math
import subprocess
import sys

import numpy as np
import pytest

from leec.runtime import philox
from leec.runtime.draws_numpy import fold
from leec.runtime.faults import RuntimeFault
from leec.runtime.run import Run


def quiet(procedure="fit", **options):
    return Run(procedure, progress="none", **options)


# ---- keys


def test_keys_depend_on_seed_site_and_rounds_alone():
    def draw(seed, extra):
        run = quiet(seed=seed)
        keys = [run.key("net")]
        if extra:
            run.key("something else")
        for epoch in run.loop("epoch", 1, 3):
            if extra:
                run.key("more")
            keys.append(run.key("noise"))
            for _ in run.each("part", "ab"):
                keys.append(run.key("noise"))
            if epoch == 2:
                break
        return [*keys, run.key("last")]

    plain = draw(0, False)
    assert plain == draw(0, True) and len(set(plain)) == len(plain) == 8
    assert not set(plain) & set(draw(1, False))


def test_a_key_is_what_is_promised():
    run = quiet(seed=5)
    assert run.key("net") == philox.site_key(5, "fit/net")
    for _ in run.loop("epoch", 7, 7):
        round_ = philox.round_key(philox.seed_key(5), "fit/epoch", 7)
        assert run.key("net") == fold(round_, philox.site_word("fit/net"))
        assert run.call("inner").key("net") == fold(round_, philox.site_word("fit/inner/net"))


def test_shuffles_differ_from_round_to_round_and_repeat_in_another_run():
    def orders():
        run = quiet(seed=3)
        part = run.accept("data", {"x": np.arange(40)}).train
        return [[b.tolist() for b in run.batches("b", part, 16, shuffle=True)] for _ in run.loop("epoch", 1, 3)]

    first = orders()
    assert first == orders() and first[0] != first[1] != first[2]
    assert all(sorted(v for batch in order for v in batch) == list(range(40)) for order in first)


def test_the_same_on_both_back_ends():
    pytest.importorskip("torch")
    seen = []
    for backend in ("numpy", "torch"):
        run = quiet(backend=backend, dtype="f64")
        source = run.data("sine", n=30, test=0.2)
        pair = zip(run.stream("a", source.train, 5, shuffle=True), run.stream("b", source.train, 5, True), strict=True)
        values = [np.concatenate([np.asarray(x[:, 0]), np.asarray(y)]) for (x, _), (_, y) in run.each("pairs", pair)]
        values.append(np.asarray(run.sample("s", source.train, 4)[1]))
        first, second = run.split("v", source.train, 0.25)
        values += [
            np.asarray(first.y),
            np.asarray(second.y),
            *[np.asarray(v.y) for _, v in run.folds("f", first, 3, True)],
        ]
        seen.append(np.concatenate(values))
    assert np.array_equal(*seen)


# ---- loops and reports


def test_loops_count_as_the_language_does():
    run = quiet()
    assert list(run.loop("a", 1, 3)) == [1, 2, 3]
    assert list(run.loop("b", 1, 0)) == []
    assert list(run.each("c", [10, 20])) == [10, 20]
    endless = []
    for i in run.loop("d", 0, None):
        endless.append(i)
        if i == 4:
            break
    assert endless == [0, 1, 2, 3, 4] and run.session.frames == []


def test_what_a_loop_changes_may_have_any_name():
    run, net = quiet(), {}
    assert run.restore("a", self=1, site=2, values=3) == (1, 2, 3)
    for _ in run.loop("a", 1, 2, self=net, site=net, first=net, last=net, objects=net):
        run.keep("a", self=1, site=2, values=3)
    assert list(run.each("b", "xy", self=net, site=net, items=net)) == ["x", "y"]


def test_batches_know_how_many_they_are():
    run = quiet()
    part = run.accept("data", {"x": np.arange(10)}).train
    assert [len(run.stream("s", part, size, False, drop)) for size in (3, 5, 20) for drop in (False, True)] == [
        4,
        3,
        2,
        2,
        1,
        0,
    ]
    done = []
    for _ in run.each("b", run.stream("b", part, 3, shuffle=True)):
        done.append(run.session.done())
    assert done == [0, 0.25, 0.5, 0.75]


def test_rows_have_the_counters_of_their_loops():
    run = quiet()
    for task in run.each("task", ["a", "b"]):
        for epoch in run.loop("epoch", 1, 2):
            run.report(loss=float(epoch))
            if epoch == 2:
                run.report({f"seen[{task}]": True})
                break
        run.report(kept=3)
        run.report(spread=np.float32(0.5))
    run.report(final=np.array(2))
    assert run.history == [
        {"task": 0, "epoch": 1, "loss": 1.0},
        {"task": 0, "epoch": 2, "loss": 2.0, "seen[a]": True},
        {"task": 0, "kept": 3, "spread": 0.5},
        {"task": 1, "epoch": 1, "loss": 1.0},
        {"task": 1, "epoch": 2, "loss": 2.0, "seen[b]": True},
        {"task": 1, "kept": 3, "spread": 0.5},
        {"final": 2},
    ]


def test_twice_under_one_label_asks_for_a_key():
    run = quiet()
    for i in run.loop("epoch", 1, 2):
        run.report(accuracy=1.0)  # once a round is fine
        for _ in run.each("inner", range(2)):
            run.report(accuracy=2.0)
        if i == 2:
            with pytest.raises(
                RuntimeFault, match=r"`accuracy` is reported twice in one round of.*`epoch`.*accuracy\[1\]"
            ):
                run.report(accuracy=3.0)
    run.report(accuracy=1.0)
    with pytest.raises(RuntimeFault, match=r"LEE710 .*outside of a loop"):
        run.report(accuracy=1.0)


def test_a_report_is_one_number():
    with pytest.raises(RuntimeFault, match=r"`report error` needs a single number, it is \[2, 3\]"):
        quiet().report(error=np.zeros((2, 3)))


def test_mean_losses_join_the_next_row():
    run = quiet()
    for epoch in run.loop("epoch", 1, 2):
        for i in run.each("batch", range(4)):
            run.step(np.float32(epoch * i))
            run.step(10.0, "critic")
        run.report(accuracy=0.5)
    assert run.history == [
        {"epoch": 1, "loss": 1.5, "critic": 10.0, "accuracy": 0.5},
        {"epoch": 2, "loss": 3.0, "critic": 10.0, "accuracy": 0.5},
    ]


def test_rounds_without_a_report_get_a_row_every_fifty_steps():
    run = quiet()
    for i in run.loop("step", 1, 120):
        run.step(float(i))
    assert run.history == [{"step": 50, "loss": 25.5}, {"step": 100, "loss": 75.5}]


def test_a_reported_loss_is_not_replaced():
    run = quiet()
    for _ in run.loop("epoch", 1, 1):
        run.step(1.0)
        run.report(loss=7.0)
    assert run.history == [{"epoch": 1, "loss": 7.0}]


def test_a_called_procedure_has_sites_and_labels_of_its_own():
    def best_of(epochs, *, run):
        for _ in run.loop("epoch", 1, epochs):
            run.step(1.0)
            run.report(valid=2.0)
        run.report(total=3.0)
        return run.key("net")

    run = quiet("choose")
    keys = [best_of(1, run=run.call("best_of")) for _ in run.each("part", range(2))]
    assert run.history == [
        {"part": i, **row}
        for i in range(2)
        for row in ({"best_of.epoch": 1, "best_of.loss": 1.0, "best_of.valid": 2.0}, {"best_of.total": 3.0})
    ]
    assert keys[0] != keys[1]


# ---- NaN


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_nan_stops_at_its_step(backend):
    if backend == "torch":
        pytest.importorskip("torch")
    run = quiet(backend=backend)
    with pytest.raises(RuntimeFault, match="LEE703 not-a-number: `loss` became NaN at step 7"):
        for i in run.loop("step", 1, 100):
            run.step(run.session.place.asarray(math.nan if i == 7 else 1.0, "float"))


def test_nan_on_a_device_is_seen_within_fifty_steps():
    run = quiet()
    run.session.watch.every = 50  # as on a device, where looking means waiting
    with pytest.raises(RuntimeFault, match="between steps 51 and 100") as stop:
        for i in run.loop("step", 1, 1000):
            run.step(math.nan if i == 60 else 1.0)
    assert (stop.value.data["first"], stop.value.data["last"]) == (51, 100)


def test_nan_before_a_break_is_seen():
    with pytest.raises(RuntimeFault, match="LEE703"), quiet() as run:
        run.session.watch.every = 50
        for _ in run.loop("epoch", 1, 9):
            run.step(math.nan)
            run.report(seen=1)
            break


def test_nan_in_the_last_steps_is_seen_at_the_end():
    with pytest.raises(RuntimeFault, match="LEE703"), quiet() as run:
        run.session.watch.every = 50
        run.step(math.nan)


# ---- data from a caller


def test_data_that_is_passed_in():
    fields = {"x": ("float", ("n", 2)), "y": ("int", ("n",))}
    run = quiet()
    x, y = np.ones((3, 2)), np.arange(3)
    for given in ({"x": x, "y": y}, {"train": {"y": y, "x": x}}, run.accept("data", {"x": x, "y": y})):
        source = run.accept("data", given, fields)
        assert list(source.train.fields) == ["x", "y"] and source.train.x.dtype == np.float32
    parts = run.accept("data", {"train": {"x": x, "y": y}, "test": {"x": x[:1], "y": y[:1]}}, fields)
    assert len(parts.test) == 1 and len(run.accept("part", parts.test).train) == 1
    with pytest.raises(RuntimeFault, match=r"field `y` of `data.train` is declared int\[n\], but the data has \[3\]"):
        run.accept("data", {"x": x, "y": y / 2}, fields)
    with pytest.raises(RuntimeFault, match="a value of type float is none"):
        run.accept("data", 3.0)


def test_tensors_that_are_passed_in():
    torch = pytest.importorskip("torch")
    for backend in ("numpy", "torch"):
        run = quiet(backend=backend)
        source = run.accept("data", {"x": torch.ones(3, 2, requires_grad=True)})
        assert np.array_equal(np.asarray(source.x), np.ones((3, 2)))


def test_absent_widths_and_devices():
    with pytest.raises(RuntimeFault, match="the NumPy back end does not compute in `bf16`"):
        quiet(dtype="bf16")
    pytest.importorskip("torch")
    with pytest.raises(RuntimeFault, match=r"no device `cuda:9` here.*there is cpu") as absent:
        quiet(backend="torch", device="cuda:9")
    assert absent.value.status == 4


def test_a_numpy_run_imports_nothing_heavy(tmp_path):
    program = f"""
import sys
from leec.runtime.run import Run
with Run("fit", folder={str(tmp_path / "run")!r}, progress="plain") as run:
    data = run.data("sine", test=0.2)
    for epoch in run.loop("epoch", 1, 2):
        for x, y in run.batches("b", data.train, 50, shuffle=True):
            run.step(y.sum())
        run.report(size=len(data.train))
print([m for m in ("torch", "sklearn", "rich", "scipy", "lark", "leec.syntax") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n" and done.stderr.count("epoch ") == 2


# ---- a number of steps


def counted(run, rounds=4):
    """A program of three steps a round, that keeps what it counts in an object."""

    class Count:
        def __init__(self):
            self.n = np.zeros(())

        def tensors(self):
            return {"n": self.n}

        def load_tensors(self, tensors):
            self.n = tensors["n"]

    net = Count()
    for _ in run.loop("epoch", 1, rounds, net=net):
        for _ in range(3):
            net.n = net.n + 1
            run.step(net.n)
        run.report(n=net.n)
    return net


@pytest.mark.parametrize("steps", [1, 3, 7, 12])
def test_a_run_is_cut_after_its_steps(steps):
    with quiet(max_steps=steps) as run:
        counted(run)
    assert run.session.cut["net"].n == steps == run.session.watch.steps
    assert [row["n"] for row in run.history] == [3 * i for i in range(1, 4) if 3 * i < steps]


def test_fewer_steps_than_allowed_end_as_ever():
    with quiet(max_steps=13) as run:
        net = counted(run)
    assert net.n == 12 and run.session.cut is None


def test_a_cut_run_goes_on_and_counts_the_steps_before(tmp_path):
    for steps, resume in ((4, False), (8, True), (None, True)):
        with quiet(folder=tmp_path, max_steps=steps, resume=resume) as run:
            net = counted(run)
        assert steps is None or run.session.cut["net"].n == steps
    assert net.n == 12 and [row["n"] for row in run.history] == [3, 6, 9, 12]


def test_other_errors_are_not_swallowed():
    with pytest.raises(ValueError, match="no"), quiet(max_steps=1):
        raise ValueError("no")
