"""Statistics against scipy, statsmodels and published worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint, proportions_ztest, samplesize_proportions_2indep_onetail
from statsmodels.stats.proportion import test_proportions_2indep as compare_two

from vlagym.errors import ConfigError
from vlagym.eval.tables.statistics import (
    holm,
    mean_exact,
    mean_interval,
    mean_mid_p,
    paired_trials_needed,
    score_test,
    sign_flip_test,
    success_rate,
    unpaired_episodes_needed,
)

COUNTS = [(0, 1), (1, 1), (0, 2), (1, 2), (0, 10), (10, 10), (3, 7), (12, 24), (0, 50), (50, 50), (49, 50), (396, 500)]
COUNTS += [(500, 500), (1188, 1500), (25_000, 50_000)]


def episodes(successes: int, number: int) -> np.ndarray:
    return np.r_[np.ones(successes), np.zeros(number - successes)]


def pairs(only_first: int, only_second: int, number: int) -> np.ndarray:
    """Second minus first, trial by trial."""
    return np.r_[-np.ones(only_first), np.ones(only_second), np.zeros(number - only_first - only_second)]


@pytest.mark.parametrize(("successes", "number"), COUNTS)
@pytest.mark.parametrize(("method", "name"), [("wilson", "wilson"), ("exact", "beta")])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_a_rate_has_the_interval_of_statsmodels(successes: int, number: int, method: str, name: str, confidence: float) -> None:
    rate = success_rate(successes, number, confidence, method)  # type: ignore[arg-type]
    expected = proportion_confint(successes, number, 1 - confidence, method=name)
    assert rate.value == successes / number
    assert rate[1:] == pytest.approx(np.nan_to_num(expected, nan=float(successes > 0)), abs=1e-9)


# Newcombe, Statistics in Medicine 17:857 (1998), table I.
@pytest.mark.parametrize(
    ("successes", "number", "wilson", "exact"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0, 0.1611), (0.0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_published_intervals_of_a_rate(
    successes: int, number: int, wilson: tuple[float, float], exact: tuple[float, float]
) -> None:
    assert success_rate(successes, number)[1:] == pytest.approx(wilson, abs=5e-5)
    assert success_rate(successes, number, method="exact")[1:] == pytest.approx(exact, abs=5e-5)
    assert mean_exact([episodes(successes, number)])[1:] == pytest.approx(exact, abs=5e-5)


def test_no_episodes_give_no_rate() -> None:
    assert all(math.isnan(x) for x in success_rate(0, 0))
    assert all(math.isnan(x) for x in mean_interval([]))
    assert all(math.isnan(x) for x in mean_interval([[1.0], []]))


@pytest.mark.parametrize(("successes", "number"), COUNTS)
def test_one_task_with_one_seed_has_wilsons_interval(successes: int, number: int) -> None:
    assert mean_interval([episodes(successes, number)]) == pytest.approx(success_rate(successes, number), abs=1e-9)


@pytest.mark.parametrize(("successes", "number"), [(45, 50), (50, 50), (0, 50), (1, 3)])
def test_tasks_of_one_rate_have_wilsons_interval_of_all_episodes(successes: int, number: int) -> None:
    average = mean_interval([episodes(successes, number)] * 10)
    assert average == pytest.approx(success_rate(10 * successes, 10 * number), abs=1e-9)


def test_tasks_that_differ_narrow_the_interval_of_their_average() -> None:
    average = mean_interval([episodes(50, 50)] * 5 + [episodes(0, 50)] * 5)
    pooled = success_rate(250, 500)
    assert average.value == pooled.value
    assert average.high - average.low < 0.5 * (pooled.high - pooled.low)


@pytest.mark.parametrize("rates", [[0.9] * 5, [0.5, 0.99, 0.99, 0.99], [0.02, 0.3, 0.8, 1.0]])
def test_the_interval_of_an_average_covers_the_truth_as_often_as_it_says(rates: list[float]) -> None:
    generator = np.random.default_rng(0)
    truth, number, runs = np.mean(rates), 20, 600
    covered = 0
    for _ in range(runs):
        interval = mean_interval([generator.random(number) < rate for rate in rates])
        covered += interval.low <= truth <= interval.high
    assert 0.925 <= covered / runs <= 0.985


def test_repeating_a_deterministic_trial_adds_nothing() -> None:
    one_seed = mean_interval([episodes(30, 50)])
    three_equal_seeds = mean_interval([np.mean([episodes(30, 50)] * 3, axis=0)])
    assert three_equal_seeds == pytest.approx(one_seed)


def test_seeds_that_are_independent_count_as_episodes() -> None:
    generator = np.random.default_rng(0)
    outcomes = generator.random((1000, 3)) < 0.6
    by_trial = mean_interval([outcomes.mean(axis=1)])
    as_episodes = success_rate(int(outcomes.sum()), outcomes.size)
    assert by_trial.high - by_trial.low == pytest.approx(as_episodes.high - as_episodes.low, rel=0.05)


# Newcombe, Statistics in Medicine 17:873 (1998), table II, method 5 (Mee).
@pytest.mark.parametrize(
    ("first", "second", "interval"),
    [
        ((56, 70), (48, 80), (0.0533, 0.3377)),
        ((9, 10), (3, 10), (0.1821, 0.8370)),
        ((5, 56), (0, 29), (-0.0313, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
        ((10, 10), (0, 20), (0.7225, 1.0)),
    ],
)
def test_published_intervals_of_a_difference(
    first: tuple[int, int], second: tuple[int, int], interval: tuple[float, float]
) -> None:
    assert mean_interval([episodes(*first), episodes(*second)], [1, -1])[1:] == pytest.approx(interval, abs=6e-5)


# (only first, only second, pairs): Fagerland, Lydersen and Laake, Stat. in Medicine 33:2850 (2014), table II, Tango's interval;
# R's PropCIs::scoreci.mp(25, 28, 618) at 90 %.
@pytest.mark.parametrize(
    ("counts", "confidence", "interval"),
    [((7, 1, 21), 0.95, (-0.517, -0.026)), ((1, 7, 21), 0.95, (0.026, 0.517)), ((25, 28, 618), 0.9, (-0.0148, 0.0247))],
)
def test_published_intervals_of_a_paired_difference(
    counts: tuple[int, int, int], confidence: float, interval: tuple[float, float]
) -> None:
    found = mean_interval([pairs(*counts)], support=(-1, 1), confidence=confidence)
    assert found[1:] == pytest.approx(interval, abs=5e-4 if confidence == 0.95 else 5e-5)


@pytest.mark.parametrize("number", [1, 20, 73, 1000])
def test_pairs_that_all_agree_leave_room_for_a_difference(number: int) -> None:
    z2 = 1.959963984540054**2
    assert mean_interval([pairs(0, 0, number)], support=(-1, 1))[1:] == pytest.approx(
        (-z2 / (number + z2), z2 / (number + z2)), abs=1e-9
    )


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
@settings(max_examples=50, deadline=None)
def test_a_paired_difference_has_tangos_interval(first: int, second: int, same: int, confidence: float) -> None:
    number = first + second + same
    if number == 0:
        return
    found = mean_interval([pairs(first, second, number)], support=(-1, 1), confidence=confidence)
    z = float(abs(np.sqrt(binomial_z2(confidence))))
    for limit in found[1:]:
        if -1 < limit < 1:
            assert abs(tango_statistic(second, first, number, limit)) == pytest.approx(z, abs=1e-4)


def binomial_z2(confidence: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf((1 + confidence) / 2) ** 2)


def tango_statistic(gained: int, lost: int, number: int, difference: float) -> float:
    """Tango 1998, equations 3 to 5, in closed form."""
    linear = -gained - lost + (2 * number - gained + lost) * difference
    constant = -lost * difference * (1 - difference)
    probability = (math.sqrt(linear**2 - 8 * number * constant) - linear) / (4 * number)
    return (gained - lost - number * difference) / math.sqrt(number * (2 * probability + difference * (1 - difference)))


@pytest.mark.parametrize("lost", [0, 1, 5, 21])
@pytest.mark.parametrize("gained", [0, 1, 6, 60])
def test_binary_pairs_have_the_exact_mcnemar_test_of_statsmodels(lost: int, gained: int) -> None:
    expected = mcnemar([[100, lost], [gained, 3]], exact=True).pvalue
    assert sign_flip_test(pairs(lost, gained, 200)) == pytest.approx(expected, rel=1e-9)


def test_trials_with_several_seeds_are_flipped_as_a_whole() -> None:
    differences = [1 / 3, 1 / 3, -1 / 3, 2 / 3, 1, 0, 0]
    signs = np.array(np.meshgrid(*[[-1, 1]] * 5)).reshape(5, -1)
    sums = signs.T @ np.array(differences[:5])
    expected = np.mean(np.abs(sums) >= sum(differences) - 1e-9)
    assert sign_flip_test(differences) == pytest.approx(expected)


def test_the_exact_test_of_many_mixed_differences_agrees_with_the_binomial() -> None:
    generator = np.random.default_rng(1)
    same_size = generator.choice([-1 / 3, 0, 1 / 3], 50_000)
    gained, lost = int((same_size > 0).sum()), int((same_size < 0).sum())
    assert sign_flip_test(same_size) == pytest.approx(binomtest(gained, gained + lost).pvalue)
    assert 0 < sign_flip_test(generator.choice([-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1], 20_000)) <= 1


@pytest.mark.parametrize(("first", "second"), [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((5, 56), (0, 29)), ((0, 10), (0, 20))])
def test_an_unpaired_difference_has_the_pooled_test_of_statsmodels(first: tuple[int, int], second: tuple[int, int]) -> None:
    found = score_test([episodes(*first), episodes(*second)], [1, -1])
    if first[0] == second[0] == 0:
        assert found == 1.0
        return
    assert found == pytest.approx(compare_two(*first, *second, method="score", correction=False).pvalue, rel=1e-6)
    assert found == pytest.approx(proportions_ztest([first[0], second[0]], [first[1], second[1]])[1], rel=1e-6)


@given(st.lists(st.floats(0, 1), max_size=12))
@settings(max_examples=30, deadline=None)
def test_holm_is_that_of_statsmodels(pvalues: list[float]) -> None:
    expected = multipletests(pvalues, method="holm")[1] if pvalues else []
    assert holm(pvalues) == pytest.approx(list(expected))


def test_sample_sizes_give_the_power_they_promise() -> None:
    generator = np.random.default_rng(2)
    drop, discordance = 0.1, 0.3
    number = paired_trials_needed(drop, discordance, alpha=0.05, power=0.8)
    lost = (discordance + drop) / 2
    seen = 0
    for _ in range(2000):
        losses, gains, _ = generator.multinomial(number, [lost, discordance - lost, 1 - discordance])
        seen += (gains - losses) / np.sqrt(max(1, gains + losses)) < -1.6448536
    assert 0.77 <= seen / 2000 <= 0.83


@pytest.mark.parametrize(("drop", "rate", "power"), [(0.1, 0.7, 0.8), (0.05, 0.8, 0.9), (0.02, 0.95, 0.8)])
def test_sizes_of_unrelated_runs_are_those_of_statsmodels(drop: float, rate: float, power: float) -> None:
    expected = samplesize_proportions_2indep_onetail(drop, rate - drop, power, alpha=0.05, alternative="larger")
    assert unpaired_episodes_needed(drop, rate, 0.05, power) == math.ceil(expected)


def test_sample_sizes_refuse_what_cannot_be() -> None:
    with pytest.raises(ConfigError, match="at least as many trials differ"):
        paired_trials_needed(0.2, 0.1)
    with pytest.raises(ConfigError, match="cannot drop by 90 points"):
        unpaired_episodes_needed(0.9, 0.8)
    with pytest.raises(ConfigError, match="power must be between 0 and 1"):
        unpaired_episodes_needed(0.1, 0.8, power=1.0)


@pytest.mark.parametrize(("successes", "number"), COUNTS[:-2])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_a_mid_p_limit_gives_what_was_observed_half_its_probability(successes: int, number: int, confidence: float) -> None:
    rate, tail = mean_mid_p(episodes(successes, number), confidence), (1 - confidence) / 2
    if successes:
        assert binom.sf(successes, number, rate.low) + binom.pmf(successes, number, rate.low) / 2 == pytest.approx(tail)
    else:
        assert rate.low == 0
    if successes < number:
        assert binom.cdf(successes - 1, number, rate.high) + binom.pmf(successes, number, rate.high) / 2 == pytest.approx(tail)
    else:
        assert rate.high == 1


@given(st.lists(st.sampled_from([0.0, 1 / 3, 0.5, 1.0]), min_size=1, max_size=30))
@settings(deadline=None)
def test_a_mid_p_interval_is_within_the_exact_one_and_holds_the_mean(values: list[float]) -> None:
    mid, exact = mean_mid_p(values), mean_exact([values])
    assert exact.low - 1e-9 <= mid.low <= mid.value <= mid.high <= exact.high + 1e-9
