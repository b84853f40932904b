"""A pool that works on episodes ends in order: by a signal to all of its processes at once, too, as schedulers send it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import wait_until

from vlagym.errors import RunError
from vlagym.eval.run.pool import in_pool

SCRIPT = """
import signal, time
from vlagym.eval.run.pool import in_pool

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    jobs = [0.01, *[60] * 8]
    try:
        for _ in in_pool(2, time.sleep, (0,), time.sleep, jobs, "sleeps"):
            print("begun", flush=True)
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_jobs_are_done_in_their_order() -> None:
    assert list(in_pool(2, time.sleep, (0,), abs, [-3, 2, -1], "counts")) == [3, 2, 1]


def test_a_process_that_dies_is_one_sentence() -> None:
    with pytest.raises(RunError, match="a process that counts died; `vla-eval doctor`"):
        list(in_pool(1, time.sleep, (0,), os._exit, [1], "counts"))


def test_a_signal_to_all_processes_ends_it_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=60) == ("interrupted\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process looks for its parent by itself, between two jobs")
def test_its_processes_end_with_a_main_process_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.kill()
    process.wait()
    wait_until(lambda: not _of_session(process.pid), 60)


def _of_session(number: int) -> list[int]:
    """The processes of a session that are no zombies."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, _, session = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(session) == number and state != "Z":
                found.append(int(folder.name))
    return found
