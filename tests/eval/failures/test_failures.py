"""The failed episodes of real runs, played again and put into groups."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from needs import need_suite

from vlagym.eval.cli import main
from vlagym.eval.failures.questions import GROUPS
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import evaluate

SHORT = ["policy=random", "episodes_per_task=1", "video=none", "workers=1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failures") / "run"
    return evaluate(load_config([*SHORT, "tasks=[lift,door]", f"run_dir={folder}"])).folder


def test_failures_are_counted_with_their_share(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["failures", str(run), "--by", "task", "--format", "markdown", "--workers", "1"]) == 0
    text = capsys.readouterr().out
    rows = [line for line in text.splitlines() if line.startswith("| robosuite | ")]
    assert [line.split("|")[2].strip() for line in rows] == ["lift", "door"]
    assert all("1 / 1 | 100.0 %" in line for line in rows)
    assert all(any(meaning in line for meaning in GROUPS.values()) for line in rows)


def test_every_failed_episode_has_its_row(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["failures", str(run), "--format", "csv", "--workers", "1"]) == 0
    rows = list(csv.DictReader(io.StringIO("".join(_table(capsys.readouterr().out)))))
    assert [row["task"] for row in rows] == ["lift", "door"]
    assert {row["group"] for row in rows} <= set(GROUPS) - {"unknown"}


def _table(text: str) -> list[str]:
    """What follows the lines about how far it is."""
    lines = text.splitlines(keepends=True)
    return lines[next(number for number, line in enumerate(lines) if line.startswith("suite,task")) :]


def test_an_episode_that_comes_out_differently_is_said_to(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = run / "episodes.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    kept = file.read_text()
    lines[0]["final_state_sha256"] = "0" * 64
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    try:
        assert main(["failures", str(run), "--workers", "1"]) == 1
    finally:
        file.write_text(kept)
    assert "comes out differently on this machine" in capsys.readouterr().out


def test_the_report_says_what_went_wrong(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "page"
    assert main(["report", str(run), "--failures", "--output", str(output)]) == 0
    page, data = (output / "index.html").read_text(), (output / "data.js").read_text()
    report = json.loads(data.removeprefix("window.VLA_REPORT = ").removesuffix(";\n"))
    assert "Why episodes failed" in page
    assert set(report["reasons"]) <= set(GROUPS.values())
    assert sorted(report["columns"][0]["reason"]) == ["0", "1"]
    assert all(reason in page for reason in report["reasons"])


def test_a_run_without_variants_has_no_categories(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["failures", str(run), "--by", "category", "--workers", "1"]) == 2
    assert "--by task is what it has" in capsys.readouterr().err


def test_a_run_without_failures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = evaluate(load_config(["suite=toy", "policy=push", "video=none", "workers=1", f"run_dir={tmp_path / 'run'}"])).folder
    assert main(["failures", str(done)]) == 2
    assert "failed." in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["libero_goal", "libero_10", "calvin_d", "simpler_widowx", "simpler_google_vm"])
def test_every_benchmark_says_where_things_are(suite: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_suite(suite)
    tasks = "tasks=[0]" if suite.startswith("calvin") else "tasks=[0,1,2]"
    done = evaluate(load_config([*SHORT, f"suite={suite}", tasks, f"run_dir={tmp_path / 'run'}"])).folder
    assert main(["failures", str(done), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO("".join(_table(capsys.readouterr().out)))))
    assert rows
    assert {row["group"] for row in rows} <= set(GROUPS) - {"unknown"}
