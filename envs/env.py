"""The contract of a simulator: the Gym-style environment that every benchmark implements.

An episode is a pure function of (task, trial, seed, actions): nothing that ran before it in the same process may show.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces

from .._registry import unknown_name
from ..episode import EndedBy, SubtaskResult
from ..errors import EnvError
from .sentences import Sentence
from .spec import MAX_INSTRUCTION_LENGTH
from .variation import all_said, altered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .landmarks import Landmarks
    from .spec import EnvState, Float64Array, Image, Observation, SuiteSettings, Task


class StageClock:
    """Adds up wall-clock seconds per stage (reset, physics, controller, rendering, ...)."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time the block and add it to the stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start

    def take(self) -> dict[str, float]:
        """The seconds so far, and start again from zero."""
        taken, self.seconds = dict(self.seconds), defaultdict(float)
        return taken


@dataclass(frozen=True)
class StepOutcome:
    """What one control step came to, as the suite's protocol reads it.

    Attributes:
        success: Whether the success condition holds now.
        ended_by: Set when the protocol ends the episode here (``success`` or ``failure``); the horizon is the base class's.
        new_subtask: The instruction or subtask changed: what is left of an action chunk is void and the policy starts afresh.
    """

    success: bool
    ended_by: EndedBy | None = None
    new_subtask: bool = False


@dataclass(frozen=True)
class ChunkResult:
    """What came of `VlaEnv.step_chunk`.

    Attributes:
        observation: After the last executed step; None if it was not asked for or the episode is over.
        successes: bool[n] per executed step.
        executed: n, at most the number of actions given: the rest is dropped when the episode ends or a new subtask begins.
        ended_by: Why the episode is over, else None.
        new_subtask: The policy has to start afresh on the instruction of `observation`.
    """

    observation: Observation | None
    successes: NDArray[np.bool_]
    executed: int
    ended_by: EndedBy | None
    new_subtask: bool = False


class VlaEnv(gymnasium.Env[Any, Any], ABC):
    """A benchmark as a `gymnasium.Env`. Subclasses implement the members marked abstract and nothing else.

    Drawing is separate from stepping: after every step `render_state` names all that a picture depends on, and `draw` turns such a
    vector into a picture at any later time in the same episode. So nothing is drawn that nobody asked for, and an episode's frames
    can be drawn again, pixel for pixel, from its trajectory.

    Args:
        suite: What this is an environment of.
        cameras: Names of the cameras whose images are part of an observation, e.g. ``("primary", "wrist")``; may be empty.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012  (gymnasium declares it so)

    def __new__(cls, *args: Any, **kwargs: Any) -> VlaEnv:
        """Refuse a class that lacks members.

        Raises:
            EnvError: Names them.
        """
        if missing := sorted(getattr(cls, "__abstractmethods__", ())):
            raise EnvError(
                f"the environment {cls.__module__}.{cls.__qualname__} does not define {', '.join(missing)}, which every "
                "environment does; their docstrings in vlagym.envs.VlaEnv say what each is."
            )
        made: VlaEnv = super().__new__(cls)
        return made

    def __init__(self, suite: SuiteSettings, cameras: Sequence[str], render_mode: str | None = "rgb_array") -> None:
        self.suite = suite
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": suite.action_spec.control_hz}
        for camera in cameras:
            if camera not in suite.cameras:
                raise unknown_name(f"camera of suite {suite.name!r}", camera, suite.cameras)
        self.observation_cameras = tuple(cameras)
        self.clock = StageClock()
        self.action_space = suite.action_spec.space
        self.observation_space = spaces.Dict(
            {
                "images": spaces.Dict({c: spaces.Box(0, 255, (*suite.camera_sizes[c], 3), np.uint8) for c in cameras}),
                "state": spaces.Box(-np.inf, np.inf, (suite.state_spec.size,), np.float32),
                "instruction": Sentence(MAX_INSTRUCTION_LENGTH),
            }
        )
        self._tasks = {task.name: task for task in suite.tasks()}
        self._task: Task | None = None
        self._trial = self._seed = 0
        self._steps = 0
        self._over = False
        self._frames: dict[tuple[str, int, int], Image] = {}

    # --- what a benchmark implements -------------------------------------------------------------------------------------------

    @abstractmethod
    def _begin(self, task: Task, trial: int, seed: int) -> None:
        """Put the simulator where the policy takes over (settle steps included), whatever ran before."""

    @abstractmethod
    def _advance(self, action: NDArray[np.floating[Any]]) -> StepOutcome:
        """Execute one action, float32[A] or float64[A], that is finite and of the right shape."""

    @abstractmethod
    def draw(self, render_state: Float64Array, camera: str, height: int, width: int) -> Image:
        """Draw a moment of the current episode as the simulator shows it; `picture` adds what a variation does to images.

        Args:
            render_state: float64[R], as `render_state` returned it in an episode of the same (task, trial, seed).
            camera: A name in the suite's `cameras`, or another camera the simulator has.
            height: Pixels.
            width: Pixels.

        Returns:
            uint8[height, width, 3], RGB, upright.
        """

    @abstractmethod
    def render_state(self) -> Float64Array:
        """float64[R]: all that a picture of the present moment depends on, as the protocol samples images."""

    @abstractmethod
    def physics_state(self) -> Float64Array:
        """float64[P]: the simulator's state after the last step (positions, velocities, time)."""

    @abstractmethod
    def _state_vector(self) -> Float64Array:
        """float64[S] as the suite's `StateSpec` declares; an observation has it in float32."""

    @property
    @abstractmethod
    def instruction(self) -> str:
        """The sentence that holds now."""

    @property
    def asked(self) -> str:
        """What the sentence that holds now asks for: the task; of a chain, the subtask."""
        assert self._task is not None
        return self._task.name

    @abstractmethod
    def _save(self) -> EnvState:
        """Everything the simulator needs to go on from here bit for bit, as named arrays."""

    @abstractmethod
    def _load(self, state: EnvState) -> None:
        """Inverse of `_save`, within an episode of the same (task, trial, seed)."""

    def privileged_state(self) -> dict[str, Float64Array]:
        """Named facts no camera gives (object poses, ...) for scripted experts; empty where a benchmark has none to offer."""
        return {}

    def landmarks(self) -> Landmarks | None:
        """Where the hand and the things of the task are now; None where a benchmark does not say."""
        return None

    def precise_state(self) -> Float64Array:
        """The state of the last observation before it was rounded to float32, for policies that send it on in double precision."""
        return np.asarray(self._state_vector(), np.float64)

    def drawn_state(self) -> Float64Array | None:
        """What the episode's seed drew, in the form of the benchmark's files of initial states; None where such a file says it."""
        return None

    def bare_physics(self, steps: int) -> None:
        """Advance the simulator by the substeps of `steps` control steps with nothing around them: the floor of a benchmark.

        Raises:
            EnvError: This benchmark does not say what its floor is.
        """
        raise EnvError(f"{self.suite.name}: no floor is defined for this suite.")

    def _present_pose(self) -> Float64Array:
        """float64[A - arms]: where the robot stands, as an action of absolute control names it, without the grippers.

        Raises:
            EnvError: This benchmark does not say.
        """
        raise EnvError(f"{self.suite.name}: no pose can be held before the first action of absolute control.")

    def _next_subtask(self) -> bool:
        """Go on to the next instruction because the policy says it is done with this one; False where the episode then ends."""
        return False

    def subtask_results(self) -> tuple[SubtaskResult, ...]:
        """Results of the links of a chain so far; empty for an episode with a single instruction."""
        return ()

    # --- what everyone uses ----------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: The episode's seed; 0 if None.
            options: ``task`` (name or index, default the first) and ``trial`` (index, default 0).

        Raises:
            EnvError: The suite has no such task or trial.
        """
        super().reset(seed=seed)
        options = dict(options or {})
        task, trial = self._find_task(options.pop("task", 0)), int(options.pop("trial", 0))
        if options:
            raise EnvError(f"unknown reset options {sorted(options)}; known: task, trial.")
        if not 0 <= trial < task.trials:
            raise EnvError(f"{self.suite.name}/{task.name} has trials 0..{task.trials - 1}; got trial {trial}.")
        self._task, self._trial, self._seed = task, trial, 0 if seed is None else int(seed)
        self._steps, self._over = 0, False
        self._frames.clear()
        self._begin(task, trial, self._seed)
        return self._observe(), self._info(success=False)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute one action float[A]; reward is 1.0 while the success condition holds, else 0.0."""
        result = self._execute(np.asarray(action)[None], None)
        success = bool(result.successes[-1])
        truncated = result.ended_by == "horizon"
        info = {**self._info(success), "new_subtask": result.new_subtask}
        return self._observe(), float(success), result.ended_by not in (None, "horizon"), truncated, info

    def step_chunk(self, actions: Any, *, on_step: Callable[[], None] | None = None, done: bool = False) -> ChunkResult:
        """Execute actions float[T, A] one after the other; images are drawn once, after the last step, if the episode goes on.

        Args:
            actions: At least one action.
            on_step: Called after every step, e.g. to record `render_state` or `render`.
            done: The policy declares the task accomplished with these actions.

        Raises:
            EnvError: Wrong shape, a value that is not finite, no episode under way.
        """
        goes_on = done and self._next_subtask()
        result = self._execute(actions, on_step)
        if result.ended_by is not None:
            return result
        if done and not goes_on:
            self._over = True
            return replace(result, ended_by="policy", new_subtask=False)
        return replace(result, observation=self._observe(), new_subtask=result.new_subtask or goes_on)

    def hold_action(self, last: NDArray[np.floating[Any]] | None) -> Float64Array:
        """The action float64[A] that keeps the robot as it is (see `ActionSpec.hold`).

        Args:
            last: The last action that was executed in the episode; None before the first.

        Raises:
            EnvError: Absolute control, no action yet, and the benchmark does not say where the robot stands.
        """
        spec = self.suite.action_spec
        return spec.hold(last, self._present_pose() if last is None and spec.mode == "absolute" else None)

    def render(self, camera: str = "primary", height: int | None = None, width: int | None = None) -> Any:
        """The present moment as uint8[height, width, 3]; the protocol's size by default. Drawn once per moment and size."""
        if self._task is None:
            raise EnvError("nothing to render: call reset() first.")
        protocol_size = self.suite.camera_sizes.get(camera, self.suite.camera_sizes["primary"])
        size = (height or protocol_size[0], width or protocol_size[1])
        key = (camera, *size)
        if key not in self._frames:
            with self.clock("rendering"):
                self._frames[key] = self.picture(self.render_state(), camera, *size)
        return self._frames[key]

    def picture(self, render_state: Float64Array, camera: str, height: int, width: int) -> Image:
        """A moment of the current episode as a policy sees it: `draw`, and what the suite's variation does to images."""
        drawn = self.draw(render_state, camera, height, width)
        if not self.suite.variation:
            return drawn
        assert self._task is not None
        return altered(drawn, self.suite.variation, f"{self._task.name}/{self._trial}/{self._seed}/{camera}", render_state)

    def told(self, sentence: str, asked: str) -> str:
        """What the current episode's policy is told instead of a sentence of the suite: the sentence, but for a variation.

        Args:
            sentence: The suite's own.
            asked: The task that it asks for, or the subtask of a chain.
        """
        sentences = all_said(sentence, self.suite.variation, asked)
        return sentences[self._trial % len(sentences)]

    def get_state(self) -> EnvState:
        """Named arrays from which `set_state` continues this episode bit for bit."""
        return {**self._save(), "episode": np.array([self._steps, self._over], np.int64)}

    def set_state(self, state: EnvState) -> None:
        """Go back to a state that `get_state` returned in an episode of the same (task, trial, seed)."""
        rest = dict(state)
        steps, over = rest.pop("episode")
        self._steps, self._over = int(steps), bool(over)
        self._frames.clear()
        self._load(rest)

    def go_on_from(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Begin the episode where a file says that another one of the same scene was; for subclasses, as the last step of a reset.

        Args:
            saved: What `get_state` returned there.

        Raises:
            EnvError: It is not a state of this model.
        """
        own = self._save()
        known = {name: value for name, value in saved.items() if name in own}
        wrong = [n for n, value in own.items() if n not in known or np.shape(known[n]) != np.shape(value)]
        if wrong:
            raise EnvError(f"its state of the simulator has no {wrong[0]} {list(np.shape(own[wrong[0]]))}, as this task has.")
        self._load({name: known[name].astype(np.asarray(value).dtype) for name, value in own.items()})
        self._frames.clear()

    def physics_sha256(self) -> str:
        """Hash of `physics_state`: equal hashes mean equal bits."""
        return hashlib.sha256(np.ascontiguousarray(self.physics_state(), np.float64).tobytes()).hexdigest()

    # --- internals -------------------------------------------------------------------------------------------------------------

    def _execute(self, actions: Any, on_step: Callable[[], None] | None) -> ChunkResult:
        checked = self._check_actions(actions)
        assert self._task is not None
        successes: list[bool] = []
        ended_by: EndedBy | None = None
        new_subtask = False
        for action in checked:
            outcome = self._advance(action)
            self._frames.clear()
            self._steps += 1
            successes.append(outcome.success)
            ended_by, new_subtask = outcome.ended_by, outcome.new_subtask
            if ended_by is None and self._steps >= self._task.horizon:
                ended_by = "horizon"
            if on_step is not None:
                on_step()
            if ended_by is not None or new_subtask:
                break
        self._over = ended_by is not None
        return ChunkResult(None, np.array(successes, np.bool_), len(successes), ended_by, new_subtask and ended_by is None)

    def _check_actions(self, actions: Any) -> NDArray[np.floating[Any]]:
        # float64 is kept: upstream policies emit it and CALVIN's arithmetic happens in the dtype of the action.
        size = self.suite.action_spec.size
        array = np.asarray(actions)
        if array.ndim != 2 or array.shape[0] < 1 or array.shape[1] != size or array.dtype.kind not in "fiu":
            raise EnvError(
                f"{self.suite.name}: actions must be float[T, {size}] with T >= 1, got {array.dtype}{list(array.shape)}."
            )
        if not np.isfinite(array).all():
            raise EnvError(f"{self.suite.name}: action {array[~np.isfinite(array).all(axis=1)][0]} is not finite.")
        if self._task is None or self._over:
            raise EnvError(f"{self.suite.name}: step() without an episode under way; call reset() first.")
        return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)

    def _find_task(self, task: str | int) -> Task:
        if isinstance(task, int | np.integer):
            if not 0 <= task < len(self._tasks):
                raise EnvError(f"suite {self.suite.name!r} has tasks 0..{len(self._tasks) - 1}; got {task}.")
            return list(self._tasks.values())[task]
        if task not in self._tasks:
            raise EnvError(str(unknown_name(f"task of suite {self.suite.name!r}", task, self._tasks)))
        return self._tasks[task]

    def _observe(self) -> Observation:
        images = {camera: self.render(camera) for camera in self.observation_cameras}
        return {
            "images": images,
            "state": self._state_vector().astype(np.float32),
            "instruction": self.told(self.instruction, self.asked),
        }

    def _info(self, success: bool) -> dict[str, Any]:
        assert self._task is not None
        return {"task": self._task.name, "trial": self._trial, "steps": self._steps, "success": success}
