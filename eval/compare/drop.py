"""The paired drop: a run of perturbed episodes against the same policy's plain ones.

Every variant knows its plain episode (`Variant.plain_trial` of the same task in the leg's plain suite, same seed). Many variants
may share one, so the plain trial is the unit: what counts is the mean over its variants minus its own outcome. Counting each
variant by itself would count the luck of the plain episode many times and give intervals that are too narrow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..tables.success import ALL_SUITES, AVERAGE
from .rows import Difference, Pairs, mean
from .sources import Side

OF_CATEGORIES = "mean of categories"


class _Varied(NamedTuple):
    """One episode of a variant, and what its plain one came to."""

    suite: str
    task: str
    plain_trial: int
    category: str
    level: int | None
    plain: float
    value: float


def perturbed_suites(baseline: Side, current: Side) -> list[str]:
    """The suites of `current` that perturb one of `baseline`, which has them itself only if plain."""
    return [
        name
        for name, o in current.suites.items()
        if o.plain_suite in baseline.suites
        and (name not in baseline.suites or (o.plain_suite == name and not _varied_itself(baseline, name)))
    ]


def _varied_itself(side: Side, suite: str) -> bool:
    return side.suites[suite].plain_suite is not None


def drop_rows(baseline: Side, current: Side, alpha: float) -> tuple[list[Difference], list[str]]:
    """The rows of a paired drop, the last one the average over plain trials, and what has to be known; empty without pairs."""
    suites = perturbed_suites(baseline, current)
    episodes = [episode for suite in suites for episode in _varied(baseline, current, suite)]
    if not episodes:
        return [], []
    ran = sum(len(outcomes) for suite in suites for outcomes in current.suites[suite].tasks.values())
    rows = [row for suite in suites for row in _category_rows(suite, [e for e in episodes if e.suite == suite], alpha)]
    whole = ALL_SUITES if len(suites) > 1 else suites[0]
    categories = list(dict.fromkeys(episode.category for episode in episodes))
    parts = [_pairs(whole, category, [e for e in episodes if e.category == category]) for category in categories]
    if len(suites) > 1:
        rows += [Pairs.row([part], whole, part.task, alpha) for part in parts]
    if len(parts) > 1:
        rows.append(_row_of_categories(episodes, categories, whole, alpha))
    total = _pairs(whole, AVERAGE, episodes)
    notes = [
        f"{len(episodes)} episodes of variants were compared with {len(total.baseline)} plain trials of {baseline.label}, each of "
        "which counts once, with the mean of its variants; the average is over these trials."
    ]
    if ran > len(episodes):
        notes.append(f"{ran - len(episodes)} episodes whose plain one {baseline.label} does not have were left out.")
    return [*rows, Pairs.row([total], whole, AVERAGE, alpha)], notes


def _varied(baseline: Side, current: Side, suite: str) -> Iterator[_Varied]:
    """The episodes of a suite whose plain ones are there."""
    outcomes = current.suites[suite]
    plain = baseline.suites[str(outcomes.plain_suite)]
    for task, of_task in outcomes.tasks.items():
        for (trial, seed), value in of_task.items():
            variant = outcomes.variants[task, trial]
            found = plain.tasks.get(task, {}).get((variant.plain_trial, seed))
            if found is not None:
                yield _Varied(suite, task, variant.plain_trial, variant.category, variant.level, found, value)


def _category_rows(suite: str, episodes: Sequence[_Varied], alpha: float) -> list[Difference]:
    """One row per category, and one per level of it."""
    rows = []
    for category in dict.fromkeys(episode.category for episode in episodes):
        chosen = [e for e in episodes if e.category == category]
        rows.append(_pairs(suite, category, chosen))
        levels = sorted({e.level for e in chosen if e.level})
        rows += [_pairs(suite, f"{category}, level {level}", [e for e in chosen if e.level == level]) for level in levels]
    return [Pairs.row([pairs], suite, pairs.task, alpha) for pairs in rows]


def _row_of_categories(episodes: Sequence[_Varied], categories: Sequence[str], suite: str, alpha: float) -> Difference:
    """Every category counts the same; a unit's value is the mean of its categories' means, over those units that have them all."""
    of_unit: dict[tuple[str, str, int], dict[str, list[_Varied]]] = defaultdict(lambda: defaultdict(list))
    for e in episodes:
        of_unit[e.suite, e.task, e.plain_trial][e.category].append(e)
    whole = [found for found in of_unit.values() if len(found) == len(categories)] or list(of_unit.values())
    before = [mean([mean([e.plain for e in part]) for part in found.values()]) for found in whole]
    after = [mean([mean([e.value for e in part]) for part in found.values()]) for found in whole]
    return Pairs.row([Pairs(suite, OF_CATEGORIES, before, after)], suite, OF_CATEGORIES, alpha)


def _pairs(suite: str, name: str, episodes: Sequence[_Varied]) -> Pairs:
    """One pair per plain trial: its own outcome and the mean over its variants, each over the seeds."""
    units: dict[tuple[str, str, int], list[_Varied]] = defaultdict(list)
    for e in episodes:
        units[e.suite, e.task, e.plain_trial].append(e)
    before = [mean([e.plain for e in unit]) for unit in units.values()]
    return Pairs(suite, name, before, [mean([e.value for e in unit]) for unit in units.values()])
