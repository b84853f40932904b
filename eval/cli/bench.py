"""`vla-eval bench policy=NAME`: how fast a policy is, and what it takes, over batch sizes; nothing is simulated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from ..conf import CONF_DIR
from ..envs.registry import make_suite
from ..policies.bench import BatchTiming, LoadingCost, load, measure
from ..policies.registry import make_policy
from .config import compose_settings
from .console import make_console

CONFIG = "bench_policy"


def main(argv: Sequence[str]) -> int:
    """Measure what the settings in conf/bench_policy.yaml ask for; returns the exit code."""
    if any(argument in ("-h", "--help") for argument in argv):
        print((CONF_DIR / f"{CONFIG}.yaml").read_text(encoding="utf-8"))
        return 0
    settings = compose_settings(argv, CONFIG)
    suite = make_suite(settings["suite"])
    policy, cost = load(lambda: make_policy(settings["policy"], suite))
    timings = measure(policy, suite, settings["batch_sizes"], settings["calls"], settings["warm_up"])
    console = make_console()
    console.print(timing_table(timings))
    console.print(loading_line(cost), highlight=False)
    if settings["json"]:
        rows = [asdict(timing) for timing in timings]
        report = {"settings": settings, "loading": asdict(cost), "provenance": policy.provenance(), "timings": rows}
        Path(settings["json"]).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    policy.close()
    return 0


def loading_line(cost: LoadingCost) -> str:
    """What loading took, in a sentence."""
    line = f"loaded in {cost.seconds:.1f} s, taking {cost.peak_bytes / 1e6:.0f} MB of memory at most"
    if not cost.weight_bytes:
        return line
    return f"{line}: {cost.peak_bytes / cost.weight_bytes:.2f} x the weights ({cost.weight_bytes / 1e6:.0f} MB)"


def timing_table(timings: Sequence[BatchTiming]) -> Table:
    """One row per batch size."""
    table = Table("batch", "p50 ms", "p95 ms", "observations/s", "actions/s", "peak memory MB", "per observation against the first")
    for timing in timings:
        table.add_row(
            str(timing.batch),
            f"{timing.p50_ms:.1f}",
            f"{timing.p95_ms:.1f}",
            f"{timing.observations_per_second:.2f}",
            f"{timing.actions_per_second:.2f}",
            f"{timing.peak_memory_bytes / 1e6:.0f}",
            f"{timing.observations_per_second / timings[0].observations_per_second:.2f} x",
        )
    return table
