"""The variants of LIBERO-plus: what each name means, and which trial of its base task it is here.

Upstream's list (libero/libero/benchmark/task_classification.json of sylvestf/LIBERO-plus) gives every variant a name, a category
and a difficulty, and the name says what the variant changes::

    BASE[_language_K]_view_H_V_S_R_E_initstate_I[_noise_N]      BASE[_moved]_levelL_sampleM

    BASE_light_K      BASE_table_K      BASE_tb_K      BASE_add_K

Those of the last line need files of upstream's assets.zip. Their trials come after all others of their task, so that every trial
has one number, with the archive and without.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ....errors import AssetError
from ...assets import locate
from ...assets.settings import assets_dir
from ..tasks import suite_tasks
from .camera import CameraTurn

ASSETS = "libero_plus"
ADDED_ASSETS = "libero_plus_add"  # definitions and initial states of the variants that add objects

# Upstream's word -> ours, for the categories that LIBERO's own meshes and textures suffice for.
CATEGORIES = {
    "Camera Viewpoints": "camera",
    "Robot Initial States": "robot",
    "Language Instructions": "language",
    "Sensor Noise": "noise",
    "Objects Layout": "layout",
}
# Every variant of these, and of layout those that add an object, needs upstream's assets.zip.
ZIP_CATEGORIES = {"Light Conditions": "light", "Background Textures": "background"}
LEVELS = (1, 2, 3, 4, 5)

# Variants per base task that need no more than LIBERO, in LIBERO's order of tasks: known without the data, which `variants` checks.
COUNTS = {
    "libero_spatial": (136, 160, 150, 166, 184, 163, 162, 178, 161, 184),
    "libero_object": (148, 157, 182, 172, 185, 186, 183, 189, 186, 177),
    "libero_goal": (171, 136, 176, 202, 201, 180, 209, 170, 154, 192),
    "libero_10": (167, 137, 193, 197, 188, 173, 195, 178, 164, 191),
}
# Those that need upstream's assets.zip.
ZIP_COUNTS = {
    "libero_spatial": (95, 38, 117, 80, 96, 93, 70, 91, 19, 59),
    "libero_object": (94, 16, 82, 120, 29, 65, 90, 83, 71, 103),
    "libero_goal": (97, 20, 94, 122, 42, 90, 82, 62, 81, 110),
    "libero_10": (45, 73, 88, 107, 99, 64, 88, 16, 69, 87),
}
OFFICIAL_COUNTS = {"libero_spatial": 2402, "libero_object": 2518, "libero_goal": 2591, "libero_10": 2519}

_VIEW = re.compile(
    r"(?:_language_(?P<language>\d+))?_view_(?P<turn>\d+_\d+_\d+_\d+_\d+)_initstate_(?P<arm>\d+)(?:_noise_(?P<noise>\d+))?"
)
_LAYOUT = re.compile(r"(?:_moved)?_level\d+_sample\d+")
_FROM_ZIP = re.compile(r"_(?P<change>(?:light|table|tb|add)_\d+)")


class PlusVariant(NamedTuple):
    """One variant.

    Attributes:
        name: Upstream's.
        number: Its ``id`` in upstream's list, from 1.
        category: Ours.
        level: Difficulty 1 .. 5; 0 for those that upstream gives none.
        turn: How the camera is turned.
        language: Number of the paraphrase, 0 for LIBERO's sentence.
        arm: Number of the arm pose, 0 for LIBERO's.
        noise: Number of the noise, 0 for none.
        layout: Whether the variant has a definition and an initial state of its own.
        from_zip: What it takes from upstream's assets.zip, e.g. ``light_12``; empty for nothing.
    """

    name: str
    number: int
    category: str
    level: int
    turn: CameraTurn = CameraTurn()
    language: int = 0
    arm: int = 0
    noise: int = 0
    layout: bool = False
    from_zip: str = ""


def remedy(name: str = ASSETS) -> str:
    """What to do about a damaged file of an asset set."""
    return f"Fetch it again: vla-eval assets fetch {name} --force"


def data_folder(name: str = ASSETS) -> Path:
    """Folder of upstream's ``libero/libero`` in one of the two asset sets.

    Raises:
        AssetError: It has not been fetched, or is incomplete.
    """
    return _located(assets_dir(), name)


@cache
def _located(assets: Path, name: str) -> Path:
    """Looked for once: it is asked for by every episode, and every one of its files is looked at."""
    return locate(name).path


def variants(suite: str) -> Mapping[str, Sequence[PlusVariant]]:
    """Base task -> its variants; the index of a variant is its trial.

    First come those that need no more than LIBERO, then those that need upstream's assets.zip. Of both the categories take turns,
    so that the first trials are some of each; within a category the order is upstream's.

    Args:
        suite: One of LIBERO's own, e.g. ``libero_spatial``.

    Raises:
        AssetError: Upstream's list has not been fetched, or is damaged.
    """
    return _read(data_folder() / "benchmark" / "task_classification.json", suite)


@cache
def _read(file: Path, suite: str) -> Mapping[str, Sequence[PlusVariant]]:
    plain, from_zip = ({task: defaultdict[str, list[PlusVariant]](list) for task in suite_tasks(suite)} for _ in range(2))
    try:
        for entry in json.loads(file.read_text(encoding="utf-8"))[suite]:
            base, found = parse(suite, int(entry["id"]), entry["name"], entry["category"], entry["difficulty_level"])
            (from_zip if found.from_zip else plain)[base][found.category].append(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssetError(f"{file} is not LIBERO-plus's list of variants ({error!r}). {remedy()}") from error
    categories = (*ZIP_CATEGORIES.values(), *CATEGORIES.values())
    first, last = (
        {task: _taking_turns([queue[category] for category in categories]) for task, queue in queues.items()}
        for queues in (plain, from_zip)
    )
    if (*map(len, first.values()),) != COUNTS[suite] or (*map(len, last.values()),) != ZIP_COUNTS[suite]:
        raise AssetError(f"{file} does not have the variants of {suite} that were counted. {remedy()}")
    return {task: (*first[task], *last[task]) for task in first}


def parse(suite: str, number: int, name: str, category: str, level: int | None) -> tuple[str, PlusVariant]:
    """The base task of a variant, and the variant.

    Raises:
        ValueError: The name begins with no task of the suite, or ends in no known way.
        KeyError: The category is not upstream's.
    """
    base = max((task for task in suite_tasks(suite) if name.startswith(f"{task}_")), key=len, default="")
    if not base:
        raise ValueError(f"{name} is a variant of no task of {suite}")
    rest = name.removeprefix(base)
    if match := _VIEW.fullmatch(rest):
        language, arm, noise = (int(match[key] or 0) for key in ("language", "arm", "noise"))
        around, up, distance, heading, pitch = map(int, match["turn"].split("_"))
        turn = CameraTurn(around, up, distance, heading, pitch)
        return base, PlusVariant(name, number, CATEGORIES[category], int(level or 0), turn, language, arm, noise)
    if _LAYOUT.fullmatch(rest):
        return base, PlusVariant(name, number, CATEGORIES[category], int(level or 0), layout=True)
    if match := _FROM_ZIP.fullmatch(rest):
        ours = {**CATEGORIES, **ZIP_CATEGORIES}[category]
        return base, PlusVariant(name, number, ours, int(level or 0), layout="add_" in rest, from_zip=match["change"])
    raise ValueError(f"{name} ends in no way that is known")


def _taking_turns(queues: Sequence[Sequence[PlusVariant]]) -> tuple[PlusVariant, ...]:
    longest = max(map(len, queues))
    return tuple(queue[place] for place in range(longest) for queue in queues if place < len(queue))


def upstream_instruction(variant: PlusVariant) -> str:
    """What upstream tells the policy where it takes the sentence from a file's name: the name, its scene left out."""
    return " ".join(re.sub(r"^[A-Z].*?SCENE\d+_", "", variant.name).split("_"))
