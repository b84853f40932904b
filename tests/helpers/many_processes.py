"""A run in shards, each a process of its own, as on as many machines."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

HELPERS = Path(__file__).parent
_PATIENCE_S = 600


def run_in_shards(settings: Sequence[str], folder: Path, count: int, killed: Collection[int]) -> None:
    """Start all shards at one instant; kill some when they have a result, and start them again.

    Args:
        settings: Of the run.
        folder: That all share; it need not be there.
        count: How many shards.
        killed: Numbers of those that are killed.
    """
    vla_eval = [sys.executable, "-m", "vlagym.eval.cli", *settings, f"run_dir={folder}"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")])}

    def start(number: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*vla_eval, f"shard={number}/{count}"], stdout=subprocess.DEVNULL, env=env)

    shards = {number: start(number) for number in range(1, count + 1)}
    for number in killed:
        file = folder / f"episodes.shard-{number}-of-{count}.jsonl"
        deadline = time.monotonic() + _PATIENCE_S
        while not (file.exists() and file.stat().st_size):
            assert time.monotonic() < deadline
            assert shards[number].poll() is None, "it ended too early to be killed"
            time.sleep(0.01)
        shards[number].kill()
        shards[number].wait()
        shards[number] = start(number)
    assert [shard.wait(_PATIENCE_S) for shard in shards.values()] == [0] * count
