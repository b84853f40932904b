"""The suites of LIBERO-plus on a machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....errors import EnvError
from ..suite import LiberoSuite
from .settings import LiberoPlusSettings
from .variants import ASSETS, COUNTS, OFFICIAL_COUNTS

if TYPE_CHECKING:
    from ...spec import Float32Array
    from ...suite import StockEpisode


@dataclass(frozen=True)
class LiberoPlusSuite(LiberoPlusSettings, LiberoSuite):
    """One of LIBERO-plus's suites."""

    @property
    def variant_assets(self) -> tuple[str, ...]:
        return (ASSETS,)

    def protocol(self) -> dict[str, Any]:
        """What is measured; which variants are run is the plan's to say."""
        everything = super().protocol()
        return {key: value for key, value in everything.items() if key not in ("categories", "difficulty")}

    def notices(self) -> list[str]:
        possible, official = self.coverage
        everywhere, of_all = sum(map(sum, COUNTS.values())), sum(OFFICIAL_COUNTS.values())
        return [
            *super().notices(),
            f"{self.name} covers {possible:,} of {official:,} variants, LIBERO-plus as a whole {everywhere:,} of {of_all:,}: "
            "those that change light or textures or add objects need upstream's assets.zip, which is not read.",
            f"{self.name} tells the policy "
            + (
                "what upstream's benchmark does, file names included (suite.instruction=upstream)."
                if self.instruction == "upstream"
                else "clean sentences (suite.instruction=clean); published numbers are with upstream's."
            ),
        ]

    def stock_episodes(self, task: str, actions: Sequence[Float32Array]) -> Iterator[StockEpisode]:
        raise EnvError(f"suite {self.name!r} has no stock loop to compare with; bench its plain suite {self.plain_suite!r}.")
