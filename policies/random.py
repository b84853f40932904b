"""Uniformly random actions: the floor every policy must beat, and a load for benchmarks. Each episode has its own generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..edges.settings import Chunks, Name
from ..envs.suite import Suite
from .base import Chunk, Policy, PolicyObservation, episode_generator


class RandomPolicy(Policy):
    """Draws every action uniformly from the suite's action range.

    Args:
        suite: Whose actions to draw.
        chunk: Actions per call.
        cameras: Images to ask for without looking at them, to load an environment as a real policy would.
    """

    instant = True

    def __init__(self, suite: Suite, chunk: Chunks = 1, cameras: Sequence[Name] = ()) -> None:
        self.action_spec = suite.action_spec
        self.cameras = tuple(cameras)
        self._chunk = chunk
        self._generators: dict[str, np.random.Generator] = {}

    def reset(self, episode_ids: Sequence[str]) -> None:
        # A new subtask goes on with the episode's generator: starting it again would repeat the actions of the last subtask.
        for episode_id in episode_ids:
            self._generators.setdefault(episode_id, episode_generator(episode_id, "random"))

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        space = self.action_spec.space
        size = (self._chunk, self.action_spec.size)
        return [
            self._generators[observation["episode_id"]].uniform(space.low, space.high, size).astype(np.float32)
            for observation in observations
        ]

    def release(self, episode_ids: Sequence[str]) -> None:
        for episode_id in episode_ids:
            self._generators.pop(episode_id, None)
