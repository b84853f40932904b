"""What surrounds a network in a policy, as the recipe says: images and state on their way in, actions on their way out.

Shared by adapters of networks and by clients of servers. It keeps what action transforms remember of each episode, and it is where
a number that is not finite is caught, before a transform could turn it into a plausible action.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from ..conf import group_names
from ..edges.settings import check_settings
from ..envs.spec import ActionSpec
from ..envs.suite import Suite
from ..errors import ConfigError, PolicyError
from .base import Chunk, PolicyObservation
from .transforms import action_transforms, check_image, describe, image_transforms, state_transforms
from .transforms.poses import ROTATION_SIZES, with_rotation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

Named = Sequence[str | Mapping[str, Any]]

_MEANING = ("mode", "frame", "rotation", "unit", "gripper_open", "gripper_closed")
_OPTIONAL = ("state_transforms",)
_MAX_THREADS = 8
_FEW_IMAGES = 2  # are transformed sooner than threads have taken them up


class Recipe(TypedDict, total=False):
    """The settings that surround a network; what is missing or None has to come from conf/recipe/.

    Attributes:
        cameras: Names of the cameras whose images the network sees, in its order.
        image_transforms: By name, applied to each image; or such a list for each camera.
        state_transforms: By name, applied to the state; none if left out.
        action_transforms: By name, applied to each chunk.
        emits: What the network's actions mean before the transforms: fields of `ActionSpec`.
    """

    cameras: Sequence[str] | None
    image_transforms: Named | Mapping[str, Named] | None
    state_transforms: Named | None
    action_transforms: Named | None
    emits: Mapping[str, Any] | None


class Pipeline:
    """Images in and actions out, for any number of episodes at once.

    Args:
        suite: What is evaluated; actions take their names, range and rate from it.
        policy: Name of the policy, for messages.
        recipe: What to do to them.

    Raises:
        ConfigError: There is no recipe for this pair, or it cannot be read.
        TypeError: `recipe` has other entries, as a function's unknown arguments.
    """

    def __init__(self, suite: Suite, policy: str, recipe: Recipe) -> None:
        names = tuple(Recipe.__annotations__)
        unknown = [name for name in recipe if name not in names]
        if unknown:
            raise TypeError(f"unexpected argument{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}")
        cameras, emits = recipe.get("cameras"), recipe.get("emits")
        images, actions = recipe.get("image_transforms"), recipe.get("action_transforms")
        if cameras is None or images is None or actions is None or emits is None:
            raise no_recipe(suite, policy, [name for name in names if name not in _OPTIONAL and recipe.get(name) is None])
        self.cameras = tuple(cameras)
        if isinstance(images, Mapping) and set(images) != set(self.cameras):
            raise ConfigError(f"policy.image_transforms must have a list for each of {list(cameras)}; it has {list(images)}.")
        self._image_transforms = {
            camera: image_transforms(images[camera] if isinstance(images, Mapping) else images) for camera in self.cameras
        }
        self._state_transforms = state_transforms(recipe.get("state_transforms") or ())
        self._action_transforms = action_transforms(actions)
        self.emitted = emitted_spec(suite, emits)
        self.action_spec = self.emitted
        for transform in self._action_transforms:
            if self.action_spec.arms > 1 and not transform.arms_alike:
                raise ConfigError(
                    f"action transform {type(transform).__name__} is for one arm; an action of {suite.name} moves "
                    f"{self.action_spec.arms}."
                )
            self.action_spec = transform.spec(self.action_spec)
        self._memories: dict[str, list[dict[str, Any]]] = {}
        self._fresh: set[str] = set()  # episodes whose transforms have not been told yet where they begin
        self._given: dict[str, tuple[int, Chunk]] = {}  # by episode: the last chunk and the step at which it was given
        self._threads = ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="images")

    def keep_cameras(self, count: int) -> None:
        """Look through the first `count` cameras alone: a checkpoint that was trained without the others has no use for them."""
        self.cameras = self.cameras[:count]

    def reset(self, episode_ids: Sequence[str]) -> None:
        """Forget what action transforms remember of these episodes."""
        for episode_id in episode_ids:
            self._memories[episode_id] = [{} for _ in self._action_transforms]
            self._fresh.add(episode_id)

    def release(self, episode_ids: Sequence[str]) -> None:
        """Drop what belongs to these episodes."""
        for episode_id in episode_ids:
            self._memories.pop(episode_id, None)
            self._fresh.discard(episode_id)
            self._given.pop(episode_id, None)

    def images(self, observations: Sequence[PolicyObservation]) -> list[list[Image]]:
        """The images of each observation, one per camera of the recipe, transformed.

        Raises:
            PolicyError: What a camera sent is not an image.
        """
        jobs = [(observation["images"][camera], camera) for observation in observations for camera in self.cameras]
        transform = self._threads.map if len(jobs) > _FEW_IMAGES else map
        done = list(transform(self._image, *zip(*jobs, strict=True)))
        count = len(self.cameras)
        return [done[start : start + count] for start in range(0, len(done), count)]

    def state(self, observation: PolicyObservation) -> NDArray[np.float64]:
        """The state of an observation, float64[S] -> float64[S'], transformed."""
        state = np.asarray(observation["state"], np.float64)
        step, chunk = self._given.get(observation["episode_id"], (observation["step"], None))
        done = observation["step"] - step  # a new subtask cuts a chunk short
        executed = chunk[min(done, len(chunk)) - 1] if chunk is not None and done > 0 else None
        for transform in self._state_transforms:
            state = transform(state, executed)
        return state

    def actions(self, observation: PolicyObservation, chunk: Chunk) -> Chunk:
        """What the network says for an observation, float[T, A], as the suite takes it.

        Raises:
            PolicyError: A value is not finite.
        """
        if not np.isfinite(chunk).all():
            raise PolicyError(
                f"the network's action for episode {observation['episode_id']} at step {observation['step']} is not finite: "
                f"{chunk[~np.isfinite(chunk).all(axis=1)][0].tolist()}. Check the statistics of the checkpoint and policy.dtype."
            )
        episode_id = observation["episode_id"]
        self._given[episode_id] = observation["step"], chunk
        for transform, memory in zip(self._action_transforms, self._memories[episode_id], strict=True):
            if episode_id in self._fresh:
                transform.begins(np.asarray(observation["state"], np.float64), memory)
            chunk = transform(chunk, memory)
        self._fresh.discard(episode_id)
        return chunk

    def provenance(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return {
            "cameras": list(self.cameras),
            "image_transforms": self._describe_images(),
            **({"state_transforms": describe(self._state_transforms)} if self._state_transforms else {}),
            "action_transforms": describe(self._action_transforms),
            "emits": {name: getattr(self.emitted, name) for name in _MEANING},
        }

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _image(self, image: Any, camera: str) -> Image:
        transformed = check_image(image, camera)
        for transform in self._image_transforms[camera]:
            transformed = transform(transformed)
        return transformed

    def _describe_images(self) -> list[str] | dict[str, list[str]]:
        """One list if it is the same for all cameras."""
        described = {camera: describe(transforms) for camera, transforms in self._image_transforms.items()}
        lists = list(described.values())
        return lists[0] if lists and all(entry == lists[0] for entry in lists) else described


def no_recipe(suite: Suite, policy: str, missing: Sequence[str]) -> ConfigError:
    """The error for a pair of policy and suite that nothing says how to connect."""
    known = [name.removeprefix(f"{policy}-") for name in group_names("recipe") if name.startswith(f"{policy}-")]
    like = f", or take a like suite's with recipe={policy}-{known[0]}" if known else ""
    return ConfigError(
        f"policy {policy!r} has no recipe for suite {suite.name!r}: nothing says what it sees and what its actions mean there. "
        f"It has recipes for: {', '.join(known) or 'no suite'}. For a checkpoint of your own give "
        f"{', '.join(f'policy.{name}' for name in missing)} (see conf/recipe/ for examples){like}."
    )


def no_checkpoint(suite: Suite, policy: str) -> ConfigError:
    """The error for a pair that has a recipe, but no published checkpoint."""
    return ConfigError(
        f"policy.checkpoint is not set, and none of {policy!r} is named for suite {suite.name!r}: give your own as "
        "policy.checkpoint=FOLDER or OWNER/NAME@COMMIT on the Hugging Face hub."
    )


def emitted_spec(suite: Suite, emits: Mapping[str, Any]) -> ActionSpec:
    """What actions mean that a recipe describes; names, range and rate are the suite's.

    Raises:
        ConfigError: The description is not whole.
    """
    if set(emits) != set(_MEANING):
        raise ConfigError(f"policy.emits must say {', '.join(_MEANING)}; got {', '.join(emits) or 'nothing'}.")
    check_settings("policy.emits.", ActionSpec, emits)
    meaning = {name: value for name, value in emits.items() if name != "rotation"}
    rotation = emits["rotation"]
    before = suite.action_spec
    if rotation in ROTATION_SIZES and ROTATION_SIZES[rotation] != before.size - 4:
        return replace(with_rotation(before, rotation), **meaning)
    return replace(before, **emits)
