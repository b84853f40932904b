"""What of a run's texts may be given to others: no secrets, no home folder, no paths, no names of machines.

Addresses keep their scheme and port; hosts that everyone knows, and the machine itself by its loopback names, stay as they are.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from functools import cache
from typing import Any

from .secrets import text_masker, without_home

HOST = "HOST"
_NUMBERS = frozenset({int, float, bool, type(None)})
_PATH = re.compile(r"(?<![\w:/.<>])~?(?:/[^\s/:'\",;()\[\]{}<>]+)+/?(?=[\s:'\",;()\[\]{}.]|$)")
_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+.\-]*://)(?:[^\s/@'\"]*@)?(\[[0-9a-f:.]+\]|[\w.\-]+)", re.IGNORECASE)
_PUBLIC = ("arxiv.org", "files.pythonhosted.org", "github.com", "huggingface.co", "pypi.org", "localhost", "127.0.0.1", "[::1]")


def private(value: Any) -> Any:
    """A plain value with secrets masked and the home folder as ``~``."""
    mask = text_masker()
    return on_texts(value, lambda text: without_home(mask(text)))


def shareable(value: Any) -> Any:
    """A plain value without secrets, every absolute path cut to its last part, every host's name replaced by ``HOST``."""
    return on_texts(private(value), lambda text: _without_hosts(_without_paths(text)))


def on_texts(value: Any, change: Callable[[str], str]) -> Any:
    """The value with all texts in it changed; what is neither text nor a list, tuple or mapping stays."""
    return _on_texts(value, cache(change))  # many thousands of episodes say the same


def _on_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _on_texts(inner, change) for key, inner in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_on_texts(inner, change) for inner in value))
    if type(value) not in (list, tuple) or _NUMBERS.issuperset(map(type, value)):
        return value
    return type(value)(_on_texts(inner, change) for inner in value)


def _without_paths(text: str) -> str:
    return _PATH.sub(lambda match: match[0].rstrip("/").rpartition("/")[2], text)


def _without_hosts(text: str) -> str:
    text = _ADDRESS.sub(lambda match: match[0] if match[2].lower() in _PUBLIC else match[1] + HOST, text)
    own = socket.gethostname()
    # A machine called "main" is not looked for among words.
    return re.sub(rf"(?<![\w.\-]){re.escape(own)}(?![\w\-])", HOST, text) if re.search(r"[\d.\-]", own) else text
