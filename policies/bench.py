"""Latency, throughput and peak memory of a policy over batch sizes, without a simulator: what `vla-eval bench policy=NAME` shows.

Observations are made up in the shapes of a suite, with its instructions mixed in every batch. A call is timed from the observations
to the actions, with everything a run pays for in between: image transforms, tokenizer, network, action transforms.
"""

from __future__ import annotations

import itertools
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..envs.base import Suite
from ..episode import EpisodeSpec
from ..errors import ConfigError
from .base import Policy, PolicyObservation, checked_chunks


@dataclass(frozen=True)
class BatchTiming:
    """How long calls with so many observations took.

    Attributes:
        batch: Observations per call.
        calls: Calls that were timed.
        p50_ms: Median time of a call.
        p95_ms: Time within which 95 % of the calls were done.
        observations_per_second: Of all timed calls together.
        actions_per_second: Likewise; a chunk counts as many actions as it has.
        peak_memory_bytes: On a GPU, most memory its tensors took during these calls; else the most this process has taken so far.
    """

    batch: int
    calls: int
    p50_ms: float
    p95_ms: float
    observations_per_second: float
    actions_per_second: float
    peak_memory_bytes: int


def measure(policy: Policy, suite: Suite, batch_sizes: Sequence[int], calls: int, warm_up: int) -> list[BatchTiming]:
    """Time a policy's calls for each batch size.

    Args:
        policy: Any policy that needs no privileged state.
        suite: Whose observations to make up.
        batch_sizes: Observations per call.
        calls: Calls to time for each.
        warm_up: Calls before that.

    Raises:
        ConfigError: A setting has no meaning, or the policy cannot be fed with made-up observations.
        PolicyError: The policy broke its contract.
    """
    if not batch_sizes or min(batch_sizes) < 1 or calls < 1 or warm_up < 0:
        raise ConfigError(f"batch_sizes must be numbers from 1, calls from 1; got {list(batch_sizes)}, {calls}, {warm_up}.")
    if policy.needs_privileged_state:
        raise ConfigError(f"{type(policy).__name__} needs privileged state, which only a simulator has: it cannot be timed alone.")
    return [_measure_batch(policy, suite, batch, calls, warm_up) for batch in batch_sizes]


def _measure_batch(policy: Policy, suite: Suite, batch: int, calls: int, warm_up: int) -> BatchTiming:
    episodes = [EpisodeSpec(suite.name, "bench", trial).id for trial in range(batch)]
    policy.reset(episodes)
    memory = _PeakMemory()
    seconds, actions = [], 0
    for call in range(-warm_up, calls):
        observations = _observations(policy, suite, episodes, max(call, 0))
        began = time.perf_counter()
        chunks = policy.act(observations)
        took = time.perf_counter() - began
        checked = checked_chunks(policy, suite, observations, chunks)
        if call >= 0:
            seconds.append(took)
            actions += sum(len(chunk) for chunk in checked)
    policy.release(episodes)
    return BatchTiming(
        batch=batch,
        calls=calls,
        p50_ms=1000 * float(np.percentile(seconds, 50)),
        p95_ms=1000 * float(np.percentile(seconds, 95)),
        observations_per_second=batch * calls / sum(seconds),
        actions_per_second=actions / sum(seconds),
        peak_memory_bytes=memory.peak(),
    )


def _observations(policy: Policy, suite: Suite, episodes: Sequence[str], step: int) -> list[PolicyObservation]:
    """One made-up observation per episode; instructions of different lengths, images of noise."""
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


class _PeakMemory:
    """Most memory taken since it was made: the GPU's where torch uses one, else this process's."""

    def __init__(self) -> None:
        self._torch: Any = sys.modules.get("torch")
        if self._torch is not None and self._torch.cuda.is_initialized():
            self._torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        if self._torch is not None and self._torch.cuda.is_initialized():
            return int(self._torch.cuda.max_memory_allocated())
        kibibyte = 1024 if sys.platform.startswith("linux") else 1
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kibibyte
