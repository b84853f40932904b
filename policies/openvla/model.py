"""The network: vision towers, projector and transformers' own Llama, batched from end to end.

Observations of one batch have prompts of different lengths. They are padded on the right, where causal attention cannot see them,
so a row's numbers do not depend on its neighbours; when decoding, a mask hides the padding in the cache and each row counts its own
positions. Source: openvla/openvla c8f03f48 (prismatic/extern/hf/modeling_prismatic.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, StaticCache
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from ..network.passes import right_padded
from .config import ModelConfig
from .llama import LlamaLayers
from .tokens import BOS_ID, EOS_ID
from .vision import VisionBackbone

if TYPE_CHECKING:
    from numpy.typing import NDArray

AttentionKind = Literal["sdpa", "eager"]


class Projector(nn.Module):
    """From the towers' features to the language model's width: two layers for one tower, three for two."""

    def __init__(self, vision_dim: int, language_dim: int, towers: int) -> None:
        super().__init__()
        if towers == 1:
            widths = [vision_dim, language_dim, language_dim]
        else:
            widths = [vision_dim, 4 * vision_dim, language_dim, language_dim]
        self.depth = len(widths) - 1
        for index in range(self.depth):
            self.add_module(f"fc{index + 1}", nn.Linear(widths[index], widths[index + 1]))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, N, vision] -> [B, N, language]."""
        for index in range(self.depth):
            features = self.get_submodule(f"fc{index + 1}")(features if index == 0 else F.gelu(features))
        return features


class OpenVla(nn.Module):
    """Images and a prompt in, next-token logits or hidden states out. Build it with `build`.

    Args:
        config: Shapes and constants.
        attention: ``sdpa`` (torch's fused kernels) or ``eager`` (plain matrix products).
        film: Whether the sentence modulates the towers (OFT).
    """

    def __init__(self, config: ModelConfig, attention: AttentionKind = "sdpa", film: bool = False) -> None:
        super().__init__()
        self.config = config
        arguments = {**_llama_arguments(config), "attn_implementation": attention, "tie_word_embeddings": False}
        self.vision_backbone = VisionBackbone(
            config.towers,
            config.image_means,
            config.image_stds,
            film_dim=config.language.hidden_size if film else None,
            fused_attention=attention == "sdpa",
        )
        self.projector = Projector(config.vision_dim, config.language.hidden_size, len(config.towers))
        self.language_model = LlamaForCausalLM(LlamaConfig(**arguments))

    def finish_loading(self, device: torch.device) -> None:
        """Compute what no checkpoint holds: the rotation frequencies, always in float32."""
        self.language_model.model.rotary_emb = LlamaRotaryEmbedding(self.language_model.config).to(device)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        device: torch.device = self.language_model.model.embed_tokens.weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The parameters' dtype."""
        dtype: torch.dtype = self.language_model.model.embed_tokens.weight.dtype
        return dtype

    def embed_tokens(self, ids: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings of token sequences, padded on the right.

        Returns:
            [B, L, D] and the lengths int64[B].
        """
        lengths = torch.tensor([len(row) for row in ids], device=self.device)
        padded = right_padded(ids, max(map(len, ids)), EOS_ID)
        embeddings: torch.Tensor = self.language_model.model.embed_tokens(torch.from_numpy(padded).to(self.device))
        return embeddings, lengths

    def embed_images(self, images: NDArray[np.uint8], sentence: torch.Tensor | None = None) -> torch.Tensor:
        """Projected patches of all images of each observation: uint8[B, N, 224, 224, 3] -> [B, N * 256, D]."""
        return self.embed_pixels(torch.from_numpy(images).to(self.device), sentence)

    def embed_pixels(self, images: torch.Tensor, sentence: torch.Tensor | None = None) -> torch.Tensor:
        """Like `embed_images`, of images that are on the device."""
        projected: torch.Tensor = self.projector(self.vision_backbone(images, sentence))
        return projected

    @cache  # noqa: B019 (a network lives as long as its policy)
    def layers(self, fused: bool) -> LlamaLayers:
        """The language model's layers for passes of a fixed shape."""
        return LlamaLayers(self.language_model.model, fused)

    def hidden_states(
        self,
        embeddings: torch.Tensor,
        mask: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        cache: StaticCache | None = None,
    ) -> torch.Tensor:
        """The language model's last hidden states.

        Args:
            embeddings: [B, L, D].
            mask: Added to the attention scores, [B, 1, 1 or L, columns]; None for causal attention.
            positions: int64[B, L]; None counts from 0.
            cache: Keys and values so far, extended by this call.

        Returns:
            [B, L, D].
        """
        output = self.language_model.model(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=positions,
            use_cache=cache is not None,
            **{_cache_parameter(self.language_model.model): cache},
        )
        states: torch.Tensor = output.last_hidden_state
        return states

    @torch.inference_mode()
    def generate(
        self, images: NDArray[np.uint8], prompts: Sequence[Sequence[int]], count: int, allowed: range | None = None
    ) -> NDArray[np.int64]:
        """Decode greedily.

        Args:
            images: uint8[B, N, 224, 224, 3].
            prompts: Token ids of each observation, ``<s>`` first.
            count: Tokens to decode, unless a row says ``</s>`` earlier.
            allowed: Ids among which the best is chosen; None for all.

        Returns:
            int64[B, count]: the last `count` ids of prompt and answer together. That is what upstream reads, and it differs from
            the answer alone only after an early ``</s>``.
        """
        decoder = Decoder(self, self.embed_images(images), prompts, count, allowed)
        answers: list[list[int]] = [[] for _ in prompts]
        ids = decoder.start().argmax(dim=1)
        for step in range(count):
            tokens = (ids + (allowed.start if allowed else 0)).cpu().tolist()
            for answer, token in zip(answers, tokens, strict=True):
                answer.append(token)
            if step == count - 1 or all(EOS_ID in answer for answer in answers):
                break
            ids = decoder.step(tokens).argmax(dim=1)
        return last_ids(prompts, answers, count)


class Decoder:
    """The language model over one batch: the prompts in one pass, then token by token from the cache.

    Args:
        model: The network.
        patches: Projected patches [B, P, D].
        prompts: Token ids of each observation, ``<s>`` first.
        count: Tokens that will be decoded at most.
        allowed: Ids for which logits are wanted; None for the whole vocabulary.
    """

    def __init__(
        self, model: OpenVla, patches: torch.Tensor, prompts: Sequence[Sequence[int]], count: int, allowed: range | None = None
    ) -> None:
        self._model = model
        self._embeddings, self._lengths = insert_after_bos(model, patches, prompts)
        self._padded = self._embeddings.shape[1]
        self._columns = self._padded + count - 1
        self._taken = 0
        self._cache = StaticCache(config=model.language_model.config, max_cache_len=self._columns)
        self._wanted = slice(None) if allowed is None else slice(allowed.start, allowed.stop)

    def start(self) -> torch.Tensor:
        """Read the prompts; logits [B, V] of the first token."""
        states = self._model.hidden_states(self._embeddings, cache=self._cache)
        return self._logits(states[torch.arange(len(states), device=states.device), self._lengths - 1])

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Read one more token per row; logits [B, V] of the next."""
        device = self._embeddings.device
        embeddings = self._model.language_model.model.embed_tokens(torch.tensor(tokens, device=device)[:, None])
        column = torch.arange(self._columns, device=device)
        decoded = (column >= self._padded) & (column <= self._padded + self._taken)
        visible = (column < self._lengths[:, None]) | decoded
        positions = (self._lengths + self._taken)[:, None]
        states = self._model.hidden_states(embeddings, hiding_mask(visible, embeddings.dtype), positions, self._cache)
        self._taken += 1
        return self._logits(states[:, -1])

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        """[B, D] -> [B, V]."""
        logits: torch.Tensor = self._model.language_model.lm_head(states)
        return logits[:, self._wanted]


def last_ids(prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], count: int) -> NDArray[np.int64]:
    """int64[B, count]: the last ids of prompt and answer together, where an answer ends with its first ``</s>``."""
    ended = [answer[: answer.index(EOS_ID) + 1] if EOS_ID in answer else answer for answer in answers]
    return np.array([[*prompt, *answer][-count:] for prompt, answer in zip(prompts, ended, strict=True)], np.int64)


def insert_after_bos(model: OpenVla, patches: torch.Tensor, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of ``<s>``, the patches and the rest of the prompt, padded on the right.

    Returns:
        [B, L, D] and the lengths int64[B].
    """
    if any(not prompt or prompt[0] != BOS_ID for prompt in prompts):
        raise ValueError(f"every prompt must start with token {BOS_ID}")
    embeddings, lengths = model.embed_tokens(prompts)
    return torch.cat([embeddings[:, :1], patches, embeddings[:, 1:]], dim=1), lengths + patches.shape[1]


def hiding_mask(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Additive attention mask [B, 1, 1, L] that hides columns: bool[B, L] -> 0 where visible."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None, None]


def _cache_parameter(llama: nn.Module) -> str:
    """What this version of transformers calls the cache: its releases of 5.x renamed it on the way."""
    return "cache" if "cache" in inspect.signature(inspect.unwrap(type(llama).forward)).parameters else "past_key_values"


def _llama_arguments(config: ModelConfig) -> dict[str, Any]:
    arguments = asdict(config.language)
    theta = arguments.pop("rope_theta")
    heads = arguments.pop("num_key_value_heads") or config.language.num_attention_heads
    return {**arguments, "num_key_value_heads": heads, "rope_parameters": {"rope_type": "default", "rope_theta": theta}}
