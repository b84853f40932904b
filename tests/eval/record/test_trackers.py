"""Trackers: what they are told of real runs, with the real packages, offline."""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import vlagym
from vlagym.errors import ConfigError, DependencyError, RunError
from vlagym.eval.plan.config import load_config
from vlagym.eval.record.trackers import TRACKERS, TrackedRun, Tracker
from vlagym.eval.record.trackers.tracking import FAILURES_PER_TASK
from vlagym.eval.run.evaluation import Outcome, resume
from vlagym.eval.tables.folder import RunFolder

Run = Callable[..., Outcome]
AVERAGE_SO_FAR = "success/toy/average"


def cut(run: Path, episodes: int) -> None:
    """Leave what a run that was killed after so many episodes leaves."""
    file = RunFolder(run).episodes_file
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:episodes]))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Weights & Biases without a network or an account, and without its helper process in the end."""
    wandb = pytest.importorskip("wandb", reason="wandb is not installed: pip install 'vlagym[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    yield
    wandb.teardown()


def wandb_records(session: Path) -> list[Any]:
    """What an offline session is going to send: a file in the format of LevelDB's log, of protocol buffers."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # its helper process writes the last records as it ends
    (file,) = session.glob("*.wandb")
    data, block = file.read_bytes(), 32768
    position, whole, records = 7, b"", []  # after the file's own header
    while position < len(data):
        if block - position % block < 7:  # too little for another header: the rest of the block is padding
            position += block - position % block
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # complete, or the last part
            record = Record()
            record.ParseFromString(whole)
            records.append(record)
            whole = b""
    return records


def items(update: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in update}


def wandb_history(session: Path) -> list[dict[str, Any]]:
    return [items(record.history.item) for record in wandb_records(session) if record.HasField("history")]


def test_weights_and_biases_is_told_of_every_episode(run_toy: Run, offline: None) -> None:
    run = run_toy("trackers=[wandb]", "episodes_per_task=5", "video=failures", policy="random").folder
    results = vlagym.load_run(run)
    (session,) = (run / "wandb").glob("offline-run-*")
    history = wandb_history(session)
    episodes = [line for line in history if "episode/success" in line]
    assert [line["episodes"] for line in episodes] == list(range(1, 11))
    assert sum(line["episode/success"] for line in episodes) == sum(bool(r.success) for r in results.results)
    assert episodes[-1][AVERAGE_SO_FAR] == pytest.approx(results.table().iloc[-1]["success_rate"])
    for task in ("push_right", "push_far"):
        shown = [line[key] for line in history if (key := f"failures/toy/{task}/path") in line]
        assert len(shown) == FAILURES_PER_TASK
        assert all((session / "files" / file).is_file() for file in shown)
    assert history[-1]["success table/nrows"] == 3
    summary: dict[str, Any] = {}
    config: dict[str, Any] = {}
    for record in wandb_records(session):
        summary |= items(record.summary.update)
        config |= items(record.config.update) | items(record.run.config.update)
    low, high = results.table().iloc[-1][["low", "high"]]
    assert (summary["result/toy/low"], summary["result/toy/high"]) == pytest.approx((low, high))
    assert config["plan_sha256"] == results.header["plan_sha256"]
    assert config["legs"][0]["policy_provenance"] == results.header["legs"][0]["policy_provenance"]


def test_a_resumed_run_is_the_same_run_of_weights_and_biases(run_toy: Run, offline: None) -> None:
    run = run_toy("trackers=[wandb]", "episodes_per_task=3", "video=none").folder
    cut(run, 4)
    resume(run)
    sessions = sorted((run / "wandb").glob("offline-run-*"), key=lambda folder: folder.stat().st_mtime)
    ids = [record.run.run_id for folder in sessions for record in wandb_records(folder) if record.HasField("run")]
    assert set(ids) == {RunFolder(run).header()["run_id"]}
    told = [[line["episodes"] for line in wandb_history(folder) if "episode/success" in line] for folder in sessions]
    assert told == [[1, 2, 3, 4, 5, 6], [5, 6]]
    assert wandb_history(sessions[1])[0][AVERAGE_SO_FAR] == 1
    assert len(RunFolder(run).header()["resumed"]) == 1


def test_tensorboard_shows_the_sessions_of_a_run_as_one(run_toy: Run) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'vlagym[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = run_toy("episodes_per_task=3", "video=none", "suite.goal=0.9", policy="random").folder
    cut(run, 0)
    resume(run, load_config(["trackers=[tensorboard]"]), ["trackers"])
    cut(run, 4)
    resume(run, load_config(["trackers=[tensorboard]"]), ["trackers"])
    shown = EventAccumulator(str(run / "tensorboard")).Reload()
    steps = [event.step for event in shown.Tensors("episode/success")]
    assert sorted(steps) == [1, 2, 3, 4, 5, 5, 6, 6]
    table = vlagym.load_run(run).table()
    last = shown.Tensors("result/toy/high")[-1]
    assert (last.step, last.tensor_proto.float_val[0]) == (6, pytest.approx(table.iloc[-1]["high"]))
    assert b"| **toy** | **average** |" in shown.Tensors("success")[-1].tensor_proto.string_val[0]
    assert RunFolder(run).header()["plan_sha256"].encode() in shown.Tensors("settings")[0].tensor_proto.string_val[0]


class Spy(Tracker):
    """Remembers what it is told, and fails where it is asked to."""

    told: list[dict[str, float]]
    fails_at = ""

    @classmethod
    def check_ready(cls) -> None:
        return None

    def start(self, run: TrackedRun) -> None:
        type(self).told = []
        self._fail("start")

    def log(self, episodes: int, figures: Mapping[str, float]) -> None:
        self.told.append({"episodes": episodes, **figures})
        self._fail("log")

    def finish(self, episodes: int, table: pd.DataFrame, figures: Mapping[str, float], interrupted: bool) -> None:
        self.told.append({"interrupted": interrupted, **figures})
        self._fail("finish")

    def _fail(self, where: str) -> None:
        if self.fails_at == where:
            raise ConnectionError("the server is gone")


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> type[Spy]:
    monkeypatch.setattr(TRACKERS, "_builtin", {"wandb": "", "spy": f"{__name__}:Spy"})
    monkeypatch.setattr("vlagym._registry.import_target", lambda target: Spy)
    monkeypatch.setattr(Spy, "fails_at", "")
    return Spy


@pytest.mark.parametrize("where", ["log", "finish"])
def test_a_tracker_that_fails_does_not_lose_the_run(
    run_toy: Run, spy: type[Spy], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spy.fails_at = where
    outcome = run_toy("trackers=[spy]", "episodes_per_task=2", "video=none")
    assert outcome.complete
    assert (outcome.folder / "summary.md").is_file()
    assert len(spy.told) == (1 if where == "log" else 5)
    shown = capsys.readouterr().err
    assert shown == "The tracker spy failed and is left out from here on: the server is gone. The run goes on.\n"


def test_a_tracker_that_cannot_start_is_one_error_before_the_first_episode(
    run_toy: Run, spy: type[Spy], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spy.fails_at = "start"
    with pytest.raises(RunError, match=r"tracker spy cannot be started \(the server is gone\); .* trackers=\[\]"):
        run_toy("trackers=[spy]", "episodes_per_task=2", "video=none")
    assert "left out" not in capsys.readouterr().err, "what has not started is told that the run has ended"
    assert RunFolder(tmp_path / "run").results() == []
    assert resume(tmp_path / "run", load_config(["trackers=[]"]), ["trackers"]).complete


@pytest.mark.slow  # wandb's own patience, 20 s
def test_wandb_without_a_network_is_given_up_within_a_minute(run_toy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(RunError, match="tracker wandb cannot be started"):
        run_toy("trackers=[wandb]", "episodes_per_task=2", "video=none")
    assert time.monotonic() - began < 60, "wandb's own patience is 90 s"


def test_errors_and_chains_are_told_apart_from_failures(run_toy: Run, spy: type[Spy], faults: Callable[..., None]) -> None:
    faults("raises")
    run_toy("trackers=[spy]", "episodes_per_task=2", "video=none", "suite.chain=3", "workers=1", "attempts=1")
    errors = [line for line in spy.told if "episode/success" not in line and "errors" in line]
    assert len(errors) == 1
    ended = [line for line in spy.told if "episode/success" in line]
    assert {line["episode/subtasks in a row"] for line in ended} <= {0, 1, 2, 3}
    assert ended[-1]["errors"] == 1
    last = spy.told[-1]
    assert last["result/toy/average length/low"] < last["result/toy/average length/value"] < 3.01
    assert last["interrupted"] is False


def test_what_cannot_be_told_is_refused_before_the_run(run_toy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="unknown tracker 'wandbb'. Did you mean 'wandb'"):
        run_toy("trackers=[wandbb]")
    with pytest.raises(ConfigError, match="trackers must be a list of different ones"):
        run_toy("trackers=[wandb,wandb]")
    for package in ("wandb", "tensorboard"):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(DependencyError, match=rf"pip install 'vlagym\[{package}\]'"):
            run_toy(f"trackers=[{package}]")
    assert not (tmp_path / "run").exists()
