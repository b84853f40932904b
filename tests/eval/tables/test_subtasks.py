"""Subtasks asked for and done, and the steps that successes take, as a table of any form."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from vlagym.episode import EpisodeResult, EpisodeSpec, SubtaskResult
from vlagym.errors import ConfigError
from vlagym.eval import cli
from vlagym.eval.cli.table import main
from vlagym.eval.run.evaluation import Outcome
from vlagym.eval.tables.statistics import mean_mid_p
from vlagym.eval.tables.subtasks import steps_table, subtask_table

LINKS = ("open", "push", "open")


def chain(trial: int, *steps: int | None) -> EpisodeResult:
    """A chain of "open", "push", "open": the steps that its links took, None for the one that was not done."""
    links = [SubtaskResult(name, name, taken is not None, taken, taken or 360) for name, taken in zip(LINKS, steps, strict=False)]
    done = None not in steps
    spec = EpisodeSpec("calvin_d", "chain", trial, 0)
    total = sum(link.steps for link in links)
    return EpisodeResult(spec, "", done, done, done, total if done else None, total, "success", None, None, tuple(links))


RESULTS = [chain(0, 10, 20, 30), chain(1, 50, None), chain(2, None), chain(3, 12, 40, None)]


def test_a_subtask_that_a_chain_did_not_reach_was_not_asked_for() -> None:
    table = subtask_table(RESULTS).set_index("subtask")
    assert table["asked"].to_dict() == {"open": 6, "push": 3}
    assert table["done"].to_dict() == {"open": 4, "push": 2}
    assert table["median_steps"].to_dict() == {"open": 21.0, "push": 30.0}
    assert tuple(table.loc["push", ["success_rate", "low", "high"]]) == pytest.approx(mean_mid_p([1, 0, 1], 0.95))


def test_errors_and_failures_take_no_steps() -> None:
    error = EpisodeResult(EpisodeSpec("calvin_d", "chain", 9, 0), "", None, None, None, None, 0, None, None, None, error="it broke")
    (row,) = steps_table([*RESULTS, chain(4, 10, 20, 70), error]).to_dict("records")
    assert (row["episodes"], row["successes"], row["fastest"], row["median"], row["slowest"]) == (5, 2, 60, 80, 100)
    assert (row["quartile_1"], row["quartile_3"]) == (70, 90)


def test_both_tables_come_in_every_form(
    tmp_path: Path, run_toy: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    done = run_toy("suite.chain=2", "suite.goal=0.5", "episodes_per_task=2", "video=none").folder
    never = run_toy("suite.goal=9", "episodes_per_task=2", "video=none", name="never").folder
    capsys.readouterr()
    assert main([str(done), "--subtasks"]) == 0
    assert "push_1" in (text := capsys.readouterr().out)
    assert "4 / 4" in text
    assert main([str(done), "--subtasks", "--format", "latex"]) == 0
    assert r"push\_2 & 100.0 \%" in capsys.readouterr().out
    assert main([str(done), str(never), "--steps", "--format", "markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| run | suite | task | successes / episodes | median steps | quartiles | fastest - slowest |" in lines
    assert "| never | toy | push_far | 0 / 2 | - | - | - |" in lines
    assert cli.main(["table", str(done), "--steps", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["successes"] for row in rows] == ["2", "2"]
    with pytest.raises(ConfigError, match="leave out --subtasks"):
        main([str(never), "--subtasks"])
