"""Policies by name: the built-in ones and those that other packages offer in the entry-point group ``vlagym.policies``.

An entry is a callable ``factory(suite: Suite, **settings) -> Policy``; the settings are those of conf/policy/NAME.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from .._registry import ENTRY_POINTS, Registry
from ..edges.settings import check_settings, with_settings_of
from ..errors import ConfigError
from . import own
from .launch.settings import launch_of, without_launch

if TYPE_CHECKING:
    from ..envs.spec import ActionSpec
    from ..envs.suite import Suite
    from .base import Policy

_CHEAP = ("random", "scripted", "replay")  # to build, so that building is the check
F = TypeVar("F", bound=Callable[..., Any])

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
        "lerobot": "vlagym.policies.lerobot.policy:make_lerobot",
        "openpi": "vlagym.policies.remote.families:make_openpi",
        "groot": "vlagym.policies.remote.families:make_groot",
        "starvla": "vlagym.policies.remote.families:make_starvla",
        "vla_eval_server": "vlagym.policies.remote.families:make_vla_eval_server",
        "openvla_rest": "vlagym.policies.remote.families:make_openvla_rest",
        "openvla_oft_rest": "vlagym.policies.remote.families:make_openvla_oft_rest",
        "xvla": "vlagym.policies.remote.families:make_xvla",
        "small": "vlagym.policies.small.policy:make_small",
    },
    group=ENTRY_POINTS["policy"],
)


# Models that people look for by name, and the policy that evaluates each: a client of the server that its authors ship.
_OPENPI = "policy=openpi policy.url=ws://HOST:8000, a client of openpi's own server"
_LEROBOT = "policy=lerobot policy.checkpoint=OWNER/NAME policy.environment=FOLDER, LeRobot in its own environment"
_PI = f"{_OPENPI}, or {_LEROBOT}"
_GROOT = "policy=groot policy.url=tcp://HOST:5555, a client of GR00T's own server"
_VLA_EVAL = "policy=vla_eval_server policy.url=ws://HOST:8000, a client of the servers of allenai's vla-eval"
MODELS = {
    **dict.fromkeys(("pi0", "pi05", "pi0.5", "pi0_fast", "pi0-fast", "pi_zero"), _PI),
    **dict.fromkeys(("smolvla", "act", "diffusion_policy", "le_robot", "hf_lerobot"), _LEROBOT),
    **dict.fromkeys(("roboarena", "sglang", "vllm"), _OPENPI),
    **dict.fromkeys(("gr00t", "gr00t_n1", "gr00t_n1.6", "gr00t_n1.7", "gr00t-n1.6", "gr00t-n1.7", "groot_n1"), _GROOT),
    **dict.fromkeys(("cogact", "vla_eval", "vla-eval", "molmobot", "vlanext"), _VLA_EVAL),
    **dict.fromkeys(("star_vla", "starvla_server"), "policy=starvla policy.url=ws://HOST:10093, a client of starVLA's own server"),
    **dict.fromkeys(("x-vla", "x_vla"), "policy=xvla policy.url=http://HOST:8000, a client of X-VLA's own server"),
}


@dataclass(frozen=True)
class Prepared:
    """A policy whose settings and small files have been read and checked; its weights are still on disk.

    Attributes:
        action_spec: `Policy.action_spec` of what will be built.
        cameras: `Policy.cameras` likewise.
        build: Loads the rest.
        check_instruction: Raises for an instruction that the policy cannot be given; None where it takes any.
    """

    action_spec: ActionSpec
    cameras: tuple[str, ...]
    build: Callable[[], Policy]
    check_instruction: Callable[[str], object] | None = None


def prepared_by(prepare: Callable[..., Prepared]) -> Callable[[F], F]:
    """Mark a factory that is expensive with the function that does the cheap part of it: ``prepare(suite, **settings)``."""

    def mark(factory: F) -> F:
        factory.prepare = prepare  # type: ignore[attr-defined]
        return with_settings_of(prepare)(factory)

    return mark


def check_policy_settings(
    settings: Mapping[str, Any], suite: Suite, instructions: Iterable[str] = (), may_build: bool = True
) -> None:
    """Find out what is wrong with a policy's settings without the cost of building it.

    The first policy of a run is built before anything runs, the others when their turn comes; this is so that hours later nothing
    is refused that could have been at the start. Policies of other packages are checked if their factory is marked with
    `prepared_by`.

    Args:
        settings: As `make_policy` takes them.
        suite: What the policy is for.
        instructions: Sentences that it will be given.
        may_build: Whether to build a policy that costs next to nothing.

    Raises:
        VlagymError: What `make_policy` would raise, but for damaged weights.
    """
    launch_of(settings)
    name, factory, arguments = _factory(settings)
    if prepare := getattr(factory, "prepare", None):
        prepared: Prepared = _called(name, prepare, suite, arguments)
        check_fit(name, suite, prepared.action_spec, prepared.cameras)
        if prepared.check_instruction:
            for instruction in instructions:
                prepared.check_instruction(instruction)
    elif may_build and name in _CHEAP:
        make_policy(settings, suite).close()


def make_policy(settings: Mapping[str, Any], suite: Suite) -> Policy:
    """Build the policy that `settings` describe (``name`` and the factory's arguments) for a suite; start the server it asks for.

    Raises:
        ConfigError: Unknown policy or argument, or actions that do not mean what the suite's actions mean.
        PolicyError: The policy's server does not start.
    """
    launch = launch_of(settings)
    if launch is not None:
        return launch.make(lambda reached: make_policy(reached, suite))
    name, factory, arguments = _factory(settings)
    policy: Policy = _called(name, factory, suite, arguments)
    own.check_made(name, policy)
    check_fit(name, suite, policy.action_spec, policy.cameras)
    return policy


def factory_named(settings: Mapping[str, Any]) -> Callable[..., Policy]:
    """The factory of the policy that `settings` name: the registry's, or that of a class or function of the user's.

    Raises:
        ConfigError: There is none.
    """
    code = own_code(settings)
    return POLICIES.get(settings["name"]) if code is None else own.factory_of(code)


def own_code(settings: Mapping[str, Any]) -> str | None:
    """Where the code of a policy of the user's own is; None for one of the registry."""
    code = settings.get(own.SETTING)
    return str(code) if code is not None and settings["name"] not in POLICIES.names() else None


def _factory(settings: Mapping[str, Any]) -> tuple[str, Callable[..., Policy], dict[str, Any]]:
    arguments = without_launch(settings)
    factory = factory_named(settings)
    name = arguments.pop("name")
    if own_code(settings) is not None:
        del arguments[own.SETTING]
    check_settings("policy.", factory, arguments)
    return name, factory, arguments


def _called(name: str, function: Callable[..., Any], suite: Suite, arguments: Mapping[str, Any]) -> Any:
    try:
        return function(suite, **arguments)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise ConfigError(f"policy {name!r} does not take these settings: {error}.") from error


def check_fit(name: str, suite: Suite, action_spec: ActionSpec, cameras: Sequence[str]) -> None:
    """Make sure that a policy's actions mean what a suite's do, and that it has the cameras.

    Raises:
        ConfigError: Says what differs.
    """
    differences = action_spec.differences(suite.action_spec)
    if differences:
        raise ConfigError(
            f"policy {name!r} emits actions that suite {suite.name!r} would misread ({'; '.join(differences)}). "
            "Name the transform in a recipe for this pair, or choose another pair."
        )
    unknown = [camera for camera in cameras if camera not in suite.cameras]
    if unknown:
        raise ConfigError(f"policy {name!r} needs camera {unknown[0]!r}; suite {suite.name!r} has {', '.join(suite.cameras)}.")
