"""SAPIEN's engine, of which a process has one."""

from __future__ import annotations

from functools import cache
from typing import Any

from .vulkan import import_sapien


@cache
def engine() -> Any:
    """This process's ``sapien.Engine``."""
    made = import_sapien().Engine()
    made.set_log_level("error")
    return made
