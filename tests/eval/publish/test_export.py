"""What is exported is read by those it is for: huggingface_hub's model cards, and what reads LeRobot's results."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from vlagym.eval import cli
from vlagym.eval.compare.sources import load_side, side_of_run
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import Outcome, evaluate
from vlagym.eval.tables.runs import Run, load_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three successes and three failures."""
    folder = tmp_path_factory.mktemp("made") / "run"
    settings = ["suite=toy", "policy=push", "suite.goal=3", "episodes_per_task=3", "workers=1", "video=none"]
    return evaluate(load_config([*settings, f"run_dir={folder}"])).folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Run:
    """A copy that may be changed."""
    return load_run(shutil.copytree(made, tmp_path / "run"))


def export(run: Run, *arguments: str) -> Path:
    assert cli.main(["export", str(run.path), "--hub", *arguments]) == 0
    return run.path.with_name(f"{run.name}--export")


def test_the_card_is_one_of_the_hub(run: Run) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="model cards are read by huggingface_hub (extra openvla)")
    card = hub.ModelCard.load(export(run, "--model", "ada/pusher") / "model-card.md", ignore_metadata_errors=False)
    assert card.data.model_name == "ada/pusher"
    (result,) = card.data.eval_results
    assert (result.task_type, result.dataset_type, result.metric_type) == ("robotics", "toy", "success_rate")
    assert result.metric_value == pytest.approx(50)
    assert result.metric_args["episodes"] == 6
    assert result.metric_args["interval_95_low"] < 50 < result.metric_args["interval_95_high"]
    assert result.dataset_revision == run.header["legs"][0]["protocol_sha256"]
    assert "| toy | push_right | 100.0 % |" in card.text
    assert all(notice in card.text for notice in run.notices)
    assert card.data.to_dict()["model-index"][0]["results"][0]["metrics"]


def test_chains_have_their_average_length(run_toy: Callable[..., Outcome]) -> None:
    pytest.importorskip("huggingface_hub", reason="model cards are read by huggingface_hub (extra openvla)")
    from huggingface_hub import ModelCard

    run = load_run(run_toy("suite.chain=3", "episodes_per_task=2", "workers=1", "video=none").folder)
    rate, length = ModelCard.load(export(run) / "model-card.md").data.eval_results
    assert (rate.metric_type, length.metric_type) == ("success_rate", "average_length")
    assert 0 < length.metric_value <= 3


def test_lerobots_form_says_the_same(run: Run) -> None:
    file = export(run) / "eval_info.json"
    theirs = load_side(str(file), run).suites["toy"]
    assert theirs.tasks == side_of_run(run).suites["toy"].tasks
    info = json.loads(file.read_text())
    assert info["overall"]["pc_success"] == info["per_group"]["toy"]["pc_success"] == 50
    assert [task["task_id"] for task in info["per_task"]] == [0, 1]


def test_an_incomplete_run_is_not_published(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (run.path / "episodes.jsonl").read_text().splitlines(keepends=True)
    (run.path / "episodes.jsonl").write_text("".join(lines[:-1]))
    assert cli.main(["export", str(run.path), "--hub"]) == 2
    assert "resume=" in capsys.readouterr().err
    assert not run.path.with_name(f"{run.name}--export").exists()
