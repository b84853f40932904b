"""Arguments of commands, checked against the same declarations as settings."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias

from .settings import Alpha, FramesPerSecond, Percent, Points, Port, Processes, Setting, in_words, kind_of

Parser: TypeAlias = Callable[[str], Any]


def number(annotation: Any) -> Parser:
    """A ``type=`` for argparse: a number of this type and range."""

    def parse(text: str) -> Any:
        try:
            value = kind_of(annotation)(text)
        except (ValueError, OverflowError) as error:
            raise argparse.ArgumentTypeError(f"must be {in_words(annotation)}; got {text[:60]!r}") from error
        problem = Setting("", annotation, None).problem(value)
        if problem:
            raise argparse.ArgumentTypeError(f"{problem}; got {text[:60]!r}")
        return value

    return parse


alpha = number(Alpha)
frames_per_second = number(FramesPerSecond)
percent = number(Percent)


def share(text: str) -> float:
    """A ``type=`` for argparse: a share in per cent, also as a fraction: 80 and 0.8 are the same."""
    value: float = percent(text)
    return 100 * value if value < 1 else value


points = number(Points)
port = number(Port)
processes = number(Processes)
