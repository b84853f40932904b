"""vlagym from Python: an evaluation within a program, such as a training loop, that leaves the program as it found it."""

from .evaluate import close_workers, evaluate

__all__ = ["close_workers", "evaluate"]
