"""Checkpoints from the Hugging Face hub: its own library against a hub on this machine that serves the tiny checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from vlagym.policies.network.checkpoints import find_checkpoint

pytest.importorskip("huggingface_hub", reason="the hub needs the extra openvla")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "owner/tiny"
NEVER_WANTED = ("modeling_prismatic.py", "pytorch_model.bin", "lora_adapter/adapter_model.safetensors")
# What a process of its own is asked to do: huggingface_hub reads the address of the hub when it is imported.
FIND = """
import sys
from vlagym.errors import VlagymError
from vlagym.policies.network.checkpoints import find_checkpoint
try:
    found = find_checkpoint(sys.argv[1], "openvla")
    print(found.folder, found.commit, found.sha256())
except VlagymError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@dataclass
class Hub:
    """A hub with one repository.

    Attributes:
        url: Its address.
        files: Contents by name.
        fetched: Names of the files that were downloaded, in order.
        server: Answers on a thread of its own.
    """

    url: str
    files: dict[str, bytes]
    server: ThreadingHTTPServer
    fetched: list[str] = field(default_factory=list)

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """Of a process whose hub this is, with a cache of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_") and name != "VLAGYM_OFFLINE"}
        return {**kept, "HF_ENDPOINT": self.url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1", **more}


def blob_name(name: str, content: bytes) -> str:
    """What the hub calls a content: large files go by their SHA-256, the others by git's."""
    if name.endswith(".safetensors"):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def entry(name: str, content: bytes) -> dict[str, Any]:
    """A file in the hub's listing of a repository."""
    listed = {"type": "file", "path": name, "size": len(content), "oid": blob_name(name, content)}
    if name.endswith(".safetensors"):
        listed["lfs"] = {"oid": listed["oid"], "size": len(content), "pointerSize": 134}
    return listed


@pytest.fixture
def hub(golden: Path) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.partition("?")[0]
            if path in (f"/api/models/{NAME}/revision/{COMMIT}", f"/api/models/{NAME}/revision/main"):
                siblings = [{"rfilename": name} for name in hub.files]
                self.send(200, json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode(), body, {})
                return
            if path == f"/api/models/{NAME}/tree/{COMMIT}":
                self.send(200, json.dumps([entry(name, content) for name, content in hub.files.items()]).encode(), body, {})
                return
            name = path.removeprefix(f"/{NAME}/resolve/{COMMIT}/")
            if name not in hub.files:
                self.send(404, b"{}", body, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "no such revision"})
                return
            if body:
                hub.fetched.append(name)
            content = hub.files[name]
            self.send(200, content, body, {"X-Repo-Commit": COMMIT, "ETag": f'"{blob_name(name, content)}"'})

        def send(self, status: int, content: bytes, body: bool, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            return None

    files = {file.name: file.read_bytes() for file in (golden / "openvla_tiny" / "checkpoint").iterdir()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}", {**files, **dict.fromkeys(NEVER_WANTED, b"foreign")}, server)
    Thread(target=server.serve_forever, daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()


def find(name: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", FIND, name], env=environment, capture_output=True, text=True, check=False)


def test_a_pinned_checkpoint_is_fetched_once_and_without_foreign_files(hub: Hub, golden: Path, tmp_path: Path) -> None:
    done = find(f"{NAME}@{COMMIT}", hub.environment(tmp_path))
    assert done.returncode == 0, done.stderr
    folder, commit, sha256 = done.stdout.split()
    local = golden / "openvla_tiny" / "checkpoint"
    wanted = {file.name for file in local.iterdir() if file.suffix in (".json", ".safetensors")}
    assert {file.name for file in Path(folder).iterdir()} == set(hub.fetched) == wanted
    assert (commit, sha256) == (COMMIT, find_checkpoint(str(local), "openvla").sha256())

    before = len(hub.fetched)
    assert find(f"{NAME}@{COMMIT}", hub.environment(tmp_path)).stdout == done.stdout
    assert len(hub.fetched) == before
    hub.server.shutdown()
    for offline in ("VLAGYM_OFFLINE", "HF_HUB_OFFLINE"):
        assert find(f"{NAME}@{COMMIT}", hub.environment(tmp_path, **{offline: "1"})).stdout == done.stdout


@pytest.mark.parametrize("name", [f"{NAME}@no-such-tag", "owner/other"])
def test_what_the_hub_does_not_have_is_one_clear_error(hub: Hub, tmp_path: Path, name: str) -> None:
    done = find(name, hub.environment(tmp_path))
    assert done.stderr.startswith(f"ConfigError: checkpoint {name} cannot be had from the Hugging Face hub")
    assert "Check the name and the network" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_policy_runs_from_the_hub(hub: Hub, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="OpenVLA needs the extra openvla")
    pytest.importorskip("simplejpeg", reason="OpenVLA needs the extra openvla")
    towers = "[{embed_dim:48,depth:4,heads:3},{embed_dim:40,depth:3,heads:2}]"
    report = tmp_path / "bench.json"
    settings = ["policy=openvla", f"policy.checkpoint='{NAME}@{COMMIT}'", f"policy.vision_towers={towers}", "policy.device=cpu"]
    command = [sys.executable, "-m", "vlagym.eval.cli", "bench", *settings, "batch_sizes=[1]", "calls=1", f"json={report}"]
    done = subprocess.run(command, env=hub.environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    provenance = json.loads(report.read_text())["provenance"]
    assert (provenance["checkpoint"], provenance["checkpoint_commit"]) == (f"{NAME}@{COMMIT}", COMMIT)


def test_a_file_in_a_folder_of_the_hub_is_fetched_with_its_settings_and_nothing_else(
    hub: Hub, golden: Path, tmp_path: Path
) -> None:
    """RoboVLMs' repository holds five checkpoints of 7 GB each, in one folder, and their settings in another."""
    pytest.importorskip("transformers", reason="RoboVLMs needs the extra robovlms")
    tiny, backbone = golden / "robovlms" / "ckpt", golden / "robovlms" / "kosmos-tiny"
    hub.files.clear()
    hub.files |= {
        "checkpoints/kosmos_ph_bridge-post-train.pt": (tiny / "kosmos_ph_tiny.pt").read_bytes(),
        "checkpoints/kosmos_ph_calvin_abc.pt": b"another",
        "configs/kosmos_ph_post_train_bridge.json": (tiny / "kosmos_ph_tiny.json").read_bytes(),
        "config.json": (backbone / "config.json").read_bytes(),
        "tokenizer.json": (backbone / "tokenizer.json").read_bytes(),
        "modeling_kosmos2.py": b"foreign",
    }
    report = tmp_path / "bench.json"
    checkpoint = f"{NAME}@{COMMIT}:checkpoints/kosmos_ph_bridge-post-train.pt"
    settings = ["policy=robovlms", f"policy.checkpoint='{checkpoint}'", f"policy.backbone={NAME}", "policy.device=cpu"]
    command = [sys.executable, "-m", "vlagym.eval.cli", "bench", *settings, "batch_sizes=[1]", "calls=1", f"json={report}"]
    done = subprocess.run(command, env=hub.environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(hub.fetched) == set(hub.files) - {"checkpoints/kosmos_ph_calvin_abc.pt", "modeling_kosmos2.py"}
    provenance = json.loads(report.read_text())["provenance"]
    assert (provenance["checkpoint"], provenance["checkpoint_commit"], provenance["backbone_commit"]) == (
        checkpoint,
        COMMIT,
        COMMIT,
    )
