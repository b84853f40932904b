"""The command `vla-eval`: one file per sub-command, which reads arguments, calls a room below and prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .edges import interrupts


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (see `vlagym.eval.cli.command.main`); a signal ends it in one line, its imports, too: exit code 130."""
    try:
        with interrupts(last=argv is None):
            from .command import main as run

            return run(argv)
    except KeyboardInterrupt:
        print("vla-eval: interrupted", file=sys.stderr)
        return 130


__all__ = ["main"]
