"""What can be known at the start is refused at the start; what stops a run in its middle leaves a table and the way to go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vlagym.errors import ConfigError
from vlagym.eval.cli import main as cli
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import Outcome, evaluate


def test_the_last_leg_is_checked_before_the_first_runs(run_toy: Callable[..., Outcome], tmp_path: Path) -> None:
    recorded = run_toy("episodes_per_task=1", "video=none", name="recorded").folder
    config = load_config(["suite=[toy,robosuite]", "policy=replay", f"policy.run={recorded}", f"run_dir={tmp_path / 'two'}"])
    with pytest.raises(ConfigError, match="no recorded trajectory of suite 'robosuite'"):
        evaluate(config)
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize(
    ("how", "said"), [("not_finite", "a value that is not finite"), ("out_of_memory", "MemoryError: the policy ran out of memory")]
)
def test_whatever_stops_a_run_the_table_so_far_and_the_way_on_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str, said: str
) -> None:
    folder = tmp_path / "run"
    settings = ["suite=toy", "policy=broken", f"policy.how={how}", "policy.after=4", "workers=1", "video=none"]
    assert cli([*settings, "episodes_per_task=3", "tasks=[push_right]", f"run_dir={folder}"]) == 1
    output = capsys.readouterr()
    finished = (folder / "episodes.jsonl").read_text().splitlines()
    assert 1 <= len(finished) < 3
    assert all(json.loads(line)["success"] for line in finished)
    shown = " ".join(output.out.split())
    assert f"{len(finished)} / {len(finished)} ({3 - len(finished)} not run)" in shown
    assert f"to finish it: vla-eval resume={folder}" in shown
    assert said in output.err.splitlines()[-1]
    assert ("Traceback" in output.err) is (how == "out_of_memory")  # a policy's own mistake is shown with where it was made
