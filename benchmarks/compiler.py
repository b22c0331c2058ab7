"""What compiling costs: from the start of a process, and how it grows with a spec.

Growth is shown as the cost for each line, call or model, relative to the smallest spec: 1 everywhere is linear.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from rich.console import Console
from rich.table import Table

from benchmarks import start
from leec import driver
from leec.api import read
from leec.diagnostics import Source

ROOT = Path(__file__).parents[1]
GOALS = {"check": 0.4, "compile": 1.5}  # seconds from the start of the process
HEAVY = ("torch", "black", "numpy")  # what `import leec` leaves alone
RUNS = 7


def largest(folder: str) -> Path:
    """The largest spec in a folder without a mistake, which therefore can be compiled."""
    found = (ROOT / folder).rglob("*.lee")
    by_size = sorted(found, key=lambda path: (-len(path.read_text(encoding="utf-8").splitlines()), path.name))
    return next(path for path in by_size if not driver.has_errors(driver.check(*read(path))))


def started(commands: Mapping[str, Sequence[str]]) -> dict[str, tuple[float, float]]:
    """Median seconds of commands from the start of their processes, and the processor's; they take turns.

    Modules are compiled to bytecode before.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    with TemporaryDirectory() as folder:
        bytecode = {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": str(ROOT)}
        for _ in range(RUNS + 1):
            for name, command in commands.items():
                began, before = perf_counter(), os.times()
                subprocess.run([sys.executable, *command], cwd=folder, env=os.environ | bytecode, capture_output=True)
                after = os.times()
                busy = sum(after[i] - before[i] for i in (2, 3))  # of children
                found[name].append((perf_counter() - began, busy))
    return {name: (median(w for w, _ in times[1:]), median(b for _, b in times[1:])) for name, times in found.items()}


def imported() -> list[str]:
    """Which of the heavy packages `import leec` brings with it."""
    code = f"import leec, sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout.split()


# ---- specs that grow


def many_functions(lines: int) -> str:
    """Annotated defs of five lines that do not know each other."""
    one = "def f{0}(x: [n, d], w: [d, k]) -> [n, k]:\n    z = x @ w\n    return tanh(z) + {0}\n\n"
    return "\n".join(one.format(i) for i in range(lines // 5))


def many_statements(count: int) -> str:
    """One def of many statements, and its gradient."""
    body = "\n".join(f"    h{i} = tanh(h{i - 1} * w + {i})" for i in range(1, count + 1))
    last = "example e:\n    x: [3, 4] ~ normal(0, 1)\n    w: [4] ~ normal(0, 1)\n    return mean(f(x, w) ** 2)\n"
    return f"def f(x: [n, d], w: [d]) -> [n, d]:\n    h0 = x\n{body}\n    return h{count}\n\n\n{last}"


def nested_calls(depth: int) -> str:
    """Defs that each call the one before, and the gradient of the last."""
    first = "def f0(x: [n, d], w: [d]) -> [n, d]:\n    return tanh(x * w)\n"
    calls = "def f{0}(x: [n, d], w: [d]) -> [n, d]:\n    return tanh(f{1}(x, w) * w)\n"
    last = "example e:\n    x: [3, 4] ~ normal(0, 1)\n    w: [4] ~ normal(0, 1)\n    return mean(f{0}(x, w) ** 2)\n"
    return "\n\n".join([first, *(calls.format(i, i - 1) for i in range(1, depth)), last.format(depth - 1)])


def nested_models(depth: int) -> str:
    """Models that each hold the one before, with parameters drawn at random, and the gradient of the last."""
    first = "model M0(d):\n    param w: [d] ~ normal(0, 1)\n    param b: [d] ~ normal(0, 1)\n\n"
    first += "    def forward(x: [n, d]) -> [n, d]:\n        return tanh(x * w + b)\n"
    holds = "model M{0}(d):\n    inner = M{1}(d)\n    param w: [d] ~ normal(0, 1)\n\n"
    holds += "    def forward(x: [n, d]) -> [n, d]:\n        return tanh(inner(x) * w)\n"
    last = "example e:\n    net = M{0}(4)\n    x: [3, 4] ~ normal(0, 1)\n    return mean(net(x) ** 2)\n"
    return "\n\n".join([first, *(holds.format(i, i - 1) for i in range(1, depth)), last.format(depth - 1)])


HEAD = (
    "from std.data import batches\nfrom std.losses import mse\nfrom std.nn import Linear\nfrom std.optim import SGD\n"
)


def many_layers(count: int) -> str:
    """One model of many layers, and a procedure that trains it."""
    members = "\n".join(f"    layer{i} = Linear(a, a)" for i in range(count))
    body = "\n".join(f"        h = tanh(layer{i}(h))" for i in range(count))
    return (
        f"{HEAD}\n\nmodel Net(a):\n{members}\n\n    def forward(x: [n, a]) -> [n, a]:\n        h = x\n{body}\n"
        "        return h\n\n\ntrain fit(data: (x: [n, 4], y: [n, 4])):\n    net = Net(4)\n    opt = SGD(lr = 0.1)\n"
        "    for x, y in batches(data.train, 8):\n        minimize mse(net(x), y) over net with opt\n    return net\n"
    )


def many_models(count: int) -> str:
    """Models of different sizes, each with a procedure that trains it."""
    one = (
        "model M{0}(a):\n    one = Linear(a, {1})\n    two = Linear({1}, a)\n\n"
        "    def forward(x: [n, a]) -> [n, a]:\n        return two(tanh(one(x))) + {0}\n\n\n"
        "train fit{0}(data: (x: [n, 4], y: [n, 4])):\n    net = M{0}(4)\n    opt = SGD(lr = 0.1)\n"
        "    for x, y in batches(data.train, 8):\n        minimize mse(net(x), y) over net with opt\n    return net\n"
    )
    return "\n\n".join([HEAD, *(one.format(i, i + 3) for i in range(count))])


GROWING: dict[str, tuple[Callable[[int], str], tuple[int, ...]]] = {
    "lines": (many_functions, (625, 1250, 2500, 5000)),
    "statements of a def": (many_statements, (100, 200, 400, 800)),
    "calls within each other": (nested_calls, (10, 20, 40, 80)),
    "layers of a model": (many_layers, (25, 50, 100, 200)),
    "models within each other": (nested_models, (10, 20, 40, 80)),
    "models with gradients": (many_models, (25, 50, 100, 200)),
}


def cost(text: str, compiles: bool) -> float:
    """Seconds to check or compile, the better of two. Raises AssertionError for a spec with a mistake."""
    times = []
    for _ in range(2):
        began = process_time()
        if compiles:
            diagnostics = driver.compile_spec(Source("growing.lee", text)).diagnostics
        else:
            diagnostics = driver.check(Source("growing.lee", text))
        times.append(process_time() - began)
        assert not diagnostics, diagnostics[0].message
    return min(times)


def growth(make: Callable[[int], str], sizes: Iterable[int], compiles: bool) -> dict[int, float]:
    """The cost for one of what grows, relative to that in the smallest spec."""
    first, *others = sizes
    base = cost(make(first), compiles) / first
    return {first: 1.0, **{n: round(cost(make(n), compiles) / n / base, 2) for n in others}}


def shown(command: Sequence[str]) -> str:
    """What a command reads, and of how many lines."""
    path = next((Path(word) for word in command if word.endswith(".lee")), None)
    if path is None:
        return "alone"
    return f"{path.relative_to(ROOT).as_posix()} of {len(path.read_text(encoding='utf-8').splitlines())} lines"


def report(console: Console) -> dict[str, object]:
    sample, spec = largest("tests/samples"), largest("specs")
    commands = {
        "numpy": ("-c", "import numpy"),
        "check": ("-m", "leec", "check", str(sample)),
        "compile": ("-m", "leec", "compile", str(sample), "-o", "out"),
        "check the largest spec": ("-m", "leec", "check", str(spec)),
        "compile the largest spec": ("-m", "leec", "compile", str(spec), "-o", "out"),
    }
    times = started(commands)
    for name, (whole, busy) in times.items():
        goal = f" (goal {GOALS[name]:g} s)" if name in GOALS else ""
        console.print(f"{name}, {shown(commands[name])}: {whole:.2f} s from the start{goal}")
        console.print(
            f"    {busy:.2f} s of them computing, {busy / times['numpy'][1]:.1f} times as long as `import numpy`"
        )
    first = start.first_step()
    console.print("A generated reference, from its import to its first step, beyond NumPy:")
    console.print("    " + ", ".join(f"{first[unit]:g} {unit} (goal {goal:g})" for unit, goal in start.GOALS.items()))
    heavy = imported()
    console.print(f"import leec brings with it: {', '.join(heavy) or 'none of ' + ', '.join(HEAVY)}")
    grown = {
        f"{command}, {what}": growth(make, sizes, command == "compile")
        for what, (make, sizes) in GROWING.items()
        for command in GOALS
    }
    table = Table("", *map(str, range(1, 5)), title="Cost for each, relative to the smallest spec", box=None)
    for what, row in grown.items():
        table.add_row(what, *(f"{n}: {value:.2f}" for n, value in row.items()))
    console.print(table)
    return {
        "sample": sample.name,
        "spec": spec.name,
        "seconds": times,
        "imported": heavy,
        "growth": grown,
        "first step": first,
    }
