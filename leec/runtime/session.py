"""What the procedures of one run share: back end, loops under way, metrics, progress, checkpoints.

The loops under way are a stack of frames. A frame knows its round, what was reported in it, and the key that draws
in it fold in; the stack gives every draw its key, every row its counters and the progress bar its place.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from leec.runtime import faults
from leec.runtime.backend import backend
from leec.runtime.draws_numpy import Key
from leec.runtime.files import write_whole
from leec.runtime.metrics import Metrics, Row
from leec.runtime.philox import round_key, seed_key
from leec.runtime.progress import progress
from leec.runtime.resume import LoopPath, Marks
from leec.runtime.watch import Watch

REFRESH = 0.1  # seconds between looks at the progress within a round
UNREPORTED = 50  # steps after which a round of the outermost loop gets a row though nothing was reported in it


@dataclass(frozen=True)
class Options:
    """How to run.

    seed             of every draw; None is 0, or the seed of the run that is resumed
    backend          "numpy" or "torch"; dtype "f32", "f64" or (torch) "bf16"; device "cpu", "cuda", "cuda:1", "auto"
    folder           for metrics and checkpoints; None leaves no trace
    resume           go on from the newest checkpoint of the folder, or from the start if there is none yet
    every, rounds    seconds between checkpoints, or rounds of the outermost loop instead
    max_steps        after how many steps, resumed ones included, the run is cut; it ends there as if interrupted
    progress         "auto", "bar", "plain" or "none"
    spec             a hash of the program: a run is resumed by the same one only
    arguments        of the procedure, kept in run.json for people
    """

    seed: int | None = None
    backend: str = "numpy"
    dtype: str = "f32"
    device: str = "cpu"
    folder: str | Path | None = None
    resume: bool = False
    every: float | None = 20.0
    rounds: int | None = None
    max_steps: int | None = None
    progress: str = "auto"
    spec: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


class StepLimit(Exception):
    """The run has made all the steps that it may. A Run as a context ends quietly on it."""


@dataclass(eq=False)
class Frame:
    """A loop under way."""

    site: str  # "fit/epoch": names its draws
    label: str  # "epoch": its column in the metrics
    total: int | None  # rounds, where known
    first: int  # what the counter begins with
    objects: Mapping[str, Any]  # models and optimizers that it changes
    resumable: bool = False
    kept: Mapping[str, Any] = field(default_factory=dict)  # values it binds anew each round
    index: int = -1  # rounds begun, less one
    row: Row = field(default_factory=dict)  # reported in this round
    key: Key | None = None
    steps: int = 0  # of the run, when this round began

    @property
    def counter(self) -> int:
        return self.first + self.index


class Session:
    """One run. Raises LEE720 to LEE723 where the folder does not fit."""

    def __init__(self, procedure: str, options: Options):
        self.place = backend(options.backend, options.dtype, options.device)
        self.watch = Watch(self.place)
        folder = Path(options.folder) if options.folder else None
        self.marks = Marks(folder / "checkpoints" if folder else None, self.place, options.every, options.rounds)
        self.seed, keep = options.seed or 0, 0
        if folder:
            self.seed = register(folder, procedure, options)
            mark = self.marks.load() if options.resume else None
            keep = mark.progress["rows"] if mark else 0
        self.metrics = Metrics(folder, keep)
        self.progress = progress(options.progress)
        self.frames: list[Frame] = []
        self.kept: dict[LoopPath, Mapping[str, Any]] = {}  # by `restore`, for loops that are about to begin
        self.latest: Row = {}
        self.looked = time.monotonic()
        self.max_steps = options.max_steps
        self.cut: dict[str, Any] | None = None  # when all steps are made: the models and optimizers of the loops
        self.closed = False
        self.environments: dict[str, Any] = {}  # by name

    # ---- loops

    def path(self, site: str = "") -> LoopPath:
        """The loops under way, and the one about to begin."""
        return tuple(frame.site for frame in self.frames) + ((site,) if site else ())

    def rounds(self, frame: Frame, items: Iterable[Any], entry: bool) -> Iterator[Any]:
        """The items of a loop, a round each, from where a resumed run goes on."""
        depth = len(self.frames)
        path = self.path(frame.site)
        lists = bool(frame.objects) or path in self.kept  # otherwise its rounds cannot be skipped
        frame.kept = self.kept.pop(path, {})
        frame.resumable = entry and lists and all(f.resumable for f in self.frames)
        self.frames.append(frame)
        start, arrived = self.marks.begin(path, frame.objects) if entry else (0, False)
        if arrived and self.marks.last:
            self.watch.restore(self.marks.last.progress["watch"])
        try:
            for index, item in enumerate(islice(items, start, None), start):
                self.begin_round(frame, depth, index)
                yield item
            self.begin_round(frame, depth, max(frame.index + 1, start))
            frame.index = -1  # there was no such round
        finally:
            self.leave(frame, depth)

    def again(self, site: str, label: str, condition: bool) -> bool:
        """The head of a `while`: another round, or its end. Nothing resumes inside, as its rounds cannot be skipped."""
        depth = next((i for i, f in enumerate(self.frames) if f.site == site), len(self.frames))
        if depth == len(self.frames):
            if condition:
                self.frames.append(Frame(site, label, None, 0, {}))
                self.begin_round(self.frames[-1], depth, 0)
        elif condition:
            self.begin_round(self.frames[depth], depth, self.frames[depth].index + 1)
        else:
            self.leave(self.frames[depth], depth)
        return condition

    def begin_round(self, frame: Frame, depth: int, index: int) -> None:
        """The head of a loop: close the round before, and mark the place if it is time."""
        del self.frames[depth + 1 :]
        if frame.index >= 0:
            self.end_round(frame)
            self.watch.stop()
            self.marks.moved_on(self.path())
        frame.index, frame.key, frame.row, frame.steps = index, None, {}, self.watch.steps
        if frame.resumable and self.marks.folder and not self.marks.goal:
            self.mark(frame)
        self.refresh()

    def mark(self, frame: Frame) -> None:
        """Mark this head if it is time, and write a checkpoint if it is time for that."""
        sites, outermost = self.path(), len(self.frames) == 1
        write = self.marks.due(frame.index, outermost)
        if not (write or self.marks.wants() or (outermost and frame.index == frame.total)):
            return
        *around, here = (self.marks.at(sites[: i + 1], f.index) for i, f in enumerate(self.frames))
        if here:
            return  # the run was resumed here just now
        if not all(around):
            return  # a loop around this one is not marked in its present round: there would be no way back to here
        self.watch.check()  # never keep a state that has come to NaN
        progress = {"rows": len(self.metrics.rows), "watch": self.watch.facts()}
        self.marks.take(sites, frame.index, {**frame.objects, **frame.kept}, progress)
        if write:
            self.save()

    def end_round(self, frame: Frame) -> None:
        """Write what was reported in a round, with the mean losses since the last row."""
        if self.marks.goal:
            return
        outermost = self.frames[0] is frame
        if frame.row or (outermost and self.watch.pending >= UNREPORTED):
            losses = {label: mean for label, mean in self.watch.means().items() if label not in frame.row}
            self.write({**losses, **frame.row})
        if outermost:
            several = self.watch.steps - frame.steps > 1
            values = {**self.watch.glance(), **self.latest}
            self.progress.round(frame.label, self.place_in(frame), self.done(1.0), values, bool(self.latest) or several)
            self.latest = {}

    def leave(self, frame: Frame, depth: int) -> None:
        """A loop ended, by itself or by a break. What is raised here would be lost, so nothing is."""
        if self.closed:
            return  # an error closed the run first
        del self.frames[depth + 1 :]
        if frame.index >= 0:
            self.end_round(frame)
        del self.frames[depth:]
        if not depth:
            self.progress.close()

    def key(self) -> Key:
        """The key of the present rounds: of the seed and, from the outermost in, of each loop and its counter."""
        key = seed_key(self.seed)
        for frame in self.frames:
            key = frame.key = frame.key or round_key(key, frame.site, frame.counter)
        return key

    def limit(self) -> None:
        """Cut the run when it has made all its steps. Raises StepLimit."""
        if self.max_steps is None or self.watch.steps < self.max_steps or self.marks.goal:
            return
        self.watch.check()
        self.cut = {name: value for frame in self.frames for name, value in frame.objects.items()}
        raise StepLimit(self.max_steps)

    # ---- telling

    def write(self, values: Row) -> None:
        """A row of the metrics: the counters of the loops under way, then values."""
        self.latest |= values
        self.metrics.write({**{frame.label: frame.counter for frame in self.frames}, **values})

    def done(self, part: float = 0.0) -> float | None:
        """How much of the outermost loop is behind, 0 to 1; None where nobody knows. `part` is that of this round."""
        for frame in reversed(self.frames):
            part = (frame.index + part) / frame.total if frame.total else 0.0
        return min(part, 1.0) if self.frames and self.frames[0].total else None

    def place_in(self, frame: Frame) -> str:
        if frame.total is None:
            return f"{frame.label} {frame.index + 1}"
        return f"{frame.label} {min(frame.index + 1, frame.total)}/{frame.total}"

    def refresh(self) -> None:
        """Show how far it is, if it has not been shown just now."""
        now = time.monotonic()
        if now - self.looked < REFRESH or not self.frames or self.marks.goal:
            return
        self.looked = now
        outer = self.frames[0]
        self.progress.update(outer.label, self.place_in(outer), self.done(), {**self.watch.glance(), **self.latest})

    # ---- saving

    def save(self) -> None:
        self.metrics.sync()  # rows that a checkpoint counts are on the disk before it
        self.marks.write()

    def close(self, complete: bool) -> None:
        """The end, also an early one: what is marked is saved. Raises LEE724 if a resumed run never found its place."""
        goal, self.closed = self.marks.goal, True
        try:
            self.save()
            if complete:
                self.watch.check()
        finally:
            self.progress.close()
            self.metrics.close()
        if goal and complete:
            raise faults.lost_place(goal.path[-1])


def register(folder: Path, procedure: str, options: Options) -> int:
    """Start a run in a folder, or find the one to resume there; the seed of it."""
    path = folder / "run.json"
    now: dict[str, Any] = {"procedure": procedure, "spec": options.spec, "dtype": options.dtype}
    if not options.resume:
        if path.exists():
            raise faults.folder_in_use(folder)
        folder.mkdir(parents=True, exist_ok=True)
        facts = {**now, "seed": options.seed or 0, "backend": options.backend, "device": options.device}
        facts["arguments"] = {
            k: v if isinstance(v, int | float | str | tuple | None) else f"a {type(v).__name__}"
            for k, v in options.arguments.items()
        }
        facts["versions"] = {"python": platform.python_version(), "numpy": np.__version__}
        write_whole(path, json.dumps(facts, indent=1, ensure_ascii=False).encode())
        return options.seed or 0
    if not path.exists():
        raise faults.nothing_to_resume(folder)
    before = json.loads(path.read_text(encoding="utf-8"))
    if options.seed is not None:
        now["seed"] = options.seed
    for what, value in now.items():
        if before[what] != value:
            raise faults.other_run(what, before[what], value)
    return before["seed"]
