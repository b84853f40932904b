"""A signal ends the command in order wherever Python happens to be."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# In a process of its own: signals are the test session's else. It prints what a finalizer's own error is told to, too.
SCRIPT = """
import signal, sys, time, weakref
from vlagym.eval.cli.edges import interrupts

class Thing:
    pass

def drop(callback):
    thing = Thing()
    reference = weakref.ref(thing, callback)
    del thing

signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background
try:
    with interrupts(last=False):
        drop(lambda _: 1 / 0)
        drop(lambda _: signal.raise_signal(int(sys.argv[1])))
        print("went on", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
drop(lambda _: 1 / 0)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_where_python_drops_what_is_raised_is_heard_a_moment_later(number: signal.Signals) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(int(number))], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout.splitlines()[-1] == "interrupted"
    assert "Interrupt" not in done.stderr
    assert done.stderr.count("ZeroDivisionError") == 2  # other errors are told as ever
