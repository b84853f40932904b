"""Settings of the simulated clock: what each means in steps, and that what can't be meant is refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vlagym.envs.suite import protocol_sha256
from vlagym.errors import ConfigError
from vlagym.eval.plan.config import RunConfig, load_config
from vlagym.eval.plan.realtime import LatencyProfile, Realtime

TOY = ("suite=toy", "policy=push")


@pytest.mark.parametrize(
    ("typed", "hz", "steps"),
    [
        (["realtime.delay_steps=3"], 20, 3),
        (["realtime=fixed", "realtime.delay_steps=0"], 20, 0),
        (["realtime.delay_ms=0"], 20, 0),
        (["realtime.delay_ms=1"], 20, 1),
        (["realtime.delay_ms=50"], 20, 1),
        (["realtime.delay_ms=50.1"], 20, 2),
        (["realtime.delay_ms=150"], 20, 3),
        (["realtime.delay_ms=180"], 20, 4),
        (["realtime.delay_ms=180"], 3, 1),
        (["realtime.delay_ms=273"], 50, 14),
    ],
)
def test_an_action_that_comes_within_a_control_period_acts_in_the_next(typed: list[str], hz: float, steps: int) -> None:
    realtime = load_config([*TOY, *typed]).realtime
    assert realtime is not None
    assert realtime.delays(hz) == (steps,)
    assert realtime.is_plain(hz) == (steps == 0)


def test_the_world_waits_unless_asked_otherwise() -> None:
    assert load_config(TOY).realtime is None
    assert load_config([*TOY, "realtime=off"]).realtime is None


def test_a_profile_is_read_once_and_kept_in_the_runs_settings(tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    LatencyProfile((40.0, 51.0, 260.0), "openvla", 1, "a GPU").write(file)
    config = load_config([*TOY, f"realtime.profile={file}", "realtime.horizon=4"])
    file.unlink()
    assert config.realtime is not None
    assert config.realtime.delays(20) == (1, 2, 6), "one that is slower than the horizon is waited for"
    assert RunConfig.from_json(config.to_json()) == config
    assert not config.realtime.is_plain(20)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["realtime.delay_steps=-1"], "realtime.delay_steps must be a whole number from 0"),
        (["realtime.delay_ms=-5"], "realtime.delay_ms must be a number from 0"),
        (["realtime.delay_steps=soon"], "realtime.delay_steps must be a whole number"),
        (["realtime=fixed"], "realtime=fixed needs realtime.delay_steps=N or realtime.delay_ms=MS"),
        (["realtime.delay_steps=1", "realtime.delay_ms=10"], "one of the two"),
        (["realtime.delay_steps=1", "realtime.horizon=0"], "realtime.horizon must be a whole number from 1"),
        (["realtime.delay_steps=1", "realtime.alignment=end"], "realtime.alignment must be one of age, start"),
        (["realtime.delay_steps=1", "realtime.wait=never"], "realtime.wait must be one of async, sync"),
        (["realtime=recorded"], "realtime=recorded needs realtime.profile=FILE"),
        (["realtime=off", "realtime.delay_steps=1"], "unknown setting 'realtime.delay_steps'"),
        (["realtime=of"], "unknown realtime 'of'. Did you mean 'off'"),
        (["realtime.delay=3"], "unknown setting 'realtime.delay'. Did you mean 'realtime.delay_"),
        (["realtime=recorded", "realtime.profile=nowhere.json"], "nowhere.json is not a latency profile that can be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(typed: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config([*TOY, *typed])
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "written",
    [
        "[]",
        "not json",
        json.dumps({"latencies_ms": [], "policy": "p", "batch": 1, "measured_on": "x"}),
        json.dumps({"latencies_ms": [-1.0], "policy": "p", "batch": 1, "measured_on": "x"}),
        json.dumps({"latencies_ms": ["fast"], "policy": "p", "batch": 1, "measured_on": "x"}),
        json.dumps({"timings": []}),
    ],
)
def test_a_file_that_is_no_profile_is_refused(written: str, tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    file.write_text(written)
    with pytest.raises(ConfigError, match=r"is not a latency profile that can be read: .*vla-eval bench"):
        load_config([*TOY, f"realtime.profile={file}"])


def test_a_delay_over_the_horizon_is_refused_where_the_control_rate_is_known() -> None:
    with pytest.raises(ConfigError, match="a delay of 4 steps is longer than the horizon of 3"):
        Realtime("fixed", delay_ms=180.0, horizon=3).delays(20)
    assert Realtime("fixed", delay_ms=180.0, horizon=3).delays(10) == (2,)


def test_every_setting_is_part_of_the_protocol() -> None:
    variants = [
        Realtime("fixed", delay_steps=2),
        Realtime("fixed", delay_steps=3),
        Realtime("fixed", delay_ms=100.0),
        Realtime("fixed", delay_steps=2, horizon=4),
        Realtime("fixed", delay_steps=2, alignment="start"),
        Realtime("fixed", delay_steps=2, wait="sync"),
        Realtime("recorded", latencies_ms=(100.0,)),
        Realtime("recorded", latencies_ms=(100.0, 120.0)),
    ]
    assert len({protocol_sha256(variant.protocol()) for variant in variants}) == len(variants)
