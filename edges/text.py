"""Texts that were written by others, made harmless before a terminal shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Control characters but for tab and line feed (escape sequences begin with one), and those that reorder what is read.
_NOT_SHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with control characters spelled out, e.g. ``\x1b``; line feeds and tabs stay."""
    return text if text.isascii() and text.isprintable() else _NOT_SHOWN.sub(_spelled_out, text)


def is_printable(text: str) -> bool:
    """Whether a text is one line that shows as it is."""
    return not _NOT_SHOWN.search(text) and "\n" not in text


def _spelled_out(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What two records differ in, as ``key: old -> new; ...``; empty if in nothing."""
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return "; ".join(f"{key}: {old.get(key)!r} -> {new.get(key)!r}" for key in keys)
