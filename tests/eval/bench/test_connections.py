"""Timing a server: `vla-eval bench policy=... policy.url=...` as a user types it, against servers of ours."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("websockets", reason="servers need the extra remote")

from vlagym.eval.cli import main
from vlagym.policies.serving.served import Array, Request, Served
from vlagym.policies.serving.server import ServerSettings, serving

CALL_S = 0.05


class Slow(Served):
    """Takes the same time for any batch, and keeps their sizes."""

    name = "slow"

    def __init__(self, max_batch: int) -> None:
        self.max_batch = max_batch
        self.metadata = {"colour": "blue"}
        self.batches: list[int] = []

    def act(self, requests: Sequence[Request]) -> list[Array]:
        assert all(request.observation["observation/image"].shape == (224, 224, 3) for request in requests)
        self.batches.append(len(requests))
        time.sleep(CALL_S)
        return [np.zeros((10, 7)) for _ in requests]


@pytest.fixture
def batching() -> Iterator[tuple[Slow, int]]:
    served = Slow(max_batch=4)
    with serving(served, ServerSettings(port=0)) as port:
        yield served, port


def bench(port: int, *arguments: str) -> int:
    server = ["policy=openpi", f"policy.url=ws://127.0.0.1:{port}", "suite=libero_goal"]
    return main(["bench", *server, *arguments])


def test_a_server_is_timed_by_number_of_connections(
    batching: tuple[Slow, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served, port = batching
    file = tmp_path / "timings.json"
    assert bench(port, "connections=[1,4]", "calls=6", "warm_up=1", f"json={file}") == 0
    found = json.loads(file.read_text())
    one, four = found["timings"]
    assert (one["connections"], one["calls"], four["connections"], four["calls"]) == (1, 6, 4, 24)
    assert one["p50_ms"] >= 1000 * CALL_S
    assert one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"]
    assert one["observations_per_second"] <= 1 / CALL_S
    assert four["client_cpu_ms"] > 0
    assert max(served.batches) > 1
    assert sum(served.batches) == 7 + 4 * 7
    assert found["provenance"]["server"] == {"dialect": "openpi", "metadata": {"colour": "blue"}}
    assert "observations/s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["connections=[0]"], "connections must be a list of whole numbers from 1"),
        (["calls=0"], "calls must be a whole number from 1"),
        (["connections=[]"], "connections must be a list"),
    ],
)
def test_what_cannot_be_timed_is_refused(
    batching: tuple[Slow, int], arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(batching[1], *arguments) == 2
    assert why in capsys.readouterr().err


def test_a_server_that_fails_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(requests: Sequence[Request]) -> list[Array]:
        raise KeyError("images")

    served = Slow(max_batch=1)
    served.act = fails  # type: ignore[method-assign]
    with serving(served, ServerSettings(port=0)) as port:
        assert bench(port, "connections=[2]", "calls=2") != 0
    assert "KeyError: 'images'" in capsys.readouterr().err
