"""`vla-eval bench`: environment throughput and where its time goes, against the stock loop and against the floor, in one call.

All figures are of steady state: each process runs one episode to warm up (imports, model compilation, just-in-time compilers) that
is not counted. Compare ratios within one call, not seconds between calls: machines are shared and noisy.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from ..._registry import unknown_name
from ...envs.env import VlaEnv
from ...envs.spec import Task
from ...envs.suite import StockEpisode, Suite
from ...episode import EpisodeResult, EpisodeSpec
from ...errors import ConfigError, EnvError
from ...policies.base import episode_generator
from ...policies.random import RandomPolicy
from ..plan.launcher import read_launcher
from ..record.events import Subscriber
from ..run.launchers import make_launcher
from ..run.rollout import RecordSettings
from ..run.runner import Runner
from ..run.workers import worker_settings
from .processes import in_processes

if TYPE_CHECKING:
    from numpy.typing import NDArray

STAGES = ("reset", "physics", "controller", "rendering", "transport", "video", "idle")


@dataclass(frozen=True)
class Measurement:
    """Steady-state figures of one way to run the same episodes.

    Attributes:
        loop: ``vlagym``, ``stock`` or ``floor``.
        chunk: Actions per policy call; 0 for the stock loop, which draws every step.
        workers: Processes running at the same time.
        launcher: What started them.
        episodes: Number of measured episodes.
        steps: Policy steps per episode.
        seconds: Mean wall-clock time of an episode in its process.
        cpu_seconds: Mean processor time of an episode.
        construction: Mean time to build the environment and compile the model, once per process (not in `seconds`).
        peak_rss_mb: Most memory of any of its processes.
        stages: Mean seconds of an episode per stage; what is left of `seconds` is ``other``.
    """

    loop: str
    chunk: int
    workers: int
    episodes: int
    steps: float
    seconds: float
    cpu_seconds: float
    construction: float = float("nan")
    peak_rss_mb: float = float("nan")
    stages: dict[str, float] | None = None
    launcher: str = "local"

    @property
    def episodes_per_hour(self) -> float:
        """Of all processes together."""
        return 3600 * self.workers / self.seconds

    @property
    def seconds_per_step(self) -> float:
        """Of one process; what ways to run episodes are compared by, because their episodes may differ in length."""
        return self.seconds / self.steps

    @property
    def steps_per_second(self) -> float:
        """Of all processes together."""
        return self.workers * self.steps / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, derived figures included."""
        return {**asdict(self), "episodes_per_hour": self.episodes_per_hour, "steps_per_second": self.steps_per_second}


def measure(suite: Suite, settings: dict[str, Any]) -> list[Measurement]:
    """Run every combination of chunk, launcher and number of workers, the floor of each, and the stock loop if asked for.

    Raises:
        ConfigError: A setting has no meaning.
        EnvError: The stock loop ended in another state than vlagym did: the comparison would be worthless.
    """
    if settings["against"] not in (None, "stock"):
        raise ConfigError(f"against={settings['against']}: only against=stock is known.")
    task = _find_task(suite, settings["task"])
    measurements = []
    for workers in settings["workers"]:
        finals: dict[int, str] = {}
        for chunk in settings["chunks"]:
            for launcher in settings["launchers"]:
                measurement, results = _measure_vlagym(suite, task, chunk, workers, launcher, settings)
                measurements.append(measurement)
                finals |= {result.spec.trial: str(result.final_state_sha256) for result in results if result.spec.seed == 0}
            if settings["floor"] is not False:
                measurements += _measure_floor(suite, task, chunk, workers, settings)
        if settings["against"] == "stock":
            measurements.append(_measure_stock(suite, task, workers, settings["episodes"], finals))
    return measurements


def ratios(measurements: Sequence[Measurement]) -> list[str]:
    """Sentences that compare vlagym with fewer workers and with other launchers, and per step with the stock loop and the floor."""
    lines = []
    for ours in (m for m in measurements if m.loop == "vlagym"):
        alike = [m for m in measurements if (m.loop, m.chunk) == (ours.loop, ours.chunk)]
        fewest = min((m for m in alike if m.launcher == ours.launcher), key=lambda m: m.workers)
        first = next(m for m in alike if m.workers == ours.workers)
        what = f"chunk {ours.chunk}, {ours.workers} workers{_on(ours)}"
        if fewest.workers < ours.workers:
            times = ours.episodes_per_hour / fewest.episodes_per_hour
            lines.append(f"{what}: {times:.2f} x the episodes per hour of {fewest.workers}")
        if first is not ours:
            times = ours.episodes_per_hour / first.episodes_per_hour
            lines.append(f"{what}: {times:.3f} x the episodes per hour of launcher={first.launcher}")
        for other in measurements:
            if other.workers == ours.workers and (other.loop == "stock" or (other.loop == "floor" and other.chunk == ours.chunk)):
                wall = other.seconds_per_step / ours.seconds_per_step
                cpu = (other.cpu_seconds / other.steps) / (ours.cpu_seconds / ours.steps)
                than = "the stock loop's speed" if other.loop == "stock" else "of the floor"
                lines.append(f"{what}: {wall:.2f} x {than} per step (by processor time {cpu:.2f} x)")
    return lines


def _on(measurement: Measurement) -> str:
    return "" if measurement.launcher == "local" else f" on {measurement.launcher}"


def throughput_table(measurements: Sequence[Measurement]) -> Table:
    """Episodes per hour and steps per second."""
    table = Table("loop", "chunk", "workers", "episodes/h", "steps/s", "s/episode", "cpu s/episode", "construction s", "peak MB")
    for m in measurements:
        figures = (m.episodes_per_hour, m.steps_per_second, m.seconds, m.cpu_seconds, m.construction, m.peak_rss_mb)
        formatted = ["-" if np.isnan(figure) else f"{figure:.3g}" if figure < 100 else f"{figure:.0f}" for figure in figures]
        table.add_row(m.loop + _on(m), str(m.chunk or "-"), str(m.workers), *formatted)
    return table


def stage_table(measurements: Sequence[Measurement]) -> Table:
    """Share of an episode's time per stage."""
    table = Table("share of an episode", *STAGES, "other")
    for m in measurements:
        if m.stages is not None:
            shares = [m.stages.get(stage, 0.0) / m.seconds for stage in (*STAGES, "other")]
            table.add_row(f"chunk {m.chunk}, {m.workers} workers{_on(m)}", *(f"{100 * share:.1f} %" for share in shares))
    return table


class _Collect(Subscriber):
    """Collects results, and tells the first of each worker and those begun before all workers were warm from those that count."""

    def __init__(self, workers: int) -> None:
        self.results: list[EpisodeResult] = []
        self.first: dict[int, EpisodeResult] = {}
        self._workers = workers
        self._begun_warm: set[EpisodeSpec] = set()

    @property
    def counted(self) -> list[EpisodeResult]:
        """Results of episodes that ran while every worker was busy with one that counts."""
        return [result for result in self.results if result.spec in self._begun_warm]

    def episode_started(self, spec: EpisodeSpec, worker: int) -> None:
        if len(self.first) == self._workers:
            self._begun_warm.add(spec)

    def episode_ended(self, result: EpisodeResult) -> None:
        if result.error is not None:
            raise EnvError(f"{result.spec.id} could not be run: {result.error}")
        self.results.append(result)
        self.first.setdefault(result.execution["worker"], result)


def _measure_vlagym(
    suite: Suite, task: Task, chunk: int, workers: int, launcher_name: str, settings: dict[str, Any]
) -> tuple[Measurement, list[EpisodeResult]]:
    policy = RandomPolicy(suite, chunk, settings["cameras"])
    count = workers * (settings["episodes"] + 1)
    episodes = [(i, EpisodeSpec(suite.name, task.name, i % task.trials, i // task.trials)) for i in range(count)]
    collected = _Collect(workers)
    with TemporaryDirectory() as folder, closing(make_launcher(read_launcher(launcher_name))) as launcher:
        launcher.open()
        fps = suite.action_spec.control_hz
        record = (
            RecordSettings(Path(folder), "bench", "random", "all", tuple(settings["cameras"]), fps) if settings["video"] else None
        )
        elsewhere = suite.provenance() if launcher.elsewhere else None
        asked = worker_settings(suite, policy, record, elsewhere=elsewhere)
        Runner(policy, asked, workers, 600.0, 1, [collected], launcher=launcher).run(episodes)
    warm = collected.counted
    if not warm:
        raise EnvError(
            f"no episode is left to measure once {workers} workers are warm; ask for more than episodes={settings['episodes']}."
        )
    stages = {stage: _mean(result.execution["seconds"].get(stage, 0.0) for result in warm) for stage in STAGES}
    seconds = _mean(r.execution["seconds"]["total"] - r.execution["seconds"].get("construction", 0.0) for r in warm)
    measurement = Measurement(
        loop="vlagym",
        chunk=chunk,
        workers=workers,
        episodes=len(warm),
        steps=_mean(result.steps for result in warm),
        seconds=seconds,
        cpu_seconds=_mean(result.execution["seconds"]["cpu"] for result in warm),
        construction=_mean(result.execution["seconds"].get("construction", 0.0) for result in collected.first.values()),
        peak_rss_mb=max(result.execution["peak_rss_mb"] for result in collected.results),
        stages={**stages, "other": seconds - sum(stages.values())},
        launcher=launcher_name,
    )
    return measurement, collected.results


def _measure_floor(suite: Suite, task: Task, chunk: int, workers: int, settings: dict[str, Any]) -> list[Measurement]:
    """Physics and the images the policy asks for, with nothing around them; none for a suite that has no floor."""
    cameras = tuple(settings["cameras"])
    timed = in_processes(workers, _floor_episodes, suite, task, cameras, chunk, settings["episodes"], settings["floor"])
    if not any(timed):
        return []
    seconds, cpu_seconds = (_mean(pair[i] for process in timed for pair in process) for i in (0, 1))
    return [Measurement("floor", chunk, workers, workers * settings["episodes"], task.horizon, seconds, cpu_seconds)]


def _floor_episodes(
    suite: Suite, task: Task, cameras: tuple[str, ...], chunk: int, episodes: int, asked: bool | None
) -> list[tuple[float, float]]:
    env = suite.make_env(cameras)
    if not asked and type(env).bare_physics is VlaEnv.bare_physics:
        env.close()
        return []
    env.reset(options={"task": task.name})
    timed = []
    for _ in range(episodes + 1):
        began, began_cpu = time.perf_counter(), time.process_time()
        for step in range(0, task.horizon, chunk):
            for camera in cameras:
                env.draw(env.render_state(), camera, *suite.camera_sizes[camera])
            env.bare_physics(min(chunk, task.horizon - step))
        timed.append((time.perf_counter() - began, time.process_time() - began_cpu))
        env.reset(options={"task": task.name})
    env.close()
    return timed[1:]


def _measure_stock(suite: Suite, task: Task, workers: int, episodes: int, finals: dict[int, str]) -> Measurement:
    actions = [_random_actions(suite, task, trial) for trial in range(episodes + 1)]
    per_process = in_processes(workers, _stock_episodes, suite, task.name, actions)
    for episode_list in per_process:
        for trial, episode in enumerate(episode_list):
            if trial in finals and episode.physics_sha256 != finals[trial]:
                raise EnvError(f"{suite.name}/{task.name} trial {trial}: the stock loop ends in another state than vlagym.")
    counted = [episode for episode_list in per_process for episode in episode_list[1:]]
    return Measurement(
        loop="stock",
        chunk=0,
        workers=workers,
        episodes=len(counted),
        steps=_mean(episode.steps for episode in counted),
        seconds=_mean(episode.seconds for episode in counted),
        cpu_seconds=_mean(episode.cpu_seconds for episode in counted),
    )


def _stock_episodes(suite: Suite, task: str, actions: Sequence[NDArray[np.float32]]) -> list[StockEpisode]:
    return list(suite.stock_episodes(task, actions))


def _random_actions(suite: Suite, task: Task, trial: int) -> NDArray[np.float32]:
    """The actions that `RandomPolicy` takes in an episode, all at once."""
    space = suite.action_spec.space
    generator = episode_generator(EpisodeSpec(suite.name, task.name, trial).id, "random")
    return generator.uniform(space.low, space.high, (task.horizon, suite.action_spec.size)).astype(np.float32)


def _find_task(suite: Suite, name: str | int) -> Task:
    for index, task in enumerate(suite.tasks()):
        if name in (index, task.name):
            return task
    raise unknown_name(f"task of suite {suite.name!r}", str(name), [task.name for task in suite.tasks()])


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))
