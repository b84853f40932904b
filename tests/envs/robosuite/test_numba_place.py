"""Where a user has no home and may not write beside the packages, robosuite still imports, and what fails is called by its name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlagym.envs.robosuite import _numba
from vlagym.envs.robosuite._upstream import _is_of_opengl


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file where folders would have to be: nothing can be made in it, by root either."""
    file = tmp_path / "file"
    file.touch()
    monkeypatch.delenv(_numba.VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(file / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return file


def test_without_any_place_numba_gets_a_private_one(nowhere: Path) -> None:
    code = (
        "import os, stat, pathlib; from vlagym.envs.robosuite._numba import *;"
        f"give_numba_a_place(pathlib.Path({str(nowhere)!r}));"
        "place = os.environ[VARIABLE]; assert stat.S_IMODE(os.stat(place).st_mode) == 0o700; print(place)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).exists()  # it went with the process


def test_a_place_that_numba_finds_itself_is_left_to_it(nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "robosuite" / "utils").mkdir(parents=True)
    _numba.give_numba_a_place(tmp_path / "robosuite")
    assert _numba.VARIABLE not in os.environ
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _numba.give_numba_a_place(nowhere)
    assert _numba.VARIABLE not in os.environ


def test_only_errors_of_opengl_are_called_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "not_graphics.py").write_text("raise RuntimeError('cannot cache function: no locator available')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RuntimeError) as other:
        __import__("not_graphics")
    assert not _is_of_opengl(other.value)
    scope = {"__name__": "OpenGL.platform.egl"}
    with pytest.raises(AttributeError) as graphics:
        exec(compile("None.eglGetDisplay", "egl.py", "exec"), scope)
    assert _is_of_opengl(graphics.value)
