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
from ...assets.settings import libero_plus_zip
from ...spec import Task
from ..bddl import read_language
from ..settings import LiberoSettings
from ..setups import Setup
from ..tasks import TaskFiles, suite_tasks, task_files
from .arm import arm_poses
from .noise import IMAGE_SIZE, REVISIONS, noise
from .scenery import scenery
from .variants import (
    ADDED_ASSETS,
    ASSETS,
    CATEGORIES,
    COUNTS,
    LEVELS,
    OFFICIAL_COUNTS,
    ZIP_CATEGORIES,
    ZIP_COUNTS,
    PlusVariant,
    data_folder,
    remedy,
    upstream_instruction,
    variants,
)

Instruction = Literal["upstream", "clean"]

_ALL_CATEGORIES = (*CATEGORIES.values(), *ZIP_CATEGORIES.values())


@dataclass(frozen=True)
class LiberoPlusSettings(LiberoSettings):
    """Settings of a suite of LIBERO-plus, e.g. ``libero_plus_spatial``.

    Attributes:
        categories: Which kinds of variants to run: camera, robot, language, noise, layout; with upstream's assets.zip
            (``assets.libero_plus_zip``) also light, background and the rest of layout. None for all that can be run.
        difficulty: Which of upstream's levels 1 .. 5 to run; all five, and those that have no level.
        instruction: ``upstream``: the sentence that upstream's benchmark gives, with the suffix of the variant's file name but for
            language variants; published numbers are with these. ``clean``: LIBERO's sentence, or the paraphrase.
        revision: Upstream's commit that defines the noise: 4976dc3, or 8a787e5 of before the change of 2025-11-07.
    """

    categories: tuple[str, ...] | None = None
    difficulty: tuple[int, ...] = LEVELS
    instruction: Instruction = "upstream"
    revision: str = REVISIONS[0]

    def __post_init__(self) -> None:
        super().__post_init__()
        # Lists come from configuration files.
        if self.categories is not None:
            object.__setattr__(self, "categories", tuple(self.categories))
        object.__setattr__(self, "difficulty", tuple(self.difficulty))
        for category in self.categories or ():
            if category not in _ALL_CATEGORIES:
                raise unknown_name("category of LIBERO-plus in suite.categories", str(category), _ALL_CATEGORIES)
        if self.categories == () or not self.difficulty or not set(self.difficulty) <= set(LEVELS):
            raise ConfigError(
                f"suite.categories and suite.difficulty must name at least one category and levels among {list(LEVELS)}; "
                f"got {list(self.categories or _ALL_CATEGORIES)} and {list(self.difficulty)}."
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
    def possible_categories(self) -> tuple[str, ...]:
        """What can be run with what the user has."""
        return _ALL_CATEGORIES if libero_plus_zip() else tuple(CATEGORIES.values())

    @property
    def coverage(self) -> tuple[int, int]:
        return sum(self._counts(self.base_suite)), OFFICIAL_COUNTS[self.base_suite]

    @property
    def whole_coverage(self) -> tuple[int, int]:
        """As `coverage`, of the four suites together."""
        return sum(sum(self._counts(suite)) for suite in COUNTS), sum(OFFICIAL_COUNTS.values())

    def _counts(self, suite: str) -> tuple[int, ...]:
        """Variants of each task that can be run with what the user has."""
        if libero_plus_zip() is None:
            return COUNTS[suite]
        return tuple(map(sum, zip(COUNTS[suite], ZIP_COUNTS[suite], strict=True)))

    def tasks(self) -> tuple[Task, ...]:
        """LIBERO's tasks; their trials are their variants.

        Raises:
            ConfigError: A category needs upstream's assets.zip, and none is named.
        """
        for category in self.categories or ():
            if category not in self.possible_categories:
                raise ConfigError(
                    f"variants of {category!r} (suite.categories) need upstream's assets.zip: download it from the data set "
                    "Sylvest/LIBERO-plus on the Hugging Face Hub and say assets.libero_plus_zip=PATH; or choose among "
                    f"{', '.join(self.possible_categories)}."
                )
        names = suite_tasks(self.base_suite).items()
        return tuple(
            Task(name, sentence, count, self.horizon, chosen=self._chosen(name, count))
            for (name, sentence), count in zip(names, self._counts(self.base_suite), strict=True)
        )

    def _chosen(self, task: str, count: int) -> tuple[int, ...] | None:
        wanted = set(self.categories or self.possible_categories)
        every_level = set(self.difficulty) == set(LEVELS)
        if wanted == set(self.possible_categories) and every_level:
            return None
        of_task = enumerate(variants(self.base_suite)[task][:count])
        return tuple(trial for trial, v in of_task if v.category in wanted and (every_level or v.level in self.difficulty))

    def variant(self, task: str, trial: int) -> Variant:
        found = variants(self.base_suite)[task][trial]
        return Variant(found.name.removeprefix(f"{task}_"), found.category, found.level or None, plain_trial=0)

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
            scenery=scenery(self.base_suite, task.name, found.from_zip) if found.from_zip else None,
        )

    def _files(self, task: str, found: PlusVariant) -> TaskFiles:
        if not found.layout:
            return task_files(self.base_suite, task)
        assets = ADDED_ASSETS if found.from_zip else ASSETS
        folder = data_folder(assets)
        return TaskFiles(
            folder / "bddl_files" / self.base_suite / f"{found.name}.bddl",
            folder / "init_files" / "libero_newobj" / self.base_suite / f"{found.name}.pruned_init",
            remedy(assets),
        )

    def _instruction(self, task: Task, found: PlusVariant) -> str:
        if found.language:
            file = data_folder() / "bddl_files" / self.base_suite / f"{task.name}_language_{found.language}.bddl"
            return read_language(file, remedy())
        return task.instruction if self.instruction == "clean" else upstream_instruction(found)
