"""Instructions in any language pass the contract, and reach a policy through gymnasium's vector environments."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium
import pytest
from gymnasium.spaces.utils import flatten, flatten_space, unflatten
from toy_suite import ToyEnv, ToySuite

from vlagym.envs import Task, check_suite
from vlagym.envs.sentences import Sentence

SENTENCES = ("把碗放到盘子上", "push “it” … now", "lift the red cube", "kéo ngăn kéo", "x")


@dataclass(frozen=True)
class Polyglot(ToySuite):
    """Tasks in several scripts, one with a long name."""

    def tasks(self):
        names = ("push_right", "推_a/b", "pick_up_" + "and_turn_" * 24, "sp ace: 1?")
        return tuple(Task(name, sentence, self.trials, 10) for name, sentence in zip(names, SENTENCES, strict=False))

    def make_env(self, cameras):
        return PolyglotEnv(self, cameras)


class PolyglotEnv(ToyEnv):
    @property
    def instruction(self):
        return self._task.instruction


def test_a_suite_in_any_language_keeps_the_contract():
    for task in range(4):
        check_suite(Polyglot(), task=task)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_survives_being_flattened(sentence):
    space = Sentence(40)
    assert sentence in space
    flat = flatten(space, sentence)
    assert flat in flatten_space(space)
    assert unflatten(space, flat) == sentence


def test_what_is_no_sentence_is_refused():
    for wrong in ("", "x" * 41, "a\x00b", "a\x1b[31m", 3, None):
        assert wrong not in Sentence(40)
    assert Sentence(40).sample() in Sentence(40)


def test_vector_environments_carry_the_instruction():
    vector = gymnasium.vector.AsyncVectorEnv([make_polyglot] * 2)
    try:
        for task in (0, 1, 2):
            observations, _ = vector.reset(seed=[0, 1], options={"task": task, "trial": 1})
            assert tuple(observations["instruction"]) == (SENTENCES[task],) * 2
        observations, *_ = vector.step(vector.action_space.sample())
        assert tuple(observations["instruction"]) == (SENTENCES[2],) * 2
    finally:
        vector.close()


def make_polyglot():
    return Polyglot().make_env(())


def test_without_copies_too_it_is_what_holds_now():
    vector = gymnasium.vector.AsyncVectorEnv([make_polyglot] * 2, copy=False)
    try:
        first, _ = vector.reset(options={"task": 0})
        vector.reset(options={"task": 1})
        assert list(first["instruction"]) == [SENTENCES[1]] * 2
        assert first["instruction"][0] == SENTENCES[1]
        assert len(first["instruction"]) == 2
    finally:
        vector.close()
