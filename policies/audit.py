"""Whether a network's answer depends on its company: the same observation alone, among others, and at another place among them.

Passes of one fixed shape (``policy.batch``) are what makes answers independent; this finds out, on the machine at hand and bit for
bit, whether its libraries keep to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._stages import stage
from ..envs.suite import Suite
from ..episode import EpisodeSpec
from .base import Policy, PolicyObservation
from .made_up import made_up_observations
from .network.adapter import NetworkPolicy

_COMPANY = 4  # observations of a batch where passes are as large as it is


@dataclass(frozen=True)
class BatchAudit:
    """What came of it.

    Attributes:
        invariant: Whether answers are independent of the rest of the batch.
        found: Why, or what differs, in a sentence.
    """

    invariant: bool
    found: str


def audit_batch(policy: NetworkPolicy, suite: Suite) -> BatchAudit:
    """Ask a network about the same observations in several ways; three passes.

    Args:
        policy: The network; episodes of a suite called ``audit`` are reset and released.
        suite: Whose observations to make up, with its instructions mixed.
    """
    rows = policy.batch or min(_COMPANY, policy.max_batch or _COMPANY)
    if rows == 1:
        return BatchAudit(True, "one observation per pass")
    episodes = [EpisodeSpec("audit", "audit", trial).id for trial in range(rows)]
    observations = made_up_observations(policy, suite, episodes, 0)
    together = _numbers(policy, observations)
    turned = _numbers(policy, [*observations[1:], observations[0]])
    alone = _numbers(policy, observations[:1])[0]
    if (moved := _differing(together, [turned[-1], *turned[:-1]])) is not None:
        return BatchAudit(False, f"the answer to observation {moved} of {rows} changes with its place in the batch")
    if not np.array_equal(alone, together[0]):
        return BatchAudit(False, f"the answer to an observation alone differs from that among {rows}")
    if policy.batch is None:
        return BatchAudit(False, f"{rows} observations were answered alike, but passes as large as the batch promise nothing")
    return BatchAudit(True, f"the same bits alone, among {rows}, and at another place among them")


def batch_record(policy: Policy, suite: Suite) -> dict[str, Any]:
    """For the record of a run, as plain JSON values: the audit where passes have a fixed shape; nothing of what is no network."""
    if not isinstance(policy, NetworkPolicy):
        return {}
    if policy.batch is None and policy.max_batch != 1:
        audit = BatchAudit(False, "passes are as large as the batch (policy.batch is not set)")
    else:
        stage("asking the policy about made-up observations: are its answers the same in any batch?")
        audit = audit_batch(policy, suite)
    return {"batch_invariant": audit.invariant, "batch_audit": audit.found}


def _numbers(policy: NetworkPolicy, observations: Sequence[PolicyObservation]) -> list[Any]:
    """What the network says of each, at its first step."""
    episodes = [observation["episode_id"] for observation in observations]
    policy.reset(episodes)
    numbers = policy.numbers(observations)
    policy.release(episodes)
    return numbers


def _differing(one: Sequence[Any], other: Sequence[Any]) -> int | None:
    """Index of the first that is not the same in both."""
    return next((index for index, (a, b) in enumerate(zip(one, other, strict=True)) if not np.array_equal(a, b)), None)
