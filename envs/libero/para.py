"""LIBERO-Para: the ten tasks of libero_goal in 4,092 other words, and PRIDE, which weighs a success by how far the words moved.

Source: cau-hai-lab/LIBERO-Para at dec2d93, metrics/libero_para_metadata.csv and eval_scripts/examples/eval_openvla_oft.py: one
episode per sentence, from the task's first initial state, 300 steps. Upstream's fixtures depend on all episodes before; here every
episode has the scene of the first reset after ``env.seed(0)``, so it depends on none.

PRIDE = sum(success * PD) / sum(PD), PD = 1 - (alpha * S_K + (1 - alpha) * S_T), with the similarities of keywords and of structure
that the table gives (arXiv 2603.28301).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...episode import Variant
from ...errors import AssetError, ConfigError, EnvError
from ..assets import locate
from ..assets.settings import assets_dir
from ..spec import Task
from .settings import LiberoSettings
from .setups import Setup
from .suite import LiberoSuite
from .tasks import suite_tasks, task_files

if TYPE_CHECKING:
    from ..spec import Float32Array
    from ..suite import StockEpisode

ASSETS = "libero_para"
REMEDY = f"Fetch it again: vla-eval assets fetch {ASSETS} --force"
BASE_SUITE = "libero_goal"
# Sentences per task in the order of libero_goal's tasks: known without the table, which `sentences` checks.
COUNTS = (416, 403, 423, 410, 410, 406, 411, 414, 386, 413)


class Sentence(NamedTuple):
    """One row of upstream's table.

    Attributes:
        name: ``high_low_evalI_verJ``, as upstream's files are called.
        category: What the words change (``act``, ``obj``, ``comp``) and how.
        text: What the policy is told.
        structural_similarity, keyword_similarity: To LIBERO's sentence, 0 .. 1.
    """

    name: str
    category: str
    text: str
    structural_similarity: float
    keyword_similarity: float

    def deviation(self, alpha: float) -> float:
        """PD: how far it is from LIBERO's sentence; `alpha` weighs the keywords."""
        return 1 - (alpha * self.keyword_similarity + (1 - alpha) * self.structural_similarity)


def sentences() -> Mapping[str, Sequence[Sentence]]:
    """Task of libero_goal -> its sentences in the table's order; the index of a sentence is its trial.

    Raises:
        AssetError: The table has not been fetched, or is damaged.
    """
    return _read(_file(assets_dir()))


@cache
def _file(assets: Path) -> Path:
    """The table, looked for once per assets folder."""
    return locate(ASSETS).path / "metrics" / "libero_para_metadata.csv"


@cache
def _read(file: Path) -> Mapping[str, Sequence[Sentence]]:
    by_words = {words: task for task, words in suite_tasks(BASE_SUITE).items()}
    listed: dict[str, list[Sentence]] = {task: [] for task in by_words.values()}
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                kinds = "_".join(row[key] for key in ("high", "mid", "low"))
                similarities = float(row["structural_similarity"]), float(row["keyword_similarity"])
                name = f"{kinds}_eval{row['eval']}_ver{row['batch_idx']}"
                category = f"{row['high']}: {row['mid']}"
                listed[by_words[row["original_instruction"]]].append(
                    Sentence(name, category, row["new_instruction"], *similarities)
                )
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise AssetError(f"{file} is not LIBERO-Para's table ({error!r}). {REMEDY}") from error
    if tuple(map(len, listed.values())) != COUNTS:
        raise AssetError(f"{file} does not have the sentences that were counted. {REMEDY}")
    return listed


@dataclass(frozen=True)
class LiberoParaSettings(LiberoSettings):
    """Settings of ``libero_para``.

    Attributes:
        alpha: What the similarity of keywords counts in PRIDE; the rest is that of structure.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"suite.alpha must be between 0 and 1; got {self.alpha}.")

    @property
    def base_suite(self) -> str:
        return BASE_SUITE

    @property
    def plain_suite(self) -> str:
        return BASE_SUITE

    @property
    def weighted_total(self) -> str:
        return f"PRIDE (alpha {self.alpha:g})"

    def tasks(self) -> tuple[Task, ...]:
        """libero_goal's tasks; their trials are their sentences."""
        names = suite_tasks(BASE_SUITE).items()
        return tuple(Task(name, words, count, self.horizon) for (name, words), count in zip(names, COUNTS, strict=True))

    def variant(self, task: str, trial: int) -> Variant:
        found = sentences()[task][trial]
        return Variant(found.name, found.category, None, plain_trial=0, weight=found.deviation(self.alpha))

    def setup(self, task: Task, trial: int) -> Setup:
        return Setup(task_files(BASE_SUITE, task.name), sentences()[task.name][trial].text, init_state=0, reset=0)


@dataclass(frozen=True)
class LiberoParaSuite(LiberoParaSettings, LiberoSuite):
    """libero_goal in other words."""

    @property
    def variant_assets(self) -> tuple[str, ...]:
        return (ASSETS,)

    def notices(self) -> list[str]:
        said = f"{self.name}: every episode has its task's first scene; upstream's fixtures depend on the episodes before."
        return [*super().notices(), said]

    def stock_episodes(self, task: str, actions: Sequence[Float32Array]) -> Iterator[StockEpisode]:
        raise EnvError(f"suite {self.name!r} has no stock loop to compare with; bench its plain suite {self.plain_suite!r}.")
