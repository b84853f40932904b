"""`vla-eval bench`: how fast environments are, a policy (``policy=``), planning (``plan=``), reading large runs (``results=``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...conf import CONF_DIR, group_names
from ...edges.secrets import masked
from ...edges.settings import check_settings
from ...envs.registry import make_suite
from ...policies.registry import make_policy
from ..bench.settings import EnvironmentsBench, PlanBench, PolicyBench, ResultsBench
from ..plan.config import compose_settings
from ..plan.realtime import MOST_LATENCIES, LatencyProfile
from ..record.console import make_console
from ..record.provenance import environment
from .arguments import as_settings

_BATCHES, _GPU_BATCHES = (1, 2, 4, 8), (1, 2, 4, 8, 16, 32, 64)
_DECLARED = {"bench": EnvironmentsBench, "bench_policy": PolicyBench, "bench_plan": PlanBench, "bench_results": ResultsBench}


def main(argv: Sequence[str]) -> int:
    """Measure what the settings ask for; returns the exit code."""
    argv = as_settings(argv, ("json", "profile"))
    name, measure = _measurement(argv)
    if any(argument in ("-h", "--help") for argument in argv):
        print((CONF_DIR / f"{name}.yaml").read_text(encoding="utf-8"))
        return 0
    settings = compose_bench(argv) if name == "bench_policy" else compose_settings(argv, name)
    check_settings("", _DECLARED[name], {key: value for key, value in settings.items() if key not in ("suite", "policy")})
    report = measure(settings)
    if settings["json"]:
        Path(settings["json"]).write_text(json.dumps({"settings": masked(settings), **report}, indent=2) + "\n", encoding="utf-8")
    return 0


def compose_bench(argv: Sequence[str]) -> dict[str, Any]:
    """The settings for a policy alone; on the first suite that it has a recipe for where it has none for the default suite."""
    settings = compose_settings(argv, "bench_policy")
    policy, suite = settings["policy"]["name"], settings["suite"]["name"]
    suites = [name.removeprefix(f"{policy}-") for name in group_names("recipe") if name.startswith(f"{policy}-")]
    if not suites or suite in suites or any(argument.startswith("suite=") for argument in argv):
        return settings
    return compose_settings([f"suite={suites[0]}", *argv], "bench_policy")


def _measurement(argv: Sequence[str]) -> tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]:
    """Which of conf/bench*.yaml the arguments mean, and what measures it."""
    if any(argument.startswith("policy=") for argument in argv):
        return "bench_policy", _bench_policy
    if any(argument.startswith("results=") for argument in argv):
        return "bench_results", _bench_results
    if any(argument.startswith("plan=") for argument in argv):
        return "bench_plan", _bench_plan
    return "bench", _bench_environments


def _bench_environments(settings: dict[str, Any]) -> dict[str, Any]:
    from ..bench.environments import measure, ratios, stage_table, throughput_table

    suite = make_suite(settings["suite"])
    settings["cameras"] = list(settings["cameras"] or suite.cameras)
    suite.check_ready()
    measurements = measure(suite, settings)
    console = make_console()
    console.print(throughput_table(measurements))
    console.print(stage_table(measurements))
    for line in ratios(measurements):
        console.print(line, highlight=False)
    return {"measurements": [m.to_json() for m in measurements], "ratios": ratios(measurements)}


def _bench_policy(settings: dict[str, Any]) -> dict[str, Any]:
    from ..bench.limits import limits_of
    from ..bench.policy import limit_lines, load, loading_line, measure, timing_table

    if "url" in settings["policy"]:
        return _bench_server(settings)
    suite = make_suite(settings["suite"])
    policy, cost = load(lambda: make_policy(settings["policy"], suite))
    limits = limits_of(policy)
    sizes = settings["batch_sizes"] or (_GPU_BATCHES if limits and limits.on_gpu else _BATCHES)
    timings = measure(policy, suite, sizes, settings["calls"], settings["warm_up"], limits)
    console = make_console()
    console.print(timing_table(timings))
    for line in limit_lines(timings, limits) if limits else ():
        console.print(line, highlight=False)
    console.print(loading_line(cost), highlight=False)
    provenance = policy.provenance()
    policy.close()
    smallest = min(timings, key=lambda timing: timing.batch)
    _write_profile(settings, smallest.call_ms, smallest.batch, limits.device if limits else f"{environment()['cpu']}")
    device = asdict(limits) if limits else None
    return {"loading": asdict(cost), "provenance": provenance, "limits": device, "timings": [asdict(timing) for timing in timings]}


def _bench_server(settings: dict[str, Any]) -> dict[str, Any]:
    from ..bench.connections import connection_table, measure_connections

    suite = make_suite(settings["suite"])
    with closing(make_policy({**settings["policy"], "connections": max(settings["connections"])}, suite)) as policy:
        timings = measure_connections(policy, suite, settings["connections"], settings["calls"], settings["warm_up"])
        provenance = policy.provenance()
    make_console().print(connection_table(timings))
    fewest = min(timings, key=lambda timing: timing.connections)
    _write_profile(settings, fewest.call_ms, 1, f"a server, {fewest.connections} connections")
    return {"provenance": provenance, "timings": [asdict(timing) for timing in timings]}


def _write_profile(settings: dict[str, Any], call_ms: Sequence[float], batch: int, measured_on: str) -> None:
    if settings["profile"]:
        latencies = tuple(round(ms, 4) for ms in call_ms[:MOST_LATENCIES])
        LatencyProfile(latencies, settings["policy"]["name"], batch, measured_on).write(Path(settings["profile"]))


def _bench_plan(settings: dict[str, Any]) -> dict[str, Any]:
    from ..bench.planned import measure_plan, plan_table

    costs = measure_plan(settings)
    make_console().print(plan_table(costs))
    return {"stages": [asdict(cost) for cost in costs]}


def _bench_results(settings: dict[str, Any]) -> dict[str, Any]:
    from ..bench.results import cost_table, measure_commands

    episodes, costs = measure_commands(settings)
    make_console().print(cost_table(costs, episodes))
    return {"episodes": episodes, "costs": [asdict(cost) for cost in costs]}
