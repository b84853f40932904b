"""LIBERO as installed here; tests that need it skip where it, its assets or a renderer are missing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from needs import need_suite

from vlagym.conf import suite_settings
from vlagym.envs.libero.suite import LiberoSuite
from vlagym.envs.registry import make_suite


@pytest.fixture(scope="session")
def libero() -> Callable[..., LiberoSuite]:
    """Makes the suite of a name, with settings changed."""

    def make(name: str, **changes: object) -> LiberoSuite:
        suite = make_suite({**suite_settings(name), **changes})
        assert isinstance(suite, LiberoSuite)
        return suite

    need_suite("libero_spatial")
    return make
