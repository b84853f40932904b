"""The client of LeRobot's server: what is sent to it, and which servers are refused. LeRobot itself is asked in test_real.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("websockets", reason="servers need the extra remote")

from vlagym.envs.registry import make_suite
from vlagym.errors import ConfigError
from vlagym.eval.plan.config import load_config
from vlagym.policies.base import Policy
from vlagym.policies.lerobot.launch import command
from vlagym.policies.registry import make_policy
from vlagym.policies.serving.served import Array, Request, Served
from vlagym.policies.serving.server import ServerSettings, serving

EPISODE = "libero_goal/turn_on_the_stove/0/0"


class Checkpoint(Served):
    """Says of itself what the server in LeRobot's environment says, and keeps what it is asked."""

    name = "lerobot smolvla"

    def __init__(self, **said: Any) -> None:
        self.asked: list[Request] = []
        self.metadata = {
            "server": "vlagym",
            "policy": "lerobot/smolvla",
            "checkpoint": "somebody/smolvla_libero",
            "executes": 4,
            "inputs": {"observation.images.image": [3, 256, 256], "observation.state": [8]},
            "outputs": {"action": [7]},
            **said,
        }

    def act(self, requests: Sequence[Request]) -> list[Array]:
        self.asked += requests
        return [np.full((4, 7), 0.5, np.float32) for _ in requests]


def client(port: int, *overrides: str) -> Policy:
    leg = load_config(["suite=libero_goal", "policy=lerobot", f"policy.url=ws://127.0.0.1:{port}", *overrides]).legs[0]
    return make_policy(leg.policy, make_suite(leg.suite))


def test_lerobots_own_view_of_libero_is_sent_and_its_chunk_is_executed() -> None:
    served = Checkpoint()
    draw = np.random.default_rng(0)
    images = {camera: draw.integers(0, 256, (256, 256, 3), np.uint8) for camera in ("primary", "wrist")}
    state = draw.standard_normal(8)
    with serving(served, ServerSettings(port=0)) as port:
        policy = client(port)
        policy.reset([EPISODE])
        (chunk,) = policy.act([{"images": images, "state": state, "instruction": "go", "episode_id": EPISODE, "step": 0}])
        policy.close()
    np.testing.assert_array_equal(chunk, np.full((4, 7), 0.5))
    (request,) = served.asked
    assert request.episode == EPISODE  # from which the server draws its noise
    assert set(request.observation) == {"observation.images.image", "observation.images.image2", "observation.state", "task"}
    for key, camera in (("observation.images.image", "primary"), ("observation.images.image2", "wrist")):
        np.testing.assert_array_equal(request.observation[key], images[camera][:, ::-1])
    np.testing.assert_array_equal(request.observation["observation.state"], state.astype(np.float32))
    assert request.observation["task"] == "go"


@pytest.mark.parametrize(
    ("said", "overrides", "why"),
    [
        ({"policy": "openvla"}, (), "a server that is not LeRobot's"),
        ({"inputs": {"observation.images.front": [3, 64, 64]}}, (), "looks at observation.images.front; the recipe sends"),
        ({"outputs": {"action": [6]}}, (), r"actions have shape \[6\]; the recipe expects \[7\]"),
        ({}, ("policy.checkpoint=other/one",), "runs with checkpoint 'somebody/smolvla_libero', not policy.checkpoint=other/one"),
        ({}, ("policy.executes=8",), "runs with executes 4, not policy.executes=8"),
    ],
)
def test_a_server_that_does_not_fit_is_refused(said: dict[str, Any], overrides: tuple[str, ...], why: str) -> None:
    with serving(Checkpoint(**said), ServerSettings(port=0)) as port, pytest.raises(ConfigError, match=why):
        client(port, *overrides)


def test_names_may_be_mapped() -> None:
    inputs = {"observation.images.front": [3, 64, 64]}
    with serving(Checkpoint(inputs=inputs), ServerSettings(port=0)) as port:
        client(port, "policy.rename={observation.images.image: observation.images.front}").close()


def test_the_server_is_started_with_what_the_settings_say() -> None:
    overrides = ["policy.checkpoint=a/b", "policy.device=cpu", "policy.executes=5", "policy.overrides={num_steps: 5}"]
    words = command(load_config(["suite=libero_goal", "policy=lerobot", *overrides]).legs[0].policy)
    assert words[:3] == ["python", "-m", "vlagym.policies.lerobot.server"]
    assert words[3:] == [
        *("--checkpoint", "a/b", "--port", "{port}", "--device", "cpu", "--executes", "5", "--overrides", '{"num_steps": 5}'),
    ]
