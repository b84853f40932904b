"""What the files of a run must hold: run.json and a line of episodes.jsonl, as schemas that msgspec checks.

Keys that are not named here are left alone: a newer version may have added them. What is named has these types and ranges, which
also keep a crafted file from asking for more work than any run is (see `MOST_EPISODES`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ...edges.files import MEGABYTE, FileKind
from ...edges.settings import MANY
from ...edges.text import is_printable, printable
from ...episode import Variant
from ...errors import RunError

MOST_EPISODES = MANY
_FRESH = "Take it from a backup, or start the run anew."
HEADER_FILE = FileKind("the header of a run", RunError, _FRESH)
CONFIG_FILE = FileKind("the settings of a run", RunError, _FRESH, max_bytes=MEGABYTE)
EPISODES_FILE = FileKind("the episodes of a run", RunError, _FRESH, max_bytes=4096 * MEGABYTE)

_Number = Annotated[int, Meta(ge=0, lt=2**53)]
_Name = Annotated[str, Meta(min_length=1, max_length=1000)]
_Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
# Part of the names of files that are written: nothing in it can lead to another folder.
_Stamp = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.+\-]{0,63}\Z")]


class _Task(Struct):
    name: _Name
    instruction: str
    trials: Annotated[int, Meta(ge=1, le=MOST_EPISODES)]
    horizon: Annotated[int, Meta(ge=1, lt=2**31)]
    chain: Annotated[int, Meta(ge=1, le=1000)]
    group: str = ""
    chosen: list[_Number] | None = None


class _Policy(Struct):
    name: _Name


class _Leg(Struct):
    suite: _Name
    tasks: Annotated[list[_Task], Meta(min_length=1)]
    protocol: dict[str, Any]
    protocol_sha256: _Sha256
    suite_provenance: dict[str, Any]
    notices: list[str]
    policy: _Policy
    policy_provenance: dict[str, Any] | None
    plain_suite: str | None = None
    weighted_total: str = ""
    coverage: tuple[_Number, _Number] | None = None
    variants: dict[str, list[tuple[_Number, Variant]]] = {}


class _Gate(Struct):
    baseline: str
    margin: float
    alpha: float
    looks: _Number
    look: _Number
    verdict: Literal["no regression", "regression", "cannot tell"]
    reason: str
    notes: list[str]


class _Imported(Struct):
    source: str
    sha256: _Sha256 | None
    ordered: bool


class _Header(Struct):
    vlagym: str
    commit: str | None
    python: str
    platform: str
    cpu: str
    cores: int | None
    packages: dict[str, str]
    command: list[str]
    created: str
    stamp: _Stamp
    episodes: Annotated[int, Meta(ge=0, le=MOST_EPISODES)]
    plan_sha256: _Sha256
    legs: Annotated[list[_Leg], Meta(min_length=1)]
    run_id: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_\-]{1,64}\Z")] = "0"
    resumed: list[dict[str, Any]] = []
    gate: _Gate | None = None
    imported: _Imported | None = None


def checked_header(path: Path) -> dict[str, Any]:
    """The header in a file, checked, its texts without control characters.

    Raises:
        RunError: It is missing or damaged; names the key.
    """
    header: dict[str, Any] = HEADER_FILE.object(path, _Header)
    suites = [leg["suite"] for leg in header["legs"]]
    names = [*suites, *(task["name"] for leg in header["legs"] for task in leg["tasks"])]
    odd = next((name for name in names if not is_printable(name)), None)
    if odd is not None:
        raise HEADER_FILE.fault(path, f"the name {odd!r} holds control characters")
    if len(set(suites)) < len(suites):
        raise HEADER_FILE.fault(path, "a suite has two legs")
    shown: dict[str, Any] = shown_values(header)
    return shown


def shown_values(value: Any) -> Any:
    """A plain value whose texts have their control characters spelled out."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): shown_values(inner) for key, inner in value.items()}
    return [shown_values(inner) for inner in value] if isinstance(value, list) else value
