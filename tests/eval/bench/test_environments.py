"""`vla-eval bench` measures what it says. Figures are never compared with a bound here: that is what the command is for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_suite import ToySuite

from vlagym.errors import ConfigError, EnvError
from vlagym.eval.bench.environments import STAGES, Measurement, measure, ratios
from vlagym.eval.cli.bench import main

SETTINGS = {
    "task": 0,
    "episodes": 3,
    "chunks": [1, 8],
    "workers": [2],
    "launchers": ["local"],
    "cameras": ["primary"],
    "video": False,
    "against": None,
    "floor": False,
}


def test_every_combination_is_measured_and_its_time_accounted_for() -> None:
    measurements = measure(ToySuite(goal=9.0, step_seconds=0.005), SETTINGS)
    assert [(m.loop, m.chunk, m.workers) for m in measurements] == [("vlagym", 1, 2), ("vlagym", 8, 2)]
    for m in measurements:
        assert 1 <= m.episodes <= 2 * 3
        assert m.seconds >= 40 * 0.005
        assert m.steps == 40
        assert m.stages is not None
        assert sum(m.stages.values()) == pytest.approx(m.seconds)
        assert set(m.stages) == {*STAGES, "other"}
        assert m.steps_per_second == pytest.approx(2 * 40 / m.seconds)


def test_the_command_writes_the_figures_of_a_suite_without_a_floor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    assert main(["suite=toy", "episodes=2", "chunks=[4]", "workers=[1]", "video=true", f"json={file}"]) == 0
    report = json.loads(file.read_text())
    assert report["measurements"][0]["stages"]["video"] > 0
    assert report["settings"]["cameras"] == list(ToySuite().cameras)
    assert "episodes/h" in capsys.readouterr().out


def test_numbers_of_workers_and_launchers_are_compared() -> None:
    def measured(workers: int, launcher: str, seconds: float) -> Measurement:
        return Measurement("vlagym", 8, workers, 4, 40, seconds, seconds, launcher=launcher)

    told = ratios([measured(1, "local", 1.0), measured(1, "ray", 1.25), measured(2, "local", 1.0), measured(2, "ray", 2.0)])
    assert told == [
        "chunk 8, 1 workers on ray: 0.800 x the episodes per hour of launcher=local",
        "chunk 8, 2 workers: 2.00 x the episodes per hour of 1",
        "chunk 8, 2 workers on ray: 1.25 x the episodes per hour of 1",
        "chunk 8, 2 workers on ray: 0.500 x the episodes per hour of launcher=local",
    ]


@pytest.mark.slow
def test_a_launcher_is_measured_against_the_other() -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    settings = {**SETTINGS, "chunks": [8], "launchers": ["local", "ray"]}
    measurements = measure(ToySuite(goal=9.0, step_seconds=0.005), settings)
    assert [(m.loop, m.launcher, m.steps) for m in measurements] == [("vlagym", "local", 40), ("vlagym", "ray", 40)]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(EnvError, match="no stock loop"):
        measure(ToySuite(), {**SETTINGS, "against": "stock", "chunks": []})
    with pytest.raises(ConfigError, match="only against=stock"):
        measure(ToySuite(), {**SETTINGS, "against": "nothing"})
    with pytest.raises(ConfigError, match="Did you mean 'episodes'"):
        main(["suite=toy", "episods=3"])
