"""Worker processes: each keeps one environment (its compiled models and GL context) for its whole life and runs episodes in it.

The main process speaks to a worker through one pipe: `Begin` or `Actions` goes in, `Observed`, `Ended` or `Failed` comes out, one
for one. A worker that dies, or does not answer in time, is replaced; what to do about its episode is the runner's business.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from ...envs.spec import Observation
from ...envs.suite import Suite
from ...episode import EpisodeResult, EpisodeSpec
from ...errors import VlagymError
from ...policies.base import PolicyObservation
from .rollout import RecordSettings, Rollout, TrajectoryRecorder, VideoRecorder

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    import numpy as np
    from numpy.typing import NDArray

_CLOSE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is told when it is started.

    Attributes:
        suite: What to build the environment from.
        cameras: Images the policy needs in an observation.
        privileged: Whether observations carry `VlaEnv.privileged_state`.
        record: Where and what to record; None records nothing.
        egl_devices: GPUs to render on; worker i uses entry i modulo their number. None leaves the choice to the driver.
    """

    suite: Suite
    cameras: tuple[str, ...]
    privileged: bool
    record: RecordSettings | None
    egl_devices: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Begin:
    """Start this episode, whatever became of the last; `index` is its position in the plan."""

    spec: EpisodeSpec
    index: int


@dataclass(frozen=True)
class Actions:
    """Execute these actions float[T, A]; with `done` the policy declares the task accomplished."""

    actions: NDArray[np.floating[Any]]
    done: bool = False


@dataclass(frozen=True)
class Ready:
    """The environment has been built."""


@dataclass(frozen=True)
class Observed:
    """The episode goes on from here.

    Attributes:
        observation: What the policy sees now.
        privileged: `VlaEnv.privileged_state`, if asked for.
        step: Policy steps executed so far.
        new_subtask: The policy has to start afresh.
    """

    observation: Observation
    privileged: dict[str, NDArray[np.float64]] | None
    step: int
    new_subtask: bool

    def for_policy(self, spec: EpisodeSpec) -> PolicyObservation:
        """The observation as the policy receives it."""
        seen = self.observation
        observation: PolicyObservation = {
            "images": seen["images"],
            "state": seen["state"],
            "instruction": seen["instruction"],
            "episode_id": spec.id,
            "step": self.step,
        }
        if self.privileged is not None:
            observation["privileged"] = self.privileged
        return observation


@dataclass(frozen=True)
class Ended:
    """The episode is over."""

    result: EpisodeResult


@dataclass(frozen=True)
class Failed:
    """Something was raised. `understood` if it was a `VlagymError`, which trying again would not change."""

    kind: str
    message: str
    understood: bool


@dataclass(frozen=True)
class Lost:
    """The main process's own finding: the worker died or hangs."""

    reason: str


Message = Ready | Observed | Ended | Failed | Lost


@dataclass(eq=False)
class Worker:
    """The main process's view of one worker."""

    index: int
    process: SpawnProcess
    connection: Connection
    started: float = field(default_factory=time.monotonic)
    ready: bool = False
    spec: EpisodeSpec | None = None
    waiting_since: float | None = None

    def send(self, command: Begin | Actions) -> None:
        """Give it something to do; a broken pipe shows when its answer is waited for."""
        self.waiting_since = time.monotonic()
        try:
            self.connection.send(command)
        except OSError:  # it died; `WorkerPool.wait` finds its pipe closed and reports it
            return


class WorkerPool:
    """A number of workers that are kept alive.

    Args:
        settings: The same for all.
        size: How many.
        timeout_s: Longest time a worker may take to answer.
    """

    def __init__(self, settings: WorkerSettings, size: int, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._context = multiprocessing.get_context("spawn")
        self.workers = [self._start(index) for index in range(size)]

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def idle(self) -> list[Worker]:
        """Workers that are ready and have no episode."""
        return [worker for worker in self.workers if worker.ready and worker.spec is None]

    def wait(self, bell: socket.socket, patience_s: float | None) -> list[tuple[Worker, Message]]:
        """Block until at least one worker has something to say, then take all that is there without waiting further.

        Args:
            bell: Return, perhaps with nothing, when this can be read from.
            patience_s: Likewise after so many seconds; None for never.
        """
        by_connection = {worker.connection: worker for worker in self.workers}
        deadlines = [since + self._timeout_s for worker in self.workers if (since := self._since(worker)) is not None]
        waits = [max(0.0, deadline - time.monotonic()) for deadline in deadlines] + ([] if patience_s is None else [patience_s])
        heard = wait([*by_connection, bell], min(waits, default=None))
        messages = [self._receive(by_connection[c]) for c in heard if isinstance(c, Connection)]
        spoken = {worker for worker, _ in messages}
        return messages + [(worker, self._hung()) for worker in self.workers if worker not in spoken and self._overdue(worker)]

    def replace(self, worker: Worker) -> None:
        """Kill a worker and start a new one in its place."""
        self._kill(worker)
        self.workers[self.workers.index(worker)] = self._start(worker.index)

    def close(self) -> None:
        """Let idle workers leave by themselves, then end the others; nothing survives."""
        for worker in self.workers:
            worker.connection.close()  # a worker that waits for a command sees the end of its pipe and leaves
        deadline = time.monotonic() + _CLOSE_TIMEOUT_S
        for worker in self.workers:
            if worker.spec is None:
                worker.process.join(max(0.0, deadline - time.monotonic()))
            self._kill(worker)

    def _start(self, index: int) -> Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_worker_main, args=(theirs, index, self._settings), name=f"worker-{index}")
        process.start()
        theirs.close()
        return Worker(index, process, ours)

    def _since(self, worker: Worker) -> float | None:
        """When the worker was last given something it has not answered; None if nothing is expected of it."""
        return worker.waiting_since if worker.ready else worker.started

    def _overdue(self, worker: Worker) -> bool:
        since = self._since(worker)
        return since is not None and time.monotonic() >= since + self._timeout_s

    def _hung(self) -> Lost:
        return Lost(f"it did not answer for {self._timeout_s:g} s (worker_timeout_s)")

    def _receive(self, worker: Worker) -> tuple[Worker, Message]:
        try:
            message: Message = worker.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            worker.process.join(_CLOSE_TIMEOUT_S)
            return worker, Lost(f"its process ended with {_exit_reason(worker.process.exitcode)}")
        worker.waiting_since = None
        worker.ready = worker.ready or isinstance(message, Ready)
        return worker, message

    def _kill(self, worker: Worker) -> None:
        if worker.process.is_alive():
            worker.process.kill()
        worker.process.join()
        worker.connection.close()


def _exit_reason(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"signal {signal.Signals(-exitcode).name}"
    return f"exit code {exitcode}"


def _worker_main(connection: Connection, index: int, settings: WorkerSettings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if settings.egl_devices:
        device = str(settings.egl_devices[index % len(settings.egl_devices)])
        os.environ.update(MUJOCO_EGL_DEVICE_ID=device, EGL_VISIBLE_DEVICES=device)  # the latter for pybullet
    try:
        rollout = _build(settings)
    except Exception as error:  # sent on: the main process decides
        _send(connection, _failure(error))
        return
    _send(connection, Ready())
    try:
        _serve(connection, rollout, settings.privileged)
    finally:
        rollout.abandon()
        rollout.env.close()


def _build(settings: WorkerSettings) -> Rollout:
    env = settings.suite.make_env(settings.cameras)
    if settings.record is None:
        return Rollout(env, [])
    video = [VideoRecorder(settings.record)] if settings.record.video != "none" else []
    return Rollout(env, [TrajectoryRecorder(settings.record), *video])


def _serve(connection: Connection, rollout: Rollout, privileged: bool) -> None:
    """Answer commands until the main process closes the pipe."""
    clock = rollout.env.clock
    while True:
        with clock("idle"):
            connection.poll(None)
        try:
            with clock("transport"):
                command: Begin | Actions = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        try:
            answer = _execute(command, rollout, privileged)
        except Exception as error:  # sent on: the main process decides
            rollout.abandon()
            answer = _failure(error)
        with clock("transport"):
            if not _send(connection, answer):
                return


def _execute(command: Begin | Actions, rollout: Rollout, privileged: bool) -> Message:
    env = rollout.env
    if isinstance(command, Begin):
        rollout.abandon()  # an episode that the policy lost
        observation, new_subtask = rollout.begin(command.spec, command.index), False
    else:
        chunk = rollout.advance(command.actions, command.done)
        if chunk.observation is None:
            return Ended(rollout.finish(chunk))
        observation, new_subtask = chunk.observation, chunk.new_subtask
    return Observed(observation, env.privileged_state() if privileged else None, rollout.steps, new_subtask)


def _failure(error: Exception) -> Failed:
    understood = isinstance(error, VlagymError)
    message = str(error) if understood else "".join(traceback.format_exception(error)[-4:]).strip()
    return Failed(type(error).__name__, message, understood)


def _send(connection: Connection, message: Message) -> bool:
    """Send to the main process; False if it is gone."""
    try:
        connection.send(message)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _leave_with_parent() -> None:
    """End this process when the main process is gone, even if a simulator call never returns."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def default_worker_count(episodes: int, asked: int | None) -> int:
    """As many as asked for, else one per core this process may use; never more than there are episodes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min(asked or cores, episodes))


def worker_settings(
    suite: Suite, policy: Any, record: RecordSettings | None, egl_devices: Sequence[int] | None = None
) -> WorkerSettings:
    """The settings of the workers that serve a policy."""
    return WorkerSettings(
        suite, tuple(policy.cameras), policy.needs_privileged_state, record, tuple(egl_devices) if egl_devices else None
    )
