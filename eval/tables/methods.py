"""Several runs in one table: methods x suites, as papers print it, tasks x runs, and one run seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import ConfigError
from .statistics import IntervalMethod
from .subject import method
from .success import ALL_SUITES, AVERAGE, Sheet, success_table

if TYPE_CHECKING:
    import pandas as pd

    from .runs import Run


def methods_table(runs: Sequence[Run], confidence: float = 0.95) -> pd.DataFrame:
    """One row per policy (with its checkpoint) and suite: the suite's average, and the mean over suites where all are there.

    Returns:
        Columns method, suite (``all suites`` for the mean), episodes, success_rate, low, high (NaN for the mean: its suites may be
        of several runs).

    Raises:
        ConfigError: Two runs are of the same policy and suite.
    """
    import pandas as pd

    found: dict[tuple[str, str], tuple[Run, dict[str, float]]] = {}
    for run in runs:
        averages = run.table(confidence).query("task == @AVERAGE", local_dict={"AVERAGE": AVERAGE}).set_index("suite")
        for leg in run.header["legs"]:
            key = method(leg), leg["suite"]
            if key in found:
                raise ConfigError(f"{found[key][0].path} and {run.path} are both {key[0]} on {key[1]}; name one of them.")
            found[key] = run, averages.loc[leg["suite"]].to_dict()
    suites = list(dict.fromkeys(suite for _, suite in found))
    columns = ["episodes", "success_rate", "low", "high"]
    rows = []
    for name in dict.fromkeys(name for name, _ in found):
        mine = [found[name, suite][1] for suite in suites if (name, suite) in found]
        rows += [[name, suite, *(found[name, suite][1][c] for c in columns)] for suite in suites if (name, suite) in found]
        if len(mine) == len(suites) > 1:
            mean = sum(row["success_rate"] for row in mine) / len(mine)
            rows.append([name, ALL_SUITES, sum(row["episodes"] for row in mine), mean, float("nan"), float("nan")])
    return pd.DataFrame(rows, columns=["method", "suite", *columns])


def methods_sheet(table: pd.DataFrame) -> Sheet:
    """A `methods_table` for people: a row per method, a column per suite."""
    suites = [suite for suite in dict.fromkeys(table["suite"]) if suite != ALL_SUITES]
    several = len(suites) > 1
    rows = []
    for name, group in table.groupby("method", sort=False):
        cells = {row["suite"]: _cell(row["success_rate"], row["low"], row["high"]) for row in group.to_dict("records")}
        rows.append([str(name), *(cells.get(suite, "-") for suite in [*suites, *([ALL_SUITES] if several else [])])])
    return Sheet(["method", *suites, *(["average"] if several else [])], 1, rows, frozenset())


def tasks_sheet(tables: Mapping[str, pd.DataFrame]) -> Sheet:
    """The success tables of several runs side by side: a row per task, a column per run.

    Args:
        tables: Name of a run -> its `vlagym.eval.tables.success.success_table`.
    """
    cells = {name: {(row["suite"], row["task"]): row for row in table.to_dict("records")} for name, table in tables.items()}
    keys = list(dict.fromkeys(key for found in cells.values() for key in found))
    order = {suite: number for number, suite in enumerate(dict.fromkeys(suite for suite, _ in keys))}
    keys.sort(key=lambda key: (order[key[0]], key[1] == AVERAGE))
    rows = []
    for key in keys:
        found = [cells[name].get(key) for name in cells]
        rows.append([*key, *("-" if row is None else _cell(row["success_rate"], row["low"], row["high"]) for row in found)])
    return Sheet(["suite", "task", *cells], 2, rows, frozenset(i for i, key in enumerate(keys) if key[1] == AVERAGE))


def seed_table(run: Run, confidence: float = 0.95, interval: IntervalMethod = "mid-p") -> pd.DataFrame:
    """A suite's average seed by seed, then the mean over the seeds with their spread.

    Returns:
        Columns suite, seed (``mean`` for the last), episodes, success_rate, low, high, and std: the standard deviation over seeds
        (n - 1 below it; NaN for a single seed). The mean's interval is that of the whole run, whose seeds are no trials of
        their own.
    """
    import pandas as pd

    columns = ["episodes", "success_rate", "low", "high"]
    rows = []
    whole = run.table(confidence, interval)
    for suite in dict.fromkeys(spec.suite for spec in run.plan):
        rates = []
        for seed in run.config.seeds:
            plan = [spec for spec in run.plan if spec.suite == suite and spec.seed == seed]
            results = [result for result in run.results if result.spec.suite == suite and result.spec.seed == seed]
            row = success_table(results, plan, confidence, interval).iloc[-1]
            rates.append(row["success_rate"])
            rows.append([suite, str(seed), *row[columns], float("nan")])
        row = whole[(whole["suite"] == suite) & (whole["task"] == AVERAGE)].iloc[0]
        rows.append([suite, "mean", *row[columns], pd.Series(rates, dtype=float).std()])
    return pd.DataFrame(rows, columns=["suite", "seed", *columns, "std"])


def seed_sheet(table: pd.DataFrame, confidence: float = 0.95) -> Sheet:
    """A `seed_table` for people."""
    extra = ["run"] if "run" in table else []
    records = table.to_dict("records")
    rows = []
    for row in records:
        ran = row["episodes"] > 0
        spread = f" ± {100 * row['std']:.1f}" if not math.isnan(row["std"]) else ""
        rate = f"{100 * row['success_rate']:.1f}{spread} %" if ran else "-"
        interval = f"{100 * row['low']:.1f} - {100 * row['high']:.1f} %" if ran else "-"
        rows.append([*(str(row[name]) for name in [*extra, "suite", "seed"]), rate, interval, str(row["episodes"])])
    columns = [*extra, "suite", "seed", "success\n± std", f"{100 * confidence:g} % interval", "episodes"]
    return Sheet(columns, 2 + len(extra), rows, frozenset(i for i, row in enumerate(records) if row["seed"] == "mean"))


def _cell(value: float, low: float, high: float) -> str:
    if math.isnan(value):  # nothing ran
        return "-"
    return f"{100 * value:.1f} %" + (f"\n({100 * low:.1f} - {100 * high:.1f})" if not math.isnan(low) else "")
