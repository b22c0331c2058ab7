"""Arguments of a train: those that choose code compile anew, data is held against its declaration, mistakes teach."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import leec
from leec.cli.app import app
from leec.cli.train import value
from leec.runtime import sources
from leec.runtime.faults import RuntimeFault

SPECS = Path(__file__).parent / "specs"
CHOICES = str(SPECS / "choices.lee")
FROM_FILE = str(SPECS / "from_file.lee")
CHOSEN: dict[str, Any] = {"hidden": (8,), "norm": True, "act": "tanh", "layers": 3}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(*args: str) -> Result:
    return CliRunner().invoke(app, ["train", *args, "--progress", "none"], catch_exceptions=False)


# ---- what chooses code


def test_arguments_that_choose_code_compile_the_spec_anew() -> None:
    spec = leec.load(CHOICES)
    assert str(spec.signature()) == "(*, epochs=3, batch=32, hidden=(16,), norm=False, act='relu', layers=2)"
    usual = spec.fit(epochs=1)
    assert "scale" not in usual.tensors() and usual.first.w.shape == (4, 16)
    x = np.random.default_rng(0).normal(size=(5, 4))
    outputs = []
    for backend in ("numpy", "torch"):
        net = spec.fit(backend=backend, epochs=2, **CHOSEN)
        assert tuple(net.tensors()["scale"].shape) == (8,)
        outputs.append(spec.predict(net, x))
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-5)
    assert spec.made_for("fit", CHOSEN)[0] is spec.made_for("fit", {**CHOSEN, "epochs": 9})[0]
    assert spec.made_for("fit", {"epochs": 9, "norm": False}) == (spec, {"epochs": 9})


def test_each_choice_changes_the_program() -> None:
    spec = leec.load(CHOICES)
    texts = {spec.text("numpy")}
    for name, chosen in CHOSEN.items():
        other, passed = spec.made_for("fit", {name: chosen})
        assert passed == {} and other.hash != spec.hash
        texts.add(other.text("numpy"))
    assert len(texts) == 1 + len(CHOSEN)


def test_the_generated_signature_has_no_argument_that_is_compiled_in() -> None:
    text = leec.load(CHOICES).text("numpy")
    assert "def fit(epochs=3, batch=32, *, run=None):" in text
    assert "Made for hidden = (16,), norm = False, act = 'relu', layers = 2" in text


def test_the_command_line_sets_them_too_and_a_resumed_run_keeps_them() -> None:
    settings = [f"--set={s}" for s in ("hidden=8", "norm=true", "act=tanh", "layers=3", "epochs=2")]
    assert train(CHOICES, *settings, "--out", "whole").exit_code == 0
    assert train(CHOICES, *settings, "--out", "parts", "--max-steps", "5").exit_code == 0
    assert train(CHOICES, "--resume", "--out", "parts").exit_code == 0
    assert Path("parts/metrics.csv").read_text() == Path("whole/metrics.csv").read_text()
    assert "normed" in Path("whole/metrics.csv").read_text().splitlines()[0]
    other = train(CHOICES, "--resume", "--out", "parts", "--set", "layers=4")
    assert other.exit_code == 1 and "LEE722" in other.stderr


@pytest.mark.parametrize(
    ("text", "usual", "found"),
    [
        ("8, 16", (4,), (8, 16)),
        ("(8,)", (4,), (8,)),
        ("0.5,1", (0.1,), (0.5, 1)),
        ("relu", "tanh", "relu"),
        ('"3"', "tanh", "3"),
        ("3", "tanh", "3"),
        ("false", True, False),
    ],
)
def test_a_value_is_read_as_its_default_is(text: str, usual: Any, found: Any) -> None:
    assert value(text, usual) == found


def test_a_procedure_that_calls_another_one_hands_on_what_chooses_code() -> None:
    text = Path(CHOICES).read_text() + (
        "\n\ntrain twice(deeper = 1, norms = true):\n"
        "    one = fit(epochs = 1, layers = deeper, norm = norms)\n"
        "    two = fit(epochs = 1, layers = 3)\n"
        "    return one, two\n"
    )
    spec = leec.load(text)
    one, two = spec.fit("twice")
    assert "scale" in one.tensors() and "scale" not in two.tensors()
    one, two = spec.fit("twice", deeper=2, norms=False)
    assert "scale" not in one.tensors()


# ---- mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epocs": 3}, "`fit` takes no argument `epocs` (help: did you mean `epochs`?"),
        ({"epochs": "many"}, "`epochs` of `fit` takes a whole number, not 'many'"),
        ({"epochs": 2.5}, "`epochs` of `fit` takes a whole number, not 2.5"),
        ({"norm": 1}, "`norm` of `fit` takes true or false, not 1"),
        ({"hidden": 3}, "`hidden` of `fit` takes a tuple, not 3"),
        ({"hidden": ("a",)}, "`hidden` of `fit` takes a whole number, not 'a'"),
        ({"act": 2}, "`act` of `fit` takes a text, not 2"),
    ],
)
def test_a_wrong_argument_is_said_before_anything_runs(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeFault, match="LEE712") as caught:
        leec.load(CHOICES).fit(**arguments)
    assert message in str(caught.value)


def test_a_choice_that_the_spec_cannot_be_compiled_for_is_an_error_of_the_spec() -> None:
    with pytest.raises(leec.LeeError):
        leec.load(CHOICES).fit(hidden=())


def test_a_name_that_is_no_procedure() -> None:
    with pytest.raises(LookupError, match="no train procedure 'fitt'; it has fit"):
        leec.load(CHOICES).fit("fitt")


# ---- data


def flowers() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    return draw.normal(size=(60, 4)), draw.integers(0, 3, 60)


def write_csv(path: str, columns: list[str], words: bool) -> None:
    x, y = flowers()
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(
            [*map(repr, map(float, row)), ["blue", "green", "red"][k] if words else k]
            for row, k in zip(x, y, strict=True)
        )


def test_data_comes_as_arrays_by_field_by_part_in_order_or_from_files() -> None:
    x, y = flowers()
    np.savez("a.npz", x=x, y=y)
    write_csv("a.csv", ["a", "b", "c", "d", "y"], words=False)
    write_csv("words.csv", ["a", "b", "c", "d", "y"], words=True)
    given = [{"x": x, "y": y}, {"y": y, "x": x}, (x, y), {"train": {"x": x, "y": y}}, sources.arrays(x=x, y=y)]
    given += [{"x": x.tolist(), "y": y.tolist()}, "a.npz", Path("a.npz"), "a.csv", "words.csv"]
    spec = leec.load(FROM_FILE)
    first, *others = (spec.fit(data=data, epochs=1) for data in given)
    for net in others:
        np.testing.assert_array_equal(net.first.w, first.first.w)
    result = train(FROM_FILE, "--data", "a.csv", "--epochs", "1", "--out", "run")
    assert result.exit_code == 0 and json.loads(Path("run/run.json").read_text())["arguments"]["data"] == "a.csv"
    assert train(FROM_FILE, "--data", "data=iris", "--epochs", "1").exit_code == 0


X, Y = np.zeros((6, 4)), np.zeros(6, int)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": X}, "LEE706 missing-field: `data.train` has no field `y`"),
        ({"x": X[:, :3], "y": Y}, "field `x` of `data.train` is declared [n, 4], but the data has [6, 3]"),
        ({"x": X, "y": Y[:, None]}, "field `y` of `data.train` is declared int[n], but the data has int[6, 1]"),
        ({"x": X, "y": Y + 0.5}, "declared int[n], but the data has [6] (help: class numbers are whole"),
        ({"x": X, "y": Y[:5]}, "need equally many rows, they have {'x': 6, 'y': 5}"),
        ({"x": [[1, 2], [3]], "y": Y}, "`x` of `data` is declared an array, but the data has rows of different shapes"),
        ({"x": X, "y": ["a"] * 6}, "declared int[n], but the data has text[6]"),
        ({"x": 3, "y": Y}, "field `x` of `data` is a single value and has no rows"),
        (
            3,
            "LEE713 no-data: `data` is data, and a value of type int is none (help: give arrays by field, {'x': .., 'y': ..}",
        ),
        ("flower", "`data` is data, and `flower` is none"),
        ("flower.csv", "LEE709 absent-file: there is no file flower.csv"),
    ],
)
def test_data_that_does_not_fit_its_declaration(data: Any, message: str) -> None:
    with pytest.raises(RuntimeFault) as caught:
        leec.load(FROM_FILE).fit(data=data, epochs=1)
    assert message in str(caught.value)


def test_columns_that_do_not_fit_the_fields_are_named() -> None:
    write_csv("b.csv", ["a", "b", "c", "d", "kind"], words=True)
    result = train(FROM_FILE, "--data", "b.csv")
    assert result.exit_code == 1 and "b.csv:1: no column is left for `y`" in result.stderr
    assert "its columns are a, b, c, d, kind; a field takes the column of its name" in result.stderr
    assert not Path("runs/from_file").exists()


OF_ALL_PARTS = """
from std.data import two_moons


train look(kept = 0.0, count = 6):
    data = two_moons(n = 40, labelled = count, test = kept)
    report marked = mean(float(data.y[data.marked])), rows = sum(data.x ** 0)
"""


def test_fields_of_all_parts_and_of_data_that_are_not_divided() -> None:
    """Half of the marked rows are of class 1; once the data are divided, `data.x` could be either part's."""
    spec = leec.load(OF_ALL_PARTS)
    for backend in ("numpy", "torch"):
        assert spec.run("look", backend=backend)[1] == [{"marked": 0.5, "rows": 80.0}]
    with pytest.raises(RuntimeFault, match=r"it is divided, so `.` is ambiguous.*write `train"):
        spec.run("look", kept=0.25)


def test_every_source_of_std_data_has_the_fields_it_declares() -> None:
    """Fields are held against their declaration when a source is opened."""
    names = [
        "diabetes",
        "digits",
        "iris",
        "wine",
        "breast_cancer",
        "linnerud",
        "two_moons",
        "swiss_roll",
        "sine",
        "blobs",
    ]
    body = "".join(
        f"train open_{name}(rounds = 1):\n    data = {name}()\n    for k in 1..rounds:\n"
        f"        report first = sum(data.train.x[0]), last = sum(float(data.train.y))\n\n\n"
        for name in names
    )
    spec = leec.load(f"from std.data import {', '.join(names)}\n\n\n{body.rstrip()}\n")
    for name in names:
        _, rows = spec.run(f"open_{name}")
        assert np.isfinite(rows[0]["first"])


def test_an_argument_may_be_called_as_the_generated_file_calls_something_of_its_own(tmp_path: Path) -> None:
    """`bits` are the random ones there."""
    path = tmp_path / "named.lee"
    path.write_text(
        "train told(bits = 2, inside = 0.5):\n    e: [bits] ~ normal(0, 1)\n    report given = bits * inside + 0 * sum(e)\n"
    )
    spec = leec.load(path)
    for backend in ("numpy", "torch"):
        assert spec.run(backend=backend, bits=6, inside=2.0)[1] == [{"given": 12.0}]
