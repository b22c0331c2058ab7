"""The Python API: compile a spec, load what was compiled, run its procedures, move weights in and out.

    spec = leec.load("digits.lee")
    net = spec.fit(epochs=3)                 # the spec's train procedure, on NumPy
    labels = spec.predict(net, images).argmax(axis=1)
    spec.save(net, "digits.safetensors")     # loads in either back end
    assert leec.verify("digits.lee").ok      # both programs agree

Nothing here is needed by generated code.
"""

from __future__ import annotations

import builtins
import hashlib
import linecache
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from leec import driver
from leec.diagnostics import Diagnostic, LeeError, Source
from leec.ir.module import Module

if TYPE_CHECKING:
    from leec.proof.report import Report

FILES = {"numpy": "reference.py", "torch": "cuda.py"}


@dataclass(frozen=True)
class Compiled:
    """The generated files by name, and warnings and notes about the spec."""

    files: Mapping[str, str]
    diagnostics: tuple[Diagnostic, ...]


def compile(spec: str | Path, *, level: int = 1, dtype: str = "f32", backend: str = "all") -> Compiled:
    """Compile a spec, given as a path or as its text. Raises LeeError with every mistake that it has."""
    source, loader = read(spec)
    outputs = driver.compile_spec(source, loader, driver.Options(level, dtype, backend))
    if driver.has_errors(outputs.diagnostics):
        raise LeeError(*outputs.diagnostics)
    return Compiled(outputs.files, outputs.diagnostics)


def load(spec: str | Path, *, level: int = 1, dtype: str = "f32") -> Loaded:
    """Compile a spec and make its modules importable at once. Raises LeeError with every mistake that it has."""
    source, loader = read(spec)
    module, diagnostics = driver.elaborate(source, loader)
    if driver.has_errors(diagnostics):
        raise LeeError(*diagnostics)
    return Loaded(module, driver.Options(level, dtype))


def verify(spec: str | Path, *, optimize: int = 1, **plan: Any) -> Report:
    """Run both programs of a spec on the same parameters, batches and draws, and compare all that they compute.

    `plan` are fields of leec.proof.verify.Plan: level, seeds, steps, dtypes, arguments. Raises LeeError for a spec with
    mistakes, ModuleNotFoundError without torch.
    """
    from leec.proof.verify import Plan
    from leec.proof.verify import verify as verified

    source, loader = read(spec)
    module, diagnostics = driver.elaborate(source, loader)
    if driver.has_errors(diagnostics):
        raise LeeError(*diagnostics)
    return verified(source.path, lambda dtype: Loaded(module, driver.Options(optimize, dtype)), execute, Plan(**plan))


def read(spec: str | Path) -> tuple[Source, driver.Loader]:
    """The source, and a loader of files beside it. A text with a line break is a spec, anything else a path."""
    if isinstance(spec, str) and "\n" in spec:
        return Source("<text>", spec), driver.no_files
    path = Path(spec)

    def beside(name: str) -> Source | None:
        file = path.parent.joinpath(*name.split(".")).with_suffix(".lee")
        return Source(str(file), file.read_text(encoding="utf-8-sig")) if file.is_file() else None

    return Source(str(path), path.read_text(encoding="utf-8-sig")), beside


class Loaded:
    """A compiled spec with both modules, made when they are first asked for."""

    def __init__(self, module: Module, options: driver.Options):
        self.module, self.options = module, options

    @property
    def procedures(self) -> tuple[str, ...]:
        """The names of the spec's own train procedures."""
        return tuple(self.module.procedures)

    @cached_property
    def optimised(self) -> Module:
        return driver.optimise(self.module, self.options)

    @cached_property
    def hash(self) -> str:
        """Of the spec's text and the options: a run is resumed by the same one only."""
        text = f"{self.module.source.text}\0{self.options}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def text(self, backend: str) -> str:
        """The generated file of a back end."""
        return next(iter(driver.emit(self.optimised, replace(self.options, backend=backend)).values()))

    @cached_property
    def numpy(self) -> ModuleType:
        """reference.py as a module."""
        return self._execute("numpy")

    @cached_property
    def torch(self) -> ModuleType:
        """cuda.py as a module. Raises ModuleNotFoundError where torch is not installed."""
        return self._execute("torch")

    def _execute(self, backend: str) -> ModuleType:
        return execute(self.text(backend), f"{Path(self.module.source.path).stem}.{FILES[backend][:-3]}")

    def backend(self, name: str) -> ModuleType:
        return self.numpy if name == "numpy" else self.torch

    def fit(
        self,
        procedure: str | None = None,
        *,
        backend: str = "numpy",
        run: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> Any:
        """Run a train procedure (the last one of the spec unless named) with these arguments; gives what it returns.

        `run` are options of leec.runtime.session.Options: seed, device, folder, resume, progress, max_steps. A run that
        is cut after max_steps gives its models and optimizers by name. Raises LookupError for a name that is no procedure.
        """
        return self.run(procedure, backend=backend, run=run, **arguments)[0]

    def run(
        self,
        procedure: str | None = None,
        *,
        backend: str = "numpy",
        run: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> tuple[Any, list[dict[str, float]]]:
        """As `fit`, and with the result every row that was reported."""
        from leec.runtime.run import Run

        name = procedure or self._entry()
        if name not in self.module.procedures:
            raise LookupError(
                f"{name!r} is no train procedure of {self.module.source.path}; it has {', '.join(self.procedures) or 'none'}"
            )
        options = {
            "backend": backend,
            "dtype": self.options.dtype,
            "spec": self.hash,
            "arguments": arguments,
            "progress": "none",
            **(run or {}),
        }
        result = None
        with Run(name, **options) as session:
            result = getattr(self.backend(backend), name)(**arguments, run=session)
        return result if session.session.cut is None else session.session.cut, session.history

    def _entry(self) -> str:
        if not self.module.procedures:
            raise LookupError(f"{self.module.source.path} has no train procedure")
        return next(reversed(self.module.procedures))

    def predict(self, model: Any, *inputs: Any, **options: Any) -> np.ndarray:
        """The model's forward out of training, arrays in, arrays out."""
        if isinstance(model, getattr(self.numpy, "Model", ())):
            return model(*inputs, **options)
        import torch

        model.eval()
        with torch.inference_mode():
            return model(*map(torch.as_tensor, inputs), **options).cpu().numpy()

    def weights(self, model: Any) -> dict[str, np.ndarray]:
        """The tensors of a model by their paths in the spec."""
        from leec.runtime.backend import to_numpy

        return {path: to_numpy(tensor) for path, tensor in model.tensors().items()}

    def save(self, model: Any, path: str | Path) -> None:
        """Write the weights as safetensors, whole or not at all."""
        from leec.runtime.files import write_tensors

        write_tensors(Path(path), {p: np.ascontiguousarray(v) for p, v in self.weights(model).items()})

    def restore(self, model: Any, path: str | Path) -> Any:
        """Read weights that either back end wrote into a model. Raises ValueError where names or shapes differ."""
        from leec.runtime.files import read_tensors

        model.load_tensors(read_tensors(Path(path)))
        return model


def execute(text: str, name: str) -> ModuleType:
    """Run a generated file as a module; tracebacks show its lines."""
    file = f"<{name}>"
    module = ModuleType(name)
    module.__file__ = file
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    sys.modules[name] = module
    exec(builtins.compile(text, file, "exec"), module.__dict__)
    return module
