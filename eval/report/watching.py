"""A report that follows its runs: made again as episodes land, served to browsers on this machine, written to disk in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ..compare.comparison import Question
from ..tables.runs import Run, load_run
from ..tables.sweep import is_sweep, load_sweep, runs_below
from .build import Report, ReportOutcome, VideoChoice, check_output, make_report, write_report
from .served import ServedReport, State, serving

_LOOK_S = 1.0  # between two looks at the runs' files
_SHARE = 0.1  # of a core's time that is spent on making the report again, so that the run is not slowed down
_QUIET_S, _LAST_WORD_S = 5.0, 60.0  # pages ask every two seconds until they have the last version


def watch(
    paths: Sequence[Path],
    output: Path,
    question: Question,
    videos: VideoChoice = "link",
    share: bool = False,
    port: int = 0,
    begun: Callable[[str], None] = lambda address: None,
) -> ReportOutcome:
    """Serve the report of runs until all their episodes have ended, or Ctrl-C; then write it as `write_report` does.

    Args:
        paths: Folders of runs or of sweeps, which may be under way.
        output: Folder of the report in the end.
        question: Margin and error probability of the comparisons.
        videos: As in `write_report`; the page that is served has them all unless ``none``.
        share: As in `write_report`.
        port: Of this machine, reachable from itself alone; 0 for any that is free.
        begun: Given the page's address once there is something to be seen.

    Raises:
        ConfigError: The port is taken, or the output is something else's.
        DependencyError: jinja2 or plotly is missing.
        RunError: Not a run, or no longer one.
    """
    check_output(output, _load(paths))
    with serving(port) as served:
        try:
            _follow(served, paths, lambda runs, version: make_report(runs, question, videos != "none", share, version), begun)
            over = True
        except KeyboardInterrupt:
            over = False
        outcome = write_report(_load(paths), output, question, videos, share)
        if over:
            served.tell(said=f"All episodes have ended, and so does this watch; the report is {output.name}/index.html", over=True)
            with suppress(KeyboardInterrupt):
                _wait_for_readers(served)
    return outcome


def _wait_for_readers(served: ServedReport) -> None:
    """Wait until every page has the last version and asks for no more."""
    deadline = time.monotonic() + _LAST_WORD_S
    while served.quiet_s < _QUIET_S and time.monotonic() < deadline:
        time.sleep(_LOOK_S)


def _follow(
    served: ServedReport,
    paths: Sequence[Path],
    make: Callable[[Sequence[Run], int], Report],
    begun: Callable[[str], None],
) -> None:
    """Make and show a report whenever there is something new, until there will be no more."""
    seen: object = None
    version = 0
    while True:
        pause = _LOOK_S
        if (files := state_of(paths)) != seen:
            seen, since = files, time.monotonic()
            runs = _load(paths)
            version += 1
            served.show(make(runs, version), State(version, _said(runs), time.strftime("%H:%M:%S"), over=False))
            if version == 1:
                begun(served.address)
            if _over(paths, runs):
                return
            pause = max(pause, (time.monotonic() - since) / _SHARE)
        time.sleep(pause)


def _load(paths: Sequence[Path]) -> list[Run]:
    return [load_run(path) for given in paths for path in runs_below(given)]


def state_of(paths: Sequence[Path]) -> list[tuple[str, int, int]]:
    """What changes when something of the runs does: their records with size and time."""
    found = []
    for path in (path for given in paths for path in runs_below(given)):
        for file in sorted([*path.glob("*.json"), *path.glob("*.jsonl")]):
            try:
                state = file.stat()
            except FileNotFoundError:  # a shard's file that was joined with the others since
                continue
            found.append((str(file), state.st_size, state.st_mtime_ns))
    return found


def _said(runs: Sequence[Run]) -> str:
    ended, planned = sum(len(run.results) for run in runs), sum(len(run.plan) for run in runs)
    return f"{ended} of {planned} episodes have ended"


def _over(paths: Sequence[Path], runs: Sequence[Run]) -> bool:
    """Whether nothing more is to come: every episode has a result, or a gate has its verdict; of a sweep, of all its runs."""
    waiting = any(len(sweep.begun) < len(sweep.members) for path in paths if is_sweep(path) for sweep in [load_sweep(path)])
    decided = (run.header.get("gate", {}).get("verdict", "cannot tell") != "cannot tell" for run in runs)
    return not waiting and all(not run.missing or done for run, done in zip(runs, decided, strict=True))
