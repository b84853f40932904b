"""`vla-eval bench plan=N` measures what a plan of that size costs; its figures are never compared with a bound here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vlagym.eval import cli


def test_every_stage_is_measured_on_a_plan_of_that_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    assert cli.main(["bench", "plan=40", "tasks=20", "workers=3", "shards=4", f"json={figures}"]) == 0
    stages = json.loads(figures.read_text())["stages"]
    assert [stage["stage"] for stage in stages] == ["planning", "queueing", "merging"]
    assert [stage["episodes"] for stage in stages] == [45, 40, 40], "robosuite's 15 episodes with three seeds"
    assert all(stage["peak_rss_mb"] > 0 for stage in stages)
    assert "together" in capsys.readouterr().out
    assert cli.main(["bench", "plan=0"]) == 2
