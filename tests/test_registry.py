"""What another package offers and forgot to finish is refused in a sentence."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_suite import ToySuite

from vlagym._registry import Registry
from vlagym.envs.registry import make_suite
from vlagym.errors import ConfigError
from vlagym.policies.registry import POLICIES, make_policy

HALF = """
from vlagym.envs.suite import Suite
from vlagym.policies.base import Policy

class NoTasks(Suite):
    def make_env(self, cameras): ...
    def check_ready(self): ...
    def provenance(self): ...

class NoSpec(Policy):
    def __init__(self, suite): ...
    def reset(self, episode_ids): ...
    def act(self, observations): ...
"""


@dataclass(frozen=True)
class Sideways(ToySuite):
    @property
    def camera_sizes(self) -> dict[str, tuple[int, int]]:
        return {"side": (8, 8)}


@pytest.fixture
def half_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with a suite and a policy that lack something."""
    (tmp_path / "half_built.py").write_text(HALF)
    info = tmp_path / "half_built-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: half-built\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[vlagym.suites]\nno_tasks = half_built:NoTasks\nsideways = test_registry:Sideways\n"
        "[vlagym.policies]\nno_spec = half_built:NoSpec\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "test_registry", sys.modules[__name__])


@pytest.mark.usefixtures("half_built")
def test_a_class_that_lacks_members_is_told_which() -> None:
    suites: Registry[object] = Registry("suite", {}, group="vlagym.suites")
    with pytest.raises(ConfigError, match=r"does not define action_spec, camera_sizes, state_spec, tasks, .*envs\.suite\.Suite"):
        suites.get("no_tasks")


@pytest.mark.usefixtures("half_built")
def test_a_policy_without_an_action_spec_is_told_to_set_it() -> None:
    assert "no_spec" in POLICIES.names()
    with pytest.raises(ConfigError, match=r"self\.action_spec = suite\.action_spec"):
        make_policy({"name": "no_spec"}, ToySuite("toy"))


@pytest.mark.usefixtures("half_built")
def test_a_suite_without_a_primary_camera_is_refused() -> None:
    with pytest.raises(ConfigError, match="no camera called 'primary'.*names side"):
        make_suite({"benchmark": "sideways", "name": "sideways"})
