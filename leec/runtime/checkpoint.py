"""Checkpoints: a folder each, with tensors (safetensors) and facts (JSON), there whole or not at all.

A folder is written under a partial name, forced to the disk and renamed, so a kill at any moment leaves the one
before loadable. The last two are kept. Loading reads numbers and text and runs nothing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from leec.runtime import faults
from leec.runtime.files import PARTIAL, contiguous, force

KEPT = 2
TENSORS, FACTS = "state.safetensors", "state.json"


def save(folder: Path, tensors: dict[str, np.ndarray], facts: dict[str, Any]) -> Path:
    """Write the next checkpoint of a folder and remove all but the last two; its path.

    `facts` is anything JSON holds, with finite numbers.
    """
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    old = numbered(folder)
    path = folder / f"{int(old[-1].name) + 1 if old else 1:06d}"
    partial = folder / (PARTIAL + path.name)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    save_file(contiguous(tensors), partial / TENSORS)
    (partial / FACTS).write_text(json.dumps(facts, indent=1, allow_nan=False), encoding="utf-8")
    for part in (partial / TENSORS, partial / FACTS, partial):
        force(part)
    partial.rename(path)
    force(folder)
    for superseded in old[: 1 - KEPT]:
        remove(superseded)
    return path


def load(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Tensors and facts of the newest checkpoint that can be read, or None where none was ever written.

    Raises LEE723 if there are checkpoints and none can be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    there = numbered(folder)
    for path in reversed(there):
        try:
            facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
            return load_file(path / TENSORS), facts
        except (OSError, ValueError, SafetensorError):
            continue  # damaged after it was written: the one before is still good
    if there:
        raise faults.unreadable_checkpoint(folder)
    return None


def numbered(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    return sorted((p for p in folder.glob("*") if p.name.isdecimal()), key=lambda p: int(p.name))


def remove(path: Path) -> None:
    """Take a checkpoint away: first from its name, at once, so that no half of it is ever found under it."""
    doomed = path.rename(path.with_name(PARTIAL + "old-" + path.name))
    shutil.rmtree(doomed, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what a killed process left half written or half removed."""
    for partial in folder.glob(PARTIAL + "*"):
        shutil.rmtree(partial, ignore_errors=True)
