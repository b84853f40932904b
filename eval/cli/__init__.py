"""The command `vla-eval`: one file per sub-command, which reads arguments, calls a room below and prints."""

from .command import main

__all__ = ["main"]
