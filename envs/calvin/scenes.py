"""The four tables of CALVIN, A to D: which blocks lie on them, in which order, and where they are dropped while a scene is loaded.

Source: mees/calvin_env@797142c, ``conf/scene/calvin_scene_*.yaml``, and ``robot/robot.py`` for the unit of an action. No simulator
is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Corner = tuple[float, float, float]
DROP_HEIGHT_M = 0.46
POS_PER_UNIT_M, EULER_PER_UNIT_RAD = 0.02, 0.05  # of a relative action


@dataclass(frozen=True)
class Scene:
    """One of the four tables; paths are below the ``data`` folder of calvin_env.

    Attributes:
        table: Path of its URDF.
        blocks: Name -> path of the URDF; the order is that of scene_obs.
        surfaces: Low and high corner of where blocks are dropped: the table, the left and the right side of the cabinet.
    """

    table: str
    blocks: Mapping[str, str]
    surfaces: tuple[tuple[Corner, Corner], ...]


def _scene(letter: str, blocks: Sequence[str], *surfaces: tuple[float, float, float, float]) -> Scene:
    """Blocks as COLOUR_SIZE; surfaces as x from, x to, y from, y to in metres."""
    files = {f"{block.split('_')[0]}_block": f"blocks/block_{block}.urdf" for block in blocks}
    corners = tuple(((x0, y0, DROP_HEIGHT_M), (x1, y1, DROP_HEIGHT_M)) for x0, x1, y0, y1 in surfaces)
    return Scene(f"calvin_table_{letter}/urdf/calvin_table_{letter}.urdf", files, corners)


SCENES = {
    "A": _scene(
        "A",
        ("pink_small", "blue_big", "red_middle"),
        (-0.2, 0.35, -0.15, -0.03),
        (-0.32, -0.16, 0.05, 0.12),
        (-0.05, 0.13, 0.05, 0.12),
    ),
    "B": _scene(
        "B",
        ("red_small", "blue_big", "pink_middle"),
        (-0.35, 0.15, -0.15, -0.03),
        (-0.12, 0.06, 0.05, 0.12),
        (0.15, 0.33, 0.05, 0.12),
    ),
    "C": _scene(
        "C",
        ("blue_small", "red_big", "pink_middle"),
        (0.0, 0.35, -0.15, -0.03),
        (-0.12, 0.06, 0.05, 0.12),
        (0.15, 0.3, 0.05, 0.12),
    ),
    "D": _scene(
        "D",
        ("red_middle", "blue_small", "pink_big"),
        (0.0, 0.35, -0.15, -0.03),
        (-0.32, -0.16, 0.05, 0.12),
        (-0.05, 0.13, 0.05, 0.12),
    ),
}
EVALUATION_SCENE = "D"
