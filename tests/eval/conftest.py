"""How the tests of the evaluation run the toy suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlagym.eval.tables.folder import RunFolder


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes workers of the toy suite fail: ``faults("dies1", "hangs1")``."""
    folder = tmp_path / "faults"
    folder.mkdir()
    monkeypatch.setenv("TOY_FAULTS", str(folder))

    def plant(*names: str) -> None:
        for name in names:
            (folder / name).touch()

    return plant


@pytest.fixture
def records() -> Callable[[Path], list[dict[str, Any]]]:
    """What a run recorded, without what may differ between two runs of the same episodes, in the order of the plan."""

    def read(folder: Path) -> list[dict[str, Any]]:
        lines = [result.to_json() for result in RunFolder(folder).results()]
        return sorted(
            ({key: value for key, value in line.items() if key != "execution"} for line in lines),
            key=lambda line: (line["suite"], line["task"], line["seed"], line["trial"]),
        )

    return read
