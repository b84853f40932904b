"""Tables of runs, real and made up, in Python and on the command line."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from statsmodels.stats.proportion import proportion_confint

import vlagym
from vlagym.episode import EpisodeResult, EpisodeSpec, SubtaskResult
from vlagym.errors import ConfigError, RunError
from vlagym.eval.bench.synthetic import write_run
from vlagym.eval.cli import main
from vlagym.eval.cli import table as cli_table
from vlagym.eval.run.evaluation import Outcome
from vlagym.eval.tables.statistics import mean_mid_p
from vlagym.eval.tables.success import (
    AVERAGE,
    AVERAGE_LENGTH,
    as_markdown,
    as_rich,
    chain_sheet,
    chain_table,
    group_table,
    to_markdown,
)

Run = Callable[..., Outcome]


@pytest.fixture
def two_suites(tmp_path: Path) -> Path:
    """90 % of easy, 50 % of hard, 20 % of the only task of other."""
    tasks = {"mine": {"easy": 10, "hard": 10}, "other": {"a_b%": 10}}
    solved = {"easy": 9, "hard": 5, "a_b%": 2}
    return write_run(tmp_path / "run", tasks, lambda spec: spec.trial < solved[spec.task])


def test_an_average_counts_every_task_and_every_suite_the_same(two_suites: Path) -> None:
    table = vlagym.load_run(two_suites).table()
    rates = {(row.suite, row.task): row.success_rate for row in table.itertuples()}
    assert rates == {
        ("mine", "easy"): pytest.approx(0.9),
        ("mine", "hard"): pytest.approx(0.5),
        ("mine", AVERAGE): pytest.approx(0.7),
        ("other", "a_b%"): pytest.approx(0.2),
        ("other", AVERAGE): pytest.approx(0.2),
        ("all suites", AVERAGE): pytest.approx(0.45),
    }


def test_a_task_has_the_interval_asked_for(two_suites: Path) -> None:
    run = vlagym.load_run(two_suites)
    for interval, name in (("wilson", "wilson"), ("exact", "beta")):
        row = run.table(0.9, interval).iloc[0]  # type: ignore[arg-type]
        assert (row.low, row.high) == pytest.approx(proportion_confint(9, 10, 0.1, method=name))


def test_the_run_read_back_is_the_run(run_toy: Run) -> None:
    outcome = run_toy("episodes_per_task=2", "seeds=[0,5]", "video=none")
    run = vlagym.load_run(outcome.folder)
    assert run.complete
    assert len(run.plan) == len(run.results) == 8
    pd.testing.assert_frame_equal(run.table(), outcome.table)
    episodes = run.episodes()
    assert list(episodes["seed"]) == [0, 0, 5, 5] * 2
    assert (outcome.folder / episodes["trajectory"][0]).exists()


def test_a_run_of_single_trials_is_read_back(run_toy: Run) -> None:
    run = vlagym.load_run(run_toy("tasks=[push_far]", "trials=[7,2]", "video=none").folder)
    assert [spec.trial for spec in run.plan] == [7, 2]
    assert run.complete


def test_several_seeds_of_a_trial_are_one_observation(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", {"s": {"t": 10}}, lambda spec: spec.trial < 7)
    three = write_run(tmp_path / "three", {"s": {"t": 10}}, lambda spec: spec.trial < 7, seeds=(0, 1, 2))
    columns = ["success_rate", "low", "high"]
    pd.testing.assert_frame_equal(vlagym.load_run(one).table()[columns], vlagym.load_run(three).table()[columns])
    assert list(vlagym.load_run(three).table()["episodes"]) == [30, 30]


def test_errors_are_neither_successes_nor_failures(tmp_path: Path) -> None:
    run = vlagym.load_run(write_run(tmp_path / "run", {"s": {"t": 10}}, lambda s: "error" if s.trial == 3 else s.trial < 6))
    row = run.table().iloc[0]
    assert (row.planned, row.episodes, row.successes, row.errors) == (10, 9, 5, 1)
    assert row.success_rate == pytest.approx(5 / 9)
    assert not run.complete
    assert main(["table", str(run.path)]) == 1


def test_chains_are_counted_by_how_far_they_got(tmp_path: Path) -> None:
    links = [5] * 4 + [3] * 2 + [1] * 3 + [0]
    folder = write_run(tmp_path / "run", {"calvin": {"chain": 10}}, lambda spec: links[spec.trial], chain=5)
    table = vlagym.load_run(folder).chains().set_index("in_a_row")
    assert list(table["value"][["1", "2", "3", "4", "5"]]) == pytest.approx([0.9, 0.6, 0.6, 0.4, 0.4])
    assert table.loc["1", ["low", "high"]].tolist() == pytest.approx(mean_mid_p([1] * 9 + [0])[1:])
    average = table.loc[AVERAGE_LENGTH]
    assert average["value"] == pytest.approx(2.9)
    assert 1.5 < average["low"] < 2.9 < average["high"] < 4.2


def test_groups_of_tasks_are_means_that_count_the_same(tmp_path: Path) -> None:
    """Three tasks of 10 trials in one group, one of 40 in none: the mean of 0.5 and 0.25, whatever the numbers of episodes."""
    solved = {"can_a": 10, "can_b": 5, "can_c": 0, "near": 10}
    trials = {"can_a": 10, "can_b": 10, "can_c": 10, "near": 40}
    run = vlagym.load_run(write_run(tmp_path / "run", {"s": trials}, lambda spec: spec.trial < solved[spec.task]))
    groups = {("s", task): "cans" if task.startswith("can") else "" for task in trials}
    table = group_table(run.results, run.plan, groups).set_index("task")
    assert list(table.index) == ["cans", "near", "average"]
    assert list(table["success_rate"]) == pytest.approx([0.5, 0.25, 0.375])
    assert list(table["successes"]) == [15, 10, 25]
    assert list(table["episodes"]) == [30, 40, 70]
    assert all(table["low"] < table["success_rate"])
    assert all(table["success_rate"] < table["high"])
    assert run.groups().empty


def test_no_groups_no_table_of_groups(two_suites: Path) -> None:
    with pytest.raises(ConfigError, match="one by one"):
        cli_table.main([str(two_suites), "--groups"])


def test_a_run_of_chains_shows_both_tables(run_toy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run_toy("suite.chain=3", "episodes_per_task=2", "video=none")
    assert len(vlagym.load_run(outcome.folder).chains()) == 4
    assert "| toy | 4 | 100.0 % (51.0 - 100.0) |" in (outcome.folder / "summary.md").read_text()
    assert (outcome.folder / "summary_chains.csv").exists()
    assert main(["table", str(outcome.folder), "--chains"]) == 0
    assert "1 in a row" in capsys.readouterr().out


def test_no_chains_no_table_of_chains(two_suites: Path) -> None:
    assert vlagym.load_run(two_suites).chains().empty
    with pytest.raises(ConfigError, match="no chains"):
        cli_table.main([str(two_suites), "--chains"])


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_tables_survive_being_written(two_suites: Path, tmp_path: Path, form: str) -> None:
    file = tmp_path / f"table.{form}"
    assert main(["table", str(two_suites), "--output", str(file)]) == 0
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json}[form]
    expected = vlagym.load_run(two_suites).table()
    numbers = read(file).drop(columns=["policy", "checkpoint", "seeds", "notices"])
    pd.testing.assert_frame_equal(numbers, expected, check_dtype=False, rtol=1e-9)


def test_markdown_and_latex(two_suites: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(two_suites), "--format", "markdown"]) == 0
    assert "| **mine** | **average** | **70.0 %** |" in capsys.readouterr().out
    assert main(["table", str(two_suites), "--format", "latex"]) == 0
    latex = capsys.readouterr().out
    assert r"\toprule" in latex
    assert r"other & a\_b\% & 20.0 \% &" in latex
    assert latex.count("&") == 5 * 7


def test_several_runs_in_one_table(two_suites: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_run(tmp_path / "second", {"mine": {"easy": 3}}, lambda spec: True)
    assert main(["table", str(two_suites), str(other), "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("run,suite,task")
    assert {line.split(",")[0] for line in lines[1:]} == {"run", "second"}


def test_a_cut_last_line_is_an_episode_not_run(two_suites: Path) -> None:
    file = two_suites / "episodes.jsonl"
    file.write_text(file.read_text()[:-20])
    before = file.read_bytes()
    run = vlagym.load_run(two_suites)
    assert [spec.task for spec in run.missing] == ["a_b%"]
    assert "(1 not run)" in to_markdown(run.table())
    assert file.read_bytes() == before


@pytest.mark.parametrize("line", ["{broken", "7", '{"suite": "mine"}'])
def test_a_damaged_line_is_named(two_suites: Path, line: str) -> None:
    file = two_suites / "episodes.jsonl"
    file.write_text(f"{line}\n" + file.read_text())
    with pytest.raises(RunError, match="line 1 is damaged"):
        vlagym.load_run(two_suites)


def test_what_is_no_run_is_refused(tmp_path: Path, two_suites: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        vlagym.load_run(tmp_path)
    header = two_suites / "run.json"
    original = header.read_text()
    header.write_text("{}")
    with pytest.raises(RunError, match="not the header of a run"):
        vlagym.load_run(two_suites)
    changed = json.loads(original)
    changed["legs"][0]["tasks"][0]["trials"] = 11
    header.write_text(json.dumps(changed))
    with pytest.raises(RunError, match="do not belong together"):
        vlagym.load_run(two_suites)


def test_importing_vlagym_stays_cheap() -> None:
    heavy = {"pandas", "scipy", "hydra", "gymnasium", "numpy"}
    code = f"import sys, vlagym; vlagym.load_run; print(*{heavy}.intersection(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


@pytest.mark.parametrize("width", [72, 100, 160])
def test_a_chain_table_loses_no_bracket_in_a_terminal(width: int) -> None:
    results = [
        EpisodeResult(EpisodeSpec("calvin_abc_d", "chain", trial), "x", True, True, True, 5, 5, "success", "a", "b", subtasks)
        for trial, subtasks in enumerate([tuple(SubtaskResult(f"s{i}", "s", True, 1, 1) for i in range(5))] * 3)
    ]
    sheet = chain_sheet(chain_table(results, {"calvin_abc_d": 5}))
    console = Console(width=width, file=io.StringIO())
    console.print(as_rich(sheet))
    shown = console.file.getvalue()
    cells = sum(cell.count(bracket) for cell in (*sheet.columns, *sheet.rows[0]) for bracket in "()")
    assert sum(shown.count(bracket) for bracket in "()") == cells == 14
    assert as_markdown(sheet).count("\n") == 3
