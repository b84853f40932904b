"""Tables of perturbation suites: success by category and difficulty, and the totals that papers print.

A variant is one observation, whatever the number of seeds it was run with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...episode import EpisodeResult, EpisodeSpec, Variant
from .statistics import Rate, mean_interval, weighted_mean
from .success import ALL_SUITES, Sheet, formatted_row

if TYPE_CHECKING:
    import pandas as pd

OVER_VARIANTS, OF_CATEGORIES = "mean over variants", "mean of categories"
COLUMNS = ["suite", "category", "level", "planned", "episodes", "successes", "errors", "success_rate", "low", "high", "coverage"]

# (suite, task, trial) -> what the trial changes.
Variants = Mapping[tuple[str, str, int], Variant]


def variants_of(header: Mapping[str, Any]) -> Variants:
    """What the trials of a run change, from its header; empty where none of its suites has variants."""
    return {
        (leg["suite"], task, trial): Variant(*variant)
        for leg in header["legs"]
        for task, listed in leg.get("variants", {}).items()
        for trial, variant in listed
    }


def weighted_totals_of(header: Mapping[str, Any]) -> dict[str, str]:
    """Suite -> what its mean by weight is called, from a run's header."""
    return {leg["suite"]: leg.get("weighted_total", "") for leg in header["legs"]}


def coverages_of(header: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Suite -> the variants that can be run and all that its benchmark has, from a run's header, where that is not the same."""
    return {leg["suite"]: tuple(leg["coverage"]) for leg in header["legs"] if leg.get("coverage")}


def category_table(
    results: Iterable[EpisodeResult],
    planned: Sequence[EpisodeSpec],
    variants: Variants,
    weighted_totals: Mapping[str, str],
    confidence: float = 0.95,
    coverages: Mapping[str, tuple[int, int]] | None = None,
) -> pd.DataFrame:
    """Success by category, and by level within it, of every perturbation suite and, for several, of all of them.

    Args:
        results: Episodes of any suites.
        planned: All episodes of the plan.
        variants: What they change; episodes of other suites are left out.
        weighted_totals: Suite -> what its mean by `Variant.weight` is called, or an empty string.
        confidence: Coverage of the intervals.
        coverages: Suite -> the variants that can be run and all that its benchmark has, where that is not the same.

    Returns:
        Columns as `COLUMNS`; coverage is in words, e.g. ``6,983 of 10,030 variants``, and empty where it is whole. Per suite: one
        row per category (level empty), one per level of it, and the totals `OVER_VARIANTS` (every variant counts the same),
        `OF_CATEGORIES` (every category does) and the weighted one.
    """
    import pandas as pd

    episodes = [_Episodes(spec, variants[key]) for spec in planned if (key := (spec.suite, spec.task, spec.trial)) in variants]
    by_spec = {result.spec: result for result in results} if episodes else {}
    suites = list(dict.fromkeys(episode.spec.suite for episode in episodes))
    scopes = {suite: [e for e in episodes if e.spec.suite == suite] for suite in suites}
    if len(suites) > 1:
        scopes[ALL_SUITES] = episodes
    rows: list[dict[str, object]] = []
    for suite, chosen in scopes.items():
        begin = len(rows)
        found = _Scope(suite, chosen, by_spec, confidence)
        categories = list(dict.fromkeys(e.variant.category for e in chosen))
        for category in categories:
            of_category = [e for e in chosen if e.variant.category == category]
            rows.append(found.row(category, None, of_category))
            levels = sorted({e.variant.level for e in of_category if e.variant.level})
            rows += [found.row(category, level, [e for e in of_category if e.variant.level == level]) for level in levels]
        rows.append(found.row(OVER_VARIANTS, None, chosen))
        rows.append(found.row(OF_CATEGORIES, None, chosen, found.mean_of(categories)))
        if total := weighted_totals.get(suite):
            rows.append(found.row(total, None, chosen, found.weighted()))
        covered = _coverage((coverages or {}).get(name) for name in (suites if suite == ALL_SUITES else [suite]))
        rows[begin:] = [{**row, "coverage": covered} for row in rows[begin:]]
    # Numbers also where no row has a level: None is then no number that people's tables could tell from one.
    return pd.DataFrame(rows, columns=COLUMNS).astype({"level": float})


def category_sheet(table: pd.DataFrame, confidence: float = 0.95) -> Sheet:
    """A `category_table` for people: one row per category, the levels as columns."""
    extra = ["run"] if "run" in table else []
    levels = sorted({int(level) for level in table["level"].dropna()})
    rows: list[list[str]] = []
    strong: list[int] = []
    for keys, group in table.groupby([*extra, "suite", "category"], sort=False):
        records = group.to_dict("records")
        overall = next(record for record in records if record["level"] != record["level"])  # NaN: of no level
        at = {int(record["level"]): record for record in records if record["level"] == record["level"]}
        _, _, *cells = formatted_row({**overall, "task": overall["category"]})
        names = [str(key) for key in keys]
        curve = [f"{100 * at[level]['success_rate']:.1f} %" if level in at and at[level]["episodes"] else "" for level in levels]
        if names[-1] in (OVER_VARIANTS, OF_CATEGORIES) or (not at and levels):
            strong.append(len(rows))
        rows.append([*names, *cells, *curve])
    columns = ["suite", "category", "success", f"{100 * confidence:g} % interval", "successes\n/ episodes", "errors"]
    return Sheet([*extra, *columns, *(f"level {n}" for n in levels)], 2 + len(extra), rows, frozenset(strong))


def _coverage(parts: Iterable[tuple[int, int] | None]) -> str:
    """What is covered of suites together; empty unless it is known to be a part of every one."""
    known = list(parts)
    pairs = [pair for pair in known if pair is not None]
    if len(pairs) < len(known):
        return ""
    possible, official = map(sum, zip(*pairs, strict=True))
    return f"{possible:,} of {official:,} variants"


class _Episodes:
    """A planned episode and what it changes."""

    __slots__ = ("spec", "variant")

    def __init__(self, spec: EpisodeSpec, variant: Variant) -> None:
        self.spec, self.variant = spec, variant


class _Scope:
    """The episodes of one suite, or of all."""

    def __init__(
        self, suite: str, episodes: Sequence[_Episodes], results: Mapping[EpisodeSpec, EpisodeResult], confidence: float
    ) -> None:
        self._suite, self._episodes, self._results, self._confidence = suite, episodes, results, confidence

    def row(self, category: str, level: int | None, episodes: Sequence[_Episodes], rate: Rate | None = None) -> dict[str, object]:
        """A row over episodes; their plain mean unless another is given."""
        found = [self._results[e.spec] for e in episodes if e.spec in self._results]
        ran = [result for result in found if result.error is None]
        value, low, high = rate or mean_interval([list(self._outcomes(episodes))], None, confidence=self._confidence)
        return {
            "suite": self._suite,
            "category": category,
            "level": level,
            "planned": len(episodes),
            "episodes": len(ran),
            "successes": sum(bool(result.success) for result in ran),
            "errors": len(found) - len(ran),
            "success_rate": value,
            "low": low,
            "high": high,
        }

    def mean_of(self, categories: Sequence[str]) -> Rate:
        """The mean of the categories' means; those of which nothing ran are left out."""
        strata = [list(self._outcomes([e for e in self._episodes if e.variant.category == category])) for category in categories]
        return mean_interval([stratum for stratum in strata if stratum], None, confidence=self._confidence)

    def weighted(self) -> Rate:
        """The mean by weight."""
        weights = {(e.spec.suite, e.spec.task, e.spec.trial): e.variant.weight for e in self._episodes}
        outcomes = self._by_variant(self._episodes)
        return weighted_mean(list(outcomes.values()), [weights[key] for key in outcomes], self._confidence)

    def _outcomes(self, episodes: Sequence[_Episodes]) -> Iterable[float]:
        return self._by_variant(episodes).values()

    def _by_variant(self, episodes: Sequence[_Episodes]) -> dict[tuple[str, str, int], float]:
        """One number per variant that ran: the mean over its seeds."""
        seeds: dict[tuple[str, str, int], list[float]] = defaultdict(list)
        for episode in episodes:
            result = self._results.get(episode.spec)
            if result is not None and result.error is None:
                seeds[episode.spec.suite, episode.spec.task, episode.spec.trial].append(float(bool(result.success)))
        return {key: sum(values) / len(values) for key, values in seeds.items()}
