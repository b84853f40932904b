"""RoboVLMs against upstream's recorded numbers: from pixels to features to a step's vector to a chunk, alone and in a batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from closeness import assert_close

from vlagym.policies.network.images import normalise, stack_images
from vlagym.policies.network.tokenizer import FileTokenizer
from vlagym.policies.robovlms.config import RoboVlmsConfig
from vlagym.policies.robovlms.network import IMAGE_MEAN, IMAGE_STD, RoboVlm, build
from vlagym.policies.robovlms.opening import MAX_SENTENCE, read_pt
from vlagym.policies.robovlms.policy import PROMPT

from .conftest import sentences

RUNS = ("calvin_hand", "calvin_static_only", "simpler_google_robot", "simpler_widowx_bridge")


class Recorded:
    """One of the recorded runs: its frames (the scene's first), token ids and arrays."""

    def __init__(self, folder: Path, runs: dict[str, Any], name: str) -> None:
        file, prefix = ("simpler", f"{name.removeprefix('simpler_')}_") if name.startswith("simpler") else (name, "")
        with np.load(folder / f"{file}.npz") as stored:
            self.arrays = {key.removeprefix(prefix): stored[key] for key in stored.files if key.startswith(prefix)}
        with np.load(folder / "calvin_hand.npz") as hand:  # the frames of both CALVIN runs
            scene = self["image"] if prefix else hand["static"]
            frames = [[image] for image in scene]
            if name == "calvin_hand":
                frames = [[image, close] for image, close in zip(scene, hand["gripper"], strict=True)]
        self.images = stack_images(frames, 224)
        self.sentences = sentences(runs[name], self["episode_len"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def windows(self, vectors: torch.Tensor, window: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What the head sees after every step of both episodes."""
        padded, counts = [], []
        for start, length in zip(np.cumsum([0, *self["episode_len"][:-1]]), self["episode_len"], strict=True):
            for step in range(length):
                seen = vectors[max(start, start + step + 1 - window) : start + step + 1]
                padded.append(torch.nn.functional.pad(seen, (0, 0, 0, window - len(seen))))
                counts.append(len(seen))
        return torch.stack(padded), torch.tensor(counts)


@pytest.fixture(params=RUNS)
def recorded(request: pytest.FixtureRequest, folder: Path, runs: dict[str, Any]) -> Recorded:
    return Recorded(folder, runs, request.param)


def test_sentences_become_the_same_tokens(folder: Path) -> None:
    tokenizer = FileTokenizer(folder / "kosmos-tiny" / "tokenizer.json", MAX_SENTENCE)
    cases = json.loads((folder / "tokenizer_cases.json").read_text())
    assert len(cases) >= 10
    for case in cases:
        assert list(tokenizer(PROMPT.format(instruction=case["instruction"].strip()))) == case["input_ids"], case["instruction"]


@pytest.mark.parametrize("name", [name for name in RUNS if name != "calvin_static_only"])  # the frames of the run before
def test_pixels_are_the_same_bits(name: str, folder: Path, runs: dict[str, Any]) -> None:
    recorded = Recorded(folder, runs, name)
    pixels = normalise(torch.from_numpy(recorded.images[0]), IMAGE_MEAN, IMAGE_STD).numpy()
    names = [stored for stored in ("static_pixels0", "gripper_pixels0", "pixels0") if stored in recorded.arrays]
    np.testing.assert_array_equal(pixels, [recorded[stored] for stored in names])


def test_images_become_the_same_features(recorded: Recorded, network: RoboVlm) -> None:
    with torch.inference_mode():
        features = network.encode_images(recorded.images)
        embeddings, _ = network.embed(features[:1], recorded.sentences[:1])
        states = network.hidden_states(embeddings)
    for index, name in enumerate(("static_feat", "gripper_feat")):
        if name in recorded.arrays and index < features.shape[1]:
            assert_close(features[:, index], recorded[name], 1e-4)
    # Upstream has </s> after the action token, which nothing before it can see.
    assert_close(embeddings[0], recorded["inputs_embeds0"][:-1], 1e-4)
    if "last_hidden0" in recorded.arrays:
        assert_close(states[0], recorded["last_hidden0"][:-1], 1e-4)


def test_both_episodes_step_by_step(recorded: Recorded, network: RoboVlm) -> None:
    """Longer than the window: from then on upstream runs the LSTM over the window from zero."""
    vectors = network.read(recorded.images, recorded.sentences)
    assert_close(vectors, recorded["token"], 1e-4)
    assert recorded["episode_len"][0] > network.config.window
    arm, gripper = network.act(*recorded.windows(vectors, network.config.window))
    assert_close(arm, recorded["arm"], 6e-4)
    assert_close(gripper, recorded["gripper_logit"], 1.2e-3)


def test_the_head_alone(folder: Path, network: RoboVlm) -> None:
    with np.load(folder / "lstm_head.npz") as stored:
        vectors, arm, gripper = (stored[name] for name in ("tokens", "arm", "gripper_logit"))
    window = network.config.window
    padded, counts = [], []
    for last in range(len(vectors)):
        seen = torch.from_numpy(vectors[max(0, last + 1 - window) : last + 1])
        padded.append(torch.nn.functional.pad(seen, (0, 0, 0, window - len(seen)), value=3.0))  # what comes after must not matter
        counts.append(len(seen))
    ours = network.act(torch.stack(padded), torch.tensor(counts))
    assert_close(ours[0], arm, 1e-4)
    assert_close(ours[1], gripper, 1e-4)


def test_eager_attention_gives_the_same(folder: Path, config: RoboVlmsConfig, runs: dict[str, Any], network: RoboVlm) -> None:
    source = read_pt(folder / "ckpt" / "kosmos_ph_tiny.pt")
    eager = build(config, lambda _: source, device=torch.device("cpu"), dtype=torch.float32, attention="eager")
    assert eager.backbone.text_model.config._attn_implementation == "eager"
    recorded = Recorded(folder, runs, "calvin_hand")
    assert_close(eager.read(recorded.images[:4], recorded.sentences[:4]), recorded["token"][:4], 1e-4)


def test_a_row_does_not_depend_on_its_company(folder: Path, runs: dict[str, Any], network: RoboVlm) -> None:
    """At one shape of the batch a row has the same bits, whoever is beside it and wherever it stands."""
    recorded = Recorded(folder, runs, "calvin_hand")
    first, second = recorded.images[0], recorded.images[15]
    short, long = sorted({recorded.sentences[0], recorded.sentences[15]}, key=len)
    assert len(short) < len(long)

    def read(images: list[np.ndarray], ids: list[tuple[int, ...]]) -> torch.Tensor:
        return network.read(np.stack(images), ids)

    one = read([first, second, second, second], [short, long, long, long])
    other = read([second, first, first, first], [long, short, long, long])
    assert torch.equal(one[0], other[1])
    alone = read([first], [short])
    assert_close(one[0], alone[0], 1e-5)
    windows, counts = recorded.windows(torch.from_numpy(recorded["token"]), network.config.window)
    together = network.act(windows[:4], counts[:4])
    turned = network.act(windows[:4].flip(0), counts[:4].flip(0))
    assert torch.equal(together[0], turned[0].flip(0))
    assert torch.equal(together[1], turned[1].flip(0))
