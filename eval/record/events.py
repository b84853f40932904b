"""What the runner tells those who listen: the store, the terminal, trackers. Adding an output never touches the runner."""

from __future__ import annotations

from collections.abc import Sequence

from ...episode import EpisodeResult, EpisodeSpec


class Subscriber:
    """Hears the events of a run; every method is optional. An exception it raises ends the run (which can be resumed)."""

    def run_started(self, plan: Sequence[EpisodeSpec], finished: Sequence[EpisodeResult]) -> None:
        """The run is about to start; `finished` are results of earlier sessions of it."""

    def episode_started(self, spec: EpisodeSpec, worker: int) -> None:
        """A worker has been given an episode."""

    def chunk_done(self, spec: EpisodeSpec, steps: int) -> None:
        """A chunk of actions has been executed; `steps` counts the whole episode so far."""

    def episode_retried(self, spec: EpisodeSpec, reason: str) -> None:
        """An episode could not be finished and will be tried again."""

    def episode_ended(self, result: EpisodeResult) -> None:
        """An episode is over."""

    def noticed(self, sentence: str) -> None:
        """Something that whoever watches the run should know."""

    def waiting(self, name: str, seconds: float) -> None:
        """The run has been waiting that long for what is named, such as an answer of the policy; said again every doubling."""

    def run_ended(self, interrupted: bool) -> None:
        """The run is over, or was stopped before its plan was done."""
