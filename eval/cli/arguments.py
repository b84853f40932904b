"""The arguments of commands: ``key=value`` as in a run's settings, and ``--key value`` as elsewhere, mean the same."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from ..._registry import did_you_mean
from ...errors import ConfigError


class CommandParser(argparse.ArgumentParser):
    """A parser that also takes ``key=value`` for every ``--key value``, and refuses in one sentence like the settings of a run.

    What it can take is in ``_option_string_actions``: argparse has no public list.
    """

    def parse_known_args(  # type: ignore[override]  # argparse's own declaration is overloaded
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse's, which calls it for commands within commands too; the arguments have to be given."""
        assert args is not None
        return super().parse_known_args([part for argument in args for part in self._as_options(argument)], namespace)

    def error(self, message: str) -> NoReturn:
        """Refuse.

        Raises:
            ConfigError: Always.
        """
        known = [name for name in self._option_string_actions if name.startswith("--")]
        _, _, unknown = message.partition("unrecognized arguments: ")
        near = did_you_mean(unknown.split()[0].partition("=")[0], known) if unknown else ""
        raise ConfigError(f"{message.rstrip('.')}.{near} `{self.prog} --help` says what it takes.")

    def _as_options(self, argument: str) -> list[str]:
        key, separator, value = argument.partition("=")
        action = self._option_string_actions.get(f"--{key.replace('_', '-')}") if separator else None
        if action is None or key.startswith("-"):
            return [argument]
        option = action.option_strings[-1]
        if action.nargs is None:
            return [f"{option}={value}"]
        if action.nargs != 0:
            return [option, *_values(value)]
        if value not in ("true", "false"):
            self.error(f"{argument!r}: {key} must be true or false")
        return [option] if value == "true" else []


def _values(text: str) -> list[str]:
    return [value.strip() for value in text.strip("[]").split(",") if value.strip()]


def as_settings(argv: Sequence[str], own: Sequence[str]) -> list[str]:
    """``--key value`` and ``--key=value`` as ``key=value``, for a command whose own settings are a run's beside `own`."""
    rest, given = list(argv), []
    while rest:
        argument = rest.pop(0)
        key, separator, value = argument.removeprefix("--").partition("=")
        key = key.replace("-", "_")
        if not argument.startswith("--") or key not in own:
            given.append(argument)
        elif separator:
            given.append(f"{key}={value}")
        elif rest and not rest[0].startswith("--") and "=" not in rest[0]:
            given.append(f"{key}={rest.pop(0)}")
        else:
            given.append(f"{key}=true")
    return given
