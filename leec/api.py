"""The Python API: compile a spec, load what was compiled, run its procedures, move weights in and out.

    spec = leec.load("digits.lee")
    net = spec.fit(epochs=3)                 # the spec's train procedure, on NumPy
    labels = spec.predict(net, images).argmax(axis=1)
    spec.save(net, "digits.safetensors")     # loads in either back end
    assert leec.verify("digits.lee").ok      # both programs agree

Nothing here is needed by generated code.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from leec import driver
from leec.arguments import divided, fitted, signature
from leec.diagnostics import Diagnostic, LeeError, Source
from leec.execution import checked, execute
from leec.ir.host import Procedure
from leec.ir.module import Module
from leec.runtime import faults
from leec.runtime.backend import dtype_name, is_tensor, to_numpy

if TYPE_CHECKING:
    from leec.proof.report import Report

Given = Mapping[str, Mapping[str, Any]]  # arguments of procedures that choose code, by procedure
FILES = {"numpy": "reference.py", "torch": "cuda.py"}


@dataclass(frozen=True)
class Compiled:
    """The generated files by name, and warnings and notes about the spec."""

    files: Mapping[str, str]
    diagnostics: tuple[Diagnostic, ...]


def compile(
    spec: str | Path, *, level: int = 1, dtype: str = "f32", backend: str = "all", recompute: str = "auto"
) -> Compiled:
    """Compile a spec, given as a path or as its text. Raises LeeError with every mistake that it has.

    `level` is 0, 1 or 2; `recompute`, auto, always or never, says whether gradients of loops compute their rounds again.
    """
    source, loader = read(spec)
    outputs = driver.compile_spec(source, loader, driver.Options(level, dtype, backend, recompute=recompute))
    if driver.has_errors(outputs.diagnostics):
        raise LeeError(*outputs.diagnostics)
    return Compiled(outputs.files, outputs.diagnostics)


def load(spec: str | Path, *, level: int = 1, dtype: str = "f32", recompute: str = "auto") -> Loaded:
    """Compile a spec and make its modules importable at once. Raises LeeError with every mistake that it has."""
    return opened(*read(spec), driver.Options(level, dtype, recompute=recompute))


def opened(source: Source, loader: driver.Loader, options: driver.Options, given: Given | None = None) -> Loaded:
    """A spec, compiled for these arguments of its procedures. Raises LeeError with every mistake that it has."""
    module, diagnostics = driver.elaborate(source, loader, given or {})
    if driver.has_errors(diagnostics):
        raise LeeError(*diagnostics)
    return Loaded(module, options, loader, given or {}, diagnostics)


def verify(spec: str | Path, *, optimize: int = 1, recompute: str = "auto", **plan: Any) -> Report:
    """Run both programs of a spec on the same parameters, batches and draws, and compare all that they compute.

    `plan` are fields of leec.proof.verify.Plan: level, seeds, steps, dtypes, arguments. Raises LeeError for a spec with
    mistakes, ModuleNotFoundError without torch.
    """
    from leec.proof.verify import Plan
    from leec.proof.verify import verify as verified

    source, loader = read(spec)
    first = opened(source, loader, driver.Options(optimize, recompute=recompute))
    return verified(source.path, first.in_width, execute, Plan(**plan))


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

    def __init__(
        self,
        module: Module,
        options: driver.Options,
        loader: driver.Loader = driver.no_files,
        given: Given | None = None,
        diagnostics: tuple[Diagnostic, ...] = (),
    ):
        self.module, self.options, self.loader, self.given = module, options, loader, given or {}
        self.diagnostics = diagnostics  # warnings and notes: with an error among them there is no Loaded
        self._others: dict[str, Loaded] = {}

    def in_width(self, dtype: str) -> Loaded:
        """The same spec compiled for another width of floats."""
        return Loaded(self.module, replace(self.options, dtype=dtype), self.loader, self.given, self.diagnostics)

    def made_for(self, procedure: str, arguments: Mapping[str, Any]) -> tuple[Loaded, dict[str, Any]]:
        """The spec compiled for those of the arguments that choose code, and the others, which it is called with.

        Raises LookupError for a name that is no procedure, RuntimeFault (LEE712) for an argument that does not fit.
        """
        found = self.procedure(procedure)
        passed, other = divided(found, fitted(found, arguments))
        if not other:
            return self, passed
        given = {**self.given, procedure: {**self.given.get(procedure, {}), **other}}
        key = repr(given)
        if key not in self._others:
            self._others[key] = opened(self.module.source, self.loader, self.options, given)
        return self._others[key].made_for(procedure, arguments)

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
        text = f"{self.module.source.text}\0{self.options}" + (f"\0{self.given}" if self.given else "")
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def procedure(self, name: str | None = None) -> Procedure:
        """A train procedure, the last one of the spec unless named. Raises LookupError."""
        known = self.module.procedures
        if known and (name is None or name in known):
            return known[name or next(reversed(known))]
        which = "has no train procedure" if name is None else f"has no train procedure {name!r}"
        raise LookupError(f"{self.module.source.path} {which}" + (f"; it has {', '.join(known)}" if known else ""))

    def signature(self, procedure: str | None = None) -> inspect.Signature:
        """What a train procedure takes, with usual values: `str(spec.signature())` is "(*, epochs=30, batch=64)"."""
        return signature(self.procedure(procedure))

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

        Arguments that choose code (bools, texts, tuples) compile the spec anew for them. A parameter that is data takes
        arrays by field, {"x": images, "y": labels}, or by part and field, or a .csv or .npz file; they are held against
        the declared types. `run` are options of leec.runtime.session.Options: seed, device, folder, resume, progress,
        max_steps. A run that is cut after max_steps gives its models and optimizers by name.

        Raises LookupError for a name that is no procedure, RuntimeFault for arguments or data that do not fit (LEE705
        to LEE713), and for what is met while running, such as a NaN (LEE703).
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

        name = self.procedure(procedure).name
        spec, passed = self.made_for(name, arguments)
        options = {
            "backend": backend,
            "dtype": spec.options.dtype,
            "spec": spec.hash,
            "arguments": arguments,
            "progress": "none",
            **(run or {}),
        }
        result = None
        with Run(name, **options) as session, checked(spec.backend(backend)):
            result = spec.called(backend, name, passed, session)
        return result if session.session.cut is None else session.session.cut, session.history

    def entry(self, backend: str, procedure: str) -> Callable[..., Any]:
        """The function of a generated module that a train procedure became, whose name Python may have taken."""
        from leec.proof.emitted import unit_of

        return getattr(self.backend(backend), unit_of(self, backend).function_name(procedure))

    def called(self, backend: str, procedure: str, arguments: Mapping[str, Any], run: Any) -> Any:
        """What a train procedure returns; an argument's name in the generated module may be another than in the spec."""
        entry = self.entry(backend, procedure)
        own = dict(zip((n for n, _ in self.procedure(procedure).parameters), inspect.signature(entry).parameters))
        return entry(**{own[name]: value for name, value in arguments.items()}, run=run)

    def predict(self, model: Any, *inputs: Any, **options: Any) -> np.ndarray:
        """The model's forward out of training, arrays in, arrays out; floats get the width of the model.

        `options` are arguments of `forward` by name. Works for models of either back end, on the device they are on.
        """
        if is_tensor(next(iter(model.tensors().values()), None)):
            return predict_torch(model, inputs, options)
        return model(*(in_width_of(model, x) for x in inputs), **options)

    def weights(self, model: Any) -> dict[str, np.ndarray]:
        """The tensors of a model by their paths in the spec."""
        return {path: to_numpy(tensor) for path, tensor in model.tensors().items()}

    def save(self, model: Any, path: str | Path) -> None:
        """Write the weights as safetensors, whole or not at all."""
        from leec.runtime.files import write_tensors

        write_tensors(Path(path), self.weights(model))

    def restore(self, model: Any, path: str | Path) -> Any:
        """Read weights that either back end wrote into a model, which it gives back.

        Raises RuntimeFault: LEE709 without such a file, LEE708 for one of another format or another model.
        """
        from leec.runtime.files import read_tensors

        if not Path(path).is_file():
            raise faults.absent_file(path)
        try:
            model.load_tensors(read_tensors(Path(path)))
        except Exception as error:  # safetensors has no one class of errors
            raise faults.bad_file(path, f"holds no weights of this model: {error}") from None
        return model


def predict_torch(model: Any, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> np.ndarray:
    """Forward of an nn.Module in evaluation, its mode as before afterwards; results on the host."""
    import torch

    like = next(iter(model.tensors().values()))
    given = (torch.as_tensor(in_width_of(model, x), device=like.device) for x in inputs)
    before, _ = model.training, model.eval()
    try:
        with torch.inference_mode():
            return to_numpy(model(*given, **options))
    finally:
        model.train(before)


def in_width_of(model: Any, array: Any) -> Any:
    """Floats in the width of a model's tensors, which both libraries would otherwise mix or refuse."""
    floats = (to_numpy(t) for t in model.tensors().values() if "float" in dtype_name(t))
    found = to_numpy(array)
    width = next((t.dtype for t in floats), found.dtype)
    return found.astype(width) if found.dtype.kind == "f" else found
