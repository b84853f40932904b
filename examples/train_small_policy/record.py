"""Record demonstrations of the scripted expert, disturbed now and then so that they show how to recover.

An episode goes on as the expert wants for a while, then something else moves the arm for a few steps, and so on. What is kept are
moments from which the expert was left alone for a whole chunk: the two images and the state as the recipe of `policy=small` gives
them to the network, and the expert's next actions. So no label is ever a disturbance (as in DART, arXiv:1703.09327: labels are
the supervisor's, only the execution is noisy). The scenes are those of other seeds than an evaluation's.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlagym.envs.env import VlaEnv
from vlagym.envs.registry import make_suite
from vlagym.eval.plan.config import load_config
from vlagym.policies.pipeline import Pipeline, Recipe
from vlagym.policies.scripted.robosuite import SCRIPTS
from vlagym.policies.scripted.script import CLOSED, Scene, ScriptPlayer

CHUNK = 8  # actions after each moment
SCENES_SEED = 1000  # of an episode; a run's are 0, 1, ...
SPACING = 3  # steps between two moments that are kept, but where the fingers close
MOMENTS = {"lift": 12, "door": 18, "pick_place_can": 18}  # of an episode at most


class Moment(NamedTuple):
    """One step of an episode, with all that is needed to draw it later.

    Attributes:
        render_state: `VlaEnv.render_state`.
        state: float32[8], as the suite gives it.
        action: float32[7] of the expert.
        clean: Whether that action was executed.
    """

    render_state: Any
    state: Any
    action: Any
    clean: bool


def play(env: VlaEnv, task: str, trial: int, seed: int) -> list[Moment]:
    """One disturbed episode of the expert."""
    generator = np.random.default_rng([seed, trial])
    observation, _ = env.reset(seed=SCENES_SEED + seed, options={"task": task, "trial": trial})
    player = ScriptPlayer(SCRIPTS[task])
    moments: list[Moment] = []
    left, disturbance = int(generator.integers(0, 6)), _disturbance(generator)
    while True:
        if left == 0:
            if disturbance is None:
                left, disturbance = int(generator.integers(1, 6)), _disturbance(generator)
            else:
                left, disturbance = int(generator.integers(CHUNK, 2 * CHUNK + 1)), None
                if player.phase in SCRIPTS[task][:2]:  # before the grasp
                    player = ScriptPlayer(SCRIPTS[task][on_the_way(task, env.privileged_state()) :])
        left -= 1
        action = player.act(env.privileged_state()) if disturbance is None else moments[-1].action if moments else np.zeros(7)
        moments.append(Moment(env.render_state(), observation["state"], action, disturbance is None))
        executed = action if disturbance is None else _disturbed(action, disturbance)
        observation, _, terminated, truncated, _ = env.step(executed)
        if terminated or truncated:
            return moments


def on_the_way(task: str, facts: Any) -> int:
    """The phase to go on with: 1 if the gripper is on the way from where one reaches for the thing (phase 0) to the thing, else 0.

    So what the expert does next follows from where the arm is, not from how far it had come: a network sees only the former.

    Args:
        task: Of the suite.
        facts: `VlaEnv.privileged_state`.
    """
    scene, first = Scene(facts), SCRIPTS[task][0]
    begin, end = (phase.goal(scene) for phase in SCRIPTS[task][:2])
    way, gone = end.position - begin.position, scene.gripper.position - begin.position
    along = gone @ way / (way @ way)
    aside = np.linalg.norm(gone - along * way)
    turned = (end.rotation * scene.gripper.rotation.inv()).magnitude()
    return int(along > 0 and aside < first.within_m and turned < first.within_rad)


def _disturbance(generator: np.random.Generator) -> Any:
    """What moves the arm: float64[6], and 1 if the gripper does the opposite."""
    return np.append(generator.uniform(-1, 1, 6) * np.repeat([1.0, 0.5], 3), generator.random() < 0.1)


def _disturbed(action: Any, disturbance: Any) -> Any:
    if action[6] == CLOSED:  # something may be in the hand
        return np.append(0.4 * disturbance[:6], CLOSED).astype(np.float32)
    return np.append(disturbance[:6], CLOSED if disturbance[6] else -CLOSED).astype(np.float32)


def choose(moments: list[Moment], most: int, offset: int) -> list[int]:
    """Indices of moments followed by the expert's own actions alone: every second that closes the fingers, and others evenly."""

    def within(index: int) -> list[Moment]:
        return moments[index : index + CHUNK]

    alone = [index for index in range(len(moments)) if all(moment.clean for moment in within(index))]
    grasps = [index for index in alone if within(index)[0].action[6] != within(index)[-1].action[6]][::2]
    others = [index for index in alone if index % SPACING == offset and index not in grasps]
    room = max(most - len(grasps), 0)
    if len(others) > room:
        others = [others[k] for k in np.linspace(0, len(others) - 1, room).round().astype(int)]
    return sorted(grasps[:most] + others)


def keep(env: VlaEnv, pipeline: Pipeline, moments: list[Moment], chosen: list[int]) -> dict[str, Any]:
    """The chosen moments as arrays with one row each: images, states, the next actions, and which of these there were."""
    images, states, actions, given = [], [], [], []
    for index in chosen:
        drawn = {
            camera: env.picture(moments[index].render_state, camera, *env.suite.camera_sizes[camera]) for camera in pipeline.cameras
        }
        observation: Any = {"images": drawn, "state": moments[index].state, "episode_id": "demonstration", "step": 0}
        images.append(np.stack(pipeline.images([observation])[0]))
        states.append(pipeline.state(observation))
        chunk = [moment.action for moment in moments[index : index + CHUNK]]
        actions.append(np.stack(chunk + [chunk[-1]] * (CHUNK - len(chunk))))
        given.append([k < len(chunk) for k in range(CHUNK)])
    return {
        "images": np.stack(images),
        "states": np.stack(states).astype(np.float32),
        "actions": np.stack(actions).astype(np.float32),
        "given": np.array(given),
    }


def main() -> None:
    """Record episodes of one task; those that are there already are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("task", choices=MOMENTS)
    parser.add_argument("--episodes", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    leg = load_config(["suite=robosuite", "policy=small", f"suite.trials={arguments.episodes}"]).legs[0]
    suite = make_suite(leg.suite)
    recipe: Recipe = {name: leg.policy[name] for name in Recipe.__annotations__}  # type: ignore[assignment, misc]
    pipeline = Pipeline(suite, "small", recipe)
    env = suite.make_env(())
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for trial in range(arguments.episodes):
        path = arguments.folder / f"{arguments.task}-{arguments.seed}-{trial:04}.npz"
        if path.exists():
            continue
        moments = play(env, arguments.task, trial, arguments.seed)
        kept = keep(env, pipeline, moments, choose(moments, MOMENTS[arguments.task], trial % SPACING))
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, **kept, instruction=env.told(env.instruction, env.asked))
        part.rename(path)
        print(f"{path.name}: {len(moments)} steps, {len(kept['images'])} moments", flush=True)
    env.close()


if __name__ == "__main__":
    main()
