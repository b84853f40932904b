"""What the shards of a run keep in its folder: a file of episodes and a sheet each, which together read like those of one process.

A sheet says what its shard ran on and measured. Whoever reads the run makes sure that the sheets agree with each other and with
run.json: what was measured differently is not added up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from ..._durable import write_durably
from ...edges.text import differences
from ...errors import ConfigError, RunError, StorageError
from ..plan.shard import Shard
from .schema import HEADER_FILE, shown_values

_EPISODES = re.compile(r"episodes\.shard-(\d{1,6})-of-(\d{1,6})\.jsonl")
_SHEET = re.compile(r"run\.shard-(\d{1,6})-of-(\d{1,6})\.json")
_MOST = 10_000  # far more files than a run has processes


class _LegSheet(Struct):
    suite: str
    protocol_sha256: str
    suite_provenance: dict[str, Any]
    policy_provenance: dict[str, Any] | None
    notices: list[str]


class _Sheet(Struct):
    plan_sha256: str
    code_sha256: str
    at: str
    legs: list[_LegSheet]


def episodes_name(shard: Shard) -> str:
    """Name of a shard's file of episodes."""
    return f"episodes.{shard.slug}.jsonl"


def sheet_name(shard: Shard) -> str:
    """Name of a shard's sheet."""
    return f"run.{shard.slug}.json"


def episode_files(run: Path) -> dict[Shard, Path]:
    """The files of episodes that shards have left in a run's folder."""
    return dict(_named(run, _EPISODES))


def sheet_files(run: Path) -> dict[Shard, Path]:
    """The sheets that shards have left there."""
    return dict(_named(run, _SHEET))


def write_sheet(run: Path, shard: Shard, header: Mapping[str, Any], session: Mapping[str, Any]) -> None:
    """Say what a shard runs on.

    Args:
        run: The run's folder.
        shard: Which.
        header: As run.json would say it, with what the shard's own policies are made of.
        session: Versions and machine.

    Raises:
        StorageError: It cannot be written.
    """
    keys = _LegSheet.__struct_fields__
    legs = [{key: leg[key] for key in keys} for leg in header["legs"]]
    sheet = {**session, "shard": str(shard), "plan_sha256": header["plan_sha256"], "legs": legs}
    try:
        write_durably(run / sheet_name(shard), json.dumps(sheet, indent=2) + "\n")
    except OSError as error:
        raise StorageError(f"{run / sheet_name(shard)} cannot be written: {error.strerror}.") from error


def with_sheets(run: Path, header: dict[str, Any]) -> dict[str, Any]:
    """The header of a run as if one process had run it: what its policies are made of, and every session.

    Raises:
        RunError: A sheet is damaged, or shards measured different things.
    """
    files = sheet_files(run)
    if not files:
        return header
    sheets = {shard: _read(file) for shard, file in sorted(files.items())}
    legs = [dict(leg) for leg in header["legs"]]
    for shard, sheet in sheets.items():
        _check(run, shard, header, sheet)
        for leg, said in zip(legs, sheet["legs"], strict=True):
            _take(run, shard, leg, said)
    sessions = [{key: value for key, value in sheet.items() if key not in ("legs", "plan_sha256")} for sheet in sheets.values()]
    known = {session.get("shard"): session for session in header.get("shards", [])}
    return {**header, "legs": legs, "shards": list({**known, **{s["shard"]: s for s in sessions}}.values())}


def _check(run: Path, shard: Shard, header: Mapping[str, Any], sheet: Mapping[str, Any]) -> None:
    """Make sure that a shard ran the plan of the run, with the same code."""
    for key, what in (("plan_sha256", "another plan"), ("code_sha256", "other code of environments or policies")):
        if sheet[key] != header.get(key, sheet[key]):
            raise _stranger(run, shard, f"it has {what}")
    suites = [[leg["suite"] for leg in legs] for legs in (header["legs"], sheet["legs"])]
    if suites[0] != suites[1]:
        raise _stranger(run, shard, f"it has the suites {', '.join(suites[1])}")


def _take(run: Path, shard: Shard, leg: dict[str, Any], said: Mapping[str, Any]) -> None:
    """Add what a sheet says of a leg to it."""
    if said["protocol_sha256"] != leg["protocol_sha256"]:
        raise _stranger(run, shard, f"its protocol of {leg['suite']} is another one")
    if said["suite_provenance"] != leg["suite_provenance"]:
        found = differences(leg["suite_provenance"], said["suite_provenance"])
        raise _stranger(run, shard, f"{leg['suite']} ran on something else ({found})")
    if said["policy_provenance"] is None:
        return
    if leg["policy_provenance"] not in (None, said["policy_provenance"]):
        found = differences(leg["policy_provenance"], said["policy_provenance"])
        raise _stranger(run, shard, f"its policy is another one ({found})")
    leg["policy_provenance"] = said["policy_provenance"]
    leg["notices"] = list(dict.fromkeys([*leg["notices"], *said["notices"]]))


def _read(file: Path) -> dict[str, Any]:
    sheet: dict[str, Any] = shown_values(HEADER_FILE.object(file, _Sheet))
    return sheet


def _stranger(run: Path, shard: Shard, why: str) -> RunError:
    files = f"{episodes_name(shard)} and {sheet_name(shard)}"
    return RunError(
        f"{run}: shard {shard} did not run what the others did: {why}. Move {files} out of the folder, then resume the run."
    )


def _named(run: Path, pattern: re.Pattern[str]) -> Iterator[tuple[Shard, Path]]:
    if not run.is_dir():
        return
    found: Sequence[Path] = sorted(run.iterdir())
    matches = [(match, file) for file in found if (match := pattern.fullmatch(file.name))]
    if len(matches) > _MOST:
        raise RunError(f"{run} has the files of {len(matches)} shards; at most {_MOST} are read.")
    for match, file in matches:
        try:
            yield Shard(int(match[1]), int(match[2])), file
        except ConfigError as error:
            raise RunError(f"{file} is of no shard that there can be. Move it out of the folder.") from error
