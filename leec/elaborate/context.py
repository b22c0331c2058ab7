"""The state of one elaboration: a Session for the whole spec, a Context for the function being built.

A Context owns the builder that writes equations, the names in scope, the rigid dims, and what was learned on
the way: facts, checks for entry, whether `training` was read. Two signals restart a function with better knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, count

from leec.diagnostics import Diagnostic, LeeError, Span
from leec.dims import Dim, Facts
from leec.elaborate.modules import Library, SpecModule
from leec.elaborate.values import Instance, Origin, Place
from leec.ir.build import Builder
from leec.ir.graph import Check, Equation, Function, Program, Value
from leec.types import TensorType


class NeedStructural(Exception):
    """A shape integer chooses code here: elaborate again with its number (R13)."""

    def __init__(self, symbol: str, span: Span):
        super().__init__(symbol)
        self.symbol, self.span = symbol, span


class WrittenOut(Exception):
    """What a round does depends on its number in ways that must be known when compiling: no recurrence (R14)."""

    def __init__(self, symbol: str):
        super().__init__(symbol)
        self.symbol = symbol


class Restart(Exception):
    """A class that is in use already needs a number for one of its sizes: the whole spec is elaborated again."""


class Unify(Exception):
    """Two rigid dims must agree and only a run can tell: elaborate again with one name for both, and check at entry."""

    def __init__(self, symbol: str, dim: Dim, span: Span | None):
        super().__init__(f"{symbol} = {dim}")
        self.symbol, self.dim, self.span = symbol, dim, span


@dataclass
class Session:
    """What all functions of a compilation share: specialisations by key, classes, and the diagnostics so far."""

    library: Library
    functions: dict[str, Function] = field(default_factory=dict)
    memo: dict[tuple, object] = field(default_factory=dict)
    endless: dict[str, Diagnostic] = field(default_factory=dict)  # recursion, told once of a function or model
    failed: dict[tuple, LeeError] = field(default_factory=dict)  # specialisations with mistakes
    structural: dict[tuple, set[str]] = field(default_factory=dict)
    models: dict[str, object] = field(default_factory=dict)
    optimizers: dict[str, object] = field(default_factory=dict)
    active: dict[tuple, str] = field(default_factory=dict)
    reserved_names: set[str] = field(default_factory=set)  # of classes that are being made
    examples: dict[str, str] = field(default_factory=dict)
    requirements: dict[str, object] = field(default_factory=dict)  # of examples, by name
    procedures: dict[str, object] = field(default_factory=dict)
    calls: list[tuple[str, Span]] = field(default_factory=list)  # under way: what is called, and where
    duties: dict[str, tuple[Check, ...]] = field(default_factory=dict)  # of functions and of all that they call
    diagnostics: list[Diagnostic] = field(default_factory=list)
    learned: dict[tuple, object] = field(default_factory=dict)  # of variables of procedures, from later statements
    given: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # arguments that choose code, by procedure

    def report(self, error: LeeError) -> None:
        """Keep the diagnostics of an error, each once."""
        from leec.elaborate.callers import anchored

        found = [anchored(self, d) for d in error.diagnostics]
        seen = {(d.code, d.span.start, d.span.source.path) for d in self.diagnostics}
        self.diagnostics += [d for d in found if (d.code, d.span.start, d.span.source.path) not in seen]

    def unique(self, name: str, taken: Mapping[str, object]) -> str:
        return next(n for n in chain((name,), (f"{name}_{k}" for k in count(2))) if n not in taken)

    @property
    def program(self) -> Program:
        return Program(self.functions)


@dataclass
class Indices:
    """The index variables of an entry definition, outermost first, with their ranges; R1-R5."""

    ranges: dict[str, Dim] = field(default_factory=dict)
    guarded: bool = False
    shadowed: set[str] = field(default_factory=set)


class Context:
    """One function while it is elaborated."""

    def __init__(self, session: Session, home: SpecModule, role: str, training: bool = False):
        self.session, self.home, self.role, self.training = session, home, role, training
        self.builder = Builder()
        self.names: dict[str, object] = {}
        self.ended: set[str] = set()  # names that ended with a loop
        self.dims: dict[str, Dim] = {}
        self.origins: dict[str, Origin] = {}
        self.facts = Facts()
        self.checks: list[Check] = []
        self.root = self  # whose key and flags the contexts of bodies elaborated in place share
        self._key: Value | None = None
        self.site: str | None = None
        self.sites: dict[str, int] = {}
        self._reads_training = False
        self.indices: Indices | None = None
        self.rigid: set[str] = set()  # symbols of this function's own parameters, which a restart may equate
        self.declared: set[str] = set()  # symbols that the spec names itself: they are equal only if it says so
        self.equated: dict[str, Dim] = {}  # what restarts have found equal to a symbol
        self.restarts = True  # what is found too late is known from the start the next time; runs are written once
        self.reserved: set[str] = set()  # symbols of the model's hyperparameters
        self.missing: Callable[[str], object] | None = None  # how a run of a procedure captures host variables
        self.owner: str | None = None
        self.made: dict[str, Value] = {}  # the tensors of a model under construction, by path
        self.storable: set[str] = set()  # names that `<-` may change here
        self.guard: object = None  # the condition under which the branch being read is taken
        self.begun = 0  # how many equations there were when the statement began
        self.drawn: set[Value] = set()  # what `~` statements of this function drew
        self.inherited: list[Check] = []  # of callees, over the sizes of this function: what its callers must meet
        self.requirements: list[tuple[Value, Span]] = []  # conditions that only a run can test
        self.pinned: Span | None = None  # where everything stands that is elaborated in the place of a library's name
        self.within: str | None = None  # what is elaborated in place here, and has names of its own
        self.title = role  # what functions that are made of a part of this one are named after
        self.loops: list = []  # the recurrences (elaborate/rounds.py) that stand around, outermost first
        self.conditional = False  # whether a run-time condition decides that this is reached
        self.made_functions: list[str] = []  # of rounds of recurrences

    @property
    def key(self) -> Value | None:
        return self.root._key

    @property
    def reads_training(self) -> bool:
        return self.root._reads_training

    @reads_training.setter
    def reads_training(self, value: bool) -> None:
        self.root._reads_training = value

    def child(self, home: SpecModule | None = None) -> Context:
        """The same function with names of its own: for bodies that are elaborated in place."""
        other = Context.__new__(Context)
        other.__dict__ = {**self.__dict__, "names": dict(self.names), "dims": dict(self.dims)}
        other.home = home or self.home
        return other

    @contextmanager
    def at(self, span: Span):
        """Equations written inside carry this span."""
        before, self.builder.span = self.builder.span, self.pinned or span
        try:
            yield
        finally:
            self.builder.span = before

    @contextmanager
    def flag(self, training: bool):
        before, self.training = self.training, training
        try:
            yield
        finally:
            self.training = before

    @contextmanager
    def on_condition(self, conditional: bool = True):
        """In a loop of its own nothing depends on what decides that the loop is reached: then false."""
        before, self.conditional = self.conditional, conditional
        try:
            yield
        finally:
            self.conditional = before

    # ---- rounds of recurrences, which are elaborated until it is known what they carry

    def fresh_symbol(self, name: str) -> str:
        """A size that nothing is called: the position of a loop."""
        taken = (
            {loop.symbol for loop in self.loops}
            | self.rigid
            | self.reserved
            | {s for d in self.dims.values() for s in d.symbols}
        )
        symbol, number = name, 2
        while symbol in taken:
            symbol, number = f"{name}_{number}", number + 1
        return symbol

    def snapshot(self) -> tuple:
        builder = self.builder
        written = list(builder.equations), set(builder.names), dict(builder.numbers)
        return (
            written,
            dict(self.sites),
            list(self.checks),
            self.facts,
            set(self.drawn),
            list(self.requirements),
            list(self.made_functions),
        )

    def restore(self, state: tuple) -> None:
        """Take back what was elaborated since the snapshot."""
        (equations, names, numbers), sites, checks, self.facts, drawn, requirements, functions = state
        self.builder.equations[:], self.builder.names, self.builder.numbers = equations, names, numbers
        self.sites, self.checks[:], self.drawn, self.requirements[:] = sites, checks, drawn, requirements
        self.forget_functions(functions)

    def forget_functions(self, kept: Collection[str] = ()) -> None:
        for name in [n for n in self.made_functions if n not in kept]:
            self.session.functions.pop(name, None)
        self.made_functions[:] = kept

    @contextmanager
    def drawing_at(self, site: str):
        """Draws and constructors inside fold this site into the key (R24)."""
        before, self.site = self.site, site
        try:
            yield
        finally:
            self.site = before

    # ---- draws

    def need_key(self) -> Value:
        """The key of this function's draws; asking for it makes it a parameter (decision 21)."""
        if self.root._key is None:
            self.root._key = Value(self.builder.unique("key"), TensorType("key", (), True), None, True)
        return self.root._key

    def draw_key(self, site: str, span: Span) -> Value:
        """The key of one draw: folded with the name of what is drawn and its ordinal among equal names here."""
        site = self.site or site
        self.sites[site] = self.sites.get(site, 0) + 1
        ordinal = self.sites[site]
        with self.at(span):
            key = self.builder.fold_key(self.need_key(), site=site if ordinal == 1 else f"{site}#{ordinal}", hint="key")
            for loop in self.loops:
                key = self.builder.fold_count(key, Dim.of(loop.symbol), hint="key")
            return key

    @property
    def last_made(self) -> Equation | None:
        """The last equation, if this statement wrote it: what older ones give may be known under its name elsewhere."""
        return self.builder.equations[-1] if len(self.builder.equations) > self.begun else None

    def rename_results(self, values: tuple[Value, ...], hints: list[str], whole: bool = False) -> tuple[Value, ...]:
        """The results of the last equation under better names; only the last part of a path unless `whole`."""
        if not values:
            return values
        last = self.builder.equations[-1]
        self.builder.names -= {v.name for v in values}
        better = tuple(
            Value(self.builder.unique(h if whole else h.rpartition(".")[2]), v.type, v.span)
            for v, h in zip(values, hints)
        )
        self.builder.equations[-1] = replace(last, results=better)
        return better

    # ---- dims

    def equal(self, left: Dim, right: Dim) -> bool | None:
        return self.facts.equal(left, right)

    def agree(self, left: Dim, right: Dim, span: Span | None) -> bool:
        """Are the dims equal? What only sizes can decide becomes a check at entry, by a restart (decision 5)."""
        decided = self.equal(left, right)
        if decided is not None:
            return decided
        if any(loop.symbol in left.symbols | right.symbols for loop in self.loops):
            return False  # no size of one round is that of all
        if {left.symbol, right.symbol} <= self.declared:
            return False  # two sizes with names of their own: for all sizes means also for different ones
        for symbol, other in ((right.symbol, left), (left.symbol, right)):
            if self.restarts and symbol in self.rigid and symbol not in other.symbols:
                raise Unify(symbol, other, span)
        self.checks.append(Check(left, right, f"{left} must equal {right}", span))
        self.facts = self.facts.with_equal(left, right)
        return True

    # ---- model values

    def write_back(self, place: Place | None, leaves: Mapping[str, Value]) -> None:
        """New tensors for some leaves of the variable at a place; a computed model keeps its changes to itself."""
        if place is None or not isinstance(self.names.get(place.root), Instance):
            return
        root: Instance = self.names[place.root]
        prefix = f"{place.path}." if place.path else ""
        changed = {prefix + path: value for path, value in leaves.items()}
        self.names[place.root] = root.with_leaves({**root.leaves, **changed})
