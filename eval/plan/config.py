"""From command-line overrides to a checked, frozen run configuration.

Hydra composes conf/; what comes out here is plain data that can be written beside the results and read back without Hydra. A run
consists of legs, one per (suite, policy settings) pair: ``suite=libero_all`` has four, each with the recipe of its own checkpoint.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from ..._registry import did_you_mean, unknown_name
from ...conf import compose_files, group_names, setting_needed, suite_members
from ...edges.files import MAX_DEPTH
from ...edges.secrets import masked
from ...edges.settings import (
    Count,
    FileName,
    FramesPerSecond,
    Index,
    Name,
    Processes,
    Seconds,
    Seed,
    Setting,
    Text,
    check_settings,
    shown,
)
from ...envs.assets.settings import Source
from ...envs.registry import BENCHMARKS, make_suite
from ...envs.variation import as_recorded
from ...errors import ConfigError
from ...policies import own
from ...policies.registry import MODELS, POLICIES
from ...policies.replay import suite_to_play
from .launcher import LOCAL, LauncherSettings, read_launcher
from .overrides import as_typed, unquoted
from .own_files import check_own_files
from .realtime import Realtime, read_realtime, with_realtime_chosen
from .shard import AUTO, shard_of

VideoChoice = Literal["all", "failures", "first_per_task", "none"]
_NAME = Setting("name", FileName, None)
# What may differ between two sessions of one run: none of it can change a result.
EXECUTION_SETTINGS = (
    "workers",
    "egl_devices",
    "worker_timeout_s",
    "policy_timeout_s",
    "attempts",
    "assets",
    "trackers",
    "allow_code",
    "shard",
    "launcher",
)
# A setting of the policy that is one too: where its copies are.
POLICY_DEVICES = "policy.devices"
# Names under which users know a setting: CALVIN's episodes are chains, and a cluster's workers belong to what launches them.
OTHER_NAMES = {"num_chains": "episodes_per_task", "suite.annotations": "suite.instructions", "launcher.workers": "workers"}


_SENTENCE = "suite.instruction="


@dataclass(frozen=True)
class Leg:
    """One suite with one policy.

    Attributes:
        suite: Settings of the suite: ``name``, ``benchmark`` and the arguments of its class.
        policy: Settings of the policy: ``name`` and the arguments of its factory.
    """

    suite: dict[str, Any]
    policy: dict[str, Any]


@dataclass(frozen=True)
class AssetSettings:
    """Where benchmark data comes from; None leaves the matching environment variable as it is."""

    dir: Text | None = None
    source: Source | None = None
    mirror: Text | None = None
    stand_ins: Literal["allow", "deny"] | None = None
    libero_plus_zip: Text | None = None

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """While it lasts the settings are in this process's environment, where `vlagym.envs.assets` and the workers look."""
        wanted = {f"VLAGYM_ASSETS_{name.upper()}": value for name, value in asdict(self).items() if value is not None}
        before = {variable: os.environ.get(variable) for variable in wanted}
        os.environ.update(wanted)
        try:
            yield
        finally:
            for variable, value in before.items():
                if value is None:
                    os.environ.pop(variable, None)
                else:
                    os.environ[variable] = value


@dataclass(frozen=True)
class RunConfig:
    """Everything a run was asked to do; the fields are described in conf/config.yaml."""

    legs: Annotated[tuple[Leg, ...], Meta(min_length=1)]
    tasks: Annotated[tuple[Index | Name, ...], Meta(min_length=1)] | None
    episodes_per_task: Count | None
    trials: Annotated[tuple[Index, ...], Meta(min_length=1)] | None
    seeds: Annotated[tuple[Seed, ...], Meta(min_length=1)]
    workers: Processes | None
    egl_devices: Annotated[tuple[Annotated[int, Meta(ge=0, le=1024)], ...], Meta(min_length=1)] | None
    worker_timeout_s: Seconds
    attempts: Annotated[int, Meta(ge=1, le=1000)]
    video: VideoChoice
    video_cameras: tuple[Name, ...] | None
    video_fps: FramesPerSecond | None
    run_dir: Annotated[str, Meta(min_length=1, max_length=4000)] | None
    assets: AssetSettings
    trackers: tuple[Name, ...] = ()
    policy_timeout_s: Seconds = 900.0
    allow_code: tuple[Text, ...] = ()
    shard: Text | None = None
    realtime: Realtime | None = None
    video_caption: bool = True
    launcher: LauncherSettings = LOCAL

    def __post_init__(self) -> None:
        for name in ("tasks", "trials", "seeds", "egl_devices", "video_cameras", "trackers"):
            values = getattr(self, name)
            if values is not None and len(set(values)) != len(values):
                raise ConfigError(f"{name} must be a list of different ones; got {shown(list(values))}.")
        if self.trials is not None and self.episodes_per_task is not None:
            raise ConfigError("trials must be given without episodes_per_task: one lists trials, the other counts them.")
        if self.shard not in (None, AUTO):
            shard_of(self.shard, {})
        if self.video != "none" and self.video_cameras == ():
            raise ConfigError("video_cameras must be at least one camera, or null; got []. For no videos: video=none.")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values as they may be written: secrets are masked."""
        plain: dict[str, Any] = masked(asdict(self))
        return plain

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunConfig:
        """Inverse of `to_json`.

        Raises:
            ConfigError: A setting is missing, unknown or of the wrong kind.
        """
        known = {f.name for f in fields(cls)}
        needed = {f.name for f in fields(cls) if f.default is MISSING}
        if not needed <= set(values) <= known:
            raise ConfigError(
                f"not the settings of a run: missing {sorted(needed - set(values))}, unknown {sorted(set(values) - known)}."
            )
        legs = [_leg(leg) for leg in _sequence("legs", values["legs"])]
        lists = {name: _sequence(name, values[name]) for name in _LISTS if values.get(name) is not None}
        plain = {**values, **lists, "legs": legs}
        if not isinstance(values["assets"], Mapping):
            raise ConfigError(f"assets must be a mapping of dir, mirror and stand_ins; got {shown(values['assets'])}.")
        check_settings("assets.", AssetSettings, values["assets"])
        plain["realtime"] = read_realtime(values.get("realtime"))
        plain["launcher"] = read_launcher(values.get("launcher"))
        check_settings("", cls, {key: value for key, value in plain.items() if key not in ("realtime", "launcher")})
        floats = {name: float(plain[name]) for name in _FLOATS if plain.get(name) is not None}
        return cls(**{**plain, **floats, "legs": tuple(legs), "assets": AssetSettings(**values["assets"])})

    def with_execution_of(self, other: RunConfig, names: Sequence[str]) -> RunConfig:
        """This configuration with the named execution settings, which `POLICY_DEVICES` may be among, taken from another one."""
        legs = self.legs
        if POLICY_DEVICES in names:
            legs = tuple(replace(leg, policy=_on_devices(leg.policy, other.legs[0].policy.get("devices"))) for leg in legs)
        return replace(self, legs=legs, **{name: getattr(other, name) for name in names if name != POLICY_DEVICES})


def load_config(overrides: Sequence[str]) -> RunConfig:
    """Compose conf/ with command-line overrides such as ``suite=libero_goal policy=random workers=2``.

    Several suites run one after the other: ``suite=libero_all``, or ``suite=[libero_goal,robosuite]``.

    Raises:
        ConfigError: An unknown key, suite or policy (near names are suggested) or a value of the wrong kind.
    """
    suites, rest = split_suites(with_realtime_chosen([_usual_name(override) for override in overrides]))
    composed = [_composed(suite, rest) for suite in suites]
    legs = [_as_played(s.pop("suite"), _on_devices(s["policy"], s.pop("policy").get("devices"))) for s in composed]
    for leg in legs:
        leg["suite"]["variation"] = as_recorded(leg["suite"]["variation"])
    run_settings = {key: value for key, value in composed[0].items() if key != "resume"}
    return RunConfig.from_json({**run_settings, "legs": legs})


def _as_played(suite: dict[str, Any], policy: dict[str, Any]) -> dict[str, Any]:
    """A leg; where the policy plays demonstrations its episodes begin where those do."""
    return {"suite": suite_to_play(policy, suite), "policy": policy}


def _on_devices(policy: Mapping[str, Any], devices: Any) -> dict[str, Any]:
    """A policy's settings with these devices; without that setting where it answers in the main process."""
    settings = {name: value for name, value in policy.items() if name != "devices"}
    return settings if devices is None else {**settings, "devices": devices}


def _composed(suite: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The settings of a run of one suite; a single sentence becomes the instructions of the one task that is run."""
    said = [o.removeprefix(_SENTENCE) for o in overrides if o.startswith(_SENTENCE)]
    if not said or "instruction" in compose_settings([f"suite={suite}"])["suite"]:  # a setting of that name of the suite's own
        return compose_settings([f"suite={suite}", *_recipe_of_plain_suite(suite, overrides), *overrides])
    settings = _composed(suite, [o for o in overrides if not o.startswith(_SENTENCE)])
    if settings["suite"]["instructions"] is not None:
        raise ConfigError("suite.instruction is for one task and suite.instructions a file for several; give one of them.")
    known = list(make_suite(settings["suite"]).instructed)
    asked = known if settings["tasks"] is None else _sequence("tasks", settings["tasks"])
    if len(asked) != 1 or (isinstance(asked[0], int) and asked[0] >= len(known)):
        raise ConfigError(
            f"suite.instruction is one sentence for one task: choose it with tasks=[NAME] (of {', '.join(known[:5])}, ...), or "
            "give sentences for several with suite.instructions=FILE."
        )
    task = known[asked[0]] if isinstance(asked[0], int) else asked[0]
    settings["suite"]["instructions"] = {task: unquoted(said[-1])}
    return settings


def _recipe_of_plain_suite(suite: str, overrides: Sequence[str]) -> list[str]:
    """A suite that perturbs another takes its policies' recipes, unless it has its own."""
    policies = [o.removeprefix("policy=") for o in overrides if o.startswith("policy=")]
    recipes = group_names("recipe")
    if not policies or f"{policies[-1]}-{suite}" in recipes or setting_needed(suite):
        return []
    settings: dict[str, Any] = compose_settings([f"suite={suite}"])["suite"]
    plain = make_suite(settings).plain_suite
    return [f"recipe={policies[-1]}-{plain}"] if f"{policies[-1]}-{plain}" in recipes else []


def _usual_name(override: str) -> str:
    key, separator, value = override.partition("=")
    return OTHER_NAMES.get(key, key) + separator + value


def split_suites(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The suites asked for, sets such as ``libero_all`` spelled out, and the remaining overrides."""
    chosen = [o.removeprefix("suite=") for o in overrides if o.startswith("suite=")] or ["robosuite"]
    rest = [o for o in overrides if not o.startswith("suite=")]
    names = [name.strip() for name in chosen[-1].strip("[]").split(",") if name.strip()]
    known = sorted({*group_names("suite"), *BENCHMARKS.plugins()})
    suites: list[str] = []
    for name in names:
        if name not in known:
            raise unknown_name("suite", name, known)
        suites += [member for member in (suite_members(name) or [name]) if member not in suites]
    if not suites:
        raise ConfigError("suite= names no suite; known: " + ", ".join(known))
    return suites, rest


def compose_settings(overrides: Sequence[str], config_name: str = "config") -> dict[str, Any]:
    """Compose a file of conf/ with overrides to plain data.

    Raises:
        ConfigError: What is wrong with an override; near names are suggested.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    for override in overrides:
        if len(override) > _LONGEST_OVERRIDE or sum(map(override.count, "[{(")) > MAX_DEPTH:
            raise ConfigError(f"the setting {override[:60]}... is too long or nested too deeply to be one.")
        if override.lstrip("+~").startswith("hydra/launcher="):
            raise ConfigError(
                f"{override}: the runs of a sweep are not given to Hydra's launchers but run one after the other, each spread as "
                "far as workers=N, policy.devices=[0,1], launcher=ray or shard=N/M say."
            )
        if override.lstrip("+~").startswith(("hydra.", "hydra/")):
            raise ConfigError(
                f"{override.partition('=')[0]} is a setting of Hydra's launcher and means nothing here: run_dir=FOLDER says where "
                "results go, and workers=N how many environments run at once."
            )
    overrides = _offer_own(overrides)
    for recipe in (override.removeprefix("recipe=") for override in overrides if override.startswith("recipe=")):
        if recipe not in group_names("recipe"):  # to Hydra it is optional, so that a name without a file would be passed over
            raise unknown_name("recipe", recipe, group_names("recipe"))
    _offer_plugins(overrides)
    try:
        settings = _compose(overrides, config_name)
    except (HydraException, OmegaConfBaseException, *_BY_ODD_VALUES) as error:
        raise _explain(overrides, error, config_name) from error
    check_own_files(overrides, settings)
    return settings


def _compose(overrides: Sequence[str], config_name: str, complete: bool = True) -> dict[str, Any]:
    from omegaconf import OmegaConf

    found = compose_files(config_name, [as_typed(override) for override in overrides])
    settings = OmegaConf.to_container(found, resolve=True, throw_on_missing=complete)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


# What Hydra raises beside its own errors where a value is of a kind that it did not expect.
_BY_ODD_VALUES = (ValueError, TypeError, AttributeError, LookupError, AssertionError, RecursionError)
_LONGEST_OVERRIDE = 100_000


def _offer_plugins(overrides: Sequence[str]) -> None:
    """Make the suites and policies of other packages known to Hydra, so that ``suite=theirs`` selects them."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for group, registry, name_key in (("suite", BENCHMARKS, "benchmark"), ("policy", POLICIES, "name")):
        for override in overrides:
            name = override.removeprefix(f"{group}=")
            # A package's own file of settings is what Hydra finds by itself.
            if name != override and name in registry.plugins() and name not in group_names(group):
                store.store(group=group, name=name, node={**_default_arguments(registry.get(name)), "name": name, name_key: name})


def _offer_own(overrides: Sequence[str]) -> list[str]:
    """Make the policies that overrides name by their code known to Hydra, and name them by their names instead.

    Raises:
        ConfigError: There is no such code, or its name is taken.
    """
    from hydra.core.config_store import ConfigStore

    named = []
    for override in overrides:
        key, _, code = override.partition("=")
        if key != "policy" or not own.is_code(code):
            named.append(override)
            continue
        name, arguments = own.name_of(code), _default_arguments(own.factory_of(code))
        if name in {*group_names("policy"), *POLICIES.names()}:
            raise ConfigError(f"policy={code}: there is a policy {name!r} already; give yours another name.")
        if taken := [key for key in ("name", own.SETTING) if key in arguments]:
            raise ConfigError(f"policy={code}: its argument {taken[0]!r} would hide what a run records; give it another name.")
        ConfigStore.instance().store(group="policy", name=name, node={**arguments, "name": name, own.SETTING: code})
        named.append(f"policy={name}")
    return named


def _default_arguments(factory: Callable[..., Any]) -> dict[str, Any]:
    """What a factory may be given by name, with its defaults; ``???`` (Hydra's word for it) where a value is needed.

    What has a default that no setting can be, such as an array, is no setting.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import UnsupportedValueType

    found = {}
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.name == "suite" or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = "???" if parameter.default is parameter.empty else parameter.default
        with suppress(UnsupportedValueType):
            OmegaConf.create({parameter.name: default})
            found[parameter.name] = default
    return found


def _explain(overrides: Sequence[str], error: Exception, config_name: str) -> ConfigError:
    """Say which override is at fault and what was probably meant."""
    from hydra.errors import HydraException
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    groups = [o for o in overrides if o.startswith(("suite=", "policy=", "realtime=", "launcher="))]
    for override in overrides:
        if "=" not in override.lstrip("+~"):
            return ConfigError(f"{override!r} is not a setting; settings have the form key=value, e.g. workers=2.")
        if stranger := _unknown_choice(override):
            return stranger
    try:
        known = _flat_keys(_compose(groups, config_name, complete=False))
    except (HydraException, OmegaConfBaseException, *_BY_ODD_VALUES):  # a file that was chosen
        return ConfigError(f"{_at_fault(groups, overrides, config_name)} cannot be read: {str(error).splitlines()[0]}")
    for override in overrides:
        key = override.partition("=")[0]
        if override not in groups and not key.startswith(("+", "~")) and key not in (*known, "recipe"):
            return ConfigError(f"unknown setting {key!r}.{did_you_mean(key, known)} `vla-eval --help` lists the settings.")
    if isinstance(error, MissingMandatoryValue):
        policy = next((o for o in groups if o.startswith("policy=")), "these settings")
        return ConfigError(f"{policy} needs {error.full_key}: give {error.full_key}=VALUE.")
    return ConfigError(f"{_at_fault(groups, overrides, config_name)} cannot be read: {str(error).splitlines()[0]}")


def _unknown_choice(override: str) -> ConfigError | None:
    """What is wrong with the suite, policy, realtime or launcher that an override names, if it names one."""
    key, _, value = override.lstrip("+~").partition("=")
    suites, policies = ({*group_names(group), *others} for group, others in _choices().items())
    if key in ("realtime", "launcher") and value not in group_names(key):
        return unknown_name(key, value, group_names(key))
    if key == "suite" and value not in suites:
        return unknown_name("suite", value, suites)
    if key == "policy" and value not in policies and value.lower() in MODELS:
        return ConfigError(f"there is no policy {value!r}: that model is evaluated with {MODELS[value.lower()]}.")
    return unknown_name("policy", value, policies) if key == "policy" and value not in policies else None


def _choices() -> dict[str, Iterable[str]]:
    """What other packages and the user add to each group."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance().repo.get("policy", {})
    return {"suite": BENCHMARKS.plugins(), "policy": [*POLICIES.plugins(), *(Path(name).stem for name in store)]}


def _at_fault(groups: Sequence[str], overrides: Sequence[str], config_name: str) -> str:
    """The first override that cannot be composed even by itself, or all of them."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    for override in overrides:
        try:
            _compose([*groups, *([override] if override not in groups else [])], config_name, complete=False)
        except (HydraException, OmegaConfBaseException, *_BY_ODD_VALUES):
            return override
    return "the settings " + " ".join(overrides)


def _flat_keys(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key, value in settings.items():
        keys.append(prefix + key)
        if isinstance(value, Mapping):
            keys += _flat_keys(value, f"{prefix}{key}.")
    return keys


_FLOATS = ("worker_timeout_s", "policy_timeout_s", "video_fps")
_LISTS = ("tasks", "trials", "seeds", "egl_devices", "video_cameras", "trackers", "allow_code")


def _sequence(name: str, value: Any) -> tuple[Any, ...]:
    """A list that a setting takes; one value stands for a list of it."""
    if isinstance(value, Mapping):
        raise ConfigError(f"{name} must be a list; got {shown(value)}.")
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _leg(leg: Any) -> Leg:
    """A leg from plain values; what else its suite and policy take is checked where they are built."""
    if isinstance(leg, Leg):
        return leg
    if not isinstance(leg, Mapping) or set(leg) != {"suite", "policy"}:
        raise ConfigError(f"legs must hold a suite and a policy each; got {shown(leg)}.")
    for part in ("suite", "policy"):
        name = leg[part].get("name") if isinstance(leg[part], Mapping) else None
        problem = _NAME.problem(name)
        if problem:
            raise ConfigError(f"{part}.name {problem}; got {shown(name)}.")
    return Leg(dict(leg["suite"]), dict(leg["policy"]))


def default_run_dir(config: RunConfig, started_at: str) -> Path:
    """``results/DATE--POLICY--SUITE`` below the working directory."""
    suites = "+".join(leg.suite["name"] for leg in config.legs)
    return Path("results") / f"{started_at}--{config.legs[0].policy['name']}--{suites}"
