"""The variants of LIBERO-plus: what each name means, and which trial of its base task it is here.

Upstream's list (libero/libero/benchmark/task_classification.json of sylvestf/LIBERO-plus) gives every variant a name, a category
and a difficulty, and the name says all that the variant changes::

    BASE[_language_K]_view_H_V_S_R_E_initstate_I[_noise_N]      BASE[_moved]_levelL_sampleM

Variants of other forms (``_light_K``, ``_table_K``, ``_tb_K``, ``_add_K``) need files of upstream's assets.zip and are left out.
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
REMEDY = f"Fetch it again: vla-eval assets fetch {ASSETS} --force"

# Upstream's word -> ours, for the categories that LIBERO's own meshes and textures suffice for.
CATEGORIES = {
    "Camera Viewpoints": "camera",
    "Robot Initial States": "robot",
    "Language Instructions": "language",
    "Sensor Noise": "noise",
    "Objects Layout": "layout",
}
# Every variant of these, and of layout those that add an object, needs upstream's assets.zip.
UNCOVERED_CATEGORIES = ("light", "background")
LEVELS = (1, 2, 3, 4, 5)

# Variants per base task that can be run, in LIBERO's order of tasks: known without the data, which `variants` checks.
COUNTS = {
    "libero_spatial": (136, 160, 150, 166, 184, 163, 162, 178, 161, 184),
    "libero_object": (148, 157, 182, 172, 185, 186, 183, 189, 186, 177),
    "libero_goal": (171, 136, 176, 202, 201, 180, 209, 170, 154, 192),
    "libero_10": (167, 137, 193, 197, 188, 173, 195, 178, 164, 191),
}
OFFICIAL_COUNTS = {"libero_spatial": 2402, "libero_object": 2518, "libero_goal": 2591, "libero_10": 2519}

_VIEW = re.compile(
    r"(?:_language_(?P<language>\d+))?_view_(?P<turn>\d+_\d+_\d+_\d+_\d+)_initstate_(?P<arm>\d+)(?:_noise_(?P<noise>\d+))?"
)
_LAYOUT = re.compile(r"(?:_moved)?_level\d+_sample\d+")


class PlusVariant(NamedTuple):
    """One variant.

    Attributes:
        name: Upstream's.
        number: Its ``id`` in upstream's list, from 1.
        category: Ours.
        level: Difficulty 1 .. 5.
        turn: How the camera is turned.
        language: Number of the paraphrase, 0 for LIBERO's sentence.
        arm: Number of the arm pose, 0 for LIBERO's.
        noise: Number of the noise, 0 for none.
        layout: Whether the variant has a definition and an initial state of its own.
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


def data_folder() -> Path:
    """Folder of upstream's ``libero/libero``.

    Raises:
        AssetError: It has not been fetched, or is incomplete.
    """
    return _located(assets_dir())


@cache
def _located(assets: Path) -> Path:
    """Looked for once: it is asked for by every episode, and every one of its files is looked at."""
    return locate(ASSETS).path


def variants(suite: str) -> Mapping[str, Sequence[PlusVariant]]:
    """Base task -> its variants; the index of a variant is its trial.

    The categories take turns, so that the first trials are some of each; within a category the order is upstream's.

    Args:
        suite: One of LIBERO's own, e.g. ``libero_spatial``.

    Raises:
        AssetError: Upstream's list has not been fetched, or is damaged.
    """
    return _read(data_folder() / "benchmark" / "task_classification.json", suite)


@cache
def _read(file: Path, suite: str) -> Mapping[str, Sequence[PlusVariant]]:
    queues: dict[str, dict[str, list[PlusVariant]]] = {task: defaultdict(list) for task in suite_tasks(suite)}
    try:
        for entry in json.loads(file.read_text(encoding="utf-8"))[suite]:
            base, found = parse(suite, int(entry["id"]), entry["name"], entry["category"], entry["difficulty_level"])
            if found is not None:
                queues[base][found.category].append(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssetError(f"{file} is not LIBERO-plus's list of variants ({error!r}). {REMEDY}") from error
    listed = {task: _taking_turns([queue[category] for category in CATEGORIES.values()]) for task, queue in queues.items()}
    if tuple(map(len, listed.values())) != COUNTS[suite]:
        raise AssetError(f"{file} does not have the variants of {suite} that were counted. {REMEDY}")
    return listed


def parse(suite: str, number: int, name: str, category: str, level: int | None) -> tuple[str, PlusVariant | None]:
    """The base task of a variant, and the variant if LIBERO's own meshes and textures suffice for it.

    Raises:
        ValueError: The name begins with no task of the suite.
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
    return base, None


def _taking_turns(queues: Sequence[Sequence[PlusVariant]]) -> tuple[PlusVariant, ...]:
    longest = max(map(len, queues))
    return tuple(queue[place] for place in range(longest) for queue in queues if place < len(queue))


def upstream_instruction(variant: PlusVariant) -> str:
    """What upstream tells the policy where it takes the sentence from a file's name: the name, its scene left out."""
    return " ".join(re.sub(r"^[A-Z].*?SCENE\d+_", "", variant.name).split("_"))
