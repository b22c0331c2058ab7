"""Group O, compression, against torch and scikit-learn; procedures against loops in torch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from against import agree
from lectures import Row, every, example
from torch.nn.utils import prune
from trainings import Weights, begin, ends, perceptron, rounds, trains


def digits(run):
    return run.data("digits", shape=(64,), test=0.3).train


def adam(weights):
    return torch.optim.Adam(list(weights.values()), 3e-3)


def step(rule, cost) -> None:
    rule.zero_grad()
    cost.backward()
    rule.step()


# ---- weights that become 0


def heavy(weights: Weights, fraction: float) -> Weights:
    """Ones and zeros by torch's own pruning of all tensors together."""
    holders = {path: torch.nn.Module() for path in weights}
    for path, holder in holders.items():
        holder.w = torch.nn.Parameter(weights[path].detach().clone())
    prune.global_unstructured([(h, "w") for h in holders.values()], prune.L1Unstructured, amount=fraction)
    return {path: holder.w_mask for path, holder in holders.items()}


def masked(weights, mask) -> Weights:
    return {path: weights[path] * mask[path] for path in mask}


def without_light(d):
    for path, chosen in heavy({path: d.net[path] for path in d.net}, 0.6).items():
        agree(path, d.mask[path].detach(), chosen)
    return F.cross_entropy(perceptron(masked(d.net, d.mask), d.x), d.y)


def one_tensor(d):
    return (d.c * d.w * prune.L1Unstructured(0.6).compute_mask(d.w.detach(), torch.ones_like(d.w))).sum()


def dense(run, net: Weights) -> Iterator[None]:
    """The epochs that tell which weights count."""
    rule = adam(net)
    for x, y in rounds(run, digits(run), 32, 1):
        step(rule, F.cross_entropy(perceptron(net, x), y))
        yield


def pruned(run, models) -> Iterator[Weights]:
    net = begin(run, models, "MLP", sizes=(64, 100, 10))
    for _ in dense(run, net):
        yield net
    mask = heavy(net, 0.9)
    for path, w in net.items():
        w.data *= mask[path]
    rule = adam(net)
    for x, y in rounds(run, digits(run), 32, 1, "_2"):
        step(rule, F.cross_entropy(perceptron(masked(net, mask), x), y))
        yield net


def lottery(shown: str):
    """What a variable holds after every update; ticket and other are updated in turn."""

    def loop(run, models) -> Iterator[Weights]:
        start = begin(run, models, "MLP", "start", sizes=(64, 100, 10))
        nets = {"net": {path: w.detach().clone().requires_grad_() for path, w in start.items()}}
        for _ in dense(run, nets["net"]):
            yield nets.get(shown, {})
        mask = heavy(nets["net"], 0.9)
        for name, w in (("ticket", start), ("other", begin(run, models, "MLP", "elsewhere", sizes=(64, 100, 10)))):
            nets[name] = {path: v.detach().requires_grad_() for path, v in masked(w, mask).items()}
        rules = {name: adam(nets[name]) for name in ("ticket", "other")}
        for x, y in rounds(run, digits(run), 32, 1, "_2"):
            for name, rule in rules.items():
                step(rule, F.cross_entropy(perceptron(masked(nets[name], mask), x), y))
                yield nets[shown]

    return loop


LOTTERY = (
    trains("lottery", lottery("net"), 20, "net", epochs=1),
    *(trains("lottery", lottery(name), 48, name, epochs=1) for name in ("ticket", "other")),
    ends("lottery", lottery("ticket"), epochs=1),
)

# ---- neurons that go


def active(p, x):
    return F.relu(x @ p["up.w"] + p["up.b"])


def two_layers(p, x):
    return active(p, x) @ p["down.w"] + p["down.b"]


def usefulness(p, x):
    return active(p, x).mean(0) * p["down.w"].norm(dim=1)


def without_some(d):
    """The small net computes what the large one does whose other neurons torch has masked."""
    score = usefulness(d.net, d.x)
    mask = prune.LnStructured(3, n=1, dim=0).compute_mask(score.detach()[:, None], torch.ones(7, 1))
    masked = active(d.net, d.x) * mask[:, 0] @ d.net["down.w"] + d.net["down.b"]
    return (d.c * masked).sum() + (score**2).sum()


def shrinking(run, models) -> Iterator[Weights]:
    """Rounds of training, each followed by the net of the neurons that score highest."""
    part = run.data("digits", shape=(64,), test=0.2).train
    net, x_all = begin(run, models, "Net", d=64, hidden=20), torch.tensor(part.x)
    for _ in run.loop("round", 1, 3):
        rule = torch.optim.Adam(list(net.values()), 1e-3)
        for x, y in rounds(run, part, 64, 1):
            step(rule, F.cross_entropy(two_layers(net, x), y))
        keep = usefulness(net, x_all).argsort(descending=True, stable=True)[: int(0.8 * net["up.b"].numel())]
        parts = {"up.w": net["up.w"][:, keep], "up.b": net["up.b"][keep], "down.w": net["down.w"][keep]}
        net |= {path: w.detach().clone().requires_grad_() for path, w in parts.items()}
        yield net


PRUNING, NEURONS = "compression/pruning.lee", "compression/neurons.lee"
ROWS = (
    Row("O1", PRUNING, "heavy", example("without_light", without_light)),
    Row("O1", PRUNING, "light", example("one_tensor", one_tensor)),
    Row("O1", PRUNING, "pruned", ends("pruned", pruned, epochs=1, more=1)),
    Row("O2", NEURONS, "usefulness", example("without_some", without_some)),
    Row("O2", NEURONS, "shrunk", example("without_some", without_some)),
    Row("O2", NEURONS, "prune", ends("prune", shrinking, rounds=3, hidden=20, epochs=1)),
    Row("O3", PRUNING, "lottery", every(*LOTTERY)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
