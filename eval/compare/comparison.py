"""Is one run worse than another, and how sure is that?

Two runs of ours are compared trial by trial; anything else, as samples. The question is that of a non-inferiority test: "is
CURRENT worse than BASELINE by more than the margin?" The verdict reads one interval for the difference of the averages over tasks,
the score interval of confidence 1 - 2 alpha: above -margin there is no regression, below -margin there is one, and else the data
cannot tell. So either claim is wrong with probability alpha at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ...edges.text import differences
from ...errors import ConfigError
from ..tables.statistics import Rate, paired_trials_needed, unpaired_episodes_needed
from ..tables.success import ALL_SUITES, AVERAGE
from .drop import drop_rows, perturbed_suites
from .published import PublishedScore
from .rows import (
    Difference,
    Pairs,
    common_pairs,
    discordance,
    published_row,
    sample_row,
    trial_means,
    with_adjusted_p_values,
)
from .sources import Side, SuiteOutcomes

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["no regression", "regression", "cannot tell"]
EXIT_CODES: dict[Verdict, int] = {"no regression": 0, "regression": 1, "cannot tell": 3}  # 2 is a refusal, as of every command
# How likely a drop is to be seen with the number of trials that a comparison advises, and the smallest drop it gives advice on.
POWER = 0.8
_SMALLEST_MARGIN = 0.001


@dataclass(frozen=True)
class Question:
    """What is asked of a comparison.

    Attributes:
        margin: Drop that is still acceptable, as a fraction.
        alpha: Highest probability of either claim being wrong.
        fail_on_task: Whether a single task that got worse, by more than the margin and after Holm's correction, is a regression.
        allow_incomplete: Judge the episodes that there are, even if some are missing or errors.
        allow_partial: Judge a run that is not its suite's whole protocol by a published score.
        allow_different_protocols: Compare even though the protocols differ or are not known.
        pair_by_index: Take a foreign file's i-th episode of a task for trial i.
    """

    margin: float = 0.05
    alpha: float = 0.05
    fail_on_task: bool = False
    allow_incomplete: bool = False
    allow_partial: bool = False
    allow_different_protocols: bool = False
    pair_by_index: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1:
            raise ConfigError(f"the margin is a number of percentage points from 0 to below 100; got {100 * self.margin:g}.")
        if not 0 < self.alpha < 0.5:
            raise ConfigError(f"alpha must be above 0 and below 0.5; got {self.alpha:g}.")


@dataclass(frozen=True, repr=False)
class Comparison:
    """The outcome of a comparison.

    Attributes:
        baseline, current: Labels of the two sides.
        question: What was asked.
        paired: Whether the sides were compared trial by trial.
        rows: Tasks and averages, suite by suite; the last row is what the verdict reads.
        verdict: The answer.
        reason: Why, in a sentence.
        notes: What else one has to know, in sentences.
    """

    baseline: str
    current: str
    question: Question
    paired: bool
    rows: tuple[Difference, ...]
    verdict: Verdict
    reason: str
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        row = self.overall
        points = f"{100 * row.difference:+.1f} points ({100 * row.low:+.1f} to {100 * row.high:+.1f})"
        return f"<Comparison of {self.current} with {self.baseline}: {self.verdict}; {points}>"

    def table(self) -> pd.DataFrame:
        """The rows as a table, whose columns are the fields of `Difference`."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows])

    @property
    def overall(self) -> Difference:
        """The row that the verdict reads."""
        return self.rows[-1]

    @property
    def exit_code(self) -> int:
        """0 no regression, 1 regression, 3 cannot tell."""
        return EXIT_CODES[self.verdict]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "exit_code": self.exit_code}


def judge(interval: Rate, margin: float) -> Verdict:
    """What an interval for the difference says about a drop by more than the margin."""
    if interval.low > -margin:
        return "no regression"
    return "regression" if interval.high < -margin else "cannot tell"


def compare_sides(baseline: Side, current: Side, question: Question) -> Comparison:
    """Compare two sides of which at least one is a run of ours.

    Raises:
        ConfigError: They have no suite or no episode in common, or measured different things.
    """
    perturbed = perturbed_suites(baseline, current)
    suites = [suite for suite in current.suites if suite in baseline.suites and suite not in perturbed]
    if not suites and perturbed:
        return _compare_perturbed(baseline, current, question)
    if not suites:
        raise ConfigError(
            f"nothing to compare: {baseline.label} has {', '.join(baseline.suites) or 'no episodes'}, "
            f"{current.label} has {', '.join(current.suites) or 'no episodes'}."
        )
    notes = [
        *side_notes(baseline),
        *side_notes(current),
        *protocol_notes(baseline, current, suites, question),
        *_code_notes(baseline, current),
        *_coverage_notes(baseline, current),
    ]
    unordered = next((side.label for side in (baseline, current) if not side.ordered), None)
    if question.pair_by_index and unordered is not None:
        raise ConfigError(f"{unordered} does not say which trial an outcome is of, so trials cannot be paired by their index.")
    if (baseline.run and current.run) or question.pair_by_index:
        compared = _compare_pairs(baseline, current, suites, question)
        notes += [_discordance_note(baseline, current), *_pair_notes(baseline, current, suites)]
    else:
        compared = _compare_samples(baseline, current, suites, question)
        notes.append("The trials of the two sides cannot be told to be the same ones; they were compared as two samples.")
    return _conclude(baseline.label, current.label, question, compared, _gaps(baseline, current), notes)


def _compare_perturbed(baseline: Side, current: Side, question: Question) -> Comparison:
    """Perturbed episodes with their plain ones.

    Raises:
        ConfigError: The runs have no such pair.
    """
    rows, notes = drop_rows(baseline, current, question.alpha)
    if not rows:
        raise ConfigError(
            f"nothing to compare: no variant of {current.label} has its plain episode (task, trial, seed) in {baseline.label}."
        )
    varied = [suite for suite in perturbed_suites(baseline, current) if suite in baseline.suites]
    protocols = protocol_notes(baseline, current, varied, question, but_for="variation")
    notes = [*side_notes(baseline), *side_notes(current), *protocols, *notes]
    compared = _Compared(with_adjusted_p_values(rows), True, "")
    return _conclude(baseline.label, current.label, question, compared, _gaps(baseline, current), notes)


def compare_with_published(scores: Sequence[PublishedScore], current: Side, question: Question) -> Comparison:
    """Compare a run with published numbers on its suites.

    Raises:
        ConfigError: None of the numbers covers a task of the run.
    """
    pieces, rows, notes, partial = [], [], [], []
    for suite, outcomes in current.suites.items():
        covered = [(score, strata) for score in scores if score.suite == suite and (strata := _covered(outcomes, score))]
        for score, strata in covered:
            rows.append(published_row([(score, strata)], suite, score.group or AVERAGE, question.alpha))
            counted = f"{score.episodes} episodes" if score.episodes else _UNKNOWN_SIZE
            partial += [_partial(current.label, suite)] if _departs(outcomes, score) else []
            notes.append(f"{suite}{f', {score.group}' if score.group else ''}: {score.source}; {score.protocol}; {counted}.")
        if not covered:
            notes.append(f"No published number covers {suite}.")
        pieces += covered
    if not rows:
        raise ConfigError(f"none of the published numbers covers a task of {current.label}.")
    if len(rows) > 1:
        several = len({score.suite for score, _ in pieces}) > 1
        rows.append(published_row(pieces, ALL_SUITES if several else rows[0].suite, AVERAGE, question.alpha))
    notes.append("A published number is compared as a sample: its protocol and its trials are not known to be those of the run.")
    compared = _Compared(with_adjusted_p_values(rows), False, "")
    label = f"{scores[0].policy} (published)"
    concluded = _conclude(label, current.label, question, compared, _gaps(current), [*notes, *side_notes(current)])
    if partial and not question.allow_partial:
        reason = f"{' '.join(dict.fromkeys(partial))} Run all of it, or pass --allow-partial. {concluded.reason}"
        return replace(concluded, verdict="cannot tell", reason=reason)
    return concluded


def _departs(outcomes: SuiteOutcomes, score: PublishedScore) -> bool:
    """Whether the run changed settings, or left out trials, of tasks that a published number is about."""
    departs = outcomes.departures
    return departs is not None and bool(departs["settings"] or any(map(score.covers, departs["trials"])))


def _partial(label: str, suite: str) -> str:
    return f"{label} is not the whole protocol of {suite}, which is what the published score is about."


_UNKNOWN_SIZE = "an unknown number of episodes, so it is taken as exact: the interval leaves its uncertainty out and is too narrow"


@dataclass(frozen=True)
class _Compared:
    """Rows of a comparison, how they came about, and how many trials it would take to tell."""

    rows: tuple[Difference, ...]
    paired: bool
    sensitivity: str


def _compare_pairs(baseline: Side, current: Side, suites: Sequence[str], question: Question) -> _Compared:
    """Trial by trial."""
    rows: list[Difference] = []
    averages: list[list[Pairs]] = []
    for suite in suites:
        before, after = baseline.suites[suite].tasks, current.suites[suite].tasks
        tasks = [pairs for task in after if (pairs := Pairs.of(suite, task, before.get(task, {}), after[task])).differences]
        if not tasks:
            continue
        rows += [Pairs.row([pairs], suite, pairs.task, question.alpha) for pairs in tasks]
        rows.append(Pairs.row(tasks, suite, AVERAGE, question.alpha))
        averages.append(tasks)
    if not rows:
        raise ConfigError(
            f"nothing to compare: {baseline.label} and {current.label} have no episode (suite, task, trial, seed) in common."
        )
    everything = [pairs for tasks in averages for pairs in tasks]
    if len(averages) > 1:
        weights = [1 / (len(averages) * len(tasks)) for tasks in averages for _ in tasks]
        rows.append(Pairs.row(everything, ALL_SUITES, AVERAGE, question.alpha, weights))
    return _Compared(with_adjusted_p_values(rows), True, _paired_sensitivity(everything, question))


def _compare_samples(baseline: Side, current: Side, suites: Sequence[str], question: Question) -> _Compared:
    """As two samples; where some tasks have the same name on both sides, on those only, else on the averages."""
    rows: list[Difference] = []
    parts: list[tuple[list[list[float]], list[list[float]]]] = []
    for suite in suites:
        before, after = (
            {task: trial_means(outcomes) for task, outcomes in side.suites[suite].tasks.items() if outcomes}
            for side in (baseline, current)
        )
        common = [task for task in after if task in before]
        if common:
            before, after = {t: before[t] for t in common}, {t: after[t] for t in common}
        if not before or not after:
            continue
        rows += [sample_row([before[t]], [after[t]], suite, t, question.alpha) for t in common]
        parts.append((list(before.values()), list(after.values())))
        rows.append(sample_row(parts[-1][0], parts[-1][1], suite, AVERAGE, question.alpha))
    if not rows:
        raise ConfigError(f"nothing to compare: {baseline.label} and {current.label} have no suite with episodes in common.")
    if len(parts) > 1:
        strata = [[stratum for part in parts for stratum in part[side]] for side in (0, 1)]
        weights = [[1 / (len(parts) * len(part[side])) for part in parts for _ in part[side]] for side in (0, 1)]
        rows.append(sample_row(strata[0], strata[1], ALL_SUITES, AVERAGE, question.alpha, (weights[0], weights[1])))
    return _Compared(with_adjusted_p_values(rows), False, _sample_sensitivity(rows[-1], question))


def _conclude(
    baseline: str, current: str, question: Question, compared: _Compared, gaps: Sequence[str], notes: Sequence[str]
) -> Comparison:
    """The verdict and the sentence that explains it."""
    overall = compared.rows[-1]
    verdict = judge(Rate(overall.difference, overall.low, overall.high), question.margin)
    reason = (
        f"The difference is {100 * overall.difference:+.1f} points, {100 * (1 - 2 * question.alpha):.4g} % interval "
        f"{100 * overall.low:+.1f} to {100 * overall.high:+.1f}: {_MEANING[verdict]} by more than {100 * question.margin:g} points."
    )
    worse = [row for row in compared.rows if row.is_worse(question.alpha)]
    named = ", ".join(f"{row.suite}/{row.task}" for row in worse)
    extra = [compared.sensitivity] if compared.sensitivity and verdict == "cannot tell" else []
    if any(row.difference < -question.margin for row in worse) and question.fail_on_task and verdict != "regression":
        verdict, reason = "regression", f"{reason} But single tasks are worse: {named}."
    elif worse:
        extra.append(f"Worse by itself, all tasks considered (Holm): {named}.")
    if gaps and question.allow_incomplete:
        extra += [f"{gap}; the verdict is about the rest." for gap in gaps]
    elif gaps:
        verdict, reason = "cannot tell", f"{'; '.join(gaps)}. Finish it (vla-eval resume=RUN), or pass --allow-incomplete. {reason}"
    every_note = tuple(dict.fromkeys([*notes, *extra]))
    return Comparison(baseline, current, question, compared.paired, compared.rows, verdict, reason, every_note)


_MEANING: dict[Verdict, str] = {
    "no regression": "not worse",
    "regression": "worse",
    "cannot tell": "it may or may not be worse",
}


def _paired_sensitivity(everything: Sequence[Pairs], question: Question) -> str:
    """How many trials it would take to see a drop as large as the margin, from how much the two sides differ."""
    if question.margin < _SMALLEST_MARGIN:
        return ""
    trials = sum(len(pairs.differences) for pairs in everything)
    needed = paired_trials_needed(question.margin, max(discordance(everything), question.margin), question.alpha, POWER)
    return (
        f"With outcomes differing as often as here, seeing a drop of {100 * question.margin:g} points takes {needed} trials "
        f"({100 * POWER:g} % power); there are {trials}."
    )


def _sample_sensitivity(overall: Difference, question: Question) -> str:
    """How many episodes on each side it would take to see a drop as large as the margin."""
    if not _SMALLEST_MARGIN <= question.margin <= overall.baseline:
        return ""
    needed = unpaired_episodes_needed(question.margin, overall.baseline, question.alpha, POWER)
    return (
        f"As two samples, seeing a drop of {100 * question.margin:g} points takes {needed} episodes on each side "
        f"({100 * POWER:g} % power)."
    )


def _covered(outcomes: SuiteOutcomes, score: PublishedScore) -> list[list[float]]:
    """The outcomes of the tasks that a published number is about."""
    return [trial_means(found) for task, found in outcomes.tasks.items() if score.covers(task) and found]


def _gaps(*sides: Side) -> list[str]:
    return [f"{side.label} is incomplete: {', '.join(side.gaps)}" for side in sides if side.gaps]


def side_notes(side: Side) -> list[str]:
    """What outputs about a side must carry, and how its chains are counted."""
    chains = [suite for suite, length in (side.run.chain_lengths if side.run else {}).items() if length > 1]
    counted = [f"{suite}: a chain counts by the share of its subtasks that was done (average length / chain)." for suite in chains]
    return [*side.notices, *counted]


def protocol_notes(
    baseline: Side, current: Side, suites: Sequence[str], question: Question, but_for: str | None = None
) -> list[str]:
    """What the two sides measured differently; a part of the protocols may be left out, because it is what is compared.

    Raises:
        ConfigError: Something, and it was not allowed.
    """
    notes = []
    for suite in suites:
        one, other = baseline.suites[suite], current.suites[suite]
        if one.protocol is None or other.protocol is None:
            continue
        found = differences(*({key: v for key, v in p.items() if key != but_for} for p in (one.protocol, other.protocol)))
        if found or (but_for is None and one.protocol_sha256 != other.protocol_sha256):
            what = f"{suite}: {found}"
            if not question.allow_different_protocols:
                raise ConfigError(
                    f"{baseline.label} and {current.label} measured different things ({what}). "
                    "Pass --allow-different-protocols to compare them all the same."
                )
            notes.append(f"The protocols differ: {what}.")
        changed = differences(_comparable(one.provenance), _comparable(other.provenance))
        if changed:
            notes.append(f"{suite} ran on something else: {changed}.")
    return notes


def _code_notes(baseline: Side, current: Side) -> list[str]:
    """Whether two runs of ours were made by different code of vlagym's environments or policies."""
    headers = [side.run.header for side in (baseline, current) if side.run]
    hashes = {header["code_sha256"] for header in headers if "code_sha256" in header}
    if len(hashes) < 2:
        return []
    versions = " and ".join(f"{header['vlagym']} (commit {header['commit']})" for header in headers)
    return [f"They were run by different code of vlagym's environments or policies: vlagym {versions}."]


def _comparable(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What two runs that measure the same should have in common: all but the policy, which is what is being compared."""
    return {key: value for key, value in provenance.items() if key not in ("policy", "policy_provenance")}


def _coverage_notes(baseline: Side, current: Side) -> list[str]:
    only = [
        (side.label, sorted(set(side.suites) - set(other.suites))) for side, other in ((baseline, current), (current, baseline))
    ]
    return [f"Only {label} has {', '.join(suites)}." for label, suites in only if suites]


def _discordance_note(baseline: Side, current: Side) -> str:
    pairs = common_pairs(baseline, current)
    every = [d for task in pairs for d in task.differences]
    differing = sum(d != 0 for d in every)
    return f"{differing} of {len(every)} trials came out differently (discordance {100 * discordance(pairs):.1f} %)."


def _pair_notes(baseline: Side, current: Side, suites: Sequence[str]) -> list[str]:
    """How many trials were left out, began elsewhere, or ended in the very same state."""
    paired = left_out = other_start = same_end = 0
    for suite in suites:
        before, after = baseline.suites[suite], current.suites[suite]
        for task in {**before.tasks, **after.tasks}:
            keys = (before.tasks.get(task, {}).keys(), after.tasks.get(task, {}).keys())
            common = keys[0] & keys[1]
            paired += len(common)
            left_out += len(keys[0] ^ keys[1])
            states = [(before.states.get(task, {}).get(key), after.states.get(task, {}).get(key)) for key in common]
            known = [(one, other) for one, other in states if one is not None and other is not None]
            other_start += sum(one[0] != other[0] for one, other in known)
            same_end += sum(one[1] == other[1] for one, other in known)
    notes = [
        f"{paired} episodes of the same trial and seed were compared, of which {same_end} ended in the same state, bit for bit."
    ]
    if left_out:
        notes.append(f"{left_out} episodes that only one side has were left out.")
    if other_start:
        notes.append(f"Caution: {other_start} of the pairs did not start from the same physics state.")
    return notes
