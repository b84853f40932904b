"""The arm poses of LIBERO-plus's robot variants.

A variant's pose holds when the scene is reset. The initial state that is set afterwards contains the joints and puts them back, so
what is left of the variant is what the arm's controller remembers of the reset: its first reading, the orientation it holds until
the first command to turn, and the rest pose that it leans towards for the whole episode.

Source: sylvestf/LIBERO-plus, libero/libero/envs/robots/new_init.py, whose output is the 500 robot classes beside it.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_CANONICAL_RAD = (0.0, -1.61037389e-01, 0.0, -2.44459747e00, 0.0, 2.22675220e00, np.pi / 4)
_SEED = 42
_POSES = 500
_POSES_PER_STEP, _STEP_RAD = 100, 0.1  # the first hundred are 0.1 rad away, the next 0.2, ...
_DECIMALS = 8


@cache
def arm_poses() -> tuple[tuple[float, ...], ...]:
    """float[500][7], rad: entry I - 1 is the pose of ``initstate_I``."""
    generator = np.random.RandomState(_SEED)
    poses = []
    for index in range(_POSES):
        direction = generator.randn(len(_CANONICAL_RAD))
        distance = _STEP_RAD * (index // _POSES_PER_STEP + 1)
        pose = np.array(_CANONICAL_RAD) + direction / np.linalg.norm(direction) * distance
        poses.append(tuple(round(float(angle), _DECIMALS) for angle in pose))
    return tuple(poses)
