"""Credentials recognised and masked, in settings, arguments and messages, before they are written or shown.

A secret is told by where it stands: in a setting whose name says so (``api_key``, ``token``), in a URL (``user:password@``,
``?token=...``), after such a word and ``=``, by a well-known beginning, or as the value of an environment variable of such a name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

MASK = "***"
_WORD = r"(?:pass(?:word|wd|phrase)?|secret|token|credentials?|api_?key|access_?key|private_?key|auth(?:orization)?|signature|pwd)"
_NAME = re.compile(rf"(?:.*[_.\-])?{_WORD}(?:[_.\-]id)?|key", re.IGNORECASE)
_IN_TEXT = (
    # The user and password of a URL, up to the last @ before its path.
    (re.compile(r"(\b[a-z][a-z0-9+.\-]*://)[^\s/'\"]*@", re.IGNORECASE), rf"\1{MASK}@"),
    (re.compile(r"([?&;](?:key|sig|code)=)[^\s&;'\"]+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(rf"(\b(?:[\w\-.]*[_.\-])?{_WORD}['\"]?(?:=|\s*:\s*['\"])['\"]?)[^\s&;'\",)}}\]]+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"(\bbearer\s+)[\w\-.~+/=]{8,}", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\b(?:hf_|gh[opsu]_|github_pat_|sk-|glpat-|AKIA)[A-Za-z0-9_\-]{12,}"), MASK),
)
_SHORTEST_SECRET = 8
_FOLDERS = ("PWD", "OLDPWD")  # the shell's, of where one is and was


def names_a_secret(name: str) -> bool:
    """Whether a setting or variable of this name (its last part, where dotted) holds a secret."""
    return bool(_NAME.fullmatch(name.rpartition(".")[2].replace("-", "_")))


def masked(value: Any, name: str = "") -> Any:
    """A plain value with every secret in it masked.

    Args:
        value: Texts, numbers, lists and mappings.
        name: What the value is called.
    """
    return _masked(value, name, text_masker())


def _masked(value: Any, name: str, mask: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return MASK if value and names_a_secret(name) else mask(value)
    if isinstance(value, Mapping):
        return {key: _masked(inner, str(key), mask) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(inner, name, mask) for inner in value]
    return value


def text_masker() -> Callable[[str], str]:
    """What masks every secret in a text: for many texts, as the environment is looked through for secrets only once."""
    secrets = _in_environment(tuple(os.environ.items()))

    def mask(text: str) -> str:
        for pattern, replacement in _IN_TEXT:
            text = pattern.sub(replacement, text)
        for secret in secrets:
            text = text.replace(secret, MASK)
        return text

    return mask


def masked_text(text: str) -> str:
    """A text with every secret in it masked."""
    return text_masker()(text)


def masked_arguments(arguments: Sequence[str]) -> list[str]:
    """A command line with secrets masked and the home folder as ``~``."""
    shown = []
    for argument in arguments:
        name, separator, value = argument.partition("=")
        secret = separator and value and names_a_secret(name)
        shown.append(f"{name}={MASK}" if secret else without_home(masked_text(argument)))
    return shown


def holds_mask(value: Any) -> bool:
    """Whether something in a plain value has been masked."""
    if isinstance(value, Mapping):
        return any(map(holds_mask, value.values()))
    if isinstance(value, list | tuple):
        return any(map(holds_mask, value))
    return isinstance(value, str) and MASK in value


def without_home(text: str) -> str:
    """A text in which the user's home folder is ``~``."""
    home = _home_in_texts(os.environ.get("HOME", "").rstrip("/"))
    return home.sub("~", text) if home else text


@cache
def _home_in_texts(home: str) -> re.Pattern[str] | None:
    return re.compile(rf"{re.escape(home)}(?=/|$|[\s'\":,)])") if home.count("/") and Path(home).is_absolute() else None


@cache
def _in_environment(variables: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Values of variables that are named like secrets, longest first."""
    secrets = ((name, value) for name, value in variables if names_a_secret(name) and name not in _FOLDERS)
    found = {value for _, value in secrets if len(value) >= _SHORTEST_SECRET}
    return tuple(sorted(found, key=len, reverse=True))
