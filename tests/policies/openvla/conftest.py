"""The tiny networks whose every number upstream's own code has written down."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="OpenVLA needs the extra openvla")
pytest.importorskip("transformers", reason="OpenVLA needs the extra openvla")
pytest.importorskip("simplejpeg", reason="OpenVLA needs the extra openvla")

from vlagym.policies.network.weights import SafetensorsFolder  # noqa: E402
from vlagym.policies.openvla.config import ModelConfig, read_config  # noqa: E402
from vlagym.policies.openvla.loading import build  # noqa: E402
from vlagym.policies.openvla.model import OpenVla  # noqa: E402
from vlagym.policies.openvla.tokens import PromptTokenizer, build_prompt  # noqa: E402

TOWERS = [{"embed_dim": 48, "depth": 4, "heads": 3}, {"embed_dim": 40, "depth": 3, "heads": 2}]
OFT_TOWERS = [{"embed_dim": 32, "depth": 3, "heads": 2}, {"embed_dim": 24, "depth": 4, "heads": 2}]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # the machine may be busy, and threads that wait for each other crawl


@pytest.fixture(scope="session")
def recorded(golden: Path) -> np.lib.npyio.NpzFile:
    return np.load(golden / "openvla_tiny" / "golden.npz")


@pytest.fixture(scope="session")
def checkpoint(golden: Path) -> Path:
    return golden / "openvla_tiny" / "checkpoint"


@pytest.fixture(scope="session")
def config(checkpoint: Path) -> ModelConfig:
    return read_config(checkpoint, TOWERS)


@pytest.fixture(scope="session")
def model(checkpoint: Path, config: ModelConfig) -> OpenVla:
    return build(config, lambda _: SafetensorsFolder(checkpoint), device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="session")
def prompts(golden: Path, checkpoint: Path, recorded: np.lib.npyio.NpzFile) -> list[tuple[int, ...]]:
    """Token ids of the recorded cases: every image with every instruction."""
    tasks = json.loads((golden / "openvla_tiny" / "golden_meta.json").read_text())["tasks"]
    tokenizer = PromptTokenizer(checkpoint / "tokenizer.json")
    return [tokenizer(build_prompt(tasks[case % len(tasks)])) for case in range(len(recorded["input_len"]))]


@pytest.fixture(scope="session")
def images(recorded: np.lib.npyio.NpzFile) -> np.ndarray:
    """uint8[cases, 1, 224, 224, 3]."""
    instructions = len(recorded["input_len"]) // len(recorded["resized_u8"])
    return np.repeat(recorded["resized_u8"], instructions, axis=0)[:, None]


@pytest.fixture
def broken(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, to be broken."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for file in checkpoint.iterdir():
        if file.name != "tokenizer.model":
            shutil.copy(file, folder / file.name)
            (folder / file.name).chmod(0o644)
    return folder


def edit_json(file: Path, **changes: Any) -> None:
    """Change fields of a JSON file; None removes one."""
    values = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
