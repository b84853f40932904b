"""RT-1 networks whose every number upstream's own code has written down: a tiny one, and the full one from a recipe."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="RT-1 needs the extra rt1")
pytest.importorskip("safetensors", reason="RT-1 needs the extra rt1")

from vlagym.policies.network.weights import StateDict, fill  # noqa: E402
from vlagym.policies.rt1.config import Rt1Config  # noqa: E402
from vlagym.policies.rt1.naming import official_variables  # noqa: E402
from vlagym.policies.rt1.network import Rt1  # noqa: E402

TINY = Rt1Config(encoder_width=0.25, encoder_depth=0.4, layers=2, heads=3, key_size=24, model_size=64)
FULL = Rt1Config()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folder(golden: Path) -> Path:
    return golden / "rt1"


@pytest.fixture(scope="session")
def tiny_values(folder: Path) -> dict[str, np.ndarray]:
    """Official name -> value."""
    with np.load(folder / "tiny_weights_f16.npz") as stored:
        return {name.replace("|", "/"): stored[name].astype(np.float32) for name in stored.files}


def load(config: Rt1Config, values: dict[str, np.ndarray]) -> Rt1:
    with torch.device("meta"):
        network = Rt1(config)
    tensors = {
        variable.ours: torch.from_numpy(np.ascontiguousarray(variable.convert(values[variable.official])))
        for variable in official_variables(config)
        if variable.ours is not None
    }
    fill(network, StateDict(tensors, "recorded"), dtype=torch.float32, device=torch.device("cpu"))
    network.finish_loading(torch.device("cpu"))
    return network


@pytest.fixture(scope="session")
def tiny(tiny_values: dict[str, np.ndarray]) -> Rt1:
    return load(TINY, tiny_values)


@pytest.fixture(scope="session")
def images(folder: Path) -> np.ndarray:
    """uint8[8, 256, 320, 3], frames of one episode."""
    images: np.ndarray = np.load(folder / "tiny_golden.npz")["images"]
    return images


def _gain(name: str, fan: int) -> float:
    gains = {
        "/net/": 1.3,
        "_query": 2.5,
        "_key": 2.5,
        "_position_emb": 0.5 * np.sqrt(fan),
        "_output_tokens": 1.0,
        "conv1x1": 1.5,
        "mlp/_output": 6.0,
        "/ff/": 0.5,
    }
    return float(next((gain for part, gain in gains.items() if part in name), 1.5))


def recipe_value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value that the recipe of the full-size weights gives a variable."""
    fixed = {"mean": [0.485, 0.456, 0.406], "variance": [0.229, 0.224, 0.225], "count": 0}
    leaf = name.rpartition("/")[2]
    if "layer_with_weights-0/" in name:
        return np.array(fixed[leaf], np.int64 if leaf == "count" else np.float32)
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    unit = generator.random(int(np.prod(shape))).reshape(shape)
    signed = 2 * unit - 1
    scales = {"gamma": (1.0, 0.2), "moving_mean": (0.0, 0.2), "beta": (0.0, 0.1), "bias": (0.0, 0.1)}
    if name.endswith("_projection_add/bias") or name.endswith("_projection_add/kernel"):
        value = 0.5 * signed
    elif name.endswith("_projection_mult/kernel"):
        value = 0.35 * signed
    elif leaf == "moving_variance":
        value = 0.5 + unit
    elif leaf in scales:
        value = scales[leaf][0] + scales[leaf][1] * signed
    else:
        if leaf == "depthwise_kernel" or name.endswith("_output_dense/kernel"):
            fan = shape[0] * shape[1]
        elif name.endswith(("_query_dense/kernel", "_key_dense/kernel", "_value_dense/kernel")):
            fan = shape[0]
        else:
            fan = int(np.prod(shape[:-1]))
        value = _gain(name, fan) * np.sqrt(3 / fan) * signed
    return value.astype(np.float32)


def checksum(value: np.ndarray) -> str:
    return hashlib.sha256(value.tobytes()).hexdigest()[:16]
