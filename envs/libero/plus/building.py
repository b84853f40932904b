"""Makes hf-libero build what a variant takes from upstream's assets.zip: entries of their own in its tables, nothing replaced.

MuJoCo keeps every texture that it has read, decoded, for as long as the process lives (a picture of 6,144 pixels squared is 113 MB,
and taking any out of its cache crashes it), and knows it by its path and its time of change. So upstream's textures are read from a
few paths that all scenes use in turn, with a time that is never used twice: then each takes the place of the one before.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np
from robosuite.models.objects import MujocoXMLObject

from ....errors import AssetError
from ...assets.manifest import load_manifest
from .scenery import ADDED_OBJECTS, Scenery
from .upstream_assets import FLOOR, REMEDY, WALL, upstream_assets

_times_s = count(1)


@contextmanager
def scene_arguments(scenery: Scenery) -> Iterator[dict[str, Any]]:
    """What to give to an hf-libero problem class beside its usual arguments; the files are gone afterwards.

    Raises:
        AssetError: Something is missing from upstream's archive, or damaged.
    """
    # Here, for who gives arguments to a problem class has had hf-libero imported as it has to be (see `.._upstream`).
    from libero.libero.envs.arenas.style import FLOOR_STYLE, WALL_STYLE
    from libero.libero.envs.base_object import OBJECTS_DICT

    for kind in ADDED_OBJECTS:
        OBJECTS_DICT.setdefault(kind, partial(AddedObject, kind))
    if not scenery.scene:
        yield {}
        return
    source = upstream_assets().scene(scenery)
    folder = Path(_workshop().name)
    try:
        try:
            floor, wall = _write_scene(source, scenery, folder / "scene.xml")
        except OSError as error:
            raise AssetError(
                f"cannot write a scene to {folder}: {error}. Make room, or choose another folder with TMPDIR."
            ) from error
        # Called by their file names, which no style of LIBERO's is.
        FLOOR_STYLE.setdefault(floor, floor)
        WALL_STYLE.setdefault(wall, wall)
        # An absolute path, so hf-libero's own folder of assets does not count.
        yield {"scene_xml": str(folder / "scene.xml"), "scene_properties": {"floor_style": floor, "wall_style": wall}}
    finally:
        for file in folder.iterdir():
            file.unlink()


def _write_scene(source: Path, scenery: Scenery, target: Path) -> tuple[str, str]:
    """Write a scene's XML with its files where they are to be read from.

    Returns:
        File names of the textures of floor and walls; an arena puts them behind the folders that the XML says.
    """
    tree = ElementTree.parse(source)
    styles = {FLOOR: scenery.floor, WALL: scenery.wall}
    places = (target.parent / f"{number}.png" for number in count())
    assets = tree.getroot().find("asset")
    for node in [] if assets is None else assets.findall("./*[@file]"):
        name = node.get("name", "")
        is_texture = node.tag == "texture"
        file = Path(os.path.normpath(source.parent / node.get("file", "")))
        if is_texture and name in styles:
            file = file.with_name(styles[name])
        if is_texture and file.name not in _names_of_libero():
            file = _in_place(file, next(places))
        if is_texture and name in styles:
            styles[name] = file.name
        node.set("file", str(file))
    tree.write(target, encoding="utf-8")
    return styles[FLOOR], styles[WALL]


def _in_place(file: Path, place: Path) -> Path:
    """Copy a texture to one of the paths that all scenes use."""
    place = place.with_suffix(file.suffix)
    shutil.copyfile(file, place)
    time_s = next(_times_s)
    os.utime(place, (time_s, time_s))
    return place


@cache
def _workshop() -> tempfile.TemporaryDirectory[str]:
    """A folder of this process."""
    return tempfile.TemporaryDirectory(prefix="vlagym-scenery-")


@cache
def _names_of_libero() -> frozenset[str]:
    """Names of LIBERO's own files: few enough to be kept."""
    return frozenset(PurePosixPath(path).name for path in load_manifest("libero").files)


class AddedObject(MujocoXMLObject):  # type: ignore[misc]  # robosuite has no types
    """An object that only LIBERO-plus has.

    Args:
        kind: Its kind, of `ADDED_OBJECTS`.
        name: In the task.
    """

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            str(upstream_assets().object(kind)),
            name=name,
            joints=[{"type": "free", "damping": "0.0005"}],
            obj_type="all",
            duplicate_collision_geoms=False,
        )
        self.category_name = kind.replace("__", "_")
        self.rotation = {"x": (-np.pi / 2, -np.pi / 2), "y": (-np.pi, -np.pi), "z": (np.pi, np.pi)}
        self.rotation_axis = None
        self.object_properties: dict[str, Any] = {"vis_site_names": {}}

    def _get_object_subtree(self) -> Any:
        """The body ``object``; upstream also knows files that have it at the top, where robosuite looks one body deeper."""
        top = self.worldbody.find("./body[@name='object']")
        if self.worldbody.find("./body/body[@name='object']") is not None:
            return super()._get_object_subtree()
        if top is None:
            raise AssetError(f"{self.file} defines no body named 'object'. {REMEDY}")
        around = self.worldbody.makeelement("body", {})
        around.append(top)
        self.worldbody.append(around)
        try:
            return super()._get_object_subtree()
        finally:
            self.worldbody.remove(around)
