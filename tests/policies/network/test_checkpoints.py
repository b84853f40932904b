"""Where a checkpoint comes from: a folder, or the hub's cache when there is no network."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from vlagym.errors import ConfigError
from vlagym.policies.network.checkpoints import find_checkpoint

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    found = find_checkpoint(str(tmp_path), "openvla")
    assert (found.folder, found.commit) == (tmp_path, None)


def test_the_hash_follows_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("of no effect")
    found = find_checkpoint(str(tmp_path), "openvla")
    before = found.sha256()
    (tmp_path / "notes.txt").write_text("still of no effect")
    assert found.sha256() == before
    (tmp_path / "action_head--1_checkpoint.pt").write_bytes(b"weights")
    assert found.sha256() != before


def test_large_files_of_the_hubs_cache_are_not_read_again(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / hashlib.sha256(b"weights").hexdigest()
    blob.parent.mkdir()
    blob.write_bytes(b"")  # the name says what it holds
    cached, plain = tmp_path / "cached", tmp_path / "plain"
    cached.mkdir()
    plain.mkdir()
    (cached / "model.safetensors").symlink_to(blob)
    (plain / "model.safetensors").write_bytes(b"weights")
    assert find_checkpoint(str(cached), "openvla").sha256() == find_checkpoint(str(plain), "openvla").sha256()


@pytest.mark.parametrize("name", ["no/such/folder", "nothing", "a b/c"])
def test_what_is_neither_folder_nor_hub_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no such folder, and a name on the hub has the form OWNER/NAME"):
        find_checkpoint(name, "openvla")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds one snapshot, and no network."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="the hub needs the extra openvla")
    snapshot = tmp_path / "models--owner--name" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("VLAGYM_OFFLINE", "1")
    return snapshot


def test_offline_a_pinned_snapshot_comes_from_the_cache(hub_cache: Path) -> None:
    found = find_checkpoint(f"owner/name@{COMMIT}", "openvla")
    assert (found.folder, found.commit, found.name) == (hub_cache, COMMIT, f"owner/name@{COMMIT}")


def test_offline_what_is_not_in_the_cache_says_so(hub_cache: Path) -> None:
    with pytest.raises(ConfigError, match="owner/other@main cannot be had from the Hugging Face hub.*give the folder"):
        find_checkpoint("owner/other@main", "openvla")
