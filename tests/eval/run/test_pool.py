"""A pool that works on episodes ends in order: by a signal to all of its processes at once, too, as schedulers send it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vlagym.errors import RunError
from vlagym.eval.run.pool import in_pool

SCRIPT = """
import multiprocessing, signal, time
from vlagym.eval.run.pool import in_pool

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    jobs = [0.01, *[60] * 8]
    try:
        for _ in in_pool(2, multiprocessing.get_context("spawn"), time.sleep, (0,), time.sleep, jobs, "sleeps"):
            print("begun", flush=True)
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_jobs_are_done_in_their_order() -> None:
    context = multiprocessing.get_context("spawn")
    assert list(in_pool(2, context, time.sleep, (0,), abs, [-3, 2, -1], "counts")) == [3, 2, 1]


def test_a_process_that_dies_is_one_sentence() -> None:
    context = multiprocessing.get_context("spawn")
    with pytest.raises(RunError, match="a process that counts died; `vla-eval doctor`"):
        list(in_pool(1, context, time.sleep, (0,), os._exit, [1], "counts"))


def test_a_signal_to_all_processes_ends_it_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=60) == ("interrupted\n", "")
