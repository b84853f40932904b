"""The official evaluation's tasks and grids: which setups are the trials of which task.

Sources: SimplerEnv@4ab7178, scripts/*_{visual_matching,variant_agg,bridge}.sh and evaluation/argparse.py for the grids,
tools/calc_metrics_evaluation_videos.py for the variants that count. Trials run over the variants first, then over the robot's
places, then over the objects' places, the last one fastest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Literal, get_args

import numpy as np

from .move_near import LAYOUTS as MOVE_NEAR_LAYOUTS
from .put_on import LAYOUTS as PUT_ON_LAYOUTS
from .put_on import SCENES
from .setups import (
    Drawer,
    DrawerSetup,
    Goal,
    GraspSetup,
    MoveNearSetup,
    Orientation,
    PlaceSetup,
    PutOnSetup,
    Setup,
    Textures,
)
from .upstream import CLOSE_FROM_M, DISTRACTORS, HEAD_TILTS

Evaluation = Literal["widowx", "google_visual_matching", "google_variant_aggregation"]

GRASP_HORIZON = MOVE_NEAR_HORIZON = 80
DRAWER_HORIZON, PLACE_HORIZON = 113, 200
WIDOWX_HORIZON, SINK_HORIZON = 60, 120

TABLE_STAGE, DRAWER_STAGE = "google_pick_coke_can_1_v4", "frl_apartment_stage_simple"
RECOLOURED = (
    "",
    "recolor_tabletop_visual_matching_1",
    "recolor_tabletop_visual_matching_2",
    "recolor_cabinet_visual_matching_1",
)


def _grid(x: tuple[float, float, int], y: tuple[float, float, int]) -> tuple[tuple[float, float], ...]:
    """Positions in m of a grid given by first, last and number per axis; y changes fastest."""
    return tuple(product(np.linspace(*x).tolist(), np.linspace(*y).tolist()))


def _turned(yaw: float) -> tuple[float, float, float, float]:
    """A robot that faces the table, turned by `yaw` rad."""
    return (0.0 - math.sin(yaw / 2), 0.0, 0.0, math.cos(yaw / 2))


GRASP_ROBOT_XY, MOVE_NEAR_ROBOT_XY, MOVE_NEAR_YAW = (0.35, 0.20), (0.35, 0.21), -0.09
CAN_GRID = _grid((-0.35, -0.12, 5), (-0.02, 0.42, 5))
APPLE_GRID = _grid((-0.08, -0.02, 3), (-0.02, 0.08, 3))
DRAWER_ROBOT_GRID = _grid((0.65, 0.85, 3), (-0.2, 0.2, 3))
PLACE_ROBOT_GRID = _grid((0.65, 0.65, 1), (-0.2, 0.2, 3))

# Where the real robot stood when the photographs were taken: x, y in m and yaw in rad.
PHOTOGRAPHED_FROM = {
    "a0": (0.644, -0.179, -0.03),
    "a1": (0.765, -0.182, -0.02),
    "a2": (0.889, -0.203, -0.06),
    "b0": (0.652, 0.009, 0.0),
    "b1": (0.752, 0.009, 0.0),
    "b2": (0.851, 0.035, 0.0),
    "c0": (0.665, 0.224, 0.0),
    "c1": (0.765, 0.222, -0.025),
    "c2": (0.865, 0.222, -0.025),
}

TABLE_VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "base": {},
    "background_1": {"stage": f"{TABLE_STAGE}_alt_background"},
    "background_2": {"stage": f"{TABLE_STAGE}_alt_background_2"},
    "brighter": {"lights": "slightly_brighter"},
    "darker": {"lights": "slightly_darker"},
    "table_1": {"stage": "Baked_sc1_staging_objaverse_cabinet1_h870"},
    "table_2": {"stage": "Baked_sc1_staging_objaverse_cabinet2_h870"},
}
CAMERA_VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "camera_1": {"head_tilt": HEAD_TILTS["MoveNearAltGoogleCamera"]},
    "camera_2": {"head_tilt": HEAD_TILTS["MoveNearAltGoogleCamera2"]},
}
DISTRACTOR_VARIANTS: Mapping[str, Mapping[str, Any]] = {
    f"{amount}_distractors": {"distractors": models} for amount, models in DISTRACTORS.items()
}
DRAWER_VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "base": {},
    "bedroom": {"stage": "modern_bedroom_no_roof"},
    "office": {"stage": "modern_office_no_roof"},
    "brighter": {"lights": "brighter"},
    "darker": {"lights": "darker"},
    "cabinet_2": {"cabinet": "mk_station2"},
    "cabinet_3": {"cabinet": "mk_station3"},
}


@dataclass(frozen=True)
class Trial:
    """One trial: the variant it belongs to, by name, and its setup."""

    variant: str
    setup: Setup


@dataclass(frozen=True)
class OfficialTask:
    """One task.

    Attributes:
        name: In vlagym.
        instruction: What the robot is told, or a sentence that stands for several.
        horizon: Steps per episode.
        trials: Its trials.
        group: Name under which papers report its mean with others; empty for the WidowX's tasks, which they report one by one.
    """

    name: str
    instruction: str
    horizon: int
    trials: tuple[Trial, ...]
    group: str = ""


@lru_cache(maxsize=8)
def official_tasks(evaluation: Evaluation, move_near: Textures, camera_variants: bool) -> tuple[OfficialTask, ...]:
    """The tasks of one of the official evaluations.

    Args:
        evaluation: Which one.
        move_near: Textures of the objects in visual matching's move-near task; the official scripts use ``baked_v0``.
        camera_variants: Whether variant aggregation also has the two variants of the camera, which upstream's averages leave out.
    """
    if evaluation == "widowx":
        return tuple(_widowx())
    if evaluation == "google_visual_matching":
        return tuple(_visual_matching(move_near))
    return tuple(_variant_aggregation(CAMERA_VARIANTS if camera_variants else {}))


def _widowx() -> Iterator[OfficialTask]:
    for name, scene in SCENES.items():
        place: dict[str, Any] = {
            "robot": "widowx",
            "robot_xy": (0.147, 0.028),
            "stage": "bridge_table_1_v1",
            "overlay": "bridge_real_eval_1.png",
        }
        if scene.sink:
            place = {
                "robot": "widowx_at_sink",
                "robot_xy": (0.127, 0.06),
                "stage": "bridge_table_1_v2",
                "overlay": "bridge_sink.png",
                "lights": "sink",
            }
        trials = tuple(Trial("base", PutOnSetup(**place, scene=name, layout=layout)) for layout in range(PUT_ON_LAYOUTS))
        yield OfficialTask(f"widowx_{name}", scene.instruction, SINK_HORIZON if scene.sink else WIDOWX_HORIZON, trials)


def _visual_matching(move_near: Textures) -> Iterator[OfficialTask]:
    colours = {colour.removeprefix("recolor_") or "original_colours": {"robot_colours": colour} for colour in RECOLOURED}
    yield from _grasp_tasks(colours, "google_coke_can_real_eval_1.png")
    yield _move_near_task(colours, move_near, "google_move_near_real_eval_1.png")
    matched = {
        "stage": "dummy_drawer",
        "lights": "drawer_simple",
        "robot_shiny": False,
        "cabinet": "mk_station_recolor",
        "shader": "raytracer",
    }
    places = {
        spot: {"robot_xy": (x, y), "robot_quat_wxyz": _turned(yaw), "overlay": f"open_drawer_{spot}.png"}
        for spot, (x, y, yaw) in PHOTOGRAPHED_FROM.items()
    }
    yield from _drawer_tasks(colours, [{**matched, **place} for place in places.values()])
    near = [{**matched, **place, "model": "baked_apple_v2"} for spot, place in places.items() if spot.endswith("0")]
    yield _place_task(colours, near)


def _variant_aggregation(cameras: Mapping[str, Mapping[str, Any]]) -> Iterator[OfficialTask]:
    yield from _grasp_tasks({**TABLE_VARIANTS, **DISTRACTOR_VARIANTS, **cameras}, None)
    yield _move_near_task({**TABLE_VARIANTS, "no_distractor": {"distractor": False}, **cameras}, "plain", None)
    room = {"stage": DRAWER_STAGE, "lights": "drawer_default", "shader": "raytracer"}
    yield from _drawer_tasks(DRAWER_VARIANTS, [{**room, "robot_xy": xy} for xy in DRAWER_ROBOT_GRID])
    yield _place_task(DRAWER_VARIANTS, [{**room, "robot_xy": xy, "model": "apple"} for xy in PLACE_ROBOT_GRID])


def _grasp_tasks(variants: Mapping[str, Mapping[str, Any]], overlay: str | None) -> Iterator[OfficialTask]:
    base = {"robot_xy": GRASP_ROBOT_XY, "stage": TABLE_STAGE, "overlay": overlay}
    for orientation in get_args(Orientation):
        trials = tuple(
            Trial(name, GraspSetup(**{**base, **variant}, orientation=orientation, object_xy=xy))
            for name, variant in variants.items()
            for xy in CAN_GRID
        )
        yield OfficialTask(f"google_pick_coke_can_{orientation}", "pick coke can", GRASP_HORIZON, trials, "pick_coke_can")


def _move_near_task(variants: Mapping[str, Mapping[str, Any]], textures: Textures, overlay: str | None) -> OfficialTask:
    quat = _turned(MOVE_NEAR_YAW)
    base = {"robot_xy": MOVE_NEAR_ROBOT_XY, "robot_quat_wxyz": quat, "stage": TABLE_STAGE, "overlay": overlay, "textures": textures}
    trials = tuple(
        Trial(name, MoveNearSetup(**{**base, **variant}, layout=layout))
        for name, variant in variants.items()
        for layout in range(MOVE_NEAR_LAYOUTS)
    )
    return OfficialTask("google_move_near", "move one object near another", MOVE_NEAR_HORIZON, trials, "move_near")


def _drawer_tasks(variants: Mapping[str, Mapping[str, Any]], places: Iterable[Mapping[str, Any]]) -> Iterator[OfficialTask]:
    where = list(places)
    for goal, drawer in product(get_args(Goal), get_args(Drawer)):
        start = CLOSE_FROM_M if goal == "close" else 0.0
        trials = tuple(
            Trial(name, DrawerSetup(**{**place, **variant}, drawer=drawer, goal=goal, start_opening=start))
            for name, variant in variants.items()
            for place in where
        )
        yield OfficialTask(f"google_{goal}_{drawer}_drawer", f"{goal} {drawer} drawer", DRAWER_HORIZON, trials, "open_close_drawer")


def _place_task(variants: Mapping[str, Mapping[str, Any]], places: Iterable[Mapping[str, Any]]) -> OfficialTask:
    trials = tuple(
        Trial(name, PlaceSetup(**{**place, **variant}, drawer="top", object_xy=xy))
        for (name, variant), place, xy in product(variants.items(), places, APPLE_GRID)
    )
    return OfficialTask("google_place_apple_in_closed_top_drawer", "open top drawer", PLACE_HORIZON, trials, "place_apple")
