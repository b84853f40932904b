"""Makes the curves in realtime.md: success on lift of the scripted expert and of the small policy over the delay of their answers.

Run it again when the clock or a policy changes: ``python docs/make_delay_curve.py [FOLDER]``. In a folder its runs are kept, and
gone on with. Needs matplotlib (extra ``libero``).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import pandas as pd

import vlagym
from vlagym.eval.cli import main as vla_eval
from vlagym.eval.tables.sweep import load_sweep

PICTURE = Path(__file__).parent / "realtime_curve.png"
DELAYS, TRIALS = (0, 1, 2, 4, 8), 20
POLICIES = {"scripted": "scripted expert", "small": "policy=small (from pixels)"}
LOOKS = {"scripted": {"marker": "o", "color": "#0072B2"}, "small": {"marker": "s", "color": "#D55E00", "linestyle": "--"}}


def main(folder: Path) -> None:
    """Run the sweeps and write the picture."""
    draw({policy: success(policy, folder / policy) for policy in POLICIES})


def success(policy: str, folder: Path) -> pd.DataFrame:
    """The rows of the success table of a policy's sweep, one per delay."""
    delays = ",".join(map(str, DELAYS))
    settings = [f"policy={policy}", "tasks=[lift]", f"suite.trials={TRIALS}", "video=none", f"run_dir={folder}"]
    if vla_eval(["sweep", *settings, f"realtime.delay_steps={delays}"]):
        raise SystemExit("the sweep is incomplete")
    return pd.DataFrame([vlagym.load_run(member.path).table().iloc[-1] for member in load_sweep(folder).members])


def draw(curves: Mapping[str, pd.DataFrame]) -> None:
    """Write the picture of success with its intervals over the delay, a curve per policy."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for number, (policy, rows) in enumerate(curves.items()):
        rates, low, high = (100 * rows[column].to_numpy() for column in ("success_rate", "low", "high"))
        beside = [delay + 0.08 * number for delay in DELAYS]  # so that intervals do not hide each other
        axes.errorbar(beside, rates, yerr=[rates - low, high - rates], label=POLICIES[policy], **LOOKS[policy], capsize=4)
    axes.set(xlabel="delay (control steps of 50 ms)", ylabel="success (%)", ylim=(-3, 103), xticks=DELAYS)
    axes.set_title(f"lift, {TRIALS} trials, 95 % intervals", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
