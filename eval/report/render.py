"""Drawing recorded episodes again, at any size and from any camera the simulator has.

A trajectory holds all that a picture depends on, moment by moment; the scene itself comes from the same reset as in the run. With
the cameras, sizes and frame rate of the run the file is the one the run wrote, byte for byte. Nothing of the run is modified.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._parent import PROCESSES
from ...edges.text import differences
from ...envs.env import VlaEnv
from ...envs.registry import make_suite
from ...envs.suite import Suite, protocol_sha256
from ...episode import EpisodeResult, EpisodeSpec
from ...errors import ConfigError, EnvError, RunError, VlagymError
from ...trajectory import load_trajectory
from ..plan.config import Leg
from ..record.caption import FAILED, SOLVED, known_at
from ..record.episode_video import EpisodeVideo
from ..record.video import VideoWriter, side_by_side
from ..run.pool import in_pool
from ..run.rollout import episode_file_name
from ..run.workers import default_worker_count
from ..tables.runs import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

SELECTIONS = ("failures", "successes", "all")
# Frames around a tile of a grid: how the episode ended.
_FRAME_COLOURS = {True: SOLVED, False: FAILED}
_FRAME_WIDTH = 4


@dataclass(frozen=True)
class Drawing:
    """How episodes are drawn.

    Attributes:
        cameras: Shown side by side; None for those of the run's videos.
        size: (height, width) of each camera's picture in pixels; None for the protocol's.
        fps: Frames per second; None for that of the run's videos.
        caption: Whether instruction, step and outcome are written above the pictures; None for what the run's videos have.
    """

    cameras: tuple[str, ...] | None = None
    size: tuple[int, int] | None = None
    fps: float | None = None
    caption: bool | None = None


@dataclass(frozen=True)
class Drawn:
    """What came of drawing one episode: its video and frames per second, or why there is none."""

    result: EpisodeResult
    video: Path | None
    fps: float
    error: str | None = None


def select_episodes(run: Run, which: str) -> list[EpisodeResult]:
    """The results that a selection means: failures, successes, all, or episodes by number or id, separated by commas.

    An episode's number is its position in the plan, as in the names of videos. Episodes that could not be run are never meant.

    Raises:
        ConfigError: An unknown selection or episode, or nothing selected.
    """
    ran = [result for result in run.results if result.error is None]
    if which in SELECTIONS:
        chosen = [r for r in ran if which == "all" or bool(r.success) == (which == "successes")]
    else:
        known = {result.spec: result for result in ran}
        chosen = [known[spec] for spec in (_episode(run, name.strip()) for name in which.split(",")) if spec in known]
    if not chosen:
        raise ConfigError(f"{run.path} has no episodes to draw for --episodes {which} ({len(ran)} of {len(run.plan)} ran).")
    return chosen


def render_episodes(
    run: Run, results: Sequence[EpisodeResult], output: Path, drawing: Drawing, workers: int | None = None
) -> Iterator[Drawn]:
    """Draw episodes in worker processes and yield each as it is done, in the order given.

    Args:
        run: The run they are from.
        results: Which.
        output: Folder for the videos, made if need be.
        drawing: How.
        workers: Processes; one per core by default.

    Raises:
        RunError: This machine's scenes would not be those of the run, or a process died.
        ConfigError: An unknown camera.
    """
    index = {spec: number for number, spec in enumerate(run.plan)}
    with run.config.assets.in_force():
        for leg, header in zip(run.config.legs, run.header["legs"], strict=True):
            jobs = [_job(run, result, index[result.spec], output) for result in results if result.spec.suite == leg.suite["name"]]
            if jobs:
                yield from _render_leg(matching_suite(run, leg, header), jobs, run, drawing, workers)


def write_grid(drawn: Sequence[Drawn], path: Path) -> None:
    """Tile videos into one, each framed in the colour of its outcome and held at its last frame until the longest ends.

    Raises:
        RunError: A video cannot be read, or the grid not be written.
    """
    import imageio.v3 as imageio

    shown = [(one.video, bool(one.result.success)) for one in drawn if one.video is not None]
    columns = int(np.ceil(np.sqrt(len(shown))))
    tiles: list[Image | None] = [None] * len(shown)
    writer = VideoWriter(path.parent, path.name, drawn[0].fps)
    try:
        for moment in zip_longest(*(imageio.imiter(video, plugin="FFMPEG") for video, _ in shown)):
            for number, frame in enumerate(moment):
                tiles[number] = tiles[number] if frame is None else _framed(frame, shown[number][1])
            writer.add(_tiled([tile for tile in tiles if tile is not None], columns))
    except (OSError, RuntimeError) as error:
        writer.discard()
        raise RunError(f"the grid {path.name} could not be made: {error}") from error
    writer.finish(path.name)
    shutil.rmtree(path.parent / ".partial", ignore_errors=True)


@dataclass(frozen=True)
class _Job:
    """One episode to draw."""

    result: EpisodeResult
    trajectory: Path
    output: Path
    name: str


def _job(run: Run, result: EpisodeResult, index: int, output: Path) -> _Job:
    name = result.execution.get("trajectory") or f"trajectories/{episode_file_name(f'episode={index}--', result.spec, '.npz')}"
    policy = next(leg.policy["name"] for leg in run.config.legs if leg.suite["name"] == result.spec.suite)
    before = f"{run.header['stamp']}--{policy}--episode={index}--success={result.success}--"
    video = episode_file_name(before, result.spec, ".mp4").removesuffix(".mp4")
    trajectory = (run.path / name).resolve()
    if not trajectory.is_relative_to(run.path.resolve()):
        raise RunError(f"{run.path}: the trajectory of {result.spec.id} is said to be outside the run's folder; it is not read.")
    return _Job(result, trajectory, output, video)


def matching_suite(run: Run, leg: Leg, header: dict[str, Any]) -> Suite:
    """The suite of a leg, if it is still what the run was made with.

    Raises:
        RunError: Its protocol is another now.
    """
    suite = make_suite(leg.suite)
    suite.check_ready()
    protocol = suite.protocol()
    if protocol_sha256(protocol) != header["protocol_sha256"]:
        raise RunError(
            f"{run.path} cannot be drawn: the protocol of {suite.name} is no longer the recorded one "
            f"({differences(header['protocol'], protocol)})."
        )
    return suite


def _render_leg(suite: Suite, jobs: Sequence[_Job], run: Run, drawing: Drawing, workers: int | None) -> Iterator[Drawn]:
    cameras = drawing.cameras or run.config.video_cameras or suite.cameras
    fps = drawing.fps or run.config.video_fps or suite.action_spec.control_hz
    caption = run.config.video_caption if drawing.caption is None else drawing.caption
    arguments = (suite, cameras, drawing.size, fps, caption, _suffix(drawing))
    started = PROCESSES.Value("i", 0)
    initial = (arguments, started, run.config.egl_devices)
    size = default_worker_count(len(jobs), workers)
    try:
        yield from in_pool(size, _start_worker, initial, _draw, jobs, "draws")
    finally:
        shutil.rmtree(jobs[0].output / ".partial", ignore_errors=True)


def _suffix(drawing: Drawing) -> str:
    """What tells a video's name from that of the run's own."""
    cameras = f"--camera={'+'.join(drawing.cameras)}" if drawing.cameras else ""
    size = f"--{drawing.size[1]}x{drawing.size[0]}" if drawing.size else ""
    return cameras + size


class _Worker:
    """The state of a drawing process: one environment, kept for its whole life."""

    def __init__(
        self, suite: Suite, cameras: Sequence[str], size: tuple[int, int] | None, fps: float, caption: bool, suffix: str
    ) -> None:
        self.env: VlaEnv = suite.make_env(())
        self.cameras, self.size, self.fps, self.caption, self.suffix = cameras, size, fps, caption, suffix

    def draw(self, job: _Job) -> Path:
        trajectory = load_trajectory(job.trajectory)
        spec = job.result.spec
        self.env.reset(seed=spec.seed, options={"task": spec.task, "trial": spec.trial})
        if self.env.physics_sha256() != job.result.initial_state_sha256:
            raise EnvError(
                f"the scene of {spec.id} comes out differently on this machine than in the run; draw it where the same versions of "
                "packages and assets are installed."
            )
        writer = VideoWriter(job.output, episode_file_name("", spec, f".{os.getpid()}.mp4"), self.fps)
        video = EpisodeVideo(writer, self.fps, self.caption)
        try:
            for step, moment in enumerate(trajectory["render_states"]):
                images = [self.env.picture(moment, camera, *self._size(camera)) for camera in self.cameras]
                video.add(images, known_at(job.result, step))
        except BaseException:  # raised again: whatever stopped the drawing, no half video stays
            video.discard()
            raise
        return video.finish(job.result, f"{job.name}{self.suffix}.mp4")

    def _size(self, camera: str) -> tuple[int, int]:
        sizes = self.env.suite.camera_sizes
        return self.size or sizes.get(camera, sizes["primary"])


_worker: _Worker | None = None


def _start_worker(arguments: tuple[Any, ...], started: Any, egl_devices: tuple[int, ...] | None) -> None:
    global _worker  # noqa: PLW0603  # a process of a pool has no other place to keep its environment
    with started.get_lock():
        number = started.value
        started.value += 1
    if egl_devices:
        os.environ["MUJOCO_EGL_DEVICE_ID"] = str(egl_devices[number % len(egl_devices)])
    _worker = _Worker(*arguments)


def _draw(job: _Job) -> Drawn:
    assert _worker is not None
    try:
        return Drawn(job.result, _worker.draw(job), _worker.fps)
    except VlagymError as error:  # about this episode: the others can still be drawn
        return Drawn(job.result, None, _worker.fps, str(error))


def _episode(run: Run, name: str) -> EpisodeSpec:
    if re.fullmatch("[0-9]{1,9}", name):
        if int(name) >= len(run.plan):
            raise ConfigError(f"there is no episode {name}: {run.path} has episodes 0..{len(run.plan) - 1}.")
        return run.plan[int(name)]
    try:
        spec = EpisodeSpec.from_id(name)
    except ValueError as error:
        raise ConfigError(f"--episodes takes {', '.join(SELECTIONS)}, numbers or ids; {error}.") from error
    if spec not in set(run.plan):
        raise ConfigError(f"{run.path} has no episode {name}.")
    return spec


def _framed(image: Image, success: bool) -> Image:
    framed = np.empty((image.shape[0] + 2 * _FRAME_WIDTH, image.shape[1] + 2 * _FRAME_WIDTH, 3), np.uint8)
    framed[:] = _FRAME_COLOURS[success]
    framed[_FRAME_WIDTH:-_FRAME_WIDTH, _FRAME_WIDTH:-_FRAME_WIDTH] = image
    return framed


def _tiled(tiles: Sequence[Image], columns: int) -> Image:
    height, width = max(t.shape[0] for t in tiles), max(t.shape[1] for t in tiles)
    rows = -(-len(tiles) // columns)
    canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * height, number % columns * width
        canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return side_by_side([canvas])
