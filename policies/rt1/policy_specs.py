"""What an exported policy says its actions are: ``policy_specs.pbtxt``, a text protocol buffer of TF-Agents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...edges.files import MEGABYTE, FileKind
from ...errors import PolicyError
from .config import ACTION_PARTS, ActionPart

FILE_NAME = "policy_specs.pbtxt"
_SPECS_FILE = FileKind("a policy specification", PolicyError, "It is part of every policy; get a fresh copy.", 4 * MEGABYTE)
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[{}:]|[^\s{}:"]+')
_MAX_DEPTH = 100

# A message of a text protocol buffer: (field, value) pairs, a value being a string or a message.
Message = list[tuple[str, Any]]


def read_action_parts(file: Path) -> tuple[ActionPart, ...]:
    """The parts of an action, in the order of their tokens.

    Raises:
        PolicyError: The file is missing or damaged, or its actions are not RT-1's.
    """
    if not file.is_file():
        raise PolicyError(
            f"{file.name} is missing in {file.parent}: nothing says what the actions mean. It is part of every policy."
        )
    try:
        found = dict(_action_specs(_parse(_SPECS_FILE.text(file))))
        parts = {name: _part(name, spec) for name, spec in found.items()}
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise PolicyError(f"{file} is not a policy specification of TF-Agents ({error!r}).") from error
    expected = [part.name for part in ACTION_PARTS]
    if sorted(parts) != sorted(expected):
        raise PolicyError(
            f"{file} describes the actions {', '.join(sorted(parts)) or 'none'}; an RT-1 has {', '.join(sorted(expected))}."
        )
    return tuple(parts[name] for name in expected)


def _action_specs(specs: Message) -> Iterator[tuple[str, Message]]:
    """Name and bounded spec of each part of an action."""
    for name, value in _entries(_only(specs, "dict_value")):
        if name == "collect_data_spec":
            for field, inner in _entries(_only(value, "named_tuple_value")):
                if field == "action":
                    for part, spec in _entries(_only(inner, "dict_value")):
                        yield part, _only(spec, "bounded_tensor_spec_value")


def _part(name: str, spec: Message) -> ActionPart:
    size = int(_only(_only(_only(spec, "shape"), "dim"), "size"))
    discrete = _only(spec, "dtype") == "DT_INT32"
    bounds = [float(np.float32(_only(_only(spec, end), "int_val" if discrete else "float_val"))) for end in ("minimum", "maximum")]
    return ActionPart(name, size, bounds[0], bounds[1], discrete)


def _entries(message: Message) -> Iterator[tuple[str, Message]]:
    """Keys and values of a dictionary or named tuple."""
    for field, entry in message:
        if field in ("fields", "values"):
            yield str(_only(entry, "key")).strip('"'), _only(entry, "value")


def _only(message: Message, field: str) -> Any:
    found = [value for name, value in message if name == field]
    if len(found) != 1:
        raise KeyError(f"{len(found)} times {field}")
    return found[0]


def _parse(text: str) -> Message:
    return _parse_message(_TOKEN.findall(text), 0, 0)[0]


def _parse_message(tokens: list[str], at: int, depth: int) -> tuple[Message, int]:
    """The message that starts at a token, and where it ends."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    message: Message = []
    while at < len(tokens) and tokens[at] != "}":
        field, at = tokens[at], at + 1
        if tokens[at] == ":":
            message.append((field, tokens[at + 1]))
            at += 2
        elif tokens[at] == "{":
            inner, at = _parse_message(tokens, at + 1, depth + 1)
            message.append((field, inner))
            at += 1
        else:
            raise ValueError(f"{tokens[at]!r} after {field!r}")
    return message, at
