"""Episodes recorded from LIBERO-plus, LIBERO-PRO and LIBERO-Para, in perturbations/ of the folder that $VLAGYM_GOLDEN names."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from closeness import assert_close
from needs import need_assets, need_suite

from vlagym.conf import suite_settings
from vlagym.envs.libero.env import LiberoEnv
from vlagym.envs.libero.suite import LiberoSuite
from vlagym.envs.registry import make_suite

# States agree to the last bits only on the processor of the recording: BLAS and numpy choose their code by it.
STATE_ATOL = 1e-8
# An edge of a thing that is 1e-10 m elsewhere can fall on another pixel, in the stock loop too.
SAME_PICTURE_ATOL = 1e-12


@dataclass(frozen=True)
class Recording:
    """One recorded episode: its metadata, its arrays and its folder."""

    name: str
    meta: dict[str, Any]
    arrays: dict[str, Any]


def recording_names(kind: str) -> list[str]:
    """The episodes of ``plus``, ``pro`` or ``para``; one that is absent where there are none, so that tests say why they skip."""
    folder = _folder(kind)
    names = sorted(file.stem for file in folder.glob("*.npz") if file.stem != "upstream_order") if folder else []
    return names or ["absent"]


def load_recording(kind: str, name: str) -> Recording:
    """A recorded episode; the test that asks for an absent one is skipped."""
    folder = _folder(kind)
    if folder is None or not (folder / f"{name}.npz").is_file():
        pytest.skip(f"needs recordings of upstream, in the folder that $VLAGYM_GOLDEN names: perturbations/{kind}/{name}")
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    return Recording(name, json.loads((folder / f"{name}.json").read_text(encoding="utf-8")), arrays)


def need_data(suite: str, *assets: str) -> None:
    """Skip where a suite's data is missing."""
    for name in ("libero", *assets):
        need_assets(name)
    need_suite(suite)


def make_env(name: str, **settings: object) -> LiberoEnv:
    suite = make_suite({**suite_settings(name), **settings})
    assert isinstance(suite, LiberoSuite)
    return suite.make_env(suite.cameras)


def play(env: LiberoEnv, task: str, trial: int, recording: Recording, steps: int | None = None) -> dict[str, Any]:
    """Play the recorded actions and compare everything on the way; the first observation.

    Image bytes and what holds at the start are compared bit by bit, states after physics within `STATE_ATOL`. Where
    these differ by more than `SAME_PICTURE_ATOL`, pictures are not compared: the stock loop's on this machine are, in
    test_exactness.py.
    """
    meta, arrays = recording.meta, recording.arrays
    seen = _watch_reset(env)
    observation, _ = env.reset(options={"task": task, "trial": trial})
    engine = env._world.engine
    assert np.array_equal(seen["reset_qpos"], arrays["reset_qpos"])
    assert np.array_equal(seen["reset_qvel"], arrays["reset_qvel"])
    assert np.array_equal(seen["init_qpos"], arrays["init_qpos"])
    assert np.array_equal(engine.model.body_pos, arrays["body_pos"])
    assert np.array_equal(engine.model.body_quat, arrays["body_quat"])
    camera = engine.model.camera("agentview")
    assert camera.pos.tolist() == meta["camera"]["agentview"]["pos"]
    assert camera.quat.tolist() == meta["camera"]["agentview"]["quat"]
    qpos, qvel, eef = [], [], []
    actions = arrays["actions"][: len(arrays["actions"]) if steps is None else steps]
    for step in range(len(actions) + 1):
        if step:
            assert bool(env.step_chunk(actions[step - 1][None]).successes[-1]) == bool(arrays["success"][step])
        qpos.append(engine.data.qpos.copy())
        qvel.append(engine.data.qvel.copy())
        eef.append(engine.proprioception.eef_pos)
        if np.abs(qpos[-1] - arrays["qpos"][step]).max() < SAME_PICTURE_ATOL:
            assert _sha256(env.render("primary")) == meta["sha256_agentview"][step]
            assert _sha256(env.render("wrist")) == meta["sha256_wrist"][step]
    for ours, name in ((qpos, "qpos"), (qvel, "qvel"), (eef, "eef_pos")):
        assert_close(ours, arrays[name][: len(actions) + 1], STATE_ATOL)
    return dict(observation)


def _watch_reset(env: LiberoEnv) -> dict[str, Any]:
    """Note what the data hold after the reset, and after the initial state is set."""
    seen: dict[str, Any] = {}
    make_world = env._world_of

    def watched(files: Any) -> Any:
        world = make_world(files)
        engine = world.engine
        reset, set_state = type(engine).reset, type(engine).set_state

        def noting_reset(generator: Any) -> None:
            reset(engine, generator)
            seen.update(reset_qpos=engine.data.qpos.copy(), reset_qvel=engine.data.qvel.copy())

        def noting_set_state(state: Any) -> None:
            set_state(engine, state)
            seen.update(init_qpos=engine.data.qpos.copy())

        engine.reset, engine.set_state = noting_reset, noting_set_state  # type: ignore[method-assign]
        return world

    env._world_of = watched  # type: ignore[method-assign]
    return seen


def _sha256(picture: np.ndarray) -> str:
    """Of a picture's bytes as MuJoCo gives them, from the bottom row up."""
    return hashlib.sha256(np.ascontiguousarray(picture[::-1]).tobytes()).hexdigest()


def _folder(kind: str) -> Path | None:
    named = os.environ.get("VLAGYM_GOLDEN")
    folder = Path(named) / "perturbations" / kind if named else None
    return folder if folder is not None and folder.is_dir() else None
