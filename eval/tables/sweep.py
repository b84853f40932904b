"""The folder of a sweep: a folder per run, and sweep.json, which says what each run has of its own.

Layout::

    sweep.json         which settings the runs differ in, and per run its folder and its own values
    KEY=VALUE/         the folder of a run, like any other (see `vlagym.eval.tables.folder`), once the run has begun
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from ..._durable import make_folder, write_durably
from ...edges.files import MEGABYTE, FileKind
from ...edges.secrets import masked
from ...errors import RunError, StorageError
from ..plan.sweep import SweptRun
from .runs import load_run
from .success import AVERAGE, Sheet, formatted_row

SWEEP_FILE = FileKind("the index of a sweep", RunError, "Run the sweep's command again with its run_dir.", max_bytes=16 * MEGABYTE)
INDEX = "sweep.json"
_Text = Annotated[str, Meta(max_length=100_000)]
_Folder = Annotated[str, Meta(pattern=r"\A[\w=+-][\w.=+-]{0,199}\Z")]  # below the sweep's own


class _Run(Struct):
    folder: _Folder
    values: dict[_Text, _Text]


class _Index(Struct):
    keys: list[_Text]
    runs: Annotated[list[_Run], Meta(min_length=1, max_length=100_000)]


@dataclass(frozen=True)
class Member:
    """One run of a sweep.

    Attributes:
        path: Its folder; it is there once the run has begun.
        values: The settings that are its own: key -> value as it was typed, secrets masked.
    """

    path: Path
    values: dict[str, str]


@dataclass(frozen=True)
class Sweep:
    """A sweep's index.

    Attributes:
        path: The sweep's folder.
        keys: The settings that its runs differ in, the one that changes fastest last.
        members: Its runs, in the order in which they are run.
    """

    path: Path
    keys: tuple[str, ...]
    members: tuple[Member, ...]

    @property
    def begun(self) -> list[Member]:
        """The runs that have a folder."""
        return [member for member in self.members if (member.path / "run.json").is_file()]


def is_sweep(path: Path) -> bool:
    """Whether a folder is a sweep's."""
    return (path / INDEX).is_file()


def load_sweep(path: Path) -> Sweep:
    """Read a sweep's index.

    Raises:
        RunError: There is none, or it is damaged.
    """
    index = SWEEP_FILE.converted(path / INDEX, SWEEP_FILE.json(path / INDEX), _Index)
    members = [Member(path / run.folder, run.values) for run in index.runs]
    if len({member.path for member in members}) < len(members):
        raise SWEEP_FILE.fault(path / INDEX, "two of its runs have one folder")
    return Sweep(path, tuple(index.keys), tuple(members))


def runs_below(path: Path) -> list[Path]:
    """The folders of the runs that a path stands for: of a sweep those that have begun, else the path itself.

    Raises:
        RunError: A sweep's index is damaged, or none of its runs has begun.
    """
    if not is_sweep(path):
        return [path]
    begun = [member.path for member in load_sweep(path).begun]
    if not begun:
        raise RunError(f"none of the runs of the sweep {path} has begun.")
    return begun


def write_sweep(path: Path, runs: Sequence[SweptRun]) -> Sweep:
    """Note runs in a sweep's folder, which is made if it is not there; runs that were noted before stay.

    Raises:
        RunError: The folder is something else's, or is a sweep over other settings.
        StorageError: It cannot be written.
    """
    keys = list(runs[0].values)
    known: list[Member] = []
    if is_sweep(path):
        before = load_sweep(path)
        if list(before.keys) != keys:
            raise RunError(f"{path} is a sweep over {', '.join(before.keys)}, not {', '.join(keys)}; choose another run_dir.")
        known = list(before.members)
    elif path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path} is there and is no sweep; choose another run_dir.")
    folders = {member.path.name for member in known}
    entries = [{"folder": member.path.name, "values": member.values} for member in known]
    entries += [{"folder": run.name, "values": masked(run.values)} for run in runs if run.name not in folders]
    try:
        make_folder(path)
        write_durably(path / INDEX, json.dumps({"keys": keys, "runs": entries}, indent=2) + "\n")
    except OSError as error:
        raise StorageError(f"the sweep's folder {path} cannot be written: {error.strerror}.") from error
    return load_sweep(path)


def sweep_sheet(sweep: Sweep) -> Sheet:
    """A sweep for people: one row per run and suite, the settings that are its own in front of its rates."""
    rows = []
    for member in sweep.members:
        own = [member.values[key] for key in sweep.keys]
        if member not in sweep.begun:
            rows.append([*own, "-", "-", "-", "not run", "-"])
            continue
        table = load_run(member.path).table()
        for row in table[table["task"] == AVERAGE].to_dict("records"):
            suite, _, *rest = formatted_row({str(key): value for key, value in row.items()})
            rows.append([*own, suite, *rest])
    columns = [*sweep.keys, "suite", "success", "95 % interval", "successes\n/ episodes", "errors"]
    return Sheet(columns, len(sweep.keys) + 1, rows, frozenset())
