"""The file that results are appended to, one line per episode. What a line says is on the disk before anyone hears of it."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from ...episode import EpisodeResult
from ...errors import RunError, StorageError

_BLOCK_BYTES = 2**16


class EpisodeLog:
    """An episodes.jsonl that this process alone appends to, from opening to closing.

    The file itself is what is locked: it is never replaced nor rewritten, so lock and lines belong together, and several processes
    may each append to a file of their own in one folder. A line that counts no more is followed by one that does.

    Args:
        path: The file; an empty one is made if there is none.

    Raises:
        RunError: Another process has it open.
        StorageError: It cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise StorageError(f"{path} cannot be written to: {error.strerror}.") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise RunError(f"another process is running {path.parent}; wait for it or stop it first.") from error
        except OSError as error:
            os.close(self._file)
            raise StorageError(f"{path} cannot be locked: {error.strerror}. Keep runs on a file system that has locks.") from error
        self._size = os.fstat(self._file).st_size

    def __enter__(self) -> EpisodeLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def repair(self) -> None:
        """Cut off a last line that a crash left unfinished.

        Raises:
            StorageError: The file cannot be written to.
        """
        end = self._end_of_last_line()
        if end == self._size:
            return
        try:
            os.ftruncate(self._file, end)
            os.fsync(self._file)
        except OSError as error:
            raise self._cannot_be_written(error) from error
        self._size = end

    def append(self, result: EpisodeResult) -> None:
        """Add a line; it is on the disk when this returns.

        Raises:
            StorageError: It could not be written, and nothing of it is left; or the file is no longer what was opened.
        """
        self._check_untouched()
        line = memoryview(json.dumps(result.to_json()).encode() + b"\n")
        length = len(line)
        try:
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise self._cannot_be_written(error) from error
        self._size += length

    def close(self) -> None:
        """Let others open it."""
        os.close(self._file)

    def _check_untouched(self) -> None:
        """Notice that lines would go where nobody finds them."""
        ours = os.fstat(self._file)
        try:
            there = self.path.stat()
        except OSError:
            there = None
        if there is None or not os.path.samestat(ours, there):
            raise StorageError(f"{self.path} was deleted, moved or replaced while the run went on. {self._remedy}")
        if ours.st_size != self._size:
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
    def _remedy(self) -> str:
        return f"To go on: vla-eval resume={self.path.parent}"
