"""Data: what each source gives, how it is divided, batched and checked, and what is said when it does not fit."""

import copy
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leec.runtime import backend, data, sources
from leec.runtime.faults import RuntimeFault

KEY = (3, 4)


def rows_of(*splits):
    """The rows of splits as a multiset, to see that none is lost or doubled."""
    return Counter(str([v.tolist() for v in row]) for part in splits for row in zip(*part.fields.values(), strict=True))


def fault(code):
    return pytest.raises(RuntimeFault, match=code)


# ---- sources

BUNDLED = {  # rows, features, shape of one y, dtype of y
    "digits": (1797, 64, (), np.int64),
    "iris": (150, 4, (), np.int64),
    "wine": (178, 13, (), np.int64),
    "breast_cancer": (569, 30, (), np.int64),
    "diabetes": (442, 10, (), np.float64),
    "linnerud": (20, 3, (3,), np.float64),
}


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sources(name):
    datasets = pytest.importorskip("sklearn.datasets")
    n, features, target, dtype = BUNDLED[name]
    source, whole = sources.load(name), sources.load(name, test=0)
    bunch = getattr(datasets, f"load_{name}")()
    assert whole.x.shape == (n, features) and whole.y.shape == (n, *target) and whole.y.dtype == dtype
    assert np.array_equal(whole.x * (16 if name == "digits" else 1), bunch.data)
    assert np.array_equal(whole.y, bunch.target)
    assert len(source.test) == round(0.2 * n) and len(source.train) + len(source.test) == n
    assert rows_of(source.train, source.test) == rows_of(whole.train)
    if dtype is np.int64:
        assert source.classes == len(np.unique(whole.y)) == len(source.labels)


def test_division_follows_the_seed_alone():
    a, b, c = (sources.load("iris", seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(a.train.x, b.train.x) and not np.array_equal(a.train.x, c.train.x)
    three = sources.load("iris", test=0.2, valid=0.1)
    assert [len(p) for p in (three.train, three.valid, three.test)] == [105, 15, 30]
    assert np.array_equal(three.test.x, a.test.x)  # a validation part is taken from what was trained with


def test_standardize_uses_the_training_rows_alone():
    plain, scaled = sources.load("wine"), sources.load("wine", standardize=True)
    mean, deviation = plain.train.x.mean(axis=0), plain.train.x.std(axis=0)
    assert np.allclose(scaled.train.x.mean(axis=0), 0) and np.allclose(scaled.train.x.std(axis=0), 1)
    assert np.allclose(scaled.test.x, (plain.test.x - mean) / deviation)
    assert np.allclose(scaled.x_mean, mean) and np.allclose(scaled.x_std, deviation)


def test_a_constant_column_stays_finite():
    source = sources.load("arrays", x=np.array([[1.0, 5.0], [3.0, 5.0]]), standardize=True)
    assert source.x.tolist() == [[-1, 0], [1, 0]]


def test_standardize_target():
    source = sources.load("diabetes", standardize_target=True)
    assert abs(source.train.y.mean()) < 1e-12 and abs(source.train.y.std() - 1) < 1e-12
    assert source.y_mean > 100
    with fault("LEE702"):
        sources.load("iris", standardize_target=True)


def test_shape_is_that_of_one_example():
    source = sources.load("digits", shape=(1, 8, 8), test=0.2)
    assert source.train.x.shape == (1438, 1, 8, 8) and source.test.x.shape == (359, 1, 8, 8)
    assert source.train.x.max() == 1.0
    with pytest.raises(RuntimeFault, match=r"`shape = \(3, 3\)` does not fit an example of 64 numbers"):
        sources.load("digits", shape=(3, 3))


def test_domains_have_the_same_digits_under_other_looks() -> None:
    plain = sources.load("digits").train
    seen = {name: sources.load("digits", domain=name).train for name in sources.DOMAINS}
    assert all(np.array_equal(part.y, plain.y) for part in seen.values())
    assert np.array_equal(seen["inverted"].x, 1 - plain.x)
    image, turned = plain.x[0].reshape(8, 8), seen["rotated"].x[0].reshape(8, 8)
    assert all(turned[7 - j, i] == image[i, j] for i in range(8) for j in range(8))
    noise = (seen["noisy"].x - 0.4 - 0.6 * plain.x) / 0.1
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    with pytest.raises(RuntimeFault, match="no domain `invertd`"):
        sources.load("digits", domain="invertd")


def test_generators_follow_their_seed_and_formula():
    moons = sources.load("two_moons", n=101, noise=0.0, labelled=6)
    upper, lower = moons.x[moons.y == 0], moons.x[moons.y == 1]
    assert np.allclose((upper**2).sum(axis=1), 1) and np.all(upper[:, 1] >= 0)
    assert np.allclose(((np.array([1, 0.5]) - lower) ** 2).sum(axis=1), 1) and np.all(lower[:, 1] <= 0.5)
    assert abs(len(upper) - len(lower)) == 1
    assert len(set(moons.marked)) == 6 and moons.y[moons.marked].sum() == 3
    sine = sources.load("sine", n=50, noise=0.0, periods=2.0)
    assert np.allclose(sine.y, np.sin(2 * np.pi * sine.x[:, 0]))
    blobs = sources.load("blobs", n=99, spread=1e-3)
    assert all(blobs.x[blobs.y == k].std(axis=0).max() < 5e-3 for k in range(3))
    assert sources.load("two_moons", n=10).marked.shape == (0,)
    roll = sources.load("swiss_roll", n=80)
    assert np.allclose(np.hypot(roll.x[:, 0], roll.x[:, 2]), roll.y) and np.allclose(
        np.arctan2(*roll.x[:, [2, 0]].T), np.angle(np.exp(1j * roll.y))
    )
    assert (
        1.5 * np.pi <= roll.y.min() < roll.y.max() <= 4.5 * np.pi and 0 <= roll.x[:, 1].min() < roll.x[:, 1].max() <= 21
    )
    for name in ("two_moons", "swiss_roll", "sine", "blobs"):
        one, two, other = (sources.load(name, seed=seed).x for seed in (0, 0, 1))
        assert np.array_equal(one, two) and not np.array_equal(one, other)


def test_unknown_names_get_the_nearest():
    with pytest.raises(RuntimeFault, match="did you mean `digits`"):
        sources.load("digit")
    with pytest.raises(RuntimeFault, match="did you mean `standardize`"):
        sources.load("iris", standardise=True)
    for option in ({"test": 1.0}, {"test": -0.1}, {"test": 0.6, "valid": 0.6}, {"test": 0.001}):
        with fault("LEE702"):
            sources.load("iris", **option)


def test_a_part_that_was_not_asked_for():
    with pytest.raises(RuntimeFault, match=r"`iris` has no `test` \(help: ask for one: `iris\(test = 0.2\)`"):
        _ = sources.load("iris", test=0).test
    with pytest.raises(RuntimeFault, match="`x` is ambiguous"):
        _ = sources.load("iris").x
    with pytest.raises(RuntimeFault, match=r"no field `z`.*`x`, `y`"):
        _ = sources.load("iris").train.z


def test_what_belongs_to_no_part_is_held_against_its_declaration():
    declared = {"x": ("float", ("n", 2)), "y": ("int", ("n",)), "marked": ("int", (6,))}
    source = data.check_fields(sources.load("two_moons", n=40, test=0.5, labelled=6), declared)
    assert list(source.train.fields) == ["x", "y"] and source.marked.max() < 20
    with pytest.raises(RuntimeFault, match=r"LEE705.*`marked`"):
        data.check_fields(sources.load("two_moons", n=40, labelled=5), declared)


# ---- files


def test_csv_with_words_as_classes(tmp_path):
    path = tmp_path / "flowers.csv"
    path.write_text("\ufeffwidth, kind ,height\n1,rose,2.5\n3,lily,4e1\n\n5,rose,-6\n", encoding="utf-8")
    source = sources.load("csv", str(path), target="kind")
    assert source.x.tolist() == [[1, 2.5], [3, 40], [5, -6]]
    assert source.y.tolist() == [1, 0, 1] and source.labels == ("lily", "rose") and source.classes == 2
    assert sources.load("csv", str(path), columns=("height",)).x.tolist() == [[2.5], [40], [-6]]


def test_csv_targets_by_what_they_hold(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b;c\n1;0;0.5\n2;1;1.5\n")
    whole = sources.load("csv", str(path), target="b", delimiter=";")
    float_ = sources.load("csv", str(path), target="c", delimiter=";")
    several = sources.load("csv", str(path), target=("c", "b"), delimiter=";")
    assert whole.y.dtype == np.int64 and whole.y.tolist() == [0, 1]
    assert float_.y.tolist() == [0.5, 1.5] and float_.x.tolist() == [[1, 0], [2, 1]]
    assert several.y.tolist() == [[0.5, 0], [1.5, 1]] and several.x.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b\n1,2\n3,\n", "t.csv:3: a cell is empty \\(column `b`\\)"),
        ("a,b\n1,2\n3,four\n", "t.csv:3: `four` is not a number"),
        ("a,b\n1,nan\n", "t.csv:2: `nan` is not a number"),
        ("a,b\n1,2,3\n", "t.csv:2: has 3 cells, the first line 2"),
        ("a,a\n1,2\n", "two columns have the same name"),
        ("a,b\n", "at least one row"),
        ('a,b\n"1,2\n', "cannot be read as UTF-8 CSV"),
    ],
)
def test_csv_says_which_line(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(RuntimeFault, match=message):
        sources.load("csv", str(path))


def test_csv_names_the_column_that_is_not_there(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("price,size\n1,2\n")
    with pytest.raises(RuntimeFault, match=r"no column `prize` .*did you mean `price`"):
        sources.load("csv", str(path), target="prize")
    with pytest.raises(RuntimeFault, match="LEE709") as absent:
        sources.load("csv", str(tmp_path / "none.csv"))
    assert absent.value.status == 4


def test_npz_whole_and_divided(tmp_path):
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    np.savez(tmp_path / "whole.npz", x=x, y=y)
    np.savez(tmp_path / "parts.npz", x_train=x[:4], y_train=y[:4], x_test=x[4:], y_test=y[4:])
    np.savez(tmp_path / "mixed.npz", x_train=x, y=y)
    whole = sources.load("npz", str(tmp_path / "whole.npz"), test=0.5)
    assert rows_of(whole.train, whole.test) == rows_of(data.Split({"x": x, "y": y}))
    parts = sources.load("npz", str(tmp_path / "parts.npz"), standardize=True)
    assert parts.test.y.tolist() == [4, 5] and np.allclose(parts.train.x.mean(axis=0), 0)
    with fault("LEE708"):
        sources.load("npz", str(tmp_path / "mixed.npz"))
    with fault("LEE702"):
        sources.load("npz", str(tmp_path / "parts.npz"), test=0.2)


def test_npz_never_unpickles(tmp_path):
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    with pytest.raises(RuntimeFault, match="LEE708"):
        sources.load("npz", str(tmp_path / "objects.npz"))


def test_arrays_keep_the_order_of_their_fields():
    source = sources.load("arrays", tokens=[[1, 2], [3, 4]], part=[0, 1], lengths=[2, 1])
    assert list(source.train.fields) == ["tokens", "part", "lengths"]
    with pytest.raises(RuntimeFault, match=r"equally many rows, they have \{'x': 2, 'y': 3\}"):
        sources.load("arrays", x=[1, 2], y=[1, 2, 3])
    with pytest.raises(RuntimeFault, match="cannot be called `sample`"):
        sources.load("arrays", sample=[1])


# ---- batches, samples, folds


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 40), st.integers(1, 45), st.booleans(), st.booleans())
def test_batches_give_every_row_once(n, size, shuffle, drop_last):
    x = np.arange(n)
    part = data.Split({"x": x, "y": -x})
    got = list(data.batches(part, size, shuffle, drop_last, KEY))
    assert [len(a) for a, _ in got] == [size] * (n // size) + ([n % size] if n % size and not drop_last else [])
    flat = [int(v) for a, _ in got for v in a]
    assert len(set(flat)) == len(flat) and all(np.array_equal(a, -b) for a, b in got)
    if not shuffle:
        assert flat == list(range(len(flat)))
    elif not drop_last:
        assert sorted(flat) == list(range(n))


def test_one_field_comes_as_the_array_itself():
    part = data.Split({"x": np.arange(5)})
    assert [b.tolist() for b in data.batches(part, 2)] == [[0, 1], [2, 3], [4]]
    assert part.sample(3, KEY).shape == (3,)
    assert [a.tolist() for a in data.batches((np.arange(3),), 2)] == [[0, 1], [2]]


def test_batches_of_a_tuple_need_equal_lengths():
    with fault("LEE707"):
        data.batches((np.zeros(3), np.zeros(4)), 2)
    with fault("LEE702"):
        data.batches((np.zeros(3),), 0)


def test_shuffles_are_those_of_the_key_on_both_back_ends():
    torch = pytest.importorskip("torch")
    part = data.Split({"x": np.arange(20.0), "y": np.arange(20)})
    there = part.map(lambda field, array: torch.tensor(array))
    for (x, y), (u, v) in zip(data.batches(part, 6, True, key=KEY), data.batches(there, 6, True, key=KEY), strict=True):
        assert np.array_equal(x, u.numpy()) and np.array_equal(y, v.numpy())
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(part.sample(7, KEY), there.sample(7, KEY), strict=True))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.data())
def test_samples_are_different_rows(n, draw):
    count = draw.draw(st.integers(0, n))
    chosen = data.distinct(KEY, n, count)
    assert len(set(chosen.tolist())) == count and np.all((chosen >= 0) & (chosen < n)) and chosen.dtype == np.int64


def test_samples_reach_every_row_equally():
    seen = np.zeros(40)
    for i in range(3000):
        seen[data.distinct((i, 1), 40, 4)] += 1
    assert np.all(np.abs(seen / 300 - 1) < 0.3)  # five standard errors are 0.28
    with fault("LEE707"):
        data.Split({"x": np.zeros(3)}).sample(4, KEY)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(2, 30), st.booleans())
def test_folds_use_every_row_once_for_validation(n, k, shuffle):
    part = data.Split({"x": np.arange(n), "y": np.arange(n) % 3})
    if k > n:
        with fault("LEE702"):
            data.folds(part, k)
        return
    pairs = data.folds(part, k, shuffle, KEY)
    assert rows_of(*(valid for _, valid in pairs)) == rows_of(part)
    assert all(rows_of(*pair) == rows_of(part) for pair in pairs)
    assert max(len(v) for _, v in pairs) - min(len(v) for _, v in pairs) <= 1


def test_folds_in_order_are_those_of_scikit_learn():
    selection = pytest.importorskip("sklearn.model_selection")
    part = data.Split({"x": np.arange(11)})
    for (train, valid), (a, b) in zip(data.folds(part, 3), selection.KFold(3).split(np.arange(11)), strict=True):
        assert np.array_equal(train.x, a) and np.array_equal(valid.x, b)


def test_split():
    part = data.Split({"x": np.arange(10)})
    first, second = data.split(part, 0.3, KEY)
    assert (len(first), len(second)) == (7, 3) and rows_of(first, second) == rows_of(part)
    with fault("LEE702"):
        data.split(part, 0.01, KEY)


# ---- declared types

DIGITS = {"x": ("float", ("n", 64)), "y": ("int", ("n",))}


def test_fields_as_declared():
    source = data.check_fields(sources.load("digits"), DIGITS)
    assert list(source.train.fields) == ["x", "y"] and len(source.test) == 359
    turned = data.check_fields(sources.load("digits"), dict(reversed(DIGITS.items())))
    assert list(turned.test.fields) == ["y", "x"]


@pytest.mark.parametrize(
    "declared, message",
    [
        ({"x": ("float", ("n", 65))}, r"field `x` of `d.train` is declared \[n, 65\], but the data has \[4, 2\]"),
        ({"x": ("float", ("n",))}, r"declared \[n\], but the data has \[4, 2\].*needs rank 1"),
        ({"x": ("int", ("n", "d"))}, r"declared int\[n, d\], but the data has \[4, 2\].*class numbers are whole"),
        ({"y": ("bool", ("n",))}, r"declared bool\[n\], but the data has int\[4\].*convert it to bool"),
        ({"x": ("float", ("n", "n"))}, r"declared \[n, n\], but the data has \[4, 2\].*`n` is 4 elsewhere"),
        ({"z": ("float", ("n",))}, r"no field `z`"),
        ({"t": ("float", ("n",))}, r"the data has text\[4\]"),
    ],
)
def test_what_does_not_fit_is_named(declared, message):
    source = sources.load("arrays", x=np.zeros((4, 2)), y=np.arange(4), t=["a", "b", "c", "d"])
    source.name = "d"
    with pytest.raises(RuntimeFault, match=message):
        data.check_fields(source, declared)


def test_sizes_after_the_first_hold_for_all_splits():
    parts = {"train": data.Split({"x": np.zeros((5, 2))}), "test": data.Split({"x": np.zeros((3, 4))})}
    with pytest.raises(RuntimeFault, match=r"`data.test` is declared \[n, d\].*`d` is 2"):
        data.check_fields(data.Source(parts), {"x": ("float", ("n", "d"))})


@pytest.mark.parametrize("name, dtype", [("numpy", "f32"), ("numpy", "f64"), ("torch", "f32"), ("torch", "bf16")])
def test_floats_come_in_the_width_of_the_run(name, dtype):
    if name == "torch":
        pytest.importorskip("torch")
    place = backend.backend(name, dtype)
    source = data.place(sources.load("arrays", x=[[1, 2]], y=[3], m=[True]), place, {"x": ("float", ("n", 2))})
    width = {"f32": "float32", "f64": "float64", "bf16": "bfloat16"}[dtype]
    assert [backend.dtype_name(a) for a in source.train.fields.values()] == [width, "int64", "bool"]
    fixed = data.place(sources.load("arrays", x=[1.0]), place, {"x": ("f64", ("n",))})
    assert backend.dtype_name(fixed.x) == "float64"
    with pytest.raises(RuntimeFault, match="declared a number, but the data has text"):
        data.place(sources.load("arrays", x=["a"]), place, {})


def test_splits_can_be_copied():
    source = sources.load("arrays", x=[1.0, 2.0])
    assert np.array_equal(copy.deepcopy(source).train.x, source.x)
