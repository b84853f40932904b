"""A benchmark's package is the one that was installed, down to its files, or it is refused by its path."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlagym.envs.identity import check_origin, installed_sha256
from vlagym.errors import DependencyError

FILES = {
    "somebench/__init__.py": "",
    "somebench/tasks/one.bddl": "(define (goal (on plate)))",
    "somebench/robot.dae": "<for viewers/>",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path into which somebench 1.0 was installed."""
    folder = tmp_path / "site"
    info = folder / "somebench-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebench\nVersion: 1.0\n")
    lines = []
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    (info / "RECORD").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(folder))
    installed_sha256.cache_clear()
    yield folder
    installed_sha256.cache_clear()


def hashed() -> str:
    installed_sha256.cache_clear()
    return installed_sha256(("somebench",))["somebench"]


def test_what_was_installed_is_found_and_its_hash_stays(site: Path) -> None:
    assert check_origin("somebench") == site
    before = hashed()
    (site / "somebench" / "robot.dae").write_text("<changed, and read by no simulation/>")
    (site / "somebench" / "notes.txt").write_text("beside")
    assert hashed() == before


def test_another_package_of_the_name_is_refused_by_its_path(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    derived = tmp_path / "derived" / "somebench"
    derived.mkdir(parents=True)
    (derived / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(derived.parent))
    with pytest.raises(DependencyError, match=rf"{derived} is not the 'somebench' of somebench 1.0, which is installed in {site}"):
        check_origin("somebench")
    with pytest.raises(DependencyError, match=str(derived)):
        hashed()


@pytest.mark.parametrize("change", ["edited", "gone"])
def test_a_task_file_that_is_not_the_installed_one_is_named(site: Path, change: str) -> None:
    file = site / "somebench" / "tasks" / "one.bddl"
    file.write_text("(define (goal (on bowl)))") if change == "edited" else file.unlink()
    with pytest.raises(DependencyError, match=rf"{file} is not the file that somebench 1.0 installed.*force-reinstall"):
        hashed()


def test_code_that_was_added_later_changes_the_hash(site: Path) -> None:
    """As robosuite's macros_private.py, which its users write and which decides how it draws."""
    before = hashed()
    (site / "somebench" / "macros_private.py").write_text("IMAGE_CONVENTION = 'opencv'\n")
    assert hashed() != before


def test_a_package_in_editable_mode_lies_where_it_says(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = tmp_path / "sources of mine"
    (site / "somebench").rename(tmp_path / "moved")
    sources.mkdir()
    (tmp_path / "moved").rename(sources / "somebench")
    (site / "somebench-1.0.dist-info" / "direct_url.json").write_text(
        f'{{"url": "{sources.as_uri()}", "dir_info": {{"editable": true}}}}'
    )
    monkeypatch.syspath_prepend(str(sources))
    assert check_origin("somebench") == sources


def test_what_is_not_installed_names_the_command() -> None:
    with pytest.raises(DependencyError, match="nobench is not installed. Run: vla-eval install"):
        check_origin("nobench")
