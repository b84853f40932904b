"""Measuring in fresh processes, so that nothing an earlier measurement left in memory counts."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from ..._parent import PROCESSES


def in_processes(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run the same call in several fresh processes at the same time."""
    with ProcessPoolExecutor(count, mp_context=PROCESSES) as pool:
        try:
            return [future.result() for future in [pool.submit(function, *arguments) for _ in range(count)]]
        except BaseException:
            for process in multiprocessing.active_children():  # nobody waits for what they measure any more
                process.kill()
            raise
