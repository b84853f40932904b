"""What is checked of settings that come from a file of the user's or of another package's, once they are composed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...conf import group_names, settings_file, whose
from ...envs.registry import make_suite
from ...errors import ConfigError


def check_own_files(overrides: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Make sure that a suite's file gives its own name, and that a policy's file is not overruled by another policy's recipe.

    Args:
        overrides: What was chosen.
        settings: What came of it.

    Raises:
        ConfigError: Says what to write into which file.
    """
    suite, policy = (_chosen(group, overrides) for group in ("suite", "policy"))
    if suite:
        _check_suite(suite, overrides, settings["suite"])
    if policy and not any(override.startswith("recipe=") for override in overrides):
        _check_recipe(policy, settings["policy"].get("name"), settings["suite"]["name"])


def _check_suite(suite: str, overrides: Sequence[str], settings: Mapping[str, Any]) -> None:
    file = settings_file("suite", suite)
    if settings.get("name") != suite:
        raise ConfigError(
            f"{file} must say `name: {suite}`, the name under which its results are kept; it says {settings.get('name')!r}."
        )
    if any(override.startswith("suite.") for override in overrides):
        return  # what is wrong may not be the file's
    try:
        make_suite(settings)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error


def _check_recipe(policy: str, name: str, suite: str) -> None:
    recipes, like = group_names("recipe"), f"{name}-{suite}"
    if f"{policy}-{suite}" not in recipes and like in recipes:
        raise ConfigError(
            f"policy={policy} has no recipe for {suite}, and that of another, recipe={like}, would overrule what its file says. "
            f"Write recipe/{policy}-{suite}.yaml with the lines `# @package policy` and `defaults: [{like}, _self_]` and what "
            f"differs, or give recipe={like}."
        )


def _chosen(group: str, overrides: Sequence[str]) -> str | None:
    """The file that was chosen of a group, where it is not one of vlagym's."""
    named = [override.removeprefix(f"{group}=") for override in overrides if override.startswith(f"{group}=")]
    return named[-1] if named and whose(group, named[-1]) not in (None, "vlagym") else None
