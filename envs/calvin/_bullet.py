"""pybullet as `p`, its chatter (versions, arguments, GL strings) kept off the terminal, where `vla-eval` prints its tables."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import DependencyError


@contextmanager
def quiet() -> Iterator[None]:
    """Send file descriptors 1 and 2 to nowhere, with what C still buffers; what was written before is kept."""
    libc = ctypes.CDLL(None)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    libc.fflush(None)
    kept = [os.dup(fd) for fd in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for fd in (1, 2):
        os.dup2(nowhere, fd)
    os.close(nowhere)
    try:
        yield
    finally:
        libc.fflush(None)
        for fd, original in zip((1, 2), kept, strict=True):
            os.dup2(original, fd)
            os.close(original)


class _Pybullet:
    """pybullet, imported when it is first used: the modules around it can be imported where it is not installed."""

    def __getattr__(self, name: str) -> Any:
        try:
            with quiet():
                module = importlib.import_module("pybullet")
        except ImportError as error:
            raise DependencyError("CALVIN needs pybullet. Run: vla-eval install calvin") from error
        self.__dict__.update(vars(module))
        return getattr(module, name)


p = _Pybullet()
