"""Where text for people is printed: a terminal obeys escape sequences, so none that a file or a server brought along reaches it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.segment import Segment

from ...edges.text import printable

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType

_WIDTH_OF_LOGS = 160


class SafeConsole(Console):
    """A console that spells out control characters in what it is given; its own colours and cursor movements stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Called while the error is handled: it goes on as any other, where rich would end the process and the run with it."""
        raise  # noqa: PLE0704


def make_console(stderr: bool = False) -> Console:
    """The terminal, or plain text wide enough for tables where output goes to a file or a pipe."""
    console = SafeConsole(stderr=stderr)
    return console if console.is_terminal else SafeConsole(stderr=stderr, width=_WIDTH_OF_LOGS)
