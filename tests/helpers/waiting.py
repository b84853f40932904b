"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_until(condition: Callable[[], Any], seconds: float) -> Any:
    """What the condition comes to, once that is something; fails after so many seconds, which no machine should take."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"still nothing after {seconds:g} s"
        time.sleep(0.02)
    return found
