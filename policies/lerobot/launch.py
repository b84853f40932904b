"""How LeRobot's server (`server`, beside this file) is started from a policy's settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...errors import ConfigError


def command(settings: Mapping[str, Any]) -> list[str]:
    """The words of the command; ``{port}`` is filled in when it is started.

    Raises:
        ConfigError: No checkpoint is named.
    """
    if not settings.get("checkpoint"):
        raise ConfigError("policy=lerobot needs policy.checkpoint=FOLDER, or OWNER/NAME on the hub.")
    words = ["python", "-m", "vlagym.policies.lerobot.server", "--checkpoint", str(settings["checkpoint"]), "--port", "{port}"]
    for name in ("device", "executes", "max_batch"):
        if settings.get(name) is not None:
            words += [f"--{name.replace('_', '-')}", str(settings[name])]
    for name in ("rename", "overrides"):
        if settings.get(name):
            words += [f"--{name}", json.dumps(settings[name])]
    return words
