"""What an episode of LIBERO, or of a suite that perturbs it, is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plus.camera import CameraTurn
    from .plus.noise import Noise
    from .plus.scenery import Scenery
    from .tasks import TaskFiles


@dataclass(frozen=True)
class Setup:
    """The ingredients of one episode; what is None is as LIBERO has it.

    Attributes:
        files: Definition and initial states; episodes with the same files and scenery share a compiled model.
        instruction: What the policy is told.
        init_state: Row of the initial states.
        reset: Which reset after ``env.seed()`` draws the scene, from 0.
        camera: How the third-person camera is turned.
        arm_rad: float[7], the arm's joints at the reset, before the initial state is set.
        noise: Of the third-person camera's images.
        scenery: What upstream's assets.zip has for it.
    """

    files: TaskFiles
    instruction: str
    init_state: int
    reset: int
    camera: CameraTurn | None = None
    arm_rad: tuple[float, ...] | None = None
    noise: Noise | None = None
    scenery: Scenery | None = None
