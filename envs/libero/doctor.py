"""What a machine must do for LIBERO's numbers to mean what they mean elsewhere: settle and draw as the protocol's MuJoCo does.

Both probes answer to differences known from public score reports. MuJoCo 3.4.0 and later let the bowl of libero_spatial's task 5
slide off its ramekin while it settles (measured with 3.5.0: 35 mm); 3.3.3 and later darken the floor of libero_object by a third
(measured with 3.3.7 and 3.5.0). What is expected is in golden.json, recorded with MuJoCo 3.3.2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ..assets import locate
from ..packages import installed_version
from ..rendering_probe import check_offscreen_gl
from ..suite import Check
from .env import LiberoEnv
from .settings import BENCHMARK, LiberoSettings

IMAGE_SIZE = 256  # pixels, of the recorded frames


def golden() -> Mapping[str, Any]:
    """What is expected of each probe."""
    expected: dict[str, Any] = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
    return expected


def checks(suite: LiberoSettings) -> Iterator[Check]:
    """The findings for a suite that is ready; a few seconds each."""
    yield Check("mujoco", True, f"{installed_version('mujoco')}, the version of the protocol")
    yield settled_bowl(suite)
    yield from golden_frame(suite)


def settled_bowl(suite: LiberoSettings) -> Check:
    """Whether the bowl on the ramekin is still on its place when the policy takes over."""
    expected = golden()["settled_bowl"]
    with closing(_begin(suite, expected, ())) as env:
        place = env.privileged_state()[f"{expected['object']}_pos"]
    distance = float(np.linalg.norm(place - expected["pos_world_m"]))
    return Check(
        "bowl on the ramekin",
        distance <= expected["tolerance_m"],
        f"{1000 * distance:.1f} mm from where it belongs after settling ({expected['suite']}, task 5)",
        "The physics differ from the protocol's; run: pip install mujoco==3.3.2",
    )


def golden_frame(suite: LiberoSettings) -> Iterator[Check]:
    """Whether the floor is as bright as it should be, and the picture the recorded one to the last bit where there is a record."""
    expected = golden()["frame"]
    with closing(_begin(suite, expected, ("primary",))) as env:
        picture = env.render("primary", IMAGE_SIZE, IMAGE_SIZE)
    top, bottom = expected["floor_rows"]
    floor = picture[top:bottom].reshape(-1, 3).mean(axis=0)
    yield Check(
        "floor's brightness",
        bool(np.abs(floor - expected["floor_rgb"]).max() <= expected["tolerance"]),
        f"{floor.round().astype(int).tolist()}, recorded {expected['floor_rgb']} ({expected['suite']}, task 0)",
        "The renderer or MuJoCo lights scenes differently; run: pip install mujoco==3.3.2",
    )
    found = hashlib.sha256(picture.tobytes()).hexdigest()
    renderer = check_offscreen_gl().renderer
    recorded = [entry["sha256"] for entry in expected["sha256"] if entry["renderer"] == renderer]
    yield Check(
        "golden frame",
        found in recorded if recorded else None,
        f"{found[:16]}, {'recorded ' + recorded[0][:16] if recorded else 'none recorded'} for {renderer}",
        "Pixels differ from those recorded on this renderer: compare runs of this machine among themselves only",
    )


def _begin(suite: LiberoSettings, where: Mapping[str, Any], cameras: tuple[str, ...]) -> LiberoEnv:
    probed = LiberoSettings(where["suite"], mujoco_version=suite.mujoco_version)
    env = LiberoEnv(probed, cameras, locate(BENCHMARK).path)
    env.reset(options={"task": where["task"], "trial": where["trial"]})
    return env
