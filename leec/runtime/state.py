"""Values of a run as plain data and back: numbers, strings, arrays, models, and tuples, lists and records of these.

`encode` copies every array at that moment; `decode` rebuilds the value, bit for bit, on the back end of the run. A
model or an optimizer is anything with `tensors()` (a value for each name) and `load_tensors(dict)`; it is filled, so
decoding needs one of its structure, and made anew only where its constructor was given other integers.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from leec.runtime import faults
from leec.runtime.backend import Array, NumpyBackend, TorchBackend, copy, dtype_name, is_array
from leec.runtime.records import Record

Node = Any  # a JSON value: a number, string or None stands for itself, everything else is {"kind": ...}
Tensors = dict[str, Array]


def encode(value: Any, name: str, tensors: Tensors) -> Node:
    """The value as JSON; its arrays go into `tensors` under names that begin with `name`.

    Raises LEE725 for what a checkpoint cannot hold.
    """
    if is_array(value):  # first: np.float64 is a float too
        tensors[name] = copy(value)
        return {"array": name, "dtype": dtype_name(value), "scalar": isinstance(value, np.generic)}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if (parts := parts_of(value)) is None:
        raise faults.cannot_keep(name, type(value).__name__)
    kind, items = parts
    node = {kind: {key: encode(item, f"{name}.{key}", tensors) for key, item in items.items()}}
    return {**node, "sizes": sizes} if kind == "object" and (sizes := sizes_of(value)) else node


def sizes_of(model: Any) -> dict[str, int]:
    """The integers that a model was made with."""
    names = inspect.signature(type(model).__init__).parameters
    given = {name: getattr(model, name, None) for name in names}
    return {name: n for name, n in given.items() if isinstance(n, int) and not isinstance(n, bool)}


def parts_of(value: Any) -> tuple[str, dict[str, Any]] | None:
    """What a compound value consists of, by name or position; None for one that is not known."""
    if hasattr(value, "load_tensors"):
        return "object", dict(value.tensors())
    if hasattr(value, "_asdict"):
        return "record", value._asdict()
    if is_dataclass(value) and not isinstance(value, type):
        return "record", {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return "dict", dict(value)
    if isinstance(value, tuple | list):
        return type(value).__name__, {str(i): item for i, item in enumerate(value)}
    return None


def decode(
    node: Node, like: Any, name: str, tensors: Mapping[str, np.ndarray], place: NumpyBackend | TorchBackend
) -> Any:
    """The value of a node. `like` is the value here and now, of the same structure: its models are filled in place.

    Raises LEE726 where the structures differ.
    """
    if not isinstance(node, dict):
        return node
    if "float" in node:
        return float(node["float"])
    if "array" in node:
        array = place.rebuild(tensors[node["array"]], node["dtype"])
        return array[()] if node["scalar"] and isinstance(array, np.ndarray) else array
    kind, items = next(iter(node.items()))
    if "sizes" in node and hasattr(like, "load_tensors") and sizes_of(like) != node["sizes"]:
        like = made_anew(like, node["sizes"], place)
    here = (parts_of(like) or ("", {}))[1]
    values = {key: decode(item, here.get(key), f"{name}.{key}", tensors, place) for key, item in items.items()}
    return ASSEMBLE[kind](values, like, name)


def fill(values: dict[str, Any], like: Any, name: str) -> Any:
    if not hasattr(like, "load_tensors"):
        raise faults.changed_shape(name, "a model of the same structure must be there to be filled")
    like.load_tensors(values)
    return like


def made_anew(like: Any, sizes: dict[str, int], place: NumpyBackend | TorchBackend) -> Any:
    """Another object of the class, of these sizes."""
    names = inspect.signature(type(like).__init__).parameters
    given = {name: getattr(like, name) for name in names if hasattr(like, name)}
    made = type(like)(**{**given, **sizes})
    return made.to(place.device) if hasattr(made, "to") else made


def record(values: dict[str, Any], like: Any, name: str) -> Any:
    if like is None:
        return Record(**values)  # of a list that was longer
    if (parts_of(like) or ("", {}))[1].keys() != values.keys():
        raise faults.changed_shape(name, f"it had the fields {', '.join(values)}")
    return type(like)(**values)


ASSEMBLE: dict[str, Callable[[dict[str, Any], Any, str], Any]] = {
    "object": fill,
    "record": record,
    "dict": lambda values, like, name: values,
    "list": lambda values, like, name: list(values.values()),
    "tuple": lambda values, like, name: tuple(values.values()),
}
