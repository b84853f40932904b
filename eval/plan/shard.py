"""A shard of a run: one of several processes, on any machines, that each run a part of one plan and know nothing of each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ...errors import ConfigError

T = TypeVar("T")

AUTO = "auto"
_MOST = 100_000
_WRITTEN = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True, order=True)
class Shard:
    """One of `count` parts.

    Attributes:
        number: Which, from 1.
        count: How many there are.

    Raises:
        ConfigError: There is no such part.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= _MOST:
            raise ConfigError(
                f"shard={self.number}/{self.count}: there is no such shard; {self.count or 'N'} of them are numbered 1 to "
                f"{self.count or 'N'} (at most {_MOST})."
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def slug(self) -> str:
        """The shard in the names of files."""
        return f"shard-{self.number}-of-{self.count}"

    def of(self, plan: Sequence[T]) -> Sequence[T]:
        """Its part: a stretch of the plan, so that a shard has few tasks, whose models it compiles, and perhaps one checkpoint."""
        return plan[len(plan) * (self.number - 1) // self.count : len(plan) * self.number // self.count]


def shard_of(setting: str | None, environment: Mapping[str, str]) -> Shard | None:
    """The shard that a setting means; None for a run that has none.

    Args:
        setting: ``3/64``, or ``auto`` for what the scheduler says.
        environment: Where schedulers say it.

    Raises:
        ConfigError: It means none.
    """
    if setting is None:
        return None
    if setting == AUTO:
        return _scheduled(environment)
    written = _WRITTEN.fullmatch(setting)
    if written is None:
        raise ConfigError(f"shard must be N/M, such as 3/64, or auto; got {setting!r}.")
    return Shard(int(written[1]), int(written[2]))


def _scheduled(environment: Mapping[str, str]) -> Shard:
    """What Slurm (https://slurm.schedmd.com/job_array.html), a Kubernetes indexed job, or another scheduler says."""
    if "SLURM_ARRAY_TASK_ID" in environment:
        return _slurm_array(environment)
    if "JOB_COMPLETION_INDEX" in environment:  # Kubernetes tells a pod its index, and nothing of their number
        return Shard(_number(environment, "JOB_COMPLETION_INDEX") + 1, _number(environment, "JOB_COMPLETIONS"))
    for index, count in _FROM_ZERO:
        if index in environment:
            return Shard(_number(environment, index) + 1, _number(environment, count))
    raise ConfigError(
        "shard=auto finds no scheduler here: no SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX (with JOB_COMPLETIONS), "
        f"{', '.join(index for index, _ in _FROM_ZERO)} is set. Give shard=N/M."
    )


# Index (from 0) and count: Google Batch, Cloud Run, AWS Batch (whose job has to pass its size on), the tasks of one srun.
_FROM_ZERO = (
    ("BATCH_TASK_INDEX", "BATCH_TASK_COUNT"),
    ("CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT"),
    ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)


def _slurm_array(environment: Mapping[str, str]) -> Shard:
    task, first, last, count = (_number(environment, f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "MIN", "MAX", "COUNT"))
    step = _number(environment, "SLURM_ARRAY_TASK_STEP") if "SLURM_ARRAY_TASK_STEP" in environment else 1
    if step < 1 or (last - first) // step + 1 != count or (task - first) % step:
        raise ConfigError(
            f"shard=auto cannot tell which of {count} tasks of Slurm's array number {task} is: they are not one range "
            f"({first} to {last}). Give shard=N/M, with the M of the first submission: shard=$((SLURM_ARRAY_TASK_ID + 1))/M."
        )
    return Shard((task - first) // step + 1, count)


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name)
    if text is None or not re.fullmatch(r"\d{1,9}", text):
        found = "it is not set" if text is None else f"it is {text!r}"
        raise ConfigError(f"shard=auto needs a number in {name}; {found}. Set it in the job, or give shard=N/M.")
    return int(text)
