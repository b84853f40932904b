"""The main process's side of the workers: a pool of processes that are kept alive, each behind a channel that never blocks.

A worker that dies, or does not answer in time, is replaced; what to do about its episode is the runner's business.
"""

from __future__ import annotations

import os
import pickle
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...envs.suite import Suite
from ...episode import EpisodeSpec
from ...errors import RunError
from ..plan.realtime import Realtime
from .channel import Channel
from .launcher import Launcher, LocalLauncher, Process, check_main_guard, exit_reason
from .messages import Actions, Begin, Lost, Message, Ready, Record, WorkerSettings
from .rollout import RecordSettings
from .worker import worker_main

_CLOSE_TIMEOUT_S = 10.0
_FIRST_NOTICE_S = 30.0  # an episode's reset takes a few seconds in the slowest suites
_START_TIMEOUT_S = 120.0  # at least: packages are imported and models compiled
_LAST_BREATH_S = 2.0  # from a closed pipe to the exit code of the process behind it


@dataclass(eq=False)
class Worker:
    """The main process's view of one worker."""

    index: int
    process: Process
    channel: Channel
    started: float = field(default_factory=time.monotonic)
    ready: bool = False
    spec: EpisodeSpec | None = None
    waiting_since: float | None = None
    notice_s: float = _FIRST_NOTICE_S

    def send(self, command: Begin | Actions | Record) -> None:
        """Give it something to do; a broken pipe shows when its answer is waited for."""
        self.waiting_since, self.notice_s = time.monotonic(), _FIRST_NOTICE_S
        try:
            self.channel.send(command)
        except OSError:  # it died; `WorkerPool.wait` finds its pipe closed and reports it
            return

    @property
    def since(self) -> float | None:
        """When it was last given something that it has not answered; None if nothing is expected of it."""
        return self.waiting_since if self.ready else self.started


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
        fit = [worker for worker in self.workers if worker.ready and worker.spec is None and worker.process.exitcode is None]
        leave = [worker for worker in self.workers if worker not in fit[:size]]
        self._kill(leave)
        self.workers = fit[:size]
        for index, worker in enumerate(self.workers):
            worker.index = index
            worker.ready, worker.started = False, time.monotonic()
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
        messages = self._listen(bell, min(waits, default=None))
        spoken = {worker for worker, _ in messages}
        return messages + [
            (worker, self._hung(worker)) for worker in self.workers if worker not in spoken and self._overdue(worker)
        ]

    def slow(self) -> list[tuple[str, float]]:
        """Workers that keep the run waiting, with the seconds so far: each is named after 30 s, 60 s, 120 s, ..."""
        found = []
        for worker in self.workers:
            waited = 0.0 if worker.since is None else time.monotonic() - worker.since
            if waited >= worker.notice_s:
                worker.notice_s *= 2
                found.append((f"worker {worker.index} ({worker.spec.id if worker.spec else 'starting'})", waited))
        return found

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
            process, end = self._launcher.start(f"worker-{index}", worker_main, index, self._settings)
        except RunError as error:
            raise RunError(f"{str(error).rstrip('.')}. Ask for fewer with workers=N.") from error
        end.setblocking(False)
        return Worker(index, process, Channel(end))

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
            check_main_guard(worker.process)
            return Lost(f"its process {exit_reason(worker.process)}")
        if message is not None:
            worker.waiting_since = None
            worker.ready = worker.ready or isinstance(message, Ready)
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


def default_worker_count(episodes: int, asked: int | None) -> int:
    """As many as asked for, else one per core this process may use; never more than there are episodes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min(asked or cores, episodes))


def worker_settings(
    suite: Suite,
    policy: Any,
    record: RecordSettings | None,
    egl_devices: Sequence[int] | None = None,
    realtime: Realtime | None = None,
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
    )
