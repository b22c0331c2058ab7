"""Names of Python, NumPy and torch that a spec has under another name, and what to write instead.

`RENAMED` names have the same meaning here, so that a fix may put one for the other; `INSTEAD` are advice.
"""

from __future__ import annotations

RENAMED = {
    "absolute": "abs",
    "amax": "max",
    "amin": "min",
    "cat": "concat",
    "clamp": "clip",
    "concatenate": "concat",
    "fabs": "abs",
    "flip": "reverse",
    "hardtanh": "hard_tanh",
    "logsoftmax": "log_softmax",
    "maximum": "max",
    "minimum": "min",
    "relu_": "relu",
    "swish": "silu",
}

INSTEAD = {
    **dict.fromkeys(
        ("np", "numpy", "torch", "math", "nn", "F", "tf", "jnp"),
        "functions stand without a module before them: `exp(x)`; layers come by `from std.nn import Linear`",
    ),
    "range": "a range is written `0..n - 1`, and both ends belong to it",
    "enumerate": "loop over positions, `for i in 0..n - 1`, and read `x[i]`",
    "print": "a `train` shows what it finds by `report loss, accuracy = share`",
    "self": "the members of a model are named without `self`",
    "e": "the exponential is `exp(x)`, and e is `exp(1)`",
    **dict.fromkeys(("pow", "power"), "a power is written `x ** 2`"),
    **dict.fromkeys(("matmul", "mm", "bmm"), "a product of matrices is written `a @ b`"),
    **dict.fromkeys(("transpose", "permute", "swapaxes"), "name the new order of the axes: `y[j, i] = x[i, j]`, or `x.T`"),
    **dict.fromkeys(("unsqueeze", "expand_dims"), "a new axis is written `x[:, None]`"),
    "squeeze": "an axis of one entry goes by reading it: `x[:, 0]`",
    **dict.fromkeys(("randn", "normal_"), "a draw is written `x: [n] ~ normal(0, 1)`"),
    **dict.fromkeys(("rand", "random"), "a draw is written `x: [n] ~ uniform(0, 1)`"),
    **dict.fromkeys(("mse_loss", "MSELoss"), "write `from std.losses import mse`"),
    **dict.fromkeys(("CrossEntropyLoss", "nll_loss"), "write `from std.losses import cross_entropy`"),
    "shape": "sizes get their names in the type, `x: [n, d]`, and are used by them; else `x.dims`",
    "item": "a tensor without axes is a number already",
    "append": "a list grows by `append x to xs`",
    "detach": "what no gradient goes through is written `stop(x)`",
}  # fmt: skip
MEMBERS = INSTEAD | {
    **dict.fromkeys(("backward", "step", "zero_grad"), "`minimize loss over net with opt` finds the gradient and makes the step"),
    "batches": "a loop goes over `batches(data.train, 32)`",
}  # fmt: skip
