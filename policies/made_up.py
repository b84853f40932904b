"""Observations that no simulator made, in the shapes of a suite: for timing a policy and for auditing it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ..envs.suite import Suite
from .base import Policy, PolicyObservation


def made_up_observations(policy: Policy, suite: Suite, episodes: Sequence[str], step: int) -> list[PolicyObservation]:
    """One observation per episode; instructions of different lengths, images of noise."""
    generator = np.random.Generator(np.random.PCG64(step))
    instructions = itertools.cycle(task.instruction for task in suite.tasks())
    sizes = suite.camera_sizes
    return [
        {
            "images": {camera: generator.integers(0, 256, (*sizes[camera], 3), np.uint8) for camera in policy.cameras},
            "state": generator.standard_normal(suite.state_spec.size).astype(np.float32),
            "instruction": next(instructions),
            "episode_id": episode,
            "step": step,
        }
        for episode in episodes
    ]
