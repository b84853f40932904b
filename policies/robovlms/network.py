"""The network: transformers' own Kosmos-2 and an LSTM over the last steps, batched from end to end.

At each step Kosmos-2 reads the images and the sentence, and what it makes of a learned action token is the step's vector; the head
runs an LSTM over the vectors of the last steps. Upstream ticks the LSTM on while its window is not full, and from then on runs it
over the window from zero; from zero over what there is of the window is the same function at every step. Source:
Robot-VLAs/RoboVLMs 8adc1d28 (robovlms/model/backbone/robokosmos.py, base_backbone.py; policy_head/base_policy.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn
from transformers import Kosmos2Config, Kosmos2Model
from transformers.models.kosmos2.modeling_kosmos2 import Kosmos2TextSinusoidalPositionalEmbedding

from ..network.images import normalise
from ..network.packing import can_pack, expect_packed
from ..network.weights import WeightSource, fill
from .config import IMAGE_SIZE, PATCH_SIZE, RoboVlmsConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

AttentionKind = Literal["sdpa", "eager"]

# CLIP's, of which Kosmos-2's vision transformer is one.
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
ARM_ENTRIES = 6
LSTM_LAYERS = 4
HEAD_WIDTHS = (1024, 512, 256)
# A copy of the embeddings that turns states back into words, which nobody asks for here.
UNUSED = "backbone.text_model.lm_head.weight"


class Mlp(nn.Module):
    """Linear layers with ReLU between them, under the names that the checkpoints have."""

    def __init__(self, size: int, out: int) -> None:
        super().__init__()
        widths = (size, *HEAD_WIDTHS, out)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, size] -> [B, out]."""
        out: torch.Tensor = self.mlp(x)
        return out


class PolicyHead(nn.Module):
    """From the vectors of the last steps to a chunk of actions."""

    def __init__(self, config: RoboVlmsConfig) -> None:
        super().__init__()
        self.chunk = config.chunk
        self.rnn = nn.LSTM(config.text.embed_dim, config.head_size, LSTM_LAYERS, batch_first=True)
        self.actions = Mlp(config.head_size, config.chunk * ARM_ENTRIES)
        self.gripper = Mlp(config.head_size, config.chunk)

    def forward(self, steps: torch.Tensor, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A chunk after each episode's last step.

        Args:
            steps: [B, window, D], filled from the left; what comes after the last step is ignored.
            counts: Steps of each episode, int64[B], from 1.

        Returns:
            Arm [B, chunk, 6] in [-1, 1], and the logit of an open gripper [B, chunk].
        """
        states, _ = self.rnn(steps)
        last = states[torch.arange(len(states), device=states.device), counts - 1]
        return torch.tanh(self.actions(last)).view(len(last), self.chunk, ARM_ENTRIES), self.gripper(last)


class RoboVlm(nn.Module):
    """Images and a sentence in, a vector per step out; vectors in, actions out. Build it with `build`.

    Args:
        config: Shapes and constants.
        attention: ``sdpa`` (torch's fused kernels) or ``eager`` (plain matrix products).
    """

    def __init__(self, config: RoboVlmsConfig, attention: AttentionKind = "sdpa") -> None:
        super().__init__()
        self.config = config
        self.action_token = nn.Parameter(torch.empty(config.text.embed_dim))
        self.backbone = Kosmos2Model(_kosmos_config(config, attention))
        self.act_head = PolicyHead(config)

    def finish_loading(self, device: torch.device, dtype: torch.dtype) -> None:
        """Compute what no checkpoint holds, the positions' numbers; and lay the LSTM's weights out for the device."""
        text = self.config.text
        positions = Kosmos2TextSinusoidalPositionalEmbedding(text.max_position_embeddings, text.embed_dim, text.pad_token_id)
        self.backbone.text_model.model.embed_positions = positions.to(device, dtype)
        embeddings = self.backbone.vision_model.model.embeddings
        embeddings.position_ids = torch.arange(embeddings.num_positions, device=device)[None]
        self.act_head.rnn.flatten_parameters()

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.action_token.device

    @property
    def dtype(self) -> torch.dtype:
        """The parameters' dtype."""
        return self.action_token.dtype

    @torch.inference_mode()
    def read(self, images: NDArray[np.uint8], sentences: Sequence[Sequence[int]]) -> torch.Tensor:
        """The vector of a step.

        Args:
            images: uint8[B, N, 224, 224, 3], the scene first, then the hand where there is one.
            sentences: Token ids of each observation, ``<s>`` first and ``</s>`` last.

        Returns:
            [B, D].
        """
        embeddings, positions = self.embed(self.encode_images(images), sentences)
        return self.hidden_states(embeddings)[torch.arange(len(embeddings), device=self.device), positions]

    @torch.inference_mode()
    def act(self, steps: torch.Tensor, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `PolicyHead.forward`."""
        chunk: tuple[torch.Tensor, torch.Tensor] = self.act_head(steps, counts)
        return chunk

    def encode_images(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """Features of all images: uint8[B, N, 224, 224, 3] -> [B, N, image_tokens, D]."""
        batch, count = images.shape[:2]
        pixels = normalise(torch.from_numpy(images).to(self.device).flatten(0, 1), IMAGE_MEAN, IMAGE_STD).to(self.dtype)
        vision = self.backbone.vision_model.model
        features = nn.functional.normalize(vision.post_layernorm(vision(pixels).last_hidden_state), dim=-1)
        projected: torch.Tensor = self.backbone.image_to_text_projection(features)[0]
        return projected.view(batch, count, *projected.shape[1:])

    def embed(self, features: torch.Tensor, sentences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """What the language model reads: ``<s>``, the hand's image, the scene's, the sentence and the action token.

        Upstream has ``</s>`` after the action token, which looks only backwards and never sees it. Sentences of different lengths
        are padded on the right, where it does not look either.

        Args:
            features: [B, N, image_tokens, D], the scene first.
            sentences: See `read`.

        Returns:
            [B, L, D] and the positions of the action tokens, int64[B].
        """
        lengths = torch.tensor([len(ids) for ids in sentences], device=self.device)
        padded = np.full((len(sentences), max(map(len, sentences))), self.config.text.pad_token_id, np.int64)
        for row, ids in zip(padded, sentences, strict=True):
            row[: len(ids)] = ids
        words: torch.Tensor = self.backbone.text_model.model.embed_tokens(torch.from_numpy(padded).to(self.device))
        words[torch.arange(len(words), device=self.device), lengths - 1] = self.action_token
        seen = features.flip(1).flatten(1, 2)
        return torch.cat([words[:, :1], seen, words[:, 1:]], dim=1), lengths - 1 + seen.shape[1]

    def hidden_states(self, embeddings: torch.Tensor) -> torch.Tensor:
        """The language model's last hidden states: [B, L, D] -> [B, L, D]."""
        states: torch.Tensor = self.backbone.text_model.model(inputs_embeds=embeddings, use_cache=False).last_hidden_state
        return states


def build(
    config: RoboVlmsConfig,
    source_for: Callable[[nn.Module], WeightSource],
    *,
    device: torch.device,
    dtype: torch.dtype,
    attention: AttentionKind = "sdpa",
) -> RoboVlm:
    """A network with weights, ready for inference.

    Raises:
        PolicyError: The weights do not fit; all of them are named.
    """
    with torch.device("meta"):
        network = RoboVlm(config, attention)
    if can_pack(device, dtype):
        expect_packed(network)
    fill(network, source_for(network), dtype=dtype, device=device, unused=lambda name: name == UNUSED)
    network.finish_loading(device, dtype)
    return network


def _kosmos_config(config: RoboVlmsConfig, attention: AttentionKind) -> Kosmos2Config:
    text = {**asdict(config.text), "activation_function": "gelu"}
    vision = {**asdict(config.vision), "image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE, "hidden_act": "quick_gelu"}
    kernels: dict[str, Any] = {"attn_implementation": attention}
    return Kosmos2Config(text_config=text, vision_config=vision, latent_query_num=config.image_tokens, **kernels)
