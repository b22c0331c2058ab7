"""New objects of a class: from what its constructor takes, or of the sizes that given tensors have."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING

from leec.emit.expressions import dim_tree
from leec.emit.groups import attribute
from leec.emit.unit import Unit
from leec.ir.graph import Value

if TYPE_CHECKING:
    from leec.emit.calls import Caller


def made(unit: Unit, model: str, given: Mapping[str, ast.expr]) -> ast.expr:
    """A new object of a class, from what its constructor takes."""
    call = ast.Call(ast.Name(unit.class_name(model)), [], [])
    for h in unit.module.models[model].hypers:
        tree = ast.Tuple([given[str(v)] for v in h.default]) if h.kind == "tuple" else given[h.name]
        if not h.has_default and not call.keywords:
            call.args.append(tree)
        elif not (h.has_default and isinstance(tree, ast.Constant) and tree.value == h.default):
            call.keywords.append(ast.keyword(unit.argument_name(h.name), tree))
    call.keywords += [ast.keyword("key", given["key"])] if "key" in given else []
    return call


def resized(caller: Caller, model: str, like: ast.expr | None, tensors: Mapping[str, Value]) -> ast.expr | None:
    """A new object whose sizes the tensors tell, its numbers those of another; that one where something is not told."""
    init = caller.unit.functions.get(f"{model}.init")
    if init is None or any(p.model for p in init.parameters):
        return like
    types = {path: v.type for path, v in zip(init.results[0].paths, init.results[0].values, strict=True)}
    pairs = ((own, d) for path, v in tensors.items() for own, d in zip(types[path].dims, v.type.dims, strict=True))
    sizes = {own.symbol: d for own, d in pairs if own.symbol}
    is_told = {p.static for p in init.parameters if p.static} <= sizes.keys()
    if not is_told or like is None and any(p.values for p in init.parameters if p.name != "key"):
        return like
    given = {
        p.name: dim_tree(sizes[p.static], caller.body.sizes) if p.static else ast.Attribute(like, attribute(p.name))
        for p in init.parameters
        if p.name != "key"
    }
    return made(caller.unit, model, given)


def copied(model: ast.expr) -> ast.expr:
    """`net.copy()`"""
    return ast.Call(ast.Attribute(model, "copy"), [], [])
