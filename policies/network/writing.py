"""Writing a converted checkpoint: its folder appears under its name only when all of it is there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import ConfigError


def check_free(out: Path) -> None:
    """Make sure that nothing is in the way of a new folder, before work is spent on what goes into it.

    Raises:
        ConfigError: There is something already.
    """
    if out.exists():
        raise ConfigError(f"{out} exists already; name another folder or remove it.")


@contextmanager
def new_checkpoint(out: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` if nothing goes wrong and is removed else.

    Raises:
        ConfigError: There is something at `out` already.
    """
    check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        whole = Path(folder) / out.name
        whole.mkdir()
        yield whole
        whole.rename(out)
