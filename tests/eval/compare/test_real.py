"""Agreement with a real robot: SimplerEnv's own numbers, and runs against a table."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlagym.eval.bench.synthetic import write_run
from vlagym.eval.cli import main
from vlagym.eval.compare.real import (
    agreements,
    load_real_table,
    mean_maximum_rank_violation,
    pearson_correlation,
    published_agreements,
    published_pairs,
)
from vlagym.eval.compare.sources import side_of_run
from vlagym.eval.tables.runs import load_run

TASKS = {"simpler_google_vm": {"google_open_top_drawer": 36, "google_open_bottom_drawer": 36}}
rates = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=3, max_size=6)


def test_a_violation_is_the_largest_real_difference_that_the_simulator_turns_round() -> None:
    # Real: A > B > C. The simulator has B before A: 0.10 for both; C is where it belongs.
    assert mean_maximum_rank_violation([0.5, 0.6, 0.1], [0.8, 0.7, 0.2]) == pytest.approx((0.1 + 0.1 + 0.0) / 3)
    assert mean_maximum_rank_violation([0.3, 0.2, 0.1], [0.9, 0.5, 0.1]) == 0


def test_simplerenvs_own_rates_worked_by_hand() -> None:
    (coke,) = [a for a in published_agreements() if a.task == "pick_coke_can"]
    # Three policies are out of order among themselves: 0.907 and 0.853, 0.907 and 0.920, 0.853 and 0.920 on the real robot.
    assert coke.mmrv.value == pytest.approx((0.054 + 0.067 + 0.067) / 6)
    assert coke.pearson.value == pytest.approx(0.9754, abs=5e-5)
    assert coke.mmrv.low <= coke.mmrv.value <= coke.mmrv.high
    assert coke.pearson.low < coke.pearson.value < coke.pearson.high < 1


def test_every_published_real_rate_is_a_share_of_its_episodes() -> None:
    for row in published_pairs():
        assert row["real"].keys() == row["sim"].keys()
        for policy, rate in row["real"].items():
            solved = rate / 100 * row["real_episodes"]
            assert abs(solved - round(solved)) < 0.05, (row["task"], policy)


@given(rates)
def test_a_simulator_that_equals_the_robot_agrees_with_it(pairs: list[tuple[int, int]]) -> None:
    real = [r / 50 for _, r in pairs]
    assert mean_maximum_rank_violation(real, real) == 0
    correlation = pearson_correlation(real, real)
    assert math.isnan(correlation) if len(set(real)) == 1 else correlation == pytest.approx(1)


@given(rates)
def test_what_orders_the_policies_alike_violates_nothing(pairs: list[tuple[int, int]]) -> None:
    real = [r / 50 for _, r in pairs]
    assert mean_maximum_rank_violation([r**3 / 2 for r in real], real) == 0


def runs(folder: Path) -> dict[str, Path]:
    solved = {"rt-1-converged": 22, "rt-1-x": 11, "octo-base": 1}
    return {name: write_run(folder / name, TASKS, lambda spec, n=n: spec.trial < n) for name, n in solved.items()}


def test_runs_are_compared_on_the_tasks_that_the_table_covers(tmp_path: Path) -> None:
    sides = {name: side_of_run(load_run(path)) for name, path in runs(tmp_path).items()}
    (row,) = agreements(load_real_table("simplerenv"), sides)
    assert row.task == "open_drawer"
    assert dict(zip(row.policies, row.real, strict=True)) == pytest.approx(
        {"rt-1-converged": 0.815, "rt-1-x": 0.519, "octo-base": 0.148}
    )
    assert dict(zip(row.policies, row.sim, strict=True)) == pytest.approx(
        {"rt-1-converged": 22 / 36, "rt-1-x": 11 / 36, "octo-base": 1 / 36}
    )
    assert row.mmrv.value == 0
    again = agreements(load_real_table("simplerenv"), sides)[0]
    assert again == row, "intervals are drawn from generators that are always the same"


def test_the_command_takes_a_table_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "real.csv"
    table.write_text("policy,task,rate,episodes\nours,average,90,20\nold,average,60,20\nbase,average,20,\n")
    folders = list(runs(tmp_path).values())
    named = [f"{name}={path}" for name, path in zip(("ours", "old", "base"), folders, strict=True)]
    assert main(["compare", "--real", str(table), *named, "--json", str(tmp_path / "real.json")]) == 0
    assert "average" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "real.json").read_text())
    assert row["policies"] == ["ours", "old", "base"]
    assert row["mmrv"]["value"] == 0


def test_the_published_numbers_are_shown_without_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--real", "simplerenv"]) == 0
    assert "0.031" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("policy,rate\na,5\n", "has no column 'task'"),
        ("policy,task,rate\na,t,many\n", "line 2: policy, task, rate (0 to 100)"),
        ("policy,task,rate,episodes\na,t,120,5\n", "line 2"),
        ("policy,task,rate,episodes\na,t,12,-5\n", "line 2"),
        ("policy,task,rate\nrt-1-x,average,5\nb,average,6\nc,average,7\n", "unknown policy of the table 'rt-1-converged'"),
        ("policy,task,rate\nrt-1-x,t,5\nocto-base,t,6\nrt-1-converged,t,7\n", "at least 3 policies"),
    ],
)
def test_a_table_that_is_none_is_refused(text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "real.csv"
    table.write_text(text)
    assert main(["compare", "--real", str(table), *map(str, runs(tmp_path).values())]) == 2
    assert words in capsys.readouterr().err
