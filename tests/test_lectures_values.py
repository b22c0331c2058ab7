"""Group M, changes of Q-learning and rewards of one's own, against torch, scikit-learn and value iteration by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Draws, Spec, agree
from lectures import Row, begins, every, example
from torch.distributions import Categorical

gymnasium = pytest.importorskip("gymnasium")
FAMILY, SHAPING, INVERSE = (f"reinforcement/{name}.lee" for name in ("dqn_family", "shaping", "inverse"))
GAMMA = 0.99


def net(w: Draws, x: torch.Tensor) -> torch.Tensor:
    """Two layers, by their paths."""
    return torch.relu(x @ w["layers.0.w"] + w["layers.0.b"]) @ w["layers.1.w"] + w["layers.1.b"]


# ---- Q-learning


def doubled(d: Draws) -> torch.Tensor:
    best = net(d.q, d.s).argmax(1)
    return (d.c * net(d.target, d.s).gather(1, best[:, None])[:, 0]).sum()


def three_moves(d: Draws) -> torch.Tensor:
    """Row by row: in which an episode ran out of time after the second move, ended with it, ended and was cut at last."""
    r, after = d.reward, d.after
    goals = (
        r[0, 0] + GAMMA * r[0, 1] + GAMMA**2 * after[0, 1],
        r[1, 0] + GAMMA * r[1, 1],
        r[2, 0] + GAMMA * r[2, 1] + GAMMA**2 * r[2, 2],
        r[3, 0] + GAMMA * r[3, 1] + GAMMA**2 * r[3, 2] + GAMMA**3 * after[3, 2],
    )
    return torch.stack(goals).square().sum()


def drawn_more(d: Draws) -> torch.Tensor:
    kept = torch.arange(6) != 4
    p = ((d.error.abs() + 1e-3) ** 0.6).where(kept, 0)
    p = p / p.sum()
    w = (6 * p[:4]) ** -0.4
    revised = torch.cat([d.x[:1], d.error[1:3], d.x[1:], d.error[4:]])  # at 0 and 3
    return (d.c * p).sum() + (d.c[:4] * w / w.max()).sum() + (d.c * revised).sum()


def in_a_row(d: Draws) -> torch.Tensor:
    """Places 3, 4, 0 begin three moves; then only 0 and 1 two."""
    return d.c[[0, 3, 4]].sum() + 10 * d.c[:2].sum()


def counted_less(d: Draws) -> torch.Tensor:
    h = torch.relu(d.s @ d.q["trunk.w"] + d.q["trunk.b"])
    gain = h @ d.q["gain.w"] + d.q["gain.b"]
    q = h @ d.q["value.w"] + d.q["value.b"] + gain - gain.mean(1, keepdim=True)
    return (d.weight * (q.gather(1, d.a[:, None])[:, 0] - d.goal.detach()) ** 2).mean()


def noise(d: Draws) -> torch.Tensor:
    into, out = (x.sign() * x.abs().sqrt() for x in (d.into, d.out))
    w = d.net["w"] + d.net["w_spread"] * torch.outer(into, out)
    return (d.c * F.linear(d.x, w.T, d.net["b"] + d.net["b_spread"] * out)).sum()


def spread_out(d: Draws) -> torch.Tensor:
    """The share of each value goes to the values below and above its goal, by their distance."""
    p, z = torch.softmax(d.older, 1), torch.arange(-3.0, 4.0, dtype=torch.float64)
    goal = torch.zeros_like(p)
    for i in range(5):
        for j in range(7):
            at = (d.r[i] + GAMMA * (0.0 if i == 2 else z[j])).clamp(-3, 3) + 3
            below = int(at.floor().clamp(0, 5))
            goal[i, below] += p[i, j] * (below + 1 - at)
            goal[i, below + 1] += p[i, j] * (at - below)
    return -(goal.detach() * torch.log_softmax(d.score, 1)).sum(1).mean()


# ---- rewards


def guided(d: Draws) -> torch.Tensor:
    return ((d.r + GAMMA * d.after.where(torch.arange(5) != 2, 0) - d.potential) ** 2).sum()


def swinging(d: Draws) -> torch.Tensor:
    x, v = d.s.T
    return 1000 * (d.c * (v**2 / 2 + torch.sin(3 * x) * 0.0025 / 3)).sum()


def conserved(spec: Spec) -> None:
    """Energy changes in gymnasium's own steps by what the motor does, up to the length of a step."""
    world = gymnasium.make("MountainCar-v0").unwrapped
    world.reset(seed=1)
    path = [world.step(1)[0].astype(np.float64) for _ in range(50)]
    energy = spec.value("energy", s=np.stack(path))
    assert np.ptp(energy) < 0.1 * np.abs(energy).max(), energy


def placed(d: Draws) -> torch.Tensor:
    """What lies beyond the corner is in the last of 30 x 30 cells."""
    return 1000 * torch.floor((d.x + 1.2) / 1.8 * 1000) + torch.floor((d.v + 0.07) / 0.14 * 1000) + 899


def curious(d: Draws) -> torch.Tensor:
    def scaled(s: torch.Tensor) -> torch.Tensor:
        return torch.stack([(s[:, 0] + 0.3) / 0.9, s[:, 1] / 0.07], 1)

    given = torch.cat([scaled(d.s), F.one_hot(d.a, 3)], 1)
    return ((net(d.world, given) - scaled(d.next)) ** 2).sum(1).mean()


def lake() -> tuple[np.ndarray, np.ndarray]:
    """Chances and rewards of a frozen lake; whoever is in a hole or at the goal stays there."""
    move, reward = np.zeros((16, 4, 16)), np.zeros((16, 4))
    for s, actions in gymnasium.make("FrozenLake-v1").unwrapped.P.items():
        for a, ways in actions.items():
            for share, after, gain, _ in ways:
                move[s, a, after] += share
                reward[s, a] += share * gain
    return move, reward


def iterated(reward: np.ndarray, move: np.ndarray, rounds: int, gamma: float) -> np.ndarray:
    q = np.zeros(reward.shape)
    for _ in range(rounds):
        q = reward + gamma * move @ q.max(1)
    return q


def same_policy(spec: Spec) -> None:
    """A potential moves Q(s, a) by itself, whatever a is."""
    move, reward = lake()
    φ = np.random.default_rng(0).normal(size=16)
    from_, to = np.broadcast_to(φ[:, None, None], move.shape), np.broadcast_to(φ, move.shape)
    bonus = [
        spec.value("shaped", r=np.zeros(16), potential=f, after=t, over=np.zeros(16, bool), gamma=GAMMA)
        for f, t in zip(from_.reshape(-1, 16), to.reshape(-1, 16), strict=True)
    ]
    with_bonus = reward + (move * np.reshape(bonus, move.shape)).sum(2)
    agree("Q", iterated(with_bonus, move, 3000, GAMMA), iterated(reward, move, 3000, GAMMA) - φ[:, None], 1e-8)


def soft(d: Draws) -> torch.Tensor:
    p, v = torch.softmax(d.z, 2), torch.zeros(4, dtype=torch.float64)
    for _ in range(30):
        q = d.reward[:, None] + 0.9 * p @ v
        v = torch.logsumexp(q, 1)
    return -Categorical(logits=q[d.s]).log_prob(d.a).mean() + 1e-4 * (d.reward**2).sum() + q.sum()


def best(d: Draws) -> torch.Tensor:
    p, q = torch.softmax(d.z, 2), torch.zeros(4, 3, dtype=torch.float64)
    for _ in range(200):
        q = d.reward + GAMMA * p @ q.max(1).values
    return (d.c * q).sum()


ROWS = (
    Row("M12", FAMILY, "of", example("doubled", doubled)),
    Row("M12", FAMILY, "double_value", example("doubled", doubled)),
    Row("M12", FAMILY, "several", example("three_moves", three_moves)),
    Row("M12", FAMILY, "priorities", example("drawn_more", drawn_more)),
    Row("M12", FAMILY, "stored", example("drawn_more", drawn_more)),
    Row("M12", FAMILY, "corrections", example("drawn_more", drawn_more)),
    Row("M12", FAMILY, "complete", example("in_a_row", in_a_row)),
    Row("M12", FAMILY, "weighted", example("counted_less", counted_less)),
    Row("M12", FAMILY, "Dueling", example("counted_less", counted_less)),
    Row(
        "M12",
        FAMILY,
        "NoisyLinear",
        every(example("noise", noise), begins("noise", net_w_spread=0.25, net_b_spread=0.25)),
    ),
    Row("M12", FAMILY, "projected", example("spread_out", spread_out)),
    Row("M12", FAMILY, "distributional", example("spread_out", spread_out)),
    Row("M13", SHAPING, "shaped", every(example("guided", guided), same_policy)),
    Row("M13", SHAPING, "energy", every(example("swinging", swinging), conserved)),
    Row("M13", SHAPING, "cell", example("cells", placed)),
    Row("M13", SHAPING, "surprise", example("curious", curious)),
    Row("M15", INVERSE, "soft_values", example("soft", soft)),
    Row("M15", INVERSE, "unlike", example("soft", soft)),
    Row("M15", INVERSE, "values", example("best", best)),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_agrees_with_its_reference(row: Row) -> None:
    row.check(row.spec)
