"""Open or close a drawer, and place an apple into one that has to be opened first.

Sources: ManiSkill2_real2sim@ef7a4d4, envs/custom_scenes/{open_drawer,place_in_closed_drawer}_in_scene.py.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ...episode import SubtaskResult
from .episode import Episode, S, spoken_name
from .setups import DrawerSetup, PlaceSetup
from .world import DROP_HEIGHT, OBJECT_DAMPING, SETTLE_S, TABLE_HEIGHT, TOUCH_NS, release

OPEN_M, CLOSED_M = 0.15, 0.05
HOLDS_OBJECT_M = 0.05
DRAWER_FLOOR = 2  # of the drawer's collision shapes, the one an object lies on
HIDDEN_XY = ((-0.10, -0.00), (-0.05, 0.1))


class WithCabinet(Episode[S]):
    """A cabinet stands in front of the robot; the room does not collide."""

    listing: ClassVar[str] = "info_pick_custom_v0"

    def _add_cabinet(self, cabinet: str, drawer: str, start_opening: float) -> None:
        self.world.add_stage(self.setup.stage, self.setup.robot, collides=False)
        self._add_objects()
        self.world.add_cabinet(cabinet)
        self._joint = [joint.name for joint in self.world.cabinet.get_active_joints()].index(f"{drawer}_drawer_joint")
        self._start_opening = start_opening

    def _add_objects(self) -> None:
        """Objects are created between room and cabinet."""

    def _after_reset(self) -> None:
        qpos = [0.0] * self.world.cabinet.dof
        qpos[self._joint] = self._start_opening
        self.world.cabinet.set_qpos(qpos)

    def drawer_pos(self) -> Any:
        """The drawer's centre of mass, float32[3], m, world."""
        link = self.world.cabinet.get_active_joints()[self._joint].get_child_link()
        return link.get_pose().transform(link.get_cmass_local_pose()).p

    def opening(self) -> Any:
        """How far the drawer is out, float32, m."""
        return self.world.cabinet.get_qpos()[self._joint]


class OpenOrClose(WithCabinet[DrawerSetup]):
    """An episode of ``{Open,Close}{Top,Middle,Bottom}DrawerCustomInScene-v0``."""

    contact_offset: ClassVar[float] = 0.02

    @property
    def instruction(self) -> str:
        return f"{self.setup.goal} {self.setup.drawer} drawer"

    def _build(self) -> None:
        self._add_cabinet(self.setup.cabinet, self.setup.drawer, self.setup.start_opening)

    def _lay_out_hidden(self, rng: np.random.RandomState) -> None:
        """There is nothing to lay out."""

    def _lay_out(self) -> None:
        """There is nothing to lay out."""

    def _evaluate(self) -> dict[str, Any]:
        opening = self.opening()
        success = opening >= OPEN_M if self.setup.goal == "open" else opening <= CLOSED_M
        return {"success": bool(success), "qpos": float(opening), "episode_stats": {"qpos": f"{opening:.3f}"}}


class PlaceInDrawer(WithCabinet[PlaceSetup]):
    """An episode of ``PlaceIntoClosedTopDrawerCustomInScene-v0``."""

    listing: ClassVar[str] = "info_pick_custom_baked_tex_v1"

    @property
    def instruction(self) -> str:
        return self._place_instruction() if self.second_subtask else f"open {self.setup.drawer} drawer"

    def step(self, action: Any) -> bool:
        self.second_subtask = self.second_subtask or self._steps >= self.setup.second_instruction_after
        success = super().step(action)
        (self._second if self.second_subtask else self._first).append(success if self.second_subtask else self._was_open)
        return success

    def subtask_results(self) -> tuple[SubtaskResult, ...]:
        """What came of opening the drawer and of placing the object; the latter counts."""
        instructions = f"open {self.setup.drawer} drawer", self._place_instruction()
        halves = zip(("open", "place"), instructions, (self._first, self._second), strict=True)
        return tuple(
            SubtaskResult(name, instruction, bool(done and done[-1]), done.index(True) + 1 if any(done) else None, len(done))
            for name, instruction, done in halves
        )

    def _build(self) -> None:
        self._add_cabinet(self.setup.cabinet, self.setup.drawer, 0.0)
        links = {link.name: link for link in self.world.cabinet.get_links()}
        self._drawer = links[f"{self.setup.drawer}_drawer"]
        self._floor = self._drawer.get_collision_shapes()[DRAWER_FLOOR]
        self._was_open, self._touches = False, 0
        self._first: list[bool] = []
        self._second: list[bool] = []

    def _place_instruction(self) -> str:
        return f"place {spoken_name(self.setup.model)} into {self.setup.drawer} drawer"

    def _add_objects(self) -> None:
        self._object = self.world.add_object(self.setup.model, self.models[self.setup.model].density)
        self._object.set_damping(OBJECT_DAMPING, OBJECT_DAMPING)

    def _lay_out_hidden(self, rng: np.random.RandomState) -> None:
        self._drop(rng.uniform(*HIDDEN_XY, [2]))

    def _lay_out(self) -> None:
        self._drop(self.setup.object_xy)

    def _drop(self, xy: Any) -> None:
        import sapien.core as sapien

        actor, world = self._object, self.world
        actor.set_pose(sapien.Pose([*xy, TABLE_HEIGHT + DROP_HEIGHT]))
        world.park_robot()
        actor.lock_motion(0, 0, 0, 1, 1, 0)
        world.settle(SETTLE_S)
        release(actor)
        world.settle(SETTLE_S)
        world.settle_if_moving([actor])

    def _evaluate(self) -> dict[str, Any]:
        opening = self.opening()
        self._was_open = self._was_open or bool(opening >= OPEN_M)
        push = self.world.push(self._object, self._drawer, self._floor)
        self._touches += int(np.linalg.norm(push) > TOUCH_NS)
        success = self.second_subtask and bool(opening >= HOLDS_OBJECT_M) and self._touches >= 1
        stats = {"qpos": float(opening), "is_drawer_open": self._was_open, "has_contact": self._touches}
        return {"success": success, "episode_stats": stats}
