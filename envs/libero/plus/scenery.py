"""What LIBERO-plus's light, background and added-object variants take from upstream's assets.zip.

A light or background variant is its base task, word for word, in another scene file or between other walls: scenes.json says which.
A variant that adds objects has a definition of its own, whose new kinds of objects are listed here.

Source: sylvestf/LIBERO-plus@4976dc3. scenes.json: the problem that line 1 of bddl_files/SUITE/BASE_light_K.bddl (``_table_K``,
``_tb_K``) names, its class in libero/libero/envs/problems/, and the file names in libero/libero/envs/arenas/style.py. All other
lines of these 2,218 files are the base task's. Objects: libero/libero/envs/objects/custom_objects.py.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Scenery(NamedTuple):
    """Where an episode takes place, in upstream's files; LIBERO's own scene if `scene` is empty.

    Attributes:
        scene: Path of the scene's XML below ``assets``.
        floor: File name of the floor's texture.
        wall: File name of the walls' texture.
    """

    scene: str = ""
    floor: str = ""
    wall: str = ""


# Textures of floor and walls that upstream's scenes have if nothing is said, by the room that their file names begin with.
_TEXTURES = {
    "tabletop": ("light-gray-floor-tile.png", "light-gray-plaster.png"),
    "floor": ("light-gray-floor-tile.png", "light-gray-plaster.png"),
    "kitchen": ("gray_ceramic_tile.png", "yellow_linen_wall_texture.png"),
    "liv": ("seamless_wood_planks_floor.png", "light-gray-plaster.png"),
    "study": ("light-gray-floor-tile.png", "light-gray-plaster.png"),
}

# Kind of object -> its XML below ``assets``: the thirteen that variants add.
ADDED_OBJECTS = {
    kind: f"new_objects/{kind.partition('__')[0]}/{model}/usd/MJCF/{model}.xml"
    for kind, model in {
        "bag_of_yeast": "ibvtik",
        "bottle_of_alfredo_sauce": "xwzqjr",
        "bottle_of_antihistamines": "agavwx",
        "bottle_of_aspirin": "psvktc",
        "bottle_of_baby_oil": "xpdlrr",
        "bottle_of_barbecue_sauce__2": "nkqvex",
        "box_of_shampoo__1": "bclpiq",
        "box_of_vegetable_juice__1": "jsnnlv",
        "box_of_yogurt__1": "jkemqc",
        "boxed_ink_cartridge__3": "oinelo",
        "can_of_sardines": "dpgmry",
        "can_of_soda__1": "bfrzvk",
        "canned_food__1": "acgdtc",
    }.items()
}


def scenery(suite: str, task: str, change: str) -> Scenery:
    """The scenery of a variant.

    Args:
        suite: One of LIBERO's own.
        task: The base task.
        change: The end of the variant's name: ``light_K``, ``table_K``, ``tb_K`` or ``add_K``.

    Raises:
        KeyError: Upstream has no such variant.
    """
    if change.startswith("add_"):
        return Scenery()
    said = _table()[suite][task][change]
    stem, floor, wall = [said, "", ""] if isinstance(said, str) else said
    room = stem.rpartition("/")[2].removeprefix("libero_").partition("_")[0]
    usual_floor, usual_wall = _TEXTURES[room]
    return Scenery(f"scenes/{stem}.xml", floor or usual_floor, wall or usual_wall)


@cache
def _table() -> dict[str, dict[str, dict[str, str | list[str]]]]:
    """Suite -> base task -> end of the name -> scene, or [scene, floor, wall] where the textures are not the usual ones."""
    table: dict[str, dict[str, dict[str, str | list[str]]]] = json.loads(
        Path(__file__).with_name("scenes.json").read_text(encoding="utf-8")
    )
    return table
