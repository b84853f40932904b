"""Episodes in upstream's own words: environment id, constructor arguments and reset options become a setup.

For whoever has scripts or recordings of SimplerEnv, and for the tests that compare with them. Sources: SimplerEnv@4ab7178,
simpler_env/evaluation/maniskill2_evaluator.py; ManiSkill2_real2sim@ef7a4d4, envs/custom_scenes/*.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..._registry import unknown_name
from ...errors import ConfigError
from .setups import (
    DrawerSetup,
    GraspSetup,
    Lights,
    MoveNearSetup,
    Orientation,
    PlaceSetup,
    PutOnSetup,
    RobotName,
    Setup,
    Textures,
)

# The head's usual tilt is 0.785; these two variants look farther down and farther up.
HEAD_TILTS = {"GraspSingleOpenedCokeCanAltGoogleCamera": 0.9351361, "GraspSingleOpenedCokeCanAltGoogleCamera2": 0.6651361}
HEAD_TILTS |= {"MoveNearAltGoogleCamera": 0.9351361, "MoveNearAltGoogleCamera2": 0.6651361}
CLOSE_FROM_M = 0.2

ROBOTS: Mapping[str, RobotName] = {
    "google_robot_static": "google",
    "widowx": "widowx",
    "widowx_sink_camera_setup": "widowx_at_sink",
}
ORIENTATIONS: Mapping[str, Orientation] = {"upright": "standing", "laid_vertically": "vertical", "lr_switch": "horizontal"}
DISTRACTORS = {
    "less": ("opened_pepsi_can", "apple", "sponge", "orange"),
    "more": (
        "opened_7up_can",
        "opened_sprite_can",
        "sponge",
        "orange",
        "opened_fanta_can",
        "bridge_spoon_generated_modified",
    ),
}
MOVE_NEAR: Mapping[str, Textures] = {
    "MoveNearGoogleInScene-v0": "plain",
    "MoveNearAltGoogleCameraInScene-v0": "plain",
    "MoveNearAltGoogleCamera2InScene-v0": "plain",
    "MoveNearGoogleBakedTexInScene-v0": "baked_v0",
    "MoveNearGoogleBakedTexInScene-v1": "baked_v1",
}
PUT_ON = {
    "PutSpoonOnTableClothInScene-v0": "spoon_on_towel",
    "PutCarrotOnPlateInScene-v0": "carrot_on_plate",
    "StackGreenCubeOnYellowCubeBakedTexInScene-v0": "stack_cube",
    "PutEggplantInBasketScene-v0": "eggplant_in_basket",
}
DRAWER_ID = re.compile(r"(Open|Close|PlaceIntoClosed)(Top|Middle|Bottom)DrawerCustomInScene-v0")
GRASP_ID = re.compile(r"GraspSingleOpenedCokeCan(Distractor|AltGoogleCamera2?)?InScene-v0")


def setup_from_upstream(env_id: str, make_kwargs: Mapping[str, Any], reset_options: Mapping[str, Any]) -> Setup:
    """The setup of an episode that upstream's official evaluator would run.

    Args:
        env_id: E.g. ``GraspSingleOpenedCokeCanInScene-v0``.
        make_kwargs: What its constructor is given, as the evaluator gives it.
        reset_options: ``options`` of its ``reset``.

    Raises:
        ConfigError: An environment that is not part of the evaluation.
    """
    common = _common(env_id, make_kwargs, reset_options)
    objects = reset_options.get("obj_init_options", {})
    if found := GRASP_ID.fullmatch(env_id):
        orientation = next(ours for theirs, ours in ORIENTATIONS.items() if make_kwargs.get(theirs))
        distractors = DISTRACTORS[make_kwargs.get("distractor_config", "less")] if found[1] == "Distractor" else ()
        return GraspSetup(**common, orientation=orientation, object_xy=tuple(objects["init_xy"]), distractors=distractors)
    if env_id in MOVE_NEAR:
        distractor = not make_kwargs.get("no_distractor", False)
        return MoveNearSetup(**common, layout=objects["episode_id"], textures=MOVE_NEAR[env_id], distractor=distractor)
    if env_id in PUT_ON:
        return PutOnSetup(**common, scene=PUT_ON[env_id], layout=objects["episode_id"])
    if found := DRAWER_ID.fullmatch(env_id):
        drawer, cabinet = found[2].lower(), make_kwargs.get("station_name", "mk_station")
        if found[1] == "PlaceIntoClosed":
            model, xy = make_kwargs["model_ids"], tuple(objects["init_xy"])
            return PlaceSetup(**common, drawer=drawer, cabinet=cabinet, model=model, object_xy=xy)  # type: ignore[arg-type]
        start = CLOSE_FROM_M if found[1] == "Close" else 0.0
        return DrawerSetup(**common, drawer=drawer, goal=found[1].lower(), cabinet=cabinet, start_opening=start)  # type: ignore[arg-type]
    raise ConfigError(f"{env_id!r} is not an environment of SimplerEnv's official evaluation.")


def task_of_folder(folder: str) -> tuple[str, str] | None:
    """Our task, and ``google`` or ``widowx``, of a folder of upstream's results; None if it is not of the official evaluation.

    Args:
        folder: The environment's id with what its constructor was given, e.g.
            ``GraspSingleOpenedCokeCanInScene-v0_lr_switch_True_urdf_version_None``.
    """
    match = re.match(r"\w+?-v[0-9]+", folder)
    env_id, given = (match[0], folder[match.end() :]) if match else ("", "")
    task = None
    if (found := GRASP_ID.fullmatch(env_id)) and found[1] in (None, "Distractor"):
        lies = next((ours for theirs, ours in ORIENTATIONS.items() if f"_{theirs}_True" in given), None)
        task = lies and f"google_pick_coke_can_{lies}"
    elif env_id in MOVE_NEAR and "AltGoogleCamera" not in env_id:
        task = "google_move_near"
    elif (found := DRAWER_ID.fullmatch(env_id)) and found[1] != "PlaceIntoClosed":
        task = f"google_{found[1].lower()}_{found[2].lower()}_drawer"
    elif found and found[2] == "Top":
        task = "google_place_apple_in_closed_top_drawer"
    elif env_id in PUT_ON:
        return f"widowx_{PUT_ON[env_id]}", "widowx"
    return (task, "google") if task else None


def _common(env_id: str, make_kwargs: Mapping[str, Any], reset_options: Mapping[str, Any]) -> dict[str, Any]:
    robot = make_kwargs["robot"]
    if robot not in ROBOTS:
        raise unknown_name("SimplerEnv robot", robot, ROBOTS)
    place = reset_options["robot_init_options"]
    overlay = make_kwargs.get("rgb_overlay_path")
    urdf = make_kwargs.get("urdf_version")
    return {
        "robot": ROBOTS[robot],
        "robot_xy": tuple(place["init_xy"]),
        "robot_quat_wxyz": tuple(place["init_rot_quat"]),
        "robot_colours": "" if urdf in (None, "None") else urdf,
        "robot_shiny": not make_kwargs.get("disable_bad_material", False),
        "head_tilt": HEAD_TILTS.get(env_id.split("InScene", maxsplit=1)[0]),
        "stage": make_kwargs["scene_name"],
        "lights": _lights(env_id, make_kwargs),
        "overlay": overlay.rsplit("/", 1)[-1] if overlay else None,
        "shader": "raytracer" if make_kwargs.get("shader_dir") == "rt" else "rasterizer",
    }


def _lights(env_id: str, make_kwargs: Mapping[str, Any]) -> Lights:
    if DRAWER_ID.fullmatch(env_id):
        modes: dict[str | None, Lights] = {
            None: "drawer_default",
            "simple": "drawer_simple",
            "brighter": "brighter",
            "darker": "darker",
        }
        return modes[make_kwargs.get("light_mode")]
    if env_id == "PutEggplantInBasketScene-v0":
        return "sink"
    if make_kwargs.get("slightly_darker_lighting"):
        return "slightly_darker"
    return "slightly_brighter" if make_kwargs.get("slightly_brighter_lighting") else "default"
