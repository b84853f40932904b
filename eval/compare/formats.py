"""What others' evaluations leave, read as their writers write it.

``eval_info.json`` of LeRobot, since 0.4 by task (src/lerobot/scripts/lerobot_eval.py) and before by episode (its eval.py); the
result or aggregate file of vla-evaluation-harness (src/vla_eval/results/collector.py and merge.py); CALVIN's ``results.json``
(calvin_models/calvin_agent/evaluation/utils.py, ``print_and_save``); SimplerEnv's folders of videos
(simpler_env/evaluation/maniskill2_evaluator.py); and the log and the videos of OpenVLA's scripts (see `foreign`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ...edges.files import FileKind
from ...edges.text import printable
from ...errors import ConfigError
from .foreign import ForeignEpisode, ForeignResults, is_rollouts, read_log, read_rollouts
from .simpler import is_simpler, read_simpler

CHAIN = 5  # subtasks of a chain of CALVIN
ROUNDED = 0.1  # how far a count of chains may be from whole: rates are written with four digits or more


def is_foreign(path: Path) -> bool:
    """Whether it is no run of ours: a file, or a folder of others' videos."""
    return path.is_file() or is_rollouts(path) or is_simpler(path)


def read_foreign(path: Path) -> ForeignResults:
    """The episodes that a file or folder of others tells of.

    Raises:
        ConfigError: Not one of those that are read, or damaged.
    """
    if is_simpler(path):
        return read_simpler(path)
    if path.is_dir():
        return ForeignResults(f"{path.name} (videos of the reference script)", read_rollouts(path))
    if path.suffix == ".txt":
        logged = read_log(RESULT_FILE.text(path))
        if not logged:
            raise RESULT_FILE.fault(path, "no log of the reference script: it has no Task: and Success: lines")
        return ForeignResults(f"{path.name} (log of the reference script)", logged)
    return _read_json(path)


def _read_json(path: Path) -> ForeignResults:
    content = RESULT_FILE.json(path)
    if not isinstance(content, dict):
        content = {}
    if "per_task" in content:
        return ForeignResults(f"{path.name} (LeRobot)", _read_lerobot(RESULT_FILE.converted(path, content, _LeRobot)))
    if "per_episode" in content:
        older = RESULT_FILE.converted(path, content, _OlderLeRobot)
        episodes = [ForeignEpisode("", "", trial, bool(episode.success)) for trial, episode in enumerate(older.per_episode)]
        return ForeignResults(f"{path.name} (LeRobot, before 0.4)", episodes)
    if "tasks" in content:
        harness = RESULT_FILE.converted(path, content, _Harness)
        return ForeignResults(f"{path.name} (vla-evaluation-harness)", _read_vla_evaluation_harness(path, harness))
    if (chains := _calvin(path, content)) is not None:
        return _read_calvin(path, chains)
    raise RESULT_FILE.fault(
        path, "neither LeRobot's (per_task or per_episode) nor vla-evaluation-harness's (tasks) nor CALVIN's (avg_seq_len)"
    )


MOST_CHAINS = 1_000_000

RESULT_FILE = FileKind(
    "a complete result file",
    ConfigError,
    "Give LeRobot's eval_info.json, a result file of vla-evaluation-harness, CALVIN's results.json or an EVAL-*.txt, whole.",
)
_Text = Annotated[str, Meta(min_length=1, max_length=1000)]
_Number = Annotated[int, Meta(ge=0, lt=2**31)]
_Outcome = bool | Literal[0, 1]  # LeRobot writes true and false, some of its versions 1 and 0


class _LeRobotMetrics(Struct):
    successes: list[_Outcome]


class _LeRobotTask(Struct):
    task_group: _Text
    task_id: _Number
    metrics: _LeRobotMetrics


class _LeRobot(Struct):
    per_task: list[_LeRobotTask]


class _OlderEpisode(Struct):
    success: _Outcome


class _OlderLeRobot(Struct):
    per_episode: list[_OlderEpisode]


_Rate = Annotated[float, Meta(ge=0, le=1)]


class _Asked(Struct):
    success: _Number
    total: _Number


class _Calvin(Struct):
    avg_seq_len: Annotated[float, Meta(ge=0, le=CHAIN)]
    chain_sr: dict[str, _Rate]
    task_info: dict[str, _Asked] = {}
    num_sequences: _Number | None = None


class _HarnessMetrics(Struct):
    success: _Outcome | None = None
    completed_subtasks: _Number | None = None


class _HarnessEpisode(Struct):
    episode_id: _Number | str | None = None
    metrics: _HarnessMetrics | None = None
    success: _Outcome | None = None  # files of before 2026 keep it here
    completed_subtasks: _Number | None = None
    failure_reason: str | None = None


class _HarnessTask(Struct):
    task: _Text
    episodes: list[_HarnessEpisode]


class _HarnessConfig(Struct):
    params: dict[str, Any] | None = None
    subname: str | None = None


class _Harness(Struct):
    tasks: list[_HarnessTask]
    benchmark: str | None = None
    config: _HarnessConfig | None = None


def _read_lerobot(content: _LeRobot) -> list[ForeignEpisode]:
    return [
        ForeignEpisode(printable(task.task_group), task.task_id, trial, bool(success))
        for task in content.per_task
        for trial, success in enumerate(task.metrics.successes)
    ]


def _read_vla_evaluation_harness(path: Path, content: _Harness) -> list[ForeignEpisode]:
    config = content.config or _HarnessConfig()
    suite = (config.params or {}).get("suite") or config.subname or content.benchmark
    if not isinstance(suite, str):
        raise RESULT_FILE.fault(path, "benchmark: it does not say which")
    episodes = []
    for task in content.tasks:
        for index, episode in enumerate(task.episodes):
            # Of old files the id is a string that ends in the episode's number.
            number = re.search(r"[0-9]{1,9}$", str(index if episode.episode_id is None else episode.episode_id))
            trial = int(number.group()) if number else index
            metrics = episode.metrics or episode
            if metrics.success is None and not episode.failure_reason:
                raise RESULT_FILE.fault(path, f"tasks: episode {index} of {task.task!r} has no success")
            success = None if episode.failure_reason else bool(metrics.success)
            named = printable(task.task)
            episodes.append(ForeignEpisode(printable(suite), named, trial, success, metrics.completed_subtasks))
    return episodes


def _calvin(path: Path, content: dict[str, Any]) -> _Calvin | None:
    """CALVIN's results; None if it is something else. The file has them by checkpoint (epoch), and may have several."""
    if "avg_seq_len" in content:
        return RESULT_FILE.converted(path, content, _Calvin)
    found = {key: value for key, value in content.items() if isinstance(value, dict) and "avg_seq_len" in value}
    if len(found) > 1:
        raise RESULT_FILE.fault(path, f"it has the results of several checkpoints ({', '.join(map(printable, found))}); keep one")
    return RESULT_FILE.converted(path, next(iter(found.values())), _Calvin) if found else None


def _read_calvin(path: Path, content: _Calvin) -> ForeignResults:
    """As many chains with so many subtasks done as its rates say; which chains these were it does not tell."""
    chains = _chains(path, content)
    exact = [chains * content.chain_sr.get(str(links), -1) for links in range(1, CHAIN + 1)]
    reached = [round(count) for count in exact]
    falling = all(more >= fewer for more, fewer in zip([chains, *reached], reached, strict=False))
    whole = all(abs(count - near) < ROUNDED for count, near in zip(exact, reached, strict=True))
    if min(reached) < 0 or not (falling and whole) or abs(sum(reached) - chains * content.avg_seq_len) > 0.5:
        raise RESULT_FILE.fault(path, f"chain_sr and avg_seq_len are not those of {chains} chains of {CHAIN} subtasks")
    done = [sum(trial < count for count in reached) for trial in range(chains)]
    episodes = [ForeignEpisode("", "chain", trial, links == CHAIN, links) for trial, links in enumerate(done)]
    note = f"{path.name} says how many chains got how far, and not which: their order here means nothing."
    return ForeignResults(f"{path.name} (CALVIN)", episodes, ordered=False, notes=(note,))


def _chains(path: Path, content: _Calvin) -> int:
    """How many chains there were: every subtask that was not done ended one."""
    if content.num_sequences:
        return content.num_sequences
    asked = sum(subtask.total for subtask in content.task_info.values())
    done = sum(subtask.success for subtask in content.task_info.values())
    chains = round(done / content.avg_seq_len) if content.avg_seq_len and done else asked
    if not 1 <= chains <= MOST_CHAINS:
        raise RESULT_FILE.fault(path, "it does not say how many chains there were (task_info, or num_sequences)")
    return chains
