"""What a delay costs: the runs of a report that differ in their simulated delay, as curves of success and of the paired drop."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple, TypeAlias

from ...errors import RunError, VlagymError
from ..compare.comparison import Question, compare_sides
from ..compare.sources import side_of_run
from ..tables.runs import Run
from ..tables.statistics import Rate
from ..tables.success import AVERAGE, Sheet

DelayCurve: TypeAlias = dict[float, Rate]  # delay in control steps -> success, or its difference to that without delay


class Delays(NamedTuple):
    """Curves by what they are of.

    Attributes:
        success: Success of every delay.
        drop: Paired difference to the run without delay (trial by trial), of those curves that have one.
    """

    success: dict[str, DelayCurve]
    drop: dict[str, DelayCurve]


def delays_of(runs: Mapping[str, Run], question: Question) -> Delays | None:
    """The curves of runs that differ in their delay; None where no two do.

    Raises:
        RunError: A run's header does not say what its delay is.
    """
    groups: dict[str, dict[float, tuple[Run, str]]] = defaultdict(dict)
    without: dict[str, tuple[Run, str]] = {}
    for run in runs.values():
        for leg in run.header["legs"]:
            delay, kind = delay_of(run, leg), _kind(run, leg)
            if delay:
                groups[kind].setdefault(delay, (run, leg["suite"]))
            else:
                without.setdefault(kind, (run, leg["suite"]))
    for kind, group in groups.items():  # without a delay nothing else of the clock matters
        if (found := without.get(_without_clock(kind))) is not None:
            group[0.0] = found
    groups = {kind: group for kind, group in groups.items() if len(group) > 1}
    if not groups:
        return None
    names = _names(groups)
    success = {names[kind]: {delay: _success(*of) for delay, of in sorted(group.items())} for kind, group in groups.items()}
    drop = {names[kind]: curve for kind, group in groups.items() if (curve := _drop(group, question))}
    return Delays(success, drop)


def delay_of(run: Run, leg: Mapping[str, Any]) -> float:
    """The delay of a leg's answers in control steps, the median where each is drawn; 0 where the world waits.

    Raises:
        RunError: The header does not say at what rate its clock ticks.
    """
    record = leg["protocol"].get("realtime")
    if run.config.realtime is None or record is None:  # no delay leaves a protocol as it was
        return 0.0
    control_hz = record.get("control_hz") if isinstance(record, dict) else None
    if not isinstance(control_hz, int | float) or not 0 < control_hz < 1e6:
        raise RunError(f"{run.path}: run.json has no control_hz in the realtime part of its protocol. Take it from a backup.")
    return float(median(run.config.realtime.delays(control_hz)))


def drops_sheet(delays: Delays) -> Sheet:
    """The numbers of both curves."""
    rows = []
    for name, curve in delays.success.items():
        for delay, rate in curve.items():
            drop = delays.drop.get(name, {}).get(delay) if delay else None
            interval = "-" if drop is None else f"{100 * drop.low:+.1f} to {100 * drop.high:+.1f}"
            rows.append(
                [
                    *(name, f"{delay:g}", f"{100 * rate.value:.1f} %", f"{100 * rate.low:.1f} - {100 * rate.high:.1f} %"),
                    *("-" if drop is None else f"{100 * drop.value:+.1f}", interval),
                ]
            )
    return Sheet(["", "delay, steps", "success", "95 % interval", "against no delay", "interval"], 1, rows, frozenset())


def _kind(run: Run, leg: Mapping[str, Any]) -> str:
    """All that a curve's runs share: suite, policy, and what else than the delay is set of the clock, as JSON."""
    realtime = run.config.realtime
    names = ("mode", "horizon", "alignment", "wait")
    clock = {name: getattr(realtime, name) for name in names} if realtime is not None and delay_of(run, leg) else None
    return json.dumps([leg["suite"], leg["policy"], clock])


def _without_clock(kind: str) -> str:
    suite, policy, _ = json.loads(kind)
    return json.dumps([suite, policy, None])


def _names(groups: Mapping[str, object]) -> dict[str, str]:
    """A short name per curve that no other has."""
    names: dict[str, str] = {}
    for kind in groups:
        suite, policy, clock = json.loads(kind)
        name = f"{policy['name']} on {suite}, {clock['alignment']}-aligned" + (", world stops" if clock["wait"] == "sync" else "")
        taken = sum(other == name or other.startswith(f"{name} (") for other in names.values())
        names[kind] = f"{name} ({taken + 1})" if taken else name
    return names


def _success(run: Run, suite: str) -> Rate:
    table = run.table()
    row = table[(table["suite"] == suite) & (table["task"] == AVERAGE)].iloc[0]
    return Rate(float(row["success_rate"]), float(row["low"]), float(row["high"]))


def _drop(group: Mapping[float, tuple[Run, str]], question: Question) -> DelayCurve:
    """The differences to the run without delay; empty where there is none, or nothing to compare."""
    if 0.0 not in group:
        return {}
    baseline, suite = group[0.0]
    curve: DelayCurve = {0.0: Rate(0.0, 0.0, 0.0)}
    for delay, (run, _) in sorted(group.items()):
        if delay:
            try:
                compared = compare_sides(side_of_run(baseline), side_of_run(run), replace(question, allow_different_protocols=True))
            except VlagymError:  # the report's comparison of the two says why
                continue
            row = next(row for row in compared.rows if row.suite == suite and row.task == AVERAGE)
            curve[delay] = Rate(row.difference, row.low, row.high)
    return curve
