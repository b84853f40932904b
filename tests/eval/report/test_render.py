"""Drawing recorded episodes again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
from needs import need_suite

import vlagym
from vlagym.episode import EpisodeResult
from vlagym.errors import ConfigError, RunError
from vlagym.eval import cli
from vlagym.eval.plan.config import load_config
from vlagym.eval.record.caption import SOLVED, layout_for
from vlagym.eval.report.render import Drawing, render_episodes, select_episodes
from vlagym.eval.run.evaluation import Outcome, evaluate

Run = Callable[..., Outcome]


@pytest.fixture
def failures(run_toy: Run) -> Path:
    """Two episodes of each task that never reach the goal, with their videos."""
    return run_toy("episodes_per_task=2", "suite.goal=9", policy="random").folder


def frames(video: Path) -> np.ndarray:
    return imageio.imread(video, plugin="FFMPEG")


def edit_results(run: Path, execution: dict[str, Any] | None = None, **changes: Any) -> None:
    """Change fields of the plan's first episode; the file's lines are in the order in which episodes ended."""
    first = vlagym.load_run(run).results[0]
    edited = {**first.to_json(), **changes, "execution": {**first.execution, **(execution or {})}}
    episodes = map(json.loads, (run / "episodes.jsonl").read_text().splitlines())
    lines = [json.dumps(edited if EpisodeResult.from_json(episode).spec == first.spec else episode) for episode in episodes]
    (run / "episodes.jsonl").write_text("\n".join(lines) + "\n")


def test_a_run_drawn_again_gives_the_same_files(failures: Path, tmp_path: Path) -> None:
    before = {file: file.read_bytes() for file in failures.rglob("*") if file.is_file()}
    assert cli.main(["render", str(failures), "--workers", "1"]) == 0
    drawn = sorted((tmp_path / "run--rendered").glob("*.mp4"))
    assert [file.name for file in drawn] == sorted(file.name for file in (failures / "videos").glob("*.mp4"))
    for file in drawn:
        assert file.read_bytes() == (failures / "videos" / file.name).read_bytes()
    assert before == {file: file.read_bytes() for file in failures.rglob("*") if file.is_file()}


RANDOM = ("policy=random", "policy.chunk=8")
# Settings that keep an episode short, and whether it is too slow for every change.
BENCHMARKS = [
    pytest.param("robosuite", ["policy=scripted", "tasks=[lift]", "suite.image_size=64"], id="robosuite", marks=pytest.mark.slow),
    pytest.param("libero_goal", [*RANDOM, "tasks=[0]", "suite.horizon=12"], id="libero", marks=pytest.mark.slow),
    pytest.param("calvin_d", [*RANDOM, "suite.steps_per_subtask=12"], id="calvin", marks=pytest.mark.slow),
    pytest.param("simpler_widowx", [*RANDOM, "tasks=[0]"], id="simpler", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("suite", "settings"), BENCHMARKS)
def test_every_benchmarks_frames_are_those_drawn_live(suite: str, settings: list[str], tmp_path: Path) -> None:
    need_suite(suite)
    overrides = [f"suite={suite}", "episodes_per_task=1", "workers=1", f"run_dir={tmp_path / 'run'}"]
    run = vlagym.load_run(evaluate(load_config([*overrides, *settings])).folder)
    (again,) = render_episodes(run, run.results, tmp_path / "again", Drawing(), 1)
    assert again.video is not None, again.error
    assert again.video.read_bytes() == (run.path / run.results[0].execution["video"]).read_bytes()


def test_what_is_drawn_can_be_chosen(failures: Path) -> None:
    run = vlagym.load_run(failures)
    assert [r.spec.id for r in select_episodes(run, "0, toy/push_far/1/0")] == ["toy/push_right/0/0", "toy/push_far/1/0"]
    assert len(select_episodes(run, "all")) == len(select_episodes(run, "failures")) == 4
    for which, named in (
        ("successes", "no episodes to draw"),
        ("4", "0..3"),
        ("toy/a/0/0", "no episode"),
        ("some", "takes failures"),
    ):
        with pytest.raises(ConfigError, match=named):
            select_episodes(run, which)


def test_size_camera_and_speed_can_be_chosen(failures: Path, tmp_path: Path) -> None:
    run = vlagym.load_run(failures)
    (drawn,) = render_episodes(run, run.results[:1], tmp_path / "out", Drawing(("wrist", "primary"), (40, 60), 5, caption=False), 1)
    assert drawn.video is not None
    assert drawn.video.name.endswith("--task=push_right--camera=wrist+primary--60x40.mp4")
    assert frames(drawn.video).shape == (run.results[0].steps + 1 + 5, 40, 120, 3), "the last frame is held for a second"
    assert imageio.immeta(drawn.video, plugin="FFMPEG")["fps"] == 5


def test_the_caption_is_that_of_the_run_unless_one_is_asked_for(run_toy: Run, tmp_path: Path) -> None:
    bare = run_toy("episodes_per_task=1", "tasks=[0]", "video_caption=false", "video_cameras=[primary]").folder
    (result,) = vlagym.load_run(bare).results
    assert frames(bare / result.execution["video"]).shape == (result.steps + 1 + 10, 96, 128, 3)
    for option, equal in (("--no-caption", True), ("--caption", False)):
        assert cli_render(bare, "--episodes", "all", option, "--output", str(tmp_path / option)) == 0
        (again,) = (tmp_path / option).glob("*.mp4")
        assert (again.read_bytes() == (bare / result.execution["video"]).read_bytes()) == equal
    held = frames(tmp_path / "--caption" / again.name)[:, :-96]
    assert np.abs(held[-1].astype(int) - held[-2]).max() < 30, "the outcome stays"
    assert np.abs(held[-1].astype(int) - held[result.steps]).max() > 100, "and comes after the last step"


def test_a_grid_shows_all_episodes_with_their_outcomes(run_toy: Run, tmp_path: Path) -> None:
    run = run_toy("episodes_per_task=2", "suite.goal=0.9", "video=none").folder
    options = [
        "--episodes",
        "all",
        "--camera",
        "primary",
        "--size",
        "64x48",
        "--grid",
        "--workers",
        "1",
        "--output",
        str(tmp_path / "out"),
    ]
    assert cli.main(["render", str(run), *options]) == 0
    grid = frames(tmp_path / "out" / "grid-1.mp4")
    longest = max(len(frames(file)) for file in (tmp_path / "out").glob("*64x48.mp4"))
    captioned = 48 + layout_for(np.zeros((48, 64, 3), np.uint8), "push the point to 1").height
    assert grid.shape == (longest, 2 * (captioned + 8), 2 * (64 + 8), 3)
    np.testing.assert_allclose(grid[0, 1, 1:100].mean(axis=0), SOLVED, atol=25)


def test_an_episode_that_cannot_be_drawn_does_not_stop_the_others(failures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted((failures / "trajectories").iterdir())
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    assert cli.main(["render", str(failures), "--workers", "1"]) == 1
    shown = capsys.readouterr().out
    assert shown.count("cannot be drawn") == 2
    assert shown.count("success=False") == 2


def test_a_scene_that_comes_out_differently_is_refused(failures: Path) -> None:
    edit_results(failures, initial_state_sha256="0" * 64)
    run = vlagym.load_run(failures)
    (drawn,) = render_episodes(run, run.results[:1], failures.parent / "out", Drawing(), 1)
    assert drawn.video is None
    assert "comes out differently on this machine" in str(drawn.error)


def test_a_protocol_that_changed_is_refused(failures: Path) -> None:
    header = json.loads((failures / "run.json").read_text())
    header["legs"][0]["protocol_sha256"] = "0" * 64
    header["legs"][0]["protocol"]["goal"] = 3.0
    (failures / "run.json").write_text(json.dumps(header))
    with pytest.raises(RunError, match="goal: 3.0 -> 9"):
        cli_render(failures)


def test_nothing_outside_the_run_is_read_and_nothing_inside_written(failures: Path) -> None:
    with pytest.raises(ConfigError, match="never modified"):
        cli_render(failures, "--output", str(failures / "videos"))
    edit_results(failures, execution={"trajectory": "../../secret.npz"})
    with pytest.raises(RunError, match="outside the run's folder"):
        cli_render(failures)


@pytest.mark.parametrize("size", ["720", "0x10", "99999x10", "axb"])
def test_a_size_that_is_none_is_refused(failures: Path, size: str) -> None:
    with pytest.raises(ConfigError, match="WIDTHxHEIGHT"):
        cli_render(failures, "--size", size)


def cli_render(run: Path, *options: str) -> int:
    """The command without the part of `vla-eval` that turns errors into messages."""
    from vlagym.eval.cli.render import main

    return main([str(run), "--workers", "1", *options])
