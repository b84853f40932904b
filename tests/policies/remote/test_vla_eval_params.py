"""What a vla-eval server wants of the benchmark is obeyed, or refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from needs import need_suite

from vlagym.envs.registry import make_suite
from vlagym.errors import ConfigError
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import evaluate
from vlagym.policies.remote.vla_eval_params import obey
from vlagym.policies.serving.served import Request, Served
from vlagym.policies.serving.server import ServerSettings, serving
from vlagym.trajectory import load_trajectory


def obeyed(server: dict[str, Any], *overrides: str) -> tuple[dict[str, Any], Any]:
    """The request and the recipe that come of a server's hello on libero_spatial."""
    leg = load_config(["suite=libero_spatial", "policy=vla_eval_server", "policy.url=ws://127.0.0.1:1", *overrides]).legs[0]
    recipe: Any = {name: leg.policy[name] for name in ("image_transforms", "state_transforms", "action_transforms", "emits")}
    request, recipe = obey(make_suite(leg.suite), server, leg.policy["request"], recipe)
    assert request is not None
    return request, recipe


def wants(**wishes: Any) -> dict[str, Any]:
    return {"observation_params": wishes}


def test_what_is_not_asked_for_is_not_sent() -> None:
    request, _ = obeyed(wants())
    assert "wrist" not in request["images"].values()
    assert not request["state"]
    request, recipe = obeyed(wants(send_wrist_image=True, send_state=True))
    assert {"primary", "wrist"} == set(request["images"].values())
    assert request["state"]
    assert "shortest_axis_angle" in recipe["state_transforms"]
    _, recipe = obeyed(wants(send_state=True, quat_no_antipodal=True))
    assert "shortest_axis_angle" not in recipe["state_transforms"]


def test_poses_are_taken_where_the_robot_goes_to_poses() -> None:
    _, recipe = obeyed(wants(absolute_action=True), "suite.control=absolute")
    assert (recipe["emits"]["mode"], recipe["emits"]["unit"]) == ("absolute", "m_rad")
    with pytest.raises(ConfigError, match=r"absolute_action=True of the benchmark; here it is False \(suite\.control=absolute"):
        obeyed(wants(absolute_action=True))


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"max_steps": 220, "num_steps_wait": 10, "deterministic_episodes": True}, None),
        ({"max_steps": 600}, r"max_steps=600 of the benchmark; here it is 220 \(suite\.horizon\)"),
        ({"num_steps_wait": 3}, r"num_steps_wait=3 of the benchmark; here it is 10"),
        ({"light": "dim"}, "light='dim' of the benchmark, which vlagym does not know"),
    ],
)
def test_other_wishes_are_what_the_suite_has_or_are_refused(wishes: dict[str, Any], said: str | None) -> None:
    if said is None:
        obeyed(wants(**wishes))
        return
    with pytest.raises(ConfigError, match=said):
        obeyed(wants(**wishes))


def test_actions_of_another_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match="the server's actions are absolute_xyz; the recipe says mode 'delta'"):
        obeyed({"action_spec": {"position": {"format": "absolute_xyz"}}})


POSE = np.array([-0.15, 0.02, 1.1, 3.0, 0.1, 0.0, -1.0])


class Poses(Served):
    """Tells the hand where to be."""

    metadata: ClassVar[dict[str, Any]] = wants(absolute_action=True)

    def act(self, requests: Sequence[Request]) -> list[Any]:
        return [np.tile(POSE, (4, 1)) for _ in requests]


@pytest.mark.slow
def test_a_server_of_poses_moves_the_hand_there(tmp_path: Path) -> None:
    need_suite("libero_spatial")
    plain = ["tasks=[0]", "episodes_per_task=1", "suite.horizon=40", "video=none", "workers=1", f"run_dir={tmp_path / 'run'}"]
    settings = ["suite=libero_spatial", "suite.control=absolute", "policy=vla_eval_server"]
    with serving(Poses(), ServerSettings(port=0, protocol="vla_eval")) as port:
        config = load_config([*settings, f"policy.url=ws://127.0.0.1:{port}", *plain])
        (file,) = (evaluate(config).folder / "trajectories").glob("*.npz")
    actions = load_trajectory(file)["actions"]
    np.testing.assert_allclose(actions[0, :6], POSE[:6], atol=1e-6)
    with closing(make_suite(config.legs[0].suite).make_env(())) as env:
        env.reset(options={"task": 0, "trial": 0})
        start = env.precise_state()[:3].copy()
        env.step_chunk(actions)
        end = env.precise_state()[:3].copy()
    assert np.linalg.norm(end - POSE[:3]) < 0.02 < np.linalg.norm(start - POSE[:3])
