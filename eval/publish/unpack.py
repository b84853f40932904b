"""Makes a run's folder from an archive that may come from anyone.

Only what a run consists of is written: its records first, then files that its episodes name, each once, into a folder of its own
that gets its name when all of it has been read and is a run. Links, devices and names that lead elsewhere are refused, and so is
what unpacks to more than `MAX_UNPACKED_BYTES`.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import uuid
import zlib
from pathlib import Path
from typing import IO

from ..._durable import make_folder, put_in_place, sync
from ...envs.assets.archive import MAX_UNPACKED_BYTES, BoundedGzip
from ...envs.assets.manifest import is_safe_path
from ...errors import ConfigError, RunError, StorageError
from ..tables.runs import Run, load_run
from .pack import SUMMARIES, is_run_name

_NEEDED = ("config.yaml", "run.json", "episodes.jsonl")
_RECORDS = (*_NEEDED, *SUMMARIES)
_MAX_NAME_BYTES = 1000
_BLOCK = 1 << 20
_DAMAGED = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, LookupError, OverflowError)


def unpack(archive: Path, output: Path | None = None) -> Run:
    """Unpack an archive that `pack` wrote.

    Args:
        archive: The file.
        output: Folder to make; None for ``results/`` and the name that the run had.

    Raises:
        ConfigError: The folder exists.
        RunError: Not such an archive, or not a whole or harmless one; nothing is left of it.
        StorageError: The folder cannot be written.
    """
    try:
        raw = archive.open("rb")
    except OSError as error:
        raise RunError(f"the archive {archive} cannot be read: {error.strerror}.") from error
    with raw:
        return _unpack(archive, raw, output)


def _unpack(archive: Path, raw: IO[bytes], output: Path | None) -> Run:
    try:
        parent = Path("results") if output is None else output.parent
        make_folder(parent)
        staging = parent / f".vla-eval.{uuid.uuid4().hex}.part"
        staging.mkdir()
    except OSError as error:
        raise StorageError(f"nothing can be unpacked to {output or 'results'}: {error.strerror}.") from error
    try:
        name = _read(archive, raw, staging)
        _loaded(archive, staging)
        folder = output or parent / name
        if os.path.lexists(folder):
            raise ConfigError(f"{folder} exists; choose another --output.")
        put_in_place(staging, folder)
    except OSError as error:
        raise StorageError(f"{archive} cannot be unpacked to {parent}: {error.strerror}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return load_run(folder)


def _read(archive: Path, raw: IO[bytes], into: Path) -> str:
    """Write the archive's files to a folder; returns the run's name."""
    too_large = _fault(archive, f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")
    name, seen, named = "", set[str](), set[str]()
    try:
        with BoundedGzip(raw, too_large) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                top, path = _checked(archive, member)
                if path not in _RECORDS and not named:
                    named = _files_named(archive, seen, into)
                if (name and top != name) or path in seen or (path not in _RECORDS and path not in named):
                    raise _fault(archive, f"{member.name!r} is not a file of the run that it begins with")
                name = top
                seen.add(path)
                content = tar.extractfile(member)
                assert content is not None
                _write(content, into / path)
            while stream.read(_BLOCK):  # the checksum of the whole comes after the tar's own end
                pass
    except _DAMAGED as error:
        raise _fault(archive, f"it is corrupt, cut short or no such archive ({error})") from error
    _check_whole(archive, seen)
    return name


def _checked(archive: Path, member: tarfile.TarInfo) -> tuple[str, str]:
    """The run's name and the file's path in it."""
    top, _, path = member.name.partition("/")
    plain = member.isreg() and not member.issparse()  # a sparse file is larger than what is read of it
    if not plain or len(member.name.encode()) > _MAX_NAME_BYTES or not is_run_name(top) or not is_safe_path(path):
        raise _fault(archive, f"it holds {member.name[:200]!r}, which is no regular file of a run's folder")
    return top, path


def _files_named(archive: Path, seen: set[str], into: Path) -> set[str]:
    """The files that the run's episodes name; its records have been written by now."""
    _check_whole(archive, seen)
    run = _loaded(archive, into)
    paths = {str(result.execution.get(kind)) for result in run.results for kind in ("video", "trajectory")} - {"None"}
    return {path for path in paths if path.count("/") == 1 and path.startswith(("videos/", "trajectories/"))} or {""}


def _loaded(archive: Path, folder: Path) -> Run:
    try:
        return load_run(folder)
    except RunError as error:
        raise _fault(archive, str(error).replace(f"{folder}/", "").rstrip(".")) from error


def _check_whole(archive: Path, seen: set[str]) -> None:
    missing = [name for name in _NEEDED if name not in seen]
    if missing:
        raise _fault(archive, f"it has no {missing[0]} where one was expected")


def _write(content: IO[bytes], file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    with file.open("xb") as out:
        shutil.copyfileobj(content, out)
    sync(file)


def _fault(archive: Path, what: str) -> RunError:
    return RunError(f"{archive} is not a run that `vla-eval pack` wrote: {what}. Get a fresh copy of it.")
