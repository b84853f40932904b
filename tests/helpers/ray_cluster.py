"""A Ray cluster of several simulated machines: each has its own raylet, and all its processes end when it is removed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vlagym.episode import EpisodeResult
from vlagym.eval.record.events import Subscriber


@contextmanager
def ray_cluster(*cpus: int) -> Iterator[Any]:
    """A cluster with machines of so many CPUs, the head first; `remove_node` takes one away."""
    pytest.importorskip("ray", reason="needs the extra ray")
    from ray.cluster_utils import Cluster

    handler = signal.getsignal(signal.SIGTERM)  # Ray puts one of its own in place
    quiet = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus[0], "_system_config": {"worker_niceness": 0}, **quiet})
    try:
        for number in cpus[1:]:
            cluster.add_node(num_cpus=number, **quiet)
        yield cluster
    finally:
        cluster.shutdown()
        signal.signal(signal.SIGTERM, handler)


class LosesAMachine(Subscriber):
    """Takes a machine of the cluster away once two have given results, in the middle of the episodes that come next.

    Attributes:
        retried: Why episodes were run again.
    """

    def __init__(self, cluster: Any, machine: Any) -> None:
        self.cluster, self.machine, self.retried = cluster, machine, list[str]()
        self.seen: set[str] = set()
        self.gone = False

    def episode_ended(self, result: EpisodeResult) -> None:
        self.seen.add(result.execution["machine"])

    def chunk_done(self, spec: object, steps: int) -> None:
        if len(self.seen) == 2 and not self.gone:
            self.gone = True
            self.cluster.remove_node(self.machine, allow_graceful=False)

    def episode_retried(self, spec: object, reason: str) -> None:
        self.retried.append(reason)


def actors() -> list[int]:
    """The processes of this machine that are actors of ours."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::Vlagym" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
