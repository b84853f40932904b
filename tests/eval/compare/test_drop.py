"""The paired drop: variants against the plain trials that they perturb."""

from __future__ import annotations

import pytest

from vlagym.episode import Variant
from vlagym.errors import ConfigError
from vlagym.eval.compare.comparison import Question, compare_sides
from vlagym.eval.compare.sources import Side, SuiteOutcomes

QUESTION = Question(margin=0.05)


def plain(outcomes: dict[str, dict[tuple[int, int], float]]) -> Side:
    return Side("plain", {"base": SuiteOutcomes(outcomes)}, [], [])


def perturbed(listed: dict[str, list[tuple[str, int | None, int, float]]], seed: int = 0, suite: str = "varied") -> Side:
    """Variants as (category, level, plain trial, outcome), by task."""
    outcomes = {task: {(trial, seed): v[3] for trial, v in enumerate(of_task)} for task, of_task in listed.items()}
    variants = {(task, trial): Variant("", *v[:3]) for task, of_task in listed.items() for trial, v in enumerate(of_task)}
    return Side("varied", {suite: SuiteOutcomes(outcomes, plain_suite="base", variants=variants)}, [], [])


def test_a_plain_trial_counts_once_however_many_variants_it_has() -> None:
    tasks = [f"t{i}" for i in range(8)]
    few = perturbed({task: [("camera", 1, 0, 1.0), ("camera", 2, 0, 0.0)] for task in tasks})
    many = perturbed({task: [("camera", 1, 0, 1.0), ("camera", 2, 0, 0.0)] * 50 for task in tasks})
    baseline = plain({task: {(0, 0): 1.0} for task in tasks})
    one, other = (compare_sides(baseline, side, QUESTION).overall for side in (few, many))
    assert one.trials == other.trials == 8
    assert (one.difference, one.low, one.high) == (other.difference, other.low, other.high) == (-0.5, one.low, one.high)


def test_rows_are_categories_their_levels_and_totals() -> None:
    varied = perturbed({"t": [("camera", 1, 0, 0.0), ("camera", 3, 0, 1.0), ("noise", 2, 0, 1.0)], "u": [("noise", 2, 0, 0.0)]})
    compared = compare_sides(plain({"t": {(0, 0): 1.0}, "u": {(0, 0): 1.0}}), varied, QUESTION)
    assert [row.task for row in compared.rows] == [
        *("camera", "camera, level 1", "camera, level 3", "noise", "noise, level 2"),
        *("mean of categories", "average"),
    ]
    by_name = {row.task: row for row in compared.rows}
    assert by_name["camera"].difference == -0.5
    assert by_name["noise"].difference == -0.5
    assert by_name["mean of categories"].difference == -0.25  # of task t, the only one with both
    assert by_name["average"].difference == pytest.approx((-1 / 3 - 1) / 2)
    assert compared.paired
    assert any("4 episodes of variants were compared with 2 plain trials" in note for note in compared.notes)


def test_variants_pair_by_seed_and_those_without_a_plain_episode_are_counted() -> None:
    varied = perturbed({"t": [("camera", None, 0, 0.0), ("camera", None, 7, 0.0)]}, seed=3)
    compared = compare_sides(plain({"t": {(0, 0): 0.0, (0, 3): 1.0}}), varied, QUESTION)
    assert compared.overall.difference == -1
    assert any("1 episodes whose plain one" in note for note in compared.notes)
    with pytest.raises(ConfigError, match="no variant of varied has its plain episode"):
        compare_sides(plain({"t": {(0, 0): 1.0}}), varied, QUESTION)


def test_several_suites_are_taken_together() -> None:
    one = perturbed({"t": [("camera", 1, 0, 0.0)]}, suite="one").suites
    other = perturbed({"t": [("camera", 1, 0, 1.0)]}, suite="other").suites
    compared = compare_sides(plain({"t": {(0, 0): 1.0}}), Side("varied", {**one, **other}, [], []), QUESTION)
    assert [(row.suite, row.difference) for row in compared.rows if row.task == "camera"] == [
        *(("one", -1.0), ("other", 0.0), ("all suites", -0.5)),
    ]
    assert compared.overall.trials == 2


def test_the_exact_test_stays_small_where_units_have_many_different_denominators() -> None:
    listed = {f"t{n}": [("noise", 1, 0, float(i % 3 == 0)) for i in range(n)] for n in range(131, 171)}
    compared = compare_sides(plain({task: {(0, 0): 1.0} for task in listed}), perturbed(listed), QUESTION)
    assert compared.verdict == "regression"
    assert compared.overall.p_value < 1e-6
