"""The main process's side of the workers: a pool of processes that are kept alive, each behind a channel that never blocks.

A worker that dies, or does not answer in time, is replaced; what to do about its episode is the runner's business.
"""

from __future__ import annotations

import pickle
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...envs.suite import Suite
from ...episode import EpisodeSpec
from ...errors import RunError
from ..plan.realtime import Realtime
from .channel import Channel
from .delivery import make_folders, put_in_run, with_trajectory
from .launcher import PLACE_TIMEOUT_S, Launcher, LocalLauncher, Process
from .messages import Actions, Begin, Ended, Failed, Lost, Message, Ready, Record, WorkerSettings
from .rollout import RecordSettings
from .worker import worker_main

_CLOSE_TIMEOUT_S = 10.0
_FIRST_NOTICE_S = 30.0  # an episode's reset takes a few seconds in the slowest suites
_START_TIMEOUT_S = 120.0  # at least: packages are imported and models compiled
_LOOK_AGAIN_S = 5.0  # for a place
_LAST_BREATH_S = 2.0  # from a closed pipe to the exit code of the process behind it


@dataclass(eq=False)
class Worker:
    """The main process's view of one worker.

    Attributes:
        run: The folder into which its files are put for it; None where it does that itself, or writes none.
        asked: When it was asked for.
        ready: Whether it has said so.
        spec: The episode it has.
        waiting_since: When it was told what it has not answered.
        notice_s: After how long to say that it has not.
    """

    index: int
    process: Process
    channel: Channel
    run: Path | None = None
    asked: float = field(default_factory=time.monotonic)
    ready: bool = False
    spec: EpisodeSpec | None = None
    waiting_since: float | None = None
    notice_s: float = _FIRST_NOTICE_S

    def send(self, command: Begin | Actions | Record) -> None:
        """Give it something to do; a broken pipe shows when its answer is waited for."""
        self.waiting_since, self.notice_s = time.monotonic(), _FIRST_NOTICE_S
        if isinstance(command, Begin) and self.run is not None:
            command = with_trajectory(command, self.run)
        try:
            self.channel.send(command)
        except OSError:  # it died; `WorkerPool.wait` finds its pipe closed and reports it
            return

    @property
    def since(self) -> float | None:
        """Since when an answer is expected of it; None if none is, or while it waits for a place."""
        return self.waiting_since if self.ready or self.waiting_since is not None else self.process.started

    @property
    def without_place(self) -> bool:
        """Whether there has been no room for it yet."""
        return self.process.started is None and self.process.alive


class WorkerPool:
    """A number of workers that are kept alive, and that end with the thread that made the pool.

    Args:
        settings: The same for all.
        size: How many.
        timeout_s: Longest time a worker may take to answer; one that is starting has two minutes at least.
        launcher: Starts them; on this machine if None.

    Raises:
        RunError: No more processes can be started.
    """

    def __init__(self, settings: WorkerSettings, size: int, timeout_s: float, launcher: Launcher | None = None) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._launcher = launcher or LocalLauncher()
        self._room_notice_s = _FIRST_NOTICE_S
        self.workers: list[Worker] = []
        self._fill(size)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def take_up(self, settings: WorkerSettings, size: int, timeout_s: float) -> None:
        """Serve another run, with as many workers as it asks for: those that are there go on, and record for it.

        Args:
            settings: The same as before, but for what is recorded.
            size: How many.
            timeout_s: As for a new pool.
        """
        self._settings, self._timeout_s = settings, timeout_s
        fit = [worker for worker in self.workers if worker.ready and worker.spec is None and worker.process.alive]
        leave = [worker for worker in self.workers if worker not in fit[:size]]
        self._kill(leave)
        self.workers = fit[:size]
        for index, worker in enumerate(self.workers):
            worker.index, worker.run = index, self._receiving_run()
            worker.ready = False
            worker.send(Record(settings.record))
        self._fill(size)

    def idle(self) -> list[Worker]:
        """Workers that are ready and have no episode."""
        return [worker for worker in self.workers if worker.ready and worker.spec is None]

    def wait(self, bell: socket.socket, patience_s: float | None) -> list[tuple[Worker, Message]]:
        """Block until at least one worker has something to say or is late, then take all that is there without waiting further.

        Args:
            bell: Return, perhaps with nothing, when this can be read from.
            patience_s: Likewise after so many seconds; None for never.
        """
        deadlines = [
            worker.since + min(worker.notice_s, self._limit_s(worker)) for worker in self.workers if worker.since is not None
        ]
        waits = [max(0.0, deadline - time.monotonic()) for deadline in deadlines] + ([] if patience_s is None else [patience_s])
        if without_place := [worker for worker in self.workers if worker.without_place]:
            self._check_room(without_place)
            waits.append(_LOOK_AGAIN_S)
        messages = self._listen(bell, min(waits, default=None))
        spoken = {worker for worker, _ in messages}
        return messages + [
            (worker, self._hung(worker)) for worker in self.workers if worker not in spoken and self._overdue(worker)
        ]

    def slow(self) -> list[tuple[str, float]]:
        """Workers that keep the run waiting, with the seconds so far: each is named after 30 s, 60 s, 120 s, ..."""
        found = self._without_place()
        for worker in self.workers:
            waited = 0.0 if worker.since is None else time.monotonic() - worker.since
            if waited >= worker.notice_s:
                worker.notice_s *= 2
                found.append((f"worker {worker.index} ({worker.spec.id if worker.spec else 'starting'})", waited))
        return found

    def _without_place(self) -> list[tuple[str, float]]:
        """One line for all workers that there is no room for."""
        since = [worker.asked for worker in self.workers if worker.without_place]
        if not since:
            self._room_notice_s = _FIRST_NOTICE_S
            return []
        waited = time.monotonic() - max(since)
        if waited < self._room_notice_s:
            return []
        self._room_notice_s *= 2
        return [(f"a place for {len(since)} of {len(self.workers)} workers", waited)]

    def _check_room(self, without_place: Sequence[Worker]) -> None:
        """Raise if no worker has found a place for too long; while one has, the run goes on with those that have."""
        since = max(worker.asked for worker in without_place)
        if len(without_place) == len(self.workers) and time.monotonic() - since > PLACE_TIMEOUT_S:
            raise self._launcher.no_room()

    def replace(self, worker: Worker) -> None:
        """Kill a worker and start a new one in its place."""
        self._kill([worker])
        self.workers[self.workers.index(worker)] = self._start(worker.index)

    def close(self) -> None:
        """Let idle workers leave by themselves, then end the others; nothing survives."""
        try:
            for worker in self.workers:
                worker.channel.close()  # a worker that waits for a command sees the end of its pipe and leaves
            deadline = time.monotonic() + _CLOSE_TIMEOUT_S
            for worker in self.workers:
                if worker.ready and worker.spec is None:
                    worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            self._kill(self.workers)

    def _fill(self, size: int) -> None:
        try:
            while len(self.workers) < size:
                self.workers.append(self._start(len(self.workers)))
        except BaseException:  # raised again: whatever it was, no worker stays behind
            self._kill(self.workers)
            raise

    def _start(self, index: int) -> Worker:
        try:
            process, channel = self._launcher.start(f"worker-{index}", worker_main, index, self._settings)
        except RunError as error:
            raise RunError(f"{str(error).rstrip('.')}. Ask for fewer with workers=N.") from error
        channel.set_blocking(False)
        return Worker(index, process, channel, self._receiving_run())

    def _receiving_run(self) -> Path | None:
        """The run's folder, made ready for the files of workers elsewhere; None if they write their own."""
        record = self._settings.record
        if record is None or self._settings.elsewhere is None:
            return None
        make_folders(record)
        return record.run_dir

    def _listen(self, bell: socket.socket, seconds: float | None) -> list[tuple[Worker, Message]]:
        """What workers say within so many seconds, or until the bell; sends on what did not fit their pipes."""
        with selectors.DefaultSelector() as selector:
            selector.register(bell, selectors.EVENT_READ)
            for worker in self.workers:
                write = selectors.EVENT_WRITE if worker.channel.unsent else 0
                selector.register(worker.channel, selectors.EVENT_READ | write, worker)
            heard = [key.data for key, _ in selector.select(seconds) if key.data is not None]
        messages = [(worker, self._exchange(worker)) for worker in heard]
        return [(worker, message) for worker, message in messages if message is not None]

    def _exchange(self, worker: Worker) -> Message | None:
        """Send what is to be sent, then the worker's message, if it is whole."""
        try:
            worker.channel.flush()
            message: Message | None = worker.channel.receive()
        except (EOFError, OSError, pickle.UnpicklingError):
            worker.process.join(_LAST_BREATH_S)
            where = f" on {worker.process.place}" if worker.process.place else ""
            return Lost(f"its process{where} {worker.process.end_reason()}")
        if message is not None:
            worker.waiting_since = None
            worker.ready = worker.ready or isinstance(message, Ready)
        if isinstance(message, Ended) and worker.run is not None:
            return put_in_run(message, worker.run)
        if isinstance(message, Failed) and worker.process.place:
            return replace(message, message=f"{worker.process.place}: {message.message}")
        return message

    def _overdue(self, worker: Worker) -> bool:
        return worker.since is not None and time.monotonic() >= worker.since + self._limit_s(worker)

    def _limit_s(self, worker: Worker) -> float:
        return self._timeout_s if worker.ready else max(self._timeout_s, _START_TIMEOUT_S)

    def _hung(self, worker: Worker) -> Lost:
        return Lost(f"it did not answer for {self._limit_s(worker):g} s (worker_timeout_s)")

    def _kill(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            worker.channel.close()
            worker.process.kill()
        for worker in workers:
            worker.process.join(_CLOSE_TIMEOUT_S)  # not for ever: a driver may hold on to a process that has been killed


def default_worker_count(episodes: int, asked: int | None, launcher: Launcher | None = None) -> int:
    """As many as asked for, else as many as there is room for (on this machine if None); never more than there are episodes."""
    return max(1, min(asked or (launcher or LocalLauncher()).cores(), episodes))


def worker_settings(
    suite: Suite,
    policy: Any,
    record: RecordSettings | None,
    egl_devices: Sequence[int] | None = None,
    realtime: Realtime | None = None,
    elsewhere: dict[str, Any] | None = None,
) -> WorkerSettings:
    """The settings of the workers that serve a policy."""
    return WorkerSettings(
        suite=suite,
        cameras=tuple(policy.cameras),
        privileged=policy.needs_privileged_state,
        precise=policy.precise_state,
        record=record,
        egl_devices=tuple(egl_devices) if egl_devices else None,
        realtime=realtime,
        elsewhere=elsewhere,
    )
