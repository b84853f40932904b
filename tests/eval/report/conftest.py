"""The browser that pages are looked at with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import CHROMIUM, DRIVER, chromium


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A Chromium without a window; its console must be silent in the end."""
    if not CHROMIUM or not DRIVER:
        remedy = "Debian: apt-get install chromium chromium-driver"
        pytest.skip(f"no chromium and chromedriver on this machine ({remedy})")  # CI installs both and denies skips
    driver = chromium(tmp_path / "profile")
    try:
        yield driver
        assert driver.get_log("browser") == []
    finally:
        driver.quit()
