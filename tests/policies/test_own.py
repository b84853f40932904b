"""A policy that is named by its file or module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vlagym.envs.registry import default_suite
from vlagym.errors import ConfigError, RunError
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import Outcome, resume
from vlagym.policies import from_function, make_policy
from vlagym.policies.base import Policy
from vlagym.policies.checker import check_policy

FILE = """
import numpy as np
from beside import SPEED
from vlagym.policies import Policy, from_function

class Push(Policy):
    def __init__(self, suite, speed: float = SPEED, start=np.zeros(2)):
        self.action_spec = suite.action_spec
        self.speed = speed
    def reset(self, episode_ids): ...
    def act(self, observations):
        return [np.array([[self.speed, 0.0]] * 4) for _ in observations]

class NoAct(Policy):
    def reset(self, episode_ids): ...

class NoSpec(Push):
    def __init__(self, suite): ...

class NoPolicy:
    pass

def go(observation, speed: float = SPEED):
    assert set(observation["images"]) == {"primary", "wrist"}
    return [speed, 0.0]

def make_push(suite, speed: float = SPEED):
    return Push(suite, speed)

def random(observation):
    return [0.0, 0.0]

def nothing():
    return [0.0, 0.0]

def no_policy(suite):
    return 3

blind_push = from_function(lambda observation: [SPEED, 0.0], cameras=[])
seven = 7
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the files mine.py, beside.py and broken.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "mine.py").write_text(FILE)
    (tmp_path / "beside.py").write_text("SPEED = 1.0\n")
    (tmp_path / "broken.py").write_text("x = 1\ny = x / 0\n")
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["Push", "go", "make_push", "blind_push"])
def test_a_class_a_function_and_a_factory_in_a_file_are_policies(name: str, run_toy: Callable[..., Outcome]) -> None:
    outcome = run_toy("episodes_per_task=2", "video=none", policy=f"mine.py:{name}")
    assert outcome.complete
    assert outcome.table["successes"].to_list() == [2, 2, 4]


@pytest.mark.usefixtures("here")
def test_its_settings_are_its_arguments(run_toy: Callable[..., Outcome]) -> None:
    slow = run_toy("episodes_per_task=2", "video=none", "policy.speed=0.1", policy="mine:go")
    assert slow.table["successes"].to_list() == [0, 0, 0]
    assert load_config(["policy=mine.py:Push"]).legs[0].policy == {"name": "Push", "speed": 1.0, "code": "mine.py:Push"}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["policy=mine.py:Pusch"], "Did you mean 'Push'"),
        (["policy=mine.py:Push", "policy.sped=1"], "Did you mean 'policy.speed'"),
        (["policy=mine.py:Push", "policy.start=1"], "unknown setting 'policy.start'"),
        (["policy=theirs.py:Push"], "there is no file theirs.py"),
        (["policy=no_such_module:Push"], "No module named 'no_such_module'"),
        (["policy=broken.py:Push"], "ZeroDivisionError: division by zero"),
        (["policy=broken.py:Push"], "broken.py, line 2)"),
        (["policy=mine.py:NoAct"], "NoAct has no act"),
        (["policy=mine.py:NoPolicy"], "NoPolicy is no vlagym.policies.Policy"),
        (["policy=mine.py:seven"], "neither a class nor a function"),
        (["policy=mine.py:nothing"], "takes no argument"),
        (["policy=mine.py:random"], "there is a policy 'random' already"),
        (["policy=mine.py:"], "expected path/to/file.py:NAME"),
        (["policy=:Push"], "expected path/to/file.py:NAME"),
    ],
)
def test_what_cannot_be_one_is_refused_in_a_sentence(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(["suite=toy", *overrides])
    assert said in str(raised.value)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("name", "said"), [("NoSpec", "self.action_spec = suite.action_spec"), ("no_policy", "returned int")])
def test_a_policy_that_says_too_little_is_refused(name: str, said: str, run_toy: Callable[..., Outcome]) -> None:
    with pytest.raises(ConfigError, match=said):
        run_toy(policy=f"mine.py:{name}")


def test_a_run_is_resumed_only_with_code_that_is_allowed_and_unchanged(here: Path, run_toy: Callable[..., Outcome]) -> None:
    folder = run_toy("episodes_per_task=1", "video=none", policy="mine.py:Push").folder
    with pytest.raises(RunError, match="allow_code=\\[mine.py:Push\\]"):
        resume(folder)
    allowed = load_config(["allow_code=[mine.py:Push]"])
    assert resume(folder, allowed, ["allow_code"]).complete
    (here / "mine.py").write_text(FILE + "\n")
    with pytest.raises(RunError, match="code_sha256"):
        resume(folder, allowed, ["allow_code"])


def test_a_function_keeps_the_contract_of_policies() -> None:
    suite = default_suite("toy")
    assert suite is not None
    policy = from_function(lambda observation: np.tile(observation["state"][:1], (3, 2)))(suite)
    assert policy.cameras == ("primary", "wrist")
    check_policy(policy, suite)


@pytest.mark.usefixtures("here")
def test_one_file_is_imported_once_and_a_changed_one_anew(here: Path) -> None:
    suite = default_suite("toy")
    assert suite is not None

    def kind() -> type[Policy]:
        return type(make_policy({"name": "Push", "code": "mine.py:Push"}, suite))

    first = kind()
    assert kind() is first
    (here / "mine.py").write_text(FILE.replace("SPEED\n", "SPEED as SPEED\n"))
    assert kind() is not first
