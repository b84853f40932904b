"""A policy behind a server acts as it does in the process, bit for bit, whatever the protocol and however many connections; also
where the server dies in mid-run and comes back.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from needs import need_suite

from vlagym.episode import EpisodeSpec
from vlagym.eval.plan.config import load_config
from vlagym.eval.record.events import Subscriber
from vlagym.eval.run.evaluation import evaluate
from vlagym.trajectory import load_trajectory

pytestmark = pytest.mark.slow
SERVE = [sys.executable, "-m", "vlagym.eval.cli", "serve", "suite=libero_goal"]
EPISODES = ["suite=libero_goal", "tasks=[0,1]", "episodes_per_task=2", "suite.horizon=32", "video=none", "workers=4"]
# The server has the policy's own recipe, so the client's does no more than turn the image as LIBERO's clients do.
CLIENTS = {
    "openpi": ["policy=openpi", "policy.executes=null", "policy.image_transforms=[mirror_horizontally]"],
    "vla_eval": [
        "policy=vla_eval_server",
        "policy.image_transforms=[mirror_horizontally]",
        "policy.state_transforms=[append_controller_pose]",
        "policy.action_transforms=[]",
    ],
}


@pytest.fixture(scope="module")
def network(golden: Path) -> list[str]:
    """OpenVLA-OFT asked about one observation at a time, so that no batch can differ."""
    need_suite("libero_goal")
    pytest.importorskip("transformers", reason="OpenVLA needs the extra openvla")
    towers = "policy.vision_towers=[{embed_dim:32,depth:3,heads:2},{embed_dim:24,depth:4,heads:2}]"
    checkpoint = f"policy.checkpoint={golden / 'openvla_oft_tiny' / 'checkpoint'}"
    return ["policy=openvla_oft", checkpoint, towers, "policy.device=cpu", "policy.max_batch=1"]


@pytest.fixture(scope="module")
def in_process(network: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(network, tmp_path_factory.mktemp("in_process") / "run")


@contextmanager
def served(network: list[str], protocol: str, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`vla-eval serve` in a process of its own, and its port."""
    words = [
        sys.executable,
        "-m",
        "vlagym.eval.cli",
        "serve",
        *network,
        "suite=libero_goal",
        f"protocol={protocol}",
        f"port={port}",
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = re.search(r"ws://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert said
        yield process, int(said[1])
    finally:
        process.kill()
        process.wait()


def run(settings: list[str], folder: Path, *subscribers: Subscriber) -> Path:
    outcome = evaluate(load_config([*settings, *EPISODES, f"run_dir={folder}"]), subscribers)
    assert outcome.complete
    return outcome.folder


def assert_same_trajectories(one: Path, other: Path) -> None:
    files = sorted(path.name for path in (one / "trajectories").glob("*.npz"))
    assert len(files) == 4
    for name in files:
        first, second = (load_trajectory(folder / "trajectories" / name) for folder in (one, other))
        np.testing.assert_array_equal(first["actions"], second["actions"])
        np.testing.assert_array_equal(first["physics_states"], second["physics_states"])


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("protocol", ["openpi", "vla_eval"])
def test_a_server_changes_nothing(network: list[str], in_process: Path, tmp_path: Path, protocol: str, connections: int) -> None:
    with served(network, protocol) as (_, port):
        client = [*CLIENTS[protocol], f"policy.url=ws://127.0.0.1:{port}", f"policy.connections={connections}"]
        assert_same_trajectories(run(client, tmp_path / "run"), in_process)


class _KillsTheServer(Subscriber):
    """Kills it once, in mid-episode, and starts another at the same address."""

    def __init__(self, network: list[str], process: subprocess.Popen[str], port: int) -> None:
        self._network, self._process, self._port = network, process, port
        self.next: subprocess.Popen[str] | None = None

    def chunk_done(self, spec: EpisodeSpec, steps: int) -> None:
        if self.next is None and steps >= 16:
            self._process.kill()
            self._process.wait()
            self.next = subprocess.Popen([*SERVE, *self._network, "protocol=openpi", f"port={self._port}"], text=True)


def test_a_server_that_is_killed_and_comes_back_costs_nothing_but_time(
    network: list[str], in_process: Path, tmp_path: Path
) -> None:
    with served(network, "openpi") as (process, port):
        killer = _KillsTheServer(network, process, port)
        try:
            client = [*CLIENTS["openpi"], f"policy.url=ws://127.0.0.1:{port}", "policy.patience_s=300"]
            assert_same_trajectories(run(client, tmp_path / "run", killer), in_process)
            assert killer.next is not None
        finally:
            if killer.next is not None:
                killer.next.kill()
                killer.next.wait()
