"""Comparison of runs with each other, with published scores and with other harnesses' files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlagym.conf import suite_settings
from vlagym.envs.registry import make_suite
from vlagym.episode import EpisodeSpec
from vlagym.errors import ConfigError, RunError
from vlagym.eval import cli
from vlagym.eval.bench.synthetic import write_run
from vlagym.eval.cli.compare import compare
from vlagym.eval.compare.comparison import Comparison, Question, compare_sides
from vlagym.eval.compare.published import find_published, published_scores
from vlagym.eval.compare.sources import Side, SuiteOutcomes
from vlagym.eval.run.evaluation import Outcome
from vlagym.eval.tables.statistics import mean_interval
from vlagym.policies.base import episode_generator

Run = Callable[..., Outcome]
SUITE = {"mine": {"a": 50, "b": 50}}


def side(label: str, *tasks: list[float]) -> Side:
    """Outcomes by task and trial, as a side that does not say what it is a run of."""
    outcomes = {f"task_{i}": {(trial, 0): value for trial, value in enumerate(values)} for i, values in enumerate(tasks)}
    return Side(label, {"s": SuiteOutcomes(outcomes)}, [], [])


def in_pairs(baseline: Side, current: Side, **question: Any) -> Comparison:
    return compare_sides(baseline, current, Question(pair_by_index=True, **question))


def run_of(folder: Path, rate: float, **settings: Any) -> str:
    """A made-up run that solves the given share of 100 trials."""
    return str(write_run(folder, SUITE, lambda spec: spec.trial < round(50 * rate), **settings))


binary_tasks = st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12), min_size=1, max_size=3)
margins = st.floats(0, 0.9)


@given(binary_tasks, margins)
@settings(max_examples=40, deadline=None)
def test_swapping_the_sides_mirrors_the_result(tasks: list[list[tuple[bool, bool]]], margin: float) -> None:
    one = side("one", *[[float(a) for a, _ in task] for task in tasks])
    other = side("other", *[[float(b) for _, b in task] for task in tasks])
    forth, back = in_pairs(one, other, margin=margin), in_pairs(other, one, margin=margin)
    for row, mirrored in zip(forth.rows, back.rows, strict=True):
        assert row.difference == pytest.approx(-mirrored.difference)
        assert row.low == pytest.approx(-mirrored.high, abs=1e-9)
        assert row.p_value == pytest.approx(mirrored.p_value)
        assert (row.lost, row.gained) == (mirrored.gained, mirrored.lost)


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=40), min_size=1, max_size=4), margins, st.floats(0.001, 0.45))
@settings(max_examples=40, deadline=None)
def test_identical_outcomes_are_never_a_regression(tasks: list[list[bool]], margin: float, alpha: float) -> None:
    same = [[float(x) for x in task] for task in tasks]
    comparison = in_pairs(side("one", *same), side("other", *same), margin=margin, alpha=alpha, fail_on_task=True)
    assert comparison.verdict != "regression"
    assert comparison.overall.p_value == 1


@given(binary_tasks, st.lists(margins, min_size=2, max_size=2))
@settings(max_examples=40, deadline=None)
def test_a_larger_margin_is_never_harder_to_meet(tasks: list[list[tuple[bool, bool]]], two: list[float]) -> None:
    one = side("one", *[[float(a) for a, _ in task] for task in tasks])
    other = side("other", *[[float(b) for _, b in task] for task in tasks])
    order = ["regression", "cannot tell", "no regression"]
    narrow, wide = (order.index(in_pairs(one, other, margin=margin).verdict) for margin in sorted(two))
    assert narrow <= wide


def test_one_task_of_pairs_has_mcnemars_test_and_tangos_interval() -> None:
    # Fagerland, Lydersen and Laake (2014), table II: 1, 1, 7, 12.
    before, after = [1.0] * 8 + [0.0] * 13, [1.0] + [0.0] * 7 + [1.0] + [0.0] * 12
    row = in_pairs(side("before", before), side("after", after), alpha=0.025).overall
    assert (row.lost, row.gained, row.trials) == (7, 1, 21)
    assert (row.low, row.high) == pytest.approx((-0.517, -0.026), abs=5e-4)
    assert row.p_value == pytest.approx(0.0703125)


@pytest.mark.parametrize("policy", ["push", "random"])
def test_a_real_run_against_itself(run_toy: Run, policy: str) -> None:
    one = run_toy("video=none", policy=policy, name="one").folder
    two = run_toy("video=none", "workers=1", policy=policy, name="two").folder
    comparison = compare(str(one), str(two), Question(margin=0.2))
    assert comparison.verdict == "no regression"
    assert comparison.paired
    assert "20 episodes of the same trial and seed were compared, of which 20 ended in the same state, bit for bit" in " ".join(
        comparison.notes
    )


def test_a_real_regression_is_one(run_toy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    good = run_toy("video=none", name="good").folder
    bad = run_toy("video=none", policy="random", name="bad").folder
    assert cli.main(["compare", str(good), str(bad)]) == 1
    assert "\nREGRESSION. The difference is -" in capsys.readouterr().out
    assert cli.main(["compare", str(bad), str(good)]) == 0


def test_few_episodes_cannot_tell(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    outcomes = {name: generator.random(10) < 0.5 for name in ("one", "two")}
    for name, solved in outcomes.items():
        write_run(tmp_path / name, {"s": {"t": 10}}, lambda spec, solved=solved: bool(solved[spec.trial]))
    assert cli.main(["compare", str(tmp_path / "one"), str(tmp_path / "two")]) == 3


def test_an_incomplete_run_is_not_judged_unless_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = run_of(tmp_path / "whole", 0.9)
    cut = str(write_run(tmp_path / "cut", SUITE, lambda s: None if s.trial == 49 else "error" if s.trial == 48 else s.trial < 45))
    assert cli.main(["compare", whole, cut]) == 3
    shown = capsys.readouterr().out
    assert "cut is incomplete: 2 episodes not run, 2 episodes could not be run (errors)" in shown
    assert cli.main(["compare", whole, cut, "--allow-incomplete"]) == 0


def test_different_protocols_are_refused_and_named(tmp_path: Path) -> None:
    one = run_of(tmp_path / "one", 0.9)
    other = run_of(tmp_path / "other", 0.9, protocol={"horizon": 30})
    with pytest.raises(ConfigError, match="mine: horizon: 40 -> 30"):
        compare(one, other, Question())
    allowed = compare(one, other, Question(allow_different_protocols=True))
    assert "The protocols differ: mine: horizon: 40 -> 30." in allowed.notes


def test_runs_by_different_code_are_compared_and_said_to_be(tmp_path: Path) -> None:
    sides = [run_of(tmp_path / name, 0.9) for name in ("one", "other")]
    for folder, digest in zip(sides, "ab", strict=True):
        header = json.loads((Path(folder) / "run.json").read_text())
        (Path(folder) / "run.json").write_text(json.dumps({**header, "code_sha256": digest * 64}))
    said = " ".join(compare(*sides, Question()).notes)
    assert "They were run by different code of vlagym's environments or policies" in said
    assert "different code" not in " ".join(compare(sides[0], sides[0], Question()).notes)


def test_runs_without_common_episodes_are_refused(tmp_path: Path) -> None:
    one = run_of(tmp_path / "one", 0.9)
    other_suite = str(write_run(tmp_path / "two", {"other": {"a": 5}}, lambda spec: True))
    other_seed = run_of(tmp_path / "three", 0.9, seeds=(7,))
    with pytest.raises(ConfigError, match="nothing to compare: one has mine, two has other"):
        compare(one, other_suite, Question())
    with pytest.raises(ConfigError, match="no episode .* in common"):
        compare(one, other_seed, Question())


def test_what_only_one_side_has_is_left_out_and_said(tmp_path: Path) -> None:
    long = run_of(tmp_path / "long", 1.0)
    short = str(write_run(tmp_path / "short", {"mine": {"a": 20}}, lambda spec: True))
    comparison = compare(long, short, Question(margin=0.2))
    assert comparison.overall.trials == 20
    assert "80 episodes that only one side has were left out." in comparison.notes


def test_a_single_bad_task_is_named_and_fails_on_demand(tmp_path: Path) -> None:
    tasks = {"mine": {f"t{i}": 50 for i in range(10)}}
    good = str(write_run(tmp_path / "good", tasks, lambda spec: True))
    bad = str(write_run(tmp_path / "bad", tasks, lambda spec: not (spec.task == "t3" and spec.trial < 20)))
    lenient = compare(good, bad, Question(margin=0.1))
    assert lenient.verdict == "no regression"
    assert "Worse by itself, all tasks considered (Holm): mine/t3." in lenient.notes
    assert compare(good, bad, Question(margin=0.1, fail_on_task=True)).verdict == "regression"


def test_several_seeds_are_averaged_within_a_trial(tmp_path: Path) -> None:
    def outcome(lost: float) -> Callable[[EpisodeSpec], bool]:
        return lambda spec: spec.trial >= lost

    one = {n: str(write_run(tmp_path / f"one{n}", SUITE, outcome(10), seeds=range(n))) for n in (1, 3)}
    two = {n: str(write_run(tmp_path / f"two{n}", SUITE, outcome(20), seeds=range(n))) for n in (1, 3)}
    single, triple = (compare(one[n], two[n], Question()).overall for n in (1, 3))
    assert single == triple


def test_chains_are_compared_by_the_share_done(tmp_path: Path) -> None:
    before = write_run(tmp_path / "before", {"calvin": {"chain": 40}}, lambda spec: 4, chain=5)
    after = write_run(tmp_path / "after", {"calvin": {"chain": 40}}, lambda spec: 3, chain=5)
    comparison = compare(str(before), str(after), Question())
    assert comparison.overall.difference == pytest.approx(-0.2)
    assert comparison.verdict == "regression"


def test_published_rows_are_complete_and_plausible() -> None:
    scores = published_scores()
    assert len(scores) > 80
    assert all(0 <= score.rate <= 1 and score.source and score.protocol for score in scores)
    for score in scores:
        if score.in_a_row:
            assert list(score.in_a_row) == sorted(score.in_a_row, reverse=True)
            assert sum(score.in_a_row) / 5 == pytest.approx(score.rate, abs=0.006)


def test_a_run_against_a_published_score(tmp_path: Path) -> None:
    libero = {"libero_goal": {f"t{i}": 50 for i in range(10)}}
    run = str(write_run(tmp_path / "run", libero, lambda spec: spec.trial < 40))
    comparison = compare("published:openvla@README", run, Question())
    row = comparison.overall
    assert (row.baseline, row.current) == (0.792, pytest.approx(0.8))
    expected = mean_interval([success_bits(400, 500), success_bits(1188, 1500)], [1, -1], confidence=0.9)
    assert (row.low, row.high) == pytest.approx((expected.low, expected.high), abs=1e-3)
    assert comparison.verdict == "no regression"
    assert any("1500 episodes" in note for note in comparison.notes)


def success_bits(solved: int, number: int) -> np.ndarray:
    return np.r_[np.ones(solved), np.zeros(number - solved)]


def test_a_published_number_of_unknown_size_is_taken_as_exact(tmp_path: Path) -> None:
    run = str(write_run(tmp_path / "run", {"calvin_abc_d": {"chain": 200}}, lambda s: 5 if s.trial < 100 else 3, chain=5))
    comparison = compare("published:openvla-oft", run, Question(alpha=0.025))
    assert any("unknown number of episodes" in note and "too narrow" in note for note in comparison.notes)
    row = comparison.overall
    share = mean_interval([[1.0] * 100 + [0.6] * 100])
    assert row.baseline == pytest.approx(0.82)
    assert (row.low, row.high) == pytest.approx((share.low - 0.82, share.high - 0.82))
    known = compare("published:robovlms-kosmos@ABC->D, 1000", run, Question(alpha=0.025)).overall
    assert known.baseline == pytest.approx(0.85)
    assert known.high - known.low > row.high - row.low


def test_an_ambiguous_or_unknown_published_score_is_refused() -> None:
    with pytest.raises(ConfigError, match="several published scores of openvla on libero_goal") as refused:
        find_published("published:openvla", ["libero_goal"])
    choices = re.findall(r"'(published:openvla@[^']+)'", str(refused.value))
    assert len({find_published(choice, ["libero_goal"])[0].source for choice in choices}) == len(choices) == 2
    with pytest.raises(ConfigError, match="Did you mean 'openvla'"):
        find_published("published:openvlaa", ["libero_goal"])
    with pytest.raises(ConfigError, match="no published score of rt-2-x on libero_goal"):
        find_published("published:rt-2-x", ["libero_goal"])


@pytest.fixture
def ours(tmp_path: Path) -> str:
    """80 % of two LIBERO-like tasks of 50 trials."""
    tasks = {"libero_goal": {"open_the_drawer": 50, "turn_on_the_stove": 50}}
    return str(write_run(tmp_path / "ours", tasks, lambda spec: spec.trial < 40))


def lerobot_file(folder: Path, solved: tuple[int, ...]) -> Path:
    """eval_info.json as lerobot_eval.py writes it."""
    per_task = [
        {
            "task_group": "libero_goal",
            "task_id": number,
            "metrics": {
                "sum_rewards": [float(i < count) for i in range(50)],
                "max_rewards": [float(i < count) for i in range(50)],
                "successes": [i < count for i in range(50)],
                "video_paths": [],
            },
        }
        for number, count in enumerate(solved)
    ]
    file = folder / "eval_info.json"
    file.write_text(json.dumps({"per_task": per_task, "per_group": {}, "overall": {"pc_success": 80.0, "n_episodes": 100}}))
    return file


def test_a_run_against_lerobots_file(ours: str, tmp_path: Path) -> None:
    comparison = compare(str(lerobot_file(tmp_path, (49, 45))), ours, Question())
    assert [(row.task, row.baseline) for row in comparison.rows] == [
        ("open_the_drawer", 0.98),
        ("turn_on_the_stove", 0.9),
        ("average", pytest.approx(0.94)),
    ]
    assert not comparison.paired
    expected = mean_interval(
        [success_bits(40, 50), success_bits(40, 50), success_bits(49, 50), success_bits(45, 50)],
        [0.5, 0.5, -0.5, -0.5],
        confidence=0.9,
    )
    assert (comparison.overall.low, comparison.overall.high) == pytest.approx(expected[1:])
    assert compare(ours, str(lerobot_file(tmp_path, (49, 45))), Question(pair_by_index=True)).paired


def harness_file(folder: Path, old: bool) -> Path:
    """A result of allenai's vla-evaluation-harness: of 2026 (metrics in a dict, errors told) or of before."""

    def episode(task: str, index: int) -> dict[str, Any]:
        if old:
            return {"episode_id": f"{task}_ep{index}", "success": index < 45, "steps": 100, "elapsed_sec": 3.2}
        failed = {"failure_reason": "timeout", "failure_detail": "..."} if index == 49 else {}
        return {"episode_id": index, "metrics": {"success": index < 45}, "steps": 100, **failed}

    names = ["Open the drawer", "turn on the stove"]
    tasks = [{"task": name, "episodes": [episode(name, i) for i in range(50)], "num_episodes": 50} for name in names]
    config = {"benchmark": "vla_eval.benchmarks.libero.benchmark:LIBEROBenchmark", "params": {"suite": "libero_goal", "seed": 7}}
    file = folder / "result.json"
    file.write_text(json.dumps({"benchmark": "LIBEROBenchmark_libero_goal", "mode": "sync", "tasks": tasks, "config": config}))
    return file


@pytest.mark.parametrize("old", [True, False])
def test_a_run_against_a_file_of_vla_evaluation_harness(ours: str, tmp_path: Path, old: bool) -> None:
    comparison = compare(str(harness_file(tmp_path, old)), ours, Question(allow_incomplete=True))
    assert [row.task for row in comparison.rows] == ["open_the_drawer", "turn_on_the_stove", "average"]
    assert comparison.overall.baseline == pytest.approx(45 / (50 if old else 49))
    assert any("2 episodes could not be run" in note for note in comparison.notes) is not old


def test_chains_of_vla_evaluation_harness_are_read(tmp_path: Path) -> None:
    tasks = [
        {"task": f"seq_{i:04d}", "episodes": [{"episode_id": 0, "metrics": {"success": False, "completed_subtasks": 3}}]}
        for i in range(20)
    ]
    file = tmp_path / "calvin.json"
    file.write_text(json.dumps({"benchmark": "CALVINBenchmark", "tasks": tasks, "config": {}}))
    run = str(write_run(tmp_path / "run", {"calvin_abc_d": {"chain": 20}}, lambda spec: 4, chain=5))
    comparison = compare(str(file), run, Question(pair_by_index=True))
    assert (comparison.overall.baseline, comparison.overall.trials) == (pytest.approx(0.6), 20)
    assert any("'CALVINBenchmark' is taken for 'calvin_abc_d'" in note for note in comparison.notes)


def reference_log(once_per_task: bool) -> str:
    """The log of run_libero_eval.py: a task is named before each of its episodes, or before the first alone."""
    lines = ["Task suite: libero_goal"]
    for task in ("open the drawer", "turn on the stove"):
        for trial in range(50):
            lines += [] if once_per_task and trial else ["", f"Task: {task}"]
            lines += [f"Starting episode {trial + 1}...", f"Success: {trial < 45}", f"# episodes completed so far: {trial + 1}"]
        lines += ["Current task success rate: 0.9", "Current total success rate: 0.9"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("once_per_task", [True, False])
def test_a_run_against_the_reference_scripts_log(ours: str, tmp_path: Path, once_per_task: bool) -> None:
    file = tmp_path / "EVAL-libero_goal-openvla-2025_05_22-21_45_55.txt"
    file.write_text(reference_log(once_per_task))
    comparison = compare(str(file), ours, Question(pair_by_index=True))
    assert [row.task for row in comparison.rows] == ["open_the_drawer", "turn_on_the_stove", "average"]
    assert (comparison.overall.baseline, comparison.overall.current) == (pytest.approx(0.9), pytest.approx(0.8))
    assert comparison.overall.trials == 100


@pytest.mark.parametrize("middle", ["", "--openvla_oft"])
def test_a_run_against_the_reference_scripts_videos(ours: str, tmp_path: Path, middle: str) -> None:
    folder = tmp_path / "rollouts" / "2025_05_22"
    folder.mkdir(parents=True)
    for number in range(100):
        task = ("open_the_drawer", "turn_on_the_stove")[number // 50]
        name = f"2025_05_22-21_45_55{middle}--episode={number + 1}--success={number % 50 < 45}--task={task}.mp4"
        (folder / name).touch()
    for source in (folder, folder.parent):
        comparison = compare(str(source), ours, Question(pair_by_index=True))
        assert (comparison.overall.baseline, comparison.overall.trials) == (pytest.approx(0.9), 100)
        assert any("does not say of which suite it is; it is taken for 'libero_goal'" in note for note in comparison.notes)


def test_a_name_that_was_cut_is_the_task_that_it_begins(tmp_path: Path) -> None:
    name = "put_the_white_mug_on_the_plate_and_put_the_chocolate_pudding_to_the_right_of_the_plate"
    run = str(write_run(tmp_path / "run", {"libero_10": {name: 20, "put_the_white_mug": 20}}, lambda spec: True))
    (tmp_path / "rollouts").mkdir()
    for number in range(20):
        (tmp_path / "rollouts" / f"now--episode={number}--success=True--task={name[:50]}.mp4").touch()
    comparison = compare(str(tmp_path / "rollouts"), run, Question(allow_incomplete=True, allow_partial=True))
    assert name in [row.task for row in comparison.rows]
    assert name[:50] not in [row.task for row in comparison.rows]


def test_videos_that_do_not_say_their_suite_are_not_guessed_at(tmp_path: Path) -> None:
    run = str(write_run(tmp_path / "run", {"libero_10": {"a": 2}, "libero_goal": {"a": 2}}, lambda spec: True))
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "rollouts" / "now--episode=1--success=True--task=a.mp4").touch()
    with pytest.raises(ConfigError, match="does not say of which suite it is, and run has several"):
        compare(str(tmp_path / "rollouts"), run, Question())


def test_a_text_that_is_no_log_is_refused(ours: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Task: write\nsome notes\n")
    with pytest.raises(ConfigError, match="no log of the reference script: it has no Task: and Success: lines"):
        compare(str(tmp_path / "notes.txt"), ours, Question())


def one_task(**task: Any) -> str:
    return json.dumps({"per_task": [task]})


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{broken", "is not a complete result file"),
        ("[1, 2]", "neither LeRobot's"),
        ('{"something": 1}', "neither LeRobot's"),
        (one_task(task_id=0), "missing required field task_group"),
        (one_task(task_group="libero_goal", task_id=0, metrics={"successes": [0.5]}), "expected bool | int, got float"),
        (one_task(task_group="libero_10", task_id=0, metrics={"successes": [True]}), "nothing to compare"),
    ],
)
def test_a_file_that_is_no_result_file_is_refused(ours: str, tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "file.json"
    file.write_text(content)
    with pytest.raises(ConfigError) as refused:
        compare(str(file), ours, Question())
    assert named in str(refused.value)


def test_two_foreign_files_and_missing_folders_are_refused(ours: str, tmp_path: Path) -> None:
    file = str(lerobot_file(tmp_path, (1, 2)))
    with pytest.raises(ConfigError, match="one side of a comparison has to be a run"):
        compare(file, file, Question())
    with pytest.raises(RunError, match="is not a run"):
        compare(ours, str(tmp_path / "nothing"), Question())
    assert cli.main(["compare", ours, str(tmp_path / "nothing")]) == 2


def test_outputs_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = run_of(tmp_path / "good", 1.0, notices=("Stand-in assets were used.",))
    bad = run_of(tmp_path / "bad", 0.5)
    files = {form: tmp_path / "out" / f"result.{form}" for form in ("markdown", "json", "junit")}
    code = cli.main(["compare", good, bad, "--fail-on-task", *[f"--{form}={file}" for form, file in files.items()]])
    assert code == 1
    data = json.loads(files["json"].read_text())
    assert (data["verdict"], data["exit_code"]) == ("regression", 1)
    assert data["rows"][-1]["difference"] == pytest.approx(-0.5)
    markdown = files["markdown"].read_text()
    assert "# ❌ Regression: bad against good" in markdown
    assert "| **mine** | **average** | **100** | **100.0 %** | **50.0 %** | **-50.0 (" in markdown
    assert "Stand-in assets were used." in markdown
    suites = ElementTree.parse(files["junit"]).getroot()
    assert [case.get("name") for case in suites.iter("testcase")] == ["a", "b", "average"]
    assert len(list(suites.iter("failure"))) == 3
    assert "REGRESSION" in capsys.readouterr().out


def test_a_cut_last_line_is_an_episode_not_run_and_nothing_is_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [run_of(tmp_path / name, 0.9) for name in ("one", "two")]
    cut = tmp_path / "two" / "episodes.jsonl"
    cut.write_text(cut.read_text()[:-40])
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert cli.main(["compare", *runs]) == 3
    assert "two is incomplete: 1 episode not run" in capsys.readouterr().out
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


def test_bad_questions_are_refused() -> None:
    for bad in ({"margin": -0.01}, {"margin": 1.0}, {"alpha": 0.5}, {"alpha": 0.0}):
        with pytest.raises(ConfigError):
            Question(**bad)


def test_power_says_how_many_episodes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["power", "--rate", "70", "--drop", "10"]) == 0
    assert "281 episodes on each side" in capsys.readouterr().out
    assert cli.main(["power", "--rate", "70", "--drop", "80"]) == 2


def test_every_published_number_covers_tasks_of_a_suite_of_ours() -> None:
    suites = {score.suite for score in published_scores()}
    tasks = {suite: [task.name for task in make_suite(suite_settings(suite)).tasks()] for suite in suites}
    for score in published_scores():
        assert any(score.covers(task) for task in tasks[score.suite]), score


def test_published_numbers_by_group_of_tasks(tmp_path: Path) -> None:
    tasks = {"google_pick_coke_can_standing": 10, "google_pick_coke_can_vertical": 10, "google_open_top_drawer": 10}
    run = str(write_run(tmp_path / "run", {"simpler_google_vm": tasks}, lambda spec: spec.trial < 5))
    rows = compare("published:rt-1-converged", run, Question()).rows
    assert [(row.task, row.trials) for row in rows] == [("pick_coke_can", 20), ("open_close_drawer", 10), ("average", 30)]
    assert rows[-1].baseline == pytest.approx((0.857 + 0.73) / 2)


def test_two_chance_policies_cannot_be_told_apart(run_toy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    one = run_toy("video=none", "suite.goal=0.2", policy="random", name="one").folder
    monkeypatch.setattr(
        "vlagym.policies.random.episode_generator", lambda episode, salt: episode_generator(episode, f"other {salt}")
    )
    two = run_toy("video=none", "suite.goal=0.2", policy="random", name="two").folder
    comparison = compare(str(one), str(two), Question())
    assert 0 < comparison.overall.baseline < 1
    assert (comparison.overall.lost, comparison.overall.gained) != (0, 0)
    assert comparison.verdict == "cannot tell"
    assert any("takes" in note for note in comparison.notes)
