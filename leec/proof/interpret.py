"""The interpreter: a program's functions run equation by equation through either column of the rows.

What runs is what is written: the same expressions that the emitters print. Sizes come from the shapes of the
arguments; every result is compared with its type. It serves folding, tests of passes, bisection and locating a NaN.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from types import CodeType, ModuleType

import numpy as np

from leec.diagnostics import InternalError
from leec.dims import Dim
from leec.emit.support import FILES
from leec.ir.graph import Equation, Function, Program, Value
from leec.ir.loops import Recurrence
from leec.ir.text import print_equation
from leec.ops import TABLE
from leec.ops.columns import bind_arguments, chosen_column, expression
from leec.ops.shape import Slices
from leec.passes.recognise import expand
from leec.types import TensorType

Observer = Callable[[Function, Equation, tuple], None]
WIDTHS = {"f32": "float32", "f64": "float64", "bf16": "bfloat16"}


def run(
    program: Program,
    name: str,
    arguments: Mapping[str, object],
    column: str = "numpy",
    float_dtype: str = "f64",
    observer: Observer | None = None,
    device: str = "cpu",
) -> dict[str, object]:
    """The results of a function by name, and its new state under the names of the leaves.

    `arguments` are by parameter name: arrays or numbers, for models dicts of arrays by path, for static parameters
    integers; any further size that no shape tells is given under its symbol. `column` is numpy, torch or torch_step.
    Raises ValueError where arguments do not fit, InternalError where a result is not of its type.
    """
    return Interpreter(program, column, float_dtype, observer, device).run(name, arguments)


# ---- arguments


def bind(f: Function, arguments: Mapping[str, object]) -> tuple[list[object], dict[str, int]]:
    """The arguments as a flat list parallel to the inputs, and the sizes that their shapes and numbers tell."""
    given, flat, sizes = dict(arguments), [], {}
    for p in f.parameters:
        value = given.pop(p.name, p.default)
        if value is None and (p.values or p.static):
            raise ValueError(f"{f.name} needs {p.name}")
        if p.static:
            sizes[p.static] = int(value)
        elif p.paths or p.model is not None:
            flat += [value[path] for path in p.paths]
        else:
            flat += [value] * len(p.values)
    sizes |= {symbol: int(given.pop(symbol)) for symbol in list(given) if isinstance(given[symbol], int)}
    if given:
        raise ValueError(f"{f.name} has no parameter {', '.join(given)}")
    match_sizes(f, flat, sizes)
    return flat, sizes


def match_sizes(f: Function, values: Sequence[object], sizes: dict[str, int]) -> None:
    """Add what shapes say of the symbols. Raises ValueError where a shape contradicts its type, or a check fails."""
    pairs = [(d, n, v) for v, x in zip(f.inputs, values, strict=True) for d, n in _axes(f, v, x)]
    for dim, n, _ in pairs:
        if dim.symbol:
            sizes.setdefault(dim.symbol, n)
    for dim, n, v in pairs:
        if dim.symbols <= sizes.keys() and dim.evaluate(sizes) != n:
            raise ValueError(f"{f.name}: {v.name} has {n} where {v.type} has {dim} = {dim.evaluate(sizes)}")
    for check in f.checks:
        known = {name: Dim.of(n) for name, n in sizes.items()}
        if check.substitute(known).holds() is False:
            raise ValueError(f"{f.name}: {check.message}")


def _axes(f: Function, v: Value, x: object) -> Iterable[tuple[Dim, int]]:
    shape = () if v.type.host else tuple(x.shape) if hasattr(x, "shape") else np.shape(x)
    if len(shape) != v.type.rank:
        raise ValueError(f"{f.name}: {v.name} has shape {shape}, not {v.type}")
    return zip(v.type.dims, shape, strict=True)


# ---- one run


def library_of(column: str) -> str:
    return column.partition("_")[0]


@cache
def names_of(library: str) -> Mapping[str, object]:
    """What columns may mention besides arguments and params: the library, `math`, support functions, draws."""
    files = [file.removesuffix(".py") for file in FILES[library] if not file.startswith("emit/")]
    modules = [importlib.import_module(f"leec.{file.replace('/', '.')}") for file in files]
    return {k: v for m in modules for k, v in vars(m).items() if not k.startswith("__")}


@cache
def compiled(tree: ast.expr) -> CodeType:
    return compile(ast.fix_missing_locations(ast.Expression(tree)), "<row>", "eval")


@dataclass
class Interpreter:
    """A program made ready to run through one column, any number of times; see `run`."""

    program: Program
    column: str = "numpy"
    float_dtype: str = "f64"
    observer: Observer | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.library = library_of(self.column)
        self.program = expand(self.program, self.library)
        self.constants = {**names_of(self.library), "FLOAT": self.dtype("float"), "DEVICE": self.device}

    def run(self, name: str, arguments: Mapping[str, object]) -> dict[str, object]:
        f = self.program.functions[name]
        values, sizes = bind(f, arguments)
        found = self.call(f, [self.array(x, v.type) for x, v in zip(values, f.inputs, strict=True)], sizes)
        results: dict[str, object] = {}
        for r in f.results:
            part, found = found[: len(r.values)], found[len(r.values) :]
            grouped = r.model is not None or r.paths
            results[r.name] = dict(zip(r.paths, part, strict=True)) if grouped else part[0]
        return results | {before.name: after for (before, _), after in zip(f.state, found, strict=True)}

    @property
    def torch(self) -> ModuleType:
        return names_of("torch")["torch"]

    def dtype(self, name: str) -> object:
        """The library's dtype. NumPy has no bfloat16 and computes in float32."""
        word = {"int": "int64", "bool": "bool"}.get(name) or WIDTHS[self.float_dtype if name == "float" else name]
        if self.library == "numpy":
            return getattr(np, {"bfloat16": "float32", "bool": "bool_"}.get(word, word))
        return getattr(self.torch, word)

    def array(self, x: object, type: TensorType) -> object:
        """An argument as the library's array; host numbers and keys stay Python's."""
        if type.host:
            return x.item() if hasattr(x, "item") else x  # a number that a procedure keeps may be an array of one
        if self.library == "numpy":
            return np.asarray(x, self.dtype(type.dtype))
        return self.torch.as_tensor(x, dtype=self.dtype(type.dtype), device=self.device)

    def call(self, f: Function, args: Sequence[object], sizes: Mapping[str, int]) -> list[object]:
        """The outputs of a function in order."""
        values = dict(zip(f.inputs, args, strict=True))
        for equation in f.body:
            results = self.equation(equation, [values[a] for a in equation.args], sizes)
            for value, found in zip(equation.results, results, strict=True):
                self.check(f, equation, value.type, found, sizes)
                values[value] = found
            if self.observer is not None:
                self.observer(f, equation, results)
        return [values[v] for v in f.outputs]

    def equation(self, e: Equation, args: list[object], sizes: Mapping[str, int]) -> tuple:
        row = TABLE[e.op]
        if e.op == "scan":
            return self.loop(Recurrence(e), args, sizes)
        if "callee" in row.params:
            inner = {symbol: dim.evaluate(sizes) for symbol, dim in e.params["dims"]}
            return tuple(self.call(self.program.functions[e.params["callee"]], args, inner))
        if isinstance(body := e.params.get("body"), Function):
            return tuple(self.call(body, args, sizes))
        types = tuple(a.type for a in e.args)
        column = chosen_column(self.column, types, e.results[0].type)
        tree, params = expression(row, column, types, e.params)
        names = {k: self.param(k, v, sizes) for k, v in params.items()}
        with np.errstate(all="ignore"):
            found = eval(compiled(tree), {**self.constants, **names, **bind_arguments(row, tuple(args))})
        return found if len(e.results) > 1 else (found,)

    def loop(self, loop: Recurrence, args: list[object], sizes: Mapping[str, int]) -> tuple:
        """The final carries, then the arrays of rows, then new states."""
        f, params = self.program.functions[loop.callee], loop.equation.params
        inner = {symbol: dim.evaluate(sizes) for symbol, dim in params["dims"]}
        first = params["first"].evaluate(sizes)
        starts = {i: (axis, start.evaluate(sizes)) for i, (axis, start) in loop.rows.items()}
        args, rounds = list(args), {}
        for k in self.positions(loop, args, sizes):
            given = [self.row(x, starts[i][0], starts[i][1] + k) if i in starts else x for i, x in enumerate(args)]
            found = self.call(f, given, inner | {params["counter"]: first + k})
            end = len(found) - len(loop.states)
            for i, x in zip((*loop.carries, *loop.states), (*found[: len(loop.carries)], *found[end:]), strict=True):
                args[i] = x
            rounds[k] = found[len(loop.carries) : end]
        arrays = [
            self.stacked([rounds[k][j] for k in sorted(rounds)], axis, v.type, sizes)
            for j, (v, axis) in enumerate(loop.collected)
        ]
        return (*(args[i] for i in loop.carries), *arrays, *(args[i] for i in loop.states))

    def positions(self, loop: Recurrence, args: list[object], sizes: Mapping[str, int]) -> Iterator[int]:
        """The rounds, counted from 0; `args` are the carries of the moment."""
        if loop.length is not None:
            length = loop.length.evaluate(sizes)
            yield from reversed(range(length)) if loop.equation.params["reverse"] else range(length)
            return
        going = loop.carries[loop.equation.params["going"]]
        for k in count():
            if not self.holds(args[going]):
                return
            yield k

    def holds(self, x: object) -> bool:
        return bool(x)

    def row(self, x: object, axis: int, position: int) -> object:
        """One position of an axis, as an array."""
        return x[(*(slice(None),) * axis, position, ...)]

    def stacked(self, rows: list[object], axis: int, type: TensorType, sizes: Mapping[str, int]) -> object:
        """The rows along an axis; an array without any where there are none."""
        if not rows:
            return self.array(np.zeros(tuple(d.evaluate(sizes) for d in type.dims)), type)
        return np.stack(rows, axis) if self.library == "numpy" else self.torch.stack(rows, axis)

    def param(self, name: str, value: object, sizes: Mapping[str, int]) -> object:
        """A param as the expression sees it: sizes as numbers, slices as slices, `dtype` as the library's."""
        match value:
            case str() if name == "dtype":
                return self.dtype(value)
            case Dim():
                return value.evaluate(sizes)
            case Slices():
                return tuple(self.stretch(s, sizes) for s in value)
            case tuple():
                return tuple(self.param("", v, sizes) for v in value)
        return value

    def stretch(self, s: Dim | tuple[Dim, Dim, Dim], sizes: Mapping[str, int]) -> int | slice:
        return s.evaluate(sizes) if isinstance(s, Dim) else slice(*(d.evaluate(sizes) for d in s))

    def check(self, f: Function, e: Equation, type: TensorType, found: object, sizes: Mapping[str, int]) -> None:
        """Raises InternalError for a result that is not of its type."""
        if type.host:
            fits = type.dtype == "key" or isinstance(found, {"float": float, "int": int, "bool": bool}[type.dtype])
            shown = f"{found!r}"
        else:
            shape = tuple(getattr(found, "shape", (None,)))
            fits = shape == tuple(d.evaluate(sizes) for d in type.dims) and found.dtype == self.dtype(type.dtype)
            shown = f"{getattr(found, 'dtype', found)}{list(shape)}"
        if not fits:
            raise InternalError(f"{f.name}: {self.column} gives {shown} in  {print_equation(e)}  at {dict(sizes)}")
