"""Demonstrations as LIBERO and robosuite keep them: HDF5 files with ``data/demo_N/states`` and ``data/demo_N/actions``.

The layout is that of robosuite 1.4 (robosuite/scripts/collect_human_demonstrations.py), LIBERO (scripts/create_dataset.py) and
robomimic: ``states`` float64[T, 1 + nq + nv] (time, qpos, qvel of MuJoCo) are those in which ``actions`` float[T, A] were given,
and ``model_file`` is the MuJoCo model, which says where things without joints stand. ``data`` names the task: LIBERO's as
``bddl_file_name``, robosuite's as ``env`` or in robomimic's ``env_args``.

A file that `vlagym.eval.publish.demonstrations` wrote has one thing more, ``data/demo_N/vlagym_start``: all that the simulator
needs to go on from the first state bit for bit (the controller's goal, the solver's last solution).
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..edges.files import FileKind
from ..edges.hdf5 import Hdf5File, open_hdf5
from ..errors import ConfigError
from .env import VlaEnv
from .spec import SuiteSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .robosuite.engine import Engine
    from .spec import Float64Array

DEMONSTRATIONS = FileKind(
    "a file of demonstrations",
    ConfigError,
    "Give an HDF5 file of LIBERO, robosuite or robomimic, with data/demo_N/states and data/demo_N/actions.",
    max_bytes=1 << 20 << 20,  # a terabyte: only what is played is read
)
SUFFIXES = (".hdf5", ".h5")
START = "vlagym_start"
MOST_STEPS = 100_000


@dataclass(frozen=True)
class Demonstration:
    """One demonstration.

    Attributes:
        name: Its group in the file, e.g. ``demo_0``.
        actions: float[T, A], as the simulator's own loop takes them.
        states: float64[T, 1 + nq + nv]: row i is where action i was given.
        model: The MuJoCo model as XML; None where the file has none.
        start: What `VlaEnv.get_state` returned at the first state; empty where the file does not say.
    """

    name: str
    actions: NDArray[np.floating[Any]]
    states: Float64Array
    model: str | None
    start: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class DemonstratedTask(NamedTuple):
    """What a file has, known without reading it all.

    Attributes:
        file: The file.
        task: What it calls its task: the stem of LIBERO's BDDL file, or robosuite's class.
        names: Its demonstrations, in the order of their numbers.
        steps: Actions of each.
    """

    file: Path
    task: str
    names: tuple[str, ...]
    steps: tuple[int, ...]


class Demonstrated(SuiteSettings):
    """A suite whose trials are demonstrations: each begins where its demonstration does."""

    demonstrations: str

    @abstractmethod
    def demonstration(self, task: str, trial: int) -> Demonstration:
        """The one that a trial begins as."""


class DemonstrableEnv(VlaEnv):
    """An environment whose episodes can be kept as demonstrations: of MuJoCo, with robosuite's arm."""

    @abstractmethod
    def demonstrates(self, task: str) -> dict[str, str]:
        """What a file says of its task: ``env``, robosuite's or LIBERO's class, and ``bddl_file_name`` for LIBERO's."""

    @property
    @abstractmethod
    def _engine_now(self) -> Engine:
        """What runs the present episode."""

    def model_xml(self) -> str:
        """The model of the present episode; what has no joints stands where it does, with all digits."""
        return self._engine_now.model_xml()

    def readings(self) -> dict[str, NDArray[Any]]:
        """The present moment as LIBERO's files have it: ``states``, ``robot_states`` and, below ``obs/``, parts of the latter."""
        engine = self._engine_now
        robot, state = engine.proprioception, engine.proprioception.vector()
        return {
            "states": engine.physics_state()[: 1 + engine.model.nq + engine.model.nv],
            "robot_states": np.concatenate([robot.gripper_qpos, robot.eef_pos, robot.eef_quat_xyzw]),
            "obs/gripper_states": robot.gripper_qpos,
            "obs/joint_states": robot.joint_pos,
            "obs/ee_pos": state[:3],
            "obs/ee_ori": state[3:6],
            "obs/ee_states": state[:6],
        }


def demonstration_files(source: str) -> list[Path]:
    """The files that a setting names: one, or those of a folder; empty where it names none."""
    path = Path(source).expanduser()
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    return [path] if path.suffix in SUFFIXES else []


def demonstrated_tasks(source: str) -> dict[str, DemonstratedTask]:
    """What the files have, by what they call their tasks.

    Raises:
        ConfigError: One is not a file of demonstrations, or two are of one task.
    """
    found: dict[str, DemonstratedTask] = {}
    for file in demonstration_files(source):
        listed = _listed(file, _stamp(file))
        if listed.task in found:
            raise ConfigError(f"{file} and {found[listed.task].file.name} are both of {listed.task}; give one of them.")
        found[listed.task] = listed
    return found


def load_demonstration(file: Path, name: str) -> Demonstration:
    """Read one demonstration.

    Raises:
        ConfigError: Something of it is missing, damaged or not what it should be.
    """
    with open_hdf5(file, DEMONSTRATIONS) as opened:
        where = f"data/{name}"
        actions, states = opened.numbers(f"{where}/actions"), opened.numbers(f"{where}/states")
        start = {array: opened.numbers(f"{where}/{START}/{array}") for array in opened.arrays(f"{where}/{START}")}
        model = opened.text(where, "model_file")
    actions = actions if actions.dtype == np.float32 else actions.astype(np.float64)
    return Demonstration(name, actions, states.astype(np.float64), model, start)


def demonstrations_sha256(task: DemonstratedTask) -> str:
    """Hash of what decides how the file's demonstrations are played; images in it decide nothing."""
    digest = hashlib.sha256()
    for name in task.names:
        one = load_demonstration(task.file, name)
        arrays = {"actions": one.actions, "states": one.states, **{f"start/{key}": one.start[key] for key in sorted(one.start)}}
        for key, array in arrays.items():
            digest.update(f"{name}/{key}:{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update((one.model or "").encode())
    return digest.hexdigest()


def _stamp(file: Path) -> tuple[int, int]:
    """Changes when the file does."""
    try:
        status = file.stat()
    except OSError as error:
        raise DEMONSTRATIONS.fault(file, error.strerror or str(error)) from error
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def _listed(file: Path, stamp: tuple[int, int]) -> DemonstratedTask:
    with open_hdf5(file, DEMONSTRATIONS) as opened:
        names = sorted(opened.groups("data"), key=_number)
        if not names:
            raise opened.fault("it has no data/demo_N")
        steps = []
        for name in names:
            actions, states = opened.shape(f"data/{name}/actions"), opened.shape(f"data/{name}/states")
            if len(actions) != 2 or len(states) != 2 or len(actions) != len(states) or not 1 <= actions[0] <= MOST_STEPS:
                raise opened.fault(f"data/{name}: expected actions [T, A] and states [T, S], got {_of(actions)} and {_of(states)}")
            if actions[0] != states[0]:
                raise opened.fault(f"data/{name} has {actions[0]} actions for {states[0]} states")
            steps.append(actions[0])
        return DemonstratedTask(file, _task_of(opened, file), tuple(names), tuple(steps))


def _task_of(opened: Hdf5File, file: Path) -> str:
    if bddl := opened.text("data", "bddl_file_name"):
        return PureWindowsPath(bddl).stem  # takes either slash
    if env := opened.text("data", "env"):
        return env
    arguments = opened.text("data", "env_args")
    if arguments:
        try:
            named = json.loads(arguments)["env_name"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise opened.fault("data: its env_args do not name an env_name") from error
        if isinstance(named, str):
            return named
    return file.stem.removesuffix("_demo")


def _number(name: str) -> tuple[int, str]:
    digits = re.search(r"[0-9]{1,9}\Z", name)
    return (int(digits[0]) if digits else -1), name


def _of(shape: Sequence[int]) -> str:
    return str(list(shape))
