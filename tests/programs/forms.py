"""What an expression may be, as texts with places for operands; values stay near 1 and divisors away from 0.

A new function of the language is one more text here.
"""

SMOOTH = (
    "sin({0})", "tanh({0})", "({0}) ** 2", "exp(tanh({0}))", "sigmoid({0})", "cos({0})", "-({0})", "sqrt(({0}) ** 2 + 0.3)",
    "log(1 + ({0}) ** 2)", "softplus({0})", "gelu({0})", "erf({0})", "atan({0})", "silu({0})", "log_sigmoid({0})",
    "log1p(({0}) ** 2)", "expm1(sin({0}))", "asinh({0})", "tanh({0}) ** 3", "(1.5 + sin({0})) ** 0.7", "(1 / (2 + cos({0})))",
    "cosh(sin({0}))", "sinh(sin({0}))", "tan(0.5 * sin({0}))", "asin(0.9 * sin({0}))", "acos(0.9 * tanh({0}))",
    "atanh(0.9 * sin({0}))", "acosh(2 + ({0}) ** 2)", "erfc({0})", "lgamma(1.5 + ({0}) ** 2)", "digamma(2 + sin({0}))",
    "softsign({0})", "mish({0})", "gelu({0}, approximate = true)", "log(sigmoid({0}))", "log(1 + exp({0}))",
    "(0.3 * ({0}) + 1.2)", "({0}) / 3", "2 ** sin({0})", "erfinv(0.8 * sin({0}))", "-log(1 - sigmoid({0}))", "square({0})",
)  # fmt: skip
KINKED = (
    "relu({0})", "abs({0})", "leaky_relu({0})", "max({0}, 0.137)", "min({0}, 0.411)", "clip({0}, -0.513, 0.727)", "elu({0})",
    "sign({0})", "floor({0})", "round({0})", "hard_sigmoid({0})", "ceil({0})", "trunc({0})", "relu({0}) ** 2", "selu({0})",
    "hard_swish({0})", "relu6({0})", "({0}) % 0.7", "({0}) // 0.3", "where(isnan({0}), 0, {0})",
)  # fmt: skip
ALTERED = (
    "stop({0})", "straight_through(round({0}), {0})", "reverse_gradient({0})", "graft({0}, sin({0}))",
    "(stop({0}) * {0})",
)  # fmt: skip
JOINED = (
    "({0} + {1})", "({0} * {1})", "({0} - {1})", "({0} / (1.2 + ({1}) ** 2))", "max({0}, {1})", "min({0}, {1})",
    "atan2({0}, 2.5 + sin({1}))", "logaddexp({0}, {1})", "((1.3 + tanh({0})) ** sin({1}))", "where({0} > 0.217, {0}, {1})",
    "where({1} < {0}, {0} * {1}, {1})", "({0} * {1} + {0})", "(0.5 * {0} - 2 * {1})",
)  # fmt: skip
CONDITIONS = (
    "{0} > 0.319", "{0} < -0.223", "({0} > -0.613 and {0} < 0.871)", "not ({0} > 0.119)", "{0} > {1}", "{0} <= {1}",
    "({0} <= 0.233 or {1} >= 0.577)", "-0.7 < {0} < 0.9",
)  # fmt: skip
REDUCTIONS = ("sum", "mean", "max", "min", "prod", "logsumexp", "norm", "var", "std", "median")
INDEX_REDUCTIONS = ("sum", "sum", "mean", "max", "min", "logsumexp", "prod")
ALONG = (
    "softmax({0}, axis = {1})", "cumsum({0}, axis = {1})", "sort({0}, axis = {1})", "reverse({0}, axis = {1})",
    "log_softmax({0}, axis = {1})", "cumprod(tanh({0}), axis = {1})", "({0} - mean({0}, axis = {1}, keepdims = true))",
    "({0} / sqrt(0.5 + sum(({0}) ** 2, axis = {1}, keepdims = true)))", "cummax({0}, axis = {1})", "cummin({0}, axis = {1})",
    "softmax({0}, axis = {1}, mask = {0} < 0.9)", "cumsum({0}, axis = {1}, reverse = true)",
    "cumsum({0}, axis = {1}, exclusive = true)", "take_along({0}, argsort({0}, axis = {1}), axis = {1})",
    "(({0} - mean({0}, axis = {1}, keepdims = true)) / sqrt(var({0}, axis = {1}, keepdims = true) + 0.1))",
)  # fmt: skip
UPDATES = ("tanh({0}) + 0.3 * {1}", "0.5 * {1} + 0.3 * ({0})", "sin({0} * {1})", "0.9 * {1}", "tanh({1} + {0})")
TOTALS = ("sum({0} ** 2)", "mean({0} ** 2)", "sum(sin({0}))", "sum({0} * {0}) / 3", "dot({0}, {0})", "mean({0})")

WHOLE = (
    "-({0})", "abs({0})", "({0}) // 2", "({0}) % 3", "max({0}, 1)", "clip({0}, -2, 3)", "int(({0}) ** 2)", "sign({0})",
    "bit_and({0}, 5)", "bit_or({0}, 2)", "bit_xor({0}, 3)", "shift_left({0}, 1)", "shift_right({0}, 1)", "bit_not({0})",
    "rem({0}, 4)",
)  # fmt: skip
WHOLES = ("({0} + {1})", "({0} - {1})", "({0} * {1})", "min({0}, {1})", "max({0}, {1})", "where({0} < {1}, {0}, 2)")
WHOLE_ALONG = (
    "cumsum({0}, axis = {1})",
    "sort({0}, axis = {1})",
    "argsort({0}, axis = {1})",
    "reverse({0}, axis = {1})",
)
WHOLE_CONDITIONS = ("{0} > 1", "{0} == {1}", "{0} != 2", "({0} >= 0 and {1} < 3)")

# Of a square matrix that is positive definite, and of a vector.
OF_MATRIX = ("cholesky({0})", "inv({0})", "tril({0})", "triu({0}, 1)", "({0} @ {0})", "matrix_sqrt({0})")
OF_VECTOR = ("solve({0}, {1})", "({0} @ {1})", "diagonal({0})", "solve_triangular(cholesky({0}), {1}, lower = true)")
OF_NUMBER = ("log(det({0}))", "slogdet({0})[1]", "trace({0})", "sum(eigh({0})[0] ** 2)", "logabsdet({0})", "max({0})")

DRAWN = (
    "normal({0}, exp(0.3 * sin({1})))", "uniform(sin({0}) - 2, 1.5 + sin({1}))", "laplace({0}, 1 + 0.3 * sin({1}))",
    "gumbel({0}, exp(0.2 * sin({1})))", "truncated_normal(0.1 * sin({0}), 1 + 0.3 * sin({1}))",
)  # fmt: skip
