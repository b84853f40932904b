"""Upstream's assets.zip as the user has it: the file itself, or the folder it was unpacked to (``assets.libero_plus_zip=``).

Of the file only what an episode needs is taken out, when it is needed, into the folder of asset sets; a folder is read where it is.
What is needed follows from `scenery` and from the files that a scene or an object refers to, as robosuite resolves them; no path
may leave the folder ``assets``. The published file has that folder deep within folders of its author's machine
(``.../LIBERO-plus-0/assets/``): it is known by the scenes in it.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple
from xml.etree import ElementTree

from ....errors import AssetError, ConfigError
from ...assets import assets_dir
from ...assets.archive import CORRUPT_ZIP
from ...assets.manifest import chunks, is_safe_path, load_manifest
from ...assets.settings import DIR_VARIABLE, libero_plus_zip
from .scenery import ADDED_OBJECTS, Scenery

REMEDY = (
    "Download assets.zip of the data set Sylvest/LIBERO-plus on the Hugging Face Hub anew, and give the file, or the folder that "
    "it was unpacked to, as assets.libero_plus_zip=PATH."
)
# The largest texture of the published archive is far smaller; the bounds keep a crafted one from filling memory and disk.
MAX_FILE_BYTES = 512 << 20
MAX_XML_BYTES = 16 << 20

_SCENE = re.compile(r"(?P<root>(?:[^/]+/)*?)scenes/.+\.xml")
_DEEPEST = 16  # folders that an unpacked archive is looked for in
# Names that the textures of floor and walls have in every scene: their files are replaced by the episode's.
FLOOR, WALL = "texplane", "tex-wall"
_LIBERO_ROOT = "libero/libero/assets/"


class Content(NamedTuple):
    """What a file holds, as a zip archive's directory says it: its size in bytes and the CRC-32 of its bytes."""

    size: int
    crc32: int


class UpstreamAssets(ABC):
    """The files below upstream's ``assets``, by paths relative to it with forward slashes.

    Args:
        where: The archive or folder that the user named.
    """

    def __init__(self, where: Path) -> None:
        self.where = where

    @abstractmethod
    def has(self, path: str) -> bool:
        """Whether there is such a file."""

    @abstractmethod
    def content(self, path: str) -> Content:
        """What a file holds.

        Raises:
            AssetError: There is no such file, or it cannot be read.
        """

    @abstractmethod
    def place(self, path: str) -> Path:
        """The file on this machine's disk, with its neighbours where their paths say.

        Raises:
            AssetError: There is no such file, it is damaged, or cannot be written.
        """

    def scene(self, scenery: Scenery) -> Path:
        """The XML of a scene, with all that it refers to in its place.

        Raises:
            AssetError: Something is missing or damaged.
        """
        return self._placed(scenery.scene, self.parts_of_scene(scenery))

    def object(self, kind: str) -> Path:
        """The XML of an added object, with all that it refers to in its place.

        Raises:
            AssetError: Something is missing or damaged.
        """
        return self._placed(ADDED_OBJECTS[kind], self.parts_of_object(kind))

    def _placed(self, path: str, parts: Iterable[str]) -> Path:
        for part in parts:
            self.place(part)
        return self.place(path)

    def parts_of_scene(self, scenery: Scenery) -> tuple[str, ...]:
        """Paths of a scene's XML and of all that it refers to.

        Raises:
            AssetError: The XML is missing, damaged, or refers to what lies elsewhere.
        """
        return (scenery.scene, *self._references(scenery.scene, {FLOOR: scenery.floor, WALL: scenery.wall}))

    def parts_of_object(self, kind: str) -> tuple[str, ...]:
        """Paths of an added object's XML and of all that it refers to.

        Raises:
            AssetError: The XML is missing, damaged, or refers to what lies elsewhere.
        """
        path = ADDED_OBJECTS[kind]
        return (path, *self._references(path, {}))

    def _references(self, path: str, textures: Mapping[str, str]) -> Iterator[str]:
        """What an XML refers to, as robosuite's ``MujocoXML.resolve_asset_dependency`` finds it.

        Args:
            path: Of the XML.
            textures: Name of a texture -> the file, beside the one that the XML says, that an arena of LIBERO puts there instead.
        """
        for node in self._file_nodes(path):
            file = node.get("file", "")
            if node.tag == "texture" and node.get("name") in textures:
                file = posixpath.join(posixpath.dirname(file), textures[node.get("name", "")])
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
            if posixpath.isabs(target) or not is_safe_path(target):
                raise self._unusable(f"{path} refers to {file!r}, which leaves the folder assets")
            yield target

    def _file_nodes(self, path: str) -> list[ElementTree.Element]:
        """The elements of an XML's assets that name a file; no other element does, so that no path goes unseen to MuJoCo."""
        if self.content(path).size > MAX_XML_BYTES:
            raise self._unusable(f"{path} is larger than {MAX_XML_BYTES} bytes")
        try:
            root = ElementTree.parse(self.place(path)).getroot()
        except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last two of an encoding
            raise self._unusable(f"{path} is not XML ({error})") from error
        nodes = root.findall("./asset/*[@file]")
        for node in root.iter():
            named = [name for name in node.attrib if name.startswith("file") and not (name == "file" and node in nodes)]
            if named:
                raise self._unusable(f"{path} names a file in <{node.tag} {named[0]}>; only what is in <asset> may, as file=")
        return nodes

    def record(self, paths: Iterable[str]) -> dict[str, Any]:
        """What identifies these files in a run's records, whether they are in the archive or were unpacked.

        Raises:
            AssetError: One is missing or damaged.
        """
        listed = {path: self.content(path) for path in sorted(set(paths))}
        return {"files": len(listed), "listing_sha256": _listing_sha256(listed)}

    def differing(self, libero: Path) -> list[str]:
        """Which of the files that LIBERO has too are others here.

        Args:
            libero: LIBERO's own ``assets``.
        """
        shared = [path.removeprefix(_LIBERO_ROOT) for path in load_manifest("libero").files if path.startswith(_LIBERO_ROOT)]
        return [path for path in shared if self.has(path) and self.content(path) != _content_of(libero / path)]

    def _unusable(self, what: str) -> AssetError:
        return AssetError(f"LIBERO-plus's assets in {self.where} cannot be used: {what}. {REMEDY}")

    def _lacking(self, path: str) -> AssetError:
        return self._unusable(f"{path} is not among them")


class _Archive(UpstreamAssets):
    """The zip file."""

    def __init__(self, where: Path) -> None:
        super().__init__(where)
        try:
            self._zip = zipfile.ZipFile(where)
        except (*CORRUPT_ZIP, OSError) as error:
            raise self._unusable(f"it is no zip archive that can be read ({error})") from error
        members = self._zip.infolist()
        if unsafe := [info.filename for info in members if not is_safe_path(info.filename)]:
            raise self._unusable(f"it holds {unsafe[0]!r}, which leaves its folder")
        roots = {found["root"] for info in members if (found := _SCENE.fullmatch(info.filename))}
        if not roots:
            raise self._unusable("it holds no folder scenes with XML files")
        root = min(roots, key=lambda name: (len(name), name))
        below = ((info.filename.removeprefix(root), info) for info in members if info.filename.startswith(root))
        self._members = {path: info for path, info in below if path and not info.is_dir()}
        listing = {path: Content(info.file_size, info.CRC) for path, info in self._members.items()}
        self._folder = assets_dir() / f"libero_plus_zip-{_listing_sha256(listing)[:12]}"
        self._there: set[str] = set()

    def has(self, path: str) -> bool:
        return path in self._members

    def content(self, path: str) -> Content:
        info = self._member(path)
        return Content(info.file_size, info.CRC)

    def place(self, path: str) -> Path:
        info, target = self._member(path), self._folder / path
        if path in self._there:
            return target
        try:
            if not (target.is_file() and _content_of(target) == self.content(path)):
                target.parent.mkdir(parents=True, exist_ok=True)
                self._take_out(info, target)
        except OSError as error:
            raise AssetError(
                f"cannot write {path} of {self.where} to {self._folder}: {error}. Make room, or choose another folder with "
                f"{DIR_VARIABLE}."
            ) from error
        self._there.add(path)
        return target

    def _member(self, path: str) -> zipfile.ZipInfo:
        if path not in self._members:
            raise self._lacking(path)
        info = self._members[path]
        if stat.S_ISLNK(info.external_attr >> 16) or info.file_size > MAX_FILE_BYTES:
            raise self._unusable(f"{path} is a link or has more than {MAX_FILE_BYTES} bytes")
        return info

    def _take_out(self, info: zipfile.ZipInfo, target: Path) -> None:
        """Write a member, whole or not at all: other processes may do the same."""
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".new")
        new = Path(name)
        try:
            with os.fdopen(handle, "wb") as out:
                self._copy(info, out)
            new.chmod(0o644)
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)

    def _copy(self, info: zipfile.ZipInfo, out: IO[bytes]) -> None:
        try:
            with self._zip.open(info) as stream:  # gives no more bytes than the directory says, and compares their CRC-32
                for chunk in chunks(stream):
                    out.write(chunk)
        except (*CORRUPT_ZIP, RuntimeError) as error:
            raise self._unusable(f"{info.filename} in it is corrupt, truncated or encrypted ({error})") from error


class _Unpacked(UpstreamAssets):
    """The folder that the zip file was unpacked to, or one above it."""

    def __init__(self, where: Path) -> None:
        super().__init__(where)
        root = _find_root(where)
        if root is None:
            raise self._unusable("it holds no folder scenes with XML files")
        self._root = root
        self._contents: dict[str, Content] = {}

    def has(self, path: str) -> bool:
        return (self._root / path).is_file()

    def content(self, path: str) -> Content:
        if path not in self._contents:
            self._contents[path] = _content_of(self.place(path))
        return self._contents[path]

    def place(self, path: str) -> Path:
        if not self.has(path):
            raise self._lacking(path)
        return self._root / path


def upstream_assets() -> UpstreamAssets:
    """What the setting ``assets.libero_plus_zip`` names.

    Raises:
        ConfigError: It names nothing, or what does not exist.
        AssetError: It is not upstream's archive, or is damaged.
    """
    where = libero_plus_zip()
    if where is None:
        raise ConfigError(f"no assets.zip of LIBERO-plus is named. {REMEDY}")
    return _opened(where, where.stat().st_mtime_ns, assets_dir())


@cache
def _opened(where: Path, changed_ns: int, into: Path) -> UpstreamAssets:
    """Opened once: the archive's directory has tens of thousands of entries."""
    return _Unpacked(where) if where.is_dir() else _Archive(where)


def _find_root(where: Path) -> Path | None:
    """The nearest folder that holds scenes."""
    waiting = deque([(where, 0)])
    while waiting:
        folder, depth = waiting.popleft()
        if any((folder / "scenes").rglob("*.xml")):
            return folder
        if depth < _DEEPEST:
            waiting.extend((below, depth + 1) for below in sorted(folder.iterdir()) if below.is_dir() and not below.is_symlink())
    return None


@cache
def _content_of(file: Path) -> Content:
    """Of a file that nobody changes while the process lives."""
    crc = 0
    with file.open("rb") as stream:
        for chunk in chunks(stream):
            crc = zlib.crc32(chunk, crc)
    return Content(file.stat().st_size, crc)


def _listing_sha256(listing: Mapping[str, Content]) -> str:
    """SHA-256 of ``PATH SIZE CRC32`` lines, by path."""
    lines = (f"{PurePosixPath(path)} {content.size} {content.crc32:08x}\n" for path, content in sorted(listing.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
