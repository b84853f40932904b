"""`vlagym.evaluate`: what ``vla-eval suite=... policy=...`` does, with a policy that may be an object of this process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

from ...conf import in_force
from ...errors import ConfigError
from ..cli.edges import interrupts
from ..plan.config import RunConfig, load_config
from ..record.console import make_console
from ..record.progress import progress_for
from ..run.evaluation import evaluate as run
from ..run.launcher import end_if_imported_again
from ..run.live import LIVE, live_policy, name_of
from ..run.pools import Pools
from ..tables.runs import Run, load_run
from .undisturbed import undisturbed

_POOLS = Pools(keep=True)


def evaluate(
    policy: Any,
    suite: str | Sequence[str] = "robosuite",
    *,
    overrides: Sequence[str] = (),
    config_dir: str | os.PathLike[str] | None = None,
    progress: bool = False,
    signals: bool = False,
    **settings: Any,
) -> Run:
    """Evaluate a policy and return its run, whose `table` is the success table; the folder is that of any run.

    Workers are kept for the next call with the same suite. The policy, if it is an object, is asked in the thread of the caller.
    Random generators (Python's, NumPy's, torch's), torch's modes, environment variables and signal handlers are afterwards what
    they were.

    Args:
        policy: A policy's name, as ``policy=`` takes it; a `vlagym.policies.Policy`; a function ``f(suite)`` that returns one; or a
            function of an observation that returns an action [A] or a chunk of actions [T, A].
        suite: Name of a suite or of a set of suites, or several.
        overrides: Further settings as the command line takes them, e.g. ``["suite.horizon=100", "policy.checkpoint=FOLDER"]``.
        config_dir: Folder of suites, policies, recipes and variations of your own, as ``--config-dir``.
        progress: Show on the terminal how far it is.
        signals: Let Ctrl-C, SIGTERM and SIGHUP end the run in order, as the command does; handlers are otherwise left alone.
        settings: Of the run, e.g. ``episodes_per_task=2, tasks=["lift"], workers=4, video="none", run_dir="results/step-1000"``.

    Returns:
        The run, complete or interrupted.

    Raises:
        VlagymError: A setting has no meaning, the policy does not fit the suite, something is missing on this machine.
    """
    end_if_imported_again()
    suites = suite if isinstance(suite, str) else f"[{','.join(suite)}]"
    named = isinstance(policy, str)
    if not named and any(override.startswith("policy.") for override in overrides):
        raise ConfigError("overrides: policy.KEY=VALUE is for a policy that is named; this one is an object of its own.")
    with ExitStack() as stack:
        stack.enter_context(in_force(config_dir))
        config = load_config([f"suite={suites}", *([f"policy={policy}"] if named else []), *overrides])
        if not named:
            marked = {"name": name_of(policy), LIVE: True}
            config = replace(config, legs=tuple(replace(leg, policy=marked) for leg in config.legs))
        config = _with_settings(config, settings)
        live = None if named else live_policy(policy)
        if signals:
            stack.enter_context(interrupts(last=False))
        stack.enter_context(undisturbed())
        outcome = run(config, [progress_for(make_console())] if progress else [], live=live, pools=_POOLS)
    return load_run(outcome.folder)


def close_workers() -> None:
    """End the workers that `evaluate` has kept; they also end with the thread that called it."""
    _POOLS.close()


def _with_settings(config: RunConfig, settings: dict[str, Any]) -> RunConfig:
    values = asdict(config)
    unknown = sorted(set(settings) - set(values) | {name for name in settings if name == "legs"})
    if unknown:
        known = ", ".join(sorted(set(values) - {"legs"}))
        raise ConfigError(f"evaluate takes no {unknown[0]!r}; the settings of a run are {known}.")
    plain = {name: _plain(value) for name, value in settings.items()}
    return RunConfig.from_json({**values, **plain})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | range):
        return list(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value
