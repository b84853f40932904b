"""Processes that the main process starts: they end with it, and Ctrl-C, which a terminal sends to all, is its to handle."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from waiting import wait_until

from vlagym._parent import PROCESSES, deaf_to_interrupts


def _echo(end: Connection) -> None:
    end.send(end.recv())


def test_a_process_does_not_hear_ctrl_c_while_python_starts_in_it() -> None:
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_echo, args=(theirs,))
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


# It starts a child, waits until that has begun to work if it is to, and says which process it is.
PARENT = """
import sys, time
from vlagym._parent import PROCESSES

def work(begun):
    begun.set()
    time.sleep(3600)

if __name__ == "__main__":
    begun = PROCESSES.Event()
    child = PROCESSES.Process(target=work, args=(begun,))
    child.start()
    if "works" in sys.argv:
        begun.wait()
    print(child.pid, flush=True)
    time.sleep(3600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel ends a stopped process with its parent")
@pytest.mark.parametrize("when", ["starts", "works"])
def test_a_process_that_is_stopped_ends_with_its_parent(tmp_path: Path, when: str) -> None:
    """At work, and while Python starts in it, before anything of ours runs there."""
    if when == "starts" and shutil.which("setpriv") is None:
        pytest.skip("a process that is stopped while it starts needs util-linux's setpriv to end with its parent")
    (tmp_path / "script.py").write_text(PARENT)
    command = [sys.executable, tmp_path / "script.py", when]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_until(lambda: Path(f"/proc/{child}/cmdline").read_bytes().startswith(os.fsencode(sys.executable)), 60)
        os.kill(child, signal.SIGSTOP)
        parent.kill()
    wait_until(lambda: not _runs(child), 60)


def _runs(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
