"""A server of LeRobot's policies, run inside LeRobot's environment: ``python -m vlagym.policies.lerobot.server``.

It loads a checkpoint with its processors as lerobot-eval does and answers with `predict_action_chunk`, so that episodes stay apart
and are batched: `select_action` keeps one queue of actions for the whole batch. Policies that look at several moments
(`n_obs_steps` above 1: diffusion, VQ-BeT) are asked step by step, with the queues of each episode. Beside lerobot this needs
NumPy, websockets and msgpack. Sources: lerobot 0.4.4 src/lerobot/scripts/lerobot_eval.py (rollout), policies/factory.py.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import PolicyError
from ..serving.served import Array, Request, Served, pending_of
from ..serving.server import serve

IMAGES = "observation.images."
STATE, TASK = "observation.state", "task"


class LeRobotPolicy(Served):
    """A checkpoint with its processors.

    Args:
        checkpoint: Folder, or OWNER/NAME on the hub.
        device: cpu, cuda, ...; None for LeRobot's choice.
        executes: Actions of a chunk that are given; None for the checkpoint's ``n_action_steps``.
        max_batch: Most observations at once; None for any number.
        rename: From a request's key to the checkpoint's.
        overrides: Fields of the policy's configuration that are replaced, such as ``vlm_model_name``.
    """

    def __init__(
        self,
        checkpoint: str,
        device: str | None,
        executes: int | None,
        max_batch: int | None,
        rename: Mapping[str, str],
        overrides: Mapping[str, Any],
    ) -> None:
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors

        config = PreTrainedConfig.from_pretrained(checkpoint)
        config.pretrained_path = checkpoint
        if device:
            config.device = device
        for name, value in overrides.items():
            if not hasattr(config, name):
                raise PolicyError(f"{checkpoint}: the configuration of {config.type} has no {name!r}.")
            setattr(config, name, _rtc_config(value) if name == "rtc_config" and value is not None else value)
        self._policy = get_policy_class(config.type).from_pretrained(checkpoint, config=config)
        self._policy.to(config.device)
        self._policy.eval()
        steps: dict[str, Any] = {
            "device_processor": {"device": str(config.device)},
            "rename_observations_processor": {"rename_map": dict(rename)},
        }
        if "vlm_model_name" in overrides:
            steps["tokenizer_processor"] = {"tokenizer_name": overrides["vlm_model_name"]}
        self._before, self._after = make_pre_post_processors(config, pretrained_path=checkpoint, preprocessor_overrides=steps)
        self._config = config
        self._executes = executes or config.n_action_steps
        self._rename = dict(rename)
        self._queued = getattr(config, "n_obs_steps", 1) > 1
        self._queues: dict[str, Any] = {}
        self._takes_noise = _takes_noise(self._policy)
        # Real-time chunking: the last chunk of every episode, float[T, A] as the network gave it, which guides the next one.
        self._guided = bool(getattr(getattr(config, "rtc_config", None), "enabled", False))
        self._last: dict[str, Any] = {}
        self.max_batch = 1 if self._queued else max_batch
        self.name = f"lerobot {config.type}"
        self.metadata = {
            "server": "vlagym",
            "policy": f"lerobot/{config.type}",
            "checkpoint": checkpoint,
            "weights_sha256": _weights_sha256(checkpoint),
            "chunk": getattr(config, "chunk_size", None) or getattr(config, "horizon", None),
            "executes": 1 if self._queued else self._executes,
            "inputs": {name: list(feature.shape) for name, feature in config.input_features.items()},
            "outputs": {name: list(feature.shape) for name, feature in config.output_features.items()},
            "device": str(config.device),
            "noise": "per episode and step" if self._takes_noise else "torch's generator, seeded per episode and step, batch of 1",
            "packages": {name: found for name in ("lerobot", "torch", "transformers", "numpy") if (found := _version(name))},
        }
        if self._guided:
            self.metadata["real_time_chunking"] = str(config.rtc_config)
        if self._guided or (not self._takes_noise and self._is_random()):
            self.max_batch = 1

    def act(self, requests: Sequence[Request]) -> list[Array]:
        import torch

        batch = self._before(self._batch(requests))
        if self._guided:
            return [self._guided_chunk(requests[0], batch)]
        with torch.inference_mode():
            if self._queued:
                (request,) = requests
                self._policy._queues = self._queues[request.episode]
                torch.manual_seed(_seed(request))
                chunks = self._after(self._policy.select_action(batch))[:, None]
            elif self._takes_noise:
                chunks = self._after(self._policy.predict_action_chunk(batch, noise=self._noise(requests)))
            else:
                torch.manual_seed(_seed(requests[0]))
                chunks = self._after(self._policy.predict_action_chunk(batch))
        return list(chunks.to("cpu", torch.float32).numpy()[:, : self._executes])

    def _guided_chunk(self, request: Request, batch: dict[str, Any]) -> Array:
        """The actions that are given of a chunk that goes on where the last one is still being executed.

        As in lerobot 0.4.4's examples/rtc: what guides is all of the last chunk that has not been executed when this one is asked
        for, what is never going to be executed included. Guidance needs gradients, so there is no inference mode.
        """
        import torch

        guidance: dict[str, Any] = {}
        last = self._last.get(request.episode)
        if last is not None and "delay_steps" in request.observation:
            previous, delay = pending_of(request.observation)
            left = last[self._executes - len(previous) :]
            guidance = {"prev_chunk_left_over": left[None], "inference_delay": delay} if len(left) else {}
        if self._takes_noise:
            guidance["noise"] = self._noise([request])
        else:
            torch.manual_seed(_seed(request))
        chunk = self._policy.predict_action_chunk(batch, **guidance).detach()
        self._last[request.episode] = chunk[0]
        actions: Array = self._after(chunk).to("cpu", torch.float32).numpy()[0, : self._executes]
        return actions

    def reset(self, episode: str) -> None:
        self._last.pop(episode, None)
        if self._queued:
            self._policy.reset()
            self._queues[episode] = self._policy._queues

    def release(self, episode: str) -> None:
        self._queues.pop(episode, None)
        self._last.pop(episode, None)

    def _batch(self, requests: Sequence[Request]) -> dict[str, Any]:
        """What the preprocessor takes: images float32[B, 3, H, W] in 0..1, the state float32[B, S], the sentences."""
        import torch

        wanted = [name for name in self._config.input_features if name.startswith(IMAGES)]
        sent = {self._rename.get(key, key) for request in requests for key in request.observation}
        missing = [name for name in wanted if name not in sent and not getattr(self._config, "empty_cameras", 0)]
        if missing:
            raise PolicyError(f"the checkpoint looks at {', '.join(wanted)}; {missing[0]} was not sent (policy.rename maps names).")
        batch: dict[str, Any] = {TASK: [str(request.observation.get(TASK, "")) for request in requests]}
        for key in requests[0].observation:
            if key.startswith(IMAGES):
                images = torch.from_numpy(np.stack([request.observation[key] for request in requests]))
                batch[key] = images.permute(0, 3, 1, 2).contiguous().to(torch.float32) / 255
            elif key == STATE:
                states = np.stack([np.asarray(request.observation[key], np.float32) for request in requests])
                batch[key] = torch.from_numpy(states)
        return batch

    def _noise(self, requests: Sequence[Request]) -> Any:
        """Where denoising starts, float32[B, chunk, padded action size]: a function of the episode and step alone."""
        import torch

        shape = (self._config.chunk_size, self._config.max_action_dim)
        drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(_seed(request))) for request in requests]
        return torch.stack(drawn).to(self._config.device)

    def _is_random(self) -> bool:
        return self._config.type not in ("act",)


def _rtc_config(values: Mapping[str, Any]) -> Any:
    """LeRobot's settings of real-time chunking from plain values, e.g. ``{enabled: true, execution_horizon: 10}``."""
    from lerobot.configs.types import RTCAttentionSchedule
    from lerobot.policies.rtc.configuration_rtc import RTCConfig

    schedule = values.get("prefix_attention_schedule")
    named = {} if schedule is None else {"prefix_attention_schedule": RTCAttentionSchedule[str(schedule).upper()]}
    return RTCConfig(**{**values, **named})


def _takes_noise(policy: Any) -> bool:
    """Whether the policy's noise can be given to it, in the shape of SmolVLA, pi0 and pi0.5."""
    config = policy.config
    parameters = inspect.signature(policy.predict_action_chunk).parameters
    takes = "noise" in parameters or (config.type in ("pi0", "pi05") and "kwargs" in parameters)
    return takes and hasattr(config, "max_action_dim") and hasattr(config, "chunk_size")


def _seed(request: Request) -> int:
    digest = hashlib.sha256(f"{request.episode}|{request.step}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _weights_sha256(checkpoint: str) -> str | None:
    """Of a folder's weights; None for a checkpoint of the hub, which its commit names."""
    file = Path(checkpoint) / "model.safetensors"
    if not file.is_file():
        return None
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(2**24):
            digest.update(block)
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main() -> None:
    """Serve the checkpoint that the arguments name."""
    parser = argparse.ArgumentParser(prog="vlagym.policies.lerobot.server", description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--device")
    parser.add_argument("--executes", type=int)
    parser.add_argument("--max-batch", type=int)
    parser.add_argument("--rename", type=json.loads, default={})
    parser.add_argument("--overrides", type=json.loads, default={})
    a = parser.parse_args()
    served = LeRobotPolicy(a.checkpoint, a.device, a.executes, a.max_batch, a.rename, a.overrides)
    serve(served, port=a.port, ready=lambda port: print(f"listening on port {port}", file=sys.stderr, flush=True))


if __name__ == "__main__":
    main()
