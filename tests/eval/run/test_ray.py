"""``launcher=ray``: a cluster changes nothing but where workers and seats are; a machine that is lost is survived."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ray_cluster import LosesAMachine, actors, ray_cluster
from waiting import wait_until

from vlagym.errors import ConfigError, RunError
from vlagym.eval.plan.config import load_config
from vlagym.eval.run import ray_launcher
from vlagym.eval.run.evaluation import Outcome, evaluate, resume
from vlagym.eval.tables.folder import RunFolder
from vlagym.eval.tables.runs import load_run

pytest.importorskip("ray", reason="needs the extra ray")
Run = Callable[..., Outcome]
Records = Callable[[Path], list[dict[str, Any]]]

FEW = ("suite.step_seconds=0.05", "seeds=[0,1]")  # 40 episodes


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster(2, 2) as made:
        yield made


def files_of(run: Path) -> set[str]:
    """Names of trajectories and videos, without the date in front."""
    return {str(file.relative_to(run)).partition("episode=")[2] for file in run.glob("*/*") if file.is_file()}


def test_a_machine_that_is_lost_changes_nothing(cluster: Any, run_toy: Run, records: Records, tmp_path: Path) -> None:
    """Workers and seats on two machines, one of which goes in mid-run; what was recorded is all in the run's folder."""
    whole = run_toy(*FEW, name="whole").folder
    (other,) = cluster.worker_nodes
    loses = LosesAMachine(cluster, other)
    ray = ["launcher=ray", f"launcher.address={cluster.address}", "launcher.workers=2", "launcher.seats=2"]
    outcome = evaluate(load_config(["suite=toy", "policy=push", *FEW, *ray, f"run_dir={tmp_path / 'run'}"]), [loses])
    assert outcome.complete
    assert loses.retried, "episodes were under way on it"
    assert records(outcome.folder) == records(whole)
    assert outcome.table.equals(load_run(whole).table())
    assert files_of(outcome.folder) == files_of(whole)
    assert all(result.execution["machine"] for result in RunFolder(outcome.folder).results())
    wait_until(lambda: not actors(), 300)


@pytest.mark.slow
def test_what_is_missing_is_made_again_elsewhere(cluster: Any, run_toy: Run, records: Records) -> None:
    """A video is drawn from a trajectory that only the run's folder has; an episode is run again."""
    folder = run_toy("episodes_per_task=1").folder
    expected, before = records(folder), files_of(folder)
    results = RunFolder(folder).results()
    (folder / results[0].execution["video"]).unlink()
    (folder / results[1].execution["trajectory"]).unlink()
    execution = load_config(["launcher=ray", f"launcher.address={cluster.address}", "workers=1"])
    assert resume(folder, execution, ("launcher", "workers")).complete
    assert records(folder) == expected
    assert files_of(folder) == before
    wait_until(lambda: not actors(), 300)


@pytest.mark.slow
def test_a_machine_with_other_code_is_named(cluster: Any, run_toy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ray_launcher.identity()
    monkeypatch.setattr(ray_launcher, "identity", lambda: {**ours, "code_sha256": "ours"})
    with pytest.raises(RunError, match=r"machine [\d.]+ \(Ray's node \w+\) is not like .* \(code_sha256: 'ours' -> '\w{64}'\)"):
        run_toy("launcher=ray", f"launcher.address={cluster.address}", "workers=1", "video=none")
    wait_until(lambda: not actors(), 300)


@pytest.mark.slow
def test_ctrl_c_leaves_no_actor(cluster: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    helpers = str(Path(__file__).parents[2] / "helpers")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([helpers, os.environ.get("PYTHONPATH", "")])}
    settings = ["suite=toy", "policy=push", "suite.step_seconds=0.2", "video=none", "workers=2", f"run_dir={run}"]
    ray = ["launcher=ray", f"launcher.address={cluster.address}"]
    command = ["env", "--default-signal=INT", sys.executable, "-m", "vlagym.eval.cli", *settings, *ray]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    log = run / "episodes.jsonl"
    wait_until(lambda: process.poll() is not None or (log.exists() and log.stat().st_size), 300)
    assert actors()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert "interrupted; to finish it" in output
    assert errors == ""
    assert process.returncode == 130
    wait_until(lambda: not actors(), 300)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ("launcher.address=127.0.0.1:9",),
            r"launcher\.address=127\.0\.0\.1:9: there is no Ray cluster \(.*refused\)\. `ray start",
        ),
        (("launcher.address=nowhere",), "launcher.address=nowhere must be HOST:PORT of a Ray cluster, or auto"),
        (("launcher.address=ray://127.0.0.1:10001",), "run vla-eval on a machine of the cluster, with launcher.address=auto"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_sentence(run_toy: Run, tmp_path: Path, settings: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run_toy("launcher=ray", *settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("answer", "patience", "heard"),
    [(b"HTTP/1.1 505 Not Supported", 60, r"it says b'HTTP/1\.1 505"), (b"", 0.2, "it says nothing")],
)
def test_an_address_of_something_else_is_one_sentence(
    run_toy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, patience: float, heard: str
) -> None:
    """Ray itself would try for many minutes, and say nothing."""
    monkeypatch.setattr(ray_launcher, "_ANSWER_TIMEOUT_S", patience)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def serve() -> socket.socket:
            connection, _ = server.accept()
            connection.sendall(answer)
            return connection

        served = pool.submit(serve)
        told = rf"launcher\.address=127\.0\.0\.1:\d+: there is no Ray cluster \(something else listens there: {heard}"
        with pytest.raises(ConfigError, match=told):
            run_toy("launcher=ray", f"launcher.address=127.0.0.1:{server.getsockname()[1]}")
        served.result().close()
    assert not (tmp_path / "run").exists()
