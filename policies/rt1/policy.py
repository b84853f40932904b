"""The adapter: RT-1 and RT-1-X as a policy. Each episode keeps the tokens of its last frames; a batch may mix any episodes.

Importing this module does not import torch; building the policy does. Source: google-research/robotics_transformer 4569641b and,
for what surrounds the network on SimplerEnv, simpler-env/SimplerEnv 4ab7178e (policies/rt1/rt1_model.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
from typing_extensions import Unpack

from ...edges.settings import CodeReference, Count, Name, Text, with_settings_of
from ...envs.suite import Suite
from ...errors import ConfigError, PolicyError
from ..base import Chunk, PolicyObservation
from ..network.adapter import Batching, NetworkPolicy
from ..network.checkpoints import Checkpoint, find_checkpoint
from ..network.passes import fill_up, one_thread
from ..packages import require, versions
from ..pipeline import Pipeline, Recipe
from ..registry import Prepared, prepared_by
from .config import Rt1Config
from .instructions import describe_encoder, make_encoder

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from .network import Rt1

EXTRA = "rt1"
IMAGE_SIZE = (256, 320)  # height and width of the frames it was trained on
RANDOM = "random:rt1"
_PACKAGES = ("torch", "safetensors")
# The parts that move arm and gripper, in the order of the action it emits; the base stays where it is.
_EMITTED = ("world_vector", "rotation_delta", "gripper_closedness_action")
_ACTION_SIZE = 7


class Rt1Policy(NetworkPolicy):
    """One action per observation. Build it with `make_rt1`.

    Args:
        pipeline: What surrounds the network.
        network: The network.
        encode: From an instruction to its embedding.
        checkpoint: Where the weights come from; None for random ones.
        settings: Further settings, for the record.
        terminates: Whether its saying so ends the episode.
        batching: How observations become passes.
    """

    fixed_shapes = True

    def __init__(
        self,
        pipeline: Pipeline,
        network: Rt1,
        encode: Callable[[str], NDArray[np.float32]],
        checkpoint: Checkpoint | None,
        settings: Mapping[str, Any],
        terminates: bool,
        batching: Batching,
    ) -> None:
        super().__init__(pipeline, network, batching)
        self._network = network
        self._encode = encode
        self._checkpoint = checkpoint
        self._settings = {**settings, "terminates": terminates}
        self._terminates = terminates
        self._frames: dict[str, deque[torch.Tensor]] = {}
        self._declared: dict[str, bool] = {}

    def reset(self, episode_ids: Sequence[str]) -> None:
        super().reset(episode_ids)
        for episode_id in episode_ids:
            self._frames[episode_id] = deque(maxlen=self._network.config.window)

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        tokens = self._logits(observations).argmax(axis=2)
        parts = self._network.config.detokenize(tokens)
        # Class 0 of three, which an unknown class also counts as, is "terminate".
        for observation, terminate in zip(observations, parts["terminate_episode"][:, 0] > 0, strict=True):
            self._declared[observation["episode_id"]] = self._terminates and bool(terminate)
        actions = np.concatenate([parts[name] for name in _EMITTED], axis=1)
        chunks = (self._pipeline.actions(o, action[None]) for o, action in zip(observations, actions, strict=True))
        return [chunk.astype(np.float64) for chunk in chunks]

    def done(self, episode_ids: Sequence[str]) -> list[bool]:
        return [self._declared[episode_id] for episode_id in episode_ids]

    def release(self, episode_ids: Sequence[str]) -> None:
        super().release(episode_ids)
        for episode_id in episode_ids:
            self._frames.pop(episode_id, None)
            self._declared.pop(episode_id, None)

    def provenance(self) -> dict[str, Any]:
        found = self._checkpoint
        return {
            **self._settings,
            "checkpoint_commit": found.commit if found else None,
            "checkpoint_sha256": found.sha256() if found else None,
            "packages": versions(_PACKAGES),
            **super().provenance(),
        }

    def numbers(self, observations: Sequence[PolicyObservation]) -> list[NDArray[np.floating[Any]]]:
        return list(self._logits(observations))

    def _logits(self, observations: Sequence[PolicyObservation]) -> NDArray[np.float32]:
        """Of each action token, float32[B, action_tokens, vocabulary]; the frames are remembered."""
        images = np.stack([_frame(images[0]) for images in self._pipeline.images(observations)])
        embeddings = np.stack([self._encode(observation["instruction"]) for observation in observations])
        count = self.batch or len(observations)
        parts = [slice(start, start + count) for start in range(0, len(observations), count)]
        return np.concatenate([self._pass(observations[part], images[part], embeddings[part]) for part in parts])

    def _pass(
        self, observations: Sequence[PolicyObservation], images: NDArray[np.uint8], embeddings: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """One forward pass: float32[B, action_tokens, vocabulary]."""
        with one_thread(self._network.device) if self.batch else nullcontext():
            return self._forward(observations, images, embeddings, self.batch or len(observations))

    def _forward(
        self, observations: Sequence[PolicyObservation], images: NDArray[np.uint8], embeddings: NDArray[np.float32], rows: int
    ) -> NDArray[np.float32]:
        import torch

        config = self._network.config
        device, dtype = self._network.device, self._network.dtype
        seen, said = torch.from_numpy(fill_up(images, rows)), torch.from_numpy(fill_up(embeddings, rows))
        new = self._network.tokenize_images(seen.to(device), said.to(device, dtype))
        frames = new.new_zeros(rows, config.window, config.image_tokens, config.token_size)
        histories = [self._frames[observation["episode_id"]] for observation in observations]
        for row, (history, frame) in enumerate(zip(histories, new[: len(observations)], strict=True)):
            history.append(frame)
            frames[row, : len(history)] = torch.stack(tuple(history))
        counts = torch.tensor(fill_up(np.array([len(history) for history in histories]), rows), device=device)
        logits: NDArray[np.float32] = self._network.action_logits(frames, counts).float().cpu().numpy()
        return logits[: len(observations)]


def _prepare_rt1(
    suite: Suite,
    *,
    checkpoint: Text | None = None,
    instruction_encoder: Annotated[str, CodeReference()] = "use",
    terminates: bool = True,
    dtype: str | None = "float32",
    device: Name | None = None,
    max_batch: Count | None = None,
    batch: Count | None = None,
    policy: str = "rt1",
    **recipe: Unpack[Recipe],
) -> Prepared:
    """All of `make_rt1` but its weights."""
    pipeline = Pipeline(suite, policy, recipe)
    if checkpoint is None:
        raise ConfigError(
            "policy.checkpoint is needed: the published RT-1 policies are TensorFlow's. Download one, convert it with "
            "`vla-eval convert rt1 SAVED_MODEL OUT` and give policy.checkpoint=OUT."
        )
    if len(pipeline.cameras) != 1 or suite.action_spec.size != _ACTION_SIZE:
        raise ConfigError(
            f"RT-1 sees one camera and emits {_ACTION_SIZE} numbers; got {len(pipeline.cameras)} cameras and a suite that takes "
            f"{suite.action_spec.size}."
        )
    require(_PACKAGES, EXTRA)
    from ..network.devices import choose_device, choose_dtype, device_name

    where = choose_device(device)
    kind = choose_dtype(dtype, where)
    found = None if checkpoint == RANDOM else find_checkpoint(checkpoint, EXTRA)
    config = Rt1Config() if found is None else Rt1Config.read(found.folder / "config.json")
    if found is not None:
        from ..network.weights import SafetensorsFolder

        SafetensorsFolder(found.folder)  # its files are there and whole, as far as their headers say
    encode = make_encoder(instruction_encoder, config.token_size)
    settings = {
        "checkpoint": checkpoint,
        **describe_encoder(instruction_encoder),
        "dtype": str(kind).removeprefix("torch."),
        "device": device_name(where),
    }

    def build() -> Rt1Policy:
        return Rt1Policy(
            pipeline,
            _load(config, found, where, kind),
            encode,
            found,
            settings,
            terminates,
            Batching(max_batch, batch, graphs=False),
        )

    return Prepared(pipeline.action_spec, pipeline.cameras, build, encode if instruction_encoder.endswith(".npz") else None)


@prepared_by(_prepare_rt1)
def make_rt1(suite: Suite, **settings: Any) -> Rt1Policy:
    """RT-1 on a suite; the settings are described in conf/policy/rt1.yaml.

    Raises:
        ConfigError: No recipe for the suite, or a setting that cannot be.
        PolicyError: A checkpoint that is damaged or does not fit.
        DependencyError: A package is missing.
    """
    return cast("Rt1Policy", _prepare_rt1(suite, **settings).build())


@with_settings_of(_prepare_rt1)
def _prepare_rt1_x(suite: Suite, **settings: Any) -> Prepared:
    return _prepare_rt1(suite, **settings, policy="rt1_x")


@prepared_by(_prepare_rt1_x)
def make_rt1_x(suite: Suite, **settings: Any) -> Rt1Policy:
    """RT-1-X on a suite: the same network with other weights, window and bounds, all of which its checkpoint says."""
    return make_rt1(suite, **settings, policy="rt1_x")


def random_embedding(instruction: str) -> NDArray[np.float32]:
    """A unit vector that depends on the instruction alone: in place of an encoder when only speed is of interest."""
    from ..base import episode_generator

    vector = episode_generator(instruction, "instruction").standard_normal(512)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _load(config: Rt1Config, found: Checkpoint | None, device: torch.device, dtype: torch.dtype) -> Rt1:
    import torch

    from ..network.weights import RandomSource, SafetensorsFolder, fill
    from .network import Rt1

    with torch.device("meta"):
        network = Rt1(config)
    source = RandomSource(network, device, dtype, RANDOM) if found is None else SafetensorsFolder(found.folder)
    fill(network, source, dtype=dtype, device=device)
    network.finish_loading(device)
    return network


def _frame(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.shape[:2] != IMAGE_SIZE:
        raise PolicyError(
            f"RT-1 sees frames of {IMAGE_SIZE[0]} x {IMAGE_SIZE[1]} pixels; after the recipe's transforms this one has "
            f"{image.shape[0]} x {image.shape[1]}. Add resize_with_pad to policy.image_transforms."
        )
    return image
