"""Group M, critics of a policy, against sums by hand, a linear solve, and the exact values of a world of gymnasium."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Draws
from lectures import Row, example
from trainings import loaded, quiet

gymnasium = pytest.importorskip("gymnasium")
CRITIC = "reinforcement/critic.lee"
GAMMA = 0.99


def gain_of_visits(d: Draws) -> torch.Tensor:
    """Σ γ^(t - n) r_t up to the end of the episode, which is at 2."""
    gains = [sum(GAMMA ** (t - n) * d.r[t] for t in rows if t >= n) for rows in ([0, 1, 2], [3, 4, 5]) for n in rows]
    return F.mse_loss(d.critic["value"][d.s], torch.stack(gains))


def next_move(d: Draws) -> torch.Tensor:
    after = d.critic["value"][d.next].where(torch.arange(6) != 3, 0)
    goal = d.r + GAMMA * after
    return F.mse_loss(d.critic["value"][d.s], goal.detach())


def solved(d: Draws) -> torch.Tensor:
    """(I - γ P) V = r, counted move by move."""
    visits = torch.bincount(d.s, minlength=5).clamp(min=1).double()
    left, reward = torch.eye(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    for s, after, r, u in zip(d.s, d.next, d.r, d.u, strict=True):
        left[s, after] -= GAMMA * float(u >= 0.5) / visits[s]
        reward = reward + F.one_hot(s, 5) * r / visits[s]
    return (torch.linalg.solve(left, reward) ** 2).sum()


ROWS = (
    Row("M8", CRITIC, "gains", example("episodes", gain_of_visits)),
    Row("M8", CRITIC, "monte_carlo", example("episodes", gain_of_visits)),
    Row("M9", CRITIC, "temporal_difference", example("moves", next_move)),
    Row("M9", CRITIC, "expected", example("counted", solved)),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_agrees_with_its_reference(row: Row) -> None:
    row.check(row.spec)


def exact() -> np.ndarray:
    """V of the policy of chance: (I - γ P) V = r, with what gymnasium says of the moves."""
    world = gymnasium.make("FrozenLake-v1").unwrapped
    move, reward = np.zeros((16, 16)), np.zeros(16)
    for s, actions in world.P.items():
        for share, after, gain, over in (way for ways in actions.values() for way in ways):
            reward[s] += share * gain / 4 * (world.desc.ravel()[s] in b"SF")  # nobody moves on from a hole or the goal
            move[s, after] += 0.0 if over else share / 4
    return np.linalg.solve(np.eye(16) - GAMMA * move, reward)


@pytest.mark.slow
@pytest.mark.parametrize(("procedure", "bound"), [("by_monte_carlo", 0.03), ("by_difference", 0.02)])
def test_critics_come_near_the_exact_values(procedure: str, bound: float) -> None:
    """On average over the states, in each of three seeds; the values are 0.07 on average."""
    program = loaded(ROWS[0].text)
    for seed in range(3):
        with quiet(procedure, seed=seed) as run:
            critic = getattr(program.numpy, procedure)(run=run)
        assert np.abs(program.weights(critic)["value"] - exact()).mean() <= bound
