"""The curve of a sweep over delays: from the command to the numbers in the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from browsing import keep_screenshot, narrow, wait_for

from vlagym.eval.cli import main
from vlagym.eval.compare.comparison import Question
from vlagym.eval.report import write_report
from vlagym.eval.report.delays import delays_of
from vlagym.eval.tables.runs import load_run
from vlagym.eval.tables.sweep import load_sweep

ASK = Question(allow_incomplete=True, allow_different_protocols=True)
# The point has to go 2 m at 0.1 m a step within 40 steps: 20 pushes, which a policy of single actions gets in with a delay of 0,
# not with 2, where it pushes in every third step only.
TOY = ("suite=toy", "policy=push", "policy.chunk=1", "episodes_per_task=3", "video=none", "workers=2")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "sweep"
    assert main(["sweep", *TOY, "realtime.delay_steps=0,1,2", f"run_dir={folder}"]) == 0
    return folder


def test_success_and_the_paired_drop_over_the_delay(sweep: Path) -> None:
    runs = {member.path.name: load_run(member.path) for member in load_sweep(sweep).members}
    delays = delays_of(runs, ASK)
    assert delays is not None
    (curve,) = delays.success.values()
    (drop,) = delays.drop.values()
    assert list(delays.success) == ["push on toy, age-aligned"]
    solved = {float(delay): run.table().iloc[-1]["success_rate"] for delay, run in zip((0, 1, 2), runs.values(), strict=True)}
    assert {delay: rate.value for delay, rate in curve.items()} == pytest.approx(solved)
    assert solved[0.0] == 1
    assert solved[2.0] < 1
    assert {delay: rate.value for delay, rate in drop.items()} == pytest.approx({delay: rate - 1 for delay, rate in solved.items()})
    assert all(rate.low <= rate.value <= rate.high for rate in (*curve.values(), *drop.values()))


def test_runs_that_do_not_differ_in_their_delay_have_no_curve(sweep: Path) -> None:
    first = load_run(load_sweep(sweep).members[0].path)
    assert delays_of({"one": first, "other": first}, ASK) is None


def test_the_report_of_a_sweep_has_the_curve(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(sweep)]) == 0
    report = sweep.with_name("sweep--report")
    data: dict[str, Any] = json.loads(
        (report / "data.js").read_text().removeprefix("window.VLA_REPORT = ").rstrip().removesuffix(";")
    )
    assert data["figures"]["delays"]["data"][0]["x"] == [0, 1, 2]
    assert data["figures"]["drops"]["data"][0]["y"][0] == 0
    assert data["runs"] == ["realtime.delay_steps=0", "realtime.delay_steps=1", "realtime.delay_steps=2"]
    page = (report / "index.html").read_text()
    assert "While the policy thinks" in page
    assert "push on toy, age-aligned" in page
    capsys.readouterr()


def test_the_curves_in_a_browser(sweep: Path, tmp_path: Path, browser: Any) -> None:
    write_report([load_run(member.path) for member in load_sweep(sweep).members], tmp_path / "report", ASK)
    browser.get((tmp_path / "report" / "index.html").as_uri())
    for figure in ("delays", "drops"):
        chart = f"document.querySelector('.chart[data-figure={figure}]')"
        assert wait_for(browser, f"{chart}.querySelectorAll('.points path').length") == 3
        assert browser.execute_script(f"return [...{chart}.querySelectorAll('.xtick text')].map(t => t.textContent)") == [
            "0",
            "1",
            "2",
        ]
        marks, frame = browser.execute_script(
            "const box = (element) => { const r = element.getBoundingClientRect(); return [r.left, r.right]; };"
            f"return [[...{chart}.querySelectorAll('.points path')].map(box), box({chart}.querySelector('.draglayer rect'))]"
        )
        assert all(frame[0] <= left < right <= frame[1] for left, right in marks), "no mark is cut by the axes"
    narrow(browser)
    keep_screenshot(browser, tmp_path, "delays-narrow", 500)


def test_the_table_of_the_clock(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    member = load_sweep(sweep).members[1].path
    assert main(["table", str(member), "--realtime"]) == 0
    assert "50.0 %" in capsys.readouterr().out, "every other step is held"
    assert main(["table", str(member), "--episodes", "--format", "csv"]) == 0
    assert "held_steps" in capsys.readouterr().out.splitlines()[0]
