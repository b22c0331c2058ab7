"""What is installed from a built wheel: every file the compiler reads, and a command that works with them alone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: object, **options) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("leec-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_the_wheel_holds_what_the_compiler_reads(installed: Path) -> None:
    packaged = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    ours = [path for path in (ROOT / "leec").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    wanted = {path.relative_to(ROOT).as_posix() for path in ours}
    wanted |= {f"leec/grammar/{path.name}" for path in (ROOT / "grammar").iterdir()}
    assert wanted <= packaged, f"missing from the wheel: {sorted(wanted - packaged)}"
    assert not [path for path in packaged if not path.startswith("leec")]


@pytest.mark.slow
def test_a_spec_checks_with_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(installed)}
    where = run(sys.executable, "-c", "import leec; print(leec.__file__)", cwd=tmp_path, env=env)
    assert Path(where.strip()).is_relative_to(installed)
    run(sys.executable, "-m", "leec", "new", "first", cwd=tmp_path, env=env)
    run(sys.executable, "-m", "leec", "check", "--strict", "first.lee", cwd=tmp_path, env=env)
