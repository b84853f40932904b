"""A folder that is there whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import RunError


@contextmanager
def staged(output: Path, what: str) -> Iterator[Path]:
    """A folder to write to, made beside the output, which it replaces once all is written; until then an earlier one stays.

    Args:
        output: Where it is to be.
        what: What it is called in messages.

    Raises:
        RunError: Something could not be written.
    """
    staging = output.with_name(f".{output.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        yield staging
        if output.exists():
            shutil.rmtree(output)
        staging.replace(output)
    except OSError as error:
        raise RunError(f"the {what} {output} could not be written: {error}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
