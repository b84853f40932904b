"""Shared fixtures. tests/helpers is a small package of somebody else's: a suite and policies offered through entry points.

Tests skip where a benchmark's packages, data or renderer are missing. Where all of that has been brought,
``VLAGYM_TESTS_SKIP=deny`` makes a skipped test a failure of the session, so that none can hide that something broke.
"""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _denied_skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if skipped := _denied_skips(config):
        terminalreporter.write_line(f"VLAGYM_TESTS_SKIP=deny, and {skipped} tests were skipped: the session failed.", red=True)


def _denied_skips(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("VLAGYM_TESTS_SKIP") != "deny" or reporter is None:
        return 0
    return len(reporter.stats.get("skipped", []))


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the recorded data."""
    folder = os.environ.get("VLAGYM_GOLDEN")
    if not folder:
        pytest.skip("needs data recorded from upstream, see $VLAGYM_GOLDEN")  # no part of the project; CI has them, denies skips
    return Path(folder)


@pytest.fixture(scope="session")
def libero_like() -> Any:
    from shapes_only import ShapesOnly  # here, so that a session without it can load this file

    return ShapesOnly()


@pytest.fixture
def run_toy(tmp_path: Path) -> Any:
    """Runs ``suite=toy`` with overrides, in a folder of its own."""
    from vlagym.eval.plan.config import load_config  # here, as above
    from vlagym.eval.run.evaluation import Outcome, evaluate

    def run(*overrides: str, name: str = "run", policy: str = "push") -> Outcome:
        return evaluate(load_config(["suite=toy", f"policy={policy}", f"run_dir={tmp_path / name}", *overrides]))

    return run
