"""Specs are untrusted: names, strings and docstrings of a spec never become code in a generated file."""

from __future__ import annotations

import ast
import builtins

import pytest

import leec
from leec.diagnostics import LeeError

PAYLOAD = "import builtins; builtins.LEEC_HOSTILE = 1"
BREAKS = ("\\n", "\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029")
QUOTES = ("'''", '\\"\\"\\"', '\\"\\"\\"\\', '""', "{{ x }}", "{% if x %}", "\\N{QUOTATION MARK}" * 3, "#")
NAMES = (
    "class", "lambda", "import", "np", "torch", "self", "print", "exec", "eval", "math", "FLOAT", "Model", "__init__",
    "__class__", "forward", "type", "train", "parameters", "members", "None_", "True_", "key", "fold", "SITES", "θ",
)  # fmt: skip


def runs_clean(spec: str) -> None:
    """Both files parse, run, and have no effect; or the spec is refused with a diagnostic."""
    try:
        files = leec.compile(spec).files
    except LeeError:
        return
    for text in files.values():
        compile(text, "generated", "exec")
        assert not any(isinstance(n, ast.Name) and n.id == "builtins" for n in ast.walk(ast.parse(text)))
    exec(compile(files["reference.py"], "generated", "exec"), {"__name__": "generated"})
    assert not hasattr(builtins, "LEEC_HOSTILE")


@pytest.mark.parametrize("quote", QUOTES)
@pytest.mark.parametrize("end", BREAKS, ids=ascii)
def test_docstrings(quote: str, end: str) -> None:
    doc = f"x{quote}{end}{PAYLOAD}{end}{quote}x "
    runs_clean(f'"""{doc}"""\n\n\ndef f(x: [n]) -> [n]:\n    """{doc}"""\n    return 2 * x\n')


@pytest.mark.parametrize("end", BREAKS, ids=ascii)
def test_lines_that_become_comments(end: str) -> None:
    runs_clean(
        f"def f(x: [n]) -> []:\n    y = exp(x) * (1 +{end} 2)  # {end}{PAYLOAD}\n    return sum(grad(sum(y), x))\n"
    )


@pytest.mark.parametrize("name", NAMES)
def test_names_of_arguments(name: str) -> None:
    runs_clean(f"def f({name}: [n], y: [n]) -> [n]:\n    z = exp({name})\n    return z * z + y\n")


@pytest.mark.parametrize("name", NAMES)
def test_names_of_members(name: str) -> None:
    spec = f"""model Net(d):
    param {name}: [d] = 0

    def forward(x: [n, d]) -> [n]:
        return x @ {name}


example e:
    net = Net(3)
    x: [2, 3] ~ normal(0, 1)
    return sum(net(x) ** 2)
"""
    runs_clean(spec)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_functions_and_models(name: str) -> None:
    runs_clean(
        f"def {name}(x: [n]) -> [n]:\n    y = exp(x)\n    return y * y\n\n\ndef g(x: [n]) -> []:\n    return sum(grad(sum({name}(x)), x))\n"
    )
    runs_clean(f"model {name}(d):\n    param w: [d] = 0\n\n    def forward(x: [n, d]) -> [n]:\n        return x @ w\n")
