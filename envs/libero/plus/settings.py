"""The four suites of LIBERO-plus: a variant is a trial of the LIBERO task that it perturbs.

Protocol: openvla-oft's run_libero_eval.py with one episode per variant (README of sylvestf/LIBERO-plus): each variant in an
environment of its own, seeded with 0 and reset once, so every episode has the first scene and the first initial state of its task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ...._registry import unknown_name
from ....episode import Variant
from ....errors import ConfigError
from ...spec import Task
from ..bddl import read_language
from ..settings import LiberoSettings
from ..setups import Setup
from ..tasks import TaskFiles, suite_tasks, task_files
from .arm import arm_poses
from .noise import IMAGE_SIZE, REVISIONS, noise
from .variants import (
    CATEGORIES,
    COUNTS,
    LEVELS,
    OFFICIAL_COUNTS,
    REMEDY,
    UNCOVERED_CATEGORIES,
    PlusVariant,
    data_folder,
    upstream_instruction,
    variants,
)

Instruction = Literal["upstream", "clean"]


@dataclass(frozen=True)
class LiberoPlusSettings(LiberoSettings):
    """Settings of a suite of LIBERO-plus, e.g. ``libero_plus_spatial``.

    Attributes:
        categories: Which kinds of variants to run: camera, robot, language, noise, layout.
        difficulty: Which of upstream's levels 1 .. 5 to run.
        instruction: ``upstream``: the sentence that upstream's benchmark gives, with the suffix of the variant's file name but for
            language variants; published numbers are with these. ``clean``: LIBERO's sentence, or the paraphrase.
        revision: Upstream's commit that defines the noise: 4976dc3, or 8a787e5 of before the change of 2025-11-07.
    """

    categories: tuple[str, ...] = tuple(CATEGORIES.values())
    difficulty: tuple[int, ...] = LEVELS
    instruction: Instruction = "upstream"
    revision: str = REVISIONS[0]

    def __post_init__(self) -> None:
        super().__post_init__()
        # Lists come from configuration files.
        object.__setattr__(self, "categories", tuple(self.categories))
        object.__setattr__(self, "difficulty", tuple(self.difficulty))
        for category in self.categories:
            if category in UNCOVERED_CATEGORIES:
                raise ConfigError(
                    f"variants of {category!r} (suite.categories) need upstream's assets.zip, which is not read; choose among "
                    f"{', '.join(CATEGORIES.values())}."
                )
            if category not in CATEGORIES.values():
                raise unknown_name("category of LIBERO-plus in suite.categories", str(category), CATEGORIES.values())
        if not self.categories or not self.difficulty or not set(self.difficulty) <= set(LEVELS):
            raise ConfigError(
                f"suite.categories and suite.difficulty must name at least one category and levels among {list(LEVELS)}; "
                f"got {list(self.categories)} and {list(self.difficulty)}."
            )
        for setting, known in (("instruction", get_args(Instruction)), ("revision", REVISIONS)):
            if getattr(self, setting) not in known:
                raise unknown_name(f"suite.{setting}", str(getattr(self, setting)), known)
        if self.image_size != IMAGE_SIZE:
            raise ConfigError(f"LIBERO-plus is defined on images of {IMAGE_SIZE} pixels; got suite.image_size={self.image_size}.")

    @property
    def base_suite(self) -> str:
        return self.name.replace("_plus", "", 1)

    @property
    def plain_suite(self) -> str:
        return self.base_suite

    @property
    def coverage(self) -> tuple[int, int]:
        return sum(COUNTS[self.base_suite]), OFFICIAL_COUNTS[self.base_suite]

    def tasks(self) -> tuple[Task, ...]:
        """LIBERO's tasks; their trials are their variants."""
        names = suite_tasks(self.base_suite).items()
        return tuple(
            Task(name, sentence, count, self.horizon, chosen=self._chosen(name))
            for (name, sentence), count in zip(names, COUNTS[self.base_suite], strict=True)
        )

    def _chosen(self, task: str) -> tuple[int, ...] | None:
        if set(self.categories) == set(CATEGORIES.values()) and set(self.difficulty) == set(LEVELS):
            return None
        of_task = enumerate(variants(self.base_suite)[task])
        return tuple(trial for trial, v in of_task if v.category in self.categories and v.level in self.difficulty)

    def variant(self, task: str, trial: int) -> Variant:
        found = variants(self.base_suite)[task][trial]
        return Variant(found.name.removeprefix(f"{task}_"), found.category, found.level, plain_trial=0)

    def setup(self, task: Task, trial: int) -> Setup:
        found = variants(self.base_suite)[task.name][trial]
        return Setup(
            self._files(task.name, found),
            self._instruction(task, found),
            init_state=0,
            reset=0,
            camera=found.turn,
            arm_rad=arm_poses()[found.arm - 1] if found.arm else None,
            noise=noise(found.noise, self.revision) if found.noise else None,
        )

    def _files(self, task: str, found: PlusVariant) -> TaskFiles:
        if not found.layout:
            return task_files(self.base_suite, task)
        folder = data_folder()
        return TaskFiles(
            folder / "bddl_files" / self.base_suite / f"{found.name}.bddl",
            folder / "init_files" / "libero_newobj" / self.base_suite / f"{found.name}.pruned_init",
            REMEDY,
        )

    def _instruction(self, task: Task, found: PlusVariant) -> str:
        if found.language:
            file = data_folder() / "bddl_files" / self.base_suite / f"{task.name}_language_{found.language}.bddl"
            return read_language(file, REMEDY)
        return task.instruction if self.instruction == "clean" else upstream_instruction(found)
