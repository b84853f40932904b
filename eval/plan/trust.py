"""What a run's own settings may ask for when it is resumed: a folder may come from anyone, and its config.yaml with it."""

from __future__ import annotations

from collections.abc import Sequence

from ...edges.secrets import MASK, holds_mask
from ...edges.settings import declared
from ...errors import RunError
from ...policies.registry import POLICIES
from .config import RunConfig


def check_trusted(config: RunConfig, allowed: Sequence[str]) -> None:
    """Refuse settings that name code nobody typed, and those that were masked when they were written.

    Args:
        config: As a file has it.
        allowed: Code that the user allows by name.

    Raises:
        RunError: Says how to go on.
    """
    for leg in config.legs:
        settings = declared(POLICIES.get(leg.policy["name"]))
        for name, value in leg.policy.items():
            is_code = name in settings and settings[name].code and isinstance(value, str) and ":" in value
            if is_code and value not in allowed:
                raise RunError(
                    f"the run's config.yaml has policy.{name}={value}, which would import and call code that the file names. "
                    f"If you trust it, say so: allow_code=[{value}]"
                )
        masked = [f"{part}.{name}" for part in ("suite", "policy") for name, v in getattr(leg, part).items() if holds_mask(v)]
        if masked:
            raise RunError(
                f"{masked[0]} was masked ({MASK}) when the run's settings were written, because it looked like a secret, so the "
                "run cannot go on with it. Start a new run; secrets belong in environment variables."
            )
