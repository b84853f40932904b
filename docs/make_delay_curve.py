"""Makes the curve in realtime.md: success of the scripted expert on lift against the delay of its answers.

Run it again when the clock or the expert changes: ``python docs/make_delay_curve.py [FOLDER]``. In a folder its runs are kept, and
gone on with. Needs matplotlib (extra ``libero``).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

import vlagym
from vlagym.eval.cli import main as vla_eval
from vlagym.eval.tables.sweep import load_sweep

PICTURE = Path(__file__).parent / "realtime_curve.png"
DELAYS, TRIALS = (0, 1, 2, 4, 8), 20


def main(folder: Path) -> None:
    """Run the sweep and write the picture."""
    delays = ",".join(map(str, DELAYS))
    settings = ["policy=scripted", "tasks=[lift]", f"suite.trials={TRIALS}", "video=none", f"run_dir={folder}"]
    if vla_eval(["sweep", *settings, f"realtime.delay_steps={delays}"]):
        raise SystemExit("the sweep is incomplete")
    rows = [vlagym.load_run(member.path).table().iloc[-1] for member in load_sweep(folder).members]
    draw(
        [100 * row["success_rate"] for row in rows],
        [100 * (row["success_rate"] - row["low"]) for row in rows],
        [100 * (row["high"] - row["success_rate"]) for row in rows],
    )


def draw(rates: list[float], below: list[float], above: list[float]) -> None:
    """Write the picture of rates with their intervals, all in per cent, one per delay."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    axes.errorbar(DELAYS, rates, yerr=[below, above], marker="o", color="#0072B2", capsize=4)
    axes.set(xlabel="delay (control steps of 50 ms)", ylabel="success (%)", ylim=(-3, 103), xticks=DELAYS)
    axes.set_title(f"Scripted expert on lift, {TRIALS} trials, 95 % intervals", fontsize=10)
    axes.grid(alpha=0.3)
    figure.savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary) / "sweep")
