"""`vla-eval`, in which a process meets its end (or is stopped) at a chosen call to the file system.

As a script it takes the arguments of `vla-eval`; $CRASH_POINT is ``main:kill:7`` or ``worker:stop:3``: at the seventh call of the
main process, the third of a worker. Only the first worker that gets there is hit.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

CALLS = {
    os: ("open", "write", "fsync", "ftruncate", "mkdir", "rename", "unlink"),
    Path: ("rename", "mkdir", "unlink", "write_bytes", "write_text"),
}


def install(end: signal.Signals, number: int, claim: Path | None = None) -> None:
    """Send this process the signal at its n-th call: before it, or after half of what it writes has been written."""
    count = 0

    def struck(original: Any) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal count
            count += 1
            if count == number and _claimed(claim):
                if original is write and len(arguments[1]) > 1:
                    original(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                    kill(os.getpid(), end)
                    return original(arguments[0], bytes(arguments[1])[len(arguments[1]) // 2 :]) + len(arguments[1]) // 2
                kill(os.getpid(), end)
            return original(*arguments, **keywords)

        return call

    write, kill = os.write, os.kill
    for owner, names in CALLS.items():
        for name in names:
            setattr(owner, name, struck(getattr(owner, name)))


def _claimed(claim: Path | None) -> bool:
    """Whether this process is the one; a file that can be taken once says so."""
    if claim is None:
        return True
    try:
        claim.rmdir()
    except OSError:
        return False
    return True


def _install_as_told(role: str) -> None:
    wanted, end, number = os.environ["CRASH_POINT"].split(":")
    if wanted == role:
        claim = Path(os.environ["CRASH_CLAIM"]) if role == "worker" else None
        install({"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[end], int(number), claim)


if __name__ == "__main__":
    from vlagym.eval.cli import main

    if "CRASH_POINT" in os.environ:
        _install_as_told("main")
    sys.exit(main())
elif __name__ == "__mp_main__" and "CRASH_POINT" in os.environ:  # a worker loads its parent's script under this name
    _install_as_told("worker")
