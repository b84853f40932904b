"""Files of one kind: how large and how deep they may be, and what is raised and advised where one is not what it should be."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from ..errors import VlagymError

T = TypeVar("T")

MAX_DEPTH = 64
MAX_YAML_NODES = 200_000
MEGABYTE = 1 << 20
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_AT = re.compile(r"(.*?) - at `(?:key in )?\$\.?(.*)`", re.DOTALL)


@dataclass(frozen=True)
class FileKind:
    """A kind of file.

    Attributes:
        what: What such a file is called in messages, e.g. ``the header of a run``.
        error: What is raised where a file is not one.
        remedy: What to do then, a sentence.
        max_bytes: The most such a file may have.
    """

    what: str
    error: type[VlagymError]
    remedy: str
    max_bytes: int = 64 * MEGABYTE

    def fault(self, path: Path, found: str) -> VlagymError:
        """The error for a file: which one, what was found, what to do."""
        return self.error(f"{path} is not {self.what} that can be read: {found}. {self.remedy}")

    def read(self, path: Path) -> bytes:
        """The whole file; a pipe, a device or a folder is refused, and nothing beyond the limit is read.

        Raises:
            VlagymError: `error`.
        """
        try:
            with open(path, "rb", opener=_open_at_once) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise self.fault(path, "it is a pipe or a device, not a regular file")
                data = self._bounded(file)
        except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
            raise self.fault(path, getattr(error, "strerror", None) or str(error)) from error
        if len(data) > self.max_bytes:
            raise self.fault(path, f"it has more than {self.max_bytes} bytes")
        return data

    def _bounded(self, file: IO[bytes]) -> bytes:
        """The rest of a file, up to a byte beyond the limit; asked for all at once, so much memory would be set aside."""
        pieces, size = [], 0
        while size <= self.max_bytes and (piece := file.read(min(MEGABYTE, self.max_bytes + 1 - size))):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    def text(self, path: Path) -> str:
        """The whole file as UTF-8.

        Raises:
            VlagymError: `error`.
        """
        return self.decoded(path, self.read(path))

    def decoded(self, path: Path, data: bytes) -> str:
        """Bytes of the file as UTF-8.

        Raises:
            VlagymError: `error`.
        """
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise self.fault(path, f"line {line}: byte {data[error.start]:#04x} is not UTF-8") from error

    def json(self, path: Path) -> Any:
        """The file's JSON value, as `json` gives it; NaN and Infinity, which Python's writers leave, are taken.

        Raises:
            VlagymError: `error`.
        """
        text = self.text(path)
        try:
            value = json.loads(text)
            if _SURROGATE.search(text):  # half a pair is no character; a text with one could not be written or shown
                json.dumps(value, ensure_ascii=False).encode()
        except RecursionError as error:
            raise self.fault(path, f"it is nested more than {MAX_DEPTH} deep") from error
        except ValueError as error:
            raise self.fault(path, f"not JSON: {error}") from error
        self._check_depth(path, value)
        return value

    def object(self, path: Path, schema: type[Any]) -> dict[str, Any]:
        """The file's JSON object with all its keys, those that the schema knows checked against it.

        Raises:
            VlagymError: `error`.
        """
        value = self.json(path)
        self.converted(path, value, schema)
        assert isinstance(value, dict)
        return value

    def converted(self, path: Path, value: Any, schema: type[T]) -> T:
        """A value from the file as the schema has it.

        Raises:
            VlagymError: `error`; names the key.
        """
        try:
            return msgspec.convert(value, schema)
        except msgspec.ValidationError as error:
            raise self.fault(path, explained(error)) from error

    def yaml(self, path: Path) -> Any:
        """The file's YAML value as OmegaConf reads it, with nothing of it interpolated; anchors are refused.

        Raises:
            VlagymError: `error`.
        """
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError

        text = self.text(path)
        try:
            self._check_yaml(path, text)
            return OmegaConf.to_container(OmegaConf.create(text), resolve=False)
        except (YAMLError, OmegaConfBaseException, ValueError, TypeError, RecursionError) as error:
            raise self.fault(path, f"not YAML of settings: {_first_lines(error)}") from error

    def _check_yaml(self, path: Path, text: str) -> None:
        """Look at the events before anything is built of them: an alias of an alias of ... unfolds to any size."""
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        depth = 0
        for number, event in enumerate(yaml.parse(text, Loader=loader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise self.fault(path, f"line {event.start_mark.line + 1}: anchors and aliases are not used in such files")
            if depth > MAX_DEPTH or number > MAX_YAML_NODES:
                raise self.fault(path, f"line {event.start_mark.line + 1}: nested too deeply, or too many entries")

    def _check_depth(self, path: Path, value: Any) -> None:
        if deeper_than(value, MAX_DEPTH):
            raise self.fault(path, f"it is nested more than {MAX_DEPTH} deep")


def explained(error: Exception) -> str:
    """A schema's complaint (a `msgspec.MsgspecError`) as ``key: expected this, got that``."""
    text = str(error).replace("`", "").replace("| null", "or null")
    match = _AT.fullmatch(str(error))
    if match is None:
        return text[:1].lower() + text[1:]
    complaint = match[1].replace("`", "").replace("| null", "or null")
    return f"{match[2] or 'the whole'}: {complaint[:1].lower()}{complaint[1:]}"


def deeper_than(value: Any, depth: int) -> bool:
    """Whether lists and mappings are nested deeper than that."""
    level: list[Any] = [value]
    for _ in range(depth + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for anybody: a pipe without a writer would hold a reader for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _first_lines(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
