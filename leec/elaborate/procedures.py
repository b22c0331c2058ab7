"""Procedures: the statements of a `train`, each sent to the host or into the run that is open (decisions 3, 22, 34)."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass

from leec.diagnostics import LeeError, Span, procedures, structure
from leec.elaborate import hostvalues as hv
from leec.elaborate.binding import bound_names
from leec.elaborate.context import Context, NeedStructural, Restart, Session
from leec.elaborate.descriptions import is_wider, joined, variable, widened
from leec.elaborate.handed import handed_on
from leec.elaborate.look import changed_names, minimised_names, read_first, read_inside
from leec.elaborate.modules import SpecModule
from leec.elaborate.places import prepared, stored_into
from leec.elaborate.points import keep
from leec.elaborate.runs import Run
from leec.elaborate.structural import restart_for_procedure
from leec.elaborate.values import POISON
from leec.ir import host
from leec.syntax import nodes


@dataclass(frozen=True)
class Signature:
    """What a caller needs to know of an elaborated procedure."""

    procedure: host.Procedure
    returned: object


class ProcedureElaborator:
    """The variables and statements of one procedure while it is elaborated."""

    def __init__(self, session: Session, home: SpecModule, declaration: nodes.Function):
        self.session, self.home, self.declaration = session, home, declaration
        self.name = declaration.name.id
        self.variables: dict[str, object] = {}
        self.symbols: dict[str, host.HostExpr] = {}
        self.block: list[host.Statement] = []
        self.open: Run | None = None
        self.later: list[set[str]] = []  # names read after the statement under way, a set for every block around it
        self.labels: dict[str, int] = {}
        self.returned: object = None
        self.environments: dict[str, tuple[host.Environment, hv.HostEnvironment]] = {}
        self.draws: dict[str, int] = {}  # how often each name was drawn
        self.puts = stored_into(declaration.body)  # variables that change in place
        self.wanted: dict[str, Span] = {}  # lists that were read before anything said what is in them
        changed = set().union(*map(changed_names, declaration.body)) if declaration.body else set()
        self.arguments = frozenset(p.name.id for p in declaration.params) - changed  # sizes that stay the same
        self.known = Context(session, home, "host")
        self.known.missing = lambda n: (self.variables[n],) if n in self.variables else None

    # ---- blocks

    def statements(self, body: tuple[nodes.Stmt, ...]) -> tuple[host.Statement, ...]:
        """The host statements of a block; a run that is open at its end is closed."""
        outer, self.block = self.block, []
        for position, statement in enumerate(body):
            self.later.append(read_inside(statement) | read_first(body[position + 1 :]))
            try:
                self.statement(statement)
            except (LeeError, NeedStructural) as error:
                if isinstance(error, NeedStructural):
                    restart_for_procedure(self.session, self.declaration, self.variables, error)
                self.session.report(reported(error))
                self.spoil(statement)
            finally:
                self.later.pop()
        self.later.append(set())
        self.flush()
        self.later.pop()
        made, self.block = self.block, outer
        return tuple(made)

    def spoil(self, statement: nodes.Stmt) -> None:
        """What a statement with a mistake would have bound has no value, nor has what its run gave values to."""
        bound = bound_names(statement)
        if bound and self.open:
            bound |= self.open.assigned.keys()
            self.open = None
        self.variables |= dict.fromkeys(bound, POISON)

    def statement(self, node: nodes.Stmt) -> None:
        node = prepared(self, node)
        from leec.elaborate.hoststatements import STATEMENT

        is_alone = isinstance(node, nodes.Declare) and node.name.id in self.puts
        if is_alone:
            self.flush()
        rule = STATEMENT.get(type(node))
        if rule is None:
            self.in_run(node)
        else:
            rule(self, node)
        if is_alone:
            self.flush()

    def emit(self, statement: host.Statement) -> None:
        self.flush()
        self.block.append(statement)

    def in_run(self, node: nodes.Stmt) -> None:
        """Tensor statements join the run that is open; in one run every optimizer counts one update."""
        if self.open and not updating(node).isdisjoint(self.open.optimizers):
            self.flush()
        self.open = self.open or Run(self)
        self.open.statement(node)

    def flush(self) -> None:
        """Close the open run: what is read later, in this block or around it, becomes host variables."""
        run, self.open = self.open, None
        if run is None:
            return
        wanted = [n for n in run.assigned if any(n in later for later in self.later)]
        objects, renamed = keep(run, self, wanted)
        losses = {f"loss_{i}" if i else "loss": v for i, v in enumerate(run.losses)}
        suffix = "step" if run.is_step else "_".join(wanted) or "run"
        function, results = run.finish(f"{self.name}_{suffix}", wanted, losses)
        if not results and not function.state:
            return
        site = self.name if any(p.name == "key" for p in function.parameters) else None
        self.draws = run.ctx.sites
        self.block += objects
        self.block.append(
            host.Compute(tuple(results), function.name, tuple(run.arguments), site, run.is_step, span=run.span)
        )
        self.block += renamed
        for name, value in handed_on(run, wanted).items():
            self.bind(name, value)

    # ---- variables

    def bind(self, name: str, value: object, known: frozenset[str] | None = None) -> None:
        """A variable; later statements, met before a restart, may have said that it is more than this value."""
        learned = self.session.learned.get((self.name, name))
        self.variables[name] = variable(self, name, widened(self, value, learned) if learned else value, known)

    def learn(self, name: str, value: object) -> object:
        """Something about a variable that holds wherever it is bound."""
        self.session.learned[self.name, name] = value
        return value

    def want(self, name: str, span: Span) -> None:
        self.wanted.setdefault(name, span)

    def keep_kind(self, name: str, old: object, new: object, span: Span) -> None:
        """One kind for what a variable may hold at a place; where that is not that of `old`, everything starts again."""
        if old is POISON or new is POISON or new is None:
            return
        both = joined(self, old, new, span)
        if isinstance(both, hv.HostList):
            self.learn(name, both)
        elif is_wider(self, name, both, old):
            self.learn(name, both)
            raise Restart(name)

    def settle(self) -> None:
        """At the end: lists that were read too early are read again, now that it is known what is in them."""
        for name, span in self.wanted.items():
            if getattr(self.session.learned.get((self.name, name)), "element", None) is not None:
                raise Restart(name)
            if not self.session.diagnostics:  # a mistake may stand where something would have been appended
                self.session.report(LeeError(procedures.never_appended(span, name)))

    # ---- loops

    @contextmanager
    def inside_loop(self, reads: set[str]):
        """What a round reads is also read later: in the next one."""
        self.later.append(reads)
        try:
            yield
        finally:
            self.later.pop()

    def rounds(
        self, node: nodes.For | nodes.While, bound: set[str]
    ) -> tuple[tuple[str, ...], tuple[host.Statement, ...]]:
        """What a loop changes, and its body; a variable keeps its kind from round to round."""
        carried = self.carried(node.body, bound)
        before = {n: self.variables[n] for n in carried}
        with self.inside_loop(read_first(node.body)):
            body = self.statements(node.body)
        for n in carried:
            self.keep_kind(n, before[n], self.variables.get(n), node.span)
        return carried, body

    def fresh_symbol(self, hint: str, source: host.HostExpr) -> str:
        """A size of the procedure, and where a run finds it."""
        symbol = self.session.unique(hint, self.symbols)
        self.symbols[symbol] = source
        return symbol

    def label(self, hint: str) -> str:
        self.labels[hint] = self.labels.get(hint, 0) + 1
        return hint if self.labels[hint] == 1 else f"{hint}_{self.labels[hint]}"

    def carried(self, body: tuple[nodes.Stmt, ...], bound: set[str]) -> tuple[str, ...]:
        """Variables from before the loop that its body changes."""
        models = {n for n, v in self.variables.items() if isinstance(v, hv.HostModel)}
        changed = set().union(*map(changed_names, body)) | models & set().union(*map(minimised_names, body))
        return tuple(sorted(n for n in changed - bound if n in self.variables))


def updating(node: nodes.Stmt) -> set[str]:
    """The optimizers that a statement asks."""
    asked = getattr(node, "optimizers", ()) or (getattr(node, "optimizer", None),)
    return {o.id for o in asked if isinstance(o, nodes.Name)}


def reported(error: LeeError | NeedStructural) -> LeeError:
    if isinstance(error, LeeError):
        return error
    return LeeError(structure.needs_static(error.span, f"`{error.span.text}`, which chooses code,"))


def elaborate_procedure(session: Session, home: SpecModule, item: nodes.Function) -> None:
    """A procedure of the spec for the arguments that its declaration stands for."""
    from leec.elaborate.invocation import declared_arguments, elaborate_body

    declared = declared_arguments(session, home, item, session.given.get(item.name.id, {}))
    if declared is not None:
        elaborate_body(session, home, item, declared)
