"""Where a checkpoint is: a local folder, or a repository on the Hugging Face hub at a pinned revision. No code is fetched."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ..packages import require
from .layouts import near_folders

# What is fetched: settings, tokenizer and weights, never code.
_WANTED = ["*.json", "*.safetensors", "*_checkpoint.pt"]
_HASHED = (".json", ".safetensors", ".pt")
_BLOCK_BYTES = 8 * 1024**2
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine.

    Attributes:
        name: As the setting has it.
        folder: Where its files are.
        commit: Of the hub repository; None for a local folder.
    """

    name: str
    folder: Path
    commit: str | None

    def sha256(self) -> str:
        """Hash of the names and contents of all files that a policy may read."""
        return folder_sha256(self.folder)


def folder_sha256(folder: Path, pattern: str = "*") -> str:
    """Hash of the names and contents of those files in a folder that a policy may read."""
    return files_sha256(file for file in sorted(folder.glob(pattern)) if file.suffix in _HASHED)


def files_sha256(files: Iterable[Path]) -> str:
    """Hash of the names and contents of files, in their order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{file_sha256(file)}\n".encode())
    return digest.hexdigest()


def find_checkpoint(name: str, extra: str, wanted: Sequence[str] | None = None) -> Checkpoint:
    """Find a checkpoint, downloading it if it is on the hub and not here yet.

    Downloads show their progress. With ``HF_HUB_OFFLINE`` or ``VLAGYM_OFFLINE`` set, only what is in the hub's cache is used.

    Args:
        name: A folder, or ``OWNER/NAME@REVISION`` on the hub; the revision is a commit, tag or branch, ``main`` if left out.
        extra: The extra of vlagym that brings huggingface_hub.
        wanted: Patterns of what is downloaded, e.g. ``configs/*.json``; None for all at the top that a policy may read.

    Raises:
        ConfigError: There is no such folder, repository or revision, or it cannot be reached.
        DependencyError: huggingface_hub is not installed.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Checkpoint(name, folder, None)
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name)
    if not match:
        raise ConfigError(
            f"policy.checkpoint={name}: there is no such folder, and a name on the hub has the form OWNER/NAME."
            f"{near_folders(folder)}"
        )
    return _fetch(name, match[1], match[2], extra, wanted)


def _fetch(name: str, repository: str, revision: str | None, extra: str, wanted: Sequence[str] | None) -> Checkpoint:
    require(("huggingface_hub",), extra)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    settings: dict[str, Any] = {
        "revision": revision,
        "allow_patterns": _WANTED if wanted is None else list(wanted),
        "ignore_patterns": ["*/*"] if wanted is None else None,  # training leaves adapters in folders of their own
        "local_files_only": os.environ.get("VLAGYM_OFFLINE", "") not in ("", "0"),
    }
    try:
        folder = Path(snapshot_download(repository, **settings))
        if wanted is None and not any(folder.glob("*.safetensors")):  # what a fine-tune left that nobody merged
            snapshot_download(repository, **{**settings, "allow_patterns": ["lora_adapter/*"], "ignore_patterns": None})
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(
            f"checkpoint {name} cannot be had from the Hugging Face hub ({_in_a_line(error)}). Check the name and the "
            f"network, or download it elsewhere and give the folder as policy.checkpoint.{_on_this_machine(repository)}"
        ) from error
    return Checkpoint(name, folder, folder.name if _COMMIT.fullmatch(folder.name) else None)


def _on_this_machine(repository: str) -> str:
    """What to say where a name could also have been meant as a folder: its first part is one."""
    owner = Path(repository).parent
    return (
        f" There is a folder {owner} here, but no {Path(repository).name} in it.{near_folders(Path(repository))}"
        if owner.is_dir()
        else ""
    )


def _in_a_line(error: Exception) -> str:
    """What the hub's library says, without its advice: the kind of error and the sentence after it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's contents."""
    # The hub's cache names large files after their SHA-256, so 15 GB need not be read a second time.
    blob = file.resolve()
    if file.is_symlink() and blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name):
        return blob.name
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
