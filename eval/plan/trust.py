"""What a run's own settings may ask for when it is resumed: a folder may come from anyone, and its config.yaml with it."""

from __future__ import annotations

from collections.abc import Sequence

from ...edges.secrets import MASK, holds_mask
from ...edges.settings import declared
from ...errors import RunError
from ...policies.own import SETTING
from ...policies.registry import factory_named, own_code
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
        if (code := own_code(leg.policy)) is not None:
            _check_allowed(SETTING, code, allowed)
        settings = declared(factory_named(leg.policy))
        for name, value in leg.policy.items():
            if name in settings and settings[name].code and isinstance(value, str) and ":" in value:
                _check_allowed(name, value, allowed)
        masked = [f"{part}.{name}" for part in ("suite", "policy") for name, v in getattr(leg, part).items() if holds_mask(v)]
        if masked:
            raise RunError(
                f"{masked[0]} was masked ({MASK}) when the run's settings were written, because it looked like a secret, so the "
                "run cannot go on with it. Start a new run; secrets belong in environment variables."
            )


def _check_allowed(name: str, code: str, allowed: Sequence[str]) -> None:
    if code not in allowed:
        raise RunError(
            f"the run's config.yaml has policy.{name}={code}, which would import and call code that the file names. "
            f"If you trust it, say so: allow_code=[{code}]"
        )
