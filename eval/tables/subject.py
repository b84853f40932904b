"""What a run's numbers are of: policy and checkpoint, suite, trials, seeds. Every table says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .success import ALL_SUITES

if TYPE_CHECKING:
    import pandas as pd

    from .runs import Run

_DIGITS = 12  # of a hash, as people compare them


def method(leg: Mapping[str, Any]) -> str:
    """The policy of a leg with its checkpoint, where it has one."""
    checkpoint = checkpoint_of(leg)
    return f"{leg['policy']['name']} ({checkpoint})" if checkpoint else str(leg["policy"]["name"])


def checkpoint_of(leg: Mapping[str, Any]) -> str:
    """The checkpoint of a leg's policy with the start of its commit or hash; empty where it has none."""
    found = {**leg["policy"], **(leg["policy_provenance"] or {})}
    exact = found.get("checkpoint_commit") or found.get("checkpoint_sha256")
    name = leg["policy"].get("checkpoint") or found.get("checkpoint")
    return " at ".join(str(part) for part in (name, str(exact)[:_DIGITS] if exact else None) if part)


def subjects(run: Run) -> list[str]:
    """One sentence per suite: ``openvla (openvla-7b at 1a2b3c) on libero_goal: 10 tasks, 50 trials each, seed 0``."""
    counts = Counter((suite, task) for suite, task, _ in dict.fromkeys((s.suite, s.task, s.trial) for s in run.plan))
    sentences = []
    for leg in run.header["legs"]:
        trials = [number for (suite, _), number in counts.items() if suite == leg["suite"]]
        each = f"{min(trials)}" if min(trials) == max(trials) else f"{min(trials)} to {max(trials)}"
        one = len(trials) == 1
        sentences.append(
            f"{method(leg)} on {leg['suite']}: {len(trials)} task{'' if one else 's'}, {each} trial{'' if each == '1' else 's'}"
            f"{'' if one else ' each'}, {_seeds(run.config.seeds)}"
        )
    return sentences


def with_subject(table: pd.DataFrame, run: Run) -> pd.DataFrame:
    """A table that machines read, with what it is of behind: policy, checkpoint, seeds, notices."""
    legs = {leg["suite"]: (leg["policy"]["name"], checkpoint_of(leg)) for leg in run.header["legs"]}
    policies, checkpoints = (dict.fromkeys(values) for values in zip(*legs.values(), strict=True))
    legs[ALL_SUITES] = "; ".join(policies), "; ".join(checkpoints)
    whose = table["suite"].map(legs)
    return table.assign(
        policy=whose.str[0], checkpoint=whose.str[1], seeds=" ".join(map(str, run.config.seeds)), notices=" ".join(run.notices)
    )


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"
