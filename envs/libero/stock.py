"""The loop that LIBERO's evaluations run, literally: hf-libero's environment, rebuilt at every reset, drawn at every step.

It is what `vla-eval bench against=stock` compares with; nothing else uses it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import EnvError
from ..robosuite._upstream import numpy_random
from ..robosuite.engine import physics_vector
from ..suite import StockEpisode
from ._upstream import import_libero
from .env import SETTLE_ACTION
from .init_states import load_init_states
from .tasks import task_files

if TYPE_CHECKING:
    from ..spec import Float32Array
    from .settings import LiberoSettings


def run_stock(suite: LiberoSettings, task: str, actions: Sequence[Float32Array], assets: Path) -> Iterator[StockEpisode]:
    """Run trials 0, 1, ... of a task one after the other, as run_libero_eval.py does.

    Args:
        suite: Its protocol is followed.
        task: Name of the task.
        actions: float32[T, A] per trial.
        assets: Folder of LIBERO's assets.

    Raises:
        EnvError: The suite's scenes are not those of this loop.
    """
    if suite.scenes != "reference" or suite.scene_seed is None:
        raise EnvError(f"{suite.name}: the stock loop has the scenes of suite.scenes=reference with a suite.scene_seed, no others.")
    files = task_files(suite.name, task)
    generator = np.random.RandomState(suite.scene_seed)
    with numpy_random(np.random.RandomState(0)):
        env = import_libero(assets).OffScreenRenderEnv(
            bddl_file_name=str(files.bddl), camera_heights=suite.image_size, camera_widths=suite.image_size
        )
    try:
        assert files.init_states is not None
        for init_state, chunk in zip(load_init_states(files.init_states), actions, strict=False):
            yield _run_episode(env, generator, init_state, suite, chunk)
    finally:
        env.close()


def _run_episode(env: Any, generator: np.random.RandomState, init_state: Any, suite: LiberoSettings, actions: Any) -> StockEpisode:
    started, cpu_started = time.perf_counter(), time.process_time()
    with numpy_random(generator):
        # ControlEnv.reset, around it, runs for ever if anything is raised.
        env.env.reset()
    env.set_init_state(init_state)
    for _ in range(suite.settle_steps):
        env.step(SETTLE_ACTION)
    for robot in env.robots:
        robot.controller.use_delta = suite.control == "delta"
    steps = 0
    for action in actions:
        steps += 1
        if env.step(action)[2]:
            break
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    sim = env.sim
    bodies = np.array([sim.model.body_name2id(fixture.root_body) for fixture in env.env.fixtures], np.intp)
    state = physics_vector(sim.model._model, sim.data._data, bodies)
    return StockEpisode(seconds, cpu_seconds, steps, hashlib.sha256(state.tobytes()).hexdigest())
