"""Steps in PyTorch stay right where they save work: numbers that are held, terms that are left out, fewer entries."""

from __future__ import annotations

import re
import types

import pytest
import torch

import leec
from leec import driver
from leec.diagnostics import Source

torch.set_num_threads(1)

NET = """from std.data import batches
from std.losses import cross_entropy, mse
from std.nn import Conv, Linear, max_pool
from std.optim import SGD


model Line(inputs):
    one = Linear(inputs, 5)
    two = Linear(5, 1)

    def forward(x: [n, inputs]) -> [n, 1]:
        return two({activation}(one(x)))


model Look(classes):
    conv = Conv(1, 4, padding = 1)
    head = Linear(36, classes)

    def forward(x: [n, 1, 6, 6]) -> [n, classes]:
        return head(flatten(max_pool(relu(conv(x))), from = 1))


train fit(data: (x: [n, 3], y: [n, 1])):
    net = Line(3)
    opt = SGD(lr = 0.1)
    for x, y in batches(data.train, 8):
        minimize mse(net(x), y) over net with opt
    return net


train look(data: (x: [n, 1, 6, 6], y: int[n])):
    net = Look(3)
    opt = SGD(lr = 0.1)
    for x, y in batches(data.train, 8):
        minimize cross_entropy(net(x), y) over net with opt
    return net
"""


def made(activation: str = "tanh") -> tuple[types.ModuleType, str]:
    result = driver.compile_spec(Source("steps.lee", NET.replace("{activation}", activation)))
    assert not result.diagnostics, result.diagnostics
    text = next(t for name, t in result.files.items() if name.endswith("cuda.py"))
    module = types.ModuleType("made_steps")
    exec(compile(text, "cuda.py", "exec"), module.__dict__)
    return module, text


def moved_by_autograd(net, loss, rate: float, decay: float) -> list[torch.Tensor]:
    parameters = list(net.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    return [(p - rate * (g + decay * p)).detach().clone() for p, g in zip(parameters, gradients, strict=True)]


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_every_size_of_batch_has_its_numbers(activation: str) -> None:
    module, text = made(activation)
    assert "self.held(" in text
    net = module.Line(3, key=(1, 2))
    step = module.FitStep(net, module.SGD(lr=0.1))
    for n in (7, 4, 7, 1):
        x, y = torch.randn(n, 3), torch.randn(n, 1)
        loss = ((net(x) - y) ** 2).mean()
        wanted = moved_by_autograd(net, loss, 0.1, 0.0)
        assert step(x, y).item() == pytest.approx(loss.item(), rel=1e-5)
        for p, w in zip(net.parameters(), wanted, strict=True):
            torch.testing.assert_close(p.detach(), w, rtol=1e-4, atol=1e-6)


def test_a_term_whose_factor_is_zero_costs_nothing_until_it_is_not() -> None:
    module, _ = made()
    net, opt = module.Line(3, key=(1, 2)), module.SGD(lr=0.1)
    step = module.FitStep(net, opt)
    x, y = torch.randn(6, 3), torch.randn(6, 1)
    spare = step.blocks[0][0][-1].fill_(5.0)
    for decay in (0.0, 0.5):
        opt.weight_decay = decay
        wanted = moved_by_autograd(net, ((net(x) - y) ** 2).mean(), 0.1, decay)
        step(x, y)
        assert torch.equal(spare, torch.full_like(spare, 5.0)) == (decay == 0)
        for p, w in zip(net.parameters(), wanted, strict=True):
            torch.testing.assert_close(p.detach(), w, rtol=1e-4, atol=1e-6)


def test_what_is_positive_is_found_among_the_largest() -> None:
    module, text = made()
    assert "torch.relu(max_pool" in text
    net = module.Look(3, key=(1, 2))
    with torch.no_grad():
        net.conv.bias[1] = -50.0  # a channel that is never positive
    step = module.LookStep(net, module.SGD(lr=0.1))
    x, y = torch.randint(-2, 3, (5, 1, 6, 6)).float(), torch.tensor([0, 1, 2, 1, 0])
    wanted = moved_by_autograd(net, torch.nn.functional.cross_entropy(net(x), y), 0.1, 0.0)
    step(x, y)
    for p, w in zip(net.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.detach(), w, rtol=1e-4, atol=1e-6)


# ---- groups

GATE = """from std.data import batches
from std.losses import mse
from std.nn import Linear
from std.optim import SGD


model Gate(inputs):
    one = Linear(inputs, inputs)

    def forward(x: [n, inputs]) -> [n, inputs]:
        h = one(x)
        return exp(-h * h) * x + tanh(h) / (1 + x * x) - inputs


train fit(data: (x: [n, 4], y: [n, 4])):
    net = Gate(4)
    opt = SGD(lr = 0.01)
    for x, y in batches(data.train, 8):
        minimize mse(net(x), y) over net with opt
    return net
"""


def gates(level: int):
    module = leec.load(GATE, level=level).torch
    net = module.Gate(4, key=(3, 4))
    return module, net, module.FitStep(net, module.SGD(lr=0.01))


def groups_of(module: types.ModuleType) -> dict[str, types.FunctionType]:
    found = {name: f for name, f in vars(module).items() if name.startswith("fit_step_")}
    assert found and all(hasattr(f, "__wrapped__") for f in found.values())
    return found


def test_groups_compute_what_statements_do_and_leave_their_arguments_alone() -> None:
    (_, plain, one), (module, grouped, two) = gates(1), gates(2)
    for n in (5, 3, 5):
        x, y = torch.randn(n, 4), torch.randn(n, 4)
        before = x.clone(), y.clone()
        torch.testing.assert_close(two(x, y), one(x, y), rtol=1e-5, atol=1e-6)
        assert torch.equal(x, before[0]) and torch.equal(y, before[1])
    for a, b in zip(grouped.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    for name, f in groups_of(module).items():
        assert re.search(r":\d+$", f.__doc__ or ""), name


def test_a_group_is_one_graph_for_the_compiler_that_a_gpu_is_given(monkeypatch) -> None:
    """Nothing in it leaves the graph, and what it overwrites is its own."""
    module, _, step = gates(2)
    calls: dict[str, tuple] = {}
    for name, f in groups_of(module).items():

        def recorded(*arrays, name=name, f=f):
            calls[name] = tuple(a.clone() if isinstance(a, torch.Tensor) else a for a in arrays)
            return f(*arrays)

        monkeypatch.setattr(module, name, recorded)
    functions = {name: f.__kwdefaults__["f"] for name, f in vars(module).items() if name.startswith("fit_step_")}
    step(torch.randn(5, 4), torch.randn(5, 4))
    assert calls.keys() == functions.keys()
    for name, arrays in calls.items():
        written = functions[name].__wrapped__
        compiled = torch.compile(written, backend="aot_eager", fullgraph=True)
        copies = [a.clone() if isinstance(a, torch.Tensor) else a for a in arrays]
        torch.testing.assert_close(compiled(*copies), written(*arrays))
        for copy, a in zip(copies, arrays, strict=True):
            assert not isinstance(a, torch.Tensor) or torch.equal(copy, a)
