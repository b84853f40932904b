"""A process that ends with its parent, whatever either is doing. Here, where next to nothing is imported: it comes first of all."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

_PR_SET_PDEATHSIG = 1  # prctl(2)


class EndWithParent:
    """Takes effect when it is unpickled in the new process: as the first argument of `call`, before others are imported.

    On Linux the kernel ends the process when the thread that started it is gone, so that thread has to live as long as the process
    is needed; even a stopped process, or one that never lets go of the interpreter, ends. Elsewhere a thread waits for the parent.
    """

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return _end_with, (os.getpid(),)


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Processes started meanwhile never hear Ctrl-C, not even while Python starts in them; this one hears it afterwards."""
    resource_tracker.ensure_running()  # multiprocessing's own helper: starting it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def call(_: EndWithParent, function: Callable[..., None], *arguments: Any) -> None:
    """Target of a process that is to end with its parent: calls the function."""
    function(*arguments)


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was gone before the kernel was told
            os._exit(1)
    else:
        threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    process = multiprocessing.parent_process()
    if process is not None:
        process.join()
    os._exit(1)
