"""Scores that papers and other projects published, each with its source and protocol: data in results/published/scores.json.

A row gives, per suite, the success rate in per cent; for suites whose tasks are reported one by one, a rate per group of tasks; for
chains of subtasks, the rates of one to five in a row and the average length. ``episodes`` is how many episodes stand behind each
number where the source says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..._registry import unknown_name
from ...errors import ConfigError

SCORES_FILE = Path(__file__).parents[2] / "results" / "published" / "scores.json"
PREFIX = "published:"

# Which of a suite's tasks a published number is the average of, as patterns.
TASKS_OF_GROUP = {
    "pick_coke_can": ("google_pick_coke_can_*",),
    "move_near": ("google_move_near",),
    "open_close_drawer": ("google_open_*_drawer", "google_close_*_drawer"),
    "open_drawer": ("google_open_*_drawer",),
    "close_drawer": ("google_close_*_drawer",),
    "place_apple_in_closed_top_drawer": ("google_place_apple_in_closed_top_drawer",),
    "spoon_on_towel": ("widowx_spoon_on_towel",),
    "carrot_on_plate": ("widowx_carrot_on_plate",),
    "stack_cube": ("widowx_stack_cube",),
    "eggplant_in_basket": ("widowx_eggplant_in_basket",),
}


@dataclass(frozen=True)
class PublishedScore:
    """One published number.

    Attributes:
        policy: Whose it is.
        source: Where it was published.
        protocol: How it was measured, in the source's words.
        suite: Our name of the suite.
        group: Tasks it covers, as the source names them; None for the suite's average.
        rate: Fraction; for chains, the average length divided by the length of a chain.
        episodes: How many stand behind it, if known.
        in_a_row: For chains, the fractions that did 1, 2, ... subtasks in a row.
    """

    policy: str
    source: str
    protocol: str
    suite: str
    group: str | None
    rate: float
    episodes: int | None
    in_a_row: tuple[float, ...] = ()

    def covers(self, task: str) -> bool:
        """Whether the number is an average over this task."""
        if self.group is None:
            return True
        return any(fnmatchcase(task, pattern) for pattern in TASKS_OF_GROUP[self.group])


def published_scores() -> list[PublishedScore]:
    """All published numbers, in the order of the file."""
    rows = json.loads(SCORES_FILE.read_text(encoding="utf-8"))
    return [score for row in rows for suite, value in row["scores"].items() for score in _scores(row, suite, value)]


def find_published(name: str, suites: list[str]) -> list[PublishedScore]:
    """The numbers that ``published:POLICY`` or ``published:POLICY@SOURCE`` means for these suites.

    Args:
        name: With the prefix. What follows ``@`` is any part of the source's or the protocol's description.
        suites: Only numbers on one of these are returned.

    Raises:
        ConfigError: Nothing, or more than one source, fits.
    """
    policy, _, wanted = name.removeprefix(PREFIX).partition("@")
    everything = published_scores()
    if policy not in {score.policy for score in everything}:
        raise unknown_name("published policy", policy, {score.policy for score in everything})
    found = [score for score in everything if score.policy == policy and score.suite in suites]
    found = [score for score in found if wanted.lower() in f"{score.source} {score.protocol}".lower()]
    if not found:
        at = f" from a source like {wanted!r}" if wanted else ""
        raise ConfigError(f"there is no published score of {policy} on {', '.join(suites)}{at}. {_HOW_TO_LIST}")
    for suite in suites:
        sources = {score.source for score in found if score.suite == suite}
        if len(sources) > 1:
            raise ConfigError(
                f"there are several published scores of {policy} on {suite}; choose one:\n"
                + "\n".join(f"  '{PREFIX}{policy}@{_part_of_its_own(source, sources)}'   {source}" for source in sorted(sources))
            )
    return found


_HOW_TO_LIST = "`vla-eval compare --published` lists them."


def _part_of_its_own(source: str, sources: Iterable[str]) -> str:
    """The first word of a source that no other has; all of it if there is none."""
    others = [other.lower() for other in sources if other != source]
    return next((word for word in source.split() if not any(word.lower() in other for other in others)), source)


def _scores(row: dict[str, Any], suite: str, value: Any) -> list[PublishedScore]:
    common = (row["policy"], row["source"], row["protocol"], suite)
    if isinstance(value, dict) and "in_a_row" in value:
        rates = tuple(rate / 100 for rate in value["in_a_row"])
        return [PublishedScore(*common, None, value["average_length"] / len(rates), row["episodes"], rates)]
    if isinstance(value, dict):
        return [PublishedScore(*common, group, rate / 100, row["episodes"]) for group, rate in value.items()]
    return [PublishedScore(*common, None, value / 100, row["episodes"])]
