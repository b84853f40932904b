"""A policy of ours behind a server sees what it would see on the suite, whatever way the client shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from shapes_only import ShapesOnly
from toy_suite import PushPolicy

from vlagym.errors import ConfigError, PolicyError
from vlagym.policies.base import Policy, PolicyObservation
from vlagym.policies.remote.base import Question
from vlagym.policies.remote.openpi import OpenpiWire, decode, encode
from vlagym.policies.serving.adapter import ServedPolicy, layout_of
from vlagym.policies.serving.served import Request


class Looking(Policy):
    """Keeps what it sees."""

    cameras = ("primary", "wrist")

    def __init__(self, suite: ShapesOnly) -> None:
        self.action_spec = suite.action_spec
        self.seen: list[PolicyObservation] = []

    def reset(self, episode_ids: Sequence[str]) -> None:
        return None

    def act(self, observations: Sequence[PolicyObservation]) -> list[np.ndarray]:
        self.seen += observations
        return [np.zeros((1, self.action_spec.size)) for _ in observations]


@pytest.fixture
def stock() -> Mapping[str, Any]:
    """What LIBERO's simulator gives: images with the last row on top."""
    draw = np.random.default_rng(0)
    images = {camera: draw.integers(0, 256, (256, 256, 3), np.uint8) for camera in ("primary", "wrist")}
    return {**images, "state": draw.standard_normal(8)}


def request(protocol: str, stock: Mapping[str, Any]) -> dict[str, Any]:
    """The same moment as the clients of openpi and vla-eval send it: images turned by 180 degrees."""
    turned = {camera: stock[camera][::-1, ::-1] for camera in ("primary", "wrist")}
    if protocol == "openpi":
        images = {"observation/image": turned["primary"], "observation/wrist_image": turned["wrist"]}
        return {**images, "observation/state": stock["state"], "prompt": "open the drawer"}
    images = {"agentview": turned["primary"], "wrist": turned["wrist"]}
    return {"images": images, "states": stock["state"], "task_description": "open the drawer"}


@pytest.mark.parametrize("protocol", ["openpi", "vla_eval"])
def test_libero_is_seen_upright(protocol: str, stock: Mapping[str, Any], libero_like: ShapesOnly) -> None:
    policy = Looking(libero_like)
    served = ServedPolicy(policy, libero_like, layout_of(protocol, "libero", libero_like), "looking")
    served.act([Request("e", 3, request(protocol, stock))])
    (seen,) = policy.seen
    for camera in policy.cameras:
        np.testing.assert_array_equal(seen["images"][camera], stock[camera][::-1])
    np.testing.assert_array_equal(seen["state"], stock["state"].astype(np.float32))
    assert (seen["instruction"], seen["episode_id"], seen["step"]) == ("open the drawer", "e", 3)


def test_what_is_executed_until_the_answer_acts_reaches_the_policy(stock: Mapping[str, Any], libero_like: ShapesOnly) -> None:
    policy = Looking(libero_like)
    served = ServedPolicy(policy, libero_like, layout_of("openpi", "libero", libero_like), "looking")
    actions = np.arange(14, dtype=np.float32).reshape(2, 7)
    question = Question({}, {}, "open the drawer", "prompt", {}, "e", 3, {"previous_actions": actions, "delay_steps": 2})
    wire = OpenpiWire()
    wire.dialect, wire.stateful = "vlagym", True
    sent = decode(encode(wire.request(question)))
    served.act([Request("e", 3, {**request("openpi", stock), **sent}), Request("e", 3, request("openpi", stock))])
    told, untold = policy.seen
    np.testing.assert_array_equal(told["previous_actions"], actions)
    assert told["delay_steps"] == 2
    assert "delay_steps" not in untold
    wire.dialect, wire.stateful = "openpi", False
    assert not {"previous_actions", "delay_steps"} & set(wire.request(question)), "others have no words for it"
    for actions, delay in ((np.zeros((2, 3)), 2), (None, 2), (np.zeros((2, 7)), -1), (np.full((1, 7), np.nan), 1)):
        with pytest.raises(PolicyError, match="'previous_actions'|'delay_steps'"):
            served.act([Request("e", 3, {**request("openpi", stock), "previous_actions": actions, "delay_steps": delay})])


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("observation/image", None, "no 'observation/image'"),
        ("observation/image", np.zeros((224, 224, 3), np.float32), "uint8\\[H, W, 3\\]; got float32\\[224, 224, 3\\]"),
        ("observation/image", np.zeros((3, 224, 224), np.uint8), "got uint8\\[3, 224, 224\\]"),
        ("observation/state", np.zeros(7), "float\\[8\\]; got float64\\[7\\]"),
        ("observation/state", np.full(8, np.inf), "not finite"),
        ("prompt", 3, "must be a sentence"),
        ("prompt", "x" * 600, "must be a sentence"),
    ],
)
def test_what_is_not_an_observation_is_named(
    key: str, value: Any, why: str, stock: Mapping[str, Any], libero_like: ShapesOnly
) -> None:
    served = ServedPolicy(Looking(libero_like), libero_like, layout_of("openpi", "libero", libero_like), "looking")
    sent = {**request("openpi", stock), key: value}
    with pytest.raises(PolicyError, match=why):
        served.act([Request("e", 0, {name: entry for name, entry in sent.items() if entry is not None})])


def test_what_cannot_be_served_is_refused(google_like: ShapesOnly, libero_like: ShapesOnly) -> None:
    with pytest.raises(ConfigError, match="not served over vla_eval"):
        layout_of("vla_eval", "simpler", google_like)
    with pytest.raises(ConfigError, match="only a simulator knows"):
        ServedPolicy(PushPolicy(libero_like), libero_like, layout_of("openpi", "libero", libero_like), "push")
