"""The network against upstream's recorded numbers, alone and in a batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close

from vlagym.policies.network.images import stack_images
from vlagym.policies.network.weights import SafetensorsFolder, StateDict
from vlagym.policies.openvla.config import ModelConfig
from vlagym.policies.openvla.loading import build
from vlagym.policies.openvla.model import Decoder, OpenVla
from vlagym.policies.openvla.tokens import ActionTokenizer

Recorded = np.lib.npyio.NpzFile
Prompts = list[tuple[int, ...]]


def test_images_are_resized_as_by_the_processor(recorded: Recorded) -> None:
    raw = [*recorded["images_224"], *recorded["images_256"]]
    np.testing.assert_array_equal(stack_images([[image] for image in raw], 224)[:, 0], recorded["resized_u8"])


def test_pixel_values_use_the_stored_normalisation(model: OpenVla, recorded: Recorded) -> None:
    values = torch.cat(model.vision_backbone.normalise(torch.from_numpy(recorded["resized_u8"])), dim=1).numpy()
    np.testing.assert_array_equal(values[0], recorded["pixel_values_img0"])
    np.testing.assert_array_equal(values[2, :, :64], recorded["pixel_values_img2_rows0_64"])


def test_patch_features_equal_upstream(model: OpenVla, recorded: Recorded) -> None:
    with torch.inference_mode():
        features = model.vision_backbone(torch.from_numpy(recorded["resized_u8"][:, None]))
    assert_close(features.numpy(), recorded["patch_features"], 1e-5)
    assert_close(model.embed_images(recorded["resized_u8"][:, None]).detach().numpy(), recorded["projected_patch_embeddings"], 1e-5)


def test_prompts_are_tokenised_as_upstream(prompts: Prompts, recorded: Recorded) -> None:
    expected = [tuple(row[:length]) for row, length in zip(recorded["input_ids_after_append"], recorded["input_len"], strict=True)]
    assert prompts == expected


def test_tokens_equal_upstream_one_by_one_and_in_one_mixed_batch(
    model: OpenVla, images: np.ndarray, prompts: Prompts, recorded: Recorded
) -> None:
    assert len({len(prompt) for prompt in prompts}) > 1
    count = recorded["generated_ids"].shape[1]
    together = model.generate(images, prompts, count)
    alone = np.concatenate([model.generate(images[c : c + 1], prompts[c : c + 1], count) for c in range(len(prompts))])
    np.testing.assert_array_equal(together, recorded["generated_ids"])
    np.testing.assert_array_equal(alone, recorded["generated_ids"])
    print(f"{alone.size} tokens of {len(alone)} cases, alone and in one batch: all equal")
    np.testing.assert_array_equal(model.generate(images, prompts, 9), recorded["generated_ids_9"])


def test_logits_equal_upstream_at_every_step(model: OpenVla, images: np.ndarray, prompts: Prompts, recorded: Recorded) -> None:
    with torch.inference_mode():
        tokens = recorded["generated_ids"]
        decoder = Decoder(model, model.embed_images(images), prompts, tokens.shape[1])
        steps = [decoder.start(), *(decoder.step(column.tolist()) for column in tokens.T[:-1])]
    logits = torch.stack(steps, dim=1).numpy()
    assert_close(logits[:, :, 31488:], recorded["logits_tail"], 1e-4)
    whole = [name for name in recorded.files if name.endswith("_logits_full_step0")]
    assert whole
    for name in whole:
        case = int(name.removeprefix("case").partition("_")[0])
        assert_close(logits[case, 0], recorded[name], 1e-4)


def test_actions_equal_upstream_for_every_data_set(
    model: OpenVla, config: ModelConfig, images: np.ndarray, prompts: Prompts, recorded: Recorded
) -> None:
    tokenizer = ActionTokenizer(config.first_text_id, config.action_bins)
    keys = [name.removeprefix("actions__") for name in recorded.files if name.startswith("actions__")]
    assert keys
    for key in keys:
        expected = recorded[f"actions__{key}"]
        scale = config.statistics.scale(key, "action", expected.shape[1], "q01_q99", 0.0)
        actions = scale.unnormalise(tokenizer.decode(model.generate(images, prompts, scale.size)))
        np.testing.assert_array_equal(actions, expected, err_msg=key)
        assert actions.dtype == np.float64


def test_plain_attention_gives_the_same_tokens(
    checkpoint: Path, config: ModelConfig, images: np.ndarray, prompts: Prompts, recorded: Recorded
) -> None:
    eager = build(
        config, lambda _: SafetensorsFolder(checkpoint), device=torch.device("cpu"), dtype=torch.float32, attention="eager"
    )
    np.testing.assert_array_equal(eager.generate(images, prompts, 7), recorded["generated_ids"])


def test_bfloat16_runs_and_mostly_agrees(
    checkpoint: Path, config: ModelConfig, images: np.ndarray, prompts: Prompts, recorded: Recorded
) -> None:
    half = build(config, lambda _: SafetensorsFolder(checkpoint), device=torch.device("cpu"), dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert half.language_model.model.rotary_emb.inv_freq.dtype == torch.float32
    assert np.mean(half.generate(images, prompts, 7) == recorded["generated_ids"]) > 0.6  # upstream's own bfloat16: 0.89


def test_constrained_decoding_says_action_tokens_only(
    model: OpenVla, config: ModelConfig, images: np.ndarray, prompts: Prompts, recorded: Recorded
) -> None:
    ids = ActionTokenizer(config.first_text_id, config.action_bins).ids
    free = recorded["generated_ids"]
    assert not np.isin(free, ids).all()
    constrained = model.generate(images, prompts, 7, ids)
    assert np.isin(constrained, ids).all()
    first_outside = np.argmax(~np.isin(free, ids), axis=1)
    for row, (ours, theirs) in enumerate(zip(constrained, free, strict=True)):
        until = first_outside[row] if not np.isin(theirs, ids).all() else 7
        np.testing.assert_array_equal(ours[:until], theirs[:until])


def test_an_early_end_of_sentence_is_read_as_upstream_reads_it(
    checkpoint: Path, config: ModelConfig, images: np.ndarray, prompts: Prompts, golden: Path, recorded: Recorded
) -> None:
    weights = dict(SafetensorsFolder(checkpoint).read(SafetensorsFolder(checkpoint).shapes))
    head = weights["language_model.lm_head.weight"].float()
    for case in json.loads((golden / "openvla_tiny" / "early_eos_golden.json").read_text()):
        changed = head.clone()
        changed[2] = 1.5 * head[case["donor_row"]]
        source = StateDict({**weights, "language_model.lm_head.weight": changed}, "early")
        model = build(config, lambda _, source=source: source, device=torch.device("cpu"), dtype=torch.float32)
        index = case["image"] * 3 + case["prompt"]
        alone = model.generate(images[index : index + 1], prompts[index : index + 1], 7)[0]
        assert alone.tolist() == case["last7_used_by_predict_action"]
        together = model.generate(images, prompts, 7)[index]
        assert together.tolist() == case["last7_used_by_predict_action"]


def test_a_prompt_without_its_start_is_refused(model: OpenVla, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must start with token 1"):
        model.generate(images[:1], [(5, 6)], 7)
