"""``vla-eval render``: draw recorded episodes again."""

from __future__ import annotations

import re
from argparse import BooleanOptionalAction
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..._stages import stage
from ...edges.arguments import frames_per_second, processes
from ...errors import ConfigError, StorageError
from ..record.console import make_console
from ..record.progress import progress_for
from ..report.render import Drawing, Drawn, render_episodes, select_episodes, write_grid
from ..tables.runs import load_run
from .arguments import CommandParser

GRID_TILES = 25


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval render ARGV``; returns 0, or 1 if some episodes could not be drawn.

    Raises:
        VlagymError: Not a run, nothing to draw, or not the suite it was made with.
    """
    arguments = _parser().parse_args(argv)
    run = load_run(arguments.run)
    output = arguments.output or run.path.resolve().with_name(f"{run.name}--rendered")
    if output.resolve().is_relative_to(run.path.resolve()):
        raise ConfigError(f"{output} is inside the run, which is never modified; choose another --output.")
    drawing = Drawing(_cameras(arguments.camera), as_size(arguments.size), arguments.fps, arguments.caption)
    chosen = select_episodes(run, arguments.episodes)
    console = make_console()
    drawn = []
    with _made(output), progress_for(console):
        stage(f"drawing {len(chosen)} episodes")
        for one in render_episodes(run, chosen, output, drawing, arguments.workers):
            drawn.append(one)
            text = one.video.name if one.video else f"{one.result.spec.id} cannot be drawn: {one.error}"
            console.print(f"[{len(drawn)}/{len(chosen)}] {text}", highlight=False, markup=False, soft_wrap=True)
    if arguments.grid:
        with progress_for(console):
            stage("tiling the videos")
            _write_grids(drawn, output)
    console.print(f"videos: {output}", highlight=False, markup=False, soft_wrap=True)
    return 0 if all(one.video for one in drawn) else 1


@contextmanager
def _made(output: Path) -> Iterator[None]:
    """Make the folder for the videos, which does not stay if none comes."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{output} cannot be made: {error.strerror}. Name another folder with --output.") from error
    try:
        yield
    finally:
        if not any(output.iterdir()):
            output.rmdir()


def _parser() -> CommandParser:
    parser = CommandParser(prog="vla-eval render", description="Draw recorded episodes again, at any size, from any camera.")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--episodes",
        default="failures",
        metavar="WHICH",
        help="failures (default), successes, all, or numbers or ids separated by commas, e.g. 3,17 or libero_goal/open_drawer/4/0",
    )
    parser.add_argument("--camera", action="append", metavar="NAME", help="camera to show; repeat it or use commas for several")
    parser.add_argument("--size", metavar="WIDTHxHEIGHT", help="of each camera's picture, e.g. 720x720 (default: the protocol's)")
    parser.add_argument("--fps", type=frames_per_second, metavar="N", help="frames per second (default: the run's)")
    parser.add_argument(
        "--caption",
        action=BooleanOptionalAction,
        help="instruction, step and outcome above the pictures (default: as in the run's videos)",
    )
    parser.add_argument("--grid", action="store_true", help=f"also tile the videos, {GRID_TILES} at a time")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: RUN--rendered beside the run")
    parser.add_argument("--workers", type=processes, metavar="N", help="processes (default: one per core)")
    return parser


def _cameras(given: Sequence[str] | None) -> tuple[str, ...] | None:
    return tuple(name for part in given for name in part.split(",") if name) if given else None


def as_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) of WIDTHxHEIGHT; None for None.

    Raises:
        ConfigError: It is not such a size.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if match is None or not (0 < int(match[1]) <= 4096 and 0 < int(match[2]) <= 4096):
        raise ConfigError(f"--size is WIDTHxHEIGHT in pixels, e.g. 720x720, up to 4096; got {text!r}.")
    return int(match[2]), int(match[1])


def _write_grids(drawn: Sequence[Drawn], output: Path) -> None:
    shown = [one for one in drawn if one.video]
    for page, start in enumerate(range(0, len(shown), GRID_TILES), 1):
        write_grid(shown[start : start + GRID_TILES], output / f"grid-{page}.mp4")
