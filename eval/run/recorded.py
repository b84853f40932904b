"""What a run that goes on must have in common with what its folder says: settings, protocol, plan, code, policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...edges.text import differences
from ...errors import RunError
from ..plan.config import EXECUTION_SETTINGS, POLICY_DEVICES, RunConfig
from .live import LIVE


def check_not_live(run: Path, config: RunConfig) -> None:
    """Make sure that a run's policy can be made from its settings.

    Raises:
        RunError: It was an object of a Python process.
    """
    live = next((leg.policy["name"] for leg in config.legs if leg.policy.get(LIVE)), None)
    if live is not None:
        raise RunError(
            f"{run} was run from Python with {live}, an object that no setting names, so it cannot be resumed; evaluate it again "
            "with vlagym.evaluate."
        )


def check_not_imported(run: Path, header: Mapping[str, Any]) -> None:
    """Make sure that a run is one of vlagym's.

    Raises:
        RunError: It holds results that others' code measured.
    """
    if found := header.get("imported"):
        raise RunError(f"{run} was imported from {found['source']}: results only, with nothing to go on from.")


def check_same_settings(run: Path, recorded: RunConfig, asked: RunConfig) -> None:
    """Make sure that a shard was asked to do what the others do.

    Raises:
        RunError: A setting that can change what is recorded differs.
    """
    own = {*EXECUTION_SETTINGS, "run_dir"}
    one, other = (_flat({k: v for k, v in config.to_json().items() if k not in own}) for config in (recorded, asked))
    if found := differences(one, other):
        raise RunError(f"{run} was begun with other settings ({found}); give every shard of a run the same, or another run_dir.")


def check_same(run: Path, recorded: Mapping[str, Any], header: Mapping[str, Any]) -> None:
    """Make sure that what a run measured is what would be measured now.

    Raises:
        RunError: It is not.
    """
    if recorded.get("code_sha256", header["code_sha256"]) != header["code_sha256"]:
        raise RunError(
            f"{run} cannot be resumed: vlagym's code of environments or policies is no longer that of the run "
            f"(vlagym {recorded['vlagym']}, commit {recorded['commit']}; this is {header['vlagym']}, commit "
            f"{header['commit']}). Install that version again, or start a new run."
        )
    for old, new in zip(recorded["legs"], header["legs"], strict=True):
        if old["protocol_sha256"] != new["protocol_sha256"]:
            raise RunError(
                f"{run} cannot be resumed: the protocol of {new['suite']} is no longer the recorded one "
                f"({differences(old['protocol'], new['protocol'])})."
            )
        if old["suite_provenance"] != new["suite_provenance"]:
            raise RunError(
                f"{run} cannot be resumed on this machine: {new['suite']} would run on something else "
                f"({differences(old['suite_provenance'], new['suite_provenance'])})."
            )
    if recorded["plan_sha256"] != header["plan_sha256"]:
        raise RunError(f"{run} cannot be resumed: its settings now give another plan than the recorded one.")


def check_same_policy(run: Path, leg: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """Make sure that a leg goes on with the policy that it was begun with.

    Raises:
        RunError: It is made of something else.
    """
    if leg["policy_provenance"] not in (None, provenance):
        raise RunError(
            f"{run} was run with another policy: {differences(leg['policy_provenance'], provenance)}. "
            "Start a new run, or bring back what changed."
        )


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Settings by the names that they have on the command line."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name == "legs":
            for leg in value:
                settings = _flat(leg)
                settings.pop(POLICY_DEVICES, None)
                found |= {f"{leg['suite']['name']}: {key}": setting for key, setting in settings.items()}
        elif isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return found
