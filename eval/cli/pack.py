"""``vla-eval pack``: a run as one archive to give to others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..publish.pack import pack
from ..record.console import make_console
from ..tables.runs import load_run
from .arguments import CommandParser


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval pack ARGV``; returns 0.

    Raises:
        VlagymError: Not a run, or an archive that cannot be written.
    """
    arguments = _parser().parse_args(argv)
    run = load_run(arguments.run)
    output = arguments.output or run.path.resolve().with_name(f"{run.name}.tar.gz")
    packed = pack(run, output, arguments.videos, arguments.trajectories, arguments.keep_private)
    console = make_console()
    if packed.missing:
        console.print(
            f"{packed.missing} files that the run names are not there; they are left out.", style="yellow", highlight=False
        )
    size = packed.archive.stat().st_size / 1e6
    console.print(
        f"archive: {packed.archive} ({size:.1f} MB, {packed.videos} videos)", highlight=False, markup=False, soft_wrap=True
    )
    console.print("to read it: vla-eval unpack ARCHIVE", highlight=False)
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(prog="vla-eval pack", description="A run as one archive that compares, tables and reports elsewhere.")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--videos", choices=("failures", "all", "none"), default="failures", help="which go with it (default failures)"
    )
    parser.add_argument("--trajectories", action="store_true", help="also states and actions, to replay and to draw again")
    parser.add_argument("--keep-private", action="store_true", help="leave paths, host names, the machine and the command in")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: RUN.tar.gz beside the run")
    return parser
