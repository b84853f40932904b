"""Seats: where a policy answers while the runner's loop goes on. Each seat is a thread that drives one instance of the policy.

A policy has one seat, or as many as `Policy.seats` gives: connections to a server, processes on several GPUs. The main process asks
a seat that is free and hears of its answer through `SeatPool.bell`, which can be waited for together with the workers' pipes.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from ...envs.suite import Suite
from ...errors import PolicyError
from ...policies.base import Chunk, Policy, PolicyObservation, SeatLostError, checked_chunks
from .launcher import PLACE_TIMEOUT_S

_CLOSE_TIMEOUT_S = 10.0
_FIRST_NOTICE_S = 10.0
_LOOK_AGAIN_S = 1.0  # for seats that were without a place


@dataclass(frozen=True)
class Question:
    """What a seat is asked: to drop the episodes that are over, to begin the fresh ones, and to act."""

    observations: list[PolicyObservation]
    fresh: list[str]
    over: list[str]

    @property
    def episodes(self) -> list[str]:
        """Whom it is asked about."""
        return [observation["episode_id"] for observation in self.observations]


@dataclass(frozen=True)
class Answer:
    """What a seat came back with.

    Attributes:
        episodes: Whom it was asked about.
        chunks: One checked chunk float[T, A] for each.
        done: Whether the policy declared each one's task accomplished.
        lost: The seat's error; the episodes have no answer.
        stranded: Other episodes that it has forgotten with it.
    """

    episodes: list[str]
    chunks: list[Chunk] = field(default_factory=list)
    done: list[bool] = field(default_factory=list)
    lost: SeatLostError | None = None
    stranded: AbstractSet[str] = frozenset()


@dataclass
class PolicyUse:
    """How the policy was used: what benchmarks and timing reports need. Seconds are of all seats together."""

    seconds: float = 0.0
    batches: int = 0
    observations: int = 0


@dataclass(eq=False)
class _Seat:
    """One instance of the policy and the thread that drives it.

    Attributes:
        policy: The instance.
        name: For messages.
        episodes: Which have begun here and are not over.
        over: Which are, and have not been dropped yet.
        question: What it is being asked; None if it is free.
        since: When it was asked.
        notice_s: After how long to say that it has not answered.
    """

    policy: Policy
    name: str
    episodes: set[str] = field(default_factory=set)
    over: list[str] = field(default_factory=list)
    question: Question | None = None
    since: float = 0.0
    notice_s: float = _FIRST_NOTICE_S
    questions: queue.SimpleQueue[Question | None] = field(default_factory=queue.SimpleQueue)
    thread: threading.Thread | None = None

    def ask(self, question: Question) -> None:
        self.question, self.since, self.notice_s, self.over = question, time.monotonic(), _FIRST_NOTICE_S, []
        self.questions.put(question)


class SeatPool:
    """The seats of one policy.

    Args:
        policy: What answers.
        suite: Whose actions it gives.
        at_once: Most episodes that run at the same time.
        timeout_s: Longest time a seat may take to answer; None for ever.

    Attributes:
        bell: Readable when a seat has answered; for `multiprocessing.connection.wait`.
        instant: Whether answers are there as soon as it has been asked (`Policy.instant`); there is no thread then.
        use: How the policy was used so far.
    """

    def __init__(self, policy: Policy, suite: Suite, at_once: int, timeout_s: float | None) -> None:
        self._policy = policy
        self._suite = suite
        self._timeout_s = timeout_s
        self._answers: queue.SimpleQueue[tuple[_Seat, list[Chunk], list[bool], float, BaseException | None]] = queue.SimpleQueue()
        self.bell, self._rope = socket.socketpair()
        self.use = PolicyUse()
        seats = policy.seats(at_once)
        name = type(policy).__name__
        self._seats = [_Seat(seat, f"{name} seat {i}" if len(seats) > 1 else name) for i, seat in enumerate(seats)]
        self._at_once = at_once
        self._none_since: float | None = None
        self.instant = policy.instant and list(seats) == [policy]
        for seat in () if self.instant else self._seats:
            seat.thread = threading.Thread(target=self._drive, args=(seat,), name=seat.name, daemon=True)
            seat.thread.start()

    def __enter__(self) -> SeatPool:
        return self

    def __exit__(self, exception_type: type[BaseException] | None, *exception: object) -> None:
        self.close()
        if exception_type is None:
            list(self.answers())  # the last release may have failed

    def ask(self, observations: Sequence[PolicyObservation], fresh: AbstractSet[str]) -> list[str]:
        """Give free seats what they can be asked now.

        Args:
            observations: Of different episodes, those that wait longest first.
            fresh: Episodes that begin, or have come to a new subtask, with their observation.

        Returns:
            The episodes whose observations were given away.
        """
        elsewhere = {episode for seat in self._seats if seat.question for episode in seat.question.episodes}
        waiting = [observation for observation in observations if observation["episode_id"] not in elsewhere]
        taken: list[str] = []
        present = self._present()
        for seat in sorted((s for s in present if s.question is None), key=lambda s: len(s.episodes)):
            left = [observation for observation in waiting if observation["episode_id"] not in taken]
            batch = self._batch(seat, len(present), left)
            question = Question(batch, [o["episode_id"] for o in batch if o["episode_id"] in fresh], seat.over)
            taken += question.episodes
            if question.episodes or question.over:
                seat.ask(question)
                if self.instant:
                    self._answer_next(seat)
        return taken

    def forget(self, episode: str, again: bool) -> None:
        """An episode is over, or (`again`) is going to be run once more from its beginning."""
        for seat in self._seats:
            if episode in seat.episodes:
                seat.episodes.remove(episode)
                # Where all seats share what is kept of it, a late release could meet the new beginning, which resets it anyhow.
                if self._policy.episodes_stay or not again:
                    seat.over.append(episode)

    def answers(self) -> Iterator[Answer]:
        """What has been answered, without waiting.

        Raises:
            PolicyError: The policy broke its contract, called ``sys.exit``, or has not answered within the time limit.
            BaseException: Whatever else the policy raised.
        """
        if not self.instant:
            self._hear_bell()
        while not self._answers.empty():
            seat, chunks, done, seconds, error = self._answers.get()
            question, seat.question = seat.question, None
            assert question is not None
            self._count(question, seconds)
            if isinstance(error, SeatLostError):
                stranded, seat.episodes = seat.episodes - set(question.episodes), set()
                yield Answer(question.episodes, lost=error, stranded=stranded if self._policy.episodes_stay else frozenset())
            elif isinstance(error, SystemExit):
                raise PolicyError(f"{seat.name} called sys.exit({error.code!r}); a policy raises an error instead.") from error
            elif error is not None:
                raise error
            else:
                yield Answer(question.episodes, chunks, done)

    def slow(self) -> list[tuple[str, float]]:
        """Seats that keep the run waiting, with the seconds so far: each is named after 10 s, 20 s, 40 s, ..."""
        found = []
        for seat in self._seats:
            waited = time.monotonic() - seat.since
            if seat.question and waited >= seat.notice_s:
                seat.notice_s *= 2
                found.append((f"{seat.name} (asked about {len(seat.question.observations)} observations)", waited))
        return found

    def patience_s(self) -> float | None:
        """How long to wait for `bell` before `answers` and `slow` must be called again; None for ever."""
        limit = float("inf") if self._timeout_s is None else self._timeout_s
        times = [seat.since + min(seat.notice_s, limit) for seat in self._seats if seat.question]
        times += [time.monotonic() + _LOOK_AGAIN_S for seat in self._seats if seat.policy.absent]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def close(self) -> None:
        """Let the seats drop their last episodes and end; one that is still acting is left alone after a while."""
        for seat in self._seats:
            if seat.over and seat.question is None:
                seat.ask(Question([], [], seat.over))
                if self.instant:
                    self._answer_next(seat)
            seat.questions.put(None)
        deadline = time.monotonic() + _CLOSE_TIMEOUT_S
        for seat in self._seats:
            if seat.thread is not None:
                seat.thread.join(max(0.0, deadline - time.monotonic()))

    def _present(self) -> list[_Seat]:
        """Those that can be asked; all others wait for a place to be in.

        Raises:
            PolicyError: There have been none for too long.
        """
        present = [seat for seat in self._seats if not seat.policy.absent]
        self._none_since = None if present else self._none_since or time.monotonic()
        if self._none_since is not None and time.monotonic() > self._none_since + PLACE_TIMEOUT_S:
            raise PolicyError(f"no copy of the policy has had a place to be in for {PLACE_TIMEOUT_S:g} s.")
        return present

    def _batch(self, seat: _Seat, seats: int, waiting: list[PolicyObservation]) -> list[PolicyObservation]:
        """What a free seat, one of so many, is asked next; episodes that begin here are noted as its own."""
        share = -(-self._at_once // seats)  # so that the episodes spread over the seats
        most_episodes = min(share, self._policy.max_episodes or share)
        limit = self._policy.max_batch or len(waiting)
        batch: list[PolicyObservation] = []
        for observation in waiting:
            episode = observation["episode_id"]
            home = next((other for other in self._seats if episode in other.episodes), None)
            if len(batch) == limit:
                break
            if home is not seat and self._policy.episodes_stay and (home or len(seat.episodes) >= most_episodes):
                continue
            if home is not None:
                home.episodes.remove(episode)
            seat.episodes.add(episode)
            batch.append(observation)
        return batch

    def _count(self, question: Question, seconds: float) -> None:
        if question.observations:
            self.use.seconds += seconds
            self.use.batches += 1
            self.use.observations += len(question.observations)

    def _check_deadlines(self) -> None:
        for seat in self._seats:
            if seat.question and self._timeout_s is not None and time.monotonic() >= seat.since + self._timeout_s:
                asked = ", ".join(seat.question.episodes) or "its episodes that are over"
                raise PolicyError(
                    f"{seat.name} has not answered for {self._timeout_s:g} s (policy_timeout_s), asked about {asked}."
                )

    def _hear_bell(self) -> None:
        self.bell.setblocking(False)
        try:
            self.bell.recv(4096)
        except BlockingIOError:
            self._check_deadlines()

    def _drive(self, seat: _Seat) -> None:
        """The seat's thread: answer questions until there are no more."""
        while self._answer_next(seat):
            self._rope.send(b"!")

    def _answer_next(self, seat: _Seat) -> bool:
        """Answer a question; False if there are no more."""
        question = seat.questions.get()
        if question is None:
            return False
        chunks: list[Chunk] = []
        done: list[bool] = []
        error: BaseException | None = None
        began = time.perf_counter()
        try:
            chunks, done = _answer(seat.policy, self._suite, question)
        except BaseException as raised:  # handed to the main thread, which decides
            error = raised
        self._answers.put((seat, chunks, done, time.perf_counter() - began, error))
        return True


def _answer(policy: Policy, suite: Suite, question: Question) -> tuple[list[Chunk], list[bool]]:
    if question.over:
        policy.release(question.over)
    if question.fresh:
        policy.reset(question.fresh)
    if not question.observations:
        return [], []
    chunks = checked_chunks(policy, suite, question.observations, policy.act(question.observations))
    return chunks, policy.done(question.episodes)
