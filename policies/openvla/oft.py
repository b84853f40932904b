"""OpenVLA-OFT: a whole chunk of actions from one pass, with attention in both directions.

The prompt is followed by one placeholder per action entry and by ``</s>``; what the language model makes of the placeholders is
read one position to the left, as in training, and goes to a head. Upstream gets attention in both directions from a fork of
transformers; here a mask does it. Source: moojink/openvla-oft 213c5ff8 (prismatic/extern/hf/modeling_prismatic.py,
prismatic/models/); the diffusion schedule is DDIM as diffusers 0.32 has it, with upstream's settings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from ...errors import ConfigError
from ..network.lora import AdapterConfig, Merged
from ..network.packing import can_pack, expect_packed
from ..network.passes import right_padded
from ..network.weights import SafetensorsFolder, StateDict, WeightSource, fill, load_pt
from .config import ModelConfig
from .llama import LlamaLayers, Wanted
from .loading import build
from .model import AttentionKind, OpenVla, hiding_mask
from .platforms import DIFFUSION_TRAINING_STEPS, OftConfig
from .tokens import EOS_ID, ActionTokenizer
from .vision import unused_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESIDUAL_BLOCKS = 2
LORA_ALPHA_LIMIT = 16  # upstream trains with alpha = min(rank, 16)


class ResidualBlock(nn.Module):
    """``x + relu(linear(norm(x)))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., D] -> [..., D]."""
        out: torch.Tensor = self.ffn(x) + x
        return out


class ResidualMlp(nn.Module):
    """The network of both heads: all entries of one action in, one number per entry out."""

    def __init__(self, width: int, action_size: int) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(width * action_size)
        self.fc1 = nn.Linear(width * action_size, width)
        self.mlp_resnet_blocks = nn.ModuleList([ResidualBlock(width) for _ in range(RESIDUAL_BLOCKS)])
        self.layer_norm2 = nn.LayerNorm(width)
        self.fc2 = nn.Linear(width, action_size)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[B, T, A * D] -> [B, T, A]."""
        x = F.relu(self.fc1(self.layer_norm1(states)))
        for block in self.mlp_resnet_blocks:
            x = block(x)
        out: torch.Tensor = self.fc2(self.layer_norm2(x))
        return out


class RegressionHead(nn.Module):
    """Actions straight from the states (trained with an L1 loss)."""

    def __init__(self, width: int, action_size: int) -> None:
        super().__init__()
        self.model = ResidualMlp(width, action_size)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[B, T, A * D] -> normalised actions [B, T, A]."""
        actions: torch.Tensor = self.model(states)
        return actions


class _NoisePredictor(nn.Module):
    def __init__(self, width: int, action_size: int) -> None:
        super().__init__()
        self.mlp_resnet = ResidualMlp(width, action_size)


class NoiseHead(nn.Module):
    """The noise in the present sample, from the states."""

    def __init__(self, width: int, action_size: int) -> None:
        super().__init__()
        self.noise_predictor = _NoisePredictor(width, action_size)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[B, T, A * D] -> noise [B, T, A]."""
        noise: torch.Tensor = self.noise_predictor.mlp_resnet(states)
        return noise


class InputProjector(nn.Module):
    """Numbers (the robot's state, or one entry of a noisy action) to a token embedding."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """[..., size] -> [..., D]."""
        token: torch.Tensor = self.fc2(F.gelu(self.fc1(values)))
        return token


class DdimSchedule:
    """Deterministic denoising along a squared-cosine schedule, predicting noise, with clipped estimates.

    Args:
        steps: Number of denoising steps, evenly spaced over the training steps and ending at 0.
        device: Where samples are.
    """

    def __init__(self, steps: int, device: torch.device | None = None) -> None:
        total = DIFFUSION_TRAINING_STEPS
        level = [math.cos((i / total + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(total + 1)]
        betas = torch.tensor([min(1 - level[i + 1] / level[i], 0.999) for i in range(total)], dtype=torch.float32)
        self.alphas_cumprod = torch.cumprod(1 - betas, dim=0).to(device)
        self._stride = total // steps
        self.timesteps = [i * self._stride for i in range(steps)][::-1]

    def step(self, noise: torch.Tensor, timestep: int, sample: torch.Tensor) -> torch.Tensor:
        """The sample at the next lower noise level, [...] -> [...]."""
        before = timestep - self._stride
        alpha = self.alphas_cumprod[timestep]
        alpha_before = self.alphas_cumprod[before] if before >= 0 else torch.ones_like(alpha)
        clean = ((sample - (1 - alpha) ** 0.5 * noise) / alpha**0.5).clamp(-1, 1)
        return alpha_before**0.5 * clean + (1 - alpha_before) ** 0.5 * noise


def embed_timestep(timestep: int, width: int) -> torch.Tensor:
    """Sines and cosines of a denoising step, float32[width]."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half) * -math.log(10000) / (half - 1))
    angles = timestep * frequencies
    return torch.cat([angles.sin(), angles.cos()])


class OpenVlaOft(nn.Module):
    """An OpenVLA with OFT's inputs and heads. Build it with `build_oft`.

    Args:
        vla: The network underneath.
        oft: Which inputs and which head.
    """

    def __init__(self, vla: OpenVla, oft: OftConfig) -> None:
        super().__init__()
        self.vla = vla
        self.oft = oft
        width, size = vla.config.language.hidden_size, oft.platform.action_size
        if oft.head != "discrete":
            self.action_head = RegressionHead(width, size) if oft.head == "l1" else NoiseHead(width, size)
        if oft.proprio:
            self.proprio_projector = InputProjector(oft.platform.proprio_size, width)
        if oft.head == "diffusion":
            self.noisy_action_projector = InputProjector(1, width)
        self._tokenizer = ActionTokenizer(vla.config.first_text_id, vla.config.action_bins)

    @property
    def slots(self) -> int:
        """Number of placeholders: actions of a chunk times entries of an action."""
        return self.oft.platform.chunk * self.oft.platform.action_size

    @torch.inference_mode()
    def predict(
        self,
        images: NDArray[np.uint8],
        prompts: Sequence[Sequence[int]],
        proprio: NDArray[np.floating[Any]] | None = None,
        noise: NDArray[np.floating[Any]] | None = None,
    ) -> NDArray[np.floating[Any]]:
        """A chunk per observation.

        Args:
            images: uint8[B, N, 224, 224, 3].
            prompts: Token ids of each observation, ``<s>`` first.
            proprio: Normalised states float[B, P], if the network takes them.
            noise: Standard normal float[B, T, A], where denoising starts, for the diffusion head.

        Returns:
            Normalised actions float[B, T, A].
        """
        ids = [self.with_placeholders(prompt) for prompt in prompts]
        lengths = torch.tensor([len(row) for row in ids])
        padded = torch.from_numpy(right_padded(ids, max(map(len, ids)), EOS_ID))
        states = None if proprio is None else torch.as_tensor(proprio, dtype=torch.float32)
        start = None if noise is None else torch.as_tensor(noise)
        inputs = [
            None if tensor is None else tensor.to(self.vla.device)
            for tensor in (torch.from_numpy(images), padded, lengths, states, start)
        ]
        return self.read(self.answer(*inputs))  # type: ignore[arg-type]

    def with_placeholders(self, prompt: Sequence[int]) -> list[int]:
        """Prompt, placeholders and ``</s>``; a placeholder's own id does not matter."""
        return [*prompt, *[EOS_ID] * (self.slots + 1)]

    def answer(
        self,
        images: torch.Tensor,
        ids: torch.Tensor,
        lengths: torch.Tensor,
        proprio: torch.Tensor | None = None,
        noise: torch.Tensor | None = None,
        layers: LlamaLayers | None = None,
    ) -> torch.Tensor:
        """What `read` reads, without waiting for the device.

        Args:
            images: uint8[B, N, 224, 224, 3].
            ids: What `with_placeholders` gives, padded on the right, int64[B, L].
            lengths: int64[B].
            proprio: float[B, P].
            noise: float[B, T, A].
            layers: The language model's in fixed shapes; None for transformers' own forward pass.

        Returns:
            Normalised actions [B, T, A], or ids int64[B, T * A] of a head that is ``discrete``.
        """
        text: torch.Tensor = self.vla.language_model.model.embed_tokens(ids)
        slots = (lengths - self.slots - 1)[:, None] + torch.arange(self.slots, device=text.device)
        visible = torch.arange(text.shape[1], device=text.device) < lengths[:, None]
        patches = self.vla.embed_pixels(images, self._sentence(text, slots) if self.oft.film else None)
        if self.oft.proprio:
            assert proprio is not None
            patches = torch.cat([patches, self.proprio_projector(proprio.to(patches.dtype))[:, None]], dim=1)
        shape = (len(ids), self.oft.platform.chunk, self.oft.platform.action_size)
        if self.oft.head == "diffusion":
            assert noise is not None
            return self._denoise(text, slots, visible, patches, noise.to(patches.dtype).reshape(shape), layers)
        text[_rows(text), slots] = text.new_zeros(())
        states = self._action_states(text, slots, visible, patches, layers)
        if self.oft.head == "discrete":
            chosen: torch.Tensor = self.vla.language_model.lm_head(states).argmax(dim=2)
            return chosen
        actions: torch.Tensor = self.action_head(states.reshape(*shape[:2], -1))
        return actions

    def read(self, answer: torch.Tensor) -> NDArray[np.floating[Any]]:
        """Normalised actions float[B, T, A] from what `answer` returned."""
        if self.oft.head == "discrete":
            shape = (len(answer), self.oft.platform.chunk, self.oft.platform.action_size)
            return self._tokenizer.decode(answer.cpu().numpy()).reshape(shape)
        return answer.float().cpu().numpy()

    def _sentence(self, text: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
        """Mean embedding of prompt and ``</s>``, [B, D]."""
        before = torch.arange(text.shape[1], device=text.device) < slots[:, :1]
        before[_rows(text), slots[:, -1:] + 1] = before.new_ones(())
        weights = before[..., None].to(text.dtype)
        return (text * weights).sum(dim=1) / weights.sum(dim=1)

    def _action_states(
        self, text: torch.Tensor, slots: torch.Tensor, visible: torch.Tensor, patches: torch.Tensor, layers: LlamaLayers | None
    ) -> torch.Tensor:
        """The language model's states that stand for the placeholders, [B, S, D]."""
        embeddings = torch.cat([text[:, :1], patches, text[:, 1:]], dim=1)
        seen = torch.cat([visible[:, :1], visible.new_ones(patches.shape[:2]), visible[:, 1:]], dim=1)
        mask, places = hiding_mask(seen, embeddings.dtype), slots + patches.shape[1] - 1
        if layers is not None:
            positions = torch.arange(embeddings.shape[1], device=embeddings.device)[None]
            return layers(embeddings, positions, mask, wanted=Wanted(places, mask))
        return self.vla.hidden_states(embeddings, mask)[_rows(text), places]

    def _denoise(
        self,
        text: torch.Tensor,
        slots: torch.Tensor,
        visible: torch.Tensor,
        patches: torch.Tensor,
        sample: torch.Tensor,
        layers: LlamaLayers | None,
    ) -> torch.Tensor:
        schedule, times = self._noise_levels(sample.device)
        batch, chunk, size = sample.shape
        for timestep in schedule.timesteps:
            time = times[timestep].to(patches.dtype).expand(batch, 1, -1)
            text[_rows(text), slots] = self.noisy_action_projector(sample.reshape(batch, -1, 1))
            states = self._action_states(text, slots, visible, torch.cat([patches, time], dim=1), layers)
            noise = self.action_head(states.reshape(batch, chunk, -1))
            sample = schedule.step(noise, timestep, sample).to(sample.dtype)
        assert sample.shape == (batch, chunk, size)
        return sample

    @cache  # noqa: B019 (a network lives as long as its policy)
    def _noise_levels(self, device: torch.device) -> tuple[DdimSchedule, torch.Tensor]:
        """The schedule, and the embeddings of its steps float32[steps, D], on the device."""
        schedule, width = DdimSchedule(self.oft.diffusion_steps, device), self.vla.config.language.hidden_size
        return schedule, torch.stack([embed_timestep(t, width) for t in range(max(schedule.timesteps) + 1)]).to(device)


def _rows(x: torch.Tensor) -> torch.Tensor:
    """The index of each row, int64[B, 1], to pair with columns that differ from row to row."""
    return torch.arange(len(x), device=x.device)[:, None]


# --- weights ----------------------------------------------------------------------------------------------------------------------


class _Replaced:
    """A source some of whose tensors come from another one.

    Args:
        base: The source.
        prefix: Tensors of `base` with this prefix are left out.
        instead: What replaces them, without the prefix.
    """

    def __init__(self, base: WeightSource, prefix: str, instead: WeightSource) -> None:
        self._base, self._prefix, self._instead = base, prefix, instead

    @property
    def where(self) -> str:
        return f"{self._base.where} and {self._instead.where}"

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        kept = {name: shape for name, shape in self._base.shapes.items() if not name.startswith(self._prefix)}
        return {**kept, **{self._prefix + name: shape for name, shape in self._instead.shapes.items()}}

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
        wanted = list(names)
        yield from self._base.read([name for name in wanted if not name.startswith(self._prefix)])
        inside = [name.removeprefix(self._prefix) for name in wanted if name.startswith(self._prefix)]
        for name, tensor in self._instead.read(inside):
            yield self._prefix + name, tensor


class OftSources(Protocol):
    """Where the weights of an OpenVLA-OFT come from."""

    def vla(self, module: nn.Module) -> WeightSource:
        """Weights of the network underneath."""

    def component(self, name: str, module: nn.Module) -> WeightSource:
        """Weights of ``action_head``, ``proprio_projector`` or ``noisy_action_projector``."""

    def check(self, oft: OftConfig) -> None:
        """Make sure that every component's file is there."""


class CheckpointSources:
    """The files of an official checkpoint.

    Args:
        config: Of the checkpoint.
        film: Whether the vision towers come from a component file.
        folder: Holds the safetensors.
        components: Holds ``NAME--STEP_checkpoint.pt`` for each component.
        step: Which of several files of a component; None if there is only one.
        adapter: To be merged into the safetensors; the FiLM file has its part of it already.
    """

    def __init__(
        self,
        config: ModelConfig,
        film: bool,
        folder: Path,
        components: Path,
        step: str | None,
        adapter: AdapterConfig | None = None,
    ) -> None:
        self._config, self._film, self._folder, self._components, self._step = config, film, folder, components, step
        self._adapter = adapter

    def vla(self, module: nn.Module) -> WeightSource:
        """The safetensors, with the towers of the FiLM file in place of theirs."""
        source: WeightSource = SafetensorsFolder(self._folder)
        if self._adapter:
            source = Merged(source, self._adapter, left_out="vision_backbone." if self._film else None)
        if not self._film:
            return source
        file = component_file(self._components, "vision_backbone", self._step)
        unused = unused_weights(self._config.towers)
        towers = {name: tensor for name, tensor in film_weights(file).items() if not unused.match(name)}
        return _Replaced(source, "vision_backbone.", StateDict(towers, str(file)))

    def component(self, name: str, module: nn.Module) -> WeightSource:
        """The component's own file."""
        file = component_file(self._components, name, self._step)
        return StateDict(load_pt(file), str(file))

    def check(self, oft: OftConfig) -> None:
        """Make sure that every component's file is there.

        Raises:
            ConfigError: One is missing, or there are several to choose from.
        """
        for name in [*oft.components, *(["vision_backbone"] if self._film else [])]:
            component_file(self._components, name, self._step)


def build_oft(
    config: ModelConfig,
    oft: OftConfig,
    sources: OftSources,
    *,
    device: torch.device,
    dtype: torch.dtype,
    attention: AttentionKind = "sdpa",
) -> OpenVlaOft:
    """An OpenVLA-OFT with weights, ready for inference.

    Raises:
        ConfigError: A component's file is missing, or there are several to choose from.
        PolicyError: Weights that do not fit, or a damaged file.
    """
    vla = build(config, sources.vla, device=device, dtype=dtype, attention=attention, film=oft.film)
    with torch.device("meta"):
        model = OpenVlaOft(vla, oft)
    for name in oft.components:
        component = model.get_submodule(name)
        if can_pack(device, dtype):
            expect_packed(component)
        fill(component, sources.component(name, component), dtype=dtype, device=device)
    return model.eval()


def component_file(folder: Path, name: str, step: str | None) -> Path:
    """The file ``NAME--STEP_checkpoint.pt`` of a component.

    Raises:
        ConfigError: There is none, or there are several and `step` is None.
    """
    files = sorted(folder.glob(f"{name}--{step or '*'}_checkpoint.pt"))
    if not files:
        there = ", ".join(sorted(file.name for file in folder.glob("*_checkpoint.pt"))) or "none"
        raise ConfigError(
            f"{folder} has no {name}--{step or 'STEP'}_checkpoint.pt (component files there: {there}). Check policy.head, "
            "policy.proprio and policy.film against how the checkpoint was trained, or name its folder as policy.components."
        )
    if len(files) > 1:
        raise ConfigError(f"choose one as policy.component_step: {', '.join(file.name for file in files)} in {folder}.")
    return files[0]


def film_weights(file: Path) -> dict[str, torch.Tensor]:
    """The towers' weights in a FiLM checkpoint, under our names, with the low-rank updates that upstream leaves apart added in."""
    plain: dict[str, torch.Tensor] = {}
    loaded = load_pt(file)
    for name, tensor in loaded.items():
        if ".lora_" in name:
            continue
        ours = name.removeprefix("vision_backbone.").replace(".block.", ".").replace(".base_layer.", ".")
        if name.endswith(".base_layer.weight"):
            stem = name.removesuffix(".base_layer.weight")
            down, up = loaded[f"{stem}.lora_A.default.weight"].float(), loaded[f"{stem}.lora_B.default.weight"].float()
            factor = min(len(down), LORA_ALPHA_LIMIT) / len(down)
            tensor = tensor.float() + factor * (up.flatten(1) @ down.flatten(1)).view_as(tensor)  # noqa: PLW2901
        plain[ours] = tensor
    return plain
