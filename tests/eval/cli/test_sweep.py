"""`vla-eval sweep` and `vla-eval --multirun`: one folder, a run per value, and the same command goes on where it stopped."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from vlagym.errors import RunError
from vlagym.eval.bench.synthetic import write_run
from vlagym.eval.cli import main
from vlagym.eval.plan.sweep import expand
from vlagym.eval.tables.runs import load_run
from vlagym.eval.tables.sweep import load_sweep, write_sweep

TOY = ["suite=toy", "policy=push", "tasks=[push_right]", "episodes_per_task=1", "video=none", "workers=1"]


def test_a_sweep_is_one_folder_with_a_run_per_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--multirun", *TOY, "policy.chunk=2,4", f"run_dir={tmp_path / 'sweep'}"]) == 0
    sweep = load_sweep(tmp_path / "sweep")
    assert sweep.keys == ("policy.chunk",)
    assert [member.values for member in sweep.begun] == [{"policy.chunk": "2"}, {"policy.chunk": "4"}]
    assert [load_run(m.path).config.legs[0].policy["chunk"] for m in sweep.members] == [2, 4]
    printed = capsys.readouterr().out
    assert "1 / 2  policy.chunk=2" in printed
    assert printed.count("1 / 1") >= 2, "the table of all has a row for each"


def test_the_same_command_adds_runs_and_leaves_complete_ones_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = f"run_dir={tmp_path / 'sweep'}"
    assert main(["sweep", *TOY, "policy.chunk=2,4", folder]) == 0
    before = (tmp_path / "sweep" / "policy.chunk=2" / "episodes.jsonl").read_bytes()
    (tmp_path / "sweep" / "policy.chunk=4" / "episodes.jsonl").write_bytes(b"")  # as if it had been killed
    assert main(["sweep", *TOY, "policy.chunk=1,2,4", folder]) == 0
    assert (tmp_path / "sweep" / "policy.chunk=2" / "episodes.jsonl").read_bytes() == before
    sweep = load_sweep(tmp_path / "sweep")
    assert [member.path.name for member in sweep.members] == ["policy.chunk=2", "policy.chunk=4", "policy.chunk=1"]
    assert all(load_run(member.path).complete for member in sweep.members)

    assert main(["sweep", *TOY[:3], "episodes_per_task=2", *TOY[4:], "policy.chunk=2,4", folder]) == 2
    assert "was run with other settings (episodes_per_task)" in capsys.readouterr().err


def test_a_run_that_cannot_work_stops_neither_the_others_nor_goes_unsaid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["suite=toy", "policy=broken", *TOY[2:], "policy.how=not_finite,fine", f"run_dir={tmp_path / 'sweep'}"]
    assert main(["sweep", *typed]) == 1
    error = capsys.readouterr().err
    assert "not finite" in error
    assert [load_run(member.path).complete for member in load_sweep(tmp_path / "sweep").members] == [False, True]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["policy.chunk=2"], "a sweep needs a setting with several values"),
        (["policy.chunk=2,4", "polcy=push"], "unknown setting 'polcy'"),
        (["policy.chunk=2,4", "attempts=3,0"], "attempts"),
    ],
)
def test_nothing_is_run_of_a_sweep_that_cannot_work(
    typed: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", *TOY, *typed, f"run_dir={tmp_path / 'sweep'}"]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").touch()
    assert main(["sweep", *TOY, "policy.chunk=2,4", f"run_dir={tmp_path}"]) == 2
    assert "is there and is no sweep" in capsys.readouterr().err
    (tmp_path / "sweep.json").write_text(json.dumps({"keys": ["a"], "runs": [{"folder": "..", "values": {"a": "1"}}]}))
    with pytest.raises(RunError, match="folder"):
        load_sweep(tmp_path)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of three policies over two suites; the last run of it was not begun, and one before it is incomplete."""
    folder = tmp_path_factory.mktemp("made_up") / "sweep"
    sweep = write_sweep(folder, expand(["policy.checkpoint=a,b,c", "suite=goal,long"]))
    rates = {"a": 0.9, "b": 0.5, "c": 0.88}
    for member in sweep.members[:-1]:
        checkpoint, suite = member.values["policy.checkpoint"], member.values["suite"]
        generator = random.Random(0)
        rate, partial = rates[checkpoint], (checkpoint, suite) == ("b", "long")
        write_run(
            member.path,
            {suite: {"one": 100, "two": 100}},
            lambda spec, rate=rate, partial=partial, draw=generator.random: None if partial and spec.trial > 50 else draw() < rate,
        )
    return folder


def test_a_sweep_is_compared_suite_by_suite(made_up: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = ["--json", str(tmp_path / "sweep.json"), "--markdown", str(tmp_path / "sweep.md")]
    assert main(["compare", str(made_up), *outputs]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "incomplete and not compared: policy.checkpoint=b--suite=long" in printed
    written = json.loads((tmp_path / "sweep.json").read_text())
    assert [(row["policy.checkpoint"], row["suite"]) for row in written["runs"]][:5] == [
        ("a", "goal"),
        ("a", "long"),
        ("b", "goal"),
        ("b", "long"),
        ("c", "goal"),
    ]
    assert len(written["answers"]) == 1, "goal has three runs, long only one that is complete"
    assert (tmp_path / "sweep.md").read_text().startswith("| policy.checkpoint | suite |")
    assert main(["compare", str(made_up), "--allow-incomplete", "--json", str(tmp_path / "all.json")]) == 0
    assert len(json.loads((tmp_path / "all.json").read_text())["answers"]) == 2


def test_a_sweep_is_compared_alone(made_up: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(made_up), str(made_up)]) == 2
    assert "a sweep is compared by itself" in capsys.readouterr().err
    assert main(["compare", str(made_up), "--junit", "x.xml"]) == 2
    assert "leave it out with a sweep" in capsys.readouterr().err
