"""Variations: what is changed is what a policy sees and reads, never the physics, and every episode by itself."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import need_assets, need_suite

from vlagym.conf import group_names, suite_settings
from vlagym.envs.env import VlaEnv
from vlagym.envs.registry import make_suite
from vlagym.envs.suite import Suite, protocol_sha256
from vlagym.envs.variation import Blur, Camera, Light, Noise, altered, described, light_factors, moved, read_variation
from vlagym.errors import ConfigError
from vlagym.eval.plan.config import load_config

settings_of = cache(suite_settings)


def varied(name: str, *variation: Any, **settings: Any) -> Suite:
    return make_suite({**settings_of(name), "variation": list(variation), **settings})


def after(env: VlaEnv, trial: int, steps: int = 3, task: int = 0) -> dict[str, np.ndarray]:
    """The pictures some steps into an episode, and its physics."""
    observation, _ = env.reset(options={"task": task, "trial": trial})
    observation = env.step_chunk(np.full((steps, env.suite.action_spec.size), 0.3, np.float32)).observation
    return {**observation["images"], "physics": env.physics_state()}


def test_the_named_ones_can_be_read_and_tell_themselves_apart() -> None:
    found = {name: read_variation(name) for name in group_names("variation")}
    assert len(found) >= 9
    assert len(set(map(described, found.values()))) == len(found)
    assert described(read_variation(["camera_left", "dim"])) == "camera right_m=-0.1, light red=0.4 green=0.4 blue=0.4"
    assert described(()) == "none"


@pytest.mark.parametrize(
    ("variation", "said"),
    [
        ("camera_lefd", r"unknown variation 'camera_lefd'.*camera_left"),
        ({"lihgt": {"red": 1}}, r"unknown change in suite\.variation 'lihgt'.*light"),
        ({"light": {"red": -1}}, r"suite\.variation: light\.red must be a number from 0 to 100; got -1"),
        ({"light": {"rde": 1}}, r"unknown setting suite\.variation: light\.rde.*red"),
        ({"noise": 3}, r"noise must be a mapping of its values; got 3"),
        (7, r"must hold names in conf/variation/ and mappings such as light: \.\.\.; got 7"),
        ({"words": {}}, r"words must name a file of paraphrases, words: \{file: FILE\}"),
        ({"words": {"file": "/nowhere.json"}}, r"/nowhere\.json is not a file of paraphrases that can be read: No such file"),
    ],
)
def test_what_is_no_variation_is_one_sentence(variation: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        varied("robosuite", variation)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("suite", "variation", "said"),
    [
        ("calvin_d", "dim", r"light cannot be changed in calvin_d; there camera, noise, blur, words can"),
        ("simpler_widowx", "camera_left", r"camera cannot be changed in simpler_widowx; there noise, blur, words can"),
        ("simpler_google_vm", "warm", r"light cannot be changed in simpler_google_vm"),
        ("libero_para", "words", r"words cannot be changed in libero_para; there camera, light, noise, blur can"),
    ],
)
def test_a_change_that_a_suite_cannot_make_is_refused(suite: str, variation: Any, said: str, tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text('{"a": "b"}')
    with pytest.raises(ConfigError, match=said):
        varied(suite, {"words": {"file": str(tmp_path / "words.json")}} if variation == "words" else variation)


@pytest.mark.parametrize("content", ["[1]", '{"a": 3}', '{"a": []}', '{"a": ""}', "{"])
def test_a_file_that_has_no_paraphrases_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text(content)
    with pytest.raises(ConfigError, match=r"words\.json is not a file of paraphrases that can be read.*JSON object"):
        varied("robosuite", {"words": {"file": str(tmp_path / "words.json")}})


def test_the_protocol_has_the_values_and_stays_what_it_was_without_any() -> None:
    plain, dim = varied("robosuite").protocol(), varied("robosuite", "dim").protocol()
    assert "variation" not in plain
    assert dim == {**plain, "variation": [{"kind": "light", "red": 0.4, "green": 0.4, "blue": 0.4}]}
    assert protocol_sha256(dim) == protocol_sha256(
        varied("robosuite", {"light": dict.fromkeys(("red", "green", "blue"), 0.4)}).protocol()
    )


def test_a_camera_moves_and_turns_about_its_own_axes_one_change_after_the_other() -> None:
    axes = np.stack([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], axis=1)  # right, up and back of one that looks along -x
    pos, turned = moved(np.array([1.0, 0.0, 1.0]), axes, [Camera(right_m=0.1, up_m=0.2, back_m=0.3)])
    np.testing.assert_allclose(pos, [1.3, 0.1, 1.2])
    np.testing.assert_allclose(turned, axes)
    _, turned = moved(pos, axes, [Camera(left_deg=90)])
    np.testing.assert_allclose(-turned[:, 2], [0, -1, 0], atol=1e-12)  # it looks where its left was
    _, turned = moved(pos, axes, [Camera(raised_deg=90)])
    np.testing.assert_allclose(-turned[:, 2], [0, 0, 1], atol=1e-12)
    _, turned = moved(pos, axes, [Camera(rolled_deg=90)])
    np.testing.assert_allclose(turned[:, 0], [0, 0, 1], atol=1e-12)  # its right side is up
    pos, _ = moved(np.zeros(3), axes, [Camera(left_deg=90), Camera(back_m=1)])
    np.testing.assert_allclose(pos, [0, 1, 0], atol=1e-12)
    assert light_factors([Light(red=0.5), Noise(3), Light(red=0.5, blue=2)]) == (0.25, 1.0, 2.0)


def test_noise_is_of_the_moment_and_blur_of_the_size() -> None:
    picture, moment = np.full((64, 64, 3), 100, np.uint8), np.arange(5.0)
    noisy = altered(picture, [Noise(15)], "task/0/0/primary", moment)
    np.testing.assert_array_equal(altered(picture, [Noise(15)], "task/0/0/primary", moment.copy()), noisy)
    assert 14 < (noisy.astype(float) - 100).std() < 16
    others = [("task/1/0/primary", moment), ("task/0/0/wrist", moment), ("task/0/0/primary", moment + 1)]
    assert all((altered(picture, [Noise(15)], name, state) != noisy).any() for name, state in others)
    twice = altered(picture, [Noise(15), Noise(15)], "task/0/0/primary", moment)
    assert 20 < (twice.astype(float) - 100).std() < 22.5
    assert (noisy.astype(float) - 100).std() > 4 * (altered(noisy, [Blur(0.05)], "", moment).astype(float) - 100).std()


def test_robosuite_has_the_plain_physics_and_other_pictures_in_any_order() -> None:
    found = []
    for variation in ((), ("camera_left", "dim")):
        env = varied("robosuite", *variation, image_size=64).make_env(("primary", "wrist"))
        found.append([after(env, trial) for trial in (0, 1)])
        again = [after(env, trial) for trial in (1, 0)]
        assert all(np.array_equal(a[key], b[key]) for a, b in zip(found[-1], reversed(again), strict=True) for key in a)
        env.close()
    for plain, other in zip(*found, strict=True):
        np.testing.assert_array_equal(other["physics"], plain["physics"])
        assert all(other[camera].mean() < 0.6 * plain[camera].mean() for camera in ("primary", "wrist"))


@pytest.mark.parametrize("name", ["libero_goal", "calvin_d", pytest.param("simpler_google_va", marks=pytest.mark.slow)])
def test_the_camera_of_every_simulator_moves_and_its_physics_do_not(name: str) -> None:
    if name.startswith("libero"):
        need_assets("libero")
    need_suite(name)
    pictures = []
    for variation in ([], [{"camera": {"right_m": -0.05}}]):
        env = varied(name, *variation).make_env(("primary",))
        pictures.append(after(env, 0))
        env.close()
    plain, left = pictures
    np.testing.assert_array_equal(left["physics"], plain["physics"])
    width = plain["primary"].shape[1]

    def unlike(shift: int) -> float:
        """How far the pictures agree once the plain one is moved to the right."""
        ours, theirs = (picture["primary"].astype(float) for picture in pictures)
        return float(np.abs(ours[:, : width - shift] - theirs[:, shift:]).mean())

    # A camera that stands to the left sees everything farther to the right.
    assert min(map(unlike, range(4, width // 4))) < 0.8 * unlike(0)


def test_an_episode_is_told_its_trials_paraphrase(tmp_path: Path) -> None:
    file = tmp_path / "words.json"
    plain = {task.instruction: f"please {task.instruction}" for task in varied("robosuite").tasks()}
    file.write_text(json.dumps({**plain, "lift the red cube": ["raise the cube", "heave the cube"]}))
    env = varied("robosuite", {"words": {"file": str(file)}}, image_size=64).make_env(())
    told = [env.reset(options={"trial": trial})[0]["instruction"] for trial in (2, 1, 0)]
    assert told == ["raise the cube", "heave the cube", "raise the cube"]
    assert env.reset(options={"task": "stack"})[0]["instruction"] == "please put the red cube on top of the green cube"
    env.close()


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Own instructions: two sentences for one task of robosuite, one for another."""
    file = tmp_path / "words.yaml"
    file.write_text("lift: [raise the block, schnapp dir den Würfel]\ndoor: open it\n", encoding="utf-8")
    return file


def test_own_instructions_are_told_by_task_and_every_sentence_is_a_variation(words: Path) -> None:
    suite = varied("robosuite", instructions=str(words))
    env = suite.make_env(())
    told = [env.reset(options={"task": "lift", "trial": trial})[0]["instruction"] for trial in range(3)]
    assert told == ["raise the block", "schnapp dir den Würfel", "raise the block"]
    env.reset(options={"task": "stack"})
    assert env.told(env.instruction, env.asked) == "put the red cube on top of the green cube"
    env.close()
    changed = {(task, trial): suite.variant(task, trial) for task in ("lift", "stack") for trial in range(2)}
    assert {key: (v.category, v.plain_trial) for key, v in changed.items() if v} == {
        ("lift", 0): ("own instruction 1", 0),
        ("lift", 1): ("own instruction 2", 1),
        ("stack", 0): ("the suite's instruction", 0),
        ("stack", 1): ("the suite's instruction", 1),
    }
    assert suite.protocol()["variation"] == [
        {"kind": "words", "tasks": (("door", ("open it",)), ("lift", ("raise the block", "schnapp dir den Würfel")))}
    ]
    assert suite.plain_suite == "robosuite"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("lfit: raise it", r"suite\.instructions: unknown task of robosuite 'lfit'\. Did you mean 'lift'"),
        ("lift: []", r"words\.yaml is not a file of instructions that can be read: lift"),
        ("lift: 3", r"words\.yaml is not a file of instructions that can be read: lift"),
        ("{}", r"words\.yaml is not a file of instructions that can be read"),
        ("lift: ' '", r"lift: a sentence must be one line of at most 512 characters, none of them a control character; got ' '"),
        ('lift: "a\\u001bb"', r"lift: a sentence must be one line"),
        ("[", r"not YAML"),
    ],
)
def test_what_are_no_instructions_is_refused_in_a_sentence(content: str, said: str, words: Path) -> None:
    words.write_text(content)
    with pytest.raises(ConfigError, match=said) as caught:
        varied("robosuite", instructions=str(words))
    assert "\n" not in str(caught.value)


def test_words_are_changed_once_and_only_where_they_are_not_the_benchmarks(words: Path, tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text('{"a": "b"}')
    with pytest.raises(ConfigError, match=r"a sentence cannot be said in two ways at a time"):
        varied("robosuite", {"words": {"file": str(tmp_path / "words.json")}}, instructions=str(words))
    with pytest.raises(ConfigError, match=r"words cannot be changed in libero_para"):
        varied("libero_para", instructions=str(words))


def test_one_sentence_is_for_the_one_task_that_is_run() -> None:
    said = {"lift": "raise it, please"}
    for chosen in ("lift", "0"):
        config = load_config([f"tasks=[{chosen}]", "suite.instruction=raise it, please"])
        assert config.legs[0].suite["instructions"] == said
    for overrides in ([], ["tasks=[lift,door]"], ["tasks=[99]"]):
        with pytest.raises(ConfigError, match=r"one sentence for one task: choose it with tasks=\[NAME\] \(of lift"):
            load_config(["suite.instruction=raise it", *overrides])
    # where a suite has a setting of that name, it is that setting
    assert (
        load_config(["suite=libero_plus_goal", "suite.instruction=clean", "policy=random"]).legs[0].suite["instruction"] == "clean"
    )


def test_calvins_annotations_are_of_its_subtasks(tmp_path: Path) -> None:
    file = tmp_path / "enriched.json"
    file.write_text(json.dumps({"open_drawer": ["pull the drawer", "slide the drawer open"]}))
    config = load_config(["suite=calvin_d", "policy=random", f"suite.annotations={file}"])
    suite = make_suite(config.legs[0].suite)
    file.write_text(json.dumps({"open_drawr": "pull it"}))
    with pytest.raises(ConfigError, match="Did you mean 'open_drawer'"):
        make_suite(config.legs[0].suite)
    need_suite("calvin_d")
    env = suite.make_env(())
    env.reset(options={"trial": 3, "subtasks": ("open_drawer", "close_drawer")})
    assert env.told(env.instruction, env.asked) == "slide the drawer open"
    assert env.told("push it", "close_drawer") == "push it"
    env.close()
