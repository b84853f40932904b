"""``vla-eval compare SWEEP``: all runs of a sweep side by side, and those of the same suites compared with each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ..compare.comparison import Comparison, Question, compare_sides
from ..compare.output import cochran_sentence, print_comparison, ranking_sheets, ranking_to_markdown, to_markdown
from ..compare.ranking import Ranking, rank
from ..compare.sources import side_of_run
from ..record.console import make_console
from ..tables.runs import Run, load_run
from ..tables.success import as_markdown, as_rich
from ..tables.sweep import load_sweep, sweep_sheet


def compare_sweep(path: Path, question: Question, outputs: Mapping[str, Path | None]) -> int:
    """Show a sweep's runs and what can be told apart among them; returns 0.

    Runs of the same suites are compared trial by trial, two by two or all with all; that they measured different things is what a
    sweep over a suite's settings asks for, and is said.

    Args:
        path: The sweep's folder.
        question: Margin and error probability.
        outputs: ``markdown`` and ``json``: files to write.

    Raises:
        RunError: The sweep or one of its runs cannot be read.
    """
    sweep, console = load_sweep(path), make_console()
    sheet = sweep_sheet(sweep)
    console.print(as_rich(sheet))
    answers: list[Comparison | Ranking] = []
    for runs in _groups([load_run(member.path) for member in sweep.begun]):
        judged = [run for run in runs if run.complete or question.allow_incomplete]
        left_out = ", ".join(run.name for run in runs if run not in judged)
        if left_out:
            console.print(f"- incomplete and not compared: {left_out} (--allow-incomplete)", highlight=False, markup=False)
        if len(judged) < 2:
            continue
        try:
            answer = _answer(judged, replace(question, allow_different_protocols=True))
        except ConfigError as error:
            names = ", ".join(run.name for run in judged)
            console.print(f"- {names} cannot be compared: {error}", highlight=False, markup=False, soft_wrap=True)
            continue
        _show(answer)
        answers.append(answer)
    texts = {
        "markdown": "\n".join([as_markdown(sheet), *map(_markdown, answers)]),
        "json": json.dumps({"runs": _rows(sheet.columns, sheet.rows), "answers": [a.to_json() for a in answers]}, indent=2) + "\n",
    }
    for form, file in outputs.items():
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(texts[form], encoding="utf-8")
    return 0


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of the same suites together."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(leg["suite"] for leg in run.header["legs"]), []).append(run)
    return list(groups.values())


def _answer(runs: Sequence[Run], question: Question) -> Comparison | Ranking:
    sides = [side_of_run(run) for run in runs]
    return compare_sides(sides[0], sides[1], question) if len(sides) == 2 else rank(sides, question)


def _show(answer: Comparison | Ranking) -> None:
    console = make_console()
    if isinstance(answer, Comparison):
        print_comparison(answer, console)
        return
    for sheet in ranking_sheets(answer):
        console.print(as_rich(sheet))
    for line in (cochran_sentence(answer), *answer.notes):
        console.print(f"- {line}", highlight=False, markup=False, soft_wrap=True)
    console.print(answer.conclusion, style="bold", highlight=False, markup=False, soft_wrap=True)


def _markdown(answer: Comparison | Ranking) -> str:
    return to_markdown(answer) if isinstance(answer, Comparison) else ranking_to_markdown(answer)


def _rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    names = [" ".join(column.split()) for column in columns]
    return [dict(zip(names, row, strict=True)) for row in rows]
