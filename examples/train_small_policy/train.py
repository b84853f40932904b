"""Train the network of `policy=small` on recorded demonstrations, and write a checkpoint after each of three training lengths.

python examples/train_small_policy/train.py demonstrations trained --steps 6000
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from network import SmallNetwork
from torch.nn import functional

BATCH = 64
LEARNING_RATE = 2e-3
SHIFT = 3  # pixels by which an image is moved at most
LENGTHS = {"short": 0.08, "middle": 0.3, "long": 1.0}  # share of the steps


def load(folder: Path) -> dict[str, Any]:
    """All recorded episodes, as arrays with one row per moment."""
    files = sorted(folder.glob("*.npz"))
    parts: dict[str, list[Any]] = {"images": [], "states": [], "actions": [], "given": [], "instruction": []}
    for file in files:
        with np.load(file) as episode:
            for name in ("images", "states", "actions", "given"):
                parts[name].append(episode[name])
            parts["instruction"] += [str(episode["instruction"])] * len(episode["images"])
    print(f"{len(files)} episodes, {len(parts['instruction'])} moments", flush=True)
    return {name: np.concatenate(part) if name != "instruction" else part for name, part in parts.items()}


def bags(instructions: list[str], words: list[str]) -> Any:
    """Share of each word in each sentence, float32[B, words]."""
    counts = np.array([[sentence.split().count(word) for word in words] for sentence in instructions], np.float32)
    return counts / counts.sum(1, keepdims=True)


def moved(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A batch uint8[B, cameras, H, W, 3]: each camera's moved by a few pixels, borders repeated, and each image in other light."""
    batch, cameras, height, width, _ = images.shape
    by = torch.randint(-SHIFT, SHIFT + 1, (cameras, 2), generator=generator)
    shifted = [
        images[:, camera, (torch.arange(height) + by[camera, 0]).clamp(0, height - 1)][
            :, :, (torch.arange(width) + by[camera, 1]).clamp(0, width - 1)
        ]
        for camera in range(cameras)
    ]
    light = 0.85 + 0.3 * torch.rand((batch, cameras, 1, 1, 1), generator=generator)
    return (torch.stack(shifted, 1) * light).clamp(0, 255)


def loss_of(predicted: Any, actions: Any, given: Any) -> Any:
    """L1 of pose entries and cross entropy of the gripper, over the actions that there were."""
    pose = (predicted[..., :6] - actions[..., :6]).abs().mean(-1)
    opened = (actions[..., 6] < 0).float()
    gripper = functional.binary_cross_entropy_with_logits(predicted[..., 6], opened, reduction="none")
    return ((pose + 0.1 * gripper) * given).sum() / given.sum()


def write(network: SmallNetwork, file: Path, record: dict[str, Any]) -> None:
    """A checkpoint: the weights by name, and what else there is to know as JSON."""
    described = json.dumps({"words": network.words, "chunk": network.chunk, **record})
    weights = {name: tensor.numpy().astype(np.float32) for name, tensor in network.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, **weights, config=np.array(described))


def main() -> None:
    """Train from nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demonstrations", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    generator = torch.Generator().manual_seed(arguments.seed)
    data = load(arguments.demonstrations)
    words = sorted({word for sentence in data["instruction"] for word in sentence.split()})
    images, states, actions = (torch.from_numpy(data[name]) for name in ("images", "states", "actions"))
    given, said = torch.from_numpy(data["given"]).float(), torch.from_numpy(bags(data["instruction"], words))
    network = SmallNetwork(words, states.shape[1], actions.shape[1], images.shape[1])
    network.state_mean.copy_(states.mean(0))
    network.state_std.copy_(states.std(0) + 1e-2)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=arguments.steps, pct_start=0.1)
    ends = {max(1, round(share * arguments.steps)): name for name, share in LENGTHS.items()}
    started, total = time.process_time(), 0.0
    for step in range(1, arguments.steps + 1):
        rows = torch.randint(len(states), (BATCH,), generator=generator)
        loss = loss_of(network(moved(images[rows], generator), states[rows], said[rows]), actions[rows], given[rows])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % 100 == 0:
            print(f"step {step}: loss {total / 100:.4f}, {time.process_time() - started:.0f} s", flush=True)
            total = 0.0
        if step in ends:
            record = {"steps": step, "seed": arguments.seed, "moments": len(states)}
            write(network, arguments.out / f"{ends[step]}.npz", record)


if __name__ == "__main__":
    main()
