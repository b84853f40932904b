"""One episode inside a worker process: reset, chunks of actions, and the recorders that listen to it.

Trajectory and video are recorders; the rollout knows neither by name. Both write their own files here in the worker, so that no
frame travels between processes and encoding scales with the number of workers.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._durable import make_folder
from ...envs.env import ChunkResult, VlaEnv
from ...envs.spec import Observation
from ...episode import EpisodeResult, EpisodeSpec, SubtaskResult
from ...errors import EnvError, RunError, StorageError
from ...trajectory import load_trajectory, save_trajectory
from ..plan.config import VideoChoice
from ..record.caption import known_at, under_way
from ..record.episode_video import EpisodeVideo
from ..record.video import VideoWriter
from .clock import SimulatedClock

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Recorder:
    """Hears one episode after another; every method is optional."""

    def started(self, spec: EpisodeSpec, index: int, env: VlaEnv) -> None:
        """The episode's first observation is about to be drawn."""

    def acting(self, actions: NDArray[np.floating[Any]], done: bool) -> None:
        """These actions are about to be executed, in order, as far as the episode goes; with `done` the policy says it is done."""

    def stepped(self) -> None:
        """One more action has been executed."""

    def ended(self, result: EpisodeResult) -> dict[str, Any]:
        """The episode is over; what is returned is added to `EpisodeResult.execution`."""
        return {}

    def redrawn(self, result: EpisodeResult, index: int, env: VlaEnv) -> dict[str, Any]:
        """An episode of an earlier session, whose scene has been set up, is to be drawn; returns as `ended` does."""
        return {}

    def abandoned(self) -> None:
        """The episode failed on the way and has no result."""


class Rollout:
    """Runs episodes of one environment, one at a time.

    Args:
        env: The environment; kept for the life of the worker.
        recorders: Told of everything that happens.
        clock: Says when answers act; None where the world waits for them.
    """

    def __init__(self, env: VlaEnv, recorders: Sequence[Recorder], clock: SimulatedClock | None = None) -> None:
        self.env = env
        self.recorders = recorders
        self.clock = clock
        self.spec: EpisodeSpec | None = None
        self.steps = 0
        self._began = self._began_cpu = 0.0

    def begin(self, spec: EpisodeSpec, index: int) -> Observation:
        """Start an episode; `index` is its position in the plan."""
        self.spec, self.steps, self._began, self._began_cpu = spec, 0, time.monotonic(), time.process_time()
        self.env.clock.take()
        self._successes: list[bool] = []
        observation, _ = self.env.reset(seed=spec.seed, options={"task": spec.task, "trial": spec.trial})
        self._instruction = observation["instruction"]
        self._initial_sha256 = self.env.physics_sha256()
        if self.clock is not None:
            self.clock.begin(spec)
        for recorder in self.recorders:
            recorder.started(spec, index, self.env)
        return observation

    def advance(self, actions: NDArray[np.floating[Any]], done: bool = False) -> ChunkResult:
        """Execute a chunk of actions float[T, A]; with `done` the policy declares the task accomplished.

        Where there is a clock, what is executed until the next observation is what it makes of the chunk, which acts when the clock
        says so; so does its `done`.
        """
        if self.clock is None:
            return self._execute(actions, done)
        window, before = self.clock.window(actions), self.steps
        if done and window.arrival:
            result = self._execute(window.actions[: window.arrival])
            if result.observation is not None and not result.new_subtask and window.arrival < len(window.actions):
                result = self._execute(window.actions[window.arrival :], done)
        else:
            result = self._execute(window.actions, done)
        self.clock.executed(window, self.steps - before, result.new_subtask)
        return result

    def _execute(self, actions: NDArray[np.floating[Any]], done: bool = False) -> ChunkResult:
        for recorder in self.recorders:
            recorder.acting(actions, done)
        result = self.env.step_chunk(actions, on_step=self._stepped, done=done)
        self.steps += result.executed
        self._successes += result.successes.tolist()
        return result

    def finish(self, ended_by: ChunkResult) -> EpisodeResult:
        """The result of the episode that a chunk ended, files written."""
        assert self.spec is not None
        at_end, ever = self._successes[-1], any(self._successes)
        result = EpisodeResult(
            spec=self.spec,
            instruction=self._instruction,
            success=at_end if self.env.suite.success_rule == "at_end" else ever,
            success_at_end=at_end,
            success_ever=ever,
            first_success_step=self._successes.index(True) + 1 if ever else None,
            steps=self.steps,
            ended_by=ended_by.ended_by,
            initial_state_sha256=self._initial_sha256,
            final_state_sha256=self.env.physics_sha256(),
            subtasks=_links(self.env),
        )
        if self.clock is not None:
            result = replace(result, timing=self.clock.timing(result.first_success_step))
        execution: dict[str, Any] = {}
        for recorder in self.recorders:
            execution |= recorder.ended(result)
        self.spec = None
        seconds = {
            "total": time.monotonic() - self._began,
            "cpu": time.process_time() - self._began_cpu,
            **self.env.clock.take(),
        }
        execution["peak_rss_mb"] = _peak_rss_mb()
        execution["seconds"] = {stage: round(value, 4) for stage, value in seconds.items()}
        return replace(result, execution=execution)

    def draw_again(self, result: EpisodeResult, index: int) -> EpisodeResult:
        """Draw an episode of an earlier session from its trajectory; the result, with the new video.

        Raises:
            EnvError: Its scene would not be the one it was run in.
            RunError: The trajectory cannot be read.
        """
        spec = result.spec
        self.env.reset(seed=spec.seed, options={"task": spec.task, "trial": spec.trial})
        if self.env.physics_sha256() != result.initial_state_sha256:
            raise EnvError(f"the scene of {spec.id} comes out differently now than in the run, so it is not drawn again.")
        execution = {name: value for name, value in result.execution.items() if name != "video_error"}
        for recorder in self.recorders:
            execution |= recorder.redrawn(result, index, self.env)
        return replace(result, execution=execution)

    def abandon(self) -> None:
        """Give up the episode under way, if any."""
        if self.spec is not None:
            for recorder in self.recorders:
                recorder.abandoned()
        self.spec = None

    def _stepped(self) -> None:
        if self.clock is not None:
            self.clock.stepped()
        for recorder in self.recorders:
            recorder.stepped()


@dataclass(frozen=True)
class RecordSettings:
    """What is recorded of every episode of a leg, and where.

    Attributes:
        run_dir: Folder of the run; trajectories/ and videos/ are written below it.
        stamp: Date and time of the run, first part of every video's name.
        policy: Name of the policy, second part of it.
        video: Which episodes get a video.
        cameras: Cameras shown side by side.
        fps: Frames per second of the videos.
        caption: Whether instruction, step and outcome are written above the pictures.
    """

    run_dir: Path
    stamp: str
    policy: str
    video: VideoChoice
    cameras: tuple[str, ...]
    fps: float
    caption: bool = True


class TrajectoryRecorder(Recorder):
    """Writes trajectories/EPISODE.npz: all that is needed to look at an episode again or to replay it (see `vlagym.trajectory`)."""

    def __init__(self, settings: RecordSettings) -> None:
        self._run_dir = settings.run_dir
        try:
            make_folder(self._run_dir / "trajectories")
        except OSError as error:
            raise StorageError(f"{self._run_dir / 'trajectories'} cannot be made: {error.strerror}.") from error

    def started(self, spec: EpisodeSpec, index: int, env: VlaEnv) -> None:
        self._env, self._index = env, index
        self._actions: list[NDArray[np.floating[Any]]] = []
        self._declared: list[int] = []
        self._drawn = env.drawn_state()
        self._render_states = [env.render_state()]
        self._physics_states = [env.physics_state()]

    def acting(self, actions: NDArray[np.floating[Any]], done: bool) -> None:
        if done:
            self._declared.append(len(self._actions))
        self._coming = iter(actions)  # what is left of them when a new subtask begins is never executed

    def stepped(self) -> None:
        self._actions.append(next(self._coming))
        self._render_states.append(self._env.render_state())
        self._physics_states.append(self._env.physics_state())

    def ended(self, result: EpisodeResult) -> dict[str, Any]:
        name = f"trajectories/{episode_file_name(f'episode={self._index}--', result.spec, '.npz')}"
        meta = {
            **asdict(result.spec),
            "instruction": result.instruction,
            "steps": result.steps,
            "success": result.success,
            "done_declared_at": self._declared,
        }
        with self._env.clock("trajectory"):
            save_trajectory(
                self._run_dir / name,
                actions=np.array(self._actions),
                render_states=np.array(self._render_states),
                physics_states=np.array(self._physics_states),
                meta=meta,
                drawn_state=self._drawn,
            )
        return {"trajectory": name}


class VideoRecorder(Recorder):
    """Writes videos/NAME.mp4 with the outcome in the name.

    Frames are drawn while the episode runs where every episode gets a video, so that images the policy asked for are drawn once;
    where only failures do, they are drawn from the recorded moments after the episode turned out to be one.
    """

    def __init__(self, settings: RecordSettings) -> None:
        self._settings = settings
        self._video: EpisodeVideo | None = None
        with suppress(OSError):  # what keeps the folder from being made keeps each video from being written, and is said there
            make_folder(settings.run_dir / "videos")

    def started(self, spec: EpisodeSpec, index: int, env: VlaEnv) -> None:
        self._env, self._index = env, index
        self._task, self._instruction, self._steps = spec.task, env.told(env.instruction, env.asked), 0
        self._moments: list[NDArray[np.float64]] = []
        self._keep = self._settings.video == "failures"
        self._video = self._open() if not self._keep and wants_video(self._settings.video, spec, None) else None
        self._look()

    def stepped(self) -> None:
        self._steps += 1
        self._look()

    def _look(self) -> None:
        if self._video is not None:
            links = _links(self._env) or (under_way(self._task, self._instruction, self._steps),)
            self._add(self._video, [self._env.render(camera) for camera in self._settings.cameras], links)
        elif self._keep:
            self._moments.append(self._env.render_state())

    def ended(self, result: EpisodeResult) -> dict[str, Any]:
        if self._keep and wants_video(self._settings.video, result.spec, result.success):
            return self._draw(self._moments, result)
        return {} if self._video is None else self._finish(self._video, result)

    def redrawn(self, result: EpisodeResult, index: int, env: VlaEnv) -> dict[str, Any]:
        self._env, self._index = env, index
        return self._draw(load_trajectory(self._settings.run_dir / result.execution["trajectory"])["render_states"], result)

    def _draw(self, moments: Iterable[NDArray[np.float64]], result: EpisodeResult) -> dict[str, Any]:
        """Draw an episode from its recorded moments."""
        video = self._open()
        try:
            for step, moment in enumerate(moments):
                with self._env.clock("rendering"):
                    images = [self._env.picture(moment, c, *self._env.suite.camera_sizes[c]) for c in self._settings.cameras]
                self._add(video, images, known_at(result, step))
        except BaseException:  # raised again: whatever stopped the drawing, no half video stays
            video.discard()
            raise
        return self._finish(video, result)

    def _finish(self, video: EpisodeVideo, result: EpisodeResult) -> dict[str, Any]:
        name = f"{self._settings.stamp}--{self._settings.policy}--episode={self._index}--success={result.success}"
        try:
            with self._env.clock("video"):
                path = video.finish(result, episode_file_name(f"{name}--", result.spec, ".mp4"))
        except RunError as error:
            return {"video": None, "video_error": str(error)}
        return {"video": f"videos/{path.name}"}

    def abandoned(self) -> None:
        if self._video is not None:
            self._video.discard()

    def _open(self) -> EpisodeVideo:
        part = f"episode={self._index}.{os.getpid()}.mp4"
        writer = VideoWriter(self._settings.run_dir / "videos", part, self._settings.fps)
        return EpisodeVideo(writer, self._settings.fps, self._settings.caption)

    def _add(self, video: EpisodeVideo, images: Sequence[NDArray[np.uint8]], links: Sequence[SubtaskResult]) -> None:
        with self._env.clock("video"):
            video.add(images, links)


def _links(env: VlaEnv) -> tuple[SubtaskResult, ...]:
    """The results of a chain's links so far, with the words that the policy was told."""
    links, known = env.subtask_results(), env.suite.instructed
    return tuple(
        replace(link, instruction=env.told(link.instruction, link.name if link.name in known else env.asked)) for link in links
    )


def wants_video(choice: VideoChoice, spec: EpisodeSpec, success: bool | None) -> bool:
    """Whether an episode that ended with this success is to have a video."""
    return choice == "all" or (choice == "first_per_task" and spec.trial == 0) or (choice == "failures" and not success)


def _peak_rss_mb() -> float:
    """Most memory this process has ever had resident, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


# Bytes of a name; file systems take 255, and a file being written has a longer name for a while.
_LONGEST_NAME = 240


def episode_file_name(before: str, spec: EpisodeSpec, after: str) -> str:
    """A file's name that says which episode it is of; of a task's name that is too long, the beginning and a hash."""
    seed = f"--seed={spec.seed}" if spec.seed else ""
    name = re.sub(r"[^\w.=+-]", "_", f"suite={spec.suite}--trial={spec.trial}{seed}--task={spec.task}")
    room = _LONGEST_NAME - len(before.encode()) - len(after.encode())
    if len(name.encode()) > room:
        mark = f"--{hashlib.sha256(spec.task.encode()).hexdigest()[:8]}"
        name = name.encode()[: room - len(mark)].decode(errors="ignore") + mark
    return f"{before}{name}{after}"
