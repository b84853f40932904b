"""What a report opens on: per run and suite the rate with its interval, whose it is, and under which protocol."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..tables.subject import subjects
from ..tables.success import AVERAGE, AVERAGE_LENGTH, formatted_row

if TYPE_CHECKING:
    import pandas as pd

    from ..tables.runs import Run

_DIGITS = 12  # of a hash, as people compare them


def answers(name: str, run: Run, table: pd.DataFrame, chains: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """One answer per suite, as the page shows it.

    Args:
        name: Of the run in the report.
        run: The run.
        table: Its success table.
        chains: Its table of chains; empty where no episode is one.
    """
    averages = table[table["task"] == AVERAGE].set_index("suite", drop=False)
    lengths = {row["suite"]: row for row in chains.to_dict("records") if row["in_a_row"] == AVERAGE_LENGTH}
    for leg, subject in zip(run.header["legs"], subjects(run), strict=True):
        average = averages.loc[leg["suite"]].to_dict()
        _, _, rate, interval, *_ = formatted_row(average)
        length = lengths.get(leg["suite"])
        yield {
            "run": name,
            "rate": rate,
            "interval": interval,
            "bar": [round(100 * average[key], 2) for key in ("low", "success_rate", "high")] if average["episodes"] else None,
            "counts": _counts(average),
            "length": f"{length['value']:.2f} ({length['low']:.2f} - {length['high']:.2f})" if length else "",
            "subject": subject,
            "protocol": leg["protocol_sha256"][:_DIGITS],
            "whole": not leg["notices"],
        }


def _counts(average: Mapping[Hashable, Any]) -> str:
    """What a rate is made of, in words."""
    missing = average["planned"] - average["episodes"] - average["errors"]
    not_run = f", {missing} not run" if missing else ""
    return f"{average['successes']} / {average['episodes']} episodes{not_run}, {average['errors']} errors"
