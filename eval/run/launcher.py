"""Where the processes of a run live: workers, each with an environment, and seats, each with a copy of the policy.

The runner's queue and messages are the same wherever that is; a launcher starts a process and gives it the other end of a channel.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..._parent import PROCESSES, deaf_to_interrupts
from ...errors import RunError
from ...policies.devices import devices_of
from .channel import Channel

PLACE_TIMEOUT_S = 300.0  # in which a cluster that grows with what is asked of it has a machine more
_UNGUARDED = 86  # exit code of a process that is none of ours to start


class Process(Protocol):
    """A process somewhere.

    Attributes:
        place: Which machine it is on, for messages; empty for this one, or where it is not known yet.
        started: When it came to life (`time.monotonic`); None while it waits for a place.
        alive: Whether it has not ended, as far as is known.
    """

    @property
    def place(self) -> str: ...

    @property
    def started(self) -> float | None: ...

    @property
    def alive(self) -> bool: ...

    def end_reason(self) -> str:
        """How it ended, for a message.

        Raises:
            RunError: Every other process would end like it.
        """

    def await_place(self) -> None:
        """Wait until it has come to life, or has ended on the way.

        Raises:
            RunError: It has not for too long.
        """

    def join(self, timeout: float) -> None:
        """Wait so many seconds for its end."""

    def kill(self) -> None:
        """End it at once."""


class Launcher(ABC):
    """Starts processes, which end with it and with the thread that started them, at the latest.

    Attributes:
        elsewhere: Whether they may be on machines that have not this one's files.
    """

    elsewhere = False

    @abstractmethod
    def start(self, name: str, main: Callable[..., None], *arguments: Any, gpu: bool = False) -> tuple[Process, Channel]:
        """Start ``main(its end of a socket, *arguments)``.

        Args:
            name: What it is called in messages.
            main: A function of a module.
            arguments: Can be pickled.
            gpu: Whether it needs one, where that decides where it is put.

        Returns:
            The process, and this end of the channel to it, which blocks.

        Raises:
            RunError: It cannot be started.
        """

    @abstractmethod
    def cores(self) -> int:
        """How many processes there is room for beside the policy's."""

    def seats(self, settings: Mapping[str, Any]) -> tuple[str | None, ...] | None:
        """Where a policy of these settings answers: a device per copy (None: what the launcher gives); None for the main process.

        Raises:
            ConfigError: There can be no copies of it.
        """
        return devices_of(settings)

    def open(self) -> None:
        """Get ready to start processes.

        Raises:
            RunError: There is nothing to start them on.
        """

    def no_room(self) -> RunError:
        """What to say where nothing has found a place for too long."""
        return RunError(f"there has been no room for any of the run's processes for {PLACE_TIMEOUT_S:g} s.")

    def close(self) -> None:
        """End what is left of them; no more is started."""


class LocalProcess:
    """A process of this machine."""

    place = ""

    def __init__(self, process: multiprocessing.process.BaseProcess) -> None:
        self._process = process
        self.started = time.monotonic()

    @property
    def alive(self) -> bool:
        return self._process.exitcode is None

    def end_reason(self) -> str:
        exitcode = self._process.exitcode
        if exitcode == _UNGUARDED:
            raise RunError(
                "the script that starts this evaluation is imported again by every process that it starts, and would start it "
                'again there; put the call below `if __name__ == "__main__":`.'
            ) from None
        if exitcode is not None and exitcode < 0:
            return f"ended with signal {signal.Signals(-exitcode).name}"
        return "closed its pipe" if exitcode is None else f"ended with exit code {exitcode}"

    def await_place(self) -> None:
        """It has one."""

    def join(self, timeout: float) -> None:
        self._process.join(timeout)

    def kill(self) -> None:
        self._process.kill()


class LocalLauncher(Launcher):
    """Processes of this machine."""

    def start(self, name: str, main: Callable[..., None], *arguments: Any, gpu: bool = False) -> tuple[LocalProcess, Channel]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = PROCESSES.Process(target=main, args=(theirs, *arguments), name=name)
            try:
                with deaf_to_interrupts():  # Ctrl-C is the main process's to handle
                    process.start()
            except OSError as error:
                ours.close()
                raise RunError(f"{name} cannot be started: {error}.") from error
        return LocalProcess(process), Channel(ours)

    def cores(self) -> int:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def end_if_imported_again() -> None:
    """End this process, if it is one that is being started and imports the caller's script once more, where it got here.

    The process that started it says so in a sentence (`LocalProcess.end_reason`).
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(_UNGUARDED)
