"""Weights & Biases. Project, entity, key and mode are wandb's own settings: WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE=offline, ..."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import DependencyError
from .base import TrackedRun, Tracker

if TYPE_CHECKING:
    import pandas as pd

PROJECT = "vlagym"
_STEP = "episodes"
_PATIENCE_S = 20  # without a network wandb would try for 90; then the run is refused before its first episode


class WandbTracker(Tracker):
    """Keeps a run as one run of Weights & Biases; a resumed run goes on in it."""

    @classmethod
    def check_ready(cls) -> None:
        try:
            import wandb  # noqa: F401
        except ImportError as error:
            raise DependencyError(f"trackers=[wandb] needs wandb ({error}): pip install 'vlagym[wandb]'.") from error

    def start(self, run: TrackedRun) -> None:
        import wandb

        self._settings = run.settings
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run.id,
            name=run.folder.name,
            resume="allow",
            dir=run.folder,
            config=dict(run.settings),
            settings=wandb.Settings(console="off", quiet=True, init_timeout=_PATIENCE_S),  # the terminal is the progress display's
        )
        # By our own count: wandb's steps begin anew in every offline session, and sessions have to fit together.
        self._run.define_metric(_STEP, hidden=True)
        self._run.define_metric("*", step_metric=_STEP)

    def log(self, episodes: int, figures: Mapping[str, float]) -> None:
        self._run.log({_STEP: episodes, **figures})

    def log_failure(self, episodes: int, name: str, video: Path) -> None:
        import wandb

        self._run.log({_STEP: episodes, name: wandb.Video(str(video), caption=video.stem, format="mp4")})

    def finish(self, episodes: int, table: pd.DataFrame, figures: Mapping[str, float], interrupted: bool) -> None:
        import wandb

        self._run.config.update(dict(self._settings), allow_val_change=True)
        self._run.log({_STEP: episodes, "success table": wandb.Table(dataframe=table)})
        self._run.summary.update(dict(figures))
        self._run.finish(exit_code=1 if interrupted else 0)
