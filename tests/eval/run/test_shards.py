"""Shards: processes that know nothing of each other run the parts of one plan, and leave what one process would have."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from many_processes import run_in_shards

from vlagym.errors import RunError, StorageError
from vlagym.eval.cli import main
from vlagym.eval.plan.config import load_config
from vlagym.eval.plan.shard import Shard
from vlagym.eval.record.merge import merge
from vlagym.eval.run.evaluation import Outcome, evaluate, resume
from vlagym.eval.tables import log as log_module
from vlagym.eval.tables.folder import RunFolder
from vlagym.eval.tables.runs import load_run

Run = Callable[..., Outcome]
Records = Callable[[Path], list[dict[str, Any]]]

FEW = ("episodes_per_task=2", "workers=1", "video=first_per_task")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``whole``, four episodes of one process, and ``sharded``, the same of two shards."""
    folder = tmp_path_factory.mktemp("runs")
    for name, shards in (("whole", ["null"]), ("sharded", ["1/2", "2/2"])):
        for shard in shards:
            settings = ["suite=toy", "policy=push", *FEW, f"shard={shard}", f"run_dir={folder / name}"]
            assert evaluate(load_config(settings)).complete
    return folder


@pytest.fixture
def whole(runs: Path) -> Path:
    return runs / "whole"


@pytest.fixture
def sharded(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs / "sharded", tmp_path / "sharded"))


def files_of(run: Path) -> set[str]:
    return {str(file.relative_to(run)).partition("--")[2] or file.name for file in run.rglob("*") if file.is_file()}


def test_shards_leave_what_one_process_would(whole: Path, sharded: Path, records: Records) -> None:
    assert sorted(file.name for file in sharded.glob("episodes.*")) == [
        "episodes.jsonl",
        "episodes.shard-1-of-2.jsonl",
        "episodes.shard-2-of-2.jsonl",
    ]
    apart = load_run(sharded)
    assert apart.complete
    assert records(sharded) == records(whole)
    assert [shard["shard"] for shard in apart.header["shards"]] == ["1/2", "2/2"]
    merged = merge(sharded)
    assert (merged.shards, merged.episodes) == (2, 4)
    assert records(sharded) == records(whole)
    assert files_of(sharded) == files_of(whole)
    assert (sharded / "summary.csv").read_text() == (whole / "summary.csv").read_text()
    assert RunFolder(sharded).header()["shards"] == apart.header["shards"]
    assert merge(sharded).shards == 0, "merging again changes nothing"
    assert records(sharded) == records(whole)


def test_every_command_reads_shards(whole: Path, sharded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(sharded), "--format", "csv"]) == 0
    table = capsys.readouterr().out
    assert main(["table", str(whole), "--format", "csv"]) == 0
    assert table == capsys.readouterr().out
    assert main(["compare", str(whole), str(sharded), "--margin", "90"]) == 0
    assert main(["report", str(sharded), "--output", str(tmp_path / "report")]) == 0
    capsys.readouterr()
    assert main(["merge", str(sharded)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("reading and checking what the shards have left ...\nwriting 4 episodes into episodes.jsonl ...\n")
    assert "4 episodes of 2 shards are in" in printed


def test_what_is_missing_is_filled_by_resume(run_toy: Run, whole: Path, records: Records) -> None:
    folder = run_toy(*FEW, "shard=2/2", name="half").folder
    assert len(load_run(folder).missing) == 2
    assert main(["merge", str(folder)]) == 1
    assert resume(folder).complete
    assert records(folder) == records(whole)
    assert files_of(folder) == files_of(whole)


def test_a_resumed_run_may_have_other_shards(run_toy: Run, whole: Path, records: Records) -> None:
    folder = run_toy(*FEW, "shard=1/4", name="other").folder
    for number in (1, 2):
        assert resume(folder, load_config([f"shard={number}/2"]), ("shard",)).complete
    assert sum(len(results) for results in RunFolder(folder).results_by_file().values()) == 4, "none was run twice"
    assert merge(folder).run.complete
    assert records(folder) == records(whole)


def test_a_shard_that_was_cut_off_goes_on(sharded: Path, run_toy: Run, whole: Path, records: Records) -> None:
    file = sharded / "episodes.shard-2-of-2.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    assert len(load_run(sharded).missing) == 1
    again = run_toy(*FEW, "shard=2/2", name="sharded")
    assert again.complete
    assert len(file.read_text().splitlines()) == 2
    assert records(sharded) == records(whole)


def test_what_was_cut_off_is_no_loss_to_a_merge(sharded: Path, whole: Path, records: Records) -> None:
    file = sharded / "episodes.shard-1-of-2.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    assert len(merge(sharded).run.missing) == 1
    assert resume(sharded).complete
    assert records(sharded) == records(whole)


def test_more_shards_than_episodes(run_toy: Run) -> None:
    outcomes = [run_toy("tasks=[0]", "episodes_per_task=1", "video=none", f"shard={number}/3", name="few") for number in (1, 2, 3)]
    assert all(outcome.complete for outcome in outcomes)
    assert sorted(int(outcome.table["episodes"].sum()) if len(outcome.table) else 0 for outcome in outcomes)[:2] == [0, 0]
    assert merge(outcomes[0].folder).run.complete


def test_shards_must_have_the_same_settings(sharded: Path, run_toy: Run, records: Records) -> None:
    before = records(sharded)
    with pytest.raises(RunError, match=r"begun with other settings \(episodes_per_task: 2 -> 3\); give every shard"):
        run_toy(*FEW[1:], "episodes_per_task=3", "shard=1/2", name="sharded")
    with pytest.raises(RunError, match=r"toy: suite.goal: 1.0 -> 0.5"):
        run_toy(*FEW, "suite.goal=0.5", "shard=1/2", name="sharded")
    assert records(sharded) == before


def test_a_shard_is_run_once_at_a_time(sharded: Path, run_toy: Run) -> None:
    folder = RunFolder(sharded)
    with folder.open_shard(Shard(1, 2)):
        with pytest.raises(RunError, match="another process is running this shard of"):
            run_toy(*FEW, "shard=1/2", name="sharded")
        folder.open_shard(Shard(2, 2)).close()
        with pytest.raises(RunError, match="is being run in 2 shards; shard 1/3 has to wait"):
            run_toy(*FEW, "shard=1/3", name="sharded")
        for whole_run in (merge, resume):
            with pytest.raises(RunError, match="another process is running"):
                whole_run(sharded)


def test_a_run_that_one_process_has_to_itself_has_no_shards(sharded: Path, run_toy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "_PATIENCE_S", 0.1)
    with RunFolder(sharded).open_log(), pytest.raises(RunError, match="to itself; wait for it or stop it before a shard is run"):
        run_toy(*FEW, "shard=1/2", name="sharded")


def test_a_shard_needs_a_folder_and_never_takes_another_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suite=toy", "policy=push", "shard=1/2"]) == 2
    assert "shard=1/2 needs run_dir=FOLDER, the same for all shards" in capsys.readouterr().err
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["suite=toy", "policy=push", "shard=1/2", f"run_dir={tmp_path}"]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("plan_sha256", "0" * 64, "it has another plan"),
        ("code_sha256", "0" * 64, "it has other code"),
        ("protocol_sha256", "0" * 64, "its protocol of toy is another one"),
        ("suite_provenance", {"toy": 2}, r"toy ran on something else \(toy: 1 -> 2\)"),
        ("policy_provenance", {"checkpoint": "b"}, r"its policy is another one \(checkpoint: None -> 'b'\)"),
    ],
)
def test_what_did_not_run_the_same_is_not_added_up(sharded: Path, key: str, value: object, said: str) -> None:
    file = sharded / "run.shard-2-of-2.json"
    sheet = json.loads(file.read_text())
    (sheet if key in sheet else sheet["legs"][0])[key] = value
    file.write_text(json.dumps(sheet))
    before = {file.name: file.read_bytes() for file in sharded.iterdir() if file.is_file()}
    for read in (load_run, merge, resume):
        with pytest.raises(RunError, match=f"shard 2/2 did not run what the others did: {said}"):
            read(sharded)
    assert {file.name: file.read_bytes() for file in sharded.iterdir() if file.is_file()} == before


def test_an_episode_that_came_out_differently_is_named(sharded: Path) -> None:
    file = sharded / "episodes.shard-1-of-2.jsonl"
    line = json.loads(file.read_text().splitlines()[0])
    (sharded / "episodes.shard-1-of-5.jsonl").write_text(json.dumps({**line, "final_state_sha256": "f" * 64}) + "\n")
    differently = r"toy/push_right/0/0 came out differently in .*1-of-2.jsonl and in episodes.shard-1-of-5.jsonl"
    with pytest.raises(RunError, match=differently):
        merge(sharded)
    assert file.is_file()


def test_a_merge_that_finds_the_disk_full_loses_nothing(
    sharded: Path, whole: Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as now:
        now.setattr(log_module.os, "write", full)
        with pytest.raises(StorageError, match="No space left on device"):
            merge(sharded)
    assert records(sharded) == records(whole)
    assert merge(sharded).episodes == 4


def test_processes_of_which_one_is_killed_and_started_again(tmp_path: Path, records: Records) -> None:
    """Both start at one instant, in a folder that is not there; one is killed when it has a result, and started again."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    settings = ["suite=toy", "policy=push", "suite.step_seconds=0.05", "episodes_per_task=3", "video=none", "workers=1"]
    assert main([*settings, f"run_dir={alone}"]) == 0
    run_in_shards(settings, together, 2, killed=[2])
    assert main(["merge", str(together)]) == 0
    assert records(together) == records(alone)
    assert load_run(together).table().equals(load_run(alone).table())
