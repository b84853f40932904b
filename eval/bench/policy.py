"""What loading a policy takes, and its speed and memory over batch sizes, without a simulator: `vla-eval bench policy=NAME`.

Observations are made up in the shapes of a suite, with its instructions mixed in every batch. A call is timed from the observations
to the actions, with everything a run pays for in between: image transforms, tokenizer, network, action transforms.
"""

from __future__ import annotations

import importlib
import importlib.util
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ...envs.suite import Suite
from ...episode import EpisodeSpec
from ...errors import ConfigError
from ...policies.base import Policy, checked_chunks
from ...policies.made_up import made_up_observations
from ...policies.network.adapter import Agreement, NetworkPolicy
from .limits import Limits

_LIBRARIES = ("torch", "transformers.models.llama.modeling_llama")
_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class BatchTiming:
    """How long calls with so many observations took.

    Attributes:
        batch: Observations per call.
        calls: Calls that were timed.
        p50_ms: Median time of a call.
        p95_ms: Time within which 95 % of the calls were done.
        observations_per_second: Of all timed calls together.
        actions_per_second: Likewise; a chunk counts as many actions as it has.
        peak_memory_bytes: Most memory during these calls: a GPU's tensors, else this process (off Linux: its most so far).
        least_ms: What the network takes at least on this device (`Limits.least_seconds`); None where that is not known.
        bound_by: Which limit binds which stage (`Limits.shares`).
        agreement: Passes of a fixed shape against the plain forward pass; None where there is no other way to compute.
        call_ms: Time of every timed call, in their order.
    """

    batch: int
    calls: int
    p50_ms: float
    p95_ms: float
    observations_per_second: float
    actions_per_second: float
    peak_memory_bytes: int
    least_ms: float | None = None
    bound_by: str = ""
    agreement: Agreement | None = None
    call_ms: tuple[float, ...] = ()


@dataclass(frozen=True)
class LoadingCost:
    """What it took to get a policy ready.

    Attributes:
        seconds: Time from the settings to the policy.
        weight_bytes: Of its weights in memory; None for a policy without.
        peak_bytes: Most memory this process took on the way, beyond what it had before.
    """

    seconds: float
    weight_bytes: int | None
    peak_bytes: int


def load(make: Callable[[], Policy]) -> tuple[Policy, LoadingCost]:
    """Build a policy and say what it took. Libraries are imported before, where they are installed: they are no weights."""
    for library in _LIBRARIES:
        if importlib.util.find_spec(library.partition(".")[0]) is not None:
            importlib.import_module(library)
    _forget_peak()
    before, began = _resident_bytes("VmRSS"), time.perf_counter()
    policy = make()
    seconds, peak = time.perf_counter() - began, _resident_bytes("VmHWM") - before
    return policy, LoadingCost(seconds, policy.provenance().get("weight_bytes"), peak)


def measure(
    policy: Policy, suite: Suite, batch_sizes: Sequence[int], calls: int, warm_up: int, limits: Limits | None = None
) -> list[BatchTiming]:
    """Time a policy's calls for each batch size.

    Args:
        policy: Any policy that needs no privileged state.
        suite: Whose observations to make up.
        batch_sizes: Observations per call.
        calls: Calls to time for each.
        warm_up: Calls before that.
        limits: Of the device. With them each batch size is run in passes of that shape, where the policy has such passes, and
            what it takes is compared with the least it could.

    Raises:
        ConfigError: A setting has no meaning, or the policy cannot be fed with made-up observations.
        PolicyError: The policy broke its contract.
    """
    if not batch_sizes or min(batch_sizes) < 1 or calls < 1 or warm_up < 0:
        raise ConfigError(f"batch_sizes must be numbers from 1, calls from 1; got {list(batch_sizes)}, {calls}, {warm_up}.")
    if policy.needs_privileged_state:
        raise ConfigError(f"{type(policy).__name__} needs privileged state, which only a simulator has: it cannot be timed alone.")
    if limits is None or not isinstance(policy, NetworkPolicy):
        return [_measure_batch(policy, suite, batch, calls, warm_up) for batch in batch_sizes]
    return [_measure_shape(policy, suite, batch, calls, warm_up, limits) for batch in batch_sizes]


def _measure_shape(policy: NetworkPolicy, suite: Suite, batch: int, calls: int, warm_up: int, limits: Limits) -> BatchTiming:
    shaped = policy.with_rows(batch)
    timing = _measure_batch(shaped, suite, batch, calls, warm_up)
    stages = shaped.stages(batch)
    episodes = [EpisodeSpec(suite.name, "bench", trial).id for trial in range(batch)]
    return replace(
        timing,
        least_ms=1000 * limits.least_seconds(stages) if stages else None,
        bound_by=limits.shares(stages),
        agreement=shaped.agreement(made_up_observations(policy, suite, episodes, 0)) if shaped.batch else None,
    )


def _measure_batch(policy: Policy, suite: Suite, batch: int, calls: int, warm_up: int) -> BatchTiming:
    episodes = [EpisodeSpec(suite.name, "bench", trial).id for trial in range(batch)]
    policy.reset(episodes)
    memory = _PeakMemory()
    seconds, actions = [], 0
    for call in range(-warm_up, calls):
        observations = made_up_observations(policy, suite, episodes, max(call, 0))
        began = time.perf_counter()
        chunks = policy.act(observations)
        took = time.perf_counter() - began
        checked = checked_chunks(policy, suite, observations, chunks)
        if call >= 0:
            seconds.append(took)
            actions += sum(len(chunk) for chunk in checked)
    policy.release(episodes)
    return BatchTiming(
        batch=batch,
        calls=calls,
        p50_ms=1000 * float(np.percentile(seconds, 50)),
        p95_ms=1000 * float(np.percentile(seconds, 95)),
        observations_per_second=batch * calls / sum(seconds),
        actions_per_second=actions / sum(seconds),
        peak_memory_bytes=memory.peak(),
        call_ms=tuple(1000 * took for took in seconds),
    )


def loading_line(cost: LoadingCost) -> str:
    """What loading took, in a sentence."""
    line = f"loaded in {cost.seconds:.1f} s, taking {cost.peak_bytes / 1e6:.0f} MB of memory at most"
    if not cost.weight_bytes:
        return line
    return f"{line}: {cost.peak_bytes / cost.weight_bytes:.2f} x the weights ({cost.weight_bytes / 1e6:.0f} MB)"


def timing_table(timings: Sequence[BatchTiming]) -> Table:
    """One row per batch size."""
    table = Table("batch", "p50 ms", "p95 ms", "Hz", "observations/s", "actions/s", "peak memory MB", "of the limit", "agreement")
    for timing in timings:
        table.add_row(
            str(timing.batch),
            f"{timing.p50_ms:.1f}",
            f"{timing.p95_ms:.1f}",
            f"{1000 / timing.p50_ms:.2f}",
            f"{timing.observations_per_second:.2f}",
            f"{timing.actions_per_second:.2f}",
            f"{timing.peak_memory_bytes / 1e6:.0f}",
            f"{timing.least_ms / timing.p50_ms:.0%} of {timing.least_ms:.1f} ms" if timing.least_ms else "-",
            _agreement(timing.agreement),
        )
    return table


def limit_lines(timings: Sequence[BatchTiming], limits: Limits) -> list[str]:
    """What the device can do, and what that leaves to each batch size."""
    rates = f"{limits.bytes_per_second / 1e12:.3g} TB/s in a copy, {limits.flops_per_second / 1e12:.3g} TFLOP/s in a product"
    bound = [f"batch {timing.batch} takes at least {timing.bound_by}" for timing in timings if timing.bound_by]
    return [f"{limits.device}: {rates}", *bound]


def _agreement(found: Agreement | None) -> str:
    if found is None:
        return "-"
    tokens = "" if found.equal is None else f"{found.equal:.1%} of tokens, "
    return f"{tokens}off by {found.error:.1e}"


class _PeakMemory:
    """Most memory taken since it was made: the GPU's where torch uses one, else this process's."""

    def __init__(self) -> None:
        self._torch: Any = sys.modules.get("torch")
        if self._torch is not None and self._torch.cuda.is_initialized():
            self._torch.cuda.reset_peak_memory_stats()
        else:
            _forget_peak()

    def peak(self) -> int:
        if self._torch is not None and self._torch.cuda.is_initialized():
            return int(self._torch.cuda.max_memory_allocated())
        return _resident_bytes("VmHWM")


def _forget_peak() -> None:
    """Let the process's peak begin anew, where Linux can."""
    if _STATUS.exists():
        _CLEAR_REFS.write_text("5")


def _resident_bytes(field: str) -> int:
    """Memory of this process: ``VmRSS`` now, ``VmHWM`` at most; always the most where there is no /proc."""
    if _STATUS.exists():
        return next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:")) * 1024
    kibibyte = 1024 if sys.platform.startswith("linux") else 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kibibyte
