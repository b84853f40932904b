"""Every recipe against the suite it is for: it composes, its transforms exist, and what comes out is what the suite takes."""

from __future__ import annotations

import re

import pytest

from vlagym.conf import group_names, suite_names
from vlagym.envs.registry import make_suite
from vlagym.errors import ConfigError
from vlagym.eval.plan.config import load_config
from vlagym.policies.pipeline import Pipeline
from vlagym.policies.registry import make_policy

REMOTE = (
    "openpi",
    "groot",
    "starvla",
    "vla_eval_server",
    "openvla_rest",
    "openvla_oft_rest",
    "xvla",
    "lerobot",
)
RECIPES = [recipe for recipe in group_names("recipe") if not recipe.startswith(tuple(f"{name}-" for name in REMOTE))]
LIBERO = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
CALVIN = ("calvin_abc_d", "calvin_abcd_d")
SIMPLER = ("simpler_google_va", "simpler_google_vm", "simpler_widowx")


def test_every_pair_that_was_published_has_a_recipe() -> None:
    expected = {f"{policy}-{suite}" for policy in ("openvla", "openvla_oft", "openvla_oft_joint") for suite in LIBERO}
    expected |= {f"{policy}-{suite}" for policy in ("openvla", "rt1_x") for suite in SIMPLER}
    expected |= {f"rt1-{suite}" for suite in SIMPLER if "google" in suite}
    expected |= {f"robovlms-{suite}" for suite in (*CALVIN, *SIMPLER)}
    expected |= {f"{policy}-libero_90" for policy in ("openvla", "openvla_oft")}  # for checkpoints of one's own: none is published
    expected |= {"small-robosuite"}
    assert set(RECIPES) == expected


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_says_all_that_its_pair_needs(recipe: str) -> None:
    policy, suite_name = recipe.split("-")
    assert suite_name in suite_names()
    leg = load_config([f"suite={suite_name}", f"policy={policy}"]).legs[0]
    suite = make_suite(leg.suite)
    settings = leg.policy
    names = ("cameras", "image_transforms", "action_transforms", "emits")
    pipeline = Pipeline(suite, policy, {name: settings[name] for name in names})
    assert not pipeline.action_spec.differences(suite.action_spec)
    assert set(pipeline.cameras) <= set(suite.cameras)
    if policy.startswith("openvla") and suite_name != "libero_90":
        assert re.fullmatch(r"(openvla|moojink)/openvla-7b[\w-]*@[0-9a-f]{40}", settings["checkpoint"])
        assert settings["unnorm_key"]
    pipeline.close()


def test_each_suite_of_a_set_gets_its_own_checkpoint() -> None:
    for policy in ("openvla", "openvla_oft"):
        legs = load_config(["suite=libero_all", f"policy={policy}"]).legs
        assert [leg.suite["name"] for leg in legs] == list(LIBERO)
        for leg in legs:
            assert f"-{leg.suite['name'].replace('_', '-')}@" in leg.policy["checkpoint"]
            assert leg.policy["unnorm_key"] == leg.suite["name"]
    joint = load_config(["suite=libero_all", "policy=openvla_oft_joint"]).legs
    assert len({leg.policy["checkpoint"] for leg in joint}) == 1
    assert [leg.policy["unnorm_key"] for leg in joint] == list(LIBERO)


def test_the_command_line_has_the_last_word() -> None:
    [leg] = load_config(["suite=libero_goal", "policy=openvla", "policy.checkpoint=mine", "policy.unnorm_key=my_data"]).legs
    assert (leg.policy["checkpoint"], leg.policy["unnorm_key"]) == ("mine", "my_data")


@pytest.mark.parametrize("policy", ["openvla", "openvla_oft"])
def test_a_recipe_without_a_published_checkpoint_asks_for_one(policy: str) -> None:
    [leg] = load_config(["suite=libero_90", f"policy={policy}"]).legs
    with pytest.raises(ConfigError, match=rf"policy\.checkpoint is not set.*{policy!r}.*'libero_90': give your own as"):
        make_policy(leg.policy, make_suite(leg.suite))


@pytest.mark.parametrize("policy", ["openvla", "openvla_oft", "openvla_oft_joint", "rt1", "rt1_x", "robovlms"])
def test_a_pair_without_recipe_is_refused(policy: str) -> None:
    [leg] = load_config(["suite=robosuite", f"policy={policy}"]).legs
    known = ", ".join(recipe.removeprefix(f"{policy}-") for recipe in RECIPES if recipe.startswith(f"{policy}-"))
    with pytest.raises(ConfigError, match=f"{policy!r} has no recipe for suite 'robosuite'.*{re.escape(known)}"):
        make_policy(leg.policy, make_suite(leg.suite))
