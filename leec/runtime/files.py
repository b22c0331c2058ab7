"""Files that are there whole or not at all: written under another name, forced to the disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

PARTIAL = ".partial-"  # how the name of a file or folder begins that is still being written or removed


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file at once: after a kill at any moment either the old content is there or the new one."""

    def write(partial: Path) -> None:
        partial.write_bytes(content)

    replace_whole(path, write)


def write_tensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Replace a safetensors file at once."""
    from safetensors.numpy import save_file

    def write(partial: Path) -> None:
        save_file(contiguous(tensors), partial)

    replace_whole(path, write)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file; nothing in it is ever run. Raises OSError or SafetensorError."""
    from safetensors.numpy import load_file

    return load_file(path)


def contiguous(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors in row-major order, the only one that the format knows."""
    return {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}


def replace_whole(path: Path, write: Callable[[Path], None]) -> None:
    partial = path.with_name(PARTIAL + path.name)
    write(partial)
    force(partial)
    partial.replace(path)
    force(path.parent)


def force(path: Path) -> None:
    """Have what a file or a folder holds on the disk before anything else happens."""
    if os.name == "nt" and path.is_dir():
        return  # a folder cannot be opened there, and a rename is durable without
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
