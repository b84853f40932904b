"""The contract between a policy and the runner: always batched, state keyed by episode id, randomness per episode."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..envs.spec import ActionSpec, Observation
from ..envs.suite import Suite
from ..errors import PolicyError, VlagymError

Chunk: TypeAlias = NDArray[np.floating[Any]]


class SeatLostError(VlagymError):
    """A seat could not answer and has forgotten its episodes (a server that died, a process that was killed).

    The episodes it was asked about are run again from their beginning, up to the run's ``attempts``; after that they are errors,
    which are neither successes nor failures of the policy. The message says what happened.
    """


class PolicyObservation(Observation, total=False):
    """An observation as a policy receives it.

    Attributes:
        episode_id: `EpisodeSpec.id` of the episode it belongs to.
        step: Policy steps executed in the episode so far.
        privileged: Named facts no camera gives, only for a policy that sets `Policy.needs_privileged_state`.
        previous_actions: float[n, A]: what is left of its last chunk from this step on, and is executed until the answer acts; only
            in a run with ``realtime``, whatever its delay.
        delay_steps: Control steps until the answer to this observation acts; likewise.
    """

    episode_id: str
    step: int
    privileged: dict[str, NDArray[np.float64]]
    previous_actions: NDArray[np.floating[Any]]
    delay_steps: int


PENDING: tuple[Literal["previous_actions"], Literal["delay_steps"]] = ("previous_actions", "delay_steps")


class Policy(ABC):
    """Maps observations to action chunks. One instance serves every episode of a run.

    Attributes:
        action_spec: What the policy emits, after its own transforms. A run starts only if it means the same as the suite's.
        cameras: Images it needs in an observation; nothing else is drawn for it.
        needs_privileged_state: Whether its observations carry ``privileged``.
        precise_state: Whether the state in its observations is float64, not yet rounded to float32.
        max_batch: Most observations `act` may be given at once; None for any number.
        batch: Rows of every forward pass of its network, whoever is asked about, so that no answer depends on its company; None
            for passes as large as the batch, and for what is no network.
        batch_record: Whether its answers depend on their company, as `vlagym.policies.audit.batch_record` found where the network
            is; None where nobody has asked yet.
        instant: Whether `act` computes next to nothing, as that of a script: it is then called in the runner's own thread, which is
            cheaper than asking another. Only where `seats` gives the policy itself.
        episodes_stay: Whether an episode must be answered by the seat (see `seats`) that gave its first answer, because state of it
            is kept there. If not, any free seat is asked.
        max_episodes: Most episodes a seat can keep at a time; None for any number. Only where `episodes_stay`.
    """

    action_spec: ActionSpec
    cameras: tuple[str, ...] = ()
    needs_privileged_state: bool = False
    precise_state: bool = False
    max_batch: int | None = None
    batch: int | None = None
    batch_record: dict[str, Any] | None = None
    instant: bool = False
    episodes_stay: bool = True
    max_episodes: int | None = None

    @property
    def absent(self) -> bool:
        """Whether this seat has no place to answer from at present; others are asked meanwhile."""
        return False

    def seats(self, at_once: int) -> Sequence[Policy]:
        """Where it answers: instances that can act at the same time, such as one per connection to a server or one per GPU.

        Each is driven by a thread of its own, which alone calls its `reset`, `act`, `done` and `release`, one at a time: `reset`
        right before the first `act` of an episode (or subtask), `release` when the episode is over. Where `episodes_stay` is
        False an episode's calls may come to different seats, though never at the same time: what is kept per episode (the
        recipe's transforms) is then shared by all. What describes the policy (`action_spec`, `cameras`, `max_batch`,
        `episodes_stay`, ..., `provenance`, `close`) is asked of this object alone.

        An `act` that lost its answer, and with it what it knew of episodes, raises `SeatLostError`; the seat must be fit for use
        again. `close` may come while a seat is still acting, from another thread, and should make it give up.

        Args:
            at_once: Most episodes that run at the same time.

        Returns:
            At least one; by default the policy itself.
        """
        return [self]

    @abstractmethod
    def reset(self, episode_ids: Sequence[str]) -> None:
        """Forget all about these episodes and be ready for their first observation (or the first of a new subtask)."""

    @abstractmethod
    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        """One chunk float[T, A] per observation, T >= 1; all T actions are executed before the next observation is drawn."""

    def done(self, episode_ids: Sequence[str]) -> list[bool]:
        """Whether it declared each episode's task accomplished in its last `act`.

        The chunk it gave then is still executed. After it the episode ends (``ended_by`` is ``policy``), or goes on with the next
        instruction where the benchmark has one.
        """
        return [False] * len(episode_ids)

    def release(self, episode_ids: Sequence[str]) -> None:
        """These episodes are over: drop their state."""

    def keep_output(self, folder: Path) -> None:
        """The run's folder is there: what is written besides answers, such as the output of a server, belongs into it."""

    def provenance(self) -> dict[str, Any]:
        """What its actions depend on (checkpoint hash, package versions, dtype, device); plain JSON values."""
        return {}

    def close(self) -> None:
        """Give memory and connections back."""


def episode_generator(episode_id: str, salt: str = "") -> np.random.Generator:
    """A generator that depends on the episode alone, so that no episode's randomness depends on another's.

    Args:
        episode_id: `EpisodeSpec.id`, which includes the episode's seed.
        salt: Distinguishes several generators of one episode.
    """
    digest = hashlib.sha256(f"{salt}|{episode_id}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def checked_chunks(policy: Policy, suite: Suite, observations: Sequence[PolicyObservation], chunks: Sequence[Any]) -> list[Chunk]:
    """The chunks a policy returned, as float arrays [T, A].

    Raises:
        PolicyError: Wrong number of chunks, wrong shape or dtype, or a value that is not finite; names policy and episode.
    """
    size = suite.action_spec.size
    name = type(policy).__name__
    if len(chunks) != len(observations):
        raise PolicyError(f"{name}.act returned {len(chunks)} chunks for {len(observations)} observations; one each is expected.")
    checked = []
    for observation, chunk in zip(observations, chunks, strict=True):
        array = np.asarray(chunk)
        where = f"for episode {observation['episode_id']} at step {observation['step']} ({observation['instruction']!r})"
        if array.ndim != 2 or array.shape[0] < 1 or array.shape[1] != size or array.dtype.kind not in "fiu":
            raise PolicyError(
                f"{name}.act returned {array.dtype}{list(array.shape)} {where}; {suite.name!r} takes float[T, {size}], T >= 1."
            )
        if not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
            raise PolicyError(
                f"{name}.act returned a value that is not finite {where}: action {row} of the chunk is {array[row].tolist()}."
            )
        checked.append(array)
    return checked
