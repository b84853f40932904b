"""Thirty variants of LIBERO-plus, of all categories, come out the same however they are run."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from needs import need_assets, need_suite

from vlagym.episode import EpisodeSpec
from vlagym.eval.plan.config import load_config
from vlagym.eval.plan.plan import EpisodeQueue
from vlagym.eval.run.evaluation import evaluate, resume
from vlagym.eval.tables.runs import load_run

SETTINGS = (
    "suite=libero_plus_goal",
    "policy=random",
    "policy.chunk=4",
    "suite.horizon=8",
    "tasks=[0]",
    "episodes_per_task=30",
    "video=none",
)


def shuffled(episodes: Sequence[EpisodeSpec]) -> EpisodeQueue:
    return EpisodeQueue(random.Random(0).sample(list(episodes), len(episodes)))


@pytest.mark.slow
def test_order_workers_and_a_kill_leave_no_trace(tmp_path: Path, records: Callable[[Path], list[dict[str, Any]]]) -> None:
    for assets in ("libero", "libero_plus"):
        need_assets(assets)
    need_suite("libero_plus_goal")
    alone = evaluate(load_config([*SETTINGS, "workers=1", f"run_dir={tmp_path / 'alone'}"]))
    assert alone.complete
    assert {variant.category for variant in load_run(alone.folder).variants.values()} == {
        *("camera", "robot", "language", "noise", "layout")
    }
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "vlagym.eval.cli", *SETTINGS, "workers=2", f"run_dir={killed}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and _finished(killed) < 5:
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    assert 5 <= _finished(killed) < 30
    assert resume(killed, make_queue=shuffled).complete
    assert len(records(alone.folder)) == 30
    assert records(killed) == records(alone.folder)


def _finished(folder: Path) -> int:
    log = folder / "episodes.jsonl"
    return log.read_bytes().count(b"\n") if log.is_file() else 0
