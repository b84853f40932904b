"""The simulated clock of an episode: when an answer acts, what is executed until then, and what that came to.

Answers are computed early and acted on late: the worker gets a chunk as soon as the policy has made it, and plays what is left of
the chunk before it, then the hold action, until the clock says that it has arrived. So the runner, its batches and the workers'
number know nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...envs.env import VlaEnv
from ...episode import EpisodeSpec, Timing
from ...policies.base import episode_generator
from ..plan.realtime import Realtime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Actions = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Pending:
    """What a policy may know of an answer's way when it is asked.

    Attributes:
        previous_actions: float[n, A]: what is left of its last chunk, from this step on.
        delay_steps: Steps until this answer acts.
    """

    previous_actions: Actions
    delay_steps: int


@dataclass(frozen=True)
class Window:
    """What is executed from one observation to the next.

    Attributes:
        actions: float[n, A].
        held: bool[n]: which are no policy's but the hold action.
        arrival: How many are executed before the answer acts.
        rest: float[m, A]: what is left of the answer then.
    """

    actions: Actions
    held: NDArray[np.bool_]
    arrival: int
    rest: Actions


class SimulatedClock:
    """The clock of one worker's episodes, one after the other.

    Args:
        realtime: How late answers come.
        env: Whose control rate it ticks at, and which says how to hold still.
    """

    def __init__(self, realtime: Realtime, env: VlaEnv) -> None:
        self._realtime = realtime
        self._env = env
        self._hz = env.suite.action_spec.control_hz
        self._delays = realtime.delays(self._hz)

    def begin(self, spec: EpisodeSpec) -> None:
        """An episode begins; its first answer's delay is known."""
        self._generator = episode_generator(spec.id, "realtime")
        self._rest = np.zeros((0, self._env.suite.action_spec.size), np.float32)
        self._last: NDArray[np.floating[Any]] | None = None
        self._decisions = self._held = self._waited = 0
        self._times_s: list[float] = []
        self._positions = [self._position()]
        self._draw()

    @property
    def pending(self) -> Pending:
        """What is known when the policy is asked now."""
        return Pending(self._rest, 0 if self._realtime.wait == "sync" else self._delay)

    def window(self, chunk: Actions) -> Window:
        """What is to be executed until the next observation, the answer to the last one being this chunk float[T, A]."""
        late = self.pending.delay_steps
        first = min(late, len(chunk) - 1) if self._realtime.alignment == "age" else 0
        fresh = chunk[first:]
        length = late + len(fresh) if self._realtime.horizon is None else max(self._realtime.horizon, late)
        before, before_held = self._filled(self._rest, late, self._last)
        last = before[-1] if late else self._last
        after, after_held = self._filled(fresh, length - late, last)
        return Window(
            np.concatenate([before, after]) if late else after,
            np.concatenate([before_held, after_held]),
            late,
            fresh[length - late :],
        )

    def stepped(self) -> None:
        """One more action has been executed."""
        self._positions.append(self._position())

    def executed(self, window: Window, steps: int, new_subtask: bool) -> None:
        """A window was executed as far as `steps`; a new subtask makes void what is left of the answer, and one on its way."""
        if self._realtime.wait == "sync":
            self._waited += self._delay
        done = len(self._times_s)
        self._times_s += [(done + step + 1 + self._waited) / self._hz for step in range(steps)]
        self._held += int(window.held[:steps].sum())
        self._decisions += steps >= min(window.arrival + 1, len(window.actions))
        self._last = window.actions[steps - 1]
        self._rest = window.rest[:0] if new_subtask else window.rest
        self._draw()

    def timing(self, first_success_step: int | None) -> Timing:
        """What the episode came to on the clock."""
        path_m, jerk = _motion(self._positions, self._hz)
        return Timing(
            decisions=self._decisions,
            held_steps=self._held,
            seconds=self._times_s[-1],
            completion_s=None if first_success_step is None else self._times_s[first_success_step - 1],
            path_length_m=path_m,
            mean_squared_jerk=jerk,
        )

    def _draw(self) -> None:
        """Draw how late the next answer comes; where that is fixed, nothing is drawn."""
        self._delay = self._delays[int(self._generator.integers(len(self._delays))) if len(self._delays) > 1 else 0]

    def _filled(self, actions: Actions, length: int, last: Actions | None) -> tuple[Actions, NDArray[np.bool_]]:
        """The first so many actions, the hold action standing for those that are missing, and which it stands for."""
        played = actions[:length]
        missing = length - len(played)
        if missing:
            kind = np.result_type(actions.dtype, np.float32)  # whole numbers could not say where a robot stands
            still = self._env.hold_action(played[-1] if len(played) else last).astype(kind)
            played = np.concatenate([played, np.tile(still, (missing, 1))])
        return played, np.arange(length) >= length - missing

    def _position(self) -> NDArray[np.float64] | None:
        where = self._env.suite.state_spec.tool_position
        return None if where is None else self._env.precise_state()[where]


def _motion(positions: list[NDArray[np.float64] | None], hz: float) -> tuple[float | None, float | None]:
    """The tool's path (m) and the mean of its squared jerk (m^2/s^6, third differences) over an episode."""
    if positions[0] is None:
        return None, None
    path = np.array(positions)
    jerk = np.diff(path, n=3, axis=0) * hz**3
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    return length, float((jerk**2).sum(axis=1).mean()) if len(jerk) else None
