"""Validates intervals and gate by exact enumeration: every possible outcome with its probability, nothing drawn.

Writes docs/statistics/*.csv, which docs/statistics.md quotes; a test makes them again and compares. A few minutes in all:
``python docs/validate_statistics.py``, or some of it: ``python docs/validate_statistics.py single_task``
"""

from __future__ import annotations

import csv
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import binom, multinomial

from vlagym.episode import EpisodeSpec
from vlagym.eval.compare.comparison import judge
from vlagym.eval.gate.design import Design
from vlagym.eval.tables.statistics import Rate, mean_interval, mean_mid_p, success_rate

FOLDER = Path(__file__).parent / "statistics"
RATES = [round(0.01 * i, 2) for i in range(1, 100)]
EPISODES = (10, 20, 50, 500)
# (tasks, trials of each, the rates for which every outcome is enumerated): the default suite, WidowX, LIBERO in brief and in full.
SUITES = (
    (5, 3, tuple(RATES)),
    (4, 24, (0.95, 0.98, 0.99)),
    (10, 10, (0.98, 0.99)),
    (10, 50, (0.995,)),
)
NEGLIGIBLE = 1e-7  # outcomes rarer than that in all are left out
PAIRS, DISCORDANCES, MARGIN, ALPHA = (20, 50), (0.02, 0.05, 0.1, 0.2, 0.4), 0.1, 0.05
GATE_PLANS = (20, 50)

Row = dict[str, object]


def single_task() -> Iterator[Row]:
    """Coverage of the 95 % intervals of one task, rate by rate."""
    for number in EPISODES:
        methods: dict[str, Callable[[int], Rate]] = {
            "wilson": lambda hits, n=number: success_rate(hits, n),
            "mid_p": lambda hits, n=number: mean_mid_p(_outcomes(hits, n)),
            "exact": lambda hits, n=number: success_rate(hits, n, method="exact"),
        }
        limits = {name: np.array([method(hits)[1:] for hits in range(number + 1)]) for name, method in methods.items()}
        for rate in RATES:
            probability = binom.pmf(np.arange(number + 1), number, rate)
            row: Row = {"episodes": number, "rate": rate}
            for name, bounds in limits.items():
                row[name] = _percent(probability[(bounds[:, 0] <= rate) & (rate <= bounds[:, 1])].sum())
            yield row


def suite_average() -> Iterator[Row]:
    """Coverage of the 95 % interval of an average over tasks that all have the same rate."""
    for tasks, trials, rates in SUITES:
        intervals: dict[tuple[int, ...], Rate] = {}
        for rate in rates:
            covered = 0.0
            for failures, probability in _outcomes_of_suite(tasks, trials, 1 - rate):
                if failures not in intervals:
                    intervals[failures] = mean_interval([_outcomes(trials - f, trials) for f in failures])
                covered += probability * (intervals[failures].low <= rate <= intervals[failures].high)
            yield {"tasks": tasks, "trials": trials, "rate": rate, "score": _percent(covered)}


def paired_difference() -> Iterator[Row]:
    """How often comparing pairs errs, and covers: no difference, and a drop just as large as the margin."""
    for number in PAIRS:
        intervals = {
            (lost, gained): mean_interval([_differences(lost, gained, number)], support=(-1.0, 1.0), confidence=1 - 2 * ALPHA)
            for lost in range(number + 1)
            for gained in range(number + 1 - lost)
        }
        for discordance in DISCORDANCES:
            for drop in (0.0, MARGIN):
                if drop > discordance:
                    continue
                odds = _odds(discordance, drop)
                found: Counter[str] = Counter()
                for (lost, gained), interval in intervals.items():
                    probability = multinomial.pmf((lost, gained, number - lost - gained), number, odds)
                    found[judge(interval, MARGIN)] += probability
                    found["covered"] += probability * (interval.low <= -drop <= interval.high)
                yield {
                    "pairs": number,
                    "discordance": discordance,
                    "drop": drop,
                    "covered": _percent(found["covered"]),
                    "no_regression": _percent(found["no regression"]),
                    "regression": _percent(found["regression"]),
                }


def gate() -> Iterator[Row]:
    """How often the gate errs with 10 looks when the drop is just as large as the margin: either claim is then an error."""
    for number in GATE_PLANS:
        design = Design.of([EpisodeSpec("suite", "task", trial) for trial in range(number)], ALPHA)
        seen = np.cumsum([len(episodes) for episodes in design.rounds]).tolist()
        verdicts: dict[tuple[int, int, int], str] = {}
        for discordance in [d for d in DISCORDANCES if d >= MARGIN]:
            claimed = _gate_errors(seen, design.alphas, _odds(discordance, MARGIN), verdicts)
            yield {
                "pairs": number,
                "discordance": discordance,
                "no_regression": _percent(claimed["no regression"]),
                "regression": _percent(claimed["regression"]),
            }


def _gate_errors(
    seen: Sequence[int], alphas: Sequence[float], odds: Sequence[float], verdicts: dict[tuple[int, int, int], str]
) -> Counter[str]:
    """Probability of each claim, from those of every way to have lost and gained so far."""
    states: dict[tuple[int, int], float] = {(0, 0): 1.0}
    claimed: Counter[str] = Counter()
    for look, (before, after) in enumerate(zip([0, *seen], seen, strict=False)):
        following: Counter[tuple[int, int]] = Counter()
        for (lost, gained), probability in states.items():
            for (more_lost, more_gained), chance in _steps(after - before, tuple(odds)):
                following[lost + more_lost, gained + more_gained] += probability * chance
        states = {}
        for (lost, gained), probability in following.items():
            if probability < NEGLIGIBLE:
                continue
            key = (after, lost, gained)
            if key not in verdicts:
                interval = mean_interval([_differences(lost, gained, after)], support=(-1.0, 1.0), confidence=1 - 2 * alphas[look])
                verdicts[key] = judge(interval, MARGIN)
            if verdicts[key] == "cannot tell":
                states[lost, gained] = probability
            else:
                claimed[verdicts[key]] += probability
    return claimed


def _steps(number: int, odds: Sequence[float]) -> list[tuple[tuple[int, int], float]]:
    ways = [(lost, gained) for lost in range(number + 1) for gained in range(number + 1 - lost)]
    return [((a, b), float(multinomial.pmf((a, b, number - a - b), number, odds))) for a, b in ways]


def _outcomes_of_suite(tasks: int, trials: int, failing: float) -> Iterator[tuple[tuple[int, ...], float]]:
    """Failures of each task, most first, and the probability of them in any order."""
    chance = binom.pmf(np.arange(trials + 1), trials, failing)

    def extend(failures: tuple[int, ...], most: int, product: float) -> Iterator[tuple[tuple[int, ...], float]]:
        if len(failures) == tasks:
            orders = math.factorial(tasks) / math.prod(math.factorial(count) for count in Counter(failures).values())
            if orders * product > NEGLIGIBLE / 100:
                yield failures, orders * product
            return
        for number in range(most + 1):
            if product * chance[number] * math.factorial(tasks) > NEGLIGIBLE / 100:
                yield from extend((*failures, number), number, product * chance[number])

    yield from extend((), trials, 1.0)


def _outcomes(successes: int, number: int) -> np.ndarray:
    return np.r_[np.ones(successes), np.zeros(number - successes)]


def _differences(lost: int, gained: int, number: int) -> np.ndarray:
    return np.r_[-np.ones(lost), np.ones(gained), np.zeros(number - lost - gained)]


def _odds(discordance: float, drop: float) -> tuple[float, float, float]:
    """Probabilities of a pair's being lost, gained, and the same."""
    return (discordance + drop) / 2, (discordance - drop) / 2, 1 - discordance


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


TABLES = {table.__name__: table for table in (single_task, suite_average, paired_difference, gate)}


def as_csv(name: str) -> str:
    """One of the tables, made anew."""
    import io

    rows = list(TABLES[name]())
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for wanted in sys.argv[1:] or TABLES:
        (FOLDER / f"{wanted}.csv").write_text(as_csv(wanted), encoding="utf-8")
