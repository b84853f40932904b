"""``--config-dir FOLDER``, before any command and after it: the user's own suites, policies, recipes and variations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ...errors import ConfigError

_OPTIONS = ("--config-dir", "-cd", "config_dir")  # as Hydra's users type it, and like any setting


@contextmanager
def with_config_dir(argv: Sequence[str]) -> Iterator[list[str]]:
    """What is left of a command line; while it lasts, the folder that it names is looked into.

    Raises:
        ConfigError: There is no such folder, it holds something else, or several are named.
    """
    found, rest = [], []
    arguments = iter(argv)
    for argument in arguments:
        option, separator, value = argument.partition("=")
        if option not in _OPTIONS or (option == "config_dir" and not separator):
            rest.append(argument)
            continue
        found.append(value if separator else next(arguments, ""))
        if not found[-1] or found[-1].startswith("-"):
            raise ConfigError(f"{option} needs a folder: --config-dir FOLDER.")
    if not found:
        yield rest
        return
    if len(found) > 1:
        raise ConfigError(f"--config-dir is given twice ({', '.join(found)}); put all of your settings into one folder.")
    from ...conf import in_force

    with in_force(found[0]):
        yield rest
