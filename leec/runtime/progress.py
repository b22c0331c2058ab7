"""How far a run is, on standard error: a bar on a terminal, a line for each outer round elsewhere, or nothing.

Labels such as `loss[2]` are shown as they are; nothing is ever read as markup. rich is imported for a bar only.
"""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

Values = Mapping[str, float | int | bool]
QUIET = 10.0  # seconds without a line after which even an unremarkable round gets one


class Progress(Protocol):
    """What a run tells: `place` is "epoch 3/200", `done` the part of the whole loop that is behind, if known."""

    def update(self, loop: str, place: str, done: float | None, values: Values) -> None:
        """Something moved within a round."""

    def round(self, loop: str, place: str, done: float | None, values: Values, notable: bool) -> None:
        """An outer round ended; it is notable if it reported something or made several steps."""

    def note(self, values: Values) -> None:
        """Something was reported outside of every loop."""

    def close(self) -> None:
        """The loop ended, or the run; there may be another."""


def progress(style: str = "auto", stream: TextIO | None = None) -> Progress:
    """ "bar", "plain", "none", or "auto": a bar on a terminal, lines elsewhere."""
    stream = stream or sys.stderr
    if style == "auto":
        style = "bar" if stream.isatty() else "plain"
    return {"bar": Bar, "plain": Lines, "none": Silent}[style](stream)


def shown(values: Values) -> str:
    """The values as a person reads them: "loss 0.6931  accuracy 0.9711"."""
    return "  ".join(f"{label} {v}" if isinstance(v, int) else f"{label} {v:.4g}" for label, v in values.items())


class Silent:
    """Tells nothing."""

    def __init__(self, stream: TextIO):
        pass

    def update(self, loop: str, place: str, done: float | None, values: Values) -> None:
        pass

    def round(self, loop: str, place: str, done: float | None, values: Values, notable: bool) -> None:
        pass

    def note(self, values: Values) -> None:
        pass

    def close(self) -> None:
        pass


class Lines(Silent):
    """A line for each notable outer round, for files and logs."""

    def __init__(self, stream: TextIO):
        self.stream, self.last = stream, time.monotonic()

    def round(self, loop: str, place: str, done: float | None, values: Values, notable: bool) -> None:
        if notable or time.monotonic() - self.last > QUIET:
            self.line(f"{place}  {shown(values)}")

    def note(self, values: Values) -> None:
        self.line(shown(values))

    def line(self, text: str) -> None:
        self.stream.write(text.rstrip() + "\n")
        self.stream.flush()
        self.last = time.monotonic()


class Bar(Silent):
    """A bar for each outermost loop, with the time left and the latest values."""

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.display: RichProgress | None = None
        self.tasks: dict[str, Any] = {}

    def update(self, loop: str, place: str, done: float | None, values: Values) -> None:
        display = self.start()
        if loop not in self.tasks:
            self.tasks[loop] = display.add_task(place, total=None if done is None else 1.0, values="")
        display.update(self.tasks[loop], completed=done or 0.0, description=place, values=shown(values))

    def round(self, loop: str, place: str, done: float | None, values: Values, notable: bool) -> None:
        self.update(loop, place, done, values)

    def note(self, values: Values) -> None:
        from rich.text import Text

        console(self.stream).print(Text(shown(values)))

    def close(self) -> None:
        if self.display:
            self.display.stop()
            atexit.unregister(self.close)
        self.display, self.tasks = None, {}

    def start(self) -> RichProgress:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        if self.display is None:
            place = TextColumn("{task.description}", markup=False)
            values = TextColumn("{task.fields[values]}", markup=False)
            self.display = Progress(place, BarColumn(24), TimeRemainingColumn(), values, console=console(self.stream))
            self.display.start()
            atexit.register(self.close)  # after an error nobody else gives the terminal its cursor back
        return self.display


def console(stream: TextIO) -> Any:
    from rich.console import Console

    return Console(file=stream, markup=False, highlight=False)
