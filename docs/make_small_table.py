"""Makes the tables of policy=small in README.md and policies/small.md: random, its checkpoints and the scripted expert.

Run it again when one of them changes: ``python docs/make_small_table.py FOLDER``. Its runs are kept there, and gone on with.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pandas as pd

import vlagym
from vlagym.eval.cli import main as vla_eval
from vlagym.eval.tables.methods import tasks_sheet
from vlagym.eval.tables.success import AVERAGE, as_markdown

DOCS = Path(__file__).parent
RESULTS = DOCS / "policies" / "small_results.csv"
TRIALS = 50
LENGTHS = ("short", "middle", "long")
POLICIES = ("random", *LENGTHS, "scripted")
LEARNED = ("lift", "pick_place_can", "door")
TASKS = {policy: ("lift", "door") if policy in ("short", "middle") else LEARNED for policy in POLICIES}
SHOWN = {"README.md": ("random", "long", "scripted"), "docs/policies/small.md": POLICIES}
NAMES = {"random": "random", "scripted": "scripted expert", **{length: f"small ({length})" for length in LENGTHS}, "long": "small"}


def evaluated(policy: str, folder: Path) -> pd.DataFrame:
    """The success table of a policy's run, which is made unless it is there."""
    chosen = [f"policy={policy}"]
    if policy in LENGTHS:
        chosen = ["policy=small", f"policy.checkpoint={policy}"]
    tasks = f"tasks=[{','.join(TASKS[policy])}]"
    settings = ["suite=robosuite", f"suite.trials={TRIALS}", tasks, "video=none", "workers=2", f"run_dir={folder / policy}"]
    if vla_eval([f"resume={folder / policy}"] if (folder / policy).exists() else [*chosen, *settings]):
        raise SystemExit(f"the run {folder / policy} is incomplete")
    return vlagym.load_run(folder / policy).table()


def table(results: pd.DataFrame, policies: tuple[str, ...]) -> str:
    """Success by task in Markdown, a column per policy."""
    tasks = results[results["task"] != AVERAGE]  # which would be of three tasks here and of two there
    return as_markdown(tasks_sheet({NAMES[policy]: tasks[tasks["policy"] == policy] for policy in policies}))


def with_part(page: str, part: str, text: str) -> str:
    """A page with this text where the part is marked.

    Raises:
        ValueError: The page does not have the part's marks once.
    """
    begin, end = f"<!-- {part}, made by docs/make_small_table.py -->\n", f"<!-- end of the {part} -->\n"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended or begin in after:
        raise ValueError(f"the page must have the lines {begin!r} and {end!r} once")
    return f"{before}{begin}{text}{end}{after}"


def compared(baseline: Path, current: Path) -> str:
    """What ``vla-eval compare`` says of two runs, in Markdown without its title."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "comparison.md"
        vla_eval(["compare", str(baseline), str(current), "--markdown", str(file)])
        return file.read_text(encoding="utf-8").partition("\n\n")[2]


def main(folder: Path) -> None:
    """Run what lacks and write results, tables and comparison."""
    tables = {policy: evaluated(policy, folder) for policy in POLICIES}
    results = pd.concat([found.assign(policy=policy) for policy, found in tables.items()])
    results.to_csv(RESULTS, index=False)
    for page, policies in SHOWN.items():
        change(page, "table", table(results, policies))
    comparison = compared(folder / "long", folder / "middle")
    change("docs/policies/small.md", "comparison", comparison)
    change("README.md", "comparison", comparison.partition("\n- ")[0])  # without its notes


def change(page: str, part: str, text: str) -> None:
    """Write a part of a page."""
    file = DOCS.parent / page
    file.write_text(with_part(file.read_text(encoding="utf-8"), part, text), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
