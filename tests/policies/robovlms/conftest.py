"""A tiny RoboVLMs in the layout of the released checkpoints, whose every number upstream's own code has written down."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="RoboVLMs needs the extra robovlms")
pytest.importorskip("transformers", reason="RoboVLMs needs the extra robovlms")

from vlagym.conf import suite_settings  # noqa: E402
from vlagym.envs.registry import make_suite  # noqa: E402
from vlagym.eval.plan.config import load_config  # noqa: E402
from vlagym.policies.registry import make_policy  # noqa: E402
from vlagym.policies.robovlms.config import RoboVlmsConfig, read_published  # noqa: E402
from vlagym.policies.robovlms.network import RoboVlm, build  # noqa: E402
from vlagym.policies.robovlms.opening import read_pt  # noqa: E402
from vlagym.policies.robovlms.policy import RoboVlmsPolicy  # noqa: E402

Make = Callable[..., RoboVlmsPolicy]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # the machine may be busy, and threads that wait for each other crawl


@pytest.fixture(scope="session")
def folder(golden: Path) -> Path:
    return golden / "robovlms"


@pytest.fixture(scope="session")
def runs(folder: Path) -> dict[str, Any]:
    """Instructions and token ids of the recorded episodes."""
    return dict(json.loads((folder / "golden.json").read_text())["runs"])


@pytest.fixture(scope="session")
def config(folder: Path) -> RoboVlmsConfig:
    return read_published(folder / "ckpt" / "kosmos_ph_tiny.json", folder / "kosmos-tiny" / "config.json")


@pytest.fixture(scope="session")
def network(folder: Path, config: RoboVlmsConfig) -> RoboVlm:
    return build(config, lambda _: read_pt(folder / "ckpt" / "kosmos_ph_tiny.pt"), device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="session")
def make(folder: Path) -> Make:
    """A policy with its recipe for a suite, from the checkpoint as published."""

    def make(suite_name: str, **settings: Any) -> RoboVlmsPolicy:
        suite = make_suite(suite_settings(suite_name))
        recipe = load_config([f"suite={suite_name}", "policy=robovlms"]).legs[0].policy
        files = {"checkpoint": str(folder / "ckpt" / "kosmos_ph_tiny.pt"), "backbone": str(folder / "kosmos-tiny")}
        policy = make_policy({**recipe, **files, "device": "cpu", **settings}, suite)
        assert isinstance(policy, RoboVlmsPolicy)
        return policy

    return make


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, to be broken; its backbone's files are beside it."""
    for name in ("ckpt", "kosmos-tiny"):
        shutil.copytree(folder / name, tmp_path / name, copy_function=shutil.copyfile)
        for path in (tmp_path / name, *(tmp_path / name).iterdir()):
            path.chmod(0o755)
    return tmp_path


@pytest.fixture
def edited(copied: Path, folder: Path) -> Callable[..., Path]:
    """The checkpoint with entries of its configuration changed, ``act_head__type`` for one inside; None removes one."""

    def edit(**changes: Any) -> Path:
        values = json.loads((folder / "ckpt" / "kosmos_ph_tiny.json").read_text())
        for dotted, value in changes.items():
            *path, last = dotted.split("__")
            inner = values
            for key in path:
                inner = inner[key]
            inner[last] = value
            if value is None:
                del inner[last]
        (copied / "ckpt" / "kosmos_ph_tiny.json").write_text(json.dumps(values))
        return copied / "ckpt" / "kosmos_ph_tiny.pt"

    return edit


def sentences(run: dict[str, Any], episode_len: np.ndarray) -> list[tuple[int, ...]]:
    """Token ids of every step of the recorded episodes."""
    return [
        tuple(episode["input_ids"]) for episode, length in zip(run["episodes"], episode_len, strict=True) for _ in range(length)
    ]
