"""Where text for people is printed."""

from __future__ import annotations

from rich.console import Console

_WIDTH_OF_LOGS = 160


def make_console() -> Console:
    """The terminal, or plain text wide enough for tables where output goes to a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_LOGS)
