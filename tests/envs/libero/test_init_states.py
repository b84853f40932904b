"""Initial states load without torch, and a file from elsewhere can neither run code nor pass for one of LIBERO's."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from vlagym.envs.libero.init_states import load_init_states
from vlagym.errors import AssetError

needs_libero = pytest.mark.skipif(find_spec("libero") is None, reason="needs hf-libero: vla-eval install libero")


def init_files() -> list[Path]:
    spec = find_spec("libero")
    assert spec is not None and spec.submodule_search_locations
    return sorted((Path(spec.submodule_search_locations[0]) / "libero" / "init_files").rglob("*.pruned_init"))


def write_archive(path: Path, data: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
    return path


def torch_like(path: Path, content: object, protocol: int = 2) -> Path:
    return write_archive(path, pickle.dumps(content, protocol))


@needs_libero
def test_all_130_files_equal_what_numpys_own_unpickler_makes_of_them():
    files = init_files()
    assert len(files) == 130
    for file in files:
        with zipfile.ZipFile(file) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
            expected = pickle.loads(archive.read(member))
        states = load_init_states(file)
        assert states.dtype == np.float64 and states.flags.c_contiguous and states.flags.writeable
        np.testing.assert_array_equal(states, expected)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_written_by_this_numpy_load(tmp_path, protocol, order):
    states = np.asarray(np.random.default_rng(0).normal(size=(5, 7)), order=order)
    loaded = load_init_states(torch_like(tmp_path / "task.pruned_init", states, protocol))
    np.testing.assert_array_equal(loaded, states)


class Malicious:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(("function", "name"), [(os.mkdir, "posix.mkdir"), (os.system, "posix.system"), (eval, "eval")])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path, function, name, protocol):
    target = tmp_path / "created"
    argument = {os.mkdir: f"{target}", os.system: f"touch {target}", eval: f"open({str(target)!r}, 'w')"}[function]
    file = torch_like(tmp_path / "task.pruned_init", Malicious(function, argument), protocol)
    with pytest.raises(AssetError, match=name) as error:
        load_init_states(file)
    assert str(file) in str(error.value) and "vla-eval install libero" in str(error.value)
    assert not target.exists()


def test_code_hidden_beside_a_good_array_does_not_run(tmp_path):
    target = tmp_path / "created"
    file = torch_like(tmp_path / "task.pruned_init", (np.zeros((2, 3)), Malicious(os.mkdir, str(target))))
    with pytest.raises(AssetError, match=r"posix\.mkdir"):
        load_init_states(file)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 3), np.float32), "f4 instead of float64"),
        (np.zeros((2, 3), ">f8"), ">f8 instead of float64"),
        (np.zeros((1, 2, 3)), "shape"),
        (np.zeros((0, 3)), r"shape|bytes"),
        (np.array([[1.0, np.nan]]), "not finite"),
        (np.array([[1, "a"]], dtype=object), "instead of float64|one numpy array"),
        ([1.0, 2.0], "one numpy array"),
        (None, "one numpy array"),
    ],
)
def test_what_is_not_an_array_of_states_is_refused(tmp_path, content, message):
    with pytest.raises(AssetError, match=message):
        load_init_states(torch_like(tmp_path / "task.pruned_init", content))


def test_a_shape_that_its_bytes_do_not_fill_is_refused(tmp_path):
    data = pickle.dumps(np.zeros((2, 3)), 2)
    lying = data.replace(b"K\x02K\x03\x86", b"K\x03K\x03\x86")
    assert lying != data
    with pytest.raises(AssetError, match=r"48 bytes for an array of shape \(3, 3\)"):
        load_init_states(write_archive(tmp_path / "task.pruned_init", lying))


@pytest.mark.parametrize("keep", [0, 3, 100, -30])
def test_a_truncated_file_is_one_clear_error(tmp_path, keep):
    whole = torch_like(tmp_path / "whole", np.ones((50, 79))).read_bytes()
    file = tmp_path / "task.pruned_init"
    file.write_bytes(whole[:keep])
    with pytest.raises(AssetError, match="truncated"):
        load_init_states(file)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(np.ones((5, 7)), 2)[:-40],  # cut within
        b"",
        b"\x80\x02" + b"\xff" * 10,  # no such opcode
        b"\x80\x02N" + b"r\xff\xff\xff\x7f" + b".",  # asks for two thousand million memo slots
        b"\x80\x05\x96" + (1 << 60).to_bytes(8, "little") + b".",  # announces an exabyte
        b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00xK\x01sb.",  # sets attributes on a callable
    ],
)
def test_a_malformed_pickle_is_one_clear_error(tmp_path, data):
    with pytest.raises(AssetError, match="pickle"):
        load_init_states(write_archive(tmp_path / "task.pruned_init", data))


def test_a_flipped_bit_and_a_zip_bomb_are_refused(tmp_path):
    whole = bytearray(torch_like(tmp_path / "whole", np.ones((50, 79))).read_bytes())
    whole[len(whole) // 2] ^= 1
    flipped = tmp_path / "flipped.pruned_init"
    flipped.write_bytes(whole)
    with pytest.raises(AssetError, match="CRC"):
        load_init_states(flipped)
    bomb = write_archive(tmp_path / "bomb.pruned_init", bytes(64 << 20), zipfile.ZIP_DEFLATED)
    with pytest.raises(AssetError, match="larger than"):
        load_init_states(bomb)


def test_a_missing_file_and_an_archive_of_something_else_are_named(tmp_path):
    with pytest.raises(AssetError, match=r"absent\.pruned_init: no such file"):
        load_init_states(tmp_path / "absent.pruned_init")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    other = tmp_path / "other.pruned_init"
    other.write_bytes(buffer.getvalue())
    with pytest.raises(AssetError, match=r"0 members \*/data\.pkl"):
        load_init_states(other)
