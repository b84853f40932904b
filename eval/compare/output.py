"""A comparison as text, Markdown, JSON and JUnit XML."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ..tables.statistics import Rate
from ..tables.success import AVERAGE, Sheet, as_markdown
from .comparison import Comparison
from .ranking import Ranking
from .real import Agreement
from .rows import Difference

if TYPE_CHECKING:
    from rich.console import Console


def comparison_sheet(comparison: Comparison) -> Sheet:
    """The rows of a comparison for people."""
    confidence = f"{100 * (1 - 2 * comparison.question.alpha):.4g}"
    columns = ["suite", "task", "trials", "baseline", "current", f"difference\n({confidence} % interval)"]
    columns += ["worse /\nbetter", "p (Holm)"] if comparison.paired else ["p (Holm)"]
    strong = frozenset(i for i, row in enumerate(comparison.rows) if row.task == AVERAGE)
    return Sheet(columns, 2, [_cells(row, comparison) for row in comparison.rows], strong)


def to_markdown(comparison: Comparison) -> str:
    """Verdict, table and notes, e.g. for a job summary."""
    title = f"# {_MARKS[comparison.verdict]} {comparison.verdict.capitalize()}: {comparison.current} against {comparison.baseline}"
    notes = "".join(f"- {note}\n" for note in comparison.notes)
    return f"{title}\n\n{comparison.reason}\n\n{as_markdown(comparison_sheet(comparison))}\n{notes}"


def to_json(comparison: Comparison) -> str:
    """Everything, as JSON."""
    return json.dumps(comparison.to_json(), indent=2) + "\n"


def to_junit(comparison: Comparison) -> str:
    """One test case per task and average; what decides the exit code is what fails or errs."""
    root = ElementTree.Element("testsuites", name="vla-eval compare")
    for suite in dict.fromkeys(row.suite for row in comparison.rows):
        rows = [row for row in comparison.rows if row.suite == suite]
        outcomes = [_junit_outcome(row, comparison) for row in rows]
        element = ElementTree.SubElement(root, "testsuite", name=_xml_text(suite), tests=str(len(rows)))
        for kind in ("failure", "error"):
            element.set(f"{kind}s", str(outcomes.count(kind)))
        for row, outcome in zip(rows, outcomes, strict=True):
            case = ElementTree.SubElement(element, "testcase", classname=_xml_text(suite), name=_xml_text(row.task))
            if outcome:
                message = comparison.reason if row is comparison.overall else "worse by itself, all tasks considered"
                ElementTree.SubElement(case, outcome, message=_xml_text(message), type=comparison.verdict.replace(" ", "_"))
            text = f"baseline {_percent(row.baseline)}, current {_percent(row.current)}, difference {_interval(row)} points"
            ElementTree.SubElement(case, "system-out").text = text
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


WRITERS: dict[str, Callable[[Comparison], str]] = {"markdown": to_markdown, "json": to_json, "junit": to_junit}


def write_outputs(comparison: Comparison, files: dict[str, Path | None]) -> None:
    """Write the formats (keys of `WRITERS`) that are given a file."""
    for form, file in files.items():
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(WRITERS[form](comparison), encoding="utf-8")


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Table, notes and verdict on a terminal."""
    from ..tables.success import as_rich

    console.print(as_rich(comparison_sheet(comparison)))
    for note in comparison.notes:
        console.print(f"- {note}", highlight=False, markup=False, soft_wrap=True)
    style = {"no regression": "bold green", "regression": "bold red", "cannot tell": "bold yellow"}[comparison.verdict]
    text = f"{comparison.verdict.upper()}. {comparison.reason}"
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def ranking_sheets(ranking: Ranking) -> tuple[Sheet, Sheet]:
    """The runs, those that cannot be told from the best marked, and their pairs."""
    confidence = f"{100 * (1 - ranking.question.alpha):.4g}"
    runs = [
        [label, f"{_percent(rate.value)} ({100 * rate.low:.1f} - {100 * rate.high:.1f})", "yes" if label in ranking.best else ""]
        for label, rate in zip(ranking.labels, ranking.rates, strict=True)
    ]
    best = frozenset(i for i, label in enumerate(ranking.labels) if label in ranking.best)
    of_runs = Sheet(["run", f"average\n({confidence} % interval)", "cannot be told\nfrom the best"], 1, runs, best)
    pairs = [
        [one, other, _interval(row), f"{row.lost} / {row.gained}", _discordance(row), _p_value(row)]
        for one, other, row in ranking.pairs
    ]
    confidence = f"{100 * (1 - 2 * ranking.question.alpha):.4g}"
    columns = ["run", "against", f"difference\n({confidence} % interval)", "worse /\nbetter", "differing", "p (Holm)"]
    return of_runs, Sheet(columns, 2, pairs, frozenset())


def ranking_to_markdown(ranking: Ranking) -> str:
    """Conclusion, tables and notes."""
    runs, pairs = ranking_sheets(ranking)
    notes = "".join(f"- {note}\n" for note in (cochran_sentence(ranking), *ranking.notes))
    return f"# {ranking.conclusion}\n\n{as_markdown(runs)}\n{as_markdown(pairs)}\n{notes}"


def cochran_sentence(ranking: Ranking) -> str:
    """What Cochran's test says."""
    test = ranking.cochran
    if math.isnan(test.statistic):
        return f"All runs came out the same in each of {ranking.trials} trials."
    return (
        f"Cochran's Q over {ranking.trials} trials: {test.statistic:.2f} with {test.degrees} degrees of freedom, "
        f"p {'< 0.001' if test.p_value < 0.001 else f'= {test.p_value:.3f}'}."
    )


def agreement_sheet(agreements: Sequence[Agreement]) -> Sheet:
    """One row per task: how far the simulator ranks policies as the robot does."""
    rows = [[a.task, str(len(a.policies)), _with_interval(a.mmrv), _with_interval(a.pearson)] for a in agreements]
    strong = frozenset(i for i, a in enumerate(agreements) if a.task.startswith(AVERAGE))
    return Sheet(["task", "policies", "MMRV (95 %)", "Pearson's r (95 %)"], 1, rows, strong)


def rates_sheet(agreements: Sequence[Agreement]) -> Sheet:
    """The rates behind `agreement_sheet`."""
    rows = [
        [a.task, policy, _percent(sim), _percent(real)]
        for a in agreements
        for policy, sim, real in zip(a.policies, a.sim, a.real, strict=True)
    ]
    return Sheet(["task", "policy", "simulated", "real"], 2, rows, frozenset())


def _with_interval(rate: Rate) -> str:
    return "-" if math.isnan(rate.value) else f"{rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f})"


def _discordance(row: Difference) -> str:
    return f"{100 * ((row.lost or 0) + (row.gained or 0)) / row.trials:.1f} %"


def _p_value(row: Difference) -> str:
    p_value = row.p_value if row.p_adjusted is None else row.p_adjusted
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


_MARKS = {"no regression": "✅", "regression": "❌", "cannot tell": "❔"}


def _cells(row: Difference, comparison: Comparison) -> list[str]:
    mark = " worse" if row.is_worse(comparison.question.alpha) else " better" if row.is_better(comparison.question.alpha) else ""
    cells = [row.suite, row.task, str(row.trials), _percent(row.baseline), _percent(row.current)]
    cells += [_interval(row)]
    cells += [f"{row.lost} / {row.gained}"] if comparison.paired else []
    return [*cells, _p_value(row) + mark]


def _junit_outcome(row: Difference, comparison: Comparison) -> str:
    question = comparison.question
    if row is comparison.overall:
        return {"no regression": "", "regression": "failure", "cannot tell": "error"}[comparison.verdict]
    counts = question.fail_on_task and row.is_worse(question.alpha) and row.difference < -question.margin
    return "failure" if counts else ""


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f} %"


def _interval(row: Difference) -> str:
    return f"{100 * row.difference:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f})"


def _xml_text(text: str) -> str:
    """The text without characters that XML cannot hold at all."""
    return "".join(c for c in text if c in "\t\n\r" or 0x20 <= ord(c) <= 0xD7FF or 0xE000 <= ord(c) <= 0xFFFD or ord(c) >= 0x10000)
