"""Run: what a generated `train` procedure asks of its surroundings: data, keys, loops, reports, and going on later.

    def fit(epochs=200, batch=64, rate=0.1, *, run=None):
        run = run or Run("fit")
        data = run.data("diabetes", standardize=True, test=0.2, fields={"x": ("float", ("n", 10)), "y": ("float", ("n",))})
        net = Linear(data.train.x.shape[1], key=run.key("net"))
        opt = GradientDescent(lr=rate)
        best, lowest = run.restore("epoch", best=net.copy(), lowest=inf)
        for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
            for x, y in run.batches("epoch.batches", data.train, batch, shuffle=True):
                run.step(fit_step(net, opt, x, y))
            run.report(rmse=rmse(net(data.test.x), data.test.y))
            ...
            run.keep("epoch", best=best, lowest=lowest)
        return net

Sites ("net", "epoch") are unique in their procedure. A loop lists what it changes: models and optimizers as arguments
of `loop` or `each`, names it binds anew by `restore` before and `keep` as the last statement of the body
(`restore(site)` alone says that there is nothing to list). The heads of the entry procedure's loops that list, where
the loops around them do too, are the places to resume at; resume.py says how. Objects listed must not be shared.

Whoever starts a run with a folder or a device uses it as a context, `with Run("fit", folder="runs/fit") as run: fit(run=run)`:
the end, an error and Ctrl-C then save what is marked, and KeyboardInterrupt goes on to the caller. With `max_steps`
the run is cut after as many steps: the context ends there, and `run.session.cut` has what the loops changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from leec.runtime import data, faults, records, sources
from leec.runtime.backend import Array, copy, is_array, to_numpy
from leec.runtime.data import Batches, Declared, Source, Split
from leec.runtime.draws_numpy import Key, fold
from leec.runtime.environments import Declared as Space
from leec.runtime.environments import Environment
from leec.runtime.metrics import Number
from leec.runtime.philox import site_word
from leec.runtime.session import Frame, Options, Session, StepLimit


class Procedure:
    """A procedure under way: the entry of a run, or one that it calls, whose sites and labels carry its name."""

    def __init__(self, session: Session, site: str, label: str = "", entry: bool = False):
        self.session, self.site, self.label, self.entry = session, site, label, entry
        self.reported: dict[str, Number] = {}  # outside of its loops

    # ---- draws

    def key(self, site: str) -> Key:
        """The key of a draw at a site, in the present rounds of all loops around it: of nothing else (R24)."""
        return fold(self.session.key(), site_word(f"{self.site}/{site}"))

    # ---- data

    def data(self, name: str, *place: Any, fields: Declared | None = None, **options: Any) -> Source:
        """A source by name, checked against declared fields, on the back end of the run. sources.py has the names."""
        return self.accept(name, sources.load(name, *place, **options), fields)

    def accept(self, name: str, given: Any, fields: Declared | None = None) -> Source:
        """Data that a caller passed for a parameter: a Source, a Split, arrays by field or in the order of the fields,
        such by split, or the name of a file or of a source.

        Floats get the width of the run. Raises LEE705 to LEE707 where it is not as declared, LEE713 for no data.
        """
        source = as_source(name, given, tuple(fields or ())).map(lambda field, array: to_numpy(array))
        if fields:
            source = data.check_fields(source, fields)
        return data.place(source, self.session.place, fields or {})

    def batches(
        self, site: str, part: Split | tuple[Array, ...], size: int, shuffle: bool = False, drop_last: bool = False
    ) -> Iterator[Any]:
        """A loop over the rows in batches, in an order of its own in every round of the loops around it."""
        return self.each(site, self.stream(site, part, size, shuffle, drop_last))

    def stream(
        self, site: str, part: Split | tuple[Array, ...], size: int, shuffle: bool = False, drop_last: bool = False
    ) -> Batches:
        """The same batches, not yet a loop: for `run.each(site, zip(run.stream(..), run.stream(..)), net=net)`."""
        return data.batches(part, size, shuffle, drop_last, self.key(site) if shuffle else None)

    def sample(self, site: str, part: Split, batch: int) -> Any:
        """Different rows at random."""
        return part.sample(batch, self.key(site))

    def split(self, site: str, part: Split, fraction: float) -> tuple[Split, Split]:
        """Two splits at random, the second with this fraction of the rows."""
        return data.split(part, fraction, self.key(site))

    def folds(self, site: str, part: Split, k: int, shuffle: bool = False) -> list[tuple[Split, Split]]:
        """k pairs (train, valid) for cross-validation."""
        return data.folds(part, k, shuffle, self.key(site) if shuffle else None)

    # ---- lists and environments

    def stack(self, items: Sequence[Any]) -> Any:
        """A list of equal things as arrays over a new first axis; records become a record of arrays."""
        return records.stack(items, self.session.place)

    def copy(self, array: Array) -> Array:
        """The values as they are now."""
        return copy(array)

    def record(self, **values: Any) -> records.Record:
        return records.Record(**values)

    def environment(self, name: str, observation: Space, action: Space) -> Environment:
        """An environment of gymnasium, held against the declared fields; one for the whole run."""
        opened = self.session.environments
        if name not in opened:
            opened[name] = Environment(name, self.session.place, observation, action)
        return opened[name]

    # ---- loops

    def again(self, site: str, condition: bool = True) -> bool:
        """Whether a `while` goes on; its rounds are counted, as draws in them differ."""
        return self.session.again(f"{self.site}/{site}", self.label + site, bool(condition))

    def leave(self, site: str) -> None:
        """A `while` ended by a break."""
        self.again(site, False)

    def loop(self, site: str, first: int, last: int | None, /, **objects: Any) -> Iterator[int]:
        """The counter from first to last, both included, or without end; `objects` are what the loop changes."""
        items = count(first) if last is None else range(first, last + 1)
        return self.rounds(site, items, len(items) if isinstance(items, range) else None, first, objects)

    def each(self, site: str, items: Iterable[Any], /, **objects: Any) -> Iterator[Any]:
        """The items one after the other, counted from 0."""
        return self.rounds(site, items, len(items) if isinstance(items, Sized) else None, 0, objects)

    def rounds(
        self, site: str, items: Iterable[Any], total: int | None, first: int, objects: Mapping[str, Any]
    ) -> Iterator[Any]:
        frame = Frame(f"{self.site}/{site}", self.label + site, total, first, objects)
        return self.session.rounds(frame, items, self.entry)

    def restore(self, site: str, /, **values: Any) -> tuple[Any, ...]:
        """The values with which a loop that is about to begin goes on: those kept in a resumed run, or these."""
        if not self.entry:
            return tuple(values.values())
        path = self.session.path(f"{self.site}/{site}")
        values = self.session.marks.restored(path, values)
        self.session.kept[path] = values
        return tuple(values.values())

    def keep(self, site: str, /, **values: Any) -> None:
        """The values with which the next round begins; the last statement of a loop's body."""
        for frame in reversed(self.session.frames):
            if frame.site == f"{self.site}/{site}":
                frame.kept = values
                return
        raise LookupError(f"no loop {site} is under way")

    def call(self, site: str) -> Procedure:
        """For a procedure called here: its loops are no places to resume, its sites and labels begin with this one."""
        return Procedure(self.session, f"{self.site}/{site}", f"{self.label}{site}.")

    # ---- telling

    def step(self, loss: Array, label: str = "loss") -> None:
        """A step was made, with this loss: it goes into the mean, and a NaN stops the run. Raises LEE703, StepLimit."""
        self.session.watch.step(self.label + label, loss)
        self.session.refresh()
        self.session.limit()

    def report(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Numbers by label; labels with keys, "loss[2]", come in a mapping. Raises LEE710 and LEE711."""
        frame = self.session.frames[-1] if self.session.frames else None
        own = frame is not None and frame.site.rpartition("/")[0] == self.site
        row = frame.row if frame and own else self.reported
        new = {self.label + label: number(label, value) for label, value in {**(values or {}), **named}.items()}
        if twice := new.keys() & row.keys():
            raise faults.reported_twice(min(twice), frame.label if frame and own else None)
        row |= new
        if not own and not self.session.marks.goal:
            self.session.write(new)
            if not frame:
                self.session.progress.note(new)


class Run(Procedure):
    """The run of an entry procedure; session.Options lists what it takes."""

    def __init__(self, procedure: str, **options: Any):
        super().__init__(Session(procedure, Options(**options)), procedure, entry=True)

    @property
    def history(self) -> list[dict[str, Number]]:
        """The rows reported so far."""
        return self.session.metrics.rows

    def __enter__(self) -> Run:
        self.home = self.session.place.at_home()
        self.home.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.home.__exit__(kind, error, trace)
        self.session.close(complete=kind is None)
        return kind is StepLimit


def number(label: str, value: Any) -> Number:
    """A reported value as a number of the host. Raises LEE711 for an array of rank 1 or more."""
    if not is_array(value):
        return value if isinstance(value, bool | int) else float(value)
    if value.ndim:
        raise faults.not_a_scalar(label, tuple(value.shape))
    return to_numpy(value).item()


def as_source(name: str, given: Any, fields: tuple[str, ...]) -> Source:
    if isinstance(given, Source):
        return given
    if isinstance(given, str | Path):
        return sources.named(name, str(given), fields)
    if isinstance(given, tuple | list) and len(given) == len(fields):
        given = dict(zip(fields, given, strict=True))
    if isinstance(given, Split):
        return Source({"train": given}, name=name)
    if isinstance(given, Mapping) and given and all(isinstance(part, Mapping | Split) for part in given.values()):
        parts = {k: p if isinstance(p, Split) else Split(hosted(name, p), f"{name}.{k}") for k, p in given.items()}
        return Source(parts, name=name)
    if isinstance(given, Mapping):
        return Source({"train": Split(hosted(name, given), name)}, name=name)
    raise faults.no_data(name, given, fields, sources.BUNDLED)


def hosted(name: str, fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays on the host. Raises LEE705 for rows of different lengths, LEE707 for a number without rows."""
    found = {}
    for field, array in fields.items():
        try:
            found[field] = to_numpy(array)
        except ValueError:
            raise faults.field_mismatch(name, field, "an array", "rows of different shapes") from None
        if not found[field].ndim:
            raise faults.wrong_rows(f"field `{field}` of `{name}` is a single value and has no rows")
    return found
