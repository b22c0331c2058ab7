"""specs/probability against torch: the variational bound of the very draws, a posterior that is reached, words fed back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributions as td
from against import Spec, agree

TEXT = (Path(__file__).parents[1] / "specs/probability/distributions.lee").read_text(encoding="utf-8")
SPEC = Spec(TEXT + """

example taught:
    net = Speaker(7, 5)
    y: int[4, 6] ~ randint(0, 7)
    return cross_entropy(net(y, own = 0.0), y)


example begun:
    net = Speaker(40, 30)
    return sum(net.first) + sum(net.again)


example spread:
    q = gamma(2.5, 2)
    return mean(q)
""")


def inside(example: str, function: str) -> dict[str, torch.Tensor]:
    """What a function computed when the example called it, by name."""
    found: dict[str, torch.Tensor] = {}

    def observe(f, equation, values) -> None:
        if f.name in (function, f"{function}_saved"):
            found.update(
                (v.name, torch.as_tensor(np.asarray(x)))
                for v, x in zip(equation.results, values)
                if isinstance(x, (np.ndarray, np.generic))
            )

    SPEC.results(example, 0, observer=observe)
    return found


def test_bound_of_a_variational_autoencoder() -> None:
    """Pictures are true or false, so no gradient goes back to them by what they are compared with."""
    z = inside("encoded", "elbo")["z"]

    def reference(d):
        net, linear = d.net, torch.nn.functional.linear
        h = torch.tanh(linear(d.x, net["into.w"].T, net["into.b"]))
        q = td.Normal(linear(h, net["center.w"].T, net["center.b"]), linear(h, net["width.w"].T, net["width.b"]).exp())
        noise = ((z - q.mean) / q.stddev).detach()
        code = q.mean + q.stddev * noise
        shown = linear(torch.tanh(linear(code, net["back.w"].T, net["back.b"])), net["out.w"].T, net["out.b"])
        return (
            -td.Bernoulli(logits=shown).log_prob(d.x.detach()).sum(1) + td.kl_divergence(q, td.Normal(0.0, 1.0)).sum(1)
        ).mean()

    SPEC.hold("encoded", reference)


def test_words_of_the_teacher() -> None:
    """With `own` 0 nothing that was drawn is used."""

    def reference(d):
        h, word, out = torch.zeros(4, 5, dtype=torch.float64), torch.zeros(4, dtype=torch.long), []
        for t in range(6):
            h = torch.tanh(d.net.first[word] + h @ d.net.again)
            out.append(h @ d.net["head.w"] + d.net["head.b"])
            word = d.y[:, t]
        return torch.nn.functional.cross_entropy(torch.stack(out, 1).reshape(24, 7), d.y.reshape(24))

    SPEC.hold("taught", reference)


def test_words_of_its_own_change_what_comes() -> None:
    values = {
        own: float(Spec(TEXT.replace("own = 0.5", f"own = {own}")).results("spoken")["value"])
        for own in (0.0, 0.5, 1.0)
    }
    assert len(set(values.values())) == 3


def test_parameters_begin_as_they_say() -> None:
    d = SPEC.draws("begun")
    first, again = d["net.first"], d["net.again"]
    assert np.abs(first).max() <= 2 / np.sqrt(30) and abs(first.std() * np.sqrt(30) - 0.8796) < 0.03
    agree("at right angles", again.T @ again, np.eye(30))


def test_the_posterior_is_reached() -> None:
    """The belief of 400 steps is near gamma(2 + Σ count, 1 + n); at the first it was far."""
    assert SPEC.reports("believe")[-1]["far"] < 0.05 < SPEC.reports("believe", steps=50)[-1]["far"]


@pytest.mark.slow
def test_pictures_are_coded() -> None:
    """Ten epochs bring the bound below that of independent pixels."""
    assert SPEC.reports("fit", epochs=10)[-1]["valid"] < 25
