"""The tables that show the small policy are those of its recorded runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

REPO = Path(__file__).parents[3]
_spec = importlib.util.spec_from_file_location("make_small_table", REPO / "docs" / "make_small_table.py")
assert _spec is not None and _spec.loader is not None
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)


@pytest.fixture(scope="module")
def results() -> pd.DataFrame:
    return pd.read_csv(made.RESULTS)


@pytest.mark.parametrize("page", made.SHOWN)
def test_a_page_shows_what_the_runs_came_to(page: str, results: pd.DataFrame) -> None:
    text = (REPO / page).read_text(encoding="utf-8")
    assert made.with_part(text, "table", made.table(results, made.SHOWN[page])) == text, "run: python docs/make_small_table.py"


def test_the_policy_that_learned_is_between_chance_and_the_expert(results: pd.DataFrame) -> None:
    tasks = results[results["task"].isin(made.LEARNED)]
    assert (tasks["episodes"] == made.TRIALS).all() and not tasks["errors"].any()
    successes = tasks.pivot_table("successes", "policy", "task")
    assert successes.loc["long", "lift"] >= 0.7 * made.TRIALS
    assert set(successes.columns) == set(made.LEARNED)
    assert (successes.loc["random"] < successes.loc["long"]).all()
    assert (successes.loc["long"] <= successes.loc["scripted"]).all()


@pytest.mark.parametrize("page", made.SHOWN)
def test_the_comparison_is_of_the_two_runs(page: str, results: pd.DataFrame) -> None:
    text = (REPO / page).read_text(encoding="utf-8")
    rates = results[results["task"].isin(made.TASKS["middle"])].pivot_table("success_rate", "task", "policy", sort=False)
    for task, of in rates.iterrows():
        assert f"| robosuite | {task} | {made.TRIALS} | {of['long']:.1%} | {of['middle']:.1%} |".replace("%", " %") in text
