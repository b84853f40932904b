"""Which files an asset set consists of and how each is recognised; one JSON file per set in the folder ``manifests``.

A set is a choice of files from a public repository at a pinned commit. Most files carry their SHA-256. Those whose bytes were not
at hand when the manifest was made carry the object id that the repository's own tree gives them (git's SHA-1 over a header and the
bytes), so they can be checked all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Protocol

from msgspec import Meta, Struct

from ..._registry import unknown_name
from ...edges.files import FileKind
from ...errors import AssetError

MANIFESTS_DIR = Path(__file__).parent / "manifests"
CHUNK_BYTES = 1 << 20
# A file whose size no manifest knows (its bytes were not at hand) may not be larger than this.
MAX_UNKNOWN_SIZE = 256 << 20


@dataclass(frozen=True)
class FileEntry:
    """One file as the manifest knows it.

    Attributes:
        path: Relative to the repository's root, with forward slashes.
        size: In bytes; None where only git's object id is known.
        sha256: Of the bytes; None where only git's object id is known.
        git_sha1: Git's object id, given where `sha256` is not.
        optional: The set is usable without it (it serves variants that not every archive carries).
        stands_in_for: Path of the file that this one replaces; None for a real file.
    """

    path: str
    size: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None
    optional: bool = False
    stands_in_for: str | None = None

    @property
    def max_size(self) -> int:
        """Bytes the file may have."""
        return MAX_UNKNOWN_SIZE if self.size is None else self.size

    def mismatch(self, digest: Digest) -> str | None:
        """How the bytes behind `digest` differ from this entry, or None if they are the file."""
        if self.size is not None and digest.size != self.size:
            return f"{digest.size} bytes instead of {self.size}"
        expected = self.sha256 or self.git_sha1
        found = digest.sha256 if self.sha256 else digest.git_sha1
        kind = "SHA-256" if self.sha256 else "git object id"
        return None if found == expected else f"{kind} {found[:16]}... instead of {str(expected)[:16]}..."


class Digest:
    """Both hashes of a stream of known length, updated chunk by chunk."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._sha256 = hashlib.sha256()
        # Git's choice of hash, used to recognise files and not to keep secrets.
        self._git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

    def update(self, chunk: bytes) -> None:
        """Take in the next bytes."""
        self._sha256.update(chunk)
        self._git.update(chunk)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes, hexadecimal."""
        return self._sha256.hexdigest()

    @property
    def git_sha1(self) -> str:
        """Object id that git gives these bytes, hexadecimal."""
        return self._git.hexdigest()

    @classmethod
    def of_file(cls, path: Path) -> Digest:
        """Hash a whole file."""
        digest = cls(path.stat().st_size)
        with path.open("rb") as stream:
            for chunk in chunks(stream):
                digest.update(chunk)
        return digest


class Readable(Protocol):
    """Anything that bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


def chunks(stream: Readable) -> Iterator[bytes]:
    """The rest of a stream in pieces of at most `CHUNK_BYTES`."""
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


class _Entry(Struct):
    size: Annotated[int, Meta(ge=0, lt=2**40)] | None = None
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")] | None = None
    git_sha1: Annotated[str, Meta(pattern=r"\A[0-9a-f]{40}\Z")] | None = None
    optional: bool = False
    stands_in_for: str | None = None


class _Manifest(Struct):
    name: Annotated[str, Meta(pattern=r"\A[\w.\-]{1,100}\Z")]
    repository: Annotated[str, Meta(pattern=r"\A[\w.\-]+/[\w.\-]+\Z")]
    commit: Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{40}|\d+(?:\.\d+)+)\Z")]  # a commit, or a release's version
    root: str
    files: dict[str, _Entry]
    stand_ins: dict[str, _Entry]


MANIFEST_FILE = FileKind("an asset manifest", AssetError, "Reinstall vlagym.")


@dataclass(frozen=True)
class Manifest:
    """An asset set.

    Attributes:
        name: What a user calls it, e.g. ``libero``.
        repository: ``OWNER/REPO`` on GitHub, or ``pypi/PACKAGE``.
        commit: Full commit id, or the package's version.
        root: Folder within the repository that the benchmark is pointed at; ``.`` for the whole.
        files: The files of the set by path.
        stand_ins: Replacements by path, used only where the real file is missing and the user allows it.
        sha256: Of the manifest itself, so that a folder knows which manifest it was made for.
    """

    name: str
    repository: str
    commit: str
    root: str
    files: Mapping[str, FileEntry]
    stand_ins: Mapping[str, FileEntry]
    sha256: str

    @property
    def archive_name(self) -> str:
        """File name of the archive in a mirror."""
        return f"{self.repository.split('/')[1]}-{self.commit}.tar.gz"

    @property
    def stand_ins_archive_name(self) -> str:
        """File name of the archive of stand-ins in a mirror."""
        return f"{self.repository.split('/')[1]}-{self.commit}.stand_ins.tar.gz"

    @property
    def on_github(self) -> bool:
        """Whether GitHub has the archive; ``pypi/PACKAGE`` is published as wheels only."""
        return not self.repository.startswith("pypi/")

    @property
    def public_url(self) -> str:
        """Where the archive is published."""
        if not self.on_github:
            return f"https://pypi.org/project/{self.repository.removeprefix('pypi/')}/{self.commit}"
        return f"https://github.com/{self.repository}/archive/{self.commit}.tar.gz"

    @property
    def folder_prefix(self) -> str:
        """First part of every name the set uses in the assets folder."""
        return f"{self.name}-{self.commit[:12]}"

    @cached_property
    def required(self) -> frozenset[str]:
        """Paths without which the set is incomplete."""
        return frozenset(path for path, entry in self.files.items() if not entry.optional)

    def stand_in_for(self, path: str) -> FileEntry | None:
        """The replacement of a file, if there is one."""
        return next((entry for entry in self.stand_ins.values() if entry.stands_in_for == path), None)


def manifest_names() -> list[str]:
    """Names of all asset sets."""
    return sorted(file.stem for file in MANIFESTS_DIR.glob("*.json"))


@cache
def load_manifest(name: str) -> Manifest:
    """Read the manifest of an asset set.

    Raises:
        ConfigError: No such set.
    """
    if name not in manifest_names():
        raise unknown_name("asset set", name, manifest_names())
    return read_manifest(MANIFESTS_DIR / f"{name}.json")


def read_manifest(file: Path) -> Manifest:
    """Read a manifest file.

    Raises:
        AssetError: It is not a manifest, or names a path that leaves the set's folder.
    """
    content = MANIFEST_FILE.object(file, _Manifest)
    files, stand_ins = (
        {path: FileEntry(path, **_known(entry)) for path, entry in content[part].items()} for part in ("files", "stand_ins")
    )
    head = {key: content[key] for key in ("name", "repository", "commit", "root")}
    for path in [head["root"], *files, *stand_ins]:
        if not is_safe_path(path):
            raise AssetError(f"{file} names {path!r}, which leaves the folder; reinstall vlagym.")
    sha256 = hashlib.sha256(MANIFEST_FILE.read(file)).hexdigest()
    return Manifest(**head, files=files, stand_ins=stand_ins, sha256=sha256)


def _known(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name in _Entry.__struct_fields__}


def is_safe_path(path: str) -> bool:
    """Whether a path with forward slashes stays within the folder it is relative to."""
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts and "\\" not in path and "\0" not in path


def entry_to_json(entry: FileEntry) -> dict[str, Any]:
    """The fields of an entry that are set, without its path."""
    values = {name: getattr(entry, name) for name in ("size", "sha256", "git_sha1", "optional", "stands_in_for")}
    return {name: value for name, value in values.items() if value is not None and value is not False}
