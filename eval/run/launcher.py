"""Where the processes of a run live: workers, each with an environment, and seats, each with a copy of the policy.

The runner's queue and messages are the same wherever that is; a launcher starts a process and gives the socket to it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from ..._parent import EndWithParent, call, deaf_to_interrupts
from ...errors import RunError

_UNGUARDED = 86  # exit code of a process that is none of ours to start


class Process(Protocol):
    """A process somewhere."""

    @property
    def exitcode(self) -> int | None:
        """What it ended with (minus the signal that ended it); None while it runs, or where that is not known."""

    def join(self, timeout: float) -> None:
        """Wait so many seconds for its end."""

    def kill(self) -> None:
        """End it at once."""


class Launcher(ABC):
    """Starts processes that end with the thread that started them, at the latest."""

    @abstractmethod
    def start(self, name: str, main: Callable[..., None], *arguments: Any, gpus: float = 0.0) -> tuple[Process, socket.socket]:
        """Start ``main(its end of a socket, *arguments)``.

        Args:
            name: What it is called in messages.
            main: A function of a module.
            arguments: Can be pickled.
            gpus: How many it needs, where that decides where it is put.

        Returns:
            The process, and this end of the socket, which blocks.

        Raises:
            RunError: It cannot be started.
        """

    def close(self) -> None:
        """No more is started."""


class LocalLauncher(Launcher):
    """Processes of this machine."""

    def start(self, name: str, main: Callable[..., None], *arguments: Any, gpus: float = 0.0) -> tuple[Process, socket.socket]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = multiprocessing.get_context("spawn").Process(
                target=call, args=(EndWithParent(), main, theirs, *arguments), name=name
            )
            try:
                with deaf_to_interrupts():  # Ctrl-C is the main process's to handle
                    process.start()
            except OSError as error:
                ours.close()
                raise RunError(f"{name} cannot be started: {error}.") from error
        return process, ours


def end_if_imported_again() -> None:
    """End this process, if it is one that is being started and imports the caller's script once more, where it got here.

    The process that started it says so in a sentence (`check_main_guard`).
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(_UNGUARDED)


def check_main_guard(process: Process) -> None:
    """Make sure that a process did not end because it ran the caller's script once more.

    Raises:
        RunError: It did.
    """
    if process.exitcode == _UNGUARDED:
        raise RunError(
            "the script that starts this evaluation is imported again by every process that it starts, and would start it again "
            'there; put the call below `if __name__ == "__main__":`.'
        ) from None


def exit_reason(process: Process) -> str:
    """How a process ended, for a message."""
    exitcode = process.exitcode
    if exitcode is not None and exitcode < 0:
        return f"ended with signal {signal.Signals(-exitcode).name}"
    return "closed its pipe" if exitcode is None else f"ended with exit code {exitcode}"
