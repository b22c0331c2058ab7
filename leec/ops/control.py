"""Structured operations: calls, loops, the gradient request that differentiation replaces, and groups of operations."""

from __future__ import annotations

from leec.ops.table import REQUIRED, Op, declare


def _call_type(*types, callee, dims, results):
    return tuple(results)


declare(Op("call", ("*args",), "the results of another function; `dims` binds its rigid symbols", _call_type, None, "", "",
           params={"callee": REQUIRED, "dims": REQUIRED, "results": REQUIRED}))  # fmt: skip


declare(Op("scan", ("*args",), "a loop over positions (leec/ir/loops.py): carries and rows go through `callee`, `length` times or while the carry `going` is true",
           lambda *types, results, **params: tuple(results), None, "", "",
           params={"callee": REQUIRED, "dims": REQUIRED, "results": REQUIRED, "roles": REQUIRED, "length": REQUIRED,
                   "first": REQUIRED, "counter": REQUIRED, "reverse": False, "going": None, "axes": (), "starts": (), "out_axes": ()}))  # fmt: skip


def _grad_type(e, *wrt):
    return tuple(wrt)


declare(Op("grad", ("e", "*wrt"), "the derivatives of the scalar e by each of wrt, through what was computed from it (R6)",
           _grad_type, None, "", ""))  # fmt: skip


def _fused_type(*types, body):
    return tuple(v.type for v in body.outputs)


def _members(b, *args, body):
    """What the body gives, its equations written out: for who has no use for groups."""
    here = dict(zip(body.inputs, args, strict=True))
    for e in body.body:
        here[e.result] = b.emit(e.op, tuple(here[a] for a in e.args), dict(e.params), hint=e.result.name)
    return here[body.outputs[0]]


declare(Op("fused", ("*args",), "entrywise operations and reductions as one: the result of `body`, over the sizes of the caller",
           _fused_type, None, "", "", params={"body": REQUIRED}, facts={"body": _members}))  # fmt: skip
