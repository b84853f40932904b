"""The runner: hands episodes to workers, batches whatever observations are ready for the policy, and tells subscribers.

It schedules and nothing else. An episode whose worker died, hung or crashed is run again elsewhere, up to a limit, and then
recorded as an error, which is neither a success nor a failure of the policy. So is one that a seat of the policy lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..._stages import stage
from ...edges.secrets import masked_text, without_home
from ...episode import EpisodeResult, EpisodeSpec
from ...errors import PolicyError, RunError
from ...policies.base import Policy, PolicyObservation, SeatLostError
from ..plan.plan import EpisodeQueue
from ..record.events import Subscriber
from .launcher import Launcher, LocalLauncher
from .messages import Actions, Begin, Ended, Failed, Lost, Message, Ready, WorkerSettings
from .pools import Pools
from .seats import Answer, SeatPool
from .workers import Worker, WorkerPool

_MOST_LOST_STARTS = 10  # per worker


class Runner:
    """Runs episodes of one suite with one policy.

    Args:
        policy: Acts for all episodes.
        settings: How workers are set up.
        workers: Number of worker processes.
        timeout_s: Longest time a worker may take to answer.
        attempts: Times an episode is tried.
        subscribers: Told of everything that happens.
        policy_timeout_s: Longest time the policy may take to answer; None for ever.
        pools: Where workers come from; new ones for each call of `run` if None.
        launcher: Starts them; on this machine if None.
    """

    def __init__(
        self,
        policy: Policy,
        settings: WorkerSettings,
        workers: int,
        timeout_s: float,
        attempts: int,
        subscribers: Sequence[Subscriber],
        policy_timeout_s: float | None = None,
        pools: Pools | None = None,
        launcher: Launcher | None = None,
    ) -> None:
        self._policy = policy
        self._pools = pools or Pools()
        self._launcher = launcher or LocalLauncher()
        self._settings = settings
        self._size = workers
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._subscribers = subscribers
        self._policy_timeout_s = policy_timeout_s
        self._failures: dict[EpisodeSpec, int] = {}
        self._failed_starts = self._unanswered = 0
        # By episode: who waits to be asked about, who for an answer, who begins afresh, and whom the policy has forgotten.
        self._observed: dict[str, tuple[Worker, PolicyObservation]] = {}
        self._asked: dict[str, Worker] = {}
        self._fresh: set[str] = set()
        self._stranded: dict[str, SeatLostError] = {}

    def run(
        self,
        episodes: Sequence[tuple[int, EpisodeSpec]],
        queue: EpisodeQueue | None = None,
        undrawn: Mapping[EpisodeSpec, EpisodeResult] | None = None,
    ) -> None:
        """Run episodes, given with their positions in the plan, until each has a result or the queue has no more to give.

        Args:
            episodes: What may be run.
            queue: In what order they are handed out; task by task if None.
            undrawn: Which of them have been run and only lack their video.

        Raises:
            PolicyError: The policy broke its contract, or gives no answers.
            RunError: Workers cannot be started.
            VlagymError: What a worker found missing on this machine.
        """
        self._index = {spec: index for index, spec in episodes}
        self._undrawn = undrawn or {}
        queue = EpisodeQueue(self._index) if queue is None else queue
        stage(f"starting {self._size} workers: packages are imported, models compiled")
        with (
            self._pools.workers(self._settings, self._size, self._timeout_s, self._launcher) as pool,
            SeatPool(self._policy, self._settings.suite, self._size, self._policy_timeout_s) as seats,
        ):
            while len(queue) or any(worker.spec for worker in pool.workers):
                for worker in pool.idle():
                    self._give_episode(worker, queue)
                for worker, message in pool.wait(seats.bell, seats.patience_s()):
                    self._handle(worker, message, pool, seats, queue)
                for answer in seats.answers():
                    self._pass_on(answer, seats, queue)
                self._ask(seats, queue)
                for name, seconds in (*pool.slow(), *seats.slow()):
                    for subscriber in self._subscribers:
                        subscriber.waiting(name, seconds)

    def _give_episode(self, worker: Worker, queue: EpisodeQueue) -> None:
        spec = queue.take(worker.index)
        if spec is None:
            return
        worker.spec = spec
        self._fresh.add(spec.id)
        worker.send(Begin(spec, self._index[spec], self._undrawn.get(spec)))
        for subscriber in self._subscribers:
            subscriber.episode_started(spec, worker.index)

    def _handle(self, worker: Worker, message: Message, pool: WorkerPool, seats: SeatPool, queue: EpisodeQueue) -> None:
        """Deal with what a worker says."""
        if isinstance(message, Ready):
            self._failed_starts = 0
        elif isinstance(message, Failed | Lost):
            self._replace(worker, message, pool, seats, queue)
        elif isinstance(message, Ended):
            self._end(message.result, worker, seats)
        else:
            assert worker.spec is not None
            self._observed[worker.spec.id] = worker, message.for_policy(worker.spec)
            if message.new_subtask:
                self._fresh.add(worker.spec.id)
            if message.step:
                for subscriber in self._subscribers:
                    subscriber.chunk_done(worker.spec, message.step)

    def _ask(self, seats: SeatPool, queue: EpisodeQueue) -> None:
        """Hand out the observations that have come."""
        for episode in self._stranded.keys() & self._observed.keys():
            self._retry(self._observed[episode][0], f"{self._stranded[episode]}", False, seats, queue)
        while True:
            taken = seats.ask([observation for _, observation in self._observed.values()], self._fresh)
            for episode in taken:
                self._asked[episode], _ = self._observed.pop(episode)
                self._fresh.discard(episode)
            if not seats.instant:
                return
            for answer in seats.answers():
                self._pass_on(answer, seats, queue)
            if not taken:
                return

    def _pass_on(self, answer: Answer, seats: SeatPool, queue: EpisodeQueue) -> None:
        """Give a seat's answer to the workers that wait for it; one whose worker is gone is nobody's."""
        workers = [self._asked.pop(episode, None) for episode in answer.episodes]
        if answer.lost is None:
            self._unanswered = 0
            for worker, chunk, done in zip(workers, answer.chunks, answer.done, strict=True):
                if worker:
                    worker.send(Actions(chunk, done))
            return
        self._stranded |= dict.fromkeys(answer.stranded, answer.lost)
        for worker in workers:
            if worker and not self._retry(worker, f"{answer.lost}", False, seats, queue):
                self._unanswered += 1
        if self._unanswered >= self._attempts:
            raise PolicyError(f"{self._unanswered} episodes in a row got no answer from the policy: {answer.lost}")

    def _end(self, result: EpisodeResult, worker: Worker, seats: SeatPool) -> None:
        self._leave(worker, seats, again=False)
        tried = self._failures.get(result.spec, 0) + (result.error is None)
        where = {"machine": worker.process.place} if worker.process.place else {}
        execution = {"worker": worker.index, **where, "attempts": tried, **result.execution}
        for subscriber in self._subscribers:
            subscriber.episode_ended(replace(result, execution=execution))

    def _replace(self, worker: Worker, message: Failed | Lost, pool: WorkerPool, seats: SeatPool, queue: EpisodeQueue) -> None:
        """Replace the worker and decide about its episode."""
        reason = f"worker {worker.index}: {message.reason}" if isinstance(message, Lost) else f"{message.kind}: {message.message}"
        understood = isinstance(message, Failed) and message.understood
        if isinstance(message, Failed) and message.of_the_machine:
            raise RunError(message.message)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= self._most_failed_starts(message):
                raise RunError(f"workers cannot be started; {reason}. Run `vla-eval doctor` to see what this machine lacks.")
        pool.replace(worker)
        if worker.spec is not None:
            self._retry(worker, reason, understood, seats, queue)

    def _most_failed_starts(self, message: Failed | Lost) -> int:
        """After how many in a row to give up; a machine that is lost takes with it all that were starting there."""
        lost_elsewhere = isinstance(message, Lost) and self._settings.elsewhere is not None
        return _MOST_LOST_STARTS * self._size if lost_elsewhere else self._attempts

    def _retry(self, worker: Worker, reason: str, final: bool, seats: SeatPool, queue: EpisodeQueue) -> bool:
        """Run a worker's episode again, if that is of use (not `final`) and it has not been tried often enough; whether it is."""
        spec = worker.spec
        assert spec is not None
        self._failures[spec] = self._failures.get(spec, 0) + 1
        if final or self._failures[spec] >= self._attempts:
            self._end(self._without_end(spec, reason), worker, seats)
            return False
        self._leave(worker, seats, again=True)
        queue.put_back(spec, worker.index)
        for subscriber in self._subscribers:
            subscriber.episode_retried(spec, reason)
        return True

    def _leave(self, worker: Worker, seats: SeatPool, again: bool) -> None:
        """The worker's episode is over, or will be run again."""
        assert worker.spec is not None
        episode, worker.spec = worker.spec.id, None
        self._observed.pop(episode, None)
        self._asked.pop(episode, None)
        self._stranded.pop(episode, None)
        self._fresh.discard(episode)
        seats.forget(episode, again)

    def _without_end(self, spec: EpisodeSpec, reason: str) -> EpisodeResult:
        """An error; of an episode that only lacks its video, what is known of it."""
        shown = without_home(masked_text(reason))
        if (known := self._undrawn.get(spec)) is not None:
            return replace(known, execution={**known.execution, "video": None, "video_error": shown})
        instruction = next(task.instruction for task in self._settings.suite.tasks() if task.name == spec.task)
        return EpisodeResult(spec, instruction, None, None, None, None, 0, None, None, None, error=shown)
