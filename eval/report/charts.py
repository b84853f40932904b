"""The report's charts as plain plotly figures (data and layout), drawn by plotly.js in the browser."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..compare.comparison import Comparison
from ..tables.runs import Run
from ..tables.success import AVERAGE
from .delays import DelayCurve

if TYPE_CHECKING:
    import pandas as pd

Figure = dict[str, Any]

# Okabe and Ito's palette, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
_SYMBOLS = ("circle", "square", "diamond", "cross")
_SPACED_TICKS = {"ticks": "outside", "ticklen": 6, "tickcolor": "white"}
_ROW_HEIGHT, _MARGIN_HEIGHT = 26, 110


def averages_chart(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Every suite's average with its interval, one mark per run."""
    traces = []
    for number, (name, table) in enumerate(tables.items()):
        rows = table[table["task"] == AVERAGE].dropna(subset="success_rate")
        traces.append(_points(name, number, list(rows["suite"]), rows["success_rate"], rows["low"], rows["high"]))
    suites = {suite for trace in traces for suite in trace["y"]}
    return _figure(traces, len(suites) * len(tables), "success (%)", {"range": [-2, 102]}, len(tables) > 1)


def tasks_chart(tables: Mapping[str, pd.DataFrame], suite: str) -> Figure:
    """One suite's tasks as bars with their intervals, one bar per run."""
    traces = []
    most = 0
    for number, (name, table) in enumerate(tables.items()):
        rows = table[(table["suite"] == suite) & (table["task"] != AVERAGE)].dropna(subset="success_rate")
        trace = _points(name, number, list(rows["task"]), rows["success_rate"], rows["low"], rows["high"])
        # The interval stands out from the bar, and tells whose it is where the bar has no length.
        trace |= {"type": "bar", "orientation": "h", "marker": {"color": _colour(number), "opacity": 0.45}}
        traces.append(trace)
        most = max(most, len(rows))
    return _figure(traces, most * len(tables), "success (%)", {"range": [0, 102]}, len(tables) > 1)


def categories_chart(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Success by category of variants with its interval, totals last, one mark per run; over all suites where there are several."""
    traces = []
    for number, (name, table) in enumerate(tables.items()):
        rows = table[(table["suite"] == table["suite"].iloc[-1]) & table["level"].isna()].dropna(subset="success_rate")
        traces.append(_points(name, number, list(rows["category"]), rows["success_rate"], rows["low"], rows["high"]))
    categories = {category for trace in traces for category in trace["y"]}
    return _figure(traces, len(categories) * len(tables), "success (%)", {"range": [-2, 102]}, len(tables) > 1)


def levels_chart(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Success over the levels of difficulty, a line per category and run."""
    traces = []
    for number, (name, table) in enumerate(tables.items()):
        rows = table[(table["suite"] == table["suite"].iloc[-1]) & table["level"].notna()].dropna(subset="success_rate")
        for line, (category, curve) in enumerate(rows.groupby("category", sort=False)):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": str(category) if len(tables) == 1 else f"{name}: {category}",
                    "x": [int(level) for level in curve["level"]],
                    "y": [round(100 * rate, 3) for rate in curve["success_rate"]],
                    "line": _line(_colour(line), ("solid", "dash", "dot", "dashdot")[number % 4]),
                }
            )
    layout = _layout(420, True)
    layout |= {"xaxis": {"title": {"text": "level of difficulty"}, "dtick": 1}, "yaxis": {"title": {"text": "success (%)"}}}
    layout["yaxis"] |= {"range": [-2, 102], "automargin": True}
    return {"data": traces, "layout": layout}


def delays_chart(curves: Mapping[str, DelayCurve]) -> Figure:
    """Success over the delay of the policy's answers, with intervals, a curve per policy and suite."""
    return _delay_figure(curves, "success (%)", {"range": [-4, 104]})


def drops_chart(curves: Mapping[str, DelayCurve]) -> Figure:
    """What a delay costs against none, trial by trial, with intervals, in percentage points."""
    return _delay_figure(curves, "against no delay (percentage points)", {"zeroline": True, "zerolinecolor": "#999"})


def _delay_figure(curves: Mapping[str, DelayCurve], title: str, axis: Mapping[str, Any]) -> Figure:
    traces = []
    for number, (name, curve) in enumerate(curves.items()):
        delays, rates = zip(*sorted(curve.items()), strict=True)
        y = [round(100 * rate.value, 3) for rate in rates]
        errors = {
            "type": "data",
            "symmetric": False,
            "array": [round(100 * rate.high - v, 3) for rate, v in zip(rates, y, strict=True)],
            "arrayminus": [round(v - 100 * rate.low, 3) for rate, v in zip(rates, y, strict=True)],
        }
        trace = {"type": "scatter", "mode": "lines+markers", "name": _inert(name), "x": list(delays), "y": y}
        marker = {"size": 9, "symbol": _SYMBOLS[number % len(_SYMBOLS)]}
        traces.append({**trace, "error_y": errors, "line": _line(_colour(number), "solid"), "marker": marker})
    layout = _layout(420, len(traces) > 1)
    ticks = sorted({delay for curve in curves.values() for delay in curve})
    room = 0.03 * max(ticks, default=1.0)  # at both ends, so that no mark is cut
    layout |= {
        "xaxis": {"title": {"text": "delay (control steps)"}, "tickvals": ticks, "range": [-room, max(ticks, default=1.0) + room]}
    }
    layout["yaxis"] = {"title": {"text": title}, "automargin": True, **axis}
    return {"data": traces, "layout": layout}


def steps_chart(runs: Mapping[str, Run]) -> Figure:
    """What share of a run's episodes was solved within so many steps, per run and suite."""
    traces = []
    longest = max((result.steps for run in runs.values() for result in run.results), default=0)
    for number, (name, run) in enumerate(runs.items()):
        solved: dict[str, list[int]] = defaultdict(list)
        ran: dict[str, int] = defaultdict(int)
        for result in run.results:
            if result.error is None:
                ran[result.spec.suite] += 1
                if result.success:
                    solved[result.spec.suite].append(result.first_success_step or result.steps)
        for line, suite in enumerate(ran):
            x, y = _cumulative(solved[suite], ran[suite], longest)
            label = suite if len(runs) == 1 else name if len(ran) == 1 else f"{name}: {suite}"
            colour = _colour(number if len(runs) > 1 else line)
            dash = ("solid", "dash", "dot", "dashdot")[line % 4 if len(runs) > 1 else 0]
            traces.append({"type": "scatter", "mode": "lines", "name": _inert(label), "x": x, "y": y, "line": _line(colour, dash)})
    layout = _layout(420, len(traces) > 1)
    layout |= {"xaxis": {"title": {"text": "steps"}, "rangemode": "tozero"}, "yaxis": {"title": {"text": "solved (%)"}}}
    layout["yaxis"] |= {"range": [0, 102], "automargin": True}
    return {"data": traces, "layout": layout}


def differences_chart(comparison: Comparison) -> Figure:
    """Difference of every task with its interval, and the margin."""
    tasks = [row for row in comparison.rows if row.task != AVERAGE] or list(comparison.rows)
    names = [row.task if len({r.suite for r in tasks}) == 1 else f"{row.suite}/{row.task}" for row in tasks]
    differences, low, high = ([100 * getattr(row, key) for row in tasks] for key in ("difference", "low", "high"))
    trace = _points(comparison.current, 0, names, _fractions(differences), _fractions(low), _fractions(high))
    figure = _figure([trace], len(tasks), "difference (percentage points)", {"rangemode": "tozero"}, False)
    margin = -100 * comparison.question.margin
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": margin, "x1": margin}
    figure["layout"]["shapes"] = [{**line, "line": _line("#D55E00", "dash")}]
    figure["layout"]["annotations"] = [
        {
            "x": margin,
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "text": "margin",
            "showarrow": False,
            "font": {"color": "#A04000"},
        }
    ]
    return figure


def time_chart(runs: Mapping[str, Run], seconds: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """What each run's `mean_seconds` are, per run and suite."""
    means: dict[str, dict[str, float]] = {}
    for name, suites in seconds.items():
        for suite, stages in suites.items():
            label = name if len(runs[name].chain_lengths) == 1 else f"{name}: {suite}"
            means[label] = {stage: seconds for stage, seconds in stages.items() if stage not in ("total", "cpu")}
    names = list(dict.fromkeys(stage for spent in means.values() for stage in spent))
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": _inert(stage),
            "y": [_inert(label) for label in means],
            "x": [round(spent.get(stage, 0.0), 4) for spent in means.values()],
            "marker": {"color": _colour(number)},
        }
        for number, stage in enumerate(names)
    ]
    figure = _figure(traces, len(means), "seconds per episode", {"rangemode": "tozero"}, True)
    figure["layout"] |= {"barmode": "stack"}
    return figure


def mean_seconds(run: Run) -> dict[str, dict[str, float]]:
    """Suite -> stage -> mean seconds per episode, as the workers measured them."""
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    episodes: dict[str, int] = defaultdict(int)
    for result in run.results:
        seconds = result.execution.get("seconds")
        if seconds:
            episodes[result.spec.suite] += 1
            for stage, spent in seconds.items():
                sums[result.spec.suite][stage] += spent
    return {suite: {stage: total / episodes[suite] for stage, total in stages.items()} for suite, stages in sums.items()}


def _inert(name: str) -> str:
    """The name as plotly.js shows it: it takes ``<a href=...>`` and the like in any text for markup."""
    return html.escape(name, quote=False)


def _points(name: str, number: int, labels: Sequence[str], value: Any, low: Any, high: Any) -> Figure:
    """Marks with intervals, in per cent."""
    x = [round(100 * v, 3) for v in value]
    return {
        "type": "scatter",
        "mode": "markers",
        "orientation": "h",  # several runs' marks are one below the other
        "offsetgroup": str(number),
        "name": _inert(name),
        "x": x,
        "y": [_inert(label) for label in labels],
        "marker": {"color": _colour(number), "size": 10, "symbol": _SYMBOLS[number % len(_SYMBOLS)]},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [round(100 * h - v, 3) for h, v in zip(high, x, strict=True)],
            "arrayminus": [round(v - 100 * m, 3) for m, v in zip(low, x, strict=True)],
            "color": _colour(number),
        },
    }


def _fractions(percentages: Sequence[float]) -> list[float]:
    return [p / 100 for p in percentages]


def _cumulative(steps: Sequence[int], episodes: int, longest: int) -> tuple[list[int], list[float]]:
    """Corners of the staircase from 0 to the longest episode."""
    x, y = [0], [0.0]
    for count, step in enumerate(sorted(steps), 1):
        if step == x[-1]:
            y[-1] = 100 * count / episodes
        else:
            x += [step, step]
            y += [y[-1], 100 * count / episodes]
    return [*x, longest], [round(value, 3) for value in (*y, y[-1])]


def _figure(traces: list[Figure], rows: int, title: str, axis: Mapping[str, Any], legend: bool) -> Figure:
    layout = _layout(_MARGIN_HEIGHT + _ROW_HEIGHT * max(1, rows), legend)
    layout["xaxis"] = {"title": {"text": title}, **axis}
    layout["yaxis"] = {"automargin": True, "autorange": "reversed", "type": "category", **_SPACED_TICKS}
    layout["scattermode"] = "group"
    return {"data": traces, "layout": layout}


def _layout(height: int, legend: bool) -> Figure:
    return {
        "height": height,
        "margin": {"l": 10, "r": 20, "t": 30, "b": 50},
        "showlegend": legend,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "bargap": 0.25,
        "hovermode": "closest",
    }


def _line(colour: str, dash: str) -> Figure:
    return {"color": colour, "dash": dash, "width": 2}


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
