"""What these tests need: SAPIEN 2.2.2, SimplerEnv's data, and for pictures a Vulkan driver, which .ci/software-vulkan can bring."""

import os

import pytest

from vlagym.envs.assets import NotFetchedError, fetch, locate
from vlagym.envs.simpler.suite import SimplerSuite
from vlagym.errors import AssetError, DependencyError


@pytest.fixture(scope="session")
def assets():
    """Folder of the asset set, where SAPIEN can be imported."""
    for module in ("sapien.core", "ruckig", "transforms3d"):
        pytest.importorskip(module, reason="needs SAPIEN: pip install 'vlagym[simpler]'", exc_type=ImportError)
    try:
        return locate("maniskill2_real2sim").path
    except NotFetchedError as error:
        if not os.environ.get("VLAGYM_ASSETS_MIRROR"):
            pytest.skip(str(error))
        return fetch("maniskill2_real2sim").path
    except AssetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def vulkan(assets):
    """The device that pictures are drawn on."""
    from vlagym.envs.simpler.vulkan import probe_vulkan

    try:
        return probe_vulkan()
    except DependencyError as error:
        pytest.skip(str(error))


@pytest.fixture
def widowx():
    return SimplerSuite("simpler_widowx", "widowx")


@pytest.fixture
def visual_matching():
    return SimplerSuite("simpler_google_vm", "google_visual_matching")


@pytest.fixture
def variant_aggregation():
    return SimplerSuite("simpler_google_va", "google_variant_aggregation")
