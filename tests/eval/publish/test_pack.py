"""A packed run is the same run elsewhere, tells nothing of where it was made, and an archive from anyone does no harm."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vlagym.edges.sharing import shareable
from vlagym.envs.assets import archive as archive_module
from vlagym.errors import ConfigError, RunError
from vlagym.eval import cli
from vlagym.eval.compare.sources import side_of_run
from vlagym.eval.plan.config import load_config
from vlagym.eval.publish.pack import pack
from vlagym.eval.publish.unpack import unpack
from vlagym.eval.run.evaluation import evaluate
from vlagym.eval.tables.runs import Run, load_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three successes and three failures."""
    folder = tmp_path_factory.mktemp("made") / "run"
    settings = ["suite=toy", "policy=push", "suite.goal=3", "episodes_per_task=3", "workers=1"]
    return evaluate(load_config([*settings, f"run_dir={folder}"])).folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Run:
    """A copy that may be changed."""
    return load_run(shutil.copytree(made, tmp_path / "made here"))


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_it_is_the_same_run_elsewhere(run: Run, tmp_path: Path) -> None:
    there = unpack(pack(run, tmp_path / "run.tar.gz").archive, tmp_path / "elsewhere" / "theirs")
    assert there.table().equals(run.table())
    ours, theirs = side_of_run(run).suites["toy"], side_of_run(there).suites["toy"]
    assert (theirs.tasks, theirs.states, theirs.protocol_sha256) == (ours.tasks, ours.states, ours.protocol_sha256)
    assert cli.main(["report", str(there.path), str(run.path), "--output", str(tmp_path / "page")]) == 0
    videos = [file.name for file in (tmp_path / "page" / "videos" / "0").iterdir()]
    assert len(videos) == 3
    assert all("success=False" in name for name in videos)


@pytest.mark.parametrize(("videos", "count"), [("none", 0), ("failures", 3), ("all", 6)])
def test_the_videos_asked_for_go_with_it(run: Run, tmp_path: Path, videos: str, count: int) -> None:
    packed = pack(run, tmp_path / "run.tar.gz", videos, trajectories=videos == "all")  # type: ignore[arg-type]
    there = unpack(packed.archive, tmp_path / "there")
    named = [there.file_of(result, "video") for result in there.results]
    assert packed.videos == sum(file is not None and file.is_file() for file in named) == count
    assert len(list(there.path.glob("trajectories/*"))) == (6 if videos == "all" else 0)


def test_the_same_run_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    first, second = (pack(run, tmp_path / name).archive.read_bytes() for name in ("a.tar.gz", "b.tar.gz"))
    assert first == second


@pytest.mark.parametrize("keep_private", [False, True])
def test_it_tells_nothing_of_where_it_was_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_private: bool
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-node-7")
    header = json.loads((run.path / "run.json").read_text())
    header["legs"][0]["policy_provenance"] = {"url": "ws://gpu-node-8:8000", "checkpoint": "/home/ada/weights/step_5"}
    header["command"] = ["vla-eval", "run_dir=/home/ada/here"]
    (run.path / "run.json").write_text(json.dumps(header))
    error = f"gpu-node-7 could not open {tmp_path}/model at https://ada:secret@hub.internal/x"
    with (run.path / "episodes.jsonl").open() as lines:
        records = [json.loads(line) for line in lines]
    records[0] |= {"error": error, "success": None}
    (run.path / "episodes.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    packed = pack(load_run(run.path), tmp_path / "run.tar.gz", "none", keep_private=keep_private)
    text = b"".join(members(packed.archive).values()).decode()
    private = ("gpu-node-7", "gpu-node-8", "/home/ada", str(tmp_path), "hub.internal", header["cpu"] or "CPU", header["platform"])
    assert [word in text for word in private] == [keep_private] * len(private)
    assert "secret" not in text
    assert "step_5" in text


def test_what_everyone_may_know_stays() -> None:
    text = "from https://github.com/a/b and ws://127.0.0.1:8000, 3/4 of on/off"
    assert shareable(text) == text


def test_an_archive_that_is_there_is_not_replaced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run.tar.gz").write_text("mine")
    with pytest.raises(ConfigError, match="exists"):
        pack(run, tmp_path / "run.tar.gz")
    assert (tmp_path / "run.tar.gz").read_text() == "mine"


def crafted(files: list[tuple[tarfile.TarInfo | str, bytes]], archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive


def link(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo("run/videos/link.mp4")
    member.type, member.linkname = kind, "/etc/passwd"
    return member


BAD: dict[str, Callable[[list[tuple[str, bytes]]], list[tuple[tarfile.TarInfo | str, bytes]]]] = {
    "a symbolic link": lambda files: [*files, (link(tarfile.SYMTYPE), b"")],
    "a hard link": lambda files: [*files, (link(tarfile.LNKTYPE), b"")],
    "a device": lambda files: [*files, (link(tarfile.CHRTYPE), b"")],
    "an escape": lambda files: [*files, ("run/../../out.mp4", b"x")],
    "an absolute name": lambda files: [*files, ("/tmp/out.mp4", b"x")],
    "another folder": lambda files: [*files, ("other/summary.md", b"x")],
    "a hidden folder": lambda files: [(name.replace("run/", ".ssh/"), content) for name, content in files],
    "a file that no run has": lambda files: [*files, ("run/sitecustomize.py", b"x")],
    "a video that no episode names": lambda files: [*files, ("run/videos/other.mp4", b"x")],
    "a file twice": lambda files: [*files, files[0]],
    "no records": lambda files: files[1:],
    "videos first": lambda files: [("run/videos/a.mp4", b"x"), *files],
    "a damaged header": lambda files: [(name, b"{}" if name.endswith("run.json") else content) for name, content in files],
}


@pytest.mark.parametrize("what", BAD)
def test_an_archive_from_elsewhere_does_no_harm(run: Run, tmp_path: Path, what: str) -> None:
    whole = members(pack(run, tmp_path / "run.tar.gz", "none").archive)
    files = [(f"run/{name.partition('/')[2]}", content) for name, content in whole.items()]
    assert_refused(crafted(BAD[what](files), tmp_path / "bad.tar.gz"), tmp_path / "into")


def test_a_bomb_a_stump_and_another_file_are_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = pack(run, tmp_path / "run.tar.gz", "none").archive.read_bytes()
    bad = tmp_path / "bad.tar.gz"
    for content in (good[:-20], good[: len(good) // 2], b"", b"not an archive", gzip.compress(b"nor this"), good[:-8] + bytes(8)):
        bad.write_bytes(content)
        assert_refused(bad, tmp_path / "into")
    bad.write_bytes(good)
    monkeypatch.setattr(archive_module, "MAX_UNPACKED_BYTES", 4096)
    assert_refused(bad, tmp_path / "into")


def assert_refused(archive: Path, into: Path) -> None:
    with pytest.raises(RunError, match="is not a run that `vla-eval pack` wrote"):
        unpack(archive, into / "run")
    assert not list(into.iterdir())


def test_a_run_that_is_there_is_not_replaced(run: Run, tmp_path: Path) -> None:
    archive = pack(run, tmp_path / "run.tar.gz").archive
    with pytest.raises(ConfigError, match="exists"):
        unpack(archive, run.path)
    assert load_run(run.path).complete
    assert not list(tmp_path.glob(".vla-eval*"))


def test_an_archive_that_is_not_there_is_named_and_leaves_no_folder(tmp_path: Path) -> None:
    for archive in (tmp_path / "gone.tar.gz", tmp_path):
        with pytest.raises(RunError, match=f"the archive {archive} cannot be read"):
            unpack(archive, tmp_path / "new" / "run")
    assert not list(tmp_path.iterdir())
