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
from stock_libero import play_from

from vlagym.conf import suite_settings
from vlagym.envs.libero.env import LiberoEnv
from vlagym.envs.libero.suite import LiberoSuite
from vlagym.envs.registry import make_suite

# States agree to the last bits only on the processor of the recording: BLAS and numpy choose their code by it.
STATE_ATOL = 1e-9


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
        pytest.skip(f"needs recordings of upstream, see $VLAGYM_GOLDEN: perturbations/{kind}/{name}")  # CI has them, denies skips
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


@dataclass
class Played:
    """What an episode came to, step by step from where the policy takes over; pictures as hashes of MuJoCo's bytes.

    Attributes:
        observation: The first one.
    """

    observation: dict[str, Any]
    qpos: list[np.ndarray]
    qvel: list[np.ndarray]
    eef: list[np.ndarray]
    primary: list[str]
    wrist: list[str]


def play(env: LiberoEnv, task: str, trial: int, recording: Recording, steps: int | None = None) -> Played:
    """Play the recorded actions; what holds before the physics, and every success, is compared on the way, bit by bit."""
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
    played = Played(dict(observation), [], [], [], [], [])
    actions = arrays["actions"][: len(arrays["actions"]) if steps is None else steps]
    for step in range(len(actions) + 1):
        if step:
            assert bool(env.step_chunk(actions[step - 1][None]).successes[-1]) == bool(arrays["success"][step])
        played.qpos.append(engine.data.qpos.copy())
        played.qvel.append(engine.data.qvel.copy())
        played.eef.append(engine.proprioception.eef_pos)
        played.primary.append(_sha256(env.render("primary")[::-1]))
        played.wrist.append(_sha256(env.render("wrist")[::-1]))
    return played


def assert_as_recorded(played: Played, recording: Recording) -> None:
    """Image bytes are compared bit by bit, states within `STATE_ATOL`."""
    number = len(played.qpos)
    assert played.primary == recording.meta["sha256_agentview"][:number]
    assert played.wrist == recording.meta["sha256_wrist"][:number]
    for ours, name in ((played.qpos, "qpos"), (played.qvel, "qvel"), (played.eef, "eef_pos")):
        assert_close(ours, recording.arrays[name][:number], STATE_ATOL)


def assert_as_stock(played: Played, bddl: Path, trial: int, recording: Recording) -> None:
    """Every bit is that of the stock loop on this machine, in a world that upstream leaves as LIBERO has it."""
    stock = play_from(bddl, recording.arrays["init_state"], trial, recording.arrays["actions"][: len(played.qpos) - 1])
    assert np.array_equal(played.qpos, [moment["qpos"] for moment in stock])
    assert np.array_equal(played.qvel, [moment["qvel"] for moment in stock])
    assert played.primary == [_sha256(moment["primary"]) for moment in stock]
    assert played.wrist == [_sha256(moment["wrist"]) for moment in stock]


def _watch_reset(env: LiberoEnv) -> dict[str, Any]:
    """Note what the data hold after the reset, and after the initial state is set."""
    seen: dict[str, Any] = {}
    make_world = env._world_of

    def watched(*of: Any) -> Any:
        world = make_world(*of)
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
    """Of a picture's bytes, which MuJoCo gives from the bottom row up."""
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()


def _folder(kind: str) -> Path | None:
    named = os.environ.get("VLAGYM_GOLDEN")
    folder = Path(named) / "perturbations" / kind if named else None
    return folder if folder is not None and folder.is_dir() else None
