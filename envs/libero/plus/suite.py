"""The suites of LIBERO-plus on a machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....errors import EnvError
from ...assets import locate
from ...assets.settings import libero_plus_zip
from ..settings import BENCHMARK
from ..suite import LiberoSuite
from .scenery import ADDED_OBJECTS, scenery
from .settings import LiberoPlusSettings
from .upstream_assets import upstream_assets
from .variants import ADDED_ASSETS, ASSETS, variants

if TYPE_CHECKING:
    from ...spec import Float32Array
    from ...suite import StockEpisode
    from .scenery import Scenery


@dataclass(frozen=True)
class LiberoPlusSuite(LiberoPlusSettings, LiberoSuite):
    """One of LIBERO-plus's suites."""

    @property
    def variant_assets(self) -> tuple[str, ...]:
        return (ASSETS, ADDED_ASSETS) if self._adds_objects else (ASSETS,)

    @property
    def _adds_objects(self) -> bool:
        return libero_plus_zip() is not None and (self.categories is None or "layout" in self.categories)

    def check_ready(self) -> None:
        super().check_ready()
        self._zip_record()

    def provenance(self) -> dict[str, Any]:
        record = self._zip_record()
        return {**super().provenance(), **({"libero_plus_zip": record} if record else {})}

    def _zip_record(self) -> dict[str, Any] | None:
        """What identifies those of upstream's files that the chosen variants need; None if they need none.

        Raises:
            AssetError: One of them is missing or damaged.
        """
        parts = [part for found in self._sceneries() for part in upstream_assets().parts_of_scene(found)]
        if self._adds_objects:
            parts += [part for kind in ADDED_OBJECTS for part in upstream_assets().parts_of_object(kind)]
        return upstream_assets().record(parts) if parts else None

    def _sceneries(self) -> Iterator[Scenery]:
        """The scenes of the chosen variants, but for LIBERO's own."""
        for task in self.tasks() if libero_plus_zip() else ():
            of_task = variants(self.base_suite)[task.name]
            changes = dict.fromkeys(of_task[trial].from_zip for trial in task.selected_trials)
            found = (scenery(self.base_suite, task.name, change) for change in changes if change)
            yield from (one for one in found if one.scene)

    def protocol(self) -> dict[str, Any]:
        """What is measured; which variants are run is the plan's to say."""
        everything = super().protocol()
        return {key: value for key, value in everything.items() if key not in ("categories", "difficulty")}

    def notices(self) -> list[str]:
        (possible, official), (everywhere, of_all) = self.coverage, self.whole_coverage
        covered = f"{self.name} covers {possible:,} of {official:,} variants, LIBERO-plus as a whole {everywhere:,} of {of_all:,}"
        return [
            *super().notices(),
            f"{covered}, light, textures and added objects from upstream's assets.zip."
            if libero_plus_zip()
            else f"{covered}: those that change light or textures or add objects need upstream's assets.zip "
            "(assets.libero_plus_zip=PATH).",
            *self._zip_notices(),
            f"{self.name} tells the policy "
            + (
                "what upstream's benchmark does, file names included (suite.instruction=upstream)."
                if self.instruction == "upstream"
                else "clean sentences (suite.instruction=clean); published numbers are with upstream's."
            ),
        ]

    def _zip_notices(self) -> list[str]:
        """Upstream reads all of LIBERO's files from its archive; here they are LIBERO's own."""
        others = upstream_assets().differing(locate(BENCHMARK).path) if libero_plus_zip() else []
        if not others:
            return []
        return [
            f"Upstream's assets.zip has other bytes in {len(others)} of LIBERO's files (e.g. {others[0]}), so episodes may differ "
            "from upstream's: objects, fixtures and the plain scenes are LIBERO's here."
        ]

    def stock_episodes(self, task: str, actions: Sequence[Float32Array]) -> Iterator[StockEpisode]:
        raise EnvError(f"suite {self.name!r} has no stock loop to compare with; bench its plain suite {self.plain_suite!r}.")
