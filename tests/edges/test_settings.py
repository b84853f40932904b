"""Every setting is declared with its type and range; what is neither is refused by name."""

from __future__ import annotations

import io
from typing import Any

import pytest

from vlagym.conf import suite_names
from vlagym.edges.settings import check_settings, declared
from vlagym.edges.text import printable
from vlagym.envs.registry import BENCHMARKS, make_suite
from vlagym.errors import ConfigError
from vlagym.eval.plan.config import RunConfig, compose_settings, load_config
from vlagym.eval.record.console import SafeConsole
from vlagym.policies.registry import POLICIES


@pytest.mark.parametrize("value", ["1.5", "0", "inf", "[2]", "true", "x"])
@pytest.mark.parametrize("setting", ["workers", "policy.chunk", "suite.trials"])
def test_a_count_is_a_whole_number(setting: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{setting} must be .*; got "):
        config = load_config(["suite=robosuite", "policy=random", f"{setting}={value}"])
        make_suite(config.legs[0].suite)
        policy = config.legs[0].policy
        check_settings("policy.", POLICIES.get("random"), {k: v for k, v in policy.items() if k != "name"})


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seeds=[-1]", "seeds must be a list of whole numbers from 0 to 4294967295, not empty"),
        ("worker_timeout_s=inf", "worker_timeout_s must be a finite number"),
        ("video_fps=nan", "video_fps must be a finite number"),
        ("egl_devices=[]", "egl_devices must be a list of whole numbers from 0 to 1024, not empty, or null"),
        ("tasks=[]", "tasks must be"),
        ("video_cameras=[1]", "video_cameras must be a list of names"),
        ("assets=5", "assets must be a mapping"),
        ("workers=" + "[" * 100, "too long or nested too deeply"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config([override])


def test_every_setting_in_conf_is_declared_with_a_type() -> None:
    for suite in suite_names():
        settings: dict[str, Any] = compose_settings([f"suite={suite}"])["suite"]
        known = declared(BENCHMARKS.get(settings.pop("benchmark")))
        settings.pop("instructions", None)  # every suite's, read before its own
        assert set(settings) <= set(known), suite
        assert all(known[name].expected != "a plain value" for name in settings), suite
    for policy in ("random", "small", "openvla", "openvla_oft", "openvla_oft_joint", "rt1", "rt1_x"):
        settings = compose_settings([f"policy={policy}"])["policy"]
        del settings["name"], settings["devices"]  # every policy's, read before its own
        known = declared(POLICIES.get(policy))
        assert set(settings) <= set(known), policy
        assert all(known[name].expected != "a plain value" for name in settings), policy
    assert all(setting.expected != "a plain value" for setting in declared(RunConfig).values())


def test_escape_sequences_of_others_do_not_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # a dumb one has no colours
    assert printable("\x1b]0;title\x07a\tb\n\u202ec") == "\\x1b]0;title\\x07a\tb\n\\u202ec"
    terminal = io.StringIO()
    SafeConsole(file=terminal, force_terminal=True, width=80).print("\x1b[2Jwords", style="bold", markup=False)
    assert "\x1b[2J" not in terminal.getvalue()
    assert "\x1b[1m" in terminal.getvalue(), "its own colours stay"
