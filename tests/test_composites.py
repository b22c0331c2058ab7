"""Composites from specs: spellings of pooling, activations, normalisation, losses, products and updates, and near misses.

Every spelling is compiled with recognition and without: values and gradients agree, in both columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from leec import driver
from leec.diagnostics import Source
from leec.diagnostics.render import render
from leec.ir.graph import Program
from leec.passes.recognise import expand
from leec.proof.interpret import run

SIZES = {"n": 3, "c": 2, "h": 7, "w": 6, "d": 5, "k": 4, "size": 2}


@dataclass(frozen=True)
class Spelling:
    """The body of `def f(signature)`; g(..) is the gradient of the sum of its squares, weighted, by `wrt`."""

    op: str
    signature: str
    body: str
    wrt: str = "x"
    ties: bool = False
    more: dict = field(default_factory=dict, hash=False)  # arguments besides tensors

    @property
    def text(self) -> str:
        names = ", ".join(p.split(":")[0].split("=")[0].strip() for p in self.signature.split(";"))
        head = self.signature.replace(";", ",")
        lines = "\n".join(f"    {line}" for line in self.body.split("\n"))
        g = f"def g({head}):\n    y = f({names})\n    return grad(sum(y ** 2 + 0.5 * y), {self.wrt})\n"
        return f"def f({head}):\n{lines}\n\n\n{g}"


def windows(op: str, body: str, signature: str = "x: [n, c, h, w]", **more) -> Spelling:
    return Spelling(op, signature, f"{body}\nreturn y", ties=op == "max_pool", **more)


def pools(op: str, of: str) -> dict[str, Spelling]:
    """Windows with literal and symbolic sizes, overlapping and not, in any layout."""
    return {
        "symbolic": windows(op, f"y[n, c, i in h // size, j in w // size] = {of}[u in size, v in size](x[n, c, size*i + u, size*j + v])",
                            "x: [n, c, h, w]; size = 2", more={"size": 2}),
        "overlapping": windows(op, f"y[b, p, i in (h - 3) // 2 + 1, j in w - 1] = {of}[u in 3, v in 2](x[b, p, 2*i + u, j + v])"),
        "channels last": windows(op, f"y[b, i in h // 2, j in w // 3, p in c] = {of}[u in 2, v in 3](x[b, 2*i + u, 3*j + v, p])", "x: [n, h, w, c]"),
        "one dimension": windows(op, f"y[b, p, t in h - 2] = {of}[tau in 3](x[b, p, t + tau])", "x: [n, c, h]"),
        "three dimensions": windows(op, f"y[b, p, i in 2, j in 2, l in 3] = {of}[u in 2, v in 3, r in 2](x[b, p, 2*i + u, 3*j + v, l + r])",
                                    "x: [1, c, 4, 6, 4]"),
        "offsets the other way round": windows(op, f"y[b, p, i in h // 2, j in w // 2] = {of}[v in 2, u in 2](x[b, p, 2*i + u, 2*j + v])"),
        "a single image": windows(op, f"y[i in h // 2, j in w // 2] = {of}[u in 2, v in 2](x[2*i + u, 2*j + v])", "x: [h, w]"),
        "more axes": windows(op, f"y[b, t, p, i in h // 2] = {of}[u in 2](x[b, t, p, 2*i + u])", "x: [n, 2, c, h]"),
        "only inside": windows(op, f"y[b, p, i in 2] = {of}[u in 3](x[b, p, i + u])", "x: [n, c, h]"),
    }  # fmt: skip


ROWS = "x: [n, d]"
NORM = "x: [n, d]; eps = 0.01"
SCALED = "x: [n, d]; gamma: [d]; beta: [d]; eps = 0.01"
SCORES = "z: [n, k]; y: int[n]"
MATCH: dict[str, dict[str, Spelling]] = {
    "max_pool": {**pools("max_pool", "max"), "dilation": windows("max_pool", "y[b, p, i in h - 4] = max[u in 3](x[b, p, i + 2*u])", "x: [n, c, h]")},
    "avg_pool": {
        **pools("avg_pool", "mean"),
        "a sum divided": windows("avg_pool", "y[b, p, i in h // size] = sum[u in size](x[b, p, size*i + u]) / size", "x: [n, c, h]; size = 2", more={"size": 2}),
        "a sum divided by a number": windows("avg_pool", "y[b, p, i in h // 2, j in w // 2] = sum[u in 2, v in 2](x[b, p, 2*i + u, 2*j + v]) / 4"),
    },
    "relu": {
        "where": Spelling("relu", ROWS, "return where(x > 0, x, 0)"),
        "the other way round": Spelling("relu", ROWS, "return where(x <= 0, 0, x)"),
        "zero first": Spelling("relu", ROWS, "return where(0 < x, x, 0)"),
        "zero first, turned": Spelling("relu", ROWS, "return where(0 >= x, 0, x)"),
        "by entries": Spelling("relu", ROWS, "y[i, j] = where(x[i, j] > 0, x[i, j], 0)\nreturn y"),
        "the prelude's": Spelling("relu", ROWS, "return relu(x)"),
    },
    "gelu": {
        "the prelude's": Spelling("gelu", ROWS, "return gelu(x)"),
        "the prelude's by tanh": Spelling("gelu", ROWS, "return gelu(x, approximate = true)"),
        "a half each": Spelling("gelu", ROWS, "return x * (0.5 + 0.5 * erf(x / sqrt(2)))"),
        "halved last": Spelling("gelu", ROWS, "return x * (1 + erf(x / sqrt(2))) / 2"),
        "a number for the root": Spelling("gelu", ROWS, "return x / 2 * (erf(0.7071067811865476 * x) + 1)"),
        "a power": Spelling("gelu", ROWS, "return 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))"),
        "factored": Spelling("gelu", ROWS, "return 0.5 * x * (1 + tanh(0.7978845608028654 * x * (1 + 0.044715 * x * x)))"),
        "of a sum": Spelling("gelu", ROWS, "z = x * x + x\nreturn 0.5 * z * (1 + erf(z / sqrt(2)))"),
    },
    "normalise": {
        "by axis": Spelling("normalise", NORM, "m = mean(x, axis = 1, keepdims = true)\nv = mean((x - m) ** 2, axis = 1, keepdims = true)\nreturn (x - m) / sqrt(v + eps)"),
        "by entries": Spelling("normalise", NORM, "m[i] = mean[j](x[i, j])\nv[i] = mean[j]((x[i, j] - m[i]) ** 2)\ny[i, j] = (x[i, j] - m[i]) / sqrt(v[i] + eps)\nreturn y"),
        "centred first": Spelling("normalise", NORM, "r = x - mean(x, axis = 1, keepdims = true)\nreturn r / sqrt(eps + mean(r * r, axis = 1, keepdims = true))"),
        "sums divided": Spelling("normalise", NORM, "r = x - sum(x, axis = 1, keepdims = true) / d\nreturn r / sqrt(sum(r ** 2, axis = 1, keepdims = true) / d + eps)"),
        "a power": Spelling("normalise", NORM, "m = mean(x, axis = 1)[:, None]\nreturn (x - m) * (mean((x - m) ** 2, axis = 1)[:, None] + eps) ** -0.5"),
        "an inverse": Spelling("normalise", NORM, "m = mean(x, axis = 1, keepdims = true)\nreturn (x - m) * (1 / sqrt(mean((x - m) ** 2, axis = 1, keepdims = true) + eps))"),
        "scaled": Spelling("normalise", SCALED, "m = mean(x, axis = 1, keepdims = true)\nv = mean((x - m) ** 2, axis = 1, keepdims = true)\nreturn gamma * (x - m) / sqrt(v + eps) + beta"),
        "other axes": Spelling("normalise", "x: [n, c, h, w]; eps = 0.01", "m = mean(x, over = (n, h, w))\nv = mean((x - m[:, None, None]) ** 2, over = (n, h, w))\n"
                               "return (x - m[:, None, None]) / sqrt(v[:, None, None] + eps)"),
        "columns": Spelling("normalise", NORM, "m = mean(x, axis = 0)\nreturn (x - m) / sqrt(mean((x - m) ** 2, axis = 0) + eps)"),
    },
    "cross_entropy": {
        "log_softmax": Spelling("cross_entropy", SCORES, "return -mean[i](log_softmax(z, axis = 1)[i, y[i]])", "z"),
        "log of softmax": Spelling("cross_entropy", SCORES, "return mean[i](-log(softmax(z, axis = 1)[i, y[i]]))", "z"),
        "softmax named": Spelling("cross_entropy", SCORES, "p = softmax(z, axis = 1)\nreturn -sum[i](log(p[i, y[i]])) / n", "z"),
        "logsumexp": Spelling("cross_entropy", SCORES, "return mean[i](logsumexp[j](z[i, j]) - z[i, y[i]])", "z"),
        "log of a sum": Spelling("cross_entropy", SCORES, "return mean[i](log(sum[j](exp(z[i, j]))) - z[i, y[i]])", "z"),
    },
}  # fmt: skip

NEARLY: dict[str, dict[str, Spelling]] = {
    "max_pool": {
        "smallest": windows("min", "y[b, p, i in h // 2] = min[u in 2](x[b, p, 2*i + u])", "x: [n, c, h]"),
        "from the second": windows("max", "y[b, p, i in 2] = max[u in 3](x[b, p, i + u + 1])", "x: [n, c, h]"),
        "backwards": windows("max", "y[b, p, i in h - 2] = max[u in 3](x[b, p, i - u + 2])", "x: [n, c, h]"),
        "a diagonal": windows("max", "y[b, i in 4] = max[u in 3](x[b, i + u, i])", "x: [n, h, w]"),
        "two offsets in one": windows("max", "y[b, p, i in 3] = max[u in 2, v in 2](x[b, p, i + u + 2*v])", "x: [n, c, h]"),
        "of products": windows("max", "y[b, i in h - 2] = max[u in 3](x[b, i + u] * (u + 1.0))", "x: [n, h]"),
    },
    "avg_pool": {
        "another number": windows("sum", "y[b, p, i in h // 2] = sum[u in 2](x[b, p, 2*i + u]) / 3", "x: [n, c, h]"),
        "dilation": windows("mean", "y[b, p, i in h - 4] = mean[u in 3](x[b, p, i + 2*u])", "x: [n, c, h]"),
        "along one axis of the window": windows("sum", "y[b, i in h // 2, u in 2] = sum[v in 2](x[b, 2*i + u, v])", "x: [n, h, w]"),
    },
    "relu": {
        "one at the border": Spelling("select", ROWS, "return where(x >= 0, x, 0)"),
        "another border": Spelling("select", ROWS, "return where(x > 1, x, 0)"),
        "another value": Spelling("select", ROWS, "return where(x > 0, x, 1)"),
        "another array": Spelling("select", ROWS, "return where(x > 0, 2 * x, 0)"),
        "the larger": Spelling("maximum", ROWS, "return max(x, 0)"),
    },
    "gelu": {
        "no root": Spelling("erf", ROWS, "return 0.5 * x * (1 + erf(x))"),
        "a rounded root": Spelling("erf", ROWS, "return 0.5 * x * (1 + erf(x / 1.41421))"),
        "the other tail": Spelling("erf", ROWS, "return 0.5 * x * (1 - erf(x / sqrt(2)))"),
        "not halved": Spelling("tanh", ROWS, "return x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))"),
        "another cubic": Spelling("tanh", ROWS, "return 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.05 * x ** 3)))"),
        "of another": Spelling("erf", ROWS, "return 0.5 * x * (1 + erf(2 * x / sqrt(2)))"),
    },
    "normalise": {
        "eps outside": Spelling("sqrt", NORM, "m = mean(x, axis = 1, keepdims = true)\nreturn (x - m) / (sqrt(mean((x - m) ** 2, axis = 1, keepdims = true)) + eps)"),
        "not centred": Spelling("sqrt", NORM, "return x / sqrt(mean(x ** 2, axis = 1, keepdims = true) + eps)"),
        "centred below only": Spelling("sqrt", NORM, "m = mean(x, axis = 1, keepdims = true)\nreturn x / sqrt(mean((x - m) ** 2, axis = 1, keepdims = true) + eps)"),
        "unbiased": Spelling("sqrt", NORM, "m = mean(x, axis = 1, keepdims = true)\nreturn (x - m) / sqrt(sum((x - m) ** 2, axis = 1, keepdims = true) / (d - 1) + eps)"),
        "two axes": Spelling("sqrt", NORM, "m = mean(x, axis = 0, keepdims = true)\nreturn (x - m) / sqrt(mean((x - m) ** 2, axis = 1, keepdims = true) + eps)"),
        "the variance itself": Spelling("mean", NORM, "m = mean(x, axis = 1, keepdims = true)\nreturn (x - m) / (mean((x - m) ** 2, axis = 1, keepdims = true) + eps)"),
    },
    "cross_entropy": {
        "along the other axis": Spelling("log_softmax", SCORES, "return -mean[i](log_softmax(z, axis = 0)[i, y[i]])", "z"),
        "of other scores": Spelling("logsumexp", SCORES, "return mean[i](logsumexp[j](2 * z[i, j]) - z[i, y[i]])", "z"),
        "every label": Spelling("log_softmax", SCORES, "return -mean[i, j](log_softmax(z, axis = 1)[i, y[j]])", "z"),
    },
}  # fmt: skip

FOUND = [(op, name) for op, spellings in MATCH.items() for name in spellings]
MISSED = [(op, name) for op, spellings in NEARLY.items() for name in spellings]


@cache
def compiled(text: str, recognises: bool) -> Program:
    module, found = driver.elaborate(Source("spec.lee", text))
    errors = [render(d) for d in found if d.severity == "error"]
    assert not errors, "\n".join(errors)
    return driver.optimise(module, driver.Options(recognise=recognises)).functions


def ops_of(program: Program) -> set[str]:
    return {e.op for f in program.functions.values() for e in f.body}


def arguments(program: Program, spelling: Spelling) -> dict[str, object]:
    """Halves of small integers where ties are wanted."""
    rng = np.random.default_rng(0)
    found: dict[str, object] = dict(spelling.more)
    for v in program.functions["f"].inputs:
        shape = tuple(d.evaluate(SIZES) for d in v.type.dims)
        if v.type.host:
            continue
        drawn = rng.integers(-3, 4, shape) / 2 if spelling.ties else rng.standard_normal(shape)
        found[v.name] = rng.integers(0, SIZES["k"], shape) if v.type.dtype == "int" else drawn
    return found


def check(op: str, spelling: Spelling, is_found: bool) -> None:
    """Is the op there, and are value and gradient what they are without recognition?"""
    composite, plain = compiled(spelling.text, True), compiled(spelling.text, False)
    assert (op in ops_of(composite)) == is_found and op not in ops_of(plain)
    given = arguments(plain, spelling)
    for function in ("f", "g"):
        wanted = next(iter(run(plain, function, given, "numpy").values()))
        for column in ("numpy", "torch", "torch_step"):
            found = np.asarray(next(iter(run(composite, function, given, column).values())))
            np.testing.assert_allclose(
                found, wanted, rtol=1e-11, atol=1e-11 * max(1, np.abs(wanted).max()), err_msg=f"{function} {column}"
            )


@pytest.mark.parametrize(("op", "name"), FOUND)
def test_spellings(op: str, name: str) -> None:
    check(op, MATCH[op][name], True)


@pytest.mark.parametrize(("op", "name"), MISSED)
def test_near_misses(op: str, name: str) -> None:
    check(op, NEARLY[op][name], False)


# ---- idioms of torch


AFFINE = {
    "with a matrix": (True, "x: [n, d]; w: [d, k]; b: [k]", "return x @ w + b"),
    "bias first": (True, "x: [n, d]; w: [d, k]; b: [k]", "return b + x @ w"),
    "transposed": (True, "x: [n, d]; w: [k, d]; b: [k]", "return x @ w.T + b"),
    "by entries": (True, "x: [n, d]; w: [k, d]; b: [k]", "y[i, j] = sum[p](w[j, p] * x[i, p]) + b[j]\nreturn y"),
    "of a stack": (True, "x: [n, c, d]; w: [d, k]; b: [k]", "return x @ w + b"),
    "of a stack, transposed": (
        True,
        "x: [n, c, d]; w: [k, d]; b: [k]",
        "y[i, t, j] = sum[p](x[i, t, p] * w[j, p])\nreturn y + b",
    ),
    "along the rows": (False, "x: [n, d]; w: [d, k]; b: [n]", "return x @ w + b[:, None]"),
    "a whole matrix": (False, "x: [n, d]; w: [d, k]; b: [n, k]", "return x @ w + b"),
    "read twice": (False, "x: [n, d]; w: [d, k]; b: [k]", "y = x @ w\nreturn y + b, y"),
    "of a vector": (False, "x: [d]; w: [d, k]; b: [k]", "return x @ w + b"),
    "a number": (False, "x: [n, d]; w: [d, k]; b: []", "return x @ w + b"),
}


@pytest.mark.parametrize("name", AFFINE)
def test_a_product_with_a_bias_is_one_call_of_torch(name: str) -> None:
    is_found, signature, body = AFFINE[name]
    lines = body.replace("\n", "\n    ")
    program = compiled(f"def f({signature.replace(';', ',')}):\n    {lines}\n", True)
    assert ("affine" in ops_of(expand(program, "torch"))) == is_found and "affine" not in ops_of(
        expand(program, "numpy")
    )
    given = arguments(program, Spelling("affine", signature, body))
    for wanted, found in zip(
        run(program, "f", given, "numpy").values(), run(program, "f", given, "torch").values(), strict=True
    ):
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-12, atol=1e-12)


MOMENTS = "m <- beta1 * m + (1 - beta1) * g\nv <- beta2 * v + (1 - beta2) * g ** 2\n"
HATS = "m_hat = m / (1 - beta1 ** t)\nv_hat = v / (1 - beta2 ** t)\n"
ADAM = {
    "as printed": MOMENTS + HATS + "θ <- θ - lr * m_hat / (sqrt(v_hat) + eps)",
    "a step apart": MOMENTS + HATS + "step = m_hat / (sqrt(v_hat) + eps)\nθ <- θ - lr * step",
    "negative step": MOMENTS + HATS + "θ <- θ + (-lr) * (m_hat / (eps + sqrt(v_hat)))",
    "moments by differences": "m <- m + (1 - beta1) * (g - m)\nv <- v + (1 - beta2) * (g * g - v)\n"
    + HATS
    + "θ <- θ - lr * m_hat / (sqrt(v_hat) + eps)",
    "corrected rate": MOMENTS + "rate = lr / (1 - beta1 ** t)\nθ <- θ - rate * m / (sqrt(v / (1 - beta2 ** t)) + eps)",
    "products the other way": "m <- m * beta1 + g * (1 - beta1)\nv <- (1 - beta2) * g * g + v * beta2\n"
    + HATS
    + "θ <- θ - m_hat * lr / (sqrt(v_hat) + eps)",
    "decay of the weights": MOMENTS + HATS + "θ <- θ - lr * (m_hat / (sqrt(v_hat) + eps) + decay * θ)",
    "decay first": MOMENTS + HATS + "θ <- (1 - lr * decay) * θ - lr * m_hat / (sqrt(v_hat) + eps)",
    "decay in the gradient": "g = g + decay * θ\n" + MOMENTS + HATS + "θ <- θ - lr * m_hat / (sqrt(v_hat) + eps)",
    "the mean corrected by another count": MOMENTS
    + "m_hat = m / (1 - beta1 ** (t + 1))\nv_hat = v / (1 - beta2 ** t)\nθ <- θ - lr * m_hat / (sqrt(v_hat) + eps)",
    "clipped": "g = g * min(1, 1 / (norm(g) + 1e-6))\n" + MOMENTS + HATS + "θ <- θ - lr * m_hat / (sqrt(v_hat) + eps)",
}
APART = ("decay of the weights", "decay first")
NOT_ADAM = {
    "no correction": MOMENTS + "θ <- θ - lr * m / (sqrt(v) + eps)",
    "eps under the root": MOMENTS + HATS + "θ <- θ - lr * m_hat / sqrt(v_hat + eps)",
    "one corrected": MOMENTS + "θ <- θ - lr * (m / (1 - beta1 ** t)) / (sqrt(v) + eps)",
    "not a mean": "m <- beta1 * m + g\nv <- beta2 * v + (1 - beta2) * g ** 2\n" + HATS + "θ <- θ - lr * m_hat / (sqrt(v_hat) + eps)",
    "another gradient": "m <- beta1 * m + (1 - beta1) * g\nv <- beta2 * v + (1 - beta2) * (g - m) ** 2\n" + HATS + "θ <- θ - lr * m_hat / (sqrt(v_hat) + eps)",
    "Nesterov": MOMENTS + HATS + "θ <- θ - lr * (beta1 * m_hat + (1 - beta1) * g) / (sqrt(v_hat) + eps)",
    "a rate that is not always defined": MOMENTS + HATS + "rate = lr / (t - 2)\nθ <- θ - rate * m_hat / (sqrt(v_hat) + eps)",
    "absolute": "m <- beta1 * m + (1 - beta1) * g\nv <- beta2 * v + (1 - beta2) * abs(g)\n" + HATS + "θ <- θ - lr * m_hat / (sqrt(v_hat) + eps)",
}  # fmt: skip
STATES = "    state m like θ = 0\n    state v like θ = 0\n\n"
NUMBERS = {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "decay": 0.1}


@pytest.mark.parametrize("name", [*ADAM, *NOT_ADAM])
def test_adam_is_one_call_of_torch(name: str) -> None:
    body = (ADAM | NOT_ADAM)[name].replace("\n", "\n        ")
    hypers = ", ".join(f"{k} = {v}" for k, v in NUMBERS.items())
    program = compiled(f"optimizer Adam({hypers}):\n{STATES}    def update(θ, g, t):\n        {body}\n", True)
    found = ops_of(expand(program, "torch")) & {"adam", "adamw"}
    assert found == (set() if name in NOT_ADAM else {"adamw" if name in APART else "adam"})
    rng = np.random.default_rng(0)
    given = {
        "θ": rng.standard_normal(7),
        "g": rng.standard_normal(7),
        "m": rng.standard_normal(7),
        "v": rng.uniform(0.1, 1, 7),
        "t": 3,
    }
    wanted, found = (run(program, "Adam.update", {**NUMBERS, **given}, column) for column in ("numpy", "torch"))
    for key, value in wanted.items():
        np.testing.assert_allclose(np.asarray(found[key]), value, rtol=1e-12, atol=1e-12, err_msg=key)


def test_adam_walks_as_the_library_does() -> None:
    body = ADAM["decay of the weights"].replace("\n", "\n        ")
    hypers = ", ".join(f"{k} = {v}" for k, v in NUMBERS.items())
    program = compiled(f"optimizer Adam({hypers}):\n{STATES}    def update(θ, g, t):\n        {body}\n", True)
    θ = torch.linspace(-1, 1, 9, dtype=torch.float64)
    theirs = θ.clone().requires_grad_()
    library = torch.optim.AdamW([theirs], NUMBERS["lr"], (0.8, 0.95), NUMBERS["eps"], NUMBERS["decay"])
    state = {"θ": θ, "m": torch.zeros(9), "v": torch.zeros(9)}
    for t in range(1, 11):
        theirs.grad = torch.sin(theirs.detach() * t)
        state = run(program, "Adam.update", {**NUMBERS, **state, "g": torch.sin(state["θ"] * t), "t": t}, "torch")
        library.step()
    np.testing.assert_allclose(state["θ"].numpy(), theirs.detach().numpy(), rtol=1e-12)


# ---- against the library


LIBRARY = {
    "max_pool": (MATCH["max_pool"]["symbolic"], lambda x: F.max_pool2d(x, 2)),
    "avg_pool": (MATCH["avg_pool"]["symbolic"], lambda x: F.avg_pool2d(x, 2)),
    "relu": (MATCH["relu"]["where"], F.relu),
    "gelu": (MATCH["gelu"]["the prelude's"], F.gelu),
    "gelu by tanh": (MATCH["gelu"]["factored"], lambda x: F.gelu(x, approximate="tanh")),
    "layer norm": (MATCH["normalise"]["by entries"], lambda x: F.layer_norm(x, x.shape[1:], eps=0.01)),
    "batch norm": (MATCH["normalise"]["other axes"], lambda x: F.batch_norm(x, None, None, training=True, eps=0.01)),
    "cross-entropy": (MATCH["cross_entropy"]["log of a sum"], F.cross_entropy),
}


@pytest.mark.parametrize("name", LIBRARY)
def test_value_and_gradient_are_the_library_s(name: str) -> None:
    spelling, reference = LIBRARY[name]
    program = compiled(spelling.text, True)
    given = arguments(program, spelling)
    tensors = [torch.tensor(v) for v in given.values() if isinstance(v, np.ndarray)]
    x = tensors[0].requires_grad_()
    y = reference(*tensors)
    (g,) = torch.autograd.grad((y**2 + 0.5 * y).sum(), x)
    for function, wanted in (("f", y), ("g", g)):
        for column in ("numpy", "torch", "torch_step"):
            found = np.asarray(next(iter(run(program, function, given, column).values())))
            np.testing.assert_allclose(
                found, wanted.detach().numpy(), rtol=1e-10, atol=1e-12, err_msg=f"{function} {column}"
            )


LAYER_NORM = """
def f(x: [n, d], gamma: [d], beta: [d], eps = 0.01):
    m = mean(x, axis = 1, keepdims = true)
    z = (x - m) / sqrt(mean((x - m) ** 2, axis = 1, keepdims = true) + eps)
    return {}
"""
SCALES = {
    "gamma * z + beta": True,
    "beta + z * gamma": True,
    "gamma * z + beta, z": False,
    "gamma * z": False,
    "gamma * z + eps": False,
}


@pytest.mark.parametrize("result", SCALES)
def test_layer_norm_is_one_call_of_torch(result: str) -> None:
    program = compiled(LAYER_NORM.format(result), True)
    assert ("layer_norm" in ops_of(expand(program, "torch"))) == SCALES[result]
    given = arguments(program, Spelling("", "", ""))
    for wanted, found in zip(
        run(program, "f", given, "numpy").values(), run(program, "f", given, "torch").values(), strict=True
    ):
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-12, atol=1e-12)


# ---- whole specs


SPECS = sorted(p for p in (Path(__file__).parents[1] / "specs").rglob("*.lee") if "\nexample " in p.read_text("utf-8"))


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_examples_are_the_same_without_any_recognition(path: Path) -> None:
    """Value and every result, within rounding; what has no gradient up to rounding is measured by the value's size."""
    module, found = driver.elaborate(Source(str(path), path.read_text("utf-8")), beside(path))
    assert not [d for d in found if d.severity == "error"]
    composite, plain = (driver.optimise(module, driver.Options(recognise=r)).functions for r in (True, False))
    for name in module.examples.values():
        key = {"key": (20, 26)} if any(p.name == "key" for p in plain.functions[name].parameters) else {}
        wanted, got = (flat(run(p, name, key, "numpy")) for p in (plain, composite))
        assert wanted.keys() == got.keys()
        for label, value in wanted.items():
            tolerance = 1e-9 * max(1.0, np.abs(value).max(initial=0.0))
            np.testing.assert_allclose(got[label], value, rtol=1e-9, atol=tolerance, err_msg=f"{name} {label}")


def beside(path: Path) -> Callable[[str], Source | None]:
    """Other files of the same folder."""

    def load(name: str) -> Source | None:
        other = path.with_name(f"{name.split('.')[-1]}.lee")
        return Source(str(other), other.read_text("utf-8")) if other.exists() else None

    return load


def flat(results: dict[str, object]) -> dict[str, np.ndarray]:
    """Arrays by name and path."""
    found = {}
    for name, value in results.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        found |= {f"{name}.{path}": np.asarray(x, float) for path, x in parts}
    return found
