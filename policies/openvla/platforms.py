"""Sizes that an OpenVLA-OFT checkpoint was trained with and does not record.

Source: moojink/openvla-oft 213c5ff8, prismatic/vla/constants.py, where they are guessed from the text of the command line. Here
they are settings: a policy names its platform, and its statistics and weights must have these sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import ConfigError
from .statistics import Bounds

Head = Literal["l1", "diffusion", "discrete"]


@dataclass(frozen=True)
class Platform:
    """Sizes of a robot's data.

    Attributes:
        chunk: Actions per chunk.
        action_size: Entries of an action.
        proprio_size: Entries of the robot's state.
        bounds: Statistics that actions and states are scaled by.
    """

    chunk: int
    action_size: int
    proprio_size: int
    bounds: Bounds


PLATFORMS = {
    "libero": Platform(8, 7, 8, "q01_q99"),
    "bridge": Platform(5, 7, 7, "q01_q99"),
    "aloha": Platform(25, 14, 14, "min_max"),
}


@dataclass(frozen=True)
class OftConfig:
    """What makes an OpenVLA an OpenVLA-OFT.

    Attributes:
        platform: Sizes of the robot's data.
        head: ``l1`` (regression), ``diffusion`` (DDIM) or ``discrete`` (action tokens, decoded in parallel).
        proprio: Whether the robot's state is an input.
        film: Whether the sentence modulates the vision towers.
        diffusion_steps: Denoising steps; the networks are trained with `DIFFUSION_TRAINING_STEPS`.
    """

    platform: Platform
    head: Head
    proprio: bool
    film: bool
    diffusion_steps: int

    @property
    def components(self) -> tuple[str, ...]:
        """Parts that are kept in files of their own."""
        used = {
            "action_head": self.head != "discrete",
            "proprio_projector": self.proprio,
            "noisy_action_projector": self.head == "diffusion",
        }
        return tuple(name for name, there in used.items() if there)

    def __post_init__(self) -> None:
        if self.head not in get_args(Head):
            raise ConfigError(f"policy.head must be one of {', '.join(get_args(Head))}; got {self.head!r}.")
        if not 1 <= self.diffusion_steps <= DIFFUSION_TRAINING_STEPS:
            raise ConfigError(f"policy.diffusion_steps must be 1..{DIFFUSION_TRAINING_STEPS}; got {self.diffusion_steps}.")


DIFFUSION_TRAINING_STEPS = 50


def find_platform(name: str | None) -> Platform:
    """The platform a setting names.

    Raises:
        ConfigError: Unknown, or not given: a wrong guess would garble every action.
    """
    if name not in PLATFORMS:
        raise ConfigError(
            f"policy.platform must name the data the checkpoint was trained on: {', '.join(PLATFORMS)}; got {name!r}."
        )
    return PLATFORMS[name]
