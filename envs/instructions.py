"""Instructions of the user's own for the tasks of any suite: ``suite.instructions=FILE``.

They are a change of every episode like those of `vlagym.envs.variation`, and so part of the protocol; only the words differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from .._registry import unknown_name
from ..edges.files import FileKind
from ..edges.settings import shown
from ..edges.text import is_printable, printable
from ..errors import ConfigError
from .spec import MAX_INSTRUCTION_LENGTH
from .variation import Instructions

SETTING = "instructions"
_FILE = FileKind(
    "a file of instructions", ConfigError, "It is YAML or JSON: names of tasks, and a sentence or a list of sentences for each."
)
_Content = Annotated[dict[str, Any], Meta(min_length=1)]


def read_instructions(setting: Any) -> Instructions | None:
    """The sentences that a setting gives: a file of them, or a mapping as such a file has it; None for none.

    Raises:
        ConfigError: The file is not one of instructions.
    """
    if setting is None:
        return None
    if not isinstance(setting, str | dict):
        raise ConfigError(f"suite.{SETTING} must be a file, or a mapping of tasks to sentences; got {shown(setting)}.")
    path = Path(setting if isinstance(setting, str) else f"suite.{SETTING}")
    content = _FILE.converted(path, _FILE.yaml(path) if isinstance(setting, str) else setting, _Content)
    return Instructions(tuple(sorted((task, _sentences(path, task, said)) for task, said in content.items())))


def _sentences(path: Path, task: str, said: Any) -> tuple[str, ...]:
    listed = [said] if isinstance(said, str) else said
    if not isinstance(listed, list) or not listed:
        raise _FILE.fault(path, f"{printable(task)}: expected a sentence or a list of sentences; got {shown(said)}")
    for sentence in listed:
        if not isinstance(sentence, str) or not is_printable(sentence) or not 0 < len(sentence.strip()) <= MAX_INSTRUCTION_LENGTH:
            raise _FILE.fault(
                path,
                f"{printable(task)}: a sentence must be one line of at most {MAX_INSTRUCTION_LENGTH} characters, none of them a "
                f"control character; got {shown(sentence)}",
            )
    return tuple(listed)


def check_tasks(instructions: Instructions, suite: str, known: Sequence[str]) -> None:
    """Make sure that every sentence is for a task that there is.

    Raises:
        ConfigError: Names the stranger and what it may have been meant to be.
    """
    for task, _ in instructions.tasks:
        if task not in known:
            raise ConfigError(f"suite.{SETTING}: {unknown_name(f'task of {suite}', task, known)}")
