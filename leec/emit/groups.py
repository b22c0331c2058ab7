"""Values that Python holds together: the tensors of a model object, a gradient as a dict, what a forward saved.

The IR is flat; a Group remembers which values are reached through which variable, so that a call whose arguments
are exactly the tensors of `self.conv1` is written `self.conv1(x)`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from leec.ir.graph import Result, Value


@dataclass(frozen=True, eq=False)
class Group:
    """One variable. `kind` is model (attributes), dict (keys), tuple (positions) or rows (a list of such tuples, one a
    round of a loop); `size` counts its values.

    `model` is the class whose tensors, or whose gradient, these are.
    """

    root: ast.expr
    kind: str
    size: int
    model: str | None = None
    callee: str = ""  # of what a forward saved: the forward
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by path: parts on it that loops saved

    def part(self, path: str) -> ast.expr:
        """The expression of a tensor, or of the member that a path prefix names."""
        steps = path.split(".") if path else []
        return ACCESS[self.kind](self.root, steps)

    def rounds(self, path: str) -> tuple[str, ...]:
        """The parts on the way to a tensor that are lists with an item for every round of a loop, outermost first."""
        inner = self.lists.get(path, ())
        return ("", *inner) if self.kind == "rows" else inner

    def of_round(self, path: str, item: ast.expr) -> tuple[Group, str]:
        """An item of the outermost list, and where the tensor stands in it."""
        first, *inner = self.rounds(path)
        rest = below(first, path)
        return Group(item, "tuple", 0, lists={rest: tuple(below(first, p) for p in inner)}), rest


@dataclass(frozen=True)
class Place:
    group: Group
    path: str


def _attributes(tree: ast.expr, steps: Sequence[str]) -> ast.expr:
    for step in steps:
        tree = ast.Subscript(tree, ast.Constant(int(step))) if step.isdigit() else ast.Attribute(tree, attribute(step))
    return tree


def _keys(tree: ast.expr, steps: Sequence[str]) -> ast.expr:
    for key in keys(steps):
        tree = ast.Subscript(tree, ast.Constant(key))
    return tree


def _positions(tree: ast.expr, steps: Sequence[str]) -> ast.expr:
    for step in steps:
        tree = ast.Subscript(tree, ast.Constant(int(step)))
    return tree


ACCESS = {"model": _attributes, "dict": _keys, "tuple": _positions, "rows": _positions}

# What every generated model class has: a member of the spec with such a name gets an underscore.
MODEL_ATTRIBUTES = frozenset(
    "parameters tensors load_tensors tree load_tree at copy lay_out members states gradient "
    "train eval apply type to float double half bfloat16 cpu cuda compile training children modules named_children "
    "named_modules named_parameters named_buffers buffers state_dict load_state_dict requires_grad_ zero_grad "
    "register_buffer register_parameter register_module add_module get_parameter get_buffer get_submodule share_memory "
    "to_empty ipu xpu mtia call_super_init dump_patches extra_repr get_extra_state set_extra_state T_destination".split()
)


def attribute(name: str) -> str:
    """The attribute of a member: its name in the spec unless every model has such an attribute already."""
    import keyword

    return f"{name}_" if name in MODEL_ATTRIBUTES or keyword.iskeyword(name) else name


def keys(steps: Sequence[str]) -> list[str]:
    """The keys of nested dicts: an element of a list of submodels goes by `layers.0`."""
    found: list[str] = []
    for step in steps:
        if step.isdigit() and found:
            found[-1] += f".{step}"
        else:
            found.append(step)
    return found


class Groups:
    """Which value stands where."""

    def __init__(self) -> None:
        self.places: dict[Value, Place] = {}
        self.roots: list[Group] = []

    def enter(self, group: Group, values: Sequence[Value], paths: Sequence[str]) -> None:
        if group not in self.roots:
            self.roots.append(group)
        for value, path in zip(values, paths, strict=True):
            self.places[value] = Place(group, path)

    def whole(self, values: Sequence[Value], paths: Sequence[str], kind: str) -> tuple[Group, str] | None:
        """The group and prefix under which exactly these values stand at these paths, if there are any."""
        places = [self.places.get(v) for v in values]
        if not places or any(p is None or p.group is not places[0].group or p.group.kind != kind for p in places):
            return None
        place, path = places[0].path, paths[0]
        prefix = place[: len(place) - len(path)].removesuffix(".")
        if any(p.path != joined(prefix, q) for p, q in zip(places, paths, strict=True)):
            return None
        if kind == "dict" and not prefix and places[0].group.size != len(values):
            return None
        return places[0].group, prefix

    def alike(
        self, model: str, members: Callable[[str], Mapping[str, str]], tensors: Mapping[str, Value]
    ) -> tuple[ast.expr, bool] | None:
        """An object of a class, and whether its tensors have these sizes: the likest, since objects of a class differ."""
        candidates = [
            (group, prefix)
            for group in self.roots
            if group.kind == "model"
            for prefix, name in {"": group.model, **members(group.model)}.items()
            if name == model
        ]
        if not candidates:
            return None
        types = {(place.group, place.path): value.type for value, place in self.places.items()}

        def sizes(group: Group, prefix: str) -> list[bool]:
            return [types.get((group, joined(prefix, p)), v.type).dims == v.type.dims for p, v in tensors.items()]

        group, prefix = max(candidates, key=lambda c: sum(sizes(*c)))
        return group.part(prefix), all(sizes(group, prefix))


def below(prefix: str, path: str) -> str:
    """The rest of a path under a part that it leads through."""
    return path[len(prefix) :].removeprefix(".")


def joined(prefix: str, path: str) -> str:
    return f"{prefix}.{path}" if prefix and path else prefix or path


def by_key(values: Mapping[str, Value]) -> dict[str, Value | dict[str, Value]]:
    """Values by dotted path, as the first step of their paths: tensors, or what lies within by the rest of its path."""
    found: dict[str, Value | dict[str, Value]] = {}
    for path, value in values.items():
        first, *rest = keys(path.split("."))
        if rest:
            found.setdefault(first, {})[".".join(rest)] = value
        else:
            found[first] = value
    return found


def group_name(r: Result, values: Sequence[Value]) -> str:
    """`d_conv1` of the values d_conv1.kernel, d_conv1.bias; numbers that made them unique do not count."""
    found = re.fullmatch(rf"(.+)\.{re.escape(r.paths[0])}(_\d+)?", values[0].name)
    return found[1] if found else r.name
