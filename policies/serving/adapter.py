"""A policy of vlagym's contract behind a server: what other harnesses' clients send, as the observations of a suite.

Clients show the scene in their benchmark's own way, so a `Layout` says under which keys things come and whether images are
mirrored. Sources: examples/libero/main.py of Physical-Intelligence/openpi 15a9616; src/vla_eval/benchmarks/{libero,calvin,simpler}
of allenai/vla-evaluation-harness e1ee9ad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ...envs.spec import MAX_INSTRUCTION_LENGTH
from ...envs.suite import Suite
from ...errors import ConfigError, PolicyError
from ..base import Policy, PolicyObservation
from ..transforms.images import mirrored
from .served import Array, Request, Served, pending_of


@dataclass(frozen=True)
class Layout:
    """How clients of one harness lay out an observation of one benchmark.

    Attributes:
        images: The suite's camera -> the client's key; ``a.b`` is entry b of map a.
        mirrored: Whether images come with left and right exchanged (robosuite's array turned by 180 degrees).
        state: Key of the state, laid out as the suite's; None where the client's is another: a policy must do without.
        instruction: Key of the sentence.
        observation_params: What a vla-eval client is asked to send.
    """

    images: Mapping[str, str]
    mirrored: bool
    state: str | None
    instruction: str
    observation_params: Mapping[str, Any] = field(default_factory=dict)


_OPENPI_IMAGES = {"primary": "observation/image", "wrist": "observation/wrist_image"}
_LAYOUTS = {
    ("openpi", "libero"): Layout(_OPENPI_IMAGES, True, "observation/state", "prompt"),
    ("openpi", "robosuite"): Layout(_OPENPI_IMAGES, False, "observation/state", "prompt"),
    ("openpi", "simpler"): Layout(_OPENPI_IMAGES, False, "observation/state", "prompt"),
    ("openpi", "calvin"): Layout(_OPENPI_IMAGES, False, "observation/state", "prompt"),
    ("vla_eval", "libero"): Layout(
        {"primary": "images.agentview", "wrist": "images.wrist"},
        True,
        "states",
        "task_description",
        {"send_wrist_image": True, "send_state": True, "quat_no_antipodal": True},
    ),
    ("vla_eval", "calvin"): Layout(
        {"primary": "images.rgb_static", "wrist": "images.rgb_gripper"}, False, None, "task_description", {"send_wrist_image": True}
    ),
    ("vla_eval", "simpler_widowx"): Layout({"primary": "images.primary"}, False, None, "task_description"),
}


def layout_of(protocol: str, benchmark: str, suite: Suite) -> Layout:
    """How clients of a protocol lay out what they see of a suite.

    Raises:
        ConfigError: Nobody's clients are known to evaluate this suite over this protocol.
    """
    found = _LAYOUTS.get((protocol, suite.name)) or _LAYOUTS.get((protocol, benchmark))
    if found is None:
        raise ConfigError(
            f"suite {suite.name!r} is not served over {protocol}: its clients there see or act otherwise. Known for {protocol}: "
            f"{', '.join(name for known, name in _LAYOUTS if known == protocol)}."
        )
    return found


class ServedPolicy(Served):
    """Answers with a policy, its recipe included, as on the suite itself.

    Args:
        policy: What acts; closed with the server.
        suite: What it was made for.
        layout: How observations come.
        name: Of the policy.

    Raises:
        ConfigError: The policy needs what no client can send.
    """

    def __init__(self, policy: Policy, suite: Suite, layout: Layout, name: str) -> None:
        if policy.needs_privileged_state:
            raise ConfigError(f"policy {name!r} needs to know what only a simulator knows; it cannot be served.")
        missing = [camera for camera in policy.cameras if camera not in layout.images]
        if missing:
            raise ConfigError(f"policy {name!r} needs camera {missing[0]!r}, which clients of this protocol do not send.")
        self._owner, self._policy = policy, policy.seats(1)[0]
        self._suite, self._layout = suite, layout
        self.name = name
        self.max_batch = policy.max_batch
        self.metadata = {
            "server": "vlagym",
            "policy": name,
            "suite": suite.name,
            "images": {layout.images[camera]: [*suite.camera_sizes[camera], 3] for camera in policy.cameras},
            "images_mirrored": layout.mirrored,
            "state": layout.state and {layout.state: suite.state_spec.size},
            "instruction": layout.instruction,
            "action": {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(suite.action_spec).items()},
            "observation_params": dict(layout.observation_params),
            "action_spec": {"action": {"name": "action", "dims": suite.action_spec.size, "format": suite.action_spec.rotation}},
        }

    def act(self, requests: Sequence[Request]) -> list[Array]:
        return list(self._policy.act([self._observation(request) for request in requests]))

    def reset(self, episode: str) -> None:
        self._policy.reset([episode])

    def release(self, episode: str) -> None:
        self._policy.release([episode])

    def close(self) -> None:
        self._owner.close()

    def _observation(self, request: Request) -> PolicyObservation:
        sent = request.observation
        instruction = _entry(sent, self._layout.instruction)
        if not isinstance(instruction, str) or not 0 < len(instruction) <= MAX_INSTRUCTION_LENGTH:
            raise PolicyError(f"{self._layout.instruction!r} must be a sentence of at most {MAX_INSTRUCTION_LENGTH} characters.")
        observation: PolicyObservation = {
            "images": {camera: self._image(sent, self._layout.images[camera]) for camera in self._owner.cameras},
            "state": self._state(sent),
            "instruction": instruction,
            "episode_id": request.episode,
            "step": request.step,
        }
        if "delay_steps" in sent:  # of clients that know of the delay of the answer, ours
            observation["previous_actions"], observation["delay_steps"] = pending_of(sent, self._suite.action_spec.size)
        return observation

    def _image(self, sent: Mapping[str, Any], key: str) -> Array:
        image = _entry(sent, key)
        if (
            not isinstance(image, np.ndarray)
            or image.dtype != np.uint8
            or image.ndim != 3
            or image.shape[2] != 3
            or 0 in image.shape
        ):
            found = f"{image.dtype}{list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
            raise PolicyError(f"{key!r} must be an image uint8[H, W, 3]; got {found}.")
        return mirrored(image) if self._layout.mirrored else image

    def _state(self, sent: Mapping[str, Any]) -> Array:
        """The state float32[S]; not-a-number where clients do not send it, so that no policy can take it for one unnoticed."""
        size, key = self._suite.state_spec.size, self._layout.state
        if key is None:
            return np.full(size, np.nan, np.float32)
        state = _entry(sent, key)
        if not isinstance(state, np.ndarray) or state.dtype.kind not in "fiu" or state.shape != (size,):
            found = f"{state.dtype}{list(state.shape)}" if isinstance(state, np.ndarray) else type(state).__name__
            raise PolicyError(f"{key!r} must be a state float[{size}]; got {found}.")
        if not np.isfinite(state).all():
            raise PolicyError(f"{key!r} holds values that are not finite.")
        return state.astype(np.float32)


def _entry(sent: Mapping[str, Any], key: str) -> Any:
    value: Any = sent
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise PolicyError(f"the observation has no {key!r}; it has {', '.join(map(str, sent))}.")
        value = value[part]
    return value
