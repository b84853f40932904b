"""Why episodes failed, as the page shows it; found by `vlagym.eval.failures`, which this room knows nothing of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...episode import EpisodeSpec
from ..tables.success import Sheet


@dataclass(frozen=True)
class Why:
    """Of one run.

    Attributes:
        sheets: Tables by their headings.
        reasons: What went wrong in an episode, in words.
    """

    sheets: Sequence[tuple[str, Sheet]]
    reasons: Mapping[EpisodeSpec, str]
