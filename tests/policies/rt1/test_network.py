"""RT-1 against upstream's recorded numbers: tiny layer by layer, full-size from frame to action, alone and in a batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close

from vlagym.policies.rt1.config import Rt1Config
from vlagym.policies.rt1.naming import official_variables
from vlagym.policies.rt1.network import Rt1, attention_mask, scale_channels

from .conftest import FULL, TINY, checksum, load, recipe_value


def test_the_attention_mask_equals_upstream(folder: Path) -> None:
    np.testing.assert_array_equal(attention_mask(TINY).numpy(), np.load(folder / "tiny_golden.npz")["attention_mask"].astype(bool))


def test_channels_of_the_scaled_encoder() -> None:
    assert [scale_channels(c, 1.2) for c in (32, 16, 24, 40, 80, 112, 192, 320, 1280)] == [40, 24, 32, 48, 96, 136, 232, 384, 1536]


@pytest.mark.parametrize(("config", "size"), [(TINY, "tiny"), (FULL, "full")])
def test_names_and_order_of_variables_are_the_published_ones(folder: Path, config: Rt1Config, size: str) -> None:
    variables = official_variables(config)
    shapes = {name: tuple(value["shape"]) for name, value in json.loads((folder / f"{size}_variables.json").read_text()).items()}
    order = [entry["name"] for entry in json.loads((folder / f"{size}_module_variable_order.json").read_text())]
    assert [variable.official for variable in variables] == order
    assert {variable.official: variable.shape for variable in variables} == shapes


def test_every_layer_of_the_tiny_network(tiny: Rt1, folder: Path, images: np.ndarray) -> None:
    recorded = np.load(folder / "tiny_golden.npz")
    embedding = torch.from_numpy(recorded["natural_language_embedding"])[None]
    tokenizer = tiny.image_tokenizer

    def channels_last(x: torch.Tensor) -> np.ndarray:
        return x[0].permute(1, 2, 0).numpy()

    with torch.inference_mode():
        prepared = tokenizer.prepare(torch.from_numpy(images[:1]))
        encoded = tokenizer.encode(prepared, embedding)
        projected = tokenizer.to_tokens(encoded)
        filmed = tokenizer.film(projected, embedding)
    assert_close(channels_last(prepared)[:24], recorded["prepared_image_frame0_rows0_24"], 1e-4)
    assert_close(channels_last(encoded), recorded["efficientnet_out_frame0"], 1e-4)
    assert_close(channels_last(projected), recorded["conv1x1_frame0"], 1e-4)
    assert_close(channels_last(filmed), recorded["film_out_frame0"], 1e-4)
    frame = tiny.tokenize_images(torch.from_numpy(images[:1]), embedding)
    frames = torch.nn.functional.pad(frame[:, None], (0, 0, 0, 0, 0, TINY.window - 1))
    assert_close(tiny.all_logits(frames)[0].numpy(), recorded["transformer_all_logits_step0"], 1e-4)


def episode(network: Rt1, images: np.ndarray, embedding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image tokens of all frames, and the logits of the action after each."""
    window = network.config.window
    tokens = network.tokenize_images(torch.from_numpy(images), torch.from_numpy(embedding).expand(len(images), -1))
    logits = []
    for last in range(len(images)):
        seen = tokens[max(0, last + 1 - window) : last + 1]
        frames = torch.zeros(1, window, *tokens.shape[1:])
        frames[0, : len(seen)] = seen
        logits.append(network.action_logits(frames, torch.tensor([len(seen)]))[0])
    return tokens.numpy(), torch.stack(logits).numpy()


def test_an_episode_of_the_tiny_network(tiny: Rt1, folder: Path, images: np.ndarray) -> None:
    recorded = np.load(folder / "tiny_golden.npz")
    tokens, logits = episode(tiny, images, recorded["natural_language_embedding"])
    assert_close(tokens, recorded["token_learner_tokens"], 1e-4)
    assert_close(logits, recorded["action_logits"], 1e-4)
    np.testing.assert_array_equal(logits.argmax(axis=2), recorded["action_tokens"])
    parts = TINY.detokenize(logits.argmax(axis=2))
    for name, values in parts.items():
        np.testing.assert_array_equal(values, recorded[f"action/{name}"], err_msg=name)
    _, silent = episode(tiny, images[3:4], np.zeros(512, np.float32))
    assert_close(silent[0], recorded["zero_embedding_frame3_logits"], 1e-4)


def test_an_episode_of_the_full_size_network(folder: Path, images: np.ndarray) -> None:
    values = {variable.official: recipe_value(variable.official, variable.shape) for variable in official_variables(FULL)}
    sums = json.loads((folder / "full_recipe_checksums.json").read_text())
    checked = [name for name in values if checksum(values[name]) in json.dumps(sums[name])]
    assert len(checked) >= len(values) - 1  # all but the count, which is no float
    recorded = np.load(folder / "full_golden.npz")
    tokens, logits = episode(load(FULL, values), images, recorded["natural_language_embedding"])
    assert_close(tokens, recorded["token_learner_tokens"], 1e-3)
    assert_close(logits, recorded["action_logits"], 1e-3)
    np.testing.assert_array_equal(logits.argmax(axis=2), recorded["action_tokens"])


def test_episodes_at_different_frames_share_a_batch(tiny: Rt1, images: np.ndarray, folder: Path) -> None:
    embedding = np.load(folder / "tiny_golden.npz")["natural_language_embedding"]
    tokens, alone = episode(tiny, images, embedding)
    frames = torch.zeros(3, TINY.window, *tokens.shape[1:])
    for row, last in enumerate((0, 3, 7)):
        seen = tokens[max(0, last - 5) : last + 1]
        frames[row, : len(seen)] = torch.from_numpy(seen)
    frames[0, 1:] = 7.0  # what comes after the last frame must not matter
    together = tiny.action_logits(frames, torch.tensor([1, 4, 6]))
    assert_close(together.numpy(), alone[[0, 3, 7]], 1e-5)


def test_action_tokens_equal_upstream_both_ways(folder: Path) -> None:
    recorded = np.load(folder / "action_tokenizer.npz")
    for name, values in TINY.detokenize(recorded["detokenize_in"]).items():
        np.testing.assert_array_equal(values, recorded[f"detokenize_out/{name}"], err_msg=name)
    parts = {name.rpartition("/")[2]: recorded[name] for name in recorded.files if name.startswith("tokenize_in/")}
    np.testing.assert_array_equal(TINY.tokenize(parts), recorded["tokenize_out"])
