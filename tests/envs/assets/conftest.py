"""Every test here sees one asset set, `toy`, and an empty folder to fetch it into."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_assets import ARCHIVE, COMMIT, FILES, LARGE, STAND_IN, UNLISTED, digest, tar_gz

from vlagym.envs.assets import download as download_module
from vlagym.envs.assets import manifest as manifest_module
from vlagym.envs.assets.manifest import load_manifest


@pytest.fixture(autouse=True)
def toy_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One asset set `toy` whose largest file is known by git's object id alone; returns the folder of manifests."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    files: dict[str, dict[str, object]] = {
        path: {"size": len(content), "sha256": digest(content).sha256} for path, content in FILES.items()
    }
    files[LARGE] = {"git_sha1": digest(FILES[LARGE]).git_sha1}
    files["data/variant.glb"] = {"git_sha1": "0" * 40, "optional": True}
    ((path, content),) = STAND_IN.items()
    stand_ins = {path: {"size": len(content), "sha256": digest(content).sha256, "stands_in_for": LARGE}}
    head = {"name": "toy", "repository": "someone/Toy", "commit": COMMIT, "root": "data"}
    (folder / "toy.json").write_text(json.dumps({**head, "files": files, "stand_ins": stand_ins}))
    monkeypatch.setattr(manifest_module, "MANIFESTS_DIR", folder)
    load_manifest.cache_clear()
    for variable in ("VLAGYM_ASSETS_MIRROR", "VLAGYM_ASSETS_STAND_INS", "VLAGYM_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("VLAGYM_ASSETS_SOURCE", "mirror")
    monkeypatch.setenv("VLAGYM_ASSETS_DIR", str(tmp_path / "assets"))
    monkeypatch.setattr(download_module, "FIRST_PAUSE_S", 0.01)
    yield folder
    load_manifest.cache_clear()


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / ARCHIVE).write_bytes(tar_gz(FILES | UNLISTED))
    monkeypatch.setenv("VLAGYM_ASSETS_MIRROR", str(folder))
    return folder
