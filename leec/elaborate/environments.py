"""`env cartpole = gym("CartPole-v1")`: what it takes and gives, and its `reset` and `step` in a `train` (R37)."""

from __future__ import annotations

from leec.diagnostics import LeeError, Span, names, procedures, shapes, structure
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.binding import names_apart
from leec.elaborate.context import Context
from leec.elaborate.descriptions import described
from leec.elaborate.lists import brought
from leec.elaborate.sources import field_type
from leec.elaborate.values import SourceValue
from leec.ir import host
from leec.syntax import nodes
from leec.types import TensorType

FIELDS = ("observation", "action")
METHODS = ("reset", "step")


def is_environment(found: object) -> bool:
    return isinstance(found, SourceValue) and found.declaration.kind == "env"


def environment(self, source: SourceValue, span: Span) -> hv.HostEnvironment:
    """The environment as a variable; the procedure opens it before anything else. Raises LeeError where it is misdeclared."""
    item = source.declaration
    name = item.name.id
    if name in self.environments:
        return self.environments[name][1]
    call = item.value
    maker = source.home.find(call.function.id) if is_named_call(call) else None
    if maker is None or maker[1] != hv.RuntimeFunction("gym"):
        raise LeeError(structure.wrong_kind(call.span, "this", 'an environment such as `gym("CartPole-v1")`'))
    home = Context(self.session, source.home, "environment")
    declared = {f.name.id: (field_type(home, f), bounds(f)) for f in item.fields}
    for wanted in FIELDS:
        if wanted not in declared:
            raise LeeError(procedures.missing_field(item.name.span, name, wanted))
    for f in item.fields:
        if f.name.id not in FIELDS:
            raise LeeError(names.no_member(f.name.span, f.name.id, "an environment", FIELDS))
    fields = tuple((n, *declared[n]) for n in FIELDS)
    found = hv.HostEnvironment(host.Ref(name), declared["observation"][0], declared["action"][0])
    self.environments[name] = host.Environment(name, call.args[0].value, fields, span=item.span), found
    return found


def is_named_call(node: nodes.Expr) -> bool:
    """`gym("..")`"""
    is_call = isinstance(node, nodes.Call) and isinstance(node.function, nodes.Name)
    return is_call and len(node.args) == 1 and isinstance(node.args[0], nodes.String)


def bounds(field: nodes.Field) -> tuple[int, int] | None:
    """`in 0..1`"""
    match field.range:
        case None:
            return None
        case nodes.Range(first=nodes.Number(value=int() as first), last=nodes.Number(value=int() as last)):
            return first, last
    raise LeeError(structure.wrong_kind(field.range.span, "this", "a range of whole numbers such as `0..1`"))


def method(self, target: nodes.Expr, node: nodes.Call) -> None:
    """`s = cartpole.reset()` and `next, r, terminated, truncated = cartpole.step(a)` (decision 15)."""
    from leec.elaborate.look import look

    found = environment(self, look(self, node.function.value), node.span)
    name = node.function.name.id
    if name not in METHODS:
        raise LeeError(names.no_member(node.function.name.span, name, "an environment", METHODS))
    targets = names_apart(target)
    given = 0 if name == "reset" else 1
    if len(node.args) != given or node.keywords:
        raise LeeError(names.argument_count(node.span, name, "takes the action" if given else "takes no arguments"))
    if len(targets) != (4 if given else 1):
        shown = "4 values: observation, reward, terminated, truncated" if given else "one value, the observation"
        raise LeeError(structure.cannot_unpack(target.span, len(targets), shown))
    arguments = (action(self, found, node.args[0]),) if given else ()
    self.flush()
    site = self.label(targets[0] or name) if name == "reset" else None
    self.emit(host.Method(targets, found.expr.name, name, arguments, site, span=node.span))
    given = (hv.HostTensor(found.expr, found.observation), *(hv.HostNumber(found.expr, t) for t in OUTCOME))
    for own, value in zip(targets, given):
        if own:
            self.bind(own, value)


OUTCOME = ("float", "bool", "bool")  # reward, terminated, truncated


def action(self, found: hv.HostEnvironment, node: nodes.Expr) -> host.HostExpr:
    """The action as an expression. Raises LeeError for one of another type than is declared."""
    value, expr = brought(self, node, "action")
    own = TensorType("int", ()) if isinstance(value, Dim) else getattr(value, "type", None)
    own = own or TensorType(getattr(value, "dtype", "bool"), ())
    if (own.dtype, own.rank) != (found.action.dtype, found.action.rank):
        shown = own.shown if own.rank else described(value)
        raise LeeError(shapes.wrong_rank(node.span, "the action", shown, str(found.action)))
    return expr
