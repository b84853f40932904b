"""One episode under way: what the families of environments share, which is how a scene comes about.

Upstream's constructor already runs a whole reset with seed 2022, settling included, before the official evaluator resets a second
time. Where the second reset keeps the scene, the first one is part of the physics and is done here too.
Source: ManiSkill2_real2sim@ef7a4d4, envs/sapien_env.py (reset) and envs/custom_scenes/base_env.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from .robots import GOOGLE, HEAD_TILT, WIDOWX, WIDOWX_AT_SINK, Robot
from .setups import FACING_TABLE, Setup
from .world import World, load_models

HIDDEN_SEED = 2022
HIDDEN_GOOGLE_X, HIDDEN_GOOGLE_Y = (0.30, 0.40), (0.0, 0.2)
HIDDEN_WIDOWX_XY = {"widowx": (0.147, 0.028), "widowx_at_sink": (0.147, 0.070)}

ROBOTS: dict[str, Robot] = {"google": GOOGLE, "widowx": WIDOWX, "widowx_at_sink": WIDOWX_AT_SINK}

# Words in the names of models that are not part of what people call the object.
UNSPOKEN = {"opened", "light", "generated", "modified", "objaverse", "bridge", "baked", "v2"}

S = TypeVar("S", bound=Setup)


class Episode(ABC, Generic[S]):
    """A scene, laid out, and the rules of success in it.

    Args:
        setup: What to build.
        assets: Folder of the asset set.

    Attributes:
        world: The scene.
        evaluation: What upstream's ``info`` says after the last step; empty before the first.
        second_subtask: Whether the second instruction holds, in families that have one.
    """

    contact_offset: ClassVar[float] = 0.005
    listing: ClassVar[str]

    def __init__(self, setup: S, assets: Path) -> None:
        self.setup = setup
        self.robot = ROBOTS[setup.robot]
        self.models = load_models(assets, self._listing())
        self.world = World(assets, self.robot, setup.robot_colours, self.contact_offset)
        self._build()
        self.evaluation: dict[str, Any] = {}
        self.second_subtask = False
        self._steps = 0
        self._run_hidden_reset()
        self._lay_out()
        self._place_robot(setup.robot_xy, setup.robot_quat_wxyz)
        self._after_reset()

    @property
    @abstractmethod
    def instruction(self) -> str:
        """The sentence that holds now."""

    @property
    def hidden_objects(self) -> tuple[str, ...]:
        """Objects that the overlay covers although they are in front."""
        return ()

    @property
    def matte_objects(self) -> bool:
        """Whether the objects are drawn without any gloss."""
        return False

    def step(self, action: Any) -> bool:
        """Execute one action; returns whether the success condition holds after it."""
        self.world.control_step(action)
        self._steps += 1
        self.evaluation = {"elapsed_steps": self._steps, **self._evaluate()}
        return bool(self.evaluation["success"])

    def object_of_interest(self) -> Any:
        """The actor that is to be moved; None where there is none."""
        return self.world.objects[0] if self.world.objects else None

    # --- what a family implements ------------------------------------------------------------------------------------------------

    def _listing(self) -> str:
        return self.listing

    @abstractmethod
    def _build(self) -> None:
        """Add room, objects and cabinet to the scene."""

    @abstractmethod
    def _lay_out_hidden(self, rng: np.random.RandomState) -> None:
        """Put the objects where upstream's constructor puts them."""

    @abstractmethod
    def _lay_out(self) -> None:
        """Put the objects where the setup says."""

    @abstractmethod
    def _evaluate(self) -> dict[str, Any]:
        """The facts that success follows from, under upstream's names."""

    def _after_reset(self) -> None:
        """What is left to do when the robot stands in its place."""

    def _keeps_hidden_scene(self) -> bool:
        """Whether the second reset happens in the scene of the constructor's."""
        return True

    # --- internals ---------------------------------------------------------------------------------------------------------------

    def _run_hidden_reset(self) -> None:
        if not self._keeps_hidden_scene():
            return
        rng = np.random.RandomState(HIDDEN_SEED)
        self._lay_out_hidden(rng)
        if self.setup.robot == "google":
            xy = (rng.uniform(*HIDDEN_GOOGLE_X), rng.uniform(*HIDDEN_GOOGLE_Y))
        else:
            xy = HIDDEN_WIDOWX_XY[self.setup.robot]
        self._place_robot(xy, FACING_TABLE)
        self._after_reset()
        self.world.clear_velocities()

    def _place_robot(self, xy: tuple[float, float], quat_wxyz: tuple[float, float, float, float]) -> None:
        qpos = list(self.robot.first_qpos)
        if self.setup.head_tilt is not None:
            qpos[HEAD_TILT] = self.setup.head_tilt
        self.world.place_robot(qpos, xy, quat_wxyz)


def second_reset_seed() -> int:
    """The seed that upstream's second reset draws, since the evaluator gives none; it always draws the same."""
    return int(np.random.RandomState(HIDDEN_SEED).randint(2**32))


def spoken_name(model: str) -> str:
    """What an instruction calls an object, e.g. ``7up can`` for ``baked_opened_7up_can_v2``."""
    return " ".join(word for word in model.split("_") if word not in UNSPOKEN and not word.endswith("cm"))
