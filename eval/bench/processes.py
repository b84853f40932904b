"""Measuring in fresh processes, so that nothing an earlier measurement left in memory counts."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def in_processes(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run the same call in several fresh processes at the same time."""
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [future.result() for future in [pool.submit(function, *arguments) for _ in range(count)]]
