"""Tasks of the user's own in LIBERO's world: the episodes of stock hf-libero, and what is wrong with a file in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from needs import need_case, need_suite
from stock_libero import PLATE_TASK, actions_of, assert_same_physics, assert_same_picture, settle_and_act

from vlagym.conf import suite_settings
from vlagym.envs.assets import locate
from vlagym.envs.libero._upstream import import_libero
from vlagym.envs.libero.custom import Vocabulary, check_words
from vlagym.envs.registry import make_suite
from vlagym.envs.suite import Suite, protocol_sha256
from vlagym.errors import ConfigError
from vlagym.eval import cli
from vlagym.eval.cli.export import main as export
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import evaluate
from vlagym.eval.tables.runs import load_run

KNOWN = Vocabulary(("libero_tabletop_manipulation",), ("plate", "flat_stove", "table"), ("on", "open", "turnon"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "put_the_plate_on_the_stove.bddl").write_text(PLATE_TASK)
    return tmp_path


def custom(folder: Path, **settings: object) -> Suite:
    return make_suite({**suite_settings("libero_custom"), "bddl": str(folder), **settings})


def test_a_folder_of_definitions_is_a_suite(folder: Path) -> None:
    (task,) = custom(folder, trials=7).tasks()
    assert (task.name, task.instruction, task.trials) == ("put_the_plate_on_the_stove", "put the plate on the stove", 7)
    assert custom(folder / "put_the_plate_on_the_stove.bddl").tasks()[0].name == task.name
    np.savez(folder / "put_the_plate_on_the_stove.npz", states=np.zeros((3, 60)))
    assert custom(folder).tasks()[0].trials == 3
    (folder / "put_the_plate_on_the_stove.pruned_init").write_bytes(b"")
    with pytest.raises(ConfigError, match="keep one of them"):
        custom(folder)
    with pytest.raises(ConfigError, match="expected a folder with NAME.bddl files"):
        custom(folder / "nowhere")


def test_the_protocol_is_what_the_files_say_and_not_where_they_are(folder: Path, tmp_path: Path) -> None:
    before = protocol_sha256(custom(folder).protocol())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    file = elsewhere / "put_the_plate_on_the_stove.bddl"
    file.write_text(PLATE_TASK)
    assert protocol_sha256(custom(elsewhere).protocol()) == before
    file.write_text(PLATE_TASK.replace("0.02", "0.03"))
    assert protocol_sha256(custom(elsewhere).protocol()) != before


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("plate_1 - plate", "plate_1 - plat", "line 11: LIBERO knows no kind of object 'plat'. Did you mean 'plate'?"),
        ("flat_stove_1 - flat_stove", "flat_stove_1 - flat_stov", "line 10: LIBERO knows no kind of object 'flat_stov'."),
        ("(On flat_stove_1 ", "(Onn flat_stove_1 ", "line 14: LIBERO knows no predicate 'onn'. Did you mean 'on'?"),
        ("(And (On plate_1 ", "(And (On plte_1 ", "line 15: LIBERO knows no object or region 'plte_1'. Did you mean 'plate_1'"),
        ("main_table_plate_start", "main_table_plate_strt", "line 13: LIBERO knows no object or region 'main_table_plate_strt'."),
        ("(stove_spot (:target main_table)", "(stove_spot (:target main_tabl)", "object or region 'main_table_stove_spot'"),
        ("(:init ", "(:inti ", "is no BDDL problem: it has no (:init ...)"),
        ("LIBERO_Tabletop_Manipulation", "LIBERO_Table", "line 1: LIBERO knows no problem 'libero_table'."),
    ],
)
def test_a_word_that_libero_does_not_know_is_named_with_its_line(good: str, bad: str, said: str, folder: Path) -> None:
    file = folder / "put_the_plate_on_the_stove.bddl"
    check_words(file, KNOWN)
    assert good in PLATE_TASK
    file.write_text(PLATE_TASK.replace(good, bad, 1))
    with pytest.raises(ConfigError) as raised:
        check_words(file, KNOWN)
    assert said in str(raised.value)


@pytest.mark.slow
def test_libero_knows_the_words_of_all_its_own_tasks() -> None:
    from vlagym.envs.libero.custom import _vocabulary
    from vlagym.envs.libero.tasks import task_files, task_table

    known = _vocabulary()
    files = [task_files(suite, task).bddl for suite, tasks in task_table().items() for task in tasks]
    assert len(files) >= 130
    for file in files:
        check_words(file, known)


def stock_moments(bddl: Path, trials: int, steps: int) -> Iterator[list[dict]]:
    """The reference loop without initial states: each trial's moments, from where the policy takes over."""
    env = import_libero(locate("libero").path).OffScreenRenderEnv(bddl_file_name=str(bddl), camera_heights=256, camera_widths=256)
    outside = np.random.get_state()
    env.seed(0)
    for trial in range(trials):
        env.reset()
        yield settle_and_act(env, actions_of(trial, steps))
    np.random.set_state(outside)
    env.close()


@pytest.mark.slow  # in CI the task of the collection is compared
def test_a_task_of_ones_own_is_the_episode_of_stock_libero(folder: Path) -> None:
    need_suite("libero_spatial")
    trials, steps = 2, 25
    suite = custom(folder)
    suite.check_ready()
    stock = list(stock_moments(folder / "put_the_plate_on_the_stove.bddl", trials, steps))
    env = suite.make_env(("primary", "wrist"))
    for trial in reversed(range(trials)):
        observation, _ = env.reset(options={"trial": trial})
        assert_same_picture(observation, stock[trial][0])
        for action, expected in zip(actions_of(trial, steps), stock[trial][1:], strict=True):
            observation, *_ = env.step(action)
            assert_same_physics(env, expected)
            assert_same_picture(observation, expected)
    env.close()


@pytest.mark.slow
def test_drawn_states_are_handed_on_and_give_the_same_episodes(folder: Path, tmp_path: Path) -> None:
    need_suite("libero_spatial")
    settings = ["suite=libero_custom", "policy=random", "suite.horizon=5", "workers=1", "video=none"]
    first, second, tasks = tmp_path / "first", tmp_path / "second", tmp_path / "tasks"
    evaluate(load_config([*settings, f"suite.bddl={folder}", "suite.trials=2", f"run_dir={first}"]))
    assert cli.main(["export", str(first), "--tasks", str(tasks)]) == 0
    assert sorted(file.name for file in tasks.iterdir()) == ["put_the_plate_on_the_stove.bddl", "put_the_plate_on_the_stove.npz"]
    evaluate(load_config([*settings, f"suite.bddl={tasks}", f"run_dir={second}"]))
    ends = [[result.final_state_sha256 for result in load_run(run).results] for run in (first, second)]
    assert len(set(ends[0])) == 2
    assert ends[0] == ends[1]
    with pytest.raises(ConfigError, match="are in a file already"):
        export([str(second), "--tasks", str(tmp_path / "again")])


@pytest.mark.parametrize("steps", [8, pytest.param(25, marks=pytest.mark.slow)])
def test_the_task_of_the_collection_is_the_episode_of_stock_libero(steps: int) -> None:
    file = need_case("custom_libero_task/place_the_plate_on_the_cooker.bddl")
    need_suite("libero_spatial")
    suite = custom(file.parent)
    suite.check_ready()
    (stock,) = stock_moments(file, 1, steps)
    env = suite.make_env(("primary", "wrist"))
    observation, _ = env.reset()
    assert_same_picture(observation, stock[0])
    for action, expected in zip(actions_of(0, steps), stock[1:], strict=True):
        observation, *_ = env.step(action)
        assert_same_physics(env, expected)
        assert_same_picture(observation, expected)
    env.close()
