"""`check_policy`: the contract of `vlagym.policies.base` as executable checks, in the spirit of gymnasium's `check_env`."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence

import numpy as np

from ..envs.env import VlaEnv
from ..envs.spec import MAX_INSTRUCTION_LENGTH
from ..envs.suite import Suite
from ..episode import EpisodeSpec
from ..errors import PolicyError
from .base import Chunk, Policy, PolicyObservation, checked_chunks


def check_policy(policy: Policy, suite: Suite, env: VlaEnv | None = None, tolerance: float = 1e-5, episodes: int = 4) -> None:
    """Check that a policy keeps its contract on a suite.

    Args:
        policy: What to check; its episodes of trials 0 .. episodes - 1 are reset and released.
        suite: Whose observations and actions it is to handle.
        env: Where observations come from; None makes them up, which a policy that needs privileged state cannot use.
        tolerance: Largest difference allowed between an action computed alone and in a batch.
        episodes: Size of the batch.

    Raises:
        PolicyError: The first broken promise.
    """
    name = type(policy).__name__
    differences = policy.action_spec.differences(suite.action_spec)
    _require(not differences, f"{name} emits actions that suite {suite.name!r} would misread: {'; '.join(differences)}.")
    unknown = set(policy.cameras) - set(suite.cameras)
    _require(not unknown, f"{name} needs cameras {sorted(unknown)}, suite {suite.name!r} has {', '.join(suite.cameras)}.")
    json.dumps(policy.provenance())
    observations = _observations(policy, suite, env, episodes)
    untouched = copy.deepcopy(observations)
    global_state = str(np.random.get_state())

    together = _act(policy, suite, observations)
    _require(_same_observations(observations, untouched), f"{name}.act changes the observations it is given.")
    alone = [_act(policy, suite, [observation])[0] for observation in observations]
    _require(
        _close(together, alone, tolerance), f"{name} acts differently in a batch than alone: episodes must not show in each other."
    )
    backwards = _act(policy, suite, observations[::-1])[::-1]
    _require(_close(together, backwards, tolerance), f"{name} acts differently when the batch is in another order.")
    _require(
        global_state == str(np.random.get_state()),
        f"{name} draws from numpy's global generator; use one per episode (vlagym.policies.base.episode_generator).",
    )


def _act(policy: Policy, suite: Suite, observations: Sequence[PolicyObservation]) -> list[Chunk]:
    """First chunks of fresh episodes."""
    ids = [observation["episode_id"] for observation in observations]
    policy.reset(ids)
    chunks = checked_chunks(policy, suite, observations, policy.act(observations))
    policy.release(ids)
    return chunks


def _observations(policy: Policy, suite: Suite, env: VlaEnv | None, episodes: int) -> list[PolicyObservation]:
    task = suite.tasks()[0]
    _require(
        env is not None or not policy.needs_privileged_state,
        f"{type(policy).__name__} needs privileged state, which cannot be made up: pass an environment as env=.",
    )
    observations: list[PolicyObservation] = []
    for trial in range(min(episodes, task.trials)):
        episode_id = EpisodeSpec(suite.name, task.name, trial, 0).id
        if env is None:
            random = np.random.default_rng(trial)
            images = {c: random.integers(0, 256, (*suite.camera_sizes[c], 3), np.uint8) for c in policy.cameras}
            state = random.normal(size=suite.state_spec.size).astype(np.float32)
            instruction = task.instruction[:MAX_INSTRUCTION_LENGTH]
        else:
            seen, _ = env.reset(seed=0, options={"task": task.name, "trial": trial})
            images, state, instruction = seen["images"], seen["state"], seen["instruction"]
        observation: PolicyObservation = {
            "images": images,
            "state": state,
            "instruction": instruction,
            "episode_id": episode_id,
            "step": 0,
        }
        if env is not None and policy.needs_privileged_state:
            observation["privileged"] = env.privileged_state()
        observations.append(observation)
    return observations


def _same_observations(one: Sequence[PolicyObservation], other: Sequence[PolicyObservation]) -> bool:
    return all(
        np.array_equal(a["state"], b["state"]) and all(np.array_equal(a["images"][c], b["images"][c]) for c in a["images"])
        for a, b in zip(one, other, strict=True)
    )


def _close(one: Sequence[Chunk], other: Sequence[Chunk], tolerance: float) -> bool:
    return all(a.shape == b.shape and np.allclose(a, b, rtol=0, atol=tolerance) for a, b in zip(one, other, strict=True))


def _require(fine: bool, message: str) -> None:
    if not fine:
        raise PolicyError(message)
