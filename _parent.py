"""Processes that end with their parent, whatever either is doing. Next to nothing is imported here: it comes first of all."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from multiprocessing import resource_tracker, util
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.popen_spawn_posix import Popen
from multiprocessing.process import BaseProcess
from typing import Any

_PR_SET_PDEATHSIG = 1  # prctl(2)
_STARTING = threading.Lock()


class EndWithParent:
    """Takes effect when it is unpickled in the new process.

    On Linux the kernel ends the process when the thread that started it is gone, so that thread has to live as long as the process
    is needed; even a stopped process, or one that never lets go of the interpreter, ends. Elsewhere a thread waits for the parent.
    """

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return _end_with, (os.getpid(),)


class _Process(SpawnProcess):
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._end_with_parent = EndWithParent()  # before all others, so that it is unpickled before anything else is imported
        super().__init__(*arguments, **keywords)

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Popen:  # noqa: N802  (multiprocessing calls it so)
        with _guarded_from_the_start():
            return Popen(process_obj)


class _Context(SpawnContext):
    Process = _Process


PROCESSES = _Context()
"""Starts processes, pools included, that end with this one: `multiprocessing`'s context ``spawn`` in all else."""


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Processes started meanwhile never hear Ctrl-C, not even while Python starts in them; this one hears it afterwards."""
    resource_tracker.ensure_running()  # multiprocessing's own helper: starting it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _guarded_from_the_start() -> Iterator[None]:
    """Processes started meanwhile end with their parent from the beginning, not only once `EndWithParent` is unpickled in them.

    Until then Python has to start and to import the main module, and one that is stopped in the middle of it would stay for ever.
    """
    resource_tracker.ensure_running()  # not it: it clears up after all others
    with _STARTING:
        spawn = util.spawnv_passfds

        def guarded(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
            if guard := _guard():
                return spawn(os.fsencode(guard[0]), [*guard, os.fsdecode(path), *args[1:]], passfds)
            return spawn(path, args, passfds)

        util.spawnv_passfds = guarded
        try:
            yield
        finally:
            util.spawnv_passfds = spawn


@cache
def _guard() -> tuple[str, ...]:
    """How to begin a command whose program the kernel is to end with its parent; empty where there is no util-linux for it."""
    guard = (shutil.which("setpriv") or "", "--pdeathsig", "KILL", "--")
    return guard if guard[0] and subprocess.run([*guard, "true"], capture_output=True, check=False).returncode == 0 else ()


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
