"""Move one object near another, past a third: moved, near and closest to the right one, and nothing knocked over.

Source: ManiSkill2_real2sim@ef7a4d4, envs/custom_scenes/move_near_in_scene.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from .episode import HIDDEN_SEED, Episode, S, spoken_name
from .setups import MoveNearSetup, Textures
from .world import DROP_HEIGHT, OBJECT_DAMPING, SETTLE_S, TABLE_HEIGHT, release

TRIPLETS = (
    ("blue_plastic_bottle", "pepsi_can", "orange"),
    ("7up_can", "apple", "sponge"),
    ("coke_can", "redbull_can", "apple"),
    ("sponge", "blue_plastic_bottle", "7up_can"),
    ("orange", "pepsi_can", "redbull_can"),
)
XYS = (((-0.33, 0.04), (-0.33, 0.34), (-0.13, 0.19)), ((-0.13, 0.04), (-0.33, 0.19), (-0.13, 0.34)))
PAIRS = tuple(permutations(range(3), 2))  # which object is moved near which
LAYOUTS = len(TRIPLETS) * len(XYS) * len(PAIRS)
UPRIGHT = (np.pi / 2, 0.0, 0.0)
EULER_XYZ = {
    "blue_plastic_bottle": (np.pi / 2, 0.0, np.pi / 2),
    "orange": (0.0, 0.0, np.pi / 2),
    "apple": (0.0, 0.0, 0.0),
    "sponge": (0.0, 0.0, np.pi / 2),
}
DENSITIES = {"apple": 200.0, "orange": 200.0}  # toys, as in the real evaluation
LISTINGS = {
    "plain": "info_pick_custom_v0",
    "baked_v0": "info_pick_custom_baked_tex_v0",
    "baked_v1": "info_pick_custom_baked_tex_v1",
}
NEVER_BAKED = ("blue_plastic_bottle", "orange")

KNOCKED_DOWN_M, FALLEN_OFF_M = 0.02, 0.15
MOVED_M, NEAR_M, CLOSEST_SLACK_M = 0.03, 0.10, 0.01


class Layout(NamedTuple):
    """Objects by their everyday names, where they are dropped, and which one is to be moved near which."""

    objects: tuple[str, ...]
    xys: tuple[tuple[float, float], ...]
    source: int
    target: int


def layout(index: int, distractor: bool = True) -> Layout:
    """Upstream's episode `index`, 0 to 59, without the third object on request."""
    triplet, rest = divmod(index, len(XYS) * len(PAIRS))
    source, target = PAIRS[rest % len(PAIRS)]
    full = Layout(TRIPLETS[triplet], XYS[rest // len(PAIRS)], source, target)
    if distractor:
        return full
    return Layout((full.objects[source], full.objects[target]), (full.xys[source], full.xys[target]), 0, 1)


def model_name(everyday: str, textures: Textures) -> str:
    """The model of an object, e.g. ``baked_opened_7up_can_v2``."""
    opened = f"opened_{everyday}" if everyday.endswith("_can") else everyday
    if textures == "plain" or everyday in NEVER_BAKED:
        return opened
    return f"baked_{opened}" if textures == "baked_v0" else f"baked_{opened}_v2"


class Rearrangement(Episode[S]):
    """Several objects are dropped at once; one of them, the source, is to be brought to another, the target."""

    source: Any
    target: Any

    def _start_bookkeeping(self, source: int, target: int) -> None:
        objects = self.world.objects
        self.source, self.target = objects[source], objects[target]
        self._dropped = [actor for actor in objects if actor.name not in self.fixtures]
        for actor in self._dropped:
            actor.set_damping(OBJECT_DAMPING, OBJECT_DAMPING)

    @property
    def fixtures(self) -> tuple[str, ...]:
        """Objects that are not dropped."""
        return ()

    def _drop(self, xys: Sequence[Any], quats_wxyz: Sequence[Any]) -> None:
        import sapien.core as sapien
        from transforms3d.quaternions import quat2mat

        for actor, xy, quat in zip(self._dropped, xys, quats_wxyz, strict=True):
            actor.set_pose(sapien.Pose([*xy, TABLE_HEIGHT + DROP_HEIGHT], quat))
            actor.lock_motion(0, 0, 0, 1, 1, 0)
        self.world.park_robot()
        self.world.settle(SETTLE_S)
        for actor in self._dropped:
            release(actor)
        self.world.settle(SETTLE_S)
        self.world.settle_if_moving(self._dropped)
        self.settled = {actor.name: actor.pose.p for actor in self._dropped}
        # Upstream turns the edges of the box like a vector, signs included; the success conditions inherit that.
        self.source_size, self.target_size = (
            quat2mat(actor.pose.q) @ np.array(self.models[actor.name].size) for actor in (self.source, self.target)
        )

    def _moved(self) -> tuple[bool, bool]:
        """Whether the source moved farther than all others, and whether another one moved farther than it."""
        moved = {
            actor.name: float(np.linalg.norm(self.settled[actor.name][:2] - self._whereabouts(actor)[:2]))
            for actor in self._dropped
        }
        source = moved.pop(self.source.name)
        correct = source > MOVED_M and all(other < source for other in moved.values())
        wrong = any(other > MOVED_M for other in moved.values()) and any(other > source for other in moved.values())
        return correct, wrong

    def _whereabouts(self, actor: Any) -> Any:
        """Where an actor is taken to be when its way since settling is measured, float32[3], m, world."""
        return actor.pose.p

    def object_of_interest(self) -> Any:
        return self.source


class MoveNear(Rearrangement[MoveNearSetup]):
    """An episode of ``MoveNearGoogle*InScene``."""

    @property
    def instruction(self) -> str:
        return f"move {spoken_name(self.source.name)} near {spoken_name(self.target.name)}"

    @property
    def matte_objects(self) -> bool:
        return self.setup.textures == "baked_v1"

    def _listing(self) -> str:
        return LISTINGS[self.setup.textures]

    def _build(self) -> None:
        self._layout = layout(self.setup.layout, self.setup.distractor)
        self.world.add_stage(self.setup.stage, self.setup.robot, collides=True)
        for everyday in self._layout.objects:
            model = model_name(everyday, self.setup.textures)
            self.world.add_object(model, DENSITIES.get(everyday, self.models[model].density))
        self._start_bookkeeping(self._layout.source, self._layout.target)

    def _hidden_layout(self) -> Layout:
        return layout(np.random.RandomState(HIDDEN_SEED).randint(LAYOUTS), self.setup.distractor)

    def _keeps_hidden_scene(self) -> bool:
        return self._hidden_layout().objects == self._layout.objects

    def _lay_out_hidden(self, rng: np.random.RandomState) -> None:
        self._drop_layout(self._hidden_layout())

    def _lay_out(self) -> None:
        self._drop_layout(self._layout)

    def _drop_layout(self, chosen: Layout) -> None:
        from transforms3d.euler import euler2quat

        self._drop(chosen.xys, [euler2quat(*EULER_XYZ.get(name, UPRIGHT)) for name in chosen.objects])

    def _evaluate(self) -> dict[str, Any]:
        source, target = centre_of_mass(self.source), centre_of_mass(self.target)
        others = [actor for actor in self._dropped if actor not in (self.source, self.target)]
        keep_height = (
            all(actor.pose.p[2] - self.settled[actor.name][2] > -KNOCKED_DOWN_M for actor in others)
            and source[2] - self.settled[self.source.name][2] > -FALLEN_OFF_M
            and target[2] - self.settled[self.target.name][2] > -FALLEN_OFF_M
        )
        moved_correct, moved_wrong = self._moved()
        distance = np.linalg.norm(source[:2] - target[:2])
        sizes = (np.linalg.norm(size[:2]) / 2 for size in (self.target_size, self.source_size))
        near = distance < sum(sizes) + NEAR_M
        rivals = [np.linalg.norm(source[:2] - actor.pose.p[:2]) for actor in self._dropped if actor is not self.source]
        stats = {
            "all_obj_keep_height": bool(keep_height),
            "moved_correct_obj": moved_correct,
            "moved_wrong_obj": moved_wrong,
            "near_tgt_obj": bool(near),
            "is_closest_to_tgt": all(bool(distance < rival + CLOSEST_SLACK_M) for rival in rivals),
        }
        success = all(stats[name] for name in ("all_obj_keep_height", "moved_correct_obj", "near_tgt_obj", "is_closest_to_tgt"))
        return {**stats, "success": success, "episode_stats": stats}


def centre_of_mass(actor: Any) -> Any:
    """Where an actor's centre of mass is, float32[3], m, world."""
    return actor.pose.transform(actor.cmass_local_pose).p
