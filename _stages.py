"""What the process is busy with before there are results to show: rooms say it, whoever shows progress listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[str], None]] = []


def stage(what: str) -> None:
    """Say what begins now, as in ``loading model-00001-of-00003.safetensors (1 of 3)``; nothing happens if nobody listens."""
    for listener in _listeners:
        listener(what)


@contextmanager
def heard_by(listener: Callable[[str], None]) -> Iterator[None]:
    """Let a function hear of every stage of this process."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
