"""Files and their names: which declaration a name of a file means, through imports and the prelude.

A Loader maps dotted module names to sources; `std.*` is the library that ships with leec. Reading files is the
loader's business, so that the compiler core stays pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from importlib import resources

from leec.diagnostics import Diagnostic, Edit, LeeError, Source, Span, names
from leec.elaborate.hostvalues import RuntimeFunction
from leec.elaborate.values import ClassValue, FamilyValue, FunctionValue, ProcedureValue, SourceValue
from leec.syntax import nodes
from leec.syntax.outline import Outline
from leec.syntax.parse import parse

RUNTIME = {  # what modules have beside their declarations
    "std.data": {n: RuntimeFunction(n) for n in ("batches", "folds", "split")},
    "std.env": {"gym": RuntimeFunction("gym")},
}
Loader = Callable[[str], Source | None]


def std_source(module: str) -> Source | None:
    """The text of `std.nn` and its like; None for a module that the library does not have."""
    if not module.startswith("std."):
        return None
    path = resources.files("leec.std") / f"{module[4:]}.lee"
    return Source(f"std/{module[4:]}.lee", path.read_text(encoding="utf-8")) if path.is_file() else None


@cache
def std_outline(module: str) -> Outline | None:
    """A module of the library; what is parsed of it serves all compilations of a process."""
    source = std_source(module)
    return None if source is None else Outline(source)


@cache
def shipped() -> Mapping[str, str]:
    """The names that the library declares, with their modules."""
    files = sorted(f.name for f in resources.files("leec.std").iterdir() if f.name.endswith(".lee"))
    modules = [f"std.{file.removesuffix('.lee')}" for file in files]
    return {name: m for m in reversed(modules) for name in (*(std_outline(m) or ()), *RUNTIME.get(m, ()))}


class Library:
    """All files of one compilation, each parsed once."""

    def __init__(self, loader: Loader):
        self.loader = loader
        self.modules: dict[str, SpecModule | None] = {}
        self.diagnostics: list[Diagnostic] = []

    def module(self, name: str) -> SpecModule | None:
        if name not in self.modules:
            outline = std_outline(name)
            source = None if outline else self.loader(name)
            self.modules[name] = None
            if outline is not None:
                self.modules[name] = SpecModule(name, self, outline, outline.imports)
            elif source is not None:
                self.modules[name] = self.read(source, name)
        return self.modules[name]

    def is_std(self, source: Source) -> bool:
        """Whether a text is one of the library's."""
        modules = (m for m in self.modules.values() if m is not None and m.is_std)
        return any(isinstance(m.items, Outline) and m.items.source is source for m in modules)

    def read(self, source: Source, name: str = "") -> SpecModule:
        spec, diagnostics = parse(source)
        self.diagnostics += diagnostics
        items: dict[str, nodes.Item] = {}
        for item in spec.items:
            if isinstance(item, nodes.Import):
                continue
            if items.setdefault(item.name.id, item) is not item:
                self.diagnostics.append(names.declared_twice(item.name, items[item.name.id].name))
        return SpecModule(name, self, items, [i for i in spec.items if isinstance(i, nodes.Import)], spec)

    @property
    def prelude(self) -> SpecModule:
        return self.module("std.prelude")


class SpecModule:
    """One file: its declarations by name, and its whole syntax where it is not of the library."""

    def __init__(
        self,
        name: str,
        library: Library,
        items: Mapping[str, nodes.Item],
        imports: Iterable[nodes.Import],
        spec: nodes.Spec | None = None,
    ):
        self.name, self.library, self.items, self.spec = name, library, items, spec
        self.imports = {(alias or name).id: (i, name) for i in imports for name, alias in i.names}
        self.constants: dict[str, object] = {}

    @cached_property
    def is_std(self) -> bool:
        return self.name.startswith("std.")

    def find(self, name: str) -> tuple[SpecModule, nodes.Item] | None:
        """The declaration that a name of this file means, wherever it stands. Raises LeeError where it leads nowhere."""
        if name in self.items:
            return self, self.items[name]
        if name in RUNTIME.get(self.name, ()):
            return self, RUNTIME[self.name][name]
        if name in self.imports:
            statement, original = self.imports[name]
            return self._imported(statement, original)
        if self.spec is not None and name in self.spec.lost:
            raise LeeError()  # the mistake is reported where it is declared
        return None

    def _imported(self, statement: nodes.Import, name: nodes.Name) -> tuple[SpecModule, nodes.Item]:
        path = ".".join(part.id for part in statement.module)
        home = self.library.module(path)
        if home is None:
            raise LeeError(names.unknown_module(statement, path))
        found = home.find(name.id)
        if found is None:
            raise LeeError(names.not_in_module(name, path, [*home.items, *RUNTIME.get(path, ())]))
        return found

    def unknown(self, node: nodes.Name, visible: Iterable[str]) -> LeeError:
        """What is told of a name without a meaning: where the library has it, if it does."""
        home = shipped().get(node.id)
        if home is None or self.spec is None:
            return LeeError(names.unknown_name(node, visible, shipped()))
        imports = [i for i in self.spec.items if isinstance(i, nodes.Import)]
        same = next((i for i in imports if ".".join(part.id for part in i.module) == home), None)
        line = f"from {home} import {node.id}"
        if same or imports:
            place, text = (same or imports[-1]).span.end, f", {node.id}" if same else f"\n{line}"
        else:
            place, text = self.spec.items[0].span.start, f"{line}\n\n\n"
        return LeeError(names.not_imported(node, home, Edit(Span(self.spec.source, place, place), text)))

    def verify_imports(self) -> None:
        """Report every import that leads nowhere, once."""
        for statement, name in self.imports.values():
            try:
                self._imported(statement, name)
            except LeeError as error:
                self.library.diagnostics += [d for d in error.diagnostics if d not in self.library.diagnostics]


def declared_value(home: SpecModule, item: nodes.Item) -> object | None:
    """The value of a declaration, but for constants, which are expressions to be evaluated."""
    match item:
        case RuntimeFunction():
            return item
        case nodes.Function(kind="train"):
            return ProcedureValue(item, home)
        case nodes.Function():
            return FunctionValue(item, home)
        case nodes.Model() | nodes.Optimizer():
            return ClassValue(item, home)
        case nodes.External():
            return SourceValue(item, home)
        case nodes.Distribution():
            return FamilyValue(item, home)
    return None
