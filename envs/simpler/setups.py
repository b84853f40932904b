"""What an episode is made of, as data: one dataclass per family of SimplerEnv's environments, without a simulator.

A setup says what upstream says with an environment id and the arguments of its constructor and of ``reset``. Sources:
ManiSkill2_real2sim@ef7a4d4, envs/custom_scenes/*.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Shader = Literal["rasterizer", "raytracer"]
Lights = Literal["default", "slightly_darker", "slightly_brighter", "drawer_default", "drawer_simple", "darker", "brighter", "sink"]
RobotName = Literal["google", "widowx", "widowx_at_sink"]
Orientation = Literal["horizontal", "vertical", "standing"]
Textures = Literal["plain", "baked_v0", "baked_v1"]
Drawer = Literal["top", "middle", "bottom"]
Goal = Literal["open", "close"]

FACING_TABLE = (0.0, 0.0, 0.0, 1.0)  # a half turn about z


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the families have in common.

    Attributes:
        robot: Which robot and camera.
        robot_xy: Where its base stands, m.
        robot_quat_wxyz: How its base is turned.
        robot_colours: Suffix of the description file with other colours; empty for the original ones.
        robot_shiny: Whether the robot's materials get upstream's specular 0.9 and roughness 0.3.
        head_tilt: Tilt of the Google robot's head in rad, which holds its camera; None for the usual one.
        stage: The room, a file in the asset set, or ``dummy_drawer`` for a white floor.
        lights: Lamps of the scene.
        overlay: Photograph that replaces the background in images; None to show the simulated one.
        shader: What the official evaluation draws with.
    """

    robot: RobotName = "google"
    robot_xy: tuple[float, float]
    robot_quat_wxyz: tuple[float, float, float, float] = FACING_TABLE
    robot_colours: str = ""
    robot_shiny: bool = True
    head_tilt: float | None = None
    stage: str
    lights: Lights = "default"
    overlay: str | None = None
    shader: Shader = "rasterizer"


@dataclass(frozen=True, kw_only=True)
class GraspSetup(Setup):
    """Pick up the opened coke can.

    Attributes:
        orientation: How the can lies or stands.
        object_xy: Where it is dropped, m.
        distractors: Models of other objects, put at places that upstream's fixed seed draws.
    """

    orientation: Orientation
    object_xy: tuple[float, float]
    distractors: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MoveNearSetup(Setup):
    """Move one of three objects near another.

    Attributes:
        layout: Upstream's episode id, 0 to 59: which objects, where, and which of them to move where.
        textures: Plain models, or with textures baked from photographs, in two versions.
        distractor: Whether the third object is there.
    """

    layout: int
    textures: Textures
    distractor: bool = True


@dataclass(frozen=True, kw_only=True)
class PutOnSetup(Setup):
    """Put one object on another with the WidowX.

    Attributes:
        scene: Which pair of objects, a key of `vlagym.envs.simpler.put_on.SCENES`.
        layout: Upstream's episode id, 0 to 23: where both objects are and how the first one is turned.
    """

    scene: str
    layout: int


@dataclass(frozen=True, kw_only=True)
class DrawerSetup(Setup):
    """Open or close a drawer of the cabinet.

    Attributes:
        drawer: Which one.
        goal: What to do with it.
        cabinet: The cabinet's description file.
        start_opening: Where the drawer starts, m.
    """

    drawer: Drawer
    goal: Goal
    cabinet: str = "mk_station"
    start_opening: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PlaceSetup(Setup):
    """Open a drawer, then place an object into it; the instruction changes on the way.

    Attributes:
        drawer: Which one.
        model: The object.
        object_xy: Where it is dropped onto the cabinet, m.
        cabinet: The cabinet's description file.
        second_instruction_after: The second instruction holds at the latest from this step on.
    """

    drawer: Drawer
    model: str
    object_xy: tuple[float, float]
    cabinet: str = "mk_station"
    second_instruction_after: int = 100
