"""A real browser that tests look at pages with."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
DRIVER = shutil.which("chromedriver")
_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --autoplay-policy=no-user-gesture-required"
)


def chromium(profile: Path) -> Any:
    """A Chromium without a window that keeps what its console says."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in (*_OPTIONS.split(), f"--user-data-dir={profile}", "--window-size=1280,1000"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


def wait_for(browser: Any, script: str, seconds: float = 60) -> Any:
    """What the script returns once that is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := browser.execute_script(f"return {script}"):
            return found
        time.sleep(0.1)
    raise AssertionError(f"still nothing after {seconds} s: {script}")


def keep_screenshot(browser: Any, tmp_path: Path, name: str, width: int, height: int = 2400) -> None:
    """For people to look at: in $VLAGYM_TEST_ARTIFACTS, or with pytest's temporary files."""
    folder = Path(os.environ.get("VLAGYM_TEST_ARTIFACTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    browser.set_window_size(width, height)
    time.sleep(0.5)
    assert browser.save_screenshot(str(folder / f"report-{name}.png"))


def choose(browser: Any, field: str, value: str) -> None:
    script = "const f = document.getElementById('filter'); f.elements[arguments[0]].value = arguments[1];"
    browser.execute_script(script + "f.dispatchEvent(new Event('input', {bubbles: true}))", field, value)


def narrow(browser: Any) -> None:
    """A telephone's window, in which nothing must be wider than it is."""
    telephone = {"width": 400, "height": 1000, "deviceScaleFactor": 1, "mobile": False}  # no window is that narrow
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", telephone)
    assert browser.execute_script("return window.innerWidth") == 400
    assert wait_for(browser, "document.documentElement.scrollWidth <= window.innerWidth")
