"""The evaluation chains and their initial states are the benchmark's, generated and stored alike."""

import hashlib
import json

import numpy as np
import pytest

from vlagym.envs.calvin import sequences
from vlagym.envs.calvin.oracle import TASKS
from vlagym.envs.calvin.sequences import (
    CHAINS_SHA256,
    POSSIBLE,
    SUBTASKS,
    can_be_done_in_turn,
    chains_to_json,
    evaluation_chains,
    generate_chains,
    initial_conditions,
    initial_state,
    initial_state_seed,
)
from vlagym.errors import AssetError


def test_there_are_1000_chains_from_192_conditions():
    chains = evaluation_chains()
    assert len(chains) == 1000
    assert {tuple(c.condition.values()) for c in chains} == {tuple(c.values()) for c in initial_conditions()}
    assert len(initial_conditions()) == 192
    assert hashlib.sha256(chains_to_json(chains)).hexdigest() == CHAINS_SHA256


def test_every_chain_can_be_done_in_turn():
    assert all(can_be_done_in_turn(chain.condition, chain.subtasks) for chain in evaluation_chains())


def test_a_subtask_that_is_impossible_or_of_a_category_used_before_breaks_a_chain():
    condition = dict(zip(POSSIBLE, (0, 0, "right", "closed", "table", "slider_left", "slider_right", 0), strict=True))
    assert can_be_done_in_turn(condition, ("open_drawer", "lift_red_block_table", "place_in_drawer"))
    assert not can_be_done_in_turn(condition, ("lift_red_block_table", "place_in_drawer"))  # the drawer is closed
    assert not can_be_done_in_turn(condition, ("turn_on_led", "turn_on_lightbulb"))  # both are lights
    assert not can_be_done_in_turn(condition, ("lift_pink_block_slider",))  # the door is in front of it


def test_chains_are_drawn_from_the_oracles_tasks_in_its_order():
    assert list(SUBTASKS) == list(TASKS) and len(TASKS) == 34


@pytest.mark.parametrize("count", [10, 50])
def test_chains_are_generated_as_upstream_does(golden, count):
    expected = json.loads((golden / "sequences_1000.json").read_text())["other_n"][str(count)]["sha256"]
    np.random.seed(count)
    before = np.random.get_state()[1].copy()
    assert hashlib.sha256(chains_to_json(generate_chains(count))).hexdigest() == expected
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.slow
def test_the_stored_chains_are_the_generated_ones():
    assert generate_chains(1000) == evaluation_chains()


def test_the_stored_chains_are_upstreams(golden):
    expected = json.loads((golden / "sequences_1000.json").read_text())["sequences"]
    assert json.loads(chains_to_json(evaluation_chains())) == expected


def test_a_changed_file_of_chains_is_refused(tmp_path, monkeypatch):
    changed = tmp_path / "chains.json"
    changed.write_bytes(sequences.CHAINS_FILE.read_bytes().replace(b'"turn_on_led"', b'"turn_off_led"', 1))
    monkeypatch.setattr(sequences, "CHAINS_FILE", changed)
    with pytest.raises(AssetError, match="install vlagym again"):
        evaluation_chains.__wrapped__()


def test_all_192_initial_states_are_upstreams(golden):
    recorded = json.loads((golden / "initial_states_192.json").read_text())
    assert len(recorded["states"]) == 192
    for state in recorded["states"]:
        condition = dict(zip(POSSIBLE, state["state"], strict=True))
        assert initial_state_seed(condition) == state["pyhash_fnv1_32"]
        robot_obs, scene_obs = initial_state(condition)
        assert scene_obs.tolist() == state["scene_obs"]
        assert robot_obs.tolist() == recorded["robot_obs"]


def test_the_share_of_chains_that_the_button_revision_touches():
    chains = evaluation_chains()
    assert sum("turn_off_led" in c.subtasks for c in chains) == 185
    assert sum(c.condition["led"] == 1 for c in chains) == 480
