"""The command `vla-eval`: one file per sub-command, which reads arguments, calls a room below and prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (see `vlagym.eval.cli.command.main`); Ctrl-C ends the imports in one line, too."""
    try:
        from .command import main as run
    except KeyboardInterrupt:
        print("vla-eval: interrupted", file=sys.stderr)
        return 130
    return run(argv)


__all__ = ["main"]
