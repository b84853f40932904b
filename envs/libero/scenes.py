"""Which generator a trial's scene is drawn from: where the fixtures stand is decided by these draws and nothing else.

The reference protocol (openvla/experiments/robot/libero/run_libero_eval.py, and OpenVLA-OFT's and openpi's after it) seeds numpy's
global generator once per task and then resets once per episode. Every reset of LIBERO draws the fixtures' poses anew, and the
initial state that is set afterwards does not contain them, so episode k stands in the scene that the k-th reset draws. Its draws
depend on history twice over: the generator runs on, and LIBERO's list of property initialisers (doors and drawers to open, knobs to
turn) grows by one copy per reset, each of which draws.

Here the generator of any trial is computed without running the trials before it: only their draws are made, by LIBERO's own
samplers, in their order (libero/libero/envs/bddl_base_domain.py, ``_reset_internal``).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..robosuite._upstream import numpy_random

if TYPE_CHECKING:
    from ..robosuite.engine import Engine

# Copies of the initialisers: one from construction, one more from each reset, the present one included.
_COPIES_AT_FIRST_RESET = 2


class Scene(NamedTuple):
    """What a reset draws from.

    Attributes:
        generator: Draws the scene.
        copies: How often LIBERO's list of property initialisers has been filled.
    """

    generator: np.random.RandomState
    copies: int


class ReferenceScenes:
    """The scenes of one task in the reference protocol.

    Args:
        engine: Drives the task's environment; its data and the poses in its model are used as scratch.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._initializers = list(engine.env.object_property_initializers)
        self._seed: int | None = None
        # The generator's state before each reset so far: 2.5 kB per trial.
        self._states: list[Any] = []

    def scene(self, seed: int, trial: int) -> Scene:
        """The scene of the trial-th reset after ``env.seed(seed)``; a millisecond per reset not yet replayed."""
        if seed != self._seed:
            self._seed, self._states = seed, [np.random.RandomState(seed).get_state()]
        generator = np.random.RandomState()
        while len(self._states) <= trial:
            generator.set_state(self._states[-1])
            self._replay(generator, len(self._states) - 1)
            self._states.append(generator.get_state())
        generator.set_state(self._states[trial])
        return Scene(generator, trial + _COPIES_AT_FIRST_RESET)

    def again(self, seed: int, resets: int) -> Scene:
        """The scene of the first reset after ``env.seed(seed)`` in an environment that has been reset so often before."""
        return Scene(np.random.RandomState(seed), resets + _COPIES_AT_FIRST_RESET)

    def initializers(self, scene: Scene) -> list[Any]:
        """LIBERO's list of property initialisers as it stands when a scene is drawn."""
        return self._initializers * scene.copies

    def _replay(self, generator: np.random.RandomState, reset: int) -> None:
        """Make the draws of a reset, and do no more of it than the draws depend on."""
        import mujoco

        engine, env = self._engine, self._engine.env
        engine.restore()
        with numpy_random(generator):
            for robot in env.robots:
                np.random.randn(len(robot.init_qpos))  # noise of the arm's pose; its magnitude is zero in LIBERO
            for initializer in self._initializers * (reset + _COPIES_AT_FIRST_RESET):
                env.object_states_dict[initializer.name].set_joint(initializer.sample())
            # Objects are placed on or in parts of others, whose positions depend on the joints just set.
            mujoco.mj_kinematics(engine.model, engine.data)
            placements = env.placement_initializer.sample()
            placements = env.conditional_placement_initializer.sample(env.sim, placements)
            env.conditional_placement_on_objects_initializer.sample(placements)


def independent_scene(suite: str, task: str, trial: int, seed: int) -> Scene:
    """A scene that depends on its own name only."""
    digest = hashlib.sha256(f"{suite}/{task}/{trial}/{seed}".encode()).digest()
    return Scene(np.random.RandomState(np.frombuffer(digest, "<u4")), copies=1)
