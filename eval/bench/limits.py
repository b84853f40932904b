"""What the device at hand can do at most, measured: bytes a large copy moves and operations a large matrix product does per second.

A pass can take no less time than its stages' bytes or operations at those rates, whichever takes longer (the roofline of Williams,
Waterman and Patterson, 2009).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...policies.network.adapter import NetworkPolicy, Stage

if TYPE_CHECKING:
    import torch

    from ...policies.base import Policy

_REPEATS = 10


@dataclass(frozen=True)
class Limits:
    """Of a device.

    Attributes:
        device: Its name.
        on_gpu: Whether it is one.
        bytes_per_second: Read and written by a copy.
        flops_per_second: Of a product of two random square matrices of the network's dtype.
    """

    device: str
    on_gpu: bool
    bytes_per_second: float
    flops_per_second: float

    def least_seconds(self, stages: Sequence[Stage]) -> float:
        """The time that no pass can be shorter than."""
        return sum(self._needs(stage) for stage in stages)

    def shares(self, stages: Sequence[Stage]) -> str:
        """Which limit binds each kind of stage, and its part of the least time."""
        parts: dict[str, float] = {}
        for stage in stages:
            bound = "memory" if stage.bytes / self.bytes_per_second > stage.flops / self.flops_per_second else "FLOP"
            parts[f"{stage.name} ({bound})"] = parts.get(f"{stage.name} ({bound})", 0.0) + self._needs(stage)
        return ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in parts.items())

    def _needs(self, stage: Stage) -> float:
        return max(stage.bytes / self.bytes_per_second, stage.flops / self.flops_per_second)


def limits_of(policy: Policy) -> Limits | None:
    """Of the device that a policy's network is on; None for a policy without a network here."""
    if not isinstance(policy, NetworkPolicy):
        return None
    weight = next(policy.network.parameters())
    return measure_limits(weight.device, weight.dtype)


def measure_limits(device: torch.device, dtype: torch.dtype) -> Limits:
    """Measure a device: a copy of 1 GiB (on a CPU 64 MiB) and a product of side 8192 (on a CPU 1024), the median of ten each."""
    import torch

    from ...policies.network.devices import device_name

    large = device.type == "cuda"
    source = torch.zeros((1 << 30 if large else 1 << 26), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    side = 8192 if large else 1024
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    copied = _median_seconds(lambda: target.copy_(source), device)
    multiplied = _median_seconds(lambda: torch.matmul(left, right, out=out), device)
    return Limits(device_name(device), large, 2 * len(source) / copied, 2 * side**3 / multiplied)


def _median_seconds(run: Callable[[], object], device: torch.device) -> float:
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    seconds = []
    for repeat in range(-3, _REPEATS):
        wait()
        began = time.perf_counter()
        run()
        wait()
        if repeat >= 0:
            seconds.append(time.perf_counter() - began)
    return sorted(seconds)[len(seconds) // 2]
