"""`report`: values for the record, evaluated out of training and without gradient (R33, decision 45)."""

from __future__ import annotations

from leec.diagnostics import LeeError, names, procedures, structure
from leec.elaborate import hostvalues as hv
from leec.elaborate.arithmetic import as_value
from leec.elaborate.expressions import evaluate
from leec.elaborate.hostexpr import host_value, is_host
from leec.elaborate.runs import Run
from leec.ir import host
from leec.ir.graph import Value
from leec.syntax import nodes


def report(self, node: nodes.Report) -> None:
    """Numbers of the host stand as they are; all else is computed by one function of its own."""
    items: list[tuple[str, object, nodes.Expr]] = [label_of(self, label, value) for label, value in node.items]
    self.later.append({n for _, _, e in items for n in names_in(e)})
    self.flush()
    self.later.pop()
    dynamic = [(label, e) for label, _, e in items if not is_host(self, e)]
    found = compute(self, node, dynamic) if dynamic else {}
    lines = []
    for label, key, expression in items:
        value = found.get(label) or host_value(self, expression)
        lines.append((label, key, host.Literal(value) if isinstance(value, bool) else getattr(value, "expr", value)))
    self.emit(host.Report(tuple(lines), span=node.span))


def names_in(node: nodes.Expr) -> set[str]:
    from leec.elaborate.look import read_names

    return read_names(node)


def label_of(self, label: nodes.Expr, value: nodes.Expr | None) -> tuple[str, object, nodes.Expr]:
    """`accuracy = e`, `loss[k] = e`, or a bare name that is its own label."""
    match label:
        case nodes.Name(id=name):
            return name, None, value if value is not None else label
        case nodes.Subscript(value=nodes.Name(id=name), items=(key,)) if value is not None:
            return name, host_key(self, key), value
    raise LeeError(structure.wrong_kind(label.span, "this", "a label: a name, or a name with a key"))


def host_key(self, node: nodes.Expr) -> host.HostExpr:
    found = host_value(self, node)
    return host.Literal(found) if isinstance(found, bool) else found.expr


def compute(self, node: nodes.Report, items: list[tuple[str, nodes.Expr]]) -> dict[str, host.HostExpr]:
    """A function with a result for every label, and the names of the host variables that take them."""
    run = Run(self, training=False)
    run.span = node.span
    outputs: dict[str, Value] = {}
    for label, expression in items:
        if label in outputs:
            raise LeeError(names.declared_twice(nodes.Name(label, span=expression.span), expression))
        outputs[label] = as_value(run.ctx, evaluate(run.ctx, expression), expression.span)
        if outputs[label].type.rank:
            raise LeeError(procedures.no_number(expression.span, outputs[label].type.shown))
    function, results = run.finish(f"{self.name}_{'_'.join(outputs)}", [], outputs)
    site = self.name if any(p.name == "key" for p in function.parameters) else None
    self.draws = run.ctx.sites
    targets = tuple(f"reported_{r}" for r in results)
    self.block.append(host.Compute(targets, function.name, tuple(run.arguments), site, False, span=node.span))
    return {r: hv.HostNumber(host.Ref(t), "float") for r, t in zip(results, targets)}
