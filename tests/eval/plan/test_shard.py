"""Which part of a plan a shard is, and what schedulers say of it."""

from __future__ import annotations

import pytest

from vlagym.errors import ConfigError
from vlagym.eval.plan.shard import Shard, shard_of

SLURM = {"SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "63", "SLURM_ARRAY_TASK_COUNT": "64"}


@pytest.mark.parametrize(("episodes", "count"), [(500, 64), (10, 3), (3, 7), (0, 2), (64, 64)])
def test_shards_make_up_the_plan_in_equal_parts(episodes: int, count: int) -> None:
    parts = [Shard(number, count).of(range(episodes)) for number in range(1, count + 1)]
    assert [episode for part in parts for episode in part] == list(range(episodes))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({**SLURM, "SLURM_ARRAY_TASK_ID": "0"}, "1/64"),
        ({**SLURM, "SLURM_ARRAY_TASK_ID": "63", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, "64/64"),
        (
            {
                "SLURM_ARRAY_TASK_ID": "3",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_MAX": "8",
                "SLURM_ARRAY_TASK_COUNT": "8",
            },
            "3/8",
        ),
        (
            {
                "SLURM_ARRAY_TASK_ID": "10",
                "SLURM_ARRAY_TASK_MIN": "0",
                "SLURM_ARRAY_TASK_MAX": "15",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_STEP": "5",
            },
            "3/4",
        ),
        ({"JOB_COMPLETION_INDEX": "7", "JOB_COMPLETIONS": "8"}, "8/8"),
        ({"BATCH_TASK_INDEX": "1", "BATCH_TASK_COUNT": "3"}, "2/3"),
        ({"CLOUD_RUN_TASK_INDEX": "0", "CLOUD_RUN_TASK_COUNT": "1"}, "1/1"),
        ({"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4"}, "3/4"),
    ],
)
def test_auto_is_what_the_scheduler_says(environment: dict[str, str], shard: str) -> None:
    assert str(shard_of("auto", environment)) == shard


@pytest.mark.parametrize(
    ("setting", "environment", "said"),
    [
        ("0/64", {}, "there is no such shard; 64 of them are numbered 1 to 64"),
        ("65/64", {}, "there is no such shard"),
        ("1/0", {}, "there is no such shard"),
        ("3 of 64", {}, "shard must be N/M, such as 3/64, or auto; got '3 of 64'"),
        ("auto", {}, "shard=auto finds no scheduler here"),
        ("auto", {"JOB_COMPLETION_INDEX": "7"}, "needs a number in JOB_COMPLETIONS; it is not set"),
        ("auto", {"JOB_COMPLETION_INDEX": "x", "JOB_COMPLETIONS": "8"}, "it is 'x'"),
        ("auto", {"JOB_COMPLETION_INDEX": "9", "JOB_COMPLETIONS": "8"}, "there is no such shard"),
        ("auto", {**SLURM, "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_ID": "63"}, "they are not one range"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "3"}, "needs a number in SLURM_ARRAY_TASK_MIN"),
    ],
)
def test_what_names_no_shard_is_refused(setting: str, environment: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        shard_of(setting, environment)
