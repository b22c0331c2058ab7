"""Recording: a procedure of a generated file run for some steps, with all that is needed to run its steps again.

Of the NumPy file every call of a function that changes models or optimizers is kept with its inputs as they were;
of both files the losses, what each update was given as gradient, the rows that were reported, and the objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from leec.ir.graph import Function, Parameter, Value
from leec.proof.emitted import Emitted, changing, copied, grouped, optimizers, step_names, stepping, to_array
from leec.proof.standin import Drawn, StandIn
from leec.runtime.environments import Environment
from leec.runtime.run import Run
from leec.runtime.session import StepLimit


@dataclass
class Call:
    """A call of a function that changes something: `values` are its inputs, flat, copied before."""

    f: Function
    objects: dict[str, Any]  # models and optimizers by parameter
    values: list[Any]
    sizes: dict[str, int]
    gradients: list[np.ndarray] = field(default_factory=list)  # what each update was given, as a vector


@dataclass
class Recording:
    """What a run did, in order."""

    calls: list[Call] = field(default_factory=list)
    losses: list[tuple[str, float]] = field(default_factory=list)
    gradients: list[np.ndarray | None] = field(default_factory=list)  # None: another update of the step has its place
    objects: dict[str, Any] = field(default_factory=dict)  # by variable, in order of appearance
    initial: dict[str, dict[str, Any]] = field(default_factory=dict)  # their tensors at the first loop with them
    rows: list[dict[str, float]] = field(default_factory=list)  # reported
    counters: set[str] = field(default_factory=set)  # the columns of the rows that loops fill
    returned: Any = None
    limit: int | None = None  # of steps: an update along a given direction has no loss that a run could count
    change: Callable[[Any], Any] | None = None  # of the arrays that objects begin with, and of data
    begun: int = 0
    changes: Counter[str] = field(default_factory=Counter)  # by function

    def begin_step(self) -> None:
        """Another step is about to be made. Raises StepLimit when there were enough."""
        self.begun += self.within(self.begun)

    def begin_change(self, function: str) -> None:
        """A function that is no step is about to change a model: it may do so as often as there may be steps."""
        self.changes[function] += self.within(self.changes[function])

    @property
    def steps(self) -> int:
        """How many of either there were."""
        return max(len(self.losses), self.begun, *self.changes.values(), 0)

    def within(self, count: int) -> int:
        if self.limit is not None and count >= self.limit:
            raise StepLimit(self.limit)
        return 1

    def meet(self, name: str, found: Any) -> str | None:
        """The name of an object that comes by: what it is called already, or this one if nothing else is."""
        known = next((n for n, other in self.objects.items() if other is found), None)
        while known is None and name in self.objects:
            name += "'"
        if hasattr(found, "tensors") and not isinstance(found, Environment):
            self.objects.setdefault(known or name, found)
        return known or (name if name in self.objects else None)

    def begin_with(self, name: str, found: Any) -> None:
        """Keep what an object has at the first loop with it."""
        self.initial[name] = state_of(found)
        if self.change is not None:
            found.load_tensors({path: self.change(x) for path, x in self.initial[name].items()})

    def run(self, call: Call, run: Callable[[], Any]) -> Any:
        """Keep a call, with what its updates are given."""
        self.calls.append(call)
        for name, found in call.objects.items():
            self.meet(name, found)
        count = len(self.gradients)
        returned = run()
        call.gradients = self.gradients[count:]
        return returned

    def final(self) -> dict[str, Any]:
        """Every tensor of every object as it is now, by `net.w`."""
        return {f"{n}.{path}": x for n, found in self.objects.items() for path, x in state_of(found).items()}


def state_of(found: Any) -> dict[str, Any]:
    """Copies of an object's tensors, on the host."""
    return {path: np.array(to_array(x)) for path, x in found.tensors().items()}


def record(
    emitted: Emitted,
    procedure: str,
    steps: int,
    seed: int = 0,
    device: str = "cpu",
    arguments: Mapping[str, Any] | None = None,
    change: Callable[[Any], Any] | None = None,
) -> Recording:
    """Run a procedure until it has made so many steps, or ends."""
    recording = Recording(limit=steps, change=change)
    options = {"backend": emitted.backend, "dtype": emitted.spec.options.dtype, "device": device}
    with ExitStack() as stack:
        stack.enter_context(listening(emitted, recording))
        run = stack.enter_context(Run(procedure, seed=seed, max_steps=steps, progress="none", **options))
        listen(run, recording)
        entry = getattr(emitted.module, emitted.unit.function_name(procedure))
        recording.returned = entry(**(arguments or {}), run=run)
    recording.rows = [{k: x for k, x in row.items() if k not in recording.counters} for row in run.history]
    return recording


def listen(run: Run, recording: Recording) -> None:
    """Losses and objects, as they pass through a run; what stands in for data becomes data."""
    session = run.session
    step, rounds, accept = session.watch.step, session.rounds, run.accept

    def accepted(name: str, given: Any, fields: Any = None) -> Any:
        drawn = isinstance(given, StandIn)
        found = accept(name, given.of(name, fields) if drawn else given, fields)
        found = found if recording.change is None else found.map(lambda _, array: recording.change(array))
        return Drawn.of(found) if drawn else found

    run.accept = accepted  # type: ignore[method-assign]

    def heard(label: str, loss: Any) -> None:
        recording.losses.append((label, float(loss)))
        step(label, loss)

    def met(frame: Any, *rest: Any) -> Any:
        recording.counters.add(frame.label)
        for name, found in frame.objects.items():
            known = recording.meet(name, found)
            if known is not None and known not in recording.initial:
                recording.begin_with(known, found)
        return rounds(frame, *rest)

    session.watch.step, session.rounds = heard, met


# ---- what passes through the functions of a file


@contextmanager
def listening(emitted: Emitted, recording: Recording) -> Iterator[None]:
    """Calls and gradients go into the recording while the context lasts."""
    if emitted.backend == "torch":
        places = [(emitted.module, name, counted(f, recording)) for name, f in changing(emitted).items()]
        places += [(emitted.step(f), "__call__", partial(after_step, recording)) for f in stepping(emitted)]
    else:
        places = [(emitted.module, name, heard_call(emitted, f, recording)) for name, f in changing(emitted).items()]
        places += [(kind, "update", partial(before_update, recording)) for kind in optimizers(emitted)]
        places += [(emitted.step(f), "__call__", heard_step(emitted, f, recording)) for f in stepping(emitted)]
    with patched(places):
        yield


Place = tuple[Any, str, Callable[[Callable], Callable]]


@contextmanager
def patched(places: list[Place]) -> Iterator[None]:
    """Attributes of modules and classes with a listener around them, and as they were afterwards."""
    before = [(place, name, vars(place).get(name)) for place, name, _ in places]
    for place, name, listener in places:
        setattr(place, name, listener(getattr(place, name)))
    try:
        yield
    finally:
        for place, name, own in before:
            if own is None:
                delattr(place, name)
            else:
                setattr(place, name, own)


def heard_call(emitted: Emitted, f: Function, recording: Recording) -> Callable[[Callable], Callable]:
    is_step = f.name in step_names(emitted)

    def listener(original: Callable) -> Callable:
        def heard(*args: Any, **options: Any) -> Any:
            recording.begin_step() if is_step else recording.begin_change(f.name)
            return recording.run(call_of(emitted, f, args, options), lambda: original(*args, **options))

        return heard

    return listener


def counted(f: Function, recording: Recording) -> Callable[[Callable], Callable]:
    def listener(original: Callable) -> Callable:
        def heard(*args: Any, **options: Any) -> Any:
            recording.begin_change(f.name)
            return original(*args, **options)

        return heard

    return listener


def heard_step(emitted: Emitted, f: Function, recording: Recording) -> Callable[[Callable], Callable]:
    """A step of NumPy that is a class; its models and optimizers are its attributes."""

    def listener(original: Callable) -> Callable:
        def heard(step: Any, *batch: Any) -> Any:
            recording.begin_step()
            call = call_of(emitted, f, (*step_objects(emitted, f, step), *batch), {})
            returned = recording.run(call, lambda: original(step, *batch))
            before = len(recording.gradients) - len(call.gradients)
            call.gradients = recording.gradients[before:] = [np.array(g) for g in step.gradient]
            return returned

        return heard

    return listener


def step_objects(emitted: Emitted, f: Function, step: Any) -> list[Any]:
    """The models and optimizers of a step, in the order of the function's parameters."""
    return [getattr(step, emitted.unit.parameter_name(f, p)) for p in emitted.unit.ordered(f) if p.model is not None]


def before_update(recording: Recording, original: Callable) -> Callable:
    def heard(optimizer: Any, theta: Any, g: Any, *rest: Any) -> Any:
        recording.gradients.append(np.array(g))
        return original(optimizer, theta, g, *rest)

    return heard


def after_step(recording: Recording, original: Callable) -> Callable:
    def heard(step: Any, *batch: Any, **options: Any) -> Any:
        recording.begin_step()
        returned = original(step, *batch, **options)
        later = [step.vectors[i + 1 :] for i in range(len(step.vectors))]
        recording.gradients += [
            None if v in rest else np.array(to_array(v.gradient)) for v, rest in zip(step.vectors, later, strict=True)
        ]
        return returned

    return heard


def call_of(emitted: Emitted, f: Function, args: tuple, options: Mapping[str, Any]) -> Call:
    """The inputs of the IR function from Python's arguments."""
    unit = emitted.unit
    shown = [p for p in unit.ordered(f) if p.name not in options and unit.role(f, p) not in ("self", "hyper")]
    given = dict(zip((p.name for p in shown), args, strict=True)) | dict(options)
    objects = {p.name: given[p.name] for p in f.parameters if p.model is not None}
    sizes = {p.static: static(emitted, f, p, given) for p in f.parameters if p.static}
    values = [x for p, names in grouped(f, f.inputs) for x in inputs(emitted, p, names, given)]
    for x, v in zip(values, f.inputs, strict=True):
        if x is not None and not v.type.host:
            sizes |= {d.symbol: n for d, n in zip(v.type.dims, np.shape(x), strict=True) if d.symbol}
    holders = {v: (objects[p.name], path) for p in f.parameters for v, path in zip(p.values, p.paths, strict=False)}
    values = [begun(v, *holders[v], sizes) if x is None else copied(x) for x, v in zip(values, f.inputs, strict=True)]
    return Call(f, objects, values, sizes)


def static(emitted: Emitted, f: Function, p: Parameter, given: Mapping[str, Any]) -> int:
    """A size, given as a number or held by an object."""
    holder = None if p.name in given else emitted.unit.holder(f, p.static)
    if holder is None:
        return given[p.name]
    return emitted.read(given[holder.name], emitted.unit.hypers(holder.model)[p.static.rpartition(".")[2]])


def inputs(emitted: Emitted, p: Parameter, names: list[Value], given: Mapping[str, Any]) -> list[Any]:
    """The values of one parameter; None for a state that its optimizer has not made yet."""
    if p.model is None:
        return [given[p.name]] * len(names)
    holder = given[p.name]
    if p.model in emitted.spec.optimised.models:
        return [emitted.read(holder, path) for path in p.paths]
    count = holder.t + 1  # rules are told the update that they make
    present = {**vars(holder), **vars(holder).get("rates", {}), **holder.tensors(), "t": count}
    found = [present.get(path) for path in p.paths]
    return [x(count) if callable(x) else x for x in found]  # a schedule at this count


def begun(v: Value, optimizer: Any, path: str, sizes: Mapping[str, int]) -> np.ndarray:
    """A state of an optimizer before its first update."""
    return np.full(tuple(d.evaluate(sizes) for d in v.type.dims), optimizer.starts[path])
