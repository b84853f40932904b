"""A report: index.html, its script, style and data, plotly.js, and the videos; and the folder that it is written to.

A page opened from disk may not read other files, so the data are a script. Videos are hard links to the run's own where the file
system allows it, copies where it does not; the runs themselves are only read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from ...edges.sharing import private, shareable
from ...errors import ConfigError, DependencyError
from ..compare.comparison import Question
from ..tables.runs import Run
from .data import Placed, page_data, script_json
from .page import page_of, shareable_page
from .staging import staged
from .why import Why

VideoChoice = Literal["link", "copy", "none"]
_MARKER = "vla-eval-report.json"
_SCRIPTS = ("report.js", "report.css")
_OF_A_WATCH = "watch.js"


@dataclass(frozen=True)
class Report:
    """A report before it is anywhere.

    Attributes:
        files: What is in each of its files, by name.
        videos: Of each video, by name (``videos/NUMBER OF THE RUN/NAME.mp4``), the run's own file.
        missing_videos: Videos that a run says it has and that are not there.
    """

    files: dict[str, bytes]
    videos: dict[str, Path]
    missing_videos: int


@dataclass(frozen=True)
class ReportOutcome:
    """What was written.

    Attributes:
        page: The page to open.
        missing_videos: Videos that a run says it has and that are not there.
    """

    page: Path
    missing_videos: int


def write_report(
    runs: Sequence[Run],
    output: Path,
    question: Question,
    videos: VideoChoice = "link",
    share: bool = False,
    why: Sequence[Why | None] = (),
) -> ReportOutcome:
    """Write the report of one or several runs; the first is what the others are compared with.

    Args:
        runs: Complete or not.
        output: Folder; an earlier report in it is replaced.
        question: Margin and error probability of the comparisons.
        videos: Whether the videos are linked (copied where that cannot be), copied or left out.
        share: Leave out paths, the machine and the command, so that the folder can be given to others.
        why: Why episodes failed, run by run, where that was looked into.

    Raises:
        ConfigError: The folder holds something else, or is inside a run.
        DependencyError: jinja2 or plotly is missing.
    """
    requirements()
    check_output(output, runs)
    report = make_report(runs, question, videos != "none", share, why=why)
    with staged(output, "report") as staging:
        for folder in {Path(name).parent for name in report.videos}:
            (staging / folder).mkdir(parents=True)
        for name, source in report.videos.items():
            place(source, staging / name, videos)
        for name, content in report.files.items():
            (staging / name).write_bytes(content)
        (staging / _MARKER).write_text(json.dumps([run.name if share else str(run.path) for run in runs]) + "\n", "utf-8")
    return ReportOutcome(output / "index.html", report.missing_videos)


def make_report(
    runs: Sequence[Run],
    question: Question,
    videos: bool = True,
    share: bool = False,
    version: int | None = None,
    why: Sequence[Why | None] = (),
) -> Report:
    """Make the report of one or several runs; see `write_report`.

    Args:
        runs: Complete or not.
        question: Margin and error probability of the comparisons.
        videos: Whether there are any.
        share: Leave out paths, the machine and the command.
        version: Of a page that is served while its runs go on: how many there have been, by which it knows that there is another.
        why: Why episodes failed, run by run, where that was looked into.

    Raises:
        DependencyError: jinja2 or plotly is missing.
    """
    environment, plotly_js = requirements()
    named = _named(runs)
    found = {name: each for name, each in zip(named, why, strict=False) if each is not None}
    private_or_shared = shareable if share else private
    page = shareable_page(page_of(named, question, found)) if share else private(page_of(named, question, found))
    placed, sources = _videos(named) if videos else ({}, {})
    data = private_or_shared(page_data(named, placed, {name: each.reasons for name, each in found.items()}))
    script = f"window.VLA_REPORT = {script_json({**data, 'figures': page.pop('figures')})};\n"
    html = environment.get_template("report.html.j2").render({**page, "version": version})
    own = (*_SCRIPTS, _OF_A_WATCH) if version is not None else _SCRIPTS
    contents = {
        "index.html": html.encode(),
        "data.js": script.encode(),
        "plotly.min.js": plotly_js,
        **{name: (files(__package__) / "templates" / name).read_bytes() for name in own},
    }
    return Report(contents, sources, sum(name is None for name in placed.values()))


def requirements() -> tuple[Any, bytes]:
    """The template environment and plotly.js.

    Raises:
        DependencyError: jinja2 or plotly is missing.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined

        plotly_js = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    except (ImportError, FileNotFoundError) as error:
        raise DependencyError(f"a report needs jinja2 and plotly ({error}): pip install 'vlagym[report]'.") from error
    loader = PackageLoader(__package__ or "", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True), plotly_js


def check_output(output: Path, runs: Sequence[Run]) -> None:
    """Make sure that a report can be put there.

    Raises:
        ConfigError: The folder holds something else, or is inside a run.
    """
    for run in runs:
        if output.resolve().is_relative_to(run.path.resolve()):
            raise ConfigError(f"{output} is inside the run {run.path}, which is never modified; choose another --output.")
        if run.path.resolve().is_relative_to(output.resolve()):
            raise ConfigError(f"the run {run.path} is inside {output}; choose another --output.")
    if output.exists() and not (output / _MARKER).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} exists and is not a report; choose another --output.")


def _named(runs: Sequence[Run]) -> dict[str, Run]:
    """Runs by a name that no two of them share."""
    named: dict[str, Run] = {}
    for run in runs:
        name, number = run.name, 1
        while name in named:
            number += 1
            name = f"{run.name} ({number})"
        named[name] = run
    return named


def _videos(runs: Mapping[str, Run]) -> tuple[Placed, dict[str, Path]]:
    """The videos of runs.

    Returns:
        (run, episode) -> name of its video below ``videos/NUMBER OF THE RUN/``, None where a run says that it has one which is not
        there; and whole name -> the run's file.
    """
    placed: Placed = {}
    sources: dict[str, Path] = {}
    for number, (name, run) in enumerate(runs.items()):
        for result in run.results:
            source = run.file_of(result, "video")
            if source is None:
                continue
            free = None
            if source.is_file():
                # Two videos of one name in two folders of a run are two files.
                taken = f"videos/{number}/{source.name}" in sources
                free = f"{len(placed) + 1}--{source.name}" if taken else source.name
                sources[f"videos/{number}/{free}"] = source
            placed[name, result.spec] = free
    return placed, sources


def place(source: Path, target: Path, choice: VideoChoice) -> None:
    """Link or copy to where nothing is yet: what is there may be a hard link to a video of a run."""
    if choice == "link":
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without hard links: a copy does as well
            pass
    with source.open("rb") as video, target.open("xb") as copy:
        shutil.copyfileobj(video, copy)
