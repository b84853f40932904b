"""Puts a run into one archive that compares, tables and reports elsewhere.

The archive is a gzip-compressed tar with one folder, named like the run: config.yaml, run.json, episodes.jsonl, the summaries, then
the videos and trajectories that were asked for. The same run gives the same bytes: no times, owners or modes are kept.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ...edges.sharing import private, shareable
from ...edges.text import is_printable
from ...episode import EpisodeResult
from ...errors import ConfigError, StorageError
from ..tables.runs import Run

VideoChoice = Literal["failures", "all", "none"]
SUMMARIES = ("summary.csv", "summary.md")
# What run.json says of the machine and is not needed to read it.
_MACHINE: dict[str, Any] = {"platform": "", "cpu": "", "cores": None, "command": []}


@dataclass(frozen=True)
class Packed:
    """What was written.

    Attributes:
        archive: The file.
        videos: How many videos are in it.
        missing: Videos and trajectories that were asked for and that the run no longer has.
    """

    archive: Path
    videos: int
    missing: int


def pack(
    run: Run, output: Path, videos: VideoChoice = "failures", trajectories: bool = False, keep_private: bool = False
) -> Packed:
    """Write the archive of a run, complete or not; the run is only read.

    Args:
        run: What to pack.
        output: File to write; it must not exist.
        videos: Which episodes' videos go with it.
        trajectories: Whether states and actions do, without which nothing can be replayed or drawn again.
        keep_private: Leave paths, host names, the machine and the command in. Secrets are masked in any case.

    Raises:
        ConfigError: The file exists, or the run's folder has a name that an archive from elsewhere may not have.
        StorageError: It cannot be written.
    """
    if output.exists():
        raise ConfigError(f"{output} exists; choose another --output.")
    if not is_run_name(run.name):
        raise ConfigError(f"the run's folder is called {run.name!r}, which cannot be a folder everywhere; rename it first.")
    part = output.with_name(f".{output.name}.part")
    files = {kind: _files(run, kind, videos, trajectories) for kind in ("video", "trajectory")}
    there = {kind: {name: file for name, file in found.items() if file.is_file()} for kind, found in files.items()}
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream, tarfile.open(None, "w|", stream) as tar:
            for name, text in _texts(run, {*there["video"], *there["trajectory"]}, keep_private):
                _add(tar, f"{run.name}/{name}", io.BytesIO(text.encode()), len(text.encode()))
            for name, file in sorted({**there["video"], **there["trajectory"]}.items()):
                with file.open("rb") as content:
                    _add(tar, f"{run.name}/{name}", content, file.stat().st_size)
        part.replace(output)
    except OSError as error:
        raise StorageError(f"{output} cannot be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
    return Packed(output, len(there["video"]), sum(len(files[kind]) - len(there[kind]) for kind in files))


def is_run_name(name: str) -> bool:
    """Whether a text can be the name of a run's folder wherever it is unpacked."""
    return is_printable(name) and 0 < len(name.encode()) <= 200 and not name.startswith(".") and not set(name) & set("/\\:")


def _files(run: Run, kind: Literal["video", "trajectory"], videos: VideoChoice, trajectories: bool) -> dict[str, Path]:
    """The files that are asked for, by their path in the run."""
    wanted = trajectories if kind == "trajectory" else videos != "none"
    found = {}
    for result in run.results if wanted else ():
        file = run.file_of(result, kind)
        if file is not None and (kind == "trajectory" or videos == "all" or result.success is False):
            found[str(result.execution[kind])] = file
    return found


def _texts(run: Run, packed: set[str], keep_private: bool) -> Iterator[tuple[str, str]]:
    """The run's records by file name, as they may be given away."""
    from omegaconf import OmegaConf

    shown = private if keep_private else shareable
    header = run.header if keep_private else _without_machine(run.header)
    yield "config.yaml", OmegaConf.to_yaml(OmegaConf.create(shown(run.config.to_json())))
    yield "run.json", json.dumps(shown(header), indent=2) + "\n"
    yield "episodes.jsonl", "".join(json.dumps(_record(result, packed, shown)) + "\n" for result in run.results)
    for name in SUMMARIES:
        if (file := run.path / name).is_file():
            yield name, shown(file.read_text(encoding="utf-8"))


def _without_machine(header: dict[str, Any]) -> dict[str, Any]:
    sessions = [{**session, **_MACHINE} for session in header.get("resumed", [])]
    return {**header, **_MACHINE, "resumed": sessions}


def _record(result: EpisodeResult, packed: set[str], shown: Callable[[Any], Any]) -> dict[str, Any]:
    """An episode's line; it names only files that are in the archive."""
    gone = {kind: None for kind in ("video", "trajectory") if result.execution.get(kind) not in packed}
    execution = {**result.execution, **gone}
    if execution.get("video_error"):
        execution["video_error"] = shown(execution["video_error"])
    return replace(result, error=result.error and shown(result.error), execution=execution).to_json()


def _add(tar: tarfile.TarFile, name: str, content: Any, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    tar.addfile(member, content)
