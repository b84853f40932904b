"""The adapter: the small network with its recipe around it, as a policy."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from typing_extensions import Unpack

from ...edges.settings import Chunks, Text
from ...envs.suite import Suite
from ...errors import ConfigError
from ..base import Chunk, Policy, PolicyObservation
from ..network.checkpoints import file_sha256
from ..pipeline import Pipeline, Recipe
from ..registry import Prepared, prepared_by
from .network import ACTION_SIZE, SmallNetwork, read_checkpoint

SHIPPED = Path(__file__).parent / "checkpoints"


class SmallPolicy(Policy):
    """The first actions of the chunk that the network says. Build it with `make_small`.

    Every observation is computed by itself, so no answer depends on its company.

    Args:
        pipeline: What surrounds the network.
        network: The network.
        file: Its checkpoint.
        executes: Actions of a chunk that are executed; None for all.
    """

    episodes_stay = False

    def __init__(self, pipeline: Pipeline, network: SmallNetwork, file: Path, executes: int | None) -> None:
        self.action_spec, self.cameras = pipeline.action_spec, pipeline.cameras
        self._pipeline, self._network, self._file, self._executes = pipeline, network, file, executes

    def reset(self, episode_ids: Sequence[str]) -> None:
        self._pipeline.reset(episode_ids)

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        seen = self._pipeline.images(observations)
        return [self._chunk(observation, images) for observation, images in zip(observations, seen, strict=True)]

    def release(self, episode_ids: Sequence[str]) -> None:
        self._pipeline.release(episode_ids)

    def provenance(self) -> dict[str, Any]:
        config = self._network.config
        return {
            "checkpoint": self._file.stem,
            "checkpoint_sha256": file_sha256(self._file),
            "training": {"steps": config.steps, "seed": config.seed, "moments": config.moments},
            "executes": self._executes,
            "packages": {"numpy": version("numpy")},
            "recipe": self._pipeline.provenance(),
        }

    def close(self) -> None:
        self._pipeline.close()

    def _chunk(self, observation: PolicyObservation, images: list[Any]) -> Chunk:
        chunk = self._network(images, self._pipeline.state(observation), observation["instruction"])
        return self._pipeline.actions(observation, chunk[: self._executes])


def _prepare_small(suite: Suite, *, checkpoint: Text, executes: Chunks | None = None, **recipe: Unpack[Recipe]) -> Prepared:
    """All of `make_small` but the policy: its network is small enough to be read, and so checked, at once."""
    pipeline = Pipeline(suite, "small", recipe)
    file = _checkpoint_file(checkpoint)
    network = read_checkpoint(file)
    if len(pipeline.cameras) != network.cameras or suite.action_spec.size != ACTION_SIZE:
        raise ConfigError(
            f"policy 'small' sees {network.cameras} cameras and emits {ACTION_SIZE} numbers; got {len(pipeline.cameras)} cameras "
            f"and a suite that takes {suite.action_spec.size}."
        )
    if executes is not None and executes > network.config.chunk:
        raise ConfigError(f"policy.executes must be 1..{network.config.chunk} (the checkpoint's chunk), or null; got {executes}.")

    def build() -> SmallPolicy:
        return SmallPolicy(pipeline, network, file, executes)

    return Prepared(pipeline.action_spec, pipeline.cameras, build, network.sentence)


@prepared_by(_prepare_small)
def make_small(suite: Suite, **settings: Any) -> SmallPolicy:
    """The small policy on a suite; the settings are described in conf/policy/small.yaml.

    Raises:
        ConfigError: No recipe for the suite, or a setting that cannot be.
        PolicyError: A checkpoint that is damaged or is none.
    """
    return cast("SmallPolicy", _prepare_small(suite, **settings).build())


def _checkpoint_file(name: str) -> Path:
    """A shipped checkpoint, or a file.

    Raises:
        ConfigError: There is none.
    """
    shipped = {file.stem: file for file in sorted(SHIPPED.glob("*.npz"))}
    file = shipped.get(name) or Path(name).expanduser()
    if not file.is_file():
        raise ConfigError(f"policy.checkpoint={name}: no such file, and what is shipped is {', '.join(shipped)}.")
    return file
