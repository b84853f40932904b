"""Several runs in one table, a run seed by seed, and what every table says that it is of."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from vlagym.errors import ConfigError
from vlagym.eval.cli import main
from vlagym.eval.tables.methods import methods_sheet, methods_table, seed_table
from vlagym.eval.tables.runs import load_run
from vlagym.eval.tables.subject import checkpoint_of, method


@pytest.fixture
def seeded(run_toy: Any) -> Path:
    folder: Path = run_toy("seeds=[0,1,2]", "episodes_per_task=2", "video=none", "workers=1").folder
    return folder


def test_seed_by_seed_and_their_spread(seeded: Path) -> None:
    run = load_run(seeded)
    table = seed_table(run)
    assert list(table["seed"]) == ["0", "1", "2", "mean"]
    rates = list(table["success_rate"])[:3]
    for seed, rate in enumerate(rates):
        tasks = {spec.task for spec in run.plan}
        means = [statistics.mean(bool(r.success) for r in run.results if (r.spec.task, r.spec.seed) == (t, seed)) for t in tasks]
        assert rate == pytest.approx(statistics.mean(means))
    assert table["std"].iloc[3] == pytest.approx(statistics.stdev(rates))
    assert table["success_rate"].iloc[3] == pytest.approx(run.table().iloc[-1]["success_rate"])


def test_every_form_of_the_table_says_what_it_is_of(seeded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subject = "push on toy: 2 tasks, 2 trials each, seeds 0, 1, 2."
    for form in ("text", "markdown"):
        main(["table", str(seeded), f"format={form}"])
        assert capsys.readouterr().out.splitlines()[0] == subject
    main(["table", str(seeded), "--format", "latex"])
    latex = capsys.readouterr().out
    assert latex.startswith("\\begin{table}")
    assert f"\\caption{{Success rates with their intervals. {subject}}}" in latex
    main(["table", str(seeded), "--format", "json"])
    for row in json.loads(capsys.readouterr().out):
        assert (row["policy"], row["checkpoint"], row["seeds"]) == ("push", "", "0 1 2")
        assert row["notices"] == " ".join(load_run(seeded).notices)


def test_methods_by_suites(seeded: Path, run_toy: Any) -> None:
    other = run_toy("episodes_per_task=2", "video=none", "workers=1", name="other", policy="random").folder
    runs = [load_run(seeded), load_run(other)]
    sheet = methods_sheet(methods_table(runs))
    assert sheet.columns == ["method", "toy"]
    assert [row[0] for row in sheet.rows] == ["push", "random"]
    rate = runs[0].table().iloc[-1]["success_rate"]
    assert sheet.rows[0][1].startswith(f"{100 * rate:.1f} %")
    with pytest.raises(ConfigError, match="are both push on toy"):
        methods_table([runs[0], runs[0]])


def test_a_checkpoint_is_named_with_the_start_of_its_commit_or_hash() -> None:
    leg = {"policy": {"name": "openvla", "checkpoint": "org/it"}, "policy_provenance": {"checkpoint_commit": "0123456789abcdef"}}
    assert method(leg) == "openvla (org/it at 0123456789ab)"
    assert checkpoint_of({"policy": {"name": "random"}, "policy_provenance": None}) == ""
