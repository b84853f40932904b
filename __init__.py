"""vlagym: exact, fast and honest evaluation of vision-language-action policies on robot-manipulation benchmarks."""

from .episode import EpisodeResult, EpisodeSpec, SubtaskResult
from .errors import VlagymError

__version__ = "0.1.0"

__all__ = ["EpisodeResult", "EpisodeSpec", "SubtaskResult", "VlagymError", "__version__"]
