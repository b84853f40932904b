"""A file from elsewhere is read within limits, or refused in a sentence that names it."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from msgspec import Struct

from vlagym.edges.files import FileKind
from vlagym.errors import RunError

KIND = FileKind("a note", RunError, "Write another one.", max_bytes=1000)


class Note(Struct):
    count: int
    names: list[str]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"count": "no", "names": []}', "count: expected int, got str. Write another one."),
        (b'{"count": 1, "names": ["a", 2]}', r"names\[1\]: expected str, got int"),
        (b'{"count": 1}', "missing required field"),
        (b"[1]", "expected object, got array"),
        (b"{", "not JSON"),
        (b"\xff", "line 1: byte 0xff is not UTF-8"),
        (b"[" * 450 + b"]" * 450, "nested more than 64 deep"),
        (b" " * 1001, "more than 1000 bytes"),
    ],
)
def test_what_is_wrong_with_a_json_file_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "note.json").write_bytes(content)
    with pytest.raises(RunError, match=f"note.json is not a note that can be read: .*{said}"):
        KIND.object(tmp_path / "note.json", Note)


def test_keys_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note.json").write_text('{"count": 1, "names": [], "newer": {"a": NaN}}')
    assert KIND.object(tmp_path / "note.json", Note)["newer"].keys() == {"a"}


def test_pipes_devices_and_folders_hold_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "none"):
        with pytest.raises(RunError, match="is not a note that can be read"):
            KIND.read(path)


def test_a_limit_sets_no_memory_aside(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"12")
    tracemalloc.start()
    try:
        assert FileKind("a note", RunError, "", max_bytes=4 << 30).read(tmp_path / "small") == b"12"
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_yaml_that_unfolds_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    (tmp_path / "note.yaml").write_text("a: &a [x]\nb: [*a, *a]\n")
    with pytest.raises(RunError, match="line 1: anchors and aliases are not used"):
        KIND.yaml(tmp_path / "note.yaml")
