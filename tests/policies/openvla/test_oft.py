"""OpenVLA-OFT against upstream's recorded numbers: every head, with and without proprioception, FiLM and LoRA."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close

from vlagym.errors import ConfigError, PolicyError
from vlagym.policies.openvla.config import ModelConfig, read_config
from vlagym.policies.openvla.oft import (
    CheckpointSources,
    DdimSchedule,
    OpenVlaOft,
    build_oft,
    component_file,
    embed_timestep,
)
from vlagym.policies.openvla.platforms import PLATFORMS, Head, OftConfig, find_platform
from vlagym.policies.openvla.statistics import OFT_EPSILON
from vlagym.policies.openvla.tokens import PromptTokenizer, build_prompt

from .conftest import OFT_TOWERS

Recorded = np.lib.npyio.NpzFile
Make = Callable[..., OpenVlaOft]


@pytest.fixture(scope="module")
def folder(golden: Path) -> Path:
    return golden / "openvla_oft_tiny"


@pytest.fixture(scope="module")
def recorded(folder: Path) -> Recorded:
    return np.load(folder / "golden.npz")


@pytest.fixture(scope="module")
def config(folder: Path) -> ModelConfig:
    return read_config(folder / "checkpoint", OFT_TOWERS)


@pytest.fixture(scope="module")
def prompts(folder: Path) -> list[tuple[int, ...]]:
    tokenizer = PromptTokenizer(folder / "checkpoint" / "tokenizer.json")
    return [tokenizer(build_prompt(task)) for task in json.loads((folder / "golden_meta.json").read_text())["tasks"]]


@pytest.fixture(scope="module")
def proprio(config: ModelConfig, recorded: Recorded) -> np.ndarray:
    return config.statistics.scale("libero_goal", "proprio", 8, "q01_q99", OFT_EPSILON).normalise(recorded["state"])


@pytest.fixture(scope="module")
def make(folder: Path, config: ModelConfig) -> Make:
    def make(head: Head, proprio: bool, components: Path | str = "checkpoint", film: bool = False, steps: int = 50) -> OpenVlaOft:
        oft = OftConfig(PLATFORMS["libero"], head, proprio, film, steps)
        sources = CheckpointSources(config, film, folder / "checkpoint", folder / components, None)
        return build_oft(config, oft, sources, device=torch.device("cpu"), dtype=torch.float32)

    return make


def test_states_are_normalised_as_upstream(proprio: np.ndarray, recorded: Recorded) -> None:
    np.testing.assert_array_equal(proprio, recorded["normalized_proprio"])


def test_regression_with_two_images_and_proprio(
    make: Make, config: ModelConfig, recorded: Recorded, prompts: list[tuple[int, ...]], proprio: np.ndarray
) -> None:
    assert len({len(prompt) for prompt in prompts}) > 1
    model, images = make("l1", proprio=True), recorded["cropped_u8"]
    together = model.predict(images, prompts, proprio)
    assert_close(together, recorded["A_normalized"], 1e-4)
    alone = np.concatenate([model.predict(images[i : i + 1], prompts[i : i + 1], proprio[i : i + 1]) for i in range(len(prompts))])
    assert_close(together, alone, 1e-5)
    for key in ("libero_goal", "bridge_orig"):
        scale = config.statistics.scale(key, "action", 7, "q01_q99", OFT_EPSILON)
        assert_close(scale.unnormalise(alone), recorded[f"A_actions__{key}"], 1e-4)


def test_regression_with_one_image_from_files_without_prefix(
    make: Make, recorded: Recorded, prompts: list[tuple[int, ...]]
) -> None:
    model = make("l1", proprio=False, components="components_no_prefix")
    assert_close(model.predict(recorded["cropped_u8"][:, :1], prompts), recorded["B_normalized"], 1e-4)


def test_discrete_tokens_are_decoded_in_parallel(make: Make, recorded: Recorded, prompts: list[tuple[int, ...]]) -> None:
    model = make("discrete", proprio=False)
    for images, name in ((recorded["cropped_u8"][:, :1], "C1"), (recorded["cropped_u8"], "C2")):
        np.testing.assert_array_equal(model.predict(images, prompts), recorded[f"{name}_normalized"])


def test_diffusion_from_the_recorded_noise(
    make: Make, config: ModelConfig, recorded: Recorded, prompts: list[tuple[int, ...]], proprio: np.ndarray
) -> None:
    model = make("diffusion", proprio=True, components="components_diffusion", steps=10)
    together = model.predict(recorded["cropped_u8"], prompts, proprio, recorded["D_noise"])
    assert_close(together, recorded["D10_normalized"], 1e-4)
    fine = make("diffusion", proprio=True, components="components_diffusion", steps=50)
    actions = fine.predict(recorded["cropped_u8"][:1], prompts[:1], proprio[:1], recorded["D_noise"][:1])
    scale = config.statistics.scale("libero_goal", "action", 7, "q01_q99", OFT_EPSILON)
    assert_close(scale.unnormalise(actions), recorded["D50_actions__libero_goal"], 1e-4)


def test_film_with_unmerged_lora(
    make: Make, folder: Path, tmp_path: Path, recorded: Recorded, prompts: list[tuple[int, ...]], proprio: np.ndarray
) -> None:
    for file in (*(folder / "checkpoint").glob("*.pt"), *(folder / "components_film").glob("*.pt")):
        (tmp_path / file.name).symlink_to(file)
    model = make("l1", proprio=True, components=tmp_path, film=True)
    images = recorded["cropped_u8"]
    together = model.predict(images, prompts, proprio)
    assert_close(together, recorded["E_normalized"], 1e-4)
    alone = np.concatenate([model.predict(images[i : i + 1], prompts[i : i + 1], proprio[i : i + 1]) for i in range(len(prompts))])
    assert_close(together, alone, 1e-5)


def test_the_diffusion_schedule_equals_diffusers(recorded: Recorded) -> None:
    schedule = DdimSchedule(10)
    assert schedule.timesteps == recorded["D10_timesteps"].tolist()
    assert DdimSchedule(50).timesteps == recorded["D50_timesteps"].tolist()
    np.testing.assert_array_equal(schedule.alphas_cumprod.numpy(), recorded["D_alphas_cumprod"])
    np.testing.assert_array_equal(
        torch.stack([embed_timestep(t, 32) for t in range(50)]).numpy(), recorded["D_time_embeddings_t0_49"]
    )
    for index, timestep in enumerate(recorded["D10_case0_step_t"].tolist()):
        sample, noise = (torch.from_numpy(recorded[f"D10_case0_step_{name}"][index]) for name in ("sample", "noise_pred"))
        after = schedule.step(noise, timestep, sample).numpy()
        assert_close(after, recorded["D10_case0_step_prev_sample"][index], 1e-6)


def test_the_platform_is_never_guessed() -> None:
    assert (PLATFORMS["aloha"].chunk, PLATFORMS["aloha"].action_size, PLATFORMS["bridge"].chunk) == (25, 14, 5)
    for name in (None, "libre"):
        with pytest.raises(ConfigError, match="policy.platform must name .*libero, bridge, aloha"):
            find_platform(name)


def test_a_missing_or_ambiguous_component_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no noisy_action_projector--STEP.*there: action_head--50000_checkpoint.pt, proprio"):
        component_file(folder / "checkpoint", "noisy_action_projector", None)
    for step in (100, 200):
        (tmp_path / f"action_head--{step}_checkpoint.pt").touch()
    with pytest.raises(ConfigError, match="choose one as policy.component_step: .*--100_.*--200_"):
        component_file(tmp_path, "action_head", None)
    assert component_file(tmp_path, "action_head", "200").name == "action_head--200_checkpoint.pt"


def test_a_head_of_another_kind_is_named(make: Make) -> None:
    with pytest.raises(PolicyError, match=r"missing \(16\): noise_predictor\..*not part of the network \(16\): model\."):
        make("diffusion", proprio=False)


@pytest.mark.parametrize(
    ("head", "steps", "message"), [("l2", 50, "policy.head"), ("l1", 51, "policy.diffusion_steps must be 1..50")]
)
def test_settings_that_cannot_be_are_refused(head: Head, steps: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OftConfig(PLATFORMS["libero"], head, True, False, steps)
