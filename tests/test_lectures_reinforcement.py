"""Group M, reinforcement learning, against sums by hand and torch; what is learned, in CartPole of gymnasium."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from against import Draws
from lectures import SPECS, Row, example
from torch.distributions import Categorical
from trainings import Weights, begin, loaded, quiet, trains

from leec.runtime.run import Run

gymnasium = pytest.importorskip("gymnasium")
GRADIENT, PPO, DQN = (f"reinforcement/{name}.lee" for name in ("policy_gradient", "ppo", "dqn"))


def net(w: Draws, x: torch.Tensor) -> torch.Tensor:
    """Two layers, by their paths."""
    hidden = torch.relu(x @ w["layers.0.w"] + w["layers.0.b"])
    return hidden @ w["layers.1.w"] + w["layers.1.b"]


def gains(reward: torch.Tensor, gamma: float = 0.99) -> torch.Tensor:
    """Σ_{t ≥ n} γ^{t - n} r_t, term by term."""
    steps = range(len(reward))
    return torch.stack([sum(gamma ** (t - n) * reward[t] for t in steps[n:]) for n in steps])


def standard(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean()) / (x.std(unbiased=False) + 1e-8)


def surprise(d: Draws) -> torch.Tensor:
    p = Categorical(logits=net(d.policy, d.s))
    return -(p.log_prob(d.a) * standard(d.advantage)).mean() - 0.01 * p.entropy().mean()


def advantages(d: Draws) -> torch.Tensor:
    """Σ (γ λ)^k δ_{t+k} up to the end of the episode, which is at 2."""
    after = torch.cat([d.value[1:], d.last[None]])
    alive = torch.tensor([1.0, 1, 0, 1, 1], dtype=after.dtype)
    error = d.reward + 0.99 * alive * after - d.value
    episodes = [[0, 1, 2], [3, 4]]
    return sum(sum((0.99 * 0.95) ** (t - n) * error[t] for t in rows if t >= n) ** 2 for rows in episodes for n in rows)


def clipped(d: Draws) -> torch.Tensor:
    p, older = (Categorical(logits=net(w, d.s)) for w in (d.policy, d.older))
    ratio = (p.log_prob(d.a) - older.log_prob(d.a)).exp()
    gain = torch.minimum(ratio * d.advantage, ratio.clamp(0.8, 1.2) * d.advantage)
    return -gain.mean() - 0.01 * p.entropy().mean()


def difference(d: Draws) -> torch.Tensor:
    taken = net(d.q, d.s)[torch.arange(5), d.a]
    best = net(d.target, d.next).max(dim=1).values * torch.tensor([1.0, 1, 1, 1, 0], dtype=d.r.dtype)
    return F.mse_loss(taken, (d.r + 0.99 * best).detach())


# ---- episodes by hand


def reinforce(run: Run, models: ModuleType) -> Iterator[Weights]:
    """The same numbers decide: the first class up to which the probabilities add up to more than them."""
    weights = begin(run, models, "MLP", "policy", sizes=(4, 64, 2))
    opt = torch.optim.Adam(list(weights.values()), lr=1e-2)
    world = gymnasium.make("CartPole-v1")
    for _ in run.loop("episode", 1, None):
        s, _ = world.reset(seed=run.key("s")[0])
        path, done = [], False
        while run.again("while", not done):
            x = torch.tensor(s, dtype=torch.float64)
            a = int(models.reinforce_a(Flat(weights), x.numpy(), key=run.key("reinforce")))
            s, reward, terminated, truncated, _ = world.step(a)
            path.append((x, a, reward))
            done = terminated or truncated
        x, a, reward = zip(*path, strict=True)
        p = Categorical(logits=net(weights, torch.stack(x)))
        advantage = standard(gains(torch.tensor(reward, dtype=torch.float64)))
        opt.zero_grad()
        (-(p.log_prob(torch.tensor(a)) * advantage).mean()).backward()
        opt.step()
        yield weights


class Flat:
    """Weights as a policy of NumPy."""

    def __init__(self, weights: Weights):
        self.weights = {path: w.detach().numpy() for path, w in weights.items()}

    def __getattr__(self, method: str):
        return self.scores  # whichever form of forward is asked for

    def scores(self, x):
        return net({path: torch.tensor(w) for path, w in self.weights.items()}, torch.tensor(x)).numpy()


ROWS = (
    Row("M2", GRADIENT, "surprise", example("episode", surprise)),
    Row(
        "M3",
        GRADIENT,
        "discounted",
        example("gains", lambda d: gains(torch.tensor([0, 0, 0, 1.0], dtype=torch.float64)).sum()),
    ),
    Row("M4", GRADIENT, "reinforce", trains("reinforce", reinforce, variable="policy")),
    Row("M6", PPO, "advantages", example("ends", advantages)),
    Row("M6", PPO, "clipped", example("ratio", clipped)),
    Row("M11", DQN, "temporal_difference", example("remembered", difference)),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_agrees_with_its_reference(row: Row) -> None:
    row.check(row.spec)


# ---- what is learned

RESULTS = (  # chance reaches 22, an episode ends after 500 moves; how many moves there are to learn stands in the spec
    (GRADIENT, "reinforce", 400),
    (GRADIENT, "actor_critic", 75),
    (PPO, "ppo", 400),
    (DQN, "dqn", 200),
)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "procedure", "reached"), RESULTS, ids=lambda x: str(x).partition("/")[2] or str(x))
def test_the_pole_stays_up(file: str, procedure: str, reached: float) -> None:
    """The median of three seeds: the mean score of the last tenth of what was reported."""
    program = loaded((SPECS / file).read_text(encoding="utf-8"))
    scores = []
    for seed in range(3):
        with quiet(procedure, seed=seed) as run:
            getattr(program.numpy, procedure)(run=run)
        found = [row["score"] for row in run.history if "score" in row]
        scores.append(sum(found[-len(found) // 10 :]) / len(found[-len(found) // 10 :]))
    assert median(scores) >= reached, scores
