"""Benchmarks by name: the built-in ones and those that other packages offer in the entry-point group ``vlagym.suites``.

An entry is a `Suite` subclass (or a callable that returns one); its arguments are those of conf/suite/NAME.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .._registry import ENTRY_POINTS, Registry, unknown_name
from ..edges.settings import REQUIRED, check_settings, declared, shown
from ..errors import ConfigError
from .instructions import SETTING, check_tasks, read_instructions
from .variation import read_variation, with_instructions

if TYPE_CHECKING:
    from .env import VlaEnv
    from .suite import Suite

_GYMNASIUM_NAME = re.compile(r"[\w:.-]+")  # what gymnasium takes in the name of an environment

BENCHMARKS: Registry[Callable[..., Suite]] = Registry(
    "benchmark",
    {
        "robosuite": "vlagym.envs.robosuite.suite:RobosuiteSuite",
        "robosuite_demonstrations": "vlagym.envs.robosuite.demonstrations:RobosuiteDemonstrationsSuite",
        "libero": "vlagym.envs.libero.suite:LiberoSuite",
        "libero_plus": "vlagym.envs.libero.plus.suite:LiberoPlusSuite",
        "libero_pro": "vlagym.envs.libero.pro:LiberoProSuite",
        "libero_custom": "vlagym.envs.libero.custom:LiberoCustomSuite",
        "libero_demonstrations": "vlagym.envs.libero.demonstrations:LiberoDemonstrationsSuite",
        "libero_object_temp": "vlagym.envs.libero.pro:LiberoObjectTempSuite",
        "libero_para": "vlagym.envs.libero.para:LiberoParaSuite",
        "calvin_demonstrations": "vlagym.envs.calvin.demonstrations:CalvinDemonstrationsSuite",
        "calvin": "vlagym.envs.calvin.suite:CalvinSuite",
        "simpler": "vlagym.envs.simpler.suite:SimplerSuite",
    },
    group=ENTRY_POINTS["suite"],
)


def make_suite(settings: Mapping[str, Any]) -> Suite:
    """Build the suite that `settings` describe (``benchmark`` and the arguments of its class).

    Raises:
        ConfigError: Unknown benchmark, an argument it does not take, or a variation that is none or that it cannot make.
    """
    arguments = dict(settings)
    instructions = read_instructions(arguments.pop(SETTING, None))
    variation = read_variation(arguments.pop("variation", ()))
    if instructions is not None:
        variation = with_instructions(variation, instructions)
    benchmark = arguments.pop("benchmark", None)
    if not isinstance(benchmark, str):
        raise ConfigError(f"suite.benchmark must name a benchmark; got {shown(benchmark)}.")
    factory = BENCHMARKS.get(benchmark)
    check_settings("suite.", factory, arguments)
    try:
        suite = factory(**arguments, **({"variation": variation} if variation else {}))
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise ConfigError(f"benchmark {benchmark!r} does not take these settings: {error}.") from error
    if "primary" not in suite.camera_sizes:
        raise ConfigError(
            f"suite {suite.name!r} has no camera called 'primary', which every suite has: the one that policies and videos show by "
            f"default. Its camera_sizes names {', '.join(suite.camera_sizes) or 'none'}."
        )
    for change in variation:
        if change.kind not in suite.can_vary:
            raise ConfigError(
                f"suite.variation: {change.kind} cannot be changed in {suite.name}; there {', '.join(suite.can_vary)} can."
            )
    if instructions is not None:
        check_tasks(instructions, suite.name, suite.instructed)
    return suite


def default_suite(name: str) -> Suite | None:
    """A suite with its own settings: those of its file in conf/suite/, or another package's defaults; None for any other name."""
    from ..conf import suite_names, suite_settings

    if name in suite_names():
        return make_suite(suite_settings(name))
    if name not in BENCHMARKS.plugins():
        return None
    needed = [setting.name for setting in declared(BENCHMARKS.get(name)).values() if setting.default is REQUIRED]
    return make_suite({"name": name, "benchmark": name}) if {*needed} <= {"name"} else None  # else it is nothing by itself


def make_env(suite: str, cameras: tuple[str, ...] | None = None, render_mode: str | None = "rgb_array") -> VlaEnv:
    """The environment of a suite, as ``gymnasium.make("vlagym/SUITE-v0")`` builds it; with all of its cameras if None.

    Raises:
        ConfigError: There is no such suite, or it is not one by itself.
    """
    from ..conf import suite_names

    built = default_suite(suite)
    if built is None:
        raise unknown_name("suite", suite, {*suite_names(), *BENCHMARKS.plugins()})
    env = built.make_env(built.cameras if cameras is None else cameras)
    env.render_mode = render_mode
    return env


def register_gymnasium_envs() -> None:
    """Register ``vlagym/<suite>-v0`` for every suite, other packages' too; nothing of a simulator or of a package is imported."""
    from importlib.metadata import entry_points

    from gymnasium.envs.registration import register

    from ..conf import offered_suites

    plugins = {entry.name for entry in entry_points(group=BENCHMARKS.group) if _GYMNASIUM_NAME.fullmatch(entry.name)}
    for name in sorted({*offered_suites(), *plugins}):
        register(
            id=f"vlagym/{name}-v0", entry_point="vlagym.envs.registry:make_env", kwargs={"suite": name}, disable_env_checker=True
        )
