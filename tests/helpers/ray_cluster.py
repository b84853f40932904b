"""A Ray cluster of several simulated machines: each has its own raylet, and all its processes end when it is removed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vlagym.eval.record.events import Subscriber


@contextmanager
def ray_cluster(*cpus: int) -> Iterator[Any]:
    """A cluster with machines of so many CPUs, the head first; `remove_node` takes one away."""
    pytest.importorskip("ray", reason="needs the extra ray")
    from ray.cluster_utils import Cluster

    handler = signal.getsignal(signal.SIGTERM)  # Ray puts one of its own in place
    quiet = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus[0], **quiet})
    try:
        for number in cpus[1:]:
            cluster.add_node(num_cpus=number, **quiet)
        yield cluster
    finally:
        cluster.shutdown()
        signal.signal(signal.SIGTERM, handler)


class LosesAMachine(Subscriber):
    """Takes a machine of the cluster away when so many chunks have been executed.

    Attributes:
        retried: Why episodes were run again.
    """

    def __init__(self, cluster: Any, machine: Any, after: int) -> None:
        self.cluster, self.machine, self.left, self.retried = cluster, machine, after, list[str]()

    def chunk_done(self, spec: object, steps: int) -> None:
        self.left -= 1
        if self.left == 0:
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
