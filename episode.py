"""The records every part of vlagym knows: what an episode is, what it varies, and what came of it.

They are frozen and serialise to plain JSON, so that a run can be planned in one process, executed in others, interrupted, resumed
and compared years later from its files alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from urllib.parse import quote, unquote

import msgspec
from msgspec import Meta, Struct

from .edges.files import MAX_DEPTH, deeper_than, explained
from .edges.text import printable
from .errors import RunError

EndedBy = Literal["success", "failure", "horizon", "policy"]
_Number = Annotated[int, Meta(ge=0, lt=2**53)]
_Steps = Annotated[int, Meta(ge=0, lt=2**31)]
_Name = Annotated[str, Meta(min_length=1, max_length=1000)]


@dataclass(frozen=True, order=True)
class EpisodeSpec:
    """One rollout to do. Everything the simulator does in it follows from these four values, the suite's protocol and the actions.

    Attributes:
        suite: Name of the suite, e.g. ``libero_goal``.
        task: Name of the task within the suite.
        trial: Index of the initial state or variation, from 0.
        seed: Seeds the policy's generator, and the scene where the suite's protocol lets it.
    """

    suite: str
    task: str
    trial: int
    seed: int = 0

    @property
    def id(self) -> str:
        """A string that names the episode uniquely and can be parsed back, e.g. ``libero_goal/put_the_bowl_on_the_plate/3/0``."""
        return f"{_quoted(self.suite)}/{_quoted(self.task)}/{self.trial}/{self.seed}"

    @classmethod
    def from_id(cls, episode_id: str) -> EpisodeSpec:
        """Inverse of `id`.

        Raises:
            ValueError: The string has another form.
        """
        parts = episode_id.split("/")
        if len(parts) != 4:
            raise ValueError(f"not an episode id (SUITE/TASK/TRIAL/SEED): {episode_id!r}")
        return cls(unquote(parts[0]), unquote(parts[1]), int(parts[2]), int(parts[3]))


@lru_cache(maxsize=2**14)  # a run has far fewer names than episodes
def _quoted(name: str) -> str:
    return quote(name, safe="")


class Variant(NamedTuple):
    """What a trial of a perturbation suite changes, and the plain trial that it is paired with.

    Attributes:
        name: What upstream calls it.
        category: The kind of change; tables have a row for each.
        level: How difficult it is, from 1; None where nothing is said of it.
        plain_trial: Trial of the same task in the suite's `plain_suite`.
        weight: What its success counts in the suite's `weighted_total`.
    """

    name: str
    category: str
    level: int | None
    plain_trial: int
    weight: float = 1.0


@dataclass(frozen=True)
class SubtaskResult:
    """One link of an episode that is a chain of subtasks (CALVIN) or changes its instruction on the way (SimplerEnv)."""

    name: str
    instruction: str
    success: bool
    first_success_step: _Steps | None
    steps: _Steps


_Amount = Annotated[float, Meta(ge=0)]


@dataclass(frozen=True)
class Timing:
    """What an episode came to on the simulated clock of a run with ``realtime`` (see `vlagym.eval.plan.realtime`).

    Attributes:
        decisions: Answers of the policy that were acted on.
        held_steps: Steps in which the robot only held still, because no answer was there.
        seconds: Simulated time, from the first observation to the end; a world that stops for the policy takes its time too.
        completion_s: Simulated time until the success condition first held; None if it never did.
        path_length_m: Of the tool; None where a suite's state does not say where that is.
        mean_squared_jerk: Of the tool, m^2/s^6: third differences of its position from step to step.
    """

    decisions: _Steps
    held_steps: _Steps
    seconds: _Amount
    completion_s: _Amount | None
    path_length_m: _Amount | None
    mean_squared_jerk: _Amount | None


@dataclass(frozen=True)
class EpisodeResult:
    """What came of one episode.

    Attributes:
        success: The reading of success that the suite's protocol counts; None when the episode could not be run.
        success_at_end: Whether the success condition held after the last step.
        success_ever: Whether it held after any step.
        first_success_step: The 1-based step after which it first held.
        steps: Policy steps executed (settle steps are not counted).
        ended_by: ``success``, ``failure`` (the protocol ends the episode early), ``horizon`` or ``policy`` (it asked to stop).
        subtasks: Links of a chain, in order; empty for an episode with a single instruction.
        initial_state_sha256: Hash of the physics state the policy starts from.
        final_state_sha256: Hash of the physics state after the last step.
        error: Why the episode could not be run; None otherwise. An error is neither a success nor a failure of the policy.
        execution: What may differ between two runs of the same episode: worker, attempts, times in seconds, file names.
        timing: What it came to on the simulated clock; None where the world waited for the policy.
    """

    spec: EpisodeSpec
    instruction: str
    success: bool | None
    success_at_end: bool | None
    success_ever: bool | None
    first_success_step: int | None
    steps: int
    ended_by: EndedBy | None
    initial_state_sha256: str | None
    final_state_sha256: str | None
    subtasks: tuple[SubtaskResult, ...] = ()
    error: str | None = None
    execution: Mapping[str, Any] = field(default_factory=dict)
    timing: Timing | None = None

    @property
    def outcome(self) -> EpisodeResult:
        """What must be the same whenever the episode is run: all but `execution`."""
        return replace(self, execution={})

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, the spec's four fields first; without a timing where there is none."""
        # By hand: `dataclasses.asdict` takes 20 times as long, and a merge writes many thousands.
        record = {**vars(self.spec), **vars(self), "subtasks": [dict(vars(link)) for link in self.subtasks]}
        record["execution"] = dict(self.execution)
        timing = record.pop("timing")
        del record["spec"]
        return record if timing is None else {**record, "timing": dict(vars(timing))}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> EpisodeResult:
        """Inverse of `to_json`.

        Raises:
            RunError: A field is missing or of the wrong kind.
        """
        try:
            return _result(msgspec.convert(dict(record), _Record))
        except (msgspec.MsgspecError, ValueError) as error:
            raise RunError(f"not an episode record of this version of vlagym: {explained(error)} in {str(record)[:200]}") from error

    @classmethod
    def from_line(cls, line: bytes) -> EpisodeResult:
        """The result in a line of episodes.jsonl.

        Raises:
            ValueError: What is wrong with it, in words.
        """
        try:
            line.decode("utf-8")  # keys that are skipped are not looked at otherwise
            return _result(_RECORD_DECODER.decode(line))
        except UnicodeDecodeError as error:
            raise ValueError(f"byte {line[error.start]:#04x} is not UTF-8") from error
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        except msgspec.MsgspecError as error:
            raise ValueError(explained(error)) from error


_File = Annotated[str, Meta(max_length=1000, pattern=r"\A[^\x00-\x1f\x7f]+\Z")]


class _Execution(TypedDict, total=False):
    worker: int
    attempts: int
    peak_rss_mb: float
    seconds: dict[str, float]
    trajectory: _File | None
    video: _File | None
    video_error: str | None


class _Record(Struct):
    """What a line of episodes.jsonl must hold; a newer version may have added keys."""

    suite: _Name
    task: _Name
    trial: _Number
    seed: _Number
    instruction: str
    success: bool | None
    success_at_end: bool | None
    success_ever: bool | None
    first_success_step: _Steps | None
    steps: _Steps
    ended_by: EndedBy | None
    initial_state_sha256: str | None
    final_state_sha256: str | None
    subtasks: tuple[SubtaskResult, ...]
    error: str | None
    execution: dict[str, Any]
    timing: Timing | None = None


_RECORD_DECODER = msgspec.json.Decoder(_Record)
_KNOWN_OF_EXECUTION = frozenset(_Execution.__annotations__)


def _result(record: _Record) -> EpisodeResult:
    """The record as the result it is of, its texts without control characters."""
    if (record.success is None) != (record.error is not None):
        raise ValueError("success: expected true or false, or null and an error")
    _check_execution(record.execution)
    return EpisodeResult(
        EpisodeSpec(record.suite, record.task, record.trial, record.seed),
        printable(record.instruction),
        record.success,
        record.success_at_end,
        record.success_ever,
        record.first_success_step,
        record.steps,
        record.ended_by,
        record.initial_state_sha256,
        record.final_state_sha256,
        record.subtasks,
        None if record.error is None else printable(record.error),
        record.execution,
        record.timing,
    )


def _check_execution(execution: dict[str, Any]) -> None:
    try:
        msgspec.convert(execution, _Execution)
    except msgspec.ValidationError as error:
        raise ValueError(f"execution.{explained(error)}") from error
    if not execution.keys() <= _KNOWN_OF_EXECUTION and deeper_than(execution, MAX_DEPTH):
        raise ValueError("execution: it is nested too deeply")
