"""A report that follows a run: what is served and to whom, and that a reader keeps his place in it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from browsing import choose, keep_screenshot, narrow, wait_for

import vlagym
from vlagym.errors import ConfigError
from vlagym.eval.bench.synthetic import write_run
from vlagym.eval.cli import main
from vlagym.eval.compare.comparison import Question
from vlagym.eval.report import watch
from vlagym.eval.report.build import make_report
from vlagym.eval.report.served import ServedReport, State, serving
from vlagym.eval.run.evaluation import Outcome

Run = Callable[..., Outcome]
ASK = Question(allow_incomplete=True, allow_different_protocols=True)


class UnderWay:
    """A run whose episodes land when a test says so: a copy of one that is complete."""

    def __init__(self, whole: Path, folder: Path) -> None:
        shutil.copytree(whole, folder)
        self.folder = folder
        self._lines = (folder / "episodes.jsonl").read_text().splitlines(keepends=True)
        self._landed = 0
        (folder / "episodes.jsonl").write_text("")

    def land(self, count: int) -> None:
        with (self.folder / "episodes.jsonl").open("a") as file:
            file.writelines(self._lines[self._landed : self._landed + count])
        self._landed += count


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], tuple[str, threading.Thread]]]:
    """Watches a run in a thread, whose address and thread are returned; in the end every one must have ended by itself."""
    monkeypatch.setattr("vlagym.eval.report.watching._SHARE", 1.0)  # nobody's run is slowed down here
    threads = []

    def begin(folder: Path) -> tuple[str, threading.Thread]:
        address: Queue[str] = Queue()
        thread = threading.Thread(target=watch, args=([folder], tmp_path / "report", ASK), kwargs={"begun": address.put})
        thread.start()
        threads.append(thread)
        return address.get(timeout=60), thread

    yield begin
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedReport]:
    """The report of a run of two episodes, one of which has a video of ten bytes."""
    run = write_run(tmp_path / "run", {"s": {"<b>t": 2}}, lambda spec: True)
    lines = [json.loads(line) for line in (run / "episodes.jsonl").read_text().splitlines()]
    lines[0]["execution"] |= {"video": "videos/a%2F #1.mp4"}
    lines[1]["execution"] |= {"video": "../secret.mp4"}
    (run / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "videos").mkdir()
    (run / "videos" / "a%2F #1.mp4").write_bytes(b"0123456789")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    with serving(0) as server:
        server.show(make_report([vlagym.load_run(run)], ASK, version=1), State(1, "2 of 2 episodes", "12:00:00", over=False))
        yield server


def ask(server: ServedReport, name: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, content and headers of what is answered to a request for exactly this name."""
    address = urlsplit(server.address)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    connection.putrequest(method, name if name.startswith("!") else address.path + name, skip_host="Host" in headers)
    for header, value in headers.items():
        connection.putheader(header, value)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, dict(answer.getheaders())


def test_a_page_is_served_with_the_runs_videos_and_nothing_else(served: ServedReport, tmp_path: Path) -> None:
    video = f"videos/0/{quote('a%2F #1.mp4', safe='')}"
    assert served.address.startswith("http://127.0.0.1:")
    assert b"connect-src 'self'" in ask(served, "")[1]
    assert ask(served, "", "HEAD")[1] == b""
    assert json.loads(ask(served, "version.json")[1])["said"] == "2 of 2 episodes"
    assert ask(served, video)[:2] == (200, b"0123456789")
    for name in (
        "../run/run.json",
        "videos/0/../../run.json",
        "videos/0/..%2f..%2frun.json",
        "videos/0/secret.mp4",
        "%2e%2e/secret.mp4",
        str(tmp_path / "secret.mp4"),
        "videos/0/%00",
        "report.js%00",
        "index.html/",
    ):
        assert ask(served, name)[0] == 404, name
    assert ask(served, "!/")[0] == 404, "whoever does not know the word is told nothing"
    assert ask(served, "", "POST")[0] == 501
    (tmp_path / "run" / "videos" / "a%2F #1.mp4").unlink()
    assert ask(served, video)[0] == 404


def test_a_page_of_another_name_is_not_answered(served: ServedReport) -> None:
    port = urlsplit(served.address).port
    assert ask(served, "", Host="evil.example")[0] == ask(served, "", Host=f"evil.example:{port}")[0] == 403
    assert ask(served, "", Host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize(
    ("asked", "status", "content", "said"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=0-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=5-4", 416, b"", "bytes */10"),
        ("bytes=-", 416, b"", "bytes */10"),
        ("bytes=0-1,3-4", 416, b"", "bytes */10"),
    ],
)
def test_videos_can_be_wound(served: ServedReport, asked: str, status: int, content: bytes, said: str) -> None:
    found = ask(served, f"videos/0/{quote('a%2F #1.mp4', safe='')}", Range=asked)
    assert (found[0], found[1], found[2]["Content-Range"]) == (status, content, said)


def test_a_port_that_is_taken_is_refused(served: ServedReport, tmp_path: Path) -> None:
    port = urlsplit(served.address).port
    with pytest.raises(ConfigError, match="choose another --port"):
        ServedReport(port or 0)
    assert main(["report", str(tmp_path / "run"), "--watch", "--port", str(port)]) == 2
    assert main(["report", str(tmp_path / "run"), "--port", "8000"]) == 2, "what is not watched is not served"
    assert not (tmp_path / "run--report").exists()


def test_a_watch_ends_with_its_run_and_leaves_the_report(tmp_path: Path, watched: Any) -> None:
    whole = write_run(tmp_path / "whole", {"s": {"t": 4}}, lambda spec: "error" if spec.trial == 3 else True)
    live = UnderWay(whole, tmp_path / "live")
    live.land(1)
    address, thread = watched(live.folder)
    assert thread.is_alive()
    assert not (tmp_path / "report").exists(), "it is written once, in the end"
    live.land(3)
    thread.join(60)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "3 / 3 episodes, 1 errors" in page, "an episode that could not be run has ended too"
    assert "watch.js" not in page
    assert "connect-src" not in page
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(str(urlsplit(address).netloc), timeout=5).request("GET", "/")


def test_ctrl_c_ends_a_watch_and_leaves_the_report_so_far(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"s": {"t": 4}}, lambda spec: True if spec.trial < 3 else None)
    # A shell's background jobs, where these tests may run, ignore SIGINT.
    program = "import sys; from vlagym.eval.cli import main; sys.exit(main())"
    command = ["env", "--default-signal=INT", sys.executable, "-c", program, "report", str(run), "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("watch:  http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, process.stderr.read()
        assert process.stdout.read() == f"report: {tmp_path}/run--report/index.html\n"
        assert process.stderr.read() == ""
    assert "3 of 4" in (tmp_path / "run--report" / "index.html").read_text()


TOP = "document.querySelector('#gallery li:nth-child(2)').getBoundingClientRect().top"
PLAYER = "document.querySelector('#gallery video')"


def test_a_reader_keeps_his_place_while_episodes_land(run_toy: Run, tmp_path: Path, browser: Any, watched: Any) -> None:
    live = UnderWay(run_toy("suite.goal=0.5", "episodes_per_task=6", "workers=1", policy="random").folder, tmp_path / "live")
    live.land(4)
    address, thread = watched(live.folder)
    browser.get(address)
    assert wait_for(browser, f"{PLAYER} && {PLAYER}.readyState >= 2")
    assert browser.execute_script("return document.querySelectorAll('#gallery li').length") == 12, "what is to come is listed"
    assert wait_for(browser, "document.getElementById('watch').textContent.startsWith('4 of 12 episodes have ended, as of')")
    browser.execute_script("document.querySelector('#success details:last-of-type').open = true")
    browser.execute_script("window.mark = document.querySelector('#gallery li:nth-child(2)'); window.mark.scrollIntoView()")
    browser.execute_script(f"window.player = {PLAYER}; window.player.play()")
    top, answer = browser.execute_script(f"return [{TOP}, document.querySelector('#answer').innerText]")
    live.land(4)
    assert wait_for(browser, "document.getElementById('watch').textContent.includes('8 of 12 episodes have ended')")
    assert browser.execute_script(
        "return window.mark.isConnected && window.mark === document.querySelector('#gallery li:nth-child(2)')"
    )
    assert browser.execute_script(f"return {TOP}") == pytest.approx(top, abs=2)
    assert browser.execute_script("return document.querySelector('#answer').innerText") != answer
    assert browser.execute_script("return !window.player.paused && window.player.isConnected"), "the video plays on"
    assert browser.execute_script("return document.querySelector('#success details:last-of-type').open")
    assert browser.execute_script("return document.querySelectorAll('.chart .main-svg').length") > 0
    offered = "!document.getElementById('landed').hidden"
    assert browser.execute_script(f"return {offered}"), "cards do not move by themselves"
    browser.execute_script("document.getElementById('landed').click()")
    assert not browser.execute_script(f"return {offered}")
    landed = browser.execute_script("return [...document.querySelectorAll('#gallery .outcome')].map(o => o.textContent)")
    assert landed.index("not run") == 8, "what is to come is last"
    choose(browser, "outcome", "failure")
    keep_screenshot(browser, tmp_path, "watched", 1280)
    narrow(browser)
    live.land(4)
    assert wait_for(browser, "document.getElementById('watch').className === 'over'")
    assert "report/index.html" in browser.execute_script("return document.getElementById('watch').textContent")
    assert len(list((tmp_path / "report" / "videos" / "0").iterdir())) == 12
    failed = sum(not result.success for result in vlagym.load_run(live.folder).results)
    browser.execute_script("window.scrollTo(0, 0); document.getElementById('landed').click()")
    assert browser.execute_script("return document.querySelectorAll('#gallery li').length") == failed
    assert wait_for(browser, "document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.execute_script("return window.mark !== undefined"), "the page was never loaded again"
    thread.join(60)


@pytest.mark.slow
def test_a_page_that_is_at_its_top_shows_what_lands(tmp_path: Path, browser: Any, watched: Any) -> None:
    whole = write_run(tmp_path / "whole", {"s": {"<i>t</i>": 40}}, lambda spec: spec.trial % 2 == 0)
    live = UnderWay(whole, tmp_path / "live")
    address, _ = watched(live.folder)
    browser.get(address)
    assert wait_for(browser, "document.querySelectorAll('#gallery li').length === 24")
    assert "No episode has ended" in browser.execute_script("return document.querySelector('#answer').innerText")
    assert browser.execute_script("return document.querySelectorAll('.chart .main-svg').length") == 0, (
        "of nothing there is no chart"
    )
    live.land(20)
    assert wait_for(browser, "document.querySelectorAll('#gallery .failure').length === 10")
    assert wait_for(browser, "document.querySelectorAll('.chart .main-svg').length > 0")
    assert browser.execute_script("return document.querySelector('#gallery li .outcome').textContent") == "failed"
    live.land(20)
    assert wait_for(browser, "document.getElementById('watch').className === 'over'")


@pytest.mark.slow
def test_a_watch_whose_server_is_gone_says_so(tmp_path: Path, browser: Any) -> None:
    run = write_run(tmp_path / "run", {"s": {"t": 4}}, lambda spec: True if spec.trial < 3 else None)
    with serving(0) as server:
        server.show(
            make_report([vlagym.load_run(run)], ASK, version=1), State(1, "3 of 4 episodes have ended", "12:00:00", over=False)
        )
        browser.get(server.address)
        assert wait_for(browser, "document.getElementById('watch').textContent.includes('as of 12:00:00')")
    assert wait_for(browser, "document.getElementById('watch').className === 'gone'")
    said = [entry["message"] for entry in browser.get_log("browser")]
    assert said
    assert all("version.json" in message for message in said)
