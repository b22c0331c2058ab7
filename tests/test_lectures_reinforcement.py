"""Group M, reinforcement learning, against sums by hand and torch; what is learned, in CartPole of gymnasium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Draws, Spec, agree
from lectures import SPECS, Row, every, example
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from torch.distributions import Categorical, Normal
from trainings import BACKENDS, Weights, begin, loaded, quiet, trains

from leec.runtime.run import Run

gymnasium = pytest.importorskip("gymnasium")
NAMES = ("policy_gradient", "actor_critic", "ppo", "dqn", "importance", "exploration")
GRADIENT, CRITIC, PPO, DQN, IMPORTANCE, EXPLORATION = (f"reinforcement/{name}.lee" for name in NAMES)


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


def imitated(spec: Spec) -> None:
    """The loss of scikit-learn's perceptron with the same weights."""
    d = spec.draws("shown")
    expert = MLPClassifier((8,), max_iter=1).partial_fit(d["s"], d["a"], classes=range(3))
    expert.coefs_ = [d["policy.layers.0.w"], d["policy.layers.1.w"]]
    expert.intercepts_ = [d["policy.layers.0.b"], d["policy.layers.1.b"]]
    loss = log_loss(d["a"], expert.predict_proba(d["s"]), labels=range(3))
    agree("imitation", spec.results("shown")["value"], loss)


def one_move(gamma: float):
    def reference(d: Draws) -> torch.Tensor:
        """The third move ends an episode."""
        after = d.after.where(torch.arange(5) != 2, 0)
        return ((d.reward + gamma * after - d.value) ** 2).sum()

    return reference


def joint(d: Draws) -> torch.Tensor:
    def seen(s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = torch.tanh(s @ d.net["trunk.w"] + d.net["trunk.b"])
        return h @ d.net["actor.w"] + d.net["actor.b"], (h @ d.net["critic.w"] + d.net["critic.b"])[:, 0]

    score, value = seen(d.s)
    goal = d.r + 0.99 * seen(d.next)[1].detach().where(torch.arange(5) != 3, 0)
    p = Categorical(logits=score)
    actor = -(p.log_prob(d.a) * (goal - value).detach()).mean()
    return actor + 0.5 * F.mse_loss(value, goal) - 0.01 * p.entropy().mean()


# ---- draws of another policy, and more of them


def weights(x: torch.Tensor) -> torch.Tensor:
    return (Normal(1.0, 1.0).log_prob(x) - Normal(0.0, 1.0).log_prob(x)).exp()


def near(name: str, closed: float, error: float) -> Callable[[Spec], None]:
    """The check that an example is off its closed form by what chance does."""
    return lambda spec: agree(name, spec.results(name)["value"] - closed, 0.0, error)


def left(d: Draws) -> torch.Tensor:
    """Of as many draws, by the mean and the mean square of their weights."""
    w = weights(d.x)
    return w.mean() ** 2 / (w**2).mean()


def older(d: Draws) -> torch.Tensor:
    now, then = (Categorical(logits=d.s @ p["w"] + p["b"]).log_prob(d.a) for p in (d.policy, d.older))
    return -((now - then).exp() * d.advantage).mean()


def shares(d: Draws) -> torch.Tensor:
    even = torch.full_like(d.q, 0.3 / 3)
    even[torch.arange(4), d.q.argmax(1)] += 0.7
    return (d.c * (even + torch.softmax(d.q / 0.7, 1))).sum()


def nearby(d: Draws) -> torch.Tensor:
    paths = ("layers.0.w", "layers.0.b", "layers.1.w", "layers.1.b")
    parts = d.noise.split([d.policy[k].numel() for k in paths])
    moved = {k: d.policy[k] + 0.5 * part.view_as(d.policy[k]) for k, part in zip(paths, parts, strict=True)}
    return -Categorical(logits=net(Draws(moved), d.s)).entropy().mean()


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
    opt = torch.optim.Adam(list(weights.values()), lr=3e-3)
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


def plays(spec: Spec) -> None:
    """What is reported is minus the return of episodes played by hand."""
    models = loaded(spec.text).numpy
    run = quiet("play")
    policy = Flat(begin(run, models, "MLP", "policy", sizes=(4, 64, 2)))
    world, lost = gymnasium.make("CartPole-v1"), []
    for _ in run.loop("episode", 1, 3):
        s, _ = world.reset(seed=run.key("s")[0])
        total, done = 0.0, False
        while run.again("while", not done):
            a = models.play_a(policy, s.astype(np.float64), key=run.key("play"))
            s, reward, terminated, truncated, _ = world.step(int(a))
            total, done = total + reward, terminated or truncated
        lost.append(-total)
    for backend in BACKENDS:
        agree("play", [row["loss"] for row in spec.reports("play", backend, episodes=3)], lost)


class Flat:
    """Weights as a policy of NumPy."""

    def __init__(self, weights: Weights):
        self.weights = {path: w.detach().numpy() for path, w in weights.items()}

    def __getattr__(self, method: str):
        return self.scores  # whichever form of forward is asked for

    def scores(self, x):
        return net({path: torch.tensor(w) for path, w in self.weights.items()}, torch.tensor(x)).numpy()


ROWS = (
    Row("M1", GRADIENT, "chances", example("scores", lambda d: (d.c * torch.softmax(net(d.policy, d.s), 1)).sum())),
    Row("M1", GRADIENT, "lost", plays),
    Row("M2", GRADIENT, "surprise", example("episode", surprise)),
    Row(
        "M3",
        GRADIENT,
        "discounted",
        example("gains", lambda d: gains(torch.tensor([0, 0, 0, 1.0], dtype=torch.float64)).sum()),
    ),
    Row("M4", GRADIENT, "reinforce", trains("reinforce", reinforce, variable="policy")),
    Row(
        "M5",
        IMPORTANCE,
        "reweighted",
        every(
            example("two_bells", lambda d: (d.x**2 * weights(d.x)).mean()),
            near("two_bells", 2, 0.1),
            example("older_moves", older),
        ),
    ),
    Row(
        "M5",
        IMPORTANCE,
        "effective",
        every(example("worth", left), near("worth", np.exp(-1), 0.05)),
    ),
    Row("M5", IMPORTANCE, "surrogate", example("older_moves", older)),
    Row("M6", PPO, "advantages", example("ends", advantages)),
    Row("M6", PPO, "clipped", example("ratio", clipped)),
    Row("M7", EXPLORATION, "epsilon_greedy", example("shares", shares)),
    Row("M7", EXPLORATION, "boltzmann", example("shares", shares)),
    Row("M7", EXPLORATION, "noisy", example("nearby", nearby)),
    Row("M7", EXPLORATION, "bonus", example("nearby", nearby)),
    Row("M7", EXPLORATION, "fading", example("less_and_less", lambda d: torch.tensor(1.44, dtype=torch.float64))),
    Row("M10", CRITIC, "advantage", example("one_move", one_move(0.99))),
    Row(
        "M10",
        CRITIC,
        "advantageAsPrinted",
        example("one_move_as_printed", one_move(1)),
        spare=(("0.99", "what is printed has no γ"),),
    ),
    Row("M10", CRITIC, "joint", example("both", joint)),
    Row("M11", DQN, "temporal_difference", example("remembered", difference)),
    Row(
        "M14",
        GRADIENT,
        "imitation",
        every(imitated, example("shown", lambda d: F.cross_entropy(net(d.policy, d.s), d.a))),
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_agrees_with_its_reference(row: Row) -> None:
    row.check(row.spec)


# ---- what is learned

RESULTS = (  # chance reaches 22, an episode ends after 500 moves; how many moves there are to learn stands in the spec
    (GRADIENT, "reinforce", 400),
    (CRITIC, "advantage_actor_critic", 400),
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
