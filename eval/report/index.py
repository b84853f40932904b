"""The index of a folder of runs: one page with what each came to, newest first, and the report of each beside it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ... import __version__
from ...edges.sharing import private, shareable
from ...errors import ConfigError, RunError
from ..compare.comparison import Question
from ..tables.folder import RunFolder
from ..tables.runs import load_run
from ..tables.sweep import is_sweep, load_sweep
from .answers import answers
from .build import VideoChoice, place, requirements, write_report
from .staging import staged
from .watching import state_of

_MARKER = "vla-eval-index.json"
_REPORTS = "reports"
_STYLE = "report.css"
_SHARED = "plotly.min.js"  # the largest file of a report, the same in all


@dataclass(frozen=True)
class Entry:
    """A run, or the runs of a sweep.

    Attributes:
        name: Of its folder.
        paths: The folders of its runs; none of a sweep of which nothing has begun.
        problem: Why it cannot be read; empty where it can.
    """

    name: str
    paths: tuple[Path, ...]
    problem: str = ""


def entries_of(folder: Path) -> list[Entry]:
    """The runs and sweeps right below a folder, by name.

    Raises:
        RunError: It cannot be read.
    """
    try:
        below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError as error:
        raise RunError(f"{folder} cannot be read: {error.strerror}.") from error
    found = []
    for path in below:
        if RunFolder(path).is_run():
            found.append(Entry(path.name, (path,)))
        elif is_sweep(path):
            try:
                found.append(Entry(path.name, tuple(member.path for member in load_sweep(path).begun)))
            except RunError as error:
                found.append(Entry(path.name, (), str(error)))
    return found


def write_index(
    folder: Path,
    output: Path,
    question: Question,
    videos: VideoChoice = "link",
    share: bool = False,
    tell: Callable[[str], object] = lambda sentence: None,
) -> Path:
    """Write the index of a folder of runs, and the reports that it lacks or that are older than their runs.

    Args:
        folder: It holds runs and sweeps; what else there is, is passed over.
        output: Folder; an earlier index in it is replaced.
        question: Of the comparisons in the reports of sweeps.
        videos: As in `vlagym.eval.report.write_report`.
        share: As there.
        tell: Told what is being done.

    Returns:
        The page to open.

    Raises:
        ConfigError: There are no runs, or the output is something else's or among the runs.
        DependencyError: jinja2 or plotly is missing.
        RunError: Something cannot be read or written.
    """
    environment, _ = requirements()
    entries = entries_of(folder)
    if not entries:
        raise ConfigError(f"{folder} is neither a run nor a folder of runs.")
    known = _check_output(output, entries)
    with staged(output, "index") as staging:
        (staging / _REPORTS).mkdir()
        rows, states = [], {}
        for number, entry in enumerate(entries, 1):
            tell(f"{number} of {len(entries)}: {entry.name}")
            states[entry.name] = _state(entry, question, videos, share)
            earlier = output / _REPORTS / entry.name if known.get(entry.name) == states[entry.name] else None
            rows += _rows(entry, staging / _REPORTS / entry.name, earlier, question, videos, share)
        rows.sort(key=lambda row: str(row["created"]), reverse=True)
        page = {"title": folder.resolve().name, "rows": rows}
        html = environment.get_template("index.html.j2").render(shareable(page) if share else private(page))
        (staging / "index.html").write_text(html, "utf-8")
        (staging / _STYLE).write_bytes((files(__package__) / "templates" / _STYLE).read_bytes())
        (staging / _MARKER).write_text(json.dumps(states, indent=2) + "\n", "utf-8")
    return output / "index.html"


def _rows(
    entry: Entry, report: Path, earlier: Path | None, question: Question, videos: VideoChoice, share: bool
) -> list[dict[str, Any]]:
    """What the page says of an entry, whose report is made or taken from an earlier index; what cannot be read is one row."""
    try:
        if entry.problem:
            raise RunError(entry.problem)
        runs = [load_run(path) for path in entry.paths]
        if earlier is not None and earlier.is_dir():
            shutil.copytree(earlier, report, copy_function=lambda source, to: place(Path(source), Path(to), "link"))
        elif runs:
            write_report(runs, report, question, videos, share)
            _share_library(report)
    except RunError as error:
        return [{"name": entry.name, "link": "", "created": "", "started": "", "problem": str(error)}]
    link = f"{_REPORTS}/{quote(entry.name)}/index.html"
    return [
        {
            **answer,
            "name": entry.name,
            "link": link,
            "created": run.header["created"],
            "started": str(run.header["created"])[:16].replace("T", " "),
            "complete": run.complete,
            "problem": "",
        }
        for run in runs
        for answer in answers(run.name, run, run.table(), run.chains())
    ]


def _share_library(report: Path) -> None:
    """Let all reports have one copy of their largest file."""
    first = next((other for other in report.parent.iterdir() if other != report), None)
    if first is not None:
        (report / _SHARED).unlink()
        place(first / _SHARED, report / _SHARED, "link")


def _state(entry: Entry, question: Question, videos: VideoChoice, share: bool) -> str:
    """What a report of an entry depends on, as a hash."""
    made_of = [__version__, [*state_of(entry.paths)], repr(question), videos, share]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _check_output(output: Path, entries: Sequence[Entry]) -> dict[str, str]:
    """What an earlier index in a folder was made of.

    Raises:
        ConfigError: The folder holds something else, or a run, or is in one.
    """
    for path in _paths(entries):
        if output.resolve().is_relative_to(path.resolve()) or path.resolve().is_relative_to(output.resolve()):
            raise ConfigError(f"{output} and the run {path} would be inside each other; choose another --output.")
    marker = output / _MARKER
    if not marker.is_file():
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise ConfigError(f"{output} exists and is not an index of runs; choose another --output.")
        return {}
    try:
        known = json.loads(marker.read_text("utf-8"))
    except ValueError:
        known = None
    return known if isinstance(known, dict) else {}  # one that says nothing is made anew


def _paths(entries: Sequence[Entry]) -> Iterator[Path]:
    for entry in entries:
        yield from entry.paths
