"""Asset sets arrive whole or not at all: over a bad network, from damaged and hostile archives, in two processes at once."""

from __future__ import annotations

import dataclasses
import errno
import gzip
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from toy_assets import (
    ARCHIVE,
    COMMIT,
    FILES,
    LARGE,
    STAND_IN,
    STAND_INS_ARCHIVE,
    TOP,
    UNLISTED,
    content_of,
    digest,
    left_in,
    tar_gz,
    without_large,
)

from vlagym.envs import assets
from vlagym.envs.assets import archive as archive_module
from vlagym.envs.assets import download as download_module
from vlagym.envs.assets import make_manifest
from vlagym.envs.assets import manifest as manifest_module
from vlagym.envs.assets.manifest import load_manifest, manifest_names, read_manifest
from vlagym.errors import AssetError, ConfigError, VlagymError
from vlagym.eval.cli.assets import main as cli

REAL_DIR = os.environ.get("VLAGYM_ASSETS_DIR", "")
REAL_MIRROR = os.environ.get("VLAGYM_ASSETS_MIRROR", "")
needs_mirror = pytest.mark.skipif(not REAL_MIRROR, reason="needs a mirror of the public archives: VLAGYM_ASSETS_MIRROR")


# --- settings --------------------------------------------------------------------------------------------------------------------


def test_the_folder_is_found_by_variable_then_cache_folder_then_home(monkeypatch):
    monkeypatch.setenv("VLAGYM_ASSETS_DIR", "~/mine")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert assets.assets_dir() == Path.home() / "mine"
    monkeypatch.setenv("VLAGYM_ASSETS_DIR", "")
    assert assets.assets_dir() == Path("/cache/vlagym/assets")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert assets.assets_dir() == Path.home() / ".cache/vlagym/assets"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("VLAGYM_ASSETS_STAND_INS", "yes", "'allow' or 'deny'"),
        ("VLAGYM_OFFLINE", "yes", "0 or 1"),
        ("VLAGYM_ASSETS_MIRROR", "ftp://example.org", "http, https or file URL"),
        ("VLAGYM_ASSETS_MIRROR", "/no/such/folder", "does not exist"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(mirror, monkeypatch, variable, value, message):
    (mirror / ARCHIVE).write_bytes(tar_gz(without_large()))
    monkeypatch.setenv(variable, value)
    if variable == "VLAGYM_OFFLINE":
        monkeypatch.setenv("VLAGYM_ASSETS_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match=message):
        assets.fetch("toy")


def test_an_unknown_set_names_the_near_ones():
    with pytest.raises(ConfigError, match=r"unknown asset set 'toi'.*'toy'"):
        assets.locate("toi")


# --- from a folder ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_url", [False, True])
def test_fetch_extracts_the_sets_files_and_nothing_else(mirror, monkeypatch, as_url):
    if as_url:
        monkeypatch.setenv("VLAGYM_ASSETS_MIRROR", mirror.as_uri())
    folder = assets.fetch("toy")
    assert content_of(folder) == FILES
    assert (folder.path / "scene.xml").is_file()
    assert (folder.commit, folder.stand_ins, folder.stand_in_files, folder.notice) == (COMMIT, False, (), None)
    assert folder == assets.locate("toy") == assets.verify("toy") == assets.fetch("toy")
    assert (mirror / ARCHIVE).exists()


def test_what_was_not_fetched_ends_in_the_command_to_run():
    with pytest.raises(assets.NotFetchedError, match=r"Run: vla-eval assets fetch toy$"):
        assets.locate("toy")
    with pytest.raises(assets.NotFetchedError, match="fetch toy"):
        assets.verify("toy")


def test_locate_notices_missing_and_truncated_files_and_fetch_mends_them(mirror):
    folder = assets.fetch("toy")
    (folder.path / "scene.xml").unlink()
    with pytest.raises(AssetError, match=r"scene\.xml is missing.*vla-eval assets fetch toy"):
        assets.locate("toy")
    mended = assets.fetch("toy")
    (mended.path / "meshes/bowl.msh").write_bytes(b"short")
    with pytest.raises(AssetError, match=r"bowl\.msh has 5 bytes instead of 200000"):
        assets.locate("toy")
    assert content_of(assets.fetch("toy")) == FILES
    assert len(left_in(assets.assets_dir())) == 2  # the folder and its marker: what was replaced is gone


@pytest.mark.parametrize("path", ["scene.xml", "meshes/large.dae"])
def test_verify_notices_a_changed_byte_whichever_hash_is_known(mirror, path):
    file = assets.fetch("toy").path / path
    data = bytearray(file.read_bytes())
    data[7] ^= 1
    file.write_bytes(data)
    assets.locate("toy")
    with pytest.raises(AssetError, match=rf"{path}: .*instead of.*vla-eval assets fetch toy --force"):
        assets.verify("toy")


def test_verify_notices_files_that_do_not_belong(mirror):
    (assets.fetch("toy").path / "extra.glb").write_bytes(b"picked up by a simulator")
    with pytest.raises(AssetError, match=r"extra\.glb: does not belong"):
        assets.verify("toy")


def test_a_set_made_for_another_manifest_is_not_used(mirror, toy_set):
    assets.fetch("toy")
    manifest = json.loads((toy_set / "toy.json").read_text())
    (toy_set / "toy.json").write_text(json.dumps(manifest, indent=1))
    load_manifest.cache_clear()
    with pytest.raises(AssetError, match="another version"):
        assets.locate("toy")
    assert content_of(assets.fetch("toy")) == FILES


@pytest.mark.parametrize(
    "marker",
    [
        "",
        "[]",
        '{"folder": "../elsewhere", "manifest_sha256": "x", "stand_ins": []}',
        '{"folder": 3, "manifest_sha256": "x", "stand_ins": []}',
    ],
)
def test_a_damaged_marker_is_one_clear_error(mirror, marker):
    assets.fetch("toy")
    next(assets.assets_dir().glob("toy-*.json")).write_text(marker)
    with pytest.raises(AssetError, match=r"is not the marker of an asset set|another version"):
        assets.locate("toy")
    assert content_of(assets.fetch("toy")) == FILES


# --- stand-ins -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def incomplete_mirror(mirror):
    (mirror / ARCHIVE).write_bytes(tar_gz(without_large() | UNLISTED))
    (mirror / STAND_INS_ARCHIVE).write_bytes(tar_gz(STAND_IN))
    return mirror


def test_files_that_the_mirror_lacks_are_an_error_unless_stand_ins_are_allowed(incomplete_mirror):
    with pytest.raises(AssetError, match=r"lacks 1 of the 5 files.*large\.dae.*VLAGYM_ASSETS_STAND_INS=allow") as error:
        assets.fetch("toy")
    assert f"https://github.com/someone/Toy/archive/{COMMIT}.tar.gz" in str(error.value)
    assert left_in(assets.assets_dir()) == []


def test_stand_ins_are_used_where_allowed_and_said_everywhere(incomplete_mirror, monkeypatch, capsys):
    monkeypatch.setenv("VLAGYM_ASSETS_STAND_INS", "allow")
    folder = assets.fetch("toy")
    assert content_of(folder) == without_large() | STAND_IN
    assert folder.stand_ins and folder.stand_in_files == tuple(STAND_IN)
    assert folder.provenance()["stand_in_files"] == list(STAND_IN)
    assert folder.notice is not None and "1 files of the toy assets are stand-ins" in folder.notice
    assert assets.verify("toy") == folder
    for command in (["list"], ["fetch", "toy"], ["verify", "toy"]):
        assert cli(command) == 0
        assert "stand-ins" in capsys.readouterr().out


def test_stand_ins_on_disk_are_not_used_once_they_are_not_allowed(incomplete_mirror, monkeypatch):
    monkeypatch.setenv("VLAGYM_ASSETS_STAND_INS", "allow")
    before = assets.fetch("toy")
    monkeypatch.setenv("VLAGYM_ASSETS_STAND_INS", "deny")
    with pytest.raises(AssetError, match=r"stand-ins, which VLAGYM_ASSETS_STAND_INS does not allow.*vla-eval assets fetch toy"):
        assets.locate("toy")
    with pytest.raises(AssetError, match="lacks 1 of the 5"):
        assets.fetch("toy")
    assert before.path.is_dir(), "a failed fetch must leave what was there"
    (incomplete_mirror / ARCHIVE).write_bytes(tar_gz(FILES))
    assert content_of(assets.fetch("toy")) == FILES


def test_a_real_file_is_never_replaced_by_a_stand_in(incomplete_mirror, monkeypatch):
    monkeypatch.setenv("VLAGYM_ASSETS_STAND_INS", "allow")
    (incomplete_mirror / ARCHIVE).write_bytes(tar_gz(FILES))
    assert not assets.fetch("toy").stand_ins


def test_a_missing_file_that_nothing_stands_in_for_is_an_error(incomplete_mirror, monkeypatch):
    monkeypatch.setenv("VLAGYM_ASSETS_STAND_INS", "allow")
    (incomplete_mirror / STAND_INS_ARCHIVE).write_bytes(tar_gz({}))
    with pytest.raises(AssetError, match=r"stand_ins\.tar\.gz lacks data/meshes/large\.glb"):
        assets.fetch("toy")
    (incomplete_mirror / STAND_INS_ARCHIVE).unlink()
    with pytest.raises(AssetError, match="no stand-ins"):
        assets.fetch("toy")
    (incomplete_mirror / ARCHIVE).write_bytes(tar_gz({"LICENSE": FILES["LICENSE"]}))
    with pytest.raises(AssetError, match=r"Nothing stands in for data/empty\.yaml, data/meshes/bowl\.msh"):
        assets.fetch("toy")
    assert left_in(assets.assets_dir()) == []


# --- damaged and hostile archives ------------------------------------------------------------------------------------------------


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


HOSTILE = {
    "absolute": (tarfile.TarInfo("/etc/evil"), "leaves its folder"),
    "dots": (tarfile.TarInfo(f"{TOP}/../../evil"), "leaves its folder"),
    "symlink": (link(f"{TOP}/data/scene.xml", "../../../etc/passwd", tarfile.SYMTYPE), "leaves its folder"),
    "absolute symlink": (link(f"{TOP}/x", "/etc/passwd", tarfile.SYMTYPE), "leaves its folder"),
    "hard link": (link(f"{TOP}/x", "../etc/passwd", tarfile.LNKTYPE), "leaves its folder"),
    "device": (link(f"{TOP}/x", "", tarfile.CHRTYPE), "neither file, folder nor link"),
    "fifo": (link(f"{TOP}/x", "", tarfile.FIFOTYPE), "neither file, folder nor link"),
    "listed link": (link(f"{TOP}/LICENSE", "data/scene.xml", tarfile.SYMTYPE), "not a single regular file"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_archive_that_reaches_beyond_its_folder_is_refused_as_a_whole(mirror, case, tmp_path):
    member, message = HOSTILE[case]
    (mirror / ARCHIVE).write_bytes(tar_gz(FILES, member))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AssetError, match=message):
        assets.fetch("toy")
    new = [path for path in sorted(tmp_path.rglob("*")) if path not in before]
    assert [path.name for path in new if path.suffix != ".lock"] == ["assets"]


def test_a_file_twice_is_refused(mirror):
    (mirror / ARCHIVE).write_bytes(tar_gz(FILES, tarfile.TarInfo(f"{TOP}/LICENSE")))
    with pytest.raises(AssetError, match="not a single regular file"):
        assets.fetch("toy")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"LICENSE": b"do what I like!!\n"}, r"LICENSE is not the file of the manifest: SHA-256"),
        ({LARGE: b"another mesh"}, r"large\.dae is not the file of the manifest: git object id"),
        ({"LICENSE": b"short"}, r"5 bytes instead of 17"),
        ({"data/scene.xml": bytes(10_000)}, r"10000 bytes instead of at most 900"),
    ],
)
def test_other_bytes_than_the_manifests_are_refused(mirror, files, message):
    (mirror / ARCHIVE).write_bytes(tar_gz(FILES | files))
    with pytest.raises(AssetError, match=message):
        assets.fetch("toy")
    assert left_in(assets.assets_dir()) == []


@pytest.mark.parametrize("keep", [0, 5, 1000, 100_000, -8, -1])
def test_a_truncated_archive_is_one_clear_error_and_keeps_the_old_folder(mirror, keep):
    before = assets.fetch("toy")
    (mirror / ARCHIVE).write_bytes((mirror / ARCHIVE).read_bytes()[:keep])
    with pytest.raises(AssetError, match="corrupt or truncated"):
        assets.fetch("toy", force=True)
    assert assets.verify("toy") == before
    assert len(left_in(assets.assets_dir())) == 2


def test_flipped_bits_anywhere_are_noticed(mirror):
    whole = (mirror / ARCHIVE).read_bytes()
    for position in range(3, len(whole), len(whole) // 12):
        if 4 <= position < 10:
            continue  # the gzip header's time stamp and system: no part of the data
        data = bytearray(whole)
        data[position] ^= 0x10
        (mirror / ARCHIVE).write_bytes(data)
        with pytest.raises(AssetError):
            assets.fetch("toy")
    assert left_in(assets.assets_dir()) == []


def test_an_archive_that_never_ends_is_stopped(mirror, monkeypatch):
    monkeypatch.setattr(archive_module, "MAX_UNPACKED_BYTES", 1 << 20)
    (mirror / ARCHIVE).write_bytes(tar_gz({"zeros": bytes(8 << 20)}))
    with pytest.raises(AssetError, match="unpacks to more than"):
        assets.fetch("toy")


def test_something_else_than_an_archive_is_refused(mirror):
    for data in (b"<html>not found</html>", gzip.compress(b"not a tar")):
        (mirror / ARCHIVE).write_bytes(data)
        with pytest.raises(AssetError, match="corrupt or truncated"):
            assets.fetch("toy")


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(mirror, monkeypatch):
    def no_room(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(archive_module, "_write_member", no_room)
    with pytest.raises(AssetError, match=r"No space left.*VLAGYM_ASSETS_DIR"):
        assets.fetch("toy")
    assert left_in(assets.assets_dir()) == []


def test_a_folder_that_cannot_be_made_is_one_clear_error(mirror, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VLAGYM_ASSETS_DIR", str(tmp_path / "file" / "assets"))
    with pytest.raises(AssetError, match="cannot write the toy assets"):
        assets.fetch("toy")


# --- over HTTP -------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Server:
    """A server on this machine that misbehaves on request.

    Attributes:
        faults: What goes wrong with the next requests, in order: an HTTP status, or ``cut`` (half of what was asked for).
        ranges: Whether it honours ranges.
        tag: The ETag it sends; None for none.
        log: The ranges that were asked for.
    """

    url: str
    files: dict[str, bytes]
    faults: list[int | str] = dataclasses.field(default_factory=list)
    ranges: bool = True
    tag: str | None = '"v1"'
    log: list[str | None] = dataclasses.field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.log.append(asked)
            fault = state.faults.pop(0) if state.faults else None
            content = state.files.get(self.path.lstrip("/"))
            if content is None or isinstance(fault, int):
                self.send_error(fault if isinstance(fault, int) else 404)
                return
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.ranges else 0
            if self.headers.get("If-Range") not in (None, state.tag):
                start = 0
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if state.tag:
                self.send_header("ETag", state.tag)
            body = content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Server(f"http://127.0.0.1:{httpd.server_port}", {ARCHIVE: tar_gz(FILES)})
    threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("VLAGYM_ASSETS_MIRROR", state.url + "/")
    yield state
    httpd.shutdown()
    httpd.server_close()


def test_a_download_reports_progress_and_leaves_only_the_set(server):
    seen: list[tuple[str, int, int | None]] = []
    folder = assets.fetch("toy", progress=lambda *values: seen.append(values))
    assert content_of(folder) == FILES and server.log == [None]
    assert (f"downloading {ARCHIVE}", len(server.files[ARCHIVE]), len(server.files[ARCHIVE])) in seen
    assert any(what == f"unpacking {ARCHIVE}" for what, _, _ in seen)
    assert len(left_in(assets.assets_dir())) == 2


@pytest.mark.parametrize("tag", ['"v1"', None])
def test_a_cut_connection_is_resumed_where_it_broke(server, tag):
    server.faults, server.tag = ["cut", "cut"], tag
    half = len(server.files[ARCHIVE]) // 2
    assert content_of(assets.fetch("toy")) == FILES
    assert server.log[:2] == [None, f"bytes={half}-"] and len(server.log) == 3


def test_a_server_that_ignores_ranges_is_read_from_the_start(server):
    server.faults, server.ranges = ["cut"], False
    assert content_of(assets.fetch("toy")) == FILES


def test_a_file_that_changed_meanwhile_is_read_from_the_start(server, monkeypatch):
    monkeypatch.setattr(download_module, "ATTEMPTS_WITHOUT_PROGRESS", 1)
    server.files[ARCHIVE], good = tar_gz(UNLISTED | {"big": os.urandom(300_000)}), server.files[ARCHIVE]
    server.faults = ["cut"]
    with pytest.raises(AssetError, match="could not download"):
        assets.fetch("toy")
    server.files[ARCHIVE], server.tag = good, '"v2"'
    assert content_of(assets.fetch("toy")) == FILES


def test_pieces_of_two_versions_are_noticed_and_fetched_again(server, monkeypatch):
    # No ETag: nothing tells that the file changed but the bytes themselves.
    monkeypatch.setattr(download_module, "ATTEMPTS_WITHOUT_PROGRESS", 1)
    server.tag, server.faults = None, ["cut"]
    good = server.files[ARCHIVE]
    server.files[ARCHIVE] = os.urandom(len(good))
    with pytest.raises(AssetError):
        assets.fetch("toy")
    server.files[ARCHIVE] = good
    assert content_of(assets.fetch("toy")) == FILES


def test_an_overlong_rest_of_an_earlier_download_is_dropped(server):
    assets.assets_dir().mkdir()
    (assets.assets_dir() / f"{ARCHIVE}.part").write_bytes(bytes(len(server.files[ARCHIVE]) + 10))
    assert content_of(assets.fetch("toy")) == FILES


def test_passing_failures_are_tried_again(server):
    server.faults = [503, 429, 500]
    assert content_of(assets.fetch("toy")) == FILES


def test_lasting_failures_end_in_one_clear_error_and_keep_what_arrived(server):
    server.faults = ["cut"] + [503] * 10
    with pytest.raises(AssetError, match=r"HTTP 503.*without progress.*bytes are kept; run the command again"):
        assets.fetch("toy")
    server.faults = []
    server.log.clear()
    assert content_of(assets.fetch("toy")) == FILES
    assert server.log == [f"bytes={len(server.files[ARCHIVE]) // 2}-"]


def test_a_refusal_is_not_tried_again(server):
    server.faults = [403]
    with pytest.raises(AssetError, match="403"):
        assets.fetch("toy")
    server.files.clear()
    with pytest.raises(AssetError, match="404"):
        assets.fetch("toy")
    assert len(server.log) == 2


def test_nobody_listening_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("VLAGYM_ASSETS_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(AssetError, match=r"could not download.*refused"):
        assets.fetch("toy")


def test_an_archive_that_is_damaged_at_its_source_is_fetched_once_and_removed(server):
    server.files[ARCHIVE] = server.files[ARCHIVE][:-20]
    with pytest.raises(AssetError, match="corrupt or truncated"):
        assets.fetch("toy")
    assert len(server.log) == 1 and left_in(assets.assets_dir()) == []


def test_stand_ins_come_over_http_too(server, monkeypatch):
    monkeypatch.setenv("VLAGYM_ASSETS_STAND_INS", "allow")
    server.files[ARCHIVE] = tar_gz(without_large())
    with pytest.raises(AssetError, match="the mirror has no stand-ins"):
        assets.fetch("toy")
    server.files[STAND_INS_ARCHIVE] = tar_gz(STAND_IN)
    assert assets.fetch("toy").stand_in_files == tuple(STAND_IN)


def test_offline_never_touches_the_network_but_a_folder_will_do(server, monkeypatch, tmp_path):
    monkeypatch.setenv("VLAGYM_OFFLINE", "1")
    for mirror in (server.url, ""):
        monkeypatch.setenv("VLAGYM_ASSETS_MIRROR", mirror)
        monkeypatch.setenv("VLAGYM_ASSETS_SOURCE", "auto")
        with pytest.raises(AssetError, match=r"VLAGYM_OFFLINE=1 forbids the network.*VLAGYM_ASSETS_MIRROR=FOLDER"):
            assets.fetch("toy")
    assert server.log == []
    (tmp_path / ARCHIVE).write_bytes(tar_gz(FILES))
    monkeypatch.setenv("VLAGYM_ASSETS_MIRROR", str(tmp_path))
    assert content_of(assets.fetch("toy")) == FILES


FETCH_IN_ANOTHER_PROCESS = """
import sys, pathlib
from vlagym.envs.assets import fetch, manifest
manifest.MANIFESTS_DIR = pathlib.Path(sys.argv[1])
print(fetch("toy", force=True).path)
"""


def test_two_processes_at_once_do_not_disturb_each_other(mirror, toy_set):
    command = [sys.executable, "-c", FETCH_IN_ANOTHER_PROCESS, str(toy_set)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    assert content_of(assets.verify("toy")) == FILES
    assert len(left_in(assets.assets_dir())) == 2


def test_a_fetch_that_was_killed_leaves_nothing_that_counts(mirror, toy_set, monkeypatch):
    before = assets.fetch("toy")
    kill = FETCH_IN_ANOTHER_PROCESS.replace(
        "print",
        "import os, signal; from vlagym.envs.assets import store\n"
        "store._write_marker = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)\nprint",
    )
    assert subprocess.run([sys.executable, "-c", kill, str(toy_set)], check=False).returncode == -9
    assert assets.verify("toy") == before
    assets.fetch("toy", force=True)
    assert len(left_in(assets.assets_dir())) == 2


# --- command line ----------------------------------------------------------------------------------------------------------------


def test_the_command_line_lists_fetches_and_verifies(mirror, capsys):
    def state() -> str:
        capsys.readouterr()
        assert cli(["list", "--json"]) == 0
        return json.loads(capsys.readouterr().out)[0]["state"]

    assert state() == "not fetched"
    assert cli(["fetch", "toy"]) == 0
    assert state() == "ready"
    assert cli(["verify", "toy"]) == 0
    (assets.locate("toy").path / "meshes/large.dae").write_bytes(b"x")
    assert cli(["verify", "toy"]) == 1
    assert "large.dae" in capsys.readouterr().out
    (assets.locate("toy").path / "scene.xml").unlink()
    assert state() == "unusable"
    with pytest.raises(VlagymError, match="unknown asset set"):
        cli(["fetch", "tou"])


def test_an_interrupted_fetch_ends_without_traceback_and_goes_on_later(server, monkeypatch, capsys):
    def interrupt(*values: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(download_module, "chunks", lambda stream: iter(lambda: stream.read(1000), b""))
    arrived = iter(range(100))
    write = download_module._write
    monkeypatch.setattr(download_module, "_write", lambda *a: write(*a) if next(arrived) < 50 else interrupt())
    assert cli(["fetch", "toy"]) == 130
    assert "run the command again" in capsys.readouterr().out
    assert left_in(assets.assets_dir()) == [f"{ARCHIVE}.part", f"{ARCHIVE}.validator"]
    monkeypatch.setattr(download_module, "_write", write)
    server.log.clear()
    assert content_of(assets.fetch("toy")) == FILES
    assert server.log == ["bytes=50000-"]


# --- manifests -------------------------------------------------------------------------------------------------------------------


def test_the_projects_manifests_are_well_formed_and_small(monkeypatch):
    monkeypatch.setattr(manifest_module, "MANIFESTS_DIR", Path(manifest_module.__file__).parent / "manifests")
    names = ["calvin", "calvin_env", "libero", "libero_para", "libero_plus", "libero_plus_add", "libero_pro", "maniskill2_real2sim"]
    assert manifest_names() == names
    assert not load_manifest("libero").stand_ins
    for name in manifest_names():
        manifest = load_manifest(name)
        assert manifest.name == name
        assert len(manifest.commit) == 40 or name == "libero_pro", "which is a release"
        assert (manifest_module.MANIFESTS_DIR / f"{name}.json").stat().st_size < 700_000
        for path, entry in (manifest.files | manifest.stand_ins).items():
            assert (entry.sha256 is None) != (entry.git_sha1 is None), path
            assert entry.size is not None or entry.git_sha1, path
        assert {entry.stands_in_for for entry in manifest.stand_ins.values()} <= set(manifest.files)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "a\\b", ""])
def test_a_manifest_that_leaves_its_folder_is_refused(toy_set, path):
    content = json.loads((toy_set / "toy.json").read_text())
    content["files"][path] = {"size": 1, "sha256": "0" * 64}
    (toy_set / "bad.json").write_text(json.dumps(content))
    with pytest.raises(AssetError, match="leaves the folder"):
        read_manifest(toy_set / "bad.json")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": {"a": {"color": 1}}, "stand_ins": {}}'])
def test_something_else_than_a_manifest_is_refused(tmp_path, content):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(AssetError, match="not an asset manifest"):
        read_manifest(tmp_path / "bad.json")


@pytest.fixture
def clone(tmp_path: Path) -> tuple[Path, str]:
    """A git repository that holds the toy files and a variant, and its commit."""
    folder = tmp_path / "clone"
    for path, content in (FILES | UNLISTED | {"data/variant.glb": b"variant"}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.autocrlf=false"]
        return subprocess.run(
            ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "files")
    return folder, git("rev-parse", "HEAD")


def run_make_manifest(clone: tuple[Path, str], tmp_path: Path, archive: dict[str, bytes]) -> Path:
    (tmp_path / "a.tar.gz").write_bytes(tar_gz(archive))
    (tmp_path / "s.tar.gz").write_bytes(tar_gz(STAND_IN))
    output = tmp_path / "made.json"
    arguments = f"--repository someone/Toy --commit {clone[1]} --root data --clone {clone[0]} --archive {tmp_path / 'a.tar.gz'}"
    more = f"--stand-ins {tmp_path / 's.tar.gz'} --optional data/*.glb"
    assert make_manifest.main([str(output), *arguments.split(), *more.split()]) == 0
    return output


def test_a_manifest_made_from_archive_and_clone_knows_every_file(clone, tmp_path):
    made = read_manifest(run_make_manifest(clone, tmp_path, without_large()))
    assert set(made.files) == {*FILES, "data/variant.glb"} and made.required == set(FILES)
    for path, content in FILES.items():
        assert made.files[path].mismatch(digest(content)) is None
        assert (made.files[path].sha256 is None) == (path == LARGE)
    assert made.stand_in_for(LARGE) == made.stand_ins["data/meshes/large.glb"]


def test_an_archive_that_is_not_the_commits_makes_no_manifest(clone, tmp_path):
    with pytest.raises(AssetError, match="LICENSE is not what commit"):
        run_make_manifest(clone, tmp_path, FILES | {"LICENSE": b"changed"})


# --- the real thing --------------------------------------------------------------------------------------------------------------


@needs_mirror
@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("calvin_env", "data/calvin_table_D/urdf"),
        ("calvin", "calvin_models/conf"),
        ("maniskill2_real2sim", "data/hab2_bench_assets/stages"),
    ],
)
def test_the_real_archives_agree_with_the_manifests(monkeypatch, name, entry):
    monkeypatch.setattr(manifest_module, "MANIFESTS_DIR", Path(manifest_module.__file__).parent / "manifests")
    monkeypatch.setenv("VLAGYM_ASSETS_MIRROR", REAL_MIRROR)
    monkeypatch.setenv("VLAGYM_ASSETS_STAND_INS", "allow")
    folder = assets.fetch(name)
    assert (folder.path / entry).is_dir()
    assert assets.verify(name) == folder


def test_libero_as_fetched_on_this_machine_agrees_with_the_manifest(monkeypatch):
    monkeypatch.setattr(manifest_module, "MANIFESTS_DIR", Path(manifest_module.__file__).parent / "manifests")
    monkeypatch.setenv("VLAGYM_ASSETS_DIR", REAL_DIR)
    try:
        folder = assets.locate("libero")
    except assets.NotFetchedError as error:
        pytest.skip(str(error))  # this machine has not fetched it; CI has, and denies skips
    assert assets.verify("libero") == folder and not folder.stand_ins
    assert (folder.path / "stable_hope_objects").is_dir()
