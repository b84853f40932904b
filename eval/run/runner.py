"""The runner: hands episodes to workers, batches whatever observations are ready for the policy, and tells subscribers.

It schedules and nothing else. An episode whose worker died, hung or crashed is run again elsewhere, up to a limit, and then
recorded as an error, which is neither a success nor a failure of the policy.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...envs.suite import Suite
from ...episode import EpisodeResult, EpisodeSpec
from ...errors import RunError
from ...policies.base import Policy, PolicyObservation, checked_chunks
from ..plan.plan import EpisodeQueue
from ..record.events import Subscriber
from .workers import (
    Actions,
    Begin,
    Ended,
    Failed,
    Lost,
    Message,
    Observed,
    Ready,
    Worker,
    WorkerPool,
    WorkerSettings,
)

# Errors about this machine rather than about one episode: no other episode would fare better.
_MACHINE_ERRORS = ("AssetError", "DependencyError", "ConfigError")


@dataclass
class PolicyUse:
    """How the policy was used: what benchmarks and timing reports need."""

    seconds: float = 0.0
    batches: int = 0
    observations: int = 0


class Runner:
    """Runs episodes of one suite with one policy.

    Args:
        policy: Acts for all episodes.
        settings: How workers are set up.
        workers: Number of worker processes.
        timeout_s: Longest time a worker may take to answer.
        attempts: Times an episode is tried.
        subscribers: Told of everything that happens.
    """

    def __init__(
        self,
        policy: Policy,
        settings: WorkerSettings,
        workers: int,
        timeout_s: float,
        attempts: int,
        subscribers: Sequence[Subscriber],
    ) -> None:
        self._policy = policy
        self._settings = settings
        self._size = workers
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._subscribers = subscribers
        self._failures: dict[EpisodeSpec, int] = {}
        self._failed_starts = 0
        self.policy_use = PolicyUse()

    def run(self, episodes: Sequence[tuple[int, EpisodeSpec]], queue: EpisodeQueue | None = None) -> None:
        """Run episodes, given with their positions in the plan, until each has a result or the queue has no more to give.

        Args:
            episodes: What may be run.
            queue: In what order they are handed out; task by task if None.

        Raises:
            PolicyError: The policy broke its contract.
            RunError: Workers cannot be started.
            VlagymError: What a worker found missing on this machine.
        """
        self._index = {spec: index for index, spec in episodes}
        queue = EpisodeQueue(self._index) if queue is None else queue
        with WorkerPool(self._settings, self._size, self._timeout_s) as pool:
            while len(queue) or any(worker.spec for worker in pool.workers):
                for worker in pool.idle():
                    self._give_episode(worker, queue)
                ready = [
                    (worker, message)
                    for worker, message in pool.wait()
                    if self._handle(worker, message, pool, queue) and isinstance(message, Observed)
                ]
                self._act(ready)

    def _give_episode(self, worker: Worker, queue: EpisodeQueue) -> None:
        spec = queue.take(worker.index)
        if spec is None:
            return
        worker.spec = spec
        self._policy.reset([spec.id])
        worker.send(Begin(spec, self._index[spec]))
        for subscriber in self._subscribers:
            subscriber.episode_started(spec, worker.index)

    def _handle(self, worker: Worker, message: Message, pool: WorkerPool, queue: EpisodeQueue) -> bool:
        """Deal with a message; True if the worker now waits for actions."""
        if isinstance(message, Ready):
            self._failed_starts = 0
            return False
        if isinstance(message, Failed | Lost):
            self._give_up(worker, message, pool, queue)
            return False
        assert worker.spec is not None
        spec = worker.spec
        if isinstance(message, Ended):
            worker.spec = None
            self._end(spec, message.result, worker.index)
            return False
        if message.new_subtask:
            self._policy.reset([spec.id])
        if message.step:
            for subscriber in self._subscribers:
                subscriber.chunk_done(spec, message.step)
        return True

    def _act(self, ready: Sequence[tuple[Worker, Observed]]) -> None:
        limit = self._policy.max_batch or max(1, len(ready))
        for start in range(0, len(ready), limit):
            batch = ready[start : start + limit]
            observations = [_policy_observation(worker, message) for worker, message in batch]
            began = time.perf_counter()
            chunks = self._policy.act(observations)
            self.policy_use.seconds += time.perf_counter() - began
            self.policy_use.batches += 1
            self.policy_use.observations += len(batch)
            checked = checked_chunks(self._policy, self._settings.suite, observations, chunks)
            done = self._policy.done([observation["episode_id"] for observation in observations])
            for (worker, _), chunk, declared in zip(batch, checked, done, strict=True):
                worker.send(Actions(chunk, declared))

    def _end(self, spec: EpisodeSpec, result: EpisodeResult, worker: int) -> None:
        self._policy.release([spec.id])
        execution = {"worker": worker, "attempts": self._failures.get(spec, 0) + 1, **result.execution}
        for subscriber in self._subscribers:
            subscriber.episode_ended(replace(result, execution=execution))

    def _give_up(self, worker: Worker, message: Failed | Lost, pool: WorkerPool, queue: EpisodeQueue) -> None:
        """Replace the worker and decide about its episode."""
        reason = f"worker {worker.index}: {message.reason}" if isinstance(message, Lost) else f"{message.kind}: {message.message}"
        understood = isinstance(message, Failed) and message.understood
        if isinstance(message, Failed) and understood and message.kind in _MACHINE_ERRORS:
            raise RunError(message.message)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= self._attempts:
                raise RunError(f"workers cannot be started; {reason}. Run `vla-eval doctor` to see what this machine lacks.")
        spec, worker.spec = worker.spec, None
        pool.replace(worker)
        if spec is None:
            return
        self._failures[spec] = self._failures.get(spec, 0) + 1
        if understood or self._failures[spec] >= self._attempts:
            self._end(spec, _error_result(spec, self._settings.suite, reason), worker.index)
            return
        self._policy.release([spec.id])
        queue.put_back(spec, worker.index)
        for subscriber in self._subscribers:
            subscriber.episode_retried(spec, reason)


def _policy_observation(worker: Worker, message: Observed) -> PolicyObservation:
    assert worker.spec is not None
    seen = message.observation
    observation: PolicyObservation = {
        "images": seen["images"],
        "state": seen["state"],
        "instruction": seen["instruction"],
        "episode_id": worker.spec.id,
        "step": message.step,
    }
    if message.privileged is not None:
        observation["privileged"] = message.privileged
    return observation


def _error_result(spec: EpisodeSpec, suite: Suite, reason: str) -> EpisodeResult:
    instruction = next(task.instruction for task in suite.tasks() if task.name == spec.task)
    return EpisodeResult(spec, instruction, None, None, None, None, 0, None, None, None, error=reason)
