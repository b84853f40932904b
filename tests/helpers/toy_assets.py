"""A small asset set, `toy`: its files, archives of them, what is left in a folder. Its fixtures: tests/envs/assets/conftest.py."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from vlagym.envs import assets
from vlagym.envs.assets.manifest import Digest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOP = f"Toy-{COMMIT}"
ARCHIVE = f"{TOP}.tar.gz"
STAND_INS_ARCHIVE = f"{TOP}.stand_ins.tar.gz"
FILES = {
    "data/empty.yaml": b"",
    "LICENSE": b"do what you like\n",
    "data/scene.xml": b"<mujoco/>" * 100,
    "data/meshes/bowl.msh": os.urandom(200_000),
    "data/meshes/large.dae": b"the real mesh" * 1000,
}
LARGE = "data/meshes/large.dae"
STAND_IN = {"data/meshes/large.glb": b"a cube"}
UNLISTED = {"README.md": b"not part of the set"}


def tar_gz(files: dict[str, bytes], *members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(f"{TOP}/{path}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for member in members:
            tar.addfile(member)
    return buffer.getvalue()


def digest(content: bytes) -> Digest:
    made = Digest(len(content))
    made.update(content)
    return made


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock")) if folder.exists() else []


def content_of(folder: assets.AssetFolder) -> dict[str, bytes]:
    base = folder.path.parent
    return {path.relative_to(base).as_posix(): path.read_bytes() for path in base.rglob("*") if path.is_file()}


def without_large() -> dict[str, bytes]:
    return {path: content for path, content in FILES.items() if path != LARGE}
