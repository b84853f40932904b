"""The adapters: OpenVLA and OpenVLA-OFT as policies. What they see and how their actions are read is the recipe's to say.

Importing this module imports neither torch nor transformers; building a policy does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from typing_extensions import Unpack

from ...edges.settings import Count, Name, Text, with_settings_of
from ...envs.suite import Suite
from ...errors import ConfigError
from ..base import Chunk, PolicyObservation, episode_generator
from ..network.adapter import Agreement, Batching, NetworkPolicy, Stage
from ..network.passes import Widths, passes
from ..pipeline import Pipeline, Recipe, no_checkpoint
from ..registry import Prepared, prepared_by
from .config import IMAGE_SIZE, PATCHES
from .opening import Loading, Opened
from .platforms import Head, OftConfig, find_platform
from .statistics import OFT_EPSILON, Scale
from .tokens import ActionTokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .fixed import FixedChunks, FixedDecoding
    from .model import OpenVla
    from .oft import OpenVlaOft

    _OftInputs: TypeAlias = tuple[list[tuple[int, ...]], NDArray[np.uint8], NDArray[np.floating[Any]] | None, NDArray[np.float64]]


class OpenVlaPolicy(NetworkPolicy):
    """One action per observation, decoded token by token. Build it with `make_openvla`.

    Args:
        pipeline: What surrounds the network.
        opened: The checkpoint.
        model: The network.
        scale: Of its actions.
        constrain_actions: Choose among action tokens only.
        widths: Of prompts in passes of a fixed shape.
        batching: How observations become passes.
    """

    fixed_shapes = True

    def __init__(
        self,
        pipeline: Pipeline,
        opened: Opened,
        model: OpenVla,
        scale: Scale,
        constrain_actions: bool,
        widths: Widths,
        batching: Batching,
    ) -> None:
        super().__init__(pipeline, model, batching)
        self._opened = opened
        self._widths = widths
        self._model = model
        self._scale = scale
        self._tokenizer = ActionTokenizer(opened.config.first_text_id, opened.config.action_bins)
        self._allowed = self._tokenizer.ids if constrain_actions else None

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        prompts, images = self._inputs(observations)
        actions = self._scale.unnormalise(self._tokenizer.decode(self._ids(images, prompts)))
        return [self._pipeline.actions(o, action[None]) for o, action in zip(observations, actions, strict=True)]

    def numbers(self, observations: Sequence[PolicyObservation]) -> list[NDArray[np.floating[Any]]]:
        if self.batch is None:
            return super().numbers(observations)
        prompts, images = self._inputs(observations)
        found: list[NDArray[np.floating[Any]]] = [np.empty(0)] * len(prompts)
        for width, members in self._groups(prompts):
            _, logits = self._passes(width).logits(images[members], [prompts[member] for member in members])
            for member, row in zip(members, logits.float().cpu().numpy(), strict=True):
                found[member] = row
        return found

    def agreement(self, observations: Sequence[PolicyObservation]) -> Agreement:
        from .agreement import compare_decoding

        prompts, images = self._inputs(observations)
        return compare_decoding(self._model, self._passes, self._groups(prompts), images, prompts, self._allowed)

    def stages(self, rows: int) -> list[Stage]:
        from .work import decoding_stages

        return decoding_stages(self._opened.config, rows, self._widths.of(0), self._scale.size, self._model.dtype.itemsize)

    def _inputs(self, observations: Sequence[PolicyObservation]) -> tuple[list[tuple[int, ...]], NDArray[np.uint8]]:
        """Prompts, and images uint8[B, 1, 224, 224, 3]."""
        from ..network.images import stack_images

        return self._opened.prompts(observations), stack_images(self._pipeline.images(observations), IMAGE_SIZE)

    def _ids(self, images: NDArray[np.uint8], prompts: Sequence[tuple[int, ...]]) -> NDArray[np.int64]:
        """Token ids int64[B, A]."""
        if self.batch is None:
            return self._model.generate(images, prompts, self._scale.size, self._allowed)
        ids = np.empty((len(prompts), self._scale.size), np.int64)
        for width, members in self._groups(prompts):
            ids[members] = self._passes(width).generate(images[members], [prompts[member] for member in members])
        return ids

    def _groups(self, prompts: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, list[int]]]:
        """Who is in a pass together."""
        return passes([self._widths.of(len(prompt)) for prompt in prompts], self.batch or 1)

    def _passes(self, width: int) -> FixedDecoding:
        """Passes for prompts of a width, made when they are first needed."""
        from .fixed import FixedDecoding, Shape

        if width not in self._by_width:
            shape = Shape(self.batch or 1, 1, width)
            graphs = bool(self._batching.graphs)
            self._by_width[width] = FixedDecoding(self._model, shape, self._scale.size, self._allowed, graphs)
        return self._by_width[width]

    def _forget_passes(self) -> None:
        self._by_width: dict[int, FixedDecoding] = {}

    def provenance(self) -> dict[str, Any]:
        return {**self._opened.provenance(), **super().provenance(), "constrain_actions": self._allowed is not None}


class OpenVlaOftPolicy(NetworkPolicy):
    """A chunk of actions per observation, from one pass. Build it with `make_openvla_oft`.

    Args:
        pipeline: What surrounds the network.
        opened: The checkpoint.
        model: The network.
        action_scale: Of its actions.
        proprio_scale: Of the robot's state; None for a network that does not take it.
        executes: Actions of a chunk that are executed.
        widths: Of prompts with their placeholders in passes of a fixed shape.
        batching: How observations become passes.
    """

    fixed_shapes = True

    def __init__(
        self,
        pipeline: Pipeline,
        opened: Opened,
        model: OpenVlaOft,
        action_scale: Scale,
        proprio_scale: Scale | None,
        executes: int,
        widths: Widths,
        batching: Batching,
    ) -> None:
        super().__init__(pipeline, model, batching)
        self._opened = opened
        self._widths = widths
        self._model = model
        self._action_scale = action_scale
        self._proprio_scale = proprio_scale
        self._executes = executes

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:

        chunks = self._action_scale.unnormalise(self._normalised(*self._inputs(observations)))[:, : self._executes]
        return [self._pipeline.actions(o, chunk) for o, chunk in zip(observations, chunks, strict=True)]

    def numbers(self, observations: Sequence[PolicyObservation]) -> list[NDArray[np.floating[Any]]]:
        return list(self._normalised(*self._inputs(observations)))

    def agreement(self, observations: Sequence[PolicyObservation]) -> Agreement:
        prompts, images, proprio, noise = self._inputs(observations)
        plain = self._model.predict(images, prompts, proprio, noise)
        error = np.linalg.norm(self._normalised(prompts, images, proprio, noise) - plain) / np.linalg.norm(plain)
        return Agreement(None, float(error))

    def stages(self, rows: int) -> list[Stage]:
        from .work import chunk_stages

        oft, config = self._model.oft, self._opened.config
        return chunk_stages(config, oft, rows, len(self.cameras), self._widths.of(0), self._model.vla.dtype.itemsize)

    def _inputs(self, observations: Sequence[PolicyObservation]) -> _OftInputs:
        from ..network.images import stack_images

        images = stack_images(self._pipeline.images(observations), IMAGE_SIZE)
        proprio = None
        if self._proprio_scale is not None:
            proprio = self._proprio_scale.normalise(np.stack([observation["state"] for observation in observations]))
        noise = np.stack([self._noise(observation) for observation in observations])
        return self._opened.prompts(observations), images, proprio, noise

    def _normalised(
        self,
        prompts: Sequence[tuple[int, ...]],
        images: NDArray[np.uint8],
        proprio: NDArray[np.floating[Any]] | None,
        noise: NDArray[np.float64],
    ) -> NDArray[np.floating[Any]]:
        """Normalised actions float[B, T, A]."""
        if self.batch is None:
            return self._model.predict(images, prompts, proprio, noise)
        chunks: list[NDArray[np.floating[Any]]] = [np.empty(0)] * len(prompts)
        widths = [self._widths.of(len(self._model.with_placeholders(prompt))) for prompt in prompts]
        for width, members in passes(widths, self.batch):
            own = [prompts[member] for member in members]
            state = None if proprio is None else proprio[members]
            for member, chunk in zip(
                members, self._passes(width).predict(images[members], own, state, noise[members]), strict=True
            ):
                chunks[member] = chunk
        return np.stack(chunks)

    def _passes(self, width: int) -> FixedChunks:
        """Passes for prompts of a width, made when they are first needed."""
        from .fixed import FixedChunks, Shape

        if width not in self._by_width:
            shape = Shape(self.batch or 1, len(self.cameras), width)
            self._by_width[width] = FixedChunks(self._model, shape, bool(self._batching.graphs))
        return self._by_width[width]

    def _forget_passes(self) -> None:
        self._by_width: dict[int, FixedChunks] = {}

    def provenance(self) -> dict[str, Any]:
        oft = self._model.oft
        return {
            **self._opened.provenance(),
            **super().provenance(),
            "head": oft.head,
            "proprio": oft.proprio,
            "film": oft.film,
            "diffusion_steps": oft.diffusion_steps if oft.head == "diffusion" else None,
            "chunk": oft.platform.chunk,
            "executes": self._executes,
        }

    def _noise(self, observation: PolicyObservation) -> NDArray[np.float64]:
        """Where denoising starts: a function of the episode and the step, whatever else is in the batch."""
        platform = self._model.oft.platform
        generator = episode_generator(observation["episode_id"], f"noise/{observation['step']}")
        return generator.standard_normal((platform.chunk, platform.action_size))


def _prepare_openvla(
    suite: Suite,
    *,
    checkpoint: Text | None = None,
    base: Text | None = None,
    unnorm_key: Text | None = None,
    constrain_actions: bool = False,
    dtype: str | None = None,
    device: Name | None = None,
    attention: Literal["sdpa", "eager"] = "sdpa",
    max_batch: Count | None = None,
    batch: Count | None = None,
    graphs: bool | None = None,
    vision_towers: Sequence[Mapping[str, Any]] | None = None,
    **recipe: Unpack[Recipe],
) -> Prepared:
    """All of `make_openvla` but its weights."""
    pipeline = Pipeline(suite, "openvla", recipe)
    if checkpoint is None:
        raise no_checkpoint(suite, "openvla")
    if len(pipeline.cameras) != 1:
        raise ConfigError(f"OpenVLA sees one camera; policy.cameras names {len(pipeline.cameras)}: {', '.join(pipeline.cameras)}.")
    size = suite.action_spec.size
    opened = Opened(Loading(checkpoint, base, unnorm_key, dtype, device, attention, vision_towers), size)
    scale = opened.config.statistics.scale(opened.unnorm_key, "action", size, "q01_q99", 0.0)
    opened.check_weights()
    batching = Batching(max_batch, batch, graphs)
    batching.on(opened.device)

    def build() -> OpenVlaPolicy:
        from .loading import build

        model = build(opened.config, opened.weights, device=opened.device, dtype=opened.dtype, attention=attention)
        widths = Widths(opened.longest_prompt(suite), PATCHES)
        return OpenVlaPolicy(pipeline, opened, model, scale, constrain_actions, widths, batching)

    return Prepared(pipeline.action_spec, pipeline.cameras, build)


@prepared_by(_prepare_openvla)
def make_openvla(suite: Suite, **settings: Any) -> OpenVlaPolicy:
    """OpenVLA on a suite; the settings are described in conf/policy/openvla.yaml.

    Raises:
        ConfigError: No recipe for the suite, or a setting that cannot be.
        PolicyError: A checkpoint that is damaged or does not fit.
        DependencyError: A package is missing.
    """
    return cast("OpenVlaPolicy", _prepare_openvla(suite, **settings).build())


def _prepare_openvla_oft(
    suite: Suite,
    *,
    checkpoint: Text | None = None,
    base: Text | None = None,
    components: Text | None = None,
    component_step: Text | None = None,
    unnorm_key: Text | None = None,
    platform: str | None = None,
    head: Head = "l1",
    proprio: bool = True,
    film: bool = False,
    diffusion_steps: Count = 50,
    executes: Count | None = None,
    dtype: str | None = None,
    device: Name | None = None,
    attention: Literal["sdpa", "eager"] = "sdpa",
    max_batch: Count | None = None,
    batch: Count | None = None,
    graphs: bool | None = None,
    vision_towers: Sequence[Mapping[str, Any]] | None = None,
    policy: str = "openvla_oft",
    **recipe: Unpack[Recipe],
) -> Prepared:
    """All of `make_openvla_oft` but its weights."""
    pipeline = Pipeline(suite, policy, recipe)
    if checkpoint is None:
        raise no_checkpoint(suite, policy)
    oft = OftConfig(find_platform(platform), head, proprio, film, diffusion_steps)
    _check_sizes(suite, oft, len(pipeline.cameras))
    chunk = oft.platform.chunk
    if executes is not None and not 1 <= executes <= chunk:
        raise ConfigError(f"policy.executes must be 1..{chunk} (the chunk of platform {platform}), or null; got {executes}.")
    loading = Loading(checkpoint, base, unnorm_key, dtype, device, attention, vision_towers)
    opened = Opened(loading, oft.platform.action_size)
    opened.refuse_unused_parts(oft, components)
    statistics, bounds = opened.config.statistics, oft.platform.bounds
    action_scale = statistics.scale(opened.unnorm_key, "action", oft.platform.action_size, bounds, OFT_EPSILON)
    proprio_scale = opened.proprio_scale(oft) if proprio else None
    opened.check_weights()
    sources = opened.oft_weights(film, components, component_step)
    sources.check(oft)
    batching = Batching(max_batch, batch, graphs)
    batching.on(opened.device)

    def build() -> OpenVlaOftPolicy:
        from .oft import build_oft

        model = build_oft(opened.config, oft, sources, device=opened.device, dtype=opened.dtype, attention=attention)
        beside = len(pipeline.cameras) * PATCHES + int(proprio) + int(head == "diffusion")
        widths = Widths(opened.longest_prompt(suite) + model.slots + 1, beside)
        return OpenVlaOftPolicy(pipeline, opened, model, action_scale, proprio_scale, executes or chunk, widths, batching)

    return Prepared(pipeline.action_spec, pipeline.cameras, build)


@prepared_by(_prepare_openvla_oft)
def make_openvla_oft(suite: Suite, **settings: Any) -> OpenVlaOftPolicy:
    """OpenVLA-OFT on a suite; the settings are described in conf/policy/openvla_oft.yaml.

    Raises:
        ConfigError: No recipe for the suite, or a setting that cannot be.
        PolicyError: A checkpoint that is damaged or does not fit.
        DependencyError: A package is missing.
    """
    return cast("OpenVlaOftPolicy", _prepare_openvla_oft(suite, **settings).build())


@with_settings_of(_prepare_openvla_oft)
def _prepare_joint(suite: Suite, **settings: Any) -> Prepared:
    return _prepare_openvla_oft(suite, **settings, policy="openvla_oft_joint")


@prepared_by(_prepare_joint)
def make_openvla_oft_joint(suite: Suite, **settings: Any) -> OpenVlaOftPolicy:
    """OpenVLA-OFT with the checkpoint that was trained on all four LIBERO suites together."""
    return make_openvla_oft(suite, **settings, policy="openvla_oft_joint")


def _check_sizes(suite: Suite, oft: OftConfig, cameras: int) -> None:
    platform = oft.platform
    if platform.action_size != suite.action_spec.size:
        raise ConfigError(
            f"the platform's actions have {platform.action_size} entries, {suite.name!r} takes {suite.action_spec.size}."
        )
    if oft.proprio and platform.proprio_size != suite.state_spec.size:
        raise ConfigError(
            f"the platform's state has {platform.proprio_size} entries, that of {suite.name!r} {suite.state_spec.size}; "
            "set policy.proprio=false for a checkpoint trained without it."
        )
    if not 1 <= cameras <= 3:
        raise ConfigError(f"OpenVLA-OFT sees one to three cameras; policy.cameras names {cameras}.")
