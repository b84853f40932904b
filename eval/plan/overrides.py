"""Overrides of the command line as they were typed: a path or a name is taken as it stands, whatever characters it has.

Hydra's grammar gives ``= # ( , ' ~`` and most letters outside ASCII a meaning of their own in a value. Here a value is what Hydra
makes of it only where it is a number, true, false, null, or a list or mapping that Hydra can read; anything else is a string.
"""

from __future__ import annotations

import os
import re

# Settings that hold a path or a name: always strings, also where they look like a number. A leading ~ is the home folder.
PATHS = (
    "run_dir",
    "json",
    "profile",
    "folder",
    "assets.dir",
    "assets.mirror",
    "policy.base",
    "policy.checkpoint",
    "policy.components",
    "policy.environment",
    "policy.instruction_encoder",
    "policy.run",
    "realtime.profile",
    "suite.bddl",
    "suite.instructions",
)
NAMES = ("policy.component_step", "policy.unnorm_key", "policy.platform")

_PLAIN = re.compile(r"[+-]?(\d[\d_]*)?\.?\d*([eE][+-]?\d+)?|[+-]?(inf|nan)|true|false|null", re.IGNORECASE)
_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
_GROUPS = ("suite", "policy", "recipe", "realtime")  # Hydra's own choices of a file


def as_typed(override: str) -> str:
    """An override in Hydra's grammar that means the value as it was typed.

    ``key='value'`` still means the value without its quotes.
    """
    key, separator, value = override.partition("=")
    if not separator or key in _GROUPS:
        return override
    if key in PATHS or key in NAMES:
        return (
            override if value in ("null", "") else f"{key}={_quoted(_path(unquoted(value)) if key in PATHS else unquoted(value))}"
        )
    if _PLAIN.fullmatch(value) or _QUOTED.fullmatch(value) or _is_read_by_hydra(override):
        return override
    if value.startswith("[") and value.endswith("]"):
        return f"{key}=[{','.join(map(_entry, value[1:-1].split(',')))}]"
    return f"{key}={_quoted(value)}"


def _entry(text: str) -> str:
    """An entry of a list that Hydra cannot read as a whole."""
    text = text.strip()
    return text if _PLAIN.fullmatch(text) or _QUOTED.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    """In quotes, so that Hydra and its interpolation change nothing."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text.replace("${", "\\${"))
    return f"'{escaped}'"


def unquoted(text: str) -> str:
    """A value without the quotes around it."""
    return text[1:-1] if _QUOTED.fullmatch(text) else text


def _path(text: str) -> str:
    return os.path.expanduser(text) if text.startswith("~") else text  # noqa: PTH111 (a checkpoint may be a name, not a path)


def _is_read_by_hydra(override: str) -> bool:
    """Whether Hydra takes it for a single value; a list without brackets would be several runs to it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
        return not parsed.is_sweep_override() and not isinstance(parsed.value(), str | type(None))
    except HydraException:
        return False
