"""``vla-eval power``: how many episodes it takes to see a drop, before anything is run or from what two runs differed in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...edges.arguments import alpha, percent, share
from ..compare.rows import common_pairs, discordance, mean
from ..compare.sources import side_of_run
from ..tables.runs import load_run
from ..tables.statistics import paired_trials_needed, unpaired_episodes_needed
from .arguments import CommandParser


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval power ARGV``.

    Raises:
        VlagymError: Percentages that cannot be, or runs that cannot be compared.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if len(arguments.runs) not in (0, 2):
        parser.error("name two runs, from which rate and differing trials are taken, or none")
    if arguments.runs:
        rate, differing = _measured(*arguments.runs)
    elif arguments.rate is None:
        parser.error("give --rate, or two runs")
    else:
        rate, differing = arguments.rate / 100, None
    rate = rate if arguments.rate is None else arguments.rate / 100
    differing = differing if arguments.differing is None else arguments.differing / 100
    _tell(arguments.drop / 100, rate, differing, arguments.alpha, arguments.power / 100)
    return 0


def _measured(baseline: Path, current: Path) -> tuple[float, float]:
    """The baseline's average rate over the trials in common, and how much the two differ trial by trial."""
    sides = [side_of_run(load_run(path)) for path in (baseline, current)]
    pairs = common_pairs(*sides)
    rate, differing = mean([mean(task.baseline) for task in pairs]), discordance(pairs)
    trials = sum(len(task.differences) for task in pairs)
    print(
        f"{sides[0].label} solved {100 * rate:.1f} % of the {trials} trials in common; {sides[1].label} came out differently in "
        f"{100 * differing:.1f} % of them."
    )
    return rate, differing


def _tell(drop: float, rate: float, differing: float | None, alpha: float, power: float) -> None:
    unpaired = unpaired_episodes_needed(drop, rate, alpha, power)
    by_chance = rate * (1 - rate + drop) + (rate - drop) * (1 - rate)
    share = max(drop, by_chance if differing is None else differing)
    paired = paired_trials_needed(drop, share, alpha, power)
    print(
        f"To see a drop of {100 * drop:g} points from {100 * rate:g} % with {100 * power:g} % power (alpha {alpha:g}) takes\n"
        f"  {paired} trials run by both, if {100 * share:.0f} % of them come out differently\n"
        f"  {unpaired} episodes on each side, if the two sides do not share their trials"
    )


def _parser() -> CommandParser:
    parser = CommandParser(prog="vla-eval power", description="How many episodes it takes to see a drop.")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="two runs: rate and differing trials are measured there")
    parser.add_argument("--drop", type=percent, required=True, metavar="POINTS", help="the drop in percentage points")
    parser.add_argument(
        "--rate", type=share, metavar="PERCENT", help="the baseline's success rate, 80 or 0.8 (default: the first run's)"
    )
    parser.add_argument(
        "--differing",
        type=share,
        metavar="PERCENT",
        help="trials that two runs end differently (default: as the two runs do, else as if by chance alone)",
    )
    parser.add_argument("--alpha", type=alpha, default=0.05, help="chance of seeing a drop where there is none (default 0.05)")
    parser.add_argument("--power", type=share, default=80, metavar="PERCENT", help="chance of seeing the drop (default 80)")
    return parser
