"""A run's results in the form of LeRobot's ``eval_info.json`` (lerobot 0.4, src/lerobot/scripts/lerobot_eval.py, eval_policy_all).

LeRobot's suites are task groups and its tasks numbers. Its rewards are those of sparse benchmarks: 1 for an episode that counts as
a success, 0 for another. Errors have no place there, so only complete runs are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tables.runs import Run


def eval_info(run: Run) -> dict[str, Any]:
    """The content of eval_info.json.

    Args:
        run: A complete run. Episodes of a task come by trial, then by seed.
    """
    tasks: list[dict[str, Any]] = []
    for leg in run.header["legs"]:
        for number, task in enumerate(leg["tasks"]):
            of_task = [r for r in run.results if (r.spec.suite, r.spec.task) == (leg["suite"], task["name"])]
            results = sorted(of_task, key=lambda result: (result.spec.trial, result.spec.seed))
            successes = [bool(result.success) for result in results]
            videos = [str(result.execution["video"]) for result in results if result.execution.get("video")]
            rewards = [float(success) for success in successes]
            metrics = {"sum_rewards": rewards, "max_rewards": rewards, "successes": successes, "video_paths": videos}
            tasks.append({"task_group": leg["suite"], "task_id": number, "metrics": metrics})
    groups = {leg["suite"]: [task for task in tasks if task["task_group"] == leg["suite"]] for leg in run.header["legs"]}
    seconds = sum(float(result.execution.get("seconds", {}).get("total", 0.0)) for result in run.results)
    timing = {"eval_s": seconds, "eval_ep_s": seconds / max(1, len(run.results))}
    return {
        "per_task": tasks,
        "per_group": {suite: _aggregated(of_suite) for suite, of_suite in groups.items()},
        "overall": {**_aggregated(tasks), **timing},
    }


def _aggregated(tasks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over episodes, as LeRobot takes them: a task counts by its number of episodes."""
    successes = [success for task in tasks for success in task["metrics"]["successes"]]
    rate = sum(successes) / len(successes)
    videos = [video for task in tasks for video in task["metrics"]["video_paths"]]
    return {
        "avg_sum_reward": rate,
        "avg_max_reward": rate,
        "pc_success": 100 * rate,
        "n_episodes": len(successes),
        "video_paths": videos,
    }
