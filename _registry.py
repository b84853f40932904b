"""A registry of things by name whose code is imported only when an entry is used, open to other packages through entry points."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from .errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

# Entry-point groups in which other packages offer theirs.
ENTRY_POINTS = {"suite": "vlagym.suites", "policy": "vlagym.policies"}

T = TypeVar("T")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'a' or 'b'?`` for names close to the given one, else an empty string."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error for a name that is not known: names the near ones and lists what there is."""
    names = sorted(known)
    shown = ", ".join(names[:40]) + (f", ... ({len(names)} in all)" if len(names) > 40 else "")
    return ConfigError(f"unknown {kind} {name!r}.{did_you_mean(name, names)} Known: {shown}.")


def import_target(target: str) -> Any:
    """The object that ``package.module:attribute`` names."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


class Registry(Generic[T]):
    """Names to lazily imported targets: built-in ones and those that installed packages offer in an entry-point group.

    Args:
        kind: What an entry is, for messages ("policy").
        builtin: name -> ``package.module:attribute``.
        group: Entry-point group in which other packages add theirs.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], group: str) -> None:
        self.kind = kind
        self.group = group
        self._builtin = dict(builtin)

    def plugins(self) -> dict[str, EntryPoint]:
        """Entry points of other packages, by name.

        Raises:
            ConfigError: Two packages, or a package and vlagym, claim one name.
        """
        from importlib.metadata import entry_points  # a tenth of a second that `vla-eval --help` does without

        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group):
            other = f"vlagym ({self._builtin[entry.name]})" if entry.name in self._builtin else None
            if entry.name in found and found[entry.name].value != entry.value:
                other = found[entry.name].value
            if other:
                raise ConfigError(
                    f"{self.kind} {entry.name!r} is claimed by both {other} and {entry.value}; uninstall one of them."
                )
            found[entry.name] = entry
        return found

    def names(self) -> list[str]:
        """All names, sorted; nothing is imported."""
        return sorted({*self._builtin, *self.plugins()})

    def get(self, name: str) -> T:
        """Import and return the entry.

        Raises:
            ConfigError: No such name (near ones are suggested), or a class that lacks what its contract asks for.
        """
        if name in self._builtin:
            return cast("T", import_target(self._builtin[name]))
        plugins = self.plugins()
        if name not in plugins:
            raise unknown_name(self.kind, name, self.names())
        found = plugins[name].load()
        if missing := sorted(getattr(found, "__abstractmethods__", ())):
            raise ConfigError(
                f"{self.kind} {name!r}: the class {plugins[name].value} does not define {', '.join(missing)}, which every "
                f"{self.kind} does; their docstrings in {_contract(found)} say what each is."
            )
        return cast("T", found)


def _contract(found: type) -> str:
    """The class of vlagym's own that asks for what a class lacks."""
    own = next(base for base in found.__mro__ if base.__module__.startswith(f"{__package__}."))
    return f"{own.__module__}.{own.__qualname__}"
