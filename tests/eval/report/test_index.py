"""The index of a folder of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from browsing import keep_screenshot, narrow, wait_for

from vlagym.errors import ConfigError
from vlagym.eval.bench.synthetic import write_run
from vlagym.eval.cli import main
from vlagym.eval.compare.comparison import Question
from vlagym.eval.report import entries_of, write_index
from vlagym.eval.tables.sweep import INDEX

ASK = Question(allow_incomplete=True, allow_different_protocols=True)
HOSTILE = "a run%2F <img src=x onerror=alert(1)> '#?"


def begun_at(run: Path, created: str) -> Path:
    header = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**header, "created": created}))
    return run


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two runs, one of them under way, a sweep of two, a damaged run, and things that are no runs."""
    folder = tmp_path / "results"
    begun_at(write_run(folder / "old", {"s": {"t": 20}}, lambda spec: spec.trial < 15), "2026-01-01T10:00:00+0000")
    half = write_run(
        folder / HOSTILE, {"s": {"t": 4}}, lambda spec: {0: True, 1: "error"}.get(spec.trial), notices=["a <b>note</b>"]
    )
    begun_at(half, "2026-03-01T10:00:00+0000")
    for value in ("0", "1"):
        begun_at(write_run(folder / "sweep" / f"k={value}", {"s": {"t": 5}}, lambda spec: True), f"2026-02-0{value}T10:00:00+0000")
    runs = [{"folder": f"k={value}", "values": {"k": value}} for value in ("0", "1", "2")]
    (folder / "sweep" / INDEX).write_text(json.dumps({"keys": ["k"], "runs": runs}))
    damaged = write_run(folder / "damaged", {"s": {"t": 2}}, lambda spec: True)
    (damaged / "episodes.jsonl").write_text("{}\n{}\n")
    (folder / "notes").mkdir()
    (folder / "notes.txt").touch()
    (folder / "latest").symlink_to("old")
    return folder


def test_the_index_lists_runs_newest_first_with_their_reports(results: Path, tmp_path: Path) -> None:
    assert [entry.name for entry in entries_of(results)] == sorted([HOSTILE, "damaged", "old", "sweep"])
    assert main(["report", str(results)]) == 0
    index = tmp_path / "results--report"
    page = (index / "index.html").read_text()
    order = ["a run%2F &lt;img", "</a> / k=1", "</a> / k=0", ">old</a>", "damaged"]
    assert [page.index(part) for part in order] == sorted(page.index(part) for part in order)
    for told in (
        "75.0 %",
        "53.0 - 90.2 %",
        "2026-01-01 10:00",
        "1 / 1 episodes, 2 not run, 1 errors; <span",
        "line 1 is damaged",
        "with notes",
    ):
        assert told in page, told
    assert "<img" not in page
    for name in (HOSTILE, "old", "sweep"):
        assert (index / "reports" / name / "index.html").is_file()
    assert "against k=0" in (index / "reports" / "sweep" / "index.html").read_text()
    libraries = {(index / "reports" / name / "plotly.min.js").stat().st_ino for name in (HOSTILE, "old", "sweep")}
    assert len(libraries) == 1, "the library is there once"


def test_only_what_has_changed_is_made_again(results: Path, tmp_path: Path) -> None:
    def page(name: str) -> int:
        return (tmp_path / "index" / "reports" / name / "index.html").stat().st_ino

    write_index(results, tmp_path / "index", ASK)
    before = page("old"), page("sweep")
    with (results / "sweep" / "k=1" / "episodes.jsonl").open("a") as file:
        file.write((results / "sweep" / "k=1" / "episodes.jsonl").read_text().splitlines()[0] + "\n")
    write_index(results, tmp_path / "index", ASK)
    assert page("old") == before[0]
    assert page("sweep") != before[1]
    write_index(results, tmp_path / "index", ASK, share=True)
    assert page("old") != before[0], "one for others is another"


def test_an_index_replaces_an_index_and_nothing_else(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    for output, named in (
        (tmp_path / "mine", "is not an index"),
        (results / "old" / "index", "inside each other"),
        (results, "inside each other"),
    ):
        with pytest.raises(ConfigError, match=named):
            write_index(results, output, ASK)
    assert main(["report", str(tmp_path / "mine")]) == 2
    assert "is not a run" in capsys.readouterr().err
    for option in ("--watch", "--failures"):
        assert main(["report", str(results), option]) == 2
        assert "name those that are meant" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_the_index_in_a_browser(results: Path, tmp_path: Path, browser: Any) -> None:
    page = write_index(results, tmp_path / "index", ASK)
    browser.get(page.as_uri())
    assert browser.execute_script("return document.querySelectorAll('table.runs tbody tr').length") == 5
    assert browser.execute_script("return document.querySelector('.rate').getBoundingClientRect().width") > 0
    keep_screenshot(browser, tmp_path, "index", 1280, 800)
    narrow(browser)
    browser.execute_script("document.querySelector('table.runs a').click()")
    assert wait_for(browser, "document.title.includes('vla-eval report')")
    assert wait_for(browser, "document.querySelectorAll('.chart .main-svg').length > 0")
