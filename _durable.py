"""Files that outlive a crash of the machine: whole, and under their names in their folders, before anyone hears of them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_durably(path: Path, content: str | bytes) -> None:
    """Replace a file so that it is the old or the new one, whole, whenever the process or the machine ends.

    Raises:
        OSError: It cannot be written; the old one is still there.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        put_in_place(part, path)
    except OSError:
        with suppress(OSError):  # the first error is the one that says what to mend
            part.unlink(missing_ok=True)
        raise


def put_in_place(part: Path, final: Path) -> None:
    """Give a finished file, or a folder whose files are durable, its final name in the same folder.

    Raises:
        OSError: The name is taken by something that cannot be replaced, or the disk is full or gone.
    """
    sync(part)
    part.rename(final)
    sync(final.parent)


def make_folder(path: Path) -> None:
    """Make a folder, durably, if it is not there.

    Raises:
        OSError: It cannot be made.
    """
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk.

    Raises:
        OSError: The disk is full or gone.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
