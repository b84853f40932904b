"""The adapter: RoboVLMs as a policy. Each episode keeps the vectors of its last steps; a batch may mix any episodes.

Importing this module does not import torch; building the policy does. Source: Robot-VLAs/RoboVLMs 8adc1d28
(eval/calvin/model_wrapper.py); what SimplerEnv's wrapper adds to it is in the recipes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from typing_extensions import Unpack

from ...edges.settings import Count, Name, Text
from ...envs.suite import Suite
from ...errors import ConfigError, PolicyError
from ..base import Chunk, PolicyObservation
from ..network.adapter import Batching, NetworkPolicy
from ..packages import versions
from ..pipeline import Pipeline, Recipe, no_checkpoint
from ..registry import Prepared, prepared_by
from .config import IMAGE_SIZE, RoboVlmsConfig
from .opening import PACKAGES, Opened, open_checkpoint

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from .network import RoboVlm

PROMPT = "<grounding>An image of a robot {instruction}"
_ACTION_SIZE = 7
_OPEN, _CLOSED = 1.0, -1.0


class RoboVlmsPolicy(NetworkPolicy):
    """The first action of the chunk that the network predicts at every step. Build it with `make_robovlms`.

    Args:
        pipeline: What surrounds the network.
        opened: The checkpoint.
        network: The network.
        settings: Further settings, for the record.
        max_batch: Most observations at once.
    """

    def __init__(
        self, pipeline: Pipeline, opened: Opened, network: RoboVlm, settings: Mapping[str, Any], max_batch: int | None
    ) -> None:
        super().__init__(pipeline, network, Batching(max_batch))
        self._opened = opened
        self._network = network
        self._settings = settings
        self._steps: dict[str, deque[torch.Tensor]] = {}

    def reset(self, episode_ids: Sequence[str]) -> None:
        super().reset(episode_ids)
        for episode_id in episode_ids:
            self._steps[episode_id] = deque(maxlen=self._network.config.window)

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        arm, gripper_logit = self._network.act(*self._windows(observations))
        opens = gripper_logit[:, :1].sigmoid() > 0.5
        actions = first_actions(arm[:, 0].float().cpu().numpy(), opens.cpu().numpy(), self._network.config)
        return [self._pipeline.actions(o, action[None]) for o, action in zip(observations, actions, strict=True)]

    def release(self, episode_ids: Sequence[str]) -> None:
        super().release(episode_ids)
        for episode_id in episode_ids:
            self._steps.pop(episode_id, None)

    def provenance(self) -> dict[str, Any]:
        opened, config = self._opened, asdict(self._network.config)
        return {
            **self._settings,
            "checkpoint_commit": opened.commits[0],
            "backbone_commit": opened.commits[1],
            "checkpoint_sha256": opened.sha256() if opened.sha256 else None,
            **{name: config[name] for name in ("window", "chunk", "hand_camera", "action_range")},
            "executes": 1,
            "packages": versions(PACKAGES),
            **super().provenance(),
        }

    def _windows(self, observations: Sequence[PolicyObservation]) -> tuple[torch.Tensor, torch.Tensor]:
        """The vectors of each episode's last steps, this one included, [B, window, D], and how many there are, int64[B]."""
        import torch

        from ..network.images import stack_images

        sentences = [self._opened.encode(build_prompt(observation["instruction"])) for observation in observations]
        new = self._network.read(stack_images(self._pipeline.images(observations), IMAGE_SIZE), sentences)
        windows = new.new_zeros(len(new), self._network.config.window, new.shape[1])
        histories = [self._steps[observation["episode_id"]] for observation in observations]
        for row, (history, vector) in enumerate(zip(histories, new, strict=True)):
            history.append(vector)
            windows[row, : len(history)] = torch.stack(tuple(history))
        return windows, torch.tensor([len(history) for history in histories], device=new.device)


def build_prompt(instruction: str) -> str:
    """The sentence the checkpoints were trained on.

    Raises:
        PolicyError: The instruction is empty.
    """
    if not instruction.strip():
        raise PolicyError("the instruction is empty: a language-conditioned policy has nothing to act on.")
    return PROMPT.format(instruction=instruction.strip())


def first_actions(arm: NDArray[np.float32], opens: NDArray[np.bool_], config: RoboVlmsConfig) -> NDArray[np.float32]:
    """What a checkpoint's numbers mean: arm float32[B, 6] in [-1, 1] and bool[B, 1] -> float32[B, 7], gripper 1 open, -1 closed.

    Upstream stretches the gripper with the arm and makes it binary again; at the published range that changes nothing.
    """
    if config.action_range is not None:
        low, high = config.action_range
        arm = np.float32(0.5) * (arm + np.float32(1)) * np.float32(high - low) + np.float32(low)
    return np.concatenate([arm, np.where(opens, np.float32(_OPEN), np.float32(_CLOSED))], axis=1)


def _prepare_robovlms(
    suite: Suite,
    *,
    checkpoint: Text | None = None,
    config: Text | None = None,
    backbone: Text = "microsoft/kosmos-2-patch14-224",
    dtype: str | None = None,
    device: Name | None = None,
    attention: Literal["sdpa", "eager"] = "sdpa",
    max_batch: Count | None = None,
    **recipe: Unpack[Recipe],
) -> Prepared:
    """All of `make_robovlms` but its weights."""
    pipeline = Pipeline(suite, "robovlms", recipe)
    if checkpoint is None:
        raise no_checkpoint(suite, "robovlms")
    if not 1 <= len(pipeline.cameras) <= 2 or suite.action_spec.size != _ACTION_SIZE:
        raise ConfigError(
            f"RoboVLMs sees the scene and perhaps the hand, and emits {_ACTION_SIZE} numbers; got {len(pipeline.cameras)} cameras "
            f"and a suite that takes {suite.action_spec.size}."
        )
    opened = open_checkpoint(checkpoint, config, backbone)
    pipeline.keep_cameras(2 if opened.config.hand_camera else 1)
    from ..network.devices import choose_device, choose_dtype, device_name

    where = choose_device(device)
    kind = choose_dtype(dtype or opened.config.precision, where)
    settings = {
        "checkpoint": checkpoint,
        "config": config,
        "backbone": backbone,
        "dtype": str(kind).removeprefix("torch."),
        "device": device_name(where),
        "attention": attention,
    }

    def load() -> RoboVlmsPolicy:
        from .network import build

        weights = partial(opened.weights, device=where, dtype=kind)
        network = build(opened.config, weights, device=where, dtype=kind, attention=attention)
        return RoboVlmsPolicy(pipeline, opened, network, settings, max_batch)

    return Prepared(pipeline.action_spec, pipeline.cameras, load, build_prompt)


@prepared_by(_prepare_robovlms)
def make_robovlms(suite: Suite, **settings: Any) -> RoboVlmsPolicy:
    """RoboVLMs on a suite; the settings are described in conf/policy/robovlms.yaml.

    Raises:
        ConfigError: No recipe for the suite, or a setting that cannot be.
        PolicyError: A checkpoint that is damaged or does not fit.
        DependencyError: A package is missing.
    """
    return cast("RoboVlmsPolicy", _prepare_robovlms(suite, **settings).build())
