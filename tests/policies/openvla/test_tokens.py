"""Prompts and action tokens against upstream's recorded ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vlagym.errors import ConfigError, PolicyError
from vlagym.policies.openvla.tokens import ActionTokenizer, PromptTokenizer, build_prompt


def test_every_recorded_string_gets_upstreams_ids(golden: Path, checkpoint: Path) -> None:
    tokenizer = PromptTokenizer(checkpoint / "tokenizer.json")
    cases = json.loads((golden / "openvla_tiny" / "tokenizer_golden.json").read_text())
    cases = cases if isinstance(cases, list) else next(value for value in cases.values() if isinstance(value, list))
    assert len(cases) > 5
    for case in cases:
        assert list(tokenizer(case["text"])) == case["input_ids_as_fed_to_generate"], case["text"]


def test_prompts_are_upstreams(golden: Path) -> None:
    meta = json.loads((golden / "openvla_tiny" / "golden_meta.json").read_text())
    assert [build_prompt(task) for task in meta["tasks"]] == meta["prompts"]
    first_release = build_prompt("Lift IT", "openvla-v01")
    assert first_release.endswith("USER: What action should the robot take to lift it? ASSISTANT:")


@pytest.mark.parametrize("instruction", ["", "  \n"])
def test_an_empty_instruction_is_refused(instruction: str) -> None:
    with pytest.raises(PolicyError, match="the instruction is empty"):
        build_prompt(instruction)


def test_an_unknown_prompt_style_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown prompt style"):
        build_prompt("lift it", "openvla-v02")


def test_action_tokens_equal_upstream(golden: Path) -> None:
    recorded = np.load(golden / "openvla_tiny" / "action_tokenizer.npz")
    tokenizer = ActionTokenizer(32000, 256)
    np.testing.assert_array_equal(tokenizer.encode(recorded["values"]), recorded["token_ids"])
    np.testing.assert_array_equal(tokenizer.decode(recorded["decode_ids"]), recorded["decode_values"])
    assert (tokenizer.ids.start, tokenizer.ids.stop) == (31744, 32000)


def test_a_damaged_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="tokenizer.json is missing"):
        PromptTokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(PolicyError, match="is not a tokenizer"):
        PromptTokenizer(tmp_path / "tokenizer.json")
