"""What these tests need: SAPIEN 2.2.2, SimplerEnv's data, and for pictures a Vulkan driver, which .ci/software-vulkan can bring."""

import pytest
from needs import need_assets, need_driver

from vlagym.envs.simpler.suite import SimplerSuite


@pytest.fixture(scope="session")
def assets():
    """Folder of the asset set, where SAPIEN can be imported."""
    for module in ("sapien.core", "ruckig", "transforms3d"):
        pytest.importorskip(module, reason="needs SAPIEN: pip install 'vlagym[simpler]'", exc_type=ImportError)
    return need_assets("maniskill2_real2sim")


@pytest.fixture(scope="session")
def vulkan(assets):
    """The device that pictures are drawn on."""
    from vlagym.envs.simpler.vulkan import probe_vulkan

    return need_driver(probe_vulkan)


@pytest.fixture
def widowx():
    return SimplerSuite("simpler_widowx", "widowx")


@pytest.fixture
def visual_matching():
    return SimplerSuite("simpler_google_vm", "google_visual_matching")


@pytest.fixture
def variant_aggregation():
    return SimplerSuite("simpler_google_va", "google_variant_aggregation")
