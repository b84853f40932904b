"""What others' evaluations leave becomes a run's folder: the same outcomes under our names, marked as foreign everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from needs import need_case

from vlagym.errors import ConfigError, RunError, VlagymError
from vlagym.eval import cli
from vlagym.eval.cli.compare import compare
from vlagym.eval.cli.import_results import main
from vlagym.eval.compare.comparison import Question
from vlagym.eval.gate.gate import run_gate
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import Outcome, resume
from vlagym.eval.tables.runs import Run, load_run

LOG = """Task suite: libero_goal

Task: open the middle drawer of the cabinet
Starting episode 1...
Success: False
Starting episode 2...
Success: True

Task: put the bowl on the stove
Starting episode 1...
Success: True
"""
DRAWER, BOWL = "open_the_middle_drawer_of_the_cabinet", "put_the_bowl_on_the_stove"


def written(tmp_path: Path, content: Any, name: str = "results.json") -> Path:
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return tmp_path / name


def imported(source: Path, *options: str) -> Run:
    folder = source.parent / "imported"
    assert main([str(source), str(folder), *options]) == 0
    return load_run(folder)


def outcomes(run: Run) -> dict[tuple[str, str, int], bool | None]:
    return {(r.spec.suite, r.spec.task, r.spec.trial): r.success for r in run.results}


def test_a_log_of_the_reference_script(tmp_path: Path) -> None:
    run = imported(written(tmp_path, LOG, "EVAL-libero_goal-openvla.txt"), "--policy", "openvla")
    expected = {("libero_goal", DRAWER, 0): False, ("libero_goal", DRAWER, 1): True, ("libero_goal", BOWL, 0): True}
    assert outcomes(run) == expected
    assert run.complete
    assert run.success_rate == 0.75
    assert "Imported from EVAL-libero_goal-openvla.txt" in run.notices[0]
    assert "Imported from" in (run.path / "summary.md").read_text()


def test_the_cases_of_the_collection(tmp_path: Path) -> None:
    log = need_case("EVAL-libero_goal-openvla-2025_05_22-21_45_55.txt")
    assert main([str(log), str(tmp_path / "log")]) == 0
    assert main([str(need_case("reference_rollouts")), str(tmp_path / "videos"), "--suite", "libero_goal"]) == 0
    by_log, by_videos = outcomes(load_run(tmp_path / "log")), outcomes(load_run(tmp_path / "videos"))
    assert by_log == by_videos
    assert len(by_log) == 4


def test_lerobots_newer_form(tmp_path: Path) -> None:
    tasks = [{"task_group": "libero_goal", "task_id": n, "metrics": {"successes": [True, n == 1]}} for n in (0, 1)]
    run = imported(written(tmp_path, {"per_task": tasks, "overall": {}}))
    assert [r.success for r in run.results] == [True, False, True, True]
    assert len({r.spec.task for r in run.results}) == 2


def test_lerobots_older_form_names_neither_suite_nor_task(tmp_path: Path) -> None:
    content = {"per_episode": [{"episode_ix": n, "success": n > 0, "seed": n} for n in range(3)], "aggregated": {}}
    source = written(tmp_path, content)
    with pytest.raises(ConfigError, match="does not say of which suite its episodes are: name it with --suite"):
        imported(source)
    with pytest.raises(ConfigError, match="do not say of which task they are"):
        imported(source, "--suite", "libero_goal")
    run = imported(source, "--suite", "libero_goal", "--task", BOWL)
    assert outcomes(run) == {("libero_goal", BOWL, 0): False, ("libero_goal", BOWL, 1): True, ("libero_goal", BOWL, 2): True}


def test_vla_evaluation_harness_and_an_error_in_it(tmp_path: Path) -> None:
    episodes = [{"episode_id": 0, "metrics": {"success": True}}, {"episode_id": 1, "failure_reason": "timeout"}]
    content = {
        "benchmark": "libero",
        "config": {"params": {"suite": "libero_goal"}},
        "tasks": [{"task": BOWL, "episodes": episodes}],
    }
    run = imported(written(tmp_path, content))
    assert outcomes(run) == {("libero_goal", BOWL, 0): True, ("libero_goal", BOWL, 1): None}
    assert not run.complete


CALVIN = {
    "avg_seq_len": 2.5,
    "chain_sr": {"1": 0.75, "2": 0.75, "3": 0.5, "4": 0.25, "5": 0.25},
    "task_info": {"open_drawer": {"success": 6, "total": 8}, "close_drawer": {"success": 4, "total": 5}},
}


def test_calvins_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = imported(written(tmp_path, {"null": CALVIN}), "--suite", "calvin_abc_d")
    chains = run.chains().set_index("in_a_row")
    assert [chains.loc[str(n) if str(n) in chains.index else n, "value"] for n in (1, 2, 3, 4, 5)] == [0.75, 0.75, 0.5, 0.25, 0.25]
    assert len(run.results) == 4
    assert "how many chains got how far, and not which" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"0": CALVIN, "1": CALVIN}, r"results of several checkpoints \(0, 1\)"),
        ({**CALVIN, "task_info": {}}, "does not say how many chains"),
        ({**CALVIN, "avg_seq_len": 3.1}, "are not those of 3 chains"),
        ({**CALVIN, "num_sequences": 7}, "are not those of 7 chains"),
        ({"something": 1}, "nor CALVIN's"),
        ([1], "neither LeRobot's"),
        ({"per_task": [{"task_group": "libero_goal", "task_id": 99, "metrics": {"successes": [True]}}]}, "unknown task"),
        ({"per_task": [{"task_group": "nowhere", "task_id": 0, "metrics": {"successes": [True]}}]}, "unknown suite 'nowhere'"),
        ({"per_task": []}, "has no episodes"),
    ],
)
def test_what_cannot_be_imported_is_said_and_leaves_nothing(content: Any, said: str, tmp_path: Path) -> None:
    source = written(tmp_path, content)
    with pytest.raises(VlagymError, match=said):
        imported(source, *(["--suite", "calvin_d"] if "avg_seq_len" in str(content) else []))
    assert list(tmp_path.iterdir()) == [source]


def simpler(folder: Path, environment: str, overlay: str, *names: str) -> None:
    place = folder / "scene" / "control" / environment / f"rob_0.35_0.2_rot_0.000_-0.000_3.142_rgb_overlay_{overlay}"
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        (place / name).touch()


def test_simplerenvs_folders(tmp_path: Path) -> None:
    root = tmp_path / "rt1"
    can = "GraspSingleOpenedCokeCanInScene-v0_lr_switch_True_urdf_version_None"
    simpler(root, can, "google_coke_can_real_eval_1", "success_obj_-0.35_-0.02.mp4", "failure_obj_-0.35_0.2.mp4")
    simpler(root, "GraspSingleOpenedCokeCanInScene-v0_upright_True", "None", "failure_obj_-0.35_-0.02_n_lift_True.mp4")
    simpler(root, "CloseTopDrawerCustomInScene-v0_shader_dir_rt", "close_drawer_a0", "success_obj_0_0.mp4")
    simpler(root, "PlaceIntoClosedTopDrawerCustomInScene-v0_model_ids_baked_apple_v2", "None", "success_obj_-0.08_-0.02.mp4")
    simpler(root, "PutCarrotOnPlateInScene-v0", "bridge_real_eval_1", "success_obj_episode_3.mp4")
    simpler(root, "MoveNearAltGoogleCameraInScene-v0", "None", "success_obj_episode_3.mp4")
    run = imported(root)
    assert outcomes(run) == {
        ("simpler_google_vm", "google_pick_coke_can_horizontal", 0): False,
        ("simpler_google_vm", "google_pick_coke_can_horizontal", 1): True,
        ("simpler_google_va", "google_pick_coke_can_standing", 0): False,
        ("simpler_google_vm", "google_close_top_drawer", 0): True,
        ("simpler_google_va", "google_place_apple_in_closed_top_drawer", 0): True,
        ("simpler_widowx", "widowx_carrot_on_plate", 0): True,
    }
    assert any("1 videos are not of SimplerEnv's official evaluation" in notice for notice in run.notices)


def test_simplerenvs_folders_of_several_checkpoints_are_not_mixed(tmp_path: Path) -> None:
    for checkpoint in ("rt1", "octo"):
        simpler(tmp_path / "results" / checkpoint, "PutCarrotOnPlateInScene-v0", "x", "success_obj_episode_3.mp4")
    with pytest.raises(ConfigError, match="has the results of octo, rt1; name the folder of one"):
        imported(tmp_path / "results")


def test_it_is_a_side_of_a_comparison_by_its_outcomes_only(tmp_path: Path) -> None:
    folders = []
    for name, log in (("one", LOG), ("two", LOG.replace("True", "False"))):
        source = written(tmp_path, log, f"{name}.txt")
        assert main([str(source), str(tmp_path / name)]) == 0
        folders.append(str(tmp_path / name))
    compared = compare(folders[0], folders[1], Question(allow_different_protocols=True))
    assert not compared.paired
    assert compared.overall.difference == -0.75
    assert any("Imported from one.txt" in note for note in compared.notes)
    by_file = compare(str(tmp_path / "one.txt"), folders[1], Question(allow_different_protocols=True))
    assert by_file.overall.difference == -0.75


def test_chains_of_nobody_knows_which_trial_are_not_paired(tmp_path: Path) -> None:
    source = written(tmp_path, {"0": CALVIN})
    run = imported(source, "--suite", "calvin_d")
    question = Question(allow_different_protocols=True, pair_by_index=True)
    with pytest.raises(ConfigError, match="does not say which trial an outcome is of"):
        compare(str(run.path), str(source), question)


def test_it_is_shown_but_neither_resumed_nor_gated(
    tmp_path: Path, run_toy: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    run = imported(written(tmp_path, LOG, "EVAL.txt"))
    assert cli.main(["table", str(run.path)]) == 0
    assert "Imported from EVAL.txt" in capsys.readouterr().out
    assert cli.main(["report", str(run.path), "--output", str(tmp_path / "page")]) == 0
    assert "Imported from EVAL.txt" in (tmp_path / "page" / "index.html").read_text()
    assert cli.main(["table", str(run.path), "--steps"]) == 0
    with pytest.raises(RunError, match=r"was imported from EVAL\.txt.*nothing to go on from"):
        resume(run.path)
    with pytest.raises(ConfigError, match="was imported and has no trials that a gate could run again"):
        run_gate(run, load_config(["suite=libero_goal", "policy=random", f"run_dir={tmp_path / 'gate'}"]), Question())
    with pytest.raises(RunError, match="is not empty"):
        main([str(tmp_path / "EVAL.txt"), str(run.path)])
