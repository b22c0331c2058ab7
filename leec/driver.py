"""The way through the compiler, top to bottom; pure: texts in, texts and diagnostics out.

An observer is called with the name of every stage and what it gave; `show` stops at one of them.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from leec.diagnostics import Diagnostic, LeeError, Source
from leec.elaborate.modules import Library, Loader
from leec.elaborate.spec import elaborate_spec
from leec.ir.graph import Program
from leec.ir.module import Module

EMITTERS = {"numpy": ("reference.py", "emit_reference"), "torch": ("cuda.py", "emit_cuda")}
Observer = Callable[[str, object], None]


@dataclass(frozen=True)
class Options:
    """`level` is 0, 1 or 2, a promise (DESIGN section 2); `recognise` false leaves every composite in its parts.
    `recompute`, of loops whose gradient computes again what it reads instead of keeping it, is auto, always or never.
    """

    level: int = 1
    dtype: str = "f32"
    backend: str = "all"
    recognise: bool = True
    recompute: str = "auto"


@dataclass(frozen=True)
class Outputs:
    """The files by name; none where there is an error."""

    files: Mapping[str, str] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()


def no_files(_: str) -> Source | None:
    """The loader of a spec that stands alone."""
    return None


def elaborate(
    source: Source, loader: Loader = no_files, given: Mapping[str, Mapping[str, object]] = {}
) -> tuple[Module, tuple[Diagnostic, ...]]:
    """Parse and elaborate; `given` are arguments of procedures that choose code, by procedure."""
    library = Library(loader)
    with room():
        module, diagnostics = elaborate_spec(library, library.read(source), given)
        diagnostics = [*diagnostics, *without_gradient(module)]
    return module, one_a_place(diagnostics)


def without_gradient(module: Module) -> tuple[Diagnostic, ...]:
    """Gradients that are asked for through a `while` (R15), which only differentiation finds."""
    equations = [e for f in module.functions.functions.values() for e in f.body]
    if not any(e.op == "scan" and e.params["length"] is None for e in equations):
        return ()
    from leec.passes.differentiate import differentiate

    try:
        differentiate(module.functions)
    except LeeError as error:
        return error.diagnostics
    return ()


@contextmanager
def room() -> Iterator[None]:
    """What compiling needs of Python: a stack for a thousand calls within each other, of which elaborating or
    differentiating one takes some twenty of Python's, and no search for garbage among trees that all stay in use."""
    depth, collecting = sys.getrecursionlimit(), gc.isenabled()
    sys.setrecursionlimit(max(depth, 40_000))
    gc.disable()
    try:
        yield
    finally:
        sys.setrecursionlimit(depth)
        if collecting:
            gc.enable()


def one_a_place(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """At most one report for a place: the first comes from the earliest stage and is nearest to the cause."""
    first: dict[tuple[str, int], Diagnostic] = {}
    for d in diagnostics:
        first.setdefault((d.span.source.path, d.span.start), d)
    return tuple(first.values())


def check(source: Source, loader: Loader = no_files) -> tuple[Diagnostic, ...]:
    """Every mistake of a spec."""
    return elaborate(source, loader)[1]


def optimise(module: Module, options: Options = Options(), observer: Observer | None = None) -> Module:
    """The module with its gradients written out and its functions optimised."""
    from leec import passes
    from leec.passes.followed import followed

    stages: dict[str, Program] = {}

    def observe(name: str, program: Program) -> None:
        stages[name] = program
        if observer is not None:
            observer(name, program)

    with room():
        program = passes.run(
            module.functions, options.level, observe, recognise=options.recognise, recompute=options.recompute
        )
        updates = (name for o in module.optimizers.values() for name in (o.update, *o.update_each.values()))
        plain = module.functions.functions.keys() - {*module.examples.values(), *updates}
        return replace(
            module, functions=program, followed=followed(stages.get("sums", stages["differentiate"]), program, plain)
        )


def compile_spec(source: Source, loader: Loader = no_files, options: Options = Options()) -> Outputs:
    """Both generated files of a spec."""
    module, diagnostics = elaborate(source, loader)
    if has_errors(diagnostics):
        return Outputs({}, diagnostics)
    return Outputs(emit(optimise(module, options), options), diagnostics)


def emit(module: Module, options: Options) -> dict[str, str]:
    """The text of the files of the chosen back ends."""
    from leec import emit as emitters

    wanted = EMITTERS if options.backend == "all" else {options.backend: EMITTERS[options.backend]}
    with room():
        return {file: getattr(emitters, writer)(module, options) for file, writer in wanted.values()}


def has_errors(diagnostics: tuple[Diagnostic, ...]) -> bool:
    return any(d.severity == "error" for d in diagnostics)


def stages() -> tuple[str, ...]:
    """What `show` can stop at: the syntax tree, the IR, the program after any pass, and both back ends."""
    from leec.passes import PIPELINE

    return ("ast", "ir", *(stage.name for stage in PIPELINE), "numpy", "torch")


def show(source: Source, loader: Loader = no_files, stage: str = "ir", options: Options = Options()) -> str:
    """What a stage gave, as text. Raises LeeError where the spec has errors, LookupError for a stage of another level."""
    from leec.ir.text import print_program

    if stage == "ast":
        return print_tree(Library(loader).read(source).spec)
    module, diagnostics = elaborate(source, loader)
    if has_errors(diagnostics):
        raise LeeError(*diagnostics)
    if stage == "ir":
        return print_program(module.functions)
    seen: dict[str, str] = {}
    optimised = optimise(module, options, lambda name, program: seen.update({name: print_program(program)}))
    if stage in ("numpy", "torch"):
        return next(iter(emit(optimised, replace(options, backend=stage)).values()))
    if stage not in seen:
        raise LookupError(f"`{stage}` is no stage of -O{options.level}, which has {', '.join(seen)}")
    return seen[stage]


def print_tree(node: object, depth: int = 0) -> str:
    """The syntax tree, a node a line, fields of plain values on the line of their node."""
    pad = "  " * depth
    if isinstance(node, tuple):
        return "".join(print_tree(n, depth) for n in node)
    slots = [name for name in getattr(node, "__match_args__", ()) if name != "source"]
    if not slots:
        return f"{pad}{node!r}\n"
    plain = {f: getattr(node, f) for f in slots if isinstance(getattr(node, f), (str, int, float, bool, type(None)))}
    line = f"{pad}{type(node).__name__} {' '.join(f'{k}={v!r}' for k, v in plain.items())}".rstrip() + "\n"
    return line + "".join(print_tree(getattr(node, f), depth + 1) for f in slots if f not in plain)
