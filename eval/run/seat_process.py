"""The process of a seat: one copy of the policy on one device, which answers what the main process asks."""

from __future__ import annotations

import signal
import socket
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...edges.secrets import masked_text
from ...envs.spec import ActionSpec
from ...envs.suite import Suite
from ...errors import VlagymError
from ...policies.audit import batch_record
from ...policies.base import Chunk, Policy, PolicyObservation
from ...policies.devices import settings_on, use_device
from ...policies.registry import make_policy
from .channel import Channel


@dataclass(frozen=True)
class Described:
    """What a policy says of itself; the fields are those of `Policy`, and what `batch_record` found."""

    action_spec: ActionSpec
    cameras: tuple[str, ...]
    needs_privileged_state: bool
    precise_state: bool
    max_batch: int | None
    batch: int | None
    max_episodes: int | None
    provenance: dict[str, Any]
    batch_record: dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """Episodes to release and to reset, then observations to act on."""

    over: list[str]
    fresh: list[str]
    observations: list[PolicyObservation]


@dataclass(frozen=True)
class Answered:
    """What came of it."""

    chunks: list[Chunk] = field(default_factory=list)
    done: list[bool] = field(default_factory=list)


@dataclass(frozen=True)
class Raised:
    """The policy raised something. `understood` if it was a `VlagymError`."""

    message: str
    understood: bool


def seat_main(end: socket.socket, settings: Mapping[str, Any], device: str | None, suite: Suite) -> None:
    """Build the policy, then answer until the main process closes the channel.

    Args:
        end: Of the channel.
        settings: Of the policy.
        device: Of `vlagym.policies.devices`; None for the GPU that whoever started the process has chosen.
        suite: What the policy is for.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle
    channel = Channel(end)
    try:
        if device is not None:
            use_device(device)
        policy = make_policy(settings_on(settings, device or "0"), suite)
        described = describe(policy, suite)
    except Exception as error:  # sent on: the main process decides
        _send(channel, _raised(error))
        return
    try:
        if _send(channel, described):
            _serve(channel, policy)
    finally:
        policy.close()


def describe(policy: Policy, suite: Suite) -> Described:
    """What a policy says of itself."""
    return Described(
        action_spec=policy.action_spec,
        cameras=tuple(policy.cameras),
        needs_privileged_state=policy.needs_privileged_state,
        precise_state=policy.precise_state,
        max_batch=policy.max_batch,
        batch=policy.batch,
        max_episodes=policy.max_episodes,
        provenance=policy.provenance(),
        batch_record=batch_record(policy, suite),
    )


def _serve(channel: Channel, policy: Policy) -> None:
    while True:
        try:
            asked: Asked | None = channel.receive()
        except (EOFError, OSError):
            return
        assert asked is not None  # this end waits for whole messages
        try:
            answer: Answered | Raised = _answer(policy, asked)
        except Exception as error:  # sent on: the main process decides
            answer = _raised(error)
        if not _send(channel, answer):
            return


def _answer(policy: Policy, asked: Asked) -> Answered:
    if asked.over:
        policy.release(asked.over)
    if asked.fresh:
        policy.reset(asked.fresh)
    if not asked.observations:
        return Answered()
    chunks = policy.act(asked.observations)
    return Answered(chunks, policy.done([observation["episode_id"] for observation in asked.observations]))


def _raised(error: Exception) -> Raised:
    understood = isinstance(error, VlagymError)
    message = str(error) if understood else "".join(traceback.format_exception(error)[-4:]).strip()
    return Raised(masked_text(message), understood)


def _send(channel: Channel, message: Described | Answered | Raised) -> bool:
    """Send to the main process; False if it is gone."""
    try:
        channel.send(message)
    except OSError:
        return False
    return True
