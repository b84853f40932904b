"""Processes that the main process starts: Ctrl-C, which a terminal sends to all of them, is the main process's to handle."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection

from vlagym._parent import EndWithParent, call, deaf_to_interrupts


def _echo(end: Connection) -> None:
    end.send(end.recv())


def test_a_process_does_not_hear_ctrl_c_while_python_starts_in_it() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=call, args=(EndWithParent(), _echo, theirs))
    with deaf_to_interrupts():
        process.start()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    ours.send("still here")
    assert ours.recv() == "still here"
    process.join()
    assert process.exitcode == 0


# In a process of its own: another thread of this one might be given the signal, and the test session would end by it.
AFTERWARDS = """
import os, signal
from vlagym._parent import deaf_to_interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
try:
    with deaf_to_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        print("waits" if signal.SIGINT in signal.sigpending() else "is lost")
except KeyboardInterrupt:
    print("is heard")
"""


def test_the_main_process_hears_it_afterwards() -> None:
    done = subprocess.run([sys.executable, "-c", AFTERWARDS], check=False, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["waits", "is heard"], done.stderr
