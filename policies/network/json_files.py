"""JSON files of checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...errors import PolicyError


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        PolicyError: There is no such file, or it is not JSON with an object at the top.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PolicyError(f"{file.name} is missing in {file.parent}; a complete checkpoint has it.") from error
    except ValueError as error:
        raise PolicyError(f"{file} is not valid JSON ({error}); fetch the checkpoint again.") from error
    if not isinstance(value, dict):
        raise PolicyError(f"{file} must hold a JSON object; got {type(value).__name__}.")
    return value
