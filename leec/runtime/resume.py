"""Where a run can go on: marks at the heads of loops, in memory often and on the disk now and then.

A resumed run executes its procedure again from the start. A loop with a mark fills its models and values from it and
begins at its round; a loop without one runs as before; everything between is computed again, and comes out the same,
because draws depend on keys alone. Nothing is reported until the last mark is reached. So a loop lists only what it
changes itself, and a mark may be any number of rounds old: what was lost is done again, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leec.runtime import checkpoint, faults
from leec.runtime.backend import NumpyBackend, TorchBackend, to_numpy
from leec.runtime.state import Node, Tensors, decode, encode

FORMAT = 1
LoopPath = tuple[str, ...]  # the loop and those around it, outermost first

# A mark in memory costs a copy of the state. It is taken at most once a second and for at most 2 % of the time.
PAUSE, SHARE = 1.0, 0.02


@dataclass
class Mark:
    """The head of a loop before its round number `index` (from 0), with what the loop changes as it was then."""

    path: LoopPath
    index: int
    values: dict[str, Node]
    tensors: Tensors
    progress: dict[str, Any]  # rows reported and losses summed up to there

    def facts(self) -> dict[str, Any]:
        return {"path": list(self.path), "index": self.index, "values": self.values, "progress": self.progress}


class Marks:
    """The marks of a run. Without a folder there are none, and nothing costs anything.

    `every` is the time in seconds between checkpoints (None: only at the end), `rounds` a number of rounds of the
    outermost loop that decides instead.
    """

    def __init__(
        self, folder: Path | None, place: NumpyBackend | TorchBackend, every: float | None, rounds: int | None
    ):
        self.folder, self.place, self.every, self.rounds = folder, place, every, rounds
        self.marks: dict[LoopPath, Mark] = {}
        self.last: Mark | None = None  # the newest, whose progress is that of the run
        self.pending: dict[LoopPath, Mark] = {}  # loaded, and their loop not yet come by
        self.goal: Mark | None = None  # the newest when loaded, until its loop comes by
        self.taken = self.written = time.monotonic() if folder else 0.0
        self.pause = 0.0  # the first head is marked at once
        self.saved: Mark | None = None  # the newest that is on the disk

    def load(self) -> Mark | None:
        """Take up the newest checkpoint; the mark where the run will go on, if there is one."""
        assert self.folder
        checkpoint.sweep(self.folder)
        if (found := checkpoint.load(self.folder)) is None:
            return None
        tensors, facts = found
        if facts.get("format") != FORMAT:
            raise faults.other_run("checkpoint format", facts.get("format"), FORMAT)
        for i, mark in enumerate(facts["marks"]):
            own = {name.removeprefix(f"{i}/"): t for name, t in tensors.items() if name.startswith(f"{i}/")}
            path = tuple(mark["path"])
            self.marks[path] = Mark(path, mark["index"], mark["values"], own, mark["progress"])
        self.pending = dict(self.marks)
        self.last = self.goal = self.saved = self.marks[tuple(facts["last"])]
        return self.goal

    # ---- going back

    def restored(self, path: LoopPath, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as they were at the mark of a loop, or as they are if it has none."""
        if (mark := self.pending.get(path)) is None:
            return dict(values)
        if lost := values.keys() - mark.values.keys():
            raise faults.changed_shape(min(lost), "it was not kept when the checkpoint was written")
        return {k: decode(mark.values[k], v, k, mark.tensors, self.place) for k, v in values.items()}

    def begin(self, path: LoopPath, objects: Mapping[str, Any]) -> tuple[int, bool]:
        """Fill the objects a loop changes; the index of its first round, and whether the run goes on from here."""
        if path not in self.pending:
            return 0, False
        self.restored(path, objects)
        mark = self.pending.pop(path)
        arrived = mark is self.goal
        if arrived:
            self.goal = None
        return mark.index, arrived

    def moved_on(self, path: LoopPath) -> None:
        """A loop began another round: loops inside it that never came by in the marked one have nothing to restore."""
        if self.pending:
            self.pending = {p: mark for p, mark in self.pending.items() if not inside(p, path)}

    # ---- going on

    def due(self, index: int, outermost: bool) -> bool:
        """Whether a checkpoint should be written at this head."""
        if self.rounds is not None:
            return outermost and index > 0 and index % self.rounds == 0
        return self.every is not None and time.monotonic() - self.written >= self.every

    def wants(self) -> bool:
        """Whether it is time to mark a head in memory."""
        return time.monotonic() - self.taken >= self.pause

    def take(self, path: LoopPath, index: int, values: Mapping[str, Any], progress: dict[str, Any]) -> None:
        """Mark a head: copy what the loop changes. Marks inside it belonged to an earlier round."""
        start = time.monotonic()
        tensors: Tensors = {}
        nodes = {name: encode(value, name, tensors) for name, value in values.items()}
        mark = Mark(path, index, nodes, tensors, progress)
        others = {p: m for p, m in self.marks.items() if p != path and not inside(p, path)}
        self.marks, self.last = {**others, path: mark}, mark
        self.taken = time.monotonic()
        self.pause = max(PAUSE, (self.taken - start) / SHARE)

    def at(self, path: LoopPath, index: int) -> bool:
        """Whether a loop is marked before this round."""
        return path in self.marks and self.marks[path].index == index

    def write(self) -> None:
        """Put the marks on the disk, unless the newest is there already."""
        if self.folder is None or self.last is None or self.last is self.saved:
            return
        tensors = {
            f"{i}/{name}": to_numpy(t) for i, mark in enumerate(self.marks.values()) for name, t in mark.tensors.items()
        }
        marks = [mark.facts() for mark in self.marks.values()]
        checkpoint.save(self.folder, tensors, {"format": FORMAT, "last": list(self.last.path), "marks": marks})
        self.saved, self.written = self.last, time.monotonic()


def inside(path: LoopPath, outer: LoopPath) -> bool:
    return len(path) > len(outer) and path[: len(outer)] == outer
