"""What a BDDL file says, as far as it is needed before upstream's parser reads it."""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import AssetError

_LANGUAGE = re.compile(r"\(:language\s+([^()]*)\)", re.IGNORECASE)


def read_language(file: Path, remedy: str) -> str:
    """The sentence of ``(:language ...)`` as upstream's parser reads it: in lower case, its words one space apart.

    Raises:
        AssetError: The file is not a BDDL problem.
    """
    return " ".join(_read(file, remedy)[1].lower().split())


def check_problem(file: Path, remedy: str) -> None:
    """Make sure that a file can be given to upstream's parser, which reports nothing of use about one that is damaged.

    Raises:
        AssetError: It cannot be read, its parentheses do not match, or it is not a problem with a language and a goal.
    """
    text, _ = _read(file, remedy)
    depth = 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            break
    if depth or not re.match(r"\s*\(define\s*\(problem\s+\w+\)", text) or "(:goal" not in text:
        raise AssetError(f"{file} is not a BDDL problem: its parentheses do not match or it has no (:goal ...). {remedy}")


def _read(file: Path, remedy: str) -> tuple[str, str]:
    """The text without comments, and its sentence."""
    try:
        text = re.sub(r";.*", "", file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise AssetError(f"{file} cannot be read: {error}. {remedy}") from error
    found = _LANGUAGE.findall(text)
    if len(found) != 1:
        raise AssetError(f"{file} is not a BDDL problem: it has {len(found)} (:language ...) instead of one. {remedy}")
    return text, found[0]
