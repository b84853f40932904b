"""Experiment trackers that a run can be told to keep (``trackers=[wandb,tensorboard]``), as subscribers of its events.

Other packages add theirs through the entry-point group ``vlagym.trackers``: a subclass of `Tracker` that takes no arguments.
"""

from .base import TrackedRun, Tracker
from .tracking import TRACKERS, Tracking, load_trackers

__all__ = ["TRACKERS", "TrackedRun", "Tracker", "Tracking", "load_trackers"]
