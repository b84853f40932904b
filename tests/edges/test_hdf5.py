"""HDF5 files from anyone: what lies in the file is read, what leads elsewhere or asks for too much is refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vlagym.edges import hdf5
from vlagym.edges.files import FileKind
from vlagym.edges.hdf5 import open_hdf5
from vlagym.errors import ConfigError

h5py = pytest.importorskip("h5py", reason="HDF5 files need h5py (extra hdf5)")
KIND = FileKind("a file of the test's", ConfigError, "Give another.", max_bytes=1 << 20)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.arange(3.0)
    with h5py.File(tmp_path / "file.h5", "w") as made:
        group = made.create_group("data/demo_0")
        group.attrs["told"] = "a text"
        group.attrs["number"] = 3
        group["good"] = np.arange(6, dtype=np.float32).reshape(2, 3)
        group.create_dataset("packed", data=np.ones((4, 2)), compression="gzip", shuffle=True)
        group["soft"] = h5py.SoftLink("/data/demo_0/good")
        group["elsewhere"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/secret")
        group.create_dataset("raw", (2,), np.float64, external=[("/etc/passwd", 0, 16)])
        layout = h5py.VirtualLayout((3,), np.float64)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", (3,))
        group.create_virtual_dataset("virtual", layout)
        group.create_dataset("objects", (2,), h5py.string_dtype())
        group["references"] = np.array([group.ref], h5py.ref_dtype)
        group["record"] = np.zeros(2, [("a", float)])
        group["nothing"] = np.array([1.0, np.nan])
        group.create_dataset("huge", (1 << 40,), np.float64, chunks=(8,))
        group.create_dataset("wide", (4, 1 << 27), np.float64, chunks=(1, 1 << 27), maxshape=(None, None))
        group.create_dataset("chunk", (1,), np.float64, chunks=(1 << 28,), maxshape=(None,))
    return tmp_path / "file.h5"


def test_numbers_and_texts_of_the_file_are_read(file: Path) -> None:
    with open_hdf5(file, KIND) as opened:
        assert opened.groups("data") == ["demo_0"]
        assert opened.groups("no/such") == []
        np.testing.assert_array_equal(opened.numbers("data/demo_0/good"), [[0, 1, 2], [3, 4, 5]])
        np.testing.assert_array_equal(opened.numbers("data/demo_0/packed"), np.ones((4, 2)))
        assert opened.shape("data/demo_0/good") == (2, 3)
        assert opened.text("data/demo_0", "told") == "a text"
        assert opened.text("data/demo_0", "untold") is None
        with pytest.raises(ConfigError, match="number is not a text"):
            opened.text("data/demo_0", "number")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("soft", "data/demo_0/soft is a link to another place"),
        ("elsewhere", "data/demo_0/elsewhere is a link to another place"),
        ("raw", "lies in other files"),
        ("virtual", "lies in other files"),
        ("objects", "expected numbers"),
        ("references", "expected numbers"),
        ("record", "expected numbers"),
        ("nothing", "values that are not finite"),
        ("huge", "more than"),
        ("wide", "more than"),
        ("chunk", "more than"),
        ("missing", "it has no array data/demo_0/missing"),
    ],
)
def test_what_is_something_else_is_named(name: str, said: str, file: Path) -> None:
    with open_hdf5(file, KIND) as opened, pytest.raises(ConfigError, match=said):
        opened.numbers(f"data/demo_0/{name}")


def test_a_filter_that_would_be_loaded_from_a_library_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "_FILTERS", {1: "gzip"})
    with open_hdf5(file, KIND) as opened, pytest.raises(ConfigError, match="packed with filter 2; gzip are read"):
        opened.numbers("data/demo_0/packed")


def test_a_long_text_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "MAX_TEXT_BYTES", 5)
    with open_hdf5(file, KIND) as opened, pytest.raises(ConfigError, match="told has more than 5"):
        opened.text("data/demo_0", "told")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 3],
        lambda data: b"",
        lambda data: b"no HDF5",
        lambda data: data + bytes(2 << 20),
    ],
    ids=["cut", "empty", "text", "too large"],
)
def test_a_damaged_file_is_one_sentence(spoil: Callable[[bytes], bytes], file: Path) -> None:
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(ConfigError, match="is not a file of the test's that can be read"), open_hdf5(file, KIND) as opened:
        opened.numbers("data/demo_0/good")


def test_a_folder_and_nothing_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone.h5"):
        with pytest.raises(ConfigError, match="Give another"), open_hdf5(path, KIND):
            pass
