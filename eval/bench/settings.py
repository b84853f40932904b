"""What `vla-eval bench` takes, as types and ranges; the defaults and what each means are in conf/bench*.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from ...edges.settings import MANY, Count, Index, Name, Processes, Text

Few: TypeAlias = Annotated[int, Meta(ge=1, le=10_000)]


@dataclass(frozen=True)
class EnvironmentsBench:
    """conf/bench.yaml."""

    task: Index | Name
    episodes: Few
    chunks: Annotated[Sequence[Few], Meta(min_length=1)]
    workers: Annotated[Sequence[Processes], Meta(min_length=1)]
    launchers: Annotated[Sequence[Literal["local", "ray"]], Meta(min_length=1)]
    cameras: Sequence[Name] | None
    video: bool
    against: Literal["stock"] | None
    floor: bool | None
    json: Text | None


@dataclass(frozen=True)
class PolicyBench:
    """conf/bench_policy.yaml."""

    batch_sizes: Annotated[Sequence[Few], Meta(min_length=1)] | None
    connections: Annotated[Sequence[Few], Meta(min_length=1)]
    calls: Count
    warm_up: Index
    json: Text | None
    profile: Text | None


@dataclass(frozen=True)
class PlanBench:
    """conf/bench_plan.yaml."""

    plan: Count
    tasks: Count
    workers: Processes
    shards: Few
    json: Text | None


@dataclass(frozen=True)
class ResultsBench:
    """conf/bench_results.yaml."""

    results: Annotated[int, Meta(ge=100, le=MANY)]
    suites: Few
    tasks: Few
    seeds: Few
    commands: Annotated[Sequence[Literal["compare", "table", "report"]], Meta(min_length=1)]
    repeats: Few
    folder: Text | None
    json: Text | None
