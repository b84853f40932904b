"""Policies by name: the built-in ones and those that other packages offer in the entry-point group ``vlagym.policies``.

An entry is a callable ``factory(suite: Suite, **settings) -> Policy``; the settings are those of conf/policy/NAME.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .._registry import Registry
from ..errors import ConfigError

if TYPE_CHECKING:
    from ..envs.suite import Suite
    from .base import Policy

POLICIES: Registry[Callable[..., Policy]] = Registry(
    "policy",
    {
        "random": "vlagym.policies.random:RandomPolicy",
        "scripted": "vlagym.policies.scripted:make_scripted_policy",
        "replay": "vlagym.policies.replay:ReplayPolicy",
        "openvla": "vlagym.policies.openvla.policy:make_openvla",
        "openvla_oft": "vlagym.policies.openvla.policy:make_openvla_oft",
        "openvla_oft_joint": "vlagym.policies.openvla.policy:make_openvla_oft_joint",
        "rt1": "vlagym.policies.rt1.policy:make_rt1",
        "rt1_x": "vlagym.policies.rt1.policy:make_rt1_x",
        "robovlms": "vlagym.policies.robovlms.policy:make_robovlms",
    },
    group="vlagym.policies",
)


def make_policy(settings: Mapping[str, Any], suite: Suite) -> Policy:
    """Build the policy that `settings` describe (``name`` and the factory's arguments) for a suite.

    Raises:
        ConfigError: Unknown policy or argument, or actions that do not mean what the suite's actions mean.
    """
    arguments = dict(settings)
    name = arguments.pop("name")
    try:
        policy = POLICIES.get(name)(suite, **arguments)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise ConfigError(f"policy {name!r} does not take these settings: {error}.") from error
    differences = policy.action_spec.differences(suite.action_spec)
    if differences:
        raise ConfigError(
            f"policy {name!r} emits actions that suite {suite.name!r} would misread ({'; '.join(differences)}). "
            "Name the transform in a recipe for this pair, or choose another pair."
        )
    unknown = [camera for camera in policy.cameras if camera not in suite.cameras]
    if unknown:
        raise ConfigError(f"policy {name!r} needs camera {unknown[0]!r}; suite {suite.name!r} has {', '.join(suite.cameras)}.")
    return policy
