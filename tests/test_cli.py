"""The command line: exit codes, one JSON document for every outcome, fixes, files written whole or not at all."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from interrupts import heeding
from safetensors.numpy import load_file

import leec
from leec import driver
from leec.cli.app import COMMANDS, app
from leec.cli.files import write_all
from leec.cli.train import value
from leec.diagnostics import Diagnostic, Edit, Fix, InternalError, Label, LeeError, Source, Span
from leec.diagnostics.fixes import apply_fixes
from leec.runtime import faults

PACKAGE = Path(leec.__file__).parent
GOOD = "def square(x: [n]) -> [n]:\n    return x * x\n"
BAD = "def square(x: [n]) -> [n]\n    return x * x\n"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: str, stdin: str | bytes | None = None, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, args, input=stdin, env=env)


def document(result: Result) -> dict:
    """The one JSON document of a result: nothing before it, nothing after it."""
    found = json.loads(result.stdout)
    assert set(found) - {"result"} == {"schema", "tool", "edition", "summary", "diagnostics"}
    return found


def leec_process(*args: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "leec", *args]
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **env}
    return subprocess.run(command, input=stdin, capture_output=True, check=False, env=env)


# ---- how commands end


def test_a_good_spec_exits_with_0_and_says_nothing_on_stdout() -> None:
    Path("good.lee").write_text(GOOD)
    result = run("check", "good.lee")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "1 file: nothing to report\n")
    assert run("-q", "check", "good.lee").output == ""


def test_findings_exit_with_1_and_stand_on_stderr() -> None:
    Path("bad.lee").write_text(BAD)
    result = run("check", "bad.lee")
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.match(r"error\[LEE\d{3}\] [\w-]+: .*\n  --> bad.lee:\d+:\d+\n", result.stderr)
    assert run("check", "--exit-zero", "bad.lee").exit_code == 0


@pytest.mark.parametrize("args", [["chek"], ["check"], ["check", "--fx", "a.lee"], ["explain", "LEE000"], []])
def test_wrong_usage_exits_with_2(args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    if args:
        found = document(run(*args, "--json"))
        assert [d["code"] for d in found["diagnostics"]] == ["LEE813"]


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_bytes(b"a\n\xff\n")])
def test_a_file_that_cannot_be_read_exits_with_2_and_the_others_are_checked(make) -> None:
    make(Path("odd"))
    Path("bad.lee").write_text(BAD)
    result = run("check", "odd" if not Path("odd").is_dir() else "odd/../none", "bad.lee", "--json")
    assert result.exit_code == 2
    codes = [d["code"] for d in document(result)["diagnostics"]]
    assert codes[0] == "LEE811" and len(codes) > 1


def test_an_absent_extra_exits_with_4(monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(monkeypatch, ModuleNotFoundError("No module named 'torch'", name="torch._C"))
    result = run("check", "x")
    assert result.exit_code == 4
    assert "pip install 'leec[torch]'" in result.stderr


def test_what_a_running_program_met_keeps_its_code_and_status(monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(monkeypatch, faults.absent_file("data.csv"))
    assert run("check", "x").exit_code == 4
    (found,) = document(run("check", "x", "--json"))["diagnostics"]
    assert (found["code"], found["name"], found["data"]) == ("LEE709", "absent-file", {"path": "data.csv"})
    fails_with(monkeypatch, faults.not_a_scalar("loss", (3,)))
    assert run("check", "x").exit_code == 1


def test_an_internal_error_exits_with_70_and_leaves_a_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    Path("good.lee").write_text(GOOD)
    monkeypatch.setattr("leec.driver.check", raiser(InternalError("the verifier found a hole")))
    result = run("check", "good.lee", "--json")
    assert result.exit_code == 70
    (found,) = document(result)["diagnostics"]
    assert (found["code"], found["file"]) == ("LEE901", "good.lee")
    assert "the verifier found a hole" in found["message"]
    bundle = Path(found["data"]["bundle"])
    assert (bundle / "0-good.lee").read_text() == GOOD
    assert "the verifier found a hole" in (bundle / "traceback.txt").read_text()
    assert "leec check good.lee --json" in (bundle / "command.txt").read_text()
    text = run("check", "good.lee")
    assert text.exit_code == 70 and "Traceback" not in text.output
    assert "Traceback" in run("-v", "check", "good.lee").stderr


def test_an_interruption_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(monkeypatch, KeyboardInterrupt())
    assert run("check", "x").exit_code == 130
    assert document(run("check", "x", "--json"))["diagnostics"][0]["code"] == "LEE814"


def raiser(error: BaseException):
    def fail(*args: object) -> None:
        raise error

    return fail


def fails_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    monkeypatch.setattr("leec.cli.check.read_source", raiser(error))


def test_every_command_has_help_and_json() -> None:
    for command in COMMANDS:
        text = run(command, "--help").stdout
        assert text.startswith(f"Usage: leec {command} ")
        assert "--json" in text
        assert COMMANDS[command] in run("--help").stdout


def test_every_long_option_can_be_set_in_the_environment() -> None:
    Path("bad.lee").write_text(BAD)
    assert run("check", "bad.lee", env={"LEEC_CHECK_EXIT_ZERO": "1"}).exit_code == 0
    assert document(run("check", "bad.lee", env={"LEEC_CHECK_JSON": "1"}))["summary"]["errors"] >= 1
    assert document(run("check", env={"LEEC_CHECK_JSON": "1"}))["diagnostics"][0]["code"] == "LEE813"
    for name in COMMANDS:
        command = app.get_command(click.Context(app), name)
        for param in command.params:
            if isinstance(param, click.Option):
                longs = [opt for opt in param.opts if opt.startswith("--")]
                assert longs, f"{name} {param.opts} has no long form"
                names = {str(param.name).replace("_", "-"), *(param.envvar or "").lower().replace("_", "-").split("-")}
                assert any(long.strip("-") in names for long in longs), f"{name} {longs} has another variable"


def test_colors_follow_the_option_then_no_color() -> None:
    Path("bad.lee").write_text(BAD)
    assert "\x1b[" not in run("check", "bad.lee").stderr
    assert "\x1b[" in run("--color", "always", "check", "bad.lee").stderr
    assert "\x1b[" in run("--color", "always", "check", "bad.lee", env={"NO_COLOR": "1"}).stderr
    assert "\x1b[" not in run("check", "bad.lee", env={"NO_COLOR": "1"}).stderr


# ---- project defaults


def test_project_defaults_come_from_the_nearest_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leec.toml").write_text("[check]\nexit-zero = true\n")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    Path("bad.lee").write_text(BAD)
    assert run("check", "bad.lee").exit_code == 0
    Path("pyproject.toml").write_text("[tool.leec.check]\nexit-zero = false\n")
    assert run("check", "bad.lee").exit_code == 1
    assert run("--config", "../leec.toml", "check", "bad.lee").exit_code == 0


@pytest.mark.parametrize("text", ["[check]\nfixx = true\n", "[chek]\nfix = true\n", "check = 1\n", "[check\n"])
def test_an_unknown_setting_is_an_error(text: str) -> None:
    Path("leec.toml").write_text(text)
    result = run("check", "-", "--json", stdin=GOOD)
    assert result.exit_code == 2
    assert "leec.toml" in document(result)["diagnostics"][0]["message"]


# ---- check: forms, stdin, fixes


def test_the_formats_of_check() -> None:
    Path("bad.lee").write_text(BAD)
    concise = run("check", "bad.lee", "--output-format", "concise").stderr
    assert re.match(r"bad\.lee:\d+:\d+: error\[LEE\d{3}\] ", concise)
    github = run("check", "bad.lee", "--output-format", "github")
    assert re.match(r"::error file=bad\.lee,line=\d+,", github.stdout)
    assert document(run("check", "bad.lee", "--output-format", "json")) == document(run("check", "bad.lee", "--json"))
    lines = run("check", "bad.lee", "good.lee", "--output-format", "jsonl")
    assert [json.loads(line)["code"] for line in lines.stdout.splitlines()] == ["LEE021", "LEE811"]
    assert lines.stderr == ""


def test_sarif_holds_every_diagnostic_with_its_place_and_fix() -> None:
    Path("bad.lee").write_text(f"# 中文𝕏\n{BAD}")
    result = run("check", "bad.lee", "--output-format", "sarif")
    log = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, log["version"]) == (1, "", "2.1.0")
    (found,) = log["runs"][0]["results"]
    (rule,) = log["runs"][0]["tool"]["driver"]["rules"]
    assert (found["ruleId"], found["level"], rule) == ("LEE021", "error", {"id": "LEE021", "name": "missing-colon"})
    place = found["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "bad.lee"} and place["region"]["startLine"] == 2
    (change,) = found["fixes"][0]["artifactChanges"]
    assert change["replacements"][0]["insertedContent"] == {"text": ":"}
    empty = json.loads(run("check", "-", "--output-format", "sarif", stdin=GOOD).stdout)
    assert empty["runs"][0]["results"] == []
    absent = json.loads(run("check", "--output-format", "sarif").stdout)
    assert absent["runs"][0]["results"][0]["ruleId"] == "LEE813"


@pytest.mark.parametrize("form", ["full", "concise", "github", "json", "jsonl", "sarif"])
def test_diagnostics_go_to_a_file_in_every_form(form: str) -> None:
    Path("bad.lee").write_text(BAD)
    shown = run("check", "bad.lee", "--output-format", form)
    written = run("check", "bad.lee", "--output-format", form, "--output-file", "found.txt")
    text = Path("found.txt").read_text()
    assert (written.exit_code, written.stdout) == (1, "")
    assert text and (shown.stdout == text or shown.stderr.startswith(text))
    assert run("check", "bad.lee", "--output-file", "none/found.txt").exit_code in (1, 2)


def test_without_a_command_the_help_is_shown() -> None:
    result = run()
    assert result.exit_code == 2 and result.stdout == ""
    assert "doctor   Report the installation." in result.stderr and "no command is given" in result.stderr


def test_stdin_and_folders() -> None:
    assert run("check", "-", stdin=GOOD).exit_code == 0
    assert "--> <stdin>:" in run("check", "-", stdin=BAD).stderr
    Path("a/b").mkdir(parents=True)
    for name in ("a/one.lee", "a/b/two.lee"):
        Path(name).write_text(GOOD)
    assert document(run("check", "a", "a/one.lee", "--json"))["result"]["files"] == ["a/b/two.lee", "a/one.lee"]


def test_codes_can_be_selected() -> None:
    code = document(run("check", "-", "--json", stdin=BAD))["diagnostics"][0]["code"]
    assert run("check", "-", "--ignore", code[:4], stdin=BAD).exit_code == 0
    assert run("check", "-", "--select", code, stdin=BAD).exit_code == 1
    assert run("check", "none.lee", "--ignore", "LEE8").exit_code == 2


def replace_words(source: Source, loader: object) -> tuple[Diagnostic, ...]:
    """A checker of its own: `left` has a safe fix, `right` an unsafe one, `lost` none."""
    found = []
    for match in re.finditer(r"left|right|lost", source.text):
        span = Span(source, *match.span())
        fix = Fix(f"turn {match[0]}", (Edit(span, match[0].upper()),), safe=match[0] == "left")
        fixes = () if match[0] == "lost" else (fix,)
        found.append(Diagnostic("LEE999", "word", "a word", Label(span), fixes=fixes))
    return tuple(found)


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leec.driver.check", replace_words)


@pytest.mark.parametrize(
    ("options", "after", "left_over"),
    [
        ([], "left right lost left\n", 4),
        (["--fix"], "LEFT right lost LEFT\n", 2),
        (["--fix", "--unsafe-fixes"], "LEFT RIGHT lost LEFT\n", 1),
        (["--diff"], "left right lost left\n", 2),
    ],
)
def test_fixes(words: None, options: list[str], after: str, left_over: int) -> None:
    Path("w.lee").write_text("left right lost left\n")
    os.chmod("w.lee", 0o640)
    result = run("check", "w.lee", "--json", *options)
    assert Path("w.lee").read_text() == after
    assert document(result)["summary"]["errors"] == left_over
    assert Path("w.lee").stat().st_mode & 0o777 == 0o640
    assert os.listdir() == ["w.lee"]


def test_diff_prints_what_fix_would_change(words: None) -> None:
    Path("w.lee").write_text("left\n")
    result = run("check", "w.lee", "--diff")
    assert result.exit_code == 1
    assert result.stdout == "--- w.lee\n+++ w.lee\n@@ -1 +1 @@\n-left\n+LEFT\n"


def test_stdin_is_fixed_to_stdout(words: None) -> None:
    assert run("check", "-", "--fix", stdin="left 損失\n").stdout == "LEFT 損失\n"


def test_overlapping_fixes_wait_for_the_next_round() -> None:
    source = Source("a.lee", "abcdef")

    def fix(start: int, end: int, text: str) -> Diagnostic:
        edit = Edit(Span(source, start, end), text)
        return Diagnostic("LEE999", "x", "x", Label(edit.span), fixes=(Fix("x", (edit,), safe=True),))

    assert apply_fixes(source, [fix(4, 5, "E"), fix(0, 3, "-"), fix(2, 4, "+")]) == ("-dEf", 2)
    assert apply_fixes(source, [fix(3, 3, "1"), fix(3, 3, "2")]) == ("abc1def", 1)
    elsewhere = Source("b.lee", "xyz")
    foreign = Fix("x", (Edit(Span(elsewhere, 0, 1), "!"),), safe=True)
    assert apply_fixes(source, [Diagnostic("LEE999", "x", "x", Label(Span(source, 0, 1)), fixes=(foreign,))])[1] == 0


# ---- files


def test_files_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "in_the_way").write_text("a file\n")
    (tmp_path / "old.txt").write_text("old\n")
    with pytest.raises(LeeError) as error:
        write_all({tmp_path / "old.txt": "new\n", tmp_path / "in_the_way" / "x.txt": "x\n"})
    assert error.value.diagnostics[0].code == "LEE812"
    assert (tmp_path / "old.txt").read_text() == "old\n"
    assert sorted(os.listdir(tmp_path)) == ["in_the_way", "old.txt"]
    write_all({tmp_path / "old.txt": "new\n", tmp_path / "deep" / "er" / "x.txt": "損失\n"})
    assert (tmp_path / "deep" / "er" / "x.txt").read_bytes() == "損失\n".encode()


def test_a_link_keeps_pointing_at_the_file_that_is_written(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old\n")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_all({tmp_path / "link.txt": "new\n"})
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "new\n"


# ---- fmt

LOOSE = "def square( x:[n] )->[n] :\n    return x*x   # 平方\n"
TIDY = "def square(x: [n]) -> [n]:\n    return x*x  # 平方\n"


def test_fmt_writes_the_one_form_and_a_second_time_nothing() -> None:
    Path("loose.lee").write_text(LOOSE)
    check = run("fmt", "--check", "loose.lee")
    assert (check.exit_code, check.stderr, Path("loose.lee").read_text()) == (1, "would format loose.lee\n", LOOSE)
    diff = run("fmt", "--diff", "loose.lee")
    assert diff.exit_code == 1 and "+    return x*x  # 平方\n" in diff.stdout
    assert document(run("fmt", ".", "--json"))["result"] == {"changed": ["loose.lee"]}
    assert Path("loose.lee").read_text() == TIDY
    again = run("fmt", "loose.lee", "--check")
    assert (again.exit_code, again.output) == (0, "")


def test_fmt_of_stdin_goes_to_stdout() -> None:
    assert run("fmt", "-", stdin=LOOSE).stdout == TIDY
    assert run("fmt", "-", stdin=TIDY).stdout == TIDY
    broken = run("fmt", "-", "--stdin-filename", "unsaved.lee", stdin=BAD)
    assert (broken.exit_code, broken.stdout) == (1, "") and "--> unsaved.lee:1" in broken.stderr


def test_fmt_leaves_a_broken_file_and_formats_the_others() -> None:
    Path("bad.lee").write_text(BAD)
    Path("loose.lee").write_text(LOOSE)
    assert run("fmt", "bad.lee", "loose.lee").exit_code == 1
    assert (Path("bad.lee").read_text(), Path("loose.lee").read_text()) == (BAD, TIDY)


# ---- compile, show


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What compiling a good spec gives here: texts that a test may change."""
    files = {"reference.py": "import numpy as np\n", "cuda.py": "import torch  # 損失\n"}

    def compile_spec(source: Source, loader: object, options: driver.Options) -> driver.Outputs:
        found = driver.check(source, loader)
        return driver.Outputs({} if driver.has_errors(found) else dict(files), found)

    monkeypatch.setattr("leec.driver.compile_spec", compile_spec)
    return files


def test_compile_writes_a_folder_a_spec_and_says_what_changed(made: dict[str, str]) -> None:
    Path("good.lee").write_text(GOOD)
    result = run("compile", "good.lee", "-o", "deep/out", "--json")
    assert result.exit_code == 0
    names = ["deep/out/good/reference.py", "deep/out/good/cuda.py"]
    assert document(result)["result"] == {"files": names, "changed": names}
    assert Path(names[1]).read_bytes() == made["cuda.py"].encode()
    made["cuda.py"] += "pass\n"
    assert run("compile", "good.lee", "-o", "deep/out", "--check").exit_code == 1
    assert Path(names[1]).read_text() == "import torch  # 損失\n"
    again = run("compile", "good.lee", "-o", "deep/out")
    assert again.stderr == f"unchanged {names[0]}\nwrote {names[1]}\n"
    assert run("compile", "good.lee", "-o", "deep/out", "--check").exit_code == 0


def test_compile_writes_nothing_where_a_spec_has_an_error(made: dict[str, str]) -> None:
    Path("good.lee").write_text(GOOD)
    Path("bad.lee").write_text(BAD)
    result = run("compile", "good.lee", "bad.lee", "none.lee")
    assert result.exit_code == 2 and "--> bad.lee" in result.stderr and "--> none.lee" in result.stderr
    assert sorted(os.listdir()) == ["bad.lee", "good.lee"]


def test_compile_prints_and_refuses_to_write_two_specs_to_one_place(made: dict[str, str]) -> None:
    assert run("compile", "-", "--stdout", stdin=GOOD).stdout == "\n".join(made.values())
    Path("a").mkdir()
    Path("good.lee").write_text(GOOD)
    Path("a/good.lee").write_text(GOOD)
    assert run("compile", "good.lee", "a").exit_code == 2
    assert sorted(os.listdir()) == ["a", "good.lee"]


@pytest.mark.parametrize("command", [["compile"], ["show", "--stage", "numpy"]])
def test_a_width_that_numpy_has_not_needs_the_other_back_end(command: list[str]) -> None:
    Path("good.lee").write_text(GOOD)
    result = run(*command, "good.lee", "--dtype", "bf16")
    assert result.exit_code == 2 and "--backend torch" in result.stderr


def test_show_prints_a_stage_and_imports_find_the_files_beside_a_spec() -> None:
    Path("lib").mkdir()
    Path("lib/squares.lee").write_text(GOOD)
    Path("lib/main.lee").write_text("from squares import square\n\ndef four(x: [n]):\n    return square(square(x))\n")
    text = run("show", "lib/main.lee", "--stage", "ir").stdout
    assert "fn square(" in text and "fn four(" in text
    assert document(run("show", "lib/main.lee", "--stage", "ir", "--json"))["result"] == {"stage": "ir", "text": text}
    Path("lib/squares.lee").write_text(BAD)
    broken = run("show", "lib/main.lee", "--stage", "ir")
    assert broken.exit_code == 1 and "lib/squares.lee" in broken.stderr
    assert run("show", "lib/main.lee", "--stage", "nothing").exit_code == 2


# ---- train


@pytest.fixture
def linreg() -> str:
    assert run("new", "linreg", "--lesson", "linreg").exit_code == 0
    return "linreg.lee"


def test_train_writes_metrics_and_weights_and_tells_the_last_row(linreg: str) -> None:
    found = document(run("train", linreg, "--epochs", "3", "--set", "rate=0.2", "--json"))["result"]
    assert (found["procedure"], found["folder"], found["rows"]) == ("fit", "runs/linreg", 3)
    assert found["last"]["epoch"] == 3 and found["last"]["rmse"] > 0
    assert Path("runs/linreg/metrics.csv").read_text().splitlines()[0] == "epoch,loss,rmse"
    assert set(load_file(found["weights"][0])) == {"w", "b"}
    again = run("train", linreg, "--epochs", "3", "--set", "rate=0.2")
    assert again.exit_code == 0 and again.stdout.startswith("epoch 3  loss ")
    assert "epoch 3/3" in again.stderr and "runs/linreg-2/metrics.csv" in again.stderr
    same = Path("runs/linreg-2/metrics.csv").read_text()
    assert same == Path("runs/linreg/metrics.csv").read_text()
    assert run("train", linreg, "--epochs", "3", "--seed", "1", "--json").exit_code == 0
    assert Path("runs/linreg-3/metrics.csv").read_text() != same


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--set", "epoch=3"], 2),
        (["--set", "epochs"], 2),
        (["fitt"], 2),
        (["--resume", "--out", "nowhere"], 4),
        (["--dtype", "bf16"], 2),
    ],
)
def test_train_refuses_what_makes_no_sense_and_leaves_no_trace(linreg: str, options: list[str], code: int) -> None:
    assert run("train", linreg, *options).exit_code == code
    assert os.listdir() == ["linreg.lee"]


def test_train_reads_values_as_lee_writes_them() -> None:
    assert [value(text) for text in ("3", "1e-3", "true", "False", "none", "adam")] == [
        3,
        1e-3,
        True,
        False,
        None,
        "adam",
    ]


def test_a_spec_with_mistakes_or_without_a_procedure_does_not_train() -> None:
    Path("bad.lee").write_text(BAD)
    Path("good.lee").write_text(GOOD)
    assert run("train", "bad.lee").exit_code == 1
    assert "has no train procedure" in run("train", "good.lee").stderr


def test_ctrl_c_saves_and_resume_goes_on(linreg: str) -> None:
    command = [sys.executable, "-m", "leec", "train", linreg, "--epochs", "100000"]
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env, preexec_fn=heeding) as process:
        assert process.stderr.readline().startswith("epoch 1/100000")
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "go on with: leec train linreg.lee --resume --out runs/linreg" in rest
    done = len(Path("runs/linreg/metrics.jsonl").read_text().splitlines())
    found = document(run("train", linreg, "--resume", "--epochs", str(done + 2), "--json"))["result"]
    assert (found["folder"], found["rows"]) == ("runs/linreg", done + 2)


# ---- the Python API


def test_the_package_offers_its_functions_without_importing_them(linreg: str) -> None:
    assert {"compile", "load"} <= set(dir(leec))
    assert leec.load(linreg).procedures == ("fit",)
    assert "class Linear" in leec.compile(linreg, backend="numpy").files["reference.py"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        leec.nothing  # noqa: B018


# ---- new, explain, doctor


LESSONS = ("cnn", "linreg", "mlp")


@pytest.mark.parametrize("lesson", LESSONS)
def test_new_writes_a_spec_that_checks(lesson: str) -> None:
    result = run("new", f"models/{lesson}", "--lesson", lesson)
    assert (result.exit_code, result.stdout) == (0, f"models/{lesson}.lee\n")
    again = run("new", f"models/{lesson}")
    assert again.exit_code == 2 and "exists already" in again.stderr
    assert run("check", "--strict", f"models/{lesson}.lee").exit_code == 0
    assert run("fmt", "--check", f"models/{lesson}.lee").exit_code == 0


def test_new_lists_its_lessons() -> None:
    listed = document(run("new", "--list", "--json"))["result"]["lessons"]
    assert sorted(listed) == list(LESSONS)
    assert run("new", "--list").stdout.split()[0] == sorted(listed)[0]
    assert run("new").exit_code == 2


def explained() -> dict[str, dict]:
    return tomllib.loads((PACKAGE / "diagnostics" / "explain.toml").read_text(encoding="utf-8"))


def constructed() -> dict[str, str]:
    """Code -> name of every diagnostic that some constructor in the package builds."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and len(node.args) >= 2:
                code, name = (a.value if isinstance(a, ast.Constant) else None for a in node.args[:2])
                if isinstance(code, str) and re.fullmatch(r"LEE\d{3}", code) and isinstance(name, str):
                    assert found.setdefault(code, name) == name, f"{code} is called {found[code]} and {name}"
    return found


def test_every_code_is_explained_under_its_name() -> None:
    names = {code: entry["name"] for code, entry in explained().items()}
    missing = constructed().items() - names.items()
    assert not missing, f"give these an entry [CODE] with name and what in leec/diagnostics/explain.toml: {missing}"
    assert not names.items() - constructed().items(), "explain.toml has entries that no constructor uses"
    assert len(set(names.values())) == len(names), "two codes share a name"


EXAMPLES = [(code, entry) for code, entry in explained().items() if "wrong" in entry]


@pytest.mark.parametrize(("code", "entry"), EXAMPLES, ids=[code for code, _ in EXAMPLES])
def test_the_examples_of_an_explanation_are_true(code: str, entry: dict) -> None:
    wrong = document(run("check", "-", "--json", stdin=entry["wrong"]))["diagnostics"]
    assert [d["code"] for d in wrong] == [code]
    if "right" in entry:
        assert document(run("check", "-", "--json", stdin=entry["right"]))["diagnostics"] == []


def test_explain() -> None:
    text = run("explain", "lee801").stdout
    assert text.startswith("LEE801: missing-package\n\n")
    assert run("explain", "missing-package").stdout == text
    assert document(run("explain", "LEE801", "--json"))["result"]["name"] == "missing-package"
    listed = run("explain", "--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == sorted(explained())
    assert "did you mean missing-package" in run("explain", "missing-pack").stderr


def test_doctor() -> None:
    found = document(run("doctor", "--json"))["result"]
    assert found["leec"] == leec.__version__
    assert found["python"].split(".")[0] == "3"
    text = run("doctor").stdout
    assert all(word in text for word in (leec.__version__, found["platform"], *found["devices"]))


# ---- as a process


def test_the_module_is_the_command() -> None:
    done = leec_process("--version")
    assert (done.returncode, done.stdout.decode().strip()) == (0, f"leec {leec.__version__}")


def test_text_of_any_script_whatever_the_locale() -> None:
    done = leec_process("check", "-", stdin=BAD.replace("x", "損失").encode(), LC_ALL="C", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert "損失" in done.stderr.decode("utf-8")


def test_check_starts_without_what_it_does_not_need() -> None:
    Path("good.lee").write_text(GOOD)
    heavy = "('torch', 'black', 'sklearn', 'rich.console', 'jinja2')"
    code = (
        "import sys, atexit; sys.argv = ['leec', 'check', 'good.lee']; "
        f"atexit.register(lambda: print([m for m in {heavy} if m in sys.modules])); "
        "from leec.cli import main; main()"
    )
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"


def test_every_stage_is_shown_at_a_level_that_has_it(linreg: str) -> None:
    for stage in driver.stages():
        shown = [run("show", linreg, "--stage", stage, "-O", level) for level in ("1", "2")]
        assert {r.exit_code for r in shown} <= {0, 2} and any(r.exit_code == 0 and r.stdout for r in shown), stage
        for refused in (r for r in shown if r.exit_code == 2):
            assert f"`{stage}` is no stage of -O" in refused.stderr


def test_colors_follow_the_terminal_and_the_wish() -> None:
    Path("bad.lee").write_text(BAD)
    assert b"\x1b[" not in leec_process("check", "bad.lee").stderr
    assert b"\x1b[" in leec_process("--color", "always", "check", "bad.lee").stderr
    assert b"\x1b[" in leec_process("--color", "always", "check", "bad.lee", NO_COLOR="1").stderr
    assert b"\x1b[" not in leec_process("--color", "always", "check", "bad.lee", "--json").stdout


def test_a_reader_that_leaves_early_is_no_failure(linreg: str) -> None:
    command = [sys.executable, "-m", "leec", "show", "--stage", "torch", linreg]
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    writer.stdout.read(10)
    writer.stdout.close()
    assert writer.stderr.read() == b"" and writer.wait() in (0, 1)
