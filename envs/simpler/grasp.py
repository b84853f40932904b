"""Pick up an opened coke can: lifted by more than a centimetre while nothing but the robot touches it.

Source: ManiSkill2_real2sim@ef7a4d4, envs/custom_scenes/grasp_single_in_scene.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from .episode import Episode, second_reset_seed
from .setups import GraspSetup
from .world import DROP_HEIGHT, OBJECT_DAMPING, SETTLE_S, TABLE_HEIGHT, release

COKE_CAN = "opened_coke_can"
EULER_XYZ = {"horizontal": (0.0, 0.0, np.pi), "vertical": (0.0, 0.0, np.pi / 2), "standing": (np.pi / 2, 0.0, 0.0)}
HIDDEN_XY = ((-0.35, -0.02), (-0.12, 0.42))

LIFTED_M, CLEARLY_LIFTED_M = 0.01, 0.02
CLEARLY_LIFTED_STEPS = 5  # so many steps in all are a success even if the can is put down again
FIRM_GRASP_STEPS = 5

DISTRACTOR_SPREAD_M, DISTRACTOR_DISTANCE_M = 0.3, 0.25
DISTRACTOR_REGION = ((-0.50, 0.05), (-0.1, 0.35))


class Grasp(Episode[GraspSetup]):
    """An episode of ``GraspSingleOpenedCokeCan*InScene-v0``."""

    contact_offset: ClassVar[float] = 0.02
    listing: ClassVar[str] = "info_pick_custom_v0"

    @property
    def instruction(self) -> str:
        return "pick coke can"

    def _build(self) -> None:
        self.world.add_stage(self.setup.stage, self.setup.robot, collides=True)
        self._can = self.world.add_object(COKE_CAN, self.models[COKE_CAN].density)
        self._distractors = [self.world.add_object(name, self.models[name].density) for name in self.setup.distractors]
        self._can.set_damping(OBJECT_DAMPING, OBJECT_DAMPING)
        self._lifted = False
        self._grasped_steps = 0
        self._stats = {"n_lift_significant": 0, "consec_grasp": False, "grasped": False}

    def _keeps_hidden_scene(self) -> bool:
        return not self.setup.distractors

    def _lay_out_hidden(self, rng: np.random.RandomState) -> None:
        self._drop_can(rng.uniform(*HIDDEN_XY, [2]))

    def _lay_out(self) -> None:
        self._drop_can(self.setup.object_xy)
        if self._distractors:
            self._drop_distractors(np.random.RandomState(second_reset_seed()))

    def _drop_can(self, xy: Iterable[float]) -> None:
        import sapien.core as sapien
        from transforms3d.euler import euler2quat

        can, world = self._can, self.world
        self._quat = euler2quat(*EULER_XYZ[self.setup.orientation])
        can.set_pose(sapien.Pose([*xy, TABLE_HEIGHT + DROP_HEIGHT], self._quat))
        world.park_robot()
        can.lock_motion(0, 0, 0, 1, 1, 0)
        world.settle(SETTLE_S)
        release(can)
        world.settle(SETTLE_S)
        world.settle_if_moving([can])
        self._height = can.pose.p[2]

    def _drop_distractors(self, rng: np.random.RandomState) -> None:
        import sapien.core as sapien

        can_xy = np.array(self.setup.object_xy)
        for actor in self._distractors:
            xy = _draw_distractor_xy(can_xy, rng)
            actor.set_pose(sapien.Pose([*xy, TABLE_HEIGHT + DROP_HEIGHT], self._quat))
            actor.set_velocity(np.zeros(3))
            actor.set_angular_velocity(np.zeros(3))
            actor.lock_motion(1, 1, 0, 1, 1, 0)
            self.world.settle(SETTLE_S)
        for actor in self._distractors:
            release(actor)
            self.world.settle(SETTLE_S)
        self.world.settle_if_moving(self._distractors)

    def _evaluate(self) -> dict[str, Any]:
        is_grasped = self.world.is_grasped(self._can)
        self._grasped_steps = self._grasped_steps + 1 if is_grasped else 0
        self._lifted = self._lifted and is_grasped
        height = self._can.pose.p[2] - self._height
        self._lifted = self._lifted or bool(height > LIFTED_M and not self.world.touches_others(self._can))
        clearly_lifted = self._lifted and bool(height > CLEARLY_LIFTED_M)
        firmly = self._grasped_steps >= FIRM_GRASP_STEPS
        self._stats = {
            "n_lift_significant": self._stats["n_lift_significant"] + int(clearly_lifted),
            "consec_grasp": self._stats["consec_grasp"] or firmly,
            "grasped": self._stats["grasped"] or is_grasped,
        }
        return {
            "is_grasped": is_grasped,
            "consecutive_grasp": firmly,
            "lifted_object": self._lifted,
            "lifted_object_significantly": clearly_lifted,
            "success": self._lifted or self._stats["n_lift_significant"] >= CLEARLY_LIFTED_STEPS,
            "episode_stats": self._stats,
        }


def _draw_distractor_xy(can_xy: Any, rng: np.random.RandomState) -> Any:
    while True:
        xy = np.clip(can_xy + rng.uniform(-DISTRACTOR_SPREAD_M, DISTRACTOR_SPREAD_M, [2]), *DISTRACTOR_REGION)
        if np.linalg.norm(xy - can_xy) > DISTRACTOR_DISTANCE_M:
            return xy
