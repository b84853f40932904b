"""Put one object on another with the WidowX: above it within the boxes around both, and mostly touching nothing else.

Source: ManiSkill2_real2sim@ef7a4d4, envs/custom_scenes/put_on_in_scene.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from .move_near import Rearrangement, centre_of_mass
from .setups import PutOnSetup

LAYOUTS = 24
FIRM_GRASP_STEPS = 5
XY_SLACK_M = 0.003

TABLE_CENTRE = np.array([-0.16, 0.00])
CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) * 2 - 1
SINK, SINK_POS = "sink", (-0.16, 0.13, 0.88)
BASKET_XY, EGGPLANT_CENTRE, EGGPLANT_HALF_SPAN = np.array([-0.125, 0.025]), (-0.105, 0.206), (0.01, 0.015)


def _two_of_four_corners(half_edges: Sequence[float]) -> list[Any]:
    """All ordered pairs of different corners of squares around the table's centre, m."""
    return [np.array(pair) for half in half_edges for pair in permutations(CORNERS * np.array([half, half]) + TABLE_CENTRE, 2)]


def _eggplant_xys() -> list[Any]:
    (x, y), (dx, dy) = EGGPLANT_CENTRE, EGGPLANT_HALF_SPAN
    grid = [np.array([i + x, j + y]) for i in np.linspace(-dx, dx, 2) for j in np.linspace(-dy, dy, 4)]
    return [np.stack([position, BASKET_XY]) for position in grid]


@dataclass(frozen=True)
class PutOnScene:
    """A pair of objects.

    Attributes:
        source: Model that is to be moved.
        target: Model it is to be put on.
        listing: Upstream's list of objects they are in.
        instruction: What the robot is told.
        xys: Positions of both, float[2, 2] in m, layout by layout.
        source_yaws: How the source is turned; changes faster than the positions.
        height_slack: How far above touching each other the two boxes may be, m.
        touch_nothing_else: Whether the source may touch only the target and the robot.
        sink: Whether all of it happens in a sink, which images do not show.
    """

    source: str
    target: str
    listing: str
    instruction: str
    xys: tuple[Any, ...]
    source_yaws: tuple[float, ...] = (0.0,)
    height_slack: float = 0.02
    touch_nothing_else: bool = True
    sink: bool = False


SCENES: Mapping[str, PutOnScene] = {
    "spoon_on_towel": PutOnScene(
        source="bridge_spoon_generated_modified",
        target="table_cloth_generated_shorter",
        listing="info_bridge_custom_v0",
        instruction="put the spoon on the towel",
        xys=tuple(_two_of_four_corners([0.075])),
        source_yaws=(0.0, np.pi / 2),
        touch_nothing_else=False,
    ),
    "carrot_on_plate": PutOnScene(
        source="bridge_carrot_generated_modified",
        target="bridge_plate_objaverse_larger",
        listing="info_bridge_custom_v0",
        instruction="put carrot on plate",
        xys=tuple(_two_of_four_corners([0.075])),
        source_yaws=(np.pi, -np.pi / 2),
    ),
    "stack_cube": PutOnScene(
        source="baked_green_cube_3cm",
        target="baked_yellow_cube_3cm",
        listing="info_bridge_custom_baked_tex_v0",
        instruction="stack the green block on the yellow block",
        xys=tuple(_two_of_four_corners([0.05, 0.1])),
    ),
    "eggplant_in_basket": PutOnScene(
        source="eggplant",
        target="dummy_sink_target_plane",
        listing="info_bridge_custom_v0",
        instruction="put eggplant into yellow basket",
        xys=tuple(_eggplant_xys()),
        source_yaws=(0.0, np.pi / 4, -np.pi / 4),
        height_slack=0.06,
        touch_nothing_else=False,
        sink=True,
    ),
}


class PutOn(Rearrangement[PutOnSetup]):
    """An episode of ``PutSpoonOnTableClothInScene-v0`` and its siblings."""

    @property
    def scene(self) -> PutOnScene:
        """The pair of objects."""
        return SCENES[self.setup.scene]

    @property
    def instruction(self) -> str:
        return self.scene.instruction

    @property
    def fixtures(self) -> tuple[str, ...]:
        return (SINK,)

    @property
    def hidden_objects(self) -> tuple[str, ...]:
        return (SINK, self.scene.target) if self.scene.sink else ()

    def _listing(self) -> str:
        return self.scene.listing

    def _build(self) -> None:
        self.world.add_stage(self.setup.stage, self.setup.robot, collides=True)
        for model in (self.scene.source, self.scene.target, *((SINK,) if self.scene.sink else ())):
            self.world.add_object(model, self.models[model].density)
        self._start_bookkeeping(0, 1)
        self._grasped_steps = 0
        self._ever = {"is_src_obj_grasped": False, "consecutive_grasp": False}

    def _lay_out_hidden(self, rng: np.random.RandomState) -> None:
        self._drop_layout(rng.randint(LAYOUTS))

    def _lay_out(self) -> None:
        self._drop_layout(self.setup.layout)

    def _drop_layout(self, index: int) -> None:
        import sapien.core as sapien
        from transforms3d.euler import euler2quat

        if self.scene.sink:
            self.world.park_robot()
            sink = self.world.objects[-1]
            sink.set_pose(sapien.Pose(SINK_POS))
            sink.lock_motion()
        xy, yaw = divmod(index, len(self.scene.source_yaws))
        self._drop(self.scene.xys[xy], [euler2quat(0, 0, self.scene.source_yaws[yaw]), [1, 0, 0, 0]])

    def _whereabouts(self, actor: Any) -> Any:
        # Upstream measures from the origin of the settled source to its centre of mass now: a carrot's are 7 mm apart.
        return centre_of_mass(actor) if actor is self.source else super()._whereabouts(actor)

    def _evaluate(self) -> dict[str, Any]:
        moved_correct, moved_wrong = self._moved()
        is_grasped = self.world.is_grasped(self.source)
        self._grasped_steps = self._grasped_steps + 1 if is_grasped else 0
        firmly = self._grasped_steps >= FIRM_GRASP_STEPS
        on_target = self._is_above_target()
        if self.scene.touch_nothing_else:
            on_target = on_target and not self.world.touches_others(self.source, [self.target.name])
        self._ever = {
            "is_src_obj_grasped": self._ever["is_src_obj_grasped"] or is_grasped,
            "consecutive_grasp": self._ever["consecutive_grasp"] or firmly,
        }
        now = {"moved_correct_obj": moved_correct, "moved_wrong_obj": moved_wrong, "src_on_target": on_target}
        return {
            **now,
            "is_src_obj_grasped": is_grasped,
            "consecutive_grasp": firmly,
            "success": on_target,
            "episode_stats": {**now, **self._ever},
        }

    def _is_above_target(self) -> bool:
        offset = centre_of_mass(self.source) - centre_of_mass(self.target)
        half_target, half_source = self.target_size / 2, self.source_size / 2
        within = np.linalg.norm(offset[:2]) <= np.linalg.norm(half_target[:2]) + XY_SLACK_M
        low_enough = offset[2] - half_target[2] - half_source[2] <= self.scene.height_slack
        return bool(within and offset[2] > 0 and low_enough)
