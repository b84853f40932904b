"""In place of LIBERO-plus's assets.zip, which is too large for tests: its layout, filled with what is made from LIBERO's own files.

Scenes are LIBERO's with other lights or another texture on the table; textures are coloured noise; the added objects are boxes, and
one has a mesh. As in the published archive everything lies below folders of somebody's machine.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

from vlagym.envs.libero.plus.scenery import ADDED_OBJECTS, Scenery

PREFIX = "inspire/project/LIBERO-plus-0/assets/"
LIBERO_SCENES = {
    "tabletop": "libero_tabletop_base_style.xml",
    "floor": "libero_floor_base_style.xml",
    "kitchen": "libero_kitchen_tabletop_base_style.xml",
    "liv": "libero_living_room_tabletop_base_style.xml",
    "study": "libero_study_base_style.xml",
}
# Textures of what things stand on.
TOPS = "tex-table|tex-living_room_table|tex-desk"
# Objects that are defined at the top of their file, where only upstream's code looks for them.
AT_THE_TOP = ("can_of_soda__1",)
WITH_MESH = "bottle_of_aspirin"
TETRAHEDRON = "v 0 0 0\nv .05 0 0\nv 0 .05 0\nv 0 0 .08\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"


def write_assets(libero: Path, into: Path, sceneries: Iterable[Scenery], kinds: Iterable[str] = ADDED_OBJECTS) -> Path:
    """Write a folder ``assets`` with what these scenes and objects need.

    Args:
        libero: LIBERO's own ``assets``.
        into: The folder to make.
        sceneries: Scenes and textures.
        kinds: Of added objects.
    """
    for scenery in sceneries:
        _write_scene(libero, into, scenery)
    for kind in kinds:
        _write_object(into, kind)
    return into


def zipped(assets: Path, file: Path, prefix: str = PREFIX, more: Mapping[str, bytes] | None = None) -> Path:
    """Pack a folder ``assets``, and members of any name beside."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(assets.rglob("*")):
            if path.is_file():
                archive.write(path, prefix + path.relative_to(assets).as_posix())
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return file


def light_of(scene: str) -> tuple[float, float, float]:
    """Where the first light of a scene is, m: a place that follows from its name."""
    number = zlib.crc32(scene.encode())
    return (number % 7 / 4, number % 11 / 8 - 0.5, 2 + number % 5 / 4)


def colour_of(texture: str) -> np.ndarray:
    """uint8[3]: the mean colour of a texture, which follows from its name."""
    return np.random.default_rng(zlib.crc32(texture.encode())).integers(40, 216, 3, dtype=np.uint8)


def _write_scene(libero: Path, into: Path, scenery: Scenery) -> None:
    stem = posixpath.basename(scenery.scene).removesuffix(".xml").removeprefix("libero_")
    room = stem.partition("_")[0]
    text = re.sub(r"<!--.*?-->", "", (libero / "scenes" / LIBERO_SCENES[room]).read_text(), flags=re.DOTALL)
    if "_light_" in stem:
        text = re.sub(r'(<light name="light1"[^>]*?) pos="[^"]*"', rf'\1 pos="{" ".join(map(str, light_of(scenery.scene)))}"', text)
    elif "_table_" in stem:
        surface = stem.partition("_table_")[2] + ".png"
        _texture(into, surface)
        text = re.sub(rf'file="[^"]*"([^>]*name="(?:{TOPS})")', rf'file="../textures/{surface}"\1', text)
    folder = posixpath.dirname(scenery.scene)

    def moved(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("scenes", match[1]))
        own = libero / path
        if own.is_file() and "texplane" not in match[0] and not (into / path).exists():
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(own, into / path)
        return f'file="{posixpath.relpath(path, folder)}"'

    target = into / scenery.scene
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(re.sub(r'file="([^"]*)"', moved, text))
    for name in (scenery.floor, scenery.wall):
        if (libero / "textures" / name).is_file():
            shutil.copyfile(libero / "textures" / name, into / "textures" / name)
        else:
            _texture(into, name)


def _texture(into: Path, name: str) -> None:
    file = into / "textures" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(name.encode())).integers(-30, 31, (64, 64, 1))
    imageio.imwrite(file, (colour_of(name) + noise).astype(np.uint8))


def _write_object(into: Path, kind: str) -> None:
    file = into / ADDED_OBJECTS[kind]
    (file.parent / "visuals").mkdir(parents=True, exist_ok=True)
    imageio.imwrite(file.parent / "visuals" / "skin.png", np.full((8, 8, 3), colour_of(kind), np.uint8))
    shape = 'type="box" size=".03 .04 .02"'
    mesh = ""
    if kind == WITH_MESH:
        (file.parent / "visuals" / "body.obj").write_text(TETRAHEDRON)
        shape, mesh = 'type="mesh" mesh="body"', '<mesh name="body" file="visuals/body.obj"/>'
    inner = f"""
      <geom {shape} contype="0" conaffinity="0" group="1" material="skin"/>
      <geom type="box" size=".03 .04 .02" group="0" density="120" rgba=".8 .8 .8 0"/>"""
    sites = """
      <site name="bottom_site" pos="0 0 -.02" size=".005" rgba="0 0 0 0"/>
      <site name="top_site" pos="0 0 .02" size=".005" rgba="0 0 0 0"/>
      <site name="horizontal_radius_site" pos=".04 .04 0" size=".005" rgba="0 0 0 0"/>"""
    if kind in AT_THE_TOP:
        body = f'<body name="object">{inner}{sites}</body>'
    else:
        body = f'<body><body name="object">{inner}</body>{sites}</body>'
    file.write_text(
        f"""<mujoco model="{kind}"><asset>
      <texture name="skin" type="2d" file="visuals/skin.png"/><material name="skin" texture="skin"/>{mesh}
    </asset><worldbody>{body}</worldbody></mujoco>"""
    )
