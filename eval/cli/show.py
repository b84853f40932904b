"""``vla-eval show``: the settings that a run would have, as YAML, and what a suite and a policy take; nothing is run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...conf import settings_file
from ..plan.config import RunConfig, compose_settings, load_config, split_suites

_HELP = """\
vla-eval show [suite=... policy=... and any other setting of a run]    (or: vla-eval ... --cfg job)

Prints what a run with these settings would be: every setting with its value, the recipe of each suite and policy included.
"""
_LINE = re.compile(r"^(?P<key>[a-z_]+): .*?#\s*(?P<said>.*)$")


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval show ARGV``; returns the exit code.

    Raises:
        ConfigError: What is wrong with the settings.
    """
    if any(argument in ("-h", "--help") for argument in argv):
        print(_HELP)
        return 0
    print(as_yaml(load_config(argv)), end="")
    return 0


def as_yaml(config: RunConfig) -> str:
    """The settings of a run, secrets masked."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(config.to_json()))


def settings_taken(overrides: Sequence[str]) -> str:
    """What the suite and the policy that are chosen take: each setting with its value and what the configuration says of it.

    Raises:
        ConfigError: An unknown suite or policy.
    """
    chosen = [override for override in overrides if override.startswith(("suite=", "policy=", "recipe="))]
    suites, rest = split_suites(chosen)
    composed = compose_settings([f"suite={suites[0]}", *rest])
    parts = [part for part in ("suite", "policy") if any(override.startswith(f"{part}=") for override in chosen)]
    return "\n".join(line for part in parts for line in _described(part, composed[part]))


def _described(part: str, settings: Mapping[str, Any]) -> Iterator[str]:
    said = {**_comments(part, settings.get("benchmark")), **_comments(part, settings["name"])}
    yield f"settings of {part}={settings['name']} (here with their values)"
    for key, value in settings.items():
        if key not in ("name", "benchmark"):
            shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            yield f"  {part}.{key}={shown}" + (f"  # {said[key]}" if key in said else "")
    yield ""


def _comments(part: str, name: str | None) -> dict[str, str]:
    """What a file of settings and the shared files beside it say of their keys."""
    files = [file for of in (f"_{name}", name) if of and (file := settings_file(part, of))]
    lines = (_LINE.match(line) for file in files for line in file.read_text(encoding="utf-8").splitlines())
    return {match["key"]: match["said"] for match in lines if match}
