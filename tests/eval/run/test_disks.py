"""Disks that are full, read-only, or lose their power: nothing is lost, and one sentence says what to do.

Slow, and only for root, who may mount: full and read-only disks are memory file systems of a size; the disk that loses its power is
an ext4 image behind a loop device, copied as it is at a random moment while a run writes to it, and mounted again from the copy.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vlagym.eval.record.video import check_complete_mp4
from vlagym.eval.tables.folder import RunFolder
from vlagym.trajectory import load_trajectory

HELPERS = Path(__file__).parents[2] / "helpers"
TOY = ("suite=toy", "policy=random", "workers=2", "video=all")
SIZES_KB = (0, 4, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mkfs.ext4") is None, reason="needs root, who may mount, and mkfs.ext4"),
]
Mount = Callable[..., Path]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "import sys; from vlagym.eval.cli import main; sys.exit(main())", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")])}


def vla_eval(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, env=environment())


def one_sentence(done: subprocess.CompletedProcess[str]) -> bool:
    lines = done.stderr.splitlines()
    return done.returncode in (1, 2) and len(lines) == 1 and lines[0].startswith("vla-eval: ")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts something on a folder of that name, and takes it away at the end."""
    mounted: list[Path] = []

    def on(name: str, *arguments: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        subprocess.run(["mount", *arguments, str(folder)], check=True)
        mounted.append(folder)
        return folder

    yield on
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=False)


def records(run: Path) -> list[str]:
    results = [result.to_json() for result in RunFolder(run).results() if result.error is None]
    return sorted(json.dumps({key: value for key, value in result.items() if key != "execution"}) for result in results)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert vla_eval(*TOY, "suite.trials=6", f"run_dir={run}").returncode == 0
    return run


@pytest.mark.parametrize("size", SIZES_KB)
def test_a_disk_that_fills_up_costs_nothing_that_was_finished(size: int, mount: Mount, whole: Path) -> None:
    disk = mount("disk", "-t", "tmpfs", "-o", f"size={max(size, 4)}k,nr_inodes={10 if not size else 0}", "tmpfs")
    run = disk / "run"
    first = vla_eval(*TOY, "suite.trials=6", f"run_dir={run}")
    assert first.returncode == 0 or one_sentence(first), first.stderr
    before = set(records(run)) if run.exists() else set()
    if run.exists():
        again = vla_eval(f"resume={run}")
        assert again.returncode == 0 or one_sentence(again), again.stderr
        assert before <= set(records(run))
    subprocess.run(["mount", "-o", "remount,size=64m,nr_inodes=0", str(disk)], check=True)
    last = vla_eval(f"resume={run}") if run.exists() else vla_eval(*TOY, "suite.trials=6", f"run_dir={run}")
    assert last.returncode == 0, last.stderr
    _check_whole(run, whole)


def test_a_read_only_disk_is_said_in_one_sentence_and_can_be_read(tmp_path: Path, mount: Mount, whole: Path) -> None:
    disk = mount("disk", "-t", "tmpfs", "tmpfs")
    run = disk / "run"
    shutil.copytree(whole, run)
    lines = (run / "episodes.jsonl").read_text().splitlines(keepends=True)
    (run / "episodes.jsonl").write_text("".join(lines[:-2]))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for arguments in ((*TOY, f"run_dir={disk / 'new'}"), (f"resume={run}",), ("render", str(run), "--episodes", "0")):
        assert one_sentence(done := vla_eval(*arguments)), (arguments, done.stderr)
    assert one_sentence(vla_eval("table", str(run), "--output", str(disk / "table.csv")))
    assert vla_eval("table", str(run)).returncode == 1
    assert vla_eval("render", str(run), "--episodes", "0", "--output", str(tmp_path / "drawn")).returncode == 0
    assert vla_eval("compare", str(whole), str(run), "--allow-incomplete").returncode in (0, 3)


@pytest.mark.parametrize("number", range(10))
def test_a_power_loss_costs_nothing_that_was_announced(number: int, tmp_path: Path, mount: Mount) -> None:
    image, copy, output = tmp_path / "disk.img", tmp_path / "copy.img", tmp_path / "output"
    subprocess.run(["truncate", "-s", "96M", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    disk = mount("disk", "-o", "loop", str(image))
    run = disk / "run"
    settings = (*TOY, "suite.trials=60", "suite.step_seconds=0.01", f"run_dir={run}")
    with output.open("w") as file:
        process = subprocess.Popen(command(*settings), stdout=file, stderr=file, env=environment())
    try:
        deadline = time.monotonic() + 300
        least = random.Random(number).randint(0, 40)
        while output.read_text().count("of the task") < least and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(random.Random(number).random())
        announced = output.read_text().count("of the task")
        # What has reached the device, and nothing of what the file system keeps in memory.
        subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
    finally:
        process.kill()
        process.wait()
    after = mount("after", "-o", "loop", str(copy)) / "run"
    if not after.exists():
        assert announced == 0
        return
    assert RunFolder(after).config().legs
    results = RunFolder(after).results()
    assert len(results) >= announced
    for result in results:
        load_trajectory(after / result.execution["trajectory"])
        check_complete_mp4(after / result.execution["video"])
    assert vla_eval(f"resume={after}").returncode == 0
    assert len(records(after)) == 120


def _check_whole(run: Path, whole: Path) -> None:
    assert records(run) == records(whole)
    assert (run / "summary.csv").read_bytes() == (whole / "summary.csv").read_bytes()
    left: Any = {str(file.relative_to(run)) for file in run.rglob(".*")}
    assert not left
    for result in RunFolder(run).results():
        load_trajectory(run / result.execution["trajectory"])
        check_complete_mp4(run / result.execution["video"])
