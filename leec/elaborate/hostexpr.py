"""Host expressions: arithmetic on Python numbers in a `train` stays Python; everything with tensors goes into a run."""

from __future__ import annotations

from leec.diagnostics import LeeError, Span, structure
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.calls import Arguments
from leec.elaborate.structural import expression, is_structural
from leec.elaborate.values import BuiltinValue, ListValue, Record, describe
from leec.ir import host
from leec.ops.table import TABLE
from leec.syntax import nodes
from leec.types import TensorType

CASTS = ("int", "float")  # functions of Python that have the same meaning there
_LITERALS = (bool, str, float, type(None))
_PLAIN = (nodes.Number, nodes.String, nodes.Bool)
_COMPUTED = (*_PLAIN, nodes.Name, nodes.Binary, nodes.Unary, nodes.Compare, nodes.Logic, nodes.Ternary, nodes.Subscript)


def is_host(self, node: nodes.Expr) -> bool:
    """Does the expression need numbers, lists and names of the host only?"""
    from leec.elaborate.look import look

    match node:
        case nodes.Number() | nodes.String() | nodes.Bool() | nodes.Nothing():
            return True
        case nodes.Name() | nodes.Attribute() | nodes.Subscript() if not is_dims(node):
            found = look(self, node)
            if isinstance(found, hv.HostTensor):
                return found.type.rank == 0
            return isinstance(found, (hv.HostNumber, hv.HostList, hv.HostTuple, Dim, *_LITERALS)) and found is not None
        case nodes.Binary(left=a, right=b):
            return node.op != "@" and is_host(self, a) and is_host(self, b)
        case nodes.Unary(operand=a):
            return is_host(self, a)
        case nodes.Compare(first=first, rest=rest):
            return is_host(self, first) and all(is_host(self, e) for _, e in rest)
        case nodes.Logic(items=items) | nodes.Tuple(items=items) | nodes.List(items=items):
            return all(is_host(self, i) for i in items)
        case nodes.Record(fields=fields):
            return all(is_host(self, e) for _, e in fields)
        case nodes.Subscript():
            return True
        case nodes.Call(function=nodes.Name(id="len"), args=(argument,)):
            found = look(self, argument)
            return (
                isinstance(found, (hv.HostList, hv.HostSplit))
                or isinstance(found, hv.HostTensor)
                and found.type.rank > 0
            )
        case nodes.Call(function=nodes.Name() as function, args=args, keywords=()):
            found = look(self, function)
            is_known = isinstance(found, BuiltinValue) and (found.name in CASTS or host_row(found.name) is not None)
            return is_known and all(is_host(self, a) for a in args)
    return False


def is_dims(node: nodes.Expr) -> bool:
    """`x.dims[0]`"""
    is_field = isinstance(node, nodes.Subscript) and isinstance(node.value, nodes.Attribute)
    return is_field and node.value.name.id == "dims"


def host_row(name: str) -> str | None:
    """The elementwise row behind a function of lee that Python can compute."""
    name = {"max": "maximum", "min": "minimum"}.get(name, name)
    row = TABLE.get(name)
    return name if row is not None and row.elementwise and row.host is not None else None


def number(name: str, value: object) -> object:
    """What a host variable holds after an assignment: integers become symbols, so that sizes can be made of them."""
    match value:
        case Dim() | hv.HostNumber(dtype="int"):
            return Dim.of(name)
        case hv.HostNumber(dtype=dtype):
            return hv.HostNumber(host.Ref(name), dtype)
        case hv.HostTuple() | hv.HostList():
            return hv.fields_of(host.Ref(name), value)
    return value


def host_value(self, node: nodes.Expr) -> object:
    """A HostNumber with its expression, or a bool that is known now; tensors go through the run and come back."""
    known = static_value(self, node)
    if isinstance(known, bool):
        return known
    return _translate(self, node) if is_host(self, node) else computed(self, node)


def computed(self, node: nodes.Expr) -> hv.HostNumber:
    """A number that a run computes, under a fresh name."""
    name = self.label("condition")
    target = nodes.Name(name, span=node.span)
    self.in_run(nodes.Assign(target, node, span=node.span))
    self.later.append({name})
    self.flush()
    self.later.pop()
    found = self.variables.get(name)
    dtype = found.type.dtype if isinstance(found, hv.HostTensor) else getattr(found, "dtype", None)
    if dtype is None:
        raise LeeError(structure.wrong_kind(node.span, describe(found), "a number or a condition"))
    return hv.HostNumber(host.Ref(name), dtype)


def _translate(self, node: nodes.Expr) -> object:
    from leec.elaborate.look import look

    match node:
        case nodes.Number(value=value):
            return hv.HostNumber(host.Literal(value), "int" if isinstance(value, int) else "float")
        case nodes.String(value=value) | nodes.Bool(value=value):
            return value if isinstance(value, bool) else hv.HostNumber(host.Literal(value), "str")
        case nodes.Nothing():
            return hv.HostNumber(host.Literal(None), "none")
        case nodes.Name() | nodes.Attribute() | nodes.Subscript() if not is_dims(node):
            return as_number(look(self, node), node.span)
        case nodes.Binary(op=op, left=a, right=b):
            return operation(op, [_translate(self, a), _translate(self, b)])
        case nodes.Unary(op=op, operand=a):
            return operation(op, [_translate(self, a)])
        case nodes.Compare(first=first, rest=rest):
            return _chain(self, first, rest)
        case nodes.Logic(op=op, items=items):
            return operation(op, [_translate(self, i) for i in items])
        case nodes.Tuple(items=items) | nodes.List(items=items):
            return bundle([_translate(self, i) for i in items])
        case nodes.Record(fields=fields):
            return bundle([_translate(self, e) for _, e in fields], tuple(n.id for n, _ in fields))
        case nodes.Subscript(value=attribute, items=items):
            return _dims(self, attribute, items, node.span)
        case nodes.Call(function=nodes.Name(id="len"), args=(argument,)):
            found = look(self, argument)
            is_tensor = isinstance(found, hv.HostTensor)
            rows = host.Size(found.type.dims[0]) if is_tensor else host.Operation("len", (found.expr,))
            return hv.HostNumber(rows, "int")
        case nodes.Call(function=function, args=args) if function.id in CASTS:
            number = _translate(self, args[0])
            expr = host.Literal(number) if isinstance(number, bool) else number.expr
            return hv.HostNumber(host.Operation(function.id, (expr,)), function.id)
        case nodes.Call(function=function, args=args):
            return operation(host_row(function.id), [_translate(self, a) for a in args])
    raise LeeError(structure.not_built(node.span, "this host expression"))


def bundle(parts: list[object], names: tuple[str, ...] = ()) -> hv.HostTuple:
    """A tuple or record of host values."""
    exprs = tuple(host.Literal(p) if isinstance(p, bool) else p.expr for p in parts)
    return hv.HostTuple(host.Bundle(exprs, names), tuple(parts), names)


def as_number(found: object, span: Span) -> object:
    match found:
        case Dim():
            return hv.HostNumber(host.Size(found), "int")
        case bool():
            return found
        case float() | str() | None:
            return hv.HostNumber(host.Literal(found), "float" if isinstance(found, float) else "str")
        case hv.HostTensor(expr=expr, type=TensorType(dims=(), dtype=dtype)):
            return hv.HostNumber(expr, dtype)
        case hv.HostNumber() | hv.HostTuple() | hv.HostList():
            return found
    raise LeeError(structure.wrong_kind(span, describe(found), "a number"))


def operation(op: str, parts: list[object]) -> hv.HostNumber:
    exprs = tuple(host.Literal(p) if isinstance(p, bool) else p.expr for p in parts)
    dtypes = {getattr(p, "dtype", "bool") for p in parts}
    if op in ("<", "<=", ">", ">=", "==", "!=", "and", "or", "not"):
        dtype = "bool"
    elif op == "/" or "float" in dtypes or op not in ("+", "-", "*", "//", "%", "**", "maximum", "minimum", "abs"):
        dtype = "float"
    else:
        dtype = "int"
    return hv.HostNumber(host.Operation(op, exprs), dtype)


def _chain(self, first: nodes.Expr, rest: tuple) -> hv.HostNumber:
    left, links = _translate(self, first), []
    for op, node in rest:
        right = _translate(self, node)
        links.append(operation(op, [left, right]))
        left = right
    return links[0] if len(links) == 1 else operation("and", links)


def _dims(self, attribute: nodes.Attribute, items: tuple, span: Span) -> hv.HostNumber:
    """`data.train.x.dims[1]`"""
    return hv.HostNumber(host.Size(dims_item(self, attribute, items, span)), "int")


def dims_item(self, attribute: nodes.Attribute, items: tuple, span: Span) -> Dim:
    from leec.elaborate.look import look

    array = look(self, attribute.value)
    position = items[0].value if len(items) == 1 and isinstance(items[0], nodes.Number) else None
    if not isinstance(array, hv.HostTensor) or position is None or position >= array.type.rank:
        raise LeeError(structure.wrong_kind(span, "this", "the size of an axis of an array"))
    return array.type.dims[position]


def host_arguments(self, node: nodes.Call) -> tuple[Arguments, dict]:
    """The arguments as elaboration sees them, and the host expressions that compute them, by position and name."""
    values, exprs = [], {}
    for position, argument in enumerate(node.args):
        value, exprs[position] = argument_value(self, argument)
        values.append(value)
    keywords = {}
    for name, argument in node.keywords:
        keywords[name.id], exprs[name.id] = argument_value(self, argument)
    return Arguments(values, keywords, node), exprs


def argument_value(self, node: nodes.Expr) -> tuple[object, host.HostExpr]:
    """A size, a literal, a tuple of them, or an object of the host."""
    from leec.elaborate.look import look

    match node:
        case nodes.Tuple(items=items) | nodes.List(items=items):
            parts = [argument_value(self, i) for i in items]
            whole = tuple(v for v, _ in parts)
            return (ListValue(whole) if isinstance(node, nodes.List) else whole), host.Bundle(
                tuple(e for _, e in parts)
            )
        case nodes.Record(fields=fields):
            parts = [argument_value(self, e) for _, e in fields]
            names = tuple(n.id for n, _ in fields)
            return Record(names, tuple(v for v, _ in parts)), host.Bundle(tuple(e for _, e in parts), names)
        case nodes.Name() | nodes.Attribute():
            found = look(self, node)
            if isinstance(found, hv.HostModel):
                return found.instance(), found.expr
            if found is not None and hasattr(found, "expr"):
                return found, found.expr
            if isinstance(found, (Dim, tuple, *_LITERALS)) and not (found is None and not isinstance(node, nodes.Name)):
                return found, expression(found)
        case nodes.Call() if not is_host(self, node):
            return function_argument(self, node)
    return constant_or_number(self, node)


def constant_or_number(self, node: nodes.Expr) -> tuple[object, host.HostExpr]:
    value = static_value(self, node)
    if value is not None:
        return value, expression(value)
    if isinstance(node, nodes.Subscript) and is_host(self, node):
        size = dims_item(self, node.value, node.items, node.span)
        return size, host.Size(size)
    found = host_value(self, node)
    return (found, host.Literal(found)) if isinstance(found, bool) else (found, found.expr)


def static_value(self, node: nodes.Expr) -> object | None:
    """Literals, polynomials of sizes, and what is made of arguments that choose code."""
    from leec.elaborate.expressions import evaluate

    parts = _parts(self, node)
    known = bool(parts) and all(is_structural(v) and v is not None for v in parts)
    if not known and (not is_host(self, node) or any(isinstance(v, hv.HostNumber) for v in parts)):
        return None
    if not isinstance(node, _COMPUTED if known else (*_PLAIN, nodes.Binary, nodes.Unary)):
        return None
    try:
        value = evaluate(self.known, node)
    except LeeError:
        return None
    return value if isinstance(value, (Dim, float, bool, str)) else None


def _parts(self, node: nodes.Expr) -> list[object]:
    from leec.elaborate.look import look, read_names

    return [look(self, nodes.Name(n, span=node.span)) for n in sorted(read_names(node))]


def function_argument(self, node: nodes.Call) -> tuple[object, host.HostExpr]:
    """A schedule such as `warmup_cosine(3e-4, 100, steps)`: a function of t made of host numbers (R31)."""
    from leec.elaborate.schedules import schedule

    return schedule(self, node)
