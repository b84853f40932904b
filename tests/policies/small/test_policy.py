"""The small policy: its shipped checkpoints act as they did when they were evaluated, alone, in company and behind a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlagym.edges.files import MEGABYTE
from vlagym.envs.registry import make_suite
from vlagym.envs.suite import Suite
from vlagym.errors import ConfigError, PolicyError
from vlagym.eval.plan.config import load_config
from vlagym.policies.base import Policy, PolicyObservation
from vlagym.policies.checker import check_policy
from vlagym.policies.pipeline import Recipe
from vlagym.policies.registry import make_policy
from vlagym.policies.small.network import SmallNetwork, read_checkpoint
from vlagym.policies.small.policy import SHIPPED

LENGTHS = ("long", "middle", "short")


@pytest.fixture(scope="module")
def suite() -> Suite:
    return make_suite(load_config(["suite=robosuite"]).legs[0].suite)


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    """Three moments of an episode of task lift (trial 0, seed 0), and what each checkpoint did then."""
    with np.load(Path(__file__).with_name("recorded.npz"), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def moments(recorded: dict[str, np.ndarray]) -> list[PolicyObservation]:
    return [
        {
            "images": {camera: recorded[camera][k] for camera in ("primary", "wrist")},
            "state": recorded["state"][k],
            "instruction": str(recorded["instruction"]),
            "episode_id": f"robosuite/lift/{k}/0",
            "step": 0,
        }
        for k in range(len(recorded["state"]))
    ]


def build(suite: Suite, *changes: str) -> Policy:
    return make_policy(load_config(["suite=robosuite", "policy=small", *changes]).legs[0].policy, suite)


def act(policy: Policy, moments: list[PolicyObservation]) -> list[np.ndarray]:
    ids = [moment["episode_id"] for moment in moments]
    policy.reset(ids)
    chunks = policy.act(moments)
    policy.release(ids)
    return chunks


@pytest.mark.parametrize("checkpoint", LENGTHS)
def test_the_shipped_checkpoints_act_as_recorded(
    checkpoint: str, suite: Suite, recorded: dict[str, np.ndarray], moments: list[PolicyObservation]
) -> None:
    policy = build(suite, f"policy.checkpoint={checkpoint}", "policy.executes=null")
    # Sums of float32 depend on how a processor's vector units group them.
    np.testing.assert_allclose(act(policy, moments), recorded[f"actions.{checkpoint}"], rtol=0, atol=1e-4)
    policy.close()


def test_the_policy_keeps_the_contract_to_the_last_bit(suite: Suite) -> None:
    policy = build(suite)
    check_policy(policy, suite, tolerance=0.0)
    policy.close()


def test_it_acts_the_same_behind_our_own_server(suite: Suite, moments: list[PolicyObservation]) -> None:
    pytest.importorskip("websockets", reason="servers need the extra remote")
    pytest.importorskip("msgpack", reason="servers need the extra remote")
    from vlagym.policies.serving.adapter import ServedPolicy, layout_of
    from vlagym.policies.serving.server import ServerSettings, serving

    alone = build(suite)
    expected = act(alone, moments)
    alone.close()
    served = ServedPolicy(build(suite), suite, layout_of("openpi", "robosuite", suite), "small")
    with serving(served, ServerSettings(port=0)) as port:
        client = make_policy(
            {
                **load_config(["suite=robosuite", "policy=openpi"]).legs[0].policy,
                "url": f"ws://127.0.0.1:{port}",
                "request": {
                    "images": {"observation/image": "primary", "observation/wrist_image": "wrist"},
                    "state": {"observation/state": [0, 8]},
                    "state_dtype": "float32",
                    "instruction": "prompt",
                },
                "image_transforms": [],
                "action_transforms": [],
                "emits": {name: getattr(suite.action_spec, name) for name in MEANING},
            },
            suite,
        )
        for moment, chunk in zip(moments, expected, strict=True):
            seat = client.seats(1)[0]
            seat.reset([moment["episode_id"]])
            assert np.array_equal(seat.act([moment])[0], chunk)
            seat.release([moment["episode_id"]])
        client.close()


MEANING = ("mode", "frame", "rotation", "unit", "gripper_open", "gripper_closed")


def test_what_is_shipped_is_small_and_was_trained_longer_and_longer() -> None:
    files = {file.stem: file for file in SHIPPED.glob("*.npz")}
    assert set(files) == set(LENGTHS)
    assert sum(file.stat().st_size for file in files.values()) < 6 * MEGABYTE
    steps = [read_checkpoint(files[name]).config.steps for name in ("short", "middle", "long")]
    assert steps == sorted(set(steps))


def damaged(change: Callable[[dict[str, Any]], Any], file: Path) -> Path:
    with np.load(SHIPPED / "long.npz", allow_pickle=False) as arrays:
        held = {name: arrays[name] for name in arrays.files}
    change(held)
    np.savez(file, **held)
    return file


@pytest.mark.parametrize(
    "change",
    [
        lambda held: held.pop("head.weight"),
        lambda held: held.pop("config"),
        lambda held: held.update({"head.weight": held["head.weight"][:, :-1]}),
        lambda held: held.update({"head.bias": np.full_like(held["head.bias"], np.nan)}),
        lambda held: held.update({"head.bias": held["head.bias"].astype(object)}),
        lambda held: held.update(config=np.array(json.dumps({"words": [], "chunk": 8}))),
    ],
)
def test_a_damaged_checkpoint_is_refused_before_anything_runs(
    change: Callable[[dict[str, Any]], Any], tmp_path: Path, suite: Suite
) -> None:
    file = damaged(change, tmp_path / "damaged.npz")
    with pytest.raises(PolicyError, match=r"damaged\.npz is not a checkpoint of policy 'small'"):
        build(suite, f"policy.checkpoint={file}")


def test_what_is_no_checkpoint_is_refused_in_words(tmp_path: Path, suite: Suite) -> None:
    with pytest.raises(ConfigError, match="no such file, and what is shipped is long, middle, short"):
        build(suite, "policy.checkpoint=longest")
    (tmp_path / "text.npz").write_text("not a checkpoint")
    with pytest.raises(PolicyError, match="is not a checkpoint"):
        build(suite, f"policy.checkpoint={tmp_path / 'text.npz'}")
    with pytest.raises(ConfigError, match=r"policy.executes must be 1\.\.8"):
        build(suite, "policy.executes=9")
    with pytest.raises(ConfigError, match="sees 2 cameras"):
        build(suite, "policy.cameras=[primary]")


def test_a_sentence_without_a_word_it_learned_is_refused() -> None:
    network: SmallNetwork = read_checkpoint(SHIPPED / "long.npz")
    assert np.array_equal(network.sentence("Lift the red cube"), network.sentence("the red cube lift"))
    with pytest.raises(PolicyError, match="knows no word of 'faites'"):
        network.sentence("faites")


def test_a_recipe_has_all_that_is_settled() -> None:
    settings = load_config(["suite=robosuite", "policy=small"]).legs[0].policy
    assert all(settings[name] is not None for name in Recipe.__annotations__)
