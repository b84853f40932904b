"""The asset folder on this machine: finds, fetches and verifies asset sets.

A set lives in a folder of its own (``NAME-COMMIT-RANDOM``), made under a temporary name and complete before anything points to
it. A marker beside it (``NAME-COMMIT.json``), replaced atomically, says which folder is the good one, which manifest it was checked
against, and which of its files are stand-ins. Whatever happens while fetching, the marker still points to a whole folder.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from ...edges.files import FileKind
from ...errors import AssetError
from .download import ProgressCallback
from .manifest import Digest, FileEntry, Manifest, load_manifest
from .settings import DIR_VARIABLE, STAND_INS_VARIABLE, assets_dir, stand_ins_allowed
from .sources import fill

# Meshes that SAPIEN keeps beside collision files, and what envs/simpler/first_use.py notes about them.
_WRITTEN_BY_SAPIEN = re.compile(r"\.(non)?convex\.stl$|/\.[^/]+\.(lock|meshes-written)$")


class NotFetchedError(AssetError):
    """An asset set that is not on this machine."""


@dataclass(frozen=True)
class AssetFolder:
    """An asset set that is ready for use.

    Attributes:
        name: Of the set.
        path: Folder that the benchmark is pointed at.
        repository: ``OWNER/REPO`` the files come from.
        commit: Full commit id of that repository.
        stand_ins: Whether any file is a substitute; every output of a run must then say so.
        stand_in_files: The substitutes, by path within the repository.
    """

    name: str
    path: Path
    repository: str
    commit: str
    stand_ins: bool
    stand_in_files: tuple[str, ...]

    @property
    def notice(self) -> str | None:
        """The sentence that every output must carry if stand-ins were used, else None."""
        if not self.stand_ins:
            return None
        return (
            f"{len(self.stand_in_files)} files of the {self.name} assets are stand-ins, so images differ from the benchmark's: "
            "scores of policies that see are not comparable."
        )

    def provenance(self) -> dict[str, Any]:
        """What identifies the data in a run's records; plain JSON values."""
        return {
            "repository": self.repository,
            "commit": self.commit,
            "manifest_sha256": load_manifest(self.name).sha256,
            "stand_ins": self.stand_ins,
            "stand_in_files": list(self.stand_in_files),
        }


def locate(name: str) -> AssetFolder:
    """Find an asset set on this machine; a few milliseconds.

    Every file is looked for and its size compared; `verify` also hashes them.

    Raises:
        NotFetchedError: The set is not there.
        AssetError: It is incomplete, was checked against another manifest, or holds stand-ins that are not allowed.
        ConfigError: No such set.
    """
    manifest = load_manifest(name)
    folder, stand_ins = _read_marker(manifest)
    for entry in _entries_on_disk(manifest, stand_ins):
        path = folder / entry.path
        found = path.stat().st_size if path.is_file() else None
        if found is None and not entry.optional:
            raise AssetError(f"{path} is missing from the {name} assets. {_fetch_command(name)}")
        if found is not None and entry.size is not None and found != entry.size:
            raise AssetError(f"{path} has {found} bytes instead of {entry.size}. {_fetch_command(name)}")
    if stand_ins and not stand_ins_allowed():
        raise AssetError(
            f"{len(stand_ins)} files of the {name} assets in {folder} are stand-ins, which {STAND_INS_VARIABLE} does not allow. "
            f"Fetch the real ones: vla-eval assets fetch {name} (or accept them: {STAND_INS_VARIABLE}=allow)"
        )
    return AssetFolder(name, folder / manifest.root, manifest.repository, manifest.commit, bool(stand_ins), stand_ins)


def fetch(
    name: str,
    *,
    force: bool = False,
    progress: ProgressCallback | None = None,
    tell: Callable[[str], None] | None = None,
) -> AssetFolder:
    """Make sure that an asset set is on this machine, downloading it if it is not.

    Safe to call from several processes at once. A set that is there and usable is left as it is, unless `force`.

    Args:
        name: Of the set.
        force: Fetch it even so.
        progress: Told how far it is.
        tell: Told, in a sentence, when a source fails and another is asked.

    Raises:
        AssetError: It cannot be had, is damaged, or lacks files that may not be stood in for; what was there before is kept.
        ConfigError: No such set, or a setting that makes no sense.
    """
    manifest = load_manifest(name)
    report, say = progress or (lambda what, done, total: None), tell or (lambda sentence: None)
    folder = assets_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / f".{manifest.folder_prefix}.lock", lambda: report(f"waiting for another fetch of {name}", 0, None)):
            if force or not _is_usable(name):
                _install(manifest, folder, report, say)
    except OSError as error:
        raise AssetError(
            f"cannot write the {name} assets to {folder}: {error}. Make room, or choose another folder with {DIR_VARIABLE}."
        ) from error
    return locate(name)


def verify(name: str, *, progress: ProgressCallback | None = None) -> AssetFolder:
    """Hash every file of an asset set and look for files that do not belong to it.

    Raises:
        NotFetchedError: The set is not there.
        AssetError: A file differs from the manifest, is missing, or does not belong.
    """
    manifest = load_manifest(name)
    folder, stand_ins = _read_marker(manifest)
    entries = _entries_on_disk(manifest, stand_ins)
    wrong = []
    for index, entry in enumerate(entries):
        path = folder / entry.path
        if path.is_file():
            mismatch = entry.mismatch(Digest.of_file(path))
            wrong += [f"{entry.path}: {mismatch}"] if mismatch else []
        elif not entry.optional:
            wrong.append(f"{entry.path}: missing")
        if progress:
            progress(f"hashing {name}", index + 1, len(entries))
    known = {entry.path for entry in entries}
    present = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir())
    wrong += [
        f"{path}: does not belong to the set" for path in present if path not in known and not _WRITTEN_BY_SAPIEN.search(path)
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise AssetError(f"the {name} assets in {folder} are damaged: {'; '.join(wrong[:5])}{more}. {_fetch_command(name, True)}")
    return locate(name)


# --- the marker ------------------------------------------------------------------------------------------------------------------


class _Marker(Struct):
    folder: Annotated[str, Meta(min_length=1, max_length=250)]
    manifest_sha256: str
    stand_ins: list[str]


def _marker_file(manifest: Manifest) -> Path:
    return assets_dir() / f"{manifest.folder_prefix}.json"


def _read_marker(manifest: Manifest) -> tuple[Path, tuple[str, ...]]:
    """The folder of the set's files and the stand-ins among them."""
    marker = _marker_file(manifest)
    if not marker.exists():
        raise NotFetchedError(f"the {manifest.name} assets are not in {assets_dir()}. {_fetch_command(manifest.name)}")
    kind = FileKind("the marker of an asset set", AssetError, _fetch_command(manifest.name, True))
    content = kind.object(marker, _Marker)
    folder, made_for, stand_ins = content["folder"], content["manifest_sha256"], tuple(content["stand_ins"])
    readable = folder.startswith(manifest.folder_prefix) and Path(folder).name == folder
    if not readable or made_for != manifest.sha256 or not set(stand_ins) <= set(manifest.stand_ins):
        raise AssetError(f"{marker} was made for another version of the {manifest.name} assets. {_fetch_command(manifest.name)}")
    return assets_dir() / folder, stand_ins


def _write_marker(manifest: Manifest, folder: Path, stand_ins: Sequence[str]) -> None:
    content = {
        "name": manifest.name,
        "repository": manifest.repository,
        "commit": manifest.commit,
        "manifest_sha256": manifest.sha256,
        "folder": folder.name,
        "stand_ins": sorted(stand_ins),
    }
    marker = _marker_file(manifest)
    temporary = marker.with_name(f".{marker.name}.new")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(marker)


def _entries_on_disk(manifest: Manifest, stand_ins: Sequence[str]) -> list[FileEntry]:
    """What the folder should hold: the manifest's files but for those stood in for, and their stand-ins."""
    replacing = [manifest.stand_ins[path] for path in stand_ins]
    replaced = {entry.stands_in_for for entry in replacing}
    return [*(entry for path, entry in manifest.files.items() if path not in replaced), *replacing]


def _is_usable(name: str) -> bool:
    try:
        locate(name)
    except AssetError:
        return False
    return True


# --- fetching --------------------------------------------------------------------------------------------------------------------


@contextmanager
def _lock(file: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock that the system releases when the process ends, however it ends."""
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _install(manifest: Manifest, folder: Path, report: ProgressCallback, tell: Callable[[str], None]) -> None:
    """Fill a new folder, point the marker to it, and remove what it replaces; the caller holds the lock."""
    _remove_all(folder.glob(f".{manifest.folder_prefix}-*.tmp"))
    staging = Path(tempfile.mkdtemp(prefix=f".{manifest.folder_prefix}-", suffix=".tmp", dir=folder))
    try:
        stand_ins = fill(manifest, staging, report, tell)
        staging.chmod(0o755)
        final = folder / (staging.name.removeprefix(".").removesuffix(".tmp"))
        staging.rename(final)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _write_marker(manifest, final, stand_ins)
    _remove_all(path for path in folder.glob(f"{manifest.folder_prefix}-*") if path != final)


def _remove_all(paths: Iterator[Path]) -> None:
    for path in list(paths):
        shutil.rmtree(path, ignore_errors=True)


def _fetch_command(name: str, force: bool = False) -> str:
    return f"Run: vla-eval assets fetch {name}{' --force' if force else ''}"
