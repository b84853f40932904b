"""Upstream's assets.zip is read as it is published or unpacked, only as far as needed, and never beyond its folder."""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from upstream_assets import PREFIX, zipped

from vlagym.envs.libero.plus import upstream_assets as module
from vlagym.envs.libero.plus.scenery import ADDED_OBJECTS, Scenery
from vlagym.envs.libero.plus.upstream_assets import UpstreamAssets, upstream_assets
from vlagym.errors import AssetError, ConfigError

LIGHT = Scenery("scenes/lights/tabletop_light_sync_modified_7.xml", "floor.png", "wall.png")
# The textures that an arena replaces are not in the archive.
SCENE = """<mujoco><asset>
  <texture name="texplane" file="../../textures/no_floor.png"/><texture name="tex-wall" file="../../textures/no_wall.png"/>
  <texture name="tex-table" file="../../textures/table.png"/><mesh name="m" file="../desk/desk.msh"/>
</asset><worldbody/></mujoco>"""
FILES = {
    LIGHT.scene: SCENE,
    "scenes/desk/desk.msh": "mesh",
    "scenes/libero_tabletop_base_style.xml": "<mujoco/>",
    "textures/table.png": "table",
    "textures/floor.png": "floor",
    "textures/wall.png": "wall",
    "textures/unused.png": "unused",
}
NEEDED = [LIGHT.scene, *(f"textures/{name}.png" for name in ("floor", "wall", "table")), "scenes/desk/desk.msh"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder ``assets``."""
    for path, content in FILES.items():
        (tmp_path / "assets" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "assets" / path).write_text(content)
    return tmp_path / "assets"


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], UpstreamAssets]:
    """Opens what the setting names."""
    monkeypatch.setenv("VLAGYM_ASSETS_DIR", str(tmp_path / "sets"))

    def opened(where: Path) -> UpstreamAssets:
        monkeypatch.setenv("VLAGYM_ASSETS_LIBERO_PLUS_ZIP", str(where))
        return upstream_assets()

    return opened


@pytest.mark.parametrize("prefix", ["", "assets/", PREFIX])
def test_only_what_a_scene_needs_is_taken_out_of_the_archive(folder, tmp_path, named, prefix) -> None:
    assets = named(zipped(folder, tmp_path / "assets.zip", prefix))
    assert list(assets.parts_of_scene(LIGHT)) == NEEDED
    scene = assets.scene(LIGHT)
    assert scene.read_text() == SCENE
    (taken,) = (tmp_path / "sets").iterdir()
    assert sorted(p.relative_to(taken).as_posix() for p in taken.rglob("*") if p.is_file()) == sorted(NEEDED)
    assert (scene.parent / "../../textures/wall.png").read_text() == "wall"


def test_the_archive_and_what_it_was_unpacked_to_are_recorded_alike(folder, tmp_path, named) -> None:
    archive = named(zipped(folder, tmp_path / "assets.zip")).record(NEEDED)
    with zipfile.ZipFile(tmp_path / "assets.zip") as content:
        content.extractall(tmp_path / "unpacked")
    assert archive["files"] == len(NEEDED)
    for where in (tmp_path / "unpacked", tmp_path / "unpacked" / PREFIX, folder):
        found = named(where)
        assert found.record(NEEDED) == archive
        assert found.scene(LIGHT).is_relative_to(where)  # read where it is
    other = tmp_path / "other"
    folder.rename(other)
    (other / "textures/wall.png").write_text("Wall")
    assert named(other).record(NEEDED) != archive


def test_a_damaged_copy_in_the_folder_of_sets_is_taken_out_again(folder, tmp_path, named) -> None:
    archive = zipped(folder, tmp_path / "assets.zip")
    scene = named(archive).scene(LIGHT)
    scene.write_text(SCENE[:-1])
    module._content_of.cache_clear()
    module._opened.cache_clear()
    assert named(archive).scene(LIGHT) == scene
    assert scene.read_text() == SCENE


def pack(folder: Path) -> Path:
    return zipped(folder, folder.parent / "assets.zip")


def garbage(folder: Path) -> Path:
    (folder.parent / "assets.zip").write_bytes(b"PK but no archive")
    return folder.parent / "assets.zip"


def without(path: str, how: Callable[[Path], Path] = pack) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        (folder / path).unlink()
        return how(folder)

    return made


def with_member(name: str) -> Callable[[Path], Path]:
    return lambda folder: zipped(folder, folder.parent / "assets.zip", more={name: b""})


def with_scene(content: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        (folder / LIGHT.scene).write_text(content)
        return pack(folder)

    return made


def with_link(folder: Path) -> Path:
    link = zipfile.ZipInfo(f"{PREFIX}textures/wall.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    file = without("textures/wall.png")(folder)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    return file


def with_another_byte(folder: Path) -> Path:
    file, name = pack(folder), f"{PREFIX}scenes/desk/desk.msh"
    with zipfile.ZipFile(file) as archive:
        at = archive.getinfo(name).header_offset + 30 + len(name)
    content = bytearray(file.read_bytes())
    content[at] ^= 255
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (garbage, "it is no zip archive that can be read"),
        (lambda folder: zipped(folder / "textures", folder / "assets.zip"), "it holds no folder scenes with XML files"),
        (lambda folder: folder / "textures", "it holds no folder scenes with XML files"),
        (without("textures/wall.png"), "textures/wall.png is not among them"),
        (without("textures/wall.png", lambda folder: folder), "textures/wall.png is not among them"),
        (without(LIGHT.scene), f"{LIGHT.scene} is not among them"),
        (with_member(f"{PREFIX}../../../../x.png"), "x.png', which leaves its folder"),
        (with_member("/etc/x.png"), "it holds '/etc/x.png', which leaves its folder"),
        (
            with_scene(SCENE.replace("../desk", "../../../desk")),
            "refers to '../../../desk/desk.msh', which leaves",
        ),
        (with_scene(SCENE.replace("../desk/desk.msh", "/etc/passwd")), "refers to '/etc/passwd', which leaves"),
        (with_scene("<mujoco>"), f"{LIGHT.scene} is not XML"),
        (with_scene(f'<?xml version="1.0" encoding="none"?>{SCENE}'), f"{LIGHT.scene} is not XML (unknown encoding: none)"),
        (with_scene(SCENE.replace("<worldbody/>", '<include file="/etc/passwd"/>')), "names a file in <include file>"),
        (with_scene(SCENE.replace('name="m" file=', 'name="m" fileright=')), "names a file in <mesh fileright>"),
        (with_link, "textures/wall.png is a link"),
        (with_another_byte, "scenes/desk/desk.msh in it is corrupt, truncated or encrypted"),
    ],
)
def test_what_is_wrong_with_it_is_one_sentence_with_the_remedy(folder, tmp_path, named, made, said: str) -> None:
    where = made(folder)
    with pytest.raises(AssetError, match=re.escape(said)) as error:
        named(where).scene(LIGHT)
    assert str(where) in str(error.value)
    assert "Download assets.zip of the data set Sylvest/LIBERO-plus" in str(error.value)
    assert "\n" not in str(error.value)
    written = [p for p in (tmp_path / "sets").rglob("*") if p.is_file()]
    assert {p.name for p in written} <= {Path(path).name for path in FILES}  # and no half of one


def test_a_file_that_is_too_large_is_not_taken_out(folder, tmp_path, named, monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 4)
    with pytest.raises(AssetError, match="has more than 4 bytes"):
        named(zipped(folder, tmp_path / "assets.zip")).scene(LIGHT)


def test_a_full_disk_names_the_folder_and_the_setting(folder, tmp_path, named) -> None:
    (tmp_path / "sets").write_text("a file where the folder should be")
    with pytest.raises(AssetError, match=r"cannot write scenes.* of .*assets\.zip to .*VLAGYM_ASSETS_DIR"):
        named(zipped(folder, tmp_path / "assets.zip")).scene(LIGHT)


def test_without_the_setting_or_the_file_nothing_is_guessed(tmp_path, named, monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"assets\.libero_plus_zip .* names .*/no\.zip, which does not exist"):
        named(tmp_path / "no.zip")
    monkeypatch.delenv("VLAGYM_ASSETS_LIBERO_PLUS_ZIP")
    with pytest.raises(ConfigError, match=r"no assets\.zip of LIBERO-plus is named\..*assets\.libero_plus_zip=PATH"):
        upstream_assets()


def test_an_added_object_brings_its_meshes_and_textures(folder, tmp_path, named) -> None:
    path = ADDED_OBJECTS["can_of_soda__1"]
    assert path == "new_objects/can_of_soda/bfrzvk/usd/MJCF/bfrzvk.xml"
    for name, content in ((path, '<mujoco><asset><mesh file="visuals/a.obj"/></asset></mujoco>'), ("visuals/a.obj", "v 0 0 0")):
        target = folder / path if name == path else (folder / path).parent / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    placed = named(zipped(folder, tmp_path / "assets.zip")).object("can_of_soda__1")
    assert (placed.parent / "visuals/a.obj").read_text() == "v 0 0 0"


def test_files_of_libero_that_are_others_in_the_archive_are_told(folder, tmp_path, named) -> None:
    libero = tmp_path / "libero"
    for path, content in (("scenes/libero_tabletop_base_style.xml", "<mujoco/>"), ("textures/white_wall.png", "white")):
        (libero / path).parent.mkdir(parents=True, exist_ok=True)
        (libero / path).write_text(content)
    assert named(folder).differing(libero) == []
    (folder / "textures/white_wall.png").write_text("grey!")
    assert named(folder).differing(libero) == ["textures/white_wall.png"]
