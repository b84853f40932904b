"""Which class plays an episode of which kind of setup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .drawers import OpenOrClose, PlaceInDrawer
from .episode import Episode
from .grasp import Grasp
from .move_near import MoveNear
from .put_on import PutOn
from .setups import DrawerSetup, GraspSetup, MoveNearSetup, PlaceSetup, PutOnSetup, Setup

FAMILIES: dict[type[Setup], type[Episode[Any]]] = {
    GraspSetup: Grasp,
    MoveNearSetup: MoveNear,
    PutOnSetup: PutOn,
    DrawerSetup: OpenOrClose,
    PlaceSetup: PlaceInDrawer,
}


def start_episode(setup: Setup, assets: Path) -> Episode[Any]:
    """Build the scene of an episode and lay it out."""
    return FAMILIES[type(setup)](setup, assets)
