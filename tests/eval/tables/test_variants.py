"""Tables by category: every number from its own episodes, totals by their names."""

from __future__ import annotations

import pytest

from vlagym.episode import EpisodeResult, EpisodeSpec, Variant
from vlagym.eval.tables.statistics import success_rate, weighted_mean
from vlagym.eval.tables.success import as_markdown
from vlagym.eval.tables.variants import category_sheet, category_table


def episode(spec: EpisodeSpec, success: bool | None) -> EpisodeResult:
    error = "it broke" if success is None else None
    return EpisodeResult(spec, "", success, success, success, None, 1, "horizon", None, None, error=error)


# (category, level, outcome by seed) by trial: camera 1 of 2 at level 1, 0 of 1 at level 3; noise 1 of 1.
TRIALS = [("camera", 1, [True]), ("camera", 1, [False]), ("camera", 3, [False]), ("noise", 2, [True]), ("noise", 2, [None])]


def table(suites: tuple[str, ...] = ("plus",), total: str = ""):
    specs = {suite: [EpisodeSpec(suite, "t", trial) for trial in range(len(TRIALS))] for suite in suites}
    variants = {(s, "t", i): Variant(f"v{i}", c, level, 0, 1.0 + i) for s in suites for i, (c, level, _) in enumerate(TRIALS)}
    results = [episode(spec, TRIALS[spec.trial][2][0]) for listed in specs.values() for spec in listed]
    plan = [spec for listed in specs.values() for spec in listed]
    return category_table(results, plan, variants, dict.fromkeys(suites, total))


def test_rows_are_categories_levels_and_totals() -> None:
    found = table()
    rows = {(row["category"], row["level"] if row["level"] == row["level"] else None): row for row in found.to_dict("records")}
    assert list(rows) == [
        *(("camera", None), ("camera", 1), ("camera", 3), ("noise", None), ("noise", 2)),
        *(("mean over variants", None), ("mean of categories", None)),
    ]
    assert rows["camera", None]["success_rate"] == pytest.approx(1 / 3)
    assert rows["camera", 1]["success_rate"] == 0.5
    assert rows["noise", None]["success_rate"] == 1
    assert (rows["noise", None]["planned"], rows["noise", None]["episodes"], rows["noise", None]["errors"]) == (2, 1, 1)
    assert rows["mean over variants", None]["success_rate"] == 0.5
    assert rows["mean of categories", None]["success_rate"] == pytest.approx((1 / 3 + 1) / 2)


def test_several_suites_have_a_part_over_all_of_them() -> None:
    found = table(("one", "other"))
    assert list(dict.fromkeys(found["suite"])) == ["one", "other", "all suites"]
    whole = found[(found["suite"] == "all suites") & (found["category"] == "mean over variants")].iloc[0]
    assert (whole["planned"], whole["episodes"], whole["success_rate"]) == (10, 8, 0.5)


def test_people_read_one_row_per_category_and_the_levels_as_columns() -> None:
    text = as_markdown(category_sheet(table()))
    assert "| suite | category | success |" in text
    assert "| level 1 | level 2 | level 3 |" in text
    (camera,) = [line for line in text.splitlines() if "| camera |" in line]
    assert camera.endswith("| 50.0 % |  | 0.0 % |")
    assert text.count("**mean of categories**") == 1


def test_a_total_by_weight_has_the_suites_name_for_it() -> None:
    found = table(total="PRIDE")
    weighted = found[found["category"] == "PRIDE"].iloc[0]
    assert weighted["success_rate"] == pytest.approx((1 + 4) / (1 + 2 + 3 + 4))


def test_equal_weights_give_wilsons_interval() -> None:
    outcomes = [1.0] * 7 + [0.0] * 3
    expected = success_rate(7, 10)
    assert weighted_mean(outcomes, [2.5] * 10) == pytest.approx(expected)
    assert (
        weighted_mean(outcomes, [5.0] + [1.0] * 9).high - weighted_mean(outcomes, [5.0] + [1.0] * 9).low
        > expected.high - expected.low
    )


def test_categories_without_levels_are_shown_too() -> None:
    spec = EpisodeSpec("varied", "t", 0)
    found = category_table([episode(spec, True)], [spec], {("varied", "t", 0): Variant("noise", "noise", None, 0)}, {})
    assert "| varied | noise | 100.0 % |" in as_markdown(category_sheet(found))


def test_csv_and_json_say_how_many_of_the_benchmarks_variants_there_are() -> None:
    specs = [EpisodeSpec(suite, "t", 0) for suite in ("a", "b")]
    variants = {(spec.suite, "t", 0): Variant("v", "noise", 1, 0) for spec in specs}
    found = category_table([], specs, variants, {}, coverages={"a": (1644, 2402), "b": (1, 2)})
    assert list(dict.fromkeys(zip(found["suite"], found["coverage"], strict=True))) == [
        ("a", "1,644 of 2,402 variants"),
        ("b", "1 of 2 variants"),
        ("all suites", "1,645 of 2,404 variants"),
    ]
    assert "1,644 of 2,402 variants" in found.to_csv()
    assert set(category_table([], specs, variants, {}, coverages={"a": (1, 2)})["coverage"]) == {"1 of 2 variants", ""}
