"""Workers and copies of the policy as actors of a Ray cluster, which places them by the CPUs and GPUs that they need.

Ray finds a place for each and says when it is gone; messages go straight between the main process and the actor (`switchboard`), so
that the runner's queue is the only one.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...errors import ConfigError, DependencyError, RunError
from ...policies.devices import SETTING, check_computes_here
from ..plan.launcher import LauncherSettings
from .launcher import PLACE_TIMEOUT_S, Launcher, LocalLauncher
from .ray_actor import Call, identity, surroundings
from .switchboard import Line, Switchboard

_CONNECT_TIMEOUT_S = 5.0
_ANSWER_TIMEOUT_S = 10.0  # a head answers within milliseconds
# Heads speak gRPC, so HTTP/2: each side begins with a frame of settings (RFC 9113, 3.4 and 6.5), of which byte 3 is the kind.
_SETTINGS_FRAME = b"\x04"
_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + _SETTINGS_FRAME + b"\0\0\0\0\0"
_MOST_PROCESSES = 2048  # on a cluster of this machine's own, where workers=N alone decides how many there are
_OBJECT_STORE_BYTES = 80 * 2**20  # about the least that Ray takes: nothing of ours goes through it


class RayProcess:
    """An actor, which is asked for one thing: to be a worker or a seat."""

    def __init__(self) -> None:
        self.place = ""
        self.started: float | None = None
        self._settled = threading.Event()

    def called(self, place: str) -> None:
        """It has come to life and called in."""
        self.place, self.started = place, time.monotonic()
        self._settled.set()

    def watch(self, launcher: RayLauncher, actor: Any, future: Future[str | None], line: Line) -> None:
        """Take note of its end."""
        self._launcher, self._actor, self._future = launcher, actor, future
        future.add_done_callback(lambda _: line.cut())
        future.add_done_callback(lambda _: self._settled.set())

    @property
    def alive(self) -> bool:
        return not self._future.done()

    def end_reason(self) -> str:
        if not self._future.done():
            return "closed its connection"
        if (error := self._future.exception()) is not None:
            return f"ended: {_cause(error)}"
        if (lack := self._future.result()) is not None:
            raise RunError(lack)
        return "ended"

    def await_place(self) -> None:
        if not self._settled.wait(PLACE_TIMEOUT_S):
            raise self._launcher.no_room()

    def join(self, timeout: float) -> None:
        wait([self._future], timeout)

    def kill(self) -> None:
        self._launcher.end(self._actor)


class RayLauncher(Launcher):
    """Actors of a cluster.

    Args:
        settings: ``launcher.*``.

    Raises:
        DependencyError: Ray is not installed.
    """

    elsewhere = True

    def __init__(self, settings: LauncherSettings) -> None:
        try:
            import ray
        except ImportError as error:
            raise DependencyError(f"launcher=ray needs ray ({error}); install it with `pip install 'vlagym[ray]'`.") from error
        self._ray = ray
        self._settings = settings
        self._switchboard: Switchboard | None = None
        self._began_ray = False
        self._processes: list[RayProcess] = []
        self._copies = 0

    def open(self) -> None:
        if self._switchboard is not None:
            return
        address = self._settings.address
        if not self._ray.is_initialized():
            self._began_ray = True
            with _own_sigterm():
                _start_own(self._ray) if address is None else _join(self._ray, address)
        self._actors = _actors(self._ray)
        self._same = identity()
        self._switchboard = Switchboard(self._ray.util.get_node_ip_address())

    def start(self, name: str, main: Callable[..., None], *arguments: Any, gpu: bool = False) -> tuple[RayProcess, Line]:
        assert self._switchboard is not None, "it was opened"
        process = RayProcess()
        word, line = self._switchboard.expect(process.called)
        call = Call(
            address=self._switchboard.address,
            word=word,
            task=pickle.dumps((main, arguments)),
            environment=surroundings(),
            same=self._same,
            path=[entry for entry in sys.path if entry],
            folder=str(Path.cwd()),
            gpu=gpu,
        )
        needs = {"num_cpus": 1, "num_gpus": self._settings.gpus_per_seat if gpu else 0}
        actor = self._actors.options(scheduling_strategy="SPREAD", **needs).remote()
        future, switchboard = actor.run.remote(call).future(), self._switchboard
        future.add_done_callback(lambda _: switchboard.forget(word))
        process.watch(self, actor, future, line)
        self._processes = [other for other in self._processes if other.alive] + [process]
        return process, line

    def cores(self) -> int:
        if self._settings.address is None and self._began_ray:
            return LocalLauncher().cores()
        return max(1, int(self._resource("CPU")) - self._copies)

    def seats(self, settings: Mapping[str, Any]) -> tuple[str | None, ...] | None:
        if settings.get(SETTING) is not None:
            raise ConfigError(
                "policy.devices numbers the GPUs of one machine; with launcher=ray, launcher.seats=N says how many copies there "
                "are and launcher.gpus_per_seat=N how many GPUs each needs."
            )
        gpus, seats = self._settings.gpus_per_seat, self._settings.seats
        if seats is None and not gpus:
            return None
        check_computes_here(settings, "launcher.seats")
        found = self._resource("GPU")
        if seats is None:
            seats = int(found / gpus)
            if not seats:
                raise ConfigError(
                    f"launcher.gpus_per_seat={gpus:g}: the Ray cluster has {found:g} GPUs at present. launcher.seats=N says how "
                    "many copies of the policy there are to be, if it adds machines when asked."
                )
        self._copies = seats
        return ((None if gpus else "cpu"),) * seats

    def no_room(self) -> RunError:
        all_, free = self._ray.cluster_resources(), self._ray.available_resources()
        gpus = self._settings.gpus_per_seat
        seat = f", a copy of the policy 1 CPU and {gpus:g} GPUs (launcher.gpus_per_seat)" if gpus else ""
        return RunError(
            f"the Ray cluster has had no room for {PLACE_TIMEOUT_S:g} s: a worker needs 1 CPU{seat}; free are "
            f"{free.get('CPU', 0):g} of {all_.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} of {all_.get('GPU', 0):g} GPUs."
        )

    def end(self, actor: Any) -> None:
        """End an actor at once, unless all have been ended."""
        if self._ray.is_initialized():
            self._ray.kill(actor, no_restart=True)

    def close(self) -> None:
        for process in self._processes:
            if process.alive:
                process.kill()
        self._processes = []
        if self._switchboard is not None:
            self._switchboard.close()
            self._switchboard = None
        if self._began_ray:
            self._ray.shutdown()
            self._began_ray = False

    def _resource(self, name: str) -> float:
        return float(self._ray.cluster_resources().get(name, 0.0))


def _actors(ray: Any) -> Any:
    """The class of the actors, which travels by value: a machine without vlagym can run it far enough to say so."""

    class Vlagym:
        def run(self, call: dict[str, Any]) -> str | None:
            import importlib
            import sys

            import ray

            place = f"machine {ray.util.get_node_ip_address()} (Ray's node {ray.get_runtime_context().get_node_id()[:8]})"
            sys.path += [entry for entry in call["path"] if entry not in sys.path]
            try:
                serve = importlib.import_module("vlagym.eval.run.ray_actor").serve
            except ImportError as error:
                return f"{place} lacks vlagym {call['same']['vlagym']} or what it needs: {error}."
            lack: str | None = serve(call, place)
            return lack

    return ray.remote(max_restarts=0, max_task_retries=0)(Vlagym)


def _start_own(ray: Any) -> None:
    """Start a cluster on this machine that ends with this process."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local",
        num_cpus=_MOST_PROCESSES,
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        _system_config={"enable_worker_prestart": False, "prestart_worker_first_driver": False, "worker_niceness": 0},
        **_QUIET,
    )


def _join(ray: Any, address: str) -> None:
    """Become part of a cluster.

    Raises:
        ConfigError: There is none at the address.
    """
    told = f"launcher.address={address}"
    if "://" in address:
        raise ConfigError(
            f"{told}: run vla-eval on a machine of the cluster, with launcher.address=auto, e.g. by `ray job submit`."
        )
    where = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    if where not in ("", "auto", "local"):
        host, _, port = where.rpartition(":")
        if not host or not port.isdecimal():
            raise ConfigError(f"{told} must be HOST:PORT of a Ray cluster, or auto.")
        try:
            _check_answers(host, int(port))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"{told}: there is no Ray cluster ({error}). `ray start --head` starts one and says where."
            ) from error
    try:
        ray.init(address=address, **_QUIET)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(f"{told}: the Ray cluster cannot be joined: {reason}") from error


def _check_answers(host: str, port: int) -> None:
    """Make sure that something at an address begins to talk as a Ray cluster's head does, which Ray itself waits for in vain.

    Raises:
        OSError: Nothing does.
    """
    with socket.create_connection((host, port), _CONNECT_TIMEOUT_S) as connection:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return
        connection.settimeout(_ANSWER_TIMEOUT_S)
        connection.sendall(_HTTP2_HELLO)
        answer = b""
        with suppress(TimeoutError):
            while len(answer) < 4 and (more := connection.recv(64)):
                answer += more
    if answer[3:4] != _SETTINGS_FRAME:
        heard = f"it says {answer[:40]!r}" if answer else f"it says nothing for {_ANSWER_TIMEOUT_S:g} s"
        raise OSError(f"something else listens there: {heard}")


_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray puts a handler of its own for SIGTERM in place; afterwards this process has the one that it had."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _cause(error: BaseException) -> str:
    """What Ray says of the end of an actor: the last of its lines that is a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    return lines[-1] if lines else type(error).__name__
