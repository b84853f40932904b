"""``vla-eval unpack``: a run's folder from an archive that ``vla-eval pack`` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..publish.unpack import unpack
from ..record.console import make_console
from .arguments import CommandParser


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval unpack ARGV``; returns 0.

    Raises:
        VlagymError: Not such an archive, or a folder that cannot be made.
    """
    parser = CommandParser(prog="vla-eval unpack", description="A run's folder from an archive that `vla-eval pack` wrote.")
    parser.add_argument("archive", type=Path, metavar="ARCHIVE", help="the file; it may come from anyone")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: results/NAME, the name that the run had")
    arguments = parser.parse_args(argv)
    run = unpack(arguments.archive, arguments.output)
    make_console().print(f"results: {run.path}", highlight=False, markup=False, soft_wrap=True)
    return 0
