"""Runs a command in a process group of its own until standard input ends; a script to be run by its path.

Whoever started it holds the other end of standard input. When that is closed, on purpose or because its holder was killed, the
whole group is told to end and, if it does not, killed. The exit code is the command's own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

_GRACE_S = 10.0


def main() -> int:
    """Keep the command named by the arguments."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # The end of standard input is what ends it. A handler, unlike SIG_IGN, is not inherited by the command.
        signal.signal(number, lambda *_: None)
    try:
        process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{sys.argv[1]}: {error.strerror}", flush=True)
        return 127
    threading.Thread(target=_end_with_input, args=(process,), daemon=True).start()
    code = process.wait()
    _tell_group(process.pid, signal.SIGKILL)  # what the command left behind
    return code if code >= 0 else 128 - code


def _end_with_input(process: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    _tell_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    _tell_group(process.pid, signal.SIGKILL)


def _tell_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
