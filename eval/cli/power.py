"""``vla-eval power``: how many episodes it takes to see a drop, before anything is run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ...edges.arguments import alpha, percent
from ..tables.statistics import paired_trials_needed, unpaired_episodes_needed


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval power ARGV``.

    Raises:
        ConfigError: Percentages that cannot be.
    """
    arguments = _parser().parse_args(argv)
    drop, rate, power = arguments.drop / 100, arguments.rate / 100, arguments.power / 100
    unpaired = unpaired_episodes_needed(drop, rate, arguments.alpha, power)
    by_chance = rate * (1 - rate + drop) + (rate - drop) * (1 - rate)
    differing = by_chance if arguments.differing is None else arguments.differing / 100
    paired = paired_trials_needed(drop, differing, arguments.alpha, power)
    print(
        f"To see a drop of {arguments.drop:g} points from {arguments.rate:g} % with {arguments.power:g} % power "
        f"(alpha {arguments.alpha:g}) takes\n"
        f"  {paired} trials run by both, if {100 * differing:.0f} % of them come out differently\n"
        f"  {unpaired} episodes on each side, if the two sides do not share their trials"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vla-eval power", description="How many episodes it takes to see a drop.")
    parser.add_argument("--drop", type=percent, required=True, metavar="POINTS", help="the drop in percentage points")
    parser.add_argument("--rate", type=percent, required=True, metavar="PERCENT", help="success rate of the baseline")
    parser.add_argument(
        "--differing",
        type=percent,
        metavar="PERCENT",
        help="trials that two runs end differently (default: as if by chance alone)",
    )
    parser.add_argument("--alpha", type=alpha, default=0.05, help="chance of seeing a drop where there is none (default 0.05)")
    parser.add_argument("--power", type=percent, default=80, metavar="PERCENT", help="chance of seeing the drop (default 80)")
    return parser
