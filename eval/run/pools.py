"""Workers that outlive a run: a second evaluation of the same suite in the same process starts none, and compiles nothing again."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..plan.launcher import LauncherSettings
from .launcher import Launcher
from .launchers import make_launcher
from .messages import WorkerSettings
from .workers import WorkerPool


class Pools:
    """Where a runner's workers come from.

    Args:
        keep: Whether they are kept after the run, for the next one that asks for the same.
    """

    def __init__(self, keep: bool = False) -> None:
        self._keep = keep
        self._launchers: dict[LauncherSettings, Launcher] = {}
        self._kept: dict[tuple[Any, ...], WorkerPool] = {}
        self._closes_at_exit = False

    @contextmanager
    def workers(self, settings: WorkerSettings, size: int, timeout_s: float, launcher: Launcher) -> Iterator[WorkerPool]:
        """Workers for one run, kept or new; after an error none of them is kept."""
        key = (*_key(settings), launcher)
        pool = self._kept.pop(key, None)
        if pool is None:
            pool = WorkerPool(settings, size, timeout_s, launcher)
        else:
            pool.take_up(settings, size, timeout_s)
        try:
            yield pool
        except BaseException:
            pool.close()
            raise
        if not self._keep:
            pool.close()
            return
        for other in [other for other in self._kept if other[0] == threading.get_ident()]:
            self._kept.pop(other).close()  # of another suite: memory is for those that are used
        self._kept[key] = pool
        if not self._closes_at_exit:  # now that processes were started: multiprocessing, which waits for them, is told before us
            atexit.register(self.close)
            self._closes_at_exit = True

    @contextmanager
    def launcher(self, settings: LauncherSettings) -> Iterator[Launcher]:
        """What starts processes where the settings say, once it is opened; kept, and closed, with the workers."""
        launcher = self._launchers.get(settings) or make_launcher(settings)
        self._launchers[settings] = launcher
        try:
            yield launcher
        except BaseException:  # raised again: whatever it was, none stays behind
            self._launchers.pop(settings).close()
            raise
        if not self._keep:
            self._launchers.pop(settings).close()

    def close(self) -> None:
        """End the workers that are kept."""
        while self._kept:
            self._kept.popitem()[1].close()
        while self._launchers:
            self._launchers.popitem()[1].close()


def _key(settings: WorkerSettings) -> tuple[Any, ...]:
    """What makes workers serve another run: all but where they write; they also end with the thread that started them."""
    seen = tuple(sorted(item for item in os.environ.items() if item[0].startswith("VLAGYM_")))
    return threading.get_ident(), repr(replace(settings, record=None)), seen
