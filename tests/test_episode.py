from __future__ import annotations

import json

import pytest

from vlagym import EpisodeResult, EpisodeSpec, SubtaskResult
from vlagym.errors import RunError


@pytest.mark.parametrize("task", ["lift", "a/b", "50 % of it", "ünïcode"])
def test_an_episode_id_can_be_parsed_back(task: str) -> None:
    spec = EpisodeSpec("libero_goal", task, 3, 7)
    assert EpisodeSpec.from_id(spec.id) == spec


def test_a_result_survives_json() -> None:
    subtask = SubtaskResult("open_drawer", "open the drawer", True, 40, 41)
    result = EpisodeResult(
        EpisodeSpec("calvin_d", "chain", 0), "open the drawer", False, False, False, None, 401, "failure", "a", "b", (subtask,)
    )
    assert EpisodeResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_record_of_another_format_is_refused() -> None:
    with pytest.raises(RunError, match="not an episode record"):
        EpisodeResult.from_json({"suite": "x", "success": True})
