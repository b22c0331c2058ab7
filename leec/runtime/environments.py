"""Environments of gymnasium in a run: episodes begin by keys, so they are the same on both back ends and in every run.

An environment is deterministic from its reset on. What a checkpoint keeps of it are the seed of the last reset and the
actions since: a resumed run takes them again and is where it was.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from leec.runtime import faults
from leec.runtime.backend import Array, NumpyBackend, TorchBackend, to_numpy
from leec.runtime.draws_numpy import Key

Declared = tuple[str, tuple[int, ...]] | tuple[str, tuple[int, ...], int, int]  # kind and dims, and the range


class Environment:
    """`s = env.reset(key)`, `s, reward, terminated, truncated = env.step(a)`.

    Raises LEE801 without gymnasium, LEE730 for a name that it does not know, LEE731 where it is not as declared.
    """

    def __init__(self, name: str, place: NumpyBackend | TorchBackend, observation: Declared, action: Declared):
        self.name, self.place, self.observation, self.action = name, place, observation, action
        self.world = opened(name)
        verify(name, "observation", observation, self.world.observation_space)
        verify(name, "action", action, self.world.action_space)
        self.seed = 0
        self.actions: list[np.ndarray] = []

    def reset(self, key: Key) -> Array:
        """Begin an episode; the first observation."""
        return self.begin(key[0])

    def begin(self, seed: int) -> Array:
        self.seed, self.actions = seed, []
        seen, _ = self.world.reset(seed=seed)
        return self.shown(seen)

    def step(self, action: Array) -> tuple[Array, float, bool, bool]:
        """What follows an action: observation, reward, whether it is over, whether time has run out.

        Raises LEE732 for an action outside of the declared range.
        """
        given = np.asarray(to_numpy(action))
        if len(self.action) == 4 and not self.action[2] <= given.min() <= given.max() <= self.action[3]:
            raise faults.wrong_action(self.name, self.action[2:], given)
        self.actions.append(given)
        seen, reward, terminated, truncated, _ = self.world.step(given.item() if given.ndim == 0 else given)
        return self.shown(seen), float(reward), bool(terminated), bool(truncated)

    def shown(self, seen: Any) -> Array:
        """An observation as an array of the run."""
        return self.place.asarray(np.asarray(seen), self.observation[0])

    # ---- checkpoints

    def tensors(self) -> dict[str, np.ndarray]:
        return {"seed": np.array(self.seed), "actions": np.array(self.actions)}

    def load_tensors(self, tensors: dict[str, Array]) -> None:
        """The same episode up to the same step."""
        self.begin(int(to_numpy(tensors["seed"])))
        for action in to_numpy(tensors["actions"]):
            self.step(action)


def opened(name: str) -> Any:
    """The environment of gymnasium with this name."""
    try:
        import gymnasium
    except ImportError:
        raise faults.missing_package("gymnasium", "rl", f"the environment `{name}`") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a newer version of an environment is the user's to choose
            return gymnasium.make(name)
    except gymnasium.error.Error as error:
        raise faults.unknown_environment(name, str(error)) from None


def verify(name: str, field: str, declared: Declared, space: Any) -> None:
    """Hold a declared field against a space. Raises LEE731."""
    kind, dims, *bounds = declared
    shape = getattr(space, "shape", None)
    found = "int" if np.issubdtype(space.dtype, np.integer) else "float" if shape is not None else "other"
    if shape is None or tuple(shape) != dims or (kind == "int") != (found == "int"):
        raise faults.other_space(name, field, type_text(kind, dims), f"{space}")
    low, count = int(getattr(space, "start", 0)), getattr(space, "n", None)
    if bounds and count is not None and tuple(bounds) != (low, low + int(count) - 1):
        raise faults.other_space(name, field, f"in {bounds[0]}..{bounds[1]}", f"{low}..{low + int(count) - 1}")


def type_text(kind: str, dims: tuple[int, ...]) -> str:
    """A type as a spec writes it."""
    shown = f"[{', '.join(map(str, dims))}]"
    return shown if kind == "float" and math.prod(dims) else f"{'' if kind == 'float' else kind}{shown}"
