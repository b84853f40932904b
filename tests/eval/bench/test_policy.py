"""Timing a policy without a simulator."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from shapes_only import ShapesOnly

from vlagym.errors import ConfigError, PolicyError
from vlagym.eval.bench.policy import measure
from vlagym.eval.cli import main
from vlagym.eval.plan.realtime import load_profile
from vlagym.policies.base import Chunk, Policy, PolicyObservation

CALL_S = 0.02


class Slow(Policy):
    """Takes the same time for any batch, and gives chunks of three."""

    cameras = ("primary",)

    def __init__(self, suite: ShapesOnly) -> None:
        self.action_spec = suite.action_spec
        self.seen: list[Sequence[PolicyObservation]] = []

    def reset(self, episode_ids: Sequence[str]) -> None:
        self.seen.clear()

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        self.seen.append(observations)
        time.sleep(CALL_S)
        return [np.zeros((3, self.action_spec.size)) for _ in observations]


def test_a_call_is_timed_from_observations_to_actions(libero_like: ShapesOnly) -> None:
    policy = Slow(libero_like)
    one, four = measure(policy, libero_like, [1, 4], calls=5, warm_up=2)
    assert (one.batch, one.calls, four.batch) == (1, 5, 4)
    assert one.p50_ms >= 1000 * CALL_S
    assert one.p95_ms >= one.p50_ms
    assert one.observations_per_second <= 1 / CALL_S
    assert four.actions_per_second == pytest.approx(3 * four.observations_per_second)
    assert one.peak_memory_bytes > 0
    assert len(policy.seen) == 7
    images = [observation["images"]["primary"] for observation in policy.seen[-1]]
    assert all(image.shape == (256, 256, 3) for image in images)
    assert len({observation["instruction"] for observation in policy.seen[-1]}) == 3  # a batch mixes instructions


def test_what_cannot_be_timed_is_refused(libero_like: ShapesOnly) -> None:
    policy = Slow(libero_like)
    with pytest.raises(ConfigError, match="batch_sizes must be numbers from 1"):
        measure(policy, libero_like, [], calls=5, warm_up=0)
    policy.needs_privileged_state = True
    with pytest.raises(ConfigError, match="which only a simulator has"):
        measure(policy, libero_like, [1], calls=1, warm_up=0)


def test_a_policy_that_breaks_its_contract_is_not_timed(libero_like: ShapesOnly) -> None:
    policy = Slow(libero_like)
    policy.act = lambda observations: [np.full((1, 7), np.nan)] * len(observations)  # type: ignore[method-assign]
    with pytest.raises(PolicyError, match="not finite"):
        measure(policy, libero_like, [1], calls=1, warm_up=0)


def test_the_command_line_writes_a_table_and_json(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers", reason="OpenVLA needs the extra openvla")
    pytest.importorskip("simplejpeg", reason="OpenVLA needs the extra openvla")
    checkpoint = golden / "openvla_tiny" / "checkpoint"
    towers = "[{embed_dim:48,depth:4,heads:3},{embed_dim:40,depth:3,heads:2}]"
    arguments = ["policy=openvla", f"policy.checkpoint={checkpoint}", f"policy.vision_towers={towers}", "policy.device=cpu"]
    files = [f"json={tmp_path / 'bench.json'}", "--profile", str(tmp_path / "profile.json")]
    assert main(["bench", *arguments, "batch_sizes=[1,2]", "calls=2", "warm_up=1", *files]) == 0
    printed = capsys.readouterr().out
    assert "observations/s" in printed
    assert "x the weights" in printed
    report = json.loads((tmp_path / "bench.json").read_text())
    assert [timing["batch"] for timing in report["timings"]] == [1, 2]
    profile = load_profile(tmp_path / "profile.json")
    assert (len(profile.latencies_ms), profile.policy, profile.batch) == (2, "openvla", 1)
    assert max(profile.latencies_ms) >= report["timings"][0]["p50_ms"] - 1e-3
    assert report["provenance"]["checkpoint"] == str(checkpoint)
    assert report["limits"]["flops_per_second"] > 1e8
    for timing in report["timings"]:  # in passes of its own shape, against the plain forward pass
        assert timing["agreement"]["equal"] == 1.0
        assert timing["agreement"]["error"] < 1e-5
        assert 0 < timing["least_ms"] < timing["p50_ms"]
    assert report["loading"]["weight_bytes"] == report["provenance"]["weight_bytes"] > 4 * 2 * 32064 * 48
    assert main(["bench", "policy=openvla", "--help"]) == 0
    assert "batch_sizes" in capsys.readouterr().out


def test_a_policy_without_a_recipe_for_the_default_suite_is_timed_on_one_of_its_own(golden: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="RoboVLMs needs the extra robovlms")
    checkpoint, backbone = golden / "robovlms" / "ckpt" / "kosmos_ph_tiny.pt", golden / "robovlms" / "kosmos-tiny"
    arguments = ["policy=robovlms", f"policy.checkpoint={checkpoint}", f"policy.backbone={backbone}", "policy.device=cpu"]
    short = ["batch_sizes=[2]", "calls=1", "warm_up=0", f"json={tmp_path / 'bench.json'}"]
    for more, suite in (([], "calvin_abc_d"), (["suite=simpler_widowx"], "simpler_widowx")):
        assert main(["bench", *arguments, *short, *more]) == 0
        assert json.loads((tmp_path / "bench.json").read_text())["settings"]["suite"]["name"] == suite
