"""A test that is skipped where everything is at hand fails the session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("skips", "code"), [("allow", 0), ("deny", 1)])
def test_a_skip_can_be_denied(tmp_path: Path, skips: str, code: int) -> None:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_one.py").write_text("import pytest\n\ndef test():\n    pytest.skip('nothing is here')\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {**os.environ, "VLAGYM_TESTS_SKIP": skips}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout
    assert ("1 tests were skipped: the session failed" in done.stdout) == (skips == "deny")
