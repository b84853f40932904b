"""Benchmark data: fetched at a pinned commit, checked file by file against a manifest kept in this package, found by every part.

`locate` is what a benchmark calls; ``vla-eval assets`` is the same for people. The files belong to the benchmarks' own repositories
and are never part of vlagym's.
"""

from .manifest import manifest_names
from .settings import assets_dir
from .store import AssetFolder, NotFetchedError, fetch, locate, verify

__all__ = ["AssetFolder", "NotFetchedError", "assets_dir", "fetch", "locate", "manifest_names", "verify"]
