"""How often intervals and gate are right, enumerated exactly; the tables in docs/statistics are made again and compared."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
_spec = importlib.util.spec_from_file_location("validate_statistics", DOCS / "validate_statistics.py")
assert _spec is not None
assert _spec.loader is not None
validation = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(validation)


def table(name: str) -> list[dict[str, float]]:
    with (DOCS / "statistics" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_the_table_of_single_tasks_is_current() -> None:
    assert validation.as_csv("single_task") == (DOCS / "statistics" / "single_task.csv").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["suite_average", "paired_difference", "gate"])
def test_the_other_tables_are_current(name: str) -> None:
    assert validation.as_csv(name) == (DOCS / "statistics" / f"{name}.csv").read_text(encoding="utf-8")


def test_a_single_tasks_interval_covers_near_the_ends() -> None:
    ends = [row for row in table("single_task") if row["rate"] >= 0.95 or row["rate"] <= 0.05]
    assert min(row["wilson"] for row in ends) < 91.1, "why tables do not show it for single tasks"
    assert min(row["mid_p"] for row in ends) > 92.5
    assert min(row["exact"] for row in table("single_task")) >= 95


def test_intervals_are_symmetric_in_success_and_failure() -> None:
    by_rate = {(row["episodes"], row["rate"]): row for row in table("single_task")}
    for (episodes, rate), row in by_rate.items():
        mirrored = by_rate[episodes, round(1 - rate, 2)]
        assert [row[m] for m in ("wilson", "mid_p", "exact")] == pytest.approx([mirrored[m] for m in ("wilson", "mid_p", "exact")])


def test_a_suites_interval_covers_where_there_are_a_hundred_episodes() -> None:
    rows = table("suite_average")
    assert min(row["score"] for row in rows if row["tasks"] * row["trials"] >= 96) > 92
    assert min(row["score"] for row in rows if row["tasks"] * row["trials"] < 96) == 86.01, "the documentation says so"


def test_errors_of_comparison_and_gate_at_small_discordance() -> None:
    paired = [row for row in table("paired_difference") if row["drop"] == 0.1]
    assert max(row["no_regression"] for row in paired) <= 5
    assert max(row["regression"] for row in paired) == 7.32, "the documentation says so"
    assert max(row["no_regression"] for row in table("gate")) <= 5
    assert max(row["regression"] for row in table("gate")) == 6.28, "the documentation says so"
