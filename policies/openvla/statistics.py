"""Statistics of the data a checkpoint was trained on: what turns a network's numbers in [-1, 1] into actions, and states into such.

Source: ``predict_action`` of openvla/openvla c8f03f48 and ``_unnormalize_actions``, ``normalize_proprio`` of moojink/openvla-oft
213c5ff8, which differ in an epsilon. All arithmetic is float64, as upstream's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..._registry import unknown_name
from ...errors import ConfigError, PolicyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64Array = NDArray[np.float64]

Bounds = Literal["q01_q99", "min_max"]
_KEYS: dict[Bounds, tuple[str, str]] = {"q01_q99": ("q01", "q99"), "min_max": ("min", "max")}
OFT_EPSILON = 1e-8


@dataclass(frozen=True)
class Scale:
    """A range per entry, and which entries are scaled by it.

    Attributes:
        low: float64[A].
        high: float64[A].
        mask: bool[A]; entries that are False are left as they are.
        epsilon: Added to the width of the range, as OFT does.
    """

    low: Float64Array
    high: Float64Array
    mask: NDArray[np.bool_]
    epsilon: float = 0.0

    @property
    def size(self) -> int:
        """A."""
        return len(self.low)

    def unnormalise(self, values: NDArray[np.floating[Any]]) -> Float64Array:
        """From [-1, 1] to the range: float[..., A] -> float64[..., A]."""
        scaled = 0.5 * (values + 1) * (self.high - self.low + self.epsilon) + self.low
        return np.where(self.mask, scaled, values)

    def normalise(self, values: NDArray[np.floating[Any]]) -> Float64Array:
        """From the range to [-1, 1], clipped there: float[..., A] -> float64[..., A]."""
        scaled = 2 * (values.astype(np.float64) - self.low) / (self.high - self.low + self.epsilon) - 1
        return np.clip(np.where(self.mask, scaled, values), -1.0, 1.0)


class Statistics:
    """The statistics of one checkpoint, by data set.

    Args:
        norm_stats: ``{data set: {"action": {...}, "proprio": {...}}}`` as in ``dataset_statistics.json``.
        where: The checkpoint, for messages.
    """

    def __init__(self, norm_stats: Mapping[str, Any], where: str) -> None:
        self._norm_stats = norm_stats
        self._where = where

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statistics) and self._norm_stats == other._norm_stats

    __hash__ = None  # type: ignore[assignment]

    @property
    def keys(self) -> list[str]:
        """Names of the data sets."""
        return sorted(self._norm_stats)

    def resolve(self, key: str | None) -> str:
        """The data set to use: `key`, or `key` with the suffix that upstream's filtered LIBERO data carries, or the only one.

        Raises:
            ConfigError: The checkpoint has no such statistics; the known ones are listed.
        """
        if key is None:
            if len(self._norm_stats) > 1:
                raise ConfigError(f"{self._where} has several statistics; name one as policy.unnorm_key: {', '.join(self.keys)}.")
            return self.keys[0]
        for candidate in (key, f"{key}_no_noops"):
            if candidate in self._norm_stats:
                return candidate
        raise unknown_name(f"policy.unnorm_key of {self._where}", key, self._norm_stats)

    def scale(self, key: str, part: Literal["action", "proprio"], size: int, bounds: Bounds, epsilon: float) -> Scale:
        """The scale of actions or of states.

        Args:
            key: A name in `keys`.
            part: Which of the two.
            size: Number of entries there must be.
            bounds: Which statistics are the ends of the range.
            epsilon: See `Scale`.

        Raises:
            PolicyError: The statistics are missing, of the wrong width or not finite.
        """
        where = f"statistics {key!r} ({part}) of {self._where}"
        try:
            entry = self._norm_stats[key][part]
            low, high = (np.array(entry[name], np.float64) for name in _KEYS[bounds])
            mask = np.array(entry.get("mask", np.ones(low.shape)), bool)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PolicyError(f"{where} are missing or damaged: {error}.") from error
        if not low.shape == high.shape == mask.shape == (size,):
            shapes = {name: array.shape for name, array in zip((*_KEYS[bounds], "mask"), (low, high, mask), strict=True)}
            raise PolicyError(f"{where} must have {size} entries each; got {shapes}. Choose another policy.unnorm_key.")
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise PolicyError(f"{where} hold values that are not finite.")
        return Scale(low, high, mask, epsilon)
