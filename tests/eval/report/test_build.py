"""The report: what is written, and how it behaves in a real browser."""

from __future__ import annotations

import builtins
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import choose, keep_screenshot, narrow, wait_for

import vlagym
from vlagym.errors import ConfigError, DependencyError
from vlagym.eval import cli
from vlagym.eval.bench.synthetic import write_run
from vlagym.eval.compare.comparison import Question
from vlagym.eval.plan.config import load_config
from vlagym.eval.report import write_report
from vlagym.eval.run.evaluation import Outcome, evaluate

Run = Callable[..., Outcome]
ASK = Question(allow_incomplete=True, allow_different_protocols=True)


def data_of(report: Path) -> dict[str, Any]:
    text = (report / "data.js").read_text()
    found: dict[str, Any] = json.loads(text.removeprefix("window.VLA_REPORT = ").rstrip().removesuffix(";"))
    return found


@pytest.fixture(scope="module")
def two_runs_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trials of two tasks by a policy that solves all and by one that solves next to none."""
    folder = tmp_path_factory.mktemp("two_runs")
    for policy in ("push", "random"):
        evaluate(load_config(["suite=toy", f"policy={policy}", "episodes_per_task=3", f"run_dir={folder / policy}"]))
    return folder


@pytest.fixture
def two_runs(two_runs_once: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copies of the two runs."""
    for run in two_runs_once.iterdir():
        shutil.copytree(run, tmp_path / run.name)
    return tmp_path / "push", tmp_path / "random"


def test_a_report_is_a_folder_by_itself(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    before = {file: file.read_bytes() for run in two_runs for file in run.rglob("*") if file.is_file()}
    assert cli.main(["report", *map(str, two_runs)]) == 0
    report = tmp_path / "push--report"
    page = (report / "index.html").read_text()
    assert {"index.html", "data.js", "report.js", "report.css", "plotly.min.js", "videos"} <= {f.name for f in report.iterdir()}
    assert "http" not in page.replace("http-equiv", "")
    data = data_of(report)
    assert data["runs"] == ["push", "random"]
    assert all((report / "videos" / str(i) / name).is_file() for i in (0, 1) for name in data["columns"][i]["video"].values())
    assert before == {file: file.read_bytes() for run in two_runs for file in run.rglob("*") if file.is_file()}
    header = vlagym.load_run(two_runs[0]).header
    opening = (">100.0 %</strong> success, 95&nbsp;% interval", "<strong>regression</strong>", "<h2>Success</h2>")
    assert sorted(map(page.index, opening)) == [page.index(part) for part in opening]
    for told in (header["legs"][0]["protocol_sha256"], f"numpy {header['packages']['numpy']}", "Regression.", header["cpu"]):
        assert told in page


def test_a_report_replaces_a_report_and_nothing_else(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    run = vlagym.load_run(two_runs[0])
    write_report([run], tmp_path / "report", ASK)
    (tmp_path / "report" / "old").touch()
    write_report([run], tmp_path / "report", ASK, "copy")
    assert not (tmp_path / "report" / "old").exists()
    assert next((tmp_path / "report" / "videos" / "0").iterdir()).stat().st_nlink == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    for folder, named in ((tmp_path / "mine", "is not a report"), (run.path / "report", "never modified"), (tmp_path, "is inside")):
        with pytest.raises(ConfigError, match=named):
            write_report([run], folder, ASK)
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_gaps_are_marked(two_runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    push = two_runs[0]
    episodes = push / "episodes.jsonl"
    (push / json.loads(episodes.read_text().splitlines()[0])["execution"]["video"]).unlink()
    episodes.write_text(episodes.read_text()[:-30])
    assert cli.main(["report", str(push), "--output", str(tmp_path / "report")]) == 0
    assert "1 videos are missing" in capsys.readouterr().out
    column = data_of(tmp_path / "report")["columns"][0]
    assert len(column["missing"]) == 1
    assert column["outcome"].count(3) == 1
    assert "push is incomplete: 1 episode not run." in (tmp_path / "report" / "index.html").read_text()


def test_what_a_run_says_cannot_become_code(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    run = write_run(tmp_path / "run", {"s": {evil: 2}}, lambda spec: "error", notices=[f"<b>{evil}</b>"])
    write_report([vlagym.load_run(run)], tmp_path / "report", ASK)
    for file in ("index.html", "data.js"):
        assert evil not in (tmp_path / "report" / file).read_text()


def test_a_video_outside_the_run_is_not_taken(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    push = two_runs[0]
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    lines = [json.loads(line) for line in (push / "episodes.jsonl").read_text().splitlines()]
    lines[0]["execution"]["video"] = "../secret.mp4"
    (push / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_report([vlagym.load_run(push)], tmp_path / "report", ASK)
    assert not list((tmp_path / "report").rglob("secret.mp4"))


def test_chains_errors_and_runs_that_do_not_go_together(tmp_path: Path) -> None:
    chains = write_run(tmp_path / "chains", {"calvin": {"chain": 6}}, lambda s: "error" if s.trial == 5 else s.trial, chain=5)
    other = write_run(tmp_path / "other", {"mine": {"t": 3}}, lambda spec: True)
    write_report([vlagym.load_run(chains), vlagym.load_run(other)], tmp_path / "report", ASK)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Subtasks done in a row" in page
    assert "other is not compared: nothing to compare" in page
    column = data_of(tmp_path / "report")["columns"][0]
    assert column["links"][:6] == [0, 1, 2, 3, 4, 0]
    assert [success for _, success in column["subtasks"]["2"]] == [True, True, False]
    assert "average length <strong>2.00 (" in page
    asked = [row for row in re.findall("<tr>(.*?)</tr>", page) if ">link_" in row]
    assert [re.findall("<td[^>]*>(.*?)</td>", row)[1:5:3] for row in asked[:2]] == [["link_0", "4 / 5"], ["link_1", "3 / 4"]]
    assert "Task by task, across the runs" in page
    across = [re.findall("<td[^>]*>(.*?)</td>", row) for row in re.findall("<tr[^>]*>(.*?)</tr>", page, re.S)]
    assert any(cells[:3] == ["mine", "t", "-"] for cells in across), "of the first run there is no such task"
    assert "Steps to success, task by task" in page


def test_many_runs_are_named_by_their_folder_and_answer_in_a_table(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "sweep" / f"k={n}", {"s": {"t": 4}}, lambda spec: True, notices=[f"note {n}"]) for n in range(4)]
    page_of = [write_report([vlagym.load_run(run) for run in runs[:n]], tmp_path / f"report{n}", ASK).page for n in (3, 4)]
    few, many = (page.read_text() for page in page_of)
    assert "<h1>k=0, k=1, k=2</h1>" in few
    assert few.count('<p class="answer">') == 3
    assert "<h1>sweep: 4 runs</h1>" in many
    assert 'class="answer"' not in many
    assert many.partition("</ul>")[0].count("<li>note ") == 4


def test_missing_packages_are_named(two_runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_jinja2(name: str, *rest: Any, **more: Any) -> Any:
        if name == "jinja2":
            raise ImportError("No module named 'jinja2'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_jinja2)
    with pytest.raises(DependencyError, match=r"pip install 'vlagym\[report\]'"):
        write_report([vlagym.load_run(two_runs[0])], tmp_path / "report", ASK)


CARDS = "[...document.querySelectorAll('#gallery li')].map(li => li.innerText)"


def test_the_page_of_one_run_in_a_browser(run_toy: Run, tmp_path: Path, browser: Any) -> None:
    run = run_toy("suite.goal=0.9", "episodes_per_task=6", "policy.chunk=3", policy="random").folder
    results = vlagym.load_run(run).results
    write_report([vlagym.load_run(run)], tmp_path / "report", ASK)
    browser.get((tmp_path / "report" / "index.html").as_uri())
    assert browser.title == "run - vla-eval report"
    assert wait_for(browser, "document.querySelectorAll('.chart .main-svg').length >= 4")
    assert browser.execute_script("return document.querySelectorAll('.chart .trace.bars .point').length") > 0
    cards = browser.execute_script(f"return {CARDS}")
    assert len(cards) == len(results) == 12
    failed = ["failed" in card for card in cards]
    assert failed == sorted(failed, reverse=True), "failures come first"
    assert wait_for(browser, "document.querySelector('#gallery video').readyState >= 2")
    assert browser.execute_script("return document.querySelector('#gallery video').videoWidth") == 144
    browser.execute_script("document.querySelector('#gallery video').play()")
    assert wait_for(browser, "document.querySelector('#gallery video').currentTime > 0.3")
    choose(browser, "outcome", "failure")
    failures = browser.execute_script(f"return {CARDS}")
    assert len(failures) == sum(not result.success for result in results)
    choose(browser, "task", "1")
    assert all("push_far" in card for card in browser.execute_script(f"return {CARDS}"))
    choose(browser, "text", "nothing is called that")
    assert browser.execute_script("return document.getElementById('count').textContent") == "0 of 12 episodes"
    choose(browser, "text", "")
    keep_screenshot(browser, tmp_path, "one-run", 1280)


def test_the_page_of_two_runs_in_narrow_and_wide_windows(two_runs: tuple[Path, Path], tmp_path: Path, browser: Any) -> None:
    write_report([vlagym.load_run(run) for run in two_runs], tmp_path / "report", ASK)
    browser.get((tmp_path / "report" / "index.html").as_uri())
    assert wait_for(browser, "document.querySelectorAll('.chart .main-svg').length >= 5")
    assert browser.execute_script("return document.querySelectorAll('#gallery li')[0].querySelectorAll('video').length") == 2
    choose(browser, "outcome", "lost")
    assert browser.execute_script("return document.querySelectorAll('#gallery li').length") >= 5
    choose(browser, "outcome", "gained")
    assert browser.execute_script("return document.querySelectorAll('#gallery li').length") == 0
    choose(browser, "outcome", "")
    keep_screenshot(browser, tmp_path, "two-runs-wide", 1280)
    keep_screenshot(browser, tmp_path, "two-runs-narrow", 500)
    narrow(browser)


def test_the_page_can_be_used_with_the_keyboard(two_runs: tuple[Path, Path], tmp_path: Path, browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    write_report([vlagym.load_run(two_runs[0])], tmp_path / "report", ASK)
    browser.get((tmp_path / "report" / "index.html").as_uri())
    wait_for(browser, "document.querySelector('#gallery video')")
    visited = []
    for _ in range(30):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        active = "document.activeElement"
        visited.append(browser.execute_script(f"return {active}.name || {active}.className || {active}.tagName"))
    assert visited[0] == "skip"
    assert {"outcome", "suite", "task", "text", "SUMMARY", "VIDEO"} <= set(visited)
    browser.execute_script("document.getElementById('filter').elements.outcome.focus()")
    ActionChains(browser).send_keys("errors").perform()
    assert browser.execute_script("return document.getElementById('count').textContent") == "0 of 6 episodes"


@pytest.mark.slow
def test_a_page_of_fifty_thousand_episodes_works(tmp_path: Path, browser: Any) -> None:
    suites = {f"suite_{i}": {f"task_{i}_{j}": 100 for j in range(25)} for i in range(10)}
    run = write_run(tmp_path / "large", suites, lambda spec: (spec.trial * 7 + spec.seed) % 5 > 0, seeds=(0, 1))
    write_report([vlagym.load_run(run)], tmp_path / "report", ASK)
    browser.get((tmp_path / "report" / "index.html").as_uri())
    assert wait_for(browser, "document.querySelectorAll('#gallery li').length == 24")
    assert wait_for(browser, "document.querySelectorAll('.chart .main-svg').length >= 3")
    choose(browser, "text", "task_3_7")
    choose(browser, "outcome", "failure")
    assert browser.execute_script("return document.getElementById('count').textContent") == "40 of 50000 episodes"
    browser.execute_script("document.querySelector('[data-page=\"1\"]').click()")
    assert browser.execute_script("return document.querySelector('.page').textContent") == "page 2 of 2"
    keep_screenshot(browser, tmp_path, "fifty-thousand-episodes", 1280)


def test_variants_are_shown_by_category_and_can_be_filtered(tmp_path: Path) -> None:
    run = write_run(tmp_path / "varied", {"plus": {"t": 4}}, lambda spec: spec.trial != 1)
    header = json.loads((run / "run.json").read_text())
    variants = [[0, ["view_1", "camera", 1, 0, 1.0]], [1, ["view_2", "camera", 2, 0, 1.0]], [2, ["noise_1", "noise", 1, 0, 1.0]]]
    header["legs"][0] |= {"plain_suite": "base", "weighted_total": "", "variants": {"t": variants}}
    (run / "run.json").write_text(json.dumps(header))
    write_report([vlagym.load_run(run)], tmp_path / "report", ASK)
    data = data_of(tmp_path / "report")
    assert data["categories"] == ["camera", "noise"]
    assert data["category"] == [0, 0, 1, None]
    assert data["level"] == [1, 2, 1, None]
    assert data["variant"] == ["view_1", "view_2", "noise_1", ""]
    marks = data["figures"]["categories"]["data"][0]
    assert dict(zip(marks["y"], marks["x"], strict=True)) == {
        "camera": 50.0,
        "noise": 100.0,
        "mean over variants": 66.667,
        "mean of categories": 75.0,
    }
    assert [(line["name"], line["x"], line["y"]) for line in data["figures"]["levels"]["data"]] == [
        ("camera", [1, 2], [100.0, 0.0]),
        ("noise", [1], [100.0]),
    ]
    page = (tmp_path / "report" / "index.html").read_text()
    assert 'name="category"' in page
    assert "mean of categories" in page
    plain = write_run(tmp_path / "plain", {"plus": {"t": 4}}, lambda spec: True)
    write_report([vlagym.load_run(plain)], tmp_path / "plain_report", ASK)
    assert 'name="category"' not in (tmp_path / "plain_report" / "index.html").read_text()
