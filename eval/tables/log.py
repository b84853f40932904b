"""The files that results are appended to, one line per episode. What a line says is on the disk before anyone hears of it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..._durable import put_in_place
from ...episode import EpisodeResult
from ...errors import RunError, StorageError

_BLOCK_BYTES = 2**16
_PATIENCE_S = 10.0  # far longer than it takes to make a folder
_POLL_S = 0.05


class EpisodeLog:
    """A file of episodes that this process alone appends to, from opening to closing.

    The file itself is what is locked, so lock and lines belong together, and several processes may each append to a file of their
    own in one folder. A line that counts no more is followed by one that does, until the file's place is taken, in one step, by one
    with the lines that count.

    Args:
        path: The file; an empty one is made if there is none.
        beside: Of a run that several processes share, each with a file of its own: its episodes.jsonl, which none of them writes
            to and all of them hold, so that nobody takes the run for his own.

    Raises:
        RunError: Another process has it open, or the run to itself.
        StorageError: It cannot be written to.
    """

    def __init__(self, path: Path, beside: Path | None = None) -> None:
        self.path = path
        self._held = None if beside is None else _held_by_several(beside)
        try:
            self._file = _locked(path, fcntl.LOCK_EX)
        except BlockingIOError as error:
            self._release()
            what = path.parent if beside is None else f"this shard of {path.parent}"
            raise RunError(f"another process is running {what}; wait for it or stop it first.") from error
        except StorageError:
            self._release()
            raise
        self._size = os.fstat(self._file).st_size

    def __enter__(self) -> EpisodeLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def repair(self) -> None:
        """Cut off a last line that a crash left unfinished, and remove a file that did not come to take this one's place.

        Raises:
            StorageError: The file cannot be written to.
        """
        end = self._end_of_last_line()
        try:
            self._part.unlink(missing_ok=True)
            if end == self._size:
                return
            os.ftruncate(self._file, end)
            os.fsync(self._file)
        except OSError as error:
            raise self._cannot_be_written(error) from error
        self._size = end

    def append(self, result: EpisodeResult) -> None:
        """Add a line; it is on the disk when this returns.

        Raises:
            StorageError: As `extend`.
        """
        self.extend([result])

    def extend(self, results: Iterable[EpisodeResult]) -> None:
        """Add lines; they are on the disk when this returns.

        Raises:
            StorageError: They could not be written, and nothing of them is left; or the file is no longer what was opened.
        """
        self._check_untouched()
        lines = memoryview(b"".join(json.dumps(result.to_json()).encode() + b"\n" for result in results))
        length = len(lines)
        try:
            while lines:
                lines = lines[os.write(self._file, lines) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise self._cannot_be_written(error) from error
        self._size += length

    def keep(self, lines: Iterable[bytes]) -> None:
        """Let a file with these lines alone take the place of this one, at once; nobody else can open either in between.

        Args:
            lines: Without their newlines.

        Raises:
            StorageError: It cannot be written, or the file is no longer what was opened; nothing has changed.
        """
        self._check_untouched()
        content = b"".join(line + b"\n" for line in lines)
        try:
            self._part.unlink(missing_ok=True)
            self._part.write_bytes(content)
            successor = _locked(self._part, fcntl.LOCK_EX)
            try:
                put_in_place(self._part, self.path)
            except OSError:
                os.close(successor)
                raise
        except OSError as error:
            with suppress(OSError):  # the first error is the one that says what to mend
                self._part.unlink(missing_ok=True)
            raise self._cannot_be_written(error) from error
        os.close(self._file)
        self._file, self._size = successor, len(content)

    def close(self) -> None:
        """Let others open it."""
        os.close(self._file)
        self._release()

    def _release(self) -> None:
        if self._held is not None:
            os.close(self._held)

    def _check_untouched(self) -> None:
        """Notice that lines would go where nobody finds them."""
        if not _is_at(self.path, self._file):
            raise StorageError(f"{self.path} was deleted, moved or replaced while the run went on. {self._remedy}")
        if os.fstat(self._file).st_size != self._size:
            raise StorageError(f"{self.path} was changed by something else while the run went on. {self._remedy}")

    def _end_of_last_line(self) -> int:
        end = self._size
        while end:
            start = max(0, end - _BLOCK_BYTES)
            newline = os.pread(self._file, end - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
        return 0

    def _cannot_be_written(self, error: OSError) -> StorageError:
        return StorageError(f"{self.path} cannot be written to: {error.strerror}. See to the disk. {self._remedy}")

    @property
    def _part(self) -> Path:
        return self.path.with_name(f".{self.path.name}.part")

    @property
    def _remedy(self) -> str:
        return f"To go on: vla-eval resume={self.path.parent}"


def is_open(path: Path) -> bool:
    """Whether a process has a file of episodes open.

    Raises:
        StorageError: It cannot be opened.
    """
    try:
        os.close(_locked(path, fcntl.LOCK_SH))
    except BlockingIOError:
        return True
    return False


def _held_by_several(path: Path) -> int:
    """The file, open and held together with others; waits while somebody makes the folder."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return _locked(path, fcntl.LOCK_SH)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise RunError(
                    f"another process has {path.parent} to itself; wait for it or stop it before a shard is run."
                ) from error
        time.sleep(_POLL_S)


def _locked(path: Path, kind: int) -> int:
    """The file, open and locked.

    Raises:
        BlockingIOError: Another process has it locked.
        StorageError: It cannot be written to, or its file system has no locks.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError as error:
        raise StorageError(f"{path} cannot be written to: {error.strerror}.") from error
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise
    except OSError as error:
        os.close(file)
        raise StorageError(f"{path} cannot be locked: {error.strerror}. Keep runs on a file system that has locks.") from error
    if not _is_at(path, file):  # another one has taken its place between opening and locking
        os.close(file)
        return _locked(path, kind)
    return file


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
