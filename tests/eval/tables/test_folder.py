"""A run's folder: it is there whole or not at all, belongs to one writer at a time, and loses no line."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlagym._durable import write_durably
from vlagym.episode import EpisodeResult, EpisodeSpec
from vlagym.errors import RunError, StorageError
from vlagym.eval.bench.synthetic import write_run
from vlagym.eval.plan.config import RunConfig, load_config
from vlagym.eval.tables import folder as folder_module
from vlagym.eval.tables.folder import FolderTakenError, RunFolder, drop_what_counts_no_more
from vlagym.eval.tables.log import EpisodeLog
from vlagym.eval.tables.runs import load_run

HEADER = {"run_id": "x", "legs": []}


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return load_config(["suite=toy", "policy=push"])


def header(run: RunFolder) -> Any:
    return json.loads(run.header_file.read_text())


def result(trial: int, error: str | None = None, steps: int = 3) -> EpisodeResult:
    success = None if error else True
    return EpisodeResult(EpisodeSpec("toy", "t", trial), "", success, success, success, 1, steps, None, None, None, error=error)


def test_a_new_run_is_made_at_once_and_belongs_to_its_maker(tmp_path: Path, config: RunConfig) -> None:
    run = RunFolder(tmp_path / "deep" / "run")
    with run.create(config, HEADER):
        assert run.config() == config
        assert header(run) == HEADER
        with pytest.raises(RunError, match="another process is running"):
            run.open_log()
    run.open_log().close()
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["run"]


@pytest.mark.parametrize("operation", ["mkdir", "open", "write_text", "fsync", "rename"])
@pytest.mark.parametrize("number", range(1, 6))
def test_a_start_that_fails_anywhere_leaves_nothing(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch, operation: str, number: int
) -> None:
    """The n-th call of an operation of the file system finds the disk full."""
    owner = os if operation in ("open", "fsync") else Path
    original, calls = getattr(owner, operation), 0

    def fail(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments, **keywords)

    monkeypatch.setattr(owner, operation, fail)
    run = RunFolder(tmp_path / "runs" / "run")
    try:
        run.create(config, HEADER).close()
    except StorageError as error:
        assert "No space left on device" in str(error)
        left = list((tmp_path / "runs").iterdir()) if (tmp_path / "runs").exists() else []
        assert [entry.name for entry in left] in ([], ["run"])
    else:
        assert calls < number
    monkeypatch.undo()
    if not run.header_file.exists():
        run.create(config, HEADER).close()
    assert header(run) == HEADER


@pytest.mark.parametrize(
    "left",
    [
        (),
        (".config.yaml.part",),
        ("config.yaml",),
        ("config.yaml", ".run.json.part"),
        ("episodes.jsonl",),
        (".lock", "config.yaml"),
    ],
)
def test_what_a_killed_start_leaves_is_no_dead_end(tmp_path: Path, config: RunConfig, left: tuple[str, ...]) -> None:
    RunFolder(tmp_path / "other").create(config, HEADER).close()
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    for name in left:
        text = (tmp_path / "other" / name).read_text() if name == "config.yaml" else ""
        (run.path / name).write_text(text)
    run.create(config, HEADER).close()
    assert header(run) == HEADER


@pytest.mark.parametrize("there", ["run.json", "notes.txt", "config.yaml", "a run"])
def test_what_is_there_is_left_as_it_is(tmp_path: Path, config: RunConfig, there: str) -> None:
    run = RunFolder(tmp_path / "run")
    if there == "a run":
        run.create(config, HEADER).close()
    else:
        run.path.mkdir()
        (run.path / there).write_text("mine")
    before = {entry.name: entry.read_bytes() for entry in run.path.iterdir()}
    with pytest.raises(FolderTakenError, match="is not empty"):
        run.create(config, {"run_id": "other"})
    assert {entry.name: entry.read_bytes() for entry in run.path.iterdir()} == before


def test_a_file_is_no_place_for_a_run(tmp_path: Path, config: RunConfig) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FolderTakenError, match="is not a folder"):
        RunFolder(tmp_path / "file").create(config, HEADER)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("prepared", [False, True])
def test_of_starts_at_one_instant_one_gets_the_folder(tmp_path: Path, config: RunConfig, prepared: bool) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(20):
        run = tmp_path / f"run{attempt}"
        if prepared:
            run.mkdir()
        barrier, outcomes = context.Barrier(3), context.Queue()
        processes = [context.Process(target=_start, args=(run, config, n, barrier, outcomes)) for n in range(3)]
        for process in processes:
            process.start()
        won = [number for number, got in (outcomes.get(timeout=60) for _ in processes) if got]
        for process in processes:
            process.join()
        assert len(won) == 1
        assert header(RunFolder(run))["run_id"] == won[0]
    assert not list(tmp_path.glob(".*"))


def _start(path: Path, config: RunConfig, number: int, barrier: Any, outcomes: Any) -> None:
    barrier.wait(60)
    try:
        log = RunFolder(path).create(config, {"run_id": number})
    except RunError:
        outcomes.put((number, False))
    else:
        outcomes.put((number, True))
        log.close()


def test_a_folder_whose_making_was_killed_is_removed_by_the_next_start(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_STALE_S", -1.0)
    dead, alive = tmp_path / ".vla-eval.dead.part", tmp_path / ".vla-eval.alive.part"
    dead.mkdir()
    alive.mkdir()
    (dead / "config.yaml").touch()
    with EpisodeLog(alive / "episodes.jsonl"):
        RunFolder(tmp_path / "run").create(config, HEADER).close()
        assert not dead.exists()
        assert alive.exists()


def test_a_result_outranks_an_error_and_the_later_of_two_the_earlier(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with EpisodeLog(run.episodes_file) as log:
        for one in (result(0, "died"), result(1, steps=1), result(0), result(1, steps=2), result(0, "died again"), result(2, "a")):
            log.append(one)
    assert run.results() == [result(0), result(1, steps=2), result(2, "a")]


def doubled(path: Path) -> EpisodeLog:
    log = EpisodeLog(path / "episodes.jsonl")
    for one in (result(0, "died"), result(1, steps=1), result(0), result(1, steps=2), result(2)):
        log.append(one)
    return log


def test_one_line_per_episode_is_left_and_nobody_else_comes_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.rename

    def others_try(part: Path, target: Path) -> None:
        for _ in range(2):  # before and after
            with pytest.raises(RunError, match="another process is running"):
                EpisodeLog(target)
            if part.exists():
                replace(part, target)

    monkeypatch.setattr(Path, "rename", others_try)
    with doubled(tmp_path) as log:
        drop_what_counts_no_more(log)
        lines = log.path.read_text().splitlines()
        log.append(result(3))
    assert [json.loads(line)["trial"] for line in lines] == [0, 1, 2]
    assert RunFolder(tmp_path).results() == [result(0), result(1, steps=2), result(2), result(3)]
    assert [file.name for file in tmp_path.iterdir()] == ["episodes.jsonl"]


def test_lines_too_many_stay_where_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with doubled(tmp_path) as log:
        before = log.path.read_bytes()
        monkeypatch.setattr(os, "fsync", lambda descriptor: _raise(errno.ENOSPC))
        with pytest.raises(StorageError, match="No space left"):
            drop_what_counts_no_more(log)
        monkeypatch.undo()
        assert log.path.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["episodes.jsonl"]
        log.append(result(3))
    assert len(RunFolder(tmp_path).results()) == 4


def test_a_file_whose_place_was_taken_before_it_was_locked_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with doubled(tmp_path) as first:
        lock = fcntl.flock

        def late(file: int, kind: int) -> None:
            monkeypatch.undo()
            drop_what_counts_no_more(first)
            first.close()
            lock(file, kind)

        monkeypatch.setattr(fcntl, "flock", late)
        with EpisodeLog(tmp_path / "episodes.jsonl") as second:
            second.append(result(3))
        first._file = os.open(os.devnull, os.O_RDONLY)  # closed above
    assert [one.spec.trial for one in RunFolder(tmp_path).results()] == [0, 1, 2, 3]


@pytest.mark.parametrize("torn", [b"{", b'{"suite": "toy", "ta', b"\0" * 70_000, b"x" * 200_000])
def test_a_cut_line_is_cut_off_and_no_other_touched(tmp_path: Path, torn: bytes) -> None:
    run = RunFolder(tmp_path)
    with EpisodeLog(run.episodes_file) as log:
        log.append(result(0))
    whole = run.episodes_file.read_bytes()
    run.episodes_file.write_bytes(whole + torn)
    assert run.results() == [result(0)]
    assert run.episodes_file.read_bytes() == whole + torn
    with EpisodeLog(run.episodes_file) as log:
        log.repair()
        assert run.episodes_file.read_bytes() == whole
        log.append(result(1))
    assert run.results() == [result(0), result(1)]


def _deleted(file: Path) -> None:
    file.unlink()


def _replaced(file: Path) -> None:
    text = file.read_text()
    file.unlink()
    file.write_text(text)


def _cut(file: Path) -> None:
    os.truncate(file, 20)


def _written_to(file: Path) -> None:
    file.write_text(file.read_text() + "\n")


@pytest.mark.parametrize("harm", [_deleted, _replaced, _cut, _written_to])
def test_a_file_that_is_taken_away_is_noticed(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    with EpisodeLog(tmp_path / "episodes.jsonl") as log:
        log.append(result(0))
        harm(log.path)
        with pytest.raises(StorageError, match="while the run went on"):
            log.append(result(1))


def test_a_line_that_finds_the_disk_full_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with EpisodeLog(tmp_path / "episodes.jsonl") as log:
        log.append(result(0))
        before = log.path.read_bytes()
        room = 10

        def write_until_full(descriptor: int, data: memoryview) -> int:
            nonlocal room
            if not room:
                _raise(errno.ENOSPC)
            room = 0
            return write(descriptor, data[:10])

        monkeypatch.setattr(os, "write", write_until_full)
        with pytest.raises(StorageError, match="No space left"):
            log.append(result(1))
        monkeypatch.undo()
        assert log.path.read_bytes() == before
        log.append(result(1))
    assert RunFolder(tmp_path).results() == [result(0), result(1)]


def _raise(number: int) -> int:
    raise OSError(number, os.strerror(number))


def test_a_file_is_the_old_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_durably(tmp_path / "file", "old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: _raise(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        write_durably(tmp_path / "file", "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_no_file_of_an_episode_is_outside_its_run(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", {"s": {"t": 1}}, lambda spec: True))
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (run.path / "videos").mkdir()
    (run.path / "videos" / "own.mp4").touch()
    (run.path / "videos" / "again.mp4").symlink_to("own.mp4")
    (run.path / "videos" / "secret.mp4").symlink_to(tmp_path / "secret.mp4")
    (run.path / "elsewhere").symlink_to(tmp_path)

    def found(name: str) -> Path | None:
        return run.file_of(replace(run.results[0], execution={"video": name}), "video")

    own = run.path.resolve() / "videos" / "own.mp4"
    assert [found(f"videos/{name}") for name in ("own.mp4", "again.mp4", "../videos/own.mp4")] == [own, own, own]
    assert found("videos/gone.mp4") == own.with_name("gone.mp4")
    outside = ("videos/secret.mp4", "elsewhere/secret.mp4", "../secret.mp4", "..", "videos/../..", str(tmp_path / "secret.mp4"))
    assert [found(name) for name in outside] == [None] * len(outside)
