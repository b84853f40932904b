from __future__ import annotations

import pytest

from vlagym.errors import ConfigError
from vlagym.eval.plan.config import RunConfig, load_config


def test_the_default_is_the_embedded_suite_with_the_scripted_expert() -> None:
    config = load_config([])
    assert [(leg.suite["name"], leg.policy["name"]) for leg in config.legs] == [("robosuite", "scripted")]


def test_a_set_of_suites_becomes_one_leg_each() -> None:
    config = load_config(["suite=libero_all", "policy=random"])
    assert [leg.suite["name"] for leg in config.legs] == ["libero_spatial", "libero_object", "libero_goal", "libero_10"]


def test_suites_can_be_mixed() -> None:
    config = load_config(["suite=[toy,robosuite]", "policy=random"])
    assert [leg.suite["name"] for leg in config.legs] == ["toy", "robosuite"]


def test_calvins_own_name_of_a_setting_is_understood() -> None:
    assert load_config(["suite=calvin_abc_d", "policy=random", "num_chains=20"]).episodes_per_task == 20


def test_settings_survive_json() -> None:
    config = load_config(["policy=random", "tasks=[lift,1]", "egl_devices=[0,1]", "seeds=[3,4]"])
    assert RunConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["suite=robosuit"], "Did you mean 'robosuite'"),
        (["policy=randon"], "Did you mean 'random'"),
        (["polcy=random"], "Did you mean 'policy'"),
        (["workrs=2"], "Did you mean 'workers'"),
        (["policy=random", "policy.chunck=8"], "Did you mean 'policy.chunk'"),
        (["workers=two"], "workers must be a whole number from 1 to 1024, or null; got 'two'"),
        (["workers=0"], "workers must be a whole number from 1"),
        (["video=some"], "one of all, failures, first_per_task, none"),
        (["seeds=[1,1]"], "seeds must be a list of different ones"),
        (["trials=[1,1]"], "trials must be a list of different ones"),
        (["trials=[1]", "episodes_per_task=1"], "without episodes_per_task"),
        (["assets.stand_ins=perhaps"], "assets.stand_ins must be one of allow, deny, or null"),
        (["workers"], "key=value"),
        (["policy=replay"], "policy.run"),
    ],
)
def test_a_mistyped_setting_is_one_clear_error(overrides: list[str], named: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(overrides)
    assert named in str(raised.value)
