"""Shared fixtures. tests/helpers is a small package of somebody else's: a suite and policies offered through entry points."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
