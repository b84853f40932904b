"""JSON files of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...edges.files import FileKind
from ...errors import PolicyError

CHECKPOINT_JSON = FileKind("a JSON file of a checkpoint", PolicyError, "Fetch the checkpoint again.")


def read_json(file: Path, schema: type[Any] = dict) -> dict[str, Any]:
    """The object in a JSON file, the keys that a schema names checked against it.

    Raises:
        PolicyError: There is no such file, or it is not what the schema says; names the key.
    """
    if not file.exists():
        raise PolicyError(f"{file.name} is missing in {file.parent}; a complete checkpoint has it.")
    return CHECKPOINT_JSON.object(file, schema)
