"""What is not a suite's whole protocol says so, in every output, and is not judged by the suite's published score."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vlagym.conf import suite_settings
from vlagym.envs.registry import default_suite, make_suite
from vlagym.eval.bench.synthetic import write_run
from vlagym.eval.cli import main as cli
from vlagym.eval.plan.plan import plan_episodes
from vlagym.eval.record.departures import departure_notice, departures
from vlagym.eval.run.evaluation import Outcome


def said(name: str, tasks: list[str | int] | None = None, episodes: int | None = None, **settings: object) -> str | None:
    suite = make_suite({**suite_settings(name), **settings})
    plan = plan_episodes([suite], tasks, episodes)
    found = departures(suite, plan)
    assert found is not None
    return departure_notice(name, found, len({spec.task for spec in plan}))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        ({"horizon": 1}, "horizon is 1 instead of 300"),
        ({"scene_seed": 7}, "scene_seed is 7 instead of 0"),
        ({"tasks": [0]}, "1 of 10 tasks"),
        ({"episodes": 2}, "2 of 50 trials per task"),
        ({"tasks": [0, 3], "episodes": 1, "horizon": 5}, "horizon is 5 instead of 300, 2 of 10 tasks, 1 of 50 trials per task"),
    ],
)
def test_what_differs_from_the_suites_protocol_is_said(changes: dict[str, object], sentence: str | None) -> None:
    expected = sentence and f"This is not the whole protocol of libero_goal: {sentence}. It is not the suite's score."
    assert said("libero_goal", **changes) == expected  # type: ignore[arg-type]


def test_every_suite_by_default_is_whole() -> None:
    for name in ("robosuite", "calvin_abc_d", "libero_90"):
        assert said(name) is None
    assert said("calvin_abc_d", episodes=20) is not None
    assert default_suite("of my own") is None


def test_every_output_of_a_partial_run_says_so(run_toy: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run_toy("episodes_per_task=1", "tasks=[push_right]", "video=none")
    sentence = "This is not the whole protocol of toy: 1 of 2 tasks, 1 of 10 trials per task. It is not the suite's score."
    folder = str(outcome.folder)
    assert sentence in outcome.notices
    assert sentence in (outcome.folder / "summary.md").read_text()
    for form in ("text", "markdown", "latex"):
        assert cli(["table", folder, "--format", form]) == 0
        output = capsys.readouterr()
        assert sentence in output.err
        assert (sentence in output.out) is (form != "text")
    cli(["compare", folder, folder])
    assert sentence in " ".join(capsys.readouterr().out.split())


def partial_run(folder: Path, found: dict[str, object]) -> str:
    write_run(folder, {"libero_goal": {"a": 50, "b": 50}}, lambda spec: spec.trial < 40)
    header = json.loads((folder / "run.json").read_text())
    header["legs"][0]["departures"] = found
    (folder / "run.json").write_text(json.dumps(header))
    return str(folder)


@pytest.mark.parametrize("found", [{"settings": {"horizon": [1, 300]}, "trials": {}}, {"settings": {}, "trials": {"c": [0, 50]}}])
def test_a_part_is_not_judged_by_the_published_score_of_the_whole(
    tmp_path: Path, found: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    run = partial_run(tmp_path / "run", found)
    whole = partial_run(tmp_path / "whole", {"settings": {}, "trials": {}})
    ask = ["compare", "--margin", "20", "published:openvla@github.com/openvla"]
    assert cli([*ask, run]) == 3
    assert "run is not the whole protocol of libero_goal" in " ".join(capsys.readouterr().out.split())
    assert cli([*ask, run, "--allow-partial"]) == cli([*ask, whole]) == 0
